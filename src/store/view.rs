//! One consistent state of the whole catalog: persistent maps, cheap to copy, shared by readers.
//!
//! [`super::change::Change`] makes the next view out of the last; queries only read. Names are keys
//! in lower case.

use super::group::Group;
use super::node_state::NodeState;
use super::rows::{CheckRow, CoordinateRow, NodeRow, key_of};
use crate::model::autopilot::AutopilotConfig;
use crate::model::check::CheckStatus;
use crate::model::level::{self, Level};
use crate::model::node::Node;
use crate::model::query::Lookup;
use crate::model::removals::Removals;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One consistent state of everything, immutable once it is published.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) datacenter: Arc<str>,
    /// Nodes by name, each with its services and checks.
    pub(super) nodes: OrdMap<Arc<str>, Arc<NodeState>>,
    /// Keys of nodes by their id in lower case.
    pub(super) ids: OrdMap<Arc<str>, Arc<str>>,
    /// Instances by service name.
    pub(super) services: OrdMap<Arc<str>, Arc<Group>>,
    /// Instances by the name they speak for in a mesh.
    pub(super) connect: OrdMap<Arc<str>, Arc<Group>>,
    /// Coordinates by node name.
    pub(super) coordinates: OrdMap<Arc<str>, Arc<CoordinateRow>>,
    /// The checks that are voted on, by the key of their node and their id.
    pub(super) voted: OrdMap<(Arc<str>, Arc<str>), Arc<CheckRow>>,
    /// Which clusters of other datacenters are removed.
    pub(super) removals: Arc<Removals>,
    /// How servers are treated; unset until a leader has written it down.
    pub(super) autopilot: Option<Arc<AutopilotConfig>>,
    /// The format level in force.
    pub(super) level: Arc<Level>,
    pub(super) indexes: Indexes,
}

/// The index of the last command, of the last change of each table, and of the last losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Indexes {
    /// Of the last command.
    pub(super) last: u64,
    pub(super) nodes: u64,
    pub(super) services: u64,
    pub(super) checks: u64,
    pub(super) coordinates: u64,
    /// Of who observes which voted check, and how they are probed.
    pub(super) observers: u64,
    /// Of the checks that are, or were, passing, warning and critical.
    pub(super) states: [u64; 3],
    /// When a service last lost its final instance: what a watcher of an absent service compares.
    pub(super) service_gone: u64,
    /// When a node was last removed: what a watcher of an absent node compares.
    pub(super) node_gone: u64,
}

impl View {
    pub(super) fn empty(datacenter: &str) -> View {
        View { datacenter: datacenter.into(), ..View::default() }
    }

    /// Counts a command of the log entry at `log_index`, and returns its index. Below the level at which each has
    /// one of its own, it is that of the entry: so the count begins at the same place of the log on every server, and
    /// above all indexes before it.
    pub(super) fn count(&mut self, log_index: u64) -> u64 {
        self.indexes.last = if self.is_of(level::COMMAND_INDEXES) { self.indexes.last + 1 } else { log_index };
        self.indexes.last
    }

    /// Whether the format level in force is at least `level`.
    pub(super) fn is_of(&self, level: u32) -> bool {
        self.level.number >= level
    }

    /// Raises the format level in force, where it is lower.
    pub(super) fn raise_level(&mut self, to: Level) {
        if self.level.number < to.number {
            self.level = Arc::new(to);
        }
    }

    pub(super) fn node(&self, name: &str) -> Option<&Arc<NodeState>> {
        self.nodes.get(&key_of(name))
    }

    /// The node by this name, or the only one whose id begins with it: what `catalog/node/` takes.
    pub(super) fn node_or_id(&self, text: &str) -> Option<&Arc<NodeState>> {
        self.node(text).or_else(|| {
            let begin = id_begin(text)?;
            let mut found = self.ids.range(begin.clone()..).take_while(|(id, _)| id.starts_with(&*begin));
            let (_, name) = found.next()?;
            if found.next().is_some() { None } else { self.nodes.get(name) }
        })
    }

    /// The instances that a lookup of `name` means. There are no ingress gateways: which services
    /// one serves is told by configuration entries, and these are not offered.
    pub(super) fn group(&self, name: &str, lookup: Lookup) -> Option<&Arc<Group>> {
        match lookup {
            Lookup::Plain => self.services.get(&key_of(name)),
            Lookup::Connect => self.connect.get(&key_of(name)),
            Lookup::Ingress => None,
        }
    }

    /// The instances of a service: the id of the node, address and port.
    pub fn instances(&self, service: &str) -> Vec<(String, String, u16)> {
        let group = self.group(service, Lookup::Plain);
        let entries = group.into_iter().flat_map(|group| &group.entries);
        entries
            .map(|entry| {
                let (node, service) = (&entry.node.node, &entry.service.service);
                let address = if service.address.is_empty() { &node.address } else { &service.address };
                (node.id.clone(), address.clone(), service.port)
            })
            .collect()
    }

    pub(super) fn groups(&mut self, lookup: Lookup) -> &mut OrdMap<Arc<str>, Arc<Group>> {
        match lookup {
            Lookup::Plain | Lookup::Ingress => &mut self.services,
            Lookup::Connect => &mut self.connect,
        }
    }

    /// Puts a node in as it is, with its services, and moves no index: for a view made anew.
    pub(super) fn place(&mut self, state: NodeState) {
        let node = &state.row.node;
        let key = key_of(&node.node);
        if !node.id.is_empty() {
            self.ids.insert(key_of(&node.id), key.clone());
        }
        for row in &state.services {
            let names = [(Lookup::Plain, Some(row.key.clone())), (Lookup::Connect, row.connect.clone())];
            for (lookup, name) in names {
                let Some(name) = name else { continue };
                let group = self.groups(lookup).entry(name).or_default();
                Arc::make_mut(group).put(state.entry(row));
            }
        }
        for row in state.checks.iter().filter(|row| row.is_voted()) {
            self.voted.insert((key.clone(), row.check.check_id.as_str().into()), row.clone());
        }
        self.nodes.insert(key, Arc::new(state));
    }

    /// Gives a group its index; a group that is not there needs none.
    pub(super) fn place_index(&mut self, lookup: Lookup, key: &str, index: u64) {
        if let Some(group) = self.groups(lookup).get_mut(key) {
            Arc::make_mut(group).index = index;
        }
    }

    /// The same catalog as that of `datacenter`, whose name its nodes carry.
    pub(super) fn moved_to(self, datacenter: &Arc<str>) -> View {
        if self.datacenter == *datacenter {
            return self;
        }
        let View { coordinates, removals, autopilot, level, indexes, .. } = self;
        let mut moved = View { coordinates, removals, autopilot, level, indexes, ..View::empty(datacenter) };
        for state in self.nodes.values() {
            let node = Node { datacenter: datacenter.to_string(), ..state.row.node.clone() };
            moved.place(NodeState { row: Arc::new(NodeRow::new(node)), ..NodeState::clone(state) });
        }
        for (lookup, groups) in [(Lookup::Plain, self.services), (Lookup::Connect, self.connect)] {
            groups.iter().for_each(|(key, group)| moved.place_index(lookup, key, group.index));
        }
        moved
    }

    /// The index of a service that has no instance.
    pub(super) fn absent_service_index(&self) -> u64 {
        let Indexes { nodes, services, checks, service_gone, .. } = self.indexes;
        if service_gone > 0 { service_gone } else { nodes.max(services).max(checks) }
    }
}

/// The text in lower case if it may be the beginning of an id. One digit is too little to mean a node.
pub(super) fn id_begin(text: &str) -> Option<Arc<str>> {
    let fits = (2..=36).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    fits.then(|| key_of(text))
}

impl Indexes {
    pub(super) fn state(&mut self, status: CheckStatus) -> &mut u64 {
        &mut self.states[status as usize]
    }
}
