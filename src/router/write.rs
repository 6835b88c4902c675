//! Doing a write on the leader.
//!
//! `deliver.rs` calls it when the write has come to the server that leads. It proposes and changes
//! the membership; it never forwards.

use super::Core;
use super::operator::Servers;
use crate::model::command::Outcome;
use crate::model::fault::Fault;
use crate::model::request::{PeerRef, Write, Written};
use crate::raft::Raft;

impl Core {
    /// Does `write` through `raft`, which leads. `NoLeader` says that it was certainly not done.
    pub(super) async fn write_here(&self, raft: &Raft, write: &Write) -> Result<Written, Fault> {
        match write {
            Write::Apply(command) => match raft.propose(command.clone()).await? {
                (index, Outcome::Done) => Ok(Written { index }),
                (_, Outcome::Refused(fault)) => Err(fault),
            },
            Write::RemovePeer(peer) => {
                let id = self.find_peer(raft, peer)?;
                raft.remove(id).await?;
                Ok(Written::default())
            }
            Write::TransferLeader(to) => {
                if let Some(id) = to {
                    self.find_peer(raft, &PeerRef::Id(id.to_string()))?;
                }
                raft.transfer_leadership(*to).await?;
                Ok(Written::default())
            }
        }
    }

    fn find_peer(&self, raft: &Raft, peer: &PeerRef) -> Result<crate::model::ids::NodeId, Fault> {
        let (peers, roster) = (raft.peers(), self.paths.lan.roster());
        let leadership = *raft.leadership().borrow();
        Servers { leadership, peers: &peers, roster: &roster }.find(peer)
    }
}
