//! The `tradewind` command: the only place that knows terminals, exit codes, pages and HTTP.
//!
//! `args` parses, one file in `commands` does each command's work, `printer` alone writes to the terminal, `report`
//! makes pages that stand alone, `serve` is the HTTP server, `speech` puts answers into Chinese or English.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod args;
mod cause;
mod commands;
mod exit;
mod lang;
mod printer;
mod progress;
mod report;
mod serve;
mod speech;
mod status;

use crate::args::{Cli, Command, Global};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Printer;
use clap::Parser;
use clap::error::ErrorKind as ClapKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tradewind::{Error, Fault, Result, Run, Shop};

/// Trainings free and take the same blocks of a megabyte at every step. The system's allocator gives each back to the
/// kernel, and fetching it again costs a network up to half of its time; this one keeps them for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What each command is handed.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) printer: Printer,
    pub(crate) run: Run,
}

impl Context {
    /// The shop's folder: the one named; else the nearest upwards with a tradewind.toml; else ./shop.
    pub(crate) fn shop_dir(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.global.shop {
            return Ok(dir.clone());
        }
        let here = std::env::current_dir().map_err(|e| Error::file("the current folder", e))?;
        let upwards = here.ancestors().find(|d| d.join("tradewind.toml").is_file());
        Ok(upwards.map_or_else(|| here.join("shop"), PathBuf::from))
    }

    /// Opens the shop, and takes from its settings what was not given on the command line.
    pub(crate) fn open_shop(&mut self) -> Result<Shop> {
        let shop = Shop::open(&self.shop_dir()?)?;
        self.take_settings(&shop);
        Ok(shop)
    }

    pub(crate) fn take_settings(&mut self, shop: &Shop) {
        let settings = shop.settings();
        self.printer.lang = Lang::choose(self.global.lang, Lang::of_shop(settings.shop.language));
        if self.global.seed.is_none() {
            self.run.seed = settings.run.seed;
        }
        if self.global.threads.is_none() {
            self.run.threads = settings.run.threads;
        }
        if self.global.device.is_none() {
            self.run.device = settings.run.device;
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // `--help` and `--version` are answers; anything else is the user's mistake (clap itself would say 2).
            let _ = e.print();
            return match e.kind() {
                ClapKind::DisplayHelp | ClapKind::DisplayVersion => Exit::Success.into(),
                _ => Exit::User.into(),
            };
        }
    };
    let printer = Printer::new(cli.global.json, cli.global.quiet, Lang::choose(cli.global.lang, None));
    let mut run = Run::new(cli.global.seed.unwrap_or(42))
        .with_threads(cli.global.threads.unwrap_or(0).into())
        .with_device(cli.global.device.unwrap_or_default());
    if !cli.global.quiet {
        run = run.with_progress(Arc::new(progress::Terminal::new()));
    }
    // The server has an end of its own, for several signals.
    let serves = matches!(&cli.command, Command::Serve(_))
        || matches!(&cli.command, Command::Demo(args) if args.serve);
    if !serves {
        let flag = run.cancel_flag();
        // Without a handler (no such signal here) Ctrl-C still ends the process, only less gently.
        let _ = ctrlc::set_handler(move || {
            // The first asks the work to stop where nothing is half-written; the second does not wait.
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
        });
    }
    let mut context = Context { global: cli.global, printer, run };
    let answer = match cli.command {
        Command::Init(args) => commands::init::run(&context, &args),
        Command::Import(args) => commands::import::run(&mut context, &args),
        Command::Check(args) => commands::check::run(&mut context, &args),
        Command::Trends(args) => commands::trends::run(&mut context, &args),
        Command::Forecast(args) => commands::forecast::run(&mut context, &args),
        Command::Recommend(args) => commands::recommend::run(&mut context, &args),
        Command::Learn(args) => commands::learn::run(&mut context, &args),
        Command::Pipeline(args) => commands::pipeline::run(&mut context, &args.action),
        Command::Jobs(args) => commands::jobs::run(&mut context, &args.action),
        Command::Registry(args) => commands::registry::run(&mut context, &args.action),
        Command::Monitor => commands::monitor::run(&mut context),
        Command::Traffic(args) => commands::traffic::run(&mut context, &args.action),
        Command::Demo(args) => commands::demo::run(&mut context, &args),
        Command::Serve(args) => commands::serve::run(&mut context, &args),
        Command::Keys(args) => commands::keys::run(&mut context, &args),
        Command::Audit(args) => commands::audit::run(&mut context, &args),
        Command::Models(args) => commands::models::run(&context, &args),
        Command::Probe(args) => commands::probe::run(&context, &args),
        Command::Completions { shell } => Ok(commands::reference::completions(&context, shell)),
        Command::Reference { page } => commands::reference::run(&context, page),
    };
    match answer {
        Ok(exit) => exit.into(),
        Err(e) => {
            context.run.progress().end();
            context.printer.error(&told(&e), e.hint().as_deref());
            Exit::from(e.kind()).into()
        }
    }
}

/// An error with its causes, one after the other.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(c) = cause {
        let more = c.to_string();
        // Transparent wrappers repeat their cause.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = c.source();
    }
    text
}
