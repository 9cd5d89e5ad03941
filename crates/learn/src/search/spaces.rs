//! Which parameters of the catalogue's estimators are worth choosing, and between what.

use super::space::Space;
use crate::Task;
use tradewind_core::Result;

/// The search space of an estimator for a task; empty where its defaults are not worth changing, or where it is not
/// known here.
///
/// ```
/// use tradewind_learn::{Task, search::space_of};
/// assert!(space_of("ridge", Task::Regression).unwrap().to_string().contains("alpha=log"));
/// assert!(space_of("ols", Task::Regression).unwrap().is_empty());
/// ```
pub fn space_of(name: &str, task: Task) -> Result<Space> {
    text_of(name, task).parse()
}

fn text_of(name: &str, task: Task) -> &'static str {
    match (name, task) {
        ("ridge", _) => "alpha=log(0.0001,10000)",
        ("elastic_net", _) => "alpha=log(0.00001,10) l1_ratio=float(0.05,1)",
        ("huber", _) => "epsilon=float(1.1,3) alpha=log(0.00001,10)",
        ("lasso", _) => "alpha=log(0.00001,10)",
        ("logistic", _) => "l2=log(0.0001,10000)",
        // The number of rounds is not here: it is found by early stopping on each fold.
        ("boosting", _) => {
            "learning_rate=log(0.01,0.3) n_leaves=logint(7,255) min_child_samples=logint(2,200) \
             feature_fraction=float(0.4,1) bagging_fraction=float(0.5,1) l1=log(0.00000001,10) l2=log(0.00000001,10)"
        }
        ("random_forest" | "extra_trees", _) => {
            "max_features=float(0.1,1) min_samples_leaf=logint(1,50) n_trees=logint(100,500)"
        }
        ("svm" | "svc" | "svr", _) => "c=log(0.01,1000) gamma=log(0.0001,10)",
        ("knn", _) => "k=logint(1,100)",
        // Rounds are found by early stopping here too.
        ("mlp", _) => {
            "learning_rate=log(0.0002,0.01) width=logint(32,512) layers=int(1,4) dropout=float(0,0.5) decay=log(0.0001,1)"
        }
        ("click_rate", _) => {
            "learning_rate=log(0.0003,0.01) width=logint(4,32) dropout=float(0,0.6) vector_dropout=float(0,0.7)"
        }
        _ => "",
    }
}
