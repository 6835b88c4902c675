//! One query of another datacenter: its newest answer with its age, its readers, and the state of its feed.
//! The answer outlives its feeds, and grows old.

use super::age::AsOf;
use super::message::Known;
use super::order::Order;
use crate::cache::{Feed, FeedUse, Held};
use crate::defaults;
use crate::model::answer::{Answer, AnswerMeta, Found};
use crate::model::fault::Fault;
use crate::model::query::Identity;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Debug)]
pub(in crate::bridge) struct CachedFeed {
    query: Arc<Identity>,
    dc: String,
    stored: ArcSwapOption<Stored>,
    /// Held while answers are compared and stored.
    storing: Mutex<()>,
    usage: FeedUse,
    phase: watch::Sender<Phase>,
    /// True if the phase is one in which the answer held may be given to readers.
    is_settled: AtomicBool,
    /// The last questions beside the feed that have ended: to the leader, and to any server.
    pub(in crate::bridge) refreshed: tokio::sync::Mutex<Option<Asked>>,
    pub(in crate::bridge) forwarded: tokio::sync::Mutex<Option<Asked>>,
}

/// The state of a feed. One task keeps it in all phases but `Idle` and `Unfed`.
#[derive(Clone, Debug)]
pub(in crate::bridge) enum Phase {
    /// Unused for long, or not used yet.
    Idle,
    /// Being opened; the answer held may be from long ago.
    Opening,
    /// Standing, or it did so a moment ago.
    Standing,
    /// Not to be opened, and tried again and again.
    Broken(Fault),
    /// Not fed by the other side; a feed is not tried again before `until`.
    Unfed { until: Instant },
}

/// The outcome of a question beside the feed.
#[derive(Debug)]
pub(in crate::bridge) struct Asked {
    pub(in crate::bridge) began: Instant,
    /// The answer, and the time that it is of. The cache alone decides how long it stays in memory.
    pub(in crate::bridge) outcome: Result<(std::sync::Weak<Answer>, Instant), Fault>,
}

/// An answer that is held.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) answer: Arc<Answer>,
    hash: u64,
    /// Counted by the feed that brought the answer.
    as_of: Arc<AsOf>,
    /// The time known besides.
    floor: Instant,
    /// True if the body is dropped: the feed has fallen out of the cache, and no reader waits for it.
    is_bodiless: bool,
}

/// An answer that came on a feed.
pub(super) struct Pushed<'a> {
    pub(super) known: Known,
    pub(super) meta: AnswerMeta,
    /// Unset for the body of this hash.
    pub(super) body: Option<Bytes>,
    pub(super) as_of: &'a Arc<AsOf>,
    /// The answer was the newest at this time.
    pub(super) floor: Instant,
}

/// The fate of an answer that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is held now; `resized` tells whether the size changed.
    Held { resized: bool },
    /// An answer at least as new is held.
    Older,
    /// It meant the body from before, which is not held any more.
    NoBody,
}

impl Stored {
    fn known(&self) -> Known {
        Known { cluster: self.answer.meta.cluster, index: self.answer.meta.index, hash: self.hash }
    }

    fn as_of(&self) -> Instant {
        self.as_of.get().map_or(self.floor, |time| time.max(self.floor))
    }

    /// The time as of which an answer that follows on this one is newest, by this one's. Only an index proves a difference.
    fn passes_on(&self, known: Known, meta: &AnswerMeta) -> Option<Instant> {
        (meta.indexed && known.cluster == self.answer.meta.cluster).then(|| self.as_of())
    }
}

impl CachedFeed {
    pub(in crate::bridge) fn new(query: Arc<Identity>, dc: &str) -> CachedFeed {
        CachedFeed {
            query,
            dc: dc.to_owned(),
            stored: ArcSwapOption::empty(),
            storing: Mutex::default(),
            usage: FeedUse::default(),
            phase: watch::Sender::new(Phase::Idle),
            is_settled: AtomicBool::new(false),
            refreshed: tokio::sync::Mutex::default(),
            forwarded: tokio::sync::Mutex::default(),
        }
    }

    pub(in crate::bridge) fn dc(&self) -> &str {
        &self.dc
    }

    /// The readers of the feed.
    pub(in crate::bridge) fn usage(&self) -> &FeedUse {
        &self.usage
    }

    // === Reading ===

    /// The answer held, with its age. None too where only its changes are followed.
    pub(in crate::bridge) fn current(&self) -> Option<Held> {
        let mut stored = self.stored.load_full()?;
        loop {
            let as_of = stored.as_of();
            // A time counted meanwhile may be for the next answer: then that one is given.
            match &*self.stored.load() {
                Some(newer) if !Arc::ptr_eq(newer, &stored) => stored = Arc::clone(newer),
                _ if stored.is_bodiless => return None,
                _ => return Some(Held { answer: Arc::clone(&stored.answer), as_of }),
            }
        }
    }

    /// True if [`CachedFeed::current`] may be given to readers at once.
    pub(in crate::bridge) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }

    pub(in crate::bridge) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn stored(&self) -> Option<Arc<Stored>> {
        self.stored.load_full()
    }

    pub(super) fn known(&self) -> Option<(Known, Found)> {
        let stored = self.stored()?;
        Some((stored.known(), stored.answer.meta.found))
    }

    // === Storing ===

    /// Takes in an answer of a feed.
    pub(super) fn take(&self, came: Pushed<'_>) -> Taken {
        let turn = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.stored();
        let order = Order::of(held.as_ref().map(|held| held.known()), came.known);
        if order == Order::Older {
            return Taken::Older;
        }
        let (body, is_bodiless) = match (came.body, &held) {
            (Some(body), _) => (body, false),
            (None, Some(held)) if held.hash == came.known.hash => (held.answer.body.clone(), held.is_bodiless),
            (None, _) => return Taken::NoBody,
        };
        let is_bodiless = is_bodiless || self.is_followed_only();
        let body = if is_bodiless { Bytes::new() } else { body };
        let passed_on = held.as_ref().and_then(|held| held.passes_on(came.known, &came.meta));
        let resized = held.as_ref().map(|held| held.answer.body.len()) != Some(body.len());
        self.store(Stored {
            answer: Arc::new(Answer { meta: came.meta, body }),
            hash: came.known.hash,
            as_of: Arc::clone(came.as_of),
            floor: passed_on.map_or(came.floor, |time| time.max(came.floor)),
            is_bodiless,
        });
        drop(turn);
        self.tell(order);
        Taken::Held { resized }
    }

    /// Takes in the answer to a question, the newest as of `as_of`. Returns whether it is held now, and has another size.
    pub(in crate::bridge) fn take_fetched(&self, answer: &Arc<Answer>, as_of: Instant) -> bool {
        let turn = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known::of(answer);
        let held = self.stored();
        let order = Order::of(held.as_ref().map(|held| held.known()), known);
        let is_late = |held: &Stored| order == Order::Newer && held.known().index == known.index && held.as_of() > as_of;
        if order == Order::Older || held.as_deref().is_some_and(is_late) {
            metrics::counter!("kontor.bridge.answers_refused").increment(1);
            return false;
        }
        let resized = held.as_ref().map(|held| held.answer.body.len()) != Some(answer.body.len());
        let stored = match held {
            Some(held) if order == Order::Same && !held.is_bodiless => {
                // The feed goes on counting for it; the time of this question is for this answer alone.
                let floor = held.floor.max(as_of);
                let (answer, as_of) = (Arc::clone(&held.answer), Arc::clone(&held.as_of));
                Stored { answer, hash: known.hash, as_of, floor, is_bodiless: false }
            }
            held => {
                let passed_on = held.and_then(|held| held.passes_on(known, &answer.meta));
                let floor = passed_on.map_or(as_of, |time| time.max(as_of));
                // The feed's own push of it will come, and count from then on.
                Stored { answer: Arc::clone(answer), hash: known.hash, as_of: Arc::default(), floor, is_bodiless: false }
            }
        };
        self.store(stored);
        drop(turn);
        self.tell(order);
        resized
    }

    fn store(&self, stored: Stored) {
        self.stored.store(Some(Arc::new(stored)));
    }

    fn tell(&self, order: Order) {
        if order.is_news() {
            self.usage.wake();
        }
    }

    // === The feed's state ===

    /// True if a feed is to be begun now; the caller that gets `true` begins it.
    pub(in crate::bridge) fn begin(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let begins = match phase {
                Phase::Idle => true,
                Phase::Unfed { until } => Instant::now() >= *until,
                Phase::Opening | Phase::Standing | Phase::Broken(_) => false,
            };
            if begins {
                *phase = Phase::Opening;
            }
            begins
        })
    }

    pub(super) fn set_phase(&self, next: Phase) {
        self.phase.send_modify(|phase| {
            self.is_settled.store(matches!(next, Phase::Standing | Phase::Broken(_)), Ordering::Release);
            *phase = next;
        });
    }

    /// Ends the feed, unless a reader waits.
    pub(super) fn end(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            if self.usage.is_watched() {
                return false;
            }
            self.is_settled.store(false, Ordering::Release);
            *phase = Phase::Idle;
            true
        })
    }

    /// True if no reader gets the body: the feed is in the cache no more, and no reader waits for an answer.
    fn is_followed_only(&self) -> bool {
        self.usage.is_evicted() && self.phase.receiver_count() == 0
    }
}

impl Feed for CachedFeed {
    const OVERHEAD: u32 = defaults::FEED_OVERHEAD;

    fn query(&self) -> &Arc<Identity> {
        &self.query
    }

    fn body_bytes(&self) -> usize {
        self.stored.load().as_ref().map_or(0, |stored| stored.answer.body.len())
    }

    /// Parked readers still wake for news. A body is kept only for readers that wait for it now.
    fn evict(&self) {
        self.usage.evict();
        let _turn = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = self.stored().filter(|_| self.is_followed_only()) {
            let (answer, as_of) = (Answer { meta: held.answer.meta.clone(), body: Bytes::new() }, Arc::clone(&held.as_of));
            self.store(Stored { answer: Arc::new(answer), hash: held.hash, as_of, floor: held.floor, is_bodiless: true });
        }
    }
}
