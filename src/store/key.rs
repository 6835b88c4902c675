//! The keys by which changes and their watches find each other.

use crate::model::check::CheckStatus;
use crate::model::ids::SessionId;
use crate::model::kv::KvKey;
use std::sync::Arc;

/// The form under which names are compared: Consul ignores their case.
pub(super) fn key_of(name: &str) -> Arc<str> {
    name.to_lowercase().into()
}

/// A thing that changes as one. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Nodes,
    Services,
    Checks,
    Coordinates,
    State(CheckStatus),
    /// A node and its services.
    Node(Arc<str>),
    NodeId(Arc<str>),
    NodeChecks(Arc<str>),
    Coordinate(Arc<str>),
    /// The instances of a service, their nodes and checks.
    Service(Arc<str>),
    /// The instances that speak for a service in a mesh.
    Connect(Arc<str>),
    /// The loss of some service's last instance.
    ServiceGone,
    Removals,
    Autopilot,
    /// The voted checks and their observers.
    Voted,
    /// The checks that an agent observes, with their definitions.
    Observed(Arc<str>),
    /// An entry.
    Kv(KvKey),
    /// The list of sessions.
    Sessions,
    /// A session.
    Session(SessionId),
    /// The keys that end with time, the lock delays and the deletions.
    Expiry,
}

#[derive(Clone, Debug)]
pub(super) enum Scope {
    Exact(Key),
    /// All keys of the same kind whose name begins with the name of this one.
    Prefix(Key),
}

impl Key {
    /// The name in the key; empty where it has none.
    pub(super) fn name(&self) -> &[u8] {
        match self {
            Key::Node(name)
            | Key::NodeId(name)
            | Key::NodeChecks(name)
            | Key::Coordinate(name)
            | Key::Service(name)
            | Key::Connect(name)
            | Key::Observed(name) => name.as_bytes(),
            Key::Kv(key) => key.as_bytes(),
            Key::Nodes
            | Key::Services
            | Key::Checks
            | Key::Coordinates
            | Key::State(_)
            | Key::ServiceGone
            | Key::Removals
            | Key::Autopilot
            | Key::Voted
            | Key::Sessions
            | Key::Session(_)
            | Key::Expiry => b"",
        }
    }
}
