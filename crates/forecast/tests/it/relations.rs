//! Lead-lag tables: against statsmodels, under chance alone, and with leaders that were put in.

use rand::Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use serde_json::Value;
use std::path::Path;
use tradewind_core::{Covariate, Fault, Freq, Panel, Run, StaticColumn, StaticValues};
use tradewind_forecast::relations::{
    Outside, Reason, RelationSettings, Source, benjamini_hochberg, cross_correlations, granger, relations,
};

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn correlations_and_tests_equal_those_of_statsmodels() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/relations.json");
    let doc: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for case in doc["tests"].as_array().unwrap() {
        let (y, x) = (numbers(&case["y"]), numbers(&case["x"]));
        let ours = cross_correlations(&y, &x, 0..=10);
        for (a, b) in ours.iter().zip(numbers(&case["ccf"])) {
            assert!(
                (a.correlation - b).abs() < 1e-11,
                "{} lag {}: {} {b}",
                case["name"],
                a.lag,
                a.correlation
            );
        }
        for (k, theirs) in case["granger"].as_array().unwrap().iter().enumerate() {
            let (ours, theirs) = (granger(&y, &x, k + 1).unwrap(), numbers(theirs));
            assert!((ours.f / theirs[0] - 1.0).abs() < 1e-7, "{} {k}: {ours:?} {theirs:?}", case["name"]);
            assert!(
                (ours.p_value / theirs[1] - 1.0).abs() < 1e-7,
                "{} {k}: {ours:?} {theirs:?}",
                case["name"]
            );
            assert_eq!((ours.df_left as f64, ours.df_added as f64), (theirs[2], theirs[3]));
        }
    }
    let q = benjamini_hochberg(&numbers(&doc["p_values"]));
    for (a, b) in q.iter().zip(numbers(&doc["q_values"])) {
        assert!((a - b).abs() < 1e-12);
    }
}

/// A series with a week and a memory of its own; counts when `count`.
fn series(rng: &mut impl Rng, n: usize, count: bool, pull: impl Fn(usize) -> f64) -> Vec<f64> {
    let week = [0.8, 0.9, 1.0, 1.0, 1.2, 1.5, 0.7];
    let mut state = 0.0;
    (0..n)
        .map(|t| {
            let e: f64 = StandardNormal.sample(rng);
            state = 0.6 * state + 0.2 * e;
            let mean = 12.0 * week[t % 7] * (state + pull(t)).exp();
            if count { Poisson::new(mean).unwrap().sample(rng) } else { mean }
        })
        .collect()
}

/// Columns of the same length beside the series of a panel.
fn panel(n: usize, ys: Vec<Vec<f64>>, columns: Vec<(&str, Vec<Vec<f64>>)>) -> Panel {
    let k = ys.len();
    let list = ys.into_iter().enumerate().map(|(i, y)| (format!("p{i:02}"), 0, y)).collect();
    let mut panel = Panel::from_series(Freq::DAILY, list).unwrap();
    for (name, values) in columns {
        let column = Covariate {
            name: name.into(),
            known_ahead: false,
            offsets: (0..=k).map(|i| i * n).collect(),
            values: values.concat(),
        };
        panel = panel.with_covariate(column).unwrap();
    }
    panel
}

#[test]
fn without_relations_hardly_any_is_told() {
    let (n, mut any, mut tests) = (300, 0, 0);
    let rounds = 120;
    for round in 0..rounds {
        let mut rng = Run::new(round).rng(7);
        let ys: Vec<Vec<f64>> = (0..4).map(|i| series(&mut rng, n, i % 2 == 0, |_| 0.0)).collect();
        let mut columns = vec![];
        for name in ["views", "carts", "rival"] {
            columns.push((name, (0..4).map(|i| series(&mut rng, n, i % 2 == 1, |_| 0.0)).collect()));
        }
        let settings = RelationSettings { level: 0.1, ..RelationSettings::default() };
        let found = relations(&Run::new(1), &panel(n, ys, columns), &[], &settings).unwrap();
        // Three columns and three peers for each of four series.
        assert_eq!(found.relations.len(), 24);
        tests += found.n_tests;
        any += usize::from(found.significant().count() > 0);
    }
    println!("{any} of {rounds} tables without a relation told one, among {tests} tests, at a level of 10 %");
    // With nothing to find every discovery is false: the share of tables with one is the false discovery rate.
    // 120 tables at 10 %: 12 expected, 20 are 2.4 standard deviations more.
    assert!(any <= 20, "{any}");
}

#[test]
fn leaders_are_found_with_their_lags_and_few_others() {
    let n = 400;
    let (mut right, mut wanted, mut wrong, mut told) = (0, 0, 0, 0);
    for round in 0..12 {
        let mut rng = Run::new(round).rng(11);
        let (mut ys, mut views, mut carts, mut rivals) = (vec![], vec![], vec![], vec![]);
        for i in 0..6 {
            let v = series(&mut rng, n, false, |_| 0.0);
            let lag = 2 + i;
            // The first four follow their views two to five days later; the others follow nothing.
            let pull = |t: usize| if i < 4 && t >= lag { 0.8 * (v[t - lag] / 12.0).ln() } else { 0.0 };
            ys.push(series(&mut rng, n, true, pull));
            views.push(v);
            carts.push(series(&mut rng, n, true, |_| 0.0));
            rivals.push(series(&mut rng, n, false, |_| 0.0));
        }
        let p = panel(n, ys, vec![("views", views), ("carts", carts), ("rival", rivals)]);
        let settings = RelationSettings { peers: 3, ..RelationSettings::default() };
        let found = relations(&Run::new(1), &p, &[], &settings).unwrap();
        wanted += 4;
        for r in found.significant() {
            told += 1;
            let i: usize = r.series[1..].parse().unwrap();
            if r.outside == "views" && i < 4 {
                right += usize::from(r.lag == 2 + i && r.correlation > 0.0 && r.improvement > 0.0);
            } else {
                wrong += 1;
            }
        }
    }
    println!("{right} of {wanted} leaders found at their lag and of use; {wrong} of {told} told are false");
    assert!(right * 10 >= wanted * 9, "{right} of {wanted}");
    assert!(wrong as f64 <= 0.1 * f64::from(told), "{wrong} of {told}");
}

#[test]
fn market_series_peers_and_groups_are_looked_at() {
    let n = 260;
    let mut rng = Run::new(3).rng(1);
    let leader = series(&mut rng, n, false, |_| 0.0);
    // A cheaper rival takes sales away three days later: the sign is told.
    let follower =
        series(&mut rng, n, false, |t| if t >= 3 { -0.6 * (leader[t - 3] / 12.0).ln() } else { 0.0 });
    let stranger = series(&mut rng, n, false, |_| 0.0);
    let index = leader.clone();
    let kind = ["tea", "tea", "coffee"].map(|k| Some(k.to_owned())).to_vec();
    let p = panel(n, vec![leader, follower, stranger], vec![])
        .with_static(StaticColumn { name: "category".into(), values: StaticValues::Text(kind) })
        .unwrap();
    // The index begins ten days before the panel.
    let mut early = vec![1.0; 10];
    early.extend(&index);
    let market = Outside { name: "index".into(), start: -10 * 86_400, values: early };
    let settings = RelationSettings { peer_group: Some("category".into()), ..RelationSettings::default() };
    let found = relations(&Run::new(1), &p, &[market], &settings).unwrap();
    let of = |series: &str, source: Source| {
        found.relations.iter().find(|r| r.series == series && r.source == source)
    };
    let peer = of("p01", Source::Series).unwrap();
    assert_eq!((peer.outside.as_str(), peer.lag), ("p00", 3));
    assert!(peer.correlation < -0.3 && peer.q_value < 0.01, "{peer:?}");
    let market = of("p01", Source::Market).unwrap();
    assert_eq!(market.lag, 3);
    assert!(of("p02", Source::Series).is_none(), "another category");
    // The index is the first series itself.
    assert!(
        found.left_out.iter().any(|l| l.reason == Reason::Copy && l.n == 1 && !l.led),
        "{:?}",
        found.left_out
    );
}

#[test]
fn what_says_nothing_is_counted_with_its_reason() {
    let n = 200;
    let mut rng = Run::new(4).rng(1);
    let good = series(&mut rng, n, true, |_| 0.0);
    let mut late = vec![f64::NAN; n];
    late[170..].copy_from_slice(&good[..30]);
    let ys = vec![good.clone(), vec![5.0; n], vec![f64::NAN; n], good.clone()];
    let columns = vec![
        ("flat", vec![vec![1.0; n]; 4]),
        ("late", vec![late.clone(), late.clone(), late.clone(), late]),
        ("copy", vec![good.clone(), good.clone(), good.clone(), good]),
    ];
    let settings = RelationSettings { peers: 0, ..RelationSettings::default() };
    let found = relations(&Run::new(1), &panel(n, ys, columns), &[], &settings).unwrap();
    assert!(found.relations.is_empty() && found.n_tests == 0);
    let count =
        |reason, led| found.left_out.iter().find(|l| l.reason == reason && l.led == led).map_or(0, |l| l.n);
    assert_eq!((count(Reason::Constant, true), count(Reason::TooShort, true)), (1, 1));
    assert_eq!(
        (count(Reason::Constant, false), count(Reason::TooShort, false), count(Reason::Copy, false)),
        (2, 2, 2)
    );
    let none = relations(&Run::new(1), &Panel::empty(Freq::DAILY), &[], &settings).unwrap();
    assert!(none.relations.is_empty());
    let bad = RelationSettings { level: 1.0, windows: 0, ..RelationSettings::default() };
    let told = bad.check().unwrap_err();
    assert!(told.to_string().contains("level") && told.to_string().contains("windows"), "{told}");
    assert_eq!(told.kind(), tradewind_core::ErrorKind::InvalidParams);
}

#[test]
fn threads_change_nothing_and_the_windows_are_not_looked_at() {
    let n = 300;
    let mut rng = Run::new(5).rng(1);
    let v = series(&mut rng, n, false, |_| 0.0);
    let y = series(&mut rng, n, true, |t| if t >= 4 { 0.5 * (v[t - 4] / 12.0).ln() } else { 0.0 });
    let p = panel(n, vec![y], vec![("views", vec![v])]);
    let settings = RelationSettings::default();
    let one = relations(&Run::new(1).with_threads(1), &p, &[], &settings).unwrap();
    assert_eq!(one, relations(&Run::new(9).with_threads(4), &p, &[], &settings).unwrap());
    // Values of the held-out windows may be anything: lag and q-value stay, only the gain is another one.
    let torn = p.map_y(|s| {
        s.y.iter().enumerate().map(|(t, v)| if t >= n - 60 { 12.0 + (t % 5) as f64 } else { *v }).collect()
    });
    let torn = relations(&Run::new(1), &torn, &[], &settings).unwrap();
    let (a, b) = (&one.relations[0], &torn.relations[0]);
    assert_eq!((a.lag, a.q_value, a.correlation), (b.lag, b.q_value, b.correlation));
    assert!(a.improvement > 0.1 && b.improvement < 0.05, "{} {}", a.improvement, b.improvement);
}
