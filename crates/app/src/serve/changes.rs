//! What every change over HTTP leaves behind: who and why in a history, and a row of the audit log.

use super::problem::Problem;
use super::state::Server;
use serde_json::Value;
use tradewind::ops::access::Principal;
use tradewind::ops::access::audit::{Entry, Outcome};
use tradewind::ops::registry::Change;

/// Who changes something and why, for a history.
pub(crate) fn change(caller: &Principal, reason: String, approval: String) -> Change {
    Change { actor: caller.actor(), role: caller.role.name().to_owned(), approval, reason }
}

/// Writes a change that was done to the audit log.
///
/// # Errors
/// A state that does not answer.
pub(crate) async fn write_down(
    server: &Server,
    caller: &Principal,
    action: &str,
    object: &str,
    details: Value,
) -> Result<(), Problem> {
    let entry = Entry { actor: &caller.actor(), action, object, outcome: Outcome::Done, details };
    server.access.record(entry).await?;
    Ok(())
}
