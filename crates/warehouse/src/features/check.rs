//! Faults of definitions, all at once, each with its place and remedy.

use super::definition::{Aggregation, FeatureView, Source, Span, Window, is_name};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use tradewind_core::tables::{TABLES, TableSpec};

/// Views of one call or file at most, and features of one view: beyond that a mistake is likelier than a need.
const VIEWS_MAX: usize = 256;
const FEATURES_MAX: usize = 1_024;

/// One fault of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionFault {
    /// The line in the file, from 1, where there is a file.
    pub line: Option<usize>,
    /// The view's name, or its place as `#2`.
    pub view: String,
    /// The feature's name or place, when the fault is in one.
    pub feature: Option<String>,
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
    /// Places of the view and the feature, by which the reader of a file finds the line.
    pub(crate) at: (usize, Option<usize>),
}

/// All faults of a set of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionFaults {
    /// The file they stand in, if they were read.
    pub path: Option<PathBuf>,
    /// The faults, in the order of the file.
    pub faults: Vec<DefinitionFault>,
}

impl fmt::Display for DefinitionFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            match (&self.path, fault.line) {
                (Some(path), Some(line)) => write!(f, "{}:{line}: ", path.display())?,
                (Some(path), None) => write!(f, "{}: ", path.display())?,
                (None, _) => {}
            }
            write!(f, "view `{}`", fault.view)?;
            if let Some(feature) = &fault.feature {
                write!(f, ", feature `{feature}`")?;
            }
            if !fault.key.is_empty() {
                write!(f, ", `{}`", fault.key)?;
            }
            write!(f, ": {}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for DefinitionFaults {}

/// Collects the faults of one view.
pub(crate) struct Faults<'a> {
    view: &'a FeatureView,
    position: usize,
    out: &'a mut Vec<DefinitionFault>,
}

impl<'a> Faults<'a> {
    pub(crate) fn of(view: &'a FeatureView, position: usize, out: &'a mut Vec<DefinitionFault>) -> Self {
        Self { view, position, out }
    }

    pub(crate) fn view(&mut self, key: &'static str, message: String) {
        let view = called(&self.view.name, self.position);
        let at = (self.position, None);
        self.out.push(DefinitionFault { line: None, view, feature: None, key, message, at });
    }

    pub(crate) fn feature(&mut self, i: usize, key: &'static str, message: String) {
        let view = called(&self.view.name, self.position);
        let feature = Some(called(&self.view.features[i].name, i));
        let at = (self.position, Some(i));
        self.out.push(DefinitionFault { line: None, view, feature, key, message, at });
    }
}

/// A name, or the place of what has none.
pub(crate) fn called(name: &str, position: usize) -> String {
    if name.is_empty() { format!("#{}", position + 1) } else { name.to_owned() }
}

/// Checks definitions by themselves; whether expressions fit the data is seen when they are planned.
///
/// # Errors
/// [`Error::Definitions`] with every fault.
pub fn check(views: &[FeatureView]) -> Result<()> {
    let faults = faults_of(views);
    if faults.is_empty() { Ok(()) } else { Err(Error::Definitions(DefinitionFaults { path: None, faults })) }
}

pub(crate) fn faults_of(views: &[FeatureView]) -> Vec<DefinitionFault> {
    let mut out = vec![];
    let mut seen = HashSet::new();
    for (position, view) in views.iter().enumerate() {
        let mut faults = Faults::of(view, position, &mut out);
        if position == VIEWS_MAX {
            faults.view("name", format!("there are {} views; at most {VIEWS_MAX} are allowed", views.len()));
            break;
        }
        check_view(view, &mut faults);
        if !seen.insert(view.name.as_str()) {
            faults.view("name", "another view has this name; give each its own".into());
        }
    }
    out
}

const NAME_RULE: &str =
    "use small letters, digits and single `_`, beginning with a letter, at most 64 characters";

fn check_view(view: &FeatureView, faults: &mut Faults<'_>) {
    if !is_name(&view.name) {
        faults.view("name", format!("`{}` is no name of a view; {NAME_RULE}", view.name));
    }
    if view.entity.is_empty() {
        faults.view(
            "entity",
            "there is no column; name what the features are about, as [\"product_id\"]".into(),
        );
    }
    for (i, column) in view.entity.iter().enumerate() {
        if column.is_empty() {
            faults.view("entity", "a column's name is empty; leave it out or name it".into());
        } else if view.entity[..i].contains(column) {
            faults.view("entity", format!("`{column}` stands twice; leave one out"));
        }
    }
    let spec = match &view.source {
        Source::Table(name) => {
            let spec = TableSpec::named(name);
            if spec.is_none() {
                let known = TABLES.iter().map(|t| t.name).collect::<Vec<_>>().join(", ");
                faults.view("table", format!("there is no table `{name}`; there are: {known}"));
            }
            spec
        }
        Source::Sql(text) => {
            if text.trim().is_empty() {
                faults.view("sql", "the query is empty; write a SELECT, or name a `table` instead".into());
            }
            None
        }
    };
    if let Some(spec) = spec {
        let known = || spec.columns.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
        for column in view.entity.iter().filter(|c| !c.is_empty() && spec.column(c).is_none()) {
            faults.view("entity", format!("`{}` has no column `{column}`; it has: {}", spec.name, known()));
        }
        if spec.column(&view.time).is_none() {
            let hint = spec.time.map(|t| format!("; its column of time is `{t}`")).unwrap_or_default();
            faults.view("time", format!("`{}` has no column `{}`{hint}", spec.name, view.time));
        }
    } else if view.time.is_empty() {
        faults.view("time", "there is none; name the column of event time, as \"ds\"".into());
    }
    if view.ttl == Some(Span::ZERO) {
        faults.view("ttl", "it is 0; write a positive span, as \"90d\", or leave it out for any age".into());
    }
    if view.ttl.is_some_and(|ttl| ttl > Span::ZERO && ttl < view.available_after) {
        let message =
            "it is shorter than `available_after`, so every row would be too old when it is known; raise it";
        faults.view("ttl", message.into());
    }
    if view.tie_break.as_ref().is_some_and(|t| t.trim().is_empty()) {
        faults.view("tie_break", "it is empty; write an expression or leave it out".into());
    }
    if view.features.is_empty() {
        faults.view("feature", "there is none; add at least one [[view.feature]]".into());
    }
    if view.features.len() > FEATURES_MAX {
        let n = view.features.len();
        faults
            .view("feature", format!("there are {n}; at most {FEATURES_MAX} are allowed, so split the view"));
    }
    for i in 0..view.features.len().min(FEATURES_MAX) {
        check_feature(view, i, faults);
    }
}

fn check_feature(view: &FeatureView, i: usize, faults: &mut Faults<'_>) {
    let feature = &view.features[i];
    if !is_name(&feature.name) {
        faults.feature(i, "name", format!("`{}` is no name of a feature; {NAME_RULE}", feature.name));
    } else if feature.name == "event_time" {
        faults.feature(i, "name", "`event_time` is the column of freshness; take another name".into());
    }
    if view.features[..i].iter().any(|f| f.name == feature.name) {
        faults.feature(i, "name", "another feature of the view has this name; give each its own".into());
    }
    match &feature.expression {
        None if feature.aggregation != Aggregation::Count => {
            let name = feature.aggregation.name();
            let message = format!("`{name}` needs one, as \"quantity\"; only `count` can do without");
            faults.feature(i, "expression", message);
        }
        Some(text) if text.trim().is_empty() => {
            faults.feature(i, "expression", "it is empty; write a column or an expression".into());
        }
        _ => {}
    }
    if feature.window == Window::Last(Span::ZERO) {
        faults.feature(i, "window", "it is 0; write a positive span, as \"7d\", or \"all\"".into());
    }
}
