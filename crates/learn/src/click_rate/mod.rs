//! How likely a click is: networks over the fields of an impression (ad, page, visitor, hour), and what these have earned.
//!
//! ```text
//! words of fields ─→ vectors ──────────────────────────────────┐
//! words and pairs of words ─→ clicks and showings so far ──────┼─→ network of nn::click ─→ log odds, averaged over seeds
//! numbers (price, position) ───────────────────────────────────┘
//! ```
//!
//! What a pair of words has earned (this visitor, this ad) is what vectors learn slowly and by heart, so it is counted: the
//! log odds of its clicks, drawn to the whole's by four showings, and the logarithm of its showings. For the rows that are
//! learnt from they are counted on the other nine tenths of the rows, as a row must not be told its own answer
//! (Micci-Barreca, *A preprocessing scheme for high-cardinality categorical attributes*, SIGKDD Explorations 2001; out of fold
//! as of Wolpert's stacking, 1992). Pairs are taken by how much log loss they take off what their two fields say together.
//!
//! A column of categories is a field, a column of numbers stands beside the fields; what was never seen is one word of each
//! field, as is what is missing. The networks and their papers: [`tradewind_nn::click`]. Answers are taken row by row
//! ([`tradewind_nn::click::Frozen`]), so a row's does not depend on the rows beside it.

mod earned;
mod fit;

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, load, save};
use crate::matrix::{Dataset, Matrix};
use earned::Earned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run, TrainingCurve};
use tradewind_nn::Weights;
pub use tradewind_nn::click::Architecture;
use tradewind_nn::click::{ClickParams, Frozen};

/// Rows that are read at a time.
const ROWS_AT_A_TIME: usize = 8_192;
/// Numbers stay within this many deviations: what is far out does not drown the rest.
const FAR: f64 = 8.0;

/// Parameters.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{ColumnKind, Dataset, Matrix, click_rate::ClickRate};
/// // Visitors from the south (0) click on ice (0), those from the north (1) on tea (1).
/// let rows: Vec<[f64; 2]> = (0..400).map(|i| [f64::from(i % 2), f64::from(i / 2 % 2)]).collect();
/// let clicks = rows.iter().map(|r| f64::from(u8::from(r[0] == r[1]))).collect();
/// let shown = Dataset::new(Matrix::from_rows(&rows).unwrap(), clicks, vec!["from".into(), "ad".into()]).unwrap();
/// let shown = shown.with_kinds(vec![ColumnKind::Category; 2]).unwrap();
/// let fitted = ClickRate { networks: 1, ..ClickRate::default() }.fit(&Run::new(1), &shown).unwrap();
/// assert_eq!(fitted.pairs(), [["from", "ad"]]);
/// let told = fitted.predict(&Matrix::from_rows(&[[0.0, 0.0], [1.0, 0.0]]).unwrap()).unwrap();
/// assert!(told.get(0, 1) > 0.8 && told.get(1, 1) < 0.2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickRate {
    /// What is made of the vectors.
    pub architecture: Architecture,
    /// Numbers of a word's vector.
    pub width: usize,
    /// Widths of the dense layers.
    pub hidden: Vec<usize>,
    /// Share of the dense layers' numbers that is left out while training.
    pub dropout: f64,
    /// Share of the vectors' numbers that is left out while training.
    pub vector_dropout: f64,
    /// Pairs of fields that are counted, at most.
    pub pairs: usize,
    /// Networks from other seeds whose log odds are averaged.
    pub networks: usize,
    /// Rounds of training, at most.
    pub epochs: usize,
    /// Rounds without gain on the rows held back after which training ends; 0: never.
    pub patience: usize,
    /// Rows of a step; by the number of rows when not given.
    pub batch: Option<usize>,
    /// Length of the steps.
    pub learning_rate: f64,
    /// Share of rows held back to stop early where no validation part is given.
    pub validation_fraction: f64,
}

impl Default for ClickRate {
    fn default() -> Self {
        Self {
            architecture: Architecture::Dnn,
            width: 10,
            hidden: vec![200, 100],
            dropout: 0.3,
            vector_dropout: 0.5,
            pairs: 16,
            networks: 3,
            epochs: 30,
            patience: 3,
            batch: None,
            learning_rate: 1e-3,
            validation_fraction: 0.1,
        }
    }
}

/// How one column is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Field {
    /// The codes of its words, from word 1 on, ascending; word 0 is missing or was never seen.
    Words { codes: Vec<u32> },
    /// A number; a deviation of 0: it tells nothing.
    Number { mean: f64, deviation: f64 },
}

/// Rows as a network reads them.
struct Rows {
    n: usize,
    fields: usize,
    /// `fields` a row.
    codes: Vec<usize>,
    width: usize,
    /// `width` a row.
    numbers: Vec<f32>,
}

impl Rows {
    /// Words and numbers of some rows.
    fn of(&self, rows: &[usize]) -> (Vec<usize>, Vec<f32>) {
        let (f, w) = (self.fields, self.width);
        let codes = rows.iter().flat_map(|r| &self.codes[r * f..(r + 1) * f]).copied().collect();
        let numbers = rows.iter().flat_map(|r| &self.numbers[r * w..(r + 1) * w]).copied().collect();
        (codes, numbers)
    }
}

impl ClickRate {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for (name, v, min, max) in [
            ("width", self.width, 1, 1024),
            ("pairs", self.pairs, 0, 10_000),
            ("networks", self.networks, 1, 100),
            ("epochs", self.epochs, 1, 100_000),
            ("patience", self.patience, 0, 100_000),
            ("batch", self.batch.unwrap_or(1), 1, 100_000),
        ] {
            check.require((min..=max).contains(&v), name, v, &format!("{min} to {max}"));
        }
        let layers = self.hidden.iter().all(|n| (1..=8192).contains(n)) && self.hidden.len() <= 32;
        check.require(layers, "hidden", format!("{:?}", self.hidden), "up to 32 layers of 1 to 8192");
        for (name, v, min, max) in [
            ("dropout", self.dropout, 0.0, 0.9),
            ("vector_dropout", self.vector_dropout, 0.0, 0.9),
            ("learning_rate", self.learning_rate, 1e-6, 1.0),
            ("validation_fraction", self.validation_fraction, 0.0, 0.5),
        ] {
            check.require((min..=max).contains(&v), name, v, &format!("{min} to {max}"));
        }
        check.finish()
    }

    /// Learns from what was shown and whether it was clicked, 1 or 0. Fails on fewer than ten rows, on one class only, and
    /// where the loss is no longer a number.
    pub fn fit(&self, run: &Run, shown: &Dataset) -> Result<FittedClickRate> {
        self.fit_rows(run, shown, None)
    }

    /// Learns from all rows, and takes the round in which the loss on `validation` was least.
    pub fn fit_validated(&self, run: &Run, shown: &Dataset, validation: &Dataset) -> Result<FittedClickRate> {
        self.fit_rows(run, shown, Some(validation))
    }
}

/// One trained network.
#[derive(Clone, Debug, PartialEq)]
struct Network {
    weights: Weights,
    frozen: Frozen,
}

/// What [`ClickRate`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct FittedClickRate {
    params: ClickRate,
    names: Vec<String>,
    columns: Vec<Field>,
    earned: Vec<Earned>,
    /// Clicks of all showings.
    rate: f64,
    /// None where there was nothing to go by.
    networks: Vec<Network>,
    curves: Vec<TrainingCurve>,
}

impl FittedClickRate {
    /// The chances of no click and of a click for each row. Fails on another width and on infinite values.
    pub fn predict(&self, x: &Matrix) -> Result<Matrix> {
        x.check_width(self.names.len(), "a click rate")?;
        x.check_not_infinite(&self.names)?;
        let odds = (self.rate / (1.0 - self.rate)).ln();
        let mut scores = vec![if self.networks.is_empty() { odds } else { 0.0 }; x.n_rows()];
        let (share, n_cols) = (1.0 / self.networks.len().max(1) as f64, x.n_cols());
        let mut first = 0;
        while first < x.n_rows() && !self.networks.is_empty() {
            let last = (first + ROWS_AT_A_TIME).min(x.n_rows());
            let values = x.values()[first * n_cols..last * n_cols].to_vec();
            let rows = self.read(&Matrix::new(last - first, n_cols, values)?);
            for network in &self.networks {
                let told = network.frozen.scores(&rows.codes, &rows.numbers)?;
                scores[first..last].iter_mut().zip(told).for_each(|(s, told)| *s += share * f64::from(told));
            }
            first = last;
        }
        let chance = |s: f64| 1.0 / (1.0 + (-s).exp());
        Matrix::new(x.n_rows(), 2, scores.into_iter().flat_map(|s| [1.0 - chance(s), chance(s)]).collect())
    }

    /// The pairs of fields that are counted, those that say most first.
    pub fn pairs(&self) -> Vec<[&str; 2]> {
        let fields = self.columns.iter().zip(&self.names).filter(|(c, _)| matches!(c, Field::Words { .. }));
        let names: Vec<&str> = fields.map(|(_, name)| name.as_str()).collect();
        let pair = |e: &Earned| match e.fields[..] {
            [a, b] => Some([names[a], names[b]]),
            _ => None,
        };
        self.earned.iter().filter_map(pair).collect()
    }

    /// Words of each field, with the one that was never seen.
    fn words(&self) -> Vec<usize> {
        let words = self.columns.iter().filter_map(|c| match c {
            Field::Words { codes } => Some(codes.len() + 1),
            Field::Number { .. } => None,
        });
        words.collect()
    }

    /// Numbers of a row: those of columns, and two for each count.
    fn width(&self) -> usize {
        let of = |c: &&Field| matches!(c, Field::Number { deviation, .. } if *deviation > 0.0);
        self.columns.iter().filter(of).count() + 2 * self.earned.len()
    }

    /// The form of its networks.
    fn shape(&self) -> ClickParams {
        ClickParams {
            numbers: self.width(),
            width: self.params.width,
            hidden: self.params.hidden.clone(),
            dropout: self.params.dropout,
            vector_dropout: self.params.vector_dropout,
            ..ClickParams::new(self.params.architecture, self.words())
        }
    }

    /// Takes in a network with these weights.
    fn put(&mut self, weights: Weights) -> Result<()> {
        let frozen = self.shape().frozen(&weights)?;
        self.networks.push(Network { weights, frozen });
        Ok(())
    }

    /// The words of all rows by number, row by row.
    fn codes(&self, x: &Matrix) -> Vec<usize> {
        let fields: Vec<(usize, &Vec<u32>)> = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(j, c)| match c {
                Field::Words { codes } => Some((j, codes)),
                Field::Number { .. } => None,
            })
            .collect();
        let word = |v: f64, codes: &[u32]| {
            let code = (v >= 0.0 && v.fract() == 0.0 && v <= f64::from(u32::MAX)).then_some(v as u32);
            code.and_then(|c| codes.binary_search(&c).ok()).map_or(0, |at| at + 1)
        };
        x.rows().flat_map(|row| fields.iter().map(|(j, codes)| word(row[*j], codes))).collect()
    }

    /// Rows as the networks read them.
    fn read(&self, x: &Matrix) -> Rows {
        let (codes, words) = (self.codes(x), self.words());
        let told: Vec<Vec<[f64; 2]>> = self
            .earned
            .iter()
            .map(|e| {
                let rows = codes.chunks_exact(words.len().max(1));
                rows.map(|row| e.raw(e.key(row, &words), self.rate)).collect()
            })
            .collect();
        self.rows(x, codes, &told)
    }

    /// The same from `told`, what each of `earned` says of each row.
    fn rows(&self, x: &Matrix, codes: Vec<usize>, told: &[Vec<[f64; 2]>]) -> Rows {
        let mut numbers = Vec::with_capacity(x.n_rows() * self.width());
        for (i, row) in x.rows().enumerate() {
            for (v, column) in row.iter().zip(&self.columns) {
                let Field::Number { mean, deviation } = column else { continue };
                if *deviation > 0.0 {
                    // What is missing is at the mean.
                    let z = if v.is_nan() { 0.0 } else { (v - mean) / deviation };
                    numbers.push(z.clamp(-FAR, FAR) as f32);
                }
            }
            for (earned, told) in self.earned.iter().zip(told) {
                let scaled = |k: usize| {
                    let (mean, deviation) = earned.scale[k];
                    ((told[i][k] - mean) / deviation).clamp(-FAR, FAR) as f32
                };
                numbers.extend([scaled(0), scaled(1)]);
            }
        }
        Rows { n: x.n_rows(), fields: self.words().len(), codes, width: self.width(), numbers }
    }
}

/// The saved form, with its number.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    params: ClickRate,
    names: Vec<String>,
    columns: Vec<Field>,
    earned: Vec<Earned>,
    rate: f64,
    networks: Vec<Weights>,
    curves: Vec<TrainingCurve>,
}

/// The version written.
const FORMAT: u32 = 1;

impl From<FittedClickRate> for Saved {
    fn from(f: FittedClickRate) -> Self {
        Self {
            format: FORMAT,
            networks: f.networks.into_iter().map(|n| n.weights).collect(),
            params: f.params,
            names: f.names,
            columns: f.columns,
            earned: f.earned,
            rate: f.rate,
            curves: f.curves,
        }
    }
}

impl TryFrom<Saved> for FittedClickRate {
    type Error = Error;
    fn try_from(s: Saved) -> Result<Self> {
        if s.format != FORMAT {
            return Err(Error::Invalid(format!(
                "a click rate of format {} cannot be read; this version reads format {FORMAT}",
                s.format
            )));
        }
        s.params.check()?;
        let mut fitted = Self {
            params: s.params,
            names: s.names,
            columns: s.columns,
            earned: s.earned,
            rate: s.rate,
            networks: vec![],
            curves: s.curves,
        };
        let fields = fitted.words().len();
        let column = |c: &Field| match c {
            Field::Words { codes } => codes.windows(2).all(|w| w[0] < w[1]),
            Field::Number { mean, deviation } => {
                mean.is_finite() && *deviation >= 0.0 && deviation.is_finite()
            }
        };
        let whole = fitted.names.len() == fitted.columns.len()
            && fitted.columns.iter().all(column)
            && fitted.earned.iter().all(|e| e.is_sound(fields))
            && fitted.rate > 0.0
            && fitted.rate < 1.0;
        if !whole {
            return Err(Error::Invalid("the saved click rate has parts that do not fit together".into()));
        }
        for weights in s.networks {
            fitted.put(weights)?;
        }
        Ok(fitted)
    }
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
    name: "click_rate",
    summary: "How likely a click is: networks over fields of categories, with what words and pairs of them have earned.",
    summary_zh: "点击率预估：类别字段上的神经网络，并计入各取值及其两两组合的历史点击率。",
    source: "Rendle 2010; Covington et al. 2016; Guo et al. 2017; Wang et al. 2021; Liu et al. 2015",
    tasks: fit::TASKS,
    params: &[
        spec(
            "architecture",
            ParamKind::Choice(&["fm", "dnn", "deep_fm", "dcn_v2", "cnn"]),
            "dnn",
            "what is made of the vectors of words: pairs, dense layers, both, layers that cross, filters over fields",
        ),
        spec("width", ParamKind::Integer { min: 1, max: 1024 }, "10", "numbers of a word's vector"),
        spec(
            "hidden",
            ParamKind::Numbers { min: 1.0, max: 8192.0 },
            "[200, 100]",
            "widths of the dense layers, whole numbers",
        ),
        spec(
            "dropout",
            ParamKind::Number { min: 0.0, max: 0.9 },
            "0.3",
            "share of the dense layers' numbers that is left out while training",
        ),
        spec(
            "vector_dropout",
            ParamKind::Number { min: 0.0, max: 0.9 },
            "0.5",
            "share of the vectors' numbers that is left out while training",
        ),
        spec(
            "pairs",
            ParamKind::Integer { min: 0, max: 10_000 },
            "16",
            "pairs of fields whose clicks are counted, at most",
        ),
        spec(
            "networks",
            ParamKind::Integer { min: 1, max: 100 },
            "3",
            "networks from other seeds whose log odds are averaged",
        ),
        spec("epochs", ParamKind::Integer { min: 1, max: 100_000 }, "30", "rounds of training, at most"),
        spec(
            "patience",
            ParamKind::Integer { min: 0, max: 100_000 },
            "3",
            "rounds without gain on the rows held back after which training ends; 0: never",
        ),
        spec(
            "batch",
            ParamKind::Integer { min: 1, max: 100_000 },
            "",
            "rows of a step; a 64th of the rows, 16 to 512, when not given",
        ),
        spec("learning_rate", ParamKind::Number { min: 1e-6, max: 1.0 }, "0.001", "length of the steps"),
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
        many_categories: true,
    },
    build: |_, params| {
        let params: ClickRate = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(params))
    },
    load: |saved| load::<FittedClickRate>("click_rate", saved),
};

impl Learner for ClickRate {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit_rows(run, data, None)?))
    }

    fn fit_validated(
        &self,
        run: &Run,
        data: &Dataset,
        validation: &Dataset,
    ) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.fit_rows(run, data, Some(validation))?))
    }
}

impl FittedLearner for FittedClickRate {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        self.predict(x)
    }

    fn save(&self) -> Result<Value> {
        save("click_rate", self)
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.curves.clone()
    }
}
