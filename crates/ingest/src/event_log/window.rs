//! Ids seen lately.

use std::collections::{HashMap, VecDeque};

/// The ids of the last events, bounded by number and by age.
#[derive(Debug)]
pub(crate) struct Window {
    events_max: usize,
    age_ms_max: i64,
    /// Id to the number of its latest entry in the queue.
    seen: HashMap<u128, u64>,
    queue: VecDeque<(u128, i64)>,
    /// The number of the queue's first entry.
    first: u64,
}

impl Window {
    pub(crate) fn new(events_max: usize, age_ms_max: u64) -> Self {
        let age_ms_max = i64::try_from(age_ms_max).unwrap_or(i64::MAX);
        Self { events_max, age_ms_max, seen: HashMap::new(), queue: VecDeque::new(), first: 0 }
    }

    pub(crate) fn holds(&self, id: u128) -> bool {
        self.seen.contains_key(&id)
    }

    /// All ids, oldest first.
    pub(crate) fn ids(&self) -> impl ExactSizeIterator<Item = u128> + '_ {
        self.queue.iter().map(|(id, _)| *id)
    }

    /// Remembers an id; `now_ms` does not fall from call to call.
    pub(crate) fn insert(&mut self, id: u128, now_ms: i64) {
        self.queue.push_back((id, now_ms));
        self.seen.insert(id, self.first + self.queue.len() as u64 - 1);
        while self.queue.len() > self.events_max {
            self.drop_first();
        }
        self.forget_before(now_ms);
    }

    /// Forgets what is too old.
    pub(crate) fn forget_before(&mut self, now_ms: i64) {
        while self.queue.front().is_some_and(|(_, at)| now_ms.saturating_sub(*at) > self.age_ms_max) {
            self.drop_first();
        }
    }

    /// Forgets the latest `n` again: they could not be kept.
    pub(crate) fn take_back(&mut self, n: usize) {
        for _ in 0..n {
            if let Some((id, _)) = self.queue.pop_back() {
                self.seen.remove(&id);
            }
        }
    }

    fn drop_first(&mut self) {
        if let Some((id, _)) = self.queue.pop_front() {
            // A later entry of the same id stays.
            if self.seen.get(&id) == Some(&self.first) {
                self.seen.remove(&id);
            }
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_by_number_and_by_age() {
        let mut window = Window::new(3, 100);
        for id in 0..5 {
            window.insert(id, 10);
        }
        assert_eq!((0..5).filter(|id| window.holds(*id)).collect::<Vec<_>>(), [2, 3, 4]);
        window.insert(9, 111);
        assert_eq!((0..10).filter(|id| window.holds(*id)).collect::<Vec<_>>(), [9]);
        window.take_back(1);
        assert!(!window.holds(9) && window.queue.is_empty());
    }

    #[test]
    fn an_id_seen_again_lives_as_long_as_its_later_entry() {
        let mut window = Window::new(3, 100);
        for id in [7, 1, 7, 2, 3] {
            window.insert(id, 0);
        }
        assert!(window.holds(7) && !window.holds(1));
        window.insert(4, 0);
        assert!(!window.holds(7));
    }
}
