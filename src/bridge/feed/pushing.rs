//! The feeds that one connection of another datacenter has open here, with their bounds.

use super::super::frame::{self, FrameError};
use super::freshness::{FeedsFreshness, FreshnessBasis, Poll};
use super::message::{Echo, Known, Ping};
use crate::defaults;
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::Identity;
use crate::model::request::{Interest, Source};
use quinn::{Connection, VarInt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The feeds of one connection.
pub(in crate::bridge) struct Pushing {
    pub(super) source: Arc<dyn Source>,
    /// Turns for pushes that are read and written at a time.
    pub(super) sending: Semaphore,
    /// The place of the heartbeat.
    pub(super) pulse: Semaphore,
    /// KiB of pushes that may be sent and not taken.
    pub(super) flying: Semaphore,
    /// The connection, where its peer may open more streams as it has more feeds.
    connection: Connection,
    dc: Arc<str>,
    /// Once it is triggered feeds end without notice, and no echo is made any more.
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    standing: FeedsFreshness,
    /// Feeds that must be polled.
    polled: usize,
    query_bytes: usize,
    /// Streams that the peer may open for feeds.
    room: usize,
}

/// The basis of a feed's next read. Made before the read.
pub(super) enum Watched {
    Called(Arc<dyn Interest>),
    Polled,
}

/// Why a feed cannot be opened.
#[derive(Debug)]
pub(super) enum NotFed {
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
        let flying = Semaphore::new((defaults::FEED_ARRIVING_BYTES >> 10) as usize);
        let pulse = Semaphore::new(1);
        Arc::new(Pushing { source, sending, pulse, flying, connection, dc, stop, state: Mutex::default() })
    }

    /// Ends the connection, because of an act of no honest peer; gives `error` back.
    pub(super) fn hang_up(&self, error: FrameError) -> FrameError {
        metrics::counter!("kontor.bridge.links_cut").increment(1);
        let (dc, peer) = (&self.dc, self.connection.remote_address());
        // A peer that repeats it comes a few times a second at most: it must dial first.
        warn!(%dc, %peer, %error, "bridge connection cut: the other side does not keep to the protocol");
        self.connection.close(frame::REFUSED, error.to_string().as_bytes());
        error
    }

    /// A place for a feed, whose query came as `size` bytes.
    pub(super) fn open(self: &Arc<Pushing>, feed: u64, query: Arc<Identity>, size: usize) -> Result<Seat, NotFed> {
        // In memory a short text takes more than on its way.
        let size = size.max(query.text_bytes());
        let mut state = self.state();
        if state.standing.len() >= defaults::FEED_MAX_PER_LINK {
            return Err(full(format!("{} feeds stand on this link already", defaults::FEED_MAX_PER_LINK)));
        }
        if state.query_bytes + size > defaults::FEED_QUERY_BYTES {
            return Err(full(format!("the feeds of this link have {} bytes of queries already", state.query_bytes)));
        }
        if !state.standing.open(feed) {
            return Err(NotFed::Number);
        }
        state.query_bytes += size;
        let more = state.more_room();
        drop(state);
        if let Some(streams) = more {
            self.connection.set_max_concurrent_bi_streams(streams);
        }
        metrics::gauge!("kontor.bridge.feeds_open").increment(1.0);
        Ok(Seat { pushing: Arc::clone(self), feed, query, size, is_polled: false, news: Arc::default() })
    }

    /// The answer to a ping that has just come; unset when the feeds are being ended.
    pub(super) fn echo(&self, ping: Ping) -> Option<Echo> {
        // Every write acknowledged before this age is seen by all reads that follow.
        let age = self.source.age();
        let polls = {
            let state = self.state();
            if state.polled == 0 { Vec::new() } else { state.standing.polls() }
        };
        let read = |query: &Identity| self.source.read(query).ok().as_ref().map(Known::of);
        let seen = polls.into_iter().filter_map(|(feed, query)| Some((feed, read(&query)?))).collect();
        let mut state = self.state();
        // Feeds lose their places once they are stopped, and an echo would take them for settled.
        if self.stop.is_cancelled() { None } else { Some(state.standing.echo(ping, age, &seen)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of streams that the peer may have open from now on, if that is more than before.
    fn more_room(&mut self) -> Option<VarInt> {
        if self.room >= defaults::FEED_MAX_PER_LINK || self.standing.len() + defaults::FEED_STREAMS_STEP / 2 < self.room {
            return None;
        }
        self.room += defaults::FEED_STREAMS_STEP;
        VarInt::try_from(defaults::BRIDGE_MAX_STREAMS as usize + self.room).ok()
    }
}

/// A feed's place; dropping it frees all that the feed held.
pub(super) struct Seat {
    pushing: Arc<Pushing>,
    feed: u64,
    pub(super) query: Arc<Identity>,
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
                let why = format!("{} feeds that must be polled stand on this link", defaults::FEED_MAX_POLLED);
                return Err(Fault::new(FaultKind::Busy, why));
            }
            state.polled += 1;
            drop(state);
            self.is_polled = true;
        }
        Ok(Watched::Polled)
    }

    /// Numbers the push of a read made after [`Seat::watch`]. From here on echoes name it.
    pub(super) fn push(&self, watched: &Watched, reported: Known) -> u64 {
        let basis = self.basis(watched, reported);
        let (number, _before) = self.pushing.state().standing.push(self.feed, basis);
        number
    }

    /// Notes that a read made after [`Seat::watch`] equals the last push.
    pub(super) fn settle(&self, watched: &Watched, reported: Known) {
        let basis = self.basis(watched, reported);
        let _before = self.pushing.state().standing.settle(self.feed, basis);
    }

    /// Resolves when another read may bring news.
    pub(super) async fn changed(&self, watched: &Watched) {
        match watched {
            Watched::Called(interest) => interest.changed().await,
            Watched::Polled => self.news.notified().await,
        }
    }

    fn basis(&self, watched: &Watched, reported: Known) -> FreshnessBasis {
        match watched {
            Watched::Called(interest) => FreshnessBasis::Called(Arc::clone(interest)),
            Watched::Polled => {
                let (query, news) = (Arc::clone(&self.query), Arc::clone(&self.news));
                FreshnessBasis::Polled(Arc::new(Poll { query, reported, news }))
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.pushing.state();
        let before = state.standing.close(self.feed);
        state.query_bytes -= self.size;
        state.polled -= usize::from(self.is_polled);
        drop(state);
        drop(before);
        metrics::gauge!("kontor.bridge.feeds_open").decrement(1.0);
    }
}

fn full(why: String) -> NotFed {
    NotFed::Full(Fault::new(FaultKind::Busy, why))
}
