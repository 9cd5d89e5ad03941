//! Factors for items that nobody has taken yet, learnt from attributes.
//!
//! Items with events get vectors `y_i` by [`ials`](crate::ials). A linear map from features to vectors is learnt on
//! them by ridge regression, `W = argmin Σ_i |y_i − Wᵀ f_i|² + ridge |W|²`, `f` being the terms of
//! [`content`](crate::content) (and vectors, where there are some). Every item that has features is then placed at
//!
//! ```text
//! y'_i = (n_i y_i + shrink Wᵀ f_i) / (n_i + shrink)
//! score(u, i) = z(x_u·y'_i) + content × z(likeness by content)
//! ```
//!
//! with `n_i` its events, so that new and known items stand in one space; `z` is less the mean, over the standard
//! deviation (Gantner et al., *Learning attribute-to-feature mappings for cold-start recommendations*, ICDM 2010). The
//! regression is solved by conjugate gradients, all columns of `W` side by side.

use crate::content::{Content, Features};
use crate::fitted::{Learnt, Model, build, load};
use crate::ials::{Factors, Ials};
use crate::wide::{Panels, add_scaled, times};
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Error, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run, SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "cold_factors",
    summary: "Matrix factorisation in which attributes place items that nobody has taken yet.",
    summary_zh: "由属性推得新品位置的矩阵分解（冷启动）。",
    source: "Gantner et al., Learning attribute-to-feature mappings for cold-start recommendations, ICDM 2010",
    params: &[
        ParamSpec {
            name: "factors",
            kind: ParamKind::Integer { min: 1, max: 2048 },
            default: "128",
            summary: "Numbers in each vector.",
        },
        ParamSpec {
            name: "alpha",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "30",
            summary: "How much more a seen place counts than one not seen, for each unit of weight.",
        },
        ParamSpec {
            name: "regularization",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "10",
            summary: "Penalty on the squares of the vectors.",
        },
        ParamSpec {
            name: "iterations",
            kind: ParamKind::Integer { min: 1, max: 1000 },
            default: "10",
            summary: "Rounds over users and items.",
        },
        ParamSpec {
            name: "ridge",
            kind: ParamKind::Number { min: 1e-6, max: 1e9 },
            default: "5",
            summary: "Penalty on the squares of the map from features to vectors.",
        },
        ParamSpec {
            name: "shrink",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "2",
            summary: "Events of an item that count as much as its features.",
        },
        ParamSpec {
            name: "content",
            kind: ParamKind::Number { min: 0.0, max: 100.0 },
            default: "0.7",
            summary: "How much plain likeness by content counts beside the factors.",
        },
        ParamSpec {
            name: "items_min",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "2",
            summary: "Items that a term must have to count.",
        },
    ],
    ordered: false,
    build: build::<ColdFactors>,
    load: load::<ColdFactors>,
};

/// Factorisation with items placed by their attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColdFactors {
    /// Numbers in each vector.
    pub factors: usize,
    /// How much more a seen place counts than one not seen, for each unit of weight.
    pub alpha: f64,
    /// Penalty on the squares of the vectors.
    pub regularization: f64,
    /// Rounds over users and items.
    pub iterations: usize,
    /// Penalty on the squares of the map from features to vectors.
    pub ridge: f64,
    /// Events of an item that count as much as its features.
    pub shrink: f64,
    /// How much plain likeness by content counts beside the factors.
    pub content: f64,
    /// Items that a term must have to count.
    pub items_min: usize,
}

impl Default for ColdFactors {
    fn default() -> Self {
        Self {
            factors: 128,
            alpha: 30.0,
            regularization: 10.0,
            iterations: 10,
            ridge: 5.0,
            shrink: 2.0,
            content: 0.7,
            items_min: 2,
        }
    }
}

/// Steps of conjugate gradients at most.
const STEPS_MAX: usize = 60;
/// The part of the first residual at which a column is solved.
const TOLERANCE: f64 = 1e-4;

/// Factors, the map and where it places the items.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Placed {
    params: ColdFactors,
    factors: Factors,
    content: Features,
    /// Features × factors, row after row.
    #[serde(with = "tradewind_core::packed")]
    map: Vec<f32>,
    /// Of all items, from `factors` and `map`.
    #[serde(skip)]
    panels: Panels,
}

impl ColdFactors {
    fn ials(&self) -> Ials {
        Ials {
            factors: self.factors,
            alpha: self.alpha,
            regularization: self.regularization,
            iterations: self.iterations,
            ..Ials::default()
        }
    }

    fn content(&self) -> Content {
        Content { items_min: self.items_min, ..Content::default() }
    }
}

/// The sum of products of every column.
fn column_dots(a: &[f32], b: &[f32], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (a, b))| *s += f64::from(*a) * f64::from(*b));
    }
    sums
}

/// `argmin |targets − features W|² + ridge |W|²`, targets being rows of `width` numbers.
fn ridge_map(run: &Run, features: &SparseRows, targets: &[f32], width: usize, ridge: f64) -> Result<Vec<f32>> {
    let turned = features.transposed();
    let mut residual = times(&turned, targets, width);
    let mut map = vec![0.0_f32; residual.len()];
    let mut direction = residual.clone();
    let mut lengths = column_dots(&residual, &residual, width);
    let enough: Vec<f64> = lengths.iter().map(|l| l * TOLERANCE * TOLERANCE).collect();
    for _ in 0..STEPS_MAX {
        run.check()?;
        if lengths.iter().zip(&enough).all(|(l, e)| l <= e) {
            break;
        }
        let mut image = times(&turned, &times(features, &direction, width), width);
        add_scaled(&mut image, ridge as f32, &direction);
        let curvatures = column_dots(&direction, &image, width);
        let open = |k: usize| lengths[k] > enough[k] && curvatures[k] > 0.0;
        let strides: Vec<f32> =
            (0..width).map(|k| if open(k) { (lengths[k] / curvatures[k]) as f32 } else { 0.0 }).collect();
        let rows = map.chunks_exact_mut(width).zip(residual.chunks_exact_mut(width));
        for ((map, residual), (direction, image)) in
            rows.zip(direction.chunks_exact(width).zip(image.chunks_exact(width)))
        {
            for k in 0..width {
                map[k] += strides[k] * direction[k];
                residual[k] -= strides[k] * image[k];
            }
        }
        let next = column_dots(&residual, &residual, width);
        for (direction, residual) in direction.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
            for k in 0..width {
                let turn = if lengths[k] > 0.0 { (next[k] / lengths[k]) as f32 } else { 0.0 };
                direction[k] = residual[k] + turn * direction[k];
            }
        }
        lengths = next;
    }
    Ok(map)
}

/// Rows of features of those items that have events; others are empty, so that the map is not learnt on them.
fn of_known(features: &SparseRows, counts: &[u32]) -> SparseRows {
    let mut out = SparseRows::with_capacity(features.n_columns(), features.n_rows(), features.n_values());
    for (i, count) in counts.iter().enumerate() {
        let (columns, values) = features.row(i);
        let n = if *count > 0 { columns.len() } else { 0 };
        out.push(columns[..n].iter().copied().zip(values[..n].iter().copied()));
    }
    out
}

impl Placed {
    /// Places all items.
    fn place(&mut self, known: &Interactions) {
        let width = self.factors.width();
        let features = self.content.joined();
        let counts = known.matrix().column_counts();
        let mut placed = self.factors.items().to_vec();
        let shrink = self.params.shrink as f32;
        for (i, y) in placed.chunks_exact_mut(width).enumerate() {
            let (columns, values) = features.row(i);
            // Terms that came in after the fit are not in the map.
            let known = columns.iter().zip(values).filter(|(c, _)| (**c as usize + 1) * width <= self.map.len());
            let mut of_features = vec![0.0; width];
            let mut any = false;
            for (c, v) in known {
                any = true;
                add_scaled(&mut of_features, *v, &self.map[*c as usize * width..(*c as usize + 1) * width]);
            }
            let n = counts[i] as f32;
            if any && n + shrink > 0.0 {
                y.iter_mut().zip(&of_features).for_each(|(y, f)| *y = (n * *y + shrink * f) / (n + shrink));
            }
            // An item without an event stands where its features put it, whatever the shrinking.
            if any && counts[i] == 0 {
                y.copy_from_slice(&of_features);
            }
        }
        self.panels = Panels::new(&placed, width);
    }

    fn fuse(&self, of_factors: &mut [f32], of_content: &mut [f32], out: &mut [f32]) {
        crate::hybrid::standardise(of_factors);
        crate::hybrid::standardise(of_content);
        add_scaled(out, 1.0, of_factors);
        add_scaled(out, self.params.content as f32, of_content);
    }
}

impl Model for ColdFactors {
    type Learnt = Placed;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Placed> {
        let factors = self.ials().learn(run, data)?;
        let content = self.content().learn(run, data)?;
        let counts = data.matrix().column_counts();
        let features = of_known(&content.joined(), &counts);
        let map = ridge_map(run, &features, factors.items(), factors.width(), self.ridge)?;
        let mut out = Placed { params: self.clone(), factors, content, map, panels: Panels::default() };
        out.place(data);
        Ok(out)
    }

    fn restore(&self, learnt: &mut Placed, known: &Interactions) -> Result<()> {
        self.ials().restore(&mut learnt.factors, known)?;
        self.content().restore(&mut learnt.content, known)?;
        if !learnt.map.len().is_multiple_of(learnt.factors.width()) {
            return Err(Error::Invalid("a saved map does not fit its factors".into()));
        }
        learnt.place(known);
        Ok(())
    }
}

impl Learnt for Placed {
    const SPARSE: bool = false;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len().max(1);
        let (mut of_factors, mut of_content) = (vec![0.0; out.len()], vec![0.0; out.len()]);
        self.panels.products(&self.factors.of_users(pasts), &mut of_factors);
        self.content.score(known, pasts, &mut of_content);
        for ((a, b), out) in
            of_factors.chunks_exact_mut(n).zip(of_content.chunks_exact_mut(n)).zip(out.chunks_exact_mut(n))
        {
            self.fuse(a, b, out);
        }
    }

    fn similar(&self, known: &Interactions, item: u32, out: &mut [f32]) {
        let (mut of_factors, mut of_content) = (vec![0.0; out.len()], vec![0.0; out.len()]);
        self.panels.angles(item as usize, &mut of_factors);
        self.content.similar(known, item, &mut of_content);
        self.fuse(&mut of_factors, &mut of_content, out);
    }

    /// The map stays until the next fit; vectors of users and new items are solved for, and all items placed anew.
    fn update(&mut self, run: &Run, known: &Interactions, newer: &Interactions, users: &[u32]) -> Result<()> {
        self.factors.update(run, known, newer, users)?;
        self.content.update(run, known, newer, users)?;
        self.place(known);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_solves_the_normal_equations() {
        let (n, terms, width) = (40, 9, 16);
        let entries = (0..n * terms).filter(|k| k * 7919 % 13 < 5).map(|k| {
            ((k / terms) as u32, (k % terms) as u32, 0.2 + (k % 7) as f32 * 0.1)
        });
        let features = SparseRows::from_entries(n, terms, entries.collect());
        let targets: Vec<f32> = (0..n * width).map(|k| ((k * 31 % 17) as f32 - 8.0) / 8.0).collect();
        let map = ridge_map(&Run::new(1), &features, &targets, width, 0.7).expect("not cancelled");
        // Fᵀ(Y − F W) = ridge W
        let mut rest = targets.clone();
        add_scaled(&mut rest, -1.0, &times(&features, &map, width));
        let slope = times(&features.transposed(), &rest, width);
        for (s, w) in slope.iter().zip(&map) {
            assert!((s - 0.7 * w).abs() < 1e-3, "{s} and {}", 0.7 * w);
        }
        assert!(map.iter().any(|w| w.abs() > 0.1));
    }
}
