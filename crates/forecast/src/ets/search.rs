//! Choosing among forms.

use super::fit::{Point, Search};
use super::form::Form;
use serde::{Deserialize, Serialize};

/// Which information criterion chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Akaike's, corrected for short series.
    #[default]
    Aicc,
    /// Akaike's.
    Aic,
    /// Schwarz's, which chooses plainer forms.
    Bic,
}

/// Whether one form forecasts or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The middle of the forecasts of all forms whose criterion is near the lowest.
    #[default]
    Median,
    /// The form of the lowest criterion alone.
    Choice,
}

/// What was chosen.
pub(super) struct Chosen {
    pub(super) form: Form,
    pub(super) point: Point,
    pub(super) criterion: f64,
}

/// The information criterion of a deviance with `k` numbers learnt from `n` observations.
pub(super) fn criterion_of(which: Criterion, deviance: f64, k: usize, n: usize) -> f64 {
    let (k, n) = (k as f64, n as f64);
    match which {
        Criterion::Aic => deviance + 2.0 * k,
        Criterion::Bic => deviance + k * n.ln(),
        // Beyond the range of the formula the penalty is as good as infinite.
        Criterion::Aicc if n > k + 1.0 => deviance + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0),
        Criterion::Aicc => deviance + 2.0 * k + 1e10,
    }
}

/// Gain of a round below which a candidate is left as it is.
const COARSE: f64 = 0.05;
/// The same for the members of a combination, whose middle the last digits do not move.
const MIDDLE: f64 = 0.01;
/// The same for the form that was chosen.
const FINE: f64 = 1e-9;
const ROUNDS_COARSE: usize = 12;
const ROUNDS_FINE: usize = 60;

/// A form whose criterion is further from the best takes no part in the combination.
const NEAR: f64 = 30.0;

/// Fits the forms, leaving off those that cannot matter, and gives the one of the lowest criterion (of equals the first),
/// or all that are near it, the best first.
pub(super) fn fit_forms(
    search: &mut Search<'_>,
    forms: &[Form],
    which: Criterion,
    combine: Combine,
    m: usize,
    n_given: usize,
    n: usize,
) -> Vec<Chosen> {
    let near = if combine == Combine::Median { NEAR } else { 0.0 };
    let mut fitted: Vec<Chosen> = Vec::with_capacity(forms.len());
    let mut best = f64::INFINITY;
    for &form in forms {
        let penalty = criterion_of(which, 0.0, form.n_params(m, n_given), n);
        let [mut point, mut other] = search.starts(form);
        for c in &fitted {
            if let Some(p) = search.adapt(c.form, form, &c.point)
                && p.deviance < point.deviance
            {
                point = p;
            }
        }
        if forms.len() == 1 {
            // A form that was asked for is sought from both sides: the surface has often two valleys.
            search.descend(form, &mut other, FINE, ROUNDS_FINE, f64::INFINITY);
            search.descend(form, &mut point, FINE, ROUNDS_FINE, f64::INFINITY);
            if other.deviance < point.deviance {
                point = other;
            }
        } else {
            search.descend(form, &mut point, COARSE, ROUNDS_COARSE, best + near - penalty);
        }
        let criterion = penalty + point.deviance;
        if criterion.is_finite() {
            best = best.min(criterion);
            fitted.push(Chosen { form, point, criterion });
        }
    }
    // Stable, so that of equals the first stays the first.
    fitted.sort_by(|a, b| a.criterion.total_cmp(&b.criterion));
    match combine {
        Combine::Choice => fitted.truncate(1),
        Combine::Median => fitted.retain(|c| c.criterion <= best + near),
    }
    let tolerance = if fitted.len() == 1 { FINE } else { MIDDLE };
    for c in &mut fitted {
        let before = c.point.deviance;
        search.descend(c.form, &mut c.point, tolerance, ROUNDS_FINE, f64::INFINITY);
        c.criterion += c.point.deviance - before;
    }
    fitted
}
