//! What surrounds a series at an origin: its category, the whole shop, and the calendar.

use super::windows::{Grid, Windows};
use chrono::NaiveDate;
use std::collections::{BTreeSet, HashMap};
use tradewind_core::calendar::{Calendar, Kind, window_effect};
use tradewind_core::{Panel, Stamp};

/// The column that tells a series' category.
pub(crate) const CATEGORY: &str = "category";

/// Running totals of many series together.
#[derive(Default)]
pub(crate) struct Totals {
    sum: Vec<f64>,
    /// The steps of its members' first sales, sorted.
    firsts: Vec<usize>,
}

impl Totals {
    /// Units from `lo` up to `hi`; NaN unless all of it lies inside the grid.
    pub(crate) fn units(&self, lo: i64, hi: i64) -> f64 {
        let at = |k: i64| usize::try_from(k).ok().and_then(|k| self.sum.get(k)).copied().unwrap_or(f64::NAN);
        at(hi) - at(lo)
    }

    /// How many of its series had sold before step `t`.
    pub(crate) fn members(&self, t: usize) -> usize {
        self.firsts.partition_point(|f| *f < t)
    }

    /// `ln((units of one window + 1) / (units of another + 1))`, each scaled to one step.
    pub(crate) fn change(&self, a: (i64, i64), b: (i64, i64)) -> f64 {
        let rate = |(lo, hi): (i64, i64)| (self.units(lo, hi) + 1.0) / (hi - lo).max(1) as f64;
        (rate(a) / rate(b)).ln()
    }
}

/// The surroundings of all series of a panel.
pub(crate) struct Market {
    pub(crate) grid: Grid,
    pub(crate) windows: Windows,
    /// Steps of the grid that are known.
    pub(crate) n: usize,
    /// Growth beyond which a trend rises or falls, for the features that name it.
    pub(crate) threshold: f64,
    shop: Totals,
    shop_y: Vec<f64>,
    groups: Vec<Totals>,
    group_of: HashMap<String, usize>,
    /// Price of each series at the end of each step, of the series that have one: group, running mean per origin.
    prices: Vec<(Option<usize>, Vec<f64>)>,
    calendar: Calendar,
}

/// The surroundings at one origin; what all series share is computed here once.
pub(crate) struct Scene {
    /// The origin: steps before it are known.
    pub(crate) t: usize,
    /// Mean factor of each phase of the short season.
    profile: Vec<f64>,
    /// Change of the shop in the same weeks one and two years ago.
    pub(crate) shop_year: [f64; 2],
    /// The shop's last window against the one before.
    pub(crate) shop_change: f64,
    /// The shop's last quarter of a window against the window.
    pub(crate) shop_quarter: f64,
    /// The shop's long and longest levels against its last window.
    pub(crate) shop_long: f64,
    pub(crate) shop_longest: f64,
    /// Sine and cosine of the time of the year.
    pub(crate) year_phase: [f64; 2],
    /// Share of the next window touched by holidays less that of the last; the same for festivals.
    pub(crate) holiday_shift: f64,
    pub(crate) festival_shift: f64,
    /// The same shifts less what they were a year ago: holidays that moved.
    pub(crate) holiday_moved: f64,
    pub(crate) festival_moved: f64,
    /// Expected change by the weekdays of the two windows.
    pub(crate) composition: f64,
    /// Per group: last window against the one before; last quarter against the window; the same weeks a year ago.
    pub(crate) groups: Vec<[f64; 3]>,
    /// Median price per group, and of all in the last place.
    pub(crate) median_price: Vec<f64>,
}

impl Market {
    pub(crate) fn new(panel: &Panel, base: Stamp, n: usize, h: usize, calendar: &Calendar) -> Self {
        let grid = Grid { freq: panel.freq(), base };
        // Groups in the order of their names, so that their numbers do not depend on a hash.
        let names: BTreeSet<&str> = (0..panel.len()).filter_map(|i| panel.static_text(CATEGORY, i)).collect();
        let group_of: HashMap<String, usize> =
            names.into_iter().enumerate().map(|(k, v)| (v.to_owned(), k)).collect();
        let mut firsts = vec![Vec::new(); group_of.len()];
        let mut shop_y = vec![0.0; n];
        let mut group_y = vec![vec![0.0; n]; group_of.len()];
        let mut prices = Vec::new();
        let price = panel.covariate("price");
        for (i, s) in panel.iter().enumerate() {
            let start = grid.steps_until(s.start).saturating_sub(1);
            let group = panel.static_text(CATEGORY, i).and_then(|g| group_of.get(g)).copied();
            if let (Some(g), Some(k)) = (group, s.y.iter().position(|v| *v > 0.0)) {
                firsts[g].push(start + k);
            }
            for (k, v) in s.y.iter().enumerate().filter(|(_, v)| **v > 0.0) {
                if let Some(slot) = shop_y.get_mut(start + k) {
                    *slot += v;
                    if let Some(g) = group {
                        group_y[g][start + k] += v;
                    }
                }
            }
            if let Some(price) = price {
                prices.push((group, carried(price.of(i), start, n)));
            }
        }
        firsts.iter_mut().for_each(|f: &mut Vec<usize>| f.sort_unstable());
        let groups = group_y.iter().zip(firsts).map(|(y, f)| totals(y, f)).collect();
        Self {
            grid,
            windows: Windows::new(panel.freq(), h),
            n,
            threshold: 0.2,
            shop: totals(&shop_y, Vec::new()),
            shop_y,
            groups,
            group_of,
            prices,
            calendar: calendar.clone(),
        }
    }

    /// The group of a category's name.
    pub(crate) fn group(&self, name: Option<&str>) -> Option<usize> {
        name.and_then(|n| self.group_of.get(n)).copied()
    }

    /// The totals of a group.
    pub(crate) fn totals(&self, group: usize) -> &Totals {
        &self.groups[group]
    }

    /// Events with a day or a day of run-up in the `n` steps from `step` on, as share of the window by holidays and by
    /// festivals.
    fn shares(&self, step: usize) -> [f64; 2] {
        let mut out = [0.0; 2];
        if let Some((from, to)) = self.grid.days(step, self.windows.h) {
            for e in window_effect(&self.calendar, from, to) {
                match e.occurrence.kind {
                    Kind::Holiday | Kind::Closed => out[0] += e.share,
                    Kind::Festival | Kind::Event => out[1] += e.share,
                    Kind::Workday => {}
                }
            }
        }
        out
    }

    /// The key of the event that is most to do with the change at origin `t`: the largest in the next window, or for a
    /// push down the largest in the last.
    pub(crate) fn event(&self, t: usize, next: bool) -> Option<String> {
        let from = if next { t } else { t.checked_sub(self.windows.h)? };
        let (from, to): (NaiveDate, NaiveDate) = self.grid.days(from, self.windows.h)?;
        window_effect(&self.calendar, from, to).first().map(|e| e.occurrence.key.to_string())
    }

    /// The surroundings at origin `t`. Nothing of step `t` or later is looked at, but the calendar.
    pub(crate) fn scene(&self, t: usize) -> Scene {
        let w = self.windows;
        let (t_i, h) = (t as i64, w.h as i64);
        let last = (t_i - h, t_i);
        let year = |totals: &Totals, k: i64| match w.year {
            Some(y) => {
                let at = t_i - k * y as i64;
                totals.change((at, at + h), (at - h, at))
            }
            None => f64::NAN,
        };
        let now = self.shares(t);
        let before = t.checked_sub(w.h).map_or([0.0; 2], |s| self.shares(s));
        let shift = [now[0] - before[0], now[1] - before[1]];
        let moved = match w.year.and_then(|y| Some((t.checked_sub(y)?, t.checked_sub(y + w.h)?))) {
            Some((a, b)) => {
                let (a, b) = (self.shares(a), self.shares(b));
                [shift[0] - (a[0] - b[0]), shift[1] - (a[1] - b[1])]
            }
            None => [f64::NAN; 2],
        };
        let long = |n: usize| {
            // As far back as there are data, from two windows on.
            let lo = (t_i - n as i64).max(0);
            if t_i - lo >= 2 * h { self.shop.change((lo, t_i), last) } else { f64::NAN }
        };
        let phase = match self.windows.year {
            Some(_) => {
                let days = self.grid.stamp(t) as f64 / tradewind_core::freq::DAY as f64;
                let a = std::f64::consts::TAU * (days / 365.25).fract();
                [a.sin(), a.cos()]
            }
            None => [f64::NAN; 2],
        };
        let profile = self.profile(t);
        let composition = (factor(&profile, t, t + w.h) / factor(&profile, t - w.h.min(t), t)).ln();
        Scene {
            t,
            shop_year: [year(&self.shop, 1), year(&self.shop, 2)],
            shop_change: self.shop.change(last, (t_i - 2 * h, t_i - h)),
            shop_quarter: self.shop.change((t_i - w.quarter as i64, t_i), last)
                - (factor(&profile, t - w.quarter.min(t), t) / factor(&profile, t - w.h.min(t), t)).ln(),
            shop_long: long(w.long),
            shop_longest: long(w.longest),
            year_phase: phase,
            holiday_shift: shift[0],
            festival_shift: shift[1],
            holiday_moved: moved[0],
            festival_moved: moved[1],
            composition,
            groups: self
                .groups
                .iter()
                .map(|g| {
                    [
                        g.change(last, (t_i - 2 * h, t_i - h)),
                        g.change((t_i - w.quarter as i64, t_i), last),
                        year(g, 1),
                    ]
                })
                .collect(),
            median_price: self.median_prices(t),
            profile,
        }
    }

    /// The shop's usual factor of each phase of the short season, from up to 26 seasons before `t`, shrunk to 1.
    fn profile(&self, t: usize) -> Vec<f64> {
        let m = self.windows.season;
        let seasons = (t / m).min(26);
        if m == 1 || seasons < 3 {
            return vec![1.0; m];
        }
        let mut sums = vec![0.0; m];
        for k in t - seasons * m..t {
            sums[k % m] += self.shop_y[k];
        }
        let mean = sums.iter().sum::<f64>() / m as f64;
        // Twenty units at the mean keep tiny shops from a profile of noise.
        sums.iter().map(|s| (s + 20.0) / (mean + 20.0)).collect()
    }

    fn median_prices(&self, t: usize) -> Vec<f64> {
        if self.prices.is_empty() || t == 0 {
            return Vec::new();
        }
        let mut by_group: Vec<Vec<f64>> = vec![Vec::new(); self.groups.len() + 1];
        for (group, price) in &self.prices {
            let p = price[t - 1];
            if p > 0.0 {
                by_group[self.groups.len()].push(p);
                if let Some(g) = group {
                    by_group[*g].push(p);
                }
            }
        }
        by_group.into_iter().map(|mut v| median(&mut v)).collect()
    }
}

impl Scene {
    /// How much more (above 1) or less than usual the phases of the steps from `lo` up to `hi` sell.
    pub(crate) fn factor(&self, lo: usize, hi: usize) -> f64 {
        factor(&self.profile, lo, hi)
    }
}

fn factor(profile: &[f64], lo: usize, hi: usize) -> f64 {
    let m = profile.len();
    if m <= 1 || hi <= lo || (hi - lo).is_multiple_of(m) {
        return 1.0;
    }
    // Whole seasons have the mean 1; only what is left over counts.
    let n = hi - lo;
    let rest: f64 = (lo..lo + n % m).map(|k| profile[k % m]).sum();
    (rest + (n - n % m) as f64) / n as f64
}

fn totals(y: &[f64], firsts: Vec<usize>) -> Totals {
    let mut sum = Vec::with_capacity(y.len() + 1);
    let mut at = 0.0;
    sum.push(0.0);
    for v in y {
        at += v;
        sum.push(at);
    }
    Totals { sum, firsts }
}

/// Values of a column on the grid, unknown ones taking the last known.
pub(crate) fn carried(values: &[f64], start: usize, n: usize) -> Vec<f64> {
    let mut out = vec![f64::NAN; n];
    let mut last = f64::NAN;
    for (k, slot) in out.iter_mut().enumerate().skip(start) {
        if let Some(v) = values.get(k - start).filter(|v| !v.is_nan()) {
            last = *v;
        }
        *slot = last;
    }
    out
}

/// The median; NaN of nothing.
pub(crate) fn median(v: &mut [f64]) -> f64 {
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => (v[n / 2 - 1] + v[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Freq;

    #[test]
    fn left_over_days_carry_their_weekday() {
        let profile = [2.0, 0.5, 0.5, 1.0];
        assert_eq!(factor(&profile, 3, 7), 1.0);
        assert_eq!(factor(&profile, 4, 5), 2.0);
        assert_eq!(factor(&profile, 4, 10), (4.0 + 2.5) / 6.0);
    }

    #[test]
    fn a_scene_sees_nothing_after_its_origin() {
        let y: Vec<f64> = (0..200).map(|k| 10.0 + f64::from(k % 7)).collect();
        let mut later = y.clone();
        later[150..].iter_mut().for_each(|v| *v *= 9.0);
        let scene = |y: Vec<f64>| {
            let panel = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, y)]).expect("a panel");
            let market = Market::new(&panel, 0, 200, 14, &Calendar::default());
            let s = market.scene(150);
            [s.shop_change, s.shop_quarter, s.shop_long, s.composition, s.year_phase[0]]
        };
        assert_eq!(scene(y), scene(later));
    }
}
