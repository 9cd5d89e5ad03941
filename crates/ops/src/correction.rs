//! p-values of many tests at once.

/// Which error of many tests is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// The chance of any false alarm among all tests (Holm 1979).
    #[default]
    Holm,
    /// The expected share of false alarms among all alarms (Benjamini and Hochberg 1995).
    BenjaminiHochberg,
    /// None: each test by itself.
    Each,
}

impl Correction {
    /// The p-values as they may be compared with the wanted level, in the order given. NaN stays NaN and counts as no
    /// test.
    ///
    /// ```
    /// use tradewind_ops::correction::Correction;
    /// assert_eq!(Correction::Holm.adjust(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    /// ```
    pub fn adjust(self, p: &[f64]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..p.len()).filter(|i| !p[*i].is_nan()).collect();
        order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
        let mut out = p.to_vec();
        let m = order.len();
        match self {
            Self::Each => {}
            Self::Holm => {
                let mut largest = 0.0_f64;
                for (rank, i) in order.into_iter().enumerate() {
                    largest = largest.max(p[i] * (m - rank) as f64).min(1.0);
                    out[i] = largest;
                }
            }
            Self::BenjaminiHochberg => {
                let mut least = 1.0_f64;
                for (rank, i) in order.into_iter().enumerate().rev() {
                    least = least.min(p[i] * m as f64 / (rank + 1) as f64);
                    out[i] = least;
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_statsmodels() {
        // statsmodels 0.15.0, multipletests(p, method="holm") and "fdr_bh".
        let p = [0.001, 0.2, 0.012, 0.04, 0.03, 0.9, f64::NAN];
        let near = |got: Vec<f64>, want: [f64; 6]| {
            assert!(got[6].is_nan());
            got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-12, "{g} {w}"));
        };
        near(Correction::Holm.adjust(&p), [0.006, 0.4, 0.06, 0.12, 0.12, 0.9]);
        near(Correction::BenjaminiHochberg.adjust(&p), [0.006, 0.24, 0.036, 0.06, 0.06, 0.9]);
        assert_eq!(Correction::Each.adjust(&p)[..6], p[..6]);
    }
}
