//! What servers say to each other: our envelope around openraft's messages and our own.
//!
//! The network writes it and [`Raft::handle`](super::Raft::handle) reads it. One version byte, then
//! MessagePack with field names. Everything that is not addressed to this server and this cluster is
//! refused here, before openraft sees it.

use super::bootstrap::{Grant, GrantAnswer};
use super::openraft_types::{
    AppendRequest, AppendResponse, SnapshotResponse, TransferRequest, TransferResponse, Vote, VoteRequest, VoteResponse,
};
use crate::model::ids::{ClusterId, NodeId};
use crate::model::packed;
use bytes::Bytes;
use openraft::entry::RaftEntry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Comes first in every message.
const VERSION: u8 = 1;

/// A message with who says it to whom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The sender's cluster; in an [`Message::Grant`] the one proposed.
    pub(crate) cluster: ClusterId,
    /// The sender.
    pub(crate) from: NodeId,
    /// Whom it is for.
    pub(crate) to: NodeId,
    /// What it says.
    pub(crate) ask: Message,
    /// In an [`Message::Append`]: what the leader counts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<Counts>,
    /// In an [`Message::Append`] of a leader that leads for sure: what [`Message::Echo`] would be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) echo: Option<Echo>,
}

/// A moment of a follower, which means something to that one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// The run of the program in which it was.
    pub(crate) run: u64,
    /// Microseconds since that began.
    pub(crate) at: u64,
}

/// How far a leader had committed after a moment of the follower it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Echo {
    /// The moment that came with the follower's last reply; none before the first.
    pub(crate) after: Option<Moment>,
    /// Everything acknowledged before that moment is at or below this index.
    pub(crate) index: u64,
}

/// What a leader takes for granted of the server it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// It is a voter.
    pub(crate) voter: bool,
    /// It has acknowledged the log up to here, in the term of this leader.
    pub(crate) matched: Option<u64>,
}

/// What a message asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// openraft's AppendEntries; a heartbeat when empty.
    Append(AppendRequest),
    /// openraft's RequestVote.
    Vote(VoteRequest),
    /// The same without consequences.
    PreVote(VoteRequest),
    /// The leader wants the receiver, or another, to lead.
    Transfer(TransferRequest),
    /// A part of a snapshot.
    Snapshot(SnapshotPart),
    /// How far have you committed, as leader for sure?
    Echo,
    /// Grant this set.
    Grant(Grant),
    /// Is the proposal of this cluster still yours?
    GrantStatus,
}

/// Some bytes of a snapshot on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPart {
    /// Tells one sending from the next.
    pub(crate) sending: u64,
    /// The sender's vote.
    pub(crate) vote: Vote,
    /// Where the bytes belong.
    pub(crate) offset: u64,
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// Whether they are the last.
    pub(crate) last: bool,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To [`Message::Append`].
    Append(AppendResponse),
    /// To an [`Message::Append`] with an [`Echo`], whose next one this moment shall come back with.
    AppendAt(AppendResponse, Moment),
    /// To [`Message::Vote`] and [`Message::PreVote`].
    Vote(VoteResponse),
    /// To [`Message::Transfer`].
    Transfer(TransferResponse),
    /// To a part of a snapshot that is not the last.
    SnapshotPart,
    /// To the last part.
    Snapshot(SnapshotResponse),
    /// To [`Message::Echo`]: everything acknowledged before the question is at or below this index.
    Echo(u64),
    /// To [`Message::Grant`].
    Grant(GrantAnswer),
    /// To [`Message::GrantStatus`]: whether the proposal lives, or has become a cluster.
    GrantStatus(bool),
    /// It was not done, for this reason.
    Refused(String),
}

/// Encodes a message or an answer.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| format!("a Raft message cannot be encoded: {error}"))?;
    Ok(bytes.into())
}

/// The reverse of [`encode`]; the text of an error says what is wrong with the bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => packed::decode(rest).map_err(|error| format!("the message cannot be read: {error}")),
        Some((version, _)) => Err(format!("expected version {VERSION} of Raft's messages, got {version}")),
        None => Err("the message is empty".to_owned()),
    }
}

impl Envelope {
    /// The vote that the message was sent under, where it must be the sender's own.
    fn vote(&self) -> Option<&Vote> {
        match &self.ask {
            Message::Append(append) => Some(&append.vote),
            Message::Vote(vote) | Message::PreVote(vote) => Some(&vote.vote),
            Message::Transfer(transfer) => Some(transfer.from_leader()),
            Message::Snapshot(part) => Some(&part.vote),
            Message::Echo | Message::Grant(_) | Message::GrantStatus => None,
        }
    }

    /// Whether it comes from a leader, as opposed to somebody who would like to be one.
    pub(crate) fn is_of_leader(&self) -> bool {
        matches!(self.ask, Message::Append(_) | Message::Snapshot(_)) && self.vote().is_some_and(|vote| vote.is_committed())
    }

    /// Refuses what openraft could stumble over: another's vote, entries with a gap.
    pub(crate) fn check(&self, me: NodeId) -> Result<(), String> {
        if self.to != me {
            return Err(format!("the message is for server {}, this is {me}", self.to));
        }
        if self.from == me {
            return Err("the message names this server as its sender".to_owned());
        }
        if let Some(vote) = self.vote()
            && NodeId::from_u128(vote.leader_id().node_id) != self.from
        {
            return Err(format!("the message of {} carries the vote of another", self.from));
        }
        match &self.ask {
            Message::Append(append) if !append.vote.is_committed() => Err("an append without a leader's vote".to_owned()),
            Message::Append(append) if !is_gapless(append) => Err("the entries have a gap".to_owned()),
            Message::Snapshot(part) if !part.vote.is_committed() => Err("a snapshot without a leader's vote".to_owned()),
            _ => Ok(()),
        }
    }
}

fn is_gapless(append: &AppendRequest) -> bool {
    let Some(first) = append.entries.first() else { return true };
    let follows = match append.prev_log_id {
        Some(previous) => first.index() == previous.index().wrapping_add(1),
        None => first.index() == 0,
    };
    follows && append.entries.windows(2).all(|pair| pair[1].index() == pair[0].index().wrapping_add(1))
}
