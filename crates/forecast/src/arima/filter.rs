//! The exact filter of an autoregressive moving average, and regression under it.

use super::polynomial::autocovariances;

/// Standardised innovations of several columns under one autoregressive moving average with unit innovation variance.
///
/// The state of the textbook's Kalman filter (Harvey 1989, section 3.3) of `r` numbers moves on by the recursions of
/// Chandrasekhar (Morf, Sidhu & Kailath 1974; Pearlman 1980, *Biometrika* 67): from a stationary start the variance of
/// the state changes by a matrix of rank one, so a step takes `O(r)` instead of `O(r²)`. Once the rest of the start has
/// faded, only the lags that the model has are touched.
#[derive(Default)]
pub(super) struct Filter {
    r: usize,
    phi: Vec<f64>,
    theta: Vec<f64>,
    /// The lags, from 0 for lag 1, at which a coefficient is not zero, with both coefficients.
    lags: Vec<(usize, f64, f64)>,
    psi: Vec<f64>,
    gamma: Vec<f64>,
    gain: Vec<f64>,
    change: Vec<f64>,
    work: Vec<f64>,
    /// State of each column: what is known of the next `r` observations.
    states: Vec<f64>,
    /// Past this share of the innovation variance, what is left of the start counts as nothing.
    pub(super) steady: f64,
    /// Where the state begins, once it turns in a ring.
    head: usize,
    /// The sum of the logarithms of the innovations' variances.
    pub(super) log_variances: f64,
}

impl Filter {
    /// A filter that takes its short way once a share `steady` of the start is left.
    pub(super) fn new(steady: f64) -> Self {
        Self { steady, ..Self::default() }
    }

    /// Takes the coefficients of lags 1 and on. False where the process is not stationary.
    pub(super) fn set(&mut self, phi: &[f64], theta: &[f64]) -> bool {
        let r = phi.len().max(theta.len()).max(1);
        self.r = r;
        for (own, given) in [(&mut self.phi, phi), (&mut self.theta, theta)] {
            own.clear();
            own.extend_from_slice(given);
            own.resize(r, 0.0);
        }
        self.lags.clear();
        self.lags.extend(
            (0..r).map(|i| (i, self.phi[i], self.theta[i])).filter(|(_, a, b)| *a != 0.0 || *b != 0.0),
        );
        self.gamma.clear();
        self.gamma.resize(r + 1, 0.0);
        autocovariances(phi, theta, &mut self.work, &mut self.gamma) && self.gamma[0].is_finite()
    }

    /// Filters `n_columns` columns of `n` values each, one after the other in `columns`. `out` becomes the innovations
    /// over their standard deviations, or the innovations themselves if `raw`.
    pub(super) fn run(&mut self, columns: &[f64], n: usize, n_columns: usize, raw: bool, out: &mut [f64]) {
        let r = self.r;
        self.states.clear();
        self.states.resize(r * n_columns, 0.0);
        self.head = 0;
        self.begin();
        self.log_variances = 0.0;
        let mut variance = self.gamma[0];
        // The change of the state's variance is `weight · change changeᵀ`.
        let mut weight = -1.0 / variance;
        let mut t = 0;
        while t < n {
            let root = variance.sqrt();
            let scale = if raw { 1.0 } else { 1.0 / root };
            for c in 0..n_columns {
                let state = &mut self.states[c * r..(c + 1) * r];
                let e = columns[c * n + t] - state[0];
                out[c * n + t] = e * scale;
                let (first, over) = (state[0], e / variance);
                for i in 0..r - 1 {
                    state[i] = state[i + 1] + self.gain[i] * over;
                }
                state[r - 1] = self.gain[r - 1] * over;
                for (i, phi, _) in &self.lags {
                    state[*i] += phi * first;
                }
            }
            self.log_variances += variance.ln();
            t += 1;
            let h = self.change[0];
            let by = weight * h;
            let next = (variance + by * h).max(1.0);
            // T · change, in place.
            for i in 0..r - 1 {
                self.change[i] = self.change[i + 1];
            }
            self.change[r - 1] = 0.0;
            for (i, phi, _) in &self.lags {
                self.change[*i] += phi * h;
            }
            if h != 0.0 {
                let over = h / next;
                for i in 0..r {
                    self.gain[i] += by * self.change[i];
                    self.change[i] -= self.gain[i] * over;
                }
                weight += by * by / variance;
            }
            variance = next;
            if weight.abs() * h * h <= self.steady && variance - 1.0 <= self.steady {
                let largest = self.change.iter().fold(0.0_f64, |a, v| a.max(v.abs()));
                if weight.abs() * largest * largest <= self.steady {
                    break;
                }
            }
        }
        // Steady: the variance is 1, and the gain is that of the infinite past.
        let at = t;
        for c in 0..n_columns {
            let state = &mut self.states[c * r..(c + 1) * r];
            let mut head = 0;
            for t in at..n {
                let y = columns[c * n + t];
                let e = y - state[head];
                out[c * n + t] = e;
                state[head] = 0.0;
                head = if head + 1 == r { 0 } else { head + 1 };
                for (i, phi, theta) in &self.lags {
                    let k = head + i;
                    state[if k >= r { k - r } else { k }] += phi * y + theta * e;
                }
            }
            self.head = head;
        }
    }

    /// What column `c` says of the `r` observations behind its last one, as if the innovations to come were zero.
    pub(super) fn state(&self, c: usize) -> Vec<f64> {
        let state = &self.states[c * self.r..(c + 1) * self.r];
        (0..self.r).map(|i| state[(self.head + i) % self.r]).collect()
    }

    /// Gain and change at the first observation, from the stationary start.
    fn begin(&mut self) {
        let r = self.r;
        self.psi.clear();
        self.psi.resize(r + 1, 0.0);
        self.psi[0] = 1.0;
        for j in 1..r {
            let mut v = self.theta[j - 1];
            for (i, phi, _) in &self.lags {
                if *i >= j {
                    break;
                }
                v += phi * self.psi[j - 1 - i];
            }
            self.psi[j] = v;
        }
        self.gain.clear();
        self.gain.resize(r, 0.0);
        // Covariance of the next state with the observation.
        for (j, phi, theta) in &self.lags {
            for i in 0..=*j {
                self.gain[i] += phi * self.gamma[j - i] + theta * self.psi[j - i];
            }
        }
        self.change.clear();
        self.change.extend_from_slice(&self.gain);
    }
}

/// Least squares by the normal equations `gram · x = right`, solved by Cholesky in place. `gram` has `k` rows of `k`.
/// The sum of the logarithms of the first `determinant_of` pivots is given back. `None` where the columns depend on one
/// another.
pub(crate) fn solve(gram: &mut [f64], right: &mut [f64], k: usize, determinant_of: usize) -> Option<f64> {
    let mut log = 0.0;
    for i in 0..k {
        let whole = gram[i * k + i];
        for j in 0..=i {
            let mut v = gram[i * k + j];
            for l in 0..j {
                v -= gram[i * k + l] * gram[j * k + l];
            }
            if i == j {
                if !(v > 1e-13 * whole && v > 0.0) {
                    return None;
                }
                gram[i * k + i] = v.sqrt();
                if i < determinant_of {
                    log += v.ln();
                }
            } else {
                gram[i * k + j] = v / gram[j * k + j];
            }
        }
    }
    for i in 0..k {
        let v: f64 = right[i] - (0..i).map(|l| gram[i * k + l] * right[l]).sum::<f64>();
        right[i] = v / gram[i * k + i];
    }
    for i in (0..k).rev() {
        let v: f64 = right[i] - (i + 1..k).map(|l| gram[l * k + i] * right[l]).sum::<f64>();
        right[i] = v / gram[i * k + i];
    }
    Some(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook's filter with full matrices, as a judge of the fast one.
    fn plain(phi: &[f64], theta: &[f64], y: &[f64]) -> (Vec<f64>, f64, Vec<f64>) {
        let r = phi.len().max(theta.len() + 1);
        let ph = |i: usize| phi.get(i).copied().unwrap_or(0.0);
        let load = |i: usize| if i == 0 { 1.0 } else { theta.get(i - 1).copied().unwrap_or(0.0) };
        let transition = |x: &dyn Fn(usize) -> f64, i: usize| ph(i) * x(0) + if i + 1 < r { x(i + 1) } else { 0.0 };
        // The stationary variance, by going on until it stands.
        let mut p = vec![vec![0.0; r]; r];
        let step = |p: &Vec<Vec<f64>>| {
            let tp: Vec<Vec<f64>> =
                (0..r).map(|i| (0..r).map(|j| transition(&|k| p[k][j], i)).collect()).collect();
            (0..r)
                .map(|i| (0..r).map(|j| transition(&|k| tp[i][k], j) + load(i) * load(j)).collect())
                .collect::<Vec<Vec<f64>>>()
        };
        (0..3000).for_each(|_| p = step(&p));
        let (mut a, mut out, mut logs) = (vec![0.0; r], vec![], 0.0);
        for v in y {
            let (e, f) = (v - a[0], p[0][0]);
            out.push(e / f.sqrt());
            logs += f64::ln(f);
            let column: Vec<f64> = (0..r).map(|i| p[i][0]).collect();
            (0..r).for_each(|i| a[i] += column[i] / f * e);
            for i in 0..r {
                (0..r).for_each(|j| p[i][j] -= column[i] * column[j] / f);
            }
            a = (0..r).map(|i| transition(&|k| a[k], i)).collect();
            p = step(&p);
        }
        (out, logs, a)
    }

    #[test]
    fn the_fast_filter_equals_the_full_one() {
        let y: Vec<f64> = (0..90).map(|t| ((t * 37 % 23) as f64 - 11.0) / 5.0 + (t % 5) as f64).collect();
        for (phi, theta) in [
            (vec![], vec![]),
            (vec![0.8], vec![]),
            (vec![], vec![-0.7]),
            (vec![0.6, -0.2], vec![0.5]),
            (vec![0.5, 0.0, 0.0, 0.4, -0.2], vec![0.3, 0.1]),
            (vec![0.97], vec![-0.4, 0.0, 0.0, -0.9, 0.36]),
        ] {
            let (want, logs, state) = plain(&phi, &theta, &y);
            let mut filter = Filter::new(1e-10);
            assert!(filter.set(&phi, &theta));
            let mut out = vec![0.0; y.len()];
            filter.run(&y, y.len(), 1, false, &mut out);
            assert!((filter.log_variances - logs).abs() < 1e-6, "{phi:?} {theta:?}: {} {logs}", filter.log_variances);
            for t in 0..y.len() {
                assert!((out[t] - want[t]).abs() < 1e-6, "{phi:?} {theta:?} {t}: {} {}", out[t], want[t]);
            }
            for (a, b) in filter.state(0).iter().zip(&state) {
                assert!((a - b).abs() < 1e-6, "{phi:?} {theta:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn normal_equations_are_solved() {
        let mut gram = [4.0, 2.0, 2.0, 3.0];
        let mut right = [10.0, 9.0];
        let log = solve(&mut gram, &mut right, 2, 1).expect("regular");
        assert!((right[0] - 1.5).abs() < 1e-12 && (right[1] - 2.0).abs() < 1e-12);
        assert!((log - 4.0_f64.ln()).abs() < 1e-12);
        assert!(solve(&mut [1.0, 1.0, 1.0, 1.0], &mut [1.0, 1.0], 2, 0).is_none());
    }
}
