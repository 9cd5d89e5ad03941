//! Whether everything is as it was registered.

use super::store::{Blob, Condition};
use super::{Listed, Move, Page, Registry, Version, VersionFilter};
use crate::error::Result;
use std::collections::BTreeMap;

/// Findings kept at most; more are only counted.
const FINDINGS_MAX: usize = 1000;

/// What a check saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Models.
    pub models: u64,
    /// Versions.
    pub versions: u64,
    /// Kept files that were read through.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files in the store that no row names; the store may be shared with other databases, so they are left alone.
    pub unknown_files: u64,
    /// What is wrong, 1000 at most.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub faults: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults == 0
    }

    fn add(&mut self, subject: impl Into<String>, problem: impl Into<String>) {
        self.faults += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { subject: subject.into(), problem: problem.into() });
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The version, file or alias.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Registry {
    /// Reads everything through: each version against its hash, each file against its manifest, the numbers for holes,
    /// the aliases against their history. What is wrong is in the report.
    ///
    /// # Errors
    /// A store or database that does not answer.
    pub async fn verify(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut page = Page { after: None, limit: 500 };
        // Condition of each kept file, so that shared ones are read once.
        let mut seen: BTreeMap<Blob, Condition> = BTreeMap::new();
        loop {
            let models = self.models(&page).await?;
            for model in &models.items {
                report.models += 1;
                self.verify_versions(&model.name, &mut seen, &mut report).await?;
                self.verify_history(&model.name, &mut report).await?;
            }
            page.after = models.next;
            if page.after.is_none() {
                break;
            }
        }
        self.verify_counts(&mut report).await?;
        for blob in self.store.blobs().await? {
            if !seen.contains_key(&blob) && !self.is_announced(&blob).await? {
                report.unknown_files += 1;
            }
        }
        Ok(report)
    }

    async fn verify_versions(
        &self,
        model: &str,
        seen: &mut BTreeMap<Blob, Condition>,
        report: &mut Report,
    ) -> Result<()> {
        let mut page = Page { after: None, limit: 100 };
        let mut below: Option<u64> = None;
        loop {
            let filter = VersionFilter { kind: None, archived: true };
            let Listed { items, next } = self.versions(model, filter, &page).await?;
            for version in &items {
                report.versions += 1;
                if below.is_some_and(|above| above != version.number + 1) {
                    report.add(version.reference().to_string(), "the number after it is missing");
                }
                below = Some(version.number);
                self.verify_version(version, seen, report).await?;
            }
            page.after = next;
            if page.after.is_none() {
                break;
            }
        }
        if below != Some(1) {
            report.add(model, "its numbers do not begin with 1");
        }
        Ok(())
    }

    async fn verify_version(
        &self,
        version: &Version,
        seen: &mut BTreeMap<Blob, Condition>,
        report: &mut Report,
    ) -> Result<()> {
        let manifest = &version.manifest;
        let name = version.reference().to_string();
        if manifest.hash() != version.artifact_hash
            || manifest.name != version.name
            || manifest.number != version.number
        {
            report.add(&name, "its manifest is not the one that was registered");
        }
        let blobs = self.blobs_of(version).await?;
        for file in &manifest.files {
            let Some(blob) = blobs.get(&file.blake3) else {
                report.add(format!("{name}: {}", file.path), "the database does not say where it lies");
                continue;
            };
            let condition = match seen.get(blob) {
                Some(&condition) => condition,
                None => {
                    report.files += 1;
                    report.bytes += file.bytes;
                    let condition = self.store.condition(blob, file.bytes).await?;
                    seen.insert(blob.clone(), condition);
                    condition
                }
            };
            match condition {
                Condition::Sound => {}
                Condition::Missing => {
                    report.add(
                        format!("{name}: {}", file.path),
                        format!("missing: {}", self.store.place_of(blob)),
                    );
                }
                Condition::Damaged => {
                    report.add(
                        format!("{name}: {}", file.path),
                        format!("damaged: {}", self.store.place_of(blob)),
                    );
                }
            }
        }
        Ok(())
    }

    /// Aliases stand where their last line says; lines follow one another.
    async fn verify_history(&self, model: &str, report: &mut Report) -> Result<()> {
        let mut found = Vec::new();
        // An alias may move between the two readings: what is wrong stays wrong.
        for _ in 0..3 {
            found = self.faults_of_history(model).await?;
            if found.is_empty() {
                break;
            }
        }
        for (subject, problem) in found {
            report.add(subject, problem);
        }
        Ok(())
    }

    async fn faults_of_history(&self, model: &str) -> Result<Vec<(String, String)>> {
        let mut page = Page { after: None, limit: 500 };
        let mut lines = Vec::new();
        loop {
            let part = self.history(model, None, &page).await?;
            lines.extend(part.items);
            page.after = part.next;
            if page.after.is_none() {
                break;
            }
        }
        let mut out = Vec::new();
        let mut standing: BTreeMap<String, (Option<u64>, u64)> = BTreeMap::new();
        for (n, line) in lines.iter().rev().enumerate() {
            if line.sequence != n as u64 + 1 {
                out.push((model.to_owned(), format!("line {} of its history is missing", n + 1)));
                break;
            }
            let before = standing.get(&line.alias).and_then(|(to, _)| *to);
            if line.from != before || (line.kind == Move::Remove) != line.to.is_none() {
                let problem = format!("line {} of its history does not follow the one before", line.sequence);
                out.push((model.to_owned(), problem));
            }
            standing.insert(line.alias.clone(), (line.to, line.sequence));
        }
        let aliases = self.aliases(model).await?;
        for alias in &aliases {
            if standing.get(&alias.name) != Some(&(Some(alias.number), alias.sequence)) {
                let problem = "it does not stand where its history says".to_owned();
                out.push((format!("{model}@{}", alias.name), problem));
            }
        }
        for (name, (to, _)) in standing {
            if to.is_some() && !aliases.iter().any(|a| a.name == name) {
                let problem = "its history says that it stands, and it does not".to_owned();
                out.push((format!("{model}@{name}"), problem));
            }
        }
        Ok(out)
    }

    /// Files are counted as often as versions name them; a smaller count would let garbage collection take them.
    async fn verify_counts(&self, report: &mut Report) -> Result<()> {
        let fault = self.database.fault("counting files");
        // Each question is one statement: a registration between two would look like a fault.
        let counted: Vec<(String, String, i64, i64)> = self
            .select(
                "SELECT b.hash, b.generation, b.refs, count(f.hash) FROM registry_blobs b
                 LEFT JOIN registry_files f ON f.hash = b.hash AND f.generation = b.generation
                 GROUP BY b.hash, b.generation, b.refs, b.doomed
                 HAVING b.refs <> count(f.hash) OR (b.doomed = 1 AND b.refs > 0)",
            )
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        for (hash, generation, refs, n) in counted {
            let place = self.store.place_of(&Blob { hash, generation });
            report.add(place, format!("counted {refs} times, named by {n} versions"));
        }
        let uncounted: Vec<(String, i64, String)> = self
            .select(
                "SELECT f.model, f.number, f.hash FROM registry_files f
                 LEFT JOIN registry_blobs b ON f.hash = b.hash AND f.generation = b.generation
                 WHERE b.hash IS NULL",
            )
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        for (model, number, hash) in uncounted {
            report.add(format!("{model}@{number}"), format!("the file {hash} is counted nowhere"));
        }
        Ok(())
    }

    async fn is_announced(&self, blob: &Blob) -> Result<bool> {
        let found: Option<(i64,)> = self
            .select("SELECT refs FROM registry_blobs WHERE hash = ? AND generation = ?")
            .bind(blob.hash.clone())
            .bind(blob.generation.clone())
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("looking for a file"))?;
        Ok(found.is_some())
    }
}
