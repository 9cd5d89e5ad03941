//! Versions of the kind `recommendations`: what to show to whom, changed by every event.
//!
//! ```text
//! artifact.json      the recommender, its parameters, what events count, how much it was fitted on
//! recommender.json   what was learnt, with the events
//! items.json         what is known of the items
//! ```
//!
//! An [`Engine`] holds what came since: counters, histories and sessions, all bounded by its settings.

use super::Findings;
use super::folder::{Reader, Writer};
use crate::error::{Error, Result};
use crate::recommending::{
    self, FitRequest, HeldBack, Manifest, Model, describe, evaluate_models, event_settings,
    shop_interactions, shop_items,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use tradewind_core::{Interactions, ParamCheck, Params, Run};
use tradewind_recommend::live::{Event, LiveSettings, Taken};
use tradewind_recommend::serve::{self, Answer, Engine, Item, Items, Request, Settings};
use tradewind_warehouse::Shop;

const RECOMMENDER: &str = "recommender.json";
const ITEMS: &str = "items.json";
/// The simple answer that the model is measured beside.
const NAIVE: &str = "popularity";
/// The length of the lists that are measured.
const LENGTH: usize = 10;
const SECONDS_OF_A_DAY: i64 = 86_400;

/// What is to be recommended by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecommendationsRequest {
    /// The recommender's name in the catalogue.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// Rules that hold for every answer; see [`tradewind_recommend::serve::rules`].
    pub rules: Vec<String>,
    /// The last days held back to be measured on, 1 to 366.
    pub held_back_days: u32,
}

impl Default for RecommendationsRequest {
    fn default() -> Self {
        Self { model: "hybrid".into(), params: Params::new(), rules: vec![], held_back_days: 7 }
    }
}

#[derive(Serialize, Deserialize)]
struct About {
    manifest: Manifest,
    rules: Vec<String>,
}

/// Fits and writes.
pub(super) fn make(
    run: &Run,
    shop: &Shop,
    request: &RecommendationsRequest,
    writer: &mut Writer,
    findings: &mut Findings,
) -> Result<Value> {
    let days = request.held_back_days;
    let mut check = ParamCheck::new();
    check.require((1..=366).contains(&days), "held_back_days", days, "1 to 366").finish()?;
    request.rules.iter().try_for_each(|rule| serve::rules::check(rule))?;
    let settings = event_settings(&shop.settings().recommend);
    let items = shop_items(shop)?;
    let data = describe(&items, shop_interactions(shop, &settings)?)?;
    measure(run, &data, request, findings)?;
    let fit = FitRequest { model: request.model.clone(), params: request.params.clone(), settings };
    let model = recommending::fit(run, &data, &fit)?;
    writer.json(RECOMMENDER, &model.fitted.save()?)?;
    let stored: Vec<StoredItem> =
        items.ids().iter().enumerate().map(|(at, id)| StoredItem::of(id, items.at(at as u32))).collect();
    writer.json(ITEMS, &stored)?;
    // How long the fit took is no part of what was learnt.
    let manifest = Manifest { fit_seconds: 0.0, ..model.manifest };
    serde_json::to_value(&About { manifest, rules: request.rules.clone() }).map_err(|source| {
        Error::Core(tradewind_core::Error::Saved { what: "recommendations".to_owned(), source })
    })
}

/// Measures on the last days, of a model that had not seen them, and of what is popular beside it.
fn measure(
    run: &Run,
    data: &Interactions,
    request: &RecommendationsRequest,
    findings: &mut Findings,
) -> Result<()> {
    let seconds = i64::from(request.held_back_days) * SECONDS_OF_A_DAY;
    let split = match HeldBack::Time(seconds).split(run, data) {
        Ok(split) => split,
        // Nobody came back in the last days: the model can be fitted, only not measured.
        Err(Error::Asked { text, .. }) => {
            findings.notes.push(format!("measures of recommendations: {text}"));
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let mut models = vec![(request.model.clone(), request.params.clone())];
    if request.model != NAIVE {
        models.push((NAIVE.to_owned(), Params::new()));
    }
    for scored in evaluate_models(run, &split, &models, &[LENGTH], false)? {
        let suffix = if scored.model == request.model { String::new() } else { format!("_{NAIVE}") };
        let Some(at) = scored.evaluation.at.first() else { continue };
        for (name, value) in [
            ("ndcg", at.ndcg.mean),
            ("precision", at.precision.mean),
            ("recall", at.recall.mean),
            ("hit_rate", at.hit_rate.mean),
            ("mrr", at.mrr.mean),
            ("map", at.map.mean),
            ("coverage", at.coverage),
            ("novelty_bits", at.novelty_bits),
        ] {
            findings.measure(format!("{name}_{LENGTH}{suffix}"), value);
        }
        findings.measure("users", scored.evaluation.n_users as f64);
    }
    Ok(())
}

/// A free attribute as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredValue {
    Flag(bool),
    Number(f64),
    Text(String),
    Texts(Vec<String>),
}

/// An item as it is stored.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredItem {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    blocked: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, StoredValue>,
}

impl StoredItem {
    fn of(id: &str, item: &Item) -> Self {
        let item = item.clone();
        let stored = |value| match value {
            serve::Value::Flag(v) => StoredValue::Flag(v),
            serve::Value::Number(v) => StoredValue::Number(v),
            serve::Value::Text(v) => StoredValue::Text(v),
            serve::Value::Texts(v) => StoredValue::Texts(v),
        };
        Self {
            id: id.to_owned(),
            title: item.title,
            category: item.category,
            price: item.price,
            stock: item.stock,
            regions: item.regions,
            created: item.created,
            margin: item.margin,
            tags: item.tags,
            blocked: item.blocked,
            attributes: item.attributes.into_iter().map(|(name, v)| (name, stored(v))).collect(),
        }
    }

    fn item(self) -> (String, Item) {
        let value = |stored| match stored {
            StoredValue::Flag(v) => serve::Value::Flag(v),
            StoredValue::Number(v) => serve::Value::Number(v),
            StoredValue::Text(v) => serve::Value::Text(v),
            StoredValue::Texts(v) => serve::Value::Texts(v),
        };
        let item = Item {
            title: self.title,
            category: self.category,
            price: self.price,
            stock: self.stock,
            regions: self.regions,
            created: self.created,
            margin: self.margin,
            tags: self.tags,
            blocked: self.blocked,
            attributes: self.attributes.into_iter().map(|(name, v)| (name, value(v))).collect(),
        };
        (self.id, item)
    }
}

/// Recommendations in memory.
#[derive(Debug)]
pub struct Recommendations {
    engine: Engine,
    manifest: Manifest,
    /// The time of the newest event known.
    newest: AtomicI64,
}

impl Recommendations {
    pub(super) fn read(reader: &Reader) -> Result<Self> {
        let About { manifest, rules } = reader.about()?;
        let load = tradewind_recommend::entry(&manifest.model)?.load;
        let fitted = load(reader.json(RECOMMENDER)?)?;
        let mut items = Items::new();
        for stored in reader.json::<Vec<StoredItem>>(ITEMS)? {
            let (id, item) = stored.item();
            items.set(&id, item)?;
        }
        let event_weights = manifest.settings.event_weights.clone();
        let live = LiveSettings { event_weights, ..LiveSettings::default() };
        let engine = Engine::new(fitted, items, Settings { live, rules, ..Settings::default() })?;
        let newest = AtomicI64::new(manifest.until.unwrap_or(i64::MIN));
        Ok(Self { engine, manifest, newest })
    }

    /// As from a folder, of a model in memory; for shops too small to keep artifacts, and for tests.
    ///
    /// # Errors
    /// A state of the model that does not fit its items.
    pub fn of_model(model: Model, items: Items) -> Result<Self> {
        let manifest = model.manifest.clone();
        let newest = AtomicI64::new(manifest.until.unwrap_or(i64::MIN));
        Ok(Self { engine: model.engine(items)?, manifest, newest })
    }

    /// The recommender and what it was fitted on.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The engine, for items that change and sentences of reasons.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The present of the shop: the time of its newest event, which the clock of the machine may be far ahead of. In
    /// seconds since 1970; 0 where nothing ever happened.
    pub fn now(&self) -> i64 {
        match self.newest.load(Ordering::Relaxed) {
            i64::MIN => 0,
            newest => newest,
        }
    }

    /// The time of the last event that the model itself knows.
    pub fn until(&self) -> Option<i64> {
        self.manifest.until
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// A request out of range, a rule that is none.
    pub fn answer(&self, request: &Request<'_>) -> Result<Answer> {
        Ok(self.engine.answer(request)?)
    }

    /// Takes in an event; the next answer knows it.
    ///
    /// # Errors
    /// An event whose values are out of range.
    pub fn event(&self, event: &Event<'_>) -> Result<Taken> {
        let taken = self.engine.event(event)?;
        if taken == Taken::Counted {
            self.newest.fetch_max(event.ds, Ordering::Relaxed);
        }
        Ok(taken)
    }
}
