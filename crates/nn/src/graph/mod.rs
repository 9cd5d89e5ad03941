//! Networks over graphs: nodes that hear their neighbours.
//!
//! ```text
//! convolution   h_i' = W Σ_j Â_ij h_j + b            Â = D̃^-½ (A + I) D̃^-½
//! sage          h_i' = W h_i + V mean_j h_j + b
//! attention     h_i' = Σ_j α_ij W h_j + b            α_ij = softmax_j leaky(a · W h_i + c · W h_j)
//!               second form                          α_ij = softmax_j a · leaky(U h_i + W h_j)
//! ```
//!
//! Convolution: Kipf and Welling, *Semi-supervised classification with graph convolutional networks*, ICLR 2017. Sage:
//! Hamilton, Ying and Leskovec, *Inductive representation learning on large graphs*, NeurIPS 2017, with the mean and with
//! its samples ([`Neighbours::sample`]). Attention: Veličković et al., *Graph attention networks*, ICLR 2018; its second
//! form: Brody, Alon and Yahav, *How attentive are graph attention networks?*, ICLR 2022.
//!
//! All stand on two operations over [`Neighbours`]: a [`sum`] of vectors by values of the edges, and a [`softmax`] of values
//! among the edges of a node. On the CPU both have ways back of their own, whose rows are worked on in parallel and give the
//! same bits for every number of threads; elsewhere they are put together from the backend's operations.

mod neighbours;
mod op;
mod pass;
#[cfg(test)]
mod tests;

pub use neighbours::{Neighbours, Sampled};

use crate::dense::Dense;
use crate::{Noise, init};
use burn::backend::Dispatch;
use burn::module::{Module, Param};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use op::GraphOps;
use rand::Rng;
use tradewind_core::{Error, ParamCheck, Result};

/// `out_i = Σ_j v_ij x_j` over whom `i` hears: `values` are `[edges, heads]`, `x` is `[columns, heads · width]`, and each head
/// goes over its part of the numbers. A node that hears nobody gets zeros.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_nn::graph::{self, Neighbours};
/// let device = Device::flex();
/// let heard = Neighbours::from_edges(2, 3, &[(0, 1, 1.0), (0, 2, 1.0)]).unwrap();
/// let x = Tensor::<2>::from_floats([[1.0], [2.0], [3.0]], &device);
/// let values = Tensor::<2>::from_floats([[10.0], [100.0]], &device);
/// let told = graph::sum(values, x, &heard).unwrap();
/// assert_eq!(tradewind_nn::values(told), [320.0, 0.0]);
/// ```
///
/// # Errors
/// Sizes that do not fit.
pub fn sum(values: Tensor<2>, x: Tensor<2>, graph: &Neighbours) -> Result<Tensor<2>> {
    let ([edges, heads], [columns, whole]) = (values.dims(), x.dims());
    let parted = heads > 0 && whole > 0 && whole.is_multiple_of(heads);
    if edges != graph.edges() || columns != graph.columns() || !parted {
        return Err(Error::Invalid(format!(
            "{} edges to {} nodes got values [{edges}, {heads}] and vectors [{columns}, {whole}]: one row of values an edge, one vector a node, whose width is a multiple of the heads",
            graph.edges(),
            graph.columns()
        )));
    }
    if crate::is_cpu(&x.device()) {
        let (values, x) = (values.into_dispatch(), x.into_dispatch());
        return Ok(Tensor::from_dispatch(<Dispatch as GraphOps>::neighbours_sum(values, x, graph.clone())));
    }
    Ok(sum_by_operations(values, x, graph))
}

/// The same from operations of the backend.
fn sum_by_operations(values: Tensor<2>, x: Tensor<2>, graph: &Neighbours) -> Tensor<2> {
    let ([edges, heads], [columns, whole], device) = (values.dims(), x.dims(), x.device());
    let none = Tensor::<3>::zeros([graph.rows(), heads, whole / heads], &device);
    if edges == 0 {
        return none.reshape([graph.rows(), whole]);
    }
    let heard = x.reshape([columns, heads, whole / heads]).select(0, ids(&graph.lists().sources, &device));
    let heard = heard * values.unsqueeze_dim(2);
    none.select_assign(0, ids(&graph.lists().targets, &device), heard, IndexingUpdateOp::Add)
        .reshape([graph.rows(), whole])
}

/// `out_i = Σ_j w_ij x_j` with the weights of the graph, of `x` `[columns, width]`.
///
/// # Errors
/// Another number of vectors than there are nodes that are heard.
pub fn propagate(x: Tensor<2>, graph: &Neighbours) -> Result<Tensor<2>> {
    let weights = TensorData::new(graph.lists().weights.clone(), [graph.edges(), 1]);
    let weights = Tensor::from_data(weights, &x.device());
    sum(weights, x, graph)
}

/// The shares of the edges of each node, `e^s_ij / Σ_k e^s_ik`: `scores` are `[edges, heads]`, each head for itself.
///
/// # Errors
/// Another number of scores than there are edges.
pub fn softmax(scores: Tensor<2>, graph: &Neighbours) -> Result<Tensor<2>> {
    let [edges, heads] = scores.dims();
    if edges != graph.edges() || heads == 0 {
        return Err(Error::Invalid(format!("{} edges got scores [{edges}, {heads}]", graph.edges())));
    }
    if crate::is_cpu(&scores.device()) {
        let told = <Dispatch as GraphOps>::neighbours_softmax(scores.into_dispatch(), graph.clone());
        return Ok(Tensor::from_dispatch(told));
    }
    Ok(softmax_by_operations(scores, graph))
}

/// The same from operations of the backend.
fn softmax_by_operations(scores: Tensor<2>, graph: &Neighbours) -> Tensor<2> {
    let ([edges, heads], device) = (scores.dims(), scores.device());
    if edges == 0 {
        return scores;
    }
    let lists = graph.lists();
    // The largest score of each node, which changes nothing but keeps the exponentials in range. Backends have no largest of
    // rows of different lengths, so it is read.
    let told = crate::values(scores.clone());
    let mut top = vec![f32::NEG_INFINITY; graph.rows() * heads];
    for (target, told) in lists.targets.iter().zip(told.chunks_exact(heads)) {
        let row = &mut top[*target as usize * heads..][..heads];
        row.iter_mut().zip(told).for_each(|(t, s)| *t = t.max(*s));
    }
    let top = lists.targets.iter().flat_map(|i| &top[*i as usize * heads..][..heads]).copied().collect();
    let top = Tensor::<2>::from_data(TensorData::new::<f32, _>(top, [edges, heads]), &device);
    let raised = (scores - top).exp();
    let targets = ids(&lists.targets, &device);
    let sums = Tensor::<2>::zeros([graph.rows(), heads], &device).select_assign(
        0,
        targets.clone(),
        raised.clone(),
        IndexingUpdateOp::Add,
    );
    raised / sums.select(0, targets)
}

fn ids(of: &[u32], device: &Device) -> Tensor<1, Int> {
    let of: Vec<i64> = of.iter().map(|v| i64::from(*v)).collect();
    let n = of.len();
    Tensor::from_data(TensorData::new(of, [n]), device)
}

/// Says that vectors do not fit a graph, where they do not.
fn fits(x: &Tensor<2>, graph: &Neighbours, input: usize) -> Result<()> {
    let [nodes, width] = x.dims();
    if nodes == graph.columns() && width == input && graph.rows() <= nodes {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a layer of {input} numbers over {} nodes that hear {} got vectors [{nodes}, {width}]; nodes that hear are the first of those heard",
        graph.rows(),
        graph.columns()
    )))
}

/// A graph convolution. It goes over the weights of the graph as they are, so it is given
/// [`normalised`](Neighbours::normalised) ones, made once.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::graph::{Convolution, Neighbours};
/// let device = Device::flex();
/// let graph = Neighbours::undirected(4, &[(0, 1), (1, 2)]).unwrap().normalised().unwrap();
/// let layer = Convolution::new(3, 5, &device, &mut Run::new(1).rng(0));
/// assert_eq!(layer.forward(Tensor::<2>::ones([4, 3], &device), &graph).unwrap().dims(), [4, 5]);
/// ```
#[derive(Module, Debug)]
pub struct Convolution {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Convolution {
    /// From `input` to `output` numbers a node; weights evenly in `±√(6 / (input + output))`, biases zero. The weight lies
    /// `[output, input]`.
    pub fn new(input: usize, output: usize, device: &Device, rng: &mut impl Rng) -> Self {
        Self {
            weight: init::even([output, input], glorot(input, output), device, rng),
            bias: Param::from_tensor(Tensor::zeros([output], device)),
        }
    }

    /// `[columns, input]` to `[rows, output]`.
    ///
    /// # Errors
    /// Vectors that do not fit the graph or the layer.
    pub fn forward(&self, x: Tensor<2>, graph: &Neighbours) -> Result<Tensor<2>> {
        let [output, input] = self.weight.dims();
        fits(&x, graph, input)?;
        if graph.rows() == 0 {
            return Ok(Tensor::zeros([0, output], &x.device()));
        }
        let weight = self.weight.val().transpose();
        // The product is the same either way; the sum goes over the narrower of the two.
        let heard = if output < input {
            propagate(x.matmul(weight), graph)?
        } else {
            propagate(x, graph)?.matmul(weight)
        };
        Ok(heard + self.bias.val().unsqueeze())
    }
}

/// A GraphSAGE layer: what a node says itself, and the mean of what it hears. The weights of the graph count as they stand to
/// each other; for plain means they are all 1, as of [`Neighbours::undirected`] and of samples from it.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::graph::{Neighbours, Sage};
/// let device = Device::flex();
/// let mut rng = Run::new(1).rng(0);
/// let graph = Neighbours::undirected(4, &[(0, 1), (1, 2), (2, 3)]).unwrap();
/// let sampled = graph.sample(&[2], &[1], &mut rng).unwrap();
/// let x = Tensor::<2>::ones([sampled.nodes.len(), 3], &device);
/// let layer = Sage::new(3, 5, &device, &mut rng);
/// assert_eq!(layer.forward(x, &sampled.layers[0]).unwrap().dims(), [1, 5]);
/// ```
#[derive(Module, Debug)]
pub struct Sage {
    own: Dense,
    heard: Param<Tensor<2>>,
}

impl Sage {
    /// From `input` to `output` numbers a node, with weights evenly between `-1/√input` and `1/√input`.
    pub fn new(input: usize, output: usize, device: &Device, rng: &mut impl Rng) -> Self {
        let end = 1.0 / (input.max(1) as f32).sqrt();
        Self {
            own: Dense::new(input, output, device, rng),
            heard: init::even([output, input], end, device, rng),
        }
    }

    /// `[columns, input]` to `[rows, output]`.
    ///
    /// # Errors
    /// As of [`Convolution::forward`].
    pub fn forward(&self, x: Tensor<2>, graph: &Neighbours) -> Result<Tensor<2>> {
        let ([output, input], rows) = (self.heard.dims(), graph.rows());
        fits(&x, graph, input)?;
        if rows == 0 {
            return Ok(Tensor::zeros([0, output], &x.device()));
        }
        let heard = propagate(x.clone(), &graph.mean())?.matmul(self.heard.val().transpose());
        Ok(self.own.forward(x.narrow(0, 0, rows)) + heard)
    }
}

/// How graph attention is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionParams {
    /// Heads, 4.
    pub heads: usize,
    /// Numbers of a head.
    pub width: usize,
    /// Whether heads stand one after the other; otherwise their mean is taken, as in a last layer.
    pub join: bool,
    /// The slope below zero of what is scored, 0.2.
    pub slope: f64,
    /// The share of edges that are left out while training, 0.
    pub dropout: f64,
    /// Whether the second form is taken, in which who is attended to most may differ from node to node.
    pub second: bool,
}

impl AttentionParams {
    /// Of heads of `width` numbers, with the defaults.
    pub fn new(width: usize) -> Self {
        Self { heads: 4, width, join: true, slope: 0.2, dropout: 0.0, second: false }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        check.require(self.heads > 0, "heads", self.heads, "at least 1");
        check.require(self.width > 0, "width", self.width, "at least 1");
        check.require((0.0..=1.0).contains(&self.slope), "slope", self.slope, "0 to 1");
        check.require((0.0..1.0).contains(&self.dropout), "dropout", self.dropout, "0 to below 1");
        check.finish()?;
        Ok(())
    }

    /// A layer that reads `input` numbers a node.
    ///
    /// # Errors
    /// As of [`AttentionParams::check`].
    pub fn init(&self, input: usize, device: &Device, rng: &mut impl Rng) -> Result<Attention> {
        self.check()?;
        let (heads, width) = (self.heads, self.width);
        let whole = heads * width;
        let said = if self.join { whole } else { width };
        let end = glorot(input, whole);
        let of_head = glorot(width, 1);
        Ok(Attention {
            weight: init::even([whole, input], end, device, rng),
            own: self.second.then(|| init::even([whole, input], end, device, rng)),
            target: init::even([heads, width], of_head, device, rng),
            source: (!self.second).then(|| init::even([heads, width], of_head, device, rng)),
            bias: Param::from_tensor(Tensor::zeros([said], device)),
            join: self.join,
            slope: self.slope,
            dropout: self.dropout,
        })
    }
}

/// Graph attention. It asks who is heard, not with what weight; for nodes that attend to themselves too, as in the paper, the
/// graph has [self loops](Neighbours::with_self_loops). A node that hears nobody says the bias.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_core::Run;
/// use tradewind_nn::{Noise, graph::{AttentionParams, Neighbours}};
/// let device = Device::flex();
/// let graph = Neighbours::undirected(3, &[(0, 1)]).unwrap().with_self_loops().unwrap();
/// let layer = AttentionParams::new(8).init(5, &device, &mut Run::new(1).rng(0)).unwrap();
/// let told = layer.forward(Tensor::<2>::ones([3, 5], &device), &graph, &mut Noise::none()).unwrap();
/// assert_eq!(told.dims(), [3, 32]);
/// ```
#[derive(Module, Debug)]
pub struct Attention {
    weight: Param<Tensor<2>>,
    own: Option<Param<Tensor<2>>>,
    target: Param<Tensor<2>>,
    source: Option<Param<Tensor<2>>>,
    bias: Param<Tensor<1>>,
    join: bool,
    slope: f64,
    dropout: f64,
}

impl Attention {
    /// `[columns, input]` to `[rows, heads · width]`, or `[rows, width]` where the mean of the heads is taken.
    ///
    /// # Errors
    /// As of [`Convolution::forward`].
    pub fn forward(&self, x: Tensor<2>, graph: &Neighbours, noise: &mut Noise) -> Result<Tensor<2>> {
        let ([whole, input], [heads, width]) = (self.weight.dims(), self.target.dims());
        fits(&x, graph, input)?;
        let (rows, columns, device) = (graph.rows(), graph.columns(), x.device());
        let [said] = self.bias.dims();
        if rows == 0 {
            return Ok(Tensor::zeros([0, said], &device));
        }
        let bias = self.bias.val().unsqueeze();
        if graph.edges() == 0 {
            return Ok(Tensor::<2>::zeros([rows, said], &device) + bias);
        }
        let heard = x.clone().matmul(self.weight.val().transpose());
        let (targets, sources) = (ids(&graph.lists().targets, &device), ids(&graph.lists().sources, &device));
        let target = self.target.val().unsqueeze::<3>();
        let parted = heard.clone().reshape([columns, heads, width]);
        let scores = match (&self.own, &self.source) {
            (Some(own), _) => {
                let own = x.narrow(0, 0, rows).matmul(own.val().transpose()).reshape([rows, heads, width]);
                let both = own.select(0, targets) + parted.select(0, sources);
                (leaky_relu(both, self.slope) * target).sum_dim(2).reshape([graph.edges(), heads])
            }
            (None, source) => {
                let own = (parted.clone().narrow(0, 0, rows) * target).sum_dim(2).reshape([rows, heads]);
                let mut scores = own.select(0, targets);
                if let Some(source) = source {
                    let other = (parted * source.val().unsqueeze::<3>()).sum_dim(2).reshape([columns, heads]);
                    scores = scores + other.select(0, sources);
                }
                leaky_relu(scores, self.slope)
            }
        };
        let shares = noise.dropout(softmax(scores, graph)?, self.dropout);
        let told = sum(shares, heard, graph)?;
        if self.join {
            return Ok(told + bias);
        }
        let mean = told.reshape([rows, heads, whole / heads]).mean_dim(1).reshape([rows, width]);
        Ok(mean + bias)
    }
}

/// The end of first weights by which what goes in and out of a layer is alike in size (Glorot and Bengio 2010).
fn glorot(input: usize, output: usize) -> f32 {
    (6.0 / (input + output).max(1) as f32).sqrt()
}
