//! Bandits and estimates from logs, on environments whose truth is known.

use rand::{Rng, RngExt};
use tradewind_core::Run;
use tradewind_recommend::bandit::{Bandit, BanditParams, Policy};
use tradewind_recommend::evaluate::{Estimate, Logged, off_policy};

const ARMS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Rewards linear in a context of three numbers, other for each arm, with noise.
fn mean_reward(x: &[f64], arm: usize) -> f64 {
    let weights = [[0.8, 0.0, 0.1], [0.0, 0.8, 0.1], [-0.8, 0.2, 0.2], [0.3, -0.7, 0.0], [0.1, 0.1, 0.4]];
    x.iter().zip(weights[arm]).map(|(x, w)| x * w).sum()
}

fn context(rng: &mut impl Rng) -> Vec<f64> {
    (0..3).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn best(x: &[f64]) -> f64 {
    (0..ARMS.len()).map(|a| mean_reward(x, a)).fold(f64::NEG_INFINITY, f64::max)
}

/// Regret of the first and of the second half of `n` rounds.
fn regret(params: BanditParams, n: usize) -> (f64, f64) {
    let mut rng = Run::new(5).rng(1);
    let mut bandit = Bandit::new(params, 3).unwrap();
    let mut halves = [0.0, 0.0];
    for t in 0..n {
        let x = context(&mut rng);
        let shown = bandit.choose(&mut rng, &x, &ARMS).unwrap();
        halves[2 * t / n] += best(&x) - mean_reward(&x, shown);
        let noise = rng.random_range(-0.5..0.5);
        bandit.update(&x, ARMS[shown], mean_reward(&x, shown) + noise).unwrap();
    }
    (halves[0], halves[1])
}

fn of(policy: Policy) -> BanditParams {
    BanditParams { policy, ..BanditParams::default() }
}

#[test]
fn regret_shrinks_as_bandits_learn() {
    let n = 4000;
    let chance = regret(BanditParams { epsilon: 1.0, ..of(Policy::EpsilonGreedy) }, n);
    assert!((chance.0 / chance.1 - 1.0).abs() < 0.1, "chance learns nothing: {chance:?}");
    for policy in [Policy::LinUcb, Policy::Thompson] {
        let (first, second) = regret(of(policy), n);
        assert!(second < 0.03 * chance.1, "{policy:?}: {first} then {second}, by chance {chance:?}");
        assert!(second < 0.5 * first, "{policy:?}: {first} then {second}");
    }
    // Epsilon greedy goes on paying for a tenth by chance, and for little else.
    let (_, second) = regret(of(Policy::EpsilonGreedy), n);
    assert!((0.07..0.14).contains(&(second / chance.1)), "{second} of {}", chance.1);
}

#[test]
fn an_arm_that_looked_bad_at_first_is_tried_again() {
    // The better arm disappoints three times; without exploring it would never be shown again.
    let run = |params: BanditParams| {
        let mut rng = Run::new(9).rng(2);
        let mut bandit = Bandit::new(params, 0).unwrap();
        (0..3).for_each(|_| bandit.update(&[], "b", -0.2).unwrap());
        (0..3).for_each(|_| bandit.update(&[], "a", 0.2).unwrap());
        let mut shown = [0; 2];
        for _ in 0..2000 {
            let arm = bandit.choose(&mut rng, &[], &ARMS[..2]).unwrap();
            shown[arm] += 1;
            bandit.update(&[], ARMS[arm], if arm == 1 { 0.6 } else { 0.2 }).unwrap();
        }
        shown
    };
    let greedy = run(BanditParams { epsilon: 0.0, ..of(Policy::EpsilonGreedy) });
    assert_eq!(greedy, [2000, 0], "greed stays with what it knows");
    for policy in [Policy::EpsilonGreedy, Policy::LinUcb, Policy::Thompson] {
        let shown = run(BanditParams { width: 2.0, ..of(policy) });
        assert!(shown[1] > 1500, "{policy:?}: {shown:?}");
    }
}

#[test]
fn the_model_of_an_arm_is_ridge_regression() {
    // Against the normal equations of 40 rewards, solved by elimination.
    let params = BanditParams { regularization: 0.7, ..BanditParams::default() };
    let mut bandit = Bandit::new(params, 2).unwrap();
    let mut rng = Run::new(4).rng(1);
    let (mut a, mut b) = ([[0.7, 0.0, 0.0], [0.0, 0.7, 0.0], [0.0, 0.0, 0.7]], [0.0; 3]);
    for _ in 0..40 {
        let x = [rng.random_range(-2.0..2.0), rng.random_range(-2.0..2.0)];
        let r = 0.5 * x[0] - x[1] + 0.3 + rng.random_range(-0.1..0.1);
        bandit.update(&x, "a", r).unwrap();
        let x = [x[0], x[1], 1.0];
        for i in 0..3 {
            (0..3).for_each(|j| a[i][j] += x[i] * x[j]);
            b[i] += r * x[i];
        }
    }
    for i in 0..3 {
        for k in i + 1..3 {
            let f = a[k][i] / a[i][i];
            (0..3).for_each(|j| a[k][j] -= f * a[i][j]);
            b[k] -= f * b[i];
        }
    }
    let mut theta = [0.0; 3];
    for i in (0..3).rev() {
        theta[i] = (b[i] - (i + 1..3).map(|j| a[i][j] * theta[j]).sum::<f64>()) / a[i][i];
    }
    let got = bandit.expected(&[1.5, -0.5], "a").unwrap();
    assert!((got - (1.5 * theta[0] - 0.5 * theta[1] + theta[2])).abs() < 1e-10);
    assert_eq!((bandit.n_shown("a"), bandit.n_shown("b")), (40, 0));
}

#[test]
fn propensities_are_the_chances_of_being_chosen() {
    for policy in [Policy::EpsilonGreedy, Policy::LinUcb, Policy::Thompson] {
        let mut rng = Run::new(3).rng(7);
        let mut bandit = Bandit::new(of(policy), 3).unwrap();
        for _ in 0..60 {
            let x = context(&mut rng);
            let arm = rng.random_range(0..ARMS.len());
            let noise = rng.random_range(-0.5..0.5);
            bandit.update(&x, ARMS[arm], mean_reward(&x, arm) + noise).unwrap();
        }
        let x = [0.1, 0.2, 0.1];
        let told = bandit.propensities(&mut rng, &x, &ARMS, 20_000).unwrap();
        let mut counts = [0.0; 5];
        (0..20_000).for_each(|_| counts[bandit.choose(&mut rng, &x, &ARMS).unwrap()] += 1.0 / 20_000.0);
        assert!((told.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        for (t, c) in told.iter().zip(counts) {
            assert!((t - c).abs() < 0.015, "{policy:?}: {told:?}, chosen {counts:?}");
        }
    }
}

#[test]
fn bandits_are_saved_bounded_and_say_what_is_wrong() {
    let mut bandit = Bandit::new(BanditParams { arms_max: 2, ..BanditParams::default() }, 1).unwrap();
    bandit.update(&[1.0], "a", 1.0).unwrap();
    bandit.update(&[1.0], "b", 0.5).unwrap();
    assert!(bandit.update(&[1.0], "c", 0.5).unwrap_err().to_string().contains("arms_max"));
    bandit.forget("b");
    bandit.update(&[1.0], "c", 0.5).unwrap();
    let state = serde_json::to_value(&bandit).unwrap();
    assert_eq!(serde_json::from_value::<Bandit>(state.clone()).unwrap(), bandit);
    let mut spoilt = state;
    spoilt["n_features"] = 2.into();
    assert!(serde_json::from_value::<Bandit>(spoilt).is_err());
    let mut rng = Run::new(1).rng(1);
    assert!(bandit.choose(&mut rng, &[1.0], &[]).is_err());
    assert!(bandit.choose(&mut rng, &[1.0, 2.0], &["a"]).is_err());
    assert!(bandit.update(&[f64::NAN], "a", 1.0).is_err());
    assert!(bandit.update(&[1.0], "a", f64::INFINITY).is_err());
    assert!(Bandit::new(BanditParams { epsilon: 1.5, ..BanditParams::default() }, 1).is_err());
}

/// Chances of three actions in a context of one number.
fn chances(x: f64, sharp: f64) -> [f64; 3] {
    let e = [1.0, (sharp * x).exp(), (-sharp * x).exp()];
    let sum: f64 = e.iter().sum();
    e.map(|e| e / sum)
}

/// The chance of a click.
fn truth(x: f64, action: usize) -> f64 {
    [0.3, 0.3 + 0.25 * x, 0.3 - 0.25 * x][action]
}

/// A log of a policy that prefers the wrong actions, and the estimates of one that prefers the right ones.
/// `guess` is the model's of the reward, `spoilt` a factor on the propensities.
fn log(rng: &mut impl Rng, n: usize, guess: impl Fn(f64, usize) -> f64, spoilt: f64) -> Vec<Logged> {
    (0..n)
        .map(|_| {
            let x = rng.random_range(-1.0..1.0);
            let (p, e) = (chances(x, -1.0), chances(x, 1.5));
            let u = rng.random_range(0.0..1.0);
            let action = if u < p[0] {
                0
            } else if u < p[0] + p[1] {
                1
            } else {
                2
            };
            let clicked = rng.random_range(0.0..1.0) < truth(x, action);
            Logged {
                reward: if clicked { 1.0 } else { 0.0 },
                propensity: p[action] * spoilt,
                target: e[action],
                predicted: guess(x, action),
                predicted_target: (0..3).map(|a| e[a] * guess(x, a)).sum(),
            }
        })
        .collect()
}

/// The right answer, by fine steps over the contexts.
fn value() -> f64 {
    let n = 100_000;
    let at = |k: usize| {
        let x = -1.0 + (2 * k + 1) as f64 / n as f64;
        let e = chances(x, 1.5);
        (0..3).map(|a| e[a] * truth(x, a)).sum::<f64>()
    };
    (0..n).map(at).sum::<f64>() / n as f64
}

#[test]
fn estimates_from_logs_hit_the_truth_and_their_intervals_hold_it() {
    let (value, logs) = (value(), 400);
    let mut rng = Run::new(11).rng(1);
    let rough = |x: f64, a: usize| 0.9 * truth(x, a) + 0.05;
    let told: Vec<_> =
        (0..logs).map(|_| off_policy(&log(&mut rng, 800, rough, 1.0), f64::INFINITY).unwrap()).collect();
    let spread = |of: &dyn Fn(usize) -> Estimate| {
        let means: Vec<f64> = (0..logs).map(|k| of(k).mean).collect();
        let all = Estimate::of(&means);
        let held = (0..logs).filter(|k| (of(*k).mean - value).abs() <= of(*k).half_width).count();
        (all.mean, all.half_width / 1.96, held as f64 / logs as f64)
    };
    let ips = spread(&|k| told[k].ips);
    let snips = spread(&|k| told[k].snips);
    let dr = spread(&|k| told[k].dr);
    for (name, (mean, error, held)) in [("ips", ips), ("snips", snips), ("dr", dr)] {
        assert!((mean - value).abs() < 4.0 * error, "{name}: {mean} ± {error}, the truth is {value}");
        assert!((0.91..0.985).contains(&held), "{name}: {held} of the intervals hold the truth");
    }
    assert!(snips.1 < 0.9 * ips.1 && dr.1 < 0.9 * ips.1, "{ips:?} {snips:?} {dr:?}");
    let weights = told.iter().map(|t| t.weight_mean).sum::<f64>() / logs as f64;
    assert!((weights - 1.0).abs() < 0.02, "{weights}");
}

#[test]
fn two_chances_to_be_right() {
    let value = value();
    let mut rng = Run::new(12).rng(1);
    // The propensities are wrong by half; a right model saves DR, and SNIPS does not see a common factor.
    let told = off_policy(&log(&mut rng, 200_000, truth, 1.5 / 2.0), f64::INFINITY).unwrap();
    assert!((told.ips.mean - value).abs() > 0.05, "{told:?}");
    assert!((told.weight_mean - 4.0 / 3.0).abs() < 0.02, "and the weights tell: {told:?}");
    assert!((told.dr.mean - value).abs() < 0.006 && (told.snips.mean - value).abs() < 0.006, "{told:?}");
    // The model is useless; right propensities save DR, and the model alone is wrong.
    let told = off_policy(&log(&mut rng, 200_000, |_, a| a as f64 * 0.3, 1.0), f64::INFINITY).unwrap();
    assert!((told.direct.mean - value).abs() > 0.02, "{told:?}");
    assert!((told.dr.mean - value).abs() < 0.012 && (told.ips.mean - value).abs() < 0.006, "{told:?}");
}

#[test]
fn cut_weights_are_narrower_and_lower() {
    let mut rng = Run::new(13).rng(1);
    let log = log(&mut rng, 20_000, |_, _| 0.0, 1.0);
    let (whole, cut) = (off_policy(&log, f64::INFINITY).unwrap(), off_policy(&log, 1.5).unwrap());
    assert_eq!(whole.cut, 0.0);
    assert!(cut.cut > 0.05 && cut.weight_mean < 0.9, "{cut:?}");
    assert!(cut.ips.half_width < 0.8 * whole.ips.half_width && cut.ips.mean < whole.ips.mean);
    assert!(cut.effective_n > whole.effective_n && whole.effective_n < 20_000.0);
    // What is added to all rewards is added to SNIPS.
    let more: Vec<Logged> = log.iter().map(|d| Logged { reward: d.reward + 2.0, ..*d }).collect();
    let moved = off_policy(&more, f64::INFINITY).unwrap();
    assert!((moved.snips.mean - whole.snips.mean - 2.0).abs() < 1e-9);
    assert!((moved.snips.half_width - whole.snips.half_width).abs() < 1e-9);
}

#[test]
fn bad_logs_are_refused_and_name_the_decision() {
    let fine = Logged { reward: 1.0, propensity: 0.5, target: 0.5, ..Logged::default() };
    assert!(off_policy(&[], 1.0).is_err());
    assert!(off_policy(&[fine], 0.0).is_err());
    for bad in [
        Logged { propensity: 0.0, ..fine },
        Logged { propensity: 1.1, ..fine },
        Logged { propensity: f64::NAN, ..fine },
        Logged { target: -0.1, ..fine },
        Logged { target: f64::NAN, ..fine },
        Logged { reward: f64::INFINITY, ..fine },
        Logged { predicted: f64::NAN, ..fine },
    ] {
        let told = off_policy(&[fine, bad], 1.0).unwrap_err().to_string();
        assert!(told.contains("decision 2"), "{told}");
    }
    let never = off_policy(&[Logged { target: 0.0, ..fine }], f64::INFINITY).unwrap();
    assert_eq!(never.snips.half_width, f64::INFINITY);
}
