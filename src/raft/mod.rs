//! Thin adapters of openraft's traits over `store` and a log on disk; no openraft type leaves this room.
//! `agent` starts one [`Raft`] per server, `router` proposes, `leader` changes the membership; [`Transport`] finds servers by id.

mod bootstrap;
mod bootstrap_driver;
mod disk;
mod echo;
mod freshness;
mod journal;
mod lease;
mod levels;
mod log_store;
mod log_tail;
mod log_writer;
mod machine;
mod mark;
mod membership;
mod message;
mod network;
mod openraft_types;
mod overheard;
mod pace;
mod peers_file;
mod proposals;
mod quorum;
mod receive;
mod recovery;
mod room;
mod snapshot_file;
mod snapshot_inbox;
mod start;
mod state_machine;
mod watchdog;
#[cfg(test)]
mod cluster_test;
#[cfg(test)]
mod faithful_test;
#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod levels_test;
#[cfg(test)]
mod loss_test;
#[cfg(test)]
mod testing;

pub use mark::{LostLog, awaiting_id, lost_log};
pub use overheard::overheard;

use crate::defaults::RAFT_PROPOSAL_TIMEOUT;
use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::ids::{ClusterId, NodeId};
use crate::model::request::BoxFuture;
use crate::shutdown::Shutdown;
use crate::store::Store;
use bytes::Bytes;
use openraft::ReadPolicy;
use openraft_types::Metrics;
use start::Server;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub struct RaftSettings {
    pub node_id: NodeId,
    /// The agent's data directory, which keeps Raft's state in `raft`; `None` keeps it in memory (`-dev`).
    pub data_dir: Option<PathBuf>,
    /// The address of this server for the others, for a list of servers by address.
    pub address: Option<SocketAddr>,
    /// `-bootstrap-expect`; 1 for `-bootstrap` and `-dev`; 0 for a server that joins a cluster.
    pub bootstrap_expect: u32,
    pub heartbeat: Duration,
    /// Least and greatest election timeout; the greatest is the lease.
    pub election: (Duration, Duration),
    /// Entries since the last snapshot before the next.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub trailing_entries: u64,
}

/// The lanes of Raft's messages; each has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, heartbeats, appends.
    Core,
    Snapshot,
}

/// The reason why a message was not answered.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The message did not arrive for sure: no address known, or connection refused.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The message may have arrived.
    #[error("lost: {0}")]
    Lost(String),
}

/// Carries Raft's opaque messages to another server of the datacenter.
pub trait Transport: Send + Sync + 'static {
    /// Sends `message` to `target` and returns the answer of its [`Raft::handle`].
    fn send(&self, target: NodeId, lane: Lane, message: Bytes, timeout: Duration) -> BoxFuture<Result<Bytes, TransportError>>;

    /// The name of a server, if it is known.
    fn name_of(&self, server: NodeId) -> Option<String>;

    /// The format level up to which a server reads, if it is known.
    fn level_of(&self, server: NodeId) -> Option<u32>;
}

/// A server of the datacenter as gossip knows it, for the bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: NodeId,
    /// Its `-bootstrap-expect`, 0 for none.
    pub expect: u32,
    /// The cluster that it reports.
    pub cluster: Option<ClusterId>,
}

/// The leader, as this server knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub leader: Option<NodeId>,
    /// True if this server leads and has applied everything of earlier terms.
    pub is_self: bool,
    pub term: u64,
}

/// A server in the Raft configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: NodeId,
    /// True for a voter, false for a learner.
    pub voter: bool,
}

/// A peer's progress, as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    pub id: NodeId,
    /// The last log index that it is known to have.
    pub last_index: u64,
    /// Time since its last sign; `None` before the first.
    pub last_contact: Option<Duration>,
}

/// Numbers for `agent/self`, `operator raft list-peers` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftStats {
    /// `Leader`, `Follower`, `Candidate`, `Learner` or `Shutdown`.
    pub state: String,
    pub term: u64,
    pub last_log_index: u64,
    pub last_log_term: u64,
    /// The last index known to be committed.
    pub commit_index: u64,
    pub applied_index: u64,
    /// The last index in a snapshot.
    pub last_snapshot_index: u64,
    pub last_snapshot_term: u64,
    /// Proposals that wait for their commit.
    pub pending: u64,
    /// The log index of the configuration in force.
    pub configuration_index: u64,
}

/// The reason why a server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// The data directory cannot be used; the text has the path and the cause.
    #[error("{0}")]
    Storage(String),
    /// Raft itself refused.
    #[error("{0}")]
    Core(String),
}

/// A running Raft server; clones are the same one.
#[derive(Clone)]
pub struct Raft {
    server: Arc<Server>,
}

impl std::fmt::Debug for Raft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raft").field("node_id", &self.server.settings.node_id).finish_non_exhaustive()
    }
}

impl Raft {
    /// Opens the log and starts. Without state it waits for the bootstrap, or to be added. `candidates` includes this server.
    pub async fn start(
        settings: RaftSettings,
        store: Store,
        transport: Arc<dyn Transport>,
        candidates: watch::Receiver<Vec<Candidate>>,
        shutdown: &Shutdown,
    ) -> Result<Raft, RaftError> {
        let server = Server::start(settings, Box::new(store), transport, candidates, shutdown).await?;
        Ok(Raft { server })
    }

    /// Proposes a command on the leader, and resolves when it is applied here. Faults: `NoLeader` when certainly not
    /// proposed, `Busy` over the bound or without room on the disk, `BadRequest` for a command that every state or the
    /// log refuses, `Failed` for one that some server does not read, `OutcomeUnknown` otherwise.
    pub async fn propose(&self, command: Command) -> Result<Written, Fault> {
        let server = &self.server;
        if let Some(refusal) = server.refusal() {
            return Err(refusal);
        }
        // Boxed: it hardly ever waits.
        Box::pin(server.check_readable(&command)).await?;
        server.proposals.propose(&command).await
    }

    /// Raises the format level as far as every server reads it; leader only. Returns the names of those that keep it down.
    pub async fn raise_level(&self) -> Result<Vec<String>, Fault> {
        self.server.raise_level().await
    }

    /// The leader; changes wake the receiver.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.server.leadership.subscribe()
    }

    /// True while this server leads for sure, by its lease with margin.
    pub fn holds_lease(&self) -> bool {
        self.server.holds_lease()
    }

    /// Has a quorum confirm that this server leads, and waits until all committed before is applied, for `?consistent`.
    pub async fn confirm_leadership(&self) -> Result<(), Fault> {
        let confirmed = self.server.core.ensure_linearizable(ReadPolicy::ReadIndex);
        let confirmed = tokio::select! {
            biased;
            () = self.server.proposals.abandoned.cancelled() => return Err(Fault::no_leader().because("this server stops")),
            confirmed = tokio::time::timeout(RAFT_PROPOSAL_TIMEOUT, confirmed) => confirmed,
        };
        match confirmed {
            Ok(Ok(_index)) => Ok(()),
            Ok(Err(error)) => Err(Fault::no_leader().because(error.to_string())),
            Err(_elapsed) => Err(Fault::no_leader().because("no quorum answers")),
        }
    }

    /// The cluster, once there is one; changes wake the receiver.
    pub fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.server.link.cluster.clone()
    }

    /// The configuration in force.
    pub fn peers(&self) -> Vec<Peer> {
        self.server.peers()
    }

    /// The progress of the others, as the leader knows it; empty elsewhere.
    pub fn progress(&self) -> Vec<PeerProgress> {
        membership::progress(&self.metrics())
    }

    /// The name of a server; its id where it is unknown.
    pub fn name_of(&self, server: NodeId) -> String {
        self.server.link.name_of(server)
    }

    /// Hands leadership to `to`, or to the voter with the most of the log, and waits until it leads.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), Fault> {
        self.server.transfer_leadership(to).await
    }

    pub fn stats(&self) -> RaftStats {
        let metrics = self.metrics();
        let index = |id: Option<openraft_types::LogId>| id.map_or(0, |id| id.index());
        let term = |id: Option<openraft_types::LogId>| id.map_or(0, |id| id.committed_leader_id().term);
        RaftStats {
            state: format!("{:?}", metrics.state),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            last_log_term: self.server.log.last_term(),
            commit_index: index(metrics.local_committed),
            applied_index: index(metrics.last_applied),
            last_snapshot_index: index(metrics.snapshot),
            last_snapshot_term: term(metrics.snapshot),
            pending: self.server.proposals.pending(),
            configuration_index: index(*metrics.membership_config.log_id()),
        }
    }

    /// Resolves with the reason when the core has stopped by itself; the process then exits.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.server.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // The sender lives in this server; there is no reason to give.
            _ => std::future::pending().await,
        }
    }

    fn metrics(&self) -> Metrics {
        self.server.metrics()
    }
}
