//! What a forecaster answers.

use crate::error::{Error, Result};
use crate::freq::{Freq, Stamp};
use serde::{Deserialize, Serialize};

/// A forecast of many series, `horizon` steps each: the mean and, where asked, quantiles.
///
/// Invariant: `mean.len() == ids.len() * horizon`; `quantiles.len() == mean.len() * levels.len()`; `levels` are sorted,
/// distinct, inside (0, 1); quantiles of one step do not cross.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    model: String,
    freq: Freq,
    horizon: usize,
    ids: Vec<String>,
    starts: Vec<Stamp>,
    mean: Vec<f64>,
    levels: Vec<f64>,
    quantiles: Vec<f64>,
}

impl Forecast {
    /// A forecast without series, to be filled by [`Forecast::push`]. `levels` are quantile levels as 0.1 and 0.9.
    pub fn new(model: impl Into<String>, freq: Freq, horizon: usize, levels: &[f64]) -> Self {
        let mut levels = levels.to_vec();
        levels.retain(|l| *l > 0.0 && *l < 1.0);
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        Self {
            model: model.into(),
            freq,
            horizon,
            ids: vec![],
            starts: vec![],
            mean: vec![],
            levels,
            quantiles: vec![],
        }
    }

    /// Adds a series: the stamp of its first forecast step, `horizon` means, and `horizon` rows of quantiles in the
    /// order of [`Forecast::levels`]. Quantiles that cross are put in order.
    pub fn push(&mut self, id: &str, start: Stamp, mean: &[f64], quantiles: &[f64]) -> Result<()> {
        let q = self.levels.len();
        if mean.len() != self.horizon || quantiles.len() != self.horizon * q {
            return Err(Error::Invalid(format!(
                "forecast of `{id}` by {}: {} means and {} quantiles for {} steps and {q} levels",
                self.model,
                mean.len(),
                quantiles.len(),
                self.horizon
            )));
        }
        self.ids.push(id.to_owned());
        self.starts.push(start);
        self.mean.extend(mean);
        let from = self.quantiles.len();
        self.quantiles.extend(quantiles);
        if q > 1 {
            self.quantiles[from..].chunks_mut(q).for_each(|row| row.sort_by(f64::total_cmp));
        }
        Ok(())
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The same forecast under another model name.
    pub fn named(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// The spacing of the steps.
    pub fn freq(&self) -> Freq {
        self.freq
    }

    /// Steps ahead.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// How many series.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The series' names.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The quantile levels held.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// The stamp of step `k` (from 0) of series `i`.
    pub fn ds(&self, i: usize, k: usize) -> Stamp {
        self.freq.add(self.starts[i], k as i64)
    }

    /// The means of series `i`.
    pub fn mean(&self, i: usize) -> &[f64] {
        &self.mean[i * self.horizon..(i + 1) * self.horizon]
    }

    /// The quantile at `level` of step `k` of series `i`, interpolated between the levels held; `None` when the level
    /// lies outside them.
    pub fn quantile(&self, i: usize, k: usize, level: f64) -> Option<f64> {
        let q = self.levels.len();
        let row = &self.quantiles[(i * self.horizon + k) * q..][..q];
        let right = self.levels.iter().position(|l| *l >= level - 1e-12)?;
        if (self.levels[right] - level).abs() < 1e-9 {
            return Some(row[right]);
        }
        let left = right.checked_sub(1)?;
        let w = (level - self.levels[left]) / (self.levels[right] - self.levels[left]);
        Some(row[left] + w * (row[right] - row[left]))
    }

    /// The central interval that holds `coverage` (as 0.8) of the outcomes: its two ends at step `k` of series `i`.
    pub fn interval(&self, i: usize, k: usize, coverage: f64) -> Option<(f64, f64)> {
        Some((self.quantile(i, k, 0.5 - coverage / 2.0)?, self.quantile(i, k, 0.5 + coverage / 2.0)?))
    }

    /// Both quantile levels of each central interval: `0.8` gives `0.1` and `0.9`.
    pub fn levels_of(coverages: &[f64]) -> Vec<f64> {
        // Rounded, so that 80 % asks for 0.9 and not for 0.9000000000000000222.
        let tidy = |x: f64| (x * 1e9).round() / 1e9;
        let mut out: Vec<f64> =
            coverages.iter().flat_map(|c| [tidy(0.5 - c / 2.0), tidy(0.5 + c / 2.0)]).collect();
        out.sort_by(f64::total_cmp);
        out.dedup();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_level_inside_is_answered() {
        let mut f = Forecast::new("m", Freq::STEP, 1, &[0.9, 0.1, 0.5]);
        f.push("a", 5, &[2.0], &[3.0, 1.0, 2.0]).expect("fits");
        assert_eq!(f.quantile(0, 0, 0.1), Some(1.0));
        assert_eq!(f.quantile(0, 0, 0.3), Some(1.5));
        assert_eq!(f.quantile(0, 0, 0.95), None);
        assert_eq!(f.quantile(0, 0, 0.05), None);
        assert_eq!(f.interval(0, 0, 0.8), Some((1.0, 3.0)));
        assert!(f.push("b", 5, &[2.0, 3.0], &[]).is_err());
        assert_eq!(Forecast::levels_of(&[0.8, 0.95]), [0.025, 0.1, 0.9, 0.975]);
    }
}
