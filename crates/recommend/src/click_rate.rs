//! How likely a click is: networks over the fields of an impression (ad, page, visitor, hour), and what these have earned.
//!
//! ```text
//! words of fields ─→ vectors ──────────────────────────────────┐
//! words and pairs of words ─→ clicks and showings so far ──────┼─→ network of nn::click ─→ log-odds, averaged over seeds
//! numbers (price, position) ───────────────────────────────────┘
//! ```
//!
//! What a pair of words has earned (this visitor, this ad) is what vectors learn slowly and by heart, so it is counted: the
//! log-odds of its clicks, drawn to the whole's by four showings, and the logarithm of its showings. For the rows that are
//! learnt from they are counted on the other nine tenths of the rows, as a row must not be told its own answer
//! (Micci-Barreca, *A preprocessing scheme for high-cardinality categorical attributes*, SIGKDD Explorations 2001; out of fold
//! as of Wolpert's stacking, 1992). Pairs are taken by how much log loss they
//! take off what their two fields say together.
//!
//! The networks and their papers: [`tradewind_nn::click`].

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{Error, ParamCheck, Result, Run, TrainingCurve};
use tradewind_learn::Frame;
use tradewind_learn::frame::Column;
use tradewind_nn::burn::tensor::{Device, Tensor, TensorData};
use tradewind_nn::click::{Architecture, Click, ClickParams};
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::schedule::Schedule;
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Noise, Weights, losses};

/// Parts of the rows, each counted on the others.
const FOLDS: usize = 10;
/// Showings at the rate of the whole that every count begins with.
const PRIOR: f64 = 4.0;
/// Rows that are asked about at a time.
const ROWS_AT_A_TIME: usize = 4_096;
/// Fewer rows teach no network.
const ROWS_MIN: usize = 50;

/// Parameters; a column of words or flags is a field, a column of numbers is a number beside the fields.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Frame, frame::Column};
/// use tradewind_recommend::click_rate::ClickRate;
/// // Visitors from the south click on ice, those from the north on tea.
/// let (from, ad): (Vec<_>, Vec<_>) = (0..400)
///     .map(|i| (Some(["south", "north"][i % 2]), Some(["ice", "tea"][i / 2 % 2])))
///     .unzip();
/// let clicks: Vec<f32> = (0..400).map(|i| if i % 2 == i / 2 % 2 { 1.0 } else { 0.0 }).collect();
/// let shown = Frame::new(vec![("from".into(), Column::text(from)), ("ad".into(), Column::text(ad))]).unwrap();
/// let run = Run::new(1);
/// let fitted = ClickRate { networks: 1, ..ClickRate::default() }.fit(&run, &shown, &clicks).unwrap();
/// let told = fitted.predict(&run, &shown.select_rows(&[0, 1]).unwrap()).unwrap();
/// assert!(told[0] > 0.8 && told[1] < 0.2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickRate {
    /// What is made of the vectors, `dnn`.
    pub architecture: Architecture,
    /// Numbers of a word's vector, 10.
    pub width: usize,
    /// Widths of the dense layers, 200 and 100.
    pub hidden: Vec<usize>,
    /// The share of the dense layers' numbers that is left out while training, 0.3.
    pub dropout: f64,
    /// The share of the vectors' numbers that is left out while training, 0.5.
    pub vector_dropout: f64,
    /// Pairs of fields that are counted, at most, 16.
    pub pairs: usize,
    /// Networks from other seeds whose log-odds are averaged, 3.
    pub networks: usize,
    /// Times that all rows are gone over, at most, 30.
    pub epochs: usize,
    /// Rounds without gain on a tenth held out after which training ends, 3.
    pub patience: usize,
    /// Rows of a step, 512.
    pub batch: usize,
    /// Length of the steps, 0.001.
    pub learning_rate: f64,
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
            batch: 512,
            learning_rate: 1e-3,
        }
    }
}

/// A column and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Field {
    /// Words by number, from 1; 0 is missing or never seen.
    Words { name: String, words: Vec<String> },
    /// A number, with mean and deviation.
    Number { name: String, mean: f64, deviation: f64 },
}

/// What the words of one field, or the pairs of two, have earned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Earned {
    fields: Vec<usize>,
    /// Sorted.
    keys: Vec<u64>,
    clicks: Vec<u32>,
    showings: Vec<u32>,
    /// Mean and deviation of the log-odds and of the logarithm of showings, over the rows learnt from.
    scale: [(f64, f64); 2],
}

/// What [`ClickRate`] has learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedClickRate {
    params: ClickRate,
    columns: Vec<Field>,
    earned: Vec<Earned>,
    /// Clicks of all showings.
    rate: f64,
    /// As safetensors.
    #[serde(with = "networks")]
    networks: Vec<Vec<u8>>,
    /// How each of them was trained; models of earlier versions have none.
    #[serde(default)]
    curves: Vec<TrainingCurve>,
}

/// Weights of networks as text.
mod networks {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Packed(#[serde(with = "tradewind_core::packed")] Vec<u8>);

    pub(super) fn serialize<S: Serializer>(of: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(of.iter().map(|bytes| Packed(bytes.clone())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        Ok(Vec::<Packed>::deserialize(from)?.into_iter().map(|packed| packed.0).collect())
    }
}

/// Rows as the network reads them.
struct Rows {
    fields: usize,
    /// `fields` a row.
    codes: Vec<usize>,
    width: usize,
    /// `width` a row.
    numbers: Vec<f32>,
}

impl ClickRate {
    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.networks > 0, "networks", self.networks, "at least 1");
        check.require(self.epochs > 0, "epochs", self.epochs, "at least 1");
        check.require(self.batch > 0, "batch", self.batch, "at least 1");
        let rate = self.learning_rate;
        check.require(rate > 0.0 && rate.is_finite(), "learning_rate", rate, "above 0");
        check.finish()?;
        self.network(vec![1], 0).check()
    }

    fn network(&self, words: Vec<usize>, numbers: usize) -> ClickParams {
        ClickParams {
            numbers,
            width: self.width,
            hidden: self.hidden.clone(),
            dropout: self.dropout,
            vector_dropout: self.vector_dropout,
            ..ClickParams::new(self.architecture, words)
        }
    }

    /// Learns from what was shown and whether it was clicked, 1 or 0.
    ///
    /// # Errors
    /// Parameters out of range; fewer than 50 rows; answers that are neither 0 nor 1, or all alike; columns of dates;
    /// cancellation.
    pub fn fit(&self, run: &Run, shown: &Frame, clicks: &[f32]) -> Result<FittedClickRate> {
        self.check()?;
        run.check()?;
        let n = shown.n_rows();
        if clicks.len() != n {
            return Err(Error::Invalid(format!("{} answers for {n} rows", clicks.len())));
        }
        if let Some(row) = clicks.iter().position(|c| *c != 0.0 && *c != 1.0) {
            return Err(Error::Invalid(format!(
                "row {row} has the answer {}; give 1 for a click and 0 for none",
                clicks[row]
            )));
        }
        if n < ROWS_MIN {
            return Err(Error::NotEnoughData { what: "click rates".into(), needed: ROWS_MIN, got: n });
        }
        let rate = clicks.iter().map(|c| f64::from(*c)).sum::<f64>() / n as f64;
        if rate == 0.0 || rate == 1.0 {
            return Err(Error::Invalid(format!(
                "all {n} answers are {}; rows with and without a click are needed",
                clicks[0]
            )));
        }
        let columns = shown.columns().iter().map(|(name, c)| field(name, c)).collect::<Result<Vec<_>>>()?;
        let mut fitted = FittedClickRate {
            params: self.clone(),
            columns,
            earned: vec![],
            rate,
            networks: vec![],
            curves: vec![],
        };
        let codes = fitted.codes(shown)?;
        let mut rng = run.rng(41);
        let fold: Vec<u8> = (0..n).map(|_| rng.random_range(0..FOLDS as u8)).collect();
        let (earned, told) = run.install(|| fitted.count(&codes, clicks, &fold, self.pairs));
        run.check()?;
        fitted.earned = earned;
        let rows = fitted.rows(shown, codes, &told)?;
        let device = tradewind_nn::device::of(run)?;
        for seed in 0..self.networks as u64 {
            let mut rng = run.rng(42 + 3 * seed);
            let (held, seen) = (0..n).partition(|_| rng.random_bool(0.1));
            let task = Training { rows: &rows, clicks, seen, held, device: device.clone() };
            let params = self.network(fitted.words(), rows.width);
            let network = params.init(&device.clone().autodiff(), &mut run.rng(43 + 3 * seed))?;
            let training = TrainParams {
                epochs: self.epochs,
                batch: self.batch,
                patience: self.patience,
                schedule: Schedule::Constant { warm_up: 0.0 },
                optimiser: OptimiserParams { rate: self.learning_rate, ..OptimiserParams::default() },
                ..TrainParams::default()
            };
            let mut own = run.clone();
            own.seed = run.seed.wrapping_add(seed);
            let trained = run.install(|| train(&own, &task, network, &training, None, &mut |_| Ok(true)))?;
            fitted.curves.push(trained.told(&(seed + 1).to_string(), "log loss", None));
            fitted.networks.push(Weights::of(&trained.network).to_safetensors(&HashMap::new())?);
        }
        Ok(fitted)
    }
}

fn field(name: &str, column: &Column) -> Result<Field> {
    let name = name.to_owned();
    match column {
        Column::Number(values) => {
            let known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            let n = known.len().max(1) as f64;
            let mean = known.iter().sum::<f64>() / n;
            let deviation = (known.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let usable = deviation > 1e-12 * mean.abs() && deviation.is_finite();
            Ok(Field::Number { name, mean, deviation: if usable { deviation } else { 0.0 } })
        }
        Column::Date(_) => Err(Error::Invalid(format!(
            "column `{name}` holds dates; give the hour, the weekday or the age in days instead"
        ))),
        Column::Text(_) | Column::Flag(_) => {
            let mut words: Vec<String> = (0..column.len()).filter_map(|i| column.show(i)).collect();
            words.sort_unstable();
            words.dedup();
            Ok(Field::Words { name, words })
        }
    }
}

impl FittedClickRate {
    /// The chance of a click for each row.
    ///
    /// # Errors
    /// Columns that are missing or hold something else than those learnt from; saved parts that do not fit; cancellation.
    pub fn predict(&self, run: &Run, shown: &Frame) -> Result<Vec<f64>> {
        let (codes, words) = (self.codes(shown)?, self.words());
        let whole = |e: &Earned| {
            let n = e.keys.len();
            e.clicks.len() == n && e.showings.len() == n && e.fields.iter().all(|f| *f < words.len())
        };
        if !self.earned.iter().all(whole) || self.networks.is_empty() {
            return Err(Error::Invalid("the saved click rates have parts that do not fit together".into()));
        }
        let told: Vec<Vec<[f64; 2]>> = self
            .earned
            .iter()
            .map(|e| {
                let of = |row: &[usize]| e.raw(e.key(row, &words), self.rate);
                self.by_row(&codes).map(of).collect()
            })
            .collect();
        let rows = self.rows(shown, codes, &told)?;
        let mut scores = vec![0.0; shown.n_rows()];
        for bytes in &self.networks {
            let network = self.params.network(self.words(), rows.width);
            let network = network.init(&Device::flex(), &mut run.rng(0))?;
            let network = Weights::from_safetensors(bytes)?.0.put_into(network)?;
            for start in (0..scores.len()).step_by(ROWS_AT_A_TIME) {
                run.check()?;
                let part: Vec<usize> = (start..(start + ROWS_AT_A_TIME).min(scores.len())).collect();
                let (codes, numbers) = rows.of(&part, &Device::flex());
                let told = run.install(|| network.forward(&codes, numbers, &mut Noise::none()))?;
                for (row, score) in part.iter().zip(tradewind_nn::values(told)) {
                    scores[*row] += f64::from(score) / self.networks.len() as f64;
                }
            }
        }
        Ok(scores.into_iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect())
    }

    /// How each network was trained.
    pub fn training_curves(&self) -> &[TrainingCurve] {
        &self.curves
    }

    /// The pairs of fields that are counted, those that say most first.
    pub fn pairs(&self) -> Vec<[&str; 2]> {
        let names = self.field_names();
        self.earned
            .iter()
            .filter(|e| e.fields.len() == 2)
            .map(|e| [names[e.fields[0]], names[e.fields[1]]])
            .collect()
    }

    fn field_names(&self) -> Vec<&str> {
        let names = self.columns.iter().filter_map(|c| match c {
            Field::Words { name, .. } => Some(name.as_str()),
            Field::Number { .. } => None,
        });
        names.collect()
    }

    /// Words of each field, with the one that was never seen.
    fn words(&self) -> Vec<usize> {
        let words = self.columns.iter().filter_map(|c| match c {
            Field::Words { words, .. } => Some(words.len() + 1),
            Field::Number { .. } => None,
        });
        words.collect()
    }

    fn by_row<'a>(&self, codes: &'a [usize]) -> std::slice::ChunksExact<'a, usize> {
        codes.chunks_exact(self.words().len().max(1))
    }

    /// The words of all rows by number, row by row.
    fn codes(&self, shown: &Frame) -> Result<Vec<usize>> {
        let (fields, n) = (self.words().len(), shown.n_rows());
        let mut codes = vec![0; fields * n];
        let known = self.columns.iter().filter_map(|c| match c {
            Field::Words { name, words } => Some((name, words)),
            Field::Number { .. } => None,
        });
        for (k, (name, words)) in known.enumerate() {
            let column = shown.column(name)?;
            if matches!(column, Column::Number(_) | Column::Date(_)) {
                return Err(other(name, column, "words"));
            }
            let places: HashMap<&str, usize> =
                words.iter().enumerate().map(|(at, word)| (word.as_str(), at + 1)).collect();
            for i in 0..n {
                let word = column.show(i);
                codes[i * fields + k] = word.and_then(|w| places.get(w.as_str()).copied()).unwrap_or(0);
            }
        }
        Ok(codes)
    }

    /// Rows for the network from `told`, what each of `earned` says of each row.
    fn rows(&self, shown: &Frame, codes: Vec<usize>, told: &[Vec<[f64; 2]>]) -> Result<Rows> {
        let numbers = self.columns.iter().filter(|c| matches!(c, Field::Number { .. })).count();
        let (n, width) = (shown.n_rows(), numbers + 2 * told.len());
        let mut out = vec![0.0_f32; n * width];
        let mut at = 0;
        for column in &self.columns {
            let Field::Number { name, mean, deviation } = column else { continue };
            let Column::Number(values) = shown.column(name)? else {
                return Err(other(name, shown.column(name)?, "numbers"));
            };
            for (i, v) in values.iter().enumerate() {
                // What is missing is at the mean; what is far out does not drown the rest.
                let z = if v.is_nan() || *deviation == 0.0 { 0.0 } else { (v - mean) / deviation };
                out[i * width + at] = z.clamp(-8.0, 8.0) as f32;
            }
            at += 1;
        }
        for (earned, told) in self.earned.iter().zip(told) {
            for (i, raw) in told.iter().enumerate() {
                for k in 0..2 {
                    let (mean, deviation) = earned.scale[k];
                    out[i * width + at + k] = ((raw[k] - mean) / deviation) as f32;
                }
            }
            at += 2;
        }
        Ok(Rows { fields: self.words().len(), codes, width, numbers: out })
    }

    /// Counts each field and the pairs that say most; with what the rows learnt from may know of it.
    fn count(
        &self,
        codes: &[usize],
        clicks: &[f32],
        fold: &[u8],
        pairs: usize,
    ) -> (Vec<Earned>, Vec<Vec<[f64; 2]>>) {
        let words = self.words();
        let fields = words.len();
        let count = |of: Vec<usize>| {
            let mut earned = Earned { fields: of, ..Earned::default() };
            let keys: Vec<u64> = self.by_row(codes).map(|row| earned.key(row, &words)).collect();
            let told = earned.fit(&keys, clicks, fold, self.rate);
            (earned, told)
        };
        let mut all: Vec<(Earned, Counts)> = (0..fields).into_par_iter().map(|k| count(vec![k])).collect();
        let pair = |a: usize, b: usize| {
            let gain = gain([&all[a].1, &all[b].1], &count(vec![a, b]).1, clicks, self.rate);
            (gain, [a, b])
        };
        let candidates: Vec<[usize; 2]> =
            (0..fields).flat_map(|a| (a + 1..fields).map(move |b| [a, b])).collect();
        let mut gains: Vec<(f64, [usize; 2])> =
            candidates.into_par_iter().map(|[a, b]| pair(a, b)).filter(|(gain, _)| *gain > 0.0).collect();
        gains.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        gains.truncate(pairs);
        let chosen: Vec<_> = gains.into_par_iter().map(|(_, pair)| count(pair.to_vec())).collect();
        all.extend(chosen);
        let told = |(earned, counts): (Earned, Counts)| {
            let told = counts.iter().map(|[clicks, shown]| raw(*clicks, *shown, self.rate)).collect();
            (earned, told)
        };
        all.into_iter().map(told).unzip()
    }
}

fn other(name: &str, column: &Column, learnt: &str) -> Error {
    Error::Invalid(format!("column `{name}` holds {}; {learnt} were learnt from", column.holds()))
}

/// Clicks and showings of each row's word or pair, in the rows that it may know.
type Counts = Vec<[f64; 2]>;

/// How much log loss a row the counts of a pair take off what its two fields say together.
fn gain(alone: [&Counts; 2], together: &Counts, clicks: &[f32], rate: f64) -> f64 {
    let middle = (rate / (1.0 - rate)).ln();
    let loss = |p: f64, click: f32| -(if click == 1.0 { p } else { 1.0 - p }).max(1e-12).ln();
    let sum: f64 = (0..clicks.len())
        .map(|i| {
            let odds = alone.iter().map(|counts| raw(counts[i][0], counts[i][1], rate)[0]).sum::<f64>();
            let fields = 1.0 / (1.0 + (-(middle + odds)).exp());
            let [clicked, shown] = together[i];
            let pair = (clicked + fields * PRIOR) / (shown + PRIOR);
            loss(fields, clicks[i]) - loss(pair, clicks[i])
        })
        .sum();
    sum / clicks.len().max(1) as f64
}

/// Log-odds beside those of the whole, and the logarithm of showings.
fn raw(clicks: f64, showings: f64, rate: f64) -> [f64; 2] {
    let p = (clicks + rate * PRIOR) / (showings + PRIOR);
    [(p / (1.0 - p)).ln() - (rate / (1.0 - rate)).ln(), showings.ln_1p()]
}

impl Earned {
    /// One number for the words of a row, given how many each field has.
    fn key(&self, row: &[usize], words: &[usize]) -> u64 {
        match self.fields[..] {
            [a, b] => row[a] as u64 * words[b] as u64 + row[b] as u64,
            [a] => row[a] as u64,
            _ => 0,
        }
    }

    fn raw(&self, key: u64, rate: f64) -> [f64; 2] {
        match self.keys.binary_search(&key) {
            Ok(at) => raw(f64::from(self.clicks[at]), f64::from(self.showings[at]), rate),
            Err(_) => raw(0.0, 0.0, rate),
        }
    }

    /// Counts all rows, and gives what each row's fold may know: the others.
    fn fit(&mut self, keys: &[u64], clicks: &[f32], fold: &[u8], rate: f64) -> Counts {
        self.keys = keys.to_vec();
        self.keys.sort_unstable();
        self.keys.dedup();
        let places: Vec<usize> =
            keys.iter().map(|k| self.keys.binary_search(k).unwrap_or_default()).collect();
        let n = self.keys.len();
        (self.clicks, self.showings) = (vec![0; n], vec![0; n]);
        let mut own = vec![[0_u32; 2]; n * FOLDS];
        for ((place, click), fold) in places.iter().zip(clicks).zip(fold) {
            let click = u32::from(*click == 1.0);
            self.clicks[*place] += click;
            self.showings[*place] += 1;
            let own = &mut own[place * FOLDS + usize::from(*fold)];
            *own = [own[0] + click, own[1] + 1];
        }
        let counts: Counts = places
            .iter()
            .zip(fold)
            .map(|(place, fold)| {
                let own = own[place * FOLDS + usize::from(*fold)];
                let rest = |all: u32, own: u32| f64::from(all - own);
                [rest(self.clicks[*place], own[0]), rest(self.showings[*place], own[1])]
            })
            .collect();
        let told: Vec<[f64; 2]> = counts.iter().map(|[clicks, shown]| raw(*clicks, *shown, rate)).collect();
        for k in 0..2 {
            let mean = told.iter().map(|t| t[k]).sum::<f64>() / told.len().max(1) as f64;
            let variance = told.iter().map(|t| (t[k] - mean).powi(2)).sum::<f64>() / told.len().max(1) as f64;
            self.scale[k] = (mean, variance.sqrt().max(1e-6));
        }
        counts
    }
}

impl Rows {
    /// Words and numbers of some rows.
    fn of(&self, rows: &[usize], device: &Device) -> (Vec<usize>, Option<Tensor<2>>) {
        let codes = rows.iter().flat_map(|r| &self.codes[r * self.fields..(r + 1) * self.fields]);
        let numbers = (self.width > 0).then(|| {
            let values = rows.iter().flat_map(|r| &self.numbers[r * self.width..(r + 1) * self.width]);
            let values: Vec<f32> = values.copied().collect();
            Tensor::from_data(TensorData::new(values, [rows.len(), self.width]), device)
        });
        (codes.copied().collect(), numbers)
    }
}

struct Training<'a> {
    rows: &'a Rows,
    clicks: &'a [f32],
    seen: Vec<usize>,
    held: Vec<usize>,
    /// Where networks are trained.
    device: Device,
}

impl Training<'_> {
    fn loss_of(
        &self,
        network: &Click,
        rows: &[usize],
        noise: &mut Noise,
        device: &Device,
    ) -> Result<Tensor<1>> {
        let (codes, numbers) = self.rows.of(rows, device);
        let clicks: Vec<f32> = rows.iter().map(|r| self.clicks[*r]).collect();
        let truth = Tensor::<2>::from_data(TensorData::new(clicks, [rows.len(), 1]), device);
        Ok(losses::bce(network.forward(&codes, numbers, noise)?, truth, None))
    }
}

impl Task for Training<'_> {
    type Network = Click;

    fn rows(&self) -> usize {
        self.seen.len()
    }

    fn loss(&self, network: &Click, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let rows: Vec<usize> = rows.iter().map(|r| self.seen[*r]).collect();
        self.loss_of(network, &rows, noise, &self.device.clone().autodiff())
    }

    fn validate(&self, network: &Click) -> Result<Option<f64>> {
        let network = network.plain();
        let mut sum = 0.0;
        for part in self.held.chunks(ROWS_AT_A_TIME) {
            let loss = self.loss_of(&network, part, &mut Noise::none(), &self.device)?;
            sum += losses::value(&loss) * part.len() as f64;
        }
        Ok((!self.held.is_empty()).then(|| sum / self.held.len() as f64))
    }
}
