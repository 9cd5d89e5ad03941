//! People who come to the simulated shop while it is served: who they are, what they look for, how far they go.
//!
//! Most are customers of the shop's history and stay true to the category that they bought most of; the rest are guests.
//! What they are shown by the shop counts: an item of their own category is clicked more often, so a list that knows them
//! sells more than one that does not. Nothing here speaks to a server or looks at a clock.

use super::plan::stream;
use crate::error::{Error, Result};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use tradewind_core::Run;
use tradewind_warehouse::Shop;

/// Visitors who are guests.
const GUESTS: f64 = 0.15;
/// Visitors who search first.
const SEARCHERS: f64 = 0.45;
/// Views of the own category.
const FAITHFUL: f64 = 0.7;
/// The chance that an item that is shown is clicked: of the own category, of another.
const CLICKS: [f64; 2] = [0.13, 0.03];
/// From a view to the cart, from the cart to the order, from the order to a rating.
const STEPS: [f64; 3] = [0.12, 0.5, 0.15];

/// The shop's newest four weeks, by product.
const PRODUCTS: &str = "
SELECT p.product_id, p.category, p.subcategory, CAST(COALESCE(s.units, 0) AS BIGINT) AS units
FROM (SELECT product_id, MIN(category) AS category, MIN(subcategory) AS subcategory FROM products GROUP BY product_id) p
LEFT JOIN (
    SELECT product_id, SUM(quantity) AS units FROM sales
    WHERE ds > (SELECT MAX(ds) FROM sales) - INTERVAL '28' DAY AND (status IS NULL OR status = 'sold')
    GROUP BY product_id
) s ON s.product_id = p.product_id
ORDER BY p.product_id";

/// Lines by customer and category.
const CUSTOMERS: &str = "
SELECT s.customer_id, p.category, COUNT(*) AS lines
FROM sales s JOIN (SELECT product_id, MIN(category) AS category FROM products GROUP BY product_id) p
    ON s.product_id = p.product_id
WHERE s.customer_id IS NOT NULL
GROUP BY s.customer_id, p.category
ORDER BY s.customer_id, lines DESC, p.category";

struct Item {
    product_id: String,
    query: String,
    category: usize,
    weight: f64,
}

/// The people of a simulated shop. The same shop and seed give the same visits.
///
/// ```
/// use tradewind::demo::{self, DemoSettings, Visitors};
/// use tradewind_core::Run;
/// let dir = tempfile::tempdir().unwrap();
/// let run = Run::new(7);
/// let settings = DemoSettings { n_products: 20, days: 90, ..DemoSettings::default() };
/// let (shop, _) = demo::make(&run, &dir.path().join("shop"), &settings).unwrap();
/// let mut visitors = Visitors::of(&run, &shop).unwrap();
/// let visit = visitors.arrive();
/// let acts = visitors.walk(&visit, &[]);
/// assert!(acts.iter().any(|act| act.event == "view"));
/// ```
pub struct Visitors {
    items: Vec<Item>,
    position: HashMap<String, usize>,
    /// By category: positions of its items.
    shelves: Vec<Vec<usize>>,
    /// Customers and the category that each bought most of.
    customers: Vec<(String, usize)>,
    arrived: u64,
    rng: ChaCha8Rng,
}

/// Somebody who came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The customer, or a name that a guest gets.
    pub user_id: String,
    /// The visit.
    pub session_id: String,
    /// The category whose items the visitor likes.
    pub(super) taste: usize,
}

/// Something that a visitor did, in the words of the table `events`.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// `search`, `view`, `click`, `cart`, `purchase` or `rating`.
    pub event: &'static str,
    /// With which product; none for searches.
    pub product_id: Option<String>,
    /// The words searched for.
    pub query: Option<String>,
    /// Units, or stars.
    pub value: Option<f64>,
}

impl Visitors {
    /// The people of a shop.
    ///
    /// # Errors
    /// Faults of the disk; a shop without products that are sold.
    pub fn of(run: &Run, shop: &Shop) -> Result<Self> {
        let mut categories: HashMap<String, usize> = HashMap::new();
        let mut items = Vec::new();
        each(shop, PRODUCTS, 3, |texts, units| {
            let n = categories.len();
            let category = *categories.entry(texts[1].to_owned()).or_insert(n);
            items.push(Item {
                product_id: texts[0].to_owned(),
                query: texts[2].to_owned(),
                category,
                weight: units.max(0) as f64,
            });
        })?;
        if items.iter().all(|item| item.weight <= 0.0) {
            return Err(Error::asked(
                "nothing was sold in the last four weeks of the demo",
                "make it longer",
            ));
        }
        let mut shelves = vec![Vec::new(); categories.len()];
        let mut position = HashMap::new();
        for (i, item) in items.iter().enumerate() {
            shelves[item.category].push(i);
            position.insert(item.product_id.clone(), i);
        }
        let mut customers: Vec<(String, usize)> = Vec::new();
        each(shop, CUSTOMERS, 2, |texts, _| {
            // The first row of a customer has most lines.
            if customers.last().is_none_or(|(last, _)| last != texts[0])
                && let Some(category) = categories.get(texts[1])
            {
                customers.push((texts[0].to_owned(), *category));
            }
        })?;
        Ok(Self { items, position, shelves, customers, arrived: 0, rng: run.rng(stream::VISITORS) })
    }

    /// The next one who comes.
    pub fn arrive(&mut self) -> Visit {
        self.arrived += 1;
        let known = if self.rng.random_bool(GUESTS) { None } else { self.customers.choose(&mut self.rng) };
        let (user_id, taste) = match known {
            Some((id, taste)) => (id.clone(), *taste),
            None => (format!("guest-{}", self.arrived), self.rng.random_range(0..self.shelves.len())),
        };
        Visit { user_id, session_id: format!("visit-{}", self.arrived), taste }
    }

    /// What the visitor does, in order; `shown` are the products that the shop recommends on its first page.
    pub fn walk(&mut self, visit: &Visit, shown: &[String]) -> Vec<Act> {
        let mut acts = Vec::new();
        let act = |event, item: &Item, value| Act {
            event,
            product_id: Some(item.product_id.clone()),
            query: None,
            value,
        };
        let mut looked = Vec::new();
        for id in shown {
            let Some(&i) = self.position.get(id) else { continue };
            let own = self.items[i].category == visit.taste;
            if self.rng.random_bool(CLICKS[usize::from(!own)]) {
                acts.push(act("click", &self.items[i], None));
                looked.push(i);
            }
        }
        let searches = self.rng.random_bool(SEARCHERS);
        let views = 1 + usize::from(self.rng.random_bool(0.6)) + usize::from(self.rng.random_bool(0.3));
        for k in 0..views {
            let Some(i) = self.pick(visit.taste) else { continue };
            if searches && k == 0 {
                let query = Some(self.items[i].query.clone());
                acts.push(Act { event: "search", product_id: None, query, value: None });
            }
            looked.push(i);
        }
        for i in looked {
            let item = &self.items[i];
            acts.push(act("view", item, None));
            if !self.rng.random_bool(STEPS[0]) {
                continue;
            }
            acts.push(act("cart", item, Some(1.0)));
            if !self.rng.random_bool(STEPS[1]) {
                continue;
            }
            let units = if self.rng.random_bool(0.85) { 1.0 } else { 2.0 };
            acts.push(act("purchase", item, Some(units)));
            if self.rng.random_bool(STEPS[2]) {
                let stars = [5.0, 5.0, 5.0, 4.0, 4.0, 3.0, 2.0].choose(&mut self.rng).copied();
                acts.push(act("rating", item, stars));
            }
        }
        acts
    }

    /// A product, the more often the better it sells, mostly of the visitor's own category.
    fn pick(&mut self, taste: usize) -> Option<usize> {
        let all: Vec<usize>;
        let among = if self.rng.random_bool(FAITHFUL) {
            &self.shelves[taste]
        } else {
            all = (0..self.items.len()).collect();
            &all
        };
        among.choose_weighted(&mut self.rng, |i| self.items[*i].weight + 0.1).ok().copied()
    }

    /// Seconds until the next one comes, where `per_minute` come in the mean.
    pub fn pause_s(&mut self, per_minute: f64) -> f64 {
        let u: f64 = self.rng.random();
        -(1.0 - u).ln() * 60.0 / per_minute
    }
}

/// Goes through the rows of a query whose first `n_texts` columns are texts and whose last is a whole number.
fn each(shop: &Shop, query: &str, n_texts: usize, mut take: impl FnMut(&[&str], i64)) -> Result<()> {
    let odd = |e: String| Error::asked(format!("the demo shop cannot be read: {e}"), "report this as a bug");
    for batch in shop.sql(query)? {
        let texts = (0..n_texts)
            .map(|k| arrow::compute::cast(batch.column(k), &arrow::datatypes::DataType::Utf8))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| odd(e.to_string()))?;
        let numbers = batch.column(n_texts).as_primitive_opt::<Int64Type>();
        let numbers = numbers.ok_or_else(|| odd("a count is no whole number".to_owned()))?;
        for row in 0..batch.num_rows() {
            let texts: Vec<&str> = texts.iter().map(|c| c.as_string::<i32>().value(row)).collect();
            take(&texts, numbers.value(row));
        }
    }
    Ok(())
}
