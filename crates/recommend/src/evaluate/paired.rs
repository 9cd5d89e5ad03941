//! Whether one method is better than another, by the same users' values of both.
//!
//! With the differences `d_u = a_u − b_u` of `n` users: the t test (`t = mean d / (s / √n)` with `n − 1` degrees of
//! freedom), and the bootstrap, which draws users again and again (Efron & Tibshirani, *An introduction to the
//! bootstrap*, 1993; for rankings, Sakai, *Evaluating evaluation metrics based on the bootstrap*, SIGIR 2006). Users are
//! drawn as pairs, so what makes one user harder than another for both methods falls out.

use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result, Run};
use tradewind_learn::student::two_sided_p;

/// How two methods differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Users.
    pub n: usize,
    /// Mean of the first less mean of the second.
    pub difference: f64,
    /// The interval of 95 % of the t test.
    pub interval: (f64, f64),
    /// The chance of a difference as large if there were none, two-sided, by the t test; 1 where no user differs.
    pub p_value: f64,
    /// The interval of 95 % of the bootstrap (percentiles).
    pub bootstrap_interval: (f64, f64),
    /// The same chance by the bootstrap of differences less their mean.
    pub bootstrap_p_value: f64,
    /// Share of users for whom the first is better.
    pub wins: f64,
    /// Share of users for whom the second is better.
    pub losses: f64,
}

/// Draws of all users.
const DRAWS_MAX: usize = 1_000_000;

/// Compares two methods by their values of the same users, in the same order, as
/// [`Evaluation::ndcg_by_user`](super::Evaluation::ndcg_by_user). `draws` of the bootstrap, 1 to 1000000.
pub fn paired(run: &Run, a: &[f64], b: &[f64], draws: usize) -> Result<Paired> {
    ParamCheck::new().require((1..=DRAWS_MAX).contains(&draws), "draws", draws, "1 to 1000000").finish()?;
    if a.len() != b.len() {
        return Err(Error::Invalid(format!(
            "{} users of one method cannot be compared with {} of another: ask both for the same users",
            a.len(),
            b.len()
        )));
    }
    if a.len() < 2 {
        return Err(Error::Invalid(format!(
            "two methods are compared by 2 and more users, not by {}",
            a.len()
        )));
    }
    let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    if let Some(i) = d.iter().position(|d| !d.is_finite()) {
        return Err(Error::Invalid(format!("user {}: {} and {} are no finite numbers", i + 1, a[i], b[i])));
    }
    let n = d.len() as f64;
    let difference = d.iter().sum::<f64>() / n;
    let variance = d.iter().map(|d| (d - difference).powi(2)).sum::<f64>() / (n - 1.0);
    let error = (variance / n).sqrt();
    let half = error * t_of_95_percent(n - 1.0);
    let p_value = match (error > 0.0, difference == 0.0) {
        (true, _) => two_sided_p(difference / error, n - 1.0),
        (false, true) => 1.0,
        (false, false) => 0.0,
    };
    let draw = |draw: usize| {
        run.check()?;
        let mut rng = run.rng(BOOTSTRAP.wrapping_add(draw as u64));
        Ok((0..d.len()).map(|_| d[rng.random_range(0..d.len())]).sum::<f64>() / n)
    };
    let mut means = run.install(|| (0..draws).into_par_iter().map(draw).collect::<Result<Vec<f64>>>())?;
    means.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| means[((draws as f64 * share) as usize).min(draws - 1)];
    // Under no difference the draws scatter about 0 as they now do about the mean.
    let beyond = means.iter().filter(|m| (*m - difference).abs() >= difference.abs()).count();
    let share = |of: &dyn Fn(f64) -> bool| d.iter().filter(|d| of(**d)).count() as f64 / n;
    Ok(Paired {
        n: d.len(),
        difference,
        interval: (difference - half, difference + half),
        p_value,
        bootstrap_interval: (at(0.025), at(0.975)),
        bootstrap_p_value: (beyond + 1) as f64 / (draws + 1) as f64,
        wins: share(&|d| d > 0.0),
        losses: share(&|d| d < 0.0),
    })
}

/// The random stream of draw 0; draw `k` has the stream `k` further on.
const BOOTSTRAP: u64 = 0x626f_6f74_0000_0000;

/// The `t` beyond which 5 % lie, on both sides together, by halving.
fn t_of_95_percent(df: f64) -> f64 {
    let (mut low, mut high) = (1.9, 13.0);
    for _ in 0..60 {
        let mid = (low + high) / 2.0;
        if two_sided_p(mid, df) > 0.05 { low = mid } else { high = mid }
    }
    (low + high) / 2.0
}
