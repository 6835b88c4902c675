//! Nodes with their services and checks: one family of tables, because their rows hang together.
//!
//! In reading order: a [`Catalog`] is made of `rows`, `node_state` and `group`; its commands are `register` (with
//! `former`), `deregister` and `votes`, which `change` carries out; `reads` finds rows, `answer` shows them (with
//! `translate`), and `interest` wakes their readers; `observed` is for the leader; `records` writes it all out and
//! reads it back.

mod answer;
mod change;
pub(super) mod deregister;
mod former;
mod group;
pub(super) mod interest;
#[cfg(test)]
mod invariants;
mod node_state;
pub(super) mod observed;
pub(super) mod reads;
mod records;
pub(super) mod register;
mod rows;
mod translate;
pub(super) mod votes;

pub use answer::{CatalogRows, Instances, Names, NodeServices};
pub use group::{Entry, Group};
pub use node_state::NodeRef;
pub use observed::Observed;
pub(super) use records::Loading;
pub use rows::{CheckRow, NodeRow, ServiceRow};

use super::key::key_of;
use super::record::Writer;
use super::table::Table;
use crate::model::check::CheckStatus;
use crate::model::node::Node;
use crate::model::operation::Lookup;
use imbl::OrdMap;
use node_state::NodeState;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The nodes with their services and checks, and the lists made of them. Names are keys in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    /// By name.
    pub(super) nodes: OrdMap<Arc<str>, Arc<NodeState>>,
    /// Keys of nodes by their id in lower case.
    pub(super) ids: OrdMap<Arc<str>, Arc<str>>,
    pub(super) services: OrdMap<Arc<str>, Arc<Group>>,
    /// Instances by the name they speak for in a mesh.
    pub(super) connect: OrdMap<Arc<str>, Arc<Group>>,
    /// The checks that are voted on, by the key of their node and their id.
    pub(super) voted: OrdMap<(Arc<str>, Arc<str>), Arc<CheckRow>>,
    pub(super) indexes: Indexes,
}

/// The index of the last change of each list, and of the last losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Indexes {
    pub(super) nodes: u64,
    pub(super) services: u64,
    pub(super) checks: u64,
    /// Of the observers of voted checks, and the definitions that they probe by.
    pub(super) observers: u64,
    /// Of the checks that are, or were, passing, warning and critical.
    pub(super) states: [u64; 3],
    /// Of the last loss of a service's last instance: a watch of an absent service compares it.
    pub(super) service_gone: u64,
    /// Of the last removal of a node: a watch of an absent node compares it.
    pub(super) node_gone: u64,
}

impl Catalog {
    pub(super) fn node(&self, name: &str) -> Option<&Arc<NodeState>> {
        self.nodes.get(&key_of(name))
    }

    /// The node by this name, or the only one whose id begins with it, as in `catalog/node/`.
    pub(super) fn node_or_id(&self, text: &str) -> Option<&Arc<NodeState>> {
        self.node(text).or_else(|| {
            let begin = id_begin(text)?;
            let mut found = self.ids.range(begin.clone()..).take_while(|(id, _)| id.starts_with(&*begin));
            let (_, name) = found.next()?;
            if found.next().is_some() { None } else { self.nodes.get(name) }
        })
    }

    /// The instances that a lookup of `name` means. There are no ingress gateways.
    pub(super) fn group(&self, name: &str, lookup: Lookup) -> Option<&Arc<Group>> {
        match lookup {
            Lookup::Plain => self.services.get(&key_of(name)),
            Lookup::Connect => self.connect.get(&key_of(name)),
            Lookup::Ingress => None,
        }
    }

    pub(super) fn groups(&mut self, lookup: Lookup) -> &mut OrdMap<Arc<str>, Arc<Group>> {
        match lookup {
            Lookup::Plain | Lookup::Ingress => &mut self.services,
            Lookup::Connect => &mut self.connect,
        }
    }

    /// Puts a node in as it is, with its services, and moves no index: for a new view.
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

    pub(super) fn place_index(&mut self, lookup: Lookup, key: &str, index: u64) {
        if let Some(group) = self.groups(lookup).get_mut(key) {
            Arc::make_mut(group).index = index;
        }
    }

    /// The index of a service that has no instance.
    pub(super) fn absent_service_index(&self) -> u64 {
        let Indexes { nodes, services, checks, service_gone, .. } = self.indexes;
        if service_gone > 0 { service_gone } else { nodes.max(services).max(checks) }
    }
}

impl Table for Catalog {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        records::save(self, to)
    }

    /// Rendered rows carry the name of their datacenter.
    fn move_to(&mut self, datacenter: &Arc<str>) {
        let Catalog { nodes, ids: _, services, connect, voted: _, indexes } = std::mem::take(self);
        self.indexes = indexes;
        for state in nodes.values() {
            let node = Node { datacenter: datacenter.to_string(), ..state.row.node.clone() };
            self.place(NodeState { row: Arc::new(NodeRow::new(node)), ..NodeState::clone(state) });
        }
        for (lookup, groups) in [(Lookup::Plain, services), (Lookup::Connect, connect)] {
            groups.iter().for_each(|(key, group)| self.place_index(lookup, key, group.index));
        }
    }

    #[cfg(test)]
    fn index(&self) -> u64 {
        let Indexes { nodes, services, checks, observers, states, service_gone, node_gone } = self.indexes;
        let lists = [nodes, services, checks, observers, service_gone, node_gone];
        lists.into_iter().chain(states).max().unwrap_or_default()
    }

    #[cfg(test)]
    fn verify(&self, view: &super::View) {
        invariants::verify(self, &view.datacenter);
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
