//! The settings of a shop: `tradewind.toml`.
//!
//! The commented template [`TEMPLATE`] is the only source of defaults: it is parsed, and the user's file is laid over
//! it. A key that the template lacks, or a value outside its range, is an error that names file, line, key and range.

use crate::clean::CleanSettings;
use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml_edit::{Document, Item, TableLike};
use tradewind_core::Device;

/// The settings file of a new shop: every key with its meaning, range and default.
pub const TEMPLATE: &str = include_str!("tradewind.toml");

/// The name of the settings file in a shop.
pub const FILE_NAME: &str = "tradewind.toml";

/// All settings of a shop.
///
/// ```
/// let settings = tradewind_warehouse::Settings::defaults();
/// assert_eq!(settings.trend.horizon, 28);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The shop itself.
    pub shop: ShopSettings,
    /// How files come in.
    pub import: ImportSettings,
    /// How sales are cleaned.
    pub clean: CleanSettings,
    /// What counts as a trend.
    pub trend: TrendSettings,
    /// What events count when recommendations are learnt.
    pub recommend: RecommendSettings,
    /// How work is run.
    pub run: RunSettings,
    /// How data are kept.
    pub storage: StorageSettings,
    /// Where events that stream in are kept.
    pub events: EventsSettings,
    /// Where the state of operations lies.
    pub ops: OpsSettings,
    /// How answers are served.
    pub serve: ServeSettings,
    /// What is watched, and what follows.
    pub monitor: MonitorSettings,
}

/// The shop itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopSettings {
    /// Its name on reports; may be empty.
    pub name: String,
    /// The language of reports and messages.
    pub language: Language,
    /// ISO 3166 codes of the calendars that count, most important first.
    pub regions: Vec<String>,
    /// ISO 4217 code for prices that name none; empty when unknown.
    pub currency: String,
    /// The time zone of all times, an IANA name: what turns instants of events that stream in into them; empty for UTC.
    pub time_zone: String,
}

/// The language of what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// The system's.
    Auto,
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// How files come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportSettings {
    /// Bad rows an import may have before it stops.
    pub max_rejects: u64,
}

/// What counts as a trend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrendSettings {
    /// Days ahead, and days of the window behind, 1 to 366.
    pub horizon: usize,
    /// The change of units that counts, 0.01 to 10.
    pub threshold: f64,
    /// The share of outcomes intervals hold, 0.5 to 0.99.
    pub level: f64,
}

/// What events count when recommendations are learnt. 0 leaves a kind out, below zero speaks against the item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendSettings {
    /// A product looked at.
    pub view: f64,
    /// A product clicked in a list.
    pub click: f64,
    /// A product put into the cart.
    pub cart: f64,
    /// A product bought.
    pub purchase: f64,
    /// A product rated with five stars; fewer count less, below two and a half against it.
    pub rating: f64,
    /// A product sent back.
    #[serde(rename = "return")]
    pub returned: f64,
    /// Days after which an event counts half; 0: age does not matter.
    pub half_life_days: f64,
    /// Visitors with more events than this are taken for robots; 0: none is.
    pub user_events_max: usize,
}

/// How work is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Threads; 0 for all cores.
    pub threads: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// Where networks are trained.
    pub device: Device,
}

/// How data are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSettings {
    /// Memory of queries in MiB before they spill, 64 to 1,048,576.
    pub memory_mib: usize,
    /// Rows of one Parquet file, 1,000 to 10,000,000.
    pub rows_per_file: usize,
}

/// Where events that stream in are kept, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsSettings {
    /// Empty: in the shop's `log/`; else the address of a broker.
    pub address: String,
    /// The stream or topic.
    pub name: String,
    /// When events are on disk.
    pub fsync: FsyncPolicy,
    /// Longest wait for the disk with [`FsyncPolicy::Interval`], 1 to 60,000.
    pub fsync_interval_ms: u64,
    /// How often a server takes events into the table `events`, in seconds, 0 to 86,400; 0: never.
    pub collect_seconds: u64,
    /// Parts that can be worked on at once, 1 to 64.
    pub partitions: u32,
    /// Failures after which an event becomes a dead letter, 1 to 1,000.
    pub deliveries_max: u32,
    /// How long ids are remembered, in minutes, 1 to 10,080.
    pub dedup_minutes: u64,
    /// How many ids are remembered, 0 to 100,000,000.
    pub dedup_events: usize,
    /// MiB of events kept; 0: no limit.
    pub retention_mib: u64,
    /// Days events are kept; 0: for ever.
    pub retention_days: u64,
    /// MiB of one file, 1 to 4,096.
    pub segment_mib: u64,
}

/// When events of the embedded log are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FsyncPolicy {
    /// Before they are acknowledged.
    Always,
    /// After an interval.
    Interval,
}

/// Where the state of operations lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsSettings {
    /// The address of the database; empty for `ops.db` in the shop, `env:NAME` for the environment variable `NAME`.
    pub state: String,
    /// Where files of registered models lie; empty for `registry/` in the shop, `env:NAME` as for the state.
    pub registry: String,
}

/// What is watched, who is told, and when models are trained anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitorSettings {
    /// The tables whose newest rows are held against those before.
    pub tables: Vec<String>,
    /// The newest days.
    pub days: u32,
    /// The days before them.
    pub reference_days: u32,
    /// The chance of a false alarm over the error of forecasts within 200 weeks.
    pub false_alarm: f64,
    /// From how many times the usual error on forecasts are too far off.
    pub error_ratio: f64,
    /// Whether models are trained anew when something asks for it.
    pub retrain: bool,
    /// Whether drift of data alone asks for it.
    pub retrain_on_drift: bool,
    /// After how many days age asks for it; 0: never.
    pub retrain_days: u32,
    /// The least hours between two trainings.
    pub cool_down_hours: u32,
    /// Who makes a challenger champion.
    pub approval: ApprovalSetting,
    /// Where alerts are sent beside the log; empty for nowhere, `env:NAME` for the environment variable `NAME`.
    pub webhook: String,
    /// The server that takes mails with alerts; empty for none, `env:NAME` for the environment variable `NAME`.
    pub mail_server: String,
    /// The sender of mails.
    pub mail_from: String,
    /// Who gets them, with commas between the addresses.
    pub mail_to: String,
}

/// Who makes a challenger champion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalSetting {
    /// The pipeline, by what it measured.
    Rule,
    /// A person, who is asked about what is better.
    Person,
}

/// How answers are served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeSettings {
    /// Address and port.
    pub listen: String,
    /// The certificates (PEM); empty for plain HTTP.
    pub tls_certificate: String,
    /// Their private key (PEM).
    pub tls_key: String,
    /// Address and port of metrics without a key; empty for none.
    pub metrics_listen: String,
    /// Trusted proxies in front, 0 to 10.
    pub proxies: usize,
    /// The longest body in KiB, 1 to 1,048,576.
    pub body_kib_max: usize,
    /// The longest time of an answer in seconds, 1 to 3,600.
    pub seconds_max: u64,
    /// Requests at the same time, 1 to 100,000.
    pub requests_at_once_max: usize,
    /// Requests a second of one key; 0 for any number.
    pub rate_per_second: u32,
    /// Requests that a quiet key has saved up, 1 to 10,000,000.
    pub rate_burst: u32,
    /// Seconds between the first word of the end and the last new request, 0 to 3,600.
    pub drain_notice_seconds: u64,
    /// Seconds that requests under way have then, 1 to 3,600.
    pub drain_seconds: u64,
    /// The identity provider whose tokens are taken beside keys; empty for none.
    pub oidc_issuer: String,
    /// For whom its tokens must have been made.
    pub oidc_audience: String,
    /// Where its keys are, as an address or a file; empty for where its own description says.
    pub oidc_keys: String,
    /// The claim that holds the role.
    pub oidc_role_claim: String,
    /// Whether SageMaker's container contract is answered.
    pub sagemaker: bool,
    /// The form of the log.
    pub log: LogFormat,
    /// Where traces are sent; empty for nowhere.
    pub traces: String,
    /// The share of requests that are traced where the caller did not decide.
    pub traces_share: f64,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What a key may hold.
enum Allowed {
    Flag,
    Words(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    Whole(i64, i64),
    Number(f64, f64),
    AnyText,
    /// Of a database or store: it may hold a password, so no error tells it.
    Address,
    Currency,
    Patterns,
    Name,
}

use Allowed::{Address, AnyText, Currency, Flag, ListOf, Name, Number, Patterns, Whole, Words};

/// Every key with what it may hold. A test holds this list against the template.
const KEYS: &[(&str, &str, Allowed)] = &[
    ("shop", "name", AnyText),
    ("shop", "language", Words(&["auto", "en", "zh"])),
    ("shop", "regions", ListOf(&["CN", "US", "GB", "DE", "JP"])),
    ("shop", "currency", Currency),
    ("shop", "time_zone", AnyText),
    ("import", "max_rejects", Whole(0, 1_000_000_000_000)),
    ("clean", "duplicates", Words(&["drop", "keep"])),
    ("clean", "returns", Words(&["net", "drop", "keep"])),
    ("clean", "zero_price", Words(&["keep", "drop"])),
    ("clean", "exclude_products", Patterns),
    ("clean", "missing_sales", Words(&["zero", "unknown"])),
    ("clean", "stock_outs", Words(&["unknown", "keep"])),
    ("clean", "outliers", Words(&["keep", "cap", "mark"])),
    ("clean", "outlier_method", Words(&["hampel", "seasonal"])),
    ("clean", "outlier_window", Whole(1, 365)),
    ("clean", "outlier_threshold", Number(1.0, 100.0)),
    ("trend", "horizon", Whole(1, 366)),
    ("trend", "threshold", Number(0.01, 10.0)),
    ("trend", "level", Number(0.5, 0.99)),
    ("recommend", "view", Number(-1000.0, 1000.0)),
    ("recommend", "click", Number(-1000.0, 1000.0)),
    ("recommend", "cart", Number(-1000.0, 1000.0)),
    ("recommend", "purchase", Number(-1000.0, 1000.0)),
    ("recommend", "rating", Number(-1000.0, 1000.0)),
    ("recommend", "return", Number(-1000.0, 1000.0)),
    ("recommend", "half_life_days", Number(0.0, 100_000.0)),
    ("recommend", "user_events_max", Whole(0, 1_000_000_000)),
    ("run", "threads", Whole(0, 1024)),
    ("run", "seed", Whole(0, i64::MAX)),
    ("run", "device", Words(&["cpu", "gpu"])),
    ("storage", "memory_mib", Whole(64, 1_048_576)),
    ("storage", "rows_per_file", Whole(1_000, 10_000_000)),
    ("events", "address", Address),
    ("events", "name", Name),
    ("events", "fsync", Words(&["always", "interval"])),
    ("events", "fsync_interval_ms", Whole(1, 60_000)),
    ("events", "collect_seconds", Whole(0, 86_400)),
    ("events", "partitions", Whole(1, 64)),
    ("events", "deliveries_max", Whole(1, 1000)),
    ("events", "dedup_minutes", Whole(1, 10_080)),
    ("events", "dedup_events", Whole(0, 100_000_000)),
    ("events", "retention_mib", Whole(0, 1_000_000_000)),
    ("events", "retention_days", Whole(0, 36_500)),
    ("events", "segment_mib", Whole(1, 4096)),
    ("ops", "state", Address),
    ("ops", "registry", Address),
    ("serve", "listen", AnyText),
    ("serve", "tls_certificate", AnyText),
    ("serve", "tls_key", AnyText),
    ("serve", "metrics_listen", AnyText),
    ("serve", "proxies", Whole(0, 10)),
    ("serve", "body_kib_max", Whole(1, 1_048_576)),
    ("serve", "seconds_max", Whole(1, 3_600)),
    ("serve", "requests_at_once_max", Whole(1, 100_000)),
    ("serve", "rate_per_second", Whole(0, 10_000_000)),
    ("serve", "rate_burst", Whole(1, 10_000_000)),
    ("serve", "drain_notice_seconds", Whole(0, 3_600)),
    ("serve", "drain_seconds", Whole(1, 3_600)),
    ("serve", "oidc_issuer", AnyText),
    ("serve", "oidc_audience", AnyText),
    ("serve", "oidc_keys", AnyText),
    ("serve", "oidc_role_claim", AnyText),
    ("serve", "sagemaker", Flag),
    ("serve", "log", Words(&["text", "json"])),
    ("serve", "traces", Address),
    ("serve", "traces_share", Number(0.0, 1.0)),
    ("monitor", "tables", ListOf(&["sales", "events", "prices", "stock"])),
    ("monitor", "days", Whole(1, 3_660)),
    ("monitor", "reference_days", Whole(1, 3_660)),
    ("monitor", "false_alarm", Number(0.001, 0.5)),
    ("monitor", "error_ratio", Number(1.01, 100.0)),
    ("monitor", "retrain", Flag),
    ("monitor", "retrain_on_drift", Flag),
    ("monitor", "retrain_days", Whole(0, 3_660)),
    ("monitor", "cool_down_hours", Whole(0, 8_760)),
    ("monitor", "approval", Words(&["rule", "person"])),
    ("monitor", "webhook", Address),
    ("monitor", "mail_server", Address),
    ("monitor", "mail_from", AnyText),
    ("monitor", "mail_to", AnyText),
];

impl Allowed {
    /// In words, for messages.
    fn words(&self) -> String {
        let quoted = |w: &[&str]| w.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ");
        match self {
            Flag => "true or false".into(),
            Words(w) => format!("one of {}", quoted(w)),
            ListOf(w) => format!("a list of {}, each at most once", quoted(w)),
            Whole(a, b) => format!("a whole number from {a} to {b}"),
            Number(a, b) => format!("a number from {a} to {b}"),
            AnyText => "text in quotes, at most 200 characters".into(),
            Address => "an address in quotes, at most 1000 characters, or \"\"".into(),
            Patterns => "a list of texts, each with at least one character beside `*`".into(),
            Name => "1 to 64 of a-z, A-Z, 0-9, _ and - in quotes".into(),
            Currency => "three capital letters in quotes, as \"CNY\", or \"\"".into(),
        }
    }

    fn admits(&self, value: &toml_edit::Value) -> bool {
        match self {
            Flag => value.as_bool().is_some(),
            Words(w) => value.as_str().is_some_and(|s| w.contains(&s)),
            ListOf(w) => value.as_array().is_some_and(|list| {
                let words: Vec<_> = list.iter().map(|v| v.as_str().unwrap_or_default()).collect();
                words.iter().enumerate().all(|(i, s)| w.contains(s) && !words[..i].contains(s))
            }),
            Whole(a, b) => value.as_integer().is_some_and(|n| (*a..=*b).contains(&n)),
            Number(a, b) => {
                let n = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
                n.is_some_and(|n| (*a..=*b).contains(&n))
            }
            Patterns => value.as_array().is_some_and(|list| {
                list.iter().all(|v| v.as_str().is_some_and(|s| s.chars().any(|c| c != '*') && s.len() <= 200))
            }),
            Name => value.as_str().is_some_and(|s| {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                (1..=64).contains(&s.len()) && s.bytes().all(fits)
            }),
            AnyText => value.as_str().is_some_and(|s| s.chars().count() <= 200),
            Address => value.as_str().is_some_and(|s| s.chars().count() <= 1000),
            Currency => value
                .as_str()
                .is_some_and(|s| s.is_empty() || (s.len() == 3 && s.bytes().all(|b| b.is_ascii_uppercase()))),
        }
    }
}

impl Settings {
    /// The defaults: what the template holds.
    pub fn defaults() -> Self {
        Self::parse("", Path::new(FILE_NAME)).expect("a test reads the template")
    }

    /// Reads a settings file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read_text(path)?, path)
    }

    /// Reads settings from `text`; `path` is named in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let fault = |at: usize, message: String| {
            let line = text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            Error::Settings { path: path.to_owned(), line, message }
        };
        let user = Document::parse(text).map_err(|e| {
            fault(e.span().map_or(0, |s| s.start), format!("not valid TOML: {}", e.message()))
        })?;
        let mut merged: toml::Table = toml::from_str(TEMPLATE).map_err(|e| {
            Error::Unexpected(format!("the settings template cannot be read: {}", e.message()))
        })?;
        for (section, item) in user.as_table().iter() {
            let at = place(user.as_table(), section);
            let sections = || known(KEYS.iter().map(|(s, _, _)| *s));
            if !KEYS.iter().any(|(s, _, _)| *s == section) {
                return Err(fault(at, format!("unknown key `{section}`; there are: {}", sections())));
            }
            let Some(table) = item.as_table_like() else {
                return Err(fault(at, format!("`{section}` must be a section, written as [{section}]")));
            };
            for (key, item) in table.iter() {
                let at = place(table, key);
                let Some((_, _, allowed)) = KEYS.iter().find(|(s, k, _)| *s == section && *k == key) else {
                    let keys = known(KEYS.iter().filter(|(s, _, _)| *s == section).map(|(_, k, _)| *k));
                    return Err(fault(at, format!("unknown key `{section}.{key}`; [{section}] has: {keys}")));
                };
                let value = item.as_value().filter(|v| allowed.admits(v)).ok_or_else(|| {
                    let got = match item.as_value() {
                        None => "a section".to_owned(),
                        Some(_) if matches!(allowed, Address) => "something else".to_owned(),
                        Some(v) => v.to_string().trim().to_owned(),
                    };
                    fault(at, format!("`{section}.{key}` is {got}; allowed: {}", allowed.words()))
                })?;
                let Some(toml::Value::Table(target)) = merged.get_mut(section) else { continue };
                target.insert(key.to_owned(), plain(value, allowed));
            }
        }
        merged.try_into().map_err(|e: toml::de::Error| fault(0, e.message().to_owned()))
    }
}

/// A checked value as the plain TOML value of its kind.
fn plain(value: &toml_edit::Value, allowed: &Allowed) -> toml::Value {
    match (allowed, value) {
        (Number(..), toml_edit::Value::Integer(n)) => toml::Value::Float(*n.value() as f64),
        (_, toml_edit::Value::Integer(n)) => toml::Value::Integer(*n.value()),
        (_, toml_edit::Value::Float(x)) => toml::Value::Float(*x.value()),
        (_, toml_edit::Value::Boolean(b)) => toml::Value::Boolean(*b.value()),
        (_, toml_edit::Value::Array(list)) => {
            toml::Value::Array(list.iter().map(|v| plain(v, allowed)).collect())
        }
        (_, other) => toml::Value::String(other.as_str().unwrap_or_default().to_owned()),
    }
}

fn place(table: &dyn TableLike, key: &str) -> usize {
    let item_start = || table.get(key).and_then(Item::span).map(|s| s.start);
    table.get_key_value(key).and_then(|(k, _)| k.span()).map(|s| s.start).or_else(item_start).unwrap_or(0)
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut list: Vec<&str> = names.collect();
    list.dedup();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse(text, Path::new("shop/tradewind.toml"))
    }

    #[test]
    fn the_template_and_the_list_of_keys_agree() {
        let table: toml::Table = toml::from_str(TEMPLATE).expect("TOML");
        let in_template: Vec<(String, String)> = table
            .iter()
            .flat_map(|(s, t)| t.as_table().expect("a section").keys().map(|k| (s.clone(), k.clone())))
            .collect();
        let mut listed: Vec<(String, String)> =
            KEYS.iter().map(|(s, k, _)| (s.to_string(), k.to_string())).collect();
        let mut found = in_template.clone();
        listed.sort();
        found.sort();
        assert_eq!(found, listed);
        // The template as the user's own file passes its own checks and changes nothing.
        assert_eq!(parse(TEMPLATE).expect("valid"), Settings::defaults());
    }

    #[test]
    fn every_key_of_the_template_is_explained_in_both_languages() {
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.contains(" = ") && !l.starts_with('#')) {
            assert!(i > 1 && lines[i - 1].starts_with('#'), "{line} has no comment");
            assert!(!lines[i - 1].is_ascii(), "{line} has no Chinese comment");
            let first = lines[..i].iter().rposition(|l| !l.starts_with('#')).map_or(0, |p| p + 1);
            assert!(lines[first].is_ascii(), "{line} has no English comment");
        }
    }

    #[test]
    fn a_file_is_laid_over_the_defaults() {
        let s = parse("[trend]\nhorizon = 14\nthreshold = 1\n\n[shop]\nregions = [\"GB\"]\n").expect("valid");
        assert_eq!((s.trend.horizon, s.trend.threshold, s.trend.level), (14, 1.0, 0.8));
        assert_eq!(s.shop.regions, ["GB"]);
        assert_eq!(s.clean, Settings::defaults().clean);
        assert_eq!(parse("trend.horizon = 7").expect("dotted").trend.horizon, 7);
        assert_eq!(parse("trend = { horizon = 7 }").expect("inline").trend.horizon, 7);
    }

    #[test]
    fn faults_name_file_line_key_and_range() {
        let cases = [
            ("\n[trend]\nhorizon = 0\n", 3, "`trend.horizon` is 0; allowed: a whole number from 1 to 366"),
            (
                "[trend]\nhorizont = 3",
                2,
                "unknown key `trend.horizont`; [trend] has: horizon, threshold, level",
            ),
            ("# x\n[trends]\n", 2, "unknown key `trends`"),
            ("[shop]\nlanguage = \"fr\"", 2, "allowed: one of \"auto\", \"en\", \"zh\""),
            ("[shop]\nregions = [\"CN\", \"CN\"]", 2, "each at most once"),
            ("[shop]\ncurrency = \"yuan\"", 2, "three capital letters"),
            ("[clean]\n\noutlier_threshold = nan", 3, "a number from 1 to 100"),
            ("[clean]\noutlier_threshold = \"6\"", 2, "a number from 1 to 100"),
            ("[run]\nseed = -1", 2, "`run.seed` is -1"),
            ("[events]\nname = \"a.b\"", 2, "1 to 64 of a-z"),
            ("run = 3", 1, "must be a section"),
            (
                "[ops]\nstate = [\"postgres://me:s3cret@db\"]",
                2,
                "`ops.state` is something else; allowed: an address",
            ),
            ("[run]\nseed = ", 2, "not valid TOML"),
            ("[run]\nseed = 99999999999999999999", 2, "not valid TOML"),
            ("[run]\nseed = 1\nseed = 2", 3, "not valid TOML"),
        ];
        for (text, line, part) in cases {
            let e = parse(text).expect_err(text).to_string();
            assert!(e.starts_with(&format!("shop/tradewind.toml:{line}: ")), "{text}: {e}");
            assert!(e.contains(part), "{text}: {e}");
        }
    }
}
