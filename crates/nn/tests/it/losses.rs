//! Losses against their formulas in double precision, and their gradients against slopes.

use rand::RngExt;
use tradewind_core::Run;
use tradewind_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use tradewind_nn::losses;

fn device() -> Device {
    Device::flex().autodiff()
}

fn row(values: &[f64]) -> Tensor<2> {
    let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [1, n]), &device())
}

/// Holds a loss of one argument against its formula, and its gradient against slopes of the formula.
fn holds(name: &str, at: &[f64], loss: impl Fn(Tensor<2>) -> Tensor<1>, formula: impl Fn(&[f64]) -> f64) {
    let x = row(at).require_grad();
    let told = loss(x.clone());
    let exact = formula(at);
    assert!(
        (losses::value(&told) - exact).abs() < 2e-5 * (1.0 + exact.abs()),
        "{name}: {} {exact}",
        losses::value(&told)
    );
    let gradient = x.grad(&told.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
    for (k, told) in gradient.iter().enumerate() {
        let moved = |by: f64| {
            let mut at = at.to_vec();
            at[k] += by;
            formula(&at)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((f64::from(*told) - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{name} {k}: {told} {slope}");
    }
}

fn ln_gamma(x: f64) -> f64 {
    // Lanczos with g = 7.
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum: f64 = C[0] + C[1..].iter().enumerate().map(|(k, c)| c / (x + k as f64 + 1.0)).sum::<f64>();
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[test]
fn losses_are_their_formulas_and_their_gradients_slopes() {
    let y = [0.4, 2.5, 0.0, 7.0];
    let at = [0.9, 1.1, -0.6, 3.0];
    let truth = || row(&y);
    let mean = |each: &dyn Fn(f64, f64) -> f64, x: &[f64]| {
        x.iter().zip(&y).map(|(x, y)| each(*x, *y)).sum::<f64>() / x.len() as f64
    };
    holds("mse", &at, |x| losses::mse(x, truth(), None), |x| mean(&|x, y| (x - y).powi(2), x));
    holds("mae", &at, |x| losses::mae(x, truth(), None), |x| mean(&|x, y| (x - y).abs(), x));
    let huber = |x: f64, y: f64| {
        let e = (x - y).abs();
        if e < 1.5 { e * e / 2.0 } else { 1.5 * (e - 0.75) }
    };
    holds("huber", &at, |x| losses::huber(x, truth(), 1.5, None), |x| mean(&huber, x));
    let levels = [0.1_f32, 0.5, 0.8, 0.95];
    holds(
        "pinball",
        &at,
        |x| losses::pinball(x, truth(), &levels, None),
        |x| {
            let each = |k: usize| {
                let (e, t) = (y[k] - x[k], f64::from(levels[k]));
                if e >= 0.0 { t * e } else { (t - 1.0) * e }
            };
            (0..4).map(each).sum::<f64>() / 4.0
        },
    );
    holds("poisson", &at, |x| losses::poisson(x, truth(), None), |x| mean(&|x, y| x.exp() - y * x, x));
    let sides = [1.0, 0.0, 1.0, 0.0];
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    holds(
        "bce",
        &at,
        |x| losses::bce(x, row(&sides), None),
        |x| {
            let each =
                |k: usize| -(sides[k] * sigmoid(x[k]).ln() + (1.0 - sides[k]) * (1.0 - sigmoid(x[k])).ln());
            (0..4).map(each).sum::<f64>() / 4.0
        },
    );
    holds(
        "focal",
        &at,
        |x| losses::focal(x, row(&sides), 2.0, 0.25),
        |x| {
            let each = |k: usize| {
                let p = if sides[k] > 0.5 { sigmoid(x[k]) } else { 1.0 - sigmoid(x[k]) };
                let alpha = if sides[k] > 0.5 { 0.25 } else { 0.75 };
                -alpha * (1.0 - p).powi(2) * p.ln()
            };
            (0..4).map(each).sum::<f64>() / 4.0
        },
    );
    let soft = |x: &[f64], k: usize| x[k].exp() / x.iter().map(|v| v.exp()).sum::<f64>();
    let class = || Tensor::<1, Int>::from_data(TensorData::new(vec![2_i64], [1]), &device());
    holds("cross-entropy", &at, |x| losses::cross_entropy(x, class(), 0.0), |x| -soft(x, 2).ln());
    holds(
        "smoothed",
        &at,
        |x| losses::cross_entropy(x, class(), 0.2),
        |x| -0.8 * soft(x, 2).ln() - 0.2 * (0..4).map(|k| soft(x, k).ln()).sum::<f64>() / 4.0,
    );
    holds("bpr", &at, |x| losses::bpr(x, truth()), |x| mean(&|x, y| -sigmoid(x - y).ln(), x));
    let taken = || row(&[0.7]);
    holds(
        "sampled softmax",
        &at,
        |x| losses::sampled_softmax(taken(), x, None),
        |x| -(0.7_f64.exp() / (0.7_f64.exp() + x.iter().map(|v| v.exp()).sum::<f64>())).ln(),
    );
    holds(
        "gbce",
        &at,
        |x| losses::gbce(taken(), x, 101, 0.75),
        |x| {
            let share = 4.0 / 100.0;
            let beta = share * (0.75 * (1.0 - 1.0 / share) + 1.0 / share);
            (-beta * sigmoid(0.7).ln() - x.iter().map(|v| (1.0 - sigmoid(*v)).ln()).sum::<f64>()) / 5.0
        },
    );
}

#[test]
fn likelihoods_are_their_densities() {
    let y = [0.0, 2.0, 1.0, 9.0];
    let truth = || row(&y);
    let size = [0.5, 1.0, 2.5, 0.7];
    let at = [0.9, 1.1, 2.0, 3.0];
    let mean = |each: &dyn Fn(f64, usize) -> f64, x: &[f64]| {
        x.iter().enumerate().map(|(k, x)| each(*x, k)).sum::<f64>() / x.len() as f64
    };
    let normal = |m: f64, s: f64, y: f64| {
        0.5 * ((y - m) / s).powi(2) + s.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln()
    };
    holds(
        "centre",
        &at,
        |x| losses::gaussian(x, row(&size), truth(), None),
        |x| mean(&|x, k| normal(x, size[k], y[k]), x),
    );
    holds(
        "scale",
        &size,
        |x| losses::gaussian(row(&at), x, truth(), None),
        |x| mean(&|x, k| normal(at[k], x, y[k]), x),
    );
    let binomial = |m: f64, a: f64, y: f64| {
        let r = 1.0 / a;
        -(ln_gamma(y + r) - ln_gamma(y + 1.0) - ln_gamma(r) + r * (r / (r + m)).ln() + y * (m / (r + m)).ln())
    };
    holds(
        "mean",
        &at,
        |x| losses::negative_binomial(x, row(&size), truth(), None),
        |x| mean(&|x, k| binomial(x, size[k], y[k]), x),
    );
    holds(
        "alpha",
        &size,
        |x| losses::negative_binomial(row(&at), x, truth(), None),
        |x| mean(&|x, k| binomial(at[k], x, y[k]), x),
    );
    let student = |m: f64, s: f64, v: f64, y: f64| {
        let z = (y - m) / s;
        -(ln_gamma((v + 1.0) / 2.0)
            - ln_gamma(v / 2.0)
            - 0.5 * (v * std::f64::consts::PI).ln()
            - s.ln()
            - (v + 1.0) / 2.0 * (1.0 + z * z / v).ln())
    };
    let free = [3.0, 5.0, 2.5, 30.0];
    holds(
        "student's scale",
        &size,
        |x| losses::student_t(row(&at), x, row(&free), truth(), None),
        |x| mean(&|x, k| student(at[k], x, free[k], y[k]), x),
    );
    holds(
        "student's freedom",
        &free,
        |x| losses::student_t(row(&at), row(&size), x, truth(), None),
        |x| mean(&|x, k| student(at[k], size[k], x, y[k]), x),
    );
}

#[test]
fn counts_that_spread_no_wider_than_chance_cost_what_a_poisson_count_does() {
    let (at, truth) = ([4.0_f64, 0.5, 40.0], [3.0_f64, 0.0, 52.0]);
    let poisson = (0..3).map(|k| at[k] - truth[k] * at[k].ln() + ln_gamma(truth[k] + 1.0)).sum::<f64>() / 3.0;
    for alpha in [1e-3, 1e-5, 1e-8, 1e-12] {
        let told = losses::negative_binomial(row(&at), row(&[alpha; 3]), row(&truth), None);
        let told = losses::value(&told);
        assert!((told - poisson).abs() < 0.03, "{alpha}: {told} {poisson}");
    }
    for x in [1e6, 1e8, 1e10] {
        let told = f64::from(losses::ln_gamma(row(&[x])).into_scalar::<f32>());
        assert!((told / ln_gamma(x) - 1.0).abs() < 1e-5, "{x}: {told}");
    }
}

#[test]
fn a_mask_leaves_out_what_it_covers() {
    let told = losses::mse(row(&[1.0, 5.0, 3.0]), row(&[0.0, 0.0, 1.0]), Some(row(&[1.0, 0.0, 1.0])));
    assert!((losses::value(&told) - 2.5).abs() < 1e-5);
}

#[test]
fn what_a_mask_covers_may_be_unknown() {
    let (truth, mask) = ([0.0, f64::NAN, 1.0], [1.0, 0.0, 2.0]);
    type Loss = fn(Tensor<2>, Tensor<2>, Option<Tensor<2>>) -> Tensor<1>;
    let all: [(&str, Loss); 9] = [
        ("mse", losses::mse),
        ("mae", losses::mae),
        ("huber", |x, y, m| losses::huber(x, y, 1.0, m)),
        ("pinball", |x, y, m| losses::pinball(x, y, &[0.3], m)),
        ("bce", losses::bce),
        ("poisson", losses::poisson),
        ("negative binomial", |x, y, m| losses::negative_binomial(x.exp(), y.ones_like(), y, m)),
        ("gaussian", |x, y, m| losses::gaussian(x.clone(), x.exp(), y, m)),
        ("student", |x, y, m| losses::student_t(x.clone(), x.clone().exp(), x.exp() + 1.0, y, m)),
    ];
    for (name, loss) in all {
        let of = |truth: &[f64]| {
            let x = row(&[1.0, 5.0, 3.0]).require_grad();
            let told = loss(x.clone(), row(truth), Some(row(&mask)));
            let slopes = x.grad(&told.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
            (losses::value(&told), slopes)
        };
        let (told, slopes) = of(&truth);
        assert!(told.is_finite() && slopes[0] != 0.0 && slopes[1] == 0.0, "{name}: {told} {slopes:?}");
        assert_eq!((told, slopes), of(&[0.0, 0.0, 1.0]), "{name}");
    }
}

#[test]
fn millions_of_numbers_add_up_to_the_same_on_any_number_of_threads() {
    let n = (5 << 20) + 3;
    // Several, since one may round to the same by chance.
    for seed in 0..4 {
        let mut rng = Run::new(seed).rng(0);
        let values: Vec<f32> = (0..n).map(|_| rng.random_range(0.0..1000.0)).collect();
        let exact = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
        let told = |threads: usize| {
            Run::new(1).with_threads(threads).install(|| {
                let device = device();
                let x =
                    Tensor::<2>::from_data(TensorData::new(values.clone(), [1, n]), &device).require_grad();
                let told = losses::mae(x.clone(), x.zeros_like(), None);
                let slope = x.grad(&told.backward()).unwrap().slice([0..1, n - 1..n]).into_scalar::<f32>();
                (losses::value(&told), slope)
            })
        };
        let (one, slope) = told(1);
        assert!((one / exact - 1.0).abs() < 1e-5, "{one} {exact}");
        assert!((slope * n as f32 - 1.0).abs() < 1e-5, "{slope}");
        for threads in [2, 3, 5] {
            assert_eq!(told(threads), (one, slope), "{threads} threads");
        }
    }
}
