//! Student's t, F and the normal distribution, for p-values of coefficients and of tests.

/// The probability that |T| exceeds |t| with `df` degrees of freedom: `I_{df/(df+t²)}(df/2, 1/2)`.
///
/// ```
/// // scipy 1.17.1, 2 * t.sf(2, 10)
/// assert!((tradewind_learn::student::two_sided_p(2.0, 10.0) - 0.07338803477074039).abs() < 1e-10);
/// ```
pub fn two_sided_p(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    let t2 = t * t;
    incomplete_beta(df / (df + t2), t2 / (df + t2), df / 2.0, 0.5)
}

/// The probability that a standard normal number lies further from 0 than `z`: `erfc(|z| / √2)`.
pub fn two_sided_normal_p(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    if x > 27.3 {
        return 0.0;
    }
    let front = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.0 {
        // erf by its series of positive terms (DLMF 7.6.2).
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= 2.0 * x * x / (2 * n + 1) as f64;
            sum += term;
        }
        1.0 - 2.0 * front * sum
    } else {
        // The continued fraction x + (1/2)/(x + 1/(x + (3/2)/(x + …))) of erfc (DLMF 7.9.2), from its far end.
        front / (1..=80).rev().fold(x, |f, n| x + 0.5 * f64::from(n) / f)
    }
}

/// The probability that an F variable with `df1` and `df2` degrees of freedom exceeds `f`.
///
/// ```
/// // scipy 1.17.1, f.sf(3.5, 2, 40)
/// assert!((tradewind_learn::student::f_p(3.5, 2.0, 40.0) - 0.03974135475714913).abs() < 1e-10);
/// ```
pub fn f_p(f: f64, df1: f64, df2: f64) -> f64 {
    if f.is_nan() || f <= 0.0 {
        return 1.0;
    }
    if f.is_infinite() {
        return 0.0;
    }
    let all = df2 + df1 * f;
    incomplete_beta(df2 / all, df1 * f / all, df2 / 2.0, df1 / 2.0)
}

/// The regularised incomplete beta function at `x`, with `y = 1 − x` given apart so that it keeps its digits.
pub fn incomplete_beta(x: f64, y: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(y, b, a) / b
    }
}

/// The continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let keep = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
    let mut f = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / keep(1.0 + even * d);
        c = keep(1.0 + even / c);
        f *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / keep(1.0 + odd * d);
        c = keep(1.0 + odd / c);
        let step = d * c;
        f *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    f
}

/// The logarithm of the gamma function for positive `x`, by Stirling's series after raising `x` to 10 or more.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let r = 1.0 / x;
    let r2 = r * r;
    let series =
        r * (1.0 / 12.0 - r2 * (1.0 / 360.0 - r2 * (1.0 / 1260.0 - r2 * (1.0 / 1680.0 - r2 / 1188.0))));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_p_values_as_scipy() {
        // scipy 1.17.1, 2 * norm.sf(z).
        for (z, p) in [
            (0.0, 1.0),
            (0.5, 0.6170750774519738),
            (-1.96, 0.04999579029644087),
            (2.8, 0.005110260660855864),
            (2.9, 0.003731626600768075),
            (6.0, 1.973175290075389e-09),
            (20.0, 5.507248237212311e-89),
        ] {
            let got = two_sided_normal_p(z);
            assert!((got - p).abs() <= 1e-12 * p, "z {z}: {got} against {p}");
        }
        assert_eq!(two_sided_normal_p(f64::INFINITY), 0.0);
    }

    #[test]
    fn p_values_as_scipy() {
        // scipy 1.17.1, 2 * t.sf(t, df).
        for (t, df, p) in [
            (0.0, 5.0, 1.0),
            (0.3, 2.5, 0.7873423714951973),
            (40.0, 20.0, 1.457469655431075e-20),
            (1.0, 1.0, 0.5),
            (2.0, 10.0, 0.07338803477074039),
            (12.0, 3.0, 0.0012450158007893362),
            (1.96, 1e6, 0.04999606758526985),
        ] {
            let got = two_sided_p(t, df);
            assert!((got - p).abs() <= 1e-9 * p, "t {t} df {df}: {got} against {p}");
        }
    }
}
