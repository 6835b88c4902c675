//! The progress of the catalog behind the registrations here. A registration waits for its round of pushes, for
//! [`REGISTER_WAIT`] at most, and not at all without a leader.

use crate::defaults::REGISTER_WAIT;
use std::fmt;
use std::sync::OnceLock;
use tokio::sync::watch;
use tokio::time::timeout;

/// The end of the last round of pushes.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Every push up to this number was tried: the catalog has it, or has refused it.
    through: u64,
    /// The last round has not reached the catalog.
    failing: bool,
}

/// True if a leader is known here.
type Leads = Box<dyn Fn() -> bool + Send + Sync>;

/// The progress of the catalog, to wait for.
#[derive(Default)]
pub(super) struct Following {
    progress: watch::Sender<Progress>,
    leads: OnceLock<Leads>,
}

impl Following {
    /// Lets callers wait from now on, while `leads` is true.
    pub(super) fn knows_leader_by(&self, leads: impl Fn() -> bool + Send + Sync + 'static) {
        // A second run of the same registrations has the same leader.
        _ = self.leads.set(Box::new(leads));
    }

    /// Notes the end of a round that tried every push up to `through`.
    pub(super) fn tried(&self, through: u64) {
        self.progress.send_modify(|progress| *progress = Progress { through: progress.through.max(through), failing: false });
    }

    /// Notes a round that has not reached the catalog.
    pub(super) fn failed(&self) {
        self.progress.send_modify(|progress| progress.failing = true);
    }

    /// Notes that a round comes soon: callers wait again, however the last one ended.
    pub(super) fn expected(&self) {
        self.progress.send_modify(|progress| progress.failing = false);
    }

    /// Waits until every push up to `pushes` was tried.
    pub(super) async fn wait(&self, pushes: u64) {
        if !self.leads.get().is_some_and(|leads| leads()) {
            return;
        }
        let mut progress = self.progress.subscribe();
        let followed = progress.wait_for(|progress| progress.failing || progress.through >= pushes);
        if timeout(REGISTER_WAIT, followed).await.is_err() {
            metrics::counter!("kontor.local.answered_before_catalog").increment(1);
        }
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    async fn waited(following: &Following, pushes: u64) -> Duration {
        let start = Instant::now();
        following.wait(pushes).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_without_a_leader_or_where_the_catalog_cannot_be_reached() {
        let following = Following::default();
        assert_eq!(waited(&following, 1).await, Duration::ZERO, "nothing runs yet");
        following.knows_leader_by(|| false);
        assert_eq!(waited(&following, 1).await, Duration::ZERO);
        let following = Following::default();
        following.knows_leader_by(|| true);
        following.failed();
        assert_eq!(waited(&following, 1).await, Duration::ZERO);
        following.expected();
        assert!(waited(&following, 1).await >= REGISTER_WAIT, "the next round is near");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_push_or_its_failure_and_is_bounded() {
        let following = Arc::new(Following::default());
        following.knows_leader_by(|| true);
        assert!(waited(&following, 1).await >= REGISTER_WAIT);
        let moment = REGISTER_WAIT / 5;
        for fails in [false, true] {
            let other = Arc::clone(&following);
            let pushing = async {
                sleep(moment).await;
                other.tried(1);
                sleep(moment).await;
                if fails { other.failed() } else { other.tried(2) }
            };
            let (waited, ()) = tokio::join!(waited(&following, if fails { 3 } else { 2 }), pushing);
            assert!(waited >= 2 * moment && waited < REGISTER_WAIT, "{waited:?}");
        }
        assert_eq!(waited(&following, 2).await, Duration::ZERO);
    }
}
