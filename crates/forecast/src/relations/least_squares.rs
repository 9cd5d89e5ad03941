//! Least squares over columns in a fixed order: one pass gives the fit with the first column, the first two, and so on.

/// What the columns in front of a given one leave of it counts as nothing below this share of its length.
const DEPENDENT: f64 = 1e-7;

/// A fit with an intercept. Columns that depend on earlier ones have the coefficient 0.
#[derive(Clone, Debug)]
pub(super) struct LeastSquares {
    mean_y: f64,
    means: Vec<f64>,
    /// Columns that were used, by number.
    used: Vec<usize>,
    /// For each column used, its share in those that came before (an upper triangle), and its length.
    shares: Vec<Vec<f64>>,
    lengths: Vec<f64>,
    /// The target's share in each column used.
    target: Vec<f64>,
    /// Squares left by the first 0, 1, 2, … columns.
    rss: Vec<f64>,
}

impl LeastSquares {
    /// Of `y` on columns of its length; all values finite. By modified Gram-Schmidt, which needs no second pass.
    pub(super) fn new(columns: Vec<Vec<f64>>, y: &[f64]) -> Self {
        let n = y.len().max(1) as f64;
        let mean_y = y.iter().sum::<f64>() / n;
        let mut rest: Vec<f64> = y.iter().map(|v| v - mean_y).collect();
        let mut out = Self {
            mean_y,
            means: Vec::with_capacity(columns.len()),
            used: Vec::new(),
            shares: Vec::new(),
            lengths: Vec::new(),
            target: Vec::new(),
            rss: vec![dot(&rest, &rest)],
        };
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(columns.len());
        for (j, mut column) in columns.into_iter().enumerate() {
            let mean = column.iter().sum::<f64>() / n;
            column.iter_mut().for_each(|v| *v -= mean);
            out.means.push(mean);
            let whole = dot(&column, &column).sqrt();
            let mut shares = Vec::with_capacity(basis.len());
            for q in &basis {
                let share = dot(q, &column);
                column.iter_mut().zip(q).for_each(|(v, q)| *v -= share * q);
                shares.push(share);
            }
            let length = dot(&column, &column).sqrt();
            if length.is_finite() && length > DEPENDENT * whole && basis.len() + 2 < y.len() {
                column.iter_mut().for_each(|v| *v /= length);
                let share = dot(&column, &rest);
                rest.iter_mut().zip(&column).for_each(|(v, q)| *v -= share * q);
                out.used.push(j);
                out.shares.push(shares);
                out.lengths.push(length);
                out.target.push(share);
                basis.push(column);
            }
            out.rss.push(dot(&rest, &rest));
        }
        out
    }

    /// The squares left by the first `k` columns.
    pub(super) fn rss(&self, k: usize) -> f64 {
        self.rss[k.min(self.rss.len() - 1)]
    }

    /// How many of the first `k` columns were used.
    pub(super) fn rank(&self, k: usize) -> usize {
        self.used.partition_point(|j| *j < k)
    }

    /// Intercept and coefficients of the fit with the first `k` columns.
    pub(super) fn coefficients(&self, k: usize) -> (f64, Vec<f64>) {
        let rank = self.rank(k);
        let mut b = vec![0.0; rank];
        for i in (0..rank).rev() {
            let later: f64 = (i + 1..rank).map(|m| self.shares[m][i] * b[m]).sum();
            b[i] = (self.target[i] - later) / self.lengths[i];
        }
        let mut coef = vec![0.0; k.min(self.means.len())];
        for (i, j) in self.used[..rank].iter().enumerate() {
            coef[*j] = b[i];
        }
        let intercept = self.mean_y - coef.iter().zip(&self.means).map(|(c, m)| c * m).sum::<f64>();
        (intercept, coef)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_found_and_a_repeated_column_left_out() {
        let a: Vec<f64> = (0..30).map(|t| f64::from(t * 7 % 11)).collect();
        let b: Vec<f64> = (0..30).map(|t| f64::from(t * 5 % 13)).collect();
        let y: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 3.0 + 2.0 * a - 0.5 * b).collect();
        let fit = LeastSquares::new(vec![a.clone(), a, b], &y);
        let (intercept, coef) = fit.coefficients(3);
        assert!((intercept - 3.0).abs() < 1e-10 && (coef[0] - 2.0).abs() < 1e-10 && coef[1] == 0.0);
        assert!((coef[2] + 0.5).abs() < 1e-10 && fit.rss(3) < 1e-20 && fit.rss(1) > 1.0);
        assert_eq!((fit.rank(1), fit.rank(2), fit.rank(3)), (1, 1, 2));
    }

    #[test]
    fn nothing_to_fit_is_no_fault() {
        let fit = LeastSquares::new(vec![vec![], vec![]], &[]);
        assert_eq!(fit.coefficients(2).1, [0.0, 0.0]);
        let fit = LeastSquares::new(vec![vec![1.0]], &[4.0]);
        assert_eq!(fit.coefficients(1), (4.0, vec![0.0]));
    }
}
