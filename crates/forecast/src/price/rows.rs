//! What is known of prices at an origin: levels, points of the ladder, promotions, groups, and the plan of a step.

use super::reversion::Way;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::{Covariate, Panel, StaticValues};

/// Known values that tell the level of a price.
const LEVEL: usize = 26;
/// Windows, in known values, of means, medians and extremes.
const WINDOWS: [usize; 4] = [4, 8, 13, 52];
/// The last known values.
const LASTS: usize = 4;
/// Prices this far below the level's upper end are promotional.
const REDUCED: f64 = 0.93;
/// Ticks that a price must at least be worth for its ladder to mean anything.
const TICKS_MIN: f64 = 10.0;
/// Prices of which more than this share are distinct have no ladder.
const DISTINCT_MAX: f64 = 0.85;
/// Columns that tell the state of a promotion; further ones are seen by the trees only.
const STATE_BITS: usize = 6;
/// Columns of the market that are remembered at most.
const MARKET_MAX: usize = 8;

/// Which columns rows have; saved with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// Columns known ahead.
    pub(super) covariates: Vec<String>,
    /// Columns known only up to the origin: competitors' prices and other figures of the market.
    #[serde(default)]
    pub(super) market: Vec<String>,
    /// Text columns that group series.
    pub(super) groupings: Vec<String>,
    /// Steps of a year; 0 where there is none.
    pub(super) year: usize,
    /// Whether each series is a category of its own.
    pub(super) by_series: bool,
    /// Prices that round to the same multiple of this are the same.
    pub(super) tick: f64,
}

impl Layout {
    pub(super) fn new(panel: &Panel, tick: f64) -> Self {
        let longest = panel.iter().map(|s| s.y.len()).max().unwrap_or(0);
        let year = panel.freq().steps_per_year().map_or(0, |y| y.round() as usize);
        let groupings = panel.statics().iter().filter_map(|c| match &c.values {
            StaticValues::Text(v) => {
                let mut words: Vec<&String> = v.iter().flatten().collect();
                words.sort_unstable();
                words.dedup();
                (words.len() > 1 && 2 * words.len() <= panel.len()).then(|| c.name.clone())
            }
            StaticValues::Number(_) => None,
        });
        Self {
            covariates: panel.covariates().iter().filter(|c| c.known_ahead).map(|c| c.name.clone()).collect(),
            market: panel.covariates().iter().filter(|c| !c.known_ahead).map(|c| c.name.clone()).take(MARKET_MAX).collect(),
            groupings: groupings.take(4).collect(),
            year: if year > 1 && longest > year + year / 8 { year } else { 0 },
            by_series: panel.len() >= 20,
            tick,
        }
    }

    /// The rung of the ladder on which a price stands.
    pub(super) fn rung(&self, price: f64) -> f64 {
        (price / self.tick).round()
    }

    /// The names of what [`Members::of_groups`] appends.
    pub(super) fn names_of_groups(&self) -> Vec<String> {
        let mut names = Vec::new();
        for g in std::iter::once("all").chain(self.groupings.iter().map(String::as_str)) {
            names.extend(["last", "mean", "since_reduced"].map(|k| format!("{g}:{k}")));
            names.extend(self.covariates.iter().map(|c| format!("{g}:{c}")));
            if !self.covariates.is_empty() {
                names.push(format!("{g}:alike"));
            }
        }
        names
    }

    /// How many numbers each step of [`Members::past`] has.
    pub(super) fn channels(&self) -> usize {
        // Price, whether it is known, all series together and each grouping, the columns.
        3 + self.groupings.len() + self.covariates.len() + self.market.len()
    }

    pub(super) fn names(&self) -> (Vec<String>, Vec<bool>) {
        let mut names: Vec<String> = (1..=LASTS).map(|k| format!("last_{k}")).collect();
        for w in WINDOWS {
            names.extend(["mean", "median", "lowest", "highest"].map(|k| format!("{k}_{w}")));
        }
        names.extend(["commonest", "regular", "reduced_8", "reduced_26", "since_reduced", "since_regular", "unchanged"].map(String::from));
        names.extend(["steps_ahead", "age"].map(String::from));
        if self.year > 0 {
            names.extend(["step_of_year", "reversion", "year_ago", "around_year_ago"].map(String::from));
        }
        if !self.covariates.is_empty() {
            names.extend(["alike_last", "alike_mean", "alike_share", "other_last"].map(String::from));
        }
        for c in &self.covariates {
            names.extend(["now", "before", "after", "at_origin"].map(|k| format!("{c}:{k}")));
        }
        names.extend(self.names_of_groups());
        let mut kinds = vec![false; names.len()];
        for g in &self.groupings {
            names.push(g.clone());
            kinds.push(true);
        }
        if self.by_series {
            names.push("series".into());
            kinds.push(true);
        }
        (names, kinds)
    }
}

/// One series.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) y: Vec<f64>,
    /// Places of known values.
    pub(super) known: Vec<usize>,
    /// For each known value the median of the last ones up to it.
    levels: Vec<f64>,
    /// Steps since the panel's first stamp.
    pub(super) begin: usize,
    covariates: Vec<Vec<f64>>,
    /// Columns known ahead and those of the market, each from its mean in units of its size.
    seen: Vec<Vec<f64>>,
    groups: Vec<usize>,
    code: usize,
}

/// What a group of series did, step by step since the panel's first stamp.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Mean price in units of each series' level.
    ratio: Vec<f64>,
    /// Mean of the latest known prices of those that have begun.
    path: Vec<f64>,
    /// Steps since the group last was reduced as a whole.
    since_reduced: Vec<f64>,
    /// Means of columns known ahead.
    covariates: Vec<Vec<f64>>,
    /// By state of promotion: step and mean price in units of the levels before it.
    alike: BTreeMap<u64, Vec<(usize, f64)>>,
    /// The rungs of each step with how many series stand on them.
    rungs: Vec<BTreeMap<i64, usize>>,
}

/// All series with their groups.
#[derive(Clone, Debug)]
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    /// By grouping (all series first) and group.
    groups: Vec<Vec<Group>>,
    /// The grouping whose members stand most often on one rung.
    together: usize,
    pub(super) layout: Layout,
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    let n = v.len();
    if n == 0 {
        return f64::NAN;
    }
    let (below, middle, _) = v.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return *middle;
    }
    let before = below.iter().copied().max_by(f64::total_cmp).unwrap_or(*middle);
    0.5 * before + 0.5 * *middle
}

pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let n = values.len() as f64;
    values.iter().map(|v| v / n).sum()
}

impl Member {
    /// How many values are known before step `o`.
    pub(super) fn count(&self, o: usize) -> usize {
        self.known.partition_point(|t| *t < o)
    }

    /// The last `n` known values before step `o`, oldest first.
    pub(super) fn last(&self, o: usize, n: usize) -> Vec<f64> {
        let k = self.count(o);
        self.known[k.saturating_sub(n)..k].iter().map(|t| self.y[*t]).collect()
    }

    /// Median of the last known values before step `o`, never zero: the unit of what is learnt.
    pub(super) fn scale(&self, o: usize) -> f64 {
        let level = self.count(o).checked_sub(1).map_or(f64::NAN, |k| self.levels[k].abs());
        if level > 0.0 && level.is_finite() { level } else { 1.0 }
    }

    /// The median of the last eight known values: from where the trees start.
    pub(super) fn anchor(&self, o: usize) -> f64 {
        median(&self.last(o, 8))
    }

    /// Whether the last known values before step `o` move in steps: they return to the same points.
    pub(super) fn stepped(&self, layout: &Layout, o: usize) -> bool {
        let mut rungs: Vec<f64> = self.last(o, 52).into_iter().map(|v| layout.rung(v)).collect();
        let n = rungs.len() as f64;
        rungs.sort_unstable_by(f64::total_cmp);
        rungs.dedup();
        n > 0.0 && self.scale(o) >= TICKS_MIN * layout.tick && rungs.len() as f64 <= (DISTINCT_MAX * n).max(1.0)
    }

    /// The state of promotions at a step: one bit a column.
    pub(super) fn state(&self, t: usize) -> u64 {
        let on = |c: &Vec<f64>| c.get(t).is_some_and(|v| *v > 0.0);
        self.covariates.iter().take(STATE_BITS).enumerate().map(|(k, c)| u64::from(on(c)) << k).sum()
    }

    /// Appends for every column known ahead its value at step `t`, at the last step before `o`, and before `t`.
    pub(super) fn plan(&self, o: usize, t: usize, out: &mut Vec<f64>) {
        for c in &self.covariates {
            let at = |t: Option<usize>| t.and_then(|t| c.get(t)).copied().unwrap_or(f64::NAN);
            out.extend([at(Some(t)), at(o.checked_sub(1)), at(t.checked_sub(1))]);
        }
    }

    fn between(&self, from: i64, to: i64) -> f64 {
        let (from, to) = (from.max(0) as usize, to.max(0) as usize);
        let part = self.y.get(from..to.min(self.y.len())).unwrap_or_default();
        let finite = || part.iter().filter(|v| v.is_finite());
        let n = finite().count() as f64;
        if n > 0.0 { finite().map(|v| v / n).sum() } else { f64::NAN }
    }

    /// How far the price around step `t` lay from the year around it, a year before; `end` is the first step not known.
    pub(super) fn season(&self, t: i64, year: usize, end: usize) -> f64 {
        let (t, half) = (t - year as i64, year as i64 / 2);
        let off = self.between(t - 2, (t + 3).min(end as i64)) - self.between(t - half, (t + half).min(end as i64));
        if off.is_finite() { off } else { 0.0 }
    }
}

impl Members {
    pub(super) fn new(layout: &Layout, panel: &Panel, future: Option<&[Covariate]>) -> Self {
        let first = panel.first_stamp().unwrap_or(0);
        let mut words: Vec<Vec<String>> = Vec::new();
        for g in &layout.groupings {
            let mut w: Vec<String> = (0..panel.len()).filter_map(|i| panel.static_text(g, i)).map(str::to_owned).collect();
            w.sort_unstable();
            w.dedup();
            words.push(w);
        }
        let all: Vec<Member> = (0..panel.len())
            .map(|i| {
                let s = panel.series(i);
                let known: Vec<usize> = (0..s.y.len()).filter(|t| s.y[*t].is_finite()).collect();
                let levels = (0..known.len())
                    .map(|k| {
                        let part: Vec<f64> = known[(k + 1).saturating_sub(LEVEL)..=k].iter().map(|t| s.y[*t]).collect();
                        median(&part)
                    })
                    .collect();
                let n = s.y.len();
                let covariates = layout.covariates.iter().map(|name| {
                    let mut v = panel.covariate(name).map_or(Vec::new(), |c| c.of(i).to_vec());
                    if let Some(asked) = future.and_then(|f| f.iter().find(|c| c.name == *name)) {
                        let asked = asked.of(i).get(n..).unwrap_or(&[]);
                        v.resize(v.len().max(n + asked.len()), f64::NAN);
                        for (k, a) in asked.iter().enumerate().filter(|(_, a)| a.is_finite()) {
                            v[n + k] = *a;
                        }
                    }
                    v
                });
                let covariates: Vec<Vec<f64>> = covariates.collect();
                let market = layout.market.iter().map(|name| panel.covariate(name).map_or(&[][..], |c| c.of(i)));
                let seen = covariates.iter().map(Vec::as_slice).chain(market).map(|c| from_mean(&c[..n.min(c.len())]));
                let groups = layout.groupings.iter().zip(&words).map(|(g, w)| {
                    panel.static_text(g, i).and_then(|t| w.binary_search_by(|x| x.as_str().cmp(t)).ok()).map_or(0, |c| c + 1)
                });
                Member {
                    seen: seen.collect(),
                    covariates,
                    groups: std::iter::once(0).chain(groups).collect(),
                    begin: panel.freq().steps(first, s.start).and_then(|b| usize::try_from(b).ok()).unwrap_or(0),
                    y: s.y.to_vec(),
                    known,
                    levels,
                    code: i,
                }
            })
            .collect();
        let groups: Vec<Vec<Group>> = (0..=layout.groupings.len())
            .map(|g| {
                let n = all.iter().map(|m| m.groups[g] + 1).max().unwrap_or(0);
                (0..n).map(|k| Group::of(layout, all.iter().filter(|m| m.groups[g] == k))).collect()
            })
            .collect();
        let shared: Vec<f64> = groups.iter().map(|g| mean(&g.iter().flat_map(Group::shared).collect::<Vec<f64>>())).collect();
        let together = (0..shared.len()).max_by(|a, b| shared[*a].total_cmp(&shared[*b]).then(b.cmp(a))).unwrap_or(0);
        Self { all, groups, together, layout: layout.clone() }
    }

    /// The rungs on which the members of the narrowest group of series `i` stood at the last step before `o`.
    pub(super) fn rungs(&self, i: usize, o: usize) -> Option<&BTreeMap<i64, usize>> {
        let m = &self.all[i];
        // Series that move together stand on the fewest rungs; the groups that share most are taken.
        let g = self.together;
        self.groups[g][m.groups[g]].rungs.get((m.begin + o).checked_sub(1)?)
    }

    /// The mean path of the group of series `i` in a grouping, since the panel's first stamp.
    pub(super) fn path(&self, grouping: usize, i: usize) -> &[f64] {
        self.groups.get(grouping).and_then(|g| g.get(self.all[i].groups[grouping])).map_or(&[], |g| &g.path)
    }

    /// The group of a series whose members move together.
    pub(super) fn group(&self, m: &Member) -> usize {
        m.groups[self.together]
    }

    /// How many groupings there are, all series together being the first.
    pub(super) fn n_groupings(&self) -> usize {
        self.groups.len()
    }

    /// The groups of series `i` in all groupings but that of all series.
    pub(super) fn codes(&self, i: usize) -> impl Iterator<Item = f64> + '_ {
        self.all[i].groups[1..].iter().map(|g| *g as f64)
    }

    /// How many words each column of categories has.
    pub(super) fn words(&self) -> Vec<usize> {
        let mut words: Vec<usize> = self.groups[1..].iter().map(|g| g.len().max(1)).collect();
        if self.layout.by_series {
            words.push(self.all.len());
        }
        words
    }

    /// The `steps` steps of series `i` before step `o`, step by step: the last known price from the anchor in units of the
    /// level, whether this step's is known, where the groups stand, and the columns; all within `far`, zero where not known.
    pub(super) fn past(&self, i: usize, o: usize, steps: usize, far: f64) -> Vec<f32> {
        let m = &self.all[i];
        let (anchor, scale) = (m.anchor(o), m.scale(o));
        let usual = |v: f64| if v.is_finite() { v.clamp(-far, far) as f32 } else { 0.0 };
        let mut out = Vec::with_capacity(steps * self.layout.channels());
        let mut known = m.count(o.saturating_sub(steps));
        for back in (1..=steps).rev() {
            let Some(t) = o.checked_sub(back) else {
                out.extend(std::iter::repeat_n(0.0, self.layout.channels()));
                continue;
            };
            known += usize::from(m.known.get(known) == Some(&t));
            let last = known.checked_sub(1).map_or(f64::NAN, |k| m.y[m.known[k]]);
            out.extend([usual((last - anchor) / scale), f32::from(u8::from(m.y[t].is_finite()))]);
            let of_groups = self.groups.iter().zip(&m.groups);
            out.extend(of_groups.map(|(g, k)| usual(g[*k].ratio.get(m.begin + t).copied().unwrap_or(f64::NAN) - 1.0)));
            out.extend(m.seen.iter().map(|c| usual(c.get(t).copied().unwrap_or(f64::NAN))));
        }
        out
    }

    /// Appends what the groups of series `i` did before step `o`, and what is planned for them at step `t`.
    pub(super) fn of_groups(&self, i: usize, o: usize, t: usize, out: &mut Vec<f64>) {
        let m = &self.all[i];
        let state = m.state(t);
        let (end, at) = (m.begin + o, m.begin + t);
        for (g, kinds) in self.groups.iter().enumerate() {
            let group = &kinds[m.groups[g]];
            let of = |values: &[f64], back: usize| end.checked_sub(back).and_then(|t| values.get(t)).copied().unwrap_or(f64::NAN);
            let near: Vec<f64> = (1..=4).map(|k| of(&group.ratio, k)).filter(|v| v.is_finite()).collect();
            out.extend([of(&group.ratio, 1), mean(&near), of(&group.since_reduced, 1)]);
            out.extend(group.covariates.iter().map(|c| c.get(at).copied().unwrap_or(f64::NAN)));
            if !self.layout.covariates.is_empty() {
                let alike = group.alike.get(&state).map_or(&[][..], |a| &a[..a.partition_point(|(t, _)| *t < end)]);
                let near: Vec<f64> = alike[alike.len().saturating_sub(4)..].iter().map(|a| a.1).collect();
                out.push(mean(&near));
            }
        }
    }

    /// Appends the row of the step `ahead` places after the first `o` steps of series `i`; `way` is the usual one from there.
    pub(super) fn row(&self, i: usize, o: usize, ahead: usize, way: &Way, out: &mut Vec<f64>) {
        let m = &self.all[i];
        let layout = &self.layout;
        let scale = m.scale(o);
        let by = |v: f64| v / scale;
        let from = out.len();
        let k = m.count(o);
        let past = m.last(o, 52);
        let tail = |n: usize| &past[past.len().saturating_sub(n)..];
        out.extend((1..=LASTS).map(|j| past.len().checked_sub(j).map_or(f64::NAN, |p| by(past[p]))));
        for w in WINDOWS {
            let part = tail(w);
            let low = part.iter().copied().fold(f64::INFINITY, f64::min);
            let high = part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            out.extend([by(mean(part)), by(median(part)), by(low), by(high)]);
        }
        let recent = tail(LEVEL);
        let mut sorted = recent.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        // The regular price: what three of four prices do not exceed.
        let regular = sorted.get((sorted.len() * 3 / 4).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN);
        let reduced = |v: &f64| *v < REDUCED * regular;
        let share = |part: &[f64]| part.iter().filter(|v| reduced(v)).count() as f64 / part.len().max(1) as f64;
        let since = |is: bool| past.iter().rev().position(|v| reduced(v) == is).map_or(60.0, |p| p as f64);
        let last = past.last().copied().unwrap_or(f64::NAN);
        // Where prices do not move in steps, chance repeats tell nothing.
        let (usual, unchanged) = if m.stepped(layout, o) {
            let same = |v: &f64| layout.rung(*v) == layout.rung(last);
            (commonest(layout, recent), past.iter().rev().take_while(|v| same(v)).count())
        } else {
            (median(recent), 0)
        };
        out.extend([by(usual), by(regular), share(tail(8)), share(recent), since(true), since(false), unchanged as f64]);
        out.extend([ahead as f64, k as f64]);
        let t = o + ahead - 1;
        if layout.year > 0 {
            let then = t as i64 - layout.year as i64;
            let end = o as i64;
            out.extend([
                ((m.begin + t) % layout.year) as f64,
                by(way.at(self, ahead)),
                by(m.between(then, (then + 1).min(end))),
                by(m.between(then - 2, (then + 3).min(end))),
            ]);
        }
        let state = m.state(t);
        if !layout.covariates.is_empty() {
            let of = |same: bool| m.known[k.saturating_sub(52)..k].iter().rev().filter(move |p| (m.state(**p) == state) == same);
            let alike: Vec<f64> = of(true).map(|p| m.y[*p]).collect();
            let other = of(false).next().map_or(f64::NAN, |p| m.y[*p]);
            out.extend([
                by(alike.first().copied().unwrap_or(f64::NAN)),
                by(mean(&alike[..alike.len().min(4)])),
                alike.len() as f64 / k.clamp(1, 52) as f64,
                by(other),
            ]);
        }
        for c in &m.covariates {
            let at = |t: Option<usize>| t.and_then(|t| c.get(t)).copied().unwrap_or(f64::NAN);
            out.extend([at(Some(t)), at(t.checked_sub(1)), at(Some(t + 1)), at(o.checked_sub(1))]);
        }
        self.of_groups(i, o, t, out);
        out.extend(self.codes(i));
        if layout.by_series {
            out.push(m.code as f64);
        }
        out[from..].iter_mut().filter(|v| v.is_infinite()).for_each(|v| *v = f64::NAN);
    }
}

impl Group {
    /// For each step the share of members on the commonest rung.
    fn shared(&self) -> impl Iterator<Item = f64> + '_ {
        self.rungs.iter().filter_map(|r| {
            let n: usize = r.values().sum();
            r.values().max().filter(|_| n > 1).map(|most| *most as f64 / n as f64)
        })
    }

    fn of<'a>(layout: &Layout, members: impl Iterator<Item = &'a Member>) -> Self {
        let mut sums: Vec<(f64, f64)> = Vec::new();
        let mut columns: Vec<Vec<(f64, f64)>> = vec![Vec::new(); layout.covariates.len()];
        let mut alike: BTreeMap<u64, BTreeMap<usize, (f64, f64)>> = BTreeMap::new();
        let mut rungs: Vec<BTreeMap<i64, usize>> = Vec::new();
        let add = |to: &mut Vec<(f64, f64)>, t: usize, v: f64| {
            if v.is_finite() {
                if to.len() <= t {
                    to.resize(t + 1, (0.0, 0.0));
                }
                to[t].0 += v;
                to[t].1 += 1.0;
            }
        };
        let mut latest: Vec<(f64, f64)> = Vec::new();
        for m in members {
            let mut last = f64::NAN;
            for (t, y) in m.y.iter().enumerate() {
                last = if y.is_finite() { *y } else { last };
                add(&mut latest, m.begin + t, last);
            }
            for (k, t) in m.known.iter().enumerate() {
                let level = if m.levels[k].abs() > 0.0 { m.levels[k].abs() } else { 1.0 };
                let ratio = m.y[*t] / level;
                let at = m.begin + t;
                add(&mut sums, at, ratio);
                if !layout.covariates.is_empty() && ratio.is_finite() {
                    let cell = alike.entry(m.state(*t)).or_default().entry(at).or_default();
                    *cell = (cell.0 + ratio, cell.1 + 1.0);
                }
                if rungs.len() <= at {
                    rungs.resize(at + 1, BTreeMap::new());
                }
                *rungs[at].entry(layout.rung(m.y[*t]) as i64).or_default() += 1;
            }
            for (to, c) in columns.iter_mut().zip(&m.covariates) {
                c.iter().enumerate().for_each(|(t, v)| add(to, m.begin + t, *v));
            }
        }
        let means = |v: Vec<(f64, f64)>| v.into_iter().map(|(s, n)| s / n).collect::<Vec<f64>>();
        let ratio = means(sums);
        let mut since = 60.0_f64;
        let since_reduced = ratio.iter().map(|r| {
            since = if *r < REDUCED { 0.0 } else { (since + 1.0).min(60.0) };
            since
        });
        Self {
            since_reduced: since_reduced.collect(),
            path: means(latest),
            ratio,
            covariates: columns.into_iter().map(means).collect(),
            alike: alike.into_iter().map(|(s, c)| (s, c.into_iter().map(|(t, (s, n))| (t, s / n)).collect())).collect(),
            rungs,
        }
    }
}

/// Values from their mean, in units of it or of their deviation, whichever is larger.
fn from_mean(values: &[f64]) -> Vec<f64> {
    let known: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let middle = mean(&known);
    let deviation = mean(&known.iter().map(|v| (v - middle) * (v - middle)).collect::<Vec<f64>>()).sqrt();
    let size = if middle.abs().max(deviation) > 0.0 { middle.abs().max(deviation) } else { 1.0 };
    values.iter().map(|v| (v - middle) / size).collect()
}

/// The commonest price, the later one of two equally common.
pub(super) fn commonest(layout: &Layout, values: &[f64]) -> f64 {
    let mut counts: Vec<(f64, usize, usize, f64)> = Vec::new();
    for (t, v) in values.iter().enumerate() {
        let rung = layout.rung(*v);
        match counts.iter_mut().find(|c| c.0 == rung) {
            Some(c) => *c = (rung, c.1 + 1, t, *v),
            None => counts.push((rung, 1, t, *v)),
        }
    }
    counts.iter().max_by_key(|c| (c.1, c.2)).map_or(f64::NAN, |c| c.3)
}
