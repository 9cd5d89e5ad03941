//! Runs, steps, attempts and lines as they are shown.

use super::work::Level;
use super::{Fingerprint, Pipeline};
use crate::error::Result;
use crate::state::Database;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;
use std::fmt;

/// How far a run or a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits.
    Queued,
    /// It is under way.
    Running,
    /// It was done.
    Succeeded,
    /// It was given up.
    Failed,
    /// Someone stopped it.
    Cancelled,
    /// An equal earlier success took its place; a run: that of all its steps.
    Cached,
    /// It was not asked for, or a step before it did not succeed.
    Skipped,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Cached,
        Self::Skipped,
    ];

    /// The stable word for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Cached => "cached",
            Self::Skipped => "skipped",
        }
    }

    /// The state of this word.
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether it will not change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether its results can be used.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A run of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRun {
    /// Its number, counted up over all pipelines.
    pub id: i64,
    /// The definition it began with.
    pub pipeline: Pipeline,
    /// What it was handed.
    pub parameters: Map<String, Value>,
    /// What its random numbers come from.
    pub seed: i64,
    /// Higher ones are taken first.
    pub priority: i64,
    /// How far it is.
    pub state: State,
    /// Who or what asked for it.
    pub asked_by: String,
    /// Why, in words.
    pub reason: String,
    /// The run that this one repeats a part of; 0: none.
    pub origin: i64,
    /// Whether it was asked to stop.
    pub cancel: bool,
    /// Why it failed, of the first step that did; else empty.
    pub error: String,
    /// When it was asked for, in milliseconds since 1970.
    pub created_ms: i64,
    /// When its first step began; 0: not yet.
    pub started_ms: i64,
    /// When its last step ended; 0: not yet.
    pub finished_ms: i64,
    /// The number of its newest change, see [`super::Jobs::changes`].
    pub seq: i64,
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRun {
    /// The run.
    pub run: i64,
    /// The step's name.
    pub step: String,
    /// How far it is.
    pub state: State,
    /// Attempts begun.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that ended with their worker.
    pub losses: u32,
    /// Whether it is done even if an equal success is known.
    pub fresh: bool,
    /// The worker that has it, or had it last; empty: none.
    pub worker: String,
    /// The fingerprint of all that decides its result; empty until known.
    pub cache_key: String,
    /// The fingerprint of its result; empty until it succeeded.
    pub output: String,
    /// Its small result.
    pub data: Value,
    /// The folder of its files, beneath that of all results; empty: none.
    pub folder: String,
    /// The run whose result it took from the cache; 0: none.
    pub taken_from: i64,
    /// Why it failed, the newest attempt's text; else empty.
    pub error: String,
    /// Units done.
    pub done: i64,
    /// Units in all; 0: unknown.
    pub total: i64,
    /// What it is at.
    pub message: String,
    /// When its newest attempt began, in milliseconds since 1970; 0: not yet.
    pub started_ms: i64,
    /// When it ended; 0: not yet.
    pub finished_ms: i64,
    /// The number of its newest change.
    pub seq: i64,
    #[serde(skip)]
    pub(crate) fence: i64,
    #[serde(skip)]
    pub(crate) wait_ms: i64,
    #[serde(skip)]
    pub(crate) due_ms: i64,
    #[serde(skip)]
    pub(crate) files: String,
}

/// One attempt at a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// Which one; the first is 1.
    pub attempt: u32,
    /// The worker.
    pub worker: String,
    /// How it ended: a state's code, or `lost` if its worker went away; empty: it has not.
    pub ending: String,
    /// Why it failed.
    pub error: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended; 0: not yet.
    pub finished_ms: i64,
}

/// A line of a step's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its number within the step, from 1; older ones may be gone.
    pub line: i64,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub text: String,
}

pub(super) const RUN: &str = "id, pipeline, definition, parameters, seed, urgency, state, asked_by, reason, origin, \
    cancel, error, created_ms, started_ms, finished_ms, seq";

pub(super) const STEP: &str = "run, step, state, attempt, failures, losses, fresh, wait_ms, due_ms, fence, owner, \
    cache_key, output, data, folder, files, taken_from, error, done, total, message, started_ms, finished_ms, seq";

pub(super) fn run(database: &Database, row: &AnyRow) -> Result<JobRun> {
    let fault = database.fault("reading a run");
    let id: i64 = row.try_get("id").map_err(&fault)?;
    let broken = |what: &str| database.content(format!("the {what} of run {id} cannot be read"));
    let definition: String = row.try_get("definition").map_err(&fault)?;
    let parameters: String = row.try_get("parameters").map_err(&fault)?;
    let state: String = row.try_get("state").map_err(&fault)?;
    Ok(JobRun {
        id,
        pipeline: serde_json::from_str(&definition).map_err(|_| broken("definition"))?,
        parameters: serde_json::from_str(&parameters).map_err(|_| broken("parameters"))?,
        seed: row.try_get("seed").map_err(&fault)?,
        priority: -row.try_get::<i64, _>("urgency").map_err(&fault)?,
        state: State::of(&state).ok_or_else(|| broken("state"))?,
        asked_by: row.try_get("asked_by").map_err(&fault)?,
        reason: row.try_get("reason").map_err(&fault)?,
        origin: row.try_get("origin").map_err(&fault)?,
        cancel: row.try_get::<i64, _>("cancel").map_err(&fault)? != 0,
        error: row.try_get("error").map_err(&fault)?,
        created_ms: row.try_get("created_ms").map_err(&fault)?,
        started_ms: row.try_get("started_ms").map_err(&fault)?,
        finished_ms: row.try_get("finished_ms").map_err(&fault)?,
        seq: row.try_get("seq").map_err(&fault)?,
    })
}

pub(super) fn step(database: &Database, row: &AnyRow) -> Result<StepRun> {
    let fault = database.fault("reading a step");
    let run: i64 = row.try_get("run").map_err(&fault)?;
    let step: String = row.try_get("step").map_err(&fault)?;
    let state: String = row.try_get("state").map_err(&fault)?;
    let data: String = row.try_get("data").map_err(&fault)?;
    let broken =
        |what: &str| database.content(format!("the {what} of step {step} of run {run} cannot be read"));
    let count = |name: &str| -> Result<u32> {
        let value: i64 = row.try_get(name).map_err(&fault)?;
        u32::try_from(value).map_err(|_| broken(name))
    };
    Ok(StepRun {
        run,
        state: State::of(&state).ok_or_else(|| broken("state"))?,
        attempt: count("attempt")?,
        failures: count("failures")?,
        losses: count("losses")?,
        fresh: row.try_get::<i64, _>("fresh").map_err(&fault)? != 0,
        worker: row.try_get("owner").map_err(&fault)?,
        cache_key: row.try_get("cache_key").map_err(&fault)?,
        output: row.try_get("output").map_err(&fault)?,
        data: if data.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&data).map_err(|_| broken("result"))?
        },
        folder: row.try_get("folder").map_err(&fault)?,
        taken_from: row.try_get("taken_from").map_err(&fault)?,
        error: row.try_get("error").map_err(&fault)?,
        done: row.try_get("done").map_err(&fault)?,
        total: row.try_get("total").map_err(&fault)?,
        message: row.try_get("message").map_err(&fault)?,
        started_ms: row.try_get("started_ms").map_err(&fault)?,
        finished_ms: row.try_get("finished_ms").map_err(&fault)?,
        seq: row.try_get("seq").map_err(&fault)?,
        fence: row.try_get("fence").map_err(&fault)?,
        wait_ms: row.try_get("wait_ms").map_err(&fault)?,
        due_ms: row.try_get("due_ms").map_err(&fault)?,
        files: row.try_get("files").map_err(&fault)?,
        step: step.clone(),
    })
}

/// What follows of the states of a run's steps: queued ones that cannot begin any more, and the state of the run once all
/// are final.
pub(super) fn settle(
    pipeline: &Pipeline,
    states: &mut BTreeMap<String, State>,
    cancel: bool,
) -> (Vec<(String, State)>, Option<State>) {
    let mut changed = Vec::new();
    loop {
        let before = changed.len();
        for step in &pipeline.steps {
            if states.get(&step.name) != Some(&State::Queued) {
                continue;
            }
            let hopeless = step
                .after
                .iter()
                .any(|name| states.get(name).is_none_or(|state| state.is_final() && !state.is_success()));
            let to = if cancel {
                State::Cancelled
            } else if hopeless {
                State::Skipped
            } else {
                continue;
            };
            states.insert(step.name.clone(), to);
            changed.push((step.name.clone(), to));
        }
        if changed.len() == before {
            break;
        }
    }
    let any = |state| states.values().any(|&s| s == state);
    let end = if states.values().any(|state| !state.is_final()) {
        None
    } else if any(State::Failed) {
        Some(State::Failed)
    } else if any(State::Cancelled) {
        Some(State::Cancelled)
    } else if any(State::Succeeded) || !any(State::Cached) {
        Some(State::Succeeded)
    } else {
        Some(State::Cached)
    };
    (changed, end)
}

/// The fingerprint of all that decides what a step gives.
pub(super) fn cache_key(
    pipeline: &Pipeline,
    step: &super::Step,
    parameters: &Map<String, Value>,
    seed: i64,
    before: &BTreeMap<String, super::Outputs>,
    inputs: &Fingerprint,
) -> Fingerprint {
    let before: Map<String, Value> =
        before.iter().map(|(name, outputs)| (name.clone(), outputs.fingerprint.as_str().into())).collect();
    Fingerprint::of_json(&serde_json::json!({
        "pipeline": pipeline.name,
        "step": step.name,
        "version": step.version,
        "parameters": parameters,
        "seed": seed,
        "before": before,
        "inputs": inputs.as_str(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;
    use proptest::prelude::*;

    fn diamond() -> Pipeline {
        Pipeline::new(
            "p",
            vec![
                Step::new("a", &[]),
                Step::new("b", &["a"]),
                Step::new("c", &["a"]),
                Step::new("d", &["b", "c"]),
            ],
        )
    }

    fn states(text: &[State]) -> BTreeMap<String, State> {
        ["a", "b", "c", "d"].iter().map(|name| (*name).to_owned()).zip(text.iter().copied()).collect()
    }

    #[test]
    fn a_failed_step_skips_what_follows_and_no_more() {
        use State::{Cached, Failed, Queued, Running, Skipped, Succeeded};
        let mut now = states(&[Succeeded, Failed, Running, Queued]);
        assert_eq!(settle(&diamond(), &mut now, false), (vec![("d".to_owned(), Skipped)], None));
        now.insert("c".into(), Cached);
        assert_eq!(settle(&diamond(), &mut now, false), (vec![], Some(Failed)));
        assert_eq!(settle(&diamond(), &mut states(&[Cached; 4]), false).1, Some(Cached));
        assert_eq!(
            settle(&diamond(), &mut states(&[Cached, Cached, Succeeded, Cached]), false).1,
            Some(Succeeded)
        );
    }

    proptest! {
        #[test]
        fn a_run_ends_exactly_when_nothing_can_begin(codes in proptest::collection::vec(0_usize..7, 4), cancel: bool) {
            let mut now = states(&codes.iter().map(|&i| State::ALL[i]).collect::<Vec<_>>());
            let pipeline = diamond();
            let (_, end) = settle(&pipeline, &mut now, cancel);
            prop_assert_eq!(end.is_none(), now.values().any(|s| !s.is_final()));
            // What is still queued has only predecessors that succeeded or may still.
            for step in &pipeline.steps {
                if now[&step.name] == State::Queued {
                    prop_assert!(!cancel);
                    for name in &step.after {
                        prop_assert!(now[name].is_success() || !now[name].is_final());
                    }
                }
            }
            let again = settle(&pipeline, &mut now, cancel);
            prop_assert_eq!(again, (vec![], end));
        }
    }
}
