//! Pictures mirrored, turned and moved.
//!
//! A batch of pictures is `[pictures, channels, height, width]`, row by row; all channels of a picture are changed alike, every
//! picture on its own.

use super::whole;
use rand::{Rng, RngExt};
use tradewind_core::{Error, ParamCheck, Result};

/// The size of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Numbers of a pixel.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
}

impl Size {
    fn pictures(self, pixels: &[f32]) -> Result<usize> {
        let of = self.channels.checked_mul(self.height).and_then(|n| n.checked_mul(self.width));
        let of = of.ok_or_else(|| Error::Invalid(format!("pictures of {self:?} are too large")))?;
        whole(pixels.len(), of, "a picture")
    }

    fn planes(self, pixels: &[f32], picture: usize) -> std::slice::ChunksExact<'_, f32> {
        let of = self.height * self.width;
        pixels[picture * self.channels * of..(picture + 1) * self.channels * of].chunks_exact(of)
    }
}

/// Which way a picture is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// Left becomes right.
    Horizontal,
    /// Top becomes bottom.
    Vertical,
}

/// Mirrors each picture with probability `chance` (0 to 1; 0.5 is usual).
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_nn::augment::images::{Mirror, Size, flip};
/// let size = Size { channels: 1, height: 2, width: 2 };
/// let told = flip(&[1.0, 2.0, 3.0, 4.0], size, Mirror::Horizontal, 1.0, &mut Run::new(1).rng(0)).unwrap();
/// assert_eq!(told, [2.0, 1.0, 4.0, 3.0]);
/// ```
///
/// # Errors
/// A chance out of range; pixels that are no whole pictures.
pub fn flip(pixels: &[f32], size: Size, way: Mirror, chance: f64, rng: &mut impl Rng) -> Result<Vec<f32>> {
    ParamCheck::new().require((0.0..=1.0).contains(&chance), "chance", chance, "0 to 1").finish()?;
    let n = size.pictures(pixels)?;
    let mut out = Vec::with_capacity(pixels.len());
    for picture in 0..n {
        let turned = rng.random_bool(chance);
        for plane in size.planes(pixels, picture) {
            match (turned, way) {
                (false, _) => out.extend(plane),
                (true, Mirror::Horizontal) => {
                    plane.chunks_exact(size.width).for_each(|row| out.extend(row.iter().rev()));
                }
                (true, Mirror::Vertical) => {
                    plane.chunks_exact(size.width).rev().for_each(|row| out.extend(row))
                }
            }
        }
    }
    Ok(out)
}

/// Turns each picture about its middle by an angle drawn evenly from `-degrees` to `degrees` (0 to 180; 15 is usual),
/// counter-clockwise where positive, pixels between four being their bilinear mean; what comes from outside is `fill`.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_nn::augment::images::{Size, rotate};
/// let size = Size { channels: 1, height: 3, width: 3 };
/// let dot = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
/// let told = rotate(&dot, size, 30.0, 0.0, &mut Run::new(1).rng(0)).unwrap();
/// assert_eq!(told[4], 1.0); // the middle stays
/// ```
///
/// # Errors
/// An angle out of range; pixels that are no whole pictures.
pub fn rotate(pixels: &[f32], size: Size, degrees: f64, fill: f32, rng: &mut impl Rng) -> Result<Vec<f32>> {
    ParamCheck::new().require((0.0..=180.0).contains(&degrees), "degrees", degrees, "0 to 180").finish()?;
    let n = size.pictures(pixels)?;
    let mut out = Vec::with_capacity(pixels.len());
    for picture in 0..n {
        let angle = (degrees * rng.random_range(-1.0..=1.0)).to_radians();
        for plane in size.planes(pixels, picture) {
            turn(plane, size, angle, fill, &mut out);
        }
    }
    Ok(out)
}

/// One channel, turned by an angle.
fn turn(plane: &[f32], size: Size, angle: f64, fill: f32, out: &mut Vec<f32>) {
    let (sin, cos) = angle.sin_cos();
    let (cy, cx) = ((size.height as f64 - 1.0) / 2.0, (size.width as f64 - 1.0) / 2.0);
    let pixel = |y: f64, x: f64| {
        let inside = y >= 0.0 && x >= 0.0 && y < size.height as f64 && x < size.width as f64;
        if inside { plane[y as usize * size.width + x as usize] } else { fill }
    };
    for row in 0..size.height {
        for column in 0..size.width {
            let (dy, dx) = (row as f64 - cy, column as f64 - cx);
            // Where the pixel comes from; rows go down, so that a positive angle turns against the clock.
            let (y, x) = (cy + dx * sin + dy * cos, cx + dx * cos - dy * sin);
            let (top, left) = (y.floor(), x.floor());
            let (b, a) = ((y - top) as f32, (x - left) as f32);
            let mix = |y: f64| {
                // A part of nothing is left out, so that pixels on whole places stay to the bit.
                let from = pixel(y, left);
                if a > 0.0 { from + a * (pixel(y, left + 1.0) - from) } else { from }
            };
            let upper = mix(top);
            out.push(if b > 0.0 { upper + b * (mix(top + 1.0) - upper) } else { upper });
        }
    }
}

/// Puts `padding` pixels of `fill` around each picture and takes a part of the old size from anywhere in it: the picture
/// moved by up to `padding` pixels each way (4 is usual for pictures of 32).
///
/// # Errors
/// Pixels that are no whole pictures.
pub fn crop(pixels: &[f32], size: Size, padding: usize, fill: f32, rng: &mut impl Rng) -> Result<Vec<f32>> {
    let n = size.pictures(pixels)?;
    let mut out = Vec::with_capacity(pixels.len());
    // Beyond its own size a picture is gone, however far it goes.
    let moved = |rng: &mut _, length: usize| -> isize {
        let most = padding.min(length);
        RngExt::random_range(rng, 0..=2 * most) as isize - most as isize
    };
    for picture in 0..n {
        let (down, right) = (moved(rng, size.height), moved(rng, size.width));
        for plane in size.planes(pixels, picture) {
            for row in 0..size.height {
                let from = row.checked_add_signed(down).filter(|r| *r < size.height);
                out.extend((0..size.width).map(|column| {
                    let column = column.checked_add_signed(right).filter(|c| *c < size.width);
                    from.zip(column).map_or(fill, |(r, c)| plane[r * size.width + c])
                }));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use tradewind_core::Run;

    const SIZE: Size = Size { channels: 2, height: 5, width: 7 };

    fn rng() -> ChaCha8Rng {
        Run::new(5).rng(0)
    }

    fn pictures(n: usize) -> Vec<f32> {
        (0..n * 70).map(|i| (i * 7919 % 101) as f32).collect()
    }

    #[test]
    fn a_picture_flipped_twice_is_itself() {
        for way in [Mirror::Horizontal, Mirror::Vertical] {
            let x = pictures(3);
            let once = flip(&x, SIZE, way, 1.0, &mut rng()).unwrap();
            assert_ne!(once, x);
            assert_eq!(flip(&once, SIZE, way, 1.0, &mut rng()).unwrap(), x);
            assert_eq!(flip(&x, SIZE, way, 0.0, &mut rng()).unwrap(), x);
        }
        // About half of many, each whole.
        let x = pictures(400);
        let half = flip(&x, SIZE, Mirror::Vertical, 0.5, &mut rng()).unwrap();
        let same = x.chunks_exact(70).zip(half.chunks_exact(70)).filter(|(a, b)| a == b).count();
        assert!((160..=240).contains(&same), "{same}");
    }

    #[test]
    fn turning_is_nothing_at_no_angle_and_transposes_at_a_right_one() {
        let x = pictures(2);
        assert_eq!(rotate(&x, SIZE, 0.0, 0.0, &mut rng()).unwrap(), x);
        let size = Size { channels: 1, height: 3, width: 3 };
        let square = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let mut quarter = vec![];
        turn(&square, size, std::f64::consts::FRAC_PI_2, 0.0, &mut quarter);
        // Against the clock: the right column becomes the upper row.
        let right = [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0];
        assert!(quarter.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-4), "{quarter:?}");
        // A picture of one colour stays so but for its corners, which come from outside.
        let told = rotate(&[4.0; 70], SIZE, 45.0, 4.0, &mut rng()).unwrap();
        assert!(told.iter().all(|v| (v - 4.0).abs() < 1e-6));
    }

    #[test]
    fn a_crop_is_the_picture_moved() {
        let x = pictures(50);
        assert_eq!(crop(&x, SIZE, 0, -1.0, &mut rng()).unwrap(), x);
        let told = crop(&x, SIZE, 2, -1.0, &mut rng()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (a, b) in x.chunks_exact(70).zip(told.chunks_exact(70)) {
            // The move of the first channel is found, and explains both.
            let found = (-2..=2_isize).flat_map(|d| (-2..=2_isize).map(move |r| (d, r))).find(|(d, r)| {
                (0..70_usize).all(|i| {
                    let (plane, row, column) = (i / 35, i % 35 / 7, i % 7);
                    let row = row.checked_add_signed(*d).filter(|v| *v < 5);
                    let column = column.checked_add_signed(*r).filter(|v| *v < 7);
                    b[i] == row.zip(column).map_or(-1.0, |(y, x)| a[plane * 35 + y * 7 + x])
                })
            });
            seen.insert(found.unwrap());
        }
        assert!(seen.len() > 12, "{seen:?}");
        assert_eq!(told, crop(&x, SIZE, 2, -1.0, &mut rng()).unwrap());
        assert!(crop(&x, SIZE, usize::MAX, 0.0, &mut rng()).is_ok());
    }

    #[test]
    fn odd_pictures_are_told() {
        assert!(flip(&[], SIZE, Mirror::Vertical, 0.5, &mut rng()).unwrap().is_empty());
        assert!(flip(&[1.0; 71], SIZE, Mirror::Vertical, 0.5, &mut rng()).is_err());
        assert!(flip(&[1.0; 70], SIZE, Mirror::Vertical, 1.5, &mut rng()).is_err());
        assert!(rotate(&[1.0; 70], SIZE, f64::NAN, 0.0, &mut rng()).is_err());
        let none = Size { channels: 0, height: 5, width: 7 };
        assert!(crop(&[1.0; 70], none, 1, 0.0, &mut rng()).is_err());
        let huge = Size { channels: usize::MAX, height: 2, width: 2 };
        assert!(rotate(&[1.0; 70], huge, 1.0, 0.0, &mut rng()).is_err());
    }
}
