//! `tradewind trends`: the main job.

use crate::Context;
use crate::args::{By, TrendsAction, TrendsArgs, TrendsEvaluateArgs, TrendsWhat};
use crate::commands::{calendar, cutoffs, read_input};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use crate::report::evaluation::EvaluationPage;
use crate::report::trends::TrendsPage;
use crate::speech;
use serde_json::{Value, json};
use std::path::Path;
use tradewind::core::calendar::Calendar;
use tradewind::trends::{Answer, Matter};
use tradewind::{Direction, Driver, Error, Freq, Result, Stamp, Trend, TrendSettings, answers, warehouse};

pub(crate) fn run(context: &mut Context, args: &TrendsArgs) -> Result<Exit> {
    if let Some(TrendsAction::Evaluate(args)) = &args.action {
        return evaluate(context, args);
    }
    let asked = Asked::prepare(context, &args.what)?;
    let cutoffs = cutoffs(&args.as_of, asked.matter.target.freq())?;
    let dates: Vec<Option<Stamp>> =
        if cutoffs.is_empty() { vec![None] } else { cutoffs.into_iter().map(Some).collect() };
    let mut all: Vec<Answer> = Vec::new();
    for cutoff in dates {
        all.push(asked.matter.predict(&context.run, &asked.settings, cutoff, &asked.calendar)?);
    }
    let freq = asked.matter.target.freq();
    let rows: Vec<Trend> = all.iter().flat_map(|a| a.report.trends.iter().cloned()).collect();
    for path in args.what.file.output.iter().chain(&args.csv) {
        let named = if args.csv.as_ref() == Some(path) && path.extension().is_none() {
            path.with_extension("csv")
        } else {
            path.clone()
        };
        warehouse::files::write_table(&named, &[answers::trend_table(&rows, freq)?])?;
        note_written(&context.printer, &named);
    }
    let Some(answer) = all.last() else { return Ok(Exit::Success) };
    show(&context.printer, answer, args.what.by, args.top, &rows, freq);
    if let Some(path) = &args.report {
        write_report(context, answer, args.what.by, args.top, &asked.shop, path)?;
    }
    Ok(Exit::Success)
}

/// Writes the page and says where it is.
pub(crate) fn write_report(
    context: &Context,
    answer: &Answer,
    by: By,
    top: usize,
    shop: &str,
    path: &Path,
) -> Result<()> {
    let shown: Vec<&str> = [Direction::Rising, Direction::Falling]
        .into_iter()
        .flat_map(|d| answer.top(d, top))
        .map(|t| t.unique_id.as_str())
        .collect();
    let paths = answer.paths(&context.run, &shown)?;
    let page = TrendsPage { lang: context.printer.lang, shop, by: by.into(), answer, top, paths: &paths };
    warehouse::files::write_bytes(path, page.html().as_bytes())?;
    note_written(&context.printer, path);
    Ok(())
}

fn note_written(p: &Printer, path: &Path) {
    p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
}

/// What a question about trends is made of.
struct Asked {
    matter: Matter,
    settings: TrendSettings,
    calendar: Calendar,
    shop: String,
}

impl Asked {
    fn prepare(context: &mut Context, what: &TrendsWhat) -> Result<Self> {
        let mut settings = TrendSettings::default();
        let (matter, calendar, shop) = if what.file.input.is_some() {
            let panel = read_input(context, &what.file)?;
            (
                Matter::of_panel(panel, what.by.into())?,
                calendar(context, &what.calendar, None)?,
                String::new(),
            )
        } else {
            let shop = context.open_shop()?;
            let s = &shop.settings().trend;
            settings =
                TrendSettings { horizon: s.horizon, threshold: s.threshold, level: s.level, ..settings };
            let calendar = calendar(context, &what.calendar, Some(&shop))?;
            let name = shop.settings().shop.name.clone();
            (Matter::of_shop(&context.run, &shop, what.by.into())?, calendar, name)
        };
        if let Some(h) = what.horizon {
            settings.horizon = h.into();
        }
        if let Some(t) = what.threshold {
            settings.threshold = t;
        }
        settings.check()?;
        Ok(Self { matter, settings, calendar, shop })
    }
}

/// The answer on the terminal.
pub(crate) fn show(p: &Printer, answer: &Answer, by: By, top: usize, rows: &[Trend], freq: Freq) {
    p.json(&json!({
        "settings": answer.report.settings, "freq": freq, "quality": answer.report.quality,
        "trends": rows.iter().map(|t| told(t, answer, freq)).collect::<Vec<_>>(),
    }));
    let l = p.lang;
    let count = |d| answer.report.count(d);
    p.line(match l {
        Lang::En => format!(
            "Known up to {}; the next {} steps against the last: {} rising, {} steady, {} falling.",
            freq.format(answer.report.cutoff),
            answer.report.settings.horizon,
            count(Direction::Rising),
            count(Direction::Steady),
            count(Direction::Falling)
        ),
        Lang::Zh => format!(
            "数据截至 {}；未来 {} 期与上一窗口相比：上升 {}，平稳 {}，下降 {}。",
            freq.format(answer.report.cutoff),
            answer.report.settings.horizon,
            count(Direction::Rising),
            count(Direction::Steady),
            count(Direction::Falling)
        ),
    });
    let slow = answer.report.too_slow();
    if slow > 0 {
        p.line(match l {
            Lang::En => format!("Another {slow} will rather sell too little for a direction."),
            Lang::Zh => format!("另有 {slow} 个预计销量过少，不作判断。"),
        });
    }
    let name = match by {
        By::Product => l.pick("product", "商品"),
        By::Category => l.pick("category", "品类"),
        By::Store => l.pick("store", "门店"),
        By::Word => l.pick("word", "词"),
    };
    for direction in [Direction::Rising, Direction::Falling] {
        let chosen = answer.top(direction, top);
        if chosen.is_empty() {
            continue;
        }
        p.line("");
        let header = [
            name,
            speech::direction(l, direction),
            l.pick("growth", "增长"),
            l.pick("interval", "区间"),
            l.pick("units", "销量"),
            l.pick("stage", "阶段"),
            l.pick("why", "原因"),
        ];
        let rows: Vec<Vec<String>> = chosen.iter().map(|t| row(l, t, answer, direction)).collect();
        let tone = if direction == Direction::Rising { Tone::Up } else { Tone::Down };
        p.table(&header, &rows, &[1, 2, 4], |_| tone);
    }
    p.line("");
    for line in speech::quality(l, answer.report.quality.as_ref(), freq) {
        p.line(line);
    }
}

fn row(l: Lang, t: &Trend, answer: &Answer, d: Direction) -> Vec<String> {
    let title = answer.label(&t.unique_id).0;
    let k = if d == Direction::Rising { 2 } else { 0 };
    vec![
        short(&title.map_or_else(|| t.unique_id.clone(), |n| format!("{} {n}", t.unique_id)), 40),
        speech::percent(t.probabilities[k]),
        speech::growth(t.growth),
        format!("{} … {}", speech::growth(t.growth_lower), speech::growth(t.growth_upper)),
        format!("{:.0} → {:.0}", t.units_last, t.units_expected),
        speech::stage(l, t.stage).to_owned(),
        causes(t).take(2).map(|c| speech::driver(l, c)).collect::<Vec<_>>().join(l.pick("; ", "；")),
    ]
}

/// The causes that push the way the trend goes; what pushes against it is told on the page.
fn causes(t: &Trend) -> impl Iterator<Item = &Driver> {
    let toward = t.direction();
    t.drivers.iter().filter(move |d| d.toward == toward)
}

/// A text cut to a width, by characters.
fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        text.chars().take(width - 1).chain(['…']).collect()
    }
}

/// A trend for machines.
fn told(t: &Trend, answer: &Answer, freq: Freq) -> Value {
    let mut value = serde_json::to_value(t).unwrap_or_default();
    if let Some(o) = value.as_object_mut() {
        o.insert("cutoff".into(), json!(freq.format(t.cutoff)));
        o.insert("direction".into(), json!(t.direction()));
        if let Some(title) = answer.label(&t.unique_id).0 {
            o.insert("title".into(), json!(title));
        }
        if let Some(points) = o.get_mut("change_points").and_then(Value::as_array_mut) {
            for (point, c) in points.iter_mut().zip(&t.change_points) {
                point["ds"] = json!(freq.format(c.ds));
            }
        }
    }
    value
}

fn evaluate(context: &mut Context, args: &TrendsEvaluateArgs) -> Result<Exit> {
    if args.what.file.output.is_some() {
        return Err(Error::asked(
            "`trends evaluate` prints figures and writes no predictions",
            "use --json for the figures, or `tradewind trends --as-of … --output FILE` for the predictions",
        ));
    }
    let asked = Asked::prepare(context, &args.what)?;
    let freq = asked.matter.target.freq();
    let cutoffs = cutoffs(&args.as_of, freq)?;
    let result = asked.matter.evaluate(
        &context.run,
        &asked.settings,
        &cutoffs,
        args.origins.into(),
        &asked.calendar,
    )?;
    let p = &context.printer;
    let l = p.lang;
    if p.json {
        let mut value = serde_json::to_value(&result).unwrap_or_default();
        // Thousands of single predictions drown the figures; `trends --as-of … --output FILE` writes them.
        value.as_object_mut().map(|o| o.shift_remove("outcomes"));
        value["cutoffs"] = json!(result.cutoffs.iter().map(|c| freq.format(*c)).collect::<Vec<_>>());
        p.json(&value);
    }
    let mut rows = vec![speech::score_row(l.pick("Tradewind", "信风"), &result.scores)];
    rows.extend(speech::naive_rows(l, &result.naive));
    rows.extend(
        result.cutoffs.iter().zip(&result.by_cutoff).map(|(c, s)| speech::score_row(&freq.format(*c), s)),
    );
    let best = |i: usize| if i == 0 { Tone::Up } else { Tone::Plain };
    p.table(&speech::score_header(l), &rows, &(1..9).collect::<Vec<_>>(), best);
    p.line("");
    p.line(match l {
        Lang::En => format!(
            "{} of the growth came inside its {:.0} % interval. F1: rising {:.3}, steady {:.3}, falling {:.3}.",
            speech::percent(result.coverage),
            result.settings.level * 100.0,
            result.scores.directions[2].f1,
            result.scores.directions[1].f1,
            result.scores.directions[0].f1
        ),
        Lang::Zh => format!(
            "{} 的增长落在其 {:.0}% 区间内。F1：上升 {:.3}，平稳 {:.3}，下降 {:.3}。",
            speech::percent(result.coverage),
            result.settings.level * 100.0,
            result.scores.directions[2].f1,
            result.scores.directions[1].f1,
            result.scores.directions[0].f1
        ),
    });
    if let Some(path) = &args.report {
        let page = EvaluationPage { lang: l, result: &result, freq };
        warehouse::files::write_bytes(path, page.html().as_bytes())?;
        note_written(p, path);
    }
    Ok(Exit::Success)
}
