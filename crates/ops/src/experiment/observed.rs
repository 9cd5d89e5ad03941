//! What was seen of an experiment: units and sums of each arm.

use super::{Definition, MetricKind, Sums, Unit};
use crate::error::{Error, Result};
use crate::registry::shown;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::ErrorKind;

/// What was seen of one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmObserved {
    /// Units that were exposed.
    pub units: u64,
    /// Their sums, by metric.
    pub metrics: BTreeMap<String, Sums>,
}

/// What was seen of an experiment until now: bounded, whatever the number of users, and merged from any parts that share
/// no user.
///
/// Whoever fills it gives every exposed user once, with all the user did from the first exposure on; who did nothing is
/// given as well, with zeros. Users seen in two arms are in neither, but in [`Observed::crossed`].
///
/// ```
/// use tradewind_ops::experiment::{Definition, MetricKind, Observed, Unit};
/// let plan = Definition::ab("form", "control", "short", "buys", MetricKind::Conversion);
/// let mut seen = Observed::default();
/// seen.push(&plan, "control", &[("buys", Unit::value(1.0))]).unwrap();
/// seen.push(&plan, "control", &[]).unwrap(); // exposed, did nothing
/// assert_eq!(seen.arms["control"].metrics["buys"].mean(), 0.5);
/// assert!(seen.push(&plan, "control", &[("buys", Unit::value(0.7))]).is_err()); // no conversion
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The arms.
    pub arms: BTreeMap<String, ArmObserved>,
    /// Users that were seen in more than one arm and left out.
    #[serde(default)]
    pub crossed: u64,
}

impl Observed {
    /// Takes an exposed user in; metrics that are not given are zero.
    ///
    /// # Errors
    /// An arm or metric that the experiment does not have; a conversion other than 0 and 1; a number that is not finite;
    /// a weight below 0. Then nothing is taken in.
    pub fn push(&mut self, definition: &Definition, arm: &str, metrics: &[(&str, Unit)]) -> Result<()> {
        if !definition.arms.iter().any(|a| a.name == arm) {
            return Err(wrong(format!("{} has no arm `{}`", definition.name, shown(arm))));
        }
        for (name, unit) in metrics {
            let Some(metric) = definition.metric(name) else {
                return Err(wrong(format!("{} has no metric `{}`", definition.name, shown(name))));
            };
            let finite = [unit.value, unit.weight, unit.before].iter().all(|v| v.is_finite());
            let fits = match metric.kind {
                MetricKind::Conversion => (unit.value == 0.0 || unit.value == 1.0) && unit.weight == 1.0,
                MetricKind::Mean => unit.weight == 1.0,
                MetricKind::Ratio | MetricKind::Rating => unit.weight >= 0.0,
            };
            if !finite || !fits {
                return Err(wrong(format!("a user's {name} of {} over {}", unit.value, unit.weight)));
            }
        }
        let seen = self.arms.entry(arm.to_owned()).or_default();
        seen.units += 1;
        for metric in &definition.metrics {
            let given = metrics.iter().find(|(name, _)| *name == metric.name).map(|(_, unit)| *unit);
            let idle = match metric.kind {
                MetricKind::Conversion | MetricKind::Mean => Unit::value(0.0),
                MetricKind::Ratio | MetricKind::Rating => Unit::ratio(0.0, 0.0),
            };
            let mut unit = given.unwrap_or(idle);
            if let Some(cap) = metric.cap {
                unit.value = unit.value.min(cap);
                unit.before = unit.before.min(cap);
            }
            seen.metrics.entry(metric.name.clone()).or_default().push(unit);
        }
        Ok(())
    }

    /// Adds what was seen elsewhere, of other users.
    pub fn merge(&mut self, other: &Self) {
        self.crossed += other.crossed;
        for (arm, theirs) in &other.arms {
            let mine = self.arms.entry(arm.clone()).or_default();
            mine.units += theirs.units;
            for (metric, sums) in &theirs.metrics {
                mine.metrics.entry(metric.clone()).or_default().merge(sums);
            }
        }
    }

    /// Exposed units of all arms.
    pub fn units(&self) -> u64 {
        self.arms.values().map(|a| a.units).sum()
    }

    pub(super) fn units_of(&self, arm: &str) -> u64 {
        self.arms.get(arm).map_or(0, |a| a.units)
    }

    pub(super) fn sums(&self, arm: &str, metric: &str) -> Sums {
        self.arms.get(arm).and_then(|a| a.metrics.get(metric)).copied().unwrap_or_default()
    }

    /// Whether these can be figures of the experiment.
    ///
    /// # Errors
    /// An arm that it does not have, a metric that does not count every exposed unit, damaged sums.
    pub fn check(&self, definition: &Definition) -> Result<()> {
        for (name, arm) in &self.arms {
            if !definition.arms.iter().any(|a| a.name == *name) {
                return Err(wrong(format!("{} has no arm `{}`", definition.name, shown(name))));
            }
            for (metric, sums) in &arm.metrics {
                if definition.metric(metric).is_none() || !sums.is_whole() {
                    return Err(wrong(format!("the sums of `{}` in {name}", shown(metric))));
                }
                if sums.n() != arm.units {
                    return Err(wrong(format!(
                        "{metric} counts {} of the {} units that were exposed to {name}",
                        sums.n(),
                        arm.units
                    )));
                }
            }
        }
        Ok(())
    }
}

fn wrong(text: String) -> Error {
    Error::asked(
        ErrorKind::InvalidInput,
        text,
        "give every exposed user once, with arms and metrics of the experiment and finite numbers: 0 or 1 for a conversion",
    )
}
