//! A shop's sales as a panel: cleaned lines, added up to days and then to periods, with what stands beside them.
//!
//! A series begins with the first sale of its product (or its launch, when that lies in the shop's data), and goes on to
//! the last day of the shop's data: a product that stopped has sold nothing since. Days without a line are zero; days on
//! which it was out of stock are unknown. A period of several days is unknown when more than half of its days are, and
//! the sum of the known ones otherwise. Periods that the data do not cover whole, at either end, are left out.
//!
//! # Columns beside `y`
//!
//! | name | meaning | known ahead |
//! | --- | --- | --- |
//! | `price` | mean price paid for a unit; where nothing was sold the own price, else the last price carried forward | no |
//! | `units` | units sold; only when the target is the price | no |
//! | `price_plan` | own price from the table `prices` | when prices lie ahead |
//! | `promotion` | share of the days (and stores) under a promotion, from the table `promotions` | when promotions lie ahead |
//! | `discount` | share taken off by promotions, over the same days; from the sales' own discounts when the table is empty | as `promotion`; no |
//! | `stock_out` | share of the days (and stores) without stock, from the table `stock` | no |
//! | `closed` | share of the days on which the whole shop sold nothing | no |
//! | `views`, `clicks`, `carts`, `searches` | events of the period; unknown outside the log. A search that names no product is one for every product whose title, category or brand holds its words | no |
//! | `competitor_price` | mean of the competitors' latest prices | no |
//! | `competitor_gap` | how far that lies above the own price, as a share of it (the price paid, else the own price) | no |
//! | `market_…` | the latest known value of each series of the table `market`, the same for all series | no |
//!
//! A column is there only when the shop has something to fill it with.

mod beside;
mod grid;
mod series;

use crate::clean::lines::{CleanSales, NONE, clean_sales};
use crate::clean::{CleanReport, CleanSettings, Outliers, outliers};
use crate::error::{Error, Result};
use crate::shop::Shop;
use beside::{Beside, EVENTS};
use grid::{Grid, Spacing};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use series::{Column, Group, Maker};
use std::collections::{BTreeMap, BTreeSet};
use tradewind_core::freq::DAY;
use tradewind_core::{Covariate, Freq, Panel, Run, Stamp, StaticColumn, StaticValues};

/// Values of `y` that a panel may have; beyond it a machine of usual size has no room for the columns.
pub const PANEL_VALUES_MAX: usize = 50_000_000;

/// Days ahead for which plans are looked at.
const PLAN_DAYS_MAX: i64 = 731;

/// The name of a group whose lines name no category or store.
const UNNAMED: &str = "(none)";

/// What makes a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Each product, over all stores.
    Product,
    /// Each category of the catalogue.
    Category,
    /// Each store.
    Store,
    /// Each product in each store; its name is `product/store`.
    ProductStore,
}

/// What `y` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Units sold.
    Units,
    /// Money taken.
    Revenue,
    /// Mean price paid for a unit.
    Price,
}

/// What panel is asked for.
///
/// ```
/// use tradewind_core::Freq;
/// use tradewind_warehouse::panel::{GroupBy, PanelRequest};
/// let weekly = PanelRequest { by: GroupBy::Category, ..PanelRequest::units(Freq::WEEKLY) };
/// assert_eq!(weekly.to, None);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PanelRequest {
    /// What makes a series.
    pub by: GroupBy,
    /// The spacing: days, weeks (from Monday, or on the weekday of weekly totals), months, or several of these.
    pub freq: Freq,
    /// What `y` is.
    pub target: Target,
    /// The first day; the data are taken to be whole from then on. The first day that has sales when not given.
    pub from: Option<Stamp>,
    /// The last day: nothing that happened later is looked at, not even returns. For an honest replay of the past.
    pub to: Option<Stamp>,
}

impl PanelRequest {
    /// Units of every product over all the shop's data.
    pub fn units(freq: Freq) -> Self {
        Self { by: GroupBy::Product, freq, target: Target::Units, from: None, to: None }
    }
}

/// Makes a panel of a shop's sales, cleaned by the shop's own settings. The raw tables are only read.
///
/// # Errors
/// [`Error::NotEnough`] when there are no sales in the days asked for, no full period, or no prices for a target of
/// money; [`Error::Core`] for a frequency finer than days or finer than the sales, for a panel beyond
/// [`PANEL_VALUES_MAX`], and when the run is cancelled; errors of the disk and of queries.
pub fn shop_panel(run: &Run, shop: &Shop, request: &PanelRequest) -> Result<(Panel, CleanReport)> {
    shop_panel_with(run, shop, request, &shop.settings().clean)
}

/// As [`shop_panel`], with other settings of cleaning than the shop's.
pub fn shop_panel_with(
    run: &Run,
    shop: &Shop,
    request: &PanelRequest,
    settings: &CleanSettings,
) -> Result<(Panel, CleanReport)> {
    let snapshot = shop.snapshot()?;
    let (from, to) = (request.from.map(|s| s.div_euclid(DAY)), request.to.map(|s| s.div_euclid(DAY)));
    let mut sales = clean_sales(run, &snapshot, settings, from, to)?;
    if request.target != Target::Units && !sales.has_money {
        return Err(Error::NotEnough("the sales have neither prices nor revenue; ask for units".into()));
    }
    let spacing = Spacing::of(&sales.days);
    let grid = Grid::new(request.freq, spacing, &sales.days, from)?;
    let last_day = grid.day(grid.last + 1) - 1;
    // A replay of the past must not see price changes that came later; they were not all planned.
    let replay = sales.all_last.is_some_and(|last| to.is_some_and(|to| to < last));
    let seen_until = sales.days.keys().next_back().copied().unwrap_or(last_day);
    let beside = Beside::read(run, &snapshot, &sales, seen_until, !replay)?;

    let groups = groups(&sales, &beside, &grid, request.by);
    let mut report = std::mem::take(&mut sales.report);
    let (groups, too_new): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|g| g.first <= grid.last);
    report.series_too_new = too_new.len() as u64;
    let n_values = groups.iter().map(|g| (grid.last - g.first + 1) as usize).sum::<usize>();
    if n_values > PANEL_VALUES_MAX {
        return Err(Error::Core(tradewind_core::Error::Invalid(format!(
            "the panel would have {n_values} values in {} series; up to {PANEL_VALUES_MAX} fit: choose weeks or months, \
             products rather than products by store, or a later first day (a wrong date in the sales makes it long, too)",
            groups.len()
        ))));
    }

    let open_days = (spacing == Spacing::Days).then(|| open_days(&sales));
    let columns = columns(&sales, &beside, &grid, request, open_days.as_ref(), last_day);
    if let Some(open) = &open_days {
        let (a, b) = (sales.days.keys().next().copied().unwrap_or(0), seen_until);
        report.closed_days =
            u64::try_from(b - a + 1).unwrap_or(0).saturating_sub(open.range(a..=b).count() as u64);
    }
    let maker = Maker {
        sales: &sales,
        beside: &beside,
        grid: &grid,
        settings,
        target: request.target,
        by: request.by,
        open_days: open_days.as_ref(),
        columns: &columns,
        whole_periods: spacing != Spacing::Days,
    };
    run.check()?;
    run.progress().begin("panel", groups.len() as u64);
    let made: Vec<series::Made> = run.install(|| {
        groups
            .par_iter()
            .map(|g| {
                run.progress().advance(1);
                maker.make(g)
            })
            .collect()
    });
    run.progress().end();
    run.check()?;
    report.stock_out_values = made.iter().map(|m| m.stock_out_values).sum();
    let panel = assemble(request, &grid, &groups, &columns, &beside, made)?;
    let panel = with_statics(panel, request.by, &groups, &sales, &beside)?;
    // Outliers that stay as they are need not be looked for here.
    if settings.outliers == Outliers::Keep || request.target == Target::Price {
        return Ok((panel, report));
    }
    let (panel, marks) = outliers(run, panel, settings)?;
    report.outliers = marks.len() as u64;
    Ok((panel, report))
}

/// Days on which anything was sold.
fn open_days(sales: &CleanSales) -> BTreeSet<i64> {
    sales.cells.iter().filter(|c| c.sold).map(|c| c.day).collect()
}

/// The series, sorted by name, each with the pairs of product and store that make it.
fn groups(sales: &CleanSales, beside: &Beside, grid: &Grid, by: GroupBy) -> Vec<Group> {
    let shop_first = grid.day(grid.first);
    let product = |code: u32| sales.products.name(code).unwrap_or(UNNAMED);
    let store = |code: u32| sales.stores.name(code).unwrap_or(UNNAMED);
    let mut by_name: BTreeMap<String, Group> = BTreeMap::new();
    let mut at = 0;
    while at < sales.cells.len() {
        let pair = sales.cells[at].pair;
        let end = at + sales.cells[at..].partition_point(|c| c.pair == pair);
        let cells = &sales.cells[at..end];
        let (p, s) = sales.pairs[pair as usize];
        // Returns before any sale do not begin a series.
        let sold = cells.iter().find(|c| c.units > 0 || c.revenue > 0 || c.sold);
        let range = at..end;
        at = end;
        let Some(sold) = sold else { continue };
        let launched = beside.products.get(&p).and_then(|i| i.launched);
        let start = launched.map_or(sold.day, |l| l.max(shop_first).min(sold.day)).max(shop_first);
        let name = match by {
            GroupBy::Product => product(p).to_owned(),
            GroupBy::Category => {
                beside.products.get(&p).and_then(|i| i.category.as_deref()).unwrap_or(UNNAMED).to_owned()
            }
            GroupBy::Store => store(s).to_owned(),
            GroupBy::ProductStore if s == NONE => product(p).to_owned(),
            GroupBy::ProductStore => format!("{}/{}", product(p), store(s)),
        };
        let first = grid.period(start).max(grid.first);
        let group = by_name.entry(name.clone()).or_insert_with(|| Group { name, first, pairs: vec![] });
        group.first = group.first.min(first);
        group.pairs.push((p, s, range));
    }
    let mut groups: Vec<Group> = by_name.into_values().collect();
    for g in &mut groups {
        g.pairs.sort_by(|a, b| (product(a.0), store(a.1)).cmp(&(product(b.0), store(b.1))));
    }
    groups
}

/// Which columns the panel has, and to which period each is known.
fn columns(
    sales: &CleanSales,
    beside: &Beside,
    grid: &Grid,
    request: &PanelRequest,
    open_days: Option<&BTreeSet<i64>>,
    last_day: i64,
) -> Vec<(Column, i64)> {
    let ahead = |end: Option<i64>| {
        let end = end.map_or(last_day, |e| e.min(last_day + PLAN_DAYS_MAX));
        if end > last_day { grid.period(end).max(grid.last) } else { grid.last }
    };
    let single = matches!(request.by, GroupBy::Product | GroupBy::ProductStore);
    let mut out = vec![];
    if request.target == Target::Price {
        out.push((Column::Units, grid.last));
    } else if sales.has_money || !beside.own_prices.is_empty() && single {
        out.push((Column::Price, grid.last));
    }
    if single && !beside.own_prices.is_empty() {
        out.push((Column::PricePlan, ahead(beside.prices_end())));
    }
    if !beside.promotions.is_empty() || !beside.wide_promotions.is_empty() {
        let end = ahead(beside.promotions_end());
        out.push((Column::Promotion, end));
        if beside.has_depth {
            out.push((Column::PlannedDiscount, end));
        }
    }
    if !beside.has_depth && sales.has_discount {
        out.push((Column::PaidDiscount, grid.last));
    }
    if !beside.stock.is_empty() {
        out.push((Column::StockOut, grid.last));
    }
    let first_day = grid.day(grid.first);
    if open_days.is_some_and(|d| (d.range(first_day..=last_day).count() as i64) < last_day - first_day + 1) {
        out.push((Column::Closed, grid.last));
    }
    if request.by != GroupBy::Store {
        out.extend(
            (0..EVENTS.len()).filter(|k| beside.has_event[*k]).map(|k| (Column::Events(k), grid.last)),
        );
    }
    if single && !beside.rivals.is_empty() {
        out.push((Column::CompetitorPrice, grid.last));
        if sales.has_money || !beside.own_prices.is_empty() {
            out.push((Column::CompetitorGap, grid.last));
        }
    }
    out.extend((0..beside.market.len()).map(|k| (Column::Market(k), grid.last)));
    out
}

fn assemble(
    request: &PanelRequest,
    grid: &Grid,
    groups: &[Group],
    columns: &[(Column, i64)],
    beside: &Beside,
    made: Vec<series::Made>,
) -> Result<Panel> {
    let mut list = Vec::with_capacity(made.len());
    let mut covariates: Vec<Covariate> = columns
        .iter()
        .map(|(c, end)| Covariate {
            name: c.name(beside).to_owned(),
            known_ahead: *end > grid.last,
            offsets: vec![0],
            values: vec![],
        })
        .collect();
    for (m, g) in made.into_iter().zip(groups) {
        list.push((g.name.clone(), grid.stamp(g.first), m.y));
        for (c, values) in covariates.iter_mut().zip(m.columns) {
            c.values.extend(values);
            c.offsets.push(c.values.len());
        }
    }
    let mut panel = Panel::from_series(request.freq, list)?;
    for c in covariates {
        panel = panel.with_covariate(c)?;
    }
    Ok(panel)
}

/// Adds what the catalogue knows. A column is there when any series has a value for it.
fn with_statics(
    panel: Panel,
    by: GroupBy,
    groups: &[Group],
    sales: &CleanSales,
    beside: &Beside,
) -> Result<Panel> {
    let mut panel = panel;
    let single = matches!(by, GroupBy::Product | GroupBy::ProductStore);
    let first = |g: &Group| g.pairs.first().map(|(p, s, _)| (*p, *s));
    let mut text = |name: &str, value: &dyn Fn(&Group) -> Option<String>| -> Result<()> {
        let values: Vec<Option<String>> = groups.iter().map(value).collect();
        if values.iter().any(Option::is_some) {
            let column = StaticColumn { name: name.into(), values: StaticValues::Text(values) };
            panel = std::mem::replace(&mut panel, Panel::empty(Freq::DAILY)).with_static(column)?;
        }
        Ok(())
    };
    let info = |g: &Group| first(g).and_then(|(p, _)| beside.products.get(&p));
    if by == GroupBy::ProductStore {
        text("product_id", &|g| first(g).and_then(|(p, _)| sales.products.name(p)).map(str::to_owned))?;
    }
    if matches!(by, GroupBy::ProductStore | GroupBy::Store) {
        text("store_id", &|g| first(g).and_then(|(_, s)| sales.stores.name(s)).map(str::to_owned))?;
    }
    if by == GroupBy::Category {
        text("category", &|g| info(g).and_then(|i| i.category.clone()))?;
    }
    if single {
        text("title", &|g| info(g).and_then(|i| i.title.clone()))?;
        text("category", &|g| info(g).and_then(|i| i.category.clone()))?;
        text("subcategory", &|g| info(g).and_then(|i| i.subcategory.clone()))?;
        text("brand", &|g| info(g).and_then(|i| i.brand.clone()))?;
        let mut number = |name: &str, value: &dyn Fn(&Group) -> Option<f64>| -> Result<()> {
            let values: Vec<f64> = groups.iter().map(|g| value(g).unwrap_or(f64::NAN)).collect();
            if values.iter().any(|v| !v.is_nan()) {
                let column = StaticColumn { name: name.into(), values: StaticValues::Number(values) };
                panel = std::mem::replace(&mut panel, Panel::empty(Freq::DAILY)).with_static(column)?;
            }
            Ok(())
        };
        number("price", &|g| info(g).and_then(|i| i.price))?;
        number("cost", &|g| info(g).and_then(|i| i.cost))?;
        // A stamp: seconds since 1970.
        number("launched", &|g| {
            info(g).and_then(|i| i.launched).map(|day| (day.saturating_mul(DAY)) as f64)
        })?;
    }
    Ok(panel)
}
