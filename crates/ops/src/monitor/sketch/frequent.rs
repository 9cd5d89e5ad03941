//! The most frequent values of a stream in bounded memory: the counters of Misra and Gries (1982), which are those of
//! Space-Saving (Metwally and others 2005) less their smallest, thinned by the median (Anderson and others 2017) and
//! merged as Agarwal and others (2013), "Mergeable summaries".

use super::{Seedless, hashed};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};

/// Bytes of a value that are kept; longer ones are told by their beginning and a hash of the whole.
const VALUE_BYTES_MAX: usize = 96;
/// The smallest and largest number of counters.
pub(super) const ROOM_RANGE: std::ops::RangeInclusive<usize> = 16..=65_536;

/// How often the frequent values of a stream came.
///
/// A value's count is too small by at most [`Frequent::missed`], itself at most `2 n / room`, and never too large. While
/// there are no more different values than room, all is exact.
///
/// ```
/// use tradewind_ops::monitor::sketch::Frequent;
/// let mut counts = Frequent::new(64).unwrap();
/// for i in 0..10_000 {
///     counts.push(if i % 2 == 0 { "tea" } else { "coffee" }, 1);
/// }
/// assert_eq!(counts.count("tea"), 5_000);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frequent {
    room: usize,
    n: u64,
    missed: u64,
    #[serde(serialize_with = "by_name")]
    counts: HashMap<Box<str>, u64, Seedless>,
}

impl Frequent {
    /// No values, with room for so many counters (16 to 65,536).
    ///
    /// # Errors
    /// A room outside its range.
    pub fn new(room: usize) -> crate::Result<Self> {
        if !ROOM_RANGE.contains(&room) {
            return Err(super::wrong(
                format!("room for {room} frequent values"),
                format!("give {} to {}", ROOM_RANGE.start(), ROOM_RANGE.end()),
            ));
        }
        Ok(Self { room, n: 0, missed: 0, counts: HashMap::with_hasher(Seedless) })
    }

    /// Takes a value in that came `times` times.
    pub fn push(&mut self, value: &str, times: u64) {
        if times == 0 {
            return;
        }
        self.n += times;
        if value.len() > VALUE_BYTES_MAX {
            let cut = (0..=VALUE_BYTES_MAX - 20).rev().find(|i| value.is_char_boundary(*i)).unwrap_or(0);
            let told = format!("{}…#{:016x}", &value[..cut], hashed(value.as_bytes()));
            self.add(&told, times);
        } else {
            self.add(value, times);
        }
    }

    fn add(&mut self, value: &str, times: u64) {
        if let Some(count) = self.counts.get_mut(value) {
            *count += times;
            return;
        }
        self.counts.insert(value.into(), times);
        if self.counts.len() > self.room {
            self.thin();
        }
    }

    /// Takes the median count off every counter and drops those that have nothing left: half of them at least.
    fn thin(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let middle = counts.len() / 2;
        let median = *counts.select_nth_unstable(middle).1;
        self.missed += median;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(median);
            *count > 0
        });
    }

    /// Adds what another saw; the smaller room is kept.
    pub fn merge(&mut self, other: &Self) {
        self.room = self.room.min(other.room);
        self.n += other.n;
        self.missed += other.missed;
        for (value, count) in &other.counts {
            *self.counts.entry(value.clone()).or_insert(0) += count;
        }
        while self.counts.len() > self.room {
            self.thin();
        }
    }

    /// Values seen.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// By how much a count may be too small; 0 when all are exact.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How often a value came, at least.
    pub fn count(&self, value: &str) -> u64 {
        self.counts.get(value).copied().unwrap_or(0)
    }

    /// The values that are counted, the most frequent first, equals by name.
    pub fn top(&self, limit: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.counts.iter().map(|(v, c)| (&**v, *c)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(limit);
        all
    }

    /// Different values that are counted now.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether no value is counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(super) fn is_whole(&self) -> bool {
        let sum = self.counts.values().try_fold(0_u64, |sum, c| sum.checked_add(*c));
        ROOM_RANGE.contains(&self.room)
            && self.counts.len() <= self.room
            && sum.is_some_and(|sum| sum <= self.n && (self.missed > 0 || sum == self.n))
    }
}

/// Equal counts are written alike, in whatever order they came.
fn by_name<S: Serializer>(counts: &HashMap<Box<str>, u64, Seedless>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(counts.iter().collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value by Zipf's law, from a hash of the place.
    fn value(i: u64) -> String {
        let u = (super::super::mixed(i) >> 11) as f64 / (1_u64 << 53) as f64;
        format!("item-{}", (20_000_f64.powf(u)) as u64)
    }

    #[test]
    fn counts_are_within_the_stated_error() {
        let n = 200_000;
        let mut truth: HashMap<String, u64> = HashMap::new();
        let mut one = Frequent::new(256).unwrap();
        let mut parts: Vec<Frequent> = (0..8).map(|_| Frequent::new(256).unwrap()).collect();
        for i in 0..n {
            let value = value(i);
            one.push(&value, 1);
            parts[(i % 8) as usize].push(&value, 1);
            *truth.entry(value).or_default() += 1;
        }
        let mut merged = Frequent::new(256).unwrap();
        parts.iter().for_each(|p| merged.merge(p));
        for sketch in [&one, &merged] {
            assert!(sketch.missed() <= 2 * n / 256 && sketch.is_whole(), "{}", sketch.missed());
            assert_eq!(sketch.n(), n);
            for (value, count) in &truth {
                let got = sketch.count(value);
                assert!(got <= *count && got + sketch.missed() >= *count, "{value}: {got} of {count}");
            }
        }
        assert_eq!(one.top(1)[0].0, "item-1");
    }

    #[test]
    fn long_values_are_told_apart() {
        let mut counts = Frequent::new(16).unwrap();
        let (a, b) = ("茶".repeat(100) + "a", "茶".repeat(100) + "b");
        counts.push(&a, 1);
        counts.push(&b, 2);
        assert_eq!(counts.len(), 2);
        assert!(counts.top(9).iter().all(|(v, _)| v.len() <= VALUE_BYTES_MAX + 8 && v.starts_with("茶")));
    }
}
