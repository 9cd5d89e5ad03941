//! Numbers that are not defined: NaN in memory, null in JSON, which has no NaN.

use serde::{Deserialize, Deserializer};

/// Reads null as NaN.
pub(crate) fn or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
