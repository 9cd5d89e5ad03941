//! A fitted dynamic regression: each series' coefficients, and the fitted method of the errors.

use super::design::Design;
use super::{DynamicRegression, ENTRY, transformed};
use crate::entry;
use crate::global::fitted::kept;
use crate::local::{check_ahead, never_negative};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;
use tradewind_core::{Ahead, Covariate, Error, FittedForecaster, Forecast, Panel, Result, Run};

/// One standard deviation up, to bring a mean back from logarithms.
const ONE_SD: f64 = 0.841_344_746_068_542_9;

/// The coefficients of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Effects {
    /// By column; empty for a series without any.
    columns: Vec<f64>,
    /// The columns' means.
    means: Vec<f64>,
    /// Of the waves.
    waves: Vec<f64>,
}

impl Effects {
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn new(columns: &[f64], waves: &[f64], means: &[f64]) -> Self {
        Self { columns: columns.to_vec(), means: means.to_vec(), waves: waves.to_vec() }
    }

    fn is_sound(&self, n_columns: usize) -> bool {
        let finite = |v: &[f64]| v.iter().all(|v| v.is_finite());
        (self.columns.is_empty() || self.columns.len() == n_columns)
            && self.columns.len() == self.means.len()
            && self.waves.len().is_multiple_of(2)
            && finite(&self.columns)
            && finite(&self.means)
            && finite(&self.waves)
    }

    /// What each column, then the waves together, tell of the steps `at`.
    fn parts(&self, design: &Design, panel: &Panel, i: usize, future: Option<&[Covariate]>, at: Range<usize>) -> Vec<Vec<f64>> {
        let mut out = Vec::with_capacity(self.columns.len() + 1);
        if self.columns.iter().any(|b| *b != 0.0) {
            let columns = design.columns(panel, i, future, at.clone());
            for ((values, b), mean) in columns.iter().zip(&self.columns).zip(&self.means) {
                // What is not known is as usual.
                out.push(values.iter().map(|v| if v.is_finite() { b * (v - mean) } else { 0.0 }).collect());
            }
        } else {
            out.resize(self.columns.len(), vec![0.0; at.len()]);
        }
        let mut told = vec![0.0; at.len()];
        for (wave, b) in design.waves(panel.series(i).start, at, self.waves.len() / 2).iter().zip(&self.waves) {
            told.iter_mut().zip(wave).for_each(|(t, w)| *t += b * w);
        }
        out.push(told);
        out
    }

    /// What all of them tell of the steps `at`.
    pub(super) fn told(&self, design: &Design, panel: &Panel, i: usize, future: Option<&[Covariate]>, at: Range<usize>) -> Vec<f64> {
        let mut out = vec![0.0; at.len()];
        for part in self.parts(design, panel, i, future, at) {
            out.iter_mut().zip(part).for_each(|(o, p)| *o += p);
        }
        out
    }
}

/// What [`DynamicRegression`] has learnt of a panel.
pub struct FittedDynamicRegression {
    params: DynamicRegression,
    design: Design,
    panel: Panel,
    effects: Vec<Effects>,
    errors: Box<dyn FittedForecaster>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    params: DynamicRegression,
    design: Design,
    #[serde(with = "kept")]
    panel: Panel,
    effects: Vec<Effects>,
    errors: Value,
}

fn unreadable(source: serde_json::Error) -> Error {
    Error::Saved { what: ENTRY.name.to_owned(), source }
}

impl FittedDynamicRegression {
    pub(super) fn new(
        params: DynamicRegression,
        design: Design,
        panel: &Panel,
        effects: Vec<Effects>,
        errors: Box<dyn FittedForecaster>,
    ) -> Result<Self> {
        Ok(Self { params, design, panel: panel.clone(), effects, errors })
    }

    pub(super) fn load(state: Value) -> Result<Box<dyn FittedForecaster>> {
        let saved: Saved = serde_json::from_value(state).map_err(unreadable)?;
        let n = saved.design.names().count();
        let sound = saved.effects.len() == saved.panel.len()
            && saved.effects.iter().all(|e| e.is_sound(n) && (e.waves.is_empty() || saved.design.long_season > 0.0))
            && super::ERRORS.contains(&saved.params.errors.as_str());
        if !sound {
            return Err(Error::Invalid("saved dynamic_regression has parts that do not fit together".into()));
        }
        let errors = (entry(&saved.params.errors)?.load)(saved.errors)?;
        let Saved { params, design, panel, effects, .. } = saved;
        Ok(Box::new(Self { params, design, panel, effects, errors }))
    }

    /// The parameters it was fitted with.
    pub fn params(&self) -> &DynamicRegression {
        &self.params
    }

    /// The coefficients of series `i` by column, in units of `y` a unit of the column; of `ln(1 + y)` where effects
    /// multiply. Columns that hardly moved have 0.
    pub fn coefficients(&self, i: usize) -> Vec<(&str, f64)> {
        let Some(e) = self.effects.get(i) else { return Vec::new() };
        self.design.names().map(String::as_str).zip(e.columns.iter().copied()).collect()
    }

    /// What each column adds to the forecasts of series `i`, step by step, beside what it adds usually; at the end the
    /// waves of the long season together. Factors less one where effects multiply.
    pub fn explain(&self, ahead: &Ahead<'_>, i: usize) -> Vec<(String, Vec<f64>)> {
        let Some(e) = self.effects.get(i) else { return Vec::new() };
        let n = self.panel.series(i).y.len();
        let parts = e.parts(&self.design, &self.panel, i, ahead.future, n..n + ahead.horizon);
        let factor = |v: f64| if self.log() { v.exp() - 1.0 } else { v };
        let names = self.design.names().take(e.columns.len()).cloned().chain(["long_season".to_owned()]);
        names.zip(parts).map(|(name, part)| (name, part.into_iter().map(factor).collect())).collect()
    }

    fn log(&self) -> bool {
        self.params.transform == "log1p"
    }
}

impl FittedForecaster for FittedDynamicRegression {
    fn name(&self) -> &str {
        ENTRY.name
    }

    fn predict(&self, run: &Run, ahead: &Ahead<'_>) -> Result<Forecast> {
        check_ahead(ahead)?;
        let h = ahead.horizon;
        let mut out = Forecast::new(ENTRY.name, self.design.freq, h, ahead.quantiles);
        let levels = out.levels().to_vec();
        let mut asked = levels.clone();
        asked.push(ONE_SD);
        let rest = self.errors.predict(run, &Ahead::new(h, &asked))?;
        if rest.len() != self.panel.len() {
            return Err(Error::Invalid("the errors of dynamic_regression speak of other series".into()));
        }
        for (i, e) in self.effects.iter().enumerate() {
            let s = self.panel.series(i);
            let told = e.told(&self.design, &self.panel, i, ahead.future, s.y.len()..s.y.len() + h);
            let low = if never_negative(s.y) { 0.0 } else { f64::MIN };
            let back = |v: f64| if self.log() { v.exp_m1() } else { v }.clamp(low, f64::MAX);
            let (mut means, mut quantiles) = (Vec::with_capacity(h), Vec::with_capacity(h * levels.len()));
            for k in 0..h {
                let middle = rest.mean(i)[k] + told[k];
                let sd = rest.quantile(i, k, ONE_SD).map_or(0.0, |q| q - rest.mean(i)[k]).max(0.0);
                // Far errors of logarithms would bring back means beyond reason.
                let bias = if self.log() { 0.5 * (sd * sd).min(1.0) } else { 0.0 };
                means.push(back(middle + bias));
                quantiles.extend(levels.iter().map(|l| back(rest.quantile(i, k, *l).unwrap_or(rest.mean(i)[k]) + told[k])));
            }
            out.push(s.id, s.ds(s.y.len()), &means, &quantiles)?;
        }
        Ok(out)
    }

    fn update(&mut self, run: &Run, newer: &Panel) -> Result<()> {
        let panel = self.panel.followed_by(newer)?;
        let mut rest = Vec::with_capacity(newer.len());
        for s in newer.iter() {
            let Ok(i) = panel.ids().binary_search_by(|id| id.as_str().cmp(s.id)) else { continue };
            let whole = panel.series(i);
            let from = whole.y.len() - s.y.len();
            let told = self.effects[i].told(&self.design, &panel, i, None, from..whole.y.len());
            let left = s.y.iter().zip(told).map(|(y, t)| transformed(*y, self.log()) - t).collect();
            rest.push((s.id.to_owned(), s.start, left));
        }
        self.errors.update(run, &Panel::from_series(panel.freq(), rest)?)?;
        self.panel = panel;
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        let saved = Saved {
            params: self.params.clone(),
            design: self.design.clone(),
            panel: self.panel.clone(),
            effects: self.effects.clone(),
            errors: self.errors.save()?,
        };
        serde_json::to_value(saved).map_err(unreadable)
    }
}
