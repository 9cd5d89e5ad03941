//! What is known of items besides events: the shop's products and stock, or a file of items.

use super::read::{dates, numbers, text};
use crate::error::{Error, Result};
use crate::learning::{read_frame, read_query_if_any};
use serde_json::Value as Json;
use std::path::Path;
use tradewind_core::{Attributes, Interactions, Run};
use tradewind_ingest::{ReadSettings, TableOptions, table_columns};
use tradewind_learn::frame::{Column, Frame};
use tradewind_recommend::serve::{Item, Items, Value};
use tradewind_text::TitleWords;
use tradewind_warehouse::Shop;

/// What a column of a file of items may be called.
const ITEM: &[&str] = &["item_id", "item", "product_id"];

/// The products of a shop: title, category, price, margin, when they came, the last count of their stock, brand,
/// subcategory and whatever else stands under `attributes`. Ids that are no products (postage, charges) are blocked.
///
/// # Errors
/// Tables that cannot be read.
pub fn shop_items(shop: &Shop) -> Result<Items> {
    let mut items = Items::new();
    let products = "SELECT product_id, title, category, subcategory, brand, price, cost, launched, attributes \
                    FROM products ORDER BY product_id";
    if let Some(frame) = read_query_if_any(shop, products)? {
        let word =
            |column: &str, row: usize| Ok::<_, Error>(text(&frame, column)?.get(row).map(str::to_owned));
        for row in 0..frame.n_rows() {
            let Some(id) = word("product_id", row)? else { continue };
            let price = finite(numbers(&frame, "price")?[row]);
            let cost = finite(numbers(&frame, "cost")?[row]);
            let mut item = Item {
                title: word("title", row)?,
                category: word("category", row)?,
                price,
                created: dates(&frame, "launched")?[row],
                margin: price.zip(cost).filter(|e| e.0 > 0.0).map(|(price, cost)| (price - cost) / price),
                ..Item::default()
            };
            for name in ["brand", "subcategory"] {
                if let Some(value) = word(name, row)? {
                    item.attributes.insert(name.to_owned(), Value::Text(value));
                }
            }
            if let Some(Ok(Json::Object(more))) = word("attributes", row)?.map(|a| serde_json::from_str(&a)) {
                for (name, value) in more {
                    if let Some(value) = attribute(value) {
                        item.attributes.entry(name).or_insert(value);
                    }
                }
            }
            item.blocked = !shop.settings().clean.is_product(&id);
            items.set(&id, item)?;
        }
    }
    // The last count of each store, added up.
    let stock = "SELECT product_id, sum(on_hand) AS on_hand FROM (SELECT product_id, on_hand, row_number() OVER \
                 (PARTITION BY product_id, store_id ORDER BY ds DESC) AS age FROM stock) WHERE age = 1 GROUP BY product_id \
                 ORDER BY product_id";
    if let Some(frame) = read_query_if_any(shop, stock)? {
        let (ids, counts) = (text(&frame, "product_id")?, numbers(&frame, "on_hand")?);
        for row in 0..frame.n_rows() {
            if let Some(id) = ids.get(row) {
                items.change(id, |item| item.stock = finite(counts[row]))?;
            }
        }
    }
    Ok(items)
}

/// Reads a file of items: `item_id` (or `item`, `product_id`) and any of title, category, price, stock, launched,
/// margin, tags (with `|` between them), blocked (1 or yes); further columns are free attributes.
///
/// # Errors
/// A file that cannot be read, that has no column of items, or a row without one, with its number.
pub fn read_items(run: &Run, path: &Path) -> Result<Items> {
    let names = table_columns(path, &ReadSettings::default())?;
    let find = |wanted: &str| names.iter().find(|n| n.trim().eq_ignore_ascii_case(wanted)).cloned();
    let Some(id) = ITEM.iter().find_map(|w| find(w)) else {
        return Err(Error::asked(
            format!("{} has no column of items; it has {}", path.display(), names.join(", ")),
            format!("name it {}", ITEM.join(" or ")),
        ));
    };
    let words = ["title", "category", "tags", "brand"].into_iter().filter_map(find);
    let text = std::iter::once(id.clone()).chain(words).collect();
    let frame = read_frame(run, path, &TableOptions { text, ..TableOptions::default() })?;
    let mut items = Items::new();
    for row in 0..frame.n_rows() {
        let name = self::text(&frame, &id)?.get(row).ok_or_else(|| {
            Error::asked(
                format!("{} row {}: column `{id}` has no value", path.display(), row + 1),
                "fill it in or leave the row out",
            )
        })?;
        items.set(name, item(&frame, &id, row))?;
    }
    Ok(items)
}

/// A row of a file of items.
fn item(frame: &Frame, id: &str, row: usize) -> Item {
    let mut item = Item::default();
    for (column, values) in frame.columns().iter().filter(|c| c.0 != id) {
        let (mut number, mut word) = (None, None);
        match values {
            Column::Number(v) => number = finite(v[row]),
            Column::Text(words) => word = words.get(row).map(str::to_owned),
            Column::Date(v) => number = v[row].map(|seconds| seconds as f64),
            Column::Flag(v) => number = v[row].map(f64::from),
        }
        match column.trim().to_lowercase().as_str() {
            "title" => item.title = word,
            "category" => item.category = word,
            "price" => item.price = number,
            "stock" => item.stock = number,
            "margin" => item.margin = number,
            "launched" => item.created = number.map(|v| v as i64),
            "tags" => {
                let tags = word.unwrap_or_default();
                item.tags = tags.split('|').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
            }
            "blocked" => {
                item.blocked =
                    number.is_some_and(|v| v != 0.0) || word.is_some_and(|w| w.eq_ignore_ascii_case("yes"));
            }
            _ => {
                if let Some(value) = number.map(Value::Number).or(word.map(Value::Text)) {
                    item.attributes.insert(column.trim().to_owned(), value);
                }
            }
        }
    }
    item
}

/// Interactions with what is known of their items, for models of content: the words of titles (Chinese and English),
/// categories, tags and free attributes as terms, the price as a number. Items that nobody took yet stand among the
/// others, so that they can be recommended; blocked ones do not.
///
/// # Errors
/// Attributes that are none, as a price that is not finite.
pub fn describe(items: &Items, data: Interactions) -> Result<Interactions> {
    let title_words = TitleWords::new();
    let mut terms: Vec<(String, String)> = Vec::new();
    for (position, id) in items.ids().iter().enumerate() {
        let item = items.at(position as u32);
        if item.blocked {
            continue;
        }
        let mut add = |term: String| terms.push((id.to_owned(), term));
        if let Some(title) = &item.title {
            title_words.of(title).into_iter().for_each(|word| add(format!("word={word}")));
        }
        if let Some(category) = &item.category {
            add(format!("category={category}"));
        }
        item.tags.iter().for_each(|tag| add(format!("tag={tag}")));
        for (name, value) in &item.attributes {
            match value {
                Value::Text(text) => add(format!("{name}={text}")),
                Value::Texts(texts) => texts.iter().for_each(|text| add(format!("{name}={text}"))),
                Value::Flag(true) => add(format!("{name}=yes")),
                Value::Flag(false) | Value::Number(_) => {}
            }
        }
    }
    if terms.is_empty() {
        return Ok(data);
    }
    let rows = terms.iter().map(|(id, term)| (id.as_str(), term.as_str(), 1.0));
    let attributes = Attributes::build(rows)?.with_number("price", |id| {
        items.get(id).and_then(|i| i.price).map_or(f32::NAN, |price| price as f32)
    });
    Ok(data.with_items(attributes))
}

fn finite(v: f64) -> Option<f64> {
    v.is_finite().then_some(v)
}

/// A value of the column `attributes`; what rules cannot compare is left out.
fn attribute(value: Json) -> Option<Value> {
    Some(match value {
        Json::Bool(b) => Value::Flag(b),
        Json::Number(n) => Value::Number(n.as_f64()?),
        Json::String(s) => Value::Text(s),
        Json::Array(list) => {
            let texts: Option<Vec<String>> =
                list.into_iter().map(|v| v.as_str().map(str::to_owned)).collect();
            Value::Texts(texts?)
        }
        Json::Null | Json::Object(_) => return None,
    })
}
