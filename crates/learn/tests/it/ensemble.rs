//! Laws of ensembles, cross-validation and the automatic choice.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tradewind_core::{Error, Params, Result, Run};
use tradewind_learn::auto::{Auto, Folds, Prepared};
use tradewind_learn::crossval::{
    Holdout, KFold, PurgedKFold, RepeatedKFold, Split, StratifiedKFold, TimeSeriesSplit, cross_validate,
};
use tradewind_learn::ensemble::{
    BLEND, Blend, Candidate, Combine, FittedBlend, Greedy, Member, Pool, STACKING, Stacking, load_fitted,
    simplex_weights,
};
use tradewind_learn::search::{MemoryStore, TrialState, TrialStore};
use tradewind_learn::{ColumnKind, Dataset, FittedLearner, Learner, Matrix, Measure, Task};

fn noise(i: usize, k: usize) -> f64 {
    let mut h =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (k as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h ^= h >> 31;
    (h >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

fn numbers(n: usize) -> Dataset {
    let columns: Vec<Vec<f64>> = (0..3).map(|k| (0..n).map(|i| noise(i, k)).collect()).collect();
    let y = (0..n).map(|i| 2.0 * columns[0][i] - columns[1][i] + 0.5 * noise(i, 9)).collect();
    Dataset::new(Matrix::from_columns(&columns).unwrap(), y, vec![]).unwrap()
}

fn classes(n: usize, k: usize) -> Dataset {
    let data = numbers(n);
    let y =
        data.y().iter().map(|v| ((v + 1.5) / 3.0 * k as f64).floor().clamp(0.0, k as f64 - 1.0)).collect();
    data.with_target(y).unwrap()
}

fn params(text: &str) -> Params {
    serde_json::from_str(text).unwrap()
}

fn linear_members() -> Vec<Candidate> {
    vec![
        Candidate::of("ridge", Task::Regression, &params(r#"{"alpha": 1e-6}"#)).unwrap(),
        Candidate::of("ridge", Task::Regression, &params(r#"{"alpha": 1000}"#)).unwrap(),
        Candidate::of("huber", Task::Regression, &params("{}")).unwrap(),
    ]
}

/// Knows every row it was fitted on by heart, and nothing else.
struct Memoriser;

struct Memory(BTreeMap<Vec<u64>, f64>);

fn key(row: &[f64]) -> Vec<u64> {
    row.iter().map(|v| v.to_bits()).collect()
}

impl Learner for Memoriser {
    fn fit(&self, _run: &Run, data: &Dataset) -> Result<Box<dyn FittedLearner>> {
        Ok(Box::new(Memory(data.x().rows().map(key).zip(data.y().iter().copied()).collect())))
    }
}

impl FittedLearner for Memory {
    fn predict(&self, x: &Matrix) -> Result<Matrix> {
        Matrix::new(
            x.n_rows(),
            1,
            x.rows().map(|row| self.0.get(&key(row)).copied().unwrap_or(1000.0)).collect(),
        )
    }

    fn save(&self) -> Result<serde_json::Value> {
        Err(Error::Invalid("only for tests".into()))
    }
}

#[test]
fn stacking_learns_from_rows_not_seen_only() {
    let data = numbers(120);
    let memoriser = || Candidate { name: "memoriser".into(), learner: Box::new(Memoriser) };
    let ridge = || Candidate::of("ridge", Task::Regression, &params(r#"{"alpha": 1e-6}"#)).unwrap();
    let fit = |members| {
        let meta = Candidate::of("ols", Task::Regression, &Params::new()).unwrap();
        let stacking = Stacking { members, meta, task: Task::Regression, n_folds: 4, passthrough: false };
        stacking.fit(&Run::new(1), &data).unwrap()
    };
    let (with, without) = (fit(vec![ridge(), memoriser()]), fit(vec![ridge()]));
    // Out of fold the memoriser says 1000 for every row, so the upper model cannot use it: were its answers for rows
    // seen used, it would be followed alone.
    let table = with.meta().model.coefficients().unwrap();
    assert_eq!(table.len(), 2, "{table:?}");
    let (a, b) = (with.predict(data.x()).unwrap(), without.predict(data.x()).unwrap());
    for (a, b) in a.values().iter().zip(b.values()) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    let splits = KFold { n_folds: 4, shuffle: true }.split(&Run::new(1), 120).unwrap();
    let found =
        cross_validate(&Run::new(1), &Memoriser, Task::Regression, &data, &splits, Measure::Rmse).unwrap();
    assert!(found.predictions.values().iter().all(|v| *v == 1000.0));
}

#[test]
fn ensembles_read_back_bit_for_bit_and_do_not_depend_on_threads() {
    let (data, labels) = (numbers(150), classes(150, 3));
    let logistic = |l2: &str| Candidate::of("logistic", Task::Multiclass, &params(l2)).unwrap();
    let mut learners: Vec<(&str, &Dataset, Box<dyn Learner>)> = Vec::new();
    for combine in [Combine::Average, Combine::Validation, Combine::Greedy(Greedy::default())] {
        let (task, measure) = (Task::Regression, Measure::Rmse);
        let blend = Blend { members: linear_members(), task, combine, measure, n_folds: 4 };
        learners.push((BLEND, &data, Box::new(blend)));
        let members = vec![logistic(r#"{"l2": 1}"#), logistic(r#"{"l2": 100}"#)];
        let (task, measure) = (Task::Multiclass, Measure::LogLoss);
        learners.push((BLEND, &labels, Box::new(Blend { members, task, combine, measure, n_folds: 4 })));
    }
    let meta = Candidate::of("ridge", Task::Regression, &Params::new()).unwrap();
    let stacking =
        Stacking { members: linear_members(), meta, task: Task::Regression, n_folds: 4, passthrough: true };
    learners.push((STACKING, &data, Box::new(stacking)));
    for (name, data, learner) in learners {
        let one = learner.fit(&Run::new(2).with_threads(1), data).unwrap();
        let four = learner.fit(&Run::new(2).with_threads(4), data).unwrap();
        let saved = one.save().unwrap();
        assert_eq!(saved, four.save().unwrap());
        let loaded = load_fitted(name, serde_json::from_str(&saved.to_string()).unwrap()).unwrap();
        let (p, q) = (one.predict(data.x()).unwrap(), loaded.predict(data.x()).unwrap());
        assert_eq!(p, q);
        if p.n_cols() == 3 {
            assert!(p.rows().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9));
        }
        assert!(one.predict(&Matrix::zeros(1, 9)).is_err());
    }
    assert!(load_fitted("nothing", serde_json::Value::Null).is_err());
}

#[test]
fn weights_go_to_the_member_that_is_right() {
    let data = numbers(80);
    let right = Matrix::new(80, 1, data.y().to_vec()).unwrap();
    let wrong = Matrix::new(80, 1, (0..80).map(|i| 3.0 * noise(i, 77)).collect()).unwrap();
    let weights =
        simplex_weights(&Run::new(0), Task::Regression, &[wrong.clone(), right.clone()], &data).unwrap();
    assert!(weights[1] > 0.999, "{weights:?}");
    // Two members that err to both sides by 1: half of each is right.
    let up = Matrix::new(80, 1, data.y().iter().map(|v| v + 1.0).collect()).unwrap();
    let down = Matrix::new(80, 1, data.y().iter().map(|v| v - 1.0).collect()).unwrap();
    let answers = [wrong, up, down];
    let weights = simplex_weights(&Run::new(0), Task::Regression, &answers, &data).unwrap();
    assert!((weights[1] - 0.5).abs() < 0.01 && weights[0] < 0.01, "{weights:?}");
    let greedy = Greedy { n_bags: 1, ..Greedy::default() };
    let choice =
        greedy.choose(&Run::new(0), Task::Regression, Measure::Rmse, &answers, data.y(), None).unwrap();
    assert!(choice.score < 1e-9 && choice.weights[0] == 0.0, "{choice:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn greedy_selection_is_never_worse_than_its_best_member(
        seed in any::<u64>(), n_members in 1_usize..8, n_bags in 1_usize..6, binary in any::<bool>(),
    ) {
        let n = 40;
        let truth: Vec<f64> = (0..n).map(|i| if binary { f64::from(u8::from(noise(i, 1) > 0.0)) } else { noise(i, 1) }).collect();
        let answers: Vec<Matrix> = (0..n_members).map(|m| {
            let of = |i: usize| truth[i] + noise(i, 2 + m + (seed % 1000) as usize);
            match binary {
                false => Matrix::new(n, 1, (0..n).map(of).collect()).unwrap(),
                true => {
                    let p: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + (1.0 - 2.0 * of(i)).exp())).collect();
                    Matrix::from_columns(&[p.iter().map(|p| 1.0 - p).collect(), p]).unwrap()
                }
            }
        }).collect();
        let (task, measure) = if binary { (Task::Binary, Measure::RocAuc) } else { (Task::Regression, Measure::Mae) };
        let greedy = Greedy { n_bags, n_rounds: 12, bag_share: 0.6 };
        let choice = greedy.choose(&Run::new(seed), task, measure, &answers, &truth, None).unwrap();
        prop_assert!((choice.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for a in &answers {
            let alone = measure.score(task, &truth, a, None, None).unwrap();
            prop_assert!(measure.loss(choice.score) <= measure.loss(alone) + 1e-12);
        }
    }

    #[test]
    fn holdouts_and_folds_part_the_rows(n in 12_usize..80, seed in any::<u64>(), horizon in 0_i64..4, embargo in 0_i64..4) {
        let time: Vec<i64> = (0..n).map(|i| (i as i64 * 7919) % n as i64 / 2).collect();
        let ids: Vec<String> = (0..n).map(|i| format!("user {}", i % 40)).collect();
        let holdout = Holdout::default();
        let run = Run::new(seed);
        for parts in [holdout.random(&run, n), holdout.by_time(&time), holdout.by_hash(&ids, seed)].into_iter().flatten() {
            let mut all = [parts.train.clone(), parts.validation.clone(), parts.test.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
        let parts = holdout.by_time(&time).unwrap();
        let ends = |rows: &[usize]| (rows.iter().map(|&i| time[i]).min().unwrap(), rows.iter().map(|&i| time[i]).max().unwrap());
        prop_assert!(ends(&parts.train).1 < ends(&parts.validation).0 && ends(&parts.validation).1 < ends(&parts.test).0);
        if let Ok(parts) = holdout.by_hash(&ids, seed) {
            for (a, b) in [(&parts.train, &parts.test), (&parts.validation, &parts.test), (&parts.train, &parts.validation)] {
                prop_assert!(a.iter().all(|&i| b.iter().all(|&j| ids[i] != ids[j])));
            }
        }
        let purged = PurgedKFold { n_folds: 3, horizon, embargo };
        if let Ok(splits) = purged.split(&time) {
            let mut tested: Vec<usize> = splits.iter().flat_map(|s| s.test.clone()).collect();
            tested.sort_unstable();
            prop_assert_eq!(tested, (0..n).collect::<Vec<_>>());
            for Split { train, test } in &splits {
                let (from, to) = ends(test);
                for &i in train {
                    let t = time[i];
                    prop_assert!(t + horizon < from || t > to + horizon + embargo);
                }
            }
        }
        let repeated = RepeatedKFold { n_folds: 3, n_repeats: 2 }.split(&run, n).unwrap();
        prop_assert_eq!(repeated.len(), 6);
        prop_assert!(repeated[..3] != repeated[3..]);
        for repeat in [&repeated[..3], &repeated[3..]] {
            let mut tested: Vec<usize> = repeat.iter().flat_map(|s| s.test.clone()).collect();
            tested.sort_unstable();
            prop_assert_eq!(tested, (0..n).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_part_by_hash_stays_when_rows_are_added() {
    let ids: Vec<String> = (0..500).map(|i| i.to_string()).collect();
    let (few, all) =
        (Holdout::default().by_hash(&ids[..300], 1).unwrap(), Holdout::default().by_hash(&ids, 1).unwrap());
    assert_eq!(few.test, all.test.iter().copied().filter(|i| *i < 300).collect::<Vec<_>>());
    assert!((70..130).contains(&all.test.len()), "{}", all.test.len());
    assert_ne!(all.test, Holdout::default().by_hash(&ids, 2).unwrap().test);
    assert!(Holdout { validation: 0.6, test: 0.5 }.by_hash(&ids, 1).is_err());
}

#[test]
fn cross_validation_scores_each_fold_and_keeps_answers_out_of_fold() {
    let data = numbers(90);
    let run = Run::new(6);
    let splits = KFold { n_folds: 3, shuffle: true }.split(&run, 90).unwrap();
    let ridge = tradewind_learn::linear::Ridge { alpha: 0.1 };
    let found = cross_validate(&run, &ridge, Task::Regression, &data, &splits, Measure::Rmse).unwrap();
    for (split, score) in splits.iter().zip(&found.scores) {
        let fitted = ridge.fit(&run, &data.select_rows(&split.train).unwrap()).unwrap();
        let p = fitted.predict(&data.x().select_rows(&split.test)).unwrap();
        let sum: f64 = split.test.iter().zip(&p).map(|(&i, p)| (data.y()[i] - p).powi(2)).sum();
        assert!((score - (sum / split.test.len() as f64).sqrt()).abs() < 1e-12);
        split.test.iter().zip(&p).for_each(|(&i, p)| assert_eq!(found.predictions.get(i, 0), *p));
    }
    assert!((found.mean() - found.scores.iter().sum::<f64>() / 3.0).abs() < 1e-15 && found.sd() > 0.0);
    // Splits in time leave the earliest rows without an answer.
    let time: Vec<i64> = (0..90).collect();
    let splits =
        TimeSeriesSplit { n_splits: 2, test_size: 20, gap: 3, train_size_max: 0 }.split(&time).unwrap();
    let found = cross_validate(&run, &ridge, Task::Regression, &data, &splits, Measure::Mae).unwrap();
    assert_eq!(found.predicted, (50..90).collect::<Vec<_>>());
    assert!(found.predictions.get(49, 0).is_nan() && found.predictions.get(50, 0).is_finite());
    // A fault of one fold is told, and so is a row that is not there.
    let one = vec![Split { train: vec![0, 1], test: vec![90] }];
    let fault = cross_validate(&run, &ridge, Task::Regression, &data, &one, Measure::Mae).unwrap_err();
    assert!(fault.to_string().contains("row 90"), "{fault}");
    let labels = classes(90, 2).with_target([vec![0.0; 45], vec![1.0; 45]].concat()).unwrap();
    let blocks = KFold { n_folds: 2, shuffle: false }.split(&run, 90).unwrap();
    let logistic = Candidate::of("logistic", Task::Binary, &Params::new()).unwrap().learner;
    let fault =
        cross_validate(&run, &*logistic, Task::Binary, &labels, &blocks, Measure::LogLoss).unwrap_err();
    assert!(fault.to_string().contains("only 1"), "{fault}");
}

/// Columns of another scale, with holes, and one of categories that the target follows.
fn dirty(n: usize, task: Task) -> Dataset {
    let price: Vec<f64> =
        (0..n).map(|i| if i % 11 == 3 { f64::NAN } else { 1e4 * noise(i, 1) + 5e4 }).collect();
    let brand: Vec<f64> = (0..n).map(|i| if i % 17 == 4 { f64::NAN } else { (i * 7 % 5) as f64 }).collect();
    let y = (0..n)
        .map(|i| {
            let of_brand =
                if brand[i].is_nan() { 0.0 } else { [0.0, 2.0, -2.0, 1.0, -1.0][brand[i] as usize] };
            let of_price = if price[i].is_nan() { 3.0 } else { (price[i] - 5e4) / 1e4 };
            let z = of_brand + of_price + 0.3 * noise(i, 5);
            match task {
                Task::Binary => f64::from(u8::from(z > 0.2)),
                Task::Multiclass => f64::from(u8::from(z > 1.0)) + f64::from(u8::from(z > -0.5)),
                _ => z,
            }
        })
        .collect();
    let x = Matrix::from_columns(&[price, brand]).unwrap();
    let data = Dataset::with_missing(x, y, vec!["price".into(), "brand".into()]).unwrap();
    data.with_kinds(vec![ColumnKind::Number, ColumnKind::Category]).unwrap()
}

#[test]
fn preparation_makes_any_estimator_bear_any_data() {
    let data = dirty(300, Task::Regression);
    for name in ["ols", "ridge", "elastic_net", "huber", "quantile"] {
        let own = if name == "elastic_net" { r#"{"alpha": 0.001}"# } else { "{}" };
        let prepared = Prepared::of(name, Task::Regression, &params(own)).unwrap();
        let fitted = prepared.fit(&Run::new(0), &data).unwrap();
        let p = fitted.predict(data.x()).unwrap();
        let error = Measure::R2.score(Task::Regression, data.y(), &p, None, None).unwrap();
        assert!(error > 0.9, "{name}: {error}");
        // Unknown categories are like missing ones.
        let odd = fitted.predict(&Matrix::from_rows(&[[5e4, 77.0], [5e4, f64::NAN]]).unwrap()).unwrap();
        assert_eq!(odd.get(0, 0), odd.get(1, 0));
        let parts = FittedLearner::contributions(&fitted, &Run::new(0), data.x()).unwrap().unwrap();
        assert_eq!(parts.n_cols(), 3);
        for (row, p) in parts.rows().zip(p.values()) {
            assert!((row.iter().sum::<f64>() - p).abs() < 1e-8, "{name}");
        }
        assert!(fitted.predict(&Matrix::zeros(1, 3)).is_err());
        let fault = fitted.predict(&Matrix::from_rows(&[[f64::INFINITY, 1.0]]).unwrap()).unwrap_err();
        assert!(fault.to_string().contains("`price`"), "{fault}");
        let loaded = load_fitted("prepared", fitted.save().unwrap()).unwrap();
        assert_eq!(loaded.predict(data.x()).unwrap(), p);
    }
}

#[test]
fn auto_finds_a_good_model_for_every_task_and_saves_it() {
    for task in [Task::Regression, Task::Binary, Task::Multiclass] {
        let data = dirty(240, task);
        let auto = Auto {
            n_trials: 12,
            n_folds: 3,
            learners: vec!["ridge".into(), "ols".into(), "logistic".into(), "huber".into()],
            ..Auto::default()
        };
        let chosen = auto.fit(&Run::new(1), task, &data, Folds::Random, &|| 0.0).unwrap();
        let best = &chosen.leaderboard[0];
        assert_eq!(chosen.leaderboard.len(), 12);
        assert!(chosen.leaderboard.iter().any(|s| s.weight > 0.0));
        assert!((chosen.leaderboard.iter().map(|s| s.weight).sum::<f64>() - 1.0).abs() < 1e-9);
        let score = best.score.unwrap();
        match task {
            Task::Regression => assert!(score < 0.5, "{score}"),
            Task::Binary => assert!(score > 0.97, "{score}"),
            _ => assert!(score < 0.6, "{score}"),
        }
        // Ranked by the measure, and the folds' mean is the score.
        let complete: Vec<f64> = chosen
            .leaderboard
            .iter()
            .filter(|s| s.state == TrialState::Complete)
            .map(|s| chosen.measure.loss(s.score.unwrap()))
            .collect();
        assert!(complete.windows(2).all(|w| w[0] <= w[1]));
        assert!(best.sd.unwrap() > 0.0);
        let saved = chosen.model.save().unwrap();
        let loaded = load_fitted(BLEND, serde_json::from_str(&saved.to_string()).unwrap()).unwrap();
        assert_eq!(loaded.predict(data.x()).unwrap(), chosen.model.predict(data.x()).unwrap());
        // The table of standings is plain data.
        let text = serde_json::to_string(&chosen.leaderboard).unwrap();
        assert!(text.contains("\"learner\""));
        let again = auto.fit(&Run::new(1).with_threads(3), task, &data, Folds::Random, &|| 0.0).unwrap();
        assert_eq!(again.model.save().unwrap(), saved);
    }
}

#[test]
fn auto_within_a_budget_ends_with_a_model_and_goes_on_later() {
    let data = dirty(200, Task::Regression);
    let learners = vec!["ridge".to_owned(), "huber".to_owned()];
    let auto = Auto {
        n_trials: 10,
        n_folds: 3,
        seconds_max: Some(0.0),
        learners: learners.clone(),
        ..Auto::default()
    };
    let at_once = auto.fit(&Run::new(1), Task::Regression, &data, Folds::Random, &|| 1.0).unwrap();
    assert_eq!(at_once.leaderboard.len(), 1);
    // A clock that goes on by one second at every look.
    let looks = AtomicUsize::new(0);
    let clock = || looks.fetch_add(1, Ordering::Relaxed) as f64;
    let store = MemoryStore::default();
    let auto = Auto { seconds_max: Some(40.0), ..auto };
    let part = auto.fit_stored(&Run::new(1), Task::Regression, &data, Folds::Random, &clock, &store).unwrap();
    let n = part.leaderboard.len();
    assert!((2..10).contains(&n), "{n}");
    assert!(part.leaderboard[0].seconds.unwrap() > 0.0);
    // Taken up again without a budget it is the choice that was never stopped.
    let whole = Auto { seconds_max: None, ..auto };
    let stored = MemoryStore::new(store.read().unwrap());
    let a = whole.fit_stored(&Run::new(1), Task::Regression, &data, Folds::Random, &|| 0.0, &stored).unwrap();
    let b = whole.fit(&Run::new(1), Task::Regression, &data, Folds::Random, &|| 0.0).unwrap();
    assert_eq!(a.model.save().unwrap(), b.model.save().unwrap());
    assert_eq!(a.leaderboard.len(), 10);
}

#[test]
fn auto_keeps_to_groups_times_and_given_rows() {
    let data = numbers(120);
    let auto = Auto { n_trials: 3, n_folds: 3, learners: vec!["ridge".into()], ..Auto::default() };
    let run = Run::new(2);
    let groups: Vec<u64> = (0..120).map(|i| i / 10).collect();
    let time: Vec<i64> = (0..120).collect();
    for folds in [Folds::Groups(&groups), Folds::Time { time: &time, gap: 2 }] {
        let chosen = auto.fit(&run, Task::Regression, &data, folds, &|| 0.0).unwrap();
        assert!(chosen.score < 0.4, "{}", chosen.score);
    }
    let fault = auto.fit(&run, Task::Regression, &data, Folds::Groups(&groups[1..]), &|| 0.0).unwrap_err();
    assert!(fault.to_string().contains("119 groups"), "{fault}");
    let fault = auto.fit(&run, Task::Ranking, &data, Folds::Random, &|| 0.0).unwrap_err();
    assert!(fault.to_string().contains("ranking"), "{fault}");
    let odd = Auto { learners: vec!["rigde".into()], ..auto };
    let fault = odd.fit(&run, Task::Regression, &data, Folds::Random, &|| 0.0).unwrap_err();
    assert!(fault.to_string().contains("rigde"), "{fault}");
    let label: Vec<usize> = classes(60, 2).y().iter().map(|v| *v as usize).collect();
    assert_eq!(StratifiedKFold::default().split(&run, &label).unwrap().len(), 5);
}

/// Members that say the same are not changed by pooling, log odds are averaged, and saving keeps it.
#[test]
fn probabilities_pool_by_log_odds() {
    let data = classes(300, 2);
    let run = Run::new(3);
    let member = |name: &str, p: &str| {
        let model = Candidate::of(name, Task::Binary, &params(p)).unwrap().learner.fit(&run, &data).unwrap();
        Member { name: name.into(), model }
    };
    let twin = || member("logistic", r#"{"l2": 1}"#);
    let alone = twin().model.predict(data.x()).unwrap();
    let twice = FittedBlend::new(vec![twin(), twin()], vec![0.3, 0.7]).unwrap().with_pool(Pool::Logarithmic);
    let both = twice.predict(data.x()).unwrap();
    assert!(alone.values().iter().zip(both.values()).all(|(a, b)| (a - b).abs() < 1e-12));

    let other = || member("gaussian_nb", "{}");
    let mixed = FittedBlend::new(vec![twin(), other()], vec![0.6, 0.4]).unwrap().with_pool(Pool::Logarithmic);
    let (a, b, m) = (alone, other().model.predict(data.x()).unwrap(), mixed.predict(data.x()).unwrap());
    let log_odds = |p: &Matrix, i: usize| (p.get(i, 1) / p.get(i, 0)).ln();
    for i in 0..data.n_rows() {
        let want = 0.6 * log_odds(&a, i) + 0.4 * log_odds(&b, i);
        assert!((log_odds(&m, i) - want).abs() < 1e-9, "{i}");
        assert!((m.get(i, 0) + m.get(i, 1) - 1.0).abs() < 1e-12);
    }
    let back = load_fitted(BLEND, mixed.save().unwrap()).unwrap();
    assert_eq!(back.predict(data.x()).unwrap(), m);
}
