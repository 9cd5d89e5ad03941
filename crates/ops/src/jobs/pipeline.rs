//! What is to be done, in which order: a pipeline of steps. What a step does is code and stands elsewhere
//! ([`super::Work`]); this is data, kept with every run, so that a run ends by the definition it began with.

use super::Fingerprint;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tradewind_core::ErrorKind;

/// Steps of a pipeline at most.
pub const STEPS_MAX: usize = 200;

/// Longest name of a pipeline, step, group or schedule, in bytes.
pub const NAME_MAX: usize = 64;

/// Steps and what stands between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name: small letters, digits, `-` and `_`.
    pub name: String,
    /// Its steps, in the order they are shown.
    pub steps: Vec<Step>,
    /// Pipelines; when each of them has succeeded anew, a run of this one is asked for.
    #[serde(default)]
    pub after: Vec<String>,
    /// Runs under way at once, at least 1; others wait.
    pub runs_at_once: u32,
    /// How many steps of a group run at once, over all pipelines and workers; the smallest number any pipeline gives
    /// counts.
    #[serde(default)]
    pub groups: BTreeMap<String, u32>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name within the pipeline.
    pub name: String,
    /// The version of what it does; another version does not take results of this one from the cache.
    pub version: u32,
    /// Steps that must have succeeded before.
    pub after: Vec<String>,
    /// How often it is tried again after a fault that may pass.
    pub retries: u32,
    /// How long it waits before it is tried again.
    pub backoff: Backoff,
    /// How long one attempt may take, in seconds; 0: as long as it likes.
    pub timeout_s: f64,
    /// The group whose limit it counts towards.
    pub group: Option<String>,
    /// Whether an equal earlier success takes its place.
    pub cached: bool,
}

/// Waiting before another attempt: `first_s`, then `factor` times as long each time, at most `max_s`, less a random part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the second attempt, in seconds, from 0.
    pub first_s: f64,
    /// From 1 to 100.
    pub factor: f64,
    /// At most, in seconds.
    pub max_s: f64,
    /// From 0 to 1: the part that is random, so that what failed together does not come back together.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_s: 5.0, factor: 2.0, max_s: 600.0, jitter: 0.5 }
    }
}

impl Backoff {
    /// The wait after `attempt` (the first is 1) failed, in milliseconds. The random part depends on nothing but the
    /// arguments.
    pub fn wait_ms(&self, seed: i64, step: &str, attempt: u32) -> i64 {
        let longest =
            (self.first_s * self.factor.powi(attempt.saturating_sub(1).min(1_000) as i32)).min(self.max_s);
        let hash =
            Fingerprint::of_parts([&seed.to_le_bytes()[..], step.as_bytes(), &attempt.to_le_bytes()[..]]);
        let bits = u64::from_str_radix(&hash.as_str()[..13], 16).unwrap_or(0);
        let random = bits as f64 / (1_u64 << 52) as f64;
        (longest * (1.0 - self.jitter * random) * 1000.0).round() as i64
    }
}

impl Step {
    /// A step that follows `after`, with three retries, an hour's time and the cache.
    pub fn new(name: &str, after: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            version: 1,
            after: after.iter().map(|&name| name.to_owned()).collect(),
            retries: 3,
            backoff: Backoff::default(),
            timeout_s: 3600.0,
            group: None,
            cached: true,
        }
    }
}

impl Pipeline {
    /// A pipeline that follows no other and runs once at a time.
    pub fn new(name: &str, steps: Vec<Step>) -> Self {
        Self { name: name.to_owned(), steps, after: Vec::new(), runs_at_once: 1, groups: BTreeMap::new() }
    }

    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Every fault of the definition, in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(name_fault("pipeline", &self.name));
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            faults.push(format!("it has {} steps; allowed are 1 to {STEPS_MAX}", self.steps.len()));
        }
        if self.runs_at_once == 0 {
            faults.push("runs_at_once is 0; it must be at least 1".to_owned());
        }
        for (group, &limit) in &self.groups {
            faults.extend(name_fault("group", group));
            if limit == 0 {
                faults.push(format!("the limit of group {group} is 0; it must be at least 1"));
            }
        }
        for name in &self.after {
            faults.extend(name_fault("pipeline before it", name));
            if *name == self.name {
                faults.push(format!("it follows itself ({name})"));
            }
        }
        let mut names = BTreeSet::new();
        for step in &self.steps {
            if !names.insert(step.name.as_str()) {
                faults.push(format!("two steps are called {}", step.name));
            }
        }
        for step in &self.steps {
            faults.extend(step.faults(&names, &self.groups));
        }
        let circle = self.circle();
        if !circle.is_empty() {
            faults.push(format!("steps wait for each other: {}", circle.join(", ")));
        }
        faults
    }

    /// An error that tells all faults of the definition.
    ///
    /// # Errors
    /// At least one fault.
    pub fn check(&self) -> Result<()> {
        let faults = self.faults();
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::asked(
            ErrorKind::InvalidParams,
            format!("pipeline {}: {}", self.name, faults.join("; ")),
            "put the definition right",
        ))
    }

    /// The hash of the definition.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_json(&serde_json::to_value(self).unwrap_or_default())
    }

    /// `step` and all that follow it, directly or not.
    pub fn from(&self, step: &str) -> BTreeSet<String> {
        let mut out = BTreeSet::from([step.to_owned()]);
        loop {
            let before = out.len();
            for step in &self.steps {
                if step.after.iter().any(|name| out.contains(name)) {
                    out.insert(step.name.clone());
                }
            }
            if out.len() == before {
                return out;
            }
        }
    }

    /// Steps that can never begin since they wait, directly or not, for themselves.
    fn circle(&self) -> Vec<String> {
        let mut left: Vec<&Step> = self.steps.iter().collect();
        // Unknown names are another fault: they hold nothing up here.
        loop {
            let names: BTreeSet<&str> = left.iter().map(|step| step.name.as_str()).collect();
            let before = left.len();
            left.retain(|step| step.after.iter().any(|name| names.contains(name.as_str())));
            if left.len() == before {
                break;
            }
        }
        // What only follows the circle is no part of it.
        loop {
            let waited_for: BTreeSet<&str> =
                left.iter().flat_map(|step| step.after.iter().map(String::as_str)).collect();
            let before = left.len();
            left.retain(|step| waited_for.contains(step.name.as_str()));
            if left.len() == before {
                return left.iter().map(|step| step.name.clone()).collect();
            }
        }
    }
}

impl Step {
    fn faults(&self, names: &BTreeSet<&str>, groups: &BTreeMap<String, u32>) -> Vec<String> {
        let mut faults = Vec::new();
        let name = &self.name;
        faults.extend(name_fault("step", name));
        for before in &self.after {
            if !names.contains(before.as_str()) {
                faults.push(format!("step {name} follows {before}, which is no step"));
            }
        }
        if let Some(group) = self.group.as_ref().filter(|group| !groups.contains_key(*group)) {
            faults.push(format!("step {name} is in group {group}, which has no limit"));
        }
        let mut number = |what: &str, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                faults.push(format!("step {name}: {what} is {value}; allowed is {low} to {high}"));
            }
        };
        number("retries", f64::from(self.retries), 0.0, 100.0);
        number("timeout_s", self.timeout_s, 0.0, 30.0 * 86_400.0);
        number("backoff.first_s", self.backoff.first_s, 0.0, 86_400.0);
        number("backoff.factor", self.backoff.factor, 1.0, 100.0);
        number("backoff.max_s", self.backoff.max_s, 0.0, 7.0 * 86_400.0);
        number("backoff.jitter", self.backoff.jitter, 0.0, 1.0);
        faults
    }
}

/// What is wrong with a name, if something is.
pub(crate) fn name_fault(what: &str, name: &str) -> Option<String> {
    let fine = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && !name.starts_with(['-', '_']);
    (!fine).then(|| {
        let shown: String = name.chars().take(NAME_MAX).collect();
        format!(
            "{shown:?} is no name of a {what}: allowed are 1 to {NAME_MAX} small letters, digits, - and _, \
             beginning with a letter or digit"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let mut pipeline = Pipeline::new(
            "Shop",
            vec![
                Step::new("a", &["c"]),
                Step::new("b", &["a"]),
                Step::new("c", &["b", "nowhere"]),
                Step::new("d", &["c"]),
                Step::new("d", &[]),
                Step { group: Some("gpu".into()), timeout_s: f64::NAN, ..Step::new("../x", &[]) },
            ],
        );
        pipeline.runs_at_once = 0;
        pipeline.after = vec!["Shop".into()];
        let faults = pipeline.faults().join("\n");
        for part in [
            "\"Shop\" is no name of a pipeline",
            "runs_at_once is 0",
            "it follows itself (Shop)",
            "two steps are called d",
            "step c follows nowhere",
            "\"../x\" is no name of a step",
            "group gpu, which has no limit",
            "timeout_s is NaN",
            "steps wait for each other: a, b, c",
        ] {
            assert!(faults.contains(part), "{part} is not in:\n{faults}");
        }
        assert!(pipeline.check().is_err());
    }

    #[test]
    fn a_step_that_follows_itself_is_a_circle() {
        let pipeline = Pipeline::new("p", vec![Step::new("a", &["a"]), Step::new("b", &["a"])]);
        assert_eq!(pipeline.faults(), ["steps wait for each other: a"]);
    }

    #[test]
    fn what_follows_a_step() {
        let pipeline = Pipeline::new(
            "p",
            vec![Step::new("a", &[]), Step::new("b", &["a"]), Step::new("c", &["a"]), Step::new("d", &["b"])],
        );
        assert!(pipeline.check().is_ok());
        assert_eq!(pipeline.from("b"), BTreeSet::from(["b".to_owned(), "d".to_owned()]));
    }

    #[test]
    fn backoff_grows_and_is_the_same_for_the_same_seed() {
        let backoff = Backoff { first_s: 1.0, factor: 2.0, max_s: 10.0, jitter: 0.5 };
        for attempt in 1..2_000 {
            let wait = backoff.wait_ms(7, "fit", attempt);
            assert_eq!(wait, backoff.wait_ms(7, "fit", attempt));
            let longest = (1000.0 * 2_f64.powi(attempt.min(20) as i32 - 1)).min(10_000.0) as i64;
            assert!((longest / 2..=longest).contains(&wait), "{attempt}: {wait}");
        }
        let waits: BTreeSet<i64> = (0..50).map(|seed| backoff.wait_ms(seed, "fit", 4)).collect();
        assert!(waits.len() > 40, "{waits:?}");
    }
}
