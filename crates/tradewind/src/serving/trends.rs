//! Versions of the kind `trends`: what rises, holds and falls, by product, category, store and word.
//!
//! ```text
//! artifact.json           settings, groups with their quality on past dates
//! trends-<group>.parquet  a row a series: probabilities, growth, units, stage; change points and causes as JSON texts
//! ```

use super::columns::Columns;
use super::folder::{Reader, Writer};
use super::{Findings, UNNAMED, not_found};
use crate::answers::{batch, floats, texts, word};
use crate::error::{Error, Result};
use crate::files::shop_calendar;
use crate::trends::{Answer, By, beside};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tradewind_core::{Direction, Freq, Run, Stamp, Trend};
use tradewind_forecast::trend::{self, Trainer, TrendEvaluation, TrendSettings};
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::{PanelRequest, shop_panel};

pub use crate::wording::trend_reason;

/// What trends are to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrendsRequest {
    /// Of what; the first is needed, the others are left out where the shop does not have them.
    pub by: Vec<By>,
    /// How; see [`TrendSettings`].
    pub settings: TrendSettings,
}

impl Default for TrendsRequest {
    fn default() -> Self {
        Self { by: By::ALL.to_vec(), settings: TrendSettings::default() }
    }
}

impl TrendsRequest {
    /// By the settings of a shop.
    pub fn of_shop(shop: &Shop) -> Self {
        let s = &shop.settings().trend;
        let settings = TrendSettings {
            horizon: s.horizon,
            threshold: s.threshold,
            level: s.level,
            ..TrendSettings::default()
        };
        Self { settings, ..Self::default() }
    }
}

/// What the header says.
#[derive(Serialize, Deserialize)]
struct About {
    freq: Freq,
    settings: TrendSettings,
    groups: BTreeMap<By, GroupAbout>,
}

#[derive(Serialize, Deserialize)]
struct GroupAbout {
    cutoff: Stamp,
    series: usize,
    /// As [`tradewind_forecast::trend::TrendQuality`] has it; told as it stands.
    quality: Value,
}

fn file_of(by: By) -> String {
    format!("trends-{}.parquet", by.name())
}

/// Fits and writes.
pub(super) fn make(
    run: &Run,
    shop: &Shop,
    request: &TrendsRequest,
    writer: &mut Writer,
    findings: &mut Findings,
) -> Result<Value> {
    request.settings.check()?;
    let Some(first) = request.by.first() else {
        return Err(Error::asked("no group of series is named", "name product, category, store or word"));
    };
    let calendar = shop_calendar(shop)?;
    let settings = &request.settings;
    let mut about = About { freq: Freq::DAILY, settings: settings.clone(), groups: BTreeMap::new() };
    let (products, _) = shop_panel(run, shop, &PanelRequest::units(Freq::DAILY))?;
    // What is learnt of the products serves every group.
    let trainer = Trainer::new(&products, settings, &calendar)?;
    for by in &request.by {
        let made = beside(run, shop, *by, &products).and_then(|target| {
            let of = target.as_ref().unwrap_or(&products);
            if of.ids().iter().all(|id| id == UNNAMED) {
                let what = format!("trends by {}: the shop names none", by.name());
                return Err(tradewind_core::Error::NotEnoughData { what, needed: 1, got: 0 }.into());
            }
            let answer = Answer::new(trainer.predict(run, target.as_ref(), None)?, of);
            Ok((target, answer))
        });
        let (target, answer) = if by == first {
            made?
        } else {
            match findings.unless_too_little(&format!("trends by {}", by.name()), made)? {
                Some(made) => made,
                None => continue,
            }
        };
        // The newest date whose outcome is known; at it the model is learnt anew from what lies before.
        let past = trend::cutoffs(target.as_ref().unwrap_or(&products), settings, 1)
            .and_then(|cutoffs| trainer.evaluate(run, target.as_ref(), &cutoffs))
            .map_err(Error::from);
        if let Some(past) = findings.unless_too_little(&format!("measures by {}", by.name()), past)? {
            let prefix = if by == first { String::new() } else { format!("{}.", by.name()) };
            measure(findings, &prefix, &past);
        }
        writer.table(&file_of(*by), &table(&answer)?)?;
        about.freq = answer.freq();
        let quality = serde_json::to_value(&answer.report.quality).unwrap_or_default();
        let group = GroupAbout { cutoff: answer.report.cutoff, series: answer.report.trends.len(), quality };
        about.groups.insert(*by, group);
    }
    serde_json::to_value(&about)
        .map_err(|source| Error::Core(tradewind_core::Error::Saved { what: "trends".to_owned(), source }))
}

fn measure(findings: &mut Findings, prefix: &str, past: &TrendEvaluation) {
    let s = &past.scores;
    let best = past.naive.iter().map(|n| n.scores.accuracy).fold(f64::NAN, f64::max);
    let auc = |d: Direction| s.directions[d as usize].auc.unwrap_or(f64::NAN);
    for (name, value) in [
        ("accuracy", s.accuracy),
        ("accuracy_naive", best),
        ("macro_f1", s.macro_f1),
        ("auc_rising", auc(Direction::Rising)),
        ("auc_falling", auc(Direction::Falling)),
        ("log_loss", s.log_loss),
        ("brier", s.brier),
        ("calibration_error", s.calibration_error),
        ("precision_top50_rising", s.precision_top50_rising),
        ("coverage", past.coverage),
        ("cases", s.n as f64),
    ] {
        findings.measure(format!("{prefix}{name}"), value);
    }
}

fn table(answer: &Answer) -> Result<RecordBatch> {
    let trends = &answer.report.trends;
    let number = |of: &dyn Fn(&Trend) -> f64| floats(trends.iter().map(of));
    let labels: Vec<_> = trends.iter().map(|t| answer.label(&t.unique_id)).collect();
    let optional = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let whole = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let json = |value: &dyn Fn(&Trend) -> Value| texts(trends.iter().map(|t| value(t).to_string()));
    Ok(batch(vec![
        ("unique_id".into(), texts(trends.iter().map(|t| &t.unique_id))),
        ("title".into(), optional(labels.iter().map(|l| l.0).collect())),
        ("category".into(), optional(labels.iter().map(|l| l.1).collect())),
        ("cutoff".into(), whole(trends.iter().map(|t| t.cutoff).collect())),
        ("horizon".into(), whole(trends.iter().map(|t| t.horizon as i64).collect())),
        ("p_falling".into(), number(&|t| t.probabilities[0])),
        ("p_steady".into(), number(&|t| t.probabilities[1])),
        ("p_rising".into(), number(&|t| t.probabilities[2])),
        ("counted".into(), floats(answer.report.counted.iter().copied())),
        ("growth".into(), number(&|t| t.growth)),
        ("growth_lower".into(), number(&|t| t.growth_lower)),
        ("growth_upper".into(), number(&|t| t.growth_upper)),
        ("units_last".into(), number(&|t| t.units_last)),
        ("units_expected".into(), number(&|t| t.units_expected)),
        ("stage".into(), texts(trends.iter().map(|t| word(&t.stage)))),
        ("basis".into(), texts(trends.iter().map(|t| word(&t.basis)))),
        ("change_points".into(), json(&|t| serde_json::to_value(&t.change_points).unwrap_or_default())),
        ("drivers".into(), json(&|t| serde_json::to_value(&t.drivers).unwrap_or_default())),
    ])?)
}

/// One series with its trend.
#[derive(Clone, Debug, PartialEq)]
pub struct TrendItem {
    /// The trend.
    pub trend: Trend,
    /// The product's title, where there is one.
    pub title: Option<String>,
    /// Its category, where there is one.
    pub category: Option<String>,
    /// The chance, 0 to 1, that both windows together have the units that a direction needs.
    pub counted: f64,
}

impl TrendItem {
    /// The chance that there will be enough units and that they go this way.
    fn chance(&self, direction: Direction) -> f64 {
        self.trend.probabilities[direction as usize] * self.counted
    }
}

/// The order of a list of trends; all but names begin with the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrendSort {
    /// The chance of the direction asked for (of rising, where none is).
    #[default]
    Probability,
    /// Expected growth.
    Growth,
    /// Units expected.
    Units,
    /// Units moved up or down.
    Moved,
    /// The series' names.
    Name,
}

/// A question about many trends.
#[derive(Clone, Debug, PartialEq)]
pub struct TrendQuery<'a> {
    /// Of what.
    pub by: By,
    /// Only those whose likeliest direction is this one and that will likely have the units that a direction needs.
    pub direction: Option<Direction>,
    /// Least probability of the direction asked for (of the likeliest, where none is), 0 to 1.
    pub probability_min: f64,
    /// Only this category.
    pub category: Option<&'a str>,
    /// Only series whose name or title holds this text, whatever its case.
    pub text: Option<&'a str>,
    /// In which order.
    pub sort: TrendSort,
    /// The other way round.
    pub reverse: bool,
    /// Items to pass over.
    pub offset: usize,
    /// Items wanted.
    pub limit: usize,
}

impl TrendQuery<'_> {
    /// All trends of a group in the usual order.
    pub fn of(by: By) -> Self {
        Self {
            by,
            direction: None,
            probability_min: 0.0,
            category: None,
            text: None,
            sort: TrendSort::default(),
            reverse: false,
            offset: 0,
            limit: usize::MAX,
        }
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TrendPage<'a> {
    /// How many the filters leave.
    pub total: usize,
    /// Those asked for.
    pub items: Vec<&'a TrendItem>,
}

/// Trends in memory.
#[derive(Debug)]
pub struct Trends {
    freq: Freq,
    settings: TrendSettings,
    groups: BTreeMap<By, Group>,
}

#[derive(Debug)]
struct Group {
    cutoff: Stamp,
    quality: Value,
    items: Vec<TrendItem>,
    by_name: HashMap<String, usize>,
}

impl Trends {
    pub(super) fn read(reader: &Reader) -> Result<Self> {
        let about: About = reader.about()?;
        about.settings.check()?;
        let mut groups = BTreeMap::new();
        for (by, group) in about.groups {
            let items = items(reader, &file_of(by))?;
            if items.len() != group.series {
                let what = format!("has {} series, not {}", items.len(), group.series);
                return Err(reader.fault(&file_of(by), &what));
            }
            let by_name = items.iter().enumerate().map(|(i, t)| (t.trend.unique_id.clone(), i)).collect();
            groups.insert(by, Group { cutoff: group.cutoff, quality: group.quality, items, by_name });
        }
        Ok(Self { freq: about.freq, settings: about.settings, groups })
    }

    /// The spacing of the series.
    pub fn freq(&self) -> Freq {
        self.freq
    }

    /// How they were predicted.
    pub fn settings(&self) -> &TrendSettings {
        &self.settings
    }

    /// The groups there are.
    pub fn groups(&self) -> Vec<By> {
        self.groups.keys().copied().collect()
    }

    /// The last stamp known, and how good such answers were on past dates, as the model's own report tells.
    ///
    /// # Errors
    /// A group that this version does not have.
    pub fn quality(&self, by: By) -> Result<(Stamp, &Value)> {
        self.group(by).map(|g| (g.cutoff, &g.quality))
    }

    /// A part of the list.
    ///
    /// # Errors
    /// A group that this version does not have.
    pub fn page(&self, query: &TrendQuery<'_>) -> Result<TrendPage<'_>> {
        let group = self.group(query.by)?;
        let text = query.text.map(str::to_lowercase);
        let holds = |t: &TrendItem, text: &str| {
            t.trend.unique_id.to_lowercase().contains(text)
                || t.title.as_deref().is_some_and(|title| title.to_lowercase().contains(text))
        };
        let mut found: Vec<&TrendItem> = group
            .items
            .iter()
            .filter(|t| {
                let toward = t.trend.direction();
                let asked = query.direction.is_none_or(|d| d == toward && t.counted >= 0.5);
                asked
                    && t.trend.probabilities[toward as usize] >= query.probability_min
                    && query.category.is_none_or(|c| t.category.as_deref() == Some(c))
                    && text.as_deref().is_none_or(|text| holds(t, text))
            })
            .collect();
        let toward = query.direction.unwrap_or(Direction::Rising);
        let moved = |t: &TrendItem| (t.trend.units_expected - t.trend.units_last).abs();
        let by = |a: &TrendItem, b: &TrendItem| -> Ordering {
            let largest_first = match query.sort {
                TrendSort::Probability => {
                    b.chance(toward).total_cmp(&a.chance(toward)).then_with(|| moved(b).total_cmp(&moved(a)))
                }
                TrendSort::Growth => b.trend.growth.total_cmp(&a.trend.growth),
                TrendSort::Units => b.trend.units_expected.total_cmp(&a.trend.units_expected),
                TrendSort::Moved => moved(b).total_cmp(&moved(a)),
                TrendSort::Name => Ordering::Equal,
            };
            largest_first.then_with(|| a.trend.unique_id.cmp(&b.trend.unique_id))
        };
        found.sort_by(|a, b| if query.reverse { by(b, a) } else { by(a, b) });
        let total = found.len();
        let items = found.into_iter().skip(query.offset).take(query.limit).collect();
        Ok(TrendPage { total, items })
    }

    /// One series.
    ///
    /// # Errors
    /// A group or a series that this version does not have.
    pub fn item(&self, by: By, id: &str) -> Result<&TrendItem> {
        let group = self.group(by)?;
        match group.by_name.get(id) {
            Some(at) => Ok(&group.items[*at]),
            None => Err(not_found(by.name(), id, "")),
        }
    }

    fn group(&self, by: By) -> Result<&Group> {
        self.groups.get(&by).ok_or_else(|| {
            let known: Vec<_> = self.groups.keys().map(|b| b.name()).collect();
            not_found("group of trends", by.name(), known.join(", "))
        })
    }
}

/// The rows of a file.
fn items(reader: &Reader, file: &str) -> Result<Vec<TrendItem>> {
    let columns = Columns::read(reader, file)?;
    let numbers = |name: &str| columns.numbers(name);
    let (ids, titles, categories) =
        (columns.names("unique_id")?, columns.texts("title")?, columns.texts("category")?);
    let (cutoff, horizon) = (columns.whole("cutoff")?, columns.whole("horizon")?);
    let p = [numbers("p_falling")?, numbers("p_steady")?, numbers("p_rising")?];
    let (counted, growth) = (numbers("counted")?, numbers("growth")?);
    let (lower, upper) = (numbers("growth_lower")?, numbers("growth_upper")?);
    let (last, expected) = (numbers("units_last")?, numbers("units_expected")?);
    let (stage, basis) = (columns.names("stage")?, columns.names("basis")?);
    let (points, drivers) = (columns.names("change_points")?, columns.names("drivers")?);
    let fault = |row: usize, name: &str| reader.fault(file, &format!("row {row}: `{name}` cannot be read"));
    let mut out = Vec::with_capacity(ids.len());
    for (i, unique_id) in ids.into_iter().enumerate() {
        let trend = Trend {
            unique_id,
            cutoff: cutoff[i],
            horizon: usize::try_from(horizon[i]).map_err(|_| fault(i, "horizon"))?,
            probabilities: [p[0][i], p[1][i], p[2][i]],
            growth: growth[i],
            growth_lower: lower[i],
            growth_upper: upper[i],
            units_last: last[i],
            units_expected: expected[i],
            stage: serde_json::from_value(Value::String(stage[i].clone())).map_err(|_| fault(i, "stage"))?,
            change_points: serde_json::from_str(&points[i]).map_err(|_| fault(i, "change_points"))?,
            drivers: serde_json::from_str(&drivers[i]).map_err(|_| fault(i, "drivers"))?,
            basis: serde_json::from_value(Value::String(basis[i].clone())).map_err(|_| fault(i, "basis"))?,
        };
        let (title, category) = (titles[i].clone(), categories[i].clone());
        out.push(TrendItem { trend, title, category, counted: counted[i] });
    }
    Ok(out)
}
