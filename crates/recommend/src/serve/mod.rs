//! Answers, one at a time and now: what to show on which surface to whom.
//!
//! ```text
//! Request ─→ candidates (model → counted pairs → rising → popular → newest → anything) ─→ filters, rules
//!                                                                                            │
//! Answer ←─ reasons ←─ mixing (MMR, DPP, caps, shares) ←─ boosts (margin, newness, rules) ←──┘
//! Event  ─→ live counters and histories, seen in the next answer
//! ```
//!
//! An [`Engine`] is shared behind an `Arc`: answers are made in parallel while events come in, items change and a newly
//! fitted model takes the place of the old one. It reads no clock: requests carry `now`, events their `ds`, in one unit.
//!
//! ```
//! use tradewind_core::{EventSettings, Interaction, Interactions, Params, Run};
//! use tradewind_recommend::live::Event;
//! use tradewind_recommend::serve::{Engine, Filters, Item, Items, Language, Request, Settings, Step, Surface};
//!
//! // A model fitted on what happened so far.
//! let rows = [("ann", "tea"), ("ann", "cup"), ("bob", "tea"), ("bob", "cup"), ("cy", "tea"), ("dee", "pen")];
//! let rows = rows.map(|(user, item)| Interaction { event: "purchase", ..Interaction::plain(user, item, 0) });
//! let data = Interactions::build(rows, &EventSettings::default()).unwrap();
//! let model = (tradewind_recommend::entry("item_knn").unwrap().build)(&Params::new()).unwrap();
//! let fitted = model.fit(&Run::new(1), &data).unwrap();
//!
//! // What the shop knows of its items.
//! let mut items = Items::new();
//! let cup = Item { title: Some("Blue cup".into()), price: Some(12.0), ..Item::default() };
//! items.set("cup", Item { category: Some("cups".into()), ..cup }).unwrap();
//! items.set("tea", Item { title: Some("Green tea".into()), price: Some(9.0), ..Item::default() }).unwrap();
//!
//! let engine = Engine::new(fitted, items, Settings::default()).unwrap();
//! let filters = Filters { rule: Some(r#"category in ["cups", "pots"] and price <= 20"#), ..Filters::default() };
//! let request = Request { user: Some("cy"), n: 1, filters, ..Request::new(Surface::ForYou, 100) };
//! let answer = engine.answer(&request).unwrap();
//! assert_eq!(answer.names(), ["cup"]);
//! assert_eq!(answer.answered_by, Some(Step::Model));
//! let reason = answer.items[0].reason.as_ref().unwrap();
//! assert_eq!(engine.reason_text(reason, Language::En), "because you bought Green tea");
//!
//! // An event changes the very next answer: the cup is bought, so it is not shown again.
//! engine.event(&Event { event: "purchase", ..Event::of("cy", "cup", 101) }).unwrap();
//! assert!(engine.answer(&request).unwrap().items.is_empty());
//! ```

mod diversity;
mod items;
mod path;
mod reasons;
mod request;
pub mod rules;

pub use diversity::{Boost, FairShares, Mix, Rerank};
pub use items::{Item, Items, Value};
pub use reasons::{Language, Reason};
pub use request::{Answer, Filters, Request, Shown, Step, Surface};

use crate::live::{Event, Kept, Live, LiveSettings, Taken};
use parking_lot::{RwLock as FairLock, RwLockReadGuard};
use rules::Rules;
use std::sync::{Arc, PoisonError, RwLock};
use tradewind_core::{FittedRecommender, ParamCheck, Result};

/// Settings of an [`Engine`].
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How events are counted.
    pub live: LiveSettings,
    /// Rules that hold for every answer, beside that of the request.
    pub rules: Vec<String>,
    /// The last events of a user that the model is shown when there are newer ones than it knows.
    pub history_max: usize,
    /// Items a request may ask for.
    pub n_max: usize,
    /// How much the user's taste counts in [`Surface::SearchRerank`], against the order of the search; 0 to 1.
    pub search_weight: f32,
    /// Whether pairs and transitions are counted over the model's own interactions when the engine is made; popularity
    /// always is. Some microseconds an event.
    pub replay: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            live: LiveSettings::default(),
            rules: vec![],
            history_max: 200,
            n_max: 1000,
            search_weight: 0.5,
            replay: true,
        }
    }
}

impl Settings {
    /// All faults of the settings.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(
            (1..=100_000).contains(&self.history_max),
            "history_max",
            self.history_max,
            "1 to 100000",
        );
        check.require((1..=100_000).contains(&self.n_max), "n_max", self.n_max, "1 to 100000");
        let weight = self.search_weight;
        check.require((0.0..=1.0).contains(&weight), "search_weight", weight, "0 to 1");
        check.finish()?;
        self.live.check()?;
        self.rules.iter().try_for_each(|rule| rules::check(rule))
    }
}

/// A model with the places of its items in the table, and back.
pub(crate) struct Serving {
    pub(crate) model: Arc<dyn FittedRecommender>,
    /// Whether the model orders by time.
    pub(crate) ordered: bool,
    /// For each of the model's items its position in the table.
    pub(crate) to_table: Vec<u32>,
    /// For each position of the table the model's, or `u32::MAX`.
    pub(crate) to_model: Vec<u32>,
    /// Whether both are the same for all items of the model.
    pub(crate) same: bool,
    /// For each kind of event of the model, whether it is a purchase.
    pub(crate) purchase: Vec<bool>,
}

/// Answers requests and takes in events; see the [module](self).
pub struct Engine {
    serving: RwLock<Arc<Serving>>,
    /// A fair lock: with the one of the standard library a change would wait until no answer at all is under way.
    items: FairLock<Items>,
    rules: Rules,
    live: Live,
    settings: Settings,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("model", &self.model().name()).finish_non_exhaustive()
    }
}

impl Engine {
    /// From a fitted model and the table of items. Items that the model knows and the table does not are put behind.
    pub fn new(model: Box<dyn FittedRecommender>, mut items: Items, settings: Settings) -> Result<Self> {
        settings.check()?;
        model.known().items().iter().for_each(|id| {
            items.position(id);
        });
        let serving = Serving::new(Arc::from(model), &items, &settings);
        let live = Live::new(settings.live.clone(), items.len())?;
        let rules = Rules::default();
        live.replay(serving.model.known(), &serving.to_table, settings.replay);
        Ok(Self {
            serving: RwLock::new(Arc::new(serving)),
            items: FairLock::new(items),
            rules,
            live,
            settings,
        })
    }

    /// Puts a newly fitted model in the place of the old one: requests under way are answered by the old one, the next
    /// ones by the new. Events that came since it was fitted go on to count, and none counts twice.
    pub fn replace(&self, model: Box<dyn FittedRecommender>) {
        let model: Arc<dyn FittedRecommender> = Arc::from(model);
        // Only names that are new need the table for themselves; the rest is looked up beside the answers.
        let new: Vec<&str> = {
            let items = self.items();
            model.known().items().iter().filter(|id| items.ids().find(id).is_none()).collect()
        };
        if !new.is_empty() {
            let mut items = self.items.write();
            new.into_iter().for_each(|id| {
                items.position(id);
            });
        }
        let serving = Arc::new(Serving::new(model, &self.items(), &self.settings));
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    /// The model that answers now.
    pub fn model(&self) -> Arc<dyn FittedRecommender> {
        self.serving().model.clone()
    }

    /// Takes in an item, or all that is known of one anew.
    pub fn set_item(&self, id: &str, item: Item) -> Result<()> {
        self.items.write().set(id, item).map(|_| ())
    }

    /// Changes one item in place, as its stock.
    pub fn change_item(&self, id: &str, change: impl FnOnce(&mut Item)) -> Result<()> {
        self.items.write().change(id, change).map(|_| ())
    }

    /// What is known of an item.
    pub fn item(&self, id: &str) -> Option<Item> {
        self.items().get(id).cloned()
    }

    /// Takes in an event; the next answer knows it.
    pub fn event(&self, event: &Event<'_>) -> Result<Taken> {
        self.live.check_event(event)?;
        let known = self.items().ids().find(event.item);
        let item = match known {
            Some(item) => item,
            None => {
                let mut items = self.items.write();
                if items.len() >= self.live.items_max() {
                    return Ok(Taken::NoRoomForItem);
                }
                items.position(event.item)
            }
        };
        let serving = self.serving();
        let last = self.settings.live.user_events_max;
        let base = |user: &str, out: &mut Vec<Kept>| serving.tail(user, last, out);
        Ok(self.live.take(event, item, base))
    }

    /// The answer to a request: empty only where the filters leave nothing.
    pub fn answer(&self, request: &Request<'_>) -> Result<Answer> {
        path::answer(self, request)
    }

    /// The sentence of a reason, with titles where items have one.
    pub fn reason_text(&self, reason: &Reason, language: Language) -> String {
        let items = self.items();
        reason.text(language, |id| items.get(id).and_then(|i| i.title.clone()))
    }

    /// The counters and histories.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.serving.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn items(&self) -> RwLockReadGuard<'_, Items> {
        self.items.read()
    }
}

impl Serving {
    /// All of the model's items must be in the table.
    fn new(model: Arc<dyn FittedRecommender>, items: &Items, settings: &Settings) -> Self {
        let place = |id: &str| items.ids().find(id).expect("the model's items are in the table");
        let to_table: Vec<u32> = model.known().items().iter().map(place).collect();
        let mut to_model = vec![u32::MAX; items.len()];
        to_table.iter().enumerate().for_each(|(m, t)| to_model[*t as usize] = m as u32);
        let same = to_table.iter().enumerate().all(|(m, t)| m as u32 == *t);
        let ordered = crate::entry(model.name()).is_ok_and(|e| e.ordered);
        let purchase = model.known().events().iter().map(|e| settings.live.is_purchase(e)).collect();
        Self { model, ordered, to_table, to_model, same, purchase }
    }

    /// The last events that the model knows of a user.
    pub(crate) fn tail(&self, user: &str, last: usize, out: &mut Vec<Kept>) {
        let known = self.model.known();
        let Some(user) = known.users().find(user) else { return };
        let history = known.history(user);
        let history = history.from(history.len().saturating_sub(last));
        out.extend((0..history.len()).map(|k| Kept {
            item: self.to_table[history.items[k] as usize],
            ds: history.ds[k],
            weight: history.weights[k],
            kind: history.events[k],
            purchase: self.purchase[usize::from(history.events[k])],
            known: true,
        }));
    }

    /// The model's position of an item of the table.
    pub(crate) fn in_model(&self, item: u32) -> Option<u32> {
        self.to_model.get(item as usize).copied().filter(|m| *m != u32::MAX)
    }
}
