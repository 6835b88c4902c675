//! The answers of `/v1/catalog/`, put together from the fragments of the rows.

use super::group::{Entry, Group};
use super::node_state::NodeState;
use super::rows::{NodeRow, ServiceRow};
use crate::model::fault::Fault;
use crate::model::node::Node;
use crate::model::service::NodeService;
use crate::store::json::List;
use crate::store::select::{Select, translated_node, translated_service};
use crate::store::view::View;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// `catalog/nodes`
pub(crate) fn nodes(view: &View, select: &Select<'_>) -> Result<Bytes, Fault> {
    select.check_filter(|| shape(&[NodeRow::new(Node::default()).json()]))?;
    let mut rows = Vec::new();
    for row in view.catalog.nodes.values().map(|state| &state.row) {
        if select.wants_node(row) && select.matches(&[row.json()])? {
            rows.push(row);
        }
    }
    select.sort_near(&mut rows, |row| &row.node.node);
    let mut list = List::new();
    for row in rows {
        if select.translates() { list.push(&[translated_node(row).json()]) } else { list.push(&[row.json()]) }
    }
    Ok(list.finish())
}

/// `catalog/services`: the tags in use, by name.
pub(crate) fn services(view: &View, select: &Select<'_>) -> Bytes {
    let mut list = List::object();
    for group in view.catalog.services.values() {
        let part = if select.is_by_meta() {
            tags_of(group, |entry| select.wants_node(&entry.node))
        } else {
            group.tags.get_or_render(|| tags_of(group, |_| true))
        };
        if !part.is_empty() {
            list.push(&[&part]);
        }
    }
    list.finish()
}

/// `"web":["v1"]`, for each spelling of a group's name; nothing when no entry is wanted.
fn tags_of(group: &Group, keep: impl Fn(&Entry) -> bool) -> Bytes {
    let json = serde_json::to_vec(&group.tags_by_name(keep)).unwrap_or_default();
    let inner = json.len().saturating_sub(1);
    Bytes::from(json).slice(1.min(inner)..inner)
}

/// `catalog/service/:name` and `catalog/connect/:name`
pub(crate) fn service(group: Option<&Arc<Group>>, select: &Select<'_>) -> Result<Bytes, Fault> {
    select.check_filter(|| {
        let (node, service) = (NodeRow::new(Node::default()), ServiceRow::new(NodeService::default()));
        shape(&[node.flat(), service.flat()])
    })?;
    let Some(group) = group else { return Ok(List::new().finish()) };
    if select.is_plain() {
        return Ok(group.catalog_body.get_or_render(|| flat_rows(group.entries.iter())));
    }
    let mut entries = Vec::new();
    for entry in group.entries.iter().filter(|entry| select.wants_entry(entry)) {
        if select.matches(&[entry.node.flat(), entry.service.flat()])? {
            entries.push(entry);
        }
    }
    select.sort_near(&mut entries, |entry| &entry.node.node.node);
    if !select.translates() {
        return Ok(flat_rows(entries.into_iter()));
    }
    let mut list = List::new();
    for entry in entries {
        list.push(&[translated_node(&entry.node).flat(), translated_service(&entry.service).flat()]);
    }
    Ok(list.finish())
}

fn flat_rows<'a>(entries: impl Iterator<Item = &'a Arc<Entry>> + Clone) -> Bytes {
    let mut list = List::new();
    list.reserve(entries.clone().map(|entry| entry.node.flat().len() + entry.service.flat().len() + 1).sum());
    for entry in entries {
        list.push(&[entry.node.flat(), entry.service.flat()]);
    }
    list.finish()
}

/// `catalog/node/:node`: the node and its services by id; `null` for one that is not known.
pub(crate) fn node(state: Option<&Arc<NodeState>>, select: &Select<'_>) -> Result<Bytes, Fault> {
    check_service_filter(select)?;
    let Some(state) = state else { return Ok(Bytes::from_static(b"null")) };
    let mut services = List::object();
    each_service(state, select, |row| {
        let id = serde_json::to_vec(&row.service.id).unwrap_or_default();
        services.push(&[&id, b":", row.json()]);
    })?;
    Ok(node_with(state, select, &services.finish()))
}

/// `catalog/node-services/:node`: the same with the services as a list.
pub(crate) fn node_services(state: Option<&Arc<NodeState>>, select: &Select<'_>) -> Result<Bytes, Fault> {
    check_service_filter(select)?;
    let Some(state) = state else { return Ok(Bytes::from_static(br#"{"Node":null,"Services":[]}"#)) };
    let mut services = List::new();
    each_service(state, select, |row| services.push(&[row.json()]))?;
    Ok(node_with(state, select, &services.finish()))
}

fn check_service_filter(select: &Select<'_>) -> Result<(), Fault> {
    select.check_filter(|| shape(&[ServiceRow::new(NodeService::default()).json()]))
}

fn each_service(state: &NodeState, select: &Select<'_>, mut add: impl FnMut(&ServiceRow)) -> Result<(), Fault> {
    for row in &state.services {
        if select.matches(&[row.json()])? {
            if select.translates() { add(&translated_service(row)) } else { add(row) }
        }
    }
    Ok(())
}

fn node_with(state: &NodeState, select: &Select<'_>, services: &[u8]) -> Bytes {
    let node = if select.translates() { translated_node(&state.row).json().clone() } else { state.row.json().clone() };
    let parts: [&[u8]; 5] = [br#"{"Node":"#, &node, br#","Services":"#, services, b"}"];
    parts.concat().into()
}

/// A row with every field at its zero value, by which a filter's selectors are checked.
pub(crate) fn shape(parts: &[&[u8]]) -> Value {
    serde_json::from_slice(&parts.concat()).unwrap_or_default()
}
