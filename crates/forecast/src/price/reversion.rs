//! The way back from the present level of a price to the usual one: that of its group, and its own within it.

use super::rows::{Members, mean, median};
use serde::{Deserialize, Serialize};

/// Known values that tell where a price usually lies within its group.
const OWN: usize = 52;
/// Steps that tell where a group usually lies.
const GROUP: usize = 104;
/// Values so far back no longer count for the present level.
const NEAR: usize = 12;

/// How fast prices go back, and how much of the season is taken along.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reversion {
    /// The share of what a series lies off its usual place that is left after a step.
    pub(super) keep: f64,
    pub(super) season: f64,
    /// The grouping whose members move together: 0 for all series.
    #[serde(default)]
    pub(super) grouping: Option<usize>,
    /// The share of what the group lies off its usual level that is left after a step.
    #[serde(default = "one")]
    pub(super) keep_group: f64,
    /// What a value weighs less in the present level than the one after it.
    #[serde(default = "usual_fade")]
    pub(super) fade: f64,
}

fn one() -> f64 {
    1.0
}

fn usual_fade() -> f64 {
    0.6
}

/// Where a price and its group lie at an origin, and usually.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing {
    usual: f64,
    now: f64,
    group_usual: f64,
    group_now: f64,
}

impl Standing {
    /// At the origin `o` of series `i`.
    pub(super) fn of(members: &Members, i: usize, o: usize, grouping: Option<usize>, fade: f64) -> Self {
        let m = &members.all[i];
        let k = m.count(o);
        let places = &m.known[k.saturating_sub(OWN.max(members.layout.year))..k];
        let path = grouping.map_or(&[][..], |g| members.path(g, i));
        let of_group = |t: usize| path.get(m.begin + t).copied().filter(|v| v.is_finite()).unwrap_or(0.0);
        let own: Vec<f64> = places.iter().map(|t| m.y[*t] - of_group(*t)).collect();
        let end = (m.begin + o).min(path.len());
        let group: Vec<f64> = path[end.saturating_sub(GROUP)..end].iter().copied().filter(|v| v.is_finite()).collect();
        let (group_usual, group_now) = if group.is_empty() { (0.0, 0.0) } else { (mean(&group), faded(&group, fade)) };
        Self { usual: 0.5 * median(&own) + 0.5 * mean(&own), now: faded(&own, fade), group_usual, group_now }
    }

    /// The price `ahead` steps after the origin.
    fn after(self, keep: f64, keep_group: f64, ahead: usize) -> f64 {
        let back = |usual: f64, now: f64, keep: f64| usual + keep.powi(ahead as i32) * (now - usual);
        back(self.group_usual, self.group_now, keep_group) + back(self.usual, self.now, keep)
    }
}

/// The mean of the last values, each weighing `fade` of the one after it.
fn faded(values: &[f64], fade: f64) -> f64 {
    let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
    for v in values.iter().rev().take(NEAR) {
        sum += weight * v;
        weights += weight;
        weight *= fade;
    }
    if weights > 0.0 { sum / weights } else { f64::NAN }
}

impl Reversion {
    pub(super) const USUAL: Self = Self { keep: 0.9, season: 0.5, grouping: None, keep_group: 1.0, fade: 0.6 };

    /// How far the prices of a year before the step `ahead` places after `o`, and before the origin, lay from the year
    /// around them; 0 where there is no year.
    pub(super) fn seasons(members: &Members, i: usize, o: usize, ahead: usize) -> (f64, f64) {
        (season(members, i, o, (o + ahead) as i64 - 1), season(members, i, o, o as i64 - 1))
    }

    /// From where the price stands at the origin, and what [`Reversion::seasons`] tells.
    pub(super) fn from(self, standing: Standing, (then, now): (f64, f64), ahead: usize) -> f64 {
        standing.after(self.keep, self.keep_group, ahead) + self.season * (then - self.keep.powi(ahead as i32) * now)
    }
}

fn season(members: &Members, i: usize, o: usize, t: i64) -> f64 {
    let year = members.layout.year;
    if year > 0 { members.all[i].season(t, year, o) } else { 0.0 }
}

/// The way back from one origin: what all its steps share is worked out once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    reversion: Reversion,
    standing: Standing,
    season_now: f64,
    i: usize,
    o: usize,
}

impl Way {
    /// From the first `o` steps of series `i`.
    pub(super) fn of(reversion: Reversion, members: &Members, i: usize, o: usize) -> Self {
        let standing = Standing::of(members, i, o, reversion.grouping, reversion.fade);
        let season_now = if reversion.season > 0.0 { season(members, i, o, o as i64 - 1) } else { 0.0 };
        Self { reversion, standing, season_now, i, o }
    }

    /// The price `ahead` steps after the origin.
    pub(super) fn at(&self, members: &Members, ahead: usize) -> f64 {
        let then = match self.reversion.season {
            s if s > 0.0 => season(members, self.i, self.o, (self.o + ahead) as i64 - 1),
            _ => 0.0,
        };
        self.reversion.from(self.standing, (then, self.season_now), ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_a_share_a_step() {
        let s = Standing { usual: 1.0, now: 3.0, group_usual: 10.0, group_now: 14.0 };
        assert!((s.after(0.5, 0.25, 1) - (10.0 + 1.0 + 1.0 + 1.0)).abs() < 1e-12);
        assert!((s.after(0.5, 0.25, 2) - (10.0 + 0.25 + 1.0 + 0.5)).abs() < 1e-12);
        assert!((faded(&[9.0, 4.0, 1.0], 0.5) - (1.0 + 2.0 + 2.25) / 1.75).abs() < 1e-12);
    }
}
