//! `tradewind import`: files into the shop.

use crate::Context;
use crate::args::ImportArgs;
use crate::exit::Exit;
use crate::lang::Lang;
use tradewind::Result;
use tradewind::import::{Columns, FileOutcome, ImportOutcome, ImportRequest, import};

pub(crate) fn run(context: &mut Context, args: &ImportArgs) -> Result<Exit> {
    let shop = context.open_shop()?;
    if let Some(id) = args.undo {
        let gone = shop.remove_import(id)?;
        let p = &context.printer;
        p.json(&gone);
        p.line(match p.lang {
            Lang::En => format!("took back import {id} ({})", gone.name),
            Lang::Zh => format!("已撤回第 {id} 次导入（{}）", gone.name),
        });
        return Ok(Exit::Success);
    }
    let columns = match (&args.preset, &args.mapping) {
        (Some(name), _) => Columns::Preset(name.clone()),
        (None, Some(file)) => Columns::Mapping(file.clone()),
        (None, None) => Columns::Detect,
    };
    let request = ImportRequest {
        paths: args.paths.clone(),
        columns,
        table: args.table.clone(),
        max_rejects: args.max_rejects.as_deref().map(str::parse).transpose()?,
        rejects: args.rejects.clone(),
        chinese: context.printer.lang == Lang::Zh,
    };
    let outcome = import(&context.run, &shop, &request)?;
    show(context, &outcome);
    Ok(Exit::Success)
}

fn show(context: &Context, outcome: &ImportOutcome) {
    let p = &context.printer;
    p.json(outcome);
    for file in &outcome.files {
        match file {
            FileOutcome::Imported { import, summary } => {
                let tables = import
                    .tables
                    .iter()
                    .map(|t| format!("{} {}", t.table, t.rows))
                    .collect::<Vec<_>>()
                    .join(", ");
                p.line(match p.lang {
                    Lang::En => format!(
                        "{} ({}; {}): {} lines = {} used ({} returned, {} cancelled among them) + {} rejected + {} of no table → {tables}",
                        summary.file, import.preset, summary.format, summary.lines, summary.used, summary.returned, summary.cancelled, summary.rejected, summary.unused
                    ),
                    Lang::Zh => format!(
                        "{}（{}；{}）：共 {} 行 = 采用 {}（其中退货 {}，取消 {}）+ 拒绝 {} + 无关 {} → {tables}",
                        summary.file, import.preset, summary.format, summary.lines, summary.used, summary.returned, summary.cancelled, summary.rejected, summary.unused
                    ),
                });
                for r in &summary.reasons {
                    let column = if r.column.is_empty() { String::new() } else { format!("`{}` ", r.column) };
                    p.line(format!("  {} × {column}{}", r.rows, p.lang.pick(&r.en, &r.zh)));
                }
                for note in &summary.notes {
                    p.note(format!("  {note}"));
                }
            }
            FileOutcome::AlreadyThere { file, import } => p.line(match p.lang {
                Lang::En => format!("{file}: already in the shop as import {import}; nothing changed"),
                Lang::Zh => format!("{file}：已作为第 {import} 次导入存在，未作改动"),
            }),
            FileOutcome::Skipped { file, why } => p.line(match p.lang {
                Lang::En => format!("{file}: left alone: {why}"),
                Lang::Zh => format!("{file}：未导入：{why}"),
            }),
        }
    }
    if let Some(path) = &outcome.rejects {
        p.line(match p.lang {
            Lang::En => format!("{} rejected rows, with their reasons: {}", outcome.rejected, path.display()),
            Lang::Zh => format!("{} 行被拒绝，原因见 {}", outcome.rejected, path.display()),
        });
    }
}
