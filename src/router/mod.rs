//! The one place that decides where a request is answered: here, by the leader, by any server, or
//! across the bridge.
//!
//! The edges (`http`, `dns`), `local` and `leader` call [`Router::query`] and [`Router::write`];
//! `rpc` and `bridge` reach it through the [`Handler`] it is. The decision itself is pure
//! (`route.rs`). Faults carry Consul's texts.

mod blocking;
mod datacenters;
mod entry;
mod hold;
mod route;
mod servers;

use crate::bridge::Bridge;
use crate::gossip::Gossip;
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::query::Query;
use crate::model::request::{BoxFuture, Handler, Progress, Reply, Request, WriteRequest, Written};
use crate::raft::Raft;
use crate::rpc::RpcClient;
use crate::shutdown::Shutdown;
use crate::store::Reader;
use std::net::SocketAddr;
use std::time::Duration;

/// How requests are treated.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// This agent.
    pub node_name: String,
    /// This agent.
    pub node_id: NodeId,
    /// This agent's datacenter.
    pub datacenter: String,
    /// How long a request is held while there is no leader (`rpc_hold_timeout`).
    pub rpc_hold: Duration,
    /// The wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// The longest wait of a blocking query.
    pub max_query_time: Duration,
    /// `discovery_max_stale`; zero for off.
    pub discovery_max_stale: Duration,
    /// Whether `?cached` is honoured (`http_config.use_cache`).
    pub use_cache: bool,
    /// Whether addresses of other datacenters are given as their WAN ones.
    pub translate_wan_addrs: bool,
    /// The longest silence of a healthy server (`autopilot.last_contact_threshold`).
    pub last_contact_threshold: Duration,
    /// The longest lag of a healthy server, in log entries (`autopilot.max_trailing_logs`).
    pub max_trailing_logs: u64,
}

/// What the router sends requests to.
#[derive(Clone, Debug)]
pub struct Paths {
    /// On servers: the catalog here.
    pub catalog: Option<(Raft, Reader)>,
    /// To the other agents of the datacenter.
    pub rpc: RpcClient,
    /// On servers: to other datacenters.
    pub bridge: Option<Bridge>,
    /// Who is in the datacenter.
    pub lan: Gossip,
    /// On servers: who serves the other datacenters.
    pub wan: Option<Gossip>,
}

/// Decides and forwards; clones are the same one.
#[derive(Clone, Debug)]
pub struct Router {}

impl Router {
    /// A router; its background work (feeds of `?cached`) ends with `shutdown`.
    pub fn new(_settings: RouterSettings, _paths: Paths, _shutdown: &Shutdown) -> Router {
        todo!()
    }

    /// Answers a read of a local user. Dropping the future frees everything it held, on every hop.
    pub async fn query(&self, _query: Query) -> Result<Answer, Fault> {
        todo!()
    }

    /// Does a write of a local user.
    pub async fn write(&self, _request: WriteRequest) -> Result<Written, Fault> {
        todo!()
    }

    /// The datacenters known, nearest first, for the edges that need the names only.
    pub fn datacenters(&self) -> Vec<String> {
        todo!()
    }

    /// The RPC address of the leader of this datacenter, if this agent knows one.
    pub fn leader_addr(&self) -> Option<SocketAddr> {
        todo!()
    }
}

impl Handler for Router {
    fn handle(&self, _request: Request, _from_dc: Option<&str>, _progress: Progress) -> BoxFuture<Result<Reply, Fault>> {
        todo!()
    }
}
