//! What a piece of work is handed from outside: seed, threads, progress, cancellation.

use crate::error::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where progress goes. The terminal draws a bar, a server sends events, a test collects.
pub trait Progress: Send + Sync {
    /// A step called `name` with `total` units of work begins (0 when the total is unknown).
    fn begin(&self, name: &str, total: u64);
    /// `n` more units are done.
    fn advance(&self, n: u64);
    /// The step is over.
    fn end(&self);
}

/// Progress that goes nowhere.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _name: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn end(&self) {}
}

/// Where networks are trained. What they answer is always worked out on the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first graphics processor, where the program was built for one.
    Gpu,
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        })
    }
}

impl std::str::FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err(Error::Invalid(format!("there is no device `{name}`; choose cpu or gpu"))),
        }
    }
}

/// Seed, threads, progress and cancellation; passed first to whatever works long.
///
/// The seed alone decides randomness; the number of threads never changes a result.
///
/// ```
/// use tradewind_core::Run;
/// let run = Run::new(42);
/// assert_eq!(run.seed, 42);
/// assert!(run.check().is_ok());
/// run.cancel();
/// assert!(run.check().is_err());
/// ```
#[derive(Clone)]
pub struct Run {
    /// The seed of everything random.
    pub seed: u64,
    /// Threads to use; 0 means all cores.
    pub threads: usize,
    /// Where networks are trained.
    pub device: Device,
    progress: Arc<dyn Progress>,
    cancelled: Arc<AtomicBool>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("seed", &self.seed)
            .field("threads", &self.threads)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Default for Run {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Run {
    /// A silent run on all cores.
    pub fn new(seed: u64) -> Self {
        Self { seed, threads: 0, device: Device::Cpu, progress: Arc::new(Silent), cancelled: Arc::default() }
    }

    /// The same run with another place for progress.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// The same run that stops when `flag` says so, for whoever has a flag already.
    pub fn with_cancel_flag(mut self, flag: Arc<AtomicBool>) -> Self {
        self.cancelled = flag;
        self
    }

    /// The same run on `threads` threads (0: all cores).
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The same run whose networks are trained on `device`.
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// The same run whose progress is not shown; for steps inside a step. Cancellation is shared.
    pub fn quiet(&self) -> Self {
        Self { progress: Arc::new(Silent), ..self.clone() }
    }

    /// Progress of this run.
    pub fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// Asks all work of this run, and of its clones, to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The flag behind [`Run::cancel`], for signal handlers.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.cancelled.clone()
    }

    /// An error when the run was cancelled. Long loops call it.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// A generator for the part of the work called `stream`; equal seeds and streams give equal numbers.
    pub fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    /// Runs `work` on this run's threads. Parallel iterators inside use them.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        if self.threads == 0 {
            return work();
        }
        match rayon::ThreadPoolBuilder::new().num_threads(self.threads).build() {
            Ok(pool) => pool.install(work),
            // A machine that refuses new threads still gets the answer, on the threads it has.
            Err(_) => work(),
        }
    }
}
