//! Rolling-origin backtests: what models may see, and whether the scores are those of the measures.

use serde_json::Value;
use std::sync::Mutex;
use tradewind_core::metrics::point;
use tradewind_core::{
    Ahead, Covariate, Error, FittedForecaster, Forecast, Forecaster, Freq, Panel, Params, Result, Run,
};
use tradewind_forecast::backtest::{self, Align, Backtest, DemandClass, Group, Refit};
use tradewind_forecast::entry;

/// Small numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// Writes down what it is shown, and forecasts the last value; refuses series shorter than `needs`.
#[derive(Default)]
struct Spy {
    shown: Mutex<Vec<Panel>>,
    updates: Mutex<usize>,
    needs: usize,
    side_by_side: bool,
}

struct FittedSpy<'a> {
    panel: Panel,
    updates: &'a Mutex<usize>,
}

impl Forecaster for &'static Spy {
    fn name(&self) -> &str {
        "spy"
    }

    fn fit(&self, _run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        if let Some(s) = panel.iter().find(|s| s.y.len() < self.needs) {
            return Err(Error::NotEnoughData { what: "spy".into(), needed: self.needs, got: s.y.len() });
        }
        self.shown.lock().expect("no panic").push(panel.clone());
        Ok(Box::new(FittedSpy { panel: panel.clone(), updates: &self.updates }))
    }

    fn side_by_side(&self) -> bool {
        self.side_by_side
    }
}

impl FittedForecaster for FittedSpy<'static> {
    fn name(&self) -> &str {
        "spy"
    }

    fn predict(&self, _run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        let mut out = Forecast::new("spy", self.panel.freq(), ahead.horizon, ahead.quantiles);
        for s in self.panel.iter() {
            let last = s.y[s.y.len() - 1];
            let mean: Vec<f64> = (0..ahead.horizon).map(|k| last + k as f64).collect();
            let q: Vec<f64> =
                mean.iter().flat_map(|m| ahead.quantiles.iter().map(move |l| m + 20.0 * (l - 0.5))).collect();
            out.push(s.id, s.ds(s.y.len()), &mean, &q)?;
        }
        Ok(out)
    }

    fn update(&mut self, _run: &Run, newer: &Panel) -> Result<()> {
        *self.updates.lock().expect("no panic") += 1;
        let joined = self
            .panel
            .iter()
            .map(|s| {
                let more = newer.position(s.id).map(|i| newer.series(i));
                if let Some(m) = more {
                    assert_eq!(m.start, s.ds(s.y.len()), "newer observations follow the known ones");
                }
                (s.id.to_owned(), s.start, [s.y, more.map_or(&[][..], |m| m.y)].concat())
            })
            .collect();
        self.panel = Panel::from_series(self.panel.freq(), joined)?;
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

fn spy(needs: usize) -> &'static Spy {
    spy_that(needs, false)
}

fn spy_that(needs: usize, side_by_side: bool) -> &'static Spy {
    Box::leak(Box::new(Spy { needs, side_by_side, ..Spy::default() }))
}

/// Series whose values tell their own stamp, so that a look ahead shows.
fn stamped(lengths: &[(usize, i64)]) -> Panel {
    let series: Vec<(String, i64, Vec<f64>)> = lengths
        .iter()
        .enumerate()
        .map(|(i, &(n, start))| {
            (format!("s{i:02}"), start, (0..n as i64).map(|t| (start + t) as f64).collect())
        })
        .collect();
    let panel = Panel::from_series(Freq::STEP, series).expect("distinct");
    let column = |known_ahead: bool, extra: usize| {
        let mut c = Covariate { name: format!("x{extra}"), known_ahead, offsets: vec![0], values: vec![] };
        for s in panel.iter() {
            c.values.extend((0..(s.y.len() + extra) as i64).map(|t| (s.start + t) as f64));
            c.offsets.push(c.values.len());
        }
        c
    };
    let (past, ahead) = (column(false, 0), column(true, 4));
    panel.with_covariate(past).expect("fits").with_covariate(ahead).expect("fits")
}

#[test]
fn no_model_sees_beyond_its_origin() {
    let mut dice = Dice(7);
    for round in 0..60 {
        let lengths: Vec<(usize, i64)> =
            (0..1 + dice.below(6)).map(|_| (dice.below(60), dice.below(30) as i64)).collect();
        let panel = stamped(&lengths);
        let settings = Backtest {
            horizon: 1 + dice.below(7),
            n_origins: 1 + dice.below(4),
            step: dice.below(5),
            gap: dice.below(4),
            coverages: vec![0.8],
            refit: if dice.below(2) == 0 { Refit::Every } else { Refit::Once },
            align: if dice.below(2) == 0 { Align::Ends } else { Align::Dates },
            min_train: 1 + dice.below(6),
            ..Backtest::default()
        };
        let spy = spy_that(0, dice.below(2) == 0);
        let result = match backtest::run(&Run::new(0).with_threads(dice.below(4)), &panel, &[&spy], &settings)
        {
            Ok(r) => r,
            Err(Error::NotEnoughData { .. }) => continue,
            Err(e) => panic!("round {round}: {e}"),
        };
        // What was learnt ends at the origin, in every column that is not known ahead.
        for (f, shown) in spy.shown.lock().expect("no panic").iter().enumerate() {
            for (i, s) in shown.iter().enumerate() {
                let full =
                    panel.position(s.id).map(|k| panel.series(k).y.len()).expect("a series of the panel");
                assert!(
                    s.y.len() >= settings.min_train && s.y.len() + settings.gap < full,
                    "round {round} fit {f}"
                );
                if settings.align == Align::Ends {
                    assert!(s.y.len() + settings.gap + settings.horizon <= full);
                }
                assert_eq!(shown.covariates()[0].of(i).len(), s.y.len());
                assert_eq!(shown.covariates()[1].of(i).len(), full + 4, "plans stay known");
            }
        }
        // What is scored begins right after the gap. Values are stamps, and the spy counts on from the last it saw.
        for (w, window) in result.windows().iter().enumerate() {
            let s = panel.series(window.series);
            for k in 0..settings.horizon {
                let t = window.n_train + settings.gap + k;
                let (actual, said) = (result.actual(w)[k], result.mean(0, w)[k]);
                match s.y.get(t) {
                    Some(y) => assert_eq!(actual, *y, "round {round}"),
                    None => assert!(actual.is_nan() && settings.align == Align::Dates),
                }
                if !said.is_nan() {
                    assert_eq!(said, s.y[window.n_train - 1] + (settings.gap + k) as f64, "round {round}");
                } else {
                    assert_eq!(settings.refit, Refit::Once, "only a series that came later is left out");
                }
            }
        }
        if settings.refit == Refit::Once {
            assert_eq!(spy.shown.lock().expect("no panic").len(), 1, "learnt once");
        }
        let counted: usize = result.too_short().iter().sum::<usize>() + result.windows().len();
        assert_eq!(
            counted,
            panel.len() * settings.n_origins,
            "every series is scored or counted at every origin"
        );
    }
}

#[test]
fn dates_are_shared_when_asked() {
    // Three series end at 40, 40 and 30; the second begins late.
    let panel = stamped(&[(40, 0), (10, 30), (30, 0)]);
    let settings = Backtest { horizon: 4, n_origins: 3, align: Align::Dates, ..Backtest::default() };
    let result = backtest::run(&Run::new(0), &panel, &[&spy(0)], &settings).expect("runs");
    for w in result.windows() {
        let s = panel.series(w.series);
        assert_eq!(s.ds(w.n_train - 1), 39 - (4 + (2 - w.origin as i64) * 4), "one date an origin");
    }
    assert_eq!(result.too_short(), [1, 1, 1], "first the series not yet there, then the one that had ended");
    assert_eq!(result.windows().iter().filter(|w| w.series == 2).count(), 1);
}

#[test]
fn scores_are_those_of_the_measures() {
    let y: Vec<f64> = (0..40).map(|t| 10.0 + f64::from(t * 7 % 11) + f64::from(t) * 0.1).collect();
    let panel = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, y.clone())]).expect("one");
    let settings = Backtest {
        horizon: 5,
        n_origins: 1,
        coverages: vec![0.5, 0.9],
        season_length: 7,
        ..Backtest::default()
    };
    let result = backtest::run(&Run::new(0), &panel, &[&spy(0)], &settings).expect("runs");
    let (train, actual) = y.split_at(35);
    let f: Vec<f64> = (0..5).map(|k| train[34] + f64::from(k)).collect();
    let scores = &result.leaderboard(Group::All)[0].scores;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    near(scores.mae, point::mae(actual, &f));
    near(scores.rmse, point::rmse(actual, &f));
    near(scores.wape, point::wape(actual, &f));
    near(scores.smape, point::smape(actual, &f));
    near(scores.bias, point::bias(actual, &f));
    near(scores.mase, point::mase(actual, &f, train, 7));
    near(scores.rmsse, point::rmsse(actual, &f, train));
    near(scores.hit_rate, point::hit_rate(actual, &f, 0.1));
    near(scores.exact_rate, point::exact_rate(actual, &f));
    let quantile = |l: f64| f.iter().map(|m| m + 20.0 * (l - 0.5)).collect::<Vec<_>>();
    let pinball: f64 =
        [0.05, 0.25, 0.75, 0.95].iter().map(|l| point::pinball(actual, &quantile(*l), *l)).sum();
    near(scores.pinball, pinball / 4.0);
    for (c, i) in [0.5, 0.9].into_iter().zip(&scores.intervals) {
        near(i.nominal, c);
        near(i.width, 20.0 * c);
        near(i.coverage, point::coverage(actual, &quantile(0.5 - c / 2.0), &quantile(0.5 + c / 2.0)));
    }
    let steps = result.leaderboard(Group::Step);
    assert_eq!(steps.iter().map(|r| r.group.as_str()).collect::<Vec<_>>(), ["1", "2", "3", "4", "5"]);
    near(steps.iter().map(|r| r.scores.mae).sum::<f64>() / 5.0, scores.mae);
}

#[test]
fn classes_are_scored_apart() {
    let smooth: Vec<f64> = (0..60).map(|t| 20.0 + f64::from(t % 3)).collect();
    let erratic: Vec<f64> = (0..60).map(|t| if t % 4 == 0 { 60.0 } else { 5.0 }).collect();
    let intermittent: Vec<f64> = (0..60).map(|t| if t % 4 == 0 { 3.0 } else { 0.0 }).collect();
    let lumpy: Vec<f64> =
        (0..60).map(|t| if t % 4 == 0 { if t % 12 == 0 { 40.0 } else { 2.0 } } else { 0.0 }).collect();
    let all = [smooth, erratic, intermittent, lumpy];
    for (y, class) in all.iter().zip(DemandClass::ALL) {
        assert_eq!(DemandClass::of(y), class);
    }
    assert_eq!(DemandClass::of(&[]), DemandClass::Intermittent);
    assert_eq!(
        DemandClass::of(&[f64::NAN, 0.0, 0.0, 5.0, 5.0]),
        DemandClass::Smooth,
        "counted from the first sale"
    );
    let named = all.into_iter().enumerate().map(|(i, y)| (format!("s{i}"), 0, y)).collect();
    let panel = Panel::from_series(Freq::DAILY, named).expect("four");
    let naive = (entry("naive").expect("there").build)(&Params::new()).expect("builds");
    let mean = (entry("mean").expect("there").build)(&Params::new()).expect("builds");
    let settings = Backtest { horizon: 4, ..Backtest::default() };
    let result = backtest::run(&Run::new(0), &panel, &[&*naive, &*mean], &settings).expect("runs");
    let rows = result.leaderboard(Group::Class);
    let groups: Vec<&str> = rows.iter().map(|r| r.group.as_str()).collect();
    assert_eq!(
        groups,
        ["smooth", "smooth", "erratic", "erratic", "intermittent", "intermittent", "lumpy", "lumpy"]
    );
    for pair in rows.chunks(2) {
        assert!(pair[0].scores.mase <= pair[1].scores.mase, "best first in {}", pair[0].group);
        assert_eq!(pair[0].scores.n_windows, 3);
    }
    assert_eq!(result.leaderboard(Group::Series).len(), 8);
}

#[test]
fn what_a_model_refuses_is_counted_and_the_rest_is_scored() {
    let panel = stamped(&[(30, 0), (12, 0), (6, 0)]);
    let settings = Backtest { horizon: 3, n_origins: 1, ..Backtest::default() };
    for side_by_side in [false, true] {
        let result =
            backtest::run(&Run::new(0), &panel, &[&spy_that(10, side_by_side)], &settings).expect("runs");
        let model = &result.models()[0];
        assert_eq!(model.n_left_out, 2);
        assert!(
            model.reason.as_ref().is_some_and(|r| r.contains("s01") && r.contains("10")),
            "{:?}",
            model.reason
        );
        let scores = &result.leaderboard(Group::All)[0].scores;
        assert_eq!((scores.n_windows, scores.n_left_out), (1, 2));
    }
}

#[test]
fn unknown_values_do_not_count() {
    let mut y: Vec<f64> = (0..30).map(f64::from).collect();
    y[27] = f64::NAN;
    let panel = Panel::from_series(Freq::STEP, vec![("a".into(), 0, y)]).expect("one");
    let settings = Backtest { horizon: 4, n_origins: 1, ..Backtest::default() };
    let result = backtest::run(&Run::new(0), &panel, &[&spy(0)], &settings).expect("runs");
    assert_eq!(result.leaderboard(Group::All)[0].scores.n_points, 3);
}

#[test]
fn faults_are_told() {
    let panel = stamped(&[(30, 0)]);
    let bad = Backtest { horizon: 0, n_origins: 0, coverages: vec![1.5], ..Backtest::default() };
    match backtest::run(&Run::new(0), &panel, &[&spy(0)], &bad).expect_err("three faults") {
        Error::Params(faults) => assert_eq!(faults.len(), 3),
        e => panic!("{e}"),
    }
    let long = Backtest { horizon: 40, ..Backtest::default() };
    let short = backtest::run(&Run::new(0), &panel, &[&spy(0)], &long).expect_err("too short");
    assert!(matches!(short, Error::NotEnoughData { got: 30, .. }), "{short}");
    let run = Run::new(0);
    run.cancel();
    let stopped = backtest::run(&run, &panel, &[&spy(0)], &Backtest::default());
    assert!(matches!(stopped, Err(Error::Interrupted)));
}
