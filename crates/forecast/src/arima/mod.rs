//! ARIMA: autoregression and moving average of the differences, also over the season.
//!
//! ```text
//! φ(B) Φ(Bᵐ) (w(t) − c) = θ(B) Θ(Bᵐ) ε(t),   w = (1 − B)^d (1 − Bᵐ)^D y,   ε ~ N(0, σ²)
//! ```
//!
//! where `B` is the step back and `φ(B) = 1 − φ₁B − …`, `θ(B) = 1 + θ₁B + …` (Box, Jenkins & Reinsel). Parameters are
//! those of the largest exact likelihood of the differences; the constant is solved for exactly at every step of the
//! search. Coefficients are sought as partial autocorrelations, so that what is found is always stationary and
//! invertible (Monahan 1984).
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `p`, `d`, `q` | 0, 1, 1 | autoregressive lags, differences, moving average lags | 0 to 12, 0 to 2, 0 to 12 |
//! | `seasonal_p`, `seasonal_d`, `seasonal_q` | 0, 1, 1 | the same over seasons | 0 to 3, 0 to 1, 0 to 3 |
//! | `season_length` | by frequency | steps of a season `m` | 1 to 10000 |
//! | `constant` | `auto` | mean of the differenced series, a drift where `d + D = 1`; `auto` where nothing is differenced | auto, yes, no |
//!
//! The defaults are the airline model. [`crate::auto_arima`] finds orders by itself.
//!
//! A series without two whole seasons (and four observations more) is fitted without the seasonal part. Unknown
//! observations are left out of the likelihood exactly (as regressions on one point each, Gómez, Maravall & Peña 1999),
//! the latest 100 of them; older ones are interpolated. Means and standard deviations ahead are those of the infinite
//! past with the estimated parameters: `σ² (1 + ψ₁² + …)`. In [`FittedSeries::update`] the parameters stay, and an
//! unknown observation counts as the one forecast, less sure.

mod estimate;
mod filter;
mod polynomial;
pub(crate) mod search;
pub(crate) mod unit_root;

use crate::local::{self, FittedSeries, LocalModel, SEASON_LENGTH, Steps, cut_off, filled, season_of};
pub(crate) use filter::solve;

use estimate::{Coefficients, FINAL, Problem, Work};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

const fn lags(name: &'static str, max: i64, default: &'static str, summary: &'static str) -> ParamSpec {
    ParamSpec { name, kind: ParamKind::Integer { min: 0, max }, default, summary }
}

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "arima",
    summary: "ARIMA of given orders, with a season; exact likelihood.",
    summary_zh: "给定阶数的（季节性）ARIMA 模型，精确极大似然估计。",
    source: "Box, Jenkins & Reinsel, Time Series Analysis; Pearlman (1980), Biometrika 67",
    params: &[
        lags("p", 12, "0", "autoregressive lags"),
        lags("d", 2, "1", "differences"),
        lags("q", 12, "1", "moving average lags"),
        lags("seasonal_p", 3, "0", "autoregressive lags in seasons"),
        lags("seasonal_d", 1, "1", "differences over a season"),
        lags("seasonal_q", 3, "1", "moving average lags in seasons"),
        SEASON_LENGTH,
        ParamSpec {
            name: "constant",
            kind: ParamKind::Choice(&["auto", "yes", "no"]),
            default: "auto",
            summary: "a mean of the differenced series (drift after one difference); auto where nothing is differenced",
        },
    ],
    needs: Needs { min_observations: 5, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Arima>,
    load: local::load::<Arima>,
};

/// Unknown observations that are estimated exactly; older ones are interpolated.
const UNKNOWN_MAX: usize = 100;

/// Whether there is a constant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constant {
    /// Where nothing is differenced.
    #[default]
    Auto,
    /// With.
    Yes,
    /// Without.
    No,
}

/// ARIMA with given orders, as the table above tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arima {
    /// Autoregressive lags.
    pub p: usize,
    /// Differences.
    pub d: usize,
    /// Moving average lags.
    pub q: usize,
    /// Autoregressive lags in seasons.
    pub seasonal_p: usize,
    /// Differences over a season.
    pub seasonal_d: usize,
    /// Moving average lags in seasons.
    pub seasonal_q: usize,
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// Whether there is a constant.
    pub constant: Constant,
}

impl Default for Arima {
    fn default() -> Self {
        Self {
            p: 0,
            d: 1,
            q: 1,
            seasonal_p: 0,
            seasonal_d: 1,
            seasonal_q: 1,
            season_length: None,
            constant: Constant::Auto,
        }
    }
}

/// Orders of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Autoregressive lags.
    pub p: usize,
    /// Differences.
    pub d: usize,
    /// Moving average lags.
    pub q: usize,
    /// Autoregressive lags in seasons.
    pub seasonal_p: usize,
    /// Differences over a season.
    pub seasonal_d: usize,
    /// Moving average lags in seasons.
    pub seasonal_q: usize,
    /// Steps of a season.
    pub season_length: usize,
    /// Whether there is a constant.
    pub constant: bool,
}

impl Order {
    fn m(&self) -> usize {
        self.season_length.max(1)
    }

    fn n_coefficients(&self) -> usize {
        self.p + self.q + self.seasonal_p + self.seasonal_q
    }

    fn without_season(self) -> Self {
        Self { seasonal_p: 0, seasonal_d: 0, seasonal_q: 0, season_length: 1, ..self }
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ARIMA({},{},{})", self.p, self.d, self.q)?;
        if self.season_length > 1 {
            write!(f, "({},{},{})[{}]", self.seasonal_p, self.seasonal_d, self.seasonal_q, self.season_length)?;
        }
        if self.constant { f.write_str(" with constant") } else { Ok(()) }
    }
}

/// An ARIMA model with its parameters and where the series stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedArima {
    order: Order,
    ar: Vec<f64>,
    ma: Vec<f64>,
    seasonal_ar: Vec<f64>,
    seasonal_ma: Vec<f64>,
    constant: f64,
    variance: f64,
    log_likelihood: f64,
    aicc: f64,
    /// What is known of the next differences, less the constant.
    state: Vec<f64>,
    /// The latest observations, as many as the differences reach back, the last one last.
    recent: Vec<f64>,
    /// Unknown observations since the last known one.
    unknown: usize,
}

impl LocalModel for Arima {
    type Fitted = FittedArima;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedArima> {
        let m = season_of(self.season_length, &series);
        let constant = match self.constant {
            Constant::Auto => self.d + self.seasonal_d == 0,
            Constant::Yes => true,
            Constant::No => false,
        };
        let order = Order {
            p: self.p,
            d: self.d,
            q: self.q,
            seasonal_p: self.seasonal_p,
            seasonal_d: self.seasonal_d,
            seasonal_q: self.seasonal_q,
            season_length: m,
            constant,
        };
        let known = Known::of(series.y)?;
        let order = if m < 2 || known.y.len() < 2 * m + 4 { order.without_season() } else { order };
        let mut work = Work::default();
        let start = vec![0.1; order.n_coefficients()];
        FittedArima::fit(&known, &order, &mut work, &[start], cut_off(in_sample, known.first))
    }
}

/// A history with stand-ins for what is unknown.
pub(crate) struct Known {
    /// Unknown values that were cut off in front.
    first: usize,
    /// From the first to the last known value.
    pub(crate) y: Vec<f64>,
    /// Positions in `y` of stand-ins.
    unknown: Vec<usize>,
    /// Unknown values behind the last known one.
    tail: usize,
}

impl Known {
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    pub(crate) fn of(y: &[f64]) -> Result<Self> {
        let Some((first, full)) = filled(y) else {
            return Err(Error::NotEnoughData { what: ENTRY.name.into(), needed: 5, got: 0 });
        };
        let end = y.iter().rposition(|v| v.is_finite()).map_or(0, |i| i + 1 - first);
        let unknown = (0..end).filter(|t| !y[first + t].is_finite()).collect();
        Ok(Self { first, y: full[..end].to_vec(), unknown, tail: full.len() - end })
    }
}

impl FittedArima {
    /// The best of the maxima that the starts lead to.
    fn fit(
        known: &Known,
        order: &Order,
        work: &mut Work,
        starts: &[Vec<f64>],
        in_sample: Option<&mut Vec<f64>>,
    ) -> Result<Self> {
        let problem = Problem::new(&known.y, &known.unknown, &[], order)?;
        let zero = [vec![0.0; order.n_coefficients()]];
        let starts = if problem.exact { &zero[..] } else { starts };
        let mut best: Option<estimate::Estimate> = None;
        for start in starts {
            let precision = if problem.exact { estimate::Precision { steps: 0, ..FINAL } } else { FINAL };
            if let Some(found) = work.maximize(&problem, order, start, precision)
                && best.as_ref().is_none_or(|b| found.deviance < b.deviance)
            {
                best = Some(found);
            }
        }
        let Some(found) = best else {
            return Err(Error::Invalid(format!("{order}: the likelihood has no value")));
        };
        let (innovations, state) = problem.innovations(order, &found);
        let mut full = known.y.clone();
        problem.fill(&mut full, &found);
        if let Some(out) = in_sample {
            let skip = full.len() - innovations.len();
            out.resize(out.len() + skip, f64::NAN);
            out.extend(innovations.iter().zip(&full[skip..]).map(|(e, y)| y - e));
            out.resize(out.len() + known.tail, f64::NAN);
        }
        let n_parameters = order.n_coefficients() + usize::from(order.constant);
        let freedom = found.n.saturating_sub(n_parameters).max(1) as f64;
        let scale = problem.scale();
        let variance =
            if problem.exact { 0.0 } else { (found.squares / freedom * scale * scale).min(f64::MAX) };
        let Coefficients { ar, ma, seasonal_ar, seasonal_ma } = estimate::coefficients(order, &found);
        let reach = full.len() - innovations.len();
        let mut fitted = Self {
            order: *order,
            ar,
            ma,
            seasonal_ar,
            seasonal_ma,
            constant: if order.constant { found.beta.first().copied().unwrap_or(0.0) * scale } else { 0.0 },
            variance,
            log_likelihood: if problem.exact { 0.0 } else { -0.5 * found.deviance },
            aicc: if problem.exact { 0.0 } else { search::corrected(found.deviance, n_parameters + 1, found.n) },
            state: if problem.exact { vec![0.0; state.len()] } else { state },
            recent: full[full.len() - reach..].to_vec(),
            unknown: 0,
        };
        if known.tail > 0 {
            fitted.update(&vec![f64::NAN; known.tail]);
        }
        Ok(fitted)
    }

    /// The orders.
    pub fn order(&self) -> Order {
        self.order
    }

    /// `φ`, one a lag.
    pub fn ar(&self) -> &[f64] {
        &self.ar
    }

    /// `θ`, one a lag.
    pub fn ma(&self) -> &[f64] {
        &self.ma
    }

    /// `Φ`, one a season.
    pub fn seasonal_ar(&self) -> &[f64] {
        &self.seasonal_ar
    }

    /// `Θ`, one a season.
    pub fn seasonal_ma(&self) -> &[f64] {
        &self.seasonal_ma
    }

    /// The mean of the differenced series; 0 without constant.
    pub fn constant(&self) -> f64 {
        self.constant
    }

    /// The variance of the innovations, over observations less parameters.
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// The logarithm of the likelihood of the differenced series; 0 where no variance is left.
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Akaike's criterion, corrected for short series; 0 where no variance is left.
    pub fn aicc(&self) -> f64 {
        self.aicc
    }

    fn expanded(&self) -> (Vec<f64>, Vec<f64>) {
        let c = Coefficients {
            ar: self.ar.clone(),
            ma: self.ma.clone(),
            seasonal_ar: self.seasonal_ar.clone(),
            seasonal_ma: self.seasonal_ma.clone(),
        };
        c.expanded(self.order.m())
    }

    /// Moves on by `y`, or by the forecast where it is unknown, and gives back the forecast.
    fn advance(&mut self, y: Option<f64>, motion: &Motion) -> f64 {
        let n = self.recent.len();
        let base: f64 = motion.differences.iter().map(|(i, c)| c * self.recent[n - 1 - i]).sum();
        let expected = self.state.first().copied().unwrap_or(0.0);
        let ahead = base + self.constant + expected;
        let y = y.unwrap_or(ahead);
        let e = y - ahead;
        let w = expected + e;
        if !self.state.is_empty() {
            self.state.rotate_left(1);
            let last = self.state.len() - 1;
            self.state[last] = 0.0;
            for (i, phi, theta) in &motion.lags {
                self.state[*i] += phi * w + theta * e;
            }
        }
        if n > 0 {
            self.recent.rotate_left(1);
            self.recent[n - 1] = y;
        }
        // Numbers near the largest could leave the range; what was known before is then lost.
        if self.state.iter().any(|v| !v.is_finite()) {
            self.state.fill(0.0);
        }
        if n > 0 && !self.recent[n - 1].is_finite() {
            self.recent[n - 1] = if n > 1 { self.recent[n - 2] } else { 0.0 };
        }
        ahead
    }

    fn motion(&self) -> Motion {
        let (phi, theta) = self.expanded();
        let at = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
        let lags = (0..self.state.len())
            .map(|i| (i, at(&phi, i), at(&theta, i)))
            .filter(|(_, a, b)| *a != 0.0 || *b != 0.0)
            .collect();
        let differences = polynomial::differencing(self.order.d, self.order.seasonal_d, self.order.m());
        let differences = differences.into_iter().enumerate().filter(|(i, c)| *c != 0.0 && *i < self.recent.len());
        Motion { lags, differences: differences.collect() }
    }

    /// Variances ahead over that of one step, for steps 1 to `n`.
    fn variances(&self, n: usize) -> Vec<f64> {
        let (phi, theta) = self.expanded();
        let m = self.order.m();
        let differences = polynomial::differencing(self.order.d, self.order.seasonal_d, m);
        // All lags of the undifferenced series.
        let mut full = vec![0.0; phi.len() + differences.len()];
        for (i, v) in full.iter_mut().enumerate() {
            let at = |x: &[f64], i: usize| x.get(i).copied().unwrap_or(0.0);
            *v = at(&phi, i) + at(&differences, i)
                - (0..i).map(|j| at(&phi, j) * at(&differences, i - 1 - j)).sum::<f64>();
        }
        let full: Vec<(usize, f64)> = full.into_iter().enumerate().filter(|(_, c)| *c != 0.0).collect();
        let mut psi = Vec::with_capacity(n);
        let mut sum = 0.0;
        let mut out = Vec::with_capacity(n);
        for j in 0..n {
            let v = if j == 0 {
                1.0
            } else {
                let direct = theta.get(j - 1).copied().unwrap_or(0.0);
                direct + full.iter().take_while(|(i, _)| *i < j).map(|(i, c)| c * psi[j - 1 - i]).sum::<f64>()
            };
            psi.push(v);
            sum += v * v;
            out.push(sum);
        }
        out
    }
}

/// Coefficients that are not zero, by lag from 0 for lag 1.
struct Motion {
    lags: Vec<(usize, f64, f64)>,
    differences: Vec<(usize, f64)>,
}

/// Unknown steps since the last known one that still widen the interval.
const WIDENING_MAX: usize = 10_000;

impl FittedSeries for FittedArima {
    fn predict(&self, horizon: usize) -> Steps {
        let motion = self.motion();
        let past = self.unknown.min(WIDENING_MAX);
        let variances = self.variances(past + horizon);
        let mut going = self.clone();
        Steps::of(horizon, |h| {
            (going.advance(None, &motion), (self.variance * variances[past + h - 1]).sqrt())
        })
    }

    fn update(&mut self, y: &[f64]) {
        let motion = self.motion();
        for v in y {
            let known = v.is_finite();
            self.advance(known.then_some(*v), &motion);
            self.unknown = if known { 0 } else { self.unknown.saturating_add(1) };
        }
    }
}
