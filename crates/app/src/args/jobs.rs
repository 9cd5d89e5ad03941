//! `tradewind pipeline` and `tradewind jobs`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// `tradewind pipeline`
#[derive(Debug, Args)]
pub(crate) struct PipelineArgs {
    #[command(subcommand)]
    pub(crate) action: PipelineAction,
}

/// `tradewind pipeline …`
#[derive(Debug, Subcommand)]
pub(crate) enum PipelineAction {
    /// Import, check, fit, evaluate, register, promote, predict and report; what has not changed is not done again
    Run(PipelineRunArgs),
    /// Show the steps, the schedules and the newest runs
    Show,
    /// Keep a schedule, or change one
    Schedule(PipelineScheduleArgs),
}

/// `tradewind pipeline run`
#[derive(Debug, Args)]
pub(crate) struct PipelineRunArgs {
    #[command(flatten)]
    pub(crate) order: OrderArgs,
    /// Only ask for the run and leave the work to `tradewind jobs work`
    #[arg(long)]
    pub(crate) queue: bool,
    /// Do every step even if an equal success is known
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Runs of higher priority are taken first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(-1000..=1000))]
    pub(crate) priority: i64,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// What a run is asked to do.
#[derive(Clone, Debug, Args)]
pub(crate) struct OrderArgs {
    /// Files and folders to take in first; what is in the shop already is left alone
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) import: Vec<PathBuf>,
    /// How their columns are named; else it is found from the header
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// From which weight on findings of the quality check end the run
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: StopAt,
    /// What to fit [default: all]
    #[arg(long, value_enum, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) kinds: Vec<FittedKind>,
}

/// From which weight on findings end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StopAt {
    /// From errors on.
    Error,
    /// From warnings on.
    Warning,
    /// Never.
    Never,
}

/// What the pipeline fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FittedKind {
    /// What rises and falls.
    Trends,
    /// What will sell.
    Forecasts,
    /// At what price.
    Prices,
    /// What to show to whom.
    Recommendations,
}

/// `tradewind pipeline schedule`
#[derive(Debug, Args)]
pub(crate) struct PipelineScheduleArgs {
    /// The schedule's name
    #[arg(default_value = "nightly")]
    pub(crate) name: String,
    /// When: minute, hour, day, month and day of the week, as "30 2 * * *"
    #[arg(long, value_name = "PATTERN", required_unless_present_any = ["remove", "pause", "resume"])]
    pub(crate) cron: Option<String>,
    /// The time zone, as Asia/Shanghai [default: the shop's, else UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// What becomes of times that passed while no worker was there
    #[arg(long, value_enum, default_value = "once")]
    pub(crate) missed: MissedArg,
    #[command(flatten)]
    pub(crate) order: OrderArgs,
    /// Forget the schedule
    #[arg(long, conflicts_with_all = ["cron", "pause", "resume"])]
    pub(crate) remove: bool,
    /// Let the schedule rest
    #[arg(long, conflicts_with_all = ["cron", "resume"])]
    pub(crate) pause: bool,
    /// Let the schedule go on, from now
    #[arg(long, conflicts_with = "cron")]
    pub(crate) resume: bool,
}

/// What becomes of missed firings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MissedArg {
    /// The newest is made up for.
    Once,
    /// They are left out.
    Skip,
}

/// `tradewind jobs`
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    pub(crate) action: JobsAction,
}

/// `tradewind jobs …`
#[derive(Debug, Subcommand)]
pub(crate) enum JobsAction {
    /// List runs, newest first
    List {
        /// Only runs in this state
        #[arg(long, value_enum)]
        state: Option<RunState>,
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show the steps of a run
    Show {
        /// The run's number
        run: i64,
        /// Also the attempts and the log of this step
        #[arg(long, value_name = "STEP")]
        log: Option<String>,
    },
    /// Stop a run
    Cancel {
        /// The run's number
        run: i64,
    },
    /// Do a part of a run again, as a run of its own
    Rerun {
        /// The run's number
        run: i64,
        /// The step to begin with [default: what did not succeed]
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Only that step, not those that follow it
        #[arg(long, requires = "from")]
        only: bool,
        /// Why, for the history
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Forget what is old: runs that ended long ago, results that nobody took since, files that no version names
    Sweep {
        /// Older than so many days
        #[arg(long, default_value_t = 90, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,
    },
    /// Do steps as they come, and fire schedules, until stopped by Ctrl-C
    Work {
        /// Steps at once
        #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        slots: u16,
        /// End when nothing is left to do
        #[arg(long)]
        until_idle: bool,
    },
}

/// States of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunState {
    /// It waits.
    Queued,
    /// It is under way.
    Running,
    /// It was done.
    Succeeded,
    /// It was given up.
    Failed,
    /// Someone stopped it.
    Cancelled,
    /// Nothing had changed.
    Cached,
}
