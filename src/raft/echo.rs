//! How old a server's view may be, counted from this server's own clock alone.
//!
//! A follower notes when it asks its leader; the leader answers with its commit index only while its
//! lease says that nobody else can lead. Once that index is published here, the view is no older than
//! the question. Never counted from a receive time, and never from another's clock.

use super::Lane;
use super::message::{Ask, Reply};
use super::start::Server;
use crate::config::defaults::{RAFT_ECHO_INTERVAL, RAFT_ECHO_TIMEOUT};
use crate::model::ids::NodeId;
use openraft::async_runtime::WatchReceiver;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Up to when this server's view is known to be whole.
#[derive(Debug, Default)]
pub(super) struct Freshness(Mutex<Option<Instant>>);

impl Freshness {
    /// The view has everything that was acknowledged before `time`.
    fn confirm(&self, time: Instant) {
        let mut confirmed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *confirmed = (*confirmed).max(Some(time));
    }

    /// Time since then.
    pub(super) fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|time| time.elapsed())
    }
}

impl Server {
    pub(super) fn staleness(&self) -> Option<Duration> {
        self.confirm_as_leader();
        self.freshness.age()
    }

    /// A leader knows by its quorum, if it has applied what came before it.
    fn confirm_as_leader(&self) {
        let metrics = self.metrics();
        let is_self = super::start::leadership(&metrics).is_self;
        let time = self.since_quorum(&metrics).and_then(|since| Instant::now().checked_sub(since));
        if let Some(time) = time.filter(|_| is_self) {
            self.freshness.confirm(time);
        }
    }

    /// The answer to another server's question.
    pub(super) fn echo(&self) -> Result<Reply, String> {
        // What is acknowledged is published; the metrics may lag behind.
        let published = self.published.load(Ordering::Acquire);
        let committed = self.metrics().local_committed.map_or(0, |id| id.index());
        match self.holds_lease() {
            true => Ok(Reply::Echo(published.max(committed))),
            false => Err("this server does not lead for sure".to_owned()),
        }
    }

    /// Asks again and again for as long as the server runs.
    pub(super) async fn keep_fresh(self: Arc<Server>) {
        let mut tick = tokio::time::interval(RAFT_ECHO_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let metrics = self.metrics();
            match metrics.current_leader {
                Some(leader) if leader == metrics.id => self.confirm_as_leader(),
                Some(leader) => self.ask_echo(NodeId::from_u128(leader)).await,
                None => {}
            }
        }
    }

    async fn ask_echo(&self, leader: NodeId) {
        let asked = Instant::now();
        let answer = self.link.ask_member(leader, Lane::Core, Ask::Echo, RAFT_ECHO_TIMEOUT).await;
        if let Ok(Reply::Echo(index)) = answer
            && self.has_published(index).await
        {
            self.freshness.confirm(asked);
        }
    }

    async fn has_published(&self, index: u64) -> bool {
        let mut metrics = self.core.metrics();
        let published = async {
            while self.published.load(Ordering::Acquire) < index {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(RAFT_ECHO_TIMEOUT, published).await.unwrap_or(false)
    }
}
