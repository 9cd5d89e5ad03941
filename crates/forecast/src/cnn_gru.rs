//! Filters over the steps before an origin, then gated recurrent units over what the filters found.
//!
//! What networks share, and all parameters, stand in [`deep`].
//!
//! Source: Lai et al. (2018) on networks of filters and recurrent layers.

use crate::deep::{self, Kind};
use tradewind_core::ForecasterEntry;

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "cnn_gru",
    summary: "Filters and gated recurrent units learnt across all series, with calendar, prices and promotions.",
    summary_zh: "跨序列学习的卷积加门控循环网络，结合日历、价格与促销。",
    source: "Lai et al. 2018",
    params: deep::PARAMS,
    needs: deep::NEEDS,
    build: |params| deep::build(Kind::CnnGru, params),
    load: |state| deep::load(Kind::CnnGru, state),
};
