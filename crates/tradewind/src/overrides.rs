//! Planners' figures beside the model's: who knows of a bus tour says so, both figures are shown, and afterwards it is
//! told who was nearer.

use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use tradewind_core::{Forecast, Panel, Params, Run, Stamp};
use tradewind_forecast::Options;
use tradewind_warehouse::{Figure, NewOverride, Override, Shop};

/// Which forecasts overrides are meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// What makes a series, as `product`.
    pub by: &'a str,
    /// What is forecast, as `units`.
    pub target: &'a str,
    /// The frequency, as `D`.
    pub freq: &'a str,
}

/// Steps ahead that an override may reach when it is scored.
const HORIZON_MAX: usize = 1_000;

/// Keeps an override of a series of `panel`, the shop's series of that scope.
///
/// # Errors
/// A series that the shop has not (the error names near ones), days that are known already, and those of
/// [`Shop::add_override`].
pub fn add(shop: &Shop, panel: &Panel, said: NewOverride) -> Result<Override> {
    let Some(i) = panel.position(&said.unique_id) else {
        let mut near: Vec<&str> =
            panel.ids().iter().filter(|id| id.contains(&said.unique_id)).map(String::as_str).collect();
        near.extend(panel.ids().iter().map(String::as_str));
        near.truncate(5);
        return Err(Error::asked(
            format!("the shop has no series `{}` ({} by {})", said.unique_id, said.target, said.by),
            format!("there are {}: {}, …", panel.len(), near.join(", ")),
        ));
    };
    let series = panel.series(i);
    let next = series.ds(series.y.len());
    if said.last < next {
        return Err(Error::asked(
            format!(
                "all days of the override are known already: the data reach to {}",
                panel.freq().format(said.known)
            ),
            "override days that are still to come",
        ));
    }
    Ok(shop.add_override(&said)?)
}

/// The overrides that hold, of that scope; oldest first.
///
/// # Errors
/// Faults of the shop.
pub fn active(shop: &Shop, scope: Scope<'_>) -> Result<Vec<Override>> {
    let mut all = shop.overrides()?;
    all.retain(|o| {
        let said = Scope { by: &o.said.by, target: &o.said.target, freq: &o.said.freq };
        o.withdrawn.is_none() && said == scope
    });
    Ok(all)
}

/// The planners' figures for each step of a forecast, series by series; NaN where nobody said anything. Of two overrides
/// of one step the later one counts.
pub fn figures(overrides: &[Override], f: &Forecast) -> Vec<f64> {
    let position: BTreeMap<&str, usize> =
        f.ids().iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let mut out = vec![f64::NAN; f.len() * f.horizon()];
    for o in overrides {
        let Some(&i) = position.get(o.said.unique_id.as_str()) else { continue };
        for k in (0..f.horizon()).filter(|k| (o.said.first..=o.said.last).contains(&f.ds(i, *k))) {
            out[i * f.horizon() + k] = figure(o.said.figure, f.mean(i)[k]);
        }
    }
    out
}

fn figure(said: Figure, mean: f64) -> f64 {
    match said {
        Figure::Value(v) => v,
        Figure::Factor(times) => times * mean,
    }
}

/// Who was nearer, over the steps whose outcome is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The planner; empty for all together.
    pub author: String,
    /// Overrides with an outcome.
    pub n_overrides: usize,
    /// Steps with an outcome.
    pub n_steps: usize,
    /// The planner's mean absolute error.
    pub planner_mae: f64,
    /// The model's mean absolute error on the same steps.
    pub model_mae: f64,
    /// Steps on which the planner was nearer.
    pub planner_nearer: usize,
    /// Steps on which the model was nearer.
    pub model_nearer: usize,
}

/// Scores overrides against what came and against the model, which sees what was known when each was made. Authors in
/// the order of their names, then all together; empty when no outcome is known yet.
///
/// # Errors
/// Those of [`tradewind_forecast::forecast`].
pub fn score(
    run: &Run,
    panel: &Panel,
    overrides: &[Override],
    model: &str,
    params: &Params,
) -> Result<Vec<Score>> {
    let freq = panel.freq();
    // One forecast for each state of the data that overrides were made on.
    let mut by_known: BTreeMap<Stamp, Vec<&Override>> = BTreeMap::new();
    for o in overrides {
        by_known.entry(o.said.known).or_default().push(o);
    }
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for (known, list) in by_known {
        let outcome = |o: &Override, ds: Stamp| -> Option<f64> {
            let s = panel.series(panel.position(&o.said.unique_id)?);
            let k = usize::try_from(freq.steps(s.start, ds)?).ok()?;
            s.y.get(k).copied().filter(|y| y.is_finite())
        };
        let last =
            list.iter().map(|o| o.said.last).max().unwrap_or(known).min(panel.last_stamp().unwrap_or(known));
        let horizon = (1..=HORIZON_MAX).take_while(|k| freq.add(known, *k as i64) <= last).count();
        let past = panel.as_of(known);
        if horizon == 0 || past.is_empty() {
            continue;
        }
        let f = tradewind_forecast::forecast(run, &past, model, params, &Options::new(horizon, &[]))?;
        for o in list {
            let Some(i) = f.ids().iter().position(|id| *id == o.said.unique_id) else { continue };
            let steps: Vec<(f64, f64, f64)> = (0..horizon)
                .map(|k| (f.ds(i, k), f.mean(i)[k]))
                .filter(|(ds, _)| (o.said.first..=o.said.last).contains(ds))
                .filter_map(|(ds, mean)| Some((outcome(o, ds)?, figure(o.said.figure, mean), mean)))
                .collect();
            if !steps.is_empty() {
                tallies.entry(&o.said.author).or_default().add(&steps);
                // The empty name sorts first; it is put last below.
                tallies.entry("").or_default().add(&steps);
            }
        }
    }
    let mut out: Vec<Score> = tallies.into_iter().map(|(author, t)| t.score(author)).collect();
    if !out.is_empty() {
        out.rotate_left(1);
    }
    Ok(out)
}

#[derive(Default)]
struct Tally {
    n_overrides: usize,
    n_steps: usize,
    planner: f64,
    model: f64,
    planner_nearer: usize,
    model_nearer: usize,
}

impl Tally {
    fn add(&mut self, steps: &[(f64, f64, f64)]) {
        self.n_overrides += 1;
        for (y, planner, model) in steps {
            let (p, m) = ((y - planner).abs(), (y - model).abs());
            self.n_steps += 1;
            self.planner += p;
            self.model += m;
            self.planner_nearer += usize::from(p < m);
            self.model_nearer += usize::from(m < p);
        }
    }

    fn score(&self, author: &str) -> Score {
        let n = self.n_steps as f64;
        Score {
            author: author.to_owned(),
            n_overrides: self.n_overrides,
            n_steps: self.n_steps,
            planner_mae: self.planner / n,
            model_mae: self.model / n,
            planner_nearer: self.planner_nearer,
            model_nearer: self.model_nearer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Freq;
    use tradewind_core::freq::DAY;

    fn said(id: i64, author: &str, series: &str, days: (i64, i64), figure: Figure) -> Override {
        Override {
            id,
            made_ms: 0,
            said: NewOverride {
                author: author.into(),
                note: "n".into(),
                by: "product".into(),
                target: "units".into(),
                freq: "D".into(),
                unique_id: series.into(),
                first: days.0 * DAY,
                last: days.1 * DAY,
                figure,
                known: 9 * DAY,
            },
            withdrawn: None,
        }
    }

    /// Ten days of 10, then three of 20; the naive model says 10.
    fn panel() -> Panel {
        let y: Vec<f64> = [vec![10.0; 10], vec![20.0; 3]].concat();
        Panel::from_series(Freq::DAILY, vec![("cup".into(), 0, y.clone()), ("tea".into(), 0, y)])
            .expect("a panel")
    }

    #[test]
    fn later_words_count_and_only_on_their_days() {
        let mut f = Forecast::new("m", Freq::DAILY, 3, &[]);
        f.push("cup", 10 * DAY, &[1.0, 2.0, 3.0], &[]).expect("fits");
        f.push("tea", 10 * DAY, &[4.0, 5.0, 6.0], &[]).expect("fits");
        let all = [
            said(1, "Ann", "tea", (10, 11), Figure::Value(50.0)),
            said(2, "Bo", "tea", (11, 30), Figure::Factor(2.0)),
            said(3, "Bo", "gone", (11, 30), Figure::Factor(2.0)),
        ];
        let figures = figures(&all, &f);
        assert!(figures[..3].iter().all(|v| v.is_nan()));
        assert_eq!(figures[3..], [50.0, 10.0, 12.0]);
    }

    #[test]
    fn planners_are_judged_by_what_came() {
        let all = [
            said(1, "Ann", "tea", (10, 11), Figure::Value(19.0)),
            said(2, "Bo", "cup", (10, 12), Figure::Factor(0.5)),
            said(3, "Bo", "cup", (40, 41), Figure::Factor(2.0)),
        ];
        let scores = score(&Run::new(1), &panel(), &all, "naive", &Params::new()).expect("scores");
        let of = |author: &str| scores.iter().find(|s| s.author == author).expect("is there");
        assert_eq!(scores.iter().map(|s| s.author.as_str()).collect::<Vec<_>>(), ["Ann", "Bo", ""]);
        assert_eq!((of("Ann").planner_mae, of("Ann").model_mae, of("Ann").planner_nearer), (1.0, 10.0, 2));
        assert_eq!((of("Bo").planner_mae, of("Bo").model_mae, of("Bo").model_nearer), (15.0, 10.0, 3));
        assert_eq!((of("Bo").n_overrides, of("").n_overrides, of("").n_steps), (1, 2, 5));
        let future = [said(1, "Ann", "tea", (40, 41), Figure::Value(19.0))];
        assert!(score(&Run::new(1), &panel(), &future, "naive", &Params::new()).expect("scores").is_empty());
    }
}
