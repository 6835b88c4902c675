//! The leader's duties: members become nodes with `serfHealth`, servers become the `consul`
//! service and voters, the dead are taken out everywhere, voted checks get their observers.
//!
//! `agent` starts it on every server; it works only while this server leads.

mod batches;
mod coordinates;
mod duties;
mod expiry;
mod health;
mod membership;
mod observers;
mod pools;
mod reconcile;
#[cfg(test)]
mod testing;

use crate::expiry::Expiry;
use crate::gossip::Gossip;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Command;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::operation::Access;
use crate::model::principal::Principal;
use crate::raft::Raft;
use crate::shutdown::Shutdown;
use crate::store::Reader;

/// The parts of this server that the leader works with.
#[derive(Clone, Debug)]
pub struct LeaderParts {
    pub node_id: NodeId,
    pub node_name: String,
    pub datacenter: String,
    pub raft: Raft,
    pub reader: Reader,
    /// The times of sessions and keys.
    pub expiry: Expiry,
    pub lan: Gossip,
    pub wan: Option<Gossip>,
    /// Autopilot's configuration for a new cluster.
    pub autopilot: AutopilotConfig,
}

impl LeaderParts {
    /// Proposes through this server alone: a successor decides by what it sees itself.
    async fn propose(&self, command: Command) -> Result<(), Fault> {
        self.reader.permit(&Principal::Leader, Access::Leader, self.node_name.as_bytes())?;
        self.raft.propose(command).await.map(drop)
    }
}

/// Runs until `shutdown`, whenever this server leads.
pub fn run(parts: LeaderParts, shutdown: &Shutdown) {
    shutdown.spawn_until("leader", duties::run(parts));
}
