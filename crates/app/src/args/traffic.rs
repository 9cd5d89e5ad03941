//! `tradewind traffic`.

use clap::{Args, Subcommand};

/// `tradewind traffic`
#[derive(Debug, Args)]
pub(crate) struct TrafficArgs {
    #[command(subcommand)]
    pub(crate) action: TrafficAction,
}

/// `tradewind traffic …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrafficAction {
    /// List the routes that several versions answer
    List,
    /// Split a route between versions; users keep their arm, and as few as can be change it
    Set {
        /// The route, as `trends`, `forecasts`, `recommendations` or `learn/churn`
        route: String,
        /// An arm as `NAME=VERSION:PERCENT`, as `stable=trends@champion:90`; the percents sum to 100
        #[arg(long = "arm", value_name = "ARM", required = true)]
        arms: Vec<String>,
        /// A version that is asked as well, and only measured, as `next=trends@9:10`
        #[arg(long = "shadow", value_name = "ARM")]
        shadows: Vec<String>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who approved it, or under which ticket
        #[arg(long, value_name = "TEXT", default_value = "")]
        approval: String,
    },
    /// Give a share of the users to a candidate, the others to what is in production
    Canary {
        /// The candidate, as `trends@7`
        #[arg(value_name = "VERSION")]
        candidate: String,
        /// Its share of the users in percent
        #[arg(long, value_name = "PERCENT")]
        percent: f64,
        /// The route, if not the one that the candidate's kind answers
        #[arg(long, value_name = "ROUTE")]
        route: Option<String>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Give an arm a larger or smaller share; the others share the rest as they do now
    Ramp {
        /// The route
        route: String,
        /// The arm, as `canary`
        arm: String,
        /// Its share of the users in percent
        #[arg(long, value_name = "PERCENT")]
        percent: f64,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Put the split of an earlier revision back, with the same users in the same arms
    RollBack {
        /// The route
        route: String,
        /// The revision, as `history` shows it
        revision: u64,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Take a split away: the champion answers everybody again
    Remove {
        /// The route
        route: String,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show who split a route how, when and why
    History {
        /// The route
        route: String,
        /// Lines at most
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
}
