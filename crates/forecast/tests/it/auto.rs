//! The automatic choice: whether it finds what is evident, and what its parameters do.

use super::conformal::Dice;
use serde_json::json;
use tradewind_core::{Ahead, Error, FittedForecaster, Freq, Panel, Params, Run};
use tradewind_forecast::auto::{Auto, AutoForecaster, Combine, FittedAuto};
use tradewind_forecast::entry;

/// Forty series about a level of their own, and forty that wander.
fn levels_and_walks() -> Panel {
    let mut dice = Dice(11);
    let mut series = Vec::new();
    for i in 0..80 {
        let mut at = 100.0 + 100.0 * dice.uniform();
        let y = (0..90)
            .map(|_| {
                let step = 4.0 * dice.normal();
                if i < 40 {
                    return at + step;
                }
                at += step;
                at + 500.0
            })
            .collect();
        series.push((format!("s{i:02}"), 0, y));
    }
    Panel::from_series(Freq::DAILY, series).expect("distinct")
}

fn fit(auto: Auto, panel: &Panel) -> FittedAuto {
    AutoForecaster::new(auto).and_then(|a| a.fit_panel(&Run::new(0), panel)).expect("fits")
}

fn two() -> Auto {
    Auto { pool: "naive, mean".into(), horizon: Some(7), ..Auto::default() }
}

#[test]
fn the_evident_model_is_preferred() {
    let panel = levels_and_walks();
    let fitted = fit(Auto { combine: Combine::Best, origins: 6, shrink: 1.0, ..two() }, &panel);
    let said: Vec<String> = (0..80).map(|i| fitted.picks(i)[0].model.clone()).collect();
    let right = said[..40].iter().filter(|m| *m == "mean").count()
        + said[40..].iter().filter(|m| *m == "naive").count();
    assert!(right >= 68, "only {right} of 80");
    assert!((0..80).all(|i| fitted.picks(i).len() == 1 && fitted.picks(i)[0].weight == 1.0));
}

#[test]
fn few_origins_follow_the_class() {
    let panel = levels_and_walks();
    let fitted = fit(Auto { combine: Combine::Best, origins: 1, shrink: 1000.0, ..two() }, &panel);
    let first = &fitted.picks(0)[0].model;
    assert!(
        (0..80).all(|i| fitted.picks(i)[0].model == *first),
        "all series of one class share the class's choice"
    );
}

#[test]
fn weights_sum_to_one_and_favour_the_better() {
    let panel = levels_and_walks();
    let fitted = fit(Auto { origins: 6, shrink: 1.0, ..two() }, &panel);
    for i in 0..80 {
        let picks = fitted.picks(i);
        assert_eq!(picks.len(), 2);
        assert!((picks.iter().map(|p| p.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(picks[0].weight >= picks[1].weight);
    }
}

/// Series that return to a level of their own: the mean is near the best, and what is stacked is about as good.
#[test]
fn stacked_weights_are_those_of_the_class() {
    let mut dice = Dice(5);
    let series = (0..60)
        .map(|i| {
            let mut level = 200.0;
            let y = (0..120)
                .map(|_| {
                    let e = 10.0 * dice.normal();
                    level += 0.15 * e + 0.2 * (200.0 - level);
                    level + e
                })
                .collect();
            (format!("s{i:02}"), 0, y)
        })
        .collect();
    let whole: Panel = Panel::from_series(Freq::DAILY, series).expect("distinct");
    let panel = whole.as_of(whole.series(0).ds(113));
    let run = Run::new(0);
    let off = |model: &dyn FittedForecaster| {
        let said = model.predict(&run, &Ahead::new(6, &[])).expect("forecasts");
        (0..60)
            .flat_map(|i| {
                said.mean(i)
                    .iter()
                    .zip(&whole.series(i).y[114..])
                    .map(|(f, y)| (f - y).powi(2))
                    .collect::<Vec<f64>>()
            })
            .sum::<f64>()
    };
    for combine in [Combine::Stacking, Combine::Greedy] {
        let auto = Auto {
            pool: "naive, mean, drift".into(),
            origins: 8,
            combine,
            horizon: Some(6),
            ..Auto::default()
        };
        let fitted = fit(auto, &panel);
        let picks = fitted.picks(0);
        assert_eq!(picks, fitted.picks(59), "the class has one set of weights");
        assert!((picks.iter().map(|p| p.weight).sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!(picks[0].model, "mean", "{picks:?}");
        for name in ["naive", "drift"] {
            let alone = (entry(name).expect("there").build)(&Params::new()).expect("builds");
            assert!(off(&fitted) < off(&*alone.fit(&run, &panel).expect("fits")), "{name} {combine:?}");
        }
        let mean = (entry("mean").expect("there").build)(&Params::new()).expect("builds");
        assert!(off(&fitted) < 1.02 * off(&*mean.fit(&run, &panel).expect("fits")), "{combine:?}");
    }
}

#[test]
fn a_combination_is_that_of_its_members() {
    let panel = levels_and_walks();
    let run = Run::new(0);
    let of = |name: &str| {
        let model = (entry(name).expect("there").build)(&Params::new()).expect("builds");
        model.fit(&run, &panel).and_then(|m| m.predict(&run, &Ahead::new(5, &[]))).expect("forecasts")
    };
    let (naive, mean) = (of("naive"), of("mean"));
    for combine in [Combine::Weighted, Combine::Mean, Combine::Median] {
        let fitted = fit(Auto { combine, ..two() }, &panel);
        let f = fitted.predict(&run, &Ahead::new(5, &[])).expect("forecasts");
        for i in 0..panel.len() {
            let picks = fitted.picks(i);
            let weight = |m: &str| picks.iter().find(|p| p.model == m).map_or(0.0, |p| p.weight);
            let expected = weight("naive") * naive.mean(i)[2] + weight("mean") * mean.mean(i)[2];
            assert!((f.mean(i)[2] - expected).abs() < 1e-9 * expected.abs(), "{combine:?}");
        }
    }
}

#[test]
fn intervals_hold_their_coverage() {
    let panel = levels_and_walks();
    let (head, tail) = panel.split_last(7);
    let fitted = fit(two(), &head);
    let f = fitted.predict(&Run::new(0), &Ahead::new(7, &[0.1, 0.9])).expect("forecasts");
    let inside = (0..80)
        .flat_map(|i| (0..7).map(move |k| (i, k)))
        .filter(|&(i, k)| f.interval(i, k, 0.8).is_some_and(|(l, u)| (l..=u).contains(&tail.series(i).y[k])))
        .count();
    let share = inside as f64 / 560.0;
    // Errors of one series hang together: some 150 independent ones, of which the share has a deviation of 3 %.
    assert!((share - 0.8).abs() < 0.07, "{share}");
}

#[test]
fn slow_sellers_have_their_own_candidates() {
    let mut dice = Dice(5);
    let series = (0..40)
        .map(|i| {
            (
                format!("s{i:02}"),
                0,
                (0..120).map(|_| if dice.uniform() < 0.2 { 1.0 + dice.poisson(2.0) } else { 0.0 }).collect(),
            )
        })
        .collect();
    let panel = Panel::from_series(Freq::DAILY, series).expect("distinct");
    let f = fit(Auto { horizon: Some(14), ..Auto::default() }, &panel);
    let out = f.predict(&Run::new(0), &Ahead::new(14, &[])).expect("forecasts");
    // The mean is 0.6; a choice by absolute errors would forecast nothing.
    let mean = (0..40).map(|i| out.mean(i)[5]).sum::<f64>() / 40.0;
    assert!((0.4..0.8).contains(&mean), "{mean}");
}

#[test]
fn pools_that_make_no_sense_are_refused() {
    let refuse = |pool: &str| match AutoForecaster::new(Auto { pool: pool.into(), ..Auto::default() }) {
        Err(e) => e,
        Ok(_) => panic!("{pool} was taken"),
    };
    assert!(matches!(refuse("naive,nobody"), Error::NotFound { .. }));
    assert!(matches!(refuse("naive,auto"), Error::Invalid(_)));
    assert!(matches!(refuse(" , "), Error::Invalid(_)));
    let build = entry("auto").expect("there").build;
    let mut params = Params::new();
    params.insert("pool".into(), json!("naive,mean"));
    assert!(build(&params).is_ok(), "a list of names stands beside the named pools");
    params.insert("best".into(), json!(0));
    assert!(matches!(build(&params).err(), Some(Error::Params(_))));
}
