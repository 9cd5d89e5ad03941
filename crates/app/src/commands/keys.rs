//! `tradewind keys`: keys of the server, made and taken by who can reach the shop's state.

use crate::Context;
use crate::args::serve::{KeysAction, KeysArgs, RoleArg};
use crate::exit::Exit;
use crate::printer::Printer;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;
use tradewind::ops::access::{Access, KeyRecord, NewKey, Role, Scopes, Secret};
use tradewind::{Error, Result};

const DAY_MS: i64 = 86_400_000;

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Analyst => Self::Analyst,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(context: &mut Context, args: &KeysArgs) -> Result<Exit> {
    let actor = actor();
    with_access(context, async |printer: &Printer, access: &Access| {
        let now = access.database().now_ms();
        match &args.action {
            KeysAction::Create { role, name, scopes, days } => {
                let scopes = match scopes {
                    Some(names) => Scopes::of_names(names)?,
                    None => Scopes::All,
                };
                let expires_ms = days.map(|d| now + i64::from(d) * DAY_MS);
                let new = NewKey { name: name.clone(), role: (*role).into(), scopes, expires_ms };
                let (key, secret) = access.create_key(&actor, new).await?;
                made(printer, &key, &secret, now);
            }
            KeysAction::List => list(printer, &access.keys().await?, now),
            KeysAction::Revoke { id } => {
                let key = access.revoke(&actor, id).await?;
                printer.json(&told(&key, now));
                printer.line(format!("{} {id}", printer.lang.pick("revoked", "已吊销")));
            }
            KeysAction::Rotate { id, overlap_hours } => {
                let overlap = Duration::from_secs(u64::from(*overlap_hours) * 3_600);
                let (key, secret) = access.rotate(&actor, id, overlap).await?;
                made(printer, &key, &secret, now);
            }
        }
        Ok(Exit::Success)
    })
}

/// Opens the shop's state and does `work` with its keys.
pub(crate) fn with_access(
    context: &mut Context,
    work: impl AsyncFnOnce(&Printer, &Access) -> Result<Exit>,
) -> Result<Exit> {
    let shop = context.open_shop()?;
    block_on(async {
        let access = Access::open(tradewind::operations::open_state(&shop).await?).await?;
        let answer = work(&context.printer, &access).await;
        access.database().close().await;
        answer
    })
}

pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::asked(format!("no threads to work with: {e}"), "try again"))?
        .block_on(work)
}

/// Who works at this machine, as the audit log names it.
pub(crate) fn actor() -> String {
    let user =
        ["USER", "LOGNAME", "USERNAME"].iter().find_map(|v| std::env::var(v).ok().filter(|u| !u.is_empty()));
    format!("local:{}", user.as_deref().unwrap_or("unknown"))
}

pub(crate) fn time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn told(key: &KeyRecord, now: i64) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "scopes": key.scopes.names(),
        "state": key.state(now).name(),
        "created_at": time(key.created_ms),
        "created_by": key.created_by,
        "expires_at": key.expires_ms.map(time),
        "revoked_at": key.revoked_ms.map(time),
        "successor": key.successor,
        "last_used_at": key.last_used_ms.map(time),
    })
}

fn made(printer: &Printer, key: &KeyRecord, secret: &Secret, now: i64) {
    printer.json(&json!({ "key": told(key, now), "secret": secret.expose() }));
    printer.line(secret.expose());
    printer.note(
        printer
            .lang
            .pick("this is the only time that the key is shown: keep it now", "密钥只显示这一次，请立即保存"),
    );
}

fn list(printer: &Printer, keys: &[KeyRecord], now: i64) {
    printer.json(&keys.iter().map(|k| told(k, now)).collect::<Vec<_>>());
    let lang = printer.lang;
    let header = [
        "id",
        lang.pick("name", "名称"),
        lang.pick("role", "角色"),
        lang.pick("scopes", "范围"),
        lang.pick("state", "状态"),
        lang.pick("made", "创建时间"),
        lang.pick("ends", "到期时间"),
        lang.pick("last used", "最近使用"),
    ];
    let never = || lang.pick("never", "从不").to_owned();
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|k| {
            vec![
                k.id.clone(),
                k.name.clone(),
                k.role.name().to_owned(),
                k.scopes.names().join(","),
                k.state(now).name().to_owned(),
                time(k.created_ms),
                k.expires_ms.map_or_else(never, time),
                k.last_used_ms.map_or_else(never, time),
            ]
        })
        .collect();
    printer.table(&header, &rows, &[], |_| crate::printer::Tone::Plain);
}
