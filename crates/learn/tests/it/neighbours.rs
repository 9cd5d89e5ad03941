//! The neighbour index against comparing with every row.

use proptest::prelude::*;
use tradewind_core::Run;
use tradewind_learn::Matrix;
use tradewind_learn::neighbours::{Metric, Neighbours};

fn plain(metric: Metric, a: &[f64], b: &[f64]) -> f64 {
    let pairs = || a.iter().zip(b);
    match metric {
        Metric::Euclidean => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        Metric::Manhattan => pairs().map(|(a, b)| (a - b).abs()).sum(),
        Metric::Cosine => {
            let length = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            let product: f64 = pairs().map(|(a, b)| a * b).sum();
            let lengths = length(a) * length(b);
            if lengths > 0.0 { 1.0 - product / lengths } else { 1.0 }
        }
    }
}

/// Values on a coarse grid, so that many distances are equal.
fn grid(rows: usize, cols: usize) -> impl Strategy<Value = Matrix> {
    proptest::collection::vec(-3i32..4, rows * cols)
        .prop_map(move |v| Matrix::new(rows, cols, v.into_iter().map(f64::from).collect()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nearest_and_within_as_every_row_compared(
        (x, q) in prop_oneof![Just(1usize), Just(3), Just(20)].prop_flat_map(|p| (grid(90, p), grid(40, p))),
        k in 0usize..100,
        radius in 0.0f64..6.0,
    ) {
        for metric in [Metric::Euclidean, Metric::Manhattan, Metric::Cosine] {
            let index = Neighbours::new(&x, metric).unwrap();
            let run = Run::new(0);
            let nearest = index.nearest(&run, &q, k).unwrap();
            let within = index.within(&run, &q, radius).unwrap();
            for i in 0..q.n_rows() {
                let mut all: Vec<(f64, usize)> =
                    x.rows().enumerate().map(|(r, row)| (plain(metric, q.row(i), row), r)).collect();
                let around = all.iter().filter(|(d, _)| *d <= radius).map(|(_, r)| *r);
                if metric != Metric::Cosine {
                    prop_assert!(around.eq(within[i].iter().map(|n| n.row)));
                }
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                prop_assert_eq!(nearest[i].len(), k.min(90));
                for (n, (d, r)) in nearest[i].iter().zip(&all) {
                    prop_assert!((n.distance - d).abs() < 1e-12, "{} {}", n.distance, d);
                    // The grid's sums are exact, except for the cosine.
                    prop_assert!(metric == Metric::Cosine || n.row == *r);
                }
            }
        }
    }
}

#[test]
fn far_offsets_lose_no_neighbour() {
    // The products of rows this far from zero have no digit left of the distances.
    for p in [3, 30] {
        let x =
            Matrix::new(200, p, (0..200 * p).map(|i| 1e9 + (i * 37 % 101) as f64 / 64.0).collect()).unwrap();
        let index = Neighbours::new(&x, Metric::Euclidean).unwrap();
        for (i, found) in index.nearest(&Run::new(0), &x, 1).unwrap().iter().enumerate() {
            assert_eq!((found[0].row <= i, found[0].distance), (true, 0.0));
        }
    }
}

#[test]
fn a_saved_index_answers_alike() {
    let x = Matrix::new(50, 4, (0..200).map(|i| f64::from(i * 31 % 17) / 3.0).collect()).unwrap();
    let index = Neighbours::new(&x, Metric::Manhattan).unwrap();
    let text = serde_json::to_string(&index).unwrap();
    let loaded: Neighbours = serde_json::from_str(&text).unwrap();
    assert_eq!(loaded.nearest(&Run::new(0), &x, 3).unwrap(), index.nearest(&Run::new(0), &x, 3).unwrap());
    assert!(index.nearest_to(&[1.0], 1).unwrap_err().to_string().contains("4 columns"));
    assert!(
        Neighbours::new(&Matrix::zeros(0, 2), Metric::Euclidean)
            .unwrap()
            .nearest_to(&[0.0; 2], 3)
            .unwrap()
            .is_empty()
    );
}
