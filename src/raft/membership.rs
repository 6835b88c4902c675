//! The servers of the cluster, its leader, and changes of both. Only the leader can make them, and one at a time.

use super::openraft_types::{Metrics, TypeConfig};
use super::start::Server;
use super::{Peer, PeerProgress, Raft};
use crate::clock;
use crate::defaults::{RAFT_LEADER_SILENCE_LEASES, RAFT_MEMBERSHIP_TIMEOUT, RAFT_TRANSFER_TIMEOUT, RAFT_UNFINISHED_TICK};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::NodeId;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode, ServerState};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// The configuration in force.
pub(super) fn peers(metrics: &Metrics) -> Vec<Peer> {
    let voters: BTreeSet<u128> = metrics.membership_config.voter_ids().collect();
    let nodes = metrics.membership_config.nodes();
    nodes.map(|(id, _)| Peer { id: NodeId::from_u128(*id), voter: voters.contains(id) }).collect()
}

pub(super) fn progress(metrics: &Metrics) -> Vec<PeerProgress> {
    let Some(replication) = &metrics.replication else { return Vec::new() };
    let contact = |id: &u128| metrics.heartbeat.as_ref()?.get(id)?.as_ref().map(|acked| acked.elapsed());
    let others = replication.iter().filter(|(id, _)| **id != metrics.id);
    others
        .map(|(id, matched)| PeerProgress {
            id: NodeId::from_u128(*id),
            last_index: matched.as_ref().map_or(0, |matched| matched.index()),
            last_contact: contact(id),
        })
        .collect()
}

/// The voter that has most of the log, of those heard of within `silence`.
fn furthest(metrics: &Metrics, silence: Duration) -> Option<NodeId> {
    let voters: BTreeSet<NodeId> = metrics.membership_config.voter_ids().map(NodeId::from_u128).collect();
    let is_there = |peer: &PeerProgress| peer.last_contact.is_some_and(|contact| contact < silence);
    let able = progress(metrics).into_iter().filter(|peer| voters.contains(&peer.id) && is_there(peer));
    able.max_by_key(|peer| (peer.last_index, std::cmp::Reverse(peer.last_contact))).map(|peer| peer.id)
}

impl Raft {
    /// Adds a learner and waits until it has caught up; leader only.
    pub async fn add_learner(&self, id: NodeId) -> Result<(), Fault> {
        let server = &self.server;
        {
            // The level must not rise before the log has its entry; it may while the server catches up.
            let _only = server.only_change()?;
            server.check_reads(id)?;
            change(server.core.add_learner(id.as_u128(), EmptyNode {}, false)).await?;
        }
        change(server.core.add_learner(id.as_u128(), EmptyNode {}, true)).await
    }

    /// Makes a learner a voter; leader only.
    pub async fn promote(&self, id: NodeId) -> Result<(), Fault> {
        let _only = self.server.only_change()?;
        self.server.check_reads(id)?;
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id.as_u128()]));
        change(self.server.core.change_membership(voters, false)).await
    }

    /// Takes a server out of the configuration; leader only. A leader that is to remove itself hands leadership over and
    /// answers `NoLeader`: its successor is to be asked.
    pub async fn remove(&self, id: NodeId) -> Result<(), Fault> {
        let (server, metrics, name) = (&self.server, self.metrics(), self.name_of(id));
        let Some(peer) = peers(&metrics).into_iter().find(|peer| peer.id == id) else {
            return Err(Fault::not_found(format!("server {name} is not in the Raft configuration")));
        };
        if id == server.settings.node_id {
            if server.is_only_voter(&metrics) {
                return Err(Fault::bad_request(format!("server {name} is the only voter; add another before removing it")));
            }
            // Its successor removes it: a leader outside its own cluster could keep no lease.
            server.transfer_leadership(None).await?;
            return Err(Fault::no_leader().because("the server to be removed has handed leadership over first"));
        }
        let _only = server.only_change()?;
        let nodes = BTreeSet::from([id.as_u128()]);
        let without = if peer.voter { ChangeMembers::RemoveVoters(nodes) } else { ChangeMembers::RemoveNodes(nodes) };
        change(server.core.change_membership(without, false)).await
    }
}

impl Server {
    pub(super) fn peers(&self) -> Vec<Peer> {
        peers(&self.metrics())
    }

    fn only_change(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let busy = |_taken| Fault::new(FaultKind::Busy, "another change of the membership is not done yet; try again later");
        self.changing.try_acquire().map_err(busy)
    }

    /// Takes the second step of a change of voters whose caller is gone: agreement would need both sets for ever.
    pub(super) async fn finish_changes(self: Arc<Server>) {
        loop {
            clock::sleep_shared(RAFT_UNFINISHED_TICK).await;
            let Ok(_only) = self.only_change() else { continue };
            let metrics = self.metrics();
            let is_joint = metrics.membership_config.get_joint_config().len() > 1;
            if is_joint && super::start::leadership(&metrics).is_self {
                let nothing_more = ChangeMembers::AddVoterIds(BTreeSet::new());
                match change(self.core.change_membership(nothing_more, false)).await {
                    Ok(()) => tracing::info!("a change of the membership that was begun is finished"),
                    Err(fault) => tracing::warn!(%fault, "a change of the membership that was begun is not finished yet"),
                }
            }
        }
    }

    pub(super) async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), Fault> {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Err(Fault::no_leader());
        }
        let silence = self.settings.election.1 * RAFT_LEADER_SILENCE_LEASES;
        let Some(to) = to.or_else(|| furthest(&metrics, silence)) else {
            return Err(Fault::failed("there is no other voter that could lead"));
        };
        if to.as_u128() == metrics.id {
            return Ok(());
        }
        if !peers(&metrics).iter().any(|peer| peer.id == to && peer.voter) {
            return Err(Fault::bad_request(format!("server {} is no voter and cannot lead", self.link.name_of(to))));
        }
        let name = self.link.name_of(to);
        self.lease.hand_over(metrics.current_term);
        let unknown = |error: &dyn std::fmt::Display| Fault::failed(format!("leadership could not be handed to {name}: {error}"));
        self.core.trigger().transfer_leader(to.as_u128()).await.map_err(|error| unknown(&error))?;
        let mut watched = self.core.metrics();
        let another_leads = async {
            loop {
                let leader = watched.borrow_watched().current_leader;
                if leader.is_some_and(|leader| leader != metrics.id) {
                    return leader;
                }
                if watched.changed().await.is_err() {
                    return None;
                }
            }
        };
        match tokio::time::timeout(RAFT_TRANSFER_TIMEOUT, another_leads).await {
            Ok(Some(leader)) if leader == to.as_u128() => Ok(()),
            Ok(Some(leader)) => Err(unknown(&format!("server {} leads now", self.link.name_of(NodeId::from_u128(leader))))),
            Ok(None) => Err(unknown(&"this server has stopped")),
            Err(elapsed) => Err(unknown(&elapsed)),
        }
    }
}

/// Waits for a change of the membership; its faults are in the user's terms.
async fn change<T>(
    changed: impl Future<Output = Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>>,
) -> Result<(), Fault> {
    match tokio::time::timeout(RAFT_MEMBERSHIP_TIMEOUT, changed).await {
        Ok(Ok(_written)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(Fault::no_leader()),
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => Err(match error {
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
                Fault::new(FaultKind::Busy, format!("another change of the membership is not done yet: {error}"))
            }
            error => Fault::failed(format!("the membership cannot be changed: {error}")),
        }),
        Ok(Err(error)) => Err(Fault::outcome_unknown(format!("the membership may or may not be changed: {error}"))),
        Err(_elapsed) => Err(Fault::outcome_unknown(format!(
            "the membership was not changed within {} s; it may still be",
            RAFT_MEMBERSHIP_TIMEOUT.as_secs()
        ))),
    }
}
