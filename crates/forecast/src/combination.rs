//! The mean or the median of several methods, each fitted to the whole history.
//!
//! Methods err in different directions, so that their middle is often better than the best of them, and never as bad as
//! the worst (Bates & Granger 1969; Makridakis & Hibon 2000 found it again in every class of the M3 competition). Unlike
//! [`auto`](crate::auto), nothing is looked back on and no weight is learnt: it costs as much as its members.
//!
//! | parameter | default | meaning |
//! | --- | --- | --- |
//! | `methods` | `default` | names of other methods with commas between, each with its own defaults; `default` is `ets,theta,stl` |
//! | `how` | `mean` | `mean` or `median` of the forecasts at each step |
//! | `season_length` | by frequency | steps of a season, for all members that have one |
//! | `horizon` | by frequency | the furthest step that is learnt, for all members that learn one; best set to the steps wanted |
//! | `calendar` | `plain` | whose holidays are looked at, for all members that look at a calendar |
//!
//! The default members were chosen on held-out ends of the M3 monthly and quarterly histories and on M1 (OWA averaged over
//! the four: 0.849; `ets` and `theta` 0.857, `ets` alone 0.857, `theta` alone 0.889). Quantiles are combined as the
//! forecasts are, level by level: mean quantiles of members that agree are theirs.
//! `methods=global,mlp` is the mean of trees and networks that are learnt across all series.
//!
//! ```
//! use tradewind_core::{Ahead, Freq, Panel, Params, Run};
//! let y = (0..40).map(|t| 50.0 + 2.0 * t as f64 + [3.0, -1.0, -2.0, 0.0][t % 4]).collect();
//! let panel = Panel::from_series(Freq::STEP, vec![("tea".into(), 0, y)]).unwrap();
//! let mut params = Params::new();
//! params.insert("methods".into(), "naive, drift".into());
//! let model = (tradewind_forecast::entry("combination").unwrap().build)(&params).unwrap();
//! let ahead = model.fit(&Run::new(0), &panel).unwrap().predict(&Run::new(0), &Ahead::new(1, &[])).unwrap();
//! // The last value is 128, and a step of the drift is 75 / 39.
//! assert!((ahead.mean(0)[0] - (128.0 + 0.5 * 75.0 / 39.0)).abs() < 1e-9);
//! ```

use crate::entry;
use crate::local::{SEASON_LENGTH, check_ahead};
use crate::regression::CALENDAR;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tradewind_core::{
    Ahead, Error, FittedForecaster, Forecast, Forecaster, ForecasterEntry, Needs, Panel, ParamKind, ParamSpec,
    Params, Result, Run, TrainingCurve,
};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "combination",
    summary: "The mean or median of several methods; better than each alone more often than not.",
    summary_zh: "多种方法预测的均值或中位数，往往优于其中任何一种。",
    source: "Bates & Granger (1969), The combination of forecasts; Makridakis & Hibon (2000), The M3-Competition",
    params: &[
        ParamSpec {
            name: "methods",
            kind: ParamKind::Choice(&["default"]),
            default: "default",
            summary: "names of methods with commas between; default is ets,theta,stl",
        },
        ParamSpec {
            name: "how",
            kind: ParamKind::Choice(&["mean", "median"]),
            default: "mean",
            summary: "what is taken of the forecasts at each step",
        },
        SEASON_LENGTH,
        ParamSpec {
            name: "horizon",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "",
            summary: "the furthest step that is learnt, for all members that learn one; by the frequency when not given",
        },
        CALENDAR,
    ],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build,
    load,
};

/// What `default` stands for.
const DEFAULT: &str = "ets,theta,stl";

/// What is taken of the members' forecasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Middle {
    /// Their mean.
    #[default]
    Mean,
    /// Their median, which a member gone astray does not move.
    Median,
}

/// The parameters, as the table above tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Combination {
    /// `default`, or names of methods with commas between.
    pub methods: String,
    /// Mean or median.
    pub how: Middle,
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// The furthest step that members learn; by the frequency when `None`.
    pub horizon: Option<usize>,
    /// Whose holidays are looked at.
    pub calendar: String,
}

impl Default for Combination {
    fn default() -> Self {
        Self {
            methods: "default".into(),
            how: Middle::Mean,
            season_length: None,
            horizon: None,
            calendar: CALENDAR.default.into(),
        }
    }
}

fn build(params: &Params) -> Result<Box<dyn Forecaster>> {
    let mut known = params.clone();
    // A list of names is no word of the choice that the entry shows, so it is read here.
    let list = match known.get("methods").and_then(Value::as_str) {
        Some(list) if list.contains(',') || entry(list.trim()).is_ok() => Some(list.to_owned()),
        _ => None,
    };
    if list.is_some() {
        known.remove("methods");
    }
    let mut combination: Combination = ENTRY.read(&known)?;
    if let Some(list) = list {
        combination.methods = list;
    }
    Ok(Box::new(CombinationForecaster::new(&combination)?))
}

/// The method before it has seen data.
pub struct CombinationForecaster {
    how: Middle,
    members: Vec<Box<dyn Forecaster>>,
}

impl CombinationForecaster {
    /// Makes the members.
    ///
    /// # Errors
    /// No name, a name that no method has, this method itself, or a season that a member refuses.
    pub fn new(params: &Combination) -> Result<Self> {
        let list = if params.methods == "default" { DEFAULT } else { &params.methods };
        let names: Vec<&str> = list.split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
        if names.is_empty() || names.contains(&ENTRY.name) {
            return Err(Error::Invalid(format!(
                "methods `{list}` of combination: give `default` or names of other methods with commas between"
            )));
        }
        let members = names
            .into_iter()
            .map(|name| {
                let entry = entry(name)?;
                let shared = [
                    (SEASON_LENGTH.name, params.season_length.map(|m| json!(m))),
                    ("horizon", params.horizon.map(|h| json!(h))),
                    (CALENDAR.name, Some(json!(params.calendar))),
                ];
                let known = |name: &str| entry.params.iter().any(|p| p.name == name);
                let own: Params = shared
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|_| known(name))?)))
                    .collect();
                (entry.build)(&own)
            })
            .collect::<Result<_>>()?;
        Ok(Self { how: params.how, members })
    }
}

impl Forecaster for CombinationForecaster {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        let members = self.members.iter().map(|m| m.fit(run, panel)).collect::<Result<_>>()?;
        Ok(Box::new(FittedCombination { how: self.how, members }))
    }
}

/// What the members have learnt. Invariant: at least one member.
pub struct FittedCombination {
    how: Middle,
    members: Vec<Box<dyn FittedForecaster>>,
}

impl Middle {
    fn of(self, values: &mut [f64]) -> f64 {
        let n = values.len();
        match self {
            // Divided first, since the sum of very large numbers is none.
            Self::Mean => values.iter().map(|v| v / n as f64).sum(),
            Self::Median => {
                values.sort_by(f64::total_cmp);
                0.5 * values[n / 2] + 0.5 * values[(n - 1) / 2]
            }
        }
    }
}

impl FittedForecaster for FittedCombination {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let said: Vec<Forecast> = self.members.iter().map(|m| m.predict(run, ahead)).collect::<Result<_>>()?;
        let first = &said[0];
        if said.iter().any(|f| f.ids() != first.ids()) {
            return Err(Error::Invalid("members of a combination speak of different series".into()));
        }
        let mut out = Forecast::new(ENTRY.name, first.freq(), ahead.horizon, ahead.quantiles);
        let levels = out.levels().to_vec();
        let mut values = Vec::with_capacity(said.len());
        for (i, id) in first.ids().iter().enumerate() {
            let mut middle = |of: &dyn Fn(&Forecast) -> f64| {
                values.clear();
                values.extend(said.iter().map(of));
                self.how.of(&mut values)
            };
            let mean: Vec<f64> = (0..ahead.horizon).map(|k| middle(&|f| f.mean(i)[k])).collect();
            let mut quantiles = Vec::with_capacity(ahead.horizon * levels.len());
            for (k, mean) in mean.iter().enumerate() {
                for level in &levels {
                    quantiles.push(middle(&|f| f.quantile(i, k, *level).unwrap_or(*mean)));
                }
            }
            out.push(id, first.ds(i, 0), &mean, &quantiles)?;
        }
        Ok(out)
    }

    /// Every member refuses the same updates, so that the first one's refusal leaves all as they were.
    fn update(&mut self, run: &Run, newer: &Panel) -> Result<()> {
        self.members.iter_mut().try_for_each(|m| m.update(run, newer))
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        let of = |m: &dyn FittedForecaster| {
            let curves = m.training_curves().into_iter();
            curves.map(|c| c.within(m.name())).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(|m| of(&**m)).collect()
    }

    fn save(&self) -> Result<Value> {
        let members = self
            .members
            .iter()
            .map(|m| Ok(SavedMember { model: m.name().to_owned(), state: m.save()? }))
            .collect::<Result<_>>()?;
        serde_json::to_value(Saved { how: self.how, members }).map_err(unreadable)
    }
}

#[derive(Serialize, Deserialize)]
struct SavedMember {
    model: String,
    state: Value,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    how: Middle,
    members: Vec<SavedMember>,
}

fn unreadable(source: serde_json::Error) -> Error {
    Error::Saved { what: ENTRY.name.into(), source }
}

fn load(state: Value) -> Result<Box<dyn FittedForecaster>> {
    let saved: Saved = serde_json::from_value(state).map_err(unreadable)?;
    if saved.members.is_empty() || saved.members.iter().any(|m| m.model == ENTRY.name) {
        return Err(Error::Invalid("saved combination without members of its own".into()));
    }
    let members =
        saved.members.into_iter().map(|m| (entry(&m.model)?.load)(m.state)).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(FittedCombination { how: saved.how, members }))
}
