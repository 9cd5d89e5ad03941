//! When a model is trained anew: by the calendar, by drift, by its error, by how much new data there is, and never again
//! too soon.

use super::drift::{DriftReport, Verdict};
use crate::error::{Error, Result};
use crate::registry::{Listed, Page, breathe, end, gave_way, is_taken, select, statement};
use crate::state::Database;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use tradewind_core::ErrorKind;

const DAY_MS: i64 = 86_400_000;
const ATTEMPTS_MAX: u32 = 8;
const MODEL_CHARS_MAX: usize = 150;

/// When to train anew. Each trigger may be left out; any one is enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrainSettings {
    /// After so long without training, in ms: 28 days.
    pub every_ms: Option<i64>,
    /// When this share of the columns on which something can be said has drifted: 0.3.
    pub drifted_share: Option<f64>,
    /// When so many columns have drifted in a major way: 1.
    pub major_columns: Option<u64>,
    /// When the live error is so many times the expected one: 1.3.
    pub error_ratio: Option<f64>,
    /// When the sequential alarm over the error rings: yes.
    pub on_alarm: bool,
    /// When so many new rows came, as a share of those trained on: 0.25.
    pub new_rows_share: Option<f64>,
    /// The least time between two trainings, whatever happens: a day.
    pub cool_down_ms: i64,
}

impl Default for RetrainSettings {
    fn default() -> Self {
        Self {
            every_ms: Some(28 * DAY_MS),
            drifted_share: Some(0.3),
            major_columns: Some(1),
            error_ratio: Some(1.3),
            on_alarm: true,
            new_rows_share: Some(0.25),
            cool_down_ms: DAY_MS,
        }
    }
}

/// What is known of a model now. What is not known triggers nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signs {
    /// When the version that answers was trained, in milliseconds since 1970.
    pub trained_ms: Option<i64>,
    /// The share of columns that have drifted.
    pub drifted_share: Option<f64>,
    /// Columns that have drifted in a major way.
    pub major_columns: Option<u64>,
    /// The live error over the expected one.
    pub error_ratio: Option<f64>,
    /// Whether the alarm over the error rang.
    pub alarm: bool,
    /// Rows that came since, as a share of those trained on.
    pub new_rows_share: Option<f64>,
}

impl Signs {
    /// The same with what a report of drift says.
    #[must_use]
    pub fn with_drift(mut self, report: &DriftReport) -> Self {
        self.drifted_share = Some(report.drifted_share());
        self.major_columns = Some(report.at_least(Verdict::Major).count() as u64);
        self
    }
}

/// Why a model is trained anew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum Because {
    /// It is old.
    Schedule {
        /// How old, in ms.
        age_ms: i64,
    },
    /// Columns have drifted.
    Drift {
        /// The share of columns that have.
        share: f64,
        /// How many in a major way.
        major: u64,
    },
    /// Its error rose.
    Error {
        /// The live error over the expected one.
        ratio: f64,
    },
    /// The alarm over its error rang.
    Alarm,
    /// There are new data.
    Volume {
        /// New rows as a share of those trained on.
        share: f64,
    },
}

/// Whether a model is trained anew.
#[derive(Clone, Debug, PartialEq)]
pub enum Retrain {
    /// Nothing asks for it.
    No,
    /// It is asked for and too soon after the last time.
    Later {
        /// Why.
        because: Vec<Because>,
        /// From when on it may.
        from_ms: i64,
    },
    /// Now.
    Now {
        /// Why.
        because: Vec<Because>,
    },
}

/// Decides by the settings; `last_ms` is when training was last begun.
///
/// ```
/// use tradewind_ops::monitor::triggers::{Because, Retrain, RetrainSettings, Signs, decide};
/// let settings = RetrainSettings::default();
/// let signs = Signs { error_ratio: Some(1.5), ..Signs::default() };
/// let now = 100 * 86_400_000;
/// assert_eq!(decide(&settings, &signs, None, now), Retrain::Now { because: vec![Because::Error { ratio: 1.5 }] });
/// assert!(matches!(decide(&settings, &signs, Some(now - 1), now), Retrain::Later { .. }));
/// assert_eq!(decide(&settings, &Signs::default(), None, now), Retrain::No);
/// ```
pub fn decide(settings: &RetrainSettings, signs: &Signs, last_ms: Option<i64>, now_ms: i64) -> Retrain {
    let mut because = Vec::new();
    // The clock may have jumped back: then nothing is old.
    let since = signs.trained_ms.into_iter().chain(last_ms).max();
    let age_ms = since.map_or(0, |at| (now_ms - at).max(0));
    if settings.every_ms.is_some_and(|every| since.is_some() && age_ms >= every) {
        because.push(Because::Schedule { age_ms });
    }
    let (share, major) = (signs.drifted_share.unwrap_or(0.0), signs.major_columns.unwrap_or(0));
    if settings.drifted_share.is_some_and(|limit| share >= limit && share > 0.0)
        || settings.major_columns.is_some_and(|limit| major >= limit && major > 0)
    {
        because.push(Because::Drift { share, major });
    }
    if let (Some(limit), Some(ratio)) = (settings.error_ratio, signs.error_ratio)
        && ratio >= limit
    {
        because.push(Because::Error { ratio });
    }
    if settings.on_alarm && signs.alarm {
        because.push(Because::Alarm);
    }
    if let (Some(limit), Some(share)) = (settings.new_rows_share, signs.new_rows_share)
        && share >= limit
    {
        because.push(Because::Volume { share });
    }
    match last_ms {
        _ if because.is_empty() => Retrain::No,
        // A last time in the future is a clock that jumped; it holds nothing up.
        Some(last) if (0..settings.cool_down_ms).contains(&(now_ms - last)) => {
            Retrain::Later { because, from_ms: last + settings.cool_down_ms }
        }
        _ => Retrain::Now { because },
    }
}

/// A training that was triggered.
#[derive(Clone, Debug, PartialEq)]
pub struct Triggered {
    /// Its place: 1, 2, … of the model.
    pub sequence: u64,
    /// Why.
    pub because: Vec<Because>,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The trainings that were triggered, kept in a database so that two processes do not both begin one.
#[derive(Clone, Debug)]
pub struct Triggers {
    database: Database,
}

impl Triggers {
    /// The triggers in a database.
    pub fn open(database: Database) -> Self {
        Self { database }
    }

    /// Decides, and notes the training when the answer is now: of all that ask at once, one gets it.
    ///
    /// # Errors
    /// Settings outside their range; a database that does not answer.
    pub async fn ask(&self, model: &str, settings: &RetrainSettings, signs: &Signs) -> Result<Retrain> {
        check(model, settings)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.database.begin().await?;
            let done = self.ask_in(&mut transaction, model, settings, signs).await;
            match end(&self.database, transaction, done, "deciding on a training").await {
                Err(e) if (gave_way(&e) || is_taken(&e)) && attempt < ATTEMPTS_MAX => {
                    breathe(attempt).await?
                }
                done => return done,
            }
        }
    }

    async fn ask_in(
        &self,
        connection: &mut AnyConnection,
        model: &str,
        settings: &RetrainSettings,
        signs: &Signs,
    ) -> Result<Retrain> {
        let fault = self.database.fault("deciding on a training");
        // The row is what others wait for; the sequence is put back when nothing is begun.
        let held =
            statement(&self.database, "UPDATE monitor_retrains SET sequence = sequence + 1 WHERE model = ?")
                .bind(model.to_owned())
                .execute(&mut *connection)
                .await
                .map_err(&fault)?;
        if held.rows_affected() == 0 {
            statement(
                &self.database,
                "INSERT INTO monitor_retrains (model, sequence, started_ms) VALUES (?, 1, 0)",
            )
            .bind(model.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        }
        let (sequence, last): (i64, i64) =
            select(&self.database, "SELECT sequence, started_ms FROM monitor_retrains WHERE model = ?")
                .bind(model.to_owned())
                .fetch_one(&mut *connection)
                .await
                .map_err(&fault)?;
        let now = self.database.now_ms();
        let answer = decide(settings, signs, Some(last).filter(|_| sequence > 1), now);
        let Retrain::Now { because } = &answer else {
            statement(&self.database, "UPDATE monitor_retrains SET sequence = ? WHERE model = ?")
                .bind(sequence - 1)
                .bind(model.to_owned())
                .execute(connection)
                .await
                .map_err(&fault)?;
            return Ok(answer);
        };
        statement(&self.database, "UPDATE monitor_retrains SET started_ms = ? WHERE model = ?")
            .bind(now)
            .bind(model.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let text = serde_json::to_string(because).map_err(|e| {
            Error::asked(ErrorKind::Internal, format!("reasons are no JSON: {e}"), "report this as a bug")
        })?;
        statement(
            &self.database,
            "INSERT INTO monitor_retrain_log (model, sequence, reasons, at_ms) VALUES (?, ?, ?, ?)",
        )
        .bind(model.to_owned())
        .bind(sequence)
        .bind(text)
        .bind(now)
        .execute(connection)
        .await
        .map_err(&fault)?;
        tracing::info!(model, sequence, "training triggered");
        Ok(answer)
    }

    /// The trainings of a model that were triggered, the last first.
    ///
    /// # Errors
    /// A limit or place outside its range.
    pub async fn history(&self, model: &str, page: &Page) -> Result<Listed<Triggered>> {
        let (limit, after) = (page.limit()?, page.after_number(i64::MAX)?);
        let rows: Vec<(i64, String, i64)> = select(
            &self.database,
            "SELECT sequence, reasons, at_ms FROM monitor_retrain_log WHERE model = ? AND sequence < ?
             ORDER BY sequence DESC LIMIT ?",
        )
        .bind(model.to_owned())
        .bind(after)
        .bind(limit + 1)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading triggered trainings"))?;
        let mut out = Vec::with_capacity(rows.len());
        for (sequence, text, at_ms) in rows {
            let because = serde_json::from_str(&text)
                .map_err(|e| self.database.content(format!("why {model} was trained cannot be read: {e}")))?;
            out.push(Triggered { sequence: sequence as u64, because, at_ms });
        }
        Ok(Listed::cut(out, limit, |t| t.sequence.to_string()))
    }
}

fn check(model: &str, settings: &RetrainSettings) -> Result<()> {
    let limits = [settings.drifted_share, settings.error_ratio, settings.new_rows_share];
    let fits = limits.into_iter().flatten().all(|v| v > 0.0 && v.is_finite())
        && settings.every_ms.is_none_or(|ms| ms > 0)
        && settings.cool_down_ms >= 0;
    if fits && !model.is_empty() && model.chars().count() <= MODEL_CHARS_MAX {
        return Ok(());
    }
    Err(Error::asked(
        ErrorKind::InvalidParams,
        format!("triggers for `{}` with limits outside their range", crate::registry::shown(model)),
        "name the model and give limits and times above 0",
    ))
}
