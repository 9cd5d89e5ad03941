//! The one object that writes to the terminal: answers to stdout, everything else to stderr.

use crate::lang::Lang;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The tone of a line. Colour only underlines: the words say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// None.
    Plain,
    /// Rising, well.
    Up,
    /// Falling, bad.
    Down,
    /// Look at it.
    Warn,
}

/// Decides what is shown and how. Commands do not print by themselves.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    /// JSON answers for machines.
    pub(crate) json: bool,
    /// No word beside the answer.
    pub(crate) quiet: bool,
    /// Whether colour is welcome on stdout.
    pub(crate) colour: bool,
    /// The language of texts.
    pub(crate) lang: Lang,
}

impl Printer {
    /// Colour only on a terminal and without NO_COLOR (no-color.org).
    pub(crate) fn new(json: bool, quiet: bool, lang: Lang) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { json, quiet, colour: !no_colour && io::stdout().is_terminal(), lang }
    }

    /// A line of the answer, unless JSON was asked.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.out(text.as_ref());
        }
    }

    /// The answer as JSON, if that was asked.
    pub(crate) fn json(&self, value: &impl Serialize) {
        if self.json {
            match serde_json::to_string_pretty(value) {
                Ok(text) => self.out(&text),
                Err(e) => self.error(&format!("cannot tell this as JSON: {e}"), None),
            }
        }
    }

    /// Text as it is, whatever was asked: for completions and reference pages.
    pub(crate) fn raw(&self, text: &str) {
        let mut out = io::stdout().lock();
        // A reader that closes the pipe (`| head`) is a normal end.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A word about the work, to stderr.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// What went wrong, and apart from it what to do.
    pub(crate) fn error(&self, text: &str, hint: Option<&str>) {
        let mut err = io::stderr().lock();
        let _ = writeln!(err, "{}: {text}", self.lang.pick("error", "错误"));
        if let Some(hint) = hint {
            let _ = writeln!(err, "  {}: {hint}", self.lang.pick("hint", "提示"));
        }
    }

    /// A table: the header, the rows, and which columns are numbers (right-aligned). `tone` gives a row's colour.
    pub(crate) fn table(
        &self,
        header: &[&str],
        rows: &[Vec<String>],
        numbers: &[usize],
        tone: impl Fn(usize) -> Tone,
    ) {
        if self.json {
            return;
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header);
        table.add_rows(rows);
        for n in numbers {
            if let Some(column) = table.column_mut(*n) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Cells hold one line each, so line 0 is the header and line i + 1 is row i.
        for (i, line) in table.lines().enumerate() {
            let line = line.trim_end();
            self.out(&if i == 0 { self.paint("1", line) } else { self.toned(tone(i - 1), line) });
        }
    }

    /// A text in a tone, where colour is welcome.
    pub(crate) fn toned(&self, tone: Tone, text: &str) -> String {
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Up => self.paint("32", text),
            Tone::Down => self.paint("31", text),
            Tone::Warn => self.paint("33", text),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn out(&self, text: &str) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }
}
