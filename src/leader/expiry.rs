//! Rows that end with time: the leader counts, and proposes their end.
//!
//! `duties` runs it. Deadlines are in `expiry`, where renewals move them.

use super::LeaderParts;
use crate::clock;
use crate::defaults::{EXPIRY_BATCH, EXPIRY_GATHER, EXPIRY_LOOK, EXPIRY_RETRY, LEADER_GAP, TOMBSTONE_STEP};
use crate::expiry::{Due, Graveyard};
use crate::model::command::Command;
use crate::store::View;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{debug, info};

/// Ends what is due, for one term. The counting begins anew with it.
pub(super) async fn keep(parts: &LeaderParts) {
    parts.expiry.timers().clear();
    loop {
        let watch = parts.reader.watch_expiry();
        let rows = rows(&parts.reader.view());
        parts.expiry.timers().follow(rows, clock::now());
        tokio::select! {
            // Several changes at once are followed at once.
            () = async { watch.changed().await; sleep(EXPIRY_GATHER).await } => {}
            () = end_in_time(parts) => {}
        }
    }
}

/// Proposes the end of what is due, until this process was not run for a while: then what seems due may not be, for
/// nobody could renew it.
async fn end_in_time(parts: &LeaderParts) {
    loop {
        let (began, next) = (clock::now(), parts.expiry.timers().next());
        let Some(next) = next else { return std::future::pending().await };
        let pause = next.saturating_duration_since(began).min(EXPIRY_LOOK);
        sleep(pause).await;
        let away = clock::since(began).saturating_sub(pause);
        if away > LEADER_GAP {
            info!(?away, "the leader was not run for a while; sessions and keys get their whole time again");
            parts.expiry.timers().clear();
            return;
        }
        let due = parts.expiry.timers().due(clock::now(), EXPIRY_BATCH, EXPIRY_RETRY);
        for command in commands(due) {
            if let Err(fault) = parts.propose(command).await {
                debug!(%fault, "what is due is not ended yet");
            }
        }
    }
}

/// All that ends with time, and after how long.
fn rows(view: &View) -> Vec<(Due, Duration)> {
    let sessions = view.mortal_sessions().filter_map(|session| Some((Due::Session(session.id), session.life()?)));
    let keys = view.mortal_keys().map(|entry| (Due::Key(entry.key.clone(), entry.modify_index), entry.ttl()));
    let delays = view.lock_delays().map(|(key, delay)| (Due::LockDelay(key.clone(), delay.index), delay.length));
    sessions.chain(keys).chain(delays).collect()
}

/// The commands that end it, one a kind.
fn commands(due: Vec<Due>) -> Vec<Command> {
    let (mut sessions, mut keys, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    for one in due {
        match one {
            Due::Session(id) => sessions.push(id),
            Due::Key(key, index) => keys.push((key, index)),
            Due::LockDelay(key, index) => delays.push((key, index)),
        }
    }
    if !sessions.is_empty() {
        metrics::counter!("kontor.session.expired").increment(sessions.len() as u64);
        info!(count = sessions.len(), first = %sessions[0], "sessions end that were not renewed");
    }
    metrics::counter!("kontor.kv.expired").increment(keys.len() as u64);
    let mut commands = Vec::new();
    if !sessions.is_empty() {
        commands.push(Command::EndSessions(sessions));
    }
    if !keys.is_empty() {
        commands.push(Command::ExpireKeys(keys));
    }
    if !delays.is_empty() {
        commands.push(Command::EndLockDelays(delays));
    }
    commands
}

/// Forgets old deletions, for one term.
pub(super) async fn keep_graveyard(parts: &LeaderParts) {
    let mut graveyard = Graveyard::default();
    loop {
        sleep(TOMBSTONE_STEP).await;
        let (count, index) = parts.reader.view().tombstones();
        let forgotten = graveyard.pass(index, clock::now());
        if let Some(index) = forgotten.filter(|_| count > 0)
            && let Err(fault) = parts.propose(Command::ReapTombstones(index)).await
        {
            debug!(%fault, "old deletions are not forgotten yet");
        }
    }
}
