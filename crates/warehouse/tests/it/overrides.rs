//! Planners' figures are kept for ever, and what is wrong is refused.

use tradewind_core::freq::DAY;
use tradewind_warehouse::{Error, Figure, NewOverride, Shop};

fn said(figure: Figure) -> NewOverride {
    NewOverride {
        author: "Ann".into(),
        note: "a bus tour comes".into(),
        by: "product".into(),
        target: "units".into(),
        freq: "D".into(),
        unique_id: "茶 'x'".into(),
        first: 10 * DAY,
        last: 12 * DAY,
        figure,
        known: 9 * DAY,
    }
}

#[test]
fn what_was_said_is_kept_and_can_be_taken_back_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let shop = Shop::init(&dir.path().join("shop")).expect("a shop");
    let first = shop.add_override(&said(Figure::Value(30.5))).expect("kept");
    let second = shop.add_override(&said(Figure::Factor(0.8))).expect("kept");
    assert_eq!((first.id, second.id, first.said), (1, 2, said(Figure::Value(30.5))));
    let gone = shop.withdraw_override(1, "Bo", "the tour is off").expect("taken back");
    assert_eq!(gone.withdrawn.map(|w| (w.author, w.note)), Some(("Bo".into(), "the tour is off".into())));
    let again = shop.withdraw_override(1, "Bo", "again").expect_err("is gone");
    assert!(matches!(&again, Error::NotFound { known, .. } if known == "2"), "{again}");
    let root = shop.root().to_owned();
    drop(shop);
    let kept = Shop::open(&root).expect("opens").overrides().expect("lists");
    assert_eq!(kept.iter().map(|o| o.withdrawn.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(kept[1], second);
}

#[test]
fn what_is_no_override_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let shop = Shop::init(&dir.path().join("shop")).expect("a shop");
    for wrong in [
        said(Figure::Value(f64::NAN)),
        said(Figure::Factor(-1.0)),
        NewOverride { last: 9 * DAY, ..said(Figure::Value(1.0)) },
        NewOverride { note: " ".into(), ..said(Figure::Value(1.0)) },
        NewOverride { author: String::new(), ..said(Figure::Value(1.0)) },
    ] {
        assert!(shop.add_override(&wrong).is_err(), "{wrong:?}");
    }
    assert!(shop.overrides().expect("lists").is_empty());
}

#[test]
fn rows_are_only_added() {
    let dir = tempfile::tempdir().expect("a folder");
    let shop = Shop::init(&dir.path().join("shop")).expect("a shop");
    shop.add_override(&said(Figure::Value(1.0))).expect("kept");
    shop.withdraw_override(1, "Bo", "no").expect("taken back");
    let state = shop.root().join("state.db");
    drop(shop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&state).foreign_keys(false);
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("connects");
        for change in [
            "UPDATE overrides SET value = 2",
            "DELETE FROM overrides",
            "UPDATE override_withdrawals SET note = 'yes'",
            "DELETE FROM override_withdrawals",
        ] {
            let e = sqlx::query(change).execute(&pool).await.expect_err("refused").to_string();
            assert!(e.contains("only added"), "{e}");
        }
        pool.close().await;
    });
}
