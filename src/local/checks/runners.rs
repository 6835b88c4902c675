//! The tasks that run checks: one a check, which sleeps, probes, and reports.
//!
//! Whoever runs checks owns one [`Runners`]. A task ends, with whatever it has in hand, when its
//! check is stopped or the [`Runners`] is dropped.

use super::finding::Finding;
use super::probe::Probe;
use super::schedule::Schedule;
use super::thresholds::Thresholds;
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The checks that run, by id.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    tasks: HashMap<String, Task>,
}

/// Ends with its owner.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runners {
    /// Runs a check from now on, in place of one of the same id. `report` gets the id and each finding
    /// that `thresholds` lets through; it must not block. A finding that was on its way when the check
    /// was stopped may still be reported, so `report` has to know which start it belongs to.
    ///
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(
        &mut self,
        id: &str,
        probe: Probe,
        interval: Duration,
        thresholds: Thresholds,
        report: impl Fn(&str, Finding) + Send + Sync + 'static,
    ) {
        self.keep(id, run(id.to_owned(), probe, Schedule::every(interval), thresholds, report));
    }

    /// Runs `task` as the check of this id, in place of an earlier one, until it is stopped.
    pub(crate) fn keep(&mut self, id: &str, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(task);
        self.tasks.insert(id.to_owned(), Task(task.abort_handle()));
    }

    /// Stops a check, if it runs.
    pub(crate) fn stop(&mut self, id: &str) {
        self.tasks.remove(id);
    }
}

async fn run(
    id: String,
    probe: Probe,
    schedule: Schedule,
    mut thresholds: Thresholds,
    report: impl Fn(&str, Finding) + Send + Sync + 'static,
) {
    sleep(schedule.first(rand::random())).await;
    loop {
        if let Some(finding) = thresholds.judge(probe.run().await) {
            report(&id, finding);
        }
        sleep(schedule.pause()).await;
    }
}
