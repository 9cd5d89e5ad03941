//! Following what happens: changes by their number, from this process at once, from others by looking.

use super::Jobs;
use super::record::State;
use crate::error::Result;
use serde::Serialize;
use sqlx::Row;
use std::time::Duration;

/// How often changes made by other processes are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Changes given at once, at most; the others come next.
const CHANGES_MAX: i64 = 1_000;

/// The newest state of a run or step that changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its number; later changes have larger ones.
    pub seq: i64,
    /// The run.
    pub run: i64,
    /// The step; empty: the run itself.
    pub step: String,
    /// How far it is.
    pub state: State,
    /// Which attempt, of a step.
    pub attempt: u32,
    /// Units done, of a step.
    pub done: i64,
    /// Units in all; 0: unknown.
    pub total: i64,
    /// What it is at.
    pub message: String,
}

/// A reader of changes, made by [`Jobs::watch`].
#[derive(Debug)]
pub struct Watch {
    jobs: Jobs,
    since: i64,
    run: Option<i64>,
    bell: tokio::sync::watch::Receiver<i64>,
}

impl Jobs {
    /// Follows changes after number `since` (0: all), of one run or of all.
    pub fn watch(&self, since: i64, run: Option<i64>) -> Watch {
        Watch { jobs: self.clone(), since, run, bell: self.bell() }
    }

    /// The number of the newest change.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn newest_change(&self) -> Result<i64> {
        let fault = self.database.fault("reading changes");
        self.query("SELECT value FROM jobs_sequence WHERE name = 'change'")
            .fetch_one(self.database.pool())
            .await
            .and_then(|row| row.try_get("value"))
            .map_err(fault)
    }

    /// What changed after number `since`, oldest change first. A thing that changed several times is there once, as it is
    /// now. Whoever asks again with the number of the last one misses nothing.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn changes(&self, since: i64, run: Option<i64>) -> Result<Vec<Change>> {
        let fault = self.database.fault("reading changes");
        // Up to the newest change that is visible before reading: runs and steps are then of one state.
        let until = self.newest_change().await?;
        if until <= since {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        let mut cut = i64::MAX;
        for (of_run, of_all) in [
            (
                "SELECT seq, id AS run, '' AS step, state, 0 AS attempt, 0 AS done, 0 AS total, '' AS message
                 FROM jobs_run WHERE seq > ? AND seq <= ? AND id = ? ORDER BY seq, id LIMIT ?",
                "SELECT seq, id AS run, '' AS step, state, 0 AS attempt, 0 AS done, 0 AS total, '' AS message
                 FROM jobs_run WHERE seq > ? AND seq <= ? ORDER BY seq, id LIMIT ?",
            ),
            (
                "SELECT seq, run, step, state, attempt, done, total, message
                 FROM jobs_step WHERE seq > ? AND seq <= ? AND run = ? ORDER BY seq, run, step LIMIT ?",
                "SELECT seq, run, step, state, attempt, done, total, message
                 FROM jobs_step WHERE seq > ? AND seq <= ? ORDER BY seq, run, step LIMIT ?",
            ),
        ] {
            let query = match run {
                Some(run) => self.query(of_run).bind(since).bind(until).bind(run),
                None => self.query(of_all).bind(since).bind(until),
            };
            let rows = query.bind(CHANGES_MAX).fetch_all(self.database.pool()).await.map_err(&fault)?;
            for row in &rows {
                let state: String = row.try_get("state").map_err(&fault)?;
                out.push(Change {
                    seq: row.try_get("seq").map_err(&fault)?,
                    run: row.try_get("run").map_err(&fault)?,
                    step: row.try_get("step").map_err(&fault)?,
                    state: State::of(&state)
                        .ok_or_else(|| self.database.content("a state cannot be read"))?,
                    attempt: u32::try_from(row.try_get::<i64, _>("attempt").map_err(&fault)?)
                        .unwrap_or(u32::MAX),
                    done: row.try_get("done").map_err(&fault)?,
                    total: row.try_get("total").map_err(&fault)?,
                    message: row.try_get("message").map_err(&fault)?,
                });
            }
            if rows.len() as i64 == CHANGES_MAX {
                // The last number may have more rows than were read; they come next, with all of that number.
                let last = out.last().map_or(since, |change| change.seq);
                cut = cut.min(last);
            }
        }
        out.sort_by(|a, b| (a.seq, a.run, &a.step).cmp(&(b.seq, b.run, &b.step)));
        if cut < i64::MAX && out.iter().any(|change| change.seq < cut) {
            out.retain(|change| change.seq < cut);
        }
        Ok(out)
    }
}

impl Watch {
    /// The next changes, at least one; waits for them.
    ///
    /// # Errors
    /// A database that does not answer; asking again goes on from the same place.
    pub async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            self.bell.borrow_and_update();
            let changes = self.jobs.changes(self.since, self.run).await?;
            if let Some(last) = changes.last() {
                self.since = last.seq;
                return Ok(changes);
            }
            let _ = tokio::time::timeout(LOOK, self.bell.changed()).await;
        }
    }
}
