//! Categories as numbers: one-hot, codes, hashed, by the target.

use crate::crossval::KFold;
use crate::frame::Column;
use crate::matrix::ColumnKind;
use crate::prepare::fitted::{Part, Target};
use crate::prepare::text::{place, stable_hash};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tradewind_core::{Result, Run};

/// The categories with how many training rows each has, in the order of their names.
fn counted(column: &Column) -> Vec<(String, usize)> {
    let (codes, names) = column.categories();
    let mut counts = vec![0; names.len()];
    codes.iter().flatten().for_each(|c| counts[*c as usize] += 1);
    names.into_iter().zip(counts).collect()
}

/// The most frequent `limit` categories, again in the order of their names.
fn frequent(mut all: Vec<(String, usize)>, limit: usize) -> Vec<String> {
    if all.len() > limit {
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(limit);
        all.sort();
    }
    all.into_iter().map(|(name, _)| name).collect()
}

/// For each category of `column` its place among `known`, and each row's category.
fn places(column: &Column, known: &[String]) -> (Vec<Option<u32>>, Vec<Option<usize>>, Vec<String>) {
    let (codes, names) = column.categories();
    let known: HashMap<&str, usize> = known.iter().enumerate().map(|(at, n)| (n.as_str(), at)).collect();
    let of_name = names.iter().map(|n| known.get(n.as_str()).copied()).collect();
    (codes, of_name, names)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FittedOneHot {
    pub(super) words: Vec<String>,
    /// Categories that were seen and share the last column, in the order of their names.
    rare: Vec<String>,
}

impl FittedOneHot {
    pub(super) fn fit(column: &Column, limit: usize, rare: usize) -> Self {
        let all = counted(column);
        let fits = all.len() <= limit && all.iter().all(|(_, n)| *n >= rare);
        let own: Vec<(String, usize)> = all.iter().filter(|(_, n)| *n >= rare).cloned().collect();
        let words = frequent(own, if fits { limit } else { limit - 1 });
        let rest = all.into_iter().map(|(n, _)| n).filter(|n| words.binary_search(n).is_err()).collect();
        Self { words, rare: rest }
    }

    pub(super) fn apply(&self, name: &str, column: &Column) -> Vec<Part> {
        let (codes, of_name, names) = places(column, &self.words);
        let n = codes.len();
        let width = self.words.len() + usize::from(!self.rare.is_empty());
        let mut values = vec![vec![0.0; n]; width];
        let column_of: Vec<Option<usize>> = names
            .iter()
            .zip(of_name)
            .map(|(name, own)| own.or_else(|| self.rare.binary_search(name).ok().map(|_| self.words.len())))
            .collect();
        for (i, c) in codes.iter().enumerate() {
            if let Some(j) = c.and_then(|c| column_of[c as usize]) {
                values[j][i] = 1.0;
            }
        }
        values.into_iter().zip(self.titles()).map(|(v, t)| Part::number(column_of_word(name, t), v)).collect()
    }

    /// What each column stands for; the last only where words share one.
    pub(super) fn titles(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str).chain((!self.rare.is_empty()).then_some("(rare)"))
    }
}

/// The name of the one-hot column of a word.
pub(super) fn column_of_word(name: &str, word: &str) -> String {
    format!("{name}={word}")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FittedCodes {
    pub(super) words: Vec<String>,
}

impl FittedCodes {
    pub(super) fn fit(column: &Column, limit: usize) -> Self {
        Self { words: frequent(counted(column), limit) }
    }

    pub(super) fn apply(&self, name: &str, column: &Column) -> Vec<Part> {
        let (codes, of_name, _) = places(column, &self.words);
        let value = |c: &Option<u32>| c.and_then(|c| of_name[c as usize]).map_or(f64::NAN, |v| v as f64);
        vec![Part {
            name: name.to_owned(),
            kind: ColumnKind::Category,
            values: codes.iter().map(value).collect(),
        }]
    }
}

pub(super) fn hashed(name: &str, column: &Column, columns: usize) -> Vec<Part> {
    let (codes, names) = column.categories();
    let of_name: Vec<(usize, f64)> = names.iter().map(|n| place(stable_hash(n), columns)).collect();
    let mut values = vec![vec![0.0; codes.len()]; columns];
    for (i, c) in codes.iter().enumerate() {
        if let Some(c) = c {
            let (j, sign) = of_name[*c as usize];
            values[j][i] = sign;
        }
    }
    values.into_iter().enumerate().map(|(j, v)| Part::number(format!("{name}#{j}"), v)).collect()
}

/// The means of one output: over all rows, of missing, and of each category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Means {
    all: f64,
    missing: f64,
    of_word: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FittedTarget {
    words: Vec<String>,
    /// One per output: one of a number or two classes, one per class of several.
    outputs: Vec<Means>,
}

/// The means of `y` over `rows`, drawn to the mean of all.
fn means(codes: &[Option<u32>], n_words: usize, y: &[f64], rows: &[usize], smoothing: f64) -> Means {
    // The last place is that of missing values.
    let (mut sum, mut n) = (vec![0.0; n_words + 1], vec![0.0; n_words + 1]);
    let mut total = 0.0;
    for &i in rows {
        let c = codes[i].map_or(n_words, |c| c as usize);
        sum[c] += y[i];
        n[c] += 1.0;
        total += y[i];
    }
    let all = total / rows.len().max(1) as f64;
    let drawn: Vec<f64> = sum
        .iter()
        .zip(&n)
        .map(|(s, n)| if *n > 0.0 { (s + smoothing * all) / (n + smoothing) } else { all })
        .collect();
    Means { all, missing: drawn[n_words], of_word: drawn[..n_words].to_vec() }
}

impl FittedTarget {
    /// Learns from all rows; gives with it the values of the training rows, each from the other folds.
    ///
    /// The folds are dealt without a look at the target: dealt by class, a row's own target could move it to another
    /// fold and so show in its value.
    pub(super) fn fit(
        run: &Run,
        name: &str,
        column: &Column,
        target: Target<'_>,
        smoothing: f64,
        n_folds: usize,
    ) -> Result<(Self, Vec<Part>)> {
        let (codes, words) = column.categories();
        let n = codes.len();
        let folds = KFold { n_folds: n_folds.min(n), shuffle: true }.split(run, n)?;
        let rows: Vec<usize> = (0..n).collect();
        let (mut outputs, mut parts) = (Vec::new(), Vec::new());
        for (title, y) in target.outputs(name)? {
            outputs.push(means(&codes, words.len(), &y, &rows, smoothing));
            let mut values = vec![0.0; n];
            for fold in &folds {
                let others = means(&codes, words.len(), &y, &fold.train, smoothing);
                for &i in &fold.test {
                    values[i] = codes[i].map_or(others.missing, |c| others.of_word[c as usize]);
                }
            }
            parts.push(Part::number(title, values));
        }
        Ok((Self { words, outputs }, parts))
    }

    pub(super) fn apply(&self, name: &str, column: &Column) -> Vec<Part> {
        let (codes, of_name, _) = places(column, &self.words);
        let several = self.outputs.len() > 1;
        let part = |(c, m): (usize, &Means)| {
            let value = |code: &Option<u32>| match code {
                None => m.missing,
                Some(code) => of_name[*code as usize].map_or(m.all, |at| m.of_word[at]),
            };
            let title = if several { format!("{name}_target_{c}") } else { format!("{name}_target") };
            Part::number(title, codes.iter().map(value).collect())
        };
        self.outputs.iter().enumerate().map(part).collect()
    }
}
