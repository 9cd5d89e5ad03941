//! Prices in steps with a known mechanism: what the model says must be what the mechanism does.

use tradewind_core::{Ahead, Covariate, FittedForecaster, Freq, Panel, Run, StaticColumn, StaticValues};
use tradewind_forecast::price::{FittedPrice, Price};

const WEEK: i64 = 7 * 86_400;
const PRODUCTS: usize = 40;
const HORIZON: usize = 4;

fn noise(i: usize, k: usize) -> f64 {
    let mut h =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (k as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h ^= h >> 31;
    (h >> 11) as f64 / (1_u64 << 53) as f64
}

/// One week of four is a promotion, drawn independently.
fn promoted(k: usize, t: usize) -> bool {
    noise(t, 500 + k) < 0.25
}

/// A regular price that changes once, and a promotional price of its own.
fn price(k: usize, t: usize) -> f64 {
    let regular = 1.99 + 0.1 * (k % 13) as f64 + if t >= 40 + k { 0.2 } else { 0.0 };
    let cents = |v: f64| (v * 100.0).round() / 100.0;
    if promoted(k, t) { cents(1.29 + 0.1 * (k % 7) as f64) } else { cents(regular) }
}

fn shop(n: usize, plan: bool) -> Panel {
    let series = (0..PRODUCTS).map(|k| {
        let y = (0..n).map(|t| if noise(t, 900 + k) < 0.03 && t + 1 < n { f64::NAN } else { price(k, t) });
        (format!("p{k:02}"), 0, y.collect())
    });
    let panel = Panel::from_series(Freq::WEEKLY, series.collect()).unwrap();
    let kind = (0..PRODUCTS).map(|k| Some(if k < 20 { "juice" } else { "tea" }.to_owned())).collect();
    let panel =
        panel.with_static(StaticColumn { name: "kind".into(), values: StaticValues::Text(kind) }).unwrap();
    if !plan {
        return panel;
    }
    let values =
        (0..PRODUCTS).flat_map(|k| (0..n + HORIZON).map(move |t| f64::from(promoted(k, t)))).collect();
    let offsets = (0..=PRODUCTS).map(|k| k * (n + HORIZON)).collect();
    panel.with_covariate(Covariate { name: "deal".into(), known_ahead: true, offsets, values }).unwrap()
}

fn fit(panel: &Panel, threads: usize) -> FittedPrice {
    let model = Price { horizon: Some(HORIZON), n_rounds: 80, ..Price::default() };
    model.fit_panel(&Run::new(3).with_threads(threads), panel).unwrap()
}

/// The share of modes that are right, and the mean absolute error of the point forecast.
fn score(fitted: &FittedPrice, n: usize) -> (f64, f64) {
    let said = fitted.modes(&Run::new(3), &Ahead::new(HORIZON, &[0.1, 0.9])).unwrap();
    let (mut right, mut off) = (0.0, 0.0);
    for k in 0..PRODUCTS {
        for h in 0..HORIZON {
            right += f64::from((said.mode(k)[h] - price(k, n + h)).abs() < 0.005);
            off += (said.forecast.mean(k)[h] - price(k, n + h)).abs();
            assert!((0.0..=1.0).contains(&said.chance(k)[h]));
        }
    }
    let cells = (PRODUCTS * HORIZON) as f64;
    (right / cells, off / cells)
}

/// With the plan known both prices are known; without it the regular price is the best that can be said.
#[test]
fn a_plan_tells_the_price_and_without_it_the_regular_one_is_likeliest() {
    let n = 110;
    let (right, off) = score(&fit(&shop(n, true), 2), n);
    assert!(right > 0.95 && off < 0.08, "planned: {right} right, off by {off}");
    let regular =
        (0..PRODUCTS).flat_map(|k| (0..HORIZON).map(move |h| !promoted(k, n + h))).filter(|r| *r).count();
    let best = regular as f64 / (PRODUCTS * HORIZON) as f64;
    let depth: f64 = (0..PRODUCTS)
        .flat_map(|k| (n..n + HORIZON).map(move |t| (k, t)))
        .map(|(k, t)| {
            let regular = (0..n).rev().find(|t| !promoted(k, *t)).map_or(f64::NAN, |t| price(k, t));
            (price(k, t) - regular).abs()
        })
        .sum::<f64>()
        / (PRODUCTS * HORIZON) as f64;
    let (right, off) = score(&fit(&shop(n, false), 2), n);
    assert!(right > best - 0.05 && right <= best + 0.05, "not planned: {right} right of {best}");
    assert!(off < 1.15 * depth, "not planned: off by {off}, the regular price by {depth}");
}

#[test]
fn another_plan_gives_another_price() {
    let n = 110;
    let fitted = fit(&shop(n, true), 2);
    let asked = |value: f64| Covariate {
        name: "deal".into(),
        known_ahead: true,
        offsets: (0..=PRODUCTS).map(|k| k * (n + HORIZON)).collect(),
        values: vec![value; PRODUCTS * (n + HORIZON)],
    };
    let of = |plan: Covariate| {
        let future = [plan];
        let said = fitted
            .modes(&Run::new(3), &Ahead { horizon: HORIZON, quantiles: &[], future: Some(&future) })
            .unwrap();
        (0..PRODUCTS).map(|k| said.mode(k)[1]).collect::<Vec<f64>>()
    };
    let (with, without) = (of(asked(1.0)), of(asked(0.0)));
    let lower = with.iter().zip(&without).filter(|(a, b)| a < b).count();
    assert!(lower >= 36, "{lower} of 40 are lower on promotion");
}

#[test]
fn threads_and_saving_change_nothing_and_weights_are_shares() {
    let panel = shop(90, true);
    let (one, three) = (fit(&panel, 1), fit(&panel, 3));
    let run = Run::new(3);
    let of = |f: &FittedPrice| f.modes(&run, &Ahead::new(6, &[0.1, 0.5, 0.9])).unwrap();
    assert_eq!(of(&one), of(&three));
    assert!((one.weights().iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let text = one.save().unwrap().to_string();
    let back: FittedPrice = serde_json::from_str(&text).unwrap();
    assert_eq!(of(&one), of(&back));
    // A network whose parts do not fit is told; a model from before there was one still answers.
    let load = tradewind_forecast::entry("price").unwrap().load;
    let mut spoilt = one.save().unwrap();
    spoilt["memory"]["words"].as_array_mut().unwrap().pop();
    assert!(load(spoilt).is_err());
    let mut older = one.save().unwrap();
    older["weights"].as_array_mut().unwrap().pop();
    for name in ["memory", "layout/market"] {
        let (of, name) = name.split_once('/').map_or((None, name), |(of, name)| (Some(of), name));
        let of = if let Some(of) = of { &mut older[of] } else { &mut older };
        of.as_object_mut().unwrap().remove(name).unwrap();
    }
    assert!(load(older).unwrap().predict(&run, &Ahead::new(6, &[])).is_ok());
}

/// What lies behind the cutoff cannot be seen.
#[test]
fn the_future_is_not_seen() {
    let (panel, n) = (shop(100, false), 90);
    let torn = panel.map_y(|s| s.y.iter().enumerate().map(|(t, v)| if t >= n { 99.0 } else { *v }).collect());
    let cut = |p: &Panel| p.as_of((n as i64 - 1) * WEEK);
    let of = |p: &Panel| fit(&cut(p), 2).modes(&Run::new(3), &Ahead::new(HORIZON, &[0.5])).unwrap();
    assert_eq!(of(&panel), of(&torn));
}

/// A price that follows a competitor's of two weeks before: only what remembers the competitor's can tell it.
#[test]
fn what_competitors_asked_is_remembered() {
    let (n, horizon) = (120, 2);
    let theirs = |k: usize, t: usize| 2.0 + 3.0 * noise(t / 2, 300 + k);
    let own = |k: usize, t: usize| if t < 2 { 3.5 } else { theirs(k, t - 2) - 0.1 };
    let series =
        (0..PRODUCTS).map(|k| (format!("p{k:02}"), 0, (0..n).map(|t| own(k, t)).collect())).collect();
    let values = (0..PRODUCTS).flat_map(|k| (0..n).map(move |t| theirs(k, t))).collect();
    let offsets = (0..=PRODUCTS).map(|k| k * n).collect();
    let panel = Panel::from_series(Freq::WEEKLY, series).unwrap();
    let column = Covariate { name: "competitor_price".into(), known_ahead: false, offsets, values };
    let panel = panel.with_covariate(column).unwrap();
    let off = |epochs: usize| {
        let model = Price { horizon: Some(horizon), n_rounds: 40, epochs, ..Price::default() };
        let fitted = model.fit_panel(&Run::new(3), &panel).unwrap();
        let said = fitted.modes(&Run::new(3), &Ahead::new(horizon, &[])).unwrap();
        let of = |k: usize| (0..horizon).map(move |h| (k, h));
        let all = (0..PRODUCTS).flat_map(of);
        let off = all.map(|(k, h)| (said.forecast.mean(k)[h] - own(k, n + h)).abs()).sum::<f64>();
        (off / (PRODUCTS * horizon) as f64, fitted.weights()[6])
    };
    let ((without, none), (with, weight)) = (off(0), off(20));
    assert!(none == 0.0 && weight > 0.5, "{none} {weight}");
    assert!(with < 0.6 * without, "{with} {without}");
}
