//! The as-of join: labels and rows of one hash partition, both sorted by entity and time, walked once side by side.
//!
//! DataFusion has joins by equality and by inequality but none by the latest row before a time; this operator stands
//! where such a join would. It holds one batch of each side and the window of one entity.

use super::layout::{Answer, Kind, Layout, RowValues};
use super::tally::plain_number;
use super::timeline::Timeline;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, RecordBatch, StringArray,
    StringBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::{Float64Type, Int64Type, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use std::cmp::Ordering;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Batches of answers that wait for their reader.
const QUEUE_BATCHES: usize = 2;

/// One partition of the join of two plans that are partitioned by entity and sorted by entity and time.
///
/// Labels have the columns of the entity, `t` (milliseconds) and the label's place; rows have those of the entity, `t`,
/// `tie` and one for each expression. Answers have the label's place, the event time of the newest row and one column
/// for each feature.
#[derive(Debug)]
pub(crate) struct AsOfPartition {
    pub(crate) labels: Arc<dyn ExecutionPlan>,
    pub(crate) rows: Arc<dyn ExecutionPlan>,
    pub(crate) partition: usize,
    pub(crate) n_entity: usize,
    pub(crate) layout: Arc<Layout>,
    pub(crate) schema: SchemaRef,
}

impl PartitionStream for AsOfPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), QUEUE_BATCHES);
        let out = builder.tx();
        let (labels, rows) = (self.labels.clone(), self.rows.clone());
        let (partition, n_entity) = (self.partition, self.n_entity);
        let (layout, schema) = (self.layout.clone(), self.schema.clone());
        builder.spawn(async move {
            let labels = labels.execute(partition, context.clone())?;
            let rows = rows.execute(partition, context)?;
            as_of(labels, rows, n_entity, layout, schema, out).await
        });
        builder.build()
    }
}

/// Joins two sorted streams and sends the answers in the order of labels.
pub(crate) async fn as_of(
    mut labels: SendableRecordBatchStream,
    rows: SendableRecordBatchStream,
    n_entity: usize,
    layout: Arc<Layout>,
    schema: SchemaRef,
    out: Sender<Result<RecordBatch>>,
) -> Result<()> {
    let mut rows = RowCursor::new(rows, n_entity, layout.clone());
    let mut timeline = Timeline::new(layout.clone());
    let mut entity: Option<Vec<String>> = None;
    while let Some(batch) = labels.next().await {
        let labels = LabelBatch::of(&batch?, n_entity)?;
        let mut answers = Answers::new(&layout, labels.times.len());
        for i in 0..labels.times.len() {
            if labels.times.is_null(i) || labels.entity.iter().any(|e| e.is_null(i)) {
                answers.absent();
                continue;
            }
            let now = labels.times.value(i);
            let same = entity.as_ref().is_some_and(|e| compare(e, &labels.entity, i) == Ordering::Equal);
            if !same {
                timeline.clear();
                let key = entity.get_or_insert_default();
                key.clear();
                key.extend(labels.entity.iter().map(|e| e.value(i).to_owned()));
                rows.skip_to(key).await?;
            }
            let key = entity.as_deref().unwrap_or_default();
            rows.take_known(key, now, &mut timeline).await?;
            answers.push(&mut timeline, now);
        }
        let batch = answers.finish(labels.places, &schema)?;
        if out.send(Ok(batch)).await.is_err() {
            // Nobody reads any more.
            return Ok(());
        }
    }
    Ok(())
}

struct LabelBatch {
    entity: Vec<StringArray>,
    times: Int64Array,
    places: Int64Array,
}

impl LabelBatch {
    fn of(batch: &RecordBatch, n_entity: usize) -> Result<Self> {
        Ok(Self {
            entity: texts(batch, n_entity)?,
            times: whole_numbers(batch, n_entity)?,
            places: whole_numbers(batch, n_entity + 1)?,
        })
    }
}

/// Compares a key with the entity of a row, column by column, as the sort did.
fn compare(key: &[String], entity: &[StringArray], i: usize) -> Ordering {
    key.iter()
        .zip(entity)
        .map(|(k, e)| k.as_str().cmp(e.value(i)))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Rows of a view in one batch.
pub(crate) struct RowBatch {
    pub(crate) entity: Vec<StringArray>,
    pub(crate) times: Int64Array,
    ties: Float64Array,
    slots: Vec<SlotValues>,
}

enum SlotValues {
    Numbers(Float64Array),
    Texts(StringArray),
}

/// One row of a batch.
pub(crate) struct RowOf<'a>(pub(crate) &'a RowBatch, pub(crate) usize);

impl RowValues for RowOf<'_> {
    #[inline]
    fn number(&self, slot: usize) -> f64 {
        match &self.0.slots[slot] {
            SlotValues::Numbers(numbers) if numbers.is_valid(self.1) => plain_number(numbers.value(self.1)),
            _ => f64::NAN,
        }
    }

    #[inline]
    fn text(&self, slot: usize) -> Option<&str> {
        match &self.0.slots[slot] {
            SlotValues::Texts(texts) if texts.is_valid(self.1) => Some(texts.value(self.1)),
            _ => None,
        }
    }

    #[inline]
    fn tie(&self) -> f64 {
        let ties = &self.0.ties;
        if ties.is_valid(self.1) { plain_number(ties.value(self.1)) } else { f64::NAN }
    }
}

impl RowBatch {
    pub(crate) fn of(batch: &RecordBatch, n_entity: usize, layout: &Layout) -> Result<Self> {
        let mut slots = vec![];
        for (i, kind) in layout.slots.iter().enumerate() {
            slots.push(match kind {
                Kind::Number => SlotValues::Numbers(numbers(batch, n_entity + 2 + i)?),
                Kind::Text => SlotValues::Texts(text(batch, n_entity + 2 + i)?),
            });
        }
        Ok(Self {
            entity: texts(batch, n_entity)?,
            times: whole_numbers(batch, n_entity)?,
            ties: numbers(batch, n_entity + 1)?,
            slots,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }
}

/// A place in the stream of rows.
struct RowCursor {
    stream: SendableRecordBatchStream,
    n_entity: usize,
    layout: Arc<Layout>,
    batch: Option<RowBatch>,
    next: usize,
}

impl RowCursor {
    fn new(stream: SendableRecordBatchStream, n_entity: usize, layout: Arc<Layout>) -> Self {
        Self { stream, n_entity, layout, batch: None, next: 0 }
    }

    /// Fetches the batch in which the next row is; answers whether there is one.
    async fn ready(&mut self) -> Result<bool> {
        while self.batch.as_ref().is_none_or(|b| self.next >= b.len()) {
            self.batch = None;
            let Some(batch) = self.stream.next().await else { return Ok(false) };
            self.batch = Some(RowBatch::of(&batch?, self.n_entity, &self.layout)?);
            self.next = 0;
        }
        Ok(true)
    }

    /// Goes to the first row whose entity is not before `key`.
    async fn skip_to(&mut self, key: &[String]) -> Result<()> {
        while self.ready().await? {
            let Some(batch) = &self.batch else { break };
            while self.next < batch.len() && compare(key, &batch.entity, self.next) == Ordering::Greater {
                self.next += 1;
            }
            if self.next < batch.len() {
                break;
            }
        }
        Ok(())
    }

    /// Hands the entity's rows that are known at `now` to the timeline.
    async fn take_known(&mut self, key: &[String], now: i64, timeline: &mut Timeline) -> Result<()> {
        let delay = self.layout.delay;
        while self.ready().await? {
            let Some(batch) = &self.batch else { break };
            while self.next < batch.len()
                && batch.times.value(self.next).saturating_add(delay) <= now
                && compare(key, &batch.entity, self.next) == Ordering::Equal
            {
                timeline.push(batch.times.value(self.next), &RowOf(batch, self.next));
                self.next += 1;
            }
            if self.next < batch.len() {
                break;
            }
        }
        Ok(())
    }
}

/// The answers to a batch of labels.
struct Answers {
    times: TimestampMillisecondBuilder,
    columns: Vec<AnswerColumn>,
}

enum AnswerColumn {
    Numbers(Float64Builder),
    Texts(StringBuilder),
}

impl Answers {
    fn new(layout: &Layout, n: usize) -> Self {
        let columns = layout.computations.iter().map(|c| match layout.kind_of(*c) {
            Kind::Number => AnswerColumn::Numbers(Float64Builder::with_capacity(n)),
            Kind::Text => AnswerColumn::Texts(StringBuilder::with_capacity(n, n * 8)),
        });
        Self { times: TimestampMillisecondBuilder::with_capacity(n), columns: columns.collect() }
    }

    fn absent(&mut self) {
        self.times.append_null();
        self.columns.iter_mut().for_each(|c| c.push(Answer::Null));
    }

    fn push(&mut self, timeline: &mut Timeline, now: i64) {
        let columns = &mut self.columns;
        let time = timeline.at(now, |i, answer| columns[i].push(answer));
        self.times.append_option(time);
    }

    fn finish(mut self, places: Int64Array, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(places), Arc::new(self.times.finish())];
        columns.extend(self.columns.iter_mut().map(|c| -> ArrayRef {
            match c {
                AnswerColumn::Numbers(b) => Arc::new(b.finish()),
                AnswerColumn::Texts(b) => Arc::new(b.finish()),
            }
        }));
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

impl AnswerColumn {
    fn push(&mut self, answer: Answer<'_>) {
        match (self, answer) {
            (Self::Numbers(b), Answer::Number(x)) => b.append_value(x),
            (Self::Numbers(b), _) => b.append_null(),
            (Self::Texts(b), Answer::Text(t)) => b.append_value(t),
            (Self::Texts(b), _) => b.append_null(),
        }
    }
}

fn texts(batch: &RecordBatch, n: usize) -> Result<Vec<StringArray>> {
    (0..n).map(|i| text(batch, i)).collect()
}

fn text(batch: &RecordBatch, i: usize) -> Result<StringArray> {
    batch
        .columns()
        .get(i)
        .and_then(|c| c.as_string_opt::<i32>())
        .cloned()
        .ok_or_else(|| wrong(batch, i, "text"))
}

fn whole_numbers(batch: &RecordBatch, i: usize) -> Result<Int64Array> {
    let column = batch.columns().get(i).and_then(|c| c.as_primitive_opt::<Int64Type>());
    column.cloned().ok_or_else(|| wrong(batch, i, "whole numbers"))
}

fn numbers(batch: &RecordBatch, i: usize) -> Result<Float64Array> {
    let column = batch.columns().get(i).and_then(|c| c.as_primitive_opt::<Float64Type>());
    column.cloned().ok_or_else(|| wrong(batch, i, "numbers"))
}

fn wrong(batch: &RecordBatch, i: usize, wanted: &str) -> DataFusionError {
    DataFusionError::Internal(format!("column {i} of {} is not {wanted}", batch.schema()))
}
