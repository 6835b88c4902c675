//! Keys that change.

use super::LockDelay;
use crate::defaults::LOCK_DELAY_MAX;
use crate::model::ids::SessionId;
use crate::model::kv::{KvChange, KvEntry, KvKey, KvPut, KvRefusal};
use crate::model::session::{self, Session, SessionBehavior};
use crate::store::change::Change;
use crate::store::key::Key;
use std::sync::Arc;
use std::time::Duration;

/// Makes one change, and returns the entry that it has written.
pub(crate) fn change(change: &mut Change<'_>, wanted: &KvChange) -> Result<Option<Arc<KvEntry>>, KvRefusal> {
    let existing = change.view.keys.get(wanted.key().as_bytes()).cloned();
    let existing = existing.as_deref();
    match wanted {
        KvChange::Set(put) => Ok(Some(set(change, existing, put))),
        KvChange::Cas(put, index) => {
            fits(existing, *index).then_some(()).ok_or_else(|| KvRefusal::Stale { verb: "set", key: put.key.clone() })?;
            Ok(Some(set(change, existing, put)))
        }
        KvChange::Lock(put, session) => lock(change, existing, put, session).map(Some),
        KvChange::Unlock(put, session) => unlock(change, existing, put, session).map(Some),
        KvChange::Delete(key) => {
            delete(change, key);
            Ok(None)
        }
        KvChange::DeleteCas(key, index) => {
            // An entry that is not there is deleted already, whatever the index.
            if existing.is_some() && !fits(existing, *index) {
                return Err(KvRefusal::Stale { verb: "delete", key: key.clone() });
            }
            delete(change, key);
            Ok(None)
        }
        KvChange::DeleteTree(prefix) => {
            let keys: Vec<KvKey> = change.view.keys.below(prefix.as_bytes()).map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| delete(change, key));
            Ok(None)
        }
    }
}

/// True if the entry was changed at `index` last; a missing one fits 0.
fn fits(existing: Option<&KvEntry>, index: u64) -> bool {
    existing.map_or(0, |entry| entry.modify_index) == index
}

/// Writes a value. The lock stays with its holder; the count of locks begins anew, as in Consul.
fn set(change: &mut Change<'_>, existing: Option<&KvEntry>, put: &KvPut) -> Arc<KvEntry> {
    write(change, existing, put, 0, existing.and_then(|entry| entry.session))
}

fn lock(change: &mut Change<'_>, existing: Option<&KvEntry>, put: &KvPut, session: &str) -> Result<Arc<KvEntry>, KvRefusal> {
    if change.view.keys.delays.contains_key(&put.key) {
        return Err(KvRefusal::Delayed(put.key.clone()));
    }
    let session = known_session(change, session)?;
    let count = existing.map_or(0, |entry| entry.lock_index);
    let count = match existing.and_then(|entry| entry.session) {
        Some(holder) if holder == session => count,
        Some(_another) => return Err(KvRefusal::Held(put.key.clone())),
        None => count + 1,
    };
    Ok(write(change, existing, put, count, Some(session)))
}

fn unlock(change: &mut Change<'_>, existing: Option<&KvEntry>, put: &KvPut, session: &str) -> Result<Arc<KvEntry>, KvRefusal> {
    if session.is_empty() {
        return Err(missing_session());
    }
    let is_held = |entry: &&KvEntry| entry.session.is_some() && entry.session == session.parse().ok();
    let held = existing.filter(is_held).ok_or_else(|| KvRefusal::NotHeld(put.key.clone()))?;
    Ok(write(change, existing, put, held.lock_index, None))
}

fn known_session(change: &Change<'_>, text: &str) -> Result<SessionId, KvRefusal> {
    if text.is_empty() {
        return Err(missing_session());
    }
    let id = session::parse_id(text).map_err(|fault| KvRefusal::Session(fault.message))?;
    let known = change.view.sessions.get(id).map(|session| session.id);
    known.ok_or_else(|| KvRefusal::Session(format!("invalid session {text:?}")))
}

fn missing_session() -> KvRefusal {
    KvRefusal::Session("missing session".to_owned())
}

/// Writes an entry, unless it is the same as before. One with a TTL is always written: that begins the TTL anew.
fn write(
    change: &mut Change<'_>,
    existing: Option<&KvEntry>,
    put: &KvPut,
    lock_index: u64,
    session: Option<SessionId>,
) -> Arc<KvEntry> {
    let KvPut { key, value, flags, ttl_ms } = put.clone();
    let (create_index, modify_index) = existing.map_or((change.index, 0), |entry| (entry.create_index, entry.modify_index));
    let mut entry = KvEntry { key, value, flags, lock_index, session, ttl_ms, create_index, modify_index };
    if entry.ttl_ms > 0 || existing != Some(&entry) {
        entry.modify_index = change.index;
        put_entry(change, entry.clone());
    }
    Arc::new(entry)
}

fn put_entry(change: &mut Change<'_>, entry: KvEntry) {
    touch(change, &entry.key);
    let was_timed = change.view.keys.get(entry.key.as_bytes()).is_some_and(|before| before.ttl_ms > 0);
    if was_timed || entry.ttl_ms > 0 {
        change.touched.insert(Key::Expiry);
    }
    change.view.keys.place(entry);
}

fn delete(change: &mut Change<'_>, key: &KvKey) {
    if change.view.keys.take(key).is_some() {
        change.view.keys.tombstones.insert(key.clone(), change.index);
        touch(change, key);
        change.touched.insert(Key::Expiry);
    }
}

fn touch(change: &mut Change<'_>, key: &KvKey) {
    change.view.keys.indexes.last = change.index;
    change.touched.insert(Key::Kv(key.clone()));
}

/// Frees the keys that an ended session held, as it has wanted.
pub(crate) fn free(change: &mut Change<'_>, session: &Session) {
    let delay = LockDelay { length: Duration::from_nanos(session.lock_delay).min(LOCK_DELAY_MAX), index: change.index };
    for key in change.view.keys.held_by(session.id) {
        match (session.behavior, change.view.keys.get(key.as_bytes()).cloned()) {
            (SessionBehavior::Delete, _) => delete(change, &key),
            (SessionBehavior::Release, Some(entry)) => {
                put_entry(change, KvEntry { session: None, modify_index: change.index, ..KvEntry::clone(&entry) });
            }
            (SessionBehavior::Release, None) => {}
        }
        if !delay.length.is_zero() {
            change.view.keys.delays.insert(key, delay);
            change.touched.insert(Key::Expiry);
        }
    }
}

/// Deletes the entries whose TTL is over and that were not written again.
pub(crate) fn expire(change: &mut Change<'_>, keys: &[(KvKey, u64)]) {
    for (key, index) in keys {
        let is_due = |entry: &Arc<KvEntry>| entry.ttl_ms > 0 && entry.modify_index == *index;
        if change.view.keys.get(key.as_bytes()).is_some_and(is_due) {
            delete(change, key);
        }
    }
}

/// Takes away the lock delays that are over.
pub(crate) fn end_delays(change: &mut Change<'_>, delays: &[(KvKey, u64)]) {
    for (key, index) in delays {
        if change.view.keys.delays.get(key).is_some_and(|delay| delay.index == *index) {
            change.view.keys.delays.remove(key);
            change.touched.insert(Key::Expiry);
        }
    }
}

/// Forgets the deletions up to `index`.
pub(crate) fn reap(change: &mut Change<'_>, index: u64) {
    let keys = &mut change.view.keys;
    let old: Vec<KvKey> = keys.tombstones.iter().filter(|(_, at)| **at <= index).map(|(key, _)| key.clone()).collect();
    let newest = old.iter().filter_map(|key| keys.tombstones.remove(key)).max();
    keys.indexes.reaped = keys.indexes.reaped.max(newest.unwrap_or_default());
}
