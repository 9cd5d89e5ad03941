//! The routes, one file for each group.

mod about;
mod audit;
mod keys;
mod probes;

pub(crate) use about::exposition;

use super::table::Routes;

/// Every route. `sagemaker` adds the container contract of that platform.
pub(crate) fn all(sagemaker: bool) -> Routes {
    let mut routes = Routes::new();
    routes = probes::add(routes, sagemaker);
    routes = about::add(routes);
    routes = keys::add(routes);
    audit::add(routes)
}
