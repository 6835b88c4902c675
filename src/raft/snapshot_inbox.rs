//! Takes a snapshot that comes in parts, and checks it whole before openraft hears of it.
//!
//! `Raft::handle` owns one. It holds one sending at a time: a new one replaces the old.

use super::machine::Verifier;
use super::message::SnapshotPart;
use super::openraft_types::{Snapshot, Vote};
use super::snapshot_file::{Draft, SnapshotShelf};
use super::state_machine::decode_meta;
use crate::model::ids::NodeId;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// The sending at hand.
#[derive(Debug)]
struct Sending {
    from: NodeId,
    number: u64,
    draft: Draft,
}

/// Where parts become a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotInbox {
    shelf: SnapshotShelf,
    verifier: Verifier,
    sending: Mutex<Option<Sending>>,
}

impl SnapshotInbox {
    pub(super) fn new(shelf: SnapshotShelf, verifier: Verifier) -> SnapshotInbox {
        SnapshotInbox { shelf, verifier, sending: Mutex::new(None) }
    }

    /// Takes one part; the last one gives the snapshot. Blocks on the disk.
    pub(super) fn take(&self, from: NodeId, part: &SnapshotPart) -> Result<Option<Snapshot>, String> {
        let mut slot = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if part.offset == 0 {
            let draft = self.shelf.draft("received").map_err(|error| format!("the snapshot cannot be written: {error}"))?;
            *slot = Some(Sending { from, number: part.sending, draft });
        }
        let Some(sending) = slot.as_mut().filter(|sending| sending.from == from && sending.number == part.sending) else {
            return Err("a part of a snapshot that was not begun here".to_owned());
        };
        if sending.draft.len() != part.offset {
            return Err(format!("expected the part at byte {}, got byte {}", sending.draft.len(), part.offset));
        }
        if let Err(error) = sending.draft.write_all(&part.bytes) {
            *slot = None;
            return Err(format!("the snapshot cannot be written: {error}"));
        }
        match slot.take_if(|_| part.last) {
            Some(whole) => self.check(whole.draft, &part.vote).map(Some),
            None => Ok(None),
        }
    }

    fn check(&self, draft: Draft, vote: &Vote) -> Result<Snapshot, String> {
        let image = draft.finish().map_err(|error| format!("the snapshot cannot be written: {error}"))?;
        let verified = image.read(self.verifier).map_err(|error| format!("the snapshot cannot be read again: {error}"))?;
        let meta = verified.and_then(|last| decode_meta(&last))?;
        // openraft takes this for impossible, and stops.
        let Some(last) = meta.last_log_id else { return Err("a snapshot of nothing".to_owned()) };
        if last.committed_leader_id() > vote.leader_id() {
            return Err(format!("the snapshot ends at {last}, after the vote {vote} it comes under"));
        }
        Ok(Snapshot { meta, snapshot: image })
    }
}
