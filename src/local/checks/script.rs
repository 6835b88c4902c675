//! Script checks: exit code 0 is passing, 1 warning, everything else critical.

use super::finding::Finding;
use super::process::Command;
use crate::model::check::CheckStatus;
use crate::model::duration;
use crate::model::tail::Tail;
use std::time::Duration;

pub(super) async fn probe(script: &Command) -> Finding {
    let mut output = Tail::new(script.output_max);
    match script.run(&mut output).await {
        Ok(Some(status)) => Finding::new(by_exit_code(status.code().map(i64::from)), output.noted()),
        Ok(None) => Finding::critical(timed_out(script.timeout, &output.noted())),
        Err(why) => Finding::critical(why),
    }
}

/// The status that an exit code stands for; a command that a signal ended has none.
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
