//! Looking up and listing models and versions, their labels and remarks, and the archive.

use super::manifest::{Kind, Manifest};
use super::promotion::Alias;
use super::reference::{CHAMPION, Reference, Select, check_model, shown};
use super::register::json;
use super::{Registry, Version, absent};
use crate::error::{Error, Result};
use sqlx::AnyConnection;
use std::collections::BTreeMap;
use tradewind_core::ErrorKind;

/// Labels of one version at most.
const TAGS_MAX: usize = 64;
const TAG_NAME_CHARS_MAX: usize = 64;
const TAG_CHARS_MAX: usize = 1024;
const NOTES_BYTES_MAX: usize = 64 << 10;
const ACTOR_CHARS_MAX: usize = 191;
const LIMIT_MAX: u32 = 1000;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where the part before ended, as [`Listed::next`] told; nothing for the first.
    pub after: Option<String>,
    /// Entries at most, 1 to 1000.
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

impl Page {
    pub(crate) fn limit(&self) -> Result<i64> {
        if (1..=LIMIT_MAX).contains(&self.limit) {
            return Ok(i64::from(self.limit));
        }
        Err(Error::asked(
            ErrorKind::InvalidParams,
            format!("a part of {} entries", self.limit),
            format!("ask for 1 to {LIMIT_MAX} at a time"),
        ))
    }

    /// The number that the list goes on behind.
    pub(crate) fn after_number(&self, first: i64) -> Result<i64> {
        let Some(after) = &self.after else { return Ok(first) };
        after.parse().map_err(|_| {
            Error::asked(
                ErrorKind::InvalidParams,
                format!("`{}` is no place in this list", shown(after)),
                "give the `next` of the part before",
            )
        })
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The entries.
    pub items: Vec<T>,
    /// What to ask for next; nothing when this was the end.
    pub next: Option<String>,
}

impl<T> Listed<T> {
    /// From one entry more than was asked for, if there are so many.
    pub(crate) fn cut(mut items: Vec<T>, limit: i64, place: impl Fn(&T) -> String) -> Self {
        let more = items.len() as i64 > limit;
        items.truncate(limit as usize);
        let next = if more { items.last().map(place) } else { None };
        Self { items, next }
    }
}

/// Which versions a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionFilter {
    /// Of this kind alone.
    pub kind: Option<Kind>,
    /// Archived ones as well.
    pub archived: bool,
}

/// A model as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// How many versions there are, archived ones included.
    pub versions: u64,
    /// When the first was registered, in milliseconds since 1970.
    pub created_ms: i64,
    /// Where its aliases point.
    pub aliases: Vec<Alias>,
}

/// A change of labels and remarks; what is nothing stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The remarks.
    pub text: Option<String>,
    /// Labels to set.
    pub set: BTreeMap<String, String>,
    /// Labels to take away.
    pub unset: Vec<String>,
}

/// The columns of a version, as [`Registry::numbered`] reads them.
type Row = (String, i64, String, i64, String, i64, String, String);

impl Registry {
    /// The version that a reference means just now.
    ///
    /// # Errors
    /// No such model, version or alias.
    pub async fn version(&self, reference: &Reference) -> Result<Version> {
        let model = reference.model();
        let number = match reference.select() {
            Select::Number(number) => Some(*number),
            Select::Alias(alias) => self.alias(model, alias).await?.map(|a| a.number),
            Select::Latest => self.latest(model).await?,
            Select::Usual => match self.alias(model, CHAMPION).await? {
                Some(champion) => Some(champion.number),
                None => self.latest(model).await?,
            },
        };
        let number = number.ok_or_else(|| absent(reference))?;
        self.numbered(model, number).await
    }

    async fn latest(&self, model: &str) -> Result<Option<u64>> {
        let found: Option<(i64,)> = self
            .select(
                "SELECT number FROM registry_versions WHERE model = ? AND archived_ms = 0 ORDER BY number DESC LIMIT 1",
            )
            .bind(model.to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("looking for the newest version"))?;
        Ok(found.map(|(number,)| number as u64))
    }

    pub(super) async fn numbered(&self, model: &str, number: u64) -> Result<Version> {
        let row: Option<Row> = self
            .select(
                "SELECT model, number, manifest, created_ms, created_by, archived_ms, tags, notes
                 FROM registry_versions WHERE model = ? AND number = ?",
            )
            .bind(model.to_owned())
            .bind(number as i64)
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("reading a version"))?;
        match row {
            Some(row) => self.read(row),
            None => Err(absent(&Reference::number(model, number)?)),
        }
    }

    /// Versions of a model, the newest first.
    ///
    /// # Errors
    /// A limit or place outside its range, no such model.
    pub async fn versions(&self, model: &str, filter: VersionFilter, page: &Page) -> Result<Listed<Version>> {
        check_model(model)?;
        let (limit, after) = (page.limit()?, page.after_number(i64::MAX)?);
        let rows: Vec<Row> = self
            .select(
                "SELECT model, number, manifest, created_ms, created_by, archived_ms, tags, notes
                 FROM registry_versions
                 WHERE model = ? AND number < ? AND (archived_ms = 0 OR ? = 1) AND (kind = ? OR ? = '')
                 ORDER BY number DESC LIMIT ?",
            )
            .bind(model.to_owned())
            .bind(after)
            .bind(i64::from(filter.archived))
            .bind(filter.kind.map_or("", Kind::name))
            .bind(filter.kind.map_or("", Kind::name))
            .bind(limit + 1)
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("listing versions"))?;
        if rows.is_empty() && page.after.is_none() && !self.is_model(model).await? {
            return Err(no_model(model));
        }
        let versions = rows.into_iter().map(|row| self.read(row)).collect::<Result<Vec<_>>>()?;
        Ok(Listed::cut(versions, limit, |v| v.number.to_string()))
    }

    /// Models by name.
    ///
    /// # Errors
    /// A limit outside its range.
    pub async fn models(&self, page: &Page) -> Result<Listed<ModelSummary>> {
        let limit = page.limit()?;
        let fault = self.database.fault("listing models");
        let rows: Vec<(String, i64, i64)> = self
            .select(
                "SELECT name, last_number, created_ms FROM registry_models
                 WHERE last_number > 0 AND name > ? ORDER BY name LIMIT ?",
            )
            .bind(page.after.clone().unwrap_or_default())
            .bind(limit + 1)
            .fetch_all(self.database.pool())
            .await
            .map_err(&fault)?;
        let mut items = Vec::with_capacity(rows.len());
        for (name, versions, created_ms) in rows {
            items.push(ModelSummary { name, versions: versions as u64, created_ms, aliases: Vec::new() });
        }
        let mut out = Listed::cut(items, limit, |m| m.name.clone());
        for model in &mut out.items {
            model.aliases = self.aliases(&model.name).await?;
        }
        Ok(out)
    }

    pub(super) async fn is_model(&self, model: &str) -> Result<bool> {
        let found: Option<(i64,)> = self
            .select("SELECT last_number FROM registry_models WHERE name = ? AND last_number > 0")
            .bind(model.to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("looking for a model"))?;
        Ok(found.is_some())
    }

    /// Changes labels and remarks of a version; what the version is stays.
    ///
    /// # Errors
    /// No such version, labels or remarks outside their range.
    pub async fn annotate(&self, reference: &Reference, notes: &Notes) -> Result<Version> {
        check_tags(&notes.set)?;
        check_notes(notes.text.as_deref().unwrap_or_default())?;
        let version = self.version(reference).await?;
        let mut transaction = self.database.begin().await?;
        let done = self.annotate_in(&mut transaction, &version, notes).await;
        self.end(transaction, done, "changing labels").await?;
        self.numbered(&version.name, version.number).await
    }

    async fn annotate_in(
        &self,
        connection: &mut AnyConnection,
        version: &Version,
        notes: &Notes,
    ) -> Result<()> {
        let fault = self.database.fault("changing labels");
        self.hold(connection, &version.name).await?;
        let (tags, text): (String, String) = self
            .select("SELECT tags, notes FROM registry_versions WHERE model = ? AND number = ?")
            .bind(version.name.clone())
            .bind(version.number as i64)
            .fetch_one(&mut *connection)
            .await
            .map_err(&fault)?;
        let mut tags: BTreeMap<String, String> = self.parse(&tags, &version.name, version.number)?;
        tags.retain(|name, _| !notes.unset.contains(name));
        tags.extend(notes.set.clone());
        check_tags(&tags)?;
        self.statement("UPDATE registry_versions SET tags = ?, notes = ? WHERE model = ? AND number = ?")
            .bind(json(&tags)?)
            .bind(notes.text.clone().unwrap_or(text))
            .bind(version.name.clone())
            .bind(version.number as i64)
            .execute(connection)
            .await
            .map_err(&fault)?;
        Ok(())
    }

    /// Takes a version out of lists and of promotion; its files stay.
    ///
    /// # Errors
    /// No such version; an alias or a traffic split that points to it.
    pub async fn archive(&self, reference: &Reference) -> Result<Version> {
        self.set_archived(reference, true).await
    }

    /// Brings an archived version back.
    ///
    /// # Errors
    /// No such version.
    pub async fn restore(&self, reference: &Reference) -> Result<Version> {
        self.set_archived(reference, false).await
    }

    async fn set_archived(&self, reference: &Reference, archived: bool) -> Result<Version> {
        let version = self.version(reference).await?;
        let mut transaction = self.database.begin().await?;
        let done = self.set_archived_in(&mut transaction, &version, archived).await;
        self.end(transaction, done, "archiving a version").await?;
        self.numbered(&version.name, version.number).await
    }

    async fn set_archived_in(
        &self,
        connection: &mut AnyConnection,
        version: &Version,
        archived: bool,
    ) -> Result<()> {
        let fault = self.database.fault("archiving a version");
        self.hold(connection, &version.name).await?;
        if archived {
            let aliases: Vec<(String,)> = self
                .select("SELECT alias FROM registry_aliases WHERE model = ? AND number = ? ORDER BY alias")
                .bind(version.name.clone())
                .bind(version.number as i64)
                .fetch_all(&mut *connection)
                .await
                .map_err(&fault)?;
            if !aliases.is_empty() {
                let names: Vec<String> = aliases.into_iter().map(|(name,)| name).collect();
                return Err(Error::asked(
                    ErrorKind::Conflict,
                    format!("{} is {}", version.reference(), names.join(", ")),
                    "move or remove the alias first",
                ));
            }
            if let Some(route) = crate::traffic::route_of(&self.database, connection, version).await? {
                return Err(Error::asked(
                    ErrorKind::Conflict,
                    format!("{} answers part of the route {route}", version.reference()),
                    "change the split of that route first",
                ));
            }
        }
        // An archived version keeps the time when it was archived first.
        self.statement(
            "UPDATE registry_versions SET archived_ms = CASE WHEN ? = 0 THEN 0 WHEN archived_ms = 0 THEN ? ELSE archived_ms END
             WHERE model = ? AND number = ?",
        )
        .bind(i64::from(archived))
        .bind(self.database.now_ms().max(1))
        .bind(version.name.clone())
        .bind(version.number as i64)
        .execute(connection)
        .await
        .map_err(&fault)?;
        Ok(())
    }

    /// Ends a transaction as its work ended.
    pub(super) async fn end<T>(
        &self,
        transaction: sqlx::Transaction<'static, sqlx::Any>,
        done: Result<T>,
        action: &'static str,
    ) -> Result<T> {
        end(&self.database, transaction, done, action).await
    }

    fn read(&self, row: Row) -> Result<Version> {
        let (name, number, manifest, created_ms, created_by, archived_ms, tags, notes) = row;
        let number = number as u64;
        let manifest: Manifest = self.parse(&manifest, &name, number)?;
        Ok(Version {
            kind: manifest.kind,
            artifact_hash: manifest.artifact_hash.clone(),
            manifest,
            created_ms,
            created_by,
            archived_ms: Some(archived_ms).filter(|&ms| ms != 0),
            tags: self.parse(&tags, &name, number)?,
            notes,
            name,
            number,
        })
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, text: &str, name: &str, number: u64) -> Result<T> {
        serde_json::from_str(text)
            .map_err(|e| self.database.content(format!("{name}@{number} cannot be read: {e}")))
    }
}

/// Ends a transaction as its work ended.
pub(crate) async fn end<T>(
    database: &crate::Database,
    transaction: sqlx::Transaction<'static, sqlx::Any>,
    done: Result<T>,
    action: &'static str,
) -> Result<T> {
    match done {
        Ok(value) => {
            transaction.commit().await.map_err(database.fault(action))?;
            Ok(value)
        }
        Err(e) => {
            // The first error is the one that tells.
            let _ = transaction.rollback().await;
            Err(e)
        }
    }
}

pub(super) fn no_model(model: &str) -> Error {
    Error::asked(
        ErrorKind::NotFound,
        format!("there is no model `{}`", shown(model)),
        "`tradewind registry list` shows the models",
    )
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    let wrong = |text: String| {
        Err(Error::asked(
            ErrorKind::InvalidParams,
            text,
            format!(
                "give {TAGS_MAX} labels at most, with names up to {TAG_NAME_CHARS_MAX} and values up to {TAG_CHARS_MAX} characters"
            ),
        ))
    };
    if tags.len() > TAGS_MAX {
        return wrong(format!("{} labels", tags.len()));
    }
    for (name, value) in tags {
        let named = !name.is_empty() && name.chars().count() <= TAG_NAME_CHARS_MAX;
        if !named || value.chars().count() > TAG_CHARS_MAX || (name.clone() + value).contains(['\0']) {
            return wrong(format!("the label `{}`", shown(name)));
        }
    }
    Ok(())
}

pub(super) fn check_notes(notes: &str) -> Result<()> {
    if notes.len() <= NOTES_BYTES_MAX && !notes.contains('\0') {
        return Ok(());
    }
    Err(Error::asked(
        ErrorKind::InvalidParams,
        format!("remarks of {} bytes", notes.len()),
        format!("give {NOTES_BYTES_MAX} bytes of text at most"),
    ))
}

pub(crate) fn check_actor(actor: &str) -> Result<()> {
    if actor.chars().count() <= ACTOR_CHARS_MAX && !actor.contains(char::is_control) {
        return Ok(());
    }
    Err(Error::asked(
        ErrorKind::InvalidParams,
        format!("`{}` is no name of who acts", shown(actor)),
        format!("give {ACTOR_CHARS_MAX} characters at most, without control characters"),
    ))
}
