//! Thin adapters of openraft's traits over `store` and a log on disk; no openraft type leaves
//! this room.
//!
//! `agent` starts one [`Raft`] per server; `router` proposes and asks for leases, `leader` changes
//! the membership. Addresses are no part of it: the [`Transport`] finds a server by its node id.

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

use crate::defaults::{
    RAFT_ELECTION_MAX, RAFT_ELECTION_MIN, RAFT_HEARTBEAT, RAFT_PROPOSAL_TIMEOUT, RAFT_SNAPSHOT_ENTRIES, RAFT_TRAILING_ENTRIES,
};
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

/// How a Raft server is set up.
#[derive(Clone, Debug)]
pub struct RaftSettings {
    /// This server.
    pub node_id: NodeId,
    /// The agent's data directory; log, vote and snapshots are kept in its `raft`. `None` keeps them
    /// in memory (`-dev`).
    pub data_dir: Option<PathBuf>,
    /// Where the others reach this server, for a list of servers by address.
    pub address: Option<SocketAddr>,
    /// `-bootstrap-expect`; 1 for `-bootstrap` and `-dev`; 0 for a server that joins a cluster.
    pub bootstrap_expect: u32,
    /// Time between a leader's heartbeats.
    pub heartbeat: Duration,
    /// Least and greatest election timeout; the greatest is the lease.
    pub election: (Duration, Duration),
    /// Entries since the last snapshot before the next (both bounds of the design must be exceeded).
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub trailing_entries: u64,
}

impl RaftSettings {
    /// The usual numbers.
    pub fn new(node_id: NodeId, data_dir: Option<PathBuf>, bootstrap_expect: u32) -> RaftSettings {
        RaftSettings {
            node_id,
            data_dir,
            address: None,
            bootstrap_expect,
            heartbeat: RAFT_HEARTBEAT,
            election: (RAFT_ELECTION_MIN, RAFT_ELECTION_MAX),
            snapshot_entries: RAFT_SNAPSHOT_ENTRIES,
            trailing_entries: RAFT_TRAILING_ENTRIES,
        }
    }
}

/// The connections that Raft's messages go by; each lane has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, heartbeats, appends.
    Core,
    /// Snapshots.
    Snapshot,
}

/// Why a message was not answered.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// It certainly did not arrive: no address known, or connection refused.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have arrived.
    #[error("lost: {0}")]
    Lost(String),
}

/// Carries Raft's opaque messages to another server of the datacenter.
pub trait Transport: Send + Sync + 'static {
    /// Sends `message` to `target` and returns the answer of its [`Raft::handle`].
    fn send(&self, target: NodeId, lane: Lane, message: Bytes, timeout: Duration) -> BoxFuture<Result<Bytes, TransportError>>;

    /// What people call a server, where that is known.
    fn name_of(&self, server: NodeId) -> Option<String>;

    /// Up to which format level a server reads, where that is known.
    fn level_of(&self, server: NodeId) -> Option<u32>;
}

/// A server of the datacenter as gossip knows it, for the bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its node id.
    pub id: NodeId,
    /// Its `-bootstrap-expect`, 0 for none.
    pub expect: u32,
    /// The cluster it says it is part of.
    pub cluster: Option<ClusterId>,
}

/// Who leads, as this server knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Whether this server is it and has applied everything of earlier terms.
    pub is_self: bool,
    /// The term.
    pub term: u64,
}

/// A server in the Raft configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its node id.
    pub id: NodeId,
    /// Whether it votes; a learner otherwise.
    pub voter: bool,
}

/// What the leader knows of a peer's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Its node id.
    pub id: NodeId,
    /// The last log index it is known to have.
    pub last_index: u64,
    /// Time since the leader last heard of it; `None` for never.
    pub last_contact: Option<Duration>,
}

/// Numbers for `agent/self`, `operator raft list-peers` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftStats {
    /// `Leader`, `Follower`, `Candidate`, `Learner` or `Shutdown`.
    pub state: String,
    /// The term.
    pub term: u64,
    /// The last index in the log.
    pub last_log_index: u64,
    /// The term of that entry.
    pub last_log_term: u64,
    /// The last index known to be committed.
    pub commit_index: u64,
    /// The last index applied.
    pub applied_index: u64,
    /// The last index in a snapshot.
    pub last_snapshot_index: u64,
    /// The term of that entry.
    pub last_snapshot_term: u64,
    /// Proposals that wait for their commit.
    pub pending: u64,
    /// The log index of the configuration in force.
    pub configuration_index: u64,
}

/// Why a server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// The data directory cannot be used; the text says which and why.
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
    /// Opens the log and starts. Without state on disk it waits for the bootstrap, or to be added.
    /// `candidates` includes this server. If the core ever stops by itself, the reason appears in
    /// [`Raft::fatal`].
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

    /// Proposes a command on the leader, and resolves when it is applied here. Faults: `NoLeader`
    /// when certainly not proposed, `Busy` over the bound or without room on the disk, `OutcomeUnknown`
    /// otherwise. What would be refused in any state, what the log does not take (`BadRequest`), and what some
    /// server does not read (`Failed`), is not proposed.
    pub async fn propose(&self, command: Command) -> Result<Written, Fault> {
        let server = &self.server;
        if let Some(refusal) = server.refusal() {
            return Err(refusal);
        }
        // Boxed: it hardly ever waits.
        Box::pin(server.check_readable(&command)).await?;
        server.proposals.propose(&command).await
    }

    /// Raises the format level as far as every server of the configuration reads it, and names those that keep it
    /// from the newest; leader only.
    pub async fn raise_level(&self) -> Result<Vec<String>, Fault> {
        self.server.raise_level().await
    }

    /// Who leads; changes wake the receiver.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.server.leadership.subscribe()
    }

    /// Whether this server leads, and leads for sure by its lease with margin, at this instant.
    pub fn holds_lease(&self) -> bool {
        self.server.holds_lease()
    }

    /// Has a quorum confirm that this server leads and waits until it has applied what was
    /// committed before; for `?consistent`.
    pub async fn confirm_leadership(&self) -> Result<(), Fault> {
        let confirmed = self.server.core.ensure_linearizable(ReadPolicy::ReadIndex);
        let confirmed = tokio::select! {
            biased;
            () = self.server.proposals.abandoned() => return Err(Fault::no_leader().because("this server stops")),
            confirmed = tokio::time::timeout(RAFT_PROPOSAL_TIMEOUT, confirmed) => confirmed,
        };
        match confirmed {
            Ok(Ok(_index)) => Ok(()),
            Ok(Err(error)) => Err(Fault::no_leader().because(error.to_string())),
            Err(_elapsed) => Err(Fault::no_leader().because("no quorum answers")),
        }
    }

    /// How old this server's view may be: on the leader the time since its last quorum-acknowledged
    /// send, on a follower by the echo of its leader; `None` before the first contact.
    pub fn staleness(&self) -> Option<Duration> {
        self.server.staleness()
    }

    /// Answers a message of another server's [`Transport::send`]. Never fails: what is not for this
    /// cluster or this server is answered with a refusal.
    pub async fn handle(&self, message: Bytes) -> Bytes {
        Arc::clone(&self.server).handle(&message).await
    }

    /// The cluster, once there is one; changes wake the receiver.
    pub fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.server.link.cluster.clone()
    }

    /// The configuration in force.
    pub fn peers(&self) -> Vec<Peer> {
        membership::peers(&self.metrics())
    }

    /// What the leader knows of the others; empty elsewhere.
    pub fn progress(&self) -> Vec<PeerProgress> {
        membership::progress(&self.metrics())
    }

    /// What people call a server; its id where nobody has heard of it.
    pub fn name_of(&self, server: NodeId) -> String {
        self.server.link.name_of(server)
    }

    /// Adds a learner and waits until it has caught up; leader only.
    pub async fn add_learner(&self, id: NodeId) -> Result<(), Fault> {
        self.server.add_learner(id).await
    }

    /// Makes a learner a voter; leader only.
    pub async fn promote(&self, id: NodeId) -> Result<(), Fault> {
        self.server.promote(id).await
    }

    /// Takes a server out of the configuration; leader only. A leader that is to remove itself hands
    /// leadership over and answers `NoLeader`: its successor is to be asked.
    pub async fn remove(&self, id: NodeId) -> Result<(), Fault> {
        self.server.remove(id).await
    }

    /// Hands leadership to `to`, or to the voter that is furthest, and waits until it leads.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), Fault> {
        self.server.transfer_leadership(to).await
    }

    /// Numbers for people.
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

    /// Hands leadership over if it has it, flushes and stops; bounded by `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        self.server.shutdown(grace).await;
    }

    fn metrics(&self) -> Metrics {
        self.server.metrics()
    }
}
