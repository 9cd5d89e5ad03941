//! Silences: alerts that are known and not told for a while.

use super::{Alerts, written, wrong};
use crate::error::{Error, Result};
use crate::registry::{Change, random_name, select, shown, statement};
use serde::{Deserialize, Serialize};
use tradewind_core::ErrorKind;

const SILENCE_MS_MAX: i64 = 400 * 86_400_000;

/// Alerts that are not told for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// The rules: a name, or its beginning and `*`.
    pub rule: String,
    /// The subjects: likewise.
    pub subject: String,
    /// From when on, in milliseconds since 1970.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// Who set it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Silence {
    /// Whether an alert is silenced at a time.
    pub fn covers(&self, rule: &str, subject: &str, at_ms: i64) -> bool {
        let meets = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(beginning) => text.starts_with(beginning),
            None => text == pattern,
        };
        (self.from_ms..self.until_ms).contains(&at_ms)
            && meets(&self.rule, rule)
            && meets(&self.subject, subject)
    }
}

impl Alerts {
    /// Silences alerts from now until a time.
    ///
    /// # Errors
    /// A time that is past or more than 400 days away, an empty pattern, a change without actor or reason.
    pub async fn silence(
        &self,
        rule: &str,
        subject: &str,
        until_ms: i64,
        change: &Change,
    ) -> Result<Silence> {
        change.check()?;
        let now = self.database.now_ms();
        let fits = |pattern: &str| (1..=180).contains(&pattern.chars().count());
        if !(now + 1..=now + SILENCE_MS_MAX).contains(&until_ms) || !fits(rule) || !fits(subject) {
            return Err(wrong(
                format!("a silence of `{}` about `{}` until {until_ms}", shown(rule), shown(subject)),
                "name the rule and subject, or their beginning with `*`, and a time within the next 400 days",
            ));
        }
        let silence = Silence {
            id: random_name()?,
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            from_ms: now,
            until_ms,
            actor: change.actor.clone(),
            reason: change.reason.clone(),
        };
        let fault = self.database.fault("keeping a silence");
        statement(&self.database, "DELETE FROM monitor_silences WHERE until_ms <= ?")
            .bind(now)
            .execute(self.database.pool())
            .await
            .map_err(&fault)?;
        statement(&self.database, "INSERT INTO monitor_silences (id, silence, until_ms) VALUES (?, ?, ?)")
            .bind(silence.id.clone())
            .bind(written(&silence)?)
            .bind(until_ms)
            .execute(self.database.pool())
            .await
            .map_err(&fault)?;
        Ok(silence)
    }

    /// The silences that hold, the one that ends first first.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn silences(&self) -> Result<Vec<Silence>> {
        let rows: Vec<(String,)> = select(
            &self.database,
            "SELECT silence FROM monitor_silences WHERE until_ms > ? ORDER BY until_ms, id",
        )
        .bind(self.database.now_ms())
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading silences"))?;
        rows.iter().map(|(text,)| self.parse(text)).collect()
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// No silence of this id.
    pub async fn lift_silence(&self, id: &str) -> Result<()> {
        let gone = statement(&self.database, "DELETE FROM monitor_silences WHERE id = ?")
            .bind(id.to_owned())
            .execute(self.database.pool())
            .await
            .map_err(self.database.fault("ending a silence"))?;
        if gone.rows_affected() > 0 {
            return Ok(());
        }
        Err(Error::asked(
            ErrorKind::NotFound,
            format!("there is no silence {}", shown(id)),
            "the list of silences shows which there are",
        ))
    }
}
