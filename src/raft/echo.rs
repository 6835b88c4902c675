//! How old a server's view may be, counted from this server's own clock alone, which goes on while the host sleeps.
//!
//! A follower notes when it asks its leader; the leader answers with its commit index only while its
//! lease says that nobody else can lead. Once that index is published here, the view is no older than
//! the question. Never counted from a receive time, and never from another's clock.

use super::Lane;
use super::message::{Ask, Reply};
use super::start::Server;
use crate::clock;
use crate::config::defaults::{RAFT_ECHO_INTERVAL, RAFT_ECHO_TIMEOUT, RAFT_ECHOES_UNSEEN};
use crate::model::ids::NodeId;
use openraft::async_runtime::WatchReceiver;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Up to when something is known to be so: that this server's view is whole, or that its leader leads.
#[derive(Debug, Default)]
pub(super) struct Freshness(Mutex<Option<Instant>>);

impl Freshness {
    /// It was so at `time`.
    fn confirm(&self, time: Instant) {
        let mut confirmed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *confirmed = (*confirmed).max(Some(time));
    }

    /// Time since then.
    pub(super) fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(clock::since)
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
        let time = self.since_quorum(&metrics).and_then(|since| clock::now().checked_sub(since));
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
        let mut metrics = self.core.metrics();
        let mut unseen = Unseen::default();
        loop {
            tokio::select! {
                _ = tick.tick() => self.refresh(&mut unseen).await,
                Ok(()) = metrics.changed(), if !unseen.0.is_empty() => {}
            }
            if let Some(asked) = unseen.seen(self.published.load(Ordering::Acquire)) {
                self.freshness.confirm(asked);
            }
        }
    }

    async fn refresh(&self, unseen: &mut Unseen) {
        let metrics = self.metrics();
        match metrics.current_leader {
            Some(leader) if leader == metrics.id => self.confirm_as_leader(),
            Some(leader) => self.ask_echo(NodeId::from_u128(leader), unseen).await,
            None => {}
        }
    }

    async fn ask_echo(&self, leader: NodeId, unseen: &mut Unseen) {
        let asked = clock::now();
        let answer = self.link.ask_member(leader, Lane::Core, Ask::Echo, RAFT_ECHO_TIMEOUT).await;
        if let Ok(Reply::Echo(index)) = answer {
            // It leads, however far behind this server is.
            self.leader_heard.confirm(asked);
            unseen.push(index, asked);
        }
    }
}

/// Echoes whose index readers here do not see yet, oldest first, with the time of their question.
#[derive(Debug, Default)]
struct Unseen(VecDeque<(u64, Instant)>);

impl Unseen {
    /// Over the bound the newest is dropped: the oldest is seen first.
    fn push(&mut self, index: u64, asked: Instant) {
        match self.0.len() < RAFT_ECHOES_UNSEEN {
            true => self.0.push_back((index, asked)),
            false => metrics::counter!("kontor.raft.echoes_dropped").increment(1),
        }
    }

    /// Forgets what `published` covers; the time of the latest question among it.
    fn seen(&mut self, published: u64) -> Option<Instant> {
        let mut latest = None;
        while let Some((_, asked)) = self.0.pop_front_if(|(index, _)| *index <= published) {
            latest = Some(asked);
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_counts_once_its_index_is_seen_and_a_laggard_keeps_the_oldest() {
        let start = Instant::now();
        let at = |number: u64| start + Duration::from_millis(number);
        let mut unseen = Unseen::default();
        assert_eq!(unseen.seen(9), None);
        (1..=3).for_each(|number| unseen.push(number * 10, at(number)));
        assert_eq!(unseen.seen(9), None);
        assert_eq!(unseen.seen(20), Some(at(2)));
        assert_eq!(unseen.seen(29), None);
        (4..1_000).for_each(|number| unseen.push(number * 10, at(number)));
        assert_eq!(unseen.0.len(), RAFT_ECHOES_UNSEEN);
        assert_eq!(unseen.seen(30), Some(at(3)));
    }
}
