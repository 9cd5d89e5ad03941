//! A shop's days in plain figures: what was sold, ordered and visited, for people who look at the shop and not at a model.
//!
//! Units and money come from the cleaned lines, as those of a [`panel`](crate::panel) do, so that a chart and a forecast
//! begin at the same number. Orders and visitors are counted in the rows as imported: cleaning knows neither.

use crate::clean::lines::{CleanSales, clean_sales_where, instant};
use crate::error::{Error, Result};
use crate::quality::SOLD;
use crate::shop::Shop;
use crate::store::Snapshot;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use tradewind_core::freq::DAY;
use tradewind_core::{Run, Stamp};

/// Days of one answer at most; a wrong date in the sales must not make it endless.
pub const DAYS_MAX: i64 = 3_700;

/// Products of one answer at most.
pub const PRODUCTS_MAX: usize = 1_000;

/// What the figures are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole shop.
    Shop,
    /// One product.
    Product(String),
    /// The products of one category.
    Category(String),
    /// One store or channel.
    Store(String),
}

impl Part {
    /// The condition on sales lines.
    fn condition(&self) -> String {
        match self {
            Self::Shop => "true".to_owned(),
            Self::Product(id) => format!("product_id = {}", quoted(id)),
            Self::Category(name) => {
                format!("product_id IN (SELECT product_id FROM products WHERE category = {})", quoted(name))
            }
            Self::Store(id) => format!("store_id = {}", quoted(id)),
        }
    }
}

/// A text as SQL writes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What was sold each day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DailySales {
    /// The first day.
    pub first: Stamp,
    /// Units after returns, one a day up to the last day of the shop's data.
    pub units: Vec<f64>,
    /// Money taken after returns; empty where the sales have none.
    pub revenue: Vec<f64>,
    /// Mean price paid for a unit; NaN on days without a priced sale; empty where the sales have no money.
    pub price: Vec<f64>,
}

/// What was sold each day, cleaned by the shop's own settings, of the last [`DAYS_MAX`] days or since `from`.
///
/// # Errors
/// [`Error::NotEnough`] for a shop without sales, [`Error::NotFound`] for a part that sold nothing in these days;
/// cancellation, faults of the disk and of queries.
pub fn sales(run: &Run, shop: &Shop, part: &Part, from: Option<Stamp>) -> Result<DailySales> {
    let snapshot = shop.snapshot()?;
    let settings = &shop.settings().clean;
    let from = from.map(|s| s.div_euclid(DAY));
    let sold = clean_sales_where(run, &snapshot, settings, from, None, &part.condition())?;
    daily(&sold, part)
}

fn daily(sold: &CleanSales, part: &Part) -> Result<DailySales> {
    let Some(last) = sold.days.keys().next_back().copied() else {
        return Err(Error::NotEnough("there are no sales in these days".to_owned()));
    };
    let begun = sold.cells.iter().filter(|c| c.sold).map(|c| c.day).min();
    let Some(first) = begun.map(|day| day.max(last + 1 - DAYS_MAX)) else {
        let (what, name) = match part {
            Part::Shop => return Err(Error::NotEnough("there are no sales in these days".to_owned())),
            Part::Product(id) => ("product with sales", id),
            Part::Category(name) => ("category with sales", name),
            Part::Store(id) => ("store with sales", id),
        };
        return Err(Error::NotFound { what, name: name.clone(), known: String::new() });
    };
    let n = usize::try_from(last - first + 1).unwrap_or(0);
    let (mut units, mut revenue) = (vec![0_i64; n], vec![0_i64; n]);
    let (mut paid_units, mut paid) = (vec![0_i64; n], vec![0_i64; n]);
    for cell in &sold.cells {
        let Some(k) = usize::try_from(cell.day - first).ok().filter(|k| *k < n) else { continue };
        units[k] = units[k].saturating_add(cell.units);
        revenue[k] = revenue[k].saturating_add(cell.revenue);
        paid_units[k] = paid_units[k].saturating_add(cell.paid_units);
        paid[k] = paid[k].saturating_add(cell.paid_revenue);
    }
    // Cells count in millionths.
    let plain = |values: Vec<i64>| values.into_iter().map(|v| v as f64 / 1e6).collect::<Vec<f64>>();
    let price = paid.iter().zip(&paid_units);
    let price = price.map(|(p, u)| if *u > 0 { *p as f64 / *u as f64 } else { f64::NAN }).collect();
    let (units, revenue) = (plain(units), plain(revenue));
    let first = first * DAY;
    Ok(match sold.has_money {
        true => DailySales { first, units, revenue, price },
        false => DailySales { first, units, ..DailySales::default() },
    })
}

/// The currency of the shop: that of its settings, else the one that most sales lines name; empty where none does.
///
/// # Errors
/// Faults of the disk and of queries.
pub fn currency(shop: &Shop) -> Result<String> {
    let said = &shop.settings().shop.currency;
    if !said.is_empty() {
        return Ok(said.clone());
    }
    let query = "SELECT currency AS name, count(*) AS n FROM sales WHERE currency IS NOT NULL GROUP BY currency \
                 ORDER BY n DESC, currency LIMIT 1";
    let found = named(&shop.snapshot()?, query)?;
    // Whatever is no code of ISO 4217 cannot be written beside a number.
    let code = |name: &String| name.len() == 3 && name.bytes().all(|b| b.is_ascii_uppercase());
    Ok(found.into_iter().map(|(name, _)| name).find(code).unwrap_or_default())
}

/// Orders of each day that has one, by day; empty where sales name no orders.
///
/// # Errors
/// Faults of the disk and of queries.
pub fn orders(shop: &Shop, from: Stamp) -> Result<BTreeMap<Stamp, u64>> {
    let since = instant(from.div_euclid(DAY));
    let query = format!(
        "SELECT CAST(ds AS BIGINT) / 86400000 AS day, count(DISTINCT order_id) AS orders FROM sales \
         WHERE ds >= {since} AND order_id IS NOT NULL AND {SOLD} GROUP BY CAST(ds AS BIGINT) / 86400000"
    );
    let batches = shop.sql(&query)?;
    let mut out = BTreeMap::new();
    for row in rows(&batches) {
        out.insert(row.whole("day")?.saturating_mul(DAY), u64::try_from(row.whole("orders")?).unwrap_or(0));
    }
    Ok(out)
}

/// Visitors of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visitors {
    /// Who did anything, each once.
    pub all: u64,
    /// Who bought.
    pub buyers: u64,
}

/// Visitors of each day by day, as the events know them: by user, by session for guests. Who bought is told by an event of
/// purchase, or by a sale to the same customer on that day. Empty without such events.
///
/// # Errors
/// Faults of the disk and of queries.
pub fn visitors(shop: &Shop, from: Stamp) -> Result<BTreeMap<Stamp, Visitors>> {
    let since = instant(from.div_euclid(DAY));
    let query = format!(
        "SELECT e.day AS day, count(DISTINCT e.visitor) AS visitors, \
         count(DISTINCT CASE WHEN e.event = 'purchase' OR b.customer_id IS NOT NULL THEN e.visitor END) AS buyers \
         FROM (SELECT CAST(ds AS BIGINT) / 86400000 AS day, event, user_id, coalesce(user_id, session_id) AS visitor \
         FROM events WHERE ds >= {since} AND coalesce(user_id, session_id) IS NOT NULL) e \
         LEFT JOIN (SELECT DISTINCT CAST(ds AS BIGINT) / 86400000 AS day, customer_id FROM sales \
         WHERE ds >= {since} AND customer_id IS NOT NULL AND {SOLD}) b ON b.day = e.day AND b.customer_id = e.user_id \
         GROUP BY e.day"
    );
    let batches = shop.sql(&query)?;
    let mut out = BTreeMap::new();
    for row in rows(&batches) {
        let count = |name| row.whole(name).map(|n| u64::try_from(n).unwrap_or(0));
        let day = Visitors { all: count("visitors")?, buyers: count("buyers")? };
        out.insert(row.whole("day")?.saturating_mul(DAY), day);
    }
    Ok(out)
}

/// A product of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Its brand.
    pub brand: Option<String>,
    /// Its list price.
    pub price: Option<f64>,
}

/// Which products are looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProductQuery {
    /// Only these ids, where some are given.
    pub ids: Vec<String>,
    /// Only those whose id or title holds this text, upper and lower case alike.
    pub text: Option<String>,
    /// Only this category.
    pub category: Option<String>,
    /// So many at most, up to [`PRODUCTS_MAX`].
    pub limit: usize,
}

/// Products of the catalogue in the order of their ids.
///
/// # Errors
/// Faults of the disk and of queries.
pub fn products(shop: &Shop, asked: &ProductQuery) -> Result<Vec<Product>> {
    let mut conditions = vec!["true".to_owned()];
    if !asked.ids.is_empty() {
        let ids: Vec<String> = asked.ids.iter().map(|id| quoted(id)).collect();
        conditions.push(format!("product_id IN ({})", ids.join(", ")));
    }
    if let Some(text) = &asked.text {
        let text = quoted(&text.to_lowercase());
        let holds = |column: &str| format!("contains(lower(coalesce({column}, '')), {text})");
        conditions.push(format!("({} OR {})", holds("product_id"), holds("title")));
    }
    if let Some(category) = &asked.category {
        conditions.push(format!("category = {}", quoted(category)));
    }
    let query = format!(
        "SELECT product_id, title, category, brand, price FROM products WHERE {} ORDER BY product_id LIMIT {}",
        conditions.join(" AND "),
        asked.limit.min(PRODUCTS_MAX),
    );
    let batches = shop.sql(&query)?;
    rows(&batches)
        .map(|row| {
            Ok(Product {
                id: row.text("product_id")?.unwrap_or_default(),
                title: row.text("title")?,
                category: row.text("category")?,
                brand: row.text("brand")?,
                price: row.number("price")?,
            })
        })
        .collect()
}

/// The categories of the catalogue by name, each with its number of products.
///
/// # Errors
/// Faults of the disk and of queries.
pub fn categories(shop: &Shop) -> Result<Vec<(String, u64)>> {
    named(
        &shop.snapshot()?,
        "SELECT category AS name, count(*) AS n FROM products WHERE category IS NOT NULL GROUP BY category \
         ORDER BY category",
    )
}

/// The stores and channels that sold, by name, each with its number of lines.
///
/// # Errors
/// Faults of the disk and of queries.
pub fn stores(shop: &Shop) -> Result<Vec<(String, u64)>> {
    named(
        &shop.snapshot()?,
        "SELECT store_id AS name, count(*) AS n FROM sales WHERE store_id IS NOT NULL GROUP BY store_id \
         ORDER BY store_id",
    )
}

fn named(snapshot: &Snapshot, query: &str) -> Result<Vec<(String, u64)>> {
    let batches = snapshot.sql(query)?;
    rows(&batches)
        .map(|row| Ok((row.text("name")?.unwrap_or_default(), u64::try_from(row.whole("n")?).unwrap_or(0))))
        .collect()
}

/// A row of an answer.
struct Row<'a> {
    batch: &'a RecordBatch,
    at: usize,
}

fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| Row { batch, at }))
}

impl Row<'_> {
    fn cell(&self, column: &str, to: &DataType) -> Result<arrow::array::ArrayRef> {
        let array = self
            .batch
            .column_by_name(column)
            .ok_or_else(|| Error::Unexpected(format!("an answer has no column `{column}`")))?;
        arrow::compute::cast(&array.slice(self.at, 1), to).map_err(Error::arrow("reading an answer"))
    }

    /// A whole number; 0 for null.
    fn whole(&self, column: &str) -> Result<i64> {
        let cell = self.cell(column, &DataType::Int64)?;
        let cell = cell.as_primitive::<Int64Type>();
        Ok(if cell.is_valid(0) { cell.value(0) } else { 0 })
    }

    fn number(&self, column: &str) -> Result<Option<f64>> {
        let cell = self.cell(column, &DataType::Float64)?;
        let cell = cell.as_primitive::<Float64Type>();
        Ok(cell.is_valid(0).then(|| cell.value(0)).filter(|v| v.is_finite()))
    }

    fn text(&self, column: &str) -> Result<Option<String>> {
        let cell = self.cell(column, &DataType::Utf8)?;
        let cell = cell.as_string::<i32>();
        Ok(cell.is_valid(0).then(|| cell.value(0).to_owned()))
    }
}
