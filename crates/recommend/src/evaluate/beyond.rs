//! What accuracy does not tell: how mixed lists are, whether they mirror a taste, and whom they make known.
//!
//! | measure | formula |
//! |---|---|
//! | [`diversity`] | mean over the pairs of a list of `1 − similarity` (Ziegler et al., WWW 2005) |
//! | [`calibration`] | `Σ_g p(g) ln(p(g) / q̃(g))` of a user: `p` the categories of the history, `q` those of the list, `q̃ = 0.99 q + 0.01 p` (Steck, *Calibrated recommendations*, RecSys 2018); 0 is the best |
//! | [`popularity_lift`] | mean share of events of what is shown, over that of what histories hold, less 1 (Abdollahpouri et al. 2019); above 0 lists are more popular than users' own choices |
//! | [`gini`] | inequality of how often items are shown: 0 all alike, 1 one item alone |

use super::Estimate;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, History, Ranking, Result, SparseRows};

/// Mean distance of two items of a list, over lists of 2 and more; `similarity` is 1 for equal items.
pub fn diversity(ranking: &Ranking, k: usize, similarity: impl Fn(u32, u32) -> f64) -> Estimate {
    let mut values = Vec::with_capacity(ranking.len());
    for list in ranking.iter() {
        let list = &list.items[..list.items.len().min(k)];
        if list.len() < 2 {
            continue;
        }
        let mut sum = 0.0;
        for (p, i) in list.iter().enumerate() {
            sum += list[..p].iter().map(|j| 1.0 - similarity(*i, *j)).sum::<f64>();
        }
        values.push(sum / (list.len() * (list.len() - 1) / 2) as f64);
    }
    Estimate::of(&values)
}

/// How much of the history's categories is mixed in, so that a category that a list lacks costs much, not endlessly.
const MIXED_IN: f64 = 0.01;

/// Divergence of the categories of lists from those of the histories, over users with both. `categories` are items ×
/// categories; an item of several categories shares its weight among them by the values.
pub fn calibration(
    ranking: &Ranking,
    k: usize,
    histories: &[History<'_>],
    categories: &SparseRows,
) -> Result<Estimate> {
    same_users(ranking, histories)?;
    let shares = |items: &mut dyn Iterator<Item = (u32, f64)>| -> Result<Vec<f64>> {
        let mut sums = vec![0.0; categories.n_columns()];
        for (item, weight) in items {
            if item as usize >= categories.n_rows() {
                return Err(Error::Invalid(format!(
                    "item {item} has no row among the categories of {} items",
                    categories.n_rows()
                )));
            }
            let (of_item, values) = categories.row(item as usize);
            let total: f64 = values.iter().map(|v| f64::from(*v)).sum();
            if total > 0.0 {
                of_item
                    .iter()
                    .zip(values)
                    .for_each(|(g, v)| sums[*g as usize] += weight * f64::from(*v) / total);
            }
        }
        let total: f64 = sums.iter().sum();
        if total > 0.0 {
            sums.iter_mut().for_each(|s| *s /= total);
        }
        Ok(sums)
    };
    let mut values = Vec::with_capacity(ranking.len());
    for (list, history) in ranking.iter().zip(histories) {
        let weighed = history.items.iter().zip(history.weights).map(|(i, w)| (*i, f64::from(w.max(0.0))));
        let p = shares(&mut { weighed })?;
        let q = shares(&mut list.items.iter().take(k).map(|i| (*i, 1.0)))?;
        if p.iter().sum::<f64>() > 0.0 && q.iter().sum::<f64>() > 0.0 {
            let of = |(p, q): (&f64, &f64)| p * (p / ((1.0 - MIXED_IN) * q + MIXED_IN * p)).ln();
            values.push(p.iter().zip(&q).filter(|e| *e.0 > 0.0).map(of).sum());
        }
    }
    Ok(Estimate::of(&values))
}

/// How popular lists are beside the histories of those who get them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PopularityLift {
    /// Mean, over users, of the mean share of events of what they are shown.
    pub of_lists: f64,
    /// The same of what their histories hold.
    pub of_histories: f64,
    /// The first over the second, less 1; 0 where histories are empty.
    pub lift: f64,
}

/// Popularity of lists beside that of histories, over users with both; `shares` has the share of all events of every
/// item.
pub fn popularity_lift(
    ranking: &Ranking,
    k: usize,
    histories: &[History<'_>],
    shares: &[f64],
) -> Result<PopularityLift> {
    same_users(ranking, histories)?;
    let mean = |items: &[u32]| -> Result<f64> {
        let mut sum = 0.0;
        for item in items {
            sum += shares.get(*item as usize).ok_or_else(|| {
                Error::Invalid(format!("item {item} has no share among those of {} items", shares.len()))
            })?;
        }
        Ok(sum / items.len() as f64)
    };
    let (mut of_lists, mut of_histories, mut n) = (0.0, 0.0, 0.0_f64);
    for (list, history) in ranking.iter().zip(histories) {
        let list = &list.items[..list.items.len().min(k)];
        if !list.is_empty() && !history.is_empty() {
            of_lists += mean(list)?;
            of_histories += mean(history.items)?;
            n += 1.0;
        }
    }
    let (of_lists, of_histories) = (of_lists / n.max(1.0), of_histories / n.max(1.0));
    let lift = if of_histories > 0.0 { of_lists / of_histories - 1.0 } else { 0.0 };
    Ok(PopularityLift { of_lists, of_histories, lift })
}

/// Inequality of exposure: `Σ_r (2 r − n − 1) x_r / (n Σ x)` over the `n_items` items in ascending order of how often
/// they are shown, items never shown included.
pub fn gini(ranking: &Ranking, k: usize, n_items: usize) -> f64 {
    let mut shown = vec![0_u64; n_items];
    for list in ranking.iter() {
        list.items.iter().take(k).filter(|i| (**i as usize) < n_items).for_each(|i| shown[*i as usize] += 1);
    }
    shown.sort_unstable();
    let total: u64 = shown.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let n = n_items as f64;
    let sum: f64 = shown.iter().enumerate().map(|(r, x)| (2.0 * (r + 1) as f64 - n - 1.0) * *x as f64).sum();
    sum / (n * total as f64)
}

fn same_users(ranking: &Ranking, histories: &[History<'_>]) -> Result<()> {
    match ranking.len() == histories.len() {
        true => Ok(()),
        false => Err(Error::Invalid(format!("{} lists for {} histories", ranking.len(), histories.len()))),
    }
}
