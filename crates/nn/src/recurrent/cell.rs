//! What one step of a recurrent layer does to one row, and how its gradient goes back.

use crate::activation::{sigmoid, small_exp, tanh};

/// A recurrent cell. All slices are of one row: gates of `GATES · hidden` values, states of `hidden`.
pub(super) trait Cell: Copy + Send + Sync + 'static {
    /// Gates of a unit.
    const GATES: usize;
    /// Whether a cell state goes along beside the hidden one.
    const CELL: bool;
    /// Whether the last gate needs the product with the hidden state by itself.
    const APART: bool;

    /// `gates` comes with the sums of input and hidden state and goes with the activated gates; the last gate comes with the
    /// part of the input alone where it is [`Cell::APART`], and `apart` with its product with the hidden state. `h` and `c`
    /// come as they were and go as they are.
    fn forward(gates: &mut [f32], apart: &[f32], h: &mut [f32], c: &mut [f32]);

    /// The same where no way back follows: what is left in `gates` does not matter.
    #[inline(always)]
    fn answer(gates: &mut [f32], apart: &[f32], h: &mut [f32], c: &mut [f32]) {
        Self::forward(gates, apart, h, c);
    }

    /// `gates` comes activated and goes as the gradient of the part of the input; `product` goes as that of the product
    /// (only where it is [`Cell::APART`]). `dh` comes as the gradient of the new hidden state and goes as the part of the
    /// old one's that does not pass the product; `dc` likewise. `h_before`, `c_before` and `c` are states of the forward
    /// pass.
    #[expect(clippy::too_many_arguments, reason = "each is a row of its own")]
    fn backward(
        gates: &mut [f32],
        product: &mut [f32],
        dh: &mut [f32],
        dc: &mut [f32],
        h_before: &[f32],
        c_before: &[f32],
        c: &[f32],
        apart: &[f32],
    );
}

/// Long short-term memory (Hochreiter and Schmidhuber 1997, with a forget gate), gates in the order i, f, g, o:
/// `c = f ⊙ c + i ⊙ g`, `h = o ⊙ tanh c`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LstmCell;

impl Cell for LstmCell {
    const GATES: usize = 4;
    const CELL: bool = true;
    const APART: bool = false;

    #[inline(always)]
    fn forward(gates: &mut [f32], _: &[f32], h: &mut [f32], c: &mut [f32]) {
        let n = h.len();
        let (i, rest) = gates.split_at_mut(n);
        let (f, rest) = rest.split_at_mut(n);
        let (g, o) = rest.split_at_mut(n);
        let (o, c) = (&mut o[..n], &mut c[..n]);
        for k in 0..n {
            i[k] = sigmoid(i[k]);
            f[k] = sigmoid(f[k]);
            g[k] = tanh(g[k]);
            o[k] = sigmoid(o[k]);
            c[k] = f[k] * c[k] + i[k] * g[k];
            h[k] = o[k] * tanh(c[k]);
        }
    }

    /// With `e_x` for `e^-x`, `c' = (c (1 + e_i)(1 + e_2g) + (1 - e_2g)(1 + e_f)) / (1 + e_f)(1 + e_i)(1 + e_2g)`: one
    /// division for three gates, and likewise one for the hidden state.
    #[inline(always)]
    fn answer(gates: &mut [f32], _: &[f32], h: &mut [f32], c: &mut [f32]) {
        let n = h.len();
        let (i, rest) = gates.split_at(n);
        let (f, rest) = rest.split_at(n);
        let (g, o) = rest.split_at(n);
        let (o, c) = (&o[..n], &mut c[..n]);
        for k in 0..n {
            let (e_i, e_f, e_g) = (small_exp(-i[k]), small_exp(-f[k]), small_exp(-2.0 * g[k]));
            let both = (1.0 + e_i) * (1.0 + e_g);
            let new = (1.0 - e_g).mul_add(1.0 + e_f, c[k] * both) / ((1.0 + e_f) * both);
            let (e_o, e_c) = (small_exp(-o[k]), small_exp(-2.0 * new));
            c[k] = new;
            h[k] = (1.0 - e_c) / ((1.0 + e_o) * (1.0 + e_c));
        }
    }

    #[inline(always)]
    fn backward(
        gates: &mut [f32],
        _: &mut [f32],
        dh: &mut [f32],
        dc: &mut [f32],
        _: &[f32],
        c_before: &[f32],
        c: &[f32],
        _: &[f32],
    ) {
        let n = dh.len();
        let (i, rest) = gates.split_at_mut(n);
        let (f, rest) = rest.split_at_mut(n);
        let (g, o) = rest.split_at_mut(n);
        let (o, dc, c_before, c) = (&mut o[..n], &mut dc[..n], &c_before[..n], &c[..n]);
        for k in 0..n {
            let shown = tanh(c[k]);
            let d = dc[k] + dh[k] * o[k] * (1.0 - shown * shown);
            dc[k] = d * f[k];
            let (di, df) = (d * g[k] * i[k] * (1.0 - i[k]), d * c_before[k] * f[k] * (1.0 - f[k]));
            let (dg, d_o) = (d * i[k] * (1.0 - g[k] * g[k]), dh[k] * shown * o[k] * (1.0 - o[k]));
            i[k] = di;
            f[k] = df;
            g[k] = dg;
            o[k] = d_o;
            dh[k] = 0.0;
        }
    }
}

/// Gated recurrent unit (Cho et al. 2014, in the form of cuDNN and PyTorch), gates in the order r, z, n:
/// `n = tanh(W x + b + r ⊙ (U h + b'))`, `h = (1 - z) ⊙ n + z ⊙ h`.
#[derive(Clone, Copy, Debug)]
pub(super) struct GruCell;

impl Cell for GruCell {
    const GATES: usize = 3;
    const CELL: bool = false;
    const APART: bool = true;

    #[inline(always)]
    fn forward(gates: &mut [f32], apart: &[f32], h: &mut [f32], _: &mut [f32]) {
        let n = h.len();
        let (r, rest) = gates.split_at_mut(n);
        let (z, m) = rest.split_at_mut(n);
        let (m, apart) = (&mut m[..n], &apart[..n]);
        for k in 0..n {
            r[k] = sigmoid(r[k]);
            z[k] = sigmoid(z[k]);
            m[k] = tanh(m[k] + r[k] * apart[k]);
            h[k] = m[k] + z[k] * (h[k] - m[k]);
        }
    }

    #[inline(always)]
    fn backward(
        gates: &mut [f32],
        product: &mut [f32],
        dh: &mut [f32],
        _: &mut [f32],
        h_before: &[f32],
        _: &[f32],
        _: &[f32],
        apart: &[f32],
    ) {
        let n = dh.len();
        let (r, rest) = gates.split_at_mut(n);
        let (z, m) = rest.split_at_mut(n);
        let (pr, rest) = product.split_at_mut(n);
        let (pz, pm) = rest.split_at_mut(n);
        let (m, pm, h_before, apart) = (&mut m[..n], &mut pm[..n], &h_before[..n], &apart[..n]);
        for k in 0..n {
            let dm = dh[k] * (1.0 - z[k]) * (1.0 - m[k] * m[k]);
            let dz = dh[k] * (h_before[k] - m[k]) * z[k] * (1.0 - z[k]);
            let dr = dm * apart[k] * r[k] * (1.0 - r[k]);
            pm[k] = dm * r[k];
            pr[k] = dr;
            pz[k] = dz;
            dh[k] *= z[k];
            r[k] = dr;
            z[k] = dz;
            m[k] = dm;
        }
    }
}

/// The plain recurrent layer (Elman 1990): `h = tanh(W x + U h + b)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElmanCell;

impl Cell for ElmanCell {
    const GATES: usize = 1;
    const CELL: bool = false;
    const APART: bool = false;

    #[inline(always)]
    fn forward(gates: &mut [f32], _: &[f32], h: &mut [f32], _: &mut [f32]) {
        let n = h.len();
        let gates = &mut gates[..n];
        for k in 0..n {
            gates[k] = tanh(gates[k]);
            h[k] = gates[k];
        }
    }

    #[inline(always)]
    fn backward(
        gates: &mut [f32],
        _: &mut [f32],
        dh: &mut [f32],
        _: &mut [f32],
        _: &[f32],
        _: &[f32],
        _: &[f32],
        _: &[f32],
    ) {
        let n = dh.len();
        let gates = &mut gates[..n];
        for k in 0..n {
            gates[k] = dh[k] * (1.0 - gates[k] * gates[k]);
            dh[k] = 0.0;
        }
    }
}
