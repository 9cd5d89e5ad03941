//! Sources in, canonical rows out, every line accounted for.

use crate::bind::{Rule, bind};
use crate::cells::{Marks, Styles, order_in, texts};
use crate::convert::{Converted, Lookups, Rows, convert, lookup_key};
use crate::date::DateOrder;
use crate::error::{IngestError, Result};
use crate::gather::{Increases, OncePerKey};
use crate::input::{Fingerprint, Input, collect};
use crate::mapping::{Lookup, Mapping, folded};
use crate::open_source;
use crate::rejects::{ReasonCount, Reject, RejectLimit};
use crate::source::{BATCH_ROWS_MAX, RawBatch, ReadSettings, Reason, Source};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::{concat, filter_record_batch};
use arrow::record_batch::RecordBatch;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tradewind_core::tables::{TABLES, TableSpec};
use tradewind_core::{Fault, Run};

/// Takes rows of a canonical table. An error stops the import and is handed on.
pub type Sink<'a> = dyn FnMut(&'static TableSpec, RecordBatch) -> Result<(), Box<dyn Fault>> + 'a;
/// Takes rejected rows as they are met.
pub type RejectSink<'a> = dyn FnMut(&Reject) -> Result<(), Box<dyn Fault>> + 'a;

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// How to read the files.
    pub settings: ReadSettings,
    /// Day or month first, where neither file nor mapping tells.
    pub date_order: Option<DateOrder>,
    /// How many rows may be rejected; any number when empty.
    pub max_rejects: Option<RejectLimit>,
}

/// What became of one file. `lines` is always `used + rejected + unused`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileSummary {
    /// The file.
    pub file: String,
    /// How it was read, in a few words.
    pub format: String,
    /// Rows read, without the header and blank lines.
    pub lines: u64,
    /// Rows that gave at least one row of a table.
    pub used: u64,
    /// Of those used, the ones that are returns.
    pub returned: u64,
    /// Of those used, the ones that are cancellations.
    pub cancelled: u64,
    /// Rows that gave none because something was wrong with them.
    pub rejected: u64,
    /// Rows that concern no table of the mapping (a promotion without display and mailer).
    pub unused: u64,
    /// Rows given a table, in the tables' order.
    pub tables: BTreeMap<String, u64>,
    /// Why rows were rejected, most often first.
    pub reasons: Vec<ReasonCount>,
    /// Things the user should know.
    pub notes: Vec<String>,
    /// Whether the file fits no table of the mapping and was left alone.
    pub skipped: bool,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImportSummary {
    /// File by file, in the order they were read.
    pub files: Vec<FileSummary>,
    /// Rows handed on, by table.
    pub tables: BTreeMap<String, u64>,
    /// Rows read in all files.
    pub lines: u64,
    /// Rows that gave at least one row of a table.
    pub used: u64,
    /// Rows that gave none because something was wrong with them.
    pub rejected: u64,
    /// Rows that concern no table.
    pub unused: u64,
}

/// What makes an import the same as an earlier one: the bytes and the way they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Identity {
    /// The bytes.
    pub fingerprint: Fingerprint,
    /// The mapping's name.
    pub mapping: String,
    /// The mapping's version.
    pub mapping_version: u32,
    /// The mapping's content.
    pub mapping_hash: String,
}

impl Identity {
    /// One word for all of it.
    pub fn key(&self) -> String {
        format!("{}:{}@{}:{}", self.fingerprint.blake3, self.mapping, self.mapping_version, self.mapping_hash)
    }
}

/// The identity of importing `path` by `mapping`. Reads the file once.
///
/// # Errors
/// When the file cannot be read.
pub fn identity(path: &Path, mapping: &Mapping) -> Result<Identity> {
    Ok(Identity {
        fingerprint: crate::fingerprint(path)?,
        mapping: mapping.name.clone(),
        mapping_version: mapping.version,
        mapping_hash: mapping.hash(),
    })
}

/// Reads files and folders by a mapping and hands rows of canonical tables to `sink`, piece by piece in the order of
/// the sources. Rejected rows go to `rejects`. Memory stays bounded by a few pieces of at most 65,536 rows.
///
/// In a folder (or of several files), files that fit no table are left alone and named in the summary; a single file
/// that fits none is an error.
///
/// # Errors
/// When a file cannot be read, the mapping does not fit, dates are ambiguous, too many rows are rejected, the run is
/// cancelled, or a sink fails. What was handed on before stays with the sink, which should write whole or not at all.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_ingest::{ImportOptions, Input, preset, read_inputs};
/// let csv = "unique_id,ds,y\ntea,2024-01-01,3\ntea,2024-01-02,many\n";
/// let mut rows = 0;
/// let mut rejected = vec![];
/// let summary = read_inputs(
///     &Run::new(0),
///     &[Input::bytes("sales.csv", csv)],
///     &preset("plain").unwrap().mapping,
///     &ImportOptions::default(),
///     &mut |table, batch| { assert_eq!(table.name, "sales"); rows += batch.num_rows(); Ok(()) },
///     &mut |reject| { rejected.push((reject.line, reject.value.clone())); Ok(()) },
/// ).unwrap();
/// assert_eq!((rows, rejected), (1, vec![(3, "many".to_owned())]));
/// assert_eq!((summary.lines, summary.used, summary.rejected), (2, 1, 1));
/// ```
pub fn read(
    run: &Run,
    sources: &[PathBuf],
    mapping: &Mapping,
    options: &ImportOptions,
    sink: &mut Sink<'_>,
    rejects: &mut RejectSink<'_>,
) -> Result<ImportSummary> {
    read_inputs(run, &collect(sources)?, mapping, options, sink, rejects)
}

/// As [`read`], from inputs that need not be files.
///
/// # Errors
/// As [`read`].
pub fn read_inputs(
    run: &Run,
    inputs: &[Input],
    mapping: &Mapping,
    options: &ImportOptions,
    sink: &mut Sink<'_>,
    rejects: &mut RejectSink<'_>,
) -> Result<ImportSummary> {
    let mut import = Import {
        run,
        inputs,
        mapping,
        options,
        sink,
        rejects,
        once: BTreeMap::new(),
        increases: BTreeMap::new(),
        summary: ImportSummary::default(),
    };
    run.progress().begin("import", 0);
    let done = inputs.iter().try_for_each(|input| import.file(input)).and_then(|()| import.finish());
    run.progress().end();
    done?;
    Ok(import.summary)
}

struct Import<'a, 'b> {
    run: &'a Run,
    inputs: &'a [Input],
    mapping: &'a Mapping,
    options: &'a ImportOptions,
    sink: &'a mut Sink<'b>,
    rejects: &'a mut RejectSink<'b>,
    once: BTreeMap<&'static str, OncePerKey>,
    increases: BTreeMap<(&'static str, String), Increases>,
    summary: ImportSummary,
}

/// One file on its way.
struct Current<'a> {
    input: &'a Input,
    columns: Vec<String>,
    rules: Vec<Rule>,
    personal: Vec<bool>,
    lookups: Lookups,
    orders: HashMap<usize, DateOrder>,
    styles: Styles,
    summary: FileSummary,
    reasons: BTreeMap<(String, Reason), u64>,
}

/// What became of one line so far.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Unused,
    Rejected,
    Used,
}

impl Import<'_, '_> {
    fn file(&mut self, input: &Input) -> Result<()> {
        self.run.check()?;
        let name = input.name();
        let opened = open_source(input, &self.options.settings)
            .and_then(|s| bind(self.mapping, s.columns(), &name).map(|rules| (s, rules)));
        let (mut source, rules) = match opened {
            Ok(opened) => opened,
            Err(e @ (IngestError::NoTable { .. } | IngestError::UnknownFormat { .. }))
                if self.inputs.len() > 1 =>
            {
                self.summary.files.push(FileSummary {
                    file: name,
                    skipped: true,
                    notes: vec![e.to_string()],
                    ..FileSummary::default()
                });
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let columns = source.columns().to_vec();
        let mut wanted = vec![false; columns.len()];
        let mut personal = vec![false; columns.len()];
        for rule in &rules {
            wanted.iter_mut().zip(rule.uses(columns.len())).for_each(|(w, u)| *w |= u);
            for c in rule.columns.iter().filter(|c| c.spec.unit == "personal").flat_map(|c| c.value.columns())
            {
                if let Some(mark) = personal.get_mut(c) {
                    *mark = true;
                }
            }
        }
        source.select(&wanted);
        let lookups = self.lookups(input, &rules)?;
        let mut current = Current {
            input,
            columns,
            rules,
            personal,
            lookups,
            orders: HashMap::new(),
            styles: Styles::default(),
            summary: FileSummary { file: name, ..FileSummary::default() },
            reasons: BTreeMap::new(),
        };
        let source = self.pump(source, &mut current)?;
        let Current { mut summary, reasons, .. } = current;
        summary.format = source.describe();
        summary.notes.extend(source.notes());
        summary.reasons = ReasonCount::sorted(reasons);
        self.summary.files.push(summary);
        if self.summary.files.len() == self.inputs.len() { self.check_limit(true) } else { Ok(()) }
    }

    /// Reads in a thread of its own, two pieces ahead, while this one converts.
    fn pump(&mut self, mut source: Box<dyn Source>, current: &mut Current<'_>) -> Result<Box<dyn Source>> {
        if self.run.threads == 1 {
            while let Some(batch) = source.next_batch()? {
                self.batch(current, batch)?;
            }
            return Ok(source);
        }
        let file = current.input.name();
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(2);
            let reader = std::thread::Builder::new()
                .name("import-reader".into())
                .spawn_scoped(scope, move || {
                    loop {
                        let next = source.next_batch();
                        let last = !matches!(next, Ok(Some(_)));
                        if sender.send(next).is_err() || last {
                            return source;
                        }
                    }
                })
                .map_err(|source| IngestError::Read { file: file.clone(), source })?;
            let mut outcome = Ok(());
            for next in receiver {
                outcome = match next {
                    Ok(Some(batch)) => self.batch(current, batch),
                    Ok(None) => break,
                    Err(e) => Err(e),
                };
                if outcome.is_err() {
                    break;
                }
            }
            let source = reader
                .join()
                .map_err(|_| IngestError::Damaged { file, why: "its reader gave up on it".into() });
            outcome.and(source)
        })
    }

    fn batch(&mut self, current: &mut Current<'_>, batch: RawBatch) -> Result<()> {
        self.run.check()?;
        let n = batch.n_rows();
        let mut fates = vec![Fate::Unused; n];
        let mut lost = 0;
        let place = match &batch.part {
            Some(part) => format!("{}#{part}", current.summary.file),
            None => current.summary.file.clone(),
        };
        for fault in batch.faults.iter().filter(|f| f.row.is_none()) {
            lost += 1;
            *current.reasons.entry((String::new(), fault.reason.clone())).or_default() += 1;
            (self.rejects)(&Reject {
                file: place.clone(),
                line: fault.line,
                table: String::new(),
                column: String::new(),
                value: String::new(),
                reason: fault.reason.clone(),
            })
            .map_err(IngestError::Sink)?;
        }
        for at in 0..current.rules.len() {
            let rule = current.rules[at].clone();
            if rule.melt.is_empty() {
                let rows = Rows { columns: &batch.columns, n };
                self.apply(current, &rule, &rows, &batch, &place, &mut fates)?;
                continue;
            }
            // Melted in blocks of columns, so that a wide piece does not grow by the number of its columns at once.
            let block = (BATCH_ROWS_MAX / n.max(1)).max(1);
            for melted in rule.melt.chunks(block) {
                let columns = melt(&rule, &batch, melted, &current.columns);
                let rows = Rows { columns: &columns, n: n * melted.len() };
                self.apply(current, &rule, &rows, &batch, &place, &mut fates)?;
            }
        }
        let count = |fate| fates.iter().filter(|f| **f == fate).count() as u64;
        let (used, rejected, unused) = (count(Fate::Used), count(Fate::Rejected) + lost, count(Fate::Unused));
        for (total, more) in [
            (&mut current.summary.lines, n as u64 + lost),
            (&mut current.summary.used, used),
            (&mut current.summary.rejected, rejected),
            (&mut current.summary.unused, unused),
            (&mut self.summary.lines, n as u64 + lost),
            (&mut self.summary.used, used),
            (&mut self.summary.rejected, rejected),
            (&mut self.summary.unused, unused),
        ] {
            *total += more;
        }
        self.run.progress().advance(n as u64 + lost);
        if rejected > 0 {
            current.summary.reasons = ReasonCount::sorted(current.reasons.clone());
            self.check_limit_with(false, &current.summary.reasons)?;
        }
        Ok(())
    }

    fn apply(
        &mut self,
        current: &mut Current<'_>,
        rule: &Rule,
        rows: &Rows<'_>,
        batch: &RawBatch,
        place: &str,
        fates: &mut [Fate],
    ) -> Result<()> {
        let n_source = batch.n_rows().max(1);
        let converted = loop {
            let mut broken = Marks::new(rows.n);
            for fault in &batch.faults {
                if let Some(row) = fault.row {
                    let column =
                        current.columns.iter().position(|c| *c == fault.column).unwrap_or(usize::MAX);
                    for r in (row..rows.n).step_by(n_source) {
                        broken.mark(r, column, &fault.reason);
                    }
                }
            }
            match convert(rule, rows, broken, &mut current.styles, &current.orders, &current.lookups) {
                Ok(converted) => break converted,
                Err(ambiguous) => {
                    // The hint is used only when the whole file does not tell.
                    let known = current.orders.contains_key(&ambiguous.column);
                    let order = if known { None } else { self.order_of(current, ambiguous.column)? };
                    match order {
                        Some(order) => current.orders.insert(ambiguous.column, order),
                        None => {
                            return Err(IngestError::AmbiguousDates {
                                file: current.summary.file.clone(),
                                column: label(current, rule, ambiguous.column),
                                example: ambiguous.example,
                            });
                        }
                    };
                }
            }
        };
        let Converted { batch: out, kept, skipped, marks } = converted;
        if !rule.aside {
            for row in 0..rows.n {
                let fate = &mut fates[row % n_source];
                if kept[row] {
                    *fate = Fate::Used;
                } else if !skipped[row] && *fate == Fate::Unused {
                    *fate = Fate::Rejected;
                }
            }
            if marks.any() {
                for row in (0..rows.n).filter(|r| !skipped[*r]) {
                    let Some((column, reason)) = marks.get(row) else { continue };
                    let name = label(current, rule, *column);
                    let personal = current.personal.get(*column).copied().unwrap_or(false);
                    let value = if personal { "***".to_owned() } else { rows.text(*column, row) };
                    *current.reasons.entry((name.clone(), reason.clone())).or_default() += 1;
                    (self.rejects)(&Reject {
                        file: place.to_owned(),
                        line: batch.lines.get(row % n_source).copied().unwrap_or(0),
                        table: rule.spec.name.to_owned(),
                        column: name,
                        value: value.chars().take(200).collect(),
                        reason: reason.clone(),
                    })
                    .map_err(IngestError::Sink)?;
                }
            }
        }
        // A rejected line gives nothing, not even by the way; rules by the way stand behind the others.
        let out = if rule.aside && fates.contains(&Fate::Rejected) {
            let mask: BooleanArray = (0..rows.n)
                .filter(|r| kept[*r])
                .map(|r| Some(fates[r % n_source] != Fate::Rejected))
                .collect();
            filter_record_batch(&out, &mask).expect("a filter as long as the rows kept")
        } else {
            out
        };
        if out.num_rows() == 0 {
            return Ok(());
        }
        if rule.spec.name == "sales"
            && let Some(status) = out.column_by_name("status").and_then(|s| s.as_string_opt::<i32>())
        {
            for s in status.iter().flatten() {
                current.summary.returned += u64::from(s == "returned");
                current.summary.cancelled += u64::from(s == "cancelled");
            }
        }
        if let Some(how) = &rule.increase {
            let key = (rule.spec.name, how.of.clone());
            self.increases.entry(key).or_insert_with(|| Increases::new(rule, how)).add(&out);
        } else if rule.once_per_key {
            self.once.entry(rule.spec.name).or_insert_with(|| OncePerKey::new(rule.spec)).add(&out);
        } else {
            *current.summary.tables.entry(rule.spec.name.to_owned()).or_default() += out.num_rows() as u64;
            self.hand_on(rule.spec, out)?;
        }
        Ok(())
    }

    fn hand_on(&mut self, spec: &'static TableSpec, batch: RecordBatch) -> Result<()> {
        *self.summary.tables.entry(spec.name.to_owned()).or_default() += batch.num_rows() as u64;
        (self.sink)(spec, batch).map_err(IngestError::Sink)
    }

    fn finish(&mut self) -> Result<()> {
        let mut notes = Vec::new();
        for spec in TABLES {
            if let Some(once) = self.once.remove(spec.name) {
                if once.overflow > 0 {
                    notes.push(format!(
                        "`{}`: {} readings beyond the limit were passed over",
                        spec.name, once.overflow
                    ));
                }
                for batch in once.finish() {
                    self.hand_on(spec, batch)?;
                }
            }
        }
        for ((table, _), increases) in std::mem::take(&mut self.increases) {
            if increases.overflow > 0 {
                notes.push(format!(
                    "`{table}`: {} readings beyond the limit were passed over",
                    increases.overflow
                ));
            }
            let Some(spec) = TableSpec::named(table) else { continue };
            for batch in increases.finish() {
                self.hand_on(spec, batch)?;
            }
        }
        if let Some(last) = self.summary.files.last_mut() {
            last.notes.extend(notes);
        }
        Ok(())
    }

    fn check_limit(&self, end: bool) -> Result<()> {
        let mut all: BTreeMap<(String, Reason), u64> = BTreeMap::new();
        for r in self.summary.files.iter().flat_map(|f| &f.reasons) {
            *all.entry((r.column.clone(), r.reason.clone())).or_default() += r.rows;
        }
        self.check_limit_with(end, &ReasonCount::sorted(all))
    }

    fn check_limit_with(&self, end: bool, reasons: &[ReasonCount]) -> Result<()> {
        let Some(limit) = self.options.max_rejects else { return Ok(()) };
        if !limit.is_exceeded(self.summary.rejected, self.summary.lines, end) {
            return Ok(());
        }
        Err(IngestError::TooManyRejects {
            rejected: self.summary.rejected,
            lines: self.summary.lines,
            limit: limit.to_string(),
            most: reasons.first().map_or_else(String::new, ReasonCount::to_string),
        })
    }

    /// Reads through the whole file until one date tells whether day or month comes first.
    fn order_of(&self, current: &Current<'_>, column: usize) -> Result<Option<DateOrder>> {
        if column < current.columns.len() {
            let mut source = open_source(current.input, &self.options.settings)?;
            let wanted: Vec<bool> = (0..current.columns.len()).map(|c| c == column).collect();
            source.select(&wanted);
            while let Some(batch) = source.next_batch()? {
                self.run.check()?;
                if let Some(Some(array)) = batch.columns.get(column)
                    && let Some(order) = order_in(array)
                {
                    return Ok(Some(order));
                }
            }
        }
        Ok(self.options.date_order)
    }

    fn lookups(&self, input: &Input, rules: &[Rule]) -> Result<Lookups> {
        let mut lookups = Lookups::new();
        for lookup in rules.iter().flat_map(Rule::lookups) {
            let key = lookup_key(lookup);
            if let std::collections::hash_map::Entry::Vacant(slot) = lookups.entry(key) {
                slot.insert(self.lookup(input, lookup)?);
            }
        }
        Ok(lookups)
    }

    fn lookup(&self, input: &Input, lookup: &Lookup) -> Result<HashMap<String, String>> {
        let wanted = lookup.file.to_lowercase();
        let mut found = self.inputs.iter().find(|i| i.stem() == wanted).cloned();
        let folder = match input {
            Input::File(path) => {
                Some(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
            }
            Input::Bytes { .. } => None,
        };
        if let (None, Some(folder)) = (&found, folder) {
            found = beside(folder, &wanted);
        }
        let Some(input) = found else {
            let path = folder.unwrap_or(Path::new("")).join(format!("{}.csv", lookup.file));
            return Err(IngestError::NotFound { path });
        };
        let mut source = open_source(&input, &self.options.settings)?;
        let find = |names: &crate::mapping::Names, what| {
            let folds: Vec<String> = source.columns().iter().map(|c| folded(c)).collect();
            names.0.iter().find_map(|n| folds.iter().position(|f| *f == folded(n))).ok_or_else(|| {
                IngestError::NoColumn {
                    file: input.name(),
                    what,
                    looked_for: names.0.join(", "),
                    columns: source.columns().join(", "),
                }
            })
        };
        let (key, value) =
            (find(&lookup.key, "the key of the lookup")?, find(&lookup.value, "the value of the lookup")?);
        let wanted: Vec<bool> = (0..source.columns().len()).map(|c| c == key || c == value).collect();
        source.select(&wanted);
        let mut table = HashMap::new();
        while let Some(batch) = source.next_batch()? {
            self.run.check()?;
            if let (Some(Some(k)), Some(Some(v))) = (batch.columns.get(key), batch.columns.get(value)) {
                for (k, v) in texts(k).iter().zip(texts(v).iter()) {
                    if let (Some(k), Some(v)) = (k, v)
                        && table.len() < LOOKUP_ROWS_MAX
                        && !table.contains_key(k)
                    {
                        table.insert(k.to_owned(), v.to_owned());
                    }
                }
            }
        }
        Ok(table)
    }
}

/// The most keys of a lookup.
const LOOKUP_ROWS_MAX: usize = 2_000_000;

/// The first file of that name in a folder, in the order of names.
fn beside(folder: &Path, stem: &str) -> Option<Input> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths.into_iter().filter(|p| p.is_file()).map(Input::File).find(|i| i.stem() == stem)
}

/// The name of what a mark is about: a column of the source, a pseudo-column, or the canonical column computed.
fn label(current: &Current<'_>, rule: &Rule, column: usize) -> String {
    let n = current.columns.len();
    match column {
        c if c < n => current.columns[c].clone(),
        c if c == n => "@name".into(),
        c if c == n + 1 => "@value".into(),
        c => {
            let position = (usize::MAX - c) % 64;
            rule.spec.columns.get(position).map_or_else(String::new, |c| c.name.to_owned())
        }
    }
}

/// The columns of a piece with some of them turned into rows: row `i` of melted column `j` is row `j × n + i`.
fn melt(rule: &Rule, batch: &RawBatch, melted: &[usize], names: &[String]) -> Vec<Option<ArrayRef>> {
    let n = batch.n_rows();
    let uses = rule.uses(names.len());
    let mut columns: Vec<Option<ArrayRef>> = (0..names.len())
        .map(|c| {
            let array = batch.columns.get(c)?.as_ref().filter(|_| uses[c] && !rule.melt.contains(&c))?;
            concat(&vec![array.as_ref(); melted.len()]).ok()
        })
        .collect();
    let mut name_of = Vec::with_capacity(n * melted.len());
    let mut values: Vec<ArrayRef> = Vec::with_capacity(melted.len());
    for &c in melted {
        let name = names.get(c).map_or("", String::as_str);
        name_of.extend(std::iter::repeat_n(name, n));
        values.push(match batch.columns.get(c) {
            Some(Some(array)) => array.clone(),
            _ => Arc::new(StringArray::new_null(n)),
        });
    }
    if values.windows(2).any(|w| w[0].data_type() != w[1].data_type()) {
        values = values.iter().map(|v| Arc::new(texts(v)) as ArrayRef).collect();
    }
    let refs: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    columns.push(Some(Arc::new(StringArray::from(name_of))));
    columns.push(concat(&refs).ok());
    columns
}
