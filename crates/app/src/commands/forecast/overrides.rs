//! `tradewind forecast override`: planners' figures beside the model's.

use super::target;
use crate::Context;
use crate::args::{self, By, ForecastWhat, OverrideAction, OverrideArgs, OverrideScope};
use crate::commands::{cutoffs, params};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::{Value, json};
use tradewind::overrides::{Scope, active, add, score};
use tradewind::warehouse::{Figure, NewOverride, Override};
use tradewind::{Error, Freq, Panel, Result, Shop, forecasts};

pub(super) fn run(context: &mut Context, args: &OverrideArgs) -> Result<Exit> {
    match &args.action {
        None => set(context, args),
        Some(OverrideAction::List) => list(context),
        Some(OverrideAction::Withdraw { id, note, author }) => {
            let shop = context.open_shop()?;
            let gone = shop.withdraw_override(*id, author, note)?;
            let p = &context.printer;
            p.json(&told(&gone));
            p.line(match p.lang {
                Lang::En => format!("override {id} no longer holds"),
                Lang::Zh => format!("覆盖 {id} 已撤回"),
            });
            Ok(Exit::Success)
        }
        Some(OverrideAction::Score { scope, model, params }) => {
            scores(context, scope, model.as_deref(), params)
        }
    }
}

/// The overrides that hold for a forecast of a shop; none for a file.
pub(super) fn of_shop(context: &mut Context, what: &ForecastWhat) -> Result<Vec<Override>> {
    if what.file.input.is_some() {
        return Ok(vec![]);
    }
    let shop = context.open_shop()?;
    let freq: Freq = what.file.freq.as_deref().unwrap_or("D").parse()?;
    active(&shop, scope(what.by, what.target, &freq.to_string()))
}

fn scope(by: By, target: args::Target, freq: &str) -> Scope<'_> {
    let by = match by {
        By::Product => "product",
        By::Category => "category",
        By::Store => "store",
        By::Word => "word",
    };
    let target = match target {
        args::Target::Units => "units",
        args::Target::Revenue => "revenue",
        args::Target::Price => "price",
    };
    Scope { by, target, freq }
}

fn shop_and_panel(context: &mut Context, s: &OverrideScope) -> Result<(Shop, Panel)> {
    let shop = context.open_shop()?;
    let freq = s.freq.parse()?;
    let panel = forecasts::panel_of_shop(&context.run, &shop, s.by.into(), target(s.target), freq)?;
    Ok((shop, panel))
}

fn set(context: &mut Context, args: &OverrideArgs) -> Result<Exit> {
    let (shop, panel) = shop_and_panel(context, &args.scope)?;
    let freq = panel.freq();
    let freq_name = freq.to_string();
    let scope = scope(args.scope.by, args.scope.target, &freq_name);
    let (Some(series), Some(from), Some(note)) = (&args.series, &args.from, &args.note) else {
        return Err(Error::asked(
            "the override is not whole",
            "give --series, --from, --value or --factor, and --note",
        ));
    };
    let days = cutoffs(&[from.clone(), args.to.clone().unwrap_or_else(|| from.clone())], freq)?;
    let figure = match (args.value, args.factor) {
        (Some(v), _) => Figure::Value(v),
        (None, Some(f)) => Figure::Factor(f),
        (None, None) => return Err(Error::asked("the override has no figure", "give --value or --factor")),
    };
    let said = NewOverride {
        author: args.author.clone(),
        note: note.clone(),
        by: scope.by.to_owned(),
        target: scope.target.to_owned(),
        freq: scope.freq.to_owned(),
        unique_id: series.clone(),
        first: days[0],
        last: days[1],
        figure,
        known: panel.last_stamp().unwrap_or(0),
    };
    let kept = add(&shop, &panel, said)?;
    let p = &context.printer;
    p.json(&told(&kept));
    p.line(match p.lang {
        Lang::En => format!(
            "override {} of {} is kept; forecasts of this shop show it beside the model's figure",
            kept.id, kept.said.unique_id
        ),
        Lang::Zh => {
            format!("已保存 {} 的覆盖 {}；本店的预测会在模型数值旁显示它", kept.said.unique_id, kept.id)
        }
    });
    Ok(Exit::Success)
}

fn list(context: &mut Context) -> Result<Exit> {
    let shop = context.open_shop()?;
    let all = shop.overrides()?;
    let p = &context.printer;
    p.json(&all.iter().map(told).collect::<Vec<_>>());
    if all.is_empty() {
        p.line(p.lang.pick("none", "没有"));
        return Ok(Exit::Success);
    }
    let header = [
        "#",
        p.lang.pick("series", "序列"),
        p.lang.pick("from", "起"),
        p.lang.pick("to", "止"),
        p.lang.pick("figure", "数值"),
        p.lang.pick("author", "作者"),
        p.lang.pick("note", "说明"),
        p.lang.pick("state", "状态"),
    ];
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|o| {
            let freq: Freq = o.said.freq.parse().unwrap_or(Freq::DAILY);
            vec![
                o.id.to_string(),
                o.said.unique_id.clone(),
                freq.format(o.said.first),
                freq.format(o.said.last),
                match o.said.figure {
                    Figure::Value(v) => v.to_string(),
                    Figure::Factor(f) => format!("×{f}"),
                },
                o.said.author.clone(),
                o.said.note.clone(),
                match &o.withdrawn {
                    None => p.lang.pick("holds", "有效").to_owned(),
                    Some(w) => format!("{} {} {}", p.lang.pick("withdrawn:", "已撤回："), w.author, w.note),
                },
            ]
        })
        .collect();
    p.table(&header, &rows, &[0, 4], |i| if all[i].withdrawn.is_some() { Tone::Warn } else { Tone::Plain });
    Ok(Exit::Success)
}

/// An override for machines, its days as people write them.
fn told(o: &Override) -> Value {
    let freq: Freq = o.said.freq.parse().unwrap_or(Freq::DAILY);
    let mut value = json!(o);
    value["first"] = json!(freq.format(o.said.first));
    value["last"] = json!(freq.format(o.said.last));
    value["known"] = json!(freq.format(o.said.known));
    value
}

fn scores(context: &mut Context, s: &OverrideScope, model: Option<&str>, pairs: &[String]) -> Result<Exit> {
    let (shop, panel) = shop_and_panel(context, s)?;
    let freq = panel.freq().to_string();
    let overrides = active(&shop, scope(s.by, s.target, &freq))?;
    let usual = if s.target == args::Target::Price { "price" } else { "auto" };
    let model = model.unwrap_or(usual);
    let scores = score(&context.run, &panel, &overrides, model, &params(pairs)?)?;
    let p = &context.printer;
    p.json(&scores);
    if scores.is_empty() {
        p.line(p.lang.pick(
            "no override has an outcome yet: import the sales of its days first",
            "尚无覆盖有结果：请先导入相应日期的销售",
        ));
        return Ok(Exit::Success);
    }
    let header = [
        p.lang.pick("author", "作者"),
        p.lang.pick("overrides", "覆盖数"),
        p.lang.pick("steps", "期数"),
        p.lang.pick("MAE planner", "MAE 计划员"),
        &format!("MAE {model}"),
        p.lang.pick("planner nearer", "计划员更近"),
        p.lang.pick("model nearer", "模型更近"),
    ];
    let rows: Vec<Vec<String>> = scores
        .iter()
        .map(|s| {
            vec![
                if s.author.is_empty() { p.lang.pick("all", "合计").to_owned() } else { s.author.clone() },
                s.n_overrides.to_string(),
                s.n_steps.to_string(),
                format!("{:.3}", s.planner_mae),
                format!("{:.3}", s.model_mae),
                s.planner_nearer.to_string(),
                s.model_nearer.to_string(),
            ]
        })
        .collect();
    let tone = |i: usize| match scores[i].planner_mae.total_cmp(&scores[i].model_mae) {
        std::cmp::Ordering::Less => Tone::Up,
        std::cmp::Ordering::Equal => Tone::Plain,
        std::cmp::Ordering::Greater => Tone::Down,
    };
    p.table(&header, &rows, &[1, 2, 3, 4, 5, 6], tone);
    Ok(Exit::Success)
}
