//! Distributions of test statistics: normal, Student's t, F, chi-square and Kolmogorov's, for p-values and intervals.
//!
//! Accuracy is ten digits or more in the middle and nine in the tails, checked against scipy. What is not defined (a
//! probability outside 0 to 1, degrees of freedom of zero) is NaN, never a made-up number.

/// The probability that |T| exceeds |t| with `df` degrees of freedom: `I_{df/(df+t²)}(df/2, 1/2)`.
///
/// ```
/// // scipy 1.17.1, 2 * t.sf(2, 10)
/// assert!((tradewind_core::distribution::two_sided_p(2.0, 10.0) - 0.07338803477074039).abs() < 1e-10);
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
/// assert!((tradewind_core::distribution::f_p(3.5, 2.0, 40.0) - 0.03974135475714913).abs() < 1e-10);
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

/// The probability that a standard normal number is below `z`.
///
/// ```
/// assert!((tradewind_core::distribution::normal_cdf(1.959963984540054) - 0.975).abs() < 1e-12);
/// ```
pub fn normal_cdf(z: f64) -> f64 {
    let half = 0.5 * two_sided_normal_p(z);
    if z < 0.0 { half } else { 1.0 - half }
}

/// The standard normal number below which a share `p` lies (Wichura 1988, algorithm AS 241); −∞ at 0, ∞ at 1.
///
/// ```
/// assert!((tradewind_core::distribution::normal_quantile(0.975) - 1.959963984540054).abs() < 1e-14);
/// ```
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let horner = |x: f64, c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * x + c);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * horner(r, &MIDDLE.0) / horner(r, &MIDDLE.1);
    }
    let r = (-(if q < 0.0 { p } else { 1.0 - p }).ln()).sqrt();
    let z = if r <= 5.0 {
        horner(r - 1.6, &NEAR.0) / horner(r - 1.6, &NEAR.1)
    } else {
        horner(r - 5.0, &FAR.0) / horner(r - 5.0, &FAR.1)
    };
    if q < 0.0 { -z } else { z }
}

const MIDDLE: ([f64; 8], [f64; 8]) = (
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_545e3,
    ],
);
const NEAR: ([f64; 8], [f64; 8]) = (
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
);
const FAR: ([f64; 8], [f64; 8]) = (
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
);

/// The number below which Student's t with `df` degrees of freedom lies with probability `p`; degrees above 10¹⁰ are
/// taken as infinitely many.
///
/// ```
/// // scipy 1.17.1, t.ppf(0.975, 10)
/// assert!((tradewind_core::distribution::t_quantile(0.975, 10.0) - 2.2281388519649385).abs() < 1e-9);
/// ```
pub fn t_quantile(p: f64, df: f64) -> f64 {
    let z = normal_quantile(p);
    if df > 1e10 || !z.is_finite() || z == 0.0 {
        return z;
    }
    if df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    let tail = 2.0 * p.min(1.0 - p);
    // The tail of t is heavier than the normal one, so the normal quantile is a lower end.
    let (mut low, mut high) = (0.0, z.abs().max(1.0));
    while two_sided_p(high, df) > tail && high < 1e300 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if two_sided_p(middle, df) > tail { low = middle } else { high = middle }
    }
    if z < 0.0 { -high } else { high }
}

/// The probability that chi-square with `df` degrees of freedom exceeds `x`: the upper regularised incomplete gamma
/// function `Q(df/2, x/2)` (DLMF 8.7.1 and 8.9.2).
///
/// ```
/// // scipy 1.17.1, chi2.sf(3.84, 1)
/// assert!((tradewind_core::distribution::chi_square_p(3.84, 1.0) - 0.05004352124870519).abs() < 1e-12);
/// ```
pub fn chi_square_p(x: f64, df: f64) -> f64 {
    if x.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let (a, x) = (df / 2.0, x / 2.0);
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..10_000 {
            term *= x / (a + f64::from(n));
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        return (1.0 - front * sum).max(0.0);
    }
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut f = d;
    for n in 1..10_000 {
        let n = f64::from(n);
        let step = -n * (n - a);
        b += 2.0;
        d = step * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + step / c;
        if c.abs() < TINY {
            c = TINY;
        }
        f *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * f
}

/// The probability that Kolmogorov's statistic `√n · sup |Fₙ − F|` exceeds `x` as `n` grows (Kolmogorov 1933).
///
/// ```
/// // scipy 1.17.1, special.kolmogorov(1.0)
/// assert!((tradewind_core::distribution::kolmogorov_p(1.0) - 0.26999967167735456).abs() < 1e-14);
/// ```
pub fn kolmogorov_p(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x < 0.8 {
        // The other form of the theta function, which is quick where this one is slow.
        let y = -(std::f64::consts::PI / x).powi(2) / 8.0;
        let sum: f64 = (1..20).map(|k| (f64::from(2 * k - 1).powi(2) * y).exp()).sum();
        return 1.0 - (2.0 * std::f64::consts::PI).sqrt() / x * sum;
    }
    let sum: f64 = (1..30)
        .map(|k| {
            let k = f64::from(k);
            (if k % 2.0 == 1.0 { 1.0 } else { -1.0 }) * (-2.0 * k * k * x * x).exp()
        })
        .sum();
    (2.0 * sum).clamp(0.0, 1.0)
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
pub fn ln_gamma(mut x: f64) -> f64 {
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
    fn quantiles_give_their_probability_back() {
        for p in [1e-12, 1e-6, 0.001, 0.02, 0.1, 0.3, 0.5, 0.6, 0.9, 0.999, 1.0 - 1e-9] {
            let back = normal_cdf(normal_quantile(p));
            assert!((back - p).abs() <= 1e-11 * p, "{p}: {back}");
            for df in [1.0, 2.5, 7.0, 300.0] {
                let t = t_quantile(p, df);
                let tail = 0.5 * two_sided_p(t, df);
                let back = if t < 0.0 { tail } else { 1.0 - tail };
                assert!((back - p).abs() <= 1e-9 * p, "{p} at {df}: {back}");
            }
        }
        assert!(normal_quantile(-0.1).is_nan() && t_quantile(0.9, 0.0).is_nan());
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }

    #[test]
    fn chi_square_and_kolmogorov_as_scipy() {
        // scipy 1.17.1, chi2.sf(x, df).
        for (x, df, p) in CHI_SQUARE {
            let got = chi_square_p(*x, *df);
            assert!((got - p).abs() <= 1e-11 * p, "{x} at {df}: {got} against {p}");
        }
        // scipy 1.17.1, special.kolmogorov(x).
        for (x, p) in KOLMOGOROV {
            let got = kolmogorov_p(*x);
            assert!((got - p).abs() <= 1e-12 * p, "{x}: {got} against {p}");
        }
    }

    const CHI_SQUARE: &[(f64, f64, f64)] = &[
        (0.1, 1.0, 0.7518296340458492),
        (0.5, 4.0, 0.9735009788392561),
        (3.0, 9.0, 0.9642949726850891),
        (9.0, 9.0, 0.43727418891386693),
        (15.5, 9.0, 0.0780859925596112),
        (40.0, 9.0, 7.598525229464264e-06),
        (120.0, 9.0, 1.336164776532522e-21),
        (100.0, 100.0, 0.48119168452795674),
        (700.0, 600.0, 0.0028957725318222776),
        (1e-09, 2.0, 0.9999999995),
    ];
    const KOLMOGOROV: &[(f64, f64)] = &[
        (0.3, 0.9999906941986655),
        (0.5, 0.9639452436648751),
        (0.79, 0.560495104473081),
        (0.81, 0.5279614323123148),
        (1.0, 0.26999967167735456),
        (1.36, 0.049485876755377876),
        (2.0, 0.0006709252557796953),
        (3.0, 3.045995948942526e-08),
    ];

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
