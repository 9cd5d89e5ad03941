//! What every forecaster of the catalogue must stand, on data whose right answer is evident.

use tradewind_core::{
    Ahead, Error, FittedForecaster, Forecast, ForecasterEntry, Freq, Panel, ParamKind, Params, Run,
};
use tradewind_forecast::CATALOG;

const LEVELS: [f64; 4] = [0.05, 0.3, 0.5, 0.95];

/// Weeks of daily sales with trend and season; `k` makes series differ.
fn sales(n: usize, k: usize) -> Vec<f64> {
    let noise = |t: usize| ((t * 7919 + k * 104_729) % 1009) as f64 / 1009.0 - 0.5;
    let week = [0.8, 0.7, 0.9, 1.0, 1.2, 1.6, 0.8];
    (0..n).map(|t| ((20.0 + 0.05 * t as f64) * week[(t + k) % 7] + 4.0 * noise(t)).max(0.0)).collect()
}

fn panel(series: Vec<Vec<f64>>) -> Panel {
    let named =
        series.into_iter().enumerate().map(|(i, y)| (format!("s{i:03}"), 86_400 * 19_000, y)).collect();
    Panel::from_series(Freq::DAILY, named).expect("distinct names, finite numbers")
}

/// The defaults; of networks small ones that are soon trained, since what they learn is tested elsewhere.
fn defaults(entry: &ForecasterEntry) -> Params {
    let mut params = Params::new();
    let has = |name: &str| entry.params.iter().any(|p| p.name == name);
    let small = [("epochs", 2), ("origins", 200), ("width", 8), ("layers", 1)];
    for (name, value) in small.into_iter().filter(|(name, _)| has("epochs") && has(name)) {
        params.insert(name.into(), value.into());
    }
    params
}

fn fit(entry: &ForecasterEntry, run: &Run, panel: &Panel) -> Box<dyn FittedForecaster> {
    let model = (entry.build)(&defaults(entry))
        .unwrap_or_else(|e| panic!("{}: defaults are refused: {e}", entry.name));
    assert_eq!(model.name(), entry.name);
    model.fit(run, panel).unwrap_or_else(|e| panic!("{}: {e}", entry.name))
}

fn forecast(entry: &ForecasterEntry, panel: &Panel, horizon: usize) -> Forecast {
    let run = Run::new(1).with_threads(1);
    predict(entry, &*fit(entry, &run, panel), horizon)
}

fn predict(entry: &ForecasterEntry, fitted: &dyn FittedForecaster, horizon: usize) -> Forecast {
    assert_eq!(fitted.name(), entry.name);
    let out = fitted
        .predict(&Run::new(1).with_threads(1), &Ahead::new(horizon, &LEVELS))
        .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
    for i in 0..out.len() {
        for k in 0..horizon {
            assert!(
                out.mean(i)[k].is_finite(),
                "{}: step {k} of {} is {}",
                entry.name,
                out.ids()[i],
                out.mean(i)[k]
            );
            let q: Vec<f64> = LEVELS.iter().map(|l| out.quantile(i, k, *l).expect("asked for")).collect();
            assert!(q.iter().all(|v| v.is_finite()), "{}: quantiles {q:?}", entry.name);
            assert!(q.windows(2).all(|w| w[0] <= w[1]), "{}: quantiles cross: {q:?}", entry.name);
        }
    }
    out
}

fn bits(f: &Forecast) -> Vec<u64> {
    let quantile = |i, k| LEVELS.iter().map(move |l| f.quantile(i, k, *l).expect("asked for"));
    (0..f.len())
        .flat_map(|i| f.mean(i).iter().copied().chain((0..f.horizon()).flat_map(move |k| quantile(i, k))))
        .map(f64::to_bits)
        .collect()
}

fn each(check: impl Fn(&ForecasterEntry)) {
    assert!(CATALOG.len() > 1);
    CATALOG.iter().for_each(check);
}

#[test]
fn nothing_gives_nothing() {
    each(|e| assert!(forecast(e, &Panel::empty(Freq::DAILY), 3).is_empty(), "{}", e.name));
}

#[test]
fn every_length_is_answered() {
    let lengths: Vec<usize> = (0..40).chain([60, 100]).collect();
    let p = panel(lengths.iter().map(|n| sales(*n, 1)).collect());
    each(|e| {
        let f = forecast(e, &p, 9);
        assert_eq!(f.len(), lengths.len(), "{}", e.name);
        assert!(f.mean(0).iter().all(|v| *v == 0.0), "{}: nothing known means zero", e.name);
        for (i, n) in lengths.iter().enumerate() {
            assert_eq!(
                f.ds(i, 0),
                86_400 * (19_000 + *n as i64),
                "{}: first step of a series of {n}",
                e.name
            );
            assert!(
                f.mean(i).iter().all(|v| (0.0..200.0).contains(v)),
                "{}: {n} gave {:?}",
                e.name,
                f.mean(i)
            );
        }
    });
}

#[test]
fn models_called_local_say_the_same_of_a_part() {
    let p = panel((0..9).map(|k| sales(60 + 9 * k, k)).collect());
    each(|e| {
        if tradewind_forecast::is_local(e.name, &Params::new()) {
            let (whole, part) = (forecast(e, &p, 5), forecast(e, &p.part(3..6), 5));
            for i in 0..3 {
                assert_eq!(whole.ids()[i + 3], part.ids()[i]);
                assert_eq!(whole.mean(i + 3), part.mean(i), "{} of {}", e.name, part.ids()[i]);
            }
        }
    });
}

#[test]
fn missing_values_are_borne() {
    let n = f64::NAN;
    let full = sales(90, 2);
    let with = |holes: &dyn Fn(usize) -> bool| {
        full.iter().enumerate().map(|(t, y)| if holes(t) { n } else { *y }).collect::<Vec<f64>>()
    };
    let p = panel(vec![
        with(&|t| t < 20),
        with(&|t| t % 5 == 3),
        with(&|t| t > 80),
        with(&|t| t != 40),
        with(&|t| t != 89),
        with(&|_| true),
        with(&|t| (10..60).contains(&t)),
    ]);
    each(|e| {
        let f = forecast(e, &p, 8);
        assert!(f.mean(5).iter().all(|v| *v == 0.0), "{}: nothing known means zero", e.name);
        for i in [0, 1, 2, 6] {
            assert!(
                f.mean(i).iter().all(|v| (1.0..90.0).contains(v)),
                "{}: series {i} {:?}",
                e.name,
                f.mean(i)
            );
        }
    });
}

#[test]
fn a_constant_goes_on() {
    let p = panel(vec![vec![5.0; 60], vec![0.0; 60], vec![5.0; 3], vec![-7.0; 40]]);
    each(|e| {
        let f = forecast(e, &p, 10);
        for (i, c) in [(0, 5.0), (1, 0.0), (2, 5.0), (3, -7.0_f64)] {
            // Ten per cent, for methods that take a bias off on purpose (SBA).
            let off = f.mean(i).iter().map(|v| (v - c).abs()).fold(0.0, f64::max);
            assert!(off <= 0.1 * c.abs(), "{}: {c} goes on as {:?}", e.name, f.mean(i));
        }
    });
}

#[test]
fn huge_and_tiny_values_are_alike() {
    let base = sales(70, 3);
    let scaled = |k: f64| base.iter().map(|y| y * k).collect::<Vec<f64>>();
    let p = panel(vec![base.clone(), scaled(1e12), scaled(1e-9), scaled(1e150), scaled(1e300)]);
    each(|e| {
        let f = forecast(e, &p, 7);
        for (i, k) in [(1, 1e12), (2, 1e-9)] {
            for (a, b) in f.mean(0).iter().zip(f.mean(i)) {
                assert!((a * k - b).abs() <= 1e-3 * a * k, "{}: {a} × {k} became {b}", e.name);
            }
        }
    });
}

#[test]
fn negative_values_are_borne() {
    let down: Vec<f64> = sales(60, 4).iter().enumerate().map(|(t, y)| y - 0.8 * t as f64 - 30.0).collect();
    let mixed: Vec<f64> = (0..60).map(|t| [-3.0, 2.0, 0.0, 5.0, -1.0][t % 5]).collect();
    let p = panel(vec![down, mixed]);
    each(|e| {
        let f = forecast(e, &p, 14);
        assert!(f.mean(0).iter().all(|v| (-300.0..60.0).contains(v)), "{}: {:?}", e.name, f.mean(0));
        assert!(f.mean(1).iter().all(|v| v.abs() < 40.0), "{}: {:?}", e.name, f.mean(1));
    });
}

#[test]
fn what_was_never_negative_is_not_forecast_negative() {
    let falling: Vec<f64> = (0..60).map(|t| (60 - t) as f64).collect();
    each(|e| {
        let f = forecast(e, &panel(vec![falling.clone()]), 30);
        assert!(f.mean(0).iter().all(|v| *v >= 0.0), "{}: {:?}", e.name, f.mean(0));
        assert!((0..30).all(|k| f.quantile(0, k, 0.05) >= Some(0.0)), "{}", e.name);
    });
}

#[test]
fn order_of_rows_does_not_matter() {
    let p = panel((0..5).map(|k| sales(50 + k, k)).collect());
    let mut rows: Vec<(String, i64, f64)> =
        p.iter().flat_map(|s| (0..s.y.len()).map(move |t| (s.id.to_owned(), s.ds(t), s.y[t]))).collect();
    rows.sort_by_key(|r| (r.1 * 31 % 977, r.0.clone()));
    let shuffled = Panel::from_rows(Freq::DAILY, rows).expect("same rows");
    each(|e| assert_eq!(bits(&forecast(e, &p, 6)), bits(&forecast(e, &shuffled, 6)), "{}", e.name));
}

#[test]
fn threads_and_repeats_change_no_bit() {
    let p = panel((0..70).map(|k| sales(40 + k % 30, k)).collect());
    each(|e| {
        let of = |threads| bits(&predict(e, &*fit(e, &Run::new(7).with_threads(threads), &p), 6));
        let once = of(1);
        assert_eq!(once, of(1), "{}: a second run differs", e.name);
        assert_eq!(once, of(4), "{}: four threads differ", e.name);
    });
}

#[test]
fn a_saved_model_answers_alike() {
    let mut series: Vec<Vec<f64>> = (0..6).map(|k| sales(15 * k, k)).collect();
    series.push(vec![f64::NAN; 5]);
    series.push((0..80).map(|t| if t % 6 == 0 { (t % 4) as f64 } else { 0.0 }).collect());
    let p = panel(series);
    let more = panel((0..8).map(|k| sales(3, k)).collect());
    each(|e| {
        let run = Run::new(1);
        let mut fitted = fit(e, &run, &p);
        let state = fitted.save().unwrap_or_else(|x| panic!("{}: {x}", e.name));
        let mut back = (e.load)(state).unwrap_or_else(|x| panic!("{}: {x}", e.name));
        assert_eq!(bits(&predict(e, &*fitted, 9)), bits(&predict(e, &*back, 9)), "{}", e.name);
        let shifted = Panel::from_series(
            Freq::DAILY,
            more.iter()
                .zip(p.iter())
                .map(|(m, s)| (s.id.to_owned(), s.ds(s.y.len()), m.y.to_vec()))
                .collect(),
        )
        .expect("distinct");
        fitted.update(&run, &shifted).unwrap_or_else(|x| panic!("{}: {x}", e.name));
        back.update(&run, &shifted).unwrap_or_else(|x| panic!("{}: {x}", e.name));
        assert_eq!(
            bits(&predict(e, &*fitted, 9)),
            bits(&predict(e, &*back, 9)),
            "{} after an update",
            e.name
        );
        assert!((e.load)(serde_json::json!({"nonsense": 1})).is_err(), "{}", e.name);
        assert!((e.load)(serde_json::Value::Null).is_err(), "{}", e.name);
    });
}

#[test]
fn updates_follow_the_series() {
    let full = sales(98, 5);
    let p = panel(vec![full[..70].to_vec(), vec![3.0; 70]]);
    let day = 86_400;
    let newer = |id: &str, start: i64, y: &[f64]| {
        Panel::from_series(Freq::DAILY, vec![(id.to_owned(), (19_000 + start) * day, y.to_vec())])
            .expect("one")
    };
    each(|e| {
        let run = Run::new(1);
        let mut fitted = fit(e, &run, &p);
        let before = predict(e, &*fitted, 5);
        // Wrong updates are refused and change nothing.
        assert!(fitted.update(&run, &newer("nobody", 70, &[1.0])).is_err(), "{}", e.name);
        assert!(fitted.update(&run, &newer("s000", 69, &[1.0])).is_err(), "{}", e.name);
        let monthly = Panel::from_series(Freq::MONTHLY, vec![("s000".into(), 0, vec![1.0])]).expect("one");
        assert!(fitted.update(&run, &monthly).is_err(), "{}", e.name);
        assert_eq!(bits(&before), bits(&predict(e, &*fitted, 5)), "{}", e.name);
        // In two parts, the second after a gap, or at once: the forecast begins behind the last observation.
        fitted.update(&run, &newer("s000", 70, &full[70..80])).unwrap_or_else(|x| panic!("{}: {x}", e.name));
        fitted.update(&run, &newer("s000", 80, &full[80..])).unwrap_or_else(|x| panic!("{}: {x}", e.name));
        let after = predict(e, &*fitted, 5);
        assert_eq!(after.ds(0, 0), (19_000 + 98) * day, "{}", e.name);
        assert_eq!(after.ds(1, 0), (19_000 + 70) * day, "{}", e.name);
        let refit = forecast(e, &panel(vec![full.clone()]), 5);
        for (a, b) in after.mean(0).iter().zip(refit.mean(0)) {
            // Parameters and seasons stay as learnt, so a refit differs a little.
            assert!((a - b).abs() <= 0.35 * b.abs() + 1.0, "{}: updated {a}, refitted {b}", e.name);
        }
        fitted.update(&run, &newer("s001", 75, &[3.0; 9])).unwrap_or_else(|x| panic!("{}: {x}", e.name));
        let constant = predict(e, &*fitted, 5);
        assert!(
            constant.mean(1).iter().all(|v| (v - 3.0).abs() <= 0.31),
            "{}: {:?}",
            e.name,
            constant.mean(1)
        );
    });
}

#[test]
fn a_batch_is_its_series() {
    let series: Vec<Vec<f64>> = (0..5).map(|k| sales(30 + 10 * k, k)).collect();
    let p = panel(series.clone());
    // Methods that learn across series (from columns known ahead, or by comparing models) answer differently on purpose.
    for e in CATALOG.iter().filter(|e| !e.needs.uses_covariates && e.name != "auto") {
        let all = forecast(e, &p, 7);
        for (i, y) in series.iter().enumerate() {
            let one = forecast(e, &panel(vec![y.clone()]), 7);
            assert_eq!(all.mean(i), one.mean(0), "{}: series {i}", e.name);
        }
    }
}

#[test]
fn wrong_parameters_are_all_named() {
    each(|e| {
        let mut wrong = Params::new();
        for p in e.params {
            wrong.insert(
                p.name.to_owned(),
                match p.kind {
                    ParamKind::Integer { min, .. } => (min - 1).into(),
                    ParamKind::Number { max, .. } => (max + 1.0).into(),
                    ParamKind::Choice(_) => "no such word".into(),
                    ParamKind::Flag => 3.into(),
                    ParamKind::Numbers { max, .. } => vec![max + 1.0].into(),
                },
            );
        }
        if !wrong.is_empty() {
            match (e.build)(&wrong).err() {
                Some(Error::Params(faults)) => {
                    assert_eq!(faults.len(), e.params.len(), "{}: {faults:?}", e.name)
                }
                other => panic!("{}: {other:?}", e.name),
            }
        }
        let mut unknown = Params::new();
        unknown.insert("no_such_parameter".into(), 1.into());
        assert!(matches!((e.build)(&unknown).err(), Some(Error::UnknownParam { .. })), "{}", e.name);
    });
}

#[test]
fn parameters_at_their_ends_are_accepted() {
    let p = panel(vec![sales(60, 1), vec![1.0, 0.0, 0.0, 4.0, 0.0, 2.0], vec![]]);
    let run = Run::new(1).with_threads(1);
    each(|e| {
        for spec in e.params {
            let values: Vec<serde_json::Value> = match spec.kind {
                ParamKind::Integer { min, max } => vec![min.into(), max.into(), 3.clamp(min, max).into()],
                ParamKind::Number { min, max } => vec![min.into(), max.into(), ((min + max) / 2.0).into()],
                ParamKind::Choice(words) => words.iter().map(|w| (*w).into()).collect(),
                ParamKind::Flag => vec![true.into(), false.into()],
                ParamKind::Numbers { min, max } => vec![vec![min].into(), vec![max].into()],
            };
            for value in values {
                let mut params = defaults(e);
                params.insert(spec.name.into(), value.clone());
                // A rule between parameters may refuse one alone; what is accepted must answer.
                if let Ok(model) = (e.build)(&params) {
                    let fitted = model
                        .fit(&run, &p)
                        .unwrap_or_else(|x| panic!("{} {}={value}: {x}", e.name, spec.name));
                    assert_eq!(predict(e, &*fitted, 4).len(), 3, "{} {}={value}", e.name, spec.name);
                }
            }
        }
    });
}

#[test]
fn questions_without_sense_are_refused() {
    let p = panel(vec![sales(30, 1)]);
    each(|e| {
        let run = Run::new(1);
        let fitted = fit(e, &run, &p);
        assert!(fitted.predict(&run, &Ahead::new(0, &[])).is_err(), "{}", e.name);
        assert!(fitted.predict(&run, &Ahead::new(1, &[1.0])).is_err(), "{}", e.name);
        assert!(fitted.predict(&run, &Ahead::new(1, &[f64::NAN])).is_err(), "{}", e.name);
        run.cancel();
        let many = panel((0..40).map(|k| sales(30, k)).collect());
        let model = (e.build)(&defaults(e)).expect("defaults");
        assert!(matches!(model.fit(&run, &many).err(), Some(Error::Interrupted)), "{} goes on", e.name);
    });
}
