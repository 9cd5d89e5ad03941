//! Imports are whole or absent, are known again, and the latest row of a key counts.

use crate::shops::{batch, begin, import, numbers, one_number, sales, source, table, text, texts, times};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tradewind_core::{ErrorKind, Fault};
use tradewind_warehouse::{Begun, Error, Shop};

fn new_shop() -> (tempfile::TempDir, Shop) {
    let dir = tempfile::tempdir().expect("a folder");
    let shop = Shop::init(&dir.path().join("my shop 信风 [1]%20?")).expect("a shop");
    (dir, shop)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { out.extend(files_below(&path)) } else { out.push(path) }
    }
    out.retain(|p| p.extension().is_some_and(|e| e == "parquet"));
    out.sort();
    out
}

#[test]
fn a_new_shop_has_every_table_and_no_row() {
    let (_dir, shop) = new_shop();
    for t in tradewind_core::tables::TABLES {
        assert_eq!(one_number(&shop, &format!("SELECT count(*) FROM {}", t.name)), 0, "{}", t.name);
        let rows = shop.read_table(t.name).expect("reads");
        let schema = rows[0].schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let expected: Vec<_> = t.columns.iter().map(|c| c.name).chain(["_import"]).collect();
        assert_eq!(names, expected);
        for c in t.columns {
            assert_eq!(*schema.field_with_name(c.name).expect("there").data_type(), c.kind.arrow());
        }
    }
    assert_eq!(shop.read_table("sale").expect_err("no such table").kind(), ErrorKind::NotFound);
    assert!(shop.imports().expect("lists").is_empty());
}

#[test]
fn an_import_brings_rows_parts_and_a_record() {
    let (_dir, shop) = new_shop();
    let record =
        import(&shop, "a", vec![("sales", sales(0, 1000)), ("sales", sales(1000, 500))]).expect("imports");
    assert_eq!((record.id, record.name.as_str(), record.preset.as_str()), (1, "a.csv", "canonical"));
    assert_eq!(record.summary["rows"]["read"], 3);
    assert_eq!(record.tables.len(), 1);
    assert_eq!((record.tables[0].table.as_str(), record.tables[0].rows), ("sales", 1500));
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales WHERE _import = 1"), 1500);
    assert_eq!(one_number(&shop, "SELECT count(customer_id) FROM sales"), 0, "absent columns are null");
    assert_eq!(one_number(&shop, "SELECT count(DISTINCT product_id) FROM sales"), 100);
    let parts = shop.parts().expect("lists");
    assert_eq!(parts.len(), 1);
    let bytes = std::fs::read(shop.root().join(&parts[0].path)).expect("the file");
    assert_eq!(parts[0].bytes, bytes.len() as u64);
    assert_eq!(parts[0].blake3, blake3::hash(&bytes).to_hex().to_string());
    let day = 86_400_000;
    assert_eq!(parts[0].ds_max_ms.expect("a time") - parts[0].ds_min_ms.expect("a time"), 14 * day);
}

#[test]
fn long_imports_are_cut_into_files() {
    let (_dir, shop) = new_shop();
    let root = shop.root().to_owned();
    drop(shop);
    std::fs::write(root.join("tradewind.toml"), "[storage]\nrows_per_file = 1000\n").expect("writes");
    let shop = Shop::open(&root).expect("opens");
    let products = batch(vec![("product_id", text(&["a", "b"]))]);
    import(&shop, "a", vec![("sales", sales(0, 2500)), ("products", products), ("sales", sales(2500, 600))])
        .expect("imports");
    let rows: Vec<_> = shop.parts().expect("lists").iter().map(|p| (p.table.clone(), p.rows)).collect();
    let expected = [("products", 2), ("sales", 1000), ("sales", 1000), ("sales", 1000), ("sales", 100)];
    assert_eq!(rows, expected.map(|(t, n)| (t.to_owned(), n)));
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 3100);
    assert_eq!(
        one_number(&shop, "SELECT CAST(sum(quantity) AS BIGINT) FROM sales"),
        (0..3100).map(|i| i % 7).sum::<i64>()
    );
}

#[test]
fn the_same_source_changes_nothing() {
    let (_dir, shop) = new_shop();
    let first = import(&shop, "a", vec![("sales", sales(0, 10))]).expect("imports");
    let renamed = tradewind_warehouse::ImportSource { name: "other name.csv".into(), ..source("a") };
    match shop.begin_import(&renamed).expect("begins") {
        Begun::AlreadyThere(record) => assert_eq!(record, first),
        Begun::New(_) => panic!("the same content was taken for new"),
    }
    let other_mapping = tradewind_warehouse::ImportSource { mapping: "m".into(), ..source("a") };
    assert!(matches!(shop.begin_import(&other_mapping).expect("begins"), Begun::New(_)));
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 10);
    // Removed, it is new again, under a number of its own.
    shop.remove_import(first.id).expect("removes");
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 0);
    let again = import(&shop, "a", vec![("sales", sales(0, 10))]).expect("imports");
    assert_eq!(again.id, 2);
    let e = shop.remove_import(1).expect_err("it is gone");
    assert_eq!((e.kind(), e.to_string().as_str()), (ErrorKind::NotFound, "no import `1`; there are: 2"));
}

#[test]
fn dropped_imports_leave_no_trace_and_removed_ones_go_at_the_next_open() {
    let (_dir, shop) = new_shop();
    let root = shop.root().to_owned();
    let mut dropped = begin(&shop, "a");
    dropped.append(table("sales"), sales(0, 5000)).expect("appends");
    drop(dropped);
    assert!(shop.imports().expect("lists").is_empty());
    assert_eq!(files_below(&root), Vec::<PathBuf>::new());

    let kept = import(&shop, "b", vec![("sales", sales(0, 10))]).expect("imports");
    let gone = import(&shop, "c", vec![("sales", sales(0, 10))]).expect("imports");
    let before = shop.snapshot().expect("a snapshot");
    shop.remove_import(gone.id).expect("removes");
    std::fs::write(root.join("warehouse/sales/mine.parquet"), "not a part").expect("writes");
    // A second user of the shop does not sweep what the first may be reading.
    let second = Shop::open(&root).expect("opens");
    assert_eq!(files_below(&root).len(), 3);
    let rows: usize = before.sql("SELECT ds FROM sales").expect("reads").iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows, 20, "a snapshot does not change");
    drop((before, second, shop));
    let shop = Shop::open(&root).expect("opens");
    assert_eq!(files_below(&root).len(), 2, "the removed part is gone, the stranger's file is not");
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 10);
    assert_eq!(shop.imports().expect("lists"), [kept]);
}

#[test]
fn only_one_import_is_written_at_a_time() {
    let (_dir, shop) = new_shop();
    let other = Shop::open(shop.root()).expect("opens");
    let mut first = begin(&shop, "a");
    first.append(table("sales"), sales(0, 10)).expect("appends");
    for shop in [&shop, &other] {
        let e = shop.begin_import(&source("b")).expect_err("busy");
        assert_eq!(e.kind(), ErrorKind::Conflict);
        assert!(e.to_string().contains("another import is being written"), "{e}");
    }
    assert_eq!(other.remove_import(1).expect_err("busy").kind(), ErrorKind::Conflict);
    first.commit(serde_json::Value::Null).expect("commits");
    import(&other, "b", vec![("sales", sales(0, 10))]).expect("free again");
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 20);
}

#[test]
fn the_latest_row_of_a_key_counts_and_nulls_are_equal() {
    let (_dir, shop) = new_shop();
    let prices = |price: [f64; 3]| {
        batch(vec![
            ("product_id", text(&["a", "a", "b"])),
            ("ds", times(&["2024-01-01", "2024-01-02", "2024-01-01"])),
            ("seller", text(&["", "", "rival"])),
            ("price", numbers(&price)),
        ])
    };
    import(&shop, "1", vec![("prices", prices([1.0, 2.0, 3.0]))]).expect("imports");
    // Within one import the later row counts, across batches too.
    import(
        &shop,
        "2",
        vec![("prices", prices([10.0, 20.0, 30.0])), ("prices", prices([11.0, 20.0, 30.0]).slice(0, 1))],
    )
    .expect("imports");
    let read = || texts(&shop, "SELECT price FROM prices ORDER BY product_id, ds");
    assert_eq!(read(), ["11.0", "20.0", "30.0"]);
    assert_eq!(one_number(&shop, "SELECT count(*) FROM prices WHERE _import = 2"), 3);
    shop.remove_import(2).expect("removes");
    assert_eq!(read(), ["1.0", "2.0", "3.0"], "the older rows come back");
}

#[test]
fn rows_that_do_not_fit_are_refused_by_name() {
    let (_dir, shop) = new_shop();
    let cases = [
        (batch(vec![("product_id", text(&["a"]))]), "column `ds` is required and empty in 1 of 1 rows"),
        (
            batch(vec![("product_id", numbers(&[1.0])), ("ds", times(&["2024-01-01"]))]),
            "column `product_id` has type",
        ),
        (batch(vec![("colour", text(&["red"]))]), "there is no column `colour`"),
        (
            batch(vec![("product_id", text(&["a", ""])), ("ds", times(&["2024-01-01", "2024-01-01"]))]),
            "in 1 of 2 rows",
        ),
    ];
    for (rows, part) in cases {
        let mut import = begin(&shop, "a");
        let e = import.append(table("sales"), rows).expect_err(part);
        assert!(e.to_string().starts_with("table `sales`: ") && e.to_string().contains(part), "{e}");
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }
    assert!(shop.imports().expect("lists").is_empty());
}

#[test]
fn queries_only_read() {
    let (_dir, shop) = new_shop();
    for query in [
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO sales SELECT * FROM sales",
        "SET x = 1",
        "COPY sales TO 'x.csv'",
    ] {
        shop.sql(query).expect_err(query);
    }
    assert_eq!(
        shop.sql("SELECT colour FROM sales").expect_err("no such column").kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(shop.sql("SELEC 1").expect_err("no SQL").kind(), ErrorKind::InvalidInput);
    // Files outside the shop are not tables.
    shop.sql("SELECT * FROM '/etc/passwd'").expect_err("not a table");
}

#[test]
fn a_shop_is_made_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("new/shop");
    drop(Shop::init(&path).expect("a shop"));
    assert!(matches!(Shop::init(&path), Err(Error::ShopExists(_))));
    std::fs::write(dir.path().join("letter.txt"), "mine").expect("writes");
    assert!(matches!(Shop::init(dir.path()), Err(Error::NotEmpty(_))));
    assert!(matches!(Shop::open(dir.path()), Err(Error::NoShop(_))));
    // An interrupted init leaves everything but the settings; the next one begins anew.
    let broken = dir.path().join("broken");
    std::fs::create_dir_all(broken.join("warehouse")).expect("makes");
    std::fs::write(broken.join("state.db"), "half").expect("writes");
    drop(Shop::init(&broken).expect("a shop"));
    // A lost settings file does not make a full shop an empty folder.
    let shop = Shop::open(&broken).expect("opens");
    import(&shop, "a", vec![("sales", sales(0, 10))]).expect("imports");
    drop(shop);
    std::fs::remove_file(broken.join("tradewind.toml")).expect("removes");
    assert!(matches!(Shop::init(&broken), Err(Error::NotEmpty(_))));
    // A copied folder is the same shop; damaged state is an error, not a panic.
    std::fs::write(broken.join("tradewind.toml"), "").expect("writes");
    assert_eq!(one_number(&Shop::open(&broken).expect("opens"), "SELECT count(*) FROM sales"), 10);
    std::fs::write(broken.join("state.db"), "half").expect("writes");
    let e = Shop::open(&broken).expect_err("damaged");
    assert!(e.to_string().contains("state.db"), "{e}");
    std::fs::write(broken.join("tradewind.toml"), "\n[trend]\nhorizon = 0\n").expect("writes");
    let e = Shop::open(&broken).expect_err("a wrong setting").to_string();
    assert!(e.contains("tradewind.toml:3: `trend.horizon` is 0"), "{e}");
}

/// Not a test by itself: the process that [`killed_imports_leave_the_shop_as_it_was`] kills, and that
/// [`a_full_disk_leaves_the_shop_as_it_was`] lets run against a limit.
#[test]
fn child_that_imports() {
    let Ok(root) = std::env::var("TRADEWIND_TEST_CHILD") else { return };
    let shop = Shop::open(Path::new(&root)).expect("opens");
    let name = std::env::var("TRADEWIND_TEST_NAME").expect("a name");
    let Begun::New(mut import) = shop.begin_import(&source(&name)).expect("begins") else { return };
    println!("begun");
    for i in 0..40 {
        if let Err(e) = import.append(table("sales"), noisy_sales(i * 5000)) {
            println!("failed: {:?}: {e}", e.kind());
            std::process::exit(7);
        }
    }
    match import.commit(serde_json::Value::Null) {
        Ok(_) => println!("committed"),
        Err(e) => {
            println!("failed: {:?}: {e}", e.kind());
            std::process::exit(7);
        }
    }
}

/// Sales that hardly compress when the parent asked for it.
fn noisy_sales(from: usize) -> arrow::array::RecordBatch {
    let rows = sales(from, 5000);
    if std::env::var("TRADEWIND_TEST_NOISE").is_err() {
        return rows;
    }
    let noise = |i: usize| (i as f64 * 0.618_033_988_75).fract().sin();
    let column = |name: &str| rows.column_by_name(name).expect("there").clone();
    batch(vec![
        ("product_id", column("product_id")),
        ("ds", column("ds")),
        ("revenue", numbers(&(from..from + 5000).map(noise).collect::<Vec<_>>())),
    ])
}

fn child(root: &Path, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["store::child_that_imports", "--exact", "--nocapture"]);
    command.env("TRADEWIND_TEST_CHILD", root).env("TRADEWIND_TEST_NAME", name).stdout(Stdio::piped());
    command
}

#[cfg(unix)]
#[test]
fn killed_imports_leave_the_shop_as_it_was() {
    let (_dir, shop) = new_shop();
    let root = shop.root().to_owned();
    std::fs::write(root.join("tradewind.toml"), "[storage]\nrows_per_file = 20000\n").expect("writes");
    import(&shop, "first", vec![("sales", sales(0, 123))]).expect("imports");
    drop(shop);
    // How long an undisturbed import takes decides when the others are killed: over all of its length and beyond.
    let start = std::time::Instant::now();
    assert!(child(&root, "whole").output().expect("runs").status.success());
    let whole = start.elapsed();
    let mut rows = 123 + 200_000;
    let (mut killed, mut finished) = (0, 0);
    for round in 0..12 {
        let name = format!("round {round}");
        let mut process = child(&root, &name).spawn().expect("runs");
        std::thread::sleep(whole.mul_f64(f64::from(round) / 10.0) + Duration::from_millis(5));
        // SIGKILL: nothing in the process can tidy up.
        process.kill().expect("kills");
        process.wait().expect("ends");
        let shop = Shop::open(&root).expect("opens after a kill");
        let there = shop.imports().expect("lists").iter().any(|r| r.name == format!("{name}.csv"));
        rows += if there { 200_000 } else { 0 };
        finished += i64::from(there);
        killed += i64::from(!there);
        assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), rows, "round {round}");
        let parts: Vec<_> = shop.parts().expect("lists").iter().map(|p| root.join(&p.path)).collect();
        let mut expected = parts.clone();
        expected.sort();
        assert_eq!(files_below(&root), expected, "nothing but the parts is left, round {round}");
    }
    println!("{killed} killed, {finished} finished before");
    assert!(killed >= 4, "the kills came too late to test anything");
    let shop = Shop::open(&root).expect("opens");
    import(&shop, "after", vec![("sales", sales(0, 7))]).expect("imports go on");
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), rows + 7);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_shop_as_it_was() {
    let (_dir, shop) = new_shop();
    let root = shop.root().to_owned();
    import(&shop, "first", vec![("sales", sales(0, 123))]).expect("imports");
    drop(shop);
    // Files may not grow beyond some blocks; with the signal ignored, writes fail as on a full disk: those of the rows
    // themselves, and, when these compress well, those of the state.
    for (noise, file) in [(true, ".parquet: "), (false, "state.db: ")] {
        let mut program = child(&root, "too big");
        if noise {
            program.env("TRADEWIND_TEST_NOISE", "1");
        }
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]).arg(program.get_program());
        limited.args(program.get_args()).envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let out = limited.output().expect("runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(out.status.code(), Some(7), "{said}");
        assert!(said.contains("failed: Unavailable: ") && said.contains(file), "{said}");
    }
    let shop = Shop::open(&root).expect("opens");
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 123);
    assert_eq!(files_below(&root).len(), 1);
}

#[test]
fn a_folder_that_refuses_is_an_error_with_its_path() {
    let (_dir, shop) = new_shop();
    import(&shop, "first", vec![("sales", sales(0, 5))]).expect("imports");
    // A file where the table's folder should be made: the import fails at its last step, after all rows are staged.
    std::fs::write(shop.root().join("warehouse/stock"), "in the way").expect("writes");
    let stock = batch(vec![
        ("product_id", text(&["a"])),
        ("ds", times(&["2024-01-01"])),
        ("on_hand", numbers(&[3.0])),
    ]);
    let e = import(&shop, "b", vec![("sales", sales(0, 5)), ("stock", stock)]).expect_err("refused");
    assert!(e.to_string().contains("stock"), "{e}");
    assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 5);
    assert_eq!(files_below(shop.root()).len(), 1, "what was moved already is taken back");
}

#[test]
fn a_shop_answers_inside_somebody_elses_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (_dir, shop) = new_shop();
        import(&shop, "a", vec![("sales", sales(0, 5))]).expect("imports");
        assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 5);
    });
}

#[test]
fn rows_are_handed_over_batch_by_batch() {
    let (_dir, shop) = new_shop();
    import(&shop, "a", vec![("sales", sales(0, 30_000))]).expect("imports");
    let snapshot = shop.snapshot().expect("a snapshot");
    let mut rows = 0;
    snapshot
        .each("SELECT quantity FROM sales", |b| {
            rows += b.num_rows();
            Ok(())
        })
        .expect("reads");
    assert_eq!(rows, 30_000);
    let stop =
        snapshot.each("SELECT quantity FROM sales", |_| Err(tradewind_core::Error::Interrupted.into()));
    assert_eq!(stop.expect_err("stopped").kind(), ErrorKind::Interrupted);
}
