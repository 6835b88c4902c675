//! The feeds that one connection of another datacenter has open here, and what its echoes say of them.
//!
//! A feed looks settled only while the interest that was registered before its newest read is quiet
//! and that read is numbered. Both change in one step, under one lock, and an interest that was called
//! stays so: whatever a feed's task is at, an echo made meanwhile counts it as behind.

use super::super::frame::{self, FrameError};
use super::age::Vouch;
use super::message::{Echo, Known, Ping, fingerprint};
use crate::config::defaults;
use crate::model::answer::{Answer, Found};
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::Query;
use crate::model::request::{Interest, Source};
use quinn::{Connection, VarInt};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// What one connection has open here.
pub(in crate::bridge) struct Pushing {
    pub(super) source: Arc<dyn Source>,
    /// For pushes that are read and written at one time.
    pub(super) sending: Semaphore,
    /// The connection, where its peer may open more streams as it has more feeds.
    connection: Connection,
    /// The datacenter of the other side.
    dc: Arc<str>,
    /// Once it is triggered feeds end without notice, and no echo is made any more.
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    vouch: Vouch,
    feeds: HashMap<u64, Basis>,
    polled: usize,
    /// Bytes of all their queries.
    query_bytes: usize,
    has_pulse: bool,
    /// Streams that the peer may open for feeds.
    room: usize,
}

/// How it is known whether a feed has news.
#[derive(Clone)]
enum Basis {
    /// It is not: nothing was pushed yet, or the feed ends.
    Unknown,
    /// The interest that was registered before the newest read is called.
    Called(Arc<dyn Interest>),
    /// Another read tells something else.
    Polled(Arc<Poll>),
}

/// What the next read of a feed rests on. Made before the read.
pub(super) enum Watched {
    Called(Arc<dyn Interest>),
    Polled,
}

struct Poll {
    query: Arc<Query>,
    told: Known,
    news: Arc<Notify>,
}

/// Why a feed cannot be opened.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The number is in use: the follower has lost count.
    Number,
    /// A bound is reached.
    Full(Fault),
}

impl Pushing {
    pub(in crate::bridge) fn new(
        source: Arc<dyn Source>,
        connection: Connection,
        dc: Arc<str>,
        stop: CancellationToken,
    ) -> Arc<Pushing> {
        let sending = Semaphore::new(defaults::FEED_MAX_SENDING);
        Arc::new(Pushing { source, sending, connection, dc, stop, state: Mutex::default() })
    }

    /// Ends the connection, because of what no honest peer does; gives `error` back.
    pub(super) fn hang_up(&self, error: FrameError) -> FrameError {
        metrics::counter!("kontor.bridge.links_cut").increment(1);
        let (dc, peer) = (&self.dc, self.connection.remote_address());
        // A peer that does it again and again comes a few times a second at most: it must dial first.
        warn!(%dc, %peer, %error, "bridge connection cut: the other side does not keep to the protocol");
        self.connection.close(frame::REFUSED, error.to_string().as_bytes());
        error
    }

    /// A place for a feed, whose query came as `size` bytes.
    pub(super) fn open(self: &Arc<Pushing>, feed: u64, query: Query, size: usize) -> Result<Seat, Refusal> {
        let mut state = self.state();
        if state.feeds.contains_key(&feed) {
            return Err(Refusal::Number);
        }
        if state.feeds.len() >= defaults::FEED_MAX_PER_LINK {
            return Err(full(format!("{} feeds stand on this link already", defaults::FEED_MAX_PER_LINK)));
        }
        if state.query_bytes + size > defaults::FEED_QUERY_BYTES {
            return Err(full(format!("the feeds of this link have {} bytes of queries already", state.query_bytes)));
        }
        state.query_bytes += size;
        state.vouch.open(feed);
        state.feeds.insert(feed, Basis::Unknown);
        let more = state.more_room();
        drop(state);
        if let Some(streams) = more {
            self.connection.set_max_concurrent_bi_streams(streams);
        }
        metrics::gauge!("kontor.bridge.feeds_open").increment(1.0);
        Ok(Seat { pushing: Arc::clone(self), feed, query: Arc::new(query), size, is_polled: false, news: Arc::default() })
    }

    /// The place of the pulse; unset when it is taken.
    pub(super) fn begin_pulse(self: &Arc<Pushing>) -> Option<Beating> {
        let mut state = self.state();
        if state.has_pulse {
            return None;
        }
        state.has_pulse = true;
        drop(state);
        Some(Beating(Arc::clone(self)))
    }

    /// The answer to a ping that has just come; unset when the feeds are being ended.
    pub(super) fn echo(&self, ping: Ping) -> Option<Echo> {
        // Whatever is acknowledged before this is seen by all that follows, down to that age.
        let age = self.source.age();
        let polls: Vec<(u64, Arc<Query>)> = self.state().polls();
        let seen: HashMap<u64, Option<Known>> =
            polls.into_iter().map(|(feed, query)| (feed, self.source.read(&query).ok().as_ref().map(known))).collect();
        let mut state = self.state();
        if self.stop.is_cancelled() {
            return None;
        }
        let State { vouch, feeds, .. } = &mut *state;
        let is_behind = |feed| match feeds.get(&feed) {
            None | Some(Basis::Unknown) => true,
            Some(Basis::Called(interest)) => interest.called(),
            Some(Basis::Polled(poll)) => {
                let is_news = seen.get(&feed).copied().flatten() != Some(poll.told);
                if is_news {
                    poll.news.notify_one();
                }
                is_news
            }
        };
        Some(vouch.echo(ping, age, is_behind))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn feeds(&self) -> usize {
        self.state().feeds.len()
    }
}

impl State {
    fn polls(&self) -> Vec<(u64, Arc<Query>)> {
        if self.polled == 0 {
            return Vec::new();
        }
        let polls = self.feeds.iter().filter_map(|(feed, basis)| match basis {
            Basis::Polled(poll) => Some((*feed, Arc::clone(&poll.query))),
            Basis::Unknown | Basis::Called(_) => None,
        });
        polls.collect()
    }

    /// How many streams the peer may have open from now on, if that is more than before.
    fn more_room(&mut self) -> Option<VarInt> {
        if self.room >= defaults::FEED_MAX_PER_LINK || self.feeds.len() + defaults::FEED_STREAMS_STEP / 2 < self.room {
            return None;
        }
        self.room += defaults::FEED_STREAMS_STEP;
        VarInt::try_from(defaults::BRIDGE_MAX_STREAMS as usize + self.room).ok()
    }
}

/// A feed's place; dropping it frees what the feed held.
pub(super) struct Seat {
    pushing: Arc<Pushing>,
    feed: u64,
    pub(super) query: Arc<Query>,
    size: usize,
    is_polled: bool,
    news: Arc<Notify>,
}

impl Seat {
    /// Registers interest in the query, before it is read. Fails when too many feeds must be polled.
    pub(super) fn watch(&mut self) -> Result<Watched, Fault> {
        if let Some(interest) = self.pushing.source.watch(&self.query) {
            return Ok(Watched::Called(Arc::from(interest)));
        }
        if !self.is_polled {
            let mut state = self.pushing.state();
            if state.polled >= defaults::FEED_MAX_POLLED {
                let why = format!("{} feeds of what nothing calls about stand on this link", defaults::FEED_MAX_POLLED);
                return Err(Fault::new(FaultKind::Busy, why));
            }
            state.polled += 1;
            drop(state);
            self.is_polled = true;
        }
        Ok(Watched::Polled)
    }

    /// Numbers the push of what was read after [`Seat::watch`]. From here on echoes name it.
    pub(super) fn push(&self, watched: &Watched, told: Known) -> u64 {
        let basis = self.basis(watched, told);
        let mut state = self.pushing.state();
        // What it replaces is dropped when nothing is locked: an interest has locks of its own.
        let before = state.feeds.insert(self.feed, basis);
        let number = state.vouch.push(self.feed);
        drop(state);
        drop(before);
        number
    }

    /// What was read after [`Seat::watch`] is what was told last.
    pub(super) fn settle(&self, watched: &Watched, told: Known) {
        let basis = self.basis(watched, told);
        let before = self.pushing.state().feeds.insert(self.feed, basis);
        drop(before);
    }

    /// The feed ends: from here on no echo speaks for it.
    pub(super) fn retire(&self) {
        let before = self.pushing.state().feeds.insert(self.feed, Basis::Unknown);
        drop(before);
    }

    /// Resolves when another read may bring news.
    pub(super) async fn changed(&self, watched: &Watched) {
        match watched {
            Watched::Called(interest) => interest.changed().await,
            Watched::Polled => self.news.notified().await,
        }
    }

    fn basis(&self, watched: &Watched, told: Known) -> Basis {
        match watched {
            Watched::Called(interest) => Basis::Called(Arc::clone(interest)),
            Watched::Polled => {
                let (query, news) = (Arc::clone(&self.query), Arc::clone(&self.news));
                Basis::Polled(Arc::new(Poll { query, told, news }))
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.pushing.state();
        state.vouch.close(self.feed);
        let before = state.feeds.remove(&self.feed);
        state.query_bytes -= self.size;
        state.polled -= usize::from(self.is_polled);
        drop(state);
        drop(before);
        metrics::gauge!("kontor.bridge.feeds_open").decrement(1.0);
    }
}

/// The place of a connection's pulse.
pub(super) struct Beating(Arc<Pushing>);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.state().has_pulse = false;
    }
}

/// An answer by its fingerprint.
pub(super) fn known(answer: &Answer) -> Known {
    let Answer { meta, body } = answer;
    Known { cluster: meta.cluster, index: meta.index, hash: fingerprint(meta.found != Found::No, body) }
}

fn full(why: String) -> Refusal {
    Refusal::Full(Fault::new(FaultKind::Busy, why))
}
