//! The search for the weights of members.

use crate::evaluate::discount;
use rayon::prelude::*;

/// One user held back.
pub(crate) struct Case {
    /// Candidate after candidate, one score a member.
    pub(crate) scores: Vec<f32>,
    /// Which candidates were held back.
    pub(crate) relevant: Vec<bool>,
    /// How many were held back, candidates or not.
    pub(crate) n_relevant: usize,
}

/// Where the measure is taken.
const TOP: usize = 10;
/// Rounds over all members at most.
const ROUNDS: usize = 4;
/// Sizes that are tried for a weight, relative to the largest.
const SIZES: [f32; 12] = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.65, 1.0, 1.5, 2.2];
/// What a change must bring to be taken, so that chance brings no member in.
const GAIN_MIN: f64 = 2e-4;

/// The mean NDCG of the fused order.
pub(crate) fn ndcg(cases: &[Case], weights: &[f32]) -> f64 {
    let m = weights.len();
    let sums: Vec<f64> = cases
        .par_chunks(64)
        .map(|cases| {
            let mut fused = Vec::new();
            let mut sum = 0.0;
            for case in cases {
                fused.clear();
                fused.extend(
                    case.scores.chunks_exact(m).map(|s| s.iter().zip(weights).map(|(s, w)| s * w).sum::<f32>()),
                );
                let best: f64 = (0..case.n_relevant.min(TOP)).map(discount).sum();
                let order = crate::top::best(&fused, TOP, f32::NEG_INFINITY);
                let gain = order.iter().enumerate().filter(|(_, e)| case.relevant[e.0 as usize]);
                sum += gain.map(|(p, _)| discount(p)).sum::<f64>() / best.max(f64::MIN_POSITIVE);
            }
            sum
        })
        .collect();
    sums.iter().sum::<f64>() / cases.len().max(1) as f64
}

/// From the best member alone, each weight in turn is tried at all sizes, while that pays. The weights and the NDCG
/// they reach.
pub(crate) fn search(cases: &[Case], m: usize) -> (Vec<f32>, f64) {
    let alone = |k: usize| (0..m).map(|j| if j == k { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
    let mut best = (alone(0), ndcg(cases, &alone(0)));
    for k in 1..m {
        let value = ndcg(cases, &alone(k));
        if value > best.1 {
            best = (alone(k), value);
        }
    }
    for _ in 0..ROUNDS {
        let before = best.1;
        for k in 0..m {
            let largest = best.0.iter().copied().fold(0.0, f32::max);
            let kept = best.0.clone();
            for size in SIZES {
                let mut tried = kept.clone();
                tried[k] = size * largest;
                if tried.iter().all(|w| *w == 0.0) {
                    continue;
                }
                let value = ndcg(cases, &tried);
                let simpler = tried[k] == 0.0 && value >= best.1;
                if value > best.1 + GAIN_MIN || simpler {
                    best = (tried, value);
                }
            }
        }
        if best.1 <= before + GAIN_MIN {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_knows_gets_the_weight() {
        // Member 1 tells the truth; member 0 tells the opposite; member 2 tells it of half the users.
        let cases: Vec<Case> = (0..50)
            .map(|u| {
                let truth = u % 30;
                let scores = (0..30).flat_map(|i| {
                    let hit = if i == truth { 1.0 } else { 0.0 };
                    [-hit, hit * 0.5 + (i % 3) as f32 * 0.1, if u % 2 == 0 { hit } else { 0.0 }]
                });
                Case { scores: scores.collect(), relevant: (0..30).map(|i| i == truth).collect(), n_relevant: 1 }
            })
            .collect();
        let (weights, reached) = search(&cases, 3);
        assert_eq!((weights[0], reached), (0.0, 1.0));
        assert!(weights[1] > 0.0);
    }
}
