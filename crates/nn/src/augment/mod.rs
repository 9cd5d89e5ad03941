//! More to learn from than there is: copies of rows changed in ways that leave their answer as it is.
//!
//! | function | what | source |
//! |---|---|---|
//! | [`series::jitter`] | noise on every value | Um et al. 2017 |
//! | [`series::scale`] | each channel larger or smaller | Um et al. 2017 |
//! | [`series::warp_magnitude`] | larger and smaller along a smooth random curve | Um et al. 2017 |
//! | [`series::warp_time`] | quicker and slower along a smooth random curve | Um et al. 2017 |
//! | [`series::slice`] | a window, drawn out to the whole length | Le Guennec et al. 2016 |
//! | [`series::mask`] | blocks of steps left out | DeVries and Taylor 2017 |
//! | [`mixup`] | rows between two, with answers between theirs | Zhang et al. 2018 |
//! | [`images::flip`], [`images::rotate`], [`images::crop`] | mirrored, turned, moved | Krizhevsky et al. 2012, He et al. 2016 |
//! | [`words::hide`] | words hidden that are to be told | Devlin et al. 2019 |
//!
//! Sources: Um et al., *Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
//! neural networks*, ICMI 2017; Le Guennec, Malinowski and Tavenard, *Data augmentation for time series classification using
//! convolutional neural networks*, 2016; DeVries and Taylor, *Improved regularization of convolutional neural networks with
//! cutout*, 2017; Zhang et al., *mixup: beyond empirical risk minimization*, ICLR 2018; Krizhevsky, Sutskever and Hinton,
//! *ImageNet classification with deep convolutional neural networks*, NIPS 2012; He et al., *Deep residual learning for image
//! recognition*, CVPR 2016; Devlin et al., *BERT*, NAACL 2019.
//!
//! Numbers go in and come out as plain slices, on the host and before they become a tensor. All chance comes from the
//! generator handed in: within a [`Task`](crate::train::Task) that is [`Noise::rng`](crate::Noise::rng), which is there
//! while training and not while predicting, so a training stays the same to the bit for a seed. At strength 0 everything
//! comes back as it was. For training rows only: a model measured on changed rows is measured on something else.

pub mod images;
pub mod series;
pub mod words;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use tradewind_core::{Error, ParamCheck, Result};

/// What [`mixup`] has made, and from what.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The rows, each between row `i` and row `other[i]`.
    pub values: Vec<f32>,
    /// The second row of each.
    pub other: Vec<usize>,
    /// The share of row `i` in it, 0 to 1; the rest is of the other.
    pub share: Vec<f32>,
}

impl Mixed {
    /// Answers, or losses, of the rows mixed as the rows were: `λ y_i + (1 - λ) y_other`, for `width` numbers a row.
    ///
    /// # Errors
    /// Numbers that are not `width` a row.
    pub fn mix(&self, y: &[f32], width: usize) -> Result<Vec<f32>> {
        if y.len() != self.share.len() * width {
            return Err(Error::Invalid(format!(
                "{} numbers are not {width} for each of {} rows",
                y.len(),
                self.share.len()
            )));
        }
        Ok(between(y, width, &self.other, &self.share))
    }
}

/// Rows between two: `λ x_i + (1 - λ) x_j`, with `j` dealt by chance and `λ` from Beta(alpha, alpha) for each row, of rows of
/// `width` numbers. `alpha` is 0 to 100: 0.2 leaves most rows near one of the two, 1 makes every share equally likely, 0
/// leaves rows as they are. The loss to learn by is mixed likewise ([`Mixed::mix`]).
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_nn::augment::mixup;
/// let mixed = mixup(&[0.0, 0.0, 10.0, 10.0], 2, 0.4, &mut Run::new(1).rng(0)).unwrap();
/// assert!(mixed.values.iter().all(|v| (0.0..=10.0).contains(v)));
/// assert_eq!(mixed.mix(&[1.0, 2.0], 1).unwrap().len(), 2);
/// ```
///
/// # Errors
/// A share out of range; values that are no whole rows.
pub fn mixup(values: &[f32], width: usize, alpha: f64, rng: &mut impl Rng) -> Result<Mixed> {
    let mut check = ParamCheck::new();
    check.require((0.0..=100.0).contains(&alpha), "alpha", alpha, "0 to 100");
    check.require(width > 0, "width", width, "at least 1");
    check.finish()?;
    let rows = whole(values.len(), width, "a row")?;
    let mut other: Vec<usize> = (0..rows).collect();
    other.shuffle(rng);
    // Below this the distribution has all of its mass at 0 and 1.
    let share = match Beta::new(alpha, alpha) {
        Ok(beta) if alpha >= 1e-3 => (0..rows).map(|_| beta.sample(rng) as f32).collect(),
        _ => vec![1.0; rows],
    };
    Ok(Mixed { values: between(values, width, &other, &share), other, share })
}

fn between(values: &[f32], width: usize, other: &[usize], share: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for (i, (j, share)) in other.iter().zip(share).enumerate() {
        let (own, theirs) = (&values[i * width..(i + 1) * width], &values[j * width..(j + 1) * width]);
        // A row all its own stays to the bit.
        out.extend(
            own.iter().zip(theirs).map(
                |(a, b)| {
                    if *share >= 1.0 { *a } else { share * a + (1.0 - share) * b }
                },
            ),
        );
    }
    out
}

/// How many wholes of `size` numbers there are.
fn whole(n: usize, size: usize, what: &str) -> Result<usize> {
    if size == 0 || !n.is_multiple_of(size) {
        return Err(Error::Invalid(format!(
            "{n} numbers are no whole number of times {size}, the size of {what}"
        )));
    }
    Ok(n / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::Run;

    #[test]
    fn mixed_rows_lie_between_two_and_their_mean_stays() {
        let values: Vec<f32> = (0..4_000).map(|i| (i * 7919 % 1_001) as f32).collect();
        let mixed = mixup(&values, 4, 0.5, &mut Run::new(3).rng(0)).unwrap();
        for (i, row) in mixed.values.chunks_exact(4).enumerate() {
            let (a, b) = (&values[i * 4..][..4], &values[mixed.other[i] * 4..][..4]);
            assert!((0.0..=1.0).contains(&mixed.share[i]));
            for ((v, a), b) in row.iter().zip(a).zip(b) {
                assert!(*v >= a.min(*b) - 1e-3 && *v <= a.max(*b) + 1e-3);
            }
        }
        let mean = |v: &[f32]| v.iter().map(|v| f64::from(*v)).sum::<f64>() / v.len() as f64;
        assert!((mean(&mixed.values) - mean(&values)).abs() < 15.0);
        // Beta(½, ½) has a mean of ½.
        assert!((mean(&mixed.share) - 0.5).abs() < 0.04);
        assert_eq!(mixed, mixup(&values, 4, 0.5, &mut Run::new(3).rng(0)).unwrap());
        assert_ne!(mixed, mixup(&values, 4, 0.5, &mut Run::new(4).rng(0)).unwrap());
        assert_eq!(mixup(&values, 4, 0.0, &mut Run::new(3).rng(0)).unwrap().values, values);
    }

    #[test]
    fn rows_that_cannot_be_mixed_are_told() {
        let rng = &mut Run::new(1).rng(0);
        assert!(mixup(&[], 3, 0.2, rng).unwrap().values.is_empty());
        assert!(mixup(&[1.0, 2.0], 0, 0.2, rng).is_err());
        assert!(mixup(&[1.0, 2.0], 2, -0.1, rng).is_err());
        assert!(mixup(&[1.0, 2.0], 2, f64::NAN, rng).is_err());
        let fault = mixup(&[1.0, 2.0, 3.0], 2, 0.2, rng).unwrap_err().to_string();
        assert!(fault.contains("3 numbers"), "{fault}");
        let one = mixup(&[1.0, 2.0], 2, 0.2, rng).unwrap();
        assert_eq!(one.values.len(), 2);
        assert!(one.mix(&[1.0, 2.0], 1).is_err());
    }
}
