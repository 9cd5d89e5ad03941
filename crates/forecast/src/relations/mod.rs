//! Which outside series help which product, and how far ahead: a lead-lag table.
//!
//! For each series of a panel its candidates are its own columns (views, carts, searches, prices of competitors), other
//! series of the panel (other brands, other products), and series given beside it (market indices). For every pair:
//!
//! 1. Season, trend and own past are taken out of both ([`whiten()`]; Haugh, JASA 71, 1976): two series that both have a
//!    week or both grow would else seem related.
//! 2. What is new in the one is correlated with what was new in the other 1 to `max_lag` steps before (from 0 on for
//!    columns known ahead). The best lag counts, at the worth that the best of so many has ([`least_of`]).
//! 3. Over all pairs the share of false ones is held at `level` ([`benjamini_hochberg`]).
//! 4. The last windows of each series are not looked at in steps 1 to 3. There the outside series, at the lag found, must
//!    show what it adds to an autoregression (`improvement`): the idea of Granger (Econometrica 37, 1969), on steps not
//!    seen.
//!
//! Series that say nothing (too short, hardly ever changing, known together too seldom) are left out and counted with the
//! reason. A relation is no cause: a festival that first draws visitors and then buyers makes visitors lead.
//!
//! ```
//! use tradewind_core::{Covariate, Freq, Panel, Run};
//! use tradewind_forecast::relations::{RelationSettings, relations};
//! // Sales follow views of five days before.
//! let chance = |k: f64| ((k * 12.9898).sin() * 43_758.545_3).fract().abs();
//! let views: Vec<f64> = (0..300).map(|t| 20.0 * chance(f64::from(t))).collect();
//! let sales = (0..300).map(|t| if t < 5 { 10.0 } else { views[t - 5] + 4.0 * chance(0.5 + t as f64) }).collect();
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, sales)]).unwrap();
//! let column = Covariate { name: "views".into(), known_ahead: false, offsets: vec![0, 300], values: views };
//! let panel = panel.with_covariate(column).unwrap();
//! let found = relations(&Run::new(1), &panel, &[], &RelationSettings::default()).unwrap();
//! let first = &found.relations[0];
//! assert_eq!((first.outside.as_str(), first.lag), ("views", 5));
//! assert!(first.q_value < 0.001 && first.improvement > 0.3);
//! ```

mod improvement;
mod least_squares;
mod significance;
mod whiten;

use improvement::improvement;
pub use significance::{AtLag, Granger, benjamini_hochberg, cross_correlations, granger, least_of};
pub use whiten::{Reason, Whitened, whiten};

use crate::local::map_series;
use serde::{Deserialize, Serialize};
use tradewind_core::freq::Unit;
use tradewind_core::{Freq, Panel, ParamCheck, Result, Run, Series, Stamp};

/// How relations are looked for.
///
/// | field | default | meaning | range |
/// | --- | --- | --- | --- |
/// | `max_lag` | by frequency: 14 days, 8 weeks, 6 months, else a season | the furthest lag | 1 to 1000 |
/// | `level` | 0.05 | share of false ones among those called significant | above 0, below 1 |
/// | `season_length` | by frequency | steps of a season | 1 to 10000 |
/// | `observations_min` | 40 | known values before the held-out windows | 20 to 1000000 |
/// | `windows` | 3 | held-out windows, each a fifteenth of the series | 1 to 5 |
/// | `peers` | 10 | other series looked at for each, the largest first | 0 to 10000 |
/// | `peer_group` | none | static column: only series with the same text are looked at | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelationSettings {
    /// The furthest lag.
    pub max_lag: Option<usize>,
    /// Share of false ones among those called significant.
    pub level: f64,
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Known values before the held-out windows.
    pub observations_min: usize,
    /// Held-out windows.
    pub windows: usize,
    /// Other series looked at for each.
    pub peers: usize,
    /// The static column whose text peers share.
    pub peer_group: Option<String>,
}

impl Default for RelationSettings {
    fn default() -> Self {
        Self {
            max_lag: None,
            level: 0.05,
            season_length: None,
            observations_min: 40,
            windows: 3,
            peers: 10,
            peer_group: None,
        }
    }
}

impl RelationSettings {
    /// All faults at once.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let lag = self.max_lag.unwrap_or(1);
        check
            .require((1..=1000).contains(&lag), "max_lag", lag, "1 to 1000")
            .require(self.level > 0.0 && self.level < 1.0, "level", self.level, "above 0 and below 1")
            .require(
                (1..=10_000).contains(&self.season_length.unwrap_or(1)),
                "season_length",
                self.season_length.unwrap_or(1),
                "1 to 10000",
            )
            .require(
                (20..=1_000_000).contains(&self.observations_min),
                "observations_min",
                self.observations_min,
                "20 to 1000000",
            )
            .require((1..=5).contains(&self.windows), "windows", self.windows, "1 to 5")
            .require(self.peers <= 10_000, "peers", self.peers, "0 to 10000")
            .finish()
    }

    fn lags(&self, freq: Freq) -> usize {
        self.max_lag.unwrap_or(match freq.unit {
            Unit::Day => 14,
            Unit::Week => 8,
            Unit::Month | Unit::MonthEnd => 6,
            _ => freq.season_length().clamp(8, 48),
        })
    }
}

/// A series that stands beside the panel: a market index, one for all. Its grid must be the panel's.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    /// Its name.
    pub name: String,
    /// The stamp of its first value.
    pub start: Stamp,
    /// Its values, one a step; NaN where unknown.
    pub values: Vec<f64>,
}

/// Where an outside series comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A column of the series itself.
    Column,
    /// Another series of the panel.
    Series,
    /// A series beside the panel.
    Market,
}

/// One pair at its best lag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// The series that is led.
    pub series: String,
    /// The series that leads.
    pub outside: String,
    /// Where the leading series comes from.
    pub source: Source,
    /// Steps that it runs ahead.
    pub lag: usize,
    /// The correlation of what is new in both; its sign says whether they go the same way.
    pub correlation: f64,
    /// The chance of a best correlation this strong when there is no relation.
    pub p_value: f64,
    /// The share of false ones among all that are at least this sure.
    pub q_value: f64,
    /// The share of the squared error, one step ahead, that it takes away on held-out windows; NaN where there is too
    /// little to tell, and for relations that are not significant.
    pub improvement: f64,
    /// Pairs of values the correlation is of.
    pub n: usize,
}

/// What was left out for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub reason: Reason,
    /// Whether series that would be led are meant, or pairs with an outside series.
    pub led: bool,
    /// How many.
    pub n: usize,
    /// Some of them.
    pub examples: Vec<String>,
}

/// The lead-lag table of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relations {
    /// All pairs that could be looked at, the surest first.
    pub relations: Vec<Relation>,
    /// What could not.
    pub left_out: Vec<LeftOut>,
    /// Series of the panel.
    pub n_series: usize,
    /// Pairs times lags.
    pub n_tests: usize,
    /// The furthest lag.
    pub max_lag: usize,
    /// Share of false ones among those called significant.
    pub level: f64,
}

impl Relations {
    /// The pairs whose q-value is at most the level.
    pub fn significant(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().take_while(|r| r.q_value <= self.level)
    }
}

/// Names kept of what is left out.
const EXAMPLES_MAX: usize = 3;
/// Innovations that agree like this are of one series.
const COPY: f64 = 0.999;

/// One outside series beside a series: what is new in it, by the places of the series.
struct Candidate {
    name: String,
    source: Source,
    known_ahead: bool,
    /// With the number of coefficients that were taken out.
    innovations: std::result::Result<(Vec<f64>, usize), Reason>,
}

/// A series as it is looked at.
struct Known {
    /// Steps that are looked at; those behind are held out.
    seen: usize,
    /// Steps of a held-out window.
    window: usize,
    whitened: std::result::Result<Whitened, Reason>,
}

/// Finds the relations of every series of the panel with its own columns, other series and those of `outside`.
///
/// # Errors
/// Settings out of range, or cancellation. Series that say nothing are no error.
pub fn relations(
    run: &Run,
    panel: &Panel,
    outside: &[Outside],
    settings: &RelationSettings,
) -> Result<Relations> {
    settings.check()?;
    let max_lag = settings.lags(panel.freq());
    let search = Search { panel, outside, settings, max_lag };
    let known = map_series(run, "whiten", panel.len(), |i| search.known(panel.series(i)))?;
    let largest = search.largest();
    let looked = map_series(run, "relations", panel.len(), |i| search.look(i, &known, &largest))?;

    let mut left = std::collections::BTreeMap::<(bool, Reason), (usize, Vec<String>)>::new();
    let mut pairs: Vec<(usize, Relation)> = Vec::new();
    let mut n_tests = 0;
    for (i, found) in looked.into_iter().enumerate() {
        n_tests += found.n_tests;
        for (led, reason, name) in found.left_out {
            let entry = left.entry((led, reason)).or_default();
            entry.0 += 1;
            if entry.1.len() < EXAMPLES_MAX {
                entry.1.push(name);
            }
        }
        pairs.extend(found.relations.into_iter().map(|r| (i, r)));
    }
    let q = benjamini_hochberg(&pairs.iter().map(|(_, r)| r.p_value).collect::<Vec<_>>());
    pairs.iter_mut().zip(q).for_each(|((_, r), q)| r.q_value = q);
    let sure: Vec<usize> = (0..pairs.len()).filter(|k| pairs[*k].1.q_value <= settings.level).collect();
    let gains = map_series(run, "improvement", sure.len(), |k| {
        let (i, relation) = &pairs[sure[k]];
        search.improvement(*i, relation, &known)
    })?;
    sure.iter().zip(gains).for_each(|(k, gain)| pairs[*k].1.improvement = gain);
    let mut relations: Vec<Relation> = pairs.into_iter().map(|(_, r)| r).collect();
    // Where even the p-values are equal (both 0), the stronger correlation is first.
    relations.sort_by(|a, b| {
        a.q_value
            .total_cmp(&b.q_value)
            .then(a.p_value.total_cmp(&b.p_value))
            .then(b.correlation.abs().total_cmp(&a.correlation.abs()))
            .then_with(|| a.series.cmp(&b.series))
            .then_with(|| a.outside.cmp(&b.outside))
    });
    let left_out =
        left.into_iter().map(|((led, reason), (n, examples))| LeftOut { reason, led, n, examples }).collect();
    Ok(Relations { relations, left_out, n_series: panel.len(), n_tests, max_lag, level: settings.level })
}

struct Search<'a> {
    panel: &'a Panel,
    outside: &'a [Outside],
    settings: &'a RelationSettings,
    max_lag: usize,
}

#[derive(Default)]
struct Looked {
    relations: Vec<Relation>,
    left_out: Vec<(bool, Reason, String)>,
    n_tests: usize,
}

impl Search<'_> {
    fn season(&self) -> usize {
        self.settings.season_length.unwrap_or_else(|| self.panel.freq().season_length()).max(1)
    }

    fn whiten(&self, y: &[f64]) -> std::result::Result<Whitened, Reason> {
        whiten(y, self.season(), self.settings.observations_min)
    }

    fn known(&self, s: Series<'_>) -> Known {
        let window = (s.y.len() / 15).max(1);
        let seen = s.y.len().saturating_sub(self.settings.windows * window);
        Known { seen, window, whitened: self.whiten(&s.y[..seen]) }
    }

    /// The series from the largest to the smallest, by the sum of their known values.
    fn largest(&self) -> Vec<usize> {
        if self.settings.peers == 0 {
            return vec![];
        }
        let sums: Vec<f64> =
            self.panel.iter().map(|s| s.y.iter().filter(|v| v.is_finite()).sum::<f64>()).collect();
        let mut order: Vec<usize> = (0..sums.len()).collect();
        order.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]).then(a.cmp(b)));
        order
    }

    fn look(&self, i: usize, known: &[Known], largest: &[usize]) -> Looked {
        let s = self.panel.series(i);
        let mut out = Looked::default();
        let own = match &known[i].whitened {
            Ok(w) => w,
            Err(reason) => {
                out.left_out.push((true, *reason, s.id.to_owned()));
                return out;
            }
        };
        for c in self.candidates(i, known, largest) {
            let told = |reason| (false, reason, format!("{} ← {}", s.id, c.name));
            let (theirs, fitted) = match &c.innovations {
                Ok((e, fitted)) => (e, own.fitted.max(*fitted)),
                Err(reason) => {
                    out.left_out.push(told(*reason));
                    continue;
                }
            };
            let same = cross_correlations(&own.innovations, theirs, [0])[0];
            if same.correlation.abs() > COPY {
                out.left_out.push(told(Reason::Copy));
                continue;
            }
            let lags = usize::from(!c.known_ahead)..=self.max_lag;
            let found: Vec<AtLag> = cross_correlations(&own.innovations, theirs, lags)
                .into_iter()
                .map(|l| l.less(fitted))
                .collect();
            if found.iter().any(|l| l.n < self.settings.observations_min / 2) {
                out.left_out.push(told(Reason::Overlap));
                continue;
            }
            out.n_tests += found.len();
            let n_lags = found.len();
            let Some(best) = found.into_iter().min_by(|a, b| {
                a.p_value.total_cmp(&b.p_value).then(b.correlation.abs().total_cmp(&a.correlation.abs()))
            }) else {
                continue;
            };
            out.relations.push(Relation {
                series: s.id.to_owned(),
                outside: c.name,
                source: c.source,
                lag: best.lag,
                correlation: best.correlation,
                p_value: least_of(best.p_value, n_lags),
                q_value: 1.0,
                improvement: f64::NAN,
                n: best.n,
            });
        }
        out
    }

    /// All outside series of series `i`, by its places.
    fn candidates(&self, i: usize, known: &[Known], largest: &[usize]) -> Vec<Candidate> {
        let seen = known[i].seen;
        let mut out: Vec<Candidate> = self
            .panel
            .covariates()
            .iter()
            .map(|c| {
                let innovations = self.whiten(&c.of(i)[..seen]).map(|w| (w.innovations, w.fitted));
                Candidate {
                    name: c.name.clone(),
                    source: Source::Column,
                    known_ahead: c.known_ahead,
                    innovations,
                }
            })
            .collect();
        let s = self.panel.series(i);
        for o in self.outside {
            let values = beside(&s, o.start, &o.values);
            let innovations = self.whiten(&values[..seen]).map(|w| (w.innovations, w.fitted));
            let name = o.name.clone();
            out.push(Candidate { name, source: Source::Market, known_ahead: false, innovations });
        }
        for j in self.peers(i, largest) {
            let other = self.panel.series(j);
            let innovations = match &known[j].whitened {
                Ok(w) => Ok((beside(&s, other.start, &w.innovations), w.fitted)),
                Err(reason) => Err(*reason),
            };
            out.push(Candidate {
                name: other.id.to_owned(),
                source: Source::Series,
                known_ahead: false,
                innovations: innovations.map(|(mut e, fitted)| {
                    e.truncate(seen);
                    (e, fitted)
                }),
            });
        }
        out
    }

    fn peers(&self, i: usize, largest: &[usize]) -> Vec<usize> {
        let group = |k: usize| self.settings.peer_group.as_deref().and_then(|g| self.panel.static_text(g, k));
        let own = group(i);
        largest
            .iter()
            .copied()
            .filter(|j| {
                *j != i && (self.settings.peer_group.is_none() || (own.is_some() && group(*j) == own))
            })
            .take(self.settings.peers)
            .collect()
    }

    fn improvement(&self, i: usize, relation: &Relation, known: &[Known]) -> f64 {
        let s = self.panel.series(i);
        let values = match relation.source {
            Source::Column => self.panel.covariate(&relation.outside).map(|c| c.of(i).to_vec()),
            Source::Market => self
                .outside
                .iter()
                .find(|o| o.name == relation.outside)
                .map(|o| beside(&s, o.start, &o.values)),
            Source::Series => self.panel.position(&relation.outside).map(|j| {
                let other = self.panel.series(j);
                beside(&s, other.start, other.y)
            }),
        };
        values.map_or(f64::NAN, |x| {
            improvement(s.y, &x, relation.lag, self.season(), self.settings.windows, known[i].window)
        })
    }
}

/// The values of a series that starts at `start`, by the places of `s`; NaN where it has none. All NaN where it lies on
/// another grid.
fn beside(s: &Series<'_>, start: Stamp, values: &[f64]) -> Vec<f64> {
    let ahead = s.freq.steps(s.start, start);
    (0..s.y.len())
        .map(|t| {
            let at = ahead.and_then(|a| usize::try_from(t as i64 - a).ok());
            at.and_then(|k| values.get(k)).copied().unwrap_or(f64::NAN)
        })
        .collect()
}
