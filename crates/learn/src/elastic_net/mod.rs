//! Lasso and elastic net: linear regression that leaves columns out (Tibshirani 1996; Zou and Hastie 2005).
//!
//! Minimises `1/(2 Σw) Σ wᵢ (yᵢ − b − xᵢ·β)² + alpha · (l1_ratio · |β|₁ + (1 − l1_ratio)/2 · |β|₂²)`, as scikit-learn counts
//! it; `l1_ratio` 1 is the lasso. Columns are centred, the intercept is not penalised. The method is cyclic coordinate
//! descent on products of columns (Friedman, Hastie and Tibshirani 2010): over the columns that the strong rule keeps
//! (Tibshirani et al. 2012), all others being checked at the end, with steps over the active columns and warm starts
//! along a falling path of `alpha`. Products of columns are formed once, so memory grows with the square of the columns
//! and a step does not depend on the rows.
//!
//! `alpha` can be chosen by cross-validation ([`ElasticNet::choose`]): the products of each fold are formed once and
//! taken off the whole for its training part, so that all folds and all values of `alpha` cost one pass over the rows.

mod choose;
mod entry;

pub use choose::{AlphaRule, PathPoint};
pub use entry::{ENTRY, LASSO};

use crate::linear::{Line, Scaled};
use crate::matrix::{Dataset, Matrix};
use crate::smooth::{Design, products};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `alpha` | 1 | above 0 | weight of the penalty against half the mean square; not used where it is chosen |
/// | `l1_ratio` | 1 | 0 to 1 | the lasso's share of the penalty |
/// | `n_folds` | 0 | 0, 2 to 100 | 0 takes `alpha` as given; else it is chosen by cross-validation over so many folds |
/// | `rule` | min | min, one_standard_error | which `alpha` is chosen |
/// | `tolerance` | 1e-9 | above 0, below 1 | how far each column's optimality may be missed, per deviation of the target |
/// | `max_iter` | 100,000 | 1 to 10,000,000 | sweeps over the columns before giving up |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, elastic_net::ElasticNet};
/// let x = Matrix::from_rows(&[[1.0, 2.0], [2.0, -1.0], [3.0, 1.0], [4.0, -2.0]]).unwrap();
/// let data = Dataset::new(x, vec![1.0, 2.0, 3.0, 4.0], vec![]).unwrap();
/// let model = ElasticNet { alpha: 0.1, ..ElasticNet::default() }.fit(&Run::new(0), &data).unwrap();
/// assert!(model.line().coef()[1].abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticNet {
    /// Weight of the penalty.
    pub alpha: f64,
    /// The lasso's share of the penalty.
    pub l1_ratio: f64,
    /// Folds to choose `alpha` by; 0 takes it as given.
    pub n_folds: usize,
    /// Which `alpha` is chosen.
    pub rule: AlphaRule,
    /// Where the search ends.
    pub tolerance: f64,
    /// Sweeps before giving up.
    pub max_iter: usize,
}

impl Default for ElasticNet {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            l1_ratio: 1.0,
            n_folds: 0,
            rule: AlphaRule::Min,
            tolerance: 1e-9,
            max_iter: 100_000,
        }
    }
}

/// What [`ElasticNet`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedElasticNet {
    line: Line,
    alpha: f64,
    /// Empty where `alpha` was given.
    #[serde(default)]
    tried: Vec<PathPoint>,
}

impl ElasticNet {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.alpha.is_finite() && self.alpha > 0.0, "alpha", self.alpha, "above 0");
        check.require((0.0..=1.0).contains(&self.l1_ratio), "l1_ratio", self.l1_ratio, "0 to 1");
        let folds = self.n_folds == 0 || (2..=100).contains(&self.n_folds);
        check.require(folds, "n_folds", self.n_folds, "0, or 2 to 100");
        check.require(
            self.tolerance > 0.0 && self.tolerance < 1.0,
            "tolerance",
            self.tolerance,
            "above 0, below 1",
        );
        check.require((1..=10_000_000).contains(&self.max_iter), "max_iter", self.max_iter, "1 to 10000000");
        check.finish()
    }

    /// Fits, for this `alpha` or (with `n_folds`) the one chosen by cross-validation. Fails on no rows, and when the
    /// search does not end in `max_iter` sweeps.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedElasticNet> {
        if self.n_folds > 0 {
            return self.choose(run, data);
        }
        let mut path = self.path(run, data, &[self.alpha])?;
        path.pop().ok_or_else(|| Error::Invalid("the elastic net was given no alpha".into()))
    }

    /// Fits for each of `alphas` in the order given, each started from the one before; falling order is quickest.
    /// This struct's own `alpha` is not used.
    pub fn path(&self, run: &Run, data: &Dataset, alphas: &[f64]) -> Result<Vec<FittedElasticNet>> {
        for &alpha in alphas {
            Self { alpha, ..*self }.check()?;
        }
        data.need_numbers("the elastic net")?;
        data.need_rows("the elastic net", 1)?;
        run.check()?;
        run.install(|| {
            let weight = data.weights();
            let scaled = Scaled::weighted(data, &weight)?;
            let rows: Vec<usize> = (0..data.n_rows()).collect();
            let products = Products::of(&Sums::of(data, &weight, &scaled, &rows));
            let mut state = State::new(&products);
            let mut out = Vec::with_capacity(alphas.len());
            for &alpha in alphas {
                self.descend(run, &products, &scaled, alpha, &mut state)?;
                out.push(self.fitted(&scaled, &state.v, alpha));
            }
            Ok(out)
        })
    }

    fn fitted(&self, scaled: &Scaled, v: &[f64], alpha: f64) -> FittedElasticNet {
        let y_scale = y_scale(scaled);
        let on_scale: Vec<f64> = v.iter().map(|v| v * y_scale).collect();
        FittedElasticNet { line: scaled.line(&on_scale, scaled.y_mean), alpha, tried: Vec::new() }
    }

    /// Moves `state` to the answer for `alpha`.
    fn descend(
        &self,
        run: &Run,
        products: &Products,
        scaled: &Scaled,
        alpha: f64,
        state: &mut State,
    ) -> Result<()> {
        let p = state.v.len();
        let y_scale = y_scale(scaled);
        // On the scaled axes (column and target of deviation 1) the penalties become those of β = v · sd_y / sd_x.
        let l1: Vec<f64> = scaled.sds.iter().map(|s| alpha * self.l1_ratio / (s * y_scale)).collect();
        let l2: Vec<f64> = scaled.sds.iter().map(|s| alpha * (1.0 - self.l1_ratio) / (s * s)).collect();
        let State { v, left, last_alpha } = state;
        // The strong rule: a column whose product with what is left was below 2 alpha − the last alpha will hardly
        // join. It may err, so the columns left out are checked below.
        let share = (2.0 - last_alpha.unwrap_or(alpha) / alpha).clamp(0.0, 1.0);
        let usable = |j: usize| scaled.live[j] && products.gram[j * p + j] > 1e-13;
        let mut kept: Vec<usize> =
            (0..p).filter(|&j| usable(j) && (v[j] != 0.0 || left[j].abs() >= share * l1[j])).collect();
        let mut only_active = false;
        for _ in 0..self.max_iter {
            run.check()?;
            let mut moved = 0.0_f64;
            for &j in &kept {
                if only_active && v[j] == 0.0 {
                    continue;
                }
                let own = products.gram[j * p + j];
                let pull = left[j] + own * v[j];
                let new = soft(pull, l1[j]) / (own + l2[j]);
                let step = new - v[j];
                if step != 0.0 {
                    v[j] = new;
                    let column = &products.gram[j * p..(j + 1) * p];
                    left.iter_mut().zip(column).for_each(|(l, g)| *l -= g * step);
                    moved = moved.max(step.abs() * (own + l2[j]));
                }
            }
            if moved > self.tolerance {
                only_active = true;
                continue;
            }
            if only_active {
                // The active columns are at rest; a sweep over all kept tells whether others want to join.
                only_active = false;
                continue;
            }
            let joining: Vec<usize> = (0..p)
                .filter(|&j| usable(j) && v[j] == 0.0 && left[j].abs() > l1[j] + self.tolerance)
                .filter(|j| !kept.contains(j))
                .collect();
            if joining.is_empty() {
                *last_alpha = Some(alpha);
                return Ok(());
            }
            kept.extend(joining);
        }
        Err(Error::NotConverged { what: "the elastic net".into(), iterations: self.max_iter })
    }
}

/// The deviation of the target, the unit in which it is worked on.
fn y_scale(scaled: &Scaled) -> f64 {
    match scaled.y_sd() {
        0.0 => 1.0,
        sd => sd,
    }
}

/// Where a path stands: the coefficients on the scaled axes, and what is left of each column's product with the target.
struct State {
    v: Vec<f64>,
    left: Vec<f64>,
    last_alpha: Option<f64>,
}

impl State {
    fn new(products: &Products) -> Self {
        let left = products.with_target.clone();
        Self { v: vec![0.0; left.len()], left, last_alpha: None }
    }
}

/// Weighted sums of products over some rows, of the scaled columns, the scaled target and a column of ones.
#[derive(Clone)]
struct Sums {
    /// Row after row, `p + 2` wide.
    sums: Vec<f64>,
    width: usize,
}

impl Sums {
    fn of(data: &Dataset, weight: &[f64], scaled: &Scaled, rows: &[usize]) -> Self {
        let (p, width) = (data.x().n_cols(), data.x().n_cols() + 2);
        let design = Design::new(data.x(), scaled);
        let y_scale = y_scale(scaled);
        let sums = products(rows.len(), width, 1, |r, row, w| {
            let i = rows[r];
            design.fill(i, &mut row[..p]);
            row[p] = (data.y()[i] - scaled.y_mean) / y_scale;
            row[p + 1] = 1.0;
            w[0] = weight[i];
        });
        let sums = (0..width * width).map(|k| sums[0][(k / width, k % width)]).collect();
        Self { sums, width }
    }

    fn get(&self, a: usize, b: usize) -> f64 {
        self.sums[a * self.width + b]
    }

    /// The weight of the rows together.
    fn mass(&self) -> f64 {
        self.get(self.width - 1, self.width - 1)
    }
}

/// Mean products of the scaled columns with one another and with the scaled target, about their own means.
struct Products {
    gram: Vec<f64>,
    with_target: Vec<f64>,
}

impl Products {
    fn of(sums: &Sums) -> Self {
        let (p, one) = (sums.width - 2, sums.width - 1);
        let mass = sums.mass();
        let product =
            |a: usize, b: usize| (sums.get(a, b) - sums.get(a, one) * sums.get(b, one) / mass) / mass;
        let gram = (0..p * p).map(|k| product(k / p, k % p)).collect();
        Self { gram, with_target: (0..p).map(|a| product(a, p)).collect() }
    }
}

pub(crate) fn soft(value: f64, threshold: f64) -> f64 {
    if value > threshold {
        value - threshold
    } else if value < -threshold {
        value + threshold
    } else {
        0.0
    }
}

impl FittedElasticNet {
    /// One prediction per row.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        self.line.predict(x)
    }

    /// Coefficients, intercept and contributions.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The weight of the penalty.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// How many columns have a coefficient other than 0.
    pub fn n_used(&self) -> usize {
        self.line.coef().iter().filter(|c| **c != 0.0).count()
    }

    /// Every `alpha` tried, falling, with its error in cross-validation; empty where it was given.
    pub fn tried(&self) -> &[PathPoint] {
        &self.tried
    }
}
