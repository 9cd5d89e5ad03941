//! Any classifier with probabilities that mean what they say.
//!
//! The estimator predicts every training row from the other folds, the calibrator of [`calibrate`](crate::calibrate)
//! learns from these held-out answers, and the estimator is then fitted on all rows (scikit-learn's
//! `CalibratedClassifierCV(ensemble=False)`). The order of rows by probability stays with one class against another,
//! except where isotonic steps make ties.

use crate::calibrate::{FittedIsotonic, FittedPlatt, FittedTemperature, Isotonic, Platt, Temperature};
use crate::crossval::StratifiedKFold;
use crate::learner::{FittedLearner, Learner, Task, save};
use crate::matrix::{Dataset, Matrix};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, Params, Result, Run, TrainingCurve};

/// How probabilities are corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A rising step curve per class, brought to the sum 1; needs some thousand rows.
    Isotonic,
    /// A logistic curve on the log odds per class, brought to the sum 1; does with few rows.
    Platt,
    /// One number for all classes; keeps the class said.
    #[default]
    Temperature,
}

/// An estimator whose probabilities are calibrated.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `learner` | `logistic` | a classifier of the catalogue | the estimator |
/// | `params` | none | those of the estimator | its parameters |
/// | `method` | `temperature` | `isotonic`, `platt`, `temperature` | the correction |
/// | `n_folds` | 5 | 2 to 1000 | folds of the held-out answers |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Learner, Matrix, Task, calibrated::Calibrated};
/// let x: Vec<f64> = (0..40).map(|i| f64::from(i % 20)).collect();
/// let y = (0..40).map(|i| f64::from(u8::from(i % 20 + 3 * (i % 3) > 12))).collect();
/// let data = Dataset::new(Matrix::from_columns(&[x]).unwrap(), y, vec![]).unwrap();
/// let model = Calibrated::default().learner(Task::Binary).unwrap().fit(&Run::new(1), &data).unwrap();
/// let p = model.predict(data.x()).unwrap();
/// assert!((p.get(0, 0) + p.get(0, 1) - 1.0).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calibrated {
    /// The estimator's name.
    pub learner: String,
    /// Its parameters.
    pub params: Params,
    /// The correction.
    pub method: Method,
    /// Folds.
    pub n_folds: usize,
}

impl Default for Calibrated {
    fn default() -> Self {
        Self { learner: "logistic".into(), params: Params::new(), method: Method::default(), n_folds: 5 }
    }
}

impl Calibrated {
    /// Checks the parameters and makes the estimator for `task`, which must be of classes.
    pub fn learner(&self, task: Task) -> Result<CalibratedLearner> {
        let n = self.n_folds;
        ParamCheck::new().require((2..=1000).contains(&n), "n_folds", n, "2 to 1000").finish()?;
        if !task.is_classes() {
            return Err(Error::Invalid(format!("calibration is of classes; {task} has no probabilities")));
        }
        let base = crate::entry(&self.learner)?.learner(task, &self.params)?;
        Ok(CalibratedLearner { params: self.clone(), base })
    }
}

/// A [`Calibrated`] made for a task.
pub struct CalibratedLearner {
    params: Calibrated,
    base: Box<dyn Learner>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Correction {
    Isotonic(Vec<FittedIsotonic>),
    Platt(Vec<FittedPlatt>),
    Temperature(FittedTemperature),
}

/// What is saved: the estimator's own state beside the correction.
#[derive(Serialize, Deserialize)]
struct Saved {
    learner: String,
    base: Value,
    correction: Correction,
}

struct FittedCalibrated {
    learner: String,
    base: Box<dyn FittedLearner>,
    correction: Correction,
}

fn log_odds(p: f64) -> f64 {
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    (p / (1.0 - p)).ln()
}

impl Learner for CalibratedLearner {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        let (label, k) = data.classes("calibration")?;
        let folds = StratifiedKFold { n_folds: self.params.n_folds, shuffle: true }.split(run, &label)?;
        let mut held_out = Matrix::zeros(data.n_rows(), k);
        for fold in &folds {
            run.check()?;
            let fitted = self.base.fit(&run.quiet(), &data.select_rows(&fold.train)?)?;
            let p = fitted.predict(&data.x().select_rows(&fold.test))?;
            p.check_width(k, "calibration (a fold lacks a class: use fewer folds or more rows of it)")?;
            for (at, &i) in fold.test.iter().enumerate() {
                held_out.row_mut(i).copy_from_slice(p.row(at));
            }
        }
        let is = |c: usize| label.iter().map(move |l| *l == c);
        // With two classes the second tells all.
        let classes = if k == 2 { 1..2 } else { 0..k };
        let correction = match self.params.method {
            Method::Isotonic => Correction::Isotonic(
                classes
                    .map(|c| {
                        let outcome: Vec<f64> = is(c).map(|h| f64::from(u8::from(h))).collect();
                        Isotonic.fit(&held_out.column(c), &outcome, data.weight())
                    })
                    .collect::<Result<_>>()?,
            ),
            Method::Platt => Correction::Platt(
                classes
                    .map(|c| {
                        let score: Vec<f64> = held_out.column(c).into_iter().map(log_odds).collect();
                        Platt.fit(run, &score, &is(c).collect::<Vec<_>>())
                    })
                    .collect::<Result<_>>()?,
            ),
            Method::Temperature => Correction::Temperature(Temperature.fit(&held_out, &label)?),
        };
        let base = self.base.fit(run, data)?;
        Ok(Box::new(FittedCalibrated { learner: self.params.learner.clone(), base, correction }))
    }
}

impl FittedLearner for FittedCalibrated {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        let p = self.base.predict(x)?;
        let k = p.n_cols();
        let of_class = |c: usize| -> Vec<f64> {
            match &self.correction {
                Correction::Isotonic(f) => f[c].predict(&p.column(if k == 2 { 1 } else { c })),
                Correction::Platt(f) => {
                    let own = p.column(if k == 2 { 1 } else { c });
                    f[c].predict(&own.into_iter().map(log_odds).collect::<Vec<_>>())
                }
                Correction::Temperature(_) => Vec::new(),
            }
        };
        match &self.correction {
            Correction::Temperature(f) => f.predict(&p),
            Correction::Isotonic(_) | Correction::Platt(_) if k == 2 => {
                let one = of_class(0);
                Matrix::from_columns(&[one.iter().map(|p| 1.0 - p).collect::<Vec<_>>(), one])
            }
            _ => {
                let columns: Vec<Vec<f64>> = (0..k).map(of_class).collect();
                let mut out = Matrix::from_columns(&columns)?;
                for i in 0..out.n_rows() {
                    let row = out.row_mut(i);
                    let sum: f64 = row.iter().sum();
                    let even = 1.0 / k as f64;
                    row.iter_mut().for_each(|v| *v = if sum > 0.0 { *v / sum } else { even });
                }
                Ok(out)
            }
        }
    }

    fn save(&self) -> Result<Value> {
        let (base, correction) = (self.base.save()?, self.correction.clone());
        save("calibrated model", &Saved { learner: self.learner.clone(), base, correction })
    }

    fn importance(&self) -> Option<Vec<f64>> {
        self.base.importance()
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.base.training_curves()
    }
}

/// Reads back what a calibrated model's [`FittedLearner::save`] gave.
pub fn load_calibrated(saved: Value) -> Result<Box<dyn FittedLearner>> {
    let read: Saved = serde_json::from_value(saved)
        .map_err(|source| Error::Saved { what: "calibrated model".into(), source })?;
    let base = (crate::entry(&read.learner)?.load)(read.base)?;
    if matches!(&read.correction, Correction::Isotonic(f) if f.is_empty())
        || matches!(&read.correction, Correction::Platt(f) if f.is_empty())
    {
        return Err(Error::Invalid("the saved calibrated model has no correction".into()));
    }
    Ok(Box::new(FittedCalibrated { learner: read.learner, base, correction: read.correction }))
}
