//! The state of operations of a shop: where it lies, and how it is opened.

use crate::error::{Error, Result};
use tradewind_ops::registry::Store;
use tradewind_ops::{Clock, Database};
use tradewind_warehouse::Shop;

/// The file in a shop's folder that holds the state when the settings name no database.
const FILE: &str = "ops.db";

/// Opens the state that `[ops] state` names.
///
/// # Errors
/// An environment variable that is not set, a database that does not answer, tables of a newer Tradewind.
pub async fn open_state(shop: &Shop) -> Result<Database> {
    Ok(Database::open(&address(shop)?, Clock::system()).await?)
}

/// The folder in a shop that holds the files of versions.
const REGISTRY: &str = "registry";

/// The store of versions' files.
///
/// # Errors
/// A folder that cannot be made.
pub fn open_store(shop: &Shop) -> Result<Store> {
    Ok(Store::open(&shop.root().join(REGISTRY).display().to_string())?)
}

fn address(shop: &Shop) -> Result<String> {
    let setting = shop.settings().ops.state.trim();
    if setting.is_empty() {
        return Ok(format!("sqlite:{}", shop.root().join(FILE).display()));
    }
    let Some(variable) = setting.strip_prefix("env:") else { return Ok(setting.to_owned()) };
    match std::env::var(variable) {
        Ok(address) if !address.trim().is_empty() => Ok(address.trim().to_owned()),
        _ => Err(Error::asked(
            format!("the environment variable {variable} that [ops] state names is not set"),
            "set it to the address of the database, as postgres://user:password@host/name",
        )),
    }
}
