//! What is alike by its attributes: terms of items weighed by how telling they are, and vectors where there are some.
//!
//! ```text
//! f_it = (1 + ln tf_it, or tf_it below 1) × (1 + ln(|items| / df_t)),  f_i scaled to length 1
//! score(j) = Σ_i w_i [ (1 − vector_share) f_i·f_j + vector_share v_i·v_j ]
//! ```
//!
//! over the items `i` of the history, `w_i` the weight of the event, halved for every `half_life_events` later events;
//! `v` are the vectors scaled to length 1 (Salton & Buckley, *Term-weighting approaches in automatic text retrieval*,
//! Information Processing & Management 1988; Lops, de Gemmis & Semeraro, *Content-based recommender systems*,
//! Recommender Systems Handbook 2011). Nothing is learnt of who took what with what, so an item without any event is
//! as good as others.
//!
//! Somebody without a history but with attributes of their own gets what people of the same terms took:
//! `score(j) = Σ_t n_tj / (n_t + USERS_SHRINK)`, with `n_tj` the users of term `t` who have `j`.

use crate::fitted::{Learnt, Model, build, load};
use crate::item_knn::faded;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    Attributes, Error, History, Ids, Interactions, ParamKind, ParamSpec, Past, RecommenderEntry, Result, Run,
    SparseRows,
};

/// The catalogue entry.
pub const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "content",
    summary: "Items with the attributes, words and vectors of those in the history; new items too.",
    summary_zh: "属性、词语与向量和历史商品相近的商品，新品亦可（基于内容）。",
    source: "Lops, de Gemmis & Semeraro, Content-based recommender systems, Recommender Systems Handbook 2011",
    params: &[
        ParamSpec {
            name: "items_min",
            kind: ParamKind::Integer { min: 1, max: 1_000_000 },
            default: "2",
            summary: "Items that a term must have to count.",
        },
        ParamSpec {
            name: "share_max",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "1",
            summary: "Share of all items beyond which a term says nothing.",
        },
        ParamSpec {
            name: "vector_share",
            kind: ParamKind::Number { min: 0.0, max: 1.0 },
            default: "0.5",
            summary: "How much vectors count against terms, where there are vectors.",
        },
        ParamSpec {
            name: "half_life_events",
            kind: ParamKind::Number { min: 0.0, max: 1e6 },
            default: "0",
            summary: "Later events of the user after which an event counts half; 0: all count alike.",
        },
    ],
    ordered: false,
    build: build::<Content>,
    load: load::<Content>,
};

/// Likeness by attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Content {
    /// Items that a term must have to count.
    pub items_min: usize,
    /// Share of all items beyond which a term says nothing.
    pub share_max: f64,
    /// How much vectors count against terms, where there are vectors.
    pub vector_share: f64,
    /// Later events of the user after which an event counts half; 0: all count alike.
    pub half_life_events: f64,
}

impl Default for Content {
    fn default() -> Self {
        Self { items_min: 2, share_max: 1.0, vector_share: 0.5, half_life_events: 0.0 }
    }
}

/// Added to the users of a term: few users are a weak sign.
const USERS_SHRINK: f64 = 5.0;

/// The features of every item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Features {
    params: Content,
    /// Items × terms, each row of length 1 or empty.
    terms: SparseRows,
    /// Items × numbers of a vector, each row of length 1 or zero.
    #[serde(with = "tradewind_core::packed")]
    vectors: Vec<f32>,
    width: usize,
    /// Terms of users × items.
    of_users: SparseRows,
    /// From `terms`: terms × items.
    #[serde(skip)]
    postings: Option<SparseRows>,
}

/// Items × terms by how telling each is, rows of length 1. Terms of fewer than `items_min` items, or of more than
/// `share_max` of all, keep their column and lose their values.
pub(crate) fn tf_idf(attributes: &Attributes, items: &Ids, items_min: usize, share_max: f64) -> SparseRows {
    let rows = attributes.aligned(items);
    let counts = rows.column_counts();
    let n = items.len() as f64;
    let idf: Vec<f64> = counts
        .iter()
        .map(|df| {
            let df = *df as usize;
            let tells = df >= items_min && df as f64 <= share_max * n;
            if tells { 1.0 + (n / df as f64).ln() } else { 0.0 }
        })
        .collect();
    let mut out = SparseRows::with_capacity(rows.n_columns(), rows.n_rows(), rows.n_values());
    let mut row: Vec<(u32, f64)> = Vec::new();
    for i in 0..rows.n_rows() {
        let (columns, weights) = rows.row(i);
        row.clear();
        row.extend(columns.iter().zip(weights).filter(|(t, _)| idf[**t as usize] > 0.0).map(|(t, tf)| {
            // Below one occurrence the logarithm would turn a term against its item.
            let tf = f64::from(*tf);
            let damped = if tf > 1.0 { 1.0 + tf.ln() } else { tf };
            (*t, damped * idf[*t as usize])
        }));
        let length = row.iter().map(|e| e.1 * e.1).sum::<f64>().sqrt();
        out.push(row.iter().map(|(t, v)| (*t, (v / length) as f32)).filter(|e| e.1 > 0.0));
    }
    out
}

/// Vectors in the order of `items`, of length 1; zeros for those that have none.
pub(crate) fn unit_vectors(attributes: Option<&Attributes>, items: &Ids) -> (Vec<f32>, usize) {
    let Some(vectors) = attributes.and_then(Attributes::vectors) else { return (Vec::new(), 0) };
    let width = vectors.width();
    let mut out = vec![0.0; items.len() * width];
    for (name, to) in items.iter().zip(out.chunks_exact_mut(width.max(1))) {
        let Some(from) = vectors.find(name) else { continue };
        let length = from.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 && length.is_finite() {
            to.iter_mut().zip(from).for_each(|(t, v)| *t = (f64::from(*v) / length) as f32);
        }
    }
    (out, width)
}

impl Content {
    fn features(&self, run: &Run, data: &Interactions) -> Result<Features> {
        let items = data.items();
        let none = SparseRows::from_entries(items.len(), 0, vec![]);
        let attributes = data.item_attributes();
        let terms = attributes.map_or(none, |a| tf_idf(a, items, self.items_min, self.share_max));
        run.check()?;
        let (vectors, width) = unit_vectors(attributes, items);
        let of_users = of_users(data);
        Ok(Features { params: self.clone(), terms, vectors, width, of_users, postings: None }.prepared())
    }
}

/// For every term of users, how common each item is among its users.
fn of_users(data: &Interactions) -> SparseRows {
    let Some(attributes) = data.user_attributes() else {
        return SparseRows::from_entries(0, data.items().len(), vec![]);
    };
    let matrix = data.matrix();
    let users = attributes.aligned(data.users()).transposed();
    let mut out = SparseRows::with_capacity(data.items().len(), users.n_rows(), 0);
    let mut sums = vec![0.0_f64; data.items().len()];
    for term in 0..users.n_rows() {
        let (with_term, _) = users.row(term);
        let mut n = 0;
        for u in with_term {
            let (items, _) = matrix.row(*u as usize);
            n += usize::from(!items.is_empty());
            items.iter().for_each(|i| sums[*i as usize] += 1.0);
        }
        let over = 1.0 / (n as f64 + USERS_SHRINK);
        let row = sums.iter().enumerate().filter(|e| *e.1 > 0.0).map(|(i, s)| (i as u32, (s * over) as f32));
        out.push(row);
        sums.fill(0.0);
    }
    out
}

impl Features {
    /// Numbers of vectors, and behind them terms, as one row an item: in this order, so that terms that come in later change no column.
    pub(crate) fn joined(&self) -> SparseRows {
        let share = if self.width > 0 { self.params.vector_share as f32 } else { 0.0 };
        let (of_terms, of_vectors) = ((1.0 - share).sqrt(), share.sqrt());
        let n_columns = self.width + self.terms.n_columns();
        let mut out = SparseRows::with_capacity(n_columns, self.terms.n_rows(), self.terms.n_values());
        for i in 0..self.terms.n_rows() {
            let vector = &self.vectors[i * self.width..(i + 1) * self.width];
            let numbers = vector.iter().enumerate().filter(|e| *e.1 != 0.0);
            let numbers = numbers.map(|(k, v)| (k as u32, v * of_vectors));
            let (terms, values) = self.terms.row(i);
            let terms = terms.iter().zip(values).map(|(t, v)| (self.width as u32 + t, v * of_terms));
            out.push(numbers.chain(terms));
        }
        out
    }

    /// Numbers of a vector, which are the first columns of [`Features::joined`].
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    fn prepared(mut self) -> Self {
        self.postings = Some(self.terms.transposed());
        self
    }

    /// Adds the likeness of all items to the sum of these items, by weight.
    fn add_alike(&self, of: &[(u32, f32)], out: &mut [f32]) {
        let share = if self.width > 0 { self.params.vector_share as f32 } else { 0.0 };
        let mut profile: Vec<(u32, f32)> = Vec::new();
        for (item, weight) in of {
            let (terms, values) = self.terms.row(*item as usize);
            profile.extend(terms.iter().zip(values).map(|(t, v)| (*t, weight * v)));
        }
        // Stable, so that sums are made in the order of the history.
        profile.sort_by_key(|e| e.0);
        profile.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        if let Some(postings) = &self.postings {
            for (term, weight) in profile {
                let (items, values) = postings.row(term as usize);
                let weight = weight * (1.0 - share);
                items.iter().zip(values).for_each(|(j, v)| out[*j as usize] += weight * v);
            }
        }
        if share > 0.0 {
            let mut profile = vec![0.0; self.width];
            for (item, weight) in of {
                let at = *item as usize * self.width;
                crate::wide::add_scaled(&mut profile, *weight, &self.vectors[at..at + self.width]);
            }
            for (vector, out) in self.vectors.chunks_exact(self.width).zip(out.iter_mut()) {
                *out += share * crate::wide::dot(&profile, vector);
            }
        }
        // Less than no likeness is no opinion.
        out.iter_mut().for_each(|s| *s = s.max(0.0));
    }
}

/// The items of a history, each with what its event counts.
fn weighted(history: History<'_>, half_life_events: f64) -> Vec<(u32, f32)> {
    let n = history.len();
    (0..n).map(|k| (history.items[k], history.weights[k] * faded(n - 1 - k, half_life_events))).collect()
}

impl Model for Content {
    type Learnt = Features;

    fn entry() -> &'static RecommenderEntry {
        &ENTRY
    }

    fn learn(&self, run: &Run, data: &Interactions) -> Result<Features> {
        self.features(run, data)
    }

    fn restore(&self, learnt: &mut Features, known: &Interactions) -> Result<()> {
        let n = known.items().len();
        let n_terms = known.user_attributes().map_or(0, |a| a.terms().len());
        let fits = learnt.terms.n_rows() == n
            && learnt.vectors.len() == n * learnt.width
            && learnt.of_users.n_columns() == n
            && learnt.of_users.n_rows() == n_terms;
        if !fits {
            return Err(Error::Invalid("saved features do not fit their items".into()));
        }
        learnt.postings = Some(learnt.terms.transposed());
        Ok(())
    }
}

impl Learnt for Features {
    const SPARSE: bool = true;

    fn score(&self, known: &Interactions, pasts: &[Past<'_>], out: &mut [f32]) {
        let n = known.items().len();
        for (past, row) in pasts.iter().zip(out.chunks_exact_mut(n.max(1))) {
            let own = past.user.filter(|_| past.history.is_empty()).zip(known.user_attributes());
            let place = own.and_then(|(u, a)| Some((a, a.find(known.users().name(u))?)));
            if let Some((attributes, place)) = place {
                for term in attributes.rows().row(place as usize).0 {
                    let (items, values) = self.of_users.row(*term as usize);
                    items.iter().zip(values).for_each(|(j, v)| row[*j as usize] += v);
                }
            }
            self.add_alike(&weighted(past.history, self.params.half_life_events), row);
        }
    }

    fn similar(&self, _known: &Interactions, item: u32, out: &mut [f32]) {
        self.add_alike(&[(item, 1.0)], out);
    }

    /// All is counted anew, so that the answer is that of a new fit.
    fn update(&mut self, run: &Run, known: &Interactions, _: &Interactions, _: &[u32]) -> Result<()> {
        *self = self.params.features(run, known)?;
        Ok(())
    }
}
