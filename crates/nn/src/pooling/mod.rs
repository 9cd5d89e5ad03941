//! Pooling: the largest or the mean of the places of each channel that a window sees.
//!
//! ```text
//! y_{c,i,j} = max or mean over k, l within the window of  x_{c, i · stride + k - padding, j · stride + l - padding}
//! ```
//!
//! Beyond the edges lies nothing for the largest, and zeros for the mean, as PyTorch's `MaxPool2d` and `AvgPool2d` have it.

mod op;
#[cfg(test)]
mod tests;

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use op::{Plan, PoolingOps, Take};
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, ParamCheck, Result};

/// The largest side of a window: the places of one are counted in 16 bits.
const LARGEST: usize = 255;

/// What goes together. Pairs are of rows and columns.
///
/// ```
/// use burn::tensor::{Device, Tensor, TensorData};
/// use tradewind_nn::pooling::{self, Window};
/// let numbers: Vec<f32> = (1..=8).map(|v| v as f32).collect();
/// let x = Tensor::<4>::from_data(TensorData::new(numbers, [1, 1, 2, 4]), &Device::flex());
/// let largest = pooling::largest(x.clone(), &Window::square(2)).unwrap();
/// assert_eq!(tradewind_nn::values(largest), [6.0, 8.0]);
/// let mean = pooling::mean(x.clone(), &Window::square(2)).unwrap();
/// assert_eq!(tradewind_nn::values(mean), [3.5, 5.5]);
/// assert_eq!(tradewind_nn::values(pooling::global_mean(x).unwrap()), [4.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns, 1 to 255.
    pub size: [usize; 2],
    /// How far windows lie apart.
    pub stride: [usize; 2],
    /// Places beyond each edge, at most half the window; 0.
    pub padding: [usize; 2],
}

impl Window {
    /// `n` by `n`, side by side.
    pub fn square(n: usize) -> Self {
        Self { size: [n, n], stride: [n, n], padding: [0, 0] }
    }

    /// # Errors
    /// All that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut check = ParamCheck::new();
        let pair = |of: [usize; 2]| format!("{} by {}", of[0], of[1]);
        let sound = self.size.iter().all(|n| (1..=LARGEST).contains(n));
        check.require(sound, "size", pair(self.size), "1 to 255");
        check.require(!self.stride.contains(&0), "stride", pair(self.stride), "at least 1");
        let half = (0..2).all(|k| self.padding[k] <= self.size[k] / 2);
        check.require(half, "padding", pair(self.padding), "at most half the window");
        check.finish()?;
        Ok(())
    }

    fn plan(&self, dims: [usize; 4], take: Take) -> Result<Plan> {
        self.check()?;
        let [batch, channels, height, width] = dims;
        let side = |k: usize, n: usize| {
            Some((n + 2 * self.padding[k]).checked_sub(self.size[k])? / self.stride[k] + 1)
        };
        match (side(0, height), side(1, width)) {
            (Some(rows), Some(columns)) if height > 0 && width > 0 => {
                let planes = [batch, channels];
                Ok(Plan { take, planes, size: [height, width], told: [rows, columns], window: *self })
            }
            _ => Err(Error::Invalid(format!(
                "a window of {} by {} with {} and {} places around got images of {height} by {width}: give larger images, or a \
                 smaller window",
                self.size[0], self.size[1], self.padding[0], self.padding[1],
            ))),
        }
    }
}

/// The largest of each window: `[batch, channels, rows, columns]` to the same with sides `(n + 2 padding - size) / stride + 1`
/// long.
///
/// # Errors
/// A window out of range; images smaller than a window.
pub fn largest(x: Tensor<4>, window: &Window) -> Result<Tensor<4>> {
    pool(x, window, Take::Largest)
}

/// The mean of each window; zeros beyond the edges count. Shapes are those of [`largest`].
///
/// # Errors
/// As of [`largest`].
pub fn mean(x: Tensor<4>, window: &Window) -> Result<Tensor<4>> {
    pool(x, window, Take::Mean)
}

/// The mean of each channel: `[batch, channels, rows, columns]` to `[batch, channels]`.
///
/// # Errors
/// Images without places.
pub fn global_mean(x: Tensor<4>) -> Result<Tensor<2>> {
    let [batch, channels, height, width] = x.dims();
    if height * width == 0 {
        return Err(Error::Invalid(format!("images of {height} by {width} have no mean: give larger ones")));
    }
    if batch * channels == 0 || !crate::is_cpu(&x.device()) {
        return Ok(x.reshape([batch * channels, height * width]).mean_dim(1).reshape([batch, channels]));
    }
    // One window over all, whatever its size: only the largest are counted in 16 bits.
    let all = [height, width];
    let window = Window { size: all, stride: all, padding: [0, 0] };
    let plan = Plan { take: Take::Mean, planes: [batch, channels], size: all, told: [1, 1], window };
    let told = <Dispatch as PoolingOps>::pool(x.into_dispatch(), plan);
    Ok(Tensor::<4>::from_dispatch(told).reshape([batch, channels]))
}

/// The largest of each channel: `[batch, channels, rows, columns]` to `[batch, channels]`.
///
/// # Errors
/// Images without places.
pub fn global_largest(x: Tensor<4>) -> Result<Tensor<2>> {
    let [batch, channels, height, width] = x.dims();
    if height * width == 0 {
        return Err(Error::Invalid(format!(
            "images of {height} by {width} have no largest: give larger ones"
        )));
    }
    if batch * channels == 0 {
        return Ok(Tensor::zeros([batch, channels], &x.device()));
    }
    Ok(x.reshape([batch, channels, height * width]).max_dim(2).reshape([batch, channels]))
}

fn pool(x: Tensor<4>, window: &Window, take: Take) -> Result<Tensor<4>> {
    let plan = window.plan(x.dims(), take)?;
    let ([batch, channels], [rows, columns]) = (plan.planes, plan.told);
    if batch * channels == 0 {
        return Ok(Tensor::zeros([batch, channels, rows, columns], &x.device()));
    }
    if !crate::is_cpu(&x.device()) {
        return Ok(by_operations(x, &plan));
    }
    Ok(Tensor::from_dispatch(<Dispatch as PoolingOps>::pool(x.into_dispatch(), plan)))
}

/// The same from burn's operations.
fn by_operations(x: Tensor<4>, plan: &Plan) -> Tensor<4> {
    let Window { size, stride, padding } = plan.window;
    let padding = padding.map(|n| (n, n));
    match plan.take {
        Take::Largest => {
            let options =
                MaxPoolOptions { kernel_size: size, stride, padding, dilation: [1, 1], ceil_mode: false };
            max_pool2d(x, options)
        }
        Take::Mean => {
            let options = AvgPoolOptions {
                kernel_size: size,
                stride,
                padding,
                count_include_pad: true,
                ceil_mode: false,
            };
            avg_pool2d(x, options)
        }
    }
}
