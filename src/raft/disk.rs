//! What a server does about the room on the disk that Raft's log is on.
//!
//! Writes are refused while there is less than a reserve: what is in the log already must still find
//! room in a snapshot, or the log could never get shorter, and all servers would come to that point
//! together. `log_writer` waits for room where others have taken even that.

use super::room::free_bytes;
use super::start::Server;
use crate::clock;
use crate::defaults::{RAFT_DISK_RESERVE_BYTES, RAFT_DISK_ROOM_TICK};
use crate::model::fault::{Fault, FaultKind};
use openraft::ServerState;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Server {
    fn raft_folder(&self) -> Option<PathBuf> {
        self.settings.data_dir.as_ref().map(|dir| dir.join(super::mark::FOLDER))
    }

    /// Looks after the room for as long as the server runs.
    pub(super) async fn watch_room(self: Arc<Server>) {
        let Some(folder) = self.raft_folder() else { return };
        let mut pause = Duration::ZERO;
        loop {
            clock::sleep_shared(pause).await;
            pause = RAFT_DISK_ROOM_TICK;
            let (path, shelf) = (folder.clone(), self.shelf.clone());
            let look = tokio::task::spawn_blocking(move || Ok::<_, io::Error>((free_bytes(&path)?, shelf.size())));
            // A file system that does not tell is not judged.
            let Ok(Ok((free, snapshot))) = look.await else { continue };
            let turned = self.judge_room(free, RAFT_DISK_RESERVE_BYTES.saturating_add(snapshot), &folder);
            let metrics = self.metrics();
            // The others may have room. Once, or servers that are low would pass leadership around.
            if turned && self.room.is_low() && metrics.state == ServerState::Leader && !self.is_only_voter(&metrics) {
                match self.transfer_leadership(None).await {
                    Ok(()) => tracing::info!("leadership handed over, for the disk here is nearly full"),
                    Err(fault) => tracing::warn!(%fault, "leadership could not be handed over"),
                }
            }
        }
    }

    /// Whether `free` bytes are enough where `reserve` are wanted; tells whether that has changed.
    pub(super) fn judge_room(&self, free: u64, reserve: u64, folder: &Path) -> bool {
        metrics::gauge!("kontor.raft.disk_free_bytes").set(free as f64);
        if !self.room.judge(free, reserve) {
            return false;
        }
        let (folder, free_mib, reserve_mib) = (folder.display(), free >> 20, reserve >> 20);
        if self.room.is_low() {
            metrics::counter!("kontor.raft.disk_low").increment(1);
            tracing::warn!(
                %folder, free_mib, reserve_mib,
                "the disk of the Raft log is nearly full; this server takes no writes while it leads, and can store none at all once it is full"
            );
        } else {
            tracing::info!(%folder, free_mib, "the disk of the Raft log has room again");
        }
        true
    }

    /// Why this server takes no proposals now, if it does not.
    pub(super) fn refusal(&self) -> Option<Fault> {
        if self.stopping.load(Ordering::SeqCst) {
            return Some(Fault::no_leader());
        }
        let folder = || self.raft_folder().unwrap_or_default();
        if self.waits_for_room() {
            let text = format!("the disk of the Raft log is full: make room in {}", folder().display());
            // Another may lead; alone, there is nobody to wait for.
            let alone = self.is_only_voter(&self.metrics());
            return Some(if alone { Fault::failed(text.clone()).because(text) } else { Fault::no_leader().because(text) });
        }
        if self.disk_stuck.load(Ordering::SeqCst) {
            return Some(Fault::no_leader());
        }
        if self.room.is_low() && self.leadership.borrow().is_self {
            let free = self.room.free() >> 20;
            let text = format!(
                "the disk of the leader's Raft log is nearly full ({free} MiB left): writes are refused until there is room in {}",
                folder().display()
            );
            metrics::counter!("kontor.raft.refused_for_room").increment(1);
            return Some(Fault::new(FaultKind::Busy, text.clone()).because(text));
        }
        None
    }
}
