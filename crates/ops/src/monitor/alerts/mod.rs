//! Alerts: rules over signals, each alert told once when it begins and once when it ends, one message for all that
//! belongs together.
//!
//! ```text
//! signals ─→ rules ─→ pending ─(so many times)→ firing ─→ resolved        each (rule, subject) by itself
//!                                    │             │
//!                           lines of a group (silenced ones are left out)
//!                                    └─ wait, then at most one message per window ─→ outbox ─→ sinks (at least once)
//! ```
//!
//! All of it is kept in the state: a restart neither forgets a firing alert nor tells it again. Rules come from the
//! settings at every start. What leaves the machine is a [`Message`]; [`Sink`]s that need a network are the facade's.

mod message;
mod outbox;
mod rules;
mod silence;

pub use message::{Line, LineKind, Mail, Message, mail, webhook_body};
pub use outbox::{Delivered, Delivery, LogSink, Sink};
pub use rules::{AlertSettings, Condition, Rule, Severity, Signal};
pub use silence::Silence;

use crate::error::{Error, Result};
use crate::registry::{breathe, end, gave_way, is_taken, random_name, select, shown, statement};
use crate::state::{Database, Migration};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use tradewind_core::ErrorKind;

/// The tables of monitoring.
pub(crate) const MIGRATION: Migration = Migration {
    name: "monitoring",
    statements: &[
        "CREATE TABLE IF NOT EXISTS monitor_alerts (
            rule {key} NOT NULL,
            subject {key} NOT NULL,
            state {key} NOT NULL,
            streak BIGINT NOT NULL,
            value DOUBLE PRECISION NOT NULL,
            details {text} NOT NULL,
            since_ms BIGINT NOT NULL,
            seen_ms BIGINT NOT NULL,
            told_ms BIGINT NOT NULL,
            PRIMARY KEY (rule, subject)
        )",
        // What began and ended, for the page; only added to, the oldest removed.
        "CREATE TABLE IF NOT EXISTS monitor_alert_log (
            id {key} NOT NULL PRIMARY KEY,
            at_ms BIGINT NOT NULL,
            line {text} NOT NULL
        )",
        // A row a group: changes of the group wait for it. `due_ms` is 0 when nothing waits.
        "CREATE TABLE IF NOT EXISTS monitor_groups (
            name {key} NOT NULL PRIMARY KEY,
            due_ms BIGINT NOT NULL,
            sent_ms BIGINT NOT NULL
        )",
        "CREATE TABLE IF NOT EXISTS monitor_lines (
            id {key} NOT NULL PRIMARY KEY,
            name {key} NOT NULL,
            at_ms BIGINT NOT NULL,
            line {text} NOT NULL
        )",
        "CREATE TABLE IF NOT EXISTS monitor_silences (
            id {key} NOT NULL PRIMARY KEY,
            silence {text} NOT NULL,
            until_ms BIGINT NOT NULL
        )",
        // `state` is waiting, sent or dead.
        "CREATE TABLE IF NOT EXISTS monitor_outbox (
            id {key} NOT NULL PRIMARY KEY,
            sink {key} NOT NULL,
            state {key} NOT NULL,
            message {text} NOT NULL,
            attempts BIGINT NOT NULL,
            next_ms BIGINT NOT NULL,
            created_ms BIGINT NOT NULL,
            fault {text} NOT NULL
        )",
        "CREATE TABLE IF NOT EXISTS monitor_retrains (
            model {key} NOT NULL PRIMARY KEY,
            sequence BIGINT NOT NULL,
            started_ms BIGINT NOT NULL
        )",
        "CREATE TABLE IF NOT EXISTS monitor_retrain_log (
            model {key} NOT NULL,
            sequence BIGINT NOT NULL,
            reasons {text} NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (model, sequence)
        )",
        "CREATE TABLE IF NOT EXISTS monitor_approvals (
            id {key} NOT NULL PRIMARY KEY,
            model {key} NOT NULL,
            champion BIGINT NOT NULL,
            challenger BIGINT NOT NULL,
            state {key} NOT NULL,
            judgement {text} NOT NULL,
            actor {key} NOT NULL,
            reason {text} NOT NULL,
            created_ms BIGINT NOT NULL,
            decided_ms BIGINT NOT NULL
        )",
        "CREATE TABLE IF NOT EXISTS monitor_documents (
            kind {key} NOT NULL,
            name {key} NOT NULL,
            revision BIGINT NOT NULL,
            body {text} NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (kind, name)
        )",
        "CREATE TABLE IF NOT EXISTS monitor_points (
            series {key} NOT NULL,
            at_ms BIGINT NOT NULL,
            value DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (series, at_ms)
        )",
    ],
};

const ATTEMPTS_MAX: u32 = 8;
/// How long what began and ended is shown.
const LOG_KEPT_MS: i64 = 400 * 86_400_000;
const TEXT_CHARS_MAX: usize = 500;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Its condition does not hold.
    Quiet,
    /// Its condition holds, not yet for so many times as the rule asks.
    Pending,
    /// It is on.
    Firing,
}

impl AlertState {
    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule.
    pub rule: String,
    /// What it is about, as `weekly category=tea`.
    pub subject: String,
    /// Where it stands.
    pub state: AlertState,
    /// The value last seen.
    pub value: f64,
    /// What was said beside the value.
    pub details: String,
    /// Since when it stands there, in milliseconds since 1970.
    pub since_ms: i64,
    /// When a signal last came.
    pub seen_ms: i64,
}

/// The alerts in a database under the rules of the settings. Clones share the connections.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use tradewind_ops::monitor::alerts::{AlertSettings, Alerts, Condition, LogSink, Rule, Signal};
/// use tradewind_ops::{Clock, Database};
/// let clock = Clock::at(0);
/// let database = Database::open("sqlite::memory:", clock.clone()).await.unwrap();
/// let rule = Rule::new("error_rose", "wape_ratio", Condition::AtLeast(1.3));
/// let settings = AlertSettings { rules: vec![rule], ..AlertSettings::default() };
/// let alerts = Alerts::open(database, settings).unwrap();
/// let began = alerts.observe(&[Signal::new("wape_ratio", "weekly", 1.6)]).await.unwrap();
/// assert_eq!(began.len(), 1);
/// clock.set(60_000);
/// let delivered = alerts.deliver(&[&LogSink], 10).await.unwrap();
/// assert_eq!(delivered.sent, 1);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Alerts {
    database: Database,
    settings: AlertSettings,
}

type Row = (String, String, String, i64, f64, String, i64, i64, i64);

impl Alerts {
    /// Alerts by these rules.
    ///
    /// # Errors
    /// Settings outside their range.
    pub fn open(database: Database, settings: AlertSettings) -> Result<Self> {
        settings.check()?;
        Ok(Self { database, settings })
    }

    /// The settings.
    pub fn settings(&self) -> &AlertSettings {
        &self.settings
    }

    /// Takes signals in, one evaluation for each; what began or ended is answered, silenced or not. A NaN says nothing
    /// and leaves the alert as it is.
    ///
    /// # Errors
    /// A database that does not answer; a subject that is empty or too long.
    pub async fn observe(&self, signals: &[Signal]) -> Result<Vec<Line>> {
        let mut out = Vec::new();
        let silences = self.silences().await?;
        for signal in signals {
            signal.check()?;
            if signal.value.is_nan() {
                continue;
            }
            for rule in self.settings.rules.iter().filter(|r| r.metric == signal.metric) {
                out.extend(self.step(rule, signal, &silences).await?);
            }
        }
        Ok(out)
    }

    /// Alerts that are pending or firing, the longest standing first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn active(&self) -> Result<Vec<Alert>> {
        let rows: Vec<Row> = select(
            &self.database,
            "SELECT rule, subject, state, streak, value, details, since_ms, seen_ms, told_ms FROM monitor_alerts
             WHERE state <> 'quiet' ORDER BY since_ms, rule, subject",
        )
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading alerts"))?;
        rows.into_iter().map(|row| self.alert(row).map(|(alert, ..)| alert)).collect()
    }

    /// What began and ended since a time, the last first, 1,000 at most.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn log(&self, since_ms: i64) -> Result<Vec<Line>> {
        let rows: Vec<(String,)> = select(
            &self.database,
            "SELECT line FROM monitor_alert_log WHERE at_ms >= ? ORDER BY at_ms DESC, id LIMIT 1000",
        )
        .bind(since_ms)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading the log of alerts"))?;
        rows.iter().map(|(text,)| self.parse(text)).collect()
    }

    async fn step(&self, rule: &Rule, signal: &Signal, silences: &[Silence]) -> Result<Option<Line>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.database.begin().await?;
            let done = self.step_in(&mut transaction, rule, signal, silences).await;
            match end(&self.database, transaction, done, "changing an alert").await {
                Err(e) if (gave_way(&e) || is_taken(&e)) && attempt < ATTEMPTS_MAX => {
                    breathe(attempt).await?
                }
                done => return done,
            }
        }
    }

    async fn step_in(
        &self,
        connection: &mut AnyConnection,
        rule: &Rule,
        signal: &Signal,
        silences: &[Silence],
    ) -> Result<Option<Line>> {
        let fault = self.database.fault("changing an alert");
        let now = self.database.now_ms();
        // From here on other signals of the same alert wait.
        let held =
            statement(&self.database, "UPDATE monitor_alerts SET seen_ms = ? WHERE rule = ? AND subject = ?")
                .bind(now)
                .bind(rule.name.clone())
                .bind(signal.subject.clone())
                .execute(&mut *connection)
                .await
                .map_err(&fault)?;
        if held.rows_affected() == 0 {
            statement(
                &self.database,
                "INSERT INTO monitor_alerts (rule, subject, state, streak, value, details, since_ms, seen_ms, told_ms)
                 VALUES (?, ?, 'quiet', 0, 0.0, '', ?, ?, 0)",
            )
            .bind(rule.name.clone())
            .bind(signal.subject.clone())
            .bind(now)
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        }
        let row: Row = select(
            &self.database,
            "SELECT rule, subject, state, streak, value, details, since_ms, seen_ms, told_ms FROM monitor_alerts
             WHERE rule = ? AND subject = ?",
        )
        .bind(rule.name.clone())
        .bind(signal.subject.clone())
        .fetch_one(&mut *connection)
        .await
        .map_err(&fault)?;
        let (alert, streak, mut told) = self.alert(row)?;
        let on = rule.condition.holds(signal.value);
        // The streak counts evaluations towards the other side.
        let (state, streak, kind) = match (alert.state, on) {
            (AlertState::Firing, true) => (AlertState::Firing, 0, None),
            (AlertState::Firing, false) if streak + 1 >= i64::from(rule.clear_times) => {
                (AlertState::Quiet, 0, Some(LineKind::Resolved))
            }
            (AlertState::Firing, false) => (AlertState::Firing, streak + 1, None),
            (_, true) if streak + 1 >= i64::from(rule.for_times) => {
                (AlertState::Firing, 0, Some(LineKind::Firing))
            }
            (_, true) => (AlertState::Pending, streak + 1, None),
            (_, false) => (AlertState::Quiet, 0, None),
        };
        let since = if state == alert.state { alert.since_ms } else { now };
        let line = kind.map(|kind| Line::new(kind, rule, signal, now));
        if let Some(line) = &line {
            self.log_line(connection, line).await?;
            if silences.iter().any(|s| s.covers(&rule.name, &signal.subject, now)) {
                // What was not told when it began is not told when it ends, unless the silence is over.
                told = if state == AlertState::Firing { 0 } else { told };
            } else if line.kind == LineKind::Firing || told > 0 {
                self.add_line(connection, &rule.group, line).await?;
                told = if state == AlertState::Firing { now } else { 0 };
            }
        }
        statement(
            &self.database,
            "UPDATE monitor_alerts SET state = ?, streak = ?, value = ?, details = ?, since_ms = ?, told_ms = ?
             WHERE rule = ? AND subject = ?",
        )
        .bind(state.name())
        .bind(streak)
        .bind(signal.value)
        .bind(signal.details.clone())
        .bind(since)
        .bind(told)
        .bind(rule.name.clone())
        .bind(signal.subject.clone())
        .execute(connection)
        .await
        .map_err(&fault)?;
        Ok(line)
    }

    async fn log_line(&self, connection: &mut AnyConnection, line: &Line) -> Result<()> {
        let fault = self.database.fault("noting an alert");
        statement(&self.database, "INSERT INTO monitor_alert_log (id, at_ms, line) VALUES (?, ?, ?)")
            .bind(random_name()?)
            .bind(line.at_ms)
            .bind(written(line)?)
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        statement(&self.database, "DELETE FROM monitor_alert_log WHERE at_ms < ?")
            .bind(line.at_ms - LOG_KEPT_MS)
            .execute(connection)
            .await
            .map_err(&fault)?;
        Ok(())
    }

    /// Puts a line into its group, whose message is due after the wait, and no sooner than a window after the last.
    async fn add_line(&self, connection: &mut AnyConnection, group: &str, line: &Line) -> Result<()> {
        let fault = self.database.fault("putting an alert into its group");
        let now = line.at_ms;
        statement(&self.database, "INSERT INTO monitor_lines (id, name, at_ms, line) VALUES (?, ?, ?, ?)")
            .bind(random_name()?)
            .bind(group.to_owned())
            .bind(now)
            .bind(written(line)?)
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let held = statement(&self.database, "UPDATE monitor_groups SET sent_ms = sent_ms WHERE name = ?")
            .bind(group.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let found: Option<(i64, i64)> =
            select(&self.database, "SELECT due_ms, sent_ms FROM monitor_groups WHERE name = ?")
                .bind(group.to_owned())
                .fetch_optional(&mut *connection)
                .await
                .map_err(&fault)?;
        let due = |sent: i64| {
            let after_last = if sent > 0 { sent + self.settings.group_window_ms } else { i64::MIN };
            (now + self.settings.group_wait_ms).max(after_last)
        };
        match found {
            // MySQL does not count a row that stays as it was.
            None => {
                debug_assert_eq!(held.rows_affected(), 0);
                statement(
                    &self.database,
                    "INSERT INTO monitor_groups (name, due_ms, sent_ms) VALUES (?, ?, 0)",
                )
                .bind(group.to_owned())
                .bind(due(0))
                .execute(connection)
                .await
                .map_err(&fault)?;
            }
            Some((0, sent)) => {
                statement(&self.database, "UPDATE monitor_groups SET due_ms = ? WHERE name = ?")
                    .bind(due(sent))
                    .bind(group.to_owned())
                    .execute(connection)
                    .await
                    .map_err(&fault)?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn alert(&self, row: Row) -> Result<(Alert, i64, i64)> {
        let (rule, subject, state, streak, value, details, since_ms, seen_ms, told_ms) = row;
        let states = [AlertState::Quiet, AlertState::Pending, AlertState::Firing];
        let state = states
            .into_iter()
            .find(|s| s.name() == state)
            .ok_or_else(|| self.database.content(format!("no alert is `{}`", shown(&state))))?;
        Ok((Alert { rule, subject, state, value, details, since_ms, seen_ms }, streak, told_ms))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| self.database.content(format!("an alert cannot be read: {e}")))
    }
}

fn written<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| {
        Error::asked(ErrorKind::Internal, format!("an alert is no JSON: {e}"), "report this as a bug")
    })
}

fn wrong(text: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::asked(ErrorKind::InvalidParams, text, hint)
}
