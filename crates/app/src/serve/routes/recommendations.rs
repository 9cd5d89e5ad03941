//! `/v1/recommendations`: what to show to whom, on every surface, with filters, rules, mixing and reasons.

use super::experiments::expose;
use super::wire::{LanguageParam, ModelRef, json, listed};
use crate::serve::arms;
use crate::serve::domain::{Domain, fresh};
use crate::serve::door::Door;
use crate::serve::extract::{Body, Query};
use crate::serve::layers::RequestId;
use crate::serve::problem::Problem;
use crate::serve::state::Server;
use crate::serve::table::Routes;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tradewind::core::ParamCheck;
use tradewind::ops::access::{Role, Scope};
use tradewind::recommend::serve::{Answer, Boost, Filters, Mix, Request, Rerank, Step, Surface, rules};
use tradewind::serving::{Loaded, Recommendations};
use tradewind::wording::Language;
use tradewind::{Error, Result};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

/// The route's name in the table of versions.
pub(crate) const ROUTE: &str = "recommendations";

/// Items wanted at most.
const N_MAX: usize = 200;
/// Items of a request (looked at, in the cart, to be ranked) at most.
const AT_HAND_MAX: usize = 1_000;
/// Users of one batch at most.
pub(crate) const USERS_MAX: usize = 1_000;
/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 512;
/// Bytes of a rule at most.
const RULE_BYTES_MAX: usize = 4_096;
/// Boosts of a request at most.
const BOOSTS_MAX: usize = 20;

/// Where the answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SurfaceParam {
    /// What fits the user.
    #[default]
    ForYou,
    /// What is like the items given.
    Similar,
    /// What is bought together with the items given.
    BoughtTogether,
    /// What comes next in the session.
    NextInSession,
    /// What rises now.
    Trending,
    /// What goes with a whole cart.
    CartAddOns,
    /// The items given, in the best order.
    RankThese,
    /// The items that a search found, moved towards what fits the user.
    SearchRerank,
}

impl From<SurfaceParam> for Surface {
    fn from(surface: SurfaceParam) -> Self {
        match surface {
            SurfaceParam::ForYou => Self::ForYou,
            SurfaceParam::Similar => Self::Similar,
            SurfaceParam::BoughtTogether => Self::BoughtTogether,
            SurfaceParam::NextInSession => Self::NextInSession,
            SurfaceParam::Trending => Self::Trending,
            SurfaceParam::CartAddOns => Self::CartAddOns,
            SurfaceParam::RankThese => Self::RankThese,
            SurfaceParam::SearchRerank => Self::SearchRerank,
        }
    }
}

/// What recommendations are asked for by a link.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecommendationsParams {
    /// Who asks; unknown users are answered as new ones.
    user: Option<String>,
    /// The session whose events count beside those of the user.
    session: Option<String>,
    /// The item looked at, the cart, the items to rank, with commas between them.
    items: Option<String>,
    /// Items wanted, 1 to 200 (10 when not said).
    #[param(minimum = 1, maximum = 200)]
    n: Option<usize>,
    /// Only these categories, with commas between them.
    categories: Option<String>,
    /// Lowest price.
    price_min: Option<f64>,
    /// Highest price.
    price_max: Option<f64>,
    /// Only items that are sold in this region.
    region: Option<String>,
    /// Not these items, with commas between them.
    exclude: Option<String>,
    /// Only items for which this rule holds, as `margin > 0.2 and not category in ["sale"]`.
    rule: Option<String>,
    /// Also items out of stock.
    out_of_stock: bool,
    /// Whether items of the user's own history may come back; by the surface when not said.
    allow_seen: Option<bool>,
    /// 0: by relevance alone, towards 1: unlike each other.
    #[param(minimum = 0, maximum = 1)]
    diversity: Option<f64>,
    /// Whether each item comes with its reason.
    reason: bool,
    /// The language of reasons.
    lang: Option<LanguageParam>,
}

impl RecommendationsParams {
    /// The same as a body, for one surface.
    pub(crate) fn body(self, surface: SurfaceParam) -> RecommendationsBody {
        let list = |text: Option<String>| {
            text.map(|t| listed(&t).map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
        };
        RecommendationsBody {
            surface,
            user: self.user,
            session: self.session,
            items: list(self.items),
            n: self.n.unwrap_or_else(ten),
            filters: FiltersBody {
                categories: list(self.categories),
                price_min: self.price_min,
                price_max: self.price_max,
                region: self.region,
                exclude: list(self.exclude),
                rule: self.rule,
                out_of_stock: self.out_of_stock,
                allow_seen: self.allow_seen,
                bought_within_seconds: 0,
            },
            mix: MixBody { diversity: self.diversity.unwrap_or(0.0), ..MixBody::default() },
            personal: true,
            reason: self.reason,
            lang: self.lang,
        }
    }
}

/// What must not be shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FiltersBody {
    /// Only these categories, where some are given.
    categories: Vec<String>,
    /// Lowest price.
    price_min: Option<f64>,
    /// Highest price.
    price_max: Option<f64>,
    /// Only items that are sold in this region, or everywhere.
    region: Option<String>,
    /// Not these items.
    exclude: Vec<String>,
    /// Only items for which this rule holds.
    rule: Option<String>,
    /// Also items out of stock.
    out_of_stock: bool,
    /// Whether items of the user's own history may come back; by the surface when not said.
    allow_seen: Option<bool>,
    /// Leaves out what the user bought so many seconds ago at most; 0: nothing.
    bought_within_seconds: i64,
}

/// A factor for the items for which a rule holds.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoostBody {
    /// The rule.
    rule: String,
    /// Above 1 lifts, below 1 holds back.
    factor: f32,
}

/// How the list is mixed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MixBody {
    /// 0: by relevance alone, towards 1: unlike each other.
    diversity: f64,
    /// Items of one category at most; 0: any number.
    category_max: usize,
    /// How much what few people know is lifted, 0 to 2.
    novelty: f32,
    /// How much new items are lifted, 0 to 100.
    freshness: f32,
    /// How much a margin lifts, 0 to 100.
    margin: f32,
    /// Factors by rule.
    boosts: Vec<BoostBody>,
}

/// What recommendations are asked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecommendationsBody {
    /// Where the answer is shown.
    pub(crate) surface: SurfaceParam,
    /// Who asks; unknown users are answered as new ones.
    pub(crate) user: Option<String>,
    /// The session whose events count beside those of the user.
    session: Option<String>,
    /// The item looked at, the cart, the items to rank.
    items: Vec<String>,
    /// Items wanted, 1 to 200.
    n: usize,
    /// What must not be shown.
    filters: FiltersBody,
    /// How the list is mixed.
    mix: MixBody,
    /// Whether the events of user and session may be used.
    personal: bool,
    /// Whether each item comes with its reason.
    reason: bool,
    /// The language of reasons.
    lang: Option<LanguageParam>,
}

impl Default for RecommendationsBody {
    fn default() -> Self {
        Self {
            surface: SurfaceParam::default(),
            user: None,
            session: None,
            items: vec![],
            n: ten(),
            filters: FiltersBody::default(),
            mix: MixBody::default(),
            personal: true,
            reason: false,
            lang: None,
        }
    }
}

fn ten() -> usize {
    10
}

/// Many users asked for at once.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    /// The users, 1 to 1,000.
    pub(crate) users: Vec<String>,
    /// What all of them are asked for; its `user` is not looked at.
    #[serde(default)]
    request: RecommendationsBody,
}

/// Why an item is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonWire {
    /// Its kind: bought, met, follows, bought_with, like, rising, popular, new, found.
    kind: &'static str,
    /// The item named as the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// The category named.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// In words.
    text: String,
}

/// One item.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemWire {
    /// The item.
    item: String,
    /// Its score; scores compare within one step only.
    score: f32,
    /// The step that gave it: model, session, trending_in_category, popular, newest, anything, given.
    step: &'static str,
    /// Why it is shown, on request and where there is a reason that is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonWire>,
}

/// What to show.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecommendationsAnswer {
    /// Which version answered.
    model: ModelRef,
    /// Where the answer is shown.
    surface: SurfaceParam,
    /// The step that gave the first item; null where nothing may be shown.
    answered_by: Option<&'static str>,
    /// The items, best first.
    items: Vec<ItemWire>,
}

/// The list of one user of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserListWire {
    /// The user.
    user: String,
    /// The items, best first.
    items: Vec<ItemWire>,
}

/// The lists of many users.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    /// Which version answered.
    model: ModelRef,
    /// Where the answers are shown.
    surface: SurfaceParam,
    /// A list a user, in the order of the request.
    lists: Vec<UserListWire>,
}

fn check(asked: &RecommendationsBody) -> Result<()> {
    let mut check = ParamCheck::new();
    check.require((1..=N_MAX).contains(&asked.n), "n", asked.n, "1 to 200");
    for (name, n) in [
        ("items", asked.items.len()),
        ("exclude", asked.filters.exclude.len()),
        ("categories", asked.filters.categories.len()),
    ] {
        check.require(n <= AT_HAND_MAX, name, format!("{n} entries"), "up to 1000");
    }
    check.require(asked.mix.boosts.len() <= BOOSTS_MAX, "boosts", asked.mix.boosts.len(), "up to 20");
    let diversity = asked.mix.diversity;
    check.require((0.0..=1.0).contains(&diversity), "diversity", diversity, "0 to 1");
    let within = asked.filters.bought_within_seconds;
    check.require(
        (0..=10_000_000_000).contains(&within),
        "bought_within_seconds",
        within,
        "0 to 10000000000",
    );
    for (name, price) in [("price_min", asked.filters.price_min), ("price_max", asked.filters.price_max)] {
        check.require(price.is_none_or(f64::is_finite), name, "no number", "a number");
    }
    // Names are not told in errors: they may be people's.
    let names = asked.user.iter().chain(&asked.session).chain(&asked.items).chain(&asked.filters.exclude);
    check.require(
        names.clone().all(|n| n.len() <= NAME_BYTES_MAX),
        "names of users, sessions and items",
        "a longer one",
        "up to 512 bytes",
    );
    let rules_of = asked.filters.rule.iter().chain(asked.mix.boosts.iter().map(|b| &b.rule));
    check.require(
        rules_of.clone().all(|r| r.len() <= RULE_BYTES_MAX),
        "rule",
        "a longer one",
        "up to 4096 bytes",
    );
    check.finish()?;
    rules_of.into_iter().try_for_each(|rule| rules::check(rule))?;
    Ok(())
}

/// Asks the engine.
fn ask(engine: &Recommendations, asked: &RecommendationsBody, user: Option<&str>) -> Result<Answer> {
    let items: Vec<&str> = asked.items.iter().map(String::as_str).collect();
    let categories: Vec<&str> = asked.filters.categories.iter().map(String::as_str).collect();
    let exclude: Vec<&str> = asked.filters.exclude.iter().map(String::as_str).collect();
    let boosts: Vec<Boost<'_>> =
        asked.mix.boosts.iter().map(|b| Boost { rule: &b.rule, factor: b.factor }).collect();
    let diversity = asked.mix.diversity as f32;
    let request = Request {
        user,
        session: asked.session.as_deref(),
        items: &items,
        n: asked.n,
        personal: asked.personal,
        explain: asked.reason,
        filters: Filters {
            in_stock: !asked.filters.out_of_stock,
            allow_seen: asked.filters.allow_seen,
            bought_within: asked.filters.bought_within_seconds,
            categories: &categories,
            price_min: asked.filters.price_min,
            price_max: asked.filters.price_max,
            region: asked.filters.region.as_deref(),
            exclude: &exclude,
            rule: asked.filters.rule.as_deref(),
        },
        rerank: Rerank {
            mix: if diversity > 0.0 { Mix::Mmr(1.0 - diversity) } else { Mix::Relevance },
            category_max: asked.mix.category_max,
            novelty: asked.mix.novelty,
            freshness: asked.mix.freshness,
            margin: asked.mix.margin,
            boosts: &boosts,
            ..Rerank::default()
        },
        ..Request::new(asked.surface.into(), engine.now())
    };
    engine.answer(&request)
}

fn items(engine: &Recommendations, answer: Answer, language: Language) -> Vec<ItemWire> {
    let reason = |r: &tradewind::recommend::serve::Reason| ReasonWire {
        kind: r.name(),
        item: r.item().map(str::to_owned),
        category: r.category().map(str::to_owned),
        text: engine.engine().reason_text(r, language),
    };
    answer
        .items
        .into_iter()
        .map(|shown| ItemWire {
            score: shown.score,
            step: shown.step.name(),
            reason: shown.reason.as_ref().map(reason),
            item: shown.item,
        })
        .collect()
}

/// The list of one request, serialised.
pub(crate) fn answer(version: &Loaded, asked: &RecommendationsBody) -> Result<Vec<u8>> {
    let engine = version.recommendations().ok_or_else(|| super::wrong_kind(version, ROUTE))?;
    check(asked)?;
    let found = ask(engine, asked, asked.user.as_deref())?;
    json(&RecommendationsAnswer {
        model: (&version.identity).into(),
        surface: asked.surface,
        answered_by: found.answered_by.map(Step::name),
        items: items(engine, found, asked.lang.map_or(Language::En, Into::into)),
    })
}

/// The lists of many users, serialised. It may work for a while.
pub(crate) fn batch(version: &Loaded, asked: &BatchBody, stop: &dyn Fn() -> bool) -> Result<Vec<u8>> {
    let engine = version.recommendations().ok_or_else(|| super::wrong_kind(version, ROUTE))?;
    check(&asked.request)?;
    let mut check = ParamCheck::new();
    let n = asked.users.len();
    check.require((1..=USERS_MAX).contains(&n), "users", n, "1 to 1000");
    let short = asked.users.iter().all(|u| u.len() <= NAME_BYTES_MAX);
    check.require(short, "names of users", "a longer one", "up to 512 bytes").finish()?;
    let language = asked.request.lang.map_or(Language::En, Into::into);
    let mut lists = Vec::with_capacity(n);
    for user in &asked.users {
        if stop() {
            return Err(Error::Core(tradewind::core::Error::Interrupted));
        }
        let found = ask(engine, &asked.request, Some(user))?;
        lists.push(UserListWire { user: user.clone(), items: items(engine, found, language) });
    }
    json(&BatchAnswer { model: (&version.identity).into(), surface: asked.request.surface, lists })
}

pub(super) fn add(routes: Routes) -> Routes {
    let door = Door::Key(Role::Viewer, Some(Scope::Recommendations));
    routes
        .at(door, routes!(for_you))
        .at(door, routes!(similar))
        .at(door, routes!(bought_together))
        .at(door, routes!(session))
        .at(door, routes!(trending))
        .at(door, routes!(cart))
        .at(door, routes!(rank))
        .at(door, routes!(search))
        .at(door, routes!(any_surface))
        .at(Door::Key(Role::Analyst, Some(Scope::Recommendations)), routes!(many_users))
}

async fn respond(server: &Server, id: &RequestId, asked: RecommendationsBody) -> Result<Response, Problem> {
    let domain = &server.domain;
    let (mut version, shadows) = domain.choose(ROUTE, asked.user.as_deref(), id.text())?;
    if let (Some(user), Some(assigner)) = (&asked.user, domain.arms.load_full())
        && let Some((arm, its)) = arms::version(domain, &assigner, ROUTE, user)
    {
        expose(server, user, &[arm]).await?;
        version = its;
    }
    let body = answer(&version, &asked)?;
    domain.shadow(ROUTE, shadows, move |version| answer(version, &asked));
    Ok(fresh(&version, "application/json", body))
}

/// What fits the user.
#[utoipa::path(
    get, path = "/v1/recommendations", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn for_you(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::ForYou)).await
}

/// What is like the items given.
#[utoipa::path(
    get, path = "/v1/recommendations/similar", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn similar(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::Similar)).await
}

/// What is bought together with the items given.
#[utoipa::path(
    get, path = "/v1/recommendations/bought-together", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn bought_together(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::BoughtTogether)).await
}

/// What comes next in the session.
#[utoipa::path(
    get, path = "/v1/recommendations/session", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn session(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::NextInSession)).await
}

/// What rises now.
#[utoipa::path(
    get, path = "/v1/recommendations/trending", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn trending(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::Trending)).await
}

/// What goes with a whole cart.
#[utoipa::path(
    get, path = "/v1/recommendations/cart", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn cart(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::CartAddOns)).await
}

/// The items given, in the best order.
#[utoipa::path(
    get, path = "/v1/recommendations/rank", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn rank(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::RankThese)).await
}

/// The items that a search found, moved towards what fits the user.
#[utoipa::path(
    get, path = "/v1/recommendations/search", tag = "recommendations", params(RecommendationsParams),
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn search(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Query(asked): Query<RecommendationsParams>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked.body(SurfaceParam::SearchRerank)).await
}

/// What to show on any surface, with everything that can be asked for.
#[utoipa::path(
    post, path = "/v1/recommendations", tag = "recommendations", request_body = RecommendationsBody,
    responses((status = 200, description = "The items, best first", body = RecommendationsAnswer))
)]
async fn any_surface(
    State(server): State<Server>,
    Extension(id): Extension<RequestId>,
    Body(asked): Body<RecommendationsBody>,
) -> Result<Response, Problem> {
    respond(&server, &id, asked).await
}

/// The lists of many users.
#[utoipa::path(
    post, path = "/v1/recommendations/batch", tag = "recommendations", request_body = BatchBody,
    responses((status = 200, description = "A list a user", body = BatchAnswer))
)]
async fn many_users(
    State(domain): State<Arc<Domain>>,
    Extension(id): Extension<RequestId>,
    Body(asked): Body<BatchBody>,
) -> Result<Response, Problem> {
    // All users of a batch are answered by one version, so that its lists compare.
    let (version, _) = domain.choose(ROUTE, None, id.text())?;
    let asks = version.clone();
    let body = domain.work(move |run| batch(&asks, &asked, &|| run.check().is_err())).await?;
    Ok(fresh(&version, "application/json", body))
}
