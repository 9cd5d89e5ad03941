//! XGBoost's JSON model (`doc/model.schema` and `src/tree/io_utils.h` of XGBoost).

use super::{Answer, Raw, RawImported, assemble};
use crate::matrix::CATEGORY_MAX;
use crate::tree::{Ensemble, FEATURES_MAX, Link, Missing, Node, Split, Tree};
use serde::Deserialize;

/// The most scores a row may have.
const OUTPUTS_MAX: usize = 1 << 16;

/// The most words that all sets of categories may take (512 MiB).
const WORDS_MAX: usize = 1 << 27;

#[derive(Deserialize)]
struct File {
    learner: LearnerPart,
}

#[derive(Deserialize)]
struct LearnerPart {
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: ModelParam,
    objective: Objective,
}

#[derive(Deserialize)]
struct ModelParam {
    base_score: String,
    #[serde(default)]
    num_class: Option<String>,
    num_feature: String,
    #[serde(default)]
    num_target: Option<String>,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    #[serde(default)]
    model: Option<Model>,
    #[serde(default)]
    gbtree: Option<Box<Booster>>,
    #[serde(default)]
    weight_drop: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    trees: Option<Vec<RawTree>>,
    #[serde(default)]
    tree_info: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct RawTree {
    tree_param: TreeParam,
    left_children: Vec<i32>,
    right_children: Vec<i32>,
    split_indices: Vec<u32>,
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<u8>,
    #[serde(default)]
    categories: Vec<u32>,
    #[serde(default)]
    categories_nodes: Vec<usize>,
    #[serde(default)]
    categories_segments: Vec<usize>,
    #[serde(default)]
    categories_sizes: Vec<usize>,
    #[serde(default)]
    loss_changes: Vec<f32>,
    #[serde(default)]
    sum_hessian: Vec<f32>,
}

#[derive(Deserialize)]
struct TreeParam {
    #[serde(default)]
    size_leaf_vector: Option<String>,
}

/// Older releases write `true`, newer ones 1.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Bool(true) | Self::Number(1..))
    }
}

pub(super) fn read(json: &str) -> Result<RawImported, String> {
    let file: File = serde_json::from_str(json).map_err(|fault| fault.to_string())?;
    let LearnerPart { feature_names, gradient_booster: booster, learner_model_param: param, objective } =
        file.learner;
    let (model, drop) = match booster.name.as_str() {
        "gbtree" => (booster.model, None),
        "dart" => (booster.gbtree.and_then(|inner| inner.model), booster.weight_drop),
        other => return Err(format!("gradient_booster `{other}` is not read; gbtree and dart are")),
    };
    let (trees, info) = match model {
        Some(Model { trees: Some(trees), tree_info: Some(info) }) => (trees, info),
        _ => return Err("gradient_booster has no `model` with `trees` and `tree_info`".into()),
    };
    let n_features = count("num_feature", &param.num_feature)?;
    if n_features > FEATURES_MAX {
        return Err(format!("`num_feature` is {n_features}, more than {FEATURES_MAX}"));
    }
    let optional = |name, text: &Option<String>| text.as_ref().map_or(Ok(0), |text| count(name, text));
    let classes = optional("num_class", &param.num_class)?;
    let targets = optional("num_target", &param.num_target)?;
    let k = if classes > 1 { classes } else { targets.max(1) };
    if k > OUTPUTS_MAX {
        return Err(format!("{k} scores, more than {OUTPUTS_MAX}"));
    }
    let (answer, margin) = answer(&objective.name)?;
    let base = base(&param.base_score, k)?.into_iter().map(margin).collect();
    let names = match feature_names.len() {
        0 => (0..n_features).map(|j| format!("f{j}")).collect(),
        n if n == n_features => feature_names,
        n => return Err(format!("`feature_names` has {n} names for {n_features} columns")),
    };
    if info.len() != trees.len() {
        return Err(format!("`tree_info` has {} numbers for {} trees", info.len(), trees.len()));
    }
    if let Some(t) = info.iter().position(|output| *output as usize >= k) {
        return Err(format!("`tree_info`: tree {t} adds to score {} of {k}", info[t]));
    }
    let weights = match drop {
        Some(weights) if weights.len() == trees.len() => weights,
        Some(weights) => {
            return Err(format!("`weight_drop` has {} numbers for {} trees", weights.len(), trees.len()));
        }
        None => vec![1.0; trees.len()],
    };
    let mut words = 0;
    let trees = trees.iter().zip(weights).enumerate().map(|(t, (raw, weight))| {
        let tree = tree(raw, n_features, f64::from(weight), &mut words);
        let tree = tree.map_err(|fault| format!("tree {t}: {fault}"))?;
        tree.check(n_features, 1).map_err(|fault| format!("tree {t}: {fault}"))?;
        Ok(tree)
    });
    let trees = trees.collect::<Result<_, String>>()?;
    Ok(RawImported {
        library: "XGBoost".into(),
        objective: objective.name,
        names,
        answer,
        ensemble: Ensemble { n_features, n_outputs: k, base, trees, output: info, mean: false },
    })
}

fn count(name: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{name}` is `{}`", text.chars().take(40).collect::<String>()))
}

/// One number for all scores, or a list of one for each (since XGBoost 3.1).
fn base(text: &str, k: usize) -> Result<Vec<f64>, String> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let mut values = Vec::new();
    for word in inner.split(',') {
        match word.trim().parse::<f32>() {
            Ok(value) if value.is_finite() => values.push(f64::from(value)),
            _ => return Err(format!("`base_score` holds `{}`", word.chars().take(40).collect::<String>())),
        }
    }
    match values.len() {
        1 => Ok(vec![values[0]; k]),
        n if n == k => Ok(values),
        n => Err(format!("`base_score` has {n} numbers for {k} scores")),
    }
}

/// Turns a `base_score` into a score.
type ToScore = fn(f64) -> f64;

/// How scores become answers, and `base_score` a score.
fn answer(objective: &str) -> Result<(Answer, ToScore), String> {
    let same: ToScore = |b| b;
    let log: ToScore = f64::ln;
    let logit: ToScore = |b| -(1.0 / b - 1.0).ln();
    Ok(match objective {
        "reg:squarederror"
        | "reg:linear"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "reg:expectileerror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map" => (Answer::Link(Link::Identity), same),
        "binary:logitraw" => (Answer::Link(Link::Identity), same),
        "binary:logistic" => (Answer::Link(Link::Logistic), logit),
        "reg:logistic" => (Answer::Share { slope: 1.0 }, logit),
        "binary:hinge" => (Answer::Hinge, same),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
            (Answer::Link(Link::Exp), log)
        }
        "multi:softprob" | "multi:softmax" => (Answer::Link(Link::Softmax), same),
        other => {
            let name: String = other.chars().take(40).collect();
            return Err(format!("the objective `{name}` is not known"));
        }
    })
}

fn tree(raw: &RawTree, n_features: usize, weight: f64, words: &mut usize) -> Result<Tree, String> {
    if raw.tree_param.size_leaf_vector.as_deref().is_some_and(|s| !matches!(s, "0" | "1")) {
        return Err("its leaves hold several targets, which is not read; learn with \
                    multi_strategy=one_output_per_tree"
            .into());
    }
    let n = raw.left_children.len();
    let lengths = [
        ("right_children", raw.right_children.len(), false),
        ("split_indices", raw.split_indices.len(), false),
        ("split_conditions", raw.split_conditions.len(), false),
        ("default_left", raw.default_left.len(), false),
        ("split_type", raw.split_type.len(), true),
        ("loss_changes", raw.loss_changes.len(), true),
        ("sum_hessian", raw.sum_hessian.len(), true),
    ];
    if let Some((name, got, _)) =
        lengths.iter().find(|(_, got, may_lack)| *got != n && !(*may_lack && *got == 0))
    {
        return Err(format!("`{name}` has {got} values for {n} nodes"));
    }
    let sets = raw.categories_nodes.len();
    if raw.categories_segments.len() != sets || raw.categories_sizes.len() != sets {
        return Err(
            "`categories_nodes`, `categories_segments` and `categories_sizes` differ in length".into()
        );
    }
    let mut set_of = vec![None; if sets > 0 { n } else { 0 }];
    for (set, &node) in raw.categories_nodes.iter().enumerate() {
        *set_of.get_mut(node).ok_or_else(|| format!("`categories_nodes` names node {node} of {n}"))? =
            Some(set);
    }
    assemble(n, |i| {
        let cover = raw.sum_hessian.get(i).map_or(0.0, |h| f64::from(*h));
        if raw.left_children[i] == -1 {
            return Ok(Raw::Leaf(f64::from(raw.split_conditions[i]) * weight, cover));
        }
        let child = |name: &str, child: i32| {
            usize::try_from(child).map_err(|_| format!("`{name}`: node {i} has the child {child}"))
        };
        let left = child("left_children", raw.left_children[i])?;
        let right = child("right_children", raw.right_children[i])?;
        if raw.split_indices[i] as usize >= n_features {
            return Err(format!("`split_indices`: node {i} asks about column {}", raw.split_indices[i]));
        }
        let default_left = raw.default_left[i].is_set();
        let node = |split, missing_left| Node {
            feature: raw.split_indices[i],
            split,
            missing: Missing::Nan,
            missing_left,
            left: 0,
            right: 0,
            gain: raw.loss_changes.get(i).map_or(0.0, |g| f64::from(*g)),
            cover,
        };
        if raw.split_type.get(i).is_none_or(|kind| *kind == 0) {
            let split = Split::Below(below(raw.split_conditions[i]));
            return Ok(Raw::Inner(node(split, default_left), left, right));
        }
        // The set's categories go right, all others left; ours is the other way about.
        let set = set_of.get(i).copied().flatten();
        let set = set.ok_or_else(|| format!("`categories_nodes` lacks node {i}"))?;
        let (start, size) = (raw.categories_segments[set], raw.categories_sizes[set]);
        let categories = start.checked_add(size).and_then(|end| raw.categories.get(start..end));
        let categories = categories.ok_or_else(|| format!("`categories` ends before the set of node {i}"))?;
        let split = Split::In(set_words(categories, words).map_err(|fault| format!("node {i}: {fault}"))?);
        Ok(Raw::Inner(node(split, !default_left), right, left))
    })
}

fn set_words(categories: &[u32], total: &mut usize) -> Result<Vec<u32>, String> {
    let most = categories.iter().max().map_or(0, |c| *c as usize);
    if most > CATEGORY_MAX {
        return Err(format!("`categories` holds {most}, more than {CATEGORY_MAX}"));
    }
    *total += most / 32 + 1;
    if *total > WORDS_MAX {
        return Err("`categories`: all sets together are too large".into());
    }
    let mut words = vec![0; most / 32 + 1];
    categories.iter().for_each(|c| words[*c as usize / 32] |= 1 << (c % 32));
    Ok(words)
}

/// The largest 64-bit float whose 32-bit rounding is below `t`, so that `x ≤ below(t)` is XGBoost's `(float)x < t`.
///
/// Numbers round down to the float before `t` as long as they lie before the middle of the two, and on the middle when
/// that float's last bit is even.
fn below(t: f32) -> f64 {
    if t.is_nan() || t == f32::NEG_INFINITY {
        // Nothing is below; only a number that nothing can be below does.
        return f64::NAN;
    }
    let before = t.next_down();
    if before == f32::NEG_INFINITY {
        // −∞ and what rounds to it.
        return -(f64::from(f32::MAX) + 2f64.powi(103));
    }
    // The floats' step beyond the largest one stands for infinity when rounding.
    let upper = if t == f32::INFINITY { 2f64.powi(128) } else { f64::from(t) };
    let middle = (f64::from(before) + upper) / 2.0;
    if before.to_bits() & 1 == 0 { middle } else { middle.next_down() }
}

#[cfg(test)]
mod tests {
    use super::below;
    use proptest::prelude::*;

    fn check(t: f32) {
        let limit = below(t);
        if limit.is_nan() {
            return;
        }
        let near = [f64::from(t), f64::from(t.next_down()), f64::from(t.next_up()), limit];
        for v in near.into_iter().flat_map(|v| [v, v.next_up(), v.next_down()]) {
            assert_eq!(v <= limit, (v as f32) < t, "{v:e} at {t:e}");
        }
    }

    #[test]
    fn odd_thresholds_part_the_numbers_as_floats_do() {
        let odd = [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, -1e-45, f32::MAX, f32::MIN, f32::INFINITY, 1.0, -1.0];
        odd.into_iter().for_each(check);
    }

    proptest! {
        #[test]
        fn thresholds_part_the_numbers_as_floats_do(t in any::<f32>()) {
            check(t);
        }
    }
}
