//! Fewer columns that say nearly as much: principal components and the truncated singular value decomposition.

pub mod pca;
mod randomised;
pub mod truncated_svd;

use serde::{Deserialize, Serialize};

/// How singular vectors are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Exact up to 500 columns (or rows) and where most components are wanted; else randomised.
    #[default]
    Auto,
    /// All of them, to the last digits.
    Exact,
    /// The first few from random directions (Halko, Martinsson and Tropp 2011).
    Randomised,
}

impl Solver {
    /// Whether to take the randomised one for `k` components of an `n × p` matrix.
    fn is_randomised(self, n: usize, p: usize, k: usize) -> bool {
        match self {
            Self::Auto => n.min(p) > 500 && k * 5 < n.min(p) * 4,
            Self::Exact => false,
            Self::Randomised => true,
        }
    }
}
