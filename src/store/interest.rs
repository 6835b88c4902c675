//! What the answer to a query depends on: the keys that wake it, and the index it carries.
//!
//! Kept side by side for each read, because both must speak of the same things: whatever moves the
//! index of an answer must wake who waits for that answer.

use super::catalog::id_begin;
use super::key::{Key, key_of};
use super::view::View;
use crate::model::check::CheckStatus;
use crate::model::query::{Lookup, Query, Read};

/// What a watch on `query` hears of.
pub(super) fn keys(view: &View, query: &Query) -> Vec<Key> {
    let by_meta = !query.options.node_meta.is_empty();
    let with_nodes = |key: Key| if by_meta { vec![key, Key::Nodes] } else { vec![key] };
    match &query.read {
        Read::CatalogNodes => vec![Key::Nodes],
        Read::CatalogServices => with_nodes(Key::Services),
        Read::CatalogService { name, lookup } | Read::HealthService { name, lookup } => service_keys(view, name, *lookup),
        Read::HealthChecks { service } => service_keys(view, service, Lookup::Plain),
        Read::CatalogNode { node } | Read::CatalogNodeServices { node } => node_keys(view, node),
        Read::CatalogGatewayServices { .. } => vec![Key::ServiceGone],
        Read::HealthNode { node } => vec![Key::NodeChecks(key_of(node))],
        Read::HealthState { state } => with_nodes(status(state).map_or(Key::Checks, Key::State)),
        // Votes are part of the check's own row.
        Read::HealthVotes { of } => vec![of.node.as_ref().map_or(Key::Checks, |node| Key::NodeChecks(key_of(node)))],
        Read::ObservedBy { node } => vec![Key::Observed(key_of(node))],
        Read::CoordinateNodes => vec![Key::Coordinates],
        Read::CoordinateNode { node } => vec![Key::Coordinate(key_of(node))],
        Read::CoordinateDatacenters
        | Read::Datacenters
        | Read::StatusLeader
        | Read::StatusPeers
        | Read::Federation { .. }
        | Read::FederationDoctor { .. }
        | Read::DialBack { .. }
        | Read::RaftConfiguration
        | Read::AutopilotConfiguration
        | Read::AutopilotHealth
        | Read::AutopilotState => Vec::new(),
    }
}

/// What is not there yet may come by that name, or with that id under any name.
fn node_keys(view: &View, text: &str) -> Vec<Key> {
    match view.catalog.node_or_id(text) {
        Some(state) => vec![Key::Node(key_of(&state.row.node.node))],
        None if id_begin(text).is_some() => vec![Key::Node(key_of(text)), Key::Nodes],
        None => vec![Key::Node(key_of(text))],
    }
}

/// Who watches a service that is not there compares the index of losses, so it hears of losses too.
fn service_keys(view: &View, name: &str, lookup: Lookup) -> Vec<Key> {
    let key = match lookup {
        Lookup::Plain => Key::Service(key_of(name)),
        Lookup::Connect => Key::Connect(key_of(name)),
        Lookup::Ingress => return vec![Key::ServiceGone],
    };
    if view.catalog.group(name, lookup).is_some() { vec![key] } else { vec![key, Key::ServiceGone] }
}

/// The index that the answer to `query` carries, at least 1.
pub(super) fn index(view: &View, query: &Query) -> u64 {
    let indexes = &view.catalog.indexes;
    let nodes_by_meta = if query.options.node_meta.is_empty() { 0 } else { indexes.nodes };
    let index = match &query.read {
        Read::CatalogNodes => indexes.nodes,
        Read::CatalogServices => indexes.services.max(nodes_by_meta),
        Read::CatalogService { name, lookup } | Read::HealthService { name, lookup } => service_index(view, name, *lookup),
        Read::HealthChecks { service } => service_index(view, service, Lookup::Plain),
        Read::CatalogNode { node } | Read::CatalogNodeServices { node } => {
            view.catalog.node_or_id(node).map_or(indexes.node_gone, |state| state.services_index)
        }
        Read::CatalogGatewayServices { .. } => indexes.service_gone,
        Read::HealthNode { node } => view.catalog.node(node).map_or(indexes.node_gone, |state| state.checks_index),
        Read::HealthState { state } => {
            let checks = status(state).map_or(indexes.checks, |status| indexes.states[status as usize]);
            checks.max(nodes_by_meta)
        }
        Read::HealthVotes { of } => {
            let of_node = |node: &String| view.catalog.node(node).map_or(indexes.node_gone, |state| state.checks_index);
            of.node.as_ref().map_or(indexes.checks, of_node)
        }
        // That of all observers, moved by more than what wakes one of them: it gets the same answer again
        // when it asks next, at most once for each time it is woken.
        Read::ObservedBy { .. } => indexes.observers,
        Read::CoordinateNodes => view.coordinates.index,
        Read::CoordinateNode { node } => view.coordinates.of(node).map_or(indexes.node_gone, |row| row.index),
        Read::CoordinateDatacenters
        | Read::Datacenters
        | Read::StatusLeader
        | Read::StatusPeers
        | Read::Federation { .. }
        | Read::FederationDoctor { .. }
        | Read::DialBack { .. }
        | Read::RaftConfiguration
        | Read::AutopilotConfiguration
        | Read::AutopilotHealth
        | Read::AutopilotState => 0,
    };
    index.max(1)
}

fn service_index(view: &View, name: &str, lookup: Lookup) -> u64 {
    view.catalog.group(name, lookup).map_or_else(|| view.catalog.absent_service_index(), |group| group.index)
}

/// The state that `text` names without regard to case; none for `any`, and for what is no state.
fn status(text: &str) -> Option<CheckStatus> {
    text.to_ascii_lowercase().parse().ok()
}
