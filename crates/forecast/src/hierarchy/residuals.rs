//! Errors one step ahead of every node: in-sample where a method tells them, else from a short look back.

use super::Hierarchy;
use crate::local::{LocalModel, map_series};
use crate::mean::Mean;
use tradewind_core::{Ahead, Error, Forecaster, Panel, Params, Result, Run, Series};

/// Errors of the base forecasts one step ahead, for each node of a hierarchy and step of the past.
///
/// Invariant: as many rows as the hierarchy has nodes, all equally long, of finite numbers or NaN (unknown).
#[derive(Clone, Debug, PartialEq)]
pub struct Residuals {
    n_steps: usize,
    rows: Vec<Vec<f64>>,
}

impl Residuals {
    /// Residuals (observation less forecast) in the order of [`Hierarchy::ids`]. The last ones belong to the same step;
    /// shorter rows are unknown (NaN) before their first.
    ///
    /// # Errors
    /// Not one row for each node, or an infinite value.
    pub fn new(hierarchy: &Hierarchy, mut rows: Vec<Vec<f64>>) -> Result<Self> {
        if rows.len() != hierarchy.len() {
            return Err(Error::Invalid(format!(
                "{} rows of residuals for {} nodes",
                rows.len(),
                hierarchy.len()
            )));
        }
        if let Some(i) = rows.iter().position(|r| r.iter().any(|v| v.is_infinite())) {
            return Err(Error::Invalid(format!("an infinite residual of node `{}`", hierarchy.ids()[i])));
        }
        let n_steps = rows.iter().map(Vec::len).max().unwrap_or(0);
        for row in rows.iter_mut().filter(|r| r.len() < n_steps) {
            row.splice(0..0, std::iter::repeat_n(f64::NAN, n_steps - row.len()));
        }
        Ok(Self { n_steps, rows })
    }

    /// How many steps of the past they cover.
    pub fn n_steps(&self) -> usize {
        self.n_steps
    }

    pub(super) fn n_nodes(&self) -> usize {
        self.rows.len()
    }

    /// The residuals of a node; NaN where unknown.
    pub fn of(&self, node: usize) -> &[f64] {
        &self.rows[node]
    }

    /// The mean of the squares of a node's known residuals; `None` when there is none.
    pub fn variance(&self, node: usize) -> Option<f64> {
        let known = self.rows[node].iter().filter(|v| !v.is_nan());
        let (n, sum) = known.fold((0_usize, 0.0), |(n, s), v| (n + 1, s + v * v));
        (n > 0).then(|| sum / n as f64)
    }

    /// Residuals of the catalogue's method `model` on `nodes`, a panel of all nodes as [`aggregate`](super::aggregate)
    /// gives it.
    ///
    /// Methods that look at one series at a time are asked for their forecasts inside the history (in-sample); a series
    /// that the method cannot fit counts with its distances from its mean, as it is forecast. Of any other method the
    /// last third of the history, at most 56 steps, is forecast step by step from a fit before it.
    ///
    /// # Errors
    /// A method that is not in the catalogue or refuses its parameters, a node that the panel lacks, cancellation.
    pub fn of_model(
        run: &Run,
        model: &str,
        params: &Params,
        nodes: &Panel,
        hierarchy: &Hierarchy,
    ) -> Result<Self> {
        let by_series = match in_sample(run, model, params, nodes)? {
            Some(rows) => rows,
            None => look_back(run, &*(crate::entry(model)?.build)(params)?, nodes)?,
        };
        let rows = hierarchy
            .ids()
            .iter()
            .map(|id| {
                nodes.position(id).map(|i| by_series[i].clone()).ok_or_else(|| {
                    Error::Invalid(format!("node `{id}` of the hierarchy is not among the series"))
                })
            })
            .collect::<Result<_>>()?;
        Self::new(hierarchy, rows)
    }
}

/// The residuals of each series inside its history; `None` for a method that does not tell its forecasts there.
fn in_sample(run: &Run, model: &str, params: &Params, panel: &Panel) -> Result<Option<Vec<Vec<f64>>>> {
    macro_rules! local {
        ($($module:ident :: $method:ident),* $(,)?) => {
            match crate::entry(model)?.name {
                $(name if name == crate::$module::ENTRY.name => {
                    of_local::<crate::$module::$method>(run, params, panel).map(Some)
                })*
                _ => Ok(None),
            }
        };
    }
    local! {
        naive::Naive, seasonal_naive::SeasonalNaive, seasonal_window_average::SeasonalWindowAverage, drift::Drift,
        mean::Mean, moving_average::MovingAverage, ses::Ses, holt::Holt, holt_winters::HoltWinters, ets::Ets, ces::Ces,
        classical::Classical, stl::StlForecast, mstl::Mstl, theta::Theta, arima::Arima, auto_arima::AutoArima,
        autoregression::Autoregression, croston::Croston, sba::Sba, tsb::Tsb, adida::Adida, imapa::Imapa,
    }
}

fn of_local<M: LocalModel>(run: &Run, params: &Params, panel: &Panel) -> Result<Vec<Vec<f64>>> {
    let method: M = M::entry().read(params)?;
    method.check()?;
    let less = |s: Series<'_>, fitted: &[f64]| -> Vec<f64> {
        let differ = |(y, f): (&f64, &f64)| if (y - f).is_finite() { y - f } else { f64::NAN };
        s.y.iter().zip(fitted).map(differ).collect()
    };
    map_series(&run.quiet(), "residuals", panel.len(), |i| {
        let s = panel.series(i);
        match method.fitted_values(s) {
            Ok(fitted) if fitted.len() == s.y.len() && fitted.iter().any(|f| f.is_finite()) => {
                less(s, &fitted)
            }
            _ => less(s, &Mean::default().fitted_values(s).unwrap_or_default()),
        }
    })
}

/// The most steps of [`look_back`].
const LOOK_BACK_STEPS_MAX: usize = 56;

/// The errors of the last steps, each forecast with all that was known before it, by parameters from before all of them.
fn look_back(run: &Run, model: &dyn Forecaster, panel: &Panel) -> Result<Vec<Vec<f64>>> {
    let mut rows = vec![vec![]; panel.len()];
    let longest = panel.iter().map(|s| s.y.len()).max().unwrap_or(0);
    let n_steps = (longest / 3).min(LOOK_BACK_STEPS_MAX);
    let (head, tail) = panel.split_last(n_steps);
    if head.is_empty() || n_steps == 0 {
        return Ok(rows);
    }
    let quiet = run.quiet();
    let mut fitted = model.fit(&quiet, &head)?;
    for t in 0..n_steps {
        run.check()?;
        let ahead = fitted.predict(&quiet, &Ahead::new(1, &[]))?;
        let mut newer = Vec::with_capacity(tail.len());
        for s in tail.iter() {
            let (Some(i), Some(k)) = (panel.position(s.id), head.position(s.id)) else { continue };
            let error = s.y[t] - ahead.mean(k)[0];
            rows[i].push(if error.is_finite() { error } else { f64::NAN });
            newer.push((s.id.to_owned(), s.ds(t), vec![s.y[t]]));
        }
        fitted.update(&quiet, &Panel::from_series(panel.freq(), newer)?)?;
    }
    Ok(rows)
}
