//! `tradewind reference` (hidden) and `tradewind completions`: texts made from the code.

use crate::Context;
use crate::args::{Cli, ReferencePage};
use crate::exit::Exit;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;
use tradewind::core::ParamSpec;
use tradewind::core::tables::TABLES;
use tradewind::{Result, forecast, ingest, learn, recommend, warehouse};

pub(crate) fn completions(context: &Context, shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tradewind", &mut text);
    context.printer.raw(&String::from_utf8_lossy(&text));
    Exit::Success
}

pub(crate) fn run(context: &Context, page: ReferencePage) -> Result<Exit> {
    let text = match page {
        ReferencePage::Models => models(),
        ReferencePage::Learners => learners(),
        ReferencePage::Recommenders => recommenders(),
        ReferencePage::Tables => tables(),
        ReferencePage::Commands => commands(),
        ReferencePage::Settings => format!(
            "# Settings\n\n{MADE}\nThe settings of a shop are its `tradewind.toml`. This is the file that `tradewind init` writes, with every default.\n\n```toml\n{}```\n",
            warehouse::settings::TEMPLATE
        ),
        ReferencePage::Openapi => crate::serve::openapi_text(false)?,
    };
    context.printer.raw(&text);
    Ok(Exit::Success)
}

const MADE: &str = "Made from the code by `cargo xtask tidy --write`; do not edit.\n";

/// A text inside a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn models() -> String {
    let mut out = format!("# Models\n\n{MADE}");
    for e in forecast::CATALOG {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n## {}\n\n{}\n{}\n\nSource: {}.\n",
            e.name,
            e.summary,
            e.summary_zh,
            e.source.trim_end_matches('.')
        );
        let _ = write!(out, "Needs at least {} observations", e.needs.min_observations);
        if e.needs.min_seasons > 0 {
            let _ = write!(out, " and {} whole seasons", e.needs.min_seasons);
        }
        let _ = writeln!(out, "{}.", if e.needs.positive { ", all above zero" } else { "" });
        parameters(&mut out, e.params);
    }
    out
}

fn recommenders() -> String {
    let mut out = format!(
        "# Recommenders\n\n{MADE}\nFor `tradewind recommend`; [the guide](../guide/recommend.md) shows how.\n"
    );
    for e in recommend::CATALOG {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n## {}\n\n{}\n{}\n\nThe order of a history {}.\nSource: {}.\n",
            e.name,
            e.summary,
            e.summary_zh,
            if e.ordered { "matters" } else { "does not matter" },
            e.source.trim_end_matches('.')
        );
        parameters(&mut out, e.params);
    }
    out
}

fn learners() -> String {
    let mut out =
        format!("# Estimators\n\n{MADE}\nFor `tradewind learn`; [the guide](../guide/learn.md) shows how.\n");
    for e in learn::CATALOG {
        let tasks = e.tasks.iter().map(|t| t.word()).collect::<Vec<_>>().join(", ");
        let bears: Vec<&str> = [
            (e.bears.missing, "missing values"),
            (e.bears.categories, "categories"),
            (e.bears.any_scale, "columns of any scale"),
            (e.bears.weights, "weights"),
        ]
        .into_iter()
        .filter_map(|(can, what)| can.then_some(what))
        .collect();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\n## {}\n\n{}\n{}\n\nLearns: {tasks}.\nTakes as they are: {}.\nSource: {}.\n",
            e.name,
            e.summary,
            e.summary_zh,
            if bears.is_empty() { "complete numbers of one scale".to_owned() } else { bears.join(", ") },
            e.source.trim_end_matches('.')
        );
        parameters(&mut out, e.params);
    }
    out
}

fn parameters(out: &mut String, params: &[ParamSpec]) {
    if params.is_empty() {
        return;
    }
    let _ = write!(out, "\n| parameter | range | default | meaning |\n|---|---|---|---|\n");
    for s in params {
        let default = if s.default.is_empty() { "from the data" } else { s.default };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            s.name,
            cell(&s.kind.to_string()),
            cell(default),
            cell(s.summary)
        );
    }
}

fn tables() -> String {
    let mut out = format!("# Tables\n\n{MADE}\nThe canonical tables of a shop. Bold columns are required.\n");
    for t in TABLES {
        let key = if t.key.is_empty() { "none; every row is kept".to_owned() } else { t.key.join(", ") };
        let _ = write!(
            out,
            "\n## {}\n\n{} (schema version {}; key: {key}).\n\n| column | type | unit | meaning |\n|---|---|---|---|\n",
            t.name, t.summary, t.version
        );
        for c in t.columns {
            let name = if c.required { format!("**{}**", c.name) } else { c.name.to_owned() };
            let kind = format!("{:?}", c.kind).to_lowercase();
            let _ = writeln!(out, "| {name} | {kind} | {} | {} |", cell(c.unit), cell(c.summary));
        }
    }
    let _ = write!(out, "\n## Presets\n\n| preset | for |\n|---|---|\n");
    for p in ingest::presets() {
        let _ = writeln!(out, "| `{}` | {} |", p.name, cell(&p.summary.en));
    }
    out
}

fn commands() -> String {
    let mut root = Cli::command();
    root.build();
    let mut out = format!("# Commands\n\n{MADE}");
    let _ = write!(out, "\n## Options of every command\n\n");
    options(&mut out, root.get_arguments().filter(|a| a.is_global_set()));
    let _ = write!(
        out,
        "\nExit codes: 0 success; 1 a mistake of the user (arguments, data, a thing that is not there); 2 an unexpected fault; 130 interrupted.\n"
    );
    for c in root.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        command(&mut out, c, "tradewind");
    }
    out
}

fn command(out: &mut String, c: &Command, before: &str) {
    let name = format!("{before} {}", c.get_name());
    let about = c.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(out, "\n## {name}\n\n{about}.\n\n");
    options(out, c.get_arguments().filter(|a| !a.is_global_set()));
    for sub in c.get_subcommands().filter(|c| c.get_name() != "help") {
        command(out, sub, &name);
    }
}

fn options<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    for a in args.filter(|a| !a.is_hide_set() && !matches!(a.get_id().as_str(), "help" | "version")) {
        let value = a.get_value_names().map(|v| v.join(" ")).unwrap_or_default();
        let takes = a.get_action().takes_values();
        let name = match (a.get_long(), a.get_short()) {
            (Some(l), Some(s)) => format!("-{s}, --{l}"),
            (Some(l), None) => format!("--{l}"),
            _ => value.clone(),
        };
        let shown =
            if takes && a.get_long().is_some() { format!("`{name} {value}`") } else { format!("`{name}`") };
        let words: Vec<String> = a.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        let words =
            if words.is_empty() || !takes { String::new() } else { format!(" ({})", words.join(", ")) };
        let defaults: Vec<String> =
            a.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        let default = if defaults.is_empty() || !takes {
            String::new()
        } else {
            format!(" Default: {}.", defaults.join(","))
        };
        let _ = writeln!(
            out,
            "- {shown}: {}{words}.{default}",
            a.get_help().map(ToString::to_string).unwrap_or_default()
        );
    }
}
