//! Experiments kept in the state: drafted, started, watched, stopped, decided, with a history that is only added to.

use super::assign::{Assigner, StoredArms, StoredLayer};
use super::bandit::weights;
use super::definition::check_name;
use super::steps::Action;
use super::{Advice, Definition, Method, Observed, READING_FORMAT, Reading, read};
use crate::error::{Error, Result};
use crate::registry::{Change, Listed, Page, Reference};
use crate::registry::{breathe, end, gave_way, select, shown, statement};
use crate::state::{Database, Migration};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::AnyConnection;
use std::str::FromStr;
use tradewind_core::{ErrorKind, Run};

/// The tables of experiments.
pub(crate) const MIGRATION: Migration = Migration {
    name: "experiments",
    statements: &[
        // `decision` is the arm that was taken, or empty. `arms` holds salt and slots of the arms, from the start on.
        "CREATE TABLE IF NOT EXISTS experiments (
            name {key} NOT NULL PRIMARY KEY,
            state {key} NOT NULL,
            layer {key} NOT NULL,
            revision BIGINT NOT NULL,
            looks BIGINT NOT NULL,
            definition {text} NOT NULL,
            arms {text} NOT NULL,
            decision {key} NOT NULL,
            created_ms BIGINT NOT NULL,
            started_ms BIGINT NOT NULL,
            stopped_ms BIGINT NOT NULL
        )",
        "CREATE TABLE IF NOT EXISTS experiment_layers (
            layer {key} NOT NULL PRIMARY KEY,
            revision BIGINT NOT NULL,
            stored {text} NOT NULL
        )",
        // Only added to.
        "CREATE TABLE IF NOT EXISTS experiment_history (
            name {key} NOT NULL,
            revision BIGINT NOT NULL,
            step {key} NOT NULL,
            detail {text} NOT NULL,
            actor {key} NOT NULL,
            role {key} NOT NULL,
            approval {text} NOT NULL,
            reason {text} NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (name, revision)
        )",
        "CREATE TABLE IF NOT EXISTS experiment_looks (
            name {key} NOT NULL,
            look BIGINT NOT NULL,
            blocked BIGINT NOT NULL,
            observed {text} NOT NULL,
            reading {text} NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (name, look)
        )",
    ],
};

/// Looks of one experiment that are kept; older ones go, their p-values being carried on.
const LOOKS_MAX: i64 = 1_000;
pub(super) const ATTEMPTS_MAX: u32 = 8;
/// Who stops an experiment whose guard is broken.
const GUARD: &str = "system:guard";

/// Where an experiment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It may still be changed; nobody is in it.
    Draft,
    /// Users are dealt to its arms.
    Running,
    /// Nobody is in it any more; it may still be read.
    Stopped,
    /// What became of it is settled.
    Decided,
}

impl State {
    /// The word in the state and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Decided => "decided",
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Draft, Self::Running, Self::Stopped, Self::Decided]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| format!("no experiment is `{}`", shown(text)))
    }
}

/// An experiment as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// What it is. The exposure and, of a bandit, the weights are those of now.
    pub definition: Definition,
    /// Where it stands.
    pub state: State,
    /// How often it was changed.
    pub revision: u64,
    /// How often it was read.
    pub looks: u64,
    /// The arm that was taken, once it is decided for one.
    pub decision: Option<String>,
    /// When it was drafted, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was started.
    pub started_ms: Option<i64>,
    /// When it was stopped.
    pub stopped_ms: Option<i64>,
}

/// A line of an experiment's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its place: 1, 2, … without holes.
    pub revision: u64,
    /// What was done: `draft`, `revise`, `start`, `ramp`, `weigh`, `stop`, `decide`.
    pub step: String,
    /// What came of it: the definition, the exposure, the weights, the arm.
    pub detail: serde_json::Value,
    /// Who and why.
    pub change: Change,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A reading that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptLook {
    /// Its place: 1, 2, …
    pub look: u64,
    /// What it said.
    pub reading: Reading,
    /// What was seen.
    pub observed: Observed,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// The experiments in a database. Clones share the connections.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use tradewind_ops::experiment::{Definition, Experiments, MetricKind};
/// use tradewind_ops::registry::Change;
/// use tradewind_ops::{Clock, Database};
/// let database = Database::open("sqlite::memory:", Clock::system()).await.unwrap();
/// let experiments = Experiments::open(database);
/// let plan = Definition::ab("form", "control", "short", "buys", MetricKind::Conversion);
/// experiments.draft(&plan, &Change::new("ann", "fewer fields")).await.unwrap();
/// experiments.start("form", None, &Change::new("ann", "approved")).await.unwrap();
/// let assigner = experiments.assigner().await.unwrap();
/// assert_eq!(assigner.assign("user 1")[0].experiment.name, "form");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Experiments {
    pub(super) database: Database,
}

type Row = (String, i64, i64, String, String, String, i64, i64, i64);

const COLUMNS: &str =
    "SELECT state, revision, looks, definition, arms, decision, created_ms, started_ms, stopped_ms
     FROM experiments WHERE name = ?";

impl Experiments {
    /// The experiments in a database.
    pub fn open(database: Database) -> Self {
        Self { database }
    }

    /// Keeps a new experiment that nobody is in yet.
    ///
    /// # Errors
    /// A definition outside its range, a name that is taken.
    pub async fn draft(&self, definition: &Definition, change: &Change) -> Result<Experiment> {
        definition.check()?;
        change.check()?;
        let text = written(definition)?;
        self.again("drafting an experiment", |mut transaction| {
            let (text, layer) = (text.clone(), definition.layer.clone());
            async move {
                let done = async {
                    let now = self.database.now_ms();
                    let added = statement(
                        &self.database,
                        "INSERT INTO experiments (name, state, layer, revision, looks, definition, arms, decision,
                         created_ms, started_ms, stopped_ms) VALUES (?, 'draft', ?, 1, 0, ?, '', '', ?, 0, 0)",
                    )
                    .bind(definition.name.clone())
                    .bind(layer)
                    .bind(text.clone())
                    .bind(now)
                    .execute(&mut *transaction)
                    .await;
                    match added {
                        Err(e) if e.as_database_error().is_some_and(|e| e.is_unique_violation()) => {
                            return Err(Error::asked(
                                ErrorKind::Conflict,
                                format!("there is an experiment {} already", definition.name),
                                "take another name: experiments are kept with their history",
                            ));
                        }
                        added => added.map_err(self.database.fault("drafting an experiment"))?,
                    };
                    self.note(&mut transaction, &definition.name, 1, "draft", &text, change).await
                }
                .await;
                (transaction, done)
            }
        })
        .await?;
        self.get(&definition.name).await
    }

    /// Changes a draft.
    ///
    /// # Errors
    /// As [`Experiments::draft`]; another name; one that has begun; another revision than expected.
    pub async fn revise(
        &self,
        definition: &Definition,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Experiment> {
        definition.check()?;
        self.change(&definition.name, expect, change, Action::Revise(definition)).await
    }

    /// Deals users to the arms from now on.
    ///
    /// # Errors
    /// No draft of this name; versions that are not there or archived; too little room in the layer; another revision
    /// than expected.
    pub async fn start(&self, name: &str, expect: Option<u64>, change: &Change) -> Result<Experiment> {
        self.change(name, expect, change, Action::Start).await
    }

    /// Changes the share of the layer's users (hundredths of a percent); who is in stays while it grows.
    ///
    /// # Errors
    /// No running experiment of this name; too little room in the layer; another revision than expected.
    pub async fn ramp(
        &self,
        name: &str,
        exposure: u32,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Experiment> {
        self.change(name, expect, change, Action::Ramp(exposure)).await
    }

    /// Deals nobody to it any more; its slots are free.
    ///
    /// # Errors
    /// No running experiment of this name; another revision than expected.
    pub async fn stop(&self, name: &str, expect: Option<u64>, change: &Change) -> Result<Experiment> {
        self.change(name, expect, change, Action::Stop).await
    }

    /// Settles what became of a stopped experiment: an arm that is taken, or none.
    ///
    /// # Errors
    /// No stopped experiment of this name; no such arm; another revision than expected.
    pub async fn decide(
        &self,
        name: &str,
        arm: Option<&str>,
        expect: Option<u64>,
        change: &Change,
    ) -> Result<Experiment> {
        self.change(name, expect, change, Action::Decide(arm)).await
    }

    /// Reads an experiment with what was seen until now, and keeps the reading. A broken guard stops it, a bandit's arms
    /// get their new shares.
    ///
    /// # Errors
    /// A draft; figures that are not the experiment's.
    pub async fn look(&self, run: &Run, name: &str, observed: &Observed) -> Result<KeptLook> {
        let experiment = self.get(name).await?;
        if experiment.state == State::Draft {
            return Err(self.not_in(name, State::Draft, "start it first"));
        }
        let definition = &experiment.definition;
        let before = self.last_reading(name).await?;
        let reading = read(run, definition, observed, before.as_ref())?;
        let look = self.keep(name, observed, &reading).await?;
        if experiment.state == State::Running {
            if let Advice::Stop { arm, metric } = &reading.advice {
                let reason = format!("the guard {metric} is broken by {arm}");
                match self.stop(name, None, &Change::new(GUARD, reason)).await {
                    // Somebody was quicker.
                    Err(Error::Asked { kind: ErrorKind::Conflict, .. }) => {}
                    stopped => drop(stopped?),
                }
            } else if let Method::Bandit(_) = definition.method {
                let shares: Vec<f64> = reading.chances.iter().map(|c| c.chance.share).collect();
                let weights = weights(&shares);
                let same = definition.arms.iter().map(|a| a.weight).eq(weights.iter().copied());
                if !same && !weights.is_empty() {
                    let change = Change::new("system:bandit", "shares follow the chances of being best");
                    self.change(name, Some(experiment.revision), &change, Action::Weigh(&weights)).await?;
                }
            }
        }
        Ok(look)
    }

    /// An experiment.
    ///
    /// # Errors
    /// None of this name.
    pub async fn get(&self, name: &str) -> Result<Experiment> {
        check_name("experiment", name)?;
        let mut connection =
            self.database.pool().acquire().await.map_err(self.database.fault("reading an experiment"))?;
        Ok(self.stands(&mut connection, name).await?.0)
    }

    /// Experiments by name, of one state if it is given.
    ///
    /// # Errors
    /// A limit outside its range.
    pub async fn list(&self, state: Option<State>, page: &Page) -> Result<Listed<Experiment>> {
        let limit = page.limit()?;
        let after = page.after.clone().unwrap_or_default();
        let names: Vec<(String,)> = select(
            &self.database,
            "SELECT name FROM experiments WHERE name > ? AND (state = ? OR ? = '') ORDER BY name LIMIT ?",
        )
        .bind(after)
        .bind(state.map_or("", State::name))
        .bind(state.map_or("", State::name))
        .bind(limit + 1)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("listing experiments"))?;
        let mut out = Vec::with_capacity(names.len());
        for (name,) in names {
            out.push(self.get(&name).await?);
        }
        Ok(Listed::cut(out, limit, |e| e.definition.name.clone()))
    }

    /// What was done with an experiment, the last first.
    ///
    /// # Errors
    /// A limit or place outside its range.
    pub async fn history(&self, name: &str, page: &Page) -> Result<Listed<Step>> {
        check_name("experiment", name)?;
        let (limit, after) = (page.limit()?, page.after_number(i64::MAX)?);
        type Line = (i64, String, String, String, String, String, String, i64);
        let rows: Vec<Line> = select(
            &self.database,
            "SELECT revision, step, detail, actor, role, approval, reason, at_ms FROM experiment_history
             WHERE name = ? AND revision < ? ORDER BY revision DESC LIMIT ?",
        )
        .bind(name.to_owned())
        .bind(after)
        .bind(limit + 1)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading the history of an experiment"))?;
        let mut lines = Vec::with_capacity(rows.len());
        for (revision, step, detail, actor, role, approval, reason, at_ms) in rows {
            let detail = self.parse(&detail, name)?;
            let change = Change { actor, role, approval, reason };
            lines.push(Step { revision: revision as u64, step, detail, change, at_ms });
        }
        Ok(Listed::cut(lines, limit, |line| line.revision.to_string()))
    }

    /// The readings that are kept, the last first.
    ///
    /// # Errors
    /// A limit or place outside its range.
    pub async fn looks(&self, name: &str, page: &Page) -> Result<Listed<KeptLook>> {
        check_name("experiment", name)?;
        let (limit, after) = (page.limit()?, page.after_number(i64::MAX)?);
        let rows: Vec<(i64, String, String, i64)> = select(
            &self.database,
            "SELECT look, observed, reading, at_ms FROM experiment_looks
             WHERE name = ? AND look < ? ORDER BY look DESC LIMIT ?",
        )
        .bind(name.to_owned())
        .bind(after)
        .bind(limit + 1)
        .fetch_all(self.database.pool())
        .await
        .map_err(self.database.fault("reading the looks at an experiment"))?;
        let mut looks = Vec::with_capacity(rows.len());
        for (look, observed, reading, at_ms) in rows {
            let (observed, reading) = (self.parse(&observed, name)?, self.reading(&reading, name)?);
            looks.push(KeptLook { look: look as u64, observed, reading, at_ms });
        }
        Ok(Listed::cut(looks, limit, |l| l.look.to_string()))
    }

    /// Who deals users to the arms of all running experiments now.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn assigner(&self) -> Result<Assigner> {
        let fault = self.database.fault("reading the layers of experiments");
        // One picture of all tables, not one before and one after a change.
        let mut transaction = self.database.begin().await?;
        let layers: Vec<(String, String)> =
            select(&self.database, "SELECT layer, stored FROM experiment_layers ORDER BY layer")
                .fetch_all(&mut *transaction)
                .await
                .map_err(&fault)?;
        let rows: Vec<(String, String, String)> = select(
            &self.database,
            "SELECT name, definition, arms FROM experiments WHERE state = 'running' ORDER BY name",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(&fault)?;
        transaction.rollback().await.map_err(&fault)?;
        let mut running = Vec::with_capacity(rows.len());
        for (name, definition, arms) in rows {
            let (definition, arms): (Definition, StoredArms) =
                (self.parse(&definition, &name)?, self.parse(&arms, &name)?);
            if !arms.is_whole(&definition) {
                return Err(self
                    .database
                    .content(format!("the arms of the experiment {name} are not dealt once each")));
            }
            running.push((definition, arms));
        }
        let mut out = Vec::with_capacity(layers.len());
        for (layer, stored) in layers {
            let stored: StoredLayer = self.parse(&stored, &layer)?;
            if !stored.is_whole() {
                return Err(self
                    .database
                    .content(format!("the slots of the layer {layer} are not dealt once each")));
            }
            let (own, others) = running.into_iter().partition(|(d, _)| d.layer == layer);
            running = others;
            out.push((layer, stored, own));
        }
        Ok(Assigner::new(out))
    }

    async fn last_reading(&self, name: &str) -> Result<Option<Reading>> {
        let row: Option<(String,)> = select(
            &self.database,
            "SELECT reading FROM experiment_looks WHERE name = ? AND blocked = 0 ORDER BY look DESC LIMIT 1",
        )
        .bind(name.to_owned())
        .fetch_optional(self.database.pool())
        .await
        .map_err(self.database.fault("reading the looks at an experiment"))?;
        row.map(|(text,)| self.reading(&text, name)).transpose()
    }

    async fn keep(&self, name: &str, observed: &Observed, reading: &Reading) -> Result<KeptLook> {
        let (seen, said) = (written(observed)?, written(reading)?);
        let at_ms = self.database.now_ms();
        let blocked = i64::from(reading.blocked);
        let look = self
            .again("keeping a look", |mut transaction| {
                let (seen, said) = (seen.clone(), said.clone());
                async move {
                    let done = async {
                        let fault = self.database.fault("keeping a look");
                        statement(&self.database, "UPDATE experiments SET looks = looks + 1 WHERE name = ?")
                            .bind(name.to_owned())
                            .execute(&mut *transaction)
                            .await
                            .map_err(&fault)?;
                        let (look,): (i64,) =
                            select(&self.database, "SELECT looks FROM experiments WHERE name = ?")
                                .bind(name.to_owned())
                                .fetch_one(&mut *transaction)
                                .await
                                .map_err(&fault)?;
                        statement(
                            &self.database,
                            "INSERT INTO experiment_looks (name, look, blocked, observed, reading, at_ms)
                             VALUES (?, ?, ?, ?, ?, ?)",
                        )
                        .bind(name.to_owned())
                        .bind(look)
                        .bind(blocked)
                        .bind(seen)
                        .bind(said)
                        .bind(at_ms)
                        .execute(&mut *transaction)
                        .await
                        .map_err(&fault)?;
                        statement(
                            &self.database,
                            "DELETE FROM experiment_looks WHERE name = ? AND look <= ?",
                        )
                        .bind(name.to_owned())
                        .bind(look - LOOKS_MAX)
                        .execute(&mut *transaction)
                        .await
                        .map_err(&fault)?;
                        Ok(look)
                    }
                    .await;
                    (transaction, done)
                }
            })
            .await?;
        Ok(KeptLook { look: look as u64, reading: reading.clone(), observed: observed.clone(), at_ms })
    }

    /// Runs a transaction again while the database gives it up for another.
    async fn again<T, F>(
        &self,
        action: &'static str,
        work: impl Fn(sqlx::Transaction<'static, sqlx::Any>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = (sqlx::Transaction<'static, sqlx::Any>, Result<T>)>,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (transaction, done) = work(self.database.begin().await?).await;
            match end(&self.database, transaction, done, action).await {
                Err(e) if gave_way(&e) && attempt < ATTEMPTS_MAX => breathe(attempt).await?,
                done => return done,
            }
        }
    }

    pub(super) async fn stands(
        &self,
        connection: &mut AnyConnection,
        name: &str,
    ) -> Result<(Experiment, Option<StoredArms>)> {
        let row: Option<Row> = select(&self.database, COLUMNS)
            .bind(name.to_owned())
            .fetch_optional(connection)
            .await
            .map_err(self.database.fault("reading an experiment"))?;
        let Some((state, revision, looks, definition, arms, decision, created_ms, started_ms, stopped_ms)) =
            row
        else {
            return Err(Error::asked(
                ErrorKind::NotFound,
                format!("there is no experiment {}", shown(name)),
                "the list of experiments shows which there are",
            ));
        };
        let arms = if arms.is_empty() { None } else { Some(self.parse(&arms, name)?) };
        let experiment = Experiment {
            definition: self.parse(&definition, name)?,
            state: state.parse().map_err(|e: String| self.database.content(e))?,
            revision: revision as u64,
            looks: looks as u64,
            decision: Some(decision).filter(|d| !d.is_empty()),
            created_ms,
            started_ms: Some(started_ms).filter(|ms| *ms != 0),
            stopped_ms: Some(stopped_ms).filter(|ms| *ms != 0),
        };
        Ok((experiment, arms))
    }

    pub(super) async fn note(
        &self,
        connection: &mut AnyConnection,
        name: &str,
        revision: i64,
        step: &str,
        detail: &str,
        change: &Change,
    ) -> Result<()> {
        statement(
            &self.database,
            "INSERT INTO experiment_history (name, revision, step, detail, actor, role, approval, reason, at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(name.to_owned())
        .bind(revision)
        .bind(step.to_owned())
        .bind(detail.to_owned())
        .bind(change.actor.clone())
        .bind(change.role.clone())
        .bind(change.approval.clone())
        .bind(change.reason.clone())
        .bind(self.database.now_ms())
        .execute(connection)
        .await
        .map_err(self.database.fault("noting what was done with an experiment"))?;
        Ok(())
    }

    fn reading(&self, text: &str, name: &str) -> Result<Reading> {
        let reading: Reading = self.parse(text, name)?;
        if reading.format > READING_FORMAT {
            return Err(self
                .database
                .content(format!("a look at {name} has format {}; update tradewind", reading.format)));
        }
        Ok(reading)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, text: &str, name: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| {
            self.database.content(format!("what is kept of {} cannot be read: {e}", shown(name)))
        })
    }

    pub(super) fn not_in(&self, name: &str, state: State, remedy: &str) -> Error {
        Error::asked(ErrorKind::Conflict, format!("the experiment {name} is {}", state.name()), remedy)
    }
}

/// A running experiment that names this very version or alias.
pub(crate) async fn running_that_names(
    database: &Database,
    connection: &mut AnyConnection,
    reference: &Reference,
) -> Result<Option<String>> {
    let rows: Vec<(String, String)> =
        select(database, "SELECT name, definition FROM experiments WHERE state = 'running' ORDER BY name")
            .fetch_all(connection)
            .await
            .map_err(database.fault("reading experiments"))?;
    for (name, text) in rows {
        let definition: Definition = serde_json::from_str(&text)
            .map_err(|e| database.content(format!("the experiment {name} cannot be read: {e}")))?;
        let named = definition.arms.iter().filter_map(|a| a.reference.as_ref());
        if named.chain(definition.shadows.iter().map(|s| &s.reference)).any(|r| r == reference) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

pub(super) fn written<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| {
        Error::asked(ErrorKind::Internal, format!("an experiment is no JSON: {e}"), "report this as a bug")
    })
}
