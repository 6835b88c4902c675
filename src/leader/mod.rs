//! The leader's duties: members become nodes with `serfHealth`, servers become the `consul`
//! service and voters, the dead are taken out everywhere, voted checks get their observers.
//!
//! `agent` starts it on every server; it works only while this one leads. It is the only room that
//! writes on behalf of other nodes.

mod batches;
mod coordinates;
mod duties;
mod expiry;
mod membership;
mod observers;
mod pools;
mod reconcile;

use crate::expiry::Expiry;
use crate::gossip::Gossip;
use crate::model::autopilot::AutopilotConfig;
use crate::model::ids::NodeId;
use crate::raft::Raft;
use crate::shutdown::Shutdown;
use crate::store::Reader;

/// What the leader works with.
#[derive(Clone, Debug)]
pub struct LeaderParts {
    /// This server.
    pub node_id: NodeId,
    /// This server's node name.
    pub node_name: String,
    /// The datacenter.
    pub datacenter: String,
    /// Consensus.
    pub raft: Raft,
    /// The catalog.
    pub reader: Reader,
    /// The times of sessions and keys.
    pub expiry: Expiry,
    /// Who is in the datacenter.
    pub lan: Gossip,
    /// The servers of all datacenters.
    pub wan: Option<Gossip>,
    /// How a new cluster treats servers.
    pub autopilot: AutopilotConfig,
}

/// Runs until `shutdown`, whenever this server leads.
pub fn run(parts: LeaderParts, shutdown: &Shutdown) {
    shutdown.spawn_until("leader", duties::run(parts));
}
