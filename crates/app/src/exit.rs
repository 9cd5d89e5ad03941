//! Exit codes: one table from kinds of fault to what the shell sees.

use std::process::ExitCode;
use tradewind::ErrorKind;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success = 0,
    /// The user can mend it: wrong arguments, wrong data, a thing that is not there.
    User = 1,
    /// A fault of ours, or of the machine.
    Fault = 2,
    /// Stopped by Ctrl-C or a signal (128 + 2, as shells have it).
    Interrupted = 130,
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidInput
            | ErrorKind::InvalidParams
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::NotEnoughData
            | ErrorKind::Denied => Self::User,
            ErrorKind::NotConverged | ErrorKind::Unavailable | ErrorKind::Internal => Self::Fault,
            ErrorKind::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_promise() {
        assert_eq!(Exit::Success as u8, 0);
        assert_eq!(Exit::User as u8, 1);
        assert_eq!(Exit::Fault as u8, 2);
        assert_eq!(Exit::Interrupted as u8, 130);
        assert_eq!(Exit::from(ErrorKind::InvalidInput), Exit::User);
        assert_eq!(Exit::from(ErrorKind::Internal), Exit::Fault);
        assert_eq!(Exit::from(ErrorKind::Interrupted), Exit::Interrupted);
    }
}
