//! Versions of the kind `prices`: at what price each product will sell, and on which point of its own ladder.
//!
//! ```text
//! artifact.json    parameters, horizon, levels
//! prices.parquet   rows as `tradewind forecast --target price` writes them, with the likeliest point and its chance
//! series.parquet   titles, categories, the last price known
//! ```

use super::columns::Columns;
use super::folder::{Reader, Writer};
use super::forecasts::{measure, read_labels};
use super::{Findings, not_found};
use crate::answers::{batch, floats, forecast_of_table, forecast_table, texts, with_column};
use crate::error::{Error, Result};
use crate::forecasts::panel_of_shop;
use crate::trends::By;
use arrow::array::{ArrayRef, StringArray};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_core::{Ahead, Forecast, Freq, ParamCheck, Params, Run, Stamp};
use tradewind_forecast::backtest::Backtest;
use tradewind_forecast::price::{ENTRY, Price};
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::Target;

const FILE: &str = "prices.parquet";
const SERIES: &str = "series.parquet";
/// The simple answer that the model is measured beside: the last price stays.
const NAIVE: &str = "naive";

/// What prices are to be forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PricesRequest {
    /// Parameters of the model `price`.
    pub params: Params,
    /// Steps ahead, 1 to 1,000.
    pub horizon: usize,
    /// The spacing of the steps.
    pub freq: Freq,
    /// Coverages of central intervals, each above 0 and below 1.
    pub coverages: Vec<f64>,
}

impl Default for PricesRequest {
    fn default() -> Self {
        Self { params: Params::new(), horizon: 28, freq: Freq::DAILY, coverages: vec![0.8] }
    }
}

#[derive(Serialize, Deserialize)]
struct About {
    params: Params,
    freq: Freq,
    horizon: usize,
    levels: Vec<f64>,
    cutoff: Option<Stamp>,
    series: usize,
}

/// Fits and writes.
pub(super) fn make(
    run: &Run,
    shop: &Shop,
    request: &PricesRequest,
    writer: &mut Writer,
    findings: &mut Findings,
) -> Result<Value> {
    let mut check = ParamCheck::new();
    check.require((1..=1_000).contains(&request.horizon), "horizon", request.horizon, "1 to 1000");
    for c in &request.coverages {
        check.require(*c > 0.0 && *c < 1.0, "coverages", c, "above 0 and below 1");
    }
    check.finish()?;
    let panel = panel_of_shop(run, shop, By::Product, Target::Price, request.freq)?;
    let settings = Backtest {
        horizon: request.horizon,
        n_origins: 1,
        coverages: request.coverages.clone(),
        ..Backtest::default()
    };
    measure(run, &panel, ENTRY.name, &request.params, &settings, "", NAIVE, findings)?;
    let mut model: Price = ENTRY.read(&request.params)?;
    model.horizon = model.horizon.or(Some(request.horizon));
    let levels = Forecast::levels_of(&request.coverages);
    let said = run.install(|| {
        let fitted = model.fit_panel(run, &panel)?;
        fitted.modes(run, &Ahead::new(request.horizon, &levels))
    })?;
    let n = said.forecast.len();
    let (mut modes, mut chances) = (Vec::new(), Vec::new());
    for i in 0..n {
        modes.extend_from_slice(said.mode(i));
        chances.extend_from_slice(said.chance(i));
    }
    let forecast = said.forecast.with_modes(modes)?;
    let table = forecast_table(std::slice::from_ref(&forecast))?;
    let table = with_column(&table, table.num_columns(), "chance", floats(chances.into_iter()))?;
    writer.table(FILE, &table)?;
    let column = |name: &str| -> ArrayRef {
        Arc::new((0..panel.len()).map(|i| panel.static_text(name, i)).collect::<StringArray>())
    };
    let last = |i: usize| panel.series(i).y.iter().rev().copied().find(|v| v.is_finite()).unwrap_or(f64::NAN);
    let series = batch(vec![
        ("unique_id".into(), texts(panel.ids().iter())),
        ("title".into(), column("title")),
        ("category".into(), column("category")),
        ("last".into(), floats((0..panel.len()).map(last))),
    ])?;
    writer.table(SERIES, &series)?;
    let about = About {
        params: request.params.clone(),
        freq: request.freq,
        horizon: request.horizon,
        levels,
        cutoff: panel.last_stamp(),
        series: n,
    };
    serde_json::to_value(&about)
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: "prices".to_owned(), source }))
}

/// One step ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceStep {
    /// Its stamp.
    pub ds: Stamp,
    /// The price expected.
    pub mean: f64,
    /// The likeliest point of the product's own prices.
    pub mode: f64,
    /// The chance of that point, 0 to 1; 0 where prices were too few to learn it.
    pub chance: f64,
    /// The quantiles, in the order of the levels.
    pub quantiles: Vec<f64>,
}

/// The prices of one product.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceForecast<'a> {
    /// The product.
    pub id: &'a str,
    /// Its title, where there is one.
    pub title: Option<&'a str>,
    /// Its category, where there is one.
    pub category: Option<&'a str>,
    /// The last price known.
    pub last: Option<f64>,
    /// The steps, the nearest first.
    pub steps: Vec<PriceStep>,
}

/// Prices in memory.
#[derive(Debug)]
pub struct Prices {
    freq: Freq,
    cutoff: Option<Stamp>,
    forecast: Forecast,
    chances: Vec<f64>,
    by_name: HashMap<String, usize>,
    labels: HashMap<String, super::forecasts::Label>,
    last: HashMap<String, f64>,
}

impl Prices {
    pub(super) fn read(reader: &Reader) -> Result<Self> {
        let about: About = reader.about()?;
        let columns = Columns::read(reader, FILE)?;
        let fault = |what: String| reader.fault(FILE, &what);
        let forecast =
            forecast_of_table(columns.batches(), ENTRY.name, about.freq, about.horizon, &about.levels)
                .and_then(|f| f.with_modes(columns.numbers("mode").unwrap_or_default()))
                .map_err(|e| fault(format!("cannot be read: {e}")))?;
        let chances = columns.numbers("chance")?;
        if forecast.len() != about.series || chances.len() != about.series * about.horizon {
            return Err(fault(format!("has {} series, not {}", forecast.len(), about.series)));
        }
        if forecast.modes().len() != chances.len() {
            return Err(fault("lacks the likeliest prices".to_owned()));
        }
        let series = Columns::read(reader, SERIES)?;
        let last = series.names("unique_id")?.into_iter().zip(series.numbers("last")?).collect();
        let by_name = forecast.ids().iter().enumerate().map(|(i, id)| (id.clone(), i)).collect();
        let labels = read_labels(reader, SERIES)?;
        Ok(Self { freq: about.freq, cutoff: about.cutoff, forecast, chances, by_name, labels, last })
    }

    /// The spacing of the steps.
    pub fn freq(&self) -> Freq {
        self.freq
    }

    /// The last stamp known.
    pub fn cutoff(&self) -> Option<Stamp> {
        self.cutoff
    }

    /// Steps ahead.
    pub fn horizon(&self) -> usize {
        self.forecast.horizon()
    }

    /// The quantile levels held.
    pub fn levels(&self) -> &[f64] {
        self.forecast.levels()
    }

    /// The products, in their order.
    pub fn ids(&self) -> &[String] {
        self.forecast.ids()
    }

    /// The prices of one product, the first `horizon` steps or all.
    ///
    /// # Errors
    /// A product that this version does not know, a horizon beyond that of the version.
    pub fn series(&self, id: &str, horizon: Option<usize>) -> Result<PriceForecast<'_>> {
        let Some(&i) = self.by_name.get(id) else { return Err(not_found("product", id, "")) };
        let f = &self.forecast;
        let h = horizon.unwrap_or(f.horizon());
        let allowed = format!("1 to {}", f.horizon());
        ParamCheck::new().require((1..=f.horizon()).contains(&h), "horizon", h, &allowed).finish()?;
        let at = i * f.horizon();
        let steps = (0..h)
            .map(|k| PriceStep {
                ds: f.ds(i, k),
                mean: f.mean(i)[k],
                mode: f.modes()[at + k],
                chance: self.chances[at + k],
                quantiles: f.levels().iter().map(|l| f.quantile(i, k, *l).unwrap_or(f64::NAN)).collect(),
            })
            .collect();
        let label = self.labels.get(id);
        Ok(PriceForecast {
            id: &f.ids()[i],
            title: label.and_then(|l| l.0.as_deref()),
            category: label.and_then(|l| l.1.as_deref()),
            last: self.last.get(id).copied().filter(|v| v.is_finite()),
            steps,
        })
    }
}
