//! How far prices may come to lie from what is said of them: the errors of single series, and the part that all share.

use crate::global::spread::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::distribution::t_quantile;

/// Parts of the horizon, each with a common part of its own.
const PARTS: usize = 3;
/// Fewest errors at an origin that tell what is common to them.
const COMMON_MIN: usize = 10;
/// Fewest groups that tell how far their mean lies off by chance.
const GROUPS_MIN: usize = 5;
/// Fewest degrees of freedom: below, the tails would be wider than any price.
const FREEDOM_MIN: f64 = 2.0;

/// Quantiles of errors that know how few origins they come from.
///
/// Whole markets move: the errors of all series at one origin have a part in common. A thousand series at four origins
/// are a thousand draws of what is a series' own, but four of what is common. So the two are kept apart: `own` has the
/// errors less the mean of their origin, and the common part is a Student variable about zero with as many degrees of
/// freedom as horizons held out that do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Doubt {
    own: Spread,
    /// Standard deviation of the common part, as a share of the price, by part of the horizon.
    common: Vec<f64>,
    freedom: f64,
    horizon: usize,
}

/// An error at a held-out origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Miss {
    /// Which of the origins.
    pub(super) origin: usize,
    /// Which of the groups whose members move together.
    pub(super) group: usize,
    pub(super) ahead: usize,
    pub(super) forecast: f64,
    pub(super) truth: f64,
    pub(super) scale: f64,
}

impl Miss {
    /// The unit in which errors of series of different prices are alike.
    fn unit(&self) -> f64 {
        unit(self.forecast, self.scale)
    }
}

/// The mean of the errors at an origin, by groups, and the variance that it would have if nothing but groups moved.
fn common_of(groups: &BTreeMap<usize, (f64, usize)>) -> Option<(f64, f64)> {
    let n: usize = groups.values().map(|g| g.1).sum();
    if n < COMMON_MIN {
        return None;
    }
    let mean = groups.values().map(|g| g.0).sum::<f64>() / n as f64;
    if groups.len() < GROUPS_MIN {
        return Some((mean, 0.0));
    }
    let k = groups.len() as f64;
    let off = |(sum, m): &(f64, usize)| (*m as f64 / n as f64 * (sum / *m as f64 - mean)).powi(2);
    Some((mean, groups.values().map(off).sum::<f64>() * k / (k - 1.0)))
}

fn unit(forecast: f64, scale: f64) -> f64 {
    let unit = forecast.abs().max(0.1 * scale);
    if unit > 0.0 && unit.is_finite() { unit } else { 1.0 }
}

impl Doubt {
    /// Learns from errors at `origins` origins, whose span holds `freedom` horizons.
    pub(super) fn of(misses: &[Miss], origins: usize, freedom: f64, horizon: usize) -> Self {
        let cell = |m: &Miss| m.origin * PARTS + Self::part(horizon, m.ahead);
        let mut sums: Vec<BTreeMap<usize, (f64, usize)>> = vec![BTreeMap::new(); PARTS * origins];
        for m in misses {
            let off = (m.truth - m.forecast) / m.unit();
            if off.is_finite() {
                let sum = sums[cell(m)].entry(m.group).or_default();
                *sum = (sum.0 + off, sum.1 + 1);
            }
        }
        let mut shared: Vec<Option<(f64, f64)>> = sums.iter().map(common_of).collect();
        let mut common = Vec::new();
        for p in 0..PARTS {
            let told: Vec<(f64, f64)> = shared.iter().skip(p).step_by(PARTS).flatten().copied().collect();
            let n = told.len().max(1) as f64;
            let all = told.iter().map(|(mean, _)| mean * mean).sum::<f64>() / n;
            let noise = told.iter().map(|(_, noise)| noise).sum::<f64>() / n;
            let true_part = if all > 0.0 { ((all - noise) / all).max(0.0) } else { 0.0 };
            shared.iter_mut().skip(p).step_by(PARTS).flatten().for_each(|(mean, _)| *mean *= true_part);
            common.push((true_part * all).sqrt());
        }
        let mut own = Spread::builder(horizon);
        for m in misses {
            let off = shared[cell(m)].map_or(0.0, |(mean, _)| mean);
            own.add(m.ahead, m.forecast, m.truth - off * m.unit(), m.scale);
        }
        Self { own: own.finish(), common, freedom: freedom.max(FREEDOM_MIN), horizon }
    }

    fn part(horizon: usize, ahead: usize) -> usize {
        ((ahead.max(1) - 1) * PARTS / horizon.max(1)).min(PARTS - 1)
    }

    /// The value that stays above the truth with probability `p`.
    pub(super) fn quantile(&self, ahead: usize, forecast: f64, scale: f64, p: f64) -> f64 {
        let own = |p: f64| self.own.quantile(ahead, forecast, scale, p);
        let (middle, q) = (own(0.5), own(p));
        let further = (ahead as f64 / self.horizon.max(1) as f64).max(1.0).sqrt();
        let common = self.common.get(Self::part(self.horizon, ahead)).copied().unwrap_or(0.0);
        let shared = t_quantile(p, self.freedom) * common * further * unit(forecast, scale);
        // As spreads of independent parts add up; the middle stays where single errors have it.
        let wide = (q - middle).hypot(shared);
        if !wide.is_finite() {
            q
        } else if p < 0.5 {
            middle - wide
        } else {
            middle + wide
        }
    }

    /// Whether no errors were seen.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    pub(super) fn is_sound(&self) -> bool {
        self.own.is_sound()
            && (self.own.is_empty()
                || (self.common.len() == PARTS
                    && self.common.iter().all(|c| *c >= 0.0 && c.is_finite())
                    && self.freedom >= FREEDOM_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{mix, unit as uniform};

    const HORIZON: usize = 13;
    const SERIES: usize = 60;

    fn normal(seed: u64) -> f64 {
        crate::normal::quantile(uniform(mix(seed)).clamp(1e-9, 1.0 - 1e-9))
    }

    /// A price of 10 that the whole market moves by `common` (standard deviation) and each series by 5 %.
    fn truth(seed: u64, series: usize, common: f64) -> f64 {
        10.0 * (1.0 + common * normal(seed) + 0.05 * normal(mix(seed) ^ series as u64))
    }

    /// How often prices lie in the interval of 80 %, over markets of which six origins were seen.
    fn coverage(common: f64) -> f64 {
        let (mut inside, mut n) = (0_usize, 0_usize);
        for market in 0..60_u64 {
            let at = |origin: usize, ahead: usize| market << 20 | (origin as u64) << 8 | ahead as u64;
            let mut misses = Vec::new();
            for (origin, ahead, series) in
                (0..6).flat_map(|o| [1, 7, 13].into_iter().flat_map(move |a| (0..SERIES).map(move |s| (o, a, s))))
            {
                let truth = truth(at(origin, ahead), series, common);
                misses.push(Miss { origin, group: series % 10, ahead, forecast: 10.0, truth, scale: 10.0 });
            }
            let doubt = Doubt::of(&misses, 6, 6.0, HORIZON);
            for (ahead, later) in [1, 7, 13].into_iter().flat_map(|a| (100..140).map(move |o| (a, o))) {
                let (low, high) = (doubt.quantile(ahead, 10.0, 10.0, 0.1), doubt.quantile(ahead, 10.0, 10.0, 0.9));
                for series in 0..SERIES {
                    inside += usize::from((low..=high).contains(&truth(at(later, ahead), series, common)));
                    n += 1;
                }
            }
        }
        inside as f64 / n as f64
    }

    #[test]
    fn intervals_hold_what_they_say_whether_markets_move_together_or_not() {
        // Without the common part 80 % of the second would be 43 %.
        for common in [0.0, 0.1] {
            let held = coverage(common);
            assert!((0.76..=0.86).contains(&held), "{common}: {held}");
        }
    }
}
