//! What a probe found, whatever it probed.

use crate::model::check::CheckStatus;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How the target is.
    pub(crate) status: CheckStatus,
    /// Why, for people.
    pub(crate) output: String,
}

impl Finding {
    /// A status with its reason.
    pub(crate) fn new(status: CheckStatus, output: impl Into<String>) -> Finding {
        Finding { status, output: output.into() }
    }

    pub(super) fn passing(output: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Passing, output)
    }

    pub(super) fn critical(output: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Critical, output)
    }
}
