//! `tradewind forecast --hierarchy`: forecasts of all levels that add up.

use super::{known, models, target, told};
use crate::Context;
use crate::args::ForecastArgs;
use crate::commands::{params, read_input};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::json;
use tradewind::forecast::hierarchy::{Covariance, Method};
use tradewind::hierarchies::{self, Coherent, Levels};
use tradewind::{Forecast, Result, answers, warehouse};

/// Nodes shown on a terminal; all of them go to --output.
const NODES_SHOWN: usize = 30;
/// Nodes of crossed levels beyond which the shrunk covariance takes minutes.
const QUICK_NODES_MAX: usize = 1_500;

pub(super) fn run(
    context: &mut Context,
    args: &ForecastArgs,
    levels: &Levels,
    coverages: &[f64],
) -> Result<Exit> {
    let what = &args.what;
    let method: Method = args.reconcile.as_deref().unwrap_or("mint_shrinkage").parse()?;
    let panel = if what.file.input.is_some() {
        read_input(context, &what.file)?
    } else {
        let shop = context.open_shop()?;
        let freq = what.file.freq.as_deref().unwrap_or("D").parse()?;
        hierarchies::panel_of_shop(&context.run, &shop, levels, target(what.target), freq)?
    };
    let panel = known(panel, what.as_of.as_deref())?;
    let params = params(&what.params)?;
    let p = context.printer.clone();
    let hierarchy = levels.hierarchy(&panel)?;
    if method == Method::MinTrace(Covariance::Shrinkage)
        && !hierarchy.is_tree()
        && hierarchy.len() > QUICK_NODES_MAX
    {
        p.note(match p.lang {
            Lang::En => format!(
                "{} nodes of crossed levels by mint_shrinkage take minutes; --reconcile mint_variance is quick",
                hierarchy.len()
            ),
            Lang::Zh => format!(
                "交叉层级共 {} 个节点，mint_shrinkage 需数分钟；--reconcile mint_variance 很快",
                hierarchy.len()
            ),
        });
    }
    let mut all: Vec<Coherent> = Vec::new();
    for model in models(what) {
        let asked = (model.as_str(), &params);
        let horizon = what.horizon.into();
        all.push(hierarchies::forecast(&context.run, &panel, levels, &method, asked, horizon, coverages)?);
    }
    if let Some(path) = &what.file.output {
        let forecasts: Vec<Forecast> = all.iter().map(|c| c.forecast.clone()).collect();
        let names: Vec<&[String]> = all.iter().map(|c| c.levels.as_slice()).collect();
        warehouse::files::write_table(path, &[answers::level_table(&forecasts, &names)?])?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    if what.file.output.is_none() || p.json {
        show(context, &all);
    }
    Ok(Exit::Success)
}

fn show(context: &Context, all: &[Coherent]) {
    let p = &context.printer;
    let said = all.iter().map(|c| {
        let mut value = told(&c.forecast);
        for (i, level) in c.levels.iter().enumerate() {
            value["series"][i]["level"] = json!(level);
        }
        value
    });
    p.json(&said.collect::<Vec<_>>());
    for c in all {
        let f = &c.forecast;
        p.line(p.toned(Tone::Up, f.model()));
        let steps = match p.lang {
            Lang::En => format!("sum of {} steps", f.horizon()),
            Lang::Zh => format!("{} 期合计", f.horizon()),
        };
        let header = [p.lang.pick("level", "层级"), p.lang.pick("node", "节点"), &steps];
        let rows: Vec<Vec<String>> = (0..f.len().min(NODES_SHOWN))
            .map(|i| {
                let sum: f64 = f.mean(i).iter().sum();
                vec![c.levels[i].clone(), f.ids()[i].clone(), format!("{sum:.1}")]
            })
            .collect();
        p.table(&header, &rows, &[2], |_| Tone::Plain);
        if f.len() > NODES_SHOWN {
            let more = f.len() - NODES_SHOWN;
            p.note(match p.lang {
                Lang::En => format!("{more} more nodes: --output FILE writes all of them, step by step"),
                Lang::Zh => format!("另有 {more} 个节点：用 --output 文件 写出全部各期"),
            });
        }
    }
}
