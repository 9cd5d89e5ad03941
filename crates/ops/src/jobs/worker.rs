//! Whoever does the steps.

use super::attempt::{Committed, Ending, patiently, perform};
use super::lease::Observed;
use super::take::{Reach, Taken, Waits};
use super::work::{Context, Inside, Live, Work};
use super::{Jobs, results};
use crate::error::{Error, Result};
use parking_lot::Mutex;
use sqlx::Row;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tradewind_core::ErrorKind;

/// What steps do, by pipeline and step. A worker takes only steps it finds here.
#[derive(Clone, Default)]
pub struct Works(BTreeMap<(String, String), Arc<dyn Work>>);

impl Works {
    /// Says what a step does.
    pub fn add(&mut self, pipeline: &str, step: &str, work: Arc<dyn Work>) -> &mut Self {
        self.0.insert((pipeline.to_owned(), step.to_owned()), work);
        self
    }

    /// The same work with something laid around each: counting, tracing, faults for tests.
    pub fn around(self, mut lay: impl FnMut(&str, &str, Arc<dyn Work>) -> Arc<dyn Work>) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|((pipeline, step), work)| {
                    let work = lay(&pipeline, &step, work);
                    ((pipeline, step), work)
                })
                .collect(),
        )
    }

    fn of(&self, pipeline: &str, step: &str) -> Option<&Arc<dyn Work>> {
        self.0.get(&(pipeline.to_owned(), step.to_owned()))
    }
}

impl fmt::Debug for Works {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How a worker works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerSettings {
    /// Steps it does at once, at least 1.
    pub slots: usize,
    /// Steps under way at once over all workers, at least 1; the same for all of them.
    pub steps_at_once: u32,
    /// How long its beat may stand still before others take over, at least 100 ms; the same for all workers.
    pub lease: Duration,
    /// How often it looks for something to do when nothing rings, at least 10 ms.
    pub poll: Duration,
    /// How long a step that is asked to stop may take to do so.
    pub grace: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            slots: 2,
            steps_at_once: 64,
            lease: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            grace: Duration::from_secs(10),
        }
    }
}

impl WorkerSettings {
    fn check(&self) -> Result<()> {
        let mut faults = Vec::new();
        if self.slots == 0 || self.steps_at_once == 0 {
            faults.push("slots and steps at once must be at least 1");
        }
        if self.lease < Duration::from_millis(100) || self.poll < Duration::from_millis(10) {
            faults.push("the lease must be at least 100 ms, the poll 10 ms");
        }
        if self.lease < self.poll * 2 {
            faults.push("the lease must be at least twice the poll");
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::asked(ErrorKind::InvalidParams, faults.join("; "), "choose other settings of the worker"))
    }
}

/// Asks workers to stop. Clones are the same.
#[derive(Clone, Debug)]
pub struct Stop(Arc<tokio::sync::watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    async fn asked(&self) {
        let mut receiver = self.0.subscribe();
        let _ = receiver.wait_for(|asked| *asked).await;
    }
}

/// Takes steps and does them, looks after other workers, and fires schedules.
#[derive(Clone, Debug)]
pub struct Worker {
    jobs: Jobs,
    works: Arc<Works>,
    settings: WorkerSettings,
}

/// A worker between entering and ending; one that others have ended begins another life.
#[derive(Debug)]
struct Alive {
    id: String,
    held: Mutex<HashMap<(i64, String), Held>>,
    /// Others have ended it.
    ended: AtomicBool,
    /// It was asked to stop: what stops for that reason is left to others.
    stopping: AtomicBool,
}

#[derive(Clone, Debug)]
struct Held {
    fence: i64,
    attempt: u32,
    context: Context,
}

impl Alive {
    fn cancel_all(&self) {
        for held in self.held.lock().values() {
            held.context.0.cancel.store(true, Ordering::Relaxed);
        }
    }

    fn list(&self) -> Vec<(i64, String, i64, u32, Context)> {
        let held = self.held.lock();
        held.iter()
            .map(|((run, step), h)| (*run, step.clone(), h.fence, h.attempt, h.context.clone()))
            .collect()
    }
}

impl Worker {
    /// A worker with the usual settings.
    pub fn new(jobs: Jobs, works: Works) -> Self {
        Self { jobs, works: Arc::new(works), settings: WorkerSettings::default() }
    }

    /// The same worker with other settings.
    pub fn with(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Works until `stop` asks for the end; then steps under way are asked to stop, and what does not end in time is left to
    /// others. A database that is away is waited for.
    ///
    /// # Errors
    /// Settings that cannot be; nothing else ends a worker.
    pub async fn run(&self, stop: &Stop) -> Result<()> {
        self.work(stop, false).await
    }

    /// Works until no run of the pipelines it knows is left that has not ended.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub async fn run_until_idle(&self) -> Result<()> {
        self.work(&Stop::default(), true).await
    }

    async fn work(&self, stop: &Stop, until_idle: bool) -> Result<()> {
        self.settings.check()?;
        let mut steps: JoinSet<()> = JoinSet::new();
        while !stop.is_asked() {
            let alive = Arc::new(Alive {
                id: name()?,
                held: Mutex::default(),
                ended: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
            });
            if let Err(fault) = self.jobs.enter(&alive.id).await {
                // Another name next time: this one may have been entered, and only the answer was lost.
                tracing::warn!(%fault, "a worker could not enter; it tries again");
                tokio::select! {
                    () = tokio::time::sleep(self.settings.poll.max(Duration::from_millis(200))) => continue,
                    () = stop.asked() => break,
                }
            }
            tracing::info!(worker = alive.id, "a worker begins");
            let idle = tokio::select! {
                idle = self.rounds(&alive, &mut steps, stop, until_idle) => idle,
                () = self.beats(&alive) => false,
                () = self.tell(&alive) => false,
            };
            if idle || stop.is_asked() {
                self.leave(&alive, &mut steps).await;
                return Ok(());
            }
            // Others ended this worker: what it still does counts for nothing.
            tracing::warn!(worker = alive.id, "this worker was ended by others and begins anew");
            alive.cancel_all();
        }
        Ok(())
    }

    /// Looks after others, fires, takes; until there is nothing left (true), or the end is asked for.
    async fn rounds(
        &self,
        alive: &Arc<Alive>,
        steps: &mut JoinSet<()>,
        stop: &Stop,
        until_idle: bool,
    ) -> bool {
        let knows = |pipeline: &str, step: &str| self.works.of(pipeline, step).is_some();
        let reach = Reach { knows: &knows, steps_at_once: self.settings.steps_at_once };
        let (mut observed, mut waits) = (Observed::default(), Waits::default());
        // Whether an answer of the database was lost, so that it may know of steps that this worker does not.
        let mut unsure = false;
        let mut wait = self.settings.poll;
        let mut bell = self.jobs.bell();
        while !stop.is_asked() {
            bell.borrow_and_update();
            match self.round(alive, steps, &reach, &mut observed, &mut waits, &mut unsure).await {
                Ok(took) => {
                    wait = self.settings.poll;
                    if took {
                        continue;
                    }
                    if until_idle && steps.is_empty() && matches!(self.jobs.is_open(&reach).await, Ok(false))
                    {
                        return true;
                    }
                }
                Err(fault) => {
                    tracing::warn!(%fault, "the state of jobs is away; the worker waits");
                    observed.forget();
                    unsure = true;
                    wait = (wait * 2).min(Duration::from_secs(5)).max(self.settings.poll);
                }
            }
            tokio::select! {
                _ = bell.changed() => {}
                Some(_) = steps.join_next(), if !steps.is_empty() => {}
                () = stop.asked() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        false
    }

    async fn round(
        &self,
        alive: &Arc<Alive>,
        steps: &mut JoinSet<()>,
        reach: &Reach<'_>,
        observed: &mut Observed,
        waits: &mut Waits,
        unsure: &mut bool,
    ) -> Result<bool> {
        while steps.try_join_next().is_some() {}
        let credit = self.settings.poll * 2 + Duration::from_millis(100);
        self.jobs.judge(observed, &alive.id, self.settings.lease, credit).await?;
        self.jobs.fire_due().await?;
        if *unsure {
            let held: Vec<_> =
                alive.list().into_iter().map(|(run, step, fence, ..)| (run, step, fence)).collect();
            let mut turn = self.jobs.turn().await?;
            turn.release(&alive.id, &held, "the database's answer to the worker was lost", false).await?;
            turn.commit().await?;
            *unsure = false;
        }
        let slots = self.settings.slots.saturating_sub(steps.len());
        if slots == 0 || !self.jobs.something_to_take(reach, waits, slots).await? {
            return Ok(false);
        }
        let mut turn = self.jobs.turn().await?;
        let taken = turn.take(&alive.id, reach, waits, slots).await?;
        if taken.is_empty() {
            return Ok(false);
        }
        turn.commit().await?;
        for taken in taken {
            self.begin(alive, steps, taken);
        }
        Ok(true)
    }

    fn begin(&self, alive: &Arc<Alive>, steps: &mut JoinSet<()>, taken: Taken) {
        let Some(work) = self.works.of(&taken.pipeline.name, &taken.step.name).cloned() else { return };
        let context = Context(Arc::new(Inside {
            run: taken.run,
            pipeline: taken.pipeline.name.clone(),
            step: taken.step.name.clone(),
            attempt: taken.attempt,
            seed: taken.seed,
            parameters: taken.parameters.clone(),
            before: taken.before.clone(),
            unfinished: results::unfinished(&self.jobs.results, taken.run, &taken.step.name, taken.fence),
            cancel: Arc::new(AtomicBool::new(false)),
            live: Mutex::new(Live::default()),
            writing: tokio::sync::Mutex::default(),
        }));
        let place = (taken.run, taken.step.name.clone());
        let held = Held { fence: taken.fence, attempt: taken.attempt, context: context.clone() };
        alive.held.lock().insert(place.clone(), held);
        let (jobs, alive, grace) = (self.jobs.clone(), alive.clone(), self.settings.grace);
        steps.spawn(async move {
            let taken = Arc::new(taken);
            let ending = perform(jobs.clone(), taken.clone(), work, context.clone(), grace).await;
            let left = alive.stopping.load(Ordering::Relaxed)
                && matches!(&ending, Ending::Failed(told) if told.kind == ErrorKind::Interrupted);
            if !left {
                // A result is committed as soon as the database is there, however long that takes; only the fence ends it.
                let committed = patiently(&alive.ended, || jobs.commit(&taken, &ending, &context)).await;
                match committed {
                    Ok(Committed::Yes) => {}
                    Ok(Committed::Fenced) => {
                        tracing::warn!(run = taken.run, step = taken.step.name, "another worker has the step; its result is left");
                    }
                    Err(fault) => tracing::error!(run = taken.run, step = taken.step.name, %fault, "a result was not committed"),
                }
            }
            let mut held = alive.held.lock();
            if held.get(&place).is_some_and(|held| held.fence == taken.fence) {
                held.remove(&place);
            }
        });
    }

    /// Keeps the lease; ends when others have ended this worker.
    async fn beats(&self, alive: &Alive) {
        let every = self.settings.lease / 6;
        loop {
            let began = Instant::now();
            match self.jobs.beat(&alive.id).await {
                Ok(true) => {}
                Ok(false) => {
                    alive.ended.store(true, Ordering::Relaxed);
                    return;
                }
                Err(fault) => tracing::warn!(%fault, "a lease could not be kept"),
            }
            tokio::time::sleep(every.saturating_sub(began.elapsed()).max(Duration::from_millis(10))).await;
        }
    }

    /// Writes down progress and lines, and passes on that runs were cancelled.
    async fn tell(&self, alive: &Alive) {
        let mut bell = self.jobs.bell();
        let mut written = Instant::now();
        loop {
            // What is cancelled in this process stops at once; the pause keeps a storm of changes from becoming one of looks.
            let _ = tokio::time::timeout(self.settings.poll, bell.changed()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            bell.borrow_and_update();
            let held = alive.list();
            if held.is_empty() {
                continue;
            }
            let told = async {
                let fault = self.jobs.database.fault("looking for cancelled runs");
                let rows = self
                    .jobs
                    .query("SELECT id FROM jobs_run WHERE state = 'running' AND cancel = 1")
                    .fetch_all(self.jobs.database.pool())
                    .await
                    .map_err(&fault)?;
                for row in rows {
                    let id: i64 = row.try_get("id").map_err(&fault)?;
                    for (.., context) in held.iter().filter(|(run, ..)| *run == id) {
                        context.0.cancel.store(true, Ordering::Relaxed);
                    }
                }
                if written.elapsed() < self.settings.poll {
                    return Ok(());
                }
                written = Instant::now();
                self.jobs.write_live(&held).await
            };
            if let Err(fault) = told.await {
                tracing::warn!(%fault, "progress could not be written down");
            }
        }
    }

    /// Ends: steps under way stop or are left to others.
    async fn leave(&self, alive: &Alive, steps: &mut JoinSet<()>) {
        alive.stopping.store(true, Ordering::Relaxed);
        alive.cancel_all();
        let all = async { while steps.join_next().await.is_some() {} };
        let grace = self.settings.grace + Duration::from_secs(1);
        if tokio::time::timeout(grace, all).await.is_err() {
            steps.abort_all();
        }
        let left = self.jobs.end_worker(&alive.id, None, "the worker was stopped");
        match tokio::time::timeout(Duration::from_secs(5), left).await {
            Ok(Ok(_)) => {}
            // Others see that its beat stands still.
            _ => tracing::warn!(worker = alive.id, "a worker ended without saying so"),
        }
    }
}

/// A name that no other worker has.
fn name() -> Result<String> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::asked(
            ErrorKind::Internal,
            format!("no random numbers: {e}"),
            "see whether the system gives random numbers",
        )
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
