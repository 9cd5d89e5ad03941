//! `tradewind audit`: the log of changes, read and checked.

use crate::Context;
use crate::args::serve::{AuditAction, AuditArgs};
use crate::commands::keys::{time, with_access};
use crate::exit::Exit;
use crate::printer::{Printer, Tone};
use serde_json::json;
use tradewind::Result;
use tradewind::ops::access::Access;
use tradewind::ops::access::audit::{AuditFilter, Head};

pub(crate) fn run(context: &mut Context, args: &AuditArgs) -> Result<Exit> {
    with_access(context, async |printer: &Printer, access: &Access| match &args.action {
        AuditAction::List { actor, action, object, outcome, before, limit } => {
            let filter = AuditFilter {
                actor: actor.clone(),
                action: action.clone(),
                object: object.clone(),
                outcome: outcome.as_deref().map(str::parse).transpose()?,
                ..AuditFilter::default()
            };
            list(printer, access, &filter, *before, *limit).await
        }
        AuditAction::Verify { head } => {
            let noted: Option<Head> = head.as_deref().map(str::parse).transpose()?;
            verify(printer, access, noted.as_ref()).await
        }
    })
}

async fn list(
    printer: &Printer,
    access: &Access,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Exit> {
    let rows = access.audit(filter, before, limit).await?;
    let json: Vec<_> = rows
        .iter()
        .map(|r| {
            json!({
                "sequence": r.sequence,
                "at": time(r.at_ms),
                "actor": r.actor,
                "action": r.action,
                "object": r.object,
                "outcome": r.outcome,
                "details": serde_json::from_str::<serde_json::Value>(&r.details).unwrap_or_default(),
                "previous": r.previous,
                "hash": r.hash,
            })
        })
        .collect();
    printer.json(&json);
    let lang = printer.lang;
    let header = [
        lang.pick("number", "序号"),
        lang.pick("time", "时间"),
        lang.pick("who", "操作者"),
        lang.pick("action", "操作"),
        lang.pick("object", "对象"),
        lang.pick("outcome", "结果"),
    ];
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            vec![
                r.sequence.to_string(),
                time(r.at_ms),
                r.actor.clone(),
                r.action.clone(),
                r.object.clone(),
                r.outcome.clone(),
            ]
        })
        .collect();
    printer.table(&header, &lines, &[0], |i| match rows[i].outcome.as_str() {
        "done" => Tone::Plain,
        _ => Tone::Warn,
    });
    Ok(Exit::Success)
}

async fn verify(printer: &Printer, access: &Access, noted: Option<&Head>) -> Result<Exit> {
    let checked = access.verify_audit(noted).await?;
    printer.json(&json!({
        "whole": checked.is_whole(),
        "rows": checked.rows,
        "head": checked.head.to_string(),
        "breaks": checked.breaks.iter().map(|b| json!({ "sequence": b.sequence, "what": b.what })).collect::<Vec<_>>(),
    }));
    for b in &checked.breaks {
        printer.line(format!("{} {}: {}", printer.lang.pick("row", "第"), b.sequence, b.what));
    }
    printer.line(match checked.is_whole() {
        true => format!("{} ({})", printer.lang.pick("the audit log is whole", "审计日志完整"), checked.rows),
        false => printer.lang.pick("the audit log is broken", "审计日志已被改动").to_owned(),
    });
    printer.line(format!("{} {}", printer.lang.pick("head", "链尾"), checked.head));
    Ok(if checked.is_whole() { Exit::Success } else { Exit::User })
}
