//! The number of findings in a row that a check takes to change. Pure; one [`Thresholds`] a check.

use super::finding::Finding;
use crate::model::check::{CheckStatus, CheckType};

/// The counters of `SuccessBeforePassing`, `FailuresBeforeWarning` and `FailuresBeforeCritical`.
#[derive(Clone, Debug)]
pub(crate) struct Thresholds {
    before_passing: u32,
    before_warning: u32,
    before_critical: u32,
    successes: u32,
    failures: u32,
}

impl Thresholds {
    /// The thresholds of `check`. The counters start at them, so that the first finding counts at once.
    pub(crate) fn of(check: &CheckType) -> Thresholds {
        let before_critical = check.failures_before_critical;
        let before_warning = if check.failures_before_warning == 0 { before_critical } else { check.failures_before_warning };
        Thresholds {
            before_passing: check.success_before_passing,
            before_warning,
            before_critical,
            successes: check.success_before_passing,
            failures: before_critical,
        }
    }

    /// The check's new result after `finding`; `None` while too few in a row agree. Warning counts as a success.
    pub(crate) fn judge(&mut self, finding: Finding) -> Option<Finding> {
        if finding.status != CheckStatus::Critical {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            return (self.successes >= self.before_passing).then_some(finding);
        }
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.before_critical {
            return Some(finding);
        }
        let warning = Finding { status: CheckStatus::Warning, ..finding };
        (self.failures >= self.before_warning).then_some(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckStatus::{Critical, Passing, Warning};

    fn said(check: &CheckType, findings: &[CheckStatus]) -> Vec<Option<CheckStatus>> {
        let mut thresholds = Thresholds::of(check);
        let judge = |status: &CheckStatus| thresholds.judge(Finding::new(*status, "")).map(|finding| finding.status);
        findings.iter().map(judge).collect()
    }

    #[test]
    fn without_thresholds_every_finding_counts() {
        let findings = [Passing, Critical, Warning, Critical, Passing];
        assert_eq!(said(&CheckType::default(), &findings), findings.map(Some));
    }

    #[test]
    fn the_first_finding_counts_at_once_and_later_ones_when_enough_say_so() {
        let check = CheckType { success_before_passing: 2, failures_before_critical: 3, ..CheckType::default() };
        let findings = [Critical, Passing, Passing, Critical, Critical, Warning, Critical, Critical, Critical];
        let expected = [Some(Critical), None, Some(Passing), None, None, None, None, None, Some(Critical)];
        assert_eq!(said(&check, &findings), expected);
        assert_eq!(said(&check, &[Passing, Critical, Passing]), [Some(Passing), None, None]);
    }

    #[test]
    fn failures_warn_before_they_are_critical() {
        let check = CheckType { failures_before_warning: 2, failures_before_critical: 3, ..CheckType::default() };
        let findings = [Passing, Critical, Critical, Critical, Warning, Passing];
        let expected = [Some(Passing), None, Some(Warning), Some(Critical), Some(Warning), Some(Passing)];
        assert_eq!(said(&check, &findings), expected);
    }
}
