//! What a model is, and how a list of models tells about itself.

use crate::error::{Error, ParamFault, Result};
use crate::forecast::Forecast;
use crate::panel::{Covariate, Panel};
use crate::run::Run;
use crate::training_curve::TrainingCurve;
use serde_json::{Map, Value};

/// Parameters as they come from a command line, a file or a request: names and JSON values.
pub type Params = Map<String, Value>;

/// What a forecast is asked for.
#[derive(Clone, Debug, Default)]
pub struct Ahead<'a> {
    /// Steps ahead; at least 1.
    pub horizon: usize,
    /// Quantile levels, as 0.1 and 0.9; may be empty.
    pub quantiles: &'a [f64],
    /// Columns known ahead that take the place of those given with the history, for what-if questions.
    pub future: Option<&'a [Covariate]>,
}

impl<'a> Ahead<'a> {
    /// `horizon` steps with these quantile levels.
    pub fn new(horizon: usize, quantiles: &'a [f64]) -> Self {
        Self { horizon, quantiles, future: None }
    }
}

/// A forecasting method with its parameters, before it has seen data.
pub trait Forecaster: Send + Sync {
    /// The name in the catalogue.
    fn name(&self) -> &str;
    /// Learns from the panel. Fitting twice forgets the first time.
    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>>;
    /// Whether fits to several panels are better made at the same time: each leaves threads idle and takes little memory.
    fn side_by_side(&self) -> bool {
        false
    }
}

/// What a [`Forecaster`] has learnt.
pub trait FittedForecaster: Send + Sync {
    /// The name in the catalogue.
    fn name(&self) -> &str;
    /// Forecasts every series of the panel that was fitted, in the panel's order.
    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast>;
    /// Takes in observations that follow the ones known, without learning anew. Series not known are an error.
    fn update(&mut self, run: &Run, newer: &Panel) -> Result<()>;
    /// The state as JSON; the catalogue's `load` reads it back.
    fn save(&self) -> Result<Value>;
    /// How each part that is trained in rounds (a network) went; empty where nothing is. They are part of the saved state.
    fn training_curves(&self) -> Vec<TrainingCurve> {
        Vec::new()
    }
}

/// What a model needs. Callers ask before they fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Fewest observations a series must have; for seasonal models in addition to `min_seasons`.
    pub min_observations: usize,
    /// Fewest whole seasons, 0 when the season does not matter.
    pub min_seasons: usize,
    /// All observations must be above zero.
    pub positive: bool,
    /// Uses columns known ahead.
    pub uses_covariates: bool,
}

/// The range of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamKind {
    /// A whole number in this range.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number in this range.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Yes or no.
    Flag,
    /// A list of numbers, each in this range.
    Numbers {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
}

impl std::fmt::Display for ParamKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "{min} to {max}"),
            Self::Number { min, max } => write!(f, "{min} to {max}"),
            Self::Choice(words) => f.write_str(&words.join(" | ")),
            Self::Flag => f.write_str("true | false"),
            Self::Numbers { min, max } => write!(f, "[{min} to {max}, …]"),
        }
    }
}

/// One parameter of a model, as told to people and machines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its name.
    pub name: &'static str,
    /// Its range.
    pub kind: ParamKind,
    /// Its default, as text; empty when it is chosen from the data.
    pub default: &'static str,
    /// One sentence.
    pub summary: &'static str,
}

/// One entry of a catalogue of forecasters.
#[derive(Clone, Copy)]
pub struct ForecasterEntry {
    /// The name, as typed by people.
    pub name: &'static str,
    /// One sentence in English.
    pub summary: &'static str,
    /// One sentence in Chinese.
    pub summary_zh: &'static str,
    /// The paper or book.
    pub source: &'static str,
    /// The parameters.
    pub params: &'static [ParamSpec],
    /// What it needs.
    pub needs: Needs,
    /// Makes it from parameters (those not given have their default) and checks them.
    pub build: fn(&Params) -> Result<Box<dyn Forecaster>>,
    /// Reads back what [`FittedForecaster::save`] gave.
    pub load: fn(Value) -> Result<Box<dyn FittedForecaster>>,
}

impl std::fmt::Debug for ForecasterEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForecasterEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ForecasterEntry {
    /// Reads this method's parameter struct; see [`read_params`]. For use in `build`.
    pub fn read<P: serde::de::DeserializeOwned + Default>(&self, params: &Params) -> Result<P> {
        read_params(self.name, self.params, params)
    }
}

/// Reads a parameter struct of `model`. Names that do not exist, wrong types and values out of range are told all at
/// once, by the ranges of `specs`; `null` stands for the default.
pub fn read_params<P: serde::de::DeserializeOwned + Default>(
    model: &str,
    specs: &[ParamSpec],
    params: &Params,
) -> Result<P> {
    let mut given = params.clone();
    given.retain(|_, v| !v.is_null());
    // An unknown name is told first: its value may have been meant for another parameter.
    if let Some(name) = given.keys().find(|name| specs.iter().all(|spec| spec.name != name.as_str())) {
        return Err(Error::UnknownParam {
            model: model.to_owned(),
            name: name.clone(),
            known: match specs.is_empty() {
                true => "none".to_owned(),
                false => specs.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", "),
            },
        });
    }
    let faults: Vec<ParamFault> = specs
        .iter()
        .filter_map(|spec| {
            let value = given.get(spec.name)?;
            let ok = match spec.kind {
                ParamKind::Integer { min, max } => value.as_i64().is_some_and(|v| (min..=max).contains(&v)),
                ParamKind::Number { min, max } => value.as_f64().is_some_and(|v| (min..=max).contains(&v)),
                ParamKind::Choice(words) => value.as_str().is_some_and(|v| words.contains(&v)),
                ParamKind::Flag => value.is_boolean(),
                ParamKind::Numbers { min, max } => value.as_array().is_some_and(|list| {
                    list.iter().all(|v| v.as_f64().is_some_and(|v| (min..=max).contains(&v)))
                }),
            };
            let got = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (!ok).then(|| ParamFault::new(spec.name, got, spec.kind.to_string()))
        })
        .collect();
    if !faults.is_empty() {
        return Err(Error::Params(faults));
    }
    serde_json::from_value(Value::Object(given))
        .map_err(|e| Error::Invalid(format!("parameters of {model}: {e}")))
}
