//! Forecasts that add up: categories, brands, shops, regions and products in one answer.
//!
//! Levels are written as people think of them: `category/product,store` asks for the total, each category, each product
//! within its category, and each store. A `/` goes down within what stands before it, a `,` begins another way to add up.
//! What is added up are the series of the file, or the shop's products (by store, where the levels speak of stores).

use crate::error::{Error, Result};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::collections::BTreeMap;
use std::str::FromStr;
use tradewind_core::{Forecast, Freq, Panel, Params, Run, StaticColumn, StaticValues};
use tradewind_forecast::hierarchy::{Hierarchy, HierarchyOptions, Method, forecast_hierarchy};
use tradewind_warehouse::Shop;
use tradewind_warehouse::panel::{GroupBy, PanelRequest, Target, shop_panel};

/// Names that a shop's columns also go by.
const ALIASES: [(&str, &str); 3] = [("product", "product_id"), ("store", "store_id"), ("shop", "store_id")];

/// Which sets of columns make levels, from the top down.
///
/// ```
/// use tradewind::hierarchies::Levels;
/// let levels: Levels = "category/product, store".parse().unwrap();
/// assert_eq!(levels.columns(), ["category", "product", "store"]);
/// assert!("category//product".parse::<Levels>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels(Vec<Vec<String>>);

impl FromStr for Levels {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut sets: Vec<Vec<String>> = Vec::new();
        for branch in text.split(',') {
            let names: Vec<String> = branch.split('/').map(|n| n.trim().to_owned()).collect();
            if names.iter().any(String::is_empty) || (1..names.len()).any(|k| names[..k].contains(&names[k]))
            {
                return Err(Error::asked(
                    format!("the levels `{text}` name a column twice in one branch, or none"),
                    "write them as category/product,store: a / goes down, a comma begins another branch",
                ));
            }
            for depth in 1..=names.len() {
                let set = names[..depth].to_vec();
                let sorted = |s: &[String]| {
                    let mut s = s.to_vec();
                    s.sort();
                    s
                };
                if sets.iter().all(|known| sorted(known) != sorted(&set)) {
                    sets.push(set);
                }
            }
        }
        Ok(Self(sets))
    }
}

impl Levels {
    /// The columns named, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        for name in self.0.iter().flatten() {
            if !out.contains(&name.as_str()) {
                out.push(name);
            }
        }
        out
    }

    /// The hierarchy over the panel's series. Levels that would only repeat the series themselves are left out.
    ///
    /// # Errors
    /// A column that the panel lacks or that holds numbers; the error lists those there are.
    pub fn hierarchy(&self, panel: &Panel) -> Result<Hierarchy> {
        let mut sets: Vec<Vec<&str>> = Vec::new();
        for set in &self.0 {
            let set: Vec<&str> = set.iter().map(String::as_str).collect();
            let alone = Hierarchy::grouped(panel, &[set.as_slice()])?;
            if alone.n_aggregates() - 1 < panel.len() {
                sets.push(set);
            }
        }
        let sets: Vec<&[&str]> = sets.iter().map(Vec::as_slice).collect();
        Ok(Hierarchy::grouped(panel, &sets)?)
    }
}

/// A shop's products, by store where the levels speak of stores or regions, with the columns that the levels name.
///
/// # Errors
/// Prices, which do not add up; a column that the shop does not know; the shop's own faults.
pub fn panel_of_shop(run: &Run, shop: &Shop, levels: &Levels, target: Target, freq: Freq) -> Result<Panel> {
    if target == Target::Price {
        return Err(Error::asked("prices do not add up", "ask for --target units or revenue"));
    }
    let columns = levels.columns();
    let stores = columns.iter().any(|c| ["store", "shop", "store_id", "region"].contains(c));
    let by = if stores { GroupBy::ProductStore } else { GroupBy::Product };
    let mut panel = shop_panel(run, shop, &PanelRequest { by, target, ..PanelRequest::units(freq) })?.0;
    let has = |panel: &Panel, name: &str| panel.statics().iter().any(|c| c.name == name);
    for name in columns {
        let known_as = ALIASES.iter().find(|a| a.0 == name).map_or(name, |a| a.1);
        if has(&panel, name) {
            continue;
        }
        let values = if has(&panel, known_as) {
            (0..panel.len()).map(|i| panel.static_text(known_as, i).map(str::to_owned)).collect()
        } else if known_as == "product_id" && !stores {
            panel.ids().iter().map(|id| Some(id.clone())).collect()
        } else if name == "region" && has(&panel, "store_id") {
            let regions = regions(shop)?;
            let of = |i| panel.static_text("store_id", i).and_then(|s| regions.get(s).cloned());
            (0..panel.len()).map(of).collect()
        } else {
            let mut known: Vec<&str> = panel
                .statics()
                .iter()
                .filter(|c| matches!(c.values, StaticValues::Text(_)) && c.name != "title")
                .map(|c| c.name.trim_end_matches("_id"))
                .collect();
            known.push("product");
            known.sort_unstable();
            known.dedup();
            return Err(Error::asked(
                format!("the shop knows no `{name}` of its products"),
                format!("levels can be made of {}", known.join(", ")),
            ));
        };
        panel =
            panel.with_static(StaticColumn { name: name.to_owned(), values: StaticValues::Text(values) })?;
    }
    Ok(panel)
}

/// The region of each store: the one that most of its sales name.
fn regions(shop: &Shop) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT CAST(store_id AS VARCHAR) AS store, CAST(region AS VARCHAR) AS region, count(*) AS n \
               FROM sales WHERE store_id IS NOT NULL AND region IS NOT NULL \
               GROUP BY store_id, region ORDER BY n, region DESC";
    let mut out = BTreeMap::new();
    for batch in shop.sql(sql)? {
        let text = |k: usize| {
            cast(batch.column(k), &DataType::Utf8)
                .map_err(|e| tradewind_core::Error::Invalid(format!("regions of the shop: {e}")))
        };
        let (stores, regions) = (text(0)?, text(1)?);
        let (stores, regions) = (stores.as_string::<i32>(), regions.as_string::<i32>());
        // The last row of a store has the most sales.
        for i in 0..batch.num_rows() {
            out.insert(stores.value(i).to_owned(), regions.value(i).to_owned());
        }
    }
    Ok(out)
}

/// Forecasts of all nodes that add up, and the level of each.
#[derive(Clone, Debug)]
pub struct Coherent {
    /// From the total down to the series.
    pub forecast: Forecast,
    /// The level of each of its series: `total`, the columns with `/` between, or `bottom` for the series added up.
    pub levels: Vec<String>,
}

/// Forecasts all nodes and makes them add up. Nothing is forecast below zero unless the history was.
///
/// # Errors
/// A column that the panel lacks, a model or method that does not exist, and those of
/// [`forecast_hierarchy`].
pub fn forecast(
    run: &Run,
    panel: &Panel,
    levels: &Levels,
    method: &Method,
    (model, params): (&str, &Params),
    horizon: usize,
    coverages: &[f64],
) -> Result<Coherent> {
    let hierarchy = levels.hierarchy(panel)?;
    let never_below = panel.iter().all(|s| s.y.iter().all(|v| v.is_nan() || *v >= 0.0));
    let options = HierarchyOptions::new(method.clone(), horizon, coverages).nonnegative(never_below);
    let forecast = forecast_hierarchy(run, model, params, panel, &hierarchy, &options)?;
    let mut level_of: BTreeMap<&str, &str> = BTreeMap::new();
    for level in hierarchy.levels() {
        level_of
            .extend(hierarchy.ids()[level.nodes.clone()].iter().map(|id| (id.as_str(), level.name.as_str())));
    }
    // From the top down, whatever order the reconciliation answers in.
    let position: BTreeMap<&str, usize> =
        forecast.ids().iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let mut sorted = Forecast::new(forecast.model(), forecast.freq(), horizon, forecast.levels());
    let mut names = Vec::with_capacity(hierarchy.len());
    for id in hierarchy.ids() {
        let Some(&i) = position.get(id.as_str()) else { continue };
        let quantiles: Vec<f64> = (0..horizon)
            .flat_map(|k| forecast.levels().iter().map(move |l| (k, *l)))
            .map(|(k, l)| forecast.quantile(i, k, l).unwrap_or(f64::NAN))
            .collect();
        sorted.push(id, forecast.ds(i, 0), forecast.mean(i), &quantiles)?;
        names.push(level_of.get(id.as_str()).copied().unwrap_or_default().to_owned());
    }
    Ok(Coherent { forecast: sorted, levels: names })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        let series = (0..6).map(|i| {
            let y = (0..60).map(|t| f64::from((t * (i + 3)) % 7) + f64::from(i)).collect();
            (format!("p{}/s{}", i / 2, i % 2), 0, y)
        });
        let text = |name: &str, of: fn(usize) -> String| StaticColumn {
            name: name.into(),
            values: StaticValues::Text((0..6).map(|i| Some(of(i))).collect()),
        };
        Panel::from_series(Freq::DAILY, series.collect())
            .and_then(|p| {
                p.with_static(text("category", |i| if i < 4 { "tea".into() } else { "mug".into() }))
            })
            .and_then(|p| p.with_static(text("product", |i| format!("p{}", i / 2))))
            .and_then(|p| p.with_static(text("store", |i| format!("s{}", i % 2))))
            .expect("a panel")
    }

    #[test]
    fn levels_nest_and_cross() {
        let names = |text: &str| -> Vec<String> {
            let h = text.parse::<Levels>().and_then(|l| l.hierarchy(&panel())).expect("a hierarchy");
            h.levels().iter().map(|l| l.name.clone()).collect()
        };
        assert_eq!(
            names("category/product,store"),
            ["total", "category", "category/product", "store", "bottom"]
        );
        // Products by store are the series themselves; a set of columns counts once whatever its order.
        assert_eq!(names("product/store,store/product"), ["total", "product", "store", "bottom"]);
        assert!("a,,b".parse::<Levels>().is_err() && "a/a".parse::<Levels>().is_err());
        let missing = "brand".parse::<Levels>().and_then(|l| l.hierarchy(&panel())).expect_err("no brand");
        assert!(missing.to_string().contains("category, product, store"), "{missing}");
    }

    #[test]
    fn all_levels_add_up() {
        let levels: Levels = "category/product,store".parse().expect("levels");
        for method in ["bottom_up", "mint_shrinkage", "mint_ols"] {
            let method: Method = method.parse().expect("a method");
            let asked = ("theta", &Params::new());
            let said = forecast(&Run::new(1), &panel(), &levels, &method, asked, 7, &[0.8]).expect("runs");
            let f = &said.forecast;
            for level in ["category", "category/product", "store", "bottom"] {
                for k in 0..7 {
                    let of = |name: &str| -> f64 {
                        (0..f.len()).filter(|i| said.levels[*i] == name).map(|i| f.mean(i)[k]).sum()
                    };
                    assert!((of("total") - of(level)).abs() < 1e-9 && of(level) >= 0.0, "{level}");
                }
            }
            assert_eq!((f.ids()[0].as_str(), said.levels[0].as_str()), ("total", "total"));
        }
    }
}
