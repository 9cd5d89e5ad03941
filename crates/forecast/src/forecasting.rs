//! The short way from history to forecast: one call that fits, adds conformal intervals and keeps counts above zero.
//!
//! ```
//! use tradewind_core::{Freq, Panel, Params, Run};
//! use tradewind_forecast::{Options, forecast};
//! let y = (0..60).map(|t| f64::from(t * 13 % 7)).collect();
//! let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
//! let f = forecast(&Run::new(0), &panel, "naive", &Params::new(), &Options::new(7, &[0.8, 0.95])).unwrap();
//! let (lower, upper) = f.interval(0, 6, 0.95).unwrap();
//! assert!(0.0 <= lower && lower < upper);
//! ```

use crate::auto;
use crate::combination;
use crate::conformal::{Conformal, ConformalSettings};
use crate::entry;
use serde_json::{Value, json};
use tradewind_core::{Ahead, Covariate, FittedForecaster, Forecast, Forecaster, Panel, Params, Result, Run};

/// Where quantiles come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intervals {
    /// Ends of intervals that held their coverage in the model's past, or the model's own formula where no series is long enough to look back.
    #[default]
    Conformal,
    /// From the model's own formula.
    Model,
}

/// What is asked of [`forecast`].
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// Steps ahead; at least 1.
    pub horizon: usize,
    /// Coverages of central intervals, as 0.8 and 0.95; may be empty.
    pub coverages: &'a [f64],
    /// Where quantiles come from.
    pub intervals: Intervals,
    /// Lets forecasts go below zero even for series that never did.
    pub allow_negative: bool,
    /// Past origins for conformal intervals; 0 means 4.
    pub n_origins: usize,
    /// Columns known ahead that take the place of those given with the history.
    pub future: Option<&'a [Covariate]>,
}

impl<'a> Options<'a> {
    /// `horizon` steps with these coverages and the defaults else.
    pub fn new(horizon: usize, coverages: &'a [f64]) -> Self {
        Self { horizon, coverages, ..Self::default() }
    }
}

/// Forecasts every series of the panel with the model of that name.
///
/// # Errors
/// A model that is not in the catalogue, parameters out of range, a horizon of 0, coverages outside (0, 1), or
/// cancellation. Short series are no error: methods fall back.
pub fn forecast(
    run: &Run,
    panel: &Panel,
    model: &str,
    params: &Params,
    options: &Options<'_>,
) -> Result<Forecast> {
    let fitted = fit(run, panel, model, params, options)?;
    predict(run, panel, &*fitted, options)
}

/// Forecasts with several models, each with its parameters; one forecast a model, in the order given.
///
/// # Errors
/// Those of [`forecast`]; the first one ends the work.
pub fn forecast_each(
    run: &Run,
    panel: &Panel,
    models: &[(&str, &Params)],
    options: &Options<'_>,
) -> Result<Vec<Forecast>> {
    models.iter().map(|(model, params)| forecast(run, panel, model, params, options)).collect()
}

/// The first half of [`forecast`]: learns, with intervals where coverages are asked for. What comes back can be saved:
/// a conformal one is read back by [`FittedConformal::load`](crate::conformal::FittedConformal::load).
///
/// # Errors
/// Those of [`forecast`].
pub fn fit(
    run: &Run,
    panel: &Panel,
    model: &str,
    params: &Params,
    options: &Options<'_>,
) -> Result<Box<dyn FittedForecaster>> {
    forecaster(model, params, options)?.fit(run, panel)
}

/// The method that [`forecast`] asks, before it has seen data: that of the catalogue, with intervals about it.
///
/// # Errors
/// Those of [`forecast`] but for cancellation.
pub fn forecaster(model: &str, params: &Params, options: &Options<'_>) -> Result<Box<dyn Forecaster>> {
    let entry = entry(model)?;
    let mut params = params.clone();
    // A model that looks back by itself does it for the steps wanted.
    if entry.params.iter().any(|p| p.name == "horizon") && params.get("horizon").is_none_or(Value::is_null) {
        params.insert("horizon".into(), json!(options.horizon));
    }
    crate::local::check_ahead(&Ahead::new(options.horizon, &Forecast::levels_of(options.coverages)))?;
    if model == auto::ENTRY.name {
        // It has looked back already, and gives intervals from that.
        return Ok(Box::new(auto::from_params(&params)?.exact_coverage(true)));
    }
    let inner = (entry.build)(&params)?;
    if options.coverages.is_empty() || options.intervals == Intervals::Model {
        return Ok(inner);
    }
    let season = params.get("season_length").and_then(Value::as_u64).unwrap_or(0) as usize;
    let settings = ConformalSettings {
        horizon: options.horizon,
        n_origins: if options.n_origins == 0 {
            ConformalSettings::default().n_origins
        } else {
            options.n_origins
        },
        season_length: season,
        nonnegative: !options.allow_negative,
        exact_coverage: true,
        ..ConformalSettings::default()
    };
    Ok(Box::new(Conformal::new(inner, settings)))
}

/// The second half of [`forecast`]: asks a fitted model, and lifts what lies below zero where the history never did.
///
/// # Errors
/// Those of [`FittedForecaster::predict`].
pub fn predict(
    run: &Run,
    panel: &Panel,
    fitted: &dyn FittedForecaster,
    options: &Options<'_>,
) -> Result<Forecast> {
    let levels = Forecast::levels_of(options.coverages);
    let ahead = Ahead { horizon: options.horizon, quantiles: &levels, future: options.future };
    let f = fitted.predict(run, &ahead)?;
    if options.allow_negative { Ok(f) } else { above_zero(&f, panel) }
}

/// The same forecast without values below zero for series of `panel` that have none.
///
/// # Errors
/// None in practice: the shapes are those of `f`.
pub fn above_zero(f: &Forecast, panel: &Panel) -> Result<Forecast> {
    let mut out = Forecast::new(f.model(), f.freq(), f.horizon(), f.levels());
    for (i, id) in f.ids().iter().enumerate() {
        let never_below =
            panel.position(id).is_some_and(|s| panel.series(s).y.iter().all(|v| v.is_nan() || *v >= 0.0));
        let floor = |v: f64| if never_below { v.max(0.0) } else { v };
        let mean: Vec<f64> = f.mean(i).iter().map(|v| floor(*v)).collect();
        let quantiles: Vec<f64> = (0..f.horizon())
            .flat_map(|k| f.levels().iter().map(move |l| floor(f.quantile(i, k, *l).unwrap_or(f.mean(i)[k]))))
            .collect();
        out.push(id, f.ds(i, 0), &mean, &quantiles)?;
    }
    // A likeliest value is one that was seen, so it is not below zero where none was.
    out.with_modes(f.modes().to_vec())
}

/// Models that learn across series.
const ACROSS: &[&str] = &[
    "auto",
    "global",
    "mlp",
    "lstm",
    "gru",
    "cnn_gru",
    "tcn",
    "patch_transformer",
    "price",
    "linear_regression",
    "polynomial_regression",
    "logistic_regression",
];

/// Whether the model looks at each series on its own, so that the means of a part of a panel are those of the whole. A
/// combination does when all of its members do.
///
/// ```
/// use tradewind_core::Params;
/// use tradewind_forecast::is_local;
/// let mut params = Params::new();
/// assert!(is_local("theta", &params) && is_local("combination", &params) && !is_local("global", &params));
/// params.insert("methods".into(), "ets,global".into());
/// assert!(!is_local("combination", &params));
/// ```
pub fn is_local(model: &str, params: &Params) -> bool {
    if ACROSS.contains(&model) || entry(model).is_err() {
        return false;
    }
    members(model, params).all(|m| !ACROSS.contains(&m))
}

/// Whether the model looks at columns known ahead (prices, promotions, events). A combination does when one of its members
/// does.
///
/// ```
/// use tradewind_core::Params;
/// use tradewind_forecast::looks_at_columns;
/// let mut params = Params::new();
/// assert!(looks_at_columns("global", &params) && !looks_at_columns("combination", &params));
/// params.insert("methods".into(), "global,mlp".into());
/// assert!(looks_at_columns("combination", &params));
/// ```
pub fn looks_at_columns(model: &str, params: &Params) -> bool {
    let looks = |name: &str| entry(name).is_ok_and(|e| e.needs.uses_covariates);
    looks(model) || members(model, params).any(looks)
}

/// The methods that a combination is asked to combine by name; of another model, none.
fn members<'a>(model: &str, params: &'a Params) -> impl Iterator<Item = &'a str> {
    let methods = params.get("methods").and_then(Value::as_str);
    methods.filter(|_| model == combination::ENTRY.name).unwrap_or_default().split(',').map(str::trim)
}
