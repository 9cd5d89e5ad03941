//! What would be bought: the effects of season, festivals, promotions, prices and fashion on each product and day.

use super::catalogue::{CATEGORIES, Life, Product, price_point};
use super::plan::Plan;
use chrono::Datelike;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A change of somebody's price.
pub(super) struct PriceChange {
    pub(super) day: usize,
    /// 0 for the own price, 1 and 2 for the competitors.
    pub(super) seller: usize,
    pub(super) price: f64,
    pub(super) list_price: f64,
}

/// The multiplicative effects of one day on one product; expected demand is their product.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    pub(super) level: f64,
    pub(super) life: f64,
    pub(super) weekly: f64,
    pub(super) yearly: f64,
    pub(super) festival: f64,
    pub(super) promotion: f64,
    pub(super) price: f64,
    pub(super) common: f64,
    pub(super) trend: f64,
}

impl Effects {
    pub(super) fn expected(&self) -> f64 {
        self.level
            * self.life
            * self.weekly
            * self.yearly
            * self.festival
            * self.promotion
            * self.price
            * self.common
            * self.trend
    }
}

/// The demand side of one product.
pub(super) struct Demand {
    pub(super) effects: Vec<Effects>,
    pub(super) paid: Vec<f64>,
    pub(super) list: Vec<f64>,
    pub(super) changes: Vec<PriceChange>,
}

/// Level of life on a day, 0 to about 1; 0 when off sale.
pub(super) fn life(product: &Product, day: f64) -> f64 {
    let age = day - product.launch as f64;
    if age < 0.0 {
        return 0.0;
    }
    match product.life {
        Life::Evergreen { drift } => (drift * day / 365.25).exp(),
        Life::Cycle { growth, plateau, half_life } => {
            // Logistic growth from 5 % to 95 % of the full level.
            let up = 1.0 / (1.0 + (-(age / growth - 0.5) * 5.9).exp());
            let past = age - growth - plateau;
            let down = if past > 0.0 { 0.5f64.powf(past / half_life) } else { 1.0 };
            if down < 0.03 { 0.0 } else { up * down }
        }
    }
}

/// Effect of a sudden fashion: up within a week, then slowly gone.
fn fashion(product: &Product, day: f64) -> f64 {
    let Some(v) = product.viral else { return 1.0 };
    let since = day - v.day;
    let shape = if since < -7.0 {
        0.0
    } else if since < 0.0 {
        1.0 + since / 7.0
    } else {
        0.5f64.powf(since / v.half_life)
    };
    (v.height * shape).exp()
}

/// Stage of life by what the level does within two weeks around the day.
pub(super) fn stage(product: &Product, day: f64) -> &'static str {
    let level = |d: f64| life(product, d) * fashion(product, d);
    let age = day - product.launch as f64;
    if life(product, day) == 0.0 {
        return "dormant";
    }
    if age < 28.0 {
        return "new";
    }
    let growth = ((level(day + 14.0) + 1e-9) / (level(day - 14.0) + 1e-9)).ln();
    if growth > 0.2 {
        "rising"
    } else if growth < -0.2 {
        "falling"
    } else if product.swing > 0.7 {
        "seasonal"
    } else if matches!(product.life, Life::Cycle { .. }) && level(day) > 0.8 {
        "peak"
    } else {
        "mature"
    }
}

/// Prices and effects of one product on all days of the plan.
pub(super) fn simulate(plan: &Plan, p: usize, product: &Product, rng: &mut ChaCha8Rng) -> Demand {
    let n = plan.dates.len();
    let (list, paid, uplift) = own_prices(plan, p, product, rng);
    let mut changes = Vec::new();
    for t in 0..n {
        if t == 0 || paid[t] != paid[t - 1] || list[t] != list[t - 1] {
            changes.push(PriceChange { day: t, seller: 0, price: paid[t], list_price: list[t] });
        }
    }
    let rivals = [1, 2].map(|seller| rival_prices(plan, seller, &list, rng, &mut changes));
    let rival_mean = |t: usize| (rivals[0][t] * rivals[1][t]).sqrt();
    let base_ratio = list[0] / rival_mean(0);
    let category = &CATEGORIES[product.item.category];
    // Tastes drift: a slow wave of each product's own, with a spread of about a quarter.
    let mut wave = 0.0f64;
    let effects = (0..n)
        .map(|t| {
            let step: f64 = StandardNormal.sample(rng);
            wave = 0.985 * wave + 0.043 * step;
            let date = plan.dates[t];
            let day = t as f64;
            let angle = std::f64::consts::TAU * (f64::from(date.ordinal()) - product.peak_day) / 365.25;
            let own = (paid[t] / product.list_price).powf(product.elasticity);
            let against = (paid[t] / rival_mean(t) / base_ratio).powf(-product.cross);
            Effects {
                level: product.level,
                life: life(product, day),
                weekly: category.week[date.weekday().num_days_from_monday() as usize],
                // Less its mean over the year (the modified Bessel function's first terms), so that the level is kept.
                yearly: (product.swing * angle.cos() - product.swing * product.swing / 4.0).exp(),
                festival: plan.festival_effect(t, product.item, category.festival_pull),
                promotion: uplift[t],
                price: own * against,
                common: plan.common[product.item.category][t],
                trend: fashion(product, day) * wave.exp(),
            }
        })
        .collect();
    Demand { effects, paid, list, changes }
}

/// List price, price paid and the uplift of promotions beyond their discount (with the dip after), for each day.
fn own_prices(
    plan: &Plan,
    p: usize,
    product: &Product,
    rng: &mut ChaCha8Rng,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let n = plan.dates.len();
    let mut list = Vec::with_capacity(n);
    let mut price = product.list_price;
    let mut next_change: usize = rng.random_range(60..260);
    for t in 0..n {
        if t == next_change {
            price = price_point(product.list_price * rng.random_range(0.88..1.14));
            next_change += rng.random_range(80..300);
        }
        list.push(price);
    }
    let mut discount = vec![0.0f64; n];
    let mut ln_uplift = vec![0.0f64; n];
    for promotion in plan.promotions_of[p].iter().map(|i| &plan.promotions[*i]) {
        for t in promotion.first..=promotion.last.min(n - 1) {
            discount[t] = discount[t].max(promotion.discount);
            ln_uplift[t] += promotion.uplift();
        }
        // Shoppers have filled their shelves: what was won is partly missing afterwards.
        let pull = (promotion.discount * 1.2).min(0.35);
        for t in (promotion.last + 1)..(promotion.last + 11).min(n) {
            ln_uplift[t] -= pull * (-((t - promotion.last) as f64) / 4.0).exp();
        }
    }
    let paid = list.iter().zip(&discount).map(|(l, d)| (l * (1.0 - d) * 10.0).round() / 10.0).collect();
    (list, paid, ln_uplift.into_iter().map(f64::exp).collect())
}

/// A competitor's price: it follows the own list price some days late and is cut at the great festivals.
fn rival_prices(
    plan: &Plan,
    seller: usize,
    list: &[f64],
    rng: &mut ChaCha8Rng,
    changes: &mut Vec<PriceChange>,
) -> Vec<f64> {
    let late: usize = rng.random_range(3..12);
    let mut ratio = rng.random_range(0.9..1.12);
    let mut next_change: usize = rng.random_range(10..60);
    let cut: f64 = rng.random_range(0.05..0.25);
    let mut out = Vec::with_capacity(list.len());
    for t in 0..list.len() {
        if t == next_change {
            ratio = (ratio + rng.random_range(-0.06..0.06f64)).clamp(0.8, 1.25);
            next_change += rng.random_range(20..90);
        }
        let usual = price_point(list[t.saturating_sub(late)] * ratio);
        let price = if plan.great_festival[t] { (usual * (1.0 - cut) * 10.0).round() / 10.0 } else { usual };
        if t == 0 || out.last() != Some(&price) {
            changes.push(PriceChange { day: t, seller, price, list_price: usual });
        }
        out.push(price);
    }
    out
}
