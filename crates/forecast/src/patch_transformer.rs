//! Self-attention among patches of the steps before an origin; a patch is a season where that is short.
//!
//! What networks share, and all parameters, stand in [`deep`].
//!
//! Source: Nie et al. (2023) on patches; Vaswani et al. (2017).

use crate::deep::{self, Kind};
use tradewind_core::ForecasterEntry;

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "patch_transformer",
    summary: "Self-attention among patches of steps, learnt across all series, with calendar, prices and promotions.",
    summary_zh: "跨序列学习的分块自注意力网络，结合日历、价格与促销。",
    source: "Nie et al. 2023; Vaswani et al. 2017",
    params: deep::PARAMS,
    needs: deep::NEEDS,
    build: |params| deep::build(Kind::PatchTransformer, params),
    load: |state| deep::load(Kind::PatchTransformer, state),
};
