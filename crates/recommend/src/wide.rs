//! The hot loops, compiled three times: for every processor, for those with AVX2 and for those with AVX-512.
//!
//! All give the same bits, since each lane does the same IEEE operations in the same order and no multiplication is
//! fused with an addition.

use rayon::prelude::*;
use tradewind_core::SparseRows;

/// Numbers worked on side by side.
pub(crate) const LANES: usize = 16;

/// Items of one panel of [`Panels`].
const PANEL: usize = 32;

/// Makes `$name` out of a body that is compiled for each width of the registers.
macro_rules! wide {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $kind),*) $(-> $out)? {
            #[inline(always)]
            fn plain($($arg: $kind),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $kind),*) $(-> $out)? {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $kind),*) $(-> $out)? {
                    plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                {
                    #[expect(unsafe_code, reason = "the work is done here, and wide registers take a third of the time")]
                    // SAFETY: the processor has these, as the lines above have found; the function is safe otherwise.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    #[expect(unsafe_code, reason = "as above")]
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

pub(crate) use wide;

/// Vectors of all items, laid out so that one load brings the same component of many items: panels of 32
/// items, each component after component.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels {
    n: usize,
    width: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Of vectors row after row, `width` numbers each.
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        let n = rows.len() / width.max(1);
        let mut values = vec![0.0; n.div_ceil(PANEL) * PANEL * width];
        for (i, row) in rows.chunks_exact(width.max(1)).enumerate() {
            let panel = &mut values[i / PANEL * PANEL * width..];
            row.iter().enumerate().for_each(|(k, v)| panel[k * PANEL + i % PANEL] = *v);
        }
        Self { n, width, values }
    }

    /// The products of every row of `x` with all items: `out` has as many rows, each as long as there are items.
    pub(crate) fn products(&self, x: &[f32], out: &mut [f32]) {
        products(&self.values, self.width, self.n, x, out);
    }

    /// Writes the cosine of the angle between the vector of an item and those of all; 0 where one has no length.
    pub(crate) fn angles(&self, item: usize, out: &mut [f32]) {
        let of = |i: usize| {
            let panel = &self.values[i / PANEL * PANEL * self.width..];
            (0..self.width).map(move |k| panel[k * PANEL + i % PANEL])
        };
        let own: Vec<f32> = of(item).collect();
        self.products(&own, out);
        let length = |i: usize| of(i).map(|v| v * v).sum::<f32>().sqrt();
        let own = length(item);
        for (i, out) in out.iter_mut().enumerate() {
            let lengths = own * length(i);
            *out = if lengths > 0.0 { *out / lengths } else { 0.0 };
        }
    }
}

wide! {
    /// The products of rows of `x` with the items of panels, four rows at a time.
    fn products(panels: &[f32], width: usize, n: usize, x: &[f32], out: &mut [f32]) {
        if width == 0 || n == 0 {
            return;
        }
        for (x, out) in x.chunks(width * ROWS).zip(out.chunks_mut(n * ROWS)) {
            for (p, panel) in panels.chunks_exact(width * PANEL).enumerate() {
                let part = p * PANEL..n.min((p + 1) * PANEL);
                if x.len() == width * ROWS {
                    let sums = four(panel, x, width);
                    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(n)) {
                        out[part.clone()].copy_from_slice(&sums.as_flattened()[..part.len()]);
                    }
                } else {
                    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(n)) {
                        let sums = one(panel, x);
                        out[part.clone()].copy_from_slice(&sums.as_flattened()[..part.len()]);
                    }
                }
            }
        }
    }
}

/// Rows of which products are made together: their sums fill half of the widest registers.
const ROWS: usize = 4;

/// The products of four rows with a panel. The sums stand in names of their own, since only then do they stay in
/// registers.
#[inline(always)]
fn four(panel: &[f32], x: &[f32], width: usize) -> [[[f32; LANES]; 2]; ROWS] {
    let zeros = [0.0_f32; LANES];
    let (mut a0, mut a1, mut b0, mut b1) = (zeros, zeros, zeros, zeros);
    let (mut c0, mut c1, mut d0, mut d1) = (zeros, zeros, zeros, zeros);
    let (a, b, c, d) = (&x[..width], &x[width..2 * width], &x[2 * width..3 * width], &x[3 * width..]);
    for ((((column, a), b), c), d) in panel.as_chunks::<PANEL>().0.iter().zip(a).zip(b).zip(c).zip(d) {
        let halves = column.as_chunks::<LANES>().0;
        add(&mut a0, *a, &halves[0]);
        add(&mut a1, *a, &halves[1]);
        add(&mut b0, *b, &halves[0]);
        add(&mut b1, *b, &halves[1]);
        add(&mut c0, *c, &halves[0]);
        add(&mut c1, *c, &halves[1]);
        add(&mut d0, *d, &halves[0]);
        add(&mut d1, *d, &halves[1]);
    }
    [[a0, a1], [b0, b1], [c0, c1], [d0, d1]]
}

/// The products of one row with a panel, in the same order of additions.
#[inline(always)]
fn one(panel: &[f32], x: &[f32]) -> [[f32; LANES]; 2] {
    let (mut low, mut high) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for (column, x) in panel.as_chunks::<PANEL>().0.iter().zip(x) {
        let halves = column.as_chunks::<LANES>().0;
        add(&mut low, *x, &halves[0]);
        add(&mut high, *x, &halves[1]);
    }
    [low, high]
}

/// `sums += x × column`, lane by lane.
#[inline(always)]
pub(crate) fn add(sums: &mut [f32; LANES], x: f32, column: &[f32; LANES]) {
    for l in 0..LANES {
        sums[l] += x * column[l];
    }
}

wide! {
    /// `to += factor × from`.
    fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += factor * from;
        }
    }
}

/// Rows of a sparse matrix that are worked on together.
const TOGETHER: usize = 32;

/// `rows × right`, `right` being columns of `rows` × `width`. Each line is added up in one order.
pub(crate) fn times(rows: &SparseRows, right: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.n_rows() * width];
    out.par_chunks_mut(TOGETHER * width.max(1)).enumerate().for_each(|(part, lines)| {
        for (r, line) in (part * TOGETHER..).zip(lines.chunks_exact_mut(width.max(1))) {
            let (columns, values) = rows.row(r);
            add_rows(line, columns, values, right);
        }
    });
    out
}

wide! {
    /// Adds the rows of `from` that `columns` name, each as long as the line, times its value.
    fn add_rows(line: &mut [f32], columns: &[u32], values: &[f32], from: &[f32]) {
        let width = line.len();
        for (c, v) in columns.iter().zip(values) {
            let row = &from[*c as usize * width..][..width];
            line.iter_mut().zip(row).for_each(|(line, row)| *line += v * row);
        }
    }
}

/// The sum of products, in sixteen sums that are added at the end.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            sums[l] += a[l] * b[l];
        }
    }
    folded(sums) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// The sum of all lanes, halves upon halves.
#[inline(always)]
pub(crate) fn folded(lanes: [f32; LANES]) -> f32 {
    let mut sums = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            sums[l] += sums[l + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition_whatever_the_rows() {
        let (n, width) = (77, 13);
        let item = |i: usize, k: usize| ((i * 31 + k * 17) % 19) as f32 - 9.0;
        let rows: Vec<f32> = (0..n).flat_map(|i| (0..width).map(move |k| item(i, k))).collect();
        let panels = Panels::new(&rows, width);
        for users in [1, 3, 4, 6, 9] {
            let x: Vec<f32> = (0..users * width).map(|t| (t % 7) as f32 - 3.0).collect();
            let mut out = vec![f32::NAN; users * n];
            panels.products(&x, &mut out);
            for u in 0..users {
                for i in 0..n {
                    let sum: f32 = (0..width).map(|k| x[u * width + k] * item(i, k)).sum();
                    assert_eq!(out[u * n + i], sum);
                }
            }
        }
    }

    #[test]
    fn dots_of_every_length() {
        for n in 0..70 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(dot(&a, &a), (0..n).map(|i| (i * i) as f32).sum::<f32>());
        }
    }
}
