//! A shop: one folder with settings, Parquet tables and state.
//!
//! ```text
//! tradewind.toml                     settings; its presence makes the folder a shop
//! state.db                           which imports there are, and the files they brought
//! warehouse/<table>/<part>.parquet   the rows
//! warehouse/.staging/<import>/       an import that is being written
//! warehouse/.spill/                  queries that need more than their memory
//! warehouse/.lock, .import.lock      held by whoever uses the shop, and whoever writes into it
//! ```

use crate::error::{Error, Result};
use crate::files;
use crate::settings::{self, Settings, TEMPLATE};
use crate::state::{FORMAT, ImportRecord, Part, State};
use crate::store::Snapshot;
use arrow::record_batch::RecordBatch;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::prelude::SessionContext;
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tradewind_core::tables::{TABLES, TableSpec};

const WAREHOUSE: &str = "warehouse";
const STATE: &str = "state.db";

/// An open shop. Clones are the same shop.
///
/// All calls block; a runtime inside does the waiting, so that callers need none of their own (they may have one).
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("tradewind-shop-doc-{}", std::process::id()));
/// use tradewind_warehouse::Shop;
/// let shop = Shop::init(&dir)?;
/// assert_eq!(shop.settings().trend.horizon, 28);
/// let rows = shop.sql("SELECT count(*) AS n FROM sales")?;
/// assert_eq!(rows[0].num_rows(), 1);
/// # drop(shop);
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), tradewind_warehouse::Error>(())
/// ```
#[derive(Clone)]
pub struct Shop {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    settings: Settings,
    state: State,
    memory: Arc<RuntimeEnv>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// Says to others that the shop is in use, so that nobody sweeps.
    _in_use: File,
}

impl std::fmt::Debug for Shop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shop").field("root", &self.inner.root).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            wait_on(&runtime, self.state.close());
            // A plain drop would wait, which a caller's own asynchronous code may not do.
            runtime.shutdown_background();
        }
    }
}

impl Shop {
    /// Makes a shop in `path`, which must be absent or empty, and opens it.
    ///
    /// The settings file comes last and makes the folder a shop: after an interruption there is none, and `init` may be
    /// called again.
    ///
    /// # Errors
    /// [`Error::ShopExists`], [`Error::NotEmpty`] when other things lie there, [`Error::File`] for the disk's faults.
    pub fn init(path: &Path) -> Result<Self> {
        let existed = path.exists();
        fs::create_dir_all(path).map_err(Error::file(path, "make the folder"))?;
        if path.join(settings::FILE_NAME).exists() {
            return Err(Error::ShopExists(path.to_owned()));
        }
        for entry in list(path)? {
            if !is_own_leftover(&entry) {
                return Err(Error::NotEmpty(path.to_owned()));
            }
        }
        let made = Self::furnish(path);
        if made.is_err() {
            // What was made goes again; what was there before stays.
            let _ = fs::remove_dir_all(path.join(WAREHOUSE));
            let _ = fs::remove_file(path.join(STATE));
            if !existed {
                let _ = fs::remove_dir(path);
            }
        }
        made?;
        Self::open(path)
    }

    fn furnish(path: &Path) -> Result<()> {
        let state = path.join(STATE);
        for entry in list(path)? {
            let gone = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            gone.map_err(Error::file(&entry, "clear what an interrupted init left"))?;
        }
        let warehouse = path.join(WAREHOUSE);
        fs::create_dir(&warehouse).map_err(Error::file(&warehouse, "make the folder"))?;
        let runtime = new_runtime(1)?;
        let made: Result<()> = wait_on(&runtime, async {
            let state = State::open(&state, true).await?;
            state.close().await;
            Ok(())
        });
        runtime.shutdown_background();
        made?;
        files::sync_folder(path)?;
        files::sync_folder(files::folder_of(path))?;
        files::write_bytes(&path.join(settings::FILE_NAME), TEMPLATE.as_bytes())
    }

    /// Opens the shop in `path`.
    ///
    /// What killed imports and removed ones left behind is swept away, when no other process has the shop open.
    ///
    /// # Errors
    /// [`Error::NoShop`], [`Error::Settings`] with the line of a wrong key, [`Error::NewerFormat`] for a shop of a newer
    /// Tradewind.
    pub fn open(path: &Path) -> Result<Self> {
        let settings_path = path.join(settings::FILE_NAME);
        if !settings_path.is_file() {
            return Err(Error::NoShop(path.to_owned()));
        }
        let settings = Settings::read(&settings_path)?;
        let root = path.canonicalize().map_err(Error::file(path, "open"))?;
        let warehouse = root.join(WAREHOUSE);
        let spill = warehouse.join(".spill");
        fs::create_dir_all(&spill).map_err(Error::file(&spill, "make the folder"))?;

        let in_use = lock_file(&warehouse.join(".lock"))?;
        let alone = in_use.try_lock().is_ok();
        let runtime = new_runtime(threads(&settings))?;
        let opened = wait_on(&runtime, State::open(&root.join(STATE), false)).and_then(|state| {
            let parts = wait_on(&runtime, state.parts())?;
            parts.iter().try_for_each(|p| check_version(&root, p))?;
            if alone {
                sweep(&warehouse, &parts)?;
            }
            Ok(state)
        });
        if alone {
            in_use.unlock().map_err(Error::file(&warehouse, "unlock"))?;
        }
        let state = match opened {
            Ok(state) => state,
            Err(e) => {
                runtime.shutdown_background();
                return Err(e);
            }
        };
        // A file system without locks still opens shops; it only cannot be swept or imported into.
        let _ = in_use.lock_shared();

        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
        let bytes = settings.storage.memory_mib.saturating_mul(1 << 20);
        let memory = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        // Queries name files below the shop, so that no character of the shop's own path can be misread.
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|e| Error::from(datafusion::error::DataFusionError::from(e)))?;
        memory.register_object_store(store_url()?.as_ref(), Arc::new(store));
        let inner = Inner { root, settings, state, memory, runtime: Some(runtime), _in_use: in_use };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The shop's folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The shop's settings as they were when it was opened.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// All imports that are in the shop, oldest first.
    pub fn imports(&self) -> Result<Vec<ImportRecord>> {
        self.wait(self.inner.state.imports())
    }

    /// All Parquet files that make up the shop, in the order of imports.
    pub fn parts(&self) -> Result<Vec<Part>> {
        self.wait(self.inner.state.parts())
    }

    /// Takes an import out of the shop, as if it had never been. Its files go at a later [`Shop::open`], since others
    /// may be reading them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such import, [`Error::Busy`] while another import is being written.
    pub fn remove_import(&self, id: i64) -> Result<ImportRecord> {
        let _lock = self.lock_imports()?;
        let records = self.imports()?;
        let known = || records.iter().map(|r| r.id.to_string()).collect::<Vec<_>>().join(", ");
        let Some(record) = records.iter().find(|r| r.id == id) else {
            return Err(Error::NotFound { what: "import", name: id.to_string(), known: known() });
        };
        self.wait(self.inner.state.remove(id))?;
        Ok(record.clone())
    }

    /// The shop as it is now; imports that come later are not seen through it.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::of(self)
    }

    /// Answers one read-only SQL query over the canonical tables as they are now.
    ///
    /// Rows have the order of the query's ORDER BY, and none without it. Every table also has the column `_import`, the
    /// number of the import that brought the row.
    pub fn sql(&self, query: &str) -> Result<Vec<RecordBatch>> {
        self.snapshot()?.sql(query)
    }

    /// The canonical tables as they are now, for DataFusion's own interface.
    pub fn context(&self) -> Result<SessionContext> {
        Ok(self.snapshot()?.context().clone())
    }

    /// All rows of a canonical table.
    ///
    /// # Errors
    /// [`Error::NotFound`] for other names.
    pub fn read_table(&self, name: &str) -> Result<Vec<RecordBatch>> {
        let spec = table_named(name)?;
        self.sql(&format!("SELECT * FROM \"{}\"", spec.name))
    }

    /// Runs asynchronous work to its end, from whatever thread.
    pub(crate) fn wait<F: Future + Send>(&self, work: F) -> F::Output
    where
        F::Output: Send,
    {
        let runtime = self.inner.runtime.as_ref().expect("it is taken only by drop");
        wait_on(runtime, work)
    }

    pub(crate) fn state(&self) -> &State {
        &self.inner.state
    }

    pub(crate) fn memory(&self) -> Arc<RuntimeEnv> {
        self.inner.memory.clone()
    }

    pub(crate) fn threads(&self) -> usize {
        threads(&self.inner.settings)
    }

    pub(crate) fn warehouse(&self) -> PathBuf {
        self.inner.root.join(WAREHOUSE)
    }

    /// The right to write imports.
    pub(crate) fn lock_imports(&self) -> Result<ImportLock> {
        let path = self.warehouse().join(".import.lock");
        let file = lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(ImportLock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(self.inner.root.clone())),
            Err(TryLockError::Error(e)) => Err(Error::file(&path, "lock")(e)),
        }
    }
}

/// The right to write imports, until it is dropped.
#[derive(Debug)]
pub(crate) struct ImportLock(File);

impl Drop for ImportLock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that another thread has just forked holds the file until it runs its
        // program.
        let _ = self.0.unlock();
    }
}

/// Where queries find the shop's folder.
pub(crate) fn store_url() -> Result<ObjectStoreUrl> {
    Ok(ObjectStoreUrl::parse("shop://folder")?)
}

/// The spec of a canonical table.
pub(crate) fn table_named(name: &str) -> Result<&'static TableSpec> {
    TableSpec::named(name).ok_or_else(|| Error::NotFound {
        what: "table",
        name: name.to_owned(),
        known: TABLES.iter().map(|t| t.name).collect::<Vec<_>>().join(", "),
    })
}

fn threads(settings: &Settings) -> usize {
    match settings.run.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

fn new_runtime(threads: usize) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("tradewind-warehouse")
        .enable_all()
        .build()
        .map_err(|source| Error::Machine { action: "start threads", source })
}

/// Runs work to its end. Inside somebody else's runtime blocking is forbidden on its threads, so another thread waits.
fn wait_on<F: Future + Send>(runtime: &Runtime, work: F) -> F::Output
where
    F::Output: Send,
{
    if tokio::runtime::Handle::try_current().is_err() {
        return runtime.block_on(work);
    }
    std::thread::scope(|scope| match scope.spawn(|| runtime.block_on(work)).join() {
        Ok(out) => out,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn lock_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(Error::file(path, "open"))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::file(folder, "list"))?;
    let mut out = vec![];
    for e in entries {
        out.push(e.map_err(Error::file(folder, "list"))?.path());
    }
    out.sort();
    Ok(out)
}

/// Whether an interrupted `init` can have left this: the state, or a warehouse without tables, or the settings' temporary file.
fn is_own_leftover(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match name {
        STATE | "state.db-journal" => path.is_file(),
        WAREHOUSE => path.is_dir() && list(path).is_ok_and(|l| l.is_empty()),
        _ => name.starts_with(".tradewind.toml.") && name.ends_with(".tmp") && path.is_file(),
    }
}

fn check_version(root: &Path, part: &Part) -> Result<()> {
    let known = TableSpec::named(&part.table).map_or(0, |t| t.version);
    if part.schema_version > known {
        return Err(Error::NewerFormat {
            path: root.join(&part.path),
            what: format!("table `{}`", part.table),
            found: part.schema_version.into(),
            known: known.into(),
        });
    }
    Ok(())
}

/// Removes what no import names. The caller is alone in the shop.
fn sweep(warehouse: &Path, parts: &[Part]) -> Result<()> {
    for folder in [".staging", ".spill"].map(|f| warehouse.join(f)).iter().filter(|f| f.is_dir()) {
        for entry in list(folder)? {
            let gone = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            gone.map_err(Error::file(&entry, "sweep"))?;
        }
    }
    let named: HashSet<&str> = parts.iter().filter_map(|p| p.path.rsplit('/').next()).collect();
    for folder in TABLES.iter().map(|t| warehouse.join(t.name)).filter(|f| f.is_dir()) {
        for entry in list(&folder)? {
            let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if is_part_name(name) && !named.contains(name) {
                fs::remove_file(&entry).map_err(Error::file(&entry, "sweep"))?;
            }
        }
    }
    Ok(())
}

/// Whether a file has the name of a part; whatever else people keep there is left alone.
fn is_part_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".parquet") else { return false };
    let pieces: Vec<&str> = stem.split('-').collect();
    matches!(pieces[..], [id, identity, n]
        if [id, n].iter().all(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
            && identity.len() == 8 && identity.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The format of shop folders that this crate writes.
pub fn shop_format() -> i64 {
    FORMAT
}
