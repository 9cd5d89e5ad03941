//! The windows that features look at, as steps, for any frequency and horizon.

use chrono::{Days, NaiveDate};
use tradewind_core::freq::{Unit, date};
use tradewind_core::{Freq, Stamp};

/// Lengths in steps. All but the horizon are whole seasons where they are as long as one, so that a window of days
/// holds every weekday equally often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// The horizon: the length of the last and of the next window.
    pub(crate) h: usize,
    /// The short season inside the windows (7 for days, 24 for hours); 1 where there is none.
    pub(crate) season: usize,
    /// A quarter of the horizon.
    pub(crate) quarter: usize,
    /// Half of it.
    pub(crate) half: usize,
    /// Twice.
    pub(crate) double: usize,
    /// Three and a quarter horizons: a quarter of a year at 28 days.
    pub(crate) long: usize,
    /// Six and a half.
    pub(crate) longer: usize,
    /// Thirteen.
    pub(crate) longest: usize,
    /// How far back the same weeks of a past year lie; `None` for counted steps.
    pub(crate) year: Option<usize>,
}

impl Windows {
    pub(crate) fn new(freq: Freq, h: usize) -> Self {
        // Seasons of weeks and months are years, which the year features look after.
        let season = match freq.unit {
            Unit::Day | Unit::Hour | Unit::Minute => freq.season_length().max(1),
            _ => 1,
        };
        let scaled = |f: f64| {
            let w = (h as f64 * f).round().max(1.0) as usize;
            if w >= season { ((w as f64 / season as f64).round() as usize).max(1) * season } else { w }
        };
        let year = freq.steps_per_year().map(|y| {
            let one = ((y / season as f64).round() as usize).max(1) * season;
            // A horizon beyond a year compares with as many years back as make the past window known.
            one * h.div_ceil(one).max(1)
        });
        Self {
            h,
            season,
            quarter: scaled(0.25),
            half: scaled(0.5),
            double: scaled(2.0),
            long: scaled(3.25),
            longer: scaled(6.5),
            longest: scaled(13.0),
            year,
        }
    }
}

/// The grid of steps that all series of a panel share: step `k` is the stamp `freq.add(base, k)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) freq: Freq,
    pub(crate) base: Stamp,
}

impl Grid {
    /// The stamp of a step.
    pub(crate) fn stamp(self, step: usize) -> Stamp {
        self.freq.add(self.base, i64::try_from(step).unwrap_or(i64::MAX))
    }

    /// How many steps of the grid lie at or before `stamp`.
    pub(crate) fn steps_until(self, stamp: Stamp) -> usize {
        if stamp < self.base {
            return 0;
        }
        let (mut lo, mut hi) = (0_usize, 1_usize);
        while self.stamp(hi) <= stamp && hi < 1 << 40 {
            lo = hi;
            hi *= 2;
        }
        while lo + 1 < hi {
            let mid = lo + (hi - lo) / 2;
            if self.stamp(mid) <= stamp { lo = mid } else { hi = mid }
        }
        lo + 1
    }

    /// First and last day of the `n` steps from `step` on; `None` for counted steps.
    pub(crate) fn days(self, step: usize, n: usize) -> Option<(NaiveDate, NaiveDate)> {
        if !self.freq.is_dated() || n == 0 {
            return None;
        }
        let day = |s: usize| date(self.stamp(s));
        Some(match self.freq.unit {
            Unit::MonthEnd => {
                let first = if step == 0 { day(0) } else { day(step - 1).checked_add_days(Days::new(1))? };
                (first, day(step + n - 1))
            }
            Unit::Week | Unit::Month => (day(step), day(step + n).checked_sub_days(Days::new(1))?),
            Unit::Day if self.freq.n > 1 => (day(step), day(step + n).checked_sub_days(Days::new(1))?),
            _ => (day(step), day(step + n - 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::freq::parse_stamp;

    #[test]
    fn windows_scale_with_the_horizon_and_hold_whole_weeks() {
        let w = Windows::new(Freq::DAILY, 28);
        assert_eq!(
            (w.quarter, w.half, w.double, w.long, w.longer, w.longest, w.year),
            (7, 14, 56, 91, 182, 364, Some(364))
        );
        let w = Windows::new(Freq::DAILY, 10);
        assert_eq!((w.quarter, w.half, w.double), (3, 5, 21));
        let w = Windows::new(Freq::MONTHLY, 3);
        assert_eq!((w.season, w.quarter, w.double, w.long, w.year), (1, 1, 6, 10, Some(12)));
        assert_eq!(Windows::new(Freq::MONTHLY, 18).year, Some(24));
        assert_eq!(Windows::new(Freq::STEP, 4).year, None);
    }

    #[test]
    fn steps_and_stamps_agree() {
        for f in ["D", "W", "MS", "ME", "h", "1"] {
            let freq: Freq = f.parse().expect("a frequency");
            let grid = Grid { freq, base: parse_stamp("2024-01-31").expect("a date") };
            for k in [0, 1, 5, 400] {
                assert_eq!(grid.steps_until(grid.stamp(k)), k + 1, "{f} {k}");
            }
            assert_eq!(grid.steps_until(grid.base - 1), 0);
        }
    }

    #[test]
    fn a_window_has_its_days() {
        let day = |s: &str| date(parse_stamp(s).expect("a date"));
        let grid = |f: &str, base: &str| Grid {
            freq: f.parse().expect("a frequency"),
            base: parse_stamp(base).expect("a date"),
        };
        assert_eq!(grid("D", "2024-02-01").days(3, 7), Some((day("2024-02-04"), day("2024-02-10"))));
        assert_eq!(grid("MS", "2024-01-01").days(1, 2), Some((day("2024-02-01"), day("2024-03-31"))));
        assert_eq!(grid("ME", "2024-01-31").days(1, 2), Some((day("2024-02-01"), day("2024-03-31"))));
        assert_eq!(grid("W", "2024-01-01").days(0, 1), Some((day("2024-01-01"), day("2024-01-07"))));
        assert_eq!(grid("1", "2024-01-01").days(0, 1), None);
    }
}
