//! `tradewind jobs`: what runs, what ran, and a worker that runs it.

use super::pipeline::told_change;
use crate::Context;
use crate::args::jobs::{JobsAction, RunState};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Runtime;
use tradewind::operations::Operations;
use tradewind::ops::jobs::{JobRun, Rerun, RunFilter, State, Stop, Worker, WorkerSettings};
use tradewind::pipelines;
use tradewind::{Error, Result, Shop};

/// How long a file of the registry that no version names is left alone: longer than any upload takes.
const A_DAY: Duration = Duration::from_secs(86_400);

/// The operations of a shop, and a runtime to wait on.
pub(super) struct Office {
    runtime: Runtime,
    pub(super) operations: Operations,
}

impl Office {
    pub(super) fn open(shop: &Shop) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| Error::file("the threads of the runtime", e))?;
        let operations = runtime.block_on(Operations::open(shop))?;
        Ok(Self { runtime, operations })
    }

    pub(super) fn wait<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        Error: From<E>,
    {
        Ok(self.runtime.block_on(work)?)
    }

    fn worker(&self, context: &Context, slots: usize) -> Worker {
        let works = pipelines::works(&self.operations, &context.run);
        Worker::new(self.operations.jobs.clone(), works)
            .with(WorkerSettings { slots, ..WorkerSettings::default() })
    }

    /// Works in this process until `run` has ended, and says how it did.
    pub(super) fn work_on(&self, context: &Context, run: i64) -> Result<Exit> {
        let (p, jobs) = (&context.printer, &self.operations.jobs);
        let worker = self.worker(context, 2);
        let stop = Stop::default();
        let ended = self.runtime.block_on(async {
            let told = async {
                let (mut watch, mut known) = (jobs.watch(0, Some(run)), BTreeMap::new());
                loop {
                    let Ok(changes) = watch.next().await else {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        continue;
                    };
                    for change in changes.iter().filter(|change| !change.step.is_empty()) {
                        if known.insert(change.step.clone(), change.state) != Some(change.state)
                            && change.state != State::Queued
                        {
                            p.note(told_change(p.lang, change));
                        }
                    }
                }
            };
            let end = async {
                tokio::select! {
                    record = jobs.wait(run) => { stop.stop(); Some(record) }
                    () = interrupted(context) => { stop.stop(); None }
                    _ = told => None,
                }
            };
            let (worked, ended) = tokio::join!(worker.run(&stop), end);
            worked?;
            ended.transpose()
        })?;
        let Some(record) = ended else { return Ok(Exit::Interrupted) };
        let steps = self.wait(jobs.steps(run))?;
        p.json(&json!({ "run": record, "steps": steps }));
        show_steps(p, &record, &steps);
        match record.state {
            State::Succeeded | State::Cached => Ok(Exit::Success),
            _ => Ok(Exit::User),
        }
    }
}

/// Waits until Ctrl-C was pressed.
async fn interrupted(context: &Context) {
    let flag = context.run.cancel_flag();
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn run(context: &mut Context, action: &JobsAction) -> Result<Exit> {
    let shop = context.open_shop()?;
    let office = Office::open(&shop)?;
    let (p, jobs) = (&context.printer, &office.operations.jobs);
    match action {
        JobsAction::List { state, limit } => {
            let filter = RunFilter { state: state.map(state_of), limit: *limit, ..RunFilter::default() };
            let runs = office.wait(jobs.runs(&filter))?;
            p.json(&runs);
            if runs.is_empty() {
                p.line(p.lang.pick("there are no runs", "没有运行记录"));
            } else {
                table_of_runs(p, &runs);
            }
        }
        JobsAction::Show { run, log } => {
            let (record, steps) = (office.wait(jobs.run(*run))?, office.wait(jobs.steps(*run))?);
            let (attempts, lines) = match log {
                None => (vec![], vec![]),
                Some(step) => {
                    // An unknown step is told as such.
                    office.wait(jobs.outputs(*run, step))?;
                    (office.wait(jobs.attempts(*run, step))?, office.wait(jobs.lines(*run, step, 0, 10_000))?)
                }
            };
            p.json(&json!({ "run": record, "steps": steps, "attempts": attempts, "log": lines }));
            show_steps(p, &record, &steps);
            if log.is_some() {
                p.line("");
            }
            for a in &attempts {
                let ending =
                    State::of(&a.ending).map_or(a.ending.as_str(), |state| told_state(p.lang, state));
                p.line(format!("#{} {} {ending} {}", a.attempt, moment(a.started_ms), a.error));
            }
            for line in &lines {
                p.line(format!("  {} {}", moment(line.at_ms), line.text));
            }
        }
        JobsAction::Cancel { run } => {
            office.wait(jobs.cancel(*run))?;
            let record = office.wait(jobs.run(*run))?;
            p.json(&record);
            p.line(match (p.lang, record.state.is_final()) {
                (Lang::En, true) => format!("run {run} is cancelled"),
                (Lang::En, false) => format!("run {run} was asked to stop; its steps end first"),
                (Lang::Zh, true) => format!("第 {run} 次运行已取消"),
                (Lang::Zh, false) => format!("已请求停止第 {run} 次运行，等待当前步骤结束"),
            });
        }
        JobsAction::Rerun { run, from, only, reason } => {
            let new = office.wait(jobs.rerun(&Rerun {
                run: *run,
                from: from.clone().unwrap_or_default(),
                only: *only,
                asked_by: who(),
                reason: reason.clone(),
            }))?;
            p.json(&json!({ "run": new }));
            p.line(match p.lang {
                Lang::En => format!("run {new} waits for a worker (tradewind jobs work)"),
                Lang::Zh => format!("第 {new} 次运行已排队，等待执行（tradewind jobs work）"),
            });
        }
        JobsAction::Sweep { days } => {
            let before = office.operations.database.now_ms() - i64::from(*days) * 86_400_000;
            let swept = office.wait(jobs.sweep(before))?;
            let files = office.wait(office.operations.registry.collect_garbage(A_DAY))?;
            p.json(&json!({
                "runs": swept.runs, "folders": swept.folders, "files": files.files, "bytes": files.bytes,
            }));
            p.line(match p.lang {
                Lang::En => format!(
                    "forgotten: {} runs, {} folders of results, {} files of the registry ({} bytes)",
                    swept.runs, swept.folders, files.files, files.bytes
                ),
                Lang::Zh => format!(
                    "已清理：{} 次运行，{} 个结果目录，{} 个无人引用的登记文件（{} 字节）",
                    swept.runs, swept.folders, files.files, files.bytes
                ),
            });
        }
        JobsAction::Work { slots, until_idle } => {
            let worker = office.worker(context, usize::from(*slots));
            let stop = Stop::default();
            let finished = office.runtime.block_on(async {
                if *until_idle {
                    return tokio::select! {
                        done = worker.run_until_idle() => done.map(|()| true),
                        () = interrupted(context) => Ok(false),
                    };
                }
                p.note(p.lang.pick("working; Ctrl-C ends it", "正在工作；按 Ctrl-C 结束"));
                let end = async {
                    interrupted(context).await;
                    stop.stop();
                };
                let (worked, ()) = tokio::join!(worker.run(&stop), end);
                worked.map(|()| true)
            })?;
            if !finished {
                return Ok(Exit::Interrupted);
            }
        }
    }
    Ok(Exit::Success)
}

fn state_of(state: RunState) -> State {
    match state {
        RunState::Queued => State::Queued,
        RunState::Running => State::Running,
        RunState::Succeeded => State::Succeeded,
        RunState::Failed => State::Failed,
        RunState::Cancelled => State::Cancelled,
        RunState::Cached => State::Cached,
    }
}

/// A state in words.
pub(super) fn told_state(lang: Lang, state: State) -> &'static str {
    match (lang, state) {
        (Lang::En, state) => state.code(),
        (Lang::Zh, State::Queued) => "排队中",
        (Lang::Zh, State::Running) => "进行中",
        (Lang::Zh, State::Succeeded) => "成功",
        (Lang::Zh, State::Failed) => "失败",
        (Lang::Zh, State::Cancelled) => "已取消",
        (Lang::Zh, State::Cached) => "沿用缓存",
        (Lang::Zh, State::Skipped) => "已跳过",
    }
}

fn tone_of(state: State) -> Tone {
    match state {
        State::Succeeded | State::Cached => Tone::Up,
        State::Failed => Tone::Down,
        State::Cancelled | State::Skipped => Tone::Warn,
        State::Queued | State::Running => Tone::Plain,
    }
}

/// A moment as people read it, in UTC.
pub(super) fn moment(ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(ms) {
        Some(at) if ms > 0 => at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        _ => "–".to_owned(),
    }
}

/// Whoever types.
pub(super) fn who() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default();
    if name.is_empty() { "command line".to_owned() } else { name.chars().take(100).collect() }
}

pub(super) fn table_of_runs(p: &Printer, runs: &[JobRun]) {
    let l = p.lang;
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                run.id.to_string(),
                run.pipeline.name.clone(),
                told_state(l, run.state).to_owned(),
                moment(run.created_ms),
                seconds(run.started_ms, run.finished_ms),
                run.asked_by.clone(),
                short(&run.error),
            ]
        })
        .collect();
    p.table(
        &[
            l.pick("run", "运行"),
            l.pick("pipeline", "流程"),
            l.pick("state", "状态"),
            l.pick("asked for", "提交时间"),
            l.pick("took", "用时"),
            l.pick("by", "提交者"),
            l.pick("error", "错误"),
        ],
        &rows,
        &[0, 4],
        |i| runs.get(i).map_or(Tone::Plain, |run| tone_of(run.state)),
    );
}

fn show_steps(p: &Printer, run: &JobRun, steps: &[tradewind::ops::jobs::StepRun]) {
    let l = p.lang;
    p.line(match l {
        Lang::En => format!("run {} of {}: {}", run.id, run.pipeline.name, told_state(l, run.state)),
        Lang::Zh => format!("{} 第 {} 次运行：{}", run.pipeline.name, run.id, told_state(l, run.state)),
    });
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            let output: String = step.output.chars().take(12).collect();
            vec![
                step.step.clone(),
                told_state(l, step.state).to_owned(),
                step.attempt.to_string(),
                seconds(step.started_ms, step.finished_ms),
                output,
                short(if step.error.is_empty() { &step.message } else { &step.error }),
            ]
        })
        .collect();
    p.table(
        &[
            l.pick("step", "步骤"),
            l.pick("state", "状态"),
            l.pick("attempts", "尝试"),
            l.pick("took", "用时"),
            l.pick("result", "结果指纹"),
            l.pick("message", "信息"),
        ],
        &rows,
        &[2, 3],
        |i| steps.get(i).map_or(Tone::Plain, |step| tone_of(step.state)),
    );
}

fn seconds(from_ms: i64, to_ms: i64) -> String {
    if from_ms <= 0 || to_ms < from_ms {
        "–".to_owned()
    } else {
        format!("{:.1} s", (to_ms - from_ms) as f64 / 1000.0)
    }
}

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut out: String = line.chars().take(100).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
