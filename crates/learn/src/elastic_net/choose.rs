//! The choice of `alpha` by cross-validation along the path.

use super::{ElasticNet, FittedElasticNet, Products, State, Sums, y_scale};
use crate::crossval::KFold;
use crate::linear::Scaled;
use crate::matrix::Dataset;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result, Run};

/// Values of `alpha` tried.
const N_ALPHAS: usize = 100;

/// The smallest `alpha` tried, as a share of the one at which all coefficients are 0.
const ALPHA_SHARE_MIN: f64 = 1e-3;

/// Which `alpha` is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlphaRule {
    /// The one of least error.
    #[default]
    Min,
    /// The largest whose error is within one standard error of the least (Breiman et al. 1984): fewer columns for an
    /// error that cannot be told from the best.
    OneStandardError,
}

/// One `alpha` and how it did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPoint {
    /// The weight of the penalty.
    pub alpha: f64,
    /// The mean square error in the test folds, averaged over folds.
    pub error: f64,
    /// The standard error of that average.
    pub std_error: f64,
    /// Columns with a coefficient other than 0, fitted on all rows.
    pub n_used: usize,
}

impl ElasticNet {
    /// Fits with `alpha` chosen by cross-validation over `n_folds` shuffled folds (5 where it is 0): 100 values between
    /// the one at which all coefficients are 0 and a thousandth of it. [`FittedElasticNet::tried`] tells them all.
    ///
    /// Fails on fewer rows than folds, and when `l1_ratio` is 0, for which no largest `alpha` exists (use ridge).
    ///
    /// ```
    /// use tradewind_core::Run;
    /// use tradewind_learn::{Dataset, Matrix, elastic_net::ElasticNet};
    /// let rows: Vec<[f64; 2]> = (0..40).map(|i| [f64::from(i % 7), f64::from(i % 5)]).collect();
    /// let y = rows.iter().enumerate().map(|(i, r)| 2.0 * r[0] + 0.3 * (i as f64).sin()).collect();
    /// let data = Dataset::new(Matrix::from_rows(&rows).unwrap(), y, vec![]).unwrap();
    /// let model = ElasticNet::default().choose(&Run::new(0), &data).unwrap();
    /// assert_eq!(model.tried().len(), 100);
    /// assert!((model.line().coef()[0] - 2.0).abs() < 0.1);
    /// ```
    pub fn choose(&self, run: &Run, data: &Dataset) -> Result<FittedElasticNet> {
        self.check()?;
        if self.l1_ratio == 0.0 {
            return Err(Error::Invalid(
                "alpha can be chosen for an l1_ratio above 0; for a penalty on squares alone use ridge_cv"
                    .into(),
            ));
        }
        let n_folds = if self.n_folds == 0 { 5 } else { self.n_folds };
        data.need_numbers("the elastic net")?;
        data.need_rows("the elastic net's cross-validation", n_folds)?;
        run.check()?;
        run.install(|| self.by_folds(run, data, n_folds))
    }

    fn by_folds(&self, run: &Run, data: &Dataset, n_folds: usize) -> Result<FittedElasticNet> {
        let weight = data.weights();
        let scaled = Scaled::weighted(data, &weight)?;
        let splits = KFold { n_folds, shuffle: true }.split(run, data.n_rows())?;
        let folds: Vec<Sums> = splits.iter().map(|s| Sums::of(data, &weight, &scaled, &s.test)).collect();
        let mut all = folds[0].clone();
        for fold in &folds[1..] {
            all.sums.iter_mut().zip(&fold.sums).for_each(|(a, f)| *a += f);
        }
        let whole = Products::of(&all);
        // The product of each column with the target, on the scale of the data, tells when it joins.
        let y_scale = y_scale(&scaled);
        let joins = whole.with_target.iter().zip(&scaled.sds).map(|(c, s)| c.abs() * s * y_scale);
        let top = joins.fold(0.0_f64, f64::max) / self.l1_ratio;
        let top = if top > 0.0 && top.is_finite() { top } else { f64::MIN_POSITIVE / ALPHA_SHARE_MIN };
        let alphas: Vec<f64> =
            (0..N_ALPHAS).map(|k| top * ALPHA_SHARE_MIN.powf(k as f64 / (N_ALPHAS - 1) as f64)).collect();
        let mut errors: Vec<Vec<f64>> = Vec::with_capacity(n_folds);
        run.progress().begin("cross-validation", n_folds as u64);
        for fold in &folds {
            let mut train = all.clone();
            train.sums.iter_mut().zip(&fold.sums).for_each(|(a, f)| *a -= f);
            if !(train.mass() > 0.0 && fold.mass() > 0.0) {
                return Err(Error::Invalid(
                    "a fold of the cross-validation has no row of positive weight; use fewer folds".into(),
                ));
            }
            errors.push(self.errors(run, &train, fold, &scaled, &alphas)?);
            run.progress().advance(1);
        }
        run.progress().end();
        let mut tried: Vec<PathPoint> = Vec::with_capacity(N_ALPHAS);
        let mut state = State::new(&whole);
        let mut models = Vec::with_capacity(N_ALPHAS);
        for (k, &alpha) in alphas.iter().enumerate() {
            self.descend(run, &whole, &scaled, alpha, &mut state)?;
            let model = self.fitted(&scaled, &state.v, alpha);
            let of: Vec<f64> = errors.iter().map(|fold| fold[k] * y_scale * y_scale).collect();
            let error = of.iter().sum::<f64>() / n_folds as f64;
            let spread = of.iter().map(|e| (e - error) * (e - error)).sum::<f64>() / (n_folds - 1) as f64;
            let std_error = (spread / n_folds as f64).sqrt();
            tried.push(PathPoint { alpha, error, std_error, n_used: model.n_used() });
            models.push(model);
        }
        // The first of equals is the largest alpha.
        let least = (0..N_ALPHAS).fold(0, |b, k| if tried[k].error < tried[b].error { k } else { b });
        let chosen = match self.rule {
            AlphaRule::Min => least,
            AlphaRule::OneStandardError => {
                let bound = tried[least].error + tried[least].std_error;
                (0..=least).find(|&k| tried[k].error <= bound).unwrap_or(least)
            }
        };
        Ok(FittedElasticNet { tried, ..models.swap_remove(chosen) })
    }

    /// The mean square error in one fold for every `alpha`, in units of the target's variance.
    fn errors(
        &self,
        run: &Run,
        train: &Sums,
        fold: &Sums,
        scaled: &Scaled,
        alphas: &[f64],
    ) -> Result<Vec<f64>> {
        let products = Products::of(train);
        let mut state = State::new(&products);
        let (p, one) = (train.width - 2, train.width - 1);
        let mut out = Vec::with_capacity(alphas.len());
        for &alpha in alphas {
            self.descend(run, &products, scaled, alpha, &mut state)?;
            // The residual is a weighted sum of columns, target and ones, so its square is one of their products.
            let mut of: Vec<f64> = state.v.iter().map(|v| -v).collect();
            let at_zero = train.get(p, one) + (0..p).map(|j| of[j] * train.get(j, one)).sum::<f64>();
            of.extend([1.0, -at_zero / train.mass()]);
            let used: Vec<usize> = (0..fold.width).filter(|&a| of[a] != 0.0).collect();
            let square: f64 =
                used.iter().map(|&a| of[a] * used.iter().map(|&b| fold.get(a, b) * of[b]).sum::<f64>()).sum();
            out.push(square.max(0.0) / fold.mass());
        }
        Ok(out)
    }
}
