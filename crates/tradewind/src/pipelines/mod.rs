//! The life of a shop's models as a pipeline of jobs.
//!
//! ```text
//! import ─→ check ─→ features ─┬→ fit-trends ──────────┬→ evaluate ─→ register ─→ promote ─→ predict ─→ report
//!                              ├→ fit-forecasts ───────┤
//!                              ├→ fit-prices ──────────┤
//!                              └→ fit-recommendations ─┘
//! ```
//!
//! Each step's inputs are told by fingerprints of rows and settings, so that a run over unchanged data takes everything
//! from the cache; each can be repeated after the death of its process. What a step leaves is a small JSON value and,
//! where it is larger, files in a folder of its own.
//!
//! - **import** takes files in, those that are not in the shop yet.
//! - **check** looks through the data, and ends the run at findings of the weight that the order names.
//! - **features** makes the cleaned series once and tells their fingerprint.
//! - **fit-…** makes a version of each kind ([`crate::serving::make`]): an artifact, and its measures on a last window
//!   that the measured model had not seen. A kind for which the shop has too little data is left out with a remark.
//! - **evaluate** holds each against the champion. The champion's way of fitting is measured on the same newest window.
//! - **register** gives each artifact its number in the registry; an artifact that is there already keeps its own.
//! - **promote** makes champion what is first, made the same way of newer data, or better; the rest become challengers.
//! - **predict** loads each champion as a server would and leaves its answers as tables.
//! - **report** tells all of it in one JSON file, `reports/pipeline.json` of the shop.

mod order;
mod prepare;
mod release;
#[cfg(test)]
mod tests;
mod watch;

pub use order::{FailOn, KINDS, Order};

use crate::operations::Operations;
use crate::serving::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;
use tradewind_core::{Progress, Run};
use tradewind_ops::jobs::{Context, Pipeline, Step, Works};

/// The name of the shop's pipeline.
pub const SHOP: &str = "shop";

/// The pipeline that looks at what is in production; see [`crate::watching`].
pub const WATCH: &str = "watch";

/// The group of the steps that use all cores.
const FIT: &str = "fit";

/// How many of them run at once.
const FITS_AT_ONCE: u32 = 2;

const DAY_S: f64 = 86_400.0;

/// The step that fits a kind.
fn fit_step(kind: Kind) -> String {
    format!("fit-{kind}")
}

/// The steps of the shop's pipeline.
pub fn definition() -> Pipeline {
    let fits: Vec<String> = KINDS.iter().map(|&kind| fit_step(kind)).collect();
    let fits: Vec<&str> = fits.iter().map(String::as_str).collect();
    let with_fits = |step: &'static str| [&[step][..], &fits[..]].concat();
    let step = |name: &str, after: &[&str]| Step { timeout_s: DAY_S, ..Step::new(name, after) };
    let mut steps = vec![step("import", &[]), step("check", &["import"]), step("features", &["check"])];
    for fit in &fits {
        steps.push(Step { group: Some(FIT.to_owned()), ..step(fit, &["features"]) });
    }
    steps.push(step("evaluate", &fits));
    steps.push(step("register", &with_fits("evaluate")));
    // What stands in the registry may have been changed by hand: looked at each time.
    steps.push(Step { cached: false, ..step("promote", &["evaluate", "register"]) });
    steps.push(step("predict", &["promote"]));
    let before = ["import", "check", "features", "evaluate", "register", "promote", "predict"];
    let told = [&before[..], &fits[..]].concat();
    steps.push(Step { cached: false, ..step("report", &told) });
    let groups = BTreeMap::from([(FIT.to_owned(), FITS_AT_ONCE)]);
    Pipeline { groups, ..Pipeline::new(SHOP, steps) }
}

/// The one step of a look.
pub fn watch_definition() -> Pipeline {
    Pipeline::new(WATCH, vec![Step { cached: false, timeout_s: DAY_S, ..Step::new(WATCH, &[]) }])
}

/// What the steps do, for a worker. Each uses the threads of `run` (0: all cores) and trains networks on its device.
pub fn works(operations: &Operations, run: &Run) -> Works {
    let mut works = Works::default();
    let hands = prepare::Hands { root: operations.shop.root().to_owned(), run: run.clone() };
    works.add(SHOP, "import", Arc::new(prepare::import(&hands)));
    works.add(SHOP, "check", Arc::new(prepare::check(&hands)));
    works.add(SHOP, "features", Arc::new(prepare::features(&hands)));
    for kind in KINDS {
        works.add(SHOP, &fit_step(kind), Arc::new(prepare::fit(&hands, kind)));
    }
    works.add(SHOP, "evaluate", Arc::new(release::evaluate(&hands, &operations.registry)));
    works.add(SHOP, "register", Arc::new(release::register(&operations.registry)));
    works.add(SHOP, "promote", Arc::new(release::promote(&hands, &operations.registry)));
    works.add(SHOP, "predict", Arc::new(release::predict(&operations.registry)));
    works.add(SHOP, "report", Arc::new(release::report(&hands)));
    works.add(WATCH, WATCH, Arc::new(watch::watch(operations, run)));
    works
}

/// A run of the work inside a step, on the threads and the device of `like`: its seed, its flag, its progress.
fn run_of(context: &Context, like: &Run) -> Run {
    Run::new(context.seed())
        .with_threads(like.threads)
        .with_device(like.device)
        .with_cancel_flag(context.cancel_flag())
        .with_progress(Arc::new(Told { context: context.clone(), at: Default::default() }))
}

/// Progress that goes to the step's record.
struct Told {
    context: Context,
    at: std::sync::Mutex<(String, u64, u64)>,
}

impl Told {
    fn tell(&self, change: impl FnOnce(&mut (String, u64, u64))) {
        let mut at = self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut at);
        self.context.progress(at.1, at.2, &at.0);
    }
}

impl Progress for Told {
    fn begin(&self, name: &str, total: u64) {
        self.tell(|at| *at = (name.to_owned(), 0, total));
    }

    fn advance(&self, n: u64) {
        self.tell(|at| at.1 += n);
    }

    fn end(&self) {
        self.tell(|at| at.1 = at.1.max(at.2));
    }
}
