//! `tradewind forecast`: forecasts with intervals, and the backtest that ranks models.

use crate::Context;
use crate::args::{ForecastAction, ForecastArgs, ForecastEvaluateArgs, ForecastWhat};
use crate::commands::{anomalies, params, relations, series};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::{Value, json};
use tradewind::forecast::Options;
use tradewind::forecast::backtest::{Backtest, LeaderboardRow};
use tradewind::{Error, Forecast, Panel, Result, answers, forecast, forecasts, warehouse};

/// Series shown on a terminal; all of them go to --output.
const SERIES_SHOWN: usize = 10;

pub(crate) fn run(context: &mut Context, args: &ForecastArgs) -> Result<Exit> {
    match &args.action {
        Some(ForecastAction::Evaluate(args)) => return evaluate(context, args),
        Some(ForecastAction::Relations(args)) => return relations::run(context, args),
        Some(ForecastAction::Anomalies(args)) => return anomalies::run(context, args),
        None => {}
    }
    let coverages: Vec<f64> = args.level.iter().map(|l| coverage(*l)).collect::<Result<_>>()?;
    if args.explain.is_some() && !args.what.model.iter().any(|m| m == "global") {
        return Err(Error::asked("only forecasts of `global` can be explained", "give --model global"));
    }
    let panel = panel(context, &args.what)?;
    let params = params(&args.what.params)?;
    let mut all = Vec::new();
    for model in &args.what.model {
        let options = Options::new(args.what.horizon.into(), &coverages);
        all.push(forecast::forecast(&context.run, &panel, model, &params, &options)?);
    }
    if let Some(path) = &args.explain {
        let steps = forecasts::explain(&context.run, &panel, &params, args.what.horizon.into())?;
        warehouse::files::write_table(path, &[answers::explanation_table(&steps, panel.freq())?])?;
        let p = &context.printer;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    let p = &context.printer;
    if let Some(path) = &args.what.file.output {
        warehouse::files::write_table(path, &[answers::forecast_table(&all)?])?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    if args.what.file.output.is_none() || p.json {
        show(context, &all, &coverages);
    }
    Ok(Exit::Success)
}

fn coverage(percent: f64) -> Result<f64> {
    if percent > 0.0 && percent < 100.0 {
        Ok(percent / 100.0)
    } else {
        Err(Error::asked(
            format!("an interval of {percent} % cannot be given"),
            "use percents between 0 and 100, as --level 80,95",
        ))
    }
}

fn panel(context: &mut Context, what: &ForecastWhat) -> Result<Panel> {
    series(context, &what.file, what.target, what.by, what.as_of.as_deref())
}

fn show(context: &Context, all: &[Forecast], coverages: &[f64]) {
    let p = &context.printer;
    p.json(&all.iter().map(told).collect::<Vec<_>>());
    let widest = coverages.iter().copied().fold(0.0, f64::max);
    for f in all {
        p.line(p.toned(Tone::Up, f.model()));
        let header = [
            p.lang.pick("series", "序列").to_owned(),
            p.lang.pick("date", "日期").to_owned(),
            p.lang.pick("mean", "均值").to_owned(),
            format!("{:.0}%", widest * 100.0),
        ];
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut rows = Vec::new();
        for i in 0..f.len().min(SERIES_SHOWN) {
            for k in 0..f.horizon() {
                let band =
                    f.interval(i, k, widest).map_or(String::new(), |(l, u)| format!("{l:.2} … {u:.2}"));
                rows.push(vec![
                    f.ids()[i].clone(),
                    f.freq().format(f.ds(i, k)),
                    format!("{:.2}", f.mean(i)[k]),
                    band,
                ]);
            }
        }
        p.table(&header, &rows, &[2, 3], |_| Tone::Plain);
        if f.len() > SERIES_SHOWN {
            let more = f.len() - SERIES_SHOWN;
            p.note(match p.lang {
                Lang::En => format!("{more} more series: --output FILE writes all of them"),
                Lang::Zh => format!("另有 {more} 个序列：用 --output 文件 写出全部"),
            });
        }
    }
}

/// A forecast for machines.
fn told(f: &Forecast) -> Value {
    let series: Vec<Value> = (0..f.len())
        .map(|i| {
            let steps: Vec<Value> = (0..f.horizon())
                .map(|k| {
                    let quantiles: serde_json::Map<String, Value> = f
                        .levels()
                        .iter()
                        .map(|l| (answers::quantile_column(*l), json!(f.quantile(i, k, *l))))
                        .collect();
                    json!({ "ds": f.freq().format(f.ds(i, k)), "mean": f.mean(i)[k], "quantiles": quantiles })
                })
                .collect();
            json!({ "unique_id": f.ids()[i], "steps": steps })
        })
        .collect();
    json!({ "model": f.model(), "freq": f.freq(), "horizon": f.horizon(), "series": series })
}

fn evaluate(context: &mut Context, args: &ForecastEvaluateArgs) -> Result<Exit> {
    let panel = panel(context, &args.what)?;
    let params = params(&args.what.params)?;
    let models: Vec<&str> = args.what.model.iter().map(String::as_str).collect();
    let settings = Backtest {
        horizon: args.what.horizon.into(),
        n_origins: args.origins.into(),
        gap: args.gap.into(),
        ..Backtest::default()
    };
    let board = forecasts::evaluate(&context.run, &panel, &models, &params, &settings)?;
    let p = &context.printer;
    p.json(&board);
    rows(context, p.lang.pick("all series", "全部序列"), &board.all);
    let mut from = 0;
    while let Some(first) = board.by_class.get(from) {
        let n = board.by_class[from..].iter().take_while(|r| r.group == first.group).count();
        rows(context, &first.group, &board.by_class[from..from + n]);
        from += n;
    }
    if board.n_too_short > 0 {
        p.note(match p.lang {
            Lang::En => format!("{} series are too short to be scored", board.n_too_short),
            Lang::Zh => format!("{} 个序列过短，无法评估", board.n_too_short),
        });
    }
    Ok(Exit::Success)
}

fn rows(context: &Context, title: &str, board: &[LeaderboardRow]) {
    let p = &context.printer;
    let header =
        ["", "MASE", "RMSSE", "WAPE", "sMAPE", "MAE", "RMSE", "bias", "±10%", "exact", "pinball", "80%", "n"];
    let number = |v: f64| if v.is_finite() { format!("{v:.3}") } else { "–".to_owned() };
    let cells = |r: &LeaderboardRow| {
        let s = &r.scores;
        let cover = s.intervals.first().map_or(f64::NAN, |i| i.coverage);
        let mut cells = vec![r.model.clone()];
        cells.extend(
            [
                s.mase,
                s.rmsse,
                s.wape,
                s.smape,
                s.mae,
                s.rmse,
                s.bias,
                s.hit_rate,
                s.exact_rate,
                s.pinball,
                cover,
            ]
            .map(number),
        );
        cells.push(s.n_windows.to_string());
        cells
    };
    p.line(p.toned(Tone::Up, title));
    p.table(
        &header,
        &board.iter().map(cells).collect::<Vec<_>>(),
        &(1..header.len()).collect::<Vec<_>>(),
        |_| Tone::Plain,
    );
    p.line("");
}
