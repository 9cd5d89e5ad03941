//! What networks share that are learnt across all series of a panel.
//!
//! ```text
//! rows of [`global`](crate::global): what is known at an origin of a step ahead ─→ dense layers ─→ the step
//!                                                                              ↑
//!                       the last `input` steps of the series ─→ a body (LSTM, …)
//! ```
//!
//! A row is what the trees of [`global`](crate::global) see too: last values, windows, phases, the year before, sums of the
//! series' groups, prices and promotions planned, static columns. A body beside them reads the steps themselves.
//! Origins are drawn anew in each round, some steps ahead at each, so one network answers every step directly.
//!
//! | parameter | default | meaning | range |
//! |---|---|---|---|
//! | `season_length` | by frequency | steps of a season | 1 to 10000 |
//! | `calendar` | `plain` | whose events are looked at; plain: no region's | none, plain, CN, US, GB, DE, JP, FR |
//! | `horizon` | by frequency | the furthest step that is learnt | 1 to 1000 |
//! | `input` | by season | steps that the body reads | 2 to 2000 |
//! | `objective` | `auto` | what is minimised; auto: poisson for counts, else absolute | auto, squared, absolute, poisson |
//! | `width` | 64 | numbers of a hidden layer | 4 to 1024 |
//! | `layers` | 2 | layers of the body and of what follows | 1 to 16 |
//! | `dropout` | 0.1 | the share that is left out while training | 0 to 0.9 |
//! | `epochs` | 10 | rounds of training, at most | 1 to 10000 |
//! | `patience` | 3 | rounds without gain on origins held out after which training ends; 0: never | 0 to 10000 |
//! | `origins` | by method | origins of a round; 20000 for `mlp`, 6000 for `cnn_gru`, 5000 for `tcn`, else 8000 | 100 to 10000000 |
//! | `batch` | 64 | origins of a step | 1 to 10000 |
//! | `learning_rate` | 0.002 | length of the steps at their longest | 0.000001 to 0.1 |
//! | `networks` | by method | networks whose answers are averaged; 3 for `mlp`, else 1 | 1 to 64 |
//! | `history` | by frequency | steps back from the end whose origins are learnt from; 0: all | 0 to 10000000 |
//! | `by_series` | true | whether each series has a vector of its own | true, false |
//! | `leading` | true | whether columns known only up to the origin are looked at for what runs ahead | true, false |
//!
//! Counts are learnt by the likelihood of a Poisson variable in units of the series' level and weighted by it, other values
//! by absolute error in these units. Events of the calendar's region are put in after the network, as factors that the sum
//! of all series tells clearly. A tenth of the history, in blocks of twice the horizon, is held out: training ends by
//! it, and quantiles come from the errors there, by how large the forecast is and how far ahead. At both ends of a block
//! steps ahead are ahead of origins learnt from, too; judging without these gained nothing.

pub(crate) mod body;
mod events;
mod fitted;
pub(crate) mod samples;

use crate::draws::mix;
use crate::global::leading::Leading;
use crate::global::rows::{Members, Plan};
use crate::global::{CODES, counts, regions_of, usual_history, usual_horizon};
use crate::local::{SEASON_LENGTH, season_of};
use crate::regression::CALENDAR;
use body::Networks;
use events::Events;
pub use fitted::FittedDeep;
use rayon::prelude::*;
use samples::{Objective, Reading, Samples};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use tradewind_core::freq::Unit;
use tradewind_core::{
    Error, FittedForecaster, Forecaster, ForecasterEntry, Freq, Needs, Panel, ParamKind, ParamSpec, Params,
    Result, Run,
};
use tradewind_nn::Weights;
use tradewind_nn::burn::tensor::Device;
use tradewind_nn::optimise::OptimiserParams;
use tradewind_nn::train::{TrainParams, train};

/// What all of them need.
pub(crate) const NEEDS: Needs =
    Needs { min_observations: 8, min_seasons: 0, positive: false, uses_covariates: true };

const fn spec(
    name: &'static str,
    kind: ParamKind,
    default: &'static str,
    summary: &'static str,
) -> ParamSpec {
    ParamSpec { name, kind, default, summary }
}

/// The parameters of all of them.
pub(crate) const PARAMS: &[ParamSpec] = &[
    SEASON_LENGTH,
    ParamSpec {
        summary: "whose holidays and festivals come as factors; none and plain: no region's",
        ..CALENDAR
    },
    spec(
        "horizon",
        ParamKind::Integer { min: 1, max: 1000 },
        "",
        "the furthest step that is learnt; by the frequency when not given",
    ),
    spec(
        "input",
        ParamKind::Integer { min: 2, max: 2000 },
        "",
        "steps before an origin that are read; some seasons when not given",
    ),
    spec(
        "objective",
        ParamKind::Choice(&["auto", "squared", "absolute", "poisson"]),
        "auto",
        "what is minimised; auto: poisson for counts, else absolute",
    ),
    spec("width", ParamKind::Integer { min: 4, max: 1024 }, "64", "numbers of a hidden layer"),
    spec(
        "layers",
        ParamKind::Integer { min: 1, max: 16 },
        "2",
        "layers of what reads the steps and of what follows",
    ),
    spec(
        "dropout",
        ParamKind::Number { min: 0.0, max: 0.9 },
        "0.1",
        "the share that is left out while training",
    ),
    spec("epochs", ParamKind::Integer { min: 1, max: 10_000 }, "10", "rounds of training, at most"),
    spec(
        "patience",
        ParamKind::Integer { min: 0, max: 10_000 },
        "3",
        "rounds without gain on origins held out after which training ends; 0: never",
    ),
    spec(
        "origins",
        ParamKind::Integer { min: 100, max: 10_000_000 },
        "",
        "origins of a round; 20000 for mlp, 6000 for cnn_gru, 5000 for tcn, else 8000, when not given",
    ),
    spec("batch", ParamKind::Integer { min: 1, max: 10_000 }, "64", "origins of a step"),
    spec(
        "learning_rate",
        ParamKind::Number { min: 1e-6, max: 0.1 },
        "0.002",
        "length of the steps at their longest",
    ),
    spec(
        "networks",
        ParamKind::Integer { min: 1, max: 64 },
        "",
        "networks from other seeds whose answers are averaged; 3 for mlp, else 1, when not given",
    ),
    spec(
        "history",
        ParamKind::Integer { min: 0, max: 10_000_000 },
        "",
        "steps back from the end whose origins are learnt from; 0: all; two years when not given",
    ),
    spec("by_series", ParamKind::Flag, "true", "whether each series has a vector of its own"),
    spec(
        "leading",
        ParamKind::Flag,
        "true",
        "whether columns known only up to the origin (views, searches, competitors' prices) are looked at for what runs ahead",
    ),
];

/// What reads the steps before an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing: rows alone.
    Mlp,
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent units.
    Gru,
    /// Filters, then gated recurrent units.
    CnnGru,
    /// Filters ever wider apart.
    Tcn,
    /// Attention among patches of steps.
    PatchTransformer,
}

impl Kind {
    fn entry(self) -> &'static ForecasterEntry {
        match self {
            Self::Mlp => &crate::mlp::ENTRY,
            Self::Lstm => &crate::lstm::ENTRY,
            Self::Gru => &crate::gru::ENTRY,
            Self::CnnGru => &crate::cnn_gru::ENTRY,
            Self::Tcn => &crate::tcn::ENTRY,
            Self::PatchTransformer => &crate::patch_transformer::ENTRY,
        }
    }
}

/// Parameters; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeepParams {
    /// Steps of a season.
    pub season_length: Option<usize>,
    /// Calendar features.
    pub calendar: String,
    /// The furthest step that is learnt.
    pub horizon: Option<usize>,
    /// Steps that the body reads.
    pub input: Option<usize>,
    /// What is minimised.
    pub objective: String,
    /// Numbers of a hidden layer.
    pub width: usize,
    /// Layers of the body and of what follows.
    pub layers: usize,
    /// The share that is left out while training.
    pub dropout: f64,
    /// Rounds of training, at most.
    pub epochs: usize,
    /// Rounds without gain after which training ends; 0: never.
    pub patience: usize,
    /// Origins of a round.
    pub origins: Option<usize>,
    /// Origins of a step.
    pub batch: usize,
    /// Length of the steps at their longest.
    pub learning_rate: f64,
    /// Networks whose answers are averaged.
    pub networks: Option<usize>,
    /// Steps back from the end whose origins are learnt from.
    pub history: Option<usize>,
    /// Whether each series has a vector of its own.
    pub by_series: bool,
    /// Whether columns known only up to the origin are looked at for what runs ahead.
    pub leading: bool,
}

impl Default for DeepParams {
    fn default() -> Self {
        Self {
            season_length: None,
            calendar: "plain".into(),
            horizon: None,
            input: None,
            objective: "auto".into(),
            width: 64,
            layers: 2,
            dropout: 0.1,
            epochs: 10,
            patience: 3,
            origins: None,
            batch: 64,
            learning_rate: 2e-3,
            networks: None,
            history: None,
            by_series: true,
            leading: true,
        }
    }
}

/// A network to be trained on a panel.
#[derive(Clone, Debug)]
pub struct Deep {
    /// What reads the steps before an origin.
    pub kind: Kind,
    /// Its parameters.
    pub params: DeepParams,
}

/// Origins fewer than this teach no network: such panels are forecast by what [`crate::mean`] says.
const ORIGINS_MIN: usize = 30;
/// Steps of a patch where a season has not so many.
const PATCH: usize = 8;

/// The forecaster of a catalogue entry.
pub(crate) fn build(kind: Kind, params: &Params) -> Result<Box<dyn Forecaster>> {
    Ok(Box::new(Deep { kind, params: kind.entry().read(params)? }))
}

/// A fitted forecaster from what it saved.
pub(crate) fn load(kind: Kind, state: Value) -> Result<Box<dyn FittedForecaster>> {
    let fitted: FittedDeep = serde_json::from_value(state)
        .map_err(|source| Error::Saved { what: kind.entry().name.to_owned(), source })?;
    fitted.check(kind)?;
    Ok(Box::new(fitted))
}

impl Deep {
    /// Networks whose answers are averaged: where nothing reads the steps themselves, several cost little.
    pub(super) fn networks(&self) -> usize {
        self.params.networks.unwrap_or(if self.kind == Kind::Mlp { 3 } else { 1 })
    }

    fn origins(&self) -> usize {
        self.params.origins.unwrap_or(match self.kind {
            Kind::Mlp => 20_000,
            Kind::CnnGru => 6_000,
            Kind::Tcn => 5_000,
            _ => 8_000,
        })
    }

    /// The steps that the body reads, whole patches.
    fn input(&self, season: usize) -> usize {
        let asked = self.params.input.unwrap_or(match season {
            ..=8 => 8 * season.max(7),
            9..=30 => 3 * season,
            _ => (2 * season).min(104),
        });
        match self.kind {
            Kind::Mlp => 0,
            Kind::PatchTransformer => asked.max(2).next_multiple_of(patch(season)),
            _ => asked,
        }
    }

    /// Learns from the panel.
    ///
    /// # Errors
    /// Parameters that do not fit the values; cancellation; a loss that is no longer finite.
    pub fn fit_panel(&self, run: &Run, panel: &Panel) -> Result<FittedDeep> {
        let params = &self.params;
        let season = panel.iter().next().map_or(1, |s| season_of(params.season_length, &s));
        let horizon = params.horizon.unwrap_or_else(|| usual_horizon(panel.freq()));
        let by_series = params.by_series && CODES.contains(&panel.len());
        let mut plan = Plan::new(panel, season, horizon, None, by_series);
        if params.leading {
            plan = plan.with_leading(Leading::choose(run, panel, season, horizon)?);
        }
        let (nonnegative, counts) = counts(panel);
        let objective = match params.objective.as_str() {
            "poisson" if !nonnegative => {
                return Err(Error::Invalid(
                    "the objective poisson is for values that are never negative, and there are such; choose squared or absolute"
                        .into(),
                ));
            }
            "poisson" => Objective::Poisson,
            "auto" if counts => Objective::Poisson,
            "squared" => Objective::Squared,
            _ => Objective::Absolute,
        };
        let mut fitted = FittedDeep::new(self, plan, panel, objective, self.input(season));
        let members = Members::new(&fitted.plan, panel, None);
        if let Some(regions) = regions_of(&params.calendar)?.filter(|r| !r.is_empty()) {
            fitted.events = Events::learn(regions, &members, fitted.plan.freq, phase(panel.freq(), season));
        }
        let events = fitted.event_table(&members, 0, 0);
        let history = params.history.unwrap_or_else(|| usual_history(panel.freq(), season));
        let places = samples::places(&fitted.plan, &members, panel, history);
        if places.len() < ORIGINS_MIN || panel.iter().all(|s| s.y.iter().all(|v| *v == 0.0 || v.is_nan())) {
            return Ok(fitted);
        }
        fitted.scaler = run.install(|| samples::scaler(&fitted.plan, &members, &places));
        let reading = Reading {
            plan: &fitted.plan,
            members: &members,
            events: &events,
            scaler: &fitted.scaler,
            input: fitted.input,
        };
        let device = tradewind_nn::device::of(run)?;
        let samples =
            Samples::new(reading, panel, objective, self.origins(), run.seed, device.clone(), places);
        if samples.is_empty() {
            return Ok(fitted);
        }
        let device = device.autodiff();
        let training = TrainParams {
            epochs: params.epochs,
            batch: params.batch,
            patience: params.patience,
            optimiser: OptimiserParams {
                rate: params.learning_rate,
                decay: 0.01,
                ..OptimiserParams::default()
            },
            ..TrainParams::default()
        };
        let sizes = fitted.sizes();
        // All are held against the same origins, so that the errors there are those of all together.
        let one = |k: u64| {
            // Several are trained side by side, and the first tells how far they are.
            let mut own = if k == 0 { run.clone() } else { run.quiet() };
            own.seed = if k == 0 { run.seed } else { mix(run.seed ^ k) };
            let network = sizes.network(&device, &own)?;
            train(&own, &samples, network, &training, None, &mut |_| Ok(true))
        };
        let n = self.networks() as u64;
        let trained: Vec<_> = match run.device {
            tradewind_core::Device::Cpu => {
                run.install(|| (0..n).into_par_iter().map(one).collect::<Result<_>>())?
            }
            tradewind_core::Device::Gpu => (0..n).map(one).collect::<Result<_>>()?,
        };
        let mut networks = Networks { all: Vec::new() };
        for (k, trained) in trained.into_iter().enumerate() {
            let name = if n > 1 { format!("network {}", k + 1) } else { String::new() };
            fitted.curves.push(trained.told(&name, objective.word(), None));
            networks.all.push(trained.network);
        }
        // From here on the processor answers, wherever was trained.
        let weights = Weights::of(&networks);
        let networks = weights.put_into(sizes.networks(self.networks(), &Device::flex(), &Run::new(0))?)?;
        let spread = run.install(|| samples.spread(&networks))?;
        fitted.weights = weights.to_safetensors(&HashMap::new())?;
        fitted.spread = spread;
        Ok(fitted)
    }
}

/// Steps after which a day of event is compared with others of its phase: a week, where steps are days.
fn phase(freq: Freq, season: usize) -> usize {
    match freq.unit {
        Unit::Minute | Unit::Hour | Unit::Day => season,
        _ => 1,
    }
}

/// Steps of a patch: a season, where it is neither too short nor too long.
fn patch(season: usize) -> usize {
    if (4..=16).contains(&season) { season } else { PATCH }
}

impl Forecaster for Deep {
    fn name(&self) -> &str {
        self.kind.entry().name
    }

    fn fit(&self, run: &Run, panel: &Panel) -> Result<Box<dyn FittedForecaster>> {
        Ok(Box::new(self.fit_panel(run, panel)?))
    }

    /// A step of 64 rows has too little work for all threads at each of its operations.
    fn side_by_side(&self) -> bool {
        true
    }
}
