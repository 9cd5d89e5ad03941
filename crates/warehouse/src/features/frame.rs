//! Training frames: labels with the features that were known at each label's time.

use super::as_of::AsOfPartition;
use super::definition::FeatureView;
use super::layout::time_field;
use super::source::{PlannedView, Rounding, column, entity_text, milliseconds, plan};
use crate::error::{Error, Result};
use crate::files;
use crate::store::Snapshot;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, ident};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The place of a label in its table.
const PLACE: &str = "__place";

/// Memory a sort sets aside for merging what it spilled. Many sorts run at once, so each gets little.
const MERGE_BYTES: usize = 2 << 20;

/// Things and times for which features are asked, with whatever columns go along, as the target.
///
/// There is a column for every column of the views' entities, of the same name, and one of time: a date or a timestamp
/// without zone. Order and repeats are kept.
#[derive(Clone, Debug)]
pub struct Labels {
    rows: LabelRows,
    schema: SchemaRef,
    time: String,
}

#[derive(Clone, Debug)]
enum LabelRows {
    Batches(Arc<Vec<RecordBatch>>),
    File(PathBuf),
}

impl Labels {
    /// Labels in memory; `time` names the column of the time asked for.
    ///
    /// # Errors
    /// [`Error::Rows`] when there is no batch, batches differ in their columns, or the time is none.
    pub fn new(batches: Vec<RecordBatch>, time: &str) -> Result<Self> {
        let Some(schema) = batches.first().map(RecordBatch::schema) else {
            return Err(label_fault(
                "there is no batch; hand over an empty one to say which columns there are",
            ));
        };
        if batches.iter().any(|b| b.schema().fields() != schema.fields()) {
            return Err(label_fault("batches differ in their columns; give all the same"));
        }
        Self::checked(LabelRows::Batches(Arc::new(batches)), schema, time)
    }

    /// Labels in a Parquet file, which is read again for every view and never held whole.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Parquet`] when it cannot be read, [`Error::Rows`] when the time is none.
    pub fn parquet(path: &Path, time: &str) -> Result<Self> {
        let schema = open_parquet(path)?.schema().clone();
        Self::checked(LabelRows::File(path.to_owned()), schema, time)
    }

    fn checked(rows: LabelRows, schema: SchemaRef, time: &str) -> Result<Self> {
        let names = || schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        let field = schema
            .field_with_name(time)
            .map_err(|_| label_fault(format!("there is no column `{time}`; there are: {}", names())))?;
        if milliseconds(ident(time), field.data_type(), Rounding::Down).is_none() {
            let kind = field.data_type();
            let message = format!("column `{time}` is {kind}; it must be a date or a timestamp without zone");
            return Err(label_fault(message));
        }
        if schema.column_with_name(PLACE).is_some() {
            return Err(label_fault(format!("column `{PLACE}` is kept for their order; rename it")));
        }
        Ok(Self { rows, schema, time: time.to_owned() })
    }

    /// All batches in order.
    fn batches(&self) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        match &self.rows {
            LabelRows::Batches(batches) => {
                let batches = batches.clone();
                Box::new((0..batches.len()).map(move |i| Ok(batches[i].clone())))
            }
            LabelRows::File(path) => {
                let path = path.clone();
                match open_parquet(&path).and_then(|b| b.build().map_err(Error::parquet(&path))) {
                    Ok(reader) => Box::new(reader.map(move |b| {
                        b.map_err(Error::arrow(format!("{}: reading labels", path.display())))
                    })),
                    Err(e) => Box::new(std::iter::once(Err(e))),
                }
            }
        }
    }
}

fn label_fault(message: impl Into<String>) -> Error {
    Error::Rows { table: "labels".into(), message: message.into() }
}

fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(Error::file(path, "read"))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::parquet(path))
}

/// Labels as a source of DataFusion, each with its place.
#[derive(Debug)]
struct PlacedLabels {
    labels: Labels,
    schema: SchemaRef,
}

impl PlacedLabels {
    fn new(labels: &Labels) -> Self {
        let mut fields: Vec<Arc<Field>> = labels.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(PLACE, DataType::Int64, false)));
        Self { labels: labels.clone(), schema: Arc::new(Schema::new(fields)) }
    }
}

impl PartitionStream for PlacedLabels {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let mut first = 0;
        let placed = self.labels.batches().map(move |batch| {
            let batch = batch.map_err(|e| DataFusionError::External(Box::new(e)))?;
            let n = batch.num_rows() as i64;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values(first..first + n)));
            first += n;
            Ok(RecordBatch::try_new(schema.clone(), columns)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(placed)))
    }
}

/// What came of building a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Rows, as many as labels.
    pub rows: u64,
    /// BLAKE3 of definitions, columns and every value, in hex: equal frames of equal definitions have equal ones,
    /// however they were cut into batches.
    pub fingerprint: String,
}

/// A frame that can be built: labels and views that fit the shop. Nothing is read before it is asked for.
#[derive(Debug)]
pub struct TrainingFrame {
    snapshot: Snapshot,
    labels: Labels,
    views: Vec<PlannedView>,
    schema: SchemaRef,
    with_times: bool,
}

impl Snapshot {
    /// Labels with the features of several views, as they were known at each label's time.
    ///
    /// The frame has the labels' columns and `view__feature` for each feature, in the order of `views`. See
    /// [`FeatureView`] for what is known when.
    ///
    /// # Errors
    /// [`Error::Definitions`] with all faults of the views, [`Error::Rows`] when labels lack a column or have one of a
    /// feature's name.
    pub fn training_frame(&self, labels: &Labels, views: &[FeatureView]) -> Result<TrainingFrame> {
        let planned = self.shop().wait(plan(self, views))?;
        let frame = TrainingFrame {
            snapshot: self.clone(),
            labels: labels.clone(),
            views: planned,
            schema: labels.schema.clone(),
            with_times: false,
        };
        frame.check_labels()?;
        frame.with_schema()
    }
}

impl TrainingFrame {
    /// Adds a column `view__event_time` for each view: the event time of the newest row its values are made of.
    #[must_use]
    pub fn with_event_times(mut self) -> Self {
        self.with_times = true;
        self.schema = self.frame_schema();
        self
    }

    /// The columns of the frame.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Builds the frame and hands it to `take`, batch by batch, in the order of labels. Memory stays within
    /// `storage.memory_mib`, whatever the number of rows.
    ///
    /// # Errors
    /// [`Error::Query`] when rows cannot be read or memory is too small to sort in; the error of `take`, which ends the
    /// work.
    pub fn each(&self, take: impl FnMut(RecordBatch) -> Result<()> + Send) -> Result<Built> {
        self.snapshot.shop().wait(self.build(take))
    }

    /// Builds the frame in memory.
    ///
    /// # Errors
    /// As [`TrainingFrame::each`].
    pub fn collect(&self) -> Result<(RecordBatch, Built)> {
        let mut batches = vec![];
        let built = self.each(|b| {
            batches.push(b);
            Ok(())
        })?;
        let whole =
            concat_batches(&self.schema, &batches).map_err(Error::arrow("joining batches of a frame"))?;
        Ok((whole, built))
    }

    /// Builds the frame as a Parquet file, whole or not at all.
    ///
    /// # Errors
    /// As [`TrainingFrame::each`]; [`Error::File`] and [`Error::Parquet`] when it cannot be written.
    pub fn write_parquet(&self, path: &Path) -> Result<Built> {
        files::write_whole(path, |w| {
            let properties = Some(files::parquet_properties().build());
            let mut writer = parquet::arrow::ArrowWriter::try_new(w, self.schema.clone(), properties)
                .map_err(Error::parquet(path))?;
            let built = self.each(|batch| writer.write(&batch).map_err(Error::parquet(path)))?;
            writer.close().map_err(Error::parquet(path))?;
            Ok(built)
        })
    }

    fn check_labels(&self) -> Result<()> {
        let schema = &self.labels.schema;
        for planned in &self.views {
            let view = &planned.view;
            for name in &view.entity {
                let field = schema.field_with_name(name).map_err(|_| {
                    label_fault(format!(
                        "there is no column `{name}`, which view `{}` needs; add or rename one",
                        view.name
                    ))
                })?;
                if entity_text(ident(name), field.data_type()).is_none() {
                    let kind = field.data_type();
                    let message = format!(
                        "column `{name}` is {kind}; text or whole numbers can name a thing, so cast it"
                    );
                    return Err(label_fault(message));
                }
            }
        }
        Ok(())
    }

    fn with_schema(mut self) -> Result<Self> {
        for planned in &self.views {
            for field in planned_fields(planned, true) {
                if self.labels.schema.column_with_name(field.name()).is_some() {
                    return Err(label_fault(format!(
                        "column `{}` has the name of a feature; rename it",
                        field.name()
                    )));
                }
            }
        }
        self.schema = self.frame_schema();
        Ok(self)
    }

    fn frame_schema(&self) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = self.labels.schema.fields().iter().cloned().collect();
        for planned in &self.views {
            fields.extend(planned_fields(planned, self.with_times).into_iter().map(Arc::new));
        }
        Arc::new(Schema::new(fields))
    }

    async fn build(&self, mut take: impl FnMut(RecordBatch) -> Result<()> + Send) -> Result<Built> {
        let mut answers = vec![];
        for planned in &self.views {
            let stream = self.view_stream(planned).await?;
            answers.push(Piecewise { stream, batch: None, from: 0, place: 0 });
        }
        let views = self.views.iter().map(|p| &p.view);
        let mut print = Fingerprint::new(views, self.with_times, &self.schema);
        let mut rows = 0;
        for batch in self.labels.batches() {
            let labels = batch?;
            let mut from = 0;
            while from < labels.num_rows() {
                // A piece as long as what every view has ready, so that nothing is copied.
                let mut n = labels.num_rows() - from;
                for piece in &mut answers {
                    n = n.min(piece.ready().await?);
                }
                let mut columns = labels.slice(from, n).columns().to_vec();
                for piece in &mut answers {
                    columns.extend(piece.take(n, self.with_times)?);
                }
                let out = RecordBatch::try_new(self.schema.clone(), columns)
                    .map_err(Error::arrow("putting a frame together"))?;
                print.add(&out)?;
                rows += n as u64;
                from += n;
                take(out)?;
            }
        }
        Ok(Built { rows, fingerprint: print.finish() })
    }

    /// The answers of one view in the order of labels.
    async fn view_stream(&self, planned: &PlannedView) -> Result<SendableRecordBatchStream> {
        let shop = self.snapshot.shop();
        let partitions = shop.threads();
        let placed = Arc::new(PlacedLabels::new(&self.labels));
        let table = StreamingTable::try_new(placed.schema.clone(), vec![placed])?;
        let context = self.snapshot.context();
        let labels = context.read_table(Arc::new(table))?;
        let labels = label_columns(labels, planned, &self.labels)?;
        let until = self.last_known(context, &labels, planned).await?;
        let rows = planned.rows(None, until)?;

        let entity = planned.entity_columns();
        let labels = by_entity(labels.create_physical_plan().await?, &entity, partitions)?;
        let rows = by_entity(rows.create_physical_plan().await?, &entity, partitions)?;
        let mut fields = vec![Field::new(PLACE, DataType::Int64, false)];
        fields.extend(planned_fields(planned, true));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let joined = (0..partitions).map(|partition| -> Arc<dyn PartitionStream> {
            Arc::new(AsOfPartition {
                labels: labels.clone(),
                rows: rows.clone(),
                partition,
                n_entity: entity.len(),
                layout: planned.layout.clone(),
                schema: schema.clone(),
            })
        });
        let joined = joined.collect::<Vec<_>>();
        let joined = StreamingTableExec::try_new(schema.clone(), joined, None, [], false, None)?;
        let in_order = sorted(Arc::new(joined), &[PLACE.to_owned()])?;
        let ordering = ordering_by(&in_order, &[PLACE.to_owned()])?;
        let merged = SortPreservingMergeExec::new(ordering, in_order);
        let mut state = context.state();
        state.config_mut().options_mut().execution.sort_spill_reservation_bytes = MERGE_BYTES;
        Ok(merged.execute(0, Arc::new(TaskContext::from(&state)))?)
    }

    /// The last event time that any label can know; later rows need not be read.
    async fn last_known(
        &self,
        context: &SessionContext,
        labels: &DataFrame,
        planned: &PlannedView,
    ) -> Result<Option<i64>> {
        use datafusion::functions_aggregate::expr_fn::max;
        let latest = labels.clone().aggregate(vec![], vec![max(ident("t"))])?;
        let plan = latest.create_physical_plan().await?;
        let batches = datafusion::physical_plan::collect(plan, context.task_ctx()).await?;
        let latest = batches.first().map(|b| b.column(0).as_primitive::<Int64Type>().clone());
        let latest = latest.filter(|a| !a.is_empty() && a.is_valid(0)).map(|a| a.value(0));
        // Without any time there is nothing to be known.
        Ok(Some(latest.map_or(i64::MIN, |t| t.saturating_sub(planned.layout.delay))))
    }
}

fn planned_fields(planned: &PlannedView, with_times: bool) -> Vec<Field> {
    let (view, layout) = (&planned.view, &planned.layout);
    let mut fields: Vec<Field> = if with_times { vec![time_field(view)] } else { vec![] };
    fields.extend((0..view.features.len()).map(|i| layout.field(view, i)));
    fields
}

/// The columns of labels that a view's join needs: the entity, `t` and the place.
fn label_columns(frame: DataFrame, planned: &PlannedView, labels: &Labels) -> Result<DataFrame> {
    let unfit = || Error::Unexpected("labels were checked and do not fit".into());
    let of = |name: &str| -> Result<(Expr, DataType)> {
        let field = labels.schema.field_with_name(name).map_err(|_| unfit())?;
        Ok((Expr::Column(column(frame.schema(), name)?), field.data_type().clone()))
    };
    let mut columns = vec![];
    for (name, alias) in planned.view.entity.iter().zip(planned.entity_columns()) {
        let (column, kind) = of(name)?;
        columns.push(entity_text(column, &kind).ok_or_else(unfit)?.alias(alias));
    }
    let (time, kind) = of(&labels.time)?;
    columns.push(milliseconds(time, &kind, Rounding::Down).ok_or_else(unfit)?.alias("t"));
    columns.push(ident(PLACE));
    Ok(frame.select(columns)?)
}

/// Rows in hash partitions of the entity, each sorted by entity and time.
fn by_entity(
    plan: Arc<dyn ExecutionPlan>,
    entity: &[String],
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let hashed = entity.iter().map(|e| col(e, &plan.schema())).collect::<Result<Vec<_>, _>>()?;
    let parted = RepartitionExec::try_new(plan, Partitioning::Hash(hashed, partitions))?;
    let order: Vec<String> = entity.iter().cloned().chain(["t".to_owned()]).collect();
    sorted(Arc::new(parted), &order)
}

fn ordering_by(plan: &Arc<dyn ExecutionPlan>, columns: &[String]) -> Result<LexOrdering> {
    let schema = plan.schema();
    let exprs = columns.iter().map(|c| Ok(PhysicalSortExpr::new_default(col(c, &schema)?)));
    let ordering = LexOrdering::new(exprs.collect::<Result<Vec<_>>>()?);
    ordering.ok_or_else(|| Error::Unexpected("a sort by nothing".into()))
}

/// Sorts each partition by itself, nulls first.
fn sorted(plan: Arc<dyn ExecutionPlan>, columns: &[String]) -> Result<Arc<dyn ExecutionPlan>> {
    let ordering = ordering_by(&plan, columns)?;
    Ok(Arc::new(SortExec::new(ordering, plan).with_preserve_partitioning(true)))
}

/// The answers of a view, taken in pieces of any length.
struct Piecewise {
    stream: SendableRecordBatchStream,
    batch: Option<RecordBatch>,
    from: usize,
    place: i64,
}

impl Piecewise {
    /// How many rows can be taken.
    async fn ready(&mut self) -> Result<usize> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|b| self.from < b.num_rows()) {
                return Ok(batch.num_rows() - self.from);
            }
            let Some(next) = self.stream.next().await else {
                return Err(Error::Unexpected(format!("a view has no answer to label {}", self.place)));
            };
            self.batch = Some(next?);
            self.from = 0;
        }
    }

    fn take(&mut self, n: usize, with_times: bool) -> Result<Vec<ArrayRef>> {
        let Some(batch) = &self.batch else {
            return Err(Error::Unexpected("a piece was taken before it was ready".into()));
        };
        let piece = batch.slice(self.from, n);
        let places = piece.column(0).as_primitive::<Int64Type>();
        // Answers are put beside labels by place; a wrong one must never go unnoticed.
        if places.values().iter().zip(self.place..).any(|(got, want)| *got != want) {
            return Err(Error::Unexpected(format!("answers are out of order at label {}", self.place)));
        }
        self.from += n;
        self.place += n as i64;
        Ok(piece.columns()[if with_times { 1 } else { 2 }..].to_vec())
    }
}

/// The fingerprint of a frame, column by column, so that the cut into batches does not matter.
struct Fingerprint {
    head: blake3::Hasher,
    columns: Vec<blake3::Hasher>,
    bytes: Vec<u8>,
}

impl Fingerprint {
    fn new<'a>(views: impl Iterator<Item = &'a FeatureView>, with_times: bool, schema: &SchemaRef) -> Self {
        let mut head = blake3::Hasher::new();
        head.update(b"tradewind frame 1");
        head.update(&[u8::from(with_times)]);
        for view in views {
            head.update(view.fingerprint().as_bytes());
        }
        for field in schema.fields() {
            let text = format!("{}\u{0}{}\u{0}", field.name(), field.data_type());
            head.update(text.as_bytes());
        }
        let columns = schema.fields().iter().map(|_| blake3::Hasher::new()).collect();
        Self { head, columns, bytes: vec![] }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for (hasher, column) in self.columns.iter_mut().zip(batch.columns()) {
            self.bytes.clear();
            column_bytes(column, &mut self.bytes)?;
            hasher.update(&self.bytes);
        }
        Ok(())
    }

    fn finish(mut self) -> String {
        for column in &self.columns {
            self.head.update(column.finalize().as_bytes());
        }
        self.head.finalize().to_hex().to_string()
    }
}

/// The bytes of a column: for each row whether there is a value, and the value.
fn column_bytes(column: &ArrayRef, out: &mut Vec<u8>) -> Result<()> {
    macro_rules! fixed {
        ($type:ty) => {{
            let values = column.as_primitive::<$type>();
            for i in 0..values.len() {
                out.push(u8::from(values.is_valid(i)));
                if values.is_valid(i) {
                    out.extend_from_slice(&values.value(i).to_le_bytes());
                }
            }
        }};
    }
    use arrow::datatypes::{Float64Type, TimestampMillisecondType};
    match column.data_type() {
        DataType::Float64 => fixed!(Float64Type),
        DataType::Int64 => fixed!(Int64Type),
        DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None) => {
            fixed!(TimestampMillisecondType)
        }
        DataType::Utf8 => {
            for text in column.as_string::<i32>().iter() {
                out.push(u8::from(text.is_some()));
                let text = text.unwrap_or_default();
                out.extend_from_slice(&(text.len() as u64).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        // Whatever else goes along with labels is taken as it is written.
        _ => {
            let format = arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &Default::default())
                .map_err(Error::arrow("the fingerprint of a frame"))?;
            for i in 0..column.len() {
                out.push(u8::from(column.is_valid(i)));
                if column.is_valid(i) {
                    let text = format.value(i).to_string();
                    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
    Ok(())
}
