//! Days of event: by how much all series together differ on them, where the history says so clearly.
//!
//! A network sees an event once a year at most and learns it by heart. Of the sum over all series more can be said: an
//! event's effect is the mean logarithm of the sum on its days over that of the same phase of the seasons around them,
//! shrunk by how much ordinary days differ (James and Stein 1961), and nought where it is not clear. It is put in after
//! the network.

use crate::global::rows::Members;
use serde::{Deserialize, Serialize};
use tradewind_core::calendar::{Calendar, CalendarTable, Region};
use tradewind_core::{Freq, Stamp};

/// Seasons on either side that an event's days are compared with.
const AROUND: usize = 2;
/// Standard errors by which an effect must differ from nothing.
const CLEAR: f64 = 2.5;
/// The least that is taken to be left of a day, as a share.
const LEFT: f64 = 0.005;
/// What the calendar calls a day of an event.
const DURING: &str = ":during";

/// What events do to all series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Events {
    regions: Vec<Region>,
    /// Columns of the calendar with the logarithm of the factor on days that they mark.
    effects: Vec<(String, f64)>,
}

/// The effects step by step.
#[derive(Clone, Debug, Default)]
pub(super) struct EventTable {
    freq: Option<Freq>,
    first: Stamp,
    effects: Vec<f64>,
}

impl EventTable {
    /// The logarithm of the factor of a step.
    pub(super) fn at(&self, stamp: Stamp) -> f64 {
        let step = self.freq.and_then(|f| f.steps(self.first, stamp)).and_then(|s| usize::try_from(s).ok());
        step.and_then(|s| self.effects.get(s)).copied().unwrap_or(0.0)
    }
}

impl Events {
    pub(super) fn is_sound(&self) -> bool {
        self.effects.iter().all(|(_, e)| e.is_finite() && e.abs() <= 10.0)
    }

    /// What the sum of all series says of the events of `regions`; a phase comes back after `season` steps.
    pub(super) fn learn(regions: Vec<Region>, members: &Members, freq: Freq, season: usize) -> Self {
        let mut out = Self { regions, effects: Vec::new() };
        let first = members.all.iter().map(|m| m.start).min();
        let last = members.all.iter().map(|m| freq.add(m.start, m.history.len() as i64)).max();
        let (Some(first), Some(last)) = (first, last) else { return out };
        let Some(n) = freq.steps(first, last).and_then(|n| usize::try_from(n).ok()) else { return out };
        let mut sums = vec![0.0; n];
        for m in &members.all {
            let from = freq.steps(first, m.start).and_then(|s| usize::try_from(s).ok()).unwrap_or(n);
            for (sum, y) in sums.iter_mut().skip(from).zip(m.history.values()) {
                *sum += if y.is_finite() { *y } else { 0.0 };
            }
        }
        let season = season.max(1);
        let mut off: Vec<f64> = (0..n)
            .map(|t| {
                let near = (1..=AROUND).flat_map(|k| [t.checked_sub(k * season), Some(t + k * season)]);
                let near: Vec<f64> = near.flatten().filter_map(|t| sums.get(t)).copied().collect();
                let usual = crate::price::median(&near);
                if near.len() > AROUND && usual > 0.0 { (sums[t] / usual).max(LEFT).ln() } else { f64::NAN }
            })
            .collect();
        let calendar = CalendarTable::new(&Calendar::new(&out.regions), freq, first, n);
        let marks: Vec<usize> =
            (0..calendar.names().len()).filter(|k| calendar.names()[*k].ends_with(DURING)).collect();
        let is_on = |t: usize, k: usize| calendar.row(t).get(k).is_some_and(|v| *v > 0.0);
        let ordinary: Vec<f64> = (0..n)
            .filter(|t| marks.iter().all(|k| !is_on(*t, *k)))
            .map(|t| off[t])
            .filter(|v| v.is_finite())
            .collect();
        if ordinary.len() < 8 {
            return out;
        }
        // The median of distances stands for the deviation: a few days of another kind do not change it.
        let far: Vec<f64> = ordinary.iter().map(|v| v.abs()).collect();
        let deviation = (1.4826 * crate::price::median(&far)).max(1e-6);
        // The clearest first, and what it explains is not told again by another.
        let mut left = marks;
        while !left.is_empty() {
            let judged = left.iter().map(|k| {
                let days: Vec<f64> =
                    (0..n).filter(|t| is_on(*t, *k)).map(|t| off[t]).filter(|v| v.is_finite()).collect();
                let mean = days.iter().sum::<f64>() / days.len().max(1) as f64;
                (*k, mean, mean.abs() * (days.len() as f64).sqrt() / deviation)
            });
            let best = judged.max_by(|a, b| a.2.total_cmp(&b.2).then(b.0.cmp(&a.0)));
            let Some((k, mean, clear)) = best.filter(|b| b.2 > CLEAR) else { break };
            let effect = mean * (1.0 - (CLEAR / clear).powi(2));
            (0..n).filter(|t| is_on(*t, k)).for_each(|t| off[t] -= effect);
            out.effects.push((calendar.names()[k].clone(), effect));
            left.retain(|other| *other != k);
        }
        out
    }

    /// The effects of `n` steps from `first` on.
    pub(super) fn table(&self, freq: Freq, first: Stamp, n: usize) -> EventTable {
        if self.effects.is_empty() {
            return EventTable::default();
        }
        let calendar = CalendarTable::new(&Calendar::new(&self.regions), freq, first, n);
        let places: Vec<(usize, f64)> = self
            .effects
            .iter()
            .filter_map(|(name, e)| Some((calendar.names().iter().position(|n| n == name)?, *e)))
            .collect();
        let of = |t: usize| {
            let row = calendar.row(t);
            places.iter().filter(|(k, _)| row.get(*k).is_some_and(|v| *v > 0.0)).map(|(_, e)| e).sum::<f64>()
        };
        EventTable { freq: Some(freq), first, effects: (0..n).map(of).collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use crate::global::rows::Plan;
    use tradewind_core::Panel;

    /// Two years of days, lower at Christmas where `closed`, with a week's rhythm and some chance.
    fn shop(closed: bool) -> (Members, Plan) {
        let start = tradewind_core::freq::parse_stamp("2014-01-01").unwrap();
        let series = (0..30).map(|k| {
            let y = (0..900_usize).map(|t| {
                let noise = ((t * 7919 + k * 104_729) % 1_009) as f64 / 1_009.0;
                let christmas = t == 358 || t == 723;
                let usual = 10.0 + (t % 7) as f64 + noise;
                if closed && christmas { 0.0 } else { usual }
            });
            (format!("p{k:02}"), start, y.collect())
        });
        let panel = Panel::from_series(Freq::DAILY, series.collect()).unwrap();
        let plan = Plan::new(&panel, 7, 28, None, false);
        (Members::new(&plan, &panel, None), plan)
    }

    #[test]
    fn a_day_on_which_shops_are_closed_is_found_and_chance_is_not() {
        let us = vec![Region::try_from("US".to_owned()).unwrap()];
        let (members, plan) = shop(true);
        let events = Events::learn(us.clone(), &members, plan.freq, 7);
        let table = events.table(plan.freq, members.all[0].start, 1_200);
        let at = |t: i64| table.at(plan.freq.add(members.all[0].start, t)).exp();
        // The Christmas to come too; the days around stay as they are.
        let next = 358 + 365 + 366;
        assert!(at(358) < 0.05 && at(next) < 0.05, "{} {}", at(358), at(next));
        assert!((at(340) - 1.0).abs() < 0.02 && (at(200) - 1.0).abs() < 0.02);
        let (members, plan) = shop(false);
        let none = Events::learn(us, &members, plan.freq, 7);
        let table = none.table(plan.freq, members.all[0].start, 900);
        let far =
            (0..900).map(|t| table.at(plan.freq.add(members.all[0].start, t)).abs()).fold(0.0, f64::max);
        assert!(far < 0.02, "{far}");
    }
}
