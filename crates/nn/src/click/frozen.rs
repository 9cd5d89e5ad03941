//! Networks of this kind that are trained no more and answer row by row.

use super::{Architecture, Click, ClickParams, FILTERS, KERNEL, check_codes};
use crate::Weights;
use crate::dense::Fixed;
use crate::weights::Taking;
use rayon::prelude::*;
use tradewind_core::{Error, Result};

/// Rows that are worked on together.
const ROWS_AT_A_TIME: usize = 64;

/// A trained [`Click`] as plain numbers: a row's answer does not depend on the rows beside it.
///
/// ```
/// use burn::tensor::Device;
/// use tradewind_core::Run;
/// use tradewind_nn::click::{Architecture, ClickParams};
/// let params = ClickParams::new(Architecture::DcnV2, vec![4, 3]);
/// let network = params.init(&Device::flex(), &mut Run::new(1).rng(0)).unwrap();
/// let frozen = params.frozen(&tradewind_nn::Weights::of(&network)).unwrap();
/// assert_eq!(frozen.scores(&[0, 2, 3, 1], &[]).unwrap().len(), 2);
/// assert!(frozen.scores(&[0, 3], &[]).unwrap_err().to_string().contains("field 1"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    params: ClickParams,
    starts: Vec<usize>,
    vectors: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
    straight: Option<Fixed>,
    filters: Vec<Fixed>,
    deep: Option<(Vec<Fixed>, Fixed)>,
    crosses: Vec<(Option<Fixed>, Fixed)>,
    crossed: Option<Fixed>,
}

impl ClickParams {
    /// A network of this form with these weights.
    ///
    /// # Errors
    /// Weights that are missing, left over or of another number; parameters out of range.
    pub fn frozen(&self, weights: &Weights) -> Result<Frozen> {
        self.check()?;
        let (d, total) = (self.width, self.words.iter().sum::<usize>().max(1));
        let whole = self.whole();
        let mut of = Taking::new(weights);
        let vectors = of.take("vectors", total * d)?;
        let single = of.take("weights", total)?;
        let bias = of.take("bias", 1)?[0];
        let straight = match self.numbers {
            0 => None,
            n => Some(of.dense("straight", n, 1)?),
        };
        let mut filters = Vec::new();
        for k in 0..if self.architecture == Architecture::Cnn { FILTERS } else { 0 } {
            // The network has `[output, input, place]`, and what is seen lies place by place.
            let given = of.take(&format!("filters.{k}.weight"), d * d * KERNEL)?;
            let mut turned = vec![0.0; given.len()];
            for (out, given) in turned.chunks_exact_mut(d * KERNEL).zip(given.chunks_exact(d * KERNEL)) {
                for (input, places) in given.chunks_exact(KERNEL).enumerate() {
                    places.iter().enumerate().for_each(|(place, v)| out[place * d + input] = *v);
                }
            }
            filters.push(Fixed::new(&turned, of.take(&format!("filters.{k}.bias"), d)?));
        }
        let deep = match self.architecture {
            Architecture::Fm => None,
            _ => {
                let (mut from, mut inner) = (whole, Vec::new());
                for (k, to) in self.hidden.iter().enumerate() {
                    inner.push(of.dense(&format!("deep.inner.{k}"), from, *to)?);
                    from = *to;
                }
                Some((inner, of.dense("deep.last", from, 1)?))
            }
        };
        let (mut crosses, mut crossed) = (Vec::new(), None);
        if self.architecture == Architecture::DcnV2 && self.crosses > 0 {
            let low = self.rank > 0 && self.rank < whole;
            for k in 0..self.crosses {
                let (down, from) = match low {
                    true => {
                        let down = of.take(&format!("crosses.{k}.down"), self.rank * whole)?;
                        (Some(Fixed::new(&down, vec![0.0; self.rank])), self.rank)
                    }
                    false => (None, whole),
                };
                crosses.push((down, of.dense(&format!("crosses.{k}.up"), from, whole)?));
            }
            crossed = Some(of.dense("crossed", whole, 1)?);
        }
        of.finish()?;
        Ok(Frozen {
            params: self.clone(),
            starts: self.starts(),
            vectors,
            weights: single,
            bias,
            straight,
            filters,
            deep,
            crosses,
            crossed,
        })
    }
}

impl Click {
    /// The same weights as plain numbers.
    ///
    /// # Errors
    /// None for a network of these parameters.
    pub fn frozen(&self, params: &ClickParams) -> Result<Frozen> {
        params.frozen(&Weights::of(self))
    }
}

impl Frozen {
    /// The score of each row from the words of all fields and the numbers, both row by row.
    ///
    /// # Errors
    /// Words that a field does not have, rows that are not whole.
    pub fn scores(&self, codes: &[usize], numbers: &[f32]) -> Result<Vec<f32>> {
        let (fields, n) = (self.params.words.len(), self.params.numbers);
        let rows = codes.len().checked_div(fields).unwrap_or_else(|| numbers.len() / n.max(1));
        if codes.len() != rows * fields || numbers.len() != rows * n {
            return Err(Error::Invalid(format!(
                "the network reads {fields} words and {n} numbers a row; {} words and {} numbers were given",
                codes.len(),
                numbers.len()
            )));
        }
        check_codes(codes, &self.params.words)?;
        let mut out = vec![self.bias; rows];
        out.par_chunks_mut(ROWS_AT_A_TIME).enumerate().for_each(|(part, out)| {
            let first = part * ROWS_AT_A_TIME;
            let last = first + out.len();
            self.part(&codes[first * fields..last * fields], &numbers[first * n..last * n], out);
        });
        Ok(out)
    }

    /// Adds to the scores of a few rows.
    fn part(&self, codes: &[usize], numbers: &[f32], out: &mut [f32]) {
        let ClickParams { width: d, numbers: n, architecture, .. } = self.params;
        let (rows, fields) = (out.len(), self.params.words.len());
        let add = |out: &mut [f32], told: Vec<f32>| out.iter_mut().zip(told).for_each(|(o, t)| *o += t);
        if let Some(straight) = &self.straight {
            add(out, straight.forward(numbers, rows));
        }
        let mut vectors = Vec::with_capacity(rows * fields * d);
        for (row, out) in out.iter_mut().enumerate() {
            for (code, start) in codes[row * fields..][..fields].iter().zip(&self.starts) {
                let at = start + code;
                *out += self.weights[at];
                vectors.extend_from_slice(&self.vectors[at * d..][..d]);
            }
        }
        if matches!(architecture, Architecture::Fm | Architecture::DeepFm) && fields > 0 {
            for (row, out) in out.iter_mut().enumerate() {
                let own = &vectors[row * fields * d..][..fields * d];
                let mut pairs = 0.0;
                for k in 0..d {
                    let of = || own.iter().skip(k).step_by(d);
                    let sum: f32 = of().sum();
                    pairs += sum * sum - of().map(|v| v * v).sum::<f32>();
                }
                *out += pairs * 0.5;
            }
        }
        for filter in self.filters.iter().filter(|_| fields > 0) {
            vectors = filtered(filter, &vectors, fields, d);
        }
        let Some((inner, last)) = &self.deep else { return };
        let mut whole = Vec::with_capacity(rows * self.params.whole());
        for row in 0..rows {
            whole.extend_from_slice(&vectors[row * fields * d..][..fields * d]);
            whole.extend_from_slice(&numbers[row * n..][..n]);
        }
        if let Some(crossed) = &self.crossed {
            let mut x = whole.clone();
            for (down, up) in &self.crosses {
                let told = match down {
                    Some(down) => up.forward(&down.forward(&x, rows), rows),
                    None => up.forward(&x, rows),
                };
                x.iter_mut().zip(whole.iter().zip(told)).for_each(|(x, (first, told))| *x += first * told);
            }
            add(out, crossed.forward(&x, rows));
        }
        let deep = inner.iter().fold(whole, |x, layer| rectified(layer.forward(&x, rows)));
        add(out, last.forward(&deep, rows));
    }
}

fn rectified(mut x: Vec<f32>) -> Vec<f32> {
    // What is not a number stays so.
    x.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
    x
}

/// What a filter makes of the fields of rows, each seen with those before it.
fn filtered(filter: &Fixed, vectors: &[f32], fields: usize, d: usize) -> Vec<f32> {
    let places = vectors.len() / d;
    let mut seen = vec![0.0; places * KERNEL * d];
    for (at, seen) in seen.chunks_exact_mut(KERNEL * d).enumerate() {
        for (place, seen) in seen.chunks_exact_mut(d).enumerate() {
            // What is before the first field is nothing.
            let back = KERNEL - 1 - place;
            if at % fields >= back {
                seen.copy_from_slice(&vectors[(at - back) * d..][..d]);
            }
        }
    }
    rectified(filter.forward(&seen, places))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use crate::{Noise, values};
    use burn::tensor::{Device, Tensor, TensorData};
    use rand::RngExt;
    use tradewind_core::Run;

    #[test]
    fn a_frozen_network_says_what_the_network_says_and_each_row_by_itself() {
        let device = Device::flex();
        for (words, numbers) in [(vec![5, 1, 7, 3], 2), (vec![9, 4], 0), (vec![], 3)] {
            for (architecture, rank) in
                Architecture::ALL.map(|a| (a, 0)).into_iter().chain([(Architecture::DcnV2, 4)])
            {
                let params = ClickParams {
                    numbers,
                    rank,
                    width: 6,
                    hidden: vec![33, 8],
                    ..ClickParams::new(architecture, words.clone())
                };
                let mut rng = Run::new(7).rng(1);
                let network = params.init(&device, &mut rng).unwrap();
                // Weights that begin at nothing would hide a fault.
                let mut weights = Weights::of(&network);
                for values in weights.of.values_mut() {
                    values.1.iter_mut().for_each(|v| *v = rng.random_range(-0.5..0.5));
                }
                let network = weights.put_into(network).unwrap();
                let rows = 70;
                let codes: Vec<usize> = (0..rows)
                    .flat_map(|_| words.iter().map(|n| rng.random_range(0..*n)).collect::<Vec<_>>())
                    .collect();
                let given: Vec<f32> = (0..rows * numbers).map(|_| rng.random_range(-2.0..2.0)).collect();
                let z = (numbers > 0).then(|| {
                    Tensor::<2>::from_data(TensorData::new(given.clone(), [rows, numbers]), &device)
                });
                let told = values(network.forward(&codes, z, &mut Noise::none()).unwrap());
                let frozen = network.frozen(&params).unwrap();
                let ours = frozen.scores(&codes, &given).unwrap();
                for (a, b) in ours.iter().zip(&told) {
                    assert!((a - b).abs() < 2e-5 * b.abs().max(1.0), "{architecture:?} {rank}: {a} {b}");
                }
                for row in [0, 8, 69] {
                    let f = words.len();
                    let alone =
                        frozen.scores(&codes[row * f..][..f], &given[row * numbers..][..numbers]).unwrap();
                    assert_eq!(alone, [ours[row]], "{architecture:?}");
                }
                let mut less = Weights::of(&network);
                less.of.remove("bias");
                assert!(params.frozen(&less).unwrap_err().to_string().contains("`bias` is missing"));
                let other = ClickParams { width: 7, ..params };
                assert!(other.frozen(&Weights::of(&network)).is_err());
            }
        }
    }
}
