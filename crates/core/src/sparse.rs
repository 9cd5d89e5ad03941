//! Rows of which most entries are zero.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A matrix row after row, with the columns that are not zero.
///
/// Invariant: `offsets` has one entry more than there are rows and never falls; the columns of a row are distinct,
/// ascending and below `n_columns`.
///
/// ```
/// use tradewind_core::SparseRows;
/// let m = SparseRows::from_entries(2, 3, vec![(1, 2, 5.0), (0, 1, 1.0), (1, 2, 2.0)]);
/// assert_eq!(m.row(1), (&[2][..], &[7.0][..]));
/// assert_eq!(m.transposed().row(2), (&[1][..], &[7.0][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRows", into = "RawRows")]
pub struct SparseRows {
    n_columns: usize,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct RawRows {
    n_columns: usize,
    #[serde(with = "crate::packed")]
    offsets: Vec<usize>,
    #[serde(with = "crate::packed")]
    columns: Vec<u32>,
    #[serde(with = "crate::packed")]
    values: Vec<f32>,
}

impl TryFrom<RawRows> for SparseRows {
    type Error = Error;

    fn try_from(raw: RawRows) -> Result<Self> {
        Self::new(raw.n_columns, raw.offsets, raw.columns, raw.values)
    }
}

impl From<SparseRows> for RawRows {
    fn from(m: SparseRows) -> Self {
        Self { n_columns: m.n_columns, offsets: m.offsets, columns: m.columns, values: m.values }
    }
}

impl Default for SparseRows {
    /// Without rows and columns.
    fn default() -> Self {
        Self::with_capacity(0, 0, 0)
    }
}

impl SparseRows {
    /// From the parts; an error where they break the invariant.
    pub fn new(n_columns: usize, offsets: Vec<usize>, columns: Vec<u32>, values: Vec<f32>) -> Result<Self> {
        let whole = offsets.first() == Some(&0)
            && offsets.last() == Some(&columns.len())
            && columns.len() == values.len()
            && offsets.windows(2).all(|w| w[0] <= w[1]);
        let ascending = whole
            && offsets.windows(2).all(|w| {
                let row = &columns[w[0]..w[1]];
                row.windows(2).all(|c| c[0] < c[1]) && row.last().is_none_or(|c| (*c as usize) < n_columns)
            });
        if !ascending {
            return Err(Error::Invalid("sparse rows whose parts do not fit together".into()));
        }
        Ok(Self { n_columns, offsets, columns, values })
    }

    /// From entries (row, column, value) in any order; entries of one place are added up. Panics where a place lies
    /// outside.
    pub fn from_entries(n_rows: usize, n_columns: usize, mut entries: Vec<(u32, u32, f32)>) -> Self {
        // Stable, so that a sum is added up in the order given.
        entries.sort_by_key(|(r, c, _)| (*r, *c));
        let mut out = Self::with_capacity(n_columns, n_rows, entries.len());
        let mut at = 0;
        for r in 0..n_rows as u32 {
            while let Some((_, c, v)) = entries.get(at).filter(|e| e.0 == r) {
                assert!((*c as usize) < n_columns, "column {c} of {n_columns}");
                let start = out.offsets[r as usize];
                if out.columns.len() > start && out.columns.last() == Some(c) {
                    *out.values.last_mut().expect("as many values as columns") += v;
                } else {
                    out.columns.push(*c);
                    out.values.push(*v);
                }
                at += 1;
            }
            out.offsets.push(out.columns.len());
        }
        assert!(at == entries.len(), "an entry lies beyond row {n_rows}");
        out
    }

    /// No row yet; rows are put behind one another by [`SparseRows::push`].
    pub fn with_capacity(n_columns: usize, n_rows: usize, n_values: usize) -> Self {
        let mut offsets = Vec::with_capacity(n_rows + 1);
        offsets.push(0);
        Self {
            n_columns,
            offsets,
            columns: Vec::with_capacity(n_values),
            values: Vec::with_capacity(n_values),
        }
    }

    /// One more row. Panics where the columns are not ascending and inside.
    pub fn push(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        let mut next = 0;
        for (c, v) in row {
            assert!(c as usize >= next && (c as usize) < self.n_columns, "columns ascend and lie inside");
            next = c as usize + 1;
            self.columns.push(c);
            self.values.push(v);
        }
        self.offsets.push(self.columns.len());
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Entries that are kept.
    pub fn n_values(&self) -> usize {
        self.values.len()
    }

    /// Columns and values of row `i`. Panics, as a slice would, when there is no such row.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let part = self.offsets[i]..self.offsets[i + 1];
        (&self.columns[part.clone()], &self.values[part])
    }

    /// All values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The sum of every column.
    pub fn column_sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.n_columns];
        self.columns.iter().zip(&self.values).for_each(|(c, v)| sums[*c as usize] += f64::from(*v));
        sums
    }

    /// How many entries every column has.
    pub fn column_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.n_columns];
        self.columns.iter().for_each(|c| counts[*c as usize] += 1);
        counts
    }

    /// Columns as rows.
    pub fn transposed(&self) -> Self {
        let mut offsets = vec![0; self.n_columns + 1];
        self.columns.iter().for_each(|c| offsets[*c as usize + 1] += 1);
        for c in 0..self.n_columns {
            offsets[c + 1] += offsets[c];
        }
        let mut next = offsets.clone();
        let (mut columns, mut values) = (vec![0; self.columns.len()], vec![0.0; self.values.len()]);
        for r in 0..self.n_rows() {
            let (row, of_row) = self.row(r);
            for (c, v) in row.iter().zip(of_row) {
                let at = &mut next[*c as usize];
                columns[*at] = r as u32;
                values[*at] = *v;
                *at += 1;
            }
        }
        Self { n_columns: self.n_rows(), offsets, columns, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_twice_gives_the_same() {
        let entries = (0..200_u32).map(|k| (k * 31 % 17, k * 7 % 23, k as f32)).collect();
        let m = SparseRows::from_entries(17, 23, entries);
        assert_eq!(m.transposed().transposed(), m);
        assert_eq!(m.column_sums().iter().sum::<f64>(), f64::from((0..200).sum::<i32>()));
        let back: SparseRows =
            serde_json::from_value(serde_json::to_value(&m).expect("plain numbers")).expect("plain numbers");
        assert_eq!(back, m);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        for (n, offsets, columns) in [
            (2, vec![0, 1], vec![2]),
            (2, vec![0, 2], vec![1, 0]),
            (2, vec![1], vec![0]),
            (2, vec![], vec![]),
        ] {
            let values = vec![1.0; columns.len()];
            assert!(SparseRows::new(n, offsets, columns, values).is_err());
        }
    }
}
