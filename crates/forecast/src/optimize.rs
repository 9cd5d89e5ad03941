//! Minimisers for a few bounded parameters, and the small linear systems of least squares.

/// The lowest point of `f` on `[low, high]`: the best of `grid` even points, refined by golden sections between its
/// neighbours down to `tolerance`. The grid guards against a second valley.
pub(crate) fn minimize_on(
    low: f64,
    high: f64,
    grid: usize,
    tolerance: f64,
    mut f: impl FnMut(f64) -> f64,
) -> f64 {
    let step = (high - low) / (grid.max(2) - 1) as f64;
    let mut best = (f64::INFINITY, low);
    for i in 0..grid.max(2) {
        let x = low + step * i as f64;
        let v = f(x);
        if v < best.0 {
            best = (v, x);
        }
    }
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let (mut a, mut b) = ((best.1 - step).max(low), (best.1 + step).min(high));
    let (mut x1, mut x2) = (b - GOLDEN * (b - a), a + GOLDEN * (b - a));
    let (mut f1, mut f2) = (f(x1), f(x2));
    while b - a > tolerance {
        if f1 <= f2 {
            (b, x2, f2) = (x2, x1, f1);
            x1 = b - GOLDEN * (b - a);
            f1 = f(x1);
        } else {
            (a, x1, f1) = (x1, x2, f2);
            x2 = a + GOLDEN * (b - a);
            f2 = f(x2);
        }
    }
    let (v, x) = if f1 <= f2 { (f1, x1) } else { (f2, x2) };
    if v <= best.0 { x } else { best.1 }
}

/// Solves `a x = b` for a symmetric positive `a` (lower half, row by row) by Cholesky; `x` takes the place of `b`. A
/// little is added to the diagonal, so that directions without data stay where they are.
pub(crate) fn solve_positive(a: &mut [f64], b: &mut [f64], p: usize) -> Option<()> {
    let ridge = 1e-10 * (0..p).map(|i| a[i * p + i]).fold(0.0, f64::max);
    for i in 0..p {
        a[i * p + i] += ridge;
        for j in 0..=i {
            let s: f64 = a[i * p + j] - (0..j).map(|k| a[i * p + k] * a[j * p + k]).sum::<f64>();
            if i == j {
                if !(s > 0.0 && s.is_finite()) {
                    return None;
                }
                a[i * p + i] = s.sqrt();
            } else {
                a[i * p + j] = s / a[j * p + j];
            }
        }
    }
    for i in 0..p {
        b[i] = (b[i] - (0..i).map(|k| a[i * p + k] * b[k]).sum::<f64>()) / a[i * p + i];
    }
    for i in (0..p).rev() {
        b[i] = (b[i] - (i + 1..p).map(|k| a[k * p + i] * b[k]).sum::<f64>()) / a[i * p + i];
    }
    b.iter().all(|v| v.is_finite()).then_some(())
}

/// The lowest sum of squares of `residuals(x, out)` with `low ≤ x ≤ high`, by the method of Levenberg (1944) and Marquardt
/// (1963) with derivatives from differences. Gives the point and its sum.
pub(crate) fn least_squares<const N: usize>(
    start: [f64; N],
    low: [f64; N],
    high: [f64; N],
    n_residuals: usize,
    mut residuals: impl FnMut(&[f64; N], &mut [f64]),
) -> ([f64; N], f64) {
    const ROUNDS_MAX: usize = 40;
    const DIFFERENCE: f64 = 1e-6;
    let sum = |e: &[f64]| {
        let v: f64 = e.iter().map(|e| e * e).sum();
        if v.is_nan() { f64::INFINITY } else { v }
    };
    let mut x = start;
    let mut here = vec![0.0; n_residuals];
    let mut there = vec![0.0; n_residuals];
    let mut columns = vec![vec![0.0; n_residuals]; N];
    residuals(&x, &mut here);
    let mut value = sum(&here);
    let mut damping = 1e-3;
    for _ in 0..ROUNDS_MAX {
        for (i, column) in columns.iter_mut().enumerate() {
            // Towards the inside of the range.
            let h = if x[i] + DIFFERENCE <= high[i] { DIFFERENCE } else { -DIFFERENCE };
            let mut moved = x;
            moved[i] += h;
            residuals(&moved, &mut there);
            column.iter_mut().zip(there.iter().zip(&here)).for_each(|(d, (a, b))| *d = (a - b) / h);
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let g: Vec<f64> = columns.iter().map(|c| dot(c, &here)).collect();
        let before = value;
        for _ in 0..8 {
            let free: Vec<usize> = (0..N)
                .filter(|&i| !((x[i] <= low[i] && g[i] > 0.0) || (x[i] >= high[i] && g[i] < 0.0)))
                .collect();
            let p = free.len();
            let mut a = vec![0.0; p * p];
            for (r, &i) in free.iter().enumerate() {
                for (c, &j) in free[..=r].iter().enumerate() {
                    a[r * p + c] = dot(&columns[i], &columns[j]);
                }
                a[r * p + r] *= 1.0 + damping;
            }
            let mut d: Vec<f64> = free.iter().map(|&i| -g[i]).collect();
            if p == 0 || solve_positive(&mut a, &mut d, p).is_none() {
                break;
            }
            let mut trial = x;
            free.iter().zip(&d).for_each(|(&i, d)| trial[i] = (x[i] + d).clamp(low[i], high[i]));
            residuals(&trial, &mut there);
            let v = sum(&there);
            if v < value {
                (x, value) = (trial, v);
                std::mem::swap(&mut here, &mut there);
                damping = f64::max(damping * 0.1, 1e-9);
                break;
            }
            damping *= 8.0;
        }
        // Nothing better, or no more than the last digits of a likelihood.
        let gains = before - value > 1e-8 * before;
        if !gains {
            break;
        }
    }
    (x, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valleys_are_found() {
        let x = minimize_on(-2.0, 3.0, 11, 1e-9, |x| (x - 0.7) * (x - 0.7));
        assert!((x - 0.7).abs() < 1e-6, "{x}");
        assert!((minimize_on(0.0, 1.0, 5, 1e-9, |x| x) - 0.0).abs() < 1e-8);
        let banana = |x: &[f64; 2], out: &mut [f64]| {
            out.copy_from_slice(&[1.0 - x[0], 10.0 * (x[1] - x[0] * x[0])]);
        };
        let (x, v) = least_squares([-1.2, 1.0], [-2.0; 2], [2.0; 2], 2, banana);
        assert!((x[0] - 1.0).abs() < 1e-4 && (x[1] - 1.0).abs() < 1e-4 && v < 1e-8, "{x:?} {v}");
        // The lowest point of the whole lies outside: the search stops at the end of the range.
        let (x, _) = least_squares([-1.2, 1.0], [-2.0; 2], [0.5, 2.0], 2, banana);
        assert!((x[0] - 0.5).abs() < 1e-12 && (x[1] - 0.25).abs() < 1e-4, "{x:?}");
        assert_eq!(least_squares([0.5], [0.0], [1.0], 1, |_, out| out[0] = f64::NAN).1, f64::INFINITY);
    }
}
