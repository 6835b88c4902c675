//! The log on disk: a fjall store, and the one thread that writes to it.
//!
//! Votes, appends, truncations and purges go through one queue in order; the thread takes what has
//! gathered, writes it as one batch with one fsync, and then tells everybody. After a failed fsync
//! it writes nothing more: what the disk holds is no longer known.

use super::RaftError;
use super::log_store::Shared;
use super::openraft_types::{Entry, LogId, TypeConfig, Vote, entry_bytes};
use crate::config::defaults::{
    RAFT_LOG_BATCH_BYTES, RAFT_LOG_BLOCK_CACHE_BYTES, RAFT_LOG_JOURNAL_BYTES, RAFT_LOG_MEMTABLE_BYTES, RAFT_LOG_QUEUE,
};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Comes first in every value on disk.
const FORMAT: u8 = 1;
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";

/// What was found on disk at the start.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
}

/// The store: entries by index, and a few values by name.
pub(super) struct Journal {
    database: Database,
    log: Keyspace,
    values: Keyspace,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    pub(super) fn open(dir: &Path) -> Result<Journal, RaftError> {
        let refused = |error: fjall::Error| {
            RaftError::Storage(match error {
                fjall::Error::Locked => format!("{} is in use by another process", dir.display()),
                error => format!("the Raft log in {} cannot be opened: {error}", dir.display()),
            })
        };
        let database = Database::builder(dir)
            .cache_size(RAFT_LOG_BLOCK_CACHE_BYTES)
            .max_journaling_size(RAFT_LOG_JOURNAL_BYTES)
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()
            .map_err(refused)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(RAFT_LOG_MEMTABLE_BYTES);
        let log = database.keyspace("log", options).map_err(refused)?;
        let values = database.keyspace("values", options).map_err(refused)?;
        Ok(Journal { database, log, values })
    }

    /// Reads what a start needs, and refuses a log with a hole.
    pub(super) fn recover(&self) -> Result<Found, RaftError> {
        let purged: Option<LogId> = self.decoded(PURGED)?;
        let end = |guard: Option<fjall::Guard>| -> Result<Option<Entry>, RaftError> {
            guard.map(|guard| decode(&guard.value().map_err(broken)?).map_err(broken)).transpose()
        };
        let first = end(self.log.first_key_value())?;
        let last = end(self.log.last_key_value())?;
        let expected = purged.map_or(0, |purged| purged.index() + 1);
        if let Some(first) = first.map(|entry| entry.index())
            && first != expected
        {
            return Err(broken(format!("it starts at entry {first}, expected {expected}")));
        }
        Ok(Found {
            last: last.map(|entry| entry.log_id()).or(purged),
            purged,
            vote: self.decoded(VOTE)?,
            committed: self.decoded(COMMITTED)?,
        })
    }

    pub(super) fn value(&self, name: &'static str) -> Result<Option<Vec<u8>>, RaftError> {
        Ok(self.values.get(name).map_err(broken)?.map(|bytes| bytes.to_vec()))
    }

    fn decoded<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, RaftError> {
        self.value(name)?.map(|bytes| decode(&bytes).map_err(broken)).transpose()
    }

    /// Entries of `start..end`, until `max_bytes` are exceeded.
    pub(super) fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for guard in self.log.range(start.to_be_bytes()..end.to_be_bytes()) {
            let entry: Entry = decode(&guard.value().map_err(io::Error::other)?)?;
            bytes += entry_bytes(&entry);
            entries.push(entry);
            if bytes > max_bytes {
                break;
            }
        }
        Ok(entries)
    }

    fn commit(&self, batch: Batch) -> io::Result<()> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for (index, value) in batch.log {
            match value {
                Some(value) => writes.insert(&self.log, index.to_be_bytes(), value),
                None => writes.remove(&self.log, index.to_be_bytes()),
            }
        }
        for (name, value) in batch.values {
            match value {
                Some(value) => writes.insert(&self.values, name, value),
                None => writes.remove(&self.values, name),
            }
        }
        writes.commit().map_err(io::Error::other)
    }
}

fn broken(error: impl std::fmt::Display) -> RaftError {
    RaftError::Storage(format!("the Raft log cannot be read: {error}"))
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(io::Error::other)?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => rmp_serde::from_slice(rest).map_err(io::Error::other),
        Some((format, _)) => Err(io::Error::other(format!("expected format {FORMAT}, got {format}"))),
        None => Err(io::Error::other("a value is empty")),
    }
}

/// Tells one waiter.
type Done = oneshot::Sender<io::Result<()>>;

/// What the writer is asked to do.
pub(super) enum Job {
    Vote { vote: Vote, done: Done },
    Append { entries: Vec<Entry>, callback: IOFlushed<TypeConfig> },
    Truncate(Range<u64>),
    Purge { from: u64, to: u64, upto: LogId },
    Value { name: &'static str, value: Option<Vec<u8>>, done: Done },
    Close { done: Done },
}

/// What one fsync covers; the last write of a key is the one that counts.
#[derive(Default)]
struct Batch {
    log: BTreeMap<u64, Option<Vec<u8>>>,
    values: BTreeMap<&'static str, Option<Vec<u8>>>,
    bytes: usize,
    last_written: Option<u64>,
    truncations: usize,
    callbacks: Vec<IOFlushed<TypeConfig>>,
    waiters: Vec<Done>,
    close: bool,
}

impl Batch {
    fn add(&mut self, job: Job) -> io::Result<()> {
        match job {
            Job::Append { entries, callback } => {
                self.callbacks.push(callback);
                for entry in entries {
                    let value = encode(&entry)?;
                    self.bytes += value.len();
                    self.last_written = Some(entry.index());
                    self.log.insert(entry.index(), Some(value));
                }
            }
            Job::Truncate(dropped) => {
                let from = dropped.start;
                self.log.extend(dropped.map(|index| (index, None)));
                self.last_written = self.last_written.map(|last| last.min(from.saturating_sub(1)));
                self.truncations += 1;
            }
            Job::Purge { from, to, upto } => {
                self.values.insert(PURGED, Some(encode(&upto)?));
                self.log.extend((from..to).map(|index| (index, None)));
            }
            Job::Vote { vote, done } => {
                self.waiters.push(done);
                self.values.insert(VOTE, Some(encode(&vote)?));
            }
            Job::Value { name, value, done } => {
                self.waiters.push(done);
                self.values.insert(name, value);
            }
            Job::Close { done } => {
                self.waiters.push(done);
                self.close = true;
            }
        }
        Ok(())
    }
}

/// The queue to the writing thread; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    queue: mpsc::Sender<Job>,
    busy_since: Arc<Mutex<Option<Instant>>>,
    failed: watch::Receiver<Option<String>>,
}

impl LogWriter {
    pub(super) fn start(journal: Arc<Journal>, shared: Arc<Shared>) -> Result<LogWriter, RaftError> {
        let (queue, jobs) = mpsc::channel(RAFT_LOG_QUEUE);
        let (failure, failed) = watch::channel(None);
        let busy_since = Arc::default();
        let thread = WriterThread { journal, shared, jobs, busy_since: Arc::clone(&busy_since), failure, written: None };
        let spawned = std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || thread.run());
        spawned.map_err(|error| RaftError::Storage(format!("the log's writer cannot start: {error}")))?;
        Ok(LogWriter { queue, busy_since, failed })
    }

    pub(super) async fn send(&self, job: Job) -> io::Result<()> {
        self.queue.send(job).await.map_err(|_closed| io::Error::other("the log's writer has ended"))
    }

    /// Sends a job and waits until it is on disk.
    pub(super) async fn durably(&self, job: impl FnOnce(Done) -> Job) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.send(job(done)).await?;
        written.await.unwrap_or_else(|_dropped| Err(io::Error::other("the log's writer has ended")))
    }

    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        let _ended = self.durably(|done| Job::Close { done }).await;
    }

    /// For how long the batch at hand has been with the disk.
    pub(crate) fn busy_for(&self) -> Duration {
        self.busy_since.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Has the reason once a write has failed.
    pub(crate) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }
}

struct WriterThread {
    journal: Arc<Journal>,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    busy_since: Arc<Mutex<Option<Instant>>>,
    failure: watch::Sender<Option<String>>,
    /// The last commit index that was written.
    written: Option<LogId>,
}

impl WriterThread {
    fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut batch = Batch::default();
            let mut filled = batch.add(first);
            while filled.is_ok() && batch.bytes < RAFT_LOG_BATCH_BYTES && !batch.close {
                match self.jobs.try_recv() {
                    Ok(job) => filled = batch.add(job),
                    Err(_empty) => break,
                }
            }
            let close = batch.close;
            if !self.write(batch, filled) || close {
                return;
            }
        }
    }

    /// Writes one batch and tells who waits for it; false after a failure.
    fn write(&mut self, mut batch: Batch, filled: io::Result<()>) -> bool {
        let callbacks = std::mem::take(&mut batch.callbacks);
        let waiters = std::mem::take(&mut batch.waiters);
        let (last_written, truncations) = (batch.last_written, batch.truncations);
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let result = filled.and_then(|()| self.add_committed(&mut batch)).and_then(|()| self.journal.commit(batch));
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        metrics::counter!("kontor.raft.fsyncs").increment(1);
        if result.is_ok() {
            self.shared.write().written(last_written, truncations);
        }
        if let Err(error) = &result {
            tracing::error!(%error, "the Raft log cannot be written");
            self.failure.send_replace(Some(format!("the Raft log cannot be written: {error}")));
        }
        let outcome = || result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        for callback in callbacks {
            callback.io_completed(outcome());
        }
        for waiter in waiters {
            // Who no longer waits need not be told.
            let _gone = waiter.send(outcome());
        }
        result.is_ok()
    }

    /// Writes the commit index along, for the price of some bytes.
    fn add_committed(&mut self, batch: &mut Batch) -> io::Result<()> {
        let committed = self.shared.read().committed_on_disk(batch.last_written, batch.truncations);
        if let Some(committed) = committed
            && self.written != Some(committed)
        {
            batch.values.insert(COMMITTED, Some(encode(&committed)?));
            self.written = Some(committed);
        }
        Ok(())
    }
}
