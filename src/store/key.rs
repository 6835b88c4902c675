//! What changes as one: the names by which changes and those who wait for them find each other.

use crate::model::check::CheckStatus;
use crate::model::ids::SessionId;
use crate::model::kv::KvKey;
use std::sync::Arc;

/// The form under which names are compared: Consul pays no regard to their case.
pub(super) fn key_of(name: &str) -> Arc<str> {
    name.to_lowercase().into()
}

/// A thing that changes as one. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// The list of nodes.
    Nodes,
    /// The list of instances.
    Services,
    /// The list of checks.
    Checks,
    /// The list of coordinates.
    Coordinates,
    /// The checks that are in one state.
    State(CheckStatus),
    /// A node and its services.
    Node(Arc<str>),
    /// The node that has an id.
    NodeId(Arc<str>),
    /// The checks of a node.
    NodeChecks(Arc<str>),
    /// The coordinate of a node.
    Coordinate(Arc<str>),
    /// The instances of a service, their nodes and checks.
    Service(Arc<str>),
    /// The instances that speak for a service in a mesh.
    Connect(Arc<str>),
    /// Some service lost its last instance.
    ServiceGone,
    /// Which clusters of other datacenters are removed.
    Removals,
    /// How servers are treated.
    Autopilot,
    /// Which checks are voted on, and who observes them.
    Voted,
    /// Which checks an agent observes, and how they are probed.
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

/// What a watch hears of.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// One thing.
    Exact(Key),
    /// All things of the same kind whose name begins with the name of this one.
    Prefix(Key),
}

impl Key {
    /// The name, of things that have one.
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
