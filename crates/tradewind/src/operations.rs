//! The state of operations of a shop: where it lies, and how it is opened.

use crate::error::{Error, Result};
use crate::pipelines;
use std::fmt;
use tradewind_ops::jobs::Jobs;
use tradewind_ops::registry::{Registry, Store};
use tradewind_ops::{Clock, Database};
use tradewind_warehouse::Shop;

/// The file in a shop's folder that holds the state when the settings name no database.
const FILE: &str = "ops.db";

/// The folder in a shop that holds the files of registered models when the settings name no store.
const REGISTRY: &str = "registry";

/// The folder in a shop that holds the files that steps of jobs leave.
const RESULTS: &str = "jobs";

/// What begins a setting that stands in a variable of the environment.
const VARIABLE: &str = "env:";

/// The operations of a shop: its state, its jobs, its registry.
#[derive(Clone)]
pub struct Operations {
    /// The shop.
    pub shop: Shop,
    /// The database of jobs, registry and access.
    pub database: Database,
    /// Jobs and schedules.
    pub jobs: Jobs,
    /// Versions of models.
    pub registry: Registry,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("shop", &self.shop.root()).finish_non_exhaustive()
    }
}

impl Operations {
    /// Opens what the settings of the shop name, and makes the pipelines of this version known.
    ///
    /// # Errors
    /// Those of [`open_state`] and [`open_registry`].
    pub async fn open(shop: &Shop) -> Result<Self> {
        let database = open_state(shop).await?;
        let registry = open_registry(shop, &database).await?;
        let jobs = Jobs::new(database.clone(), shop.root().join(RESULTS));
        jobs.define(&pipelines::definition()).await?;
        jobs.define(&pipelines::watch_definition()).await?;
        Ok(Self { shop: shop.clone(), database, jobs, registry })
    }
}

/// Opens the state that `[ops] state` names.
///
/// # Errors
/// An environment variable that is not set, a database that does not answer, tables of a newer Tradewind.
pub async fn open_state(shop: &Shop) -> Result<Database> {
    let address = match said("[ops] state", &shop.settings().ops.state, "postgres://user:password@host/name")?
    {
        Some(address) => address,
        None => format!("sqlite:{}", shop.root().join(FILE).display()),
    };
    Ok(Database::open(&address, Clock::system()).await?)
}

/// Opens the registry whose files lie where `[ops] registry` says, and whose rows are in the state.
///
/// # Errors
/// An environment variable that is not set, a store that cannot be opened.
pub async fn open_registry(shop: &Shop, state: &Database) -> Result<Registry> {
    let place = match said("[ops] registry", &shop.settings().ops.registry, "s3://bucket/prefix")? {
        Some(place) => place,
        None => shop.root().join(REGISTRY).display().to_string(),
    };
    Ok(Registry::open(state.clone(), Store::open(&place)?).await?)
}

/// What a setting says, looked up in the environment where it names a variable. Errors tell the variable's name, never
/// what it holds.
pub(crate) fn said(key: &str, setting: &str, example: &str) -> Result<Option<String>> {
    let setting = setting.trim();
    if setting.is_empty() {
        return Ok(None);
    }
    let Some(variable) = setting.strip_prefix(VARIABLE) else { return Ok(Some(setting.to_owned())) };
    match std::env::var(variable) {
        Ok(value) if !value.trim().is_empty() => Ok(Some(value.trim().to_owned())),
        _ => Err(Error::asked(
            format!("the environment variable {variable} that {key} names is not set"),
            format!("set it, as {example}"),
        )),
    }
}
