//! One look at a shop in production: errors of its forecasts, drift of its data, alerts, and whether to train anew.
//!
//! ```text
//! registry (champions) + sales ─→ errors ─┐
//! tables of [monitor] ─→ drift ───────────┼─→ signals ─→ alerts ─→ outbox ─→ sinks
//!                                         └─→ signs ─→ triggers ─→ a run of the pipeline `shop`
//! ```
//!
//! A look changes nothing but the state of alerts and triggers, so it may be taken as often as one likes. It is the only
//! step of the pipeline [`WATCH`](crate::pipelines::WATCH), so that it can be scheduled.

mod contest;
mod errors;
mod sinks;
#[cfg(test)]
mod tests;

pub use contest::{Earned, contest, forecasts_earned};
pub use errors::{Coming, ForecastErrors, WeekError, forecast_errors};
pub use sinks::{Post, Webhook};

use crate::error::{Error, Result};
use crate::monitoring::{self, TableDrift};
use crate::operations::Operations;
use crate::pipelines::{KINDS, Order};
use crate::serving::{self, Identity, Loaded, Request};
use std::collections::BTreeSet;
use tradewind_core::{ErrorKind, Fault, Run};
use tradewind_ops::monitor::alerts::{
    AlertSettings, Alerts, Condition, Delivered, Line, LogSink, Rule, Severity, Signal, Sink,
};
use tradewind_ops::monitor::drift::{DriftSettings, Verdict};
use tradewind_ops::monitor::error_watch::{AlarmSettings, FitVerdict};
use tradewind_ops::monitor::triggers::{Because, Retrain, RetrainSettings, Signs, Triggers};
use tradewind_ops::registry::{CHAMPION, Page, Reference, Registry};
use tradewind_warehouse::Shop;
use tradewind_warehouse::settings::{Language, MonitorSettings};

/// The model whose errors are watched, and that is trained anew.
pub const MODEL: &str = "forecasts";
/// Versions that are loaded at most: a year of weekly ones, and the one before.
const VERSIONS_MAX: usize = 54;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What a look saw and did.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The errors of forecasts; none while no version was ever in production.
    pub errors: Option<ForecastErrors>,
    /// The drift of each table that has rows.
    pub drift: Vec<TableDrift>,
    /// What began or ended with this look.
    pub lines: Vec<Line>,
    /// What became of messages.
    pub delivered: Delivered,
    /// Why the models are to be trained anew; empty: they are not.
    pub because: Vec<Because>,
    /// The run of the pipeline that does it, where it was asked for.
    pub run: Option<i64>,
}

/// The rules of a shop's settings.
pub fn alert_settings(settings: &MonitorSettings) -> AlertSettings {
    let rule = |name: &str, metric: &str, condition, severity, text: &str, text_zh: &str| Rule {
        severity,
        text: text.to_owned(),
        text_zh: text_zh.to_owned(),
        ..Rule::new(name, metric, condition)
    };
    let at_least = Condition::AtLeast;
    let rules = vec![
        rule(
            "forecast_alarm",
            "forecast.alarm",
            at_least(1.0),
            Severity::Warning,
            "the error of forecasts has risen for good, beyond chance",
            "预测误差持续上升，已超出偶然波动",
        ),
        rule(
            "forecast_error",
            "forecast.error_ratio",
            at_least(settings.error_ratio),
            Severity::Warning,
            "forecasts are further off than they were in the backtest",
            "近期预测误差明显高于回测水平",
        ),
        rule(
            "drift",
            "drift.major_columns",
            at_least(1.0),
            Severity::Warning,
            "the newest rows are unlike those before",
            "最新数据与此前明显不同（数据漂移）",
        ),
        rule(
            "data_faults",
            "data.faults",
            at_least(1.0),
            Severity::Critical,
            "the newest rows have faults that those before did not have",
            "最新数据出现了此前没有的质量问题",
        ),
        rule(
            "underfitted",
            "forecast.underfitted",
            at_least(1.0),
            Severity::Warning,
            "forecasts are no better than those of a simple method",
            "预测并不优于简单方法（欠拟合）",
        ),
    ];
    let mut sinks = vec!["log".to_owned()];
    if !settings.webhook.trim().is_empty() {
        sinks.push(sinks::WEBHOOK.to_owned());
    }
    if !settings.mail_server.trim().is_empty() {
        sinks.push(sinks::MAIL.to_owned());
    }
    // All signals of a look come together: nothing is gained by waiting for more.
    AlertSettings { rules, group_wait_ms: 0, sinks, ..AlertSettings::default() }
}

/// When the settings ask for training.
fn retrain_settings(settings: &MonitorSettings) -> RetrainSettings {
    RetrainSettings {
        every_ms: (settings.retrain_days > 0).then(|| settings.retrain_days as i64 * DAY_MS),
        drifted_share: None,
        major_columns: settings.retrain_on_drift.then_some(1),
        error_ratio: Some(settings.error_ratio),
        on_alarm: true,
        new_rows_share: None,
        cool_down_ms: settings.cool_down_hours as i64 * HOUR_MS,
    }
}

/// The version of forecasts in production and those that were before it, loaded; the newest are kept where there are many.
/// Versions that were rolled back are not among them.
///
/// # Errors
/// A registry or store that does not answer; an artifact that was changed.
pub async fn reigned(registry: &Registry) -> Result<Vec<Loaded>> {
    let mut numbers = BTreeSet::new();
    let mut standing = None;
    let mut page = Page { after: None, limit: 1_000 };
    loop {
        let listed = match registry.history(MODEL, Some(CHAMPION), &page).await {
            Ok(listed) => listed,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => return Err(e.into()),
        };
        // The newest line comes first: who answers now, or nobody.
        let Some(now) = *standing.get_or_insert(listed.items.first().and_then(|p| p.to)) else {
            return Ok(vec![]);
        };
        // What was rolled back is as if it had never been: nobody acts on it any longer.
        numbers.extend(listed.items.iter().filter_map(|p| p.to).filter(|n| *n <= now));
        match listed.next {
            Some(after) if numbers.len() < VERSIONS_MAX => page.after = Some(after),
            _ => break,
        }
    }
    let mut loaded = Vec::new();
    for number in numbers.into_iter().rev().take(VERSIONS_MAX) {
        let version = registry.version(&Reference::number(MODEL, number)?).await?;
        let folder = registry.fetch(&version).await?;
        let identity = Identity {
            model: version.name.clone(),
            version: version.number,
            artifact_hash: version.artifact_hash.clone(),
        };
        let work = move || serving::load(&folder, identity);
        let one = tokio::task::spawn_blocking(work).await.map_err(|_| {
            Error::asked("loading a version was broken off", "see the log for what went wrong")
        })??;
        loaded.push(one);
    }
    Ok(loaded)
}

/// How the alarm over errors is set.
pub fn alarm_settings(settings: &MonitorSettings) -> AlarmSettings {
    AlarmSettings { false_alarm: settings.false_alarm, ..AlarmSettings::default() }
}

/// What drifted in the tables that the settings name; those without rows are left out.
fn drifts(run: &Run, shop: &Shop) -> Result<Vec<TableDrift>> {
    let settings = &shop.settings().monitor;
    let mut out = Vec::new();
    for table in &settings.tables {
        let told = monitoring::drift(
            run,
            shop,
            table,
            settings.days as usize,
            settings.reference_days as usize,
            &DriftSettings::default(),
        );
        match told {
            Ok(told) => out.push(told),
            Err(e) if e.kind() == ErrorKind::InvalidParams => {}
            Err(e) => return Err(e),
        }
    }
    Ok(out)
}

/// Looks once: tells alerts that began or ended, and asks for training where it is due and the settings allow it.
///
/// # Errors
/// Faults of the disk, the state and the registry; cancellation. Sinks that do not answer are tried again by later looks.
pub async fn look(run: &Run, operations: &Operations) -> Result<Seen> {
    let shop = operations.shop.clone();
    let settings = shop.settings().monitor.clone();
    let versions = reigned(&operations.registry).await?;
    let (inner, alarm) = (run.clone(), alarm_settings(&settings));
    let (errors, drift) = tokio::task::spawn_blocking(move || {
        let errors = forecast_errors(&inner, &shop, &versions, alarm)?;
        Ok::<_, Error>((errors, drifts(&inner, &shop)?))
    })
    .await
    .map_err(|_| Error::asked("the look was broken off", "see the log for what went wrong"))??;

    let alerts = Alerts::open(operations.database.clone(), alert_settings(&settings))?;
    let lines = alerts.observe(&signals(errors.as_ref(), &drift)).await?;
    alerts.collect().await?;
    let chinese = operations.shop.settings().shop.language == Language::Zh;
    let (webhook, post) = (Webhook::of(&settings, chinese)?, Post::of(&settings, chinese)?);
    let mut sinks: Vec<&dyn Sink> = vec![&LogSink];
    sinks.extend(webhook.iter().map(|sink| sink as &dyn Sink));
    sinks.extend(post.iter().map(|sink| sink as &dyn Sink));
    let delivered = alerts.deliver(&sinks, 100).await?;

    let mut seen = Seen { errors, drift, lines, delivered, because: vec![], run: None };
    let Some(known) = &seen.errors else { return Ok(seen) };
    let champion = operations.registry.version(&Reference::number(MODEL, known.version)?).await?;
    let major: u64 = seen.drift.iter().map(|d| d.report.at_least(Verdict::Major).count() as u64).sum();
    let signs = Signs {
        trained_ms: Some(champion.created_ms),
        major_columns: Some(major),
        error_ratio: known.ratio(),
        alarm: known.alarm,
        ..Signs::default()
    };
    if !settings.retrain {
        return Ok(seen);
    }
    let triggers = Triggers::open(operations.database.clone());
    if let Retrain::Now { because } = triggers.ask(MODEL, &retrain_settings(&settings), &signs).await? {
        let mut new = order_of(&operations.registry).await?.new_run(&operations.shop)?;
        new.asked_by = "system:watch".to_owned();
        new.reason = because.iter().map(reason).collect::<Vec<_>>().join("; ");
        seen.run = Some(operations.jobs.enqueue(new).await?);
        seen.because = because;
    }
    Ok(seen)
}

/// What trains anew all that is in production, each kind the way it was made.
async fn order_of(registry: &Registry) -> Result<Order> {
    let (mut kinds, mut requests) = (Vec::new(), Vec::new());
    for kind in KINDS {
        match registry.version(&Reference::alias(kind.name(), CHAMPION)?).await {
            Ok(version) => {
                kinds.push(kind);
                // A version of another way of registering is made as the shop's settings say.
                let params = version.manifest.params;
                requests.extend(serde_json::from_value(params).ok().filter(|r: &Request| r.kind() == kind));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Order { kinds, requests, ..Order::default() })
}

/// Why a model is trained anew, in words.
pub fn reason(because: &Because) -> String {
    match because {
        Because::Schedule { age_ms } => format!("the version is {} days old", age_ms / DAY_MS),
        Because::Drift { major, .. } => format!("{major} columns changed in a major way"),
        Because::Error { ratio } => format!("the error is {ratio:.2} times the usual one"),
        Because::Alarm => "the error rose beyond chance".to_owned(),
        Because::Volume { share } => format!("{:.0} % more rows", share * 100.0),
    }
}

/// What is wrong with how a version has learnt, in English and Chinese; none where nothing is, or nothing can be said.
pub fn fit_in_words(fit: FitVerdict) -> Option<(String, String)> {
    Some(match fit {
        FitVerdict::Sound | FitVerdict::TooFew => return None,
        FitVerdict::Underfitted { ratio } => (
            format!(
                "underfitted: its error is {ratio:.2} times that of a simple method; try another model or more history"
            ),
            format!("欠拟合：误差为简单方法的 {ratio:.2} 倍；请换用其他模型或增加历史数据"),
        ),
        FitVerdict::Overfitted { ratio } => (
            format!(
                "overfitted: outside what it learnt from its error is {ratio:.2} times as large; try a simpler model"
            ),
            format!("过拟合：训练数据之外的误差为其内的 {ratio:.2} 倍；请换用更简单的模型"),
        ),
        FitVerdict::Stale { ratio } => (
            format!("stale: its error is {ratio:.2} times that of its backtest; train anew"),
            format!("模型已过时：误差为回测时的 {ratio:.2} 倍；请重新训练"),
        ),
    })
}

fn signals(errors: Option<&ForecastErrors>, drift: &[TableDrift]) -> Vec<Signal> {
    let mut out = Vec::new();
    if let Some(errors) = errors {
        let subject = format!("{MODEL}@{}", errors.version);
        out.push(Signal::new("forecast.alarm", MODEL, f64::from(u8::from(errors.alarm))));
        if let Some(ratio) = errors.ratio() {
            let mut signal = Signal::new("forecast.error_ratio", MODEL, ratio);
            signal.details = format!("{subject}: {ratio:.2} × the error of its backtest");
            out.push(signal);
        }
    }
    if let Some(errors) = errors {
        let under = matches!(errors.fit, FitVerdict::Underfitted { .. });
        let mut signal = Signal::new("forecast.underfitted", MODEL, f64::from(u8::from(under)));
        signal.details = fit_in_words(errors.fit).map(|(en, _)| en).unwrap_or_default();
        out.push(signal);
    }
    for told in drift {
        let major: Vec<&str> = told.report.at_least(Verdict::Major).map(|c| c.column.as_str()).collect();
        let mut signal = Signal::new("drift.major_columns", told.table, major.len() as f64);
        signal.details = major.join(", ");
        out.push(signal);
        let grave = told.report.quality.iter().filter(|f| f.verdict == Verdict::Major);
        let columns: Vec<&str> = grave.map(|f| f.column.as_str()).collect();
        let mut signal = Signal::new("data.faults", told.table, columns.len() as f64);
        signal.details = columns.join(", ");
        out.push(signal);
    }
    out
}
