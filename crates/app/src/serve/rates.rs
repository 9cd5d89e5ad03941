//! How often: a bucket of tokens for each key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys remembered before full buckets (which tell nothing) are forgotten.
const REMEMBERED: usize = 4_096;

/// Buckets by key.
pub(crate) struct Rates {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    /// `per_second` in the long run, `burst` at once; no limit if the first is zero.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst: burst.max(1.0), buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes a token, or says how long to wait for the next.
    pub(crate) fn take(&self, key: &Arc<str>, now: Instant) -> Result<(), Duration> {
        if self.per_second <= 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(key) {
            buckets.retain(|_, b| self.filled(b, now) < self.burst);
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = self.filled(bucket, now);
        let taken = tokens >= 1.0;
        *bucket = Bucket { tokens: if taken { tokens - 1.0 } else { tokens }, at: now };
        if taken { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second)) }
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + seconds * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_key_saves_up_and_a_busy_one_waits() {
        let (rates, start) = (Rates::new(10.0, 3.0), Instant::now());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for _ in 0..3 {
            rates.take(&a, start).unwrap();
        }
        let wait = rates.take(&a, start).unwrap_err();
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-6, "{wait:?}");
        rates.take(&b, start).unwrap();
        let mut passed = 0;
        // 30 asked in a second: ten come through.
        for n in 0..30 {
            passed += u32::from(rates.take(&a, start + Duration::from_millis(1_000 * (n + 1) / 30)).is_ok());
        }
        assert!((9..=11).contains(&passed), "{passed}");
        assert!(Rates::new(0.0, 1.0).take(&a, start).is_ok());
    }

    #[test]
    fn quiet_keys_are_forgotten() {
        let (rates, start) = (Rates::new(1_000.0, 2.0), Instant::now());
        for n in 0..20_000_u64 {
            let key: Arc<str> = n.to_string().into();
            rates.take(&key, start + Duration::from_millis(n)).unwrap();
        }
        assert!(rates.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
