//! Who hears whom: sparse rows of neighbours, their normalisations, and samples of them.

use rand::Rng;
use rand::seq::index;
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_core::{Error, Result};

/// Which nodes each node hears, and with what weight: a sparse matrix of `rows` by `columns`, row after row.
///
/// Where all nodes hear each other it is square; in a [sample](Neighbours::sample) the rows are the first of the columns.
/// Clones share the lists.
///
/// ```
/// use tradewind_nn::graph::Neighbours;
/// // 0 — 1 — 2, and 3 alone.
/// let graph = Neighbours::undirected(4, &[(0, 1), (1, 2)]).unwrap();
/// assert_eq!(graph.of(1).0, [0, 2]);
/// assert_eq!(graph.normalised().unwrap().of(3), (&[3_u32][..], &[1.0_f32][..]));
/// assert!(Neighbours::undirected(2, &[(0, 5)]).unwrap_err().to_string().contains("node 5"));
/// ```
///
/// Invariant: starts go from 0 to the number of edges without falling; the columns of a row ascend, each below `columns`;
/// weights are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours(Arc<Lists>);

/// The lists, there and back.
#[derive(Debug, PartialEq)]
pub(super) struct Lists {
    pub(super) columns: usize,
    /// Where the edges of each row begin, and the number of all behind.
    pub(super) starts: Vec<usize>,
    /// The column and the row of every edge.
    pub(super) sources: Vec<u32>,
    pub(super) targets: Vec<u32>,
    pub(super) weights: Vec<f32>,
    /// The edges by column, in the order of their rows.
    pub(super) back_starts: Vec<usize>,
    pub(super) back: Vec<u32>,
}

impl Lists {
    pub(super) fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(columns: usize, starts: Vec<usize>, sources: Vec<u32>, weights: Vec<f32>) -> Self {
        let mut targets = Vec::with_capacity(sources.len());
        for (row, ends) in starts.windows(2).enumerate() {
            targets.extend(std::iter::repeat_n(row as u32, ends[1] - ends[0]));
        }
        let mut back_starts = vec![0; columns + 1];
        sources.iter().for_each(|j| back_starts[*j as usize + 1] += 1);
        (0..columns).for_each(|j| back_starts[j + 1] += back_starts[j]);
        let (mut next, mut back) = (back_starts.clone(), vec![0; sources.len()]);
        for (edge, j) in sources.iter().enumerate() {
            back[next[*j as usize]] = edge as u32;
            next[*j as usize] += 1;
        }
        Self { columns, starts, sources, targets, weights, back_starts, back }
    }
}

/// What some nodes hear, layer by layer: see [`Neighbours::sample`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The nodes whose vectors the first layer reads, those asked for first.
    pub nodes: Vec<u32>,
    /// For each layer, in the order in which they are gone through. The columns of one are the rows of the one before it,
    /// and the rows of the last are the nodes asked for.
    pub layers: Vec<Neighbours>,
}

impl Neighbours {
    /// From rows as they lie: `starts` has one number more than there are rows, `sources` and `weights` one for each edge.
    ///
    /// # Errors
    /// Starts that fall or do not end at the number of edges; columns that do not ascend in their row or are not below
    /// `columns`; weights that are not finite or not as many; more nodes or edges than 32 bits count.
    pub fn new(columns: usize, starts: Vec<usize>, sources: Vec<u32>, weights: Vec<f32>) -> Result<Self> {
        let invalid = |told: String| Err(Error::Invalid(told));
        let n = sources.len();
        if columns.max(starts.len()).max(n) > u32::MAX as usize {
            return invalid(format!(
                "a graph of {columns} nodes and {n} edges: at most {} are counted",
                u32::MAX
            ));
        }
        if starts.first() != Some(&0) || starts.last() != Some(&n) {
            return invalid(format!(
                "the starts of rows go from 0 to the number of edges, {n}; here from {:?} to {:?}",
                starts.first(),
                starts.last()
            ));
        }
        if weights.len() != n {
            return invalid(format!("{n} edges have {} weights", weights.len()));
        }
        for (row, ends) in starts.windows(2).enumerate() {
            if ends[0] > ends[1] || ends[1] > n {
                return invalid(format!("row {row} begins at edge {} and ends at {}", ends[0], ends[1]));
            }
            let own = &sources[ends[0]..ends[1]];
            if let Some(pair) = own.windows(2).find(|pair| pair[0] >= pair[1]) {
                return invalid(format!(
                    "row {row} has column {} before {}: columns of a row ascend, each once",
                    pair[0], pair[1]
                ));
            }
            if let Some(last) = own.last().filter(|j| **j as usize >= columns) {
                return invalid(format!("row {row} names node {last}, and there are {columns}"));
            }
        }
        if let Some(edge) = weights.iter().position(|w| !w.is_finite()) {
            return invalid(format!("edge {edge} has the weight {}", weights[edge]));
        }
        Ok(Self(Arc::new(Lists::of(columns, starts, sources, weights))))
    }

    /// From edges in any order, each as who hears, who is heard and the weight. Weights of an edge that comes again are
    /// added.
    ///
    /// # Errors
    /// Nodes that there are not; weights that are not finite.
    pub fn from_edges(rows: usize, columns: usize, edges: &[(u32, u32, f32)]) -> Result<Self> {
        if let Some((i, j, _)) = edges.iter().find(|e| e.0 as usize >= rows || e.1 as usize >= columns) {
            let (node, n) = if *i as usize >= rows { (i, rows) } else { (j, columns) };
            return Err(Error::Invalid(format!(
                "an edge from {j} to {i} names node {node}, and there are {n}"
            )));
        }
        let mut edges = edges.to_vec();
        // By weight too, so that sums do not hang on the order in which edges come.
        edges.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        edges.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 += next.2;
            }
            same
        });
        let mut starts = vec![0; rows + 1];
        edges.iter().for_each(|e| starts[e.0 as usize + 1] += 1);
        (0..rows).for_each(|i| starts[i + 1] += starts[i]);
        let sources = edges.iter().map(|e| e.1).collect();
        Self::new(columns, starts, sources, edges.iter().map(|e| e.2).collect())
    }

    /// From pairs of nodes that hear each other, all with the weight 1; a pair that comes again, or the other way round,
    /// counts once.
    ///
    /// # Errors
    /// Nodes that there are not.
    pub fn undirected(nodes: usize, pairs: &[(u32, u32)]) -> Result<Self> {
        let mut both: Vec<(u32, u32)> = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
        both.sort_unstable();
        both.dedup();
        let edges: Vec<(u32, u32, f32)> = both.into_iter().map(|(i, j)| (i, j, 1.0)).collect();
        Self::from_edges(nodes, nodes, &edges)
    }

    /// Nodes that hear.
    pub fn rows(&self) -> usize {
        self.0.rows()
    }

    /// Nodes that may be heard.
    pub fn columns(&self) -> usize {
        self.0.columns
    }

    /// Pairs of a node that hears and one that it hears.
    pub fn edges(&self) -> usize {
        self.0.sources.len()
    }

    /// Whom a node hears and how much. Panics, as a slice would, when there is no such node.
    pub fn of(&self, row: usize) -> (&[u32], &[f32]) {
        let edges = self.0.starts[row]..self.0.starts[row + 1];
        (&self.0.sources[edges.clone()], &self.0.weights[edges])
    }

    pub(super) fn lists(&self) -> &Lists {
        &self.0
    }

    fn weighted(&self, weights: Vec<f32>) -> Self {
        let Lists { columns, starts, sources, targets, back_starts, back, .. } = &*self.0;
        Self(Arc::new(Lists {
            columns: *columns,
            starts: starts.clone(),
            sources: sources.clone(),
            targets: targets.clone(),
            weights,
            back_starts: back_starts.clone(),
            back: back.clone(),
        }))
    }

    /// `A + I`: every node hears itself too, by 1 more than before.
    ///
    /// # Errors
    /// Other nodes that hear than that are heard.
    pub fn with_self_loops(&self) -> Result<Self> {
        let n = self.rows();
        if n != self.columns() {
            return Err(Error::Invalid(format!(
                "{n} nodes hear {}: only where they are the same can each hear itself",
                self.columns()
            )));
        }
        let (mut starts, mut sources) = (vec![0], Vec::with_capacity(self.edges() + n));
        let mut weights = Vec::with_capacity(self.edges() + n);
        for row in 0..n {
            let (own, by) = self.of(row);
            let at = own.partition_point(|j| (*j as usize) < row);
            let there = own.get(at).is_some_and(|j| *j as usize == row);
            sources.extend(&own[..at]);
            weights.extend(&by[..at]);
            sources.push(row as u32);
            weights.push(1.0 + if there { by[at] } else { 0.0 });
            sources.extend(&own[at + usize::from(there)..]);
            weights.extend(&by[at + usize::from(there)..]);
            starts.push(sources.len());
        }
        Self::new(n, starts, sources, weights)
    }

    /// `D^-½ A D^-½`: each weight over the root of the sums of its row and its column; 0 where a sum is not above 0.
    pub fn symmetric(&self) -> Self {
        let lists = &*self.0;
        let (mut of_rows, mut of_columns) = (vec![0.0_f64; self.rows()], vec![0.0_f64; self.columns()]);
        for ((i, j), w) in lists.targets.iter().zip(&lists.sources).zip(&lists.weights) {
            of_rows[*i as usize] += f64::from(*w);
            of_columns[*j as usize] += f64::from(*w);
        }
        let over = |sum: f64| if sum > 0.0 { 1.0 / sum.sqrt() } else { 0.0 };
        let edges = lists.targets.iter().zip(&lists.sources).zip(&lists.weights);
        let weights = edges
            .map(|((i, j), w)| {
                (f64::from(*w) * over(of_rows[*i as usize]) * over(of_columns[*j as usize])) as f32
            })
            .collect();
        self.weighted(weights)
    }

    /// `D̃^-½ (A + I) D̃^-½`, what a graph convolution goes over (Kipf and Welling 2017).
    ///
    /// # Errors
    /// As of [`Neighbours::with_self_loops`].
    pub fn normalised(&self) -> Result<Self> {
        Ok(self.with_self_loops()?.symmetric())
    }

    /// Each weight over the sum of its row: what a node hears becomes a mean. 0 where the sum is not above 0.
    pub fn mean(&self) -> Self {
        let mut weights = Vec::with_capacity(self.edges());
        for row in 0..self.rows() {
            let by = self.of(row).1;
            let sum: f64 = by.iter().map(|w| f64::from(*w)).sum();
            weights.extend(by.iter().map(|w| if sum > 0.0 { (f64::from(*w) / sum) as f32 } else { 0.0 }));
        }
        self.weighted(weights)
    }

    /// What these nodes hear through as many layers as there are fan-outs, at most so many neighbours of each node in a
    /// layer (0: all), drawn evenly without repetition (Hamilton et al. 2017). The first fan-out is that of the nodes asked
    /// for, the last layer of the network.
    ///
    /// The same nodes, fan-outs and state of the generator give the same sample.
    ///
    /// ```
    /// use tradewind_core::Run;
    /// use tradewind_nn::graph::Neighbours;
    /// let ring: Vec<(u32, u32)> = (0..100).map(|i| (i, (i + 1) % 100)).collect();
    /// let graph = Neighbours::undirected(100, &ring).unwrap();
    /// let sampled = graph.sample(&[7, 50], &[1, 0], &mut Run::new(1).rng(0)).unwrap();
    /// let [first, last] = &sampled.layers[..] else { panic!("two layers") };
    /// assert_eq!((last.rows(), last.edges()), (2, 2));
    /// assert_eq!((first.rows(), first.columns()), (last.columns(), sampled.nodes.len()));
    /// assert_eq!(sampled.nodes[..2], [7, 50]);
    /// ```
    ///
    /// # Errors
    /// A graph that is not square; nodes that there are not, or that are asked for twice.
    pub fn sample(&self, of: &[u32], fan_outs: &[usize], rng: &mut impl Rng) -> Result<Sampled> {
        let n = self.rows();
        if n != self.columns() {
            return Err(Error::Invalid(format!(
                "{n} nodes hear {}: a sample needs the same",
                self.columns()
            )));
        }
        let mut nodes = Vec::with_capacity(of.len());
        let mut places: HashMap<u32, u32> = HashMap::with_capacity(of.len());
        for node in of {
            if *node as usize >= n {
                return Err(Error::Invalid(format!("node {node} is asked for, and there are {n}")));
            }
            if places.insert(*node, nodes.len() as u32).is_some() {
                return Err(Error::Invalid(format!("node {node} is asked for twice: name each once")));
            }
            nodes.push(*node);
        }
        let mut layers = Vec::with_capacity(fan_outs.len());
        for most in fan_outs {
            let rows = nodes.len();
            let mut edges = Vec::new();
            for row in 0..rows {
                let (own, by) = self.of(nodes[row] as usize);
                let mut take = |k: usize| {
                    let place = *places.entry(own[k]).or_insert_with(|| {
                        nodes.push(own[k]);
                        nodes.len() as u32 - 1
                    });
                    edges.push((row as u32, place, by[k]));
                };
                if *most == 0 || own.len() <= *most {
                    (0..own.len()).for_each(&mut take);
                } else {
                    let mut drawn = index::sample(rng, own.len(), *most).into_vec();
                    drawn.sort_unstable();
                    drawn.into_iter().for_each(&mut take);
                }
            }
            layers.push(Self::from_edges(rows, nodes.len(), &edges)?);
        }
        layers.reverse();
        Ok(Sampled { nodes, layers })
    }
}
