//! Removing files that no version names: what a crash, an abandoned registration or a lost race left behind.
//!
//! A file is doomed first, by a statement that holds only if nobody touched it since it was looked at; from then on no
//! registration takes it up again (another upload gets a generation of its own). Then it is removed from the store, then
//! its row. Wherever this stops, the next collection goes on; and a collector that sleeps for hours in the middle can
//! remove only what was doomed for good.

use super::Registry;
use super::store::Blob;
use crate::error::Result;
use std::time::Duration;

/// Files looked at in one go.
const BATCH: i64 = 500;

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Registry {
    /// Removes files that no version names and that nobody touched for `grace` (a day is plenty: longer than any upload
    /// takes). It is safe beside registrations, with any grace: one whose file is taken away stores it again.
    ///
    /// # Errors
    /// A store or database that does not answer; what was removed until then stays removed.
    pub async fn collect_garbage(&self, grace: Duration) -> Result<Collected> {
        let fault = self.database.fault("collecting garbage");
        let until =
            self.database.now_ms().saturating_sub(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
        let mut out = Collected::default();
        let mut after = (String::new(), String::new());
        loop {
            let rows: Vec<(String, String, i64, i64, i64)> = self
                .select(
                    "SELECT hash, generation, bytes, uses, doomed FROM registry_blobs
                     WHERE refs = 0 AND (touched_ms <= ? OR doomed = 1) AND (hash > ? OR (hash = ? AND generation > ?))
                     ORDER BY hash, generation LIMIT ?",
                )
                .bind(until)
                .bind(after.0.clone())
                .bind(after.0.clone())
                .bind(after.1.clone())
                .bind(BATCH)
                .fetch_all(self.database.pool())
                .await
                .map_err(&fault)?;
            let Some(last) = rows.last() else { break };
            after = (last.0.clone(), last.1.clone());
            for (hash, generation, bytes, uses, doomed) in rows {
                let blob = Blob { hash, generation };
                if doomed == 0 && !self.doom(&blob, uses).await? {
                    continue;
                }
                self.store.remove(&blob).await?;
                self.statement("DELETE FROM registry_blobs WHERE hash = ? AND generation = ? AND doomed = 1")
                    .bind(blob.hash.clone())
                    .bind(blob.generation.clone())
                    .execute(self.database.pool())
                    .await
                    .map_err(&fault)?;
                out.files += 1;
                out.bytes += bytes as u64;
            }
        }
        self.store.clear_incoming(grace.max(Duration::from_secs(3600))).await?;
        if out.files > 0 {
            tracing::info!(files = out.files, bytes = out.bytes, "garbage collected");
        }
        Ok(out)
    }

    /// False: somebody wants the file after all.
    async fn doom(&self, blob: &Blob, uses: i64) -> Result<bool> {
        let done = self
            .statement(
                "UPDATE registry_blobs SET doomed = 1
                 WHERE hash = ? AND generation = ? AND refs = 0 AND uses = ? AND doomed = 0",
            )
            .bind(blob.hash.clone())
            .bind(blob.generation.clone())
            .bind(uses)
            .execute(self.database.pool())
            .await
            .map_err(self.database.fault("collecting garbage"))?;
        Ok(done.rows_affected() > 0)
    }
}
