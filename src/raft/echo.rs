//! How old a server's view may be, counted from this server's own clock alone, which goes on while the host sleeps.
//!
//! A follower notes when it asks its leader; the leader answers with its commit index only while its
//! lease says that nobody else can lead. Once that index is published here, the view is no older than
//! the question. Never counted from a receive time, and never from another's clock.
//!
//! The question goes along with the reply to each append, and the answer with the next append, so that
//! an idle cluster has its heartbeats alone. A follower to which none comes asks by a message of its own.

use super::Lane;
use super::message::{Ask, Echo, Moment, Reply};
use super::start::Server;
use crate::clock;
use crate::defaults::{RAFT_ECHO_INTERVAL, RAFT_ECHO_PATIENCE, RAFT_ECHO_TIMEOUT, RAFT_ECHOES_UNSEEN};
use crate::model::ids::NodeId;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What a follower has heard of how far its leader has committed.
#[derive(Debug)]
pub(super) struct Echoes {
    run: u64,
    began: Instant,
    unseen: Mutex<Unseen>,
}

impl Default for Echoes {
    fn default() -> Echoes {
        Echoes { run: rand::random(), began: clock::now(), unseen: Mutex::default() }
    }
}

impl Echoes {
    /// The present one, for the leader to tell what came before it.
    fn moment(&self) -> Moment {
        let at = clock::since(self.began).as_micros();
        Moment { run: self.run, at: u64::try_from(at).unwrap_or(u64::MAX) }
    }

    /// When `moment` was; `None` where it is of another run, or not over.
    fn time_of(&self, moment: Moment) -> Option<Instant> {
        let time = self.began.checked_add(Duration::from_micros(moment.at))?;
        Some(time).filter(|time| moment.run == self.run && *time <= clock::now())
    }

    fn unseen(&self) -> MutexGuard<'_, Unseen> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    pub(super) fn staleness(&self) -> Option<Duration> {
        self.confirm_as_leader();
        self.confirm_as_follower();
        self.freshness.age()
    }

    /// A leader knows by its quorum, if it has applied what came before it.
    fn confirm_as_leader(&self) {
        let (now, metrics) = (clock::now(), self.metrics());
        let is_self = super::start::leadership(&metrics).is_self;
        let time = self.since_quorum(&metrics).and_then(|since| now.checked_sub(since));
        if let Some(time) = time.filter(|_| is_self) {
            self.freshness.confirm(time);
        }
    }

    /// A follower knows by the echoes whose index its readers see.
    fn confirm_as_follower(&self) {
        let seen = self.echoes.unseen().seen(self.published.load(Ordering::Acquire));
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
        let published = self.published.load(Ordering::Acquire);
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
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask_echo(&self, leader: NodeId) {
        let asked = clock::now();
        let answer = self.link.ask_member(leader, Lane::Core, Ask::Echo, RAFT_ECHO_TIMEOUT).await;
        if let Ok(Reply::Echo(index)) = answer {
            self.heard(index, asked);
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
    fn a_moment_means_something_in_its_own_run_alone_and_never_before_it_is_over() {
        let echoes = Echoes::default();
        let moment = echoes.moment();
        assert!(clock::since(echoes.time_of(moment).unwrap()) < Duration::from_secs(60));
        assert_eq!(Echoes::default().time_of(moment), None);
        for ahead in [Duration::from_secs(3600).as_micros() as u64, u64::MAX] {
            assert_eq!(echoes.time_of(Moment { at: ahead, ..moment }), None);
        }
    }

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
