//! One consistent state of all tables: persistent maps, cheap to copy, shared by readers.

use super::catalog::{Catalog, NodeRef};
use super::coordinate::Coordinates;
use super::format::Format;
use super::kv::{Keys, LockDelay};
use super::session::Sessions;
use super::table::Table;
use crate::model::autopilot::AutopilotConfig;
use crate::model::coordinate::Coordinate;
use crate::model::ids::SessionId;
use crate::model::kv::{KvEntry, KvKey};
use crate::model::operation::Lookup;
use crate::model::removals::Removals;
use crate::model::session::Session;
use std::sync::Arc;

/// One consistent state of everything, immutable once it is published.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) datacenter: Arc<str>,
    /// The format level in force, and the count of commands.
    pub(super) format: Format,
    pub(super) catalog: Catalog,
    pub(super) coordinates: Coordinates,
    /// The clusters of other datacenters that are removed.
    pub(super) removals: Arc<Removals>,
    /// Unset until a leader has written it down.
    pub(super) autopilot: Option<Arc<AutopilotConfig>>,
    /// Keys and values.
    pub(super) keys: Keys,
    /// Sessions.
    pub(super) sessions: Sessions,
}

impl View {
    pub(super) fn empty(datacenter: &str) -> View {
        View { datacenter: datacenter.into(), ..View::default() }
    }

    /// All tables, in the order of their records in a snapshot. One that is not listed does not compile.
    pub(super) fn tables(&self) -> [&dyn Table; 7] {
        let View { datacenter: _, format, catalog, coordinates, removals, autopilot, keys, sessions } = self;
        [format, catalog, coordinates, removals, autopilot, sessions, keys]
    }

    /// The same view as that of `datacenter`.
    pub(super) fn moved_to(mut self, datacenter: &Arc<str>) -> View {
        if self.datacenter != *datacenter {
            self.datacenter = Arc::clone(datacenter);
            let View { datacenter, format, catalog, coordinates, removals, autopilot, keys, sessions } = &mut self;
            let tables: [&mut dyn Table; 7] = [format, catalog, coordinates, removals, autopilot, sessions, keys];
            tables.into_iter().for_each(|table| table.move_to(datacenter));
        }
        self
    }

    /// The session of an id.
    pub fn session(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.sessions.get(id)
    }

    /// The sessions that end unless they are renewed.
    pub fn mortal_sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.all().filter(|session| session.life().is_some())
    }

    /// The entries that end unless they are written again.
    pub fn mortal_keys(&self) -> impl Iterator<Item = &Arc<KvEntry>> {
        self.keys.timed()
    }

    /// The locks that cannot be taken yet.
    pub fn lock_delays(&self) -> impl Iterator<Item = (&KvKey, &LockDelay)> {
        self.keys.delays()
    }

    /// How many deleted keys are remembered, and the index of the last change of a key.
    pub fn tombstones(&self) -> (usize, u64) {
        (self.keys.tombstones(), self.keys.last())
    }

    /// The instances of a service: the id of the node, address and port.
    pub fn instances(&self, service: &str) -> Vec<(String, String, u16)> {
        let group = self.catalog.group(service, Lookup::Plain);
        let entries = group.into_iter().flat_map(|group| &group.entries);
        entries
            .map(|entry| {
                let (node, service) = (&entry.node.node, &entry.service.service);
                let address = if service.address.is_empty() { &node.address } else { &service.address };
                (node.id.clone(), address.clone(), service.port)
            })
            .collect()
    }

    /// The node of that name, in any spelling of its case.
    pub fn node_named(&self, name: &str) -> Option<NodeRef<'_>> {
        self.catalog.node(name).map(|state| NodeRef(state))
    }

    pub fn all_nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.catalog.nodes.values().map(|state| NodeRef(state))
    }

    pub fn coordinate_of(&self, node: &str) -> Option<&Coordinate> {
        self.coordinates.of(node).map(|row| &row.coordinate.coord)
    }
}
