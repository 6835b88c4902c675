//! The leader's duties: members become nodes with `serfHealth`, servers become the `consul`
//! service and voters, the dead are reaped, voted checks get their observers.
//!
//! `agent` starts it on every server; it works only while this one leads. It is the only room that
//! writes on behalf of other nodes.

mod batches;
mod coordinates;
mod duties;
mod membership;
mod observers;
mod reconcile;

use crate::gossip::Gossip;
use crate::model::ids::NodeId;
use crate::raft::Raft;
use crate::shutdown::Shutdown;
use crate::store::Reader;
use std::time::Duration;

/// How the leader treats servers (`autopilot {}`).
#[derive(Clone, Debug)]
pub struct AutopilotSettings {
    /// Whether failed servers are removed once another has taken their place.
    pub cleanup_dead_servers: bool,
    /// The longest silence of a healthy server.
    pub last_contact_threshold: Duration,
    /// The longest lag of a healthy server, in log entries.
    pub max_trailing_logs: u64,
    /// Servers below which none is removed.
    pub min_quorum: u32,
    /// How long a new server must be healthy before it votes.
    pub server_stabilization_time: Duration,
}

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
    /// Who is in the datacenter.
    pub lan: Gossip,
    /// How servers are treated.
    pub autopilot: AutopilotSettings,
}

/// Runs until `shutdown`, whenever this server leads.
pub fn run(parts: LeaderParts, shutdown: &Shutdown) {
    shutdown.spawn_until("leader", duties::run(parts));
}
