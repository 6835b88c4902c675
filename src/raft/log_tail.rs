//! The memory's share of the log. `log_store` reads and fills it, `log_writer` reports what has reached the disk.

use super::openraft_types::{Entry, LogId, Vote, entry_bytes};
use crate::defaults::RAFT_LOG_CACHE_BYTES;
use openraft::entry::RaftEntry;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The newest entries, and everything else that is known without asking the disk.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) entries: VecDeque<Entry>,
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
    pub(super) fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index() + 1)
    }

    pub(super) fn first_index(&self) -> u64 {
        self.next_index() - self.entries.len() as u64
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.last = Some(entry.log_id());
        self.entries.push_back(entry);
    }

    /// Drops the entries after `keep`; returns their indices.
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
        self.pop_while(|tail| tail.first_index() <= upto.index());
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
        self.pop_while(|tail| tail.bytes > RAFT_LOG_CACHE_BYTES && tail.first_index() <= tail.durable);
    }

    fn pop_while(&mut self, leaves: impl Fn(&Tail) -> bool) {
        while leaves(self)
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry_bytes(&entry);
        }
    }

    /// The commit index for a batch that ends at `last_written`, never beyond the disk: the next start applies up to it.
    pub(super) fn committed_on_disk(&self, last_written: Option<u64>, truncations: usize) -> Option<LogId> {
        let on_disk = self.durable.max(last_written.unwrap_or(0));
        self.committed.filter(|committed| committed.index() <= on_disk && self.truncations == truncations)
    }

    /// The entries of `start..end` that are in memory, after the index of the first.
    pub(super) fn cached(&self, start: u64, end: u64) -> (u64, Vec<Entry>) {
        let first = self.first_index().clamp(start, end.max(start));
        let skip = first.saturating_sub(self.first_index()) as usize;
        let take = end.saturating_sub(first) as usize;
        (first, self.entries.iter().skip(skip).take(take).cloned().collect())
    }
}

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
