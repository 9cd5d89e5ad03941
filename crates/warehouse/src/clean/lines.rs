//! Sales lines, cleaned and added up to days.
//!
//! The lines stream past once, in pieces of some days, and only the totals of products, stores and days stay, with the
//! few sales that a return may undo. Totals are kept in millionths as whole numbers, so that the order in which lines
//! arrive (which depends on threads and files) never changes a sum.

use super::report::CleanReport;
use super::returns::{OpenSale, ReturnLine, carry_back, net, units};
use super::settings::{CleanSettings, Duplicates, Returns, ZeroPrice};
use crate::error::{Error, Result};
use crate::store::Snapshot;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimeUnit, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use tradewind_core::{Run, freq};

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Lines of one piece, about; what is remembered to know duplicates is bounded by it. Duplicates are equal in their
/// time too, so they never lie in two pieces.
const LINES_PER_PIECE: u64 = 2_000_000;

/// Stands for "none" among codes.
pub(crate) const NONE: u32 = u32::MAX;

/// What was sold of one product in one store on one day. Numbers are in millionths.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) pair: u32,
    pub(crate) day: i64,
    /// Units after returns.
    pub(crate) units: i64,
    /// Money after returns.
    pub(crate) revenue: i64,
    /// Units and money of sales whose price is known, before returns: their ratio is the price paid.
    pub(crate) paid_units: i64,
    pub(crate) paid_revenue: i64,
    /// Taken off by discounts.
    pub(crate) discount: i64,
    /// Whether a sales line named this day (a return alone does not open the shop).
    pub(crate) sold: bool,
}

impl Cell {
    pub(crate) fn at(pair: u32, day: i64) -> Self {
        Self { pair, day, units: 0, revenue: 0, paid_units: 0, paid_revenue: 0, discount: 0, sold: false }
    }

    /// A cell that takes units and money away.
    pub(crate) fn less(pair: u32, day: i64, units: i64, money: i64) -> Self {
        Self { units: -units, revenue: -money, ..Self::at(pair, day) }
    }

    fn add(&mut self, other: &Self) {
        self.units = self.units.saturating_add(other.units);
        self.revenue = self.revenue.saturating_add(other.revenue);
        self.paid_units = self.paid_units.saturating_add(other.paid_units);
        self.paid_revenue = self.paid_revenue.saturating_add(other.paid_revenue);
        self.discount = self.discount.saturating_add(other.discount);
        self.sold |= other.sold;
    }
}

/// Names and their codes, in the order in which they were met.
#[derive(Debug, Default)]
pub(crate) struct Names {
    codes: HashMap<String, u32>,
    pub(crate) list: Vec<String>,
}

impl Names {
    pub(crate) fn code(&mut self, name: &str) -> u32 {
        if let Some(&code) = self.codes.get(name) {
            return code;
        }
        let code = self.list.len() as u32;
        self.codes.insert(name.to_owned(), code);
        self.list.push(name.to_owned());
        code
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.codes.get(name).copied()
    }

    /// The name of a code; `None` for [`NONE`].
    pub(crate) fn name(&self, code: u32) -> Option<&str> {
        self.list.get(code as usize).map(String::as_str)
    }
}

/// The cleaned sales of a shop.
#[derive(Debug)]
pub(crate) struct CleanSales {
    pub(crate) products: Names,
    pub(crate) stores: Names,
    /// Product and store ([`NONE`] when lines name none) of each pair.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Sorted by pair and day, each once.
    pub(crate) cells: Vec<Cell>,
    /// Every day that has a line, with how many.
    pub(crate) days: BTreeMap<i64, u64>,
    /// The last day of all lines, also of those after the days asked for.
    pub(crate) all_last: Option<i64>,
    /// Whether any line has a price or revenue, and whether any has a discount.
    pub(crate) has_money: bool,
    pub(crate) has_discount: bool,
    pub(crate) report: CleanReport,
}

/// Reads and cleans the sales lines of `[from, to]` (days since 1970, both included).
pub(crate) fn clean_sales(
    run: &Run,
    snapshot: &Snapshot,
    settings: &CleanSettings,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<CleanSales> {
    clean_sales_where(run, snapshot, settings, from, to, "true")
}

/// As [`clean_sales`], of the lines for which a condition holds. It must keep the lines of a product together: a return
/// is set against the sale that it undoes.
pub(crate) fn clean_sales_where(
    run: &Run,
    snapshot: &Snapshot,
    settings: &CleanSettings,
    from: Option<i64>,
    to: Option<i64>,
    condition: &str,
) -> Result<CleanSales> {
    settings.check()?;
    let mut all_days: BTreeMap<i64, u64> = BTreeMap::new();
    stream(run, snapshot, "SELECT ds FROM sales", |batch| {
        let ds = times_of(batch, 0)?;
        // Lines of one day mostly stand together: the map is asked once a run of equal days.
        let (mut day, mut n) = (0, 0u64);
        for ms in ds.values() {
            let this = ms.div_euclid(DAY_MS);
            if this != day && n > 0 {
                *all_days.entry(day).or_default() += n;
                n = 0;
            }
            day = this;
            n += 1;
        }
        if n > 0 {
            *all_days.entry(day).or_default() += n;
        }
        Ok(())
    })?;
    let mut work = Work::new(settings);
    work.report.rows = all_days.values().sum();
    let (from, to) = (from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX));
    let days: BTreeMap<i64, u64> =
        if from <= to { all_days.range(from..=to).map(|(d, n)| (*d, *n)).collect() } else { BTreeMap::new() };
    work.report.outside = work.report.rows - days.values().sum::<u64>();

    if settings.returns == Returns::Net {
        let reversed = format!(
            "SELECT product_id, customer_id FROM sales WHERE customer_id IS NOT NULL AND (quantity < 0 OR \
             lower(status) IN ('returned', 'cancelled', 'canceled')) AND ({condition})"
        );
        stream(run, snapshot, &reversed, |batch| work.note_return_keys(batch))?;
    }
    run.progress().begin("clean", days.values().sum());
    for (first, last) in pieces(&days) {
        let sql = format!(
            "SELECT product_id, ds, quantity, unit_price, revenue, discount, currency, unit, order_id, status, \
             customer_id, store_id, region FROM sales WHERE ds >= {} AND ds < {} AND ({condition})",
            instant(first),
            instant(last + 1)
        );
        stream(run, snapshot, &sql, |batch| {
            work.take(batch)?;
            run.progress().advance(batch.num_rows() as u64);
            Ok(())
        })?;
        work.end_piece();
    }
    run.progress().end();
    let all_last = all_days.keys().next_back().copied();
    Ok(CleanSales { all_last, ..work.finish(days) })
}

/// Runs a query and hands its batches to `take`, one after the other, until the run is cancelled.
pub(crate) fn stream(
    run: &Run,
    snapshot: &Snapshot,
    sql: &str,
    mut take: impl FnMut(&RecordBatch) -> Result<()> + Send,
) -> Result<()> {
    run.check()?;
    snapshot.each(sql, |batch| {
        run.check()?;
        take(&batch)
    })
}

/// Days in groups of about [`LINES_PER_PIECE`] lines, as first and last day.
fn pieces(days: &BTreeMap<i64, u64>) -> Vec<(i64, i64)> {
    let mut out: Vec<(i64, i64)> = Vec::new();
    let mut lines = u64::MAX;
    for (&day, &n) in days {
        match out.last_mut() {
            Some(piece) if lines.saturating_add(n) <= LINES_PER_PIECE => {
                piece.1 = day;
                lines += n;
            }
            _ => {
                out.push((day, day));
                lines = n;
            }
        }
    }
    out
}

/// The beginning of a day as an SQL expression that holds for any date.
pub(crate) fn instant(day: i64) -> String {
    format!("arrow_cast({}, 'Timestamp(Millisecond, None)')", day.saturating_mul(DAY_MS))
}

/// A column of times.
pub(crate) fn times_of(
    batch: &RecordBatch,
    column: usize,
) -> Result<arrow::array::PrimitiveArray<TimestampMillisecondType>> {
    let array = cast(batch.column(column), &DataType::Timestamp(TimeUnit::Millisecond, None))
        .map_err(Error::arrow("read the column ds"))?;
    Ok(array.as_primitive::<TimestampMillisecondType>().clone())
}

/// A column of numbers.
pub(crate) fn numbers_of(
    batch: &RecordBatch,
    column: usize,
) -> Result<arrow::array::PrimitiveArray<Float64Type>> {
    let array = cast(batch.column(column), &DataType::Float64).map_err(Error::arrow("read a number"))?;
    Ok(array.as_primitive::<Float64Type>().clone())
}

/// A text column told by codes: `code` is asked once for every distinct text of the batch; `none` stands for empty.
pub(crate) fn coded<T: Copy>(array: &ArrayRef, none: T, mut code: impl FnMut(&str) -> T) -> Result<Vec<T>> {
    let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let texts = cast(array, &DataType::Utf8)
        .and_then(|a| cast(&a, &kind))
        .map_err(Error::arrow("read a text column"))?;
    let texts = texts.as_dictionary::<Int32Type>();
    let values = texts.values().as_string::<i32>();
    let of_value: Vec<T> = (0..values.len())
        .map(|i| {
            let text = if values.is_valid(i) { values.value(i).trim() } else { "" };
            if text.is_empty() { none } else { code(text) }
        })
        .collect();
    let keys = texts.keys();
    Ok((0..keys.len())
        .map(|i| if keys.is_valid(i) { of_value[keys.value(i) as usize] } else { none })
        .collect())
}

/// A hash of a text, for comparing only.
fn hash(text: &str) -> u64 {
    let h = blake3::hash(text.as_bytes());
    u64::from_le_bytes(h.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

/// Keys that are hashes already need no further hashing.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut b = [0u8; 8];
            b[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        // Spreads what is no hash, as packed codes and days (the odd constant is 2⁶⁴ divided by the golden ratio).
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
}

type PlainMap<K, V> = HashMap<K, V, BuildHasherDefault<Plain>>;
type PlainSet<K> = HashSet<K, BuildHasherDefault<Plain>>;

/// A number in millionths; beyond what fits, the ends.
fn millionths(x: f64) -> i64 {
    (x * 1e6).round() as i64
}

/// Whether a product is none, by patterns with `*`; upper and lower case are alike.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

struct Work<'a> {
    settings: &'a CleanSettings,
    products: Names,
    stores: Names,
    pairs: Vec<(u32, u32)>,
    pair_codes: PlainMap<u64, u32>,
    /// Whether the product of that code is none, decided when it is first met.
    excluded: Vec<bool>,
    excluded_lines: Vec<u64>,
    /// Customer and product of every return.
    return_keys: PlainSet<u64>,
    seen: PlainSet<u128>,
    piece: PlainMap<(u32, i64), Cell>,
    cells: Vec<Cell>,
    returns: Vec<ReturnLine>,
    open: Vec<OpenSale>,
    sold: i64,
    has_money: bool,
    has_discount: bool,
    report: CleanReport,
}

impl<'a> Work<'a> {
    fn new(settings: &'a CleanSettings) -> Self {
        Self {
            settings,
            products: Names::default(),
            stores: Names::default(),
            pairs: vec![],
            pair_codes: PlainMap::default(),
            excluded: vec![],
            excluded_lines: vec![],
            return_keys: PlainSet::default(),
            seen: PlainSet::default(),
            piece: PlainMap::default(),
            cells: vec![],
            returns: vec![],
            open: vec![],
            sold: 0,
            has_money: false,
            has_discount: false,
            report: CleanReport::default(),
        }
    }

    fn note_return_keys(&mut self, batch: &RecordBatch) -> Result<()> {
        let products = coded(batch.column(0), None, |t| Some(hash(t)))?;
        let customers = coded(batch.column(1), None, |t| Some(hash(t)))?;
        for (product, customer) in products.into_iter().zip(customers) {
            if let (Some(p), Some(c)) = (product, customer) {
                self.return_keys.insert(together(p, c));
            }
        }
        Ok(())
    }

    /// Takes the lines of a batch: sorts each into its class and adds up what counts.
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let settings = self.settings;
        let (names, excluded) = (&mut self.products, &mut self.excluded);
        let products = coded(batch.column(0), (NONE, 0), |t| {
            let code = names.code(t);
            if code as usize == excluded.len() {
                excluded.push(settings.exclude_products.iter().any(|p| matches(p, t)));
            }
            (code, hash(t))
        })?;
        self.excluded_lines.resize(self.excluded.len(), 0);
        let stores = coded(batch.column(11), NONE, |t| self.stores.code(t))?;
        let hashed = |column: usize| coded(batch.column(column), 0, hash);
        let (currency, unit, order) = (hashed(6)?, hashed(7)?, hashed(8)?);
        let (status_text, customers, region) = (hashed(9)?, hashed(10)?, hashed(12)?);
        let reversed = coded(batch.column(9), false, |t| {
            ["returned", "cancelled", "canceled"].iter().any(|s| t.eq_ignore_ascii_case(s))
        })?;
        let ds = times_of(batch, 1)?;
        let (quantity, price) = (numbers_of(batch, 2)?, numbers_of(batch, 3)?);
        let (revenue, discount) = (numbers_of(batch, 4)?, numbers_of(batch, 5)?);
        let number = |a: &arrow::array::PrimitiveArray<Float64Type>, i: usize| {
            a.is_valid(i).then(|| a.value(i)).filter(|v| v.is_finite())
        };
        for i in 0..batch.num_rows() {
            let (product, product_hash) = products[i];
            let ms = ds.value(i);
            // A source without quantities sells one unit a line.
            let Some(q) = (if quantity.is_valid(i) { number(&quantity, i) } else { Some(1.0) }) else {
                self.report.unreadable += 1;
                continue;
            };
            if self.excluded.get(product as usize).copied().unwrap_or(false) {
                self.report.excluded += 1;
                self.excluded_lines[product as usize] += 1;
                continue;
            }
            let (p, r, d) = (number(&price, i), number(&revenue, i), number(&discount, i));
            if settings.duplicates == Duplicates::Drop {
                let bits = |v: Option<f64>| v.map_or(u64::MAX, |v| (v + 0.0).to_bits());
                let row = [
                    u64::from(product),
                    ms as u64,
                    (q + 0.0).to_bits(),
                    bits(p),
                    bits(r),
                    bits(d),
                    currency[i],
                    unit[i],
                    order[i],
                    status_text[i],
                    customers[i],
                    u64::from(stores[i]),
                    region[i],
                ];
                let mut bytes = [0u8; 13 * 8];
                for (to, n) in bytes.chunks_exact_mut(8).zip(row) {
                    to.copy_from_slice(&n.to_le_bytes());
                }
                let h = blake3::hash(&bytes);
                let key = u128::from_le_bytes(h.as_bytes()[..16].try_into().expect("a hash has 32 bytes"));
                if !self.seen.insert(key) {
                    self.report.duplicates += 1;
                    continue;
                }
            }
            let line = Line {
                pair: self.pair(product, stores[i]),
                key: (customers[i] != 0).then(|| together(product_hash, customers[i])),
                ms,
                units: millionths(q),
                price: p.or_else(|| r.filter(|_| q != 0.0).map(|r| r / q)).map(millionths),
                money: r.or_else(|| p.map(|p| p * q)).map(millionths),
                discount: d.map_or(0, millionths),
                reversed: reversed[i],
            };
            self.sort_in(line);
        }
        Ok(())
    }

    /// Puts a line into its class; one line, one class.
    fn sort_in(&mut self, line: Line) {
        let free = line.price == Some(0);
        if line.units < 0 && free && line.key.is_none() {
            self.report.adjustments += 1;
        } else if line.units < 0 || line.reversed {
            self.take_back(line);
        } else if free && line.units > 0 && self.settings.zero_price == ZeroPrice::Drop {
            self.report.zero_price += 1;
        } else {
            self.report.used += 1;
            self.report.zero_price_kept += u64::from(free && line.units > 0);
            if let Some(key) = line.key.filter(|k| self.return_keys.contains(k)) {
                let Line { ms, pair, units: left, price, .. } = line;
                self.open.push(OpenSale { key, ms, pair, left, price });
            }
            self.sell(&line);
        }
    }

    fn take_back(&mut self, line: Line) {
        let negative = line.units < 0;
        match self.settings.returns {
            Returns::Keep => {
                self.report.returns_kept += 1;
                self.sell(&line);
            }
            Returns::Drop => self.report.returns_dropped += 1,
            // A sale that is marked itself as undone has nothing else to be taken off.
            Returns::Net if !negative => self.report.undone += 1,
            Returns::Net => self.returns.push(ReturnLine {
                key: line.key,
                ms: line.ms,
                pair: line.pair,
                units: line.units.saturating_neg(),
                price: line.price.map(i64::saturating_abs),
                money: line.money.unwrap_or(0).saturating_abs(),
            }),
        }
    }

    fn sell(&mut self, line: &Line) {
        let day = line.ms.div_euclid(DAY_MS);
        let priced = line.units > 0 && line.money.is_some();
        let cell = Cell {
            units: line.units,
            revenue: line.money.unwrap_or(0),
            paid_units: if priced { line.units } else { 0 },
            paid_revenue: if priced { line.money.unwrap_or(0) } else { 0 },
            discount: line.discount,
            sold: line.units > 0,
            ..Cell::at(line.pair, day)
        };
        self.has_money |= line.money.is_some();
        self.has_discount |= line.discount != 0;
        if line.units > 0 {
            self.sold = self.sold.saturating_add(line.units);
        }
        self.piece.entry((line.pair, day)).or_insert_with(|| Cell::at(line.pair, day)).add(&cell);
    }

    fn pair(&mut self, product: u32, store: u32) -> u32 {
        let key = u64::from(product) << 32 | u64::from(store);
        *self.pair_codes.entry(key).or_insert_with(|| {
            self.pairs.push((product, store));
            (self.pairs.len() - 1) as u32
        })
    }

    fn end_piece(&mut self) {
        self.cells.extend(self.piece.drain().map(|(_, c)| c));
        self.seen.clear();
    }

    fn finish(self, days: BTreeMap<i64, u64>) -> CleanSales {
        let Self { settings, products, stores, pairs, mut cells, mut report, .. } = self;
        report.units_sold = units(self.sold);
        for (name, n) in products.list.iter().zip(self.excluded_lines).filter(|(_, n)| *n > 0) {
            report.excluded_products.insert(name.clone(), n);
        }
        if settings.returns == Returns::Net {
            let named =
                |pair: u32| pairs.get(pair as usize).map(|(p, s)| (products.name(*p), stores.name(*s)));
            cells.extend(net(self.returns, self.open, |a, b| named(a).cmp(&named(b)), &mut report));
        }
        cells.sort_unstable_by_key(|c| (c.pair, c.day));
        cells.dedup_by(|later, kept| {
            let same = (later.pair, later.day) == (kept.pair, kept.day);
            if same {
                kept.add(later);
            }
            same
        });
        if settings.returns == Returns::Net {
            carry_back(&mut cells, &mut report);
        }
        let text = |day: &i64| freq::date(day.saturating_mul(freq::DAY)).to_string();
        report.first_day = days.keys().next().map(text);
        report.last_day = days.keys().next_back().map(text);
        CleanSales {
            products,
            stores,
            pairs,
            cells,
            days,
            all_last: None,
            has_money: self.has_money,
            has_discount: self.has_discount,
            report,
        }
    }
}

/// A line that was read. Numbers are in millionths.
struct Line {
    pair: u32,
    /// Customer and product.
    key: Option<u64>,
    ms: i64,
    units: i64,
    price: Option<i64>,
    money: Option<i64>,
    discount: i64,
    /// Whether its status says returned or cancelled.
    reversed: bool,
}

fn together(product: u64, customer: u64) -> u64 {
    product.rotate_left(21) ^ customer.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::super::returns::times;
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, want) in [
            ("POST", "post", true),
            ("POST", "POSTER", false),
            ("gift_0001_*", "GIFT_0001_20", true),
            ("gift_0001_*", "gift_0001", false),
            ("*fee", "AMAZONFEE", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("邮*", "邮费", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn pieces_hold_whole_days() {
        let days = BTreeMap::from([(1, 1_500_000), (2, 400_000), (5, 200_000), (9, 3_000_000), (10, 1)]);
        assert_eq!(pieces(&days), [(1, 2), (5, 5), (9, 9), (10, 10)]);
        assert!(pieces(&BTreeMap::new()).is_empty());
    }

    #[test]
    fn millionths_neither_wrap_nor_panic() {
        assert_eq!(millionths(15.3), 15_300_000);
        assert_eq!(millionths(1e300), i64::MAX);
        assert_eq!(times(i64::MAX, i64::MAX), i64::MAX);
        assert_eq!(times(2_000_000, 1_500_000), 3_000_000);
    }
}
