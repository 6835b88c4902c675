//! `?cached` as its readers see it: feeds of a simulated catalog, in virtual time.

use super::held_read::read_local;
use super::local_feed::{LocalFeeds, Origin};
use crate::clock;
use crate::defaults::{CACHED_IDLE, CACHED_RETRY};
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::ids::Token;
use crate::model::operation::{HealthRead, Lookup, Read};
use crate::model::principal::Principal;
use crate::model::query::testing::QueryOptions;
use crate::model::query::{CacheControl, Consistency, Query};
use crate::model::request::{Phase, Progress};
use crate::shutdown::Shutdown;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(300);

/// A catalog whose one result a test sets; `None` for out of reach.
struct Far {
    content: watch::Sender<Option<u64>>,
    fetches: AtomicUsize,
    parked: AtomicUsize,
    /// How old the view is that fetches are parked on.
    contact: Mutex<Option<Duration>>,
    /// Milliseconds that an answer is on its way.
    transit: AtomicU64,
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Far {
    async fn read(self: Arc<Far>, query: Query, progress: Progress) -> Result<Answer, Fault> {
        assert_eq!((query.freshness.consistency, query.freshness.cached), (Consistency::Stale, None));
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.parked.fetch_add(1, Ordering::SeqCst);
        let _leave = Leave(&self.parked);
        // The time of a round trip, so that fetches can overlap.
        sleep(Duration::from_millis(1)).await;
        let (mut content, parked) = (self.content.subscribe(), Instant::now());
        progress.set(Phase::Parked);
        let news = content.wait_for(|now| now.is_none_or(|index| index > query.freshness.min_index));
        let _ = timeout(WAIT, news).await;
        let index = (*self.content.borrow()).ok_or_else(|| Fault::unreachable("cut off"))?;
        let mut answer = Answer { body: index.to_string().into(), ..Answer::default() };
        answer.meta.index = index;
        answer.ready(parked.elapsed());
        progress.set(Phase::Working);
        sleep(Duration::from_millis(self.transit.load(Ordering::SeqCst))).await;
        Ok(answer)
    }
}

/// The feeds of that catalog.
struct Case {
    far: Arc<Far>,
    feeds: LocalFeeds,
    shutdown: Shutdown,
}

impl Case {
    fn new() -> Case {
        let far = Arc::new(Far {
            content: watch::Sender::new(Some(7)),
            fetches: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            contact: Mutex::new(Some(Duration::ZERO)),
            transit: AtomicU64::new(0),
        });
        let (fetched, seen, shutdown) = (Arc::clone(&far), Arc::clone(&far), Shutdown::new());
        let origin = Origin {
            fetch: Arc::new(move |query, progress| Box::pin(Arc::clone(&fetched).read(query, progress))),
            contact: Arc::new(move |_| *seen.contact.lock().unwrap()),
        };
        Case { far, feeds: LocalFeeds::new(origin, &shutdown), shutdown }
    }

    /// A feed with its first answer, a second ago.
    async fn standing() -> Case {
        let case = Case::new();
        assert_eq!(case.read(CacheControl::default()).await, (false, 0, 7));
        sleep(SECOND).await;
        case
    }

    async fn ask(&self, query: &Query) -> Result<Answer, Fault> {
        read_local(&self.feeds, query).await
    }

    /// True if the answer was a hit, its age in seconds, and its index.
    async fn read(&self, control: CacheControl) -> (bool, u64, u64) {
        cache_facts(&self.ask(&query(control)).await.unwrap())
    }

    async fn is_hit(&self, query: &Query) -> bool {
        cache_facts(&self.ask(query).await.unwrap()).0
    }

    fn set(&self, content: Option<u64>) {
        self.far.content.send_replace(content);
    }

    fn set_contact(&self, age: Option<u64>) {
        *self.far.contact.lock().unwrap() = age.map(Duration::from_secs);
    }

    fn fetches(&self) -> usize {
        self.far.fetches.load(Ordering::SeqCst)
    }

    fn parked(&self) -> usize {
        self.far.parked.load(Ordering::SeqCst)
    }
}

fn cache_facts(answer: &Answer) -> (bool, u64, u64) {
    let cache = answer.meta.cache.unwrap();
    (cache.hit, cache.age.as_secs(), answer.meta.index)
}

fn query(control: CacheControl) -> Query {
    let read = Read::Health(HealthRead::Service { name: "web".into(), lookup: Lookup::Plain });
    QueryOptions { cached: Some(control), ..QueryOptions::default() }.ask(read)
}

fn any() -> Query {
    query(CacheControl::default())
}

/// A query that waits for news of index 7.
fn blocking(wait: Duration) -> Query {
    let mut query = any();
    (query.freshness.min_index, query.freshness.wait) = (7, wait);
    query
}

fn max_age(seconds: u64) -> CacheControl {
    CacheControl { max_age: Some(Duration::from_secs(seconds)), ..CacheControl::default() }
}

#[tokio::test(start_paused = true)]
async fn the_first_is_a_miss_and_the_next_a_hit_of_age_zero() {
    let case = Case::standing().await;
    sleep(SECOND * 99).await;
    assert_eq!(case.read(CacheControl::default()).await, (true, 0, 7));
    assert_eq!(case.read(max_age(1)).await, (true, 0, 7), "a feed in contact is never old");
}

#[tokio::test(start_paused = true)]
async fn concurrent_misses_share_one_fetch() {
    let (case, query) = (Case::new(), any());
    let all = futures_util::future::join_all((0..50).map(|_| case.ask(&query))).await;
    assert!(all.iter().all(|answer| cache_facts(answer.as_ref().unwrap()) == (false, 0, 7)));
    assert_eq!(case.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_arrives_without_anybody_asking() {
    let case = Case::standing().await;
    case.set(Some(8));
    sleep(SECOND).await;
    assert_eq!(case.read(CacheControl::default()).await, (true, 0, 8));
}

#[tokio::test(start_paused = true)]
async fn max_age_zero_and_must_revalidate_fetch_anew() {
    let case = Case::standing().await;
    for control in [max_age(0), CacheControl { must_revalidate: true, ..CacheControl::default() }] {
        sleep(SECOND).await;
        let before = case.fetches();
        assert_eq!(case.read(control).await, (false, 0, 7));
        assert!(case.fetches() > before);
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_the_age_grows_until_max_age_and_stale_if_error_refuse_it() {
    let case = Case::standing().await;
    case.set(None);
    sleep(SECOND * 60).await;
    let (hit, age, index) = case.read(CacheControl::default()).await;
    assert!(hit && (58..=61).contains(&age) && index == 7, "{age}");
    assert!(case.read(max_age(120)).await.0);
    assert_eq!(case.ask(&query(max_age(10))).await, Err(Fault::unreachable("cut off")));
    let tolerant = |seconds| CacheControl { stale_if_error: Some(Duration::from_secs(seconds)), ..max_age(10) };
    let (hit, age, _) = case.read(tolerant(600)).await;
    assert!(hit && age >= 58, "served in spite of the error");
    assert_eq!(case.ask(&query(tolerant(20))).await, Err(Fault::unreachable("cut off")));
    case.set(Some(9));
    sleep(CACHED_RETRY.1 * 2).await;
    assert_eq!(case.read(max_age(10)).await, (true, 0, 9), "back in contact by itself");
}

#[tokio::test(start_paused = true)]
async fn the_age_counts_from_the_server_s_answer_and_not_from_its_arrival() {
    let case = Case::standing().await;
    case.far.transit.store(5_000, Ordering::SeqCst);
    // The feed was parked for long, which is not a part of the age.
    sleep(SECOND * 100).await;
    case.set(Some(8));
    sleep(SECOND * 6).await;
    case.set_contact(None);
    let (hit, age, index) = case.read(CacheControl::default()).await;
    assert!(hit && index == 8 && (5..=7).contains(&age), "of index {index}, {age} s old");
    let missed = case.ask(&query(max_age(0))).await.unwrap().meta;
    assert_eq!((missed.last_contact.as_secs(), missed.cache.unwrap().age), (5, Duration::ZERO), "Consul tells no age of a miss");
    sleep(SECOND * 2).await;
    assert!(!case.read(max_age(6)).await.0, "too old, with its way");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_parked_on_an_old_view_makes_nothing_young() {
    let case = Case::standing().await;
    case.set_contact(Some(40));
    sleep(SECOND * 60).await;
    let answer = case.ask(&any()).await.unwrap();
    assert_eq!((cache_facts(&answer), answer.meta.last_contact.as_secs()), ((true, 40, 7), 40), "as old as the view");
    case.set_contact(None);
    let (hit, age, _) = case.read(CacheControl::default()).await;
    assert!(hit && (40..=42).contains(&age), "nobody knows: as when it was known last, {age}");
    assert!(!case.read(max_age(10)).await.0, "who takes less has it asked for anew");
    sleep(SECOND * 30).await;
    let (hit, age, _) = case.read(CacheControl::default()).await;
    assert!(hit && age <= 2, "and so does the feed itself, {age}");
}

#[tokio::test(start_paused = true)]
async fn the_age_that_a_stale_read_takes_counts_beside_cached() {
    let case = Case::standing().await;
    case.set_contact(Some(5));
    sleep(SECOND * 9).await;
    for (bound, is_hit) in [(10, true), (2, false)] {
        let mut bounded = any();
        bounded.freshness.max_stale = Some(Duration::from_secs(bound));
        assert_eq!(case.is_hit(&bounded).await, is_hit, "{bound} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_night_that_the_host_slept_is_part_of_the_age() {
    let case = Case::standing().await;
    case.set_contact(None);
    clock::testing::sleep(Duration::from_secs(8 * 3600));
    let (hit, age, _) = case.read(CacheControl::default()).await;
    assert!(hit && age >= 8 * 3600, "{age}");
}

#[tokio::test(start_paused = true)]
async fn a_night_in_which_an_answer_was_on_its_way_is_part_of_its_age() {
    let case = Case::standing().await;
    case.far.transit.store(1_000, Ordering::SeqCst);
    case.set(Some(8));
    sleep(SECOND / 2).await;
    clock::testing::sleep(Duration::from_secs(8 * 3600));
    case.set_contact(None);
    sleep(SECOND).await;
    let (_, age, index) = case.read(CacheControl::default()).await;
    assert!(index == 8 && age >= 8 * 3600, "{age}");
}

#[tokio::test(start_paused = true)]
async fn a_first_fetch_that_fails_is_told_and_the_next_asker_tries_again() {
    let case = Case::new();
    case.set(None);
    assert_eq!(case.ask(&any()).await, Err(Fault::unreachable("cut off")));
    case.set(Some(7));
    assert_eq!(case.read(CacheControl::default()).await, (false, 0, 7));
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_waits_on_the_feed() {
    let case = Case::standing().await;
    let mut blocking = blocking(SECOND * 10);
    let began = Instant::now();
    assert_eq!(case.ask(&blocking).await.unwrap().meta.index, 7);
    assert_eq!(began.elapsed().as_secs(), 10);
    let change = async {
        sleep(SECOND * 2).await;
        case.set(Some(8));
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(case.ask(&blocking), change);
    assert_eq!((cache_facts(&answer.unwrap()), began.elapsed().as_secs()), ((false, 0, 8), 2));
    blocking.freshness.min_index = 3;
    assert!(case.is_hit(&blocking).await, "an index that is passed already is a hit");
}

#[tokio::test(start_paused = true)]
async fn tokens_and_parameters_have_feeds_of_their_own() {
    let case = Case::standing().await;
    let mut other = any();
    other.identity_mut().principal = Principal::Token(Token("secret".into()));
    assert!(!case.is_hit(&other).await);
    let mut tagged = any();
    tagged.identity_mut().selection.tags = vec!["v1".into()];
    assert!(!case.is_hit(&tagged).await);
    let mut consistency = any();
    consistency.freshness.consistency = Consistency::Stale;
    assert!(case.is_hit(&consistency).await, "the mode makes no other feed");
}

#[tokio::test(start_paused = true)]
async fn a_feed_ends_when_idle_and_with_the_agent() {
    let case = Case::standing().await;
    sleep(CACHED_IDLE + WAIT * 2).await;
    assert_eq!(case.parked(), 0, "idle");
    assert!(!case.is_hit(&any()).await);
    sleep(SECOND).await;
    assert_eq!(case.parked(), 1);
    let blocking = blocking(WAIT);
    let (waiting, drained) = tokio::join!(case.ask(&blocking), case.shutdown.drain(SECOND));
    assert_eq!((waiting, drained), (Err(Fault::failed("the cache is shutting down")), Ok(())));
    assert_eq!(case.parked(), 0, "shutdown");
    assert_eq!(case.ask(&any()).await, Err(Fault::failed("the cache is shutting down")));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_falls_out_of_the_cache_ends_once_no_reader_waits() {
    let case = Case::standing().await;
    let blocking = blocking(WAIT);
    let evicted = async {
        sleep(SECOND).await;
        case.feeds.forget(&any().identity);
        sleep(SECOND).await;
        assert_eq!(case.parked(), 1, "a reader waits");
        case.set(Some(8));
    };
    let (answer, ()) = tokio::join!(case.ask(&blocking), evicted);
    assert_eq!(answer.unwrap().meta.index, 8);
    sleep(SECOND).await;
    assert_eq!(case.parked(), 0);
    assert!(!case.is_hit(&any()).await);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_changes_all_the_time_costs_ten_fetches_a_second() {
    let case = Case::standing().await;
    let before = case.fetches();
    for index in 8..1_008 {
        case.set(Some(index));
        sleep(Duration::from_millis(10)).await;
    }
    let fetches = case.fetches() - before;
    assert!((50..=102).contains(&fetches), "{fetches}");
}
