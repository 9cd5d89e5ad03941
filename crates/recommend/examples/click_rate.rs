//! Click rates of a table, as `docs/benchmarks/click.sh` asks.
//!
//! `click_rate TRAIN TEST OUT [PARAMS]` reads tables with tabs and a header, the answer (0 or 1) first and categories behind
//! it, and writes answer and probability of each row of TEST to OUT.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;
use tradewind_core::Run;
use tradewind_learn::Frame;
use tradewind_learn::frame::Column;
use tradewind_recommend::click_rate::ClickRate;

type Answer<T> = Result<T, Box<dyn Error>>;

fn read(path: &str) -> Answer<(Vec<f32>, Frame)> {
    let text = std::fs::read_to_string(path)?;
    let names: Vec<&str> = text.lines().next().ok_or("the table is empty")?.split('\t').skip(1).collect();
    let (mut answers, mut cells) = (vec![], vec![Vec::new(); names.len()]);
    for line in text.lines().skip(1) {
        let (answer, rest) = line.split_once('\t').ok_or("two cells at least")?;
        answers.push(answer.parse()?);
        cells.iter_mut().zip(rest.split('\t')).for_each(|(column, cell)| column.push(Some(cell)));
    }
    let columns = names.iter().zip(cells).map(|(name, cells)| ((*name).to_owned(), Column::text(cells)));
    Ok((answers, Frame::new(columns.collect())?))
}

fn main() -> Answer<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, out, params @ ..] = given.as_slice() else {
        return Err("usage: click_rate TRAIN TEST OUT [PARAMS]".into());
    };
    let model: ClickRate = params.first().map_or(Ok(ClickRate::default()), |p| serde_json::from_str(p))?;
    let run = Run::new(1);
    let ((clicks, shown), (answers, asked)) = (read(train)?, read(test)?);
    let start = Instant::now();
    let fitted = model.fit(&run, &shown, &clicks)?;
    let fit_s = start.elapsed().as_secs_f64();
    let mut lines = String::new();
    for (answer, p) in answers.iter().zip(fitted.predict(&run, &asked)?) {
        writeln!(lines, "{answer}\t{p}")?;
    }
    std::fs::write(out, lines)?;
    println!("  fit {fit_s:.1} s, pairs counted: {:?}", fitted.pairs());
    Ok(())
}
