//! The triangle of a small symmetric matrix, with columns that depend on earlier ones set aside.

use crate::lbfgs::dot;
use faer::Mat;

/// A column of which less than this share is left at right angles to the earlier ones counts as dependent. Products of
/// columns carry squares, so this is 3e-6 of the columns' lengths.
const DEPENDENT: f64 = 1e-11;

/// The lower triangle `L` with `L Lᵀ = H` over the columns kept.
pub(crate) struct Cholesky {
    /// The columns that do not depend on earlier ones, in order.
    pub(crate) kept: Vec<usize>,
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Of the symmetric `h`, which must not be negative in any direction; columns of zeros are set aside too.
    pub(crate) fn new(h: &Mat<f64>) -> Self {
        let mut kept: Vec<usize> = Vec::with_capacity(h.nrows());
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(h.nrows());
        for j in 0..h.nrows() {
            let mut row = Vec::with_capacity(kept.len() + 1);
            for (t, &k) in kept.iter().enumerate() {
                let known = dot(&row, &rows[t][..t]);
                row.push((h[(j, k)] - known) / rows[t][t]);
            }
            let pivot = h[(j, j)] - dot(&row, &row);
            if pivot > DEPENDENT * h[(j, j)] && pivot.is_finite() {
                row.push(pivot.sqrt());
                rows.push(row);
                kept.push(j);
            }
        }
        Self { kept, rows }
    }

    /// The solution of `H x = b` over the columns kept; 0 for the others.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = self.kept.iter().map(|&k| b[k]).collect();
        for i in 0..x.len() {
            x[i] = (x[i] - dot(&self.rows[i][..i], &x[..i])) / self.rows[i][i];
        }
        for i in (0..x.len()).rev() {
            x[i] /= self.rows[i][i];
            let (above, own) = x.split_at_mut(i);
            above.iter_mut().zip(&self.rows[i]).for_each(|(a, l)| *a -= own[0] * l);
        }
        let mut out = vec![0.0; b.len()];
        self.kept.iter().zip(x).for_each(|(&k, x)| out[k] = x);
        out
    }

    /// `H⁻¹` over the columns kept, row after row.
    pub(crate) fn inverse(&self) -> Vec<f64> {
        let rank = self.kept.len();
        // Row j of M holds column j of L⁻¹ from its diagonal on.
        let mut m: Vec<Vec<f64>> = Vec::with_capacity(rank);
        for j in 0..rank {
            let mut column = vec![1.0 / self.rows[j][j]];
            for i in j + 1..rank {
                column.push(-dot(&self.rows[i][j..i], &column) / self.rows[i][i]);
            }
            m.push(column);
        }
        let mut out = vec![0.0; rank * rank];
        for i in 0..rank {
            for j in i..rank {
                let sum = dot(&m[i][j - i..], &m[j]);
                out[i * rank + j] = sum;
                out[j * rank + i] = sum;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependent_column_is_set_aside_and_the_rest_inverted() {
        // Columns (1,0,0), (1,2,0), their sum, (0,1,3).
        let a = [[1.0, 1.0, 2.0, 0.0], [0.0, 2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 3.0]];
        let h = Mat::from_fn(4, 4, |i, j| (0..3).map(|r| a[r][i] * a[r][j]).sum());
        let triangle = Cholesky::new(&h);
        assert_eq!(triangle.kept, [0, 1, 3]);
        let x = triangle.solve(&[1.0, 2.0, 0.0, 3.0]);
        let inverse = triangle.inverse();
        for (a, &i) in triangle.kept.iter().enumerate() {
            let back: f64 = triangle.kept.iter().map(|&j| h[(i, j)] * x[j]).sum();
            assert!((back - [1.0, 2.0, 0.0, 3.0][i]).abs() < 1e-12);
            for b in 0..3 {
                let unit: f64 = (0..3).map(|k| h[(i, triangle.kept[k])] * inverse[k * 3 + b]).sum();
                assert!((unit - f64::from(u8::from(a == b))).abs() < 1e-12);
            }
        }
        assert_eq!(x[2], 0.0);
    }
}
