//! The whole way: history of the bottom series to forecasts of all nodes that add up.

use super::{Evidence, Gaps, Hierarchy, Method, Reconciliation, Residuals, aggregate};
use crate::{Intervals, Options, forecast};
use tradewind_core::{Forecast, Panel, Params, Result, Run};

/// What is asked of [`forecast_hierarchy`].
#[derive(Clone, Debug)]
pub struct HierarchyOptions<'a> {
    /// How the forecasts are made to add up.
    pub method: Method,
    /// Steps ahead; at least 1.
    pub horizon: usize,
    /// Coverages of central intervals, as 0.8 and 0.95; may be empty.
    pub coverages: &'a [f64],
    /// Where the base forecasts' quantiles come from.
    pub intervals: Intervals,
    /// Whether no forecast may be below zero.
    pub nonnegative: bool,
    /// What a sum is where one of its series is unknown.
    pub gaps: Gaps,
}

impl<'a> HierarchyOptions<'a> {
    /// `horizon` steps with these coverages and the defaults else: conformal intervals, forecasts of any sign.
    pub fn new(method: Method, horizon: usize, coverages: &'a [f64]) -> Self {
        Self {
            method,
            horizon,
            coverages,
            intervals: Intervals::default(),
            nonnegative: false,
            gaps: Gaps::default(),
        }
    }

    /// The same with forecasts that are nowhere below zero, if `yes`.
    pub fn nonnegative(mut self, yes: bool) -> Self {
        self.nonnegative = yes;
        self
    }
}

/// Forecasts all nodes of a hierarchy by the catalogue's method `model` (as `theta`) and reconciles them: sums the series
/// of `panel` ([`aggregate`]), forecasts each node by itself, takes [`Residuals::of_model`] where the method needs them,
/// and applies the [`Reconciliation`].
///
/// All forecasts begin after the last step of any series. See the [module](super) for an example.
///
/// # Errors
/// Those of [`aggregate`], [`forecast`] and [`Reconciliation::apply`].
pub fn forecast_hierarchy(
    run: &Run,
    model: &str,
    params: &Params,
    panel: &Panel,
    hierarchy: &Hierarchy,
    options: &HierarchyOptions<'_>,
) -> Result<Forecast> {
    let nodes = aggregate(panel, hierarchy, options.gaps)?;
    let asked = Options {
        intervals: options.intervals,
        // Base forecasts below zero tell something; they are lifted where sums are kept.
        allow_negative: true,
        ..Options::new(options.horizon, options.coverages)
    };
    let base = forecast(run, &nodes, model, params, &asked)?;
    let residuals = match options.method.needs_residuals() {
        true => Some(Residuals::of_model(run, model, params, &nodes, hierarchy)?),
        false => None,
    };
    let evidence = Evidence { history: Some(panel), residuals: residuals.as_ref() };
    Reconciliation::new(options.method.clone())
        .nonnegative(options.nonnegative)
        .apply(run, hierarchy, &base, &evidence)
}
