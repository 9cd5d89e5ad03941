//! More training rows out of those there are, and weights for rare classes. For training rows only: a model measured on
//! made-up rows is measured on nothing.
//!
//! | function | what | source |
//! |---|---|---|
//! | [`noise`] | copies with Gaussian noise, scaled by each column's deviation | Bishop 1995 |
//! | [`mixup`] | points between two rows, with the target between theirs | Zhang et al. 2018 |
//! | [`smote`] | points between rows of a rare class and their neighbours of that class | Chawla et al. 2002 |
//! | [`oversample`], [`undersample`] | rows repeated or left out until the classes are equal | |
//! | [`class_weights`] | `n / (k · n_class)`, which balances without new rows | King and Zeng 2001 |
//!
//! The original rows come first and stay as they are, weights too. All randomness comes from the run's seed. Balanced
//! rows shift the probabilities that a model gives: calibrate them on rows as they come.

use crate::matrix::{ColumnKind, Dataset, Matrix};
use crate::transform::mean_sd;
use rand::RngExt;
use rand::seq::SliceRandom;
use tradewind_core::{Error, ParamCheck, Result, Run};

/// The random stream of this module.
const STREAM: u64 = 0x6175_676d;

/// Deviations of the number columns, over the values that are there; 0 of categories.
fn deviations(data: &Dataset) -> Vec<f64> {
    (0..data.x().n_cols())
        .map(|j| match data.kinds()[j] {
            ColumnKind::Category => 0.0,
            ColumnKind::Number => {
                mean_sd(&data.x().column(j).into_iter().filter(|v| !v.is_nan()).collect::<Vec<_>>()).1
            }
        })
        .collect()
}

/// `data` with more rows behind it.
fn with_rows(data: &Dataset, x: Vec<f64>, y: Vec<f64>, weight: Vec<f64>) -> Result<Dataset> {
    no_groups(data)?;
    let n = data.n_rows() + y.len();
    let values = [data.x().values(), &x].concat();
    let matrix = Matrix::new(n, data.x().n_cols(), values)?;
    let out = Dataset::with_missing(matrix, [data.y(), &y].concat(), data.names().to_vec())?;
    let out = out.with_kinds(data.kinds().to_vec())?;
    match data.weight() {
        None => Ok(out),
        Some(w) => out.with_weight([w, &weight].concat()),
    }
}

fn no_groups(data: &Dataset) -> Result<()> {
    match data.groups() {
        None => Ok(()),
        Some(_) => {
            Err(Error::Invalid("rows of a ranking belong to their groups and cannot be made up".into()))
        }
    }
}

fn weight_of(data: &Dataset, i: usize) -> f64 {
    data.weight().map_or(1.0, |w| w[i])
}

/// A number of the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut impl RngExt) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// `copies` more of every row, its numbers moved by Gaussian noise of `scale` times their column's deviation. Categories,
/// missing values, columns without spread and the target stay. `copies` is 1 to 100, `scale` 0 to 10 (0.05 is usual).
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Matrix, augment::noise};
/// let x = Matrix::from_columns(&[[1.0, 2.0, 3.0]]).unwrap();
/// let data = Dataset::new(x, vec![1.0, 2.0, 3.0], vec![]).unwrap();
/// let more = noise(&Run::new(1), &data, 2, 0.05).unwrap();
/// assert_eq!(more.n_rows(), 9);
/// assert_eq!(more.y()[3..6], [1.0, 2.0, 3.0]);
/// ```
pub fn noise(run: &Run, data: &Dataset, copies: usize, scale: f64) -> Result<Dataset> {
    let mut c = ParamCheck::new();
    c.require((1..=100).contains(&copies), "copies", copies, "1 to 100");
    c.require((0.0..=10.0).contains(&scale), "scale", scale, "0 to 10").finish()?;
    data.need_rows("noise", 1)?;
    let sd = deviations(data);
    let mut rng = run.rng(STREAM);
    let (mut x, mut y, mut w) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..copies {
        run.check()?;
        for (i, row) in data.x().rows().enumerate() {
            x.extend(row.iter().zip(&sd).map(|(v, sd)| {
                let moved = v + scale * sd * normal(&mut rng);
                if *sd > 0.0 && moved.is_finite() { moved } else { *v }
            }));
            y.push(data.y()[i]);
            w.push(weight_of(data, i));
        }
    }
    with_rows(data, x, y, w)
}

/// `n_new` points between two random rows: `λ·a + (1 − λ)·b` of numbers and target, with `λ` from Beta(alpha, alpha).
/// Categories come from the row that has the larger share, and so does a value that one of the two misses. For
/// regression; for classes the target between two is no class, so rows of one class are mixed when `classes` is true.
/// `alpha` is 0.01 to 100 (0.2 is usual: most points lie near one of the two).
pub fn mixup(run: &Run, data: &Dataset, n_new: usize, alpha: f64, classes: bool) -> Result<Dataset> {
    let mut c = ParamCheck::new();
    c.require((0.01..=100.0).contains(&alpha), "alpha", alpha, "0.01 to 100");
    c.require(n_new <= 100_000_000, "n_new", n_new, "0 to 100000000").finish()?;
    data.need_rows("mixup", 2)?;
    let mut rng = run.rng(STREAM + 1);
    let labels = if classes { Some(data.classes("mixup of classes")?) } else { None };
    let members = labels.as_ref().map(|(label, k)| members(label, *k));
    let (mut x, mut y, mut w) = (Vec::new(), Vec::new(), Vec::new());
    for made in 0..n_new {
        if made % 4096 == 0 {
            run.check()?;
        }
        let a = rng.random_range(0..data.n_rows());
        let b = match (&labels, &members) {
            (Some((label, _)), Some(of)) => of[label[a]][rng.random_range(0..of[label[a]].len())],
            _ => rng.random_range(0..data.n_rows()),
        };
        let share = beta(&mut rng, alpha);
        x.extend(between(data, a, b, share));
        y.push(if classes { data.y()[a] } else { share * data.y()[a] + (1.0 - share) * data.y()[b] });
        w.push(share * weight_of(data, a) + (1.0 - share) * weight_of(data, b));
    }
    with_rows(data, x, y, w)
}

/// The point that is `share` of row `a` and the rest of row `b`.
fn between(data: &Dataset, a: usize, b: usize, share: f64) -> Vec<f64> {
    let nearer = if share >= 0.5 { a } else { b };
    (0..data.x().n_cols())
        .map(|j| {
            let (u, v) = (data.x().get(a, j), data.x().get(b, j));
            match data.kinds()[j] {
                ColumnKind::Number if !u.is_nan() && !v.is_nan() => v + share * (u - v),
                _ => data.x().get(nearer, j),
            }
        })
        .collect()
}

/// Beta(a, a) by Jöhnk's way for small `a`, which draws few in vain there, and by gamma numbers else.
fn beta(rng: &mut impl RngExt, a: f64) -> f64 {
    if a <= 1.0 {
        loop {
            // In logarithms, since powers of 1/a underflow.
            let u = (1.0 - rng.random::<f64>()).ln() / a;
            let v = (1.0 - rng.random::<f64>()).ln() / a;
            let top = u.max(v);
            let sum = top + ((u - top).exp() + (v - top).exp()).ln();
            if sum <= 0.0 {
                return (u - sum).exp();
            }
        }
    }
    let (u, v) = (gamma(rng, a), gamma(rng, a));
    u / (u + v)
}

/// Gamma(a) for `a ≥ 1` (Marsaglia and Tsang 2000).
fn gamma(rng: &mut impl RngExt, a: f64) -> f64 {
    let d = a - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let z = normal(rng);
        let v = (1.0 + c * z).powi(3);
        let u = 1.0 - rng.random::<f64>();
        if v > 0.0 && u.ln() < 0.5 * z * z + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// The rows of each class, in order.
fn members(label: &[usize], k: usize) -> Vec<Vec<usize>> {
    let mut of = vec![Vec::new(); k];
    label.iter().enumerate().for_each(|(i, &c)| of[c].push(i));
    of
}

/// Rows each class below the largest is to have.
fn wanted(of: &[Vec<usize>], ratio: f64) -> usize {
    let most = of.iter().map(Vec::len).max().unwrap_or(0);
    (ratio * most as f64).round() as usize
}

/// New rows for every class that has fewer than `ratio` (above 0 to 1) of the largest class's rows, each between a row
/// and one of its `k` (1 to 100) nearest of the same class. Distances are over columns divided by their deviation; a
/// category counts as the median deviation where it differs, and a new row takes the most frequent category of the
/// neighbours (SMOTE-NC). A class of one row is repeated.
///
/// Fails on missing values, which have no distance, and where there are no classes.
pub fn smote(run: &Run, data: &Dataset, k: usize, ratio: f64) -> Result<Dataset> {
    let mut c = ParamCheck::new();
    c.require((1..=100).contains(&k), "k", k, "1 to 100");
    c.require(ratio > 0.0 && ratio <= 1.0, "ratio", ratio, "above 0 to 1").finish()?;
    data.x().check_finite(data.names())?;
    let (label, n_classes) = data.classes("SMOTE")?;
    let of = members(&label, n_classes);
    let goal = wanted(&of, ratio);
    let sd = deviations(data);
    // After scaling every number column has deviation 1, which then is their median too.
    let distance = |a: usize, b: usize| -> f64 {
        let (a, b) = (data.x().row(a), data.x().row(b));
        (0..sd.len())
            .map(|j| match data.kinds()[j] {
                ColumnKind::Category => f64::from(u8::from(a[j] != b[j])),
                ColumnKind::Number if sd[j] > 0.0 => ((a[j] - b[j]) / sd[j]).powi(2),
                ColumnKind::Number => 0.0,
            })
            .sum()
    };
    let mut rng = run.rng(STREAM + 2);
    let (mut x, mut y, mut w) = (Vec::new(), Vec::new(), Vec::new());
    for rows in of.iter().filter(|rows| rows.len() < goal) {
        // New rows start from every row in turn, the order dealt by chance, so that each serves about equally often.
        let mut order = rows.clone();
        order.shuffle(&mut rng);
        let mut neighbours: Vec<Option<Vec<usize>>> = vec![None; order.len()];
        for made in 0..goal - rows.len() {
            run.check()?;
            let at = made % order.len();
            let own = order[at];
            let near = neighbours[at].get_or_insert_with(|| {
                let mut all: Vec<(f64, usize)> =
                    rows.iter().filter(|r| **r != own).map(|&r| (distance(own, r), r)).collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                all.into_iter().take(k).map(|(_, r)| r).collect()
            });
            let other = if near.is_empty() { own } else { near[rng.random_range(0..near.len())] };
            let share: f64 = rng.random();
            let mut row = between(data, own, other, share);
            for j in (0..row.len()).filter(|&j| data.kinds()[j] == ColumnKind::Category && !near.is_empty()) {
                row[j] = most_frequent(near.iter().map(|r| data.x().get(*r, j)).collect());
            }
            x.extend(row);
            y.push(data.y()[own]);
            w.push(weight_of(data, own));
        }
    }
    with_rows(data, x, y, w)
}

/// The most frequent value, the smallest of several.
fn most_frequent(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let mut best = (0, f64::NAN);
    for run in values.chunk_by(|a, b| a == b) {
        if run.len() > best.0 {
            best = (run.len(), run[0]);
        }
    }
    best.1
}

/// Rows of rare classes repeated by chance until each has at least `ratio` (above 0 to 1) of the largest class's rows.
pub fn oversample(run: &Run, data: &Dataset, ratio: f64) -> Result<Dataset> {
    ParamCheck::new().require(ratio > 0.0 && ratio <= 1.0, "ratio", ratio, "above 0 to 1").finish()?;
    no_groups(data)?;
    let (label, k) = data.classes("oversampling")?;
    let of = members(&label, k);
    let goal = wanted(&of, ratio);
    let mut rng = run.rng(STREAM + 3);
    let mut rows: Vec<usize> = (0..data.n_rows()).collect();
    for class in &of {
        rows.extend((class.len()..goal).map(|_| class[rng.random_range(0..class.len())]));
    }
    data.select_rows(&rows)
}

/// Rows of frequent classes left out by chance until none has more than `1 / ratio` times the smallest class's rows
/// (`ratio` above 0 to 1). The rows left keep their order.
pub fn undersample(run: &Run, data: &Dataset, ratio: f64) -> Result<Dataset> {
    ParamCheck::new().require(ratio > 0.0 && ratio <= 1.0, "ratio", ratio, "above 0 to 1").finish()?;
    no_groups(data)?;
    let (label, k) = data.classes("undersampling")?;
    let of = members(&label, k);
    let least = of.iter().map(Vec::len).min().unwrap_or(0);
    let goal = (least as f64 / ratio).round().max(1.0) as usize;
    let mut rng = run.rng(STREAM + 4);
    let mut rows = Vec::new();
    for mut class in of {
        class.shuffle(&mut rng);
        class.truncate(goal);
        rows.extend(class);
    }
    rows.sort_unstable();
    data.select_rows(&rows)
}

/// The data with balanced weights: every class has the same weight in all, and the sum of weights stays. Weights that are
/// there are multiplied.
///
/// ```
/// use tradewind_learn::{Dataset, Matrix, augment::class_weights};
/// let data = Dataset::new(Matrix::zeros(4, 1), vec![0.0, 0.0, 0.0, 1.0], vec![]).unwrap();
/// let balanced = class_weights(&data).unwrap();
/// assert_eq!(balanced.weight().unwrap(), [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0]);
/// ```
pub fn class_weights(data: &Dataset) -> Result<Dataset> {
    let (label, k) = data.classes("class weights")?;
    let weight = data.weights();
    let mut mass = vec![0.0; k];
    label.iter().zip(&weight).for_each(|(c, w)| mass[*c] += w);
    let total: f64 = mass.iter().sum();
    let balanced = label.iter().zip(&weight).map(|(c, w)| w * total / (k as f64 * mass[*c])).collect();
    data.clone().with_weight(balanced)
}
