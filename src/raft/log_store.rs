//! openraft's log storage: the newest entries in memory, everything in fjall behind one writer.
//!
//! openraft's core calls it; it never blocks the core on the disk, except to save a vote. What is
//! appended can be read at once; its callback comes after the fsync. Without a data directory it
//! keeps everything in memory.

use super::RaftError;
use super::log_writer::{Job, Journal, LogWriter};
use super::openraft_types::{Entry, LogId, TypeConfig, Vote, entry_bytes};
use crate::config::defaults::{RAFT_APPEND_BYTES, RAFT_LOG_CACHE_BYTES};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What is known of the log without asking the disk.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The newest entries, without a gap.
    entries: VecDeque<Entry>,
    /// Their size together.
    bytes: usize,
    /// The last entry, purged or not.
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// Entries up to here are on disk and may leave the memory.
    durable: u64,
    /// Truncations that the writer has not come to: until then indices on disk may mean other entries.
    truncations: usize,
}

impl Tail {
    /// The index after the last entry.
    fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index() + 1)
    }

    /// The index of the first entry in memory.
    fn first_index(&self) -> u64 {
        self.next_index() - self.entries.len() as u64
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.last = Some(entry.log_id());
        self.entries.push_back(entry);
    }

    fn truncate_after(&mut self, keep: Option<LogId>) {
        let next = keep.map_or(0, |id| id.index() + 1);
        while self.next_index() > next {
            match self.entries.pop_back() {
                Some(entry) => {
                    self.bytes -= entry_bytes(&entry);
                    self.last = self.entries.back().map_or(keep, |entry| Some(entry.log_id()));
                }
                None => break,
            }
        }
        self.last = keep;
        self.durable = self.durable.min(next.saturating_sub(1));
        self.truncations += 1;
    }

    fn purge(&mut self, upto: LogId) {
        self.purged = Some(upto);
        while self.first_index() <= upto.index() {
            match self.entries.pop_front() {
                Some(entry) => self.bytes -= entry_bytes(&entry),
                None => break,
            }
        }
        if self.last.is_none_or(|last| last.index() <= upto.index()) {
            self.last = Some(upto);
        }
        self.durable = self.durable.max(upto.index());
    }

    /// A batch has reached the disk, its last entry at `index`: entries over the memory's bound leave.
    pub(super) fn written(&mut self, index: Option<u64>, truncations: usize) {
        self.truncations = self.truncations.saturating_sub(truncations);
        if let Some(index) = index
            && self.truncations == 0
        {
            self.durable = self.durable.max(index).min(self.next_index().saturating_sub(1));
        }
        while self.bytes > RAFT_LOG_CACHE_BYTES && self.first_index() <= self.durable {
            match self.entries.pop_front() {
                Some(entry) => self.bytes -= entry_bytes(&entry),
                None => break,
            }
        }
    }

    /// What openraft says is committed, for the writer to write along with a batch that ends at
    /// `last_written`: never beyond what the disk has, or the next start would apply what is not there.
    pub(super) fn committed_on_disk(&self, last_written: Option<u64>, truncations: usize) -> Option<LogId> {
        let on_disk = self.durable.max(last_written.unwrap_or(0));
        self.committed.filter(|committed| committed.index() <= on_disk && self.truncations == truncations)
    }

    /// The entries of `start..end` that are in memory, and where they start.
    fn cached(&self, start: u64, end: u64) -> (u64, Vec<Entry>) {
        let first = self.first_index().clamp(start, end.max(start));
        let skip = first.saturating_sub(self.first_index()) as usize;
        let take = end.saturating_sub(first) as usize;
        (first, self.entries.iter().skip(skip).take(take).cloned().collect())
    }
}

/// The memory's share of the log, between the core, its readers and the writer.
#[derive(Debug, Default)]
pub(super) struct Shared(RwLock<Tail>);

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Tail> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Tail> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log, the vote, and the few values the bootstrap keeps; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    journal: Option<Arc<Journal>>,
    writer: Option<LogWriter>,
}

impl LogStore {
    /// A log that lives as long as the process.
    pub(crate) fn in_memory() -> LogStore {
        LogStore { shared: Arc::default(), journal: None, writer: None }
    }

    /// Opens the log in `dir`, and starts its writer.
    pub(crate) fn open(dir: &Path) -> Result<LogStore, RaftError> {
        let journal = Arc::new(Journal::open(dir)?);
        let found = journal.recover()?;
        let shared = Arc::new(Shared(RwLock::new(Tail {
            last: found.last,
            purged: found.purged,
            vote: found.vote,
            committed: found.committed,
            durable: found.last.map_or(0, |last| last.index()),
            ..Tail::default()
        })));
        let writer = LogWriter::start(Arc::clone(&journal), Arc::clone(&shared))?;
        Ok(LogStore { shared, journal: Some(journal), writer: Some(writer) })
    }

    /// Whether this server ever voted or had an entry.
    pub(crate) fn has_state(&self) -> bool {
        let tail = self.shared.read();
        tail.vote.is_some() || tail.last.is_some()
    }

    /// The term of the last entry, 0 without one.
    pub(crate) fn last_term(&self) -> u64 {
        self.shared.read().last.map_or(0, |last| last.committed_leader_id().term)
    }

    /// The writer, when there is a disk.
    pub(crate) fn writer(&self) -> Option<&LogWriter> {
        self.writer.as_ref()
    }

    /// A value that was kept beside the log.
    pub(crate) fn get(&self, name: &'static str) -> Result<Option<Vec<u8>>, RaftError> {
        self.journal.as_ref().map_or(Ok(None), |journal| journal.value(name))
    }

    /// Keeps a value beside the log, or forgets it; on disk when this returns.
    pub(crate) async fn put(&self, name: &'static str, value: Option<Vec<u8>>) -> io::Result<()> {
        match &self.writer {
            Some(writer) => writer.durably(|done| Job::Value { name, value, done }).await,
            None => Ok(()),
        }
    }

    /// Waits until everything before is on disk, and ends the writer.
    pub(crate) async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }

    async fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (first, cached) = {
            let tail = self.shared.read();
            tail.cached(start, end.min(tail.next_index()))
        };
        let mut entries = match &self.journal {
            Some(journal) if start < first => {
                let journal = Arc::clone(journal);
                let read = move || journal.entries(start, first, max_bytes);
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??
            }
            _ => Vec::new(),
        };
        let gap = start < first && entries.last().is_none_or(|entry| entry.index() + 1 != first);
        if !gap {
            entries.extend(cached);
        }
        let mut bytes = 0;
        let within = entries.iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += entry_bytes(entry);
            first || bytes <= max_bytes
        });
        let count = within.count();
        entries.truncate(count);
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(start, end, RAFT_APPEND_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.read().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.shared.read();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        if let Some(writer) = &self.writer {
            writer.durably(|done| Job::Vote { vote: *vote, done }).await?;
        }
        self.shared.write().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // The writer writes it along with its next batch: after a crash it may lag by that one.
        self.shared.write().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.read().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut tail = self.shared.write();
            for entry in &entries {
                tail.push(entry.clone());
            }
        }
        match &self.writer {
            Some(writer) => writer.send(Job::Append { entries, callback }).await,
            None => {
                callback.io_completed(Ok(()));
                Ok(())
            }
        }
    }

    async fn truncate_after(&mut self, keep: Option<LogId>) -> io::Result<()> {
        let (from, to) = {
            let mut tail = self.shared.write();
            let to = tail.next_index();
            tail.truncate_after(keep);
            (keep.map_or(0, |id| id.index() + 1), to)
        };
        match &self.writer {
            Some(writer) => writer.send(Job::Truncate { from, to }).await,
            None => Ok(()),
        }
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let (from, to) = {
            let mut tail = self.shared.write();
            let from = tail.purged.map_or(0, |purged| purged.index() + 1);
            let to = tail.next_index().min(upto.index() + 1);
            tail.purge(upto);
            (from, to)
        };
        match &self.writer {
            Some(writer) => writer.send(Job::Purge { from, to, upto }).await,
            None => Ok(()),
        }
    }
}
