//! What an experiment is: arms, metrics, and how it will be judged, said before it runs.

use super::{Bandit, MetricKind};
use crate::correction::Correction;
use crate::error::{Error, Result};
use crate::registry::{Reference, shown};
use crate::traffic::WHOLE;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tradewind_core::ErrorKind;

const ARMS_MAX: usize = 16;
const METRICS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 63;
const TEXT_CHARS_MAX: usize = 2_000;

/// An experiment as it is planned.
///
/// ```
/// use tradewind_ops::experiment::{Definition, MetricKind};
/// let plan = Definition::ab("checkout", "control", "short_form", "buys", MetricKind::Conversion);
/// assert!(plan.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name: `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// What is believed and why, in words.
    #[serde(default)]
    pub hypothesis: String,
    /// The layer: a user is in one experiment of a layer at most, and in those of different layers independently.
    pub layer: String,
    /// The share of the layer's users, in hundredths of a percent.
    pub exposure: u32,
    /// The arms; the first is the control.
    pub arms: Vec<Arm>,
    /// Versions that are asked as well and whose answers are only noted.
    #[serde(default)]
    pub shadows: Vec<ShadowArm>,
    /// What is measured; one or more are primary.
    pub metrics: Vec<Metric>,
    /// How it is judged.
    pub method: Method,
    /// The chance of a false alarm over all arms and primary metrics, 0.05.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// How p-values are corrected for several arms and primary metrics.
    #[serde(default)]
    pub correction: Correction,
}

fn alpha() -> f64 {
    0.05
}

/// A way of answering that is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name: `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// Its share of the experiment in hundredths of a percent.
    pub weight: u32,
    /// The version of a model that answers, if models are compared.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// Settings for whoever answers: a JSON object, or nothing.
    #[serde(default)]
    pub settings: serde_json::Value,
}

/// A version whose answers are noted and thrown away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowArm {
    /// Its name.
    pub name: String,
    /// The version.
    pub reference: Reference,
    /// Of how many of the experiment's users, in hundredths of a percent.
    pub share: u32,
}

/// What a metric is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It decides.
    Primary,
    /// It explains.
    Secondary,
    /// It must not get worse: the experiment stops when it does.
    Guard,
}

/// Something that is measured for every exposed user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name: `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// How it is tested.
    pub kind: MetricKind,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether more is better.
    #[serde(default = "yes")]
    pub higher_is_better: bool,
    /// For guards: how much worse, as a share of the control's figure, is borne: 0.02 is 2 %.
    #[serde(default)]
    pub margin: f64,
    /// Values of a user above this count as this, so that one buyer does not decide; nothing leaves them.
    #[serde(default)]
    pub cap: Option<f64>,
}

fn yes() -> bool {
    true
}

impl Metric {
    /// A metric where more is better.
    pub fn new(name: impl Into<String>, kind: MetricKind, purpose: Purpose) -> Self {
        Self { name: name.into(), kind, purpose, higher_is_better: true, margin: 0.0, cap: None }
    }
}

/// How an experiment is judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method")]
pub enum Method {
    /// Once, when each arm has its units; looks before that say nothing.
    Fixed {
        /// Units of each arm.
        units_per_arm: u64,
    },
    /// At any time: every look is valid.
    Sequential {
        /// Units in all for which it shall be sharpest.
        planned_units: u64,
    },
    /// Shares follow what is learnt.
    Bandit(Bandit),
}

impl Definition {
    /// Two arms of equal share and one primary metric in the layer `main`, judged at any time, for all users.
    pub fn ab(name: &str, control: &str, arm: &str, metric: &str, kind: MetricKind) -> Self {
        let half = |name: &str| Arm {
            name: name.to_owned(),
            weight: WHOLE / 2,
            reference: None,
            settings: serde_json::Value::Null,
        };
        Self {
            name: name.to_owned(),
            hypothesis: String::new(),
            layer: "main".to_owned(),
            exposure: WHOLE,
            arms: vec![half(control), half(arm)],
            shadows: Vec::new(),
            metrics: vec![Metric::new(metric, kind, Purpose::Primary)],
            method: Method::Sequential { planned_units: 10_000 },
            alpha: 0.05,
            correction: Correction::Holm,
        }
    }

    /// The control.
    pub fn control(&self) -> &str {
        self.arms.first().map_or("", |arm| &arm.name)
    }

    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|m| m.name == name)
    }

    /// Whether everything lies in its range.
    ///
    /// # Errors
    /// What does not, with the remedy.
    pub fn check(&self) -> Result<()> {
        let names = [("experiment", &self.name), ("layer", &self.layer)];
        let arms = self
            .arms
            .iter()
            .map(|a| ("arm", &a.name))
            .chain(self.shadows.iter().map(|s| ("shadow", &s.name)));
        let metrics = self.metrics.iter().map(|m| ("metric", &m.name));
        for (what, name) in names.into_iter().chain(arms.clone()).chain(metrics) {
            check_name(what, name)?;
        }
        if self.hypothesis.chars().count() > TEXT_CHARS_MAX {
            return Err(wrong(
                "a hypothesis that is too long",
                format!("give {TEXT_CHARS_MAX} characters at most"),
            ));
        }
        if !(2..=ARMS_MAX).contains(&self.arms.len()) || self.shadows.len() > ARMS_MAX {
            return Err(wrong(
                format!("{} arms and {} shadows", self.arms.len(), self.shadows.len()),
                format!("give 2 to {ARMS_MAX} arms, the control first"),
            ));
        }
        let different: BTreeSet<&String> = arms.clone().map(|(_, name)| name).collect();
        if different.len() < self.arms.len() + self.shadows.len() {
            return Err(wrong("two arms or shadows of one name", "give each a name of its own"));
        }
        let total: u64 = self.arms.iter().map(|a| u64::from(a.weight)).sum();
        if total != u64::from(WHOLE) || self.arms.iter().any(|a| a.weight == 0) {
            return Err(wrong(
                format!("weights that sum to {total}"),
                format!("give each arm a weight above 0, together {WHOLE} hundredths of a percent"),
            ));
        }
        if self.exposure > WHOLE || self.shadows.iter().any(|s| s.share > WHOLE) {
            return Err(wrong("an exposure or share above the whole", format!("give {WHOLE} at most")));
        }
        if self.arms.iter().any(|a| !(a.settings.is_null() || a.settings.is_object())) {
            return Err(wrong("settings of an arm that are no JSON object", "give an object, or nothing"));
        }
        if !(self.alpha > 0.0 && self.alpha <= 0.2) {
            return Err(wrong(format!("a level of {}", self.alpha), "give more than 0 and at most 0.2"));
        }
        self.check_metrics()?;
        match self.method {
            Method::Fixed { units_per_arm: 0..100 } => {
                Err(wrong("fewer than 100 units an arm", "work out the units by their power and give them"))
            }
            Method::Sequential { planned_units: 0..200 } => {
                Err(wrong("fewer than 200 planned units", "give the units that you expect in all"))
            }
            Method::Bandit(bandit) if !(0.0..=1.0 / self.arms.len() as f64).contains(&bandit.floor) => {
                Err(wrong(format!("a floor of {}", bandit.floor), "give 0 to one over the number of arms"))
            }
            _ => Ok(()),
        }
    }

    fn check_metrics(&self) -> Result<()> {
        if !(1..=METRICS_MAX).contains(&self.metrics.len())
            || !self.metrics.iter().any(|m| m.purpose == Purpose::Primary)
        {
            return Err(wrong(
                format!("{} metrics", self.metrics.len()),
                format!("give 1 to {METRICS_MAX}, one or more of them primary"),
            ));
        }
        let different: BTreeSet<&String> = self.metrics.iter().map(|m| &m.name).collect();
        if different.len() < self.metrics.len() {
            return Err(wrong("two metrics of one name", "give each a name of its own"));
        }
        match self.metrics.iter().find(|m| {
            !(0.0..1.0).contains(&m.margin) || m.cap.is_some_and(|cap| !(cap.is_finite() && cap > 0.0))
        }) {
            Some(m) => Err(wrong(
                format!("the margin {} or cap {:?} of {}", m.margin, m.cap, m.name),
                "give a margin of 0 to 1 and a cap above 0",
            )),
            None => Ok(()),
        }
    }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain)
    {
        return Ok(());
    }
    Err(wrong(
        format!("`{}` is no name of a {what}", shown(name)),
        format!("begin with a-z and give {NAME_CHARS_MAX} characters at most of a-z, 0-9, `_` and `-`"),
    ))
}

fn wrong(text: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::asked(ErrorKind::InvalidParams, text, hint)
}
