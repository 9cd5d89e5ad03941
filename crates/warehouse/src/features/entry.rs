//! What the online store keeps of one entity in one view, as bytes.
//!
//! ```text
//! 1                                    format
//! folded                               the latest event time among folded rows
//! 0 | 1 time tie values                the newest folded row
//! tally | n marks                      for each group over all rows: what folded rows came to
//! n (time id tie values)…              rows that windows or late rows may still need, by time
//! texts                                what the rows' texts point into
//! ```
//!
//! Rows have one length, so that a window is found by halving; its values are read where they lie.

use super::layout::{Answer, GroupAnswer, Held, Kind, Layout, Newest, RowValues, compare_numbers};
use super::tally::{Tally, text_mark};
use super::timeline::{computed, mark, tallied};
use std::cmp::Ordering;
use std::collections::BTreeSet;

const FORMAT: u8 = 1;

/// The id of rows that came from the warehouse.
pub(crate) const FROM_WAREHOUSE: u64 = 0;

/// The length of an absent text.
const ABSENT: u32 = u32::MAX;

/// Bytes that are no entry of this layout.
#[derive(Debug)]
pub(crate) struct Corrupt;

/// A row that is kept by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredRow {
    pub(crate) event_time: i64,
    /// [`FROM_WAREHOUSE`], or the mark of a live event.
    pub(crate) id: u64,
    pub(crate) tie: f64,
    /// One for each slot.
    pub(crate) values: Vec<Held>,
}

impl StoredRow {
    pub(crate) fn of(layout: &Layout, event_time: i64, id: u64, row: &impl RowValues) -> Self {
        let values = layout.slots.iter().enumerate().map(|(slot, kind)| match kind {
            Kind::Number => Held::Number(row.number(slot)),
            Kind::Text => Held::Text(row.text(slot).map(str::to_owned)),
        });
        Self { event_time, id, tie: row.tie(), values: values.collect() }
    }

    /// By time, then as ties are decided, then by whatever is left, so that equal histories are equal bytes.
    fn compare(&self, other: &Self, layout: &Layout) -> Ordering {
        let of = |a: &Held, b: &Held| match (a, b) {
            (Held::Number(a), Held::Number(b)) => compare_numbers(*a, *b),
            (Held::Text(a), Held::Text(b)) => a.cmp(b),
            _ => Ordering::Equal,
        };
        let mut order =
            self.event_time.cmp(&other.event_time).then_with(|| compare_numbers(self.tie, other.tie));
        for &slot in &layout.last_slots {
            order = order.then_with(|| of(&self.values[slot], &other.values[slot]));
        }
        for (a, b) in self.values.iter().zip(&other.values) {
            order = order.then_with(|| of(a, b));
        }
        order.then_with(|| self.id.cmp(&other.id))
    }
}

impl RowValues for StoredRow {
    fn number(&self, slot: usize) -> f64 {
        match &self.values[slot] {
            Held::Number(x) => *x,
            Held::Text(_) => f64::NAN,
        }
    }

    fn text(&self, slot: usize) -> Option<&str> {
        match &self.values[slot] {
            Held::Text(text) => text.as_deref(),
            Held::Number(_) => None,
        }
    }

    fn tie(&self) -> f64 {
        self.tie
    }
}

/// What folded rows came to in a group over all rows.
#[derive(Clone, Debug, PartialEq)]
enum Folded {
    Tally(Tally),
    Marks(BTreeSet<u64>),
}

/// An entry to be changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    folded: i64,
    newest: Option<Newest>,
    all: Vec<Folded>,
    pub(crate) rows: Vec<StoredRow>,
}

impl Entry {
    pub(crate) fn new(layout: &Layout) -> Self {
        let all = layout.groups.iter().filter(|g| g.width.is_none()).map(|g| {
            if g.distinct { Folded::Marks(BTreeSet::new()) } else { Folded::Tally(Tally::default()) }
        });
        Self { folded: i64::MIN, newest: None, all: all.collect(), rows: vec![] }
    }

    /// Adds a row to what no window and no late row will ask for by itself again.
    pub(crate) fn fold(&mut self, layout: &Layout, event_time: i64, row: &impl RowValues) {
        self.folded = self.folded.max(event_time);
        match &mut self.newest {
            Some(newest) => newest.offer(layout, event_time, row),
            None => self.newest = Some(Newest::of(layout, event_time, row)),
        }
        let groups = layout.groups.iter().filter(|g| g.width.is_none());
        for (group, folded) in groups.zip(&mut self.all) {
            match folded {
                Folded::Tally(tally) => {
                    if let Some(x) = tallied(layout, group, row) {
                        tally.add(x);
                    }
                }
                Folded::Marks(marks) => marks.extend(mark(layout, group, row)),
            }
        }
    }

    /// Folds the rows up to a time.
    pub(crate) fn fold_until(&mut self, layout: &Layout, until: i64) {
        let rows = std::mem::take(&mut self.rows);
        for row in rows {
            if row.event_time <= until {
                self.fold(layout, row.event_time, &row);
            } else {
                self.rows.push(row);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newest.is_none() && self.rows.is_empty()
    }

    pub(crate) fn encode(&mut self, layout: &Layout) -> Vec<u8> {
        self.rows.sort_by(|a, b| a.compare(b, layout));
        let mut out = vec![FORMAT];
        out.extend(self.folded.to_le_bytes());
        match &self.newest {
            None => out.push(0),
            Some(newest) => {
                out.push(1);
                out.extend(newest.event_time.to_le_bytes());
                out.extend(newest.tie.to_le_bytes());
                for held in &newest.held {
                    match held {
                        Held::Number(x) => out.extend(x.to_le_bytes()),
                        Held::Text(None) => out.extend(ABSENT.to_le_bytes()),
                        Held::Text(Some(text)) => {
                            out.extend(length(text.len()).to_le_bytes());
                            out.extend(&text.as_bytes()[..length(text.len()) as usize]);
                        }
                    }
                }
            }
        }
        for folded in &self.all {
            match folded {
                Folded::Tally(t) => {
                    out.extend(t.count.to_le_bytes());
                    [t.high, t.low, t.min, t.max].iter().for_each(|x| out.extend(x.to_le_bytes()));
                }
                Folded::Marks(marks) => {
                    out.extend(length(marks.len()).to_le_bytes());
                    marks.iter().for_each(|m| out.extend(m.to_le_bytes()));
                }
            }
        }
        out.extend(length(self.rows.len()).to_le_bytes());
        let mut texts: Vec<u8> = vec![];
        for row in &self.rows {
            out.extend(row.event_time.to_le_bytes());
            out.extend(row.id.to_le_bytes());
            out.extend(row.tie.to_le_bytes());
            for held in &row.values {
                match held {
                    Held::Number(x) => out.extend(x.to_le_bytes()),
                    Held::Text(text) => {
                        out.extend(length(texts.len()).to_le_bytes());
                        let size = text.as_ref().map_or(ABSENT, |t| length(t.len()));
                        out.extend(size.to_le_bytes());
                        out.extend(text.as_deref().map_or(0, text_mark).to_le_bytes());
                        texts.extend(text.as_deref().unwrap_or_default().as_bytes());
                    }
                }
            }
        }
        out.extend(texts);
        out
    }

    pub(crate) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Self, Corrupt> {
        let view = EntryView::of(layout, bytes)?;
        let rows = (0..view.n_rows).map(|i| {
            let row = view.row(i);
            StoredRow::of(layout, row.event_time(), row.id(), &row)
        });
        let all = view.all.iter().map(|a| match a {
            ViewedAll::Tally(tally) => Folded::Tally(*tally),
            ViewedAll::Marks(bytes) => Folded::Marks(marks_of(bytes).collect()),
        });
        Ok(Self { folded: view.folded, rows: rows.collect(), all: all.collect(), newest: view.newest })
    }
}

/// Texts of one entity beyond 4 GiB do not occur; should they, they are cut rather than misread.
fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(ABSENT - 1)
}

fn marks_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
}

/// An entry read where it lies.
pub(crate) struct EntryView<'a> {
    layout: &'a Layout,
    folded: i64,
    newest: Option<Newest>,
    all: Vec<ViewedAll<'a>>,
    n_rows: usize,
    /// The length of a row in bytes.
    stride: usize,
    rows: &'a [u8],
    texts: &'a [u8],
}

enum ViewedAll<'a> {
    Tally(Tally),
    /// Sorted marks, eight bytes each.
    Marks(&'a [u8]),
}

/// The values asked for lie before what the entry can tell.
#[derive(Debug)]
pub(crate) struct TooEarly {
    /// The first time that can be asked for, in milliseconds since 1970.
    pub(crate) oldest: i64,
}

impl<'a> EntryView<'a> {
    pub(crate) fn of(layout: &'a Layout, bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader { bytes };
        if reader.take(1)? != [FORMAT] {
            return Err(Corrupt);
        }
        let folded = i64::from_le_bytes(reader.eight()?);
        let newest = match reader.take(1)? {
            [0] => None,
            [1] => {
                let event_time = i64::from_le_bytes(reader.eight()?);
                let tie = reader.number()?;
                let mut held = vec![];
                for &slot in &layout.last_slots {
                    held.push(match layout.slots[slot] {
                        Kind::Number => Held::Number(reader.number()?),
                        Kind::Text => match reader.length()? {
                            ABSENT => Held::Text(None),
                            n => Held::Text(Some(plain_text(reader.take(n as usize)?)?.to_owned())),
                        },
                    });
                }
                Some(Newest { event_time, tie, held })
            }
            _ => return Err(Corrupt),
        };
        let mut all = vec![];
        for group in layout.groups.iter().filter(|g| g.width.is_none()) {
            all.push(if group.distinct {
                let n = reader.length()? as usize;
                ViewedAll::Marks(reader.take(n.checked_mul(8).ok_or(Corrupt)?)?)
            } else {
                let count = u64::from_le_bytes(reader.eight()?);
                let (high, low) = (reader.number()?, reader.number()?);
                ViewedAll::Tally(Tally { count, high, low, min: reader.number()?, max: reader.number()? })
            });
        }
        let n_rows = reader.length()? as usize;
        let stride = stride(layout);
        let rows = reader.take(n_rows.checked_mul(stride).ok_or(Corrupt)?)?;
        Ok(Self { layout, folded, newest, all, n_rows, stride, rows, texts: reader.bytes })
    }

    fn row(&self, i: usize) -> RowView<'_> {
        RowView { entry: self, bytes: &self.rows[i * self.stride..(i + 1) * self.stride] }
    }

    /// Hands each feature's value at `now` to `take`; answers the event time of the newest row, if it is not too old.
    pub(crate) fn at(&self, now: i64, mut take: impl FnMut(Answer<'_>)) -> Result<Option<i64>, TooEarly> {
        let layout = self.layout;
        if self.folded != i64::MIN {
            let oldest = layout.known(self.folded).saturating_add(layout.width_max());
            if now < oldest {
                return Err(TooEarly { oldest });
            }
        }
        let end = self.first_known_after(now, self.n_rows);
        let own;
        let newest = if end > 0 {
            let row = self.row(end - 1);
            own = Newest::of(layout, row.event_time(), &row);
            Some(&own)
        } else {
            self.newest.as_ref()
        };
        let Some(newest) = newest.filter(|n| !layout.expired(n.event_time, now)) else {
            layout.computations.iter().for_each(|_| take(Answer::Null));
            return Ok(None);
        };
        let mut all = self.all.iter();
        let mut answers = Vec::with_capacity(layout.groups.len());
        for group in &layout.groups {
            let base = if group.width.is_none() { all.next() } else { None };
            let first = group.width.map_or(0, |w| self.first_known_after(now.saturating_sub(w), end));
            let rows = (first..end).map(|i| self.row(i));
            answers.push(if group.distinct {
                let base = match base {
                    Some(ViewedAll::Marks(bytes)) => *bytes,
                    _ => &[],
                };
                let mut marks: Vec<u64> = rows.filter_map(|r| mark(layout, group, &r)).collect();
                marks.sort_unstable();
                marks.dedup();
                marks.retain(|m| !has_mark(base, *m));
                GroupAnswer::Distinct((base.len() / 8 + marks.len()) as u64)
            } else {
                let mut tally = match base {
                    Some(ViewedAll::Tally(tally)) => *tally,
                    _ => Tally::default(),
                };
                rows.filter_map(|r| tallied(layout, group, &r)).for_each(|x| tally.add(x));
                GroupAnswer::Tally(tally)
            });
        }
        for computation in &layout.computations {
            take(computed(layout, *computation, newest, &answers, now));
        }
        Ok(Some(newest.event_time))
    }

    /// The first of `n` rows that becomes known after `bound`.
    fn first_known_after(&self, bound: i64, n: usize) -> usize {
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = low.midpoint(high);
            if self.layout.known(self.row(middle).event_time()) <= bound {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn has_mark(sorted: &[u8], wanted: u64) -> bool {
    let (mut low, mut high) = (0, sorted.len() / 8);
    while low < high {
        let middle = low.midpoint(high);
        let found = marks_of(&sorted[middle * 8..middle * 8 + 8]).next().unwrap_or_default();
        match found.cmp(&wanted) {
            Ordering::Equal => return true,
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    false
}

fn stride(layout: &Layout) -> usize {
    24 + layout.slots.iter().map(|kind| slot_bytes(*kind)).sum::<usize>()
}

fn slot_bytes(kind: Kind) -> usize {
    match kind {
        Kind::Number => 8,
        Kind::Text => 16,
    }
}

fn plain_text(bytes: &[u8]) -> Result<&str, Corrupt> {
    std::str::from_utf8(bytes).map_err(|_| Corrupt)
}

struct RowView<'a> {
    entry: &'a EntryView<'a>,
    bytes: &'a [u8],
}

impl RowView<'_> {
    fn eight(&self, at: usize) -> [u8; 8] {
        // Rows were cut to their length, so the bytes are there.
        self.bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).unwrap_or_default()
    }

    fn event_time(&self) -> i64 {
        i64::from_le_bytes(self.eight(0))
    }

    fn id(&self) -> u64 {
        u64::from_le_bytes(self.eight(8))
    }

    fn place(&self, slot: usize) -> usize {
        24 + self.entry.layout.slots[..slot].iter().map(|kind| slot_bytes(*kind)).sum::<usize>()
    }
}

impl RowValues for RowView<'_> {
    fn number(&self, slot: usize) -> f64 {
        f64::from_le_bytes(self.eight(self.place(slot)))
    }

    fn text(&self, slot: usize) -> Option<&str> {
        let both = u64::from_le_bytes(self.eight(self.place(slot)));
        let (offset, size) = (both as u32 as usize, (both >> 32) as u32);
        if size == ABSENT {
            return None;
        }
        let bytes = self.entry.texts.get(offset..offset.checked_add(size as usize)?)?;
        std::str::from_utf8(bytes).ok()
    }

    fn tie(&self) -> f64 {
        f64::from_le_bytes(self.eight(16))
    }

    fn text_mark(&self, slot: usize) -> Option<u64> {
        let absent = (u64::from_le_bytes(self.eight(self.place(slot))) >> 32) as u32 == ABSENT;
        if absent { None } else { Some(u64::from_le_bytes(self.eight(self.place(slot) + 8))) }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Corrupt> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(Corrupt)?;
        self.bytes = tail;
        Ok(head)
    }

    fn eight(&mut self) -> Result<[u8; 8], Corrupt> {
        self.take(8)?.try_into().map_err(|_| Corrupt)
    }

    fn number(&mut self) -> Result<f64, Corrupt> {
        self.eight().map(f64::from_le_bytes)
    }

    fn length(&mut self) -> Result<u32, Corrupt> {
        let four: [u8; 4] = self.take(4)?.try_into().map_err(|_| Corrupt)?;
        Ok(u32::from_le_bytes(four))
    }
}
