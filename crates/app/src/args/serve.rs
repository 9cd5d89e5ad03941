//! `tradewind serve`, `tradewind keys`, `tradewind audit`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// `tradewind serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen, as address:port; port 0 takes a free one [default: `[serve] listen`, 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Also run jobs in this process, N steps at once; 0 leaves them to `tradewind jobs work`
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) work: u16,
    /// Write the address taken to this file once requests are answered
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) address_file: Option<PathBuf>,
}

/// `tradewind keys`
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) action: KeysAction,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Make a key; its secret is shown once
    Create {
        /// How much it may do
        #[arg(long, value_enum)]
        role: RoleArg,
        /// What it is for: a place or a program, not a person
        #[arg(long, default_value = "first key")]
        name: String,
        /// For which routes, as forecasts,recommendations [default: all]
        #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
        scopes: Option<Vec<String>>,
        /// After how many days it ends [default: never]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
    /// List the keys, without their secrets
    List,
    /// Revoke a key: running servers refuse it within two seconds
    Revoke {
        /// The key's id
        id: String,
    },
    /// Make a key that takes the place of another, which goes on for a while
    Rotate {
        /// The key's id
        id: String,
        /// For how many hours the old key goes on
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=2_160))]
        overlap_hours: u32,
    },
}

/// How much a key may do; each may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Asks for answers
    Viewer,
    /// Also sends data in and asks for work in batches
    Analyst,
    /// Also changes what runs: models, aliases, jobs
    Operator,
    /// Also gives and takes keys and reads the audit log
    Admin,
}

/// `tradewind audit`
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// List what was done, latest first
    List {
        /// Only this actor, as key:ID or local:NAME
        #[arg(long)]
        actor: Option<String>,
        /// Only this action; with a full stop at its end all that begin so, as keys.
        #[arg(long)]
        action: Option<String>,
        /// Only about this object
        #[arg(long)]
        object: Option<String>,
        /// Only with this outcome: done, denied or failed
        #[arg(long)]
        outcome: Option<String>,
        /// Only rows with a number below this
        #[arg(long, value_name = "N")]
        before: Option<i64>,
        /// Rows at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Check that no row was changed, removed or moved; ends with code 1 if one was
    Verify {
        /// A head printed by an earlier check: the log must still hold that row
        #[arg(long, value_name = "HEAD")]
        head: Option<String>,
    },
}
