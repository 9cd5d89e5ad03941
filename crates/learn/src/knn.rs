//! k nearest neighbours: a row is answered by the rows most like it (Cover and Hart 1967).
//!
//! For numbers the answer is the mean of the neighbours' targets, for classes the shares of the classes among them,
//! each neighbour with its row's weight and, if wished, with one over its distance. A row that lies exactly on known
//! rows is then answered by those alone. The search is exact ([`crate::neighbours`]); of rows equally far those with
//! the lower number are taken.

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use crate::neighbours::{Metric, Neighbour, Neighbours};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// How much each neighbour counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// All alike.
    #[default]
    Uniform,
    /// One over the distance.
    Distance,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `k` | 5 | 1 to 100,000 | neighbours asked; all rows where there are fewer |
/// | `voice` | uniform | uniform, distance | how much each neighbour counts |
/// | `metric` | euclidean | euclidean, manhattan, cosine | the distance |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, knn::Knn};
/// let x = Matrix::from_columns(&[[0.0, 1.0, 2.0, 3.0]]).unwrap();
/// let data = Dataset::new(x, vec![0.0, 0.0, 1.0, 1.0], vec![]).unwrap();
/// let model = Knn { k: 3, ..Knn::default() }.fit_numbers(&Run::new(0), &data).unwrap();
/// assert_eq!(model.predict_number(&Matrix::from_rows(&[[3.5]]).unwrap()).unwrap(), [2.0 / 3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knn {
    /// Neighbours asked.
    pub k: usize,
    /// How much each neighbour counts.
    pub voice: Voice,
    /// The distance.
    pub metric: Metric,
}

impl Default for Knn {
    fn default() -> Self {
        Self { k: 5, voice: Voice::Uniform, metric: Metric::Euclidean }
    }
}

/// What [`Knn`] learnt: the rows themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FittedKnn {
    params: Knn,
    index: Neighbours,
    y: Vec<f64>,
    weight: Vec<f64>,
    names: Vec<String>,
    /// 0 for numbers.
    n_classes: usize,
}

impl Knn {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        ParamCheck::new().require((1..=100_000).contains(&self.k), "k", self.k, "1 to 100000").finish()
    }

    /// Learns classes, numbered 0, 1, 2, … Fails on fewer than two classes and on a class without rows.
    pub fn fit_classes(&self, run: &Run, data: &Dataset) -> Result<FittedKnn> {
        self.check()?;
        data.need_numbers("nearest neighbours")?;
        let (_, k) = data.classes("nearest neighbours")?;
        self.index(run, data, k)
    }

    /// Learns numbers. Fails on no rows.
    pub fn fit_numbers(&self, run: &Run, data: &Dataset) -> Result<FittedKnn> {
        self.check()?;
        data.need_numbers("nearest neighbours")?;
        data.need_rows("nearest neighbours", 1)?;
        self.index(run, data, 0)
    }

    fn index(&self, run: &Run, data: &Dataset, n_classes: usize) -> Result<FittedKnn> {
        run.check()?;
        // Rows of no weight are no rows.
        let weight = data.weights();
        let rows: Vec<usize> = (0..data.n_rows()).filter(|&i| weight[i] > 0.0).collect();
        Ok(FittedKnn {
            params: *self,
            index: Neighbours::new(&data.x().select_rows(&rows), self.metric)?,
            y: rows.iter().map(|&i| data.y()[i]).collect(),
            weight: rows.iter().map(|&i| weight[i]).collect(),
            names: data.names().to_vec(),
            n_classes,
        })
    }
}

impl FittedKnn {
    /// The neighbours of every row of `x`, nearest first; rows are counted without those of weight 0. Fails on another
    /// width and on NaN or infinite values.
    pub fn neighbours(&self, x: &Matrix) -> Result<Vec<Vec<Neighbour>>> {
        x.check_width(self.names.len(), "nearest neighbours")?;
        x.check_finite(&self.names)?;
        self.index.nearest(&Run::default(), x, self.params.k)
    }

    /// How much each of the neighbours counts, to a sum of one.
    fn voices(&self, found: &[Neighbour]) -> Vec<f64> {
        let mut voice: Vec<f64> = found.iter().map(|n| self.weight[n.row]).collect();
        if self.params.voice == Voice::Distance {
            // Found in order: the first is the nearest. Divided by it, one over a tiny distance stays finite.
            let nearest = found.first().map_or(0.0, |n| n.distance);
            for (v, n) in voice.iter_mut().zip(found) {
                if n.distance > nearest {
                    *v *= nearest / n.distance;
                }
            }
        }
        let top = voice.iter().fold(0.0f64, |m, v| m.max(*v));
        voice.iter_mut().for_each(|v| *v /= top);
        let sum: f64 = voice.iter().sum();
        voice.iter_mut().for_each(|v| *v /= sum);
        voice
    }

    /// One prediction per row, for numbers. Fails as [`FittedKnn::neighbours`] does, and for classes.
    pub fn predict_number(&self, x: &Matrix) -> Result<Vec<f64>> {
        if self.n_classes > 0 {
            return Err(Error::Invalid("these neighbours have learnt classes, not numbers".into()));
        }
        let mean = |found: &Vec<Neighbour>| {
            found.iter().zip(self.voices(found)).map(|(n, v)| v * self.y[n.row]).sum::<f64>()
        };
        Ok(self.neighbours(x)?.iter().map(mean).collect())
    }

    /// The share of every class among the neighbours. Fails as [`FittedKnn::neighbours`] does, and for numbers.
    pub fn predict_proba(&self, x: &Matrix) -> Result<Matrix> {
        if self.n_classes == 0 {
            return Err(Error::Invalid("these neighbours have learnt numbers, not classes".into()));
        }
        let mut out = Matrix::zeros(x.n_rows(), self.n_classes);
        for (i, found) in self.neighbours(x)?.iter().enumerate() {
            let row = out.row_mut(i);
            for (n, v) in found.iter().zip(self.voices(found)) {
                row[self.y[n.row] as usize] += v;
            }
        }
        Ok(out)
    }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "knn",
    summary: "The answer of the most similar rows.",
    summary_zh: "k 近邻：由最相似的行给出答案。",
    source: "Cover and Hart 1967; Friedman, Bentley and Finkel 1977 (tree)",
    tasks: &[Task::Regression, Task::Binary, Task::Multiclass],
    params: &[
        ParamSpec {
            name: "k",
            kind: ParamKind::Integer { min: 1, max: 100_000 },
            default: "5",
            summary: "neighbours asked",
        },
        ParamSpec {
            name: "voice",
            kind: ParamKind::Choice(&["uniform", "distance"]),
            default: "uniform",
            summary: "how much each neighbour counts",
        },
        ParamSpec {
            name: "metric",
            kind: ParamKind::Choice(Metric::WORDS),
            default: "euclidean",
            summary: "the distance",
        },
    ],
    bears: Bears {
        missing: false,
        categories: false,
        any_scale: false,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |task, params| {
        let params: Knn = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: |saved| load::<FittedKnn>("knn", saved),
};

struct ForTask {
    task: Task,
    params: Knn,
}

impl Learner for ForTask {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(match self.task.is_classes() {
            true => self.params.fit_classes(run, data)?,
            false => self.params.fit_numbers(run, data)?,
        }))
    }
}

impl FittedLearner for FittedKnn {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        match self.n_classes {
            0 => crate::learner::one_column(self.predict_number(x)?),
            _ => self.predict_proba(x),
        }
    }

    fn save(&self) -> Result<Value> {
        save("knn", self)
    }
}
