//! Takes a snapshot in parts, and checks it whole before openraft hears of it. A new sending replaces the old.

use super::machine::Verifier;
use super::message::SnapshotPart;
use super::openraft_types::Vote;
use super::snapshot_file::Snapshot;
use super::snapshot_file::{Draft, SnapshotShelf};
use super::state_machine::decode_meta;
use crate::model::ids::NodeId;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
struct Sending {
    from: NodeId,
    number: u64,
    draft: Draft,
}

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
            let draft = self.shelf.draft().map_err(|error| format!("the snapshot cannot be written: {error}"))?;
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

#[cfg(test)]
mod tests {
    use super::super::machine::Machine;
    use super::super::openraft_types::{LogId, SnapshotMeta, TypeConfig};
    use super::super::testing::{TestMachine, id, register};
    use super::*;
    use bytes::Bytes;
    use openraft::vote::RaftLeaderId;

    fn whole(term: u64) -> Bytes {
        let mut machine = TestMachine::default();
        machine.apply(1, &register("a")).unwrap();
        let leader = openraft::alias::LeaderIdOf::<TypeConfig>::new(term, 1).to_committed();
        let meta = SnapshotMeta { last_log_id: Some(LogId::new(leader, 7)), ..SnapshotMeta::default() };
        let mut bytes = Vec::new();
        machine.freeze().write(&rmp_serde::to_vec_named(&meta).unwrap(), &mut bytes).unwrap();
        bytes.into()
    }

    fn inbox(dir: Option<&std::path::Path>) -> SnapshotInbox {
        SnapshotInbox::new(SnapshotShelf::new(dir), TestMachine::default().verifier())
    }

    fn part(sending: u64, offset: u64, bytes: Bytes, last: bool) -> SnapshotPart {
        SnapshotPart { sending, vote: Vote::new_committed(3, 1), offset, bytes, last }
    }

    #[test]
    fn parts_become_the_snapshot_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = whole(3);
        for inbox in [inbox(None), inbox(Some(dir.path()))] {
            assert!(inbox.take(id(1), &part(5, 0, bytes.slice(..10), false)).unwrap().is_none());
            let snapshot = inbox.take(id(1), &part(5, 10, bytes.slice(10..), true)).unwrap().unwrap();
            assert_eq!(snapshot.meta.last_log_id.unwrap().index(), 7);
            assert_eq!(snapshot.snapshot.len().unwrap(), bytes.len() as u64);
            assert_eq!(snapshot.snapshot.part(3, 4).unwrap(), bytes.slice(3..7));
        }
    }

    #[test]
    fn a_sending_that_begins_harms_none_that_is_about_to_be_installed_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (shelf, bytes) = (SnapshotShelf::new(Some(dir.path())), whole(3));
        let inbox = SnapshotInbox::new(shelf.clone(), TestMachine::default().verifier());
        let first = inbox.take(id(1), &part(5, 0, bytes.clone(), true)).unwrap().unwrap();
        inbox.take(id(2), &part(6, 0, bytes.slice(..10), false)).unwrap();
        assert_eq!(first.snapshot.part(0, bytes.len()).unwrap(), bytes);
        shelf.keep(&first.meta, first.snapshot).unwrap();
        assert_eq!(std::fs::read(dir.path().join("snapshot")).unwrap(), bytes);
        let refused = inbox.take(id(2), &part(6, 10, bytes.slice(10..), true)).unwrap().unwrap();
        drop((refused, inbox));
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["snapshot"]);
        std::fs::write(dir.path().join("snapshot.7"), b"of a former run").unwrap();
        assert_eq!(SnapshotShelf::new(Some(dir.path())).left_behind().unwrap().unwrap().len().unwrap(), bytes.len() as u64);
        assert!(!dir.path().join("snapshot.7").exists());
    }

    #[test]
    fn a_snapshot_with_a_wrong_byte_never_reaches_the_core() {
        let bytes = whole(3);
        for position in 0..bytes.len() {
            let mut bent = bytes.to_vec();
            bent[position] ^= 1;
            assert!(inbox(None).take(id(1), &part(5, 0, bent.into(), true)).is_err());
        }
    }

    #[test]
    fn parts_out_of_place_of_others_and_from_the_future_are_refused() {
        let bytes = whole(3);
        let inbox = inbox(None);
        assert!(inbox.take(id(1), &part(5, 10, bytes.slice(10..), true)).is_err());
        inbox.take(id(1), &part(5, 0, bytes.slice(..10), false)).unwrap();
        assert!(inbox.take(id(2), &part(5, 10, bytes.slice(10..), true)).is_err());
        assert!(inbox.take(id(1), &part(6, 10, bytes.slice(10..), true)).is_err());
        assert!(inbox.take(id(1), &part(5, 11, bytes.slice(11..), true)).is_err());
        assert!(inbox.take(id(1), &part(5, 10, bytes.slice(10..), true)).unwrap().is_some());
        assert!(inbox.take(id(1), &part(7, 0, whole(4), true)).unwrap_err().contains("after the vote"));
    }
}
