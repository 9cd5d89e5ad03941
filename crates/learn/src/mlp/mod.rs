//! A multilayer perceptron for tables.
//!
//! ```text
//! numbers ─→ scaled, drawn in ────────────┐
//! categories ─→ 0 and 1, or vectors ──────┴─→ [ dense ─→ activation ─→ dropout ] × layers ─→ scores
//! ```
//!
//! Layers of sums and bends, `h ← max(W h + b, 0)`, learn by gradient what of the columns together tells the answer
//! (Rumelhart, Hinton and Williams 1986). The scores are the standardised number, the log odds of class 1, or the logarithms of
//! the classes' shares, each from that of a constant answer on. What columns become before they are read is told in a
//! table at the head of `columns.rs`: numbers are scaled by their quartiles (with [`Mlp::bins`] also cut into pieces at quantiles), missing
//! values get a mark, few categories numbers of their own, many ones vectors, those never seen a vector too.
//!
//! Squared error or log loss is made small by AdamW along half a cosine; a part of the rows is held back, and the round in
//! which its loss was least counts. Networks from several seeds, each with other rows held back, are averaged
//! ([`Mlp::networks`]), which is worth more on tables than most refinements of one (Lakshminarayanan et al. 2017; Gorishniy et
//! al. 2021). Their curves are kept: [`FittedLearner::training_curves`].
//!
//! Answers are taken row by row ([`tradewind_nn::mlp::Frozen`]), so a row's does not depend on the rows beside it.
//!
//! Trees are usually as good on tables and quicker; a perceptron is worth a look where the answer follows smoothly from
//! many numbers, where categories have many values, and as a member of a blend, as it errs otherwise than trees.

mod columns;
mod fit;

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, load, save};
use crate::matrix::{Dataset, Matrix};
use crate::tree::Link;
use columns::Column;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run, TrainingCurve};
use tradewind_nn::Weights;
use tradewind_nn::mlp::{Frozen, MlpParams};
pub use tradewind_nn::transformer::Activation;

/// Rows that are read at a time.
const ROWS_AT_A_TIME: usize = 8_192;

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `width` | 128 | 1 to 8192 | numbers of a hidden layer |
/// | `layers` | 2 | 1 to 32 | hidden layers |
/// | `activation` | relu | relu, gelu, silu | what a hidden layer does to each number |
/// | `norm` | false | true, false | whether the numbers of a row are normalised in each hidden layer |
/// | `dropout` | 0.1 | 0 to 0.9 | share of a hidden layer's numbers that is left out while training |
/// | `bins` | 0 | 0 to 256 | pieces into which a column of numbers is cut; 0: none |
/// | `networks` | 2 | 1 to 100 | networks from other seeds that are averaged |
/// | `epochs` | 30 | 1 to 100000 | rounds of training, at most |
/// | `patience` | 5 | 0 to 100000 | rounds without gain on the rows held back after which training ends; 0: never |
/// | `batch` | by the rows | 1 to 100000 | rows of a step; a 64th of the rows, 16 to 512 |
/// | `learning_rate` | 0.001 | 1e-06 to 1 | length of the steps at their longest |
/// | `decay` | 0.01 | 0 to 100 | by which weights are drawn to zero, as a share of the step |
/// | `validation_fraction` | 0.1 | 0 to 0.5 | share of rows held back to stop early where no validation part is given |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, Task, mlp::Mlp};
/// // One where the two differ: no line tells these classes apart.
/// let rows: Vec<[f64; 2]> = (0..200).map(|i| [f64::from(i % 2), f64::from(i / 2 % 2)]).collect();
/// let y = rows.iter().map(|r| f64::from(u8::from(r[0] != r[1]))).collect();
/// let data = Dataset::new(Matrix::from_rows(&rows).unwrap(), y, vec![]).unwrap();
/// let mlp = Mlp { width: 32, networks: 1, ..Mlp::default() };
/// let model = mlp.fit(&Run::new(1), Task::Binary, &data).unwrap();
/// let p = model.predict(&Matrix::from_rows(&[[1.0, 0.0], [1.0, 1.0]]).unwrap()).unwrap();
/// assert!(p.get(0, 1) > 0.8 && p.get(1, 1) < 0.2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mlp {
    /// Numbers of a hidden layer.
    pub width: usize,
    /// Hidden layers.
    pub layers: usize,
    /// What a hidden layer does to each number.
    pub activation: Activation,
    /// Whether the numbers of a row are normalised in each hidden layer.
    pub norm: bool,
    /// Share of a hidden layer's numbers that is left out while training.
    pub dropout: f64,
    /// Pieces into which a column of numbers is cut; 0: none.
    pub bins: usize,
    /// Networks from other seeds that are averaged.
    pub networks: usize,
    /// Rounds of training, at most.
    pub epochs: usize,
    /// Rounds without gain on the rows held back after which training ends; 0: never.
    pub patience: usize,
    /// Rows of a step; by the number of rows when not given.
    pub batch: Option<usize>,
    /// Length of the steps at their longest.
    pub learning_rate: f64,
    /// By which weights are drawn to zero, as a share of the step.
    pub decay: f64,
    /// Share of rows held back to stop early where no validation part is given.
    pub validation_fraction: f64,
}

impl Default for Mlp {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 2,
            activation: Activation::Relu,
            norm: false,
            dropout: 0.1,
            bins: 0,
            networks: 2,
            epochs: 30,
            patience: 5,
            batch: None,
            learning_rate: 1e-3,
            decay: 0.01,
            validation_fraction: 0.1,
        }
    }
}

impl Mlp {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for (name, v, min, max) in [
            ("width", self.width, 1, 8192),
            ("layers", self.layers, 1, 32),
            ("bins", self.bins, 0, 256),
            ("networks", self.networks, 1, 100),
            ("epochs", self.epochs, 1, 100_000),
            ("patience", self.patience, 0, 100_000),
            ("batch", self.batch.unwrap_or(1), 1, 100_000),
        ] {
            check.require((min..=max).contains(&v), name, v, &format!("{min} to {max}"));
        }
        for (name, v, min, max) in [
            ("dropout", self.dropout, 0.0, 0.9),
            ("learning_rate", self.learning_rate, 1e-6, 1.0),
            ("decay", self.decay, 0.0, 100.0),
            ("validation_fraction", self.validation_fraction, 0.0, 0.5),
        ] {
            check.require((min..=max).contains(&v), name, v, &format!("{min} to {max}"));
        }
        check.finish()
    }

    /// Fits for regression, two classes or several. Fails on fewer than ten rows, on one class only, and where the loss is
    /// no longer a number.
    pub fn fit(&self, run: &Run, task: Task, data: &Dataset) -> Result<FittedMlp> {
        self.fit_rows(run, task, data, None)
    }

    /// Fits on all rows, and takes the round in which the loss on `validation` was least.
    pub fn fit_validated(
        &self,
        run: &Run,
        task: Task,
        data: &Dataset,
        validation: &Dataset,
    ) -> Result<FittedMlp> {
        self.fit_rows(run, task, data, Some(validation))
    }
}

/// One trained network.
#[derive(Clone, Debug, PartialEq)]
struct Network {
    weights: Weights,
    frozen: Frozen,
}

impl Network {
    fn of(shape: &MlpParams, weights: Weights) -> Result<Self> {
        Ok(Self { frozen: Frozen::of(shape, &weights)?, weights })
    }
}

/// What [`Mlp`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct FittedMlp {
    params: Mlp,
    task: Task,
    names: Vec<String>,
    columns: Vec<Column>,
    /// Scores that networks add to.
    base: Vec<f64>,
    /// Of the target of a regression.
    centre: f64,
    scale: f64,
    /// None where there was nothing to learn.
    networks: Vec<Network>,
    curves: Vec<TrainingCurve>,
}

impl FittedMlp {
    /// Answers; see [`FittedLearner::predict`] for the columns. Fails on another width and on infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.names.len(), "a multilayer perceptron")?;
        x.check_not_infinite(&self.names)?;
        let k = self.base.len();
        let mut scores = self.base.repeat(x.n_rows());
        let share = 1.0 / self.networks.len().max(1) as f64;
        let (n_cols, mut first) = (x.n_cols(), 0);
        while first < x.n_rows() && !self.networks.is_empty() {
            let last = (first + ROWS_AT_A_TIME).min(x.n_rows());
            let values = x.values()[first * n_cols..last * n_cols].to_vec();
            let rows = Column::read_all(&self.columns, &Matrix::new(last - first, n_cols, values)?);
            for network in &self.networks {
                let told = network.frozen.scores(&rows.numbers, &rows.codes)?;
                scores[first * k..last * k]
                    .iter_mut()
                    .zip(told)
                    .for_each(|(s, told)| *s += share * f64::from(told));
            }
            first = last;
        }
        match self.task {
            Task::Binary => Ok(Link::Logistic.apply(Matrix::new(x.n_rows(), k, scores)?)),
            Task::Multiclass => Ok(Link::Softmax.apply(Matrix::new(x.n_rows(), k, scores)?)),
            _ => {
                let number = |s: f64| (self.centre + self.scale * s).clamp(f64::MIN, f64::MAX);
                Matrix::new(x.n_rows(), k, scores.into_iter().map(number).collect())
            }
        }
    }

    fn n_classes(&self) -> usize {
        if self.task == Task::Binary { 2 } else { self.base.len() }
    }

    /// The form of its networks.
    fn shape(&self) -> MlpParams {
        MlpParams {
            words: self.columns.iter().filter_map(Column::words).collect(),
            hidden: vec![self.params.width; self.params.layers],
            activation: self.params.activation,
            norm: self.params.norm,
            dropout: self.params.dropout,
            ..MlpParams::new(self.columns.iter().map(Column::width).sum(), self.base.len())
        }
    }
}

/// The saved form, with its number.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    params: Mlp,
    task: Task,
    names: Vec<String>,
    columns: Vec<Column>,
    base: Vec<f64>,
    centre: f64,
    scale: f64,
    networks: Vec<Weights>,
    curves: Vec<TrainingCurve>,
}

/// The version written.
const FORMAT: u32 = 1;

impl From<FittedMlp> for Saved {
    fn from(f: FittedMlp) -> Self {
        Self {
            format: FORMAT,
            networks: f.networks.into_iter().map(|n| n.weights).collect(),
            params: f.params,
            task: f.task,
            names: f.names,
            columns: f.columns,
            base: f.base,
            centre: f.centre,
            scale: f.scale,
            curves: f.curves,
        }
    }
}

impl TryFrom<Saved> for FittedMlp {
    type Error = Error;
    fn try_from(s: Saved) -> Result<Self> {
        if s.format != FORMAT {
            return Err(Error::Invalid(format!(
                "a multilayer perceptron of format {} cannot be read; this version reads format {FORMAT}",
                s.format
            )));
        }
        let outputs = match s.task {
            Task::Multiclass => s.base.len() > 1,
            Task::Regression | Task::Binary => s.base.len() == 1,
            _ => false,
        };
        let finite = s.base.iter().chain([&s.centre, &s.scale]).all(|v| v.is_finite());
        let whole = s.names.len() == s.columns.len() && s.columns.iter().all(Column::is_sound);
        if !(outputs && finite && whole) {
            return Err(Error::Invalid(
                "the saved multilayer perceptron has parts that do not fit together".into(),
            ));
        }
        s.params.check()?;
        let mut fitted = Self {
            params: s.params,
            task: s.task,
            names: s.names,
            columns: s.columns,
            base: s.base,
            centre: s.centre,
            scale: s.scale,
            networks: vec![],
            curves: s.curves,
        };
        for weights in s.networks {
            fitted.networks.push(Network::of(&fitted.shape(), weights)?);
        }
        Ok(fitted)
    }
}

/// [`Mlp`] with the task it is for.
struct ForTask {
    task: Task,
    params: Mlp,
}

const fn spec(
    name: &'static str,
    kind: ParamKind,
    default: &'static str,
    summary: &'static str,
) -> ParamSpec {
    ParamSpec { name, kind, default, summary }
}

/// The catalogue entry.
pub const ENTRY: LearnerEntry = LearnerEntry {
    name: "mlp",
    summary: "A multilayer perceptron: dense layers over scaled numbers and vectors of categories.",
    summary_zh: "多层感知机：全连接层，输入为标准化数值与类别向量。",
    source: "Rumelhart, Hinton and Williams 1986; Gorishniy et al. 2021 and 2022",
    tasks: &[Task::Regression, Task::Binary, Task::Multiclass],
    params: &[
        spec("width", ParamKind::Integer { min: 1, max: 8192 }, "128", "numbers of a hidden layer"),
        spec("layers", ParamKind::Integer { min: 1, max: 32 }, "2", "hidden layers"),
        spec(
            "activation",
            ParamKind::Choice(&["relu", "gelu", "silu"]),
            "relu",
            "what a hidden layer does to each number",
        ),
        spec(
            "norm",
            ParamKind::Flag,
            "false",
            "whether the numbers of a row are normalised in each hidden layer",
        ),
        spec(
            "dropout",
            ParamKind::Number { min: 0.0, max: 0.9 },
            "0.1",
            "share of a hidden layer's numbers that is left out while training",
        ),
        spec(
            "bins",
            ParamKind::Integer { min: 0, max: 256 },
            "0",
            "pieces into which a column of numbers is cut; 0: none",
        ),
        spec(
            "networks",
            ParamKind::Integer { min: 1, max: 100 },
            "2",
            "networks from other seeds that are averaged",
        ),
        spec("epochs", ParamKind::Integer { min: 1, max: 100_000 }, "30", "rounds of training, at most"),
        spec(
            "patience",
            ParamKind::Integer { min: 0, max: 100_000 },
            "5",
            "rounds without gain on the rows held back after which training ends; 0: never",
        ),
        spec(
            "batch",
            ParamKind::Integer { min: 1, max: 100_000 },
            "",
            "rows of a step; a 64th of the rows, 16 to 512, when not given",
        ),
        spec(
            "learning_rate",
            ParamKind::Number { min: 1e-6, max: 1.0 },
            "0.001",
            "length of the steps at their longest",
        ),
        spec(
            "decay",
            ParamKind::Number { min: 0.0, max: 100.0 },
            "0.01",
            "by which weights are drawn to zero, as a share of the step",
        ),
        spec(
            "validation_fraction",
            ParamKind::Number { min: 0.0, max: 0.5 },
            "0.1",
            "share of rows held back to stop early where no validation part is given",
        ),
    ],
    bears: Bears {
        missing: true,
        categories: true,
        any_scale: true,
        weights: true,
        negative: true,
        many_categories: false,
    },
    build: |task, params| {
        let params: Mlp = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(ForTask { task, params }))
    },
    load: |saved| load::<FittedMlp>("mlp", saved),
};

impl Learner for ForTask {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.params.fit(run, self.task, data)?))
    }

    fn fit_validated(
        &self,
        run: &Run,
        data: &Dataset,
        validation: &Dataset,
    ) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.params.fit_validated(run, self.task, data, validation)?))
    }
}

impl FittedLearner for FittedMlp {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict(x)
    }

    fn save(&self) -> Result<Value> {
        save("mlp", self)
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.curves.clone()
    }
}
