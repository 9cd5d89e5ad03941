//! Trees as they are saved: one array for each field over all trees, little-endian and in base64. A forest of 100 trees
//! is written and read in milliseconds, and every number comes back bit for bit.

use super::{Missing, Node, Split, Tree};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The form described here. A reader of another form refuses it rather than guessing.
const VERSION: u32 = 1;

const CATEGORIES: u8 = 1;
const MISSING_LEFT: u8 = 2;
const MISSING_SHIFT: u8 = 2;

/// All trees, field by field. `sizes` has three numbers a tree: inner nodes, leaves, leaf values.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    version: u32,
    sizes: String,
    feature: String,
    /// Bit 0: a set of categories; bit 1: missing values go left; bits 2 and 3: what is missing.
    flags: String,
    /// The threshold, or for categories how many words the node has in `words`.
    threshold: String,
    words: String,
    left: String,
    right: String,
    gain: String,
    cover: String,
    leaves: String,
    leaf_cover: String,
}

pub(super) fn serialize<S: Serializer>(trees: &[Tree], serializer: S) -> Result<S::Ok, S::Error> {
    let nodes = || trees.iter().flat_map(|t| &t.nodes);
    let f64s = |values: &mut dyn Iterator<Item = f64>| pack(values.map(f64::to_le_bytes));
    let sizes = trees.iter().flat_map(|t| [t.nodes.len(), t.leaf_cover.len(), t.leaves.len()]);
    let words = nodes().flat_map(|n| match &n.split {
        Split::Below(_) => &[],
        Split::In(words) => words.as_slice(),
    });
    let packed = Packed {
        version: VERSION,
        sizes: pack(sizes.map(|n| (n as u32).to_le_bytes())),
        feature: pack(nodes().map(|n| n.feature.to_le_bytes())),
        flags: pack(nodes().map(|n| [flags(n)])),
        threshold: f64s(&mut nodes().map(|n| match &n.split {
            Split::Below(threshold) => *threshold,
            Split::In(words) => words.len() as f64,
        })),
        words: pack(words.map(|w| w.to_le_bytes())),
        left: pack(nodes().map(|n| n.left.to_le_bytes())),
        right: pack(nodes().map(|n| n.right.to_le_bytes())),
        gain: f64s(&mut nodes().map(|n| n.gain)),
        cover: f64s(&mut nodes().map(|n| n.cover)),
        leaves: f64s(&mut trees.iter().flat_map(|t| t.leaves.iter().copied())),
        leaf_cover: f64s(&mut trees.iter().flat_map(|t| t.leaf_cover.iter().copied())),
    };
    packed.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tree>, D::Error> {
    let packed = Packed::deserialize(deserializer)?;
    unpack(&packed).map_err(D::Error::custom)
}

fn flags(node: &Node) -> u8 {
    let missing = match node.missing {
        Missing::Nan => 0,
        Missing::Zero => 1,
        Missing::None => 2,
    };
    let categories = if matches!(node.split, Split::In(_)) { CATEGORIES } else { 0 };
    categories | if node.missing_left { MISSING_LEFT } else { 0 } | missing << MISSING_SHIFT
}

fn pack<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> String {
    STANDARD.encode(values.flatten().collect::<Vec<u8>>())
}

/// The numbers of one field. Memory is bounded by the text's own length.
fn numbers<T, const N: usize>(name: &str, text: &str, read: fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("the trees' `{name}` is not base64: {e}"))?;
    let (whole, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("the trees' `{name}` ends within a number"));
    }
    Ok(whole.iter().map(|b| read(*b)).collect())
}

/// Hands out a field's numbers piece by piece.
struct Reader<'a, T> {
    name: &'static str,
    rest: &'a [T],
}

impl<'a, T> Reader<'a, T> {
    fn take(&mut self, n: usize) -> Result<&'a [T], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| format!("the trees' `{}` is too short", self.name))?;
        self.rest = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), String> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(format!("the trees' `{}` is too long", self.name)),
        }
    }
}

fn unpack(packed: &Packed) -> Result<Vec<Tree>, String> {
    if packed.version != VERSION {
        return Err(format!(
            "the trees are of form {}, this release reads form {VERSION}; save the model with this release",
            packed.version
        ));
    }
    let sizes = numbers("sizes", &packed.sizes, u32::from_le_bytes)?;
    let feature = numbers("feature", &packed.feature, u32::from_le_bytes)?;
    let flags = numbers("flags", &packed.flags, |[b]: [u8; 1]| b)?;
    let threshold = numbers("threshold", &packed.threshold, f64::from_le_bytes)?;
    let words = numbers("words", &packed.words, u32::from_le_bytes)?;
    let left = numbers("left", &packed.left, i32::from_le_bytes)?;
    let right = numbers("right", &packed.right, i32::from_le_bytes)?;
    let gain = numbers("gain", &packed.gain, f64::from_le_bytes)?;
    let cover = numbers("cover", &packed.cover, f64::from_le_bytes)?;
    let leaves = numbers("leaves", &packed.leaves, f64::from_le_bytes)?;
    let leaf_cover = numbers("leaf_cover", &packed.leaf_cover, f64::from_le_bytes)?;
    let n = feature.len();
    let lengths = [flags.len(), threshold.len(), left.len(), right.len(), gain.len(), cover.len()];
    if lengths.iter().any(|l| *l != n) {
        return Err(format!("the trees' fields hold {n} and {lengths:?} nodes"));
    }
    let mut words = Reader { name: "words", rest: &words };
    let mut leaves = Reader { name: "leaves", rest: &leaves };
    let mut leaf_cover = Reader { name: "leaf_cover", rest: &leaf_cover };
    let (sizes, rest) = sizes.as_chunks::<3>();
    if !rest.is_empty() {
        return Err("the trees' `sizes` ends within a tree".into());
    }
    let mut at = 0;
    let mut trees = Vec::with_capacity(sizes.len());
    for [inner, n_leaves, n_values] in sizes {
        let end = at + *inner as usize;
        if end > n {
            return Err("the trees' `feature` is too short".into());
        }
        let mut nodes = Vec::with_capacity(end - at);
        for i in at..end {
            let missing = match flags[i] >> MISSING_SHIFT {
                0 => Missing::Nan,
                1 => Missing::Zero,
                2 => Missing::None,
                other => return Err(format!("the trees' `flags` hold {other} for what is missing")),
            };
            let split = if flags[i] & CATEGORIES == 0 {
                Split::Below(threshold[i])
            } else {
                // A negative or broken length becomes 0 or is too long.
                Split::In(words.take(threshold[i] as usize)?.to_vec())
            };
            nodes.push(Node {
                feature: feature[i],
                split,
                missing,
                missing_left: flags[i] & MISSING_LEFT != 0,
                left: left[i],
                right: right[i],
                gain: gain[i],
                cover: cover[i],
            });
        }
        at = end;
        trees.push(Tree {
            nodes,
            leaves: leaves.take(*n_values as usize)?.to_vec(),
            leaf_cover: leaf_cover.take(*n_leaves as usize)?.to_vec(),
        });
    }
    if at != n {
        return Err("the trees' `feature` is too long".into());
    }
    words.end()?;
    leaves.end()?;
    leaf_cover.end()?;
    Ok(trees)
}
