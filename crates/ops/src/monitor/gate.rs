//! Challenger or champion: whether a new version is better on the newest window, and who says so.
//!
//! [`judge`] compares the two on the same cases (series, weeks) in pairs. [`Gate`] keeps what was judged: by rule, the
//! champion moves at once; by approval, a person is asked, and the alias moves when the person agrees and the champion is
//! still the one that was compared.

use crate::error::{Error, Result};
use crate::registry::{
    CHAMPION, Change, Expect, Promotion, Reference, Registry, random_name, select, shown, statement,
};
use serde::{Deserialize, Serialize};
use tradewind_core::ErrorKind;
use tradewind_core::distribution::{t_quantile, two_sided_p};

/// What a challenger must show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// By how much the loss must be smaller, as a share of the champion's: 0.01.
    pub improvement_min: f64,
    /// The one-sided p-value that chance must not exceed: 0.05.
    pub p_max: f64,
    /// Pairs that are needed: 20.
    pub pairs_min: u64,
    /// By how much any segment may get worse, as a share: 0.1.
    pub segment_worse_max: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self { improvement_min: 0.01, p_max: 0.05, pairs_min: 20, segment_worse_max: 0.1 }
    }
}

/// The losses of both on one case: the sum of absolute errors of one series over the window, say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedLoss {
    /// The champion's.
    pub champion: f64,
    /// The challenger's.
    pub challenger: f64,
}

/// The losses of both on a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentLoss {
    /// The segment.
    pub segment: String,
    /// The champion's.
    pub champion: f64,
    /// The challenger's.
    pub challenger: f64,
}

/// What the comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// The challenger is better.
    Better,
    /// It is not, or not beyond chance.
    NotBetter,
    /// It is better as a whole and too much worse in a segment.
    WorseInSegment,
    /// Too few pairs to say.
    TooFew,
}

/// A comparison of two versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What it says.
    pub verdict: GateVerdict,
    /// Pairs.
    pub pairs: u64,
    /// The share of the champion's loss that goes away: above 0 the challenger is better.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub improvement: f64,
    /// The lower end of the 95 % interval of the improvement.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub low: f64,
    /// Its upper end.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub high: f64,
    /// The one-sided p-value of the paired t-test.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub p: f64,
    /// Segments that get worse by more than is borne.
    pub worse: Vec<SegmentLoss>,
}

/// Compares two versions on the same cases. Pairs are taken as independent of one another: give series as cases rather
/// than the weeks of one series. Losses that are not finite on either side are left out.
///
/// The mean difference over the champion's mean loss, with Student's t for its interval and p-value.
///
/// ```
/// use tradewind_ops::monitor::gate::{GateSettings, GateVerdict, PairedLoss, judge};
/// let pairs: Vec<PairedLoss> = (0..40)
///     .map(|i| PairedLoss { champion: 10.0 + f64::from(i % 5), challenger: 9.0 + f64::from(i % 5) + 0.1 * f64::from(i % 3) })
///     .collect();
/// let judgement = judge(&pairs, &[], &GateSettings::default()).unwrap();
/// assert_eq!(judgement.verdict, GateVerdict::Better);
/// assert!((judgement.improvement - 0.075).abs() < 0.001);
/// ```
///
/// # Errors
/// Settings outside their range.
pub fn judge(pairs: &[PairedLoss], segments: &[SegmentLoss], settings: &GateSettings) -> Result<Judgement> {
    let GateSettings { improvement_min, p_max, pairs_min, segment_worse_max } = *settings;
    let share = (0.0..1.0).contains(&improvement_min) && segment_worse_max >= 0.0;
    if !(share && p_max > 0.0 && p_max < 1.0 && pairs_min >= 3) {
        return Err(Error::asked(
            ErrorKind::InvalidParams,
            format!("a gate of {improvement_min} with p {p_max} over {pairs_min} pairs"),
            "give an improvement of 0 to 1, a p-value between 0 and 1, 3 pairs or more, and a share for segments",
        ));
    }
    let kept: Vec<&PairedLoss> =
        pairs.iter().filter(|p| p.champion.is_finite() && p.challenger.is_finite()).collect();
    let n = kept.len() as f64;
    let champion = kept.iter().map(|p| p.champion).sum::<f64>() / n;
    let mean = kept.iter().map(|p| p.champion - p.challenger).sum::<f64>() / n;
    let squares: f64 = kept.iter().map(|p| (p.champion - p.challenger - mean).powi(2)).sum();
    let error = (squares / (n - 1.0) / n).sqrt();
    let df = n - 1.0;
    let (p, half) = if error > 0.0 {
        let tail = 0.5 * two_sided_p(mean / error, df);
        (if mean > 0.0 { tail } else { 1.0 - tail }, t_quantile(0.975, df) * error)
    } else {
        // All differences are the same.
        (if mean > 0.0 { 0.0 } else { 1.0 }, 0.0)
    };
    let worse: Vec<SegmentLoss> = segments
        .iter()
        .filter(|s| s.challenger > s.champion * (1.0 + segment_worse_max) && s.challenger.is_finite())
        .cloned()
        .collect();
    let improvement = mean / champion;
    let few = (kept.len() as u64) < pairs_min;
    let better = improvement >= improvement_min && improvement > 0.0 && p <= p_max;
    let verdict = match (few, better, worse.is_empty()) {
        (true, ..) => GateVerdict::TooFew,
        (false, false, _) => GateVerdict::NotBetter,
        (false, true, false) => GateVerdict::WorseInSegment,
        (false, true, true) => GateVerdict::Better,
    };
    let (low, high) = ((mean - half) / champion, (mean + half) / champion);
    Ok(Judgement { verdict, pairs: kept.len() as u64, improvement, low, high, p, worse })
}

/// Who moves the champion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// The rule: a better challenger is promoted at once.
    #[default]
    Rule,
    /// A person, who is asked.
    Person,
}

/// Where a question to a person stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has answered.
    Pending,
    /// Promoted.
    Approved,
    /// Not promoted.
    Rejected,
    /// A later challenger took its place.
    Replaced,
}

impl ApprovalState {
    const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Rejected, Self::Replaced];

    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Replaced => "replaced",
        }
    }
}

/// A challenger that a person is asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Its id.
    pub id: String,
    /// The model.
    pub model: String,
    /// The version that answers; 0 where none does.
    pub champion: u64,
    /// The version that may take its place.
    pub challenger: u64,
    /// Where it stands.
    pub state: ApprovalState,
    /// What the comparison says.
    pub judgement: Judgement,
    /// Who answered, or empty.
    pub actor: String,
    /// Why, or empty.
    pub reason: String,
    /// When it was asked, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was answered.
    pub decided_ms: Option<i64>,
}

/// What came of a challenger.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It answers from now on.
    Promoted(Promotion),
    /// A person is asked.
    Asked(Question),
    /// The champion stays.
    Kept,
}

/// Moves champions by rule or by a person's word.
#[derive(Clone, Debug)]
pub struct Gate {
    registry: Registry,
}

type Row = (String, String, i64, i64, String, String, String, String, i64, i64);

impl Gate {
    /// The gate of a registry.
    pub fn open(registry: Registry) -> Self {
        Self { registry }
    }

    /// Hands in a challenger with its judgement against the champion (nothing where none answers). A better one is
    /// promoted, or a person is asked, in place of any question about the model that is still open.
    ///
    /// # Errors
    /// No such version, an archived one, a champion that is no longer the one compared.
    pub async fn submit(
        &self,
        challenger: &Reference,
        champion: Option<u64>,
        judgement: &Judgement,
        approval: Approval,
    ) -> Result<Outcome> {
        let version = self.registry.version(challenger).await?;
        if judgement.verdict != GateVerdict::Better {
            tracing::info!(model = version.name, challenger = version.number, verdict = ?judgement.verdict, "kept");
            return Ok(Outcome::Kept);
        }
        if approval == Approval::Rule {
            let change = Change::new("system:gate", told(judgement));
            return self
                .promote(&version.name, version.number, champion, &change)
                .await
                .map(Outcome::Promoted);
        }
        let database = self.registry.database();
        let now = database.now_ms();
        let id = random_name()?;
        let text = serde_json::to_string(judgement).map_err(|e| {
            Error::asked(ErrorKind::Internal, format!("a judgement is no JSON: {e}"), "report this as a bug")
        })?;
        let fault = database.fault("asking about a challenger");
        let mut transaction = database.begin().await?;
        statement(
            database,
            "UPDATE monitor_approvals SET state = 'replaced', decided_ms = ? WHERE model = ? AND state = 'pending'",
        )
        .bind(now)
        .bind(version.name.clone())
        .execute(&mut *transaction)
        .await
        .map_err(&fault)?;
        statement(
            database,
            "INSERT INTO monitor_approvals (id, model, champion, challenger, state, judgement, actor, reason, created_ms,
             decided_ms) VALUES (?, ?, ?, ?, 'pending', ?, '', '', ?, 0)",
        )
        .bind(id.clone())
        .bind(version.name.clone())
        .bind(champion.unwrap_or(0) as i64)
        .bind(version.number as i64)
        .bind(text)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        self.question(&id).await.map(Outcome::Asked)
    }

    /// Agrees: the challenger is promoted if the champion is still the one that it was compared with.
    ///
    /// # Errors
    /// No open question of this id; another champion meanwhile; a change without actor or reason.
    pub async fn approve(&self, id: &str, change: &Change) -> Result<Promotion> {
        change.check()?;
        let question = self.open_question(id).await?;
        let mut noted = change.clone();
        noted.reason = format!("{} ({})", change.reason, told(&question.judgement));
        let champion = Some(question.champion).filter(|n| *n > 0);
        // Promoting twice changes nothing the second time, so the order is safe: alias first, answer after.
        let promotion = self.promote(&question.model, question.challenger, champion, &noted).await?;
        self.answer(id, ApprovalState::Approved, change).await?;
        Ok(promotion)
    }

    /// Disagrees: the champion stays.
    ///
    /// # Errors
    /// No open question of this id; a change without actor or reason.
    pub async fn reject(&self, id: &str, change: &Change) -> Result<()> {
        change.check()?;
        self.open_question(id).await?;
        self.answer(id, ApprovalState::Rejected, change).await
    }

    /// Questions, the last first, 1,000 at most; of one model and the open ones alone if so asked.
    ///
    /// # Errors
    /// A database that does not answer or holds something else.
    pub async fn questions(&self, model: Option<&str>, open: bool) -> Result<Vec<Question>> {
        let database = self.registry.database();
        let rows: Vec<Row> = select(
            database,
            "SELECT id, model, champion, challenger, state, judgement, actor, reason, created_ms, decided_ms
             FROM monitor_approvals WHERE (model = ? OR ? = '') AND (state = 'pending' OR ? = 0)
             ORDER BY created_ms DESC, id LIMIT 1000",
        )
        .bind(model.unwrap_or_default().to_owned())
        .bind(model.unwrap_or_default().to_owned())
        .bind(i64::from(open))
        .fetch_all(database.pool())
        .await
        .map_err(database.fault("reading questions about challengers"))?;
        rows.into_iter().map(|row| self.read(row)).collect()
    }

    /// One question.
    ///
    /// # Errors
    /// None of this id.
    pub async fn question(&self, id: &str) -> Result<Question> {
        let database = self.registry.database();
        let row: Option<Row> = select(
            database,
            "SELECT id, model, champion, challenger, state, judgement, actor, reason, created_ms, decided_ms
             FROM monitor_approvals WHERE id = ?",
        )
        .bind(id.to_owned())
        .fetch_optional(database.pool())
        .await
        .map_err(database.fault("reading a question about a challenger"))?;
        let absent = || {
            Error::asked(
                ErrorKind::NotFound,
                format!("there is no question {}", shown(id)),
                "the list of questions shows which there are",
            )
        };
        self.read(row.ok_or_else(absent)?)
    }

    async fn open_question(&self, id: &str) -> Result<Question> {
        let question = self.question(id).await?;
        if question.state == ApprovalState::Pending {
            return Ok(question);
        }
        Err(Error::asked(
            ErrorKind::Conflict,
            format!("the question {id} is {}", question.state.name()),
            "promote the version by hand if it shall answer all the same",
        ))
    }

    async fn promote(
        &self,
        model: &str,
        challenger: u64,
        champion: Option<u64>,
        change: &Change,
    ) -> Result<Promotion> {
        // It stands there already: a second answer to the same question.
        let aliases = self.registry.aliases(model).await?;
        let stands = aliases.iter().find(|a| a.name == CHAMPION).map(|a| a.number);
        let expect = match champion {
            _ if stands == Some(challenger) => Expect::Version(challenger),
            Some(number) => Expect::Version(number),
            None => Expect::Nobody,
        };
        let reference = Reference::number(model, challenger)?;
        self.registry.promote(&reference, CHAMPION, expect, change).await
    }

    async fn answer(&self, id: &str, state: ApprovalState, change: &Change) -> Result<()> {
        let database = self.registry.database();
        statement(
            database,
            "UPDATE monitor_approvals SET state = ?, actor = ?, reason = ?, decided_ms = ? WHERE id = ? AND state = 'pending'",
        )
        .bind(state.name())
        .bind(change.actor.clone())
        .bind(change.reason.clone())
        .bind(database.now_ms())
        .bind(id.to_owned())
        .execute(database.pool())
        .await
        .map_err(database.fault("answering a question about a challenger"))?;
        Ok(())
    }

    fn read(&self, row: Row) -> Result<Question> {
        let database = self.registry.database();
        let (id, model, champion, challenger, state, judgement, actor, reason, created_ms, decided_ms) = row;
        let state = ApprovalState::ALL
            .into_iter()
            .find(|s| s.name() == state)
            .ok_or_else(|| database.content(format!("no question is `{}`", shown(&state))))?;
        let judgement = serde_json::from_str(&judgement)
            .map_err(|e| database.content(format!("the question {id} cannot be read: {e}")))?;
        Ok(Question {
            id,
            model,
            champion: champion as u64,
            challenger: challenger as u64,
            state,
            judgement,
            actor,
            reason,
            created_ms,
            decided_ms: Some(decided_ms).filter(|ms| *ms != 0),
        })
    }
}

/// A judgement in one sentence, for the history.
fn told(judgement: &Judgement) -> String {
    format!(
        "{:.1} % less loss than the champion on {} pairs of the newest window (95 % interval {:.1} to {:.1} %, p = {:.4})",
        judgement.improvement * 100.0,
        judgement.pairs,
        judgement.low * 100.0,
        judgement.high * 100.0,
        judgement.p
    )
}
