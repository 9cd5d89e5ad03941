//! The online store: what serving asks for, one entity at a time.

use super::as_of::{RowBatch, RowOf};
use super::check::{DefinitionFaults, Faults, faults_of};
use super::definition::{FeatureView, Source};
use super::entry::{Corrupt, Entry, EntryView, FROM_WAREHOUSE, StoredRow};
use super::layout::{Layout, Value};
use super::source::{PlannedView, compile, plan};
use super::tally::text_mark;
use crate::error::{Error, Result};
use crate::shop::Shop;
use crate::store::Snapshot;
use arrow::array::{Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::ident;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the file in a shop's folder.
pub const ONLINE_FILE: &str = "online.redb";

/// The state of each view, as JSON.
const VIEWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("views");
/// An entry for each view and entity.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// Entities with rows that the next materialisation reads again.
const RECENT: TableDefinition<'_, &[u8], ()> = TableDefinition::new("recent");

/// Pages held in memory.
const CACHE_BYTES: usize = 64 << 20;

/// Marks below are kept: rows of the warehouse, and events without a name.
const UNNAMED: u64 = 1;

/// The features of the latest rows by view and entity, in one file that one process has open.
///
/// [`OnlineStore::materialise`] brings it up to the warehouse, [`OnlineStore::apply`] adds what happened since. Up to the
/// watermark of a view the warehouse alone counts; events up to it are left to it, so that nothing is counted twice.
///
/// Reads never wait for writes. Every change is one transaction: after a crash the store is as it was before it or after it.
pub struct OnlineStore {
    path: PathBuf,
    database: Database,
    views: Vec<OnlineView>,
    rebuilt: Vec<String>,
}

struct OnlineView {
    planned: PlannedView,
    /// The columns of rows, computed from those of the source.
    columns: Vec<Arc<dyn PhysicalExpr>>,
    source: SchemaRef,
    rows: SchemaRef,
}

impl std::fmt::Debug for OnlineStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnlineStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is kept of a view beside its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ViewState {
    /// Of the definition and of how rows are kept.
    fingerprint: String,
    /// Event time up to which the warehouse was read, in milliseconds since 1970.
    watermark_ms: Option<i64>,
}

/// The features of one entity at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineValues {
    /// One for each feature, in the order of the definition.
    pub values: Vec<Value>,
    /// The event time of the newest row that they are made of, in milliseconds since 1970; none when all are null
    /// because nothing is known or all is too old.
    pub event_time_ms: Option<i64>,
}

/// What a materialisation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Materialised {
    /// Rows read.
    pub rows: u64,
    /// Entities whose rows were read or replaced.
    pub entities: u64,
    /// Event time up to which the store now holds the warehouse, in milliseconds since 1970.
    pub watermark_ms: i64,
}

/// What came of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows added, over all views.
    pub added: u64,
    /// Rows of events that were there already.
    pub repeated: u64,
    /// Rows not after the watermark: the next materialisation brings them, if they are within the view's lateness.
    pub covered: u64,
    /// Rows without an entity or a time.
    pub without_entity: u64,
}

impl Snapshot {
    /// Opens the shop's online store for these views, making it if there is none.
    ///
    /// # Errors
    /// As [`OnlineStore::open`].
    pub fn online_store(&self, views: &[FeatureView]) -> Result<OnlineStore> {
        OnlineStore::open(&self.shop().root().join(ONLINE_FILE), self, views)
    }
}

impl OnlineStore {
    /// Opens the store in `path` for these views. What it holds of a view whose definition or types changed is dropped,
    /// see [`OnlineStore::rebuilt`]; views that are not named stay as they are.
    ///
    /// # Errors
    /// [`Error::Definitions`] with all faults of the views; [`Error::Online`] when the file cannot be opened, as when
    /// another process has it open.
    pub fn open(path: &Path, snapshot: &Snapshot, views: &[FeatureView]) -> Result<Self> {
        let planned = snapshot.shop().wait(plan(snapshot, views))?;
        let context = snapshot.context();
        let views = planned.into_iter().map(|p| OnlineView::new(p, context)).collect::<Result<Vec<_>>>()?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(fault(path, "opening the online store"))?;
        let mut this = Self { path: path.to_owned(), database, views, rebuilt: vec![] };
        this.settle()?;
        Ok(this)
    }

    /// The views that were dropped and must be materialised again, since their definition had changed.
    pub fn rebuilt(&self) -> &[String] {
        &self.rebuilt
    }

    /// The views, in the order they were given.
    pub fn views(&self) -> impl Iterator<Item = &FeatureView> {
        self.views.iter().map(|v| &v.planned.view)
    }

    /// The features of one entity as they are known at `now_ms` (milliseconds since 1970, the shop's local time). All are
    /// null for an entity that is not there.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a view that is not open, [`Error::Rows`] when `entity` has not one text for each of the
    /// view's entity columns, [`Error::TooEarly`] when `now_ms` lies before the view's watermark less its lateness,
    /// [`Error::Online`] when the store cannot be read.
    pub fn read(&self, view: &str, entity: &[&str], now_ms: i64) -> Result<OnlineValues> {
        let mut one = self.read_many(&[(view, entity)], now_ms)?;
        one.pop().ok_or_else(|| Error::Unexpected("one question had no answer".into()))
    }

    /// The features of several views and entities at one time, from one moment of the store, in the order asked.
    ///
    /// # Errors
    /// As [`OnlineStore::read`].
    pub fn read_many(&self, asked: &[(&str, &[&str])], now_ms: i64) -> Result<Vec<OnlineValues>> {
        let action = "reading features";
        let transaction = self.database.begin_read().map_err(self.fault(action))?;
        let entries = transaction.open_table(ENTRIES).map_err(self.fault(action))?;
        let mut out = Vec::with_capacity(asked.len());
        for (name, entity) in asked {
            let view = self.view(name)?;
            let key = view.key(entity)?;
            let layout = &view.planned.layout;
            let found = entries.get(key.as_slice()).map_err(self.fault(action))?;
            let mut values = Vec::with_capacity(layout.computations.len());
            let event_time_ms = match &found {
                None => {
                    values.resize(layout.computations.len(), Value::Null);
                    None
                }
                Some(found) => {
                    let entry = EntryView::of(layout, found.value()).map_err(|e| self.corrupt(view, e))?;
                    let time = entry.at(now_ms, |answer| values.push(answer.owned()));
                    time.map_err(|e| Error::TooEarly { view: (*name).to_owned(), oldest_ms: e.oldest })?
                }
            };
            out.push(OnlineValues { values, event_time_ms });
        }
        Ok(out)
    }

    /// Event time up to which the view holds the warehouse; none before its first materialisation.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a view that is not open, [`Error::Online`] when the store cannot be read.
    pub fn watermark(&self, view: &str) -> Result<Option<i64>> {
        self.view(view)?;
        let action = "reading a watermark";
        let transaction = self.database.begin_read().map_err(self.fault(action))?;
        let states = transaction.open_table(VIEWS).map_err(self.fault(action))?;
        Ok(self.state(&states, view)?.and_then(|s| s.watermark_ms))
    }

    /// Brings a view up to the warehouse as the snapshot shows it: rows with an event time up to `until_ms`, of which
    /// those since the last watermark less the view's lateness are read. They take the place of what the store held of
    /// that time, so doing it again changes nothing, and rows that left the warehouse leave the store. Rows that come
    /// later than the lateness are not seen.
    ///
    /// `until_ms` says that everything up to it has been imported; live events up to it are dropped for the warehouse's
    /// rows. The watermark never goes back.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a view that is not open, [`Error::Query`] when rows cannot be read, [`Error::Online`] when
    /// they cannot be written. The store then is as before.
    pub fn materialise(&self, snapshot: &Snapshot, view: &str, until_ms: i64) -> Result<Materialised> {
        let view = self.view(view)?;
        let name = &view.planned.view.name;
        let watermark = self.watermark(name)?;
        let span = Reach::of(&view.planned, watermark, until_ms);
        snapshot.shop().wait(async {
            let mut order: Vec<_> =
                view.planned.entity_columns().iter().map(|e| ident(e).sort(true, true)).collect();
            order.push(ident("t").sort(true, true));
            // Planned again: the snapshot may be later than the one the store was opened with.
            let planned = plan(snapshot, std::slice::from_ref(&view.planned.view)).await?;
            let planned =
                planned.first().ok_or_else(|| Error::Unexpected("a view was not planned".into()))?;
            if planned.layout != view.planned.layout {
                let message = "the types of its expressions changed; open the store again";
                return Err(Error::Rows { table: name.clone(), message: message.into() });
            }
            let rows = planned.rows(span.after, Some(span.until))?.sort(order)?;
            let rows = rows.execute_stream().await?;
            self.replace(view, span, rows.map(|b| b.map_err(Error::from))).await
        })
    }

    /// Adds events to all views of a canonical table, by the definitions that the warehouse's rows are read with.
    /// Columns are found by name; those that are missing are null. `ids` names the events, one for each row, so that an
    /// event that comes twice counts once; an empty text names none.
    ///
    /// # Errors
    /// [`Error::Rows`] when a column has a type that does not fit or `ids` has another length; [`Error::Online`] when
    /// they cannot be written. Either all rows are added or none.
    pub fn apply(&self, table: &str, events: &RecordBatch, ids: &[&str]) -> Result<Applied> {
        let of_table = |v: &&OnlineView| v.planned.view.source == Source::Table(table.to_owned());
        self.apply_to_views(self.views.iter().filter(of_table).collect(), events, ids)
    }

    /// Adds events to one view; for a view over `sql` they have the columns of its query.
    ///
    /// # Errors
    /// As [`OnlineStore::apply`], and [`Error::NotFound`] for a view that is not open.
    pub fn apply_to(&self, view: &str, events: &RecordBatch, ids: &[&str]) -> Result<Applied> {
        self.apply_to_views(vec![self.view(view)?], events, ids)
    }

    fn apply_to_views(&self, views: Vec<&OnlineView>, events: &RecordBatch, ids: &[&str]) -> Result<Applied> {
        if ids.len() != events.num_rows() {
            let message = format!("there are {} rows and {} names of events", events.num_rows(), ids.len());
            return Err(Error::Rows { table: "events".into(), message });
        }
        let mut applied = Applied::default();
        let computed = views.iter().map(|v| v.compute(events)).collect::<Result<Vec<_>>>()?;
        if views.is_empty() || ids.is_empty() {
            return Ok(applied);
        }
        let marks: Vec<u64> = ids
            .iter()
            .map(|id| if id.is_empty() { UNNAMED } else { text_mark(id).max(UNNAMED + 1) })
            .collect();
        let action = "adding events";
        let transaction = self.database.begin_write().map_err(self.fault(action))?;
        for (view, rows) in views.iter().zip(&computed) {
            let mut tables = self.tables(&transaction, action)?;
            let state = self.state(&tables.states, &view.planned.view.name)?;
            let watermark = state.and_then(|s| s.watermark_ms).unwrap_or(i64::MIN);
            let mut by_entity: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
            for i in 0..rows.len() {
                if rows.times.is_null(i) || rows.entity.iter().any(|e| e.is_null(i)) {
                    applied.without_entity += 1;
                } else if rows.times.value(i) <= watermark {
                    applied.covered += 1;
                } else {
                    let parts = rows.entity.iter().map(|e| e.value(i));
                    by_entity.entry(key(&view.planned.view.name, parts)).or_default().push(i);
                }
            }
            for (key, places) in by_entity {
                let layout = &view.planned.layout;
                let mut entry = self.entry(&tables.entries, view, &key)?;
                for i in places {
                    let id = marks[i];
                    if id != UNNAMED && entry.rows.iter().any(|r| r.id == id) {
                        applied.repeated += 1;
                        continue;
                    }
                    entry.rows.push(StoredRow::of(layout, rows.times.value(i), id, &RowOf(rows, i)));
                    applied.added += 1;
                }
                self.put(&mut tables, layout, &key, &mut entry, i64::MIN)?;
            }
        }
        transaction.commit().map_err(self.fault(action))?;
        Ok(applied)
    }

    /// Puts the rows of the warehouse, sorted by entity and time, in the place of what the store held of their time.
    async fn replace(
        &self,
        view: &OnlineView,
        reach: Reach,
        rows: impl Stream<Item = Result<RecordBatch>> + Send,
    ) -> Result<Materialised> {
        let action = "materialising features";
        let (name, layout) = (&view.planned.view.name, view.planned.layout.as_ref());
        let n_entity = view.planned.view.entity.len();
        let mut rows = std::pin::pin!(rows);
        // The sort is done when its first batch comes; writers wait for each other only from here on.
        let mut next = rows.next().await;
        let mut transaction = self.database.begin_write().map_err(self.fault(action))?;
        transaction.set_quick_repair(true);
        let mut done = Materialised { rows: 0, entities: 0, watermark_ms: reach.until };
        {
            let mut tables = self.tables(&transaction, action)?;
            let state = self.state(&tables.states, name)?;
            let Some(mut state) = state.filter(|s| s.watermark_ms == reach.watermark) else {
                return Err(Error::Busy(self.path.clone()));
            };
            let recent = self.recent(&tables.recent, name)?;
            let mut recent = recent.into_iter().peekable();
            let mut open: Option<(Vec<u8>, Entry)> = None;
            while let Some(batch) = next {
                let batch = RowBatch::of(&batch?, n_entity, layout)?;
                for i in 0..batch.len() {
                    let key = key(name, batch.entity.iter().map(|e| e.value(i)));
                    if open.as_ref().is_none_or(|(k, _)| *k != key) {
                        if let Some((key, mut entry)) = open.take() {
                            self.put(&mut tables, layout, &key, &mut entry, reach.next_after)?;
                        }
                        // Entities whose rows were all taken out of the warehouse.
                        while let Some(gone) = recent.next_if(|r| *r < key) {
                            self.forget(&mut tables, view, &gone, reach)?;
                            done.entities += 1;
                        }
                        recent.next_if(|r| *r == key);
                        let entry = self.without_replaced(&tables, view, &key, reach)?;
                        open = Some((key, entry));
                        done.entities += 1;
                    }
                    let Some((_, entry)) = &mut open else { continue };
                    let (time, row) = (batch.times.value(i), RowOf(&batch, i));
                    if time <= reach.fold {
                        entry.fold(layout, time, &row);
                    } else {
                        entry.rows.push(StoredRow::of(layout, time, FROM_WAREHOUSE, &row));
                    }
                    done.rows += 1;
                }
                next = rows.next().await;
            }
            if let Some((key, mut entry)) = open.take() {
                self.put(&mut tables, layout, &key, &mut entry, reach.next_after)?;
            }
            for gone in recent {
                self.forget(&mut tables, view, &gone, reach)?;
                done.entities += 1;
            }
            state.watermark_ms = Some(reach.until);
            self.put_state(&mut tables.states, name, &state)?;
        }
        transaction.commit().map_err(self.fault(action))?;
        Ok(done)
    }

    fn forget(&self, tables: &mut Tables<'_>, view: &OnlineView, key: &[u8], reach: Reach) -> Result<()> {
        let mut entry = self.without_replaced(tables, view, key, reach)?;
        self.put(tables, &view.planned.layout, key, &mut entry, reach.next_after)
    }

    /// An entry without the rows that are read again, and with those folded that will not be.
    fn without_replaced(
        &self,
        tables: &Tables<'_>,
        view: &OnlineView,
        key: &[u8],
        reach: Reach,
    ) -> Result<Entry> {
        let mut entry = self.entry(&tables.entries, view, key)?;
        entry.rows.retain(|r| match r.id {
            FROM_WAREHOUSE => reach.after.is_some_and(|after| r.event_time <= after),
            _ => r.event_time > reach.until,
        });
        entry.fold_until(&view.planned.layout, reach.fold);
        Ok(entry)
    }

    fn entry(&self, entries: &EntryTable<'_>, view: &OnlineView, key: &[u8]) -> Result<Entry> {
        let layout = &view.planned.layout;
        match entries.get(key).map_err(self.fault("reading features"))? {
            Some(found) => Entry::decode(layout, found.value()).map_err(|e| self.corrupt(view, e)),
            None => Ok(Entry::new(layout)),
        }
    }

    /// Writes an entry; it is recent when it has rows after `after`.
    fn put(
        &self,
        tables: &mut Tables<'_>,
        layout: &Layout,
        key: &[u8],
        entry: &mut Entry,
        after: i64,
    ) -> Result<()> {
        let action = "writing features";
        if entry.is_empty() {
            tables.entries.remove(key).map_err(self.fault(action))?;
        } else {
            let bytes = entry.encode(layout);
            tables.entries.insert(key, bytes.as_slice()).map_err(self.fault(action))?;
        }
        if entry.rows.iter().any(|r| r.event_time > after) {
            tables.recent.insert(key, ()).map_err(self.fault(action))?;
        } else {
            tables.recent.remove(key).map_err(self.fault(action))?;
        }
        Ok(())
    }

    fn recent(&self, table: &RecentTable<'_>, view: &str) -> Result<Vec<Vec<u8>>> {
        let action = "reading features";
        let (first, end) = key_range(view);
        let range = table.range::<&[u8]>(first.as_slice()..end.as_slice()).map_err(self.fault(action))?;
        range.map(|r| r.map(|(k, _)| k.value().to_vec()).map_err(self.fault(action))).collect()
    }

    /// Makes the tables, and drops what belongs to another definition.
    fn settle(&mut self) -> Result<()> {
        let action = "opening the online store";
        let transaction = self.database.begin_write().map_err(self.fault(action))?;
        let mut rebuilt = vec![];
        {
            let mut tables = self.tables(&transaction, action)?;
            for view in &self.views {
                let name = view.planned.view.name.as_str();
                let fingerprint = view.fingerprint();
                let state = self.state(&tables.states, name)?;
                if state.as_ref().is_some_and(|s| s.fingerprint == fingerprint) {
                    continue;
                }
                if state.is_some() {
                    let (first, end) = key_range(name);
                    let range = || first.as_slice()..end.as_slice();
                    tables
                        .entries
                        .retain_in::<&[u8], _>(range(), |_, _| false)
                        .map_err(self.fault(action))?;
                    tables.recent.retain_in::<&[u8], _>(range(), |_, _| false).map_err(self.fault(action))?;
                    rebuilt.push(name.to_owned());
                }
                let state = ViewState { fingerprint, watermark_ms: None };
                self.put_state(&mut tables.states, name, &state)?;
            }
        }
        transaction.commit().map_err(self.fault(action))?;
        self.rebuilt = rebuilt;
        Ok(())
    }

    fn tables<'t>(&self, transaction: &'t WriteTransaction, action: &'static str) -> Result<Tables<'t>> {
        Ok(Tables {
            states: transaction.open_table(VIEWS).map_err(self.fault(action))?,
            entries: transaction.open_table(ENTRIES).map_err(self.fault(action))?,
            recent: transaction.open_table(RECENT).map_err(self.fault(action))?,
        })
    }

    fn state(
        &self,
        states: &impl ReadableTable<&'static str, &'static [u8]>,
        view: &str,
    ) -> Result<Option<ViewState>> {
        let Some(found) = states.get(view).map_err(self.fault("reading the state of a view"))? else {
            return Ok(None);
        };
        serde_json::from_slice(found.value()).map(Some).map_err(|e| Error::StateContent {
            path: self.path.clone(),
            message: format!(
                "the state of view `{view}` cannot be read: {e}; remove the file and materialise again"
            ),
        })
    }

    fn put_state(
        &self,
        states: &mut Table<'_, &'static str, &'static [u8]>,
        view: &str,
        state: &ViewState,
    ) -> Result<()> {
        let bytes =
            serde_json::to_vec(state).map_err(|e| Error::Unexpected(format!("a state as JSON: {e}")))?;
        states.insert(view, bytes.as_slice()).map_err(self.fault("writing the state of a view"))?;
        Ok(())
    }

    fn view(&self, name: &str) -> Result<&OnlineView> {
        self.views.iter().find(|v| v.planned.view.name == name).ok_or_else(|| Error::NotFound {
            what: "feature view",
            name: name.to_owned(),
            known: self.views().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    fn corrupt(&self, view: &OnlineView, _: Corrupt) -> Error {
        let name = &view.planned.view.name;
        let message =
            format!("an entry of view `{name}` cannot be read; remove the file and materialise again");
        Error::StateContent { path: self.path.clone(), message }
    }

    fn fault<E: Into<redb::Error>>(&self, action: &'static str) -> impl FnOnce(E) -> Error {
        fault(&self.path, action)
    }
}

type EntryTable<'t> = Table<'t, &'static [u8], &'static [u8]>;
type RecentTable<'t> = Table<'t, &'static [u8], ()>;

struct Tables<'t> {
    states: Table<'t, &'static str, &'static [u8]>,
    entries: EntryTable<'t>,
    recent: RecentTable<'t>,
}

fn fault<E: Into<redb::Error>>(path: &Path, action: &'static str) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |e| Error::Online { path, action, source: Box::new(e.into()) }
}

/// The times a materialisation is about.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// The watermark it goes on from.
    watermark: Option<i64>,
    /// Rows after this time are read; all without it.
    after: Option<i64>,
    /// Rows after this time are not.
    until: i64,
    /// Rows up to this time are folded: no window that may be asked for begins before it.
    fold: i64,
    /// What `after` will be next time.
    next_after: i64,
}

impl Reach {
    fn of(planned: &PlannedView, watermark: Option<i64>, until_ms: i64) -> Self {
        let lateness = planned.view.lateness.as_millis();
        let until = watermark.map_or(until_ms, |w| w.max(until_ms));
        let next_after = until.saturating_sub(lateness);
        let layout = &planned.layout;
        Self {
            watermark,
            after: watermark.map(|w| w.saturating_sub(lateness)),
            until,
            fold: next_after.saturating_sub(layout.delay).saturating_sub(layout.width_max()),
            next_after,
        }
    }
}

#[cfg(test)]
impl OnlineStore {
    /// A materialisation whose rows `rows` makes, given the times after and up to which they are read.
    pub(super) fn replace_for_test(
        &self,
        view: &str,
        until_ms: i64,
        rows: impl FnOnce(Option<i64>, i64) -> Vec<RecordBatch>,
    ) {
        let view = self.view(view).expect("a view");
        let watermark = self.watermark(&view.planned.view.name).expect("reads");
        let reach = Reach::of(&view.planned, watermark, until_ms);
        let rows = futures::stream::iter(rows(reach.after, reach.until).into_iter().map(Ok));
        futures::executor::block_on(self.replace(view, reach, rows)).expect("materialises");
    }

    /// Takes out all live events.
    pub(super) fn clear_live_for_test(&self, view: &str) {
        let view = self.view(view).expect("a view");
        let transaction = self.database.begin_write().expect("begins");
        {
            let mut tables = self.tables(&transaction, "a test").expect("opens");
            for key in self.recent(&tables.recent, &view.planned.view.name).expect("reads") {
                let mut entry = self.entry(&tables.entries, view, &key).expect("reads");
                entry.rows.retain(|r| r.id == FROM_WAREHOUSE);
                let lateness = view.planned.view.lateness.as_millis();
                let state = self.state(&tables.states, &view.planned.view.name).expect("reads");
                let after = state.and_then(|s| s.watermark_ms).map_or(i64::MIN, |w| w - lateness);
                self.put(&mut tables, &view.planned.layout, &key, &mut entry, after).expect("writes");
            }
        }
        transaction.commit().expect("commits");
    }
}

impl OnlineView {
    fn new(planned: PlannedView, context: &SessionContext) -> Result<Self> {
        let schema = planned.source_schema();
        let mut faults = faults_of(std::slice::from_ref(&planned.view));
        let compiled =
            compile(context, &planned.view, schema, &mut Faults::of(&planned.view, 0, &mut faults));
        let Some(compiled) = compiled.filter(|_| faults.is_empty()) else {
            return Err(Error::Definitions(DefinitionFaults { path: None, faults }));
        };
        let state = context.state();
        let columns = compiled.columns.into_iter().map(|e| state.create_physical_expr(e, schema));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        let source: SchemaRef = Arc::new(schema.as_arrow().clone());
        let mut fields = vec![];
        for (i, column) in columns.iter().enumerate() {
            fields.push(Field::new(format!("c{i}"), column.data_type(&source)?, true));
        }
        Ok(Self { planned, columns, source, rows: Arc::new(Schema::new(fields)) })
    }

    /// What must not change while entries are kept: the definition, and how they are laid out.
    fn fingerprint(&self) -> String {
        let text = format!("{} {:?}", self.planned.view.fingerprint(), self.planned.layout);
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    fn key(&self, entity: &[&str]) -> Result<Vec<u8>> {
        let view = &self.planned.view;
        if entity.len() != view.entity.len() {
            let (got, want) = (entity.len(), view.entity.join(", "));
            let message = format!("{got} texts were given; its entity is: {want}");
            return Err(Error::Rows { table: view.name.clone(), message });
        }
        Ok(key(&view.name, entity.iter().copied()))
    }

    /// The rows of events.
    fn compute(&self, events: &RecordBatch) -> Result<RowBatch> {
        let n = events.num_rows();
        let mut columns = vec![];
        for field in self.source.fields() {
            columns.push(match events.column_by_name(field.name()) {
                None => new_null_array(field.data_type(), n),
                Some(column) => self.as_type(column, field.name(), field.data_type())?,
            });
        }
        let nullable = self.source.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let source = RecordBatch::try_new(schema, columns).map_err(Error::arrow("events as rows"))?;
        let computed = self.columns.iter().map(|c| c.evaluate(&source).and_then(|v| v.into_array(n)));
        let computed = computed.collect::<std::result::Result<Vec<_>, _>>()?;
        let rows =
            RecordBatch::try_new(self.rows.clone(), computed).map_err(Error::arrow("events as rows"))?;
        Ok(RowBatch::of(&rows, self.planned.view.entity.len(), &self.planned.layout)?)
    }

    fn as_type(
        &self,
        column: &arrow::array::ArrayRef,
        name: &str,
        want: &DataType,
    ) -> Result<arrow::array::ArrayRef> {
        if column.data_type() == want {
            return Ok(column.clone());
        }
        let strict = arrow::compute::CastOptions { safe: false, ..Default::default() };
        arrow::compute::cast_with_options(column, want, &strict).map_err(|_| Error::Rows {
            table: self.planned.view.name.clone(),
            message: format!("column `{name}` has type {}, which does not fit {want}", column.data_type()),
        })
    }
}

/// The key of an entity. Keys have the order of views and then of entities, part by part.
fn key<'a>(view: &str, parts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = view.as_bytes().to_vec();
    out.push(0);
    for part in parts {
        for byte in part.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
        out.extend([0, 1]);
    }
    out
}

/// All keys of a view; its name has no byte 0.
fn key_range(view: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut first, mut end) = (view.as_bytes().to_vec(), view.as_bytes().to_vec());
    first.push(0);
    end.push(1);
    (first, end)
}

impl Shop {
    /// Opens the online store for the views of `features.toml`.
    ///
    /// # Errors
    /// As [`Shop::feature_views`] and [`OnlineStore::open`].
    pub fn online_store(&self) -> Result<OnlineStore> {
        self.snapshot()?.online_store(&self.feature_views()?)
    }
}
