//! Rules and the signals they look at.

use super::{TEXT_CHARS_MAX, wrong};
use crate::error::Result;
use crate::registry::shown;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const NAME_CHARS_MAX: usize = 120;
const SUBJECT_CHARS_MAX: usize = 180;
const DAY_MS: i64 = 86_400_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    #[default]
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// The word in messages, English and Chinese.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Info => ("info", "提示"),
            Self::Warning => ("warning", "警告"),
            Self::Critical => ("critical", "严重"),
        }
    }
}

/// When a signal is one to be told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The value is this or more.
    AtLeast(f64),
    /// The value is this or less.
    AtMost(f64),
    /// The value lies outside these ends.
    Outside(f64, f64),
}

impl Condition {
    /// Whether it holds; a NaN meets none.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::Outside(low, high) => value < low || value > high,
        }
    }

    fn is_finite(self) -> bool {
        match self {
            Self::AtLeast(v) | Self::AtMost(v) => v.is_finite(),
            Self::Outside(low, high) => low.is_finite() && high.is_finite() && low <= high,
        }
    }
}

/// A rule over one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name: `[a-z][a-z0-9_.-]*`.
    pub name: String,
    /// The metric that it looks at, as `drift.severity`.
    pub metric: String,
    /// When it holds.
    pub condition: Condition,
    /// How often in a row it must hold before it is told, 1.
    #[serde(default = "once")]
    pub for_times: u32,
    /// How often in a row it must not hold before it is over, 1.
    #[serde(default = "once")]
    pub clear_times: u32,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// What it is told together with.
    #[serde(default = "shop")]
    pub group: String,
    /// What it says, English.
    #[serde(default)]
    pub text: String,
    /// What it says, Chinese.
    #[serde(default)]
    pub text_zh: String,
}

fn once() -> u32 {
    1
}

fn shop() -> String {
    "shop".to_owned()
}

impl Rule {
    /// A warning in the group `shop`, told at once.
    pub fn new(name: impl Into<String>, metric: impl Into<String>, condition: Condition) -> Self {
        Self {
            name: name.into(),
            metric: metric.into(),
            condition,
            for_times: once(),
            clear_times: once(),
            severity: Severity::Warning,
            group: shop(),
            text: String::new(),
            text_zh: String::new(),
        }
    }
}

/// Rules, and when messages go out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// The rules.
    pub rules: Vec<Rule>,
    /// How long a group waits for what belongs to its first line, 30,000 ms.
    pub group_wait_ms: i64,
    /// The least time between two messages of a group, 600,000 ms.
    pub group_window_ms: i64,
    /// After how long an alert that is still on is told again, a day.
    pub repeat_ms: i64,
    /// The sinks that every message goes to, by name.
    pub sinks: Vec<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            group_wait_ms: 30_000,
            group_window_ms: 600_000,
            repeat_ms: DAY_MS,
            sinks: vec!["log".to_owned()],
        }
    }
}

impl AlertSettings {
    pub(super) fn check(&self) -> Result<()> {
        let range = 0..=30 * DAY_MS;
        if !range.contains(&self.group_wait_ms)
            || !range.contains(&self.group_window_ms)
            || self.repeat_ms < self.group_window_ms.max(60_000)
        {
            return Err(wrong(
                format!(
                    "a wait of {} ms, a window of {} ms, a repeat of {} ms",
                    self.group_wait_ms, self.group_window_ms, self.repeat_ms
                ),
                "give a wait and window of 0 to 30 days, and a repeat of a minute or more and no less than the window",
            ));
        }
        if self.sinks.is_empty() || self.sinks.iter().any(|s| !is_name(s)) {
            return Err(wrong("no sink for messages", "name one or more, as log"));
        }
        let mut seen = BTreeSet::new();
        for rule in &self.rules {
            let texts = [&rule.text, &rule.text_zh].iter().all(|t| t.chars().count() <= TEXT_CHARS_MAX);
            if !is_name(&rule.name) || !is_name(&rule.metric) || !is_name(&rule.group) || !texts {
                return Err(wrong(
                    format!("the rule `{}`", shown(&rule.name)),
                    "give it, its metric and its group names of a-z, 0-9, `_`, `.` and `-`, and short texts",
                ));
            }
            if rule.for_times == 0 || rule.clear_times == 0 || !rule.condition.is_finite() {
                return Err(wrong(
                    format!("the rule {}", rule.name),
                    "give it finite limits and 1 or more times to begin and to end",
                ));
            }
            if !seen.insert(&rule.name) {
                return Err(wrong(format!("two rules named {}", rule.name), "give each a name of its own"));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(plain)
}

/// A value of a metric, to be held against the rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The metric.
    pub metric: String,
    /// What it is about: a model, a column, a segment.
    pub subject: String,
    /// The value.
    pub value: f64,
    /// What else is to be said, in a few words.
    pub details: String,
}

impl Signal {
    /// A signal without further words.
    pub fn new(metric: impl Into<String>, subject: impl Into<String>, value: f64) -> Self {
        Self { metric: metric.into(), subject: subject.into(), value, details: String::new() }
    }

    pub(super) fn check(&self) -> Result<()> {
        let fits = |text: &str, most: usize| text.chars().count() <= most && !text.contains('\0');
        if !self.subject.is_empty()
            && fits(&self.subject, SUBJECT_CHARS_MAX)
            && fits(&self.details, TEXT_CHARS_MAX)
            && !self.value.is_infinite()
        {
            return Ok(());
        }
        Err(wrong(
            format!("a signal of {} about `{}`", shown(&self.metric), shown(&self.subject)),
            format!("say in 1 to {SUBJECT_CHARS_MAX} characters what it is about, and give a finite value"),
        ))
    }
}
