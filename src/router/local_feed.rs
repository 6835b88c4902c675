//! `?cached` in this datacenter: one feed for each distinct query, kept fresh by a task that watches.

use crate::cache::{Feed, FeedCache, FeedUse, Follow, Held};
use crate::clock;
use crate::defaults::{
    CACHED_BYTES_MAX, CACHED_FEED_OVERHEAD, CACHED_IDLE, CACHED_LOOK, CACHED_PACE, CACHED_POLL, CACHED_RETRY, CACHED_VIEW_AGE,
};
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::{BoxFuture, Phase, Progress};
use crate::shutdown::Shutdown;
use futures_util::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Answers a read, blocking as it says.
pub(super) type Fetch = Arc<dyn Fn(Query, Progress) -> BoxFuture<Result<Answer, Fault>> + Send + Sync>;

/// The greatest age of an answer whose successor is awaited by the fetch of this progress; unset where it is unknown.
pub(super) type Contact = Arc<dyn Fn(&Progress) -> Option<Duration> + Send + Sync>;

/// The reads that fill feeds.
pub(super) struct Origin {
    pub fetch: Fetch,
    pub contact: Contact,
}

pub(super) struct LocalFeeds {
    cache: Arc<FeedCache<LocalFeed>>,
    origin: Origin,
    shutdown: Shutdown,
}

impl std::fmt::Debug for LocalFeeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalFeeds").finish_non_exhaustive()
    }
}

impl LocalFeeds {
    /// No feeds yet; `origin` answers their reads, and blocks as they say.
    pub(super) fn new(origin: Origin, shutdown: &Shutdown) -> LocalFeeds {
        let cache = FeedCache::new(CACHED_BYTES_MAX, "kontor.router.cached_evicted", metrics::Gauge::noop());
        LocalFeeds { cache: Arc::new(cache), origin, shutdown: shutdown.clone() }
    }

    /// The feed of `query`, begun if there is none. A feed that has just ended is passed over for a new one.
    pub(super) fn follow(&self, query: &Arc<Identity>) -> LocalFollow {
        loop {
            let feed = self.cache.get_or(query, || self.begin(query));
            let changes = feed.usage.watch();
            if !feed.state().is_over || self.shutdown.is_triggered() {
                return LocalFollow { feed, changes };
            }
            self.cache.remove(&feed);
        }
    }

    fn begin(&self, query: &Arc<Identity>) -> Arc<LocalFeed> {
        let feed = Arc::new(LocalFeed {
            query: Arc::clone(query),
            contact: Arc::clone(&self.origin.contact),
            usage: FeedUse::default(),
            state: Mutex::default(),
            refresh: Notify::new(),
        });
        let refresher =
            Refresher { feed: Arc::clone(&feed), cache: Arc::clone(&self.cache), fetch: Arc::clone(&self.origin.fetch) };
        self.shutdown.spawn_until("cached-feed", refresher.run());
        feed
    }

    /// Takes the feed of `query` out of the cache.
    #[cfg(test)]
    pub(super) fn forget(&self, query: &Arc<Identity>) {
        self.cache.get(query).iter().for_each(|feed| self.cache.remove(feed));
    }
}

/// One feed. It ends when no reader has used it for long, or once it is out of the cache and no reader waits.
struct LocalFeed {
    query: Arc<Identity>,
    contact: Contact,
    usage: FeedUse,
    state: Mutex<State>,
    /// Has the task ask anew.
    refresh: Notify,
}

/// The results of a feed's fetches.
#[derive(Debug, Default)]
struct State {
    good: Option<Fetched>,
    /// The fault of a later fetch, and when it came.
    failed: Option<(Fault, Instant)>,
    /// True if the task of the feed has ended.
    is_over: bool,
}

#[derive(Debug)]
struct Fetched {
    answer: Arc<Answer>,
    /// When the fetch began that brought the answer.
    asked: Instant,
    /// The answer was the newest at this time, by [`clock`].
    as_of: Instant,
    /// The fetch that ends with a newer answer, or once the view is too old that it is parked on.
    successor: Option<Progress>,
}

impl Fetched {
    /// The time at which the answer is known to have been the newest.
    fn known_as_of(&self, contact: &Contact) -> Instant {
        let parked = self.successor.as_ref().filter(|progress| progress.get() == Phase::Parked);
        let seen = parked.and_then(|progress| contact(progress)).and_then(|age| clock::now().checked_sub(age));
        seen.map_or(self.as_of, |seen| seen.max(self.as_of))
    }

    fn held(&self, contact: &Contact) -> Held {
        Held { answer: Arc::clone(&self.answer), as_of: self.known_as_of(contact) }
    }
}

impl State {
    /// True if the first fetch is still under way.
    fn is_pending(&self) -> bool {
        self.good.is_none() && self.failed.is_none()
    }

    /// The result of a fetch that failed or began after `since`, or of any; unset until there is one.
    fn outcome(&self, since: Option<Instant>, contact: &Contact) -> Option<Result<Held, Fault>> {
        match (&self.failed, &self.good) {
            (Some((fault, at)), _) if since.is_none_or(|since| *at > since) => Some(Err(fault.clone())),
            (_, Some(good)) if since.is_none_or(|since| good.asked >= since) => Some(Ok(good.held(contact))),
            _ => self.is_over.then(|| Err(Fault::failed("the cache is shutting down"))),
        }
    }
}

impl LocalFeed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when no reader is there any more, and none will find it alive.
    async fn unused(&self) {
        loop {
            self.usage.unwanted(CACHED_IDLE).await;
            let mut state = self.state();
            // A reader counts as waiting before it looks at this.
            state.is_over = !self.usage.is_watched();
            if state.is_over {
                return;
            }
        }
    }
}

impl Feed for LocalFeed {
    const OVERHEAD: u32 = CACHED_FEED_OVERHEAD;

    fn query(&self) -> &Arc<Identity> {
        &self.query
    }

    fn body_bytes(&self) -> usize {
        self.state().good.as_ref().map_or(0, |good| good.answer.body.len())
    }

    fn evict(&self) {
        self.usage.evict();
    }
}

/// A feed in the hands of a reader.
#[derive(Clone)]
pub(super) struct LocalFollow {
    feed: Arc<LocalFeed>,
    /// Keeps the feed alive.
    changes: watch::Receiver<u64>,
}

impl LocalFollow {
    /// The answer of a fetch that begins after this call, or of the first one. One fetch serves all who wait.
    async fn fetched(&self) -> Result<Held, Fault> {
        let is_first = self.feed.state().is_pending();
        let since = (!is_first).then(clock::now);
        if !is_first {
            self.feed.refresh.notify_one();
        }
        let mut outcome = None;
        let mut changes = self.changes.clone();
        let settled = |_count: &u64| {
            outcome = self.feed.state().outcome(since, &self.feed.contact);
            outcome.is_some()
        };
        let _closed = changes.wait_for(settled).await.is_err();
        outcome.unwrap_or_else(|| Err(Fault::failed("the cache is shutting down")))
    }
}

impl Follow for LocalFollow {
    fn held(&self) -> Option<Held> {
        self.feed.usage.touch();
        let state = self.feed.state();
        state.good.as_ref().filter(|_| !state.is_over).map(|good| good.held(&self.feed.contact))
    }

    fn first(&self) -> future::BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(self.fetched())
    }

    fn refresh(&self) -> future::BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(self.fetched())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// The pause after a fetch that brought no news of now; each time longer.
fn later(retry: &mut Duration) -> Duration {
    *retry = (*retry * 2).min(CACHED_RETRY.1);
    rand::random_range(*retry / 4..=*retry / 2)
}

/// The task that keeps a feed fresh.
struct Refresher {
    feed: Arc<LocalFeed>,
    cache: Arc<FeedCache<LocalFeed>>,
    fetch: Fetch,
}

impl Refresher {
    async fn run(self) {
        tokio::select! {
            () = self.feed.unused() => {}
            () = self.keep_fresh() => {}
        }
        self.cache.remove(&self.feed);
    }

    async fn keep_fresh(&self) {
        // 0 while not in contact, so that the next fetch answers at once and proves that it is.
        let mut index = 0;
        let mut retry = CACHED_RETRY.0;
        // True if the last answer was read from a view that is old: the leader is asked then.
        let mut behind = false;
        loop {
            let asked = clock::now();
            let progress = Progress::default();
            let query = self.question(index, behind);
            self.await_successor(Some(&progress).filter(|_| index > 0));
            let fetched = tokio::select! {
                fetched = (self.fetch)(query, progress.clone()) => Some(fetched),
                () = self.feed.refresh.notified(), if index > 0 => None,
                () = self.is_parted(&progress), if index > 0 => None,
            };
            self.await_successor(None);
            let Some(fetched) = fetched else {
                index = 0;
                continue;
            };
            let asked_leader = std::mem::take(&mut behind);
            let pause = match fetched {
                Ok(answer) => {
                    behind = answer.meta.last_contact > CACHED_VIEW_AGE;
                    index = if behind { 0 } else { answer.meta.index };
                    let next = self.keep(answer, asked);
                    if behind || asked_leader {
                        next.max(later(&mut retry))
                    } else {
                        retry = CACHED_RETRY.0;
                        next
                    }
                }
                Err(fault) => {
                    index = 0;
                    self.fail(fault);
                    later(&mut retry)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.feed.refresh.notified() => index = 0,
            }
        }
    }

    /// The next question: parked when it names an index.
    fn question(&self, index: u64, behind: bool) -> Query {
        // A read that is parked on a view that has become old must not stay there.
        let stale = Freshness { max_stale: Some(CACHED_VIEW_AGE), ..Freshness::STALE };
        let freshness = if behind { Freshness::default() } else { stale };
        Query::of(Arc::clone(&self.feed.query), Freshness { min_index: index, ..freshness })
    }

    /// Notes which fetch awaits a newer answer than the one held. No reader is woken for it.
    fn await_successor(&self, fetch: Option<&Progress>) {
        self.feed.state().good.iter_mut().for_each(|good| good.successor = fetch.cloned());
    }

    /// Resolves when the age of the view is unknown that the fetch is parked on. Until then the age is noted.
    async fn is_parted(&self, progress: &Progress) {
        let contact = &self.feed.contact;
        loop {
            tokio::time::sleep(CACHED_LOOK).await;
            self.feed.state().good.iter_mut().for_each(|good| good.as_of = good.known_as_of(contact));
            if progress.get() == Phase::Parked && contact(progress).is_none() {
                return;
            }
        }
    }

    /// Holds an answer; returns the time until the next fetch.
    fn keep(&self, answer: Answer, asked: Instant) -> Duration {
        let before = self.feed.body_bytes();
        let waited = clock::since(asked);
        let on_its_way = waited.saturating_sub(Duration::from_micros(answer.meta.took_micros.into()));
        let as_of = clock::now().checked_sub(on_its_way.saturating_add(answer.meta.last_contact)).unwrap_or(asked);
        let good = Fetched { answer: Arc::new(answer), asked, as_of, successor: None };
        *self.feed.state() = State { good: Some(good), ..State::default() };
        self.feed.usage.wake();
        if self.feed.body_bytes() != before {
            self.cache.weigh(&self.feed);
        }
        let pace = if self.feed.query.read.spec().blocks() { CACHED_PACE } else { CACHED_POLL };
        pace.saturating_sub(waited)
    }

    fn fail(&self, fault: Fault) {
        metrics::counter!("kontor.router.cached_fetch_failed").increment(1);
        self.feed.state().failed = Some((fault, clock::now()));
        self.feed.usage.wake();
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.feed.state().is_over = true;
        self.feed.usage.wake();
    }
}
