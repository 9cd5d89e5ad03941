//! Several models as one: averaged, weighted by what they did on rows they had not seen, chosen greedily, or with a
//! model of their answers on top.
//!
//! [`Blend`] weighs its members, [`Stacking`] learns from their answers. Both are [`Learner`](crate::Learner)s, and what
//! they learnt is saved with the catalogue names of the members, so [`load_fitted`] reads it back.

mod blend;
mod greedy;
mod member;
mod stacking;

pub use blend::{Blend, Combine, FittedBlend, Pool, simplex_weights};
pub use greedy::{Greedy, GreedyChoice};
pub use member::{Candidate, Member};
pub use stacking::{FittedStacking, Stacking};

use crate::auto::FittedPrepared;
use crate::crossval::{KFold, Split, StratifiedKFold};
use crate::learner::{FittedLearner, Task, load};
use crate::matrix::Dataset;
use serde_json::Value;
use tradewind_core::{Result, Run};

/// The name under which a [`FittedBlend`] is loaded.
pub const BLEND: &str = "blend";
/// The name under which a [`FittedStacking`] is loaded.
pub const STACKING: &str = "stacking";
/// The name under which a [`FittedPrepared`] is loaded.
pub const PREPARED: &str = "prepared";

/// Reads back any fitted model by name: an entry of the catalogue, or one of [`BLEND`], [`STACKING`] and [`PREPARED`].
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::{Dataset, Learner, Matrix, linear::Ridge, ensemble::load_fitted};
/// let x = Matrix::from_columns(&[[1.0, 2.0, 3.0]]).unwrap();
/// let data = Dataset::new(x, vec![1.0, 2.0, 3.0], vec![]).unwrap();
/// let learner: &dyn Learner = &Ridge::default();
/// let saved = learner.fit(&Run::new(0), &data).unwrap().save().unwrap();
/// assert!(load_fitted("ridge", saved).is_ok());
/// ```
pub fn load_fitted(name: &str, saved: Value) -> Result<Box<dyn FittedLearner>> {
    match name {
        BLEND => load::<FittedBlend>(BLEND, saved),
        STACKING => load::<FittedStacking>(STACKING, saved),
        PREPARED => load::<FittedPrepared>(PREPARED, saved),
        other => (crate::entry(other)?.load)(saved),
    }
}

/// Folds by the kind of task: classes keep their shares.
pub(crate) fn folds_for(run: &Run, task: Task, data: &Dataset, n_folds: usize) -> Result<Vec<Split>> {
    if task.is_classes() {
        let (label, _) = data.classes("an ensemble")?;
        return StratifiedKFold { n_folds, shuffle: true }.split(run, &label);
    }
    KFold { n_folds, shuffle: true }.split(run, data.n_rows())
}
