//! Shops of every format that ever was open, and shops of formats to come are refused clearly.

use crate::shops::{one_number, sales, texts};
use std::path::{Path, PathBuf};
use tradewind_core::{ErrorKind, Fault};
use tradewind_warehouse::{Error, Figure, Shop, shop_format};

fn fixture(format: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(&from, &to).map(drop).expect("copies") }
    }
}

#[test]
fn old_shops_open_and_go_on() {
    for format in 1..=shop_format() {
        let dir = tempfile::tempdir().expect("a folder");
        copy(&fixture(format), dir.path());
        let shop = Shop::open(dir.path()).expect("opens");
        assert_eq!(
            shop.imports().expect("lists").iter().map(|r| r.name.clone()).collect::<Vec<_>>(),
            ["old.csv", "new.csv"]
        );
        // The part of the older schema lacks columns; they read as empty.
        assert_eq!(shop.parts().expect("lists").iter().map(|p| p.schema_version).min(), Some(0));
        assert_eq!(
            texts(&shop, "SELECT product_id FROM sales WHERE region IS NULL ORDER BY quantity"),
            ["tea", "cup", "茶"]
        );
        assert_eq!(
            texts(&shop, "SELECT region FROM sales WHERE _import = 2 ORDER BY quantity"),
            ["CN", "GB", "US"]
        );
        assert_eq!(one_number(&shop, "SELECT CAST(sum(quantity) AS BIGINT) FROM sales"), 66);
        assert_eq!(one_number(&shop, "SELECT count(*) FROM stock WHERE on_hand > 0"), 2);
        crate::shops::import(&shop, "later", vec![("sales", sales(0, 10))]).expect("imports");
        assert_eq!(one_number(&shop, "SELECT count(*) FROM sales"), 16);
        let report =
            tradewind_warehouse::quality::check(&tradewind_core::Run::new(1), &shop).expect("checks");
        assert_eq!(report.rows("sales"), 16);
        // Overrides came with format 2.
        let kept = shop.overrides().expect("lists");
        assert_eq!(
            kept.iter().map(|o| o.said.author.as_str()).collect::<Vec<_>>(),
            match format {
                1 => vec![],
                _ => vec!["Ann", "李"],
            }
        );
        if let [first, second] = &kept[..] {
            assert_eq!((first.said.figure, second.said.figure), (Figure::Value(9.5), Figure::Factor(1.25)));
            assert!(first.withdrawn.is_none() && second.withdrawn.is_some());
        }
    }
}

#[test]
fn shops_and_tables_of_newer_formats_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    copy(&fixture(1), dir.path());
    let change = |statement: &'static str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("state.db"));
            let pool = sqlx::SqlitePool::connect_with(options).await.expect("connects");
            sqlx::query(statement).execute(&pool).await.expect("changes");
            pool.close().await;
        });
    };
    let refused = |what: &str| {
        let e = Shop::open(dir.path()).expect_err("too new");
        assert!(matches!(e, Error::NewerFormat { .. }), "{e}");
        assert_eq!((e.kind(), e.hint().as_deref()), (ErrorKind::InvalidInput, Some("update Tradewind")));
        assert!(e.to_string().contains(what), "{e}");
    };
    change("UPDATE parts SET schema_version = 99 WHERE table_name = 'stock'");
    refused("table `stock` has format 99");
    change("UPDATE parts SET schema_version = 1, table_name = 'moods' WHERE table_name = 'stock'");
    refused("table `moods` has format 1");
    change("PRAGMA user_version = 99");
    refused("state.db: the shop has format 99; this Tradewind reads formats up to 2");
}
