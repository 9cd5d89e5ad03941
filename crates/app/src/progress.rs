//! Progress on the terminal: a bar where there is one, a line now and then where there is not.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tradewind::Progress;

/// Between two lines of progress when stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Bars on a terminal, lines elsewhere.
pub(crate) struct Terminal {
    bar: bool,
    step: Mutex<Option<Step>>,
}

struct Step {
    name: String,
    total: u64,
    done: u64,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { bar: io::stderr().is_terminal(), step: Mutex::new(None) }
    }

    fn with(&self, change: impl FnOnce(&mut Option<Step>)) {
        // A panic elsewhere while the lock was held leaves only a wrong bar.
        let mut step = self.step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut step);
    }
}

impl Progress for Terminal {
    fn begin(&self, name: &str, total: u64) {
        self.with(|step| {
            if let Some(Step { bar: Some(bar), .. }) = step.take() {
                bar.finish_and_clear();
            }
            let bar = self.bar.then(|| {
                let bar = ProgressBar::with_draw_target(
                    (total > 0).then_some(total),
                    ProgressDrawTarget::stderr_with_hz(10),
                );
                let template = if total > 0 {
                    "{msg:28} {bar:32} {pos}/{len} {eta}"
                } else {
                    "{msg:28} {spinner} {human_pos} {elapsed}"
                };
                bar.set_style(
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_message(name.to_owned());
                bar
            });
            *step = Some(Step { name: name.to_owned(), total, done: 0, said: Instant::now(), bar });
        });
    }

    fn advance(&self, n: u64) {
        self.with(|step| {
            let Some(step) = step else { return };
            step.done += n;
            match &step.bar {
                Some(bar) => bar.inc(n),
                None if step.said.elapsed() >= LINE_EVERY => {
                    step.said = Instant::now();
                    let of = if step.total > 0 { format!("/{}", step.total) } else { String::new() };
                    let _ = writeln!(io::stderr().lock(), "{} {}{of}", step.name, step.done);
                }
                None => {}
            }
        });
    }

    fn end(&self) {
        self.with(|step| {
            if let Some(Step { bar: Some(bar), .. }) = step.take() {
                bar.finish_and_clear();
            }
        });
    }
}
