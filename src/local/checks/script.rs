//! Script checks: exit code 0 is passing, 1 warning, everything else critical.

use super::finding::Finding;
use super::process;
use crate::model::check::CheckStatus;
use crate::model::duration;
use crate::model::tail::Tail;
use std::time::Duration;

/// A script check.
#[derive(Clone, Debug)]
pub(super) struct ScriptProbe {
    pub(super) args: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) output_max: usize,
}

impl ScriptProbe {
    /// Runs it once.
    pub(super) async fn run(&self) -> Finding {
        let mut output = Tail::new(self.output_max);
        match process::run(&self.args, self.timeout, &mut output).await {
            Ok(Some(status)) => Finding::new(by_exit_code(status.code().map(i64::from)), output.noted()),
            Ok(None) => Finding::critical(timed_out(self.timeout, &output.noted())),
            Err(why) => Finding::critical(why),
        }
    }
}

/// What an exit code means; one that a signal ended has none.
pub(super) fn by_exit_code(code: Option<i64>) -> CheckStatus {
    match code {
        Some(0) => CheckStatus::Passing,
        Some(1) => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    }
}

/// Consul's words for a command that took too long.
pub(super) fn timed_out(limit: Duration, output: &str) -> String {
    let said = format!("Timed out ({}) running check", duration::format(limit));
    if output.is_empty() { said } else { format!("{said}\n\n{output}") }
}
