//! The answers of other datacenters that this side holds, by query. Each query that is read has a feed.

use super::client;
use super::feed::cached_feed::{Asked, CachedFeed, Phase};
use super::feed::follower::Follower;
use super::feed::places::Places;
use super::links::Links;
use crate::cache::{self, Feed, FeedCache, Follow, Held};
use crate::clock;
use crate::defaults;
use crate::model::answer::Answer;
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::{Consistency, Freshness, Identity, Query};
use crate::model::request::{Hops, Operation, Request};
use crate::shutdown::Shutdown;
use futures_util::future::{BoxFuture, Either, select};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

/// The answers held of one datacenter, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FeedReport {
    /// Feeds that stand, or are being opened.
    pub(super) standing: usize,
    /// Answers held.
    pub(super) held: usize,
    /// Bytes counted for them: bodies, queries, and a share for the feeds.
    pub(super) bytes: u64,
    /// The greatest age of an answer held.
    pub(super) oldest: Option<Duration>,
}

/// The bounds of feeds that are not the cache's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Feeds of one datacenter that stand at a time.
    pub(super) standing: usize,
    /// The longest time without a use before a feed ends.
    pub(super) idle: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { standing: defaults::FEED_MAX_PER_LINK, idle: defaults::FEED_IDLE }
    }
}

/// The answers of all other datacenters.
#[derive(Debug)]
pub(super) struct Answers {
    cache: Arc<FeedCache<CachedFeed>>,
    links: Arc<Links>,
    places: Arc<Places>,
    idle: Duration,
    shutdown: Shutdown,
    hits: metrics::Counter,
    misses: metrics::Counter,
}

impl Answers {
    /// No answers yet, and at most `bytes` of them later. Feeds end with `shutdown`.
    pub(super) fn new(links: Arc<Links>, bytes: u64, bounds: Bounds, shutdown: Shutdown) -> Answers {
        let held = metrics::gauge!("kontor.bridge.cache_bytes");
        Answers {
            cache: Arc::new(FeedCache::new(bytes, "kontor.bridge.answers_evicted", held)),
            links,
            places: Arc::new(Places::new(bounds.standing)),
            idle: bounds.idle,
            shutdown,
            hits: metrics::counter!("kontor.bridge.cache_hits"),
            misses: metrics::counter!("kontor.bridge.cache_misses"),
        }
    }

    /// The feed of `query`, which is of `dc`. An unknown datacenter takes no place in the cache.
    pub(super) fn follow(self: &Arc<Answers>, dc: &str, query: &Arc<Identity>) -> Followed {
        let begin = || Arc::new(CachedFeed::new(Arc::clone(query), dc));
        let feed = match self.cache.get(query) {
            Some(feed) => feed,
            None if self.links.of(dc).is_err() => begin(),
            None => self.cache.get_or(query, begin),
        };
        Followed { answers: Arc::clone(self), feed }
    }

    /// Has `feed` followed, where it is not yet, and its datacenter is known.
    fn begin(&self, feed: &Arc<CachedFeed>) {
        if self.links.of(feed.dc()).is_err() || !feed.begin() {
            return;
        }
        let (links, places) = (Arc::clone(&self.links), Arc::clone(&self.places));
        let follower = Follower::new(Arc::clone(feed), Arc::clone(&self.cache), links, places, self.idle);
        self.shutdown.spawn_until("bridge feed", follower.run());
    }

    /// Forgets the answers of datacenters that operators here close, and wakes parked readers.
    pub(super) async fn forget_closed(self: Arc<Answers>) {
        let mut shut = self.links.shut();
        loop {
            let names = shut.borrow_and_update().clone();
            if !names.is_empty() {
                self.forget(&names);
            }
            if shut.changed().await.is_err() {
                return;
            }
        }
    }

    fn forget(&self, names: &BTreeSet<String>) {
        let forgotten: Vec<Arc<CachedFeed>> = self.cache.feeds().filter(|feed| names.contains(feed.dc())).collect();
        for feed in &forgotten {
            self.cache.remove(feed);
            feed.usage().wake();
        }
        metrics::counter!("kontor.bridge.answers_forgotten").increment(forgotten.len() as u64);
        self.cache.tidy();
    }

    /// The feeds of `dc` in numbers. Looks at all feeds.
    pub(super) fn report(&self, dc: &str) -> FeedReport {
        let mut report = FeedReport { standing: self.places.count(dc), ..FeedReport::default() };
        for feed in self.cache.feeds().filter(|feed| feed.dc() == dc) {
            let Some(held) = feed.current() else { continue };
            report.held += 1;
            report.bytes += u64::from(cache::weight(&*feed));
            report.oldest = report.oldest.max(Some(held.age()));
        }
        report
    }
}

/// A feed of another datacenter in the hands of a reader. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    answers: Arc<Answers>,
    feed: Arc<CachedFeed>,
}

impl Follow for Followed {
    /// The newest answer; none while the feed is opened anew after a long rest, nor where it cannot be fed.
    fn held(&self) -> Option<Held> {
        self.feed.usage().touch();
        let held = if self.feed.is_settled() { self.feed.current() } else { None };
        if held.is_some() {
            self.answers.hits.increment(1);
        } else {
            self.answers.begin(&self.feed);
        }
        held
    }

    /// Fails with the reason when no feed can be had, within 2 s without a sign of progress.
    fn first(&self) -> BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(async {
            if let Some(held) = self.held() {
                return Ok(held);
            }
            self.answers.misses.increment(1);
            if self.answers.links.of(self.feed.dc()).is_ok_and(|datacenter| datacenter.is_opening()) {
                // Boxed: it is for the first moments of a process.
                return Box::pin(self.first_of_all()).await;
            }
            self.fed().await
        })
    }

    /// An answer of the leader there, held from then on; one question for all that wait for it.
    fn refresh(&self) -> BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(self.ask_for_all(&self.feed.refreshed, Consistency::Default))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        let changes = self.feed.usage().watch();
        self.feed.usage().touch();
        self.answers.begin(&self.feed);
        changes
    }
}

impl Followed {
    /// The answer of the feed, or of a question that goes along with the greeting of the first link.
    async fn first_of_all(&self) -> Result<Held, Fault> {
        match select(pin!(self.fed()), self.refresh()).await {
            Either::Right((Err(_), fed)) => fed.await,
            Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
        }
    }

    async fn fed(&self) -> Result<Held, Fault> {
        let (_watching, mut phases) = (self.feed.usage().watch(), self.feed.phases());
        // Begun only now that the feed counts as watched.
        self.answers.begin(&self.feed);
        let settled = phases.wait_for(|phase| !matches!(phase, Phase::Opening));
        let phase = match timeout(defaults::FEED_FIRST_TIMEOUT, settled).await {
            Ok(Ok(phase)) => phase.clone(),
            Ok(Err(_closed)) => Phase::Idle,
            Err(_elapsed) => Phase::Broken(Fault::unreachable("unreachable: no first answer came in time")),
        };
        let outcome = match phase {
            Phase::Unfed { .. } => self.forward().await,
            // There is no room there for a feed, or no view yet to feed from: a request is held there until there is.
            Phase::Broken(fault) if matches!(fault.kind, FaultKind::Busy | FaultKind::NoLeader) => self.forward().await,
            Phase::Broken(fault) => Err(fault),
            Phase::Standing | Phase::Opening => match self.feed.current() {
                Some(held) => Ok(held),
                // The answer has fallen out of the cache since this reader found it there.
                None => self.forward().await,
            },
            Phase::Idle => Err(self.answers.links.of(self.feed.dc()).err().unwrap_or_else(ending)),
        };
        match outcome {
            // The answer held may be given for as long as its datacenter cannot be asked.
            Err(fault) if may_pass(fault.kind) => self.feed.current().ok_or(fault),
            outcome => outcome,
        }
    }

    /// An answer as if there were no feeds, by any server of the other datacenter.
    async fn forward(&self) -> Result<Held, Fault> {
        metrics::counter!("kontor.bridge.feeds_forwarded").increment(1);
        self.ask_for_all(&self.feed.forwarded, Consistency::Stale).await
    }

    async fn ask_for_all(&self, last: &Mutex<Option<Asked>>, consistency: Consistency) -> Result<Held, Fault> {
        let asked = clock::now();
        self.feed.usage().touch();
        let mut last = last.lock().await;
        if let Some(Asked { began, outcome }) = &*last
            && *began >= asked
        {
            match outcome {
                Err(fault) => return Err(fault.clone()),
                Ok((answer, as_of)) => {
                    let brought = || Some(Held { answer: answer.upgrade()?, as_of: *as_of });
                    if let Some(held) = self.held_since(*as_of).or_else(brought) {
                        return Ok(held);
                    }
                }
            }
        }
        let began = clock::now();
        let outcome = self.ask(consistency, began).await.map_err(|fault| self.with_age(fault));
        if let Ok((answer, as_of)) = &outcome {
            self.keep(answer, *as_of);
        }
        let known = outcome.as_ref().map(|(answer, as_of)| (Arc::downgrade(answer), *as_of)).map_err(Clone::clone);
        *last = Some(Asked { began, outcome: known });
        drop(last);
        let (answer, as_of) = outcome?;
        Ok(self.held_since(as_of).unwrap_or(Held { answer, as_of }))
    }

    /// The answer held, if it is no older than this.
    fn held_since(&self, as_of: Instant) -> Option<Held> {
        self.feed.current().filter(|held| held.as_of >= as_of)
    }

    /// True if the other side does not feed this answer: [`Follow::first`] then asks for it each time.
    #[cfg(test)]
    pub(super) fn is_unfed(&self) -> bool {
        matches!(&*self.feed.phases().borrow(), Phase::Unfed { .. })
    }

    /// True if a feed stands that would bring a newer answer.
    #[cfg(test)]
    pub(super) fn is_standing(&self) -> bool {
        matches!(&*self.feed.phases().borrow(), Phase::Standing)
    }

    /// Bytes of the body that is kept.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.feed.current().map_or(0, |held| held.answer.body.len())
    }

    /// The answer to a question that is asked now, and the time that it is of.
    async fn ask(&self, consistency: Consistency, began: Instant) -> Result<(Arc<Answer>, Instant), Fault> {
        let query = Query::of(Arc::clone(self.feed.query()), Freshness { consistency, ..Freshness::default() });
        let request = Request { operation: Operation::Read(query), hops: Hops { crossed: true, ..Hops::default() } };
        let reply = client::call(&self.answers.links, self.feed.dc(), &request, defaults::FEED_FIRST_TIMEOUT).await?;
        let mut answer = reply.answer()?;
        answer.meta.datacenters = None;
        // A stale answer carries its own age.
        let age = if consistency == Consistency::Stale { answer.meta.last_contact } else { Duration::ZERO };
        let as_of = began.checked_sub(age);
        let as_of = as_of.ok_or_else(|| Fault::failed("the other side told an age that cannot be"))?;
        Ok((Arc::new(answer), as_of))
    }

    /// Holds the answer to a question, unless it is too large for that.
    fn keep(&self, answer: &Arc<Answer>, as_of: Instant) {
        if answer.body.len() <= defaults::FEED_MAX_BYTES as usize && self.feed.take_fetched(answer, as_of) {
            self.answers.cache.weigh(&self.feed);
        }
    }

    fn with_age(&self, fault: Fault) -> Fault {
        let Some(held) = self.feed.current() else { return fault };
        let tenths = held.age().as_millis().div_ceil(100);
        let known = format!("the best known answer is {}.{} s old", tenths / 10, tenths % 10);
        let reason = fault.reason.as_ref().map_or_else(|| known.clone(), |reason| format!("{reason}; {known}"));
        fault.because(reason)
    }
}

fn ending() -> Fault {
    Fault::failed("the feed has ended; try again")
}

/// True if a failure of this kind may pass, and is no verdict on the query.
fn may_pass(kind: FaultKind) -> bool {
    match kind {
        FaultKind::NoLeader | FaultKind::Busy | FaultKind::NoPath | FaultKind::Unreachable => true,
        FaultKind::BadRequest | FaultKind::NotFound | FaultKind::Denied | FaultKind::Failed | FaultKind::OutcomeUnknown => false,
    }
}
