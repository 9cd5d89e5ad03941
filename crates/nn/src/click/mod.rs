//! Networks that tell a click from fields of categories: an ad, a page, a visitor, an hour.
//!
//! Each field has one word in a row, each word a vector `v` and a weight `w`; beside them stand numbers `z`, if there are any.
//!
//! ```text
//! score = b + Σ w_i + zᵀ a                                       always
//!       + Σ_{i<j} v_i · v_j                                      FM, DeepFM
//!       + MLP([v_1 … v_f, z])                                    DNN, DeepFM, DCN-v2
//!       + cᵀ x_L,   x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l        DCN-v2, with x_0 = [v_1 … v_f, z]
//!       + MLP(filters over the fields, z)                        CNN
//! ```
//!
//! FM: Rendle, *Factorization machines*, ICDM 2010. DNN: Covington et al., RecSys 2016. DeepFM: Guo et al., IJCAI 2017. DCN-v2:
//! Wang et al., WWW 2021, with its low rank. CNN: Liu et al., *A convolutional click prediction model*, CIKM 2015.
//!
//! The score is the logarithm of the odds; [`losses::bce`](crate::losses::bce) is what to train it by.

mod frozen;

pub use frozen::Frozen;

use crate::convolution::Causal;
use crate::dense::Dense;
use crate::{Noise, init};
use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// Fields that a filter sees.
const KERNEL: usize = 3;
/// Layers of filters.
const FILTERS: usize = 2;
/// Deviation of first vectors: small, so that the weights of words are learnt before what words do together.
const DEVIATION: f32 = 0.01;

/// What is made of the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Pairs of fields.
    Fm,
    /// Dense layers.
    Dnn,
    /// Both.
    DeepFm,
    /// Dense layers, and layers that cross.
    DcnV2,
    /// Filters over neighbouring fields, then dense layers.
    Cnn,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fm, Self::Dnn, Self::DeepFm, Self::DcnV2, Self::Cnn];
}

/// How large a network is.
///
/// ```
/// use burn::tensor::Device;
/// use tradewind_core::Run;
/// use tradewind_nn::{Noise, click::{Architecture, ClickParams}};
/// // Two fields of four and three words, no numbers.
/// let params = ClickParams::new(Architecture::DeepFm, vec![4, 3]);
/// let network = params.init(&Device::flex(), &mut Run::new(1).rng(0)).unwrap();
/// let scores = network.forward(&[0, 2, 3, 1], None, &mut Noise::none()).unwrap();
/// assert_eq!(scores.dims(), [2, 1]);
/// assert!(network.forward(&[0, 3], None, &mut Noise::none()).unwrap_err().to_string().contains("field 1"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClickParams {
    /// What is made of the vectors.
    pub architecture: Architecture,
    /// Words of each field.
    pub words: Vec<usize>,
    /// Numbers beside the fields, 0.
    pub numbers: usize,
    /// Numbers of a word's vector, 10.
    pub width: usize,
    /// Widths of the dense layers, 200 and 100.
    pub hidden: Vec<usize>,
    /// Layers that cross, 3.
    pub crosses: usize,
    /// Rank of what crosses; 0: full.
    pub rank: usize,
    /// The share of the dense layers' numbers that is left out while training, 0.3.
    pub dropout: f64,
    /// The share of the vectors' numbers that is left out while training, 0.
    pub vector_dropout: f64,
}

impl ClickParams {
    /// For fields of so many words, with the defaults.
    pub fn new(architecture: Architecture, words: Vec<usize>) -> Self {
        Self {
            architecture,
            words,
            numbers: 0,
            width: 10,
            hidden: vec![200, 100],
            crosses: 3,
            rank: 0,
            dropout: 0.3,
            vector_dropout: 0.0,
        }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let mut check = ParamCheck::new();
        let fields = self.words.len();
        check.require(fields + self.numbers > 0, "words", fields, "at least one field or number");
        check.require(!self.words.contains(&0), "words", 0, "at least 1 in each field");
        check.require(self.width > 0, "width", self.width, "at least 1");
        check.require(!self.hidden.contains(&0), "hidden", 0, "at least 1 in each layer");
        check.require(share(self.dropout), "dropout", self.dropout, "0 to below 1");
        check.require(share(self.vector_dropout), "vector_dropout", self.vector_dropout, "0 to below 1");
        check.finish()?;
        Ok(())
    }

    /// Numbers that dense layers read of a row.
    fn whole(&self) -> usize {
        self.words.len() * self.width + self.numbers
    }

    /// Where the words of each field begin among all.
    fn starts(&self) -> Vec<usize> {
        let starts = self.words.iter().scan(0, |at, n| {
            let start = *at;
            *at += n;
            Some(start)
        });
        starts.collect()
    }

    /// A network with first weights. The score of every row is near 0.
    ///
    /// # Errors
    /// As of [`ClickParams::check`].
    pub fn init(&self, device: &Device, rng: &mut impl Rng) -> Result<Click> {
        self.check()?;
        let (whole, starts) = (self.whole(), self.starts());
        let architecture = self.architecture;
        let total = self.words.iter().sum::<usize>().max(1);
        let deep = architecture != Architecture::Fm;
        let crosses = if architecture == Architecture::DcnV2 { self.crosses } else { 0 };
        let filters = if architecture == Architecture::Cnn { FILTERS } else { 0 };
        Ok(Click {
            vectors: init::normal([total, self.width], DEVIATION, device, rng),
            weights: Param::from_tensor(Tensor::zeros([total, 1], device)),
            bias: Param::from_tensor(Tensor::zeros([1], device)),
            straight: (self.numbers > 0).then(|| Dense::zero(self.numbers, 1, device)),
            filters: (0..filters)
                .map(|_| Causal::new(self.width, self.width, KERNEL, 1, device, rng))
                .collect(),
            deep: deep.then(|| Layers::new(whole, &self.hidden, self.dropout, device, rng)),
            crosses: (0..crosses).map(|_| Cross::new(whole, self.rank, device, rng)).collect(),
            crossed: (crosses > 0).then(|| Dense::new(whole, 1, device, rng)),
            pairs: matches!(architecture, Architecture::Fm | Architecture::DeepFm),
            starts,
            words: self.words.clone(),
            numbers: self.numbers,
            vector_dropout: self.vector_dropout,
        })
    }
}

/// A network of this kind; see the [module](self).
#[derive(Module, Debug)]
pub struct Click {
    vectors: Param<Tensor<2>>,
    weights: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    straight: Option<Dense>,
    filters: Vec<Causal>,
    deep: Option<Layers>,
    crosses: Vec<Cross>,
    crossed: Option<Dense>,
    pairs: bool,
    starts: Vec<usize>,
    words: Vec<usize>,
    numbers: usize,
    vector_dropout: f64,
}

impl Click {
    /// Scores `[rows, 1]` from the words of all fields, row by row, and the numbers `[rows, numbers]`.
    ///
    /// # Errors
    /// Words that a field does not have, rows that are not whole, numbers missing or too many.
    pub fn forward(
        &self,
        codes: &[usize],
        numbers: Option<Tensor<2>>,
        noise: &mut Noise,
    ) -> Result<Tensor<2>> {
        let (fields, device) = (self.words.len(), self.vectors.device().without_autodiff());
        let rows = match &numbers {
            Some(z) => z.dims()[0],
            None => codes.len() / fields.max(1),
        };
        let given = numbers.as_ref().map_or(0, |z| z.dims()[1]);
        if codes.len() != rows * fields || given != self.numbers {
            return Err(Error::Invalid(format!(
                "the network reads {fields} words and {} numbers a row; {} words and {given} numbers were given for {rows} rows",
                self.numbers,
                codes.len(),
            )));
        }
        check_codes(codes, &self.words)?;
        let places: Vec<i64> =
            codes.iter().enumerate().map(|(i, code)| (self.starts[i % fields] + code) as i64).collect();
        if rows == 0 {
            return Ok(Tensor::zeros([0, 1], &device));
        }
        let mut score = Tensor::<2>::zeros([rows, 1], &device) + self.bias.val().unsqueeze();
        if let (Some(straight), Some(z)) = (&self.straight, &numbers) {
            score = score + straight.forward(z.clone());
        }
        let mut parts = Vec::new();
        if fields > 0 {
            let places = Tensor::<1, Int>::from_data(TensorData::new(places, [rows * fields]), &device);
            let weights = self.weights.val().select(0, places.clone());
            score = score + weights.reshape([rows, fields]).sum_dim(1);
            let width = self.vectors.dims()[1];
            let vectors = self.vectors.val().select(0, places).reshape([rows, fields, width]);
            let vectors = noise.dropout(vectors, self.vector_dropout);
            if self.pairs {
                score = score + pairs(vectors.clone());
            }
            let vectors = self.filters.iter().fold(vectors, |v, filter| relu(filter.forward(v)));
            parts.push(vectors.reshape([rows, fields * width]));
        }
        parts.extend(numbers);
        if let (Some(deep), false) = (&self.deep, parts.is_empty()) {
            let whole = Tensor::cat(parts, 1);
            if let Some(crossed) = &self.crossed {
                let last = self.crosses.iter().fold(whole.clone(), |x, c| c.forward(whole.clone(), x));
                score = score + crossed.forward(last);
            }
            score = score + deep.forward(whole, noise);
        }
        Ok(score)
    }

    /// The same weights where nothing is differentiated.
    pub fn plain(&self) -> Self {
        self.valid()
    }
}

/// Words that their field does not have are told.
fn check_codes(codes: &[usize], words: &[usize]) -> Result<()> {
    let fields = words.len().max(1);
    match codes.iter().enumerate().find(|(i, code)| **code >= words[i % fields]) {
        Some((i, code)) => Err(Error::Invalid(format!(
            "row {} has word {code} in field {}, which has {}",
            i / fields,
            i % fields,
            words[i % fields]
        ))),
        None => Ok(()),
    }
}

/// `Σ_{i<j} v_i · v_j` of `[rows, fields, width]`, by half the difference of the square of the sum and the sum of squares.
pub fn pairs(vectors: Tensor<3>) -> Tensor<2> {
    let [rows, _, width] = vectors.dims();
    let sum = vectors.clone().sum_dim(1);
    let squares = (vectors.clone() * vectors).sum_dim(1);
    ((sum.clone() * sum - squares) * 0.5).reshape([rows, width]).sum_dim(1)
}

/// Dense layers with rectifiers and dropout between them, and one number at the end.
#[derive(Module, Debug)]
struct Layers {
    inner: Vec<Dense>,
    last: Dense,
    dropout: f64,
}

impl Layers {
    fn new(input: usize, hidden: &[usize], dropout: f64, device: &Device, rng: &mut impl Rng) -> Self {
        let mut from = input;
        let mut inner = Vec::with_capacity(hidden.len());
        for to in hidden {
            inner.push(Dense::new(from, *to, device, rng));
            from = *to;
        }
        Self { inner, last: Dense::new(from, 1, device, rng), dropout }
    }

    fn forward(&self, x: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let x = self.inner.iter().fold(x, |x, layer| noise.dropout(relu(layer.forward(x)), self.dropout));
        self.last.forward(x)
    }
}

/// A layer that crosses: `x_0 ⊙ (W x + b) + x`, with `W = U V` where its rank is low.
#[derive(Module, Debug)]
pub struct Cross {
    down: Option<Param<Tensor<2>>>,
    up: Dense,
}

impl Cross {
    /// Of `width` numbers; a `rank` of 0 or not below the width is full.
    pub fn new(width: usize, rank: usize, device: &Device, rng: &mut impl Rng) -> Self {
        if rank == 0 || rank >= width {
            return Self { down: None, up: Dense::new(width, width, device, rng) };
        }
        let end = 1.0 / (width as f32).sqrt();
        Self {
            down: Some(init::even([rank, width], end, device, rng)),
            up: Dense::new(rank, width, device, rng),
        }
    }

    /// `[rows, width]` twice, to the same.
    pub fn forward(&self, first: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        let inner = match &self.down {
            Some(down) => x.clone().matmul(down.val().transpose()),
            None => x.clone(),
        };
        first * self.up.forward(inner) + x
    }
}
