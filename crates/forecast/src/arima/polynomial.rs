//! Lag polynomials: expansion of seasonal products, coefficients by partial autocorrelations, autocovariances.

/// Coefficients of an autoregression with the partial autocorrelations `partial` (Durbin-Levinson). All of them within
/// (−1, 1) give exactly the stationary ones (Monahan 1984, *Biometrika* 71).
pub(super) fn from_partial(partial: &[f64], out: &mut [f64]) {
    for (k, r) in partial.iter().enumerate() {
        let half = k / 2;
        for j in 0..half {
            let (a, b) = (out[j], out[k - 1 - j]);
            out[j] = a - r * b;
            out[k - 1 - j] = b - r * a;
        }
        if k % 2 == 1 {
            out[half] -= r * out[half];
        }
        out[k] = *r;
    }
}

/// Whether all zeros of `1 − Σ coefficients[i] zⁱ⁺¹` lie farther than `radius` from the origin (Schur-Cohn).
pub(super) fn zeros_beyond(coefficients: &[f64], radius: f64) -> bool {
    let mut a = Vec::with_capacity(coefficients.len());
    let mut power = 1.0;
    for c in coefficients {
        power *= radius;
        a.push(c * power);
    }
    while let Some(r) = a.pop() {
        if r.is_nan() || r.abs() >= 1.0 {
            return false;
        }
        let k = a.len();
        let scale = 1.0 / (1.0 - r * r);
        for j in 0..k.div_ceil(2) {
            let (low, high) = (a[j], a[k - 1 - j]);
            a[j] = (low + r * high) * scale;
            a[k - 1 - j] = (high + r * low) * scale;
        }
    }
    true
}

/// `out[i]` becomes the coefficient of lag `i + 1` of `(1 − Σ short_i Bⁱ)(1 − Σ long_j B^(jm))`, both and the result
/// with the sign of an autoregression.
pub(super) fn expand(short: &[f64], long: &[f64], m: usize, out: &mut [f64]) {
    out.fill(0.0);
    out[..short.len()].copy_from_slice(short);
    for (j, s) in long.iter().enumerate() {
        let at = (j + 1) * m;
        out[at - 1] += s;
        for (i, a) in short.iter().enumerate() {
            out[at + i] -= s * a;
        }
    }
}

/// The coefficients of lags 1 and on of `(1 − B)^d (1 − B^m)^seasonal_d`, with the sign of an autoregression.
pub(super) fn differencing(d: usize, seasonal_d: usize, m: usize) -> Vec<f64> {
    let mut full = vec![1.0];
    let mut times = |lag: usize| {
        let n = full.len();
        full.resize(n + lag, 0.0);
        for i in (lag..n + lag).rev() {
            full[i] -= full[i - lag];
        }
    };
    (0..d).for_each(|_| times(1));
    (0..seasonal_d).for_each(|_| times(m));
    full[1..].iter().map(|v| -v).collect()
}

/// Autocovariances `γ(0) … γ(k)` of `φ(B) w = θ(B) ε` with unit variance of `ε`, `k + 1 = out.len()`. `phi` and `theta`
/// hold the coefficients of lags 1 and on, and `phi` belongs to a stationary process. False where it does not.
///
/// With `φ(z) c(1/z) + φ(1/z) c(z) = θ(z) θ(1/z)` the autocovariances are the coefficients of `c(z)/φ(z)`. The equation
/// is solved from the highest degree down, as in Wilson (1979), *Journal of Statistical Computation and Simulation* 8:
/// quadratic in the order, where a system of linear equations is cubic.
pub(super) fn autocovariances(phi: &[f64], theta: &[f64], work: &mut Vec<f64>, out: &mut [f64]) -> bool {
    let (p, q) = (phi.len(), theta.len());
    let k = p.max(q);
    work.clear();
    work.resize(5 * (k + 1), 0.0);
    let (a, rest) = work.split_at_mut(k + 1);
    let (s, rest) = rest.split_at_mut(k + 1);
    let (c, rest) = rest.split_at_mut(k + 1);
    let (rho, tau) = rest.split_at_mut(k + 1);
    a[0] = 1.0;
    (0..p).for_each(|i| a[i + 1] = -phi[i]);
    for j in 0..=q {
        let b = |i: usize| if i == 0 { 1.0 } else { theta[i - 1] };
        s[j] = (0..=q - j).map(|i| b(i) * b(i + j)).sum();
    }
    for d in (1..=k).rev() {
        // Takes the coefficient of degree d out of both sides.
        let t = s[d] / a[0];
        (tau[d], s[d]) = (t, 0.0);
        for j in 1..d {
            s[j] -= t * a[d - j];
        }
        s[0] -= 2.0 * t * a[d];
        let r = a[d] / a[0];
        if r.is_nan() || r.abs() >= 1.0 {
            return false;
        }
        rho[d] = r;
        if r != 0.0 {
            for j in 0..=d / 2 {
                let (low, high) = (a[j], a[d - j]);
                a[j] = low - r * high;
                if j != d - j {
                    a[d - j] = high - r * low;
                }
            }
        }
    }
    c[0] = s[0] / (2.0 * a[0]);
    for d in 1..=k {
        let r = rho[d];
        if r != 0.0 {
            // Degree d is zero so far, so its partner at 0 stays.
            for j in 0..=d / 2 {
                let (low, high) = (c[j], c[d - j]);
                c[j] = low - r * high;
                if j != d - j {
                    c[d - j] = high - r * low;
                }
            }
        }
        c[d] += tau[d];
    }
    for j in 0..out.len() {
        let own = if j <= k { c[j] } else { 0.0 };
        out[j] = own + (0..p.min(j)).map(|i| phi[i] * out[j - 1 - i]).sum::<f64>();
    }
    out[0] *= 2.0;
    // The sums above want the half at lag 0, as c/φ is one side only.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_autocorrelations_give_stationary_polynomials() {
        let mut out = [0.0; 3];
        from_partial(&[0.5, -0.3, 0.2], &mut out);
        // By hand: (0.5), then (0.65, −0.3), then (0.71, −0.43, 0.2).
        for (a, b) in out.iter().zip([0.71, -0.43, 0.2]) {
            assert!((a - b).abs() < 1e-12, "{out:?}");
        }
        assert!(zeros_beyond(&out, 1.0) && !zeros_beyond(&[1.01], 1.0) && zeros_beyond(&[], 1.0));
        assert!(zeros_beyond(&[0.9], 1.1) && !zeros_beyond(&[0.92], 1.1));
    }

    #[test]
    fn products_are_expanded() {
        let mut out = [0.0; 5];
        expand(&[0.5], &[0.4], 4, &mut out);
        assert_eq!(out, [0.5, 0.0, 0.0, 0.4, -0.2]);
        assert_eq!(differencing(1, 1, 4), [1.0, 0.0, 0.0, 1.0, -1.0]);
        assert_eq!(differencing(2, 0, 1), [2.0, -1.0]);
        assert!(differencing(0, 0, 7).is_empty());
    }

    /// Against sums over the moving average of infinite order.
    #[test]
    fn autocovariances_are_those_of_the_infinite_moving_average() {
        for (phi, theta) in [
            (vec![0.7], vec![0.4]),
            (vec![0.5, -0.3, 0.2], vec![]),
            (vec![], vec![0.5, 0.2]),
            (vec![0.5, 0.0, 0.0, 0.4, -0.2], vec![0.3, 0.1]),
            (vec![0.4], vec![-0.5, 0.0, 0.0, -0.6, 0.3]),
        ] {
            let mut psi = vec![1.0; 600];
            for j in 1..psi.len() {
                let ar: f64 = (0..phi.len().min(j)).map(|i| phi[i] * psi[j - 1 - i]).sum();
                psi[j] = ar + theta.get(j - 1).copied().unwrap_or(0.0);
            }
            let mut out = vec![0.0; 8];
            assert!(autocovariances(&phi, &theta, &mut vec![], &mut out));
            for (k, got) in out.iter().enumerate() {
                let want: f64 = (k..psi.len()).map(|j| psi[j] * psi[j - k]).sum();
                assert!((got - want).abs() < 1e-9 * out[0], "{phi:?} {theta:?} {k}: {got} {want}");
            }
        }
        assert!(!autocovariances(&[1.0], &[], &mut vec![], &mut [0.0; 2]));
    }
}
