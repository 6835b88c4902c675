//! One task carries out the steps of `bootstrap` and answers the others' questions, which `Raft::handle` hands it.

use super::bootstrap::{Bootstrap, BootstrapAction, Grant, GrantAnswer, Joining};
use super::log_store::LogStore;
use super::mark::MarkFile;
use super::message::{Message, Reply};
use super::network::Link;
use super::state_machine::Core;
use super::{Candidate, Lane, RaftError};
use crate::defaults::{RAFT_BOOTSTRAP_QUEUE, RAFT_BOOTSTRAP_TICK, RAFT_GRANT_TIMEOUT};
use crate::model::ids::{ClusterId, NodeId};
use crate::telemetry::FailureThrottle;
use openraft::EmptyNode;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use uuid::Uuid;

pub(super) const CLUSTER: &str = "cluster";
pub(super) const GRANT: &str = "grant";

/// Questions of others to the bootstrap.
pub(super) enum Question {
    /// A set is to be granted to `from`.
    Grant { from: NodeId, ask: Grant, reply: oneshot::Sender<GrantAnswer> },
    /// Does the proposal of this cluster stand?
    Status { cluster: ClusterId, reply: oneshot::Sender<bool> },
    /// A message of this cluster has arrived, from a sender that may count on this server.
    Join { cluster: ClusterId, of_leader: bool, counted: bool, reply: oneshot::Sender<Joining> },
}

pub(super) type Questions = mpsc::Sender<Question>;

/// Reads the beginning from disk. A log that should be there and is not ends the start.
pub(super) async fn recover(me: NodeId, log: &LogStore, mark: Option<&MarkFile>) -> Result<Bootstrap, RaftError> {
    let cluster: Option<ClusterId> = kept(log, CLUSTER)?;
    let grant: Option<Grant> = kept(log, GRANT)?;
    // A crash may have happened between the first entry and the note of the cluster.
    let joined = cluster.or_else(|| grant.as_ref().filter(|_| log.has_state()).map(|grant| grant.cluster));
    if joined.is_none() && log.has_state() {
        return Err(RaftError::Storage("the Raft log has entries but does not say of which cluster".to_owned()));
    }
    let beginning = Bootstrap::new(me, joined, grant);
    let Some(mark) = mark else { return Ok(beginning) };
    let unwritten = |error: std::io::Error| RaftError::Storage(format!("the mark of the Raft state cannot be written: {error}"));
    match joined {
        // The log may be of a former version.
        Some(cluster) => mark.keep(Some(cluster)).await.map_err(unwritten)?,
        None if beginning.grant().is_none() && mark.wants_log()? => {
            let why = "its Raft log is empty, and has not always been";
            mark.lose(why).await.map_err(unwritten)?;
            return Err(RaftError::Storage(format!("this server cannot go on: {why}; {BEGINS_ANEW}")));
        }
        None => {}
    }
    Ok(beginning.awaiting(mark.awaited()?))
}

/// The next start of a server that has lost its log.
pub(super) const BEGINS_ANEW: &str =
    "at its next start it joins its cluster under a new node id, and the old one is cleaned up by the leader";

pub(super) fn kept<T: DeserializeOwned>(log: &LogStore, name: &'static str) -> Result<Option<T>, RaftError> {
    let unreadable = |error| RaftError::Storage(format!("the Raft value {name:?} cannot be read: {error}"));
    log.get(name)?.map(|bytes| rmp_serde::from_slice(&bytes).map_err(unreadable)).transpose()
}

pub(super) struct Driver {
    pub(super) state: Bootstrap,
    pub(super) log: LogStore,
    pub(super) mark: Option<MarkFile>,
    pub(super) core: Core,
    pub(super) link: Arc<Link>,
    pub(super) candidates: watch::Receiver<Vec<Candidate>>,
    pub(super) cluster: watch::Sender<Option<ClusterId>>,
    /// The earliest time of the next question to others.
    pub(super) retry_at: Instant,
    /// Waiting for the others, since the last grant.
    pub(super) trouble: FailureThrottle,
}

/// The answer of `from` to a question about `cluster`.
struct Answered {
    from: NodeId,
    cluster: ClusterId,
    reply: Option<Reply>,
}

impl Driver {
    pub(super) fn queue() -> (Questions, mpsc::Receiver<Question>) {
        mpsc::channel(RAFT_BOOTSTRAP_QUEUE)
    }

    pub(super) async fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        let mut calls = JoinSet::new();
        let mut tick = tokio::time::interval(RAFT_BOOTSTRAP_TICK);
        let mut warned = None;
        loop {
            let contradiction = Bootstrap::contradiction(&self.candidates.borrow());
            if let Some((least, most)) = contradiction
                && warned.replace((least, most)) != contradiction
                && self.state.joined().is_none()
            {
                warn!(least, most, "servers disagree on -bootstrap-expect; nothing begins until they agree");
            }
            tokio::select! {
                Some(question) = questions.recv() => self.answer(question).await,
                Some(Ok(answered)) = calls.join_next() => self.take(answered).await,
                Ok(()) = self.candidates.changed(), if self.state.joined().is_none() => {}
                _ = tick.tick(), if self.state.joined().is_none() => {}
                else => return,
            }
            self.proceed(&mut calls).await;
            if let Some(cluster) = self.state.awaited()
                && self.trouble.failed(Instant::now().into_std())
            {
                warn!(
                    %cluster,
                    "this server has lost its Raft log and waits for the leader of its cluster to take it in; if that cluster is \
                     gone for good, stop it and remove raft-mark.json from the data directory: it then begins with an empty catalog"
                );
            }
        }
    }

    async fn proceed(&mut self, calls: &mut JoinSet<Answered>) {
        loop {
            let fresh = ClusterId(Uuid::new_v4());
            let step = self.state.next(&self.candidates.borrow(), fresh);
            match step {
                BootstrapAction::Wait => return,
                BootstrapAction::Keep(grant) => {
                    if !self.keep(grant).await {
                        return;
                    }
                }
                // Servers have time to answer before they are asked again.
                BootstrapAction::Message(..) | BootstrapAction::AskStatus(_)
                    if !calls.is_empty() || Instant::now() < self.retry_at =>
                {
                    return;
                }
                BootstrapAction::Message(grant, members) => {
                    for member in members {
                        self.ask(member, grant.cluster, Message::Grant(grant.clone()), calls);
                    }
                    return;
                }
                BootstrapAction::AskStatus(grant) => return self.ask(grant.proposer, grant.cluster, Message::GrantStatus, calls),
                BootstrapAction::Initialise(grant) => return self.initialise(&grant).await,
            }
        }
    }

    fn ask(&self, to: NodeId, cluster: ClusterId, message: Message, calls: &mut JoinSet<Answered>) {
        let link = Arc::clone(&self.link);
        calls.spawn(async move {
            let reply = link.ask(to, Lane::Core, cluster, message, RAFT_GRANT_TIMEOUT).await.ok();
            Answered { from: to, cluster, reply }
        });
    }

    async fn answer(&mut self, question: Question) {
        // The asker may be gone meanwhile; it asks again.
        match question {
            Question::Grant { from, ask, reply } => {
                let mut answer = self.state.answer(from, &ask);
                let held = self.state.grant() == Some(&ask);
                if answer == GrantAnswer::Granted && !held && !self.keep(Some(ask)).await {
                    answer = GrantAnswer::Refused;
                }
                let _gone = reply.send(answer);
            }
            Question::Status { cluster, reply } => {
                let _gone = reply.send(self.state.stands(cluster));
            }
            Question::Join { cluster, of_leader, counted, reply } => {
                let mut joining = self.state.joining(cluster, of_leader, counted);
                if joining == Joining::Welcome && !self.join(cluster).await {
                    joining = Joining::Stranger;
                }
                let _gone = reply.send(joining);
            }
        }
    }

    async fn take(&mut self, Answered { from, cluster, reply }: Answered) {
        let held = self.state.grant().map(|grant| (grant.cluster, grant.proposer));
        match reply {
            Some(Reply::Grant(GrantAnswer::Granted)) => self.state.granted(from, cluster),
            Some(Reply::Grant(answer)) => self.wait(from, answer.why()),
            Some(Reply::GrantStatus(false)) if held == Some((cluster, from)) => _ = self.keep(None).await,
            _ if held.is_some_and(|(_, proposer)| proposer == from) => self.wait(from, "its proposal is granted and not begun"),
            _ => self.wait(from, "it does not answer"),
        }
    }

    fn wait(&mut self, server: NodeId, why: &str) {
        self.retry_at = Instant::now() + RAFT_BOOTSTRAP_TICK;
        if self.trouble.failed(Instant::now().into_std()) {
            warn!(server = %self.link.name_of(server), why, "the bootstrap waits; if that server is gone for good, start the others with empty data directories");
        } else {
            debug!(server = %self.link.name_of(server), why, "the bootstrap waits for a server");
        }
    }

    /// False when the disk did not take it; the writer has then reported the failure.
    async fn keep(&mut self, grant: Option<Grant>) -> bool {
        let Ok(bytes) = grant.as_ref().map(rmp_serde::to_vec_named).transpose() else { return false };
        let marked = grant.is_none() || marked(self.mark.as_ref(), None).await;
        let kept = marked && self.log.put(GRANT, bytes).await.is_ok();
        if kept {
            if let Some(Grant { cluster, proposer, members }) = &grant {
                let proposer = self.link.name_of(*proposer);
                info!(%cluster, %proposer, servers = members.len(), "the servers of the first election are agreed on");
            }
            self.state.kept(grant);
            self.trouble.worked();
        }
        kept
    }

    async fn join(&mut self, cluster: ClusterId) -> bool {
        if self.state.joined().is_none() {
            if !noted(&self.log, self.mark.as_ref(), cluster).await || self.log.put(GRANT, None).await.is_err() {
                return false;
            }
            info!(%cluster, "this server is part of a cluster");
            self.state.join(cluster);
        }
        self.cluster.send_replace(Some(cluster));
        true
    }

    async fn initialise(&mut self, grant: &Grant) {
        let members: BTreeMap<u128, EmptyNode> = grant.members.iter().map(|id| (id.as_u128(), EmptyNode {})).collect();
        // Messages may go out from here on, and their answers must be taken.
        self.cluster.send_replace(Some(grant.cluster));
        if let Err(error) = self.core.initialize(members).await {
            warn!(%error, "the cluster cannot be initialised");
            return;
        }
        self.join(grant.cluster).await;
        // All members are fresh: no former promise is to be waited for.
        if let Err(error) = self.core.trigger().elect(false).await {
            warn!(%error, "the first election cannot start");
        }
    }
}

/// Notes the cluster in the log, then in the mark, true when both are on disk: a mark before its log looks like a lost log.
async fn noted(log: &LogStore, mark: Option<&MarkFile>, cluster: ClusterId) -> bool {
    let Ok(bytes) = rmp_serde::to_vec_named(&cluster) else { return false };
    log.put(CLUSTER, Some(bytes)).await.is_ok() && marked(mark, Some(cluster)).await
}

/// Marks that there is state, of `cluster` if it has begun; true when the mark is on disk.
async fn marked(mark: Option<&MarkFile>, cluster: Option<ClusterId>) -> bool {
    let Some(mark) = mark else { return true };
    let kept = mark.keep(cluster).await;
    if let Err(error) = &kept {
        warn!(%error, "the mark of the Raft state cannot be written; nothing begins before it is");
    }
    kept.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_mark_asks_for_no_log_that_does_not_say_of_which_cluster_it_is() {
        let home = tempfile::tempdir().unwrap();
        let (me, cluster) = (NodeId::from_u128(1), ClusterId(Uuid::from_u128(2)));
        let mark = MarkFile::new(home.path(), me);
        let open = || LogStore::open(&home.path().join("log")).unwrap();
        let log = open();
        // As at a crash before the first write: from here on the log takes nothing.
        log.close().await;
        assert!(!noted(&log, Some(&mark), cluster).await);
        assert!(!mark.wants_log().unwrap());
        drop(log);
        let log = open();
        assert!(recover(me, &log, Some(&mark)).await.unwrap().joined().is_none(), "it begins as if nothing had been");
        assert!(noted(&log, Some(&mark), cluster).await && mark.wants_log().unwrap());
        assert_eq!(recover(me, &log, Some(&mark)).await.unwrap().joined(), Some(cluster));
    }
}
