//! What training makes small. Each gives the mean over all elements (or over those of a mask), as a tensor of one number.
//!
//! A mask is one where an element counts and zero where it does not, or a weight; it has the dimensions of the truth or of
//! the loss. Where it is zero and as large as the truth, the truth may be anything, NaN too.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, log_softmax, softplus};
use burn::tensor::{ElementConversion, Int};

/// Keeps densities away from zero.
const TINY: f64 = 1e-6;
/// The least `alpha` of [`negative_binomial`].
pub const ALPHA_MIN: f64 = 1e-3;

/// Numbers that are added up in one go: from twice as many on, the order depends on the threads.
const AT_ONCE: usize = 1 << 21;

/// The same on any number of threads.
fn sum<const D: usize>(each: Tensor<D>) -> Tensor<1> {
    let n = each.shape().num_elements();
    if n <= AT_ONCE {
        return each.sum();
    }
    let (rows, each) = (n / AT_ONCE, each.reshape([n]));
    let whole = rows * AT_ONCE;
    let told = each.clone().narrow(0, 0, whole).reshape([rows, AT_ONCE]).sum_dim(1).sum();
    if n == whole { told } else { told + each.narrow(0, whole, n - whole).sum() }
}

fn mean<const D: usize>(each: Tensor<D>, mask: Option<Tensor<D>>) -> Tensor<1> {
    match mask {
        None => {
            let n = each.shape().num_elements();
            sum(each) / n as f64
        }
        Some(mask) => sum(each * mask.clone()) / (sum(mask) + TINY),
    }
}

/// The truth with zeros for what does not count, since no weight makes NaN vanish.
fn counted<const D: usize>(truth: Tensor<D>, mask: Option<&Tensor<D>>) -> Tensor<D> {
    match mask.filter(|mask| mask.dims() == truth.dims()) {
        Some(mask) => truth.mask_fill(mask.clone().equal_elem(0.0), 0.0),
        None => truth,
    }
}

/// Squared error.
pub fn mse<const D: usize>(told: Tensor<D>, truth: Tensor<D>, mask: Option<Tensor<D>>) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    let off = told - truth;
    mean(off.clone() * off, mask)
}

/// Absolute error.
pub fn mae<const D: usize>(told: Tensor<D>, truth: Tensor<D>, mask: Option<Tensor<D>>) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    mean((told - truth).abs(), mask)
}

/// Huber's: `e²/2` up to `delta`, `delta (|e| - delta/2)` beyond.
pub fn huber<const D: usize>(
    told: Tensor<D>,
    truth: Tensor<D>,
    delta: f64,
    mask: Option<Tensor<D>>,
) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    let size = (told - truth).abs();
    let near = size.clone().clamp_max(delta);
    // With n = min(|e|, δ): n (|e| - n/2).
    mean(near.clone() * (size - near * 0.5), mask)
}

/// The pinball loss of quantiles: the last dimension of `told` has one for each of `levels`, that of `truth` has one.
pub fn pinball<const D: usize>(
    told: Tensor<D>,
    truth: Tensor<D>,
    levels: &[f32],
    mask: Option<Tensor<D>>,
) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    let device = told.device();
    let mut shape = [1; D];
    shape[D - 1] = levels.len();
    let levels = Tensor::<1>::from_floats(levels, &device).reshape(shape);
    let off = truth - told;
    // max(τe, (τ - 1)e) = τe + max(-e, 0)
    mean(off.clone() * levels + off.neg().clamp_min(0.0), mask)
}

/// Cross-entropy of `scores`, `[rows, classes]`, against the classes of the rows, with labels smoothed by `smoothing`.
pub fn cross_entropy(scores: Tensor<2>, classes: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    let told = log_softmax(scores, 1);
    let hit = told.clone().gather(1, classes.unsqueeze_dim(1));
    let exact = mean(hit, None).neg();
    if smoothing > 0.0 { exact * (1.0 - smoothing) + mean(told, None).neg() * smoothing } else { exact }
}

/// Binary cross-entropy of scores before the sigmoid.
pub fn bce<const D: usize>(scores: Tensor<D>, truth: Tensor<D>, mask: Option<Tensor<D>>) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    // max(s, 0) - s·y + ln(1 + e^-|s|)
    mean(softplus(scores.clone(), 1.0) - scores * truth, mask)
}

/// Focal loss (Lin et al. 2017) of scores before the sigmoid: what is told right already counts less, by `(1 - p)^gamma`;
/// `alpha` is the weight of the positive class.
pub fn focal<const D: usize>(scores: Tensor<D>, truth: Tensor<D>, gamma: f64, alpha: f64) -> Tensor<1> {
    let signed = scores * (truth.clone() * 2.0 - 1.0);
    let right = log_sigmoid(signed.clone());
    let wrong = log_sigmoid(signed.neg()) * gamma;
    let weight = truth * (2.0 * alpha - 1.0) + (1.0 - alpha);
    mean(right * wrong.exp() * weight, None).neg()
}

/// `ln Γ(x)` for `x > 0`, by Stirling's series six steps further up; its gradient follows.
pub fn ln_gamma<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let up = x.clone() + 6.0;
    let inverse = up.clone().recip();
    let square = inverse.clone() * inverse.clone();
    let series = inverse * ((square.clone() * (1.0 / 1260.0) - 1.0 / 360.0) * square + 1.0 / 12.0);
    let stirling =
        (up.clone() - 0.5) * up.clone().log() - up + 0.5 * (2.0 * std::f64::consts::PI).ln() + series;
    // In two halves, since six large numbers together are too large.
    let product =
        |from: u32| (from..from + 3).fold(x.clone().ones_like(), |p, k| p * (x.clone() + f64::from(k)));
    stirling - product(0).log() - product(3).log()
}

/// Poisson: `log_rate` is the logarithm of the mean. Without the part that depends on the truth alone.
pub fn poisson<const D: usize>(log_rate: Tensor<D>, truth: Tensor<D>, mask: Option<Tensor<D>>) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    mean(log_rate.clone().exp() - truth * log_rate, mask)
}

/// Negative binomial with mean `centre` and variance `centre + alpha · centre²`, both above zero (Salinas et al. 2020).
/// Below [`ALPHA_MIN`] `alpha` counts as that: closer to a Poisson count single precision tells no difference.
pub fn negative_binomial<const D: usize>(
    centre: Tensor<D>,
    alpha: Tensor<D>,
    truth: Tensor<D>,
    mask: Option<Tensor<D>>,
) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    let alpha = alpha.clamp_min(ALPHA_MIN);
    let r = alpha.clone().recip();
    let spread = (alpha * centre.clone()).log1p();
    let likelihood = ln_gamma(truth.clone() + r.clone())
        - ln_gamma(truth.clone() + 1.0)
        - ln_gamma(r.clone())
        - r.clone() * spread.clone()
        + truth * ((centre + TINY).log() - r.log() - spread);
    mean(likelihood.neg(), mask)
}

/// Normal with centre and scale, the scale above zero.
pub fn gaussian<const D: usize>(
    centre: Tensor<D>,
    scale: Tensor<D>,
    truth: Tensor<D>,
    mask: Option<Tensor<D>>,
) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    let z = (truth - centre) / (scale.clone() + TINY);
    mean(z.clone() * z * 0.5 + (scale + TINY).log() + 0.5 * (2.0 * std::f64::consts::PI).ln(), mask)
}

/// Student's t with centre, scale and degrees of freedom, the latter two above zero.
pub fn student_t<const D: usize>(
    centre: Tensor<D>,
    scale: Tensor<D>,
    freedom: Tensor<D>,
    truth: Tensor<D>,
    mask: Option<Tensor<D>>,
) -> Tensor<1> {
    let truth = counted(truth, mask.as_ref());
    let z = (truth - centre) / (scale.clone() + TINY);
    let half = (freedom.clone() + 1.0) * 0.5;
    let likelihood = ln_gamma(half.clone())
        - ln_gamma(freedom.clone() * 0.5)
        - (freedom.clone() * std::f64::consts::PI).log() * 0.5
        - (scale + TINY).log()
        - half * (z.clone() * z / freedom).log1p();
    mean(likelihood.neg(), mask)
}

/// Bayesian personalised ranking (Rendle et al. 2009): what was taken shall score above what was not.
pub fn bpr<const D: usize>(taken: Tensor<D>, other: Tensor<D>) -> Tensor<1> {
    mean(softplus(other - taken, 1.0), None)
}

/// Softmax over what was taken, `[rows, 1]`, and a sample of what was not, `[rows, n]`; `log_share` is how often each of
/// the sample is drawn, as a logarithm, and takes the bias of a sample by popularity away (Bengio and Senécal 2003).
pub fn sampled_softmax(taken: Tensor<2>, others: Tensor<2>, log_share: Option<Tensor<2>>) -> Tensor<1> {
    let others = match log_share {
        Some(share) => others - share,
        None => others,
    };
    let all = Tensor::cat(vec![taken, others], 1);
    let rows = all.dims()[0];
    log_softmax(all, 1).slice([0..rows, 0..1]).mean().neg()
}

/// Generalised binary cross-entropy (Petrov and Macdonald 2023): negatives are a sample of `n` of `items`, and the score of
/// what was taken is made as unsure as such a sample makes it. `t` of 0 is plain, of 1 calibrated.
pub fn gbce(taken: Tensor<2>, others: Tensor<2>, items: usize, t: f64) -> Tensor<1> {
    let n = others.dims()[1] as f64;
    let share = (n / (items.saturating_sub(1).max(1)) as f64).min(1.0);
    let beta = share * (t * (1.0 - 1.0 / share) + 1.0 / share);
    let taken = log_sigmoid(taken).neg() * beta;
    let others = softplus(others, 1.0).sum_dim(1);
    (taken + others).mean() / (n + 1.0)
}

/// The number in a tensor of one.
pub fn value(loss: &Tensor<1>) -> f64 {
    loss.clone().into_scalar::<f32>().elem::<f64>()
}
