//! Trends from outside: what is planted is found, what is said is true, odd data give an answer or an error.

use std::collections::HashSet;
use tradewind_core::calendar::{Calendar, Region, window_effect};
use tradewind_core::freq::{DAY, date, parse_stamp};
use tradewind_core::{
    Basis, Covariate, Direction, DriverKind, Error, Freq, Panel, Run, Stage, Stamp, StaticColumn,
    StaticValues, Trend,
};
use tradewind_forecast::changepoint::pelt;
use tradewind_forecast::trend::{self, Learner, TrendSettings, cutoffs, evaluate, predict, predict_with};

/// Numbers in [0, 1) that depend on nothing but their place.
fn noise(a: usize, b: usize) -> f64 {
    let mut s = (a as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (b as u64 + 7).wrapping_mul(0xD1B5_4A32_D192_ED03);
    for _ in 0..3 {
        s ^= s >> 29;
        s = s.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    (s >> 11) as f64 / (1_u64 << 53) as f64
}

fn stamp(day: &str) -> Stamp {
    parse_stamp(day).expect("a date")
}

/// Sales about a level, with the spread of counts.
fn sales(level: f64, a: usize, b: usize) -> f64 {
    let normal: f64 = (0..6).map(|k| noise(a, b * 6 + k)).sum::<f64>() * 2.0 - 6.0;
    (level + level.sqrt() * normal / 1.4).max(0.0).round()
}

/// `n` products whose levels rise and fall with the year, each at its own time.
fn seasonal(n: usize, days: usize) -> Panel {
    let series = (0..n)
        .map(|p| {
            let y = (0..days)
                .map(|d| {
                    let angle = std::f64::consts::TAU * (d as f64 / 364.0 + p as f64 / n as f64);
                    sales((4.0 + 6.0 * noise(p, 9_999)) * (1.0 + 0.6 * angle.sin()), p, d)
                })
                .collect();
            (format!("p{p:03}"), stamp("2022-01-01"), y)
        })
        .collect();
    Panel::from_series(Freq::DAILY, series).expect("a panel")
}

fn settings(horizon: usize) -> TrendSettings {
    TrendSettings { horizon, ..TrendSettings::default() }
}

fn check(t: &Trend) {
    let sum: f64 = t.probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 1e-9 && t.probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "{t:?}");
    assert!(t.growth_lower <= t.growth && t.growth <= t.growth_upper && t.growth_lower >= -1.0, "{t:?}");
    assert!(t.units_last >= 0.0 && t.units_expected >= 0.0 && t.units_expected.is_finite(), "{t:?}");
    let share: f64 = t.drivers.iter().map(|d| d.share).sum();
    assert!(t.drivers.is_empty() || (share - 1.0).abs() < 1e-9, "{t:?}");
    assert!(t.drivers.windows(2).all(|w| w[0].share >= w[1].share), "{t:?}");
    let kinds: HashSet<_> = t.drivers.iter().map(|d| d.kind).collect();
    assert_eq!(kinds.len(), t.drivers.len(), "{t:?}");
    assert!(t.change_points.windows(2).all(|w| w[0].ds < w[1].ds), "{t:?}");
}

#[test]
fn the_season_that_was_planted_is_found() {
    let panel = seasonal(60, 3 * 364 + 50);
    let s = settings(28);
    let dates = cutoffs(&panel, &s, 3).expect("dates");
    assert_eq!(dates.len(), 3);
    let e = evaluate(&Run::new(1), &panel, &s, &dates, &Calendar::default()).expect("an evaluation");
    let naive = |name: &str| &e.naive.iter().find(|n| n.name == name).expect("a naive answer").scores;
    let auc = |s: &tradewind_forecast::trend::Scores, k: usize| s.directions[k].auc.expect("both happened");
    assert!(auc(&e.scores, 2) > 0.85 && auc(&e.scores, 0) > 0.85, "{:?}", e.scores);
    for name in ["last_change", "year_ago", "base_rates"] {
        assert!(e.scores.log_loss < naive(name).log_loss, "{name}: {:?}", e.scores);
        assert!(auc(&e.scores, 2) > auc(naive(name), 2), "{name}");
    }
    assert!(e.scores.calibration_gap < 0.1, "{:?}", e.scores);
    assert!((0.65..=0.95).contains(&e.coverage), "{}", e.coverage);
    assert_eq!(e.outcomes.len(), 180);
    assert_eq!(e.by_cutoff.iter().map(|s| s.n).sum::<usize>(), e.scores.n);
}

#[test]
fn what_came_later_changes_nothing() {
    let panel = seasonal(20, 700);
    let cutoff = stamp("2022-01-01") + 599 * DAY;
    let later = panel.map_y(|s| {
        s.y.iter().enumerate().map(|(k, v)| if k >= 600 { 500.0 + k as f64 } else { *v }).collect()
    });
    let run = Run::new(1);
    let calendar = Calendar::new(&[Region::Us]);
    let answer = |p: &Panel| predict(&run, p, &settings(28), Some(cutoff), &calendar).expect("trends");
    let a = answer(&panel);
    assert_eq!(a, answer(&later));
    assert_eq!(a.cutoff, cutoff);
    // The replay of that date, made on the whole panel, says the same as a prediction made then.
    let e = evaluate(&run, &panel, &settings(28), &[cutoff], &calendar).expect("an evaluation");
    for (t, o) in a.trends.iter().zip(&e.outcomes) {
        assert_eq!(t.unique_id, o.unique_id);
        assert!(
            t.probabilities.iter().zip(&o.probabilities).all(|(x, y)| (x - y).abs() < 1e-9),
            "{t:?} {o:?}"
        );
    }
}

#[test]
fn threads_do_not_change_the_answer() {
    let panel = seasonal(30, 500);
    let answer = |threads| {
        let run = Run::new(1).with_threads(threads);
        predict(&run, &panel, &settings(28), None, &Calendar::default()).expect("trends")
    };
    let one = answer(1);
    assert_eq!(one, answer(3));
    one.trends.iter().for_each(check);
    let ids: Vec<_> = one.trends.iter().map(|t| t.unique_id.as_str()).collect();
    assert_eq!(ids, panel.ids().iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn many_products_grow_trees_and_the_answer_stays_one() {
    // Every third product runs out now and then and comes back: what holds only together, as trees find it.
    let (n, days, h) = (90, 620, 28);
    let series = (0..n)
        .map(|p| {
            let y = (0..days)
                .map(|d| {
                    let out = p % 3 == 0 && (d + 37 * p) % 90 < 24;
                    let angle = std::f64::consts::TAU * (d as f64 / 364.0 + p as f64 / n as f64);
                    if out { 0.0 } else { sales(5.0 * (1.0 + 0.5 * angle.sin()), p, d) }
                })
                .collect();
            (format!("p{p:03}"), stamp("2022-01-01"), y)
        })
        .collect();
    let panel = Panel::from_series(Freq::DAILY, series).expect("a panel");
    let answer = |threads: usize, learner: Learner| {
        let run = Run::new(1).with_threads(threads);
        let s = TrendSettings { learner, ..settings(h) };
        predict(&run, &panel, &s, None, &Calendar::default()).expect("trends")
    };
    let mixed = answer(1, Learner::Blend);
    assert_eq!(mixed, answer(3, Learner::Blend));
    mixed.trends.iter().for_each(check);
    let splines = answer(2, Learner::SplineLogistic);
    let loss = |r: &trend::TrendReport| r.quality.as_ref().expect("a check on the past").scores.log_loss;
    assert!(loss(&mixed) < 0.97 * loss(&splines), "{} {}", loss(&mixed), loss(&splines));
}

#[test]
fn a_price_is_named_only_where_it_changed_and_pushes_the_right_way() {
    // Prices of even products change now and then, and sales follow them; odd ones stay.
    let (n, days) = (40, 600);
    let price = |p: usize, d: usize| -> f64 {
        if p % 2 == 1 { 10.0 } else { 10.0 * [1.0, 0.7, 1.3, 1.0, 0.75][(d / 24 + p * 3 + d / 120) % 5] }
    };
    let series = (0..n)
        .map(|p| {
            let y = (0..days).map(|d| sales(12.0 * (price(p, d) / 10.0).powf(-2.5), p, d)).collect();
            (format!("p{p:02}"), stamp("2023-01-01"), y)
        })
        .collect();
    let h = 14;
    let panel = Panel::from_series(Freq::DAILY, series)
        .and_then(|p| {
            p.with_covariate(Covariate {
                name: "price".into(),
                known_ahead: true,
                offsets: (0..=n).map(|k| k * (days + h)).collect(),
                values: (0..n).flat_map(|p| (0..days + h).map(move |d| price(p, d))).collect(),
            })
        })
        .expect("a panel");
    let report = predict(&Run::new(1), &panel, &settings(h), None, &Calendar::default()).expect("trends");
    let mut named = 0;
    for (p, t) in report.trends.iter().enumerate() {
        check(t);
        let mean = |lo: usize, hi: usize| (lo..hi).map(|d| price(p, d)).sum::<f64>() / (hi - lo) as f64;
        let change = mean(days, days + h) / mean(days - h, days);
        match t.drivers.iter().find(|d| d.kind == DriverKind::Price) {
            Some(d) => {
                assert_eq!(p % 2, 0, "{t:?}");
                if (change - 1.0).abs() > 0.1 {
                    named += 1;
                    let toward = if change < 1.0 { Direction::Rising } else { Direction::Falling };
                    assert_eq!(d.toward, toward, "{change} {t:?}");
                    assert!(d.detail.as_deref().is_some_and(|x| x.starts_with(if change < 1.0 {
                        '-'
                    } else {
                        '+'
                    })));
                }
            }
            None => assert!((change - 1.0).abs() < 1e-9, "{change} {t:?}"),
        }
    }
    assert!(named >= 5, "{named}");
}

#[test]
fn a_holiday_named_lies_in_one_of_the_windows() {
    let calendar = Calendar::new(&[Region::Cn]);
    // Sales double in the days of Double 11 and the weeks before Spring Festival.
    let start = stamp("2021-01-01");
    let busy: Vec<bool> = (0..1_400)
        .map(|d| {
            let day = date(start + d * DAY);
            window_effect(&calendar, day, day)
                .iter()
                .any(|e| ["double_11", "spring_festival"].contains(&e.occurrence.key.as_ref()))
        })
        .collect();
    let series = (0..25)
        .map(|p| {
            (
                format!("p{p:02}"),
                start,
                (0..1_400).map(|d| sales(if busy[d] { 20.0 } else { 8.0 }, p, d)).collect(),
            )
        })
        .collect();
    let panel = Panel::from_series(Freq::DAILY, series).expect("a panel");
    let mut named = 0;
    for cutoff in ["2024-01-20", "2024-07-25", "2024-10-20"] {
        let at = stamp(cutoff);
        let report = predict(&Run::new(1), &panel, &settings(21), Some(at), &calendar).expect("trends");
        let keys = |from: i64, to: i64| -> Vec<String> {
            window_effect(&calendar, date(at + from * DAY), date(at + to * DAY))
                .iter()
                .map(|e| e.occurrence.key.to_string())
                .collect()
        };
        let seen = [keys(-20, 0), keys(1, 21)].concat();
        for t in &report.trends {
            check(t);
            if let Some(d) = t.drivers.iter().find(|d| d.kind == DriverKind::Holiday) {
                let detail = d.detail.as_deref().expect("which holiday");
                assert!(seen.iter().any(|k| k == detail), "{cutoff}: {detail} is not among {seen:?}");
                named += 1;
            }
        }
    }
    assert!(named > 10, "{named}");
}

/// Days since the first sale.
fn days_on_sale(panel: &Panel, i: usize) -> usize {
    let y = panel.series(i).y;
    y.len() - y.iter().position(|v| *v > 0.0).unwrap_or(y.len())
}

#[test]
fn young_products_are_answered_from_their_category_and_marked() {
    // Launched all along; those of category `up` climb after launch, those of `down` fade.
    let (n, days) = (160, 400);
    let launch = |p: usize| if p < 40 { 0 } else { 40 + (p - 40) * 3 };
    let category = |p: usize| if p.is_multiple_of(2) { "up" } else { "down" };
    let series: Vec<_> = (0..n)
        .filter(|p| launch(*p) < days - 4)
        .map(|p| {
            let y = (launch(p)..days)
                .map(|d| {
                    let age = (d - launch(p)) as f64;
                    let level = if p < 40 {
                        8.0
                    } else if p % 2 == 0 {
                        3.0 + age * 0.12
                    } else {
                        12.0 * (-age / 30.0).exp() + 0.5
                    };
                    sales(level.min(12.0), p, d)
                })
                .collect();
            (format!("p{p:03}"), stamp("2023-01-01") + launch(p) as i64 * DAY, y)
        })
        .collect();
    let ids: Vec<usize> = (0..n).filter(|p| launch(*p) < days - 4).collect();
    let panel = Panel::from_series(Freq::DAILY, series)
        .and_then(|p| {
            p.with_static(StaticColumn {
                name: "category".into(),
                values: StaticValues::Text(ids.iter().map(|p| Some(category(*p).to_owned())).collect()),
            })
        })
        .expect("a panel");
    let report = predict(&Run::new(1), &panel, &settings(28), None, &Calendar::default()).expect("trends");
    assert_eq!(report.trends.len(), panel.len());
    for (i, t) in report.trends.iter().enumerate() {
        check(t);
        // The first sale may come some days after the launch.
        let age = days_on_sale(&panel, i);
        assert_eq!(t.basis == Basis::Attributes, age < 28, "{age} {t:?}");
        assert_eq!(t.stage == Stage::New, age < 84, "{age} {t:?}");
    }
}

#[test]
fn few_series_lean_on_many() {
    let products = seasonal(60, 2 * 364 + 100);
    let n = products.len();
    // Two groups of products, each half a year apart from the other, as sums.
    let sums = (0..2)
        .map(|g| {
            let days = products.series(0).y.len();
            let y = (0..days)
                .map(|d| (g * n / 2..(g + 1) * n / 2).map(|p| products.series(p).y[d]).sum())
                .collect();
            (format!("group {g}"), stamp("2022-01-01"), y)
        })
        .collect();
    let target = Panel::from_series(Freq::DAILY, sums).expect("a panel");
    let report =
        predict_with(&Run::new(1), &products, Some(&target), &settings(28), None, &Calendar::default())
            .expect("trends");
    assert_eq!(report.trends.len(), 2);
    report.trends.iter().for_each(check);
    assert!(report.trends.iter().all(|t| t.basis == Basis::History && t.units_last > 100.0));
    let weekly = Panel::from_series(Freq::WEEKLY, vec![("a".into(), 0, vec![1.0; 100])]).expect("a panel");
    assert!(
        predict_with(&Run::new(1), &products, Some(&weekly), &settings(28), None, &Calendar::default())
            .is_err()
    );
}

#[test]
fn other_frequencies_have_trends() {
    for (freq, n, h, period) in [
        ("W", 200, 4, 52.0),
        ("MS", 96, 3, 12.0),
        ("ME", 96, 3, 12.0),
        ("h", 1_200, 24, 24.0),
        ("1", 300, 10, 50.0),
    ] {
        let freq: Freq = freq.parse().expect("a frequency");
        let start = if freq.is_dated() { stamp("2016-01-31") } else { 1 };
        let series = (0..12)
            .map(|p| {
                let y = (0..n)
                    .map(|k| {
                        let angle = std::f64::consts::TAU * (k as f64 / period + p as f64 / 12.0);
                        sales(20.0 + 12.0 * angle.sin(), p, k)
                    })
                    .collect();
                (format!("p{p:02}"), start, y)
            })
            .collect();
        let panel = Panel::from_series(freq, series).expect("a panel");
        let report =
            predict(&Run::new(1), &panel, &settings(h), None, &Calendar::new(&[Region::Gb])).expect("trends");
        report.trends.iter().for_each(check);
        assert_eq!(report.trends[0].cutoff, freq.add(start, n as i64 - 1), "{freq}");
        let q = report.quality.expect("a check on the past");
        assert!(q.scores.n > 0 && q.to < report.trends[0].cutoff, "{freq}");
    }
}

#[test]
fn odd_series_get_an_answer_and_too_little_past_an_error() {
    let mut series = vec![
        ("zero".to_owned(), 0, vec![0.0; 400]),
        ("unknown".to_owned(), 0, vec![f64::NAN; 400]),
        ("constant".to_owned(), 0, vec![3.0; 400]),
        ("returns".to_owned(), 0, (0..400).map(|k| if k % 3 == 0 { -2.0 } else { 4.0 }).collect()),
        ("huge".to_owned(), 0, vec![1e12; 400]),
        ("ended".to_owned(), 0, vec![6.0; 150]),
        ("today".to_owned(), 399 * DAY, vec![2.0]),
        ("empty".to_owned(), 0, vec![]),
        ("holes".to_owned(), 0, (0..400).map(|k| if k % 5 < 3 { f64::NAN } else { 2.0 }).collect()),
    ];
    for p in 0..15 {
        series.push((format!("p{p}"), 0, (0..400).map(|d| sales(5.0, p, d)).collect()));
    }
    let n = series.len();
    let panel = Panel::from_series(Freq::DAILY, series).expect("a panel");
    let report = predict(&Run::new(1), &panel, &settings(28), None, &Calendar::default()).expect("trends");
    assert_eq!(report.trends.len(), n);
    report.trends.iter().for_each(check);
    let of = |id: &str| report.trends.iter().find(|t| t.unique_id == id).expect("a trend");
    assert_eq!(of("ended").stage, Stage::Dormant);
    assert_eq!(of("today").basis, Basis::Attributes);
    // What hardly sells is not among the top, whatever its probability.
    assert!(
        report.top(Direction::Rising, n).iter().all(|t| t.unique_id != "zero" && t.unique_id != "unknown")
    );

    let fails = |p: &Panel, cutoff| {
        predict(&Run::new(1), p, &settings(28), cutoff, &Calendar::default()).expect_err("too little past")
    };
    assert!(matches!(fails(&panel, Some(-DAY)), Error::NotEnoughData { .. }));
    assert!(matches!(fails(&Panel::empty(Freq::DAILY), None), Error::NotEnoughData { .. }));
    assert!(matches!(fails(&panel, Some(80 * DAY)), Error::NotEnoughData { .. }));
    let e = evaluate(&Run::new(1), &panel, &settings(28), &[395 * DAY], &Calendar::default());
    assert!(e.expect_err("no future").to_string().contains("cannot be replayed"));
    let run = Run::new(1);
    run.cancel();
    assert!(matches!(
        predict(&run, &panel, &settings(28), None, &Calendar::default()),
        Err(Error::Interrupted)
    ));
}

#[test]
fn change_points_are_those_of_ruptures() {
    #[derive(serde::Deserialize)]
    struct Known {
        x: Vec<f64>,
        min_size: usize,
        penalty: f64,
        starts: Vec<usize>,
    }
    let known: Vec<Known> =
        serde_json::from_str(include_str!("../reference/pelt.json")).expect("the reference");
    assert_eq!(known.len(), 15);
    for k in known {
        assert_eq!(
            pelt(&k.x, k.min_size, k.penalty),
            k.starts,
            "min_size {} penalty {}",
            k.min_size,
            k.penalty
        );
    }
}
