//! Faults, told by kind.
//!
//! Every crate has its own error enum with the values of the fault; each says which [`ErrorKind`] it is. The
//! outermost crate alone turns kinds into exit codes and HTTP status.

use std::fmt;

/// What sort of fault it is. One table turns these into exit codes, one into HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The data are wrong: a file, a row, a value.
    InvalidInput,
    /// The parameters or settings are wrong.
    InvalidParams,
    /// A named thing does not exist.
    NotFound,
    /// The thing exists already, or somebody else holds it.
    Conflict,
    /// The data are right but too few for what was asked.
    NotEnoughData,
    /// An iterative method did not reach its tolerance.
    NotConverged,
    /// Not allowed: no consent, no right.
    Denied,
    /// A disk, database or service did not answer.
    Unavailable,
    /// The user asked to stop.
    Interrupted,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The stable code used in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::InvalidParams => "invalid_params",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::NotEnoughData => "not_enough_data",
            Self::NotConverged => "not_converged",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What each crate's error enum answers beside its text.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// The sort of fault.
    fn kind(&self) -> ErrorKind;
    /// What to do next, if there is something to say. Shown apart from the error.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// One parameter that lies outside its range.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamFault {
    /// The parameter's name.
    pub name: &'static str,
    /// The value received, as text.
    pub got: String,
    /// The allowed range in words, as `1 to 1000`.
    pub allowed: String,
}

impl ParamFault {
    /// A fault for `name`.
    pub fn new(name: &'static str, got: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { name, got: got.to_string(), allowed: allowed.into() }
    }
}

/// Faults that models and values share.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One or more parameters are outside their range; all are listed.
    #[error("parameters out of range: {}", .0.iter().map(|f| format!("{} = {} (allowed: {})", f.name, f.got, f.allowed)).collect::<Vec<_>>().join("; "))]
    Params(Vec<ParamFault>),
    /// A parameter that the model does not have.
    #[error("unknown parameter `{name}` for {model}; it has: {known}")]
    UnknownParam {
        /// The model.
        model: String,
        /// What was asked.
        name: String,
        /// The names it has.
        known: String,
    },
    /// Data that break a rule of their type.
    #[error("{0}")]
    Invalid(String),
    /// Too few observations.
    #[error("{what} needs at least {needed} observations, got {got}")]
    NotEnoughData {
        /// The model or step.
        what: String,
        /// Needed.
        needed: usize,
        /// Got.
        got: usize,
    },
    /// A named thing that is not there.
    #[error("no {what} named `{name}`{}", if .known.is_empty() { String::new() } else { format!("; there are: {}", .known) })]
    NotFound {
        /// What sort of thing.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The method did not converge.
    #[error("{what} did not converge after {iterations} iterations")]
    NotConverged {
        /// The model or step.
        what: String,
        /// Iterations made.
        iterations: usize,
    },
    /// The run was cancelled.
    #[error("interrupted")]
    Interrupted,
    /// Saved state that cannot be read.
    #[error("saved {what} cannot be read: {source}")]
    Saved {
        /// The model.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Fault for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Params(_) | Self::UnknownParam { .. } => ErrorKind::InvalidParams,
            Self::Invalid(_) | Self::Saved { .. } => ErrorKind::InvalidInput,
            Self::NotEnoughData { .. } => ErrorKind::NotEnoughData,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NotConverged { .. } => ErrorKind::NotConverged,
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotEnoughData { needed, .. } => {
                Some(format!("give more history (at least {needed} observations) or choose a simpler model"))
            }
            Self::UnknownParam { .. } | Self::Params(_) => {
                Some("`tradewind models` lists every model with its parameters and ranges".into())
            }
            _ => None,
        }
    }
}

/// The result of most of this house's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Gathers parameter faults, so that a user sees all of them at once.
#[derive(Debug, Default)]
pub struct ParamCheck(Vec<ParamFault>);

impl ParamCheck {
    /// An empty check.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a fault when `ok` is false.
    pub fn require(
        &mut self,
        ok: bool,
        name: &'static str,
        got: impl fmt::Display,
        allowed: &str,
    ) -> &mut Self {
        if !ok {
            self.0.push(ParamFault::new(name, got, allowed));
        }
        self
    }

    /// `Ok` when nothing was noted.
    pub fn finish(&mut self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Params(std::mem::take(&mut self.0))) }
    }
}
