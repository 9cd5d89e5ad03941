//! Which candidates a series takes, and with what weights: by past errors, or by stacking on past origins.

use super::{AutoForecaster, Candidate, Combine, combined};
use crate::backtest::{self, BacktestResult};
use crate::conformal::{Residuals, look_back};
use tradewind_core::metrics::point;
use tradewind_core::{Forecaster, Panel, Result, Run};
use tradewind_learn::ensemble::{Greedy, simplex_weights};
use tradewind_learn::{Dataset, Matrix, Measure, Task};

/// Fewest series of a class for errors of its own; smaller ones share those of the whole part.
const OWN_CLASS_SERIES: usize = 30;
/// The power of the error in the weights. Squared, as the inverse variances of Bates and Granger.
const WEIGHT_POWER: i32 = 2;

/// Classes of series: smooth, erratic, intermittent, lumpy, and those too few for a class of their own together.
const CLASSES: usize = 5;
/// Fewest values from which weights are stacked.
const STACKED_MIN: usize = 30;
/// Most of them.
const STACKED_MAX: usize = 20_000;

impl AutoForecaster {
    /// Compares the candidates on the past of `part`.
    pub(super) fn choose(
        &self,
        run: &Run,
        part: &Panel,
        pool: &[Candidate],
        season: usize,
        horizon: usize,
    ) -> Result<Chosen> {
        let able: Vec<Vec<bool>> =
            part.iter().map(|s| pool.iter().map(|c| c.can_take(s.y, season)).collect()).collect();
        let Some(settings) = look_back(part, season, horizon, self.params.origins, 0) else {
            // Nothing to look back on: all that can take the series, evenly.
            let no_scores = Scored {
                relative: vec![],
                windows_of: vec![vec![]; part.len()],
                class_of: vec![0; part.len()],
            };
            let weights = (0..part.len())
                .map(|s| self.weigh(&no_scores, &[vec![1.0; pool.len()]], s, None, &able[s]))
                .collect();
            return Ok(Chosen { weights, residuals: vec![] });
        };
        let models: Vec<&dyn Forecaster> = pool.iter().map(|c| &*c.model).collect();
        let result = backtest::run(run, part, &models, &settings)?;
        let scored = Scored::of(&result, part.len());
        let class = self.by_class(run, &result, &scored, &able, None)?;
        let weights: Vec<Vec<(usize, f64)>> =
            (0..part.len()).map(|s| self.weigh(&scored, &class, s, None, &able[s])).collect();

        // The combination's own past errors, each origin with the weights that the others give.
        let mut residuals = Vec::with_capacity(result.windows().len());
        for o in 0..settings.n_origins {
            let without = (settings.n_origins > 1).then_some(o);
            let overlap = settings.horizon.div_ceil(settings.stride());
            let class = self.by_class(run, &result, &scored, &able, without.map(|o| (o, overlap)))?;
            for (w, window) in result.windows().iter().enumerate().filter(|(_, w)| w.origin == o) {
                let weights = self.weigh(
                    &scored,
                    &class,
                    window.series,
                    without.map(|o| (o, overlap)),
                    &able[window.series],
                );
                let said: Vec<(&[f64], f64)> =
                    weights.iter().map(|(m, x)| (result.mean(*m, w), *x)).collect();
                let errors = result
                    .actual(w)
                    .iter()
                    .enumerate()
                    .map(|(k, y)| y - combined(self.params.combine, said.iter().map(|(f, x)| (f[k], *x))))
                    .collect();
                residuals.push(Residuals {
                    series: window.series,
                    origin: o,
                    n_train: window.n_train,
                    errors,
                });
            }
        }
        Ok(Chosen { weights, residuals })
    }

    /// What the windows of a class tell of each candidate: its error, or its weight where weights are stacked. `without`
    /// is as [`AutoForecaster::weigh`] has it.
    fn by_class(
        &self,
        run: &Run,
        result: &BacktestResult,
        scored: &Scored,
        able: &[Vec<bool>],
        without: Option<(usize, usize)>,
    ) -> Result<Vec<Vec<f64>>> {
        let n_models = result.models().len();
        if !self.params.combine.is_stacked() {
            return Ok(scored.class_errors(n_models, able, without.map(|w| w.0)));
        }
        (0..CLASSES).map(|class| self.stacked(run, result, scored, class, without)).collect()
    }

    /// The weights, not negative and together 1, with which the candidates together forecast the windows of a class
    /// best; all the same where there is none.
    fn stacked(
        &self,
        run: &Run,
        result: &BacktestResult,
        scored: &Scored,
        class: usize,
        without: Option<(usize, usize)>,
    ) -> Result<Vec<f64>> {
        let n_models = result.models().len();
        let (mut truth, mut answers) = (Vec::new(), vec![Vec::new(); n_models]);
        for (w, window) in result.windows().iter().enumerate() {
            let apart = without.is_none_or(|(out, overlap)| window.origin.abs_diff(out) >= overlap);
            if scored.class_of[window.series] != class || !apart {
                continue;
            }
            let y = result.actual(w);
            // In units of the candidates' usual error on the window, so that every window counts alike.
            let errors: Vec<f64> = (0..n_models).map(|m| point::mae(y, result.mean(m, w))).collect();
            let unit = errors.iter().sum::<f64>() / n_models as f64;
            if !(unit > 0.0 && unit.is_finite()) {
                continue;
            }
            for k in (0..y.len()).filter(|k| y[*k].is_finite()) {
                truth.push(0.0);
                for (m, said) in answers.iter_mut().enumerate() {
                    said.push((result.mean(m, w)[k] - y[k]) / unit);
                }
            }
        }
        if truth.len() < STACKED_MIN {
            return Ok(vec![1.0 / n_models as f64; n_models]);
        }
        let every = truth.len().div_ceil(STACKED_MAX);
        let rows = |v: Vec<f64>| v.into_iter().step_by(every).collect::<Vec<f64>>();
        let truth = rows(truth);
        let answers: Vec<Matrix> =
            answers.into_iter().map(|a| Matrix::new(truth.len(), 1, rows(a))).collect::<Result<_>>()?;
        if self.params.combine == Combine::Greedy {
            let greedy = Greedy { n_bags: 1, ..Greedy::default() };
            return Ok(greedy.choose(run, Task::Regression, Measure::Mae, &answers, &truth, None)?.weights);
        }
        let rows = Matrix::zeros(truth.len(), 1);
        simplex_weights(run, Task::Regression, &answers, &Dataset::new(rows, truth, vec!["none".into()])?)
    }

    /// The best candidates of a series with their weights, which sum to 1; best first. `without` is an origin that is not
    /// looked at, and how many origins further a window no longer shares observations with it.
    fn weigh(
        &self,
        scored: &Scored,
        class: &[Vec<f64>],
        s: usize,
        without: Option<(usize, usize)>,
        able: &[bool],
    ) -> Vec<(usize, f64)> {
        let prior = &class[scored.class_of[s]];
        if self.params.combine.is_stacked() {
            let own: Vec<(usize, f64)> =
                (0..prior.len()).filter(|m| able[*m] && prior[*m] > 1e-3).map(|m| (m, prior[m])).collect();
            let sum: f64 = own.iter().map(|(_, w)| w).sum();
            if sum > 0.0 {
                let mut own: Vec<(usize, f64)> = own.into_iter().map(|(m, w)| (m, w / sum)).collect();
                own.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                return own;
            }
        }
        let mut by_score: Vec<(usize, f64)> = (0..prior.len())
            .filter(|m| able[*m])
            .map(|m| {
                let own: Vec<f64> = scored.windows_of[s]
                    .iter()
                    .filter(|(o, _)| without.is_none_or(|(out, overlap)| o.abs_diff(out) >= overlap))
                    .map(|(_, w)| scored.relative[*w][m])
                    .filter(|e| e.is_finite())
                    .collect();
                let n = own.len() as f64;
                let score = if n + self.params.shrink > 0.0 {
                    (own.iter().sum::<f64>() + self.params.shrink * prior[m]) / (n + self.params.shrink)
                } else {
                    prior[m]
                };
                (m, score.max(1e-6))
            })
            .collect();
        if by_score.is_empty() {
            // No model can take it as it is; the last of the pool falls back on its own.
            return vec![(prior.len() - 1, 1.0)];
        }
        by_score.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        by_score.truncate(if self.params.combine == Combine::Best { 1 } else { self.params.best.max(1) });
        let weight = |score: f64| {
            if self.params.combine == Combine::Weighted { score.powi(-WEIGHT_POWER) } else { 1.0 }
        };
        let sum: f64 = by_score.iter().map(|(_, e)| weight(*e)).sum();
        by_score.into_iter().map(|(m, e)| (m, weight(e) / sum)).collect()
    }
}

/// What a comparison of candidates gave.
pub(super) struct Chosen {
    pub(super) weights: Vec<Vec<(usize, f64)>>,
    pub(super) residuals: Vec<Residuals>,
}

/// Errors of each candidate on each window, relative to the pool's mean there.
struct Scored {
    relative: Vec<Vec<f64>>,
    /// For each series: origin and window.
    windows_of: Vec<Vec<(usize, usize)>>,
    class_of: Vec<usize>,
}

impl Scored {
    fn of(result: &BacktestResult, n_series: usize) -> Self {
        let n_models = result.models().len();
        let mut windows_of = vec![Vec::new(); n_series];
        let relative = result
            .windows()
            .iter()
            .enumerate()
            .map(|(w, window)| {
                windows_of[window.series].push((window.origin, w));
                let y = result.actual(w);
                let slow = result.classes()[window.series].is_slow();
                let errors: Vec<(f64, f64)> =
                    (0..n_models).map(|m| window_errors(y, result.mean(m, w), slow)).collect();
                let pool_mean = |of: fn(&(f64, f64)) -> f64| {
                    let known: Vec<f64> = errors.iter().map(of).filter(|e| e.is_finite()).collect();
                    known.iter().sum::<f64>() / known.len() as f64
                };
                let (a, b) = (pool_mean(|e| e.0), pool_mean(|e| e.1));
                // Where every candidate is exact, none is better.
                let over = |e: f64, mean: f64| {
                    if mean > 0.0 {
                        e / mean
                    } else if e.is_nan() {
                        e
                    } else {
                        1.0
                    }
                };
                errors.iter().map(|e| 0.5 * (over(e.0, a) + over(e.1, b))).collect()
            })
            .collect();
        // Classes with few series share one pool of errors, which is numbered 4.
        let mut count = [0_usize; 4];
        result.classes().iter().for_each(|c| count[*c as usize] += 1);
        let class_of = result
            .classes()
            .iter()
            .map(|c| if count[*c as usize] >= OWN_CLASS_SERIES { *c as usize } else { 4 })
            .collect();
        Self { relative, windows_of, class_of }
    }

    /// The mean error of each candidate by class, over the series that it can take.
    fn class_errors(&self, n_models: usize, able: &[Vec<bool>], without: Option<usize>) -> Vec<Vec<f64>> {
        let mut sums = vec![vec![(0.0, 0.0); n_models]; CLASSES];
        for (s, windows) in self.windows_of.iter().enumerate() {
            for (_, w) in windows.iter().filter(|(o, _)| Some(*o) != without) {
                for m in (0..n_models).filter(|m| able[s][*m] && self.relative[*w][*m].is_finite()) {
                    for class in [self.class_of[s], 4] {
                        let sum = &mut sums[class][m];
                        sum.0 += self.relative[*w][m];
                        sum.1 += 1.0;
                        if self.class_of[s] == 4 {
                            break;
                        }
                    }
                }
            }
        }
        sums.into_iter()
            .map(|c| c.into_iter().map(|(e, n)| if n > 0.0 { e / n } else { 1.0 }).collect())
            .collect()
    }
}

/// Two errors of one window: sMAPE and mean absolute error; for slow series root mean squared error twice.
fn window_errors(y: &[f64], f: &[f64], slow: bool) -> (f64, f64) {
    if f.iter().any(|v| v.is_nan()) {
        return (f64::NAN, f64::NAN);
    }
    if slow {
        let e = point::rmse(y, f);
        (e, e)
    } else {
        // Relative to the pool on the same window, the scale of the MASE falls out.
        (point::smape(y, f), point::mae(y, f))
    }
}
