//! LambdaRank (Burges 2010) as LightGBM has it: pairs within a query, weighted by what swapping them does to NDCG.

use super::objective::{Scores, get};
use rayon::prelude::*;

fn gain(grade: f64) -> f64 {
    grade.exp2() - 1.0
}

fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

fn ideal(y: &[f64], top: usize) -> f64 {
    let mut grades = y.to_vec();
    grades.sort_unstable_by(|a, b| b.total_cmp(a));
    grades.iter().take(top).enumerate().map(|(k, g)| gain(*g) * discount(k)).sum()
}

fn starts(groups: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut at = 0;
    groups
        .iter()
        .map(|n| {
            at += n;
            at - n..at
        })
        .collect()
}

/// Gradient and hessian of every row; pairs count when one of them is among the first `top` places.
pub(super) fn lambdas(y: &[f64], groups: &[usize], scores: &Scores, top: usize) -> Vec<(f64, f64)> {
    let parts: Vec<Vec<(f64, f64)>> = starts(groups)
        .into_par_iter()
        .map(|rows| {
            let y = &y[rows.clone()];
            let s: Vec<f64> = scores[rows].iter().map(get).collect();
            let mut out = vec![(0.0, 0.0); y.len()];
            let best = ideal(y, top);
            if best <= 0.0 {
                return out;
            }
            let mut order: Vec<usize> = (0..y.len()).collect();
            order.sort_by(|a, b| s[*b].total_cmp(&s[*a]).then(a.cmp(b)));
            let spread = s[order[0]] != s[order[order.len() - 1]];
            let mut sum = 0.0;
            for a in 0..order.len().min(top) {
                for b in a + 1..order.len() {
                    let (i, j) = (order[a], order[b]);
                    if y[i] == y[j] {
                        continue;
                    }
                    let (high, low) = if y[i] > y[j] { (i, j) } else { (j, i) };
                    let difference = s[high] - s[low];
                    let mut swap = (gain(y[high]) - gain(y[low])) * (discount(a) - discount(b)).abs() / best;
                    if spread {
                        swap /= 0.01 + difference.abs();
                    }
                    let p = 1.0 / (1.0 + difference.exp());
                    let (lambda, hessian) = (swap * p, swap * p * (1.0 - p));
                    out[low].0 += lambda;
                    out[high].0 -= lambda;
                    out[low].1 += hessian;
                    out[high].1 += hessian;
                    sum += 2.0 * lambda;
                }
            }
            if sum > 0.0 {
                let scale = (1.0 + sum).log2() / sum;
                out.iter_mut().for_each(|(g, h)| (*g, *h) = (*g * scale, *h * scale));
            }
            out
        })
        .collect();
    parts.into_iter().flatten().collect()
}

/// The mean over queries of the discounted gain of the first `top`, against the best order; 1 for a query without
/// relevant rows.
pub(super) fn ndcg(y: &[f64], groups: &[usize], scores: &[f64], top: usize) -> f64 {
    let each = starts(groups).into_iter().map(|rows| {
        let (y, s) = (&y[rows.clone()], &scores[rows]);
        let best = ideal(y, top);
        if best <= 0.0 {
            return 1.0;
        }
        let mut order: Vec<usize> = (0..y.len()).collect();
        order.sort_by(|a, b| s[*b].total_cmp(&s[*a]).then(a.cmp(b)));
        order.iter().take(top).enumerate().map(|(k, i)| gain(y[*i]) * discount(k)).sum::<f64>() / best
    });
    each.sum::<f64>() / groups.len().max(1) as f64
}
