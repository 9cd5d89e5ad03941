//! `tradewind serve`: settings and the command line in, the server until a signal ends it.

use crate::Context;
use crate::args::serve::ServeArgs;
use crate::exit::Exit;
use crate::serve::{self, Listening, Process};
use serde_json::json;
use std::net::SocketAddr;
use tracing::level_filters::LevelFilter;
use tradewind::{Error, Result};

pub(crate) fn run(context: &mut Context, args: &ServeArgs) -> Result<Exit> {
    let shop = context.open_shop()?;
    let mut settings = shop.settings().serve.clone();
    if let Some(listen) = &args.listen {
        settings.listen.clone_from(listen);
    }
    let process = Process {
        threads: context.run.threads,
        device: context.run.device,
        steps_at_once: args.work.into(),
        log: LevelFilter::INFO,
    };
    let printer = context.printer.clone();
    serve::run(&shop, settings, process, |told: &Listening| {
        let scheme = if told.tls { "https" } else { "http" };
        if printer.json {
            let line = json!({
                "listening": told.address, "url": format!("{scheme}://{}", told.address), "metrics": told.metrics,
            });
            // One line, so that whoever started the server can read it and go on.
            printer.raw(&format!("{line}\n"));
        } else {
            printer.line(format!(
                "{} {scheme}://{}",
                printer.lang.pick("listening on", "服务地址"),
                told.address
            ));
        }
        if !told.has_keys {
            printer.note(printer.lang.pick(
                "there is no key yet, so nobody is let in: tradewind keys create --role admin",
                "还没有密钥，任何请求都会被拒绝：tradewind keys create --role admin",
            ));
        }
        if !told.tls && !told.address.ip().is_loopback() {
            printer.note(printer.lang.pick(
                "keys travel unencrypted: set [serve] tls_certificate and tls_key, or put a proxy with HTTPS in front",
                "密钥以明文传输：请设置 [serve] tls_certificate 与 tls_key，或在前面放置 HTTPS 代理",
            ));
        }
        match &args.address_file {
            Some(path) => write_whole(path, told.address),
            None => Ok(()),
        }
    })?;
    Ok(Exit::Success)
}

/// Whole or absent: who waits for the file never reads half an address.
fn write_whole(path: &std::path::Path, address: SocketAddr) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    std::fs::write(&beside, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|e| Error::file(path, e))
}
