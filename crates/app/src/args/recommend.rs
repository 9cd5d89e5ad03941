//! `tradewind recommend`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// `tradewind recommend`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RecommendArgs {
    #[command(subcommand)]
    pub(crate) action: Option<RecommendAction>,
    #[command(flatten)]
    pub(crate) batch: RecommendBatchArgs,
}

/// `tradewind recommend …`
#[derive(Debug, Subcommand)]
pub(crate) enum RecommendAction {
    /// Fit a recommender on the shop's events and sales, or on a file, and write the model's folder
    Fit(RecommendFitArgs),
    /// What to show to a user, with the reason for each item
    For(RecommendForArgs),
    /// What is like some items, or bought with them
    Similar(RecommendSimilarArgs),
    /// Measure recommenders on events held back
    Evaluate(RecommendEvaluateArgs),
    /// Search for the best parameters of a recommender on events held back
    Tune(RecommendTuneArgs),
    /// Say which events of a user speak for an item
    Explain(RecommendExplainArgs),
}

/// Where events come from and what they count.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventsArgs {
    /// Read this file (user, item and, if there, pos or ds, event, weight) instead of a shop
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: Option<PathBuf>,
    /// What an event of a kind counts, as cart=3; 0 leaves it out, below zero speaks against the item; may be given
    /// several times [default: the shop's settings; 1 in a file]
    #[arg(long, value_name = "KIND=WEIGHT")]
    pub(crate) event_weight: Vec<String>,
    /// How old an event is that counts half: days in a shop, units of pos or seconds of ds in a file; 0: any age
    #[arg(long, value_name = "AGE")]
    pub(crate) half_life: Option<f64>,
    /// Count rows that are alike in user, item, time and kind each on its own
    #[arg(long)]
    pub(crate) keep_duplicates: bool,
}

/// Which recommender.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecommenderArgs {
    /// The recommender (`tradewind models --recommend` lists them)
    #[arg(long, value_name = "NAME", default_value = "hybrid")]
    pub(crate) model: String,
    /// A parameter of it, as factors=128; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
}

/// `tradewind recommend --input … --output …`: a file in, a file out, nothing kept.
#[derive(Debug, Args)]
pub(crate) struct RecommendBatchArgs {
    #[command(flatten)]
    pub(crate) events: EventsArgs,
    #[command(flatten)]
    pub(crate) recommender: RecommenderArgs,
    /// A file of items (item and any of title, category, price, …) that models of content read
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) items: Option<PathBuf>,
    /// A file whose users get lists [default: all users of the events]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) users: Option<PathBuf>,
    /// Items a list
    #[arg(long, short, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) k: u16,
    /// Let items of the user's own history come back, as for what is bought again and again
    #[arg(long)]
    pub(crate) allow_seen: bool,
    /// Write the lists here: user, item, score (.tsv, .parquet, .csv or .jsonl)
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// `tradewind recommend fit`
#[derive(Debug, Args)]
pub(crate) struct RecommendFitArgs {
    #[command(flatten)]
    pub(crate) events: EventsArgs,
    #[command(flatten)]
    pub(crate) recommender: RecommenderArgs,
    /// A file of items that models of content read, with --input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "input")]
    pub(crate) items: Option<PathBuf>,
    /// Draw how networks were trained, round by round, on a page that stands alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) curves: Option<PathBuf>,
    /// The model's folder [default: models/recommend in the shop, or ./recommender with --input]
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
}

/// A model that answers, and what must not be shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The model's folder [default: models/recommend in the shop]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) model: Option<PathBuf>,
    /// A file of items (title, category, price, stock, …) instead of the shop's products
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) items: Option<PathBuf>,
    /// Items in the list
    #[arg(long, short, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) n: u16,
    /// Only items for which a rule holds, as 'category in ["tea", "cups"] and price <= 20'
    #[arg(long = "where", value_name = "RULE")]
    pub(crate) rule: Option<String>,
    /// Only this category; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Vec<String>,
    /// The lowest price
    #[arg(long, value_name = "PRICE")]
    pub(crate) price_min: Option<f64>,
    /// The highest price
    #[arg(long, value_name = "PRICE")]
    pub(crate) price_max: Option<f64>,
    /// Also what is out of stock
    #[arg(long)]
    pub(crate) out_of_stock: bool,
    /// Let items of the user's own history come back
    #[arg(long)]
    pub(crate) allow_seen: bool,
    /// How much unlike each other the items should be: 0 (by relevance alone) to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) diversity: f32,
    /// At most so many items of one category; 0: any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) category_max: u16,
    /// Lift items for which a rule holds, or hold them back, as 'margin > 0.4=1.5'; may be given several times
    #[arg(long, value_name = "RULE=FACTOR")]
    pub(crate) boost: Vec<String>,
}

/// A place on the shop's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Surface {
    /// What fits the user
    ForYou,
    /// What comes next in the session
    NextInSession,
    /// What rises now
    Trending,
    /// What goes with the items of a cart
    CartAddOns,
    /// The items given in the best order for the user
    RankThese,
    /// The items given, found by a search, moved towards what fits the user
    SearchRerank,
}

/// `tradewind recommend for`
#[derive(Debug, Args)]
pub(crate) struct RecommendForArgs {
    /// The user; without one, what strangers are shown
    pub(crate) user: Option<String>,
    /// Where the list is shown
    #[arg(long, value_enum, default_value = "for-you")]
    pub(crate) surface: Surface,
    /// Items at hand: the cart, or what is to be ranked; may be given several times
    #[arg(long = "item", value_name = "ITEM")]
    pub(crate) at_hand: Vec<String>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// `tradewind recommend similar`
#[derive(Debug, Args)]
pub(crate) struct RecommendSimilarArgs {
    /// The items
    #[arg(required = true)]
    pub(crate) item: Vec<String>,
    /// What is bought together with them instead of what is like them
    #[arg(long)]
    pub(crate) bought_together: bool,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
}

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeldBack {
    /// The last event of every user
    Last,
    /// A tenth of the events, by chance
    Random,
    /// Everything in the last --length
    Time,
}

/// `tradewind recommend evaluate`
#[derive(Debug, Args)]
pub(crate) struct RecommendEvaluateArgs {
    #[command(flatten)]
    pub(crate) events: EventsArgs,
    /// A file of items that models of content read, with --input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "input")]
    pub(crate) items: Option<PathBuf>,
    /// A recommender, with parameters behind a colon, as ials:factors=32,alpha=5; may be given several times
    #[arg(long = "model", value_name = "NAME[:PARAMETERS]", default_values = ["popularity", "item_knn", "transitions", "hybrid"])]
    pub(crate) models: Vec<String>,
    /// What is held back
    #[arg(long, value_enum, default_value = "last")]
    pub(crate) held_back: HeldBack,
    /// With --held-back time: days of a shop, or units of pos or seconds of ds of a file
    #[arg(long, value_name = "TIME", default_value_t = 28)]
    pub(crate) length: i64,
    /// Lengths of the lists
    #[arg(long, short, value_name = "N", value_delimiter = ',', default_value = "10")]
    pub(crate) k: Vec<u16>,
    /// Let items of the user's own history come back
    #[arg(long)]
    pub(crate) allow_seen: bool,
}

/// `tradewind recommend explain`
#[derive(Debug, Args)]
pub(crate) struct RecommendExplainArgs {
    /// The user
    pub(crate) user: String,
    /// The item
    pub(crate) item: String,
    /// The model's folder [default: models/recommend in the shop]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) model: Option<PathBuf>,
    /// A file of items with titles instead of the shop's products
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) items: Option<PathBuf>,
}

/// `tradewind recommend tune`
#[derive(Debug, Args)]
pub(crate) struct RecommendTuneArgs {
    #[command(flatten)]
    pub(crate) events: EventsArgs,
    /// A file of items that models of content read, with --input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "input")]
    pub(crate) items: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) recommender: RecommenderArgs,
    /// What to search, as "k=logint(10,500) shrink=float(0,100)" [default: the recommender's usual space]
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
    /// How many sets of parameters to try
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) trials: u32,
    /// What is held back
    #[arg(long, value_enum, default_value = "last")]
    pub(crate) held_back: HeldBack,
    /// With --held-back time: days of a shop, or units of pos or seconds of ds of a file
    #[arg(long, value_name = "TIME", default_value_t = 28)]
    pub(crate) length: i64,
    /// The place up to which lists count
    #[arg(long, short, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) k: u16,
    /// Let items of the user's own history come back
    #[arg(long)]
    pub(crate) allow_seen: bool,
    /// Where trials are kept; a search that was stopped goes on from it
    #[arg(long, value_name = "FILE", default_value = "recommend.trials.jsonl", value_hint = ValueHint::FilePath)]
    pub(crate) study: PathBuf,
}
