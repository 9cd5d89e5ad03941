//! What holds for the whole demo shop: days, festivals, promotions, the market, fashions of a category.

use super::DemoSettings;
use super::catalogue::{CATEGORIES, ItemSpec, Product};
use chrono::{Datelike, Days, NaiveDate};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tradewind_core::Run;
use tradewind_core::calendar::{Calendar, Kind, Occurrence, OwnEvent, Region};

/// Days beyond the future that must be known since views run ahead of sales.
pub(super) const LEAD_DAYS: usize = 12;

/// Promotions are planned so many days ahead.
pub(super) const PLANNED_DAYS: usize = 45;

/// Streams of the run's random numbers.
pub(super) mod stream {
    pub(in super::super) const CATALOGUE: u64 = 1;
    pub(in super::super) const PROMOTIONS: u64 = 2;
    pub(in super::super) const MARKET: u64 = 3;
    pub(in super::super) const CATEGORIES: u64 = 4;
    pub(in super::super) const OWN_EVENTS: u64 = 5;
    pub(in super::super) const DIRT: u64 = 6;
    pub(in super::super) const SEARCHES: u64 = 7;
    pub(in super::super) const VISITORS: u64 = 8;
    /// And one for each product from here on.
    pub(in super::super) const PRODUCTS: u64 = 1_000;
}

/// A promotion of one product or one category.
pub(super) struct Promotion {
    pub(super) id: String,
    pub(super) product: Option<usize>,
    pub(super) category: Option<usize>,
    pub(super) kind: &'static str,
    pub(super) discount: f64,
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Promotion {
    /// ln of what it adds beyond the lower price: being seen.
    pub(super) fn uplift(&self) -> f64 {
        match self.kind {
            "display" => 0.30,
            "mailer" => 0.22,
            "bundle" => 0.18,
            "coupon" => 0.10,
            _ => 0.12,
        }
    }
}

/// A monthly figure, with the day on which it became known.
pub(super) struct MarketValue {
    pub(super) series: &'static str,
    pub(super) unit: &'static str,
    pub(super) known: NaiveDate,
    pub(super) value: f64,
}

/// What a day is to a festival.
#[derive(Clone, Copy)]
enum Phase {
    /// The share of the run-up that is over, above 0 to 1.
    Ahead(f64),
    /// In it; whether it is the very day.
    During(bool),
    /// Days after it, 1 to 10.
    After(i64),
}

/// Everything shared by the products.
pub(super) struct Plan {
    pub(super) dates: Vec<NaiveDate>,
    pub(super) own_events: Vec<OwnEvent>,
    pub(super) promotions: Vec<Promotion>,
    /// By product: the promotions that cover it.
    pub(super) promotions_of: Vec<Vec<usize>>,
    pub(super) market: Vec<MarketValue>,
    /// By category and day: shop growth, confidence and the category's own ups and downs.
    pub(super) common: Vec<Vec<f64>>,
    /// Days of the great shopping festivals, on which everybody cuts prices.
    pub(super) great_festival: Vec<bool>,
    /// By day: the festivals near, with ln of their effect on the shop as a whole.
    near: Vec<Vec<(String, Phase, f64)>>,
    closed: Vec<bool>,
}

/// Shop-wide festivals: ln of the effect in the run-up's end, during, on the very day, and just after.
const SHOP_FESTIVALS: &[(&str, [f64; 4])] = &[
    ("double_11", [-0.25, 0.45, 1.15, -0.40]),
    ("618", [-0.15, 0.30, 0.85, -0.30]),
    ("double_12", [-0.05, 0.45, 0.45, -0.12]),
    ("black_friday", [-0.05, 0.40, 0.50, -0.10]),
    ("cyber_monday", [0.0, 0.30, 0.30, 0.0]),
    ("new_year_goods", [0.0, 0.22, 0.30, 0.0]),
    // Parcels do not move.
    ("spring_festival", [-0.10, -0.85, -1.10, 0.05]),
    ("national_day", [0.0, -0.10, -0.15, 0.03]),
    ("labour_day", [0.0, -0.05, -0.05, 0.0]),
    ("new_year", [0.0, 0.12, 0.12, 0.0]),
    ("womens_day", [0.0, 0.12, 0.25, -0.05]),
    ("own:members' day", [0.0, 0.35, 0.35, -0.08]),
    ("own:live stream 直播", [0.0, 0.45, 0.45, -0.05]),
];

const GREAT: &[&str] = &["double_11", "618", "double_12", "black_friday"];

impl Plan {
    pub(super) fn new(run: &Run, settings: &DemoSettings, products: &[Product]) -> Self {
        let n = settings.days + settings.future_days + LEAD_DAYS;
        let first = settings.first_date();
        let dates: Vec<NaiveDate> = first.iter_days().take(n).collect();
        let last = first + Days::new((n + PLANNED_DAYS) as u64);
        let own_events = own_events(&dates, &mut run.rng(stream::OWN_EVENTS));
        let calendar = Calendar::new(&[Region::Cn, Region::Us]).with_events(own_events.clone());
        let occurrences: Vec<Occurrence> =
            calendar.occurrences(first - Days::new(10), last).into_iter().filter(|o| !o.observed).collect();
        let near = near(&dates, &occurrences);
        let on = |keys: &dyn Fn(&Occurrence) -> bool| {
            let hit: Vec<&Occurrence> = occurrences.iter().filter(|o| keys(o)).collect();
            dates.iter().map(|d| hit.iter().any(|o| o.contains(*d))).collect::<Vec<bool>>()
        };
        let promotions = promotions(&dates, &occurrences, products, &mut run.rng(stream::PROMOTIONS));
        let mut promotions_of = vec![Vec::new(); products.len()];
        for (i, q) in promotions.iter().enumerate() {
            match q.product {
                Some(p) => promotions_of[p].push(i),
                None => (0..products.len())
                    .filter(|p| q.category == Some(products[*p].item.category))
                    .for_each(|p| promotions_of[p].push(i)),
            }
        }
        let (market, confidence) = market(&dates, &mut run.rng(stream::MARKET));
        Self {
            great_festival: on(&|o| GREAT.contains(&&*o.key)),
            closed: on(&|o| o.kind == Kind::Closed),
            promotions,
            promotions_of,
            common: common(&dates, &confidence, &mut run.rng(stream::CATEGORIES)),
            dates,
            own_events,
            market,
            near,
        }
    }

    /// The festivals' effect on a kind of thing: the whole shop's, scaled by its category's pull, and its own.
    pub(super) fn festival_effect(&self, t: usize, item: &ItemSpec, pull: f64) -> f64 {
        if self.closed[t] {
            return 0.0;
        }
        let mut ln = 0.0;
        for (key, phase, shop) in &self.near[t] {
            ln += shop * pull;
            if let Some((_, height)) = item.festivals.iter().find(|(k, _)| k == key) {
                ln += height
                    * match phase {
                        Phase::Ahead(x) => x * x,
                        Phase::During(true) => 0.6,
                        Phase::During(false) => 0.5,
                        Phase::After(d) => -0.5 * (-(*d as f64) / 5.0).exp(),
                    };
            }
        }
        ln.exp()
    }
}

fn near(dates: &[NaiveDate], occurrences: &[Occurrence]) -> Vec<Vec<(String, Phase, f64)>> {
    dates
        .iter()
        .map(|date| {
            occurrences
                .iter()
                .filter(|o| o.kind != Kind::Workday)
                .filter_map(|o| {
                    let after = (*date - o.last).num_days();
                    let phase = if o.leads(*date) {
                        let left = (o.first - *date).num_days();
                        Phase::Ahead(1.0 - (left - 1) as f64 / f64::from(o.run_up_days.max(1)))
                    } else if o.contains(*date) {
                        // The opening of a long sale is a peak too.
                        Phase::During(*date == o.day || *date == o.first)
                    } else if (1..=10).contains(&after) {
                        Phase::After(after)
                    } else {
                        return None;
                    };
                    let shop =
                        SHOP_FESTIVALS.iter().find(|(k, _)| *k == o.key).map_or(0.0, |(_, e)| match phase {
                            Phase::Ahead(x) => e[0] * x,
                            Phase::During(false) => e[1],
                            Phase::During(true) if *date != o.day => 0.6 * e[2],
                            Phase::During(true) => e[2],
                            Phase::After(d) => e[3] * (-(d as f64) / 5.0).exp(),
                        });
                    Some((o.key.to_string(), phase, shop))
                })
                .collect()
        })
        .collect()
}

/// A members' day each month, live streams now and then, and two closed days for stock-taking each year.
fn own_events(dates: &[NaiveDate], rng: &mut ChaCha8Rng) -> Vec<OwnEvent> {
    let mut out = Vec::new();
    let mut push = |name: &str, kind: Kind, first: NaiveDate, days: u64, run_up_days: u32| {
        let last = first + Days::new(days - 1);
        out.push(OwnEvent { name: name.into(), kind, first, last, region: None, run_up_days });
    };
    for date in dates {
        if date.day() == 8 {
            push("members' day", Kind::Event, *date, 1, 2);
        }
        if (date.month(), date.day()) == (7, 1) {
            push("stock-taking 盘点", Kind::Closed, *date, 2, 0);
        }
        if rng.random_bool(0.025) {
            push("live stream 直播", Kind::Event, *date, 1, 1);
        }
    }
    out
}

fn promotions(
    dates: &[NaiveDate],
    occurrences: &[Occurrence],
    products: &[Product],
    rng: &mut ChaCha8Rng,
) -> Vec<Promotion> {
    let n = dates.len();
    let mut out = Vec::new();
    for o in occurrences.iter().filter(|o| GREAT.contains(&&*o.key)) {
        let offset = |d: NaiveDate| usize::try_from((d - dates[0]).num_days().max(0)).unwrap_or(0);
        let share = match &*o.key {
            "double_11" => 0.65,
            "618" => 0.55,
            _ => 0.3,
        };
        for p in 0..products.len() {
            if rng.random_bool(share) {
                out.push(Promotion {
                    id: format!("{}-{}", o.key, o.day.year()),
                    product: Some(p),
                    category: None,
                    kind: "discount",
                    discount: f64::from(rng.random_range(2..8u32)) * 0.05,
                    first: offset(o.first),
                    last: offset(o.last),
                });
            }
        }
    }
    const KINDS: [&str; 5] = ["discount", "display", "mailer", "coupon", "bundle"];
    let years = (n + PLANNED_DAYS) as f64 / 365.25;
    for p in 0..products.len() {
        let count = (years * rng.random_range(1.0..7.0)) as usize;
        for k in 0..count {
            let first = rng.random_range(0..n + PLANNED_DAYS);
            out.push(Promotion {
                id: format!("own-{:05}-{}", p + 1, k + 1),
                product: Some(p),
                category: None,
                kind: KINDS[rng.random_range(0..KINDS.len())],
                discount: f64::from(rng.random_range(1..7u32)) * 0.05,
                first,
                last: first + rng.random_range(2..10usize),
            });
        }
    }
    for (c, _) in CATEGORIES.iter().enumerate() {
        for k in 0..(years * 3.0) as usize {
            let first = rng.random_range(0..n + PLANNED_DAYS);
            out.push(Promotion {
                id: format!("category-{}-{}", c + 1, k + 1),
                product: None,
                category: Some(c),
                kind: "coupon",
                discount: f64::from(rng.random_range(1..3u32)) * 0.05,
                first,
                last: first + rng.random_range(1..4usize),
            });
        }
    }
    out.sort_by(|a, b| (a.first, &a.id, a.product, a.category).cmp(&(b.first, &b.id, b.product, b.category)));
    out
}

/// Consumer prices and confidence by month, and confidence by day (that of the month itself: people feel it before it
/// is printed).
fn market(dates: &[NaiveDate], rng: &mut ChaCha8Rng) -> (Vec<MarketValue>, Vec<f64>) {
    let (mut cpi, mut confidence, mut industry) = (100.0f64, 100.0f64, 100.0f64);
    let mut values = Vec::new();
    let mut daily = Vec::with_capacity(dates.len());
    let mut month = None;
    for date in dates {
        if month != Some(date.month()) {
            month = Some(date.month());
            let mut noise = || -> f64 { StandardNormal.sample(rng) };
            cpi *= 1.0 + 0.0015 + 0.002 * noise();
            confidence = 100.0 + 0.85 * (confidence - 100.0) + 2.0 * noise();
            industry *= 1.0 + 0.006 + 0.02 * noise();
            // The offices publish on the tenth of the month after.
            let known = NaiveDate::from_ymd_opt(date.year(), date.month(), 1)
                .and_then(|d| d.checked_add_months(chrono::Months::new(1)))
                .map_or(*date, |d| d + Days::new(9));
            let round = |v: f64| (v * 100.0).round() / 100.0;
            values.push(MarketValue { series: "cpi", unit: "index", known, value: round(cpi) });
            values.push(MarketValue {
                series: "consumer_confidence",
                unit: "index",
                known,
                value: round(confidence),
            });
            values.push(MarketValue {
                series: "online_retail_volume",
                unit: "index",
                known,
                value: round(industry),
            });
        }
        daily.push(confidence);
    }
    (values, daily)
}

/// Growth of the shop, confidence, and an autoregressive wave of each category.
fn common(dates: &[NaiveDate], confidence: &[f64], rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    CATEGORIES
        .iter()
        .map(|_| {
            let growth = rng.random_range(-0.05..0.25) / 365.25;
            let mut wave = 0.0f64;
            (0..dates.len())
                .map(|t| {
                    let step: f64 = StandardNormal.sample(rng);
                    wave = 0.97 * wave + 0.03 * step;
                    (growth * t as f64 + wave + 0.012 * (confidence[t] - 100.0)).exp()
                })
                .collect()
        })
        .collect()
}
