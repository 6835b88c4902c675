//! The room on the disk of Raft's log.

use crate::defaults::RAFT_DISK_FULL_BYTES;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes that this process may still write to the file system of `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let there = rustix::fs::statvfs(path)?;
    Ok(there.f_bavail.saturating_mul(there.f_frsize))
}

/// True without room to go on. A file system that gives no answer has some.
pub(super) fn is_nearly_full(path: &Path) -> bool {
    free_bytes(path).is_ok_and(|free| free < RAFT_DISK_FULL_BYTES)
}

/// True for a write that failed for want of room: on the disk, in a quota, or in the size of a file.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

#[derive(Debug, Default)]
pub(super) struct Room {
    free: AtomicU64,
    is_low: AtomicBool,
}

impl Room {
    /// Takes a look's result; true if it turns. Once low, room needs a quarter more than the reserve before it turns back.
    pub(super) fn judge(&self, free: u64, reserve: u64) -> bool {
        self.free.store(free, Ordering::SeqCst);
        let was_low = self.is_low.load(Ordering::SeqCst);
        let wanted = if was_low { reserve + reserve / 4 } else { reserve };
        self.is_low.swap(free < wanted, Ordering::SeqCst) != (free < wanted)
    }

    pub(super) fn free(&self) -> u64 {
        self.free.load(Ordering::SeqCst)
    }

    pub(super) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_below_the_reserve_and_let_in_well_above_it() {
        let room = Room::default();
        assert!(!room.judge(100, 100) && !room.is_low());
        assert!(room.judge(99, 100) && room.is_low());
        assert!(!room.judge(124, 100) && room.is_low());
        assert!(room.judge(125, 100) && !room.is_low());
    }
}
