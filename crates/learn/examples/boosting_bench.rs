//! Fits boosting on raw little-endian f32 files and prints the time, the error on the last rows and the memory used:
//! `boosting_bench X Y COLUMNS TRAIN_ROWS TASK CATEGORIES [PARAMS_JSON]`, where the last CATEGORIES columns hold codes.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::time::Instant;
use tradewind_core::metrics::class::roc_auc;
use tradewind_core::{Error, Params, Result, Run};
use tradewind_learn::{ColumnKind, Dataset, Matrix, Task, boosting};

fn read(path: &str) -> Result<Vec<f64>> {
    let bytes = std::fs::read(path).map_err(|e| Error::Invalid(format!("{path}: {e}")))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [x, y, p, n, task, categories] = args.get(1..7).unwrap_or_default() else {
        return Err(Error::Invalid("usage: boosting_bench X Y COLUMNS TRAIN_ROWS TASK CATEGORIES".into()));
    };
    let number = |s: &String| s.parse::<usize>().map_err(|e| Error::Invalid(format!("{s}: {e}")));
    let (p, n, categories, task) = (number(p)?, number(n)?, number(categories)?, task.parse::<Task>()?);
    let (mut x, mut y) = (read(x)?, read(y)?);
    let (x_test, y_test) = (x.split_off(n * p), y.split_off(n));
    x.shrink_to_fit();
    let x_test = Matrix::new(y_test.len(), p, x_test)?;
    let kinds =
        (0..p).map(|j| if j + categories >= p { ColumnKind::Category } else { ColumnKind::Number }).collect();
    let data = Dataset::with_missing(Matrix::new(n, p, x)?, y, vec![])?.with_kinds(kinds)?;
    let given = args.get(7).map_or("{\"leaves\": 63}", String::as_str);
    let params: Params = serde_json::from_str(given).map_err(|e| Error::Invalid(e.to_string()))?;
    let learner = boosting::ENTRY.learner(task, &params)?;
    let start = Instant::now();
    let model = learner.fit(&Run::new(1).with_threads(2), &data)?;
    let fit = start.elapsed().as_secs_f64();
    let answers = model.predict(&x_test)?;
    let metric = if task == Task::Binary {
        let positive: Vec<bool> = y_test.iter().map(|y| *y > 0.5).collect();
        roc_auc(&positive, &answers.column(1))
    } else {
        let sum: f64 = answers.values().iter().zip(&y_test).map(|(a, y)| (a - y).powi(2)).sum();
        (sum / y_test.len() as f64).sqrt()
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    println!("{task} tradewind fit_s {fit:.3} metric {metric:.6} peak_rss {peak}");
    Ok(())
}
