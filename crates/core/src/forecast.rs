//! What a forecaster answers.

use crate::error::{Error, Result};
use crate::freq::{Freq, Stamp};
use serde::{Deserialize, Serialize};

/// A forecast of many series, `horizon` steps each: the mean and, where asked, quantiles.
///
/// Where values move in steps, as prices do, a forecast may also say the likeliest value of each step (`mode`).
///
/// Invariant: `mean.len() == ids.len() * horizon`; `quantiles.len() == mean.len() * levels.len()`; `levels` are sorted,
/// distinct, inside (0, 1); quantiles of one step do not cross; `modes` is empty or as long as `mean`.
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    modes: Vec<f64>,
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
            modes: vec![],
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
        if !self.modes.is_empty() {
            return Err(Error::Invalid(format!(
                "forecast of `{id}` by {}: comes after the modes",
                self.model
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

    /// The same forecast with the likeliest value of each step: `horizon` values for each series in their order, or none.
    ///
    /// # Errors
    /// Another number of values.
    pub fn with_modes(mut self, modes: Vec<f64>) -> Result<Self> {
        if !modes.is_empty() && modes.len() != self.mean.len() {
            return Err(Error::Invalid(format!(
                "forecast by {}: {} modes for {} steps",
                self.model,
                modes.len(),
                self.mean.len()
            )));
        }
        self.modes = modes;
        Ok(self)
    }

    /// Adds the series of `other` behind these.
    ///
    /// # Errors
    /// Another model, frequency, horizon or other levels; modes in only one of the two.
    pub fn append(&mut self, other: Self) -> Result<()> {
        let same = self.model == other.model
            && self.freq == other.freq
            && self.horizon == other.horizon
            && self.levels == other.levels
            && (self.modes.is_empty() == other.modes.is_empty() || self.is_empty() || other.is_empty());
        if !same {
            return Err(Error::Invalid(format!(
                "forecasts by {} and {} do not fit together",
                self.model, other.model
            )));
        }
        self.ids.extend(other.ids);
        self.starts.extend(other.starts);
        self.mean.extend(other.mean);
        self.quantiles.extend(other.quantiles);
        self.modes.extend(other.modes);
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

    /// The likeliest values of series `i`, where the model says them.
    pub fn mode(&self, i: usize) -> Option<&[f64]> {
        self.modes.get(i * self.horizon..(i + 1) * self.horizon)
    }

    /// The likeliest values of all series; empty where the model does not say them.
    pub fn modes(&self) -> &[f64] {
        &self.modes
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

    #[test]
    fn modes_and_more_series() {
        let mut f = Forecast::new("m", Freq::STEP, 2, &[]);
        f.push("a", 5, &[2.0, 3.0], &[]).expect("fits");
        assert_eq!(f.mode(0), None);
        let mut g = f.clone().with_modes(vec![1.0, 4.0]).expect("fits");
        assert!(g.push("b", 5, &[2.0, 3.0], &[]).is_err() && g.clone().append(f.clone()).is_err());
        assert!(f.clone().with_modes(vec![1.0]).is_err());
        g.append(g.clone()).expect("fits");
        assert_eq!((g.mode(1), g.len()), (Some(&[1.0, 4.0][..]), 2));
        let written = serde_json::to_string(&f).expect("JSON");
        assert!(!written.contains("modes"));
        assert_eq!(serde_json::from_str::<Forecast>(&written).expect("a forecast"), f);
        assert!(f.append(Forecast::new("other", Freq::STEP, 2, &[])).is_err());
    }
}
