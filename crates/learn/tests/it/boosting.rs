//! Boosting: LightGBM's answers on small data, and laws that must hold.

use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::boosting::{Boosting, ENTRY, Objective, Sampling};
use tradewind_learn::{ColumnKind, Dataset, Matrix, Task};

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn noise(i: usize, k: usize) -> f64 {
    let mut h = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (k as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((h ^ (h >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn data(n: usize, p: usize) -> Dataset {
    let rows: Vec<Vec<f64>> = (0..n).map(|i| (0..p).map(|k| noise(i, k)).collect()).collect();
    let y = (0..n).map(|i| 3.0 * rows[i][0] + (4.0 * rows[i][1]).sin() + 0.5 * noise(i, 77)).collect();
    Dataset::new(Matrix::from_rows(&rows).unwrap(), y, vec![]).unwrap()
}

/// Gradients are rounded to about 31 bits of their sum and kept in single precision, hence the tolerance.
#[test]
fn predictions_as_lightgbm() {
    let r: Value = serde_json::from_str(include_str!("../reference/boosting.json")).unwrap();
    let x: Vec<Vec<f64>> = r["x"].as_array().unwrap().iter().map(list).collect();
    let base = Boosting {
        n_rounds: 10,
        learning_rate: 0.2,
        n_leaves: 8,
        min_child_samples: 10,
        min_data_in_bin: 1,
        l2: 1.0,
        ..Boosting::default()
    };
    let with = |objective, alpha| Boosting { objective, alpha, ..base.clone() };
    // The script says why these are asked for less.
    let small = |objective, alpha| Boosting { objective, alpha, n_rounds: 3, n_leaves: 4, ..base.clone() };
    let few = |objective| Boosting { objective, n_rounds: 2, min_child_samples: 1, ..base.clone() };
    let cases = [
        ("squared", "y", base.clone()),
        ("l1", "y", Boosting { l1: 2.0, ..base.clone() }),
        ("absolute", "y", small(Objective::Absolute, 0.9)),
        ("quantile", "y", small(Objective::Quantile, 0.8)),
        ("huber", "y", with(Objective::Huber, 0.5)),
        ("binary", "c", few(Objective::Auto)),
        ("poisson", "count", few(Objective::Poisson)),
        ("tweedie", "count", few(Objective::Tweedie)),
        ("monotone", "y", Boosting { monotone: vec![1, 0, 0, 0], ..small(Objective::Auto, 0.9) }),
        ("category", "y", Boosting { min_data_per_group: 5, cat_smooth: 2.0, ..base.clone() }),
    ];
    let mut far = Vec::new();
    for (name, target, params) in cases {
        let task = if target == "c" { Task::Binary } else { Task::Regression };
        let mut kinds = vec![ColumnKind::Number; 4];
        if name == "category" {
            kinds[3] = ColumnKind::Category;
        }
        let data = Dataset::new(Matrix::from_rows(&x).unwrap(), list(&r[target]), vec![]).unwrap();
        let data = data.with_kinds(kinds).unwrap();
        let model = params.fit(&Run::new(0), task, &data).unwrap();
        let p = model.predict(data.x()).unwrap();
        let p = p.column(p.n_cols() - 1);
        let worst = p.iter().zip(list(&r[name])).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let same = p.iter().zip(list(&r[name])).filter(|(a, b)| (**a - b).abs() < 1e-4).count();
        if worst > 1e-4 {
            far.push(format!("{name}: worst {worst:.5}, {same} of {} rows the same", p.len()));
        }
    }
    assert!(far.is_empty(), "{far:#?}");
}

#[test]
fn monotone_constraints_hold_everywhere() {
    let data = data(1500, 3);
    // The target rises with the first column; it is asked to fall with the second as well.
    let signs = vec![1, -1, 0];
    for objective in [Objective::Squared, Objective::Quantile] {
        let params = Boosting { monotone: signs.clone(), objective, n_rounds: 40, ..Boosting::default() };
        let model = params.fit(&Run::new(0), Task::Regression, &data).unwrap();
        for i in 0..60 {
            for (j, sign) in [(0, 1.0), (1, -1.0)] {
                let mut rows = Vec::new();
                for step in 0..50 {
                    let mut row = data.x().row(i).to_vec();
                    row[j] = f64::from(step) / 25.0 - 1.0;
                    rows.push(row);
                }
                let p = model.predict(&Matrix::from_rows(&rows).unwrap()).unwrap();
                let p = p.values();
                assert!(
                    p.windows(2).all(|w| (w[1] - w[0]) * sign >= 0.0),
                    "{objective:?} row {i} column {j}"
                );
            }
        }
    }
}

#[test]
fn quantiles_never_cross_and_cover() {
    let data = data(2000, 4);
    let params = Boosting {
        objective: Objective::Quantiles,
        quantiles: vec![0.1, 0.5, 0.9],
        n_rounds: 60,
        ..Boosting::default()
    };
    let model = params.fit(&Run::new(0), Task::Regression, &data).unwrap();
    let p = model.predict(data.x()).unwrap();
    assert!(p.rows().all(|r| r[0] <= r[1] && r[1] <= r[2]));
    let inside = p.rows().zip(data.y()).filter(|(r, y)| r[0] <= **y && **y <= r[2]).count();
    assert!((0.7..0.9).contains(&(inside as f64 / 2000.0)), "{inside}");
}

#[test]
fn threads_change_nothing_with_everything_random() {
    let data = data(40_000, 9);
    for sampling in [Sampling::Bagging, Sampling::Goss] {
        let params = Boosting {
            n_rounds: 12,
            learning_rate: 0.3,
            sampling,
            feature_fraction: 0.7,
            node_fraction: 0.7,
            ..Boosting::default()
        };
        let bits = |threads| {
            let run = Run::new(5).with_threads(threads);
            let model = params.fit(&run, Task::Regression, &data).unwrap();
            model.predict(data.x()).unwrap().values().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        assert!(bits(1) == bits(3), "{sampling:?}");
    }
}

fn mse(p: &Matrix, y: &[f64]) -> f64 {
    p.values().iter().zip(y).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / y.len() as f64
}

#[test]
fn every_sampling_learns() {
    let data = data(4000, 4);
    for params in [
        Boosting { sampling: Sampling::Bagging, ..Boosting::default() },
        Boosting { sampling: Sampling::Goss, ..Boosting::default() },
        Boosting { dart: true, ..Boosting::default() },
        Boosting { growth: tradewind_learn::boosting::Growth::Level, ..Boosting::default() },
        Boosting { max_bins: 1000, ..Boosting::default() },
    ] {
        let model = params.fit(&Run::new(0), Task::Regression, &data).unwrap();
        let error = mse(&model.predict(data.x()).unwrap(), data.y());
        // The noise alone has 1/12.
        assert!(error < 0.11, "{error} {params:?}");
    }
}

#[test]
fn early_stopping_keeps_the_best_round() {
    let all = data(900, 4);
    let train = all.select_rows(&(0..300).collect::<Vec<_>>()).unwrap();
    let watch = all.select_rows(&(300..900).collect::<Vec<_>>()).unwrap();
    let params = Boosting { n_rounds: 400, learning_rate: 0.3, patience: 20, ..Boosting::default() };
    let model = params.fit_validated(&Run::new(0), Task::Regression, &train, &watch).unwrap();
    assert!(model.n_rounds() < 380, "{}", model.n_rounds());
    let error = mse(&model.predict(watch.x()).unwrap(), watch.y());
    let all_rounds = Boosting { patience: 0, ..params }.fit(&Run::new(0), Task::Regression, &train).unwrap();
    assert!(error <= mse(&all_rounds.predict(watch.x()).unwrap(), watch.y()));
}

#[test]
fn updates_learn_from_new_rows() {
    let all = data(2000, 4);
    let (old, new) = ((0..500).collect::<Vec<_>>(), (500..2000).collect::<Vec<_>>());
    let (old, new) = (all.select_rows(&old).unwrap(), all.select_rows(&new).unwrap());
    let mut model =
        Boosting { n_rounds: 20, ..Boosting::default() }.fit(&Run::new(0), Task::Regression, &old).unwrap();
    let before = mse(&model.predict(new.x()).unwrap(), new.y());
    model.update(&Run::new(0), &new).unwrap();
    assert_eq!(model.n_rounds(), 40);
    assert!(mse(&model.predict(new.x()).unwrap(), new.y()) < 0.8 * before);
}

#[test]
fn interaction_groups_do_not_meet() {
    let data = data(1000, 4);
    let params = Boosting { interaction: vec![0, 1, 0, 1], ..Boosting::default() };
    let model = params.fit(&Run::new(0), Task::Regression, &data).unwrap();
    for tree in &model.ensemble().trees {
        let groups: Vec<u32> = tree.nodes.iter().map(|n| n.feature % 2).collect();
        assert!(groups.iter().all(|g| *g == groups[0]), "{groups:?}");
    }
}

#[test]
fn ranking_puts_the_better_first() {
    let plain = data(1200, 3);
    let grades = plain.y().iter().map(|y| (y + 3.0).clamp(0.0, 4.0).floor()).collect();
    let data = plain.with_target(grades).unwrap().with_groups(vec![20; 60]).unwrap();
    let fitted = ENTRY.learner(Task::Ranking, &Default::default()).unwrap().fit(&Run::new(0), &data).unwrap();
    let s = fitted.predict(data.x()).unwrap();
    let (mut right, mut pairs) = (0, 0);
    for g in 0..60 {
        for a in g * 20..g * 20 + 20 {
            for b in g * 20..g * 20 + 20 {
                if data.y()[a] > data.y()[b] {
                    pairs += 1;
                    right += usize::from(s.get(a, 0) > s.get(b, 0));
                }
            }
        }
    }
    assert!(f64::from(right as u32) > 0.9 * f64::from(pairs), "{right} of {pairs}");
}
