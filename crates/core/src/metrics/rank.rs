//! How good an order is, query by query.
//!
//! Rows of one query (a search, a user, a day) stand together; `sizes` tells how many rows each query has. The grade of
//! a row is its relevance: 0 is irrelevant, higher is better. Higher scores come first.
//!
//! | function | for one query | range, best |
//! |---|---|---|
//! | [`ndcg`] | `DCG / best DCG`, `DCG = Σ (2^grade − 1) / log₂(position + 1)` over the first `k` | 0 to 1, 1 |
//! | [`mean_average_precision`] | mean precision at the relevant places among the first `k` | 0 to 1, 1 |
//! | [`mrr`] | `1 / place of the first relevant row` | 0 to 1, 1 |
//! | [`hit_rate`] | 1 when a relevant row is among the first `k` | 0 to 1, 1 |
//! | [`precision`], [`recall`] | relevant rows among the first `k`, over `k` and over all relevant | 0 to 1, 1 |
//!
//! Each is the mean over the queries, weighted where `weight` (one per query) is given. A query without a relevant row
//! has no right order and does not count; when no query counts, the answer is NaN. Equal scores must not profit from
//! the order in which rows happen to stand: NDCG gives tied rows their mean gain (as scikit-learn), the others put the
//! irrelevant rows of a tie first.

/// Averages `of(grades in order of score, …)` over the queries that count.
fn over_queries(
    grade: &[f64],
    score: &[f64],
    sizes: &[usize],
    weight: Option<&[f64]>,
    of: impl Fn(&[f64], &[f64]) -> f64,
) -> f64 {
    let (mut at, mut sum, mut total) = (0, 0.0, 0.0);
    for (q, size) in sizes.iter().enumerate() {
        let rows = at..at + size;
        at += size;
        let (Some(grade), Some(score)) = (grade.get(rows.clone()), score.get(rows)) else { return f64::NAN };
        let w = weight.map_or(1.0, |w| w[q]);
        if w > 0.0 && grade.iter().any(|g| *g > 0.0) {
            sum += w * of(grade, score);
            total += w;
        }
    }
    if total > 0.0 { sum / total } else { f64::NAN }
}

/// The grades in the order of falling score; of equal scores the lower grade first.
fn ordered(grade: &[f64], score: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..grade.len()).collect();
    order.sort_by(|&a, &b| score[b].total_cmp(&score[a]).then(grade[a].total_cmp(&grade[b])));
    order.into_iter().map(|i| grade[i]).collect()
}

fn gain(grade: f64) -> f64 {
    grade.exp2() - 1.0
}

fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// Normalised discounted cumulative gain among the first `k` (Järvelin and Kekäläinen 2002), with the gain
/// `2^grade − 1` that LambdaRank learns by.
///
/// ```
/// use tradewind_core::metrics::rank::ndcg;
/// assert_eq!(ndcg(&[2.0, 0.0, 1.0], &[0.9, 0.1, 0.5], &[3], 10, None), 1.0);
/// ```
pub fn ndcg(grade: &[f64], score: &[f64], sizes: &[usize], k: usize, weight: Option<&[f64]>) -> f64 {
    over_queries(grade, score, sizes, weight, |grade, score| {
        let mut order: Vec<usize> = (0..grade.len()).collect();
        order.sort_by(|&a, &b| score[b].total_cmp(&score[a]));
        let (mut at, mut dcg) = (0, 0.0);
        while at < order.len() && at < k {
            let tied = order[at..].iter().take_while(|i| score[**i] == score[order[at]]).count().max(1);
            let mean = order[at..at + tied].iter().map(|i| gain(grade[*i])).sum::<f64>() / tied as f64;
            dcg += mean * (at..(at + tied).min(k)).map(discount).sum::<f64>();
            at += tied;
        }
        let mut best = grade.to_vec();
        best.sort_by(|a, b| b.total_cmp(a));
        dcg / best.iter().take(k).enumerate().map(|(place, g)| gain(*g) * discount(place)).sum::<f64>()
    })
}

/// Mean average precision among the first `k`: for each query the sum of the precision at every relevant place, over
/// the number of relevant rows that could stand there.
pub fn mean_average_precision(
    grade: &[f64],
    score: &[f64],
    sizes: &[usize],
    k: usize,
    weight: Option<&[f64]>,
) -> f64 {
    over_queries(grade, score, sizes, weight, |grade, score| {
        let (mut found, mut sum) = (0.0, 0.0);
        for (place, _) in ordered(grade, score).iter().take(k).enumerate().filter(|(_, g)| **g > 0.0) {
            found += 1.0;
            sum += found / (place as f64 + 1.0);
        }
        sum / relevant(grade).min(k.max(1) as f64)
    })
}

/// Mean reciprocal rank of the first relevant row.
pub fn mrr(grade: &[f64], score: &[f64], sizes: &[usize], weight: Option<&[f64]>) -> f64 {
    over_queries(grade, score, sizes, weight, |grade, score| {
        ordered(grade, score).iter().position(|g| *g > 0.0).map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
    })
}

/// The share of queries with a relevant row among the first `k`.
pub fn hit_rate(grade: &[f64], score: &[f64], sizes: &[usize], k: usize, weight: Option<&[f64]>) -> f64 {
    over_queries(grade, score, sizes, weight, |grade, score| f64::from(found(grade, score, k) > 0.0))
}

/// Relevant rows among the first `k`, over `k`.
pub fn precision(grade: &[f64], score: &[f64], sizes: &[usize], k: usize, weight: Option<&[f64]>) -> f64 {
    over_queries(grade, score, sizes, weight, |grade, score| found(grade, score, k) / k.max(1) as f64)
}

/// Relevant rows among the first `k`, over all relevant rows.
pub fn recall(grade: &[f64], score: &[f64], sizes: &[usize], k: usize, weight: Option<&[f64]>) -> f64 {
    over_queries(grade, score, sizes, weight, |grade, score| found(grade, score, k) / relevant(grade))
}

fn found(grade: &[f64], score: &[f64], k: usize) -> f64 {
    ordered(grade, score).iter().take(k).filter(|g| **g > 0.0).count() as f64
}

fn relevant(grade: &[f64]) -> f64 {
    grade.iter().filter(|g| **g > 0.0).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn orders_by_hand() {
        // Two queries; in the first the relevant rows stand at places 2 and 3, in the second at place 1.
        let grade = [0.0, 1.0, 1.0, 1.0, 0.0];
        let score = [0.9, 0.8, 0.7, 0.6, 0.5];
        let sizes = [3, 2];
        near(mrr(&grade, &score, &sizes, None), (0.5 + 1.0) / 2.0);
        near(mean_average_precision(&grade, &score, &sizes, 3, None), ((0.5 + 2.0 / 3.0) / 2.0 + 1.0) / 2.0);
        near(mean_average_precision(&grade, &score, &sizes, 2, None), (0.5 / 2.0 + 1.0) / 2.0);
        near(hit_rate(&grade, &score, &sizes, 1, None), 0.5);
        near(precision(&grade, &score, &sizes, 2, None), 0.5);
        near(recall(&grade, &score, &sizes, 2, None), 0.75);
        near(mrr(&grade, &score, &sizes, Some(&[3.0, 1.0])), (3.0 * 0.5 + 1.0) / 4.0);
    }

    #[test]
    fn ties_and_queries_without_answer() {
        // All scores equal: the order of rows must not matter.
        near(mrr(&[1.0, 0.0, 0.0], &[1.0; 3], &[3], None), 1.0 / 3.0);
        near(ndcg(&[1.0, 0.0], &[1.0; 2], &[2], 10, None), ndcg(&[0.0, 1.0], &[1.0; 2], &[2], 10, None));
        near(ndcg(&[0.0, 0.0, 1.0], &[3.0, 2.0, 1.0], &[2, 1], 10, None), 1.0);
        assert!(ndcg(&[0.0, 0.0], &[1.0, 2.0], &[2], 10, None).is_nan());
    }
}
