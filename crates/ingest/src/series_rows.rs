//! The rows of a panel file, held series by series.

use tradewind_core::Stamp;

/// A step of a series' grid that no row stands for.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// The rows of one series in the order of the file. Held by series, so that a file of millions of rows is in memory
/// about once, and half of the panel's room is given back while the panel is made.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) stamps: Stamps,
    pub(crate) values: Vec<f64>,
    /// Numbers by further column; shorter than the rows when the last ones are empty.
    pub(crate) extras: Vec<Vec<f64>>,
}

/// Stamps one behind the other; a list only where they are not evenly spaced.
#[derive(Default)]
pub(crate) struct Stamps {
    n: usize,
    first: Stamp,
    step: Stamp,
    listed: Vec<Stamp>,
}

impl Stamps {
    pub(crate) fn push(&mut self, ds: Stamp) {
        if self.listed.is_empty() {
            match self.n {
                0 => self.first = ds,
                1 => self.step = ds.saturating_sub(self.first),
                _ => {}
            }
            if self.at(self.n) == ds {
                self.n += 1;
                return;
            }
            self.listed = (0..self.n).map(|i| self.at(i)).collect();
        }
        self.listed.push(ds);
        self.n += 1;
    }

    pub(crate) fn at(&self, i: usize) -> Stamp {
        match self.listed.get(i) {
            Some(ds) => *ds,
            None => self.first.saturating_add(self.step.saturating_mul(i as i64)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Stamp> + '_ {
        (0..self.n).map(|i| self.at(i))
    }

    /// Whether each stamp is the one before it and `step`.
    pub(crate) fn are_apart_by(&self, step: Stamp) -> bool {
        self.listed.is_empty() && (self.n < 2 || self.step == step)
    }

    pub(crate) fn are_sorted(&self) -> bool {
        if self.listed.is_empty() { self.n < 2 || self.step >= 0 } else { self.listed.is_sorted() }
    }
}

/// Which row of a series stands at each step of its grid, from the first observation to the last row.
pub(crate) enum Grid {
    /// Every row from this one on.
    From(usize, usize),
    /// These; `NO_ROW` where there is none.
    Listed(Vec<u32>),
}

impl Grid {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::From(_, n) => *n,
            Self::Listed(rows) => rows.len(),
        }
    }

    /// The value of step `k`; NaN where no row or no value is.
    pub(crate) fn value(&self, k: usize, values: &[f64]) -> f64 {
        let row = match self {
            Self::From(first, _) => first + k,
            Self::Listed(rows) => rows[k] as usize,
        };
        values.get(row).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_as_they_were_given() {
        for given in [
            &[][..],
            &[5],
            &[5, 5],
            &[0, 7, 14, 21],
            &[0, 7, 14, 22, 29, 36],
            &[3, 2, 1, 9],
            &[i64::MAX - 1, i64::MAX],
        ] {
            let mut stamps = Stamps::default();
            given.iter().for_each(|ds| stamps.push(*ds));
            assert_eq!(stamps.iter().collect::<Vec<_>>(), given);
            assert_eq!(stamps.are_sorted(), given.is_sorted());
        }
    }
}
