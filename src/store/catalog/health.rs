//! The answers of `/v1/health/`, put together from the fragments of the rows.

use super::group::{Entry, Group};
use super::listing::shape;
use super::node_state::NodeState;
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::model::check::{CheckStatus, HealthCheck};
use crate::model::fault::Fault;
use crate::model::node::Node;
use crate::model::operation::Lookup;
use crate::model::service::NodeService;
use crate::store::json::List;
use crate::store::select::{Select, translated_node, translated_service};
use crate::store::view::View;
use bytes::Bytes;
use std::sync::Arc;

/// `health/node/:node`
pub(crate) fn node(state: Option<&Arc<NodeState>>, select: &Select<'_>) -> Result<Bytes, Fault> {
    let rows = state.map(|state| state.checks.iter().collect()).unwrap_or_default();
    checks(rows, select)
}

/// `health/checks/:service`: the checks of the instances, not those of their nodes.
pub(crate) fn checks_of(view: &View, service: &str, select: &Select<'_>) -> Result<Bytes, Fault> {
    let entries = view.catalog.group(service, Lookup::Plain).map(|group| group.entries.as_slice()).unwrap_or_default();
    let wanted = entries.iter().filter(|entry| select.wants_node(&entry.node));
    let rows = wanted.flat_map(|entry| &entry.checks).filter(|row| !row.is_of_node()).collect();
    checks(rows, select)
}

/// `health/state/:state`, its name without regard to case (one client writes `ANY`). No check is in
/// a state that there is not.
pub(crate) fn in_state(view: &View, state: &str, select: &Select<'_>) -> Result<Bytes, Fault> {
    let is_any = state.eq_ignore_ascii_case("any");
    let status = state.to_ascii_lowercase().parse::<CheckStatus>().ok();
    let nodes = view.catalog.nodes.values().filter(|state| select.wants_node(&state.row));
    let rows = nodes.flat_map(|state| &state.checks).filter(|row| is_any || Some(row.check.status) == status);
    checks(rows.collect(), select)
}

fn checks(rows: Vec<&Arc<CheckRow>>, select: &Select<'_>) -> Result<Bytes, Fault> {
    select.check_filter(|| shape(&[CheckRow::new(HealthCheck::default()).json()]))?;
    let mut wanted = Vec::new();
    for row in rows {
        if select.matches(&[row.json()])? {
            wanted.push(row);
        }
    }
    select.sort_near(&mut wanted, |row| &row.check.node);
    let mut list = List::new();
    wanted.iter().for_each(|row| list.push(&[row.json()]));
    Ok(list.finish())
}

/// `health/service/:name`, `health/connect/:name` and `health/ingress/:name`
pub(crate) fn service(group: Option<&Arc<Group>>, select: &Select<'_>) -> Result<Bytes, Fault> {
    select.check_filter(|| {
        let row = CheckRow::new(HealthCheck::default());
        shape(&[&entry_json(&Entry::new(
            Arc::new(NodeRow::new(Node::default())),
            Arc::new(ServiceRow::new(NodeService::default())),
            vec![Arc::new(row)],
        ))])
    })?;
    let Some(group) = group else { return Ok(List::new().finish()) };
    if select.is_plain() {
        return Ok(group.health_body.get_or_render(|| entries_json(group.entries.iter())));
    }
    let mut entries = Vec::new();
    for entry in group.entries.iter().filter(|entry| select.wants_entry(entry)) {
        if !select.is_filtered() || select.matches(&[&entry_json(entry)])? {
            entries.push(entry);
        }
    }
    select.sort_near(&mut entries, |entry| &entry.node.node.node);
    if !select.translates() {
        return Ok(entries_json(entries.into_iter()));
    }
    let translated: Vec<Arc<Entry>> = entries.into_iter().map(|entry| Arc::new(translated_entry(entry))).collect();
    Ok(entries_json(translated.iter()))
}

fn translated_entry(entry: &Entry) -> Entry {
    let (node, service) = (translated_node(&entry.node), translated_service(&entry.service));
    Entry::new(Arc::new(node), Arc::new(service), entry.checks.clone())
}

fn entries_json<'a>(entries: impl Iterator<Item = &'a Arc<Entry>> + Clone) -> Bytes {
    let mut list = List::new();
    list.reserve(entries.clone().map(|entry| entry_size(entry)).sum());
    for entry in entries {
        list.begin();
        write_entry(entry, |part| list.extend(part));
    }
    list.finish()
}

fn entry_json(entry: &Entry) -> Vec<u8> {
    let mut json = Vec::with_capacity(entry_size(entry));
    write_entry(entry, |part| json.extend_from_slice(part));
    json
}

fn write_entry(entry: &Entry, mut add: impl FnMut(&[u8])) {
    add(br#"{"Node":"#);
    add(entry.node.json());
    add(br#","Service":"#);
    add(entry.service.json());
    add(br#","Checks":["#);
    for (at, row) in entry.checks.iter().enumerate() {
        if at > 0 {
            add(b",");
        }
        add(row.json());
    }
    add(b"]}");
}

/// Bytes that an entry takes in a list, its punctuation included.
fn entry_size(entry: &Entry) -> usize {
    const PUNCTUATION: usize = 40;
    let checks: usize = entry.checks.iter().map(|row| row.json().len() + 1).sum();
    entry.node.json().len() + entry.service.json().len() + checks + PUNCTUATION
}
