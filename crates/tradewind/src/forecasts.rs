//! Forecasts and backtests over a shop or a panel.

use crate::error::Result;
use crate::trends::By;
use serde::Serialize;
use tradewind_core::{Ahead, Forecaster, Freq, Panel, Params, Run};
use tradewind_forecast::Options;
use tradewind_forecast::backtest::{self, Backtest, BacktestResult, Group, LeaderboardRow};
use tradewind_forecast::forecasting::forecaster;
use tradewind_forecast::global::{ExplainedStep, Global};
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::{GroupBy, PanelRequest, Target, shop_panel};

/// The cleaned series of a shop, by product, category or store.
///
/// # Errors
/// Those of the shop; words are no series that can be forecast one by one (their products overlap).
pub fn panel_of_shop(run: &Run, shop: &Shop, by: By, target: Target, freq: Freq) -> Result<Panel> {
    let group = match by {
        By::Product => GroupBy::Product,
        By::Category => GroupBy::Category,
        By::Store => GroupBy::Store,
        By::Word => {
            return Err(crate::Error::asked(
                "words cannot be forecast: their products overlap",
                "use --by product, category or store; `tradewind trends --by word` tells the trends of words",
            ));
        }
    };
    Ok(shop_panel(run, shop, &PanelRequest { by: group, target, ..PanelRequest::units(freq) })?.0)
}

/// What each feature adds to each step of each series, by the model `global` with these parameters. It is learnt as for a
/// forecast, so that the answers are the same.
///
/// # Errors
/// Parameters that it does not have, trees without exact contributions, cancellation.
pub fn explain(run: &Run, panel: &Panel, params: &Params, horizon: usize) -> Result<Vec<ExplainedStep>> {
    let mut model: Global = tradewind_forecast::global::ENTRY.read(params)?;
    model.horizon = model.horizon.or(Some(horizon));
    let fitted = model.fit_panel(run, panel)?;
    Ok(fitted.explain(run, &Ahead::new(horizon, &[]))?)
}

/// The scores of several models on the same past windows: over all series, and by their class.
#[derive(Clone, Debug, Serialize)]
pub struct Leaderboard {
    /// Over all series, best first.
    pub all: Vec<LeaderboardRow>,
    /// By class of series: smooth, erratic, intermittent, lumpy.
    pub by_class: Vec<LeaderboardRow>,
    /// Series too short to be scored at any origin.
    pub n_too_short: usize,
}

/// Backtests models from rolling origins: each forecasts `horizon` steps from each origin without seeing anything after
/// it. Intervals, where the settings ask for their coverage, are those that [`tradewind_forecast::forecast`] gives, and
/// are learnt anew at each origin.
///
/// # Errors
/// A model that is not in the catalogue, parameters it does not have, too short a history, cancellation.
pub fn backtest(
    run: &Run,
    panel: &Panel,
    models: &[&str],
    params: &Params,
    settings: &Backtest,
) -> Result<BacktestResult> {
    let options = Options::new(settings.horizon + settings.gap, &settings.coverages);
    let built: Vec<Box<dyn Forecaster>> =
        models.iter().map(|m| forecaster(m, params, &options)).collect::<Result<_, _>>()?;
    let borrowed: Vec<&dyn Forecaster> = built.iter().map(|m| &**m).collect();
    Ok(backtest::run(run, panel, &borrowed, settings)?)
}

/// Ranks models by what a backtest found.
pub fn leaderboard(result: &BacktestResult) -> Leaderboard {
    Leaderboard {
        all: result.leaderboard(Group::All),
        by_class: result.leaderboard(Group::Class),
        n_too_short: result.too_short().last().copied().unwrap_or(0),
    }
}
