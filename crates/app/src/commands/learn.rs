//! `tradewind learn`: estimators on any table.

use super::{params, told_training};
use crate::Context;
use crate::args::{
    ColumnsArgs, LearnAction, LearnArgs, LearnEvaluateArgs, LearnExplainArgs, LearnFitArgs, LearnPredictArgs,
    LearnTuneArgs, TableArgs,
};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use crate::report::learn::ExplainPage;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tradewind::ingest::TableOptions;
use tradewind::learn::frame::Frame;
use tradewind::learn::measure::Measure;
use tradewind::learning::{
    self, AutoRequest, Evaluation, FitRequest, Material, Measured, Model, TrialFile, TuneRequest, explain,
};
use tradewind::{Error, Result, warehouse};

/// Trials shown on a terminal; all of them are in the study's file.
const TRIALS_SHOWN: usize = 10;

pub(crate) fn run(context: &mut Context, args: &LearnArgs) -> Result<Exit> {
    match &args.action {
        LearnAction::Fit(args) => fit(context, args),
        LearnAction::Predict(args) => predict(context, args),
        LearnAction::Evaluate(args) => evaluate(context, args),
        LearnAction::Tune(args) => tune(context, args),
        LearnAction::Explain(args) => explain_model(context, args),
    }
}

/// The table of `--input` or `--sql`.
fn table(context: &mut Context, args: &TableArgs) -> Result<Frame> {
    match (&args.input, &args.sql) {
        (Some(path), _) => {
            let options = TableOptions { text: args.text.clone(), ..TableOptions::default() };
            learning::read_frame(&context.run, path, &options)
        }
        (None, Some(sql)) => {
            let shop = context.open_shop()?;
            learning::read_query(&shop, sql)
        }
        (None, None) => Err(Error::asked("no table is named", "give --input FILE or --sql QUERY")),
    }
}

fn request(model: &str, given: &[String], columns: &ColumnsArgs, validation: f64) -> Result<FitRequest> {
    Ok(FitRequest {
        model: model.to_owned(),
        params: params(given)?,
        task: columns.task.as_deref().map(str::parse).transpose()?,
        target: columns.target.clone(),
        weight: columns.weight.clone(),
        group: columns.group.clone(),
        time: columns.time.clone(),
        ignore: columns.ignore.clone(),
        validation,
        recipe: None,
    })
}

/// `60s`, `10m`, `1h`, or plain seconds.
fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = match text.trim().char_indices().last() {
        Some((at, 's')) => (&text.trim()[..at], 1.0),
        Some((at, 'm')) => (&text.trim()[..at], 60.0),
        Some((at, 'h')) => (&text.trim()[..at], 3600.0),
        _ => (text.trim(), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|n| n * unit).filter(|s| (0.0..=1e7).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Error::asked(format!("`{text}` is no length of time"), "write it as 60s, 10m or 1h"))
}

fn fit(context: &mut Context, args: &LearnFitArgs) -> Result<Exit> {
    let frame = table(context, &args.table)?;
    let request = request(&args.model, &args.params, &args.columns, args.validation)?;
    if args.model == "auto" {
        let auto =
            AutoRequest { budget: duration(&args.budget)?, measure: measure(args.measure.as_deref())? };
        let (model, board) =
            learning::fit_auto(&context.run, &Material::of(frame, &request)?, &request, &auto)?;
        model.write(&args.output)?;
        let p = &context.printer;
        p.json(&json!({
            "model": args.output,
            "manifest": model.manifest,
            "leaderboard": board,
            "training": model.training_curves(),
        }));
        let header = [
            p.lang.pick("estimator", "算法"),
            p.lang.pick("score", "得分"),
            "±",
            p.lang.pick("seconds", "秒"),
            p.lang.pick("weight", "权重"),
        ];
        let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.4}"));
        let rows: Vec<Vec<String>> = board
            .iter()
            .take(TRIALS_SHOWN)
            .map(|s| {
                let weight = if s.weight > 0.0 { format!("{:.2}", s.weight) } else { String::new() };
                vec![s.learner.clone(), number(s.score), number(s.sd), number(s.seconds), weight]
            })
            .collect();
        p.table(
            &header,
            &rows,
            &[1, 2, 3, 4],
            |i| if board[i].weight > 0.0 { Tone::Up } else { Tone::Plain },
        );
        note_written(p, &args.output);
        told_training(p, &args.model, &model.training_curves(), args.curves.as_deref())?;
        return Ok(Exit::Success);
    }
    let model = learning::fit(&context.run, &Material::of(frame, &request)?, &request)?;
    model.write(&args.output)?;
    let p = &context.printer;
    let curves = model.training_curves();
    p.json(&json!({ "model": args.output, "manifest": model.manifest, "training": curves }));
    told(p, &model);
    note_written(p, &args.output);
    told_training(p, &args.model, &curves, args.curves.as_deref())?;
    Ok(Exit::Success)
}

/// What was fitted, in a few lines.
fn told(p: &Printer, model: &Model) {
    let m = &model.manifest;
    p.line(p.toned(
        Tone::Up,
        &match p.lang {
            Lang::En => format!(
                "{} ({}) fitted on {} rows, {} columns, in {:.2} s",
                m.model,
                m.task,
                m.rows,
                m.features.len(),
                m.fit_seconds
            ),
            Lang::Zh => format!(
                "{}（{}）已用 {} 行、{} 列训练，耗时 {:.2} 秒",
                m.model,
                m.task,
                m.rows,
                m.features.len(),
                m.fit_seconds
            ),
        },
    ));
    if !m.validation.is_empty() {
        p.line(p.lang.pick("on the rows held out:", "在留出的行上："));
        measures(p, &m.validation);
    }
}

fn measures(p: &Printer, measured: &[Measured]) {
    let header =
        [p.lang.pick("measure", "指标"), p.lang.pick("value", "数值"), p.lang.pick("better is", "方向")];
    let rows: Vec<Vec<String>> = measured
        .iter()
        .map(|m| {
            let better = if m.higher_is_better {
                p.lang.pick("higher", "越高越好")
            } else {
                p.lang.pick("lower", "越低越好")
            };
            vec![m.name.clone(), format!("{:.6}", m.value), better.to_owned()]
        })
        .collect();
    p.table(&header, &rows, &[1], |_| Tone::Plain);
}

fn measure(name: Option<&str>) -> Result<Option<Measure>> {
    Ok(name.map(str::parse).transpose()?)
}

fn note_written(p: &Printer, path: &Path) {
    p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
}

fn predict(context: &mut Context, args: &LearnPredictArgs) -> Result<Exit> {
    let model = Model::open(&args.model)?;
    let frame = table(context, &args.table)?;
    let answers = model.predict(&frame, &args.keep)?;
    warehouse::files::write_table(&args.output, std::slice::from_ref(&answers))?;
    let p = &context.printer;
    p.json(&json!({ "output": args.output, "rows": answers.num_rows() }));
    note_written(p, &args.output);
    Ok(Exit::Success)
}

fn evaluate(context: &mut Context, args: &LearnEvaluateArgs) -> Result<Exit> {
    let model = Model::open(&args.model)?;
    let frame = table(context, &args.table)?;
    let result = model.evaluate(&frame, args.weight.as_deref(), args.group.as_deref())?;
    let p = &context.printer;
    p.json(&json!({
        "task": result.task,
        "rows": result.truth.len(),
        "measures": result.measures,
        "classes": result.classes,
        "confusion": result.confusion(),
    }));
    measures(p, &result.measures);
    confusion(p, &result);
    Ok(Exit::Success)
}

fn confusion(p: &Printer, result: &Evaluation) {
    let Some(counts) = result.confusion() else { return };
    p.line("");
    let mut header = vec![p.lang.pick("truth \\ said", "实际 \\ 预测").to_owned()];
    header.extend(result.classes.iter().cloned());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = counts
        .iter()
        .zip(&result.classes)
        .map(|(row, class)| std::iter::once(class.clone()).chain(row.iter().map(usize::to_string)).collect())
        .collect();
    p.table(&header, &rows, &(1..header.len()).collect::<Vec<_>>(), |_| Tone::Plain);
}

fn tune(context: &mut Context, args: &LearnTuneArgs) -> Result<Exit> {
    let frame = table(context, &args.table)?;
    let mut fit = request(&args.model, &args.params, &args.columns, 0.0)?;
    let study = args.study.clone().unwrap_or_else(|| {
        let mut name = args.output.clone().into_os_string();
        name.push(".trials.jsonl");
        name.into()
    });
    let store = TrialFile::open(&study)?;
    let tune = TuneRequest {
        space: args.space.as_deref().map(str::parse).transpose()?,
        search: args.search.clone(),
        trials: args.trials.into(),
        folds: args.folds.into(),
        budget: args.budget.as_deref().map(duration).transpose()?,
        measure: measure(args.measure.as_deref())?,
    };
    let material = Material::of(frame, &fit)?;
    let tuned = learning::tune(&context.run, &material, &fit, &tune, &store)?;
    fit.params = tuned.best.clone();
    let model = learning::fit(&context.run, &material, &fit)?;
    model.write(&args.output)?;
    let p = &context.printer;
    p.json(&json!({
        "model": args.output,
        "study": study,
        "measure": tuned.measure,
        "best": tuned.best,
        "score": tuned.score,
        "trials": tuned.trials,
    }));
    let mut ranked: Vec<_> = tuned.trials.iter().filter(|t| t.value.is_some()).collect();
    ranked.sort_by(|a, b| {
        let (a, b) = (a.value.unwrap_or(f64::NAN), b.value.unwrap_or(f64::NAN));
        if tuned.measure.higher_is_better() { b.total_cmp(&a) } else { a.total_cmp(&b) }
    });
    let name = tuned.measure.to_string();
    let header = [p.lang.pick("trial", "试验"), name.as_str(), p.lang.pick("parameters", "参数")];
    let rows: Vec<Vec<String>> = ranked
        .iter()
        .take(TRIALS_SHOWN)
        .map(|t| {
            let set: Vec<String> = t.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
            vec![t.number.to_string(), t.value.map_or(String::new(), |v| format!("{v:.6}")), set.join(" ")]
        })
        .collect();
    p.table(&header, &rows, &[0, 1], |i| if i == 0 { Tone::Up } else { Tone::Plain });
    told(p, &model);
    note_written(p, &args.output);
    Ok(Exit::Success)
}

fn explain_model(context: &mut Context, args: &LearnExplainArgs) -> Result<Exit> {
    let model = Model::open(&args.model)?;
    let frame = table(context, &args.table)?;
    let told = explain(&context.run, &model, &frame, args.rows as usize, args.row)?;
    let p = &context.printer;
    p.json(&told);
    let header = [
        p.lang.pick("column", "列"),
        p.lang.pick("importance", "重要性"),
        p.lang.pick("when it is high", "取值高时"),
    ];
    let rows: Vec<Vec<String>> = told
        .importance
        .iter()
        .map(|i| {
            let direction = match i.direction {
                d if d > 0.3 => p.lang.pick("score up", "得分升高"),
                d if d < -0.3 => p.lang.pick("score down", "得分降低"),
                _ => p.lang.pick("mixed", "不定"),
            };
            vec![
                told.reading(&i.name).title(&i.name),
                format!("{:.1}%", 100.0 * i.share),
                direction.to_owned(),
            ]
        })
        .collect();
    p.table(&header, &rows, &[1], |_| Tone::Plain);
    if let Some(path) = &args.html {
        let page = ExplainPage { lang: p.lang, manifest: &model.manifest, told: &told };
        warehouse::files::write_bytes(path, page.html().as_bytes())?;
        note_written(p, path);
    }
    Ok(Exit::Success)
}
