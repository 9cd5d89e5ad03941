//! The main job over a shop or a file: which products, categories, stores and words rise, hold or fall, and why.

use crate::error::{Error, Result};
use crate::word_panel::word_panel;
use serde::{Deserialize, Serialize};
use tradewind_core::calendar::Calendar;
use tradewind_core::{Direction, Freq, Panel, Params, Run, Stamp, Trend};
use tradewind_forecast::Options;
use tradewind_forecast::trend::{self, TrendEvaluation, TrendReport, TrendSettings};
use tradewind_text::TitleWords;
use tradewind_warehouse::Shop;
use tradewind_warehouse::clean::CleanReport;
use tradewind_warehouse::panel::{GroupBy, PanelRequest, shop_panel};

/// What trends are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Each product.
    Product,
    /// Each category.
    Category,
    /// Each store.
    Store,
    /// Each word that stands in several titles.
    Word,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Product, Self::Category, Self::Store, Self::Word];

    /// Its word, as in files and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Category => "category",
            Self::Store => "store",
            Self::Word => "word",
        }
    }

    /// The one of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }
}

/// The series whose trends are asked, and those the model learns from.
#[derive(Clone, Debug)]
pub struct Matter {
    /// The series asked about.
    pub target: Panel,
    /// The series learned from, where they are others than those asked about.
    pub training: Option<Panel>,
    /// What cleaning did, for a shop.
    pub clean: Option<CleanReport>,
}

impl Matter {
    /// From a shop's sales, cleaned by its settings, in units a day.
    pub fn of_shop(run: &Run, shop: &Shop, by: By) -> Result<Self> {
        let (products, clean) = shop_panel(run, shop, &PanelRequest::units(Freq::DAILY))?;
        let clean = Some(clean);
        Ok(match beside(run, shop, by, &products)? {
            Some(target) => Self { target, training: Some(products), clean },
            None => Self { target: products, training: None, clean },
        })
    }

    /// From a panel that was read from a file.
    pub fn of_panel(panel: Panel, by: By) -> Result<Self> {
        match by {
            By::Product => Ok(Self { target: panel, training: None, clean: None }),
            By::Word => {
                let words = word_panel(&panel, &TitleWords::new())?;
                Ok(Self { target: words, training: Some(panel), clean: None })
            }
            By::Category | By::Store => Err(Error::asked(
                "categories and stores are known only in a shop",
                "import the file into a shop, or sum it by category yourself and give that as --input",
            )),
        }
    }

    /// The trends of every series, from what was known at `cutoff` (the last stamp of the data, when `None`).
    ///
    /// # Errors
    /// Settings out of range, a cutoff before the data, too little past to learn from, cancellation.
    pub fn predict(
        &self,
        run: &Run,
        settings: &TrendSettings,
        cutoff: Option<Stamp>,
        calendar: &Calendar,
    ) -> Result<Answer> {
        let report = match &self.training {
            Some(training) => {
                trend::predict_with(run, training, Some(&self.target), settings, cutoff, calendar)?
            }
            None => trend::predict(run, &self.target, settings, cutoff, calendar)?,
        };
        Ok(Answer::new(report, &self.target))
    }

    /// How right the trends would have been at past dates, beside naive answers. Without `cutoffs`, the newest
    /// `n_origins` ones whose outcome is known, one horizon apart.
    ///
    /// # Errors
    /// As [`Matter::predict`]; also fewer past dates than asked for.
    pub fn evaluate(
        &self,
        run: &Run,
        settings: &TrendSettings,
        cutoffs: &[Stamp],
        n_origins: usize,
        calendar: &Calendar,
    ) -> Result<TrendEvaluation> {
        let cutoffs = if cutoffs.is_empty() {
            trend::cutoffs(&self.target, settings, n_origins)?
        } else {
            cutoffs.to_vec()
        };
        Ok(match &self.training {
            Some(training) => {
                trend::evaluate_with(run, training, Some(&self.target), settings, &cutoffs, calendar)?
            }
            None => trend::evaluate(run, &self.target, settings, &cutoffs, calendar)?,
        })
    }
}

/// The series of a group of a shop, beside those of its products; `None` for the products themselves.
pub(crate) fn beside(run: &Run, shop: &Shop, by: By, products: &Panel) -> Result<Option<Panel>> {
    let group = match by {
        By::Product => return Ok(None),
        By::Word => return Ok(Some(word_panel(products, &TitleWords::new())?)),
        By::Category => GroupBy::Category,
        By::Store => GroupBy::Store,
    };
    let request = PanelRequest { by: group, ..PanelRequest::units(Freq::DAILY) };
    Ok(Some(shop_panel(run, shop, &request)?.0))
}

/// The trends of every series, with what is needed to show them.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The trends, the settings they were asked with, and how right the model was on past dates it had not seen.
    pub report: TrendReport,
    known: Panel,
}

impl Answer {
    /// What a report tells of these series.
    pub(crate) fn new(report: TrendReport, of: &Panel) -> Self {
        let known = of.as_of(report.cutoff);
        Self { report, known }
    }

    /// The spacing of the series.
    pub fn freq(&self) -> Freq {
        self.known.freq()
    }

    /// The `n` that go most surely in a direction, among those that sell enough for a change to be more than chance.
    pub fn top(&self, direction: Direction, n: usize) -> Vec<&Trend> {
        let mut chosen = self.report.top(direction, self.report.trends.len());
        chosen.retain(|t| t.direction() == direction);
        chosen.truncate(n);
        chosen
    }

    /// The title and the category of a series, where they are known.
    pub fn label(&self, id: &str) -> (Option<&str>, Option<&str>) {
        self.known.position(id).map_or((None, None), |i| {
            (self.known.static_text("title", i), self.known.static_text("category", i))
        })
    }

    /// History and forecast of some series in steps a person can read: a quarter of the horizon each (weeks, for four
    /// weeks of days). The band is that of the growth interval, spread over the steps.
    pub fn paths(&self, run: &Run, ids: &[&str]) -> Result<Vec<Path>> {
        let stride = (self.report.settings.horizon / 4).max(1);
        let freq = self.freq();
        let coarse = Freq { unit: freq.unit, n: freq.n.saturating_mul(stride as u32) };
        let mut series = Vec::new();
        for id in ids {
            let Some(i) = self.known.position(id) else { continue };
            let s = self.known.series(i);
            // Steps are cut from the end, so that the last one is whole; an unknown day makes its step unknown only
            // when most of it is.
            let skip = s.y.len() % stride;
            let y: Vec<f64> = s.y[skip..].chunks(stride).map(total).collect();
            if !y.is_empty() {
                series.push(((*id).to_owned(), s.ds(skip), y));
            }
        }
        let panel = Panel::from_series(coarse, series)?;
        let horizon = self.report.settings.horizon.div_ceil(stride);
        let options = Options::new(horizon, &[]);
        let forecast = tradewind_forecast::forecast(&run.quiet(), &panel, "theta", &Params::new(), &options)?;
        let trends: std::collections::BTreeMap<&str, &Trend> =
            self.report.trends.iter().map(|t| (t.unique_id.as_str(), t)).collect();
        Ok((0..panel.len())
            .map(|i| {
                let s = panel.series(i);
                // The forecaster gives the shape; level and band are the trend's own, so that plot and figures agree.
                let shape = forecast.mean(i);
                let sum: f64 = shape.iter().map(|v| v.max(0.0)).sum();
                let (units, lower, upper) = trends.get(s.id).map_or((sum, sum, sum), |t| {
                    let end = |growth: f64| ((t.units_last + 1.0) * (1.0 + growth) - 1.0).max(0.0);
                    (t.units_expected, end(t.growth_lower), end(t.growth_upper))
                });
                let step = |k: usize| {
                    let share = if sum > 0.0 { shape[k].max(0.0) / sum } else { 1.0 / horizon as f64 };
                    let mean = units * share;
                    (forecast.ds(i, k), mean, (lower * share).min(mean), (upper * share).max(mean))
                };
                Path {
                    unique_id: s.id.to_owned(),
                    stride,
                    history: s.y.iter().enumerate().map(|(k, v)| (s.ds(k), *v)).collect(),
                    forecast: (0..horizon).map(step).collect(),
                }
            })
            .collect())
    }
}

/// The sum of a step's values; with some unknown, the sum the known ones stand for; unknown when most are.
fn total(values: &[f64]) -> f64 {
    let known: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if known.len() * 2 <= values.len() {
        return f64::NAN;
    }
    known.iter().sum::<f64>() * values.len() as f64 / known.len() as f64
}

/// What is plotted of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The series.
    pub unique_id: String,
    /// Steps of the panel that one step of the plot sums.
    pub stride: usize,
    /// The past: stamp and units.
    pub history: Vec<(Stamp, f64)>,
    /// The future: stamp, expected units, lower and upper bound.
    pub forecast: Vec<(Stamp, f64, f64, f64)>,
}
