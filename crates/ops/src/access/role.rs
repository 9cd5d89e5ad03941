//! What a key may do: one of four roles, and the groups of routes it is for.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use tradewind_core::ErrorKind;

/// How much a key may do; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Asks for answers: forecasts, recommendations, lists.
    Viewer,
    /// Also sends data in and asks for work in batches.
    Analyst,
    /// Also changes what runs: models, aliases, jobs.
    Operator,
    /// Also gives and takes keys and reads the audit log.
    Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Analyst, Self::Operator, Self::Admin];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|r| r.name() == text).ok_or_else(|| {
            Error::asked(
                ErrorKind::InvalidParams,
                format!("`{}` is no role", shown(text)),
                "choose one of viewer, analyst, operator, admin",
            )
        })
    }
}

macro_rules! scopes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A group of routes that a key may be limited to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Scope {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

scopes! {
    /// Trends.
    Trends = "trends",
    /// Forecasts.
    Forecasts = "forecasts",
    /// Prices.
    Prices = "prices",
    /// Recommendations and search.
    Recommendations = "recommendations",
    /// Predictions of tables.
    Learn = "learn",
    /// Events in.
    Events = "events",
    /// Features.
    Features = "features",
    /// What the shop's data say: figures, histories, the catalogue, their quality.
    Shop = "shop",
    /// Models, versions, aliases, traffic.
    Models = "models",
    /// Jobs and pipelines.
    Jobs = "jobs",
    /// Experiments.
    Experiments = "experiments",
    /// Monitoring and metrics.
    Monitor = "monitor",
    /// Keys.
    Keys = "keys",
    /// The audit log.
    Audit = "audit",
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|s| s.name() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|s| s.name()).collect();
            Error::asked(
                ErrorKind::InvalidParams,
                format!("`{}` is no scope", shown(text)),
                format!("choose of {}", known.join(", ")),
            )
        })
    }
}

/// The scopes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// All, those of later versions included.
    All,
    /// These and no others; none at all is possible and opens only what needs no scope.
    Only(BTreeSet<Scope>),
}

impl Scopes {
    /// Whether `scope` is among them.
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Self::All => true,
            Self::Only(some) => some.contains(&scope),
        }
    }

    /// Their names in order; `*` stands for all.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec!["*"],
            Self::Only(some) => some.iter().map(|s| s.name()).collect(),
        }
    }

    /// Reads names as [`Scopes::names`] gives them.
    ///
    /// # Errors
    /// A name that is no scope.
    pub fn of_names<S: AsRef<str>>(names: &[S]) -> Result<Self> {
        if names.iter().any(|n| n.as_ref() == "*") {
            return Ok(Self::All);
        }
        names.iter().map(|n| n.as_ref().parse()).collect::<Result<_>>().map(Self::Only)
    }

    /// As kept: names with blanks between. A name of a later version is left out: what is unknown opens nothing.
    pub(super) fn of_kept(text: &str) -> Self {
        if text.split(' ').any(|n| n == "*") {
            return Self::All;
        }
        Self::Only(text.split(' ').filter_map(|n| n.parse().ok()).collect())
    }

    pub(super) fn kept(&self) -> String {
        self.names().join(" ")
    }
}

/// A text that a stranger typed, cut to what an error should hold.
pub(super) fn shown(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(41).collect();
    if clean.chars().count() > 40 {
        format!("{}…", clean.chars().take(40).collect::<String>())
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_parse_back() {
        assert!(
            Role::Viewer < Role::Analyst && Role::Analyst < Role::Operator && Role::Operator < Role::Admin
        );
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>().unwrap(), role);
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert!("root".parse::<Role>().is_err());
        assert!("Admin".parse::<Role>().is_err());
    }

    #[test]
    fn scopes_parse_back_and_unknown_ones_open_nothing() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse::<Scope>().unwrap(), *scope);
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
        }
        let some = Scopes::of_names(&["models", "jobs"]).unwrap();
        assert!(some.has(Scope::Models) && some.has(Scope::Jobs) && !some.has(Scope::Keys));
        assert_eq!(Scopes::of_kept(&some.kept()), some);
        assert_eq!(Scopes::of_kept(&Scopes::All.kept()), Scopes::All);
        let none = Scopes::of_names::<&str>(&[]).unwrap();
        assert_eq!(Scopes::of_kept(&none.kept()), none);
        assert!(!none.has(Scope::Models));
        assert_eq!(Scopes::of_kept("models teleport"), Scopes::of_names(&["models"]).unwrap());
        let fault = Scopes::of_names(&["modles"]).unwrap_err().to_string();
        assert!(fault.contains("modles"), "{fault}");
    }
}
