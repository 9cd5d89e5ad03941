//! Columns that are known only up to the origin (views, carts, searches, competitors' prices, market series) as features.
//!
//! Of such a column only what lies before the origin may be looked at, so it helps as far as it runs ahead of the target.
//! Which lags do is found by the relations of the training data: for a sample of series, what is new in the target is
//! correlated with what was new in the column so many steps before ([`crate::relations`]), and the correlations of all
//! series are put together. Columns without a lag that holds are left out. The others enter with their best lags (where
//! the step asked about is no further ahead than the lag; unknown else), their last value and their recent mean, each
//! against the level that the column has at the origin.

use super::history::History;
use crate::local::map_series;
use crate::relations::{benjamini_hochberg, cross_correlations, whiten};
use serde::{Deserialize, Serialize};
use tradewind_core::{Panel, Result, Run};
use tradewind_learn::student::two_sided_normal_p;

/// Series that are looked at to find lags, spread evenly over the panel.
const SAMPLE: usize = 200;
/// Lags that are looked at, at most.
const LAG_MAX: usize = 56;
/// Best lags that become features.
const LAGS_KEPT: usize = 4;
/// The share of false lags.
const FALSE_SHARE: f64 = 0.001;
/// Weaker correlations do not help a forecast, however sure.
const CORRELATION_MIN: f64 = 0.03;
/// Known values that a series must have to be in the sample.
const OBSERVATIONS_MIN: usize = 40;

/// The columns that lead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leading {
    columns: Vec<Lead>,
}

/// A column that leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lead {
    name: String,
    /// Steps that it runs ahead, ascending.
    lags: Vec<usize>,
    /// Whether its values count against its level; else as they are.
    relative: bool,
}

impl Leading {
    /// Finds the columns of `panel` that lead, and their lags up to `horizon` (and a season more).
    pub(crate) fn choose(run: &Run, panel: &Panel, season: usize, horizon: usize) -> Result<Self> {
        let past: Vec<&tradewind_core::Covariate> =
            panel.covariates().iter().filter(|c| !c.known_ahead).collect();
        if past.is_empty() || panel.is_empty() {
            return Ok(Self::default());
        }
        let max = (horizon + season).min(LAG_MAX);
        let n = panel.len().min(SAMPLE);
        // Of each series and column, correlations times pairs, and pairs, by lag.
        let found = map_series(&run.quiet(), "leading", n, |k| {
            let i = k * panel.len() / n;
            let y = panel.series(i).y;
            let Ok(own) = whiten(y, season, OBSERVATIONS_MIN) else { return vec![None; past.len()] };
            past.iter()
                .map(|c| {
                    let theirs = whiten(c.of(i), season, OBSERVATIONS_MIN).ok()?;
                    let of_lags = cross_correlations(&own.innovations, &theirs.innovations, 1..=max);
                    Some(of_lags.iter().map(|l| (l.correlation * l.n as f64, l.n as f64)).collect::<Vec<_>>())
                })
                .collect::<Vec<Option<Vec<(f64, f64)>>>>()
        })?;
        let mut tests = Vec::new();
        for column in 0..past.len() {
            for lag in 0..max {
                let (sum, pairs) = found
                    .iter()
                    .filter_map(|of| of[column].as_ref())
                    .fold((0.0, 0.0), |(s, p), of| (s + of[lag].0, p + of[lag].1));
                if pairs > OBSERVATIONS_MIN as f64 {
                    let p = two_sided_normal_p(sum / pairs.sqrt());
                    tests.push((column, lag + 1, sum / pairs, p));
                }
            }
        }
        let q = benjamini_hochberg(&tests.iter().map(|t| t.3).collect::<Vec<_>>());
        let mut columns = Vec::new();
        for (k, c) in past.iter().enumerate() {
            let mut holding: Vec<(usize, f64)> = tests
                .iter()
                .zip(&q)
                .filter(|(t, q)| t.0 == k && **q <= FALSE_SHARE && t.2.abs() >= CORRELATION_MIN)
                .map(|(t, _)| (t.1, t.2.abs()))
                .collect();
            holding.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            holding.truncate(LAGS_KEPT);
            if holding.is_empty() {
                continue;
            }
            let mut lags: Vec<usize> = holding.into_iter().map(|h| h.0).collect();
            lags.sort_unstable();
            let known = || c.values.iter().filter(|v| v.is_finite());
            let above = known().filter(|v| **v > 0.0).count();
            let relative = known().all(|v| *v >= 0.0) && 2 * above > known().count();
            columns.push(Lead { name: c.name.clone(), lags, relative });
        }
        Ok(Self { columns })
    }

    /// Whether a column is among those that lead.
    pub(crate) fn needs(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.name == name)
    }

    /// The names of the features, in the order of [`Leading::row`].
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns
            .iter()
            .flat_map(|c| {
                let lags = c.lags.iter().map(|l| format!("{}:ago_{l}", c.name));
                lags.chain(["last", "recent", "trend"].map(|w| format!("{}:{w}", c.name)))
            })
            .collect()
    }

    /// What is known of the columns of series `i`, from its first known value of the target on.
    pub(crate) fn tracks(&self, panel: &Panel, i: usize, skip: usize) -> Vec<Track> {
        let of = |c: &Lead| panel.covariate(&c.name).map_or(&[][..], |column| column.of(i));
        self.columns.iter().map(|c| Track::new(of(c).get(skip..).unwrap_or(&[]))).collect()
    }

    /// Appends the features of the step `ahead` places after the first `o` values: nothing from place `o` on is looked at.
    pub(crate) fn row(
        &self,
        tracks: &[Track],
        target: &History,
        (o, ahead): (usize, usize),
        (season, recent): (usize, usize),
        scale: f64,
        out: &mut Vec<f64>,
    ) {
        let near = season.max(2);
        for (c, track) in self.columns.iter().zip(tracks) {
            let level = track.mean(o, recent);
            // What the column says of the target: its value against its level, times the target's level.
            let unit = target.level(o, recent) / scale;
            let told = |v: f64| if c.relative { ratio(v, level) * unit } else { v };
            for lag in &c.lags {
                // Steps further ahead than the lag would need values that are not known yet.
                let at = (o + ahead - 1).checked_sub(*lag).filter(|at| *at < o);
                out.push(at.map_or(f64::NAN, |at| told(track.value(at))));
            }
            out.push(o.checked_sub(1).map_or(f64::NAN, |at| told(track.value(at))));
            let now = track.mean(o, near);
            out.push(told(now));
            let before = track.mean(o, 4 * recent);
            out.push(if c.relative { ratio(now, before) } else { now - before });
        }
    }
}

/// The values of a column with running sums of the known ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Track {
    values: Vec<f64>,
    sums: Vec<f64>,
    known: Vec<f64>,
}

impl Track {
    fn new(values: &[f64]) -> Self {
        let (mut sums, mut known) = (vec![0.0], vec![0.0]);
        for (i, v) in values.iter().enumerate() {
            let (add, n) = if v.is_finite() { (*v, 1.0) } else { (0.0, 0.0) };
            sums.push(sums[i] + add);
            known.push(known[i] + n);
        }
        Self { values: values.to_vec(), sums, known }
    }

    /// The same column as if only the values from place `from` up to `to` had been seen.
    pub(crate) fn between(&self, from: usize, to: usize) -> Self {
        let to = to.min(self.values.len());
        Self::new(self.values.get(from.min(to)..to).unwrap_or(&[]))
    }

    fn value(&self, at: usize) -> f64 {
        self.values.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The mean of the known ones of the last `w` values before `o`; NaN where none is.
    fn mean(&self, o: usize, w: usize) -> f64 {
        let to = o.min(self.values.len());
        let from = o.saturating_sub(w).min(to);
        (self.sums[to] - self.sums[from]) / (self.known[to] - self.known[from])
    }
}

/// A ratio that stays within reason.
fn ratio(a: f64, b: f64) -> f64 {
    let r = a / b;
    if r.is_finite() { r.clamp(-20.0, 20.0) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{mix, unit};
    use tradewind_core::{Covariate, Freq};

    fn draw(k: usize, t: usize) -> f64 {
        unit(mix(mix(k as u64) ^ t as u64))
    }

    /// Sales that follow views of nine days before; clicks have nothing to do with them.
    fn shop(n: usize) -> Panel {
        let views = |k: usize, t: usize| 50.0 * (1.0 + (t % 7) as f64 / 7.0) * (0.5 + draw(k, t));
        let series = (0..12).map(|k| {
            let y = (0..n).map(|t| (0.1 * views(k, t + 1000 - 9) + 2.0 * draw(k + 100, t)).round());
            (format!("p{k:02}"), 0, y.collect())
        });
        let panel = Panel::from_series(Freq::DAILY, series.collect()).expect("series");
        let column = |name: &str, of: &dyn Fn(usize, usize) -> f64| Covariate {
            name: name.into(),
            known_ahead: false,
            offsets: (0..=12).map(|k| k * n).collect(),
            values: (0..12).flat_map(|k| (0..n).map(move |t| (k, t))).map(|(k, t)| of(k, t)).collect(),
        };
        panel
            .with_covariate(column("views", &|k, t| views(k, t + 1000)))
            .and_then(|p| p.with_covariate(column("clicks", &|k, t| 10.0 * draw(k + 500, t))))
            .expect("columns")
    }

    #[test]
    fn the_lag_of_a_leader_is_found_and_strangers_are_left_out() {
        let found = Leading::choose(&Run::new(1), &shop(250), 7, 14).expect("chosen");
        assert_eq!(found.columns.len(), 1, "{found:?}");
        assert_eq!(found.columns[0].name, "views");
        assert!(found.columns[0].lags.contains(&9) && found.columns[0].relative, "{found:?}");
    }

    #[test]
    fn nothing_behind_the_origin_is_looked_at() {
        let panel = shop(250);
        let leading = Leading::choose(&Run::new(1), &panel, 7, 14).expect("chosen");
        let h = History::new(panel.series(3).y, 7);
        let track = |poison: Option<usize>| {
            let mut values = panel.covariate("views").expect("views").of(3).to_vec();
            if let Some(from) = poison {
                values[from..].fill(1e9);
            }
            vec![Track::new(&values)]
        };
        for o in [5, 60, 200] {
            for ahead in [1, 5, 9, 10, 14] {
                let rows = [None, Some(o)].map(|poison| {
                    let mut row = vec![];
                    leading.row(&track(poison), &h, (o, ahead), (7, 28), 1.0, &mut row);
                    row.iter().map(|v| v.to_bits()).collect::<Vec<u64>>()
                });
                assert_eq!(rows[0], rows[1], "{o} {ahead}");
                assert_eq!(rows[0].len(), leading.names().len());
            }
        }
    }
}
