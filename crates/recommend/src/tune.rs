//! Choosing the parameters of any method of the catalogue, by NDCG on events held back.
//!
//! The part held back is drawn once; every trial fits on the rest and is asked for the same users, so trials differ by
//! their parameters alone. The first trial has the defaults: what is found is never worse on the part held back. Trials
//! go through [`tradewind_learn::search`], so a search that was stopped goes on from its store with the very same
//! suggestions, by Parzen estimators, a Gaussian process, a grid or chance.
//!
//! What is best on a part held back is told too well by it: measure the choice on events that the search has not seen.
//!
//! ```
//! use tradewind_core::{EventSettings, Interaction, Interactions, Run};
//! use tradewind_recommend::tune::{Tuning, tune};
//! use tradewind_learn::search::MemoryStore;
//! let rows: Vec<(String, String)> =
//!     (0..40).flat_map(|u| (0..6).map(move |k| (format!("u{u}"), format!("i{}", (u % 2) * 9 + (u + k) % 9)))).collect();
//! let rows = rows.iter().map(|(u, i)| Interaction::plain(u, i, 0));
//! let data = Interactions::build(rows, &EventSettings::default()).unwrap();
//! let entry = tradewind_recommend::entry("item_knn").unwrap();
//! let mut tuning = Tuning::new("k=logint(1,200) shrink=float(0,30)".parse().unwrap());
//! tuning.search.n_trials = 8;
//! let found = tune(&Run::new(1), entry, &data, &tuning, &MemoryStore::default(), &|| false).unwrap();
//! assert!(found.ndcg >= found.ndcg_of_defaults.unwrap());
//! ```

use crate::evaluate::{Split, by_time, evaluate, leave_last_out, random};
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Ask, Error, Interactions, ParamCheck, ParamKind, ParamSpec, Params, RecommenderEntry, Result, Run,
};
use tradewind_learn::search::{Dimension, Direction, Domain, Search, Space, Study, TrialStore};

/// What is held back to compare parameters on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldBack {
    /// The last event of every user with three and more.
    #[default]
    Last,
    /// Each event with this chance, above 0 and below 1.
    Random(f64),
    /// Everything from this `ds` on.
    From(i64),
}

/// How parameters are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// What may be chosen; [`space_of`] has a space for every method.
    pub space: Space,
    /// How points are chosen; large is good, whatever it says.
    pub search: Search,
    /// What is held back.
    pub hold_back: HoldBack,
    /// Parameters that stay as they are here, whatever the trial.
    pub fixed: Params,
    /// The place up to which lists count.
    pub k: usize,
    /// Whether items of the own history may be shown again.
    pub allow_seen: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self::new(Space::default())
    }
}

impl Tuning {
    /// 50 trials in this space, by NDCG at 10 on the last event of every user.
    pub fn new(space: Space) -> Self {
        Self {
            space,
            search: Search { n_trials: 50, direction: Direction::Maximise, ..Search::default() },
            hold_back: HoldBack::default(),
            fixed: Params::new(),
            k: 10,
            allow_seen: false,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The best parameters, the fixed ones among them: ready for the entry's `build`.
    pub params: Params,
    /// Their NDCG on the part held back.
    pub ndcg: f64,
    /// That of the defaults, where the space holds them.
    pub ndcg_of_defaults: Option<f64>,
    /// Trials that have a score.
    pub n_complete: usize,
    /// Trials that had a fault; the store has the reasons.
    pub n_failed: usize,
}

/// Searches the parameters of a method. `should_stop` is asked between trials; what is found then is the best so far.
pub fn tune(
    run: &Run,
    entry: &RecommenderEntry,
    data: &Interactions,
    tuning: &Tuning,
    store: &dyn TrialStore,
    should_stop: &(dyn Fn() -> bool + Sync),
) -> Result<Tuned> {
    let mut check = ParamCheck::new();
    check.require((1..=1_000_000).contains(&tuning.k), "k", tuning.k, "1 to 1000000");
    if let HoldBack::Random(share) = tuning.hold_back {
        check.require(share > 0.0 && share < 1.0, "hold_back", share, "above 0 and below 1");
    }
    check.finish()?;
    if tuning.space.is_empty() {
        return Err(Error::Invalid(format!(
            "there is nothing to choose of `{}`: its space is empty",
            entry.name
        )));
    }
    for name in tuning.space.dimensions().iter().map(|d| &d.name).chain(tuning.fixed.keys()) {
        if entry.params.iter().all(|spec| spec.name != *name) {
            return Err(Error::UnknownParam {
                model: entry.name.to_owned(),
                name: name.clone(),
                known: entry.params.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", "),
            });
        }
    }
    let Split { train, held } = match tuning.hold_back {
        HoldBack::Last => leave_last_out(run, data, 3),
        HoldBack::Random(share) => random(run, data, share),
        HoldBack::From(ds) => by_time(data, ds),
    };
    if held.is_empty() {
        return Err(Error::Invalid(
            "nothing can be held back to compare parameters on: histories are too short or too old".into(),
        ));
    }
    let search = Search { direction: Direction::Maximise, ..tuning.search };
    let defaults = defaults(entry, &tuning.space);
    let mut study = Study::open(run, tuning.space.clone(), search, store)?;
    if let Some(point) = &defaults {
        study = study.with_first(vec![point.clone()])?;
    }
    let with_fixed = |point: &Params| {
        let mut params = point.clone();
        params.extend(tuning.fixed.clone());
        params
    };
    let quiet = run.quiet();
    let ask = Ask::new(tuning.k).with_seen(tuning.allow_seen);
    study.optimise(
        |trial| {
            let model = (entry.build)(&with_fixed(trial.params()))?;
            let fitted = model.fit(&quiet, &train)?;
            Ok(evaluate(&quiet, &*fitted, &held, &[tuning.k], &ask)?.at[0].ndcg.mean)
        },
        should_stop,
    )?;
    let n_complete = study.trials().filter(|t| t.value.is_some()).count();
    let failed: Vec<_> = study.trials().filter(|t| t.error.is_some()).collect();
    let Some((best, ndcg)) = study.best().and_then(|t| Some((t, t.value?))) else {
        let why = failed.first().and_then(|t| t.error.clone()).unwrap_or_else(|| "it was stopped".into());
        return Err(Error::Invalid(format!("no trial of `{}` came to an end: {why}", entry.name)));
    };
    let ndcg_of_defaults =
        study.trials().find(|t| t.number == 0 && Some(&t.params) == defaults.as_ref()).and_then(|t| t.value);
    Ok(Tuned { params: with_fixed(&best.params), ndcg, ndcg_of_defaults, n_complete, n_failed: failed.len() })
}

/// The point of the defaults, where the space holds it.
fn defaults(entry: &RecommenderEntry, space: &Space) -> Option<Params> {
    let mut point = Params::new();
    for (at, d) in space.dimensions().iter().enumerate() {
        if space.is_active(at, &point) {
            let spec = entry.params.iter().find(|spec| spec.name == d.name)?;
            point.insert(d.name.clone(), default_of(spec)?);
        }
    }
    space.check_point(&point).is_ok().then_some(point)
}

fn default_of(spec: &ParamSpec) -> Option<serde_json::Value> {
    match spec.kind {
        ParamKind::Integer { .. } => spec.default.parse::<i64>().ok().map(Into::into),
        ParamKind::Number { .. } => spec.default.parse::<f64>().ok().map(Into::into),
        ParamKind::Flag => spec.default.parse::<bool>().ok().map(Into::into),
        ParamKind::Choice(_) => Some(spec.default.into()),
        ParamKind::Numbers { .. } => None,
    }
}

/// Parameters that bound time and memory and are no matter of taste, so that a space does not hold them.
const BOUNDS: [&str; 4] = ["items_max", "users_max", "iterations", "steps"];
/// How far a space goes from the default, down and up.
const REACH: f64 = 8.0;

/// A space for a method of the catalogue, from its parameters: about their defaults, within their ranges. Parameters
/// that only bound the work are left out, and so are those without a default.
///
/// ```
/// let space = tradewind_recommend::tune::space_of(tradewind_recommend::entry("ease").unwrap()).unwrap();
/// assert_eq!(space.to_string(), "regularization=log(62.5,4000)");
/// ```
pub fn space_of(entry: &RecommenderEntry) -> Result<Space> {
    let specs = entry.params.iter().filter(|spec| !BOUNDS.contains(&spec.name));
    let dimensions = specs.filter_map(|spec| {
        let domain = match spec.kind {
            ParamKind::Integer { min, max } => {
                // 0 stands for another way: as the model finds right, or without this.
                let default = spec.default.parse::<i64>().ok().filter(|d| *d != 0)?;
                let low = (default / REACH as i64).max(min).max(1).min(default.max(min));
                let high = default.saturating_mul(REACH as i64).clamp(low.max(1), max.max(low));
                Domain::Int { low, high, step: 1, log: low >= 1 }
            }
            ParamKind::Number { min, max } => {
                let default = spec.default.parse::<f64>().ok()?;
                if default > 0.0 && default / REACH >= min && max > 1.0 {
                    Domain::Float { low: default / REACH, high: (default * REACH).min(max), log: true }
                } else {
                    // A share, or a number that may be 0.
                    Domain::Float {
                        low: min.max(-1.0).min(default),
                        high: max.min(default.abs() + 1.0),
                        log: false,
                    }
                }
            }
            ParamKind::Choice(words) => {
                // A choice of one word is none.
                (words.len() > 1).then(|| Domain::Choice(words.iter().map(|w| (*w).to_owned()).collect()))?
            }
            ParamKind::Flag => Domain::Flag,
            ParamKind::Numbers { .. } => return None,
        };
        Some(Dimension { name: spec.name.to_owned(), domain, when: None })
    });
    Space::new(dimensions.collect())
}
