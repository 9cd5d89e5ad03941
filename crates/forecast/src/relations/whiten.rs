//! What is new in each value of a series: season, trend and its own past taken out.

use super::least_squares::LeastSquares;

/// A season of more steps is told by two waves instead of by a mean for every step.
const PHASES_MAX: usize = 24;
/// Innovations further out than so many robust standard deviations are drawn in to there.
const FURTHEST: f64 = 4.0;
/// Values that differ from the most frequent one, at least.
const CHANGES_MIN: usize = 8;

/// Why a series says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Fewer known values than are needed.
    TooShort,
    /// (Almost) always the same value.
    Constant,
    /// The outside series is the series itself.
    Copy,
    /// The two are known together too seldom.
    Overlap,
}

/// The innovations of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Whitened {
    /// One for each value: mean 0, variance 1; NaN where it cannot be told.
    pub innovations: Vec<f64>,
    /// The order of the autoregression.
    pub order: usize,
    /// Coefficients that were fitted: so many values less are free.
    pub fitted: usize,
}

/// The scale on which effects add up and busy and quiet times vary alike: logarithms where all is above zero, square
/// roots where nothing is below it (counts), the values else.
pub(super) fn on_scale(y: &[f64]) -> Vec<f64> {
    let least = y.iter().copied().filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min);
    let change = |v: f64| match least {
        l if l > 0.0 => v.ln(),
        l if l >= 0.0 => (v + 0.375).sqrt(),
        _ => v,
    };
    y.iter().map(|v| if v.is_finite() { change(*v) } else { f64::NAN }).collect()
}

/// Columns of the season at each of `n` steps: marks of its steps but the first, or two waves for long ones; none where
/// there are too few seasons to tell.
pub(super) fn season_columns(n: usize, season: usize) -> Vec<Vec<f64>> {
    match season {
        m if (2..=PHASES_MAX).contains(&m) && n >= 4 * m => {
            (1..m).map(|p| (0..n).map(|t| f64::from(t % m == p)).collect()).collect()
        }
        m if m > PHASES_MAX && n >= 2 * m => [1.0, 2.0]
            .into_iter()
            .flat_map(|k| {
                let angle = move |t: usize| std::f64::consts::TAU * k * (t % m) as f64 / m as f64;
                [(0..n).map(|t| angle(t).sin()).collect(), (0..n).map(|t| angle(t).cos()).collect()]
            })
            .collect(),
        _ => vec![],
    }
}

/// The most lags of an autoregression: ten for each tenfold of values, but one for ten of them; at least those of a short
/// season and one more.
pub(super) fn order_max(n: usize, season: usize) -> usize {
    let usual = (10.0 * (n.max(1) as f64).log10()) as usize;
    let short = if season <= PHASES_MAX { season + 1 } else { 1 };
    usual.min(n / 10).max(short).min(n / 5)
}

/// What stands for unknown values where they are only looked back at: the last known one, never a later one, which would
/// tell of the step that is looked at.
pub(super) fn carried(z: &[f64]) -> Vec<f64> {
    let mut last = f64::NAN;
    z.iter()
        .map(|v| {
            if v.is_finite() {
                last = *v;
            }
            last
        })
        .collect()
}

/// The rows of an autoregression of `z` with `order` lags of `past` ([`carried`]) and the columns `beside` in front: which
/// steps have what they need (their value, and most of the lags), and the columns there.
pub(super) fn rows(
    z: &[f64],
    past: &[f64],
    beside: &[Vec<f64>],
    order: usize,
    wanted: impl Fn(usize) -> bool,
) -> (Vec<usize>, Vec<Vec<f64>>) {
    let mut known = vec![0; z.len() + 1];
    (0..z.len()).for_each(|t| known[t + 1] = known[t] + usize::from(z[t].is_finite()));
    let whole = |t: &usize| {
        z[*t].is_finite()
            && past[t - order..*t].iter().all(|v| v.is_finite())
            && 2 * (known[*t] - known[t - order]) >= order
            && beside.iter().all(|c| c[*t].is_finite())
    };
    let at: Vec<usize> = (order..z.len()).filter(|t| wanted(*t)).filter(whole).collect();
    let mut columns: Vec<Vec<f64>> = beside.iter().map(|c| at.iter().map(|t| c[*t]).collect()).collect();
    columns.extend((1..=order).map(|l| at.iter().map(|t| past[t - l]).collect::<Vec<f64>>()));
    (at, columns)
}

/// The order with the least information criterion of Akaike, by `rss(order)` over `n` rows.
pub(super) fn best_order(n: usize, max: usize, rss: impl Fn(usize) -> f64) -> usize {
    let aic = |p: usize| n as f64 * (rss(p) / n as f64).max(1e-300).ln() + 2.0 * p as f64;
    (0..=max).min_by(|a, b| aic(*a).total_cmp(&aic(*b))).unwrap_or(0)
}

/// Takes season, trend and the own past out of a series: least squares on the steps of the season, a line and the last
/// values, their number by Akaike's criterion. What is left is drawn in to four robust standard deviations, so that one
/// great day is not the whole story, and standardised.
///
/// Nothing is differenced: an autoregression follows a level that wanders by itself, while differences of a pattern or a
/// level that holds leave a moving average behind that no short autoregression whitens.
///
/// # Errors
/// The reason why the series says nothing: fewer than `least` known values, or hardly any change.
pub fn whiten(y: &[f64], season: usize, least: usize) -> Result<Whitened, Reason> {
    let first = y.iter().position(|v| v.is_finite()).ok_or(Reason::TooShort)?;
    let known = y.iter().filter(|v| v.is_finite()).count();
    if known < least.max(10) {
        return Err(Reason::TooShort);
    }
    if !changes(y) {
        return Err(Reason::Constant);
    }
    let z = on_scale(&y[first..]);
    let mut beside = season_columns(z.len(), season);
    beside.push((0..z.len()).map(|t| t as f64).collect());
    let past = carried(&z);
    let max = order_max(known, season);
    // All orders are compared on the same rows; the one chosen is then fitted on all it can have.
    let (at, columns) = rows(&z, &past, &beside, max, |_| true);
    let enough = at.len() >= least.max(beside.len() + max + 10) / 2;
    let order = if enough {
        let target: Vec<f64> = at.iter().map(|t| z[*t]).collect();
        let fit = LeastSquares::new(columns, &target);
        best_order(at.len(), max, |p| fit.rss(beside.len() + p))
    } else {
        0
    };
    let (at, columns) = rows(&z, &past, &beside, order, |_| true);
    if at.len() < least.max(beside.len() + order + 10) {
        return Err(Reason::TooShort);
    }
    let target: Vec<f64> = at.iter().map(|t| z[*t]).collect();
    let fit = LeastSquares::new(columns.clone(), &target);
    let (intercept, coef) = fit.coefficients(columns.len());
    let mut left: Vec<f64> = (0..at.len())
        .map(|i| target[i] - intercept - coef.iter().zip(&columns).map(|(c, x)| c * x[i]).sum::<f64>())
        .collect();
    let spread = |v: &[f64]| (v.iter().map(|e| e * e).sum::<f64>() / v.len() as f64).sqrt();
    let size = target.iter().map(|v| v.abs()).fold(0.0, f64::max);
    if spread(&left).is_nan() || spread(&left) <= 1e-9 * size {
        return Err(Reason::Constant);
    }
    let mut sizes: Vec<f64> = left.iter().map(|e| e.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let robust = sizes[sizes.len() / 2] / 0.674_489_750_196_081_7;
    // Where most innovations are (almost) nothing, their median says nothing.
    let unit = if robust > 0.2 * spread(&left) { robust } else { spread(&left) };
    left.iter_mut().for_each(|e| *e = e.clamp(-FURTHEST * unit, FURTHEST * unit));
    let mean = left.iter().sum::<f64>() / left.len() as f64;
    left.iter_mut().for_each(|e| *e -= mean);
    let sd = spread(&left);
    let mut innovations = vec![f64::NAN; y.len()];
    at.iter().zip(&left).for_each(|(t, e)| innovations[first + t] = e / sd);
    Ok(Whitened { innovations, order, fitted: beside.len() + order })
}

/// Whether enough values differ from the most frequent one.
fn changes(y: &[f64]) -> bool {
    let mut known: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let most = known.chunk_by(|a, b| a == b).map(<[f64]>::len).max().unwrap_or(0);
    known.len() - most >= CHANGES_MIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{mix, unit};

    fn noise(seed: u64, t: usize) -> f64 {
        crate::normal::quantile(unit(mix(mix(seed) ^ t as u64)).clamp(1e-9, 1.0 - 1e-9))
    }

    #[test]
    fn innovations_are_what_was_put_in() {
        let n = 600;
        let e: Vec<f64> = (0..n).map(|t| noise(1, t)).collect();
        let mut y = vec![0.0; n];
        for t in 1..n {
            y[t] = 0.7 * y[t - 1] + e[t];
        }
        let season = [3.0, 0.0, -2.0, 1.0, 0.0, 4.0, -6.0];
        let y: Vec<f64> = y.iter().enumerate().map(|(t, v)| v + season[t % 7]).collect();
        let w = whiten(&y, 7, 30).expect("long enough");
        assert!((1..=10).contains(&w.order), "{}", w.order);
        let pairs: Vec<(f64, f64)> =
            w.innovations.iter().zip(&e).filter(|(a, _)| a.is_finite()).map(|(a, b)| (*a, *b)).collect();
        let r = pairs.iter().map(|(a, b)| a * b).sum::<f64>()
            / (pairs.iter().map(|p| p.0 * p.0).sum::<f64>() * pairs.iter().map(|p| p.1 * p.1).sum::<f64>())
                .sqrt();
        assert!(r > 0.95, "{r}");
    }

    /// `ar_select_order` of statsmodels, from tests/reference/relations.py.
    #[test]
    fn orders_are_those_of_statsmodels() {
        let text = include_str!("../../tests/reference/relations.json");
        let doc: serde_json::Value = serde_json::from_str(text).expect("JSON");
        for case in doc["tests"].as_array().expect("cases") {
            let y: Vec<f64> =
                case["y"].as_array().expect("y").iter().filter_map(serde_json::Value::as_f64).collect();
            let (at, columns) = rows(&y, &y, &[], 8, |_| true);
            let target: Vec<f64> = at.iter().map(|t| y[*t]).collect();
            let fit = LeastSquares::new(columns, &target);
            assert_eq!(
                Some(best_order(at.len(), 8, |p| fit.rss(p)) as u64),
                case["aic"].as_u64(),
                "{}",
                case["name"]
            );
        }
    }

    #[test]
    fn what_says_nothing_is_told_apart() {
        assert_eq!(whiten(&[], 7, 30).expect_err("empty"), Reason::TooShort);
        assert_eq!(whiten(&[f64::NAN; 90], 7, 30).expect_err("unknown"), Reason::TooShort);
        assert_eq!(whiten(&[4.0; 90], 7, 30).expect_err("one value"), Reason::Constant);
        let week: Vec<f64> = (0..90).map(|t| f64::from(t % 7)).collect();
        assert_eq!(whiten(&week, 7, 30).expect_err("a pure season"), Reason::Constant);
        let mut once = vec![0.0; 90];
        once[40] = 5.0;
        assert_eq!(whiten(&once, 7, 30).expect_err("one event"), Reason::Constant);
    }
}
