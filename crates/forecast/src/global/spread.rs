//! How far forecasts were off, by how large they were and how far ahead.

use serde::{Deserialize, Serialize};

/// The levels that are kept.
const LEVELS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995];
/// Parts of the horizon.
const PARTS: usize = 3;
/// Forecasts by size.
const SIZES: usize = 10;
/// Fewest errors of a cell.
const CELL_MIN: usize = 100;
/// The least unit of errors, as a share of the series' level.
const UNIT_MIN: f64 = 0.1;

/// Quantiles of errors over the size of the forecast, for cells of forecasts of alike size and distance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    horizon: usize,
    /// Upper ends of all sizes but the largest.
    ends: Vec<f64>,
    /// By part of the horizon and size, quantiles at the levels.
    cells: Vec<Vec<f64>>,
}

/// Collects errors.
pub(crate) struct Builder {
    horizon: usize,
    errors: Vec<(usize, f64, f64)>,
}

fn unit_of(forecast: f64, level: f64) -> f64 {
    let unit = forecast.abs().max(UNIT_MIN * if level.is_finite() { level } else { 0.0 });
    if unit > 0.0 && unit.is_finite() { unit } else { 1.0 }
}

impl Spread {
    pub(crate) fn builder(horizon: usize) -> Builder {
        Builder { horizon, errors: Vec::new() }
    }

    fn part(horizon: usize, ahead: usize) -> usize {
        ((ahead.max(1) - 1) * PARTS / horizon.max(1)).min(PARTS - 1)
    }

    /// The value that stays above the truth with probability `p`.
    pub(crate) fn quantile(&self, ahead: usize, forecast: f64, level: f64, p: f64) -> f64 {
        let size = self.ends.partition_point(|e| *e < forecast.abs());
        let Some(cell) = self.cells.get(Self::part(self.horizon, ahead) * (self.ends.len() + 1) + size) else {
            return forecast;
        };
        let k = LEVELS.partition_point(|l| *l < p);
        let off = match k {
            0 => cell[0],
            k if k == LEVELS.len() => cell[k - 1],
            k => {
                let share = (p - LEVELS[k - 1]) / (LEVELS[k] - LEVELS[k - 1]);
                cell[k - 1] + share * (cell[k] - cell[k - 1])
            }
        };
        // Beyond the horizon that was learnt errors go on to grow, as those of a random walk.
        let further = (ahead as f64 / self.horizon.max(1) as f64).max(1.0).sqrt();
        forecast + off * further * unit_of(forecast, level)
    }

    /// Whether no errors were seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.cells.is_empty()
            || (self.cells.len() == PARTS * (self.ends.len() + 1)
                && self.cells.iter().all(|c| c.len() == LEVELS.len() && c.iter().all(|v| v.is_finite())))
    }
}

impl Builder {
    pub(crate) fn add(&mut self, ahead: usize, forecast: f64, truth: f64, level: f64) {
        let error = (truth - forecast) / unit_of(forecast, level);
        if error.is_finite() {
            self.errors.push((Spread::part(self.horizon, ahead), forecast.abs(), error));
        }
    }

    pub(crate) fn finish(self) -> Spread {
        let mut sizes: Vec<f64> = self.errors.iter().map(|e| e.1).collect();
        if sizes.is_empty() {
            return Spread::default();
        }
        sizes.sort_unstable_by(f64::total_cmp);
        let n_sizes = (sizes.len() / (CELL_MIN * PARTS)).clamp(1, SIZES);
        let mut ends: Vec<f64> = (1..n_sizes).map(|k| sizes[k * sizes.len() / n_sizes]).collect();
        ends.dedup();
        let mut all: Vec<Vec<f64>> = vec![Vec::new(); PARTS * (ends.len() + 1)];
        for (part, size, error) in &self.errors {
            all[part * (ends.len() + 1) + ends.partition_point(|e| e < size)].push(*error);
        }
        let everything: Vec<f64> = self.errors.iter().map(|e| e.2).collect();
        let cells = all
            .into_iter()
            .map(|cell| {
                let mut cell = if cell.len() * 4 < CELL_MIN { everything.clone() } else { cell };
                cell.sort_unstable_by(f64::total_cmp);
                LEVELS.iter().map(|l| at(&cell, *l)).collect()
            })
            .collect();
        Spread { horizon: self.horizon, ends, cells }
    }
}

/// The quantile of sorted values, between neighbours by a straight line.
fn at(sorted: &[f64], level: f64) -> f64 {
    let place = level * (sorted.len() - 1) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + share * (sorted[above] - sorted[below])
}
