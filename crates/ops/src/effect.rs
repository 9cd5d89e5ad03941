//! What a model version earned: the figures after it began to answer against what they would have been without it.
//!
//! What would have been comes from the time before: a regression of the series on its trend, its season and controls,
//! series that the version did not touch (other shops or categories, last year's figures, the forecast that stood before
//! it), as in interrupted time series and causal impact analyses (Box and Tiao 1975; Brodersen and others 2015). With
//! `y = X β + u` fitted before:
//!
//! ```text
//! effect of a day   e_t = y_t − x_t β̂
//! total             E = Σ e_t
//! Var E = γ₀ (H + 2 Σ (H − l) ρˡ)  +  x̄ᵀ (XᵀX)⁻¹ XᵀΩX (XᵀX)⁻¹ x̄,   x̄ = Σ x_t over the H days after,  Ω_ij = γ₀ ρ^|i−j|
//! ```
//!
//! Errors of neighbouring days hang together (`ρ`, less its bias in small samples), and intervals take Student's t with
//! as many degrees of freedom as there are days that count as independent. What is assumed: nothing else changed at the
//! same time that the controls do not show. Where a version can be tried beside another, an
//! [`experiment`](crate::experiment) says more.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tradewind_core::ErrorKind;
use tradewind_core::distribution::{t_quantile, two_sided_p};

const POINTS_MAX: usize = 100_000;
const COLUMNS_MAX: usize = 100;

/// What the series would follow without the version.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Series that the version did not touch, each as long as the series.
    pub controls: Vec<Vec<f64>>,
    /// Points of a season, as 7 for days of a week; 1 for none.
    pub season: usize,
    /// Whether a straight trend goes on. Leave it out where controls follow the trend.
    pub trend: bool,
    /// The level of intervals, 0.95.
    pub level: f64,
}

impl Default for Design {
    fn default() -> Self {
        Self { controls: Vec::new(), season: 7, trend: false, level: 0.95 }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The sum of what came after.
    pub actual: f64,
    /// The sum that was to be expected without.
    pub expected: f64,
    /// Their difference: what was earned, in the unit of the series.
    pub earned: f64,
    /// The interval of the difference.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The difference as a share of what was to be expected.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub lift: f64,
    /// The two-sided p-value of no difference.
    pub p: f64,
    /// How much of the variance before is explained, 0 to 1: below a third, take the figures with care.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub explained: f64,
    /// How errors of neighbouring points hang together, −1 to 1.
    pub correlation: f64,
    /// What was to be expected of each point after.
    pub expected_points: Vec<f64>,
}

/// What changed in `after`, by the points of `before`; points that are NaN count in neither.
///
/// ```
/// use tradewind_ops::effect::{Design, effect};
/// // A control that the version does not touch, and ten a day more from day 90 on.
/// let control: Vec<f64> = (0..120).map(|t| 100.0 + f64::from(t * 37 % 23)).collect();
/// let sales: Vec<f64> =
///     (0..120).map(|t| 2.0 * control[t] + f64::from((t * 29 % 11) as u32) + if t < 90 { 0.0 } else { 10.0 }).collect();
/// let design = Design { controls: vec![control], ..Design::default() };
/// let e = effect(&sales, 0..90, 90..120, &design).unwrap();
/// assert!(e.low < 300.0 && 300.0 < e.high && e.low > 0.0);
/// ```
///
/// # Errors
/// Ranges outside the series or overlapping, controls of another length, a level outside 0.5 to 1; too few points before
/// for what is asked.
pub fn effect(series: &[f64], before: Range<usize>, after: Range<usize>, design: &Design) -> Result<Effect> {
    check(series, &before, &after, design)?;
    let usable = |t: &usize| series[*t].is_finite() && design.controls.iter().all(|c| c[*t].is_finite());
    let early: Vec<usize> = before.filter(usable).collect();
    let late: Vec<usize> = after.clone().filter(usable).collect();
    let columns = Columns::of(design, &early);
    let k = columns.count();
    if early.len() < (2 * k).max(k + 10) || late.is_empty() {
        return Err(Error::asked(
            ErrorKind::NotEnoughData,
            format!("{} points before and {} after for {k} coefficients", early.len(), late.len()),
            "take a longer time before, fewer controls or a shorter season",
        ));
    }
    let rows: Vec<Vec<f64>> = early.iter().map(|t| columns.row(*t)).collect();
    let y: Vec<f64> = early.iter().map(|t| series[*t]).collect();
    let inverse = inverse_of_products(&rows, k);
    let products: Vec<f64> = (0..k).map(|j| rows.iter().zip(&y).map(|(row, y)| row[j] * y).sum()).collect();
    let beta: Vec<f64> = (0..k).map(|i| dot(&inverse[i * k..(i + 1) * k], &products)).collect();
    let rest: Vec<f64> = rows.iter().zip(&y).map(|(row, y)| y - dot(row, &beta)).collect();
    let n = rest.len() as f64;
    let left: f64 = rest.iter().map(|r| r * r).sum();
    let gamma = left / (n - k as f64);
    let rho = if left > 0.0 {
        let tied: f64 = rest.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / left;
        // Kendall's (1954) bias of the correlation, and that of the fitted coefficients, both about one in n.
        (tied + (1.0 + 3.0 * tied.max(0.0) + k as f64 * 0.5) / n).clamp(-0.5, 0.97)
    } else {
        0.0
    };
    let ahead: Vec<Vec<f64>> = late.iter().map(|t| columns.row(*t)).collect();
    let (actual, expected): (f64, f64) =
        late.iter().zip(&ahead).fold((0.0, 0.0), |(a, e), (t, row)| (a + series[*t], e + dot(row, &beta)));
    let whole: Vec<f64> = (0..k).map(|j| ahead.iter().map(|row| row[j]).sum()).collect();
    let h = late.len();
    let (mut power, mut tied) = (1.0, h as f64);
    for l in 1..h {
        power *= rho;
        if power.abs() < 1e-12 {
            break;
        }
        tied += 2.0 * (h - l) as f64 * power;
    }
    let weights: Vec<f64> = (0..k).map(|i| dot(&inverse[i * k..(i + 1) * k], &whole)).collect();
    let along: Vec<f64> = rows.iter().map(|row| dot(row, &weights)).collect();
    let variance = gamma * (tied.max(0.0) + tied_form(&along, rho));
    let error = variance.max(0.0).sqrt();
    let df = (n * (1.0 - rho) / (1.0 + rho) - k as f64).clamp(3.0, n);
    let earned = actual - expected;
    let half = t_quantile(0.5 + design.level / 2.0, df) * error;
    let mean = y.iter().sum::<f64>() / n;
    let spread: f64 = y.iter().map(|v| (v - mean).powi(2)).sum();
    let p = match error > 0.0 {
        true => two_sided_p(earned / error, df),
        false if earned == 0.0 => 1.0,
        false => 0.0,
    };
    Ok(Effect {
        actual,
        expected,
        earned,
        low: earned - half,
        high: earned + half,
        lift: if expected == 0.0 { f64::NAN } else { earned / expected.abs() },
        p,
        explained: if spread > 0.0 { (1.0 - left / spread).max(0.0) } else { f64::NAN },
        correlation: rho,
        expected_points: after.map(|t| dot(&columns.row(t), &beta)).collect(),
    })
}

/// When a version answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The version, as `weekly@7`.
    pub version: String,
    /// The points at which it answered.
    pub points: Range<usize>,
}

/// What a version is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The time before the first version.
    Nothing,
    /// The time of the version before it; for the first, the time before it.
    Previous,
}

/// What one version earned.
#[derive(Clone, Debug, PartialEq)]
pub struct Earned {
    /// The version.
    pub version: String,
    /// What it earned; an error says why it cannot be told, as too short a time.
    pub effect: Result<Effect, String>,
}

/// What each version earned, in their order.
///
/// ```
/// use tradewind_ops::effect::{Against, Design, Reign, earned};
/// let sales: Vec<f64> = (0..150)
///     .map(|t| 50.0 + f64::from((t * 31 % 7) as u32) + match t { 0..60 => 0.0, 60..100 => 8.0, _ => 12.0 })
///     .collect();
/// let reigns = [("m@1", 60..100), ("m@2", 100..150)].map(|(v, points)| Reign { version: v.into(), points });
/// let list = earned(&sales, &reigns, &Design { season: 1, ..Design::default() }, Against::Previous).unwrap();
/// let of = |i: usize| list[i].effect.as_ref().unwrap().earned;
/// assert!((of(0) - 8.0 * 40.0).abs() < 60.0 && (of(1) - 4.0 * 50.0).abs() < 60.0);
/// ```
///
/// # Errors
/// Reigns that overlap, lie outside the series or in another order.
pub fn earned(series: &[f64], reigns: &[Reign], design: &Design, against: Against) -> Result<Vec<Earned>> {
    let ordered = reigns.windows(2).all(|w| w[0].points.end <= w[1].points.start);
    let inside = reigns.iter().all(|r| r.points.start < r.points.end && r.points.end <= series.len());
    if !ordered || !inside {
        return Err(Error::asked(
            ErrorKind::InvalidParams,
            "times of versions that overlap, are empty, out of order or outside the series",
            "give them in order, each within the series",
        ));
    }
    Ok((0..reigns.len())
        .map(|i| {
            let before = match against {
                Against::Previous if i > 0 => reigns[i - 1].points.clone(),
                _ => 0..reigns[0].points.start,
            };
            let effect = effect(series, before, reigns[i].points.clone(), design).map_err(|e| e.to_string());
            Earned { version: reigns[i].version.clone(), effect }
        })
        .collect())
}

fn check(series: &[f64], before: &Range<usize>, after: &Range<usize>, design: &Design) -> Result<()> {
    let wrong = |text: String, hint: &str| Err(Error::asked(ErrorKind::InvalidParams, text, hint));
    if before.start >= before.end
        || after.start >= after.end
        || before.end > after.start
        || after.end > series.len()
    {
        return wrong(
            format!("the times {before:?} and {after:?} of {} points", series.len()),
            "give a time before, and one after it within the series",
        );
    }
    let columns = design.controls.len() + design.season;
    if series.len() > POINTS_MAX || design.season == 0 || columns > COLUMNS_MAX {
        return wrong(
            format!(
                "{} points with {} controls and a season of {}",
                series.len(),
                design.controls.len(),
                design.season
            ),
            "give at most 100,000 points and 100 controls and places of the season together; a season is 1 or more",
        );
    }
    if let Some(control) = design.controls.iter().find(|c| c.len() != series.len()) {
        return wrong(
            format!("a control of {} points for a series of {}", control.len(), series.len()),
            "give each control for every point",
        );
    }
    if !(0.5..1.0).contains(&design.level) {
        return wrong(format!("a level of {}", design.level), "give 0.5 or more and less than 1");
    }
    Ok(())
}

/// The columns of the regression: one, trend, places of the season, controls; controls that stand still before are left
/// out, for they are the constant.
struct Columns<'a> {
    design: &'a Design,
    /// Of each control its number, middle and spread before, so that columns are of one size.
    controls: Vec<(usize, f64, f64)>,
    middle: f64,
    width: f64,
}

impl<'a> Columns<'a> {
    fn of(design: &'a Design, early: &[usize]) -> Self {
        let n = early.len().max(1) as f64;
        let shape = |of: &dyn Fn(usize) -> f64| {
            let mean = early.iter().map(|t| of(*t)).sum::<f64>() / n;
            let spread = (early.iter().map(|t| (of(*t) - mean).powi(2)).sum::<f64>() / n).sqrt();
            (mean, spread)
        };
        let controls = design.controls.iter().enumerate().filter_map(|(i, c)| {
            let (mean, spread) = shape(&|t| c[t]);
            (spread > 1e-12 * mean.abs().max(1e-300)).then_some((i, mean, spread))
        });
        let (middle, width) = shape(&|t| t as f64);
        Self { design, controls: controls.collect(), middle, width: width.max(1e-12) }
    }

    fn count(&self) -> usize {
        1 + usize::from(self.design.trend) + (self.design.season - 1) + self.controls.len()
    }

    fn row(&self, t: usize) -> Vec<f64> {
        let mut row = Vec::with_capacity(self.count());
        row.push(1.0);
        if self.design.trend {
            row.push((t as f64 - self.middle) / self.width);
        }
        row.extend((1..self.design.season).map(|place| f64::from(t % self.design.season == place)));
        row.extend(
            self.controls.iter().map(|(i, mean, spread)| (self.design.controls[*i][t] - mean) / spread),
        );
        row
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `vᵀ R v` with `R_ij = ρ^|i−j|`, in one pass.
fn tied_form(v: &[f64], rho: f64) -> f64 {
    let (mut sum, mut carried) = (0.0, 0.0);
    for x in v {
        carried *= rho;
        sum += x * x + 2.0 * x * carried;
        carried += x;
    }
    sum.max(0.0)
}

/// `(XᵀX)⁻¹` by Gauss and Jordan with pivots; a trifle on the diagonal keeps columns apart that say the same.
fn inverse_of_products(rows: &[Vec<f64>], k: usize) -> Vec<f64> {
    let mut a = vec![0.0; k * k];
    for row in rows {
        for i in 0..k {
            for j in 0..k {
                a[i * k + j] += row[i] * row[j];
            }
        }
    }
    let trifle = 1e-10 * (0..k).map(|i| a[i * k + i]).fold(0.0, f64::max);
    let mut out = vec![0.0; k * k];
    for i in 0..k {
        a[i * k + i] += trifle;
        out[i * k + i] = 1.0;
    }
    for c in 0..k {
        let pivot = (c..k).max_by(|x, y| a[x * k + c].abs().total_cmp(&a[y * k + c].abs())).unwrap_or(c);
        for j in 0..k {
            a.swap(c * k + j, pivot * k + j);
            out.swap(c * k + j, pivot * k + j);
        }
        let by = a[c * k + c];
        for j in 0..k {
            a[c * k + j] /= by;
            out[c * k + j] /= by;
        }
        for i in (0..k).filter(|i| *i != c) {
            let by = a[i * k + c];
            if by != 0.0 {
                for j in 0..k {
                    a[i * k + j] -= by * a[c * k + j];
                    out[i * k + j] -= by * out[c * k + j];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sketch::mixed;

    fn normal(seed: u64, i: u64) -> f64 {
        let u = ((mixed(mixed(seed) ^ i) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        tradewind_core::distribution::normal_quantile(u)
    }

    /// Weekly season, a control, errors tied by `phi`, and `more` from day 120 on.
    fn shop(seed: u64, phi: f64, more: f64) -> (Vec<f64>, Vec<f64>) {
        let mut error = normal(seed, 999_999);
        let control: Vec<f64> = (0..150).map(|t| 200.0 + 15.0 * normal(seed ^ 5, t)).collect();
        let series = (0..150_u64)
            .map(|t| {
                error = phi * error + (1.0 - phi * phi).sqrt() * normal(seed, t);
                let season = [0.0, 5.0, 9.0, 4.0, 2.0, 30.0, 40.0][(t % 7) as usize];
                100.0 + season + 0.8 * control[t as usize] + 6.0 * error + if t < 120 { 0.0 } else { more }
            })
            .collect();
        (series, control)
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        for (phi, least) in [(0.0, 0.925), (0.3, 0.91), (0.6, 0.87)] {
            let mut held = 0;
            for seed in 0..1_000 {
                let (series, control) = shop(seed, phi, 5.0);
                let design = Design { controls: vec![control], ..Design::default() };
                let e = effect(&series, 0..120, 120..150, &design).unwrap();
                held += u32::from(e.low <= 150.0 && 150.0 <= e.high);
            }
            let share = f64::from(held) / 1_000.0;
            assert!(share >= least && share < 0.99, "{phi}: {share}");
        }
    }

    #[test]
    fn nothing_earned_is_rarely_called_something() {
        let found = (0..1_000)
            .filter(|seed| {
                let (series, control) = shop(*seed, 0.3, 0.0);
                let design = Design { controls: vec![control], ..Design::default() };
                effect(&series, 0..120, 120..150, &design).unwrap().p <= 0.05
            })
            .count();
        assert!(found <= 85, "{found}");
    }

    #[test]
    fn each_version_against_nothing_and_against_the_one_before() {
        let (mut series, control) = shop(3, 0.2, 0.0);
        series.iter_mut().enumerate().for_each(|(t, y)| {
            *y += if t >= 100 {
                40.0
            } else if t >= 60 {
                25.0
            } else {
                0.0
            }
        });
        series[70] = f64::NAN;
        let reigns =
            [("m@1", 60..100), ("m@2", 100..148)].map(|(v, points)| Reign { version: v.into(), points });
        let design = Design { controls: vec![control], ..Design::default() };
        let lift = |against| {
            earned(&series, &reigns, &design, against)
                .unwrap()
                .into_iter()
                .map(|e| e.effect.unwrap())
                .collect::<Vec<_>>()
        };
        let (nothing, previous) = (lift(Against::Nothing), lift(Against::Previous));
        let near =
            |e: &Effect, truth: f64| assert!(e.low < truth && truth < e.high && e.p < 0.05, "{truth}: {e:?}");
        near(&nothing[0], 25.0 * 39.0);
        near(&nothing[1], 40.0 * 48.0);
        near(&previous[1], 15.0 * 48.0);
        assert_eq!(nothing[1].expected_points.len(), 48);
        let overlapping = [reigns[1].clone(), reigns[0].clone()];
        assert!(earned(&series, &overlapping, &design, Against::Nothing).is_err());
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let (series, control) = shop(1, 0.0, 0.0);
        let with = |controls: Vec<Vec<f64>>, season| Design { controls, season, ..Design::default() };
        assert!(effect(&series, 0..15, 15..150, &with(vec![], 7)).is_err());
        assert!(effect(&series, 0..120, 100..150, &with(vec![], 7)).is_err());
        assert!(effect(&series, 0..120, 120..151, &with(vec![], 7)).is_err());
        assert!(effect(&series, 0..120, 120..150, &with(vec![control[1..].to_vec()], 7)).is_err());
        assert!(effect(&series, 0..120, 120..150, &with(vec![], 0)).is_err());
        // The same control twice, and one that stands still.
        let twice = with(vec![control.clone(), control.clone(), vec![3.0; 150]], 7);
        let (a, b) = (
            effect(&series, 0..120, 120..150, &twice).unwrap(),
            effect(&series, 0..120, 120..150, &with(vec![control], 7)).unwrap(),
        );
        assert!((a.earned - b.earned).abs() < 0.01 * b.earned.abs() + 0.5, "{} {}", a.earned, b.earned);
    }
}
