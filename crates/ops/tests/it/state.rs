//! The database under everything: opened twice, opened by many at once, refused when it is newer.

use crate::databases;
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::{Clock, Database};

#[tokio::test(flavor = "multi_thread")]
async fn opens_again_and_by_many_at_once() {
    for fresh in databases::every().await {
        let opened =
            futures::future::join_all((0..4).map(|_| Database::open(&fresh.url, Clock::at(5)))).await;
        for database in opened {
            let database = database.unwrap();
            assert_eq!(database.now_ms(), 5);
            database.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_newer_format() {
    for fresh in databases::every().await {
        let database = Database::open(&fresh.url, Clock::system()).await.unwrap();
        sqlx::query("INSERT INTO ops_format (step, name) VALUES (9999, 'future')")
            .execute(database.pool())
            .await
            .unwrap();
        database.close().await;
        let fault = Database::open(&fresh.url, Clock::system()).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::InvalidInput);
        assert!(fault.to_string().contains("9999"), "{fault}");
    }
}

#[tokio::test]
async fn an_address_of_no_database_is_refused() {
    let fault = Database::open("mongodb://me:secret@host/db", Clock::system()).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::InvalidParams);
    assert!(!fault.to_string().contains("secret"), "{fault}");
}
