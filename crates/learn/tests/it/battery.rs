//! What every estimator must bear: odd data give a clear error or the right answer, never a panic; threads change
//! nothing; saving and loading changes nothing.

use tradewind_core::{Error, ParamKind, Params, Result, Run};
use tradewind_learn::{Bears, CATALOG, ColumnKind, Dataset, LearnerEntry, Matrix, Task};

/// One estimator and task as the battery sees it. The parameters make penalised estimators follow the data closely.
struct Case {
    name: &'static str,
    task: Task,
    classes: bool,
    entry: &'static LearnerEntry,
    params: Params,
}

impl Case {
    /// What it predicts for new rows after a fit.
    fn predict(&self, run: &Run, data: &Dataset, x: &Matrix) -> Result<Vec<f64>> {
        let fitted = self.entry.learner(self.task, &self.params)?.fit(run, data)?;
        Ok(fitted.predict(x)?.values().to_vec())
    }

    /// The same after saving and loading.
    fn reload(&self, run: &Run, data: &Dataset, x: &Matrix) -> Result<Vec<f64>> {
        let saved = self.entry.learner(self.task, &self.params)?.fit(run, data)?.save()?;
        // Through text, as on disk.
        let read: serde_json::Value = serde_json::from_str(&saved.to_string()).unwrap();
        let loaded = (self.entry.load)(read)?;
        assert_eq!(loaded.save()?, saved, "{}: saved again", self.name);
        Ok(loaded.predict(x)?.values().to_vec())
    }

    fn bears(&self) -> Bears {
        self.entry.bears
    }

    /// [`data_of`] these columns, lifted above zero for an estimator of counts.
    fn data(&self, columns: &[Vec<f64>]) -> Dataset {
        let data = data_of(columns, self.task);
        if self.bears().negative {
            return data;
        }
        let mut x = data.x().clone();
        x.values_mut().iter_mut().for_each(|v| *v += 1.0);
        Dataset::new(x, data.y().to_vec(), vec![]).unwrap()
    }

    /// A trees' or neighbours' answer, which follows thresholds and not a formula.
    fn is_smooth(&self) -> bool {
        let linear = ["ols", "ridge", "ridge_cv", "lasso", "elastic_net", "polynomial", "huber", "quantile"];
        linear.contains(&self.name) || self.has_log_link() || self.name == "logistic"
    }

    /// Whether the raw score is the logarithm of the prediction.
    fn has_log_link(&self) -> bool {
        matches!(self.name, "poisson" | "gamma" | "tweedie")
    }
}

fn params(name: &str, task: Task) -> Params {
    let text = match (name, task) {
        ("ridge", _) => r#"{"alpha": 1e-8}"#,
        ("ridge_cv", _) => r#"{"alphas": [1e-8]}"#,
        ("lasso", _) => r#"{"alpha": 1e-5}"#,
        ("elastic_net", _) => r#"{"alpha": 1e-4, "l1_ratio": 0.5}"#,
        // liblinear penalises the intercept too.
        ("linear_svm", Task::Regression) => {
            r#"{"c": 1e7, "epsilon": 0.0, "tolerance": 1e-9, "max_iter": 300}"#
        }
        ("logistic", _) => r#"{"l2": 1e-3, "tolerance": 1e-8}"#,
        _ => "{}",
    };
    serde_json::from_str(text).unwrap()
}

/// Every estimator of the catalogue on each supervised task but ranking.
fn cases() -> Vec<Case> {
    let tasks = [Task::Regression, Task::Binary, Task::Multiclass];
    CATALOG
        .iter()
        .flat_map(|entry| {
            tasks.into_iter().filter(|t| entry.tasks.contains(t)).map(|task| Case {
                name: entry.name,
                task,
                classes: task.is_classes(),
                entry,
                params: params(entry.name, task),
            })
        })
        .collect()
}

fn noise(i: usize, k: usize) -> f64 {
    // A plain hash spread over −1 … 1; enough for data that no line fits exactly.
    let mut h =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (k as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^= h >> 31;
    (h >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn columns(n: usize, p: usize) -> Vec<Vec<f64>> {
    (0..p).map(|k| (0..n).map(|i| noise(i, k + 1)).collect()).collect()
}

fn data_of(columns: &[Vec<f64>], task: Task) -> Dataset {
    let n = columns.first().map_or(30, Vec::len);
    let y = (0..n)
        .map(|i| {
            let z = columns.first().map_or(2.0 * noise(i, 98), |c| 2.0 * c[i])
                + if task.is_classes() { 1.5 } else { 0.4 } * noise(i, 99);
            match task {
                Task::Binary => f64::from(u8::from(z > 0.0)),
                Task::Multiclass => f64::from(u8::from(z > 0.5)) + f64::from(u8::from(z > -0.5)),
                _ => z + 3.0,
            }
        })
        .collect();
    let x = if columns.is_empty() { Matrix::zeros(n, 0) } else { Matrix::from_columns(columns).unwrap() };
    Dataset::new(x, y, vec![]).unwrap()
}

fn bits(v: &[f64]) -> Vec<u64> {
    v.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn no_rows_are_too_few() {
    for case in cases() {
        let empty = Dataset::new(Matrix::zeros(0, 3), vec![], vec![]).unwrap();
        let fault = case.predict(&Run::new(0), &empty, &Matrix::zeros(1, 3)).unwrap_err();
        assert!(matches!(fault, Error::NotEnoughData { got: 0, .. }), "{}: {fault}", case.name);
    }
}

#[test]
fn one_row_predicts_itself_or_is_too_few() {
    for case in cases() {
        let data = Dataset::new(
            Matrix::from_rows(&[[1.0, 2.0]]).unwrap(),
            vec![if case.classes { 1.0 } else { 5.0 }],
            vec![],
        )
        .unwrap();
        match case.predict(&Run::new(0), &data, data.x()) {
            Ok(p) => assert!(!case.classes && (p[0] - 5.0).abs() < 1e-6, "{}: {p:?}", case.name),
            Err(fault) => {
                assert!(matches!(fault, Error::NotEnoughData { got: 1, .. }), "{}: {fault}", case.name)
            }
        }
    }
}

#[test]
fn no_columns_predict_the_middle() {
    for case in cases() {
        let data = case.data(&[]);
        let p = case.predict(&Run::new(0), &data, &Matrix::zeros(2, 0)).unwrap();
        assert!(p.iter().all(|v| v.is_finite()), "{}: {p:?}", case.name);
        assert_eq!(p[..p.len() / 2], p[p.len() / 2..], "{}", case.name);
    }
}

#[test]
fn a_constant_target_is_predicted() {
    for case in cases().into_iter().filter(|c| !c.classes) {
        let x = Matrix::from_columns(&columns(40, 3)).unwrap();
        let data = Dataset::new(x, vec![7.5; 40], vec![]).unwrap();
        let p = case.predict(&Run::new(0), &data, data.x()).unwrap();
        assert!(p.iter().all(|v| (v - 7.5).abs() < 1e-6), "{}: {p:?}", case.name);
    }
}

#[test]
fn constant_and_duplicate_columns_change_nothing() {
    for case in cases() {
        let plain = columns(80, 2);
        let mut more = plain.clone();
        more.push(vec![1e6 + 0.1; 80]);
        more.push(plain[0].clone());
        let (a, b) = (case.data(&plain), case.data(&more));
        let run = Run::new(0);
        let (p, q) = (case.predict(&run, &a, a.x()).unwrap(), case.predict(&run, &b, b.x()).unwrap());
        // A penalty is shared by equal columns, which lets them weigh a little more together.
        let tolerance = if matches!(case.name, "logistic" | "elastic_net" | "lasso") { 0.01 } else { 1e-5 };
        for (p, q) in p.iter().zip(&q) {
            // What is drawn or measured over the columns may differ, but must stay an answer.
            assert!(
                q.is_finite() && (!case.is_smooth() || (p - q).abs() <= tolerance),
                "{}: {p} {q}",
                case.name
            );
        }
    }
}

#[test]
fn what_is_evident_is_learnt() {
    for case in cases() {
        // The target follows the first of three columns.
        let data = case.data(&columns(600, 3));
        let (train, test) = (data.select_rows(&(0..400).collect::<Vec<_>>()).unwrap(), 400..600);
        let x = data.x().select_rows(&test.clone().collect::<Vec<_>>());
        let p = case.predict(&Run::new(3), &train, &x).unwrap();
        let truth = &data.y()[test];
        let width = p.len() / truth.len();
        if case.classes {
            let said = p
                .chunks_exact(width)
                .map(|row| (0..width).fold(0, |b, c| if row[c] > row[b] { c } else { b }));
            let right =
                said.zip(truth).filter(|(s, t)| *s == **t as usize).count() as f64 / truth.len() as f64;
            let most = (0..3).map(|c| truth.iter().filter(|t| **t == f64::from(c)).count()).max().unwrap();
            let naive = most as f64 / truth.len() as f64;
            assert!(right > naive + 0.1, "{} {}: {right} of {naive}", case.name, case.task);
            for row in p.chunks_exact(width) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9 && row.iter().all(|v| *v >= 0.0));
            }
        } else {
            let mean = train.y().iter().sum::<f64>() / 400.0;
            let error: f64 = p.iter().zip(truth).map(|(p, t)| (p - t).powi(2)).sum();
            let naive: f64 = truth.iter().map(|t| (t - mean).powi(2)).sum();
            assert!(error < 0.4 * naive, "{}: {error} of {naive}", case.name);
        }
    }
}

#[test]
fn missing_values_and_categories_are_used_or_refused_by_name() {
    for case in cases() {
        let plain = case.data(&columns(200, 2));
        let names = vec!["price".to_owned(), "brand".to_owned()];
        let mut x = plain.x().clone();
        (0..200).for_each(|i| x.row_mut(i)[1] = (i % 5) as f64);
        let coded = Dataset::new(x.clone(), plain.y().to_vec(), names.clone()).unwrap();
        let coded = coded.with_kinds(vec![ColumnKind::Number, ColumnKind::Category]).unwrap();
        let run = Run::new(0);
        // Codes that were not seen are no fault for those who know categories.
        let unseen = Matrix::from_rows(&[[0.1, 77.0], [0.1, 3.0]]).unwrap();
        match case.predict(&run, &coded, &unseen) {
            Ok(p) => assert!(case.bears().categories && p.iter().all(|v| v.is_finite()), "{}", case.name),
            Err(fault) => {
                let text = fault.to_string();
                assert!(!case.bears().categories && text.contains("`brand`"), "{}: {text}", case.name);
            }
        }
        x.row_mut(7)[0] = f64::NAN;
        let holed = Dataset::with_missing(x, plain.y().to_vec(), names).unwrap();
        let new = Matrix::from_rows(&[[f64::NAN, 1.0], [0.1, f64::NAN]]).unwrap();
        match case.predict(&run, &holed, &new) {
            Ok(p) => assert!(case.bears().missing && p.iter().all(|v| v.is_finite()), "{}", case.name),
            Err(fault) => {
                let text = fault.to_string();
                let told = text.contains("`price`") && text.contains("row 7");
                assert!(!case.bears().missing && told, "{}: {text}", case.name);
            }
        }
    }
}

#[test]
fn importance_and_contributions_agree_with_the_predictions() {
    for case in cases() {
        let data = case.data(&columns(300, 3));
        let run = Run::new(0);
        let fitted = case.entry.learner(case.task, &case.params).unwrap().fit(&run, &data).unwrap();
        if let Some(importance) = fitted.importance() {
            assert_eq!(importance.len(), 3, "{}", case.name);
            assert!(
                importance.iter().all(|v| *v >= 0.0) && importance[0] > importance[1],
                "{}: {importance:?}",
                case.name
            );
        }
        if let Some(parts) = fitted.contributions(&run, data.x()) {
            let (parts, answers) = (parts.unwrap(), fitted.predict(data.x()).unwrap());
            assert_eq!(parts.n_cols() % 4, 0, "{}", case.name);
            if case.task == Task::Regression && parts.n_cols() == 4 {
                for i in 0..data.n_rows() {
                    let raw: f64 = parts.row(i).iter().sum();
                    let sum = if case.has_log_link() { raw.exp() } else { raw };
                    assert!(
                        (sum - answers.get(i, 0)).abs() < 1e-8,
                        "{}: {sum} {}",
                        case.name,
                        answers.get(i, 0)
                    );
                }
            }
        }
    }
}

#[test]
fn faults_name_column_and_row() {
    let mut rows = vec![[0.5, 1.0]; 6];
    rows[4][1] = f64::INFINITY;
    let names = vec!["price".to_owned(), "stock".to_owned()];
    let fault = Dataset::new(Matrix::from_rows(&rows).unwrap(), vec![0.0; 6], names).unwrap_err().to_string();
    assert!(fault.contains("`stock`") && fault.contains("inf") && fault.contains("row 4"), "{fault}");
    for case in cases() {
        let data = case.data(&columns(40, 2));
        let run = Run::new(0);
        let infinite = Matrix::from_rows(&[[0.0, 0.0], [f64::INFINITY, 0.0]]).unwrap();
        let fault = case.predict(&run, &data, &infinite);
        if let Err(fault) = &fault {
            let text = fault.to_string();
            assert!(text.contains("`x0`") && text.contains("row 1"), "{}: {text}", case.name);
        }
        assert!(fault.is_err() || case.bears().missing, "{}: infinite values are told", case.name);
        let fault = case.predict(&run, &data, &Matrix::zeros(1, 3)).unwrap_err().to_string();
        assert!(fault.contains("2 columns") && fault.contains('3'), "{}: {fault}", case.name);
    }
}

#[test]
fn classes_that_cannot_be_learnt_are_told() {
    let x = Matrix::from_columns(&columns(4, 1)).unwrap();
    for (y, word) in [
        (vec![1.0; 4], "only 1"),
        (vec![0.0, 2.0, 0.0, 2.0], "class 1"),
        (vec![0.0, 0.5, 1.0, 1.0], "row 1 has 0.5"),
        (vec![0.0, -1.0, 1.0, 1.0], "row 1 has -1"),
    ] {
        let data = Dataset::new(x.clone(), y, vec![]).unwrap();
        for case in cases().iter().filter(|c| c.task == Task::Multiclass) {
            let fault = case.predict(&Run::new(0), &data, data.x()).unwrap_err().to_string();
            assert!(fault.contains(word), "{}: {fault}", case.name);
        }
    }
}

#[test]
fn extreme_values_never_panic() {
    for case in cases() {
        let lift = |v: f64| if case.bears().negative { v } else { v.abs() };
        for scale in [1e-300, 1e-12, 1e12, 1e155, 1e300] {
            let wide: Vec<Vec<f64>> = columns(30, 2)
                .into_iter()
                .map(|c| c.into_iter().map(|v| lift(v) * scale).collect())
                .collect();
            let y = case.data(&columns(30, 2)).y().to_vec();
            let data = Dataset::new(Matrix::from_columns(&wide).unwrap(), y, vec![]).unwrap();
            if let Ok(p) = case.predict(&Run::new(0), &data, data.x()) {
                assert!(p.iter().all(|v| v.is_finite()), "{} at {scale}: {p:?}", case.name);
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    for case in cases() {
        // Several chunks of rows.
        let data = case.data(&columns(5000, 7));
        let few = data.x().select_rows(&[0, 1, 2, 4999]);
        let one = case.predict(&Run::new(0).with_threads(1), &data, &few).unwrap();
        let four = case.predict(&Run::new(0).with_threads(4), &data, &few).unwrap();
        assert_eq!(bits(&one), bits(&four), "{}", case.name);
    }
}

#[test]
fn saving_and_loading_changes_nothing() {
    for case in cases() {
        let data = case.data(&columns(300, 4));
        let run = Run::new(0);
        let p = case.predict(&run, &data, data.x()).unwrap();
        let q = case.reload(&run, &data, data.x()).unwrap();
        assert_eq!(bits(&p), bits(&q), "{}", case.name);
    }
}

#[test]
fn equal_seeds_give_equal_answers_and_rows_do_not_depend_on_their_company() {
    for case in cases() {
        let data = case.data(&columns(400, 4));
        let run = Run::new(9);
        let p = case.predict(&run, &data, data.x()).unwrap();
        assert_eq!(bits(&p), bits(&case.predict(&run, &data, data.x()).unwrap()), "{}", case.name);
        let alone = case.predict(&run, &data, &data.x().select_rows(&[17])).unwrap();
        assert_eq!(bits(&alone), bits(&p[17 * alone.len()..18 * alone.len()]), "{}", case.name);
    }
}

#[test]
fn weights_count_as_often_as_they_say() {
    for case in cases().into_iter().filter(|c| c.bears().weights && c.is_smooth()) {
        let data = case.data(&columns(60, 2));
        let twice: Vec<usize> = (0..60).chain(0..30).collect();
        let run = Run::new(0);
        let p = case.predict(&run, &data.select_rows(&twice).unwrap(), data.x()).unwrap();
        let weight = (0..60).map(|i| if i < 30 { 2.0 } else { 1.0 }).collect();
        let q = case.predict(&run, &data.clone().with_weight(weight).unwrap(), data.x()).unwrap();
        p.iter().zip(&q).for_each(|(p, q)| assert!((p - q).abs() < 1e-5, "{}: {p} {q}", case.name));
    }
}

#[test]
fn parameters_are_checked_and_have_the_defaults_that_are_told() {
    for case in cases() {
        let e = case.entry;
        let mut unknown = Params::new();
        unknown.insert("no_such_parameter".into(), 1.into());
        assert!(
            matches!(e.learner(case.task, &unknown).err(), Some(Error::UnknownParam { .. })),
            "{}",
            e.name
        );
        let mut bad = Params::new();
        let mut told = Params::new();
        for spec in e.params {
            let wrong = match spec.kind {
                ParamKind::Integer { min, .. } => (min - 1).into(),
                ParamKind::Number { max, .. } => (max * 2.0 + 1.0).into(),
                ParamKind::Choice(_) => "no such word".into(),
                ParamKind::Flag => 3.into(),
                ParamKind::Numbers { max, .. } => vec![max * 2.0 + 1.0].into(),
            };
            bad.insert(spec.name.into(), wrong);
            if !spec.default.is_empty() {
                let value = serde_json::from_str(spec.default).unwrap_or_else(|_| spec.default.into());
                told.insert(spec.name.into(), value);
            }
        }
        if !bad.is_empty() {
            let Err(Error::Params(faults)) = e.learner(case.task, &bad).map(|_| ()) else {
                panic!("{}", e.name)
            };
            assert_eq!(faults.len(), e.params.len(), "{}", e.name);
        }
        let data = case.data(&columns(120, 3));
        let predict = |params: &Params| {
            let fitted = e.learner(case.task, params).unwrap().fit(&Run::new(0), &data).unwrap();
            bits(fitted.predict(data.x()).unwrap().values())
        };
        assert_eq!(
            predict(&Params::new()),
            predict(&told),
            "{}: a default differs from what is told",
            e.name
        );
    }
}

#[test]
fn cancelled_runs_stop() {
    for case in cases() {
        let data = case.data(&columns(50, 2));
        let run = Run::new(0);
        run.cancel();
        let stopped = case.predict(&run, &data, data.x());
        assert!(matches!(stopped, Err(Error::Interrupted)), "{} {}", case.name, case.task);
    }
}

/// Every estimator of unusual rows: no target, one score a row, higher for the unusual.
fn anomaly_cases() -> Vec<Case> {
    let task = Task::Anomaly;
    CATALOG
        .iter()
        .filter(|entry| entry.tasks.contains(&task))
        .map(|entry| Case { name: entry.name, task, classes: false, entry, params: params(entry.name, task) })
        .collect()
}

#[test]
fn unusual_rows_are_found_and_odd_data_are_borne() {
    for case in anomaly_cases() {
        let (run, name) = (Run::new(5), case.name);
        let of = |columns: &[Vec<f64>]| {
            let x = Matrix::from_columns(columns).unwrap();
            let n = x.n_rows();
            Dataset::with_missing(x, vec![0.0; n], vec![]).unwrap()
        };
        for n in [0, 1] {
            let few = Dataset::new(Matrix::zeros(n, 3), vec![0.0; n], vec![]).unwrap();
            let fault = case.predict(&run, &few, &Matrix::zeros(1, 3)).unwrap_err();
            assert!(matches!(fault, Error::NotEnoughData { got, .. } if got == n), "{name}: {fault}");
        }
        // One far row, among constant and duplicate columns too.
        let mut plain = columns(300, 2);
        plain.iter_mut().for_each(|c| c[11] = 9.0);
        let mut more = plain.clone();
        more.push(vec![0.1; 300]);
        more.push(plain[0].clone());
        for data in [of(&plain), of(&more)] {
            let scores = case.predict(&run, &data, data.x()).unwrap();
            assert_eq!(scores.len(), 300, "{name}");
            assert!((0..300).all(|i| i == 11 || scores[i] < scores[11]), "{name}");
            let threads = case.predict(&run.clone().with_threads(3), &data, data.x()).unwrap();
            assert_eq!(bits(&scores), bits(&threads), "{name}");
            assert_eq!(bits(&scores), bits(&case.reload(&run, &data, data.x()).unwrap()), "{name}");
            let alone = case.predict(&run, &data, &data.x().select_rows(&[11])).unwrap();
            assert_eq!(bits(&alone), bits(&scores[11..12]), "{name}");
        }
        // Rows that are all equal, and no column at all.
        for data in [of(&vec![vec![2.0; 40]; 2]), data_of(&[], Task::Regression)] {
            let scores = case.predict(&run, &data, data.x()).unwrap();
            assert!(scores.iter().all(|s| s.is_finite() && *s == scores[0]), "{name}: {scores:?}");
        }
        for scale in [1e-300, 1e12, 1e300] {
            let wide: Vec<Vec<f64>> = plain.iter().map(|c| c.iter().map(|v| v * scale).collect()).collect();
            let data = of(&wide);
            if let Ok(scores) = case.predict(&run, &data, data.x()) {
                assert!(scores.iter().all(|s| s.is_finite()), "{name} at {scale}");
            }
        }
        let data = of(&plain);
        let fault = case.predict(&run, &data, &Matrix::zeros(1, 3)).unwrap_err().to_string();
        assert!(fault.contains("2 columns") && fault.contains('3'), "{name}: {fault}");
        // Missing and infinite values and unseen categories are used or refused by name.
        let odd = Matrix::from_rows(&[[f64::NAN, 0.0], [f64::INFINITY, 0.0], [0.0, 77.0]]).unwrap();
        let mut holed = plain.clone();
        holed[0][7] = f64::NAN;
        holed[1] = (0..300).map(|i| f64::from(i % 5)).collect();
        let kinds = vec![ColumnKind::Number, ColumnKind::Category];
        match case.predict(&run, &of(&holed).with_kinds(kinds).unwrap(), &odd) {
            Ok(scores) => assert!(scores.iter().all(|s| s.is_finite()), "{name}: {scores:?}"),
            Err(fault) => assert!(fault.to_string().contains('`'), "{name}: {fault}"),
        }
        run.cancel();
        assert!(matches!(case.predict(&run, &data, data.x()), Err(Error::Interrupted)), "{name}");
    }
}
