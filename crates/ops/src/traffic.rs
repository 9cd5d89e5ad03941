//! Which version answers whom: a split per route, sticky by hashed user.
//!
//! A user's hash, keyed by the salt and the route, falls into one of 10,000 slots, and each slot belongs to an arm.
//! When weights change, an arm that shrinks gives up the slots that it got last, as many as it must, and the arms that
//! grow take them: so a user moves only to an arm that grew, no more users move than must, and a ramp that is taken back
//! puts the same users back. The slots are part of the stored split, so every process assigns alike.
//!
//! ```
//! use tradewind_ops::traffic::{Plan, Split};
//! let plan = Plan::canary("weekly@champion".parse().unwrap(), "weekly@7".parse().unwrap(), 5.0).unwrap();
//! let split = Split::of("trends", &plan, "salt").unwrap();
//! let first = split.assign(Some("user 1"), "request 1");
//! assert_eq!(first.arm.name, split.assign(Some("user 1"), "request 2").arm.name);
//! ```

use crate::error::{Error, Result};
use crate::registry::{Change, Listed, Page, Reference, Select, Version};
use crate::registry::{breathe, end, gave_way, hold, may_answer, random_name, select, shown, statement};
use crate::state::{Database, Migration};
use split::{FORMAT, Stored, next, ramped};
use sqlx::AnyConnection;
use std::collections::BTreeSet;
use tradewind_core::ErrorKind;

pub(crate) mod slots;
mod split;

pub use split::{Arm, Assignment, Plan, Shadow, Split, WHOLE};

/// The tables of splits.
pub(crate) const MIGRATION: Migration = Migration {
    name: "traffic",
    statements: &[
        // `split` is empty where a route has none now; the revision goes on.
        "CREATE TABLE IF NOT EXISTS traffic_routes (
            route {key} NOT NULL PRIMARY KEY,
            revision BIGINT NOT NULL,
            split {text} NOT NULL
        )",
        // Only added to.
        "CREATE TABLE IF NOT EXISTS traffic_history (
            route {key} NOT NULL,
            revision BIGINT NOT NULL,
            split {text} NOT NULL,
            actor {key} NOT NULL,
            role {key} NOT NULL,
            approval {text} NOT NULL,
            reason {text} NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (route, revision)
        )",
    ],
};

const ROUTE_CHARS_MAX: usize = 150;
const ATTEMPTS_MAX: u32 = 8;

/// A line of a route's history.
#[derive(Clone, Debug)]
pub struct SplitChange {
    /// Its place: 1, 2, … within the route, without holes.
    pub revision: u64,
    /// The split from then on; nothing if it was taken away.
    pub split: Option<Split>,
    /// Who and why.
    pub change: Change,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The stored splits of all routes. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Traffic {
    database: Database,
}

type Row = (i64, String, String, String, String, String, i64);

impl Traffic {
    /// The splits in a database.
    pub fn open(database: Database) -> Self {
        Self { database }
    }

    /// The split of a route, if it has one.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn split(&self, route: &str) -> Result<Option<Split>> {
        check_route(route)?;
        let row: Option<(i64, String)> =
            select(&self.database, "SELECT revision, split FROM traffic_routes WHERE route = ?")
                .bind(route.to_owned())
                .fetch_optional(self.database.pool())
                .await
                .map_err(self.database.fault("reading a split"))?;
        match row {
            Some((revision, text)) => self.read(route, revision, &text),
            None => Ok(None),
        }
    }

    /// Every split, by route.
    ///
    /// # Errors
    /// As [`Traffic::split`].
    pub async fn splits(&self) -> Result<Vec<Split>> {
        let rows: Vec<(String, i64, String)> = select(
            &self.database,
            "SELECT route, revision, split FROM traffic_routes WHERE split <> '' ORDER BY route",
        )
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading splits"))?;
        let splits = rows.iter().map(|(route, revision, text)| self.read(route, *revision, text));
        Ok(splits.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Sets the split of a route. `expect` is the revision that must stand, 0 for a route without any.
    ///
    /// # Errors
    /// A plan outside its range, versions or aliases that are not there or archived, another revision than expected.
    pub async fn set(&self, route: &str, plan: &Plan, expect: Option<u64>, change: &Change) -> Result<Split> {
        let split = self.change(route, Step::Plan(plan), expect, change).await?;
        split.ok_or_else(|| self.database.content("a split was set and is not there"))
    }

    /// Changes the weight of one arm (hundredths of a percent); the others share the rest as they share it now.
    ///
    /// # Errors
    /// As [`Traffic::set`]; no split, no such arm, one arm alone.
    pub async fn ramp(
        &self,
        route: &str,
        arm: &str,
        weight: u32,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Split> {
        let now = self.split(route).await?.ok_or_else(|| no_split(route))?;
        let plan = ramped(&now.plan(), arm, weight)?;
        // What stood when the weights were worked out must still stand.
        self.set(route, &plan, Some(expect.unwrap_or(now.revision())), change).await
    }

    /// Puts back the split of an earlier revision, with the same users in the same arms.
    ///
    /// # Errors
    /// As [`Traffic::set`]; no such revision, or one without a split.
    pub async fn roll_back(
        &self,
        route: &str,
        revision: u64,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Split> {
        check_route(route)?;
        let row: Option<(String,)> =
            select(&self.database, "SELECT split FROM traffic_history WHERE route = ? AND revision = ?")
                .bind(route.to_owned())
                .bind(i64::try_from(revision).unwrap_or(i64::MAX))
                .fetch_optional(self.database.pool())
                .await
                .map_err(self.database.fault("reading a split"))?;
        let earlier = match row {
            Some((text,)) => self.read(route, revision as i64, &text)?,
            None => None,
        };
        let Some(earlier) = earlier else {
            return Err(Error::asked(
                ErrorKind::NotFound,
                format!("the route {} had no split at revision {revision}", shown(route)),
                "its history shows which there were",
            ));
        };
        let split = self.change(route, Step::Earlier(earlier.stored()), expect, change).await?;
        split.ok_or_else(|| self.database.content("a split was set and is not there"))
    }

    /// Takes the split of a route away.
    ///
    /// # Errors
    /// No split, another revision than expected.
    pub async fn remove(&self, route: &str, expect: Option<u64>, change: &Change) -> Result<()> {
        self.change(route, Step::Remove, expect, change).await.map(drop)
    }

    /// The history of a route, the last change first.
    ///
    /// # Errors
    /// A limit or place outside its range.
    pub async fn history(&self, route: &str, page: &Page) -> Result<Listed<SplitChange>> {
        check_route(route)?;
        let (limit, after) = (page.limit()?, page.after_number(i64::MAX)?);
        let rows: Vec<Row> = select(
            &self.database,
            "SELECT revision, split, actor, role, approval, reason, at_ms FROM traffic_history
             WHERE route = ? AND revision < ? ORDER BY revision DESC LIMIT ?",
        )
        .bind(route.to_owned())
        .bind(after)
        .bind(limit + 1)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading the history of a split"))?;
        let mut lines = Vec::with_capacity(rows.len());
        for (revision, text, actor, role, approval, reason, at_ms) in rows {
            let split = self.read(route, revision, &text)?;
            let change = Change { actor, role, approval, reason };
            lines.push(SplitChange { revision: revision as u64, split, change, at_ms });
        }
        Ok(Listed::cut(lines, limit, |line| line.revision.to_string()))
    }

    async fn change(
        &self,
        route: &str,
        step: Step<'_>,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Option<Split>> {
        check_route(route)?;
        change.check()?;
        if let Step::Plan(plan) = step {
            plan.check()?;
        }
        self.ensure_route(route).await?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.database.begin().await?;
            let done = self.change_in(&mut transaction, route, step, expect, change).await;
            match end(&self.database, transaction, done, "changing a split").await {
                Err(e) if gave_way(&e) && attempt < ATTEMPTS_MAX => breathe(attempt).await?,
                Ok(split) => {
                    tracing::info!(route, revision = split.as_ref().map(Split::revision), "split");
                    return Ok(split);
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn ensure_route(&self, route: &str) -> Result<()> {
        let fault = self.database.fault("making room for a split");
        let found: Option<(i64,)> =
            select(&self.database, "SELECT revision FROM traffic_routes WHERE route = ?")
                .bind(route.to_owned())
                .fetch_optional(self.database.pool())
                .await
                .map_err(&fault)?;
        if found.is_some() {
            return Ok(());
        }
        let added = statement(
            &self.database,
            "INSERT INTO traffic_routes (route, revision, split) VALUES (?, 0, '')",
        )
        .bind(route.to_owned())
        .execute(self.database.pool())
        .await;
        match added {
            // Somebody else was first.
            Err(e) if e.as_database_error().is_some_and(|e| e.is_unique_violation()) => Ok(()),
            added => added.map(drop).map_err(fault),
        }
    }

    async fn change_in(
        &self,
        connection: &mut AnyConnection,
        route: &str,
        step: Step<'_>,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Option<Split>> {
        let fault = self.database.fault("changing a split");
        statement(&self.database, "UPDATE traffic_routes SET revision = revision + 1 WHERE route = ?")
            .bind(route.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let (revision, text): (i64, String) =
            select(&self.database, "SELECT revision, split FROM traffic_routes WHERE route = ?")
                .bind(route.to_owned())
                .fetch_one(&mut *connection)
                .await
                .map_err(&fault)?;
        let stands = revision - 1;
        if expect.is_some_and(|expect| expect != stands as u64) {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("the split of {route} has revision {stands}, not {}", expect.unwrap_or_default()),
                "somebody else changed it: look at its history and decide again",
            ));
        }
        let now = self.read(route, stands, &text)?;
        let stored = match step {
            Step::Remove if now.is_none() => return Err(no_split(route)),
            Step::Remove => None,
            Step::Earlier(earlier) => Some(earlier.clone()),
            Step::Plan(plan) => {
                let now = now.as_ref().map(Split::stored);
                let salt = match (&plan.salt, now) {
                    (Some(salt), _) => salt.clone(),
                    (None, Some(now)) => now.salt.clone(),
                    (None, None) => random_name()?,
                };
                Some(next(now, plan, salt))
            }
        };
        if let Some(stored) = &stored {
            may_all_answer(&self.database, connection, stored.references()).await?;
        }
        let text = match &stored {
            Some(stored) => serde_json::to_string(stored).map_err(|e| {
                Error::asked(ErrorKind::Internal, format!("a split is no JSON: {e}"), "report this as a bug")
            })?,
            None => String::new(),
        };
        statement(&self.database, "UPDATE traffic_routes SET split = ? WHERE route = ?")
            .bind(text.clone())
            .bind(route.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        statement(
            &self.database,
            "INSERT INTO traffic_history (route, revision, split, actor, role, approval, reason, at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(route.to_owned())
        .bind(revision)
        .bind(text)
        .bind(change.actor.clone())
        .bind(change.role.clone())
        .bind(change.approval.clone())
        .bind(change.reason.clone())
        .bind(self.database.now_ms())
        .execute(connection)
        .await
        .map_err(&fault)?;
        Ok(stored.map(|stored| Split::new(route, revision as u64, stored)))
    }

    fn read(&self, route: &str, revision: i64, text: &str) -> Result<Option<Split>> {
        read(&self.database, route, revision, text)
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Plan(&'a Plan),
    Earlier(&'a Stored),
    Remove,
}

fn read(database: &Database, route: &str, revision: i64, text: &str) -> Result<Option<Split>> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |what: String| database.content(format!("the split of {route} cannot be read: {what}"));
    let stored: Stored = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    if stored.format > FORMAT {
        return Err(wrong(format!("format {}; update tradewind", stored.format)));
    }
    if !stored.is_whole() {
        return Err(wrong("its slots are not dealt once each".to_owned()));
    }
    Ok(Some(Split::new(route, revision as u64, stored)))
}

/// Every version that is named is there and may answer, and stays so until the transaction ends.
pub(crate) async fn may_all_answer(
    database: &Database,
    connection: &mut AnyConnection,
    named: impl Iterator<Item = &Reference>,
) -> Result<()> {
    // In one order for all, so that two changes do not wait for one another.
    let named: BTreeSet<&Reference> = named.collect();
    for reference in named {
        let absent = || crate::registry::absent(reference);
        if !hold(database, connection, reference.model()).await? {
            return Err(absent());
        }
        match reference.select() {
            Select::Number(number) => {
                may_answer(database, connection, reference.model(), *number as i64).await?;
            }
            Select::Alias(alias) => {
                let found: Option<(i64,)> =
                    select(database, "SELECT number FROM registry_aliases WHERE model = ? AND alias = ?")
                        .bind(reference.model().to_owned())
                        .bind(alias.clone())
                        .fetch_optional(&mut *connection)
                        .await
                        .map_err(database.fault("reading an alias"))?;
                found.ok_or_else(absent)?;
            }
            Select::Usual | Select::Latest => {}
        }
    }
    Ok(())
}

/// A route whose split names this version by number.
pub(crate) async fn route_of(
    database: &Database,
    connection: &mut AnyConnection,
    version: &Version,
) -> Result<Option<String>> {
    route_that_names(database, connection, &version.reference()).await
}

/// A route whose split has this very reference.
pub(crate) async fn route_that_names(
    database: &Database,
    connection: &mut AnyConnection,
    reference: &Reference,
) -> Result<Option<String>> {
    let rows: Vec<(String, i64, String)> = select(
        database,
        "SELECT route, revision, split FROM traffic_routes WHERE split <> '' ORDER BY route",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(database.fault("reading splits"))?;
    for (route, revision, text) in rows {
        let Some(split) = read(database, &route, revision, &text)? else { continue };
        if split.references().any(|named| named == reference) {
            return Ok(Some(route));
        }
    }
    let experiment = crate::experiment::running_that_names(database, connection, reference).await?;
    Ok(experiment.map(|name| format!("of the experiment {name}")))
}

fn check_route(route: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '/');
    if !route.is_empty() && route.len() <= ROUTE_CHARS_MAX && route.chars().all(plain) {
        return Ok(());
    }
    Err(wrong(
        format!("`{}` is no name of a route", shown(route)),
        format!("give {ROUTE_CHARS_MAX} characters at most of a-z, 0-9, `_`, `-`, `.` and `/`"),
    ))
}

fn no_split(route: &str) -> Error {
    Error::asked(ErrorKind::NotFound, format!("the route {} has no split", shown(route)), "set one first")
}

fn wrong(text: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::asked(ErrorKind::InvalidParams, text, hint)
}
