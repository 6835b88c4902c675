//! Messages between servers: our envelope around openraft's messages and our own. One version byte, then MessagePack with
//! field names. A message for another server or cluster is refused before openraft sees it.

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

/// The first byte of every message.
const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The sender's cluster; in a [`Message::Grant`] the proposed one.
    pub(crate) cluster: ClusterId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) ask: Message,
    /// In a [`Message::Append`]: the leader's knowledge of the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<Counts>,
    /// In a [`Message::Append`] of a leader with a lease: the answer to a [`Message::Echo`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) echo: Option<Echo>,
}

/// A moment of a follower, which has a meaning for that one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) run: u64,
    /// Microseconds since that run began.
    pub(crate) at: u64,
}

/// A leader's commit index after a moment of the follower it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Echo {
    /// The moment in the follower's last reply; none before the first.
    pub(crate) after: Option<Moment>,
    /// Everything acknowledged before that moment is at or below this index.
    pub(crate) index: u64,
}

/// The leader's knowledge of the server it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) voter: bool,
    /// The last log index that the server has acknowledged in the term of this leader.
    pub(crate) matched: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// openraft's AppendEntries; a heartbeat when empty.
    Append(AppendRequest),
    Vote(VoteRequest),
    /// RequestVote without consequences.
    PreVote(VoteRequest),
    /// The leader wants the receiver, or another, to lead.
    Transfer(TransferRequest),
    Snapshot(SnapshotPart),
    /// Asks a leader with a lease for its commit index.
    Echo,
    Grant(Grant),
    /// Asks the proposer if the proposal of this cluster stands.
    GrantStatus,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPart {
    pub(crate) sending: u64,
    pub(crate) vote: Vote,
    /// The offset of the bytes in the snapshot.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
    pub(crate) last: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendResponse),
    /// To an [`Message::Append`] with an [`Echo`]; the next one carries this moment back.
    AppendAt(AppendResponse, Moment),
    Vote(VoteResponse),
    Transfer(TransferResponse),
    /// To a part of a snapshot but the last.
    SnapshotPart,
    /// To the last part of a snapshot.
    Snapshot(SnapshotResponse),
    /// To [`Message::Echo`]: everything acknowledged before the question is at or below this index.
    Echo(u64),
    Grant(GrantAnswer),
    /// To [`Message::GrantStatus`]: true while the proposal stands, or has become a cluster.
    GrantStatus(bool),
    /// The refusal of any message, with its reason.
    Refused(String),
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| format!("a Raft message cannot be encoded: {error}"))?;
    Ok(bytes.into())
}

/// The reverse of [`encode`]; errors name the fault of the bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => packed::decode(rest).map_err(|error| format!("the message cannot be read: {error}")),
        Some((version, _)) => Err(format!("expected version {VERSION} of Raft's messages, got {version}")),
        None => Err("the message is empty".to_owned()),
    }
}

impl Envelope {
    /// The vote that the message was sent under, if it must be the sender's own.
    fn vote(&self) -> Option<&Vote> {
        match &self.ask {
            Message::Append(append) => Some(&append.vote),
            Message::Vote(vote) | Message::PreVote(vote) => Some(&vote.vote),
            Message::Transfer(transfer) => Some(transfer.from_leader()),
            Message::Snapshot(part) => Some(&part.vote),
            Message::Echo | Message::Grant(_) | Message::GrantStatus => None,
        }
    }

    /// True for messages of a leader, in contrast to a candidate.
    pub(crate) fn is_of_leader(&self) -> bool {
        matches!(self.ask, Message::Append(_) | Message::Snapshot(_)) && self.vote().is_some_and(|vote| vote.is_committed())
    }

    /// Refuses messages that openraft could stumble over: another's vote, entries with a gap.
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
