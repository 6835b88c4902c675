//! The answers of other datacenters that this side holds, by query.
//!
//! `router` reads through [`Followed`]. Each query that is read has a feed, which brings every new
//! answer; the answers are bounded in bytes, the feeds that stand in number. The key is the identity of a query,
//! of which its datacenter and its principal are parts: nobody gets another's answer.

use super::client;
use super::feed::cached_feed::{Asked, CachedFeed, Held, Phase};
use super::feed::follower::Follower;
use super::feed::places::Places;
use super::links::Links;
use crate::clock;
use crate::defaults;
use crate::model::answer::Answer;
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::{Consistency, Freshness, Identity, Query};
use crate::model::request::{Hops, Operation, Reply, Request};
use crate::shutdown::Shutdown;
use futures_util::future::{Either, select};
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

/// What is held of one datacenter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Feeds that stand, or are being opened.
    pub standing: usize,
    /// Answers that are held.
    pub held: usize,
    /// Bytes counted for them: bodies, queries, and a share for what carries them.
    pub bytes: u64,
    /// The age of the answer that was known to be the newest the longest ago.
    pub oldest: Option<Duration>,
}

/// The bounds of feeds that are not the cache's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Feeds that stand at a time, for each datacenter.
    pub(super) standing: usize,
    /// How long nobody may have used a feed before it ends.
    pub(super) idle: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { standing: defaults::FEED_MAX_PER_LINK, idle: defaults::FEED_IDLE }
    }
}

/// All that is held.
pub(super) struct Answers {
    held: Cache<Arc<Identity>, Arc<CachedFeed>>,
    links: Arc<Links>,
    places: Arc<Places>,
    idle: Duration,
    epoch: Instant,
    shutdown: Shutdown,
    hits: metrics::Counter,
    misses: metrics::Counter,
    bytes: metrics::Gauge,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").field("held", &self.held.entry_count()).finish_non_exhaustive()
    }
}

impl Answers {
    /// Nothing yet; what will come is bounded by `bytes`. Feeds end with `shutdown`.
    pub(super) fn new(links: Arc<Links>, bytes: u64, bounds: Bounds, shutdown: Shutdown) -> Answers {
        let held = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_query: &Arc<Identity>, holding: &Arc<CachedFeed>| holding.weight())
            .eviction_listener(|_query, holding: Arc<CachedFeed>, cause| {
                if cause == RemovalCause::Size {
                    metrics::counter!("kontor.bridge.answers_evicted").increment(1);
                }
                if cause != RemovalCause::Replaced {
                    holding.evict();
                }
            })
            .build();
        Answers {
            held,
            links,
            places: Arc::new(Places::new(bounds.standing)),
            idle: bounds.idle,
            epoch: Instant::now(),
            shutdown,
            hits: metrics::counter!("kontor.bridge.cache_hits"),
            misses: metrics::counter!("kontor.bridge.cache_misses"),
            bytes: metrics::gauge!("kontor.bridge.cache_bytes"),
        }
    }

    /// What is held of `query`, which is of `dc`, if anything is to be had from there; an unknown datacenter takes no place.
    fn holding(&self, dc: &str, query: &Arc<Identity>) -> Arc<CachedFeed> {
        if let Some(holding) = self.held.get(query) {
            return holding;
        }
        let begin = || Arc::new(CachedFeed::new(Arc::clone(query), dc, self.epoch));
        if self.links.of(dc).is_err() { begin() } else { self.held.get_with_by_ref(query, begin) }
    }

    /// Begins a feed if there is none, and a datacenter that could have one.
    fn begin(self: &Arc<Answers>, holding: &Arc<CachedFeed>, now: Instant) {
        if self.links.of(holding.dc()).is_err() || !holding.begin(now) {
            return;
        }
        let answers = Arc::clone(self);
        let resized = Box::new(move |holding: &Arc<CachedFeed>| answers.weigh(holding));
        let (links, places) = (Arc::clone(&self.links), Arc::clone(&self.places));
        let follower = Follower::new(Arc::clone(holding), links, places, self.idle, resized);
        self.shutdown.spawn_until("bridge feed", follower.run());
    }

    /// The cache weighs what is put into it only then: the holding is put in again, if it is in it.
    fn weigh(&self, holding: &Arc<CachedFeed>) {
        self.held.entry_by_ref(holding.query()).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), holding) => Op::Put(Arc::clone(holding)),
            _ => Op::Nop,
        });
        self.bytes.set(self.held.weighted_size() as f64);
    }

    /// Forgets what is held of datacenters that operators here close, for as long as the links are kept:
    /// its memory is free at once, whoever is parked on it is told, and one that is let in again, maybe
    /// as another cluster, starts with nothing.
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
        let of_them = self.held.iter().map(|(_, holding)| holding).filter(|holding| names.contains(holding.dc()));
        let forgotten: Vec<Arc<CachedFeed>> = of_them.collect();
        for holding in &forgotten {
            self.held.invalidate(holding.query());
            holding.wake();
        }
        metrics::counter!("kontor.bridge.answers_forgotten").increment(forgotten.len() as u64);
        self.held.run_pending_tasks();
        self.bytes.set(self.held.weighted_size() as f64);
    }

    /// What is held of `dc`. Looks at everything that is held.
    pub(super) fn report(&self, dc: &str) -> FeedReport {
        let now = Instant::now();
        let mut report = FeedReport { standing: self.places.count(dc), ..FeedReport::default() };
        for (_, holding) in self.held.iter().filter(|(_, holding)| holding.dc() == dc) {
            let Some(held) = holding.current(now) else { continue };
            report.held += 1;
            report.bytes += u64::from(holding.weight());
            report.oldest = report.oldest.max(Some(clock::since(held.as_of)));
        }
        report
    }
}

/// One query of another datacenter, as the router holds it while it answers from it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Followed {
    answers: Arc<Answers>,
    holding: Arc<CachedFeed>,
}

impl Followed {
    pub(super) fn new(answers: &Arc<Answers>, dc: &str, query: &Arc<Identity>) -> Followed {
        Followed { holding: answers.holding(dc, query), answers: Arc::clone(answers) }
    }

    /// The newest answer, if there is one that may be given at once: not while the feed is opened anew
    /// after a long rest, nor when the answer cannot be fed. Counts as a use.
    pub fn held(&self) -> Option<Held> {
        let now = Instant::now();
        self.holding.touch(now);
        let held = if self.holding.is_settled() { self.holding.current(now) } else { None };
        match held {
            Some(held) => {
                self.answers.hits.increment(1);
                Some(held)
            }
            None => {
                self.answers.begin(&self.holding, now);
                None
            }
        }
    }

    /// The newest answer, after waiting for the feed's first one if there is none. Fails with the
    /// reason when no feed can be had (within 2 s without a sign of progress). An answer that cannot be
    /// fed is asked for.
    pub async fn first(&self) -> Result<Held, Fault> {
        if let Some(held) = self.held() {
            return Ok(held);
        }
        self.answers.misses.increment(1);
        if self.answers.links.of(self.holding.dc()).is_ok_and(|datacenter| datacenter.is_opening()) {
            // Boxed: it is for the first moments of a process.
            return Box::pin(self.first_of_all()).await;
        }
        self.fed().await
    }

    /// The answer of the feed, or of a question that goes along with the greeting of the first link, which
    /// a feed has to wait for: whichever comes first.
    async fn first_of_all(&self) -> Result<Held, Fault> {
        match select(pin!(self.fed()), pin!(self.refresh())).await {
            Either::Right((Err(_), fed)) => fed.await,
            Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
        }
    }

    async fn fed(&self) -> Result<Held, Fault> {
        let mut phases = self.holding.phases();
        // Begun only now that it counts as watched.
        self.answers.begin(&self.holding, Instant::now());
        let settled = phases.wait_for(|phase| !matches!(phase, Phase::Opening));
        let phase = match timeout(defaults::FEED_FIRST_TIMEOUT, settled).await {
            Ok(Ok(phase)) => phase.clone(),
            Ok(Err(_closed)) => Phase::Idle,
            Err(_elapsed) => Phase::Broken(Fault::unreachable("unreachable: no first answer came in time")),
        };
        let outcome = match phase {
            Phase::Unfed { .. } => self.forward().await,
            // There is no room there for a feed, or no view yet to feed from: who is asked holds for one.
            Phase::Broken(fault) if matches!(fault.kind, FaultKind::Busy | FaultKind::NoLeader) => self.forward().await,
            Phase::Broken(fault) => Err(fault),
            Phase::Standing | Phase::Opening => match self.holding.current(Instant::now()) {
                Some(held) => Ok(held),
                // It has fallen out of the cache since this asker found it there.
                None => self.forward().await,
            },
            Phase::Idle => Err(self.answers.links.of(self.holding.dc()).err().unwrap_or_else(ending)),
        };
        match outcome {
            // What is held may be given for as long as its datacenter cannot be asked.
            Err(fault) if may_pass(fault.kind) => self.holding.current(Instant::now()).ok_or(fault),
            outcome => outcome,
        }
    }

    /// An answer that was asked for after this call, by the leader of the other datacenter; one
    /// question for all who wait for it. What it brings is held from then on, if it is not older.
    /// A failure says how old the best known answer is.
    pub async fn refresh(&self) -> Result<Held, Fault> {
        self.ask_for_all(&self.holding.refreshed, Consistency::Default).await
    }

    /// An answer as if there were no feeds, by any server of the other datacenter.
    async fn forward(&self) -> Result<Held, Fault> {
        metrics::counter!("kontor.bridge.feeds_forwarded").increment(1);
        self.ask_for_all(&self.holding.forwarded, Consistency::Stale).await
    }

    async fn ask_for_all(&self, last: &Mutex<Option<Asked>>, consistency: Consistency) -> Result<Held, Fault> {
        let asked = clock::now();
        self.holding.touch(Instant::now());
        let mut last = last.lock().await;
        if let Some(Asked { began, outcome }) = &*last
            && *began >= asked
        {
            match outcome {
                Err(fault) => return Err(fault.clone()),
                Ok((answer, as_of)) => {
                    let brought = || Some(Held { answer: answer.upgrade()?, as_of: *as_of, in_contact: false });
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
        Ok(self.held_since(as_of).unwrap_or(Held { answer, as_of, in_contact: false }))
    }

    /// What is held, if it is no older than this.
    fn held_since(&self, as_of: Instant) -> Option<Held> {
        self.holding.current(Instant::now()).filter(|held| held.as_of >= as_of)
    }

    /// Changes whenever another answer is held: another index, another body or another cluster. Whoever
    /// holds this keeps the feed standing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let (changes, now) = (self.holding.changes(), Instant::now());
        self.holding.touch(now);
        self.answers.begin(&self.holding, now);
        changes
    }

    /// Whether the other side does not feed this answer: [`Followed::first`] then asks for it each time,
    /// and [`Followed::changes`] tells of nothing.
    #[cfg(test)]
    pub(super) fn is_unfed(&self) -> bool {
        matches!(&*self.holding.phases().borrow(), Phase::Unfed { .. })
    }

    /// Bytes of the body that is kept.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.holding.current(Instant::now()).map_or(0, |held| held.answer.body.len())
    }

    /// The answer to a question that is asked now, and the time that it is of.
    async fn ask(&self, consistency: Consistency, began: Instant) -> Result<(Arc<Answer>, Instant), Fault> {
        let query = Query::of(Arc::clone(self.holding.query()), Freshness { consistency, ..Freshness::default() });
        let request = Request { operation: Operation::Read(query), hops: Hops { crossed: true, ..Hops::default() } };
        match client::call(&self.answers.links, self.holding.dc(), &request, defaults::FEED_FIRST_TIMEOUT).await? {
            Reply::Answer(mut answer) => {
                answer.meta.datacenters = None;
                // A stale one tells its own age.
                let age = if consistency == Consistency::Stale { answer.meta.last_contact } else { Duration::ZERO };
                let as_of = began.checked_sub(age);
                let as_of = as_of.ok_or_else(|| Fault::failed("the other side told an age that cannot be"))?;
                Ok((Arc::new(answer), as_of))
            }
            Reply::Written(_) => Err(Fault::failed("expected an answer to a read, got the result of a write")),
        }
    }

    /// Holds what a question brought, unless it is too large for that.
    fn keep(&self, answer: &Arc<Answer>, as_of: Instant) {
        if answer.body.len() <= defaults::FEED_MAX_BYTES as usize && self.holding.take_fetched(answer, as_of) {
            self.answers.weigh(&self.holding);
        }
    }

    fn with_age(&self, fault: Fault) -> Fault {
        let Some(held) = self.holding.current(Instant::now()) else { return fault };
        let tenths = clock::since(held.as_of).as_millis().div_ceil(100);
        let known = format!("the best known answer is {}.{} s old", tenths / 10, tenths % 10);
        let reason = fault.reason.as_ref().map_or_else(|| known.clone(), |reason| format!("{reason}; {known}"));
        fault.because(reason)
    }
}

fn ending() -> Fault {
    Fault::failed("the feed has ended; try again")
}

/// Whether what failed so may go well later, and is no verdict on the query.
fn may_pass(kind: FaultKind) -> bool {
    match kind {
        FaultKind::NoLeader | FaultKind::Busy | FaultKind::NoPath | FaultKind::Unreachable => true,
        FaultKind::BadRequest | FaultKind::NotFound | FaultKind::Denied | FaultKind::Failed | FaultKind::OutcomeUnknown => false,
    }
}
