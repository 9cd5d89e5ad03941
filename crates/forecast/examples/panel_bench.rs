//! A forecaster on a panel written by the scripts in `docs/benchmarks`:
//! `panel_bench PANEL OUTPUT MODEL HORIZON PARAMS [CUT]` fits on all but the last CUT steps, writes the forecasts as
//! little-endian f64 (series after series: the means, then the quantiles 0.025, 0.1, 0.9, 0.975 of each step) and prints
//! the time it took as JSON. With the model `price` the likeliest price points follow, series after series.
//!
//! A panel is a JSON file: `freq`, `series` (id, first date, values), `columns` (name, values a series, known ahead) and
//! `groups` (name, one text a series).

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use serde::Deserialize;
use std::time::Instant;
use tradewind_core::freq::parse_stamp;
use tradewind_core::{Ahead, Covariate, Error, Panel, Params, Result, Run, StaticColumn, StaticValues};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
struct File {
    freq: String,
    series: Vec<(String, String, Vec<Option<f64>>)>,
    #[serde(default)]
    columns: Vec<(String, Vec<Vec<Option<f64>>>)>,
    #[serde(default)]
    groups: Vec<(String, Vec<String>)>,
}

fn numbers(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
}

fn panel(path: &str, cut: usize) -> Result<Panel> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::Invalid(format!("{path}: {e}")))?;
    let file: File = serde_json::from_str(&text).map_err(|e| Error::Invalid(format!("{path}: {e}")))?;
    let mut order: Vec<usize> = (0..file.series.len()).collect();
    order.sort_by(|a, b| file.series[*a].0.cmp(&file.series[*b].0));
    let series: Result<Vec<_>> = file
        .series
        .into_iter()
        .map(|(id, from, y)| {
            let mut y = numbers(y);
            y.truncate(y.len().saturating_sub(cut));
            let from = parse_stamp(&from).ok_or_else(|| Error::Invalid(format!("`{from}` is no date")))?;
            Ok((id, from, y))
        })
        .collect();
    let mut out = Panel::from_series(file.freq.parse()?, series?)?;
    for (name, columns) in file.columns {
        let mut columns: Vec<Option<Vec<Option<f64>>>> = columns.into_iter().map(Some).collect();
        let mut column = Covariate { name, known_ahead: true, offsets: vec![0], values: Vec::new() };
        for i in &order {
            column.values.extend(numbers(columns[*i].take().unwrap_or_default()));
            column.offsets.push(column.values.len());
        }
        out = out.with_covariate(column)?;
    }
    for (name, texts) in file.groups {
        let values = StaticValues::Text(order.iter().map(|i| Some(texts[*i].clone())).collect());
        out = out.with_static(StaticColumn { name, values })?;
    }
    Ok(out)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [path, output, model, horizon, params] = args.get(1..6).unwrap_or_default() else {
        return Err(Error::Invalid("usage: panel_bench PANEL OUTPUT MODEL HORIZON PARAMS [CUT]".into()));
    };
    let number = |s: &String| s.parse::<usize>().map_err(|e| Error::Invalid(format!("{s}: {e}")));
    let (horizon, cut) = (number(horizon)?, args.get(6).map_or(Ok(0), number)?);
    let params: Params = serde_json::from_str(params).map_err(|e| Error::Invalid(e.to_string()))?;
    let panel = panel(path, cut)?;
    let run = Run::new(1);
    let start = Instant::now();
    let ahead = Ahead::new(horizon, &[0.025, 0.1, 0.9, 0.975]);
    let (said, modes, fit_s) = if model == "price" {
        let entry = tradewind_forecast::entry(model)?;
        let fitted = entry.read::<tradewind_forecast::price::Price>(&params)?.fit_panel(&run, &panel)?;
        let fit_s = start.elapsed().as_secs_f64();
        println!("{{\"weights\": {:?}}}", fitted.weights());
        let said = fitted.modes(&run, &ahead)?;
        let modes = (0..said.forecast.len()).flat_map(|i| said.mode(i).to_vec()).collect();
        (said.forecast, modes, fit_s)
    } else {
        let model = (tradewind_forecast::entry(model)?.build)(&params)?;
        let fitted = model.fit(&run, &panel)?;
        let fit_s = start.elapsed().as_secs_f64();
        (fitted.predict(&run, &ahead)?, Vec::<f64>::new(), fit_s)
    };
    let all_s = start.elapsed().as_secs_f64();
    let mut bytes = Vec::new();
    for i in 0..said.len() {
        said.mean(i).iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        for k in 0..horizon {
            for level in [0.025, 0.1, 0.9, 0.975] {
                bytes.extend(said.quantile(i, k, level).unwrap_or(f64::NAN).to_le_bytes());
            }
        }
    }
    modes.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    std::fs::write(output, bytes).map_err(|e| Error::Invalid(format!("{output}: {e}")))?;
    println!("{{\"series\": {}, \"fit_s\": {fit_s:.3}, \"all_s\": {all_s:.3}}}", said.len());
    Ok(())
}
