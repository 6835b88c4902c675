//! `?cached`: one feed for each distinct query that users of this agent ask for with it.
//!
//! [`Router::query`](super::Router::query) asks here; `feed.rs` keeps each feed fresh. The cache is
//! bounded in bytes; a feed that falls out of it ends as soon as nobody waits on it any more.

use super::feed::{Contact, Feed, FeedCache, Origin, State};
use crate::defaults::{CACHED_BYTES_MAX, CACHED_FEED_OVERHEAD};
use crate::model::answer::{Answer, CacheUse};
use crate::model::fault::Fault;
use crate::model::query::{CacheControl, Freshness, Identity, Query};
use crate::shutdown::Shutdown;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// All feeds of this agent.
pub(super) struct Feeds {
    cache: FeedCache,
    origin: Origin,
    shutdown: Shutdown,
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("count", &self.cache.entry_count()).finish_non_exhaustive()
    }
}

impl Feeds {
    /// No feeds yet; `origin` answers their reads, and blocks as they say.
    pub(super) fn new(origin: Origin, shutdown: &Shutdown) -> Feeds {
        let cache = Cache::builder()
            .max_capacity(CACHED_BYTES_MAX)
            .weigher(|_query: &Arc<Identity>, feed: &Arc<Feed>| feed.body_len().saturating_add(CACHED_FEED_OVERHEAD))
            .eviction_listener(|_query, feed: Arc<Feed>, cause| match cause {
                RemovalCause::Replaced => {}
                RemovalCause::Size => {
                    metrics::counter!("kontor.router.cached_evicted").increment(1);
                    feed.evict();
                }
                RemovalCause::Explicit | RemovalCause::Expired => feed.evict(),
            })
            .build();
        Feeds { cache, origin, shutdown: shutdown.clone() }
    }

    /// Answers `query` from its feed; a feed that is new, or whose answer `query` does not take, is
    /// waited for. However many ask, one fetch is under way.
    pub(super) async fn answer(&self, query: &Query) -> Result<Answer, Fault> {
        let Freshness { cached, max_stale, min_index, .. } = query.freshness;
        let asked = Asked { at: Instant::now(), control: cached.unwrap_or_default(), max_stale };
        let (feed, mut states) = self.subscribe(&query.identity);
        let found = states.borrow_and_update().clone();
        let hit = found.held.as_ref().is_some_and(|held| asked.takes(held.age(&self.origin.contact)));
        let state = if hit {
            found
        } else {
            let pending = found.is_pending();
            if !pending {
                feed.refresh();
            }
            settled(&mut states, |state| if pending { !state.is_pending() } else { state.is_settled_since(asked.at) }).await?
        };
        let answer = asked.outcome(&state, hit, &self.origin.contact)?;
        if min_index == 0 { Ok(answer) } else { self.newer(query, answer, &mut states).await }
    }

    /// Parks on the feed until its answer is newer than the asker's, or until its wait is over.
    async fn newer(&self, query: &Query, current: Answer, states: &mut watch::Receiver<State>) -> Result<Answer, Fault> {
        let (min_index, first) = (query.freshness.min_index, current.meta.index);
        if first > min_index {
            return Ok(current);
        }
        let is_newer = |state: &State| {
            let index = state.held.as_ref().map(|held| held.answer.meta.index);
            // An index that goes down tells of a restore.
            index.is_some_and(|index| index > min_index || index < first)
        };
        match tokio::time::timeout(query.freshness.wait, settled(states, is_newer)).await {
            Ok(state) => state?.answer(false, &self.origin.contact),
            Err(_elapsed) => states.borrow().answer(true, &self.origin.contact),
        }
    }

    /// The feed of `query` and its state. One that has just ended is passed over for a new one.
    fn subscribe(&self, key: &Arc<Identity>) -> (Arc<Feed>, watch::Receiver<State>) {
        loop {
            let feed = self.feed(key);
            feed.touch();
            let states = feed.subscribe();
            if states.has_changed().is_ok() || self.shutdown.is_triggered() {
                return (feed, states);
            }
            self.cache.invalidate(key);
        }
    }

    /// The feed of this key, begun if there is none.
    fn feed(&self, key: &Arc<Identity>) -> Arc<Feed> {
        self.cache.get_with_by_ref(key, || Feed::start(Arc::clone(key), self.cache.clone(), self.origin.clone(), &self.shutdown))
    }
}

/// Waits until the state of a feed satisfies `done`.
async fn settled(states: &mut watch::Receiver<State>, done: impl FnMut(&State) -> bool) -> Result<State, Fault> {
    let state = states.wait_for(done).await.map_err(|_closed| Fault::failed("the cache is shutting down"))?;
    Ok(state.clone())
}

/// What an asker takes, and since when it has been asking.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    control: CacheControl,
    max_stale: Option<Duration>,
}

impl Asked {
    /// Whether an answer of this age is taken as it is.
    fn takes(&self, age: Duration) -> bool {
        !self.control.must_revalidate
            && self.control.max_age.is_none_or(|max| !max.is_zero() && age <= max)
            && self.max_stale.is_none_or(|max| age <= max)
    }

    /// The answer that a settled state gives.
    fn outcome(&self, state: &State, hit: bool, contact: &Contact) -> Result<Answer, Fault> {
        match &state.failed {
            Some(failed) if !hit => {
                let bound = self.control.stale_if_error;
                let good_enough = state.held.as_ref().is_some_and(|held| bound.is_some_and(|bound| held.age(contact) <= bound));
                if good_enough { state.answer(true, contact) } else { Err(failed.fault.clone()) }
            }
            _ => state.answer(hit, contact),
        }
    }
}

impl State {
    /// The answer held, told as a hit or a miss.
    fn answer(&self, hit: bool, contact: &Contact) -> Result<Answer, Fault> {
        let Some(held) = &self.held else {
            return Err(self.failed.as_ref().map_or_else(|| Fault::failed("no answer yet"), |failed| failed.fault.clone()));
        };
        let mut answer = held.answer.clone();
        let age = if hit { held.age(contact) } else { Duration::ZERO };
        // What was fetched just now is as old as its server said.
        answer.meta.last_contact = if hit { age } else { answer.meta.last_contact };
        answer.meta.cache = Some(CacheUse { hit, age });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::defaults::{CACHED_IDLE, CACHED_RETRY};
    use crate::model::operation::{HealthRead, Lookup, Read};
    use crate::model::principal::Principal;
    use crate::model::query::Consistency;
    use crate::model::query::testing::QueryOptions;
    use crate::model::request::{BoxFuture, Phase, Progress};
    use crate::router::feed::Fetch;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const WAIT: Duration = Duration::from_secs(300);

    /// A catalog whose one result a test sets; `None` for out of reach.
    #[derive(Clone)]
    struct Far {
        content: watch::Sender<Option<u64>>,
        fetches: Arc<AtomicUsize>,
        parked: Arc<AtomicUsize>,
        /// How old the view is that fetches are parked on.
        contact: Arc<Mutex<Option<Duration>>>,
    }

    struct Leave(Arc<AtomicUsize>);

    impl Drop for Leave {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Far {
        fn new(index: u64) -> Far {
            let contact = Arc::new(Mutex::new(Some(Duration::ZERO)));
            Far { content: watch::channel(Some(index)).0, fetches: Arc::default(), parked: Arc::default(), contact }
        }

        async fn read(self, query: Query, progress: Progress) -> Result<Answer, Fault> {
            assert_eq!((query.freshness.consistency, query.freshness.cached), (Consistency::Stale, None));
            self.fetches.fetch_add(1, Ordering::SeqCst);
            self.parked.fetch_add(1, Ordering::SeqCst);
            let _leave = Leave(Arc::clone(&self.parked));
            // The time of a round trip, so that fetches can overlap.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut content = self.content.subscribe();
            let min_index = query.freshness.min_index;
            progress.set(Phase::Parked);
            let news = content.wait_for(|now| now.is_none_or(|index| index > min_index));
            let _ = tokio::time::timeout(WAIT, news).await;
            let index = (*self.content.borrow()).ok_or_else(|| Fault::unreachable("cut off"))?;
            let mut answer = Answer { body: index.to_string().into(), ..Answer::default() };
            answer.meta.index = index;
            Ok(answer)
        }

        fn feeds(&self, shutdown: &Shutdown) -> Arc<Feeds> {
            let far = self.clone();
            let fetch: Fetch = Arc::new(move |query, progress| -> BoxFuture<Result<Answer, Fault>> {
                Box::pin(far.clone().read(query, progress))
            });
            let contact = Arc::clone(&self.contact);
            Arc::new(Feeds::new(Origin { fetch, contact: Arc::new(move |_| *contact.lock().unwrap()) }, shutdown))
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    fn query(control: CacheControl) -> Query {
        let read = Read::Health(HealthRead::Service { name: "web".into(), lookup: Lookup::Plain });
        QueryOptions { cached: Some(control), ..QueryOptions::default() }.ask(read)
    }

    fn any() -> Query {
        query(CacheControl::default())
    }

    fn max_age(seconds: u64) -> CacheControl {
        CacheControl { max_age: Some(Duration::from_secs(seconds)), ..CacheControl::default() }
    }

    fn cache_facts(answer: &Answer) -> (bool, u64, u64) {
        let cache = answer.meta.cache.unwrap();
        (cache.hit, cache.age.as_secs(), answer.meta.index)
    }

    async fn pass(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_a_miss_and_the_next_a_hit_of_age_zero() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        assert_eq!(cache_facts(&feeds.answer(&any()).await.unwrap()), (false, 0, 7));
        pass(Duration::from_secs(100)).await;
        assert_eq!(cache_facts(&feeds.answer(&any()).await.unwrap()), (true, 0, 7));
        assert_eq!(cache_facts(&feeds.answer(&query(max_age(1))).await.unwrap()), (true, 0, 7), "a feed in contact is never old");
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_misses_share_one_fetch() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        let query = any();
        let all = futures_util::future::join_all((0..50).map(|_| feeds.answer(&query))).await;
        assert!(all.iter().all(|answer| cache_facts(answer.as_ref().unwrap()) == (false, 0, 7)));
        assert_eq!(far.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_arrives_without_anybody_asking() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(Duration::from_secs(1)).await;
        far.content.send_replace(Some(8));
        pass(Duration::from_secs(1)).await;
        assert_eq!(cache_facts(&feeds.answer(&any()).await.unwrap()), (true, 0, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn max_age_zero_and_must_revalidate_fetch_anew() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        let must_revalidate = CacheControl { must_revalidate: true, ..CacheControl::default() };
        for control in [max_age(0), must_revalidate] {
            pass(Duration::from_secs(1)).await;
            let before = far.fetches();
            assert_eq!(cache_facts(&feeds.answer(&query(control)).await.unwrap()), (false, 0, 7));
            assert!(far.fetches() > before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cut_off_the_age_grows_until_max_age_and_stale_if_error_refuse_it() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(Duration::from_secs(1)).await;
        far.content.send_replace(None);
        pass(Duration::from_secs(60)).await;
        let answer = |control| {
            let feeds = Arc::clone(&feeds);
            async move { feeds.answer(&query(control)).await }
        };
        let (hit, age, index) = cache_facts(&answer(CacheControl::default()).await.unwrap());
        assert!(hit && (58..=61).contains(&age) && index == 7, "{age}");
        assert!(cache_facts(&answer(max_age(120)).await.unwrap()).0);
        assert_eq!(answer(max_age(10)).await, Err(Fault::unreachable("cut off")));
        let tolerant = |seconds| CacheControl { stale_if_error: Some(Duration::from_secs(seconds)), ..max_age(10) };
        let (hit, age, _) = cache_facts(&answer(tolerant(600)).await.unwrap());
        assert!(hit && age >= 58, "served in spite of the error");
        assert_eq!(answer(tolerant(20)).await, Err(Fault::unreachable("cut off")));
        far.content.send_replace(Some(9));
        pass(CACHED_RETRY.1 * 2).await;
        assert_eq!(cache_facts(&answer(max_age(10)).await.unwrap()), (true, 0, 9), "back in contact by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_is_parked_on_an_old_view_makes_nothing_young() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(Duration::from_secs(1)).await;
        let seconds = Duration::from_secs;
        *far.contact.lock().unwrap() = Some(seconds(40));
        pass(seconds(60)).await;
        let answer = feeds.answer(&any()).await.unwrap();
        assert_eq!((cache_facts(&answer), answer.meta.last_contact), ((true, 40, 7), seconds(40)), "as old as the view");
        *far.contact.lock().unwrap() = None;
        let (hit, age, _) = cache_facts(&feeds.answer(&any()).await.unwrap());
        assert!(hit && (40..=42).contains(&age), "nobody knows: as when it was known last, {age}");
        assert!(!cache_facts(&feeds.answer(&query(max_age(10))).await.unwrap()).0, "who takes less has it asked for anew");
        pass(seconds(30)).await;
        let (hit, age, _) = cache_facts(&feeds.answer(&any()).await.unwrap());
        assert!(hit && age <= 2, "and so does the feed itself, {age}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_that_a_stale_read_takes_counts_beside_cached() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(Duration::from_secs(1)).await;
        *far.contact.lock().unwrap() = Some(Duration::from_secs(5));
        pass(Duration::from_secs(9)).await;
        let mut bounded = any();
        bounded.freshness.max_stale = Some(Duration::from_secs(10));
        assert!(cache_facts(&feeds.answer(&bounded).await.unwrap()).0);
        bounded.freshness.max_stale = Some(Duration::from_secs(2));
        assert!(!cache_facts(&feeds.answer(&bounded).await.unwrap()).0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_night_that_the_host_slept_is_part_of_the_age() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(Duration::from_secs(1)).await;
        *far.contact.lock().unwrap() = None;
        clock::testing::sleep(Duration::from_secs(8 * 3600));
        let (hit, age, _) = cache_facts(&feeds.answer(&any()).await.unwrap());
        assert!(hit && age >= 8 * 3600, "{age}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_fetch_that_fails_is_told_and_the_next_asker_tries_again() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        far.content.send_replace(None);
        assert_eq!(feeds.answer(&any()).await, Err(Fault::unreachable("cut off")));
        far.content.send_replace(Some(7));
        assert_eq!(cache_facts(&feeds.answer(&any()).await.unwrap()), (false, 0, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocking_read_waits_on_the_feed() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        let mut blocking = any();
        blocking.freshness.min_index = 7;
        blocking.freshness.wait = Duration::from_secs(10);
        let began = Instant::now();
        assert_eq!(feeds.answer(&blocking).await.unwrap().meta.index, 7);
        assert_eq!(began.elapsed().as_secs(), 10);
        let change = async {
            pass(Duration::from_secs(2)).await;
            far.content.send_replace(Some(8));
        };
        let began = Instant::now();
        let (answer, ()) = tokio::join!(feeds.answer(&blocking), change);
        assert_eq!((cache_facts(&answer.unwrap()), began.elapsed().as_secs()), ((false, 0, 8), 2));
        blocking.freshness.min_index = 3;
        assert!(cache_facts(&feeds.answer(&blocking).await.unwrap()).0, "an index that is passed already is a hit");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_and_parameters_have_feeds_of_their_own() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        let mut other = any();
        other.identity_mut().principal = Principal::Token(crate::model::ids::Token("secret".into()));
        assert!(!cache_facts(&feeds.answer(&other).await.unwrap()).0);
        let mut tagged = any();
        tagged.identity_mut().selection.tags = vec!["v1".into()];
        assert!(!cache_facts(&feeds.answer(&tagged).await.unwrap()).0);
        let mut consistency = any();
        consistency.freshness.consistency = Consistency::Stale;
        assert!(cache_facts(&feeds.answer(&consistency).await.unwrap()).0, "the mode makes no other feed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_ends_when_idle_and_with_the_agent() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(CACHED_IDLE + WAIT * 2).await;
        assert_eq!(far.parked.load(Ordering::SeqCst), 0, "idle");
        assert!(!cache_facts(&feeds.answer(&any()).await.unwrap()).0);
        pass(Duration::from_secs(1)).await;
        assert_eq!(far.parked.load(Ordering::SeqCst), 1);
        assert_eq!(shutdown.drain(Duration::from_secs(1)).await, Ok(()));
        assert_eq!(far.parked.load(Ordering::SeqCst), 0, "shutdown");
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_that_falls_out_of_the_cache_ends() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        pass(Duration::from_secs(1)).await;
        assert_eq!(far.parked.load(Ordering::SeqCst), 1);
        feeds.cache.invalidate(&any().identity);
        pass(Duration::from_secs(1)).await;
        assert_eq!(far.parked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_changes_all_the_time_costs_ten_fetches_a_second() {
        let (far, shutdown) = (Far::new(7), Shutdown::new());
        let feeds = far.feeds(&shutdown);
        feeds.answer(&any()).await.unwrap();
        let before = far.fetches();
        for index in 8..1_008 {
            far.content.send_replace(Some(index));
            pass(Duration::from_millis(10)).await;
        }
        let fetches = far.fetches() - before;
        assert!((50..=102).contains(&fetches), "{fetches}");
    }
}
