//! `tradewind forecast --set`: what a model expects with columns set for the steps to come, and without.

use super::{SERIES_SHOWN, models, panel, told};
use crate::Context;
use crate::args::ForecastArgs;
use crate::commands::params;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use crate::speech;
use serde_json::json;
use tradewind::forecast::Options;
use tradewind::what_if::{Change, WhatIf, what_if};
use tradewind::{Forecast, Result, answers, warehouse};

pub(super) fn run(context: &mut Context, args: &ForecastArgs, coverages: &[f64]) -> Result<Exit> {
    let panel = panel(context, &args.what)?;
    let params = params(&args.what.params)?;
    let changes: Vec<Change> =
        args.set.iter().map(|text| Change::parse(text, panel.freq())).collect::<Result<_>>()?;
    // The model that answers without a word does not look at columns, this one does.
    let models = match &models(&args.what)[..] {
        [one] if args.what.model.is_empty() && one == "auto" => vec!["global".to_owned()],
        named => named.to_vec(),
    };
    let options = Options::new(args.what.horizon.into(), coverages);
    let all = models
        .iter()
        .map(|m| what_if(&context.run, &panel, m, &params, &options, &changes))
        .collect::<Result<Vec<_>>>()?;
    let p = &context.printer;
    if let Some(path) = &args.what.file.output {
        let (with, without): (Vec<Forecast>, Vec<Forecast>) =
            all.iter().map(|w| (w.with.clone(), w.without.clone())).unzip();
        warehouse::files::write_table(path, &[answers::what_if_table(&with, &without)?])?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    if args.what.file.output.is_none() || p.json {
        show(context, &all);
    }
    Ok(Exit::Success)
}

fn show(context: &Context, all: &[WhatIf]) {
    let p = &context.printer;
    let said = all.iter().map(|w| {
        let mut value = told(&w.with);
        for i in 0..w.with.len() {
            for k in 0..w.with.horizon() {
                value["series"][i]["steps"][k]["mean_without"] = json!(w.without.mean(i)[k]);
            }
        }
        value
    });
    p.json(&said.collect::<Vec<_>>());
    for WhatIf { with, without } in all {
        p.line(p.toned(Tone::Up, with.model()));
        let header = [
            p.lang.pick("series", "序列"),
            p.lang.pick("date", "日期"),
            p.lang.pick("without", "不变"),
            p.lang.pick("with", "变更后"),
            p.lang.pick("change", "变化"),
        ];
        let row = |name: String, date: String, without: f64, with: f64| {
            let change = if without > 0.0 { speech::growth(with / without - 1.0) } else { "–".to_owned() };
            vec![name, date, format!("{without:.2}"), format!("{with:.2}"), change]
        };
        let sum = |f: &Forecast| (0..f.len()).flat_map(|i| f.mean(i)).sum::<f64>();
        let mut rows = Vec::new();
        for i in 0..with.len().min(SERIES_SHOWN) {
            for k in 0..with.horizon() {
                let date = with.freq().format(with.ds(i, k));
                rows.push(row(with.ids()[i].clone(), date, without.mean(i)[k], with.mean(i)[k]));
            }
        }
        rows.push(row(p.lang.pick("all", "合计").to_owned(), String::new(), sum(without), sum(with)));
        p.table(&header, &rows, &[2, 3, 4], |_| Tone::Plain);
        if with.len() > SERIES_SHOWN {
            let more = with.len() - SERIES_SHOWN;
            p.note(match p.lang {
                Lang::En => format!("{more} more series: --output FILE writes all of them"),
                Lang::Zh => format!("另有 {more} 个序列：用 --output 文件 写出全部"),
            });
        }
    }
}
