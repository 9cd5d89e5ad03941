//! How near predicted ratings are to those given.

use serde::{Deserialize, Serialize};
use tradewind_core::{Error, FittedRecommender, Past, Result};

/// A rating that was held back.
#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    /// The user.
    pub user: String,
    /// The item.
    pub item: String,
    /// What was given.
    pub rating: f64,
}

/// Errors of predicted ratings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RatingErrors {
    /// Ratings compared.
    pub n: usize,
    /// Ratings of users or items without a past, which cannot be predicted and are left out.
    pub without_past: usize,
    /// Root of the mean square.
    pub rmse: f64,
    /// Mean of the absolute values.
    pub mae: f64,
}

/// Compares the scores of a model of ratings (`svdpp`), kept within the range from `low` to `high`, with ratings held
/// back. For models whose scores are no ratings the answer means nothing.
pub fn ratings(
    fitted: &dyn FittedRecommender,
    held: &[Rating],
    (low, high): (f64, f64),
) -> Result<RatingErrors> {
    if low.is_nan() || high.is_nan() || low > high {
        return Err(Error::Invalid(format!(
            "ratings lie between a low and a higher end, not {low} and {high}"
        )));
    }
    let known = fitted.known();
    let mut asked: Vec<(u32, u32, f64)> = Vec::with_capacity(held.len());
    for r in held {
        let found = known.users().find(&r.user).zip(known.items().find(&r.item));
        if let Some((user, item)) = found.filter(|e| !known.history(e.0).is_empty()) {
            asked.push((user, item, r.rating));
        }
    }
    asked.sort_by_key(|e| (e.0, e.1));
    let mut row = vec![0.0; known.items().len()];
    let (mut squares, mut sizes, mut of) = (0.0, 0.0, None);
    for (user, item, rating) in &asked {
        if of != Some(*user) {
            fitted.scores(&[Past { user: Some(*user), history: known.history(*user) }], &mut row)?;
            of = Some(*user);
        }
        let error = f64::from(row[*item as usize]).clamp(low, high) - rating;
        squares += error * error;
        sizes += error.abs();
    }
    let n = asked.len().max(1) as f64;
    Ok(RatingErrors {
        n: asked.len(),
        without_past: held.len() - asked.len(),
        rmse: (squares / n).sqrt(),
        mae: sizes / n,
    })
}
