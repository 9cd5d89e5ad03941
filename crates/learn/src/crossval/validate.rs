//! Fitting and measuring on every split.

use super::Split;
use crate::learner::{FittedLearner, Learner, Task};
use crate::matrix::{Dataset, Matrix};
use crate::measure::Measure;
use rayon::prelude::*;
use tradewind_core::{Error, Result, Run};

/// What cross-validation found.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidated {
    /// The score on each split's test part, in the order of the splits.
    pub scores: Vec<f64>,
    /// The prediction of every row by models that had not seen it: the mean over the splits in whose test part it
    /// stands. NaN for rows that stand in none.
    pub predictions: Matrix,
    /// Rows that stand in a test part, in rising order.
    pub predicted: Vec<usize>,
}

impl CrossValidated {
    /// The mean of the scores.
    pub fn mean(&self) -> f64 {
        self.scores.iter().sum::<f64>() / self.scores.len() as f64
    }

    /// The standard deviation of the scores (divisor n − 1); 0 for one split.
    pub fn sd(&self) -> f64 {
        let (n, mean) = (self.scores.len(), self.mean());
        if n < 2 {
            return 0.0;
        }
        (self.scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / (n - 1) as f64).sqrt()
    }
}

/// Fits `learner` on each split's training rows and measures it on its test rows; splits run at the same time.
///
/// Fails with the first split's fault, in the order of the splits. A class that a training part lacks, being the
/// highest, has probability 0 there.
///
/// ```
/// use tradewind_core::Run;
/// use tradewind_learn::crossval::{KFold, cross_validate};
/// use tradewind_learn::{Dataset, Matrix, Measure, Task, linear::Ridge};
/// let x: Vec<f64> = (0..20).map(f64::from).collect();
/// let y = x.iter().map(|v| 2.0 * v + 1.0).collect();
/// let data = Dataset::new(Matrix::from_columns(&[x]).unwrap(), y, vec![]).unwrap();
/// let run = Run::new(0);
/// let splits = KFold::default().split(&run, 20).unwrap();
/// let found = cross_validate(&run, &Ridge { alpha: 1e-9 }, Task::Regression, &data, &splits, Measure::Rmse).unwrap();
/// assert!(found.mean() < 1e-6 && found.predictions.n_rows() == 20);
/// ```
pub fn cross_validate(
    run: &Run,
    learner: &dyn Learner,
    task: Task,
    data: &Dataset,
    splits: &[Split],
    measure: Measure,
) -> Result<CrossValidated> {
    let folds = predict_folds(run, data, splits, |run, train, _| learner.fit(run, train))?;
    let scores = splits
        .iter()
        .zip(&folds)
        .map(|(split, p)| score_rows(measure, task, data, &split.test, p))
        .collect::<Result<Vec<f64>>>()?;
    let (predictions, predicted) = gather(data.n_rows(), splits, &folds)?;
    Ok(CrossValidated { scores, predictions, predicted })
}

/// The score of answers for some rows of `data`.
pub(crate) fn score_rows(
    measure: Measure,
    task: Task,
    data: &Dataset,
    rows: &[usize],
    answers: &Matrix,
) -> Result<f64> {
    let part = data.select_rows(rows)?;
    measure.score(task, part.y(), answers, part.weight(), part.groups())
}

/// What `fit` on each split's training part predicts for its test part, all of one width.
pub(crate) fn predict_folds<F>(run: &Run, data: &Dataset, splits: &[Split], fit: F) -> Result<Vec<Matrix>>
where
    F: Fn(&Run, &Dataset, usize) -> Result<Box<dyn FittedLearner>> + Sync,
{
    if splits.is_empty() {
        return Err(Error::Invalid("cross-validation needs at least one split".into()));
    }
    let n = data.n_rows();
    if let Some(row) = splits.iter().flat_map(|s| s.train.iter().chain(&s.test)).find(|row| **row >= n) {
        return Err(Error::Invalid(format!("a split names row {row}, but there are {n} rows")));
    }
    let one = |(at, split): (usize, &Split)| -> Result<Matrix> {
        run.check()?;
        // Inside, the threads of this run are used without a pool of their own.
        let inner = run.quiet().with_threads(0);
        let fitted = fit(&inner, &data.select_rows(&split.train)?, at)?;
        fitted.predict(&data.x().select_rows(&split.test))
    };
    let folds: Vec<Result<Matrix>> =
        run.install(|| splits.par_iter().enumerate().with_max_len(1).map(one).collect());
    let mut folds = folds.into_iter().collect::<Result<Vec<Matrix>>>()?;
    same_width(&mut folds)?;
    Ok(folds)
}

/// Narrower answers, of models that did not see the highest class, get columns of 0.
pub(crate) fn same_width(folds: &mut [Matrix]) -> Result<()> {
    let width = folds.iter().map(Matrix::n_cols).max().unwrap_or(0);
    for fold in folds.iter_mut().filter(|f| f.n_cols() < width) {
        *fold = fold.beside(&Matrix::zeros(fold.n_rows(), width - fold.n_cols()))?;
    }
    Ok(())
}

/// The folds' predictions in the order of the rows, and the rows that have one.
pub(crate) fn gather(n_rows: usize, splits: &[Split], folds: &[Matrix]) -> Result<(Matrix, Vec<usize>)> {
    let width = folds.first().map_or(0, Matrix::n_cols);
    let mut sum = Matrix::zeros(n_rows, width);
    let mut count = vec![0_u32; n_rows];
    for (split, fold) in splits.iter().zip(folds) {
        for (&i, row) in split.test.iter().zip(fold.rows()) {
            count[i] += 1;
            sum.row_mut(i).iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
    }
    for (i, &count) in count.iter().enumerate() {
        let row = sum.row_mut(i);
        match count {
            0 => row.fill(f64::NAN),
            1 => {}
            _ => row.iter_mut().for_each(|v| *v /= f64::from(count)),
        }
    }
    Ok((sum, (0..n_rows).filter(|&i| count[i] > 0).collect()))
}
