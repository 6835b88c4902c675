//! openraft's state machine: applies the log to the one [`Machine`], and makes and takes snapshots.
//! A batch is published before its proposers are answered, so that an acknowledged write is in the view. A user's mistake is
//! an outcome; an error here means that the log or a snapshot cannot be read, and stops the core.

use super::RaftError;
use super::machine::{Frozen, Machine};
use super::openraft_types::{Entry, LogId, LoggedCommand, Membership, SnapshotMeta, TypeConfig};
use super::snapshot_file::{Snapshot, SnapshotImage, SnapshotShelf};
use crate::defaults::{RAFT_APPLY_BATCH, RAFT_SNAPSHOT_RETRY};
use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) type Core = openraft::Raft<TypeConfig, StateMachine>;

/// The marks of the published view, for readers that must not wait for openraft's metrics.
#[derive(Debug, Default)]
pub(crate) struct Published {
    index: AtomicU64,
    level: AtomicU32,
}

impl Published {
    pub(crate) fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    pub(crate) fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }
}

type Results = Vec<Result<Written, Fault>>;

pub(crate) struct StateMachine {
    /// Only locked elsewhere while a snapshot is installed, which openraft's worker waits for.
    machine: Arc<Mutex<Box<dyn Machine>>>,
    shelf: SnapshotShelf,
    applied: Option<LogId>,
    membership: Membership,
    published: Arc<Published>,
    bytes_since_snapshot: u64,
}

impl StateMachine {
    /// Takes the machine over, and restores it from the snapshot on the shelf.
    pub(crate) fn start(
        machine: Box<dyn Machine>,
        shelf: SnapshotShelf,
        published: Arc<Published>,
    ) -> Result<StateMachine, RaftError> {
        let machine = Arc::new(Mutex::new(machine));
        let mut this =
            StateMachine { machine, shelf, applied: None, membership: Membership::default(), published, bytes_since_snapshot: 0 };
        let restored = this.restore_left_behind();
        restored.map_err(|error| RaftError::Storage(format!("the snapshot cannot be read: {error}")))?;
        Ok(this)
    }

    fn restore_left_behind(&mut self) -> io::Result<()> {
        let Some(image) = self.shelf.left_behind()? else { return Ok(()) };
        let meta = restore(&self.machine, &image)?;
        self.restored(&meta);
        self.shelf.found(meta, image.len()?);
        Ok(())
    }

    /// Notes that the machine holds the snapshot with this metadata.
    fn restored(&mut self, meta: &SnapshotMeta) {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.bytes_since_snapshot = 0;
        self.publish_marks();
    }

    pub(super) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// Applies entries without an answer.
    pub(super) fn replay(&mut self, entries: &[Entry]) -> io::Result<()> {
        entries.iter().try_for_each(|entry| self.apply_entry(entry).map(drop))
    }

    /// The addresses of the cluster's servers, as far as the state holds them.
    pub(super) fn servers(&self) -> Vec<(SocketAddr, NodeId)> {
        lock(&self.machine).servers()
    }

    /// Applies an entry, and returns the outcome of each of its commands.
    fn apply_entry(&mut self, entry: &Entry) -> io::Result<Results> {
        let id = entry.log_id();
        let results = match &entry.payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(id), membership.clone());
                Vec::new()
            }
            EntryPayload::Normal(group) => {
                self.bytes_since_snapshot += group.len() as u64;
                // A command that cannot be read stops the core before any of the group is applied.
                let commands: Vec<Command> =
                    group.0.iter().map(LoggedCommand::decode).collect::<Result<_, _>>().map_err(io::Error::other)?;
                let mut machine = lock(&self.machine);
                commands.iter().map(|command| machine.apply(id.index(), command)).collect()
            }
        };
        self.applied = Some(id);
        Ok(results)
    }

    /// Called between entries only: below the level at which each command has its own index, those of one entry share it,
    /// and a reader that saw some of them could never wait for the others.
    fn publish(&mut self, answers: &mut Vec<(ApplyResponder<TypeConfig>, Results)>) {
        lock(&self.machine).publish();
        self.publish_marks();
        for (responder, results) in answers.drain(..) {
            responder.send(results);
        }
    }

    fn publish_marks(&self) {
        self.published.level.store(lock(&self.machine).level(), Ordering::Release);
        self.published.index.store(self.applied.map_or(0, |id| id.index()), Ordering::Release);
    }
}

fn lock(machine: &Mutex<Box<dyn Machine>>) -> MutexGuard<'_, Box<dyn Machine>> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the machine take a snapshot's place, and shows that to readers. Takes long.
fn restore(machine: &Mutex<Box<dyn Machine>>, image: &SnapshotImage) -> io::Result<SnapshotMeta> {
    let last = image.read(|input| lock(machine).restore(input))?.map_err(io::Error::other)?;
    decode_meta(&last).map_err(io::Error::other)
}

/// The bytes of the metadata beside the state in a snapshot.
pub(super) fn encode_meta(meta: &SnapshotMeta) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(meta).map_err(io::Error::other)
}

pub(crate) fn decode_meta(bytes: &[u8]) -> Result<SnapshotMeta, String> {
    rmp_serde::from_slice(bytes).map_err(|error| format!("the snapshot's Raft part cannot be read: {error}"))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotImage;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        let mut unpublished = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let results = self.apply_entry(&entry)?;
            unpublished += results.len().max(1);
            answers.extend(responder.map(|responder| (responder, results)));
            if unpublished >= RAFT_APPLY_BATCH {
                self.publish(&mut answers);
                unpublished = 0;
            }
        }
        self.publish(&mut answers);
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let due = match self.shelf.since_failure() {
            Some(since) => since >= RAFT_SNAPSHOT_RETRY,
            // A log shorter than the last snapshot is read faster than the snapshot is written.
            None => self.bytes_since_snapshot >= self.shelf.size(),
        };
        if !force && !due {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.bytes_since_snapshot = 0;
        SnapshotBuilder {
            frozen: Some(lock(&self.machine).freeze()),
            meta: SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() },
            shelf: self.shelf.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: SnapshotImage) -> io::Result<()> {
        let (machine, shelf, announced) = (Arc::clone(&self.machine), self.shelf.clone(), meta.clone());
        let install = move || {
            let meta = restore(&machine, &image)?;
            shelf.keep(&announced, image)?;
            Ok::<_, io::Error>(meta)
        };
        let meta = tokio::task::spawn_blocking(install).await.map_err(io::Error::other)??;
        self.restored(&meta);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let shelf = self.shelf.clone();
        let newest = tokio::task::spawn_blocking(move || shelf.newest()).await.map_err(io::Error::other)??;
        Ok(newest.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes one frozen state in the background. A failure does not end the server: the log stays, and `disk` keeps room.
pub(crate) struct SnapshotBuilder {
    frozen: Option<Box<dyn Frozen>>,
    meta: SnapshotMeta,
    shelf: SnapshotShelf,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotImage;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let frozen = self.frozen.take().ok_or_else(|| io::Error::other("a snapshot is built once"))?;
        let (meta, shelf) = (self.meta.clone(), self.shelf.clone());
        let build = move || {
            let mut draft = shelf.draft()?;
            frozen.write(&encode_meta(&meta)?, &mut draft)?;
            draft.flush()?;
            shelf.keep(&meta, draft.finish()?)?;
            shelf.newest()?.ok_or_else(|| io::Error::other("the snapshot just written is gone"))
        };
        let built = tokio::task::spawn_blocking(build).await.map_err(io::Error::other)?;
        self.shelf.note(built.is_ok());
        match built {
            Ok((meta, snapshot)) => {
                metrics::counter!("kontor.raft.snapshots").increment(1);
                Ok(Snapshot { meta, snapshot })
            }
            Err(error) => {
                metrics::counter!("kontor.raft.snapshots_failed").increment(1);
                tracing::warn!(
                    %error, again_in = ?RAFT_SNAPSHOT_RETRY,
                    "a snapshot cannot be written; the log grows until one can"
                );
                // openraft reads the metadata alone, and passes over a known snapshot.
                let shelf = self.shelf.clone();
                let known = tokio::task::spawn_blocking(move || shelf.meta()).await.map_err(io::Error::other)?;
                let meta = known.unwrap_or_default();
                Ok(Snapshot { meta, snapshot: SnapshotImage::Memory(Bytes::new()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestMachine, register};
    use super::*;
    use std::thread;

    #[tokio::test]
    async fn a_snapshot_is_installed_apart_from_the_runtime() {
        let mut from = TestMachine::default();
        from.apply(1, &register("a")).unwrap();
        let mut bytes = Vec::new();
        let meta = SnapshotMeta::default();
        from.freeze().write(&encode_meta(&meta).unwrap(), &mut bytes).unwrap();
        let machine = TestMachine::default();
        let (reader, restored_by) = (machine.reader(), Arc::clone(&machine.restored_by));
        let mut machine = StateMachine::start(Box::new(machine), SnapshotShelf::new(None), Arc::default()).unwrap();
        machine.install_snapshot(&meta, SnapshotImage::Memory(bytes.into())).await.unwrap();
        assert!(reader.lock().unwrap().contains_key("a"));
        assert_ne!(restored_by.lock().unwrap().unwrap(), thread::current().id());
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_cannot_be_written_is_tried_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = SnapshotShelf::new(Some(dir.path()));
        let mut machine = StateMachine::start(Box::new(TestMachine::default()), shelf.clone(), Arc::default()).unwrap();
        std::fs::create_dir(dir.path().join("snapshot.0")).unwrap();
        let mut builder = machine.try_create_snapshot_builder(false).await.unwrap();
        assert_eq!(
            builder.build_snapshot().await.unwrap().meta,
            SnapshotMeta::default(),
            "nothing that openraft would take for new"
        );
        assert!(machine.try_create_snapshot_builder(false).await.is_none());
        tokio::time::advance(RAFT_SNAPSHOT_RETRY).await;
        machine.try_create_snapshot_builder(false).await.unwrap().build_snapshot().await.unwrap();
        assert!(dir.path().join("snapshot").is_file() && shelf.since_failure().is_none());
    }
}
