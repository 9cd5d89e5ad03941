//! The routes, one file for each group.

mod about;
mod alerts;
mod approvals;
mod audit;
pub(super) mod cache;
mod events;
mod experiments;
mod forecasts;
mod inference_v2;
mod jobs;
mod keys;
pub(super) mod learn;
mod models;
mod monitor;
mod overrides;
mod prices;
mod probes;
mod recommendations;
mod rows;
mod sagemaker;
mod shop;
mod traffic;
mod trends;
mod wire;

pub(crate) use about::{exposition, nonce};

use super::table::Routes;
use tradewind::Error;
use tradewind::serving::Loaded;

/// Every route. `sagemaker` adds the container contract of that platform.
pub(crate) fn all(sagemaker: bool) -> Routes {
    let mut routes = Routes::new();
    routes = probes::add(routes, sagemaker);
    routes = about::add(routes);
    routes = models::add(routes);
    routes = traffic::add(routes);
    routes = experiments::add(routes);
    routes = monitor::add(routes);
    routes = alerts::add(routes);
    routes = approvals::add(routes);
    routes = jobs::add(routes);
    routes = shop::add(routes);
    routes = trends::add(routes);
    routes = forecasts::add(routes);
    routes = overrides::add(routes);
    routes = prices::add(routes);
    routes = recommendations::add(routes);
    routes = learn::add(routes);
    routes = events::add(routes);
    routes = inference_v2::add(routes);
    if sagemaker {
        routes = self::sagemaker::add(routes);
    }
    routes = keys::add(routes);
    audit::add(routes)
}

/// The fault of a route whose version is of another kind: a split may name any version.
fn wrong_kind(version: &Loaded, route: &str) -> Error {
    Error::asked(
        format!("{} is of the kind {} and cannot answer {route}", version.identity, version.kind()),
        "change the split of the route to versions of its own kind",
    )
}
