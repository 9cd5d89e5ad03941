//! What items are made of, for networks: the bands of their numbers, their vectors, their terms, as columns of a table.

use crate::content::{Content, Features};
use crate::fitted::{Learnt, Model};
use serde::{Deserialize, Serialize};
use tradewind_core::{Attributes, Error, Interactions, Result, Run, SparseRows};

/// Bands that the values of a number are put into, as many items in each.
pub(crate) const BANDS: usize = 8;
/// How much a band counts beside the terms, whose squares add up to 1.
const OF_BAND: f32 = 0.5;

/// The columns that the values of a number fall into.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Banded {
    column: String,
    /// Where the next band begins.
    edges: Vec<f32>,
}

fn banded(attributes: Option<&Attributes>) -> Vec<Banded> {
    let Some(attributes) = attributes else { return vec![] };
    let columns = attributes.numbers().map(|column| {
        let all = (0..attributes.names().len() as u32).filter_map(|i| attributes.number(column, i));
        let mut all: Vec<f32> = all.filter(|v| v.is_finite()).collect();
        all.sort_by(f32::total_cmp);
        let edges = (1..BANDS).filter_map(|k| all.get(all.len() * k / BANDS).copied()).collect();
        Banded { column: column.to_owned(), edges }
    });
    columns.collect()
}

/// What is known of items, in columns that stay what they are when more items come in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ItemFeatures {
    content: Features,
    bands: Vec<Banded>,
    /// Numbers of an item's vector at the time of the fit.
    numbers: usize,
    /// Columns at the time of the fit.
    columns: usize,
}

impl ItemFeatures {
    /// Of all items; a term counts that `items_min` of them have.
    pub(crate) fn learn(items_min: usize, run: &Run, data: &Interactions) -> Result<Self> {
        let content = content(items_min).learn(run, data)?;
        let bands = banded(data.item_attributes());
        let (numbers, columns) = (content.width(), bands.len() * BANDS + content.joined().n_columns());
        Ok(Self { content, bands, numbers, columns })
    }

    /// Makes saved features whole again.
    pub(crate) fn restore(&mut self, items_min: usize, known: &Interactions) -> Result<()> {
        content(items_min).restore(&mut self.content, known)?;
        if self.bands.iter().any(|b| b.edges.len() >= BANDS)
            || self.columns < self.bands.len() * BANDS + self.numbers
        {
            return Err(Error::Invalid(
                "saved features do not fit their items: there are other columns".into(),
            ));
        }
        Ok(())
    }

    /// Takes in what came since.
    pub(crate) fn update(
        &mut self,
        run: &Run,
        known: &Interactions,
        newer: &Interactions,
        users: &[u32],
    ) -> Result<()> {
        self.content.update(run, known, newer, users)
    }

    /// Columns at the time of the fit.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// What each item is made of: what `own` gives, columns of the caller's before `first`, and behind them the bands of its
    /// numbers, its vector, its terms. Terms and vectors that came in since the fit have no column.
    pub(crate) fn rows(
        &self,
        known: &Interactions,
        first: usize,
        own: impl Fn(usize) -> Option<(u32, f32)>,
    ) -> SparseRows {
        let joined = self.content.joined();
        let banded = first + self.bands.len() * BANDS;
        let attributes = known.item_attributes();
        let table = first + self.columns;
        let mut out = SparseRows::with_capacity(table, joined.n_rows(), joined.n_values() + joined.n_rows());
        let mut row: Vec<(u32, f32)> = Vec::new();
        for (i, name) in known.items().iter().enumerate() {
            row.clear();
            row.extend(own(i));
            if let Some((attributes, place)) = attributes.and_then(|a| Some((a, a.find(name)?))) {
                for (k, Banded { column, edges }) in self.bands.iter().enumerate() {
                    if let Some(v) = attributes.number(column, place).filter(|v| v.is_finite()) {
                        let band = edges.partition_point(|edge| *edge <= v);
                        row.push(((first + k * BANDS + band) as u32, OF_BAND));
                    }
                }
            }
            let (columns, values) = joined.row(i);
            let (now, then) = (self.content.width(), self.numbers);
            for (c, v) in columns.iter().zip(values) {
                match (*c as usize).checked_sub(now) {
                    Some(term) => row.push(((banded + then + term) as u32, *v)),
                    // Vectors that were not there at the fit have no place.
                    None if now == then => row.push((banded as u32 + c, *v)),
                    None => {}
                }
            }
            out.push(row.iter().copied().filter(|e| (e.0 as usize) < table));
        }
        out
    }
}

fn content(items_min: usize) -> Content {
    Content { items_min, ..Content::default() }
}
