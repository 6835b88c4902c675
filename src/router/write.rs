//! Doing a write on the leader.
//!
//! `deliver.rs` calls it when the write has come to the server that leads. It proposes and changes
//! the membership; it never forwards.

use super::Core;
use super::operator::Servers;
use crate::model::command::{Command, Outcome};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::member::level;
use crate::model::request::{PeerRef, Removal, Write, Written};
use crate::raft::Raft;

impl Core {
    /// Does `write` through `raft`, which leads. `NoLeader` says that it was certainly not done.
    pub(super) async fn write_here(&self, raft: &Raft, write: &Write) -> Result<Written, Fault> {
        match write {
            Write::Apply(command) => {
                let specs = command.specs();
                self.all_read(specs.iter().map(|spec| spec.level).max().unwrap_or(level::BASE))?;
                propose(raft, command.clone()).await
            }
            Write::Vote(ballot) => self.count_votes(raft, ballot).await,
            Write::RemoveDatacenter(wanted) => {
                let is_removed = self.paths.catalog.as_ref().is_some_and(|(_, reader)| reader.removals().names(&wanted.dc));
                propose(raft, removal(wanted, &self.settings.datacenter, is_removed)?).await
            }
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

    /// Refuses what some server of the datacenter would stop at.
    fn all_read(&self, level: u32) -> Result<(), Fault> {
        if level == level::BASE {
            return Ok(());
        }
        let roster = self.paths.lan.roster();
        let below: Vec<&str> =
            roster.servers_below(level, &self.settings.datacenter).map(|member| member.name.as_str()).collect();
        if below.is_empty() {
            return Ok(());
        }
        let text = format!("Some servers run a version that does not know this yet: {}; upgrade them first", below.join(", "));
        Err(Fault::failed(text))
    }

    fn find_peer(&self, raft: &Raft, peer: &PeerRef) -> Result<crate::model::ids::NodeId, Fault> {
        let (peers, roster) = (raft.peers(), self.paths.lan.roster());
        let leadership = *raft.leadership().borrow();
        Servers { leadership, peers: &peers, roster: &roster }.find(peer)
    }
}

pub(super) async fn propose(raft: &Raft, command: Command) -> Result<Written, Fault> {
    match raft.propose(command).await? {
        (index, Outcome::Done) => Ok(Written { index }),
        (_, Outcome::Refused(fault)) => Err(fault),
    }
}

/// What removes a datacenter: every cluster that is known by its name, or where none is whatever is
/// called so. `is_removed` says whether some cluster of that name is removed already.
fn removal(wanted: &Removal, own_dc: &str, is_removed: bool) -> Result<Command, Fault> {
    let Removal { dc, is_known, clusters } = wanted;
    if dc.eq_ignore_ascii_case(own_dc) {
        return Err(Fault::bad_request(format!("{dc:?} is this datacenter; expected another one to remove")));
    }
    if !is_known && !is_removed {
        let text = format!("No datacenter {dc:?} is known in {own_dc:?}, neither to the server asked nor to the leader");
        return Err(Fault::not_found(text));
    }
    let datacenter = dc.to_lowercase();
    if clusters.is_empty() && !is_removed {
        return Ok(Command::RemoveDatacenter { datacenter, cluster: None });
    }
    let remove = |cluster: &ClusterId| Command::RemoveDatacenter { datacenter: datacenter.clone(), cluster: Some(*cluster) };
    Ok(Command::Batch(clusters.iter().map(remove).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_names_each_cluster_that_is_known_or_else_the_name() {
        let id = ClusterId::default();
        let wanted = |is_known, clusters: &[ClusterId]| Removal {
            dc: "DC2".into(),
            is_known,
            clusters: clusters.iter().copied().collect(),
        };
        let remove = |cluster| Command::RemoveDatacenter { datacenter: "dc2".into(), cluster };
        assert_eq!(removal(&wanted(true, &[id]), "dc1", false), Ok(Command::Batch(vec![remove(Some(id))])));
        assert_eq!(removal(&wanted(true, &[]), "dc1", false), Ok(remove(None)), "configured, and never linked");
        assert_eq!(removal(&wanted(false, &[]), "dc1", true), Ok(Command::Batch(Vec::new())), "done already");
        let unknown = removal(&wanted(false, &[]), "dc1", false).unwrap_err();
        assert!(unknown.kind == crate::model::fault::FaultKind::NotFound && unknown.message.contains("DC2"), "{unknown}");
        assert!(removal(&wanted(true, &[id]), "dc2", false).unwrap_err().message.contains("another one"));
    }
}
