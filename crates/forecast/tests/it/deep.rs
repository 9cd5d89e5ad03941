//! The networks that are learnt across all series: what they learn, and what they say when they cannot.

use super::global::{mean, promoted, shop};
use tradewind_core::{Ahead, FittedForecaster, Forecast, Freq, Panel, Params, Run};
use tradewind_forecast::Options;
use tradewind_forecast::backtest::{self, Backtest};
use tradewind_forecast::forecasting::forecaster;

const KINDS: [&str; 6] = ["mlp", "lstm", "gru", "cnn_gru", "tcn", "patch_transformer"];
const DAYS: usize = 240;

fn fit(kind: &str, params: &str, panel: &Panel) -> tradewind_core::Result<Box<dyn FittedForecaster>> {
    let params: Params = serde_json::from_str(params).unwrap();
    (tradewind_forecast::entry(kind)?.build)(&params)?.fit(&Run::new(1), panel)
}

/// The panel with its plans as what is known ahead.
fn ahead(fitted: &dyn FittedForecaster, panel: &Panel, horizon: usize) -> Forecast {
    let ask = Ahead { future: Some(panel.covariates()), ..Ahead::new(horizon, &[0.1, 0.9]) };
    fitted.predict(&Run::new(1), &ask).unwrap()
}

#[test]
fn weeks_and_promotions_are_learnt() {
    let panel = shop(DAYS, 28);
    for kind in KINDS {
        let fitted =
            fit(kind, r#"{"epochs": 5, "origins": 1000, "batch": 32, "width": 32}"#, &panel).unwrap();
        // How it was trained is kept.
        let curves = fitted.training_curves();
        assert!(!curves.is_empty() && curves.iter().all(|c| c.epochs.len() <= 5), "{kind}: {curves:?}");
        let loaded = (tradewind_forecast::entry(kind).unwrap().load)(fitted.save().unwrap()).unwrap();
        assert_eq!(loaded.training_curves(), curves, "{kind}");
        let f = ahead(&*fitted, &panel, 28);
        let (mut off, mut flat, mut inside, mut sum) = (0.0, 0.0, 0, [0.0; 4]);
        for k in 0..40 {
            let level: f64 = panel.series(k).y[DAYS - 28..].iter().sum::<f64>() / 28.0;
            for step in 0..28 {
                let (truth, told) = (mean(k, DAYS + step), f.mean(k)[step]);
                assert!(told >= 0.0);
                off += (told - truth).abs();
                flat += (level - truth).abs();
                let (low, high) = f.interval(k, step, 0.8).unwrap();
                inside += usize::from((low..=high).contains(&truth));
                let at = 2 * usize::from(promoted(k, DAYS + step));
                sum[at] += told;
                sum[at + 1] += truth;
            }
        }
        // The mean of what comes, not what comes, so that chance is not counted as an error.
        println!(
            "{kind}: error {:.3} of the level's, intervals hold {:.3} of the means",
            off / flat,
            f64::from(inside as u32) / 1120.0
        );
        assert!(off < 0.55 * flat, "{kind}: {off} of {flat}");
        assert!(inside > 900, "{kind}: {inside}");
        let lift = |at: usize| sum[at] / sum[at + 1];
        for at in [0, 2] {
            assert!((0.75..1.25).contains(&lift(at)), "{kind}: {at} {}", lift(at));
        }
    }
}

#[test]
fn origins_side_by_side_are_those_one_after_the_other() {
    let panel = shop(DAYS, 0);
    let settings = Backtest { horizon: 7, n_origins: 3, ..Backtest::default() };
    let params: Params = serde_json::from_str(r#"{"epochs": 2, "origins": 300, "width": 16}"#).unwrap();
    let model = (tradewind_forecast::entry("lstm").unwrap().build)(&params).unwrap();
    assert!(model.side_by_side());
    let on = |threads| {
        let result =
            backtest::run(&Run::new(1).with_threads(threads), &panel, &[&*model], &settings).unwrap();
        (0..result.windows().len()).map(|w| result.mean(0, w).to_vec()).collect::<Vec<_>>()
    };
    let told = on(3);
    assert_eq!(told, on(1));
    // The last origin, by hand.
    let fitted = model.fit(&Run::new(1), &panel.split_last(7).0).unwrap();
    let by_hand = fitted.predict(&Run::new(1), &Ahead::new(7, &[])).unwrap();
    let last = &told[told.len() - panel.len()..];
    assert!(last.iter().enumerate().all(|(i, mean)| mean == by_hand.mean(i)));
}

#[test]
fn what_is_too_short_is_answered_all_the_same() {
    for kind in KINDS {
        let few = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, vec![3.0, 5.0, 4.0])]).unwrap();
        let f = fit(kind, "{}", &few).unwrap().predict(&Run::new(1), &Ahead::new(5, &[])).unwrap();
        assert!(f.mean(0).iter().all(|v| (3.0..=5.0).contains(v)), "{kind}: {:?}", f.mean(0));
        let empty = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, vec![])]).unwrap();
        let f = fit(kind, "{}", &empty).unwrap().predict(&Run::new(1), &Ahead::new(5, &[])).unwrap();
        assert_eq!(f.mean(0), [0.0; 5], "{kind}");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let below = Panel::from_series(
        Freq::DAILY,
        vec![("a".into(), 0, (0..90).map(|t| f64::from(t % 7) - 3.0).collect())],
    )
    .unwrap();
    let e = fit("gru", r#"{"objective": "poisson"}"#, &below).err().unwrap().to_string();
    assert!(e.contains("poisson") && e.contains("absolute"), "{e}");
    // Another kind's network is not taken.
    let saved = fit("gru", r#"{"epochs": 1}"#, &shop(60, 0)).unwrap().save().unwrap();
    let e = (tradewind_forecast::entry("lstm").unwrap().load)(saved).err().unwrap().to_string();
    assert!(e.contains("lstm"), "{e}");
}

#[test]
fn what_balances_about_zero_is_divided_by_its_size() {
    // Weeks whose sums are rounding errors.
    let week = |t: usize, k: usize| 0.1 * (1 + k) as f64 * ((t + k) % 7) as f64 - 0.3 * (1 + k) as f64;
    let series = (0..8).map(|k| (format!("s{k}"), 0, (0..280).map(|t| week(t, k)).collect()));
    let panel = Panel::from_series(Freq::DAILY, series.collect()).unwrap();
    for kind in ["mlp", "global"] {
        let params = if kind == "mlp" { r#"{"epochs": 5}"# } else { r#"{"scaling": "level"}"# };
        let f = fit(kind, params, &panel).unwrap().predict(&Run::new(1), &Ahead::new(14, &[])).unwrap();
        for k in 0..8 {
            let (mut off, mut size) = (0.0, 0.0);
            for step in 0..14 {
                off += (f.mean(k)[step] - week(280 + step, k)).abs();
                size += week(280 + step, k).abs();
            }
            assert!(off < 0.3 * size, "{kind} {k}: {off} of {size}");
        }
    }
}

#[test]
fn members_of_others_learn_the_steps_wanted() {
    let panel = shop(DAYS, 45);
    let options = Options::new(45, &[]);
    let told = |model: &str, params: &str| {
        let params: Params = serde_json::from_str(params).unwrap();
        let fitted = forecaster(model, &params, &options).unwrap().fit(&Run::new(1), &panel).unwrap();
        ahead(&*fitted, &panel, 45)
    };
    let alone = told("global", "{}");
    let (member, pool) =
        (told("combination", r#"{"methods": "global"}"#), told("auto", r#"{"pool": "global"}"#));
    let near = ahead(&*fit("global", r#"{"horizon": 28}"#, &panel).unwrap(), &panel, 45);
    for k in 0..40 {
        assert_eq!(member.mean(k), alone.mean(k));
        assert_eq!(pool.mean(k), alone.mean(k));
    }
    assert!((0..40).any(|k| near.mean(k) != alone.mean(k)));
}
