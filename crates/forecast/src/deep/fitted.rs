//! A trained network, and each series' history to ask it about.

use super::body::Sizes;
use super::events::{EventTable, Events};
use super::samples::{self, Objective, Origin, Reading, Scaler};
use super::{Deep, DeepParams, Kind};
use crate::global::fitted::{kept, push_all};
use crate::global::rows::{Members, Plan};
use crate::global::spread::Spread;
use crate::local::check_ahead;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::{Ahead, Error, FittedForecaster, Forecast, Panel, Result, Run, TrainingCurve};
use tradewind_nn::Weights;
use tradewind_nn::burn::tensor::Device;

/// Rows asked about at a time, about.
const ROWS_AT_A_TIME: usize = 8_192;

/// What [`Deep`] has learnt of a panel.
#[derive(Serialize, Deserialize)]
pub struct FittedDeep {
    kind: Kind,
    params: DeepParams,
    pub(super) plan: Plan,
    pub(super) objective: Objective,
    /// What events do.
    #[serde(default)]
    pub(super) events: Events,
    /// Steps that the body reads.
    pub(super) input: usize,
    /// Series that have a vector of their own.
    series: usize,
    /// Networks whose answers are averaged.
    networks: usize,
    /// The series as they were, with the columns known ahead and those that lead.
    #[serde(with = "kept")]
    panel: Panel,
    pub(super) scaler: Scaler,
    pub(super) spread: Spread,
    /// As safetensors; empty where there was too little to learn from.
    #[serde(with = "tradewind_core::packed")]
    pub(super) weights: Vec<u8>,
    /// How the trainings went; models of earlier versions have none.
    #[serde(default)]
    pub(super) curves: Vec<TrainingCurve>,
}

impl std::fmt::Debug for FittedDeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("FittedDeep");
        out.field("kind", &self.kind).field("params", &self.params).field("series", &self.panel.len());
        out.finish_non_exhaustive()
    }
}

impl FittedDeep {
    pub(super) fn new(deep: &Deep, plan: Plan, panel: &Panel, objective: Objective, input: usize) -> Self {
        let panel = panel.clone().keep_covariates(|c| c.known_ahead || plan.leading.needs(&c.name));
        Self {
            kind: deep.kind,
            params: deep.params.clone(),
            plan,
            objective,
            events: Events::default(),
            input,
            series: panel.len(),
            networks: deep.networks(),
            panel,
            scaler: Scaler::default(),
            spread: Spread::default(),
            weights: Vec::new(),
            curves: Vec::new(),
        }
    }

    /// Whether what was read back fits together.
    pub(super) fn check(&self, kind: Kind) -> Result<()> {
        let columns = samples::columns(&self.plan, self.series).0;
        let sound = self.kind == kind
            && self.plan.season >= 1
            && self.plan.horizon >= 1
            && (1..=64).contains(&self.networks)
            && self.plan.names.len() == self.plan.categories.len()
            && self.spread.is_sound()
            && self.events.is_sound()
            && (self.weights.is_empty() || self.scaler.is_sound(columns))
            && self.input <= 4096;
        if sound {
            Ok(())
        } else {
            Err(Error::Invalid(format!("the saved {} has parts that do not fit together", kind.entry().name)))
        }
    }

    /// The parameters it was fitted with.
    pub fn params(&self) -> &DeepParams {
        &self.params
    }

    /// What events do from the first step of all series to `ahead` steps after the last; with `back` steps alone before the
    /// ends of series, where that is enough (0: all).
    pub(super) fn event_table(&self, members: &Members, back: usize, ahead: usize) -> EventTable {
        let freq = self.plan.freq;
        let first = members.all.iter().map(|m| match back {
            0 => m.start,
            _ => freq.add(m.start, m.history.len().saturating_sub(back) as i64),
        });
        let last = members.all.iter().map(|m| freq.add(m.start, m.history.len() as i64)).max();
        let (Some(first), Some(last)) = (first.min(), last) else { return EventTable::default() };
        let n = freq.steps(first, last).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        self.events.table(freq, first, n + ahead)
    }

    /// The sizes of its network.
    pub(super) fn sizes(&self) -> Sizes {
        let (numbers, words) = samples::columns(&self.plan, self.series);
        let heads = if self.kind == Kind::PatchTransformer { 4 } else { 1 };
        Sizes {
            kind: self.kind,
            numbers,
            words,
            input: self.input,
            channels: samples::channels(&self.plan),
            patch: super::patch(self.plan.season),
            width: self.params.width.next_multiple_of(heads),
            layers: self.params.layers,
            dropout: self.params.dropout,
        }
    }

    /// Point forecasts of all series.
    fn answers(&self, run: &Run, members: &Members, horizon: usize) -> Result<Vec<f64>> {
        let events = self.event_table(members, self.input.max(1), horizon);
        let (weights, _) = Weights::from_safetensors(&self.weights)?;
        let sizes = self.sizes();
        let networks = weights.put_into(sizes.networks(self.networks, &Device::flex(), &Run::new(0))?)?;
        let reading =
            Reading { plan: &self.plan, members, events: &events, scaler: &self.scaler, input: self.input };
        let origins: Vec<Origin> = members
            .all
            .iter()
            .enumerate()
            // A series that came later has no vector of its own.
            .map(|(i, m)| Origin {
                series: i,
                at: m.history.len(),
                ahead: (1..=horizon).collect(),
                nameless: i >= self.series,
            })
            .collect();
        let mut out = Vec::with_capacity(origins.len() * horizon);
        for part in origins.chunks((ROWS_AT_A_TIME / horizon).max(1)) {
            run.check()?;
            out.extend(run.install(|| samples::answers(&reading, self.objective, &networks, part))?);
        }
        Ok(out)
    }
}

impl FittedForecaster for FittedDeep {
    fn name(&self) -> &str {
        self.kind.entry().name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let h = ahead.horizon;
        let mut out = Forecast::new(self.name(), self.plan.freq, h, ahead.quantiles);
        let members = Members::new(&self.plan, &self.panel, ahead.future);
        let said = if self.weights.is_empty() { None } else { Some(self.answers(run, &members, h)?) };
        let learnt = |i: usize| said.as_ref().map(|all| &all[i * h..(i + 1) * h]);
        push_all(&mut out, &self.plan, &self.panel, &members, &self.spread, learnt)?;
        Ok(out)
    }

    fn update(&mut self, _run: &Run, newer: &Panel) -> Result<()> {
        self.panel = self.panel.followed_by(newer)?;
        Ok(())
    }

    fn training_curves(&self) -> Vec<TrainingCurve> {
        self.curves.clone()
    }

    fn save(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|source| Error::Saved { what: self.name().to_owned(), source })
    }
}
