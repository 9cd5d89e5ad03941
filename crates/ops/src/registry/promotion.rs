//! Which version is in production, who said so, and what was before.

use super::catalogue::{Listed, Page, check_actor, no_model};
use super::reference::{Reference, check_alias, check_model, shown};
use super::{ATTEMPTS_MAX, Registry, breathe, gave_way};
use crate::error::{Error, Result};
use crate::traffic;
use sqlx::AnyConnection;
use std::str::FromStr;
use tradewind_core::ErrorKind;

const TEXT_CHARS_MAX: usize = 2000;

/// Who changes what answers, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who acts; never empty.
    pub actor: String,
    /// In which role, or empty.
    pub role: String,
    /// Who approved it or under which ticket, or empty.
    pub approval: String,
    /// Why; never empty.
    pub reason: String,
}

impl Change {
    /// A change without role and approval.
    pub fn new(actor: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { actor: actor.into(), reason: reason.into(), ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_actor(&self.actor)?;
        check_actor(&self.role)?;
        let long = [&self.approval, &self.reason]
            .into_iter()
            .find(|text| text.chars().count() > TEXT_CHARS_MAX || text.contains('\0'));
        if let Some(long) = long {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!("the reason or approval `{}` is too long or no text", shown(long)),
                format!("give {TEXT_CHARS_MAX} characters at most"),
            ));
        }
        if self.actor.trim().is_empty() || self.reason.trim().is_empty() {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                "a change of what answers needs an actor and a reason",
                "say who changes it and why; the history keeps both",
            ));
        }
        Ok(())
    }
}

/// What must stand before an alias moves; otherwise somebody else was first and nothing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever stands.
    Anybody,
    /// No version.
    Nobody,
    /// This version.
    Version(u64),
}

/// What kind of change a line of the history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The alias was given to a version.
    Promote,
    /// The alias went back to the version before.
    RollBack,
    /// The alias was taken away.
    Remove,
}

impl Move {
    /// The word in the history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::RollBack => "roll_back",
            Self::Remove => "remove",
        }
    }
}

impl FromStr for Move {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Promote, Self::RollBack, Self::Remove]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("the history knows no `{}`", shown(text)))
    }
}

/// Where an alias points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The alias.
    pub name: String,
    /// The version's number.
    pub number: u64,
    /// The line of the history that put it there.
    pub sequence: u64,
}

/// A line of a model's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Its place: 1, 2, … within the model, without holes. Order is by this, since clocks may jump.
    pub sequence: u64,
    /// The alias that moved.
    pub alias: String,
    /// What was done.
    pub kind: Move,
    /// The version before, if there was one.
    pub from: Option<u64>,
    /// The version after, if there is one.
    pub to: Option<u64>,
    /// Who, in which role, approved by whom, and why.
    pub change: Change,
    /// When, by the clock of the machine that did it, in milliseconds since 1970.
    pub at_ms: i64,
}

type Row = (i64, String, String, i64, i64, String, String, String, String, i64);

const LINES_OF_ALIAS: &str =
    "SELECT sequence, alias, kind, from_number, to_number, actor, role, approval, reason, at_ms
     FROM registry_promotions WHERE model = ? AND alias = ? ORDER BY sequence";

/// Where an alias shall go.
#[derive(Clone, Copy)]
enum Goal {
    To(u64),
    Back,
    Away,
}

impl Registry {
    /// Gives an alias to a version. If it stands there already nothing changes, and the line that put it there is
    /// answered.
    ///
    /// # Errors
    /// No such version; an archived one; another version stands than was expected; a change without actor or reason.
    pub async fn promote(
        &self,
        reference: &Reference,
        alias: &str,
        expect: Expect,
        change: &Change,
    ) -> Result<Promotion> {
        let number = self.version(reference).await?.number;
        self.move_alias(reference.model(), alias, Goal::To(number), expect, change).await
    }

    /// Puts an alias back to the version that stood before the present one; once more goes one further back. After a
    /// removal the removed version comes back.
    ///
    /// # Errors
    /// No version before, an archived one, another version stands than was expected, a change without actor or reason.
    pub async fn roll_back(
        &self,
        model: &str,
        alias: &str,
        expect: Expect,
        change: &Change,
    ) -> Result<Promotion> {
        self.move_alias(model, alias, Goal::Back, expect, change).await
    }

    /// Takes an alias away.
    ///
    /// # Errors
    /// No such alias, another version stands than was expected, a change without actor or reason.
    pub async fn remove_alias(
        &self,
        model: &str,
        alias: &str,
        expect: Expect,
        change: &Change,
    ) -> Result<Promotion> {
        self.move_alias(model, alias, Goal::Away, expect, change).await
    }

    async fn move_alias(
        &self,
        model: &str,
        alias: &str,
        goal: Goal,
        expect: Expect,
        change: &Change,
    ) -> Result<Promotion> {
        check_model(model)?;
        check_alias(alias)?;
        change.check()?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.database.begin().await?;
            let done = self.move_alias_in(&mut transaction, model, alias, goal, expect, change).await;
            match self.end(transaction, done, "moving an alias").await {
                Err(e) if gave_way(&e) && attempt < ATTEMPTS_MAX => breathe(attempt).await?,
                Ok(promotion) => {
                    tracing::info!(
                        model,
                        alias,
                        kind = promotion.kind.name(),
                        from = promotion.from,
                        to = promotion.to,
                        sequence = promotion.sequence,
                        "alias"
                    );
                    return Ok(promotion);
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn move_alias_in(
        &self,
        connection: &mut AnyConnection,
        model: &str,
        alias: &str,
        goal: Goal,
        expect: Expect,
        change: &Change,
    ) -> Result<Promotion> {
        let fault = self.database.fault("moving an alias");
        // From here on other changes of the model wait, so what is read stays true until the end.
        if !self.hold(connection, model).await? {
            return Err(no_model(model));
        }
        let stands: Option<(i64, i64)> = self
            .select("SELECT number, sequence FROM registry_aliases WHERE model = ? AND alias = ?")
            .bind(model.to_owned())
            .bind(alias.to_owned())
            .fetch_optional(&mut *connection)
            .await
            .map_err(&fault)?;
        let from = stands.map_or(0, |(number, _)| number);
        expected(model, alias, expect, from)?;
        let (kind, to) = match goal {
            Goal::To(number) => (Move::Promote, number as i64),
            Goal::Back => (Move::RollBack, self.before(connection, model, alias, from).await?),
            Goal::Away if from == 0 => return Err(no_alias(model, alias)),
            Goal::Away => {
                let reference = Reference::alias(model, alias)?;
                if let Some(route) = traffic::route_that_names(&self.database, connection, &reference).await?
                {
                    return Err(Error::asked(
                        ErrorKind::Conflict,
                        format!("{reference} answers part of the route {route}"),
                        "change the split of that route first",
                    ));
                }
                (Move::Remove, 0)
            }
        };
        if let (Move::Promote, Some((number, sequence))) = (kind, stands)
            && number == to
        {
            return self.line(connection, model, sequence).await;
        }
        if to != 0 {
            self.may_answer(connection, model, to).await?;
        }
        self.statement("UPDATE registry_models SET last_sequence = last_sequence + 1 WHERE name = ?")
            .bind(model.to_owned())
            .execute(&mut *connection)
            .await
            .map_err(&fault)?;
        let (sequence,): (i64,) = self
            .select("SELECT last_sequence FROM registry_models WHERE name = ?")
            .bind(model.to_owned())
            .fetch_one(&mut *connection)
            .await
            .map_err(&fault)?;
        self.set_alias(connection, model, alias, stands, to, sequence).await?;
        let at_ms = self.database.now_ms();
        self.statement(
            "INSERT INTO registry_promotions
             (model, sequence, alias, kind, from_number, to_number, actor, role, approval, reason, at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(model.to_owned())
        .bind(sequence)
        .bind(alias.to_owned())
        .bind(kind.name())
        .bind(from)
        .bind(to)
        .bind(change.actor.clone())
        .bind(change.role.clone())
        .bind(change.approval.clone())
        .bind(change.reason.clone())
        .bind(at_ms)
        .execute(connection)
        .await
        .map_err(&fault)?;
        Ok(Promotion {
            sequence: sequence as u64,
            alias: alias.to_owned(),
            kind,
            from: some(from),
            to: some(to),
            change: change.clone(),
            at_ms,
        })
    }

    async fn set_alias(
        &self,
        connection: &mut AnyConnection,
        model: &str,
        alias: &str,
        stands: Option<(i64, i64)>,
        to: i64,
        sequence: i64,
    ) -> Result<()> {
        let done = match stands {
            None => self
                .statement("INSERT INTO registry_aliases (number, sequence, model, alias) VALUES (?, ?, ?, ?)")
                .bind(to)
                .bind(sequence)
                .bind(model.to_owned())
                .bind(alias.to_owned()),
            Some((number, before)) if to == 0 => self
                .statement("DELETE FROM registry_aliases WHERE number = ? AND sequence = ? AND model = ? AND alias = ?")
                .bind(number)
                .bind(before)
                .bind(model.to_owned())
                .bind(alias.to_owned()),
            Some((_, before)) => self
                .statement(
                    "UPDATE registry_aliases SET number = ?, sequence = ? WHERE model = ? AND alias = ? AND sequence = ?",
                )
                .bind(to)
                .bind(sequence)
                .bind(model.to_owned())
                .bind(alias.to_owned())
                .bind(before),
        };
        let done = done.execute(connection).await.map_err(self.database.fault("moving an alias"))?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        Err(Error::asked(
            ErrorKind::Conflict,
            format!("{model}@{alias} moved meanwhile"),
            "look at the history and decide again",
        ))
    }

    /// A version that may get an alias or a share of traffic.
    async fn may_answer(&self, connection: &mut AnyConnection, model: &str, number: i64) -> Result<()> {
        may_answer(&self.database, connection, model, number).await
    }

    /// The version that stood before the present one, from the history.
    async fn before(
        &self,
        connection: &mut AnyConnection,
        model: &str,
        alias: &str,
        from: i64,
    ) -> Result<i64> {
        let rows: Vec<Row> = self
            .select(LINES_OF_ALIAS)
            .bind(model.to_owned())
            .bind(alias.to_owned())
            .fetch_all(connection)
            .await
            .map_err(self.database.fault("reading the history"))?;
        if rows.is_empty() {
            return Err(no_alias(model, alias));
        }
        let mut stack = Vec::new();
        for row in rows {
            let line = self.promotion(row)?;
            match (line.kind, line.to) {
                (Move::RollBack, Some(to)) => {
                    while stack.pop().is_some_and(|top| top != to) {}
                    stack.push(to);
                }
                // Removed and promoted again: nothing came between.
                (Move::Promote, Some(to)) if stack.last() != Some(&to) => stack.push(to),
                _ => {}
            }
        }
        // Where the alias was removed, the top is the version that stood before the removal.
        if from != 0 {
            stack.pop();
        }
        stack.pop().map(|number| number as i64).ok_or_else(|| {
            Error::asked(
                ErrorKind::NotFound,
                format!("no version was {alias} of {model} before version {from}"),
                "promote the version that shall answer",
            )
        })
    }

    async fn line(&self, connection: &mut AnyConnection, model: &str, sequence: i64) -> Result<Promotion> {
        let row: Option<Row> = self
            .select(
                "SELECT sequence, alias, kind, from_number, to_number, actor, role, approval, reason, at_ms
                 FROM registry_promotions WHERE model = ? AND sequence = ?",
            )
            .bind(model.to_owned())
            .bind(sequence)
            .fetch_optional(connection)
            .await
            .map_err(self.database.fault("reading the history"))?;
        let missing =
            || self.database.content(format!("line {sequence} of the history of {model} is missing"));
        self.promotion(row.ok_or_else(missing)?)
    }

    /// The aliases of a model by name.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn aliases(&self, model: &str) -> Result<Vec<Alias>> {
        let rows: Vec<(String, i64, i64)> = self
            .select("SELECT alias, number, sequence FROM registry_aliases WHERE model = ? ORDER BY alias")
            .bind(model.to_owned())
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading aliases"))?;
        Ok(rows
            .into_iter()
            .map(|(name, number, sequence)| Alias { name, number: number as u64, sequence: sequence as u64 })
            .collect())
    }

    pub(super) async fn alias(&self, model: &str, alias: &str) -> Result<Option<Alias>> {
        let row: Option<(i64, i64)> = self
            .select("SELECT number, sequence FROM registry_aliases WHERE model = ? AND alias = ?")
            .bind(model.to_owned())
            .bind(alias.to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("reading an alias"))?;
        Ok(row.map(|(number, sequence)| Alias {
            name: alias.to_owned(),
            number: number as u64,
            sequence: sequence as u64,
        }))
    }

    /// The history of a model, or of one alias of it, the last line first.
    ///
    /// # Errors
    /// No such model, a limit or place outside its range.
    pub async fn history(&self, model: &str, alias: Option<&str>, page: &Page) -> Result<Listed<Promotion>> {
        check_model(model)?;
        let (limit, after) = (page.limit()?, page.after_number(i64::MAX)?);
        let rows: Vec<Row> = self
            .select(
                "SELECT sequence, alias, kind, from_number, to_number, actor, role, approval, reason, at_ms
                 FROM registry_promotions
                 WHERE model = ? AND sequence < ? AND (alias = ? OR ? = '') ORDER BY sequence DESC LIMIT ?",
            )
            .bind(model.to_owned())
            .bind(after)
            .bind(alias.unwrap_or_default().to_owned())
            .bind(alias.unwrap_or_default().to_owned())
            .bind(limit + 1)
            .fetch_all(self.database.pool())
            .await
            .map_err(self.database.fault("reading the history"))?;
        if rows.is_empty() && !self.is_model(model).await? {
            return Err(no_model(model));
        }
        let lines = rows.into_iter().map(|row| self.promotion(row)).collect::<Result<Vec<_>>>()?;
        Ok(Listed::cut(lines, limit, |line| line.sequence.to_string()))
    }

    /// Who was in production at a time: the last line of an alias, by sequence, that is not younger than `at_ms`
    /// (milliseconds since 1970). Its `to` is the version that answered; nothing if the alias stood nowhere then. Where a
    /// clock jumped back, the later line counts.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn standing_at(&self, model: &str, alias: &str, at_ms: i64) -> Result<Option<Promotion>> {
        let row: Option<Row> = self
            .select(
                "SELECT sequence, alias, kind, from_number, to_number, actor, role, approval, reason, at_ms
                 FROM registry_promotions
                 WHERE model = ? AND alias = ? AND at_ms <= ? ORDER BY sequence DESC LIMIT 1",
            )
            .bind(model.to_owned())
            .bind(alias.to_owned())
            .bind(at_ms)
            .fetch_optional(self.database.pool())
            .await
            .map_err(self.database.fault("reading the history"))?;
        let line = row.map(|row| self.promotion(row)).transpose()?;
        Ok(line.filter(|line| line.to.is_some()))
    }

    fn promotion(&self, row: Row) -> Result<Promotion> {
        let (sequence, alias, kind, from, to, actor, role, approval, reason, at_ms) = row;
        Ok(Promotion {
            sequence: sequence as u64,
            alias,
            kind: kind.parse().map_err(|e: String| self.database.content(e))?,
            from: some(from),
            to: some(to),
            change: Change { actor, role, approval, reason },
            at_ms,
        })
    }
}

/// A version that may get an alias or a share of traffic.
pub(crate) async fn may_answer(
    database: &crate::Database,
    connection: &mut AnyConnection,
    model: &str,
    number: i64,
) -> Result<()> {
    let found: Option<(i64,)> =
        super::select(database, "SELECT archived_ms FROM registry_versions WHERE model = ? AND number = ?")
            .bind(model.to_owned())
            .bind(number)
            .fetch_optional(connection)
            .await
            .map_err(database.fault("reading a version"))?;
    match found {
        Some((0,)) => Ok(()),
        Some(_) => Err(Error::asked(
            ErrorKind::Conflict,
            format!("{model}@{number} is archived"),
            "restore it first, or take another version",
        )),
        None => Err(super::absent(&Reference::number(model, number as u64)?)),
    }
}

fn expected(model: &str, alias: &str, expect: Expect, stands: i64) -> Result<()> {
    let right = match expect {
        Expect::Anybody => true,
        Expect::Nobody => stands == 0,
        Expect::Version(number) => number > 0 && stands == number as i64,
    };
    if right {
        return Ok(());
    }
    let stands = if stands == 0 { "no version".to_owned() } else { format!("version {stands}") };
    let wanted = match expect {
        Expect::Version(number) => format!("version {number}"),
        _ => "no version".to_owned(),
    };
    Err(Error::asked(
        ErrorKind::Conflict,
        format!("{alias} of {model} is {stands}, not {wanted} as expected"),
        "somebody else moved it: look at the history and decide again",
    ))
}

fn no_alias(model: &str, alias: &str) -> Error {
    Error::asked(
        ErrorKind::NotFound,
        format!("{model} has no alias {alias}"),
        "`tradewind registry list` shows the models, their versions and aliases",
    )
}

fn some(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|&n| n > 0)
}
