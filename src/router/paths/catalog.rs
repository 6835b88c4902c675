//! The catalog of this datacenter, as one of its servers has it.

use crate::expiry::Expiry;
use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::ids::{ClusterId, NodeId};
use crate::raft::{Leadership, Peer, PeerProgress, Raft, RaftStats};
use crate::store::Reader;
use futures_util::future::BoxFuture;
use std::fmt::Debug;
use std::time::Duration;
use tokio::sync::watch;

/// The catalog here, and the log that it is made of.
pub(in crate::router) trait Catalog: Debug + Send + Sync + 'static {
    /// The state that was applied here. The store has no I/O, so it needs no simulated one.
    fn reader(&self) -> &Reader;

    /// The leadership; changes wake the receiver.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// True if this server leads for sure at this instant, by its lease.
    fn holds_lease(&self) -> bool;

    /// The greatest age of the view here; unset before the first contact with a leader.
    fn staleness(&self) -> Option<Duration>;

    /// Has a quorum confirm that this server leads and has applied what was committed before.
    fn confirm_leadership(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Proposes a command on the leader until it is applied here. `NoLeader` and `Busy` say that it was not proposed.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Written, Fault>>;

    /// The times of sessions and keys, which this server counts while it leads.
    fn expiry(&self) -> &Expiry;

    /// Takes a server out of the Raft configuration; leader only.
    fn remove(&self, id: NodeId) -> BoxFuture<'_, Result<(), Fault>>;

    /// Hands leadership to `to`, or to the voter that is furthest.
    fn transfer_leadership(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), Fault>>;

    /// The cluster; unset before its bootstrap.
    fn cluster(&self) -> Option<ClusterId>;

    /// The Raft configuration in force.
    fn peers(&self) -> Vec<Peer>;

    /// The leader's knowledge of the others; empty elsewhere.
    fn progress(&self) -> Vec<PeerProgress>;

    fn stats(&self) -> RaftStats;

    /// The greatest age of a stale answer that is read from now on; unset before there is a view.
    fn age_of_view(&self) -> Option<Duration> {
        if self.holds_lease() { Some(Duration::ZERO) } else { self.staleness() }
    }
}

/// The catalog of a server: Raft, and the store that it applies its log to.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub raft: Raft,
    pub reader: Reader,
    /// The times of sessions and keys.
    pub expiry: Expiry,
}

impl Catalog for Replica {
    fn reader(&self) -> &Reader {
        &self.reader
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.raft.leadership()
    }

    fn holds_lease(&self) -> bool {
        self.raft.holds_lease()
    }

    fn staleness(&self) -> Option<Duration> {
        self.raft.staleness()
    }

    fn confirm_leadership(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.raft.confirm_leadership())
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Written, Fault>> {
        Box::pin(self.raft.propose(command))
    }

    fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    fn remove(&self, id: NodeId) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.raft.remove(id))
    }

    fn transfer_leadership(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.raft.transfer_leadership(to))
    }

    fn cluster(&self) -> Option<ClusterId> {
        *self.raft.cluster().borrow()
    }

    fn peers(&self) -> Vec<Peer> {
        self.raft.peers()
    }

    fn progress(&self) -> Vec<PeerProgress> {
        self.raft.progress()
    }

    fn stats(&self) -> RaftStats {
        self.raft.stats()
    }
}
