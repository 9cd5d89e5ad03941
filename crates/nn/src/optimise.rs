//! Optimisers: what a step makes of gradients.
//!
//! Values, gradients and moments of a parameter go through the processor once a step; states are kept by the parameter's
//! path in the network (`layers.0.weight_ih`), so a training goes on after it was saved and read.

use crate::vector::vectorised;
use crate::weights::Place;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tradewind_core::{Error, ParamCheck, Result};

/// Values that are worked on at once.
const PART: usize = 16_384;

/// How a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "optimiser")]
pub enum Method {
    /// Down the gradient, with momentum if it is above zero: `v = μ v + g`, `w = w - η v`; Nesterov's takes `g + μ v`.
    Sgd {
        /// `μ`, 0 to below 1.
        momentum: f64,
        /// Whether the step looks ahead (Nesterov 1983, in the form of Sutskever et al. 2013).
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015); what decays the weights is added to the gradient.
    Adam {
        /// Memory of the gradient, 0.9.
        beta1: f64,
        /// Memory of its square, 0.999.
        beta2: f64,
    },
    /// Adam whose weights decay apart from the gradient (Loshchilov and Hutter 2019).
    AdamW {
        /// Memory of the gradient, 0.9.
        beta1: f64,
        /// Memory of its square, 0.999.
        beta2: f64,
    },
}

/// What is added to the root of the second moment.
const EPSILON: f32 = 1e-8;

/// An optimiser as it is asked for.
///
/// ```
/// use tradewind_nn::optimise::{Method, OptimiserParams};
/// let params = OptimiserParams { decay: 0.01, ..OptimiserParams::default() };
/// assert_eq!(params.method, Method::AdamW { beta1: 0.9, beta2: 0.999 });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimiserParams {
    /// How a step is taken, AdamW.
    pub method: Method,
    /// The rate `η`, 0.001.
    pub rate: f64,
    /// Decay of weights (not of biases, nor of what scales a normalisation), 0.
    pub decay: f64,
    /// The norm of all gradients together is brought down to this; none: it is left.
    pub clip: Option<f64>,
    /// Rates of parts of a network by the beginning of their paths (`layers.1`, not half a name), as factors: 0 freezes. The
    /// longest beginning counts.
    pub rates: Vec<(String, f64)>,
}

impl Default for OptimiserParams {
    fn default() -> Self {
        let method = Method::AdamW { beta1: 0.9, beta2: 0.999 };
        Self { method, rate: 1e-3, decay: 0.0, clip: Some(1.0), rates: vec![] }
    }
}

impl OptimiserParams {
    pub(crate) fn check(&self, check: &mut ParamCheck) {
        let share = |v: f64| (0.0..1.0).contains(&v);
        match self.method {
            Method::Sgd { momentum, .. } => {
                check.require(share(momentum), "momentum", momentum, "0 to below 1");
            }
            Method::Adam { beta1, beta2 } | Method::AdamW { beta1, beta2 } => {
                // In single precision, in which moments are kept.
                let share = |v: f64| share(v) && (v as f32) < 1.0;
                check.require(share(beta1), "beta1", beta1, "0 to below 1");
                check.require(share(beta2), "beta2", beta2, "0 to below 1");
            }
        }
        check.require(self.rate > 0.0 && self.rate.is_finite(), "rate", self.rate, "above 0");
        check.require(self.decay >= 0.0 && self.decay.is_finite(), "decay", self.decay, "at least 0");
        check.require(self.clip.is_none_or(|c| c > 0.0), "clip", self.clip.unwrap_or_default(), "above 0");
        for (path, rate) in &self.rates {
            check.require(*rate >= 0.0 && rate.is_finite(), "rates", format!("{path}: {rate}"), "at least 0");
        }
    }
}

/// The gradients of a network by the paths of its parameters.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    of: Vec<(String, Vec<f32>)>,
}

struct Collecting<'a> {
    place: Place,
    gradients: &'a mut Gradients,
    out: Collected,
}

impl ModuleVisitor for Collecting<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            self.out.of.push((self.place.path(), crate::values(gradient)));
        }
    }
}

impl Collected {
    /// Those of a network.
    pub fn of<M: Module>(network: &M, mut gradients: Gradients) -> Self {
        let mut collecting =
            Collecting { place: Place::default(), gradients: &mut gradients, out: Self::default() };
        network.visit(&mut collecting);
        collecting.out
    }

    /// Adds others, of the same network.
    pub fn add(&mut self, other: Self) {
        if self.of.is_empty() {
            *self = other;
            return;
        }
        for (path, values) in other.of {
            match self.of.iter_mut().find(|(p, _)| *p == path) {
                Some((_, sum)) => sum.iter_mut().zip(&values).for_each(|(s, v)| *s += v),
                None => self.of.push((path, values)),
            }
        }
    }

    /// Multiplies all.
    pub fn scale(&mut self, by: f32) {
        self.of.iter_mut().flat_map(|(_, values)| values).for_each(|v| *v *= by);
    }

    /// The Euclidean norm of all together.
    pub fn norm(&self) -> f64 {
        let squares = self.of.iter().map(|(_, values)| {
            // Parts are summed in their order, so threads change nothing.
            let parts: Vec<f64> = values
                .par_chunks(PART)
                .map(|part| part.iter().map(|v| f64::from(*v) * f64::from(*v)).sum())
                .collect();
            parts.iter().sum::<f64>()
        });
        squares.sum::<f64>().sqrt()
    }

    /// By path.
    pub fn get(&self, path: &str) -> Option<&[f32]> {
        self.of.iter().find(|(p, _)| p == path).map(|(_, values)| &values[..])
    }
}

/// First and second moment of a parameter.
#[derive(Clone, Debug, Default, PartialEq)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// An optimiser at work.
#[derive(Clone, Debug)]
pub struct Optimiser {
    params: OptimiserParams,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

impl Optimiser {
    /// Before the first step.
    ///
    /// # Errors
    /// Parameters out of range.
    pub fn new(params: OptimiserParams) -> Result<Self> {
        let mut check = ParamCheck::new();
        params.check(&mut check);
        check.finish()?;
        Ok(Self { params, steps: 0, moments: BTreeMap::new() })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes a step with `share` of the rate. Gives the network and the norm of the gradients before they were clipped.
    ///
    /// # Errors
    /// Gradients that are not finite.
    pub fn step<M: Module>(&mut self, network: M, mut gradients: Collected, share: f64) -> Result<(M, f64)> {
        let norm = gradients.norm();
        if !norm.is_finite() {
            return Err(Error::NotConverged {
                what: "training (the gradients are not finite: take a smaller rate, or look for NaN in the data)".to_owned(),
                iterations: self.steps as usize,
            });
        }
        if let Some(clip) = self.params.clip
            && norm > clip
        {
            gradients.scale((clip / norm) as f32);
        }
        self.steps += 1;
        let by_path: BTreeMap<String, Vec<f32>> = gradients.of.into_iter().collect();
        let mut stepping = Stepping { place: Place::default(), gradients: by_path, optimiser: self, share };
        Ok((network.map(&mut stepping), norm))
    }

    fn rate_of(&self, path: &str) -> f64 {
        let longest = self
            .params
            .rates
            .iter()
            .filter(|(begin, _)| {
                let rest = path.strip_prefix(begin.as_str());
                rest.is_some_and(|rest| {
                    begin.is_empty() || begin.ends_with('.') || rest.is_empty() || rest.starts_with('.')
                })
            })
            .max_by_key(|(begin, _)| begin.len());
        longest.map_or(1.0, |(_, rate)| *rate)
    }

    fn update(&mut self, path: &str, dimensions: usize, values: &mut [f32], gradient: &[f32], share: f64) {
        let rate = (self.params.rate * share * self.rate_of(path)) as f32;
        if rate == 0.0 {
            return;
        }
        // Biases and what scales a normalisation have one dimension, and are no cause of overfitting.
        let decay = if dimensions > 1 { self.params.decay as f32 } else { 0.0 };
        let moments = self.moments.entry(path.to_owned()).or_default();
        match self.params.method {
            Method::Sgd { momentum, nesterov } => {
                let momentum = momentum as f32;
                moments.first.resize(values.len(), 0.0);
                let parts = values.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
                parts.zip(moments.first.par_chunks_mut(PART)).for_each(|((w, g), m)| {
                    vectorised!({
                        for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
                            let g = g + decay * *w;
                            *m = momentum * *m + g;
                            *w -= rate * if nesterov { g + momentum * *m } else { *m };
                        }
                    });
                });
            }
            Method::Adam { beta1, beta2 } | Method::AdamW { beta1, beta2 } => {
                let apart = matches!(self.params.method, Method::AdamW { .. });
                moments.first.resize(values.len(), 0.0);
                moments.second.resize(values.len(), 0.0);
                let n = self.steps.min(i32::MAX as u64) as i32;
                let (up1, up2) = (1.0 / (1.0 - beta1.powi(n)), 1.0 / (1.0 - beta2.powi(n)));
                let (b1, b2, up1, up2) = (beta1 as f32, beta2 as f32, up1 as f32, up2 as f32);
                let parts = values.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
                let moments = moments.first.par_chunks_mut(PART).zip(moments.second.par_chunks_mut(PART));
                parts.zip(moments).for_each(|((w, g), (m, v))| {
                    vectorised!({
                        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                            let g = if apart { *g } else { g + decay * *w };
                            *m = b1 * *m + (1.0 - b1) * g;
                            *v = b2 * *v + (1.0 - b2) * g * g;
                            if apart {
                                *w -= rate * decay * *w;
                            }
                            *w -= rate * (*m * up1) / ((*v * up2).sqrt() + EPSILON);
                        }
                    });
                });
            }
        }
    }

    /// The states by name, for a checkpoint: `first.<path>`, `second.<path>`.
    pub(crate) fn states(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.moments.iter().flat_map(|(path, m)| {
            [(format!("first.{path}"), &m.first[..]), (format!("second.{path}"), &m.second[..])]
        })
    }

    /// Goes on from states of a checkpoint.
    pub(crate) fn resume(&mut self, steps: u64, states: impl Iterator<Item = (String, Vec<f32>)>) {
        self.steps = steps;
        self.moments.clear();
        for (name, values) in states {
            if let Some(path) = name.strip_prefix("first.") {
                self.moments.entry(path.to_owned()).or_default().first = values;
            } else if let Some(path) = name.strip_prefix("second.") {
                self.moments.entry(path.to_owned()).or_default().second = values;
            }
        }
    }
}

struct Stepping<'a> {
    place: Place,
    gradients: BTreeMap<String, Vec<f32>>,
    optimiser: &'a mut Optimiser,
    share: f64,
}

impl ModuleMapper for Stepping<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.place.path();
        let Some(gradient) = self.gradients.remove(&path) else { return param };
        param.map(|tensor| {
            let device = tensor.device();
            let shape = tensor.shape();
            let mut values = crate::values(tensor.inner());
            self.optimiser.update(&path, D, &mut values, &gradient, self.share);
            let new = Tensor::from_data(TensorData::new(values, shape), &device);
            new.require_grad()
        })
    }
}
