//! Outputs that are whole or absent: a temporary file in the same folder, fsync, rename, fsync of the folder.

use crate::error::{Error, Result};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a settings file that are read at most.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Writes a file so that it appears whole or not at all, even when the process is killed or the machine loses power.
///
/// `write` gets a buffered writer to a temporary file in the same folder. When it answers an error, the temporary file
/// is removed and whatever was at `path` stays as it was. The error of `write` is given back as it is.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("tradewind-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// use std::io::Write;
/// let path = dir.join("out.txt");
/// tradewind_warehouse::files::write_whole(&path, |w| {
///     w.write_all(b"all of it").map_err(tradewind_warehouse::Error::file(&path, "write"))
/// }).unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"all of it");
/// # std::fs::remove_dir_all(&dir).unwrap();
/// ```
pub fn write_whole<T>(path: &Path, write: impl FnOnce(&mut dyn WholeWrite) -> Result<T>) -> Result<T> {
    let temporary = temporary_beside(path);
    let attempt = || {
        let file = File::create_new(&temporary).map_err(Error::file(path, "write"))?;
        let mut writer = BufWriter::new(file);
        let out = write(&mut writer)?;
        let file = writer.into_inner().map_err(|e| Error::file(path, "write")(e.into_error()))?;
        file.sync_all().map_err(Error::file(path, "write"))?;
        drop(file);
        fs::rename(&temporary, path).map_err(Error::file(path, "write"))?;
        sync_folder(folder_of(path))?;
        Ok(out)
    };
    let out = attempt();
    if out.is_err() {
        // The first error tells more than a failed removal would.
        let _ = fs::remove_file(&temporary);
    }
    out
}

/// A writer that may be handed to another thread, as the Parquet writer asks.
pub trait WholeWrite: Write + Send {}

impl<W: Write + Send> WholeWrite for W {}

/// Writes bytes so that they appear whole or not at all.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, |w| w.write_all(bytes).map_err(Error::file(path, "write")))
}

/// Writes rows to Parquet (zstd), CSV, TSV or JSON Lines, by the ending of `path`: `.parquet`, `.csv`, `.tsv`, `.jsonl`
/// or `.ndjson`. The file appears whole or not at all. Batches share the schema of the first; without batches use
/// [`write_table_of`].
pub fn write_table(path: &Path, batches: &[RecordBatch]) -> Result<()> {
    let schema = batches.first().map(RecordBatch::schema).ok_or_else(|| {
        Error::NotEnough(format!("{}: nothing to write, not even the names of columns", path.display()))
    })?;
    write_table_of(path, schema, batches)
}

/// As [`write_table`], with the schema said, so that a table without rows can be written too.
pub fn write_table_of(path: &Path, schema: SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let format = Format::of(path)?;
    if let Some(b) = batches.iter().find(|b| b.schema().fields() != schema.fields()) {
        let (got, want) = (names(&b.schema()), names(&schema));
        return Err(Error::Unexpected(format!("{}: batches differ: {got} and {want}", path.display())));
    }
    write_whole(path, |w| match format {
        Format::Parquet => {
            let mut writer = ArrowWriter::try_new(w, schema, Some(parquet_properties().build()))
                .map_err(Error::parquet(path))?;
            for b in batches {
                writer.write(b).map_err(Error::parquet(path))?;
            }
            writer.close().map_err(Error::parquet(path)).map(drop)
        }
        Format::Delimited(delimiter) => write_delimited(path, w, &schema, batches, delimiter),
        Format::JsonLines => write_json_lines(path, w, batches),
    })
}

/// Fails where [`write_table`] would for the ending of `path`, so that long work is not done in vain.
pub fn check_ending(path: &Path) -> Result<()> {
    Format::of(path).map(drop)
}

/// Reads a small text file, with the path in errors.
pub fn read_text(path: &Path) -> Result<String> {
    let size = fs::metadata(path).map_err(Error::file(path, "read"))?.len();
    if size > TEXT_BYTES_MAX {
        let big = std::io::Error::new(std::io::ErrorKind::InvalidData, "larger than 1 MiB");
        return Err(Error::file(path, "read")(big));
    }
    fs::read_to_string(path).map_err(Error::file(path, "read"))
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Only Unix can open a folder as a file; elsewhere the rename itself is as durable as it gets.
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(Error::file(folder, "write"))?;
    }
    Ok(())
}

/// How all Parquet files of the house are compressed.
pub(crate) fn parquet_properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("tradewind ", env!("CARGO_PKG_VERSION")).to_owned())
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

enum Format {
    Parquet,
    Delimited(u8),
    JsonLines,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(match ending.as_str() {
            "parquet" => Self::Parquet,
            "csv" => Self::Delimited(b','),
            "tsv" => Self::Delimited(b'\t'),
            "jsonl" | "ndjson" => Self::JsonLines,
            _ => return Err(Error::UnknownOutput(path.to_owned())),
        })
    }
}

fn names(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ")
}

fn temporary_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    folder_of(path).join(format!(".{name}.{}-{count}.tmp", std::process::id()))
}

fn write_delimited(
    path: &Path,
    out: &mut dyn WholeWrite,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    delimiter: u8,
) -> Result<()> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(true).with_delimiter(delimiter).build(out);
    // An empty batch writes the header, also of a table without rows.
    let header = RecordBatch::new_empty(schema.clone());
    for b in std::iter::once(&header).chain(batches) {
        writer.write(b).map_err(Error::arrow(format!("{}: writing rows", path.display())))?;
    }
    Ok(())
}

fn write_json_lines(path: &Path, out: &mut dyn WholeWrite, batches: &[RecordBatch]) -> Result<()> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(out);
    for b in batches {
        writer.write(b).map_err(Error::arrow(format!("{}: writing rows", path.display())))?;
    }
    writer.finish().map_err(Error::arrow(format!("{}: writing rows", path.display())))
}
