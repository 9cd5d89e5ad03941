//! How alike two rows of a sparse matrix are, for neighbours of items and of users.
//!
//! | kind | similarity of a source `i` and a target `j`; `c` = sum of products, `‖·‖²` = sum of squares |
//! |---|---|
//! | cosine | `c / (√(‖i‖² ‖j‖²) + shrink)` |
//! | asymmetric | `c / (‖i‖^(2 source_power) ‖j‖^(2 target_power) + shrink)`; cosine has both powers at ½ (Aiolli 2013) |
//! | jaccard | `n_ij / (n_i + n_j − n_ij + shrink)` over what both have, whatever the weights |
//! | bm25 | `c` after weighing entries by `idf × w (K1 + 1) / (w + K1 (1 − B + B length / mean length))` |
//!
//! With `meeting_power` above 0 a meeting in a long history counts less: each product is divided by the history's
//! length to that power.

use crate::gram;
use crate::top::keep_largest;
use serde::{Deserialize, Serialize};
use tradewind_core::{Result, Run, SparseRows};

/// Kinds of similarity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// The angle.
    #[default]
    Cosine,
    /// The angle with powers of its own for source and target.
    Asymmetric,
    /// Shared over all.
    Jaccard,
    /// Weights of Okapi BM25.
    Bm25,
}

/// The words for [`Similarity`].
pub(crate) const SIMILARITIES: &[&str] = &["cosine", "asymmetric", "jaccard", "bm25"];

/// Everything that decides a similarity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) kind: Similarity,
    pub(crate) shrink: f32,
    pub(crate) source_power: f32,
    pub(crate) target_power: f32,
    pub(crate) meeting_power: f32,
    pub(crate) k1: f32,
    pub(crate) b: f32,
    /// How many targets each source keeps.
    pub(crate) k: usize,
}

impl Measure {
    /// For every row of `sources` its `k` most similar other rows: a square of sparse rows. `meetings` is the same
    /// matrix turned.
    pub(crate) fn neighbours(
        &self,
        run: &Run,
        sources: &SparseRows,
        meetings: &SparseRows,
    ) -> Result<SparseRows> {
        let weighed = match self.kind {
            Similarity::Bm25 => Some(self.bm25(sources)),
            Similarity::Jaccard => Some(with_ones(sources)),
            _ => None,
        };
        let turned = weighed.as_ref().map(SparseRows::transposed);
        let sources = weighed.as_ref().unwrap_or(sources);
        let meetings = turned.as_ref().unwrap_or(meetings);
        let length: Option<Vec<f32>> = (self.meeting_power > 0.0).then(|| {
            (0..meetings.n_rows())
                .map(|r| (meetings.row(r).0.len().max(1) as f32).powf(-self.meeting_power))
                .collect()
        });
        let scale = self.scales(sources);
        let lists = gram::rows(run, meetings, sources, length.as_deref(), |i, sums, met| {
            let mut kept: Vec<(u32, f32)> = met
                .iter()
                .filter(|j| **j != i)
                .map(|j| (*j, self.of(sums[*j as usize], scale[i as usize], scale[*j as usize])))
                .filter(|e| e.1 > 0.0)
                .collect();
            // 0 keeps all.
            if self.k > 0 {
                keep_largest(&mut kept, self.k);
                kept.sort_unstable_by_key(|e| e.0);
            }
            kept
        })?;
        Ok(gram::sparse(lists))
    }

    /// What a row brings into the denominator: as a source and as a target.
    fn scales(&self, rows: &SparseRows) -> Vec<(f32, f32)> {
        (0..rows.n_rows())
            .map(|r| {
                let values = rows.row(r).1;
                let squares: f32 = values.iter().map(|v| v * v).sum();
                match self.kind {
                    Similarity::Cosine => (squares.sqrt(), squares.sqrt()),
                    Similarity::Asymmetric => {
                        (squares.powf(self.source_power), squares.powf(self.target_power))
                    }
                    Similarity::Jaccard => (values.len() as f32, values.len() as f32),
                    Similarity::Bm25 => (1.0, 1.0),
                }
            })
            .collect()
    }

    fn of(&self, shared: f32, source: (f32, f32), target: (f32, f32)) -> f32 {
        match self.kind {
            Similarity::Cosine | Similarity::Asymmetric => shared / (source.0 * target.1 + self.shrink),
            Similarity::Jaccard => shared / (source.0 + target.1 - shared + self.shrink),
            Similarity::Bm25 => shared,
        }
    }

    /// The weights of Okapi BM25, as in `implicit`: a source is a document, those who meet in it are its words.
    fn bm25(&self, sources: &SparseRows) -> SparseRows {
        let n = sources.n_rows() as f32;
        let counts = sources.column_counts();
        let length = |r: usize| sources.row(r).1.iter().sum::<f32>();
        let mean = (0..sources.n_rows()).map(length).sum::<f32>() / n.max(1.0);
        let mut out = SparseRows::with_capacity(sources.n_columns(), sources.n_rows(), sources.n_values());
        for r in 0..sources.n_rows() {
            let norm = self.k1 * (1.0 - self.b + self.b * length(r) / mean.max(f32::MIN_POSITIVE));
            let (columns, values) = sources.row(r);
            out.push(columns.iter().zip(values).map(|(c, w)| {
                let idf = n.ln() - (1.0 + counts[*c as usize] as f32).ln();
                (*c, idf.max(0.0) * w * (self.k1 + 1.0) / (w + norm))
            }));
        }
        out
    }
}

/// The same places, each with 1.
pub(crate) fn with_ones(rows: &SparseRows) -> SparseRows {
    let mut out = rows.clone();
    out.values_mut().fill(1.0);
    out
}
