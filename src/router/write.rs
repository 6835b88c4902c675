//! Doing a write on the leader.
//!
//! `deliver.rs` calls it when the write has come to the server that leads. It proposes and changes
//! the membership; it never forwards.

use super::Core;
use super::operator::Servers;
use super::paths::Catalog;
use crate::model::command::{Command, Outcome};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::member::level;
use crate::model::operation::{Access, WriteSpec};
use crate::model::request::{PeerRef, Removal, Write, Written};

impl Core {
    /// Does `write` in `catalog`, whose server leads. `NoLeader` says that it was certainly not done.
    pub(super) async fn write_here(&self, catalog: &dyn Catalog, write: &Write) -> Result<Written, Fault> {
        match write {
            Write::Apply(command) => {
                let specs = command.specs();
                if is_of_the_leader(&specs) {
                    return Err(Fault::new(FaultKind::Denied, "only the leader assigns observers and counts votes"));
                }
                self.all_read(specs.iter().map(|spec| spec.level).max().unwrap_or(level::BASE))?;
                propose(catalog, command.clone()).await
            }
            Write::Vote(ballot) => self.count_votes(catalog, ballot).await,
            Write::RemoveDatacenter(wanted) => {
                let is_removed = catalog.reader().removals().names(&wanted.dc);
                propose(catalog, removal(wanted, &self.settings.datacenter, is_removed)?).await
            }
            Write::RemovePeer(peer) => {
                let id = self.find_peer(catalog, peer)?;
                catalog.remove(id).await?;
                Ok(Written::default())
            }
            Write::TransferLeader(to) => {
                if let Some(id) = to {
                    self.find_peer(catalog, &PeerRef::Id(id.to_string()))?;
                }
                catalog.transfer_leadership(*to).await?;
                Ok(Written::default())
            }
        }
    }

    /// Refuses what some server of the datacenter would stop at.
    fn all_read(&self, level: u32) -> Result<(), Fault> {
        if level == level::BASE {
            return Ok(());
        }
        let roster = self.paths.members.lan();
        let below: Vec<&str> =
            roster.servers_below(level, &self.settings.datacenter).map(|member| member.name.as_str()).collect();
        if below.is_empty() {
            return Ok(());
        }
        let text = format!("Some servers run a version that does not know this yet: {}; upgrade them first", below.join(", "));
        Err(Fault::failed(text))
    }

    fn find_peer(&self, catalog: &dyn Catalog, peer: &PeerRef) -> Result<crate::model::ids::NodeId, Fault> {
        let (peers, roster) = (catalog.peers(), self.paths.members.lan());
        let leadership = *catalog.leadership().borrow();
        Servers { leadership, peers: &peers, roster: &roster }.find(peer)
    }
}

/// Whether a write, or a part of it, is one that only this server itself proposes.
fn is_of_the_leader(specs: &[WriteSpec]) -> bool {
    specs.iter().any(|spec| spec.access == Access::Leader)
}

pub(super) async fn propose(catalog: &dyn Catalog, command: Command) -> Result<Written, Fault> {
    match catalog.propose(command).await? {
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
    use crate::model::vote::Ballot;

    #[test]
    fn nobody_but_the_leader_assigns_or_counts() {
        let of_the_leader = |command: &Command| is_of_the_leader(&command.specs());
        let vote = Command::Vote { ballot: Ballot::default(), at: 0 };
        assert!(of_the_leader(&Command::Batch(vec![Command::UpdateCoordinates(Vec::new()), vote])));
        assert!(of_the_leader(&Command::AssignObservers(Vec::new())));
        assert!(!of_the_leader(&Command::Register(Box::default())));
    }

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
