//! Files into a shop: each file is one import, whole or absent, and a file that is there already is left alone.

use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tradewind_core::{Fault, Run};
use tradewind_ingest::{
    FileSummary, ImportOptions, Input, Mapping, RejectLimit, RejectWriter, collect, detect_file, identity,
    preset, read_inputs,
};
use tradewind_warehouse::{Begun, ImportRecord, ImportSource, Shop};

/// How the columns of the files are known.
#[derive(Clone, Debug)]
pub enum Columns {
    /// Found from each file's header.
    Detect,
    /// By a preset's name.
    Preset(String),
    /// By a mapping file.
    Mapping(PathBuf),
}

/// What is to be imported, and how.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// How the columns are known.
    pub columns: Columns,
    /// Only this canonical table.
    pub table: Option<String>,
    /// How many rows may be rejected; by the shop's settings when empty.
    pub max_rejects: Option<RejectLimit>,
    /// Where rejected rows go; `rejects/` in the shop when empty.
    pub rejects: Option<PathBuf>,
    /// Reasons of rejects in Chinese.
    pub chinese: bool,
}

/// What became of one file.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FileOutcome {
    /// It was taken in.
    Imported {
        /// The import's record.
        import: ImportRecord,
        /// What became of its rows.
        summary: Box<FileSummary>,
    },
    /// The same content, read in the same way, is in the shop; nothing was done.
    AlreadyThere {
        /// The file.
        file: String,
        /// The import that brought it.
        import: i64,
    },
    /// It fits no table; it was left alone. Only in folders and among several files.
    Skipped {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
}

/// What became of an import.
#[derive(Clone, Debug, Serialize)]
pub struct ImportOutcome {
    /// File by file.
    pub files: Vec<FileOutcome>,
    /// Rejected rows.
    pub rejected: u64,
    /// Where they were written, if there were any.
    pub rejects: Option<PathBuf>,
}

/// Takes files into the shop, one after the other. Each becomes visible whole, or not at all; when one fails, those
/// before it stay, and the next call begins where this one ended.
///
/// # Errors
/// A file that cannot be read or fits no table (among several, such files are skipped), too many rejects, another import
/// at work, faults of the disk, cancellation. Rejected rows are written even then.
pub fn import(run: &Run, shop: &Shop, request: &ImportRequest) -> Result<ImportOutcome> {
    let inputs = collect(&request.paths)?;
    let target = match &request.rejects {
        Some(path) => path.clone(),
        None => {
            let next = shop.imports()?.last().map_or(1, |i| i.id + 1);
            shop.root().join("rejects").join(format!("{next:06}.csv"))
        }
    };
    let mut rejects = Rejects { target, writer: None, chinese: request.chinese };
    let mut files = Vec::new();
    let mut failed = None;
    for input in &inputs {
        match one(run, shop, request, input, &mut rejects) {
            Ok(outcome) => files.push(outcome),
            Err(e) if inputs.len() > 1 && fits_nothing(&e) => {
                files.push(FileOutcome::Skipped { file: input.name(), why: e.to_string() });
            }
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    let (rejected, path) = rejects.finish()?;
    match failed {
        Some(e) => Err(e),
        None if files.iter().all(|f| matches!(f, FileOutcome::Skipped { .. })) => Err(Error::asked(
            format!("none of the {} files fits a table", files.len()),
            "name a preset (`tradewind models --presets`) or a mapping file (--mapping)",
        )),
        None => Ok(ImportOutcome { files, rejected, rejects: path }),
    }
}

fn fits_nothing(e: &Error) -> bool {
    use tradewind_ingest::IngestError::{NoTable, UnknownFormat};
    matches!(e, Error::Ingest(NoTable { .. } | UnknownFormat { .. }) | Error::Asked { .. })
}

fn one(
    run: &Run,
    shop: &Shop,
    request: &ImportRequest,
    input: &Input,
    rejects: &mut Rejects,
) -> Result<FileOutcome> {
    run.check()?;
    let Input::File(path) = input else {
        return Err(Error::asked(
            "only files can be imported into a shop",
            "write the bytes to a file first",
        ));
    };
    let mapping = mapping(request, path)?;
    let identity = identity(path, &mapping)?;
    let source = ImportSource {
        name: input.name(),
        fingerprint: identity.fingerprint.blake3.clone(),
        preset: mapping.name.clone(),
        mapping: format!("{}@{}", identity.mapping_hash, identity.mapping_version),
    };
    let mut import = match shop.begin_import(&source)? {
        Begun::AlreadyThere(record) => {
            return Ok(FileOutcome::AlreadyThere { file: input.name(), import: record.id });
        }
        Begun::New(import) => import,
    };
    let options = ImportOptions {
        max_rejects: Some(
            request.max_rejects.unwrap_or(RejectLimit::Rows(shop.settings().import.max_rejects)),
        ),
        ..ImportOptions::default()
    };
    let summary = read_inputs(
        run,
        std::slice::from_ref(input),
        &mapping,
        &options,
        &mut |table, batch| import.append(table, batch).map_err(|e| Box::new(e) as Box<dyn Fault>),
        &mut |reject| rejects.write(reject).map_err(|e| Box::new(e) as Box<dyn Fault>),
    )?;
    let summary = summary.files.into_iter().next().unwrap_or_default();
    let record = import.commit(json!({ "files": [told(&summary)] }))?;
    Ok(FileOutcome::Imported { import: record, summary: Box::new(summary) })
}

fn mapping(request: &ImportRequest, path: &Path) -> Result<Mapping> {
    let mapping = match &request.columns {
        Columns::Preset(name) => preset(name)?.mapping.clone(),
        Columns::Mapping(file) => {
            let text = tradewind_warehouse::files::read_text(file)?;
            Mapping::from_toml(&file.display().to_string(), &text)?
        }
        Columns::Detect => match detect_file(path, &tradewind_ingest::ReadSettings::default())? {
            Some(preset) => preset.mapping.clone(),
            None => {
                return Err(Error::asked(
                    format!("{}: no preset fits its columns", path.display()),
                    "name the preset (`tradewind models --presets` lists them) or write a mapping file (--mapping)",
                ));
            }
        },
    };
    Ok(match &request.table {
        Some(table) => mapping.only(table)?,
        None => mapping,
    })
}

/// The summary as it is kept with the import, for the quality check.
fn told(summary: &FileSummary) -> Value {
    let rejects: Map<String, Value> = summary
        .reasons
        .iter()
        .map(|r| {
            let column = if r.column.is_empty() { String::new() } else { format!(" in `{}`", r.column) };
            (format!("{}{column}", r.reason.code()), json!(r.rows))
        })
        .collect();
    // Text is described as "text, comma, gb18030"; other formats have no encoding of their own.
    let encoding = match summary.format.split(", ").collect::<Vec<_>>()[..] {
        ["text", _, encoding] | ["JSON Lines", encoding] => Some(encoding.to_owned()),
        _ => None,
    };
    let mut value = serde_json::to_value(summary).unwrap_or_default();
    if let Some(o) = value.as_object_mut() {
        o.insert("rejects".into(), Value::Object(rejects));
        if let Some(encoding) = encoding {
            o.insert("encoding".into(), json!(encoding));
        }
    }
    value
}

/// The file of rejected rows: made with the first one, under a name of its own until it is whole.
struct Rejects {
    target: PathBuf,
    writer: Option<(PathBuf, RejectWriter<BufWriter<File>>)>,
    chinese: bool,
}

impl Rejects {
    fn write(&mut self, reject: &tradewind_ingest::Reject) -> Result<()> {
        let target = &self.target;
        let (_, writer) = match &mut self.writer {
            Some(open) => open,
            empty => {
                if let Some(folder) = target.parent().filter(|f| !f.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
                }
                let mut name = target.clone().into_os_string();
                name.push(".part");
                let part = PathBuf::from(name);
                let file = File::create(&part).map_err(|e| Error::file(&part, e))?;
                empty.insert((part, RejectWriter::new(BufWriter::new(file))))
            }
        };
        writer.write(reject, self.chinese).map_err(|e| Error::file(target, e))
    }

    fn finish(self) -> Result<(u64, Option<PathBuf>)> {
        let Some((part, writer)) = self.writer else { return Ok((0, None)) };
        let rows = writer.rows();
        let done = writer
            .finish()
            .and_then(|w| w.into_inner().map_err(std::io::IntoInnerError::into_error))
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&part, &self.target));
        done.map_err(|e| Error::file(&self.target, e))?;
        Ok((rows, Some(self.target)))
    }
}
