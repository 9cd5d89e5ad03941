//! Plans, slots and assignments: who belongs to which arm.

use super::slots::{self, Run};
use super::{check_route, wrong};
use crate::error::Result;
use crate::registry::{Reference, shown};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What all weights of a split sum to: hundredths of a percent.
pub const WHOLE: u32 = 10_000;

const ARMS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 63;
const SALT_CHARS_MAX: usize = 128;

/// A version that answers a share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name in this split, by which it keeps its users when its weight or version changes: `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// The version.
    pub reference: Reference,
    /// Its share in hundredths of a percent; 0 keeps the arm without users.
    pub weight: u32,
}

/// A version that is asked as well, and whose answer is noted and thrown away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Its name in this split: `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// The version.
    pub reference: Reference,
    /// Of how many users or requests, in hundredths of a percent.
    pub share: u32,
}

/// What a split shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The arms; their weights sum to [`WHOLE`].
    pub arms: Vec<Arm>,
    /// The shadows.
    pub shadows: Vec<Shadow>,
    /// What the hash of users is keyed by; nothing keeps the present one, or draws one. Another salt deals all users anew.
    pub salt: Option<String>,
}

impl Plan {
    /// One version for everybody.
    pub fn whole(reference: Reference) -> Self {
        let arm = Arm { name: "stable".to_owned(), reference, weight: WHOLE };
        Self { arms: vec![arm], ..Self::default() }
    }

    /// `percent` of the users to `candidate`, the others to `stable`; the arms are named `stable` and `canary`.
    ///
    /// # Errors
    /// A percentage outside 0 to 100.
    pub fn canary(stable: Reference, candidate: Reference, percent: f64) -> Result<Self> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(wrong(format!("a canary of {percent} %"), "give 0 to 100 percent"));
        }
        let weight = (percent * 100.0).round() as u32;
        Ok(Self {
            arms: vec![
                Arm { name: "stable".to_owned(), reference: stable, weight: WHOLE - weight },
                Arm { name: "canary".to_owned(), reference: candidate, weight },
            ],
            ..Self::default()
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        let hint = format!("give 1 to {ARMS_MAX} arms whose weights sum to {WHOLE} hundredths of a percent");
        if self.arms.is_empty() || self.arms.len() > ARMS_MAX || self.shadows.len() > ARMS_MAX {
            let text = format!("a split with {} arms and {} shadows", self.arms.len(), self.shadows.len());
            return Err(wrong(text, hint));
        }
        let total: u64 = self.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        if total != u64::from(WHOLE) {
            return Err(wrong(format!("weights that sum to {total}"), hint));
        }
        let mut seen = BTreeSet::new();
        for name in self.arms.iter().map(|a| &a.name).chain(self.shadows.iter().map(|s| &s.name)) {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
            if name.len() > NAME_CHARS_MAX
                || !name.starts_with(|c: char| c.is_ascii_lowercase())
                || !name.chars().all(plain)
                || !seen.insert(name)
            {
                return Err(wrong(
                    format!("the name `{}` of an arm", shown(name)),
                    "give each arm and shadow a name of its own of a-z, 0-9, `_` and `-`",
                ));
            }
        }
        if let Some(shadow) = self.shadows.iter().find(|s| s.share > WHOLE) {
            return Err(wrong(
                format!("the share {} of the shadow {}", shadow.share, shadow.name),
                format!("give 0 to {WHOLE} hundredths of a percent"),
            ));
        }
        match &self.salt {
            Some(salt)
                if salt.is_empty() || salt.len() > SALT_CHARS_MAX || salt.contains(char::is_control) =>
            {
                Err(wrong("a salt that is empty, too long or no text", "leave it out, and one is drawn"))
            }
            _ => Ok(()),
        }
    }
}

/// How a split is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) format: u32,
    pub(super) salt: String,
    arms: Vec<Arm>,
    shadows: Vec<Shadow>,
    /// For each arm its slots, in the order in which it got them.
    slots: Vec<Vec<Run>>,
}

pub(super) const FORMAT: u32 = 1;

/// Who answers a route. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Split(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    route: String,
    revision: u64,
    stored: Stored,
    key: [u8; 32],
    /// For each slot the place of its arm. Invariant: [`WHOLE`] places, all within the arms.
    table: Vec<u8>,
}

/// Who answers one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The arm that answers.
    pub arm: &'a Arm,
    /// The shadows that are asked as well.
    pub shadows: Vec<&'a Shadow>,
    /// The slot, 0 to 9999.
    pub slot: u32,
}

impl Split {
    /// A split that is stored nowhere.
    ///
    /// # Errors
    /// A route or plan outside its range.
    pub fn of(route: &str, plan: &Plan, salt: &str) -> Result<Self> {
        check_route(route)?;
        plan.check()?;
        let salt = plan.salt.clone().unwrap_or_else(|| salt.to_owned());
        Ok(Self::new(route, 0, next(None, plan, salt)))
    }

    /// The split after a change of plan: users move only to arms that grew.
    ///
    /// # Errors
    /// A plan outside its range.
    pub fn changed(&self, plan: &Plan) -> Result<Self> {
        plan.check()?;
        let stored = &self.0.stored;
        let salt = plan.salt.clone().unwrap_or_else(|| stored.salt.clone());
        Ok(Self::new(&self.0.route, self.0.revision, next(Some(stored), plan, salt)))
    }

    pub(super) fn new(route: &str, revision: u64, stored: Stored) -> Self {
        let table = slots::table(&stored.slots);
        let key = slots::key("tradewind 2026 traffic split 1", &stored.salt, route);
        Self(Arc::new(Inner { route: route.to_owned(), revision, stored, key, table }))
    }

    /// The route.
    pub fn route(&self) -> &str {
        &self.0.route
    }

    /// How often the route's split was changed until this one.
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The arms.
    pub fn arms(&self) -> &[Arm] {
        &self.0.stored.arms
    }

    /// The shadows.
    pub fn shadows(&self) -> &[Shadow] {
        &self.0.stored.shadows
    }

    /// The plan that gives this split again.
    pub fn plan(&self) -> Plan {
        let stored = &self.0.stored;
        Plan { arms: stored.arms.clone(), shadows: stored.shadows.clone(), salt: Some(stored.salt.clone()) }
    }

    /// The arm that a slot (0 to 9999) belongs to.
    pub fn arm_at(&self, slot: u32) -> Option<&Arm> {
        let place = self.0.table.get(slot as usize)?;
        self.0.stored.arms.get(usize::from(*place))
    }

    /// What is stored of it.
    pub(super) fn stored(&self) -> &Stored {
        &self.0.stored
    }

    /// The versions that it names.
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.stored.references()
    }

    /// Who answers: always the same arm for a user while weights stand; without a user, by the request's id.
    pub fn assign(&self, user: Option<&str>, request: &str) -> Assignment<'_> {
        let inner = &*self.0;
        let slot = self.slot(None, user, request);
        let place = inner.table.get(slot as usize).copied().unwrap_or(0);
        let shadows = inner.stored.shadows.iter();
        let shadows =
            shadows.filter(|s| s.share > 0 && self.slot(Some(&s.name), user, request) < s.share).collect();
        Assignment { arm: &inner.stored.arms[usize::from(place)], shadows, slot }
    }

    /// The slot of a user or request; shadows have slots of their own, so that their users are not those of one arm.
    fn slot(&self, shadow: Option<&str>, user: Option<&str>, request: &str) -> u32 {
        let (kind, subject) = match user {
            Some(user) => (b'u', user),
            None => (b'r', request),
        };
        slots::slot(&self.0.key, kind, subject, shadow)
    }
}

/// The stored form of a plan that follows `before`.
pub(super) fn next(before: Option<&Stored>, plan: &Plan, salt: String) -> Stored {
    let now: Vec<(&str, u32)> = plan.arms.iter().map(|a| (a.name.as_str(), a.weight)).collect();
    let stands = before.map(|before| {
        let arms = before.arms.iter().zip(&before.slots);
        arms.map(|(arm, runs)| (arm.name.as_str(), arm.weight, runs.as_slice())).collect::<Vec<_>>()
    });
    let slots = slots::deal(stands.as_deref(), &now);
    Stored { format: FORMAT, salt, arms: plan.arms.clone(), shadows: plan.shadows.clone(), slots }
}

impl Stored {
    /// The versions that it names.
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.arms.iter().map(|a| &a.reference).chain(self.shadows.iter().map(|s| &s.reference))
    }

    /// Whether every slot has one arm.
    pub(super) fn is_whole(&self) -> bool {
        slots::is_dealt(&self.slots) && self.slots.len() == self.arms.len() && self.arms.len() <= ARMS_MAX
    }
}

/// The plan with another weight for one arm, the others sharing the rest in proportion.
pub(super) fn ramped(plan: &Plan, arm: &str, weight: u32) -> Result<Plan> {
    let mut out = plan.clone();
    let Some(place) = out.arms.iter().position(|a| a.name == arm) else {
        let names: Vec<&str> = plan.arms.iter().map(|a| a.name.as_str()).collect();
        return Err(wrong(
            format!("no arm named `{}`", shown(arm)),
            format!("there are: {}", names.join(", ")),
        ));
    };
    if weight > WHOLE || (out.arms.len() == 1 && weight != WHOLE) {
        return Err(wrong(
            format!("the weight {weight} for {arm}"),
            format!("give 0 to {WHOLE} hundredths of a percent, where another arm can take the rest"),
        ));
    }
    let rest = WHOLE - weight;
    let others: u32 = WHOLE - out.arms[place].weight;
    let count = out.arms.len() as u32 - 1;
    // Whole parts first, then one each to those with the largest remainder, the first named first.
    let mut left = rest;
    let mut remainders = Vec::new();
    for (n, other) in out.arms.iter_mut().enumerate() {
        if n == place {
            other.weight = weight;
            continue;
        }
        let (parts, of) = if others == 0 { (1, count) } else { (other.weight, others) };
        let exact = u64::from(rest) * u64::from(parts);
        other.weight = (exact / u64::from(of)) as u32;
        left -= other.weight;
        remainders.push((std::cmp::Reverse(exact % u64::from(of)), n));
    }
    remainders.sort();
    for (_, n) in remainders.into_iter().take(left as usize) {
        out.arms[n].weight += 1;
    }
    Ok(out)
}
