//! Reads, by family.

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CoordinateRead {
    /// `coordinate/nodes`
    Nodes,
    /// `coordinate/node/:node`
    Node { node: String },
}

/// The servers as every user may know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StatusRead {
    /// `status/leader`
    Leader,
    /// `status/peers`
    Peers,
}

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
    Catalog(&'a CatalogRead),
    Health(&'a HealthRead),
    Coordinate(&'a CoordinateRead),
}

/// A read that a server answers from its knowledge of the servers of its datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServersRead {
    Status(StatusRead),
    Operator(OperatorRead),
}
