//! What can be typed. Parsing has no side effects; each command's own file does the work.

pub(crate) mod jobs;
pub(crate) mod recommend;
pub(crate) mod registry;
pub(crate) mod serve;
pub(crate) mod traffic;

use crate::lang::Lang;
use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Tradewind 信风: see what will sell.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command has.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The shop's folder; else the nearest folder upwards that holds a tradewind.toml, else ./shop
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) shop: Option<PathBuf>,
    /// Answer in JSON on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing beside the answer
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Threads to use (0: all cores); the result does not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub(crate) threads: Option<u16>,
    /// Seed of everything random
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Where networks are trained: cpu or gpu
    #[arg(long, global = true, value_name = "DEVICE")]
    pub(crate) device: Option<tradewind::Device>,
    /// Language of what is read by people; else the shop's, else the locale's
    #[arg(long, global = true, value_enum)]
    pub(crate) lang: Option<Lang>,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of them in a process")]
pub(crate) enum Command {
    /// Make a shop's folder
    Init(InitArgs),
    /// Take files into the shop
    Import(ImportArgs),
    /// Check the quality of the shop's data
    Check(CheckArgs),
    /// Say which products, categories, stores and words will rise, hold or fall, and why
    Trends(TrendsArgs),
    /// Forecast units, revenue or price with intervals
    Forecast(ForecastArgs),
    /// Say what to show to whom: fit, answer, evaluate, explain; or a file in, lists out
    Recommend(recommend::RecommendArgs),
    /// Learn from any table: fit, tune, predict, evaluate, explain
    Learn(LearnArgs),
    /// Run the shop's pipeline: import, check, fit, evaluate, register, promote, predict, report
    Pipeline(jobs::PipelineArgs),
    /// See, stop, repeat and work on runs of pipelines
    Jobs(jobs::JobsArgs),
    /// See versions of models, put one into production or take it back
    Registry(registry::RegistryArgs),
    /// Look at what is in production: errors of forecasts, drift, alerts; train anew where it is due
    Monitor,
    /// Split a route between versions: canary, shadow, shares
    Traffic(traffic::TrafficArgs),
    /// Make a simulated shop and run the main job on it
    Demo(DemoArgs),
    /// Serve the shop's answers over HTTP
    Serve(serve::ServeArgs),
    /// Make, list, revoke and replace keys of the server
    Keys(serve::KeysArgs),
    /// Read and check the log of who changed what
    Audit(serve::AuditArgs),
    /// List the models with their parameters
    Models(ModelsArgs),
    /// Ask a server whether it is well: code 0 when it answers with a 2xx status, else 1
    Probe(ProbeArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a page of the reference, as kept under docs/reference
    #[command(hide = true)]
    Reference {
        /// The page
        page: ReferencePage,
    },
}

/// Generated pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReferencePage {
    /// Models and parameters.
    Models,
    /// Estimators and parameters.
    Learners,
    /// The recommenders with their parameters
    Recommenders,
    /// Canonical tables and presets.
    Tables,
    /// Commands and options.
    Commands,
    /// Keys of tradewind.toml.
    Settings,
    /// Routes of the server, as OpenAPI 3.1.
    Openapi,
}

/// `tradewind init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to make
    #[arg(default_value = "shop", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Leave a shop that is there as it is, and say that all is well: for scripts that run at every start
    #[arg(long)]
    pub(crate) if_absent: bool,
}

/// `tradewind probe`
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// What to ask for
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/readyz", value_hint = ValueHint::Url)]
    pub(crate) url: String,
    /// How long the whole answer may take, in seconds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) timeout_seconds: u64,
    /// Take any certificate: for a server of one's own host, whose certificate names another
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// `tradewind import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files, or folders of files: CSV, TSV, JSON Lines, Parquet or Excel, each plain, gzip or zstd
    #[arg(required_unless_present = "undo", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// How the columns are named; else it is found from the header (`tradewind models --presets` lists them)
    #[arg(long, value_name = "NAME", conflicts_with = "mapping")]
    pub(crate) preset: Option<String>,
    /// A mapping file (TOML) that says which column is which
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) mapping: Option<PathBuf>,
    /// The canonical table, for files in canonical columns
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Stop when more rows than this are rejected: a number, or a share as 5%
    #[arg(long, value_name = "N|N%")]
    pub(crate) max_rejects: Option<String>,
    /// Where rejected rows go [default: rejects/IMPORT.csv in the shop]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) rejects: Option<PathBuf>,
    /// Take back an earlier import by its number, instead of taking in files
    #[arg(long, value_name = "IMPORT", conflicts_with_all = ["preset", "mapping", "table"])]
    pub(crate) undo: Option<i64>,
}

/// `tradewind check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Also write the report as a page that stands alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// End with code 1 when there is a finding of this weight or above
    #[arg(long, value_enum)]
    pub(crate) fail_on: Option<Weight>,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Weight {
    /// Worth a look.
    Warning,
    /// Wrong.
    Error,
}

/// What trends are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Each product.
    Product,
    /// Each category.
    Category,
    /// Each store.
    Store,
    /// Each word of the titles.
    Word,
}

/// A file in `unique_id, ds, y`, instead of a shop.
#[derive(Clone, Debug, Args)]
pub(crate) struct FileArgs {
    /// Read this file (unique_id, ds, y and further columns) instead of a shop
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: Option<PathBuf>,
    /// The frequency: h, D, W, MS, ME, QS, YS, or a number for counted steps [default: found from the dates]
    #[arg(long, value_name = "FREQ")]
    pub(crate) freq: Option<String>,
    /// Write the answer here (.parquet, .csv or .jsonl)
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// Which calendar counts.
#[derive(Clone, Debug, Args)]
pub(crate) struct CalendarArgs {
    /// Regions whose holidays and festivals count, as CN,US [default: the shop's]
    #[arg(long, value_name = "REGIONS", value_delimiter = ',')]
    pub(crate) region: Option<Vec<String>>,
    /// Own events from a file (ds, name and optionally ends, kind)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
}

/// `tradewind trends`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TrendsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<TrendsAction>,
    #[command(flatten)]
    pub(crate) what: TrendsWhat,
    /// The last day known, or several; everything after it is left unseen [default: the data's last day]
    #[arg(long, value_name = "DATE", value_delimiter = ',')]
    pub(crate) as_of: Vec<String>,
    /// How many to show of those that rise and of those that fall
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) top: usize,
    /// Write all trends as CSV
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<PathBuf>,
    /// Write a report that stands alone, with a plot of every product shown
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
}

/// What is looked at, for predicting and for evaluating alike.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrendsWhat {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) calendar: CalendarArgs,
    /// Products, categories, stores or words of the titles
    #[arg(long, value_enum, default_value = "product")]
    pub(crate) by: By,
    /// Steps ahead, and back, that are compared [default: the shop's, else 28]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) horizon: Option<u16>,
    /// Change that counts as rising or falling, as 0.2 for 20 % [default: the shop's, else 0.2]
    #[arg(long, value_name = "SHARE")]
    pub(crate) threshold: Option<f64>,
}

/// `tradewind trends …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrendsAction {
    /// Replay past dates and say how right the trends were, beside naive answers
    Evaluate(TrendsEvaluateArgs),
}

/// `tradewind trends evaluate`
#[derive(Debug, Args)]
pub(crate) struct TrendsEvaluateArgs {
    #[command(flatten)]
    pub(crate) what: TrendsWhat,
    /// The past dates to replay; else the newest ones whose outcome is known
    #[arg(long, value_name = "DATE", value_delimiter = ',')]
    pub(crate) as_of: Vec<String>,
    /// How many past dates, one horizon apart
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=52))]
    pub(crate) origins: u8,
    /// Write the figures as a page with calibration curves
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
}

/// What is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Units sold.
    Units,
    /// Money taken.
    Revenue,
    /// Price paid for a unit.
    Price,
}

/// `tradewind forecast`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ForecastArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ForecastAction>,
    #[command(flatten)]
    pub(crate) what: ForecastWhat,
    /// Central intervals in percent, as 80,95
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "80")]
    pub(crate) level: Vec<f64>,
    /// With --model global: write what each feature adds to each step of each series (.parquet, .csv or .jsonl)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) explain: Option<PathBuf>,
    /// Draw how networks were trained, round by round, on a page that stands alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["set", "hierarchy"])]
    pub(crate) curves: Option<PathBuf>,
    /// Write whole futures of each series, for simulations of stock (.parquet, .csv or .jsonl): steps go together as past
    /// errors did, and sums spread at least as widely as those of the past
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["set", "hierarchy"])]
    pub(crate) scenarios: Option<PathBuf>,
    /// Futures of each series with --scenarios
    #[arg(long, value_name = "N", default_value_t = 200, requires = "scenarios")]
    pub(crate) paths: usize,
    /// Also forecast what the series add up to, as category/product,store: a / goes down, a comma begins another branch
    #[arg(long, value_name = "LEVELS", conflicts_with = "set")]
    pub(crate) hierarchy: Option<String>,
    /// How the levels are made to add up: mint_shrinkage, mint_variance, mint_structure, mint_ols, bottom_up,
    /// top_down_forecast_proportions, middle_out:LEVEL and more [default: mint_shrinkage]
    #[arg(long, value_name = "METHOD", requires = "hierarchy")]
    pub(crate) reconcile: Option<String>,
    /// What if: set a column known ahead, as price=9.9, price=-10% or promotion=1@2026-11-20..2026-11-30; may be given
    /// several times. Without --model, global answers
    #[arg(long, value_name = "COLUMN=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What is forecast and how, for predicting and for evaluating alike.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForecastWhat {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) calendar: CalendarArgs,
    /// Steps ahead
    #[arg(long, value_name = "STEPS", default_value_t = 28, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) horizon: u16,
    /// The model or several (`tradewind models` lists them) [default: price for --target price, else auto]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) model: Vec<String>,
    /// A parameter of the model, as season_length=7; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// What is forecast from a shop
    #[arg(long, value_enum, default_value = "units")]
    pub(crate) target: Target,
    /// Products, categories or stores of a shop
    #[arg(long, value_enum, default_value = "product")]
    pub(crate) by: By,
    /// The last stamp known; everything after it is left unseen
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<String>,
}

/// `tradewind forecast …`
#[derive(Debug, Subcommand)]
pub(crate) enum ForecastAction {
    /// Backtest models from rolling origins and rank them
    Evaluate(ForecastEvaluateArgs),
    /// Say which outside series run ahead of which product, by how many steps and how surely
    Relations(RelationsArgs),
    /// Say which past values stand out, where the level changed and what may be behind it
    Anomalies(AnomaliesArgs),
    /// Set a planner's figure beside the model's, for days to come; list, withdraw and score such figures
    Override(OverrideArgs),
}

/// Which series are looked at.
#[derive(Clone, Debug, Args)]
pub(crate) struct SeriesArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// What is looked at of a shop
    #[arg(long, value_enum, default_value = "units")]
    pub(crate) target: Target,
    /// Products, categories or stores of a shop
    #[arg(long, value_enum, default_value = "product")]
    pub(crate) by: By,
    /// The last stamp known; everything after it is left unseen
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<String>,
}

/// `tradewind forecast relations`
#[derive(Debug, Args)]
pub(crate) struct RelationsArgs {
    #[command(flatten)]
    pub(crate) what: SeriesArgs,
    /// The furthest lag in steps [default: 14 days, 8 weeks, 6 months]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) max_lag: Option<u16>,
    /// The share of false ones among the relations told, as 0.05
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub(crate) level: f64,
    /// Other series looked at for each, of its category where there are any, the largest first (0: none)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub(crate) peers: u16,
    /// How many relations to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
}

/// `tradewind forecast override`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct OverrideArgs {
    #[command(subcommand)]
    pub(crate) action: Option<OverrideAction>,
    #[command(flatten)]
    pub(crate) scope: OverrideScope,
    /// The series, as the forecast names it
    #[arg(long, value_name = "ID", required = true)]
    pub(crate) series: Option<String>,
    /// The first day it holds for
    #[arg(long, value_name = "DATE", required = true)]
    pub(crate) from: Option<String>,
    /// The last day it holds for [default: the first]
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<String>,
    /// The figure for each step
    #[arg(long, value_name = "V", conflicts_with = "factor", required_unless_present = "factor")]
    pub(crate) value: Option<f64>,
    /// Instead: what the model's figure is multiplied by
    #[arg(long, value_name = "F")]
    pub(crate) factor: Option<f64>,
    /// Why
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) note: Option<String>,
    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "planner")]
    pub(crate) author: String,
}

/// Which forecasts of a shop an override is meant for.
#[derive(Clone, Debug, Args)]
pub(crate) struct OverrideScope {
    /// What is forecast
    #[arg(long, value_enum, default_value = "units")]
    pub(crate) target: Target,
    /// Products, categories or stores
    #[arg(long, value_enum, default_value = "product")]
    pub(crate) by: By,
    /// The frequency of the forecast
    #[arg(long, value_name = "FREQ", default_value = "D")]
    pub(crate) freq: String,
}

/// `tradewind forecast override …`
#[derive(Debug, Subcommand)]
pub(crate) enum OverrideAction {
    /// List the shop's overrides, those that were withdrawn among them
    List,
    /// Take an override back; it stays in the list
    Withdraw {
        /// Its number
        id: i64,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// Who takes it back
        #[arg(long, value_name = "NAME", default_value = "planner")]
        author: String,
    },
    /// Say whether planners or the model were nearer, where the outcome is known
    Score {
        #[command(flatten)]
        scope: OverrideScope,
        /// The model that planners are compared with [default: price for --target price, else auto]
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// A parameter of the model, as season_length=7; may be given several times
        #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
        params: Vec<String>,
    },
}

/// `tradewind forecast evaluate`
#[derive(Debug, Args)]
pub(crate) struct ForecastEvaluateArgs {
    #[command(flatten)]
    pub(crate) what: ForecastWhat,
    /// How many origins, one horizon apart
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=52))]
    pub(crate) origins: u8,
    /// Steps left out between what is known and what is forecast
    #[arg(long, default_value_t = 0, value_name = "STEPS")]
    pub(crate) gap: u16,
    /// Central intervals in percent whose coverage is measured, as 80,95; takes several times as long [default: none,
    /// with --html 50,80,95]
    #[arg(long, value_name = "PERCENT", value_delimiter = ',')]
    pub(crate) level: Vec<f64>,
    /// Write a page that stands alone: scores by model, class of series and step, calibration, plots of the worst and of
    /// typical series
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
}

/// `tradewind forecast anomalies`
#[derive(Debug, Args)]
pub(crate) struct AnomaliesArgs {
    #[command(flatten)]
    pub(crate) what: SeriesArgs,
    #[command(flatten)]
    pub(crate) calendar: CalendarArgs,
    /// The share of values that may be told wrongly, as 0.0001
    #[arg(long, value_name = "SHARE", default_value_t = 0.0001)]
    pub(crate) false_alarms: f64,
    /// How many anomalies to show, the most surprising first
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
    /// Write a page that stands alone, with a plot of each of the worst series
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
}

/// `tradewind learn`
#[derive(Debug, Args)]
pub(crate) struct LearnArgs {
    #[command(subcommand)]
    pub(crate) action: LearnAction,
}

/// `tradewind learn …`
#[derive(Debug, Subcommand)]
pub(crate) enum LearnAction {
    /// Fit an estimator to a table and write the model's folder
    Fit(LearnFitArgs),
    /// Answer the rows of a table by a model
    Predict(LearnPredictArgs),
    /// Measure a model on rows whose target is known
    Evaluate(LearnEvaluateArgs),
    /// Search for the best parameters and fit with them
    Tune(LearnTuneArgs),
    /// Say what a model goes by: importance, dependence, one row's reasons
    Explain(LearnExplainArgs),
}

/// A table to learn from: a file, or a query over a shop.
#[derive(Clone, Debug, Args)]
pub(crate) struct TableArgs {
    /// The table: CSV, TSV, JSON Lines, Parquet or Excel, plain or compressed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "sql")]
    pub(crate) input: Option<PathBuf>,
    /// Instead of a file: a query over the shop's tables
    #[arg(long, value_name = "QUERY", conflicts_with = "input")]
    pub(crate) sql: Option<String>,
    /// Columns that are texts (codes, identifiers) though their values look like numbers
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) text: Vec<String>,
}

/// Which columns play which part.
#[derive(Clone, Debug, Args)]
pub(crate) struct ColumnsArgs {
    /// The column to learn (none for --task anomaly and clustering)
    #[arg(long, value_name = "COLUMN")]
    pub(crate) target: Option<String>,
    /// What to learn: regression, binary, multiclass, ranking, anomaly or clustering [default: found from the target]
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// The column of weights
    #[arg(long, value_name = "COLUMN")]
    pub(crate) weight: Option<String>,
    /// The column that tells which rows are ranked together
    #[arg(long, value_name = "COLUMN")]
    pub(crate) group: Option<String>,
    /// The column that tells when a row was known; the latest rows are then held out
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: Option<String>,
    /// Columns that are not looked at
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) ignore: Vec<String>,
}

/// `tradewind learn fit`
#[derive(Debug, Args)]
pub(crate) struct LearnFitArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    pub(crate) columns: ColumnsArgs,
    /// The estimator, or auto (`tradewind models --learn` lists them)
    #[arg(long, value_name = "NAME", default_value = "boosting")]
    pub(crate) model: String,
    /// A parameter of the estimator, as n_rounds=200; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// The share of rows held out to stop early and to measure, as 0.2
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) validation: f64,
    /// With --model auto: how long to look, as 60s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) budget: String,
    /// The measure to choose by (with --model auto) [default: the task's usual one]
    #[arg(long, value_name = "NAME")]
    pub(crate) measure: Option<String>,
    /// Draw how networks were trained, round by round, on a page that stands alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) curves: Option<PathBuf>,
    /// The model's folder
    #[arg(long, short, value_name = "DIR", default_value = "model", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
}

/// `tradewind learn predict`
#[derive(Debug, Args)]
pub(crate) struct LearnPredictArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// The model's folder
    #[arg(long, value_name = "DIR", default_value = "model", value_hint = ValueHint::DirPath)]
    pub(crate) model: PathBuf,
    /// Columns of the table that are put in front of the answers
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) keep: Vec<String>,
    /// Write the answers here (.parquet, .csv or .jsonl)
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}

/// `tradewind learn evaluate`
#[derive(Debug, Args)]
pub(crate) struct LearnEvaluateArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// The model's folder
    #[arg(long, value_name = "DIR", default_value = "model", value_hint = ValueHint::DirPath)]
    pub(crate) model: PathBuf,
    /// The column of weights
    #[arg(long, value_name = "COLUMN")]
    pub(crate) weight: Option<String>,
    /// The column that tells which rows are ranked together
    #[arg(long, value_name = "COLUMN")]
    pub(crate) group: Option<String>,
}

/// `tradewind learn tune`
#[derive(Debug, Args)]
pub(crate) struct LearnTuneArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    pub(crate) columns: ColumnsArgs,
    /// The estimator
    #[arg(long, value_name = "NAME", default_value = "boosting")]
    pub(crate) model: String,
    /// A parameter that is held fixed, as n_rounds=200; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// What to search, as "learning_rate=log(0.01,0.3) n_leaves=int(15,255)" [default: the estimator's usual space]
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
    /// How to search: tpe, gp, random or grid
    #[arg(long, value_name = "NAME", default_value = "tpe")]
    pub(crate) search: String,
    /// How many sets of parameters to try
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) trials: u32,
    /// Folds of the cross-validation
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub(crate) folds: u16,
    /// Stop after this long, as 60s, 10m or 1h
    #[arg(long, value_name = "TIME")]
    pub(crate) budget: Option<String>,
    /// The measure to choose by [default: the task's usual one]
    #[arg(long, value_name = "NAME")]
    pub(crate) measure: Option<String>,
    /// Where trials are kept; a search that was stopped goes on from it [default: OUTPUT.trials.jsonl]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) study: Option<PathBuf>,
    /// The folder of the model fitted with the best parameters
    #[arg(long, short, value_name = "DIR", default_value = "model", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
}

/// `tradewind learn explain`
#[derive(Debug, Args)]
pub(crate) struct LearnExplainArgs {
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// The model's folder
    #[arg(long, value_name = "DIR", default_value = "model", value_hint = ValueHint::DirPath)]
    pub(crate) model: PathBuf,
    /// The row whose answer is taken apart, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) row: usize,
    /// Rows looked at, evenly spread over the table
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) rows: u32,
    /// Write a page that stands alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
}

/// `tradewind demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The folder to make the shop in; an earlier demo there is made anew
    #[arg(long, default_value = "demo-shop", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Products in the shop
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=5_000))]
    pub(crate) products: u32,
    /// Days of history
    #[arg(long, default_value_t = 730, value_name = "N", value_parser = clap::value_parser!(u32).range(120..=3_650))]
    pub(crate) days: u32,
    /// The last day of history [default: 2026-10-31; yesterday with --serve]
    #[arg(long, value_name = "DATE")]
    pub(crate) end_date: Option<NaiveDate>,
    /// Serve the shop: dashboard, models trained as they would be over four weeks, live visitors, until Ctrl-C
    #[arg(long)]
    pub(crate) serve: bool,
    /// Where to listen, as address:port; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", requires = "serve")]
    pub(crate) listen: Option<String>,
    /// Visitors a minute
    #[arg(long, default_value_t = 240, value_name = "N", requires = "serve", value_parser = clap::value_parser!(u32).range(0..=6_000))]
    pub(crate) visitors: u32,
}

/// `tradewind models`
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// One model only
    pub(crate) name: Option<String>,
    /// List the presets of `tradewind import` instead
    #[arg(long, conflicts_with_all = ["learn", "recommend"])]
    pub(crate) presets: bool,
    /// List the estimators of `tradewind learn` instead
    #[arg(long, conflicts_with = "recommend")]
    pub(crate) learn: bool,
    /// List the recommenders of `tradewind recommend` instead
    #[arg(long)]
    pub(crate) recommend: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
