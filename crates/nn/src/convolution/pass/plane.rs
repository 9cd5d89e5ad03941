//! Convolution of images, forward and back, on plain slices.
//!
//! Some images, or some rows of a large one, go together: what each of their places sees is laid into a column, and one
//! product with the weights answers them all. Columns are not kept but laid out again on the way back. Images go on as many
//! threads as there are; gradients of the weights are summed in lanes, whose number the batch decides and not the threads,
//! so threads change no bit.

use super::{Room, Slopes};
use crate::transformer::rows;
use crate::vector::vectorised;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::ops::Range;

/// Numbers that columns laid out at once have, about: what stays in a core's cache.
const COLUMNS: usize = 1 << 17;
/// Columns that a product takes at least, if there are as many.
const WIDE: usize = 256;

/// How a convolution goes over a batch. Pairs are of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::convolution) struct Plan {
    pub(in crate::convolution) batch: usize,
    pub(in crate::convolution) input: usize,
    pub(in crate::convolution) output: usize,
    pub(in crate::convolution) groups: usize,
    /// Of an image that comes in, and of what goes out.
    pub(in crate::convolution) size: [usize; 2],
    pub(in crate::convolution) told: [usize; 2],
    pub(in crate::convolution) kernel: [usize; 2],
    pub(in crate::convolution) stride: [usize; 2],
    pub(in crate::convolution) padding: [usize; 2],
    pub(in crate::convolution) dilation: [usize; 2],
}

/// Places that go together: all of some images, or some rows of one.
#[derive(Clone, Debug)]
struct Block {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Plan {
    /// Numbers that a place sees in a group.
    fn seen(&self) -> usize {
        self.input / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Places of an image that goes out.
    fn places(&self) -> usize {
        self.told[0] * self.told[1]
    }

    /// Numbers of an image that comes in, and of one that goes out.
    fn image(&self) -> usize {
        self.input * self.size[0] * self.size[1]
    }

    fn answer(&self) -> usize {
        self.output * self.places()
    }

    /// Whether a place sees itself alone, so that an image is laid out as it is.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// Columns that are laid out at once, about.
    fn columns(&self) -> usize {
        (COLUMNS / self.seen()).clamp(64, 4 * WIDE)
    }

    /// Images that go together.
    fn together(&self) -> usize {
        let places = self.places();
        if places >= WIDE { 1 } else { (self.columns().min(WIDE) / places).clamp(1, self.batch.max(1)) }
    }

    /// The blocks of images that go together.
    fn blocks(&self, images: Range<usize>) -> impl Iterator<Item = Block> {
        let [rows, wide] = self.told;
        let all = images.len() * self.places();
        let each =
            if images.len() > 1 || all <= self.columns() { rows } else { (self.columns() / wide).max(1) };
        (0..rows)
            .step_by(each)
            .map(move |first| Block { images: images.clone(), rows: first..rows.min(first + each) })
    }

    fn columns_of(&self, block: &Block) -> usize {
        block.images.len() * block.rows.len() * self.told[1]
    }

    /// The most columns that a block has.
    fn widest(&self) -> usize {
        self.blocks(0..self.together()).map(|block| self.columns_of(&block)).max().unwrap_or(0)
    }

    /// The places of a row whose tap `at` columns along lies within the image, and the column of the first.
    fn within(&self, tap: usize) -> (Range<usize>, usize) {
        let (along, stride) = (tap * self.dilation[1], self.stride[1]);
        let first = self.padding[1].saturating_sub(along).div_ceil(stride).min(self.told[1]);
        let end = (self.size[1] + self.padding[1]).saturating_sub(along).div_ceil(stride).min(self.told[1]);
        let column = (first * stride + along).saturating_sub(self.padding[1]);
        (first..end.max(first), column)
    }

    /// The row of the image that a tap of a row of places sees.
    fn row(&self, place: usize, tap: usize) -> Option<usize> {
        let row = (place * self.stride[0] + tap * self.dilation[0]).checked_sub(self.padding[0])?;
        (row < self.size[0]).then_some(row)
    }

    /// Calls `each` for every row of numbers of the columns of a group: where it lies among the columns, the range of it
    /// that sees the image, and where in the images it begins.
    #[inline(always)]
    fn each_row(
        &self,
        block: &Block,
        group: usize,
        mut each: impl FnMut(Range<usize>, Range<usize>, Option<usize>),
    ) {
        let [height, width] = self.size;
        let (columns, wide) = (self.columns_of(block), self.told[1]);
        let channels = self.input / self.groups;
        let mut at = 0;
        for channel in group * channels..(group + 1) * channels {
            for down in 0..self.kernel[0] {
                for along in 0..self.kernel[1] {
                    let (inside, column) = self.within(along);
                    for (k, image) in block.images.clone().enumerate() {
                        let plane = (image * self.input + channel) * height * width;
                        for (j, place) in block.rows.clone().enumerate() {
                            let from = at + (k * block.rows.len() + j) * wide;
                            let begin = self.row(place, down).map(|row| plane + row * width + column);
                            each(from..from + wide, inside.clone(), begin);
                        }
                    }
                    at += columns;
                }
            }
        }
    }

    /// Lays out what the places of a block see in a group: `[seen, columns]`.
    fn lay_out(&self, x: &[f32], block: &Block, group: usize, out: &mut [f32]) {
        let stride = self.stride[1];
        vectorised!({
            self.each_row(
                block,
                group,
                #[inline(always)]
                |to, inside, begin| {
                    let to = &mut out[to];
                    let Some(begin) = begin.filter(|_| !inside.is_empty()) else {
                        to.fill(0.0);
                        return;
                    };
                    let n = inside.len();
                    to[..inside.start].fill(0.0);
                    to[inside.end..].fill(0.0);
                    let to = &mut to[inside];
                    if stride == 1 {
                        to.copy_from_slice(&x[begin..begin + n]);
                    } else {
                        let from = &x[begin..=begin + (n - 1) * stride];
                        to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(t, v)| *t = *v);
                    }
                },
            );
        });
    }

    /// The way back of [`Plan::lay_out`]: adds columns to the images that they were laid out of; `dx` begins with the image
    /// `first`.
    fn gather(&self, columns: &[f32], block: &Block, group: usize, dx: &mut [f32], first: usize) {
        let (stride, before) = (self.stride[1], first * self.image());
        vectorised!({
            self.each_row(
                block,
                group,
                #[inline(always)]
                |from, inside, begin| {
                    let Some(begin) = begin.filter(|_| !inside.is_empty()) else { return };
                    let begin = begin - before;
                    let n = inside.len();
                    let from = &columns[from][inside];
                    if stride == 1 {
                        dx[begin..begin + n].iter_mut().zip(from).for_each(|(d, v)| *d += v);
                    } else {
                        let to = &mut dx[begin..=begin + (n - 1) * stride];
                        to.iter_mut().step_by(stride).zip(from).for_each(|(d, v)| *d += v);
                    }
                },
            );
        });
    }

    /// The channels of a group among all that go out.
    fn told_of(&self, group: usize) -> Range<usize> {
        let each = self.output / self.groups;
        group * each..(group + 1) * each
    }

    /// Where the channels of a group lie in an answer, for a block of one image; rows of it are [`Plan::places`] apart.
    fn lies(&self, image: usize, block: &Block, group: usize) -> Range<usize> {
        let (places, channels) = (self.places(), self.told_of(group));
        let begin = image * self.answer() + channels.start * places + block.rows.start * self.told[1];
        begin..begin + (channels.len() - 1) * places + block.rows.len() * self.told[1]
    }
}

fn strided(of: &[f32], rows: usize, columns: usize, apart: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice_with_stride(of, rows, columns, apart)
}

fn strided_mut(of: &mut [f32], rows: usize, columns: usize, apart: usize) -> MatMut<'_, f32> {
    // The constructor for rows takes them for columns.
    MatMut::from_column_major_slice_with_stride_mut(of, columns, rows, apart).transpose_mut()
}

/// The columns of a block: laid out into `room`, or the image as it lies.
fn columns_of<'a>(
    plan: &Plan,
    x: &'a [f32],
    block: &Block,
    group: usize,
    room: &'a mut [f32],
) -> MatRef<'a, f32> {
    let (seen, n) = (plan.seen(), plan.columns_of(block));
    if plan.is_pointwise() && block.images.len() == 1 {
        let places = plan.places();
        let begin =
            block.images.start * plan.image() + group * seen * places + block.rows.start * plan.told[1];
        return strided(&x[begin..begin + (seen - 1) * places + n], seen, n, places);
    }
    let room = &mut room[..seen * n];
    plan.lay_out(x, block, group, room);
    MatRef::from_row_major_slice(room, seen, n)
}

/// Copies between the answers of several images and a matrix that has them side by side: `[channels, images · places]`.
fn each_piece(
    plan: &Plan,
    block: &Block,
    group: usize,
    first: usize,
    mut each: impl FnMut(Range<usize>, Range<usize>),
) {
    let places = plan.places();
    let n = block.images.len() * places;
    for (k, image) in block.images.clone().enumerate() {
        for (j, channel) in plan.told_of(group).enumerate() {
            let beside = j * n + k * places;
            let alone = (image - first) * plan.answer() + channel * places;
            each(beside..beside + places, alone..alone + places);
        }
    }
}

/// Forward: `[batch, output, rows, columns]`.
pub(super) fn forward(plan: &Plan, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (seen, channels, places) = (plan.seen(), plan.output / plan.groups, plan.places());
    let together = plan.together();
    let mut out = vec![0.0; plan.batch * plan.answer()];
    let room_for = if plan.is_pointwise() && together == 1 { 0 } else { seen * plan.widest() };
    let rooms = || (vec![0.0; room_for], vec![0.0; if together > 1 { channels * plan.widest() } else { 0 }]);
    out.par_chunks_mut((together * plan.answer()).max(1)).enumerate().for_each_init(
        rooms,
        |(room, beside), (k, out)| {
            let first = k * together;
            let images = first..plan.batch.min(first + together);
            for (channel, plane) in out.chunks_exact_mut(places).enumerate() {
                plane.fill(bias[channel % plan.output]);
            }
            for block in plan.blocks(images) {
                let n = plan.columns_of(&block);
                for group in 0..plan.groups {
                    let of = plan.told_of(group);
                    let weight = strided(&weight[of.start * seen..of.end * seen], channels, seen, seen);
                    let columns = columns_of(plan, x, &block, group, room);
                    if block.images.len() == 1 {
                        let to = &mut out[plan.lies(0, &block, group)];
                        let to = strided_mut(to, channels, n, places);
                        matmul(to, Accum::Add, weight, columns, 1.0, Par::Seq);
                        continue;
                    }
                    let beside = &mut beside[..channels * n];
                    let to = strided_mut(beside, channels, n, n);
                    matmul(to, Accum::Replace, weight, columns, 1.0, Par::Seq);
                    each_piece(plan, &block, group, first, |from, to| rows::add(&mut out[to], &beside[from]));
                }
            }
        },
    );
    out
}

/// Back; see [`super::Plan::backward`].
pub(super) fn backward(plan: &Plan, x: &[f32], weight: &[f32], d: &[f32], asked: [bool; 3]) -> Slopes {
    let sizes = [x.len(), weight.len(), plan.output];
    Slopes::in_lanes(plan.batch, plan.together(), sizes, asked, |images, room| {
        back_lane(plan, x, weight, d, images, room);
    })
}

fn back_lane(
    plan: &Plan,
    x: &[f32],
    weight: &[f32],
    d: &[f32],
    images: Range<usize>,
    Room { x: dx, weight: dweight, bias: dbias }: Room<'_>,
) {
    let (seen, channels, places) = (plan.seen(), plan.output / plan.groups, plan.places());
    let (together, first) = (plan.together(), images.start);
    let mut room = vec![0.0; seen * plan.widest()];
    let mut beside = vec![0.0; if together > 1 { channels * plan.widest() } else { 0 }];
    if !dbias.is_empty() {
        let d = &d[images.start * plan.answer()..images.end * plan.answer()];
        for (channel, plane) in d.chunks_exact(places).enumerate() {
            dbias[channel % plan.output] += rows::sum(plane);
        }
    }
    for unit in images.clone().step_by(together) {
        for block in plan.blocks(unit..images.end.min(unit + together)) {
            let n = plan.columns_of(&block);
            for group in 0..plan.groups {
                let of = plan.told_of(group);
                let of = of.start * seen..of.end * seen;
                let d = if block.images.len() == 1 {
                    strided(&d[plan.lies(unit, &block, group)], channels, n, places)
                } else {
                    let beside = &mut beside[..channels * n];
                    each_piece(plan, &block, group, 0, |to, from| beside[to].copy_from_slice(&d[from]));
                    MatRef::from_row_major_slice(&*beside, channels, n)
                };
                if !dweight.is_empty() {
                    let columns = columns_of(plan, x, &block, group, &mut room);
                    let to = strided_mut(&mut dweight[of.clone()], channels, seen, seen);
                    matmul(to, Accum::Add, d, columns.transpose(), 1.0, Par::Seq);
                }
                if !dx.is_empty() {
                    let weight = strided(&weight[of], channels, seen, seen).transpose();
                    let room = &mut room[..seen * n];
                    matmul(strided_mut(room, seen, n, n), Accum::Replace, weight, d, 1.0, Par::Seq);
                    plan.gather(room, &block, group, dx, first);
                }
            }
        }
    }
}
