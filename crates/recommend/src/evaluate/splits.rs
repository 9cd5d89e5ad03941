//! What is held back.

use rand::RngExt;
use tradewind_core::{Interactions, Run};

/// The items of one user that were held back, distinct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The user.
    pub user: String,
    /// The items.
    pub items: Vec<String>,
}

/// A training part and what was held back. Users and items of the training part stand at the same positions as before.
#[derive(Clone, Debug)]
pub struct Split {
    /// What may be learnt from.
    pub train: Interactions,
    /// What is asked for, by user.
    pub held: Vec<Held>,
}

/// Holds back the last event of every user with at least `events_min` events (2 at the least). Of events of equal
/// `ds` one is drawn as the last.
///
/// ```
/// use tradewind_core::{EventSettings, Interaction, Interactions, Run};
/// use tradewind_recommend::evaluate::leave_last_out;
/// let rows = [("ann", "tea", 1), ("ann", "cup", 2), ("bob", "tea", 1)].map(|(u, i, t)| Interaction::plain(u, i, t));
/// let data = Interactions::build(rows, &EventSettings::default()).unwrap();
/// let split = leave_last_out(&Run::new(1), &data, 2);
/// assert_eq!((split.held.len(), split.train.len()), (1, 2));
/// assert_eq!((split.held[0].user.as_str(), split.held[0].items[0].as_str()), ("ann", "cup"));
/// ```
pub fn leave_last_out(run: &Run, data: &Interactions, events_min: usize) -> Split {
    let events_min = events_min.max(2);
    let mut rng = run.rng(12);
    let last: Vec<Option<usize>> = data
        .histories()
        .map(|history| {
            let n = history.len();
            let end = *history.ds.last().filter(|_| n >= events_min)?;
            let first = history.ds.partition_point(|ds| *ds < end);
            Some(if n - first > 1 { rng.random_range(first..n) } else { first })
        })
        .collect();
    split(data, |user, k| last[user as usize] == Some(k))
}

/// Holds back each event with the chance `share`; of a user's history at least one event stays.
pub fn random(run: &Run, data: &Interactions, share: f64) -> Split {
    let mut rng = run.rng(11);
    let mut drawn: Vec<Vec<bool>> = Vec::with_capacity(data.users().len());
    for history in data.histories() {
        let mut of_user: Vec<bool> = (0..history.len()).map(|_| rng.random_range(0.0..1.0) < share).collect();
        if !of_user.is_empty() && of_user.iter().all(|d| *d) {
            of_user[0] = false;
        }
        drawn.push(of_user);
    }
    split(data, |user, k| drawn[user as usize][k])
}

/// Holds back everything from `ds` on. Users without anything before are not asked for.
pub fn by_time(data: &Interactions, ds: i64) -> Split {
    let mut out = split(data, |user, k| data.history(user).ds[k] >= ds);
    let train = &out.train;
    out.held.retain(|h| train.users().find(&h.user).is_some_and(|u| !train.history(u).is_empty()));
    out
}

fn split(data: &Interactions, held_back: impl Fn(u32, usize) -> bool) -> Split {
    let mut held = Vec::new();
    for u in 0..data.users().len() as u32 {
        let history = data.history(u);
        let mut items: Vec<u32> =
            (0..history.len()).filter(|k| held_back(u, *k)).map(|k| history.items[k]).collect();
        items.sort_unstable();
        items.dedup();
        if !items.is_empty() {
            held.push(Held {
                user: data.users().name(u).to_owned(),
                items: items.into_iter().map(|i| data.items().name(i).to_owned()).collect(),
            });
        }
    }
    Split { train: data.filter(|u, k| !held_back(u, k)), held }
}
