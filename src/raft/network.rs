//! openraft's network over the [`Transport`]: every message in our envelope, snapshots in parts.
//! openraft's replication tasks call it. It knows no address. It hands openraft only answers to the question asked.

use super::message::{self, Counts, Echo, Envelope, Message, Moment, Reply, SnapshotPart};
use super::openraft_types::{
    AppendRequest, AppendResponse, Metrics, SnapshotResponse, TransferRequest, TransferResponse, TypeConfig, Vote, VoteRequest,
    VoteResponse,
};
use super::snapshot_file::{Snapshot, SnapshotImage};
use super::{Lane, Transport, TransportError};
use crate::defaults::{RAFT_APPEND_TIMEOUT, RAFT_MEMBERS_MAX, RAFT_SNAPSHOT_PART_BYTES, RAFT_SNAPSHOT_PART_TIMEOUT};
use crate::model::ids::{ClusterId, NodeId};
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// An index that covers everything acknowledged, on a leader with its lease.
pub(super) type Committed = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// The sender of this server's messages, with the facts that they carry.
pub(super) struct Link {
    pub(super) me: NodeId,
    pub(super) cluster: watch::Receiver<Option<ClusterId>>,
    pub(super) transport: Arc<dyn Transport>,
    /// The core's report of itself, once it runs.
    pub(super) metrics: OnceLock<WatchReceiverOf<TypeConfig, Metrics>>,
    /// This server's commit index while it leads for sure, once it runs.
    pub(super) committed: OnceLock<Committed>,
    /// The moments of the others' last replies, by server.
    pub(super) moments: Mutex<BTreeMap<NodeId, Moment>>,
}

impl Link {
    pub(super) fn new(me: NodeId, cluster: watch::Receiver<Option<ClusterId>>, transport: Arc<dyn Transport>) -> Link {
        Link { me, cluster, transport, metrics: OnceLock::new(), committed: OnceLock::new(), moments: Mutex::default() }
    }

    pub(super) async fn ask(
        &self,
        to: NodeId,
        lane: Lane,
        cluster: ClusterId,
        ask: Message,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        let counts = self.counts(to, &ask);
        let echo = self.echo(to, &ask);
        let envelope = Envelope { cluster, from: self.me, to, ask, counts, echo };
        let message = message::encode(&envelope).map_err(TransportError::NotSent)?;
        let answer = self.transport.send(to, lane, message, timeout).await?;
        message::decode(&answer).map_err(TransportError::Lost)
    }

    /// The name of a server; its id where it is unknown.
    pub(super) fn name_of(&self, server: NodeId) -> String {
        self.transport.name_of(server).unwrap_or_else(|| server.to_string())
    }

    /// This leader's knowledge of the receiver of its appends: none in another term than the append's, since entries that
    /// were acknowledged then may have been replaced.
    fn counts(&self, to: NodeId, ask: &Message) -> Option<Counts> {
        let Message::Append(append) = ask else { return None };
        let metrics = self.metrics.get()?.borrow_watched();
        if metrics.vote != append.vote {
            return None;
        }
        let to = to.as_u128();
        let matched = metrics.replication.as_ref().and_then(|replication| replication.get(&to)?.as_ref());
        let voter = metrics.membership_config.voter_ids().any(|voter| voter == to);
        Some(Counts { voter, matched: matched.map(|matched| matched.index()) })
    }

    /// The echo for the follower that receives an append of this leader.
    fn echo(&self, to: NodeId, ask: &Message) -> Option<Echo> {
        let Message::Append(_) = ask else { return None };
        let after = self.moments.lock().unwrap_or_else(PoisonError::into_inner).get(&to).copied();
        let index = self.committed.get()?()?;
        Some(Echo { after, index })
    }

    fn replied(&self, server: NodeId, moment: Moment) {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        if moments.len() < RAFT_MEMBERS_MAX || moments.contains_key(&server) {
            moments.insert(server, moment);
        } else {
            // Former members fill it; present ones send another moment.
            moments.clear();
        }
    }

    pub(super) async fn ask_member(
        &self,
        to: NodeId,
        lane: Lane,
        ask: Message,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        let cluster = *self.cluster.borrow();
        match cluster {
            Some(cluster) => self.ask(to, lane, cluster, ask, timeout).await,
            None => Err(TransportError::NotSent("this server is part of no cluster yet".to_owned())),
        }
    }
}

pub(super) struct Network(pub(super) Arc<Link>);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u128, _node: &EmptyNode) -> Connection {
        Connection { target: NodeId::from_u128(target), link: Arc::clone(&self.0) }
    }
}

pub(super) struct Connection {
    target: NodeId,
    link: Arc<Link>,
}

impl Connection {
    async fn ask(&self, lane: Lane, ask: Message, timeout: Duration) -> Result<Reply, RPCError<TypeConfig>> {
        match self.link.ask_member(self.target, lane, ask, timeout).await {
            Ok(Reply::Refused(reason)) => Err(RPCError::Unreachable(Unreachable::from_string(reason))),
            Ok(reply) => Ok(reply),
            Err(TransportError::NotSent(reason)) => Err(RPCError::Unreachable(Unreachable::from_string(reason))),
            Err(error @ TransportError::Lost(_)) => Err(RPCError::Network(NetworkError::new(&error))),
        }
    }
}

fn unexpected(reply: &Reply) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(format!("an answer to another question: {reply:?}")))
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotImage;

    async fn append_entries(&mut self, rpc: AppendRequest, option: RPCOption) -> Result<AppendResponse, RPCError<TypeConfig>> {
        // openraft offers one heartbeat's time, which a slow fsync exceeds.
        let timeout = option.hard_ttl().max(RAFT_APPEND_TIMEOUT);
        match self.ask(Lane::Core, Message::Append(rpc), timeout).await? {
            Reply::Append(response) => Ok(response),
            Reply::AppendAt(response, moment) => {
                self.link.replied(self.target, moment);
                Ok(response)
            }
            reply => Err(unexpected(&reply)),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RPCError<TypeConfig>> {
        match self.ask(Lane::Core, Message::Vote(rpc), option.hard_ttl()).await? {
            Reply::Vote(response) => Ok(response),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RPCError<TypeConfig>> {
        match self.ask(Lane::Core, Message::PreVote(rpc), option.hard_ttl()).await? {
            Reply::Vote(response) => Ok(response),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferResponse, RPCError<TypeConfig>> {
        match self.ask(Lane::Core, Message::Transfer(rpc), option.hard_ttl()).await? {
            Reply::Transfer(response) => Ok(response),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot.snapshot) => sent.map_err(StreamingError::from),
        }
    }
}

impl Connection {
    async fn send_snapshot(&self, vote: Vote, image: SnapshotImage) -> Result<SnapshotResponse, RPCError<TypeConfig>> {
        let unreadable = |error: std::io::Error| RPCError::Unreachable(Unreachable::new(&error));
        let sending = rand::random();
        let length = image.len().map_err(unreadable)?;
        let image = Arc::new(image);
        let mut offset = 0;
        loop {
            let reader = Arc::clone(&image);
            let read = tokio::task::spawn_blocking(move || reader.part(offset, RAFT_SNAPSHOT_PART_BYTES)).await;
            let bytes = read.map_err(std::io::Error::other).and_then(|part| part).map_err(unreadable)?;
            let next = offset + bytes.len() as u64;
            let last = next >= length;
            let part = SnapshotPart { sending, vote, offset, bytes, last };
            match self.ask(Lane::Snapshot, Message::Snapshot(part), RAFT_SNAPSHOT_PART_TIMEOUT).await? {
                Reply::SnapshotPart if !last => offset = next,
                Reply::Snapshot(response) if last => return Ok(response),
                reply => return Err(unexpected(&reply)),
            }
        }
    }
}
