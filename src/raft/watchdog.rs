//! Watches the disk: a leader whose fsync does not return makes room for another. A stuck disk takes no proposals; a failed
//! write ends the server, since the content of the disk is unknown.

use super::start::Server;
use crate::clock;
use crate::defaults::{RAFT_FSYNC_STUCK, RAFT_WATCHDOG_TICK};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time until the next look at a disk busy for `busy`: no fsync that begins after a look is stuck before the next.
fn pause(busy: Duration) -> Duration {
    RAFT_FSYNC_STUCK.saturating_sub(busy).clamp(RAFT_WATCHDOG_TICK, RAFT_FSYNC_STUCK / 2)
}

impl Server {
    /// Runs for as long as the server does; without a disk there is nothing to watch.
    pub(super) async fn watch_disk(self: Arc<Server>) {
        let Some(writer) = self.log.writer().cloned() else { return };
        let mut failed = writer.failed();
        loop {
            tokio::select! {
                () = clock::sleep_shared(pause(writer.busy_for())) => self.judge_disk(writer.busy_for()).await,
                ended = failed.changed() => {
                    // The writer's end without a reason is this server's own.
                    if let Some(reason) = failed.borrow_and_update().clone() {
                        self.fail(reason);
                    }
                    if ended.is_err() {
                        return;
                    }
                }
            }
        }
    }

    pub(super) fn waits_for_room(&self) -> bool {
        self.log.writer().is_some_and(|writer| writer.waits_for_room())
    }

    pub(super) async fn judge_disk(&self, busy: Duration) {
        let stuck = busy >= RAFT_FSYNC_STUCK;
        let was_stuck = self.disk_stuck.swap(stuck, Ordering::SeqCst);
        if stuck && !was_stuck {
            metrics::counter!("kontor.raft.disk_stuck").increment(1);
            // A full one has been reported.
            if !self.waits_for_room() {
                tracing::error!(?busy, "the disk does not come back from an fsync; no writes are taken");
            }
        }
        if was_stuck && !stuck {
            tracing::info!("the disk has come back");
        }
        if stuck
            && self.leads_others()
            && let Err(fault) = self.transfer_leadership(None).await
        {
            // Retried as long as the disk is stuck; an old leader may not hear of the new one then.
            match was_stuck {
                false => tracing::warn!(%fault, "leadership could not be handed over"),
                true => tracing::debug!(%fault, "leadership could not be handed over"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_disk_is_seen_when_it_is_stuck_and_an_idle_one_is_seldom_looked_at() {
        assert_eq!(pause(Duration::ZERO), RAFT_FSYNC_STUCK / 2);
        let soon = Duration::from_millis(300);
        assert_eq!(pause(RAFT_FSYNC_STUCK - soon), soon);
        assert_eq!(pause(RAFT_FSYNC_STUCK * 3), RAFT_WATCHDOG_TICK);
    }
}
