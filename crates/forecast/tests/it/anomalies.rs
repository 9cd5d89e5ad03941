//! Anomalies: how often they are told where there are none, and whether those put in are found.

use chrono::NaiveDate;
use rand_distr::{Distribution, Gamma, Normal, Poisson};
use tradewind_core::calendar::{Calendar, Region};
use tradewind_core::freq::stamp;
use tradewind_core::{Covariate, Freq, Panel, Run, Series};
use tradewind_forecast::anomalies::{Anomalies, AnomalySettings, Cause, Kind, anomalies, expectation};

const WEEK: [f64; 7] = [0.7, 0.8, 0.9, 1.0, 1.3, 1.6, 0.7];

/// Counts with a week: a gamma mixture of Poisson numbers with the overdispersion `alpha`, 0 for Poisson itself.
fn counts(seed: u64, n: usize, level: impl Fn(usize) -> f64, alpha: f64) -> Vec<f64> {
    let mut rng = Run::new(seed).rng(3);
    (0..n)
        .map(|t| {
            let mean = level(t) * WEEK[t % 7];
            let mixed = match alpha {
                a if a > 0.0 => mean * Gamma::new(1.0 / a, a).unwrap().sample(&mut rng),
                _ => mean,
            };
            if mixed > 1e-9 { Poisson::new(mixed).unwrap().sample(&mut rng) } else { 0.0 }
        })
        .collect()
}

fn of(series: Vec<Vec<f64>>) -> Panel {
    let list = series.into_iter().enumerate().map(|(i, y)| (format!("p{i:03}"), 0, y)).collect();
    Panel::from_series(Freq::DAILY, list).unwrap()
}

fn found(panel: &Panel, settings: &AnomalySettings) -> Anomalies {
    anomalies(&Run::new(1), panel, &Calendar::new(&[]), settings).unwrap()
}

#[test]
fn false_alarms_are_as_rare_as_asked() {
    let settings = AnomalySettings { false_alarms: 1e-3, shifts: false, ..AnomalySettings::default() };
    let n = 700;
    let laws: [(&str, f64, f64); 7] = [
        ("0.2 a day", 0.2, 0.0),
        ("0.2 a day, in bursts", 0.2, 1.0),
        ("1 a day", 1.0, 0.5),
        ("5 a day", 5.0, 0.0),
        ("5 a day, in bursts", 5.0, 0.5),
        ("50 a day", 50.0, 0.1),
        ("800 a day", 800.0, 0.05),
    ];
    for (name, level, alpha) in laws {
        let panel = of((0..60).map(|k| counts(k, n, |_| level, alpha)).collect());
        let told = found(&panel, &settings);
        let share = told.anomalies.len() as f64 / told.n_values as f64;
        println!(
            "{name}: {} of {} values, {:.2} times the rate asked for",
            told.anomalies.len(),
            told.n_values,
            share / 1e-3
        );
        // The law is estimated from the values themselves.
        assert!(share <= 2e-3, "{name}: {share}");
    }
    for (name, spread) in [("prices within 2 %", 0.02), ("revenue within 25 %", 0.25)] {
        let series = (0..60).map(|k| {
            let mut rng = Run::new(k).rng(5);
            let law = Normal::new(1.0, spread).unwrap();
            (0..n).map(|t| 20.0 * WEEK[t % 7].sqrt() * f64::max(law.sample(&mut rng), 0.0)).collect()
        });
        let told = found(&of(series.collect()), &settings);
        let share = told.anomalies.len() as f64 / told.n_values as f64;
        println!("{name}: {:.2} times the rate asked for", share / 1e-3);
        assert!(share <= 2e-3, "{name}: {share}");
    }
}

#[test]
fn few_series_show_a_level_that_did_not_change() {
    let settings = AnomalySettings::default();
    for (level, alpha) in [(0.5, 0.5), (8.0, 0.2)] {
        let panel = of((0..150).map(|k| counts(k + 500, 728, |_| level, alpha)).collect());
        let told = found(&panel, &settings);
        let changes =
            told.anomalies.iter().filter(|a| matches!(a.kind, Kind::LevelShiftUp | Kind::LevelShiftDown));
        let mut series: Vec<&str> = changes.map(|a| a.unique_id.as_str()).collect();
        series.dedup();
        println!("level {level}: {} of 150 series show a change", series.len());
        assert!(series.len() <= 15, "{}", series.len());
    }
}

#[test]
fn spikes_drops_and_pauses_that_were_put_in_are_found() {
    let settings = AnomalySettings::default();
    let (mut spikes, mut drops, mut pauses, mut others) = (0, 0, 0, 0);
    let rounds = 60;
    for k in 0..rounds {
        let mut y = counts(k + 900, 500, |_| 30.0, 0.08);
        let mut slow = counts(k + 2000, 500, |_| 0.25, 0.0);
        y[200] = 150.0;
        y[300] = 0.0;
        y[400..409].fill(0.0);
        slow[250] = 9.0;
        let told = found(&of(vec![y, slow]), &settings);
        for a in &told.anomalies {
            let t = usize::try_from(a.ds / 86_400).unwrap();
            match (a.unique_id.as_str(), a.kind, t) {
                ("p000", Kind::Spike, 200) | ("p001", Kind::Spike, 250) => spikes += 1,
                ("p000", Kind::Drop, 300) => drops += 1,
                ("p000", Kind::StockOutLike, 398..=400) => {
                    pauses += usize::from((408..=410).contains(&(a.until / 86_400)));
                }
                _ => others += 1,
            }
            let single = matches!(a.kind, Kind::Spike | Kind::Drop);
            assert!(!single || a.y < a.lower || a.y > a.upper, "{a:?}");
            assert!(a.lower <= a.expected && a.expected <= a.upper, "{a:?}");
        }
    }
    println!(
        "{spikes} of {} spikes, {drops} of {rounds} drops, {pauses} of {rounds} pauses; {others} others",
        2 * rounds
    );
    assert!(spikes >= 112 && drops >= 50 && pauses >= 57, "{spikes} {drops} {pauses}");
    assert!(others <= 20, "{others}");
}

#[test]
fn levels_that_changed_are_found_to_the_day() {
    let (mut up, mut down, mut others, mut off) = (0, 0, 0, 0.0);
    let rounds = 60;
    for k in 0..rounds {
        let level = |t: usize| match t {
            0..263 => 6.0,
            263..500 => 14.0,
            _ => 5.0,
        };
        let told = found(&of(vec![counts(k + 70, 728, level, 0.15)]), &AnomalySettings::default());
        for a in &told.anomalies {
            let t = a.ds as f64 / 86_400.0;
            match a.kind {
                Kind::LevelShiftUp if (t - 263.0).abs() <= 7.0 => {
                    up += 1;
                    off += (t - 263.0).abs();
                    assert!(a.score > 4.0 && a.y > a.upper && a.expected < a.y, "{a:?}");
                }
                Kind::LevelShiftDown if (t - 500.0).abs() <= 7.0 => {
                    down += 1;
                    off += (t - 500.0).abs();
                    assert!(a.score < -4.0 && a.y < a.lower);
                }
                _ => others += 1,
            }
        }
    }
    println!(
        "{up} and {down} of {rounds} shifts, {:.1} days off; {others} others",
        off / f64::from(up + down)
    );
    assert!(up >= 57 && down >= 57, "{up} {down}");
    assert!(off / f64::from(up + down) < 3.0 && others <= 12, "{off} {others}");
}

#[test]
fn a_year_is_no_change_of_level_and_an_end_is_a_pause() {
    let year = |t: usize| 10.0 * (1.0 + 0.7 * (std::f64::consts::TAU * t as f64 / 365.25).sin());
    let mut shifts = 0;
    for k in 0..20 {
        let told = found(&of(vec![counts(k + 40, 1200, year, 0.1)]), &AnomalySettings::default());
        shifts += told
            .anomalies
            .iter()
            .filter(|a| matches!(a.kind, Kind::LevelShiftUp | Kind::LevelShiftDown | Kind::StockOutLike))
            .count();
    }
    println!("{shifts} shifts in 20 series of a year's season");
    assert!(shifts <= 10, "{shifts}");
    let told = found(
        &of(vec![counts(5, 600, |t| if t < 420 { 6.0 } else { 0.0 }, 0.1)]),
        &AnomalySettings::default(),
    );
    let ends: Vec<_> = told.anomalies.iter().filter(|a| a.kind == Kind::StockOutLike).collect();
    assert_eq!(ends.len(), 1, "{:?}", told.anomalies);
    assert!((ends[0].ds / 86_400 - 420).abs() <= 7 && ends[0].until / 86_400 == 599, "{:?}", ends[0]);
}

#[test]
fn likely_causes_are_named() {
    let day = |m: u32, d: u32| {
        let date = NaiveDate::from_ymd_opt(2024, m, d).unwrap();
        usize::try_from((date - NaiveDate::from_ymd_opt(2024, 1, 1).unwrap()).num_days()).unwrap()
    };
    let start = stamp(NaiveDate::from_ymd_opt(2024, 1, 1).unwrap());
    let n = 366;
    let mut y = counts(77, n, |_| 60.0, 0.05);
    let (mut promotion, mut price, mut closed) = (vec![0.0; n], vec![10.0; n], vec![0.0; n]);
    y[day(11, 11)] = 420.0;
    y[day(5, 15)] = 410.0;
    promotion[day(5, 15)] = 1.0;
    y[day(8, 7)] = 410.0;
    price[day(8, 7)] = 7.0;
    y[day(9, 3)] = 0.0;
    closed[day(9, 3)] = 1.0;
    y[day(7, 3)] = 400.0;
    let mut panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), start, y)]).unwrap();
    for (name, values) in [("promotion", promotion), ("price", price), ("closed", closed)] {
        let column = Covariate { name: name.into(), known_ahead: false, offsets: vec![0, n], values };
        panel = panel.with_covariate(column).unwrap();
    }
    let calendar = Calendar::new(&[Region::Cn]);
    let told = anomalies(&Run::new(1), &panel, &calendar, &AnomalySettings::default()).unwrap();
    let of = |m, d| {
        let at = start + day(m, d) as i64 * 86_400;
        let a = told.anomalies.iter().find(|a| a.ds == at).unwrap_or_else(|| panic!("{m}-{d}: {told:?}"));
        (a.kind, a.causes.first().cloned())
    };
    assert_eq!(of(5, 15), (Kind::Spike, Some(Cause::Promotion)));
    assert_eq!(of(8, 7), (Kind::Spike, Some(Cause::PriceCut)));
    assert_eq!(of(9, 3), (Kind::Drop, Some(Cause::Closed)));
    assert_eq!(of(7, 3), (Kind::Spike, None));
    let (kind, cause) = of(11, 11);
    assert!(kind == Kind::Spike && matches!(&cause, Some(Cause::Event(k)) if k.contains("11")), "{cause:?}");
}

#[test]
fn odd_series_are_no_fault() {
    let nan = f64::NAN;
    let panel = of(vec![
        vec![],
        vec![nan; 100],
        vec![0.0; 100],
        vec![7.0; 100],
        vec![1.0, 2.0],
        (0..100).map(|t| if t % 3 == 0 { nan } else { -5.0 + f64::from(t % 4) }).collect(),
        (0..100).map(|t| if t == 50 { 1e300 } else { 1e-300 }).collect(),
    ]);
    let told = found(&panel, &AnomalySettings::default());
    assert_eq!(told.too_short, ["p000", "p001", "p004"]);
    assert!(told.anomalies.iter().all(|a| a.unique_id == "p006"), "{:?}", told.anomalies);
    for a in &told.anomalies {
        assert!(a.score.is_finite() && a.lower.is_finite() && a.upper.is_finite(), "{a:?}");
    }
    assert!(found(&Panel::empty(Freq::MONTHLY), &AnomalySettings::default()).anomalies.is_empty());
    let bad = AnomalySettings { false_alarms: 0.5, ..AnomalySettings::default() };
    assert!(bad.check().unwrap_err().to_string().contains("false_alarms"));
    let y = [3.0, 4.0];
    let short = Series { id: "s", freq: Freq::DAILY, start: 0, y: &y };
    assert!(expectation(&short, &AnomalySettings::default()).is_none());
}

#[test]
fn threads_change_nothing() {
    let panel = of((0..40).map(|k| counts(k, 300, |_| 3.0, 0.4)).collect());
    let settings = AnomalySettings { false_alarms: 0.01, ..AnomalySettings::default() };
    let with = |n| anomalies(&Run::new(1).with_threads(n), &panel, &Calendar::new(&[]), &settings).unwrap();
    assert_eq!(with(1), with(4));
    assert!(!with(1).anomalies.is_empty() && !with(1).worst().is_empty());
}
