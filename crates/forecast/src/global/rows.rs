//! Rows for learning: what is known at an origin of a step so many places ahead.

use super::history::History;
use super::leading::{Leading, Track};
use crate::features::phase;
use serde::{Deserialize, Serialize};
use tradewind_core::calendar::{Calendar, CalendarTable, Region};
use tradewind_core::freq::Unit;
use tradewind_core::{Covariate, Freq, Panel, Stamp, StaticValues};
use tradewind_learn::ColumnKind;

/// Static columns of texts with more groups than series ÷ this are names, not groups.
const GROUPS_PER_SERIES: usize = 2;

/// Which columns rows have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) freq: Freq,
    pub(crate) season: usize,
    /// Steps of a year as whole seasons; 0 where there is none.
    pub(crate) year: usize,
    /// The furthest step that is learnt.
    pub(crate) horizon: usize,
    pub(crate) windows: Vec<usize>,
    /// Columns known ahead.
    pub(crate) covariates: Vec<String>,
    /// Groups of series whose sums tell about their members: the first is all series.
    pub(crate) groupings: Vec<String>,
    /// Static columns: the name and, for texts, the words by code.
    pub(crate) statics: Vec<(String, Option<Vec<String>>)>,
    pub(crate) regions: Option<Vec<Region>>,
    /// Whether each series is a category of its own.
    pub(crate) by_series: bool,
    /// Columns that run ahead of the target.
    #[serde(default)]
    pub(crate) leading: Leading,
    pub(crate) names: Vec<String>,
    pub(crate) categories: Vec<bool>,
}

/// Steps back at one phase.
const PHASES: usize = 4;
/// Over how many earlier seasons phases are averaged.
const PHASE_MEANS: [usize; 3] = [4, 8, 26];
/// The last values.
const LASTS: usize = 3;

impl Plan {
    pub(crate) fn new(
        panel: &Panel,
        season: usize,
        horizon: usize,
        regions: Option<Vec<Region>>,
        by_series: bool,
    ) -> Self {
        let freq = panel.freq();
        let longest = panel.iter().map(|s| s.y.len()).max().unwrap_or(0);
        let per_year = freq.steps_per_year().map_or(0, |y| (y / season as f64).floor() as usize * season);
        let year = if per_year > 1 && longest > per_year + per_year / 8 { per_year } else { 0 };
        let mut windows: Vec<usize> = match freq.unit {
            Unit::Week => vec![2, 4, 8, 13, 26, 52],
            Unit::Month | Unit::MonthEnd => vec![2, 3, 6, 12, 24],
            _ => vec![season, 2 * season, 4 * season, 8 * season, 13 * season, 26 * season, year],
        };
        windows.retain(|w| *w > 1 && *w <= longest);
        windows.sort_unstable();
        windows.dedup();
        let covariates =
            panel.covariates().iter().filter(|c| c.known_ahead).map(|c| c.name.clone()).collect();
        let mut groupings = vec![String::new()];
        let mut statics = Vec::new();
        for column in panel.statics() {
            match &column.values {
                StaticValues::Number(_) => statics.push((column.name.clone(), None)),
                StaticValues::Text(values) => {
                    let mut words: Vec<String> = values.iter().flatten().cloned().collect();
                    words.sort_unstable();
                    words.dedup();
                    if words.len() > 1 && words.len() * GROUPS_PER_SERIES <= panel.len() {
                        groupings.push(column.name.clone());
                        statics.push((column.name.clone(), Some(words)));
                    }
                }
            }
        }
        let mut plan = Self {
            freq,
            season,
            year,
            horizon,
            windows,
            covariates,
            groupings,
            statics,
            regions,
            by_series,
            leading: Leading::default(),
            names: Vec::new(),
            categories: Vec::new(),
        };
        plan.name();
        plan
    }

    /// The same plan with columns that lead, behind all others.
    pub(crate) fn with_leading(mut self, leading: Leading) -> Self {
        let names = leading.names();
        self.categories.extend(names.iter().map(|_| false));
        self.names.extend(names);
        self.leading = leading;
        self
    }

    /// Steps that tell the level a series has now.
    pub(crate) fn recent(&self) -> usize {
        match self.freq.unit {
            Unit::Week => 8,
            Unit::Month | Unit::MonthEnd => 6,
            _ => 4 * self.season,
        }
    }

    fn half_year_window(&self) -> usize {
        if self.year == self.season { 1 } else { self.season / 2 }
    }

    pub(crate) fn calendar(&self) -> Option<Calendar> {
        self.regions.as_ref().map(|r| Calendar::new(r))
    }

    fn name(&mut self) {
        let mut names: Vec<String> = (1..=LASTS).map(|k| format!("last_{k}")).collect();
        names.extend(self.windows.iter().map(|w| format!("mean_{w}")));
        names.extend(["fast", "slow", "spread", "activity", "activity_long", "pause", "age", "steps_ahead"].map(String::from));
        if self.season > 1 {
            names.extend((1..=PHASES).map(|k| format!("phase_{k}")));
            names.extend(PHASE_MEANS.iter().map(|k| format!("phase_mean_{k}")));
            names.push("expected_by_phase".into());
        }
        if self.year > 0 {
            names.extend(["year_ago", "around_year_ago", "year_growth", "expected_by_year"].map(String::from));
        }
        for g in &self.groupings {
            let of = |what: &str| if g.is_empty() { format!("all:{what}") } else { format!("{g}:{what}") };
            names.push(of("momentum"));
            if self.season > 1 {
                names.push(of("phase"));
            }
            if self.year > 0 {
                names.push(of("year"));
            }
        }
        for c in &self.covariates {
            names.extend(["level", "change", "before", "after"].map(|k| format!("{c}:{k}")));
        }
        names.push("step_of_season".into());
        if let Some(calendar) = self.calendar() {
            names.extend(CalendarTable::new(&calendar, self.freq, 0, 0).names().iter().cloned());
        }
        self.categories = vec![false; names.len()];
        for (name, words) in &self.statics {
            names.push(name.clone());
            self.categories.push(words.is_some());
        }
        if self.by_series {
            names.push("series".into());
            self.categories.push(true);
        }
        self.names = names;
    }

    pub(crate) fn kinds(&self) -> Vec<ColumnKind> {
        self.categories.iter().map(|c| if *c { ColumnKind::Category } else { ColumnKind::Number }).collect()
    }
}

/// One series as rows see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) history: History,
    /// The stamp of its first value.
    pub(crate) start: Stamp,
    /// Where it begins in the sums of its groups.
    pub(crate) begins: Vec<usize>,
    /// Which group of each grouping it is in.
    pub(crate) groups: Vec<usize>,
    /// Static values, texts as codes.
    pub(crate) statics: Vec<f64>,
    /// Columns known ahead, from its first value on.
    pub(crate) covariates: Vec<Vec<f64>>,
    /// Their means over the history.
    pub(crate) usual: Vec<f64>,
    /// Columns that lead, from its first value on.
    pub(crate) leads: Vec<Track>,
    /// Its number among all series.
    pub(crate) code: usize,
}

impl Member {
    /// The same series as if nothing were known of it but the `keep` values before place `o`, and plans up to `ahead`
    /// places after it: so a model learns what to say of series that are new.
    pub(crate) fn forgetting(&self, plan: &Plan, o: usize, keep: usize, ahead: usize) -> Self {
        let from = o - keep.min(o);
        Self {
            history: History::new(&self.history.values()[from..o], plan.season),
            start: plan.freq.add(self.start, from as i64),
            begins: self.begins.iter().map(|b| b + from).collect(),
            groups: self.groups.clone(),
            statics: self.statics.clone(),
            covariates: self
                .covariates
                .iter()
                .map(|c| c.get(from..c.len().min(o + ahead + 1)).unwrap_or(&[]).to_vec())
                .collect(),
            usual: self.usual.clone(),
            leads: self.leads.iter().map(|t| t.between(from, o)).collect(),
            code: self.code,
        }
    }
}

/// All series with the sums of their groups.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(crate) all: Vec<Member>,
    /// For each grouping the sums of its groups.
    sums: Vec<Vec<History>>,
}

impl Members {
    pub(crate) fn new(plan: &Plan, panel: &Panel, future: Option<&[Covariate]>) -> Self {
        let first = panel.first_stamp().unwrap_or(0);
        let texts = |name: &str, i: usize| panel.static_text(name, i);
        let mut all = Vec::with_capacity(panel.len());
        for i in 0..panel.len() {
            let s = panel.series(i);
            let skip = s.y.iter().position(|v| v.is_finite()).unwrap_or(s.y.len());
            let start = s.ds(skip);
            let statics = plan.statics.iter().map(|(name, words)| match words {
                Some(words) => texts(name, i)
                    .and_then(|t| words.binary_search_by(|w| w.as_str().cmp(t)).ok())
                    .map_or(f64::NAN, |c| c as f64),
                None => panel.statics().iter().find(|c| c.name == *name).map_or(f64::NAN, |c| match &c.values {
                    StaticValues::Number(v) => v[i],
                    StaticValues::Text(_) => f64::NAN,
                }),
            });
            let statics: Vec<f64> = statics.collect();
            let groups = plan.groupings.iter().map(|g| {
                let at = plan.statics.iter().position(|(name, _)| name == g);
                at.map(|k| statics[k]).filter(|c| c.is_finite()).map_or(0, |c| c as usize + 1)
            });
            let n = s.y.len();
            let covariates: Vec<Vec<f64>> = plan
                .covariates
                .iter()
                .map(|name| {
                    let mut values = panel.covariate(name).map_or(Vec::new(), |c| c.of(i)[skip.min(c.of(i).len())..].to_vec());
                    if let Some(asked) = future.and_then(|f| f.iter().find(|c| c.name == *name)) {
                        let asked = asked.of(i).get(n..).unwrap_or(&[]);
                        values.resize(values.len().max(n - skip + asked.len()), f64::NAN);
                        for (k, v) in asked.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                            values[n - skip + k] = *v;
                        }
                    }
                    values
                })
                .collect();
            let usual = covariates
                .iter()
                .map(|c| {
                    let known: Vec<f64> = c[..(n - skip).min(c.len())].iter().copied().filter(|v| v.is_finite()).collect();
                    if known.is_empty() { f64::NAN } else { known.iter().sum::<f64>() / known.len() as f64 }
                })
                .collect();
            let begin = usize::try_from(plan.freq.steps(first, start).unwrap_or(0)).unwrap_or(0);
            all.push(Member {
                history: History::new(&s.y[skip..], plan.season),
                start,
                begins: vec![begin; plan.groupings.len()],
                groups: groups.collect(),
                statics,
                covariates,
                usual,
                leads: plan.leading.tracks(panel, i, skip),
                code: i,
            });
        }
        let sums = (0..plan.groupings.len())
            .map(|g| {
                let n_groups = all.iter().map(|m| m.groups[g] + 1).max().unwrap_or(0);
                let mut totals = vec![Vec::<f64>::new(); n_groups];
                for m in &all {
                    let total = &mut totals[m.groups[g]];
                    let (from, values) = (m.begins[g], m.history.values());
                    if total.len() < from + values.len() {
                        total.resize(from + values.len(), 0.0);
                    }
                    total[from..].iter_mut().zip(values).for_each(|(t, v)| *t += v);
                }
                totals.iter().map(|t| History::new(t, plan.season)).collect()
            })
            .collect();
        Self { all, sums }
    }

    /// Appends to each series what is expected of its next steps, `steps` values a series, as if it had come true.
    pub(crate) fn expect(&mut self, plan: &Plan, said: &[Vec<f64>]) {
        let steps = said.first().map_or(0, Vec::len);
        for k in 0..steps {
            for (m, values) in self.all.iter_mut().zip(said) {
                m.history.push_expected(values[k], plan.recent());
            }
        }
        for (g, sums) in self.sums.iter_mut().enumerate() {
            let mut totals = vec![Vec::<f64>::new(); sums.len()];
            for m in &self.all {
                let (total, known) = (&mut totals[m.groups[g]], sums[m.groups[g]].len());
                let from = m.begins[g] + m.history.len() - steps;
                for (k, v) in m.history.values()[m.history.len() - steps..].iter().enumerate() {
                    // Series that ended before the others count from where the sums end.
                    let Some(at) = (from + k).checked_sub(known) else { continue };
                    if total.len() <= at {
                        total.resize(at + 1, 0.0);
                    }
                    total[at] += v;
                }
            }
            sums.iter_mut().zip(totals).for_each(|(sum, total)| total.iter().for_each(|v| sum.push(*v)));
        }
    }

    /// Appends the row of the step `ahead` places after the first `o` values of series `i`, values divided by `scale`.
    pub(crate) fn row(
        &self,
        plan: &Plan,
        i: usize,
        o: usize,
        ahead: usize,
        scale: f64,
        calendar: Option<&CalendarTable>,
        out: &mut Vec<f64>,
    ) {
        self.row_of(plan, &self.all[i], o, ahead, scale, calendar, out);
    }

    /// [`Members::row`] of a series as it is given, whose groups are those of `self`.
    pub(crate) fn row_of(
        &self,
        plan: &Plan,
        m: &Member,
        o: usize,
        ahead: usize,
        scale: f64,
        calendar: Option<&CalendarTable>,
        out: &mut Vec<f64>,
    ) {
        let h = &m.history;
        let by = 1.0 / scale;
        out.extend((1..=LASTS).map(|k| h.back(o, k) * by));
        out.extend(plan.windows.iter().map(|w| h.mean(o, *w) * by));
        let recent = plan.recent();
        let level = h.level(o, recent);
        out.extend([h.fast(o) * by, h.slow(o) * by, h.spread(o, recent) * by]);
        out.extend([h.activity(o, recent), h.activity(o, 4 * recent), h.pause(o), o as f64, ahead as f64]);
        if plan.season > 1 {
            out.extend((1..=PHASES).map(|k| h.phase(o, ahead, k) * by));
            out.extend(PHASE_MEANS.iter().map(|k| h.phase_mean(o, ahead, *k) * by));
            out.push(ratio(h.phase_mean(o, ahead, PHASE_MEANS[1]), h.level(o, PHASE_MEANS[1] * plan.season)) * level * by);
        }
        if plan.year > 0 {
            let half = plan.half_year_window();
            let around = h.around(o, ahead, plan.year, half);
            let growth = o.checked_sub(plan.year).map_or(f64::NAN, |past| ratio(level, h.mean(past, recent)));
            out.extend([h.around(o, ahead, plan.year, 0) * by, around * by, growth, around * growth * by]);
        }
        for (g, sums) in self.sums.iter().enumerate() {
            let sum = &sums[m.groups[g]];
            // A series of a few steps has its level from these, so its group's year is measured on as many.
            let own = recent.min(o.max(1));
            let o = (m.begins[g] + o).min(sum.len());
            let now = sum.level(o, recent);
            out.push(ratio(sum.level(o, (recent / 4).max(1)), now));
            if plan.season > 1 {
                out.push(ratio(sum.phase_mean(o, ahead, PHASE_MEANS[1]), sum.level(o, PHASE_MEANS[1] * plan.season)));
            }
            if plan.year > 0 {
                let past = o.checked_sub(plan.year).map_or(f64::NAN, |past| sum.mean(past, own));
                out.push(ratio(sum.around(o, ahead, plan.year, plan.half_year_window()), past));
            }
        }
        let t = o + ahead - 1;
        for (values, usual) in m.covariates.iter().zip(&m.usual) {
            let at = |t: usize| values.get(t).copied().unwrap_or(f64::NAN);
            let size = if usual.abs() > 1e-12 { usual.abs() } else { 1.0 };
            let before = t.checked_sub(1).map_or(f64::NAN, at);
            out.extend([(at(t) - usual) / size, (at(t) - before) / size, (before - usual) / size, (at(t + 1) - usual) / size]);
        }
        let stamp = plan.freq.add(m.start, t as i64);
        out.push(phase(plan.freq, stamp, plan.season) as f64);
        if let Some(calendar) = calendar {
            out.extend(calendar.at(stamp).unwrap_or(&[]));
        }
        out.extend(&m.statics);
        if plan.by_series {
            out.push(m.code as f64);
        }
        plan.leading.row(&m.leads, h, (o, ahead), (plan.season, recent), scale, out);
    }
}

/// A ratio that stays within reason.
fn ratio(a: f64, b: f64) -> f64 {
    let r = a / b;
    if r.is_finite() { r.clamp(-20.0, 20.0) } else { f64::NAN }
}
