//! Means and standard deviations of the steps ahead.

use super::form::{ErrorForm, Form, SeasonForm};
use super::kernel::{self, Now, Weights, for_form};
use crate::local::Steps;
use crate::normal;

/// What a forecast starts from, in the unit of the scaled series.
pub(super) struct Last<'a> {
    pub(super) form: Form,
    pub(super) weights: Weights,
    pub(super) now: Now,
    /// By season position; the next step has `season[next]`.
    pub(super) season: &'a [f64],
    pub(super) next: usize,
    /// Standard deviation of the errors, relative ones for the multiplicative error.
    pub(super) sigma: f64,
}

/// Means and standard deviations.
///
/// Without a factor, means and variances are exact: the covariances of level, slope and season are carried from step to
/// step, which gives the formulas of Hyndman et al. (2008), table 6.1, and those of their section 6.3 for multiplicative
/// errors. Where the season multiplies, the trend is carried in this way and the season's own variance multiplied to it
/// (section 6.4: close for errors of some tens of per cent). A trend that multiplies has no formula, and is simulated.
pub(super) fn steps(last: &Last<'_>, horizon: usize) -> Steps {
    if last.form.trend.is_multiplicative() {
        let form = last.form;
        return for_form!(form, simulated::<..>(last, horizon));
    }
    let Weights { alpha, beta, gamma, phi } = last.weights;
    let trend = last.form.trend.is_some();
    let relative = last.form.error == ErrorForm::Multiplicative;
    let multiplied = last.form.season == SeasonForm::Multiplicative;
    let added = last.form.season == SeasonForm::Additive;
    let m = last.season.len().max(1);
    let square = last.sigma * last.sigma;
    // Additive errors of a multiplied season reach the level by the size of a typical season.
    let typical = if multiplied && !relative {
        (last.season.iter().map(|s| s * s).sum::<f64>() / m as f64).max(1e-18)
    } else {
        1.0
    };
    let (mut level, mut slope) = (last.now.level, if trend { last.now.slope } else { 0.0 });
    let phi = if trend { phi } else { 0.0 };
    let (mut v_ll, mut v_lb, mut v_bb) = (0.0, 0.0, 0.0);
    let zeros = || vec![0.0; if added { m } else { 0 }];
    let (mut c_ls, mut c_bs, mut v_ss) = (zeros(), zeros(), zeros());
    Steps::of(horizon, |h| {
        let at = (last.next + h - 1) % m;
        let kept = phi * slope;
        let q = level + kept;
        let v_q = v_ll + 2.0 * phi * v_lb + phi * phi * v_bb;
        let v_qk = phi * v_lb + phi * phi * v_bb;
        let v_kk = phi * phi * v_bb;
        let s = last.season.get(at).copied().unwrap_or(0.0);
        let (mean, v_y, v_e) = if multiplied {
            let turns = ((h - 1) / m) as f64;
            if relative {
                let v_e = square * (q * q + v_q);
                let grown = (1.0 + gamma * gamma * square).powf(turns);
                (q * s, s * s * ((q * q + v_q) * grown * (1.0 + square) - q * q), v_e)
            } else {
                (q * s, s * s * v_q + square * (1.0 + turns * gamma * gamma), square / typical)
            }
        } else {
            let own = if added { 2.0 * (c_ls[at] + phi * c_bs[at]) + v_ss[at] } else { 0.0 };
            let mean = if added { q + s } else { q };
            let v = v_q + own;
            let v_e = if relative { square * (mean * mean + v) } else { square };
            (mean, v + v_e, v_e)
        };
        if added {
            for j in 0..m {
                c_ls[j] += phi * c_bs[j];
                c_bs[j] *= phi;
            }
            c_ls[at] += alpha * gamma * v_e;
            c_bs[at] += beta * gamma * v_e;
            v_ss[at] += gamma * gamma * v_e;
        }
        v_ll = v_q + alpha * alpha * v_e;
        v_lb = v_qk + alpha * beta * v_e;
        v_bb = v_kk + beta * beta * v_e;
        (level, slope) = (q, kept);
        (mean, v_y.max(0.0).sqrt())
    })
}

/// Paths of a simulation, half of them mirrored.
const PATHS: usize = 2000;
/// Fewest paths, and most steps over all paths, for very long horizons.
const PATHS_MIN: usize = 64;
const PATH_STEPS_MAX: usize = 4_000_000;

/// Means by the recursion without errors (the usual point forecast), standard deviations about it from simulated paths
/// with normal errors from a fixed sequence: the same question has the same answer.
fn simulated<const T: u8, const S: u8>(last: &Last<'_>, horizon: usize) -> Steps {
    let m = last.season.len().max(1);
    let relative = last.form.error == ErrorForm::Multiplicative;
    let n_pairs = (PATH_STEPS_MAX / horizon.max(1)).clamp(PATHS_MIN, PATHS) / 2;
    let mut mean = Vec::with_capacity(horizon);
    let mut season = last.season.to_vec();
    let mut path = |told: &mut dyn FnMut(usize, f64), error: &mut dyn FnMut(usize) -> f64| {
        let mut now = last.now;
        season.copy_from_slice(last.season);
        for h in 0..horizon {
            let at = (last.next + h) % m;
            if S != kernel::NONE {
                now.s = season[at];
            }
            let e = error(h);
            let (ahead, e, next) =
                kernel::step::<T, S>(&last.weights, now, |ahead| if relative { ahead * e } else { e });
            now = next;
            if S != kernel::NONE {
                season[at] = next.s;
            }
            told(h, ahead + e);
        }
    };
    path(&mut |_, v| mean.push(v), &mut |_| 0.0);
    let mut squares = vec![0.0; horizon];
    let mut errors = vec![0.0; horizon];
    let mut state = 0x5eed_u64;
    let mut done = 0.0;
    for _ in 0..n_pairs {
        errors.iter_mut().for_each(|e| *e = last.sigma * normal::quantile(uniform(&mut state)));
        for sign in [1.0, -1.0] {
            path(&mut |h, v| squares[h] += (v - mean[h]) * (v - mean[h]), &mut |h| {
                // An error of the whole is the most that a quantity above zero can fall.
                let e = sign * errors[h];
                if relative { e.max(-0.99) } else { e }
            });
            done += 1.0;
        }
    }
    let sd = squares.iter().map(|s| (s / done).sqrt()).collect();
    Steps { mean, sd }
}

/// A number above 0 and below 1 (SplitMix64: Steele, Lea & Flood 2014).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ets::form::TrendForm;

    /// The formulas give the deviations of simulated paths, those of a thousand pairs within a tenth (four standard errors).
    #[test]
    fn deviations_are_those_of_simulated_paths() {
        for (error, season, tolerance) in [
            (ErrorForm::Additive, SeasonForm::None, 0.1),
            (ErrorForm::Additive, SeasonForm::Additive, 0.1),
            (ErrorForm::Multiplicative, SeasonForm::None, 0.1),
            (ErrorForm::Multiplicative, SeasonForm::Additive, 0.1),
            (ErrorForm::Multiplicative, SeasonForm::Multiplicative, 0.12),
            (ErrorForm::Additive, SeasonForm::Multiplicative, 0.15),
        ] {
            for trend in [TrendForm::None, TrendForm::Additive, TrendForm::Damped] {
                let form = Form { error, trend, season };
                let indices = match season {
                    SeasonForm::None => vec![],
                    SeasonForm::Additive => vec![-2.0, 3.0, -1.0, 0.0],
                    SeasonForm::Multiplicative => vec![0.8, 1.3, 0.9, 1.0],
                };
                let phi = if trend.is_damped() { 0.9 } else { 1.0 };
                let last = Last {
                    form,
                    weights: Weights { alpha: 0.4, beta: 0.1, gamma: 0.3, phi },
                    now: Now { level: 10.0, slope: 0.3, s: 0.0 },
                    season: &indices,
                    next: 0,
                    sigma: if error == ErrorForm::Additive { 0.6 } else { 0.06 },
                };
                let (told, drawn) = (steps(&last, 14), for_form!(form, simulated::<..>(&last, 14)));
                for h in 0..14 {
                    assert!((told.mean[h] - drawn.mean[h]).abs() < 1e-9, "{form} {h}");
                    let off = told.sd[h] / drawn.sd[h] - 1.0;
                    assert!(off.abs() < tolerance, "{form} step {h}: {} {}", told.sd[h], drawn.sd[h]);
                }
            }
        }
    }
}
