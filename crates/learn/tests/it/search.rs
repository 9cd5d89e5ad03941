//! Laws of search: suggestions stay in the space, a killed search goes on as if nothing had happened, threads change
//! nothing, pruning spares the best.

use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use tradewind_core::{Error, Params, Result, Run};
use tradewind_learn::CATALOG;
use tradewind_learn::search::{
    Acquisition, Attempt, Condition, Dimension, Direction, Domain, GaussianProcess, MemoryStore, Pruner,
    Sampler, Search, Space, Study, Tpe, Trial, TrialState, TrialStore, grid, space_of,
};

const MIXED: &str = "model=choice(a,b) x=log(0.001,10) n=int(1,31,3) m=logint(2,500) deep=flag y[model=b]=float(-1,1) \
                     z[n=1|4|7]=float(0,1) w[deep=true]=choice(u,v,w)";

fn samplers() -> Vec<Sampler> {
    let process = GaussianProcess { n_startup: 5, n_candidates: 64, ..GaussianProcess::default() };
    vec![
        Sampler::Random,
        Sampler::Halton,
        Sampler::Grid { n_steps: 2 },
        Sampler::Tpe(Tpe { n_startup: 5, ..Tpe::default() }),
        Sampler::Tpe(Tpe { n_startup: 5, multivariate: false, ..Tpe::default() }),
        Sampler::GaussianProcess(process),
        Sampler::GaussianProcess(GaussianProcess { acquisition: Acquisition::Thompson, ..process }),
    ]
}

/// A smooth score of whatever is given, that fails now and then.
fn score(trial: &mut Attempt<'_>) -> Result<f64> {
    if trial.number() % 7 == 5 {
        return Err(Error::Invalid("this one does not work".into()));
    }
    let params = trial.params().clone();
    Ok(params.iter().fold(0.0, |sum, (name, v)| {
        let v = v.as_f64().unwrap_or(v.to_string().len() as f64);
        sum + (v - name.len() as f64).powi(2).ln_1p()
    }))
}

fn trials(run: &Run, search: Search, stop_after: u64, store: &dyn TrialStore) -> Vec<Trial> {
    let mut study = Study::open(run, MIXED.parse().unwrap(), search, store).unwrap();
    let done = AtomicU64::new(0);
    study
        .optimise(
            |t| {
                done.fetch_add(1, Ordering::Relaxed);
                score(t)
            },
            &|| done.load(Ordering::Relaxed) >= stop_after,
        )
        .unwrap();
    study.trials().cloned().collect()
}

#[test]
fn suggestions_lie_in_the_space_and_failures_are_recorded() {
    let space: Space = MIXED.parse().unwrap();
    for sampler in samplers() {
        let search = Search { sampler, n_trials: 24, ..Search::default() };
        let all = trials(&Run::new(3), search, u64::MAX, &MemoryStore::default());
        assert_eq!(all.len(), 24, "{sampler:?}");
        for t in &all {
            space.check_point(&t.params).unwrap();
            let failed = t.number % 7 == 5;
            assert_eq!(t.state == TrialState::Failed, failed);
            assert_eq!(t.error.is_some(), failed);
            assert_eq!(t.value.is_none(), failed);
        }
    }
}

#[test]
fn a_killed_search_goes_on_with_the_same_trials() {
    for sampler in samplers() {
        for batch_size in [1, 4] {
            let search = Search { sampler, batch_size, n_trials: 22, ..Search::default() };
            let run = Run::new(8).with_threads(1);
            let whole = trials(&run, search, u64::MAX, &MemoryStore::default());
            // Killed in the middle of a batch; what was stored comes back through text, in another order.
            let store = MemoryStore::default();
            let part = trials(&run, search, 10, &store);
            assert_eq!(part, whole[..10], "{sampler:?}");
            let text = serde_json::to_string(&store.read().unwrap()).unwrap();
            let mut stored: Vec<Trial> = serde_json::from_str(&text).unwrap();
            stored.reverse();
            let rest = trials(&run, search, u64::MAX, &MemoryStore::new(stored));
            assert_eq!(rest, whole, "{sampler:?} {batch_size}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    for sampler in samplers() {
        let search = Search { sampler, batch_size: 5, n_trials: 15, ..Search::default() };
        let one = trials(&Run::new(4).with_threads(1), search, u64::MAX, &MemoryStore::default());
        let four = trials(&Run::new(4).with_threads(4), search, u64::MAX, &MemoryStore::default());
        assert_eq!(one, four, "{sampler:?}");
    }
}

#[test]
fn asking_and_telling_is_the_same_search() {
    let search = Search { n_trials: 18, ..Search::default() };
    let whole = trials(&Run::new(5), search, u64::MAX, &MemoryStore::default());
    let store = MemoryStore::default();
    let mut study = Study::open(&Run::new(5), MIXED.parse().unwrap(), search, &store).unwrap();
    while let Some((number, params)) = study.ask().unwrap() {
        let expected = &whole[number as usize];
        assert_eq!(params, expected.params);
        let outcome = expected.value.ok_or_else(|| Error::Invalid(expected.error.clone().unwrap()));
        study.tell(number, outcome).unwrap();
    }
    assert!(study.tell(3, Ok(0.0)).unwrap_err().to_string().contains("trial 3"));
    assert_eq!(store.read().unwrap().len(), 18);
}

#[test]
fn stored_trials_of_another_space_are_refused() {
    let search = Search { n_trials: 3, ..Search::default() };
    let store = MemoryStore::default();
    trials(&Run::new(0), search, u64::MAX, &store);
    let fault = Study::open(&Run::new(0), "x=float(0,1)".parse().unwrap(), search, &store).err().unwrap();
    assert!(fault.to_string().contains("another search"), "{fault}");
    let twice = [store.read().unwrap(), store.read().unwrap()].concat();
    let twice = MemoryStore::new(twice);
    let fault = Study::open(&Run::new(0), MIXED.parse().unwrap(), search, &twice).err().unwrap();
    assert!(fault.to_string().contains("stored twice"), "{fault}");
}

#[test]
fn model_based_samplers_beat_chance_and_both_directions_agree() {
    let bowl = |t: &mut Attempt<'_>| {
        Ok((t.number_of("x")? - 0.3).powi(2)
            + (t.number_of("y")? + 0.7).powi(2)
            + (t.number_of("k")? - 4.0).abs())
    };
    let best = |sampler: Sampler, direction: Direction, n_trials: u64| {
        let mut best: Vec<f64> = (0..5)
            .map(|seed| {
                let store = MemoryStore::default();
                let search = Search { sampler, direction, n_trials, ..Search::default() };
                let space = "x=float(-2,2) y=float(-2,2) k=int(1,20)".parse().unwrap();
                let mut study = Study::open(&Run::new(seed), space, search, &store).unwrap();
                study.optimise(|t| Ok(direction.loss(bowl(t)?)), &|| false).unwrap();
                direction.loss(study.best().unwrap().value.unwrap())
            })
            .collect();
        best.sort_by(f64::total_cmp);
        best[2]
    };
    let (low, high) = (Direction::Minimise, Direction::Maximise);
    let chance = best(Sampler::Random, low, 60);
    let tpe = best(Sampler::default(), low, 60);
    let process = best(Sampler::GaussianProcess(GaussianProcess::default()), low, 30);
    assert!(tpe < 0.5 * chance && process < 0.5 * tpe, "{chance} {tpe} {process}");
    assert_eq!(tpe, best(Sampler::default(), high, 60));
}

#[test]
fn faults_of_the_space_name_the_parameter() {
    for (text, word) in [
        ("x", "name=range"),
        ("x=between(0,1)", "between(0,1)"),
        ("x=float(0,one)", "`one`"),
        ("x=float(2,1)", "2 to 1"),
        ("x=log(0,1)", "above 0"),
        ("n=int(1,5,0)", "step"),
        ("n=logint(0,5)", "logarithmic"),
        ("x=float(0,1) x=flag", "twice"),
        ("m=choice(a,a)", "twice"),
        ("y[m=a]=flag m=choice(a,b)", "earlier"),
        ("m=choice(a,b) y[m=c]=flag", "m = c"),
        ("m=float(0,1) y[m=0]=flag", "m = 0"),
    ] {
        let fault = text.parse::<Space>().unwrap_err().to_string();
        assert!(fault.contains(word), "{text}: {fault}");
    }
    let space: Space = "x=float(0,1) y=flag".parse().unwrap();
    for (point, word) in [
        (r#"{"x": 2.0, "y": true}"#, "not in float(0,1)"),
        (r#"{"x": 0.5}"#, "`y`"),
        (r#"{"x": 0.5, "y": true, "z": 1}"#, "`z`"),
    ] {
        let point: Params = serde_json::from_str(point).unwrap();
        let fault = space.check_point(&point).unwrap_err().to_string();
        assert!(fault.contains(word), "{fault}");
    }
}

#[test]
fn a_grid_has_every_combination_once() {
    let space: Space = "m=choice(a,b) k=int(1,3) x[m=b]=float(0,1) n=int(0,100)".parse().unwrap();
    let points = grid(&space, 3).unwrap();
    assert_eq!(points.len(), 3 * 3 + 3 * 3 * 3);
    for (i, p) in points.iter().enumerate() {
        space.check_point(p).unwrap();
        assert!(!points[..i].contains(p));
    }
    assert!(points.iter().any(|p| p["n"] == 100) && points.iter().any(|p| p["n"] == 0));
    assert!(grid(&"a=float(0,1) b=float(0,1) c=float(0,1)".parse().unwrap(), 1000).is_err());
}

#[test]
fn spaces_of_the_catalogue_name_parameters_in_their_range() {
    for entry in CATALOG {
        for task in entry.tasks {
            let space = space_of(entry.name, *task).unwrap();
            let names: Vec<&str> = space.dimensions().iter().map(|d| d.name.as_str()).collect();
            let mut rng = Run::new(1).rng(1);
            for _ in 0..20 {
                let mut point = space.draw(&mut rng);
                point.retain(|name, _| entry.params.iter().any(|p| p.name == name));
                assert_eq!(point.len(), names.len(), "{} has not all of {names:?}", entry.name);
                entry.learner(*task, &point).unwrap();
            }
        }
    }
}

#[test]
fn pruning_gives_up_the_bad_and_finishes_the_good() {
    // The score of trial x falls from 2x to x over nine steps.
    let run = |pruner: Pruner| {
        let store = MemoryStore::default();
        let search = Search { sampler: Sampler::Halton, pruner, n_trials: 60, ..Search::default() };
        let mut study = Study::open(&Run::new(2), "x=float(0,1)".parse().unwrap(), search, &store).unwrap();
        study
            .optimise(
                |t| {
                    let x = t.number_of("x")?;
                    for step in 1..=9 {
                        if !t.report(step, x * (1.0 + 1.0 / step as f64)) {
                            return Ok(0.0);
                        }
                    }
                    Ok(x)
                },
                &|| false,
            )
            .unwrap();
        let steps: u64 = study.trials().map(|t| t.reports.len() as u64).sum();
        let x = study.best().unwrap().params["x"].as_f64().unwrap();
        let least = study.trials().map(|t| t.params["x"].as_f64().unwrap()).fold(1.0, f64::min);
        (steps, x, least)
    };
    let (all, x, least) = run(Pruner::None);
    assert_eq!((all, x), (540, least));
    for pruner in [
        Pruner::Median { n_startup: 5, n_warmup: 0 },
        Pruner::SuccessiveHalving { min_resource: 1, reduction: 3 },
        Pruner::Hyperband { min_resource: 1, max_resource: 9, reduction: 3 },
    ] {
        let (steps, x, least) = run(pruner);
        assert_eq!(x, least, "{pruner:?} lost the best");
        assert!(steps < 450, "{pruner:?}: {steps}");
    }
}

fn trial(number: u64, reports: Vec<(u64, f64)>) -> Trial {
    let value = reports.last().map(|(_, v)| *v);
    Trial {
        number,
        params: Params::new(),
        state: TrialState::Complete,
        value,
        reports,
        error: None,
        seconds: None,
    }
}

fn domain() -> impl Strategy<Value = Domain> {
    prop_oneof![
        (-1e6..1e6, 0.0..1e6).prop_map(|(low, more)| Domain::Float { low, high: low + more, log: false }),
        (1e-9..1e3, 1.0..1e6).prop_map(|(low, times)| Domain::Float { low, high: low * times, log: true }),
        (-1000_i64..1000, 0_i64..1000, 1_i64..7).prop_map(|(low, more, step)| Domain::Int {
            low,
            high: low + more,
            step,
            log: false
        }),
        (1_i64..100, 0_i64..100_000).prop_map(|(low, more)| Domain::Int {
            low,
            high: low + more,
            step: 1,
            log: true
        }),
        (1_usize..6).prop_map(|n| Domain::Choice((0..n).map(|i| format!("w{i}")).collect())),
        Just(Domain::Flag),
    ]
}

fn space() -> impl Strategy<Value = Space> {
    proptest::collection::vec((domain(), any::<u16>()), 1..6).prop_map(|domains| {
        let mut dimensions: Vec<Dimension> = Vec::new();
        for (i, (domain, pick)) in domains.into_iter().enumerate() {
            // Half of the parameters depend on an earlier one, where one can be depended on.
            let when = dimensions.get(usize::from(pick) % (2 * i.max(1))).and_then(|on| {
                let is = match &on.domain {
                    Domain::Choice(words) => words[0].clone(),
                    Domain::Flag => "true".into(),
                    Domain::Int { low, .. } => low.to_string(),
                    Domain::Float { .. } => return None,
                };
                Some(Condition { on: on.name.clone(), is: vec![is] })
            });
            dimensions.push(Dimension { name: format!("p{i}"), domain, when });
        }
        Space::new(dimensions).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn spaces_read_back_from_text_and_json(space in space()) {
        prop_assert_eq!(&space.to_string().parse::<Space>().unwrap(), &space);
        let json = serde_json::to_string(&space).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Space>(&json).unwrap(), &space);
    }

    #[test]
    fn every_sampler_stays_in_every_space(space in space(), seed in any::<u64>(), which in 0_usize..7) {
        let store = MemoryStore::default();
        let sampler = samplers()[which];
        let search = Search { sampler, n_trials: 12, batch_size: 3, ..Search::default() };
        let mut study = match Study::open(&Run::new(seed), space.clone(), search, &store) {
            Ok(study) => study,
            // Only a grid may be too large.
            Err(_) => return Ok(()),
        };
        study.optimise(|t| Ok((t.number() as f64 * 0.7).sin()), &|| false).unwrap();
        for t in study.trials() {
            prop_assert!(space.check_point(&t.params).is_ok(), "{}", serde_json::to_string(&t.params).unwrap());
        }
    }

    #[test]
    fn the_best_at_a_step_is_never_given_up(
        scores in proptest::collection::vec(proptest::collection::vec(-1.0_f64..1.0, 1..12), 1..20),
        maximise in any::<bool>(),
        which in 0_usize..3,
        number in 0_u64..100,
    ) {
        let direction = if maximise { Direction::Maximise } else { Direction::Minimise };
        let pruner = [
            Pruner::Median { n_startup: 1, n_warmup: 0 },
            Pruner::SuccessiveHalving { min_resource: 1, reduction: 2 },
            Pruner::Hyperband { min_resource: 1, max_resource: 9, reduction: 3 },
        ][which];
        let others: Vec<Trial> = scores.iter().enumerate()
            .map(|(i, s)| trial(i as u64 + 1000, s.iter().enumerate().map(|(k, v)| (k as u64 + 1, *v)).collect()))
            .collect();
        let others: Vec<&Trial> = others.iter().collect();
        let best = if maximise { 1.0 } else { -1.0 };
        let mut reports = Vec::new();
        for step in 1..=9 {
            reports.push((step, best));
            prop_assert!(!pruner.gives_up(number, &reports, &others, direction));
        }
    }
}
