//! Chooses and combines methods for each series by how well they did in its own past.
//!
//! Every candidate of the pool forecasts some earlier windows (rolling origins) inside the history. Its error on a
//! window is taken relative to the pool's mean there: half sMAPE, half MASE for series that sell steadily, RMSSE for
//! slow ones (whose median is often zero, so that absolute errors would reward forecasting nothing). One series has few
//! origins, so a choice by its own errors alone is mostly luck; they are drawn towards the candidate's error on all
//! series of its kind:
//!
//! ```text
//! score[s, m] = (n[s] · own[s, m] + shrink · class[m]) / (n[s] + shrink)
//! ```
//!
//! The `best` candidates by score are combined: inverse to the error (`weighted`), evenly (`mean`), by their `median`,
//! or the first alone (`best`). With `stacking` and `greedy` there is no choice for each series: all series of a class have
//! the weights with which the whole pool together did best on their past windows, by least squares (Breiman 1996) or by
//! greedy selection on absolute errors (Caruana and others 2004). Intervals are conformal ([`crate::conformal`]), from the errors of the combination at the same
//! origins, with the weights of each origin found from the others.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `pool` | `default` | candidates: `default`, `fast`, or names of models with commas between | |
//! | `origins` | 3 | past origins | 1 to 20 |
//! | `horizon` | a season, else 6 | steps of each past window; best set to the steps wanted | 1 to 10000 |
//! | `combine` | `weighted` | how the best are combined | weighted, mean, median, best, stacking, greedy |
//! | `best` | 3 | how many are combined | 1 to 50 |
//! | `shrink` | 6 | origins that the class's errors count for | 0 to 1000 |
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//!
//! The pool for steady series and `best` were chosen on the held-out ends of the M3 and M4 histories (monthly, quarterly,
//! weekly, hourly): OWA 0.831, 0.842, 0.771 and 0.432, where six of the pool had 0.829, 0.849, 0.813 and 0.463.
//!
//! Sources: Bates and Granger (1969), *The combination of forecasts*; Kolassa (2011), *Combining exponential smoothing
//! forecasts using Akaike weights*; Petropoulos and Svetunkov (2020), *A simple combination of univariate models*. The
//! shrinking towards the class is ours.

mod choice;
mod fitted;

use crate::backtest::DemandClass;
use crate::conformal::{Calibration, Residuals};
use crate::entry;
use crate::local::{SEASON_LENGTH, season_of};
use fitted::{Member, load};
pub use fitted::{FittedAuto, Pick};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tradewind_core::{
    Error, FittedForecaster, Forecaster, ForecasterEntry, Needs, Panel, ParamKind, ParamSpec, Params, Result, Run,
};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "auto",
    summary: "The best methods for each series by backtest, combined.",
    summary_zh: "按回测为每个序列选出表现最好的若干方法并加以组合。",
    source: "Bates & Granger (1969), The combination of forecasts; Petropoulos & Svetunkov (2020), A simple combination of univariate models",
    params: &[
        ParamSpec {
            name: "pool",
            kind: ParamKind::Choice(POOLS),
            default: "default",
            summary: "the candidates: a named pool, or names of models with commas between",
        },
        ParamSpec {
            name: "origins",
            kind: ParamKind::Integer { min: 1, max: 20 },
            default: "3",
            summary: "past origins at which the candidates are compared",
        },
        ParamSpec {
            name: "horizon",
            kind: ParamKind::Integer { min: 1, max: 10_000 },
            default: "",
            summary: "steps of each past window; a season (6 without one) when not given",
        },
        ParamSpec {
            name: "combine",
            kind: ParamKind::Choice(&["weighted", "mean", "median", "best", "stacking", "greedy"]),
            default: "weighted",
            summary: "how the best candidates are combined: inverse to their error, evenly, by their median, the first alone; or all by weights stacked on past windows, by least squares or greedily",
        },
        ParamSpec {
            name: "best",
            kind: ParamKind::Integer { min: 1, max: 50 },
            default: "3",
            summary: "how many candidates are combined",
        },
        ParamSpec {
            name: "shrink",
            kind: ParamKind::Number { min: 0.0, max: 1000.0 },
            default: "6",
            summary: "origins that the errors on all series of the class count for beside a series' own",
        },
        SEASON_LENGTH,
    ],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build,
    load,
};

/// The named pools.
const POOLS: &[&str] = &["default", "fast"];

/// A candidate: the name of a model, and parameters as JSON text.
type Named = (&'static str, &'static str);

/// For series that sell steadily.
const STEADY: &[Named] = &[
    ("theta", "{}"),
    ("ets", "{}"),
    ("autoregression", "{}"),
    ("mstl", "{}"),
    ("seasonal_naive", "{}"),
    ("naive", "{}"),
];
/// For slow sellers.
const SLOW: &[Named] = &[
    ("sba", "{}"),
    ("tsb", "{}"),
    ("imapa", "{}"),
    ("ses", "{}"),
    ("theta", r#"{"variant":"stm"}"#),
    ("moving_average", "{}"),
    ("mean", "{}"),
];
/// The quick ones of each.
const STEADY_FAST: &[Named] = &[
    ("theta", r#"{"variant":"stm"}"#),
    ("theta", r#"{"variant":"dotm"}"#),
    ("seasonal_naive", "{}"),
    ("ses", "{}"),
    ("naive", "{}"),
];
const SLOW_FAST: &[Named] = &[("sba", "{}"), ("tsb", "{}"), ("ses", "{}"), ("mean", "{}")];

/// How the best candidates become one forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Weights inverse to the squared error.
    #[default]
    Weighted,
    /// Equal weights.
    Mean,
    /// The median of the candidates at each step.
    Median,
    /// The best one alone.
    Best,
    /// All, by the weights of least squared error on the past windows of their class.
    Stacking,
    /// All, by greedy selection on the past windows of their class.
    Greedy,
}

impl Combine {
    /// Whether all series of a class have the same weights, of the whole pool.
    fn is_stacked(self) -> bool {
        matches!(self, Self::Stacking | Self::Greedy)
    }
}

/// The parameters, as the table above tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Auto {
    /// `default`, `fast`, or names of models with commas between.
    pub pool: String,
    /// Past origins.
    pub origins: usize,
    /// Steps of each past window.
    pub horizon: Option<usize>,
    /// How the best are combined.
    pub combine: Combine,
    /// How many are combined.
    pub best: usize,
    /// Origins that the class's errors count for.
    pub shrink: f64,
    /// Steps of a season.
    pub season_length: Option<usize>,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            pool: "default".into(),
            origins: 3,
            horizon: None,
            combine: Combine::Weighted,
            best: 3,
            shrink: 6.0,
            season_length: None,
        }
    }
}

fn build(params: &Params) -> Result<Box<dyn Forecaster>> {
    Ok(Box::new(from_params(params)?))
}

/// Reads the parameters by the entry's ranges.
///
/// # Errors
/// Unknown names and values out of range, all at once.
pub fn from_params(params: &Params) -> Result<AutoForecaster> {
    let mut known = params.clone();
    // A list of names is no word of the choice that the entry shows, so it is read here.
    let pool = match known.get("pool").and_then(Value::as_str) {
        Some(list) if list.contains(',') || entry(list.trim()).is_ok() => Some(list.to_owned()),
        _ => None,
    };
    if pool.is_some() {
        known.remove("pool");
    }
    let mut auto: Auto = ENTRY.read(&known)?;
    if let Some(pool) = pool {
        auto.pool = pool;
    }
    AutoForecaster::new(auto)
}

/// A model with its needs.
struct Candidate {
    entry: &'static ForecasterEntry,
    params: Params,
    model: Box<dyn Forecaster>,
}

impl Candidate {
    fn new(name: &str, mut params: Params, all: &Auto) -> Result<Self> {
        let entry = entry(name)?;
        for (shared, value) in [("season_length", all.season_length), ("horizon", all.horizon)] {
            if let Some(value) = value
                && entry.params.iter().any(|p| p.name == shared)
            {
                params.insert(shared.into(), json!(value));
            }
        }
        Ok(Self { entry, model: (entry.build)(&params)?, params })
    }

    /// Whether the history has what the model needs.
    fn can_take(&self, y: &[f64], season: usize) -> bool {
        let needs = &self.entry.needs;
        let known = y.iter().filter(|v| v.is_finite()).count();
        known >= needs.min_observations
            && (season <= 1 || known >= needs.min_seasons * season)
            && (!needs.positive || y.iter().all(|v| v.is_nan() || *v > 0.0))
    }
}

/// The method before it has seen data.
pub struct AutoForecaster {
    params: Auto,
    /// Candidates for steady series and for slow ones.
    pools: [Vec<Candidate>; 2],
    exact_coverage: bool,
}

impl AutoForecaster {
    /// Checks the parameters and makes the candidates.
    ///
    /// # Errors
    /// Parameters out of range, a name in `pool` that no model has, or `auto` itself in it.
    pub fn new(params: Auto) -> Result<Self> {
        let named = |list: &[Named]| -> Result<Vec<Candidate>> {
            list.iter()
                .map(|(name, params_json)| {
                    let own: Params = serde_json::from_str(params_json)
                        .map_err(|source| Error::Saved { what: format!("pool entry {name}"), source })?;
                    Candidate::new(name, own, &params)
                })
                .collect()
        };
        let pools = match params.pool.as_str() {
            "default" => [named(STEADY)?, named(SLOW)?],
            "fast" => [named(STEADY_FAST)?, named(SLOW_FAST)?],
            list => {
                let names: Vec<&str> = list.split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
                if names.is_empty() || names.contains(&ENTRY.name) {
                    return Err(Error::Invalid(format!(
                        "pool `{list}` of auto: give `default`, `fast` or names of other models with commas between"
                    )));
                }
                let all = || -> Result<Vec<Candidate>> {
                    names.iter().map(|n| Candidate::new(n, Params::new(), &params)).collect()
                };
                [all()?, all()?]
            }
        };
        Ok(Self { params, pools, exact_coverage: false })
    }

    /// Takes quantile levels as ends of central intervals, as [`crate::conformal::ConformalSettings::exact_coverage`].
    pub fn exact_coverage(mut self, yes: bool) -> Self {
        self.exact_coverage = yes;
        self
    }

    /// Learns from the panel, giving the full type.
    ///
    /// # Errors
    /// Cancellation, or a candidate's refusal of its parameters.
    pub fn fit_panel(&self, run: &Run, panel: &Panel) -> Result<FittedAuto> {
        let season = panel.iter().next().map_or(1, |s| season_of(self.params.season_length, &s));
        let horizon = self.params.horizon.unwrap_or(if season > 1 { season } else { 6 });
        let slow: Vec<bool> = panel.iter().map(|s| DemandClass::of(s.y).is_slow()).collect();

        let mut choice = vec![Vec::new(); panel.len()];
        let mut members: Vec<Member> = Vec::new();
        let mut residuals = Vec::new();
        for (part_idx, pool) in self.pools.iter().enumerate() {
            let part = panel.filter(|i, _| usize::from(slow[i]) == part_idx);
            if part.is_empty() {
                continue;
            }
            let at: Vec<usize> = part.ids().iter().filter_map(|id| panel.position(id)).collect();
            let chosen = self.choose(run, &part, pool, season, horizon)?;
            for (i, weights) in chosen.weights.iter().enumerate() {
                choice[at[i]] = weights.iter().map(|&(m, w)| (members.len() + m, w)).collect();
            }
            residuals.extend(chosen.residuals.into_iter().map(|r| Residuals { series: at[r.series], ..r }));
            let offset = members.len();
            for (m, candidate) in pool.iter().enumerate() {
                run.check()?;
                // Each candidate learns only the series that use it.
                let users = part.filter(|i, _| choice[at[i]].iter().any(|(k, _)| *k == offset + m));
                let fitted =
                    if users.is_empty() { None } else { Some(candidate.model.fit(&run.quiet(), &users)?) };
                members.push(Member {
                    model: candidate.entry.name,
                    params: candidate.params.clone(),
                    fitted,
                    ids: users.ids().to_vec(),
                });
            }
        }
        Ok(FittedAuto {
            combine: self.params.combine,
            freq: panel.freq(),
            ids: panel.ids().to_vec(),
            next: panel.iter().map(|s| s.ds(s.y.len())).collect(),
            choice,
            members,
            calibration: Calibration::learn(panel, season, true, &residuals)
                .map(|c| c.covering(self.exact_coverage)),
        })
    }
}

impl Forecaster for AutoForecaster {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        Ok(Box::new(self.fit_panel(run, panel)?))
    }
}

/// One number of several with weights that sum to 1.
fn combined(how: Combine, said: impl Iterator<Item = (f64, f64)>) -> f64 {
    match how {
        Combine::Median => {
            let mut values: Vec<f64> = said.map(|(v, _)| v).collect();
            values.sort_by(f64::total_cmp);
            match values.len() {
                0 => f64::NAN,
                n if n % 2 == 1 => values[n / 2],
                n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
            }
        }
        _ => said.map(|(v, w)| v * w).sum(),
    }
}

