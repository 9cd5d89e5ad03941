//! Laws that hold for any data.

use proptest::prelude::*;
use std::collections::HashMap;
use tradewind_core::Run;
use tradewind_learn::calibrate::{Isotonic, Temperature, VectorScaling};
use tradewind_learn::crossval::{GroupKFold, KFold, Split, StratifiedKFold, TimeSeriesSplit};
use tradewind_learn::linear::{Ols, Ridge};
use tradewind_learn::logistic::Logistic;
use tradewind_learn::spline::{SplineBasis, SplineParams};
use tradewind_learn::transform::{Columns, Transform};
use tradewind_learn::{Dataset, Matrix};

const STEPS: [Transform; 4] = [Transform::MinMax, Transform::Standard, Transform::Robust, Transform::Log1p];

/// Every row is in exactly one test part, and never on both sides.
fn check_partition(splits: &[Split], n: usize) {
    let mut tested = vec![0; n];
    for s in splits {
        let mut side = vec![0; n];
        s.train.iter().for_each(|&i| side[i] += 1);
        s.test.iter().for_each(|&i| {
            side[i] += 1;
            tested[i] += 1;
        });
        assert!(side.iter().all(|s| *s == 1));
        assert!(!s.test.is_empty() && !s.train.is_empty());
    }
    assert!(tested.iter().all(|t| *t == 1));
}

proptest! {
    #[test]
    fn transforms_invert(values in prop::collection::vec(-0.5f64..1e6, 1..60), unseen in -0.5f64..1e7) {
        let train = Matrix::from_columns(std::slice::from_ref(&values)).unwrap();
        for step in STEPS {
            let one = step.fit(&values).unwrap();
            let back = one.inverse(one.transform(unseen).unwrap());
            prop_assert!((back - unseen).abs() <= 1e-9 * unseen.abs().max(1.0) + 1e-9, "{step:?} {unseen} {back}");
            let chain = Columns::default().with(0, &[Transform::Log1p, step]).fit(&train);
            if let Ok(fitted) = chain {
                let z = fitted.transform(&train).unwrap();
                for (a, b) in fitted.inverse(&z).unwrap().values().iter().zip(&values) {
                    prop_assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0));
                }
                let saved = serde_json::to_string(&fitted).unwrap();
                let loaded: tradewind_learn::transform::FittedColumns = serde_json::from_str(&saved).unwrap();
                prop_assert_eq!(loaded, fitted);
            }
        }
    }

    #[test]
    fn folds_partition(n in 2usize..200, n_folds in 2usize..12, seed in 0u64..99, shuffle: bool) {
        prop_assume!(n >= n_folds);
        let run = Run::new(seed);
        let folds = KFold { n_folds, shuffle }.split(&run, n).unwrap();
        check_partition(&folds, n);
        let sizes: Vec<usize> = folds.iter().map(|f| f.test.len()).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        prop_assert_eq!(&folds, &KFold { n_folds, shuffle }.split(&run, n).unwrap());

        let label: Vec<usize> = (0..n).map(|i| (i * i + seed as usize) % 3).collect();
        let strata = StratifiedKFold { n_folds, shuffle }.split(&run, &label).unwrap();
        check_partition(&strata, n);
        for class in 0..3 {
            let counts: Vec<usize> =
                strata.iter().map(|f| f.test.iter().filter(|i| label[**i] == class).count()).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }

        let group: Vec<u64> = (0..n as u64).map(|i| (i * 7919 + seed) % (n as u64)).map(|g| g / 2).collect();
        if let Ok(grouped) = (GroupKFold { n_folds }).split(&group) {
            check_partition(&grouped, n);
            for f in grouped {
                prop_assert!(f.test.iter().all(|i| f.train.iter().all(|j| group[*i] != group[*j])));
            }
        }
    }

    #[test]
    fn time_splits_never_look_ahead(
        n in 1usize..150, n_splits in 1usize..6, test_size in 1i64..9, gap in 0i64..9, window in 0i64..30,
    ) {
        // A prime above every n, so that each time comes once.
        let time: Vec<i64> = (0..n as i64).map(|i| (i * 7919) % n as i64 - 50).collect();
        let params = TimeSeriesSplit { n_splits, test_size, gap, train_size_max: window };
        let Ok(splits) = params.split(&time) else { return Ok(()) };
        let mut tested = HashMap::new();
        for s in &splits {
            let last = s.train.iter().map(|&i| time[i]).max().unwrap();
            prop_assert!(s.test.iter().all(|&i| time[i] > last + gap));
            s.test.iter().for_each(|&i| *tested.entry(i).or_insert(0) += 1);
            if window > 0 {
                prop_assert!(s.train.iter().all(|&i| time[i] > last - window));
            }
        }
        prop_assert!(tested.values().all(|t| *t == 1));
        prop_assert_eq!(tested.len(), n_splits * test_size as usize);
    }

    #[test]
    fn isotonic_rises_and_keeps_the_mean(
        pairs in prop::collection::vec((0i32..20, 0u8..2), 1..80),
    ) {
        let score: Vec<f64> = pairs.iter().map(|p| f64::from(p.0)).collect();
        let outcome: Vec<f64> = pairs.iter().map(|p| f64::from(p.1)).collect();
        let fitted = Isotonic.fit(&score, &outcome, None).unwrap();
        let grid: Vec<f64> = (-10..250).map(|i| f64::from(i) * 0.1).collect();
        let value = fitted.predict(&grid);
        prop_assert!(value.windows(2).all(|v| v[0] <= v[1] + 1e-12));
        let (mean, want) = (fitted.predict(&score).iter().sum::<f64>(), outcome.iter().sum::<f64>());
        prop_assert!((mean - want).abs() < 1e-9);
    }

    #[test]
    fn spline_is_straight_outside(values in prop::collection::vec(0i32..50, 3..80), n_knots in 3usize..9) {
        let column: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        let train = Matrix::from_columns(std::slice::from_ref(&column)).unwrap();
        let spline = SplineBasis::fit(&train, &SplineParams { n_knots }).unwrap();
        for start in [100.0, -200.0] {
            let x = Matrix::from_columns(&[[start, start + 10.0, start + 20.0]]).unwrap();
            let basis = spline.transform(&x).unwrap();
            for b in 0..basis.n_cols() {
                let (p, q, r) = (basis.get(0, b), basis.get(1, b), basis.get(2, b));
                prop_assert!((p - 2.0 * q + r).abs() <= 1e-8 * (p.abs() + q.abs() + r.abs() + 1.0));
            }
        }
        let basis = spline.transform(&train).unwrap();
        for b in 0..basis.n_cols() {
            let c = basis.column(b);
            let mean = c.iter().sum::<f64>() / c.len() as f64;
            prop_assert!(mean.abs() < 1e-7 && c.iter().all(|v| v.is_finite()));
        }
    }
}

fn wavy(n: usize) -> Dataset {
    let columns: Vec<Vec<f64>> = (1..=3)
        .map(|k| (0..n).map(|i| ((i * k) as f64 * 0.7).sin() * k as f64 + (i % (k + 4)) as f64).collect())
        .collect();
    let y =
        (0..n).map(|i| ((columns[0][i] + columns[1][i] * 0.3 + (i as f64 * 1.3).cos()) > 3.0) as u8 as f64);
    let y = y.enumerate().map(|(i, c)| if columns[2][i] > 5.0 { 2.0 } else { c }).collect();
    Dataset::new(Matrix::from_columns(&columns).unwrap(), y, vec![]).unwrap()
}

#[test]
fn probabilities_sum_to_one_and_contributions_to_the_logit() {
    let data = wavy(200);
    let model = Logistic::default().fit(&Run::new(0), &data).unwrap();
    let proba = model.predict_proba(data.x()).unwrap();
    let logits = model.logits(data.x()).unwrap();
    let means: Vec<f64> = (0..3).map(|j| data.x().column(j).iter().sum::<f64>() / 200.0).collect();
    let at_means = model.logits(&Matrix::from_rows(&[means]).unwrap()).unwrap();
    for i in 0..200 {
        assert!((proba.row(i).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let parts = model.contributions(data.x().row(i)).unwrap();
        for k in 0..3 {
            let sum: f64 = parts.row(k).iter().sum();
            assert!((at_means.get(0, k) + sum - logits.get(i, k)).abs() < 1e-9);
        }
    }
    // The intercepts make the mean probability the share of the class.
    for k in 0..3 {
        let share = data.y().iter().filter(|y| **y == k as f64).count() as f64 / 200.0;
        assert!((proba.column(k).iter().sum::<f64>() / 200.0 - share).abs() < 1e-5);
    }
}

#[test]
fn a_weight_of_two_is_a_row_twice() {
    let data = wavy(60);
    let twice: Vec<usize> = (0..60).chain(0..20).collect();
    let doubled = data.select_rows(&twice).unwrap();
    let weighted =
        data.clone().with_weight((0..60).map(|i| if i < 20 { 2.0 } else { 1.0 }).collect()).unwrap();
    let run = Run::new(0);
    let close = |a: &[f64], b: &[f64], t: f64| {
        a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < t, "{a} {b}"))
    };
    let params = Ridge { alpha: 0.7 };
    close(params.fit(&run, &doubled).unwrap().coef(), params.fit(&run, &weighted).unwrap().coef(), 1e-10);
    close(Ols.fit(&run, &doubled).unwrap().coef(), Ols.fit(&run, &weighted).unwrap().coef(), 1e-10);
    let params = Logistic { tolerance: 1e-9, ..Logistic::default() };
    let (a, b) = (params.fit(&run, &doubled).unwrap(), params.fit(&run, &weighted).unwrap());
    close(a.coef().values(), b.coef().values(), 1e-6);
}

#[test]
fn calibration_lowers_the_loss_and_vector_scaling_does_so_most() {
    let data = wavy(300);
    let (train, held): (Vec<usize>, Vec<usize>) = (0..300).partition(|i| i % 2 == 0);
    let model = Logistic::default().fit(&Run::new(0), &data.select_rows(&train).unwrap()).unwrap();
    let held = data.select_rows(&held).unwrap();
    let mut proba = model.predict_proba(held.x()).unwrap();
    // Made overconfident on purpose: probabilities squared.
    for i in 0..proba.n_rows() {
        let row = proba.row_mut(i);
        row.iter_mut().for_each(|p| *p = p.powi(3));
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
    let label: Vec<usize> = held.y().iter().map(|y| *y as usize).collect();
    let loss = |p: &Matrix| label.iter().enumerate().map(|(i, &c)| -p.get(i, c).max(1e-12).ln()).sum::<f64>();
    let temperature = Temperature.fit(&proba, &label).unwrap();
    assert!(temperature.temperature > 1.2, "{}", temperature.temperature);
    let vector = VectorScaling { l2: 1e-6 }.fit(&Run::new(0), &proba, &label).unwrap();
    let (before, one, many) =
        (loss(&proba), loss(&temperature.predict(&proba).unwrap()), loss(&vector.predict(&proba).unwrap()));
    assert!(one < before && many <= one + 1e-6, "{before} {one} {many}");
}

#[test]
fn parted_classes_without_penalty_still_predict() {
    let x = Matrix::from_columns(&[[-2.0, -1.0, 1.0, 2.0]]).unwrap();
    let data = Dataset::new(x, vec![0.0, 0.0, 1.0, 1.0], vec![]).unwrap();
    let model = Logistic { l2: 0.0, ..Logistic::default() }.fit(&Run::new(0), &data).unwrap();
    let p = model.predict_proba(data.x()).unwrap();
    assert!(p.get(0, 0) > 0.999 && p.get(3, 1) > 0.999);
}
