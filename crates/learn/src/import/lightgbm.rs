//! LightGBM's text model.
//!
//! A head of `key=value` lines, one block of them for each tree after a line `Tree=…`, and `end of trees`. What follows
//! (importances, parameters) is not needed. Its reader is `src/boosting/gbdt_model_text.cpp` and `src/io/tree.cpp`.

use super::{Answer, Raw, RawImported, assemble};
use crate::tree::{Ensemble, FEATURES_MAX, Link, Missing, Node, Split, Tree};
use std::collections::HashMap;
use std::str::FromStr;

/// The most scores a row may have.
const OUTPUTS_MAX: usize = 1 << 16;

/// The bits of `decision_type`.
const CATEGORIES: u8 = 1;
const DEFAULT_LEFT: u8 = 2;

/// Some `key=value` lines that belong together.
#[derive(Default)]
struct Block<'a> {
    /// The line on which it begins, from 1.
    line: usize,
    fields: HashMap<&'a str, (usize, &'a str)>,
}

impl<'a> Block<'a> {
    fn text(&self, key: &str) -> Result<&'a str, String> {
        match self.fields.get(key) {
            Some((_, value)) => Ok(value),
            None => Err(format!("line {}: the part that begins here has no `{key}`", self.line)),
        }
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, String> {
        let text = self.text(key)?;
        text.trim().parse().map_err(|_| format!("line {}: `{key}` is {}", self.at(key), shown(text)))
    }

    fn at(&self, key: &str) -> usize {
        self.fields.get(key).map_or(self.line, |(line, _)| *line)
    }

    /// Exactly `n` numbers.
    fn numbers<T: FromStr>(&self, key: &str, n: usize) -> Result<Vec<T>, String> {
        let mut numbers = Vec::new();
        for word in self.text(key)?.split_ascii_whitespace() {
            match word.parse() {
                Ok(number) => numbers.push(number),
                Err(_) => return Err(format!("line {}: `{key}` holds {}", self.at(key), shown(word))),
            }
        }
        if numbers.len() != n {
            return Err(format!("line {}: `{key}` has {} numbers, not {n}", self.at(key), numbers.len()));
        }
        Ok(numbers)
    }

    /// The same, or zeros where the file has none.
    fn numbers_or_zero(&self, key: &str, n: usize) -> Result<Vec<f64>, String> {
        match self.fields.get(key) {
            Some((_, text)) if !text.trim().is_empty() => self.numbers(key, n),
            _ => Ok(vec![0.0; n]),
        }
    }
}

/// A value for an error, cut to a readable length.
fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

pub(super) fn read(text: &str) -> Result<RawImported, String> {
    let (head, trees, mean) = blocks(text)?;
    let n_features = match head.number::<usize>("max_feature_idx")?.checked_add(1) {
        Some(n) if n <= FEATURES_MAX => n,
        _ => return Err(format!("line {}: more than {FEATURES_MAX} columns", head.at("max_feature_idx"))),
    };
    let names: Vec<String> =
        head.text("feature_names")?.split_ascii_whitespace().map(str::to_owned).collect();
    if names.len() != n_features {
        return Err(format!(
            "line {}: {} names for {n_features} columns",
            head.at("feature_names"),
            names.len()
        ));
    }
    let k: usize = head.number("num_tree_per_iteration")?;
    if k == 0 || k > OUTPUTS_MAX {
        return Err(format!(
            "line {}: {k} trees in each round, not 1 to {OUTPUTS_MAX}",
            head.at("num_tree_per_iteration")
        ));
    }
    let objective = head.fields.get("objective").map_or("", |(_, text)| text.trim());
    let answer = answer(objective).map_err(|fault| format!("line {}: {fault}", head.at("objective")))?;
    let output = (0..trees.len()).map(|t| (t % k) as u32).collect();
    let trees = trees.iter().enumerate().map(|(t, block)| {
        let tree = tree(block, n_features)?;
        tree.check(n_features, 1).map_err(|fault| format!("tree {t}, line {}: {fault}", block.line))?;
        Ok(tree)
    });
    let trees = trees.collect::<Result<_, String>>()?;
    Ok(RawImported {
        library: "LightGBM".into(),
        objective: objective.to_owned(),
        names,
        answer,
        ensemble: Ensemble { n_features, n_outputs: k, base: vec![0.0; k], trees, output, mean },
    })
}

/// The head, the trees, and whether scores are means.
fn blocks(text: &str) -> Result<(Block<'_>, Vec<Block<'_>>, bool), String> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim_end()));
    match lines.find(|(_, line)| !line.is_empty()) {
        Some((_, "tree")) => {}
        Some((at, other)) => {
            return Err(format!("line {at}: the file begins with {} rather than `tree`", shown(other)));
        }
        None => return Err("the file is empty".into()),
    }
    let mut head = Block { line: 1, ..Block::default() };
    let mut trees: Vec<Block<'_>> = Vec::new();
    let mut mean = false;
    for (at, line) in lines {
        if line == "end of trees" {
            return Ok((head, trees, mean));
        }
        if line.starts_with("Tree=") {
            trees.push(Block { line: at, ..Block::default() });
        } else if line == "average_output" {
            mean = true;
        } else if let Some((key, value)) = line.split_once('=') {
            trees.last_mut().unwrap_or(&mut head).fields.insert(key, (at, value));
        } else if !line.is_empty() {
            return Err(format!("line {at}: {} is not `key=value`", shown(line)));
        }
    }
    Err(format!("the file ends after {} trees without `end of trees`; it was cut short", trees.len()))
}

fn answer(objective: &str) -> Result<Answer, String> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or("");
    let mut slope = 1.0;
    let mut is_square = false;
    for word in words {
        if word == "sqrt" {
            is_square = true;
        }
        if let Some(text) = word.strip_prefix("sigmoid:") {
            slope = match text.parse::<f64>() {
                Ok(slope) if slope.is_finite() => slope,
                _ => return Err(format!("the objective's sigmoid is {}", shown(text))),
            };
        }
    }
    Ok(match name {
        "regression" if is_square => Answer::SignedSquare,
        "" | "none" | "null" | "custom" | "regression" | "regression_l1" | "huber" | "fair" | "quantile"
        | "mape" | "lambdarank" | "rank_xendcg" => Answer::Link(Link::Identity),
        "poisson" | "gamma" | "tweedie" => Answer::Link(Link::Exp),
        "binary" => Answer::Logistic { slope },
        "multiclass" => Answer::Link(Link::Softmax),
        "multiclassova" => Answer::Share { slope },
        "cross_entropy" => Answer::Share { slope: 1.0 },
        "cross_entropy_lambda" => Answer::LogOnePlusExp,
        other => return Err(format!("the objective {} is not known", shown(other))),
    })
}

fn tree(block: &Block<'_>, n_features: usize) -> Result<Tree, String> {
    if block.fields.get("is_linear").is_some_and(|(_, v)| v.trim() == "1") {
        return Err(format!(
            "line {}: leaves hold linear models, which are not read; learn without linear_tree",
            block.at("is_linear")
        ));
    }
    let leaves: usize = block.number("num_leaves")?;
    if leaves == 0 {
        return Err(format!("line {}: a tree of no leaves", block.at("num_leaves")));
    }
    // The lists' own lengths come first, so that a wrong number reserves nothing.
    let value: Vec<f64> = block.numbers("leaf_value", leaves)?;
    if leaves == 1 {
        let cover = block.numbers_or_zero("leaf_count", 1).unwrap_or_else(|_| vec![0.0]);
        return Ok(Tree::leaf(value, cover[0]));
    }
    let n = leaves - 1;
    let feature: Vec<u32> = block.numbers("split_feature", n)?;
    let threshold: Vec<f64> = block.numbers("threshold", n)?;
    let decision: Vec<u8> = block.numbers("decision_type", n)?;
    let left: Vec<i32> = block.numbers("left_child", n)?;
    let right: Vec<i32> = block.numbers("right_child", n)?;
    let gain = block.numbers_or_zero("split_gain", n)?;
    let cover = block.numbers_or_zero("internal_count", n)?;
    let leaf_cover = block.numbers_or_zero("leaf_count", leaves)?;
    let n_cat: usize = match block.fields.get("num_cat") {
        Some(_) => block.number("num_cat")?,
        None => 0,
    };
    let (bounds, words): (Vec<usize>, Vec<u32>) = if n_cat == 0 {
        (vec![], vec![])
    } else {
        let ends = n_cat.checked_add(1).ok_or("too many sets of categories")?;
        let bounds: Vec<usize> = block.numbers("cat_boundaries", ends)?;
        let words = block.numbers("cat_threshold", bounds[n_cat])?;
        (bounds, words)
    };
    let children = |number: usize, child: i32| {
        // Leaves are numbered behind the inner nodes.
        let to = if child >= 0 { child as usize } else { n + !child as usize };
        match (child >= 0 && to >= n) || to >= n + leaves {
            true => Err(format!("line {}: node {number} has the child {child}", block.line)),
            false => Ok(to),
        }
    };
    let result = assemble(n + leaves, |number| {
        if number >= n {
            return Ok(Raw::Leaf(value[number - n], leaf_cover[number - n]));
        }
        if feature[number] as usize >= n_features {
            let at = block.at("split_feature");
            return Err(format!("line {at}: column {} of {n_features}", feature[number]));
        }
        let flags = decision[number];
        let missing = match flags >> 2 & 3 {
            0 => Missing::None,
            1 => Missing::Zero,
            2 => Missing::Nan,
            _ => return Err(format!("line {}: decision {flags}", block.at("decision_type"))),
        };
        let is_set = flags & CATEGORIES != 0;
        let split = if is_set {
            let set = threshold[number];
            let range = (set >= 0.0 && set.fract() == 0.0 && set < n_cat as f64)
                .then(|| bounds[set as usize]..bounds[set as usize + 1]);
            match range.and_then(|range| words.get(range)) {
                Some(words) => Split::In(words.to_vec()),
                None => {
                    return Err(format!(
                        "line {}: node {number} asks for set {set} of categories",
                        block.at("threshold")
                    ));
                }
            }
        } else {
            Split::Below(threshold[number])
        };
        let node = Node {
            feature: feature[number],
            split,
            // A missing category is in no set.
            missing: if is_set { Missing::Nan } else { missing },
            missing_left: !is_set && flags & DEFAULT_LEFT != 0,
            left: 0,
            right: 0,
            gain: gain[number],
            cover: cover[number],
        };
        Ok(Raw::Inner(node, children(number, left[number])?, children(number, right[number])?))
    });
    result.map_err(|fault| match fault.starts_with("line") {
        true => fault,
        false => format!("line {}: {fault}", block.line),
    })
}
