//! What a step does: handed in by whoever knows models and data.

use super::Fingerprint;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tradewind_core::{ErrorKind, Fault};

/// Lines that wait to be written at most; older ones go, and a line says how many.
const LINES_WAITING_MAX: usize = 500;

/// Longest text of an error, of a line or of progress, in characters.
pub(crate) const TEXT_MAX: usize = 4_000;

/// What a step does. Both functions may be asked more than once for the same run: after a fault, and after the death of
/// the process in the middle of them. Whatever they write outside the step's folder must bear that.
pub trait Work: Send + Sync + 'static {
    /// The fingerprint of all that decides the result beside the parameters and the results of the steps before: files,
    /// rows of the warehouse, settings.
    fn inputs<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<Fingerprint, StepFault>>;

    /// Does it. Files go to [`Context::folder`].
    fn run<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<Made, StepFault>>;

    /// Whether what an earlier run left outside the step's folder (a version in a registry, say) is still there; asked
    /// before its result is taken from the cache.
    fn still_there<'a>(
        &'a self,
        _context: &'a Context,
        _earlier: &'a Outputs,
    ) -> BoxFuture<'a, Result<bool, StepFault>> {
        Box::pin(std::future::ready(Ok(true)))
    }
}

/// What a step made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// What it is recognised by; absent: the hash of `data` and of the files in the step's folder.
    pub fingerprint: Option<Fingerprint>,
    /// A small result, at most 64 KiB as text.
    pub data: Value,
}

impl Made {
    /// A small result, recognised by itself and the files.
    pub fn data(data: Value) -> Self {
        Self { fingerprint: None, data }
    }
}

/// What a step that succeeded left.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// What it is recognised by.
    pub fingerprint: Fingerprint,
    /// The small result.
    pub data: Value,
    /// The folder with its files, if it wrote any.
    pub folder: Option<PathBuf>,
}

/// Work that computes: two functions that run on threads of their own.
pub struct Blocking {
    inputs: Call<Fingerprint>,
    run: Call<Made>,
    still_there: Option<Check>,
}

type Call<T> = Arc<dyn Fn(&Context) -> Result<T, StepFault> + Send + Sync>;
type Check = Arc<dyn Fn(&Context, &Outputs) -> Result<bool, StepFault> + Send + Sync>;

impl Blocking {
    /// Work of two functions. They should look at [`Context::cancelled`] every second or so.
    pub fn new(
        inputs: impl Fn(&Context) -> Result<Fingerprint, StepFault> + Send + Sync + 'static,
        run: impl Fn(&Context) -> Result<Made, StepFault> + Send + Sync + 'static,
    ) -> Self {
        Self { inputs: Arc::new(inputs), run: Arc::new(run), still_there: None }
    }

    /// The same work with a check of what earlier runs left, see [`Work::still_there`].
    pub fn checking(
        mut self,
        still_there: impl Fn(&Context, &Outputs) -> Result<bool, StepFault> + Send + Sync + 'static,
    ) -> Self {
        self.still_there = Some(Arc::new(still_there));
        self
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

async fn elsewhere<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StepFault> + Send + 'static,
) -> Result<T, StepFault> {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done,
        Err(_) => Err(StepFault::panicked()),
    }
}

impl Work for Blocking {
    fn inputs<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<Fingerprint, StepFault>> {
        let (call, context) = (self.inputs.clone(), context.clone());
        Box::pin(elsewhere(move || call(&context)))
    }

    fn run<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<Made, StepFault>> {
        let (call, context) = (self.run.clone(), context.clone());
        Box::pin(elsewhere(move || call(&context)))
    }

    fn still_there<'a>(
        &'a self,
        context: &'a Context,
        earlier: &'a Outputs,
    ) -> BoxFuture<'a, Result<bool, StepFault>> {
        let Some(call) = self.still_there.clone() else { return Box::pin(std::future::ready(Ok(true))) };
        let (context, earlier) = (context.clone(), earlier.clone());
        Box::pin(elsewhere(move || call(&context, &earlier)))
    }
}

/// Why a step failed. Every [`Fault`] becomes one by `?`.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFault {
    /// What kind of fault it is.
    pub kind: ErrorKind,
    /// What is wrong and what to do; no secrets.
    pub text: String,
    /// Whether another attempt may succeed.
    pub retry: bool,
}

impl StepFault {
    /// A fault; whether it may pass follows from its kind.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        let retry = matches!(
            kind,
            ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::Conflict | ErrorKind::Interrupted
        );
        Self { kind, text: text.into(), retry }
    }

    /// The step was asked to stop and did.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Interrupted, "the step was asked to stop")
    }

    pub(crate) fn panicked() -> Self {
        Self::new(
            ErrorKind::Internal,
            "the step met a fault of the program (it panicked); the log of the process says where",
        )
    }
}

impl<F: Fault> From<F> for StepFault {
    fn from(fault: F) -> Self {
        let text = match fault.hint() {
            Some(hint) => format!("{fault} ({hint})"),
            None => fault.to_string(),
        };
        Self::new(fault.kind(), text)
    }
}

/// What a step is handed. Clones are the same step.
#[derive(Clone, Debug)]
pub struct Context(pub(crate) Arc<Inside>);

#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) run: i64,
    pub(crate) pipeline: String,
    pub(crate) step: String,
    pub(crate) attempt: u32,
    pub(crate) seed: i64,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) before: BTreeMap<String, Outputs>,
    pub(crate) unfinished: PathBuf,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) live: Mutex<Live>,
    /// Held from the reading of lines until they are known as written, so that none is written twice.
    pub(crate) writing: tokio::sync::Mutex<()>,
}

/// What a step tells while it runs, until the worker writes it down.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) done: i64,
    pub(crate) total: i64,
    pub(crate) message: String,
    pub(crate) changed: bool,
    pub(crate) lines: VecDeque<(Level, String)>,
    pub(crate) dropped: u64,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What happened.
    Info,
    /// What someone should look at.
    Warning,
    /// What went wrong.
    Error,
}

impl Level {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    pub(crate) fn of(code: &str) -> Self {
        match code {
            "error" => Self::Error,
            "warning" => Self::Warning,
            _ => Self::Info,
        }
    }
}

impl Context {
    /// The number of the run.
    pub fn run(&self) -> i64 {
        self.0.run
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// The step's name.
    pub fn step(&self) -> &str {
        &self.0.step
    }

    /// Which attempt it is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// The seed of the run; equal for every attempt.
    pub fn seed(&self) -> u64 {
        self.0.seed.unsigned_abs()
    }

    /// The parameters of the run.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.0.parameters
    }

    /// What the steps before left, by their names.
    pub fn before(&self) -> &BTreeMap<String, Outputs> {
        &self.0.before
    }

    /// What the step `name` left.
    ///
    /// # Errors
    /// This step does not follow `name`.
    pub fn outputs_of(&self, name: &str) -> Result<&Outputs, StepFault> {
        self.0.before.get(name).ok_or_else(|| {
            StepFault::new(ErrorKind::Internal, format!("step {} does not follow {name}", self.0.step))
        })
    }

    /// The folder for files; made when first asked for. It becomes visible to others whole, when the step has succeeded,
    /// or not at all.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self) -> Result<&Path, StepFault> {
        let path = &self.0.unfinished;
        std::fs::create_dir_all(path).map_err(|source| crate::Error::File {
            path: path.clone(),
            action: "make the folder",
            source,
        })?;
        Ok(path)
    }

    /// Whether the step should stop: cancelled, out of time, or another worker has it.
    pub fn cancelled(&self) -> bool {
        self.0.cancel.load(Ordering::Relaxed)
    }

    /// The flag behind [`Context::cancelled`], for what watches a flag.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.0.cancel.clone()
    }

    /// A fault when the step should stop.
    ///
    /// # Errors
    /// It should.
    pub fn check(&self) -> Result<(), StepFault> {
        if self.cancelled() { Err(StepFault::cancelled()) } else { Ok(()) }
    }

    /// Tells how far the step is; `total` 0: unknown.
    pub fn progress(&self, done: u64, total: u64, message: &str) {
        let mut live = self.0.live.lock();
        live.done = i64::try_from(done).unwrap_or(i64::MAX);
        live.total = i64::try_from(total).unwrap_or(i64::MAX);
        live.message = bounded(message);
        live.changed = true;
    }

    /// Adds a line to the step's log.
    pub fn log(&self, level: Level, text: &str) {
        let mut live = self.0.live.lock();
        if live.lines.len() == LINES_WAITING_MAX {
            live.lines.pop_front();
            live.dropped += 1;
        }
        live.lines.push_back((level, bounded(text)));
        live.changed = true;
    }
}

/// A text that may be kept: at most [`TEXT_MAX`] characters, without the user and password of an address.
pub(crate) fn bounded(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_MAX));
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        // A password may hold a slash that nobody escaped, so the whole word counts.
        let end = tail.find(|c: char| c.is_whitespace() || "\"'<>".contains(c)).unwrap_or(tail.len());
        rest = match tail[..end].rfind('@') {
            Some(at) => {
                out.push('…');
                &tail[at..]
            }
            None => tail,
        };
    }
    out.push_str(rest);
    match out.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => {
            out.truncate(at);
            out.push('…');
            out
        }
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_tell_no_password() {
        assert_eq!(bounded("plain: text"), "plain: text");
        assert_eq!(
            bounded("postgres://me:s3c@r/et@db/x and s3://key:secret@b/p, http://host/a"),
            "postgres://…@db/x and s3://…@b/p, http://host/a"
        );
        let long = bounded(&"风".repeat(TEXT_MAX * 2));
        assert_eq!(long.chars().count(), TEXT_MAX + 1);
    }

    #[test]
    fn faults_of_the_asked_kind_are_not_tried_again() {
        for (kind, retry) in [
            (ErrorKind::InvalidInput, false),
            (ErrorKind::Unavailable, true),
            (ErrorKind::NotEnoughData, false),
        ] {
            assert_eq!(StepFault::new(kind, "x").retry, retry, "{kind}");
        }
    }
}
