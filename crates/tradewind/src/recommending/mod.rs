//! Recommendations, from events to lists: a file or a shop in, a model's folder out; whom and where in, items out.
//!
//! ```text
//! file or shop ─ read ─→ Interactions ─ fit ─→ Model ─ write ─→ folder
//!                                                ├─ lists ──→ table (many users at once)
//! products, stock ─ items ─→ Items ──────────────┴─ engine ─→ Engine (one answer at a time, with reasons)
//! ```

mod folder;
mod items;
mod read;

pub use items::{describe, read_items, shop_items};
pub use read::{event_settings, follow, read_interactions, read_users, shop_interactions};

use crate::error::{Error, Result};
use arrow::array::{AsArray, Float32Builder, StringBuilder};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use tradewind_core::{Ask, EventSettings, FittedRecommender, Interactions, LeftOut, ParamCheck, Params, Run};
use tradewind_recommend::evaluate::{self, Evaluation, Paired, Split, paired};
use tradewind_recommend::live::LiveSettings;
use tradewind_recommend::serve::{Engine, Items, Settings};
use tradewind_recommend::tune::HoldBack;

/// What is to be fitted.
#[derive(Clone, Debug, Default)]
pub struct FitRequest {
    /// The recommender's name in the catalogue.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// How rows became interactions, for the manifest.
    pub settings: EventSettings,
}

/// What a model's folder says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the folder.
    pub format: u32,
    /// The version of Tradewind that fitted it.
    pub version: String,
    /// The recommender.
    pub model: String,
    /// Its parameters, those that were given.
    pub params: Params,
    /// What events counted.
    pub settings: EventSettings,
    /// Users it was fitted on.
    pub users: usize,
    /// Items it knows.
    pub items: usize,
    /// Events it was fitted on.
    pub events: usize,
    /// Rows that were left out, by reason.
    pub left_out: LeftOut,
    /// The time of the last event.
    pub until: Option<i64>,
    /// The seed.
    pub seed: u64,
    /// Seconds of the fit alone.
    pub fit_seconds: f64,
    /// Fingerprint of what was learnt, the events included.
    pub model_hash: String,
}

/// A fitted recommender.
pub struct Model {
    /// What it says of itself.
    pub manifest: Manifest,
    /// What was learnt.
    pub fitted: Box<dyn FittedRecommender>,
}

/// Fits a recommender.
///
/// # Errors
/// Parameters out of range, no events, cancellation.
pub fn fit(run: &Run, data: &Interactions, request: &FitRequest) -> Result<Model> {
    some(data)?;
    let model = (tradewind_recommend::entry(&request.model)?.build)(&request.params)?;
    let started = Instant::now();
    let fitted = model.fit(run, data)?;
    let fit_seconds = started.elapsed().as_secs_f64();
    let manifest = Manifest {
        format: folder::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: request.model.clone(),
        params: request.params.clone(),
        settings: request.settings.clone(),
        users: data.users().len(),
        items: data.items().len(),
        events: data.len(),
        left_out: data.left_out(),
        until: data.end(),
        seed: run.seed,
        fit_seconds,
        model_hash: String::new(),
    };
    Ok(Model { manifest, fitted })
}

fn some(data: &Interactions) -> Result<()> {
    match data.is_empty() {
        true => Err(Error::asked(
            "there are no events to learn from",
            "look at the file, and at the weights of the kinds of event: those of 0 are left out",
        )),
        false => Ok(()),
    }
}

/// Users whose lists are made before any is written down.
const USERS_AT_ONCE: usize = 4096;

impl Model {
    /// The best `k` items of each user as a table `user, item, score`, in the order of the users. A user who is not
    /// known gets what is popular.
    ///
    /// # Errors
    /// A `k` out of range, cancellation.
    pub fn lists(&self, run: &Run, users: &[String], k: usize, allow_seen: bool) -> Result<Vec<RecordBatch>> {
        let mut check = ParamCheck::new();
        check.require((1..=10_000).contains(&k), "k", k, "1 to 10000").finish()?;
        let items = self.fitted.known().items();
        let progress = run.progress();
        progress.begin("recommend", users.len() as u64);
        let quiet = run.quiet();
        let mut out = Vec::new();
        for part in users.chunks(USERS_AT_ONCE) {
            run.check()?;
            let names: Vec<&str> = part.iter().map(String::as_str).collect();
            let ranking = self.fitted.recommend(&quiet, &names, &Ask::new(k).with_seen(allow_seen))?;
            let (mut user, mut item, mut score) =
                (StringBuilder::new(), StringBuilder::new(), Float32Builder::new());
            for (name, list) in names.iter().zip(ranking.iter()) {
                for (i, s) in list.items.iter().zip(list.scores) {
                    user.append_value(name);
                    item.append_value(items.name(*i));
                    score.append_value(*s);
                }
            }
            let columns: Vec<arrow::array::ArrayRef> =
                vec![Arc::new(user.finish()), Arc::new(item.finish()), Arc::new(score.finish())];
            let batch = RecordBatch::try_new(list_schema(), columns)
                .map_err(|e| tradewind_core::Error::Invalid(format!("the lists do not make a table: {e}")))?;
            out.push(batch);
            progress.advance(part.len() as u64);
        }
        progress.end();
        Ok(out)
    }

    /// An engine that answers one request at a time by this model, and counts events as the model did.
    ///
    /// # Errors
    /// A state of the model that does not fit its items.
    pub fn engine(self, items: Items) -> Result<Engine> {
        let event_weights = self.manifest.settings.event_weights;
        let live = LiveSettings { event_weights, ..LiveSettings::default() };
        Ok(Engine::new(self.fitted, items, Settings { live, ..Settings::default() })?)
    }
}

/// The columns of [`Model::lists`].
pub fn list_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("user", DataType::Utf8, false),
        Field::new("item", DataType::Utf8, false),
        Field::new("score", DataType::Float32, false),
    ]))
}

/// The rows of [`Model::lists`].
pub fn list_rows(lists: &[RecordBatch]) -> impl Iterator<Item = (&str, &str, f32)> + '_ {
    lists.iter().flat_map(|batch| {
        let (user, item) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let score = batch.column(2).as_primitive::<Float32Type>();
        (0..batch.num_rows()).map(move |i| (user.value(i), item.value(i), score.value(i)))
    })
}

/// What is held back to be asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeldBack {
    /// The last event of every user.
    Last,
    /// This share of the events, by chance.
    Random(f64),
    /// Everything in the last so many units of time.
    Time(i64),
}

impl HeldBack {
    /// The same for a search of parameters.
    pub fn for_search(self, data: &Interactions) -> HoldBack {
        match self {
            Self::Last => HoldBack::Last,
            Self::Random(share) => HoldBack::Random(share),
            Self::Time(length) => HoldBack::From(first_of_last(data, length)),
        }
    }

    /// Splits interactions.
    ///
    /// # Errors
    /// A share or a time out of range; nothing held back, or nothing left.
    pub fn split(self, run: &Run, data: &Interactions) -> Result<Split> {
        some(data)?;
        let mut check = ParamCheck::new();
        let split = match self {
            Self::Last => evaluate::leave_last_out(run, data, 3),
            Self::Random(share) => {
                check.require(share > 0.0 && share < 1.0, "share", share, "above 0 and below 1").finish()?;
                evaluate::random(run, data, share)
            }
            Self::Time(length) => {
                check.require(length > 0, "time held back", length, "1 and more").finish()?;
                evaluate::by_time(data, first_of_last(data, length))
            }
        };
        if split.held.is_empty() || split.train.is_empty() {
            return Err(Error::asked(
                "no user has enough events to hold some back",
                "hold back in another way, or give more events",
            ));
        }
        Ok(split)
    }
}

/// The first `ds` of the last so many units.
fn first_of_last(data: &Interactions, length: i64) -> i64 {
    data.end().unwrap_or(0).saturating_sub(length.saturating_sub(1))
}

/// Draws of users when two recommenders are compared.
const BOOTSTRAP_DRAWS: usize = 1000;

/// How a recommender did on what was held back.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Its name.
    pub model: String,
    /// Its parameters, those that were given.
    pub params: Params,
    /// How good its lists are.
    pub evaluation: Evaluation,
    /// The best one's NDCG less this one's, by the same users; none for the best itself.
    pub behind: Option<Paired>,
    /// Seconds of the fit.
    pub fit_seconds: f64,
    /// Seconds of all answers.
    pub answer_seconds: f64,
}

/// Fits each recommender on what is left and asks it for what was held back; the best by NDCG comes first.
///
/// # Errors
/// As [`fit`], and lengths out of range.
pub fn evaluate_models(
    run: &Run,
    split: &Split,
    models: &[(String, Params)],
    lengths: &[usize],
    allow_seen: bool,
) -> Result<Vec<Scored>> {
    let mut out = Vec::with_capacity(models.len());
    run.progress().begin("evaluate", models.len() as u64);
    let quiet = run.quiet();
    for (model, params) in models {
        run.check()?;
        let recommender = (tradewind_recommend::entry(model)?.build)(params)?;
        let started = Instant::now();
        let fitted = recommender.fit(&quiet, &split.train)?;
        let fit_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let ask = Ask::new(1).with_seen(allow_seen);
        let evaluation = evaluate::evaluate(&quiet, &*fitted, &split.held, lengths, &ask)?;
        out.push(Scored {
            model: model.clone(),
            params: params.clone(),
            evaluation,
            behind: None,
            fit_seconds,
            answer_seconds: started.elapsed().as_secs_f64(),
        });
        run.progress().advance(1);
    }
    run.progress().end();
    let ndcg = |s: &Scored| s.evaluation.at.first().map_or(0.0, |a| a.ndcg.mean);
    out.sort_by(|a, b| ndcg(b).total_cmp(&ndcg(a)));
    if let [best, others @ ..] = &mut out[..] {
        for other in others {
            let (a, b) = (&best.evaluation.ndcg_by_user, &other.evaluation.ndcg_by_user);
            other.behind = Some(paired(run, a, b, BOOTSTRAP_DRAWS)?);
        }
    }
    Ok(out)
}
