//! The history of one entity, walked forward in time.

use super::layout::{Answer, Computation, Group, GroupAnswer, Kind, Layout, Newest, RowValues, finish};
use super::tally::{Marks, Sliding, SlidingDistinct, Tally, number_mark};
use std::sync::Arc;

/// What is known of one entity at a time that only moves on. Work is constant for each row and window, however the
/// windows overlap.
#[derive(Debug)]
pub(crate) struct Timeline {
    layout: Arc<Layout>,
    newest: Option<Newest>,
    running: Vec<Running>,
    answers: Vec<GroupAnswer>,
}

#[derive(Debug)]
enum Running {
    All(Tally),
    Window(Sliding),
    AllDistinct(Marks),
    WindowDistinct(SlidingDistinct),
}

impl Timeline {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        let running = layout.groups.iter().map(|g| match (g.width, g.distinct) {
            (None, false) => Running::All(Tally::default()),
            (Some(width), false) => Running::Window(Sliding::new(width)),
            (None, true) => Running::AllDistinct(Marks::new()),
            (Some(width), true) => Running::WindowDistinct(SlidingDistinct::new(width)),
        });
        let running = running.collect();
        Self { layout, newest: None, running, answers: vec![] }
    }

    /// Forgets everything: the next entity begins.
    pub(crate) fn clear(&mut self) {
        self.newest = None;
        for running in &mut self.running {
            match running {
                Running::All(tally) => *tally = Tally::default(),
                Running::Window(window) => window.clear(),
                Running::AllDistinct(marks) => marks.clear(),
                Running::WindowDistinct(window) => window.clear(),
            }
        }
    }

    /// Takes in a row. Rows come by event time.
    pub(crate) fn push(&mut self, event_time: i64, row: &impl RowValues) {
        let layout = &self.layout;
        match &mut self.newest {
            Some(newest) => newest.offer(layout, event_time, row),
            None => self.newest = Some(Newest::of(layout, event_time, row)),
        }
        let known = layout.known(event_time);
        for (group, running) in layout.groups.iter().zip(&mut self.running) {
            match running {
                Running::All(tally) => {
                    if let Some(x) = tallied(layout, group, row) {
                        tally.add(x);
                    }
                }
                Running::Window(window) => {
                    if let Some(x) = tallied(layout, group, row) {
                        window.push(known, x);
                    }
                }
                Running::AllDistinct(marks) => {
                    marks.extend(mark(layout, group, row));
                }
                Running::WindowDistinct(window) => {
                    if let Some(mark) = mark(layout, group, row) {
                        window.push(known, mark);
                    }
                }
            }
        }
    }

    /// The event time of the newest row at `now`, if it is not too old. All pushed rows are known at `now`.
    pub(crate) fn fresh(&self, now: i64) -> Option<&Newest> {
        self.newest.as_ref().filter(|n| !self.layout.expired(n.event_time, now))
    }

    /// Hands each feature's value at `now` to `take`, in order; answers the event time of the newest row.
    pub(crate) fn at(&mut self, now: i64, mut take: impl FnMut(usize, Answer<'_>)) -> Option<i64> {
        let layout = self.layout.clone();
        if self.fresh(now).is_none() {
            (0..layout.computations.len()).for_each(|i| take(i, Answer::Null));
            return None;
        }
        self.answers.clear();
        for running in &mut self.running {
            self.answers.push(match running {
                Running::All(tally) => GroupAnswer::Tally(*tally),
                Running::Window(window) => GroupAnswer::Tally(window.at(now)),
                Running::AllDistinct(marks) => GroupAnswer::Distinct(marks.len() as u64),
                Running::WindowDistinct(window) => GroupAnswer::Distinct(window.at(now)),
            });
        }
        let newest = self.newest.as_ref()?;
        for (i, computation) in layout.computations.iter().enumerate() {
            take(i, computed(&layout, *computation, newest, &self.answers, now));
        }
        Some(newest.event_time)
    }
}

/// One feature's value.
pub(crate) fn computed<'a>(
    layout: &Layout,
    computation: Computation,
    newest: &'a Newest,
    answers: &[GroupAnswer],
    now: i64,
) -> Answer<'a> {
    match computation {
        Computation::Last { last, width } => {
            let bound = width.map(|w| now.saturating_sub(w));
            if bound.is_some_and(|b| layout.known(newest.event_time) <= b) {
                Answer::Null
            } else {
                newest.answer(last)
            }
        }
        Computation::Of { group, aggregation } => finish(aggregation, answers[group]),
    }
}

/// What a row brings to a tally: its number, or one where rows or texts are counted.
#[inline]
pub(crate) fn tallied(layout: &Layout, group: &Group, row: &impl RowValues) -> Option<f64> {
    match group.slot {
        None => Some(1.0),
        Some(slot) => match layout.slots[slot] {
            Kind::Number => Some(row.number(slot)).filter(|x| !x.is_nan()),
            Kind::Text => row.text(slot).map(|_| 1.0),
        },
    }
}

/// The mark by which a row's value is told from others.
pub(crate) fn mark(layout: &Layout, group: &Group, row: &impl RowValues) -> Option<u64> {
    let slot = group.slot?;
    match layout.slots[slot] {
        Kind::Number => Some(row.number(slot)).filter(|x| !x.is_nan()).map(number_mark),
        Kind::Text => row.text_mark(slot),
    }
}
