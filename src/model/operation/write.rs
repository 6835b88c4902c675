//! Writes, by family, as users want them. The leader makes [commands](crate::model::command::Command) of them, with all
//! that needs time, randomness or configuration.

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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Write {
    Catalog(CatalogWrite),
    /// Results of checks, as agents find them.
    Health(HealthWrite),
    Coordinate(CoordinateWrite),
    Operator(OperatorWrite),
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CatalogWrite {
    Register(Box<Register>),
    Deregister(Deregister),
}

/// Results of checks, as agents find them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HealthWrite {
    Vote(Ballot),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CoordinateWrite {
    Update(NodeCoordinate),
}

/// The servers, and the configuration of autopilot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OperatorWrite {
    /// Set autopilot's configuration; with an index, only where the one in force was changed at that index last. The
    /// effect says if it is set.
    SetAutopilot {
        config: Box<AutopilotConfig>,
        only_at: Option<u64>,
    },
    RemovePeer(PeerRef),
    /// Hand leadership over, to the named server or to the one with most of the log.
    TransferLeader(Option<NodeId>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FederationWrite {
    Remove(Removal),
    Readmit { dc: String },
}

/// A server of the Raft configuration, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerRef {
    Id(String),
    /// By `ip:port` of its RPC listener.
    Address(String),
}

/// Another datacenter to be refused. Each server on the way to the leader adds its knowledge: a datacenter of the static
/// list of one server is unknown to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removal {
    pub dc: String,
    /// A server on the way knows the datacenter.
    pub is_known: bool,
    /// The clusters that those servers know by that name.
    pub clusters: BTreeSet<ClusterId>,
}
