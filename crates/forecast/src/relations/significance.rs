//! Cross-correlations, what they are worth when many are looked at, and the test of Granger.

use super::least_squares::LeastSquares;
use tradewind_learn::student::{f_p, two_sided_p};

/// A correlation at one lag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtLag {
    /// Steps that the outside series runs ahead.
    pub lag: usize,
    /// The correlation.
    pub correlation: f64,
    /// Pairs of values it is of.
    pub n: usize,
    /// The chance of one this far from 0 between two series of noise that have nothing in common.
    pub p_value: f64,
}

impl AtLag {
    /// The same with the p-value of two series of which `fitted` coefficients each were taken out: so many pairs less tell.
    pub fn less(self, fitted: usize) -> Self {
        Self { p_value: p_of(self.correlation, self.n.saturating_sub(fitted)), ..self }
    }
}

/// The correlations of `y` with `x` so many steps before, for each of `lags`: means and variances are those of the whole
/// series, and each sum is divided by the number of its pairs (as `ccf(y, x)` of statsmodels). Steps at which either is
/// NaN are left out.
///
/// ```
/// use tradewind_forecast::relations::cross_correlations;
/// let x: Vec<f64> = (0..60).map(|t| f64::from(t * 17 % 23)).collect();
/// let y: Vec<f64> = (0..60).map(|t| if t < 3 { 11.0 } else { -x[t - 3] }).collect();
/// let found = cross_correlations(&y, &x, 0..=5);
/// assert!(found[3].correlation < -0.8 && found[3].p_value < 1e-6);
/// ```
pub fn cross_correlations(y: &[f64], x: &[f64], lags: impl IntoIterator<Item = usize>) -> Vec<AtLag> {
    let moments = |v: &[f64]| {
        let (sum, n) = v.iter().filter(|v| v.is_finite()).fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
        let mean = sum / n;
        let squares: f64 = v.iter().filter(|v| v.is_finite()).map(|v| (v - mean) * (v - mean)).sum();
        (mean, squares / n)
    };
    let ((mean_y, var_y), (mean_x, var_x)) = (moments(y), moments(x));
    let size = (var_y * var_x).sqrt();
    lags.into_iter()
        .map(|lag| {
            let (mut sum, mut n) = (0.0, 0);
            for (b, a) in y.iter().skip(lag).zip(x) {
                let both = (a - mean_x) * (b - mean_y);
                if both.is_finite() {
                    sum += both;
                    n += 1;
                }
            }
            let correlation = sum / n as f64 / size;
            let correlation = if correlation.is_finite() { correlation } else { 0.0 };
            AtLag { lag, correlation, n, p_value: p_of(correlation, n) }
        })
        .collect()
}

/// The two-sided p-value of a correlation of `n` pairs, by Student's t.
fn p_of(r: f64, n: usize) -> f64 {
    if n < 4 {
        return 1.0;
    }
    let r2 = (r * r).min(1.0);
    let df = n as f64 - 2.0;
    two_sided_p((df * r2 / (1.0 - r2)).sqrt(), df)
}

/// The chance that the least of `n` independent p-values is at most `p` (Šidák): what the best of several lags is worth.
pub fn least_of(p: f64, n: usize) -> f64 {
    // 1 − (1 − p)^n, without losing small ones.
    -f64::exp_m1(n as f64 * f64::ln_1p(-p.clamp(0.0, 1.0)))
}

/// The q-values of Benjamini and Hochberg (1995): calling everything with a q-value up to `level` a discovery, at most that
/// share of the discoveries is false, in expectation.
///
/// ```
/// use tradewind_forecast::relations::benjamini_hochberg;
/// assert_eq!(benjamini_hochberg(&[0.01, 0.04, 0.03, 0.5]), [0.04, 0.05333333333333334, 0.05333333333333334, 0.5]);
/// ```
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut q = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (rank, i) in order.iter().enumerate().rev() {
        least = least.min(p[*i] * p.len() as f64 / (rank + 1) as f64);
        q[*i] = least;
    }
    q
}

/// What [`granger`] says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Granger {
    /// The F statistic: squares that the lags of `x` take away against squares that stay.
    pub f: f64,
    /// The chance of one this large when `x` tells nothing.
    pub p_value: f64,
    /// Lags of `x` that were added.
    pub df_added: usize,
    /// Rows less coefficients.
    pub df_left: usize,
}

/// The test of Granger (1969): whether the last `lags` values of `x` add to an autoregression of `y` with as many lags.
/// As `grangercausalitytests` of statsmodels (`ssr_ftest`). Steps with an unknown value among those needed are left out;
/// `None` where fewer rows than coefficients remain.
pub fn granger(y: &[f64], x: &[f64], lags: usize) -> Option<Granger> {
    let n = y.len().min(x.len());
    let whole = |t: &usize| y[t - lags..=*t].iter().chain(&x[t - lags..*t]).all(|v| v.is_finite());
    let at: Vec<usize> = (lags..n).filter(whole).collect();
    let lagged = |v: &[f64], l: usize| at.iter().map(|t| v[t - l]).collect::<Vec<f64>>();
    let columns: Vec<Vec<f64>> =
        (1..=lags).map(|l| lagged(y, l)).chain((1..=lags).map(|l| lagged(x, l))).collect();
    let target: Vec<f64> = at.iter().map(|t| y[*t]).collect();
    let df_left = at.len().checked_sub(2 * lags + 1).filter(|d| *d > 0 && lags > 0)?;
    let fit = LeastSquares::new(columns, &target);
    let df_added = fit.rank(2 * lags) - fit.rank(lags);
    let (alone, both) = (fit.rss(lags), fit.rss(2 * lags));
    if df_added == 0 {
        return None;
    }
    let f = ((alone - both) / df_added as f64) / (both / df_left as f64);
    Some(Granger { f, p_value: f_p(f, df_added as f64, df_left as f64), df_added, df_left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_values_are_those_of_the_definition() {
        let p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205];
        let q = benjamini_hochberg(&p);
        for (i, q) in q.iter().enumerate() {
            let want = (i..p.len()).map(|k| p[k] * 8.0 / (k + 1) as f64).fold(1.0, f64::min);
            assert!((q - want).abs() < 1e-15);
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn the_best_of_many_is_worth_less() {
        assert!((least_of(0.05, 1) - 0.05).abs() < 1e-15);
        assert!((least_of(0.05, 14) - (1.0 - 0.95_f64.powi(14))).abs() < 1e-12);
        assert!((least_of(1e-20, 10) - 1e-19).abs() < 1e-30);
        assert_eq!(least_of(1.0, 3), 1.0);
    }
}
