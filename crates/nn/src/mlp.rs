//! Multilayer perceptrons over rows of a table: numbers, and words of fields.
//!
//! ```text
//! words of fields ─→ vectors ─┐
//! numbers ────────────────────┴─→ [ dense ─→ (normalised) ─→ activation ─→ dropout ] × layers ─→ dense ─→ scores
//! ```
//!
//! What the numbers are is up to the caller; networks learn best from numbers of mean 0 and deviation 1. [`piecewise`] is an
//! encoding of a number that lets the first layer bend at given edges.
//!
//! [`Mlp`] is what is trained. [`Frozen`] has the same weights as plain numbers and answers row by row: the bits of a row's
//! scores do not depend on which rows are asked about with it, nor on the number of threads, which products of whole
//! batches do not promise.
//!
//! Rumelhart, Hinton and Williams, *Learning representations by back-propagating errors*, Nature 1986; Gorishniy et al.,
//! *Revisiting deep learning models for tabular data*, NeurIPS 2021 (what of it pays on tables).

use crate::dense::{Dense, Fixed};
use crate::transformer::rows::{Norm, norm_in_place};
use crate::transformer::{Activation, LayerNorm};
use crate::weights::Taking;
use crate::{Noise, Weights, init};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// Rows that a thread takes at a time.
const ROWS_AT_A_TIME: usize = 64;

/// How large a network is.
///
/// ```
/// use burn::tensor::Device;
/// use tradewind_core::Run;
/// use tradewind_nn::{Noise, mlp::MlpParams};
/// // Two numbers, a field of four words with vectors of three numbers, and two scores.
/// let params = MlpParams { words: vec![(4, 3)], ..MlpParams::new(2, 2) };
/// let network = params.init(&Device::flex(), &mut Run::new(1).rng(0)).unwrap();
/// let (numbers, codes) = ([0.5, -1.0, 2.0, 0.0], [0, 3]);
/// let scores = network.forward(&numbers, &codes, &mut Noise::none()).unwrap();
/// assert_eq!(scores.dims(), [2, 2]);
/// assert_eq!(network.frozen().unwrap().scores(&numbers, &codes).unwrap().len(), 4);
/// assert!(network.forward(&numbers, &[0, 4], &mut Noise::none()).unwrap_err().to_string().contains("field 0"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlpParams {
    /// Numbers of a row.
    pub numbers: usize,
    /// Words of each field, and numbers of a word's vector.
    pub words: Vec<(usize, usize)>,
    /// Widths of the hidden layers, 256 and 256.
    pub hidden: Vec<usize>,
    /// Scores of a row.
    pub outputs: usize,
    /// What a hidden layer does to each number, `max(x, 0)`.
    pub activation: Activation,
    /// Whether rows are normalised before it (Ba, Kiros and Hinton 2016).
    pub norm: bool,
    /// The share of a hidden layer's numbers that is left out while training, 0.1.
    pub dropout: f64,
}

impl MlpParams {
    /// For rows of so many numbers and no words, with the defaults.
    pub fn new(numbers: usize, outputs: usize) -> Self {
        Self {
            numbers,
            words: vec![],
            hidden: vec![256, 256],
            outputs,
            activation: Activation::Relu,
            norm: false,
            dropout: 0.1,
        }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let inputs = self.inputs();
        check.require(inputs > 0, "numbers", inputs, "at least one number or word");
        let vectors = self.words.iter().all(|(n, width)| *n > 0 && *width > 0);
        check.require(vectors, "words", format!("{:?}", self.words), "at least 1 word with 1 number");
        check.require(!self.hidden.contains(&0), "hidden", 0, "at least 1 in each layer");
        check.require(self.outputs > 0, "outputs", self.outputs, "at least 1");
        check.require((0.0..1.0).contains(&self.dropout), "dropout", self.dropout, "0 to below 1");
        check.finish()
    }

    /// Numbers that the first layer reads.
    fn inputs(&self) -> usize {
        self.words.iter().fold(self.numbers, |n, (_, width)| n.saturating_add(*width))
    }

    /// A network with first weights. Vectors of words begin with deviation `1 / √width`, as if they were numbers of
    /// deviation 1 shared among their width; the last layer begins with zeros, so every score begins at 0.
    ///
    /// # Errors
    /// As of [`MlpParams::check`].
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Result<Mlp> {
        self.check()?;
        let vectors = self
            .words
            .iter()
            .map(|(n, width)| init::normal([*n, *width], 1.0 / (*width as f32).sqrt(), device, rng))
            .collect();
        let mut from = self.inputs();
        let mut layers = Vec::with_capacity(self.hidden.len());
        for to in &self.hidden {
            // Deviation √(2 / inputs) keeps the size of numbers through rectifiers (He et al. 2015).
            let weight = init::normal([*to, from], (2.0 / from as f32).sqrt(), device, rng);
            let bias = Param::from_tensor(Tensor::zeros([*to], device));
            layers.push(Layer {
                dense: Dense::of(weight, bias),
                norm: self.norm.then(|| LayerNorm::new(*to, device)),
            });
            from = *to;
        }
        let last = Dense::zero(from, self.outputs, device);
        Ok(Mlp { vectors, layers, last, params: self.clone() })
    }

    /// Checks that rows have all their numbers and words that are known. Gives the number of rows.
    fn rows(&self, numbers: &[f32], codes: &[usize]) -> Result<usize> {
        let fields = self.words.len();
        let rows = match self.numbers {
            0 => codes.len() / fields.max(1),
            n => numbers.len() / n,
        };
        if numbers.len() != rows * self.numbers || codes.len() != rows * fields {
            return Err(Error::Invalid(format!(
                "the network reads {} numbers and {fields} words a row; {} numbers and {} words are not whole rows",
                self.numbers,
                numbers.len(),
                codes.len()
            )));
        }
        let unknown = codes.iter().enumerate().find(|(i, code)| **code >= self.words[i % fields].0);
        if let Some((i, code)) = unknown {
            return Err(Error::Invalid(format!(
                "row {} has word {code} in field {}, which has {}",
                i / fields,
                i % fields,
                self.words[i % fields].0
            )));
        }
        Ok(rows)
    }
}

#[derive(Module, Debug)]
struct Layer {
    dense: Dense,
    norm: Option<LayerNorm>,
}

/// A network of this kind; see the [module](self).
#[derive(Module, Debug)]
pub struct Mlp {
    vectors: Vec<Param<Tensor<2>>>,
    layers: Vec<Layer>,
    last: Dense,
    #[module(skip)]
    params: MlpParams,
}

impl Mlp {
    /// Scores `[rows, outputs]` from the numbers and the words of all rows, row by row. A network without numbers and
    /// words has no rows to tell.
    ///
    /// # Errors
    /// Words that a field does not have, rows that are not whole.
    pub fn forward(&self, numbers: &[f32], codes: &[usize], noise: &mut Noise) -> Result<Tensor<2>> {
        let params = &self.params;
        let rows = params.rows(numbers, codes)?;
        let device = self.last.device().without_autodiff();
        if rows == 0 {
            return Ok(Tensor::zeros([0, params.outputs], &device));
        }
        let fields = params.words.len();
        let mut parts = Vec::with_capacity(fields + 1);
        if params.numbers > 0 {
            let numbers = TensorData::new(numbers.to_vec(), [rows, params.numbers]);
            parts.push(Tensor::<2>::from_data(numbers, &device));
        }
        for (field, vectors) in self.vectors.iter().enumerate() {
            let places: Vec<i64> = codes.iter().skip(field).step_by(fields).map(|c| *c as i64).collect();
            let places = Tensor::<1, Int>::from_data(TensorData::new(places, [rows]), &device);
            parts.push(vectors.val().select(0, places));
        }
        let mut x = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 1) };
        for layer in &self.layers {
            x = layer.dense.forward(x);
            if let Some(norm) = &layer.norm {
                x = norm.forward(x);
            }
            x = noise.dropout(params.activation.of(x), params.dropout);
        }
        Ok(self.last.forward(x))
    }

    /// The same weights as plain numbers.
    ///
    /// # Errors
    /// None for a network of [`MlpParams::init`].
    pub fn frozen(&self) -> Result<Frozen> {
        Frozen::of(&self.params, &Weights::of(self))
    }
}

#[derive(Clone, Debug, PartialEq)]
struct FrozenLayer {
    dense: Fixed,
    /// Scale and shift.
    norm: Option<(Vec<f32>, Vec<f32>)>,
}

/// A trained [`Mlp`] that answers row by row; see the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    params: MlpParams,
    vectors: Vec<Vec<f32>>,
    layers: Vec<FrozenLayer>,
    last: Fixed,
}

impl Frozen {
    /// From the weights of a network of that form.
    ///
    /// # Errors
    /// Weights that are missing, left over or of another number; parameters out of range.
    pub fn of(params: &MlpParams, weights: &Weights) -> Result<Self> {
        params.check()?;
        let mut of = Taking::new(weights);
        let mut vectors = Vec::with_capacity(params.words.len());
        for (field, (n, width)) in params.words.iter().enumerate() {
            vectors.push(of.take(&format!("vectors.{field}"), n * width)?);
        }
        let mut from = params.inputs();
        let mut layers = Vec::with_capacity(params.hidden.len());
        for (k, to) in params.hidden.iter().enumerate() {
            layers.push(FrozenLayer {
                dense: of.dense(&format!("layers.{k}.dense"), from, *to)?,
                norm: match params.norm {
                    true => Some((
                        of.take(&format!("layers.{k}.norm.weight"), *to)?,
                        of.take(&format!("layers.{k}.norm.bias"), *to)?,
                    )),
                    false => None,
                },
            });
            from = *to;
        }
        let last = of.dense("last", from, params.outputs)?;
        of.finish()?;
        Ok(Self { params: params.clone(), vectors, layers, last })
    }

    /// Scores of all rows, `outputs` a row, from their numbers and words, row by row.
    ///
    /// # Errors
    /// Words that a field does not have, rows that are not whole.
    pub fn scores(&self, numbers: &[f32], codes: &[usize]) -> Result<Vec<f32>> {
        let rows = self.params.rows(numbers, codes)?;
        let (n, fields, outputs) = (self.params.numbers, self.params.words.len(), self.params.outputs);
        let mut out = vec![0.0; rows * outputs];
        out.par_chunks_mut(ROWS_AT_A_TIME * outputs).enumerate().for_each(|(part, out)| {
            let first = part * ROWS_AT_A_TIME;
            let last = first + out.len() / outputs;
            out.copy_from_slice(
                &self.part(&numbers[first * n..last * n], &codes[first * fields..last * fields]),
            );
        });
        Ok(out)
    }

    /// Scores of a few rows, of which there is at least one.
    fn part(&self, numbers: &[f32], codes: &[usize]) -> Vec<f32> {
        let (n, fields, inputs) = (self.params.numbers, self.params.words.len(), self.params.inputs());
        let rows = numbers.len().checked_div(n).unwrap_or_else(|| codes.len() / fields.max(1));
        let mut x = Vec::with_capacity(rows * inputs);
        for row in 0..rows {
            x.extend(&numbers[row * n..(row + 1) * n]);
            for (field, code) in codes[row * fields..(row + 1) * fields].iter().enumerate() {
                let width = self.params.words[field].1;
                x.extend(&self.vectors[field][code * width..(code + 1) * width]);
            }
        }
        for layer in &self.layers {
            let mut told = layer.dense.forward(&x, rows);
            if let Some((scale, shift)) = &layer.norm {
                norm_in_place(&mut told, Norm { scale, shift });
            }
            x.resize(told.len(), 0.0);
            self.params.activation.forward(&mut x, &told);
        }
        self.last.forward(&x, rows)
    }
}

/// The piecewise linear encoding of a number (Gorishniy, Rubachev and Babenko, *On embeddings for numerical features in
/// tabular deep learning*, NeurIPS 2022): for ascending `edges` `b_0 < b_1 < … < b_T` the `T` numbers
/// `min(max((x - b_{t-1}) / (b_t - b_{t-1}), 0), 1)`, appended to `out`. Beyond the outer edges the encoding stays as it is at
/// them, where the paper goes on in a straight line: a value far from all that was learnt from must not throw the answer.
/// NaN gives zeros.
///
/// ```
/// let mut out = vec![];
/// tradewind_nn::mlp::piecewise(2.5, &[0.0, 1.0, 3.0, 4.0], &mut out);
/// assert_eq!(out, [1.0, 0.75, 0.0]);
/// ```
pub fn piecewise(x: f64, edges: &[f64], out: &mut Vec<f32>) {
    out.extend(edges.windows(2).map(|edge| {
        let share = (x - edge[0]) / (edge[1] - edge[0]);
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) as f32 }
    }));
}
