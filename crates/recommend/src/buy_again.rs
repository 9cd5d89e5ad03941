//! What will be bought again: each item of a history by when and how often it was bought.
//!
//! For every user and item of the history the chance is learnt that the item is bought within the next `period`:
//! boosted trees over recency, counts at four half-lives (a third of the period to nine of it), the usual time between
//! two purchases and how far it has run, the user's pace, and how far people buy the item again at all. The cases are the
//! histories as they stood at the last `cutoffs` ends of a period, the answers what came within the period after. Items
//! outside the history are without an opinion; [`hybrid`](crate::hybrid) joins them from other models.
//!
//! Recency and repeat counts are those of Bhagat et al., *Buy it again: modeling repeat purchase recommendations*, KDD
//! 2018; the time that has run against the usual gap is the user's own cycle.

use crate::fitted::{Learnt, Model, build, load};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, History, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run,
};
use tradewind_learn::boosting::{Boosting, FittedBoosting};
use tradewind_learn::{Dataset, Matrix, Task};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "buy_again",
    summary: "What of the history will be bought again soon, by its rhythm; to be asked with seen items allowed.",
    summary_zh: "历史商品中近期会再次购买的（按复购节奏）；查询时需允许已购商品。",
    source: "Bhagat et al., Buy it again: modeling repeat purchase recommendations, KDD 2018",
    params: &[
        ParamSpec {
            name: "period",
            kind: ParamKind::Number { min: 0.0, max: 1e15 },
            default: "0",
            summary: "How soon is meant, in units of ds; 0: a twelfth of all time.",
        },
        ParamSpec {
            name: "cutoffs",
            kind: ParamKind::Integer { min: 1, max: 50 },
            default: "3",
            summary: "Past periods that are learnt from.",
        },
        ParamSpec {
            name: "rounds",
            kind: ParamKind::Integer { min: 1, max: 5000 },
            default: "150",
            summary: "Trees.",
        },
        ParamSpec {
            name: "learning_rate",
            kind: ParamKind::Number { min: 1e-4, max: 1.0 },
            default: "0.08",
            summary: "Share of each tree that is added.",
        },
        ParamSpec {
            name: "cases_max",
            kind: ParamKind::Integer { min: 1000, max: 100_000_000 },
            default: "1500000",
            summary: "Pairs of user and item that are learnt from; users are drawn at random where there are more.",
        },
    ],
    ordered: true,
    build: build::<BuyAgain>,
    load: load::<BuyAgain>,
};

/// Chances of buying again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuyAgain {
    /// How soon is meant, in units of `ds`; 0: a twelfth of all time.
    pub period: f64,
    /// Past periods that are learnt from.
    pub cutoffs: usize,
    /// Trees.
    pub rounds: usize,
    /// Share of each tree that is added.
    pub learning_rate: f64,
    /// Pairs of user and item that are learnt from.
    pub cases_max: usize,
}

impl Default for BuyAgain {
    fn default() -> Self {
        Self { period: 0.0, cutoffs: 3, rounds: 150, learning_rate: 0.08, cases_max: 1_500_000 }
    }
}

/// The trees, and what is known of every item at the end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Rhythm {
    params: BuyAgain,
    period: f64,
    /// None where there was nothing to learn from; then the decayed counts speak.
    trees: Option<FittedBoosting>,
    #[serde(skip)]
    items: Vec<ItemState>,
    #[serde(skip)]
    now: i64,
}

/// How an item is bought by all.
#[derive(Clone, Copy, Debug, Default)]
struct ItemState {
    /// Purchases, decayed with half a period and with two.
    recent: [f64; 2],
    users: f64,
    occasions: f64,
    /// Users with more than one occasion.
    repeaters: f64,
}

/// Half-lives of a pair's counts, in periods.
const HALF_LIVES: [f64; 4] = [1.0 / 3.0, 1.0, 3.0, 9.0];
/// Columns of a case.
const COLUMNS: usize = 26;
/// The place of the count with a half-life of three periods, for when there are no trees.
const LONG_COUNT: usize = 6;

fn decayed(age: f64, half_life: f64) -> f64 {
    (-age.max(0.0) / half_life).exp2()
}

/// The part of a history before `cutoff`.
fn before(history: History<'_>, cutoff: i64) -> History<'_> {
    let n = history.ds.partition_point(|t| *t < cutoff);
    History {
        items: &history.items[..n],
        ds: &history.ds[..n],
        weights: &history.weights[..n],
        events: &history.events[..n],
    }
}

/// An item's purchases in one history: events that share a time are one occasion.
struct Pair {
    item: u32,
    lines: f64,
    occasions: Vec<i64>,
}

fn pairs(history: History<'_>) -> Vec<Pair> {
    let mut order: Vec<usize> = (0..history.len()).filter(|k| history.weights[*k] > 0.0).collect();
    order.sort_by_key(|k| (history.items[*k], history.ds[*k]));
    let mut out: Vec<Pair> = Vec::new();
    for k in order {
        let (item, ds, weight) = (history.items[k], history.ds[k], f64::from(history.weights[k]));
        match out.last_mut().filter(|p| p.item == item) {
            Some(pair) => {
                pair.lines += weight;
                if pair.occasions.last() != Some(&ds) {
                    pair.occasions.push(ds);
                }
            }
            None => out.push(Pair { item, lines: weight, occasions: vec![ds] }),
        }
    }
    out
}

/// What is known of every item before `cutoff`.
fn item_states(data: &Interactions, cutoff: i64, period: f64) -> Vec<ItemState> {
    let mut out = vec![ItemState::default(); data.items().len()];
    for history in data.histories() {
        for pair in pairs(before(history, cutoff)) {
            let state = &mut out[pair.item as usize];
            state.users += 1.0;
            state.occasions += pair.occasions.len() as f64;
            state.repeaters += f64::from(u8::from(pair.occasions.len() > 1));
            for ds in &pair.occasions {
                let age = cutoff as f64 - *ds as f64;
                state.recent[0] += decayed(age, period / 2.0);
                state.recent[1] += decayed(age, period * 2.0);
            }
        }
    }
    out
}

/// One row for every item of the history, as it stands at `now`; the items, ascending, come back.
fn cases(history: History<'_>, items: &[ItemState], now: i64, period: f64, rows: &mut Vec<f64>) -> Vec<u32> {
    let pairs = pairs(history);
    let mut times: Vec<i64> = history.ds.to_vec();
    times.dedup();
    let age = |ds: i64| now as f64 - ds as f64;
    let pace = [1.0, 4.0].map(|h| times.iter().map(|t| decayed(age(*t), h * period)).sum::<f64>());
    let all: f64 = pairs.iter().map(|p| p.occasions.len() as f64).sum();
    let per_item = all / pairs.len().max(1) as f64;
    for pair in &pairs {
        let n = pair.occasions.len();
        let (first, last) = (age(pair.occasions[0]) / period, age(pair.occasions[n - 1]) / period);
        let counts =
            HALF_LIVES.map(|h| pair.occasions.iter().map(|t| decayed(age(*t), h * period)).sum::<f64>());
        let (gap, newest) = match n {
            1 => (f64::NAN, f64::NAN),
            _ => (
                (first - last) / (n - 1) as f64,
                (pair.occasions[n - 1] as f64 - pair.occasions[n - 2] as f64) / period,
            ),
        };
        let item = items[pair.item as usize];
        rows.extend([n as f64, pair.lines, first, last]);
        rows.extend(counts);
        rows.extend([gap, last / gap, newest, last / newest]);
        rows.extend(pace);
        rows.extend([times.len() as f64, pairs.len() as f64, per_item]);
        rows.extend(item.recent);
        rows.extend([item.users, item.occasions / item.users.max(1.0), item.repeaters / item.users.max(1.0)]);
        rows.extend((0..4).map(|k| counts[k] / pace[usize::from(k > 1)].max(1e-9)));
    }
    pairs.into_iter().map(|p| p.item).collect()
}

fn names() -> Vec<String> {
    (0..COLUMNS).map(|k| format!("x{k}")).collect()
}

impl BuyAgain {
    fn trees(&self, run: &Run, data: &Interactions, period: f64, end: i64) -> Result<Option<FittedBoosting>> {
        let (mut rows, mut answers) = (Vec::new(), Vec::new());
        let mut rng = run.rng(31);
        // About how many pairs one cutoff brings, to draw users by.
        let n_pairs: usize = data.histories().map(|h| pairs(h).len()).sum();
        let share = self.cases_max as f64 / (n_pairs * self.cutoffs).max(1) as f64;
        for back in 1..=self.cutoffs {
            run.check()?;
            let cutoff = end.saturating_sub((period * back as f64) as i64);
            let until = end.saturating_sub((period * (back - 1) as f64) as i64);
            let items = item_states(data, cutoff, period);
            for history in data.histories() {
                let known = before(history, cutoff);
                if rng.random_range(0.0..1.0) >= share || known.is_empty() {
                    continue;
                }
                let next = before(history, until).from(known.len());
                let mut bought: Vec<u32> = next.items.to_vec();
                bought.sort_unstable();
                let asked = cases(known, &items, cutoff, period, &mut rows);
                answers.extend(asked.iter().map(|i| f64::from(u8::from(bought.binary_search(i).is_ok()))));
            }
        }
        // Trees need both answers, and enough of them to tell more than the counts do.
        const EACH_MIN: f64 = 50.0;
        let yes: f64 = answers.iter().sum();
        if yes < EACH_MIN || answers.len() as f64 - yes < EACH_MIN {
            return Ok(None);
        }
        // An item without a second purchase has no gap: not infinite, but unknown.
        rows.iter_mut().filter(|v| v.is_infinite()).for_each(|v| *v = f64::NAN);
        let x = Matrix::new(answers.len(), COLUMNS, rows)?;
        let data = Dataset::with_missing(x, answers, names())?;
        let learner = Boosting {
            n_rounds: self.rounds,
            learning_rate: self.learning_rate,
            min_child_samples: 100,
            l2: 1.0,
            ..Boosting::default()
        };
        learner.fit(&run.quiet(), Task::Binary, &data).map(Some)
    }
}

impl Rhythm {
    fn prepare(&mut self, known: &Interactions) {
        self.now = known.end().unwrap_or(0).saturating_add(1);
        self.items = item_states(known, self.now, self.period);
    }
}

impl Model for BuyAgain {
    type Learnt = Rhythm;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Rhythm> {
        let end = data.end().unwrap_or(0).saturating_add(1);
        let start = data.histories().filter_map(|h| h.ds.first().copied()).min().unwrap_or(end);
        let period = match self.period > 0.0 {
            true => self.period,
            false => ((end as f64 - start as f64) / 12.0).max(1.0),
        };
        let trees = self.trees(run, data, period, end)?;
        let mut out = Rhythm { params: self.clone(), period, trees, items: vec![], now: end };
        out.prepare(data);
        Ok(out)
    }

    fn restore(&self, learnt: &mut Rhythm, known: &Interactions) -> Result<()> {
        if !(learnt.period.is_finite() && learnt.period > 0.0) {
            return Err(Error::Invalid("saved buy_again has no period".into()));
        }
        learnt.prepare(known);
        Ok(())
    }
}

impl Learnt for Rhythm {
    const SPARSE: bool = true;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        let mut rows = Vec::new();
        let mut asked: Vec<(usize, u32)> = Vec::new();
        for (k, past) in pasts.iter().enumerate() {
            let now = past.history.ds.last().map_or(self.now, |t| self.now.max(t.saturating_add(1)));
            let items = cases(past.history, &self.items, now, self.period, &mut rows);
            asked.extend(items.into_iter().map(|i| (k, i)));
        }
        rows.iter_mut().filter(|v| v.is_infinite()).for_each(|v| *v = f64::NAN);
        let counts = |rows: &[f64]| rows.chunks_exact(COLUMNS).map(|r| r[LONG_COUNT]).collect::<Vec<f64>>();
        let chances = match &self.trees {
            None => counts(&rows),
            Some(trees) => {
                let fallback = counts(&rows);
                let x = Matrix::new(asked.len(), COLUMNS, rows);
                x.and_then(|x| trees.predict(&x)).map_or(fallback, |p| p.column(1))
            }
        };
        for ((k, item), chance) in asked.into_iter().zip(chances) {
            out[k * n + item as usize] += chance as f32;
        }
    }

    /// Nothing is like another here.
    fn similar(&self, _known: &Interactions, _item: u32, _out: &mut [f32]) {}

    /// The trees stay until the next fit; counts and times are those of the newest events.
    fn update(
        &mut self,
        _run: &Run,
        known: &Interactions,
        _newer: &Interactions,
        _users: &[u32],
    ) -> Result<()> {
        self.prepare(known);
        Ok(())
    }
}
