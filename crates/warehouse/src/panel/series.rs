//! One series of a panel: its days, and from them its periods.

use super::beside::{Beside, EVENTS, Steps};
use super::grid::Grid;
use super::{GroupBy, Target};
use crate::clean::fill::carry_forward;
use crate::clean::lines::{Cell, CleanSales};
use crate::clean::returns::units;
use crate::clean::{CleanSettings, MissingSales, StockOuts};
use std::collections::BTreeSet;
use std::ops::Range;

/// A series to be made: its first period, and its pairs of product and store with their cells.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) first: i64,
    pub(super) pairs: Vec<(u32, u32, Range<usize>)>,
}

/// A series that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) y: Vec<f64>,
    pub(super) columns: Vec<Vec<f64>>,
    pub(super) stock_out_values: u64,
}

/// A column beside `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Units,
    Price,
    PricePlan,
    Promotion,
    PlannedDiscount,
    PaidDiscount,
    StockOut,
    Closed,
    Events(usize),
    CompetitorPrice,
    CompetitorGap,
    Market(usize),
}

impl Column {
    pub(super) fn name(self, beside: &Beside) -> &str {
        match self {
            Self::Units => "units",
            Self::Price => "price",
            Self::PricePlan => "price_plan",
            Self::Promotion => "promotion",
            Self::PlannedDiscount | Self::PaidDiscount => "discount",
            Self::StockOut => "stock_out",
            Self::Closed => "closed",
            Self::Events(kind) => EVENTS[kind].1,
            Self::CompetitorPrice => "competitor_price",
            Self::CompetitorGap => "competitor_gap",
            Self::Market(k) => &beside.market[k].0,
        }
    }
}

/// All that series are made from.
pub(super) struct Maker<'a> {
    pub(super) sales: &'a CleanSales,
    pub(super) beside: &'a Beside,
    pub(super) grid: &'a Grid,
    pub(super) settings: &'a CleanSettings,
    pub(super) target: Target,
    pub(super) by: GroupBy,
    pub(super) open_days: Option<&'a BTreeSet<i64>>,
    /// The columns wanted, each with the last period for which it is known.
    pub(super) columns: &'a [(Column, i64)],
    /// Whether lines are totals of weeks or months, of which one stands for its whole period.
    pub(super) whole_periods: bool,
}

/// The days of one series, and where its periods begin among them.
struct Days {
    /// The first day.
    start: i64,
    /// Periods begin at these positions; one more than there are periods.
    bounds: Vec<usize>,
}

impl Days {
    fn new(grid: &Grid, first: i64, last: i64) -> Self {
        let start = grid.day(first);
        let bounds = (first..=last + 1).map(|p| usize::try_from(grid.day(p) - start).unwrap_or(0)).collect();
        Self { start, bounds }
    }

    fn len(&self) -> usize {
        self.bounds.last().copied().unwrap_or(0)
    }

    /// The position of a day, if it is one of them.
    fn at(&self, day: i64) -> Option<usize> {
        usize::try_from(day.checked_sub(self.start)?).ok().filter(|i| *i < self.len())
    }

    fn periods(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.bounds.windows(2).map(|w| w[0]..w[1])
    }

    /// The mean of each period's known days; NaN where none is known.
    fn means(&self, daily: &[f64]) -> Vec<f64> {
        self.periods()
            .map(|p| {
                let (sum, n) =
                    daily[p].iter().filter(|v| !v.is_nan()).fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
                sum / f64::from(n)
            })
            .collect()
    }
}

/// What was sold, day by day, in millionths.
struct Sold {
    units: Vec<i64>,
    revenue: Vec<i64>,
    paid_units: Vec<i64>,
    paid_revenue: Vec<i64>,
    discount: Vec<i64>,
    /// Whether the day has any line.
    named: Vec<bool>,
}

impl Maker<'_> {
    pub(super) fn make(&self, group: &Group) -> Made {
        let days = Days::new(self.grid, group.first, self.grid.last);
        let sold = self.sold(group, &days);
        let stock_out = (!self.beside.stock.is_empty()).then(|| self.stock_out(group, &days));
        let unknown = |i: usize| {
            let out = stock_out.as_ref().is_some_and(|o| o[i] >= 1.0);
            out && self.settings.stock_outs == StockOuts::Unknown && sold.units[i] <= 0
        };
        let missing = |i: usize| self.settings.missing_sales == MissingSales::Unknown && !sold.named[i];
        let mut stock_out_values = 0;
        let sums = |values: &[i64], stock_out_values: &mut u64| -> Vec<f64> {
            days.periods()
                .map(|p| {
                    let n = p.len();
                    let out = p.clone().filter(|i| unknown(*i)).count();
                    let without = p.clone().filter(|i| missing(*i) || unknown(*i)).count();
                    let is_unknown = if self.whole_periods {
                        (out == n || without == n) && n > 0
                    } else {
                        2 * without > n
                    };
                    if is_unknown {
                        *stock_out_values += u64::from(out > 0);
                        return f64::NAN;
                    }
                    units(p.fold(0i64, |s, i| s.saturating_add(values[i])))
                })
                .collect()
        };
        let y = match self.target {
            Target::Units => sums(&sold.units, &mut stock_out_values),
            Target::Revenue => sums(&sold.revenue, &mut stock_out_values),
            Target::Price => self.price(group, &days, &sold),
        };
        let columns = self
            .columns
            .iter()
            .map(|(column, last)| match column {
                Column::Units => sums(&sold.units, &mut stock_out_values),
                Column::Price => self.price(group, &days, &sold),
                Column::PricePlan => {
                    let days = Days::new(self.grid, group.first, *last);
                    days.means(&self.own_price(group, &days))
                }
                Column::Promotion => self.promotion(group, *last, false),
                Column::PlannedDiscount => self.promotion(group, *last, true),
                Column::PaidDiscount => days
                    .periods()
                    .map(|p| {
                        let off = p.clone().fold(0i64, |s, i| s.saturating_add(sold.discount[i]));
                        let paid = p.fold(0i64, |s, i| s.saturating_add(sold.paid_revenue[i]));
                        let before = off as f64 + paid as f64;
                        if before > 0.0 { (off as f64 / before).clamp(0.0, 1.0) } else { 0.0 }
                    })
                    .collect(),
                Column::StockOut => stock_out.as_ref().map_or_else(Vec::new, |daily| days.means(daily)),
                Column::Closed => {
                    let open =
                        |i: usize| self.open_days.is_some_and(|d| d.contains(&(days.start + i as i64)));
                    let daily: Vec<f64> = (0..days.len()).map(|i| if open(i) { 0.0 } else { 1.0 }).collect();
                    days.means(&daily)
                }
                Column::Events(kind) => self.events(group, &days, *kind),
                Column::CompetitorPrice => self.competitor_price(group, &days),
                Column::CompetitorGap => {
                    let own = self.price(group, &days, &sold);
                    let theirs = self.competitor_price(group, &days);
                    let gap = |(t, o): (&f64, &f64)| if *o > 0.0 { t / o - 1.0 } else { f64::NAN };
                    theirs.iter().zip(&own).map(gap).collect()
                }
                Column::Market(k) => days.means(&mean_of_steps(&[&self.beside.market[*k].1], &days)),
            })
            .collect();
        Made { y, columns, stock_out_values }
    }

    fn cells<'b>(&'b self, group: &'b Group) -> impl Iterator<Item = &'b Cell> + 'b {
        group.pairs.iter().flat_map(|(_, _, range)| &self.sales.cells[range.clone()])
    }

    fn sold(&self, group: &Group, days: &Days) -> Sold {
        let n = days.len();
        let zeros = || vec![0i64; n];
        let mut sold = Sold {
            units: zeros(),
            revenue: zeros(),
            paid_units: zeros(),
            paid_revenue: zeros(),
            discount: zeros(),
            named: vec![false; n],
        };
        for cell in self.cells(group) {
            let Some(i) = days.at(cell.day) else { continue };
            let add = |to: &mut i64, v: i64| *to = to.saturating_add(v);
            add(&mut sold.units[i], cell.units);
            add(&mut sold.revenue[i], cell.revenue);
            add(&mut sold.paid_units[i], cell.paid_units);
            add(&mut sold.paid_revenue[i], cell.paid_revenue);
            add(&mut sold.discount[i], cell.discount);
            sold.named[i] = true;
        }
        sold
    }

    /// The mean price paid; where nothing was sold the own price, else the last one carried forward.
    fn price(&self, group: &Group, days: &Days, sold: &Sold) -> Vec<f64> {
        let own = matches!(self.by, GroupBy::Product | GroupBy::ProductStore)
            .then(|| days.means(&self.own_price(group, days)));
        let mut price: Vec<f64> = days
            .periods()
            .enumerate()
            .map(|(k, p)| {
                let paid_units = p.clone().fold(0i64, |s, i| s.saturating_add(sold.paid_units[i]));
                let paid = p.fold(0i64, |s, i| s.saturating_add(sold.paid_revenue[i]));
                if paid_units > 0 {
                    paid as f64 / paid_units as f64
                } else {
                    own.as_ref().map_or(f64::NAN, |o| o[k])
                }
            })
            .collect();
        carry_forward(&mut price);
        price
    }

    /// The own price of every day, as a mean over stores that have their own.
    fn own_price(&self, group: &Group, days: &Days) -> Vec<f64> {
        if self.beside.own_prices.is_empty() {
            return vec![f64::NAN; days.len()];
        }
        let lists: Vec<&Steps> =
            group.pairs.iter().filter_map(|(p, s, _)| self.beside.own_price(*p, *s)).collect();
        mean_of_steps(&lists, days)
    }

    /// The mean of the competitors' latest prices.
    fn competitor_price(&self, group: &Group, days: &Days) -> Vec<f64> {
        let lists: Vec<&Steps> =
            products(group).filter_map(|p| self.beside.rivals.get(&p)).flatten().collect();
        days.means(&mean_of_steps(&lists, days))
    }

    /// The share of stores under a promotion, or the share taken off, by period. Where promotions of a store overlap,
    /// the one that began first tells what is taken off.
    fn promotion(&self, group: &Group, last: i64, depth: bool) -> Vec<f64> {
        let days = Days::new(self.grid, group.first, last);
        let end = days.start + days.len() as i64 - 1;
        let mut changes = vec![0.0; days.len() + 1];
        for (product, store, _) in &group.pairs {
            let mut covered = days.start - 1;
            for p in self.beside.promotions_of(*product, *store) {
                let (from, to) = (p.first.max(covered + 1), p.last.min(end));
                if from > to {
                    continue;
                }
                covered = to;
                let value = if depth { p.depth } else { 1.0 };
                changes[(from - days.start) as usize] += value;
                changes[(to - days.start) as usize + 1] -= value;
            }
        }
        let n = group.pairs.len().max(1) as f64;
        let mut running = 0.0;
        let daily: Vec<f64> = changes[..days.len()]
            .iter()
            .map(|c| {
                running += c;
                // Sums of differences leave dust where nothing runs.
                let share: f64 = running / n;
                if share < 1e-12 { 0.0 } else { share.min(1.0) }
            })
            .collect();
        days.means(&daily)
    }

    /// The share of stores that had nothing to sell the whole day: nothing at the end of the day before, nothing at its
    /// own end, and nothing sold. Between counts the last one holds, until a sale shows that goods came in.
    fn stock_out(&self, group: &Group, days: &Days) -> Vec<f64> {
        let mut out = vec![0u32; days.len()];
        let mut selling = vec![0i32; days.len() + 1];
        for (product, store, range) in &group.pairs {
            let cells = &self.sales.cells[range.clone()];
            let Some(begin) = cells.first().map(|c| c.day) else { continue };
            let launched = self.beside.products.get(product).and_then(|p| p.launched);
            let begin = launched.map_or(begin, |l| l.min(begin)).max(days.start);
            if let Some(i) = days.at(begin) {
                selling[i] += 1;
            }
            let Some(steps) = self.beside.stock_of(*product, *store) else { continue };
            let sales: BTreeSet<i64> = cells.iter().filter(|c| c.units > 0).map(|c| c.day).collect();
            // The level at the end of the day before; a first count of nothing speaks for its own day.
            let mut level: Option<f64> = None;
            let mut next = 0;
            let from = steps.first().map_or(begin, |s| s.0.min(begin));
            for day in from..days.start + days.len() as i64 {
                let before = level;
                let mut counted = false;
                while let Some((d, on_hand)) = steps.get(next).filter(|s| s.0 <= day) {
                    counted = *d == day;
                    level = Some(*on_hand);
                    next += 1;
                }
                let sold = sales.contains(&day);
                if sold && !counted {
                    level = None;
                }
                let empty = level.is_some_and(|l| l <= 0.0) && before.is_none_or(|l| l <= 0.0) && !sold;
                if empty
                    && day >= begin
                    && let Some(i) = days.at(day)
                {
                    out[i] += 1;
                }
            }
        }
        let mut n = 0;
        out.iter()
            .zip(&selling)
            .map(|(out, begun)| {
                n += begun;
                if n > 0 { f64::from(*out) / f64::from(n) } else { 0.0 }
            })
            .collect()
    }

    /// Events of a kind; unknown outside the log.
    fn events(&self, group: &Group, days: &Days, kind: usize) -> Vec<f64> {
        let (begin, end) = self.beside.event_days.unwrap_or((i64::MAX, i64::MIN));
        let mut daily: Vec<f64> = (0..days.len() as i64)
            .map(|i| if (begin..=end).contains(&(days.start + i)) { 0.0 } else { f64::NAN })
            .collect();
        for product in products(group) {
            for (day, n) in self.beside.events.get(&product).map_or(&[][..], |kinds| &kinds[kind]) {
                if let Some(i) = days.at(*day) {
                    daily[i] += n;
                }
            }
        }
        days.periods()
            .map(|p| {
                let unknown = daily[p.clone()].iter().filter(|v| v.is_nan()).count();
                if 2 * unknown > p.len() { f64::NAN } else { daily[p].iter().filter(|v| !v.is_nan()).sum() }
            })
            .collect()
    }
}

/// The distinct products of a group; its pairs are sorted by product.
fn products(group: &Group) -> impl Iterator<Item = u32> + '_ {
    let mut before = None;
    group.pairs.iter().map(|(p, _, _)| *p).filter(move |p| before.replace(*p) != Some(*p))
}

/// The mean, day by day, of values that hold from a day on; NaN before any holds.
fn mean_of_steps(lists: &[&Steps], days: &Days) -> Vec<f64> {
    let mut sum = vec![0.0; days.len()];
    let mut n = vec![0u32; days.len()];
    for steps in lists {
        let mut value = None;
        let mut next = 0;
        for i in 0..days.len() {
            while let Some((_, v)) = steps.get(next).filter(|s| s.0 <= days.start + i as i64) {
                value = Some(*v);
                next += 1;
            }
            if let Some(v) = value {
                sum[i] += v;
                n[i] += 1;
            }
        }
    }
    sum.iter().zip(&n).map(|(s, n)| s / f64::from(*n)).collect()
}
