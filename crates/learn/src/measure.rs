//! The measures that search, leaderboards and reports go by, under one name each.
//!
//! | name | for | better | meaning |
//! |---|---|---|---|
//! | `rmse`, `mae`, `median_ae`, `rmsle` | regression | lower | size of the errors |
//! | `mape`, `wape`, `smape` | regression | lower | errors as a share of the truth (`smape` in percent, 0 to 200) |
//! | `r2`, `explained_variance` | regression | higher | share of variance explained |
//! | `pinball@0.9` | regression | lower | loss of a quantile, here of level 0.9 |
//! | `poisson`, `gamma`, `tweedie@1.5` | regression | lower | mean deviance of counts and amounts |
//! | `accuracy`, `balanced_accuracy` | classes | higher | share of right answers, plain and by class |
//! | `precision`, `recall`, `f1` | binary | higher | of class 1 |
//! | `f1_macro`, `f1_micro`, `f1_weighted`, … | classes | higher | over all classes |
//! | `mcc`, `kappa` | classes | higher | agreement beyond chance |
//! | `roc_auc`, `pr_auc` | classes, anomaly | higher | order of the scores; several classes: mean of one against the rest |
//! | `ks` | binary, anomaly | higher | widest gap of the two ROC rates |
//! | `log_loss`, `brier`, `calibration_error` | classes | lower | probabilities |
//! | `ndcg@10`, `map@10`, `mrr`, `hit_rate@10` | ranking | higher | order within each group |
//!
//! The class said is the one of the highest probability, the lower number where two are equal. Formulas stand at
//! [`tradewind_core::metrics`].

use crate::learner::Task;
use crate::matrix::{Matrix, check_finite};
use serde::{Deserialize, Serialize};
use tradewind_core::metrics::class::{Average, Confusion, calibration, calibration_error, cross_entropy};
use tradewind_core::metrics::{class, curve, rank, regression};
use tradewind_core::{Error, Result};

/// How the measures of the classes become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Averaging {
    /// That of class 1 of two.
    #[default]
    Positive,
    /// The plain mean over the classes.
    Macro,
    /// Over all rows together.
    Micro,
    /// The mean over the classes weighted by their rows.
    Weighted,
}

impl Averaging {
    fn core(self) -> Average {
        match self {
            Self::Positive => Average::Class(1),
            Self::Macro => Average::Macro,
            Self::Micro => Average::Micro,
            Self::Weighted => Average::Weighted,
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Positive => "",
            Self::Macro => "_macro",
            Self::Micro => "_micro",
            Self::Weighted => "_weighted",
        }
    }
}

/// How good answers are. The table stands at the [module](self).
///
/// Its text form (`ndcg@10`, `f1_macro`) is what people type and what is saved.
///
/// ```
/// use tradewind_learn::{Matrix, Task, measure::Measure};
/// let measure: Measure = "roc_auc".parse().unwrap();
/// let answers = Matrix::from_rows(&[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]).unwrap();
/// assert_eq!(measure.score(Task::Binary, &[0.0, 0.0, 1.0], &answers, None, None).unwrap(), 1.0);
/// assert!(measure.higher_is_better());
/// assert_eq!("pinball@0.9".parse::<Measure>().unwrap().to_string(), "pinball@0.9");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Measure {
    /// Root of the mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Median absolute error.
    MedianAe,
    /// Root of the mean squared error of `ln(1 + value)`.
    Rmsle,
    /// Mean absolute percentage error as a share; rows of truth zero do not count.
    Mape,
    /// Sum of absolute errors over the sum of absolute truths.
    Wape,
    /// Symmetric percentage error, 0 to 200.
    Smape,
    /// Coefficient of determination.
    R2,
    /// Explained variance.
    ExplainedVariance,
    /// Loss of a quantile of this level, above 0 and below 1.
    Pinball(f64),
    /// Mean Poisson deviance.
    Poisson,
    /// Mean gamma deviance.
    Gamma,
    /// Mean Tweedie deviance of this power, from 1 to 3.
    Tweedie(f64),
    /// Share of right answers.
    Accuracy,
    /// Mean recall over the classes.
    BalancedAccuracy,
    /// Of what was said to be the class, the share that is.
    Precision(Averaging),
    /// Of what is the class, the share found.
    Recall(Averaging),
    /// Harmonic mean of precision and recall.
    F1(Averaging),
    /// Matthews' correlation.
    Mcc,
    /// Cohen's kappa.
    Kappa,
    /// Area under the ROC curve.
    RocAuc,
    /// Average precision, the area under the precision-recall curve.
    PrAuc,
    /// Kolmogorov and Smirnov's distance of the two classes.
    Ks,
    /// Mean negative log of the probability of what happened.
    LogLoss,
    /// Brier score.
    Brier,
    /// Expected calibration error in ten bins of equal count; of several classes that of the class said.
    CalibrationError,
    /// Normalised discounted cumulative gain among the first rows, this many.
    Ndcg(usize),
    /// Mean average precision among the first rows, this many.
    Map(usize),
    /// Mean reciprocal rank of the first relevant row.
    Mrr,
    /// Share of groups with a relevant row among the first, this many.
    HitRate(usize),
}

const REGRESSION: &[Task] = &[Task::Regression];
const BINARY: &[Task] = &[Task::Binary];
const CLASSES: &[Task] = &[Task::Binary, Task::Multiclass];
const ORDERED: &[Task] = &[Task::Binary, Task::Multiclass, Task::Anomaly];
const TWO_SIDED: &[Task] = &[Task::Binary, Task::Anomaly];
const RANKING: &[Task] = &[Task::Ranking];

/// Bins of the calibration error.
const BINS: usize = 10;

impl Measure {
    /// One of each kind, with usual numbers where it takes one, in the order in which they are shown.
    pub const ALL: [Self; 36] = [
        Self::Rmse,
        Self::Mae,
        Self::MedianAe,
        Self::Rmsle,
        Self::Mape,
        Self::Wape,
        Self::Smape,
        Self::R2,
        Self::ExplainedVariance,
        Self::Pinball(0.5),
        Self::Poisson,
        Self::Gamma,
        Self::Tweedie(1.5),
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::Precision(Averaging::Positive),
        Self::Precision(Averaging::Macro),
        Self::Precision(Averaging::Weighted),
        Self::Recall(Averaging::Positive),
        Self::Recall(Averaging::Macro),
        Self::F1(Averaging::Positive),
        Self::F1(Averaging::Macro),
        Self::F1(Averaging::Micro),
        Self::F1(Averaging::Weighted),
        Self::Mcc,
        Self::Kappa,
        Self::RocAuc,
        Self::PrAuc,
        Self::Ks,
        Self::LogLoss,
        Self::Brier,
        Self::CalibrationError,
        Self::Ndcg(10),
        Self::Map(10),
        Self::Mrr,
        Self::HitRate(10),
    ];

    /// What is gone by when nothing else is asked for: `rmse`, `roc_auc`, `log_loss`, `ndcg@10`, and for anomalies whose
    /// truth is known `pr_auc`. Clustering has no truth and no measure here.
    pub fn default_for(task: Task) -> Option<Self> {
        match task {
            Task::Regression => Some(Self::Rmse),
            Task::Binary => Some(Self::RocAuc),
            Task::Multiclass => Some(Self::LogLoss),
            Task::Ranking => Some(Self::Ndcg(10)),
            Task::Anomaly => Some(Self::PrAuc),
            Task::Clustering => None,
        }
    }

    /// All that can be given for `task`.
    pub fn all_for(task: Task) -> Vec<Self> {
        Self::ALL.into_iter().filter(|m| m.tasks().contains(&task)).collect()
    }

    /// The word without its number.
    fn word(self) -> &'static str {
        match self {
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::MedianAe => "median_ae",
            Self::Rmsle => "rmsle",
            Self::Mape => "mape",
            Self::Wape => "wape",
            Self::Smape => "smape",
            Self::R2 => "r2",
            Self::ExplainedVariance => "explained_variance",
            Self::Pinball(_) => "pinball",
            Self::Poisson => "poisson",
            Self::Gamma => "gamma",
            Self::Tweedie(_) => "tweedie",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::Precision(_) => "precision",
            Self::Recall(_) => "recall",
            Self::F1(_) => "f1",
            Self::Mcc => "mcc",
            Self::Kappa => "kappa",
            Self::RocAuc => "roc_auc",
            Self::PrAuc => "pr_auc",
            Self::Ks => "ks",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::CalibrationError => "calibration_error",
            Self::Ndcg(_) => "ndcg",
            Self::Map(_) => "map",
            Self::Mrr => "mrr",
            Self::HitRate(_) => "hit_rate",
        }
    }

    /// Its name in Chinese, for reports.
    pub fn name_zh(self) -> String {
        let averaged = |word: &str, a: Averaging| match a {
            Averaging::Positive => word.to_owned(),
            Averaging::Macro => format!("{word}（宏平均）"),
            Averaging::Micro => format!("{word}（微平均）"),
            Averaging::Weighted => format!("{word}（加权平均）"),
        };
        match self {
            Self::Rmse => "均方根误差".into(),
            Self::Mae => "平均绝对误差".into(),
            Self::MedianAe => "绝对误差中位数".into(),
            Self::Rmsle => "对数均方根误差".into(),
            Self::Mape => "平均绝对百分比误差".into(),
            Self::Wape => "加权绝对百分比误差".into(),
            Self::Smape => "对称平均绝对百分比误差".into(),
            Self::R2 => "决定系数 R²".into(),
            Self::ExplainedVariance => "可解释方差".into(),
            Self::Pinball(level) => format!("分位数损失（{level}）"),
            Self::Poisson => "泊松偏差".into(),
            Self::Gamma => "伽马偏差".into(),
            Self::Tweedie(power) => format!("Tweedie 偏差（{power}）"),
            Self::Accuracy => "准确率".into(),
            Self::BalancedAccuracy => "平衡准确率".into(),
            Self::Precision(a) => averaged("精确率", a),
            Self::Recall(a) => averaged("召回率", a),
            Self::F1(a) => averaged("F1 值", a),
            Self::Mcc => "马修斯相关系数".into(),
            Self::Kappa => "科恩 κ 系数".into(),
            Self::RocAuc => "ROC 曲线下面积".into(),
            Self::PrAuc => "精确率-召回率曲线下面积".into(),
            Self::Ks => "KS 值".into(),
            Self::LogLoss => "对数损失".into(),
            Self::Brier => "布里尔分数".into(),
            Self::CalibrationError => "校准误差".into(),
            Self::Ndcg(k) => format!("NDCG@{k}"),
            Self::Map(k) => format!("MAP@{k}"),
            Self::Mrr => "平均倒数排名".into(),
            Self::HitRate(k) => format!("命中率@{k}"),
        }
    }

    /// Whether a higher value is the better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::R2 | Self::ExplainedVariance => true,
            Self::LogLoss | Self::Brier | Self::CalibrationError => false,
            _ => !self.tasks().contains(&Task::Regression),
        }
    }

    /// The value turned so that lower is better, for what minimises.
    ///
    /// ```
    /// use tradewind_learn::measure::Measure;
    /// assert_eq!(Measure::R2.loss(0.8), -0.8);
    /// ```
    pub fn loss(self, value: f64) -> f64 {
        if self.higher_is_better() { -value } else { value }
    }

    /// Whether value `a` is better than `b`; a NaN is never better.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        !a.is_nan() && (b.is_nan() || self.loss(a) < self.loss(b))
    }

    /// The tasks it is for.
    pub fn tasks(self) -> &'static [Task] {
        match self {
            Self::Rmse | Self::Mae | Self::MedianAe | Self::Rmsle | Self::Mape | Self::Wape => REGRESSION,
            Self::Smape | Self::R2 | Self::ExplainedVariance | Self::Pinball(_) => REGRESSION,
            Self::Poisson | Self::Gamma | Self::Tweedie(_) => REGRESSION,
            Self::Precision(a) | Self::Recall(a) | Self::F1(a) if a == Averaging::Positive => BINARY,
            Self::Accuracy | Self::BalancedAccuracy | Self::Mcc | Self::Kappa => CLASSES,
            Self::Precision(_) | Self::Recall(_) | Self::F1(_) => CLASSES,
            Self::LogLoss | Self::Brier | Self::CalibrationError => CLASSES,
            Self::RocAuc | Self::PrAuc => ORDERED,
            Self::Ks => TWO_SIDED,
            Self::Ndcg(_) | Self::Map(_) | Self::Mrr | Self::HitRate(_) => RANKING,
        }
    }

    /// Whether it looks at the order of answers alone, so that calibration cannot change it.
    pub fn is_of_order(self) -> bool {
        matches!(self, Self::RocAuc | Self::PrAuc | Self::Ks) || self.tasks() == RANKING
    }

    /// How good `answers` are, as [`FittedLearner::predict`](crate::FittedLearner::predict) gives them, against the
    /// `truth` in the coding of a [`Dataset`](crate::Dataset)'s target (for anomalies 1 is unusual). For rankings
    /// `groups` are the sizes of the groups (absent: all rows are one), and a group weighs the mean of its rows.
    ///
    /// Fails where the measure is not for this task, on lengths that do not agree, on NaN or infinite answers, on a
    /// truth that is no class, and where the measure is not defined on these rows (one class only, a truth without
    /// spread, a value outside the domain).
    pub fn score(
        self,
        task: Task,
        truth: &[f64],
        answers: &Matrix,
        weight: Option<&[f64]>,
        groups: Option<&[usize]>,
    ) -> Result<f64> {
        if !self.tasks().contains(&task) {
            let names: Vec<String> = Self::all_for(task).iter().map(Self::to_string).collect();
            return Err(Error::Invalid(format!(
                "{self} does not measure {task}; what does: {}",
                if names.is_empty() { "nothing here".into() } else { names.join(", ") }
            )));
        }
        check(self, truth, answers, weight)?;
        let value = match task {
            Task::Regression => self.of_numbers(truth, &one(self, answers)?, weight),
            Task::Binary | Task::Multiclass => self.of_classes(task, truth, answers, weight)?,
            Task::Anomaly => {
                let positive = labels(self, truth, 2)?.iter().map(|c| *c == 1).collect::<Vec<_>>();
                self.of_order(&positive, &one(self, answers)?, weight)
            }
            Task::Ranking => self.of_groups(truth, &one(self, answers)?, weight, groups)?,
            Task::Clustering => f64::NAN,
        };
        if value.is_finite() { Ok(value) } else { Err(self.undefined(truth)) }
    }

    fn undefined(self, truth: &[f64]) -> Error {
        let why = match self {
            _ if truth.is_empty() => "there are no rows",
            Self::R2 | Self::ExplainedVariance => "the truth is constant",
            Self::Mape | Self::Wape => "the truth is zero everywhere",
            Self::Rmsle => "truth and prediction must be above -1",
            Self::Poisson | Self::Tweedie(_) => "the truth must be 0 and more and the prediction above 0",
            Self::Gamma => "truth and prediction must be above 0",
            Self::RocAuc | Self::PrAuc | Self::Ks => "there are no two classes among these rows",
            Self::Kappa => "truth and answer are one constant class",
            _ if self.tasks() == RANKING => "no group has a relevant row",
            _ => "the weights are all zero or the numbers too large",
        };
        Error::Invalid(format!("{self} is not defined on these rows: {why}"))
    }

    fn of_numbers(self, y: &[f64], f: &[f64], w: Option<&[f64]>) -> f64 {
        match self {
            Self::Rmse => regression::rmse(y, f, w),
            Self::Mae => regression::mae(y, f, w),
            Self::MedianAe => regression::median_ae(y, f, w),
            Self::Rmsle => regression::rmsle(y, f, w),
            Self::Mape => regression::mape(y, f, w),
            Self::Wape => regression::wape(y, f, w),
            Self::Smape => regression::smape(y, f, w),
            Self::R2 => regression::r2(y, f, w),
            Self::ExplainedVariance => regression::explained_variance(y, f, w),
            Self::Pinball(level) => regression::pinball(y, f, level, w),
            Self::Poisson => regression::poisson_deviance(y, f, w),
            Self::Gamma => regression::gamma_deviance(y, f, w),
            Self::Tweedie(power) => regression::tweedie_deviance(y, f, power, w),
            _ => f64::NAN,
        }
    }

    fn of_order(self, positive: &[bool], score: &[f64], w: Option<&[f64]>) -> f64 {
        match self {
            Self::RocAuc => curve::roc_auc(positive, score, w),
            Self::PrAuc => curve::average_precision(positive, score, w),
            Self::Ks => curve::ks(positive, score, w),
            _ => f64::NAN,
        }
    }

    fn of_classes(self, task: Task, truth: &[f64], p: &Matrix, w: Option<&[f64]>) -> Result<f64> {
        let k = p.n_cols();
        if (task == Task::Binary && k != 2) || k < 2 {
            let (rows, wanted) = (p.n_rows(), if task == Task::Binary { "2" } else { "2 or more" });
            return Err(Error::Invalid(format!(
                "{self} of {task} needs {wanted} columns of probabilities, got a matrix of {rows} rows and {k} columns"
            )));
        }
        let label = labels(self, truth, k)?;
        let of_class = |c: usize| {
            let positive: Vec<bool> = label.iter().map(|l| *l == c).collect();
            self.of_order(&positive, &p.column(c), w)
        };
        Ok(match self {
            Self::RocAuc | Self::PrAuc | Self::Ks if task == Task::Binary => of_class(1),
            // The mean of every class against the rest, over the classes that stand on both sides.
            Self::RocAuc | Self::PrAuc => {
                let parts: Vec<f64> = (0..k).map(of_class).filter(|v| !v.is_nan()).collect();
                parts.iter().sum::<f64>() / parts.len() as f64
            }
            Self::LogLoss => cross_entropy(&label, p.values(), k, w),
            Self::Brier => class::brier_score(&label, p.values(), k, w),
            Self::CalibrationError => {
                let said = said(p);
                let (happened, p): (Vec<bool>, Vec<f64>) = match task {
                    Task::Binary => (label.iter().map(|c| *c == 1).collect(), p.column(1)),
                    _ => (
                        label.iter().zip(&said).map(|(l, s)| l == s).collect(),
                        p.rows().zip(&said).map(|(row, s)| row[*s]).collect(),
                    ),
                };
                calibration_error(&calibration(&happened, &p, BINS))
            }
            _ => self.of_confusion(&Confusion::weighted(&label, &said(p), k, w)),
        })
    }

    fn of_confusion(self, table: &Confusion) -> f64 {
        match self {
            Self::Accuracy => table.accuracy(),
            Self::BalancedAccuracy => table.balanced_accuracy(),
            Self::Precision(a) => table.precision_of(a.core()),
            Self::Recall(a) => table.recall_of(a.core()),
            Self::F1(a) => table.f1_of(a.core()),
            Self::Mcc => table.mcc(),
            Self::Kappa => table.kappa(),
            _ => f64::NAN,
        }
    }

    fn of_groups(
        self,
        grade: &[f64],
        score: &[f64],
        w: Option<&[f64]>,
        groups: Option<&[usize]>,
    ) -> Result<f64> {
        let whole = [grade.len()];
        let sizes = groups.unwrap_or(&whole);
        if sizes.iter().sum::<usize>() != grade.len() {
            return Err(Error::Invalid(format!(
                "{self}: the groups hold {} rows where there are {}",
                sizes.iter().sum::<usize>(),
                grade.len()
            )));
        }
        let mut at = 0;
        let of_group: Option<Vec<f64>> = w.map(|w| {
            sizes
                .iter()
                .map(|size| {
                    at += size;
                    w[at - size..at].iter().sum::<f64>() / (*size).max(1) as f64
                })
                .collect()
        });
        let w = of_group.as_deref();
        Ok(match self {
            Self::Ndcg(k) => rank::ndcg(grade, score, sizes, k, w),
            Self::Map(k) => rank::mean_average_precision(grade, score, sizes, k, w),
            Self::Mrr => rank::mrr(grade, score, sizes, w),
            Self::HitRate(k) => rank::hit_rate(grade, score, sizes, k, w),
            _ => f64::NAN,
        })
    }
}

/// The class of the highest probability in every row; the lower number where two are equal.
///
/// ```
/// use tradewind_learn::{Matrix, measure::said};
/// assert_eq!(said(&Matrix::from_rows(&[[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]).unwrap()), [1, 0]);
/// ```
pub fn said(proba: &Matrix) -> Vec<usize> {
    proba
        .rows()
        .map(|row| row.iter().enumerate().fold(0, |best, (c, p)| if *p > row[best] { c } else { best }))
        .collect()
}

fn check(measure: Measure, truth: &[f64], answers: &Matrix, weight: Option<&[f64]>) -> Result<()> {
    let n = answers.n_rows();
    if truth.len() != n || weight.is_some_and(|w| w.len() != n) {
        return Err(Error::Invalid(format!(
            "{measure} was given {n} rows of answers, {} truths and {} weights",
            truth.len(),
            weight.map_or(n, <[f64]>::len)
        )));
    }
    check_finite("the truth", truth)?;
    if let Some(at) = answers.values().iter().position(|v| !v.is_finite()) {
        let (row, j) = (at / answers.n_cols(), at % answers.n_cols());
        return Err(Error::Invalid(format!(
            "{measure}: the answer has {} in row {row}, column {j}; every row needs a finite answer",
            answers.values()[at]
        )));
    }
    if let Some(w) = weight {
        check_finite("the weight", w)?;
        if let Some(i) = w.iter().position(|w| *w < 0.0) {
            return Err(Error::Invalid(format!("the weight of row {i} is negative: {}", w[i])));
        }
    }
    Ok(())
}

fn one(measure: Measure, answers: &Matrix) -> Result<Vec<f64>> {
    match answers.n_cols() {
        1 => Ok(answers.values().to_vec()),
        n => Err(Error::Invalid(format!(
            "{measure} needs one column of answers, got {n}; choose the column (as the median of several quantiles)"
        ))),
    }
}

fn labels(measure: Measure, truth: &[f64], k: usize) -> Result<Vec<usize>> {
    truth
        .iter()
        .enumerate()
        .map(|(i, &y)| {
            if y >= 0.0 && y.fract() == 0.0 && y < k as f64 {
                return Ok(y as usize);
            }
            Err(Error::Invalid(format!(
                "{measure} needs classes numbered 0 to {}, as many as the answers have; row {i} has {y}",
                k - 1
            )))
        })
        .collect()
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Pinball(level) => write!(f, "@{level}"),
            Self::Tweedie(power) => write!(f, "@{power}"),
            Self::Ndcg(k) | Self::Map(k) | Self::HitRate(k) => write!(f, "@{k}"),
            Self::Precision(a) | Self::Recall(a) | Self::F1(a) => f.write_str(a.ending()),
            _ => Ok(()),
        }
    }
}

impl std::str::FromStr for Measure {
    type Err = Error;

    /// Reads a name; the number after `@` may be left out. `auc`, `logloss` and `average_precision` are understood too.
    fn from_str(text: &str) -> Result<Self> {
        let (word, number) = match text.split_once('@') {
            None => (text, None),
            Some((word, number)) => (word, Some(number)),
        };
        let word = match word {
            "auc" => "roc_auc",
            "logloss" => "log_loss",
            "average_precision" => "pr_auc",
            "poisson_deviance" => "poisson",
            "gamma_deviance" => "gamma",
            other => other,
        };
        let endings = [Averaging::Macro, Averaging::Micro, Averaging::Weighted];
        let averaged = |kind: fn(Averaging) -> Self, name: &str| {
            endings.into_iter().find(|a| word == format!("{name}{}", a.ending())).map(kind)
        };
        let found = Self::ALL
            .into_iter()
            .find(|m| m.to_string().split('@').next() == Some(word))
            .or_else(|| averaged(Self::Precision, "precision"))
            .or_else(|| averaged(Self::Recall, "recall"))
            .or_else(|| averaged(Self::F1, "f1"))
            .ok_or_else(|| Error::NotFound {
                what: "measure",
                name: text.to_owned(),
                known: Self::ALL.map(|m| m.to_string()).join(", "),
            })?;
        let Some(number) = number else { return Ok(found) };
        let wrong =
            |range: &str| Error::Invalid(format!("{word}@… needs {range} after the @, got `{number}`"));
        let count = || match number.parse::<usize>() {
            Ok(k) if k > 0 => Ok(k),
            _ => Err(wrong("a whole number from 1")),
        };
        match found {
            Self::Pinball(_) => match number.parse::<f64>() {
                Ok(level) if level > 0.0 && level < 1.0 => Ok(Self::Pinball(level)),
                _ => Err(wrong("a level above 0 and below 1")),
            },
            Self::Tweedie(_) => match number.parse::<f64>() {
                Ok(power) if (1.0..=3.0).contains(&power) => Ok(Self::Tweedie(power)),
                _ => Err(wrong("a power from 1 to 3")),
            },
            Self::Ndcg(_) => count().map(Self::Ndcg),
            Self::Map(_) => count().map(Self::Map),
            Self::HitRate(_) => count().map(Self::HitRate),
            _ => Err(Error::Invalid(format!("{word} takes no number, got `{text}`"))),
        }
    }
}

impl TryFrom<String> for Measure {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.to_string()
    }
}
