//! What is held of one query: its newest answer, as of when it is known to be that, who uses it, and
//! how its feed stands.
//!
//! The cache keeps it, readers read it without waiting, the query's `follower` writes it. It outlives
//! its feeds: an answer whose feed has ended, or whose datacenter is cut off, stays and grows old.

use super::age::AsOf;
use super::heartbeat::Heartbeat;
use super::message::Known;
use super::order::Order;
use crate::defaults;
use crate::model::answer::{Answer, AnswerMeta, Found};
use crate::model::fault::Fault;
use crate::model::query::Identity;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// A use is noted no finer than this, so that a busy answer is not written to by each of its readers.
const USE_GRAIN: u64 = 100;

/// The newest answer of a feed.
#[derive(Clone, Debug)]
pub struct Held {
    /// The answer as it was pushed; its `last_contact` says nothing here.
    pub answer: Arc<Answer>,
    /// The answer is known to have been the newest at this time of this agent's clock.
    pub as_of: Instant,
    /// Whether a feed stands that would bring a newer one.
    pub in_contact: bool,
}

/// One query and what is held of it.
#[derive(Debug)]
pub(in crate::bridge) struct CachedFeed {
    query: Arc<Identity>,
    dc: String,
    key_bytes: u32,
    stored: ArcSwapOption<Stored>,
    /// Held by who compares and stores, for that long.
    storing: Mutex<()>,
    /// Counts the answers that were news.
    changes: watch::Sender<u64>,
    phase: watch::Sender<Phase>,
    /// Whether the phase is one in which what is held may be given to readers.
    is_settled: AtomicBool,
    /// The heartbeat of the link on which the feed stands.
    contact: ArcSwapOption<Heartbeat>,
    epoch: Instant,
    /// The last use, in milliseconds since `epoch`.
    used: AtomicU64,
    /// It is in the cache no more.
    evicted: CancellationToken,
    /// The last questions beside the feed that have ended, to the leader and to any server: one holds for
    /// a leader, and the other need not.
    pub(in crate::bridge) refreshed: tokio::sync::Mutex<Option<Asked>>,
    pub(in crate::bridge) forwarded: tokio::sync::Mutex<Option<Asked>>,
}

/// How the feed stands. One task keeps it in all phases but `Idle` and `Unfed`.
#[derive(Clone, Debug)]
pub(in crate::bridge) enum Phase {
    /// Nobody has used it for long, or yet.
    Idle,
    /// It is being opened, and what is held may be from long ago.
    Opening,
    /// It stands, or did so a moment ago.
    Standing,
    /// It could not be opened, and is tried again and again.
    Broken(Fault),
    /// The other side does not feed this answer; it is not asked for it again before `until`.
    Unfed { until: Instant },
}

/// What came of a question beside the feed.
#[derive(Debug)]
pub(in crate::bridge) struct Asked {
    pub(in crate::bridge) began: Instant,
    /// The answer, and the time that it is of. The cache decides how long it stays in memory, not this.
    pub(in crate::bridge) outcome: Result<(std::sync::Weak<Answer>, Instant), Fault>,
}

/// An answer that is held.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) answer: Arc<Answer>,
    hash: u64,
    /// Counted by the feed that brought it.
    as_of: Arc<AsOf>,
    /// What was known besides.
    floor: Instant,
    /// Its body is not kept: it has fallen out of the cache, and nobody reads it here any more.
    is_bodiless: bool,
}

/// An answer that came on a feed.
pub(super) struct Pushed<'a> {
    pub(super) known: Known,
    pub(super) meta: AnswerMeta,
    /// Unset when it is the one of this hash.
    pub(super) body: Option<Bytes>,
    pub(super) as_of: &'a Arc<AsOf>,
    /// The answer was the newest at this time.
    pub(super) floor: Instant,
}

/// What became of an answer that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is the one held now; `resized` tells whether that changed the size of what is held.
    Held { resized: bool },
    /// An answer at least as new is held.
    Older,
    /// It said "the same as before", and that is not held any more.
    NoBody,
}

impl Stored {
    fn known(&self) -> Known {
        Known { cluster: self.answer.meta.cluster, index: self.answer.meta.index, hash: self.hash }
    }

    fn as_of(&self) -> Instant {
        self.as_of.get().map_or(self.floor, |time| time.max(self.floor))
    }

    /// Since when an answer of `known` and `meta` that follows on this one is known to be the newest,
    /// by what is known of this one. Only an index tells that it does not say what was before.
    fn passes_on(&self, known: Known, meta: &AnswerMeta) -> Option<Instant> {
        (meta.indexed && known.cluster == self.answer.meta.cluster).then(|| self.as_of())
    }
}

impl CachedFeed {
    pub(in crate::bridge) fn new(query: Arc<Identity>, dc: &str, epoch: Instant) -> CachedFeed {
        CachedFeed {
            key_bytes: u32::try_from(query.text_bytes() + dc.len()).unwrap_or(u32::MAX),
            query,
            dc: dc.to_owned(),
            stored: ArcSwapOption::empty(),
            storing: Mutex::default(),
            changes: watch::Sender::new(0),
            phase: watch::Sender::new(Phase::Idle),
            is_settled: AtomicBool::new(false),
            contact: ArcSwapOption::empty(),
            epoch,
            used: AtomicU64::new(0),
            evicted: CancellationToken::new(),
            refreshed: tokio::sync::Mutex::default(),
            forwarded: tokio::sync::Mutex::default(),
        }
    }

    pub(in crate::bridge) fn query(&self) -> &Arc<Identity> {
        &self.query
    }

    pub(in crate::bridge) fn dc(&self) -> &str {
        &self.dc
    }

    // === Reading ===

    /// The answer held, with the time as of which it is known to be the newest. None too where only its
    /// coming is followed.
    pub(in crate::bridge) fn current(&self, now: Instant) -> Option<Held> {
        let mut stored = self.stored.load_full()?;
        loop {
            let as_of = stored.as_of();
            // What was counted may be for the next answer, stored in between: then that one is told.
            match &*self.stored.load() {
                Some(newer) if !Arc::ptr_eq(newer, &stored) => stored = Arc::clone(newer),
                _ if stored.is_bodiless => return None,
                _ => {
                    let answer = Arc::clone(&stored.answer);
                    return Some(Held { answer, as_of, in_contact: self.is_in_contact(now) });
                }
            }
        }
    }

    fn is_in_contact(&self, now: Instant) -> bool {
        self.contact.load().as_ref().is_some_and(|heartbeat| heartbeat.is_beating(now))
    }

    /// Whether [`CachedFeed::current`] may be given to readers at once.
    pub(in crate::bridge) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }

    pub(in crate::bridge) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(in crate::bridge) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Bytes counted for it in the cache.
    pub(in crate::bridge) fn weight(&self) -> u32 {
        let body = self.stored.load().as_ref().map_or(0, |stored| stored.answer.body.len());
        // The query is there twice: here, and as the key.
        let bytes = u32::try_from(body).unwrap_or(u32::MAX).saturating_add(self.key_bytes.saturating_mul(2));
        bytes.saturating_add(defaults::FEED_OVERHEAD)
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

    /// Takes in an answer that a question of its own brought, the newest as of `as_of`. Returns whether
    /// it is held now, and the size of what is held is another.
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
                // The feed goes on counting for it; what this question showed is for this answer alone.
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
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Wakes those who watch although nothing has come: they must look for themselves.
    pub(in crate::bridge) fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    // === The feed's state ===

    /// Whether a feed is to be begun now; whoever gets `true` begins it.
    pub(in crate::bridge) fn begin(&self, now: Instant) -> bool {
        self.phase.send_if_modified(|phase| {
            let begins = match phase {
                Phase::Idle => true,
                Phase::Unfed { until } => now >= *until,
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

    /// Ends the feed, unless somebody watches.
    pub(super) fn end(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            if self.is_watched() {
                return false;
            }
            self.is_settled.store(false, Ordering::Release);
            *phase = Phase::Idle;
            true
        })
    }

    /// The feed's task is gone, whatever it was at.
    pub(super) fn abandon(&self) {
        self.contact.store(None);
        self.set_phase(Phase::Idle);
    }

    /// The feed stands on the link of this heartbeat, or on none.
    pub(super) fn set_contact(&self, heartbeat: Option<Arc<Heartbeat>>) {
        self.contact.store(heartbeat);
    }

    // === Its users ===

    /// It is used now.
    pub(in crate::bridge) fn touch(&self, now: Instant) {
        let millis = u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
        if millis >= self.used.load(Ordering::Relaxed) + USE_GRAIN {
            self.used.store(millis, Ordering::Relaxed);
        }
    }

    /// The time of its last use.
    pub(super) fn last_use(&self) -> Instant {
        self.epoch + Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// Whether somebody is parked on it, or waits for its first answer.
    pub(super) fn is_watched(&self) -> bool {
        self.changes.receiver_count() + self.phase.receiver_count() > 0
    }

    /// It has fallen out of the cache. Those who are parked on it are still told of what comes, and find
    /// it where it is held then; its body is kept for nobody but those who wait for it now.
    pub(in crate::bridge) fn evict(&self) {
        self.evicted.cancel();
        let _turn = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = self.stored().filter(|_| self.is_followed_only()) {
            let (answer, as_of) = (Answer { meta: held.answer.meta.clone(), body: Bytes::new() }, Arc::clone(&held.as_of));
            self.store(Stored { answer: Arc::new(answer), hash: held.hash, as_of, floor: held.floor, is_bodiless: true });
        }
    }

    /// Whether nobody reads what comes: it is in the cache no more, and nobody waits for an answer.
    fn is_followed_only(&self) -> bool {
        self.evicted.is_cancelled() && self.phase.receiver_count() == 0
    }

    /// Resolves when nobody watches it, and it is out of the cache or was not used for `idle`.
    pub(super) async fn unwanted(&self, idle: Duration) {
        loop {
            while self.is_watched() {
                self.changes.closed().await;
                self.phase.closed().await;
                self.touch(Instant::now());
            }
            let due = self.last_use() + idle;
            if self.evicted.is_cancelled() || Instant::now() >= due {
                return;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.evicted.cancelled() => {}
            }
        }
    }
}
