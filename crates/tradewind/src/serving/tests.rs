//! Artifacts that are the same each time, come back as they were, and are swapped while they answer.

use super::*;
use crate::demo::{self, DemoSettings};
use crate::trends::By;
use crate::wording::Language;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tradewind_core::{Direction, ErrorKind};
use tradewind_forecast::trend::TrendSettings;
use tradewind_ops::registry::Reference;
use tradewind_ops::traffic::{Plan, Shadow, Split, WHOLE};
use tradewind_recommend::live::Taken;
use tradewind_recommend::serve::{Request as Ask, Surface};

/// A folder of this test run.
fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tradewind-serving-{}", std::process::id())).join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

/// One shop for all tests, which only read it.
fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let settings = DemoSettings { n_products: 30, days: 260, ..DemoSettings::default() };
        demo::make(&Run::new(5), &scratch("shop"), &settings).expect("a shop").0
    })
}

fn params(value: Value) -> tradewind_core::Params {
    value.as_object().cloned().expect("an object")
}

fn request(kind: Kind) -> Request {
    match kind {
        Kind::Trends => Request::Trends(TrendsRequest {
            by: vec![By::Product, By::Category, By::Word],
            settings: TrendSettings { horizon: 14, ..TrendSettings::default() },
        }),
        Kind::Forecasts => Request::Forecasts(ForecastsRequest {
            model: "theta".into(),
            horizon: 14,
            coverages: vec![0.8],
            ..ForecastsRequest::default()
        }),
        Kind::Prices => Request::Prices(PricesRequest {
            params: params(json!({ "n_rounds": 10, "max_rows": 2000, "epochs": 2 })),
            horizon: 7,
            ..PricesRequest::default()
        }),
        Kind::Recommendations => Request::Recommendations(RecommendationsRequest {
            model: "item_knn".into(),
            ..RecommendationsRequest::default()
        }),
        Kind::Learn => Request::Learn(LearnRequest {
            query: "SELECT s.product_id, p.category, max(p.price) AS price, count(*) AS n_lines, \
                    sum(s.quantity) AS units FROM sales s JOIN products p ON s.product_id = p.product_id \
                    GROUP BY s.product_id, p.category"
                .into(),
            target: Some("units".into()),
            ignore: vec!["product_id".into()],
            params: params(json!({ "n_rounds": 20, "min_child_samples": 2 })),
            ..LearnRequest::default()
        }),
        other => panic!("{other} is new"),
    }
}

/// An artifact of each kind, made once.
fn artifact(kind: Kind) -> &'static (PathBuf, Made) {
    static ALL: OnceLock<BTreeMap<Kind, (PathBuf, Made)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let one = |kind: Kind| {
            let dir = scratch(&format!("made-{kind}"));
            let made = make(&Run::new(9).with_threads(1), shop(), &request(kind), &dir).expect("an artifact");
            (kind, (dir, made))
        };
        Kind::ALL.into_iter().map(one).collect()
    });
    &all[&kind]
}

fn identity(kind: Kind, version: u64) -> Identity {
    Identity { model: kind.name().into(), version, artifact_hash: artifact(kind).1.artifact_hash.clone() }
}

fn loaded(kind: Kind) -> Loaded {
    load(&artifact(kind).0, identity(kind, 1)).expect("a version")
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |e: std::io::Result<fs::DirEntry>| {
        let path = e.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(&path).expect("bytes"))
    };
    fs::read_dir(dir).expect("a folder").map(entry).collect()
}

fn copied(kind: Kind, name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::create_dir_all(&dir).expect("a folder");
    for (file, bytes) in files(&artifact(kind).0) {
        fs::write(dir.join(file), bytes).expect("written");
    }
    dir
}

#[test]
fn same_data_parameters_and_seed_give_the_same_bytes() {
    for kind in Kind::ALL {
        let (first, made) = artifact(kind);
        let dir = scratch(&format!("again-{kind}"));
        let again = make(&Run::new(9).with_threads(3), shop(), &request(kind), &dir).expect("an artifact");
        assert_eq!(&again, made, "{kind}");
        let (a, b) = (files(first), files(&dir));
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{kind}");
        for (name, bytes) in &a {
            assert!(bytes == &b[name], "{kind}: {name} differs");
        }
        assert_eq!(artifact_hash(&dir).expect("a hash"), made.artifact_hash);
    }
    // Another seed is another artifact, and says so.
    let dir = scratch("other-seed");
    let other = make(&Run::new(10), shop(), &request(Kind::Learn), &dir).expect("an artifact");
    assert_ne!(other.artifact_hash, artifact(Kind::Learn).1.artifact_hash);
    assert_eq!(other.data_fingerprint, artifact(Kind::Learn).1.data_fingerprint);
}

#[test]
fn every_kind_is_measured_on_what_its_model_had_not_seen() {
    for (kind, measures) in [
        (Kind::Trends, &["accuracy", "accuracy_naive", "auc_rising", "coverage", "category.accuracy"][..]),
        (Kind::Forecasts, &["wape", "mase", "wape_naive", "coverage_80", "revenue.product.wape"]),
        (Kind::Prices, &["mae", "mae_naive", "exact_rate"]),
        (Kind::Recommendations, &["ndcg_10", "ndcg_10_popularity", "users"]),
        (Kind::Learn, &["rmse", "r2", "rows_held_out"]),
    ] {
        let made = &artifact(kind).1;
        for name in measures {
            let value = made.metrics.get(*name);
            assert!(value.is_some_and(|v| v.is_finite()), "{kind}: {name} of {:?}", made.metrics);
        }
        assert_eq!(made.seed, 9);
        assert_eq!(made.data_fingerprint.len(), 64);
    }
}

#[test]
fn trends_come_back_as_they_were_said() {
    let version = loaded(Kind::Trends);
    let trends = version.trends().expect("trends");
    let Request::Trends(asked) = request(Kind::Trends) else { panic!("trends") };
    let calendar = crate::files::shop_calendar(shop()).expect("a calendar");
    for by in [By::Product, By::Category, By::Word] {
        let matter = crate::trends::Matter::of_shop(&Run::new(9), shop(), by).expect("series");
        let said = matter.predict(&Run::new(9), &asked.settings, None, &calendar).expect("an answer");
        let page = trends.page(&TrendQuery { sort: TrendSort::Name, ..TrendQuery::of(by) }).expect("a page");
        assert_eq!(page.total, said.report.trends.len());
        for (trend, counted) in said.report.trends.iter().zip(&said.report.counted) {
            let item = trends.item(by, &trend.unique_id).expect("an item");
            assert_eq!((&item.trend, item.counted), (trend, *counted));
            let (title, category) = said.label(&trend.unique_id);
            assert_eq!((item.title.as_deref(), item.category.as_deref()), (title, category));
        }
        assert!(trends.quality(by).expect("a quality").1.is_object());
    }
    assert_eq!(trends.item(By::Product, "nothing").expect_err("unknown").kind(), ErrorKind::NotFound);
    assert_eq!(trends.page(&TrendQuery::of(By::Store)).expect_err("no stores").kind(), ErrorKind::NotFound);
}

#[test]
fn pages_of_trends_are_filtered_sorted_and_cut() {
    let version = loaded(Kind::Trends);
    let trends = version.trends().expect("trends");
    let all = trends.page(&TrendQuery::of(By::Product)).expect("a page");
    let chance = |t: &TrendItem| t.trend.probabilities[2] * t.counted;
    assert!(all.items.windows(2).all(|w| chance(w[0]) >= chance(w[1])));
    let second = TrendQuery { offset: 5, limit: 7, ..TrendQuery::of(By::Product) };
    let page = trends.page(&second).expect("a page");
    assert_eq!((page.total, &page.items[..]), (all.total, &all.items[5..12]));
    for direction in Direction::ALL {
        let query =
            TrendQuery { direction: Some(direction), probability_min: 0.5, ..TrendQuery::of(By::Product) };
        for item in trends.page(&query).expect("a page").items {
            assert_eq!(item.trend.direction(), direction);
            assert!(item.trend.probabilities[direction as usize] >= 0.5 && item.counted >= 0.5);
        }
    }
    let category = all.items[0].category.clone().expect("a category");
    let query =
        TrendQuery { category: Some(&category), sort: TrendSort::Growth, ..TrendQuery::of(By::Product) };
    let of_category = trends.page(&query).expect("a page");
    assert!(of_category.total > 0 && of_category.total < all.total);
    assert!(of_category.items.windows(2).all(|w| w[0].trend.growth >= w[1].trend.growth));
    let back = trends.page(&TrendQuery { reverse: true, ..query }).expect("a page");
    assert!(back.items.iter().rev().eq(of_category.items.iter()));
    let title = all.items[0].title.clone().expect("a title").to_uppercase();
    let query = TrendQuery { text: Some(&title), ..TrendQuery::of(By::Product) };
    assert!(trends.page(&query).expect("a page").items.contains(&all.items[0]));
    // Reasons are sentences in both languages and differ.
    let reason = |l| trend_reason(&all.items[0].trend, l);
    assert!(reason(Language::En).contains("likely") && reason(Language::Zh).contains("可能"));
}

#[test]
fn forecasts_come_back_with_any_level_inside() {
    let version = loaded(Kind::Forecasts);
    let f = version.forecasts().expect("forecasts");
    assert_eq!((f.method(), f.horizon(), f.levels()), ("theta", 14, &[0.1, 0.9][..]));
    let panel = crate::forecasts::panel_of_shop(
        &Run::new(9),
        shop(),
        By::Product,
        tradewind_warehouse::panel::Target::Units,
        tradewind_core::Freq::DAILY,
    )
    .expect("a panel");
    let options = tradewind_forecast::Options::new(14, &[0.8]);
    let said = tradewind_forecast::forecast(&Run::new(9), &panel, "theta", &Default::default(), &options);
    let said = said.expect("a forecast");
    let query =
        |id| ForecastQuery { target: TargetKind::Units, by: By::Product, id, horizon: None, levels: None };
    for (i, id) in said.ids().iter().enumerate() {
        let s = f.series(&query(id)).expect("a series");
        assert_eq!(s.steps.iter().map(|s| s.mean).collect::<Vec<_>>(), said.mean(i));
        assert_eq!(s.steps[3].quantiles[1], said.quantile(i, 3, 0.9).expect("a quantile"));
        assert_eq!(s.steps[13].ds, said.ds(i, 13));
    }
    let id = said.ids()[0].as_str();
    let some = ForecastQuery { horizon: Some(3), levels: Some(&[0.5]), ..query(id) };
    let s = f.series(&some).expect("a series");
    assert_eq!((s.steps.len(), s.levels.clone()), (3, vec![0.5]));
    assert!(s.title.is_some() && s.category.is_some());
    for bad in [
        ForecastQuery { horizon: Some(15), ..query(id) },
        ForecastQuery { horizon: Some(0), ..query(id) },
        ForecastQuery { levels: Some(&[0.99]), ..query(id) },
        ForecastQuery { levels: Some(&[f64::NAN]), ..query(id) },
    ] {
        assert_eq!(f.series(&bad).expect_err("out of range").kind(), ErrorKind::InvalidParams);
    }
    for missing in [query("nothing"), ForecastQuery { by: By::Store, ..query(id) }] {
        assert_eq!(f.series(&missing).expect_err("not there").kind(), ErrorKind::NotFound);
    }
    assert!(f.ids(TargetKind::Revenue, By::Category).is_ok_and(|ids| !ids.is_empty()));
}

#[test]
fn prices_stand_on_points_that_were_seen() {
    let version = loaded(Kind::Prices);
    let prices = version.prices().expect("prices");
    let id = prices.ids()[0].as_str();
    let one = prices.series(id, Some(3)).expect("a product");
    assert_eq!(one.steps.len(), 3);
    let last = one.last.expect("a price");
    for step in &one.steps {
        assert!(step.mean > 0.0 && (0.0..=1.0).contains(&step.chance));
        assert!(step.mode > 0.0 && (step.mode / last) < 3.0 && step.quantiles[0] <= step.quantiles[1]);
    }
    assert_eq!(prices.series("nothing", None).expect_err("unknown").kind(), ErrorKind::NotFound);
    assert_eq!(prices.series(id, Some(8)).expect_err("too far").kind(), ErrorKind::InvalidParams);
}

#[test]
fn recommendations_learn_from_events() {
    let version = loaded(Kind::Recommendations);
    let r = version.recommendations().expect("recommendations");
    let now = r.now();
    assert_eq!(Some(now), r.until());
    let user = r.engine().model().known().users().name(0).to_owned();
    let ask = Ask { user: Some(&user), n: 5, ..Ask::new(Surface::ForYou, now) };
    let before = r.answer(&ask).expect("an answer");
    assert_eq!(before.items.len(), 5);
    let taken = before.items[0].item.clone();
    let event = |id, ds| LiveEvent {
        id: Some(id),
        user: Some(user.clone()),
        session: None,
        item: taken.clone(),
        ds,
        event: "purchase".into(),
        weight: 1.0,
    };
    let serving = Serving::new();
    serving.put("recommendations", Route::single(Arc::new(version)));
    assert_eq!(serving.event(event("a".into(), now + 60)).expect("taken"), Some(Taken::Counted));
    assert_eq!(serving.event(event("a".into(), now + 60)).expect("taken"), Some(Taken::Duplicate));
    let table = serving.table();
    let first = table.route("recommendations").expect("a route").main().clone();
    let r = first.recommendations().expect("recommendations");
    assert_eq!(r.now(), now + 60);
    assert!(!r.answer(&ask).expect("an answer").names().contains(&taken.as_str()));
    // A version that is loaded later knows the event too, and knows it once.
    serving.put("recommendations", Route::single(Arc::new(loaded(Kind::Recommendations))));
    let table = serving.table();
    let second = table.route("recommendations").expect("a route").main();
    assert!(!Arc::ptr_eq(second, &first));
    let r = second.recommendations().expect("recommendations");
    assert!(!r.answer(&ask).expect("an answer").names().contains(&taken.as_str()));
    assert_eq!((serving.recent_len(), r.now()), (1, now + 60));
    assert_eq!(serving.event(event("a".into(), now + 60)).expect("taken"), Some(Taken::Duplicate));
}

#[test]
fn learnt_rows_are_predicted_and_explained() {
    let version = loaded(Kind::Learn);
    let learned = version.learned().expect("a learnt model");
    let names: Vec<_> = learned.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    assert_eq!(names, ["category", "price", "n_lines"]);
    let rows: Vec<_> =
        [json!({ "category": "tea", "price": 9.5, "n_lines": 40 }), json!({ "price": null, "n_lines": 400 })]
            .into_iter()
            .map(|r| r.as_object().cloned().expect("an object"))
            .collect();
    let frame = learned.frame_of_rows(&rows).expect("rows");
    let said = learned.predict(&Run::new(0), &frame, true).expect("answers");
    assert_eq!(said.answers.num_rows(), 2);
    let reasons = said.reasons.expect("reasons");
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;
    let prediction =
        said.answers.column_by_name("prediction").expect("a column").as_primitive::<Float64Type>();
    for (row, reason) in reasons.iter().enumerate() {
        assert!((reason.score - prediction.value(row)).abs() < 1e-6 * prediction.value(row).abs().max(1.0));
    }
    // The same from columns.
    let cells = vec![
        ("n_lines".to_owned(), Cells::Numbers(vec![Some(40.0), Some(400.0)])),
        ("price".to_owned(), Cells::Numbers(vec![Some(9.5), None])),
        ("category".to_owned(), Cells::Texts(vec![Some("tea".into()), None])),
        ("unread".to_owned(), Cells::Flags(vec![None, None])),
    ];
    let frame = learned.frame(cells).expect("columns");
    assert_eq!(learned.predict(&Run::new(0), &frame, false).expect("answers").answers, said.answers);
    for (row, part) in [
        (json!({ "price": 1.0, "n_lines": 1 }), "`category` is missing"),
        (json!({ "category": "x", "price": "secret", "n_lines": 1 }), "a text where"),
        (json!({ "category": "x", "price": [1.0], "n_lines": 1 }), "a list"),
    ] {
        let rows = [row.as_object().cloned().expect("an object")];
        let fault = learned.frame_of_rows(&rows).expect_err("no row").to_string();
        assert!(fault.contains(part) && !fault.contains("secret"), "{fault}");
    }
}

#[test]
fn artifacts_that_are_not_whole_are_refused() {
    for kind in Kind::ALL {
        let names: Vec<String> = files(&artifact(kind).0).into_keys().collect();
        for name in &names {
            // One bit anywhere in a file.
            let dir = copied(kind, &format!("bit-{kind}"));
            let mut bytes = fs::read(dir.join(name)).expect("bytes");
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(dir.join(name), bytes).expect("written");
            let fault = load(&dir, identity(kind, 1));
            if name == folder::HEADER {
                // A header still readable gives another fingerprint: the registry, which knows the right one, refuses.
                let same = artifact_hash(&dir).is_ok_and(|h| h == artifact(kind).1.artifact_hash);
                assert!(!same, "{kind}: {name}");
            } else {
                let fault = fault.expect_err("a changed file");
                assert!(matches!(fault, Error::Artifact { .. }), "{kind}: {fault}");
                assert!(fault.to_string().contains(name) && fault.hint().is_some(), "{fault}");
            }
            // The file cut, and gone.
            let dir = copied(kind, &format!("cut-{kind}"));
            let bytes = fs::read(dir.join(name)).expect("bytes");
            fs::write(dir.join(name), &bytes[..bytes.len() - 1]).expect("written");
            assert!(matches!(load(&dir, identity(kind, 1)), Err(Error::Artifact { .. })), "{kind}: {name}");
            fs::remove_file(dir.join(name)).expect("removed");
            assert!(matches!(load(&dir, identity(kind, 1)), Err(Error::Artifact { .. })), "{kind}: {name}");
        }
    }
    let nothing = load(&scratch("nothing"), identity(Kind::Trends, 1)).expect_err("no folder");
    assert!(nothing.to_string().contains("holds no artifact"), "{nothing}");
}

#[test]
fn newer_formats_and_files_outside_are_refused_clearly() {
    let dir = copied(Kind::Trends, "newer");
    let path = dir.join(folder::HEADER);
    let mut header: Value = serde_json::from_slice(&fs::read(&path).expect("bytes")).expect("JSON");
    header["format"] = json!(folder::FORMAT + 1);
    header["kind"] = json!("something_new");
    fs::write(&path, header.to_string()).expect("written");
    let fault = load(&dir, identity(Kind::Trends, 1)).expect_err("newer");
    assert!(fault.to_string().contains("newer version"), "{fault}");
    assert_eq!(fault.hint().as_deref(), Some("update tradewind"));
    header["format"] = json!(folder::FORMAT);
    header["kind"] = json!("trends");
    header["files"]["../../secret"] = json!({ "bytes": 0, "blake3": "" });
    fs::write(&path, header.to_string()).expect("written");
    let fault = load(&dir, identity(Kind::Trends, 1)).expect_err("outside").to_string();
    assert!(fault.contains("lies outside"), "{fault}");
}

#[test]
fn a_folder_of_somebody_elses_is_left_alone() {
    let dir = scratch("letter");
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("letter.txt"), "dear").expect("written");
    let fault = make(&Run::new(1), shop(), &request(Kind::Learn), &dir).expect_err("a letter");
    assert!(fault.to_string().contains("is no artifact"), "{fault}");
    assert_eq!(files(&dir).keys().collect::<Vec<_>>(), ["letter.txt"]);
    // What fails half-way leaves nothing: neither a folder nor a temporary one beside it.
    let dir = scratch("half").join("artifact");
    let mut bad = request(Kind::Learn);
    if let Request::Learn(r) = &mut bad {
        r.target = Some("nothing".into());
    }
    assert!(make(&Run::new(1), shop(), &bad, &dir).is_err());
    assert_eq!(fs::read_dir(dir.parent().expect("a parent")).expect("a folder").count(), 0);
    // An earlier artifact is replaced whole.
    make(&Run::new(1), shop(), &request(Kind::Learn), &dir).expect("an artifact");
    let made = make(&Run::new(2), shop(), &request(Kind::Learn), &dir).expect("an artifact");
    assert_eq!(artifact_hash(&dir).expect("a hash"), made.artifact_hash);
    assert_eq!(fs::read_dir(dir.parent().expect("a parent")).expect("a folder").count(), 1);
}

#[test]
fn versions_are_swapped_under_load_without_a_failed_request() {
    let serving = Serving::new();
    let of = |version| {
        Arc::new(load(&artifact(Kind::Forecasts).0, identity(Kind::Forecasts, version)).expect("loads"))
    };
    let versions = [of(1), of(2)];
    serving.put("forecasts", Route::single(versions[0].clone()));
    let recommenders = [1, 2].map(|v| {
        Arc::new(load(&artifact(Kind::Recommendations).0, identity(Kind::Recommendations, v)).expect("loads"))
    });
    serving.put("recommendations", Route::single(recommenders[0].clone()));
    let ids: Vec<String> = versions[0]
        .forecasts()
        .and_then(|f| f.ids(TargetKind::Units, By::Product).ok())
        .expect("ids")
        .to_vec();
    let item = recommenders[0]
        .recommendations()
        .expect("recommendations")
        .engine()
        .model()
        .known()
        .items()
        .name(0)
        .to_owned();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen: Vec<std::sync::Mutex<std::collections::BTreeSet<u64>>> =
        (0..4).map(|_| Default::default()).collect();
    let events = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (worker, seen) in seen.iter().enumerate() {
            let (serving, stop, answered, ids, item, events) =
                (&serving, &stop, &answered, &ids, &item, &events);
            scope.spawn(move || {
                let mut k = worker;
                while !stop.load(Ordering::Relaxed) {
                    let table = serving.table();
                    let version = table.route("forecasts").expect("a route").assign(None, "anything").loaded;
                    let id = ids[k % ids.len()].as_str();
                    let query = ForecastQuery {
                        target: TargetKind::Units,
                        by: By::Product,
                        id,
                        horizon: None,
                        levels: None,
                    };
                    let said = version.forecasts().expect("forecasts").series(&query).expect("an answer");
                    assert_eq!((said.id, said.steps.len()), (id, 14));
                    seen.lock().expect("a lock").insert(version.identity.version);
                    if worker == 0 && events.load(Ordering::Relaxed) < 3_000 {
                        let n = events.fetch_add(1, Ordering::Relaxed);
                        let event = LiveEvent {
                            id: Some(format!("e{n}")),
                            user: Some(format!("new user {}", n % 50)),
                            session: None,
                            item: item.clone(),
                            ds: 4_000_000_000 + n as i64,
                            event: "view".into(),
                            weight: 1.0,
                        };
                        assert_eq!(serving.event(event).expect("taken"), Some(Taken::Counted));
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    k += 1;
                }
            });
        }
        for swap in 0..200 {
            serving.put("forecasts", Route::single(versions[(swap + 1) % 2].clone()));
            if swap % 20 == 0 {
                let folder = artifact(Kind::Recommendations).0.clone();
                let identity = identity(Kind::Recommendations, 100 + swap as u64);
                let version = serving.version(&identity, || Ok(folder)).expect("loads");
                serving.put("recommendations", Route::single(version));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let seen: std::collections::BTreeSet<u64> =
        seen.iter().flat_map(|s| s.lock().expect("a lock").iter().copied().collect::<Vec<_>>()).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
    assert!(answered.load(Ordering::Relaxed) > 1_000);
    // The engine loaded last counts every event, whichever table it came to.
    let n = events.load(Ordering::Relaxed);
    let table = serving.table();
    let last = table.route("recommendations").expect("a route").main();
    assert_eq!(last.recommendations().expect("recommendations").now(), 4_000_000_000 + n as i64 - 1);
    assert_eq!(serving.recent_len(), n);
    // Old versions go with their last request.
    serving.put("forecasts", Route::single(versions[0].clone()));
    let old = Arc::downgrade(&versions[1]);
    drop(table);
    drop(versions);
    assert!(old.upgrade().is_none());
}

#[test]
fn a_corrupt_version_is_refused_and_the_old_one_stays() {
    let serving = Serving::new();
    serving.put("trends", Route::single(Arc::new(loaded(Kind::Trends))));
    let dir = copied(Kind::Trends, "corrupt");
    fs::write(dir.join("trends-product.parquet"), b"PAR1").expect("written");
    let before = serving.table().generation();
    let fault = serving.version(&identity(Kind::Trends, 2), || Ok(dir)).expect_err("corrupt");
    assert!(matches!(fault, Error::Artifact { .. }));
    let table = serving.table();
    assert_eq!(table.generation(), before);
    assert_eq!(table.route("trends").expect("a route").main().identity.version, 1);
    // What is loaded already is not read again.
    let again = serving.version(&identity(Kind::Trends, 1), || panic!("not asked")).expect("there");
    assert!(Arc::ptr_eq(&again, table.route("trends").expect("a route").main()));
}

#[test]
fn users_stay_with_their_version_and_shadows_are_asked() {
    let of =
        |version| Arc::new(load(&artifact(Kind::Learn).0, identity(Kind::Learn, version)).expect("loads"));
    let reference = |n: u64| format!("learn@{n}").parse::<Reference>().expect("a reference");
    let plan = |percent: f64| {
        let mut plan = Plan::canary(reference(1), reference(2), percent).expect("a plan");
        plan.shadows.push(Shadow { name: "next".into(), reference: reference(3), share: WHOLE / 2 });
        plan
    };
    let versions = [of(1), of(2), of(3)];
    let of_plan = |split: &Split| {
        let (arms, shadows) = (versions[..2].to_vec(), versions[2..].to_vec());
        Route::split(split.clone(), arms, shadows).expect("a route")
    };
    let ten = Split::of("learn/learn", &plan(10.0), "salt").expect("a split");
    let (ten, thirty) = (of_plan(&ten), of_plan(&ten.changed(&plan(30.0)).expect("a split")));
    let users: Vec<String> = (0..20_000).map(|i| format!("user {i}")).collect();
    let on_canary = |r: &Route, request: &str| -> std::collections::BTreeSet<usize> {
        (0..users.len())
            .filter(|i| r.assign(Some(&users[*i]), request).loaded.identity.version == 2)
            .collect()
    };
    let (few, more) = (on_canary(&ten, "a"), on_canary(&thirty, "a"));
    assert!((few.len() as f64 / 20_000.0 - 0.1).abs() < 0.01, "{}", few.len());
    assert!((more.len() as f64 / 20_000.0 - 0.3).abs() < 0.015, "{}", more.len());
    assert!(few == on_canary(&ten, "b") && few.is_subset(&more));
    let shadowed = users.iter().filter(|u| !ten.assign(Some(u), "a").shadows.is_empty()).count();
    assert!((shadowed as f64 / 20_000.0 - 0.5).abs() < 0.015, "{shadowed}");
    assert_eq!(ten.assign(Some(&users[0]), "a").shadows.first().map_or(3, |s| s.identity.version), 3);
    assert_eq!((ten.main().identity.version, ten.kind()), (1, Kind::Learn));
    // A version for each arm, all of one kind.
    let split = ten.split_of().expect("a split").clone();
    assert!(Route::split(split.clone(), versions[..1].to_vec(), versions[2..].to_vec()).is_err());
    assert!(Route::split(split.clone(), versions[..2].to_vec(), vec![]).is_err());
    let other = Arc::new(loaded(Kind::Trends));
    let fault =
        Route::split(split, vec![versions[0].clone(), other], versions[2..].to_vec()).expect_err("two kinds");
    assert!(fault.to_string().contains("of the kind trends"), "{fault}");
}
