//! What is asked of the [`Engine`](super::Engine), and what it answers.

use super::diversity::Rerank;
use super::reasons::Reason;

/// Where on the shop's pages the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// What fits the user.
    ForYou,
    /// What is like the items given.
    Similar,
    /// What is bought together with the items given.
    BoughtTogether,
    /// What comes next in the session.
    NextInSession,
    /// What rises now, within the categories of the request where some are given.
    Trending,
    /// What goes with a whole cart: the items given.
    CartAddOns,
    /// The items given, in the best order.
    RankThese,
    /// The items given, which a search found in this order, moved towards what fits the user.
    SearchRerank,
}

impl Surface {
    /// All of them, as people type them.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("for_you", Self::ForYou),
        ("similar", Self::Similar),
        ("bought_together", Self::BoughtTogether),
        ("next_in_session", Self::NextInSession),
        ("trending", Self::Trending),
        ("cart_add_ons", Self::CartAddOns),
        ("rank_these", Self::RankThese),
        ("search_rerank", Self::SearchRerank),
    ];

    /// The surface of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|e| e.0 == name).map(|e| e.1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|e| e.1 == self).map_or("", |e| e.0)
    }
}

/// Which step of the chain gave an item. The chain goes on as long as the list is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The fitted model.
    Model,
    /// Transitions and pairs counted while events come in.
    Session,
    /// What rises in the categories at hand.
    TrendingInCategory,
    /// What is popular.
    Popular,
    /// What is new.
    Newest,
    /// Anything that the filters allow.
    Anything,
    /// The order of the request, where items are to be ranked and nothing else tells them apart.
    Given,
}

impl Step {
    /// Its name, stable for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Session => "session",
            Self::TrendingInCategory => "trending_in_category",
            Self::Popular => "popular",
            Self::Newest => "newest",
            Self::Anything => "anything",
            Self::Given => "given",
        }
    }
}

/// What must not be shown. An item that is on the blocklist never is.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'a> {
    /// Only items in stock. Items whose stock is not told count as in stock.
    pub in_stock: bool,
    /// Whether items of the user's own history may come back; `None`: only where the surface is not
    /// [`Surface::ForYou`], [`Surface::NextInSession`] or [`Surface::CartAddOns`].
    pub allow_seen: Option<bool>,
    /// Leaves out what the user bought so long ago at most, in units of `ds`; 0: nothing.
    pub bought_within: i64,
    /// Only these categories, where some are given.
    pub categories: &'a [&'a str],
    /// Lowest price. Items without a price are left out as soon as there is a bound.
    pub price_min: Option<f64>,
    /// Highest price.
    pub price_max: Option<f64>,
    /// Only items that are sold in this region, or everywhere.
    pub region: Option<&'a str>,
    /// Not these items.
    pub exclude: &'a [&'a str],
    /// Only items for which this rule holds; see [`rules`](super::rules).
    pub rule: Option<&'a str>,
}

impl Default for Filters<'_> {
    fn default() -> Self {
        Self {
            in_stock: true,
            allow_seen: None,
            bought_within: 0,
            categories: &[],
            price_min: None,
            price_max: None,
            region: None,
            exclude: &[],
            rule: None,
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where the answer is shown.
    pub surface: Surface,
    /// Who asks; unknown users are answered as new ones.
    pub user: Option<&'a str>,
    /// The session the events of which count, beside those of the user.
    pub session: Option<&'a str>,
    /// The item looked at, the cart, the items to rank. Unknown ones are passed over.
    pub items: &'a [&'a str],
    /// Items wanted.
    pub n: usize,
    /// What must not be shown.
    pub filters: Filters<'a>,
    /// Whether the user's and the session's events may be used. Without it all get the same answer.
    pub personal: bool,
    /// Whether each item gets its reason.
    pub explain: bool,
    /// How the list is mixed.
    pub rerank: Rerank<'a>,
    /// The present, in units of `ds`.
    pub now: i64,
}

impl<'a> Request<'a> {
    /// Ten items for nobody in particular; the fields are set as `Request { user: Some("ann"), ..request }`.
    pub fn new(surface: Surface, now: i64) -> Self {
        Self {
            surface,
            user: None,
            session: None,
            items: &[],
            n: 10,
            filters: Filters::default(),
            personal: true,
            explain: true,
            rerank: Rerank::default(),
            now,
        }
    }
}

/// One item of an [`Answer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The item.
    pub item: String,
    /// Its score after boosts; scores compare within one step only.
    pub score: f32,
    /// The step that gave it.
    pub step: Step,
    /// Why it is shown, when asked for and when there is a reason that is true.
    pub reason: Option<Reason>,
}

/// The answer: empty only where the filters leave nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The items, best first.
    pub items: Vec<Shown>,
    /// The step that gave the first item; `None` where the list is empty.
    pub answered_by: Option<Step>,
}

impl Answer {
    /// The items' names in order.
    pub fn names(&self) -> Vec<&str> {
        self.items.iter().map(|s| s.item.as_str()).collect()
    }
}
