//! `tradewind forecast`: forecasts with intervals, and the backtest that ranks models.

mod evaluate;
mod hierarchy;
mod overrides;
mod what_if;

use crate::Context;
use crate::args::{self, ForecastAction, ForecastArgs, ForecastWhat};
use crate::commands::{anomalies, known, params, relations, series, target, told_training};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tradewind::core::{Params, TrainingCurve};
use tradewind::forecast::Options;
use tradewind::forecast::scenarios::{self, ScenarioSettings};
use tradewind::large::Job;
use tradewind::warehouse::Override;
use tradewind::{Error, Forecast, Panel, Result, answers, forecasts, warehouse};

/// Planners' figures, forecast by forecast and step after step; NaN where there is none.
type Figures = Vec<Vec<f64>>;

/// Series shown on a terminal; all of them go to --output.
const SERIES_SHOWN: usize = 10;

pub(crate) fn run(context: &mut Context, args: &ForecastArgs) -> Result<Exit> {
    match &args.action {
        Some(ForecastAction::Evaluate(args)) => return evaluate::run(context, args),
        Some(ForecastAction::Relations(args)) => return relations::run(context, args),
        Some(ForecastAction::Anomalies(args)) => return anomalies::run(context, args),
        Some(ForecastAction::Override(args)) => return overrides::run(context, args),
        None => {}
    }
    if args.explain.is_some() && !args.what.model.iter().any(|m| m == "global") {
        return Err(Error::asked("only forecasts of `global` can be explained", "give --model global"));
    }
    let coverages: Vec<f64> = args.level.iter().map(|l| coverage(*l)).collect::<Result<_>>()?;
    if let Some(path) = &args.scenarios {
        warehouse::files::check_ending(path)?;
    }
    if let Some(levels) = &args.hierarchy {
        return hierarchy::run(context, args, &levels.parse()?, &coverages);
    }
    if !args.set.is_empty() {
        return what_if::run(context, args, &coverages);
    }
    let panel = panel(context, &args.what)?;
    let params = params(&args.what.params)?;
    let models = models(&args.what);
    // Paths need more quantiles than people ask for.
    let wanted: Vec<f64> = match &args.scenarios {
        Some(_) => coverages.iter().chain(scenarios::COVERAGES).copied().collect(),
        None => coverages.clone(),
    };
    let options = Options::new(args.what.horizon.into(), &wanted);
    let said = overrides::of_shop(context, &args.what)?;
    let mut curves = Vec::new();
    let output = args.what.file.output.as_deref();
    let (all, planner) = answer(context, &panel, &models, &params, &options, &said, output, &mut curves)?;
    told_training(&context.printer, &models.join(", "), &curves, args.curves.as_deref())?;
    if let Some(path) = &args.explain {
        let steps = forecasts::explain(&context.run, &panel, &params, args.what.horizon.into())?;
        warehouse::files::write_table(path, &[answers::explanation_table(&steps, panel.freq())?])?;
        let p = &context.printer;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    if let Some(path) = &args.scenarios {
        write_scenarios(context, args, &panel, &params, &all, path)?;
    }
    if args.what.file.output.is_none() || context.printer.json {
        show(context, &all, planner.as_deref(), &coverages);
    }
    Ok(Exit::Success)
}

fn write_scenarios(
    context: &Context,
    args: &ForecastArgs,
    panel: &Panel,
    params: &Params,
    all: &[Forecast],
    path: &Path,
) -> Result<()> {
    let said = params.get("season_length").and_then(Value::as_u64).map(|s| s as usize);
    let season_length = said.unwrap_or_else(|| panel.freq().season_length()).max(1);
    let settings = ScenarioSettings { n_paths: args.paths, season_length, sums_of_past: true };
    let mut tables = Vec::with_capacity(all.len());
    for f in all {
        let paths = scenarios::scenarios(&context.run, panel, f, &settings)?;
        tables.push(answers::scenario_table(f, &paths)?);
    }
    warehouse::files::write_table(path, &tables)?;
    let p = &context.printer;
    p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    Ok(())
}

/// The models asked for; without a word, prices are forecast by the model of prices.
fn models(what: &ForecastWhat) -> Vec<String> {
    match (&what.model[..], what.target) {
        ([], args::Target::Price) => vec!["price".to_owned()],
        ([], _) => vec!["auto".to_owned()],
        (named, _) => named.to_vec(),
    }
}

/// Forecasts, with the planners' figures beside them, and writes both to `output`. Large panels are forecast in parts,
/// which are kept beside the output until it is written.
fn answer(
    context: &Context,
    panel: &Panel,
    models: &[String],
    params: &Params,
    options: &Options<'_>,
    said: &[Override],
    output: Option<&Path>,
    curves: &mut Vec<TrainingCurve>,
) -> Result<(Vec<Forecast>, Option<Figures>)> {
    let p = &context.printer;
    let mut job = Job::new(panel, models, params, options);
    let planner = |all: &[Forecast]| -> Option<Figures> {
        let figures: Figures = all.iter().map(|f| tradewind::overrides::figures(said, f)).collect();
        figures.iter().flatten().any(|v| v.is_finite()).then_some(figures)
    };
    let Some(output) = output else {
        let all = job.run_telling(&context.run, &mut |c| curves.push(c))?;
        let planner = planner(&all);
        return Ok((all, planner));
    };
    warehouse::files::check_ending(output)?;
    let mut folder = output.as_os_str().to_owned();
    folder.push(".parts");
    let folder = PathBuf::from(folder);
    let (n, kept) = (job.n_parts(), job.keep_in(&context.run, &folder)?);
    if kept > 0 {
        p.note(match p.lang {
            Lang::En => format!("{kept} of {n} parts are there already, in {}", folder.display()),
            Lang::Zh => format!("{n} 个部分中已有 {kept} 个，位于 {}", folder.display()),
        });
    }
    let all = job.run_telling(&context.run, &mut |c| curves.push(c)).inspect_err(|_| {
        context.run.progress().end();
        if job.n_kept() == 0 {
            // The first error tells more than a failed removal would.
            let _ = job.finish();
        } else {
            p.note(match p.lang {
                Lang::En => format!(
                    "what is finished is kept in {}: the same command goes on from there",
                    folder.display()
                ),
                Lang::Zh => format!("已完成的部分保存在 {}：再次运行同一命令即可继续", folder.display()),
            });
        }
    })?;
    let planner = planner(&all);
    let table = match &planner {
        Some(figures) => answers::planner_table(&all, figures)?,
        None => answers::forecast_table(&all)?,
    };
    warehouse::files::write_table(output, &[table])?;
    job.finish()?;
    p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), output.display()));
    Ok((all, planner))
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

fn show(context: &Context, all: &[Forecast], planner: Option<&[Vec<f64>]>, coverages: &[f64]) {
    let p = &context.printer;
    let figure = |m: usize, i: usize, k: usize| {
        planner.map(|p| p[m][i * all[m].horizon() + k]).filter(|v| v.is_finite())
    };
    let said = all.iter().enumerate().map(|(m, f)| {
        let mut value = told(f);
        for i in 0..f.len() {
            for k in 0..f.horizon() {
                if let Some(v) = figure(m, i, k) {
                    value["series"][i]["steps"][k]["planner"] = json!(v);
                }
            }
        }
        value
    });
    p.json(&said.collect::<Vec<_>>());
    let widest = coverages.iter().copied().fold(0.0, f64::max);
    for (m, f) in all.iter().enumerate() {
        p.line(p.toned(Tone::Up, f.model()));
        let mut header = vec![
            p.lang.pick("series", "序列").to_owned(),
            p.lang.pick("date", "日期").to_owned(),
            p.lang.pick("mean", "均值").to_owned(),
            format!("{:.0}%", widest * 100.0),
        ];
        if !f.modes().is_empty() {
            header.push(p.lang.pick("likeliest", "最可能").to_owned());
        }
        if planner.is_some() {
            header.push(p.lang.pick("planner", "计划员").to_owned());
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut rows = Vec::new();
        for i in 0..f.len().min(SERIES_SHOWN) {
            for k in 0..f.horizon() {
                let band =
                    f.interval(i, k, widest).map_or(String::new(), |(l, u)| format!("{l:.2} … {u:.2}"));
                let mut row = vec![
                    f.ids()[i].clone(),
                    f.freq().format(f.ds(i, k)),
                    format!("{:.2}", f.mean(i)[k]),
                    band,
                ];
                row.extend(f.mode(i).map(|mode| format!("{:.2}", mode[k])));
                if planner.is_some() {
                    row.push(figure(m, i, k).map_or_else(String::new, |v| format!("{v:.2}")));
                }
                rows.push(row);
            }
        }
        p.table(&header, &rows, &[2, 3, 4, 5], |_| Tone::Plain);
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
                    let mut step =
                        json!({ "ds": f.freq().format(f.ds(i, k)), "mean": f.mean(i)[k], "quantiles": quantiles });
                    if let Some(mode) = f.mode(i) {
                        step["mode"] = json!(mode[k]);
                    }
                    step
                })
                .collect();
            json!({ "unique_id": f.ids()[i], "steps": steps })
        })
        .collect();
    json!({ "model": f.model(), "freq": f.freq(), "horizon": f.horizon(), "series": series })
}
