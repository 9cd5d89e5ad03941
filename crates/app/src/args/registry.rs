//! `tradewind registry`.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// `tradewind registry`
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    pub(crate) action: RegistryAction,
}

/// `tradewind registry …`
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryAction {
    /// List the models, or the versions of one
    List {
        /// The model whose versions are meant
        model: Option<String>,
        /// Archived versions too
        #[arg(long)]
        archived: bool,
        /// Lines at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Show one version: what it was made of, how well it did, where it came from
    Show {
        /// As `trends` (what is in production), `trends@3`, `trends@champion` or `trends@latest`
        #[arg(value_name = "VERSION")]
        reference: String,
    },
    /// Give an alias to a version, the champion's unless another is named
    Promote {
        /// As `trends@3`
        #[arg(value_name = "VERSION")]
        reference: String,
        /// The alias
        #[arg(long, value_name = "NAME", default_value = "champion")]
        alias: String,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who approved it, or under which ticket
        #[arg(long, value_name = "TEXT", default_value = "")]
        approval: String,
    },
    /// Give an alias back to the version before
    RollBack {
        /// The model
        model: String,
        /// The alias
        #[arg(long, value_name = "NAME", default_value = "champion")]
        alias: String,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show which version had which alias when, who gave it and why
    History {
        /// The model
        model: String,
        /// One alias alone
        #[arg(long, value_name = "NAME")]
        alias: Option<String>,
        /// Lines at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Show how two versions differ in measures, parameters and files
    Compare {
        /// As `trends@2`
        left: String,
        /// As `trends@3`
        right: String,
    },
    /// Write notes and tags to a version; the version itself never changes
    Annotate {
        /// As `trends@3`
        #[arg(value_name = "VERSION")]
        reference: String,
        /// The notes, in place of those before
        #[arg(long, value_name = "TEXT")]
        notes: Option<String>,
        /// A tag as `NAME=VALUE`, beside those before
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// A tag to take away
        #[arg(long, value_name = "NAME")]
        untag: Vec<String>,
    },
    /// Take a version out of the lists; its files stay
    Archive {
        /// As `trends@2`
        #[arg(value_name = "VERSION")]
        reference: String,
    },
    /// Bring an archived version back into the lists
    Restore {
        /// As `trends@2`
        #[arg(value_name = "VERSION")]
        reference: String,
    },
    /// Write a version to one file
    Export {
        /// As `trends@3`
        #[arg(value_name = "VERSION")]
        reference: String,
        /// The file
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// Take a version in from the file of an export
    Import {
        /// The file
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The model's name here, if not that in the file
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Read every file of every version and say what is not as it was registered
    Verify,
}
