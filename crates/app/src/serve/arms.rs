//! Versions that arms of running experiments name: who is in such an arm is answered by its version.
//!
//! The version is loaded under a route of its own beside that of everybody, and an answer from it counts as an exposure.

use super::domain::Domain;
use std::sync::Arc;
use tradewind::ops::experiment::{Assigned, Assigner, Definition};
use tradewind::ops::registry::Reference;
use tradewind::serving::Loaded;

/// Stands in no name of a route, an experiment or an arm.
const BETWEEN: char = '#';

/// The route under which an arm's version is held.
pub(crate) fn held(route: &str, experiment: &str, arm: &str) -> String {
    format!("{route}{BETWEEN}{experiment}/{arm}")
}

/// Whether a route is one that an arm holds, and not one that anybody can ask for.
pub(crate) fn is_held(route: &str) -> bool {
    route.contains(BETWEEN)
}

/// The arms of the experiments that name versions: experiment, arm, version.
pub(crate) fn naming<'a>(
    running: impl Iterator<Item = &'a Definition>,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Reference)> {
    running.flat_map(|definition| {
        definition
            .arms
            .iter()
            .filter_map(|arm| Some((definition.name.as_str(), arm.name.as_str(), arm.reference.as_ref()?)))
    })
}

/// The user's arm and its version, where the user is in an arm that names one of this route.
pub(crate) fn version<'a>(
    domain: &Domain,
    assigner: &'a Assigner,
    route: &str,
    user: &str,
) -> Option<(Assigned<'a>, Arc<Loaded>)> {
    naming(assigner.running()).next()?;
    let table = domain.serving.table();
    assigner.assign(user).into_iter().find_map(|a| {
        a.arm.reference.as_ref()?;
        let version = table.route(&held(route, &a.experiment.name, &a.arm.name))?.main().clone();
        Some((a, version))
    })
}
