//! Columns cut into at most 255 bins, with the values at each bin's edges, for trees that look at few rows at a time.

use crate::matrix::{ColumnKind, Dataset};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Most bins of one column, the bin of missing values not counted.
pub(super) const BINS_MAX: usize = 255;

/// One column as bins.
#[derive(Debug)]
pub(super) struct Binned {
    /// The bin of each row.
    pub bins: Vec<u8>,
    /// Bins that hold values.
    pub n_bins: usize,
    /// The bin of missing values, when there are any.
    pub missing: Option<u8>,
    /// What the bins hold.
    pub values: BinValues,
}

/// What the bins of a column hold.
#[derive(Debug)]
pub(super) enum BinValues {
    /// The least and the greatest value of each bin.
    Numbers { low: Vec<f64>, high: Vec<f64> },
    /// The category codes of each bin; the last bin holds all that are too rare for their own.
    Codes(Vec<Vec<u32>>),
}

/// Cuts all columns, `max_bins` (2 to 255) bins each at most; where some value is missing, one fewer.
pub(super) fn cut(data: &Dataset, max_bins: usize) -> Vec<Binned> {
    (0..data.x().n_cols())
        .into_par_iter()
        .map(|j| {
            let column = data.x().column(j);
            match data.kinds()[j] {
                ColumnKind::Number => numbers(&column, max_bins),
                ColumnKind::Category => codes(&column, max_bins),
            }
        })
        .collect()
}

fn numbers(column: &[f64], max_bins: usize) -> Binned {
    let mut sorted: Vec<f64> = column.iter().copied().filter(|v| !v.is_nan()).collect();
    let holed = sorted.len() < column.len();
    let max_bins = if holed { max_bins - 1 } else { max_bins }.max(1);
    // −0 and 0 are one value.
    sorted.iter_mut().for_each(|v| *v += 0.0);
    sorted.par_sort_unstable_by(f64::total_cmp);
    let distinct = 1 + sorted.windows(2).filter(|w| w[0] < w[1]).count();
    let (mut low, mut high) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < sorted.len() {
        // Equal shares of what is left, but never a cut between equal values.
        let left = max_bins - low.len();
        let mut end = at + 1;
        if distinct > max_bins {
            end = (at + (sorted.len() - at).div_ceil(left)).min(sorted.len());
        }
        let edge = sorted[end - 1];
        end += sorted[end..].partition_point(|v| *v <= edge);
        low.push(sorted[at]);
        high.push(edge);
        at = end;
    }
    let n_bins = low.len();
    let missing = holed.then_some(n_bins as u8);
    let bins = column
        .iter()
        .map(|v| if v.is_nan() { n_bins as u8 } else { high.partition_point(|h| h < v) as u8 })
        .collect();
    Binned { bins, n_bins, missing, values: BinValues::Numbers { low, high } }
}

fn codes(column: &[f64], max_bins: usize) -> Binned {
    let mut count: BTreeMap<u32, usize> = BTreeMap::new();
    column.iter().filter(|v| !v.is_nan()).for_each(|v| *count.entry(*v as u32).or_default() += 1);
    let holed = column.iter().any(|v| v.is_nan());
    let max_bins = if holed { max_bins - 1 } else { max_bins }.max(1);
    let mut order: Vec<(u32, usize)> = count.into_iter().collect();
    order.sort_by_key(|(code, n)| (std::cmp::Reverse(*n), *code));
    let n_bins = order.len().min(max_bins);
    let mut held = vec![Vec::new(); n_bins];
    let mut bin_of = BTreeMap::new();
    for (i, (code, _)) in order.iter().enumerate() {
        let bin = i.min(n_bins - 1);
        held[bin].push(*code);
        bin_of.insert(*code, bin as u8);
    }
    let bins = column.iter().map(|v| if v.is_nan() { n_bins as u8 } else { bin_of[&(*v as u32)] }).collect();
    Binned { bins, n_bins, missing: holed.then_some(n_bins as u8), values: BinValues::Codes(held) }
}
