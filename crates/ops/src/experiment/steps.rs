//! Changes of an experiment: each in one transaction, with its line of history and the slots of its layer.

use super::Definition;
use super::assign::{StoredArms, StoredLayer};
use super::definition::check_name;
use super::store::{ATTEMPTS_MAX, Experiment, Experiments, State, written};
use crate::error::{Error, Result};
use crate::registry::{Change, breathe, end, gave_way, random_name, select, shown, statement};
use crate::traffic::{WHOLE, may_all_answer};
use sqlx::AnyConnection;
use tradewind_core::ErrorKind;

/// What is done with an experiment.
#[derive(Clone, Copy)]
pub(super) enum Action<'a> {
    Revise(&'a Definition),
    Start,
    Ramp(u32),
    Weigh(&'a [u32]),
    Stop,
    Decide(Option<&'a str>),
}

impl Action<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Revise(_) => "revise",
            Self::Start => "start",
            Self::Ramp(_) => "ramp",
            Self::Weigh(_) => "weigh",
            Self::Stop => "stop",
            Self::Decide(_) => "decide",
        }
    }

    /// The state that it begins from, and what to do in another.
    fn from(&self) -> (State, &'static str) {
        match self {
            Self::Revise(_) => (State::Draft, "only a draft can be changed: stop it and draft another"),
            Self::Start => (State::Draft, "only a draft can be started: draft another"),
            Self::Ramp(_) | Self::Weigh(_) | Self::Stop => (State::Running, "it must be running"),
            Self::Decide(_) => (State::Stopped, "stop it first; what is decided stays so"),
        }
    }
}

impl Experiments {
    pub(super) async fn change(
        &self,
        name: &str,
        expect: Option<u64>,
        change: &Change,
        action: Action<'_>,
    ) -> Result<Experiment> {
        check_name("experiment", name)?;
        change.check()?;
        if let Action::Start | Action::Ramp(_) = action {
            self.ensure_layer(&self.get(name).await?.definition.layer).await?;
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.database.begin().await?;
            let done = self.change_in(&mut transaction, name, expect, change, action).await;
            match end(&self.database, transaction, done, "changing an experiment").await {
                Err(e) if gave_way(&e) && attempt < ATTEMPTS_MAX => breathe(attempt).await?,
                Ok(()) => break,
                Err(e) => return Err(e),
            }
        }
        let experiment = self.get(name).await?;
        tracing::info!(
            experiment = name,
            state = experiment.state.name(),
            revision = experiment.revision,
            "experiment"
        );
        Ok(experiment)
    }

    async fn change_in(
        &self,
        connection: &mut AnyConnection,
        name: &str,
        expect: Option<u64>,
        change: &Change,
        action: Action<'_>,
    ) -> Result<()> {
        let fault = self.database.fault("changing an experiment");
        // From here on other changes of it wait.
        statement(&self.database, "UPDATE experiments SET revision = revision + 1 WHERE name = ?")
            .bind(name.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let (stands, arms) = self.stands(connection, name).await?;
        let (revision, before) = (stands.revision, stands.revision - 1);
        if expect.is_some_and(|expect| expect != before) {
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!("the experiment {name} has revision {before}, not {}", expect.unwrap_or_default()),
                "somebody else changed it: look at its history and decide again",
            ));
        }
        let (wanted, remedy) = action.from();
        if stands.state != wanted {
            return Err(self.not_in(name, stands.state, remedy));
        }
        let mut next = stands.definition;
        let (mut state, mut arms, mut decision) = (stands.state, arms, String::new());
        let now = self.database.now_ms();
        let (mut started, mut stopped) = (stands.started_ms.unwrap_or(0), stands.stopped_ms.unwrap_or(0));
        let detail = match action {
            Action::Revise(definition) => {
                next = definition.clone();
                written(&next)?
            }
            Action::Start => {
                let named = next.arms.iter().filter_map(|a| a.reference.as_ref());
                may_all_answer(
                    &self.database,
                    connection,
                    named.chain(next.shadows.iter().map(|s| &s.reference)),
                )
                .await?;
                self.take_slots(connection, &next, next.exposure).await?;
                (state, started) = (State::Running, now);
                arms = Some(StoredArms::new(random_name()?, &next));
                written(&next)?
            }
            Action::Ramp(exposure) => {
                self.take_slots(connection, &next, exposure).await?;
                next.exposure = exposure;
                exposure.to_string()
            }
            Action::Weigh(weights) => {
                let stored =
                    arms.as_ref().ok_or_else(|| self.database.content(format!("{name} has no arms")))?;
                arms = Some(stored.with(&next, weights));
                next.arms.iter_mut().zip(weights).for_each(|(arm, weight)| arm.weight = *weight);
                written(&weights)?
            }
            Action::Stop => {
                self.take_slots(connection, &next, 0).await?;
                (state, stopped) = (State::Stopped, now);
                "null".to_owned()
            }
            Action::Decide(arm) => {
                if let Some(arm) = arm
                    && !next.arms.iter().any(|a| a.name == arm)
                {
                    return Err(Error::asked(
                        ErrorKind::NotFound,
                        format!("{name} has no arm `{}`", shown(arm)),
                        "name one of its arms, or none",
                    ));
                }
                state = State::Decided;
                decision = arm.unwrap_or_default().to_owned();
                written(&arm)?
            }
        };
        statement(
            &self.database,
            "UPDATE experiments SET state = ?, layer = ?, definition = ?, arms = ?, decision = ?, started_ms = ?,
             stopped_ms = ? WHERE name = ?",
        )
        .bind(state.name())
        .bind(next.layer.clone())
        .bind(written(&next)?)
        .bind(arms.map(|a| written(&a)).transpose()?.unwrap_or_default())
        .bind(decision)
        .bind(started)
        .bind(stopped)
        .bind(name.to_owned())
        .execute(&mut *connection)
        .await
        .map_err(&fault)?;
        self.note(connection, name, revision as i64, action.name(), &detail, change).await
    }

    /// Gives an experiment so many slots of its layer.
    async fn take_slots(
        &self,
        connection: &mut AnyConnection,
        definition: &Definition,
        share: u32,
    ) -> Result<()> {
        let fault = self.database.fault("dealing the slots of a layer");
        let layer = &definition.layer;
        // From here on other changes of the layer wait.
        statement(&self.database, "UPDATE experiment_layers SET revision = revision + 1 WHERE layer = ?")
            .bind(layer.clone())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let (text,): (String,) =
            select(&self.database, "SELECT stored FROM experiment_layers WHERE layer = ?")
                .bind(layer.clone())
                .fetch_one(&mut *connection)
                .await
                .map_err(&fault)?;
        let stored: StoredLayer = self.parse(&text, layer)?;
        let others = stored.taken_by_others(&definition.name);
        let taken: u32 = others.iter().map(|(_, share)| share).sum();
        if share > WHOLE - taken.min(WHOLE) || others.len() > 200 {
            let names: Vec<&str> = others.iter().map(|(n, _)| *n).collect();
            return Err(Error::asked(
                ErrorKind::Conflict,
                format!(
                    "{} wants {share} of {WHOLE} slots of the layer {layer}, {taken} are taken by {}",
                    definition.name,
                    names.join(", ")
                ),
                "take a smaller exposure, stop one of these, or use another layer",
            ));
        }
        statement(&self.database, "UPDATE experiment_layers SET stored = ? WHERE layer = ?")
            .bind(written(&stored.with(&definition.name, share))?)
            .bind(layer.clone())
            .execute(connection)
            .await
            .map_err(fault)?;
        Ok(())
    }

    async fn ensure_layer(&self, layer: &str) -> Result<()> {
        let fault = self.database.fault("making room for a layer");
        let found: Option<(i64,)> =
            select(&self.database, "SELECT revision FROM experiment_layers WHERE layer = ?")
                .bind(layer.to_owned())
                .fetch_optional(self.database.pool())
                .await
                .map_err(&fault)?;
        if found.is_some() {
            return Ok(());
        }
        let added = statement(
            &self.database,
            "INSERT INTO experiment_layers (layer, revision, stored) VALUES (?, 0, ?)",
        )
        .bind(layer.to_owned())
        .bind(written(&StoredLayer::new(random_name()?))?)
        .execute(self.database.pool())
        .await;
        match added {
            // Somebody else was first.
            Err(e) if e.as_database_error().is_some_and(|e| e.is_unique_violation()) => Ok(()),
            added => added.map(drop).map_err(fault),
        }
    }
}
