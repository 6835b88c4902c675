//! Proposals on their way into the log: those that wait together go into one entry.
//!
//! `Raft::propose` queues them, one task gathers. An entry costs the core, the disks, the network
//! and the wake-ups between them about the same whether it carries one command or many. With nothing
//! in flight a command leaves at once; while entries are with the disks, the next is gathered.

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

// The largest entry, and one that is sent with it, fit into a message: one that did not would be replicated to
// nobody, and with it nothing that comes after it.
const _: () = assert!(COMMAND_BYTES + RAFT_GROUP_BYTES + RAFT_APPEND_BYTES < RPC_MAX_RAFT_BYTES / 2);

/// How a proposal ends.
type Ended = Result<Written, Fault>;

/// A command that waits. It keeps its place until the core has done with it, whether or not somebody
/// still waits for the answer: who hangs up makes no room for more.
struct Proposal {
    command: LoggedCommand,
    done: oneshot::Sender<Ended>,
    _place: OwnedSemaphorePermit,
}

/// The queue of proposals.
#[derive(Debug)]
pub(super) struct Proposals {
    queue: mpsc::Sender<Proposal>,
    places: Arc<Semaphore>,
    /// Refuses what would be refused when it is applied, whatever the state is by then.
    checker: Checker,
    abandoned: CancellationToken,
}

impl Proposals {
    /// The queue, and the task that empties it into the log of `core`.
    pub(super) fn new(core: Core, checker: Checker) -> (Proposals, Gatherer) {
        // Never full: each that is sent holds a place.
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
        if self.queue.send(Proposal { command, done, _place: place }).await.is_err() {
            return Err(Fault::no_leader().because("this server stops"));
        }
        match tokio::time::timeout(RAFT_PROPOSAL_TIMEOUT, written).await {
            Ok(Ok(written)) => written,
            // The gatherer has ended with the proposal still in its queue.
            Ok(Err(_dropped)) => Err(Fault::no_leader().because("this server stops")),
            Err(elapsed) => Err(unknown(&elapsed)),
        }
    }

    /// How many wait for their commit.
    pub(super) fn pending(&self) -> u64 {
        (RAFT_PROPOSALS - self.places.available_permits()) as u64
    }

    /// Waits until none does, no longer than `patience`.
    pub(super) async fn drain(&self, patience: Duration) {
        let _all = tokio::time::timeout(patience, self.places.acquire_many(RAFT_PROPOSALS as u32)).await;
    }

    /// Gives up what waits for its commit: nobody learns any more what becomes of it.
    pub(super) fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Resolves once all is given up.
    pub(super) async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }
}

fn unknown(error: &dyn Display) -> Fault {
    Fault::outcome_unknown(format!("the write may or may not be done: {error}"))
}

/// Makes groups of proposals.
pub(super) struct Gatherer {
    core: Core,
    waiting: mpsc::Receiver<Proposal>,
    in_flight: Arc<Semaphore>,
    abandoned: CancellationToken,
}

impl Gatherer {
    /// Gathers until dropped, or until nobody can propose any more.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let Ok(slot) = Arc::clone(&self.in_flight).acquire_owned().await else { return };
            // Who was woken together with the first proposer gets to propose before the group leaves.
            tokio::task::yield_now().await;
            let (commands, waiters) = self.gather(first);
            let (core, abandoned) = (self.core.clone(), self.abandoned.clone());
            tokio::spawn(async move {
                commit(&core, commands, waiters, &abandoned).await;
                drop(slot);
            });
        }
    }

    /// The first, and what waits behind it, up to the bounds of a group.
    fn gather(&mut self, first: Proposal) -> (Vec<LoggedCommand>, Vec<Waiter>) {
        let (mut commands, mut waiters, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(Proposal { command, done, _place }) = next {
            bytes += command.len();
            commands.push(command);
            waiters.push(Waiter { done, _place });
            let full = commands.len() == RAFT_GROUP_COMMANDS || bytes >= RAFT_GROUP_BYTES;
            next = if full { None } else { self.waiting.try_recv().ok() };
        }
        (commands, waiters)
    }
}

/// Who is told of a command of a group.
struct Waiter {
    done: oneshot::Sender<Ended>,
    _place: OwnedSemaphorePermit,
}

/// Writes one group and tells each of its proposers.
async fn commit(core: &Core, commands: Vec<LoggedCommand>, waiters: Vec<Waiter>, abandoned: &CancellationToken) {
    let written = abandoned.run_until_cancelled(core.client_write(LoggedGroup(commands))).await;
    let written = match written {
        Some(Ok(written)) => Ok(written.data),
        Some(Err(CoreError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(Fault::no_leader()),
        Some(Err(error)) => Err(unknown(&error)),
        None => Err(unknown(&"this server stops")),
    };
    match written {
        Ok(ended) => {
            for (waiter, ended) in waiters.into_iter().zip(ended) {
                // Who no longer waits need not be told.
                let _gone = waiter.done.send(ended);
            }
        }
        Err(fault) => {
            for waiter in waiters {
                let _gone = waiter.done.send(Err(fault.clone()));
            }
        }
    }
}
