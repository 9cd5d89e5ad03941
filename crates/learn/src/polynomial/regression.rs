//! Regression on powers and products of columns, with the degree given or chosen by cross-validation.

use super::{FittedPolynomial, Polynomial};
use crate::cholesky::Cholesky;
use crate::crossval::KFold;
use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, one_column, save};
use crate::linear::{Coefficient, Scaled};
use crate::matrix::{Dataset, Matrix};
use crate::smooth::products;
use faer::Mat;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// Powers and products at most; their products with one another must fit in memory.
const TERMS_MAX: usize = 1500;

/// The highest degree.
const DEGREE_MAX: usize = 5;

/// Polynomial regression: ridge regression on all products of up to `degree` columns.
///
/// Columns are first brought to mean 0 and deviation 1, which changes no polynomial but keeps its digits. The ridge
/// penalty is `alpha · Σw` on the squares of the coefficients of the products, each scaled to deviation 1. With `degree`
/// 0 all degrees from 1 to `degree_max` are tried by cross-validation, as far as they have 1,500 products at most, and
/// the one of least mean square error is taken; of equals, the lowest. The products' sums are formed once per fold, for
/// all degrees at once.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `degree` | 2 | 0 to 5 | the highest number of columns multiplied; 0 chooses by cross-validation |
/// | `degree_max` | 3 | 1 to 5 | the highest degree tried where it is chosen |
/// | `interaction_only` | false | | only products of different columns, no powers |
/// | `alpha` | 1e-6 | 0 and more | weight of the penalty, relative to the products' variance |
/// | `n_folds` | 5 | 2 to 100 | folds of the cross-validation |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, polynomial::PolynomialRegression};
/// let x: Vec<f64> = (0..60).map(|i| f64::from(i) / 10.0).collect();
/// let y = x.iter().map(|v| 1.0 - v + 0.5 * v * v + 0.05 * (v * 40.0).sin()).collect();
/// let data = Dataset::new(Matrix::from_columns(&[x]).unwrap(), y, vec!["price".into()]).unwrap();
/// let auto = PolynomialRegression { degree: 0, ..PolynomialRegression::default() };
/// let model = auto.fit(&Run::new(0), &data).unwrap();
/// assert_eq!(model.degree(), 2);
/// assert!(model.tried()[0].error > 5.0 * model.tried()[1].error); // a straight line does not do
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolynomialRegression {
    /// The highest number of columns multiplied; 0 chooses.
    pub degree: usize,
    /// The highest degree tried where it is chosen.
    pub degree_max: usize,
    /// Only products of different columns.
    pub interaction_only: bool,
    /// Weight of the penalty.
    pub alpha: f64,
    /// Folds of the cross-validation.
    pub n_folds: usize,
}

impl Default for PolynomialRegression {
    fn default() -> Self {
        Self { degree: 2, degree_max: 3, interaction_only: false, alpha: 1e-6, n_folds: 5 }
    }
}

/// One degree and how it did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegreeTried {
    /// The highest number of columns multiplied.
    pub degree: usize,
    /// Powers and products.
    pub n_terms: usize,
    /// The mean square error in the test folds, averaged over folds.
    pub error: f64,
    /// The standard error of that average.
    pub std_error: f64,
}

/// What [`PolynomialRegression`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPolynomialRegression {
    names: Vec<String>,
    means: Vec<f64>,
    /// One over the deviation; 0 for columns without spread.
    inverse: Vec<f64>,
    basis: FittedPolynomial,
    degree: usize,
    coef: Vec<f64>,
    intercept: f64,
    /// The deviation of every product, for the importance of columns.
    sds: Vec<f64>,
    tried: Vec<DegreeTried>,
}

impl PolynomialRegression {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.degree <= DEGREE_MAX, "degree", self.degree, "0 to 5");
        check.require((1..=DEGREE_MAX).contains(&self.degree_max), "degree_max", self.degree_max, "1 to 5");
        check.require(self.alpha.is_finite() && self.alpha >= 0.0, "alpha", self.alpha, "0 and more");
        check.require((2..=100).contains(&self.n_folds), "n_folds", self.n_folds, "2 to 100");
        check.finish()
    }

    fn basis(&self, degree: usize, n_cols: usize) -> Result<FittedPolynomial> {
        Polynomial { degree, interaction_only: self.interaction_only }.fit(n_cols)
    }

    /// Fits. Fails on no rows, with a chosen degree on fewer rows than folds, and when the degree has more than 1,500
    /// powers and products.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedPolynomialRegression> {
        self.check()?;
        data.need_numbers("polynomial regression")?;
        data.need_rows("polynomial regression", if self.degree == 0 { self.n_folds } else { 1 })?;
        run.check()?;
        run.install(|| self.search(run, data))
    }

    fn search(&self, run: &Run, data: &Dataset) -> Result<FittedPolynomialRegression> {
        let n_cols = data.x().n_cols();
        let wanted = if self.degree > 0 { self.degree..=self.degree } else { 1..=self.degree_max };
        let mut bases: Vec<(usize, FittedPolynomial)> = Vec::new();
        for degree in wanted {
            match self.basis(degree, n_cols) {
                Ok(basis) if basis.terms.len() <= TERMS_MAX => bases.push((degree, basis)),
                _ => break,
            }
        }
        let Some((top_degree, top)) = bases.last().cloned() else {
            return Err(Error::Invalid(format!(
                "polynomial regression of degree {} on {n_cols} columns has more than {TERMS_MAX} products; lower the \
                 degree, set interaction_only, or choose columns",
                self.degree.max(1)
            )));
        };
        let weight = data.weights();
        let scaled = Scaled::weighted(data, &weight)?;
        let inverse: Vec<f64> =
            scaled.sds.iter().zip(&scaled.live).map(|(s, live)| if *live { 1.0 / s } else { 0.0 }).collect();
        let shape = Shape { data, scaled: &scaled, inverse: &inverse, terms: &top.terms, weight: &weight };
        let n = data.n_rows();
        let (sums, degree, tried) = if self.degree > 0 {
            (shape.sums(&(0..n).collect::<Vec<_>>())?, top_degree, Vec::new())
        } else {
            let splits = KFold { n_folds: self.n_folds, shuffle: true }.split(run, n)?;
            run.progress().begin("cross-validation", splits.len() as u64);
            let mut folds = Vec::with_capacity(splits.len());
            for split in &splits {
                run.check()?;
                folds.push(shape.sums(&split.test)?);
                run.progress().advance(1);
            }
            run.progress().end();
            let mut all = folds[0].clone();
            folds[1..].iter().for_each(|fold| all += fold);
            let sizes: Vec<(usize, usize)> = bases.iter().map(|(d, b)| (*d, b.terms.len())).collect();
            let tried = self.errors(run, &all, &folds, &sizes)?;
            let best = (0..tried.len()).fold(0, |b, k| if tried[k].error < tried[b].error { k } else { b });
            let degree = tried[best].degree;
            (all, degree, tried)
        };
        let basis = match degree == top_degree {
            true => top,
            false => self.basis(degree, n_cols)?,
        };
        let line = self.solve(&sums, basis.terms.len());
        if !line.coef.iter().all(|c| c.is_finite()) {
            return Err(Error::NotConverged { what: "polynomial regression".into(), iterations: 0 });
        }
        Ok(FittedPolynomialRegression {
            names: data.names().to_vec(),
            intercept: scaled.y_mean + line.at_zero,
            means: scaled.means,
            inverse,
            basis,
            degree,
            coef: line.coef,
            sds: line.sds,
            tried,
        })
    }

    /// The error of each degree: every fold is predicted from the sums of the others.
    fn errors(
        &self,
        run: &Run,
        all: &Mat<f64>,
        folds: &[Mat<f64>],
        sizes: &[(usize, usize)],
    ) -> Result<Vec<DegreeTried>> {
        let (target, one) = (all.nrows() - 2, all.nrows() - 1);
        let mut errors = vec![Vec::with_capacity(folds.len()); sizes.len()];
        for fold in folds {
            let train = all - fold;
            let (mass, tested) = (train[(one, one)], fold[(one, one)]);
            if !(mass > 0.0 && tested > 0.0) {
                return Err(Error::Invalid(
                    "a fold of the cross-validation has no row of positive weight; use fewer folds".into(),
                ));
            }
            for (errors, &(_, n_terms)) in errors.iter_mut().zip(sizes) {
                run.check()?;
                let line = self.solve(&train, n_terms);
                // The residual is a weighted sum of products, target and ones, so its square is one of their sums.
                let places: Vec<usize> = (0..n_terms).chain([target, one]).collect();
                let of: Vec<f64> = line.coef.iter().map(|c| -c).chain([1.0, -line.at_zero]).collect();
                let square: f64 = (0..of.len())
                    .map(|a| {
                        let row = (0..of.len()).map(|b| fold[(places[a], places[b])] * of[b]).sum::<f64>();
                        of[a] * row
                    })
                    .sum();
                errors.push(square.max(0.0) / tested);
            }
        }
        let n = folds.len() as f64;
        Ok(sizes
            .iter()
            .zip(errors)
            .map(|(&(degree, n_terms), errors)| {
                let error = errors.iter().sum::<f64>() / n;
                let spread = errors.iter().map(|e| (e - error) * (e - error)).sum::<f64>() / (n - 1.0);
                DegreeTried { degree, n_terms, error, std_error: (spread / n).sqrt() }
            })
            .collect())
    }

    /// Ridge on the first `n_terms` products, from sums about nothing.
    fn solve(&self, sums: &Mat<f64>, n_terms: usize) -> Solved {
        let (target, one) = (sums.nrows() - 2, sums.nrows() - 1);
        let mass = sums[(one, one)];
        let about = |a: usize, b: usize| (sums[(a, b)] - sums[(a, one)] * sums[(b, one)] / mass) / mass;
        // A variance that is only rounding beside the mean square is none.
        let sds: Vec<f64> = (0..n_terms)
            .map(|j| {
                let variance = about(j, j);
                if variance > 1e-12 * sums[(j, j)] / mass { variance.sqrt() } else { 0.0 }
            })
            .collect();
        let scale = |a: usize, b: usize, v: f64| match sds[a] > 0.0 && sds[b] > 0.0 {
            true => v / (sds[a] * sds[b]) + if a == b { self.alpha } else { 0.0 },
            false => 0.0,
        };
        let h = Mat::from_fn(n_terms, n_terms, |a, b| scale(a, b, about(a, b)));
        let right: Vec<f64> =
            (0..n_terms).map(|j| if sds[j] > 0.0 { about(j, target) / sds[j] } else { 0.0 }).collect();
        let scaled = Cholesky::new(&h).solve(&right);
        let coef: Vec<f64> =
            scaled.iter().zip(&sds).map(|(v, s)| if *s > 0.0 { v / s } else { 0.0 }).collect();
        let sum: f64 = (0..n_terms).map(|j| coef[j] * sums[(j, one)]).sum();
        Solved { at_zero: (sums[(target, one)] - sum) / mass, coef, sds }
    }
}

struct Solved {
    coef: Vec<f64>,
    /// The value where all products are zero.
    at_zero: f64,
    sds: Vec<f64>,
}

/// The data seen through products of scaled columns.
struct Shape<'a> {
    data: &'a Dataset,
    scaled: &'a Scaled,
    inverse: &'a [f64],
    terms: &'a [Vec<usize>],
    weight: &'a [f64],
}

impl Shape<'_> {
    /// The weighted sums of products, centred target and ones with one another over some rows.
    fn sums(&self, rows: &[usize]) -> Result<Mat<f64>> {
        let n_terms = self.terms.len();
        let mut sums = products(rows.len(), n_terms + 2, 1, |r, out, w| {
            let i = rows[r];
            let at = |j: usize| (self.data.x().get(i, j) - self.scaled.means[j]) * self.inverse[j];
            write_terms(self.terms, at, out);
            out[n_terms] = self.data.y()[i] - self.scaled.y_mean;
            out[n_terms + 1] = 1.0;
            w[0] = self.weight[i];
        });
        match sums.pop() {
            Some(sums) if (0..n_terms + 2).all(|j| sums[(j, j)].is_finite()) => Ok(sums),
            _ => Err(Error::Invalid(
                "powers of the columns are too large to be summed; lower the degree or cap outliers".into(),
            )),
        }
    }
}

fn write_terms(terms: &[Vec<usize>], at: impl Fn(usize) -> f64, out: &mut [f64]) {
    for (o, term) in out.iter_mut().zip(terms) {
        *o = term.iter().map(|&j| at(j)).product();
    }
}

impl FittedPolynomialRegression {
    /// One prediction per row. Fails on another width, and on NaN or infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        x.check_width(self.means.len(), "the polynomial regression")?;
        x.check_finite(&self.names)?;
        let mut terms = vec![0.0; self.coef.len()];
        Ok(x.rows()
            .map(|row| {
                let at = |j: usize| (row[j] - self.means[j]) * self.inverse[j];
                write_terms(&self.basis.terms, at, &mut terms);
                let sum: f64 =
                    terms.iter().zip(&self.coef).map(|(t, c)| if *c == 0.0 { 0.0 } else { t * c }).sum();
                // Far outside, powers may pass the largest number.
                (self.intercept + sum).clamp(-1e300, 1e300)
            })
            .collect())
    }

    /// The highest number of columns multiplied.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// Every degree tried, rising, with its error in cross-validation; empty where it was given.
    pub fn tried(&self) -> &[DegreeTried] {
        &self.tried
    }

    /// The powers and products, named, with their coefficients on columns brought to mean 0 and deviation 1.
    pub fn table(&self) -> Vec<Coefficient> {
        let plain = |name: String, value: f64| Coefficient { name, value, std_error: None, t: None, p: None };
        let mut table = vec![plain("intercept".into(), self.intercept)];
        table.extend(self.basis.names(&self.names).into_iter().zip(&self.coef).map(|(n, c)| plain(n, *c)));
        table
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "polynomial",
    summary: "Regression on powers and products of columns; degree 0 chooses the degree by cross-validation.",
    summary_zh: "多项式回归：对各列的幂与乘积作回归；degree 为 0 时由交叉验证选择次数。",
    source: "Gergonne 1815; Stone 1974 (cross-validation)",
    tasks: &[Task::Regression],
    params: &[
        ParamSpec {
            name: "degree",
            kind: ParamKind::Integer { min: 0, max: 5 },
            default: "2",
            summary: "the highest number of columns multiplied; 0 chooses by cross-validation",
        },
        ParamSpec {
            name: "degree_max",
            kind: ParamKind::Integer { min: 1, max: 5 },
            default: "3",
            summary: "the highest degree tried where it is chosen",
        },
        ParamSpec {
            name: "interaction_only",
            kind: ParamKind::Flag,
            default: "false",
            summary: "only products of different columns, no powers",
        },
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.0, max: 1e12 },
            default: "1e-6",
            summary: "weight of the penalty, relative to the products' variance",
        },
        ParamSpec {
            name: "n_folds",
            kind: ParamKind::Integer { min: 2, max: 100 },
            default: "5",
            summary: "folds of the cross-validation",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: true,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |_, params| {
        let params: PolynomialRegression = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedPolynomialRegression>("polynomial", saved),
};

impl Learner for PolynomialRegression {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit(run, data)?))
    }
}

impl FittedLearner for FittedPolynomialRegression {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.predict(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("polynomial", self)
    }

    /// The deviations of the terms that a column takes part in.
    fn importance(&self) -> Option<Vec<f64>> {
        let mut out = vec![0.0; self.means.len()];
        for ((term, c), sd) in self.basis.terms.iter().zip(&self.coef).zip(&self.sds) {
            let mut last = None;
            for &j in term.iter().filter(|j| last.replace(**j) != Some(**j)) {
                out[j] += (c * sd).abs();
            }
        }
        Some(out)
    }

    fn coefficients(&self) -> Option<Vec<Coefficient>> {
        Some(self.table())
    }
}
