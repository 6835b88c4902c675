//! Changes of the registrations under way: one at a time, and off the runtime while the disk works.

use super::Local;
use super::persist::Disk;
use super::registry::Registry;
use super::step::{Plan, Step};
use crate::defaults::LOCAL_MAX_CHANGES;
use crate::model::fault::{Fault, FaultKind};
use crate::telemetry::FailureThrottle;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::warn;

impl Local {
    /// Has a change made, and waits a moment for the catalog to have it.
    pub(super) async fn register(&self, plan: impl FnOnce(&Registry) -> Plan) -> Result<(), Fault> {
        let pushes = self.do_planned(plan).await?;
        self.inner.following.wait(pushes).await;
        Ok(())
    }

    /// Plans a change, puts it on the disk, and carries it out here. Returns the number of changes to push up to this one.
    pub(super) async fn do_planned(&self, plan: impl FnOnce(&Registry) -> Plan) -> Result<u64, Fault> {
        let _place = self.inner.changes.try_acquire().map_err(|_full| too_many())?;
        let desk = Arc::clone(&self.inner.desk).lock_owned().await;
        let (steps, disk) = {
            let registry = self.lock();
            (plan(&registry)?, registry.disk.clone())
        };
        let local = self.clone();
        // A change on the disk is carried out here too, even after its caller hung up.
        let done = tokio::spawn(async move {
            let steps = kept(disk, steps).await.map_err(|why| {
                metrics::counter!("kontor.local.not_kept").increment(1);
                Fault::failed(format!("cannot keep the registration in the data directory: {why}"))
            })?;
            let pushes = local.change(|registry, now| {
                registry.carry_out(steps, now);
                registry.state.pushes
            });
            drop(desk);
            Ok(pushes)
        });
        done.await.unwrap_or_else(|error| Err(Fault::failed(format!("the registration broke off: {error}"))))
    }

    /// Puts the last state of each TTL check on the disk, after each update and once more at the end.
    pub(super) async fn keep_words(self, stop: CancellationToken) {
        let mut trouble = FailureThrottle::default();
        loop {
            tokio::select! {
                () = self.inner.unsaved.notified() => {}
                () = stop.cancelled() => {}
            }
            let desk = self.inner.desk.lock().await;
            let (words, disk) = {
                let mut registry = self.lock();
                (std::mem::take(&mut registry.unsaved), registry.disk.clone())
            };
            // A state that cannot be written keeps none of the others back.
            let write = move || {
                let written = disk.iter().flat_map(|disk| words.values().map(|word| disk.keep_word(word)));
                written.fold(None, |first, written| first.or(written.err()))
            };
            // A sign of life is not refused for a full disk: that would turn a healthy service critical.
            match spawn_blocking(write).await {
                Ok(None) => _ = trouble.worked(),
                Ok(Some(error)) => {
                    metrics::counter!("kontor.local.ttl_not_kept").increment(1);
                    if trouble.failed(tokio::time::Instant::now().into_std()) {
                        warn!(%error, "states of TTL checks are not kept; after a restart these checks start anew");
                    }
                }
                Err(error) => warn!(%error, "keeping the states of TTL checks broke off"),
            }
            drop(desk);
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

/// Puts `steps` on the disk and gives them back. Off the runtime: a disk may be slow.
async fn kept(disk: Option<Arc<Disk>>, steps: Vec<Step>) -> Result<Vec<Step>, String> {
    let Some(disk) = disk.filter(|_| !steps.is_empty()) else { return Ok(steps) };
    let work = spawn_blocking(move || disk.carry_out(&steps).map(|()| steps));
    work.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn too_many() -> Fault {
    metrics::counter!("kontor.local.refused_changes").increment(1);
    let text = format!("{LOCAL_MAX_CHANGES} registrations are waiting for this agent's disk; try again later");
    Fault::new(FaultKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::kept::file_name;
    use super::super::registry::tests::settings;
    use super::*;
    use crate::model::check::{CheckStatus, CheckType};
    use crate::shutdown::Shutdown;
    use std::time::Duration;

    fn ttl(name: &str) -> CheckType {
        CheckType { name: name.into(), ttl: Duration::from_secs(3600), ..CheckType::default() }
    }

    #[tokio::test]
    async fn who_hangs_up_while_another_change_is_on_its_way_leaves_nothing() {
        let local = Local::open(settings(None)).expect("opens");
        let desk = local.inner.desk.lock().await;
        {
            let waiting = local.add_check(ttl("given-up"), Source::Api);
            tokio::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            assert_eq!(local.inner.changes.available_permits(), LOCAL_MAX_CHANGES - 1);
        }
        assert_eq!(local.inner.changes.available_permits(), LOCAL_MAX_CHANGES);
        let places: Vec<_> = (0..LOCAL_MAX_CHANGES).map(|_| local.inner.changes.try_acquire().expect("a place")).collect();
        let refused = local.add_check(ttl("too-many"), Source::Api).await.expect_err("refused");
        assert_eq!(refused.kind, FaultKind::Busy);
        drop((places, desk));
        local.add_check(ttl("c"), Source::Api).await.expect("good");
        assert_eq!(local.registered().checks.keys().collect::<Vec<_>>(), ["c"]);
    }

    #[tokio::test]
    async fn what_a_ttl_check_says_is_on_the_disk_soon_and_at_the_end() {
        let home = tempfile::tempdir().expect("a directory");
        let open = || Local::open(settings(Some(home.path()))).expect("opens");
        let local = open();
        local.add_check(ttl("c"), Source::Api).await.expect("good");
        let shutdown = Shutdown::new();
        shutdown.spawn("words", local.clone().keep_words(shutdown.token()));
        local.update_ttl("c", CheckStatus::Passing, "well").expect("known");
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while open().registered().checks["c"].output != "well" {
            assert!(tokio::time::Instant::now() < deadline, "it is not kept");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        local.update_ttl("c", CheckStatus::Warning, "at last").expect("known");
        shutdown.drain(Duration::from_secs(60)).await.expect("it ends");
        assert_eq!(open().registered().checks["c"].output, "at last");
    }

    #[tokio::test]
    async fn a_word_that_cannot_be_kept_keeps_none_of_the_others_back() {
        let home = tempfile::tempdir().expect("a directory");
        let open = || Local::open(settings(Some(home.path()))).expect("opens");
        let local = open();
        for name in ["a", "b", "c"] {
            local.add_check(ttl(name), Source::Api).await.expect("good");
        }
        // A folder stands in place of the first file.
        std::fs::create_dir(home.path().join("checks/state").join(file_name("a"))).expect("made");
        let shutdown = Shutdown::new();
        shutdown.spawn("words", local.clone().keep_words(shutdown.token()));
        {
            let _at_once = local.inner.desk.lock().await;
            for id in ["a", "b", "c"] {
                local.update_ttl(id, CheckStatus::Passing, "well").expect("known");
            }
        }
        shutdown.drain(Duration::from_secs(60)).await.expect("it ends");
        let outputs = open().registered();
        let said = |id: &str| outputs.checks[id].output.as_str();
        assert_eq!((said("a"), said("b"), said("c")), ("", "well", "well"));
    }
}
