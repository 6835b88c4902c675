//! The sources of checks that may run scripts.

use super::Source;
use crate::model::check::CheckType;
use crate::model::fault::Fault;

/// The sources of checks that may run scripts; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptChecks {
    /// The HTTP API. `enable_script_checks`
    pub api: bool,
    /// Configuration files. `enable_local_script_checks` or `enable_script_checks`
    pub files: bool,
}

impl ScriptChecks {
    /// Refuses a script from a `source` that may run none. Commands in containers are scripts too.
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
