//! Checks of a systemd service: active is passing, activating and reloading are warning, everything else is critical.

use super::finding::Finding;
use super::process::Command;
use super::script::timed_out;
use crate::model::check::CheckStatus;
use crate::model::tail::Tail;

/// The command that asks systemd for the state of `service`.
pub(super) fn question(service: &str) -> Vec<String> {
    ["systemctl", "--no-ask-password", "is-active", "--", service].map(str::to_owned).to_vec()
}

pub(super) async fn probe(service: &str, question: &Command) -> Finding {
    let mut output = Tail::new(question.output_max);
    match question.run(&mut output).await {
        Ok(Some(_status)) => judge(service, output.text().trim()),
        Ok(None) => Finding::critical(timed_out(question.timeout, &output.noted())),
        Err(why) => Finding::critical(format!("systemd cannot be asked: {why}")),
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
