//! Complex exponential smoothing: level and a hidden potential smoothed together, without a fixed form of trend.
//!
//! A series is seen as the real part of a complex one whose imaginary part, the potential, is what smoothing left over.
//! With `y = ℓ + ε` and complex weights `α₀ + i α₁` the recursions are
//!
//! ```text
//! ℓ ← ℓ − (1 − α₁) c + (α₀ − α₁) ε
//! c ← ℓ + (1 − α₀) c + (α₀ + α₁) ε
//! ```
//!
//! which wander between a level and a trend of any shape, as the data want. With a season of `m` steps they may be those of
//! `m` steps ago (`simple`: each place of the season goes its own way); an added season `s ← s + β₀ ε` may stand beside
//! them (`partial`), or a complex one with `β₀ + i β₁` (`full`).
//!
//! | parameter | default | meaning |
//! | --- | --- | --- |
//! | `model` | `auto` | `none`, `simple`, `partial`, `full`; `auto` takes the lowest corrected AIC |
//! | `season_length` | by frequency | steps of a season |
//!
//! Weights (0.01 to 1.8, 1.9, 1.5, 1.5) minimise the squared errors one step ahead. The states before the first
//! observation are not estimated but looked back on: the recursions run over the series, then over the reversed one from
//! where they ended, and then forward again. Standard deviations are exact for these linear recursions. Unknown
//! observations are skipped. A series without two whole seasons has none.
//!
//! ```
//! use tradewind_core::{Ahead, Freq, Panel, Params, Run};
//! let y = (0..40).map(|t| 50.0 + 2.0 * t as f64 + [3.0, -1.0, -2.0, 0.0][t % 4]).collect();
//! let panel = Panel::from_series(Freq::STEP, vec![("tea".into(), 0, y)]).unwrap();
//! let mut params = Params::new();
//! params.insert("season_length".into(), 4.into());
//! let model = (tradewind_forecast::entry("ces").unwrap().build)(&params).unwrap();
//! let ahead = model.fit(&Run::new(0), &panel).unwrap().predict(&Run::new(0), &Ahead::new(4, &[])).unwrap();
//! assert!((ahead.mean(0)[0] - 133.0).abs() < 2.0);
//! ```
//!
//! Source: Svetunkov, Kourentzes & Ord (2022), *Complex exponential smoothing*, Naval Research Logistics 69.

use crate::local::{self, FittedSeries, LocalModel, SEASON_LENGTH, Steps, cut_off, filled_at_least, season_of};
use crate::optimize::least_squares;
use crate::seasonality::classical_pattern;
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "ces",
    summary: "Complex exponential smoothing: level and a hidden potential together, any shape of trend.",
    summary_zh: "复指数平滑：水平与隐含势共同平滑，不预设趋势形式。",
    source: "Svetunkov, Kourentzes & Ord (2022), Naval Research Logistics 69",
    params: &[
        ParamSpec {
            name: "model",
            kind: ParamKind::Choice(&["auto", "none", "simple", "partial", "full"]),
            default: "auto",
            summary: "the season: none, each place its own series, added, or complex; auto by corrected AIC",
        },
        SEASON_LENGTH,
    ],
    needs: Needs { min_observations: 5, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Ces>,
    load: local::load::<Ces>,
};

/// How the season joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CesModel {
    /// By corrected AIC.
    #[default]
    Auto,
    /// No season.
    None,
    /// Each place of the season has its own level and potential.
    Simple,
    /// An added season beside level and potential.
    Partial,
    /// A complex season beside level and potential.
    Full,
}

impl CesModel {
    const EACH: [Self; 4] = [Self::None, Self::Simple, Self::Partial, Self::Full];

    fn n_weights(self) -> usize {
        match self {
            Self::Full | Self::Auto => 4,
            Self::Partial => 3,
            Self::None | Self::Simple => 2,
        }
    }
}

/// Complex exponential smoothing; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ces {
    /// How the season joins.
    pub model: CesModel,
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
}

/// What [`Ces`] keeps of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedCes {
    model: CesModel,
    /// `α₀`, `α₁`, `β₀`, `β₁`; 0 where there is none.
    weights: [f64; 4],
    states: States,
    /// Of the scaled series.
    sigma: f64,
    scale: f64,
}

/// Level and potential, and pairs by place of the season; the next step has `season[next]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct States {
    level: [f64; 2],
    season: Vec<[f64; 2]>,
    next: usize,
}

/// A complex pair one step on.
#[inline(always)]
fn turn([l, c]: [f64; 2], w0: f64, w1: f64, e: f64) -> [f64; 2] {
    [l - (1.0 - w1) * c + (w0 - w1) * e, l + (1.0 - w0) * c + (w0 + w1) * e]
}

impl States {
    fn ahead(&self, model: CesModel) -> f64 {
        match model {
            CesModel::Simple => self.season[self.next][0],
            CesModel::Partial | CesModel::Full => self.level[0] + self.season[self.next][0],
            CesModel::None | CesModel::Auto => self.level[0],
        }
    }

    fn advance(&mut self, model: CesModel, w: &[f64; 4], e: f64) {
        if model != CesModel::Simple {
            self.level = turn(self.level, w[0], w[1], e);
        }
        if model == CesModel::None {
            return;
        }
        let own = &mut self.season[self.next];
        *own = match model {
            CesModel::Simple => turn(*own, w[0], w[1], e),
            CesModel::Full => turn(*own, w[2], w[3], e),
            _ => [own[0] + w[2] * e, 0.0],
        };
        self.next = if self.next + 1 == self.season.len() { 0 } else { self.next + 1 };
    }

    /// The states from which the reversed series begins, or the series itself after the reversed one: those of the steps
    /// beyond the end, as expected there.
    fn reverse(&mut self, model: CesModel, w: &[f64; 4]) {
        // Only the first step beyond the end stands beside the last observation, but every place of the season has its own.
        let level = turn(self.level, w[0], w[1], 0.0);
        (0..self.season.len()).for_each(|_| self.advance(model, w, 0.0));
        if model != CesModel::Simple {
            self.level = level;
        }
        self.season.rotate_left(self.next);
        self.season.reverse();
        self.next = 0;
    }

    /// One pass with the errors written to `errors`.
    fn pass(&mut self, model: CesModel, w: &[f64; 4], y: impl Iterator<Item = f64>, errors: &mut [f64]) {
        for (v, out) in y.zip(errors) {
            let e = if v.is_nan() { 0.0 } else { v - self.ahead(model) };
            *out = e;
            self.advance(model, w, e);
        }
    }
}

/// A first estimate of the states before the first observation.
fn first_states(filled: &[f64], model: CesModel, m: usize) -> States {
    let pair = |v: f64| [v, v / 1.1];
    let mean = |k: usize| filled[..k].iter().sum::<f64>() / k as f64;
    match model {
        CesModel::None | CesModel::Auto => States { level: pair(mean(filled.len().min(10))), ..States::default() },
        CesModel::Simple => {
            States { season: filled[..m].iter().map(|v| pair(*v)).collect(), ..States::default() }
        }
        CesModel::Partial | CesModel::Full => {
            let indices = classical_pattern(filled, m, false).map_or_else(|| vec![0.0; m], |p| p.indices);
            let own = |s: f64| if model == CesModel::Full { pair(s) } else { [s, 0.0] };
            States { level: pair(mean(m)), season: indices.into_iter().map(own).collect(), next: 0 }
        }
    }
}

/// Lowest and highest weights.
const LOW: f64 = 0.01;
const HIGH: [f64; 4] = [1.8, 1.9, 1.5, 1.5];

/// A series with room for the passes.
struct Look<'a> {
    y: &'a [f64],
    first: States,
    model: CesModel,
    states: States,
}

impl Look<'_> {
    /// The errors of the last pass forward; the states end behind the last observation.
    fn errors(&mut self, w: &[f64; 4], errors: &mut [f64]) {
        let (model, y) = (self.model, self.y);
        self.states.clone_from(&self.first);
        self.states.pass(model, w, y.iter().copied(), errors);
        self.states.reverse(model, w);
        self.states.pass(model, w, y.iter().rev().copied(), errors);
        self.states.reverse(model, w);
        self.states.pass(model, w, y.iter().copied(), errors);
    }
}

/// Fits one model to a scaled series: weights, sum of squared errors, the last states, the errors.
fn fit_model(y: &[f64], filled: &[f64], model: CesModel, m: usize) -> ([f64; 4], f64, States, Vec<f64>) {
    let first = first_states(filled, model, m);
    let mut look = Look { y, states: first.clone(), first, model };
    let mut errors = vec![0.0; y.len()];
    let wide = |x: &[f64]| {
        let mut w = [0.0; 4];
        w[..x.len()].copy_from_slice(x);
        w
    };
    let found = match model.n_weights() {
        2 => wide(&least_squares([1.3, 1.0], [LOW; 2], [HIGH[0], HIGH[1]], y.len(), |x, e| look.errors(&wide(x), e)).0),
        3 => {
            let high = [HIGH[0], HIGH[1], HIGH[2]];
            wide(&least_squares([1.3, 1.0, 0.1], [LOW; 3], high, y.len(), |x, e| look.errors(&wide(x), e)).0)
        }
        _ => least_squares([1.3, 1.0, 1.3, 1.0], [LOW; 4], HIGH, y.len(), |x, e| look.errors(x, e)).0,
    };
    look.errors(&found, &mut errors);
    let squares = errors.iter().map(|e| e * e).sum();
    (found, squares, look.states, errors)
}

impl LocalModel for Ces {
    type Fitted = FittedCes;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedCes> {
        let (first, filled) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let y = &series.y[first..];
        let scale = filled.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
        let scaled = |y: &[f64]| y.iter().map(|v| v / scale).collect::<Vec<f64>>();
        let (y, filled) = (scaled(y), scaled(&filled));
        let n = y.iter().filter(|v| v.is_finite()).count() as f64;
        let m = season_of(self.season_length, &series);
        let one = [self.model];
        let models: &[CesModel] = match self.model {
            _ if m < 2 || filled.len() < 2 * m => &[CesModel::None],
            CesModel::Auto => &CesModel::EACH,
            _ => &one,
        };
        let mut best: Option<(f64, FittedCes, Vec<f64>)> = None;
        for &model in models {
            let (weights, squares, states, errors) = fit_model(&y, &filled, model, m);
            // One more for the variance. Beyond the range of the formula the penalty is as good as infinite.
            let k = model.n_weights() as f64 + 1.0;
            let correction = if n > k + 1.0 { 2.0 * k * (k + 1.0) / (n - k - 1.0) } else { 1e10 };
            // The floor is an error of 10⁻¹² of the largest observation, below which rounding decides.
            let aicc = n * f64::max(squares, n * 1e-24).ln() + 2.0 * k + correction;
            if best.as_ref().is_none_or(|b| aicc < b.0) {
                let sigma = (squares / (n - k - 1.0).max(1.0)).sqrt().min(f64::MAX);
                best = Some((aicc, FittedCes { model, weights, states, sigma, scale }, errors));
            }
        }
        // There is one model at least, and the first is taken whatever its criterion.
        let Some((_, fitted, errors)) = best else {
            return Err(tradewind_core::Error::Invalid("no model of complex exponential smoothing".into()));
        };
        if let Some(out) = cut_off(in_sample, first) {
            out.extend(filled.iter().zip(&errors).map(|(v, e)| (v - e) * scale));
        }
        Ok(fitted)
    }
}

impl FittedSeries for FittedCes {
    fn predict(&self, horizon: usize) -> Steps {
        let Self { model, weights, .. } = self;
        let mut states = self.states.clone();
        // What an error of 1 leaves behind in each later step.
        let zero = |v: &Vec<[f64; 2]>| vec![[0.0; 2]; v.len()];
        let mut echo = States { level: [0.0; 2], season: zero(&states.season), next: 0 };
        echo.advance(*model, weights, 1.0);
        let mut spread = 1.0_f64;
        Steps::of(horizon, |_| {
            let step = (states.ahead(*model) * self.scale, self.sigma * spread.sqrt() * self.scale);
            states.advance(*model, weights, 0.0);
            let c = echo.ahead(*model);
            echo.advance(*model, weights, 0.0);
            spread += c * c;
            step
        })
    }

    /// An unknown observation counts as the one forecast. One that would take a state out of the numbers is passed over.
    fn update(&mut self, y: &[f64]) {
        for v in y {
            let v = v / self.scale;
            let e = if v.is_finite() { v - self.states.ahead(self.model) } else { 0.0 };
            let before = self.states.clone();
            self.states.advance(self.model, &self.weights, e);
            let stands = |p: &[f64; 2]| p.iter().all(|v| v.is_finite());
            if !(stands(&self.states.level) && self.states.season.iter().all(stands)) {
                let next = self.states.next;
                self.states = States { next, ..before };
            }
        }
    }
}
