//! Who is in which arm: layers of slots, each slot one experiment's at most.

use super::Definition;
use crate::traffic::WHOLE;
use crate::traffic::slots::{self, Run};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The place of what is left free, by name; no experiment can have it.
const FREE: &str = "";

/// How a layer is stored: its salt, and which experiment has how many slots and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredLayer {
    pub(super) salt: String,
    pub(super) shares: Vec<(String, u32)>,
    slots: Vec<Vec<Run>>,
}

impl StoredLayer {
    pub(super) fn new(salt: String) -> Self {
        let shares = vec![(FREE.to_owned(), WHOLE)];
        Self { salt, slots: vec![vec![Run(0, WHOLE)]], shares }
    }

    /// Slots of the other experiments, with their names.
    pub(super) fn taken_by_others(&self, name: &str) -> Vec<(&str, u32)> {
        let others = self.shares.iter().filter(|(n, share)| n != name && n != FREE && *share > 0);
        others.map(|(n, share)| (n.as_str(), *share)).collect()
    }

    /// The layer after an experiment's share changed. The share must fit beside the others.
    pub(super) fn with(&self, name: &str, share: u32) -> Self {
        let mut now: Vec<(&str, u32)> = self.taken_by_others(name);
        if share > 0 {
            now.push((name, share));
        }
        let free = WHOLE - now.iter().map(|(_, s)| s).sum::<u32>();
        now.push((FREE, free));
        let stands: Vec<(&str, u32, &[Run])> = self
            .shares
            .iter()
            .zip(&self.slots)
            .map(|((n, w), runs)| (n.as_str(), *w, runs.as_slice()))
            .collect();
        let slots = slots::deal(Some(&stands), &now);
        let shares = now.into_iter().map(|(n, w)| (n.to_owned(), w)).collect();
        Self { salt: self.salt.clone(), shares, slots }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.shares.len() == self.slots.len() && self.shares.len() <= 255 && slots::is_dealt(&self.slots)
    }
}

/// The slots of an experiment's arms, kept so that a bandit's shares move as few users as can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredArms {
    pub(super) salt: String,
    pub(super) weights: Vec<u32>,
    slots: Vec<Vec<Run>>,
}

impl StoredArms {
    pub(super) fn new(salt: String, definition: &Definition) -> Self {
        let now: Vec<(&str, u32)> = definition.arms.iter().map(|a| (a.name.as_str(), a.weight)).collect();
        let slots = slots::deal(None, &now);
        Self { salt, weights: now.iter().map(|(_, w)| *w).collect(), slots }
    }

    pub(super) fn with(&self, definition: &Definition, weights: &[u32]) -> Self {
        let names = || definition.arms.iter().map(|a| a.name.as_str());
        let stands: Vec<(&str, u32, &[Run])> = names()
            .zip(&self.weights)
            .zip(&self.slots)
            .map(|((n, w), runs)| (n, *w, runs.as_slice()))
            .collect();
        let now: Vec<(&str, u32)> = names().zip(weights.iter().copied()).collect();
        Self { salt: self.salt.clone(), weights: weights.to_vec(), slots: slots::deal(Some(&stands), &now) }
    }

    pub(super) fn is_whole(&self, definition: &Definition) -> bool {
        let k = definition.arms.len();
        self.weights.len() == k && self.slots.len() == k && slots::is_dealt(&self.slots)
    }
}

/// A running experiment that users are dealt to.
#[derive(Debug)]
struct Running {
    definition: Definition,
    key: [u8; 32],
    table: Vec<u8>,
}

#[derive(Debug)]
struct Layer {
    key: [u8; 32],
    /// For each slot the place among `experiments`, or more than there are.
    table: Vec<u8>,
    experiments: Vec<Option<Running>>,
}

/// Deals users to the arms of all running experiments. Cheap to clone; read anew when a revision changed.
#[derive(Clone, Debug, Default)]
pub struct Assigner(Arc<Vec<Layer>>);

/// A layer by name, with its running experiments.
pub(super) type NamedLayer = (String, StoredLayer, Vec<(Definition, StoredArms)>);

/// A user's place in one experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned<'a> {
    /// The experiment.
    pub experiment: &'a Definition,
    /// The arm, to be noted with the exposure.
    pub arm: &'a super::Arm,
    /// The shadows that are asked as well.
    pub shadows: Vec<&'a super::ShadowArm>,
}

impl Assigner {
    pub(super) fn new(layers: Vec<NamedLayer>) -> Self {
        let layers = layers.into_iter().map(|(name, stored, mut running)| {
            let experiments = stored.shares.iter().map(|(experiment, _)| {
                let at = running.iter().position(|(d, _)| d.name == *experiment)?;
                let (definition, arms) = running.swap_remove(at);
                let key = slots::key("tradewind 2026 experiment arms 1", &arms.salt, &definition.name);
                Some(Running { definition, key, table: slots::table(&arms.slots) })
            });
            Layer {
                key: slots::key("tradewind 2026 experiment layer 1", &stored.salt, &name),
                experiments: experiments.collect(),
                table: slots::table(&stored.slots),
            }
        });
        Self(Arc::new(layers.collect()))
    }

    /// The user's arm in every layer that has an experiment for it: always the same while shares stand. `user` is an id
    /// that stays the same, of a person or a device.
    pub fn assign(&self, user: &str) -> Vec<Assigned<'_>> {
        self.0.iter().filter_map(|layer| layer.assign(user)).collect()
    }

    /// The user's arm in one experiment, if the user is in it.
    pub fn arm_of(&self, experiment: &str, user: &str) -> Option<Assigned<'_>> {
        let has =
            |layer: &&Layer| layer.experiments.iter().flatten().any(|e| e.definition.name == experiment);
        let assigned = self.0.iter().find(has)?.assign(user)?;
        (assigned.experiment.name == experiment).then_some(assigned)
    }

    /// The experiments that users are dealt to.
    pub fn running(&self) -> impl Iterator<Item = &Definition> {
        self.0.iter().flat_map(|layer| layer.experiments.iter().flatten()).map(|e| &e.definition)
    }
}

impl Layer {
    fn assign(&self, user: &str) -> Option<Assigned<'_>> {
        let place = self.table[slots::slot(&self.key, b'u', user, None) as usize];
        let running = self.experiments.get(usize::from(place))?.as_ref()?;
        let arm = running.table[slots::slot(&running.key, b'u', user, None) as usize];
        let shadows = running.definition.shadows.iter();
        Some(Assigned {
            experiment: &running.definition,
            arm: running.definition.arms.get(usize::from(arm))?,
            shadows: shadows
                .filter(|s| slots::slot(&running.key, b'u', user, Some(&s.name)) < s.share)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::MetricKind;
    use std::collections::BTreeMap;

    fn definition(name: &str) -> Definition {
        Definition::ab(name, "control", "new", "buys", MetricKind::Conversion)
    }

    fn assigner(layer: &StoredLayer, names: &[&str]) -> Assigner {
        let arms = |name: &&str| {
            let definition = definition(name);
            let arms = StoredArms::new(format!("salt of {name}"), &definition);
            (definition, arms)
        };
        Assigner::new(vec![("main".into(), layer.clone(), names.iter().map(arms).collect())])
    }

    #[test]
    fn layers_are_exclusive_and_ramps_keep_users() {
        let first = StoredLayer::new("s".into()).with("a", 2_000);
        let both = first.with("b", 5_000);
        let ramped = both.with("a", 5_000);
        assert!(ramped.is_whole() && ramped.taken_by_others("a") == [("b", 5_000)]);
        let (one, two, three) =
            (assigner(&first, &["a"]), assigner(&both, &["a", "b"]), assigner(&ramped, &["a", "b"]));
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for i in 0..20_000 {
            let user = format!("u{i}");
            let at = |a: &Assigner| {
                a.assign(&user).first().map(|x| (x.experiment.name.clone(), x.arm.name.clone()))
            };
            let (x, y, z) = (at(&one), at(&two), at(&three));
            // Who is in stays in, in the same arm.
            assert!(x.is_none() || x == y);
            assert!(y.is_none() || y == z);
            if let Some((experiment, arm)) = &z {
                *counts.entry(format!("{experiment} {arm}")).or_default() += 1;
                assert!(three.arm_of(experiment, &user).is_some());
            }
        }
        // Everybody is in one of the two, a quarter in each arm, within 4.5 standard deviations.
        assert_eq!(counts.values().sum::<u32>(), 20_000);
        assert!(counts.values().all(|n| n.abs_diff(5_000) < 275), "{counts:?}");
        assert!(assigner(&ramped.with("a", 0), &["b"]).assign("u1").len() <= 1);
    }

    #[test]
    fn arms_do_not_hang_together_across_experiments() {
        let layer = |salt: &str, name: &str| StoredLayer::new(salt.into()).with(name, WHOLE);
        let arms = |name: &str| {
            let definition = definition(name);
            let arms = StoredArms::new(format!("salt of {name}"), &definition);
            vec![(definition, arms)]
        };
        let both = Assigner::new(vec![
            ("one".into(), layer("s", "a"), arms("a")),
            ("two".into(), layer("s", "b"), arms("b")),
        ]);
        let same = (0..10_000)
            .filter(|i| {
                let user = format!("u{i}");
                let at = both.assign(&user);
                assert_eq!(at.len(), 2);
                at[0].arm.name == at[1].arm.name
            })
            .count();
        assert!((4_780..=5_220).contains(&same), "{same}");
    }

    #[test]
    fn a_bandits_new_shares_move_no_more_than_they_must() {
        let definition = definition("a");
        let before = StoredArms::new("s".into(), &definition);
        let after = before.with(&definition, &[3_000, 7_000]);
        let (x, y) = (slots::table(&before.slots), slots::table(&after.slots));
        assert_eq!(x.iter().zip(&y).filter(|(a, b)| a != b).count(), 2_000);
        assert!(after.is_whole(&definition));
    }
}
