//! The saved form: the parts of the model beside the trees' arrays, with the number of the form.

use super::{Boosting, FittedBoosting};
use crate::learner::Task;
use crate::tree::{Ensemble, Link};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result};

/// The version written.
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    format: u32,
    params: Boosting,
    task: Task,
    link: Link,
    crossing_sorted: bool,
    names: Vec<String>,
    categories: Vec<bool>,
    ensemble: Ensemble,
}

impl From<FittedBoosting> for Saved {
    fn from(f: FittedBoosting) -> Self {
        Self {
            format: FORMAT,
            params: f.params,
            task: f.task,
            link: f.link,
            crossing_sorted: f.sorts,
            names: f.names,
            categories: f.categories,
            ensemble: f.ensemble,
        }
    }
}

impl TryFrom<Saved> for FittedBoosting {
    type Error = Error;
    fn try_from(s: Saved) -> Result<Self> {
        if s.format != FORMAT {
            return Err(Error::Invalid(format!(
                "a boosting model of format {} cannot be read; this version reads format {FORMAT}",
                s.format
            )));
        }
        let (n, named, marked) = (s.ensemble.n_features, s.names.len(), s.categories.len());
        if s.ensemble.n_outputs == 0 || named != n || marked != n {
            return Err(Error::Invalid(format!(
                "the saved boosting model is damaged: {} answers from {n} columns, {named} names, {marked} kinds",
                s.ensemble.n_outputs
            )));
        }
        Ok(Self {
            params: s.params,
            task: s.task,
            link: s.link,
            sorts: s.crossing_sorted,
            names: s.names,
            categories: s.categories,
            ensemble: s.ensemble,
        })
    }
}
