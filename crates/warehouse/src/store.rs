//! Parquet parts: written whole or not at all, read as one table by DataFusion.

use crate::error::{Error, Result};
use crate::files;
use crate::shop::{ImportLock, Shop, store_url, table_named};
use crate::state::{ImportRecord, NewImport, Part};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tradewind_core::tables::{TABLES, TableSpec};

/// The column that says which import brought a row.
pub const IMPORT_COLUMN: &str = "_import";

/// The place of a row in its import, kept for tables with a key, where the last row of a key counts.
const ROW_COLUMN: &str = "_row";

/// Rows of a row group: what a reader holds of one column at a time.
const ROW_GROUP_ROWS: usize = 131_072;

/// Batches that wait for the writing thread at most.
const QUEUE_BATCHES: usize = 4;

/// What is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSource {
    /// What people call it: the path of a file or folder.
    pub name: String,
    /// A fingerprint of its whole content.
    pub fingerprint: String,
    /// The preset or mapping file.
    pub preset: String,
    /// Whatever else decides how the content becomes rows: a fingerprint of the mapping; may be empty.
    pub mapping: String,
}

impl ImportSource {
    /// Two sources with one identity bring the same rows. The name does not matter.
    fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.fingerprint, &self.preset, &self.mapping] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// How an import begins.
#[derive(Debug)]
pub enum Begun {
    /// The same source, read in the same way, is in the shop. Nothing needs to be done.
    AlreadyThere(ImportRecord),
    /// A new import, to be filled.
    New(Import),
}

/// Rows on their way into the shop. Dropped without [`Import::commit`], it leaves no trace.
///
/// Batches are encoded on a thread of their own, a few waiting at most, so memory stays bounded however long the source.
#[derive(Debug)]
pub struct Import {
    shop: Shop,
    source: ImportSource,
    identity: String,
    id: i64,
    staging: PathBuf,
    rows: BTreeMap<&'static str, (&'static TableSpec, SchemaRef, u64)>,
    /// `None` once the thread was asked to end.
    queue: Option<SyncSender<Rows>>,
    writer: Option<JoinHandle<Result<Vec<Part>>>>,
    _lock: ImportLock,
}

struct Rows {
    spec: &'static TableSpec,
    batch: RecordBatch,
}

impl Shop {
    /// Begins an import. Only one import is written at a time.
    ///
    /// # Errors
    /// [`Error::Busy`] while another import, of this or another process, is being written.
    pub fn begin_import(&self, source: &ImportSource) -> Result<Begun> {
        let identity = source.identity();
        if let Some(record) = self.wait(self.state().import_with(&identity))? {
            return Ok(Begun::AlreadyThere(record));
        }
        let lock = self.lock_imports()?;
        // Somebody may have brought it between the look and the lock.
        if let Some(record) = self.wait(self.state().import_with(&identity))? {
            return Ok(Begun::AlreadyThere(record));
        }
        let id = self.wait(self.state().next_id())?;
        let staging = self.warehouse().join(".staging").join(format!("{id:06}-{:.8}", identity));
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(Error::file(&staging, "clear"))?;
        }
        fs::create_dir_all(&staging).map_err(Error::file(&staging, "make the folder"))?;
        let (queue, work) = sync_channel(QUEUE_BATCHES);
        let parts = PartsWriter {
            staging: staging.clone(),
            prefix: format!("{id:06}-{:.8}", identity),
            import_id: id,
            rows_per_file: self.settings().storage.rows_per_file,
            open: BTreeMap::new(),
            done: vec![],
        };
        let writer = std::thread::Builder::new()
            .name("tradewind-import".into())
            .spawn(move || parts.run(work))
            .map_err(|source| Error::Machine { action: "start a thread", source })?;
        Ok(Begun::New(Import {
            shop: self.clone(),
            source: source.clone(),
            identity,
            id,
            staging,
            rows: BTreeMap::new(),
            queue: Some(queue),
            writer: Some(writer),
            _lock: lock,
        }))
    }
}

impl Import {
    /// The number the import will have.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Rows appended so far, over all tables.
    pub fn rows(&self) -> u64 {
        self.rows.values().map(|(_, _, n)| n).sum()
    }

    /// Adds rows to a table. Columns are found by name; optional ones may be missing.
    ///
    /// # Errors
    /// [`Error::Rows`] for a column the table does not have, one of another type, a missing required one or one with
    /// nulls; [`Error::File`] and [`Error::Parquet`] when the disk refuses. After an error the import can only be dropped.
    pub fn append(&mut self, spec: &'static TableSpec, batch: RecordBatch) -> Result<()> {
        let first = !self.rows.contains_key(spec.name);
        if first {
            table_named(spec.name)?;
        }
        let entry = self.rows.entry(spec.name).or_insert_with(|| (spec, part_schema(spec), 0));
        let batch = fit(spec, &entry.1, batch, self.id, entry.2)?;
        entry.2 += batch.num_rows() as u64;
        let sent = self.queue.as_ref().is_some_and(|q| q.send(Rows { spec, batch }).is_ok());
        if sent {
            Ok(())
        } else {
            self.finish_writing().and(Err(Error::Unexpected("the import had ended".into())))
        }
    }

    /// Makes all rows visible at once, and records `summary` with them: what the importer has to say about counts,
    /// rejects and encodings. It must hold no personal data.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Parquet`] and [`Error::State`]; the shop then is as before.
    pub fn commit(mut self, summary: serde_json::Value) -> Result<ImportRecord> {
        let staged = self.finish_writing()?;
        let warehouse = self.shop.warehouse();
        let mut moved = vec![];
        let placed = self.place(&warehouse, &staged, &mut moved);
        if let Err(e) = placed {
            for path in moved {
                // What stays is no part of the shop and is swept later.
                let _ = fs::remove_file(path);
            }
            return Err(e);
        }
        let now = chrono::Utc::now().timestamp_millis();
        let import = NewImport {
            id: self.id,
            identity: &self.identity,
            name: &self.source.name,
            preset: &self.source.preset,
            fingerprint: &self.source.fingerprint,
            finished_ms: now,
            summary: &summary,
        };
        self.shop.wait(self.shop.state().publish(&import, &staged))?;
        let found = self.shop.wait(self.shop.state().import_with(&self.identity))?;
        found.ok_or_else(|| Error::Unexpected(format!("import {} was recorded and is not there", self.id)))
    }

    /// Moves staged files to their tables and makes the moves durable.
    fn place(&self, warehouse: &Path, staged: &[Part], moved: &mut Vec<PathBuf>) -> Result<()> {
        let mut folders: Vec<PathBuf> = vec![];
        for part in staged {
            let to = self.shop.root().join(&part.path);
            let folder = files::folder_of(&to).to_owned();
            if folders.last() != Some(&folder) {
                fs::create_dir_all(&folder).map_err(Error::file(&folder, "make the folder"))?;
                folders.push(folder);
            }
            let name = to.file_name().unwrap_or_default();
            fs::rename(self.staging.join(name), &to).map_err(Error::file(&to, "write"))?;
            moved.push(to);
        }
        folders.iter().try_for_each(|f| files::sync_folder(f))?;
        files::sync_folder(warehouse)
    }

    /// Lets the writing thread end and takes what it made.
    fn finish_writing(&mut self) -> Result<Vec<Part>> {
        drop(self.queue.take());
        let Some(writer) = self.writer.take() else {
            return Err(Error::Unexpected("the import had failed before".into()));
        };
        writer
            .join()
            .unwrap_or_else(|_| Err(Error::Unexpected("the thread that writes the import panicked".into())))
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        if self.writer.is_some() {
            // The files go in any case.
            let _ = self.finish_writing();
        }
        // What cannot be removed now is swept at a later open.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// The columns of a part: the table's, the import's number, and for tables with a key the place of the row.
fn part_schema(spec: &TableSpec) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = spec.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(IMPORT_COLUMN, DataType::Int64, false)));
    if !spec.key.is_empty() {
        fields.push(Arc::new(Field::new(ROW_COLUMN, DataType::Int64, false)));
    }
    Arc::new(Schema::new(fields))
}

/// The columns of a table as it is read. Parts of older versions may lack any of them, so all may be null.
fn read_schema(spec: &TableSpec) -> SchemaRef {
    let nullable = |f: &Arc<Field>| f.as_ref().clone().with_nullable(true);
    Arc::new(Schema::new(part_schema(spec).fields().iter().map(nullable).collect::<Vec<_>>()))
}

/// A batch with exactly the part's columns, in their order.
fn fit(
    spec: &TableSpec,
    schema: &SchemaRef,
    batch: RecordBatch,
    id: i64,
    rows_before: u64,
) -> Result<RecordBatch> {
    let fault = |message: String| Error::Rows { table: spec.name.to_owned(), message };
    if let Some(f) = batch.schema().fields().iter().find(|f| spec.column(f.name()).is_none()) {
        let known = spec.columns.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
        return Err(fault(format!("there is no column `{}`; it has: {known}", f.name())));
    }
    let n = batch.num_rows();
    let mut columns: Vec<ArrayRef> = vec![];
    for c in spec.columns {
        let array = match batch.column_by_name(c.name) {
            Some(a) if *a.data_type() == c.kind.arrow() => a.clone(),
            Some(a) => {
                let (got, want) = (a.data_type(), c.kind.arrow());
                return Err(fault(format!("column `{}` has type {got}, it must have {want}", c.name)));
            }
            None => new_null_array(&c.kind.arrow(), n),
        };
        if c.required && array.null_count() > 0 {
            let missing = array.null_count();
            return Err(fault(format!("column `{}` is required and empty in {missing} of {n} rows", c.name)));
        }
        columns.push(array);
    }
    columns.push(Arc::new(Int64Array::from_value(id, n)));
    if !spec.key.is_empty() {
        let from = i64::try_from(rows_before).unwrap_or(i64::MAX);
        columns.push(Arc::new(Int64Array::from_iter_values((0..n as i64).map(|i| from.saturating_add(i)))));
    }
    RecordBatch::try_new(schema.clone(), columns).map_err(Error::arrow(format!("table `{}`", spec.name)))
}

/// Writes the parts of one import, on its own thread.
struct PartsWriter {
    staging: PathBuf,
    prefix: String,
    import_id: i64,
    rows_per_file: usize,
    open: BTreeMap<&'static str, OpenPart>,
    done: Vec<Part>,
}

struct OpenPart {
    spec: &'static TableSpec,
    path: PathBuf,
    writer: ArrowWriter<HashingFile>,
    rows: usize,
    ds_min_ms: Option<i64>,
    ds_max_ms: Option<i64>,
}

impl PartsWriter {
    fn run(mut self, work: Receiver<Rows>) -> Result<Vec<Part>> {
        for Rows { spec, batch } in work {
            let mut from = 0;
            while from < batch.num_rows() {
                let mut part = match self.open.remove(spec.name) {
                    Some(part) => part,
                    None => self.start(spec, batch.schema())?,
                };
                let n = (batch.num_rows() - from).min(self.rows_per_file - part.rows);
                part.write(batch.slice(from, n))?;
                from += n;
                if part.rows == self.rows_per_file {
                    self.end(part)?;
                } else {
                    self.open.insert(spec.name, part);
                }
            }
        }
        for (_, part) in std::mem::take(&mut self.open) {
            self.end(part)?;
        }
        files::sync_folder(&self.staging)?;
        // By table and number, so that the same import is recorded in the same order.
        self.done.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.done)
    }

    fn start(&self, spec: &'static TableSpec, schema: SchemaRef) -> Result<OpenPart> {
        // Numbered over all tables: the staging folder is flat.
        let n = self.done.len() + self.open.len();
        let path = self.staging.join(format!("{}-{n:05}.parquet", self.prefix));
        let file = File::create_new(&path).map_err(Error::file(&path, "write"))?;
        let properties =
            files::parquet_properties().set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).build();
        let file = HashingFile { file, hasher: blake3::Hasher::new(), bytes: 0 };
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(Error::parquet(&path))?;
        Ok(OpenPart { spec, path, writer, rows: 0, ds_min_ms: None, ds_max_ms: None })
    }

    fn end(&mut self, part: OpenPart) -> Result<()> {
        let OpenPart { spec, path, writer, rows, ds_min_ms, ds_max_ms } = part;
        let file = writer.into_inner().map_err(Error::parquet(&path))?;
        file.file.sync_all().map_err(Error::file(&path, "write"))?;
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        self.done.push(Part {
            path: format!("warehouse/{}/{name}", spec.name),
            import_id: self.import_id,
            table: spec.name.to_owned(),
            schema_version: spec.version,
            rows: rows as u64,
            bytes: file.bytes,
            ds_min_ms,
            ds_max_ms,
            blake3: file.hasher.finalize().to_hex().to_string(),
        });
        Ok(())
    }
}

impl OpenPart {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some(times) = self.spec.time.and_then(|t| batch.column_by_name(t)) {
            let times = times.as_primitive::<TimestampMillisecondType>();
            let low = arrow::compute::min(times);
            self.ds_min_ms = self.ds_min_ms.into_iter().chain(low).min();
            self.ds_max_ms = self.ds_max_ms.into_iter().chain(arrow::compute::max(times)).max();
        }
        self.rows += batch.num_rows();
        self.writer.write(&batch).map_err(Error::parquet(&self.path))
    }
}

/// A file whose bytes are counted and hashed on their way.
struct HashingFile {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The shop at one moment: queries through it see the same imports, whatever comes in meanwhile.
#[derive(Clone)]
pub struct Snapshot {
    shop: Shop,
    context: SessionContext,
    parts: Arc<Vec<Part>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn of(shop: &Shop) -> Result<Self> {
        let parts = shop.parts()?;
        let mut config =
            SessionConfig::new().with_target_partitions(shop.threads()).with_information_schema(true);
        let options = config.options_mut();
        // Text stays plain UTF-8 in results, as the canonical schemas say.
        options.execution.parquet.schema_force_view_types = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        let context = SessionContext::new_with_config_rt(config, shop.memory());
        let this = Self { shop: shop.clone(), context, parts: Arc::new(parts) };
        for spec in TABLES {
            this.register(spec)?;
        }
        Ok(this)
    }

    /// The files that make up this snapshot.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) fn shop(&self) -> &Shop {
        &self.shop
    }

    /// DataFusion's own interface to this snapshot.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Answers one read-only query; see [`Shop::sql`].
    pub fn sql(&self, query: &str) -> Result<Vec<RecordBatch>> {
        self.shop.wait(async {
            let frame = self.context.sql_with_options(query, read_only()).await?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let mut batches = frame.collect().await?;
            if batches.is_empty() {
                batches.push(RecordBatch::new_empty(schema));
            }
            Ok(batches)
        })
    }

    /// Hands the rows of one read-only query to `take`, batch by batch, without holding them all. An error of `take`
    /// ends the query and is given back.
    pub fn each(&self, query: &str, mut take: impl FnMut(RecordBatch) -> Result<()> + Send) -> Result<()> {
        self.shop.wait(async {
            let frame = self.context.sql_with_options(query, read_only()).await?;
            let mut stream = frame.execute_stream().await?;
            while let Some(batch) = stream.next().await {
                take(batch?)?;
            }
            Ok(())
        })
    }

    fn register(&self, spec: &'static TableSpec) -> Result<()> {
        let base = store_url()?;
        let mut urls = vec![];
        for part in self.parts.iter().filter(|p| p.table == spec.name) {
            urls.push(ListingTableUrl::parse(format!("{}{}", base.as_str(), part.path))?);
        }
        let schema = read_schema(spec);
        let raw = if spec.key.is_empty() { spec.name.to_owned() } else { format!("_raw_{}", spec.name) };
        if urls.is_empty() {
            self.context.register_table(raw.as_str(), Arc::new(EmptyTable::new(schema)))?;
        } else {
            let options =
                ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
            let config = ListingTableConfig::new_with_multi_paths(urls)
                .with_listing_options(options)
                .with_schema(schema);
            self.context.register_table(raw.as_str(), Arc::new(ListingTable::try_new(config)?))?;
        }
        if spec.key.is_empty() {
            return Ok(());
        }
        // Of the rows with one key (nulls are equal here) the last one of the latest import counts.
        let columns = spec.columns.iter().map(|c| format!("\"{}\"", c.name)).collect::<Vec<_>>().join(", ");
        let key = spec.key.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ");
        let query = format!(
            "SELECT {columns}, \"{IMPORT_COLUMN}\" FROM (SELECT *, row_number() OVER (PARTITION BY {key} \
             ORDER BY \"{IMPORT_COLUMN}\" DESC, \"{ROW_COLUMN}\" DESC) AS \"_rank\" FROM \"{raw}\") WHERE \"_rank\" = 1"
        );
        let view = self.shop.wait(async { self.context.sql(&query).await })?.into_view();
        self.context.register_table(spec.name, view)?;
        Ok(())
    }
}

/// Queries read; they make and change nothing.
pub(crate) fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
