//! Networks over graphs: values and gradients as PyTorch has them (the script is tests/reference/graph.py), odd graphs,
//! samples, and what is learnt.

use rand::RngExt;
use serde::Deserialize;
use std::collections::BTreeMap;
use tradewind_core::{Result, Run};
use tradewind_nn::burn;
use tradewind_nn::burn::module::Module;
use tradewind_nn::burn::tensor::activation::relu;
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::graph::{self, AttentionParams, Convolution, Neighbours, Sage};
use tradewind_nn::optimise::{Collected, OptimiserParams};
use tradewind_nn::train::{Task, TrainParams, train};
use tradewind_nn::{Noise, Weights, losses};

#[derive(Deserialize)]
struct Reference {
    pairs: Vec<(u32, u32)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    x: Vec<f32>,
    told: Vec<f32>,
    outer: Vec<f32>,
    d_x: Vec<f32>,
    weights: BTreeMap<String, Vec<f32>>,
    d_weights: BTreeMap<String, Vec<f32>>,
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{what} {k}: {a} and {b}");
    }
}

fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// A layer with the weights of a case tells what it tells, with its gradients.
fn check<M: Module>(case: &Case, layer: M, forward: impl Fn(&M, Tensor<2>) -> Result<Tensor<2>>) {
    let device = Device::flex().autodiff();
    let mut weights = Weights::of(&layer);
    let paths: Vec<String> = weights.paths().map(str::to_owned).collect();
    assert_eq!(paths.len(), case.weights.len(), "{}: {paths:?}", case.name);
    paths.iter().for_each(|path| weights.set(path, case.weights[path].clone()).unwrap());
    let layer = weights.put_into(layer).unwrap();
    let x = tensor(&case.x, [7, 3], &device).require_grad();
    let told = forward(&layer, x.clone()).unwrap();
    near(&case.name, &tradewind_nn::values(told.clone()), &case.told);
    let outer = tensor(&case.outer, told.dims(), &device);
    let slopes = (told * outer).sum().backward();
    near(&case.name, &tradewind_nn::values(x.grad(&slopes).unwrap()), &case.d_x);
    let slopes = Collected::of(&layer, slopes);
    for path in &paths {
        near(&format!("{}, {path}", case.name), slopes.get(path).unwrap(), &case.d_weights[path]);
    }
}

#[test]
fn layers_over_graphs_are_those_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("../reference/graph.json")).unwrap();
    assert_eq!(reference.cases.len(), 6);
    let device = Device::flex().autodiff();
    let rng = &mut Run::new(1).rng(0);
    let graph = Neighbours::undirected(7, &reference.pairs).unwrap();
    let with_self = graph.with_self_loops().unwrap();
    for case in &reference.cases {
        let params = AttentionParams { heads: 2, ..AttentionParams::new(3) };
        match case.name.as_str() {
            "convolution" => {
                let graph = graph.normalised().unwrap();
                check(case, Convolution::new(3, 4, &device, rng), |layer, x| layer.forward(x, &graph));
            }
            "sage" => check(case, Sage::new(3, 4, &device, rng), |layer, x| layer.forward(x, &graph)),
            name => {
                let params = AttentionParams {
                    join: name != "attention_mean",
                    second: name == "attention_second",
                    ..params
                };
                let over = if name == "attention_alone" { &graph } else { &with_self };
                check(case, params.init(3, &device, rng).unwrap(), |layer, x| {
                    layer.forward(x, over, &mut Noise::none())
                });
            }
        }
    }
}

#[test]
fn graphs_without_edges_and_without_nodes_are_borne() {
    let device = Device::flex().autodiff();
    let rng = &mut Run::new(1).rng(0);
    let (convolution, sage) = (Convolution::new(3, 4, &device, rng), Sage::new(3, 4, &device, rng));
    let attention = AttentionParams { dropout: 0.5, ..AttentionParams::new(2) };
    let attention = attention.init(3, &device, rng).unwrap();
    for nodes in [5, 0] {
        let graph = Neighbours::undirected(nodes, &[]).unwrap();
        let x = Tensor::<2>::ones([nodes, 3], &device).require_grad();
        let told = [
            convolution.forward(x.clone(), &graph.normalised().unwrap()).unwrap(),
            convolution.forward(x.clone(), &graph).unwrap(),
            sage.forward(x.clone(), &graph).unwrap(),
            attention.forward(x.clone(), &graph, &mut Noise::of(Run::new(1).rng(1))).unwrap(),
        ];
        for told in told {
            assert_eq!(told.dims()[0], nodes);
            if nodes > 0 {
                let (values, slopes) = (tradewind_nn::values(told.clone()), told.sum().backward());
                assert!(values.iter().all(|v| v.is_finite()));
                let of_x = x.grad(&slopes).map(tradewind_nn::values).unwrap_or_default();
                assert!(of_x.iter().all(|v| v.is_finite()));
            }
        }
        assert_eq!(graph.sample(&[], &[3, 3], rng).unwrap().nodes, [0_u32; 0]);
    }
}

#[test]
fn what_is_no_graph_is_told() {
    let told = |e: Result<Neighbours>| e.unwrap_err().to_string();
    assert!(told(Neighbours::new(2, vec![0, 1], vec![0, 1], vec![1.0; 2])).contains("number of edges, 2"));
    assert!(told(Neighbours::new(2, vec![], vec![], vec![])).contains("None"));
    assert!(told(Neighbours::new(2, vec![0, 2, 1, 2], vec![0, 1], vec![1.0; 2])).contains("row 1"));
    assert!(told(Neighbours::new(2, vec![0, 9, 2], vec![0, 1], vec![1.0; 2])).contains("row 0"));
    assert!(told(Neighbours::new(2, vec![0, 2], vec![1, 1], vec![1.0; 2])).contains("ascend"));
    assert!(told(Neighbours::new(2, vec![0, 1], vec![2], vec![1.0])).contains("names node 2"));
    assert!(told(Neighbours::new(2, vec![0, 1], vec![1], vec![])).contains("0 weights"));
    assert!(told(Neighbours::new(2, vec![0, 1], vec![1], vec![f32::NAN])).contains("NaN"));
    assert!(told(Neighbours::from_edges(2, 3, &[(2, 0, 1.0)])).contains("node 2"));
    let oblong = Neighbours::from_edges(2, 3, &[(0, 2, 1.0)]).unwrap();
    assert!(told(oblong.with_self_loops()).contains("2 nodes hear 3"));
    let graph = Neighbours::undirected(4, &[(0, 1)]).unwrap();
    let rng = &mut Run::new(1).rng(0);
    assert!(graph.sample(&[0, 4], &[1], rng).unwrap_err().to_string().contains("node 4"));
    assert!(graph.sample(&[1, 1], &[1], rng).unwrap_err().to_string().contains("twice"));
    assert!(oblong.sample(&[1], &[1], rng).is_err());
    let device = Device::flex();
    let layer = Convolution::new(3, 4, &device, rng);
    let told = layer.forward(Tensor::ones([5, 3], &device), &graph).unwrap_err().to_string();
    assert!(told.contains("[5, 3]"), "{told}");
    assert!(graph::sum(Tensor::ones([1, 1], &device), Tensor::ones([4, 3], &device), &graph).is_err());
    assert!(graph::sum(Tensor::ones([2, 2], &device), Tensor::ones([4, 3], &device), &graph).is_err());
    assert!(graph::softmax(Tensor::ones([1, 1], &device), &graph).is_err());
    let bad = AttentionParams { heads: 0, dropout: 1.0, ..AttentionParams::new(0) };
    let told = bad.check().unwrap_err().to_string();
    assert!(told.contains("heads") && told.contains("width") && told.contains("dropout"), "{told}");
}

#[test]
fn samples_come_from_the_graph_and_from_the_seed() {
    let mut rng = Run::new(2).rng(0);
    let pairs: Vec<(u32, u32)> =
        (0..2000).map(|_| (rng.random_range(0..300), rng.random_range(0..300))).collect();
    let graph = Neighbours::undirected(300, &pairs).unwrap();
    let asked: Vec<u32> = (0..40).map(|k| k * 7).collect();
    let of = |seed| graph.sample(&asked, &[5, 3], &mut Run::new(seed).rng(0)).unwrap();
    let sampled = of(1);
    assert_eq!(sampled, of(1));
    assert_ne!(sampled, of(2));
    assert_eq!(sampled.nodes[..40], asked);
    let mut distinct = sampled.nodes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), sampled.nodes.len());
    assert_eq!(sampled.layers.iter().map(Neighbours::rows).next_back(), Some(40));
    assert_eq!(sampled.layers[1].columns(), sampled.layers[0].rows());
    assert_eq!(sampled.layers[0].columns(), sampled.nodes.len());
    for (layer, most) in sampled.layers.iter().zip([3, 5]) {
        for row in 0..layer.rows() {
            let (all, (own, _)) = (graph.of(sampled.nodes[row] as usize).0, layer.of(row));
            assert_eq!(own.len(), all.len().min(most));
            assert!(own.iter().all(|j| all.contains(&sampled.nodes[*j as usize])));
        }
    }
    // With all neighbours, what a network says of a few nodes is what it says of them among all.
    let device = Device::flex();
    let x: Vec<f32> = (0..300 * 4).map(|_| rng.random_range(-1.0..1.0)).collect();
    let layers = [Sage::new(4, 6, &device, &mut rng), Sage::new(6, 2, &device, &mut rng)];
    let mut all = tensor(&x, [300, 4], &device);
    let sampled = graph.sample(&asked, &[0, 0], &mut rng).unwrap();
    let few: Vec<f32> = sampled.nodes.iter().flat_map(|i| x[*i as usize * 4..][..4].to_vec()).collect();
    let mut few = tensor(&few, [sampled.nodes.len(), 4], &device);
    for (layer, heard) in layers.iter().zip(&sampled.layers) {
        (all, few) = (relu(layer.forward(all, &graph).unwrap()), relu(layer.forward(few, heard).unwrap()));
    }
    let all = tradewind_nn::values(all);
    let all: Vec<f32> = asked.iter().flat_map(|i| all[*i as usize * 2..][..2].to_vec()).collect();
    near("a sample of all", &tradewind_nn::values(few), &all);
}

/// Three groups, whose nodes hear each other more than others.
struct Communities {
    graph: Neighbours,
    x: Vec<f32>,
    of: Vec<i64>,
    known: Vec<usize>,
    hidden: Vec<usize>,
}

const GROUPS: usize = 3;
const NODES: usize = 450;

/// Numbers of a node tell its group no better than one time in two; so does a single neighbour, but not all of them.
fn communities() -> Communities {
    let mut rng = Run::new(8).rng(0);
    let of: Vec<i64> = (0..NODES).map(|i| (i % GROUPS) as i64).collect();
    let mut pairs = Vec::new();
    for a in 0..NODES {
        for b in 0..a {
            let chance = if of[a] == of[b] { 0.06 } else { 0.01 };
            if rng.random_bool(chance) {
                pairs.push((a as u32, b as u32));
            }
        }
    }
    let mut x = vec![0.0_f32; NODES * GROUPS];
    for (i, row) in x.chunks_exact_mut(GROUPS).enumerate() {
        row.iter_mut().for_each(|v| *v = rng.random_range(-1.0..1.0));
        row[of[i] as usize] += 0.35;
    }
    let (known, hidden) = (0..NODES).partition(|i| (i / GROUPS).is_multiple_of(3));
    Communities { graph: Neighbours::undirected(NODES, &pairs).unwrap(), x, of, known, hidden }
}

#[derive(Module, Debug)]
struct Two {
    first: Convolution,
    last: Convolution,
}

impl Two {
    fn forward(&self, x: Tensor<2>, graph: &Neighbours, noise: &mut Noise) -> Result<Tensor<2>> {
        let x = noise.dropout(relu(self.first.forward(x, graph)?), 0.3);
        self.last.forward(x, graph)
    }
}

struct Telling<'a>(&'a Communities, Neighbours);

impl Task for Telling<'_> {
    type Network = Two;

    fn rows(&self) -> usize {
        self.0.known.len()
    }

    fn loss(&self, network: &Two, rows: &[usize], noise: &mut Noise) -> Result<Tensor<1>> {
        let device = Device::flex().autodiff();
        let told = network.forward(tensor(&self.0.x, [NODES, GROUPS], &device), &self.1, noise)?;
        let of = |values: Vec<i64>| {
            let n = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [n]), &device)
        };
        let nodes: Vec<usize> = rows.iter().map(|r| self.0.known[*r]).collect();
        let told = told.select(0, of(nodes.iter().map(|i| *i as i64).collect()));
        Ok(losses::cross_entropy(told, of(nodes.iter().map(|i| self.0.of[*i]).collect()), 0.0))
    }

    fn validate(&self, _: &Two) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// The share of hidden nodes whose group is told, by a network that goes over `graph`, and the values it tells.
fn told(threads: usize, data: &Communities, graph: Neighbours) -> (f64, Vec<f32>) {
    let run = Run::new(4).with_threads(threads);
    let device = Device::flex().autodiff();
    let rng = &mut run.rng(0);
    let network = Two {
        first: Convolution::new(GROUPS, 16, &device, rng),
        last: Convolution::new(16, GROUPS, &device, rng),
    };
    let task = Telling(data, graph);
    let params = TrainParams {
        epochs: 60,
        batch: NODES,
        optimiser: OptimiserParams { rate: 0.02, decay: 0.01, ..OptimiserParams::default() },
        ..TrainParams::default()
    };
    let values = run.install(|| {
        let trained = train(&run, &task, network, &params, None, &mut |_| Ok(true)).unwrap();
        let x = tensor(&data.x, [NODES, GROUPS], &Device::flex());
        tradewind_nn::values(trained.network.valid().forward(x, &task.1, &mut Noise::none()).unwrap())
    });
    let right = data.hidden.iter().filter(|i| {
        let row = &values[**i * GROUPS..][..GROUPS];
        let best = (0..GROUPS).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        best == Some(data.of[**i] as usize)
    });
    (right.count() as f64 / data.hidden.len() as f64, values)
}

#[test]
fn two_layers_learn_communities_beyond_what_features_tell() {
    let data = communities();
    let (with_graph, values) = told(1, &data, data.graph.normalised().unwrap());
    // The same network where each node hears itself alone.
    let alone = Neighbours::undirected(NODES, &[]).unwrap().normalised().unwrap();
    let (alone, _) = told(1, &data, alone);
    assert!(alone < 0.65, "numbers alone tell {alone}");
    assert!(with_graph > 0.75 && with_graph > alone + 0.2, "{with_graph} with the graph, {alone} without");
    assert_eq!(values, told(3, &data, data.graph.normalised().unwrap()).1, "threads change the bits");
}
