//! A dictionary of names: users, items.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Names with their positions, in one piece of text: a million names of seven letters take some 20 MB.
///
/// ```
/// use tradewind_core::Ids;
/// let mut ids = Ids::new();
/// assert_eq!((ids.insert("tea"), ids.insert("cup"), ids.insert("tea")), (0, 1, 0));
/// assert_eq!((ids.find("cup"), ids.find("pot"), ids.name(1)), (Some(1), None, "cup"));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Ids {
    text: String,
    /// Where each name ends in `text`.
    ends: Vec<usize>,
    /// Open addressing: positions plus one, 0 for a free slot; a power of two of them, at most three quarters in use.
    slots: Vec<u32>,
}

impl PartialEq for Ids {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.text == other.text
    }
}

impl Ids {
    /// An empty dictionary.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at a position. Panics, as a slice would, when there is none.
    pub fn name(&self, idx: u32) -> &str {
        let i = idx as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }

    /// All names in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        (0..self.ends.len()).map(|i| self.name(i as u32))
    }

    /// The position of a name.
    pub fn find(&self, name: &str) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        match self.slots[self.slot(name)] {
            0 => None,
            position => Some(position - 1),
        }
    }

    /// The position of a name, which is put behind the others when it is new.
    pub fn insert(&mut self, name: &str) -> u32 {
        if (self.ends.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let slot = self.slot(name);
        if self.slots[slot] == 0 {
            self.text.push_str(name);
            self.ends.push(self.text.len());
            self.slots[slot] = self.ends.len() as u32;
        }
        self.slots[slot] - 1
    }

    /// The names in the order of their texts, and for every old position the new one.
    pub fn sorted(&self) -> (Self, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        let mut sorted = Self::new();
        let mut place = vec![0; self.len()];
        for old in order {
            place[old as usize] = sorted.insert(self.name(old));
        }
        (sorted, place)
    }

    /// The slot that holds the name, or the free one where it would go.
    fn slot(&self, name: &str) -> usize {
        let mask = self.slots.len() - 1;
        // The hasher has fixed keys: positions do not depend on it, and neither does anything else.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let mut slot = hasher.finish() as usize & mask;
        while self.slots[slot] != 0 && self.name(self.slots[slot] - 1) != name {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![0; (self.slots.len() * 2).max(16)];
        for i in 0..self.ends.len() as u32 {
            let slot = self.slot(self.name(i));
            self.slots[slot] = i + 1;
        }
    }
}

impl From<Ids> for Vec<String> {
    fn from(ids: Ids) -> Self {
        ids.iter().map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for Ids {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        let mut ids = Self::new();
        for (i, name) in names.iter().enumerate() {
            if ids.insert(name) as usize != i {
                return Err(Error::Invalid(format!("a dictionary has its name {i} twice")));
            }
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_found_again() {
        let mut ids = Ids::new();
        for i in 0..5_000 {
            assert_eq!(ids.insert(&format!("n{}", i * 7 % 5_000)), i);
        }
        assert!(ids.iter().enumerate().all(|(i, n)| ids.find(n) == Some(i as u32)));
        assert_eq!(ids.find("n5000"), None);
        let (sorted, place) = ids.sorted();
        assert!(sorted.iter().zip(sorted.iter().skip(1)).all(|(a, b)| a < b));
        assert!((0..5_000).all(|i| sorted.name(place[i as usize]) == ids.name(i)));
        let back: Ids =
            serde_json::from_value(serde_json::to_value(&ids).expect("plain texts")).expect("plain texts");
        assert_eq!(back, ids);
        assert!(serde_json::from_str::<Ids>(r#"["a","a"]"#).is_err());
    }
}
