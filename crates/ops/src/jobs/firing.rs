//! Schedules in the database: kept, paused, fired. A row for each firing, one at most for each moment, says that it was;
//! so neither a clock that jumps nor two workers fire twice.

use super::queue::{Begin, check_name};
use super::{Jobs, Missed, NewRun, Schedule, Turn};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;
use tradewind_core::ErrorKind;

/// How late a firing may be before it counts as missed, and how far a clock may go back (or two clocks differ) before it
/// counts as set back, in milliseconds.
const LATE_MS: i64 = 60_000;

/// A schedule to be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewSchedule {
    /// Its name; one that exists is replaced.
    pub name: String,
    /// What to run.
    pub pipeline: String,
    /// What the runs are handed.
    pub parameters: Map<String, Value>,
    /// The pattern, see [`Schedule::new`].
    pub cron: String,
    /// The time zone, as `Asia/Shanghai`.
    pub zone: String,
    /// What becomes of missed firings.
    pub missed: Missed,
    /// Who asks, for the history.
    pub asked_by: String,
}

/// A schedule, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScheduleRecord {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub pipeline: String,
    /// What the runs are handed.
    pub parameters: Map<String, Value>,
    /// The pattern.
    pub cron: String,
    /// The time zone.
    pub zone: String,
    /// What becomes of missed firings.
    pub missed: Missed,
    /// Whether it rests.
    pub paused: bool,
    /// When it fires next, in milliseconds since 1970; 0: it rests.
    pub next_ms: i64,
    /// When it last fired; 0: never.
    pub last_ms: i64,
    /// The run of the last firing; 0: none.
    pub last_run: i64,
    /// Who asked for it.
    pub asked_by: String,
    #[serde(skip)]
    after_ms: i64,
}

const SCHEDULE: &str =
    "SELECT s.name, s.pipeline, s.parameters, s.cron, s.zone, s.missed, s.paused, s.after_ms, s.asked_by,
    COALESCE((SELECT max(f.run) FROM jobs_firing f WHERE f.schedule = s.name), 0) AS last_run
    FROM jobs_schedule s";

impl Jobs {
    /// Keeps a schedule; it fires from now on.
    ///
    /// # Errors
    /// A wrong name, pattern or zone, an unknown pipeline, a database that does not answer.
    pub async fn schedule(&self, new: &NewSchedule) -> Result<()> {
        check_name("schedule", &new.name)?;
        Schedule::new(&new.cron, &new.zone)?;
        let fault = self.database.fault("keeping a schedule");
        let mut turn = self.turn().await?;
        if !turn.pipelines().await?.contains_key(&new.pipeline) {
            return Err(Error::asked(
                ErrorKind::NotFound,
                format!("there is no pipeline {:?}", new.pipeline.chars().take(64).collect::<String>()),
                "define it first",
            ));
        }
        self.query("DELETE FROM jobs_schedule WHERE name = ?")
            .bind(new.name.clone())
            .execute(&mut *turn.transaction)
            .await
            .map_err(&fault)?;
        self.query(
            "INSERT INTO jobs_schedule (name, pipeline, parameters, cron, zone, missed, paused, after_ms, asked_by,
                created_ms) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
        )
        .bind(new.name.clone())
        .bind(new.pipeline.clone())
        .bind(Value::Object(new.parameters.clone()).to_string())
        .bind(new.cron.clone())
        .bind(new.zone.clone())
        .bind(new.missed.code())
        .bind(turn.now_ms)
        .bind(new.asked_by.clone())
        .bind(turn.now_ms)
        .execute(&mut *turn.transaction)
        .await
        .map_err(&fault)?;
        turn.commit().await
    }

    /// Forgets a schedule; what it fired stays.
    ///
    /// # Errors
    /// An unknown schedule, a database that does not answer.
    pub async fn unschedule(&self, name: &str) -> Result<()> {
        let mut turn = self.turn().await?;
        let done = self
            .query("DELETE FROM jobs_schedule WHERE name = ?")
            .bind(name.to_owned())
            .execute(&mut *turn.transaction)
            .await
            .map_err(self.database.fault("forgetting a schedule"))?;
        if done.rows_affected() == 0 {
            return Err(no_schedule(name));
        }
        turn.commit().await
    }

    /// Lets a schedule rest, or go on from now.
    ///
    /// # Errors
    /// An unknown schedule, a database that does not answer.
    pub async fn pause(&self, name: &str, paused: bool) -> Result<()> {
        let mut turn = self.turn().await?;
        let done = self
            .query("UPDATE jobs_schedule SET paused = ?, after_ms = ? WHERE name = ?")
            .bind(i64::from(paused))
            .bind(turn.now_ms)
            .bind(name.to_owned())
            .execute(&mut *turn.transaction)
            .await
            .map_err(self.database.fault("pausing a schedule"))?;
        if done.rows_affected() == 0 {
            return Err(no_schedule(name));
        }
        turn.commit().await
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn schedules(&self) -> Result<Vec<ScheduleRecord>> {
        let fault = self.database.fault("reading schedules");
        let rows = self
            .query_of(format!("{SCHEDULE} ORDER BY s.name"))
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let mut record = self.schedule_of(&row)?;
            let fired = self
                .query("SELECT fire_ms FROM jobs_firing WHERE schedule = ? AND run = ?")
                .bind(record.name.clone())
                .bind(record.last_run)
                .fetch_optional(self.database.pool())
                .await
                .map_err(&fault)?;
            if let Some(row) = fired {
                record.last_ms = row.try_get("fire_ms").map_err(&fault)?;
            }
            out.push(record);
        }
        Ok(out)
    }

    /// Fires what is due and gives the runs asked for. Workers call it; to call it more often does no harm.
    ///
    /// Of several times that passed since it was last called, the newest fires, if the schedule wants missed ones made up
    /// for or if it is not a minute old. While a run of the schedule waits to begin, it does not fire: more of them would
    /// only pile up.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn fire_due(&self) -> Result<Vec<i64>> {
        let fault = self.database.fault("firing schedules");
        let rows = self
            .query_of(format!("{SCHEDULE} WHERE s.paused = 0"))
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        let now_ms = self.database.now_ms();
        let mut fired = Vec::new();
        for row in rows {
            let record = self.schedule_of(&row)?;
            let Ok(schedule) = Schedule::new(&record.cron, &record.zone) else {
                tracing::error!(schedule = record.name, "a schedule cannot be read and does not fire");
                continue;
            };
            let is_due = record.next_ms > 0 && record.next_ms <= now_ms;
            if !is_due && now_ms >= record.after_ms - LATE_MS {
                continue;
            }
            let mut turn = self.turn().await?;
            if let Some(run) = turn.fire(&record.name, &schedule).await? {
                fired.push(run);
            }
            turn.commit().await?;
        }
        Ok(fired)
    }

    fn schedule_of(&self, row: &AnyRow) -> Result<ScheduleRecord> {
        let fault = self.database.fault("reading a schedule");
        let name: String = row.try_get("name").map_err(&fault)?;
        let broken = || self.database.content(format!("schedule {name} cannot be read"));
        let parameters: String = row.try_get("parameters").map_err(&fault)?;
        let missed: String = row.try_get("missed").map_err(&fault)?;
        let cron: String = row.try_get("cron").map_err(&fault)?;
        let zone: String = row.try_get("zone").map_err(&fault)?;
        let after_ms: i64 = row.try_get("after_ms").map_err(&fault)?;
        let paused = row.try_get::<i64, _>("paused").map_err(&fault)? != 0;
        let next =
            Schedule::new(&cron, &zone).ok().filter(|_| !paused).and_then(|schedule| schedule.next(after_ms));
        Ok(ScheduleRecord {
            pipeline: row.try_get("pipeline").map_err(&fault)?,
            parameters: serde_json::from_str(&parameters).map_err(|_| broken())?,
            missed: Missed::of(&missed).ok_or_else(broken)?,
            paused,
            next_ms: next.unwrap_or(0),
            last_ms: 0,
            last_run: row.try_get("last_run").map_err(&fault)?,
            asked_by: row.try_get("asked_by").map_err(&fault)?,
            after_ms,
            cron,
            zone,
            name: name.clone(),
        })
    }
}

impl Turn {
    async fn fire(&mut self, name: &str, schedule: &Schedule) -> Result<Option<i64>> {
        let jobs = self.jobs.clone();
        let fault = jobs.database.fault("firing a schedule");
        // Another worker may have fired it since it was read.
        let row = jobs
            .query_of(format!("{SCHEDULE} WHERE s.paused = 0 AND s.name = ?"))
            .bind(name.to_owned())
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        let Some(row) = row else { return Ok(None) };
        let record = jobs.schedule_of(&row)?;
        let (after_ms, fire_ms) = if self.now_ms < record.after_ms - LATE_MS {
            // The clock was set back: go on from where it stands. What fired in the time taken back has its row.
            tracing::warn!(schedule = name, "the clock was set back");
            (self.now_ms, None)
        } else {
            match schedule.newest(record.after_ms, self.now_ms) {
                None => return Ok(None),
                Some(newest) => (newest, Some(newest)),
            }
        };
        jobs.query("UPDATE jobs_schedule SET after_ms = ? WHERE name = ?")
            .bind(after_ms)
            .bind(name.to_owned())
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        let Some(fire_ms) = fire_ms else { return Ok(None) };
        if record.missed == Missed::Skip && fire_ms < self.now_ms - LATE_MS {
            tracing::warn!(schedule = name, "a firing was missed and is left out");
            return Ok(None);
        }
        let fired = jobs
            .query("SELECT run FROM jobs_firing WHERE schedule = ? AND fire_ms = ?")
            .bind(name.to_owned())
            .bind(fire_ms)
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        let waiting = jobs
            .query(
                "SELECT r.id FROM jobs_firing f JOIN jobs_run r ON r.id = f.run
                 WHERE f.schedule = ? AND r.state = 'queued' LIMIT 1",
            )
            .bind(name.to_owned())
            .fetch_optional(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        if fired.is_some() || waiting.is_some() {
            return Ok(None);
        }
        let order = NewRun {
            pipeline: record.pipeline.clone(),
            parameters: record.parameters.clone(),
            asked_by: format!("schedule {name}"),
            reason: format!("{} in {}", record.cron, record.zone),
            once: format!("schedule:{name}:{fire_ms}"),
            ..NewRun::default()
        };
        let run = self.enqueue(&order, 0, |_| Begin::Queued { fresh: false }).await?;
        jobs.query("INSERT INTO jobs_firing (schedule, fire_ms, run) VALUES (?, ?, ?)")
            .bind(name.to_owned())
            .bind(fire_ms)
            .bind(run)
            .execute(&mut *self.transaction)
            .await
            .map_err(&fault)?;
        Ok(Some(run))
    }
}

fn no_schedule(name: &str) -> Error {
    let shown: String = name.chars().take(super::NAME_MAX).collect();
    Error::asked(ErrorKind::NotFound, format!("there is no schedule {shown:?}"), "see which there are")
}
