//! What the answer to a query depends on: the keys that wake it, and the index it carries.
//!
//! Kept side by side for each read, because both must speak of the same things: whatever moves the
//! index of an answer must wake who waits for that answer.

use super::rows::key_of;
use super::view::{View, id_begin};
use super::watch::Key;
use crate::model::check::CheckStatus;
use crate::model::operation::{CatalogRead, CoordinateRead, HealthRead, Lookup, ViewRead};
use crate::model::query::ViewQuery;

/// What a watch on `query` hears of.
pub(super) fn keys(view: &View, query: ViewQuery<'_>) -> Vec<Key> {
    let by_meta = !query.selection.node_meta.is_empty();
    let with_nodes = |key: Key| if by_meta { vec![key, Key::Nodes] } else { vec![key] };
    match query.read {
        ViewRead::Catalog(read) => match read {
            CatalogRead::Nodes => vec![Key::Nodes],
            CatalogRead::Services => with_nodes(Key::Services),
            CatalogRead::Service { name, lookup } => service_keys(view, name, *lookup),
            CatalogRead::Node { node } | CatalogRead::NodeServices { node } => node_keys(view, node),
            CatalogRead::GatewayServices { gateway: _ } => vec![Key::ServiceGone],
        },
        ViewRead::Health(read) => match read {
            HealthRead::Node { node } => vec![Key::NodeChecks(key_of(node))],
            HealthRead::Checks { service } => service_keys(view, service, Lookup::Plain),
            HealthRead::State { state } => with_nodes(status(state).map_or(Key::Checks, Key::State)),
            HealthRead::Service { name, lookup } => service_keys(view, name, *lookup),
            // Votes are part of the check's own row.
            HealthRead::Votes { of } => vec![of.node.as_ref().map_or(Key::Checks, |node| Key::NodeChecks(key_of(node)))],
            HealthRead::ObservedBy { node } => vec![Key::Observed(key_of(node))],
        },
        ViewRead::Coordinate(CoordinateRead::Nodes) => vec![Key::Coordinates],
        ViewRead::Coordinate(CoordinateRead::Node { node }) => vec![Key::Coordinate(key_of(node))],
    }
}

/// What is not there yet may come by that name, or with that id under any name.
fn node_keys(view: &View, text: &str) -> Vec<Key> {
    match view.node_or_id(text) {
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
    if view.group(name, lookup).is_some() { vec![key] } else { vec![key, Key::ServiceGone] }
}

/// The index that the answer to `query` carries, at least 1.
pub(super) fn index(view: &View, query: ViewQuery<'_>) -> u64 {
    let indexes = &view.indexes;
    let nodes_by_meta = if query.selection.node_meta.is_empty() { 0 } else { indexes.nodes };
    let checks_of = |node: &String| view.node(node).map_or(indexes.node_gone, |state| state.checks_index);
    let index = match query.read {
        ViewRead::Catalog(read) => match read {
            CatalogRead::Nodes => indexes.nodes,
            CatalogRead::Services => indexes.services.max(nodes_by_meta),
            CatalogRead::Service { name, lookup } => service_index(view, name, *lookup),
            CatalogRead::Node { node } | CatalogRead::NodeServices { node } => {
                view.node_or_id(node).map_or(indexes.node_gone, |state| state.services_index)
            }
            CatalogRead::GatewayServices { gateway: _ } => indexes.service_gone,
        },
        ViewRead::Health(read) => match read {
            HealthRead::Node { node } => checks_of(node),
            HealthRead::Checks { service } => service_index(view, service, Lookup::Plain),
            HealthRead::State { state } => {
                let checks = status(state).map_or(indexes.checks, |status| indexes.states[status as usize]);
                checks.max(nodes_by_meta)
            }
            HealthRead::Service { name, lookup } => service_index(view, name, *lookup),
            HealthRead::Votes { of } => of.node.as_ref().map_or(indexes.checks, checks_of),
            // That of all observers, moved by more than what wakes one of them: it gets the same answer again
            // when it asks next, at most once for each time it is woken.
            HealthRead::ObservedBy { node: _ } => indexes.observers,
        },
        ViewRead::Coordinate(CoordinateRead::Nodes) => indexes.coordinates,
        ViewRead::Coordinate(CoordinateRead::Node { node }) => {
            view.coordinates.get(&key_of(node)).map_or(indexes.node_gone, |row| row.index)
        }
    };
    index.max(1)
}

fn service_index(view: &View, name: &str, lookup: Lookup) -> u64 {
    view.group(name, lookup).map_or_else(|| view.absent_service_index(), |group| group.index)
}

/// The state that `text` names without regard to case; none for `any`, and for what is no state.
fn status(text: &str) -> Option<CheckStatus> {
    text.to_ascii_lowercase().parse().ok()
}
