//! `tradewind monitor`: one look at what is in production.

use super::jobs::Office;
use crate::Context;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use serde_json::json;
use tradewind::ops::monitor::alerts::LineKind;
use tradewind::ops::monitor::drift::Verdict;
use tradewind::watching::{self, ForecastErrors, Seen};
use tradewind::{Freq, Result};

/// Weeks shown.
const WEEKS: usize = 8;

pub(crate) fn run(context: &mut Context) -> Result<Exit> {
    let shop = context.open_shop()?;
    let office = Office::open(&shop)?;
    let seen = office.wait(watching::look(&context.run, &office.operations))?;
    let p = &context.printer;
    p.json(&json!({
        "errors": seen.errors.as_ref().map(errors_json),
        "drift": seen.drift.iter().map(|d| json!({
            "table": d.table, "from": Freq::DAILY.format(d.from), "until": Freq::DAILY.format(d.until),
            "report": d.report,
        })).collect::<Vec<_>>(),
        "alerts": seen.lines,
        "because": seen.because,
        "run": seen.run,
    }));
    show(p, &seen);
    Ok(Exit::Success)
}

fn errors_json(e: &ForecastErrors) -> serde_json::Value {
    json!({
        "version": e.version,
        "weeks": e.weeks.iter().map(|w| json!({
            "from": e.freq.format(w.from), "until": e.freq.format(w.until), "version": w.version,
            "n": w.sums.n, "wape": w.sums.wape(), "bias": w.sums.bias(), "coverage": w.sums.coverage(),
            "alarm": w.step,
        })).collect::<Vec<_>>(),
        "expected": e.expected,
        "recent": e.recent,
        "alarm": e.alarm,
        "coming": e.coming.map(|c| json!({
            "from": e.freq.format(c.from), "until": e.freq.format(c.until), "n": c.n, "wape": c.wape, "ratio": c.ratio,
        })),
        "fit": e.fit,
        "note": e.note,
    })
}

fn show(p: &Printer, seen: &Seen) {
    match &seen.errors {
        None => p.line(p.lang.pick(
            "no version of forecasts was ever in production: run `tradewind pipeline run` first",
            "尚无投入使用的预测版本：请先运行 `tradewind pipeline run`",
        )),
        Some(e) => show_errors(p, e),
    }
    for told in &seen.drift {
        let major: Vec<&str> = told.report.at_least(Verdict::Major).map(|c| c.column.as_str()).collect();
        let table = told.table;
        let (from, until) = (Freq::DAILY.format(told.from), Freq::DAILY.format(told.until));
        p.line(match (p.lang, major.is_empty()) {
            (Lang::En, true) => format!("{table}, {from} to {until}: nothing changed in a major way"),
            (Lang::En, false) => format!("{table}, {from} to {until}: changed: {}", major.join(", ")),
            (Lang::Zh, true) => format!("{table}，{from} 至 {until}：无明显变化"),
            (Lang::Zh, false) => format!("{table}，{from} 至 {until}：明显变化的列：{}", major.join("、")),
        });
    }
    for line in &seen.lines {
        let text = p.lang.pick(line.text.as_str(), line.text_zh.as_str());
        let sign = match line.kind {
            LineKind::Firing => p.toned(Tone::Warn, "!"),
            LineKind::Still => p.toned(Tone::Warn, "·"),
            LineKind::Resolved => p.toned(Tone::Up, "✓"),
        };
        p.line(format!("{sign} {}: {text} {}", line.subject, line.details).trim_end());
    }
    if let Some(run) = seen.run {
        let why: Vec<String> = seen.because.iter().map(watching::reason).collect();
        p.line(match p.lang {
            Lang::En => format!("run {run} trains anew ({}); `tradewind jobs work` does it", why.join("; ")),
            Lang::Zh => {
                format!(
                    "已排队第 {run} 次运行以重新训练（{}）；由 `tradewind jobs work` 执行",
                    why.join("；")
                )
            }
        });
    }
}

fn show_errors(p: &Printer, e: &ForecastErrors) {
    let percent =
        |share: f64| if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".to_owned() };
    for week in e.weeks.iter().rev().take(WEEKS).rev() {
        let (from, until) = (e.freq.format(week.from), e.freq.format(week.until));
        let rang = week.step.is_some_and(|s| s.alarm);
        let mark = if rang { p.lang.pick(" ! alarm", " ! 警报") } else { "" };
        p.line(match p.lang {
            Lang::En => format!(
                "{from} to {until}  forecasts@{}  error {}  bias {}  inside 80 %: {}{mark}",
                week.version,
                percent(week.sums.wape()),
                percent(week.sums.bias()),
                percent(week.sums.coverage())
            ),
            Lang::Zh => format!(
                "{from} 至 {until}  forecasts@{}  误差 {}  偏差 {}  80% 区间命中 {}{mark}",
                week.version,
                percent(week.sums.wape()),
                percent(week.sums.bias()),
                percent(week.sums.coverage())
            ),
        });
    }
    if let Some(expected) = e.expected {
        let ratio = e.ratio().map_or("–".to_owned(), |r| format!("{r:.2}"));
        p.line(match p.lang {
            Lang::En => {
                format!("usual error {}; the last weeks have {ratio} times that", percent(expected.wape))
            }
            Lang::Zh => format!("回测误差 {}；最近几周为其 {ratio} 倍", percent(expected.wape)),
        });
    }
    if let Some(c) = &e.coming {
        let (from, until) = (e.freq.format(c.from), e.freq.format(c.until));
        p.line(match p.lang {
            Lang::En => format!(
                "{from} to {until}: an error of {} is to be expected, by intervals {:.2} times as wide as before",
                percent(c.wape),
                c.ratio
            ),
            Lang::Zh => {
                format!("{from} 至 {until}：预计误差 {}（区间宽度为此前的 {:.2} 倍）", percent(c.wape), c.ratio)
            }
        });
    }
    if let Some((en, zh)) = watching::fit_in_words(e.fit) {
        p.line(p.lang.pick(&en, &zh));
    }
    if let Some(note) = &e.note {
        p.line(note.as_str());
    }
}
