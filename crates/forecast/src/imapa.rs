//! IMAPA: the mean of [`adida`](crate::adida) over every bucket length up to the mean interval between sales.
//!
//! No single length of buckets has to be right (Petropoulos & Kourentzes 2015, *Journal of the Operational Research
//! Society* 66). Everything else is as there.

use crate::adida::FittedBuckets;
use crate::local::{self, LocalModel};
use serde::{Deserialize, Serialize};
use tradewind_core::{ForecasterEntry, Needs, Result, Series};

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "imapa",
    summary: "Slow sales added up over several lengths, smoothed, and the forecasts averaged.",
    summary_zh: "IMAPA 法（间歇需求）：多种聚合长度预测的平均。",
    source: "Petropoulos & Kourentzes (2015), Journal of the Operational Research Society 66",
    params: &[],
    needs: Needs { min_observations: 1, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Imapa>,
    load: local::load::<Imapa>,
};

/// IMAPA; it has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Imapa {}

impl LocalModel for Imapa {
    type Fitted = FittedBuckets;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedBuckets> {
        FittedBuckets::fit(&ENTRY, series.y, true, in_sample)
    }
}
