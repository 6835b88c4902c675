//! What this server does with the others' messages.
//!
//! `Raft::handle` enters here. A message that is not for this server or not of its cluster is
//! refused before openraft sees it.

use super::bootstrap::{Grant, GrantAnswer};
use super::bootstrap_driver::Question;
use super::message::{self, Ask, Envelope, Reply, SnapshotPart};
use super::openraft_types::VoteRequest;
use super::start::Server;
use crate::model::ids::{ClusterId, NodeId};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

impl Server {
    pub(super) async fn handle(self: Arc<Server>, bytes: &[u8]) -> Bytes {
        let reply = match message::decode::<Envelope>(bytes).and_then(|envelope| {
            envelope.check(self.settings.node_id)?;
            Ok(envelope)
        }) {
            Ok(envelope) => self.answer(envelope).await,
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

    async fn answer(self: Arc<Server>, envelope: Envelope) -> Result<Reply, String> {
        let server = Arc::clone(&self);
        let Ok(_permit) = server.door.try_acquire() else { return Err("this server stops, or has too many messages".to_owned()) };
        let Envelope { cluster, from, .. } = envelope;
        if !matches!(envelope.ask, Ask::Grant(_) | Ask::GrantStatus) {
            self.check_cluster(cluster, from, envelope.is_of_leader()).await?;
        }
        let core = &self.core;
        match envelope.ask {
            Ask::Append(append) => core.append_entries(append).await.map(Reply::Append).map_err(|error| error.to_string()),
            Ask::Vote(vote) => {
                self.check_promises(&vote)?;
                core.vote(vote).await.map(Reply::Vote).map_err(|error| error.to_string())
            }
            Ask::PreVote(vote) => {
                self.check_promises(&vote)?;
                core.pre_vote(vote).await.map(Reply::Vote).map_err(|error| error.to_string())
            }
            Ask::Transfer(transfer) => {
                core.handle_transfer_leader(transfer).await.map(Reply::Transfer).map_err(|error| error.to_string())
            }
            Ask::Snapshot(part) => self.take_snapshot(from, part).await,
            Ask::Echo => self.echo(),
            Ask::Grant(ask) => self.grant(from, cluster, ask).await,
            Ask::GrantStatus => self.ask_bootstrap(|reply| Question::Status { cluster, reply }).await.map(Reply::GrantStatus),
        }
    }

    /// Refuses other clusters; a server without one becomes part of the one that has taken it in.
    async fn check_cluster(&self, cluster: ClusterId, from: NodeId, of_leader: bool) -> Result<(), String> {
        let mine = *self.link.cluster.borrow();
        match mine {
            Some(mine) if mine == cluster => Ok(()),
            Some(mine) => Err(format!("the message of {from} is of cluster {cluster}, this server is of {mine}")),
            None => match self.ask_bootstrap(|reply| Question::Join { cluster, of_leader, reply }).await? {
                true => Ok(()),
                false => Err(format!("this server is not part of cluster {cluster}")),
            },
        }
    }

    /// A former run may have promised its leader a lease.
    fn check_promises(&self, vote: &VoteRequest) -> Result<(), String> {
        match vote.leadership_transfer || self.lease.may_vote(Instant::now()) {
            true => Ok(()),
            false => Err("this server has restarted and votes again when its leader's lease is over".to_owned()),
        }
    }

    async fn grant(&self, from: NodeId, cluster: ClusterId, ask: Grant) -> Result<Reply, String> {
        if ask.cluster != cluster {
            return Err("the proposal names two clusters".to_owned());
        }
        let answer: GrantAnswer = self.ask_bootstrap(|reply| Question::Grant { from, ask, reply }).await?;
        Ok(Reply::Grant(answer))
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
