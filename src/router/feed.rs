//! One feed: a query that is kept answered by a blocking read in the background.
//!
//! `cached.rs` starts feeds and reads their state. One task owns each feed; askers only watch its
//! state and ask it to look again.

use super::cached::FeedCache;
use super::entry::is_of_store;
use crate::config::defaults::{CACHED_IDLE, CACHED_PACE, CACHED_POLL, CACHED_RETRY};
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::query::Query;
use crate::model::request::BoxFuture;
use crate::shutdown::Shutdown;
use moka::ops::compute::Op;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Answers a read, blocking as it says.
pub(super) type Fetch = Arc<dyn Fn(Query) -> BoxFuture<Result<Answer, Fault>> + Send + Sync>;

/// The last good answer of a feed.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub answer: Answer,
    /// When the fetch began that brought it.
    checked: Instant,
    /// Since when it is not known to be current; unset while the feed is in contact.
    lost: Option<Instant>,
}

impl Held {
    /// How long it has not been known to be current.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.lost.map_or(Duration::ZERO, |lost| now.saturating_duration_since(lost))
    }
}

/// A fetch that failed, later than any that went well.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub fault: Fault,
    at: Instant,
}

/// What a feed has.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub held: Option<Held>,
    pub failed: Option<Failed>,
}

impl State {
    /// Whether the first fetch is still under way.
    pub(super) fn is_pending(&self) -> bool {
        self.held.is_none() && self.failed.is_none()
    }

    /// Whether a fetch that began after `at` went well, or one failed after it.
    pub(super) fn is_settled_since(&self, at: Instant) -> bool {
        self.held.as_ref().is_some_and(|held| held.checked >= at) || self.failed.as_ref().is_some_and(|failed| failed.at > at)
    }
}

/// A feed, as those who ask it hold it. It ends when it has fallen out of the cache and nobody
/// waits on it, and by itself when nobody has used it for long; its state is closed then.
#[derive(Debug)]
pub(super) struct Feed {
    state: watch::Receiver<State>,
    refresh: Notify,
    evicted: CancellationToken,
    last_used: Mutex<Instant>,
}

impl Feed {
    /// Starts a feed of `query`, which tells `cache` when its size changes.
    pub(super) fn start(query: Query, cache: FeedCache, fetch: Fetch, shutdown: &Shutdown) -> Arc<Feed> {
        let sender = watch::Sender::new(State::default());
        let feed = Arc::new(Feed {
            state: sender.subscribe(),
            refresh: Notify::new(),
            evicted: CancellationToken::new(),
            last_used: Mutex::new(Instant::now()),
        });
        let keeper = Keeper { feed: Arc::clone(&feed), state: sender, query, cache, fetch };
        shutdown.spawn_until("cached-feed", keeper.run());
        feed
    }

    /// Its state; changes wake the receiver.
    pub(super) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Has it look again now.
    pub(super) fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// It was used.
    pub(super) fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// It is in the cache no more.
    pub(super) fn evict(&self) {
        self.evicted.cancel();
    }

    /// Bytes of the answer it holds.
    pub(super) fn body_len(&self) -> u32 {
        let len = self.state.borrow().held.as_ref().map_or(0, |held| held.answer.body.len());
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    fn is_idle(&self) -> bool {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= CACHED_IDLE
    }
}

/// The task that keeps a feed fresh.
struct Keeper {
    feed: Arc<Feed>,
    state: watch::Sender<State>,
    query: Query,
    cache: FeedCache,
    fetch: Fetch,
}

impl Keeper {
    async fn run(self) {
        // 0 while not in contact, so that the next fetch answers at once and proves that it is.
        let mut index = 0;
        let mut retry = CACHED_RETRY.0;
        while self.is_wanted() {
            let began = Instant::now();
            let mut query = self.query.clone();
            query.options.min_index = index;
            let fetched = tokio::select! {
                fetched = (self.fetch)(query) => fetched,
                () = self.feed.refresh.notified(), if index > 0 => {
                    index = 0;
                    continue;
                }
                // One that is waited on goes on to the end of its turn.
                () = self.feed.evicted.cancelled(), if !self.is_watched() => return,
            };
            let pause = match fetched {
                Ok(answer) => {
                    retry = CACHED_RETRY.0;
                    index = answer.meta.index;
                    self.keep(answer, began)
                }
                Err(fault) => {
                    index = 0;
                    self.fail(fault);
                    retry = (retry * 2).min(CACHED_RETRY.1);
                    Instant::now() + rand::random_range(retry / 4..=retry / 2)
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(pause) => {}
                () = self.feed.refresh.notified() => index = 0,
            }
        }
    }

    /// Whether somebody watches the feed; it holds one receiver itself.
    fn is_watched(&self) -> bool {
        self.state.receiver_count() > 1
    }

    /// Whether anybody may still ask; a feed that is idle is taken out of the cache.
    fn is_wanted(&self) -> bool {
        if self.feed.is_idle() {
            self.cache.invalidate(&self.query);
            self.feed.evict();
        }
        self.is_watched() || !self.feed.evicted.is_cancelled()
    }

    /// Publishes an answer; returns when to go on.
    fn keep(&self, answer: Answer, began: Instant) -> Instant {
        let is_polled = !is_of_store(&self.query.read);
        let before = self.feed.body_len();
        let held = Held { answer, checked: began, lost: is_polled.then_some(began) };
        self.state.send_replace(State { held: Some(held), failed: None });
        if self.feed.body_len() != before {
            self.weigh_anew();
        }
        began + if is_polled { CACHED_POLL } else { CACHED_PACE }
    }

    fn fail(&self, fault: Fault) {
        metrics::counter!("kontor.router.cached_fetch_failed").increment(1);
        let now = Instant::now();
        self.state.send_modify(|state| {
            if let Some(held) = &mut state.held {
                held.lost.get_or_insert(now);
            }
            state.failed = Some(Failed { fault, at: now });
        });
    }

    /// The cache weighs what is put into it only then: the feed is put in again, if it is in it.
    fn weigh_anew(&self) {
        self.cache.entry_by_ref(&self.query).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), &self.feed) => Op::Put(Arc::clone(&self.feed)),
            _ => Op::Nop,
        });
    }
}
