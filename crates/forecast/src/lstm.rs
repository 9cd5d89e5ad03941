//! Long short-term memory over the steps before an origin, and dense layers over what is known of a step ahead.
//!
//! An encoder as of sequence models whose every step ahead is told directly; what networks share, and all parameters, stand in
//! [`deep`].
//!
//! Source: Hochreiter and Schmidhuber (1997); Wen et al. (2017) for direct answers from a recurrent encoder.

use crate::deep::{self, Kind};
use tradewind_core::ForecasterEntry;

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "lstm",
    summary: "Long short-term memory learnt across all series, with calendar, prices and promotions.",
    summary_zh: "跨序列学习的长短期记忆网络，结合日历、价格与促销。",
    source: "Hochreiter & Schmidhuber 1997; Wen et al. 2017",
    params: deep::PARAMS,
    needs: deep::NEEDS,
    build: |params| deep::build(Kind::Lstm, params),
    load: |state| deep::load(Kind::Lstm, state),
};
