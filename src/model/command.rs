//! The commands that Raft replicates, and their results.

use super::autopilot::AutopilotConfig;
use super::check::HealthCheck;
use super::coordinate::NodeCoordinate;
use super::ids::{ClusterId, SessionId};
use super::kv::{KvChange, KvKey};
use super::level::{self, Level};
use super::service::NodeService;
use super::session::Session;
use super::txn::{TxnOp, TxnOutcome};
use super::vote::{Assign, Ballot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of `PUT /v1/catalog/register`: a node with, if wanted, one service and some checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Register {
    /// The datacenter to register in; the agent's own when empty.
    pub datacenter: String,
    /// UUID of the node, or empty.
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    pub address: String,
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    pub node_meta: Option<BTreeMap<String, String>>,
    pub service: Option<NodeService>,
    pub check: Option<HealthCheck>,
    pub checks: Vec<HealthCheck>,
    /// An existing node's own fields stay as they are.
    pub skip_node_update: bool,
}

/// The body of `PUT /v1/catalog/deregister`: a service, else a check, else a whole node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Deregister {
    /// The datacenter to deregister in; the agent's own when empty.
    pub datacenter: String,
    pub node: String,
    /// Accepted and not used.
    pub address: String,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    #[serde(rename = "CheckID")]
    pub check_id: String,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Upsert a node, a service and checks, atomically.
    Register(Box<Register>),
    Deregister(Deregister),
    /// New coordinates of some nodes; unknown nodes are passed over.
    UpdateCoordinates(Vec<NodeCoordinate>),
    /// Several commands in order, each with its own outcome; the first refusal is the result.
    Batch(Vec<Command>),
    /// Refuse a cluster of another datacenter from now on; without an id, every cluster of that name.
    RemoveDatacenter {
        datacenter: String,
        cluster: Option<ClusterId>,
    },
    ReadmitDatacenter {
        datacenter: String,
    },
    /// Assign observers to voted checks. Only the leader's own duties propose it.
    AssignObservers(Vec<Assign>),
    /// Count the votes of one agent, taken at that time: milliseconds since the Unix epoch.
    Vote {
        ballot: Ballot,
        at: u64,
    },
    /// Set autopilot's configuration; with an index, only where the one in force was changed at that index last. Index 0
    /// means that there is none yet.
    SetAutopilot {
        config: Box<AutopilotConfig>,
        only_at: Option<u64>,
    },
    /// Raise the format level in force; a lower level is passed over. Only Raft itself proposes it.
    RaiseLevel(Level),
    /// Change keys.
    Kv(Box<KvChange>),
    /// Make a session, with the id that the leader has drawn.
    CreateSession(Box<Session>),
    /// End sessions; unknown ones are passed over.
    EndSessions(Vec<SessionId>),
    /// Do all or none of these.
    Txn(Vec<TxnOp>),
    /// Delete the keys whose time is over and that were changed last at these indexes. Only the leader's own duties
    /// propose it, like the next two.
    ExpireKeys(Vec<(KvKey, u64)>),
    /// Take the lock delays away that began at these indexes: their time is over.
    EndLockDelays(Vec<(KvKey, u64)>),
    /// Forget the deletions up to this index.
    ReapTombstones(u64),
}

impl Command {
    /// The least format level of servers that read it. [`Command::RaiseLevel`] is proposed only to servers that read it.
    pub fn level(&self) -> u32 {
        match self {
            Command::Register(_)
            | Command::Deregister(_)
            | Command::UpdateCoordinates(_)
            | Command::RemoveDatacenter { .. }
            | Command::ReadmitDatacenter { .. } => level::BASE,
            Command::AssignObservers(_) | Command::Vote { .. } => level::VOTES,
            Command::SetAutopilot { .. } => level::AUTOPILOT,
            Command::RaiseLevel(to) => to.number.max(level::COMMAND_INDEXES),
            Command::Kv(_)
            | Command::CreateSession(_)
            | Command::EndSessions(_)
            | Command::Txn(_)
            | Command::ExpireKeys(_)
            | Command::EndLockDelays(_)
            | Command::ReapTombstones(_) => level::KV,
            Command::Batch(commands) => commands.iter().map(Command::level).max().unwrap_or(0),
        }
    }
}

/// The typed result of a command, as its user gets it over every hop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    #[default]
    Done,
    /// True when a compare-and-set has set.
    Set(bool),
    /// The session that was made.
    Session(SessionId),
    /// The session that was renewed, and the milliseconds for which it lives at least from when the leader renewed it.
    Renewed { session: Box<Session>, valid_ms: Option<u64> },
    /// The results of a transaction.
    Txn(Box<TxnOutcome>),
}

/// The result of a write. A user's mistake is a [`Fault`](super::fault::Fault) in its place, never an error of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// The index of its command; 0 where there is none.
    pub index: u64,
    pub effect: Effect,
}
