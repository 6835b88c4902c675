//! The ends of the wires: requests of other agents to the router, Raft's messages in and out.
//!
//! Listeners are bound before there is a router. Earlier requests get `No cluster leader`, which callers try again.

use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::query::Identity;
use crate::model::request::{BoxFuture, Handler, Interest, Progress, Reply, Request, Source};
use crate::raft::{self, Raft, TransportError};
use crate::router::Router;
use crate::rpc::{self, CallError, RaftSink, RpcClient};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Hands requests to the router, once there is one.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    router: OnceLock<Router>,
}

fn starting() -> Fault {
    Fault::no_leader().because("agent is starting")
}

impl Dispatch {
    pub(super) fn connect(&self, router: Router) {
        // The first router stays.
        let _ = self.router.set(router);
    }
}

impl Handler for Dispatch {
    fn admit(&self, request: &mut Request, from: IpAddr) -> Result<(), Fault> {
        self.router.get().ok_or_else(starting)?.admit(request, from)
    }

    fn handle(&self, request: Request, from_dc: Option<&str>, progress: Progress) -> BoxFuture<Result<Reply, Fault>> {
        match self.router.get() {
            Some(router) => router.handle(request, from_dc, progress),
            None => Box::pin(async { Err(starting()) }),
        }
    }
}

impl Source for Dispatch {
    fn age(&self) -> Option<Duration> {
        self.router.get()?.age()
    }

    fn watch(&self, query: &Identity) -> Option<Box<dyn Interest>> {
        self.router.get()?.watch(query)
    }

    fn read(&self, query: &Identity) -> Result<Answer, Fault> {
        Source::read(self.router.get().ok_or_else(starting)?, query)
    }
}

/// Takes Raft's messages off the RPC port.
#[derive(Debug, Default)]
pub(super) struct RaftInbox {
    raft: OnceLock<(Raft, watch::Receiver<RaftAddresses>)>,
}

impl RaftInbox {
    /// Opens the way to Raft and its servers at `addresses`.
    pub(super) fn connect(&self, raft: Raft, addresses: watch::Receiver<RaftAddresses>) {
        let _ = self.raft.set((raft, addresses));
    }
}

impl RaftSink for RaftInbox {
    fn handle(&self, message: Bytes) -> BoxFuture<Bytes> {
        let raft = self.raft.get().map(|(raft, _)| raft.clone());
        Box::pin(async move {
            match raft {
                Some(raft) => raft.handle(message).await,
                // Raft cannot read it, so the sender tries again.
                None => Bytes::new(),
            }
        })
    }

    fn is_of_server(&self, address: IpAddr) -> bool {
        self.raft
            .get()
            .is_some_and(|(_, known)| known.borrow().values().any(|server| server.addr.is_some_and(|at| at.ip() == address)))
    }
}

/// A server of this datacenter, as Raft needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RaftServer {
    pub name: String,
    /// Its address for messages; none once it has left.
    pub addr: Option<SocketAddr>,
    /// The greatest format level that it reads.
    pub level: u32,
}

pub(super) type RaftAddresses = Arc<BTreeMap<NodeId, RaftServer>>;

/// Sends Raft's messages over the RPC client, to the addresses of gossip.
#[derive(Debug)]
pub(super) struct RaftOutbox {
    pub rpc: RpcClient,
    pub addresses: watch::Receiver<RaftAddresses>,
}

impl raft::Transport for RaftOutbox {
    fn send(
        &self,
        target: NodeId,
        lane: raft::Lane,
        message: Bytes,
        timeout: Duration,
    ) -> BoxFuture<Result<Bytes, TransportError>> {
        let address = self.addresses.borrow().get(&target).and_then(|server| server.addr);
        let name = if address.is_none() { self.name_of(target) } else { None };
        let rpc = self.rpc.clone();
        let lane = match lane {
            raft::Lane::Core => rpc::Lane::Raft,
            raft::Lane::Snapshot => rpc::Lane::Snapshots,
        };
        Box::pin(async move {
            let Some(address) = address else {
                let name = name.unwrap_or_else(|| target.to_string());
                return Err(TransportError::NotSent(format!("no address known for server {name}")));
            };
            rpc.send(address, lane, message, timeout).await.map_err(|error| match error {
                CallError::NotSent(cause) => TransportError::NotSent(cause),
                CallError::Lost(cause) => TransportError::Lost(cause),
                CallError::Refused(fault) => TransportError::NotSent(fault.to_string()),
                CallError::Fault(fault) => TransportError::Lost(fault.to_string()),
            })
        })
    }

    fn name_of(&self, server: NodeId) -> Option<String> {
        self.addresses.borrow().get(&server).map(|server| server.name.clone())
    }

    fn level_of(&self, server: NodeId) -> Option<u32> {
        self.addresses.borrow().get(&server).map(|server| server.level)
    }
}
