//! Whether intervals hold what they promise, on data whose truth is known.

use tradewind_core::{Ahead, Forecaster, Freq, Panel, Params, Run};
use tradewind_forecast::conformal::{Conformal, ConformalSettings, FittedConformal};
use tradewind_forecast::{Options, entry, forecast};

/// Numbers that look random, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Uniform in (0, 1), by SplitMix64.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Poisson, by counting.
    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        let (mut p, mut n) = (self.uniform(), 0.0);
        let stop = (-mean).exp();
        while p > stop {
            p *= self.uniform();
            n += 1.0;
        }
        n
    }
}

fn panel_of(n_series: usize, n: usize, seed: u64, series: impl Fn(&mut Dice, usize) -> Vec<f64>) -> Panel {
    let mut dice = Dice(seed);
    let all = (0..n_series).map(|i| (format!("s{i:04}"), 0, series(&mut dice, n))).collect();
    Panel::from_series(Freq::DAILY, all).expect("distinct")
}

/// Coverage at 80 and 95 % over the last `h` steps, held back.
fn coverage(panel: &Panel, model: &str, h: usize) -> [f64; 2] {
    let (head, tail) = panel.split_last(h);
    let f = forecast(&Run::new(0), &head, model, &Params::new(), &Options::new(h, &[0.8, 0.95]))
        .expect("forecasts");
    [0.8, 0.95].map(|c| {
        let (mut inside, mut n) = (0, 0);
        for i in 0..f.len() {
            for k in 0..h {
                let (lower, upper) = f.interval(i, k, c).expect("asked for");
                inside += usize::from((lower..=upper).contains(&tail.series(i).y[k]));
                n += 1;
            }
        }
        f64::from(inside as u32) / f64::from(n)
    })
}

fn check(what: &str, got: [f64; 2], allowed: [f64; 2]) {
    println!("{what}: 80 % holds {:.3}, 95 % holds {:.3}", got[0], got[1]);
    assert!((got[0] - 0.80).abs() <= allowed[0], "{what}: 80 % holds {:.3}", got[0]);
    assert!((got[1] - 0.95).abs() <= allowed[1], "{what}: 95 % holds {:.3}", got[1]);
}

fn independent(dice: &mut Dice, n: usize) -> Vec<f64> {
    let (level, sd) = (50.0 + 200.0 * dice.uniform(), 1.0 + 9.0 * dice.uniform());
    (0..n).map(|_| level + sd * dice.normal()).collect()
}

fn weekly(dice: &mut Dice, n: usize) -> Vec<f64> {
    let sd = 2.0 + 8.0 * dice.uniform();
    let week: Vec<f64> = (0..7).map(|_| 60.0 + 25.0 * dice.normal()).collect();
    (0..n).map(|t| week[t % 7] + sd * dice.normal()).collect()
}

fn walk(dice: &mut Dice, n: usize) -> Vec<f64> {
    let (sd, mut level) = (1.0 + 3.0 * dice.uniform(), 500.0);
    (0..n)
        .map(|_| {
            level += sd * dice.normal();
            level
        })
        .collect()
}

fn seldom(dice: &mut Dice, n: usize) -> Vec<f64> {
    let (often, size) = (0.15 + 0.3 * dice.uniform(), 3.0 + 6.0 * dice.uniform());
    (0..n).map(|_| if dice.uniform() < often { 1.0 + dice.poisson(size) } else { 0.0 }).collect()
}

#[test]
fn coverage_holds_for_independent_values() {
    check("independent", coverage(&panel_of(300, 120, 1, independent), "mean", 14), [0.02, 0.02]);
}

#[test]
fn coverage_holds_for_seasonal_values() {
    check("weekly", coverage(&panel_of(300, 120, 2, weekly), "seasonal_naive", 14), [0.02, 0.02]);
}

#[test]
fn coverage_holds_for_random_walks() {
    // Errors grow with the step; those of one window hang together, hence the wider bound.
    check("walk", coverage(&panel_of(400, 120, 3, walk), "naive", 14), [0.03, 0.02]);
}

#[test]
fn coverage_holds_for_slow_sellers() {
    // Counts are lumps: an interval cannot hold 95 % exactly where a tenth of the values are the same number.
    check("seldom", coverage(&panel_of(400, 180, 4, seldom), "mean", 14), [0.03, 0.02]);
}

#[test]
fn coverage_holds_for_series_alone() {
    let mut sum = [0.0; 2];
    for seed in 0..300 {
        let got = coverage(&panel_of(1, 90, 1000 + seed, independent), "mean", 7);
        sum = [sum[0] + got[0] / 300.0, sum[1] + got[1] / 300.0];
    }
    check("one by one", sum, [0.03, 0.03]);
}

#[test]
fn calm_and_wild_series_get_their_own_widths() {
    let mut dice = Dice(9);
    let calm: Vec<f64> = (0..100).map(|_| 100.0 + dice.normal()).collect();
    let wild: Vec<f64> = (0..100).map(|_| 100.0 + 20.0 * dice.normal()).collect();
    let panel = Panel::from_series(Freq::DAILY, vec![("calm".into(), 0, calm), ("wild".into(), 0, wild)])
        .expect("two");
    let f =
        forecast(&Run::new(0), &panel, "mean", &Params::new(), &Options::new(7, &[0.8])).expect("forecasts");
    let width = |i| f.interval(i, 3, 0.8).map(|(l, u)| u - l).expect("asked for");
    assert!((10.0..40.0).contains(&(width(1) / width(0))), "{} against {}", width(1), width(0));
}

#[test]
fn counts_are_not_forecast_below_zero() {
    let panel = panel_of(5, 90, 5, seldom);
    let options = Options::new(14, &[0.95]);
    let f = forecast(&Run::new(0), &panel, "mean", &Params::new(), &options).expect("forecasts");
    let free = Options { allow_negative: true, ..options };
    let g = forecast(&Run::new(0), &panel, "mean", &Params::new(), &free).expect("forecasts");
    let lowest = |f: &tradewind_core::Forecast| {
        (0..14).filter_map(|k| f.quantile(0, k, 0.025)).fold(f64::INFINITY, f64::min)
    };
    assert_eq!(lowest(&f), 0.0);
    assert!(lowest(&g) < 0.0);
}

#[test]
fn short_series_draw_from_the_others() {
    let mut series: Vec<(String, i64, Vec<f64>)> =
        panel_of(40, 100, 6, independent).iter().map(|s| (s.id.to_owned(), 0, s.y.to_vec())).collect();
    series.push(("short".into(), 0, vec![30.0, 36.0, 33.0, 31.0, 35.0]));
    let panel = Panel::from_series(Freq::DAILY, series).expect("distinct");
    let f =
        forecast(&Run::new(0), &panel, "mean", &Params::new(), &Options::new(7, &[0.8])).expect("forecasts");
    let i = f.ids().iter().position(|id| id == "short").expect("forecast");
    let (lower, upper) = f.interval(i, 0, 0.8).expect("asked for");
    assert!((2.0..20.0).contains(&(upper - lower)), "{lower} to {upper}");
}

#[test]
fn too_little_history_leaves_the_models_own_interval() {
    let panel = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, vec![5.0, 7.0, 6.0])]).expect("one");
    let f =
        forecast(&Run::new(0), &panel, "naive", &Params::new(), &Options::new(3, &[0.8])).expect("forecasts");
    let own = (entry("naive").expect("there").build)(&Params::new()).expect("builds");
    let own =
        own.fit(&Run::new(0), &panel).and_then(|m| m.predict(&Run::new(0), &Ahead::new(3, &[0.1, 0.9])));
    assert_eq!(f, own.expect("forecasts"));
}

#[test]
fn saved_intervals_are_the_same_and_go_on() {
    let panel = panel_of(8, 90, 8, weekly);
    let model = (entry("naive").expect("there").build)(&Params::new()).expect("builds");
    let conformal = Conformal::new(model, ConformalSettings { horizon: 7, ..ConformalSettings::default() });
    let run = Run::new(0);
    let mut fitted = conformal.fit(&run, &panel).expect("fits");
    let text = fitted.save().expect("saves").to_string();
    let back = FittedConformal::load(serde_json::from_str(&text).expect("JSON")).expect("loads");
    use tradewind_core::FittedForecaster;
    let levels = [0.05, 0.5, 0.95];
    let (a, b) =
        (fitted.predict(&run, &Ahead::new(20, &levels)), back.predict(&run, &Ahead::new(20, &levels)));
    let (a, b) = (a.expect("forecasts"), b.expect("forecasts"));
    for i in 0..a.len() {
        for k in 0..20 {
            let (x, y) = (a.quantile(i, k, 0.95).expect("asked"), b.quantile(i, k, 0.95).expect("asked"));
            assert!((x - y).abs() <= 1e-9 * x.abs(), "{x} became {y}");
        }
    }
    let width = |k| a.interval(0, k, 0.9).map(|(l, u)| u - l).expect("asked");
    assert!(width(19) > width(6), "steps beyond the ones checked widen");
    let newer =
        Panel::from_series(Freq::DAILY, vec![("s0000".into(), 90 * 86_400, vec![-5.0])]).expect("one");
    fitted.update(&run, &newer).expect("updates");
    let after = fitted.predict(&run, &Ahead::new(2, &levels)).expect("forecasts");
    assert_eq!(after.mean(0), [-5.0, -5.0], "a series that went below zero may stay there");
    assert!(FittedConformal::load(serde_json::json!({"model": "naive"})).is_err());
}
