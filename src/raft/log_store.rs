//! openraft's log storage: the newest entries in memory, everything in fjall behind one writer.
//! openraft's core calls it; only a vote blocks the core on the disk. Appended entries can be read at once; their
//! callback follows the fsync. Without a data directory it keeps everything in memory.

use super::RaftError;
use super::journal::Journal;
use super::log_tail::Shared;
use super::log_writer::{Job, LogWriter};
use super::openraft_types::{Entry, LogId, TypeConfig, Vote, entry_bytes};
use crate::defaults::RAFT_APPEND_BYTES;
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

/// The log, the vote, and the few values the bootstrap keeps; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    journal: Option<Arc<Journal>>,
    writer: Option<LogWriter>,
}

impl LogStore {
    pub(crate) fn in_memory() -> LogStore {
        LogStore { shared: Arc::default(), journal: None, writer: None }
    }

    pub(crate) fn open(dir: &Path) -> Result<LogStore, RaftError> {
        let journal = Arc::new(Journal::open(dir)?);
        let shared = Arc::new(Shared::new(journal.recover()?));
        let writer = LogWriter::start(Arc::clone(&journal), Arc::clone(&shared))?;
        Ok(LogStore { shared, journal: Some(journal), writer: Some(writer) })
    }

    /// True if this server ever voted or had an entry.
    pub(crate) fn has_state(&self) -> bool {
        let tail = self.shared.read();
        tail.vote.is_some() || tail.last.is_some()
    }

    /// The term of the last entry, 0 without one.
    pub(crate) fn last_term(&self) -> u64 {
        self.shared.read().last.map_or(0, |last| last.committed_leader_id().term)
    }

    pub(crate) fn last_index(&self) -> Option<u64> {
        self.shared.read().last.map(|last| last.index())
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.shared.read().vote
    }

    pub(crate) fn writer(&self) -> Option<&LogWriter> {
        self.writer.as_ref()
    }

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
        // The disk's share may end early, by its bound; a start before the first entry is no gap.
        let gap = entries.last().is_some_and(|entry| entry.index() + 1 != first);
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
        // The writer adds it to its next batch: after a crash it may lag by that one.
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
        let dropped = self.shared.write().truncate_after(keep);
        match (&self.writer, dropped) {
            (Some(writer), Some(dropped)) => writer.send(Job::Truncate(dropped)).await,
            _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::super::openraft_types::{LoggedCommand, LoggedGroup};
    use super::super::snapshot_file::SnapshotShelf;
    use super::super::state_machine::StateMachine;
    use super::super::testing::{TestMachine, register};
    use super::*;
    use crate::defaults::RAFT_LOG_CACHE_BYTES;
    use openraft::storage::RaftLogStorageExt;
    use openraft::testing::log::{StoreBuilder, Suite};
    use openraft::vote::RaftLeaderId;
    use openraft::{EntryPayload, StorageError};
    use tempfile::TempDir;

    struct OnDisk;
    struct InMemory;

    fn machine(dir: Option<&Path>) -> StateMachine {
        StateMachine::start(Box::new(TestMachine::default()), SnapshotShelf::new(dir), Arc::default()).unwrap()
    }

    impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for OnDisk {
        async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
            let dir = tempfile::tempdir().unwrap();
            let log = LogStore::open(&dir.path().join("log")).unwrap();
            let machine = machine(Some(dir.path()));
            Ok((dir, log, machine))
        }
    }

    impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for InMemory {
        async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
            Ok(((), LogStore::in_memory(), machine(None)))
        }
    }

    #[test]
    fn the_log_on_disk_conforms_to_openrafts_suite() {
        tokio::runtime::Runtime::new().unwrap().block_on(Suite::test_all(OnDisk)).unwrap();
    }

    #[test]
    fn the_log_in_memory_conforms_to_openrafts_suite() {
        tokio::runtime::Runtime::new().unwrap().block_on(Suite::test_all(InMemory)).unwrap();
    }

    fn entry(term: u64, index: u64) -> Entry {
        named(term, index, &format!("n{index}"))
    }

    fn named(term: u64, index: u64, name: &str) -> Entry {
        let leader = openraft::alias::LeaderIdOf::<TypeConfig>::new(term, 1).to_committed();
        let payload = EntryPayload::Normal(LoggedGroup(vec![LoggedCommand::encode(&register(name)).unwrap()]));
        Entry::new(LogId::new(leader, index), payload)
    }

    /// Opens again after the writer's thread has let go.
    async fn reopen(dir: &Path) -> LogStore {
        loop {
            match LogStore::open(dir) {
                Ok(log) => return log,
                Err(error) if error.to_string().contains("in use") => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_restart_finds_vote_entries_truncation_purge_and_values() {
        let dir = tempfile::tempdir().unwrap();
        let vote = Vote::new_committed(3, 1);
        {
            let mut log = LogStore::open(dir.path()).unwrap();
            assert!(!log.has_state());
            log.save_vote(&vote).await.unwrap();
            log.blocking_append((0..10).map(|index| entry(1, index))).await.unwrap();
            log.truncate_after(Some(entry(1, 6).log_id())).await.unwrap();
            log.blocking_append([entry(2, 7), entry(2, 8)]).await.unwrap();
            log.purge(entry(1, 3).log_id()).await.unwrap();
            log.save_committed(Some(entry(2, 7).log_id())).await.unwrap();
            log.put("cluster", Some(vec![1, 2])).await.unwrap();
            log.close().await;
        }
        let mut log = reopen(dir.path()).await;
        assert!(log.has_state());
        assert_eq!(log.read_vote().await.unwrap(), Some(vote));
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(entry(1, 3).log_id()));
        assert_eq!(state.last_log_id, Some(entry(2, 8).log_id()));
        assert_eq!(log.read_committed().await.unwrap(), Some(entry(2, 7).log_id()));
        assert_eq!(log.get("cluster").unwrap(), Some(vec![1, 2]));
        let expected: Vec<Entry> = (4..7).map(|index| entry(1, index)).chain([entry(2, 7), entry(2, 8)]).collect();
        assert_eq!(log.try_get_log_entries(0..100).await.unwrap(), expected);
        // Old entries come from disk and new ones from memory.
        log.blocking_append([entry(2, 9)]).await.unwrap();
        assert_eq!(log.try_get_log_entries(6..).await.unwrap(), [entry(1, 6), entry(2, 7), entry(2, 8), entry(2, 9)]);
        log.truncate_after(Some(entry(1, 5).log_id())).await.unwrap();
        log.blocking_append([entry(4, 6)]).await.unwrap();
        assert_eq!(log.try_get_log_entries(4..).await.unwrap(), [entry(1, 4), entry(1, 5), entry(4, 6)]);
    }

    #[tokio::test]
    async fn a_second_process_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = LogStore::open(dir.path()).unwrap();
        assert!(LogStore::open(dir.path()).unwrap_err().to_string().contains("in use by another process"));
    }

    #[tokio::test]
    async fn entries_over_the_memorys_bound_are_read_from_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogStore::open(dir.path()).unwrap();
        for index in 0..12 {
            log.blocking_append([named(1, index, &"x".repeat(1 << 20))]).await.unwrap();
        }
        assert!(log.shared.read().bytes <= RAFT_LOG_CACHE_BYTES);
        let indices: Vec<u64> = log.try_get_log_entries(0..12).await.unwrap().iter().map(|entry| entry.index()).collect();
        assert_eq!(indices, (0..12).collect::<Vec<u64>>());
        assert_eq!(log.limited_get_log_entries(0, 12).await.unwrap().len(), 1);
    }
}
