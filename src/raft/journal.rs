//! The log's store on disk: fjall, opened anew after a full disk. `log_writer` writes to it from one thread, `log_store` reads.
//! fjall refuses every write after a failed one. After one without room, opening the store again cuts its beginning off, or
//! finds it whole; it is then repeated. After a failed fsync the content of the disk is unknown.

use super::RaftError;
use super::log_tail::Tail;
use super::openraft_types::{Entry, LogId, entry_bytes};
use super::overheard;
use super::room::{self, is_full};
use crate::defaults::{RAFT_DISK_FULL_TICK, RAFT_LOG_BLOCK_CACHE_BYTES, RAFT_LOG_JOURNAL_BYTES, RAFT_LOG_MEMTABLE_BYTES};
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use openraft::entry::RaftEntry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

/// The first byte of every value on disk.
const FORMAT: u8 = 1;
pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";
pub(super) const COMMITTED: &str = "committed";

/// Changes of the log by index and of the values by name; nothing stands for "remove".
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) log: BTreeMap<u64, Option<Vec<u8>>>,
    pub(super) values: BTreeMap<&'static str, Option<Vec<u8>>>,
}

#[derive(Debug)]
pub(super) enum WriteError {
    /// There is no room; none of the changes counts, and they may be written again.
    Full(String),
    Broken(io::Error),
}

/// The steps out of [`WriteError::Full`].
pub(super) trait FullStore {
    fn reopen(&self) -> io::Result<()>;
    fn is_nearly_full(&self) -> bool;
    /// Has the store's own thread write the store's memory. More would only lie in the store's journals before.
    fn settle(&self) -> Result<(), WriteError>;
}

/// The store: entries by index, and a few values by name.
pub(super) struct Journal {
    dir: PathBuf,
    /// Empty only while the writer opens it again; readers wait for that.
    store: RwLock<Option<Store>>,
}

struct Store {
    /// Earlier log lines are about another store.
    opened: Instant,
    database: Database,
    log: Keyspace,
    values: Keyspace,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Store {
    fn open(dir: &Path) -> Result<Store, fjall::Error> {
        let opened = Instant::now();
        let database = Database::builder(dir)
            .cache_size(RAFT_LOG_BLOCK_CACHE_BYTES)
            .max_journaling_size(RAFT_LOG_JOURNAL_BYTES)
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(RAFT_LOG_MEMTABLE_BYTES);
        let log = database.keyspace("log", options)?;
        let values = database.keyspace("values", options)?;
        Ok(Store { opened, database, log, values })
    }

    fn settle(&self) -> Result<(), fjall::Error> {
        // A store that has failed refuses every write, even an empty one. Its thread says no more than that.
        let is_well = || self.database.persist(PersistMode::Buffer);
        for keyspace in [&self.log, &self.values] {
            keyspace.rotate_memtable()?;
            while keyspace.tree.sealed_memtable_count() > 0 {
                is_well()?;
                std::thread::sleep(RAFT_DISK_FULL_TICK / 10);
            }
        }
        // The thread then merges tables, which needs room too.
        std::thread::sleep(RAFT_DISK_FULL_TICK);
        is_well()
    }
}

impl Journal {
    pub(super) fn open(dir: &Path) -> Result<Journal, RaftError> {
        let store = Store::open(dir).map_err(|error| refused(dir, &error))?;
        Ok(Journal { dir: dir.to_owned(), store: RwLock::new(Some(store)) })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn with<T>(&self, read: impl FnOnce(&Store) -> io::Result<T>) -> io::Result<T> {
        let slot: RwLockReadGuard<'_, Option<Store>> = self.store.read().unwrap_or_else(PoisonError::into_inner);
        // Empty after a failed reopening alone, which ends the server.
        slot.as_ref().map_or_else(|| Err(io::Error::other("the Raft log is closed")), read)
    }

    /// Reads what a start needs, and refuses a log with a hole.
    pub(super) fn recover(&self) -> Result<Tail, RaftError> {
        let purged: Option<LogId> = self.decoded(PURGED)?;
        let end = |guard: Option<fjall::Guard>| -> io::Result<Option<Entry>> {
            guard.map(|guard| decode(&guard.value().map_err(io::Error::other)?)).transpose()
        };
        let ends = self.with(|store| Ok((end(store.log.first_key_value())?, end(store.log.last_key_value())?)));
        let (first, last) = ends.map_err(broken)?;
        let expected = purged.map_or(0, |purged| purged.index() + 1);
        if let Some(first) = first.map(|entry| entry.index())
            && first != expected
        {
            return Err(broken(format!("it starts at entry {first}, expected {expected}")));
        }
        let last = last.map(|entry| entry.log_id()).or(purged);
        let (vote, committed, durable) = (self.decoded(VOTE)?, self.decoded(COMMITTED)?, last.map_or(0, |last| last.index()));
        Ok(Tail { last, purged, vote, committed, durable, ..Tail::default() })
    }

    pub(super) fn value(&self, name: &'static str) -> Result<Option<Vec<u8>>, RaftError> {
        self.with(|store| Ok(store.values.get(name).map_err(io::Error::other)?.map(|bytes| bytes.to_vec()))).map_err(broken)
    }

    fn decoded<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, RaftError> {
        self.value(name)?.map(|bytes| decode(&bytes).map_err(broken)).transpose()
    }

    /// Entries of `start..end`, until `max_bytes` are exceeded.
    pub(super) fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        self.with(|store| {
            let (mut entries, mut bytes) = (Vec::new(), 0);
            for guard in store.log.range(start.to_be_bytes()..end.to_be_bytes()) {
                let entry: Entry = decode(&guard.value().map_err(io::Error::other)?)?;
                bytes += entry_bytes(&entry);
                entries.push(entry);
                if bytes > max_bytes {
                    break;
                }
            }
            Ok(entries)
        })
    }

    /// Writes all of the changes or none; on disk when this returns.
    pub(super) fn commit(&self, changes: &Changes) -> Result<(), WriteError> {
        let slot = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = slot.as_ref() else { return Err(closed()) };
        // Handed to the system first, and then to the disk: only the first may fail for want of room.
        let mut writes = store.database.batch().durability(Some(PersistMode::Buffer));
        for (index, value) in &changes.log {
            match value {
                Some(value) => writes.insert(&store.log, index.to_be_bytes(), value.as_slice()),
                None => writes.remove(&store.log, index.to_be_bytes()),
            }
        }
        for (name, value) in &changes.values {
            match value {
                Some(value) => writes.insert(&store.values, *name, value.as_slice()),
                None => writes.remove(&store.values, *name),
            }
        }
        let failed = |error: fjall::Error| failed(error, &self.dir, store.opened);
        writes.commit().map_err(failed)?;
        store.database.persist(PersistMode::SyncData).map_err(|error| match error {
            // The store's own thread has met the full disk in between.
            fjall::Error::Poisoned => failed(error),
            error => WriteError::Broken(io::Error::other(error)),
        })
    }
}

impl FullStore for Journal {
    fn reopen(&self) -> io::Result<()> {
        let mut slot = self.store.write().unwrap_or_else(PoisonError::into_inner);
        // Its threads end here.
        drop(slot.take());
        loop {
            let since = Instant::now();
            match Store::open(&self.dir) {
                Ok(store) => {
                    *slot = Some(store);
                    return Ok(());
                }
                Err(error) if matches!(error, fjall::Error::Locked) || want_of_room(&error, &self.dir, since).is_some() => {
                    std::thread::sleep(RAFT_DISK_FULL_TICK);
                }
                Err(error) => return Err(io::Error::other(refused(&self.dir, &error).to_string())),
            }
        }
    }

    fn is_nearly_full(&self) -> bool {
        room::is_nearly_full(&self.dir)
    }

    fn settle(&self) -> Result<(), WriteError> {
        let slot = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = slot.as_ref() else { return Err(closed()) };
        store.settle().map_err(|error| failed(error, &self.dir, store.opened))
    }
}

fn closed() -> WriteError {
    WriteError::Broken(io::Error::other("the Raft log is closed"))
}

fn failed(error: fjall::Error, dir: &Path, since: Instant) -> WriteError {
    match want_of_room(&error, dir, since) {
        Some(reason) => WriteError::Full(reason),
        None => WriteError::Broken(io::Error::other(error)),
    }
}

/// The reason, if the store opened at `since` failed for want of room; its own thread gives it in the log lines alone.
fn want_of_room(error: &fjall::Error, dir: &Path, since: Instant) -> Option<String> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) if is_full(error) => Some(error.to_string()),
        fjall::Error::Poisoned if room::is_nearly_full(dir) => Some("its disk is full".to_owned()),
        fjall::Error::Poisoned => overheard::want_of_room(since),
        _ => None,
    }
}

fn refused(dir: &Path, error: &fjall::Error) -> RaftError {
    RaftError::Storage(match error {
        fjall::Error::Locked => format!("{} is in use by another process", dir.display()),
        error => format!("the Raft log in {} cannot be opened: {error}", dir.display()),
    })
}

fn broken(error: impl std::fmt::Display) -> RaftError {
    RaftError::Storage(format!("the Raft log cannot be read: {error}"))
}

pub(super) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(io::Error::other)?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => rmp_serde::from_slice(rest).map_err(io::Error::other),
        Some((format, _)) => Err(io::Error::other(format!("expected format {FORMAT}, got {format}"))),
        None => Err(io::Error::other("a value is empty")),
    }
}
