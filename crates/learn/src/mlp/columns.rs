//! What a network reads of the columns of a table: numbers of about one size, and words of fields.
//!
//! | column | becomes |
//! |---|---|
//! | numbers | `z = (x - median) / scale`, drawn in by `z / √(1 + (z / 4)²)`, which leaves what is usual and keeps what is far within ±4 (Holzmüller et al. 2024); 0 where missing |
//! | numbers with `bins` | beside it `T` numbers by the piecewise linear encoding between quantiles (Gorishniy et al. 2022) |
//! | numbers that may be missing | beside it 1 where missing, else 0 |
//! | up to 8 categories | 1 for the category, 0 for the others |
//! | more categories | a word with a vector; word 0 is what was never seen, or only once |
//!
//! The scale is the distance of the quartiles over 1.349, which is the deviation where numbers are normal; where half of the
//! values are alike it is the deviation. A missing category is one of its own where it was seen.

use crate::matrix::{ColumnKind, Dataset, Matrix};
use crate::transform::{mean_sd, quantile_sorted};
use serde::{Deserialize, Serialize};
use tradewind_nn::mlp::piecewise;

/// Up to so many categories become numbers of their own.
const ONE_HOT_MAX: usize = 8;
/// Numbers stay within this many deviations.
const FAR: f64 = 4.0;
/// Distance of the quartiles of a normal distribution of deviation 1.
const QUARTILES: f64 = 1.349;
/// Numbers of a word's vector at most.
const VECTOR_MAX: usize = 32;
/// Rows whose quantiles are looked at, about.
const ROWS_SORTED: usize = 200_000;

/// How one column is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Column {
    /// A scale of 0: it was always the same, and tells nothing.
    Number { centre: f64, scale: f64, mark: bool, edges: Vec<f64> },
    /// A number for each of these codes, and one for what is missing.
    OneHot { codes: Vec<u32>, mark: bool },
    /// A word for each of these codes after the unknown one, and one for what is missing.
    Words { codes: Vec<u32>, mark: bool },
}

/// Rows as a network reads them.
pub(super) struct Rows {
    pub(super) n: usize,
    /// `width` a row.
    pub(super) numbers: Vec<f32>,
    pub(super) width: usize,
    /// `fields` a row.
    pub(super) codes: Vec<usize>,
    pub(super) fields: usize,
}

impl Rows {
    /// Some rows, in that order.
    pub(super) fn of(&self, rows: &[usize]) -> (Vec<f32>, Vec<usize>) {
        let (w, f) = (self.width, self.fields);
        let numbers = rows.iter().flat_map(|&i| &self.numbers[i * w..(i + 1) * w]).copied().collect();
        let codes = rows.iter().flat_map(|&i| &self.codes[i * f..(i + 1) * f]).copied().collect();
        (numbers, codes)
    }
}

impl Column {
    /// How the columns of a table are to be read, learnt from it.
    pub(super) fn all(data: &Dataset, bins: usize) -> Vec<Self> {
        (0..data.x().n_cols())
            .map(|j| match data.kinds()[j] {
                ColumnKind::Number => Self::number(data.x().column(j), bins),
                ColumnKind::Category => Self::category(&data.x().column(j)),
            })
            .collect()
    }

    fn number(values: Vec<f64>, bins: usize) -> Self {
        let n = values.len();
        let mut known: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
        let mark = known.len() < n;
        let step = known.len().div_ceil(ROWS_SORTED).max(1);
        let ends = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |e, v| (e.0.min(*v), e.1.max(*v)));
        let deviation = mean_sd(&known).1;
        if step > 1 {
            known = known.into_iter().step_by(step).collect();
        }
        known.sort_unstable_by(f64::total_cmp);
        let centre = quantile_sorted(&known, 0.5);
        let quartiles = (quantile_sorted(&known, 0.75) - quantile_sorted(&known, 0.25)) / QUARTILES;
        let range = (ends.1 - ends.0) / (2.0 * FAR);
        let usable = |s: &f64| *s > 0.0 && s.is_finite();
        let scale = [quartiles, deviation, range].into_iter().find(usable).unwrap_or(0.0);
        if scale == 0.0 || !centre.is_finite() || ends.0 == ends.1 {
            return Self::Number { centre: 0.0, scale: 0.0, mark, edges: vec![] };
        }
        let mut edges: Vec<f64> = match bins {
            0 => vec![],
            _ => (0..=bins).map(|t| quantile_sorted(&known, t as f64 / bins as f64)).collect(),
        };
        edges.dedup();
        // One bin is what the number itself says already.
        if edges.len() < 3 || edges.iter().any(|e| !e.is_finite()) {
            edges.clear();
        }
        Self::Number { centre, scale, mark, edges }
    }

    fn category(values: &[f64]) -> Self {
        let mut codes: Vec<u32> = values.iter().filter(|v| !v.is_nan()).map(|v| *v as u32).collect();
        let mark = codes.len() < values.len();
        codes.sort_unstable();
        let mut kept: Vec<u32> = codes.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
        if kept.len() <= ONE_HOT_MAX {
            return Self::OneHot { codes: kept, mark };
        }
        // What was seen once would teach its vector one row by heart; the unknown word learns from it instead.
        let often: Vec<u32> =
            codes.chunk_by(|a, b| a == b).filter(|run| run.len() > 1).map(|r| r[0]).collect();
        if !often.is_empty() {
            kept = often;
        }
        Self::Words { codes: kept, mark }
    }

    /// Numbers that it becomes.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Number { scale, mark, edges, .. } => {
                usize::from(*scale > 0.0) + usize::from(*mark) + edges.len().saturating_sub(1)
            }
            Self::OneHot { codes, mark } => codes.len() + usize::from(*mark),
            Self::Words { .. } => 0,
        }
    }

    /// Words of its field with the unknown one, and numbers of a word's vector; none where it has no words.
    pub(super) fn words(&self) -> Option<(usize, usize)> {
        match self {
            Self::Words { codes, mark } => {
                let words = 1 + codes.len() + usize::from(*mark);
                // A rule of thumb of fast.ai's tabular networks (Howard and Gugger 2020).
                let vector = (1.6 * (words as f64).powf(0.56)).round() as usize;
                Some((words, vector.clamp(2, VECTOR_MAX)))
            }
            _ => None,
        }
    }

    /// Whether what was read back can be used.
    pub(super) fn is_sound(&self) -> bool {
        let ascending = |codes: &[u32]| codes.windows(2).all(|w| w[0] < w[1]);
        match self {
            Self::Number { centre, scale, edges, .. } => {
                centre.is_finite()
                    && scale.is_finite()
                    && *scale >= 0.0
                    && edges.iter().all(|e| e.is_finite())
                    && edges.windows(2).all(|w| w[0] < w[1])
            }
            Self::OneHot { codes, .. } | Self::Words { codes, .. } => ascending(codes),
        }
    }

    fn read(&self, v: f64, numbers: &mut Vec<f32>, codes: &mut Vec<usize>) {
        match self {
            Self::Number { centre, scale, mark, edges } => {
                if *scale > 0.0 {
                    // Bounded first, so that the square below is a number.
                    let z = ((v - centre) / scale).clamp(-1e6, 1e6);
                    let near = z / (1.0 + (z / FAR) * (z / FAR)).sqrt();
                    numbers.push(if v.is_nan() { 0.0 } else { near as f32 });
                }
                if *mark {
                    numbers.push(f32::from(u8::from(v.is_nan())));
                }
                piecewise(v, edges, numbers);
            }
            Self::OneHot { codes: known, mark } => {
                numbers.extend(known.iter().map(|c| f32::from(u8::from(f64::from(*c) == v))));
                if *mark {
                    numbers.push(f32::from(u8::from(v.is_nan())));
                }
            }
            Self::Words { codes: known, mark } => codes.push(match (v.is_nan(), *mark) {
                (true, true) => 1 + known.len(),
                (true, false) => 0,
                // Neither a broken nor a negative code is one that is known.
                (false, _) => {
                    known.binary_search_by(|c| f64::from(*c).total_cmp(&(v + 0.0))).map_or(0, |at| 1 + at)
                }
            }),
        }
    }

    /// Rows of a table whose columns these are.
    pub(super) fn read_all(columns: &[Self], x: &Matrix) -> Rows {
        let width = columns.iter().map(Self::width).sum();
        let fields = columns.iter().filter(|c| c.words().is_some()).count();
        let n = x.n_rows();
        let (mut numbers, mut codes) = (Vec::with_capacity(n * width), Vec::with_capacity(n * fields));
        for row in x.rows() {
            for (column, v) in columns.iter().zip(row) {
                column.read(*v, &mut numbers, &mut codes);
            }
        }
        Rows { n, numbers, width, codes, fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(column: &Column, values: &[f64]) -> Vec<(Vec<f32>, Vec<usize>)> {
        values
            .iter()
            .map(|v| {
                let (mut numbers, mut codes) = (vec![], vec![]);
                column.read(*v, &mut numbers, &mut codes);
                assert_eq!(numbers.len(), column.width());
                assert_eq!(codes.len(), usize::from(column.words().is_some()));
                (numbers, codes)
            })
            .collect()
    }

    #[test]
    fn numbers_are_of_one_size_and_what_is_far_stays_near() {
        let column = Column::number((0..1001).map(f64::from).collect(), 0);
        let told: Vec<f32> =
            read(&column, &[500.0, 500.0 + 500.0 / 1.349, 1e300]).into_iter().map(|r| r.0[0]).collect();
        assert_eq!(told[0], 0.0);
        assert!((told[1] - 0.97).abs() < 0.01 && (told[2] - 4.0).abs() < 1e-3, "{told:?}");
        // Mostly zeros: quartiles say nothing, the deviation does.
        let counts: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i > 90))).collect();
        assert!(read(&Column::number(counts, 4), &[1.0])[0].0[0] > 1.0);
    }

    #[test]
    fn what_is_missing_or_always_the_same_is_told_apart() {
        let column = Column::number(vec![1.0, 2.0, f64::NAN, 4.0], 0);
        assert_eq!(read(&column, &[f64::NAN])[0].0, [0.0, 1.0]);
        assert_eq!(read(&column, &[2.0])[0].0, [0.0, 0.0]);
        assert_eq!(Column::number(vec![3.0; 9], 8).width(), 0);
        assert_eq!(Column::number(vec![f64::NAN; 9], 8).width(), 1);
        assert_eq!(Column::number(vec![], 8).width(), 0);
        for odd in [vec![f64::MAX, f64::MIN, 0.0], vec![1e-320, 0.0, -1e-320, 1e-319]] {
            let column = Column::number(odd.clone(), 3);
            assert!(read(&column, &odd).iter().flat_map(|r| &r.0).all(|v| v.is_finite()), "{column:?}");
        }
    }

    #[test]
    fn pieces_lie_between_quantiles() {
        let column = Column::number((0..=100).map(f64::from).collect(), 4);
        assert_eq!(column.width(), 5);
        assert_eq!(read(&column, &[60.0])[0].0[1..], [1.0, 1.0, 0.4, 0.0]);
        assert_eq!(read(&column, &[-7.0])[0].0[1..], [0.0; 4]);
    }

    #[test]
    fn few_categories_are_numbers_and_many_are_words() {
        let few = Column::category(&[2.0, 5.0, f64::NAN, 2.0]);
        assert_eq!(read(&few, &[5.0])[0].0, [0.0, 1.0, 0.0]);
        assert_eq!(read(&few, &[7.0])[0].0, [0.0; 3]);
        assert_eq!(read(&few, &[f64::NAN])[0].0, [0.0, 0.0, 1.0]);
        let many: Vec<f64> = (0..20).chain(0..19).map(f64::from).collect();
        let many = Column::category(&many);
        // 19 was seen once, 40 and a broken code never.
        let told: Vec<usize> =
            read(&many, &[0.0, 18.0, 19.0, 40.0, 0.5, -1.0, f64::NAN]).iter().map(|r| r.1[0]).collect();
        assert_eq!(told, [1, 19, 0, 0, 0, 0, 0]);
        assert_eq!(many.words().map(|w| w.0), Some(20));
        // All once: they are kept after all.
        assert_eq!(
            Column::category(&(0..20).map(f64::from).collect::<Vec<_>>()).words().map(|w| w.0),
            Some(21)
        );
    }
}
