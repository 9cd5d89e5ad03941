//! The statistics of experiments: as scipy and statsmodels have them, and right over thousands of experiments in which
//! nothing happened.

use rand::RngExt;
use serde_json::Value;
use tradewind_core::distribution::{kolmogorov_p, normal_quantile};
use tradewind_core::{ErrorKind, Fault, Run};
use tradewind_ops::experiment::{
    Advice, Bandit, Definition, Estimate, Method, Metric, MetricKind, Observed, Plan, Planned, Purpose,
    Sequential, Sums, Unit, adjusted, contrast, ratio_check, read,
};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/experiment.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn near(got: f64, want: &Value, tolerance: f64, what: &str) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() <= tolerance * (1e-9 + want.abs()), "{what}: {got} against {want}");
}

fn sums(units: impl IntoIterator<Item = Unit>) -> Sums {
    let mut sums = Sums::default();
    units.into_iter().for_each(|unit| assert!(sums.push(unit)));
    sums
}

#[test]
fn welch_as_scipy() {
    for case in reference()["welch"].as_array().unwrap() {
        let arm = |name: &str| Estimate::raw(&sums(floats(&case[name]).into_iter().map(Unit::value)));
        let c = contrast(MetricKind::Mean, arm("control"), arm("arm"), 0.05);
        near(c.statistic, &case["t"], 1e-10, "t");
        near(c.p, &case["p"], 1e-8, "p");
        near(c.interval.low, &case["low"], 1e-8, "low");
        near(c.interval.high, &case["high"], 1e-8, "high");
    }
}

#[test]
fn proportions_as_statsmodels() {
    for case in reference()["proportions"].as_array().unwrap() {
        let count = |name: &str| case[name].as_u64().unwrap();
        let arm = |yes: u64, n: u64| Estimate::raw(&sums((0..n).map(|i| Unit::value(f64::from(i < yes)))));
        let (control, arm) = (arm(count("x"), count("n")), arm(count("y"), count("m")));
        let c = contrast(MetricKind::Conversion, control, arm, 0.05);
        near(c.statistic, &case["z"], 1e-9, "z");
        near(c.p, &case["p"], 1e-8, "p");
        near(c.interval.low, &case["low"], 1e-8, "low");
        near(c.interval.high, &case["high"], 1e-8, "high");
    }
}

#[test]
fn ratios_as_statsmodels_clustered() {
    for case in reference()["ratio"].as_array().unwrap() {
        let arm = |value: &str, weight: &str| {
            let units = floats(&case[value]).into_iter().zip(floats(&case[weight]));
            Estimate::raw(&sums(units.map(|(v, w)| Unit::ratio(v, w))))
        };
        let c = contrast(MetricKind::Ratio, arm("clicks", "shown"), arm("clicks2", "shown2"), 0.05);
        near(c.difference, &case["difference"], 1e-10, "difference");
        near((c.control.variance + c.arm.variance).sqrt(), &case["error"], 1e-10, "error");
    }
}

#[test]
fn cuped_as_the_analysis_of_covariance_of_statsmodels() {
    let case = &reference()["cuped"];
    let arm = |y: &str, x: &str| {
        let units = floats(&case[y]).into_iter().zip(floats(&case[x]));
        sums(units.map(|(y, x)| Unit::value(y).with_before(x)))
    };
    let (control, arm) = (arm("y1", "x1"), arm("y2", "x2"));
    let by_past = adjusted(&[&control, &arm]).unwrap();
    near(by_past[1].value - by_past[0].value, &case["ancova"], 1e-10, "difference");
    let raw = Estimate::raw(&control).variance + Estimate::raw(&arm).variance;
    assert!(by_past[0].variance + by_past[1].variance < 0.4 * raw);
    // Nothing known from before: nothing to adjust by.
    assert!(adjusted(&[&sums([Unit::value(1.0), Unit::value(2.0)])]).is_none());
}

#[test]
fn sample_ratios_and_power_as_scipy_and_statsmodels() {
    let file = reference();
    for case in file["srm"].as_array().unwrap() {
        let counts: Vec<u64> =
            case["counts"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
        let check = ratio_check(&counts, &floats(&case["weights"]));
        near(check.statistic, &case["statistic"], 1e-10, "chi-square");
        near(check.p, &case["p"], 1e-9, "p");
    }
    assert!(ratio_check(&[10, 10, 1], &[1.0, 1.0, 0.0]).mismatch);
    for case in file["power_mean"].as_array().unwrap() {
        let planned = Planned::Mean { base: 1.0, deviation: 1.0 };
        let plan = Plan { planned, alpha: 0.05, ratio: case["ratio"].as_f64().unwrap() };
        let power = plan.power(case["effect"].as_f64().unwrap(), case["n"].as_f64().unwrap()).unwrap();
        near(power, &case["power"], 1e-9, "power of means");
    }
    for case in file["power_share"].as_array().unwrap() {
        let base = case["base"].as_f64().unwrap();
        let plan = Plan { planned: Planned::Share { base }, alpha: 0.05, ratio: 1.0 };
        let (lift, n) = (case["diff"].as_f64().unwrap() / base, case["n"].as_f64().unwrap());
        near(plan.power(lift, n).unwrap(), &case["power"], 1e-6, "power of shares");
        if lift > 0.0 {
            let units = plan.units(lift, 0.8).unwrap();
            assert!(plan.power(lift, units as f64).unwrap() >= 0.8);
            assert!(plan.power(lift, units as f64 - 1.0).unwrap() < 0.8);
            assert!((plan.smallest_lift(units as f64, 0.8).unwrap() / lift - 1.0).abs() < 1e-3);
        }
    }
}

/// A user of a shop: seldom buys, and then as much as a heavy-tailed law says; the past speaks for the future.
struct Shopper {
    buys: f64,
    amount: f64,
    clicks: f64,
    shown: f64,
    before: f64,
}

fn shopper(rng: &mut impl RngExt) -> Shopper {
    let mut uniform = || rng.random::<f64>().max(1e-12);
    let taste = normal_quantile(uniform());
    let buys = f64::from(uniform() < 0.25);
    let amount = buys * (3.0 + 0.8 * taste + 0.5 * normal_quantile(uniform())).exp();
    let before = (3.0 + 0.8 * taste + 0.3 * normal_quantile(uniform())).exp();
    let shown = (1.0 - uniform().ln() * 5.0).floor();
    let rate = 0.1 + 0.1 * uniform();
    let clicks = (0..shown as u32).filter(|_| uniform() < rate).count() as f64;
    Shopper { buys, amount, clicks, shown, before }
}

/// Kolmogorov's p-value of p-values against the uniform law.
fn uniform_p(mut p: Vec<f64>) -> f64 {
    p.sort_by(f64::total_cmp);
    let n = p.len() as f64;
    let d =
        p.iter().enumerate().map(|(i, p)| (p - i as f64 / n).max((i + 1) as f64 / n - p)).fold(0.0, f64::max);
    kolmogorov_p(d * n.sqrt())
}

#[test]
fn p_values_are_uniform_when_nothing_happens() {
    const RUNS: u64 = 2_000;
    const USERS: u64 = 1_000;
    let names = ["conversion", "mean", "ratio", "adjusted mean", "adjusted ratio"];
    let mut p: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for run in 0..RUNS {
        let mut rng = Run::new(17).rng(run);
        let mut arms = [[Sums::default(); 3]; 2];
        for arm in &mut arms {
            for _ in 0..USERS {
                let s = shopper(&mut rng);
                arm[0].push(Unit::value(s.buys));
                // The amount is capped, as a metric may be.
                arm[1].push(Unit::value(s.amount.min(150.0)).with_before(s.before.min(150.0)));
                arm[2].push(Unit::ratio(s.clicks, s.shown).with_before(s.before.min(150.0)));
            }
        }
        let raw =
            |i: usize, kind| contrast(kind, Estimate::raw(&arms[0][i]), Estimate::raw(&arms[1][i]), 0.05).p;
        let by_past = |i: usize, kind| {
            let e = adjusted(&[&arms[0][i], &arms[1][i]]).unwrap();
            contrast(kind, e[0], e[1], 0.05).p
        };
        p[0].push(raw(0, MetricKind::Conversion));
        p[1].push(raw(1, MetricKind::Mean));
        p[2].push(raw(2, MetricKind::Ratio));
        p[3].push(by_past(1, MetricKind::Mean));
        p[4].push(by_past(2, MetricKind::Ratio));
    }
    for (name, p) in names.iter().zip(p) {
        let below = p.iter().filter(|p| **p <= 0.05).count();
        // 100 on average, standard deviation 9.7.
        assert!((68..=133).contains(&below), "{name}: {below} of {RUNS} below 0.05");
        let uniform = uniform_p(p);
        assert!(uniform > 0.001, "{name}: {uniform}");
    }
}

#[test]
fn peeking_at_every_step_keeps_the_false_alarms_of_sequential_tests() {
    const RUNS: u64 = 2_000;
    let plan = Sequential::new(0.05, 4_000, 100).unwrap();
    let (mut sequential, mut fixed) = (0, 0);
    for run in 0..RUNS {
        let mut rng = Run::new(23).rng(run);
        let mut arms = [Sums::default(); 2];
        let (mut p, mut alarmed) = (1.0, false);
        for step in 0..4_000_u32 {
            let s = shopper(&mut rng);
            arms[(step % 2) as usize].push(Unit::value(s.amount.min(150.0)));
            if step % 2 == 0 || step < 200 {
                continue;
            }
            let (a, b) = (Estimate::raw(&arms[0]), Estimate::raw(&arms[1]));
            let variance = a.variance + b.variance;
            if let Some(look) = plan.look(b.value - a.value, variance, a.n + b.n, a.n.min(b.n), p) {
                p = look.p;
                // The interval says the same as the p-value.
                assert_eq!(look.p_now <= 0.05, look.interval.low > 0.0 || look.interval.high < 0.0);
            }
            alarmed |= ((b.value - a.value) / variance.sqrt()).abs() > 1.96;
        }
        sequential += u32::from(p <= 0.05);
        fixed += u32::from(alarmed);
    }
    // Five percent of 2,000; a fixed test that is peeked at alarms far more often.
    assert!(sequential <= 100, "{sequential}");
    assert!(fixed > 500, "{fixed}");
}

#[test]
fn sequential_tests_find_what_is_there() {
    let plan = Sequential::new(0.05, 4_000, 100).unwrap();
    let found = (0..200)
        .filter(|run| {
            let mut rng = Run::new(29).rng(*run);
            let mut arms = [Sums::default(); 2];
            (0..4_000_u32).any(|step| {
                let arm = (step % 2) as usize;
                // 0.16 standard deviations: a fixed test at the end would have a power of 99.9 %.
                let value = normal_quantile(rng.random::<f64>().max(1e-12)) + 0.16 * arm as f64;
                arms[arm].push(Unit::value(value));
                let (a, b) = (Estimate::raw(&arms[0]), Estimate::raw(&arms[1]));
                let look =
                    plan.look(b.value - a.value, a.variance + b.variance, a.n + b.n, a.n.min(b.n), 1.0);
                look.is_some_and(|l| l.p <= 0.05)
            })
        })
        .count();
    assert!(found >= 190, "{found}");
}

#[test]
fn cuped_cuts_the_variance_by_the_square_of_the_correlation() {
    let mut rng = Run::new(3).rng(0);
    let mut normal = move || normal_quantile(rng.random::<f64>().max(1e-12));
    for correlation in [0.0_f64, 0.5, 0.8] {
        let mut arm = || {
            sums((0..20_000).map(|_| {
                let x = normal();
                let y = correlation * x + (1.0 - correlation * correlation).sqrt() * normal();
                Unit::value(10.0 + y).with_before(50.0 + 3.0 * x)
            }))
        };
        let (a, b) = (arm(), arm());
        let e = adjusted(&[&a, &b]).unwrap();
        let raw = Estimate::raw(&a).variance + Estimate::raw(&b).variance;
        let cut = 1.0 - (e[0].variance + e[1].variance) / raw;
        assert!((cut - correlation * correlation).abs() < 0.02, "{correlation}: {cut}");
    }
}

fn users(definition: &Definition, n: u64, rates: &[f64]) -> Observed {
    let mut seen = Observed::default();
    for (arm, rate) in definition.arms.iter().zip(rates) {
        for i in 0..n {
            let buys = ((i + 1) as f64 * rate).floor() - (i as f64 * rate).floor();
            seen.push(
                definition,
                &arm.name,
                &[("buys", Unit::value(buys)), ("cancels", Unit::value(1.0 - buys))],
            )
            .unwrap();
        }
    }
    seen
}

fn three_arms(method: Method) -> Definition {
    let mut plan = Definition::ab("form", "control", "short", "buys", MetricKind::Conversion);
    plan.method = method;
    plan.arms[0].weight = 4_000;
    plan.arms[1].weight = 3_000;
    plan.arms.push(tradewind_ops::experiment::Arm { name: "long".into(), ..plan.arms[1].clone() });
    let guard = Metric {
        higher_is_better: false,
        margin: 0.02,
        ..Metric::new("cancels", MetricKind::Conversion, Purpose::Guard)
    };
    plan.metrics.push(guard);
    plan
}

#[test]
fn readings_say_what_to_do_in_two_languages() {
    let run = Run::new(1);
    let sized = |plan: &Definition, n: u64, rates: &[f64]| {
        let mut seen = Observed::default();
        for (i, arm) in plan.arms.iter().enumerate() {
            let all = users(plan, n * u64::from(arm.weight) / 10_000, rates);
            seen.arms.insert(arm.name.clone(), all.arms[&arm.name].clone());
            let _ = i;
        }
        seen
    };
    let sequential = three_arms(Method::Sequential { planned_units: 20_000 });
    let better = read(&run, &sequential, &sized(&sequential, 20_000, &[0.10, 0.13, 0.105]), None).unwrap();
    assert_eq!(better.advice, Advice::Take { arm: "short".into() });
    assert!(better.words.zh[0].contains("建议采用") && better.words.en.len() == better.words.zh.len());
    let wait =
        read(&run, &sequential, &sized(&sequential, 4_000, &[0.10, 0.10, 0.10]), Some(&better)).unwrap();
    // What was settled at an earlier look stays settled.
    assert_eq!(wait.advice, Advice::Take { arm: "short".into() });
    let wait = read(&run, &sequential, &sized(&sequential, 4_000, &[0.10, 0.10, 0.10]), None).unwrap();
    assert!(matches!(wait.advice, Advice::Wait { .. }));
    let none = read(&run, &sequential, &sized(&sequential, 20_000, &[0.10, 0.10, 0.10]), None).unwrap();
    assert_eq!(none.advice, Advice::NoDifference);
    let broken = read(&run, &sequential, &sized(&sequential, 20_000, &[0.10, 0.02, 0.10]), None).unwrap();
    assert_eq!(broken.advice, Advice::Stop { arm: "short".into(), metric: "cancels".into() });

    let fixed = three_arms(Method::Fixed { units_per_arm: 5_000 });
    let early = read(&run, &fixed, &sized(&fixed, 8_000, &[0.10, 0.13, 0.10]), None).unwrap();
    assert!(matches!(early.advice, Advice::Wait { .. }) && early.metrics.iter().all(|m| m.better.is_none()));
    let late = read(&run, &fixed, &sized(&fixed, 20_000, &[0.10, 0.13, 0.10]), None).unwrap();
    assert_eq!(late.advice, Advice::Take { arm: "short".into() });

    // Equal arms where 4:3:3 was asked: nothing is read.
    let wrong = read(&run, &sequential, &users(&sequential, 6_000, &[0.10, 0.13, 0.10]), None).unwrap();
    assert_eq!(wrong.advice, Advice::Mend);
    assert!(wrong.blocked && wrong.metrics.is_empty() && wrong.words.zh[0].contains("不可信"));

    let bandit = three_arms(Method::Bandit(Bandit::default()));
    let reading = read(&run, &bandit, &users(&bandit, 6_000, &[0.10, 0.14, 0.10]), None).unwrap();
    assert_eq!(reading.advice, Advice::Take { arm: "short".into() });
    assert!((reading.chances.iter().map(|c| c.chance.share).sum::<f64>() - 1.0).abs() < 1e-9);
    let json = serde_json::to_string(&reading).unwrap();
    let back: tradewind_ops::experiment::Reading = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    let fault = read(&run, &bandit, &users(&sequential, 10, &[0.1; 3]), None);
    assert!(fault.is_ok());
    let mut stray = users(&sequential, 10, &[0.1; 3]);
    stray.arms.insert("other".into(), stray.arms["control"].clone());
    assert_eq!(read(&run, &bandit, &stray, None).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_bandit_earns_more_than_equal_shares() {
    let rates = [0.05, 0.08, 0.05];
    let bandit = Bandit { draws: 2_000, ..Bandit::default() };
    let mut rng = Run::new(5).rng(1);
    let mut arms = [Sums::default(); 3];
    let mut bought = 0;
    let mut shares = vec![1.0 / 3.0; 3];
    for day in 0..40 {
        for _ in 0..300 {
            let mut u = rng.random::<f64>();
            let arm = shares
                .iter()
                .position(|s| {
                    u -= s;
                    u < 0.0
                })
                .unwrap_or(2);
            let buys = rng.random::<f64>() < rates[arm];
            bought += u32::from(buys);
            arms[arm].push(Unit::value(f64::from(buys)));
        }
        let chances = bandit.chances(&Run::new(day), MetricKind::Conversion, true, &arms).unwrap();
        shares = chances.iter().map(|c| c.share).collect();
    }
    assert!(shares[1] > 0.8, "{shares:?}");
    // Equal shares would have sold 720 on average.
    assert!(bought > 800, "{bought}");
}
