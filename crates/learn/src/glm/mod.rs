//! Generalised linear models with a log link: Poisson, gamma and Tweedie regression, for counts and amounts that are
//! never negative (Nelder and Wedderburn 1972; McCullagh and Nelder 1989; Jørgensen 1987).
//!
//! The mean is `μ = exp(b + x·β + offset)`, the variance `φ μ^power`: power 1 is Poisson (counts), 2 is gamma (positive
//! amounts of constant relative spread), between them compound Poisson–gamma (amounts with many zeros, as a product's
//! sales or a claim's cost). Minimises `1/(2 Σw) Σ wᵢ d(yᵢ, μᵢ) + alpha/2 · |β|²` with the unit deviance `d`, as
//! scikit-learn counts it; the intercept is not penalised. All these losses are convex in `β` under a log link, and
//! Newton's method with the observed curvature finds the answer.
//!
//! Without a penalty the table has standard errors from the expected curvature (Fisher's information), times Pearson's
//! estimate of `φ` for all but Poisson, as statsmodels and R give them.

mod entry;

pub use entry::{GAMMA, POISSON, TWEEDIE};

use crate::cholesky::Cholesky;
use crate::linear::{Coefficient, Line, Scaled};
use crate::matrix::{Dataset, Matrix, check_finite};
use crate::newton;
use crate::smooth::{Design, LANES, RowLoss, Smooth, leave_out_dependent, standard_errors};
use crate::student::two_sided_normal_p;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The largest log of a mean; beyond it `exp` has no number.
const ETA_MAX: f64 = 700.0;

/// Poisson regression: counts, 0 and more.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 0 | 0 and more | weight of the penalty against half the mean deviance |
/// | `tolerance` | 1e-7 | above 0, below 1 | largest part of the gradient per unit of weight, all scaled, at the end |
/// | `max_iter` | 200 | 1 to 100,000 | steps before giving up |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, glm::Poisson};
/// let x = Matrix::from_columns(&[[0.0, 0.0, 1.0, 1.0]]).unwrap();
/// let data = Dataset::new(x, vec![1.0, 3.0, 3.0, 5.0], vec!["promo".into()]).unwrap();
/// let model = Poisson::default().fit(&Run::new(0), &data).unwrap();
/// assert!((model.line().coef()[0] - 2.0_f64.ln()).abs() < 1e-6); // the mean doubles from 2 to 4
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Poisson {
    /// Weight of the penalty.
    pub alpha: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Steps before giving up.
    pub max_iter: usize,
}

impl Default for Poisson {
    fn default() -> Self {
        Self { alpha: 0.0, tolerance: 1e-7, max_iter: 200 }
    }
}

/// Gamma regression: amounts above 0 whose spread grows with their mean. The parameters are those of [`Poisson`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gamma {
    /// Weight of the penalty.
    pub alpha: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Steps before giving up.
    pub max_iter: usize,
}

impl Default for Gamma {
    fn default() -> Self {
        Self { alpha: 0.0, tolerance: 1e-7, max_iter: 200 }
    }
}

/// Tweedie regression: amounts of 0 and more, many of them 0.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `power` | 1.5 | 1 to 2 | how the variance grows with the mean: 1 is Poisson, 2 is gamma |
/// | `alpha` | 0 | 0 and more | weight of the penalty against half the mean deviance |
/// | `tolerance` | 1e-7 | above 0, below 1 | largest part of the gradient per unit of weight, all scaled, at the end |
/// | `max_iter` | 200 | 1 to 100,000 | steps before giving up |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tweedie {
    /// How the variance grows with the mean.
    pub power: f64,
    /// Weight of the penalty.
    pub alpha: f64,
    /// Where the search ends.
    pub tolerance: f64,
    /// Steps before giving up.
    pub max_iter: usize,
}

impl Default for Tweedie {
    fn default() -> Self {
        Self { power: 1.5, alpha: 0.0, tolerance: 1e-7, max_iter: 200 }
    }
}

/// What [`Poisson`], [`Gamma`] and [`Tweedie`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedGlm {
    /// The logarithm of the mean.
    line: Line,
    power: f64,
    deviance: f64,
    null_deviance: f64,
    dispersion: Option<f64>,
    std_error: Option<Vec<Option<f64>>>,
    converged: bool,
    n_iter: usize,
}

impl Poisson {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        self.tweedie().check()
    }

    fn tweedie(self) -> Tweedie {
        Tweedie { power: 1.0, alpha: self.alpha, tolerance: self.tolerance, max_iter: self.max_iter }
    }

    /// Fits; see [`Tweedie::fit_offset`].
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedGlm> {
        self.tweedie().search("Poisson regression", run, data, None)
    }

    /// Fits with a known part of each row's log mean (the log of its exposure); see [`Tweedie::fit_offset`].
    pub fn fit_offset(&self, run: &Run, data: &Dataset, offset: &[f64]) -> Result<FittedGlm> {
        self.tweedie().search("Poisson regression", run, data, Some(offset))
    }
}

impl Gamma {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        self.tweedie().check()
    }

    fn tweedie(self) -> Tweedie {
        Tweedie { power: 2.0, alpha: self.alpha, tolerance: self.tolerance, max_iter: self.max_iter }
    }

    /// Fits; see [`Tweedie::fit_offset`]. Fails also on a target of 0.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedGlm> {
        self.tweedie().search("gamma regression", run, data, None)
    }

    /// Fits with a known part of each row's log mean; see [`Tweedie::fit_offset`].
    pub fn fit_offset(&self, run: &Run, data: &Dataset, offset: &[f64]) -> Result<FittedGlm> {
        self.tweedie().search("gamma regression", run, data, Some(offset))
    }
}

impl Tweedie {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require((1.0..=2.0).contains(&self.power), "power", self.power, "1 to 2");
        check.require(self.alpha.is_finite() && self.alpha >= 0.0, "alpha", self.alpha, "0 and more");
        check.require(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "tolerance",
            self.tolerance,
            "above 0, below 1",
        );
        check.require((1..=100_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 100000");
        check.finish()
    }

    /// Fits without an offset; see [`Tweedie::fit_offset`].
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedGlm> {
        self.search("Tweedie regression", run, data, None)
    }

    /// Fits with a known part of each row's log mean, as the log of its exposure.
    ///
    /// Fails on no rows, on a negative target (for gamma also on 0), when all targets are 0, and when the coefficients
    /// run away without bound. Not reaching the tolerance is told by [`FittedGlm::converged`]. Without a penalty,
    /// columns that depend on earlier ones get the coefficient 0.
    pub fn fit_offset(&self, run: &Run, data: &Dataset, offset: &[f64]) -> Result<FittedGlm> {
        self.search("Tweedie regression", run, data, Some(offset))
    }

    fn search(&self, what: &str, run: &Run, data: &Dataset, offset: Option<&[f64]>) -> Result<FittedGlm> {
        self.check()?;
        data.need_numbers(what)?;
        data.need_rows(what, 1)?;
        let no_zero = self.power == 2.0;
        if let Some(i) = data.y().iter().position(|y| *y < 0.0 || (no_zero && *y == 0.0)) {
            let allowed = if no_zero { "above 0" } else { "of 0 and more" };
            return Err(Error::Invalid(format!(
                "{what} needs targets {allowed}; row {i} has {}; choose another model or leave the row out",
                data.y()[i]
            )));
        }
        if let Some(offset) = offset {
            if offset.len() != data.n_rows() {
                return Err(Error::Invalid(format!("{} rows but {} offsets", data.n_rows(), offset.len())));
            }
            check_finite("the offset", offset)?;
            if let Some(i) = offset.iter().position(|o| o.abs() > ETA_MAX) {
                return Err(Error::Invalid(format!(
                    "the offset of row {i} is {}; it is a logarithm and must be within ±{ETA_MAX}",
                    offset[i]
                )));
            }
        }
        run.check()?;
        run.install(|| self.newton(what, run, data, offset))
    }

    fn newton(&self, what: &str, run: &Run, data: &Dataset, offset: Option<&[f64]>) -> Result<FittedGlm> {
        let weight = data.weights();
        let mut scaled = Scaled::weighted(data, &weight)?;
        if self.alpha == 0.0 {
            leave_out_dependent(data, &weight, &mut scaled);
        }
        let p = data.x().n_cols();
        let power = self.power;
        let at = |i: usize| offset.map_or(0.0, |o| o[i]);
        // The best model without columns has a closed form; it is the start, and the unit of the target.
        let (mut above, mut below) = (0.0, 0.0);
        for (i, (y, w)) in data.y().iter().zip(&weight).enumerate() {
            above += w * y * ((1.0 - power) * at(i)).exp();
            below += w * ((2.0 - power) * at(i)).exp();
        }
        let unit = above / below;
        if !(unit > 0.0 && unit.is_finite()) {
            return Err(Error::Invalid(format!(
                "{what} finds no target above 0 (or numbers too large), and the log of the mean has no value"
            )));
        }
        let y: Vec<f64> = data.y().iter().map(|y| y / unit).collect();
        let as_unit = unit.powf(power - 2.0);
        let penalty = scaled.sds.iter().map(|s| self.alpha * as_unit / (s * s)).collect();
        let loss = Loss { y: &y, weight: &weight, offset, power };
        let f = Smooth { design: Design::new(data.x(), &scaled), loss, penalty };
        let found = newton::minimise(run, &f, vec![0.0; p + 1], self.tolerance, self.max_iter)?;
        if !found.x.iter().all(|v| v.is_finite()) {
            return Err(Error::NotConverged { what: what.to_owned(), iterations: found.n_iter });
        }
        let line = scaled.line(&found.x[..p], found.x[p] + unit.ln());
        let (mut deviance, mut null_deviance, mut pearson) = (0.0, 0.0, 0.0);
        let scores = line.predict(data.x())?;
        for (i, score) in scores.iter().enumerate() {
            let (y, w) = (data.y()[i], weight[i]);
            let mean = (score + at(i)).min(ETA_MAX).exp();
            deviance += w * unit_deviance(y, mean, power);
            null_deviance += w * unit_deviance(y, unit * at(i).exp(), power);
            pearson += w * (y - mean) * (y - mean) / mean.powf(power);
        }
        let n = weight.iter().filter(|w| **w > 0.0).count();
        let rank = scaled.live.iter().filter(|live| **live).count();
        let df_resid = n.saturating_sub(rank + 1);
        let dispersion = match power {
            1.0 => Some(1.0),
            _ => (df_resid > 0).then(|| pearson / df_resid as f64),
        };
        let std_error = dispersion.filter(|_| self.alpha == 0.0 && found.converged).map(|dispersion| {
            let h = f.curvature(&found.x, 1, |i, eta, out| {
                out[0] = weight[i] * ((2.0 - power) * (eta[0] + at(i))).exp();
            });
            let triangle = Cholesky::new(&h);
            let mut inverse = triangle.inverse();
            // Means and curvatures are in units of `unit`, the dispersion is not.
            let scale = dispersion * as_unit / scaled.total;
            inverse.iter_mut().for_each(|v| *v *= scale);
            standard_errors(&scaled, &triangle.kept, &inverse, 1)
        });
        Ok(FittedGlm {
            line,
            power,
            deviance,
            null_deviance,
            dispersion,
            std_error,
            converged: found.converged,
            n_iter: found.n_iter,
        })
    }
}

/// Half the unit deviance without its part that does not depend on the mean, as a function of the log of the mean.
struct Loss<'a> {
    y: &'a [f64],
    weight: &'a [f64],
    offset: Option<&'a [f64]>,
    power: f64,
}

impl Loss<'_> {
    /// `μ^(2 − power)` and `y μ^(1 − power)`.
    #[inline]
    fn parts(&self, i: usize, score: f64) -> (f64, f64, f64) {
        let eta = score + self.offset.map_or(0.0, |o| o[i]);
        let (own, target) = match self.power {
            1.0 => (eta.exp(), self.y[i]),
            2.0 => (1.0, self.y[i] * (-eta).exp()),
            power => {
                let mean = eta.exp();
                let own = ((2.0 - power) * eta).exp();
                // Near the ends the quotient is not a number, where the power is.
                let target =
                    if mean > 1e-290 && mean < 1e290 { own / mean } else { ((1.0 - power) * eta).exp() };
                (own, self.y[i] * target)
            }
        };
        (eta, own, target)
    }
}

impl RowLoss for Loss<'_> {
    fn weight(&self, i: usize) -> f64 {
        self.weight[i]
    }

    #[inline]
    fn slopes(&self, i: usize, r: usize, logits: &mut [[f64; LANES]]) -> f64 {
        let (eta, own, target) = self.parts(i, logits[0][r]);
        let w = self.weight[i];
        if w == 0.0 {
            logits[0][r] = 0.0;
            return 0.0;
        }
        logits[0][r] = w * (own - target);
        let value = match self.power {
            1.0 => own - target * eta,
            2.0 => target + eta,
            power => own / (2.0 - power) + target / (power - 1.0),
        };
        w * value
    }

    #[inline]
    fn curvatures(&self, i: usize, logits: &mut [f64], out: &mut [f64]) {
        let (_, own, target) = self.parts(i, logits[0]);
        let second = (2.0 - self.power) * own + (self.power - 1.0) * target;
        out[0] = if self.weight[i] == 0.0 { 0.0 } else { self.weight[i] * second };
    }
}

/// Twice the distance of the log likelihood from that of a perfect fit, per unit of dispersion.
fn unit_deviance(y: f64, mean: f64, power: f64) -> f64 {
    let value = match power {
        1.0 if y == 0.0 => mean,
        1.0 => y * (y / mean).ln() - (y - mean),
        2.0 => (y - mean) / mean - (y / mean).ln(),
        p => {
            y.powf(2.0 - p) / ((1.0 - p) * (2.0 - p)) - y * mean.powf(1.0 - p) / (1.0 - p)
                + mean.powf(2.0 - p) / (2.0 - p)
        }
    };
    2.0 * value.max(0.0)
}

impl FittedGlm {
    /// The mean of every row, without an offset. Fails on another width, and on NaN or infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        Ok(self.line.predict(x)?.into_iter().map(|score| score.min(ETA_MAX).exp()).collect())
    }

    /// The mean of every row with its offset.
    pub fn predict_offset(&self, x: &Matrix, offset: &[f64]) -> Result<Vec<f64>> {
        if offset.len() != x.n_rows() {
            return Err(Error::Invalid(format!("{} rows but {} offsets", x.n_rows(), offset.len())));
        }
        check_finite("the offset", offset)?;
        let scores = self.line.predict(x)?;
        Ok(scores.iter().zip(offset).map(|(score, o)| (score + o).min(ETA_MAX).exp()).collect())
    }

    /// Coefficients, intercept and contributions of the log of the mean.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// How the variance grows with the mean.
    pub fn power(&self) -> f64 {
        self.power
    }

    /// The weighted sum of unit deviances.
    pub fn deviance(&self) -> f64 {
        self.deviance
    }

    /// The deviance of the model without columns (but with the offset).
    pub fn null_deviance(&self) -> f64 {
        self.null_deviance
    }

    /// The share of the deviance explained (D²); 0 for a constant target.
    pub fn d_squared(&self) -> f64 {
        if self.null_deviance > 0.0 { 1.0 - self.deviance / self.null_deviance } else { 0.0 }
    }

    /// `φ`: 1 for Poisson, else Pearson's estimate; absent when no degree of freedom is left.
    pub fn dispersion(&self) -> Option<f64> {
        self.dispersion
    }

    /// Whether the tolerance was reached.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// Steps made.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// The table of the log of the mean: intercept and columns, with standard errors, z (in the place of t) and p where
    /// no penalty was used.
    pub fn table(&self) -> Vec<Coefficient> {
        let mut table = self.line.coefficients();
        if let Some(errors) = &self.std_error {
            for (entry, error) in table.iter_mut().zip(errors) {
                entry.std_error = *error;
                entry.t = error.filter(|s| *s > 0.0).map(|s| entry.value / s);
                entry.p = entry.t.map(two_sided_normal_p);
            }
        }
        table
    }
}
