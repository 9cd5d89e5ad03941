//! For benchmarks of the server: versions of a shop in its registry, and champions that change again and again.
//!
//! ```text
//! serve_versions SHOP make KIND…            make, register twice and promote a version of each kind
//! serve_versions SHOP swap SECONDS TIMES    promote the other version of every model, every so many seconds
//! serve_versions SHOP crowd ITEMS USERS     write FILES for a shop with so many items and users, for `tradewind import`
//! ```

use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tradewind::operations;
use tradewind::ops::registry::{CHAMPION, Change, Expect, NewVersion, Page, Reference, Registry};
use tradewind::serving::{
    ForecastsRequest, Kind, PricesRequest, RecommendationsRequest, Request, TrendsRequest, make,
};
use tradewind::trends::By;
use tradewind::{Run, Shop};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Answer<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        [shop, "make", ref kinds @ ..] => make_all(Path::new(shop), kinds).await,
        [shop, "swap", seconds, times] => swap(Path::new(shop), seconds.parse()?, times.parse()?).await,
        [shop, "crowd", items, users] => crowd(Path::new(shop), items.parse()?, users.parse()?),
        _ => Err("usage: serve_versions SHOP make KIND… | swap SECONDS TIMES | crowd ITEMS USERS".into()),
    }
}

async fn registry(shop: &Path) -> Answer<Registry> {
    let path = shop.to_owned();
    let shop = tokio::task::spawn_blocking(move || Shop::open(&path)).await??;
    let database = operations::open_state(&shop).await?;
    let registry = operations::open_registry(&shop, &database).await?;
    // The shop's own queries block, and so does its end: not on a thread of this runtime.
    tokio::task::spawn_blocking(move || drop(shop)).await?;
    Ok(registry)
}

/// Requests that are quick to make: a benchmark of serving does not measure learning.
fn request(kind: &str) -> Answer<Request> {
    Ok(match kind.parse::<Kind>()? {
        Kind::Trends => Request::Trends(TrendsRequest { by: vec![By::Product], ..TrendsRequest::default() }),
        Kind::Forecasts => Request::Forecasts(ForecastsRequest {
            model: "theta".into(),
            horizon: 14,
            coverages: vec![0.8],
            ..ForecastsRequest::default()
        }),
        Kind::Prices => Request::Prices(PricesRequest { horizon: 14, ..PricesRequest::default() }),
        Kind::Recommendations => Request::Recommendations(RecommendationsRequest {
            model: "item_knn".into(),
            ..RecommendationsRequest::default()
        }),
        other => return Err(format!("{other} needs a query of its own").into()),
    })
}

async fn make_all(path: &Path, kinds: &[&str]) -> Answer<()> {
    let registry = registry(path).await?;
    for kind in kinds {
        for seed in [1, 2] {
            let (shop, request) = (path.to_owned(), request(kind)?);
            let dir =
                std::env::temp_dir().join(format!("tradewind-bench-{}-{kind}-{seed}", std::process::id()));
            let to = dir.clone();
            let made = tokio::task::spawn_blocking(move || {
                let shop = Shop::open(&shop)?;
                make(&Run::new(seed), &shop, &request, &to)
            })
            .await??;
            let mut new = NewVersion::new(*kind, made.kind);
            new.data_fingerprint = made.data_fingerprint;
            new.params = serde_json::to_value(&made.request)?;
            (new.seed, new.metrics) = (made.seed, made.metrics);
            let version = registry.register(new, &dir).await?;
            std::fs::remove_dir_all(&dir)?;
            let change = Change::new("benchmark", "made");
            registry.promote(&version.reference(), CHAMPION, Expect::Anybody, &change).await?;
            writeln!(std::io::stdout(), "{} {}", version.reference(), version.artifact_hash)?;
        }
    }
    Ok(())
}

async fn swap(path: &Path, seconds: f64, times: u32) -> Answer<()> {
    let registry = registry(path).await?;
    for turn in 0..times {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        for model in registry.models(&Page::default()).await?.items {
            let number = 1 + u64::from(turn) % model.versions;
            let change = Change::new("benchmark", "swap");
            let reference = Reference::number(&model.name, number)?;
            registry.promote(&reference, CHAMPION, Expect::Anybody, &change).await?;
        }
    }
    Ok(())
}

/// Products and events in which few products are liked by many, as in shops.
fn crowd(dir: &Path, items: u64, users: u64) -> Answer<()> {
    std::fs::create_dir_all(dir)?;
    let mut products = std::io::BufWriter::new(std::fs::File::create(dir.join("products.csv"))?);
    writeln!(products, "product_id,title,category,price")?;
    for i in 0..items {
        writeln!(products, "p{i:06},Product {i},category {},{}.99", i % 200, 1 + i % 97)?;
    }
    products.flush()?;
    let mut events = std::io::BufWriter::new(std::fs::File::create(dir.join("events.csv"))?);
    writeln!(events, "ds,event,user_id,product_id")?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for u in 0..users {
        let taste = draw() % items;
        for k in 0..20 {
            // Near the own taste, or what is popular: a square of a uniform draw is skewed towards the first ones.
            let x = (draw() % 1_000_000) as f64 / 1e6;
            let item =
                if k % 3 == 0 { (x * x * x * items as f64) as u64 } else { (taste + draw() % 300) % items };
            let (day, hour) = (1 + (u + k) % 28, draw() % 24);
            let event = ["view", "view", "cart", "purchase"][(draw() % 4) as usize];
            writeln!(events, "2026-10-{day:02} {hour:02}:00:00,{event},u{u:06},p{item:06}")?;
        }
    }
    events.flush()?;
    Ok(())
}
