//! Doing again: from a step on, one step alone, or a run for each of many dates.

use super::queue::Begin;
use super::read::no_step;
use super::{Jobs, NewRun, State};
use crate::error::{Error, Result};
use chrono::{Days, NaiveDate};
use serde_json::Value;
use std::collections::BTreeMap;
use tradewind_core::ErrorKind;

/// Dates of one backfill at most.
pub const DATES_MAX: usize = 10_000;

/// A part of an earlier run to be done again, as a run of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rerun {
    /// The earlier run; it must have ended.
    pub run: i64,
    /// The step to begin with; empty: all that did not succeed.
    pub from: String,
    /// Only that step, not those that follow it.
    pub only: bool,
    /// Who asks, for the history.
    pub asked_by: String,
    /// Why, in words.
    pub reason: String,
}

/// A run for each of many dates.
#[derive(Clone, Debug, PartialEq)]
pub struct Backfill {
    /// What to run; its parameter `date` is set to each date, as `2026-11-27`.
    pub run: NewRun,
    /// The first date.
    pub from: NaiveDate,
    /// The last date.
    pub to: NaiveDate,
    /// Days from one date to the next, at least 1.
    pub every_days: u32,
    /// The name of the backfill: asked for again under this name, only dates that have no run get one.
    pub name: String,
}

impl Jobs {
    /// Does a part of an earlier run again and gives the number of the new run, which has the earlier one's definition,
    /// parameters and seed. The step asked for and all that follow it run even if equal successes are known; what
    /// succeeded before them is taken over.
    ///
    /// # Errors
    /// An unknown run or step, a run that has not ended, a step alone whose steps before did not succeed, a run in which
    /// everything succeeded if no step is named, a database that does not answer.
    pub async fn rerun(&self, again: &Rerun) -> Result<i64> {
        let mut turn = self.turn().await?;
        let earlier = turn.run(again.run).await?;
        let steps = turn.steps(again.run).await?;
        if !earlier.state.is_final() {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("run {} has not ended: {}", earlier.id, earlier.state),
                "wait for its end or cancel it",
            ));
        }
        let pipeline = &earlier.pipeline;
        let selected = if again.from.is_empty() {
            let mut selected = std::collections::BTreeSet::new();
            for step in steps.iter().filter(|step| !step.state.is_success()) {
                selected.extend(pipeline.from(&step.step));
            }
            if selected.is_empty() {
                return Err(Error::asked(
                    ErrorKind::Conflict,
                    format!("every step of run {} succeeded", earlier.id),
                    "name the step to begin with",
                ));
            }
            selected
        } else {
            let Some(step) = pipeline.step(&again.from) else { return Err(no_step(again.run, &again.from)) };
            if again.only {
                let missing: Vec<&str> = step
                    .after
                    .iter()
                    .filter(|name| !steps.iter().any(|s| s.step == **name && s.state.is_success()))
                    .map(String::as_str)
                    .collect();
                if !missing.is_empty() {
                    return Err(Error::asked(
                        ErrorKind::Conflict,
                        format!("step {} needs the results of {}", again.from, missing.join(", ")),
                        "run again from the first of them",
                    ));
                }
                [again.from.clone()].into()
            } else {
                pipeline.from(&again.from)
            }
        };
        let begins: BTreeMap<String, Begin> = steps
            .into_iter()
            .map(|step| {
                let name = step.step.clone();
                let begin = if selected.contains(&name) {
                    // Without a step named, only what is missing is done: an equal success will do.
                    Begin::Queued { fresh: !again.from.is_empty() }
                } else if step.state.is_success() {
                    Begin::Taken(Box::new(step))
                } else if again.only {
                    Begin::Skipped
                } else {
                    Begin::Queued { fresh: false }
                };
                (name, begin)
            })
            .collect();
        let order = NewRun {
            pipeline: pipeline.name.clone(),
            parameters: earlier.parameters.clone(),
            seed: earlier.seed,
            priority: earlier.priority,
            asked_by: again.asked_by.clone(),
            reason: again.reason.clone(),
            fresh: false,
            once: String::new(),
        };
        let id = turn
            .insert(pipeline, &order, again.run, |name| begins.get(name).cloned().unwrap_or(Begin::Skipped))
            .await?;
        turn.commit().await?;
        Ok(id)
    }

    /// Asks for a run for each date, oldest first, all or none; gives their numbers.
    ///
    /// # Errors
    /// No date or more than [`DATES_MAX`], a wrong name, what [`Jobs::enqueue`] refuses, a database that does not answer.
    pub async fn backfill(&self, backfill: &Backfill) -> Result<Vec<i64>> {
        super::queue::check_name("backfill", &backfill.name)?;
        let dates = backfill.dates()?;
        let mut turn = self.turn().await?;
        let mut out = Vec::with_capacity(dates.len());
        for date in dates {
            let mut order = backfill.run.clone();
            order.parameters.insert("date".to_owned(), Value::String(date.to_string()));
            order.once = format!("backfill:{}:{}:{date}", order.pipeline, backfill.name);
            // Each has a number of its own, so that readers of changes get them in pieces.
            turn.number().await?;
            out.push(turn.enqueue(&order, 0, |_| Begin::Queued { fresh: order.fresh }).await?);
        }
        turn.commit().await?;
        Ok(out)
    }

    /// States of all steps of a run, by name.
    ///
    /// # Errors
    /// An unknown run, a database that does not answer.
    pub async fn states(&self, run: i64) -> Result<BTreeMap<String, State>> {
        Ok(self.steps(run).await?.into_iter().map(|step| (step.step, step.state)).collect())
    }
}

impl Backfill {
    fn dates(&self) -> Result<Vec<NaiveDate>> {
        let refuse = |text: String| Err(Error::asked(ErrorKind::InvalidParams, text, "choose other dates"));
        if self.every_days == 0 {
            return refuse("every_days is 0; it must be at least 1".to_owned());
        }
        if self.to < self.from {
            return refuse(format!("the last date ({}) is before the first ({})", self.to, self.from));
        }
        let count = (self.to - self.from).num_days() / i64::from(self.every_days) + 1;
        if count > DATES_MAX as i64 {
            return refuse(format!("these are {count} dates; allowed are {DATES_MAX} at a time"));
        }
        Ok((0..count as u64)
            .filter_map(|n| self.from.checked_add_days(Days::new(n * u64::from(self.every_days))))
            .collect())
    }
}
