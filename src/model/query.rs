//! What is asked: a read and its options.

use super::ids::Token;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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

/// Everything that can be read, by its path below `/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Read {
    /// `catalog/nodes`
    CatalogNodes,
    /// `catalog/services`
    CatalogServices,
    /// `catalog/service/:name`, `catalog/connect/:name`
    CatalogService { name: String, lookup: Lookup },
    /// `catalog/node/:node`
    CatalogNode { node: String },
    /// `catalog/node-services/:node`
    CatalogNodeServices { node: String },
    /// `catalog/gateway-services/:gateway`
    CatalogGatewayServices { gateway: String },
    /// `health/node/:node`
    HealthNode { node: String },
    /// `health/checks/:service`
    HealthChecks { service: String },
    /// `health/state/:state`; `any` or a status
    HealthState { state: String },
    /// `health/service/:name`, `health/connect/:name`, `health/ingress/:name`
    HealthService { name: String, lookup: Lookup },
    /// `health/votes/:check_id`; of any node that has such a check when none is named
    HealthVotes { of: Box<CheckRef> },
    /// Asked by an agent: the voted checks that it observes
    ObservedBy { node: String },
    /// `coordinate/nodes`
    CoordinateNodes,
    /// `coordinate/node/:node`
    CoordinateNode { node: String },
    /// `coordinate/datacenters`; of the WAN pool, not of the store
    CoordinateDatacenters,
    /// `catalog/datacenters`; of the router, not of the store
    Datacenters,
    /// `federation`, `federation/:dc`; of the bridge of the server asked
    Federation { dc: Option<String> },
    /// `federation/doctor/:dc`; the server asked dials all servers of that datacenter
    FederationDoctor { dc: String },
    /// Asked by a server of `dc` that looks for faults: the server asked dials all servers of `dc`
    DialBack { dc: String },
    /// `status/leader`
    StatusLeader,
    /// `status/peers`
    StatusPeers,
    /// `operator/raft/configuration`
    RaftConfiguration,
    /// `operator/autopilot/configuration`
    AutopilotConfiguration,
    /// `operator/autopilot/health`
    AutopilotHealth,
    /// `operator/autopilot/state`
    AutopilotState,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// The leader answers within its lease.
    #[default]
    Default,
    /// The leader has a quorum confirm it first.
    Consistent,
    /// Any server answers, and says how old its view is.
    Stale,
}

/// What a `Cache-Control` header and `?cached` ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheControl {
    /// The age a cached answer may have; unset for any.
    pub max_age: Option<Duration>,
    /// How long a cached answer may still be given when it cannot be refreshed.
    pub stale_if_error: Option<Duration>,
    /// Whether a cached answer must be checked first.
    pub must_revalidate: bool,
}

/// The options of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    /// The datacenter that shall answer; the agent's own when unset.
    pub dc: Option<String>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// The age a stale answer may have.
    pub max_stale: Option<Duration>,
    /// Set by `?cached`.
    pub cached: Option<CacheControl>,
    /// Wait until the index is greater than this; 0 for at once.
    pub min_index: u64,
    /// How long to wait, jitter not yet added; zero for the default.
    pub wait: Duration,
    /// Sort by round-trip time from this node. The edge has resolved `_agent` already.
    pub near: Option<String>,
    /// Pairs that a node's metadata must have.
    pub node_meta: Vec<(String, String)>,
    /// Tags that an instance must have, without regard to case.
    pub tags: Vec<String>,
    /// Whether instances with a check that does not pass are left out.
    pub passing: bool,
    /// A filter expression.
    pub filter: Option<String>,
    /// Whether WAN addresses take the place of LAN ones (`translate_wan_addrs`, another dc).
    pub translate: bool,
    /// The access token.
    pub token: Token,
}

/// A read with its options.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Query {
    /// What is read.
    pub read: Read,
    /// How.
    pub options: QueryOptions,
}
