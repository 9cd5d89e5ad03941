//! What to show to whom.
//!
//! ```text
//! Interactions ─→ CATALOG entry ─build→ Recommender ─fit→ FittedRecommender ─recommend→ Ranking
//!                                                               │  ▲
//!                                                         update┘  └load ← JSON ← save
//! ```
//!
//! Every method of the list [`CATALOG`] is reached in the same way; [`entry`] finds one by name. What all share stands
//! in one place: histories, filters, the best of the scores, filling up with what is popular, saving. [`evaluate`]
//! tells how good an answer is.
//!
//! ```
//! use tradewind_core::{Ask, EventSettings, Interaction, Interactions, Params, Run};
//! let rows = [("ann", "tea"), ("ann", "cup"), ("bob", "tea"), ("bob", "cup"), ("cy", "tea"), ("dee", "pen")];
//! let rows = rows.map(|(user, item)| Interaction::plain(user, item, 0));
//! let data = Interactions::build(rows, &EventSettings::default()).unwrap();
//! let run = Run::new(1);
//! let model = (tradewind_recommend::entry("item_knn").unwrap().build)(&Params::new()).unwrap();
//! let fitted = model.fit(&run, &data).unwrap();
//! let list = fitted.recommend(&run, &["cy"], &Ask::new(1)).unwrap();
//! assert_eq!(data.items().name(list.list(0).items[0]), "cup");
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `popularity`, `item_knn`, `user_knn`, `rp3beta`, `random_walk`, `graph_filter`, `ials`, `bpr`, `light_gcn`, `ease`, `slim` | taste: what goes with the whole history |
//! | `svdpp` | ratings: what somebody would give |
//! | `transitions`, `slit`, `sasrec`, `bert4rec`, `gru4rec`, `session_knn` | sequence: what comes next |
//! | `buy_again` | rhythm: what will be bought again |
//! | `content`, `cold_factors`, `two_tower` | attributes: what is alike by terms and vectors, and where they place new items |
//! | `factorisation_machine` | users, items, histories and attributes as features of one machine |
//! | `hybrid`, `ranker` | several of them, weighted on events held back, or put in order by trees learnt there |
//! | `bandit` | what to show when showing is also the way to learn (a policy, not in the catalogue) |
//! | `tune` | the parameters of any method, by search on events held back |
//! | `similarity`, `gram`, `spectral`, `wide`, `top` | how alike rows are, sums of products, leading directions, hot loops, the best of many scores |
//! | `item_features` | what items are made of, for networks |
//! | `sequential` | what networks that read histories share: training, scores, saving |
//! | `fitted` | what all methods share |
//! | `serve` | one answer now: candidates, filters, rules, mixing, reasons |
//! | `live` | what events change at once: histories, sessions, pairs, popularity |
//! | `search` | the exact best of many vectors |
//! | `evaluate` | splits, measures, comparison of methods, estimates from logs |
//!
//! What this crate refuses to do: read files, clocks or the network; show what a filter excludes; fail because a user
//! is unknown or has no history (the answer then says that it is not the model's).

pub mod bandit;
pub mod evaluate;
mod fitted;
mod gram;
mod item_features;
pub mod live;
mod search;
mod sequential;
pub mod serve;
pub mod similarity;
mod spectral;
mod ties;
mod top;
pub mod tune;
mod wide;

use tradewind_core::{Error, Params, RecommenderEntry, Result};

/// Declares each method's module and puts its `ENTRY` into [`CATALOG`]: a new method is its file and a line here.
macro_rules! catalog {
    ($($module:ident :: $model:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// All recommenders, in the order in which they are shown.
        pub const CATALOG: &[RecommenderEntry] = &[$($module::ENTRY),*];

        /// A method behind a pointer, to be a part of another.
        fn model(name: &str, params: &Params) -> Result<Box<dyn fitted::AnyModel>> {
            $(if name == $module::ENTRY.name {
                return fitted::any::<$module::$model>(params);
            })*
            Err(unknown(name))
        }
    };
}

catalog! {
    popularity::Popularity,
    item_knn::ItemKnn,
    user_knn::UserKnn,
    rp3beta::Rp3Beta,
    random_walk::RandomWalk,
    graph_filter::GraphFilter,
    ials::Ials,
    bpr::Bpr,
    light_gcn::LightGcn,
    ease::Ease,
    slim::Slim,
    svdpp::SvdPp,
    transitions::Transitions,
    slit::Slit,
    sasrec::SasRec,
    bert4rec::Bert4Rec,
    gru4rec::Gru4Rec,
    session_knn::SessionKnn,
    buy_again::BuyAgain,
    content::Content,
    cold_factors::ColdFactors,
    two_tower::TwoTower,
    factorisation_machine::FactorisationMachine,
    hybrid::Hybrid,
    ranker::Ranker,
}

/// The catalogue entry of that name; the error lists all names.
///
/// ```
/// assert_eq!(tradewind_recommend::entry("ease").unwrap().name, "ease");
/// assert!(tradewind_recommend::entry("eas").unwrap_err().to_string().contains("ease"));
/// ```
pub fn entry(name: &str) -> Result<&'static RecommenderEntry> {
    CATALOG.iter().find(|e| e.name == name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::NotFound {
        what: "recommender",
        name: name.to_owned(),
        known: CATALOG.iter().map(|e| e.name).collect::<Vec<_>>().join(", "),
    }
}
