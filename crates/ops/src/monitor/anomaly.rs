//! Odd points of any series of a metric: requests, errors, latencies, orders, drift scores.
//!
//! Each point is compared with the median of the points before it, of the same place in the season where there is one,
//! in units of their median absolute deviation (Hampel 1974). Neither is moved by the odd points themselves. The limit
//! comes from Student's t with as many degrees of freedom as the window allows, so that the stated share of false alarms
//! holds for short windows too, where errors are near normal.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use tradewind_core::ErrorKind;
use tradewind_core::distribution::{normal_quantile, t_quantile};

/// How points are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnomalySettings {
    /// Points before that are looked at, of the same place in the season: 28; at least 8.
    pub window: usize,
    /// Points of a season (7 for days of a week); 1 for none.
    pub season: usize,
    /// The share of points without fault that are called odd, 0.001.
    pub false_alarm: f64,
    /// The smallest spread that counts, as a share of the median, 0.01: a series that stands still is not odd at its
    /// first breath.
    pub spread_min: f64,
}

impl Default for AnomalySettings {
    fn default() -> Self {
        Self { window: 28, season: 1, false_alarm: 0.001, spread_min: 0.01 }
    }
}

/// A point of a series and what was to be expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Its place in the series.
    pub index: usize,
    /// What it is.
    pub value: f64,
    /// The median of the points that it is compared with.
    pub expected: f64,
    /// How many robust standard deviations it lies above (or, below zero, under) that.
    pub score: f64,
    /// The score from which a point is odd.
    pub limit: f64,
}

/// The odd points of a series in order; NaN is a point that is not known. The first points, which have fewer than 8
/// before them to be compared with, are not judged.
///
/// ```
/// use tradewind_ops::monitor::anomaly::{AnomalySettings, anomalies};
/// let mut series: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i * 13 % 7)).collect();
/// series[50] = 180.0;
/// let odd = anomalies(&series, &AnomalySettings::default()).unwrap();
/// assert_eq!((odd.len(), odd[0].index), (1, 50));
/// ```
///
/// # Errors
/// Settings outside their range.
pub fn anomalies(series: &[f64], settings: &AnomalySettings) -> Result<Vec<Anomaly>> {
    const NEEDED: usize = 8;
    let AnomalySettings { window, season, false_alarm, spread_min } = *settings;
    if window < NEEDED
        || season == 0
        || !(false_alarm > 0.0 && false_alarm < 0.5)
        || !(0.0..1.0).contains(&spread_min)
    {
        return Err(Error::asked(
            ErrorKind::InvalidParams,
            format!(
                "a window of {window}, a season of {season}, {false_alarm} false alarms, a spread of {spread_min}"
            ),
            "give a window of 8 or more, a season of 1 or more, a share between 0 and 0.5, a spread of 0 to 1",
        ));
    }
    let mut out = Vec::new();
    for (index, value) in series.iter().enumerate().filter(|(_, v)| v.is_finite()) {
        let places = (1..=window).map_while(|back| index.checked_sub(back * season));
        let mut before: Vec<f64> = places.map(|i| series[i]).filter(|v| v.is_finite()).collect();
        if before.len() < NEEDED {
            continue;
        }
        let n = before.len() as f64;
        let expected = median(&mut before);
        let mut apart: Vec<f64> = before.iter().map(|v| (v - expected).abs()).collect();
        // The median absolute deviation of normal values, and its bias in small samples (Croux and Rousseeuw 1992).
        let spread = median(&mut apart) / normal_quantile(0.75) * (n / (n - 0.8));
        let least = spread_min * expected.abs();
        let scale = (spread.max(least).powi(2) * (1.0 + std::f64::consts::FRAC_PI_2 / n)).sqrt();
        let score = match *value - expected {
            0.0 => 0.0,
            apart => apart / scale,
        };
        // The deviation is known only as well as from some third of the points.
        let limit = t_quantile(1.0 - false_alarm / 2.0, (0.37 * n).max(2.0));
        if score.abs() >= limit {
            out.push(Anomaly { index, value: *value, expected, score, limit });
        }
    }
    Ok(out)
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let at = *values.select_nth_unstable_by(middle, f64::total_cmp).1;
    if values.len() % 2 == 1 {
        return at;
    }
    let below = values[..middle].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    0.5 * (at + below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::sketch::mixed;

    fn normal(i: u64) -> f64 {
        normal_quantile(((mixed(i) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64)
    }

    #[test]
    fn false_alarms_are_as_rare_as_stated() {
        for (window, false_alarm) in [(28, 0.01), (60, 0.01), (28, 0.001), (12, 0.01)] {
            let series: Vec<f64> = (0..100_000).map(|i| 50.0 + 5.0 * normal(i)).collect();
            let settings = AnomalySettings { window, false_alarm, ..AnomalySettings::default() };
            let rate = anomalies(&series, &settings).unwrap().len() as f64 / 1e5;
            assert!(rate < 1.5 * false_alarm && rate > 0.2 * false_alarm, "{window} {false_alarm}: {rate}");
        }
    }

    #[test]
    fn a_season_is_no_oddity_and_odd_points_do_not_hide_one_another() {
        let mut series: Vec<f64> =
            (0..140).map(|i| if i % 7 > 4 { 300.0 } else { 100.0 } + 3.0 * normal(i)).collect();
        let settings = AnomalySettings { window: 12, season: 7, ..AnomalySettings::default() };
        assert!(anomalies(&series, &settings).unwrap().is_empty());
        series[110] = 160.0;
        series[117] = 160.0;
        series[124] = f64::NAN;
        let odd: Vec<usize> = anomalies(&series, &settings).unwrap().iter().map(|a| a.index).collect();
        assert_eq!(odd, [110, 117]);
        let still = vec![5.0; 40];
        assert!(anomalies(&still, &AnomalySettings::default()).unwrap().is_empty());
        let zero: Vec<f64> = (0..40).map(|i| f64::from(i == 39)).collect();
        assert_eq!(anomalies(&zero, &AnomalySettings::default()).unwrap().len(), 1);
        assert!(anomalies(&still, &AnomalySettings { window: 3, ..AnomalySettings::default() }).is_err());
    }
}
