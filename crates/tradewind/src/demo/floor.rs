//! What happens on the shop floor: demand meets stock, becomes order lines, and is preceded by interest.

use super::catalogue::{CATEGORIES, Product};
use super::demand::{self, Demand};
use super::plan::{LEAD_DAYS, Plan, stream};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};
use tradewind_core::Run;

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Status {
    Sold,
    Cancelled,
    /// The return of the line at that position of the same product.
    Returned {
        of: usize,
    },
}

/// One order line.
pub(super) struct Line {
    pub(super) day: usize,
    pub(super) minute: u32,
    /// `None` for guests.
    pub(super) customer: Option<u32>,
    pub(super) quantity: i32,
    pub(super) status: Status,
    pub(super) channel: usize,
    /// Days and minutes before the order at which it was laid into the cart, when that was seen.
    pub(super) cart: Option<(usize, u32)>,
}

/// All that the simulation knows of one product.
pub(super) struct ProductRun {
    pub(super) demand: Demand,
    /// Units that were wanted, for all days of history and future.
    pub(super) wanted: Vec<u32>,
    /// Units sold, on the days of history.
    pub(super) sold: Vec<u32>,
    /// Units on hand at the end of the day; `None` before it was on sale.
    pub(super) on_hand: Vec<Option<u32>>,
    pub(super) lines: Vec<Line>,
    /// Views of its page by day.
    pub(super) views: Vec<u32>,
    /// Interest by day of history: what its page and its searches are made from.
    pub(super) interest: Vec<f64>,
}

/// How today's views and searches come about: by the purchases of today and the days ahead that they lead to.
const VIEWS_AHEAD: [f64; 8] = [0.30, 0.20, 0.14, 0.11, 0.09, 0.07, 0.05, 0.04];

/// A draw from the Poisson distribution; 0 for a mean of 0.
pub(super) fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> u32 {
    if mean.is_finite() && mean > 0.0 {
        Poisson::new(mean.min(1e6)).map_or(0, |d| d.sample(rng) as u32)
    } else {
        0
    }
}

/// A draw from the negative binomial distribution with that mean and variance mean + mean² / size.
fn negative_binomial(mean: f64, size: f64, rng: &mut ChaCha8Rng) -> u32 {
    if mean.is_nan() || mean <= 0.0 {
        return 0;
    }
    let rate = Gamma::new(size, mean / size).map_or(mean, |d| d.sample(rng));
    poisson(rate, rng)
}

/// Carries one product through all days.
pub(super) fn simulate(
    run: &Run,
    plan: &Plan,
    p: usize,
    product: &Product,
    days: usize,
    future_days: usize,
    n_customers: u32,
) -> ProductRun {
    let rng = &mut run.rng(stream::PRODUCTS + p as u64);
    let demand = demand::simulate(plan, p, product, rng);
    let wanted: Vec<u32> = demand.effects[..days + future_days]
        .iter()
        .map(|e| negative_binomial(e.expected(), product.size, rng))
        .collect();
    let (sold, on_hand) = stock(plan, product, &demand, &wanted[..days], rng);
    let lines = lines(product, &sold, n_customers, rng);
    let interest = interest(&demand, days);
    let views = interest
        .iter()
        .map(|i| {
            let noise: f64 = StandardNormal.sample(rng);
            poisson(i / product.conversion * (0.15 * noise).exp(), rng)
        })
        .collect();
    ProductRun { demand, wanted, sold, on_hand, lines, views, interest }
}

/// Purchases that a day's visitors will make within the week, as far as they do not hang on a price of a later day.
fn interest(demand: &Demand, days: usize) -> Vec<f64> {
    let apart: Vec<f64> = demand.effects.iter().map(|e| e.expected() / (e.price * e.promotion)).collect();
    (0..days)
        .map(|t| {
            let e = &demand.effects[t];
            let today = VIEWS_AHEAD[0] * e.expected();
            let later: f64 = (1..VIEWS_AHEAD.len()).map(|k| VIEWS_AHEAD[k] * apart[t + k]).sum();
            // Nobody finds a page that is not there.
            if e.life > 0.0 { today + later } else { 0.0 }
        })
        .collect()
}

/// Units sold and on hand when the shop orders by its recent sales and deliveries take their time.
fn stock(
    plan: &Plan,
    product: &Product,
    demand: &Demand,
    wanted: &[u32],
    rng: &mut ChaCha8Rng,
) -> (Vec<u32>, Vec<Option<u32>>) {
    let days = wanted.len();
    let begin = usize::try_from(product.launch.max(0)).unwrap_or(0).min(days);
    let (mut sold, mut on_hand) = (vec![0; days], vec![None; days]);
    let mut deliveries = vec![0u32; days + 64];
    let ahead = &demand.effects[begin..(begin + 30).min(demand.effects.len())];
    let mean = ahead.iter().map(|e| e.expected()).sum::<f64>() / ahead.len().max(1) as f64;
    let mut hand = (mean * 25.0).ceil() as u32 + 2;
    let mut ordered = 0u32;
    for t in begin..days {
        hand += deliveries[t];
        ordered -= deliveries[t];
        sold[t] = wanted[t].min(hand);
        hand -= sold[t];
        on_hand[t] = Some(hand);
        if demand.effects[t].life == 0.0 {
            continue;
        }
        let recent = &sold[t.saturating_sub(13).max(begin)..=t];
        let rate = f64::from(recent.iter().sum::<u32>()) / recent.len() as f64;
        // Buyers stock up for the great festivals, by rule of thumb.
        let soon = plan.great_festival
            [(t + 5).min(plan.great_festival.len() - 1)..(t + 25).min(plan.great_festival.len())]
            .contains(&true);
        let cover = if soon { 1.8 } else { 1.0 };
        let reorder_at = cover * rate * f64::from(product.lead_time_days + 7) + 1.0;
        if f64::from(hand + ordered) < reorder_at {
            let quantity = (cover * rate * 30.0).ceil() as u32 + 3;
            let late = if rng.random_bool(product.late) { rng.random_range(5..25u32) } else { 0 };
            deliveries[t + (product.lead_time_days + late) as usize] += quantity;
            ordered += quantity;
        }
    }
    (sold, on_hand)
}

/// Cuts a day's units into order lines and lets some of them be cancelled or sent back.
fn lines(product: &Product, sold: &[u32], n_customers: u32, rng: &mut ChaCha8Rng) -> Vec<Line> {
    let return_rate = CATEGORIES[product.item.category].return_rate;
    let mut out: Vec<Line> = Vec::new();
    let mut returns = Vec::new();
    for (day, units) in sold.iter().enumerate() {
        let mut rest = *units;
        while rest > 0 {
            let quantity = match rng.random_range(0..100u32) {
                0..82 => 1,
                82..94 => 2,
                94..98 => 3,
                _ => rng.random_range(4..11),
            }
            .min(rest);
            rest -= quantity;
            let customer = customer(product.item.category, day, n_customers, rng);
            let status = if rng.random_bool(0.006) { Status::Cancelled } else { Status::Sold };
            let cart = rng.random_bool(0.75).then(|| {
                let days = match rng.random_range(0..100u32) {
                    0..60 => 0,
                    60..82 => 1,
                    82..94 => 2,
                    _ => 4,
                };
                (days, rng.random_range(2..90u32))
            });
            if status == Status::Sold && rng.random_bool(return_rate) {
                returns.push((out.len(), day + rng.random_range(3..16usize)));
            }
            out.push(Line {
                day,
                minute: minute(rng),
                customer,
                quantity: quantity as i32,
                status,
                channel: rng.random_range(0..10usize),
                cart,
            });
        }
    }
    for (of, day) in returns {
        if day < sold.len() {
            let (customer, quantity, channel) = (out[of].customer, -out[of].quantity, out[of].channel);
            let status = Status::Returned { of };
            out.push(Line { day, minute: minute(rng), customer, quantity, status, channel, cart: None });
        }
    }
    out
}

/// A minute of the day: few at night, most in the evening.
fn minute(rng: &mut ChaCha8Rng) -> u32 {
    let of_day: f64 = match rng.random_range(0..100u32) {
        0..5 => rng.random_range(0.0..7.0),
        5..30 => rng.random_range(7.0..12.0),
        30..60 => rng.random_range(12.0..18.0),
        _ => 18.0 + 6.0 * f64::midpoint(rng.random_range(0.0..1.0), rng.random_range(0.0..1.0)),
    };
    ((of_day * 60.0) as u32).min(1439)
}

/// A customer: each prefers one category, and some buy far more than others. One line in five is a guest's; one in
/// three falls into the large basket of somebody who does a round through the shop that day.
fn customer(category: usize, day: usize, n_customers: u32, rng: &mut ChaCha8Rng) -> Option<u32> {
    if rng.random_bool(0.2) {
        return None;
    }
    if rng.random_bool(0.35) {
        // Products are simulated apart, so the day's visitors are told by their number alone.
        let visitor = rng.random_range(0..n_customers / 250 + 1);
        let mixed = (day as u64 * 1_000_003 + u64::from(visitor)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        return Some((mixed >> 33) as u32 % n_customers);
    }
    let activity: f64 = rng.random::<f64>().powi(2);
    let n_categories = CATEGORIES.len() as u32;
    if rng.random_bool(0.6) {
        let among = (n_customers / n_categories).max(1);
        Some(((activity * f64::from(among)) as u32 * n_categories + category as u32).min(n_customers - 1))
    } else {
        Some(((activity * f64::from(n_customers)) as u32).min(n_customers - 1))
    }
}

/// Searches for a kind of thing run further ahead of sales than views: the mean of interest of two to ten days later.
pub(super) fn search_interest(interest: &[f64], t: usize) -> f64 {
    let ahead = &interest[(t + 2).min(interest.len() - 1)..(t + LEAD_DAYS - 1).min(interest.len())];
    if ahead.is_empty() { interest[t] } else { ahead.iter().sum::<f64>() / ahead.len() as f64 }
}
