//! An alarm that notices a lasting rise of an error and keeps a stated rate of false alarms, whatever the law of the
//! errors is.
//!
//! Each week's badness (WAPE, the size of the bias, the lack of coverage) gets its conformal p-value among the weeks
//! before it, those of the backtest first: the share that are at least as bad, ties broken by a coin. While weeks are
//! exchangeable, that is while nothing changed, these p-values are independent and uniform, exactly and from the first
//! week on (Vovk, Gammerman and Shafer 2005). Their normal scores `z = Φ⁻¹(1 − p)` go into a cumulative sum
//! `S ← max(0, S + z − k)` (Page 1954), which alarms at `S ≥ h`. Since the law of the scores is known, `h` is worked out
//! so that the chance of any alarm within a number of weeks is what was asked (Brook and Evans 1972: the sum as a Markov
//! chain on a grid).
//!
//! Weeks hang together where forecasts overlap or a season is missed, and then one bad week makes the next likely. So
//! each score is taken less what the one before foretells, `(zₜ − φ zₜ₋₁)/√(1 − φ²)`, with `φ` from the ranks of the weeks
//! kept (less its bias in small samples; 0 where it is within its own error). Without ties between weeks the stated rate
//! is kept with something to spare; in simulations with 40 weeks of backtest it was 3.9 % for independent weeks, 4.5 % for
//! a correlation of 0.3 and 4.9 % for 0.5, where 5 % was asked; without this it would be 34 and 66 %.
//! [`AlarmSettings::tied`] turns it off where weeks are known to be independent: then the rate is exact.
//!
//! What is assumed besides: nothing but chance and their neighbours tells weeks apart. Give errors relative to what is
//! usual for the season where they have one.

use crate::error::{Error, Result};
use crate::monitor::sketch::mixed;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tradewind_core::ErrorKind;
use tradewind_core::distribution::{normal_cdf, normal_quantile};

/// Points of the grid on which the sum is followed.
const GRID: usize = 100;
/// Weeks that are kept to be compared with.
const KEPT_MAX: usize = 2_000;
/// Weeks of the backtest that an alarm needs at least.
const BASELINE_MIN: usize = 8;

/// How an alarm is set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmSettings {
    /// The number of weeks that the rate is stated for, 200.
    pub weeks: u32,
    /// The chance of any false alarm within these weeks, 0.05. For several series that are watched together, divide it by
    /// their number.
    pub false_alarm: f64,
    /// What each week's score must exceed to count, in standard deviations, 0.75: half the rise that matters most.
    pub allowance: f64,
    /// Whether neighbouring weeks may hang together; yes unless they are known not to.
    pub tied: bool,
    /// Decides between equal values.
    pub seed: u64,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        Self { weeks: 200, false_alarm: 0.05, allowance: 0.75, tied: true, seed: 0 }
    }
}

/// What a week did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmStep {
    /// The share of earlier weeks that were at least as bad, ties broken.
    pub p: f64,
    /// The sum after the week, as a share of the limit; 1 and more is an alarm.
    pub level: f64,
    /// Whether it alarms. The sum begins anew after that.
    pub alarm: bool,
    /// For an alarm: how many weeks ago the rise began, by the sum's last zero.
    pub weeks: u32,
}

/// A sequential alarm over weekly (or daily) badness, kept between weeks as JSON.
///
/// ```
/// use tradewind_ops::monitor::error_watch::{Alarm, AlarmSettings};
/// let usual: Vec<f64> = (0..52).map(|w| 0.20 + 0.002 * f64::from(w * 7 % 13)).collect();
/// let mut alarm = Alarm::new(AlarmSettings::default(), &usual).unwrap();
/// assert!((0..20).all(|w| !alarm.push(usual[w * 2 % 52]).unwrap().alarm));
/// let noticed = (0..10).position(|_| alarm.push(0.30).unwrap().alarm);
/// assert!(noticed.is_some_and(|weeks| weeks <= 5));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    settings: AlarmSettings,
    limit: f64,
    sum: f64,
    /// The score of the week before; 0 at the first.
    before: f64,
    /// Weeks since the sum left zero.
    rising: u32,
    /// Weeks seen, those of the baseline included.
    seen: u64,
    kept: VecDeque<f64>,
}

impl Alarm {
    /// An alarm that begins with the badness of past weeks, as from the backtest at training; 26 or more are good, for
    /// with `n` weeks no p-value is below `1/(n + 1)`.
    ///
    /// # Errors
    /// Settings outside their range, fewer than 8 weeks, values that are not finite.
    pub fn new(settings: AlarmSettings, baseline: &[f64]) -> Result<Self> {
        let AlarmSettings { weeks, false_alarm, allowance, .. } = settings;
        let rate = false_alarm > 0.0 && false_alarm <= 0.5;
        if !(rate && (1..=100_000).contains(&weeks) && (0.1..=3.0).contains(&allowance)) {
            return Err(Error::asked(
                ErrorKind::InvalidParams,
                format!(
                    "a chance of {false_alarm} for a false alarm in {weeks} weeks with the allowance {allowance}"
                ),
                "give a chance above 0 and at most 0.5, 1 to 100,000 weeks, an allowance of 0.1 to 3",
            ));
        }
        if baseline.len() < BASELINE_MIN {
            return Err(Error::asked(
                ErrorKind::NotEnoughData,
                format!("{} weeks of usual errors, {BASELINE_MIN} are needed", baseline.len()),
                "backtest over more weeks",
            ));
        }
        if let Some(value) = baseline.iter().find(|v| !v.is_finite()) {
            return Err(not_finite(*value));
        }
        let kept = baseline[baseline.len().saturating_sub(KEPT_MAX)..].iter().copied().collect();
        let seen = baseline.len() as u64;
        Ok(Self {
            settings,
            limit: limit(weeks, false_alarm, allowance),
            sum: 0.0,
            before: 0.0,
            rising: 0,
            seen,
            kept,
        })
    }

    /// Takes the next week in.
    ///
    /// # Errors
    /// A value that is not finite: a week without actuals is left out.
    pub fn push(&mut self, badness: f64) -> Result<AlarmStep> {
        if !badness.is_finite() {
            return Err(not_finite(badness));
        }
        let phi = if self.settings.tied { correlation(&self.kept) } else { 0.0 };
        let worse = self.kept.iter().filter(|v| **v > badness).count() as f64;
        let ties = self.kept.iter().filter(|v| **v == badness).count() as f64 + 1.0;
        let coin = ((mixed(self.settings.seed ^ mixed(self.seen)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let p = (worse + coin * ties) / (self.kept.len() as f64 + 1.0);
        self.seen += 1;
        self.kept.push_back(badness);
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        let score = -normal_quantile(p);
        let foretold = phi * self.before;
        self.before = score;
        self.sum =
            (self.sum + (score - foretold) / (1.0 - phi * phi).sqrt() - self.settings.allowance).max(0.0);
        self.rising = if self.sum > 0.0 { self.rising + 1 } else { 0 };
        let (level, weeks) = (self.sum / self.limit, self.rising);
        let alarm = level >= 1.0;
        if alarm {
            (self.sum, self.rising) = (0.0, 0);
        }
        Ok(AlarmStep { p, level, alarm, weeks: if alarm { weeks } else { 0 } })
    }

    /// The sum at which it alarms, in standard deviations.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// How it is set.
    pub fn settings(&self) -> &AlarmSettings {
        &self.settings
    }
}

/// How a week hangs together with the one before, 0 to 0.8: Spearman's correlation as one of normal values.
fn correlation(kept: &VecDeque<f64>) -> f64 {
    let n = kept.len() as f64;
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by(|a, b| kept[*a].total_cmp(&kept[*b]));
    let mut ranks = vec![0.0; kept.len()];
    let mut at = 0.0;
    for equal in order.chunk_by(|a, b| kept[*a] == kept[*b]) {
        let rank = at + (equal.len() as f64 - 1.0) / 2.0 - (n - 1.0) / 2.0;
        equal.iter().for_each(|i| ranks[*i] = rank);
        at += equal.len() as f64;
    }
    let squares: f64 = ranks.iter().map(|r| r * r).sum();
    if squares == 0.0 {
        return 0.0;
    }
    let ranked = ranks.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / squares;
    let plain = 2.0 * (ranked * std::f64::consts::PI / 6.0).sin();
    let whole = plain + (1.0 + 3.0 * plain.clamp(0.0, 1.0)) / n;
    if whole * n.sqrt() > 1.0 { whole.clamp(0.0, 0.8) } else { 0.0 }
}

fn not_finite(value: f64) -> Error {
    Error::asked(
        ErrorKind::InvalidInput,
        format!("a week with the error {value}"),
        "leave weeks out for which no actuals came",
    )
}

/// The limit with which the sum alarms within `weeks` with the chance asked.
fn limit(weeks: u32, false_alarm: f64, allowance: f64) -> f64 {
    let (mut low, mut high) = (0.01, 60.0);
    while high - low > 1e-3 {
        let middle = 0.5 * (low + high);
        if alarms_within(weeks, middle, allowance) > false_alarm { low = middle } else { high = middle }
    }
    high
}

/// The chance that the sum of standard normal scores reaches `h` within `weeks`.
fn alarms_within(weeks: u32, h: f64, allowance: f64) -> f64 {
    // State 0 is the sum 0, the others are cells of equal width up to h, each taken at its middle.
    let width = h / GRID as f64;
    let middle = |i: usize| if i == 0 { 0.0 } else { (i as f64 - 0.5) * width };
    let states = GRID + 1;
    let mut step = vec![0.0; states * states];
    for from in 0..states {
        let start = middle(from) - allowance;
        let row = &mut step[from * states..(from + 1) * states];
        row[0] = normal_cdf(-start);
        let mut below = row[0];
        for (to, chance) in row.iter_mut().enumerate().skip(1) {
            let up_to = normal_cdf(to as f64 * width - start);
            *chance = up_to - below;
            below = up_to;
        }
    }
    let mut now = vec![0.0; states];
    now[0] = 1.0;
    // Beyond so many weeks the chance to go on falls by the same factor each week.
    let exact = weeks.min(400);
    let (mut left, mut factor) = (1.0, 1.0);
    for _ in 0..exact {
        let mut next = vec![0.0; states];
        for (from, chance) in now.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            let row = &step[from * states..(from + 1) * states];
            next.iter_mut().zip(row).for_each(|(n, s)| *n += chance * s);
        }
        let stays: f64 = next.iter().sum();
        (factor, left) = (stays / left, stays);
        now = next;
    }
    1.0 - left * f64::powf(factor, f64::from(weeks - exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(seed: u64, i: u64) -> f64 {
        let u = ((mixed(mixed(seed ^ 0xabcd) ^ i) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        normal_quantile(u)
    }

    /// How many of `runs` alarm within `weeks`, with errors `of` a standard normal, tied by `phi` from week to week.
    fn alarms(runs: u64, tied: bool, phi: f64, of: impl Fn(f64) -> f64) -> f64 {
        let settings = AlarmSettings { tied, ..AlarmSettings::default() };
        let start = Alarm::new(settings, &[0.0; 8]).unwrap();
        let mut alarmed = 0;
        for run in 0..runs {
            let mut before = normal(run, 1_000_000);
            let mut next = |i: u64| {
                before = phi * before + (1.0 - phi * phi).sqrt() * normal(run, i);
                of(before)
            };
            let kept: VecDeque<f64> = (0..40).map(&mut next).collect();
            let mut alarm =
                Alarm { kept, settings: AlarmSettings { seed: run, ..settings }, ..start.clone() };
            alarmed += u64::from((40..240).any(|i| alarm.push(next(i)).unwrap().alarm));
        }
        alarmed as f64 / runs as f64
    }

    #[test]
    fn without_change_alarms_are_as_rare_as_stated_in_200_weeks() {
        let normal_law = (|z| 0.2 + 0.03 * z) as fn(f64) -> f64;
        let laws =
            [("normal", normal_law), ("heavy tails", |z| (1.2 * z).exp()), ("ties", |z| (2.0 * z).round())];
        // 2,000 shops: five percent, standard error 0.5 points.
        for (name, law) in laws {
            let rate = alarms(2_000, false, 0.0, law);
            assert!((0.033..=0.066).contains(&rate), "{name}, known to be independent: {rate}");
        }
        // 500 shops: standard error one point.
        for (name, phi, law) in [
            ("normal", 0.0, laws[0].1),
            ("normal", 0.3, laws[0].1),
            ("normal", 0.5, laws[0].1),
            ("heavy tails", 0.3, laws[1].1),
        ] {
            let rate = alarms(500, true, phi, law);
            assert!((0.01..=0.08).contains(&rate), "{name}, tied by {phi}: {rate}");
        }
    }

    #[test]
    fn a_rise_is_noticed_within_weeks() {
        let settings = AlarmSettings::default();
        let start = Alarm::new(settings, &[0.0; 8]).unwrap();
        for (rise, most) in [(1.5, 14.0), (2.0, 8.0), (3.0, 5.0), (6.0, 4.0)] {
            let mut weeks: Vec<u64> = (0..300)
                .map(|run| {
                    let usual: Vec<f64> = (0..52).map(|i| normal(run, i)).collect();
                    let settings = AlarmSettings { seed: run, ..settings };
                    let mut alarm = Alarm { kept: usual.into_iter().collect(), settings, ..start.clone() };
                    (0..20).for_each(|i| assert!(alarm.push(normal(run, 100 + i)).is_ok()));
                    (1..=60).find(|i| alarm.push(normal(run, 200 + i) + rise).unwrap().alarm).unwrap_or(60)
                })
                .collect();
            weeks.sort_unstable();
            assert!(weeks[150] as f64 <= most, "a rise of {rise}: {} weeks", weeks[150]);
        }
    }

    #[test]
    fn the_limit_is_that_of_the_chain() {
        // By simulation of 400,000 sums of standard normal scores: 5.0 % within 200 weeks.
        let limit = limit(200, 0.05, 0.75);
        assert!((4.0..6.0).contains(&limit), "{limit}");
        let mut alarmed = 0;
        for run in 0..20_000 {
            let mut sum = 0.0_f64;
            alarmed += u64::from((0..200).any(|i| {
                sum = (sum + normal(run, i) - 0.75).max(0.0);
                sum >= limit
            }));
        }
        let rate = alarmed as f64 / 20_000.0;
        assert!((rate - 0.05).abs() < 0.006, "{rate}");
    }

    #[test]
    fn it_is_kept_between_weeks_and_refuses_nonsense() {
        let mut alarm =
            Alarm::new(AlarmSettings::default(), &[0.1, 0.2, 0.15, 0.1, 0.3, 0.2, 0.1, 0.2]).unwrap();
        alarm.push(0.4).unwrap();
        let mut back: Alarm = serde_json::from_str(&serde_json::to_string(&alarm).unwrap()).unwrap();
        assert_eq!(back.push(0.5).unwrap(), alarm.push(0.5).unwrap());
        assert!(alarm.push(f64::NAN).is_err());
        assert!(Alarm::new(AlarmSettings::default(), &[0.1; 7]).is_err());
        assert!(
            Alarm::new(AlarmSettings { false_alarm: 0.0, ..AlarmSettings::default() }, &[0.1; 9]).is_err()
        );
    }
}
