//! What will sell, at what price, and what is trending.
//!
//! ```text
//! Panel ─→ CATALOG entry ─build→ Forecaster ─fit→ FittedForecaster ─predict→ Forecast
//!                                                        │  ▲
//!                                                  update┘  └load ← JSON ← save
//! ```
//!
//! Every method of the list [`CATALOG`] is reached in the same way; [`entry`] finds one by name. Most methods look at
//! one series at a time ([`local`] carries them over a whole panel, in parallel); the others learn across series.
//!
//! ```
//! use tradewind_core::{Ahead, Freq, Panel, Params, Run};
//! let months: Vec<f64> = (0..48).map(|t| 100.0 + t as f64 + [8.0, -3.0, -5.0][t % 3]).collect();
//! let panel = Panel::from_series(Freq::MONTHLY, vec![("tea".into(), 0, months)]).unwrap();
//! let run = Run::new(1);
//! let params = Params::new();
//! let model = (tradewind_forecast::entry("naive").unwrap().build)(&params).unwrap();
//! let fitted = model.fit(&run, &panel).unwrap();
//! let ahead = fitted.predict(&run, &Ahead::new(6, &[0.1, 0.9])).unwrap();
//! assert_eq!(ahead.mean(0).len(), 6);
//! assert!(ahead.quantile(0, 0, 0.1).unwrap() < ahead.mean(0)[0]);
//! ```
//!
//! What this crate refuses to do: read files, clocks or the network; look at anything behind a cutoff; fail a whole
//! panel because one series is too short (it falls back and says so).

pub mod anomalies;
pub mod backtest;
pub mod changepoint;
pub mod conformal;
pub mod deep;
mod draws;
pub mod features;
pub mod forecasting;
pub mod hierarchy;
pub mod local;
pub mod normal;
mod optimize;
pub mod regression;
pub mod relations;
pub mod scenarios;
pub mod seasonality;
pub mod trend;

pub use forecasting::{Intervals, Options, forecast, forecast_each, is_local, looks_at_columns};

use tradewind_core::{Error, ForecasterEntry, Result};

/// Declares each method's module and puts its `ENTRY` into [`CATALOG`]: a new method is its file and a line here.
macro_rules! catalog {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// All forecasters, in the order in which they are shown.
        pub const CATALOG: &[ForecasterEntry] = &[$($module::ENTRY),*];
    };
}

catalog! {
    naive,
    seasonal_naive,
    seasonal_window_average,
    drift,
    mean,
    moving_average,
    ses,
    holt,
    holt_winters,
    ets,
    ces,
    classical,
    stl,
    mstl,
    theta,
    arima,
    auto_arima,
    autoregression,
    croston,
    sba,
    tsb,
    adida,
    imapa,
    linear_regression,
    polynomial_regression,
    logistic_regression,
    dynamic_regression,
    global,
    mlp,
    lstm,
    gru,
    cnn_gru,
    tcn,
    patch_transformer,
    price,
    combination,
    auto,
}

/// The catalogue entry of that name. The error lists all names, the likeliest first.
///
/// ```
/// assert_eq!(tradewind_forecast::entry("naive").unwrap().name, "naive");
/// let missing = tradewind_forecast::entry("niave").unwrap_err().to_string();
/// assert!(missing.contains("did you mean `naive`?"));
/// ```
pub fn entry(name: &str) -> Result<&'static ForecasterEntry> {
    CATALOG.iter().find(|e| e.name == name).ok_or_else(|| {
        let asked = name.to_lowercase().replace(['-', ' '], "_");
        let near = CATALOG
            .iter()
            .map(|e| (edits(&asked, e.name), e.name))
            .min()
            .filter(|(d, e)| *d <= 1 + e.len() / 3)
            .map_or(String::new(), |(_, e)| format!("did you mean `{e}`? "));
        let names = CATALOG.iter().map(|e| e.name).collect::<Vec<_>>().join(", ");
        Error::NotFound { what: "forecaster", name: name.to_owned(), known: format!("{near}{names}") }
    })
}

/// How many single-character changes lie between two words (Levenshtein, with neighbours swapped counted once).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j - 1] + change).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_plain() {
        for (i, e) in CATALOG.iter().enumerate() {
            assert!(CATALOG[..i].iter().all(|o| o.name != e.name), "{} twice", e.name);
            assert!(
                e.name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()),
                "{}",
                e.name
            );
            assert!(!e.summary.is_empty() && !e.summary_zh.is_empty() && !e.source.is_empty(), "{}", e.name);
        }
    }

    #[test]
    fn swapped_letters_are_one_edit() {
        assert_eq!(edits("niave", "naive"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("theta", "theta"), 0);
    }
}
