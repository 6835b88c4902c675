//! The ways of requests: traits, each with the part of this process that implements it. Tests simulate them.

mod catalog;
mod members;
mod peers;

pub(super) use catalog::Catalog;
pub(super) use members::Members;
pub(super) use peers::Peers;

use crate::bridge::{Bridge, Datacenters};
use crate::expiry::Expiry;
use crate::gossip::Gossip;
use crate::raft::Raft;
use crate::rpc::RpcClient;
use crate::store::Reader;
use catalog::Replica;
use members::Pools;
use std::sync::Arc;

/// The ways of requests.
#[derive(Clone, Debug)]
pub struct Paths {
    /// On servers: the catalog here.
    pub(super) catalog: Option<Arc<dyn Catalog>>,
    /// To the other agents of the datacenter.
    pub(super) peers: Arc<dyn Peers>,
    /// On servers: to other datacenters.
    pub(super) datacenters: Option<Arc<dyn Datacenters>>,
    /// The members, here and in other datacenters.
    pub(super) members: Arc<dyn Members>,
}

impl Paths {
    /// To the parts of this process: the catalog, the bridge and the WAN pool are there on servers.
    pub fn new(
        catalog: Option<(Raft, Reader, Expiry)>,
        rpc: RpcClient,
        bridge: Option<Bridge>,
        lan: Gossip,
        wan: Option<Gossip>,
    ) -> Paths {
        Paths {
            catalog: catalog.map(|(raft, reader, expiry)| Arc::new(Replica { raft, reader, expiry }) as Arc<dyn Catalog>),
            peers: Arc::new(rpc),
            datacenters: bridge.map(|bridge| Arc::new(bridge) as Arc<dyn Datacenters>),
            members: Arc::new(Pools { lan, wan }),
        }
    }
}
