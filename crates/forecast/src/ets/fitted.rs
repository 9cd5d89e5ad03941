//! A fitted form: fitting the best of several, forecasting, and moving on.

use super::fit::{Bounds, Given, Search};
use super::form::{ErrorForm, Form, SeasonForm, TrendForm};
use super::kernel::{self, Now, Weights};
use super::predict;
use super::search::{self, Chosen, Combine, Criterion};
use crate::local::{FittedSeries, Steps};
use serde::{Deserialize, Serialize};

/// How forms are fitted and chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Steps of a season.
    pub(crate) m: usize,
    pub(crate) given: Given,
    pub(crate) bounds: Bounds,
    pub(crate) criterion: Criterion,
    pub(crate) combine: Combine,
}

/// Fits `forms` to `y` (NaN where unknown; `filled` without gaps), the best first. The caller sees to it that the series
/// bears the forms, and that there is one at least. Forecasts one step ahead (of several forms their median) are appended
/// to `in_sample`.
pub(crate) fn fit_forms(
    y: &[f64],
    filled: &[f64],
    forms: &[Form],
    how: How,
    in_sample: Option<&mut Vec<f64>>,
) -> Vec<FittedForm> {
    let How { m, given, .. } = how;
    let scale = filled.iter().map(|v| v.abs()).fold(0.0, f64::max).max(1e-300);
    let scaled = |y: &[f64]| y.iter().map(|v| v / scale).collect::<Vec<f64>>();
    let (y, filled) = (scaled(y), scaled(filled));
    let n = y.iter().filter(|v| v.is_finite()).count();
    let mut search = Search::new(&y, &filled, m.max(1), given, how.bounds);
    let n_given = [given.alpha, given.beta, given.gamma, given.phi].iter().flatten().count();
    let mut chosen = search::fit_forms(&mut search, forms, how.criterion, how.combine, m, n_given, n);
    if chosen.is_empty() {
        // Values so far apart that no likelihood is a number: the first form with its first weights.
        let form = forms[0];
        let [point, _] = search.starts(form);
        chosen.push(Chosen { form, point, criterion: f64::MAX });
    }
    let keep = in_sample.is_some();
    let mut inside: Vec<Vec<f64>> = Vec::new();
    let fitted: Vec<FittedForm> = chosen
        .into_iter()
        .map(|c| {
            let w = search.weights(c.form, &c.point.searched);
            let (mut now, mut season) = (c.point.now, c.point.season);
            let mut told = Vec::with_capacity(if keep { y.len() } else { 0 });
            let sums = kernel::pass(&y, c.form, &w, &mut now, &mut season, |ahead| {
                if keep {
                    told.push(ahead * scale);
                }
            });
            inside.push(told);
            let freedom = (n as f64 - (c.form.n_params(m, n_given) - 1) as f64).max(1.0);
            FittedForm {
                form: c.form,
                alpha: w.alpha,
                beta: w.beta,
                gamma: w.gamma,
                phi: w.phi,
                level: now.level,
                slope: now.slope,
                next: y.len() % season.len().max(1),
                season,
                sigma: (sums.squares / freedom).sqrt().min(f64::MAX),
                scale,
                criterion: c.criterion.clamp(f64::MIN, f64::MAX),
            }
        })
        .collect();
    if let Some(out) = in_sample {
        let mut values = Vec::with_capacity(inside.len());
        out.extend((0..y.len()).map(|t| {
            values.clear();
            values.extend(inside.iter().map(|v| v[t]));
            median(&mut values)
        }));
    }
    fitted
}

/// Fits the models of Holt and Winters to at least one value without gaps: errors are added, so that the squared errors
/// one step ahead are the least; of several forms the one of the lowest corrected AIC. A season needs two whole seasons
/// and, multiplied, values above zero: the caller sees to that.
pub(crate) fn fit_least_squares(
    y: &[f64],
    trends: &[TrendForm],
    seasons: &[SeasonForm],
    m: usize,
    given: Given,
    in_sample: Option<&mut Vec<f64>>,
) -> FittedForm {
    let error = ErrorForm::Additive;
    let forms: Vec<Form> = seasons
        .iter()
        .flat_map(|season| trends.iter().map(|trend| Form { error, trend: *trend, season: *season }))
        .collect();
    let how = How {
        m,
        given,
        bounds: Bounds::Usual,
        criterion: Criterion::Aicc,
        combine: Combine::Choice,
    };
    fit_forms(y, y, &forms, how, in_sample).swap_remove(0)
}

/// The middle of some numbers, the mean of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => 0.5 * (values[n / 2] + values[(n - 1) / 2]),
    }
}

/// A fitted form with its weights and last states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedForm {
    form: Form,
    alpha: f64,
    beta: f64,
    gamma: f64,
    phi: f64,
    level: f64,
    slope: f64,
    /// By season position; the next step has `season[next]`.
    season: Vec<f64>,
    next: usize,
    /// Of the scaled series, or relative.
    sigma: f64,
    /// What level, slope and an added season are multiplied by.
    scale: f64,
    criterion: f64,
}

impl FittedForm {
    /// The form.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The weights `α`, `β`, `γ`, `φ` of the recursions above; 0 where the form has none.
    pub fn weights(&self) -> [f64; 4] {
        [self.alpha, self.beta, self.gamma, self.phi]
    }

    /// The information criterion by which the form was chosen, of the series divided by its largest absolute value.
    pub fn criterion(&self) -> f64 {
        self.criterion
    }

    fn kernel_weights(&self) -> Weights {
        Weights { alpha: self.alpha, beta: self.beta, gamma: self.gamma, phi: self.phi }
    }

    fn now(&self) -> Now {
        Now {
            level: self.level,
            slope: self.slope,
            s: self.season.get(self.next % self.season.len().max(1)).copied().unwrap_or(0.0),
        }
    }
}

impl FittedSeries for FittedForm {
    fn predict(&self, horizon: usize) -> Steps {
        let last = predict::Last {
            form: self.form,
            weights: self.kernel_weights(),
            now: self.now(),
            season: &self.season,
            next: self.next,
            sigma: self.sigma,
        };
        let mut steps = predict::steps(&last, horizon);
        steps.mean.iter_mut().chain(&mut steps.sd).for_each(|v| *v *= self.scale);
        steps
    }

    /// An unknown observation counts as the one forecast. One that would take a state out of the numbers is passed over.
    fn update(&mut self, y: &[f64]) {
        let w = self.kernel_weights();
        for v in y {
            let v = v / self.scale;
            let before = self.now();
            let error = |ahead: f64| if v.is_finite() { v - ahead } else { 0.0 };
            let next = advance(self.form, &w, before, error);
            let stands = |n: &Now| n.level.is_finite() && n.slope.is_finite() && n.s.is_finite();
            if stands(&next) {
                (self.level, self.slope) = (next.level, next.slope);
                if let Some(s) = self.season.get_mut(self.next) {
                    *s = next.s;
                }
            }
            self.next = (self.next + 1) % self.season.len().max(1);
        }
    }
}

fn advance(form: Form, w: &Weights, now: Now, error: impl FnOnce(f64) -> f64) -> Now {
    fn one<const T: u8, const S: u8>(w: &Weights, now: Now, error: impl FnOnce(f64) -> f64) -> Now {
        kernel::step::<T, S>(w, now, error).2
    }
    kernel::for_form!(form, one::<..>(w, now, error))
}

/// What [`Ets`](super::Ets) keeps of a series: the form chosen, or those combined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FittedEts {
    pub(super) members: Vec<FittedForm>,
}

impl FittedEts {
    /// The forms, that of the lowest criterion first.
    pub fn members(&self) -> &[FittedForm] {
        &self.members
    }
}

impl FittedSeries for FittedEts {
    /// The median of the members' means at each step; the variance is the mean of theirs and that of their means about it.
    fn predict(&self, horizon: usize) -> Steps {
        let all: Vec<Steps> = self.members.iter().map(|f| f.predict(horizon)).collect();
        if let [one] = &all[..] {
            return one.clone();
        }
        let k = all.len().max(1) as f64;
        let mut values = Vec::with_capacity(all.len());
        Steps::of(horizon, |h| {
            values.clear();
            values.extend(all.iter().map(|s| s.mean[h - 1]));
            let mean = median(&mut values);
            // By the largest deviation, since the squares of very large numbers are not numbers.
            let parts = || all.iter().flat_map(|s| [s.sd[h - 1], s.mean[h - 1] - mean]);
            let size = parts().map(f64::abs).fold(0.0, f64::max);
            let sum: f64 = if size > 0.0 { parts().map(|d| (d / size) * (d / size)).sum() } else { 0.0 };
            (mean, size * (sum / k).sqrt())
        })
    }

    fn update(&mut self, y: &[f64]) {
        self.members.iter_mut().for_each(|f| f.update(y));
    }
}
