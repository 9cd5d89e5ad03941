//! From a data set to a forest: drawing rows, growing trees in parallel, out-of-bag answers, importance.

use super::bins::{self, Binned};
use super::criterion::{Classes, Criterion, Numbers};
use super::grow::{Limits, grow};
use super::{ClassWeight, FittedForest, RandomForest};
use crate::learner::Task;
use crate::matrix::Dataset;
use crate::tree::{Ensemble, Tree};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tradewind_core::{Error, Result, Run};

/// Trees grown before their out-of-bag answers are added up; fixed, so that memory stays small.
const BATCH_TREES: usize = 16;

/// The leaf of a row that the tree drew.
const DRAWN: u32 = u32::MAX;

pub(super) struct Settings<'a> {
    pub params: &'a RandomForest,
    pub name: &'static str,
    pub random_cut: bool,
}

pub(super) fn fit(run: &Run, data: &Dataset, task: Task, settings: &Settings<'_>) -> Result<FittedForest> {
    data.need_rows(settings.name, 1)?;
    if data.n_rows() > u32::MAX as usize / 2 {
        let (most, got) = (u32::MAX / 2, data.n_rows());
        return Err(Error::Invalid(format!("{} takes up to {most} rows; there are {got}", settings.name)));
    }
    run.install(|| match task {
        Task::Binary | Task::Multiclass => classes(run, data, settings),
        _ => numbers(run, data, settings),
    })
}

fn classes(run: &Run, data: &Dataset, settings: &Settings<'_>) -> Result<FittedForest> {
    let (label, k) = data.classes(settings.name)?;
    let label: Vec<u16> = label.into_iter().map(|c| c as u16).collect();
    let mut weight = data.weight().map(<[f64]>::to_vec);
    if settings.params.class_weight == ClassWeight::Balanced {
        let rows = weight.get_or_insert_with(|| vec![1.0; label.len()]);
        let mut mass = vec![0.0; k];
        label.iter().zip(&*rows).for_each(|(c, w)| mass[usize::from(*c)] += w);
        let total: f64 = mass.iter().sum();
        for (w, c) in rows.iter_mut().zip(&label) {
            *w *= total / (k as f64 * mass[usize::from(*c)]);
        }
    }
    let purity = settings.params.criterion;
    let (label, w) = (&label[..], weight.as_deref());
    match (k, w) {
        (2, None) => {
            let c = Classes::<2, false> { k, label, weight: &[], purity };
            forest(run, data, settings, &c, k, w)
        }
        (2, Some(weight)) => {
            forest(run, data, settings, &Classes::<2, true> { k, label, weight, purity }, k, w)
        }
        (_, None) => {
            let c = Classes::<0, false> { k, label, weight: &[], purity };
            forest(run, data, settings, &c, k, w)
        }
        (_, Some(weight)) => {
            forest(run, data, settings, &Classes::<0, true> { k, label, weight, purity }, k, w)
        }
    }
}

fn numbers(run: &Run, data: &Dataset, settings: &Settings<'_>) -> Result<FittedForest> {
    let y = data.y();
    let weight = data.weight();
    // In parts of the greatest, so that no sum overflows.
    let most = y.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let (mut mass, mut centre) = (0.0, 0.0);
    for (i, v) in y.iter().enumerate() {
        let w = weight.map_or(1.0, |w| w[i]);
        mass += w;
        centre += w * if most > 0.0 { v / most } else { 0.0 };
    }
    let centre = (centre / mass * most).clamp(-most, most);
    let scale = y.iter().fold(0.0_f64, |m, v| m.max((v / 2.0 - centre / 2.0).abs())) * 2.0;
    let scale = if scale.is_finite() { scale } else { most };
    let z: Vec<f64> = y.iter().map(|v| if scale > 0.0 { v / scale - centre / scale } else { 0.0 }).collect();
    let z = &z[..];
    match weight {
        None => {
            let c = Numbers::<false> { z, centre, scale, weight: &[] };
            forest(run, data, settings, &c, 1, None)
        }
        Some(w) => forest(run, data, settings, &Numbers::<true> { z, centre, scale, weight: w }, 1, Some(w)),
    }
}

fn limits(settings: &Settings<'_>, n_columns: usize, task_is_classes: bool, mass: f64, unit: f64) -> Limits {
    let p = settings.params;
    let columns = n_columns as f64;
    let n_features = match p.max_features {
        Some(share) if share > 0.0 => columns * share,
        Some(_) => columns.sqrt(),
        None if task_is_classes => columns.sqrt(),
        None if settings.random_cut => columns,
        None => columns / 3.0,
    };
    Limits {
        // A hair above, so that a share such as 0.3 of 10 is 3 columns.
        n_features: ((n_features + 1e-9) as usize).max(1),
        max_depth: p.max_depth.unwrap_or(usize::MAX),
        min_samples_leaf: p.min_samples_leaf as f64,
        min_samples_split: p.min_samples_split as f64,
        max_leaf_nodes: p.max_leaf_nodes,
        min_decrease: p.min_impurity_decrease * mass / unit,
        random_cut: settings.random_cut,
    }
}

/// A tree with the out-of-bag rows' leaves.
struct Grown {
    tree: Tree,
    leaf_of: Vec<u32>,
}

fn forest<C: Criterion>(
    run: &Run,
    data: &Dataset,
    settings: &Settings<'_>,
    criterion: &C,
    n_outputs: usize,
    weight: Option<&[f64]>,
) -> Result<FittedForest> {
    let params = settings.params;
    run.check()?;
    let columns = bins::cut(data, params.max_bins);
    let rows: Vec<u32> =
        (0..data.n_rows() as u32).filter(|i| weight.is_none_or(|w| w[*i as usize] > 0.0)).collect();
    let n_drawn = ((rows.len() as f64 * params.max_samples).round() as usize).max(1);
    let is_classes = n_outputs > 1;
    let mut oob = params.oob.then(|| Oob::new(data.n_rows(), n_outputs));
    let mut trees = Vec::with_capacity(params.n_trees);
    run.progress().begin(settings.name, params.n_trees as u64);
    for first in (0..params.n_trees).step_by(BATCH_TREES) {
        let batch = first..(first + BATCH_TREES).min(params.n_trees);
        let grown: Vec<Grown> = batch
            .into_par_iter()
            .with_max_len(1)
            .map(|t| {
                run.check()?;
                let mut rng = run.rng(t as u64);
                let drawn = draw(&rows, n_drawn, data.n_rows(), params.bootstrap, &mut rng);
                let grown =
                    one(run, data, settings, criterion, &columns, &drawn, is_classes, weight, &mut rng);
                run.progress().advance(1);
                grown
            })
            .collect::<Result<_>>()?;
        for grown in grown {
            if let Some(oob) = &mut oob {
                oob.add(&grown);
            }
            trees.push(grown.tree);
        }
    }
    run.progress().end();
    let trees = Ensemble {
        n_features: columns.len(),
        n_outputs,
        base: vec![0.0; n_outputs],
        trees,
        output: Vec::new(),
        mean: true,
    };
    let oob = oob.map(Oob::answers);
    let oob_score = oob.as_ref().and_then(|oob| score(data, oob, is_classes));
    Ok(FittedForest { importance: importance(&trees), trees, oob, oob_score })
}

/// How often each row is drawn.
fn draw(rows: &[u32], n_drawn: usize, n_rows: usize, replace: bool, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut count = vec![0_u32; n_rows];
    if replace {
        for _ in 0..n_drawn {
            count[rows[rng.random_range(0..rows.len())] as usize] += 1;
        }
    } else if n_drawn >= rows.len() {
        rows.iter().for_each(|row| count[*row as usize] = 1);
    } else {
        // Row by row, each with the chance that fills what is still wanted (Knuth, algorithm S).
        let mut wanted = n_drawn;
        for (i, row) in rows.iter().enumerate() {
            if rng.random_range(0..rows.len() - i) < wanted {
                count[*row as usize] = 1;
                wanted -= 1;
            }
        }
    }
    count
}

fn one<C: Criterion>(
    run: &Run,
    data: &Dataset,
    settings: &Settings<'_>,
    criterion: &C,
    columns: &[Binned],
    count: &[u32],
    is_classes: bool,
    weight: Option<&[f64]>,
    rng: &mut ChaCha8Rng,
) -> Result<Grown> {
    let drawn = || count.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| (i as u32, *n));
    let mass: f64 = drawn().map(|(i, n)| f64::from(n) * weight.map_or(1.0, |w| w[i as usize])).sum();
    let unit = criterion.unit();
    let limits = limits(settings, columns.len(), is_classes, mass, unit);
    let mut tree = grow(run, criterion, columns, &limits, drawn(), rng)?;
    // From worth to the fall of the impurity in the whole tree.
    tree.nodes.iter_mut().for_each(|node| node.gain *= unit / mass);
    let leaf_of = match settings.params.oob {
        false => Vec::new(),
        true => (0..data.n_rows())
            .map(|i| if count[i] > 0 { DRAWN } else { tree.leaf_of(data.x().row(i)) as u32 })
            .collect(),
    };
    Ok(Grown { tree, leaf_of })
}

/// Sums of the trees' answers for rows they did not draw.
struct Oob {
    n_outputs: usize,
    sum: Vec<f64>,
    trees: Vec<u32>,
}

impl Oob {
    fn new(n_rows: usize, n_outputs: usize) -> Self {
        Self { n_outputs, sum: vec![0.0; n_rows * n_outputs], trees: vec![0; n_rows] }
    }

    fn add(&mut self, grown: &Grown) {
        let k = self.n_outputs;
        for (i, leaf) in grown.leaf_of.iter().enumerate().filter(|(_, leaf)| **leaf != DRAWN) {
            self.trees[i] += 1;
            let values = &grown.tree.leaves[*leaf as usize * k..][..k];
            self.sum[i * k..][..k].iter_mut().zip(values).for_each(|(s, v)| *s += v);
        }
    }

    fn answers(self) -> Vec<Option<Vec<f64>>> {
        let rows = self.sum.chunks_exact(self.n_outputs).zip(&self.trees);
        rows.map(|(sum, n)| (*n > 0).then(|| sum.iter().map(|s| s / f64::from(*n)).collect())).collect()
    }
}

/// Accuracy or R² over the rows that have an answer.
fn score(data: &Dataset, oob: &[Option<Vec<f64>>], is_classes: bool) -> Option<f64> {
    let rows: Vec<(f64, &[f64], f64)> = oob
        .iter()
        .enumerate()
        .filter_map(|(i, said)| Some((data.y()[i], said.as_deref()?, data.weight().map_or(1.0, |w| w[i]))))
        .collect();
    let mass: f64 = rows.iter().map(|r| r.2).sum();
    if is_classes {
        let right = rows.iter().filter(|(y, said, _)| top(said) == *y as usize).map(|r| r.2).sum::<f64>();
        return (mass > 0.0).then(|| right / mass);
    }
    let mean = rows.iter().map(|(y, _, w)| w * y).sum::<f64>() / mass;
    let spread: f64 = rows.iter().map(|(y, _, w)| w * (y - mean).powi(2)).sum();
    let error: f64 = rows.iter().map(|(y, said, w)| w * (y - said[0]).powi(2)).sum();
    (spread > 0.0 && spread.is_finite()).then(|| 1.0 - error / spread)
}

/// The first of the largest.
fn top(shares: &[f64]) -> usize {
    (1..shares.len()).fold(0, |best, c| if shares[c] > shares[best] { c } else { best })
}

/// The mean over the trees of each column's share in the fall of the impurity.
fn importance(trees: &Ensemble) -> Vec<f64> {
    let mut mean = vec![0.0; trees.n_features];
    for tree in &trees.trees {
        let mut gain = vec![0.0; trees.n_features];
        tree.nodes.iter().for_each(|node| gain[node.feature as usize] += node.gain);
        let sum: f64 = gain.iter().sum();
        if sum > 0.0 {
            mean.iter_mut().zip(&gain).for_each(|(m, g)| *m += g / sum);
        }
    }
    let sum: f64 = mean.iter().sum();
    if sum > 0.0 {
        mean.iter_mut().for_each(|m| *m /= sum);
    }
    mean
}
