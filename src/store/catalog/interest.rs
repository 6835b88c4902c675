//! The keys that wake a read of the catalog, beside the index of its answer: a change of the index must wake the watches.

use super::id_begin;
use crate::model::check::CheckStatus;
use crate::model::operation::{CatalogRead, HealthRead, Lookup};
use crate::store::key::{Key, Scope, key_of};
use crate::store::view::View;

/// The scopes of a read of the family `catalog`; `by_meta` when it chooses nodes by their metadata.
pub(crate) fn catalog_scopes(view: &View, read: &CatalogRead, by_meta: bool) -> Vec<Scope> {
    match read {
        CatalogRead::Nodes => exactly([Key::Nodes]),
        CatalogRead::Services => with_nodes(Key::Services, by_meta),
        CatalogRead::Service { name, lookup } => service_scopes(view, name, *lookup),
        CatalogRead::Node { node } | CatalogRead::NodeServices { node } => node_scopes(view, node),
        CatalogRead::GatewayServices { gateway: _ } => exactly([Key::ServiceGone]),
    }
}

pub(crate) fn catalog_index(view: &View, read: &CatalogRead, by_meta: bool) -> u64 {
    let indexes = &view.catalog.indexes;
    match read {
        CatalogRead::Nodes => indexes.nodes,
        CatalogRead::Services => indexes.services.max(if by_meta { indexes.nodes } else { 0 }),
        CatalogRead::Service { name, lookup } => service_index(view, name, *lookup),
        CatalogRead::Node { node } | CatalogRead::NodeServices { node } => {
            view.catalog.node_or_id(node).map_or(indexes.node_gone, |state| state.services_index)
        }
        CatalogRead::GatewayServices { gateway: _ } => indexes.service_gone,
    }
}

pub(crate) fn health_scopes(view: &View, read: &HealthRead, by_meta: bool) -> Vec<Scope> {
    match read {
        HealthRead::Node { node } => exactly([Key::NodeChecks(key_of(node))]),
        HealthRead::Checks { service } => service_scopes(view, service, Lookup::Plain),
        HealthRead::State { state } => with_nodes(status(state).map_or(Key::Checks, Key::State), by_meta),
        HealthRead::Service { name, lookup } => service_scopes(view, name, *lookup),
        // Votes are part of the check's own row.
        HealthRead::Votes { of } => exactly([of.node.as_ref().map_or(Key::Checks, |node| Key::NodeChecks(key_of(node)))]),
        HealthRead::ObservedBy { node } => exactly([Key::Observed(key_of(node))]),
    }
}

pub(crate) fn health_index(view: &View, read: &HealthRead, by_meta: bool) -> u64 {
    let indexes = &view.catalog.indexes;
    let checks_of = |node: &String| view.catalog.node(node).map_or(indexes.node_gone, |state| state.checks_index);
    match read {
        HealthRead::Node { node } => checks_of(node),
        HealthRead::Checks { service } => service_index(view, service, Lookup::Plain),
        HealthRead::State { state } => {
            let checks = status(state).map_or(indexes.checks, |status| indexes.states[status as usize]);
            checks.max(if by_meta { indexes.nodes } else { 0 })
        }
        HealthRead::Service { name, lookup } => service_index(view, name, *lookup),
        HealthRead::Votes { of } => of.node.as_ref().map_or(indexes.checks, checks_of),
        // The index is that of all observers. An observer gets the same answer again at most once for each time
        // that it is woken.
        HealthRead::ObservedBy { node: _ } => indexes.observers,
    }
}

fn exactly<const N: usize>(keys: [Key; N]) -> Vec<Scope> {
    keys.map(Scope::Exact).into()
}

fn with_nodes(key: Key, by_meta: bool) -> Vec<Scope> {
    if by_meta { exactly([key, Key::Nodes]) } else { exactly([key]) }
}

/// A node by its name. A text that is no name may be the beginning of an id: then all nodes whose id begins so count,
/// because the text means a node only while there is one.
fn node_scopes(view: &View, text: &str) -> Vec<Scope> {
    let mut scopes = exactly([Key::Node(key_of(text))]);
    if view.catalog.node(text).is_none() {
        scopes.extend(id_begin(text).map(Key::NodeId).map(Scope::Prefix));
        let by_id = view.catalog.node_or_id(text).map(|state| Key::Node(key_of(&state.row.node.node)));
        scopes.extend(by_id.map(Scope::Exact));
    }
    scopes
}

/// A watch of an absent service compares the index of losses, so it hears of losses too.
fn service_scopes(view: &View, name: &str, lookup: Lookup) -> Vec<Scope> {
    let key = match lookup {
        Lookup::Plain => Key::Service(key_of(name)),
        Lookup::Connect => Key::Connect(key_of(name)),
        Lookup::Ingress => return exactly([Key::ServiceGone]),
    };
    if view.catalog.group(name, lookup).is_some() { exactly([key]) } else { exactly([key, Key::ServiceGone]) }
}

fn service_index(view: &View, name: &str, lookup: Lookup) -> u64 {
    view.catalog.group(name, lookup).map_or_else(|| view.catalog.absent_service_index(), |group| group.index)
}

/// The state that `text` names without regard to case; none for `any` and for an unknown state.
fn status(text: &str) -> Option<CheckStatus> {
    text.to_ascii_lowercase().parse().ok()
}
