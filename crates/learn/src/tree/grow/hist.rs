//! Histograms: for each bin of each column the sum of gradients and hessians, as whole numbers.
//!
//! A row's gradient and hessian lie in one 64-bit word, the gradient in the upper half (signed), the hessian in the
//! lower (not negative). One addition adds both, one subtraction gives the sibling's histogram exactly, and the order
//! of the rows does not matter, so threads change nothing. The caller scales the numbers so that no sum overflows.

use crate::tree::bins::Bin;

/// Columns added up in one pass over the rows; their histograms fit in the first-level cache.
pub(super) const GROUP: usize = 16;

/// Slots of a column's histogram where bins take one byte; fixed, so that no index needs a check.
pub(super) const SLOTS: usize = 256;

/// Rows worked on while they are in the second-level cache.
const CHUNK_ROWS: usize = 2048;

/// How many rows ahead memory is asked for.
const AHEAD: usize = 16;

/// The sum of gradients in a word.
#[inline(always)]
pub(super) fn g_of(word: i64) -> i32 {
    (word >> 32) as i32
}

/// The sum of hessians in a word.
#[inline(always)]
pub(super) fn h_of(word: i64) -> i32 {
    word as u32 as i32
}

/// A gradient and a hessian as one word.
#[inline(always)]
pub(super) fn word(g: i32, h: i32) -> i64 {
    (i64::from(g) << 32) + i64::from(h)
}

/// How bins of a type are added up.
pub(super) trait Kernel: Bin {
    /// Where the histogram of each column begins; one more entry for the end.
    fn offsets(n_bins: &[usize]) -> Vec<usize>;

    /// Adds the rows' words to the histograms of `width` columns from `first` on.
    ///
    /// `rows` holds the bins row after row, `stride` columns each; `row` and `words` name the rows.
    fn add(part: &Part<'_, Self>, row: &[u32], words: &[i64], hist: &mut [i64]);
}

/// Some columns of the binned rows.
pub(super) struct Part<'a, T> {
    /// Bins, row after row.
    pub(super) rows: &'a [T],
    /// Columns in a row.
    pub(super) stride: usize,
    /// The first column.
    pub(super) first: usize,
    /// How many columns.
    pub(super) width: usize,
    /// Where the histograms begin, counted from that of the first column.
    pub(super) offsets: &'a [usize],
    /// The columns that matter, counted from the first.
    pub(super) used: &'a [u32],
}

/// Adds rows to the histograms of several groups of columns. `row` are row numbers in ascending order.
pub(super) fn add<T: Kernel>(parts: &[Part<'_, T>], row: &[u32], words: &[i64], hist: &mut [i64]) {
    let mut near = [0_i64; CHUNK_ROWS];
    for row in row.chunks(CHUNK_ROWS) {
        let near = &mut near[..row.len()];
        near.iter_mut().zip(row).for_each(|(to, i)| *to = words[*i as usize]);
        let mut begin = 0;
        for part in parts {
            let end = begin + part.offsets[part.width] - part.offsets[0];
            if !part.used.is_empty() {
                T::add(part, row, near, &mut hist[begin..end]);
            }
            begin = end;
        }
    }
}

/// Asks for the memory of an element before it is needed.
#[inline(always)]
#[cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "a hint to the processor: rows of a leaf lie far apart and would be waited for"
    )
)]
fn ask_for<T>(list: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if at < list.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the pointer lies within the list, and a prefetch reads nothing anyone can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(list.as_ptr().add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (list, at);
}

fn add_narrow<const W: usize>(part: &Part<'_, u8>, row: &[u32], words: &[i64], hist: &mut [i64]) {
    let Some(hist) = hist.as_chunks_mut::<SLOTS>().0.first_chunk_mut::<W>() else { return };
    for (k, (&i, &w)) in row.iter().zip(words).enumerate() {
        if let Some(next) = row.get(k + AHEAD) {
            ask_for(part.rows, *next as usize * part.stride + part.first);
        }
        let at = i as usize * part.stride + part.first;
        let Some(bins) = part.rows.get(at..).and_then(|b| b.first_chunk::<W>()) else { return };
        for c in 0..W {
            let slot = &mut hist[c][usize::from(bins[c])];
            *slot = slot.wrapping_add(w);
        }
    }
}

/// For when only some columns matter, and for wide bins.
fn add_used<T: Bin>(part: &Part<'_, T>, row: &[u32], words: &[i64], hist: &mut [i64]) {
    let base = part.offsets[0];
    for (k, (&i, &w)) in row.iter().zip(words).enumerate() {
        if let Some(next) = row.get(k + AHEAD) {
            ask_for(part.rows, *next as usize * part.stride + part.first);
        }
        let at = i as usize * part.stride + part.first;
        let bins = &part.rows[at..at + part.width];
        for &c in part.used {
            let slot = &mut hist[part.offsets[c as usize] - base + bins[c as usize].at()];
            *slot = slot.wrapping_add(w);
        }
    }
}

impl Kernel for u8 {
    fn offsets(n_bins: &[usize]) -> Vec<usize> {
        (0..=n_bins.len()).map(|j| j * SLOTS).collect()
    }

    fn add(part: &Part<'_, Self>, row: &[u32], words: &[i64], hist: &mut [i64]) {
        // A pass over all columns is quicker by about half than one over a list of them.
        if part.used.len() * 3 < part.width * 2 {
            return add_used(part, row, words, hist);
        }
        match part.width {
            1 => add_narrow::<1>(part, row, words, hist),
            2 => add_narrow::<2>(part, row, words, hist),
            3 => add_narrow::<3>(part, row, words, hist),
            4 => add_narrow::<4>(part, row, words, hist),
            5 => add_narrow::<5>(part, row, words, hist),
            6 => add_narrow::<6>(part, row, words, hist),
            7 => add_narrow::<7>(part, row, words, hist),
            8 => add_narrow::<8>(part, row, words, hist),
            9 => add_narrow::<9>(part, row, words, hist),
            10 => add_narrow::<10>(part, row, words, hist),
            11 => add_narrow::<11>(part, row, words, hist),
            12 => add_narrow::<12>(part, row, words, hist),
            13 => add_narrow::<13>(part, row, words, hist),
            14 => add_narrow::<14>(part, row, words, hist),
            15 => add_narrow::<15>(part, row, words, hist),
            16 => add_narrow::<16>(part, row, words, hist),
            _ => add_used(part, row, words, hist),
        }
    }
}

impl Kernel for u16 {
    fn offsets(n_bins: &[usize]) -> Vec<usize> {
        let mut offsets = vec![0];
        for n in n_bins {
            offsets.push(offsets[offsets.len() - 1] + n);
        }
        offsets
    }

    fn add(part: &Part<'_, Self>, row: &[u32], words: &[i64], hist: &mut [i64]) {
        add_used(part, row, words, hist);
    }
}
