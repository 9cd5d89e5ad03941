//! `tradewind registry`: versions of models, which of them answers, and how that came about.

use super::jobs::{Office, moment, who};
use crate::Context;
use crate::args::registry::RegistryAction;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use serde_json::{Value, json};
use tradewind::ops::registry::{
    Change, Comparison, Expect, ImportSettings, ModelSummary, Move, Notes, Page, Promotion, Reference,
    Report, Version, VersionFilter,
};
use tradewind::{Error, Result};

pub(crate) fn run(context: &mut Context, action: &RegistryAction) -> Result<Exit> {
    let shop = context.open_shop()?;
    let office = Office::open(&shop)?;
    let (p, registry) = (&context.printer, &office.operations.registry);
    match action {
        RegistryAction::List { model: None, limit, .. } => {
            let page = Page { after: None, limit: *limit };
            show_models(p, &office.wait(registry.models(&page))?.items);
        }
        RegistryAction::List { model: Some(model), archived, limit } => {
            let page = Page { after: None, limit: *limit };
            let filter = VersionFilter { archived: *archived, ..VersionFilter::default() };
            show_versions(p, &office.wait(registry.versions(model, filter, &page))?.items);
        }
        RegistryAction::Show { reference: named } => {
            show_version(p, &office.wait(registry.version(&reference(named)?))?);
        }
        RegistryAction::Promote { reference: named, alias, reason, approval } => {
            let change = Change { approval: approval.clone(), ..Change::new(who(), reason) };
            let line = office.wait(registry.promote(&reference(named)?, alias, Expect::Anybody, &change))?;
            show_history(p, &[line]);
        }
        RegistryAction::RollBack { model, alias, reason } => {
            let change = Change::new(who(), reason);
            let line = office.wait(registry.roll_back(model, alias, Expect::Anybody, &change))?;
            show_history(p, &[line]);
        }
        RegistryAction::History { model, alias, limit } => {
            let page = Page { after: None, limit: *limit };
            show_history(p, &office.wait(registry.history(model, alias.as_deref(), &page))?.items);
        }
        RegistryAction::Compare { left, right } => {
            show_comparison(p, &office.wait(registry.compare(&reference(left)?, &reference(right)?))?);
        }
        RegistryAction::Annotate { reference: named, notes, tags, untag } => {
            let mut change = Notes { text: notes.clone(), unset: untag.clone(), ..Notes::default() };
            for tag in tags {
                let (name, value) = tag.split_once('=').ok_or_else(|| {
                    Error::asked(format!("`{tag}` is no tag"), "give NAME=VALUE, as team=pricing")
                })?;
                change.set.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            show_version(p, &office.wait(registry.annotate(&reference(named)?, &change))?);
        }
        RegistryAction::Archive { reference: named } => {
            show_version(p, &office.wait(registry.archive(&reference(named)?))?);
        }
        RegistryAction::Restore { reference: named } => {
            show_version(p, &office.wait(registry.restore(&reference(named)?))?);
        }
        RegistryAction::Export { reference: named, output } => {
            let version = office.wait(registry.export(&reference(named)?, output))?;
            p.json(&version_json(&version));
            p.line(match p.lang {
                Lang::En => format!("{} is in {}", version.reference(), output.display()),
                Lang::Zh => format!("{} 已写入 {}", version.reference(), output.display()),
            });
        }
        RegistryAction::Import { file, name } => {
            let settings =
                ImportSettings { name: name.clone(), created_by: who(), ..ImportSettings::default() };
            show_version(p, &office.wait(registry.import(file, &settings))?);
        }
        RegistryAction::Verify => {
            let report = office.wait(registry.verify())?;
            show_report(p, &report);
            if !report.is_sound() {
                return Ok(Exit::User);
            }
        }
    }
    Ok(Exit::Success)
}

fn reference(text: &str) -> Result<Reference> {
    Ok(text.parse::<Reference>()?)
}

fn show_models(p: &Printer, models: &[ModelSummary]) {
    let aliases = |m: &ModelSummary| -> Vec<(String, u64)> {
        m.aliases.iter().map(|a| (a.name.clone(), a.number)).collect()
    };
    let json: Vec<Value> = models
        .iter()
        .map(|m| {
            let aliases: serde_json::Map<String, Value> =
                aliases(m).into_iter().map(|(name, number)| (name, json!(number))).collect();
            json!({ "name": m.name, "versions": m.versions, "created": moment(m.created_ms), "aliases": aliases })
        })
        .collect();
    p.json(&json);
    if models.is_empty() {
        p.line(p.lang.pick(
            "there are no models; `tradewind pipeline run` makes the shop's",
            "还没有模型；用 tradewind pipeline run 生成本店的模型",
        ));
        return;
    }
    let l = p.lang;
    let header = [
        l.pick("model", "模型"),
        l.pick("versions", "版本数"),
        l.pick("aliases", "别名"),
        l.pick("first", "首次登记"),
    ];
    let rows: Vec<Vec<String>> = models
        .iter()
        .map(|m| {
            let aliases: Vec<String> =
                aliases(m).into_iter().map(|(name, number)| format!("{name} → {number}")).collect();
            vec![m.name.clone(), m.versions.to_string(), aliases.join(", "), moment(m.created_ms)]
        })
        .collect();
    p.table(&header, &rows, &[1], |_| Tone::Plain);
}

fn version_json(v: &Version) -> Value {
    json!({
        "name": v.name, "number": v.number, "kind": v.kind.name(), "artifact_hash": v.artifact_hash,
        "created": moment(v.created_ms), "created_by": v.created_by, "archived": v.archived_ms.map(moment),
        "tags": v.tags, "notes": v.notes, "manifest": v.manifest,
    })
}

fn measures(v: &Version) -> String {
    let measures: Vec<String> =
        v.manifest.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    measures.join(", ")
}

fn show_versions(p: &Printer, versions: &[Version]) {
    p.json(&versions.iter().map(version_json).collect::<Vec<_>>());
    let l = p.lang;
    let header = [
        l.pick("version", "版本"),
        l.pick("registered", "登记时间"),
        l.pick("by", "登记者"),
        l.pick("measures", "指标"),
        l.pick("artifact", "指纹"),
    ];
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|v| {
            let hash = v.artifact_hash.chars().take(12).collect();
            vec![v.reference().to_string(), moment(v.created_ms), v.created_by.clone(), measures(v), hash]
        })
        .collect();
    p.table(&header, &rows, &[], |i| {
        if versions.get(i).is_some_and(|v| v.archived_ms.is_some()) { Tone::Warn } else { Tone::Plain }
    });
}

fn show_version(p: &Printer, v: &Version) {
    p.json(&version_json(v));
    let l = p.lang;
    let mut lines = vec![
        (l.pick("version", "版本"), v.reference().to_string()),
        (l.pick("kind", "种类"), v.kind.name().to_owned()),
        (l.pick("artifact", "指纹"), v.artifact_hash.clone()),
        (l.pick("data", "数据指纹"), v.manifest.data_fingerprint.clone()),
        (l.pick("registered", "登记时间"), format!("{} ({})", moment(v.created_ms), v.created_by)),
        (l.pick("measures", "指标"), measures(v)),
        (l.pick("parameters", "参数"), v.manifest.params.to_string()),
        (l.pick("seed", "种子"), v.manifest.seed.to_string()),
        (l.pick("made by", "程序版本"), v.manifest.code_version.clone()),
        (l.pick("bytes", "字节数"), v.manifest.bytes().to_string()),
    ];
    if !v.tags.is_empty() {
        let tags: Vec<String> = v.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.push((l.pick("tags", "标签"), tags.join(", ")));
    }
    if !v.notes.is_empty() {
        lines.push((l.pick("notes", "备注"), v.notes.clone()));
    }
    if let Some(at) = v.archived_ms {
        lines.push((l.pick("archived", "归档时间"), moment(at)));
    }
    let rows: Vec<Vec<String>> = lines.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect();
    p.table(&["", ""], &rows, &[], |_| Tone::Plain);
}

fn told_move(l: Lang, kind: Move) -> &'static str {
    match kind {
        Move::Promote => l.pick("promoted", "晋升"),
        Move::RollBack => l.pick("rolled back", "回退"),
        Move::Remove => l.pick("removed", "移除"),
    }
}

fn show_history(p: &Printer, lines: &[Promotion]) {
    let json: Vec<Value> = lines
        .iter()
        .map(|h| {
            json!({
                "sequence": h.sequence, "alias": h.alias, "kind": h.kind.name(), "from": h.from, "to": h.to,
                "actor": h.change.actor, "role": h.change.role, "approval": h.change.approval,
                "reason": h.change.reason, "at": moment(h.at_ms),
            })
        })
        .collect();
    p.json(&json);
    let l = p.lang;
    let header = [
        l.pick("number", "序号"),
        l.pick("time", "时间"),
        l.pick("alias", "别名"),
        l.pick("what", "操作"),
        l.pick("from", "原版本"),
        l.pick("to", "新版本"),
        l.pick("who", "操作者"),
        l.pick("why", "原因"),
    ];
    let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|h| {
            vec![
                h.sequence.to_string(),
                moment(h.at_ms),
                h.alias.clone(),
                told_move(l, h.kind).to_owned(),
                number(h.from),
                number(h.to),
                h.change.actor.clone(),
                h.change.reason.clone(),
            ]
        })
        .collect();
    p.table(&header, &rows, &[0, 4, 5], |_| Tone::Plain);
}

fn show_comparison(p: &Printer, c: &Comparison) {
    let differences: Vec<[String; 4]> = {
        let value = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
        let text = |v: Option<&Value>| v.map_or_else(|| "–".to_owned(), Value::to_string);
        let bytes = |v: Option<u64>| v.map_or_else(|| "–".to_owned(), |v| v.to_string());
        let l = p.lang;
        let metrics = c
            .metrics
            .iter()
            .map(|m| [l.pick("measure", "指标").to_owned(), m.name.clone(), value(m.left), value(m.right)]);
        let params = c.params.iter().map(|m| {
            [
                l.pick("parameter", "参数").to_owned(),
                m.path.clone(),
                text(m.left.as_ref()),
                text(m.right.as_ref()),
            ]
        });
        let files = c
            .files
            .iter()
            .map(|m| [l.pick("file", "文件").to_owned(), m.path.clone(), bytes(m.left), bytes(m.right)]);
        metrics.chain(params).chain(files).collect()
    };
    let metrics: Vec<Value> =
        c.metrics.iter().map(|m| json!({ "name": m.name, "left": m.left, "right": m.right })).collect();
    let params: Vec<Value> =
        c.params.iter().map(|m| json!({ "path": m.path, "left": m.left, "right": m.right })).collect();
    let files: Vec<Value> =
        c.files.iter().map(|m| json!({ "path": m.path, "left": m.left, "right": m.right })).collect();
    p.json(&json!({ "metrics": metrics, "params": params, "files": files }));
    let l = p.lang;
    let header = ["", l.pick("name", "名称"), l.pick("first", "前者"), l.pick("second", "后者")];
    let rows: Vec<Vec<String>> = differences.into_iter().map(Vec::from).collect();
    p.table(&header, &rows, &[2, 3], |_| Tone::Plain);
}

fn show_report(p: &Printer, report: &Report) {
    let findings: Vec<Value> =
        report.findings.iter().map(|f| json!({ "subject": f.subject, "problem": f.problem })).collect();
    p.json(&json!({
        "models": report.models, "versions": report.versions, "files": report.files, "bytes": report.bytes,
        "unknown_files": report.unknown_files, "faults": report.faults, "findings": findings,
    }));
    p.line(match p.lang {
        Lang::En => format!(
            "{} models, {} versions, {} files read ({} bytes): {} faults",
            report.models, report.versions, report.files, report.bytes, report.faults
        ),
        Lang::Zh => format!(
            "{} 个模型，{} 个版本，读取 {} 个文件（{} 字节）：{} 处问题",
            report.models, report.versions, report.files, report.bytes, report.faults
        ),
    });
    for finding in &report.findings {
        p.line(format!("  {}: {}", finding.subject, finding.problem));
    }
}
