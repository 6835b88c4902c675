//! This server's answers to messages. One for another server or cluster is refused before openraft sees it.

use super::Raft;
use super::bootstrap::Joining;
use super::bootstrap_driver::{BEGINS_ANEW, Question};
use super::message::{self, Counts, Envelope, Message, Reply, SnapshotPart};
use super::openraft_types::{AppendRequest, AppendResponse, VoteRequest};
use super::start::Server;
use crate::model::ids::{ClusterId, NodeId};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

impl Raft {
    /// Answers a message of another server's [`Transport::send`]. Messages for another cluster or server get a refusal.
    pub async fn handle(&self, message: Bytes) -> Bytes {
        let read = message::decode::<Envelope>(&message);
        let checked = read.and_then(|envelope| envelope.check(self.server.settings.node_id).map(|()| envelope));
        let reply = match checked {
            Ok(envelope) => Arc::clone(&self.server).answer(envelope).await,
            Err(reason) => Err(reason),
        };
        let reply = reply.unwrap_or_else(|reason| {
            metrics::counter!("kontor.raft.messages_refused").increment(1);
            tracing::debug!(reason, "a Raft message is refused");
            Reply::Refused(reason)
        });
        // An answer that cannot be encoded is none.
        message::encode(&reply).unwrap_or_default()
    }
}

impl Server {
    async fn answer(self: Arc<Server>, envelope: Envelope) -> Result<Reply, String> {
        let server = Arc::clone(&self);
        let Ok(_permit) = server.door.try_acquire() else { return Err("this server stops, or has too many messages".to_owned()) };
        let Envelope { cluster, from, .. } = envelope;
        if self.fatal.borrow().is_some() {
            return Err("this server has failed and ends".to_owned());
        }
        if !matches!(envelope.ask, Message::Grant(_) | Message::GrantStatus) {
            let counted = envelope.counts.is_some_and(|counts| counts.voter);
            self.check_cluster(cluster, from, envelope.is_of_leader(), counted).await?;
        }
        let core = &self.core;
        match envelope.ask {
            Message::Append(append) => {
                self.check_log(envelope.counts, &append).await?;
                let response = core.append_entries(append).await.map_err(|error| error.to_string())?;
                if !matches!(response, AppendResponse::HigherVote(_)) {
                    self.appended.happens();
                }
                Ok(match envelope.echo {
                    Some(echo) => Reply::AppendAt(response, self.hear(echo)),
                    None => Reply::Append(response),
                })
            }
            Message::Vote(vote) => {
                self.check_promises(&vote)?;
                core.vote(vote).await.map(Reply::Vote).map_err(|error| error.to_string())
            }
            Message::PreVote(vote) => {
                self.check_promises(&vote)?;
                core.pre_vote(vote).await.map(Reply::Vote).map_err(|error| error.to_string())
            }
            Message::Transfer(transfer) => {
                core.handle_transfer_leader(transfer).await.map(Reply::Transfer).map_err(|error| error.to_string())
            }
            Message::Snapshot(part) => self.take_snapshot(from, part).await,
            Message::Echo => {
                self.committed_for_sure().map(Reply::Echo).ok_or_else(|| "this server does not lead for sure".to_owned())
            }
            Message::Grant(ask) if ask.cluster != cluster => Err("the proposal names two clusters".to_owned()),
            Message::Grant(ask) => self.ask_bootstrap(|reply| Question::Grant { from, ask, reply }).await.map(Reply::Grant),
            Message::GrantStatus => self.ask_bootstrap(|reply| Question::Status { cluster, reply }).await.map(Reply::GrantStatus),
        }
    }

    /// Refuses other clusters; a server without one joins the cluster that has taken it in.
    async fn check_cluster(&self, cluster: ClusterId, from: NodeId, of_leader: bool, counted: bool) -> Result<(), String> {
        let mine = *self.link.cluster.borrow();
        match mine {
            Some(mine) if mine == cluster => Ok(()),
            Some(mine) => Err(format!("the message of {from} is of cluster {cluster}, this server is of {mine}")),
            None => match self.ask_bootstrap(|reply| Question::Join { cluster, of_leader, counted, reply }).await? {
                Joining::Welcome => Ok(()),
                Joining::Stranger => Err(format!("this server is not part of cluster {cluster}")),
                Joining::Lost => Err(self.lose_log(format!("it votes in cluster {cluster} and has nothing of its log")).await),
            },
        }
    }

    /// Refuses a leader with more acknowledgements of this server than its log has: confirmed writes were lost here.
    async fn check_log(&self, counts: Option<Counts>, append: &AppendRequest) -> Result<(), String> {
        let Some(matched) = counts.and_then(|counts| counts.matched) else { return Ok(()) };
        // In this order: under one vote the log never gets shorter than what was acknowledged.
        let last = self.log.last_index();
        if last >= Some(matched) || self.log.vote() != Some(append.vote) {
            return Ok(());
        }
        let end = last.map_or_else(|| "is empty".to_owned(), |last| format!("ends at entry {last}"));
        Err(self.lose_log(format!("its Raft log {end}, and it has acknowledged entry {matched}")).await)
    }

    /// Ends this server's part: its answers would count for entries that it does not have.
    async fn lose_log(&self, why: String) -> String {
        metrics::counter!("kontor.raft.log_lost").increment(1);
        let next = match &self.mark {
            Some(mark) => {
                if let Err(error) = mark.lose(&why).await {
                    tracing::warn!(%error, "that the log is lost cannot be written down; the leader tells it again at the next start");
                }
                BEGINS_ANEW
            }
            None => "without a data directory it needs another node_id at each start",
        };
        self.core.runtime_config().elect(false);
        self.fail(format!("this server cannot go on: {why}; was an older copy of the data directory put back? {next}"));
        why
    }

    /// A former run may have promised its leader a lease.
    fn check_promises(&self, vote: &VoteRequest) -> Result<(), String> {
        match vote.leadership_transfer || self.lease.may_vote(Instant::now()) {
            true => Ok(()),
            false => Err("this server has restarted and votes again when its leader's lease is over".to_owned()),
        }
    }

    async fn ask_bootstrap<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.bootstrap.try_send(question(reply)).map_err(|_full| "the bootstrap is busy or over".to_owned())?;
        answer.await.map_err(|_dropped| "this server is stopping".to_owned())
    }

    async fn take_snapshot(self: Arc<Server>, from: NodeId, part: SnapshotPart) -> Result<Reply, String> {
        let (vote, server) = (part.vote, Arc::clone(&self));
        let taken = tokio::task::spawn_blocking(move || server.inbox.take(from, &part)).await;
        match taken.map_err(|error| error.to_string())?? {
            None => Ok(Reply::SnapshotPart),
            Some(snapshot) => {
                let installed = self.core.install_full_snapshot(vote, snapshot).await;
                installed.map(Reply::Snapshot).map_err(|error| error.to_string())
            }
        }
    }
}
