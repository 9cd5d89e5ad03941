//! What a version was learnt from, as one fingerprint.

use super::Kind;
use crate::error::Result;
use serde_json::json;
use tradewind_warehouse::Shop;

/// The fingerprint of a shop's data, with the settings that matter for versions of a kind: rows of every table, how
/// sales are cleaned, whose calendar counts, what events weigh. Threads, memory and names do not matter; of imports their
/// rows and their order do, since the later one counts where two name one row.
///
/// # Errors
/// A shop whose state cannot be read.
pub fn data_fingerprint(shop: &Shop, kind: Kind) -> Result<String> {
    let settings = shop.settings();
    let matters = match kind {
        Kind::Trends => json!([settings.clean, settings.shop.regions, settings.trend]),
        Kind::Forecasts | Kind::Prices => json!([settings.clean, settings.shop.regions]),
        Kind::Recommendations => json!([settings.clean.exclude_products, settings.recommend]),
        // What a query reads is in its parameters; it sees the tables as they are.
        _ => json!([]),
    };
    let mut hash = blake3::Hasher::new();
    hash.update(matters.to_string().as_bytes());
    for part in shop.parts()? {
        hash.update(format!("\n{} {} {}", part.table, part.schema_version, part.blake3).as_bytes());
    }
    Ok(hash.finalize().to_hex().to_string())
}
