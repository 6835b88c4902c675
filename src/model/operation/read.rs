//! What can be read, by family.

use crate::model::ids::SessionId;
use crate::model::kv::KvKey;
use crate::model::txn::TxnGet;
use serde::{Deserialize, Serialize};

/// Which instances of a service a lookup means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    /// The instances of the name itself.
    Plain,
    /// The instances that speak for the name in a mesh (`/connect/`).
    Connect,
    /// The ingress gateways of the name (`/ingress/`).
    Ingress,
}

/// A check as a user names it. Boxed in a [`Read`], which every parked watch has room for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckRef {
    /// Its id.
    pub check_id: String,
    /// Its node; unset for any.
    pub node: Option<String>,
}

/// Everything that can be read. Paths are those below `/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Read {
    /// Nodes and services.
    Catalog(CatalogRead),
    /// Checks, and services with their checks.
    Health(HealthRead),
    /// Where nodes lie.
    Coordinate(CoordinateRead),
    /// The servers, as anybody may know them.
    Status(StatusRead),
    /// The servers, as their operators see them.
    Operator(OperatorRead),
    /// The datacenters, as the agent asked sees them.
    Federation(FederationRead),
    /// Keys and values.
    Kv(KvRead),
    /// Sessions.
    Session(SessionRead),
    /// Several looks at one view: a transaction without a change.
    Txn(Box<[TxnGet]>),
}

/// Keys and values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvRead {
    /// `kv/:key`; with `raw` the value alone
    Get { key: KvKey, raw: bool },
    /// `kv/:prefix?recurse`
    List { prefix: KvKey, page: Option<Box<KvPage>> },
    /// `kv/:prefix?keys`; each key up to the first separator after the prefix
    Keys { prefix: KvKey, separator: Option<Box<KvKey>>, page: Option<Box<KvPage>> },
}

/// A part of a list of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KvPage {
    /// The key after which it begins; empty for the beginning.
    pub after: KvKey,
    /// The number of elements that it holds at most; 0 for all.
    pub limit: u32,
}

/// Sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionRead {
    /// `session/list`
    List,
    /// `session/node/:node`
    Node { node: String },
    /// `session/info/:id`
    Info { id: SessionId },
}

/// Nodes and services, from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CatalogRead {
    /// `catalog/nodes`
    Nodes,
    /// `catalog/services`
    Services,
    /// `catalog/service/:name`, `catalog/connect/:name`
    Service { name: String, lookup: Lookup },
    /// `catalog/node/:node`
    Node { node: String },
    /// `catalog/node-services/:node`
    NodeServices { node: String },
    /// `catalog/gateway-services/:gateway`
    GatewayServices { gateway: String },
}

/// Checks, and services with their checks, from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HealthRead {
    /// `health/node/:node`
    Node { node: String },
    /// `health/checks/:service`
    Checks { service: String },
    /// `health/state/:state`; `any` or a status
    State { state: String },
    /// `health/service/:name`, `health/connect/:name`, `health/ingress/:name`
    Service { name: String, lookup: Lookup },
    /// `health/votes/:check_id`; of any node that has such a check when none is named
    Votes { of: Box<CheckRef> },
    /// Asked by an agent: the voted checks that it observes
    ObservedBy { node: String },
}

/// Where nodes lie, from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CoordinateRead {
    /// `coordinate/nodes`
    Nodes,
    /// `coordinate/node/:node`
    Node { node: String },
}

/// The servers, as anybody may know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StatusRead {
    /// `status/leader`
    Leader,
    /// `status/peers`
    Peers,
}

/// The servers, as their operators see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperatorRead {
    /// `operator/raft/configuration`
    RaftConfiguration,
    /// `operator/autopilot/configuration`
    AutopilotConfiguration,
    /// `operator/autopilot/health`
    AutopilotHealth,
    /// `operator/autopilot/state`
    AutopilotState,
}

/// The datacenters, as the agent asked sees them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FederationRead {
    /// `catalog/datacenters`
    Datacenters,
    /// `coordinate/datacenters`
    Coordinates,
    /// `federation`, `federation/:dc`; of the bridge of the server asked
    Report { dc: Option<String> },
    /// `federation/doctor/:dc`; the server asked dials all servers of that datacenter
    Doctor { dc: String },
    /// Asked by a server of `dc` that looks for faults: the server asked dials all servers of `dc`
    DialBack { dc: String },
}

/// A read that the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewRead<'a> {
    /// Nodes and services.
    Catalog(&'a CatalogRead),
    /// Checks, and services with their checks.
    Health(&'a HealthRead),
    /// Where nodes lie.
    Coordinate(&'a CoordinateRead),
    /// Keys and values.
    Kv(&'a KvRead),
    /// Sessions.
    Session(&'a SessionRead),
    /// Several looks at once.
    Txn(&'a [TxnGet]),
}

/// A read that is answered from what a server knows of the servers of its datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServersRead {
    /// As anybody may know them.
    Status(StatusRead),
    /// As their operators see them.
    Operator(OperatorRead),
}
