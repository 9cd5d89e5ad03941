//! Gated recurrent units over the steps before an origin, and dense layers over what is known of a step ahead.
//!
//! What networks share, and all parameters, stand in [`deep`].
//!
//! Source: Cho et al. (2014); Wen et al. (2017) for direct answers from a recurrent encoder.

use crate::deep::{self, Kind};
use tradewind_core::ForecasterEntry;

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "gru",
    summary: "Gated recurrent units learnt across all series, with calendar, prices and promotions.",
    summary_zh: "跨序列学习的门控循环网络，结合日历、价格与促销。",
    source: "Cho et al. 2014; Wen et al. 2017",
    params: deep::PARAMS,
    needs: deep::NEEDS,
    build: |params| deep::build(Kind::Gru, params),
    load: |state| deep::load(Kind::Gru, state),
};
