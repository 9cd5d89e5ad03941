//! The step of the pipeline `watch`.

use super::run_of;
use crate::operations::Operations;
use crate::watching;
use serde_json::json;
use tokio::runtime::Handle;
use tradewind_core::Run;
use tradewind_ops::jobs::{Blocking, Fingerprint, Level, Made};
use tradewind_ops::monitor::alerts::LineKind;

/// Looks once, and leaves what it saw in short.
pub(super) fn watch(operations: &Operations, like: &Run) -> Blocking {
    let (operations, like) = (operations.clone(), like.clone());
    Blocking::new(
        |_| Ok(Fingerprint::of_bytes(b"watch")),
        move |context| {
            let run = run_of(context, &like);
            let seen = Handle::current().block_on(watching::look(&run, &operations))?;
            for line in &seen.lines {
                let kind = match line.kind {
                    LineKind::Firing => "began",
                    LineKind::Still => "still on",
                    LineKind::Resolved => "over",
                };
                let text = format!("{kind}: {}: {} ({})", line.subject, line.text, line.details);
                context.log(Level::Info, &text);
            }
            Ok(Made::data(json!({
                "error_ratio": seen.errors.as_ref().and_then(|e| e.ratio()),
                "alarm": seen.errors.as_ref().map(|e| e.alarm),
                "lines": seen.lines.len(),
                "because": seen.because,
                "run": seen.run,
            })))
        },
    )
}
