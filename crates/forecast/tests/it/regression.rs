//! Regressions on features: what they learn from columns known ahead, and that plans can be changed.

use super::conformal::Dice;
use serde_json::json;
use tradewind_core::{Ahead, Covariate, FittedForecaster, Forecast, Freq, Panel, Params, Run};
use tradewind_forecast::backtest::{self, Backtest, Group};
use tradewind_forecast::entry;

const ALL: [&str; 3] = ["linear_regression", "polynomial_regression", "logistic_regression"];
const KNOWN: usize = 140;
const PLANNED: usize = 14;

/// Weekly sales that a promotion doubles; promotions are planned for two weeks.
fn shop(n_known: usize) -> Panel {
    let mut dice = Dice(21);
    let mut series = Vec::new();
    let mut promotion =
        Covariate { name: "promotion".into(), known_ahead: true, offsets: vec![0], values: vec![] };
    for i in 0..12 {
        let level = 20.0 + 60.0 * dice.uniform();
        let week = [0.8, 0.9, 0.9, 1.0, 1.2, 1.4, 0.8];
        let on: Vec<f64> = (0..n_known + PLANNED).map(|_| f64::from(dice.uniform() < 0.15)).collect();
        let y = (0..n_known)
            .map(|t| level * week[t % 7] * (1.0 + on[t]) * (1.0 + 0.05 * dice.normal()))
            .collect();
        promotion.values.extend(on);
        promotion.offsets.push(promotion.values.len());
        series.push((format!("s{i:02}"), 86_400 * 19_000, y));
    }
    Panel::from_series(Freq::DAILY, series).expect("distinct").with_covariate(promotion).expect("fits")
}

fn fit(model: &str, panel: &Panel) -> Box<dyn FittedForecaster> {
    (entry(model).expect("there").build)(&Params::new())
        .and_then(|m| m.fit(&Run::new(0), panel))
        .expect("fits")
}

fn forecast(fitted: &dyn FittedForecaster, future: Option<&[Covariate]>) -> Forecast {
    fitted.predict(&Run::new(0), &Ahead { horizon: PLANNED, quantiles: &[], future }).expect("forecasts")
}

#[test]
fn a_planned_promotion_is_forecast() {
    let panel = shop(KNOWN);
    let plan = panel.covariate("promotion").expect("there").clone();
    for model in ALL {
        let fitted = fit(model, &panel);
        let all = |on: f64| {
            let mut other = plan.clone();
            for i in 0..panel.len() {
                let (from, to) = (other.offsets[i] + KNOWN, other.offsets[i + 1]);
                other.values[from..to].fill(on);
            }
            forecast(&*fitted, Some(&[other]))
        };
        let (with, without) = (all(1.0), all(0.0));
        let lift: f64 =
            (0..panel.len()).map(|i| with.mean(i)[0] / without.mean(i)[0]).sum::<f64>() / panel.len() as f64;
        assert!(
            (1.7..2.3).contains(&lift),
            "{model}: a promotion that doubles sales lifts the forecast by {lift:.2}"
        );
        // Without an answer to "what if", the plan holds.
        assert_eq!(
            forecast(&*fitted, None),
            forecast(&*fitted, Some(std::slice::from_ref(&plan))),
            "{model}"
        );
        let saved = (entry(model).expect("there").load)(fitted.save().expect("saves")).expect("loads");
        assert_eq!(forecast(&*fitted, None), forecast(&*saved, None), "{model}: plans are saved");
    }
}

#[test]
fn knowing_promotions_beats_not_knowing() {
    let panel = shop(KNOWN);
    let models: Vec<_> =
        ["linear_regression", "polynomial_regression", "logistic_regression", "seasonal_naive", "theta"]
            .iter()
            .map(|m| (entry(m).expect("there").build)(&Params::new()).expect("builds"))
            .collect();
    let refs: Vec<&dyn tradewind_core::Forecaster> = models.iter().map(|m| &**m).collect();
    let settings = Backtest { horizon: 14, n_origins: 3, ..Backtest::default() };
    let board = backtest::run(&Run::new(0), &panel, &refs, &settings).expect("runs").leaderboard(Group::All);
    let wape = |m: &str| board.iter().find(|r| r.model == m).map(|r| r.scores.wape).expect("scored");
    for model in ALL {
        assert!(
            wape(model) < 0.5 * wape("theta"),
            "{model}: {} against theta's {}",
            wape(model),
            wape("theta")
        );
    }
}

#[test]
fn new_observations_and_plans_are_taken_in() {
    let full = shop(KNOWN);
    let (head, _) = full.split_last(10);
    let all_plans = full.covariate("promotion").expect("there");
    let mut newer_plan = Covariate { offsets: vec![0], values: vec![], ..all_plans.clone() };
    let mut series = Vec::new();
    for i in 0..full.len() {
        let s = full.series(i);
        series.push((s.id.to_owned(), s.ds(KNOWN - 10), s.y[KNOWN - 10..].to_vec()));
        newer_plan.values.extend(&all_plans.of(i)[KNOWN - 10..]);
        newer_plan.offsets.push(newer_plan.values.len());
    }
    let newer =
        Panel::from_series(Freq::DAILY, series).and_then(|p| p.with_covariate(newer_plan)).expect("fits");
    for model in ALL {
        let mut updated = fit(model, &head);
        updated.update(&Run::new(0), &newer).expect("updates");
        let (a, b) = (forecast(&*updated, None), forecast(&*fit(model, &full), None));
        for i in 0..full.len() {
            assert_eq!(a.ds(i, 0), b.ds(i, 0));
            for (x, y) in a.mean(i).iter().zip(b.mean(i)) {
                assert!((x - y).abs() <= 0.1 * y, "{model}: updated {x}, learnt anew {y}");
            }
        }
    }
}

#[test]
fn slow_sellers_are_told_by_chance_and_size() {
    let mut dice = Dice(31);
    let week = [0.1, 0.1, 0.1, 0.2, 0.4, 0.8, 0.6];
    let series: Vec<(String, i64, Vec<f64>)> = (0..60)
        .map(|i| {
            let y = (0..154)
                .map(|t| if dice.uniform() < week[t % 7] { 1.0 + dice.poisson(2.0) } else { 0.0 })
                .collect();
            (format!("s{i:02}"), 86_400 * 19_000, y)
        })
        .collect();
    let panel = Panel::from_series(Freq::DAILY, series).expect("distinct");
    let (head, tail) = panel.split_last(14);
    let f = forecast(&*fit("logistic_regression", &head), None);
    let mut by_day = [(0.0, 0.0); 7];
    for i in 0..60 {
        for k in 0..14 {
            // 140 steps are known, so step k falls on weekday k % 7.
            by_day[k % 7].0 += f.mean(i)[k] / 120.0;
            by_day[k % 7].1 += tail.series(i).y[k] / 120.0;
        }
    }
    for (day, (said, came)) in by_day.iter().enumerate() {
        let truth = 3.0 * week[day];
        assert!(
            (said - truth).abs() <= 0.25 * truth + 0.05,
            "day {day}: {said:.2} for {truth:.2} (came {came:.2})"
        );
    }
}

#[test]
fn countries_bring_their_festivals() {
    let panel = shop(KNOWN);
    let mut params = Params::new();
    params.insert("calendar".into(), json!("CN"));
    for model in ALL {
        let build = entry(model).expect("there").build;
        let f = build(&params)
            .and_then(|m| m.fit(&Run::new(0), &panel))
            .map(|m| forecast(&*m, None))
            .expect("works");
        assert!((0..f.len()).all(|i| f.mean(i).iter().all(|v| (5.0..400.0).contains(v))), "{model}");
    }
}

#[test]
fn a_combination_hands_calendar_and_season_to_its_members() {
    let panel = shop(KNOWN);
    let said = |model: &str, params: serde_json::Value| {
        let params: Params = serde_json::from_value(params).expect("parameters");
        let model = (entry(model).expect("there").build)(&params).expect("builds");
        let f = model.fit(&Run::new(0), &panel).map(|m| forecast(&*m, None)).expect("fits");
        (0..f.len()).flat_map(|i| f.mean(i).to_vec()).collect::<Vec<_>>()
    };
    let own = json!({"calendar": "CN", "season_length": 14});
    let (regression, naive) =
        (said("linear_regression", own.clone()), said("seasonal_naive", json!({"season_length": 14})));
    let middle: Vec<f64> = regression.iter().zip(&naive).map(|(a, b)| a / 2.0 + b / 2.0).collect();
    let with = |calendar: &str| {
        let both =
            json!({"methods": "linear_regression,seasonal_naive", "calendar": calendar, "season_length": 14});
        said("combination", both)
    };
    assert_eq!(with("CN"), middle);
    assert_ne!(with("plain"), middle, "the festival says nothing");
}
