//! Exponential smoothing in state space form (ETS), its form chosen by an information criterion.
//!
//! A form is told by three letters: the error is added (`A`) or a share (`M`), the trend absent (`N`), a line (`A`) or a
//! factor (`M`), either of them damped (`Ad`, `Md`), the season absent (`N`), added (`A`) or multiplied (`M`). With the
//! level `ℓ`, the trend `b`, the season `s` and the error `e = y − ŷ`
//!
//! ```text
//! q = ℓ | ℓ + φ b | ℓ b^φ      ŷ = q | q + s | q s      r = e | e / s
//! ℓ ← q + α r      b ← φ b + β r | b^φ + β r / ℓ      s ← s + γ e | s + γ e / q
//! ```
//!
//! Which error it is does not change these recursions but the likelihood, and so the weights, the choice and the
//! intervals. Weights and states before the first observation are those of the greatest likelihood; both are found
//! together by the method of Gauss and Newton with exact derivatives, which takes some ten passes over the series. The
//! form is the one of the lowest criterion `−2 ln L + penalty`; candidates begin from what others have found, and one
//! that can no longer win is left.
//!
//! | parameter | default | meaning |
//! | --- | --- | --- |
//! | `model` | `ZZZ` | error, trend, season; `Z` is chosen; the trend may be `Ad` or `Md` |
//! | `season_length` | by frequency | steps of a season |
//! | `damped` | chosen | whether the trend is damped; chosen when not given |
//! | `criterion` | `aicc` | `aicc`, `aic`, `bic` |
//! | `bounds` | `calm` | `usual`: each weight a share of what the one before leaves, `φ` 0.8 to 0.98; `calm`: the same, and a slope takes up at most a tenth of each change of the level; `admissible`: wherever old observations lose their weight |
//! | `combine` | `median` | `median`: the middle of the forecasts of all forms whose criterion is at most 30 above the lowest; `choice`: the lowest alone |
//! | `multiplicative_trend` | false | whether a `Z` trend may be a factor |
//!
//! Forms that are unstable are never chosen and refused when asked for: a factor with an added error, and a trend that
//! multiplies with a season that is added. Multiplicative forms need observations above zero; without two whole seasons
//! there is no season; a series too short for the form asked for takes the nearest one that it can bear. Unknown
//! observations are skipped, as the likelihood wants it: the states move on by the forecast.
//!
//! The defaults are those that were best on held-out ends of the M3 monthly and quarterly histories and on M1: OWA of
//! the median under calm bounds 0.862, 0.876 (M1 monthly, quarterly), 0.855 and 0.835 (M3), where the
//! choice under usual bounds had 0.917, 0.885, 0.951 and 0.886. A form of slightly
//! lower criterion is often no better one, and a lively slope runs away over many steps. `choice` with `usual` bounds is
//! the procedure of the sources.
//!
//! Standard deviations are exact for forms in which only the error multiplies, close for a season that multiplies, and
//! simulated for a trend that does.
//!
//! ```
//! use tradewind_core::{Ahead, Freq, Panel, Params, Run};
//! let season = [9.0, 4.0, -6.0, -7.0];
//! let y = (0..40).map(|t| 50.0 + t as f64 + season[t % 4] + ((t * 7) % 5) as f64 * 0.1).collect();
//! let panel = Panel::from_series(Freq::STEP, vec![("tea".into(), 0, y)]).unwrap();
//! let mut params = Params::new();
//! params.insert("season_length".into(), 4.into());
//! let model = (tradewind_forecast::entry("ets").unwrap().build)(&params).unwrap();
//! let ahead = model.fit(&Run::new(0), &panel).unwrap().predict(&Run::new(0), &Ahead::new(4, &[])).unwrap();
//! assert!((ahead.mean(0)[0] - 99.2).abs() < 0.5);
//! ```
//!
//! Sources: Hyndman, Koehler, Snyder & Grose (2002), *A state space framework for automatic forecasting using
//! exponential smoothing methods*; Hyndman, Koehler, Ord & Snyder (2008), *Forecasting with Exponential Smoothing*.
//! Differences to their program: the states before the first observation are not bounded, the weights' lower ends are
//! shares, and the search ends at the optimum instead of near it.

mod fit;
mod fitted;
mod form;
mod kernel;
mod predict;
mod search;

pub use fit::Bounds;
pub use fitted::{FittedEts, FittedForm};
pub use form::{ErrorForm, Form, SeasonForm, TrendForm};
pub use search::{Combine, Criterion};

use crate::local::{self, LocalModel, SEASON_LENGTH, cut_off, filled_at_least, season_of};
pub(crate) use fit::Given;
pub(crate) use fitted::fit_least_squares;
use fitted::{How, fit_forms};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ForecasterEntry, Needs, ParamKind, ParamSpec, Result, Series};

/// The words of `model`.
#[rustfmt::skip]
const MODELS: &[&str] = &[
    "ZZZ", "ZZN", "ZZA", "ZZM", "ZNZ", "ZNN", "ZNA", "ZNM", "ZAZ", "ZAN", "ZAA", "ZAM", "ZAdZ", "ZAdN", "ZAdA", "ZAdM", "ZMZ", "ZMN", "ZMM", "ZMdZ", "ZMdN", "ZMdM", "AZZ", "AZN", "AZA", "ANZ", "ANN", "ANA", "AAZ", "AAN", "AAA", "AAdZ", "AAdN", "AAdA", "MZZ", "MZN", "MZA", "MZM", "MNZ", "MNN", "MNA", "MNM", "MAZ", "MAN", "MAA", "MAM", "MAdZ", "MAdN", "MAdA", "MAdM", "MMZ", "MMN", "MMM", "MMdZ", "MMdN", "MMdM",
];

/// The catalogue entry.
pub const ENTRY: ForecasterEntry = ForecasterEntry {
    name: "ets",
    summary: "Exponential smoothing with error, trend and season in the form that an information criterion chooses.",
    summary_zh: "状态空间指数平滑：误差、趋势、季节的形式由信息准则自动选择。",
    source: "Hyndman, Koehler, Ord & Snyder (2008), Forecasting with Exponential Smoothing",
    params: &[
        ParamSpec {
            name: "model",
            kind: ParamKind::Choice(MODELS),
            default: "ZZZ",
            summary: "error, trend and season: A added, M multiplied, N none, Z chosen",
        },
        SEASON_LENGTH,
        ParamSpec {
            name: "damped",
            kind: ParamKind::Flag,
            default: "",
            summary: "whether the trend fades; chosen when not given",
        },
        ParamSpec {
            name: "criterion",
            kind: ParamKind::Choice(&["aicc", "aic", "bic"]),
            default: "aicc",
            summary: "the information criterion that chooses",
        },
        ParamSpec {
            name: "bounds",
            kind: ParamKind::Choice(&["calm", "usual", "admissible"]),
            default: "calm",
            summary: "where weights may lie: shares, with a slow slope or not, or wherever old observations lose their weight",
        },
        ParamSpec {
            name: "combine",
            kind: ParamKind::Choice(&["median", "choice"]),
            default: "median",
            summary: "the middle of the forms near the best, or the best one alone",
        },
        ParamSpec {
            name: "multiplicative_trend",
            kind: ParamKind::Flag,
            default: "false",
            summary: "whether a chosen trend may be a factor",
        },
    ],
    needs: Needs { min_observations: 4, min_seasons: 0, positive: false, uses_covariates: false },
    build: local::build::<Ets>,
    load: local::load::<Ets>,
};

/// Exponential smoothing in state space form; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ets {
    /// Error, trend and season, as `ZZZ` or `MAdM`.
    pub model: String,
    /// Steps of a season; by the frequency when `None`.
    pub season_length: Option<usize>,
    /// Whether the trend is damped; chosen when `None`.
    pub damped: Option<bool>,
    /// The information criterion that chooses.
    pub criterion: Criterion,
    /// Where the weights may lie.
    pub bounds: Bounds,
    /// Whether one form forecasts or the middle of several.
    pub combine: Combine,
    /// Whether a chosen trend may be a factor.
    pub multiplicative_trend: bool,
}

impl Default for Ets {
    fn default() -> Self {
        Self {
            model: "ZZZ".into(),
            season_length: None,
            damped: None,
            criterion: Criterion::Aicc,
            bounds: Bounds::Calm,
            combine: Combine::Median,
            multiplicative_trend: false,
        }
    }
}

impl Ets {
    /// The forms that `model` and `damped` leave open, the plainest first.
    fn forms(&self) -> Vec<Form> {
        let (error, rest) = self.model.split_at_checked(1).unwrap_or(("Z", "ZZ"));
        let (trend, season) = rest.split_at_checked(rest.len().saturating_sub(1)).unwrap_or(("Z", "Z"));
        let errors: &[ErrorForm] = match error {
            "A" => &[ErrorForm::Additive],
            "M" => &[ErrorForm::Multiplicative],
            _ => &[ErrorForm::Additive, ErrorForm::Multiplicative],
        };
        let trends: &[TrendForm] = match trend {
            "N" => &[TrendForm::None],
            "A" => &[TrendForm::Additive, TrendForm::Damped],
            "Ad" => &[TrendForm::Damped],
            "M" => &[TrendForm::Multiplicative, TrendForm::MultiplicativeDamped],
            "Md" => &[TrendForm::MultiplicativeDamped],
            _ if self.multiplicative_trend => &[
                TrendForm::None,
                TrendForm::Additive,
                TrendForm::Damped,
                TrendForm::Multiplicative,
                TrendForm::MultiplicativeDamped,
            ],
            _ => &[TrendForm::None, TrendForm::Additive, TrendForm::Damped],
        };
        // A trend that is named is damped when asked for; one that is chosen may be either.
        let damped = if matches!(trend, "A" | "M") { Some(self.damped.unwrap_or(false)) } else { self.damped };
        let seasons: &[SeasonForm] = match season {
            "N" => &[SeasonForm::None],
            "A" => &[SeasonForm::Additive],
            "M" => &[SeasonForm::Multiplicative],
            _ => &[SeasonForm::None, SeasonForm::Additive, SeasonForm::Multiplicative],
        };
        let mut forms = Vec::with_capacity(30);
        for &season in seasons {
            for &trend in trends.iter().filter(|t| !t.is_some() || damped.is_none_or(|d| d == t.is_damped())) {
                for &error in errors {
                    forms.push(Form { error, trend, season });
                }
            }
        }
        forms.retain(Form::is_stable);
        forms
    }
}

/// The fewest known observations beyond the numbers learnt.
const SPARE: usize = 2;

impl LocalModel for Ets {
    type Fitted = FittedEts;

    fn entry() -> &'static ForecasterEntry {
        &ENTRY
    }

    fn check(&self) -> Result<()> {
        if MODELS.contains(&self.model.as_str()) && !self.forms().is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "model `{}` of ets{}: no stable form is left",
            self.model,
            self.damped.map_or(String::new(), |d| format!(" with damped {d}"))
        )))
    }

    fn fit_with(&self, series: Series<'_>, in_sample: Option<&mut Vec<f64>>) -> Result<FittedEts> {
        let (first, filled) = filled_at_least(&ENTRY, series.y, ENTRY.needs.min_observations)?;
        let y = &series.y[first..];
        let known = y.iter().filter(|v| v.is_finite()).count();
        let m = season_of(self.season_length, &series);
        let positive = filled.iter().all(|v| *v > 0.0);
        let seasonal = m > 1 && known >= 2 * m;
        let mut forms: Vec<Form> = self
            .forms()
            .into_iter()
            .filter(|f| positive || !f.needs_positive())
            .filter(|f| seasonal || f.season == SeasonForm::None)
            .filter(|f| known >= f.n_params(m, 0) + SPARE)
            .collect();
        if forms.is_empty() {
            // The nearest that these observations bear.
            let error = if positive && self.model.starts_with('M') { ErrorForm::Multiplicative } else { ErrorForm::Additive };
            forms.push(Form { error, trend: TrendForm::None, season: SeasonForm::None });
        }
        let how = How {
            m,
            given: Given::default(),
            bounds: self.bounds,
            criterion: self.criterion,
            combine: self.combine,
        };
        Ok(FittedEts { members: fit_forms(y, &filled, &forms, how, cut_off(in_sample, first)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(model: &str, damped: Option<bool>, multiplicative_trend: bool) -> Vec<String> {
        let ets = Ets { model: model.into(), damped, multiplicative_trend, ..Ets::default() };
        ets.forms().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn letters_leave_forms_open() {
        assert_eq!(forms("ZZZ", None, false).len(), 15);
        assert_eq!(forms("ZZZ", None, true).len(), 19);
        assert_eq!(forms("AAN", None, false), ["ETS(A,A,N)"]);
        assert_eq!(forms("AAN", Some(true), false), ["ETS(A,Ad,N)"]);
        assert_eq!(forms("MMdM", None, false), ["ETS(M,Md,M)"]);
        assert_eq!(forms("ZNZ", None, false).len(), 5);
        for word in MODELS {
            assert!(Ets { model: (*word).into(), ..Ets::default() }.check().is_ok(), "{word}");
        }
        let fading_nothing = Ets { model: "AAdN".into(), damped: Some(false), ..Ets::default() };
        assert!(fading_nothing.check().is_err());
    }

    #[test]
    fn unknown_observations_are_skipped() {
        let season = [1.2, 0.9, 0.7, 1.2];
        let truth = |t: usize| (50.0 + 0.5 * t as f64) * season[t % 4];
        let y: Vec<f64> = (0..60).map(|t| if t % 7 == 3 { f64::NAN } else { truth(t) }).collect();
        let ets = Ets { season_length: Some(4), ..Ets::default() };
        let fitted = ets.fit_series(Series::counted(&y)).expect("long enough");
        let steps = crate::local::FittedSeries::predict(&fitted, 8);
        for (h, mean) in steps.mean.iter().enumerate() {
            assert!((mean / truth(60 + h) - 1.0).abs() < 1e-3, "{h}: {mean} {}", truth(60 + h));
        }
        assert!(fitted.members()[0].form().season == SeasonForm::Multiplicative);
    }
}
