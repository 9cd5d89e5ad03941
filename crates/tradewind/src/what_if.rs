//! What would be sold if: columns that are known ahead (prices, promotions) are set for the steps to come, and the model
//! says what it expects with and without.
//!
//! A change is written `COLUMN=VALUE`, with a value (`price=9.9`) or a share (`price=-10%`), and where it does not hold for
//! all steps with the first and last one (`promotion=1@2026-11-20..2026-11-30`).

use crate::error::{Error, Result};
use tradewind_core::freq::parse_stamp;
use tradewind_core::{Covariate, Forecast, Freq, Panel, Params, Run, Stamp};
use tradewind_forecast::{CATALOG, Options, entry, forecasting, looks_at_columns};

/// Columns of a shop that are plans by nature: they can be set though no plan lies ahead. What they are without one.
const PLANS: [(&str, Unplanned); 3] =
    [("price_plan", Unplanned::AsBefore), ("promotion", Unplanned::None), ("discount", Unplanned::None)];

/// What a plan is for steps that none was made for.
#[derive(Clone, Copy, PartialEq)]
enum Unplanned {
    /// Its last value.
    AsBefore,
    /// Zero.
    None,
}

/// One column set for steps to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    column: String,
    value: Value,
    from: Option<Stamp>,
    to: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    To(f64),
    /// Of what is planned, or else of the last known value.
    Times(f64),
}

impl Change {
    /// Reads `price=9.9`, `price=-10%` or `promotion=1@2026-11-20..2026-11-30`.
    ///
    /// # Errors
    /// Anything else; the error shows how it is written.
    pub fn parse(text: &str, freq: Freq) -> Result<Self> {
        let wrong = |what: &str| {
            Error::asked(
                format!("`{text}` {what}"),
                "write it as price=9.9, price=-10% or promotion=1@2026-11-20..2026-11-30",
            )
        };
        let (column, rest) = text.split_once('=').ok_or_else(|| wrong("sets nothing"))?;
        let (value, span) = rest.split_once('@').map_or((rest, None), |(v, s)| (v, Some(s)));
        let number = |t: &str| t.trim().parse::<f64>().ok().filter(|v| v.is_finite());
        let value = match value.trim().strip_suffix('%') {
            Some(percent) => number(percent).filter(|p| *p >= -100.0).map(|p| Value::Times(1.0 + p / 100.0)),
            None => number(value).map(Value::To),
        };
        let stamp = |t: &str| {
            let stamp = if freq.is_dated() { parse_stamp(t.trim()) } else { t.trim().parse().ok() };
            stamp.ok_or_else(|| wrong(&format!("has `{}` where a date belongs", t.trim())))
        };
        let (from, to) = match span.map(|s| s.split_once("..").unwrap_or((s, s))) {
            None => (None, None),
            Some((from, to)) => (Some(stamp(from)?), Some(stamp(to)?)),
        };
        if from > to {
            return Err(wrong("ends before it begins"));
        }
        Ok(Self {
            column: column.trim().to_owned(),
            value: value.ok_or_else(|| wrong("has no number or share"))?,
            from,
            to,
        })
    }

    fn holds(&self, ds: Stamp) -> bool {
        self.from.is_none_or(|f| f <= ds) && self.to.is_none_or(|t| ds <= t)
    }
}

/// The columns of a panel that can be set: those known ahead, and a shop's plans.
pub fn settable(panel: &Panel) -> Vec<&str> {
    let plan = |c: &Covariate| PLANS.iter().any(|p| p.0 == c.name);
    panel.covariates().iter().filter(|c| c.known_ahead || plan(c)).map(|c| c.name.as_str()).collect()
}

/// The models that look at columns known ahead.
pub fn models() -> Vec<&'static str> {
    CATALOG.iter().filter(|e| e.needs.uses_covariates).map(|e| e.name).collect()
}

/// What a model expects with and without the changes.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// With them.
    pub with: Forecast,
    /// As planned.
    pub without: Forecast,
}

/// Learns once and asks twice.
///
/// # Errors
/// A model that does not look at columns, a column that cannot be set (the error lists those that can), a change that
/// touches no step of the forecast, and those of [`tradewind_forecast::forecast`].
pub fn what_if(
    run: &Run,
    panel: &Panel,
    model: &str,
    params: &Params,
    options: &Options<'_>,
    changes: &[Change],
) -> Result<WhatIf> {
    entry(model)?;
    if !looks_at_columns(model, params) {
        return Err(Error::asked(
            format!("{model} does not look at columns, so setting them changes nothing"),
            format!("use --model {}", models().join(" or ")),
        ));
    }
    let names = changes.iter().map(|c| own_name(panel, &c.column)).collect::<Result<Vec<_>>>()?;
    let panel = with_plans(panel, &names, options.horizon)?;
    let fitted = forecasting::fit(run, &panel, model, params, options)?;
    let without = forecasting::predict(run, &panel, &*fitted, options)?;
    let future = set(&panel, changes, &names, options.horizon)?;
    let with =
        forecasting::predict(run, &panel, &*fitted, &Options { future: Some(&future), ..options.clone() })?;
    Ok(WhatIf { with, without })
}

/// The panel's column for a name as typed: `price` is the plan of prices where there is one.
fn own_name(panel: &Panel, name: &str) -> Result<String> {
    let can = settable(panel);
    if can.contains(&name) {
        return Ok(name.to_owned());
    }
    if name == "price" && can.contains(&"price_plan") {
        return Ok("price_plan".to_owned());
    }
    let known = panel.covariate(name).is_some();
    Err(Error::asked(
        match known {
            true => format!("the column `{name}` is not known ahead, so it cannot be set"),
            false => format!("there is no column `{name}`"),
        },
        match can.is_empty() {
            true => "no column can be set: one is known ahead when rows after the last `y` hold its values; \
                     a shop needs rows in its tables prices or promotions"
                .to_owned(),
            false => format!("columns that can be set: {}", can.join(", ")),
        },
    ))
}

/// The panel with plans that end today carried on over the horizon, so that a model takes them for known ahead.
fn with_plans(panel: &Panel, names: &[String], horizon: usize) -> Result<Panel> {
    let unplanned = |c: &Covariate| match names.contains(&c.name) && !c.known_ahead {
        true => PLANS.iter().find(|p| p.0 == c.name).map(|p| p.1),
        false => None,
    };
    if panel.covariates().iter().all(|c| unplanned(c).is_none()) {
        return Ok(panel.clone());
    }
    let columns = panel.covariates().iter().map(|c| {
        let Some(unplanned) = unplanned(c) else { return c.clone() };
        let mut out = Covariate { name: c.name.clone(), known_ahead: true, offsets: vec![0], values: vec![] };
        for i in 0..panel.len() {
            let known = c.of(i);
            out.values.extend(known);
            let goes_on = match unplanned {
                Unplanned::AsBefore => last_known(known),
                Unplanned::None => 0.0,
            };
            out.values.extend(std::iter::repeat_n(goes_on, horizon));
            out.offsets.push(out.values.len());
        }
        out
    });
    Ok(panel.clone().with_covariates_replaced(columns.collect())?)
}

fn last_known(values: &[f64]) -> f64 {
    values.iter().rev().copied().find(|v| v.is_finite()).unwrap_or(f64::NAN)
}

/// The changed columns over the horizon.
fn set(panel: &Panel, changes: &[Change], names: &[String], horizon: usize) -> Result<Vec<Covariate>> {
    let mut out: Vec<Covariate> = Vec::new();
    for (change, name) in changes.iter().zip(names) {
        // A column that is set twice goes on from the first change.
        let planned = match out.iter().position(|c| c.name == *name) {
            Some(at) => out.swap_remove(at),
            None => panel.covariate(name).cloned().unwrap_or(Covariate {
                name: name.clone(),
                known_ahead: true,
                offsets: vec![0; panel.len() + 1],
                values: vec![],
            }),
        };
        let mut column =
            Covariate { name: name.clone(), known_ahead: true, offsets: vec![0], values: vec![] };
        let mut touched = false;
        for i in 0..panel.len() {
            let s = panel.series(i);
            let n = s.y.len();
            let mut values = planned.of(i).to_vec();
            values.resize(values.len().max(n + horizon), f64::NAN);
            for k in (n..n + horizon).filter(|k| change.holds(s.ds(*k))) {
                touched = true;
                values[k] = match change.value {
                    Value::To(v) => v,
                    Value::Times(f) if values[k].is_finite() => f * values[k],
                    Value::Times(f) => f * last_known(&planned.of(i)[..n.min(planned.of(i).len())]),
                };
            }
            column.values.extend(values);
            column.offsets.push(column.values.len());
        }
        if !touched {
            return Err(Error::asked(
                format!("no step of the forecast lies in the days that `{}` is set for", change.column),
                "choose days within the horizon, or a longer --horizon",
            ));
        }
        out.push(column);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::freq::DAY;

    /// Demand that falls by 2 units for each unit of price; half the days are cheap.
    fn panel(known_ahead: bool, name: &str) -> Panel {
        // The last days are dear, so that a plan that goes on from them is, too.
        let price = |i: usize, t: usize| if (t * 7 + i * 3) % 5 < 2 && t < 195 { 6.0 } else { 10.0 };
        let series = (0..8).map(|i| {
            let y = (0..200).map(|t| 40.0 - 2.0 * price(i, t) + ((t * 31 + i) % 3) as f64).collect();
            (format!("s{i}"), 0, y)
        });
        let ahead = if known_ahead { 14 } else { 0 };
        let values =
            (0..8).flat_map(|i| (0..200 + ahead).map(move |t| if t < 200 { price(i, t) } else { 10.0 }));
        let offsets = (0..=8).map(|i| i * (200 + ahead)).collect();
        let column = Covariate { name: name.into(), known_ahead, offsets, values: values.collect() };
        Panel::from_series(Freq::DAILY, series.collect())
            .and_then(|p| p.with_covariate(column))
            .expect("a panel")
    }

    fn ask(panel: &Panel, model: &str, changes: &[&str]) -> Result<WhatIf> {
        let changes = changes.iter().map(|c| Change::parse(c, Freq::DAILY)).collect::<Result<Vec<_>>>()?;
        what_if(&Run::new(1), panel, model, &Params::new(), &Options::new(14, &[0.8]), &changes)
    }

    #[test]
    fn a_lower_price_sells_more_on_its_days_only() {
        for (known_ahead, column) in [(true, "price"), (false, "price_plan")] {
            let panel = panel(known_ahead, column);
            let last = Freq::DAILY.format(205 * DAY);
            for change in ["price=6".to_owned(), "price=-40%".into(), format!("price=6@1970-07-20..{last}")] {
                let said = ask(&panel, "global", &[&change]).expect("runs");
                for i in 0..panel.len() {
                    for k in 0..14 {
                        let more = said.with.mean(i)[k] - said.without.mean(i)[k];
                        match k {
                            _ if !change.contains('@') || k <= 5 => {
                                assert!((2.0..11.0).contains(&more), "{change} step {k}: {more}");
                            }
                            // The day after sees that the price was lower before.
                            6 => {}
                            _ => assert_eq!(more, 0.0, "{change} step {k}"),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_combination_answers_for_its_members_that_look_at_columns() {
        let panel = panel(true, "price");
        let change = [Change::parse("price=6", Freq::DAILY).expect("a change")];
        let more = |methods: &str| {
            let mut params = Params::new();
            params.insert("methods".into(), methods.into());
            let said =
                what_if(&Run::new(1), &panel, "combination", &params, &Options::new(14, &[0.8]), &change)?;
            Ok::<_, Error>(said.with.mean(0)[3] - said.without.mean(0)[3])
        };
        let alone = more("linear_regression").expect("runs");
        assert!((7.0..9.0).contains(&alone), "{alone}");
        assert!((more("linear_regression, naive").expect("runs") - alone / 2.0).abs() < 1e-9);
        assert!(more("naive,ets").is_err(), "nothing looks at columns");
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        let fault = |panel: &Panel, model: &str, change: &str| {
            let e = ask(panel, model, &[change]).expect_err("wrong");
            format!("{e}; {}", tradewind_core::Fault::hint(&e).unwrap_or_default())
        };
        let p = panel(true, "price");
        assert!(fault(&p, "theta", "price=1").contains("global"));
        assert!(fault(&p, "global", "colour=1").contains("columns that can be set: price"));
        assert!(fault(&panel(false, "price"), "global", "price=1").contains("not known ahead"));
        assert!(fault(&p, "global", "price=1@2030-01-01..2030-01-02").contains("no step"));
        for wrong in [
            "price",
            "price=",
            "price=cheap",
            "price=1@tomorrow",
            "price=-200%",
            "price=1@2024-02-01..2024-01-01",
        ] {
            assert!(fault(&p, "global", wrong).contains("write it as"), "{wrong}");
        }
    }
}
