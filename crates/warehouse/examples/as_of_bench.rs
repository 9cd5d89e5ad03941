//! The program behind `docs/benchmarks/as_of.sh`: point-in-time joins over generated events.
//!
//! ```text
//! as_of_bench make FOLDER ROWS LABELS ENTITIES    a shop of events, and labels.parquet beside it
//! as_of_bench join FOLDER latest|windows OUT      a training frame of it, as a Parquet file
//! as_of_bench online FOLDER READS                 the online store of it, and how long a read takes
//! ```
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tradewind_core::tables::TableSpec;
use tradewind_warehouse::features::{Aggregation, Feature, FeatureView, Labels, Span, Window};
use tradewind_warehouse::{Begun, ImportSource, Shop, files};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Two years in milliseconds, from 2024-01-01.
const FIRST_MS: i64 = 1_704_067_200_000;
const SPAN_MS: u64 = 2 * 365 * 86_400_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", folder, rows, labels, entities] => {
            make(Path::new(folder), rows.parse()?, labels.parse()?, entities.parse()?)
        }
        ["join", folder, which, out] => join(Path::new(folder), which, Path::new(out)),
        ["online", folder, reads] => online(Path::new(folder), reads.parse()?),
        _ => Err("see the head of this program for its arguments".into()),
    }
}

/// A stream of numbers that is the same on every machine (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn entity(i: u64) -> String {
    format!("product-{i:06}")
}

fn make(folder: &Path, rows: u64, labels: u64, entities: u64) -> Outcome {
    let shop = Shop::init(&folder.join("shop"))?;
    let events = TableSpec::named("events").ok_or("no table events")?;
    let source = ImportSource {
        name: "generated".into(),
        fingerprint: format!("{rows} {entities}"),
        preset: "as_of_bench".into(),
        mapping: String::new(),
    };
    let Begun::New(mut import) = shop.begin_import(&source)? else { return Err("it is there".into()) };
    let mut numbers = Numbers(1);
    let mut left = rows;
    while left > 0 {
        let n = left.min(100_000);
        let ids: Vec<String> = (0..n).map(|_| entity(numbers.below(entities))).collect();
        let times: Vec<i64> = (0..n).map(|_| FIRST_MS + numbers.below(SPAN_MS) as i64).collect();
        let values: Vec<f64> = (0..n).map(|_| numbers.below(10_000) as f64 / 100.0).collect();
        let kinds = vec!["purchase"; n as usize];
        import.append(
            events,
            RecordBatch::try_from_iter([
                ("product_id", Arc::new(StringArray::from(ids)) as ArrayRef),
                ("ds", Arc::new(TimestampMillisecondArray::from(times))),
                ("event", Arc::new(StringArray::from(kinds))),
                ("value", Arc::new(Float64Array::from(values))),
            ])?,
        )?;
        left -= n;
    }
    import.commit(serde_json::Value::Null)?;

    let mut numbers = Numbers(2);
    // Some labels ask for products that had no event.
    let ids: Vec<String> =
        (0..labels).map(|_| entity(numbers.below(entities + entities / 100 + 1))).collect();
    let times: Vec<i64> = (0..labels).map(|_| FIRST_MS + numbers.below(SPAN_MS) as i64).collect();
    let targets: Vec<f64> = (0..labels).map(|_| numbers.below(2) as f64).collect();
    let labels = RecordBatch::try_from_iter([
        ("product_id", Arc::new(StringArray::from(ids)) as ArrayRef),
        ("ds", Arc::new(TimestampMillisecondArray::from(times))),
        ("target", Arc::new(Float64Array::from(targets))),
    ])?;
    files::write_table(&folder.join("labels.parquet"), &[labels])?;
    Ok(())
}

fn view(which: &str) -> Outcome<FeatureView> {
    let last = |days| Window::Last(Span::days(days));
    let features = match which {
        "latest" => vec![Feature::new("value", Aggregation::Last, "value", Window::All)],
        "windows" => vec![
            Feature::new("value", Aggregation::Last, "value", Window::All),
            Feature::count("events_7d", last(7)),
            Feature::new("value_sum_28d", Aggregation::Sum, "value", last(28)),
            Feature::new("value_mean_28d", Aggregation::Mean, "value", last(28)),
            Feature::new("value_max", Aggregation::Max, "value", Window::All),
        ],
        other => return Err(format!("{other} is neither latest nor windows").into()),
    };
    Ok(FeatureView::of_table("events", &["product_id"], "events", "ds", features))
}

fn join(folder: &Path, which: &str, out: &Path) -> Outcome {
    let shop = Shop::open(&folder.join("shop"))?;
    let labels = Labels::parquet(&folder.join("labels.parquet"), "ds")?;
    let start = Instant::now();
    let frame = shop.snapshot()?.training_frame(&labels, &[view(which)?])?;
    let built = frame.write_parquet(out)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{which}: {} labels in {seconds:.2} s, fingerprint {:.16}", built.rows, built.fingerprint);
    Ok(())
}

fn online(folder: &Path, reads: u64) -> Outcome {
    let shop = Shop::open(&folder.join("shop"))?;
    let snapshot = shop.snapshot()?;
    let view = view("windows")?;
    let store = snapshot.online_store(std::slice::from_ref(&view))?;
    let end = FIRST_MS + SPAN_MS as i64;
    let start = Instant::now();
    let done = store.materialise(&snapshot, "events", end)?;
    println!(
        "materialised {} rows of {} products in {:.2} s",
        done.rows,
        done.entities,
        start.elapsed().as_secs_f64()
    );
    let mut numbers = Numbers(3);
    let ids: Vec<String> = (0..reads).map(|_| entity(numbers.below(done.entities))).collect();
    let mut micros = Vec::with_capacity(ids.len());
    let mut known = 0;
    for id in &ids {
        let start = Instant::now();
        let found = store.read("events", &[id.as_str()], end)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        known += u64::from(found.event_time_ms.is_some());
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    println!(
        "{reads} reads ({known} known): median {:.2} µs, 99 % {:.2} µs, 99.9 % {:.2} µs",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    Ok(())
}
