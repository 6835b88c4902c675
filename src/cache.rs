//! Answers that are held for readers to come. A feed keeps the answer to one query: of this datacenter
//! (`router/local_feed`), or of another one (`bridge/feed`). `router/held_read` answers queries from both.

use crate::clock::{self, Latest};
use crate::defaults::FEED_USE_GRAIN;
use crate::model::answer::{Answer, CacheUse};
use crate::model::fault::Fault;
use crate::model::query::{Consistency, Identity};
use futures_util::future::BoxFuture;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// An answer with its age.
#[derive(Clone, Debug)]
pub struct Held {
    /// The answer as its server gave it; its `last_contact` says nothing here.
    pub answer: Arc<Answer>,
    /// The time, by [`clock`], as of which a server of the answering datacenter knew that it is the newest.
    pub as_of: Instant,
}

impl Held {
    /// Time since the answer was known to be the newest, with its way to this agent.
    pub fn age(&self) -> Duration {
        clock::since(self.as_of)
    }

    /// The answer as it is given to a reader: a hit was held before the reader asked.
    pub fn to_answer(&self, hit: bool) -> Answer {
        let (age, mut answer) = (self.age(), Answer::clone(&self.answer));
        answer.meta.last_contact = age;
        answer.meta.consistency = Consistency::Stale;
        answer.meta.cache = Some(CacheUse { hit, age });
        answer
    }
}

/// A query whose answer is kept, as the cache sees it.
pub trait Feed: Send + Sync + 'static {
    /// Bytes counted for a feed beyond its query and its body.
    const OVERHEAD: u32;

    /// The query.
    fn query(&self) -> &Arc<Identity>;

    /// Bytes of the body that is held.
    fn body_bytes(&self) -> usize;

    /// The feed has fallen out of the cache.
    fn evict(&self);
}

/// Feeds by the identity of their queries, principal included, bounded in bytes.
pub struct FeedCache<F> {
    feeds: moka::sync::Cache<Arc<Identity>, Arc<F>>,
    bytes: metrics::Gauge,
}

impl<F> std::fmt::Debug for FeedCache<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedCache").finish_non_exhaustive()
    }
}

impl<F: Feed> FeedCache<F> {
    /// An empty cache of at most `max_bytes`. The counter `evictions` counts feeds that made room; `bytes` shows the size.
    pub fn new(max_bytes: u64, evictions: &'static str, bytes: metrics::Gauge) -> FeedCache<F> {
        let feeds = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_query: &Arc<Identity>, feed: &Arc<F>| weight(&**feed))
            .eviction_listener(move |_query, feed: Arc<F>, cause| {
                if cause == RemovalCause::Size {
                    metrics::counter!(evictions).increment(1);
                }
                if cause != RemovalCause::Replaced {
                    feed.evict();
                }
            })
            .build();
        FeedCache { feeds, bytes }
    }

    /// The feed of `query`.
    pub fn get(&self, query: &Arc<Identity>) -> Option<Arc<F>> {
        self.feeds.get(query)
    }

    /// The feed of `query`, made by `begin` where there is none.
    pub fn get_or(&self, query: &Arc<Identity>, begin: impl FnOnce() -> Arc<F>) -> Arc<F> {
        self.feeds.get_with_by_ref(query, begin)
    }

    /// All feeds.
    pub fn feeds(&self) -> impl Iterator<Item = Arc<F>> {
        self.feeds.iter().map(|(_query, feed)| feed)
    }

    /// Notes another size of `feed`, where it is still in the cache.
    pub fn weigh(&self, feed: &Arc<F>) {
        // The cache weighs a feed only when it is put in.
        self.put(feed, Op::Put(Arc::clone(feed)));
    }

    /// Takes `feed` out, where it is still in the cache.
    pub fn remove(&self, feed: &Arc<F>) {
        self.put(feed, Op::Remove);
    }

    /// Frees at once the memory of feeds that were taken out.
    pub fn tidy(&self) {
        self.feeds.run_pending_tasks();
        self.bytes.set(self.feeds.weighted_size() as f64);
    }

    fn put(&self, feed: &Arc<F>, op: Op<Arc<F>>) {
        self.feeds.entry_by_ref(feed.query()).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), feed) => op,
            _ => Op::Nop,
        });
        self.bytes.set(self.feeds.weighted_size() as f64);
    }
}

/// A feed in the hands of a reader.
pub trait Follow: Send + Sync {
    /// The answer that is held, where it may be given at once. Counts as a use.
    fn held(&self) -> Option<Held>;

    /// The answer that is held, after waiting for the first one if there is none.
    fn first(&self) -> BoxFuture<'_, Result<Held, Fault>>;

    /// An answer that was asked for after this call.
    fn refresh(&self) -> BoxFuture<'_, Result<Held, Fault>>;

    /// A receiver that changes whenever another answer is held. Its holder keeps the feed alive.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Bytes counted for a feed.
pub fn weight<F: Feed>(feed: &F) -> u32 {
    // Twice the query: in the feed, and as the key.
    let bytes = feed.body_bytes().saturating_add(feed.query().text_bytes().saturating_mul(2));
    u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(F::OVERHEAD)
}

/// The readers of one feed: they keep it alive while they wait, and for some time after.
#[derive(Debug)]
pub struct FeedUse {
    /// Counts the changes of the answer held.
    changes: watch::Sender<u64>,
    used: Latest,
    evicted: CancellationToken,
}

impl Default for FeedUse {
    /// A feed that is used now.
    fn default() -> FeedUse {
        let used = Latest::default();
        used.happens();
        FeedUse { changes: watch::Sender::new(0), used, evicted: CancellationToken::new() }
    }
}

impl FeedUse {
    /// A reader uses the feed now. Noted no finer than [`FEED_USE_GRAIN`]: readers of a busy feed do not all write.
    pub fn touch(&self) {
        if self.used.age().is_none_or(|age| age >= FEED_USE_GRAIN) {
            self.used.happens();
        }
    }

    /// The time of the last use.
    pub fn last(&self) -> Instant {
        self.used.at().unwrap_or_else(Instant::now)
    }

    /// A receiver that changes with the answer held; its holder counts as a reader that waits.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// True if a reader waits.
    pub fn is_watched(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// Wakes all readers that wait.
    pub fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The feed is in the cache no more.
    pub fn evict(&self) {
        self.evicted.cancel();
    }

    /// True if the feed has fallen out of the cache.
    pub fn is_evicted(&self) -> bool {
        self.evicted.is_cancelled()
    }

    /// Resolves when no reader waits, and the feed is out of the cache or was not used for `idle`.
    pub async fn unwanted(&self, idle: Duration) {
        loop {
            while self.is_watched() {
                self.changes.closed().await;
                self.used.happens();
            }
            let due = self.last() + idle;
            if self.is_evicted() || Instant::now() >= due {
                return;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.evicted.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_told_with_its_true_age() {
        let mut answer = Answer::default();
        answer.meta.index = 7;
        answer.meta.last_contact = Duration::from_secs(99);
        let held = Held { answer: Arc::new(answer), as_of: clock::now() };
        tokio::time::advance(Duration::from_millis(2_500)).await;
        let meta = held.to_answer(true).meta;
        let age = Duration::from_millis(2_500);
        assert_eq!((meta.index, meta.last_contact, meta.cache), (7, age, Some(CacheUse { hit: true, age })));
        assert_eq!(meta.consistency, Consistency::Stale);
    }
}
