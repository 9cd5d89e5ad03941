//! Minimisers for a few bounded parameters, without allocation.

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

/// The lowest point of `f` found in the unit cube by the simplex of Nelder & Mead (1965), begun at `start` with edges
/// of `edge`. Points outside are pulled onto the cube. Ends when the simplex' values agree to `tolerance` (relative) or
/// after `evaluations_max` calls.
pub(crate) fn nelder_mead<const N: usize>(
    start: [f64; N],
    edge: f64,
    tolerance: f64,
    evaluations_max: usize,
    mut f: impl FnMut(&[f64; N]) -> f64,
) -> ([f64; N], f64) {
    let mut calls = 0;
    let mut eval = |x: &[f64; N]| {
        calls += 1;
        let v = f(x);
        (if v.is_nan() { f64::INFINITY } else { v }, calls)
    };
    let first = start.map(|v| v.clamp(0.0, 1.0));
    if N == 0 {
        let v = eval(&first).0;
        return (first, v);
    }
    let mut points = vec![(first, eval(&first).0)];
    for i in 0..N {
        let mut x = first;
        x[i] = if x[i] + edge <= 1.0 { x[i] + edge } else { x[i] - edge };
        let v = eval(&x).0;
        points.push((x, v));
    }
    loop {
        // A stable order for equal values keeps the search the same everywhere.
        points.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (low, high) = (points[0].1, points[N].1);
        let mut centre = [0.0; N];
        for (x, _) in &points[..N] {
            (0..N).for_each(|i| centre[i] += x[i] / N as f64);
        }
        let worst = points[N].0;
        let along = |k: f64| {
            let mut x = centre;
            (0..N).for_each(|i| x[i] = (centre[i] + k * (centre[i] - worst[i])).clamp(0.0, 1.0));
            x
        };
        let width = (0..N).map(|i| (centre[i] - worst[i]).abs()).fold(0.0, f64::max);
        let done = (high - low).abs() <= tolerance * (low.abs() + 1e-300) || width < 1e-7;
        let reflected = along(1.0);
        let (fr, calls) = if done { (high, 0) } else { eval(&reflected) };
        if done || calls > evaluations_max {
            return points[0];
        }
        if fr < low {
            let far = along(2.0);
            let fe = eval(&far).0;
            points[N] = if fe < fr { (far, fe) } else { (reflected, fr) };
        } else if fr < points[N - 1].1 {
            points[N] = (reflected, fr);
        } else {
            let inner = if fr < high { along(0.5) } else { along(-0.5) };
            let fi = eval(&inner).0;
            if fi < fr.min(high) {
                points[N] = (inner, fi);
            } else {
                let best = points[0].0;
                for p in &mut points[1..] {
                    (0..N).for_each(|i| p.0[i] = best[i] + 0.5 * (p.0[i] - best[i]));
                    p.1 = eval(&p.0).0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valleys_are_found() {
        let x = minimize_on(-2.0, 3.0, 11, 1e-9, |x| (x - 0.7) * (x - 0.7));
        assert!((x - 0.7).abs() < 1e-6, "{x}");
        assert!((minimize_on(0.0, 1.0, 5, 1e-9, |x| x) - 0.0).abs() < 1e-8);
        let (x, v) = nelder_mead([0.9, 0.1], 0.2, 1e-14, 2000, |x| {
            let (a, b) = (2.0 * x[0], 2.0 * x[1]);
            (1.0 - a) * (1.0 - a) + 100.0 * (b - a * a) * (b - a * a)
        });
        assert!((x[0] - 0.5).abs() < 1e-3 && (x[1] - 0.5).abs() < 1e-3 && v < 1e-6, "{x:?} {v}");
        let (x, _) =
            nelder_mead([0.5; 3], 0.3, 1e-12, 2000, |x| x.iter().map(|v| (v + 0.5) * (v + 0.5)).sum());
        assert!(x.iter().all(|v| *v < 1e-4), "{x:?}");
        assert_eq!(nelder_mead([0.5], 0.3, 1e-9, 100, |_| f64::NAN).1, f64::INFINITY);
    }
}
