//! What a version of a model is on disk, and how it answers.
//!
//! ```text
//! Shop ─ make ─→ artifact folder + held-out metrics ─→ registry
//!                      │
//!                    load (every file checked)
//!                      ↓
//!      Loaded { identity, Answers } ─→ Serving: route ─→ versions, swapped whole while requests go on
//! ```
//!
//! A version is of one [`Kind`]. [`make`] fits it: first on all but the last window, which then measures it, and again on
//! everything. [`load`] turns the folder into [`Answers`] that need neither the shop nor a disk. [`Serving`] holds what is
//! loaded, by route; a corrupt artifact is refused and what was there goes on answering.
//!
//! It refuses to know names of the registry, HTTP and clocks: who loads says which version it is, who asks says when.

mod columns;
mod data;
mod folder;
mod forecasts;
mod learned;
mod prices;
mod recommendations;
mod table;
#[cfg(test)]
mod tests;
mod trends;
pub(crate) mod weeks;

pub use data::data_fingerprint;
pub use folder::artifact_hash;
pub use forecasts::{ForecastQuery, Forecasts, ForecastsRequest, SeriesForecast, Step, TargetKind, Usual};
pub use learned::{Cells, LearnRequest, Learned, Predicted};
pub use prices::{PriceForecast, PriceStep, Prices, PricesRequest};
pub use recommendations::{Recommendations, RecommendationsRequest};
pub use table::{Assigned, LiveEvent, Route, Serving, Table};
pub use tradewind_ops::registry::Kind;
pub use trends::{TrendItem, TrendPage, TrendQuery, TrendSort, Trends, TrendsRequest, trend_reason};

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use tradewind_core::{ErrorKind, Fault, Run};
use tradewind_warehouse::Shop;

/// The name of series that name no category or store.
const UNNAMED: &str = "(none)";

/// What version is to be made, with all its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// See [`TrendsRequest`].
    Trends(TrendsRequest),
    /// See [`ForecastsRequest`].
    Forecasts(ForecastsRequest),
    /// See [`PricesRequest`].
    Prices(PricesRequest),
    /// See [`RecommendationsRequest`].
    Recommendations(RecommendationsRequest),
    /// See [`LearnRequest`].
    Learn(LearnRequest),
}

impl Request {
    /// The kind of version that it makes.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Trends(_) => Kind::Trends,
            Self::Forecasts(_) => Kind::Forecasts,
            Self::Prices(_) => Kind::Prices,
            Self::Recommendations(_) => Kind::Recommendations,
            Self::Learn(_) => Kind::Learn,
        }
    }

    /// The usual request of a kind by a shop's settings; none for [`Kind::Learn`], which needs a table and a target.
    pub fn of_shop(kind: Kind, shop: &Shop) -> Option<Self> {
        Some(match kind {
            Kind::Trends => Self::Trends(TrendsRequest::of_shop(shop)),
            Kind::Forecasts => Self::Forecasts(ForecastsRequest::default()),
            Kind::Prices => Self::Prices(PricesRequest::default()),
            Kind::Recommendations => Self::Recommendations(RecommendationsRequest::default()),
            _ => return None,
        })
    }
}

/// What a registry's manifest says of a version that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The kind.
    pub kind: Kind,
    /// The request that made it, with all parameters.
    pub request: Request,
    /// The seed.
    pub seed: u64,
    /// The version of Tradewind.
    pub code_version: String,
    /// The fingerprint of the data and the settings that matter; see [`data_fingerprint`].
    pub data_fingerprint: String,
    /// The artifact's own fingerprint.
    pub artifact_hash: String,
    /// Measures of a model that had not seen the last window, on that window. Empty where the past is too short.
    pub metrics: BTreeMap<String, f64>,
    /// What was left out and why, as a group of series that the shop does not have.
    pub notes: Vec<String>,
}

/// Measures and remarks while a version is made.
#[derive(Default)]
struct Findings {
    metrics: BTreeMap<String, f64>,
    notes: Vec<String>,
}

impl Findings {
    /// Keeps a measure, where it is defined.
    fn measure(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.metrics.insert(name.into(), value);
        }
    }

    /// Takes `result`; a fault that only means too little data becomes a remark, any other ends the work.
    fn unless_too_little<T>(&mut self, what: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.kind() == ErrorKind::NotEnoughData => {
                self.notes.push(format!("{what}: {e}"));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// Makes a version of a shop's data: its artifact appears at `dir`, whole or not at all. What is measured was measured
/// on the last window by a model that had not seen it; the artifact itself is of a model fitted on everything.
///
/// # Errors
/// Parameters out of range, too little data for any answer, cancellation, a place that cannot be written.
pub fn make(run: &Run, shop: &Shop, request: &Request, dir: &Path) -> Result<Made> {
    let data_fingerprint = data_fingerprint(shop, request.kind())?;
    let mut findings = Findings::default();
    let mut writer = folder::Writer::begin(dir)?;
    let about = match request {
        Request::Trends(r) => trends::make(run, shop, r, &mut writer, &mut findings)?,
        Request::Forecasts(r) => forecasts::make(run, shop, r, &mut writer, &mut findings)?,
        Request::Prices(r) => prices::make(run, shop, r, &mut writer, &mut findings)?,
        Request::Recommendations(r) => recommendations::make(run, shop, r, &mut writer, &mut findings)?,
        Request::Learn(r) => learned::make(run, shop, r, &mut writer, &mut findings)?,
    };
    run.check()?;
    let artifact_hash = writer.finish(request.kind(), run.seed, &about)?;
    Ok(Made {
        kind: request.kind(),
        request: request.clone(),
        seed: run.seed,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        data_fingerprint,
        artifact_hash,
        metrics: findings.metrics,
        notes: findings.notes,
    })
}

/// Which version it is: what every answer tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The model's name in the registry.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// The fingerprint of the version's artifact.
    pub artifact_hash: String,
}

impl Identity {
    /// That of a version of the registry.
    pub fn of(version: &tradewind_ops::registry::Version) -> Self {
        Self {
            model: version.name.clone(),
            version: version.number,
            artifact_hash: version.artifact_hash.clone(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.version)
    }
}

/// A version in memory, ready to answer.
#[derive(Debug)]
pub struct Loaded {
    /// Which version it is.
    pub identity: Identity,
    /// Its answers.
    pub answers: Answers,
}

impl Loaded {
    /// The kind of the version.
    pub fn kind(&self) -> Kind {
        match self.answers {
            Answers::Trends(_) => Kind::Trends,
            Answers::Forecasts(_) => Kind::Forecasts,
            Answers::Prices(_) => Kind::Prices,
            Answers::Recommendations(_) => Kind::Recommendations,
            Answers::Learned(_) => Kind::Learn,
        }
    }

    /// Its trends, where it is of that kind.
    pub fn trends(&self) -> Option<&Trends> {
        if let Answers::Trends(a) = &self.answers { Some(a) } else { None }
    }

    /// Its forecasts, where it is of that kind.
    pub fn forecasts(&self) -> Option<&Forecasts> {
        if let Answers::Forecasts(a) = &self.answers { Some(a) } else { None }
    }

    /// Its prices, where it is of that kind.
    pub fn prices(&self) -> Option<&Prices> {
        if let Answers::Prices(a) = &self.answers { Some(a) } else { None }
    }

    /// Its recommendations, where it is of that kind.
    pub fn recommendations(&self) -> Option<&Recommendations> {
        if let Answers::Recommendations(a) = &self.answers { Some(a) } else { None }
    }

    /// Its learnt model, where it is of that kind.
    pub fn learned(&self) -> Option<&Learned> {
        if let Answers::Learned(a) = &self.answers { Some(a) } else { None }
    }
}

/// What a version answers from.
#[derive(Debug)]
pub enum Answers {
    /// What rises, holds and falls.
    Trends(Trends),
    /// What will sell.
    Forecasts(Forecasts),
    /// At what price.
    Prices(Box<Prices>),
    /// What to show to whom.
    Recommendations(Box<Recommendations>),
    /// What a learnt table says of new rows.
    Learned(Box<Learned>),
}

/// Loads a version from its artifact's folder; every file is checked first.
///
/// # Errors
/// [`Error::Artifact`] for a folder that holds no artifact, a file that is missing or was changed, contents that do not
/// fit together; a format that is newer than this version reads.
pub fn load(dir: &Path, identity: Identity) -> Result<Loaded> {
    let reader = folder::Reader::open(dir)?;
    let answers = match reader.kind() {
        Kind::Trends => Answers::Trends(Trends::read(&reader)?),
        Kind::Forecasts => Answers::Forecasts(Forecasts::read(&reader)?),
        Kind::Prices => Answers::Prices(Box::new(Prices::read(&reader)?)),
        Kind::Recommendations => Answers::Recommendations(Box::new(Recommendations::read(&reader)?)),
        Kind::Learn => Answers::Learned(Box::new(Learned::read(&reader)?)),
        other => {
            let text = format!("{} holds {other}, which this version cannot answer from", dir.display());
            return Err(Error::asked(text, "update tradewind"));
        }
    };
    Ok(Loaded { identity, answers })
}

/// A thing that a version does not have.
fn not_found(what: &'static str, name: &str, known: impl Into<String>) -> Error {
    Error::Core(tradewind_core::Error::NotFound { what, name: name.to_owned(), known: known.into() })
}
