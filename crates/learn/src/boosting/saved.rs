//! The saved form: one JSON object; the arrays of all trees lie in base64 of little-endian bytes, so that they come
//! back bit for bit and quickly.

use super::{Boosting, FittedBoosting};
use crate::learner::Task;
use crate::tree::{Ensemble, Link, Missing, Node, Split, Tree};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result};

/// The version written.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    format: u32,
    params: Boosting,
    task: Task,
    link: Link,
    crossing_sorted: bool,
    names: Vec<String>,
    categories: Vec<bool>,
    n_outputs: usize,
    base: Vec<f64>,
    trees: String,
}

impl From<FittedBoosting> for Saved {
    fn from(f: FittedBoosting) -> Self {
        let e = &f.ensemble;
        let mut out = Vec::new();
        let word = |out: &mut Vec<u8>, v: u32| out.extend(v.to_le_bytes());
        let number = |out: &mut Vec<u8>, v: f64| out.extend(v.to_le_bytes());
        for (t, tree) in e.trees.iter().enumerate() {
            word(&mut out, tree.n_leaves() as u32);
            word(&mut out, e.output.get(t).copied().unwrap_or(0));
            for node in &tree.nodes {
                word(&mut out, node.feature);
                word(&mut out, node.left as u32);
                word(&mut out, node.right as u32);
                word(&mut out, u32::from(node.missing_left));
                number(&mut out, node.gain);
                number(&mut out, node.cover);
                match &node.split {
                    Split::Below(threshold) => {
                        word(&mut out, u32::MAX);
                        number(&mut out, *threshold);
                    }
                    Split::In(words) => {
                        word(&mut out, words.len() as u32);
                        words.iter().for_each(|w| word(&mut out, *w));
                    }
                }
            }
            tree.leaves.iter().chain(&tree.leaf_cover).for_each(|v| number(&mut out, *v));
        }
        Self {
            format: FORMAT,
            trees: STANDARD.encode(&out),
            n_outputs: e.n_outputs,
            base: e.base.clone(),
            params: f.params,
            task: f.task,
            link: f.link,
            crossing_sorted: f.sorts,
            names: f.names,
            categories: f.categories,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn word(&mut self) -> Result<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>().ok_or_else(broken)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*head))
    }

    fn number(&mut self) -> Result<f64> {
        let (head, rest) = self.0.split_first_chunk::<8>().ok_or_else(broken)?;
        self.0 = rest;
        let v = f64::from_le_bytes(*head);
        if v.is_finite() { Ok(v) } else { Err(broken()) }
    }
}

fn broken() -> Error {
    Error::Invalid("the saved boosting model is cut off or damaged".into())
}

impl TryFrom<Saved> for FittedBoosting {
    type Error = Error;
    fn try_from(s: Saved) -> Result<Self> {
        if s.format != FORMAT {
            return Err(Error::Invalid(format!(
                "a boosting model of format {} cannot be read; this version reads format {FORMAT}",
                s.format
            )));
        }
        let bytes = STANDARD.decode(&s.trees).map_err(|_| broken())?;
        let mut from = Reader(&bytes);
        let (mut trees, mut output) = (Vec::new(), Vec::new());
        while !from.0.is_empty() {
            let n = from.word()? as usize;
            output.push(from.word()?);
            if n == 0 || n > from.0.len() {
                return Err(broken());
            }
            let mut nodes = Vec::with_capacity(n - 1);
            for _ in 1..n {
                let feature = from.word()?;
                let (left, right) = (from.word()? as i32, from.word()? as i32);
                let missing_left = from.word()? == 1;
                let (gain, cover) = (from.number()?, from.number()?);
                let split = match from.word()? {
                    u32::MAX => Split::Below(from.number()?),
                    n if n as usize > from.0.len() => return Err(broken()),
                    n => Split::In((0..n).map(|_| from.word()).collect::<Result<_>>()?),
                };
                nodes.push(Node {
                    feature,
                    split,
                    missing: Missing::Nan,
                    missing_left,
                    left,
                    right,
                    gain,
                    cover,
                });
            }
            let leaves = (0..n).map(|_| from.number()).collect::<Result<_>>()?;
            let leaf_cover = (0..n).map(|_| from.number()).collect::<Result<_>>()?;
            trees.push(Tree { nodes, leaves, leaf_cover });
        }
        let n_features = s.names.len();
        let ensemble =
            Ensemble { n_features, n_outputs: s.n_outputs, base: s.base, trees, output, mean: false };
        if ensemble.trees.is_empty() && ensemble.n_outputs == 0 || s.categories.len() != n_features {
            return Err(broken());
        }
        ensemble.check()?;
        Ok(Self {
            params: s.params,
            task: s.task,
            link: s.link,
            sorts: s.crossing_sorted,
            names: s.names,
            categories: s.categories,
            ensemble,
        })
    }
}
