//! The one thread that writes to the log on disk: votes, appends, truncations and purges, in the order of one queue.
//! It writes the queue as one batch with one fsync, and then answers all waiters. On a full disk it waits for room with the
//! batch at hand. After a failed fsync it writes nothing more: the content of the disk is unknown.

use super::RaftError;
use super::journal::{COMMITTED, Changes, FullStore, Journal, PURGED, VOTE, WriteError, encode};
use super::log_tail::Shared;
use super::openraft_types::{Entry, LogId, TypeConfig, Vote};
use crate::defaults::{RAFT_DISK_FULL_TICK, RAFT_DISK_FULL_TICKS, RAFT_LOG_BATCH_BYTES, RAFT_LOG_QUEUE};
use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

type Done = oneshot::Sender<io::Result<()>>;

pub(super) enum Job {
    Vote { vote: Vote, done: Done },
    Append { entries: Vec<Entry>, callback: IOFlushed<TypeConfig> },
    Truncate(Range<u64>),
    Purge { from: u64, to: u64, upto: LogId },
    Value { name: &'static str, value: Option<Vec<u8>>, done: Done },
    Close { done: Done },
}

/// The changes of one fsync; the last write of a key counts.
#[derive(Default)]
struct Batch {
    changes: Changes,
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
                    self.changes.log.insert(entry.index(), Some(value));
                }
            }
            Job::Truncate(dropped) => {
                let from = dropped.start;
                self.changes.log.extend(dropped.map(|index| (index, None)));
                self.last_written = self.last_written.map(|last| last.min(from.saturating_sub(1)));
                self.truncations += 1;
            }
            Job::Purge { from, to, upto } => {
                self.changes.values.insert(PURGED, Some(encode(&upto)?));
                self.changes.log.extend((from..to).map(|index| (index, None)));
            }
            Job::Vote { vote, done } => {
                self.waiters.push(done);
                self.changes.values.insert(VOTE, Some(encode(&vote)?));
            }
            Job::Value { name, value, done } => {
                self.waiters.push(done);
                self.changes.values.insert(name, value);
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
    status: Arc<Status>,
    failed: watch::Receiver<Option<String>>,
}

/// The batch at hand, as others see it.
#[derive(Debug, Default)]
struct Status {
    busy_since: Mutex<Option<Instant>>,
    waits_for_room: AtomicBool,
}

impl Status {
    fn busy_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.busy_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter {
    pub(super) fn start(journal: Arc<Journal>, shared: Arc<Shared>) -> Result<LogWriter, RaftError> {
        let (queue, jobs) = mpsc::channel(RAFT_LOG_QUEUE);
        let (failure, failed) = watch::channel(None);
        let status: Arc<Status> = Arc::default();
        let thread = WriterThread { journal, shared, jobs, status: Arc::clone(&status), failure, written: None };
        let spawned = std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || thread.run());
        spawned.map_err(|error| RaftError::Storage(format!("the log's writer cannot start: {error}")))?;
        Ok(LogWriter { queue, status, failed })
    }

    pub(super) async fn send(&self, job: Job) -> io::Result<()> {
        self.queue.send(job).await.map_err(|_closed| io::Error::other("the log's writer has ended"))
    }

    pub(super) async fn durably(&self, job: impl FnOnce(Done) -> Job) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.send(job(done)).await?;
        written.await.unwrap_or_else(|_dropped| Err(io::Error::other("the log's writer has ended")))
    }

    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        let _ended = self.durably(|done| Job::Close { done }).await;
    }

    /// The time for which the disk has had the batch at hand.
    pub(crate) fn busy_for(&self) -> Duration {
        self.status.busy_since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn waits_for_room(&self) -> bool {
        self.status.waits_for_room.load(Ordering::SeqCst)
    }

    pub(crate) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }
}

struct WriterThread {
    journal: Arc<Journal>,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    status: Arc<Status>,
    failure: watch::Sender<Option<String>>,
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

    /// Writes one batch and answers its waiters; false after a failure.
    fn write(&mut self, mut batch: Batch, filled: io::Result<()>) -> bool {
        let callbacks = std::mem::take(&mut batch.callbacks);
        let waiters = std::mem::take(&mut batch.waiters);
        let (last_written, truncations) = (batch.last_written, batch.truncations);
        *self.status.busy_since() = Some(Instant::now());
        let result = filled.and_then(|()| self.add_committed(&mut batch)).and_then(|()| self.commit(&batch.changes));
        *self.status.busy_since() = None;
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
            // The waiter may be gone.
            let _gone = waiter.send(outcome());
        }
        result.is_ok()
    }

    /// Writes until it is done; a full disk is waited for like a slow one.
    fn commit(&self, changes: &Changes) -> io::Result<()> {
        loop {
            let reason = match self.journal.commit(changes) {
                Ok(()) => break,
                Err(WriteError::Broken(error)) => return Err(error),
                Err(WriteError::Full(reason)) => reason,
            };
            metrics::counter!("kontor.raft.disk_full").increment(1);
            if !self.status.waits_for_room.swap(true, Ordering::SeqCst) {
                let folder = self.journal.dir().display();
                tracing::error!(%folder, reason, "there is no room for the Raft log; no writes are taken until there is");
            }
            wait_for_room(self.journal.as_ref())?;
        }
        if self.status.waits_for_room.swap(false, Ordering::SeqCst) {
            tracing::info!("there is room for the Raft log again; writes go on");
        }
        Ok(())
    }

    /// Adds the commit index to the batch, for some bytes.
    fn add_committed(&mut self, batch: &mut Batch) -> io::Result<()> {
        let committed = self.shared.read().committed_on_disk(batch.last_written, batch.truncations);
        if let Some(committed) = committed
            && self.written != Some(committed)
        {
            batch.changes.values.insert(COMMITTED, Some(encode(&committed)?));
            self.written = Some(committed);
        }
        Ok(())
    }
}

/// Opens the store anew until it can write. Room is waited for only after that: the files of the write that failed
/// hold some until then, perhaps all that would be enough.
fn wait_for_room(store: &impl FullStore) -> io::Result<()> {
    for tries in 1.. {
        std::thread::sleep(RAFT_DISK_FULL_TICK * RAFT_DISK_FULL_TICKS.min(tries));
        store.reopen()?;
        while store.is_nearly_full() {
            std::thread::sleep(RAFT_DISK_FULL_TICK);
        }
        match store.settle() {
            Ok(()) => break,
            Err(WriteError::Broken(error)) => return Err(error),
            Err(WriteError::Full(_reason)) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A store on a disk that is full of its own last write.
    struct InItsOwnWay {
        left_over: Cell<bool>,
        looks: Cell<u32>,
    }

    impl FullStore for InItsOwnWay {
        fn reopen(&self) -> io::Result<()> {
            self.left_over.set(false);
            Ok(())
        }

        fn is_nearly_full(&self) -> bool {
            self.looks.set(self.looks.get() + 1);
            assert!(self.looks.get() < 3, "it waits for room that only opening the store anew gives back");
            self.left_over.get()
        }

        fn settle(&self) -> Result<(), WriteError> {
            Ok(())
        }
    }

    #[test]
    fn the_store_is_opened_anew_before_room_is_waited_for() {
        wait_for_room(&InItsOwnWay { left_over: Cell::new(true), looks: Cell::new(0) }).unwrap();
    }
}
