//! The leading directions of users × items, each place divided by the roots of its user's and its item's sum:
//! `N_ui = r_ui / √(d_u d_i)`.
//!
//! They are found by turns, `Z ← orth(N Y)`, `Y ← orth(Nᵀ Z)`, from random numbers (randomised subspace iteration, Halko,
//! Martinsson & Tropp, *Finding structure with randomness*, SIAM Review 53, 2011): the products of sparse rows with a
//! few columns cost little beside a round of least squares.

use crate::wide::{LANES, wide};
use rand::RngExt;
use rayon::prelude::*;
use tradewind_core::{Result, Run, SparseRows};

/// Vectors of all items that span nearly what the leading `factors` directions span.
pub(crate) struct Leading {
    /// Numbers in a vector: `factors`, filled up with zeros to whole lanes.
    pub(crate) width: usize,
    /// `Nᵀ Z` with orthonormal columns of `Z`, item after item.
    pub(crate) items: Vec<f32>,
    /// `d_i`.
    pub(crate) item_sums: Vec<f32>,
}

/// Rows for one piece of parallel work.
const CHUNK: usize = 64;

/// The leading directions after `turns` products, the last one giving items.
pub(crate) fn leading(
    run: &Run,
    users: &SparseRows,
    items: &SparseRows,
    factors: usize,
    turns: usize,
) -> Result<Leading> {
    let width = factors.div_ceil(LANES) * LANES;
    let (user_sums, item_sums) = (sums(users), sums(items));
    let (of_users, of_items) = (over_root(&user_sums), over_root(&item_sums));
    let from_users = turns % 2 == 1;
    let n = if from_users { users.n_rows() } else { items.n_rows() };
    let mut rng = run.rng(31);
    let mut vectors = vec![0.0; n * width];
    for row in vectors.chunks_exact_mut(width) {
        row[..factors].iter_mut().for_each(|v| *v = rng.random_range(-1.0_f32..1.0));
    }
    let mut to_items = from_users;
    for turn in 0..turns {
        run.check()?;
        if turn > 0 {
            orthonormalise(&mut vectors, width);
        }
        vectors = match to_items {
            true => product(items, &of_items, &of_users, vectors, width),
            false => product(users, &of_users, &of_items, vectors, width),
        };
        to_items = !to_items;
    }
    Ok(Leading { width, items: vectors, item_sums })
}

fn sums(rows: &SparseRows) -> Vec<f32> {
    (0..rows.n_rows()).map(|r| rows.row(r).1.iter().sum()).collect()
}

/// `1 / √d`; 0 where nothing was seen.
pub(crate) fn over_root(sums: &[f32]) -> Vec<f32> {
    sums.iter().map(|d| if *d > 0.0 { 1.0 / d.sqrt() } else { 0.0 }).collect()
}

/// `diag(of_rows) rows diag(of_columns) vectors`.
fn product(
    rows: &SparseRows,
    of_rows: &[f32],
    of_columns: &[f32],
    mut vectors: Vec<f32>,
    width: usize,
) -> Vec<f32> {
    for (row, scale) in vectors.chunks_exact_mut(width).zip(of_columns) {
        row.iter_mut().for_each(|v| *v *= scale);
    }
    let mut out = vec![0.0; rows.n_rows() * width];
    out.par_chunks_mut(width * CHUNK).enumerate().for_each(|(c, part)| {
        for (k, sum) in part.chunks_exact_mut(width).enumerate() {
            let r = c * CHUNK + k;
            let (columns, values) = rows.row(r);
            add_gathered(columns, values, &vectors, sum);
            sum.iter_mut().for_each(|v| *v *= of_rows[r]);
        }
    });
    out
}

wide! {
    /// `sum += Σ value × vector of the column`, four columns at a time so that `sum` is fetched once for four.
    fn add_gathered(columns: &[u32], values: &[f32], vectors: &[f32], sum: &mut [f32]) {
        let width = sum.len();
        let of = |c: u32| &vectors[c as usize * width..(c as usize + 1) * width];
        let (fours, rest) = columns.as_chunks::<4>();
        for (c, v) in fours.iter().zip(values.as_chunks::<4>().0) {
            let (a, b, c, d) = (of(c[0]), of(c[1]), of(c[2]), of(c[3]));
            for t in 0..width {
                sum[t] += (v[0] * a[t] + v[1] * b[t]) + (v[2] * c[t] + v[3] * d[t]);
            }
        }
        for (c, v) in rest.iter().zip(&values[fours.len() * 4..]) {
            sum.iter_mut().zip(of(*c)).for_each(|(s, a)| *s += v * a);
        }
    }
}

/// Turns columns into orthonormal ones that span the same, by the Cholesky factor of their products; a column that the
/// earlier ones span becomes zeros.
pub(crate) fn orthonormalise(vectors: &mut [f32], width: usize) {
    let gram = crate::ials::gram(vectors, width);
    let turn = inverse_factor(&gram, width);
    vectors.par_chunks_mut(width * CHUNK).for_each(|part| {
        let mut own = vec![0.0; width];
        for row in part.chunks_exact_mut(width) {
            own.copy_from_slice(row);
            row.fill(0.0);
            for (k, x) in own.iter().enumerate() {
                let from = &turn[k * width..(k + 1) * width];
                row[k..].iter_mut().zip(&from[k..]).for_each(|(t, f)| *t += x * f);
            }
        }
    });
}

/// What is left of a column's square when that much of it is spanned by the earlier ones counts as noise.
const SPANNED: f64 = 1e-5;

/// `L⁻ᵀ`, row after row, of the factor `L Lᵀ = gram`, with zeros for columns that the earlier ones span.
fn inverse_factor(gram: &[f32], n: usize) -> Vec<f32> {
    let mut factor = vec![0.0_f64; n * n];
    for j in 0..n {
        let own = f64::from(gram[j * n + j]);
        let left = own - (0..j).map(|k| factor[j * n + k].powi(2)).sum::<f64>();
        if left <= SPANNED * own || left <= 0.0 {
            continue;
        }
        let root = left.sqrt();
        factor[j * n + j] = root;
        for i in j + 1..n {
            let shared: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
            factor[i * n + j] = (f64::from(gram[i * n + j]) - shared) / root;
        }
    }
    // Column c of the inverse of L by substitution; it is row c of what is asked for.
    let mut out = vec![0.0_f32; n * n];
    let mut column = vec![0.0_f64; n];
    for c in 0..n {
        column.fill(0.0);
        for i in c..n {
            let root = factor[i * n + i];
            if root > 0.0 {
                let unit = if i == c { 1.0 } else { 0.0 };
                let known: f64 = (c..i).map(|k| factor[i * n + k] * column[k]).sum();
                column[i] = (unit - known) / root;
                out[c * n + i] = column[i] as f32;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_orthonormal_and_spanned_ones_zero() {
        let (n, width) = (200, 16);
        let mut rng = Run::new(3).rng(1);
        let mut rows: Vec<f32> = (0..n * width).map(|_| rng.random_range(-1.0..1.0)).collect();
        // Column 5 is a sum of two others.
        rows.chunks_exact_mut(width).for_each(|r| r[5] = r[1] - 2.0 * r[3]);
        orthonormalise(&mut rows, width);
        for a in 0..width {
            for b in 0..width {
                let sum: f32 = rows.chunks_exact(width).map(|r| r[a] * r[b]).sum();
                let expected = if a == b && a != 5 { 1.0 } else { 0.0 };
                assert!((sum - expected).abs() < 1e-4, "columns {a} and {b}: {sum}");
            }
        }
    }

    #[test]
    fn directions_are_those_of_three_separate_groups() {
        // Three groups of users and items without a link between them: N has three singular values of 1, and its
        // directions are constant, but for the root of the sums, on each group.
        let entries = (0..90_u32)
            .flat_map(|u| {
                (0..4).map(move |k| (u, (u % 3) * 10 + (u / 3 * 7 + k * 3) % 10, 1.0 + (k % 2) as f32))
            })
            .collect();
        let users = SparseRows::from_entries(90, 30, entries);
        let found = leading(&Run::new(1), &users, &users.transposed(), 3, 61).expect("not cancelled");
        let mut items = found.items;
        orthonormalise(&mut items, found.width);
        for i in 0..30 {
            for j in 0..30 {
                let of = |i: usize| &items[i * found.width..(i + 1) * found.width];
                let product: f32 = of(i).iter().zip(of(j)).map(|(a, b)| a * b).sum();
                let group: f32 = (0..10).map(|k| found.item_sums[i / 10 * 10 + k]).sum();
                let same = i / 10 == j / 10;
                let expected =
                    if same { (found.item_sums[i] * found.item_sums[j]).sqrt() / group } else { 0.0 };
                assert!((product - expected).abs() < 1e-3, "{i}, {j}: {product}, not {expected}");
            }
        }
    }
}
