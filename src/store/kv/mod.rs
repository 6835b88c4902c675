//! Keys and values: entries by key, and what is left of deleted ones.

pub(super) mod commands;
pub(super) mod reads;

use super::record::{Kind, Writer, parse};
use super::table::Table;
use crate::model::ids::SessionId;
use crate::model::kv::{KvEntry, KvKey};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The time in which nobody can take a lock, because the session that held it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDelay {
    /// How long it is. The leader counts it, from when it first sees it.
    pub length: Duration,
    /// Index of the command that ended the session.
    pub index: u64,
}

/// All entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    rows: OrdMap<KvKey, Arc<KvEntry>>,
    /// Deleted keys that are not there again, with the index of the deletion: the index of a prefix never sinks by one.
    tombstones: OrdMap<KvKey, u64>,
    /// The locked keys by the session that holds them.
    held: OrdSet<(SessionId, KvKey)>,
    delays: OrdMap<KvKey, LockDelay>,
    /// The keys of entries with a TTL.
    timed: OrdSet<KvKey>,
    indexes: Indexes,
}

/// The indexes of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Indexes {
    /// Of the last change of an entry.
    pub(super) last: u64,
    /// Of the newest deletion that is forgotten. No prefix has a lower index from then on.
    pub(super) reaped: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tombstone {
    key: KvKey,
    index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct DelayRecord {
    key: KvKey,
    delay: LockDelay,
}

impl Keys {
    /// The entry of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<KvEntry>> {
        self.rows.get(key)
    }

    /// The entries whose key begins with `prefix`.
    pub(super) fn below<'a, 'p>(&'a self, prefix: &'p [u8]) -> impl Iterator<Item = (&'a KvKey, &'a Arc<KvEntry>)> + use<'a, 'p> {
        self.below_from(prefix, prefix)
    }

    /// The same, without those whose key is lower than `from`.
    pub(super) fn below_from<'a, 'p>(
        &'a self,
        prefix: &'p [u8],
        from: &[u8],
    ) -> impl Iterator<Item = (&'a KvKey, &'a Arc<KvEntry>)> + use<'a, 'p> {
        let from = KvKey::from(from.max(prefix));
        self.rows.range(from..).take_while(move |(key, _)| key.as_bytes().starts_with(prefix))
    }

    /// The index of the last change below `prefix`; of the table where nothing is there, nor was of late.
    pub(super) fn index_below(&self, prefix: &[u8]) -> u64 {
        if prefix.is_empty() {
            return self.indexes.last;
        }
        let deleted = self.tombstones.range(KvKey::from(prefix)..);
        let deleted = deleted.take_while(|(key, _)| key.as_bytes().starts_with(prefix)).map(|(_, index)| *index);
        let present = self.below(prefix).map(|(_, entry)| entry.modify_index);
        let newest = present.chain(deleted).max();
        newest.map_or(self.indexes.last, |index| index.max(self.indexes.reaped))
    }

    /// The entries with a TTL.
    pub(super) fn timed(&self) -> impl Iterator<Item = &Arc<KvEntry>> {
        self.timed.iter().filter_map(|key| self.rows.get(key))
    }

    /// The lock delays that are not over.
    pub(super) fn delays(&self) -> impl Iterator<Item = (&KvKey, &LockDelay)> {
        self.delays.iter()
    }

    /// How many deletions are remembered.
    pub(super) fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    /// The index of the last change.
    pub(super) fn last(&self) -> u64 {
        self.indexes.last
    }

    /// The keys that a session holds.
    fn held_by(&self, session: SessionId) -> Vec<KvKey> {
        let from = (session, KvKey::default());
        self.held.range(from..).take_while(|(holder, _)| *holder == session).map(|(_, key)| key.clone()).collect()
    }

    /// Puts an entry in the place of the one of the same key; moves no index.
    fn place(&mut self, entry: KvEntry) {
        let key = entry.key.clone();
        self.take(&key);
        if let Some(session) = entry.session {
            self.held.insert((session, key.clone()));
        }
        if entry.ttl_ms > 0 {
            self.timed.insert(key.clone());
        }
        self.tombstones.remove(&key);
        self.rows.insert(key, Arc::new(entry));
    }

    /// Takes an entry away; moves no index.
    fn take(&mut self, key: &KvKey) -> Option<Arc<KvEntry>> {
        let entry = self.rows.remove(key)?;
        if let Some(session) = entry.session {
            self.held.remove(&(session, key.clone()));
        }
        self.timed.remove(key);
        Some(entry)
    }

    /// Takes in a record of a snapshot.
    pub(super) fn load(&mut self, kind: Kind, body: &[u8]) -> Result<(), String> {
        match kind {
            Kind::KvEntry => self.place(parse(body)?),
            Kind::Tombstone => {
                let Tombstone { key, index } = parse(body)?;
                self.tombstones.insert(key, index);
            }
            Kind::LockDelay => {
                let DelayRecord { key, delay } = parse(body)?;
                self.delays.insert(key, delay);
            }
            _ => self.indexes = parse(body)?,
        }
        Ok(())
    }
}

impl Table for Keys {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        if self.indexes == Indexes::default() {
            return Ok(());
        }
        to.value(Kind::KvIndexes, &self.indexes)?;
        self.rows.values().try_for_each(|entry| to.value(Kind::KvEntry, &**entry))?;
        let mut tombstones = self.tombstones.iter().map(|(key, index)| Tombstone { key: key.clone(), index: *index });
        tombstones.try_for_each(|record| to.value(Kind::Tombstone, &record))?;
        let mut delays = self.delays.iter().map(|(key, delay)| DelayRecord { key: key.clone(), delay: *delay });
        delays.try_for_each(|record| to.value(Kind::LockDelay, &record))
    }

    fn move_to(&mut self, _datacenter: &Arc<str>) {}

    #[cfg(test)]
    fn index(&self) -> u64 {
        self.indexes.last
    }

    #[cfg(test)]
    fn verify(&self, view: &super::View) {
        let mut anew = Keys { indexes: self.indexes, delays: self.delays.clone(), ..Keys::default() };
        for (key, entry) in &self.rows {
            assert!(*key == entry.key && entry.create_index <= entry.modify_index, "{entry:?}");
            assert!(entry.modify_index <= self.indexes.last && !self.tombstones.contains_key(key), "{entry:?}");
            assert!(entry.session.is_none_or(|id| view.sessions.get(id).is_some()), "held by no session: {entry:?}");
            anew.place(KvEntry::clone(entry));
        }
        assert!(anew.held == self.held && anew.timed == self.timed, "{self:?}");
        assert!(self.tombstones.values().all(|index| *index <= self.indexes.last), "{self:?}");
    }
}
