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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valleys_are_found() {
        let x = minimize_on(-2.0, 3.0, 11, 1e-9, |x| (x - 0.7) * (x - 0.7));
        assert!((x - 0.7).abs() < 1e-6, "{x}");
        assert!((minimize_on(0.0, 1.0, 5, 1e-9, |x| x) - 0.0).abs() < 1e-8);
    }
}
