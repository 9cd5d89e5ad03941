//! From forecasts of all nodes to forecasts that add up.

use super::covariance::Weights;
use super::shares::Keys;
use super::solver::Solver;
use super::{Hierarchy, Residuals};
use crate::local::map_series;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use tradewind_core::{Error, Forecast, Panel, Result, Run};

/// How the forecast of a node is shared out to those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// By the mean, over the steps of the history, of a series' part of the node.
    AverageProportions,
    /// By a series' part of the node's sum over the whole history.
    ProportionsOfAverages,
    /// By the base forecasts of the node's children at the same step, level by level; needs nested levels.
    ForecastProportions,
}

/// What is taken for the covariance of the base forecasts' errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covariance {
    /// Equal variances: ordinary least squares.
    Ols,
    /// Variances in proportion to the number of bottom series.
    Structure,
    /// The variance of each node's residuals.
    Variance,
    /// Variances and correlations of the residuals, the latter shrunk; see
    /// [`shrinkage_intensity`](super::shrinkage_intensity).
    Shrinkage,
}

impl fmt::Display for Covariance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ols => "mint_ols",
            Self::Structure => "mint_structure",
            Self::Variance => "mint_variance",
            Self::Shrinkage => "mint_shrinkage",
        })
    }
}

/// How forecasts are made to add up.
///
/// | text | method | needs |
/// | --- | --- | --- |
/// | `bottom_up` | sums of the bottom forecasts | |
/// | `top_down_average_proportions` | the top's forecast by mean past shares | history |
/// | `top_down_proportions_of_averages` | the top's forecast by shares of the past sum | history |
/// | `top_down_forecast_proportions` | the top's forecast by shares of the base forecasts | nested levels |
/// | `middle_out:LEVEL` | sums above that level, shares of the base forecasts below | nested levels |
/// | `mint_ols`, `mint_structure` | least squares, see [`Covariance`] | |
/// | `mint_variance`, `mint_shrinkage` | least squares, see [`Covariance`] | residuals |
///
/// ```
/// use tradewind_forecast::hierarchy::{Covariance, Method};
/// let method: Method = "mint_shrinkage".parse().unwrap();
/// assert_eq!(method, Method::MinTrace(Covariance::Shrinkage));
/// assert_eq!("middle_out:region".parse::<Method>().unwrap().to_string(), "middle_out:region");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Sums of the bottom forecasts; what the other nodes said is not used.
    BottomUp,
    /// The forecast of the highest nodes, shared out.
    TopDown(Shares),
    /// The forecasts of a level, summed above it and shared out below.
    MiddleOut {
        /// The level's name.
        level: String,
        /// How they are shared out.
        shares: Shares,
    },
    /// Minimum trace: the linear combination of all base forecasts with the smallest error variance (MinT).
    MinTrace(Covariance),
}

impl Method {
    /// Whether the method uses [`Evidence::residuals`].
    pub fn needs_residuals(&self) -> bool {
        matches!(self, Self::MinTrace(Covariance::Variance | Covariance::Shrinkage))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |shares: &Shares| match shares {
            Shares::AverageProportions => "average_proportions",
            Shares::ProportionsOfAverages => "proportions_of_averages",
            Shares::ForecastProportions => "forecast_proportions",
        };
        match self {
            Self::BottomUp => f.write_str("bottom_up"),
            Self::TopDown(shares) => write!(f, "top_down_{}", of(shares)),
            Self::MiddleOut { level, shares: Shares::ForecastProportions } => write!(f, "middle_out:{level}"),
            Self::MiddleOut { level, shares } => write!(f, "middle_out_{}:{level}", of(shares)),
            Self::MinTrace(covariance) => write!(f, "{covariance}"),
        }
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        use Shares::{AverageProportions, ForecastProportions, ProportionsOfAverages};
        let middle = |level: &str, shares| Self::MiddleOut { level: level.to_owned(), shares };
        Ok(match text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level))) {
            ("bottom_up", None) => Self::BottomUp,
            ("top_down_average_proportions", None) => Self::TopDown(AverageProportions),
            ("top_down_proportions_of_averages", None) => Self::TopDown(ProportionsOfAverages),
            ("top_down_forecast_proportions", None) => Self::TopDown(ForecastProportions),
            ("middle_out" | "middle_out_forecast_proportions", Some(l)) => middle(l, ForecastProportions),
            ("middle_out_average_proportions", Some(l)) => middle(l, AverageProportions),
            ("middle_out_proportions_of_averages", Some(l)) => middle(l, ProportionsOfAverages),
            ("mint_ols", None) => Self::MinTrace(Covariance::Ols),
            ("mint_structure", None) => Self::MinTrace(Covariance::Structure),
            ("mint_variance", None) => Self::MinTrace(Covariance::Variance),
            ("mint_shrinkage", None) => Self::MinTrace(Covariance::Shrinkage),
            _ => {
                return Err(Error::NotFound {
                    what: "method of reconciliation",
                    name: text.to_owned(),
                    known: "bottom_up, top_down_average_proportions, top_down_proportions_of_averages, \
                            top_down_forecast_proportions, middle_out:LEVEL, mint_ols, mint_structure, \
                            mint_variance, mint_shrinkage"
                        .into(),
                });
            }
        })
    }
}

/// What some methods learn from, beside the base forecasts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The history, for shares of the past: a panel with (at least) the bottom series.
    pub history: Option<&'a Panel>,
    /// Errors one step ahead of all nodes, for variances and correlations.
    pub residuals: Option<&'a Residuals>,
}

/// A method with its settings.
///
/// **Means** add up exactly: the bottom series are reconciled and the others are their sums.
///
/// **Quantiles** keep the shape that the base forecast gave them around its mean and move with the mean. With
/// [`Covariance::Shrinkage`] their distances from the mean are multiplied by √(reconciled variance / base variance), from
/// the diagonals of S (Sᵀ W⁻¹ S)⁻¹ Sᵀ and W, which is at most 1: what the other nodes tell makes a node more certain.
/// The other covariances know nothing of how the nodes err together and would promise too much, so that distances stay.
/// Quantiles of sums are not sums of quantiles; they do not add up, and never cross.
///
/// **Not below zero**: base forecasts are lifted to zero for bottom-up and shares; MinT solves its least squares among the
/// series nowhere below zero, which is not the same as cutting off afterwards, so that sums are kept. Quantiles stop at
/// zero.
///
/// **Cost**: seconds for 100,000 nodes where variances are separate, and for 10,000 nodes with [`Covariance::Shrinkage`].
/// The latter on crossed levels with nothing below zero is the exception: 2,000 nodes took half a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// The method.
    pub method: Method,
    /// Whether no forecast may be below zero.
    pub nonnegative: bool,
}

impl Reconciliation {
    /// `method`, with forecasts of any sign.
    pub fn new(method: Method) -> Self {
        Self { method, nonnegative: false }
    }

    /// The same with forecasts that are nowhere below zero, if `yes`.
    pub fn nonnegative(mut self, yes: bool) -> Self {
        self.nonnegative = yes;
        self
    }

    /// Makes `base`, a forecast of all nodes in any order, add up. The order, the levels and the model's name are kept.
    ///
    /// # Errors
    /// Nodes that are missing, unknown or given twice; series that do not begin at one step; a base forecast that is not
    /// finite; evidence that the method needs and does not get; sums too large for a number; cancellation.
    ///
    /// ```
    /// use tradewind_core::{Forecast, Freq, Run};
    /// use tradewind_forecast::hierarchy::{Covariance, Evidence, Hierarchy, Method, Reconciliation};
    /// let h = Hierarchy::from_parents(&[("a", "all"), ("b", "all")]).unwrap();
    /// let mut base = Forecast::new("m", Freq::DAILY, 1, &[]);
    /// for (id, mean) in [("all", 12.0), ("a", 4.0), ("b", 5.0)] {
    ///     base.push(id, 0, &[mean], &[]).unwrap();
    /// }
    /// let mint = Reconciliation::new(Method::MinTrace(Covariance::Ols));
    /// let f = mint.apply(&Run::new(0), &h, &base, &Evidence::default()).unwrap();
    /// // 3 are missing, and each of the three nodes moves by one.
    /// assert!((f.mean(0)[0] - 11.0).abs() < 1e-9 && (f.mean(1)[0] - 5.0).abs() < 1e-9);
    /// ```
    pub fn apply(
        &self,
        run: &Run,
        h: &Hierarchy,
        base: &Forecast,
        evidence: &Evidence<'_>,
    ) -> Result<Forecast> {
        let position = positions(h, base)?;
        let at = |k: usize| -> Vec<f64> { position.iter().map(|i| base.mean(*i)[k]).collect() };
        let (steps, spread) = self.bottom(run, h, base.horizon(), &at, evidence)?;
        let mut means = Vec::with_capacity(steps.len());
        for bottom in &steps {
            let all = h.sum(bottom)?;
            if let Some(i) = all.iter().position(|v| !v.is_finite()) {
                return Err(Error::Invalid(format!("the sum `{}` is too large for a number", h.ids()[i])));
            }
            means.push(all);
        }
        let mut node = vec![0; base.len()];
        position.iter().enumerate().for_each(|(n, i)| node[*i] = n);
        let mut out = Forecast::new(base.model(), base.freq(), base.horizon(), base.levels());
        for (i, id) in base.ids().iter().enumerate() {
            let n = node[i];
            let mean: Vec<f64> = means.iter().map(|m| m[n]).collect();
            let scale = spread.as_ref().map_or(1.0, |s| s[n]);
            let low = if self.nonnegative { 0.0 } else { f64::MIN };
            let mut quantiles = Vec::with_capacity(base.horizon() * base.levels().len());
            for (k, mean) in mean.iter().enumerate() {
                for level in base.levels() {
                    let away = base.quantile(i, k, *level).map_or(0.0, |q| q - base.mean(i)[k]);
                    quantiles.push((mean + scale * away).clamp(low, f64::MAX));
                }
            }
            out.push(id, base.ds(i, 0), &mean, &quantiles)?;
        }
        Ok(out)
    }

    /// Reconciles all steps.
    fn bottom(
        &self,
        run: &Run,
        h: &Hierarchy,
        horizon: usize,
        at: &(dyn Fn(usize) -> Vec<f64> + Sync),
        evidence: &Evidence<'_>,
    ) -> Result<Bottom> {
        let lifted = |k: usize| {
            let mut y = at(k);
            if self.nonnegative {
                y.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            y
        };
        let shared = |tops: Vec<usize>, shares: Shares| -> Result<Vec<Vec<f64>>> {
            let keys = Keys::new(h, tops, shares, evidence.history, self.nonnegative)?;
            map_series(run, "reconciliation", horizon, |k| keys.share(h, &lifted(k)))
        };
        match &self.method {
            Method::BottomUp => {
                Ok(((0..horizon).map(|k| lifted(k).split_off(h.n_aggregates())).collect(), None))
            }
            Method::TopDown(shares) => Ok((shared(h.forest.roots().collect(), *shares)?, None)),
            Method::MiddleOut { level, shares } => {
                Ok((shared(h.level(level)?.nodes.clone().collect(), *shares)?, None))
            }
            Method::MinTrace(covariance) => {
                let weights = Weights::new(run, h, *covariance, evidence.residuals)?;
                let solver = Solver::new(run, h, &weights)?;
                let steps = map_series(run, "reconciliation", horizon, |k| {
                    let y = at(k);
                    if self.nonnegative { solver.solve_nonnegative(&y) } else { solver.solve(&y) }
                })?;
                let steps = steps.into_iter().collect::<Result<Vec<_>>>()?;
                if *covariance != Covariance::Shrinkage {
                    return Ok((steps, None));
                }
                let own = weights.variances();
                let ratio = |(v, w): (f64, f64)| (v / w).clamp(0.0, 1.0).sqrt();
                Ok((steps, Some(solver.variances(run)?.into_iter().zip(own).map(ratio).collect())))
            }
        }
    }
}

/// The bottom series at each step, and what the distances of quantiles are multiplied by, where that is not 1.
type Bottom = (Vec<Vec<f64>>, Option<Vec<f64>>);

/// For each node its position in the forecast.
fn positions(h: &Hierarchy, base: &Forecast) -> Result<Vec<usize>> {
    let mut place: HashMap<&str, usize> = HashMap::with_capacity(base.len());
    for (i, id) in base.ids().iter().enumerate() {
        if place.insert(id, i).is_some() {
            return Err(Error::Invalid(format!("the base forecast has `{id}` twice")));
        }
        if base.ds(i, 0) != base.ds(0, 0) {
            return Err(Error::Invalid(format!(
                "the base forecast of `{id}` begins at {} and that of `{}` at {}; forecast the panel that `aggregate` gives",
                base.freq().format(base.ds(i, 0)),
                base.ids()[0],
                base.freq().format(base.ds(0, 0))
            )));
        }
        if base.mean(i).iter().any(|v| !v.is_finite()) {
            return Err(Error::Invalid(format!("the base forecast of `{id}` is not a finite number")));
        }
    }
    let found = h
        .ids()
        .iter()
        .map(|id| {
            let at = place.remove(id.as_str());
            at.ok_or_else(|| Error::Invalid(format!("the base forecast lacks the node `{id}`")))
        })
        .collect::<Result<_>>()?;
    match place.keys().min() {
        Some(id) => {
            Err(Error::Invalid(format!("the base forecast has `{id}`, which is not in the hierarchy")))
        }
        None => Ok(found),
    }
}
