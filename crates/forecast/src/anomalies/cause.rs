//! What may be behind an anomaly, by the calendar and the columns beside the series.

use serde::{Deserialize, Serialize};
use tradewind_core::calendar::{Calendar, Kind as EventKind};
use tradewind_core::freq::date;
use tradewind_core::{Panel, Series};

/// A price that lies this share below or above the usual one is a reason.
const PRICE_CHANGE: f64 = 0.03;
/// Steps before, whose values are the usual ones.
const USUAL: usize = 28;

/// What may be behind an anomaly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A promotion or a discount ran.
    Promotion,
    /// A promotion had just ended.
    PromotionEnded,
    /// The price was lower than usual.
    PriceCut,
    /// The price was higher than usual.
    PriceRise,
    /// The shop was closed.
    Closed,
    /// It was out of stock.
    StockOut,
    /// This event of the calendar, by its key.
    Event(String),
    /// The days before this event of the calendar.
    RunUp(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Promotion => f.write_str("promotion"),
            Self::PromotionEnded => f.write_str("promotion_ended"),
            Self::PriceCut => f.write_str("price_cut"),
            Self::PriceRise => f.write_str("price_rise"),
            Self::Closed => f.write_str("closed"),
            Self::StockOut => f.write_str("stock_out"),
            Self::Event(key) => write!(f, "event:{key}"),
            Self::RunUp(key) => write!(f, "run_up:{key}"),
        }
    }
}

/// What a column tells of, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Promotion,
    Price,
    Closed,
    StockOut,
}

fn meaning(name: &str) -> Option<Means> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| name.contains(w));
    if has(&["competitor", "market_", "rival"]) {
        None
    } else if has(&["promo", "discount", "coupon", "mailer", "display", "markdown"])
        || ["deal", "feat", "feature", "onpromotion"].contains(&name.as_str())
    {
        Some(Means::Promotion)
    } else if ["price", "price_plan", "sell_price", "unit_price"].contains(&name.as_str()) {
        Some(Means::Price)
    } else if name == "closed" {
        Some(Means::Closed)
    } else if has(&["stock_out", "stockout", "out_of_stock"]) {
        Some(Means::StockOut)
    } else {
        None
    }
}

/// Finds causes for a panel's series.
pub(super) struct Causes<'a> {
    calendar: &'a Calendar,
    columns: Vec<(Means, usize)>,
    panel: &'a Panel,
    /// Whether `y` is a price itself: then a price is no cause of it.
    of_prices: bool,
}

impl<'a> Causes<'a> {
    pub(super) fn new(panel: &'a Panel, calendar: &'a Calendar) -> Self {
        let columns: Vec<(Means, usize)> = panel
            .covariates()
            .iter()
            .enumerate()
            .filter_map(|(k, c)| meaning(&c.name).map(|m| (m, k)))
            .collect();
        // A panel of prices has units beside it, and no column of prices paid.
        let of_prices = panel.covariate("units").is_some() && panel.covariate("price").is_none();
        Self { calendar, columns, panel, of_prices }
    }

    /// Causes of a value of series `i` at step `t`, the likeliest first.
    pub(super) fn of(&self, i: usize, t: usize, up: bool) -> Vec<Cause> {
        let mut out = Vec::new();
        for (means, k) in &self.columns {
            let values = self.panel.covariates()[*k].of(i);
            let Some(v) = values.get(t).copied().filter(|v| v.is_finite()) else { continue };
            let before: Vec<f64> =
                values[t.saturating_sub(USUAL)..t].iter().copied().filter(|v| v.is_finite()).collect();
            let mean = before.iter().sum::<f64>() / before.len() as f64;
            let found = match means {
                // What runs all the time is no reason for a single step.
                Means::Promotion if up => {
                    (v > 0.0 && (before.is_empty() || v > 1.2 * mean)).then_some(Cause::Promotion)
                }
                Means::Promotion => {
                    let last = before.iter().rev().take(3).copied().fold(0.0, f64::max);
                    (v <= 0.0 && last > 0.0).then_some(Cause::PromotionEnded)
                }
                Means::Price if self.of_prices || before.is_empty() || mean <= 0.0 => None,
                Means::Price if up => (v < mean * (1.0 - PRICE_CHANGE)).then_some(Cause::PriceCut),
                Means::Price => (v > mean * (1.0 + PRICE_CHANGE)).then_some(Cause::PriceRise),
                Means::Closed => (!up && v > 0.0).then_some(Cause::Closed),
                Means::StockOut => (!up && v > 0.0).then_some(Cause::StockOut),
            };
            out.extend(found);
        }
        let s = self.panel.series(i);
        out.extend(self.event(&s, t, up));
        dedup(out)
    }

    /// Causes of a level that changed at step `t` of series `i`: what differs for four weeks before and after.
    pub(super) fn of_shift(&self, i: usize, t: usize, up: bool) -> Vec<Cause> {
        let mut out = Vec::new();
        for (means, k) in &self.columns {
            let values = self.panel.covariates()[*k].of(i);
            let mean = |from: usize, to: usize| {
                let part = values.get(from..to.min(values.len())).unwrap_or(&[]);
                let known: Vec<f64> = part.iter().copied().filter(|v| v.is_finite()).collect();
                known.iter().sum::<f64>() / known.len() as f64
            };
            let (before, after) = (mean(t.saturating_sub(USUAL), t), mean(t, t + USUAL));
            let found = match means {
                Means::Promotion if up => (after > before + 0.2).then_some(Cause::Promotion),
                Means::Promotion => (before > after + 0.2).then_some(Cause::PromotionEnded),
                Means::Price if self.of_prices => None,
                Means::Price if up => (after < before * (1.0 - PRICE_CHANGE)).then_some(Cause::PriceCut),
                Means::Price => (after > before * (1.0 + PRICE_CHANGE)).then_some(Cause::PriceRise),
                Means::Closed => None,
                Means::StockOut => (!up && after > before + 0.2).then_some(Cause::StockOut),
            };
            out.extend(found);
        }
        dedup(out)
    }

    /// The event of the calendar on that step, or ahead of it.
    fn event(&self, s: &Series<'_>, t: usize, up: bool) -> Option<Cause> {
        if !s.freq.is_dated() {
            return None;
        }
        let (first, next) = (date(s.ds(t)), date(s.ds(t + 1)));
        let last = next.pred_opt().map_or(first, |d| d.max(first));
        // Run-ups are looked at up to a month ahead.
        let far = last.checked_add_days(chrono::Days::new(31)).unwrap_or(last);
        let events = self.calendar.occurrences(first, far);
        let mut events: Vec<_> = events.iter().filter(|e| e.kind != EventKind::Workday).collect();
        // The event whose own day is nearest tells most.
        events.sort_by_key(|e| (e.day - first).num_days().abs());
        if let Some(e) = events.iter().find(|e| e.first <= last && first <= e.last) {
            return Some(Cause::Event(e.key.to_string()));
        }
        let leads = |e: &&&tradewind_core::calendar::Occurrence| e.leads(last);
        events.iter().find(leads).filter(|_| up).map(|e| Cause::RunUp(e.key.to_string()))
    }
}

/// Each cause once, in the order found.
fn dedup(causes: Vec<Cause>) -> Vec<Cause> {
    let mut out: Vec<Cause> = Vec::with_capacity(causes.len());
    for c in causes {
        if !out.contains(&c) {
            out.push(c);
        }
    }
    out
}
