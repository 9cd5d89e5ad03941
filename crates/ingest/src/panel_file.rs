//! A file of `unique_id, ds, y` as a panel, without a shop.

use crate::cells::{Marks, Styles, numbers, texts, times};
use crate::date::{DateOrder, DateStyle};
use crate::error::{IngestError, Result};
use crate::input::Input;
use crate::mapping::{ColumnMapping, folded};
use crate::open_source;
use crate::series_rows::{Grid, NO_ROW, Rows, Stamps};
use crate::source::{RawBatch, ReadSettings};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use std::collections::HashMap;
use std::path::Path;
use tradewind_core::freq::{DAY, Unit, date, stamp};
use tradewind_core::{Covariate, Freq, Panel, Run, Stamp, StaticColumn, StaticValues};

/// Names under which the column of series names is looked for.
const ID_NAMES: &[&str] =
    &["unique_id", "item_id", "id", "series_id", "series", "product_id", "sku", "商品ID", "商品编号"];
/// Names under which the column of dates is looked for.
const DS_NAMES: &[&str] = &["ds", "t", "date", "timestamp", "time", "datetime", "日期", "更新日期"];
/// Names under which the column of values is looked for.
const Y_NAMES: &[&str] = &["y", "value", "target", "sales", "demand", "quantity", "qty", "销量", "数量"];

/// Series that are looked at to find the frequency.
const FREQ_SERIES: usize = 1_000;
/// Counted steps beyond this are no counts.
const STEP_MAX: i64 = 1_000_000_000_000;
/// Steps that gaps may add beside those that have a row.
const GAP_STEPS_MAX: usize = 30_000_000;

/// How a panel file is read.
#[derive(Clone, Debug, Default)]
pub struct PanelOptions {
    /// The column of series names; `unique_id`, `item_id`, `id`, … when empty. A file without one is one series.
    pub id: Option<String>,
    /// The column of dates or counted steps; `ds`, `t`, `date`, `timestamp`, … when empty.
    pub ds: Option<String>,
    /// The column of values; `y`, `value`, `target`, `sales`, `demand`, … when empty.
    pub y: Option<String>,
    /// Day or month first, where the dates do not tell.
    pub date_order: Option<DateOrder>,
    /// How to read the file.
    pub settings: ReadSettings,
}

/// Reads a file with a row a series and date. Any format of [`crate::CATALOG`] will do.
///
/// Beside the three columns, numeric ones become covariates (with values in rows after the last observation, whose `y`
/// is empty, they are known ahead), and texts that are the same in all rows of a series become static columns; other
/// texts are left out. Whole numbers in the date column count steps, unless all of them are dates such as 20240131.
/// The frequency is found from the dates when `freq` is empty. Missing dates become NaN; rows before the first and after the last observation of `y` add none.
///
/// # Errors
/// A missing column, a value that is no number or date (with its line), a date off the grid or given twice, a frequency
/// that cannot be found.
///
/// ```
/// use tradewind_core::{Freq, Run};
/// use tradewind_ingest::{Input, PanelOptions, read_panel_input};
/// let csv = "unique_id,ds,y,price,brand\n茶,2024-01-01,3,9.5,信风\n茶,2024-01-02,,9.5,信风\n茶,2024-01-03,5,9,信风\n茶,2024-01-04,,8.5,信风\n";
/// let panel = read_panel_input(&Run::new(0), &Input::bytes("p.csv", csv), None, &PanelOptions::default()).unwrap();
/// assert_eq!((panel.freq(), panel.series(0).y.len()), (Freq::DAILY, 3));
/// assert_eq!(panel.covariates()[0].of(0), [9.5, 9.5, 9.0, 8.5]);
/// assert_eq!(panel.static_text("brand", 0), Some("信风"));
/// ```
pub fn read_panel(run: &Run, path: &Path, freq: Option<Freq>, options: &PanelOptions) -> Result<Panel> {
    read_panel_input(run, &Input::File(path.to_owned()), freq, options)
}

/// As [`read_panel`], from an input that need not be a file.
///
/// # Errors
/// As [`read_panel`].
pub fn read_panel_input(
    run: &Run,
    input: &Input,
    freq: Option<Freq>,
    options: &PanelOptions,
) -> Result<Panel> {
    let mut source = open_source(input, &options.settings)?;
    let columns = source.columns().to_vec();
    let find = |given: &Option<String>, names: &[&str], what| {
        let folds: Vec<String> = columns.iter().map(|c| folded(c)).collect();
        let at = match given {
            Some(name) => folds.iter().position(|f| *f == folded(name)),
            None => names.iter().find_map(|n| folds.iter().position(|f| *f == folded(n))),
        };
        at.ok_or_else(|| IngestError::NoColumn {
            file: input.name(),
            what,
            looked_for: given.clone().unwrap_or_else(|| names.join(", ")),
            columns: columns.iter().take(40).cloned().collect::<Vec<_>>().join(", "),
        })
    };
    let ds = find(&options.ds, DS_NAMES, "dates")?;
    let y = find(&options.y, Y_NAMES, "values")?;
    let id = match find(&options.id, ID_NAMES, "series names") {
        Ok(id) => Some(id),
        Err(e) if options.id.is_some() => return Err(e),
        Err(_) => None,
    };
    let mut table = Table {
        file: input.name(),
        extras: (0..columns.len())
            .filter(|c| *c != ds && *c != y && Some(*c) != id)
            .map(|c| Extra { name: columns[c].clone(), column: c, kind: Kind::Unknown })
            .collect(),
        columns,
        id,
        ds,
        y,
        date_order: options.date_order,
        counted: None,
        freq,
        styles: Styles::default(),
        ids: HashMap::new(),
        names: vec![],
        series: vec![],
        n_rows: 0,
        piece_ids: vec![],
        piece_rows: vec![],
    };
    run.progress().begin("read", 0);
    let read = loop {
        run.check()?;
        match source.next_batch() {
            Ok(Some(batch)) => {
                run.progress().advance(batch.n_rows() as u64);
                if let Err(e) = table.add(&batch) {
                    break Err(e);
                }
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    run.progress().end();
    read?;
    table.panel()
}

struct Extra {
    name: String,
    column: usize,
    kind: Kind,
}

enum Kind {
    /// No value yet.
    Unknown,
    /// A number a row, kept with each series.
    Number,
    /// A text a series.
    Text(Vec<Option<String>>),
    /// Neither; left out.
    Dropped,
}

struct Table {
    file: String,
    columns: Vec<String>,
    extras: Vec<Extra>,
    id: Option<usize>,
    ds: usize,
    y: usize,
    date_order: Option<DateOrder>,
    /// Whether `ds` counts steps; settled by the first piece.
    counted: Option<bool>,
    freq: Option<Freq>,
    styles: Styles,
    ids: HashMap<String, u32>,
    names: Vec<String>,
    series: Vec<Rows>,
    n_rows: usize,
    /// The series of each row of the piece at hand.
    piece_ids: Vec<u32>,
    /// Which row of its series each row of the piece is; only where there are further columns.
    piece_rows: Vec<u32>,
}

impl Table {
    fn wrong(&self, batch: &RawBatch, row: usize, column: usize, reason: &str) -> IngestError {
        let value = batch
            .columns
            .get(column)
            .and_then(Option::as_ref)
            .map(|a| texts(&a.slice(row.min(a.len()), 1.min(a.len() - row.min(a.len())))));
        IngestError::Value {
            file: self.file.clone(),
            line: batch.lines.get(row).copied().unwrap_or(0),
            column: self.columns.get(column).cloned().unwrap_or_default(),
            value: value
                .filter(|v| !v.is_empty() && v.is_valid(0))
                .map_or_else(String::new, |v| v.value(0).chars().take(200).collect()),
            reason: reason.to_owned(),
        }
    }

    fn add(&mut self, batch: &RawBatch) -> Result<()> {
        if let Some(fault) = batch.faults.first() {
            return Err(IngestError::Value {
                file: self.file.clone(),
                line: fault.line,
                column: fault.column.clone(),
                value: String::new(),
                reason: fault.reason.en().to_owned(),
            });
        }
        let n = batch.n_rows();
        if n == 0 {
            return Ok(());
        }
        if self.n_rows.saturating_add(n) > u32::MAX as usize {
            return Err(IngestError::TooLarge {
                file: self.file.clone(),
                what: "its number of rows".into(),
                limit: u32::MAX.to_string(),
            });
        }
        let column = |c: usize| -> ArrayRef {
            match batch.columns.get(c) {
                Some(Some(array)) => array.clone(),
                _ => arrow::array::new_null_array(&DataType::Utf8, n),
            }
        };
        self.add_ids(batch, self.id.map(column))?;
        let stamps = self.stamps(batch, &column(self.ds))?;
        let how = ColumnMapping::default();
        let mut marks = Marks::new(n);
        let y = numbers(&column(self.y), self.y, &how, &mut self.styles, &mut marks).values;
        if let Some(row) = (0..n).find(|r| marks.is_bad(*r)) {
            return Err(self.wrong(batch, row, self.y, "is not a number"));
        }
        self.n_rows += n;
        self.piece_rows.clear();
        for ((id, ds), value) in self.piece_ids.iter().zip(stamps.values()).zip(y.iter()) {
            let rows = &mut self.series[*id as usize];
            if !self.extras.is_empty() {
                self.piece_rows.push(u32::try_from(rows.values.len()).unwrap_or(u32::MAX));
            }
            rows.stamps.push(*ds);
            rows.values.push(value.unwrap_or(f64::NAN));
        }
        let mut extras = std::mem::take(&mut self.extras);
        for (k, extra) in extras.iter_mut().enumerate() {
            self.add_extra(extra, k, &column(extra.column));
        }
        self.extras = extras;
        Ok(())
    }

    fn add_ids(&mut self, batch: &RawBatch, array: Option<ArrayRef>) -> Result<()> {
        let n = batch.n_rows();
        self.piece_ids.clear();
        let Some(array) = array else {
            if self.names.is_empty() {
                self.names.push("series".into());
                self.series.push(Rows::default());
            }
            self.piece_ids.resize(n, 0);
            return Ok(());
        };
        let text = texts(&array);
        let mut last: Option<(&str, u32)> = None;
        for row in 0..n {
            if text.is_null(row) {
                return Err(self.wrong(batch, row, self.id.unwrap_or(0), "the series has no name"));
            }
            let name = text.value(row);
            let id = match last {
                Some((same, id)) if same == name => id,
                _ => match self.ids.get(name) {
                    Some(id) => *id,
                    None => {
                        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                        self.ids.insert(name.to_owned(), id);
                        self.names.push(name.to_owned());
                        self.series.push(Rows::default());
                        id
                    }
                },
            };
            last = Some((name, id));
            self.piece_ids.push(id);
        }
        Ok(())
    }

    fn stamps(&mut self, batch: &RawBatch, array: &ArrayRef) -> Result<Int64Array> {
        let counted = *self.counted.get_or_insert_with(|| counts_steps(array, self.freq));
        let n = batch.n_rows();
        let bad = |table: &Self, row| {
            Err(table.wrong(
                batch,
                row,
                table.ds,
                if counted {
                    "is not a whole number that counts steps"
                } else {
                    "is not a date in the column's format"
                },
            ))
        };
        let stamps = if counted {
            whole_numbers(array)
        } else {
            let how = ColumnMapping { date_order: self.date_order, ..ColumnMapping::default() };
            let mut marks = Marks::new(n);
            let ms = times(array, self.ds, &how, &mut self.styles, None, &mut marks).map_err(|a| {
                IngestError::AmbiguousDates {
                    file: self.file.clone(),
                    column: self.columns[self.ds].clone(),
                    example: a.example,
                }
            })?;
            if let Some(row) = (0..n).find(|r| marks.is_bad(*r)) {
                return bad(self, row);
            }
            ms.unary(|v: i64| v.div_euclid(1000))
        };
        if stamps.null_count() > 0
            && let Some(row) = (0..n).find(|r| stamps.is_null(*r))
        {
            return bad(self, row);
        }
        if counted && let Some(row) = (0..n).find(|r| !(-STEP_MAX..=STEP_MAX).contains(&stamps.value(*r))) {
            return bad(self, row);
        }
        Ok(stamps)
    }

    /// Takes in column `k` of the further ones.
    fn add_extra(&mut self, extra: &mut Extra, k: usize, array: &ArrayRef) {
        let n = array.len();
        if matches!(extra.kind, Kind::Dropped) || array.null_count() == n {
            return;
        }
        let is_text = matches!(
            array.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
        );
        let is_number = array.data_type().is_numeric() || *array.data_type() == DataType::Boolean;
        if !is_text && !is_number {
            extra.kind = Kind::Dropped;
            return;
        }
        let mut how = ColumnMapping::default();
        if is_text {
            for (word, value) in
                [("true", "1"), ("false", "0"), ("True", "1"), ("False", "0"), ("TRUE", "1"), ("FALSE", "0")]
            {
                how.words.insert(word.into(), value.into());
            }
        }
        let mut marks = Marks::new(n);
        let as_numbers = match extra.kind {
            Kind::Text(_) => None,
            _ => Some(numbers(array, extra.column, &how, &mut self.styles, &mut marks).values)
                .filter(|_| !marks.any()),
        };
        match (&mut extra.kind, as_numbers) {
            (Kind::Unknown | Kind::Number, Some(values)) => {
                extra.kind = Kind::Number;
                for ((id, row), value) in self.piece_ids.iter().zip(&self.piece_rows).zip(values.iter()) {
                    let Some(value) = value else { continue };
                    let columns = &mut self.series[*id as usize].extras;
                    if columns.len() <= k {
                        columns.resize_with(k + 1, Vec::new);
                    }
                    columns[k].resize(*row as usize, f64::NAN);
                    columns[k].push(value);
                }
            }
            (Kind::Number, None) => {
                extra.kind = Kind::Dropped;
                for rows in &mut self.series {
                    if let Some(values) = rows.extras.get_mut(k) {
                        *values = vec![];
                    }
                }
            }
            (Kind::Unknown, None) => {
                extra.kind = Kind::Text(vec![]);
                self.add_text(extra, array);
            }
            (Kind::Text(_), _) => self.add_text(extra, array),
            (Kind::Dropped, _) => {}
        }
    }

    fn add_text(&self, extra: &mut Extra, array: &ArrayRef) {
        let Kind::Text(of_series) = &mut extra.kind else { return };
        of_series.resize(self.names.len(), None);
        let text = texts(array);
        for (id, value) in self.piece_ids.iter().zip(text.iter()) {
            let Some(value) = value else { continue };
            let slot = &mut of_series[*id as usize];
            match slot {
                None => *slot = Some(value.to_owned()),
                Some(known) if known == value => {}
                Some(_) => {
                    extra.kind = Kind::Dropped;
                    return;
                }
            }
        }
    }

    fn fault(&self, source: tradewind_core::Error) -> IngestError {
        IngestError::Core { file: self.file.clone(), source }
    }

    /// The panel of all rows.
    fn panel(mut self) -> Result<Panel> {
        self.ids = HashMap::new();
        let freq = self.settle_freq()?;
        let n_series = self.names.len();
        let mut order: Vec<usize> = (0..n_series).collect();
        order.sort_by(|a, b| self.names[*a].cmp(&self.names[*b]));

        let mut series = Vec::with_capacity(n_series);
        // For each kept series: its number, how many steps are observed, and the row of each step.
        let mut kept: Vec<(usize, usize, Grid)> = Vec::with_capacity(n_series);
        let mut gaps = 0_usize;
        for i in order {
            let values = std::mem::take(&mut self.series[i].values);
            let Some((start, grid, n_observed)) = self.grid(i, &values, freq, &mut gaps)? else { continue };
            self.series[i].stamps = Stamps::default();
            let y = match &grid {
                Grid::From(0, n) if n_observed == *n => values,
                _ => (0..n_observed).map(|k| grid.value(k, &values)).collect(),
            };
            series.push((std::mem::take(&mut self.names[i]), start, y));
            kept.push((i, n_observed, grid));
        }
        let mut panel = Panel::from_series(freq, series).map_err(|e| self.fault(e))?;
        for (e, extra) in std::mem::take(&mut self.extras).into_iter().enumerate() {
            panel = match extra.kind {
                Kind::Number => {
                    let known_ahead = kept.iter().any(|(i, n, grid)| {
                        let values = self.series[*i].extras.get(e).map_or(&[][..], Vec::as_slice);
                        (*n..grid.len()).any(|k| !grid.value(k, values).is_nan())
                    });
                    let mut column =
                        Covariate { name: extra.name, known_ahead, offsets: vec![0], values: vec![] };
                    for (i, n, grid) in &kept {
                        let values = self.series[*i].extras.get_mut(e).map_or_else(Vec::new, std::mem::take);
                        let end = match known_ahead {
                            true => (*n..grid.len())
                                .rfind(|k| !grid.value(*k, &values).is_nan())
                                .map_or(*n, |last| last + 1),
                            false => *n,
                        };
                        column.values.extend((0..end).map(|k| grid.value(k, &values)));
                        column.offsets.push(column.values.len());
                    }
                    panel.with_covariate(column).map_err(|e| self.fault(e))?
                }
                Kind::Text(of_series) => {
                    let values = kept.iter().map(|(i, ..)| of_series.get(*i).cloned().flatten()).collect();
                    panel
                        .with_static(StaticColumn { name: extra.name, values: StaticValues::Text(values) })
                        .map_err(|e| self.fault(e))?
                }
                Kind::Unknown | Kind::Dropped => panel,
            };
        }
        Ok(panel)
    }

    /// The first stamp of series `i`, its grid, and how many of its steps reach to the last observation; `None` for a
    /// series without one. `gaps` counts steps without a row over all series.
    fn grid(
        &self,
        i: usize,
        values: &[f64],
        freq: Freq,
        gaps: &mut usize,
    ) -> Result<Option<(Stamp, Grid, usize)>> {
        let stamps = &self.series[i].stamps;
        let even = !matches!(freq.unit, Unit::Month | Unit::MonthEnd);
        if even && stamps.are_apart_by(freq.add(0, 1)) {
            let observed = |v: &f64| !v.is_nan();
            let (Some(first), Some(last)) =
                (values.iter().position(observed), values.iter().rposition(observed))
            else {
                return Ok(None);
            };
            return Ok(Some((stamps.at(first), Grid::From(first, values.len() - first), last + 1 - first)));
        }
        let mut own: Vec<u32> = (0..values.len()).map(|r| u32::try_from(r).unwrap_or(u32::MAX)).collect();
        if !stamps.are_sorted() {
            own.sort_by_key(|r| stamps.at(*r as usize));
        }
        let observed = |r: &u32| !values[*r as usize].is_nan();
        let Some(first) = own.iter().position(observed) else { return Ok(None) };
        let own = &own[first..];
        let last = own.iter().rposition(observed).unwrap_or(0);
        let start = stamps.at(own[0] as usize);
        let mut grid: Vec<u32> = Vec::with_capacity(own.len());
        let mut n_observed = 0;
        for (at, &row) in own.iter().enumerate() {
            let ds = stamps.at(row as usize);
            let told = |what: &str| {
                self.fault(tradewind_core::Error::Invalid(format!(
                    "series `{}`: {} {what}",
                    self.names[i],
                    freq.format(ds)
                )))
            };
            let k = freq.steps(start, ds).and_then(|k| usize::try_from(k).ok()).ok_or_else(|| {
                told(&format!(
                    "is not on the {freq} grid that starts at {}; choose another --freq or mend the date",
                    freq.format(start)
                ))
            })?;
            if k < grid.len() {
                return Err(told("is given twice; sum or drop the duplicates"));
            }
            *gaps = gaps.saturating_add(k - grid.len());
            if *gaps > GAP_STEPS_MAX {
                return Err(told(
                    "lies far from the dates before it: the gaps would fill more than 30 million steps; is the date right?",
                ));
            }
            grid.resize(k, NO_ROW);
            grid.push(row);
            if at == last {
                n_observed = grid.len();
            }
        }
        Ok(Some((start, Grid::Listed(grid), n_observed)))
    }

    /// The frequency given, or the one most series have; mended where only start or end of the month differ.
    fn settle_freq(&self) -> Result<Freq> {
        let invalid = |text: String| Err(self.fault(tradewind_core::Error::Invalid(text)));
        if self.counted == Some(true) {
            return match self.freq {
                Some(freq) if freq.is_dated() => invalid(format!(
                    "column `{}` counts steps and has no dates, so --freq {freq} does not fit; use --freq 1",
                    self.columns[self.ds]
                )),
                freq => Ok(freq.unwrap_or(Freq::STEP)),
            };
        }
        let freq = match self.freq {
            Some(freq) if !freq.is_dated() => {
                return invalid(format!(
                    "column `{}` has dates, so --freq {freq} does not fit; use D, W, MS or another unit of time",
                    self.columns[self.ds]
                ));
            }
            Some(freq) => freq,
            None => {
                let mut seen: Vec<(Freq, usize)> = Vec::new();
                for rows in self.series.iter().take(FREQ_SERIES) {
                    let mut stamps: Vec<Stamp> = rows.stamps.iter().collect();
                    stamps.sort_unstable();
                    stamps.dedup();
                    if let Some(freq) = Freq::infer(&stamps) {
                        match seen.iter_mut().find(|s| s.0 == freq) {
                            Some(known) => known.1 += 1,
                            None => seen.push((freq, 1)),
                        }
                    }
                }
                let length = |f: Freq| f.add(0, 1);
                let best = seen.iter().max_by(|a, b| a.1.cmp(&b.1).then(length(b.0).cmp(&length(a.0))));
                match best {
                    Some((freq, _)) => *freq,
                    None if self.n_rows == 0 => Freq::DAILY,
                    None => {
                        return invalid(
                            "no series has two dates, so the frequency cannot be found; give it with --freq"
                                .into(),
                        );
                    }
                }
            }
        };
        let is_end = |s: Stamp| {
            s.rem_euclid(DAY) == 0 && date(s + DAY) != date(s) && stamp(date(s)) == s && {
                use chrono::Datelike;
                date(s + DAY).day() == 1
            }
        };
        let all_ends = || self.series.iter().all(|rows| rows.stamps.iter().all(is_end));
        Ok(match freq.unit {
            Unit::MonthEnd if !all_ends() => Freq { unit: Unit::Month, ..freq },
            Unit::Month if self.n_rows > 0 && all_ends() => Freq { unit: Unit::MonthEnd, ..freq },
            _ => freq,
        })
    }
}

/// Whether a date column counts steps: whole numbers that are not all dates such as 20240131.
fn counts_steps(array: &ArrayRef, freq: Option<Freq>) -> bool {
    if matches!(array.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
        return false;
    }
    let text = texts(&array.slice(0, array.len().min(4096)));
    let mut seen = 0;
    let (mut whole, mut compact, mut moments) = (true, true, true);
    for t in text.iter().flatten() {
        seen += 1;
        let t = t.strip_suffix(".0").unwrap_or(t);
        whole &= t.parse::<i64>().is_ok();
        compact &= DateStyle::Compact.parse(t).is_some();
        moments &= DateStyle::Seconds.parse(t).or_else(|| DateStyle::Millis.parse(t)).is_some();
    }
    match freq {
        _ if seen == 0 || !whole => false,
        Some(f) if !f.is_dated() => true,
        _ => !compact && !moments,
    }
}

/// A column of whole numbers; null where it is none.
fn whole_numbers(array: &ArrayRef) -> Int64Array {
    if array.data_type().is_integer()
        && let Ok(a) = cast(array, &DataType::Int64)
    {
        return a.as_primitive::<Int64Type>().clone();
    }
    texts(array)
        .iter()
        .map(|t| t.and_then(|t| t.strip_suffix(".0").unwrap_or(t).parse::<i64>().ok()))
        .collect()
}
