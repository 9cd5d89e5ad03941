//! What tells a token its place, since attention by itself sees none.

use super::Packed;
use crate::init;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use tradewind_core::{Error, Result};

/// Numbers that are added to each token by its place in its sequence: learnt ones, or waves.
///
/// ```text
/// waves: p(t, 2i) = sin(t / 10000^(2i / width))     p(t, 2i + 1) = cos(t / 10000^(2i / width))      (Vaswani et al. 2017)
/// ```
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tradewind_nn::transformer::{Packed, Positions};
/// let device = Device::flex();
/// let x = Tensor::<2>::zeros([3, 4], &device);
/// // Two sequences: places 0 and 1, and 0 again.
/// let told = Positions::waves(4).forward(x, &Packed::of_lengths(&[2, 1])).unwrap();
/// let told = tradewind_nn::values(told);
/// assert_eq!(told[..4], [0.0, 1.0, 0.0, 1.0]);
/// assert!((told[4] - 1.0_f32.sin()).abs() < 1e-6 && (told[7] - 0.01_f32.cos()).abs() < 1e-6);
/// assert_eq!(told[8..], told[..4]);
/// ```
#[derive(Module, Debug)]
pub struct Positions {
    /// `[places, width]`.
    learnt: Option<Param<Tensor<2>>>,
    width: usize,
}

impl Positions {
    /// Waves of ever longer periods, for sequences of any length.
    pub fn waves(width: usize) -> Self {
        Self { learnt: None, width }
    }

    /// Learnt ones for sequences of up to `longest` tokens; at first drawn from a normal distribution of deviation 0.02
    /// (Devlin et al. 2019).
    pub fn learnt(longest: usize, width: usize, device: &Device, rng: &mut impl Rng) -> Self {
        Self { learnt: Some(init::normal([longest, width], 0.02, device, rng)), width }
    }

    /// Adds to each token of `x`, `[tokens, width]`, what belongs to its place.
    ///
    /// # Errors
    /// Sizes that do not fit; a sequence with more tokens than places were learnt.
    pub fn forward(&self, x: Tensor<2>, packed: &Packed) -> Result<Tensor<2>> {
        let dims = x.dims();
        if dims != [packed.tokens(), self.width] {
            return Err(Error::Invalid(format!(
                "places of width {} got {dims:?} for {} tokens",
                self.width,
                packed.tokens()
            )));
        }
        if packed.tokens() == 0 {
            return Ok(x);
        }
        let places = packed.offsets().windows(2).flat_map(|w| 0..w[1] - w[0]);
        let device = x.device();
        let Some(learnt) = &self.learnt else {
            let longest = places.clone().max().unwrap_or(0) + 1;
            let waves: Vec<f32> = (0..longest).flat_map(|t| self.wave(t)).collect();
            let of: Vec<f32> =
                places.flat_map(|t| &waves[t * self.width..(t + 1) * self.width]).copied().collect();
            let plain = device.without_autodiff();
            return Ok(x + Tensor::from_data(TensorData::new(of, dims), &plain));
        };
        let learnt = learnt.val();
        let most = learnt.dims()[0];
        let longest = places.clone().max().unwrap_or(0) + 1;
        if longest > most {
            return Err(Error::Invalid(format!(
                "a sequence has {longest} tokens, and places were learnt for {most}: cut it, or take waves"
            )));
        }
        let of: Vec<i64> = places.map(|t| t as i64).collect();
        let of = Tensor::<1, Int>::from_data(TensorData::new(of, [dims[0]]), &device);
        Ok(x + learnt.select(0, of))
    }

    fn wave(&self, place: usize) -> impl Iterator<Item = f32> {
        let width = self.width as f64;
        (0..self.width).map(move |k| {
            let angle = place as f64 / 10_000_f64.powf((k - k % 2) as f64 / width);
            (if k % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use crate::values;
    use tradewind_core::Run;

    #[test]
    fn learnt_places_are_added_and_learn() {
        let device = Device::flex().autodiff();
        let positions = Positions::learnt(3, 2, &device, &mut Run::new(1).rng(0));
        let packed = Packed::of_lengths(&[2, 0, 3]);
        let weights = Tensor::<2>::from_data(
            TensorData::new((0..10).map(|k| k as f32).collect::<Vec<_>>(), [5, 2]),
            &device,
        );
        let told = positions.forward(Tensor::zeros([5, 2], &device), &packed).unwrap();
        let own = crate::Weights::of(&positions).get("learnt").unwrap().to_vec();
        let expected: Vec<f32> =
            [0, 1, 0, 1, 2].iter().flat_map(|t| own[2 * t..2 * t + 2].to_vec()).collect();
        assert_eq!(values(told.clone()), expected);
        let slopes = crate::optimise::Collected::of(&positions, (told * weights).sum().backward());
        assert_eq!(slopes.get("learnt").unwrap(), [4.0, 6.0, 8.0, 10.0, 8.0, 9.0]);
    }

    #[test]
    fn places_that_do_not_fit_are_told() {
        let device = Device::flex();
        let positions = Positions::learnt(3, 2, &device, &mut Run::new(1).rng(0));
        let x = |n| Tensor::<2>::zeros([n, 2], &device);
        let told = positions.forward(x(4), &Packed::of_lengths(&[4])).unwrap_err().to_string();
        assert!(told.contains("4 tokens") && told.contains("take waves"), "{told}");
        assert!(positions.forward(x(3), &Packed::of_lengths(&[2])).is_err());
        assert_eq!(positions.forward(x(0), &Packed::of_lengths(&[])).unwrap().dims(), [0, 2]);
        // A width that is odd ends with a sine.
        let odd = Positions::waves(3).forward(Tensor::zeros([2, 3], &device), &Packed::of_lengths(&[2]));
        assert!((values(odd.unwrap())[5] - 10_000_f32.powf(-2.0 / 3.0).sin()).abs() < 1e-6);
    }
}
