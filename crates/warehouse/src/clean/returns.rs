//! Returned units go back to the day on which they were sold.
//!
//! A return line is matched with sales of the same customer, product and unit price at or before it, the latest first:
//! people undo what they did last. What finds no sale is taken off the day that the line names, and what this day has
//! not sold off the latest days before it, so that no day ends below zero. What is left then was sold before the data
//! begin; it is counted and let go.

use super::lines::{Cell, DAY_MS};
use super::report::CleanReport;
use std::cmp::Ordering;

/// Sales that one return line is held against, at most; a bound on the time for a customer with endless lines.
const SALES_PER_RETURN_MAX: usize = 10_000;

/// A line that takes units back. Units and money are in millionths and positive.
#[derive(Clone, Debug)]
pub(crate) struct ReturnLine {
    /// Customer and product; `None` for guests.
    pub(crate) key: Option<u64>,
    pub(crate) ms: i64,
    pub(crate) pair: u32,
    pub(crate) units: i64,
    pub(crate) price: Option<i64>,
    pub(crate) money: i64,
}

/// A sale that a return may undo.
#[derive(Clone, Debug)]
pub(crate) struct OpenSale {
    pub(crate) key: u64,
    pub(crate) ms: i64,
    pub(crate) pair: u32,
    pub(crate) left: i64,
    pub(crate) price: Option<i64>,
}

/// Matches returns with sales and gives the cells that take their units off. `place` orders pairs independently of the
/// order in which lines were read.
pub(crate) fn net(
    mut returns: Vec<ReturnLine>,
    mut sales: Vec<OpenSale>,
    place: impl Fn(u32, u32) -> Ordering,
    report: &mut CleanReport,
) -> Vec<Cell> {
    sales.sort_unstable_by(|a, b| {
        (a.key, a.ms, a.price, a.left)
            .cmp(&(b.key, b.ms, b.price, b.left))
            .then_with(|| place(a.pair, b.pair))
    });
    returns.sort_unstable_by(|a, b| {
        (a.key, a.ms, a.price, a.units, a.money)
            .cmp(&(b.key, b.ms, b.price, b.units, b.money))
            .then_with(|| place(a.pair, b.pair))
    });
    let mut cells = Vec::with_capacity(returns.len());
    for line in &returns {
        let mut left = line.units;
        if let Some(key) = line.key {
            let end = sales.partition_point(|s| (s.key, s.ms) <= (key, line.ms));
            let begin = end
                - sales[..end].iter().rev().take(SALES_PER_RETURN_MAX).take_while(|s| s.key == key).count();
            for sale in sales[begin..end].iter_mut().rev() {
                if left == 0 {
                    break;
                }
                if sale.left == 0 || (line.price.is_some() && sale.price != line.price) {
                    continue;
                }
                let taken = left.min(sale.left);
                sale.left -= taken;
                left -= taken;
                let money = sale.price.map_or(0, |p| times(taken, p));
                cells.push(Cell::less(sale.pair, sale.ms.div_euclid(DAY_MS), taken, money));
            }
        }
        report.units_matched += units(line.units - left);
        if left == 0 {
            report.returns_matched += 1;
        } else {
            report.returns_on_day += 1;
            report.units_on_day += units(left);
            let share =
                if left == line.units { line.money } else { line.price.map_or(0, |p| times(left, p)) };
            cells.push(Cell::less(line.pair, line.ms.div_euclid(DAY_MS), left, share));
        }
    }
    cells
}

/// Carries days below zero back to the days before, product and store by product and store. `cells` are sorted by
/// pair and day. Units and money each go their own way, since a day may have one and lack the other.
pub(crate) fn carry_back(cells: &mut [Cell], report: &mut CleanReport) {
    let (carried, lost) = carry(cells, |c| &mut c.units);
    report.units_carried_back = units(carried);
    report.units_without_sale = units(lost);
    carry(cells, |c| &mut c.revenue);
}

/// Gives what was carried to earlier days, and what found none.
fn carry(cells: &mut [Cell], value: impl Fn(&mut Cell) -> &mut i64) -> (i64, i64) {
    let (mut carried, mut lost) = (0i64, 0i64);
    let mut with_sales: Vec<usize> = Vec::new();
    let mut pair = None;
    for i in 0..cells.len() {
        if pair != Some(cells[i].pair) {
            pair = Some(cells[i].pair);
            with_sales.clear();
        }
        let v = *value(&mut cells[i]);
        if v > 0 {
            with_sales.push(i);
        }
        if v >= 0 {
            continue;
        }
        let mut missing = v.saturating_neg();
        *value(&mut cells[i]) = 0;
        while missing > 0 {
            let Some(&at) = with_sales.last() else { break };
            let there = value(&mut cells[at]);
            let taken = missing.min(*there);
            *there -= taken;
            let empty = *there == 0;
            missing -= taken;
            carried = carried.saturating_add(taken);
            if empty {
                with_sales.pop();
            }
        }
        lost = lost.saturating_add(missing);
    }
    (carried, lost)
}

/// Millionths times millionths, in millionths.
pub(crate) fn times(a: i64, b: i64) -> i64 {
    let product = i128::from(a) * i128::from(b) / 1_000_000;
    i64::try_from(product).unwrap_or(if product < 0 { i64::MIN } else { i64::MAX })
}

/// Millionths as a number.
pub(crate) fn units(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(pair: u32, day: i64, units: i64) -> Cell {
        Cell { units, revenue: units, ..Cell::at(pair, day) }
    }

    #[test]
    fn days_below_zero_are_taken_off_the_latest_days_before() {
        let mut cells =
            vec![cell(0, 1, 5), cell(0, 2, 3), cell(0, 3, -4), cell(0, 4, 1), cell(1, 1, -2), cell(1, 2, 9)];
        let mut report = CleanReport::default();
        carry_back(&mut cells, &mut report);
        assert_eq!(cells.iter().map(|c| c.units).collect::<Vec<_>>(), [4, 0, 0, 1, 0, 9]);
        assert_eq!(cells.iter().map(|c| c.revenue).collect::<Vec<_>>(), [4, 0, 0, 1, 0, 9]);
        assert_eq!((report.units_carried_back, report.units_without_sale), (4e-6, 2e-6));
    }

    #[test]
    fn returns_undo_the_latest_sale_at_their_price() {
        let sale = |ms, units, price| OpenSale { key: 7, ms, pair: 0, left: units, price: Some(price) };
        let back = |ms, units, price| ReturnLine {
            key: Some(7),
            ms,
            pair: 0,
            units,
            price: Some(price),
            money: units,
        };
        let sales = vec![
            sale(DAY_MS, 10, 5),
            sale(2 * DAY_MS, 4, 5),
            sale(3 * DAY_MS, 4, 6),
            sale(9 * DAY_MS, 99, 5),
        ];
        let mut report = CleanReport::default();
        let cells =
            net(vec![back(4 * DAY_MS, 6, 5), back(5 * DAY_MS, 20, 6)], sales, |a, b| a.cmp(&b), &mut report);
        let got: Vec<(i64, i64)> = cells.iter().map(|c| (c.day, c.units)).collect();
        // Six at five: four of day 2, two of day 1, none of day 9, which comes later. Twenty at six: four, and 16 stay.
        assert_eq!(got, [(2, -4), (1, -2), (3, -4), (5, -16)]);
        assert_eq!((report.returns_matched, report.returns_on_day), (1, 1));
    }
}
