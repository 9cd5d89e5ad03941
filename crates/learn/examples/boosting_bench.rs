//! An estimator (boosting, unless another is named) on tables written by the scripts in `docs/benchmarks`, against the
//! clock: `boosting_bench TRAIN TEST SCORES TASK PARAMS [ESTIMATOR]` fits on TRAIN with 2 threads, writes the answers for TEST (of a binary
//! task the probability of class 1) to SCORES as little-endian f64 and prints times and memory as JSON. The ESTIMATOR
//! `boosting+logistic` is both, pooled by log odds with weights 0.7 and 0.3.
//!
//! A table is a little-endian file: rows and columns as u64, then the features row by row and the target, all f64.
//! Its kinds may follow as one byte per column (1: category codes).

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::fs::File;
use std::io::{BufReader, Read};
use std::time::Instant;
use tradewind_core::{Error, Params, Result, Run};
use tradewind_learn::ensemble::{FittedBlend, Member, Pool};
use tradewind_learn::{ColumnKind, Dataset, FittedLearner, Matrix, Task, entry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn table(path: &str) -> Result<Dataset> {
    let fault = |e: std::io::Error| Error::Invalid(format!("{path}: {e}"));
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(fault)?);
    let mut word = [0; 8];
    let mut next = || file.read_exact(&mut word).map(|()| word).map_err(fault);
    let n = u64::from_le_bytes(next()?) as usize;
    let p = u64::from_le_bytes(next()?) as usize;
    let mut list = |len: usize| -> Result<Vec<f64>> {
        let mut values = Vec::with_capacity(len);
        for _ in 0..len {
            values.push(f64::from_le_bytes(next()?));
        }
        Ok(values)
    };
    let (x, y) = (list(n * p)?, list(n)?);
    let mut kinds = Vec::new();
    file.read_to_end(&mut kinds).map_err(fault)?;
    let kind = |j| if kinds.get(j) == Some(&1) { ColumnKind::Category } else { ColumnKind::Number };
    Dataset::with_missing(Matrix::new(n, p, x)?, y, vec![])?.with_kinds((0..p).map(kind).collect())
}

/// Memory in MiB: now (`VmRSS`) or at the highest so far (`VmHWM`).
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|v| v.parse().ok()).unwrap_or(f64::NAN);
    kib / 1024.0
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [train, test, scores, task, params] = args.get(1..6).unwrap_or_default() else {
        return Err(Error::Invalid("usage: boosting_bench TRAIN TEST SCORES TASK PARAMS [ESTIMATOR]".into()));
    };
    let task = task.parse::<Task>()?;
    let params: Params = serde_json::from_str(params).map_err(|e| Error::Invalid(e.to_string()))?;
    let data = table(train)?;
    let loaded = memory("VmRSS");
    let estimator = args.get(6).map_or("boosting", String::as_str);
    let run = Run::new(1).with_threads(2);
    let start = Instant::now();
    let model: Box<dyn FittedLearner> = match estimator {
        "boosting+logistic" => {
            let member = |name: &str, params: &Params| -> Result<Member> {
                let model = entry(name)?.learner(task, params)?.fit(&run, &data)?;
                Ok(Member { name: name.into(), model })
            };
            let members = vec![member("boosting", &params)?, member("logistic", &Params::new())?];
            Box::new(FittedBlend::new(members, vec![0.7, 0.3])?.with_pool(Pool::Logarithmic))
        }
        name => entry(name)?.learner(task, &params)?.fit(&run, &data)?,
    };
    let fit_s = start.elapsed().as_secs_f64();
    let peak = memory("VmHWM");
    drop(data);
    let test = table(test)?;
    let start = Instant::now();
    let answers = model.predict(test.x())?;
    let predict_s = start.elapsed().as_secs_f64();
    let last = answers.column(answers.n_cols() - 1);
    let bytes: Vec<u8> = last.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(scores, bytes).map_err(|e| Error::Invalid(format!("{scores}: {e}")))?;
    println!(
        "{{\"fit_s\": {fit_s:.3}, \"predict_s\": {predict_s:.3}, \"loaded_mib\": {loaded:.0}, \"peak_mib\": {peak:.0}}}"
    );
    Ok(())
}
