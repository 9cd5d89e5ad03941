//! A definition with the types of its expressions known: what has to be kept of rows, and how values come of it.

use super::definition::{Aggregation, FeatureView, Window};
use super::tally::{Tally, text_mark};
use arrow::datatypes::{DataType, Field, TimeUnit};
use std::cmp::Ordering;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
}

/// What is added up over one window of one expression; features that differ in their aggregation only share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The expression; none counts rows.
    pub(crate) slot: Option<usize>,
    /// The width in milliseconds; none for all rows.
    pub(crate) width: Option<i64>,
    /// Whether different values are counted, instead of a tally.
    pub(crate) distinct: bool,
}

/// What a group came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupAnswer {
    Tally(Tally),
    Distinct(u64),
}

/// How one feature's value comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Computation {
    /// The newest row's value of the `last`-th kept expression, if that row is in the window.
    Last { last: usize, width: Option<i64> },
    /// From a group.
    Of { group: usize, aggregation: Aggregation },
}

/// Everything that computes the values of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The expressions, each once.
    pub(crate) slots: Vec<Kind>,
    /// The expressions of which the newest row's value is kept, in the order of features.
    pub(crate) last_slots: Vec<usize>,
    pub(crate) groups: Vec<Group>,
    pub(crate) computations: Vec<Computation>,
    pub(crate) ttl: Option<i64>,
    /// How long after its event time a row is known.
    pub(crate) delay: i64,
}

/// A value of a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// There is none.
    Null,
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A value that was borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer<'a> {
    Null,
    Number(f64),
    Text(&'a str),
}

impl Answer<'_> {
    pub(crate) fn owned(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Number(x) => Value::Number(x),
            Self::Text(t) => Value::Text(t.to_owned()),
        }
    }
}

/// The values of one row's expressions. Absent numbers are NaN.
pub(crate) trait RowValues {
    fn number(&self, slot: usize) -> f64;
    fn text(&self, slot: usize) -> Option<&str>;
    fn tie(&self) -> f64;

    /// The mark of a text, for rows that keep it.
    fn text_mark(&self, slot: usize) -> Option<u64> {
        self.text(slot).map(text_mark)
    }
}

impl Layout {
    /// The layout of a view whose expressions, each once in the order of features, have these kinds.
    pub(crate) fn new(view: &FeatureView, slots: Vec<Kind>) -> Self {
        let expressions = expressions(view);
        let slot_of = |e: &Option<String>| e.as_ref().and_then(|e| expressions.iter().position(|x| x == e));
        let (mut last_slots, mut groups, mut computations) = (vec![], vec![], vec![]);
        for feature in &view.features {
            let slot = slot_of(&feature.expression);
            let width = feature.window.width();
            computations.push(match (feature.aggregation, slot) {
                (Aggregation::Last, Some(slot)) => {
                    Computation::Last { last: place_of(&mut last_slots, slot), width }
                }
                (aggregation, _) => {
                    let distinct = aggregation == Aggregation::DistinctCount;
                    let group = place_of(&mut groups, Group { slot, width, distinct });
                    Computation::Of { group, aggregation }
                }
            });
        }
        let ttl = view.ttl.map(|t| t.as_millis());
        Self { slots, last_slots, groups, computations, ttl, delay: view.available_after.as_millis() }
    }

    /// The widest window that has an end.
    pub(crate) fn width_max(&self) -> i64 {
        self.groups.iter().filter_map(|g| g.width).max().unwrap_or(0)
    }

    /// Whether a feature looks at all rows.
    pub(crate) fn looks_at_all(&self) -> bool {
        self.groups.iter().any(|g| g.width.is_none())
    }

    /// Whether a row of this time is too old to stand for its entity at `now`.
    pub(crate) fn expired(&self, event_time: i64, now: i64) -> bool {
        self.ttl.is_some_and(|ttl| now.saturating_sub(event_time) > ttl)
    }

    /// When a row becomes known.
    pub(crate) fn known(&self, event_time: i64) -> i64 {
        event_time.saturating_add(self.delay)
    }

    pub(crate) fn kind_of(&self, computation: Computation) -> Kind {
        match computation {
            Computation::Last { last, .. } => self.slots[self.last_slots[last]],
            Computation::Of { .. } => Kind::Number,
        }
    }

    /// The column of a feature in a frame.
    pub(crate) fn field(&self, view: &FeatureView, i: usize) -> Field {
        let kind = match self.kind_of(self.computations[i]) {
            Kind::Number => DataType::Float64,
            Kind::Text => DataType::Utf8,
        };
        Field::new(view.column(&view.features[i].name), kind, true)
    }
}

/// The column of a view's freshness: the event time of the newest row that its values are made of.
pub(crate) fn time_field(view: &FeatureView) -> Field {
    Field::new(view.column("event_time"), DataType::Timestamp(TimeUnit::Millisecond, None), true)
}

/// The expressions of a view, each once, in the order of features.
pub(crate) fn expressions(view: &FeatureView) -> Vec<String> {
    let mut out = vec![];
    for e in view.features.iter().filter_map(|f| f.expression.as_ref()) {
        place_of(&mut out, e.clone());
    }
    out
}

fn place_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|x| *x == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// A number feature's value from its group.
pub(crate) fn finish(aggregation: Aggregation, answer: GroupAnswer) -> Answer<'static> {
    let value = match (aggregation, answer) {
        (_, GroupAnswer::Distinct(n)) => Some(n as f64),
        (Aggregation::Count, GroupAnswer::Tally(t)) => Some(t.count as f64),
        (Aggregation::Sum, GroupAnswer::Tally(t)) => t.sum(),
        (Aggregation::Mean, GroupAnswer::Tally(t)) => t.mean(),
        (Aggregation::Min, GroupAnswer::Tally(t)) => t.min(),
        (Aggregation::Max, GroupAnswer::Tally(t)) => t.max(),
        (Aggregation::Last | Aggregation::DistinctCount, GroupAnswer::Tally(_)) => None,
    };
    value.map_or(Answer::Null, Answer::Number)
}

/// A kept value of the newest row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    Number(f64),
    Text(Option<String>),
}

/// The newest row of an entity: its time and the values that `last` features ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Newest {
    pub(crate) event_time: i64,
    pub(crate) tie: f64,
    pub(crate) held: Vec<Held>,
}

impl Newest {
    pub(crate) fn of(layout: &Layout, event_time: i64, row: &impl RowValues) -> Self {
        let held = layout.last_slots.iter().map(|&slot| match layout.slots[slot] {
            Kind::Number => Held::Number(row.number(slot)),
            Kind::Text => Held::Text(row.text(slot).map(str::to_owned)),
        });
        Self { event_time, tie: row.tie(), held: held.collect() }
    }

    /// Takes the row's place if the row is newer.
    pub(crate) fn offer(&mut self, layout: &Layout, event_time: i64, row: &impl RowValues) {
        let order = self.event_time.cmp(&event_time);
        if order.then_with(|| self.compare_values(layout, row)) != Ordering::Less {
            return;
        }
        self.event_time = event_time;
        self.tie = row.tie();
        for (held, &slot) in self.held.iter_mut().zip(&layout.last_slots) {
            match held {
                Held::Number(x) => *x = row.number(slot),
                Held::Text(text) => match (text.as_mut(), row.text(slot)) {
                    (Some(text), Some(new)) => {
                        text.clear();
                        text.push_str(new);
                    }
                    (_, new) => *text = new.map(str::to_owned),
                },
            }
        }
    }

    fn compare_values(&self, layout: &Layout, row: &impl RowValues) -> Ordering {
        let mut order = compare_numbers(self.tie, row.tie());
        for (held, &slot) in self.held.iter().zip(&layout.last_slots) {
            order = order.then_with(|| match held {
                Held::Number(x) => compare_numbers(*x, row.number(slot)),
                Held::Text(text) => text.as_deref().cmp(&row.text(slot)),
            });
        }
        order
    }

    pub(crate) fn answer(&self, last: usize) -> Answer<'_> {
        match &self.held[last] {
            Held::Number(x) if x.is_nan() => Answer::Null,
            Held::Number(x) => Answer::Number(*x),
            Held::Text(text) => text.as_deref().map_or(Answer::Null, Answer::Text),
        }
    }
}

/// The order of numbers in ties: absent ones (NaN) first.
pub(crate) fn compare_numbers(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}
