//! Features from one definition: for training as they were known at each label's time, for serving as they are now.
//!
//! ```text
//! features.toml ─→ FeatureView ─┬─→ Snapshot::training_frame(labels, views) ─→ TrainingFrame ─→ Parquet, fingerprint
//!                               └─→ Snapshot::online_store(views) ─→ OnlineStore: materialise, apply, read
//! ```
//!
//! A [`FeatureView`] says what is aggregated over which rows and from when on a row is known; its documentation is the
//! rule that both sides follow. [`TrainingFrame`] joins labels with it by DataFusion (reading, hash partitions by entity,
//! sorts that spill) and an as-of operator of its own: nothing later than a label ever reaches it, labels keep their
//! order and repeats, and memory stays within `storage.memory_mib`. [`OnlineStore`] keeps what the latest values are made
//! of, entity by entity, and gives at any time the values that the frame would give, to the last bit; tests hold the two
//! against each other over random histories with late rows, ties, windows and times to live.
//!
//! Not here: features that need several rows at once beyond the aggregations (write them in `sql`), and embeddings.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("tradewind-features-doc-{}", std::process::id()));
//! use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
//! use std::sync::Arc;
//! use tradewind_core::tables::TableSpec;
//! use tradewind_warehouse::features::{Aggregation, Feature, FeatureView, Labels, Span, Value, Window};
//! use tradewind_warehouse::{Begun, ImportSource, Shop};
//!
//! const DAY: i64 = 86_400_000;
//! let texts = |v: &[&str]| Arc::new(StringArray::from(v.to_vec())) as ArrayRef;
//! let days = |v: &[i64]| Arc::new(TimestampMillisecondArray::from_iter_values(v.iter().map(|d| d * DAY))) as ArrayRef;
//!
//! // A shop that sold tea on days 0, 3 and 9.
//! let shop = Shop::init(&dir)?;
//! let source = ImportSource { name: "sales".into(), fingerprint: "1".into(), preset: "".into(), mapping: "".into() };
//! let Begun::New(mut import) = shop.begin_import(&source)? else { unreachable!() };
//! let quantity: ArrayRef = Arc::new(Float64Array::from(vec![2.0, 5.0, 1.0]));
//! let columns = [("product_id", texts(&["tea"; 3])), ("ds", days(&[0, 3, 9])), ("quantity", quantity)];
//! let rows = RecordBatch::try_from_iter(columns).unwrap();
//! import.append(TableSpec::named("sales").unwrap(), rows)?;
//! import.commit(serde_json::Value::Null)?;
//!
//! // Units of the last week, known a day later.
//! let week = Window::Last(Span::days(7));
//! let units = Feature::new("units_7d", Aggregation::Sum, "quantity", week);
//! let mut view = FeatureView::of_table("product_sales", &["product_id"], "sales", "ds", vec![units]);
//! view.available_after = Span::days(1);
//!
//! // For training: what was known on days 4 and 9?
//! let labels = RecordBatch::try_from_iter([("product_id", texts(&["tea", "tea"])), ("at", days(&[4, 9]))]).unwrap();
//! let labels = Labels::new(vec![labels], "at")?;
//! let snapshot = shop.snapshot()?;
//! let (frame, built) = snapshot.training_frame(&labels, &[view.clone()])?.collect()?;
//! let expected: ArrayRef = Arc::new(Float64Array::from(vec![7.0, 5.0]));
//! assert_eq!(frame.column_by_name("product_sales__units_7d"), Some(&expected));
//! assert_eq!(built.rows, 2);
//!
//! // For serving: the same value from the store.
//! let store = snapshot.online_store(&[view])?;
//! store.materialise(&snapshot, "product_sales", 9 * DAY)?;
//! let now = store.read("product_sales", &["tea"], 9 * DAY)?;
//! assert_eq!(now.values, [Value::Number(5.0)]);
//! assert_eq!(now.event_time_ms, Some(3 * DAY));
//! # drop((store, snapshot, shop));
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), tradewind_warehouse::Error>(())
//! ```

mod as_of;
mod check;
mod definition;
mod entry;
mod file;
mod frame;
mod layout;
mod online;
mod source;
mod tally;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
mod timeline;

pub use check::{DefinitionFault, DefinitionFaults, check};
pub use definition::{Aggregation, Feature, FeatureView, Source, Span, Window};
pub use file::{FILE_NAME, parse};
pub use frame::{Built, Labels, TrainingFrame};
pub use layout::Value;
pub use online::{Applied, Materialised, ONLINE_FILE, OnlineStore, OnlineValues};
