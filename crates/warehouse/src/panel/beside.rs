//! What stands beside the sales: prices, promotions, stock and events, by product and store.

use crate::clean::lines::{CleanSales, DAY_MS, NONE, Names, coded, instant, numbers_of, stream, times_of};
use crate::error::Result;
use crate::store::Snapshot;
use arrow::array::{Array, PrimitiveArray};
use arrow::datatypes::Float64Type;
use std::collections::{BTreeMap, HashMap};
use tradewind_core::Run;

/// A value that holds from a day on, sorted by day, each day once.
pub(super) type Steps = Vec<(i64, f64)>;

/// The kinds of events that become columns, with the columns' names.
pub(super) const EVENTS: [(&str, &str); 4] =
    [("view", "views"), ("click", "clicks"), ("cart", "carts"), ("search", "searches")];

/// Different words searched for that are looked at, the most frequent first.
const QUERIES_MAX: usize = 5_000;

/// A promotion of some days.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promotion {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Share taken off; 0 when it is not told.
    pub(super) depth: f64,
}

/// What is known of one product from the catalogue.
#[derive(Clone, Debug, Default)]
pub(super) struct Product {
    pub(super) title: Option<String>,
    pub(super) category: Option<String>,
    pub(super) subcategory: Option<String>,
    pub(super) brand: Option<String>,
    pub(super) price: Option<f64>,
    pub(super) cost: Option<f64>,
    /// Day of its launch.
    pub(super) launched: Option<i64>,
}

/// All that stands beside the sales. Products and stores are told by their codes; a store of [`NONE`] is all stores.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) products: HashMap<u32, Product>,
    pub(super) own_prices: HashMap<(u32, u32), Steps>,
    pub(super) rivals: HashMap<u32, Vec<Steps>>,
    pub(super) stock: HashMap<(u32, u32), Steps>,
    /// By product and store.
    pub(super) promotions: HashMap<(u32, u32), Vec<Promotion>>,
    /// By category and store, for promotions that name no product; an empty category is all of them.
    pub(super) wide_promotions: HashMap<(String, u32), Vec<Promotion>>,
    /// Whether any promotion tells its depth.
    pub(super) has_depth: bool,
    /// By product, for every kind of [`EVENTS`].
    pub(super) events: HashMap<u32, [Steps; EVENTS.len()]>,
    pub(super) has_event: [bool; EVENTS.len()],
    /// The first and the last day of the log of events.
    pub(super) event_days: Option<(i64, i64)>,
    /// Market series, sorted by name, with what was known from which day on.
    pub(super) market: Vec<(String, Steps)>,
}

impl Beside {
    /// Reads it all. Stock, events and rivals' prices after `last` are not looked at; own prices only if `plans`.
    pub(super) fn read(
        run: &Run,
        snapshot: &Snapshot,
        sales: &CleanSales,
        last: i64,
        plans: bool,
    ) -> Result<Self> {
        let mut out = Self::default();
        let has = |table: &str| snapshot.parts().iter().any(|p| p.table == table);
        if has("products") {
            out.read_products(run, snapshot, sales)?;
        }
        if has("prices") {
            out.read_prices(run, snapshot, sales, last, plans)?;
        }
        if has("stock") {
            out.read_stock(run, snapshot, sales, last)?;
        }
        if has("promotions") {
            out.read_promotions(run, snapshot, sales)?;
        }
        if has("events") {
            out.read_events(run, snapshot, sales, last)?;
        }
        if has("market") {
            out.read_market(run, snapshot, last)?;
        }
        Ok(out)
    }

    fn read_products(&mut self, run: &Run, snapshot: &Snapshot, sales: &CleanSales) -> Result<()> {
        let sql =
            "SELECT product_id, title, category, subcategory, brand, price, cost, launched FROM products";
        stream(run, snapshot, sql, |batch| {
            let ids = found(batch.column(0), &sales.products)?;
            let text = |column: usize| -> Result<(Vec<u32>, Names)> {
                let mut names = Names::default();
                Ok((coded(batch.column(column), NONE, |t| names.code(t))?, names))
            };
            let [title, category, subcategory, brand] = [text(1)?, text(2)?, text(3)?, text(4)?];
            let (price, cost, launched) = (numbers_of(batch, 5)?, numbers_of(batch, 6)?, times_of(batch, 7)?);
            for (i, id) in ids.into_iter().enumerate() {
                let Some(id) = id else { continue };
                let name = |(codes, names): &(Vec<u32>, Names)| names.name(codes[i]).map(str::to_owned);
                let product = Product {
                    title: name(&title),
                    category: name(&category),
                    subcategory: name(&subcategory),
                    brand: name(&brand),
                    price: number(&price, i),
                    cost: number(&cost, i),
                    launched: launched.is_valid(i).then(|| launched.value(i).div_euclid(DAY_MS)),
                };
                self.products.insert(id, product);
            }
            Ok(())
        })
    }

    fn read_prices(
        &mut self,
        run: &Run,
        snapshot: &Snapshot,
        sales: &CleanSales,
        last: i64,
        plans: bool,
    ) -> Result<()> {
        let sql = "SELECT product_id, ds, price, coalesce(seller, ''), store_id FROM prices WHERE price >= 0";
        // Stores may name prices that hold only there; rivals are told apart by name.
        let mut rivals: HashMap<u32, BTreeMap<String, Vec<(i64, f64)>>> = HashMap::new();
        stream(run, snapshot, sql, |batch| {
            let ids = found(batch.column(0), &sales.products)?;
            let (ds, price) = (times_of(batch, 1)?, numbers_of(batch, 2)?);
            let mut names = Names::default();
            let sellers = coded(batch.column(3), NONE, |t| {
                if t.eq_ignore_ascii_case("own") { NONE } else { names.code(t) }
            })?;
            let stores = coded(batch.column(4), Some(NONE), |t| sales.stores.find(t))?;
            for (i, id) in ids.into_iter().enumerate() {
                let (Some(id), Some(value)) = (id, number(&price, i)) else { continue };
                let ms = ds.value(i);
                let day = ms.div_euclid(DAY_MS);
                match (names.name(sellers[i]), stores[i]) {
                    (None, Some(store)) if day <= last || plans => {
                        self.own_prices.entry((id, store)).or_default().push((ms, value));
                    }
                    (Some(seller), _) if day <= last => {
                        rivals.entry(id).or_default().entry(seller.to_owned()).or_default().push((ms, value));
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        self.own_prices.values_mut().for_each(to_days);
        self.rivals = rivals
            .into_iter()
            .map(|(id, sellers)| {
                let mut lists: Vec<Steps> = sellers.into_values().collect();
                lists.iter_mut().for_each(to_days);
                (id, lists)
            })
            .collect();
        Ok(())
    }

    fn read_stock(&mut self, run: &Run, snapshot: &Snapshot, sales: &CleanSales, last: i64) -> Result<()> {
        let sql = format!(
            "SELECT product_id, ds, on_hand, store_id FROM stock WHERE ds < {}",
            instant(last.saturating_add(1))
        );
        stream(run, snapshot, &sql, |batch| {
            let ids = found(batch.column(0), &sales.products)?;
            let (ds, on_hand) = (times_of(batch, 1)?, numbers_of(batch, 2)?);
            let stores = coded(batch.column(3), Some(NONE), |t| sales.stores.find(t))?;
            for (i, id) in ids.into_iter().enumerate() {
                let (Some(id), Some(store), Some(value)) = (id, stores[i], number(&on_hand, i)) else {
                    continue;
                };
                self.stock.entry((id, store)).or_default().push((ds.value(i), value));
            }
            Ok(())
        })?;
        self.stock.values_mut().for_each(to_days);
        Ok(())
    }

    fn read_promotions(&mut self, run: &Run, snapshot: &Snapshot, sales: &CleanSales) -> Result<()> {
        let sql = "SELECT ds, coalesce(ends, ds), product_id, category, store_id, discount FROM promotions";
        stream(run, snapshot, sql, |batch| {
            let (first, last) = (times_of(batch, 0)?, times_of(batch, 1)?);
            let ids = coded(batch.column(2), Some(NONE), |t| sales.products.find(t))?;
            let mut names = Names::default();
            let categories = coded(batch.column(3), NONE, |t| names.code(t))?;
            let stores = coded(batch.column(4), Some(NONE), |t| sales.stores.find(t))?;
            let depth = numbers_of(batch, 5)?;
            for i in 0..batch.num_rows() {
                let (Some(id), Some(store)) = (ids[i], stores[i]) else { continue };
                let promotion = Promotion {
                    first: first.value(i).div_euclid(DAY_MS),
                    last: last.value(i).div_euclid(DAY_MS),
                    depth: number(&depth, i).map_or(0.0, |d| d.clamp(0.0, 1.0)),
                };
                self.has_depth |= promotion.depth > 0.0;
                if id == NONE {
                    let category = names.name(categories[i]).unwrap_or_default().to_owned();
                    self.wide_promotions.entry((category, store)).or_default().push(promotion);
                } else {
                    self.promotions.entry((id, store)).or_default().push(promotion);
                }
            }
            Ok(())
        })?;
        // The order in which rows arrive must not matter.
        let order = |list: &mut Vec<Promotion>| {
            list.sort_unstable_by(|a, b| {
                (a.first, -a.last).cmp(&(b.first, -b.last)).then_with(|| b.depth.total_cmp(&a.depth))
            });
        };
        self.promotions.values_mut().for_each(order);
        self.wide_promotions.values_mut().for_each(order);
        Ok(())
    }

    fn read_events(&mut self, run: &Run, snapshot: &Snapshot, sales: &CleanSales, last: i64) -> Result<()> {
        let sql = format!(
            "SELECT product_id, date_trunc('day', ds) AS day, event, sum(coalesce(n, 1.0)) AS n FROM events \
             WHERE product_id IS NOT NULL AND ds < {} GROUP BY 1, 2, 3",
            instant(last.saturating_add(1))
        );
        stream(run, snapshot, &sql, |batch| {
            let ids = found(batch.column(0), &sales.products)?;
            let days = times_of(batch, 1)?;
            let kinds =
                coded(batch.column(2), None, |t| EVENTS.iter().position(|(e, _)| e.eq_ignore_ascii_case(t)))?;
            let counts = numbers_of(batch, 3)?;
            for (i, id) in ids.into_iter().enumerate() {
                let day = days.value(i).div_euclid(DAY_MS);
                let (a, b) = self.event_days.unwrap_or((day, day));
                self.event_days = Some((a.min(day), b.max(day)));
                let (Some(id), Some(kind), Some(n)) = (id, kinds[i], number(&counts, i)) else { continue };
                self.has_event[kind] = true;
                self.events.entry(id).or_default()[kind].push((day, n));
            }
            Ok(())
        })?;
        self.read_searches(run, snapshot, last)
    }

    /// Searches that name no product are for every product whose title, category or brand holds the words searched for.
    fn read_searches(&mut self, run: &Run, snapshot: &Snapshot, last: i64) -> Result<()> {
        let Some(kind) = EVENTS.iter().position(|(e, _)| *e == "search") else { return Ok(()) };
        let sql = format!(
            "SELECT lower(trim(query)) AS words, date_trunc('day', ds) AS day, sum(coalesce(n, 1.0)) AS n FROM events \
             WHERE product_id IS NULL AND lower(event) = 'search' AND query IS NOT NULL AND ds < {} GROUP BY 1, 2",
            instant(last.saturating_add(1))
        );
        let mut by_words: BTreeMap<String, Steps> = BTreeMap::new();
        stream(run, snapshot, &sql, |batch| {
            let mut names = Names::default();
            let words = coded(batch.column(0), NONE, |t| names.code(t))?;
            let (days, counts) = (times_of(batch, 1)?, numbers_of(batch, 2)?);
            for (i, code) in words.into_iter().enumerate() {
                let (Some(words), Some(n)) = (names.name(code), number(&counts, i)) else { continue };
                let day = days.value(i).div_euclid(DAY_MS);
                let (a, b) = self.event_days.unwrap_or((day, day));
                self.event_days = Some((a.min(day), b.max(day)));
                by_words.entry(words.to_owned()).or_default().push((day, n));
            }
            Ok(())
        })?;
        // The most frequent ones: what was typed once tells nothing of a product's pace.
        let mut queries: Vec<(f64, String, Steps)> =
            by_words.into_iter().map(|(w, s)| (s.iter().map(|d| d.1).sum(), w, s)).collect();
        queries.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        queries.truncate(QUERIES_MAX);
        for (id, product) in &self.products {
            let texts: Vec<String> =
                [&product.title, &product.category, &product.subcategory, &product.brand]
                    .into_iter()
                    .flatten()
                    .map(|t| t.to_lowercase())
                    .collect();
            let mut counts: BTreeMap<i64, f64> = BTreeMap::new();
            for (_, words, days) in &queries {
                if texts.iter().any(|t| t.contains(words.as_str())) {
                    days.iter().for_each(|(day, n)| *counts.entry(*day).or_default() += n);
                }
            }
            if !counts.is_empty() {
                self.has_event[kind] = true;
                self.events.entry(*id).or_default()[kind].extend(counts);
            }
        }
        Ok(())
    }

    /// Market series by name; those of several regions are told apart by the region.
    fn read_market(&mut self, run: &Run, snapshot: &Snapshot, last: i64) -> Result<()> {
        let sql = format!(
            "SELECT series, coalesce(region, ''), ds, value FROM market WHERE ds < {}",
            instant(last.saturating_add(1))
        );
        let mut by_name: BTreeMap<(String, String), Steps> = BTreeMap::new();
        stream(run, snapshot, &sql, |batch| {
            let mut names = Names::default();
            let series = coded(batch.column(0), NONE, |t| names.code(t))?;
            let mut places = Names::default();
            let regions = coded(batch.column(1), NONE, |t| places.code(t))?;
            let (ds, value) = (times_of(batch, 2)?, numbers_of(batch, 3)?);
            for (i, code) in series.into_iter().enumerate() {
                let (Some(name), Some(v)) = (names.name(code), number(&value, i)) else { continue };
                let region = places.name(regions[i]).unwrap_or_default();
                by_name.entry((name.to_owned(), region.to_owned())).or_default().push((ds.value(i), v));
            }
            Ok(())
        })?;
        let several = |name: &str, all: &BTreeMap<(String, String), Steps>| {
            all.keys().filter(|(n, _)| n == name).count() > 1
        };
        self.market = by_name
            .iter()
            .map(|((name, region), steps)| {
                let mut steps = steps.clone();
                to_days(&mut steps);
                let place = if several(name, &by_name) && !region.is_empty() {
                    format!("_{region}")
                } else {
                    String::new()
                };
                (format!("market_{name}{place}"), steps)
            })
            .collect();
        // Two that come to one name would be two columns of one name.
        self.market.sort_by(|a, b| a.0.cmp(&b.0));
        self.market.dedup_by(|later, kept| later.0 == kept.0);
        Ok(())
    }

    /// The own prices that hold for a product in a store.
    pub(super) fn own_price(&self, product: u32, store: u32) -> Option<&Steps> {
        self.own_prices.get(&(product, store)).or_else(|| self.own_prices.get(&(product, NONE)))
    }

    /// The stock of a product in a store; of the whole shop where stores are not told apart.
    pub(super) fn stock_of(&self, product: u32, store: u32) -> Option<&Steps> {
        self.stock.get(&(product, store)).or_else(|| self.stock.get(&(product, NONE)))
    }

    /// All promotions that hold for a product in a store, in the order of their first days.
    pub(super) fn promotions_of(&self, product: u32, store: u32) -> Vec<Promotion> {
        let category = self.products.get(&product).and_then(|p| p.category.as_deref()).unwrap_or_default();
        let mut out: Vec<Promotion> = Vec::new();
        let stores = if store == NONE { &[NONE][..] } else { &[store, NONE][..] };
        for &s in stores {
            out.extend(self.promotions.get(&(product, s)).into_iter().flatten());
            if !self.wide_promotions.is_empty() {
                out.extend(self.wide_promotions.get(&(String::new(), s)).into_iter().flatten());
                if !category.is_empty() {
                    out.extend(self.wide_promotions.get(&(category.to_owned(), s)).into_iter().flatten());
                }
            }
        }
        out.sort_by_key(|p| p.first);
        out
    }

    /// The last day for which a promotion is planned.
    pub(super) fn promotions_end(&self) -> Option<i64> {
        self.promotions.values().chain(self.wide_promotions.values()).flatten().map(|p| p.last).max()
    }

    /// The last day on which an own price changes.
    pub(super) fn prices_end(&self) -> Option<i64> {
        self.own_prices.values().filter_map(|s| s.last()).map(|(day, _)| *day).max()
    }
}

fn number(a: &PrimitiveArray<Float64Type>, i: usize) -> Option<f64> {
    a.is_valid(i).then(|| a.value(i)).filter(|v| v.is_finite())
}

/// The codes of products that are sold; `None` for others.
fn found(array: &arrow::array::ArrayRef, names: &Names) -> Result<Vec<Option<u32>>> {
    coded(array, None, |t| names.find(t))
}

/// Turns values by the millisecond into values by the day: of one day, the last counts (of equal times, the greatest,
/// so that the order of rows does not matter).
fn to_days(steps: &mut Steps) {
    steps.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    for s in steps.iter_mut() {
        s.0 = s.0.div_euclid(DAY_MS);
    }
    steps.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1;
        }
        same
    });
    steps.shrink_to_fit();
}
