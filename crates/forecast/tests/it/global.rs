//! The model that is learnt across all series: what it sees, and that it does not see what it must not.

use tradewind_core::{
    Ahead, Covariate, FittedForecaster, Forecast, Freq, Panel, Params, Run, StaticColumn, StaticValues,
};

const DAY: i64 = 86_400;
const START: i64 = DAY * 19_002;

fn noise(i: usize, k: usize) -> f64 {
    let mut h =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (k as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h ^= h >> 31;
    (h >> 11) as f64 / (1_u64 << 53) as f64
}

/// A Poisson number by its distribution function.
fn count(mean: f64, chance: f64) -> f64 {
    let (mut k, mut p) = (0.0, (-mean).exp());
    let mut sum = p;
    while sum < chance && k < 1000.0 {
        k += 1.0;
        p *= mean / k;
        sum += p;
    }
    k
}

const WEEK: [f64; 7] = [0.7, 0.8, 0.9, 1.0, 1.3, 1.6, 0.7];

pub(crate) fn promoted(k: usize, t: usize) -> bool {
    noise(t / 3, 1000 + k) < 0.15
}

pub(crate) fn mean(k: usize, t: usize) -> f64 {
    (2.0 + k as f64 / 4.0) * WEEK[t % 7] * if promoted(k, t) { 2.5 } else { 1.0 }
}

/// Counts of 40 products with promotions planned for `ahead` days more.
pub(crate) fn shop(n: usize, ahead: usize) -> Panel {
    let series = (0..40).map(|k| {
        let y = (0..n).map(|t| count(mean(k, t), noise(t, k))).collect();
        (format!("p{k:02}"), START, y)
    });
    let panel = Panel::from_series(Freq::DAILY, series.collect()).unwrap();
    let plan = (0..40).flat_map(|k| (0..n + ahead).map(move |t| f64::from(promoted(k, t))));
    let promotion = Covariate {
        name: "promotion".into(),
        known_ahead: true,
        offsets: (0..=40).map(|k| k * (n + ahead)).collect(),
        values: plan.collect(),
    };
    let kind = (0..40).map(|k| Some(if k < 20 { "tea" } else { "coffee" }.to_owned())).collect();
    panel
        .with_covariate(promotion)
        .unwrap()
        .with_static(StaticColumn { name: "kind".into(), values: StaticValues::Text(kind) })
        .unwrap()
}

fn fit(panel: &Panel, threads: usize) -> Box<dyn FittedForecaster> {
    let params: Params = serde_json::from_str(r#"{"horizon": 14, "n_rounds": 80}"#).unwrap();
    let model = (tradewind_forecast::entry("global").unwrap().build)(&params).unwrap();
    model.fit(&Run::new(3).with_threads(threads), panel).unwrap()
}

fn ahead(fitted: &dyn FittedForecaster, future: Option<&[Covariate]>) -> Forecast {
    fitted.predict(&Run::new(3), &Ahead { horizon: 14, quantiles: &[0.1, 0.9], future }).unwrap()
}

#[test]
fn seasons_and_plans_are_learnt_across_series() {
    let n = 300;
    let f = ahead(&*fit(&shop(n, 14), 2), None);
    let (mut error, mut naive, mut total, mut inside) = (0.0, 0.0, 0.0, 0);
    for k in 0..40 {
        for h in 0..14 {
            let truth = mean(k, n + h);
            error += (f.mean(k)[h] - truth).abs();
            naive += ((2.0 + k as f64 / 4.0) * 1.2 - truth).abs();
            total += truth;
            let y = count(truth, noise(n + h, k));
            let (low, high) = (f.quantile(k, h, 0.1).unwrap(), f.quantile(k, h, 0.9).unwrap());
            inside += usize::from(y >= low.floor() && y <= high.ceil());
        }
    }
    // Within a tenth of what was to be expected, where not knowing week and plan is off by far more.
    assert!(error / total < 0.10, "{}", error / total);
    assert!(error < 0.25 * naive, "{error} {naive}");
    let share = inside as f64 / 560.0;
    assert!((0.78..=0.97).contains(&share), "{share}");
}

#[test]
fn another_plan_gives_another_forecast() {
    let panel = shop(300, 14);
    let fitted = fit(&panel, 2);
    let asked = |value: f64| Covariate {
        name: "promotion".into(),
        known_ahead: true,
        offsets: (0..=40).map(|k| k * 314).collect(),
        values: vec![value; 40 * 314],
    };
    let (with, without) = (ahead(&*fitted, Some(&[asked(1.0)])), ahead(&*fitted, Some(&[asked(0.0)])));
    let sum = |f: &Forecast| (0..40).flat_map(|k| f.mean(k).to_vec()).sum::<f64>();
    let lift = sum(&with) / sum(&without);
    assert!((2.1..=2.8).contains(&lift), "{lift}");
}

#[test]
fn threads_saving_and_later_observations_change_nothing_but_what_they_tell() {
    let panel = shop(250, 14);
    let fitted = fit(&panel, 1);
    let f = ahead(&*fitted, None);
    assert_eq!(f, ahead(&*fit(&panel, 3), None));
    let entry = tradewind_forecast::entry("global").unwrap();
    let mut back = (entry.load)(serde_json::from_str(&fitted.save().unwrap().to_string()).unwrap()).unwrap();
    assert_eq!(f, ahead(&*back, None));

    // The same trees with a week more of history: the forecast moves on, and follows what came.
    let week = |value: f64| {
        let series = (0..40).map(|k| (format!("p{k:02}"), START + 250 * DAY, vec![value * mean(k, 251); 7]));
        let mut moved = (entry.load)(fitted.save().unwrap()).unwrap();
        moved.update(&Run::new(3), &Panel::from_series(Freq::DAILY, series.collect()).unwrap()).unwrap();
        let g = ahead(&*moved, None);
        assert_eq!(g.ds(0, 0), START + 257 * DAY);
        (0..40).flat_map(|k| g.mean(k)[..7].to_vec()).sum::<f64>()
    };
    let (much, none) = (week(3.0), week(0.0));
    assert!(much > 1.1 * none, "{much} {none}");
    let stranger = Panel::from_series(Freq::DAILY, vec![("new".into(), START, vec![1.0])]).unwrap();
    assert!(back.update(&Run::new(3), &stranger).unwrap_err().to_string().contains("`new`"));
}

/// What lies after an origin cannot be seen at it: with the targets of the last days changed beyond recognition, the
/// rows of earlier origins are the same, and so forecasts made from a cut panel do not change.
#[test]
fn the_future_is_not_seen() {
    let (panel, n) = (shop(250, 14), 236);
    let cut = panel.as_of(START + (n as i64 - 1) * DAY);
    let torn = panel.map_y(|s| s.y.iter().enumerate().map(|(t, v)| if t >= n { 1e6 } else { *v }).collect());
    let torn = torn.as_of(START + (n as i64 - 1) * DAY);
    assert_eq!(ahead(&*fit(&cut, 2), None), ahead(&*fit(&torn, 2), None));
}

/// Strides see the plan, take in what they said, and forecast what a direct answer does about as well; their answers within
/// the first stride are those of a direct one.
#[test]
fn strides_feed_back_what_they_say() {
    let panel = shop(420, 28);
    let run = Run::new(3);
    let ahead = Ahead::new(28, &[]);
    let fit = |json: &str| {
        let params: Params = serde_json::from_str(json).unwrap();
        let model = (tradewind_forecast::entry("global").unwrap().build)(&params).unwrap();
        let known = panel.as_of(panel.series(0).ds(391));
        model.fit(&run, &known).unwrap().predict(&run, &ahead).unwrap()
    };
    let off = |f: &Forecast| {
        let of = |k: usize| (0..28).map(|t| (f.mean(k)[t] - mean(k, 392 + t)).abs()).sum::<f64>();
        (0..40).map(of).sum::<f64>()
            / (0..40).map(|k| (0..28).map(|t| mean(k, 392 + t)).sum::<f64>()).sum::<f64>()
    };
    let (direct, weekly, daily) = (fit("{}"), fit(r#"{"stride":7}"#), fit(r#"{"stride":1}"#));
    let mixed = fit(r#"{"stride":7,"mixed":true}"#);
    for f in [&direct, &weekly, &daily, &mixed] {
        assert!(off(f) < 0.2, "{}", off(f));
    }
    assert!(
        off(&weekly) < 1.3 * off(&direct) && off(&mixed) < 1.15 * off(&direct),
        "{} {} {}",
        off(&direct),
        off(&weekly),
        off(&mixed)
    );
    assert_ne!(weekly.mean(0)[20], direct.mean(0)[20]);
    let again = fit(r#"{"stride":7}"#);
    assert_eq!(again.mean(5), weekly.mean(5), "the same answer twice");
}

/// Counts of 40 products whose mean follows their views of seven days before.
fn viewed(n: usize) -> (Panel, impl Fn(usize, usize) -> f64) {
    let views = |k: usize, t: usize| {
        let slow = 1.0 + 0.4 * ((t / 20 + 3 * k) as f64).sin();
        (30.0 + 5.0 * k as f64) * slow * (0.4 + 1.2 * noise(t, 77 + k))
    };
    let mean = move |k: usize, t: usize| 0.15 * views(k, t + 100 - 7) * WEEK[t % 7];
    let series = (0..40).map(|k| {
        let y = (0..n).map(|t| count(mean(k, t), noise(t, 2000 + k))).collect();
        (format!("p{k:02}"), START, y)
    });
    let column = Covariate {
        name: "views".into(),
        known_ahead: false,
        offsets: (0..=40).map(|k| k * n).collect(),
        values: (0..40).flat_map(|k| (0..n).map(move |t| views(k, t + 100).round())).collect(),
    };
    (Panel::from_series(Freq::DAILY, series.collect()).unwrap().with_covariate(column).unwrap(), mean)
}

#[test]
fn columns_that_run_ahead_help_as_far_as_they_are_known() {
    let n = 364;
    let (panel, mean) = viewed(n);
    let fitted = |leading: bool| {
        let mut params: Params = serde_json::from_str(r#"{"horizon": 14, "n_rounds": 80}"#).unwrap();
        params.insert("leading".into(), leading.into());
        let model = (tradewind_forecast::entry("global").unwrap().build)(&params).unwrap();
        model.fit(&Run::new(3), &panel).unwrap()
    };
    let error = |f: &Forecast, steps: std::ops::Range<usize>| {
        let (mut off, mut total) = (0.0, 0.0);
        for k in 0..40 {
            for h in steps.clone() {
                off += (f.mean(k)[h] - mean(k, n + h)).abs();
                total += mean(k, n + h);
            }
        }
        off / total
    };
    let (with, without) = (fitted(true), fitted(false));
    let (a, b) = (ahead(&*with, None), ahead(&*without, None));
    let (near, near_without) = (error(&a, 0..7), error(&b, 0..7));
    let (far, far_without) = (error(&a, 7..14), error(&b, 7..14));
    println!(
        "first week {near:.3} with views, {near_without:.3} without; second {far:.3} and {far_without:.3}"
    );
    // The coming week follows views that are known; the one after it those that are not.
    assert!(near < 0.6 * near_without, "{near} {near_without}");
    assert!(far < 1.1 * far_without, "{far} {far_without}");

    // What was learnt can be saved, and later views are taken in.
    let entry = tradewind_forecast::entry("global").unwrap();
    let state = serde_json::from_str(&with.save().unwrap().to_string()).unwrap();
    let mut back = (entry.load)(state).unwrap();
    assert_eq!(a, ahead(&*back, None));
    let (more, _) = viewed(n + 7);
    let (_, tail) = more.split_last(7);
    let views: Vec<f64> =
        (0..40).flat_map(|k| more.covariate("views").unwrap().of(k)[n..].to_vec()).collect();
    let tail = tail
        .with_covariate(Covariate {
            name: "views".into(),
            known_ahead: false,
            offsets: (0..=40).map(|k| k * 7).collect(),
            values: views,
        })
        .unwrap();
    back.update(&Run::new(3), &tail).unwrap();
    let next = ahead(&*back, None);
    let (mut off, mut total) = (0.0, 0.0);
    for k in 0..40 {
        for h in 0..7 {
            off += (next.mean(k)[h] - mean(k, n + 7 + h)).abs();
            total += mean(k, n + 7 + h);
        }
    }
    assert!(off / total < 0.6 * near_without, "{} {near_without}", off / total);
}

/// Views of days that have not come change nothing: a panel that was cut forecasts like one whose future views were torn.
#[test]
fn views_of_the_future_are_not_seen() {
    let n = 300;
    let (panel, _) = viewed(n);
    let origin = START + (n as i64 - 15) * DAY;
    let cut = panel.as_of(origin);
    let mut torn = panel.clone().keep_covariates(|_| false);
    let mut views = panel.covariate("views").unwrap().clone();
    for k in 0..40 {
        views.values[k * n + n - 14..(k + 1) * n].fill(1e9);
    }
    torn = torn.with_covariate(views).unwrap();
    assert_eq!(ahead(&*fit(&cut, 2), None), ahead(&*fit(&torn.as_of(origin), 2), None));
}

#[test]
fn forecasts_are_taken_apart_exactly() {
    use tradewind_forecast::global::{Global, Link};
    // Counts are products of their parts; prices far from zero are sums.
    let prices = shop(260, 14).map_y(|s| s.y.iter().map(|v| 100.0 + v).collect());
    for (panel, link) in [(shop(260, 14), Link::Product), (prices, Link::Sum)] {
        let model = Global { horizon: Some(14), n_rounds: 60, ..Global::default() };
        let fitted = model.fit_panel(&Run::new(3), &panel).unwrap();
        let asked = Ahead { horizon: 14, quantiles: &[], future: None };
        let f = fitted.predict(&Run::new(3), &asked).unwrap();
        let steps = fitted.explain(&Run::new(3), &asked).unwrap();
        assert_eq!(steps.len(), 40 * 14);
        for (n, s) in steps.iter().enumerate() {
            let (i, k) = (n / 14, n % 14);
            assert_eq!((s.unique_id.as_str(), s.ds, s.ahead), (f.ids()[i].as_str(), f.ds(i, k), k + 1));
            assert_eq!(s.link, link);
            let whole: f64 = match link {
                Link::Product => s.base * s.parts.iter().map(|p| p.part).product::<f64>(),
                Link::Sum => s.base + s.parts.iter().map(|p| p.part).sum::<f64>(),
            };
            let said = f.mean(i)[k];
            assert!((whole - said).abs() < 1e-6 * said.abs().max(1.0), "{whole} {said}");
            assert!((s.forecast - said).abs() < 1e-9 * said.abs().max(1.0));
        }
        // On days of a promotion the promotion drives.
        let driven = |promoted: bool| {
            let of: Vec<f64> = steps
                .iter()
                .filter(|s| {
                    s.parts.iter().any(|p| p.feature == "promotion:level" && (p.value > 0.0) == promoted)
                })
                .map(|s| s.parts.iter().find(|p| p.feature == "promotion:level").unwrap().part)
                .collect();
            of.iter().sum::<f64>() / of.len() as f64
        };
        assert!(driven(true) > driven(false), "{} {}", driven(true), driven(false));
    }
}

/// A year of two steps is shorter than what rows need, and one of the series is younger than it.
#[test]
fn half_years_with_a_new_series_are_forecast() {
    let freq: Freq = "6M".parse().unwrap();
    let mut series: Vec<(String, i64, Vec<f64>)> =
        (0..40).map(|k| (format!("p{k:02}"), 0, (0..24).map(|t| 5.0 + noise(k, t)).collect())).collect();
    series.push(("new".into(), 0, vec![3.0]));
    let panel = Panel::from_series(freq, series).unwrap();
    let model = (tradewind_forecast::entry("global").unwrap().build)(&Params::new()).unwrap();
    let run = Run::new(1);
    let said = model.fit(&run, &panel).unwrap().predict(&run, &Ahead::new(4, &[0.1, 0.9])).unwrap();
    assert_eq!(said.len(), 41);
    assert!((0..41).all(|i| said.mean(i).iter().all(|v| v.is_finite() && *v >= 0.0 && *v < 20.0)));
}
