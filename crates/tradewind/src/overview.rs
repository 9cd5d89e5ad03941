//! The shop at a glance: its measures over a window, beside the window before, the year before and what is expected next.
//!
//! ```text
//! figures of each day ─→ measures (a sum, or one sum over another) ─→ window · before · a year before
//!                                                               └──→ Theta, 80 % interval ─→ the days ahead
//! ```

use crate::error::Result;
use std::collections::BTreeMap;
use tradewind_core::freq::DAY;
use tradewind_core::{Freq, Panel, ParamCheck, Params, Run, Stamp};
use tradewind_forecast::Options;
use tradewind_warehouse::Shop;
use tradewind_warehouse::figures::{self, Part};

/// Longest window in days.
pub const DAYS_MAX: usize = 366;
/// Furthest day ahead.
pub const HORIZON_MAX: usize = 90;
/// The method of what is expected: quick, and with a weekly season.
pub const METHOD: &str = "theta";
/// The coverage of its intervals.
pub const COVERAGE: f64 = 0.8;
/// Days that are looked at: three years hold the season and the year before.
const HISTORY_DAYS: i64 = 3 * 365;
/// A year in whole weeks, so that weekdays meet weekdays.
const YEAR_DAYS: usize = 364;

/// What a measure tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Money taken after returns.
    Revenue,
    /// Units after returns.
    Units,
    /// Orders.
    Orders,
    /// Visitors, each once a day.
    Visitors,
    /// Visitors of a day who bought, as a share of all.
    Conversion,
    /// Money taken over orders.
    AverageOrder,
}

impl Measure {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Revenue => "revenue",
            Self::Units => "units",
            Self::Orders => "orders",
            Self::Visitors => "visitors",
            Self::Conversion => "conversion",
            Self::AverageOrder => "average_order",
        }
    }
}

/// A day ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedDay {
    /// The day.
    pub ds: Stamp,
    /// The mean.
    pub mean: f64,
    /// The lower end of the interval.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// A measure of the shop.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Which.
    pub measure: Measure,
    /// Over the window; none where nothing is known.
    pub total: Option<f64>,
    /// Over as many days before it.
    pub before: Option<f64>,
    /// Over the same days 52 weeks before.
    pub year_before: Option<f64>,
    /// Each day of the window; NaN where nothing is known.
    pub values: Vec<f64>,
    /// Each day of the window before; NaN where nothing is known.
    pub values_before: Vec<f64>,
    /// The days ahead.
    pub expected: Vec<ExpectedDay>,
}

/// The shop at a glance.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// The last day of the shop's sales.
    pub as_of: Stamp,
    /// The first day of the window.
    pub first: Stamp,
    /// Those measures that the shop's data hold.
    pub measures: Vec<Measured>,
}

/// Each day's share in a measure: a sum, or a sum over another.
struct Days {
    measure: Measure,
    above: Vec<f64>,
    below: Option<Vec<f64>>,
}

impl Days {
    fn value(&self, k: usize) -> f64 {
        match &self.below {
            None => self.above[k],
            Some(below) if below[k] > 0.0 => self.above[k] / below[k],
            Some(_) => f64::NAN,
        }
    }

    /// Over the days `from..to`; none where the days are not all there or nothing is known of them.
    fn total(&self, from: Option<usize>, to: usize) -> Option<f64> {
        let from = from?;
        // A measure that began inside the days cannot be compared over them.
        if self.above[from..to].first().is_none_or(|v| v.is_nan()) {
            return None;
        }
        let known = (from..to).filter(|k| self.above[*k].is_finite());
        let (mut above, mut below) = (0.0, 0.0);
        for k in known {
            above += self.above[k];
            below += self.below.as_ref().map_or(0.0, |b| b[k]);
        }
        match &self.below {
            None => Some(above),
            Some(_) if below > 0.0 => Some(above / below),
            Some(_) => None,
        }
    }
}

/// The shop's measures over its last `days` days, and `horizon` days ahead.
///
/// # Errors
/// Lengths out of range; a shop without sales; cancellation, faults of the disk and of queries.
pub fn overview(run: &Run, shop: &Shop, days: usize, horizon: usize) -> Result<Overview> {
    let mut check = ParamCheck::new();
    check.require((1..=DAYS_MAX).contains(&days), "days", days, "1 to 366");
    check.require(horizon <= HORIZON_MAX, "horizon", horizon, "0 to 90");
    check.finish()?;
    let sold = figures::sales(run, shop, &Part::Shop, None)?;
    let skipped = sold.units.len().saturating_sub(HISTORY_DAYS as usize);
    let (units, revenue) = (&sold.units[skipped..], sold.revenue.get(skipped..).unwrap_or(&[]));
    let first = sold.first + skipped as i64 * DAY;
    let n = units.len();
    let orders = figures::orders(shop, first)?;
    let visits = figures::visitors(shop, first)?;

    let mut all = Vec::new();
    let sum = |measure, above: Vec<f64>| Days { measure, above, below: None };
    if !revenue.is_empty() {
        all.push(sum(Measure::Revenue, revenue.to_vec()));
    }
    all.push(sum(Measure::Units, units.to_vec()));
    let n_orders = spread(first, n, &orders, |o| *o as f64);
    if let Some(n_orders) = &n_orders {
        all.push(sum(Measure::Orders, n_orders.clone()));
        if !revenue.is_empty() {
            let below = Some(n_orders.clone());
            all.push(Days { measure: Measure::AverageOrder, above: revenue.to_vec(), below });
        }
    }
    let visitors = spread(first, n, &visits, |v| v.all as f64);
    if let Some(visitors) = visitors {
        let buyers = spread(first, n, &visits, |v| v.buyers as f64).unwrap_or_default();
        all.push(sum(Measure::Visitors, visitors.clone()));
        if buyers.iter().any(|b| *b > 0.0) {
            all.push(Days { measure: Measure::Conversion, above: buyers, below: Some(visitors) });
        }
    }
    let from = n.saturating_sub(days);
    let ahead = expected(run, &all, first, horizon)?;
    let measures = all.iter().zip(ahead).map(|(d, expected)| Measured {
        measure: d.measure,
        total: d.total(Some(from), n),
        before: d.total(from.checked_sub(days), from),
        year_before: d.total(from.checked_sub(YEAR_DAYS), n.saturating_sub(YEAR_DAYS)),
        values: (from..n).map(|k| d.value(k)).collect(),
        values_before: from
            .checked_sub(days)
            .map_or_else(Vec::new, |k| (k..from).map(|k| d.value(k)).collect()),
        expected,
    });
    Ok(Overview {
        as_of: first + (n as i64 - 1) * DAY,
        first: first + from as i64 * DAY,
        measures: measures.collect(),
    })
}

/// Counts by day as one value a day: NaN before the first and after the last, 0 on days between that have none. None
/// where there are no counts.
fn spread<T>(
    first: Stamp,
    n: usize,
    counts: &BTreeMap<Stamp, T>,
    of: impl Fn(&T) -> f64,
) -> Option<Vec<f64>> {
    let place = |ds: &Stamp| usize::try_from((ds - first).div_euclid(DAY)).ok().filter(|k| *k < n);
    let known: BTreeMap<usize, f64> = counts.iter().filter_map(|(ds, c)| Some((place(ds)?, of(c)))).collect();
    let (begin, end) = (*known.keys().next()?, *known.keys().next_back()?);
    let mut out = vec![f64::NAN; n];
    out[begin..=end].fill(0.0);
    for (k, count) in known {
        out[k] = count;
    }
    Some(out)
}

/// What each measure is expected to be on the days ahead.
fn expected(run: &Run, all: &[Days], first: Stamp, horizon: usize) -> Result<Vec<Vec<ExpectedDay>>> {
    if horizon == 0 {
        return Ok(all.iter().map(|_| Vec::new()).collect());
    }
    let series = all.iter().map(|d| {
        let begin = d.above.iter().position(|v| v.is_finite()).unwrap_or(0);
        let y = (begin..d.above.len()).map(|k| d.value(k)).collect();
        (d.measure.name().to_owned(), first + begin as i64 * DAY, y)
    });
    let panel = Panel::from_series(Freq::DAILY, series.collect())?;
    let options = Options::new(horizon, &[COVERAGE]);
    let f = tradewind_forecast::forecast(run, &panel, METHOD, &Params::new(), &options)?;
    Ok(all
        .iter()
        .map(|d| {
            let Some(i) = f.ids().iter().position(|id| id == d.measure.name()) else { return Vec::new() };
            // A share is never above 1.
            let top = if d.measure == Measure::Conversion { 1.0 } else { f64::INFINITY };
            let day = |k: usize| {
                let (lower, upper) = f.interval(i, k, COVERAGE)?;
                let mean = f.mean(i)[k];
                let told = ExpectedDay { ds: f.ds(i, k), mean: mean.min(top), lower, upper: upper.min(top) };
                (told.mean.is_finite() && lower.is_finite() && upper.is_finite()).then_some(told)
            };
            (0..f.horizon()).filter_map(day).collect()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use crate::demo::{self, DemoSettings};

    #[test]
    fn windows_add_up_and_ratios_are_of_sums() {
        let dir = tempfile::tempdir().unwrap();
        let settings = DemoSettings { n_products: 12, days: 430, ..DemoSettings::default() };
        let run = Run::new(3);
        let (shop, _) = demo::make(&run, &dir.path().join("shop"), &settings).unwrap();
        let told = overview(&run, &shop, 28, 14).unwrap();
        let of = |m: Measure| told.measures.iter().find(|t| t.measure == m).unwrap();
        for t in &told.measures {
            assert_eq!(
                (t.values.len(), t.values_before.len(), t.expected.len()),
                (28, 28, 14),
                "{:?}",
                t.measure
            );
            assert!(t.expected.iter().all(|d| d.lower <= d.mean && d.mean <= d.upper), "{t:?}");
            assert_eq!(t.expected[0].ds, told.as_of + DAY);
        }
        let revenue = of(Measure::Revenue);
        let sum: f64 = revenue.values.iter().sum();
        assert!((revenue.total.unwrap() - sum).abs() < 1e-6 * sum);
        let average = revenue.total.unwrap() / of(Measure::Orders).total.unwrap();
        assert!((of(Measure::AverageOrder).total.unwrap() - average).abs() < 1e-9 * average);
        assert!((0.0..=1.0).contains(&of(Measure::Conversion).total.unwrap()));
        assert!(revenue.before.is_some() && revenue.year_before.is_some());
        // The window of the whole year has nothing before it.
        let year = overview(&run, &shop, 366, 0).unwrap();
        assert!(year.measures.iter().all(|m| m.before.is_none() && m.expected.is_empty()));
        assert!(overview(&run, &shop, 0, 0).is_err() && overview(&run, &shop, 1, 91).is_err());
    }

    #[test]
    fn the_parts_of_a_shop_add_up_to_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let settings = DemoSettings { n_products: 8, days: 120, ..DemoSettings::default() };
        let run = Run::new(4);
        let (shop, _) = demo::make(&run, &dir.path().join("shop"), &settings).unwrap();
        let units =
            |part: &Part| figures::sales(&run, &shop, part, None).map_or(0.0, |d| d.units.iter().sum());
        let whole: f64 = units(&Part::Shop);
        let catalogue =
            figures::products(&shop, &figures::ProductQuery { limit: 100, ..Default::default() }).unwrap();
        let by_product: f64 = catalogue.iter().map(|p| units(&Part::Product(p.id.clone()))).sum();
        assert!(whole > 0.0 && (whole - by_product).abs() < 1e-6 * whole, "{whole} {by_product}");
        let categories = figures::categories(&shop).unwrap();
        let by_category: f64 = categories.iter().map(|(c, _)| units(&Part::Category(c.clone()))).sum();
        assert!((whole - by_category).abs() < 1e-6 * whole, "{whole} {by_category}");
        let one =
            figures::ProductQuery { ids: vec![catalogue[0].id.clone()], limit: 5, ..Default::default() };
        assert_eq!(figures::products(&shop, &one).unwrap(), catalogue[..1]);
        assert!(figures::sales(&run, &shop, &Part::Product("it's none".into()), None).is_err());
    }
}
