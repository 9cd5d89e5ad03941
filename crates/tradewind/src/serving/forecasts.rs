//! Versions of the kind `forecasts`: what will sell, in units and in money, by product, category and store.
//!
//! ```text
//! artifact.json                       model, parameters, horizon, levels, the groups there are
//! forecasts-<target>-<group>.parquet  rows as `tradewind forecast --output` writes them
//! series-<group>.parquet              titles and categories
//! ```

use super::columns::Columns;
use super::folder::{Reader, Writer};
use super::{Findings, not_found, weeks};
use crate::answers::{batch, forecast_of_table, forecast_table, texts};
use crate::error::{Error, Result};
use crate::forecasts::{backtest, leaderboard, panel_of_shop};
use crate::large::Job;
use crate::trends::By;
use arrow::array::{ArrayRef, StringArray};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tradewind_core::{Forecast, Freq, Panel, ParamCheck, Params, Run, Stamp};
use tradewind_forecast::Options;
use tradewind_forecast::backtest::Backtest;
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::Target;

/// The simple answer that the model is measured beside.
const NAIVE: &str = "seasonal_naive";
/// Origins of the backtest that tells which errors are usual.
const USUAL_ORIGINS: usize = 3;
/// Steps ahead at most.
const HORIZON_MAX: usize = 1_000;

/// What is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// Units sold.
    Units,
    /// Money taken.
    Revenue,
}

impl TargetKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Units, Self::Revenue];

    /// Its word, as in files and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::Revenue => "revenue",
        }
    }

    /// The one of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    fn target(self) -> Target {
        match self {
            Self::Units => Target::Units,
            Self::Revenue => Target::Revenue,
        }
    }
}

/// What is to be forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecastsRequest {
    /// The method's name in the catalogue.
    pub model: String,
    /// Its parameters.
    pub params: Params,
    /// Steps ahead, 1 to 1,000.
    pub horizon: usize,
    /// The spacing of the steps.
    pub freq: Freq,
    /// Coverages of central intervals, each above 0 and below 1.
    pub coverages: Vec<f64>,
    /// What is forecast; the first is needed, money is left out where the shop has no prices.
    pub targets: Vec<TargetKind>,
    /// For which series; the first is needed, the others are left out where the shop does not have them. Not words.
    pub by: Vec<By>,
}

impl Default for ForecastsRequest {
    fn default() -> Self {
        Self {
            model: "auto".into(),
            params: Params::new(),
            horizon: 28,
            freq: Freq::DAILY,
            coverages: vec![0.5, 0.8, 0.95],
            targets: TargetKind::ALL.to_vec(),
            by: vec![By::Product, By::Category],
        }
    }
}

impl ForecastsRequest {
    fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require((1..=HORIZON_MAX).contains(&self.horizon), "horizon", self.horizon, "1 to 1000");
        for c in &self.coverages {
            check.require(*c > 0.0 && *c < 1.0, "coverages", c, "above 0 and below 1");
        }
        check.require(!self.targets.is_empty(), "targets", "none", "units, revenue or both");
        check.require(!self.by.is_empty(), "by", "nothing", "product, category, store");
        check.finish()?;
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct About {
    model: String,
    params: Params,
    freq: Freq,
    horizon: usize,
    levels: Vec<f64>,
    groups: Vec<GroupAbout>,
    /// Errors that are usual for the first group, week by week; none in artifacts of before they were kept.
    #[serde(default)]
    usual: Vec<Usual>,
}

/// The errors of a week in which nothing was the matter: of a backtest, by models that had not seen the week.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// The sum of absolute errors over the sum of what came.
    pub wape: f64,
    /// The sum of errors over the sum of what came; above 0: too much was forecast.
    pub bias: f64,
    /// How often what came lay in the central interval of 80 %; none without intervals.
    pub coverage: Option<f64>,
    /// The error of a simple method in the same week; none where it could not answer.
    #[serde(default)]
    pub naive_wape: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct GroupAbout {
    target: TargetKind,
    by: By,
    /// The last stamp known.
    cutoff: Option<Stamp>,
    series: usize,
}

fn file_of(target: TargetKind, by: By) -> String {
    format!("forecasts-{}-{}.parquet", target.name(), by.name())
}

fn labels_of(by: By) -> String {
    format!("series-{}.parquet", by.name())
}

/// Fits and writes.
pub(super) fn make(
    run: &Run,
    shop: &Shop,
    request: &ForecastsRequest,
    writer: &mut Writer,
    findings: &mut Findings,
) -> Result<Value> {
    request.check()?;
    let options = Options::new(request.horizon, &request.coverages);
    let models = [request.model.clone()];
    let mut about = About {
        model: request.model.clone(),
        params: request.params.clone(),
        freq: request.freq,
        horizon: request.horizon,
        levels: Forecast::levels_of(&request.coverages),
        groups: vec![],
        usual: vec![],
    };
    for by in &request.by {
        let mut labelled = false;
        for target in &request.targets {
            let what = format!("{} by {}", target.name(), by.name());
            let needed = request.by.first() == Some(by) && request.targets.first() == Some(target);
            let panel = panel_of_shop(run, shop, *by, target.target(), request.freq).and_then(named);
            let panel = match needed {
                true => panel?,
                false => match findings.unless_too_little(&what, panel)? {
                    Some(panel) => panel,
                    None => continue,
                },
            };
            let prefix = if needed { String::new() } else { format!("{}.{}.", target.name(), by.name()) };
            let settings = Backtest {
                horizon: request.horizon,
                n_origins: 1,
                coverages: request.coverages.clone(),
                ..Backtest::default()
            };
            measure(run, &panel, &request.model, &request.params, &settings, &prefix, NAIVE, findings)?;
            if needed {
                let settings = Backtest { n_origins: USUAL_ORIGINS, ..settings };
                let result = backtest(run, &panel, &[&request.model], &request.params, &settings);
                if let Some(result) = findings.unless_too_little("usual errors of forecasts", result)? {
                    let naive = backtest(run, &panel, &[NAIVE], &Params::new(), &settings);
                    let naive = findings.unless_too_little("usual errors of a simple method", naive)?;
                    about.usual = weeks::usual(&result, naive.as_ref(), request.freq);
                }
            }
            let f = Job::new(&panel, &models, &request.params, &options).run(run)?.remove(0);
            writer.table(&file_of(*target, *by), &forecast_table(std::slice::from_ref(&f))?)?;
            if !labelled {
                write_labels(writer, &labels_of(*by), &panel)?;
                labelled = true;
            }
            let (cutoff, series) = (panel.last_stamp(), f.len());
            about.groups.push(GroupAbout { target: *target, by: *by, cutoff, series });
        }
    }
    serde_json::to_value(&about)
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: "forecasts".to_owned(), source }))
}

/// A panel in which something has a name.
fn named(panel: Panel) -> Result<Panel> {
    if panel.ids().iter().all(|id| id == super::UNNAMED) {
        let what = "a forecast by a group that the shop names nowhere".to_owned();
        return Err(tradewind_core::Error::NotEnoughData { what, needed: 1, got: 0 }.into());
    }
    Ok(panel)
}

/// Measures on the last window of each series, of a model that had not seen it, and of a simple answer beside it.
pub(super) fn measure(
    run: &Run,
    panel: &Panel,
    model: &str,
    params: &Params,
    settings: &Backtest,
    prefix: &str,
    naive: &str,
    findings: &mut Findings,
) -> Result<()> {
    let none = Params::new();
    for (model, params, suffix) in [(model, params, ""), (naive, &none, "_naive")] {
        let result = backtest(run, panel, &[model], params, settings);
        let Some(result) = findings.unless_too_little("measures of forecasts", result)? else {
            return Ok(());
        };
        let Some(row) = leaderboard(&result).all.into_iter().next() else { continue };
        let s = row.scores;
        for (name, value) in [
            ("mae", s.mae),
            ("rmse", s.rmse),
            ("wape", s.wape),
            ("mase", s.mase),
            ("bias", s.bias),
            ("pinball", s.pinball),
            ("hit_rate", s.hit_rate),
            ("exact_rate", s.exact_rate),
        ] {
            findings.measure(format!("{prefix}{name}{suffix}"), value);
        }
        for i in s.intervals {
            findings.measure(format!("{prefix}coverage_{:.0}{suffix}", i.nominal * 100.0), i.coverage);
        }
    }
    Ok(())
}

/// Titles and categories of the series of a panel, where it has any.
pub(super) fn write_labels(writer: &mut Writer, file: &str, panel: &Panel) -> Result<()> {
    let column = |name: &str| -> ArrayRef {
        Arc::new((0..panel.len()).map(|i| panel.static_text(name, i)).collect::<StringArray>())
    };
    let table = batch(vec![
        ("unique_id".into(), texts(panel.ids().iter())),
        ("title".into(), column("title")),
        ("category".into(), column("category")),
    ])?;
    writer.table(file, &table)
}

/// A title and a category, where they are known.
pub(super) type Label = (Option<String>, Option<String>);

/// The titles and categories of a file.
pub(super) fn read_labels(reader: &Reader, file: &str) -> Result<HashMap<String, Label>> {
    let columns = Columns::read(reader, file)?;
    let labels = columns.texts("title")?.into_iter().zip(columns.texts("category")?);
    Ok(columns.names("unique_id")?.into_iter().zip(labels).collect())
}

/// A question about one series.
#[derive(Clone, Debug, PartialEq)]
pub struct ForecastQuery<'a> {
    /// What is forecast.
    pub target: TargetKind,
    /// What sort of series.
    pub by: By,
    /// The series.
    pub id: &'a str,
    /// The first so many steps; all, where not said.
    pub horizon: Option<usize>,
    /// Quantile levels inside those held; those held, where not said.
    pub levels: Option<&'a [f64]>,
}

/// One step ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its stamp.
    pub ds: Stamp,
    /// The mean.
    pub mean: f64,
    /// The quantiles, in the order of the levels.
    pub quantiles: Vec<f64>,
}

/// The forecast of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesForecast<'a> {
    /// The series.
    pub id: &'a str,
    /// Its title, where there is one.
    pub title: Option<&'a str>,
    /// Its category, where there is one.
    pub category: Option<&'a str>,
    /// The levels of the quantiles.
    pub levels: Vec<f64>,
    /// The steps, the nearest first.
    pub steps: Vec<Step>,
}

/// Forecasts in memory.
#[derive(Debug)]
pub struct Forecasts {
    model: String,
    freq: Freq,
    horizon: usize,
    levels: Vec<f64>,
    groups: BTreeMap<(TargetKind, By), Group>,
    labels: BTreeMap<By, HashMap<String, Label>>,
    usual: Vec<Usual>,
}

#[derive(Debug)]
struct Group {
    cutoff: Option<Stamp>,
    forecast: Forecast,
    by_name: HashMap<String, usize>,
}

impl Forecasts {
    pub(super) fn read(reader: &Reader) -> Result<Self> {
        let about: About = reader.about()?;
        let (mut groups, mut labels) = (BTreeMap::new(), BTreeMap::new());
        for g in &about.groups {
            let file = file_of(g.target, g.by);
            let batches = reader.table(&file)?;
            let forecast =
                forecast_of_table(&batches, &about.model, about.freq, about.horizon, &about.levels)
                    .map_err(|e| reader.fault(&file, &format!("cannot be read: {e}")))?;
            if forecast.len() != g.series {
                return Err(reader.fault(&file, &format!("has {} series, not {}", forecast.len(), g.series)));
            }
            let by_name = forecast.ids().iter().enumerate().map(|(i, id)| (id.clone(), i)).collect();
            groups.insert((g.target, g.by), Group { cutoff: g.cutoff, forecast, by_name });
            if let std::collections::btree_map::Entry::Vacant(place) = labels.entry(g.by) {
                place.insert(read_labels(reader, &labels_of(g.by))?);
            }
        }
        let About { model, freq, horizon, levels, usual, .. } = about;
        Ok(Self { model, freq, horizon, levels, groups, labels, usual })
    }

    /// The method that made them.
    pub fn method(&self) -> &str {
        &self.model
    }

    /// The spacing of the steps.
    pub fn freq(&self) -> Freq {
        self.freq
    }

    /// Steps ahead.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// The quantile levels held.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// Errors that are usual for the first group, week by week, by a backtest at the time of fitting.
    pub fn usual(&self) -> &[Usual] {
        &self.usual
    }

    /// What is forecast for which series.
    pub fn groups(&self) -> Vec<(TargetKind, By)> {
        self.groups.keys().copied().collect()
    }

    /// The series of a group, in their order.
    ///
    /// # Errors
    /// A group that this version does not have.
    pub fn ids(&self, target: TargetKind, by: By) -> Result<&[String]> {
        self.group(target, by).map(|g| g.forecast.ids())
    }

    /// The last stamp known of a group.
    ///
    /// # Errors
    /// A group that this version does not have.
    pub fn cutoff(&self, target: TargetKind, by: By) -> Result<Option<Stamp>> {
        self.group(target, by).map(|g| g.cutoff)
    }

    /// The forecast of one series.
    ///
    /// # Errors
    /// A group or series that this version does not have, a horizon beyond that of the version, a level outside those
    /// held.
    pub fn series(&self, query: &ForecastQuery<'_>) -> Result<SeriesForecast<'_>> {
        let group = self.group(query.target, query.by)?;
        let f = &group.forecast;
        let Some(&i) = group.by_name.get(query.id) else {
            return Err(not_found(query.by.name(), query.id, ""));
        };
        let horizon = query.horizon.unwrap_or(self.horizon);
        let levels = query.levels.unwrap_or(&self.levels);
        let mut check = ParamCheck::new();
        let allowed = format!("1 to {}", self.horizon);
        check.require((1..=self.horizon).contains(&horizon), "horizon", horizon, &allowed);
        let held = match (self.levels.first(), self.levels.last()) {
            (Some(a), Some(b)) => format!("{a} to {b}"),
            _ => "none: this version holds no quantiles".to_owned(),
        };
        for level in levels {
            check.require(f.quantile(i, 0, *level).is_some(), "levels", level, &held);
        }
        check.finish()?;
        let label = self.labels.get(&query.by).and_then(|l| l.get(query.id));
        let quantiles = |k: usize| levels.iter().map(|l| f.quantile(i, k, *l).unwrap_or(f64::NAN)).collect();
        let steps = (0..horizon)
            .map(|k| Step { ds: f.ds(i, k), mean: f.mean(i)[k], quantiles: quantiles(k) })
            .collect();
        Ok(SeriesForecast {
            id: &f.ids()[i],
            title: label.and_then(|l| l.0.as_deref()),
            category: label.and_then(|l| l.1.as_deref()),
            levels: levels.to_vec(),
            steps,
        })
    }

    fn group(&self, target: TargetKind, by: By) -> Result<&Group> {
        self.groups.get(&(target, by)).ok_or_else(|| {
            let known: Vec<_> =
                self.groups.keys().map(|(t, b)| format!("{} by {}", t.name(), b.name())).collect();
            let asked = format!("{} by {}", target.name(), by.name());
            not_found("group of forecasts", &asked, known.join(", "))
        })
    }
}
