//! Many time series in long form.

use crate::error::{Error, Result};
use crate::freq::{Freq, Stamp};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A borrowed view of one series: what classical methods receive.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The series' name.
    pub id: &'a str,
    /// The spacing of the observations.
    pub freq: Freq,
    /// The stamp of the first observation.
    pub start: Stamp,
    /// The observations, one per step; NaN where unknown.
    pub y: &'a [f64],
}

impl<'a> Series<'a> {
    /// A counted series without a calendar, for tests and for numbers that have none.
    pub fn counted(y: &'a [f64]) -> Self {
        Self { id: "series", freq: Freq::STEP, start: 1, y }
    }

    /// The stamp of observation `i` (also beyond the end).
    pub fn ds(&self, i: usize) -> Stamp {
        self.freq.add(self.start, i as i64)
    }
}

/// A numeric column beside `y`. `values` of series `i` are `values[offsets[i]..offsets[i + 1]]`; the first one
/// stands beside the series' first observation. A column known ahead (`known_ahead`) has more values than the series,
/// one for each future step known; any other has exactly as many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Covariate {
    /// The column's name.
    pub name: String,
    /// Whether values beyond the last observation are known (price plans, promotions, calendars).
    pub known_ahead: bool,
    /// Where each series begins; one more than there are series.
    pub offsets: Vec<usize>,
    /// The values; NaN where unknown.
    pub values: Vec<f64>,
}

impl Covariate {
    /// The values of series `i`.
    pub fn of(&self, i: usize) -> &[f64] {
        &self.values[self.offsets[i]..self.offsets[i + 1]]
    }
}

/// A column with one value a series: category, brand, shop, title, cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaticColumn {
    /// The column's name.
    pub name: String,
    /// One value a series.
    pub values: StaticValues,
}

/// The values of a [`StaticColumn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StaticValues {
    /// Texts or categories.
    Text(Vec<Option<String>>),
    /// Numbers; NaN where unknown.
    Number(Vec<f64>),
}

/// Many series of one frequency: `unique_id`, `ds`, `y`, with columns beside them.
///
/// Invariant: every series is on its own gapless grid from its start; a missing observation is NaN; `offsets` has one
/// entry more than `ids`, and ids are distinct and sorted.
///
/// ```
/// use tradewind_core::{Panel, Freq, freq::parse_stamp};
/// let day = |d: &str| parse_stamp(d).unwrap();
/// let panel = Panel::from_rows(
///     Freq::DAILY,
///     vec![("b", day("2024-01-01"), 1.0), ("a", day("2024-01-03"), 2.0), ("a", day("2024-01-01"), 5.0)],
/// ).unwrap();
/// assert_eq!(panel.ids(), ["a", "b"]);
/// assert_eq!(panel.series(0).y[0], 5.0);
/// assert!(panel.series(0).y[1].is_nan());
/// assert_eq!(panel.series(0).y[2], 2.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    freq: Freq,
    ids: Vec<String>,
    starts: Vec<Stamp>,
    offsets: Vec<usize>,
    y: Vec<f64>,
    covariates: Vec<Covariate>,
    statics: Vec<StaticColumn>,
}

impl Panel {
    /// An empty panel.
    pub fn empty(freq: Freq) -> Self {
        Self {
            freq,
            ids: vec![],
            starts: vec![],
            offsets: vec![0],
            y: vec![],
            covariates: vec![],
            statics: vec![],
        }
    }

    /// From series that are on their grid already. Ids need not be sorted, but must be distinct.
    pub fn from_series(freq: Freq, series: Vec<(String, Stamp, Vec<f64>)>) -> Result<Self> {
        let mut series = series;
        series.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(w) = series.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(Error::Invalid(format!("series `{}` is given twice", w[0].0)));
        }
        let mut panel = Self::empty(freq);
        for (id, start, y) in series {
            if let Some(v) = y.iter().find(|v| v.is_infinite()) {
                return Err(Error::Invalid(format!(
                    "series `{id}` has the value {v}; use finite numbers or leave it empty"
                )));
            }
            panel.ids.push(id);
            panel.starts.push(start);
            panel.y.extend(y);
            panel.offsets.push(panel.y.len());
        }
        Ok(panel)
    }

    /// From rows in any order. Gaps become NaN; a stamp off the grid or given twice is an error that names it.
    pub fn from_rows<S: AsRef<str>>(freq: Freq, rows: Vec<(S, Stamp, f64)>) -> Result<Self> {
        let mut rows = rows;
        rows.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()).then(a.1.cmp(&b.1)));
        let mut series = Vec::new();
        let mut at = 0;
        while at < rows.len() {
            let id = rows[at].0.as_ref();
            let end = at + rows[at..].iter().take_while(|r| r.0.as_ref() == id).count();
            let start = rows[at].1;
            let mut y: Vec<f64> = Vec::with_capacity(end - at);
            for (_, ds, value) in &rows[at..end] {
                let k = freq.steps(start, *ds).ok_or_else(|| {
                    Error::Invalid(format!(
                        "series `{id}`: {} is not on the {freq} grid that starts at {}; choose another --freq or mend the date",
                        freq.format(*ds),
                        freq.format(start)
                    ))
                })? as usize;
                if k < y.len() {
                    return Err(Error::Invalid(format!(
                        "series `{id}`: {} is given twice; sum or drop the duplicates",
                        freq.format(*ds)
                    )));
                }
                if k - y.len() > 10_000_000 {
                    return Err(Error::Invalid(format!(
                        "series `{id}`: more than ten million steps lie before {}; is the date right?",
                        freq.format(*ds)
                    )));
                }
                y.resize(k, f64::NAN);
                y.push(*value);
            }
            series.push((id.to_owned(), start, y));
            at = end;
        }
        Self::from_series(freq, series)
    }

    /// The same panel with one more numeric column. Its offsets must match the series (see [`Covariate`]).
    pub fn with_covariate(mut self, column: Covariate) -> Result<Self> {
        let fits = column.offsets.len() == self.offsets.len()
            && column.offsets.last() == Some(&column.values.len())
            && (0..self.len()).all(|i| {
                let (n, m) =
                    (self.offsets[i + 1] - self.offsets[i], column.offsets[i + 1] - column.offsets[i]);
                if column.known_ahead { m >= n } else { m == n }
            });
        if !fits || self.covariate(&column.name).is_some() {
            return Err(Error::Invalid(format!(
                "column `{}` does not fit the panel's series, or is there already",
                column.name
            )));
        }
        self.covariates.push(column);
        Ok(self)
    }

    /// The same panel with only those numeric columns for which `keep` is true.
    pub fn keep_covariates(mut self, keep: impl FnMut(&Covariate) -> bool) -> Self {
        self.covariates.retain(keep);
        self
    }

    /// The same panel with these numeric columns in place of its own. Each must fit as [`Panel::with_covariate`] tells.
    pub fn with_covariates_replaced(mut self, columns: Vec<Covariate>) -> Result<Self> {
        self.covariates = Vec::with_capacity(columns.len());
        columns.into_iter().try_fold(self, Self::with_covariate)
    }

    /// The same panel with one more column of one value a series, in the order of [`Panel::ids`].
    pub fn with_static(mut self, column: StaticColumn) -> Result<Self> {
        let n = match &column.values {
            StaticValues::Text(v) => v.len(),
            StaticValues::Number(v) => v.len(),
        };
        if n != self.len() {
            return Err(Error::Invalid(format!(
                "column `{}` has {n} values for {} series",
                column.name,
                self.len()
            )));
        }
        self.statics.push(column);
        Ok(self)
    }

    /// The spacing of the observations.
    pub fn freq(&self) -> Freq {
        self.freq
    }

    /// How many series.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The series' names, sorted.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The position of a series.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.ids.binary_search_by(|x| x.as_str().cmp(id)).ok()
    }

    /// Series `i`.
    pub fn series(&self, i: usize) -> Series<'_> {
        Series {
            id: &self.ids[i],
            freq: self.freq,
            start: self.starts[i],
            y: &self.y[self.offsets[i]..self.offsets[i + 1]],
        }
    }

    /// All series in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Series<'_>> {
        (0..self.len()).map(|i| self.series(i))
    }

    /// The latest stamp that any series has.
    pub fn last_stamp(&self) -> Option<Stamp> {
        self.iter().filter(|s| !s.y.is_empty()).map(|s| s.ds(s.y.len() - 1)).max()
    }

    /// The earliest stamp that any series has.
    pub fn first_stamp(&self) -> Option<Stamp> {
        self.iter().filter(|s| !s.y.is_empty()).map(|s| s.start).min()
    }

    /// The numeric columns beside `y`.
    pub fn covariates(&self) -> &[Covariate] {
        &self.covariates
    }

    /// The numeric column of that name.
    pub fn covariate(&self, name: &str) -> Option<&Covariate> {
        self.covariates.iter().find(|c| c.name == name)
    }

    /// The columns with one value a series.
    pub fn statics(&self) -> &[StaticColumn] {
        &self.statics
    }

    /// The text of a static column for series `i`.
    pub fn static_text(&self, name: &str, i: usize) -> Option<&str> {
        match &self.statics.iter().find(|c| c.name == name)?.values {
            StaticValues::Text(v) => v[i].as_deref(),
            StaticValues::Number(_) => None,
        }
    }

    /// The same series with other observations: `change` gets each series and gives as many values as it had.
    pub fn map_y(&self, mut change: impl FnMut(Series<'_>) -> Vec<f64>) -> Self {
        let mut out = self.clone();
        for i in 0..self.len() {
            let y = change(self.series(i));
            debug_assert_eq!(y.len(), self.offsets[i + 1] - self.offsets[i]);
            out.y[self.offsets[i]..self.offsets[i + 1]].copy_from_slice(&y);
        }
        out
    }

    /// What was known at `cutoff`: observations and columns up to and including it. Series that begin later are left
    /// out; columns known ahead keep their values, since they were planned.
    pub fn as_of(&self, cutoff: Stamp) -> Self {
        self.slice(|s| {
            let n = s.y.len();
            // On calendar grids the count is found by bisection, since months have unequal length.
            let (mut lo, mut hi) = (0, n);
            while lo < hi {
                let mid = (lo + hi) / 2;
                if s.ds(mid) <= cutoff { lo = mid + 1 } else { hi = mid }
            }
            lo
        })
    }

    /// This panel with observations that follow its own; steps between are NaN, columns that `newer` lacks go on as NaN,
    /// plans in `newer` take the place of earlier ones. Fails on another frequency, on series that are not in this panel
    /// and on observations that are known already.
    pub fn followed_by(&self, newer: &Self) -> Result<Self> {
        if newer.freq != self.freq {
            return Err(Error::Invalid(format!(
                "the series are {} data and the newer observations {} data",
                self.freq, newer.freq
            )));
        }
        // Per series: its number in `newer` and the steps between.
        let mut goes_on: Vec<Option<(usize, usize)>> = vec![None; self.len()];
        for (k, s) in newer.iter().enumerate().filter(|(_, s)| !s.y.is_empty()) {
            let Some(i) = self.position(s.id) else {
                return Err(Error::Invalid(format!(
                    "series `{}` is not known; fit again to take it in",
                    s.id
                )));
            };
            let own = self.series(i);
            let next = own.ds(own.y.len());
            let gap = self.freq.steps(next, s.start).and_then(|g| usize::try_from(g).ok());
            let Some(gap) = gap.filter(|g| *g <= 1_000_000) else {
                return Err(Error::Invalid(format!(
                    "series `{}` goes on at {}, but the newer observations begin at {}",
                    s.id,
                    self.freq.format(next),
                    self.freq.format(s.start)
                )));
            };
            goes_on[i] = Some((k, gap));
        }
        let mut out = Self::empty(self.freq);
        out.ids.clone_from(&self.ids);
        out.starts.clone_from(&self.starts);
        out.statics.clone_from(&self.statics);
        for (i, more) in goes_on.iter().enumerate() {
            out.y.extend(self.series(i).y);
            if let Some((k, gap)) = more {
                out.y.extend(std::iter::repeat_n(f64::NAN, *gap));
                out.y.extend(newer.series(*k).y);
            }
            out.offsets.push(out.y.len());
        }
        for column in &self.covariates {
            let mut grown = Covariate { offsets: vec![0], values: Vec::new(), ..column.clone() };
            for (i, more) in goes_on.iter().enumerate() {
                let mut values = column.of(i).to_vec();
                let n = out.offsets[i + 1] - out.offsets[i];
                values.resize(values.len().max(n), f64::NAN);
                if let Some((k, gap)) = more {
                    let from = self.offsets[i + 1] - self.offsets[i] + gap;
                    let given = newer.covariate(&column.name).map_or(&[][..], |c| c.of(*k));
                    values.resize(values.len().max(from + given.len()), f64::NAN);
                    values[from..]
                        .iter_mut()
                        .zip(given)
                        .filter(|(_, v)| v.is_finite())
                        .for_each(|(to, v)| *to = *v);
                }
                if !column.known_ahead {
                    values.truncate(n);
                }
                grown.values.extend(values);
                grown.offsets.push(grown.values.len());
            }
            out.covariates.push(grown);
        }
        Ok(out)
    }

    /// The panel without the last `h` observations of each series, and those observations (series shorter than
    /// `h + 1` are left out of both).
    pub fn split_last(&self, h: usize) -> (Self, Self) {
        let head = self.slice(|s| s.y.len().saturating_sub(h));
        let mut tail = Self::empty(self.freq);
        for s in self.iter().filter(|s| s.y.len() > h) {
            let n = s.y.len() - h;
            tail.ids.push(s.id.to_owned());
            tail.starts.push(s.ds(n));
            tail.y.extend(&s.y[n..]);
            tail.offsets.push(tail.y.len());
        }
        (head, tail)
    }

    /// The series for which `keep` is true.
    pub fn filter(&self, mut keep: impl FnMut(usize, Series<'_>) -> bool) -> Self {
        let chosen: Vec<bool> = (0..self.len()).map(|i| keep(i, self.series(i))).collect();
        let mut i = 0;
        self.slice(|s| {
            i += 1;
            if chosen[i - 1] { s.y.len() } else { 0 }
        })
    }

    /// The series at these positions, which must be there, with all their columns.
    pub fn part(&self, series: Range<usize>) -> Self {
        let cut = |offsets: &[usize]| -> (Range<usize>, Vec<usize>) {
            let own = &offsets[series.start..=series.end];
            (own[0]..own[own.len() - 1], own.iter().map(|o| o - own[0]).collect())
        };
        let (y, offsets) = cut(&self.offsets);
        Self {
            freq: self.freq,
            ids: self.ids[series.clone()].to_vec(),
            starts: self.starts[series.clone()].to_vec(),
            offsets,
            y: self.y[y].to_vec(),
            covariates: self
                .covariates
                .iter()
                .map(|c| {
                    let (values, offsets) = cut(&c.offsets);
                    Covariate {
                        name: c.name.clone(),
                        known_ahead: c.known_ahead,
                        offsets,
                        values: c.values[values].to_vec(),
                    }
                })
                .collect(),
            statics: self
                .statics
                .iter()
                .map(|c| StaticColumn {
                    name: c.name.clone(),
                    values: match &c.values {
                        StaticValues::Text(v) => StaticValues::Text(v[series.clone()].to_vec()),
                        StaticValues::Number(v) => StaticValues::Number(v[series.clone()].to_vec()),
                    },
                })
                .collect(),
        }
    }

    /// Keeps the first `count(series)` observations of each; none means the series goes.
    fn slice(&self, mut count: impl FnMut(Series<'_>) -> usize) -> Self {
        let counts: Vec<usize> = (0..self.len()).map(|i| count(self.series(i))).collect();
        let kept: Vec<usize> = (0..self.len()).filter(|i| counts[*i] > 0).collect();
        let mut out = Self::empty(self.freq);
        for &i in &kept {
            out.ids.push(self.ids[i].clone());
            out.starts.push(self.starts[i]);
            out.y.extend(&self.series(i).y[..counts[i]]);
            out.offsets.push(out.y.len());
        }
        for c in &self.covariates {
            let mut column = Covariate {
                name: c.name.clone(),
                known_ahead: c.known_ahead,
                offsets: vec![0],
                values: vec![],
            };
            for &i in &kept {
                let values = c.of(i);
                column.values.extend(if c.known_ahead { values } else { &values[..counts[i]] });
                column.offsets.push(column.values.len());
            }
            out.covariates.push(column);
        }
        for c in &self.statics {
            out.statics.push(StaticColumn {
                name: c.name.clone(),
                values: match &c.values {
                    StaticValues::Text(v) => StaticValues::Text(kept.iter().map(|&i| v[i].clone()).collect()),
                    StaticValues::Number(v) => StaticValues::Number(kept.iter().map(|&i| v[i]).collect()),
                },
            });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        Panel::from_series(
            Freq::MONTHLY,
            vec![("b".into(), 0, vec![1.0, 2.0, 3.0]), ("a".into(), crate::freq::DAY * 31, vec![4.0, 5.0])],
        )
        .expect("two series")
        .with_static(StaticColumn { name: "n".into(), values: StaticValues::Number(vec![10.0, 20.0]) })
        .expect("two values")
    }

    #[test]
    fn as_of_never_looks_ahead() {
        let p = panel();
        let at = p.as_of(crate::freq::DAY * 31);
        assert_eq!(at.ids(), ["a", "b"]);
        assert_eq!(at.series(0).y, [4.0]);
        assert_eq!(at.series(1).y, [1.0, 2.0]);
        let early = p.as_of(0);
        assert_eq!(early.ids(), ["b"]);
        assert_eq!(early.statics()[0].values, StaticValues::Number(vec![20.0]));
        assert!(p.as_of(-1).is_empty());
    }

    #[test]
    fn parts_have_all_that_the_whole_has() {
        let price = Covariate {
            name: "price".into(),
            known_ahead: true,
            offsets: vec![0, 2, 6],
            values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        };
        let whole = panel().with_covariate(price).expect("fits");
        assert_eq!(whole.part(0..2), whole);
        assert!(whole.part(1..1).is_empty());
        let b = whole.part(1..2);
        assert_eq!((b.ids(), b.series(0).y), (&["b".to_owned()][..], &[1.0, 2.0, 3.0][..]));
        assert_eq!(b.covariates()[0].of(0), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(b.statics()[0].values, StaticValues::Number(vec![20.0]));
    }

    #[test]
    fn split_last_cuts_both_ways() {
        let (head, tail) = panel().split_last(2);
        assert_eq!((head.len(), tail.len()), (1, 1));
        assert_eq!((head.series(0).y, tail.series(0).y), (&[1.0][..], &[2.0, 3.0][..]));
        assert_eq!(tail.series(0).start, crate::freq::DAY * 31);
    }

    #[test]
    fn wrong_rows_are_named() {
        let twice = Panel::from_rows(Freq::STEP, vec![("a", 1, 1.0), ("a", 1, 2.0)]);
        assert!(twice.expect_err("a duplicate").to_string().contains("given twice"));
        let off = Panel::from_rows(Freq::DAILY, vec![("a", 0, 1.0), ("a", 3600, 2.0)]);
        assert!(off.expect_err("off the grid").to_string().contains("grid"));
        assert!(Panel::from_series(Freq::STEP, vec![("a".into(), 0, vec![f64::INFINITY])]).is_err());
        assert!(
            Panel::from_series(Freq::STEP, vec![("a".into(), 0, vec![]), ("a".into(), 0, vec![])]).is_err()
        );
    }

    #[test]
    fn newer_observations_follow() {
        let a = Panel::from_series(
            Freq::DAILY,
            vec![("a".into(), 0, vec![1.0, 2.0]), ("b".into(), 0, vec![5.0])],
        )
        .expect("as written");
        let price = Covariate {
            name: "price".into(),
            known_ahead: true,
            offsets: vec![0, 4, 5],
            values: vec![9.0, 9.0, 8.0, 7.0, 3.0],
        };
        let a = a.with_covariate(price).expect("as written");
        let day = crate::freq::DAY;
        let newer =
            Panel::from_series(Freq::DAILY, vec![("a".into(), 3 * day, vec![4.0])]).expect("as written");
        let plan = Covariate {
            name: "price".into(),
            known_ahead: true,
            offsets: vec![0, 2],
            values: vec![6.5, 6.0],
        };
        let both = a.followed_by(&newer.with_covariate(plan).expect("as written")).expect("as written");
        assert_eq!(both.series(0).y.len(), 4);
        assert!(both.series(0).y[2].is_nan());
        assert_eq!(both.series(0).y[3], 4.0);
        assert_eq!(both.series(1).y, &[5.0]);
        assert_eq!(both.covariate("price").expect("as written").of(0), &[9.0, 9.0, 8.0, 6.5, 6.0]);
        let known = Panel::from_series(Freq::DAILY, vec![("a".into(), day, vec![4.0])]).expect("as written");
        assert!(both.followed_by(&known).expect_err("must fail").to_string().contains("`a` goes on at"));
        let other = Panel::from_series(Freq::DAILY, vec![("c".into(), day, vec![4.0])]).expect("as written");
        assert!(both.followed_by(&other).expect_err("must fail").to_string().contains("`c`"));
    }
}
