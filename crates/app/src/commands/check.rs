//! `tradewind check`: are the data clean, and what will cleaning do with every line?

use crate::Context;
use crate::args::{CheckArgs, Weight};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use crate::report::quality::{QualityPage, account, told};
use serde_json::json;
use tradewind::warehouse::clean::CleanReport;
use tradewind::warehouse::panel::{PanelRequest, shop_panel};
use tradewind::warehouse::quality::{self, QualityReport, Severity};
use tradewind::{Fault, Freq, Result, Shop, warehouse};

/// Examples of a finding shown on a terminal.
const EXAMPLES_SHOWN: usize = 3;

pub(crate) fn run(context: &mut Context, args: &CheckArgs) -> Result<Exit> {
    let shop = context.open_shop()?;
    let report = quality::check(&context.run, &shop)?;
    let clean = cleaning(context, &shop)?;
    let p = &context.printer;
    p.json(&json!({ "quality": report, "cleaning": clean }));
    show(context, &report, clean.as_ref());
    if let Some(path) = &args.html {
        let page = QualityPage {
            lang: p.lang,
            shop: &shop.settings().shop.name,
            report: &report,
            clean: clean.as_ref(),
        };
        warehouse::files::write_bytes(path, page.html().as_bytes())?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    let worst = report.findings.iter().map(|f| f.severity).min();
    let fails = match args.fail_on {
        None => false,
        Some(Weight::Error) => worst == Some(Severity::Error),
        Some(Weight::Warning) => worst.is_some_and(|w| w <= Severity::Warning),
    };
    Ok(if fails { Exit::User } else { Exit::Success })
}

/// What the cleaning step does with the sales lines; `None` for a shop without enough sales to clean.
fn cleaning(context: &Context, shop: &Shop) -> Result<Option<CleanReport>> {
    match shop_panel(&context.run, shop, &PanelRequest::units(Freq::DAILY)) {
        Ok((_, clean)) => Ok(Some(clean)),
        Err(e) if e.kind() == tradewind::ErrorKind::NotEnoughData => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn show(context: &Context, report: &QualityReport, clean: Option<&CleanReport>) {
    let p = &context.printer;
    let l = p.lang;
    for t in &report.tables {
        let span = t
            .columns
            .iter()
            .find(|c| c.column == "ds")
            .and_then(|c| Some((c.min.as_ref()?, c.max.as_ref()?)));
        let span = span.map(|(a, b)| format!("  {a} … {b}")).unwrap_or_default();
        p.line(match l {
            Lang::En => format!("{:12} {:>12} rows{span}", t.table, t.rows),
            Lang::Zh => format!("{:12} {:>12} 行{span}", t.table, t.rows),
        });
    }
    p.line("");
    for f in &report.findings {
        let (tone, mark) = match f.severity {
            Severity::Error => (Tone::Down, l.pick("error  ", "错误")),
            Severity::Warning => (Tone::Warn, l.pick("warning", "警告")),
            Severity::Info => (Tone::Plain, l.pick("info   ", "信息")),
        };
        let of = f.of.map(|n| format!(" / {n}")).unwrap_or_default();
        p.line(format!("{}  {} · {}: {}{of}", p.toned(tone, mark), f.table, told(l, &f.title), f.count));
        p.line(format!("         {}", told(l, &f.meaning)));
        if !f.examples.is_empty() {
            let some: Vec<&str> = f.examples.iter().take(EXAMPLES_SHOWN).map(String::as_str).collect();
            p.line(format!("         {} {}", l.pick("e.g.", "例如"), some.join(l.pick("; ", "；"))));
        }
        p.line(format!("         → {}", told(l, &f.remedy)));
    }
    if report.findings.is_empty() {
        p.line(l.pick("Nothing strange was found.", "没有发现异常。"));
    }
    if let Some(clean) = clean {
        p.line("");
        p.line(match l {
            Lang::En => format!("What cleaning does with the {} sales lines:", clean.rows),
            Lang::Zh => format!("清洗对 {} 条销售行的处理：", clean.rows),
        });
        for (text, n) in account(l, clean) {
            p.line(format!("{n:>12}  {text}"));
        }
    }
}
