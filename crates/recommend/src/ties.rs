//! Events of equal `ds` have no order among themselves; where a method needs one, chance gives it, and not their names.

use rand::Rng;
use rand::seq::SliceRandom;
use std::ops::Range;
use tradewind_core::History;

/// The items of a history that speak for it, oldest first, and where some are of one `ds`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InOrder {
    pub(crate) items: Vec<u32>,
    ties: Vec<Range<usize>>,
}

impl InOrder {
    pub(crate) fn of(history: History<'_>) -> Self {
        let (mut items, mut ties) = (Vec::new(), Vec::<Range<usize>>::new());
        let mut before = None;
        for k in (0..history.len()).filter(|k| history.weights[*k] > 0.0) {
            let at = items.len();
            if before == Some(history.ds[k]) {
                match ties.last_mut() {
                    Some(tie) if tie.end == at => tie.end += 1,
                    _ => ties.push(at - 1..at + 1),
                }
            }
            before = Some(history.ds[k]);
            items.push(history.items[k]);
        }
        Self { items, ties }
    }

    /// Whether some have no order.
    pub(crate) fn has_ties(&self) -> bool {
        !self.ties.is_empty()
    }

    /// Gives those of one `ds` an order. Where there are none, nothing is drawn.
    pub(crate) fn shuffle(&mut self, rng: &mut impl Rng) {
        for tie in &self.ties {
            self.items[tie.clone()].shuffle(rng);
        }
    }

    /// Takes the last one away.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let last = self.items.pop()?;
        if let Some(tie) = self.ties.last_mut().filter(|tie| tie.end > self.items.len()) {
            tie.end -= 1;
            if tie.len() < 2 {
                self.ties.pop();
            }
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Run;

    fn of(ds: &[i64]) -> InOrder {
        let items: Vec<u32> = (0..ds.len() as u32).collect();
        let mut weights = vec![1.0; ds.len()];
        if let Some(w) = weights.get_mut(1) {
            *w = -1.0;
        }
        InOrder::of(History { items: &items, ds, weights: &weights, events: &vec![0; ds.len()] })
    }

    #[test]
    fn only_what_is_of_one_time_changes_places() {
        let mut told = of(&[1, 1, 1, 2, 3, 3, 3, 4, 5, 5]);
        assert_eq!(told.items, [0, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(told.ties, [0..2, 3..6, 7..9]);
        let mut rng = Run::new(1).rng(0);
        let mut firsts = [0; 3];
        for _ in 0..300 {
            told.shuffle(&mut rng);
            let sorted = |part: &[u32]| {
                let mut part = part.to_vec();
                part.sort_unstable();
                part
            };
            assert_eq!(sorted(&told.items[..2]), [0, 2]);
            assert_eq!((told.items[2], told.items[6]), (3, 7));
            assert_eq!(sorted(&told.items[3..6]), [4, 5, 6]);
            assert_eq!(sorted(&told.items[7..]), [8, 9]);
            firsts[told.items[3] as usize - 4] += 1;
        }
        assert!(firsts.iter().all(|n| (70..130).contains(n)), "{firsts:?}");
        told.pop();
        assert_eq!(told.ties, [0..2, 3..6]);
        for _ in 0..3 {
            told.pop();
        }
        assert_eq!((told.items.len(), &told.ties[..]), (5, &[0..2, 3..5][..]));
    }

    #[test]
    fn what_has_an_order_keeps_it_and_draws_nothing() {
        use rand::RngExt;
        let mut told = of(&[1, 2, 3]);
        assert!(!told.has_ties());
        let (mut a, mut b) = (Run::new(1).rng(0), Run::new(1).rng(0));
        told.shuffle(&mut a);
        assert_eq!(told.items, [0, 2]);
        assert_eq!(a.random_range(0..1_000_000), b.random_range(0..1_000_000));
        assert_eq!(of(&[]).pop(), None);
    }
}
