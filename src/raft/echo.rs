//! How old a server's view may be, counted from this server's own clock alone, which goes on while the host sleeps.
//!
//! A follower notes when it asks its leader; the leader answers with its commit index only while its
//! lease says that nobody else can lead. Once that index is published here, the view is no older than
//! the question. Never counted from a receive time, and never from another's clock.
//!
//! The question goes along with the reply to each append, and the answer with the next append, so that
//! an idle cluster has its heartbeats alone. A follower to which none comes asks by a message of its own.

use super::Lane;
use super::message::{Echo, Message, Moment, Reply};
use super::start::{Server, leadership};
use crate::clock;
use crate::defaults::{RAFT_ECHO_INTERVAL, RAFT_ECHO_PATIENCE, RAFT_ECHO_TIMEOUT};
use crate::model::ids::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Server {
    pub(super) fn staleness(&self) -> Option<Duration> {
        self.confirm_as_leader();
        self.confirm_as_follower();
        self.freshness.age()
    }

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
        // First: an index that is read before may be of a time when another led.
        if !self.holds_lease() {
            return None;
        }
        // What is acknowledged is published; the metrics may lag behind.
        let published = self.published.index();
        let committed = self.metrics().local_committed.map_or(0, |id| id.index());
        Some(published.max(committed))
    }

    /// The answer to another server's question.
    pub(super) fn echo(&self) -> Result<Reply, String> {
        self.committed_for_sure().map(Reply::Echo).ok_or_else(|| "this server does not lead for sure".to_owned())
    }

    /// Takes the echo that came with an append; the moment to be sent with the reply.
    pub(super) fn hear(&self, echo: Echo) -> Moment {
        if let Some(asked) = echo.after.and_then(|moment| self.echoes.time_of(moment)) {
            self.heard(echo.index, asked);
        }
        self.echoes.moment()
    }

    /// Everything acknowledged before `asked` is at or below `index`.
    fn heard(&self, index: u64, asked: Instant) {
        // It leads, however far behind this server is.
        self.leader_heard.confirm(asked);
        self.confirm_as_follower();
        self.echoes.unseen().push(index, asked);
    }

    /// Asks where no echo comes by itself, for as long as the server runs: appends bring them, of a leader
    /// that has led for a moment.
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
