//! Doing a write on the leader.
//!
//! `deliver.rs` calls it when the write has come to the server that leads. It proposes and changes
//! the membership; it never forwards.

use super::Core;
use super::operator::Servers;
use crate::model::command::{Command, Outcome};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::member::tag;
use crate::model::request::{PeerRef, Write, Written};
use crate::raft::Raft;
use std::collections::BTreeSet;

impl Core {
    /// Does `write` through `raft`, which leads. `NoLeader` says that it was certainly not done.
    pub(super) async fn write_here(&self, raft: &Raft, write: &Write) -> Result<Written, Fault> {
        match write {
            Write::Apply(command) => match raft.propose(command.clone()).await? {
                (index, Outcome::Done) => Ok(Written { index }),
                (_, Outcome::Refused(fault)) => Err(fault),
            },
            Write::RemoveDatacenter(dc) => match raft.propose(self.removal(dc)?).await? {
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

    /// What removes `dc`: every cluster that this server knows by that name, or where it knows of none
    /// whatever is called so.
    fn removal(&self, dc: &str) -> Result<Command, Fault> {
        if dc.eq_ignore_ascii_case(&self.settings.datacenter) {
            return Err(Fault::bad_request(format!("{dc:?} is this datacenter; expected another one to remove")));
        }
        let datacenter = dc.to_lowercase();
        let roster = self.paths.wan.as_ref().map(|wan| wan.roster());
        let members = || roster.iter().flat_map(|roster| roster.members.values()).filter(|member| member.dc() == datacenter);
        let bridge = self.paths.bridge.as_ref();
        let told = members().filter_map(|member| member.tag(tag::CLUSTER).parse().ok());
        let clusters: BTreeSet<ClusterId> = told.chain(bridge.and_then(|bridge| bridge.cluster_of(&datacenter))).collect();
        let removed = self.paths.catalog.as_ref().is_some_and(|(_, reader)| reader.removals().names(&datacenter));
        if members().next().is_none() && !removed && !bridge.is_some_and(|bridge| bridge.knows(&datacenter)) {
            return Err(Fault::not_found(format!(
                "No datacenter {dc:?} is known to the leader of {:?}",
                self.settings.datacenter
            )));
        }
        if clusters.is_empty() && !removed {
            return Ok(Command::RemoveDatacenter { datacenter, cluster: None });
        }
        let remove = |cluster| Command::RemoveDatacenter { datacenter: datacenter.clone(), cluster: Some(cluster) };
        Ok(Command::Batch(clusters.into_iter().map(remove).collect()))
    }

    fn find_peer(&self, raft: &Raft, peer: &PeerRef) -> Result<crate::model::ids::NodeId, Fault> {
        let (peers, roster) = (raft.peers(), self.paths.lan.roster());
        let leadership = *raft.leadership().borrow();
        Servers { leadership, peers: &peers, roster: &roster }.find(peer)
    }
}
