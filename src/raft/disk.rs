//! A server's care for the room on the disk of its Raft log.
//! Writes are refused below a reserve: the log must still find room in a snapshot, or it could never get shorter, and
//! all servers would come to that point together. `log_writer` waits for room on a disk that is full all the same.

use super::room::free_bytes;
use super::start::Server;
use crate::clock;
use crate::defaults::{RAFT_DISK_RESERVE_BYTES, RAFT_DISK_ROOM_TICK};
use crate::model::fault::{Fault, FaultKind};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Server {
    fn raft_folder(&self) -> Option<PathBuf> {
        self.settings.data_dir.as_ref().map(|dir| dir.join(super::mark::FOLDER))
    }

    pub(super) async fn watch_room(self: Arc<Server>) {
        let Some(folder) = self.raft_folder() else { return };
        let mut pause = Duration::ZERO;
        loop {
            clock::sleep_shared(pause).await;
            pause = RAFT_DISK_ROOM_TICK;
            let (path, shelf) = (folder.clone(), self.shelf.clone());
            let look = tokio::task::spawn_blocking(move || Ok::<_, io::Error>((free_bytes(&path)?, shelf.size())));
            // A file system that gives no answer is not judged.
            if let Ok(Ok((free, snapshot))) = look.await {
                self.judge_room(free, RAFT_DISK_RESERVE_BYTES.saturating_add(snapshot), &folder).await;
            }
        }
    }

    /// Takes in that `free` bytes are left of a wanted `reserve`. A leader hands over once: leadership must not go in circles.
    pub(super) async fn judge_room(&self, free: u64, reserve: u64, folder: &Path) {
        metrics::gauge!("kontor.raft.disk_free_bytes").set(free as f64);
        if !self.room.judge(free, reserve) {
            return;
        }
        let (folder, free_mib, reserve_mib) = (folder.display(), free >> 20, reserve >> 20);
        if self.room.is_low() {
            metrics::counter!("kontor.raft.disk_low").increment(1);
            tracing::warn!(
                %folder, free_mib, reserve_mib,
                "the disk of the Raft log is nearly full; this server takes no writes while it leads, and can store none at all once it is full"
            );
            if self.leads_others() {
                match self.transfer_leadership(None).await {
                    Ok(()) => tracing::info!("leadership handed over, for the disk here is nearly full"),
                    Err(fault) => tracing::warn!(%fault, "leadership could not be handed over"),
                }
            }
        } else {
            tracing::info!(%folder, free_mib, "the disk of the Raft log has room again");
        }
    }

    pub(super) fn refusal(&self) -> Option<Fault> {
        if self.stopping.load(Ordering::SeqCst) {
            return Some(Fault::no_leader());
        }
        let folder = || self.raft_folder().unwrap_or_default();
        if self.waits_for_room() {
            let text = format!("the disk of the Raft log is full: make room in {}", folder().display());
            // Another server may lead; a lone one has none to wait for.
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
