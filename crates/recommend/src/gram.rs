//! Which items meet in the same histories: `XᵀX`, a row at a time or as one square matrix.

use rayon::prelude::*;
use tradewind_core::{Result, Run, SparseRows};

/// For every item, in order and in parallel, hands its row of `Xᵀ diag(w) X` to `take`: `users` are users × items,
/// `user_weight` holds one weight a user. The row comes as a full line of sums and the list of items that it meets,
/// itself included, ascending only by first meeting.
pub(crate) fn rows<T: Send>(
    run: &Run,
    users: &SparseRows,
    items: &SparseRows,
    user_weight: Option<&[f32]>,
    take: impl Fn(u32, &[f32], &[u32]) -> T + Sync,
) -> Result<Vec<T>> {
    let n = items.n_rows();
    let plain = ones(users);
    const CHUNK: usize = 16;
    let parts: Vec<Vec<T>> = (0..n.div_ceil(CHUNK))
        .into_par_iter()
        .map_init(
            || (vec![0.0_f32; n], Vec::<u32>::new()),
            |(sums, met), chunk| {
                run.check()?;
                let mut out = Vec::with_capacity(CHUNK);
                for i in chunk * CHUNK..n.min((chunk + 1) * CHUNK) {
                    let (of_item, values) = items.row(i);
                    for (u, value) in of_item.iter().zip(values) {
                        let (columns, weights) = users.row(*u as usize);
                        let value = value * user_weight.map_or(1.0, |w| w[*u as usize]);
                        if plain {
                            columns.iter().for_each(|j| sums[*j as usize] += value);
                        } else {
                            columns.iter().zip(weights).for_each(|(j, w)| sums[*j as usize] += value * w);
                        }
                    }
                    met.clear();
                    met.extend((0..n as u32).filter(|j| sums[*j as usize] != 0.0));
                    out.push(take(i as u32, sums, met));
                    met.iter().for_each(|j| sums[*j as usize] = 0.0);
                }
                Ok(out)
            },
        )
        .collect::<Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// One list a row, each ascending by column, as a square matrix.
pub(crate) fn sparse(lists: Vec<Vec<(u32, f32)>>) -> SparseRows {
    let n = lists.len();
    let mut out = SparseRows::with_capacity(n, n, lists.iter().map(Vec::len).sum());
    lists.into_iter().for_each(|list| out.push(list));
    out
}

/// `Xᵀ diag(w) X` as a full square, row after row.
pub(crate) fn square(
    run: &Run,
    users: &SparseRows,
    items: &SparseRows,
    user_weight: Option<&[f32]>,
) -> Result<Vec<f32>> {
    let n = items.n_rows();
    let plain = ones(users);
    let mut out = vec![0.0_f32; n * n];
    out.par_chunks_mut(n.max(1)).enumerate().try_for_each(|(i, sums)| {
        if i % 64 == 0 {
            run.check()?;
        }
        let (of_item, values) = items.row(i);
        for (u, value) in of_item.iter().zip(values) {
            let (columns, weights) = users.row(*u as usize);
            // The half up to the diagonal; the other is its mirror image.
            let below = columns.partition_point(|j| *j as usize <= i);
            let value = value * user_weight.map_or(1.0, |w| w[*u as usize]);
            if plain {
                columns[..below].iter().for_each(|j| sums[*j as usize] += value);
            } else {
                let lower = columns[..below].iter().zip(weights);
                lower.for_each(|(j, w)| sums[*j as usize] += value * w);
            }
        }
        Ok::<(), tradewind_core::Error>(())
    })?;
    mirror(&mut out, n);
    Ok(out)
}

/// Copies the half below the diagonal above it, in tiles that fit the nearest cache.
fn mirror(square: &mut [f32], n: usize) {
    const TILE: usize = 32;
    for top in (0..n).step_by(TILE) {
        for left in (0..=top).step_by(TILE) {
            for i in top..n.min(top + TILE) {
                for j in left..i.min(left + TILE) {
                    square[j * n + i] = square[i * n + j];
                }
            }
        }
    }
}

/// Whether all values are 1; then they need not be fetched.
fn ones(rows: &SparseRows) -> bool {
    (0..rows.n_rows()).all(|r| rows.row(r).1.iter().all(|v| *v == 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_the_product_of_the_definition() {
        let (n_users, n) = (40, 70);
        for kind in 0..3 {
            let entries = (0..n_users * n)
                .filter(|k| k * 7919 % 11 < 3)
                .map(|k| {
                    let value = if kind == 0 { 1.0 } else { 1.0 + (k % 5) as f32 };
                    ((k / n) as u32, (k % n) as u32, value)
                })
                .collect();
            let users = SparseRows::from_entries(n_users, n, entries);
            let items = users.transposed();
            let weight: Vec<f32> = (0..n_users).map(|u| 1.0 + (u % 3) as f32).collect();
            let weight = (kind == 2).then_some(&weight[..]);
            let all = square(&Run::new(1), &users, &items, weight).expect("not cancelled");
            let each = rows(&Run::new(1), &users, &items, weight, |i, sums, met| {
                assert!(met.iter().all(|j| sums[*j as usize] > 0.0));
                (i, sums.to_vec())
            })
            .expect("not cancelled");
            for i in 0..n {
                assert_eq!(each[i].0 as usize, i);
                for j in 0..n {
                    let of = |u: usize, i: usize| {
                        let (c, v) = users.row(u);
                        c.binary_search(&(i as u32)).map_or(0.0, |k| v[k])
                    };
                    let sum: f32 =
                        (0..n_users).map(|u| of(u, i) * of(u, j) * weight.map_or(1.0, |w| w[u])).sum();
                    assert_eq!((all[i * n + j], each[i].1[j]), (sum, sum));
                }
            }
        }
    }
}
