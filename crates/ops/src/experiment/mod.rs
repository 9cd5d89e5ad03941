//! Experiments: which of several ways is better, for whom, and how sure that is.
//!
//! ```text
//! Definition ─→ Experiments (draft, running, stopped, decided; history) ─→ Assigner (user → arm, by layers of slots)
//!                     ↑ look                                                    │ exposures, events
//! Reading (figures, advice, words) ←─ read ←─ Observed (sums of each arm) ←─────┘
//! ```
//!
//! | metric | figure | test |
//! |---|---|---|
//! | conversion | share of users | two proportions; Newcombe's interval |
//! | mean | amount per user | Welch's t |
//! | ratio, rating | ratio of two sums that vary among users | delta method |
//!
//! Each figure stands raw and, where the time before the experiment is known, adjusted (CUPED) side by side. An
//! experiment is judged once, when its units are there ([`Method::Fixed`]); at any time, with p-values that stay valid
//! under peeking ([`Method::Sequential`]); or as a bandit whose shares follow what is learnt ([`Method::Bandit`]). When
//! arms did not get their shares of users ([`ratio_check()`]), no figure is shown. A broken guard stops the experiment.
//!
//! Users are counted once each: [`Sums`] hold what a test needs of millions of them in a few numbers.

mod assign;
mod bandit;
mod definition;
mod fixed;
mod observed;
mod power;
mod ratio_check;
mod reading;
mod sequential;
mod steps;
mod store;
mod sums;
mod words;

pub use assign::{Assigned, Assigner};
pub use bandit::{Bandit, Chance};
pub use definition::{Arm, Definition, Method, Metric, Purpose, ShadowArm};
pub use fixed::{Contrast, Estimate, Interval, MetricKind, adjusted, contrast};
pub use observed::{ArmObserved, Observed};
pub use power::{Plan, Planned};
pub use ratio_check::{RATIO_P_MIN, RatioCheck, ratio_check};
pub use reading::{Advice, ArmChance, MetricReading, READING_FORMAT, Reading, read};
pub use sequential::{Look, Sequential};
pub use store::{Experiment, Experiments, KeptLook, State, Step};
pub use sums::{Sums, Unit};
pub use words::Words;

pub(crate) use store::{MIGRATION, running_that_names};
