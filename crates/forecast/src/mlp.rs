//! Dense layers over what is known of a step ahead, learnt across all series.
//!
//! The rows are those of [`global`](crate::global); what networks share, and all parameters, stand in [`deep`].
//!
//! Source: Rumelhart, Hinton and Williams (1986); residual layers of He et al. (2016); Cheng et al. (2016) for the straight
//! line beside them.

use crate::deep::{self, Kind};
use tradewind_core::ForecasterEntry;

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "mlp",
    summary: "Dense layers learnt across all series from history, season, year, calendar, prices and promotions.",
    summary_zh: "跨序列学习的多层感知机：以历史、季节、去年同期、日历、价格与促销为特征。",
    source: "He et al. 2016; Cheng et al. 2016",
    params: deep::PARAMS,
    needs: deep::NEEDS,
    build: |params| deep::build(Kind::Mlp, params),
    load: |state| deep::load(Kind::Mlp, state),
};
