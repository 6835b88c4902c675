//! Checks of a service of the operating system, asked of systemd: active is passing, on its way there
//! warning, everything else critical.

use super::finding::Finding;
use super::process;
use super::script::timed_out;
use crate::model::check::CheckStatus;
use crate::model::tail::Tail;
use std::time::Duration;

/// A check of a service of the operating system.
#[derive(Clone, Debug)]
pub(super) struct OsServiceProbe {
    pub(super) service: String,
    pub(super) timeout: Duration,
    pub(super) output_max: usize,
}

impl OsServiceProbe {
    /// Asks once.
    pub(super) async fn run(&self) -> Finding {
        let ask = ["systemctl", "--no-ask-password", "is-active", "--", &self.service].map(str::to_owned);
        let mut output = Tail::new(self.output_max);
        match process::run(&ask, self.timeout, &mut output).await {
            Ok(Some(_status)) => judge(&self.service, output.text().trim()),
            Ok(None) => Finding::critical(timed_out(self.timeout, &output.noted())),
            Err(why) => Finding::critical(format!("systemd cannot be asked: {why}")),
        }
    }
}

fn judge(service: &str, said: &str) -> Finding {
    match said {
        "active" => Finding::passing(format!("Service {service:?} is healthy")),
        "activating" | "reloading" => Finding::new(CheckStatus::Warning, format!("Service {service:?} is {said}")),
        "inactive" | "failed" | "deactivating" | "maintenance" | "unknown" => {
            Finding::critical(format!("Service {service:?} is {said}"))
        }
        other => Finding::critical(format!("systemd does not say how service {service:?} is: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_is_a_status() {
        assert_eq!(judge("web", "active"), Finding::passing("Service \"web\" is healthy"));
        assert_eq!(judge("web", "activating").status, CheckStatus::Warning);
        for bad in ["inactive", "failed", "unknown", "", "Failed to connect to bus: Host is down"] {
            assert_eq!(judge("web", bad).status, CheckStatus::Critical);
            assert!(judge("web", bad).output.contains(bad));
        }
    }
}
