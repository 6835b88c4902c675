//! The result of one probe, whatever its kind.

use crate::model::check::CheckStatus;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: CheckStatus,
    /// The reason, for people.
    pub(crate) output: String,
}

impl Finding {
    pub(crate) fn new(status: CheckStatus, output: impl Into<String>) -> Finding {
        Finding { status, output: output.into() }
    }

    pub(super) fn passing(output: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Passing, output)
    }

    pub(super) fn critical(output: impl Into<String>) -> Finding {
        Finding::new(CheckStatus::Critical, output)
    }

    /// Passing for success, critical for an error.
    pub(super) fn of(result: Result<impl Into<String>, String>) -> Finding {
        result.map_or_else(Finding::critical, Finding::passing)
    }
}
