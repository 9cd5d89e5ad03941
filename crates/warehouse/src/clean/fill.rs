//! The cleaning of a panel that came from a file.

use super::hampel::{OutlierMark, outliers};
use super::settings::{CleanSettings, MissingSales, StockOuts};
use tradewind_core::{Covariate, Panel, Result, Run};

/// Fills and mends a panel that did not come from a shop, by the same settings: a missing step becomes zero or stays
/// unknown (`missing_sales`), a step whose column `stock_out` is 1 becomes unknown (`stock_outs`) unless something was
/// sold, gaps in the columns `price` and `competitor_price` carry the last price forward, and outliers are kept, capped
/// or marked. Which steps were outliers is told.
///
/// # Errors
/// When the settings are out of range, the run was cancelled, or a column `outlier` is there already and is to be added.
///
/// ```
/// # use tradewind_core::{Panel, Freq, Run};
/// # use tradewind_warehouse::clean::{CleanSettings, fill};
/// let settings = CleanSettings::default();
/// let gap = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, vec![3.0, f64::NAN, 4.0])]).unwrap();
/// let (filled, _) = fill(&Run::default(), gap, &settings).unwrap();
/// assert_eq!(filled.series(0).y, [3.0, 0.0, 4.0]);
/// ```
pub fn fill(run: &Run, panel: Panel, settings: &CleanSettings) -> Result<(Panel, Vec<OutlierMark>)> {
    settings.check()?;
    run.check()?;
    let stock_out = panel.covariate("stock_out").cloned();
    let mut i = 0;
    let mut panel = panel.map_y(|s| {
        let out = stock_out.as_ref().map(|c| c.of(i));
        i += 1;
        s.y.iter()
            .enumerate()
            .map(|(t, &v)| {
                let empty = out.and_then(|o| o.get(t)).is_some_and(|o| *o >= 1.0);
                if empty && settings.stock_outs == StockOuts::Unknown && (v.is_nan() || v <= 0.0) {
                    f64::NAN
                } else if v.is_nan() && settings.missing_sales == MissingSales::Zero {
                    0.0
                } else {
                    v
                }
            })
            .collect()
    });
    if panel.covariates().iter().any(|c| is_price(&c.name) && c.values.iter().any(|v| v.is_nan())) {
        let columns = panel.covariates().to_vec();
        panel = with_columns(
            &panel,
            columns.into_iter().map(|c| if is_price(&c.name) { carried(c) } else { c }),
        )?;
    }
    outliers(run, panel, settings)
}

fn is_price(name: &str) -> bool {
    matches!(name, "price" | "competitor_price")
}

/// The column with every gap filled by the value before it; gaps before the first value stay.
fn carried(mut column: Covariate) -> Covariate {
    for w in column.offsets.windows(2) {
        carry_forward(&mut column.values[w[0]..w[1]]);
    }
    column
}

/// Fills every unknown value by the one before it; unknown values at the beginning stay.
pub(crate) fn carry_forward(values: &mut [f64]) {
    let mut last = f64::NAN;
    for v in values {
        if v.is_nan() {
            *v = last;
        } else {
            last = *v;
        }
    }
}

/// The same series and statics with these columns.
fn with_columns(panel: &Panel, columns: impl Iterator<Item = Covariate>) -> Result<Panel> {
    let series = panel.iter().map(|s| (s.id.to_owned(), s.start, s.y.to_vec())).collect();
    let mut out = Panel::from_series(panel.freq(), series)?;
    for c in columns {
        out = out.with_covariate(c)?;
    }
    for c in panel.statics() {
        out = out.with_static(c.clone())?;
    }
    Ok(out)
}
