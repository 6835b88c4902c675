//! Whose scripts are run as checks. `registry` asks before anything changes.

use super::Source;
use crate::model::check::CheckType;
use crate::model::fault::Fault;

/// Whose scripts are run as checks; nobody's unless it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptChecks {
    /// Of whoever may use the HTTP API. `enable_script_checks`
    pub api: bool,
    /// Of configuration files. `enable_local_script_checks` or `enable_script_checks`
    pub files: bool,
}

impl ScriptChecks {
    /// Whether a check from `source` may be run. Commands in containers are scripts too.
    pub(super) fn allow(self, check: Option<&CheckType>, source: Source) -> Result<(), Fault> {
        let script = check.is_some_and(|check| !check.script_args.is_empty());
        match source {
            Source::Api if script && !self.api => Err(Fault::failed(
                "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
            )),
            Source::File if script && !self.files => Err(Fault::failed(
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
            )),
            _ => Ok(()),
        }
    }
}
