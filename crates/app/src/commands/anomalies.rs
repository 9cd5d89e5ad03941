//! `tradewind forecast anomalies`: what was not to be expected in the past.

use crate::Context;
use crate::args::AnomaliesArgs;
use crate::commands::{calendar, series};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use crate::report::anomalies::AnomaliesPage;
use crate::report::plots::signed;
use crate::speech;
use serde_json::{Value, json};
use tradewind::forecast::anomalies::{Anomalies, Anomaly, AnomalySettings, Kind, anomalies};
use tradewind::{Freq, Panel, Result, answers, warehouse};

pub(crate) fn run(context: &mut Context, args: &AnomaliesArgs) -> Result<Exit> {
    let settings = AnomalySettings { false_alarms: args.false_alarms, ..AnomalySettings::default() };
    settings.check()?;
    let panel = series(context, &args.what.file, args.what.target, args.what.by, args.what.as_of.as_deref())?;
    let (calendar, name) = if args.what.file.input.is_some() {
        (calendar(context, &args.calendar, None)?, String::new())
    } else {
        let shop = context.open_shop()?;
        (calendar(context, &args.calendar, Some(&shop))?, shop.settings().shop.name.clone())
    };
    let found = anomalies(&context.run, &panel, &calendar, &settings)?;
    let p = &context.printer;
    if let Some(path) = &args.what.file.output {
        warehouse::files::write_table(path, &[answers::anomaly_table(&found.anomalies, panel.freq())?])?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    p.json(&told(&found, panel.freq()));
    show(p, &found, &panel, args.top);
    if let Some(path) = &args.html {
        let page =
            AnomaliesPage { lang: p.lang, shop: &name, panel: &panel, found: &found, settings: &settings };
        warehouse::files::write_bytes(path, page.html().as_bytes())?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    Ok(Exit::Success)
}

/// The answer for machines: stamps as dates.
fn told(found: &Anomalies, freq: Freq) -> Value {
    let one = |a: &Anomaly| {
        json!({
            "unique_id": a.unique_id, "ds": freq.format(a.ds), "until": freq.format(a.until), "y": a.y,
            "expected": a.expected, "lower": a.lower, "upper": a.upper, "score": a.score, "kind": a.kind,
            "causes": a.causes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    json!({
        "freq": freq, "n_series": found.n_series, "n_values": found.n_values, "too_short": found.too_short,
        "false_alarms": found.false_alarms, "anomalies": found.anomalies.iter().map(one).collect::<Vec<_>>(),
    })
}

fn show(p: &Printer, found: &Anomalies, panel: &Panel, top: usize) {
    let (l, freq) = (p.lang, panel.freq());
    p.line(counts(l, found));
    let mut worst: Vec<&Anomaly> = found.anomalies.iter().collect();
    worst.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
    if !worst.is_empty() {
        p.line("");
        let header = [
            l.pick("series", "序列"),
            l.pick("date", "日期"),
            l.pick("what", "类型"),
            l.pick("value", "实际"),
            l.pick("expected", "预期"),
            l.pick("usual range", "正常范围"),
            l.pick("score", "得分"),
            l.pick("likely cause", "可能原因"),
        ];
        let rows: Vec<Vec<String>> = worst
            .iter()
            .take(top)
            .map(|a| {
                vec![
                    a.unique_id.clone(),
                    when(a, freq),
                    speech::anomaly(l, a.kind).to_owned(),
                    signed(a.y),
                    signed(a.expected),
                    format!("{} … {}", signed(a.lower), signed(a.upper)),
                    format!("{:+.1}", a.score),
                    causes(l, a),
                ]
            })
            .collect();
        let tone = |k: usize| match worst[k].kind {
            Kind::Spike | Kind::LevelShiftUp => Tone::Up,
            Kind::Drop | Kind::LevelShiftDown | Kind::StockOutLike => Tone::Down,
        };
        p.table(&header, &rows, &[3, 4, 5, 6], tone);
        if worst.len() > top {
            let more = worst.len() - top;
            p.note(match l {
                Lang::En => format!("{more} more anomalies: --output FILE writes all of them"),
                Lang::Zh => format!("另有 {more} 个异常：用 --output 文件 写出全部"),
            });
        }
    }
    if !found.too_short.is_empty() {
        let n = found.too_short.len();
        p.note(match l {
            Lang::En => format!("{n} series are too short to be judged"),
            Lang::Zh => format!("{n} 个序列过短，无法判断"),
        });
    }
}

/// How many of each sort, and how many of them chance alone would give.
pub(crate) fn counts(l: Lang, found: &Anomalies) -> String {
    let of = |kinds: &[Kind]| found.anomalies.iter().filter(|a| kinds.contains(&a.kind)).count();
    let (spikes, drops, pauses) = (of(&[Kind::Spike]), of(&[Kind::Drop]), of(&[Kind::StockOutLike]));
    let shifts = of(&[Kind::LevelShiftUp, Kind::LevelShiftDown]);
    let chance = found.n_values as f64 * found.false_alarms;
    match l {
        Lang::En => format!(
            "{} values of {} series: {spikes} spikes, {drops} drops, {pauses} pauses like stock-outs, {shifts} changes of level. Chance alone would give up to about {chance:.0} single values, and a change of level in one of fifty series.",
            found.n_values, found.n_series
        ),
        Lang::Zh => format!(
            "{} 个序列共 {} 个值：突增 {spikes} 个，骤降 {drops} 个，疑似缺货 {pauses} 段，水平变化 {shifts} 处。仅凭偶然最多约出现 {chance:.0} 个异常值，约五十分之一的序列会出现一次水平变化。",
            found.n_series, found.n_values
        ),
    }
}

/// The day, or the first and the last one of a pause.
pub(crate) fn when(a: &Anomaly, freq: Freq) -> String {
    if a.until == a.ds {
        freq.format(a.ds)
    } else {
        format!("{} … {}", freq.format(a.ds), freq.format(a.until))
    }
}

/// The likely causes in words.
pub(crate) fn causes(l: Lang, a: &Anomaly) -> String {
    a.causes.iter().map(|c| speech::cause(l, c)).collect::<Vec<_>>().join(l.pick("; ", "；"))
}
