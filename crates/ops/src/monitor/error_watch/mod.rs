//! The error of forecasts as actuals arrive: by segment, against what was to be expected, with an alarm whose rate of
//! false alarms is stated.
//!
//! ```text
//! actuals beside forecasts ─→ ErrorSums (mergeable, by segment and week) ─→ ErrorReport (bias, WAPE, coverage)
//!            the week's badness ─→ Alarm (false alarms stated) ─→ alert, retraining
//! training, validation, live error ─→ fit_verdict (overfitted? underfitted? gone stale?)
//! forecasts alone ─→ estimate (accuracy before actuals arrive)
//! ```

mod alarm;
mod estimate;
mod fit;

pub use alarm::{Alarm, AlarmSettings, AlarmStep};
pub use estimate::{ClassEstimate, IntervalEstimate, estimate_classes, estimate_intervals, expected_pinball};
pub use fit::{FitSettings, FitVerdict, fit_verdict};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One forecast with what came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What came; NaN where it is not known yet, and then nothing is counted.
    pub actual: f64,
    /// What was forecast.
    pub forecast: f64,
    /// The lower and upper end of its interval, if it has one.
    pub interval: Option<(f64, f64)>,
}

/// Sums of errors, merged from any parts.
///
/// With actuals `y` and forecasts `f`: bias `Σ(f − y)/Σ abs(y)`, WAPE `Σ abs(f − y)/Σ abs(y)`, coverage the share of
/// actuals within their interval, sharpness the mean width of intervals over the mean size of actuals.
///
/// ```
/// use tradewind_ops::monitor::error_watch::{ErrorSums, Outcome};
/// let mut sums = ErrorSums::default();
/// sums.push(Outcome { actual: 10.0, forecast: 12.0, interval: Some((8.0, 13.0)) });
/// sums.push(Outcome { actual: 10.0, forecast: 9.0, interval: Some((8.0, 9.5)) });
/// assert_eq!((sums.bias(), sums.wape(), sums.coverage()), (0.05, 0.15, 0.5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorSums {
    /// Forecasts with an actual.
    pub n: u64,
    /// Σ (f − y).
    pub error: f64,
    /// Σ |f − y|.
    pub absolute: f64,
    /// Σ (f − y)².
    pub squared: f64,
    /// Σ |y|.
    pub size: f64,
    /// Forecasts with an interval.
    pub intervals: u64,
    /// Actuals within their interval.
    pub inside: u64,
    /// Σ of the widths of intervals.
    pub width: f64,
    /// Σ |y| of those with an interval.
    pub size_of_intervals: f64,
}

impl ErrorSums {
    /// Takes a forecast in; what is not finite is left out and answered with false.
    pub fn push(&mut self, outcome: Outcome) -> bool {
        let Outcome { actual, forecast, interval } = outcome;
        if !(actual.is_finite() && forecast.is_finite()) {
            return false;
        }
        self.n += 1;
        self.error += forecast - actual;
        self.absolute += (forecast - actual).abs();
        self.squared += (forecast - actual).powi(2);
        self.size += actual.abs();
        if let Some((low, high)) = interval.filter(|(l, h)| l.is_finite() && h.is_finite()) {
            self.intervals += 1;
            self.inside += u64::from(low <= actual && actual <= high);
            self.width += high - low;
            self.size_of_intervals += actual.abs();
        }
        true
    }

    /// Adds other forecasts.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.error += other.error;
        self.absolute += other.absolute;
        self.squared += other.squared;
        self.size += other.size;
        self.intervals += other.intervals;
        self.inside += other.inside;
        self.width += other.width;
        self.size_of_intervals += other.size_of_intervals;
    }

    /// Above zero when forecasts are too high; NaN when everything that came is zero.
    pub fn bias(&self) -> f64 {
        ratio(self.error, self.size)
    }

    /// Weighted absolute percentage error; NaN when everything that came is zero.
    pub fn wape(&self) -> f64 {
        ratio(self.absolute, self.size)
    }

    /// Root of the mean squared error.
    pub fn rmse(&self) -> f64 {
        ratio(self.squared, self.n as f64).sqrt()
    }

    /// The share of actuals within their interval; NaN without intervals.
    pub fn coverage(&self) -> f64 {
        ratio(self.inside as f64, self.intervals as f64)
    }

    /// The mean width of intervals over the mean size of actuals.
    pub fn sharpness(&self) -> f64 {
        ratio(self.width, self.size_of_intervals)
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { f64::NAN }
}

/// What was to be expected of a segment, from the backtest at training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The error of the backtest at the same steps ahead.
    pub wape: f64,
    /// The coverage that intervals promise, as 0.8.
    pub coverage: f64,
}

/// A segment of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentError {
    /// The segment, as `category=tea` or `all`.
    pub segment: String,
    /// The sums behind the figures.
    pub sums: ErrorSums,
    /// See [`ErrorSums::bias`].
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub bias: f64,
    /// See [`ErrorSums::wape`].
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub wape: f64,
    /// See [`ErrorSums::coverage`].
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub coverage: f64,
    /// What was expected at training, if it is known.
    pub expected: Option<Expected>,
    /// WAPE over the expected one: 1.3 is 30 % worse than at training.
    #[serde(deserialize_with = "crate::number::or_nan")]
    pub ratio: f64,
    /// The part of the error of all that this segment has.
    pub part: f64,
}

/// Errors by segment, the one with the most error first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// All segments together.
    pub all: SegmentError,
    /// The segments.
    pub segments: Vec<SegmentError>,
}

/// Sums of errors by segment. A forecast may be in several segmentations (`category=…`, `store=…`) and is in `all` once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentedErrors {
    all: ErrorSums,
    segments: BTreeMap<String, ErrorSums>,
}

/// Segments that are told apart; errors of further ones count under `other`.
const SEGMENTS_MAX: usize = 10_000;

impl SegmentedErrors {
    /// Takes a forecast in.
    pub fn push<'a>(&mut self, segments: impl IntoIterator<Item = &'a str>, outcome: Outcome) {
        if !self.all.push(outcome) {
            return;
        }
        for name in segments {
            let known = self.segments.contains_key(name) || self.segments.len() < SEGMENTS_MAX;
            self.segments.entry(if known { name } else { "other" }.to_owned()).or_default().push(outcome);
        }
    }

    /// Adds other forecasts.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        for (name, sums) in &other.segments {
            let known = self.segments.contains_key(name) || self.segments.len() < SEGMENTS_MAX;
            self.segments.entry(if known { name } else { "other" }.to_owned()).or_default().merge(sums);
        }
    }

    /// All forecasts together.
    pub fn all(&self) -> &ErrorSums {
        &self.all
    }

    /// A segment.
    pub fn segment(&self, name: &str) -> Option<&ErrorSums> {
        self.segments.get(name)
    }

    /// The report, against what was expected: by segment, `all` for everything, and for segments that are not named as
    /// for `all`.
    ///
    /// ```
    /// use tradewind_ops::monitor::error_watch::{Expected, Outcome, SegmentedErrors};
    /// let mut errors = SegmentedErrors::default();
    /// errors.push(["category=tea"], Outcome { actual: 10.0, forecast: 13.0, interval: None });
    /// errors.push(["category=cups"], Outcome { actual: 10.0, forecast: 11.0, interval: None });
    /// let expected = [("all".to_owned(), Expected { wape: 0.2, coverage: 0.8 })].into();
    /// let report = errors.report(&expected);
    /// assert_eq!(report.segments[0].segment, "category=tea");
    /// assert!((report.segments[0].ratio - 1.5).abs() < 1e-12);
    /// ```
    pub fn report(&self, expected: &BTreeMap<String, Expected>) -> ErrorReport {
        let of = |segment: &str, sums: &ErrorSums| {
            let expected = expected.get(segment).or_else(|| expected.get("all")).copied();
            SegmentError {
                segment: segment.to_owned(),
                sums: *sums,
                bias: sums.bias(),
                wape: sums.wape(),
                coverage: sums.coverage(),
                expected,
                ratio: expected.map_or(f64::NAN, |e| ratio(sums.wape(), e.wape)),
                part: if self.all.absolute > 0.0 { sums.absolute / self.all.absolute } else { 0.0 },
            }
        };
        let mut segments: Vec<SegmentError> =
            self.segments.iter().map(|(name, sums)| of(name, sums)).collect();
        segments.sort_by(|a, b| b.part.total_cmp(&a.part).then(a.segment.cmp(&b.segment)));
        ErrorReport { all: of("all", &self.all), segments }
    }
}
