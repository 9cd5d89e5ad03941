//! From lines to messages, and from messages to sinks: kept until it is known that they arrived.

use super::{Alerts, Line, LineKind, Message, Row, Signal, written};
use crate::error::Result;
use crate::registry::{breathe, end, gave_way, random_name, select, statement};
use futures::future::BoxFuture;
use sqlx::AnyConnection;

/// Tries of one delivery, over some nine hours.
const TRIES_MAX: i64 = 12;
/// How long one try may take before another process may try.
const LEASE_MS: i64 = 120_000;
const BACK_OFF_MS: i64 = 15_000;
const KEPT_MS: i64 = 30 * 86_400_000;
const LINES_MAX: usize = 1_000;
const ATTEMPTS_MAX: u32 = 8;

/// Where messages go: a log, a webhook, a mail. Those that need a network are implemented outside this crate, with
/// [`super::webhook_body`] and [`super::mail`].
pub trait Sink: Send + Sync {
    /// The name by which the settings name it.
    fn name(&self) -> &str;
    /// Delivers a message; an error is why it could not, without secrets, and the message is tried again later.
    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), String>>;
}

/// Messages into the log, one event each.
#[derive(Clone, Copy, Debug)]
pub struct LogSink;

impl Sink for LogSink {
    fn name(&self) -> &str {
        "log"
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            tracing::warn!(
                group = message.group,
                severity = message.severity().words().0,
                id = message.id,
                "{}",
                message.text(false)
            );
            Ok(())
        })
    }
}

/// A message on its way to one sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its id in the outbox.
    pub id: String,
    /// The sink.
    pub sink: String,
    /// The message.
    pub message: Message,
    /// Tries, this one included.
    pub tries: u32,
}

/// What became of a round of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Arrived.
    pub sent: usize,
    /// To be tried again.
    pub failed: usize,
}

impl Alerts {
    /// Puts messages together and delivers what is due to these sinks, `limit` at most: to be called every few seconds.
    /// What fails is tried again, later each time; a message may arrive twice when the process dies in between, with the
    /// same id.
    ///
    /// # Errors
    /// A database that does not answer. That a sink does not answer is no error.
    pub async fn deliver(&self, sinks: &[&dyn Sink], limit: u32) -> Result<Delivered> {
        self.collect().await?;
        let mut out = Delivered::default();
        for delivery in self.claim(limit).await? {
            let sink = sinks.iter().find(|s| s.name() == delivery.sink);
            let done = match sink {
                Some(sink) => sink.deliver(&delivery.message).await,
                None => Err(format!("there is no sink named {}", delivery.sink)),
            };
            match done {
                Ok(()) => {
                    out.sent += 1;
                    self.settle(&delivery, None).await?;
                }
                Err(reason) => {
                    tracing::warn!(
                        sink = delivery.sink,
                        tries = delivery.tries,
                        reason,
                        "a message was not delivered"
                    );
                    out.failed += 1;
                    self.settle(&delivery, Some(&reason)).await?;
                }
            }
        }
        Ok(out)
    }

    /// Puts together the messages of groups that are due, and reminds of what is still on. The number of messages.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn collect(&self) -> Result<usize> {
        self.remind().await?;
        let due: Vec<(String,)> = select(
            &self.database,
            "SELECT name FROM monitor_groups WHERE due_ms > 0 AND due_ms <= ? ORDER BY name",
        )
        .bind(self.database.now_ms())
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading groups of alerts"))?;
        let mut messages = 0;
        for (group,) in due {
            let mut attempt = 0;
            loop {
                attempt += 1;
                let mut transaction = self.database.begin().await?;
                let done = self.collect_in(&mut transaction, &group).await;
                match end(&self.database, transaction, done, "putting a message together").await {
                    Err(e) if gave_way(&e) && attempt < ATTEMPTS_MAX => breathe(attempt).await?,
                    done => {
                        messages += usize::from(done?);
                        break;
                    }
                }
            }
        }
        Ok(messages)
    }

    async fn collect_in(&self, connection: &mut AnyConnection, group: &str) -> Result<bool> {
        let fault = self.database.fault("putting a message together");
        let now = self.database.now_ms();
        let held = statement(
            &self.database,
            "UPDATE monitor_groups SET due_ms = 0, sent_ms = ? WHERE name = ? AND due_ms > 0 AND due_ms <= ?",
        )
        .bind(now)
        .bind(group.to_owned())
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(&fault)?;
        if held.rows_affected() == 0 {
            // Another process was quicker.
            return Ok(false);
        }
        let rows: Vec<(String, String)> =
            select(&self.database, "SELECT id, line FROM monitor_lines WHERE name = ? ORDER BY at_ms, id")
                .bind(group.to_owned())
                .fetch_all(&mut *connection)
                .await
                .map_err(&fault)?;
        let mut lines: Vec<Line> = Vec::with_capacity(rows.len());
        for (id, text) in rows {
            let line: Line = self.parse(&text)?;
            // Of one alert the last line counts: what began and ended in between is over.
            lines.retain(|l| l.rule != line.rule || l.subject != line.subject);
            lines.push(line);
            statement(&self.database, "DELETE FROM monitor_lines WHERE id = ?")
                .bind(id)
                .execute(&mut *connection)
                .await
                .map_err(&fault)?;
        }
        if lines.is_empty() {
            return Ok(false);
        }
        lines.sort_by(|a, b| {
            let over = |l: &Line| l.kind == LineKind::Resolved;
            over(a).cmp(&over(b)).then(b.severity.cmp(&a.severity)).then(a.at_ms.cmp(&b.at_ms))
        });
        lines.truncate(LINES_MAX);
        let message = Message { id: random_name()?, group: group.to_owned(), lines, at_ms: now };
        let text = written(&message)?;
        for sink in &self.settings.sinks {
            statement(
                &self.database,
                "INSERT INTO monitor_outbox (id, sink, state, message, attempts, next_ms, created_ms, fault)
                 VALUES (?, ?, 'waiting', ?, 0, ?, ?, '')",
            )
            .bind(random_name()?)
            .bind(sink.clone())
            .bind(text.clone())
            .bind(now)
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        }
        statement(&self.database, "DELETE FROM monitor_outbox WHERE created_ms < ? AND state <> 'waiting'")
            .bind(now - KEPT_MS)
            .execute(connection)
            .await
            .map_err(&fault)?;
        Ok(true)
    }

    /// Lines for alerts that are on and were last told long ago.
    async fn remind(&self) -> Result<()> {
        let now = self.database.now_ms();
        let rows: Vec<Row> = select(
            &self.database,
            "SELECT rule, subject, state, streak, value, details, since_ms, seen_ms, told_ms FROM monitor_alerts
             WHERE state = 'firing' AND told_ms <= ? ORDER BY rule, subject LIMIT 1000",
        )
        .bind(now - self.settings.repeat_ms)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading alerts"))?;
        let silences = self.silences().await?;
        for row in rows {
            let (alert, _, told) = self.alert(row)?;
            // An alert whose rule is gone from the settings is not told any more.
            let Some(rule) = self.settings.rules.iter().find(|r| r.name == alert.rule) else { continue };
            if silences.iter().any(|s| s.covers(&rule.name, &alert.subject, now)) {
                continue;
            }
            let mut signal = Signal::new(rule.metric.clone(), alert.subject.clone(), alert.value);
            signal.details = alert.details;
            let line = Line::new(LineKind::Still, rule, &signal, now);
            let mut transaction = self.database.begin().await?;
            let done = async {
                let mine = statement(
                    &self.database,
                    "UPDATE monitor_alerts SET told_ms = ? WHERE rule = ? AND subject = ? AND state = 'firing' AND told_ms = ?",
                )
                .bind(now)
                .bind(rule.name.clone())
                .bind(signal.subject.clone())
                .bind(told)
                .execute(&mut *transaction)
                .await
                .map_err(self.database.fault("reminding of an alert"))?;
                if mine.rows_affected() == 1 {
                    self.add_line(&mut transaction, &rule.group, &line).await?;
                }
                Ok(())
            }
            .await;
            end(&self.database, transaction, done, "reminding of an alert").await?;
        }
        Ok(())
    }

    /// Takes deliveries that are due for itself; another process gets them when they are not settled in two minutes.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn claim(&self, limit: u32) -> Result<Vec<Delivery>> {
        let fault = self.database.fault("taking deliveries");
        let now = self.database.now_ms();
        let rows: Vec<(String, String, String, i64)> = select(
            &self.database,
            "SELECT id, sink, message, attempts FROM monitor_outbox WHERE state = 'waiting' AND next_ms <= ?
             ORDER BY created_ms, id LIMIT ?",
        )
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await
        .map_err(&fault)?;
        let mut out = Vec::new();
        for (id, sink, text, attempts) in rows {
            let taken = statement(
                &self.database,
                "UPDATE monitor_outbox SET attempts = attempts + 1, next_ms = ? WHERE id = ? AND attempts = ?
                 AND state = 'waiting'",
            )
            .bind(now + LEASE_MS)
            .bind(id.clone())
            .bind(attempts)
            .execute(self.database.pool())
            .await
            .map_err(&fault)?;
            if taken.rows_affected() == 1 {
                out.push(Delivery { id, sink, message: self.parse(&text)?, tries: attempts as u32 + 1 });
            }
        }
        Ok(out)
    }

    /// Says what became of a delivery: arrived, or why not. After 12 tries it is given up and stays in the outbox as dead.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn settle(&self, delivery: &Delivery, fault: Option<&str>) -> Result<()> {
        let tries = i64::from(delivery.tries);
        let state = match fault {
            None => "sent",
            Some(_) if tries >= TRIES_MAX => "dead",
            Some(_) => "waiting",
        };
        let wait = BACK_OFF_MS << tries.clamp(0, 11);
        statement(&self.database, "UPDATE monitor_outbox SET state = ?, next_ms = ?, fault = ? WHERE id = ?")
            .bind(state)
            .bind(self.database.now_ms() + wait)
            .bind(fault.unwrap_or_default().chars().take(super::TEXT_CHARS_MAX).collect::<String>())
            .bind(delivery.id.clone())
            .execute(self.database.pool())
            .await
            .map_err(self.database.fault("settling a delivery"))?;
        Ok(())
    }
}
