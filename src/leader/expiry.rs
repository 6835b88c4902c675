//! Rows that end with time: the leader counts, and proposes their end.
//!
//! `duties` runs it. Deadlines are in `expiry`, where renewals move them.

use super::LeaderParts;
use super::batches::batches;
use crate::clock;
use crate::defaults::{EXPIRY_BATCH, EXPIRY_GATHER, EXPIRY_LOOK, EXPIRY_RETRY, LEADER_GAP, TOMBSTONE_STEP};
use crate::expiry::{Due, Expiry, Graveyard};
use crate::model::command::Command;
use crate::store::View;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

/// The counting of one term: it begins with nothing, and leaves nothing behind.
struct Term<'a>(&'a Expiry);

impl<'a> Term<'a> {
    fn begin(expiry: &'a Expiry) -> Term<'a> {
        expiry.timers().clear();
        Term(expiry)
    }
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.0.timers().clear();
    }
}

/// Ends what is due, for one term.
pub(super) async fn keep(parts: &LeaderParts) {
    let _term = Term::begin(&parts.expiry);
    let mut seen = clock::now();
    loop {
        notice_gap(parts, &mut seen);
        let watch = parts.reader.watch_expiry();
        let rows = rows(&parts.reader.view());
        parts.expiry.timers().follow(rows, clock::now());
        tokio::select! {
            // Several changes at once are followed at once.
            () = async { watch.changed().await; sleep(EXPIRY_GATHER).await } => {}
            () = end_in_time(parts, &mut seen) => {}
        }
    }
}

/// Begins all times anew where this process was not run since `seen`: nobody could renew anything at it.
fn notice_gap(parts: &LeaderParts, seen: &mut Instant) -> bool {
    let now = clock::now();
    let away = now.saturating_duration_since(std::mem::replace(seen, now));
    let is_gap = away > EXPIRY_LOOK + LEADER_GAP && parts.expiry.timers().next().is_some();
    if is_gap {
        info!(?away, "the leader was not run for a while; sessions and keys get their whole time again");
        parts.expiry.timers().begin_anew();
    }
    is_gap
}

/// Proposes the end of what is due, until a gap is noticed.
async fn end_in_time(parts: &LeaderParts, seen: &mut Instant) {
    loop {
        let next = parts.expiry.timers().next();
        // Without a deadline there is nothing that a gap could end early.
        let Some(next) = next else { return std::future::pending().await };
        sleep(next.saturating_duration_since(clock::now()).min(EXPIRY_LOOK)).await;
        if notice_gap(parts, seen) {
            return;
        }
        let due = parts.expiry.timers().due(clock::now(), EXPIRY_BATCH, EXPIRY_RETRY);
        join_all(ends(due).into_iter().map(|one| end(parts, one))).await;
    }
}

/// A command that ends rows, with the counter of such rows and their number.
type End = (Command, &'static str, usize);

/// Proposes an end, and counts it once it is there.
async fn end(parts: &LeaderParts, (command, counter, rows): End) {
    match parts.propose(command).await {
        Ok(()) => metrics::counter!(counter).increment(rows as u64),
        Err(fault) => debug!(%fault, "what is due is not ended yet"),
    }
}

/// All that ends with time, and after how long.
fn rows(view: &View) -> Vec<(Due, Duration)> {
    let sessions = view.mortal_sessions().filter_map(|session| Some((Due::Session(session.id), session.life()?)));
    let keys = view.mortal_keys().map(|entry| (Due::Key(entry.key.clone(), entry.modify_index), entry.ttl()));
    let delays = view.lock_delays().map(|(key, delay)| (Due::LockDelay(key.clone(), delay.index), delay.length));
    sessions.chain(keys).chain(delays).collect()
}

/// The commands that end what is due, each within the bound of one.
fn ends(due: Vec<Due>) -> Vec<End> {
    let (mut sessions, mut keys, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    for one in due {
        match one {
            Due::Session(id) => sessions.push(id),
            Due::Key(key, index) => keys.push((key, index)),
            Due::LockDelay(key, index) => delays.push((key, index)),
        }
    }
    if let Some(first) = sessions.first() {
        info!(count = sessions.len(), %first, "sessions end that were not renewed");
    }
    let ended = |run: &[_]| (Command::EndSessions(run.to_vec()), "kontor.session.expired", run.len());
    let expired = |run: &[_]| (Command::ExpireKeys(run.to_vec()), "kontor.kv.expired", run.len());
    let over = |run: &[_]| (Command::EndLockDelays(run.to_vec()), "kontor.kv.lock_delays_over", run.len());
    let mut ends: Vec<End> = batches(&sessions, EXPIRY_BATCH).into_iter().map(ended).collect();
    ends.extend(batches(&keys, EXPIRY_BATCH).into_iter().map(expired));
    ends.extend(batches(&delays, EXPIRY_BATCH).into_iter().map(over));
    ends
}

/// Forgets old deletions, for one term.
pub(super) async fn keep_graveyard(parts: &LeaderParts) {
    let (mut graveyard, mut owed) = (Graveyard::default(), None);
    loop {
        sleep(TOMBSTONE_STEP).await;
        let (count, index) = parts.reader.view().tombstones();
        owed = owed.max(graveyard.pass(index, clock::now()));
        let Some(index) = owed.filter(|_| count > 0) else { continue };
        match parts.propose(Command::ReapTombstones(index)).await {
            Ok(()) => owed = None,
            Err(fault) => debug!(%fault, "old deletions are not forgotten yet"),
        }
    }
}
