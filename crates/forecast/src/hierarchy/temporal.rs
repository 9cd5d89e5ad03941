//! Temporal hierarchies: the days, weeks and months of one series, forecast each by itself and made to add up.
//!
//! A slow level sees seasons and trend, a fast one what happened last; each is forecast from the series summed to its
//! steps, and one long step with its parts is a small [`Hierarchy`] (Athanasopoulos, Hyndman, Kourentzes & Petropoulos
//! 2017).

use super::{Covariance, Evidence, Hierarchy, Method, Reconciliation, Residuals};
use crate::local::map_series;
use crate::{Options, forecast};
use serde_json::{Value, json};
use tradewind_core::{Error, Forecast, Freq, Panel, Params, Result, Run};

/// The hierarchy of one longest step: for each multiple of the base step a level `EVERY steps` with nodes `EVERY:NUMBER`,
/// numbered from 1, and the bottom series `1:NUMBER`.
///
/// # Errors
/// Multiples that do not begin with 1, do not grow, or are not divisors of the last one.
///
/// ```
/// let h = tradewind_forecast::hierarchy::temporal::hierarchy(&[1, 2, 4]).unwrap();
/// assert_eq!(h.ids(), ["4:1", "2:1", "2:2", "1:1", "1:2", "1:3", "1:4"]);
/// ```
pub fn hierarchy(multiples: &[usize]) -> Result<Hierarchy> {
    let longest = check(multiples)?;
    let bottom = (1..=longest).map(|b| format!("1:{b}")).collect();
    let level = |every: usize| {
        let nodes = (0..longest / every)
            .map(|j| (format!("{every}:{}", j + 1), (j * every..(j + 1) * every).map(|b| b as u32).collect()))
            .collect();
        (format!("{every} steps"), nodes)
    };
    Hierarchy::from_members(bottom, multiples[1..].iter().rev().map(|every| level(*every)).collect())
}

/// The longest step allowed, in base steps: hourly data in years of 366 days.
const LONGEST_MAX: usize = 8_784;

fn check(multiples: &[usize]) -> Result<usize> {
    let longest = multiples.last().copied().unwrap_or(0);
    let fits = multiples.len() >= 2
        && multiples[0] == 1
        && longest <= LONGEST_MAX
        && multiples.windows(2).all(|w| w[0] < w[1])
        && multiples.iter().all(|k| longest % k == 0);
    if !fits {
        return Err(Error::Invalid(format!(
            "multiples {multiples:?} of the base step: give 1 and growing divisors of the last one, which is at most {LONGEST_MAX}, as 1, 7, 28"
        )));
    }
    Ok(longest)
}

/// The series summed over every `every` steps, the last of them ending with the last observation. A sum with an unknown
/// part is the mean of its known ones times `every`; with none known it is unknown. What does not fill a step at the
/// beginning is left out, as are series shorter than one step.
///
/// # Errors
/// `every` is 0 or the frequency would be too long.
///
/// ```
/// use tradewind_core::{Freq, Panel};
/// use tradewind_forecast::hierarchy::temporal::sum_every;
/// let p = Panel::from_series(Freq::DAILY, vec![("a".into(), 0, vec![9.0, 1.0, 2.0, 3.0, 4.0])]).unwrap();
/// let two = sum_every(&p, 2).unwrap();
/// assert_eq!(two.series(0).y, [3.0, 7.0]);
/// assert_eq!(two.series(0).start, 86_400);
/// ```
pub fn sum_every(panel: &Panel, every: usize) -> Result<Panel> {
    let n = u32::try_from(every).ok().and_then(|e| panel.freq().n.checked_mul(e)).filter(|n| *n > 0);
    let n = n.ok_or_else(|| Error::Invalid(format!("{every} steps of {} are no frequency", panel.freq())))?;
    let freq = Freq { n, ..panel.freq() };
    let mut series = Vec::with_capacity(panel.len());
    for s in panel.iter().filter(|s| s.y.len() >= every) {
        let skip = s.y.len() % every;
        let sums = s.y[skip..]
            .chunks_exact(every)
            .map(|part| {
                let known = part.iter().filter(|v| !v.is_nan()).count();
                let sum: f64 = part.iter().filter(|v| !v.is_nan()).sum();
                if known == every { sum } else { sum * every as f64 / known as f64 }
            })
            .collect();
        series.push((s.id.to_owned(), s.ds(skip), sums));
    }
    Panel::from_series(freq, series)
}

/// Forecasts every series of the panel by the catalogue's method `model` at each multiple of its step and makes them add
/// up: one forecast a multiple, in their order, each of as many steps as cover `options.horizon` base steps in whole
/// longest steps.
///
/// `covariance` is that between the steps of one series: [`Covariance::Structure`] or [`Covariance::Ols`], or
/// [`Covariance::Variance`] for the variance of each multiple's residuals (series variance scaling). A parameter
/// `season_length` belongs to the base step and is divided for the others where that leaves a whole number, else 1.
/// With `options.allow_negative` unset, series that were never below zero stay there.
///
/// # Errors
/// Those of [`hierarchy`] and [`forecast`]; a series shorter than two longest steps; [`Covariance::Shrinkage`], for which
/// one series has too few longest steps.
///
/// ```
/// use tradewind_core::{Freq, Panel, Params, Run};
/// use tradewind_forecast::{Options, hierarchy::{Covariance, temporal}};
/// let y = (0..112).map(|t| 20.0 + f64::from(t % 7) + f64::from(t * 37 % 11)).collect();
/// let panel = Panel::from_series(Freq::DAILY, vec![("tea".into(), 0, y)]).unwrap();
/// let options = Options::new(28, &[]);
/// let all = temporal::forecast_temporal(
///     &Run::new(0), "theta", &Params::new(), &panel, &[1, 7, 28], Covariance::Structure, &options,
/// ).unwrap();
/// assert!((all[0].mean(0)[..7].iter().sum::<f64>() - all[1].mean(0)[0]).abs() < 1e-6);
/// assert!((all[1].mean(0).iter().sum::<f64>() - all[2].mean(0)[0]).abs() < 1e-6);
/// ```
pub fn forecast_temporal(
    run: &Run,
    model: &str,
    params: &Params,
    panel: &Panel,
    multiples: &[usize],
    covariance: Covariance,
    options: &Options<'_>,
) -> Result<Vec<Forecast>> {
    let longest = check(multiples)?;
    if covariance == Covariance::Shrinkage {
        return Err(Error::Invalid(
            "temporal hierarchies take mint_ols, mint_structure or mint_variance".into(),
        ));
    }
    if let Some(s) = panel.iter().find(|s| s.y.len() < 2 * longest) {
        return Err(Error::NotEnoughData {
            what: format!("a temporal hierarchy of {longest} steps (series `{}`)", s.id),
            needed: 2 * longest,
            got: s.y.len(),
        });
    }
    let h = hierarchy(multiples)?;
    // Also catches a horizon of 0 before anything is computed.
    let n_longest = options.horizon.div_ceil(longest);
    let mut base = Vec::with_capacity(multiples.len());
    let mut variances = Vec::with_capacity(multiples.len());
    for every in multiples {
        let nodes = sum_every(panel, *every)?;
        let own = season_of(params, *every, model)?;
        let asked =
            Options { horizon: n_longest * (longest / every), allow_negative: true, ..options.clone() };
        base.push(forecast(run, &nodes, model, &own, &asked)?);
        if covariance == Covariance::Variance {
            variances.push(series_variances(run, model, &own, &nodes)?);
        }
    }
    let levels = base[0].levels().to_vec();
    let columns = map_series(run, "reconciliation", panel.len(), |i| {
        let never_below = panel.series(i).y.iter().all(|v| v.is_nan() || *v >= 0.0);
        let how = Reconciliation::new(Method::MinTrace(covariance))
            .nonnegative(never_below && !options.allow_negative);
        one_series(run, &h, multiples, &base, i, n_longest, &levels, &variances, &how)
    })?;
    let columns = columns.into_iter().collect::<Result<Vec<_>>>()?;
    let mut out: Vec<Forecast> =
        base.iter().map(|b| Forecast::new(b.model(), b.freq(), b.horizon(), &levels)).collect();
    for (i, rows) in columns.iter().enumerate() {
        for ((out, base), (mean, quantiles)) in out.iter_mut().zip(&base).zip(rows) {
            out.push(&base.ids()[i], base.ds(i, 0), mean, quantiles)?;
        }
    }
    Ok(out)
}

/// Means and quantiles of each multiple.
type Rows = Vec<(Vec<f64>, Vec<f64>)>;

/// The longest steps of one series are reconciled as the steps of one forecast of the small hierarchy.
fn one_series(
    run: &Run,
    h: &Hierarchy,
    multiples: &[usize],
    base: &[Forecast],
    i: usize,
    n_longest: usize,
    levels: &[f64],
    variances: &[Vec<f64>],
    how: &Reconciliation,
) -> Result<Rows> {
    let longest = multiples[multiples.len() - 1];
    let mut small = Forecast::new("base", Freq::STEP, n_longest, levels);
    let mut rows = Vec::with_capacity(h.len());
    // Nodes in the order of the hierarchy: the longest multiple first.
    for (l, every) in multiples.iter().enumerate().rev() {
        let parts = longest / every;
        for j in 0..parts {
            let steps = || (0..n_longest).map(|c| c * parts + j);
            let mean: Vec<f64> = steps().map(|k| base[l].mean(i)[k]).collect();
            let quantiles: Vec<f64> = steps()
                .flat_map(|k| {
                    levels.iter().map(move |q| base[l].quantile(i, k, *q).unwrap_or(base[l].mean(i)[k]))
                })
                .collect();
            small.push(&h.ids()[rows.len()], 0, &mean, &quantiles)?;
            rows.push(variances.get(l).map_or(vec![], |v| vec![v[i].sqrt()]));
        }
    }
    let residuals = Residuals::new(h, rows)?;
    let residuals = (!variances.is_empty()).then_some(&residuals);
    let told = how.apply(&run.quiet(), h, &small, &Evidence { history: None, residuals })?;
    let mut out = Vec::with_capacity(multiples.len());
    let mut from = h.len();
    for every in multiples {
        let parts = longest / every;
        from -= parts;
        let (mut mean, mut quantiles) = (vec![], vec![]);
        for k in 0..n_longest * parts {
            let (c, node) = (k / parts, from + k % parts);
            mean.push(told.mean(node)[c]);
            quantiles.extend(levels.iter().map(|q| told.quantile(node, c, *q).unwrap_or(told.mean(node)[c])));
        }
        out.push((mean, quantiles));
    }
    Ok(out)
}

/// The variance of each series' residuals; NaN where none is known.
fn series_variances(run: &Run, model: &str, params: &Params, panel: &Panel) -> Result<Vec<f64>> {
    // Each series for itself, as a hierarchy without aggregates.
    let alone = Hierarchy::from_members(panel.ids().to_vec(), vec![])?;
    let residuals = Residuals::of_model(run, model, params, panel, &alone)?;
    Ok((0..panel.len()).map(|i| residuals.variance(i).unwrap_or(f64::NAN)).collect())
}

fn season_of(params: &Params, every: usize, model: &str) -> Result<Params> {
    let mut own = params.clone();
    let has_season = crate::entry(model)?.params.iter().any(|p| p.name == "season_length");
    if let Some(season) =
        params.get("season_length").and_then(Value::as_u64).filter(|_| has_season && every > 1)
    {
        let every = every as u64;
        own.insert("season_length".into(), json!(if season % every == 0 { season / every } else { 1 }));
    }
    Ok(own)
}
