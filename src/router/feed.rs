//! One feed: a query that is kept answered by a blocking read in the background.
//!
//! `cached.rs` starts feeds and reads their state. One task owns each feed; askers only watch its
//! state and ask it to look again.

use crate::clock;
use crate::defaults::{CACHED_IDLE, CACHED_LOOK, CACHED_PACE, CACHED_POLL, CACHED_RETRY, CACHED_VIEW_AGE};
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::{BoxFuture, Phase, Progress};
use crate::shutdown::Shutdown;
use moka::ops::compute::Op;
use moka::sync::Cache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The feeds by the identity of their query. Its principal is part of that, so nobody gets another's answer.
pub(super) type FeedCache = Cache<Arc<Identity>, Arc<Feed>>;

/// Answers a read, blocking as it says.
pub(super) type Fetch = Arc<dyn Fn(Query, Progress) -> BoxFuture<Result<Answer, Fault>> + Send + Sync>;

/// How old an answer can be at most for whose successor the fetch of this progress is parked; unset when nobody
/// knows.
pub(super) type Contact = Arc<dyn Fn(&Progress) -> Option<Duration> + Send + Sync>;

/// Where feeds read.
#[derive(Clone)]
pub(super) struct Origin {
    pub fetch: Fetch,
    pub contact: Contact,
}

/// The last good answer of a feed.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub answer: Answer,
    /// When the fetch began that brought it.
    checked: Instant,
    /// It was the newest at this time, by [`clock`].
    as_of: Instant,
    /// Of the fetch that ends when there is a newer one, or when the view is too old that it is parked on.
    successor: Option<Progress>,
}

impl Held {
    /// How old it can be.
    pub(super) fn age(&self, contact: &Contact) -> Duration {
        let known = clock::since(self.as_of);
        let parked = self.successor.as_ref().filter(|progress| progress.get() == Phase::Parked);
        parked.and_then(|progress| contact(progress)).map_or(known, |contact| known.min(contact))
    }

    /// Notes that it is no older now than what its successor is parked on says.
    fn note(&mut self, contact: &Contact) {
        if let Some(time) = clock::now().checked_sub(self.age(contact)) {
            self.as_of = self.as_of.max(time);
        }
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
    pub(super) fn start(query: Arc<Identity>, cache: FeedCache, origin: Origin, shutdown: &Shutdown) -> Arc<Feed> {
        let sender = watch::Sender::new(State::default());
        let feed = Arc::new(Feed {
            state: sender.subscribe(),
            refresh: Notify::new(),
            evicted: CancellationToken::new(),
            last_used: Mutex::new(Instant::now()),
        });
        let refresher = Refresher { feed: Arc::clone(&feed), state: sender, query, cache, origin };
        shutdown.spawn_until("cached-feed", refresher.run());
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

/// When to ask again after a fetch that brought no news of now; each time later.
fn later(retry: &mut Duration) -> Instant {
    *retry = (*retry * 2).min(CACHED_RETRY.1);
    Instant::now() + rand::random_range(*retry / 4..=*retry / 2)
}

/// The task that keeps a feed fresh.
struct Refresher {
    feed: Arc<Feed>,
    state: watch::Sender<State>,
    query: Arc<Identity>,
    cache: FeedCache,
    origin: Origin,
}

impl Refresher {
    async fn run(self) {
        // 0 while not in contact, so that the next fetch answers at once and proves that it is.
        let mut index = 0;
        let mut retry = CACHED_RETRY.0;
        // Whether the last answer was read from a view that is old: the leader is asked then.
        let mut behind = false;
        while self.is_wanted() {
            let began = Instant::now();
            let progress = Progress::default();
            let query = self.question(index, behind);
            self.wait_for_successor(Some(&progress).filter(|_| index > 0));
            let fetched = tokio::select! {
                fetched = (self.origin.fetch)(query, progress.clone()) => Some(fetched),
                () = self.feed.refresh.notified(), if index > 0 => None,
                () = self.is_parted(&progress), if index > 0 => None,
                // One that is waited on goes on to the end of its turn.
                () = self.feed.evicted.cancelled(), if !self.is_watched() => return,
            };
            self.wait_for_successor(None);
            let Some(fetched) = fetched else {
                index = 0;
                continue;
            };
            let asked_leader = std::mem::take(&mut behind);
            let pause = match fetched {
                Ok(answer) => {
                    behind = answer.meta.last_contact > CACHED_VIEW_AGE;
                    index = if behind { 0 } else { answer.meta.index };
                    let next = self.keep(answer, began);
                    match behind || asked_leader {
                        true => next.max(later(&mut retry)),
                        false => {
                            retry = CACHED_RETRY.0;
                            next
                        }
                    }
                }
                Err(fault) => {
                    index = 0;
                    self.fail(fault);
                    later(&mut retry)
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(pause) => {}
                () = self.feed.refresh.notified() => index = 0,
            }
        }
    }

    /// The next question: parked when it names an index.
    fn question(&self, index: u64, behind: bool) -> Query {
        // A read that is parked on a view that has become old must not stay there.
        let stale = Freshness { max_stale: Some(CACHED_VIEW_AGE), ..Freshness::STALE };
        let freshness = if behind { Freshness::default() } else { stale };
        Query::of(Arc::clone(&self.query), Freshness { min_index: index, ..freshness })
    }

    /// Notes which fetch is parked for what follows on the answer held. Nobody is woken for it.
    fn wait_for_successor(&self, fetch: Option<&Progress>) {
        self.state.send_if_modified(|state| {
            match (&mut state.held, fetch) {
                (Some(held), Some(progress)) => held.successor = Some(progress.clone()),
                (Some(held), None) => held.successor = None,
                (None, _) => {}
            }
            false
        });
    }

    /// Resolves when nobody knows any more how old the view is that the fetch is parked on: what there is now is
    /// then to be asked for. Until then that is noted, for when the fetch fails.
    async fn is_parted(&self, progress: &Progress) {
        loop {
            tokio::time::sleep(CACHED_LOOK).await;
            self.state.send_if_modified(|state| {
                state.held.iter_mut().for_each(|held| held.note(&self.origin.contact));
                false
            });
            if progress.get() == Phase::Parked && (self.origin.contact)(progress).is_none() {
                return;
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
        let is_polled = !self.query.read.spec().blocks();
        let before = self.feed.body_len();
        let on_its_way = began.elapsed().saturating_sub(Duration::from_micros(answer.meta.took_micros.into()));
        let now = clock::now();
        let as_of = now.checked_sub(on_its_way.saturating_add(answer.meta.last_contact)).unwrap_or(began);
        let held = Held { answer, checked: began, as_of, successor: None };
        self.state.send_replace(State { held: Some(held), failed: None });
        if self.feed.body_len() != before {
            self.weigh_anew();
        }
        began + if is_polled { CACHED_POLL } else { CACHED_PACE }
    }

    fn fail(&self, fault: Fault) {
        metrics::counter!("kontor.router.cached_fetch_failed").increment(1);
        let now = Instant::now();
        self.state.send_modify(|state| state.failed = Some(Failed { fault, at: now }));
    }

    /// The cache weighs what is put into it only then: the feed is put in again, if it is in it.
    fn weigh_anew(&self) {
        self.cache.entry_by_ref(&self.query).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), &self.feed) => Op::Put(Arc::clone(&self.feed)),
            _ => Op::Nop,
        });
    }
}
