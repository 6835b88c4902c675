//! The memory's share of the log: its newest entries and what else is known without asking the disk.
//!
//! `log_store` reads and fills it, `log_writer` says what has reached the disk.

use super::openraft_types::{Entry, LogId, Vote, entry_bytes};
use crate::defaults::RAFT_LOG_CACHE_BYTES;
use openraft::entry::RaftEntry;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What is known of the log without asking the disk.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The newest entries, without a gap.
    pub(super) entries: VecDeque<Entry>,
    /// Their size together.
    pub(super) bytes: usize,
    /// The last entry, purged or not.
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    /// Entries up to here are on disk and may leave the memory.
    pub(super) durable: u64,
    /// Truncations that the writer has not come to: until then indices on disk may mean other entries.
    pub(super) truncations: usize,
}

impl Tail {
    /// The index after the last entry.
    pub(super) fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index() + 1)
    }

    /// The index of the first entry in memory.
    pub(super) fn first_index(&self) -> u64 {
        self.next_index() - self.entries.len() as u64
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.last = Some(entry.log_id());
        self.entries.push_back(entry);
    }

    /// Drops what comes after `keep`, and says which indices that was.
    pub(super) fn truncate_after(&mut self, keep: Option<LogId>) -> Option<Range<u64>> {
        let dropped = keep.map_or(0, |id| id.index() + 1)..self.next_index();
        if dropped.is_empty() {
            return None;
        }
        let kept = (dropped.start.saturating_sub(self.first_index()) as usize).min(self.entries.len());
        for entry in self.entries.drain(kept..) {
            self.bytes -= entry_bytes(&entry);
        }
        self.last = keep;
        self.durable = self.durable.min(dropped.start.saturating_sub(1));
        self.truncations += 1;
        Some(dropped)
    }

    pub(super) fn purge(&mut self, upto: LogId) {
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
    pub(super) fn cached(&self, start: u64, end: u64) -> (u64, Vec<Entry>) {
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
    pub(super) fn new(tail: Tail) -> Shared {
        Shared(RwLock::new(tail))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Tail> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Tail> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
