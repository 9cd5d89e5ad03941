//! What every clustering must bear: odd data give a clear error or a right answer, never a panic; threads change
//! nothing; saving and loading changes nothing; the target is not looked at.

use tradewind_core::{Error, ParamKind, Params, Result, Run};
use tradewind_learn::cluster::measures::adjusted_rand;
use tradewind_learn::{CATALOG, ColumnKind, Dataset, LearnerEntry, Matrix, Task};

fn cases() -> impl Iterator<Item = &'static LearnerEntry> {
    CATALOG.iter().filter(|e| e.tasks.contains(&Task::Clustering))
}

/// Parameters that ask for `k` clusters, or for dense groups of four rows and more within 1.
fn asking(entry: &LearnerEntry, k: usize) -> Params {
    let mut params = Params::new();
    for spec in entry.params {
        match spec.name {
            "n_clusters" => drop(params.insert("n_clusters".into(), k.into())),
            "eps" => drop(params.insert("eps".into(), 1.0.into())),
            "min_rows" => drop(params.insert("min_rows".into(), 4.into())),
            _ => {}
        }
    }
    params
}

fn predict(entry: &LearnerEntry, params: &Params, run: &Run, data: &Dataset, x: &Matrix) -> Result<Matrix> {
    entry.learner(Task::Clustering, params)?.fit(run, data)?.predict(x)
}

/// The clusters that a prediction names: its only column, or the likeliest of several.
fn clusters(p: &Matrix) -> Vec<i64> {
    p.rows()
        .map(|row| match row {
            [label] => *label as i64,
            _ => (0..row.len()).fold(0, |b, c| if row[c] > row[b] { c } else { b }) as i64,
        })
        .collect()
}

fn bits(p: &Matrix) -> Vec<u64> {
    p.values().iter().map(|v| v.to_bits()).collect()
}

/// Three groups far apart, row after row in turn.
fn three(n: usize) -> Dataset {
    let noise = |i: usize, k: u64| {
        let mut h =
            (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ k.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((h ^ (h >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let rows: Vec<[f64; 2]> = (0..n)
        .map(|i| [noise(i, 1) + 9.0 * (i % 3) as f64, noise(i, 2) - 7.0 * (i % 2 * (i % 3)) as f64])
        .collect();
    let x = Matrix::from_rows(&rows).unwrap();
    Dataset::new(x, vec![0.0; n], vec!["recency".into(), "spend".into()]).unwrap()
}

/// Groups at three places along one line.
fn groups(n: usize) -> Dataset {
    let plain = three(n);
    let mut x = plain.x().clone();
    (0..n).for_each(|i| x.row_mut(i)[1] = x.get(i, 1).fract());
    Dataset::new(x, vec![0.0; n], plain.names().to_vec()).unwrap()
}

#[test]
fn evident_groups_are_found() {
    for entry in cases() {
        let data = groups(300);
        let truth: Vec<i64> = (0..300).map(|i| i % 3).collect();
        let p = predict(entry, &asking(entry, 3), &Run::new(4), &data, data.x()).unwrap();
        let found = clusters(&p);
        assert!(adjusted_rand(&found, &truth).unwrap() > 0.99, "{}: {found:?}", entry.name);
        if p.n_cols() > 1 {
            assert!(p.rows().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9), "{}", entry.name);
        }
    }
}

#[test]
fn too_few_rows_are_told() {
    for entry in cases() {
        let run = Run::new(0);
        for n in [0, 1, 2] {
            let few = groups(6).select_rows(&(0..n).collect::<Vec<_>>()).unwrap();
            match predict(entry, &asking(entry, 3), &run, &few, &Matrix::zeros(1, 2)) {
                // One cluster of its own, or none.
                Ok(p) => assert!(n > 0 && clusters(&p) == [-1], "{} of {n}: {p:?}", entry.name),
                Err(fault) => {
                    assert!(
                        matches!(fault, Error::NotEnoughData { got, .. } if got == n),
                        "{}: {fault}",
                        entry.name
                    );
                }
            }
        }
        let narrow = Dataset::new(Matrix::zeros(9, 0), vec![0.0; 9], vec![]).unwrap();
        let fault = predict(entry, &asking(entry, 2), &run, &narrow, narrow.x()).unwrap_err();
        assert!(matches!(fault, Error::NotEnoughData { got: 0, .. }), "{}: {fault}", entry.name);
    }
}

#[test]
fn constant_columns_and_equal_rows_break_nothing() {
    for entry in cases() {
        let run = Run::new(1);
        let data = groups(150);
        let wide = data.x().beside(&Matrix::new(150, 1, vec![1e6 + 0.1; 150]).unwrap()).unwrap();
        let wide = Dataset::new(wide, vec![0.0; 150], vec![]).unwrap();
        let truth: Vec<i64> = (0..150).map(|i| i % 3).collect();
        let p = predict(entry, &asking(entry, 3), &run, &wide, wide.x()).unwrap();
        assert!(adjusted_rand(&clusters(&p), &truth).unwrap() > 0.99, "{}", entry.name);
        let twice: Vec<usize> = (0..150).chain(0..150).collect();
        let double = data.select_rows(&twice).unwrap();
        let p = predict(entry, &asking(entry, 3), &run, &double, double.x()).unwrap();
        let found = clusters(&p);
        assert_eq!(found[..150], found[150..], "{}: equal rows part", entry.name);
        let same =
            Dataset::new(Matrix::from_rows(&[[3.0, 4.0]; 30]).unwrap(), vec![0.0; 30], vec![]).unwrap();
        if let Ok(p) = predict(entry, &asking(entry, 3), &run, &same, &same.x().select_rows(&[0])) {
            assert!(p.values().iter().all(|v| v.is_finite()), "{}", entry.name);
        }
    }
}

#[test]
fn faults_name_column_row_and_width() {
    for entry in cases() {
        let (run, data, params) = (Run::new(0), groups(60), asking(entry, 3));
        for bad in [f64::NAN, f64::INFINITY] {
            let new = Matrix::from_rows(&[[0.0, 0.0], [bad, 0.0]]).unwrap();
            let fault = predict(entry, &params, &run, &data, &new).unwrap_err().to_string();
            assert!(fault.contains("`recency`") && fault.contains("row 1"), "{}: {fault}", entry.name);
        }
        let mut holed = data.x().clone();
        holed.row_mut(7)[1] = f64::NAN;
        let holed = Dataset::with_missing(holed, vec![0.0; 60], data.names().to_vec()).unwrap();
        let fault = predict(entry, &params, &run, &holed, data.x()).unwrap_err().to_string();
        assert!(fault.contains("`spend`") && fault.contains("row 7"), "{}: {fault}", entry.name);
        let fault = predict(entry, &params, &run, &data, &Matrix::zeros(1, 3)).unwrap_err().to_string();
        assert!(fault.contains("2 columns") && fault.contains('3'), "{}: {fault}", entry.name);
        let mut coded = data.x().clone();
        (0..60).for_each(|i| coded.row_mut(i)[1] = (i % 4) as f64);
        let coded = Dataset::new(coded, vec![0.0; 60], data.names().to_vec()).unwrap();
        let coded = coded.with_kinds(vec![ColumnKind::Number, ColumnKind::Category]).unwrap();
        let fault = predict(entry, &params, &run, &coded, data.x()).unwrap_err().to_string();
        assert!(fault.contains("`spend`"), "{}: {fault}", entry.name);
    }
}

#[test]
fn extreme_values_never_panic() {
    for entry in cases() {
        let plain = three(60);
        for scale in [1e-300, 1e-12, 1e12, 1e155, 1e300] {
            let x = Matrix::new(60, 2, plain.x().values().iter().map(|v| v * scale).collect()).unwrap();
            let data = Dataset::new(x, vec![0.0; 60], vec![]).unwrap();
            if let Ok(p) = predict(entry, &asking(entry, 3), &Run::new(0), &data, data.x()) {
                assert!(p.values().iter().all(|v| v.is_finite()), "{} at {scale}: {p:?}", entry.name);
            }
        }
        let far = Matrix::from_rows(&[[1e300, -1e300]]).unwrap();
        match predict(entry, &asking(entry, 3), &Run::new(0), &plain, &far) {
            Ok(p) => assert!(p.values().iter().all(|v| v.is_finite()), "{}: {p:?}", entry.name),
            Err(fault) => assert!(fault.to_string().contains("row 0"), "{}: {fault}", entry.name),
        }
    }
}

#[test]
fn threads_seeds_company_and_target_change_nothing() {
    for entry in cases() {
        let data = three(2500);
        let params = asking(entry, 5);
        let fit =
            |threads| predict(entry, &params, &Run::new(7).with_threads(threads), &data, data.x()).unwrap();
        let one = fit(1);
        assert_eq!(bits(&one), bits(&fit(4)), "{}: threads", entry.name);
        assert_eq!(bits(&one), bits(&fit(1)), "{}: same seed", entry.name);
        let alone = predict(entry, &params, &Run::new(7), &data, &data.x().select_rows(&[17])).unwrap();
        assert_eq!(bits(&alone), bits(&one.select_rows(&[17])), "{}: alone", entry.name);
        let other = data.with_target((0..2500).map(f64::from).collect()).unwrap();
        let p = predict(entry, &params, &Run::new(7), &other, data.x()).unwrap();
        assert_eq!(bits(&p), bits(&one), "{}: target", entry.name);
    }
}

#[test]
fn saving_and_loading_changes_nothing() {
    for entry in cases() {
        let data = three(200);
        let fitted =
            entry.learner(Task::Clustering, &asking(entry, 3)).unwrap().fit(&Run::new(0), &data).unwrap();
        let saved = fitted.save().unwrap();
        let read: serde_json::Value = serde_json::from_str(&saved.to_string()).unwrap();
        let loaded = (entry.load)(read).unwrap();
        assert_eq!(loaded.save().unwrap(), saved, "{}", entry.name);
        let (p, q) = (fitted.predict(data.x()).unwrap(), loaded.predict(data.x()).unwrap());
        assert_eq!(bits(&p), bits(&q), "{}", entry.name);
    }
}

#[test]
fn cancelled_runs_stop() {
    for entry in cases() {
        let run = Run::new(0);
        run.cancel();
        let stopped = predict(entry, &asking(entry, 3), &run, &groups(30), &Matrix::zeros(1, 2));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{}", entry.name);
    }
}

#[test]
fn parameters_are_checked_and_have_the_defaults_that_are_told() {
    for entry in cases() {
        let (mut bad, mut told) = (Params::new(), Params::new());
        for spec in entry.params {
            let wrong = match spec.kind {
                ParamKind::Integer { min, .. } => (min - 1).into(),
                ParamKind::Number { max, .. } => (max * 2.0 + 1.0).into(),
                ParamKind::Choice(_) => "no such word".into(),
                ParamKind::Flag => 3.into(),
                ParamKind::Numbers { max, .. } => vec![max * 2.0 + 1.0].into(),
            };
            bad.insert(spec.name.into(), wrong);
            if !spec.default.is_empty() {
                told.insert(
                    spec.name.into(),
                    serde_json::from_str(spec.default).unwrap_or_else(|_| spec.default.into()),
                );
            }
        }
        let Err(Error::Params(faults)) = entry.learner(Task::Clustering, &bad).map(|_| ()) else {
            panic!("{}", entry.name)
        };
        assert_eq!(faults.len(), entry.params.len(), "{}", entry.name);
        let data = three(120);
        let fit = |params: &Params| bits(&predict(entry, params, &Run::new(0), &data, data.x()).unwrap());
        assert_eq!(fit(&Params::new()), fit(&told), "{}", entry.name);
    }
}
