//! Binned columns: every value as the small number of its bin, which is what trees are grown on.
//!
//! A column of numbers is cut at up to `max_bins − 1` edges so that bins hold about equally many rows of a sample;
//! values that are common get a bin of their own (the greedy rule of LightGBM, Ke et al. 2017). A column of categories
//! gets one bin per category, the most frequent first; rare categories share the last bin with missing and unknown
//! ones. In a column of numbers the last bin holds the missing values. Bins lie twice in memory: column by column, for
//! parting rows at a split, and row by row, for adding up histograms in one pass.

use crate::matrix::{ColumnKind, Dataset, Matrix};
use rand::RngExt;
use rayon::prelude::*;
use tradewind_core::{Error, Result, Run};

/// Rows binned by one task.
const TILE_ROWS: usize = 1024;

/// Columns whose sample is read in one pass, so that a cache line of a row serves them all.
const BATCH: usize = 8;

/// Values looked up side by side.
const LANES: usize = 8;

/// How columns are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinParams {
    /// Most bins of a column of numbers, without the one for missing values; 2 to 65,535. Up to 255 a bin takes one
    /// byte.
    pub max_bins: usize,
    /// Fewest sampled rows in a bin.
    pub min_rows: usize,
    /// Rows the edges are chosen from.
    pub sample_rows: usize,
}

impl Default for BinParams {
    fn default() -> Self {
        Self { max_bins: 255, min_rows: 3, sample_rows: 200_000 }
    }
}

/// How one column is cut. The last bin is the one for missing values.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnBins {
    /// Bin `b` holds the values above `edges[b − 1]` and at most `edges[b]`.
    Numbers {
        /// The upper edges of all bins but the last; ascending.
        edges: Vec<f64>,
        /// The edges followed by infinities up to a power of two less one, for searching without branches.
        padded: Vec<f64>,
    },
    /// Bin `b` holds the category `codes[b]`.
    Categories {
        /// The categories by bin, the most frequent first.
        codes: Vec<u32>,
        /// The bin of each code; those not kept have the last bin.
        bin_of: Vec<u32>,
    },
}

impl ColumnBins {
    fn numbers(edges: Vec<f64>) -> Self {
        let mut padded = edges.clone();
        padded.resize((edges.len() + 1).next_power_of_two() - 1, f64::INFINITY);
        Self::Numbers { edges, padded }
    }

    /// Bins that hold values; the bin of this number holds the missing ones.
    pub fn n_values(&self) -> usize {
        match self {
            Self::Numbers { edges, .. } => edges.len() + 1,
            Self::Categories { codes, .. } => codes.len(),
        }
    }

    /// The bin of a value.
    #[inline]
    pub fn bin(&self, value: f64) -> usize {
        match self {
            Self::Numbers { edges, .. } if value.is_nan() => edges.len() + 1,
            Self::Numbers { padded, .. } => below(padded, value),
            Self::Categories { codes, bin_of } => {
                let known = if value >= 0.0 { bin_of.get(value as usize) } else { None };
                known.map_or(codes.len(), |b| *b as usize)
            }
        }
    }

    /// The bins of several values.
    fn bins<T: Bin>(&self, values: &[f64], out: &mut [T]) {
        let Self::Numbers { edges, padded } = self else {
            out.iter_mut().zip(values).for_each(|(out, v)| *out = T::of(self.bin(*v)));
            return;
        };
        let whole = values.len() / LANES * LANES;
        for (v, out) in values[..whole].chunks_exact(LANES).zip(out.chunks_exact_mut(LANES)) {
            let mut at = [0_usize; LANES];
            let mut step = padded.len().div_ceil(2);
            while step > 0 {
                for k in 0..LANES {
                    at[k] += if padded[at[k] + step - 1] < v[k] { step } else { 0 };
                }
                step /= 2;
            }
            for k in 0..LANES {
                out[k] = T::of(if v[k].is_nan() { edges.len() + 1 } else { at[k] });
            }
        }
        out[whole..].iter_mut().zip(&values[whole..]).for_each(|(out, v)| *out = T::of(self.bin(*v)));
    }
}

/// How many of the edges lie below the value.
#[inline]
fn below(padded: &[f64], value: f64) -> usize {
    let mut at = 0;
    let mut step = padded.len().div_ceil(2);
    while step > 0 {
        at += if padded[at + step - 1] < value { step } else { 0 };
        step /= 2;
    }
    at
}

/// The type that holds a bin's number.
pub trait Bin: Copy + Send + Sync + Default + 'static {
    /// The bin of this number; numbers beyond the type are cut off.
    fn of(bin: usize) -> Self;
    /// Its number.
    fn at(self) -> usize;
}

impl Bin for u8 {
    #[inline(always)]
    fn of(bin: usize) -> Self {
        bin as Self
    }
    #[inline(always)]
    fn at(self) -> usize {
        self.into()
    }
}

impl Bin for u16 {
    #[inline(always)]
    fn of(bin: usize) -> Self {
        bin as Self
    }
    #[inline(always)]
    fn at(self) -> usize {
        self.into()
    }
}

/// The bins of all values.
#[derive(Clone, Debug)]
pub struct Store<T> {
    /// One list per column.
    pub columns: Vec<Vec<T>>,
    /// The same, row after row.
    pub rows: Vec<T>,
}

/// The bins in one byte each where they fit, else in two.
#[derive(Clone, Debug)]
pub enum Bins {
    /// All columns have at most 256 bins.
    Narrow(Store<u8>),
    /// Some column has more.
    Wide(Store<u16>),
}

/// A binned data set.
#[derive(Clone, Debug)]
pub struct Binned {
    /// Rows.
    pub n_rows: usize,
    /// How each column is cut.
    pub columns: Vec<ColumnBins>,
    /// The bins.
    pub bins: Bins,
}

impl Binned {
    /// Cuts the columns and bins all rows. Edges are chosen from a sample of the rows that depends on the run's seed
    /// alone. Fails on more than 2³⁰ rows.
    pub fn new(run: &Run, data: &Dataset, params: &BinParams) -> Result<Self> {
        run.check()?;
        if data.n_rows() > 1 << 30 {
            return Err(Error::Invalid(format!(
                "trees are grown on at most {} rows; there are {}",
                1 << 30,
                data.n_rows()
            )));
        }
        let x = data.x();
        let sample = sample(run, x.n_rows(), params.sample_rows);
        let starts: Vec<usize> = (0..x.n_cols()).step_by(BATCH).collect();
        let columns: Vec<Vec<ColumnBins>> = starts
            .par_iter()
            .map(|&first| {
                let last = (first + BATCH).min(x.n_cols());
                let mut values = vec![Vec::with_capacity(sample.len()); last - first];
                for &i in &sample {
                    for (list, v) in values.iter_mut().zip(&x.row(i)[first..last]) {
                        if !v.is_nan() {
                            list.push(*v);
                        }
                    }
                }
                let cut = values.into_iter().enumerate().map(|(k, list)| match data.kinds()[first + k] {
                    ColumnKind::Number => cut_numbers(list, params),
                    ColumnKind::Category => cut_categories(&list, params),
                });
                cut.collect()
            })
            .collect();
        let columns: Vec<ColumnBins> = columns.into_iter().flatten().collect();
        run.check()?;
        let narrow = columns.iter().all(|c| c.n_values() <= 255);
        let bins = if narrow { Bins::Narrow(store(&columns, x)) } else { Bins::Wide(store(&columns, x)) };
        Ok(Self { n_rows: x.n_rows(), columns, bins })
    }
}

/// One row drawn from each of `most` stretches of equal length; all rows when there are fewer.
fn sample(run: &Run, n: usize, most: usize) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    let mut rng = run.rng(0x0b17);
    let step = n as f64 / most as f64;
    (0..most).map(|k| (((k as f64 + rng.random::<f64>()) * step) as usize).min(n - 1)).collect()
}

/// Bins of numbers, after LightGBM's greedy rule.
fn cut_numbers(mut values: Vec<f64>, params: &BinParams) -> ColumnBins {
    // Minus zero is zero.
    values.iter_mut().for_each(|v| *v += 0.0);
    values.sort_unstable_by(f64::total_cmp);
    let mut distinct: Vec<(f64, usize)> = Vec::new();
    for v in values {
        match distinct.last_mut() {
            Some((last, count)) if *last == v => *count += 1,
            _ => distinct.push((v, 1)),
        }
    }
    let mut edges = Vec::new();
    let mut cut = |i: usize| {
        let (a, b) = (distinct[i].0, distinct[i + 1].0);
        let middle = a / 2.0 + b / 2.0;
        edges.push(if middle >= a && middle < b { middle } else { a });
    };
    let total: usize = distinct.iter().map(|d| d.1).sum();
    if distinct.len() <= params.max_bins {
        let mut count = 0;
        for i in 0..distinct.len().saturating_sub(1) {
            count += distinct[i].1;
            if count >= params.min_rows {
                cut(i);
                count = 0;
            }
        }
        return ColumnBins::numbers(edges);
    }
    let bins = params.max_bins.min(total / params.min_rows.max(1)).max(1);
    let mean = total as f64 / bins as f64;
    let big: Vec<bool> = distinct.iter().map(|d| d.1 as f64 >= mean).collect();
    let n_big = big.iter().filter(|b| **b).count();
    let mut rest_bins = bins - n_big.min(bins);
    let mut rest = total - distinct.iter().zip(&big).filter(|(_, b)| **b).map(|(d, _)| d.1).sum::<usize>();
    let mut mean = rest as f64 / rest_bins.max(1) as f64;
    let (mut count, mut made) = (0, 1);
    for i in 0..distinct.len() - 1 {
        if made >= bins {
            break;
        }
        count += distinct[i].1;
        if !big[i] {
            rest -= distinct[i].1;
        }
        if big[i] || count as f64 >= mean || (big[i + 1] && count as f64 >= (mean * 0.5).max(1.0)) {
            cut(i);
            made += 1;
            count = 0;
            if !big[i] {
                rest_bins = rest_bins.saturating_sub(1);
                mean = rest as f64 / rest_bins.max(1) as f64;
            }
        }
    }
    ColumnBins::numbers(edges)
}

/// Bins of categories by frequency: all while there is room, then as many as make up 99 % of the rows; categories
/// rarer than `min_rows` are left to the last bin.
fn cut_categories(values: &[f64], params: &BinParams) -> ColumnBins {
    let top = values.iter().copied().fold(-1.0, f64::max);
    let mut count = vec![0_usize; (top + 1.0) as usize];
    values.iter().for_each(|v| count[*v as usize] += 1);
    let mut codes: Vec<u32> = (0..count.len() as u32).filter(|c| count[*c as usize] > 0).collect();
    codes.sort_by_key(|c| (std::cmp::Reverse(count[*c as usize]), *c));
    let enough = (values.len() as f64 * 0.99).round() as usize;
    let mut covered = 0;
    let mut kept = 0;
    for c in &codes {
        let n = count[*c as usize];
        if (covered >= enough && kept + 1 >= params.max_bins) || (n < params.min_rows && kept > 1) {
            break;
        }
        covered += n;
        kept += 1;
    }
    codes.truncate(kept);
    let mut bin_of = vec![kept as u32; count.len()];
    codes.iter().enumerate().for_each(|(b, c)| bin_of[*c as usize] = b as u32);
    ColumnBins::Categories { codes, bin_of }
}

fn store<T: Bin>(columns: &[ColumnBins], x: &Matrix) -> Store<T> {
    let (n, p) = (x.n_rows(), x.n_cols());
    let mut by_column = vec![vec![T::default(); n]; p];
    let mut by_row = vec![T::default(); n * p];
    if p > 0 {
        let mut tiles: Vec<Vec<&mut [T]>> =
            (0..n.div_ceil(TILE_ROWS)).map(|_| Vec::with_capacity(p)).collect();
        for column in &mut by_column {
            column.chunks_mut(TILE_ROWS).zip(&mut tiles).for_each(|(part, tile)| tile.push(part));
        }
        tiles.into_par_iter().zip(by_row.par_chunks_mut(TILE_ROWS * p)).enumerate().for_each(
            |(t, (tile, rows))| {
                let first = t * TILE_ROWS;
                let values = &x.values()[first * p..first * p + rows.len()];
                let mut list = [0.0; TILE_ROWS];
                for (j, part) in tile.into_iter().enumerate() {
                    let list = &mut list[..part.len()];
                    list.iter_mut().zip(values[j..].iter().step_by(p)).for_each(|(to, v)| *to = *v);
                    columns[j].bins(list, part);
                    rows[j..].iter_mut().step_by(p).zip(&*part).for_each(|(to, b)| *to = *b);
                }
            },
        );
    }
    Store { columns: by_column, rows: by_row }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binned(columns: &[Vec<f64>], kinds: Vec<ColumnKind>, max_bins: usize) -> Binned {
        let x = Matrix::from_columns(columns).expect("columns of one length");
        let y = vec![0.0; x.n_rows()];
        let data = Dataset::with_missing(x, y, vec![]).expect("finite").with_kinds(kinds).expect("codes");
        Binned::new(&Run::new(0), &data, &BinParams { max_bins, ..BinParams::default() })
            .expect("data that can be binned")
    }

    #[test]
    fn every_value_lies_between_its_edges() {
        let mut values: Vec<f64> = (0..5000).map(|i| f64::from(i * 7919 % 5000).powi(2)).collect();
        values[17] = f64::NAN;
        values.extend([0.0; 900]);
        for max_bins in [2, 16, 255, 1000] {
            let b = binned(std::slice::from_ref(&values), vec![ColumnKind::Number], max_bins);
            let ColumnBins::Numbers { edges, .. } = &b.columns[0] else { panic!("numbers") };
            assert!(edges.len() < max_bins && edges.len() + 10 > max_bins.min(900), "{}", edges.len());
            for (i, v) in values.iter().enumerate() {
                let (bin, row) = match &b.bins {
                    Bins::Narrow(s) => (s.columns[0][i].at(), s.rows[i].at()),
                    Bins::Wide(s) => (s.columns[0][i].at(), s.rows[i].at()),
                };
                assert_eq!((bin, bin), (b.columns[0].bin(*v), row));
                match v.is_nan() {
                    true => assert_eq!(bin, edges.len() + 1),
                    false => {
                        assert!(bin == 0 || edges[bin - 1] < *v);
                        assert!(bin == edges.len() || *v <= edges[bin]);
                    }
                }
            }
        }
    }

    #[test]
    fn categories_come_by_frequency_and_the_rest_last() {
        let values: Vec<f64> = [vec![4.0; 9], vec![2.0; 30], vec![7.0; 1], vec![0.0; 20]].concat();
        let b = binned(&[values], vec![ColumnKind::Category], 255);
        let ColumnBins::Categories { codes, .. } = &b.columns[0] else { panic!("categories") };
        assert_eq!(codes, &[2, 0, 4]);
        assert_eq!([2.0, 0.0, 4.0, 7.0, 99.0, f64::NAN].map(|v| b.columns[0].bin(v)), [0, 1, 2, 3, 3, 3]);
    }
}
