//! Proposals on their way into the log: those that wait together go into one entry.
//! `Raft::propose` queues them, one task gathers. An entry costs the core, the disks and the network about the same with
//! one command or many. With nothing in flight a command leaves at once; while entries are in flight, the next is gathered.

use super::machine::Checker;
use super::openraft_types::{LoggedCommand, LoggedGroup};
use super::state_machine::Core;
use crate::defaults::{
    COMMAND_BYTES, RAFT_APPEND_BYTES, RAFT_GROUP_BYTES, RAFT_GROUP_COMMANDS, RAFT_GROUPS_IN_FLIGHT, RAFT_PROPOSAL_TIMEOUT,
    RAFT_PROPOSALS, RPC_MAX_RAFT_BYTES,
};
use crate::model::command::{Command, Written};
use crate::model::fault::{Fault, FaultKind};
use openraft::error::{ClientWriteError, RaftError as CoreError};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

// The largest entry, and one that is sent with it, fit into a message; a larger one would stop the replication.
const _: () = assert!(COMMAND_BYTES + RAFT_GROUP_BYTES + RAFT_APPEND_BYTES < RPC_MAX_RAFT_BYTES / 2);

type Ended = Result<Written, Fault>;

/// A command that waits. It keeps its place until the core has done with it: a caller that hangs up makes no room.
struct Proposal {
    command: LoggedCommand,
    waiter: Waiter,
}

/// The caller of a proposal, with its place.
struct Waiter {
    done: oneshot::Sender<Ended>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(super) struct Proposals {
    queue: mpsc::Sender<Proposal>,
    places: Arc<Semaphore>,
    /// Refuses commands that any state would refuse.
    checker: Checker,
    /// Cancelled to give up the proposals that wait for their commit: their outcome stays unknown.
    pub(super) abandoned: CancellationToken,
}

impl Proposals {
    /// The queue, and the task that empties it into the log of `core`.
    pub(super) fn new(core: Core, checker: Checker) -> (Proposals, Gatherer) {
        // Never full: each proposal in it holds a place.
        let (queue, waiting) = mpsc::channel(RAFT_PROPOSALS);
        let in_flight = Arc::new(Semaphore::new(RAFT_GROUPS_IN_FLIGHT));
        let (places, abandoned) = (Arc::new(Semaphore::new(RAFT_PROPOSALS)), CancellationToken::new());
        let gatherer = Gatherer { core, waiting, in_flight, abandoned: abandoned.clone() };
        (Proposals { queue, places, checker, abandoned }, gatherer)
    }

    /// Proposes a command, and resolves when it is applied here; faults as `Raft::propose` has them.
    pub(super) async fn propose(&self, command: &Command) -> Ended {
        (self.checker)(command)?;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics::counter!("kontor.raft.proposals_refused").increment(1);
            return Err(Fault::new(FaultKind::Busy, format!("{RAFT_PROPOSALS} writes wait already; try again later")));
        };
        let command = LoggedCommand::encode(command)?;
        let (done, written) = oneshot::channel();
        if self.queue.send(Proposal { command, waiter: Waiter { done, _place: place } }).await.is_err() {
            return Err(Fault::no_leader().because("this server stops"));
        }
        match tokio::time::timeout(RAFT_PROPOSAL_TIMEOUT, written).await {
            Ok(Ok(written)) => written,
            // The gatherer has ended with the proposal still in its queue.
            Ok(Err(_dropped)) => Err(Fault::no_leader().because("this server stops")),
            Err(elapsed) => Err(unknown(&elapsed)),
        }
    }

    pub(super) fn pending(&self) -> u64 {
        (RAFT_PROPOSALS - self.places.available_permits()) as u64
    }

    /// Waits until no proposal does, no longer than `patience`.
    pub(super) async fn drain(&self, patience: Duration) {
        let _all = tokio::time::timeout(patience, self.places.acquire_many(RAFT_PROPOSALS as u32)).await;
    }
}

fn unknown(error: &dyn Display) -> Fault {
    Fault::outcome_unknown(format!("the write may or may not be done: {error}"))
}

pub(super) struct Gatherer {
    core: Core,
    waiting: mpsc::Receiver<Proposal>,
    in_flight: Arc<Semaphore>,
    abandoned: CancellationToken,
}

impl Gatherer {
    /// Gathers until dropped, or until all proposers are gone.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let Ok(slot) = Arc::clone(&self.in_flight).acquire_owned().await else { return };
            // Callers that woke together with the first proposer propose before the group leaves.
            tokio::task::yield_now().await;
            let (commands, waiters) = self.gather(first);
            let (core, abandoned) = (self.core.clone(), self.abandoned.clone());
            tokio::spawn(async move {
                commit(&core, commands, waiters, &abandoned).await;
                drop(slot);
            });
        }
    }

    /// The first, and those behind it, up to the bounds of a group.
    fn gather(&mut self, first: Proposal) -> (Vec<LoggedCommand>, Vec<Waiter>) {
        let (mut commands, mut waiters, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(Proposal { command, waiter }) = next {
            bytes += command.len();
            commands.push(command);
            waiters.push(waiter);
            let full = commands.len() == RAFT_GROUP_COMMANDS || bytes >= RAFT_GROUP_BYTES;
            next = if full { None } else { self.waiting.try_recv().ok() };
        }
        (commands, waiters)
    }
}

async fn commit(core: &Core, commands: Vec<LoggedCommand>, waiters: Vec<Waiter>, abandoned: &CancellationToken) {
    let written = abandoned.run_until_cancelled(core.client_write(LoggedGroup(commands))).await;
    let all = |fault: Fault| vec![Err(fault); waiters.len()];
    let outcomes = match written {
        Some(Ok(written)) => written.data,
        Some(Err(CoreError::APIError(ClientWriteError::ForwardToLeader(_)))) => all(Fault::no_leader()),
        Some(Err(error)) => all(unknown(&error)),
        None => all(unknown(&"this server stops")),
    };
    for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
        // The caller may be gone.
        let _gone = waiter.done.send(outcome);
    }
}
