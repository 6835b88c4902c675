//! The greatest age of a server's view, counted from this server's own clock alone, which goes on while the host sleeps.
//! A follower notes when it asks its leader, which answers with its commit index while it holds its lease. Once that index is
//! published here, the view is no older than the question. Both travel with appends, or alone where there are none.

use super::message::{Echo, Message, Moment, Reply};
use super::start::{Server, leadership};
use super::{Lane, Raft};
use crate::clock;
use crate::defaults::{RAFT_ECHO_INTERVAL, RAFT_ECHO_PATIENCE, RAFT_ECHO_TIMEOUT};
use crate::model::ids::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Raft {
    /// The greatest age of this server's view: on the leader the time since its last quorum-acknowledged send, on a
    /// follower by the echo of its leader; `None` before the first contact.
    pub fn staleness(&self) -> Option<Duration> {
        self.server.confirm_as_leader();
        self.server.confirm_as_follower();
        self.server.freshness.age()
    }
}

impl Server {
    /// A leader knows by its quorum, if it has applied what came before it.
    fn confirm_as_leader(&self) {
        let (now, metrics) = (clock::now(), self.metrics());
        let is_self = leadership(&metrics).is_self;
        let time = self.since_quorum(&metrics).and_then(|since| now.checked_sub(since));
        if let Some(time) = time.filter(|_| is_self) {
            self.freshness.confirm(time);
        }
    }

    /// A follower knows by the echoes whose index its readers see.
    fn confirm_as_follower(&self) {
        let seen = self.echoes.unseen().seen(self.published.index());
        if let Some(asked) = seen {
            self.freshness.confirm(asked);
        }
    }

    /// An index that covers everything acknowledged until now, if this server leads for sure.
    pub(super) fn committed_for_sure(&self) -> Option<u64> {
        // Everything acknowledged is published; the metrics may lag behind.
        let committed = || self.metrics().local_committed.map_or(0, |id| id.index());
        index_under_lease(|| self.holds_lease(), || self.published.index().max(committed()))
    }

    /// Takes the echo of an append; returns the moment for the reply.
    pub(super) fn hear(&self, echo: Echo) -> Moment {
        if let Some(asked) = echo.after.and_then(|moment| self.echoes.time_of(moment)) {
            self.heard(echo.index, asked);
        }
        self.echoes.moment()
    }

    /// Everything acknowledged before `asked` is at or below `index`.
    fn heard(&self, index: u64, asked: Instant) {
        // The leader leads, however far behind this server is.
        self.leader_heard.confirm(asked);
        self.confirm_as_follower();
        self.echoes.unseen().push(index, asked);
    }

    /// Asks while appends bring no echo, for as long as the server runs.
    pub(super) async fn keep_fresh(self: Arc<Server>) {
        loop {
            let metrics = self.metrics();
            let pause = match metrics.current_leader {
                Some(leader) if leader == metrics.id => {
                    self.confirm_as_leader();
                    RAFT_ECHO_PATIENCE
                }
                Some(leader) => match self.leader_heard.age().and_then(|age| RAFT_ECHO_PATIENCE.checked_sub(age)) {
                    Some(rest) => rest.max(RAFT_ECHO_INTERVAL),
                    None => {
                        self.ask_echo(NodeId::from_u128(leader)).await;
                        RAFT_ECHO_INTERVAL
                    }
                },
                None => RAFT_ECHO_INTERVAL,
            };
            clock::sleep_shared(pause).await;
        }
    }

    async fn ask_echo(&self, leader: NodeId) {
        let asked = clock::now();
        let answer = self.link.ask_member(leader, Lane::Core, Message::Echo, RAFT_ECHO_TIMEOUT).await;
        if let Ok(Reply::Echo(index)) = answer {
            self.heard(index, asked);
        }
    }
}

/// The `index` of a leader that holds its lease, read after that check: an earlier one may be of another's time.
fn index_under_lease(holds_lease: impl FnOnce() -> bool, index: impl FnOnce() -> u64) -> Option<u64> {
    holds_lease().then(index)
}

#[cfg(test)]
mod tests {
    use super::index_under_lease;
    use std::cell::Cell;

    #[test]
    fn an_echo_of_a_server_that_has_just_come_to_lead_covers_what_the_former_leader_acknowledged() {
        let index = Cell::new(3);
        let comes_to_lead = || {
            index.set(9);
            true
        };
        assert_eq!(index_under_lease(comes_to_lead, || index.get()), Some(9));
        assert_eq!(index_under_lease(|| false, || index.get()), None);
    }
}
