//! What a node measures on its rows: class shares (Gini, entropy) or the mean (squared error).
//!
//! The rows of a bin are summed up in a *cell* of a few numbers. A criterion gives the *worth* of a cell, so that the
//! worth of both sides less that of the whole is the weight of the node times the fall of its impurity:
//!
//! | criterion | worth of a cell |
//! |---|---|
//! | Gini | `Σ_c w_c² / w` |
//! | entropy | `Σ_c w_c log₂ w_c − w log₂ w` |
//! | squared error | `(Σ w z)² / w` |

/// A criterion over the rows of one training set.
pub(super) trait Criterion: Sync {
    /// What a drawn row carries through the tree.
    type Item: Copy + Send;

    /// Numbers per cell.
    fn lanes(&self) -> usize;

    /// Row `row`, drawn `count` times.
    fn item(&self, row: u32, count: u32) -> Self::Item;

    /// The row behind an item.
    fn row(item: &Self::Item) -> usize;

    /// Adds an item to a cell.
    fn add(&self, cell: &mut [f64], item: &Self::Item);

    /// Draws in a cell, equal rows counted as often as they were drawn.
    fn count(&self, cell: &[f64]) -> f64;

    /// Weight of a cell.
    fn weight(&self, cell: &[f64]) -> f64;

    /// The worth of a cell of positive weight.
    fn worth(&self, cell: &[f64]) -> f64;

    /// Whether all items have the same target.
    fn is_pure(&self, items: &[Self::Item], total: &[f64]) -> bool;

    /// The order of categories: cells with lower scores are put left of others. `total` is the whole node.
    fn score(&self, cell: &[f64], total: &[f64]) -> f64;

    /// Appends a leaf's values.
    fn leaf(&self, cell: &[f64], out: &mut Vec<f64>);

    /// What one unit of worth is in units of the target's impurity.
    fn unit(&self) -> f64 {
        1.0
    }
}

/// How the purity of class shares is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purity {
    /// The Gini index `1 − Σ p²`.
    #[default]
    Gini,
    /// The entropy `−Σ p log₂ p`.
    Entropy,
}

/// Class shares. `K` is the number of classes where it is known when the program is built, else 0; with `W` rows
/// have weights. A cell holds the weight of each class and, with `W`, the number of draws.
pub(super) struct Classes<'a, const K: usize, const W: bool> {
    pub k: usize,
    pub label: &'a [u16],
    /// Weight of each row, classes' weights included; empty unless `W`.
    pub weight: &'a [f64],
    pub purity: Purity,
}

#[derive(Clone, Copy)]
pub(super) struct ClassItem {
    row: u32,
    label: u16,
    count: u16,
}

impl<const K: usize, const W: bool> Classes<'_, K, W> {
    #[inline(always)]
    fn k(&self) -> usize {
        if K > 0 { K } else { self.k }
    }
}

impl<const K: usize, const W: bool> Criterion for Classes<'_, K, W> {
    type Item = ClassItem;

    #[inline(always)]
    fn lanes(&self) -> usize {
        self.k() + usize::from(W)
    }

    fn item(&self, row: u32, count: u32) -> ClassItem {
        ClassItem { row, label: self.label[row as usize], count: count.min(u32::from(u16::MAX)) as u16 }
    }

    #[inline(always)]
    fn row(item: &ClassItem) -> usize {
        item.row as usize
    }

    #[inline(always)]
    fn add(&self, cell: &mut [f64], item: &ClassItem) {
        let count = f64::from(item.count);
        if W {
            cell[item.label as usize] += count * self.weight[item.row as usize];
            cell[self.k()] += count;
        } else {
            cell[item.label as usize] += count;
        }
    }

    #[inline(always)]
    fn count(&self, cell: &[f64]) -> f64 {
        if W { cell[self.k()] } else { self.weight(cell) }
    }

    #[inline(always)]
    fn weight(&self, cell: &[f64]) -> f64 {
        cell[..self.k()].iter().sum()
    }

    #[inline(always)]
    fn worth(&self, cell: &[f64]) -> f64 {
        let classes = &cell[..self.k()];
        match self.purity {
            Purity::Gini => {
                let (mut sum, mut squares) = (0.0, 0.0);
                for w in classes {
                    sum += w;
                    squares += w * w;
                }
                squares / sum
            }
            Purity::Entropy => {
                let mut sum = 0.0;
                let mut worth = 0.0;
                for w in classes {
                    sum += w;
                    if *w > 0.0 {
                        worth += w * w.log2();
                    }
                }
                worth - sum * sum.log2()
            }
        }
    }

    fn is_pure(&self, _items: &[ClassItem], total: &[f64]) -> bool {
        total[..self.k()].iter().filter(|w| **w > 0.0).count() < 2
    }

    /// The share of class 1 of two; of more, the share of the node's commonest class against the rest.
    fn score(&self, cell: &[f64], total: &[f64]) -> f64 {
        let k = self.k();
        let class = if k == 2 { 1 } else { (1..k).fold(0, |b, c| if total[c] > total[b] { c } else { b }) };
        cell[class] / self.weight(cell)
    }

    fn leaf(&self, cell: &[f64], out: &mut Vec<f64>) {
        let weight = self.weight(cell);
        out.extend(cell[..self.k()].iter().map(|w| w / weight));
    }
}

/// The mean, by squared error. Targets are held as `z = (y − centre) / scale` with `|z| ≤ 1`, so that sums of squares
/// keep their digits. A cell holds the number of draws, `Σ w z` and, with `W`, `Σ w`.
pub(super) struct Numbers<'a, const W: bool> {
    pub z: &'a [f64],
    pub centre: f64,
    pub scale: f64,
    /// Weight of each row; empty unless `W`.
    pub weight: &'a [f64],
}

#[derive(Clone, Copy)]
pub(super) struct NumberItem {
    row: u32,
    count: u32,
    z: f64,
}

impl<const W: bool> Criterion for Numbers<'_, W> {
    type Item = NumberItem;

    #[inline(always)]
    fn lanes(&self) -> usize {
        2 + usize::from(W)
    }

    fn item(&self, row: u32, count: u32) -> NumberItem {
        NumberItem { row, count, z: self.z[row as usize] }
    }

    #[inline(always)]
    fn row(item: &NumberItem) -> usize {
        item.row as usize
    }

    #[inline(always)]
    fn add(&self, cell: &mut [f64], item: &NumberItem) {
        let count = f64::from(item.count);
        cell[0] += count;
        if W {
            let weight = count * self.weight[item.row as usize];
            cell[1] += weight * item.z;
            cell[2] += weight;
        } else {
            cell[1] += count * item.z;
        }
    }

    #[inline(always)]
    fn count(&self, cell: &[f64]) -> f64 {
        cell[0]
    }

    #[inline(always)]
    fn weight(&self, cell: &[f64]) -> f64 {
        if W { cell[2] } else { cell[0] }
    }

    #[inline(always)]
    fn worth(&self, cell: &[f64]) -> f64 {
        cell[1] * cell[1] / self.weight(cell)
    }

    fn is_pure(&self, items: &[NumberItem], _total: &[f64]) -> bool {
        items.iter().all(|item| item.z == items[0].z)
    }

    fn score(&self, cell: &[f64], _total: &[f64]) -> f64 {
        cell[1] / self.weight(cell)
    }

    fn leaf(&self, cell: &[f64], out: &mut Vec<f64>) {
        out.push(self.centre + self.scale * (cell[1] / self.weight(cell)));
    }

    /// Targets may be too large for the square to be a number.
    fn unit(&self) -> f64 {
        let unit = self.scale * self.scale;
        if unit.is_normal() { unit } else { 1.0 }
    }
}
