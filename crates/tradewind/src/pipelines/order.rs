//! What a run of the shop's pipeline is asked for.

use crate::error::{Error, Result};
use crate::serving::{Kind, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use tradewind_core::Fault;
use tradewind_ops::jobs::{Context, NewRun, StepFault};
use tradewind_warehouse::Shop;
use tradewind_warehouse::quality::Severity;

/// From which weight on findings of the quality check end a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailOn {
    /// From errors on.
    #[default]
    Error,
    /// From warnings on.
    Warning,
    /// Never.
    Never,
}

impl FailOn {
    /// Whether a finding of this weight ends the run.
    pub(super) fn stops(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity == Severity::Error,
            Self::Warning => severity <= Severity::Warning,
            Self::Never => false,
        }
    }
}

/// The parameters of a run of the shop's pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    /// Files and folders to be taken in first; what is in the shop already is left alone.
    pub import: Vec<PathBuf>,
    /// The preset that names their columns; found from the header where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// From which weight on findings of the quality check end the run.
    pub fail_on: FailOn,
    /// What is fitted: each kind once.
    pub kinds: Vec<Kind>,
    /// How, where it is not the usual way of the kind.
    pub requests: Vec<Request>,
    /// The day the run stands for, where it is one of many; it only keeps them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// The kinds that a pipeline can fit.
pub const KINDS: [Kind; 4] = [Kind::Trends, Kind::Forecasts, Kind::Prices, Kind::Recommendations];

impl Default for Order {
    fn default() -> Self {
        Self {
            import: Vec::new(),
            preset: None,
            fail_on: FailOn::default(),
            kinds: KINDS.to_vec(),
            requests: Vec::new(),
            date: None,
        }
    }
}

impl Order {
    /// The run to be asked for, with the shop's seed.
    ///
    /// # Errors
    /// Kinds that no pipeline fits, or none.
    pub fn new_run(&self, shop: &Shop) -> Result<NewRun> {
        if self.kinds.is_empty() {
            return Err(Error::asked("nothing is to be fitted", "name at least one kind"));
        }
        let foreign = |kind: Kind| !KINDS.contains(&kind);
        if let Some(kind) = self
            .kinds
            .iter()
            .copied()
            .chain(self.requests.iter().map(Request::kind))
            .find(|kind| foreign(*kind))
        {
            return Err(Error::asked(
                format!("the pipeline fits no {kind}"),
                format!("it fits {}", KINDS.map(Kind::name).join(", ")),
            ));
        }
        let parameters = match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        // Seeds of settings are below 2^63.
        let seed = i64::try_from(shop.settings().run.seed).unwrap_or(i64::MAX);
        Ok(NewRun { parameters, seed, ..NewRun::of(super::SHOP) })
    }

    /// The order of a run.
    ///
    /// # Errors
    /// Parameters that were not made by [`Order::new_run`].
    pub(super) fn of(context: &Context) -> std::result::Result<Self, StepFault> {
        serde_json::from_value(Value::Object(context.parameters().clone())).map_err(|e| {
            StepFault::new(
                tradewind_core::ErrorKind::InvalidParams,
                format!("the parameters of the run cannot be read: {e}"),
            )
        })
    }

    /// How a kind is to be made; none: it is not to be.
    pub(super) fn request(&self, kind: Kind, shop: &Shop) -> Option<Request> {
        if !self.kinds.contains(&kind) {
            return None;
        }
        let told = self.requests.iter().find(|request| request.kind() == kind).cloned();
        told.or_else(|| Request::of_shop(kind, shop))
    }
}

/// An error that only means too little data, as a remark.
pub(super) fn too_little(fault: &Error) -> Option<String> {
    (fault.kind() == tradewind_core::ErrorKind::NotEnoughData).then(|| fault.to_string())
}
