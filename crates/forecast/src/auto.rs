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
//! or the first alone (`best`). Intervals are conformal ([`crate::conformal`]), from the errors of the combination at the same
//! origins, with the weights of each origin found from the others.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `pool` | `default` | candidates: `default`, `fast`, or names of models with commas between | |
//! | `origins` | 3 | past origins | 1 to 20 |
//! | `horizon` | a season, else 6 | steps of each past window; best set to the steps wanted | 1 to 10000 |
//! | `combine` | `weighted` | how the best are combined | weighted, mean, median, best |
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

use crate::backtest::{self, BacktestResult, DemandClass};
use crate::conformal::{Calibration, Residuals, look_back};
use crate::local::{SEASON_LENGTH, check_ahead, season_of};
use crate::entry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tradewind_core::{
    Ahead, Error, FittedForecaster, Forecast, Forecaster, ForecasterEntry, Freq, Needs, Panel, ParamKind,
    ParamSpec, Params, Result, Run, Stamp,
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
            kind: ParamKind::Choice(&["weighted", "mean", "median", "best"]),
            default: "weighted",
            summary: "how the best candidates are combined: inverse to their error, evenly, by their median, or the first alone",
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

/// Fewest series of a class for errors of its own; smaller ones share those of the whole part.
const OWN_CLASS_SERIES: usize = 30;
/// The power of the error in the weights. Squared, as the inverse variances of Bates and Granger.
const WEIGHT_POWER: i32 = 2;

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
    fn new(name: &str, mut params: Params, season_length: Option<usize>) -> Result<Self> {
        let entry = entry(name)?;
        if let Some(m) = season_length
            && entry.params.iter().any(|p| p.name == "season_length")
        {
            params.insert("season_length".into(), json!(m));
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
                    Candidate::new(name, own, params.season_length)
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
                    names.iter().map(|n| Candidate::new(n, Params::new(), params.season_length)).collect()
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

    /// Compares the candidates on the past of `part`.
    fn choose(
        &self,
        run: &Run,
        part: &Panel,
        pool: &[Candidate],
        season: usize,
        horizon: usize,
    ) -> Result<Chosen> {
        let able: Vec<Vec<bool>> =
            part.iter().map(|s| pool.iter().map(|c| c.can_take(s.y, season)).collect()).collect();
        let Some(settings) = look_back(part, season, horizon, self.params.origins, 0) else {
            // Nothing to look back on: all that can take the series, evenly.
            let no_scores = Scored {
                relative: vec![],
                windows_of: vec![vec![]; part.len()],
                class_of: vec![0; part.len()],
            };
            let weights = (0..part.len())
                .map(|s| self.weigh(&no_scores, &[vec![1.0; pool.len()]], s, None, &able[s]))
                .collect();
            return Ok(Chosen { weights, residuals: vec![] });
        };
        let models: Vec<&dyn Forecaster> = pool.iter().map(|c| &*c.model).collect();
        let result = backtest::run(run, part, &models, &settings)?;
        let scored = Scored::of(&result, part.len());
        let class = scored.class_errors(pool.len(), &able, None);
        let weights: Vec<Vec<(usize, f64)>> =
            (0..part.len()).map(|s| self.weigh(&scored, &class, s, None, &able[s])).collect();

        // The combination's own past errors, each origin with the weights that the others give.
        let mut residuals = Vec::with_capacity(result.windows().len());
        for o in 0..settings.n_origins {
            let without = (settings.n_origins > 1).then_some(o);
            let overlap = settings.horizon.div_ceil(settings.stride());
            let class = scored.class_errors(pool.len(), &able, without);
            for (w, window) in result.windows().iter().enumerate().filter(|(_, w)| w.origin == o) {
                let weights = self.weigh(
                    &scored,
                    &class,
                    window.series,
                    without.map(|o| (o, overlap)),
                    &able[window.series],
                );
                let said: Vec<(&[f64], f64)> =
                    weights.iter().map(|(m, x)| (result.mean(*m, w), *x)).collect();
                let errors = result
                    .actual(w)
                    .iter()
                    .enumerate()
                    .map(|(k, y)| y - combined(self.params.combine, said.iter().map(|(f, x)| (f[k], *x))))
                    .collect();
                residuals.push(Residuals {
                    series: window.series,
                    origin: o,
                    n_train: window.n_train,
                    errors,
                });
            }
        }
        Ok(Chosen { weights, residuals })
    }

    /// The best candidates of a series with their weights, which sum to 1; best first. `without` is an origin that is not
    /// looked at, and how many origins further a window no longer shares observations with it.
    fn weigh(
        &self,
        scored: &Scored,
        class: &[Vec<f64>],
        s: usize,
        without: Option<(usize, usize)>,
        able: &[bool],
    ) -> Vec<(usize, f64)> {
        let prior = &class[scored.class_of[s]];
        let mut by_score: Vec<(usize, f64)> = (0..prior.len())
            .filter(|m| able[*m])
            .map(|m| {
                let own: Vec<f64> = scored.windows_of[s]
                    .iter()
                    .filter(|(o, _)| without.is_none_or(|(out, overlap)| o.abs_diff(out) >= overlap))
                    .map(|(_, w)| scored.relative[*w][m])
                    .filter(|e| e.is_finite())
                    .collect();
                let n = own.len() as f64;
                let score = if n + self.params.shrink > 0.0 {
                    (own.iter().sum::<f64>() + self.params.shrink * prior[m]) / (n + self.params.shrink)
                } else {
                    prior[m]
                };
                (m, score.max(1e-6))
            })
            .collect();
        if by_score.is_empty() {
            // No model can take it as it is; the last of the pool falls back on its own.
            return vec![(prior.len() - 1, 1.0)];
        }
        by_score.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        by_score.truncate(if self.params.combine == Combine::Best { 1 } else { self.params.best.max(1) });
        let weight = |score: f64| {
            if self.params.combine == Combine::Weighted { score.powi(-WEIGHT_POWER) } else { 1.0 }
        };
        let sum: f64 = by_score.iter().map(|(_, e)| weight(*e)).sum();
        by_score.into_iter().map(|(m, e)| (m, weight(e) / sum)).collect()
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

/// What a comparison of candidates gave.
struct Chosen {
    weights: Vec<Vec<(usize, f64)>>,
    residuals: Vec<Residuals>,
}

/// Errors of each candidate on each window, relative to the pool's mean there.
struct Scored {
    relative: Vec<Vec<f64>>,
    /// For each series: origin and window.
    windows_of: Vec<Vec<(usize, usize)>>,
    class_of: Vec<usize>,
}

impl Scored {
    fn of(result: &BacktestResult, n_series: usize) -> Self {
        let n_models = result.models().len();
        let mut windows_of = vec![Vec::new(); n_series];
        let relative = result
            .windows()
            .iter()
            .enumerate()
            .map(|(w, window)| {
                windows_of[window.series].push((window.origin, w));
                let y = result.actual(w);
                let slow = result.classes()[window.series].is_slow();
                let errors: Vec<(f64, f64)> =
                    (0..n_models).map(|m| window_errors(y, result.mean(m, w), slow)).collect();
                let pool_mean = |of: fn(&(f64, f64)) -> f64| {
                    let known: Vec<f64> = errors.iter().map(of).filter(|e| e.is_finite()).collect();
                    known.iter().sum::<f64>() / known.len() as f64
                };
                let (a, b) = (pool_mean(|e| e.0), pool_mean(|e| e.1));
                // Where every candidate is exact, none is better.
                let over = |e: f64, mean: f64| {
                    if mean > 0.0 {
                        e / mean
                    } else if e.is_nan() {
                        e
                    } else {
                        1.0
                    }
                };
                errors.iter().map(|e| 0.5 * (over(e.0, a) + over(e.1, b))).collect()
            })
            .collect();
        // Classes with few series share one pool of errors, which is numbered 4.
        let mut count = [0_usize; 4];
        result.classes().iter().for_each(|c| count[*c as usize] += 1);
        let class_of = result
            .classes()
            .iter()
            .map(|c| if count[*c as usize] >= OWN_CLASS_SERIES { *c as usize } else { 4 })
            .collect();
        Self { relative, windows_of, class_of }
    }

    /// The mean error of each candidate by class, over the series that it can take.
    fn class_errors(&self, n_models: usize, able: &[Vec<bool>], without: Option<usize>) -> Vec<Vec<f64>> {
        let mut sums = vec![vec![(0.0, 0.0); n_models]; 5];
        for (s, windows) in self.windows_of.iter().enumerate() {
            for (_, w) in windows.iter().filter(|(o, _)| Some(*o) != without) {
                for m in (0..n_models).filter(|m| able[s][*m] && self.relative[*w][*m].is_finite()) {
                    for class in [self.class_of[s], 4] {
                        let sum = &mut sums[class][m];
                        sum.0 += self.relative[*w][m];
                        sum.1 += 1.0;
                        if self.class_of[s] == 4 {
                            break;
                        }
                    }
                }
            }
        }
        sums.into_iter()
            .map(|c| c.into_iter().map(|(e, n)| if n > 0.0 { e / n } else { 1.0 }).collect())
            .collect()
    }
}

/// Two errors of one window: sMAPE and mean absolute error; for slow series root mean squared error twice.
fn window_errors(y: &[f64], f: &[f64], slow: bool) -> (f64, f64) {
    use tradewind_core::metrics::point;
    if f.iter().any(|v| v.is_nan()) {
        return (f64::NAN, f64::NAN);
    }
    if slow {
        let e = point::rmse(y, f);
        (e, e)
    } else {
        // Relative to the pool on the same window, the scale of the MASE falls out.
        (point::smape(y, f), point::mae(y, f))
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
        Combine::Weighted | Combine::Mean | Combine::Best => said.map(|(v, w)| v * w).sum(),
    }
}

/// One candidate that was learnt, with the series that use it.
struct Member {
    model: &'static str,
    params: Params,
    /// `None` when no series uses it.
    fitted: Option<Box<dyn FittedForecaster>>,
    ids: Vec<String>,
}

/// What `auto` has learnt.
pub struct FittedAuto {
    combine: Combine,
    freq: Freq,
    ids: Vec<String>,
    next: Vec<Stamp>,
    choice: Vec<Vec<(usize, f64)>>,
    members: Vec<Member>,
    calibration: Option<Calibration>,
}

/// One method in the choice for a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pick {
    /// The model.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// Its weight; the weights of a series sum to 1.
    pub weight: f64,
}

impl FittedAuto {
    /// What was chosen for series `i`, best first.
    pub fn picks(&self, i: usize) -> Vec<Pick> {
        self.choice
            .get(i)
            .into_iter()
            .flatten()
            .map(|&(m, weight)| Pick {
                model: self.members[m].model.to_owned(),
                params: self.members[m].params.clone(),
                weight,
            })
            .collect()
    }
}

impl FittedForecaster for FittedAuto {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let h = ahead.horizon;
        // With a calibration the members' own quantiles are not needed.
        let own = if self.calibration.is_some() { &[][..] } else { ahead.quantiles };
        let mut out = Forecast::new(ENTRY.name, self.freq, h, own);
        let levels = out.levels().to_vec();
        let mut said = Vec::with_capacity(self.members.len());
        for member in &self.members {
            run.check()?;
            said.push(match &member.fitted {
                Some(fitted) => {
                    Some(fitted.predict(&run.quiet(), &Ahead { quantiles: own, ..ahead.clone() })?)
                }
                None => None,
            });
        }
        for (i, id) in self.ids.iter().enumerate() {
            let parts: Vec<(&Forecast, usize, f64)> = self.choice[i]
                .iter()
                .filter_map(|&(m, w)| {
                    let k = self.members[m].ids.binary_search(id).ok()?;
                    Some((said[m].as_ref()?, k, w))
                })
                .collect();
            let mean: Vec<f64> = (0..h)
                .map(|k| combined(self.combine, parts.iter().map(|(f, s, w)| (f.mean(*s)[k], *w))))
                .collect();
            let mut quantiles = Vec::with_capacity(h * levels.len());
            for k in 0..h {
                for level in &levels {
                    let at = |(f, s, w): &(&Forecast, usize, f64)| {
                        (f.quantile(*s, k, *level).unwrap_or(mean[k]), *w)
                    };
                    quantiles.push(combined(self.combine, parts.iter().map(at)));
                }
            }
            out.push(id, self.next[i], &mean, &quantiles)?;
        }
        match &self.calibration {
            Some(c) => c.widen(&out, ahead.quantiles),
            None => Ok(out),
        }
    }

    fn update(&mut self, run: &Run, newer: &Panel) -> Result<()> {
        if newer.freq() != self.freq {
            return Err(Error::Invalid(format!(
                "auto was fitted on {} data and cannot take in {} data",
                self.freq,
                newer.freq()
            )));
        }
        // All is looked at before anything changes, so that a refused update leaves every member as it was.
        for s in newer.iter().filter(|s| !s.y.is_empty()) {
            let Ok(i) = self.ids.binary_search_by(|id| id.as_str().cmp(s.id)) else {
                return Err(Error::Invalid(format!(
                    "auto was not fitted on series `{}`; fit again to take it in",
                    s.id
                )));
            };
            if self.freq.steps(self.next[i], s.start).is_none_or(|gap| gap < 0) {
                return Err(Error::Invalid(format!(
                    "series `{}` goes on at {}, but the newer observations begin at {}",
                    s.id,
                    self.freq.format(self.next[i]),
                    self.freq.format(s.start)
                )));
            }
        }
        for member in &mut self.members {
            let theirs = newer.filter(|_, s| member.ids.binary_search_by(|id| id.as_str().cmp(s.id)).is_ok());
            if let Some(fitted) = member.fitted.as_mut().filter(|_| !theirs.is_empty()) {
                fitted.update(run, &theirs)?;
            }
        }
        for s in newer.iter().filter(|s| !s.y.is_empty()) {
            if let Ok(i) = self.ids.binary_search_by(|id| id.as_str().cmp(s.id)) {
                self.next[i] = s.ds(s.y.len());
            }
        }
        if let Some(c) = &mut self.calibration {
            c.note(newer);
        }
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        let members = self
            .members
            .iter()
            .map(|m| {
                Ok(SavedMember {
                    model: m.model.to_owned(),
                    params: m.params.clone(),
                    state: m.fitted.as_ref().map(|f| f.save()).transpose()?,
                    ids: m.ids.clone(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let saved = Saved {
            combine: self.combine,
            freq: self.freq,
            ids: self.ids.clone(),
            next: self.next.clone(),
            choice: self.choice.clone(),
            members,
            calibration: self.calibration.clone(),
        };
        serde_json::to_value(&saved).map_err(unreadable)
    }
}

#[derive(Serialize, Deserialize)]
struct SavedMember {
    model: String,
    params: Params,
    state: Option<Value>,
    ids: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    combine: Combine,
    freq: Freq,
    ids: Vec<String>,
    next: Vec<Stamp>,
    choice: Vec<Vec<(usize, f64)>>,
    members: Vec<SavedMember>,
    calibration: Option<Calibration>,
}

fn unreadable(source: serde_json::Error) -> Error {
    Error::Saved { what: ENTRY.name.into(), source }
}

fn load(state: Value) -> Result<Box<dyn FittedForecaster>> {
    let saved: Saved = serde_json::from_value(state).map_err(unreadable)?;
    let n = saved.ids.len();
    let fits = saved.next.len() == n
        && saved.choice.len() == n
        && saved.ids.windows(2).all(|w| w[0] < w[1])
        && saved.choice.iter().flatten().all(|(m, _)| *m < saved.members.len())
        && saved.calibration.as_ref().is_none_or(|c| c.fits(&saved.ids));
    if !fits {
        return Err(Error::Invalid("saved auto has series that do not fit together".into()));
    }
    let members = saved
        .members
        .into_iter()
        .map(|m| {
            let entry = entry(&m.model)?;
            Ok(Member {
                model: entry.name,
                params: m.params,
                fitted: m.state.map(|s| (entry.load)(s)).transpose()?,
                ids: m.ids,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(FittedAuto {
        combine: saved.combine,
        freq: saved.freq,
        ids: saved.ids,
        next: saved.next,
        choice: saved.choice,
        members,
        calibration: saved.calibration,
    }))
}
