//! From scores to probabilities that hold.

use super::softmax::softmax;
use serde::{Deserialize, Serialize};

/// How the logits of the model become probabilities. Which one is chosen on later origins than the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// As they are.
    None,
    /// All divided by one temperature (Guo, Pleiss, Sun and Weinberger, ICML 2017).
    Temperature {
        /// The factor, one over the temperature.
        factor: f64,
    },
    /// One factor, and an offset each for falling and rising against steady.
    Vector {
        /// The factor.
        factor: f64,
        /// The offset of falling.
        falling: f64,
        /// The offset of rising.
        rising: f64,
    },
}

impl Calibration {
    /// Factor and offsets.
    pub(crate) fn parts(self) -> (f64, f64, f64) {
        match self {
            Self::None => (1.0, 0.0, 0.0),
            Self::Temperature { factor } => (factor, 0.0, 0.0),
            Self::Vector { factor, falling, rising } => (factor, falling, rising),
        }
    }

    /// Probabilities of logits.
    pub(crate) fn apply(self, z: [f64; 3]) -> [f64; 3] {
        let (a, low, high) = self.parts();
        softmax([a * z[0] + low, a * z[1], a * z[2] + high])
    }

    /// The best of its form (the number of free parameters is `free`: 0, 1 or 3) on these cases, held near no change as
    /// if `hold` cases had spoken for it.
    fn fit(free: usize, logits: &[[f64; 3]], class: &[u8], hold: f64) -> Self {
        if free == 0 {
            return Self::None;
        }
        let mut v = [1.0, 0.0, 0.0];
        for _ in 0..30 {
            let mut g = [hold * (v[0] - 1.0), hold * v[1], hold * v[2]];
            let mut h = [[hold, 0.0, 0.0], [0.0, hold, 0.0], [0.0, 0.0, hold]];
            for (z, c) in logits.iter().zip(class) {
                let p = softmax([v[0] * z[0] + v[1], v[0] * z[1], v[0] * z[2] + v[2]]);
                // Derivatives of the three logits by factor, offset of falling, offset of rising.
                let d = [[z[0], 1.0, 0.0], [z[1], 0.0, 0.0], [z[2], 0.0, 1.0]];
                let mean: [f64; 3] = std::array::from_fn(|a| (0..3).map(|k| p[k] * d[k][a]).sum());
                for a in 0..3 {
                    g[a] += mean[a] - d[usize::from(*c)][a];
                    for b in 0..3 {
                        h[a][b] += (0..3).map(|k| p[k] * d[k][a] * d[k][b]).sum::<f64>() - mean[a] * mean[b];
                    }
                }
            }
            let step = if free == 1 { [g[0] / h[0][0], 0.0, 0.0] } else { solve3(h, g) };
            for a in 0..3 {
                v[a] -= step[a].clamp(-1.0, 1.0);
            }
            v[0] = v[0].clamp(0.1, 5.0);
            if step.iter().all(|s| s.abs() < 1e-9) {
                break;
            }
        }
        if free == 1 {
            Self::Temperature { factor: v[0] }
        } else {
            Self::Vector { factor: v[0], falling: v[1], rising: v[2] }
        }
    }

    /// Chooses the form by leaving out each origin in turn (with those whose windows overlap), then fits it on all.
    /// Also gives the probabilities of the left-out cases under the chosen form.
    pub(crate) fn choose(
        logits: &[[f64; 3]],
        class: &[u8],
        origin: &[usize],
        h: usize,
    ) -> (Self, Vec<[f64; 3]>) {
        const HOLD: f64 = 50.0;
        let mut origins = origin.to_vec();
        origins.sort_unstable();
        origins.dedup();
        let plain = || logits.iter().map(|z| Self::None.apply(*z)).collect::<Vec<_>>();
        if origins.len() < 3 {
            return (Self::None, plain());
        }
        let mut best: (f64, usize, Vec<[f64; 3]>) = (f64::INFINITY, 0, plain());
        for free in [0, 1, 3] {
            let mut p = vec![[0.0; 3]; logits.len()];
            for t in &origins {
                let (z, c): (Vec<[f64; 3]>, Vec<u8>) = (0..logits.len())
                    .filter(|i| origin[*i].abs_diff(*t) >= h)
                    .map(|i| (logits[i], class[i]))
                    .unzip();
                let map = Self::fit(free, &z, &c, HOLD);
                for i in (0..logits.len()).filter(|i| origin[*i] == *t) {
                    p[i] = map.apply(logits[i]);
                }
            }
            let loss: f64 = p.iter().zip(class).map(|(p, c)| -p[usize::from(*c)].max(1e-12).ln()).sum();
            // The richer form must earn its place.
            if loss < best.0 - 0.001 * logits.len() as f64 {
                best = (loss, free, p);
            }
        }
        (Self::fit(best.1, logits, class, HOLD), best.2)
    }
}

/// Solves a symmetric system of three.
fn solve3(m: [[f64; 3]; 3], r: [f64; 3]) -> [f64; 3] {
    let det = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let d = det(&m);
    std::array::from_fn(|k| {
        let mut c = m;
        for i in 0..3 {
            c[i][k] = r[i];
        }
        if d.abs() > 1e-12 { det(&c) / d } else { 0.0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_logits_are_cooled() {
        // What happens follows the logits at half their size.
        let mut logits = Vec::new();
        let mut class = Vec::new();
        let mut origin = Vec::new();
        let mut u = 0.5_f64;
        for i in 0..9_000_usize {
            u = (u * 997.0 + 0.377).fract();
            let s = (i % 41) as f64 / 10.0 - 2.0;
            let z = [-2.0 * s, 0.0, 2.0 * s];
            let p = softmax(z.map(|v| v / 2.0));
            class.push(if u < p[0] { 0 } else { u8::from(u >= p[0] + p[1]) + 1 });
            logits.push(z);
            origin.push(i / 1_500 * 28);
        }
        let (map, _) = Calibration::choose(&logits, &class, &origin, 28);
        let (factor, low, high) = map.parts();
        assert!((factor - 0.5).abs() < 0.06 && low.abs() < 0.1 && high.abs() < 0.1, "{map:?}");
    }
}
