//! Click rates of a table, as `docs/benchmarks/click.sh` asks.
//!
//! `click_rate TRAIN TEST OUT [PARAMS]` reads tables with tabs and a header, the answer (0 or 1) first and
//! categories behind it, and writes answer and probability of each row of TEST to OUT.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::click_rate::ClickRate;
use tradewind_learn::{ColumnKind, Dataset, Matrix};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer<T> = Result<T, Box<dyn Error>>;

/// Answers and codes of the words; those of `words` and, where it may `learn`, new ones.
fn read(path: &str, words: &mut Vec<HashMap<String, usize>>, learn: bool) -> Answer<Dataset> {
    let text = std::fs::read_to_string(path)?;
    let names: Vec<String> =
        text.lines().next().ok_or("the table is empty")?.split('\t').skip(1).map(str::to_owned).collect();
    words.resize_with(names.len(), HashMap::new);
    let (mut answers, mut codes) = (vec![], vec![]);
    for line in text.lines().skip(1) {
        let (answer, rest) = line.split_once('\t').ok_or("two cells at least")?;
        answers.push(answer.parse()?);
        for (cell, words) in rest.split('\t').zip(words.iter_mut()) {
            let n = words.len();
            let code = match learn {
                true => Some(*words.entry(cell.to_owned()).or_insert(n)),
                false => words.get(cell).copied(),
            };
            codes.push(code.map_or(f64::NAN, |c| c as f64));
        }
    }
    let kinds = vec![ColumnKind::Category; names.len()];
    let x = Matrix::new(answers.len(), names.len(), codes)?;
    Ok(Dataset::with_missing(x, answers, names)?.with_kinds(kinds)?)
}

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, out, params @ ..] = given.as_slice() else {
        return Err("usage: click_rate TRAIN TEST OUT [PARAMS]".into());
    };
    let model: ClickRate = params.first().map_or(Ok(ClickRate::default()), |p| serde_json::from_str(p))?;
    let (run, mut words) = (Run::new(1), vec![]);
    let shown = read(train, &mut words, true)?;
    let asked = read(test, &mut words, false)?;
    let start = Instant::now();
    let fitted = model.fit(&run, &shown)?;
    let fit_s = start.elapsed().as_secs_f64();
    let mut lines = String::new();
    for (answer, p) in asked.y().iter().zip(fitted.predict(asked.x())?.column(1)) {
        writeln!(lines, "{answer}\t{p}")?;
    }
    std::fs::write(out, lines)?;
    println!("  fit {fit_s:.1} s, pairs counted: {:?}", fitted.pairs());
    Ok(())
}
