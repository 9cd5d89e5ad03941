//! Who did what with which item, and when.

use crate::attributes::Attributes;
use crate::error::{Error, ParamCheck, Result};
use crate::ids::Ids;
use crate::sparse::SparseRows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One row, as it comes from a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interaction<'a> {
    /// The user.
    pub user_id: &'a str,
    /// The item.
    pub item_id: &'a str,
    /// When, in any unit, as seconds or the place in the user's history. Rows of equal `ds` have no order.
    pub ds: i64,
    /// What was done: view, cart, purchase, rating; may be empty.
    pub event: &'a str,
    /// How much it counts (1 for a plain event, a number of pieces, a rating); below zero speaks against the item.
    pub weight: f64,
}

impl<'a> Interaction<'a> {
    /// An event without a kind that counts 1.
    pub fn plain(user_id: &'a str, item_id: &'a str, ds: i64) -> Self {
        Self { user_id, item_id, ds, event: "", weight: 1.0 }
    }
}

/// How rows become [`Interactions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// What one event of each kind counts, as view 1, cart 3, purchase 5; kinds that are not named count 1. 0 leaves
    /// a kind out, below zero speaks against the item (a return).
    pub event_weights: BTreeMap<String, f64>,
    /// Age, in units of `ds` before the last row, at which an event counts half; 0: age does not matter.
    pub half_life: f64,
    /// Whether rows equal in user, item, `ds` and kind count once.
    pub drop_duplicates: bool,
    /// Users with more rows than this are taken for robots and left out; 0: none.
    pub user_events_max: usize,
    /// Users with fewer rows are left out, again and again together with `item_events_min`; 0: none.
    pub user_events_min: usize,
    /// Items with fewer rows are left out; 0: none.
    pub item_events_min: usize,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            event_weights: BTreeMap::new(),
            half_life: 0.0,
            drop_duplicates: true,
            user_events_max: 0,
            user_events_min: 0,
            item_events_min: 0,
        }
    }
}

impl EventSettings {
    /// All faults of the settings.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        for weight in self.event_weights.values() {
            check.require(weight.abs() <= WEIGHT_MAX, "event_weights", weight, "-1e6 to 1e6");
        }
        let ok = (0.0..=1e15).contains(&self.half_life);
        check.require(ok, "half_life", self.half_life, "0 to 1e15");
        check.finish()
    }
}

/// Rows that were left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Equal to another row.
    pub duplicates: usize,
    /// Of kinds that count 0, or with a weight of 0.
    pub without_weight: usize,
    /// Of users taken for robots.
    pub robots: usize,
    /// Of users or items with too few rows.
    pub rare: usize,
}

/// One user's rows in the order of time, side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct History<'a> {
    /// Positions of the items.
    pub items: &'a [u32],
    /// When.
    pub ds: &'a [i64],
    /// How much each counts.
    pub weights: &'a [f32],
    /// Positions of the kinds of event.
    pub events: &'a [u8],
}

impl<'a> History<'a> {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The rows from `start` on.
    pub fn from(&self, start: usize) -> Self {
        Self {
            items: &self.items[start..],
            ds: &self.ds[start..],
            weights: &self.weights[start..],
            events: &self.events[start..],
        }
    }
}

/// Users, items and what passed between them: `user_id`, `item_id`, `ds`, `event`, `weight`.
///
/// Users and items of a fresh value are in the order of their names; what [`Interactions::append`] brings in stands
/// behind. The order in which rows came does not matter: a user's rows are ordered by `ds`, then item, then kind.
///
/// Attributes of items and users may come with it. Items that have attributes and no event stand among the items too,
/// so that they can be recommended.
///
/// Invariant: `offsets` has one entry more than there are users, and all columns are as long as its last entry; every
/// name that has attributes is among the items or the users.
///
/// ```
/// use tradewind_core::{EventSettings, Interaction, Interactions};
/// let rows = [Interaction::plain("ann", "tea", 2), Interaction::plain("ann", "cup", 1)];
/// let data = Interactions::build(rows, &EventSettings::default()).unwrap();
/// let ann = data.users().find("ann").unwrap();
/// assert_eq!(data.history(ann).items, [0, 1]);
/// assert_eq!(data.items().name(0), "cup");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawInteractions", into = "RawInteractions")]
pub struct Interactions {
    users: Ids,
    items: Ids,
    events: Vec<String>,
    offsets: Vec<usize>,
    item: Vec<u32>,
    ds: Vec<i64>,
    weight: Vec<f32>,
    event: Vec<u8>,
    left_out: LeftOut,
    /// Shared, since histories are copied more often than attributes change.
    item_attributes: Option<Arc<Attributes>>,
    user_attributes: Option<Arc<Attributes>>,
}

#[derive(Serialize, Deserialize)]
struct RawInteractions {
    users: Ids,
    items: Ids,
    events: Vec<String>,
    #[serde(with = "crate::packed")]
    offsets: Vec<usize>,
    #[serde(with = "crate::packed")]
    item: Vec<u32>,
    #[serde(with = "crate::packed")]
    ds: Vec<i64>,
    #[serde(with = "crate::packed")]
    weight: Vec<f32>,
    #[serde(with = "crate::packed")]
    event: Vec<u8>,
    left_out: LeftOut,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item_attributes: Option<Attributes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_attributes: Option<Attributes>,
}

impl From<Interactions> for RawInteractions {
    fn from(d: Interactions) -> Self {
        let Interactions { users, items, events, offsets, item, ds, weight, event, left_out, .. } = d;
        let item_attributes = d.item_attributes.map(Arc::unwrap_or_clone);
        let user_attributes = d.user_attributes.map(Arc::unwrap_or_clone);
        Self {
            users,
            items,
            events,
            offsets,
            item,
            ds,
            weight,
            event,
            left_out,
            item_attributes,
            user_attributes,
        }
    }
}

impl TryFrom<RawInteractions> for Interactions {
    type Error = Error;

    fn try_from(raw: RawInteractions) -> Result<Self> {
        let RawInteractions { users, items, events, offsets, item, ds, weight, event, left_out, .. } = raw;
        let known = |attributes: &Option<Attributes>, ids: &Ids| {
            attributes.as_ref().is_none_or(|a| a.names().iter().all(|name| ids.find(name).is_some()))
        };
        let n = item.len();
        let fits = offsets.len() == users.len() + 1
            && offsets[0] == 0
            && offsets.last() == Some(&n)
            && offsets.windows(2).all(|w| w[0] <= w[1])
            && [ds.len(), weight.len(), event.len()].iter().all(|m| *m == n)
            && item.iter().all(|i| (*i as usize) < items.len())
            && event.iter().all(|e| usize::from(*e) < events.len())
            && weight.iter().all(|w| w.is_finite())
            && known(&raw.item_attributes, &items)
            && known(&raw.user_attributes, &users);
        let item_attributes = raw.item_attributes.map(Arc::new);
        let user_attributes = raw.user_attributes.map(Arc::new);
        match fits {
            true => Ok(Self {
                users,
                items,
                events,
                offsets,
                item,
                ds,
                weight,
                event,
                left_out,
                item_attributes,
                user_attributes,
            }),
            false => Err(Error::Invalid("saved interactions have columns that do not fit together".into())),
        }
    }
}

/// A row while it is sorted.
#[derive(Clone, Copy)]
struct Row {
    user: u32,
    item: u32,
    ds: i64,
    weight: f32,
    event: u8,
}

/// The largest weight of a row or a kind.
const WEIGHT_MAX: f64 = 1e6;
/// Kinds of event that can be told apart.
const EVENTS_MAX: usize = 255;

impl Interactions {
    /// From rows in any order. A weight that is not a number, or beyond a million, is an error that names the row.
    pub fn build<'a>(
        rows: impl IntoIterator<Item = Interaction<'a>>,
        settings: &EventSettings,
    ) -> Result<Self> {
        settings.check()?;
        let (mut users, mut items, mut events) = (Ids::new(), Ids::new(), Ids::new());
        let mut kept = Vec::new();
        let mut left_out = LeftOut::default();
        for (i, row) in rows.into_iter().enumerate() {
            if row.weight.is_nan() || row.weight.abs() > WEIGHT_MAX {
                return Err(Error::Invalid(format!(
                    "row {}: weight {} is not a number from -1e6 to 1e6; correct it or leave the row out",
                    i + 1,
                    row.weight
                )));
            }
            let event = events.insert(row.event);
            if event as usize >= EVENTS_MAX {
                return Err(Error::Invalid(format!(
                    "row {}: more than {EVENTS_MAX} kinds of event; is `event` the right column?",
                    i + 1
                )));
            }
            let weight = row.weight * settings.event_weights.get(row.event).copied().unwrap_or(1.0);
            if weight == 0.0 {
                left_out.without_weight += 1;
                continue;
            }
            let (user, item) = (users.insert(row.user_id), items.insert(row.item_id));
            kept.push(Row { user, item, ds: row.ds, weight: weight as f32, event: event as u8 });
        }
        let ((users, user_place), (items, item_place)) = (users.sorted(), items.sorted());
        let (events, event_place) = events.sorted();
        for row in &mut kept {
            row.user = user_place[row.user as usize];
            row.item = item_place[row.item as usize];
            row.event = event_place[usize::from(row.event)] as u8;
        }
        sort(&mut kept);
        if settings.drop_duplicates {
            let before = kept.len();
            kept.dedup_by_key(|r| (r.user, r.ds, r.item, r.event));
            left_out.duplicates = before - kept.len();
        }
        decay(&mut kept, settings.half_life);
        leave_out(&mut kept, settings, (users.len(), items.len()), &mut left_out);
        let mut out = Self::of(users, items, events.into(), &kept);
        out.left_out = left_out;
        Ok(if settings.user_events_max + settings.user_events_min + settings.item_events_min > 0 {
            out.compact()
        } else {
            out
        })
    }

    /// From sorted rows.
    fn of(users: Ids, items: Ids, events: Vec<String>, rows: &[Row]) -> Self {
        let mut offsets = vec![0; users.len() + 1];
        rows.iter().for_each(|r| offsets[r.user as usize + 1] += 1);
        for u in 0..users.len() {
            offsets[u + 1] += offsets[u];
        }
        Self {
            users,
            items,
            events,
            offsets,
            item: rows.iter().map(|r| r.item).collect(),
            ds: rows.iter().map(|r| r.ds).collect(),
            weight: rows.iter().map(|r| r.weight).collect(),
            event: rows.iter().map(|r| r.event).collect(),
            left_out: LeftOut::default(),
            item_attributes: None,
            user_attributes: None,
        }
    }

    /// The same with attributes of items in place of those there were. Items without an event stand behind the others.
    ///
    /// ```
    /// use tradewind_core::{Attributes, EventSettings, Interaction, Interactions};
    /// let data = Interactions::build([Interaction::plain("ann", "tea", 1)], &EventSettings::default()).unwrap();
    /// let data = data.with_items(Attributes::build([("pot", "word=iron", 1.0)]).unwrap());
    /// assert_eq!((data.items().find("pot"), data.len()), (Some(1), 1));
    /// ```
    pub fn with_items(mut self, attributes: Attributes) -> Self {
        attributes.names().iter().for_each(|name| {
            self.items.insert(name);
        });
        self.item_attributes = Some(Arc::new(attributes));
        self
    }

    /// The same with attributes of users in place of those there were. Users without an event stand behind the others.
    pub fn with_users(mut self, attributes: Attributes) -> Self {
        for name in attributes.names().iter() {
            if self.users.insert(name) as usize + 1 == self.offsets.len() {
                self.offsets.push(self.item.len());
            }
        }
        self.user_attributes = Some(Arc::new(attributes));
        self
    }

    /// Attributes of items.
    pub fn item_attributes(&self) -> Option<&Attributes> {
        self.item_attributes.as_deref()
    }

    /// Attributes of users.
    pub fn user_attributes(&self) -> Option<&Attributes> {
        self.user_attributes.as_deref()
    }

    /// These rows with the attributes of `other`.
    fn attributed(self, other: &Self) -> Self {
        Self {
            item_attributes: other.item_attributes.clone(),
            user_attributes: other.user_attributes.clone(),
            ..self
        }
    }

    fn rows(&self) -> Vec<Row> {
        let user = (0..self.offsets.len() - 1).flat_map(|u| {
            let n = self.offsets[u + 1] - self.offsets[u];
            std::iter::repeat_n(u as u32, n)
        });
        user.enumerate()
            .map(|(i, user)| Row {
                user,
                item: self.item[i],
                ds: self.ds[i],
                weight: self.weight[i],
                event: self.event[i],
            })
            .collect()
    }

    /// The users.
    pub fn users(&self) -> &Ids {
        &self.users
    }

    /// The items.
    pub fn items(&self) -> &Ids {
        &self.items
    }

    /// The kinds of event.
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.item.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.item.is_empty()
    }

    /// What was left out when the rows came in.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// The last `ds` of all rows.
    pub fn end(&self) -> Option<i64> {
        self.ds.iter().copied().max()
    }

    /// A user's rows. Panics, as a slice would, when there is no such user.
    pub fn history(&self, user: u32) -> History<'_> {
        let part = self.offsets[user as usize]..self.offsets[user as usize + 1];
        History {
            items: &self.item[part.clone()],
            ds: &self.ds[part.clone()],
            weights: &self.weight[part.clone()],
            events: &self.event[part],
        }
    }

    /// All histories in the order of users.
    pub fn histories(&self) -> impl ExactSizeIterator<Item = History<'_>> + '_ {
        (0..self.users.len()).map(|u| self.history(u as u32))
    }

    /// Users × items, the weights of equal places added up; places whose sum is not above zero are left out.
    pub fn matrix(&self) -> SparseRows {
        let mut out = SparseRows::with_capacity(self.items.len(), self.users.len(), self.len());
        let mut row: Vec<(u32, f32)> = Vec::new();
        for history in self.histories() {
            row.clear();
            row.extend(history.items.iter().copied().zip(history.weights.iter().copied()));
            row.sort_by_key(|e| e.0);
            row.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 += next.1;
                }
                same
            });
            out.push(row.iter().copied().filter(|e| e.1 > 0.0));
        }
        out
    }

    /// The rows for which `keep` says yes, asked with the user and the place in the history. Users and items stay, so
    /// that positions mean the same.
    pub fn filter(&self, mut keep: impl FnMut(u32, usize) -> bool) -> Self {
        let mut rows = self.rows();
        let mut at = (0, 0);
        rows.retain(|r| {
            at = if at.0 == r.user { (r.user, at.1 + 1) } else { (r.user, 1) };
            keep(r.user, at.1 - 1)
        });
        Self::of(self.users.clone(), self.items.clone(), self.events.clone(), &rows).attributed(self)
    }

    /// Takes in newer rows. Users, items and kinds that are new stand behind the known ones; equal rows stay, since
    /// they may have happened twice. Newer attributes take the place of those of the same names. Where it is an error
    /// nothing has changed.
    pub fn append(&mut self, newer: &Self) -> Result<()> {
        *self = self.appended(newer)?;
        Ok(())
    }

    /// These rows with newer ones, as [`Interactions::append`] puts them: one pass over the columns, and only the newer
    /// rows are sorted.
    pub fn appended(&self, newer: &Self) -> Result<Self> {
        let mut kinds = self.events.clone();
        kinds.extend(newer.events.iter().filter(|e| !self.events.contains(e)).cloned());
        if kinds.len() > EVENTS_MAX {
            return Err(Error::Invalid(format!("more than {EVENTS_MAX} kinds of event")));
        }
        let item_attributes = together(&self.item_attributes, &newer.item_attributes)?;
        let user_attributes = together(&self.user_attributes, &newer.user_attributes)?;
        let (mut users, mut items) = (self.users.clone(), self.items.clone());
        let of_user: Vec<u32> = newer.users.iter().map(|u| users.insert(u)).collect();
        let of_item: Vec<u32> = newer.items.iter().map(|i| items.insert(i)).collect();
        let place = |e: &String| kinds.iter().position(|k| k == e).unwrap_or(0) as u8;
        let of_kind: Vec<u8> = newer.events.iter().map(place).collect();
        let mut rows = newer.rows();
        for row in &mut rows {
            row.user = of_user[row.user as usize];
            row.item = of_item[row.item as usize];
            row.event = of_kind[usize::from(row.event)];
        }
        sort(&mut rows);
        let n = self.len() + rows.len();
        let mut out = Self {
            offsets: Vec::with_capacity(users.len() + 1),
            item: Vec::with_capacity(n),
            ds: Vec::with_capacity(n),
            weight: Vec::with_capacity(n),
            event: Vec::with_capacity(n),
            users,
            items,
            events: kinds,
            left_out: self.left_out,
            item_attributes,
            user_attributes,
        };
        out.offsets.push(0);
        let mut rows = rows.into_iter().peekable();
        for user in 0..out.users.len() {
            let old = match user < self.users.len() {
                true => self.offsets[user]..self.offsets[user + 1],
                false => 0..0,
            };
            for k in old {
                let (item, ds, weight, event) = (self.item[k], self.ds[k], self.weight[k], self.event[k]);
                let row = Row { user: user as u32, item, ds, weight, event };
                while let Some(new) = rows.next_if(|new| order(new, &row).is_lt()) {
                    out.push(new);
                }
                out.push(row);
            }
            while let Some(new) = rows.next_if(|new| new.user == user as u32) {
                out.push(new);
            }
            out.offsets.push(out.item.len());
        }
        Ok(out)
    }

    fn push(&mut self, row: Row) {
        self.item.push(row.item);
        self.ds.push(row.ds);
        self.weight.push(row.weight);
        self.event.push(row.event);
    }

    /// The same rows without users and items that have none.
    fn compact(self) -> Self {
        let mut rows = self.rows();
        let (users, user_place) = used(&self.users, rows.iter().map(|r| r.user));
        let (items, item_place) = used(&self.items, rows.iter().map(|r| r.item));
        for row in &mut rows {
            row.user = user_place[row.user as usize];
            row.item = item_place[row.item as usize];
        }
        Self { left_out: self.left_out, ..Self::of(users, items, self.events, &rows) }
    }
}

/// Known attributes with newer ones.
fn together(
    known: &Option<Arc<Attributes>>,
    newer: &Option<Arc<Attributes>>,
) -> Result<Option<Arc<Attributes>>> {
    match (known, newer) {
        (Some(known), Some(newer)) => {
            let mut out = Attributes::clone(known);
            out.append(newer)?;
            Ok(Some(Arc::new(out)))
        }
        (known, newer) => Ok(newer.as_ref().or(known.as_ref()).cloned()),
    }
}

/// By user, time, item, kind and weight: the same order whatever the order before.
fn sort(rows: &mut [Row]) {
    rows.sort_unstable_by(order);
}

fn order(a: &Row, b: &Row) -> std::cmp::Ordering {
    (a.user, a.ds, a.item, a.event).cmp(&(b.user, b.ds, b.item, b.event)).then(b.weight.total_cmp(&a.weight))
}

fn decay(rows: &mut [Row], half_life: f64) {
    let Some(end) = rows.iter().map(|r| r.ds).max().filter(|_| half_life > 0.0) else { return };
    for row in rows {
        let age = end as f64 - row.ds as f64;
        row.weight = (f64::from(row.weight) * (-age / half_life).exp2()) as f32;
    }
}

/// Robots first, then users and items with too few rows until none is left.
fn leave_out(rows: &mut Vec<Row>, settings: &EventSettings, size: (usize, usize), out: &mut LeftOut) {
    let count = |rows: &[Row]| {
        let (mut of_user, mut of_item) = (vec![0_usize; size.0], vec![0_usize; size.1]);
        for row in rows {
            of_user[row.user as usize] += 1;
            of_item[row.item as usize] += 1;
        }
        (of_user, of_item)
    };
    let before = rows.len();
    if settings.user_events_max > 0 {
        let (of_user, _) = count(rows);
        rows.retain(|r| of_user[r.user as usize] <= settings.user_events_max);
    }
    out.robots = before - rows.len();
    let before = rows.len();
    let some_minimum = settings.user_events_min > 1 || settings.item_events_min > 1;
    let mut now = if some_minimum { usize::MAX } else { before };
    while rows.len() < now {
        now = rows.len();
        let (of_user, of_item) = count(rows);
        rows.retain(|r| {
            of_user[r.user as usize] >= settings.user_events_min
                && of_item[r.item as usize] >= settings.item_events_min
        });
    }
    out.rare = before - rows.len();
}

/// The names in use, and the new place of every old one.
fn used(ids: &Ids, in_use: impl Iterator<Item = u32>) -> (Ids, Vec<u32>) {
    let mut marked = vec![false; ids.len()];
    in_use.for_each(|i| marked[i as usize] = true);
    let mut kept = Ids::new();
    let place = ids.iter().zip(marked).map(|(name, used)| if used { kept.insert(name) } else { 0 }).collect();
    (kept, place)
}
