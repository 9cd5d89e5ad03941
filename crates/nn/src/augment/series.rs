//! Series changed: noise, size, speed, windows, blocks left out.
//!
//! A series is `[steps, channels]`, step by step. What is random over time is smooth where its name says so: a natural cubic
//! spline through points drawn evenly apart (the sources take SciPy's, which bends its ends otherwise). With the same
//! generator the same series comes out; a series of one step has no course and keeps its time.

use super::whole;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use tradewind_core::{Error, ParamCheck, Result};

fn check_strength(name: &'static str, v: f64, max: f64) -> Result<()> {
    let range = format!("0 to {max}");
    ParamCheck::new().require((0.0..=max).contains(&v), name, v, &range).finish()
}

fn normal(rng: &mut impl Rng) -> f64 {
    rng.sample(StandardNormal)
}

/// `x_t + deviation · ε`, with `ε` from the standard normal distribution for each value. `deviation` is in the unit of the
/// values, at least 0; 0.05 is usual where they have deviation 1.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_nn::augment::series;
/// let sales = [3.0, 5.0, 4.0, 6.0];
/// let noisy = series::jitter(&sales, 1, 0.1, &mut Run::new(7).rng(0)).unwrap();
/// assert_eq!(noisy.len(), 4);
/// assert_eq!(series::jitter(&sales, 1, 0.0, &mut Run::new(7).rng(0)).unwrap(), sales);
/// ```
///
/// # Errors
/// A deviation below 0 or not finite; values that are no whole steps.
pub fn jitter(x: &[f32], channels: usize, deviation: f64, rng: &mut impl Rng) -> Result<Vec<f32>> {
    check_strength("deviation", deviation, f64::MAX)?;
    whole(x.len(), channels, "a step")?;
    Ok(x.iter().map(|v| (f64::from(*v) + deviation * normal(rng)) as f32).collect())
}

/// `s_c · x_t`, with one `s_c` from the normal distribution of mean 1 and `deviation` (0 to 10; 0.1 is usual) for each channel.
///
/// # Errors
/// A deviation out of range; values that are no whole steps.
pub fn scale(x: &[f32], channels: usize, deviation: f64, rng: &mut impl Rng) -> Result<Vec<f32>> {
    check_strength("deviation", deviation, 10.0)?;
    whole(x.len(), channels, "a step")?;
    let by: Vec<f64> = (0..channels).map(|_| 1.0 + deviation * normal(rng)).collect();
    Ok(x.iter().zip(by.iter().cycle()).map(|(v, s)| (f64::from(*v) * s) as f32).collect())
}

/// `c(t) · x_t`, with a smooth `c` for each channel through `knots + 2` points from the normal distribution of mean 1 and
/// `deviation` (0 to 10; 0.2 with 4 knots is usual).
///
/// # Errors
/// A deviation out of range, over 10,000 knots; values that are no whole steps.
pub fn warp_magnitude(
    x: &[f32],
    channels: usize,
    deviation: f64,
    knots: usize,
    rng: &mut impl Rng,
) -> Result<Vec<f32>> {
    check_strength("deviation", deviation, 10.0)?;
    check_knots(knots)?;
    let steps = whole(x.len(), channels, "a step")?;
    let mut out = x.to_vec();
    for channel in 0..channels {
        let points: Vec<f64> = (0..knots + 2).map(|_| 1.0 + deviation * normal(rng)).collect();
        let curve = smooth(&points, steps);
        for (v, c) in out.iter_mut().skip(channel).step_by(channels).zip(curve) {
            *v = (f64::from(*v) * c) as f32;
        }
    }
    Ok(out)
}

/// The series at other times, the same for all channels: `x(τ(t))`, where `τ` goes on at the speed `e^{deviation · g(t)}` with a
/// smooth random `g` through `knots + 2` points of the standard normal distribution, and begins and ends with the series.
/// `deviation` is 0 to 5 (0.2 with 4 knots is usual). Between steps values lie on straight lines.
///
/// Um et al. let the speed be `1 + deviation · g(t)`, which may stand or go back where the deviation is large; this one never
/// does.
///
/// # Errors
/// A deviation out of range, over 10,000 knots; values that are no whole steps.
pub fn warp_time(
    x: &[f32],
    channels: usize,
    deviation: f64,
    knots: usize,
    rng: &mut impl Rng,
) -> Result<Vec<f32>> {
    check_strength("deviation", deviation, 5.0)?;
    check_knots(knots)?;
    let steps = whole(x.len(), channels, "a step")?;
    Ok(at(x, channels, &times(steps, deviation, knots, rng)))
}

/// The times of [`warp_time`]: from 0 to the last step, never falling.
fn times(steps: usize, deviation: f64, knots: usize, rng: &mut impl Rng) -> Vec<f64> {
    let points: Vec<f64> = (0..knots + 2).map(|_| deviation * normal(rng)).collect();
    let speed: Vec<f64> = smooth(&points, steps).into_iter().map(|g| g.clamp(-30.0, 30.0).exp()).collect();
    let mut gone = vec![0.0; steps];
    for t in 1..steps {
        gone[t] = gone[t - 1] + f64::midpoint(speed[t - 1], speed[t]);
    }
    let whole = gone.last().copied().unwrap_or(0.0);
    if whole > 0.0 {
        let last = (steps - 1) as f64;
        gone.iter_mut().for_each(|g| *g = (last * *g / whole).min(last));
        // Which rounding may have missed.
        gone[steps - 1] = last;
    }
    gone
}

/// A window of `share` of the steps (above 0 to 1, at least one step; 0.9 is usual), from anywhere, drawn out to the whole
/// length along straight lines. For series whose answer does not hang on where they begin or how fast they go.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_nn::augment::series;
/// let rising: Vec<f32> = (0..10).map(|t| t as f32).collect();
/// let part = series::slice(&rising, 1, 0.5, &mut Run::new(1).rng(0)).unwrap();
/// assert_eq!(part.len(), 10);
/// assert!((part[9] - part[0] - 4.0).abs() < 1e-5); // five steps are four apart
/// ```
///
/// # Errors
/// A share out of range; values that are no whole steps.
pub fn slice(x: &[f32], channels: usize, share: f64, rng: &mut impl Rng) -> Result<Vec<f32>> {
    ParamCheck::new().require(share > 0.0 && share <= 1.0, "share", share, "above 0 to 1").finish()?;
    let steps = whole(x.len(), channels, "a step")?;
    if steps == 0 {
        return Ok(vec![]);
    }
    let kept = ((share * steps as f64).round() as usize).clamp(1, steps);
    let first = rng.random_range(0..=steps - kept);
    let apart = (steps.max(2) - 1) as f64;
    let times: Vec<f64> = (0..steps).map(|t| first as f64 + t as f64 * (kept - 1) as f64 / apart).collect();
    Ok(at(x, channels, &times))
}

/// Blocks of `block` steps, about `share` of all (0 to 1), set to `fill` in all channels: the mean where values are raw, 0 where
/// they are standardised. The blocks lie end to end from a random first step, so they never overlap.
///
/// # Errors
/// A share out of range, a block of no steps; values that are no whole steps.
pub fn mask(
    x: &[f32],
    channels: usize,
    share: f64,
    block: usize,
    fill: f32,
    rng: &mut impl Rng,
) -> Result<Vec<f32>> {
    let mut check = ParamCheck::new();
    check.require((0.0..=1.0).contains(&share), "share", share, "0 to 1");
    check.require(block > 0, "block", block, "at least 1");
    check.finish()?;
    let steps = whole(x.len(), channels, "a step")?;
    let mut out = x.to_vec();
    if steps == 0 {
        return Ok(out);
    }
    // The first block may begin before the series, so that its first steps are hidden as often as others.
    let block = block.min(steps);
    let before = rng.random_range(0..block);
    let blocks = (steps + before).div_ceil(block);
    let hidden = (share * blocks as f64).round() as usize;
    for k in rand::seq::index::sample(rng, blocks, hidden.min(blocks)) {
        let first = (k * block).saturating_sub(before);
        let last = ((k + 1) * block).saturating_sub(before).min(steps);
        out[first * channels..last * channels].fill(fill);
    }
    Ok(out)
}

/// The series at these times, which lie between 0 and its last step.
fn at(x: &[f32], channels: usize, times: &[f64]) -> Vec<f32> {
    let mut out = Vec::with_capacity(times.len() * channels);
    for time in times {
        let (before, part) = (time.floor() as usize, time.fract());
        for channel in 0..channels {
            let a = f64::from(x[before * channels + channel]);
            out.push(match part > 0.0 {
                true => (a + part * (f64::from(x[(before + 1) * channels + channel]) - a)) as f32,
                false => a as f32,
            });
        }
    }
    out
}

fn check_knots(knots: usize) -> Result<()> {
    if knots > 10_000 {
        return Err(Error::Invalid(format!("a curve of {knots} knots is not smooth; give 10000 at most")));
    }
    Ok(())
}

/// A natural cubic spline through points evenly apart, of which there are at least two, the first at step 0 and the last at the
/// last step.
fn smooth(points: &[f64], steps: usize) -> Vec<f64> {
    let pieces = points.len() - 1;
    // Second derivatives m, in units of the distance of points: m_{k-1} + 4 m_k + m_{k+1} = 6 (p_{k-1} - 2 p_k + p_{k+1}).
    let (mut factor, mut m) = (vec![0.0; points.len()], vec![0.0; points.len()]);
    for k in 1..pieces {
        let over = 4.0 - factor[k - 1];
        factor[k] = 1.0 / over;
        m[k] = (6.0 * (points[k - 1] - 2.0 * points[k] + points[k + 1]) - m[k - 1]) / over;
    }
    for k in (1..pieces).rev() {
        m[k] -= factor[k] * m[k + 1];
    }
    let apart = (steps.max(2) - 1) as f64;
    (0..steps)
        .map(|t| {
            let place = t as f64 * pieces as f64 / apart;
            let k = (place as usize).min(pieces - 1);
            let b = place - k as f64;
            let a = 1.0 - b;
            // Written so that equal points give exactly their value.
            let bend = ((a * a * a - a) * m[k] + (b * b * b - b) * m[k + 1]) / 6.0;
            points[k] + b * (points[k + 1] - points[k]) + bend
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use tradewind_core::Run;

    fn rng() -> ChaCha8Rng {
        Run::new(11).rng(0)
    }

    fn wave(steps: usize, channels: usize) -> Vec<f32> {
        (0..steps * channels).map(|i| 2.0 + (i as f32 * 0.37).sin()).collect()
    }

    type Change = fn(&[f32], usize, f64, &mut ChaCha8Rng) -> Result<Vec<f32>>;

    /// All, by their strength.
    const ALL: [(&str, Change); 6] = [
        ("jitter", |x, c, s, r| jitter(x, c, s, r)),
        ("scale", |x, c, s, r| scale(x, c, s, r)),
        ("warp_magnitude", |x, c, s, r| warp_magnitude(x, c, s, 4, r)),
        ("warp_time", |x, c, s, r| warp_time(x, c, s, 4, r)),
        ("slice", |x, c, s, r| slice(x, c, 1.0 - s, r)),
        ("mask", |x, c, s, r| mask(x, c, s, 3, 0.0, r)),
    ];

    #[test]
    fn no_strength_leaves_the_series_and_seeds_reproduce() {
        for (name, change) in ALL {
            for (steps, channels) in [(0, 1), (1, 1), (1, 3), (2, 2), (57, 1), (40, 3)] {
                let x = wave(steps, channels);
                assert_eq!(change(&x, channels, 0.0, &mut rng()).unwrap(), x, "{name} {steps}");
                let once = change(&x, channels, 0.4, &mut rng()).unwrap();
                assert_eq!(once.len(), x.len(), "{name}");
                assert!(once.iter().all(|v| v.is_finite()), "{name}");
                assert_eq!(once, change(&x, channels, 0.4, &mut rng()).unwrap(), "{name}");
                if steps > 30 {
                    assert_ne!(once, x, "{name}");
                    let other = change(&x, channels, 0.4, &mut Run::new(12).rng(0)).unwrap();
                    assert_ne!(once, other, "{name}");
                }
            }
            assert!(change(&[1.0, 2.0, 3.0], 2, 0.1, &mut rng()).is_err(), "{name}");
            assert!(change(&[1.0], 0, 0.1, &mut rng()).is_err(), "{name}");
            assert!(change(&[1.0], 1, f64::NAN, &mut rng()).is_err(), "{name}");
            assert!(change(&[1.0], 1, -0.5, &mut rng()).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_added_and_multiplied_has_the_mean_and_spread_asked_for() {
        let moments = |v: &[f32]| {
            let n = v.len() as f64;
            let mean = v.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            (mean, (v.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt())
        };
        let (mean, spread) = moments(&jitter(&vec![5.0; 20_000], 1, 0.3, &mut rng()).unwrap());
        assert!((mean - 5.0).abs() < 0.01 && (spread - 0.3).abs() < 0.01, "{mean} {spread}");
        // Every channel its own factor, over all steps.
        let scaled = scale(&vec![1.0; 3 * 8_000], 8_000, 0.2, &mut rng()).unwrap();
        assert_eq!(scaled[..8_000], scaled[8_000..16_000]);
        let (mean, spread) = moments(&scaled[..8_000]);
        assert!((mean - 1.0).abs() < 0.01 && (spread - 0.2).abs() < 0.01, "{mean} {spread}");
        // At its knots a curve has the points' own mean and spread.
        let warped = warp_magnitude(&vec![1.0; 6 * 8_000], 8_000, 0.2, 4, &mut rng()).unwrap();
        let (mean, spread) = moments(&warped);
        assert!((mean - 1.0).abs() < 0.01 && (spread - 0.2).abs() < 0.01, "{mean} {spread}");
    }

    #[test]
    fn curves_are_smooth_and_go_through_their_points() {
        let points = [1.0, 3.0, -2.0, 0.5];
        let curve = smooth(&points, 301);
        for (k, p) in points.iter().enumerate() {
            assert!((curve[100 * k] - p).abs() < 1e-9);
        }
        let slopes: Vec<f64> = curve.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(slopes.windows(2).all(|w| (w[1] - w[0]).abs() < 5e-3), "no corner at a knot");
        // A line stays one.
        let line = smooth(&[0.0, 1.0, 2.0], 21);
        assert!(line.iter().enumerate().all(|(t, v)| (v - t as f64 / 10.0).abs() < 1e-12));
    }

    #[test]
    fn warped_time_never_goes_back_and_keeps_its_ends() {
        for deviation in [0.2, 1.0, 5.0] {
            for seed in 0..20 {
                let times = times(80, deviation, 4, &mut Run::new(seed).rng(0));
                assert!(times.windows(2).all(|w| w[0] <= w[1]), "{deviation} {seed}");
                assert_eq!((times[0], times[79]), (0.0, 79.0));
            }
        }
        let rising: Vec<f32> = (0..50).map(|t| t as f32).collect();
        let warped = warp_time(&rising, 1, 0.5, 4, &mut rng()).unwrap();
        assert!(warped.windows(2).all(|w| w[0] <= w[1]));
        // Channels stay together.
        let both: Vec<f32> = (0..50).flat_map(|t| [t as f32, -(t as f32)]).collect();
        let warped = warp_time(&both, 2, 0.5, 4, &mut rng()).unwrap();
        assert!(warped.chunks_exact(2).all(|s| s[0] == -s[1]));
    }

    #[test]
    fn masks_hide_the_share_asked_for_in_whole_blocks() {
        let x = vec![1.0; 2 * 1_000];
        let masked = mask(&x, 2, 0.3, 10, -9.0, &mut rng()).unwrap();
        let steps: Vec<bool> = masked.chunks_exact(2).map(|s| s[0] == -9.0).collect();
        assert!(masked.chunks_exact(2).all(|s| s[0] == s[1]));
        let hidden = steps.iter().filter(|h| **h).count();
        assert!((290..=310).contains(&hidden), "{hidden}");
        assert!(mask(&x, 2, 1.0, 7, 0.0, &mut rng()).unwrap().iter().all(|v| *v == 0.0));
        assert!(mask(&x, 2, 0.5, 0, 0.0, &mut rng()).is_err());
        assert_eq!(mask(&[1.0], 1, 1.0, 100, 0.0, &mut rng()).unwrap(), [0.0]);
    }
}
