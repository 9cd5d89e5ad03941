//! What a fitted model goes by, as plain data that a report can draw.
//!
//! | question | answered by | for |
//! |---|---|---|
//! | which columns matter | [`permutation_importance`] | any model and measure |
//! | how the answer moves with one column | [`dependence`] | any model |
//! | which columns matter, and in which direction | [`summary`] | models with contributions |
//! | why this row has this answer | [`waterfall`] | models with contributions |

mod dependence;
mod permutation;
mod summary;

pub use dependence::{Dependence, DependenceParams, dependence};
pub use permutation::{ColumnImportance, PermutationParams, permutation_importance};
pub use summary::{ColumnSummary, OutputSummary, Waterfall, WaterfallStep, summary, waterfall};
