//! The recursions of exponential smoothing, each form compiled on its own, and their exact derivatives.
//!
//! In terms of the error `e = y − ŷ` the recursions do not depend on how the error joins; only the likelihood does:
//!
//! ```text
//! k = 0 | φ b | b^φ        q = ℓ | ℓ + k | ℓ k         ŷ = q | q + s | q s
//! r = e (e / s where the season multiplies)
//! ℓ ← q + α r,   b ← k + β r (β r / ℓ for a factor),   s ← s + γ e (γ e / q where it multiplies)
//! ```
//!
//! Minus twice the logarithm of the likelihood is `n ln Σ e²` for additive and `n ln Σ ε² + 2 Σ ln ŷ` for
//! multiplicative errors, `ε = e / ŷ`. The latter is `n ln Σ (G ε)²` with the geometric mean `G` of the `ŷ`, so that both
//! are sums of squares, and the method of Gauss and Newton serves both.

use super::form::{ErrorForm, Form, SeasonForm};

/// The kinds of trend and season of a kernel.
pub(super) const NONE: u8 = 0;
pub(super) const ADDED: u8 = 1;
pub(super) const MULTIPLIED: u8 = 2;

/// The weights of the recursions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Weights {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) gamma: f64,
    pub(super) phi: f64,
}

/// The states of one moment; `s` is the season of the step that comes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Now {
    pub(super) level: f64,
    pub(super) slope: f64,
    pub(super) s: f64,
}

/// What is expected of the next step, without and with its season, and the trend that is kept.
#[inline(always)]
fn expect<const T: u8, const S: u8>(w: &Weights, now: Now) -> (f64, f64, f64) {
    let kept = match T {
        ADDED => w.phi * now.slope,
        MULTIPLIED if w.phi == 1.0 => now.slope,
        MULTIPLIED => now.slope.powf(w.phi),
        _ => 0.0,
    };
    let q = if T == MULTIPLIED { now.level * kept } else { now.level + kept };
    let ahead = match S {
        ADDED => q + now.s,
        MULTIPLIED => q * now.s,
        _ => q,
    };
    (kept, q, ahead)
}

/// One step: what was expected, and the states after the error `error(ahead)`.
#[inline(always)]
pub(super) fn step<const T: u8, const S: u8>(
    w: &Weights,
    now: Now,
    error: impl FnOnce(f64) -> f64,
) -> (f64, f64, Now) {
    let (kept, q, ahead) = expect::<T, S>(w, now);
    let e = error(ahead);
    let (r, s) = match S {
        ADDED => (e, now.s + w.gamma * e),
        MULTIPLIED => (e / now.s, now.s + w.gamma * e / q),
        _ => (e, now.s),
    };
    let slope = match T {
        ADDED => kept + w.beta * r,
        MULTIPLIED => kept + w.beta * r / now.level,
        _ => 0.0,
    };
    (ahead, e, Now { level: q + w.alpha * r, slope, s })
}

/// Calls a function compiled for each kind of trend and season with the kinds of a form.
macro_rules! for_form {
    ($form:expr, $f:ident :: <..> ($($arg:expr),*)) => {{
        use $crate::ets::form::SeasonForm as Season;
        use $crate::ets::kernel::{ADDED, MULTIPLIED, NONE};
        let form: $crate::ets::form::Form = $form;
        match ((form.trend.is_some(), form.trend.is_multiplicative()), form.season) {
            ((false, _), Season::None) => $f::<NONE, NONE>($($arg),*),
            ((false, _), Season::Additive) => $f::<NONE, ADDED>($($arg),*),
            ((false, _), Season::Multiplicative) => $f::<NONE, MULTIPLIED>($($arg),*),
            ((true, false), Season::None) => $f::<ADDED, NONE>($($arg),*),
            ((true, false), Season::Additive) => $f::<ADDED, ADDED>($($arg),*),
            ((true, false), Season::Multiplicative) => $f::<ADDED, MULTIPLIED>($($arg),*),
            ((true, true), Season::None) => $f::<MULTIPLIED, NONE>($($arg),*),
            ((true, true), Season::Additive) => $f::<MULTIPLIED, ADDED>($($arg),*),
            ((true, true), Season::Multiplicative) => $f::<MULTIPLIED, MULTIPLIED>($($arg),*),
        }
    }};
}
pub(super) use for_form;

/// The sums behind a likelihood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sums {
    /// Known observations.
    pub(super) n: f64,
    /// Squared errors, relative ones for the multiplicative error.
    pub(super) squares: f64,
    /// Logarithms of what was expected; 0 for the additive error.
    pub(super) logs: f64,
}

impl Sums {
    /// An impossible point.
    const NEVER: Self = Self { n: 1.0, squares: f64::INFINITY, logs: 0.0 };

    /// Minus twice the logarithm of the likelihood, without its constant. The floor is an error of 10⁻¹² of the largest
    /// observation, below which rounding decides.
    pub(super) fn deviance(&self) -> f64 {
        let v = self.n * self.squares.max(self.n * 1e-24).ln() + 2.0 * self.logs;
        if v.is_nan() { f64::INFINITY } else { v }
    }
}

/// What is expected must lie above this where errors are relative (observations are scaled to 1).
const EXPECTED_MIN: f64 = 1e-9;
const EXPECTED_MAX: f64 = 1e9;

/// One pass over `y` (NaN where unknown) from the states in `now` and `season` (whose first element belongs to the first
/// observation, and which are moved on), telling each forecast one step ahead to `told`.
fn pass_of<const T: u8, const S: u8>(
    y: &[f64],
    relative: bool,
    w: &Weights,
    now: &mut Now,
    season: &mut [f64],
    mut told: impl FnMut(f64),
) -> Sums {
    let m = season.len();
    let (mut squares, mut logs, mut product, mut n, mut at) = (0.0, 0.0, 1.0, 0usize, 0usize);
    for v in y {
        if S != NONE {
            now.s = season[at];
        }
        let known = !v.is_nan();
        let (ahead, e, next) = step::<T, S>(w, *now, |ahead| if known { v - ahead } else { 0.0 });
        told(ahead);
        *now = next;
        if S != NONE {
            season[at] = next.s;
            at = if at + 1 == m { 0 } else { at + 1 };
        }
        if !known {
            continue;
        }
        n += 1;
        if relative {
            // Not a number is refused too.
            if !(ahead > EXPECTED_MIN && ahead < EXPECTED_MAX) {
                return Sums::NEVER;
            }
            let share = e / ahead;
            squares += share * share;
            product *= ahead;
            if n.is_multiple_of(16) {
                logs += product.ln();
                product = 1.0;
            }
        } else {
            squares += e * e;
        }
    }
    Sums { n: n as f64, squares, logs: logs + product.ln() }
}

/// As [`pass_of`], for any form.
pub(super) fn pass(
    y: &[f64],
    form: Form,
    w: &Weights,
    now: &mut Now,
    season: &mut [f64],
    told: impl FnMut(f64),
) -> Sums {
    let relative = form.error == ErrorForm::Multiplicative;
    for_form!(form, pass_of::<..>(y, relative, w, now, season, told))
}

/// Four numbers that the processor treats as one or two.
pub(super) type Quad = [f64; 4];

/// Where each searched number stands in a row of derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) beta: usize,
    pub(super) phi: usize,
    pub(super) gamma: usize,
    pub(super) level: usize,
    pub(super) slope: usize,
    pub(super) season: usize,
    /// How many there are.
    pub(super) len: usize,
}

impl Layout {
    /// Alpha stands first; what a form lacks has the place of another and is not looked at. `solved` indices of the season
    /// are searched.
    pub(super) fn of(form: Form, solved: usize) -> Self {
        let trend = form.trend.is_some();
        let season = form.season != SeasonForm::None;
        let (beta, phi) = if trend { (1, 2) } else { (0, 0) };
        let gamma = if season { phi + 1 } else { phi };
        let level = gamma + 1;
        let slope = if trend { level + 1 } else { level };
        Self { beta, phi, gamma, level, slope, season: slope + 1, len: slope + 1 + if season { solved } else { 0 } }
    }

    /// Quads of a row.
    pub(super) fn quads(&self) -> usize {
        self.len.div_ceil(4)
    }
}

/// Derivatives of the states by the searched numbers, and the sums of the normal equations.
#[derive(Debug, Default)]
pub(super) struct Slopes {
    level: Vec<Quad>,
    slope: Vec<Quad>,
    season: Vec<Quad>,
    rows: Vec<Quad>,
    relative_rows: Vec<f64>,
    /// `Σ a aᵀ`, lower blocks of 4 × 4, each by rows.
    blocks: Vec<[Quad; 4]>,
    against: Vec<Quad>,
    logs: Vec<Quad>,
    /// The matrix of the normal equations, row by row, lower half.
    pub(super) h: Vec<f64>,
    /// Half the gradient of the sum of squares.
    pub(super) g: Vec<f64>,
}

/// How the searched weights become those of the recursions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shares {
    /// `β = α β*`, `γ = (1 − α) γ*`.
    Nested,
    /// As they are.
    Plain,
}

/// Fills `slopes.h` and `slopes.g` at a point; `searched` are the weights as searched, `season` is a copy to work on.
pub(super) fn derive(
    y: &[f64],
    form: Form,
    shares: Shares,
    searched: &Weights,
    w: &Weights,
    now: Now,
    season: &mut [f64],
    solved: usize,
    slopes: &mut Slopes,
) -> Sums {
    let relative = form.error == ErrorForm::Multiplicative;
    let layout = Layout::of(form, solved);
    for_form!(form, derive_of::<..>(y, relative, shares, searched, w, now, season, layout, solved, slopes))
}

fn derive_of<const T: u8, const S: u8>(
    y: &[f64],
    relative: bool,
    shares: Shares,
    searched: &Weights,
    w: &Weights,
    mut now: Now,
    season: &mut [f64],
    layout: Layout,
    solved: usize,
    slopes: &mut Slopes,
) -> Sums {
    let k = layout.quads();
    let m = season.len();
    let reset = |v: &mut Vec<Quad>, n: usize| {
        v.clear();
        v.resize(n, [0.0; 4]);
    };
    reset(&mut slopes.level, k);
    reset(&mut slopes.slope, k);
    reset(&mut slopes.season, if S == NONE { 0 } else { m * k });
    reset(&mut slopes.rows, 4 * k);
    reset(&mut slopes.against, k);
    reset(&mut slopes.logs, k);
    slopes.blocks.clear();
    slopes.blocks.resize(k * (k + 1) / 2, [[0.0; 4]; 4]);
    let put = |v: &mut [Quad], i: usize, add: f64| v[i / 4][i % 4] += add;
    put(&mut slopes.level, layout.level, 1.0);
    if T != NONE {
        put(&mut slopes.slope, layout.slope, 1.0);
    }
    if S != NONE {
        (0..solved).for_each(|j| put(&mut slopes.season[j * k..(j + 1) * k], layout.season + j, 1.0));
    }

    let (mut squares, mut logs, mut product, mut n, mut at, mut filled) = (0.0, 0.0, 1.0, 0usize, 0usize, 0usize);
    for v in y {
        if S != NONE {
            now.s = season[at];
        }
        let known = !v.is_nan();
        let (kept, q, ahead) = expect::<T, S>(w, now);
        let (_, e, next) = step::<T, S>(w, now, |ahead| if known { v - ahead } else { 0.0 });
        let r = if S == MULTIPLIED { e / now.s } else { e };
        // The derivative of what is kept by phi comes in through the slope, by which it is multiplied.
        let kept_by_slope = match T {
            ADDED => w.phi,
            MULTIPLIED => w.phi * kept / now.slope,
            _ => 0.0,
        };
        match T {
            ADDED => put(&mut slopes.slope, layout.phi, now.slope / w.phi.max(1e-9)),
            MULTIPLIED => put(&mut slopes.slope, layout.phi, now.slope * now.slope.ln() / w.phi),
            _ => {}
        }
        let heed = f64::from(u8::from(known));
        let (alpha, beta, gamma) = (w.alpha * heed, w.beta * heed, w.gamma * heed);
        let (by_s, by_q, by_level) = (1.0 / now.s, 1.0 / q, 1.0 / now.level);
        let (e_s, e_q, r_level) = (e * by_s * by_s, e * by_q * by_q, r * by_level * by_level);
        let own = if S == NONE { &mut [][..] } else { &mut slopes.season[at * k..(at + 1) * k] };
        let row = &mut slopes.rows[filled * k..(filled + 1) * k];
        let (level, slope) = (&mut slopes.level[..k], &mut slopes.slope[..k]);
        for c in 0..k {
            for i in 0..4 {
                let dl = level[c][i];
                let (dk, dq) = match T {
                    ADDED => {
                        let dk = kept_by_slope * slope[c][i];
                        (dk, dl + dk)
                    }
                    MULTIPLIED => {
                        let dk = kept_by_slope * slope[c][i];
                        (dk, kept * dl + now.level * dk)
                    }
                    _ => (0.0, dl),
                };
                let ds = if S == NONE { 0.0 } else { own[c][i] };
                let dy = match S {
                    ADDED => dq + ds,
                    MULTIPLIED => now.s * dq + q * ds,
                    _ => dq,
                };
                let dr = if S == MULTIPLIED { -(dy * by_s) - e_s * ds } else { -dy };
                row[c][i] = dy;
                level[c][i] = dq + alpha * dr;
                match T {
                    ADDED => slope[c][i] = dk + beta * dr,
                    MULTIPLIED => slope[c][i] = dk + beta * (dr * by_level - r_level * dl),
                    _ => {}
                }
                match S {
                    ADDED => own[c][i] = ds - gamma * dy,
                    MULTIPLIED => own[c][i] = ds - gamma * (dy * by_q + e_q * dq),
                    _ => {}
                }
            }
        }
        if known {
            let r_slope = if T == MULTIPLIED { r * by_level } else { r };
            let e_season = if S == MULTIPLIED { e * by_q } else { e };
            level[0][0] += r;
            let nested = shares == Shares::Nested;
            if T != NONE {
                put(slope, layout.beta, if nested { searched.alpha * r_slope } else { r_slope });
                if nested {
                    slope[0][0] += searched.beta * r_slope;
                }
            }
            if S != NONE {
                put(own, layout.gamma, if nested { (1.0 - searched.alpha) * e_season } else { e_season });
                if nested {
                    own[0][0] -= searched.gamma * e_season;
                }
            }
        }
        now = next;
        if S != NONE {
            season[at] = next.s;
            at = if at + 1 == m { 0 } else { at + 1 };
        }
        if !known {
            continue;
        }
        n += 1;
        let row = &mut slopes.rows[filled * k..(filled + 1) * k];
        if relative {
            if !(ahead > EXPECTED_MIN && ahead < EXPECTED_MAX) {
                return Sums::NEVER;
            }
            let by = 1.0 / ahead;
            let share = e * by;
            squares += share * share;
            product *= ahead;
            if n.is_multiple_of(16) {
                logs += product.ln();
                product = 1.0;
            }
            let weight = -(1.0 + share) * by;
            for c in 0..k {
                for i in 0..4 {
                    slopes.logs[c][i] += row[c][i] * by;
                    row[c][i] *= weight;
                    slopes.against[c][i] += row[c][i] * share;
                }
            }
        } else {
            squares += e * e;
            for c in 0..k {
                for i in 0..4 {
                    slopes.against[c][i] -= row[c][i] * e;
                }
            }
        }
        filled += 1;
        if filled == 4 {
            gather(&slopes.rows, k, &mut slopes.blocks);
            filled = 0;
        }
    }
    slopes.rows[filled * k..].fill([0.0; 4]);
    gather(&slopes.rows, k, &mut slopes.blocks);
    let sums = Sums { n: n as f64, squares, logs: logs + product.ln() };
    finish(relative, layout.len, &sums, slopes);
    sums
}

/// Adds the products of four rows.
fn gather(rows: &[Quad], k: usize, blocks: &mut [[Quad; 4]]) {
    let mut b = 0;
    for i in 0..k {
        for j in 0..=i {
            let block = &mut blocks[b];
            for r in 0..4 {
                let (left, right) = (rows[r * k + i], rows[r * k + j]);
                for x in 0..4 {
                    for y in 0..4 {
                        block[x][y] += left[x] * right[y];
                    }
                }
            }
            b += 1;
        }
    }
}

/// The normal equations from the sums; for relative errors each row of derivatives is `a + ε ḡ`, with the mean `ḡ` of the
/// derivatives of `ln ŷ`.
fn finish(relative: bool, len: usize, sums: &Sums, slopes: &mut Slopes) {
    slopes.h.clear();
    slopes.h.resize(len * len, 0.0);
    slopes.g.clear();
    slopes.g.extend((0..len).map(|i| slopes.against[i / 4][i % 4]));
    slopes.relative_rows.clear();
    slopes.relative_rows.extend((0..len).map(|i| slopes.logs[i / 4][i % 4] / sums.n.max(1.0)));
    let mean = &slopes.relative_rows;
    for i in 0..len {
        for j in 0..=i {
            let (bi, bj) = (i / 4, j / 4);
            let mut v = slopes.blocks[bi * (bi + 1) / 2 + bj][i % 4][j % 4];
            if relative {
                v += slopes.g[i] * mean[j] + mean[i] * slopes.g[j] + sums.squares * mean[i] * mean[j];
            }
            slopes.h[i * len + j] = v;
        }
    }
    if relative {
        (0..len).for_each(|i| slopes.g[i] += mean[i] * sums.squares);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ets::form::TrendForm;

    /// The derivatives are those of differences, for every form, with gaps in the series.
    #[test]
    fn derivatives_are_exact() {
        let mut y: Vec<f64> = (0..30)
            .map(|t| (0.5 + 0.01 * t as f64) * [0.8, 1.3, 0.9][t % 3] + 0.02 * ((t * 7 % 5) as f64 - 2.0))
            .collect();
        y[7] = f64::NAN;
        y[20] = f64::NAN;
        let trends = [
            TrendForm::None,
            TrendForm::Additive,
            TrendForm::Damped,
            TrendForm::Multiplicative,
            TrendForm::MultiplicativeDamped,
        ];
        let seasons = [SeasonForm::None, SeasonForm::Additive, SeasonForm::Multiplicative];
        for error in [ErrorForm::Additive, ErrorForm::Multiplicative] {
            for trend in trends {
                for season in seasons {
                    let form = Form { error, trend, season };
                    for shares in [Shares::Nested, Shares::Plain] {
                        check(&y, form, shares);
                    }
                }
            }
        }
    }

    fn check(y: &[f64], form: Form, shares: Shares) {
        let factor = form.trend.is_multiplicative();
        let start = match form.season {
            SeasonForm::None => vec![],
            SeasonForm::Additive => vec![-0.1, 0.2, -0.1],
            SeasonForm::Multiplicative => vec![0.8, 1.25, 0.95],
        };
        let solved = start.len().saturating_sub(1);
        let layout = Layout::of(form, solved);
        let mut x = vec![0.0; layout.len];
        x[0] = 0.3;
        if form.season != SeasonForm::None {
            x[layout.gamma] = 0.2;
            x[layout.season..].copy_from_slice(&start[..solved]);
        }
        if form.trend.is_some() {
            (x[layout.beta], x[layout.phi]) = (0.15, 0.9);
            x[layout.slope] = if factor { 1.05 } else { 0.02 };
        }
        x[layout.level] = 0.5;
        let unpack = |x: &[f64]| {
            let trend = form.trend.is_some();
            let searched = Weights {
                alpha: x[0],
                beta: if trend { x[layout.beta] } else { 0.0 },
                gamma: if start.is_empty() { 0.0 } else { x[layout.gamma] },
                phi: if trend { x[layout.phi] } else { 0.0 },
            };
            let nested = shares == Shares::Nested;
            let w = Weights {
                beta: if nested { searched.alpha * searched.beta } else { searched.beta },
                gamma: if nested { (1.0 - searched.alpha) * searched.gamma } else { searched.gamma },
                ..searched
            };
            let mut season = start.clone();
            season[..solved].copy_from_slice(&x[layout.season..layout.season + solved]);
            let slope = if trend { x[layout.slope] } else { 0.0 };
            (searched, w, Now { level: x[layout.level], slope, s: 0.0 }, season)
        };
        let deviance = |x: &[f64]| {
            let (_, w, mut now, mut season) = unpack(x);
            pass(y, form, &w, &mut now, &mut season, |_| {}).deviance()
        };
        let (searched, w, now, mut season) = unpack(&x);
        let mut slopes = Slopes::default();
        let sums = derive(y, form, shares, &searched, &w, now, &mut season, solved, &mut slopes);
        assert!((sums.deviance() - deviance(&x)).abs() < 1e-9, "{form}");
        for i in 0..layout.len {
            let h = 1e-6;
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += h;
            down[i] -= h;
            let want = (deviance(&up) - deviance(&down)) / (2.0 * h);
            let got = 2.0 * sums.n * slopes.g[i] / sums.squares;
            assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{form} {shares:?} {i}: {got} {want}");
        }
    }
}
