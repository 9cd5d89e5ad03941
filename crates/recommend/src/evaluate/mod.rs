//! How good recommendations are: what was held back is asked for, over all items.
//!
//! ```text
//! Interactions ─split→ training part + Held (per user the items held back) ─fit, evaluate→ Evaluation
//! ```
//!
//! Every user held back counts; lists are ranked among all items (no sampled negatives). With `h_p` = 1 where the item
//! at place `p` (from 1) was held back, and `T` the items held back of a user:
//!
//! | measure | for one user |
//! |---|---|
//! | `ndcg` | `Σ_{p≤k} h_p / log₂(p + 1)`, over the same sum for the best order of `min(k, |T|)` hits |
//! | `precision`, `recall` | hits among the first `k`, over `k` and over `|T|` |
//! | `hit_rate` | 1 with a hit among the first `k` |
//! | `mrr` | 1 / place of the first hit among the first `k` |
//! | `map` | `Σ_{p≤k} h_p × precision at p`, over `min(k, |T|)` |
//!
//! each told as the mean over users with a confidence interval of 95 % (normal approximation over users). `coverage` is
//! the share of items that some list shows, `novelty_bits` the mean of `−log₂(share of the training events)` over what
//! is shown. [`by_segment`] tells all of it for groups of users.
//!
//! | file | tells |
//! |---|---|
//! | `paired` | whether one method is better than another |
//! | `beyond` | diversity, calibration, popularity bias, inequality of exposure |
//! | `ratings` | errors of predicted ratings |
//! | `off_policy` | what another policy would have earned, from a log with propensities |

mod beyond;
mod off_policy;
mod paired;
mod ratings;
mod splits;

pub use beyond::{PopularityLift, calibration, diversity, gini, popularity_lift};
pub use off_policy::{Logged, OffPolicy, off_policy};
pub use paired::{Paired, paired};
pub use ratings::{Rating, RatingErrors, ratings};
pub use splits::{Held, Split, by_time, leave_last_out, random};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::{Ask, Error, FittedRecommender, ParamCheck, Ranking, Result, Run};

/// A mean over users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the interval of 95 %.
    pub half_width: f64,
}

impl Estimate {
    /// Of one value a user. None gives 0.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        if values.is_empty() {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
        Self { mean, half_width: 1.96 * (variance / n).sqrt() }
    }
}

/// All measures at one length of the lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct At {
    /// The length.
    pub k: usize,
    /// Normalised discounted cumulative gain.
    pub ndcg: Estimate,
    /// Hits over length.
    pub precision: Estimate,
    /// Hits over what was held back.
    pub recall: Estimate,
    /// Users with a hit.
    pub hit_rate: Estimate,
    /// Reciprocal rank.
    pub mrr: Estimate,
    /// Average precision.
    pub map: Estimate,
    /// Share of the items that some list shows.
    pub coverage: f64,
    /// Mean surprise of what is shown.
    pub novelty_bits: f64,
}

/// The answer of [`evaluate`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Users asked for.
    pub n_users: usize,
    /// One entry for each length.
    pub at: Vec<At>,
    /// NDCG of every user at the first length, in the order of `held`: for paired tests.
    #[serde(skip)]
    pub ndcg_by_user: Vec<f64>,
}

/// Asks a fitted recommender for every user held back and compares. `ask.n` does not matter: lists are as long as the
/// longest of `lengths` needs.
pub fn evaluate(
    run: &Run,
    fitted: &dyn FittedRecommender,
    held: &[Held],
    lengths: &[usize],
    ask: &Ask<'_>,
) -> Result<Evaluation> {
    let (ranking, truth) = asked(run, fitted, held, lengths, ask)?;
    Ok(measure(&ranking, &truth, lengths, &shares(fitted.known())))
}

/// The same for each group of users: `labels` has one a user held back.
pub fn by_segment(
    run: &Run,
    fitted: &dyn FittedRecommender,
    held: &[Held],
    labels: &[&str],
    lengths: &[usize],
    ask: &Ask<'_>,
) -> Result<BTreeMap<String, Evaluation>> {
    if labels.len() != held.len() {
        return Err(Error::Invalid(format!("{} labels for {} users held back", labels.len(), held.len())));
    }
    let (ranking, truth) = asked(run, fitted, held, lengths, ask)?;
    let shares = shares(fitted.known());
    let mut groups: BTreeMap<&str, (Ranking, Vec<Vec<u32>>)> = BTreeMap::new();
    for ((label, list), truth) in labels.iter().zip(ranking.iter()).zip(truth) {
        let (lists, truths) = groups.entry(label).or_insert_with(|| (Ranking::new(), Vec::new()));
        let scored: Vec<(u32, f32)> = list.items.iter().copied().zip(list.scores.iter().copied()).collect();
        lists.push(&scored, list.by_model);
        truths.push(truth);
    }
    let told = |(lists, truths): (Ranking, Vec<Vec<u32>>)| measure(&lists, &truths, lengths, &shares);
    Ok(groups.into_iter().map(|(label, group)| (label.to_owned(), told(group))).collect())
}

/// The lists of all users held back, and the positions of what was held back.
fn asked(
    run: &Run,
    fitted: &dyn FittedRecommender,
    held: &[Held],
    lengths: &[usize],
    ask: &Ask<'_>,
) -> Result<(Ranking, Vec<Vec<u32>>)> {
    let mut check = ParamCheck::new();
    check
        .require(!lengths.is_empty() && lengths.iter().all(|k| *k > 0), "lengths", "0", "1 and more")
        .finish()?;
    let known = fitted.known();
    let users: Vec<&str> = held.iter().map(|h| h.user.as_str()).collect();
    let n = lengths.iter().copied().max().unwrap_or(1);
    let ranking = fitted.recommend(run, &users, &Ask { n, ..*ask })?;
    let truth = held
        .iter()
        .map(|h| {
            let mut found: Vec<u32> =
                h.items.iter().map(|i| known.items().find(i).unwrap_or(u32::MAX)).collect();
            found.sort_unstable();
            found
        })
        .collect();
    Ok((ranking, truth))
}

/// The share of all events that each item has.
pub fn shares(known: &tradewind_core::Interactions) -> Vec<f64> {
    let mut counts = vec![0.0; known.items().len()];
    for history in known.histories() {
        history.items.iter().for_each(|i| counts[*i as usize] += 1.0);
    }
    let total = counts.iter().sum::<f64>().max(1.0);
    // An item that nobody had counts as one event, as it would if it were seen once.
    counts.into_iter().map(|c: f64| c.max(1.0) / total).collect()
}

/// Compares lists with the positions held back (sorted, one entry for each item; an unknown item is `u32::MAX`).
pub fn measure(ranking: &Ranking, held: &[Vec<u32>], lengths: &[usize], shares: &[f64]) -> Evaluation {
    let mut out = Evaluation { n_users: held.len(), ..Evaluation::default() };
    for &k in lengths {
        let mut values: [Vec<f64>; 6] = Default::default();
        let mut shown = vec![false; shares.len()];
        let (mut bits, mut n_shown) = (0.0, 0_u64);
        for (list, truth) in ranking.iter().zip(held) {
            let list = &list.items[..list.items.len().min(k)];
            let of_user = one_user(list, truth, k);
            values.iter_mut().zip(of_user).for_each(|(all, v)| all.push(v));
            for item in list {
                shown[*item as usize] = true;
                bits -= shares[*item as usize].log2();
                n_shown += 1;
            }
        }
        if out.ndcg_by_user.is_empty() {
            out.ndcg_by_user.clone_from(&values[0]);
        }
        let mean = |m: usize| Estimate::of(&values[m]);
        out.at.push(At {
            k,
            ndcg: mean(0),
            precision: mean(1),
            recall: mean(2),
            hit_rate: mean(3),
            mrr: mean(4),
            map: mean(5),
            coverage: shown.iter().filter(|s| **s).count() as f64 / shown.len().max(1) as f64,
            novelty_bits: bits / n_shown.max(1) as f64,
        });
    }
    out
}

/// The discount of a place, from 0.
pub(crate) fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// NDCG, precision, recall, hit rate, reciprocal rank and average precision of one list.
fn one_user(list: &[u32], truth: &[u32], k: usize) -> [f64; 6] {
    let (mut hits, mut gain, mut first, mut precisions) = (0.0, 0.0, 0.0, 0.0);
    for (p, item) in list.iter().enumerate() {
        if truth.binary_search(item).is_ok() {
            hits += 1.0;
            gain += discount(p);
            precisions += hits / (p + 1) as f64;
            if first == 0.0 {
                first = 1.0 / (p + 1) as f64;
            }
        }
    }
    let possible = truth.len().min(k);
    if possible == 0 {
        return [0.0; 6];
    }
    let best: f64 = (0..possible).map(discount).sum();
    let hit = if hits > 0.0 { 1.0 } else { 0.0 };
    [gain / best, hits / k as f64, hits / truth.len() as f64, hit, first, precisions / possible as f64]
}
