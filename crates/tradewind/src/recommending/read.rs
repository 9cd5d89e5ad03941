//! Who did what with which item: rows of a file, or of a shop's tables `events` and `sales`.

use crate::error::{Error, Result};
use crate::learning::{read_frame, read_query_if_any};
use std::path::Path;
use tradewind_core::{EventSettings, Ids, Interaction, Interactions, Run};
use tradewind_ingest::{ReadSettings, TableOptions, table_columns};
use tradewind_learn::frame::{Column, Frame, Words};
use tradewind_recommend::live::Event;
use tradewind_recommend::serve::Engine;
use tradewind_warehouse::Shop;
use tradewind_warehouse::settings::RecommendSettings;

/// What a column of a file may be called, best name first.
const USER: &[&str] = &["user_id", "user", "customer_id"];
const ITEM: &[&str] = &["item_id", "item", "product_id"];
const TIME: &[&str] = &["ds", "pos", "timestamp"];
const EVENT: &[&str] = &["event"];
const WEIGHT: &[&str] = &["weight", "rating"];

/// The kinds of event that the shop's tables give beside those of the visitors.
const PURCHASE: &str = "purchase";
const RETURN: &str = "return";
const RATING: &str = "rating";
/// The stars that speak neither for an item nor against it; five stars count 1.
const RATING_MIDDLE: f64 = 2.5;
const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// What a shop's settings say that events count.
pub fn event_settings(settings: &RecommendSettings) -> EventSettings {
    let weights = [
        ("view", settings.view),
        ("click", settings.click),
        ("cart", settings.cart),
        (PURCHASE, settings.purchase),
        (RATING, settings.rating),
        (RETURN, settings.returned),
        // A search names no product.
        ("search", 0.0),
    ];
    EventSettings {
        event_weights: weights.into_iter().map(|(kind, weight)| (kind.to_owned(), weight)).collect(),
        half_life: settings.half_life_days * SECONDS_OF_A_DAY,
        user_events_max: settings.user_events_max,
        ..EventSettings::default()
    }
}

/// A file while it is read.
struct Source<'a> {
    path: &'a Path,
    names: Vec<String>,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        Ok(Self { path, names: table_columns(path, &ReadSettings::default())? })
    }

    fn find(&self, wanted: &[&str]) -> Option<String> {
        wanted.iter().find_map(|w| self.names.iter().find(|n| n.trim().eq_ignore_ascii_case(w))).cloned()
    }

    fn needed(&self, what: &str, wanted: &[&str]) -> Result<String> {
        self.find(wanted).ok_or_else(|| {
            Error::asked(
                format!("{} has no column of {what}; it has {}", self.path.display(), self.names.join(", ")),
                format!("name it {}", wanted.join(" or ")),
            )
        })
    }

    fn read(&self, run: &Run, text: &[&String], others: &[&String]) -> Result<Frame> {
        let text: Vec<String> = text.iter().map(|t| (*t).clone()).collect();
        let columns = text.iter().cloned().chain(others.iter().map(|o| (*o).clone())).collect();
        read_frame(run, self.path, &TableOptions { text, columns, ..TableOptions::default() })
    }

    fn fault(&self, row: usize, column: &str, what: &str) -> Error {
        Error::asked(
            format!("{} row {}: column `{column}` {what}", self.path.display(), row + 1),
            "correct it or leave the row out",
        )
    }

    /// The words of a column that must have one in every row.
    fn words<'f>(&self, frame: &'f Frame, column: &str) -> Result<&'f Words> {
        let Column::Text(words) = frame.column(column)? else {
            return Err(self.fault(0, column, "is no text"));
        };
        match (0..frame.n_rows()).find(|i| words.get(*i).is_none()) {
            Some(row) => Err(self.fault(row, column, "has no value")),
            None => Ok(words),
        }
    }

    fn times(&self, frame: &Frame, column: &str) -> Result<Vec<i64>> {
        match frame.column(column)? {
            Column::Number(values) => {
                let whole = |v: &f64| v.fract() == 0.0 && v.abs() < 9e15;
                match values.iter().position(|v| !whole(v)) {
                    Some(row) => {
                        let what = format!("is {} and no whole number or date", values[row]);
                        Err(self.fault(row, column, &what))
                    }
                    None => Ok(values.iter().map(|v| *v as i64).collect()),
                }
            }
            Column::Date(values) => (0..values.len())
                .map(|row| values[row].ok_or_else(|| self.fault(row, column, "has no value")))
                .collect(),
            Column::Text(words) => {
                let what = format!("is `{}` and no number or date", words.get(0).unwrap_or_default());
                Err(self.fault(0, column, &what))
            }
            Column::Flag(_) => Err(self.fault(0, column, "is yes or no and no number or date")),
        }
    }

    fn numbers<'f>(&self, frame: &'f Frame, column: &str) -> Result<&'f [f64]> {
        let Column::Number(values) = frame.column(column)? else {
            return Err(self.fault(0, column, "is no number"));
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(row) => Err(self.fault(row, column, "has no value")),
            None => Ok(values),
        }
    }
}

/// Reads a file of `user, item[, pos|ds][, event][, weight]`.
///
/// # Errors
/// A file that cannot be read, one without users or items, a row that lacks one, a time that is no whole number or
/// date, a weight that is no number; each with its row.
pub fn read_interactions(run: &Run, path: &Path, settings: &EventSettings) -> Result<Interactions> {
    let source = Source::open(path)?;
    let (user, item) = (source.needed("users", USER)?, source.needed("items", ITEM)?);
    let (time, event, weight) = (source.find(TIME), source.find(EVENT), source.find(WEIGHT));
    let text: Vec<&String> = [&user, &item].into_iter().chain(&event).collect();
    let others: Vec<&String> = time.iter().chain(&weight).collect();
    let frame = source.read(run, &text, &others)?;
    if frame.n_rows() == 0 {
        let text = format!("{} has no rows: there are no events to learn from", path.display());
        return Err(Error::asked(text, "look at the file"));
    }
    let (users, items) = (source.words(&frame, &user)?, source.words(&frame, &item)?);
    let events = event.as_deref().map(|e| source.words(&frame, e)).transpose()?;
    let ds = time.as_deref().map(|t| source.times(&frame, t)).transpose()?;
    let weights = weight.as_deref().map(|w| source.numbers(&frame, w)).transpose()?;
    let rows = (0..frame.n_rows()).map(|row| Interaction {
        user_id: users.get(row).unwrap_or_default(),
        item_id: items.get(row).unwrap_or_default(),
        ds: ds.as_ref().map_or(0, |d| d[row]),
        event: events.and_then(|e| e.get(row)).unwrap_or_default(),
        weight: weights.map_or(1.0, |w| w[row]),
    });
    Ok(Interactions::build(rows, settings)?)
}

/// The users of a file, each once, in the order in which they come.
///
/// # Errors
/// As [`read_interactions`].
pub fn read_users(run: &Run, path: &Path) -> Result<Vec<String>> {
    let source = Source::open(path)?;
    let user = source.needed("users", USER)?;
    let frame = source.read(run, &[&user], &[])?;
    if frame.n_rows() == 0 {
        return Ok(vec![]);
    }
    let users = source.words(&frame, &user)?;
    let mut seen = Ids::new();
    users.codes().iter().for_each(|code| {
        seen.insert(&users.words()[*code as usize]);
    });
    Ok(seen.iter().map(str::to_owned).collect())
}

/// Who bought, looked at, rated or sent back what in a shop: its sales of known customers and its events of known
/// visitors. Purchases among the events count only where no sale names its customer, since they would count twice.
///
/// # Errors
/// A shop without any such row.
pub fn shop_interactions(shop: &Shop, settings: &EventSettings) -> Result<Interactions> {
    let rows = shop_rows(shop, None)?;
    if rows.ds.is_empty() {
        return Err(Error::asked(
            "no sale names its customer and no event its visitor: there is nobody to recommend to",
            "import sales with customer_id or events with user_id, or look at `tradewind check`",
        ));
    }
    Ok(Interactions::build((0..rows.ds.len()).map(|row| rows.get(row)), settings)?)
}

/// Hands the shop's rows that are newer than `since` to an engine whose model was fitted before they came; tells how
/// many there were and when the last of them was.
///
/// # Errors
/// Tables that cannot be read, an event that the engine refuses.
pub fn follow(engine: &Engine, shop: &Shop, since: i64) -> Result<Option<(usize, i64)>> {
    let rows = shop_rows(shop, Some(since))?;
    let mut order: Vec<usize> = (0..rows.ds.len()).collect();
    order.sort_by_key(|row| rows.ds[*row]);
    for row in &order {
        let row = rows.get(*row);
        let event = Event::of(row.user_id, row.item_id, row.ds);
        engine.event(&Event { event: row.event, weight: row.weight, ..event })?;
    }
    Ok(order.last().map(|row| (order.len(), rows.ds[*row])))
}

/// The rows after `since`, or all.
fn shop_rows(shop: &Shop, since: Option<i64>) -> Result<Rows> {
    let mut rows = Rows::default();
    let newer = since.map_or_else(String::new, |s| format!(" AND ds > to_timestamp_seconds({s})"));
    let sales = read_query_if_any(
        shop,
        &format!(
            "SELECT customer_id, product_id, ds, coalesce(quantity, 1) AS quantity, coalesce(status, 'sold') AS status \
             FROM sales WHERE customer_id IS NOT NULL AND customer_id <> ''{newer}"
        ),
    )?;
    if let Some(frame) = sales {
        let (users, items) = (text(&frame, "customer_id")?, text(&frame, "product_id")?);
        let (ds, status) = (dates(&frame, "ds")?, text(&frame, "status")?);
        let quantity = numbers(&frame, "quantity")?;
        for row in 0..frame.n_rows() {
            let (Some(user), Some(item), Some(ds)) = (users.get(row), items.get(row), ds[row]) else {
                continue;
            };
            let sold = quantity[row] > 0.0 && status.get(row) == Some("sold");
            rows.push(user, item, ds, if sold { PURCHASE } else { RETURN }, 1.0);
        }
    }
    let named = "SELECT count(*) AS n FROM sales WHERE customer_id IS NOT NULL AND customer_id <> ''";
    let with_sales = match read_query_if_any(shop, named)? {
        Some(frame) => numbers(&frame, "n")?.iter().sum::<f64>() > 0.0,
        None => false,
    };
    let events = read_query_if_any(
        shop,
        &format!(
            "SELECT user_id, product_id, ds, event, coalesce(value, 1) AS value, coalesce(n, 1) AS n FROM events \
             WHERE user_id IS NOT NULL AND user_id <> '' AND product_id IS NOT NULL AND product_id <> ''{newer}"
        ),
    )?;
    if let Some(frame) = events {
        let (users, items) = (text(&frame, "user_id")?, text(&frame, "product_id")?);
        let (ds, kinds) = (dates(&frame, "ds")?, text(&frame, "event")?);
        let (value, n) = (numbers(&frame, "value")?, numbers(&frame, "n")?);
        for row in 0..frame.n_rows() {
            let (Some(user), Some(item), Some(ds)) = (users.get(row), items.get(row), ds[row]) else {
                continue;
            };
            let kind = kinds.get(row).unwrap_or_default();
            if with_sales && kind == PURCHASE {
                continue;
            }
            let weight = match kind {
                RATING => (value[row] - RATING_MIDDLE) / RATING_MIDDLE,
                _ => n[row],
            };
            rows.push(user, item, ds, kind, weight);
        }
    }
    Ok(rows.of_products(|id| shop.settings().clean.is_product(id)))
}

/// Rows of a shop before they are interactions: codes and names of users, items and kinds.
#[derive(Default)]
struct Rows {
    users: (Vec<u32>, Ids),
    items: (Vec<u32>, Ids),
    kinds: (Vec<u32>, Ids),
    ds: Vec<i64>,
    weight: Vec<f64>,
}

impl Rows {
    fn push(&mut self, user: &str, item: &str, ds: i64, kind: &str, weight: f64) {
        for ((codes, names), name) in
            [(&mut self.users, user), (&mut self.items, item), (&mut self.kinds, kind)]
        {
            codes.push(names.insert(name));
        }
        self.ds.push(ds);
        self.weight.push(weight);
    }

    fn get(&self, row: usize) -> Interaction<'_> {
        Interaction {
            user_id: self.users.1.name(self.users.0[row]),
            item_id: self.items.1.name(self.items.0[row]),
            ds: self.ds[row],
            event: self.kinds.1.name(self.kinds.0[row]),
            weight: self.weight[row],
        }
    }

    /// Without postage, charges and corrections.
    fn of_products(mut self, is_product: impl Fn(&str) -> bool) -> Self {
        let is_product: Vec<bool> = self.items.1.iter().map(is_product).collect();
        let keep: Vec<bool> = self.items.0.iter().map(|item| is_product[*item as usize]).collect();
        fn kept<T: Copy>(column: &mut Vec<T>, keep: &[bool]) {
            let mut row = 0;
            column.retain(|_| {
                row += 1;
                keep[row - 1]
            });
        }
        [&mut self.users.0, &mut self.items.0, &mut self.kinds.0].into_iter().for_each(|c| kept(c, &keep));
        kept(&mut self.ds, &keep);
        kept(&mut self.weight, &keep);
        self
    }
}

pub(super) fn text<'f>(frame: &'f Frame, column: &str) -> Result<&'f Words> {
    match frame.column(column)? {
        Column::Text(words) => Ok(words),
        _ => Err(unfit(column)),
    }
}

pub(super) fn numbers<'f>(frame: &'f Frame, column: &str) -> Result<&'f [f64]> {
    match frame.column(column)? {
        Column::Number(values) => Ok(values),
        _ => Err(unfit(column)),
    }
}

pub(super) fn dates<'f>(frame: &'f Frame, column: &str) -> Result<&'f [Option<i64>]> {
    match frame.column(column)? {
        Column::Date(values) => Ok(values),
        _ => Err(unfit(column)),
    }
}

fn unfit(column: &str) -> Error {
    tradewind_core::Error::Invalid(format!(
        "the column `{column}` of the shop has another type than its table"
    ))
    .into()
}
