//! The canonical tables of a shop: what every connector delivers and the warehouse keeps.
//!
//! A schema version is raised whenever a column is added, renamed or changes its meaning; older shops are read by
//! filling the columns they lack with nulls.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// The type of a canonical column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A 64-bit floating-point number.
    Number,
    /// A date and time without zone, in the shop's local time, to the millisecond.
    Time,
}

impl ColumnType {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Number => DataType::Float64,
            Self::Time => DataType::Timestamp(TimeUnit::Millisecond, None),
        }
    }
}

/// A column of a canonical table.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSpec {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether a row without it is rejected.
    pub required: bool,
    /// Its unit, or the words it may hold; empty when it has none.
    pub unit: &'static str,
    /// What it means.
    pub summary: &'static str,
}

/// A canonical table.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Its name.
    pub name: &'static str,
    /// What its rows are.
    pub summary: &'static str,
    /// Its schema version.
    pub version: u32,
    /// Its columns.
    pub columns: &'static [ColumnSpec],
    /// The columns that name a row. Of two rows with one key the later import counts; a table with an empty key keeps
    /// every row (order lines repeat rightly: the cleaning step decides about duplicates).
    pub key: &'static [&'static str],
    /// The column of time, if rows have one.
    pub time: Option<&'static str>,
}

impl TableSpec {
    /// The table of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|t| t.name == name)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&'static ColumnSpec> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The Arrow schema. Columns are nullable but for the required ones.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> =
            self.columns.iter().map(|c| Field::new(c.name, c.kind.arrow(), !c.required)).collect();
        Arc::new(Schema::new(fields))
    }
}

const fn text(name: &'static str, unit: &'static str, summary: &'static str) -> ColumnSpec {
    ColumnSpec { name, kind: ColumnType::Text, required: false, unit, summary }
}

const fn number(name: &'static str, unit: &'static str, summary: &'static str) -> ColumnSpec {
    ColumnSpec { name, kind: ColumnType::Number, required: false, unit, summary }
}

const fn time(name: &'static str, summary: &'static str) -> ColumnSpec {
    ColumnSpec { name, kind: ColumnType::Time, required: false, unit: "local time", summary }
}

const fn required(column: ColumnSpec) -> ColumnSpec {
    ColumnSpec { required: true, ..column }
}

/// All canonical tables.
pub const TABLES: &[TableSpec] = &[
    TableSpec {
        name: "sales",
        summary: "order lines, or totals of a product and day",
        version: 1,
        columns: &[
            required(text("product_id", "", "the product sold")),
            required(time("ds", "when it was ordered; midnight for totals of a day")),
            number(
                "quantity",
                "units, below zero for returns",
                "how many were sold; 1 when the source has none",
            ),
            number("unit_price", "currency", "price paid for one unit"),
            number(
                "revenue",
                "currency",
                "money taken for the line; quantity × unit_price when the source has none",
            ),
            number("discount", "currency", "taken off the line, as a positive number"),
            text("currency", "ISO 4217", "the currency of the prices"),
            text("unit", "piece, kg, …", "what quantity counts; pieces when empty"),
            text("order_id", "", "the order or invoice; empty for totals"),
            text("status", "sold | returned | cancelled", "sold when empty"),
            text("customer_id", "personal", "who bought; empty for guests"),
            text("store_id", "", "the shop, store or channel"),
            text("region", "", "country or region of the buyer or store"),
        ],
        key: &[],
        time: Some("ds"),
    },
    TableSpec {
        name: "products",
        summary: "the catalogue, one row a product",
        version: 1,
        columns: &[
            required(text("product_id", "", "the product")),
            text("title", "", "its title, in the shop's language"),
            text("category", "", "its category"),
            text("subcategory", "", "its finer category"),
            text("brand", "", "its brand"),
            number("price", "currency", "its list price"),
            number("cost", "currency", "what it costs the shop"),
            text("currency", "ISO 4217", "the currency of price and cost"),
            text("unit", "piece, kg, …", "the unit it is sold in"),
            time("launched", "when it was first on sale"),
            text("image", "path or address", "its picture"),
            text("attributes", "JSON object", "anything else"),
        ],
        key: &["product_id"],
        time: None,
    },
    TableSpec {
        name: "events",
        summary: "what visitors did",
        version: 1,
        columns: &[
            required(time("ds", "when")),
            required(text("event", "view | search | click | cart | purchase | rating", "what")),
            text("event_id", "", "the event's own name, by which repeats are known"),
            text("user_id", "personal", "who"),
            text("session_id", "", "the visit"),
            text("product_id", "", "on which product"),
            text("query", "", "the words searched for"),
            number("value", "units or stars", "quantity, or the rating given"),
            number("n", "events", "how many alike, for sources that give totals; 1 when empty"),
        ],
        key: &[],
        time: Some("ds"),
    },
    TableSpec {
        name: "prices",
        summary: "own and competitors' prices as they changed",
        version: 1,
        columns: &[
            required(text("product_id", "", "the product")),
            required(time("ds", "from when on")),
            required(number("price", "currency", "the price of one unit")),
            text("seller", "own, or the competitor's name", "whose price; own when empty"),
            number("list_price", "currency", "the price before discounts"),
            text("currency", "ISO 4217", "the currency"),
            text("store_id", "", "where it holds; everywhere when empty"),
        ],
        key: &["product_id", "ds", "seller", "store_id"],
        time: Some("ds"),
    },
    TableSpec {
        name: "stock",
        summary: "units on hand",
        version: 1,
        columns: &[
            required(text("product_id", "", "the product")),
            required(time("ds", "when it was counted, at the end of that day")),
            required(number("on_hand", "units", "units that could be sold")),
            text("store_id", "", "where; the whole shop when empty"),
        ],
        key: &["product_id", "ds", "store_id"],
        time: Some("ds"),
    },
    TableSpec {
        name: "promotions",
        summary: "promotions, past and planned",
        version: 1,
        columns: &[
            required(time("ds", "its first day")),
            time("ends", "its last day; the first day when empty"),
            text("promotion_id", "", "its name"),
            text("product_id", "", "the product; all when empty"),
            text("category", "", "the category; all when empty"),
            text("store_id", "", "where; everywhere when empty"),
            text("kind", "discount | display | mailer | coupon | bundle", "what sort"),
            number("discount", "share, 0 to 1", "how much is taken off"),
        ],
        key: &["ds", "promotion_id", "product_id", "category", "store_id", "kind"],
        time: Some("ds"),
    },
    TableSpec {
        name: "market",
        summary: "macro and industry series",
        version: 1,
        columns: &[
            required(text("series", "", "its name, as cpi")),
            required(time("ds", "when it became known")),
            required(number("value", "", "its value")),
            text("unit", "", "its unit"),
            text("region", "", "where it holds"),
        ],
        key: &["series", "ds", "region"],
        time: Some("ds"),
    },
    TableSpec {
        name: "calendar",
        summary: "the shop's own events, beside the holidays and festivals that are built in",
        version: 1,
        columns: &[
            required(time("ds", "its first day")),
            required(text("name", "", "its name")),
            time("ends", "its last day; the first day when empty"),
            text("kind", "holiday | festival | event | closed", "what sort; event when empty"),
            text("region", "", "where it holds"),
        ],
        key: &["ds", "name", "region"],
        time: Some("ds"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_times_are_columns() {
        for t in TABLES {
            assert!(t.key.iter().chain(&t.time).all(|c| t.column(c).is_some()), "{}", t.name);
            assert_eq!(t.schema().fields().len(), t.columns.len());
            let names: std::collections::HashSet<_> = t.columns.iter().map(|c| c.name).collect();
            assert_eq!(names.len(), t.columns.len(), "{} has a column twice", t.name);
        }
    }
}
