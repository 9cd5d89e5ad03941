//! The Theta method: a straight line and a smoothed line with more curvature, combined.
//!
//! The series, without its season where the test of 90 % finds one, is modelled as
//!
//! ```text
//! ŷ(t) = ℓ(t−1) + ω [ (1−α)^(t−1) A + (1 − (1−α)^t)/α · B ],   ℓ(t) = α y(t) + (1−α) ℓ(t−1),   ω = 1 − 1/θ
//! ```
//!
//! where `A + B t` is the regression line. It is the Theta method of Assimakopoulos & Nikolopoulos (2000) for `θ = 2`,
//! simple exponential smoothing with half the drift (Hyndman & Billah 2003). Fiorucci et al. (2016) estimate `θ` too
//! (*optimised*), and let the line be the regression on what was known at each time (*dynamic*).
//!
//! | parameter | default | meaning |
//! | --- | --- | --- |
//! | `variant` | `mean` | `stm` θ = 2; `otm` θ estimated; `dstm`, `dotm` the same with a dynamic line; `mean` of `stm` and `dotm`; `auto` the one of the four with the least error in sample |
//! | `season_length` | by frequency | steps of a season |
//! | `season` | `auto` | `auto` tests and takes factors where they are above 0.01, else additions; `additive`, `multiplicative`, `none` |
//! | `alpha` | estimated | smoothing of the level, 0.1 to 0.99 |
//! | `theta` | estimated | curvature, 1 and more; not with `stm`, `dstm` |
//!
//! The mean of the plainest and the most flexible variant was the best default on held-out parts of the M3 monthly
//! training data (OWA 0.847, where `dotm` had 0.852, `stm` 0.856 and `otm` 0.916); `auto` had 0.902, since the error
//! in sample says little about long horizons.
//!
//! For a given `α` the model is linear in `ℓ(0)` and `ω`: both are solved in one pass, and only `α` is searched. That
//! is exact, and some hundred times faster than a simplex over all three. As in the authors' program the first three
//! errors do not count. The standard deviation `h` steps ahead is `σ √(1 + (h−1) α²)`, exact for the static variants.
//! Unknown observations are interpolated.

use crate::local::{self, FittedSeries, LocalModel, SEASON_LENGTH, Steps, filled_at_least, season_of};
use crate::optimize::minimize_on;
use crate::seasonality::{Pattern, classical_pattern, is_seasonal};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "theta",
    summary: "A trend line and a smoothed level combined, their weights estimated; often the best simple method.",
    summary_zh: "Theta 方法：趋势线与平滑水平的组合，权重由数据估计。",
    source: "Fiorucci, Pellegrini, Louzada, Petropoulos & Koehler (2016), International Journal of Forecasting 32",
    params: &[
        ParamSpec {
            name: "variant",
            kind: ParamKind::Choice(&["stm", "otm", "dstm", "dotm", "mean", "auto"]),
            default: "mean",
            summary: "standard or optimised, static or dynamic; the mean of stm and dotm; or the best in sample",
        },
        SEASON_LENGTH,
        ParamSpec {
            name: "season",
            kind: ParamKind::Choice(&["auto", "additive", "multiplicative", "none"]),
            default: "auto",
            summary: "how the season is taken out; auto tests whether there is one",
        },
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.1, max: 0.99 },
            default: "",
            summary: "smoothing of the level; estimated when not given",
        },
        ParamSpec {
            name: "theta",
            kind: ParamKind::Number { min: 1.0, max: 1e10 },
            default: "",
            summary: "curvature of the second line; estimated when not given, 2 for the standard variants",
        },
    ],
    needs: Needs { min_observations: 4, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Theta>,
    load: local::load::<Theta>,
};

/// Which Theta model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Standard.
    Stm,
    /// Optimised.
    Otm,
    /// Dynamic standard.
    Dstm,
    /// Dynamic optimised.
    Dotm,
    /// The mean of `Stm` and `Dotm`.
    #[default]
    Mean,
    /// The one of the four with the least error in sample.
    Auto,
}

const PAIR: [Variant; 2] = [Variant::Stm, Variant::Dotm];
const FOUR: [Variant; 4] = [Variant::Stm, Variant::Otm, Variant::Dstm, Variant::Dotm];

/// How the season is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeasonKind {
    /// Tested, then factors where possible.
    #[default]
    Auto,
    /// Additions.
    Additive,
    /// Factors, or additions where factors are not possible.
    Multiplicative,
    /// Not at all.
    None,
}

/// The Theta method's parameters; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Theta {
    /// The variant.
    pub variant: Variant,
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// How the season is taken out.
    pub season: SeasonKind,
    /// Smoothing of the level, 0.1 to 0.99; estimated when `None`.
    pub alpha: Option<f64>,
    /// Curvature, at least 1; estimated when `None`.
    pub theta: Option<f64>,
}

/// What [`Theta`] keeps: the pattern of the season and one line, or four for the mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedTheta {
    pattern: Pattern,
    n: usize,
    lines: Vec<FittedLine>,
}

impl LocalModel for Theta {
    type Fitted = FittedTheta;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedTheta> {
        let (first, y) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let pattern = self.pattern(&y, season_of(self.season_length, &series));
        let z: Vec<f64> = y.iter().enumerate().map(|(t, v)| pattern.remove(*v, t)).collect();
        let variants: &[Variant] = match self.variant {
            Variant::Mean => &PAIR,
            Variant::Auto => &FOUR,
            ref one => std::slice::from_ref(one),
        };
        let keep = in_sample.is_some();
        let mut lines: Vec<(FittedLine, Vec<f64>)> = variants
            .iter()
            .map(|v| {
                let mut inside = Vec::new();
                let fitted = fit_line(&z, *v, self.alpha, self.theta, keep.then_some(&mut inside));
                (fitted, inside)
            })
            .collect();
        if self.variant == Variant::Auto {
            lines.sort_by(|a, b| a.0.variance.total_cmp(&b.0.variance));
            lines.truncate(1);
        }
        if let Some(out) = in_sample {
            out.clear();
            out.resize(first, f64::NAN);
            let k = lines.len() as f64;
            out.extend((0..z.len()).map(|t| pattern.apply(lines.iter().map(|l| l.1[t]).sum::<f64>() / k, t)));
        }
        Ok(FittedTheta { pattern, n: y.len(), lines: lines.into_iter().map(|l| l.0).collect() })
    }
}

impl Theta {
    fn pattern(&self, y: &[f64], m: usize) -> Pattern {
        let factors = || classical_pattern(y, m, true).filter(|_| y.iter().all(|v| *v > 0.0));
        let additions = || classical_pattern(y, m, false);
        match self.season {
            SeasonKind::None => None,
            SeasonKind::Additive => additions(),
            SeasonKind::Multiplicative => factors().or_else(additions),
            SeasonKind::Auto if is_seasonal(y, m) => factors().or_else(additions),
            SeasonKind::Auto => None,
        }
        .unwrap_or_else(Pattern::none)
    }
}

impl FittedSeries for FittedTheta {
    fn predict(&self, horizon: usize) -> Steps {
        let all: Vec<Steps> = self.lines.iter().map(|l| l.predict(horizon)).collect();
        let k = all.len().max(1) as f64;
        Steps::of(horizon, |h| {
            let t = self.n + h - 1;
            let mean = all.iter().map(|s| s.mean[h - 1]).sum::<f64>() / k;
            let sd = all.iter().map(|s| s.sd[h - 1]).sum::<f64>() / k;
            (
                self.pattern.apply(mean, t),
                if self.pattern.multiplicative { sd * self.pattern.at(t) } else { sd },
            )
        })
    }

    fn update(&mut self, y: &[f64]) {
        for v in y {
            let z = [self.pattern.remove(*v, self.n)];
            self.lines.iter_mut().for_each(|l| l.update(&z));
            self.n += 1;
        }
    }
}

/// A Theta model of a series without season.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedLine {
    alpha: f64,
    omega: f64,
    level: f64,
    n: usize,
    mean: f64,
    intercept: f64,
    slope: f64,
    dynamic: bool,
    variance: f64,
}

/// The regression line on what is known so far, moved on by one observation.
struct Line {
    n: f64,
    mean: f64,
    a: f64,
    b: f64,
}

impl Line {
    fn add(&mut self, y: f64) {
        let n = self.n + 1.0;
        if n < 2.0 {
            (self.mean, self.a, self.b) = (y, y, 0.0);
        } else {
            // The slope's recursion needs no sums: see Fiorucci et al. (2016), equation 14.
            self.b = ((n - 2.0) * self.b + 6.0 * (y - self.mean) / n) / (n + 1.0);
            self.mean += (y - self.mean) / n;
            self.a = self.mean - 0.5 * (n + 1.0) * self.b;
        }
        self.n = n;
    }
}

/// The errors that do not count, since the dynamic line is not known yet.
const BURN_IN: usize = 3;

/// Fits a Theta model to a series without season, of at least one value. `Mean` and `Auto` stand for `Otm` here.
pub(crate) fn fit_line(
    y: &[f64],
    variant: Variant,
    alpha: Option<f64>,
    theta: Option<f64>,
    in_sample: Option<&mut Vec<f64>>,
) -> FittedLine {
    let n = y.len();
    let dynamic = matches!(variant, Variant::Dstm | Variant::Dotm);
    let standard = matches!(variant, Variant::Stm | Variant::Dstm);
    // Scaled, so that sums of squares neither overflow nor vanish.
    let scale = y.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
    let mut whole = Line { n: 0.0, mean: 0.0, a: 0.0, b: 0.0 };
    let mut lines = Vec::with_capacity(if dynamic { n } else { 0 });
    for v in y {
        if dynamic {
            lines.push((whole.a, whole.b));
        }
        whole.add(v / scale);
    }
    if dynamic && n > 0 {
        // Before the first observation the line is flat through it, as in the authors' program.
        lines[0] = (y[0] / scale, 0.0);
    }
    let (a, b) = (whole.a, whole.b);
    let omega_of = |theta: f64| 1.0 - 1.0 / theta.max(1.0);
    let fixed = theta.map(omega_of).or(standard.then_some(0.5));
    let skip = BURN_IN.min(n.saturating_sub(3));
    let origin = y[0] / scale;

    // One pass gives the sums of the least squares for the level's start (as distance from the first observation) and
    // for omega.
    let solve = |alpha: f64| {
        let keep = 1.0 - alpha;
        let (mut level, mut u) = (origin, 1.0);
        let (mut uu, mut ug, mut gg, mut ur, mut gr, mut rr) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (t, v) in y.iter().enumerate() {
            let v = v / scale;
            let (a, b) = if dynamic { lines[t] } else { (a, b) };
            let g = u * a + (1.0 - u * keep) / alpha * b;
            let r = v - level;
            if t >= skip {
                uu += u * u;
                ug += u * g;
                gg += g * g;
                ur += u * r;
                gr += g * r;
                rr += r * r;
            }
            level += alpha * r;
            u *= keep;
        }
        let start_given = |omega: f64| if uu > 1e-14 { (ur - omega * ug) / uu } else { 0.0 };
        let omega = fixed.unwrap_or_else(|| {
            let det = uu * gg - ug * ug;
            let free = if uu <= 1e-14 {
                gr / gg.max(1e-300)
            } else if det > 1e-12 * uu * gg {
                (uu * gr - ug * ur) / det
            } else {
                0.0
            };
            free.clamp(0.0, OMEGA_MAX)
        });
        let d = start_given(omega);
        let sse = rr - 2.0 * (d * ur + omega * gr) + d * d * uu + 2.0 * d * omega * ug + omega * omega * gg;
        (sse.max(0.0), d, omega)
    };
    let alpha =
        alpha.unwrap_or_else(|| minimize_on(0.1, 0.99, 12, 1e-5, |alpha| solve(alpha).0)).clamp(0.1, 0.99);
    let (_, d, omega) = solve(alpha);

    let mut fitted = FittedLine {
        alpha,
        omega,
        level: (origin + d) * scale,
        n: 0,
        mean: 0.0,
        intercept: a * scale,
        slope: b * scale,
        dynamic,
        variance: 0.0,
    };
    if dynamic {
        (fitted.intercept, fitted.slope) = (y[0], 0.0);
    }
    let mut sse = 0.0;
    let mut out = in_sample;
    for (t, v) in y.iter().enumerate() {
        let ahead = fitted.ahead();
        if let Some(out) = out.as_deref_mut() {
            out.push(ahead);
        }
        if t >= skip {
            sse += ((v - ahead) / scale) * ((v - ahead) / scale);
        }
        fitted.advance(*v);
    }
    // Level's start and alpha are estimated, and theta in the optimised variants.
    let estimated = if fixed.is_some() { 2 } else { 3 };
    let freedom = n.saturating_sub(skip + estimated).max(1) as f64;
    fitted.variance = (sse / freedom * scale * scale).min(f64::MAX);
    fitted
}

/// Omega of the largest theta, by which the line is left to drive the forecast alone.
const OMEGA_MAX: f64 = 1.0 - 1e-10;

impl FittedLine {
    /// The forecast one step ahead.
    fn ahead(&self) -> f64 {
        let u = (1.0 - self.alpha).powi(self.n.min(100_000) as i32);
        let tail = (1.0 - u * (1.0 - self.alpha)) / self.alpha;
        self.level + self.omega * (u * self.intercept + tail * self.slope)
    }

    fn advance(&mut self, y: f64) {
        self.level += self.alpha * (y - self.level);
        if self.dynamic {
            let mut line = Line { n: self.n as f64, mean: self.mean, a: self.intercept, b: self.slope };
            line.add(y);
            (self.mean, self.intercept, self.slope) = (line.mean, line.a, line.b);
        }
        self.n += 1;
    }

    /// Forecasts; the dynamic line goes on with the forecasts themselves.
    pub(crate) fn predict(&self, horizon: usize) -> Steps {
        let sd = self.variance.sqrt();
        let spread = |h: usize| sd * (1.0 + (h - 1) as f64 * self.alpha * self.alpha).sqrt();
        if self.dynamic {
            let mut going = self.clone();
            return Steps::of(horizon, |h| {
                let mean = going.ahead();
                going.advance(mean);
                (mean, spread(h))
            });
        }
        let first = self.ahead();
        Steps::of(horizon, |h| (first + (h - 1) as f64 * self.omega * self.slope, spread(h)))
    }

    /// Moves on; an unknown observation counts as the one forecast.
    pub(crate) fn update(&mut self, y: &[f64]) {
        for v in y {
            let v = if v.is_finite() { *v } else { self.ahead() };
            self.advance(v);
        }
    }
}
