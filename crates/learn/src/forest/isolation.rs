//! Isolation forest: rows that random cuts set apart early are unusual.
//!
//! Each tree sees a sample of `ψ` rows without replacement. A node takes a column at random, and a cut uniform between
//! the column's least and greatest value at the node; growing ends at single rows or at depth `⌈log₂ ψ⌉`. With `h` the
//! depth of a row's leaf plus the mean depth `c(m)` of a tree that could still be grown on the leaf's `m` rows, the
//! score is
//!
//! `2^(−E[h] / c(ψ))`, with `c(m) = 2 (ln(m − 1) + γ) − 2 (m − 1) / m`, `c(2) = 1`, `c(1) = 0`:
//!
//! near 1 for the unusual, below ½ for the usual (Liu, Ting, Zhou 2008).
//!
//! Two extensions of the literature help where unusual rows are not lonely. A share `gain` of the nodes takes, out of
//! `n_try` columns, the cut that lowers the pooled standard deviation most (Liu, Ting, Zhou 2010, SCiForest). And the
//! score may be a density (Cortes 2021): every cut tells which part of the rows and which part of the range a side
//! holds, and the score is minus the mean over the trees of the sum of `ln(rows / range)` on the row's way.
//!
//! Where unusual rows form clumps, samples of all rows and few, say 8, steps of density tell more than the classic small
//! samples do.
//!
//! Missing values go with the many. Categories are parted as sets, each category by a coin. Weights are the chance to
//! be drawn.

use crate::learner::{Bears, FittedLearner, Learner, LearnerEntry, Task, one_column, save};
use crate::matrix::{ColumnKind, Dataset, Matrix};
use crate::tree::{Ensemble, Missing, Node, Split, Tree};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Error, ParamCheck, ParamKind, ParamSpec, Result, Run};

/// How a row's way through the trees becomes its score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// `2^(−E[h] / c(ψ))`, between 0 and 1.
    #[default]
    Depth,
    /// The same with each step counted as `2 / (1 + 1 / (2 r))`, where `r` is the side's part of the rows over its part
    /// of the range: a step into a thin side counts less.
    AdjustedDepth,
    /// Minus the mean sum of `ln r`; any number.
    Density,
}

/// Parameters.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | `n_trees` | 200 | 1 to 100,000 | trees |
/// | `max_samples` | 256 | 2 to 1,000,000,000 | rows drawn per tree, at most all |
/// | `max_depth` | `⌈log₂ ψ⌉` | 1 to 10,000 | depth at which growing ends |
/// | `gain` | 0 | 0 to 1 | share of the nodes whose cut is chosen by the pooled gain |
/// | `n_try` | 1 | 1 to 100,000 | columns among which the gain chooses |
/// | `scoring` | `depth` | `depth`, `adjusted_depth`, `density` | how the score is made |
/// | `contamination` | none | above 0, to 0.5 | share of the training rows that are to be called unusual |
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, forest::isolation::IsolationForest};
/// let mut values: Vec<f64> = (0..100).map(|i| f64::from(i % 10)).collect();
/// values.push(60.0);
/// let x = Matrix::from_columns(&[values]).unwrap();
/// let data = Dataset::new(x, vec![0.0; 101], vec![]).unwrap();
/// let params = IsolationForest { contamination: Some(0.01), ..IsolationForest::default() };
/// let model = params.fit(&Run::new(1), &data).unwrap();
/// let new = Matrix::from_rows(&[[5.0], [60.0]]).unwrap();
/// assert_eq!(model.is_unusual(&new).unwrap(), [false, true]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsolationForest {
    /// Trees.
    pub n_trees: usize,
    /// Rows drawn per tree.
    pub max_samples: usize,
    /// Depth at which growing ends.
    pub max_depth: Option<usize>,
    /// Share of the nodes whose cut is chosen by the pooled gain.
    pub gain: f64,
    /// Columns among which the gain chooses.
    pub n_try: usize,
    /// How the score is made.
    pub scoring: Scoring,
    /// Share of the training rows that are to be called unusual.
    pub contamination: Option<f64>,
}

impl Default for IsolationForest {
    fn default() -> Self {
        Self {
            n_trees: 200,
            max_samples: 256,
            max_depth: None,
            gain: 0.0,
            n_try: 1,
            scoring: Scoring::Depth,
            contamination: None,
        }
    }
}

/// What [`IsolationForest`] learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedIsolationForest {
    /// Leaves hold `h`, or the sum of logarithms.
    trees: Ensemble,
    scoring: Scoring,
    /// `c(ψ)`.
    norm: f64,
    threshold: Option<f64>,
}

impl IsolationForest {
    /// All faults of the parameters.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let within = |v: usize, range: std::ops::RangeInclusive<usize>| range.contains(&v);
        check.require(within(self.n_trees, 1..=100_000), "n_trees", self.n_trees, "1 to 100000");
        let v = self.max_samples;
        check.require(within(v, 2..=1_000_000_000), "max_samples", v, "2 to 1000000000");
        if let Some(v) = self.max_depth {
            check.require(within(v, 1..=10_000), "max_depth", v, "1 to 10000");
        }
        check.require((0.0..=1.0).contains(&self.gain), "gain", self.gain, "0 to 1");
        check.require(within(self.n_try, 1..=100_000), "n_try", self.n_try, "1 to 100000");
        if let Some(v) = self.contamination {
            check.require(v > 0.0 && v <= 0.5, "contamination", v, "above 0, to 0.5");
        }
        check.finish()
    }

    /// Grows the trees; the target is not looked at. Fails on fewer than two rows.
    pub fn fit(&self, run: &Run, data: &Dataset) -> Result<FittedIsolationForest> {
        self.check()?;
        data.need_rows("an isolation forest", 2)?;
        run.install(|| {
            run.check()?;
            let rows: Vec<usize> =
                (0..data.n_rows()).filter(|i| data.weight().is_none_or(|w| w[*i] > 0.0)).collect();
            let n_samples = self.max_samples.min(rows.len());
            let max_depth = self.max_depth.unwrap_or((n_samples as f64).log2().ceil() as usize);
            run.progress().begin("an isolation forest", self.n_trees as u64);
            let trees = (0..self.n_trees)
                .into_par_iter()
                .with_max_len(1)
                .map(|t| {
                    run.check()?;
                    let mut rng = run.rng(t as u64);
                    let drawn = draw(&rows, data.weight(), n_samples, &mut rng);
                    let mut grower = Grower::new(self, max_depth, data, &drawn);
                    grower.grow(&mut rng);
                    run.progress().advance(1);
                    Ok(grower.tree)
                })
                .collect::<Result<Vec<Tree>>>()?;
            run.progress().end();
            let trees = Ensemble {
                n_features: data.x().n_cols(),
                n_outputs: 1,
                base: vec![0.0],
                trees,
                output: Vec::new(),
                mean: true,
            };
            let norm = mean_depth(n_samples as f64);
            let mut fitted = FittedIsolationForest { trees, scoring: self.scoring, norm, threshold: None };
            if let Some(share) = self.contamination {
                let mut scores = fitted.scores(&data.x().select_rows(&rows))?;
                scores.sort_unstable_by(f64::total_cmp);
                let place = (1.0 - share) * (scores.len() - 1) as f64;
                let (low, high) = (scores[place.floor() as usize], scores[place.ceil() as usize]);
                fitted.threshold = Some(low + (high - low) * place.fract());
            }
            Ok(fitted)
        })
    }
}

impl FittedIsolationForest {
    /// The score of each row; higher is more unusual. Fails on another width.
    pub fn scores(&self, x: &Matrix) -> Result<Vec<f64>> {
        x.check_width(self.trees.n_features, "the isolation forest")?;
        let mut scores = self.trees.scores(x)?;
        scores.values_mut().iter_mut().for_each(|v| {
            *v = match self.scoring {
                Scoring::Depth | Scoring::AdjustedDepth => (-*v / self.norm).exp2(),
                Scoring::Density => -*v,
            }
        });
        Ok(scores.values().to_vec())
    }

    /// Above which score a row is called unusual; absent unless `contamination` was given.
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// Whether each row's score is above the threshold. Fails unless `contamination` was given.
    pub fn is_unusual(&self, x: &Matrix) -> Result<Vec<bool>> {
        let Some(threshold) = self.threshold else {
            return Err(Error::Invalid(
                "the isolation forest has no threshold; fit it with `contamination`, the share of unusual rows".into(),
            ));
        };
        Ok(self.scores(x)?.into_iter().map(|score| score > threshold).collect())
    }

    /// The trees; their leaves hold depths, or sums of logarithms.
    pub fn trees(&self) -> &Ensemble {
        &self.trees
    }
}

/// `c(m)`: the mean depth of an unsuccessful search in a binary search tree of `m` rows.
///
/// ```
/// use tradewind_learn::forest::isolation::mean_depth;
/// assert_eq!([1.0, 2.0].map(mean_depth), [0.0, 1.0]);
/// assert!((mean_depth(256.0) - 10.244770920).abs() < 1e-8);
/// ```
pub fn mean_depth(m: f64) -> f64 {
    /// Euler's constant.
    const GAMMA: f64 = 0.577_215_664_901_532_9;
    match m {
        _ if m > 2.0 => 2.0 * ((m - 1.0).ln() + GAMMA) - 2.0 * (m - 1.0) / m,
        _ if m > 1.0 => 1.0,
        _ => 0.0,
    }
}

/// `n` rows without replacement, each with a chance in proportion to its weight.
fn draw(rows: &[usize], weight: Option<&[f64]>, n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    if n == rows.len() {
        return rows.to_vec();
    }
    let Some(weight) = weight else {
        return rand::seq::index::sample(rng, rows.len(), n).iter().map(|i| rows[i]).collect();
    };
    // The rows whose exponential waiting time is shortest (Efraimidis and Spirakis 2006).
    let wait = |row: &usize, rng: &mut ChaCha8Rng| -(1.0 - rng.random::<f64>()).ln() / weight[*row];
    let mut keyed: Vec<(f64, usize)> = rows.iter().map(|row| (wait(row, rng), *row)).collect();
    keyed.select_nth_unstable_by(n - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    keyed.truncate(n);
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// How a node parts its rows.
struct Cut {
    column: usize,
    split: Split,
    /// The part of the range that is on the left.
    range_left: f64,
}

struct Grower<'a> {
    params: &'a IsolationForest,
    max_depth: usize,
    data: &'a Dataset,
    /// The drawn rows' values, column after column.
    values: Vec<f64>,
    n: usize,
    items: Vec<u32>,
    tree: Tree,
    columns: Vec<usize>,
    sorted: Vec<f64>,
}

impl<'a> Grower<'a> {
    fn new(params: &'a IsolationForest, max_depth: usize, data: &'a Dataset, drawn: &[usize]) -> Self {
        let (n, p) = (drawn.len(), data.x().n_cols());
        let mut values = vec![0.0; n * p];
        for (i, row) in drawn.iter().enumerate() {
            data.x().row(*row).iter().enumerate().for_each(|(j, v)| values[j * n + i] = *v);
        }
        Self {
            params,
            max_depth,
            data,
            values,
            n,
            items: (0..n as u32).collect(),
            tree: Tree { nodes: Vec::new(), leaves: Vec::new(), leaf_cover: Vec::new() },
            columns: (0..p).collect(),
            sorted: Vec::new(),
        }
    }

    fn grow(&mut self, rng: &mut ChaCha8Rng) {
        /// A stretch of rows with the sum on its way, and where its number goes.
        struct Waiting {
            from: usize,
            to: usize,
            depth: usize,
            sum: f64,
            parent: Option<(usize, bool)>,
        }
        let mut waiting = vec![Waiting { from: 0, to: self.n, depth: 0, sum: 0.0, parent: None }];
        while let Some(at) = waiting.pop() {
            let size = (at.to - at.from) as f64;
            let cut =
                if at.depth < self.max_depth && size > 1.0 { self.cut(at.from, at.to, rng) } else { None };
            let (child, cut) = match cut {
                None => (!(self.tree.n_leaves() as i32), None),
                Some(cut) => (self.tree.nodes.len() as i32, Some(cut)),
            };
            if let Some((parent, is_left)) = at.parent {
                let parent = &mut self.tree.nodes[parent];
                if is_left {
                    parent.left = child;
                } else {
                    parent.right = child;
                }
            }
            let Some(cut) = cut else {
                let rest = if self.params.scoring == Scoring::Density { 0.0 } else { mean_depth(size) };
                self.tree.leaves.push(at.sum + rest);
                self.tree.leaf_cover.push(size);
                continue;
            };
            let (middle, missing_left) = self.part(at.from, at.to, &cut);
            let node = self.tree.nodes.len();
            self.tree.nodes.push(Node {
                feature: cut.column as u32,
                split: cut.split,
                missing: Missing::Nan,
                missing_left,
                left: 0,
                right: 0,
                gain: 0.0,
                cover: size,
            });
            let sides =
                [(middle, at.to, 1.0 - cut.range_left, false), (at.from, middle, cut.range_left, true)];
            for (from, to, range, is_left) in sides {
                // Rows of the side over its part of the range.
                let ratio = (to - from) as f64 / size / range.max(1e-12);
                let step = match self.params.scoring {
                    Scoring::Depth => 1.0,
                    Scoring::AdjustedDepth => 2.0 / (1.0 + 0.5 / ratio.max(1e-12)),
                    Scoring::Density => ratio.max(1e-12).ln(),
                };
                let parent = Some((node, is_left));
                waiting.push(Waiting { from, to, depth: at.depth + 1, sum: at.sum + step, parent });
            }
        }
    }

    /// A cut of a stretch, `None` where all rows are equal.
    fn cut(&mut self, from: usize, to: usize, rng: &mut ChaCha8Rng) -> Option<Cut> {
        let by_gain = self.params.gain > 0.0 && rng.random::<f64>() < self.params.gain;
        let p = self.columns.len();
        let mut best: Option<(f64, Cut)> = None;
        let mut tried = 0;
        for drawn in 0..p {
            let pick = rng.random_range(drawn..p);
            self.columns.swap(drawn, pick);
            let column = self.columns[drawn];
            let found = if self.data.kinds()[column] == ColumnKind::Category {
                self.cut_codes(from, to, column, rng)
            } else if by_gain {
                self.cut_by_gain(from, to, column)
            } else {
                self.cut_numbers(from, to, column, rng)
            };
            let Some((gain, cut)) = found else { continue };
            if best.as_ref().is_none_or(|b| gain > b.0) {
                best = Some((gain, cut));
            }
            tried += 1;
            if !by_gain || tried >= self.params.n_try {
                break;
            }
        }
        best.map(|b| b.1)
    }

    fn range(&self, from: usize, to: usize, column: usize) -> (f64, f64) {
        let values = &self.values[column * self.n..][..self.n];
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for item in &self.items[from..to] {
            // NaN is passed over by both.
            let v = values[*item as usize];
            low = low.min(v);
            high = high.max(v);
        }
        (low, high)
    }

    fn cut_numbers(&self, from: usize, to: usize, column: usize, rng: &mut ChaCha8Rng) -> Option<(f64, Cut)> {
        let (low, high) = self.range(from, to, column);
        if low >= high {
            return None;
        }
        let share: f64 = rng.random();
        let threshold = low * (1.0 - share) + high * share;
        // Rounding must not put all rows on one side.
        let threshold = if threshold < high && threshold >= low { threshold } else { low };
        Some((0.0, Cut { column, split: Split::Below(threshold), range_left: part_of(low, high, threshold) }))
    }

    /// The cut that lowers `(n_l σ_l + n_r σ_r) / n` most against `σ`, as a share of `σ`.
    fn cut_by_gain(&mut self, from: usize, to: usize, column: usize) -> Option<(f64, Cut)> {
        let values = &self.values[column * self.n..][..self.n];
        self.sorted.clear();
        self.sorted.extend(self.items[from..to].iter().map(|i| values[*i as usize]).filter(|v| !v.is_nan()));
        self.sorted.sort_unstable_by(f64::total_cmp);
        let (low, high) = (*self.sorted.first()?, *self.sorted.last()?);
        let width = high - low;
        if low >= high || !width.is_finite() {
            return None;
        }
        let n = self.sorted.len();
        // In parts of the range from its middle, so that squares keep their digits.
        let unit = |v: f64| (v - low) / width - 0.5;
        let (mut sum, mut squares) = (0.0, 0.0);
        for v in &self.sorted {
            sum += unit(*v);
            squares += unit(*v).powi(2);
        }
        let spread = |n: f64, sum: f64, squares: f64| (squares * n - sum * sum).max(0.0).sqrt();
        let whole = spread(n as f64, sum, squares);
        let (mut left, mut left_squares) = (0.0, 0.0);
        let mut best = (f64::NEG_INFINITY, 0);
        for i in 0..n - 1 {
            let v = unit(self.sorted[i]);
            left += v;
            left_squares += v * v;
            if self.sorted[i] < self.sorted[i + 1] {
                let n_left = (i + 1) as f64;
                let both = spread(n_left, left, left_squares)
                    + spread(n as f64 - n_left, sum - left, squares - left_squares);
                let gain = 1.0 - both / whole;
                if gain > best.0 {
                    best = (gain, i);
                }
            }
        }
        let (a, b) = (self.sorted[best.1], self.sorted[best.1 + 1]);
        let middle = a / 2.0 + b / 2.0;
        let threshold = if middle >= a && middle < b { middle } else { a };
        Some((
            best.0,
            Cut { column, split: Split::Below(threshold), range_left: part_of(low, high, threshold) },
        ))
    }

    /// A set of categories, each in it by a coin, neither empty nor all.
    fn cut_codes(&self, from: usize, to: usize, column: usize, rng: &mut ChaCha8Rng) -> Option<(f64, Cut)> {
        let values = &self.values[column * self.n..][..self.n];
        let mut codes: Vec<u32> = self.items[from..to]
            .iter()
            .map(|i| values[*i as usize])
            .filter(|v| !v.is_nan())
            .map(|v| v as u32)
            .collect();
        codes.sort_unstable();
        codes.dedup();
        if codes.len() < 2 {
            return None;
        }
        // One goes left and another right for certain.
        let sure = rng.random_range(0..codes.len());
        let other = (sure + rng.random_range(1..codes.len())) % codes.len();
        let mut words = Vec::new();
        let mut n_left = 0;
        for (i, code) in codes.iter().enumerate() {
            if i == sure || (i != other && rng.random::<bool>()) {
                let word = *code as usize / 32;
                if words.len() <= word {
                    words.resize(word + 1, 0_u32);
                }
                words[word] |= 1 << (code % 32);
                n_left += 1;
            }
        }
        let range_left = f64::from(n_left) / codes.len() as f64;
        Some((0.0, Cut { column, split: Split::In(words), range_left }))
    }

    /// Parts a stretch in place: where the right side begins, and whether missing values went left.
    fn part(&mut self, from: usize, to: usize, cut: &Cut) -> (usize, bool) {
        let values = &self.values[cut.column * self.n..][..self.n];
        let side = |missing_left| Node {
            feature: 0,
            split: cut.split.clone(),
            missing: Missing::Nan,
            missing_left,
            left: 0,
            right: 0,
            gain: 0.0,
            cover: 0.0,
        };
        let node = side(false);
        let items = &mut self.items[from..to];
        let (mut n_left, mut n_missing) = (0, 0);
        for item in &*items {
            let v = values[*item as usize];
            n_missing += usize::from(v.is_nan());
            n_left += usize::from(node.goes_left(v));
        }
        let missing_left = n_left > items.len() - n_missing - n_left;
        let node = if missing_left { side(true) } else { node };
        let mut middle = 0;
        for i in 0..items.len() {
            if node.goes_left(values[items[i] as usize]) {
                items.swap(i, middle);
                middle += 1;
            }
        }
        (from + middle, missing_left)
    }
}

/// The part of a range that lies below the threshold.
fn part_of(low: f64, high: f64, threshold: f64) -> f64 {
    // Halved, since the width of two huge numbers may be none.
    (threshold / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
}

impl FittedLearner for FittedIsolationForest {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        one_column(self.scores(x)?)
    }

    fn save(&self) -> Result<Value> {
        save("isolation forest", self)
    }
}

struct Boxed(IsolationForest);

impl Learner for Boxed {
    fn fit(&self, run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(self.0.fit(run, data)?))
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
    name: "isolation_forest",
    summary: "Unusual rows are those that random cuts set apart early.",
    summary_zh: "孤立森林：被随机切分越早隔离的样本越异常。",
    source: "Liu, Ting, Zhou (2008), Isolation forest; (2010), On detecting clustered anomalies using SCiForest; \
             Cortes (2021), Revisiting randomized choices in isolation forests",
    tasks: &[Task::Anomaly],
    params: &[
        spec("n_trees", ParamKind::Integer { min: 1, max: 100_000 }, "200", "Trees."),
        spec(
            "max_samples",
            ParamKind::Integer { min: 2, max: 1_000_000_000 },
            "256",
            "Rows drawn per tree, at most all.",
        ),
        spec(
            "max_depth",
            ParamKind::Integer { min: 1, max: 10_000 },
            "",
            "Depth at which growing ends; the logarithm of the rows drawn unless given.",
        ),
        spec(
            "gain",
            ParamKind::Number { min: 0.0, max: 1.0 },
            "0",
            "Share of the nodes whose cut is chosen by the pooled gain.",
        ),
        spec(
            "n_try",
            ParamKind::Integer { min: 1, max: 100_000 },
            "1",
            "Columns among which the gain chooses.",
        ),
        spec(
            "scoring",
            ParamKind::Choice(&["depth", "adjusted_depth", "density"]),
            "depth",
            "How a row's way through the trees becomes its score.",
        ),
        spec(
            "contamination",
            ParamKind::Number { min: 0.0, max: 0.5 },
            "",
            "Share of the training rows that are to be called unusual.",
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
    build: |_, params| {
        let params: IsolationForest = ENTRY.read(params)?;
        params.check()?;
        Ok(Box::new(Boxed(params)))
    },
    load: |saved| {
        let fitted: FittedIsolationForest = serde_json::from_value(saved)
            .map_err(|source| Error::Saved { what: "isolation forest".to_owned(), source })?;
        fitted.trees.check()?;
        Ok(Box::new(fitted))
    },
};
