//! The databases that tests run on: SQLite in a folder of its own, and the PostgreSQL and MySQL of this machine, each in
//! a fresh schema. One that does not answer is named on standard error and left out.

use sqlx::{AnyConnection, Connection, Executor};
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh, empty database; it goes when this value goes.
pub(crate) struct Fresh {
    pub(crate) url: String,
    /// How to remove it: the server's address and the statement.
    drop: Option<(String, String)>,
    _dir: Option<tempfile::TempDir>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh database of each kind that answers.
pub(crate) async fn every() -> Vec<Fresh> {
    let mut out = vec![sqlite()];
    out.extend(server("TRADEWIND_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432", "postgres").await);
    out.extend(server("TRADEWIND_TEST_MYSQL", "mysql://root@127.0.0.1:3306", "mysql").await);
    out
}

/// A fresh file of SQLite.
pub(crate) fn sqlite() -> Fresh {
    let dir = tempfile::tempdir().unwrap();
    Fresh { url: format!("sqlite:{}/ops.db", dir.path().display()), drop: None, _dir: Some(dir) }
}

async fn server(variable: &str, usual: &str, maintenance: &str) -> Option<Fresh> {
    sqlx::any::install_default_drivers();
    let base = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    let admin = format!("{base}/{maintenance}");
    let name = format!("tw_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let mut connection = match AnyConnection::connect(&admin).await {
        Ok(connection) => connection,
        Err(e) => {
            eprintln!("skipped: {variable} ({usual}) does not answer: {e}");
            return None;
        }
    };
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    Some(Fresh {
        url: format!("{base}/{name}"),
        drop: Some((admin, format!("DROP DATABASE {name}"))),
        _dir: None,
    })
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let Some((admin, statement)) = self.drop.take() else { return };
        // A runtime of its own, on a thread of its own: the test's may be ending. PostgreSQL refuses while connections
        // stand, so they are ended.
        let statement =
            if admin.starts_with("postgres") { format!("{statement} WITH (FORCE)") } else { statement };
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                if let Ok(mut connection) = AnyConnection::connect(&admin).await {
                    let _ = connection.execute(sqlx::AssertSqlSafe(statement)).await;
                }
            });
        })
        .join();
    }
}
