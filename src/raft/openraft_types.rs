//! openraft's types under short names for the files of this room. Nothing in here leaves the room.

use crate::defaults::COMMAND_BYTES;
use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::packed;
use bytes::Bytes;
use openraft::EmptyNode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};

/// A command as the log carries it: encoded once by its proposer, passed on as bytes, decoded when it is applied.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoggedCommand(Bytes);

impl LoggedCommand {
    /// Encodes `command` with the names of its fields. One that cannot be sent, or not be read back as it is, is refused.
    pub(crate) fn encode(command: &Command) -> Result<LoggedCommand, Fault> {
        let mut encoded = Encoded::default();
        let written = rmp_serde::encode::write_named(&mut encoded, command);
        if encoded.is_over {
            metrics::counter!("kontor.raft.commands_too_large").increment(1);
            return Err(Fault::bad_request(format!(
                "The write is larger than the {COMMAND_BYTES} bytes that the log takes at a time; send it in parts"
            )));
        }
        written.map_err(|error| Fault::failed(format!("the command cannot be encoded: {error}")))?;
        packed::check(&encoded.bytes, packed::COMMAND).map_err(|excess| {
            metrics::counter!("kontor.raft.commands_too_large").increment(1);
            Fault::bad_request(format!("The write is more than the log takes at a time: {excess}"))
        })?;
        let logged = LoggedCommand(encoded.bytes.into());
        match logged.decode() {
            Ok(again) if again == *command => Ok(logged),
            again => {
                metrics::counter!("kontor.raft.commands_unfaithful").increment(1);
                let why = again.err().unwrap_or_else(|| "another one is read back".to_owned());
                Err(Fault::bad_request(format!("The write cannot be kept as it is: {why}")))
            }
        }
    }

    pub(crate) fn decode(&self) -> Result<Command, String> {
        let command = rmp_serde::from_slice(&self.0).map_err(|error| {
            let (bytes, own) = (self.0.len(), env!("CARGO_PKG_VERSION"));
            format!("a log entry of {bytes} bytes is no command that this version ({own}) knows; start a later one: {error}")
        })?;
        if let Command::RaiseLevel(level) = &command {
            level.check()?;
        }
        Ok(command)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The bytes of a command in the making; over the bound none are kept.
#[derive(Default)]
struct Encoded {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_over |= self.bytes.len() + bytes.len() > COMMAND_BYTES;
        if self.is_over {
            return Err(io::Error::other("over the bound"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The commands of one log entry, in order: those that waited together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoggedGroup(pub(crate) Vec<LoggedCommand>);

impl LoggedGroup {
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(LoggedCommand::len).sum()
    }
}

impl fmt::Display for LoggedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands of {} bytes", self.0.len(), self.len())
    }
}

// openraft's traces print it: its content belongs to users.
impl fmt::Debug for LoggedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    /// No addresses: a node is its id, and the transport finds it.
    pub(crate) TypeConfig:
        D = LoggedGroup,
        R = Vec<Result<Written, Fault>>,
        NodeId = u128,
        Node = EmptyNode,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// How many bytes of the log an entry stands for, roughly; for bounds in bytes.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    /// The cost of an entry beside its command: log id, framing, and its room in memory.
    const OVERHEAD: usize = 128;
    OVERHEAD
        + match &entry.payload {
            openraft::EntryPayload::Normal(group) => group.len(),
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
        }
}
