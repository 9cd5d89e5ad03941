//! Forecasts that add up: against dense textbook formulas, as a law on many hierarchies, and the whole way.

use serde_json::Value;
use std::path::Path;
use tradewind_core::{Forecast, Freq, Panel, Params, Run, StaticColumn, StaticValues};
use tradewind_forecast::hierarchy::{
    Covariance, Evidence, Gaps, Hierarchy, HierarchyOptions, Method, Reconciliation, Residuals, aggregate,
    forecast_hierarchy, shrinkage_intensity, temporal,
};
use tradewind_forecast::{Options, forecast};

/// SplitMix64, for hierarchies and numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal: the sum of twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().expect("a list").iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
}

fn table(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().expect("a list").iter().map(numbers).collect()
}

fn base_of(h: &Hierarchy, rows: &[Vec<f64>], levels: &[f64]) -> Forecast {
    let mut base = Forecast::new("base", Freq::DAILY, rows[0].len(), levels);
    for (id, mean) in h.ids().iter().zip(rows) {
        let quantiles: Vec<f64> =
            mean.iter().flat_map(|m| levels.iter().map(move |l| m + (l - 0.5) * 4.0)).collect();
        base.push(id, 0, mean, &quantiles).expect("fits");
    }
    base
}

fn bottom_names(n: usize) -> Vec<String> {
    (0..n).map(|b| format!("b{b:06}")).collect()
}

#[test]
fn reconciled_as_by_dense_numpy() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/hierarchy.json");
    let doc: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("readable")).expect("JSON");
    let run = Run::new(0);
    let mut checked = 0;
    for case in doc["hierarchies"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        let levels = case["levels"].as_array().expect("levels").iter().map(|level| {
            let nodes = level[1].as_array().expect("nodes").iter().enumerate();
            let nodes = nodes
                .map(|(i, m)| (format!("{}{i}", level[0]), numbers(m).iter().map(|b| *b as u32).collect()));
            (level[0].as_str().expect("a name").to_owned(), nodes.collect())
        });
        let names = bottom_names(case["bottom"].as_u64().expect("a count") as usize);
        let h = Hierarchy::from_members(names.clone(), levels.collect()).expect("a hierarchy");
        let base = base_of(&h, &table(&case["base"]), &[0.1, 0.9]);
        let residuals = Residuals::new(&h, table(&case["residuals"])).expect("residuals");
        let series = names.into_iter().zip(table(&case["history"])).map(|(id, y)| (id, 0, y)).collect();
        let history = Panel::from_series(Freq::DAILY, series).expect("a panel");
        let evidence = Evidence { history: Some(&history), residuals: Some(&residuals) };
        let intensity = case["intensity"].as_f64().expect("a number");
        assert!((shrinkage_intensity(&run, &residuals) - intensity).abs() < 1e-12, "{name}: {intensity}");
        for (kind, nonnegative) in [("bottoms", false), ("nonnegative", true)] {
            for (method, expected) in case[kind].as_object().expect("methods") {
                let how = Reconciliation::new(method.parse().expect("a method")).nonnegative(nonnegative);
                let f = how.apply(&run, &h, &base, &evidence).expect("reconciles");
                let at = h.n_aggregates();
                for (b, row) in table(expected).iter().enumerate() {
                    for (k, e) in row.iter().enumerate() {
                        let got = f.mean(at + b)[k];
                        assert!(
                            (got - e).abs() < 1e-8 * e.abs().max(1.0),
                            "{name} {kind} {method} {b} {k}: {got} {e}"
                        );
                        checked += 1;
                    }
                }
                if method == "mint_shrinkage" && h.is_tree() && !nonnegative {
                    for (i, s) in numbers(&case["spread"]).iter().enumerate() {
                        let width =
                            f.quantile(i, 0, 0.9).expect("held") - f.quantile(i, 0, 0.1).expect("held");
                        assert!((width / 3.2 - s).abs() < 1e-9, "{name} spread {i}: {} {s}", width / 3.2);
                    }
                }
            }
        }
    }
    assert!(checked > 500);
}

/// A hierarchy of 2 to 40 bottom series: nested groups, groups that cross, or both; sometimes without a total.
fn any_hierarchy(r: &mut Random) -> Hierarchy {
    let n = 2 + r.below(39);
    let mut levels = vec![];
    if r.below(10) > 0 {
        levels.push(("total".to_owned(), vec![("total".to_owned(), (0..n as u32).collect())]));
    }
    let mut group: Vec<usize> = vec![0; n];
    for l in 0..r.below(4) {
        let crosses = r.below(3) == 0;
        let parts = 1 + r.below(4);
        let own: Vec<usize> =
            (0..n).map(|b| r.below(parts) + if crosses { 0 } else { group[b] * 4 }).collect();
        let mut nodes: std::collections::BTreeMap<usize, Vec<u32>> = std::collections::BTreeMap::new();
        own.iter().enumerate().for_each(|(b, g)| nodes.entry(*g).or_default().push(b as u32));
        levels.push((format!("l{l}"), nodes.into_iter().map(|(g, m)| (format!("l{l}:{g}"), m)).collect()));
        if !crosses {
            group = own;
        }
    }
    Hierarchy::from_members(bottom_names(n), levels).expect("a hierarchy")
}

#[test]
fn two_thousand_hierarchies_keep_their_sums_and_stay_above_zero() {
    let run = Run::new(0).with_threads(1);
    let mut r = Random(7);
    let methods = [
        "bottom_up",
        "top_down_average_proportions",
        "top_down_proportions_of_averages",
        "top_down_forecast_proportions",
        "middle_out:l0",
        "mint_ols",
        "mint_structure",
        "mint_variance",
        "mint_shrinkage",
    ];
    let (mut done, mut optimal, mut crossed) = (0, 0, 0);
    for _ in 0..2_000 {
        let h = any_hierarchy(&mut r);
        crossed += usize::from(!h.is_tree());
        let n = h.len();
        let size = 10_f64.powi(r.below(9) as i32 - 3);
        let rows: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let m = h.members(i).len().max(1) as f64;
                (0..2).map(|_| size * (m * 0.7 + m.sqrt() * r.normal())).collect()
            })
            .collect();
        let t = 2 + r.below(30);
        let errs: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let zero = r.below(12) == 0;
                let m = h.members(i).len().max(1) as f64;
                (0..t)
                    .map(|_| {
                        if zero {
                            0.0
                        } else if r.below(15) == 0 {
                            f64::NAN
                        } else {
                            size * m.sqrt() * r.normal()
                        }
                    })
                    .collect()
            })
            .collect();
        let residuals = Residuals::new(&h, errs).expect("residuals");
        let series = h
            .bottom_ids()
            .iter()
            .map(|id| (id.clone(), 0, (0..12).map(|_| (r.normal() * size).max(0.0)).collect()));
        let history = Panel::from_series(Freq::DAILY, series.collect()).expect("a panel");
        let evidence = Evidence { history: Some(&history), residuals: Some(&residuals) };
        let base = base_of(&h, &rows, &[0.1, 0.5, 0.9]);
        for method in methods {
            let method: Method = method.parse().expect("a method");
            let nonnegative = r.below(4) > 0;
            let how = Reconciliation::new(method.clone()).nonnegative(nonnegative);
            let f = match how.apply(&run, &h, &base, &evidence) {
                Ok(f) => f,
                Err(e) => {
                    let shares = matches!(method, Method::TopDown(_) | Method::MiddleOut { .. });
                    assert!(shares, "{method}: {e}");
                    continue;
                }
            };
            done += 1;
            let at = h.n_aggregates();
            for k in 0..2 {
                let bottom: Vec<f64> = (at..n).map(|i| f.mean(i)[k]).collect();
                let scale = bottom.iter().map(|v| v.abs()).sum::<f64>().max(size * 1e-3);
                for i in 0..n {
                    let sum: f64 = if i < at {
                        h.members(i).iter().map(|b| bottom[*b as usize]).sum()
                    } else {
                        bottom[i - at]
                    };
                    assert!((f.mean(i)[k] - sum).abs() <= 1e-6 * scale, "{method}: {} {sum}", f.mean(i)[k]);
                    assert!(f.mean(i)[k].is_finite());
                    assert!(
                        !nonnegative || (f.mean(i)[k] >= 0.0 && f.quantile(i, k, 0.1).expect("held") >= 0.0)
                    );
                    let q = |l| f.quantile(i, k, l).expect("held");
                    assert!(q(0.1) <= q(0.5) && q(0.5) <= q(0.9));
                }
                // Karush, Kuhn and Tucker: no series pulls upwards, and those above zero do not pull at all.
                if let (Method::MinTrace(c @ (Covariance::Ols | Covariance::Structure)), true) =
                    (&method, nonnegative)
                {
                    let weight =
                        |i: usize| if *c == Covariance::Ols { 1.0 } else { h.members(i).len().max(1) as f64 };
                    let mut pull: Vec<f64> = (at..n).map(|i| rows[i][k] - f.mean(i)[k]).collect();
                    for i in 0..at {
                        let p = (rows[i][k] - f.mean(i)[k]) / weight(i);
                        h.members(i).iter().for_each(|b| pull[*b as usize] += p);
                    }
                    let scale = rows.iter().map(|v| v[k].abs()).fold(0.0, f64::max);
                    for (p, b) in pull.iter().zip(&bottom) {
                        assert!(
                            *p < 1e-7 * scale && (*b == 0.0 || p.abs() < 1e-7 * scale),
                            "{method}: {p} {b} {scale}"
                        );
                        optimal += 1;
                    }
                }
            }
        }
    }
    assert!(done > 14_000 && optimal > 100_000 && crossed > 300, "{done} {optimal} {crossed}");
}

/// Shops in regions, with products of brands crossing them.
fn shop_panel() -> Panel {
    let mut r = Random(3);
    let mut series = vec![];
    let (mut regions, mut shops, mut brands) = (vec![], vec![], vec![]);
    for shop in 0..4 {
        for product in 0..3 {
            let level = 2.0 + r.unit() * 10.0;
            let y = (0..70).map(|t| (level + f64::from(t % 7) + 2.0 * r.normal()).max(0.0)).collect();
            series.push((format!("{shop}-{product}"), 0, y));
            regions.push(Some(["north", "south"][shop / 2].to_owned()));
            shops.push(Some(format!("s{shop}")));
            brands.push((product < 2).then(|| format!("b{product}")));
        }
    }
    let column = |name: &str, v| StaticColumn { name: name.into(), values: StaticValues::Text(v) };
    let panel = Panel::from_series(Freq::DAILY, series).expect("a panel");
    let panel = panel.with_static(column("region", regions)).expect("fits");
    panel
        .with_static(column("shop", shops))
        .expect("fits")
        .with_static(column("brand", brands))
        .expect("fits")
}

#[test]
fn all_levels_of_a_shop_are_forecast_at_once() {
    let panel = shop_panel();
    let nested = Hierarchy::nested(&panel, &["region", "shop"]).expect("nested");
    assert_eq!(
        nested.levels().iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
        ["total", "region", "region/shop", "bottom"]
    );
    let crossed =
        Hierarchy::grouped(&panel, &[&["region"], &["brand"], &["region", "brand"]]).expect("crossed");
    assert!(nested.is_tree() && !crossed.is_tree());
    assert!(crossed.ids().iter().any(|id| id == "region=south/brand=(none)"));
    let run = Run::new(1);
    for (h, model, method) in [
        (&nested, "theta", "mint_shrinkage"),
        (&nested, "naive", "middle_out:region"),
        (&nested, "linear_regression", "mint_variance"),
        (&crossed, "ses", "mint_shrinkage"),
        (&crossed, "seasonal_naive", "top_down_average_proportions"),
    ] {
        let options = HierarchyOptions::new(method.parse().expect("a method"), 9, &[0.8]).nonnegative(true);
        let f = forecast_hierarchy(&run, model, &Params::new(), &panel, h, &options).expect("forecasts");
        assert_eq!(f.len(), h.len());
        let of = |id: &str| f.ids().iter().position(|i| i == id).expect("a node");
        for k in 0..9 {
            let bottom: Vec<f64> = h.bottom_ids().iter().map(|id| f.mean(of(id))[k]).collect();
            for (id, sum) in h.ids().iter().zip(h.sum(&bottom).expect("sums")) {
                assert!((f.mean(of(id))[k] - sum).abs() < 1e-9 * sum.max(1.0), "{model} {method} {id}");
                let (low, high) = f.interval(of(id), k, 0.8).expect("held");
                assert!(0.0 <= low && low < high && high.is_finite());
            }
        }
        let one =
            forecast_hierarchy(&run.clone().with_threads(1), model, &Params::new(), &panel, h, &options);
        assert_eq!(one.expect("forecasts"), f, "{model} {method}: threads change the result");
    }
}

#[test]
fn gaps_and_ends_add_nothing_or_are_told() {
    let n = f64::NAN;
    let h = Hierarchy::from_parents(&[("a", "all"), ("b", "all"), ("c", "all")]).expect("a tree");
    let series = vec![
        ("a".into(), 2, vec![1.0, n, 1.0, 1.0]),
        ("b".into(), 4, vec![n, 5.0, 5.0, n]),
        ("c".into(), 9, vec![]),
        ("unused".into(), -50, vec![9.0]),
    ];
    let panel = Panel::from_series(Freq::STEP, series).expect("a panel");
    let all = aggregate(&panel, &h, Gaps::AddNothing).expect("sums");
    assert_eq!(all.ids(), ["a", "all", "b", "c"]);
    let same = |id: &str, expected: &[f64]| {
        let y = all.series(all.position(id).expect("a node")).y;
        let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
        assert!(y.len() == expected.len() && y.iter().zip(expected).all(equal), "{id}: {y:?}");
    };
    same("all", &[1.0, n, 1.0, 6.0, 5.0, n]);
    same("a", &[1.0, n, 1.0, 1.0, n, n]);
    same("c", &[n; 6]);
    assert_eq!((all.series(1).start, all.series(2).start, all.series(3).start), (2, 4, 2));
    let told = aggregate(&panel, &h, Gaps::Unknown).expect("sums");
    assert_eq!(told.series(1).y[3], 6.0);
    let b = Panel::from_series(
        Freq::STEP,
        vec![
            ("a".into(), 1, vec![1.0, n, 2.0]),
            ("b".into(), 1, vec![4.0; 3]),
            ("c".into(), 1, vec![0.0; 3]),
        ],
    );
    let b = b.expect("a panel");
    assert!(aggregate(&b, &h, Gaps::Unknown).expect("sums").series(1).y[1].is_nan());
    assert_eq!(aggregate(&b, &h, Gaps::AddNothing).expect("sums").series(1).y[1], 4.0);
    let fault = aggregate(&Panel::empty(Freq::STEP), &h, Gaps::AddNothing).expect_err("no series");
    assert!(fault.to_string().contains("`a`"));
}

#[test]
fn temporal_levels_add_up() {
    let mut r = Random(5);
    let mut series = vec![];
    for i in 0..3 {
        let y =
            (0..171).map(|t| (4.0 * f64::from(i) + f64::from(t % 7) + 3.0 * r.normal()).max(0.0)).collect();
        series.push((format!("s{i}"), 86_400 * i64::from(i), y));
    }
    let panel = Panel::from_series(Freq::DAILY, series).expect("a panel");
    let (run, options) = (Run::new(0), Options::new(30, &[0.8]));
    for covariance in [Covariance::Ols, Covariance::Structure, Covariance::Variance] {
        let all = temporal::forecast_temporal(
            &run,
            "theta",
            &Params::new(),
            &panel,
            &[1, 7, 28],
            covariance,
            &options,
        );
        let all = all.expect("forecasts");
        assert_eq!(all.iter().map(Forecast::horizon).collect::<Vec<_>>(), [56, 8, 2]);
        for i in 0..3 {
            for (slow, every) in [(&all[1], 7), (&all[2], 28)] {
                for (k, days) in all[0].mean(i).chunks(every).enumerate() {
                    assert!(days.iter().all(|v| *v >= 0.0));
                    assert!(
                        (days.iter().sum::<f64>() - slow.mean(i)[k]).abs() < 1e-9 * slow.mean(i)[k].max(1.0)
                    );
                    assert_eq!(all[0].ds(i, k * every), slow.ds(i, k));
                    let (low, high) = slow.interval(i, k, 0.8).expect("held");
                    assert!(0.0 <= low && low <= high);
                }
            }
        }
    }
    let short = temporal::forecast_temporal(
        &run,
        "theta",
        &Params::new(),
        &panel,
        &[1, 100],
        Covariance::Ols,
        &options,
    );
    assert!(short.expect_err("too short").to_string().contains("s0"));
    for wrong in [&[1, 7, 30][..], &[7, 28], &[1], &[], &[1, 0], &[0, 1]] {
        assert!(temporal::hierarchy(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_temporal_hierarchy_is_the_dense_one() {
    // One step of four with parts of two, by hand: OLS of the base forecasts on the summing matrix.
    let y: Vec<f64> = (0..40).map(|t| 10.0 + f64::from(t * 7 % 5) + f64::from(t) * 0.1).collect();
    let panel = Panel::from_series(Freq::STEP, vec![("a".into(), 0, y)]).expect("a panel");
    let (run, options) = (Run::new(0), Options { allow_negative: true, ..Options::new(4, &[]) });
    let all = temporal::forecast_temporal(
        &run,
        "drift",
        &Params::new(),
        &panel,
        &[1, 2, 4],
        Covariance::Ols,
        &options,
    );
    let all = all.expect("forecasts");
    let base: Vec<Vec<f64>> = [1, 2, 4]
        .map(|every| {
            let sums = temporal::sum_every(&panel, every).expect("sums");
            let own = Options { allow_negative: true, ..Options::new(4 / every, &[]) };
            forecast(&run, &sums, "drift", &Params::new(), &own).expect("forecasts").mean(0).to_vec()
        })
        .to_vec();
    // The normal equations hold: at each part, the gaps of the three nodes above it and itself sum to zero.
    for k in 0..4 {
        let gap = |l: usize, i: usize| base[l][i] - all[l].mean(0)[i];
        assert!((gap(0, k) + gap(1, k / 2) + gap(2, 0)).abs() < 1e-9, "{k}");
    }
}

#[test]
fn a_hundred_thousand_nodes_add_up() {
    let (groups, each) = (9_000_u32, 10_u32);
    let n = (groups * each) as usize;
    let by = |size: u32, count: u32, name: &str| {
        let nodes =
            (0..count).map(|g| (format!("{name}{g}"), (g * size..(g + 1) * size).collect())).collect();
        (name.to_owned(), nodes)
    };
    let mut levels =
        vec![by(n as u32, 1, "total"), by(n as u32 / 1_000, 1_000, "region"), by(each, groups, "shop")];
    let mut r = Random(11);
    for crossed in [false, true] {
        if crossed {
            let brands =
                (0..50).map(|g| (format!("brand{g}"), (0..n as u32).filter(|b| b % 50 == g).collect()));
            levels.push(("brand".into(), brands.collect()));
        }
        let h = Hierarchy::from_members(bottom_names(n), levels.clone()).expect("a hierarchy");
        assert!(h.len() >= 100_000 && h.is_tree() != crossed);
        let rows: Vec<Vec<f64>> = (0..h.len())
            .map(|i| {
                let m = h.members(i).len().max(1) as f64;
                vec![m * 0.6 + m.sqrt() * r.normal()]
            })
            .collect();
        let base = base_of(&h, &rows, &[]);
        let start = std::time::Instant::now();
        let how = Reconciliation::new(Method::MinTrace(Covariance::Structure)).nonnegative(true);
        let f = how.apply(&Run::new(0), &h, &base, &Evidence::default()).expect("reconciles");
        println!("{} nodes, crossed: {crossed}: {:.2} s", h.len(), start.elapsed().as_secs_f64());
        let bottom: Vec<f64> = (h.n_aggregates()..h.len()).map(|i| f.mean(i)[0]).collect();
        assert!(bottom.iter().all(|v| *v >= 0.0) && bottom.contains(&0.0));
        let summed = h.sum(&bottom).expect("sums");
        assert!(summed.iter().enumerate().all(|(i, s)| (f.mean(i)[0] - s).abs() <= 1e-9 * s.max(1.0)));
    }
}

#[test]
fn wrong_questions_are_named() {
    let run = Run::new(0);
    let h = Hierarchy::from_parents(&[("a", "all"), ("b", "all")]).expect("a tree");
    let fault = |method: &str, base: &Forecast, evidence: &Evidence<'_>| {
        let how = Reconciliation::new(method.parse().expect("a method"));
        how.apply(&run, &h, base, evidence).expect_err("wrong").to_string()
    };
    let none = Evidence::default();
    let base = base_of(&h, &[vec![3.0], vec![1.0], vec![1.0]], &[]);
    assert!(fault("mint_shrinkage", &base, &none).contains("residuals"));
    assert!(fault("top_down_average_proportions", &base, &none).contains("history"));
    assert!(fault("middle_out:region", &base, &none).contains("depth 0, bottom"));
    let nan = base_of(&h, &[vec![3.0], vec![f64::NAN], vec![1.0]], &[]);
    assert!(fault("bottom_up", &nan, &none).contains("`a`"));
    let huge = base_of(&h, &[vec![3.0], vec![1e308], vec![1e308]], &[]);
    assert!(fault("bottom_up", &huge, &none).contains("too large"));
    let mut short = Forecast::new("m", Freq::DAILY, 1, &[]);
    short.push("a", 0, &[1.0], &[]).expect("fits");
    assert!(fault("bottom_up", &short, &none).contains("lacks the node `all`"));
    short.push("all", 86_400, &[1.0], &[]).expect("fits");
    assert!(fault("bottom_up", &short, &none).contains("begins at"));
    assert!("mint".parse::<Method>().expect_err("unknown").to_string().contains("mint_shrinkage"));
    let cancelled = Run::new(0);
    cancelled.cancel();
    assert!(
        Reconciliation::new(Method::MinTrace(Covariance::Ols)).apply(&cancelled, &h, &base, &none).is_err()
    );
    // All residuals zero, a single step, none at all of a node: a decent answer rather than a division by zero.
    for rows in [vec![vec![0.0; 5]; 3], vec![vec![1.0]; 3], vec![vec![], vec![1.0, -1.0, 2.0, 1.0], vec![]]] {
        let residuals = Residuals::new(&h, rows).expect("residuals");
        for method in ["mint_variance", "mint_shrinkage"] {
            let how = Reconciliation::new(method.parse().expect("a method")).nonnegative(true);
            let f = how
                .apply(&run, &h, &base, &Evidence { history: None, residuals: Some(&residuals) })
                .expect("works");
            assert!((f.mean(0)[0] - f.mean(1)[0] - f.mean(2)[0]).abs() < 1e-12);
        }
    }
}
