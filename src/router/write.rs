//! Writes on the leader. A write becomes a command that is proposed, or changes the membership. It is never forwarded.

use super::Core;
use super::operator::Servers;
use super::paths::Catalog;
use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::ids::{ClusterId, NodeId};
use crate::model::operation::{
    CatalogWrite, CoordinateWrite, FederationWrite, HealthWrite, OperatorWrite, PeerRef, Removal, Write,
};

impl Core {
    /// Does `write` in `catalog`, whose server leads. `NoLeader` says that it was certainly not done.
    pub(super) async fn write_here(&self, catalog: &dyn Catalog, write: &Write) -> Result<Written, Fault> {
        let command = match write {
            Write::Catalog(CatalogWrite::Register(request)) => Command::Register(request.clone()),
            Write::Catalog(CatalogWrite::Deregister(request)) => Command::Deregister(request.clone()),
            Write::Health(HealthWrite::Vote(ballot)) => match self.counted(catalog, ballot)? {
                Some(command) => command,
                None => return Ok(Written::default()),
            },
            Write::Coordinate(CoordinateWrite::Update(coordinate)) => Command::UpdateCoordinates(vec![coordinate.clone()]),
            Write::Operator(OperatorWrite::SetAutopilot { config, only_at }) => {
                Command::SetAutopilot { config: config.clone(), only_at: *only_at }
            }
            Write::Operator(OperatorWrite::RemovePeer(peer)) => {
                let id = self.find_peer(catalog, peer)?;
                return catalog.remove(id).await.map(|()| Written::default());
            }
            Write::Operator(OperatorWrite::TransferLeader(to)) => {
                if let Some(id) = to {
                    self.find_peer(catalog, &PeerRef::Id(id.to_string()))?;
                }
                return catalog.transfer_leadership(*to).await.map(|()| Written::default());
            }
            Write::Federation(FederationWrite::Remove(wanted)) => {
                let is_removed = catalog.reader().removals().names(&wanted.dc);
                removal(wanted, &self.settings.datacenter, is_removed)?
            }
            Write::Federation(FederationWrite::Readmit { dc }) => Command::ReadmitDatacenter { datacenter: dc.clone() },
        };
        catalog.propose(command).await
    }

    fn find_peer(&self, catalog: &dyn Catalog, peer: &PeerRef) -> Result<NodeId, Fault> {
        let (peers, roster) = (catalog.peers(), self.paths.members.lan());
        let leadership = *catalog.leadership().borrow();
        Servers { leadership, peers: &peers, roster: &roster }.find(peer)
    }
}

/// The command that removes every cluster that is known by the name, or where none is, the name itself. `is_removed` is set
/// where a cluster of that name is removed already.
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
