//! Figures that planners set against a forecast, kept in the shop's state. They are only added: an override that was
//! taken back stays, with who took it back and why.

use crate::error::{Error, Result};
use crate::shop::Shop;
use crate::state::State;
use serde::{Deserialize, Serialize};
use tradewind_core::Stamp;

/// What a planner says instead of the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// This value at each step.
    Value(f64),
    /// The model's mean times this.
    Factor(f64),
}

/// An override to be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewOverride {
    /// Who says so.
    pub author: String,
    /// Why.
    pub note: String,
    /// What makes the series, as `product`.
    pub by: String,
    /// What is forecast, as `units`.
    pub target: String,
    /// The frequency, as `D`.
    pub freq: String,
    /// The series.
    pub unique_id: String,
    /// The first step it holds for.
    pub first: Stamp,
    /// The last step it holds for.
    pub last: Stamp,
    /// What is said.
    pub figure: Figure,
    /// The last step of the data that were known then.
    pub known: Stamp,
}

/// That an override was taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// When, in milliseconds since 1970, UTC.
    pub made_ms: i64,
    /// By whom.
    pub author: String,
    /// Why.
    pub note: String,
}

/// An override that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// Its number; later ones have larger numbers.
    pub id: i64,
    /// When it was made, in milliseconds since 1970, UTC.
    pub made_ms: i64,
    /// What was said.
    #[serde(flatten)]
    pub said: NewOverride,
    /// Whether and why it was taken back.
    pub withdrawn: Option<Withdrawal>,
}

impl Shop {
    /// All overrides, oldest first, those that were taken back among them.
    ///
    /// # Errors
    /// Faults of the shop's state.
    pub fn overrides(&self) -> Result<Vec<Override>> {
        self.wait(self.state().overrides())
    }

    /// Keeps an override.
    ///
    /// # Errors
    /// Steps in the wrong order, a figure that is no number or below zero, an empty author or note; faults of the state.
    pub fn add_override(&self, said: &NewOverride) -> Result<Override> {
        let (Figure::Value(v) | Figure::Factor(v)) = said.figure;
        let wrong = |what: &str| {
            Err(Error::Core(tradewind_core::Error::Invalid(format!(
                "override of series `{}`: {what}",
                said.unique_id
            ))))
        };
        if said.first > said.last {
            return wrong("its last day lies before its first");
        }
        if !v.is_finite() || v < 0.0 {
            return wrong(&format!("{v} is no figure; give a number that is not below zero"));
        }
        if said.note.trim().is_empty() || said.author.trim().is_empty() {
            return wrong("the note or the author is empty; say who and why, so that it can be judged later");
        }
        let id = self.wait(self.state().add_override(said, now_ms()))?;
        self.override_with(id)
    }

    /// Takes an override back.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that number, or it was taken back already; faults of the state.
    pub fn withdraw_override(&self, id: i64, author: &str, note: &str) -> Result<Override> {
        let active: Vec<i64> =
            self.overrides()?.iter().filter(|o| o.withdrawn.is_none()).map(|o| o.id).collect();
        if !active.contains(&id) {
            let known = active.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::NotFound { what: "override that holds", name: id.to_string(), known });
        }
        self.wait(self.state().withdraw_override(id, now_ms(), author, note))?;
        self.override_with(id)
    }

    fn override_with(&self, id: i64) -> Result<Override> {
        self.overrides()?.into_iter().find(|o| o.id == id).ok_or_else(|| Error::NotFound {
            what: "override",
            name: id.to_string(),
            known: String::new(),
        })
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

impl State {
    async fn overrides(&self) -> Result<Vec<Override>> {
        let rows = sqlx::query(
            "SELECT o.*, w.made_ms AS gone_ms, w.author AS gone_author, w.note AS gone_note \
             FROM overrides o LEFT JOIN override_withdrawals w ON w.override_id = o.id ORDER BY o.id",
        )
        .fetch_all(self.pool())
        .await
        .map_err(self.fault("listing overrides"))?;
        rows.iter()
            .map(|row| {
                let (value, factor): (Option<f64>, Option<f64>) =
                    (self.get(row, "value")?, self.get(row, "factor")?);
                let gone: Option<i64> = self.get(row, "gone_ms")?;
                Ok(Override {
                    id: self.get(row, "id")?,
                    made_ms: self.get(row, "made_ms")?,
                    said: NewOverride {
                        author: self.get(row, "author")?,
                        note: self.get(row, "note")?,
                        by: self.get(row, "grouping")?,
                        target: self.get(row, "target")?,
                        freq: self.get(row, "freq")?,
                        unique_id: self.get(row, "unique_id")?,
                        first: self.get(row, "first_ds")?,
                        last: self.get(row, "last_ds")?,
                        figure: match factor {
                            Some(f) => Figure::Factor(f),
                            None => Figure::Value(value.unwrap_or(f64::NAN)),
                        },
                        known: self.get(row, "known_ds")?,
                    },
                    withdrawn: match gone {
                        None => None,
                        Some(made_ms) => Some(Withdrawal {
                            made_ms,
                            author: self.get(row, "gone_author")?,
                            note: self.get(row, "gone_note")?,
                        }),
                    },
                })
            })
            .collect()
    }

    async fn add_override(&self, said: &NewOverride, made_ms: i64) -> Result<i64> {
        let (value, factor) = match said.figure {
            Figure::Value(v) => (Some(v), None),
            Figure::Factor(f) => (None, Some(f)),
        };
        let done = sqlx::query(
            "INSERT INTO overrides (made_ms, author, note, grouping, target, freq, unique_id, first_ds, last_ds, \
             value, factor, known_ds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(made_ms)
        .bind(&said.author)
        .bind(&said.note)
        .bind(&said.by)
        .bind(&said.target)
        .bind(&said.freq)
        .bind(&said.unique_id)
        .bind(said.first)
        .bind(said.last)
        .bind(value)
        .bind(factor)
        .bind(said.known)
        .execute(self.pool())
        .await
        .map_err(self.fault("keeping an override"))?;
        Ok(done.last_insert_rowid())
    }

    async fn withdraw_override(&self, id: i64, made_ms: i64, author: &str, note: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO override_withdrawals (override_id, made_ms, author, note) VALUES (?, ?, ?, ?)",
        )
        .bind(id)
        .bind(made_ms)
        .bind(author)
        .bind(note)
        .execute(self.pool())
        .await
        .map(drop)
        .map_err(self.fault("taking an override back"))
    }
}
