//! `tradewind models`: the catalogue, and the presets of the import.

use crate::Context;
use crate::args::ModelsArgs;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::{Value, json};
use tradewind::core::{ForecasterEntry, ParamKind, ParamSpec, RecommenderEntry};
use tradewind::learn::LearnerEntry;
use tradewind::{Result, forecast, ingest, learn, recommend};

pub(crate) fn run(context: &Context, args: &ModelsArgs) -> Result<Exit> {
    if args.presets {
        presets(context);
        return Ok(Exit::Success);
    }
    let mut told = Vec::new();
    if args.learn {
        let entries: Vec<&LearnerEntry> = match &args.name {
            Some(name) => vec![learn::entry(name)?],
            None => learn::CATALOG.iter().collect(),
        };
        for e in entries {
            told.push(learner(e));
            let tasks = e.tasks.iter().map(|t| t.word()).collect::<Vec<_>>().join(", ");
            show(context, [e.name, e.summary, e.summary_zh, e.source], e.params, args.name.is_some(), &tasks);
        }
    } else if args.recommend {
        let entries: Vec<&RecommenderEntry> = match &args.name {
            Some(name) => vec![recommend::entry(name)?],
            None => recommend::CATALOG.iter().collect(),
        };
        for e in entries {
            told.push(recommender(e));
            show(context, [e.name, e.summary, e.summary_zh, e.source], e.params, args.name.is_some(), "");
        }
    } else {
        let entries: Vec<&ForecasterEntry> = match &args.name {
            Some(name) => vec![forecast::entry(name)?],
            None => forecast::CATALOG.iter().collect(),
        };
        for e in entries {
            told.push(forecaster(e));
            show(context, [e.name, e.summary, e.summary_zh, e.source], e.params, args.name.is_some(), "");
        }
    }
    let p = &context.printer;
    p.json(&told);
    if args.name.is_none() {
        let command = match (args.learn, args.recommend) {
            (true, _) => "learn fit",
            (_, true) => "recommend fit",
            _ => "forecast",
        };
        p.note(match p.lang {
            Lang::En => format!("use: tradewind {command} --model NAME -p PARAMETER=VALUE"),
            Lang::Zh => format!("用法：tradewind {command} --model 名称 -p 参数=值"),
        });
    }
    Ok(Exit::Success)
}

/// A model for people.
fn show(
    context: &Context,
    [name, summary, summary_zh, source]: [&str; 4],
    params: &[ParamSpec],
    alone: bool,
    tasks: &str,
) {
    let p = &context.printer;
    let summary = if p.lang == Lang::Zh { summary_zh } else { summary };
    p.line(format!("{}  {summary}", p.toned(Tone::Up, name)));
    if !tasks.is_empty() {
        p.line(format!("    {}: {tasks}", p.lang.pick("learns", "任务")));
    }
    if alone {
        p.line(format!("    {}: {source}", p.lang.pick("source", "出处")));
    }
    for s in params {
        let default =
            if s.default.is_empty() { p.lang.pick("from the data", "由数据决定") } else { s.default };
        p.line(format!("    {} = {default}  [{}]  {}", s.name, s.kind, s.summary));
    }
}

/// A forecaster for machines.
fn forecaster(e: &ForecasterEntry) -> Value {
    json!({
        "name": e.name, "summary": e.summary, "summary_zh": e.summary_zh, "source": e.source,
        "params": parameters(e.params),
        "needs": {
            "min_observations": e.needs.min_observations, "min_seasons": e.needs.min_seasons,
            "positive": e.needs.positive, "uses_covariates": e.needs.uses_covariates,
        },
    })
}

/// An estimator for machines.
fn learner(e: &LearnerEntry) -> Value {
    json!({
        "name": e.name, "summary": e.summary, "summary_zh": e.summary_zh, "source": e.source,
        "params": parameters(e.params),
        "tasks": e.tasks,
        "bears": {
            "missing": e.bears.missing, "categories": e.bears.categories, "any_scale": e.bears.any_scale,
            "weights": e.bears.weights, "negative": e.bears.negative,
        },
    })
}

/// A recommender for machines.
fn recommender(e: &RecommenderEntry) -> Value {
    json!({
        "name": e.name, "summary": e.summary, "summary_zh": e.summary_zh, "source": e.source,
        "params": parameters(e.params), "ordered": e.ordered,
    })
}

fn parameters(params: &[ParamSpec]) -> Vec<Value> {
    params
        .iter()
        .map(|s| {
            let (kind, range) = match s.kind {
                ParamKind::Integer { min, max } => ("integer", json!({ "min": min, "max": max })),
                ParamKind::Number { min, max } => ("number", json!({ "min": min, "max": max })),
                ParamKind::Choice(words) => ("choice", json!({ "one_of": words })),
                ParamKind::Flag => ("flag", json!({})),
                ParamKind::Numbers { min, max } => ("numbers", json!({ "min": min, "max": max })),
            };
            let default = (!s.default.is_empty()).then_some(s.default);
            json!({ "name": s.name, "type": kind, "range": range, "default": default, "summary": s.summary })
        })
        .collect()
}

fn presets(context: &Context) {
    let p = &context.printer;
    let list = ingest::presets();
    p.json(
        &list
            .iter()
            .map(|x| json!({ "name": x.name, "summary": x.summary.en, "summary_zh": x.summary.zh }))
            .collect::<Vec<_>>(),
    );
    for x in list {
        p.line(format!("{}  {}", p.toned(Tone::Up, &x.name), p.lang.pick(&x.summary.en, &x.summary.zh)));
    }
}
