//! Orders by stepwise search.

use super::estimate::{Estimate, Problem, SEARCH, Work, carried_over, coefficients};
use super::polynomial::zeros_beyond;
use super::unit_root::{difference, differences, is_constant, season_is_strong};
use super::{FittedArima, Known, Order};
use tradewind_core::Result;

/// Zeros of the polynomials must lie farther from the origin than this; nearer ones are differences in disguise.
const RADIUS: f64 = 1.01;
/// Models that a search looks at, at most.
const MODELS_MAX: usize = 94;

/// Which measure is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Akaike's, corrected for short series.
    #[default]
    Aicc,
    /// Akaike's.
    Aic,
    /// Schwarz's.
    Bic,
}

/// The limits of a search.
pub(crate) struct Limits {
    pub(crate) d: Option<usize>,
    pub(crate) seasonal_d: Option<usize>,
    pub(crate) p_max: usize,
    pub(crate) q_max: usize,
    pub(crate) seasonal_p_max: usize,
    pub(crate) seasonal_q_max: usize,
    pub(crate) constant: bool,
    pub(crate) criterion: Criterion,
}

/// Akaike's corrected criterion; infinite where there are too few observations for it.
pub(super) fn corrected(deviance: f64, k: usize, n: usize) -> f64 {
    let (k, n) = (k as f64, n as f64);
    if n > k + 1.0 { deviance + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0) } else { f64::MAX }
}

struct Search<'a> {
    known: &'a Known,
    limits: &'a Limits,
    work: Work,
    seen: Vec<(Order, f64)>,
    best: Option<(Order, Estimate, f64)>,
}

impl Search<'_> {
    /// Looks at a model; whether it is the best so far.
    fn try_one(&mut self, order: Order) -> bool {
        let l = self.limits;
        let m = order.season_length;
        let inside = order.p <= l.p_max
            && order.q <= l.q_max
            && (m < 2 || (order.seasonal_p <= l.seasonal_p_max && order.seasonal_q <= l.seasonal_q_max))
            && (m > 1 || order.seasonal_p + order.seasonal_q == 0)
            // Lags within a season must not reach those of the seasons.
            && (m < 2 || (order.p < m && order.q < m) || order.seasonal_p + order.seasonal_q == 0);
        if !inside || self.seen.len() >= MODELS_MAX || self.seen.iter().any(|(o, _)| *o == order) {
            return false;
        }
        let found = self.estimate(&order);
        let score = found.as_ref().map_or(f64::INFINITY, |f| self.score(&order, f));
        self.seen.push((order, score));
        match found {
            Some(found) if self.best.as_ref().is_none_or(|(_, _, s)| score < *s) && score.is_finite() => {
                self.best = Some((order, found, score));
                true
            }
            _ => false,
        }
    }

    fn estimate(&mut self, order: &Order) -> Option<Estimate> {
        // Interpolated values stand for unknown ones while orders are compared.
        let problem = Problem::new(&self.known.y, &[], &[], order).ok()?;
        if problem.exact {
            return None;
        }
        let start = match &self.best {
            Some((from, best, _)) => carried_over(from, &best.u, order),
            None => vec![0.1; order.n_coefficients()],
        };
        self.work.maximize(&problem, order, &start, SEARCH)
    }

    fn score(&self, order: &Order, found: &Estimate) -> f64 {
        let c = coefficients(order, found);
        let negative = |v: &[f64]| v.iter().map(|x| -x).collect::<Vec<f64>>();
        let season_radius = RADIUS.powi(order.season_length.max(1) as i32);
        let sound = zeros_beyond(&c.ar, RADIUS)
            && zeros_beyond(&negative(&c.ma), RADIUS)
            && zeros_beyond(&c.seasonal_ar, season_radius)
            && zeros_beyond(&negative(&c.seasonal_ma), season_radius);
        if !sound {
            return f64::INFINITY;
        }
        let k = order.n_coefficients() + usize::from(order.constant) + 1;
        match self.limits.criterion {
            Criterion::Aicc => corrected(found.deviance, k, found.n),
            Criterion::Aic => found.deviance + 2.0 * k as f64,
            Criterion::Bic => found.deviance + k as f64 * (found.n as f64).ln(),
        }
    }
}

/// Finds orders and fits: differences by tests, the rest by the steps of Hyndman & Khandakar (2008).
pub(crate) fn fit(
    known: &Known,
    m: usize,
    limits: &Limits,
    in_sample: Option<&mut Vec<f64>>,
) -> Result<FittedArima> {
    let y = &known.y;
    let m = if y.len() > 2 * m && y.len() >= m + 5 { m } else { 1 };
    let seasonal_d = if m < 2 {
        0
    } else {
        limits.seasonal_d.unwrap_or_else(|| {
            // A difference that leaves nothing to learn from is not taken.
            usize::from(season_is_strong(y, m) && y.len() > 2 * m + 3)
        })
    };
    let w = if seasonal_d > 0 { difference(y, m) } else { y.clone() };
    let d = limits.d.unwrap_or_else(|| differences(&w, 2));
    let w = (0..d).fold(w, |w, _| difference(&w, 1));
    let may = limits.constant && d + seasonal_d <= 1;
    let order = |p, q, seasonal_p, seasonal_q, constant| Order {
        p,
        d,
        q,
        seasonal_p,
        seasonal_d,
        seasonal_q,
        season_length: m,
        constant,
    };
    let mut search = Search { known, limits, work: Work::default(), seen: vec![], best: None };
    let plain = order(0, 0, 0, 0, may);
    if is_constant(&w) || y.len() < d + seasonal_d * m + 5 {
        return FittedArima::fit(known, &plain, &mut search.work, &[vec![]], in_sample);
    }
    let (p, q) = (limits.p_max.min(2), limits.q_max.min(2));
    let (sp, sq) = if m > 1 { (limits.seasonal_p_max.min(1), limits.seasonal_q_max.min(1)) } else { (0, 0) };
    search.try_one(plain);
    search.try_one(order(limits.p_max.min(1), 0, sp, 0, may));
    search.try_one(order(0, limits.q_max.min(1), 0, sq, may));
    search.try_one(order(p, q, sp, sq, may));
    if may {
        search.try_one(order(0, 0, 0, 0, false));
    }
    'around: while let Some((now, ..)) = search.best.as_ref().map(|(o, ..)| (*o,)) {
        let by = |v: usize, s: i32| v.checked_add_signed(s as isize);
        // Seasons first, then lags, each alone and both together.
        for (sp, sq) in [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)] {
            if let (Some(seasonal_p), Some(seasonal_q)) = (by(now.seasonal_p, sp), by(now.seasonal_q, sq))
                && search.try_one(Order { seasonal_p, seasonal_q, ..now })
            {
                continue 'around;
            }
        }
        for (dp, dq) in [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)] {
            if let (Some(p), Some(q)) = (by(now.p, dp), by(now.q, dq))
                && search.try_one(Order { p, q, ..now })
            {
                continue 'around;
            }
        }
        if may && search.try_one(Order { constant: !now.constant, ..now }) {
            continue 'around;
        }
        break;
    }
    let Some((order, found, _)) = search.best else {
        return FittedArima::fit(known, &plain, &mut search.work, &[vec![]], in_sample);
    };
    FittedArima::fit(known, &order, &mut search.work, &[found.u], in_sample)
}
