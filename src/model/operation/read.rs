//! Reads, by family.

use crate::model::ids::SessionId;
use crate::model::kv::KvKey;
use crate::model::txn::TxnGet;
use serde::{Deserialize, Serialize};

/// The meaning of a service name in a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    Plain,
    /// The instances that speak for the name in a mesh (`/connect/`).
    Connect,
    /// The ingress gateways of the name (`/ingress/`).
    Ingress,
}

/// A check as a user names it. Boxed in a [`Read`], which every parked watch has room for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckRef {
    pub check_id: String,
    pub node: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Read {
    Catalog(CatalogRead),
    Health(HealthRead),
    Coordinate(CoordinateRead),
    /// The servers as every user may know them.
    Status(StatusRead),
    Operator(OperatorRead),
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
    Nodes,
    Services,
    /// `catalog/service/:name`, `catalog/connect/:name`
    Service {
        name: String,
        lookup: Lookup,
    },
    Node {
        node: String,
    },
    NodeServices {
        node: String,
    },
    GatewayServices {
        gateway: String,
    },
}

/// Checks, and services with their checks, from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HealthRead {
    Node {
        node: String,
    },
    Checks {
        service: String,
    },
    /// `health/state/:state`; `any` or a status
    State {
        state: String,
    },
    /// `health/service/:name`, `health/connect/:name`, `health/ingress/:name`
    Service {
        name: String,
        lookup: Lookup,
    },
    /// `health/votes/:check_id`; of any node that has such a check when none is named
    Votes {
        of: Box<CheckRef>,
    },
    /// Asked by an agent: the voted checks that it observes
    ObservedBy {
        node: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CoordinateRead {
    Nodes,
    Node { node: String },
}

/// The servers as every user may know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StatusRead {
    Leader,
    Peers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperatorRead {
    RaftConfiguration,
    AutopilotConfiguration,
    AutopilotHealth,
    AutopilotState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FederationRead {
    Datacenters,
    Coordinates,
    /// `federation`, `federation/:dc`; of the bridge of the server asked
    Report {
        dc: Option<String>,
    },
    /// `federation/doctor/:dc`; the server asked dials all servers of that datacenter
    Doctor {
        dc: String,
    },
    /// Asked by a server of `dc` that looks for faults: the server asked dials all servers of `dc`
    DialBack {
        dc: String,
    },
}

/// A read that the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewRead<'a> {
    Catalog(&'a CatalogRead),
    Health(&'a HealthRead),
    Coordinate(&'a CoordinateRead),
    /// Keys and values.
    Kv(&'a KvRead),
    /// Sessions.
    Session(&'a SessionRead),
    /// Several looks at once.
    Txn(&'a [TxnGet]),
}

/// A read that a server answers from its knowledge of the servers of its datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServersRead {
    Status(StatusRead),
    Operator(OperatorRead),
}
