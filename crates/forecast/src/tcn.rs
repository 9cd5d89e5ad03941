//! Filters ever wider apart over the steps before an origin, so that few layers see all of them.
//!
//! What networks share, and all parameters, stand in [`deep`].
//!
//! Source: Bai, Kolter and Koltun (2018) on temporal convolution.

use crate::deep::{self, Kind};
use tradewind_core::ForecasterEntry;

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "tcn",
    summary: "Temporal convolution learnt across all series, with calendar, prices and promotions.",
    summary_zh: "跨序列学习的时间卷积网络，结合日历、价格与促销。",
    source: "Bai, Kolter & Koltun 2018",
    params: deep::PARAMS,
    needs: deep::NEEDS,
    build: |params| deep::build(Kind::Tcn, params),
    load: |state| deep::load(Kind::Tcn, state),
};
