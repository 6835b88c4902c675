//! What can be changed, by family: what a user wants. The leader makes [commands](crate::model::command::Command) of
//! it, and decides there what needs time, randomness or configuration.

use crate::model::autopilot::AutopilotConfig;
use crate::model::command::{Deregister, Register};
use crate::model::coordinate::NodeCoordinate;
use crate::model::ids::{ClusterId, NodeId, SessionId};
use crate::model::kv::KvChange;
use crate::model::session::Session;
use crate::model::txn::TxnOp;
use crate::model::vote::Ballot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Everything that can be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Write {
    /// Nodes, services and checks.
    Catalog(CatalogWrite),
    /// What agents find of checks.
    Health(HealthWrite),
    /// Where nodes lie.
    Coordinate(CoordinateWrite),
    /// The servers.
    Operator(OperatorWrite),
    /// The other datacenters.
    Federation(FederationWrite),
    /// `kv/:key`
    Kv(Box<KvChange>),
    /// Sessions.
    Session(SessionWrite),
    /// `txn`
    Txn(Vec<TxnOp>),
}

/// Sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SessionWrite {
    /// `session/create`; its id is the leader's to draw
    Create(Box<Session>),
    /// `session/destroy/:id`
    Destroy(SessionId),
    /// `session/renew/:id`; changes no row
    Renew(SessionId),
}

/// Nodes, services and checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CatalogWrite {
    /// `catalog/register`
    Register(Box<Register>),
    /// `catalog/deregister`
    Deregister(Deregister),
}

/// What agents find of checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HealthWrite {
    /// Count what an agent has found of checks that it observes.
    Vote(Ballot),
}

/// Where nodes lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CoordinateWrite {
    /// `coordinate/update`
    Update(NodeCoordinate),
}

/// The servers, and how they are treated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OperatorWrite {
    /// Treat servers so from now on; with an index, only where the configuration in force was changed at that one
    /// last. Tells whether it is set.
    SetAutopilot { config: Box<AutopilotConfig>, only_at: Option<u64> },
    /// Take a server out of the Raft configuration.
    RemovePeer(PeerRef),
    /// Hand leadership over, to the one named or to whoever is furthest.
    TransferLeader(Option<NodeId>),
}

/// The other datacenters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FederationWrite {
    /// Refuse another datacenter from now on.
    Remove(Removal),
    /// Let a datacenter in again.
    Readmit { dc: String },
}

/// A server of the Raft configuration, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerRef {
    /// By its node id.
    Id(String),
    /// By `ip:port` of its RPC listener.
    Address(String),
}

/// Another datacenter to be refused. Each server on the way to the leader adds what it knows of it: one
/// that only the static list of the asked server names is known to nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removal {
    /// Its name.
    pub dc: String,
    /// Whether any of them knows it.
    pub is_known: bool,
    /// The clusters that they know by that name.
    pub clusters: BTreeSet<ClusterId>,
}
