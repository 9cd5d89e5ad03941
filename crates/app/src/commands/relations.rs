//! `tradewind forecast relations`: what runs ahead of what.

use crate::Context;
use crate::args::RelationsArgs;
use crate::commands::series;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use serde_json::json;
use std::collections::BTreeMap;
use tradewind::forecast::relations::{Reason, Relation, RelationSettings, Relations, Source, relations};
use tradewind::{Freq, Result, answers, warehouse};

/// Columns told in the summary.
const COLUMNS_SHOWN: usize = 20;

pub(crate) fn run(context: &mut Context, args: &RelationsArgs) -> Result<Exit> {
    let panel = series(context, &args.what.file, args.what.target, args.what.by, args.what.as_of.as_deref())?;
    let has_categories = panel.statics().iter().any(|c| c.name == "category");
    let settings = RelationSettings {
        max_lag: args.max_lag.map(usize::from),
        level: args.level,
        peers: args.peers.into(),
        peer_group: has_categories.then(|| "category".to_owned()),
        ..RelationSettings::default()
    };
    let found = relations(&context.run, &panel, &[], &settings)?;
    let p = &context.printer;
    if let Some(path) = &args.what.file.output {
        warehouse::files::write_table(path, &[answers::relation_table(&found)?])?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    p.json(&json!({ "freq": panel.freq(), "found": found }));
    show(p, &found, panel.freq(), args.top);
    Ok(Exit::Success)
}

fn show(p: &Printer, found: &Relations, freq: Freq, top: usize) {
    let l = p.lang;
    let sure: Vec<&Relation> = found.significant().collect();
    p.line(match l {
        Lang::En => format!(
            "{} pairs of {} series were looked at, with lags up to {} ({freq}): {} tests. {} relations hold; at most {} of those told are false, in expectation.",
            found.relations.len(), found.n_series, found.max_lag, found.n_tests, sure.len(), percent(found.level)
        ),
        Lang::Zh => format!(
            "共考察 {} 个序列的 {} 对关系，最大滞后 {}（{freq}），检验 {} 次。成立的关系有 {} 个；其中误报的期望比例不超过 {}。",
            found.n_series, found.relations.len(), found.max_lag, found.n_tests, sure.len(), percent(found.level)
        ),
    });
    summary(p, found, &sure);
    if !sure.is_empty() {
        p.line("");
        let header = [
            l.pick("series", "序列"),
            l.pick("led by", "领先序列"),
            l.pick("lag", "滞后"),
            l.pick("correlation", "相关"),
            l.pick("q-value", "q 值"),
            l.pick("error less", "误差减少"),
        ];
        let rows: Vec<Vec<String>> = sure.iter().take(top).map(|r| row(l, r)).collect();
        p.table(&header, &rows, &[2, 3, 4, 5], |k| {
            if sure[k].correlation >= 0.0 { Tone::Up } else { Tone::Down }
        });
        if sure.len() > top {
            let more = sure.len() - top;
            p.note(match l {
                Lang::En => format!("{more} more relations: --output FILE writes all of them"),
                Lang::Zh => format!("另有 {more} 个关系：用 --output 文件 写出全部"),
            });
        }
        p.line("");
        p.line(l.pick(
            "A relation tells who runs ahead, not who is the cause. \"Error less\" is the share of the squared error, one step ahead, that the leading series takes away on steps that were not looked at before; near 0 or below, it does not help a forecast.",
            "关系只说明谁领先，不说明因果。“误差减少”指领先序列在此前未使用的时段上使一步预测平方误差下降的比例；接近或低于 0 表示对预测没有帮助。",
        ));
    }
    for out in &found.left_out {
        p.note(left_out(l, out.reason, out.led, out.n, &out.examples));
    }
}

/// One line for each kind of leading column, over all series.
fn summary(p: &Printer, found: &Relations, sure: &[&Relation]) {
    let l = p.lang;
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    for r in found.relations.iter().filter(|r| r.source == Source::Column) {
        *tried.entry(&r.outside).or_default() += 1;
    }
    if found.n_series < 2 || tried.is_empty() {
        return;
    }
    let mut rows = Vec::new();
    for (name, n) in tried {
        let mut of: Vec<&&Relation> =
            sure.iter().filter(|r| r.source == Source::Column && r.outside == name).collect();
        if of.is_empty() {
            continue;
        }
        let n_sure = of.len();
        let mut middle = |key: fn(&Relation) -> f64| {
            of.sort_by(|a, b| key(a).total_cmp(&key(b)));
            key(of[n_sure / 2])
        };
        let (lag, r) = (middle(|r| r.lag as f64), middle(|r| r.correlation));
        let gain = middle(|r| r.improvement);
        rows.push((
            n_sure,
            vec![
                name.to_owned(),
                format!("{n_sure} / {n}"),
                format!("{lag:.0}"),
                format!("{r:+.2}"),
                share(gain),
            ],
        ));
    }
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1[0].cmp(&b.1[0])));
    let header = [
        l.pick("column", "列"),
        l.pick("leads", "领先的序列数"),
        l.pick("median lag", "滞后中位数"),
        l.pick("median correlation", "相关中位数"),
        l.pick("median error less", "误差减少中位数"),
    ];
    p.line("");
    let rows: Vec<Vec<String>> = rows.into_iter().take(COLUMNS_SHOWN).map(|r| r.1).collect();
    p.table(&header, &rows, &[1, 2, 3, 4], |_| Tone::Plain);
}

fn row(l: Lang, r: &Relation) -> Vec<String> {
    let outside = match r.source {
        Source::Series => format!("{} {}", l.pick("series", "序列"), r.outside),
        Source::Column | Source::Market => r.outside.clone(),
    };
    vec![
        r.series.clone(),
        outside,
        r.lag.to_string(),
        format!("{:+.2}", r.correlation),
        if r.q_value < 1e-4 { "<0.0001".to_owned() } else { format!("{:.4}", r.q_value) },
        share(r.improvement),
    ]
}

fn percent(v: f64) -> String {
    format!("{:.0}%", v * 100.0)
}

fn share(v: f64) -> String {
    if v.is_finite() { format!("{:+.1}%", v * 100.0) } else { "–".to_owned() }
}

fn left_out(l: Lang, reason: Reason, led: bool, n: usize, examples: &[String]) -> String {
    let why = match reason {
        Reason::TooShort => l.pick("too few known values", "已知值太少"),
        Reason::Constant => l.pick("(almost) always the same value", "几乎恒定不变"),
        Reason::Copy => l.pick("the outside series is the series itself", "外部序列就是该序列本身"),
        Reason::Overlap => l.pick("known together too seldom", "共同已知的时段太短"),
    };
    let some = examples.join(l.pick(", ", "、"));
    match (l, led) {
        (Lang::En, true) => format!("{n} series left out: {why} ({some})"),
        (Lang::En, false) => format!("{n} pairs left out: {why} ({some})"),
        (Lang::Zh, true) => format!("略去 {n} 个序列：{why}（{some}）"),
        (Lang::Zh, false) => format!("略去 {n} 对：{why}（{some}）"),
    }
}
