//! Guesses are slowed down: by address, and by the key they guess at.
//!
//! After a few failures each further one doubles the time in which nothing more is looked at. What is remembered is
//! bounded; of those remembered the one that failed longest ago gives way.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How failures are answered.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// Failures that cost nothing; people mistype.
    pub free: u32,
    /// The wait after the first failure beyond them; each further one doubles it.
    pub first: Duration,
    /// The longest wait. After as long without a failure everything is forgotten.
    pub longest: Duration,
    /// Addresses, or keys, remembered at most.
    pub remembered_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    n: u32,
    last: Instant,
    until: Instant,
}

/// Failures by some name.
#[derive(Debug)]
pub(super) struct Limiter<K> {
    back_off: BackOff,
    failures: HashMap<K, Failures>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    pub(super) fn new(back_off: BackOff) -> Self {
        Self { back_off, failures: HashMap::new() }
    }

    /// How long `key` has to wait; none if it may try.
    pub(super) fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let wait = self.failures.get(key)?.until.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a failure. Gives whether it is the one with which waiting began.
    pub(super) fn failed(&mut self, key: &K, now: Instant) -> bool {
        let BackOff { free, first, longest, remembered_max } = self.back_off;
        if !self.failures.contains_key(key) && self.failures.len() >= remembered_max.max(1) {
            self.make_room(now);
        }
        let entry = self.failures.entry(key.clone()).or_insert(Failures { n: 0, last: now, until: now });
        if now.saturating_duration_since(entry.last) >= longest {
            entry.n = 0;
        }
        entry.n = entry.n.saturating_add(1);
        entry.last = now;
        if entry.n > free {
            let doublings = (entry.n - free - 1).min(31);
            entry.until = now + first.saturating_mul(1 << doublings).min(longest);
        }
        entry.n == free + 1
    }

    /// A success: what was mistyped before it no longer counts.
    pub(super) fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Forgets what has lapsed, and at least a sixteenth: a flood of new names must not sort the table each time.
    fn make_room(&mut self, now: Instant) {
        let longest = self.back_off.longest;
        self.failures.retain(|_, f| now.saturating_duration_since(f.last) < longest);
        let keep = self.back_off.remembered_max.max(1) * 15 / 16;
        if self.failures.len() > keep {
            let mut lasts: Vec<Instant> = self.failures.values().map(|f| f.last).collect();
            let drop = lasts.len() - keep;
            let (_, &mut bound, _) = lasts.select_nth_unstable(drop - 1);
            let mut left = drop;
            self.failures.retain(|_, f| {
                let goes = f.last <= bound && left > 0;
                left -= usize::from(goes);
                !goes
            });
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.failures.len()
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since whoever has one has all of them.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::from([s[0], s[1], s[2], s[3], 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(remembered_max: usize) -> Limiter<u32> {
        Limiter::new(BackOff {
            free: 3,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            remembered_max,
        })
    }

    #[test]
    fn waits_double_up_to_the_longest_and_lapse() {
        let (mut l, mut now) = (limiter(100), Instant::now());
        for n in 0..3 {
            assert!(!l.failed(&7, now), "failure {n} is free");
            assert_eq!(l.wait(&7, now), None);
        }
        assert!(l.failed(&7, now), "waiting begins");
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(l.wait(&7, now), Some(Duration::from_secs(seconds)));
            assert_eq!(l.wait(&8, now), None, "another is not held up");
            now += Duration::from_secs(seconds);
            assert_eq!(l.wait(&7, now), None);
            if seconds < 60 {
                assert!(!l.failed(&7, now));
            } else {
                now -= Duration::from_secs(1);
                l.failed(&7, now);
            }
        }
        now += Duration::from_secs(61);
        assert!(!l.failed(&7, now));
        assert_eq!(l.wait(&7, now), None, "after a quiet minute failures are free again");
        for _ in 0..9 {
            l.failed(&7, now);
        }
        l.succeeded(&7);
        assert_eq!(l.wait(&7, now), None);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_are_kept() {
        let (mut l, start) = (limiter(1_000), Instant::now());
        for n in 0..20_000 {
            l.failed(&n, start + Duration::from_millis(u64::from(n)));
            assert!(l.len() <= 1_000);
        }
        let now = start + Duration::from_secs(20);
        for _ in 0..5 {
            l.failed(&19_999, now);
        }
        assert!(l.wait(&19_999, now).is_some());
        // All at one moment: room is made all the same.
        for n in 0..5_000 {
            l.failed(&n, now);
            assert!(l.len() <= 1_000);
        }
    }

    #[test]
    fn a_network_is_one_address() {
        let of = |t: &str| network_of(t.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
