//! What the shop knows of its items: category, price, stock, tags and whatever else, changed item by item.

use std::collections::{BTreeMap, VecDeque};
use tradewind_core::{Error, Ids, ItemSet, Result};

/// A free attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Several texts; a comparison holds when it holds for one of them.
    Texts(Vec<String>),
    /// Yes or no.
    Flag(bool),
}

/// One item. What is not known is `None`, and filters on it then leave the item out, except stock: an item whose stock
/// is not told counts as in stock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// The title.
    pub title: Option<String>,
    /// The category.
    pub category: Option<String>,
    /// The price.
    pub price: Option<f64>,
    /// Pieces in stock.
    pub stock: Option<f64>,
    /// Where it is sold; empty: everywhere.
    pub regions: Vec<String>,
    /// When it came, in units of `ds`.
    pub created: Option<i64>,
    /// What is earned, in the shop's own measure (a part of the price, or money).
    pub margin: Option<f64>,
    /// Tags.
    pub tags: Vec<String>,
    /// Never shown.
    pub blocked: bool,
    /// Whatever else is known, by name.
    pub attributes: BTreeMap<String, Value>,
}

/// The position that stands for no category.
pub(crate) const NO_CATEGORY: u32 = u32::MAX;
/// Changes remembered, so that what was derived from the table is mended rather than made anew.
const CHANGES_MAX: usize = 4096;

/// The table of items, each with a position that never changes.
#[derive(Clone, Debug, Default)]
pub struct Items {
    ids: Ids,
    rows: Vec<Item>,
    categories: Ids,
    category: Vec<u32>,
    /// Not a number where it is not known.
    price: Vec<f64>,
    /// The least number where it is not known.
    created: Vec<i64>,
    in_stock: ItemSet,
    open: ItemSet,
    /// Grows with every change.
    version: u64,
    /// The items of the last changes, the newest behind.
    changes: VecDeque<u32>,
}

impl Items {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table of items of which only the names are known.
    pub fn of(ids: &Ids) -> Self {
        let mut out = Self::new();
        ids.iter().for_each(|id| {
            out.position(id);
        });
        out
    }

    /// The position of an item, which is put behind the others when it is new.
    pub fn position(&mut self, id: &str) -> u32 {
        let at = self.ids.insert(id);
        if at as usize == self.rows.len() {
            self.rows.push(Item::default());
            self.category.push(NO_CATEGORY);
            self.price.push(f64::NAN);
            self.created.push(i64::MIN);
            self.in_stock.insert(at);
            self.open.insert(at);
            self.changed(at);
        }
        at
    }

    /// Takes in an item, or all that is known of one anew.
    pub fn set(&mut self, id: &str, item: Item) -> Result<u32> {
        for (name, value) in [("price", item.price), ("stock", item.stock), ("margin", item.margin)] {
            if value.is_some_and(|v| !v.is_finite()) {
                return Err(Error::Invalid(format!("item `{id}`: {name} is not a finite number")));
            }
        }
        let at = self.position(id);
        self.category[at as usize] =
            item.category.as_deref().map_or(NO_CATEGORY, |c| self.categories.insert(c));
        self.price[at as usize] = item.price.unwrap_or(f64::NAN);
        self.created[at as usize] = item.created.unwrap_or(i64::MIN);
        let put = |set: &mut ItemSet, within| if within { set.insert(at) } else { set.remove(at) };
        put(&mut self.in_stock, item.stock.is_none_or(|s| s > 0.0));
        put(&mut self.open, !item.blocked);
        self.rows[at as usize] = item;
        self.changed(at);
        Ok(at)
    }

    /// Changes one item in place.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Item)) -> Result<u32> {
        let mut item = self.ids.find(id).map(|at| self.rows[at as usize].clone()).unwrap_or_default();
        change(&mut item);
        self.set(id, item)
    }

    fn changed(&mut self, at: u32) {
        self.version += 1;
        self.changes.push_back(at);
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The names with their positions.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// What is known of an item.
    pub fn get(&self, id: &str) -> Option<&Item> {
        self.ids.find(id).map(|at| &self.rows[at as usize])
    }

    /// What is known of the item at a position. Panics, as a slice would, when there is none.
    pub fn at(&self, position: u32) -> &Item {
        &self.rows[position as usize]
    }

    /// The names of categories.
    pub fn categories(&self) -> &Ids {
        &self.categories
    }

    /// The position of an item's category.
    pub(crate) fn category(&self, position: u32) -> u32 {
        self.category[position as usize]
    }

    /// When an item came.
    pub(crate) fn created(&self, position: u32) -> Option<i64> {
        Some(self.created[position as usize]).filter(|c| *c != i64::MIN)
    }

    /// Items whose price lies between these.
    pub(crate) fn priced(&self, min: f64, max: f64) -> ItemSet {
        let mut out = ItemSet::none(self.len());
        for (at, price) in self.price.iter().enumerate() {
            if *price >= min && *price <= max {
                out.insert(at as u32);
            }
        }
        out
    }

    /// Items in stock.
    pub(crate) fn in_stock(&self) -> &ItemSet {
        &self.in_stock
    }

    /// Items that are not on the blocklist.
    pub(crate) fn open(&self) -> &ItemSet {
        &self.open
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The items changed since a version, or `None` where that is too long ago.
    pub(crate) fn changed_since(&self, version: u64) -> Option<impl Iterator<Item = u32> + '_> {
        let n = usize::try_from(self.version.saturating_sub(version)).ok()?;
        (n <= self.changes.len()).then(|| self.changes.iter().rev().take(n).copied())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn changes_are_told_until_they_are_too_many() {
        let mut items = Items::new();
        for k in 0..10 {
            items.set(&format!("i{k}"), Item::default()).unwrap();
        }
        let before = items.version();
        items.change("i3", |i| i.stock = Some(0.0)).unwrap();
        items.change("i5", |i| i.blocked = true).unwrap();
        assert_eq!(items.changed_since(before).unwrap().collect::<Vec<_>>(), [5, 3]);
        assert!(!items.in_stock().contains(3) && items.in_stock().contains(5) && !items.open().contains(5));
        items.change("i3", |i| i.stock = Some(2.0)).unwrap();
        assert!(items.in_stock().contains(3));
        (0..CHANGES_MAX).for_each(|_| {
            items.change("i1", |_| ()).unwrap();
        });
        assert!(items.changed_since(before).is_none());
        assert!(items.set("i1", Item { price: Some(f64::NAN), ..Item::default() }).is_err());
    }
}
