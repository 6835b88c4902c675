//! The cluster's format level: a command is proposed only if every server of the configuration reads it, and the level
//! in force rises once all of them read the next.
//! Servers report by gossip up to which level they read. A server unknown to gossip reads none.

use super::start::Server;
use crate::defaults::RAFT_PROPOSAL_TIMEOUT;
use crate::model::command::Command;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::level::{self, Level};
use tokio::time::timeout;

impl Server {
    /// Refuses a command that some server of the configuration does not read, after a rise of the level that is due.
    pub(super) async fn check_readable(&self, command: &Command) -> Result<(), Fault> {
        if self.published.level() >= level::OWN || !self.leadership.borrow().is_self {
            return Ok(());
        }
        let not_yet = |fault: Fault| Fault::no_leader().because(format!("the format level is not raised yet: {fault}"));
        let late = |_elapsed| Err(Fault::no_leader().because("no quorum has agreed to it in time"));
        timeout(RAFT_PROPOSAL_TIMEOUT, self.raise_level()).await.unwrap_or_else(late).map_err(not_yet)?;
        let below = if self.published.level() < command.level() { self.below(command.level()) } else { Vec::new() };
        if below.is_empty() {
            return Ok(());
        }
        Err(Fault::failed(format!(
            "Some servers run a version that does not know this yet: {}; upgrade them first",
            below.join(", ")
        )))
    }

    /// Raises the level in force as far as every server reads it; leader only. Returns those that keep it from the newest.
    pub(super) async fn raise_level(&self) -> Result<Vec<String>, Fault> {
        if self.is_due() {
            // No server that reads less joins meanwhile, and one raise serves all callers.
            let _only = self.changing.acquire().await.map_err(|_closed| Fault::no_leader())?;
            if !self.leadership.borrow().is_self {
                return Err(Fault::no_leader());
            }
            if self.is_due() {
                let to = Level::by_this_build(self.read_by_all());
                self.proposals.propose(&Command::RaiseLevel(to.clone())).await?;
                tracing::info!(level = to.number, "the format level of the cluster is raised");
            }
        }
        if self.published.level() >= level::OWN {
            return Ok(Vec::new());
        }
        let below = self.below(level::OWN);
        match below.is_empty() {
            true => Err(Fault::no_leader().because("the last server has just told that it reads the newest level")),
            false => Ok(below),
        }
    }

    /// Refuses a server that does not read every entry that the log may hold: those of the level in force, and those
    /// that all servers of the configuration read. A server that gossip does not know lowers no bar here: the log may
    /// hold entries from before it was lost.
    pub(super) fn check_reads(&self, id: NodeId) -> Result<(), Fault> {
        let by_all = self.peers().into_iter().filter_map(|peer| self.known_level(peer.id)).min().unwrap_or(0);
        let (reads, needed) = (self.level_of(id), self.published.level().max(by_all));
        if reads >= needed {
            return Ok(());
        }
        let name = self.link.name_of(id);
        Err(Fault::failed(format!(
            "server {name} reads up to format level {reads}, and the log may hold entries of level {needed}; upgrade it first"
        )))
    }

    fn is_due(&self) -> bool {
        let next = self.read_by_all();
        next > self.published.level() && next >= level::COMMAND_INDEXES
    }

    /// The highest level that every server of the configuration reads.
    fn read_by_all(&self) -> u32 {
        self.peers().into_iter().map(|peer| self.level_of(peer.id)).min().unwrap_or(0).min(level::OWN)
    }

    fn below(&self, level: u32) -> Vec<String> {
        let below = self.peers().into_iter().filter(|peer| self.level_of(peer.id) < level);
        below.map(|peer| self.link.name_of(peer.id)).collect()
    }

    fn level_of(&self, server: NodeId) -> u32 {
        self.known_level(server).unwrap_or(0)
    }

    /// The level that a server reads; unset where gossip does not know the server.
    fn known_level(&self, server: NodeId) -> Option<u32> {
        if server == self.settings.node_id { Some(level::OWN) } else { self.link.transport.level_of(server) }
    }
}
