//! The tasks that run checks: one a check, which sleeps, probes, and reports.

use super::finding::Finding;
use super::probe::Probe;
use super::thresholds::Thresholds;
use crate::defaults::CHECK_INTERVAL_MIN;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// The checks that run, by id. A task ends at once when its check is stopped or this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    tasks: HashMap<String, AbortOnDropHandle<()>>,
}

impl Runners {
    /// Runs a check from now on, in place of an earlier one of the same id, at most every [`CHECK_INTERVAL_MIN`].
    /// `report` gets each finding that `thresholds` lets through, and must not block; one may arrive after the check was stopped.
    pub(crate) fn start(
        &mut self,
        id: &str,
        probe: Probe,
        interval: Duration,
        thresholds: Thresholds,
        report: impl Fn(&str, Finding) + Send + Sync + 'static,
    ) {
        self.keep(id, run(id.to_owned(), probe, interval.max(CHECK_INTERVAL_MIN), thresholds, report));
    }

    /// Runs `task` as the check of this id, in place of an earlier one, until it is stopped.
    pub(crate) fn keep(&mut self, id: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.insert(id.to_owned(), AbortOnDropHandle::new(tokio::spawn(task)));
    }

    pub(crate) fn stop(&mut self, id: &str) {
        self.tasks.remove(id);
    }
}

async fn run(
    id: String,
    probe: Probe,
    interval: Duration,
    mut thresholds: Thresholds,
    report: impl Fn(&str, Finding) + Send + Sync + 'static,
) {
    sleep(before_first(interval, rand::random())).await;
    loop {
        if let Some(finding) = thresholds.judge(probe.run().await) {
            report(&id, finding);
        }
        sleep(interval).await;
    }
}

/// The pause before the first run: anywhere in the interval. `random` is in [0, 1).
fn before_first(interval: Duration, random: f64) -> Duration {
    let nanos = interval.as_nanos() as f64 * random.clamp(0.0, 1.0);
    Duration::from_nanos(nanos as u64).min(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_runs_are_spread_over_the_whole_interval() {
        let interval = Duration::from_secs(10);
        assert_eq!(before_first(interval, 0.0), Duration::ZERO);
        assert_eq!(before_first(interval, 0.25), Duration::from_millis(2500));
        assert!(before_first(interval, 1.0) <= interval);
        assert_eq!(before_first(Duration::MAX, 0.0), Duration::ZERO);
    }
}
