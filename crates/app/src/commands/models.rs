//! `tradewind models`: the catalogue, and the presets of the import.

use crate::Context;
use crate::args::ModelsArgs;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::{Value, json};
use tradewind::core::{ForecasterEntry, ParamKind};
use tradewind::{Result, forecast, ingest};

pub(crate) fn run(context: &Context, args: &ModelsArgs) -> Result<Exit> {
    if args.presets {
        presets(context);
        return Ok(Exit::Success);
    }
    let entries: Vec<&ForecasterEntry> = match &args.name {
        Some(name) => vec![forecast::entry(name)?],
        None => forecast::CATALOG.iter().collect(),
    };
    let p = &context.printer;
    p.json(&entries.iter().map(|e| told(e)).collect::<Vec<_>>());
    for e in entries {
        p.line(format!(
            "{}  {}",
            p.toned(Tone::Up, e.name),
            if p.lang == Lang::Zh { e.summary_zh } else { e.summary }
        ));
        if args.name.is_some() {
            p.line(format!("    {}: {}", p.lang.pick("source", "出处"), e.source));
        }
        for s in e.params {
            let default = if s.default.is_empty() {
                p.lang.pick("from the data", "由数据决定")
            } else {
                s.default
            };
            p.line(format!("    {} = {default}  [{}]  {}", s.name, s.kind, s.summary));
        }
    }
    if args.name.is_none() {
        p.note(p.lang.pick(
            "use: tradewind forecast --model NAME -p PARAMETER=VALUE",
            "用法：tradewind forecast --model 名称 -p 参数=值",
        ));
    }
    Ok(Exit::Success)
}

/// A model for machines.
fn told(e: &ForecasterEntry) -> Value {
    let params: Vec<Value> = e
        .params
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
        .collect();
    json!({
        "name": e.name, "summary": e.summary, "summary_zh": e.summary_zh, "source": e.source, "params": params,
        "needs": {
            "min_observations": e.needs.min_observations, "min_seasons": e.needs.min_seasons,
            "positive": e.needs.positive, "uses_covariates": e.needs.uses_covariates,
        },
    })
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
