//! `tradewind pipeline`: the life of the shop's models, step by step.

use super::jobs::{Office, told_state};
use crate::Context;
use crate::args::jobs::{
    FittedKind, MissedArg, OrderArgs, PipelineAction, PipelineRunArgs, PipelineScheduleArgs, StopAt,
};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use serde_json::json;
use tradewind::ops::jobs::{Missed, NewRun, NewSchedule, RunFilter};
use tradewind::pipelines::{self, FailOn, Order};
use tradewind::serving::Kind;
use tradewind::{Error, Result, Shop};

pub(crate) fn run(context: &mut Context, action: &PipelineAction) -> Result<Exit> {
    let shop = context.open_shop()?;
    let office = Office::open(&shop)?;
    match action {
        PipelineAction::Run(args) => ask(context, &office, &shop, args),
        PipelineAction::Show => show(context, &office),
        PipelineAction::Schedule(args) => schedule(context, &office, &shop, args),
    }
}

fn order(args: &OrderArgs) -> Result<Order> {
    let import = args
        .import
        .iter()
        .map(|path| std::path::absolute(path).map_err(|e| Error::file(path, e)))
        .collect::<Result<_>>()?;
    let kinds = args.kinds.iter().map(|kind| match kind {
        FittedKind::Trends => Kind::Trends,
        FittedKind::Forecasts => Kind::Forecasts,
        FittedKind::Prices => Kind::Prices,
        FittedKind::Recommendations => Kind::Recommendations,
    });
    let fail_on = match args.fail_on {
        StopAt::Error => FailOn::Error,
        StopAt::Warning => FailOn::Warning,
        StopAt::Never => FailOn::Never,
    };
    let mut order = Order { import, preset: args.preset.clone(), fail_on, ..Order::default() };
    if !args.kinds.is_empty() {
        order.kinds = kinds.collect();
    }
    Ok(order)
}

fn ask(context: &Context, office: &Office, shop: &Shop, args: &PipelineRunArgs) -> Result<Exit> {
    let new = order(&args.order)?.new_run(shop)?;
    let mut new = NewRun {
        priority: args.priority,
        fresh: args.fresh,
        reason: args.reason.clone(),
        asked_by: super::jobs::who(),
        ..new
    };
    if context.global.seed.is_some() {
        new.seed = i64::try_from(context.run.seed).unwrap_or(i64::MAX);
    }
    let run = office.wait(office.operations.jobs.enqueue(new))?;
    let p = &context.printer;
    if args.queue {
        p.json(&json!({ "run": run }));
        p.line(match p.lang {
            Lang::En => format!("run {run} waits for a worker (tradewind jobs work)"),
            Lang::Zh => format!("第 {run} 次运行已排队，等待执行（tradewind jobs work）"),
        });
        return Ok(Exit::Success);
    }
    office.work_on(context, run)
}

fn show(context: &Context, office: &Office) -> Result<Exit> {
    let (p, jobs) = (&context.printer, &office.operations.jobs);
    let pipeline = pipelines::definition();
    let (schedules, runs) = office.wait(async {
        let filter = RunFilter { pipeline: pipelines::SHOP.to_owned(), limit: 5, ..RunFilter::default() };
        Ok::<_, tradewind::ops::Error>((jobs.schedules().await?, jobs.runs(&filter).await?))
    })?;
    p.json(&json!({ "pipeline": pipeline, "schedules": schedules, "runs": runs }));
    let rows: Vec<Vec<String>> =
        pipeline.steps.iter().map(|step| vec![step.name.clone(), step.after.join(", ")]).collect();
    p.table(&[p.lang.pick("step", "步骤"), p.lang.pick("follows", "前置步骤")], &rows, &[], |_| {
        Tone::Plain
    });
    if !schedules.is_empty() {
        p.line("");
        let rows: Vec<Vec<String>> = schedules
            .iter()
            .map(|s| {
                let next = if s.paused {
                    p.lang.pick("paused", "已暂停").to_owned()
                } else {
                    super::jobs::moment(s.next_ms)
                };
                vec![s.name.clone(), s.cron.clone(), s.zone.clone(), next, super::jobs::moment(s.last_ms)]
            })
            .collect();
        let l = p.lang;
        p.table(
            &[
                l.pick("schedule", "计划"),
                "cron",
                l.pick("zone", "时区"),
                l.pick("next", "下次"),
                l.pick("last", "上次"),
            ],
            &rows,
            &[],
            |_| Tone::Plain,
        );
    }
    if !runs.is_empty() {
        p.line("");
        super::jobs::table_of_runs(p, &runs);
    }
    Ok(Exit::Success)
}

fn schedule(context: &Context, office: &Office, shop: &Shop, args: &PipelineScheduleArgs) -> Result<Exit> {
    let (p, jobs, name) = (&context.printer, &office.operations.jobs, &args.name);
    if args.remove {
        office.wait(jobs.unschedule(name))?;
        p.json(&json!({ "schedule": name, "removed": true }));
        p.line(match p.lang {
            Lang::En => format!("schedule {name} is gone"),
            Lang::Zh => format!("计划 {name} 已删除"),
        });
        return Ok(Exit::Success);
    }
    if args.pause || args.resume {
        office.wait(jobs.pause(name, args.pause))?;
    } else if let Some(cron) = &args.cron {
        let said = &shop.settings().shop.time_zone;
        let usual = if said.is_empty() { "UTC" } else { said };
        let NewRun { parameters, .. } = order(&args.order)?.new_run(shop)?;
        office.wait(jobs.schedule(&NewSchedule {
            name: name.clone(),
            pipeline: pipelines::SHOP.to_owned(),
            parameters,
            seed: i64::try_from(context.run.seed).unwrap_or(i64::MAX),
            cron: cron.clone(),
            zone: args.zone.clone().unwrap_or_else(|| usual.to_owned()),
            missed: match args.missed {
                MissedArg::Once => Missed::Once,
                MissedArg::Skip => Missed::Skip,
            },
            asked_by: super::jobs::who(),
        }))?;
    }
    let schedules = office.wait(jobs.schedules())?;
    let kept = schedules.iter().find(|schedule| schedule.name == *name);
    p.json(&kept);
    if let Some(kept) = kept {
        let next = super::jobs::moment(kept.next_ms);
        p.line(match (p.lang, kept.paused) {
            (Lang::En, true) => format!("schedule {name} rests"),
            (Lang::Zh, true) => format!("计划 {name} 已暂停"),
            (Lang::En, false) => {
                format!(
                    "schedule {name}: {} in {}, next at {next} (a worker must run then: tradewind jobs work)",
                    kept.cron, kept.zone
                )
            }
            (Lang::Zh, false) => {
                format!(
                    "计划 {name}：{}（{}），下次 {next}（届时需有工作进程：tradewind jobs work）",
                    kept.cron, kept.zone
                )
            }
        });
    }
    Ok(Exit::Success)
}

/// A line for every change of a step, while a run is under way.
pub(super) fn told_change(lang: Lang, change: &tradewind::ops::jobs::Change) -> String {
    let state = told_state(lang, change.state);
    match (change.total, change.message.is_empty()) {
        (0, true) => format!("{}: {state}", change.step),
        (0, false) => format!("{}: {state} ({})", change.step, change.message),
        (total, _) => format!("{}: {state} ({} {}/{total})", change.step, change.message, change.done),
    }
}
