//! Writes on the leader. A write becomes a command that is proposed, or changes the membership. It is never forwarded.

use super::Core;
use super::operator::Servers;
use super::paths::Catalog;
use crate::defaults::{SESSION_TTL_EXACT_MIN, SESSION_TTL_MAX};
use crate::model::command::{Command, Effect, Written};
use crate::model::duration;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::{ClusterId, NodeId, SessionId};
use crate::model::operation::{
    CatalogWrite, CoordinateWrite, FederationWrite, HealthWrite, OperatorWrite, PeerRef, Removal, SessionWrite, Write,
};
use crate::model::session::{Session, TtlMode};
use crate::model::txn::TxnOutcome;
use crate::store::txn;

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
            Write::Kv(change) => Command::Kv(change.clone()),
            Write::Session(SessionWrite::Create(session)) => {
                self.check_ttl(session)?;
                Command::CreateSession(Box::new(Session { id: SessionId::random(), ..Session::clone(session) }))
            }
            Write::Session(SessionWrite::Destroy(id)) => Command::EndSessions(vec![*id]),
            Write::Session(SessionWrite::Renew(id)) => return renew(catalog, *id),
            Write::Txn(ops) => {
                let errors = txn::refusals(ops);
                if !errors.is_empty() {
                    let outcome = TxnOutcome { results: Vec::new(), errors };
                    return Ok(Written { index: 0, effect: Effect::Txn(Box::new(outcome)) });
                }
                Command::Txn(ops.clone())
            }
            Write::Federation(FederationWrite::Readmit { dc }) => Command::ReadmitDatacenter { datacenter: dc.clone() },
        };
        let written = catalog.propose(command).await;
        written.map_err(|fault| match fault.kind {
            FaultKind::Failed => Fault { message: format!("{}{}", prefix(write), fault.message), ..fault },
            _ => fault,
        })
    }

    /// Refuses a TTL that cannot be kept, with Consul's texts.
    fn check_ttl(&self, session: &Session) -> Result<(), Fault> {
        let text = session.ttl.as_str();
        if text.is_empty() {
            return Ok(());
        }
        let (is_negative, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let ttl = duration::parse(magnitude).map_err(|why| Fault::failed(format!("Session TTL '{text}' invalid: {why}")))?;
        let least = match session.ttl_mode {
            TtlMode::Exact => SESSION_TTL_EXACT_MIN.min(self.settings.session_ttl_min),
            TtlMode::Lenient => self.settings.session_ttl_min,
        };
        if ttl.is_zero() || (!is_negative && (least..=SESSION_TTL_MAX).contains(&ttl)) {
            return Ok(());
        }
        let (sign, nanos) = (if is_negative { "-" } else { "" }, ttl.as_nanos());
        let (least, most) = (duration::format(least), duration::format(SESSION_TTL_MAX));
        Err(Fault::failed(format!("Invalid Session TTL '{sign}{nanos}', must be between [{least}={most}]")))
    }

    fn find_peer(&self, catalog: &dyn Catalog, peer: &PeerRef) -> Result<NodeId, Fault> {
        let (peers, roster) = (catalog.peers(), self.paths.members.lan());
        let leadership = *catalog.leadership().borrow();
        Servers { leadership, peers: &peers, roster: &roster }.find(peer)
    }
}

/// The words that Consul puts in front of a refusal of its state machine.
fn prefix(write: &Write) -> &'static str {
    match write {
        Write::Kv(_) => "raft apply failed: ",
        Write::Session(_) => "apply failed: ",
        Write::Catalog(_)
        | Write::Health(_)
        | Write::Coordinate(_)
        | Write::Operator(_)
        | Write::Federation(_)
        | Write::Txn(_) => "",
    }
}

/// Begins the TTL of a session anew. A new leader begins all of them anew, so what this one promises while it holds
/// its lease is kept by each that follows.
fn renew(catalog: &dyn Catalog, id: SessionId) -> Result<Written, Fault> {
    let view = catalog.reader().view();
    let not_found = || Fault::not_found(format!("Session id '{id}' not found"));
    let session = view.session(id).ok_or_else(not_found)?;
    let valid = catalog.expiry().renew(session).map_err(|_ended| not_found())?;
    if !catalog.holds_lease() {
        return Err(Fault::no_leader());
    }
    if catalog.reader().view().session(id).is_none() {
        return Err(not_found());
    }
    let valid_ms = valid.map(|valid| u64::try_from(valid.as_millis()).unwrap_or(u64::MAX));
    Ok(Written { index: 0, effect: Effect::Renewed { session: Box::new(Session::clone(session)), valid_ms } })
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
