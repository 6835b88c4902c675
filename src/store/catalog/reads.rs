//! The rows that a read of the catalog means, in their order.

use super::answer::{CatalogRows, Instances, Names, NodeServices};
use super::group::{Entry, Group};
use super::node_state::NodeState;
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::model::answer::Panic;
use crate::model::check::{CheckStatus, HealthCheck};
use crate::model::fault::Fault;
use crate::model::node::Node;
use crate::model::operation::{CatalogRead, HealthRead, Lookup};
use crate::model::service::NodeService;
use crate::store::select::Select;
use crate::store::view::View;
use serde_json::Value;
use std::sync::Arc;

pub(crate) fn of_catalog<'v>(view: &'v View, read: &CatalogRead, select: &Select<'_>) -> Result<CatalogRows<'v>, Fault> {
    let catalog = &view.catalog;
    Ok(match read {
        CatalogRead::Nodes => CatalogRows::Nodes(nodes(view, select)?),
        CatalogRead::Services => CatalogRows::Names(names(view, select)),
        CatalogRead::Service { name, lookup } => {
            CatalogRows::Service(instances(catalog.group(name, *lookup), select, Entry::flat_value)?)
        }
        CatalogRead::Node { node } => CatalogRows::Node(services_of(catalog.node_or_id(node), select)?),
        CatalogRead::NodeServices { node } => CatalogRows::NodeServices(services_of(catalog.node_or_id(node), select)?),
        CatalogRead::GatewayServices { gateway: _ } => CatalogRows::NoGateway,
    })
}

/// The rows of a read of the family `health`, and the service that is listed whole because fewer than
/// `panic_threshold` percent of it pass.
pub(crate) fn of_health<'v>(
    view: &'v View,
    read: &HealthRead,
    select: &mut Select<'_>,
    panic_threshold: u8,
) -> Result<(CatalogRows<'v>, Option<Box<Panic>>), Fault> {
    let rows = match read {
        HealthRead::Node { node } => {
            let checks_of = view.catalog.node(node).into_iter().flat_map(|state| &state.checks);
            CatalogRows::Checks(checks(checks_of, select)?)
        }
        HealthRead::Checks { service } => CatalogRows::Checks(checks_of(view, service, select)?),
        HealthRead::State { state } => CatalogRows::Checks(in_state(view, state, select)?),
        HealthRead::Service { name, lookup } => {
            let group = view.catalog.group(name, *lookup);
            let panics = select.passing && group.is_some_and(|group| group.is_panicking(panic_threshold));
            select.passing &= !panics;
            let rows = CatalogRows::Health(instances(group, select, Entry::value)?);
            return Ok((rows, panics.then(|| Box::new(Panic { service: name.clone() }))));
        }
        HealthRead::Votes { of } => CatalogRows::Votes(voted(view, &of.check_id, of.node.as_deref(), select)),
        HealthRead::ObservedBy { node } => {
            let rows = view.catalog.voted.values();
            CatalogRows::Observed(rows.filter(|row| row.observer(node).is_some()).collect())
        }
    };
    Ok((rows, None))
}

fn nodes<'v>(view: &'v View, select: &Select<'_>) -> Result<Vec<&'v Arc<NodeRow>>, Fault> {
    select.check_filter(|| NodeRow::new(Node::default()).value())?;
    let rows = view.catalog.nodes.values().map(|state| &state.row).filter(|row| select.wants_node(row));
    let mut rows = select.filtered(rows, |row| row.value())?;
    select.sort_near(&mut rows, |row| &row.node.node);
    Ok(rows)
}

fn names<'v>(view: &'v View, select: &Select<'_>) -> Names<'v> {
    let groups = &view.catalog.services;
    if select.is_of_all_nodes() {
        return Names::All(groups);
    }
    let wanted = |entry: &Entry| select.has_meta(&entry.node) && select.sees_service(&entry.service.service.service);
    Names::Some(groups.values().map(|group| group.tags_by_name(wanted)).collect())
}

/// The wanted instances of a group. The filter sees the `value` of each.
fn instances<'v>(group: Option<&'v Arc<Group>>, select: &Select<'_>, value: fn(&Entry) -> Value) -> Result<Instances<'v>, Fault> {
    select.check_filter(|| {
        let (node, service) = (NodeRow::new(Node::default()), ServiceRow::new(NodeService::default()));
        let checks = vec![Arc::new(CheckRow::new(HealthCheck::default()))];
        value(&Entry::new(Arc::new(node), Arc::new(service), checks))
    })?;
    let Some(group) = group else { return Ok(Instances::Some(Vec::new())) };
    if select.is_plain() {
        return Ok(Instances::All(group));
    }
    let mut entries = select.filtered(group.entries.iter().filter(|entry| select.wants_entry(entry)), |entry| value(entry))?;
    select.sort_near(&mut entries, |entry| &entry.node.node.node);
    Ok(Instances::Some(entries))
}

fn services_of<'v>(state: Option<&'v Arc<NodeState>>, select: &Select<'_>) -> Result<Option<NodeServices<'v>>, Fault> {
    select.check_filter(|| ServiceRow::new(NodeService::default()).value())?;
    let Some(state) = state.filter(|state| select.sees_node(&state.row.node.node)) else { return Ok(None) };
    let rows = state.services.iter().filter(|row| select.sees_service(&row.service.service));
    Ok(Some(NodeServices { node: &state.row, services: select.filtered(rows, |row| row.value())? }))
}

/// The checks of the instances, not those of their nodes.
fn checks_of<'v>(view: &'v View, service: &str, select: &Select<'_>) -> Result<Vec<&'v Arc<CheckRow>>, Fault> {
    let entries = view.catalog.group(service, Lookup::Plain).map(|group| group.entries.as_slice()).unwrap_or_default();
    let wanted = entries.iter().filter(|entry| select.wants_node(&entry.node));
    checks(wanted.flat_map(|entry| &entry.checks).filter(|row| !row.is_of_node()), select)
}

/// The checks in a state, without regard to case: one client writes `ANY`. An unknown state has no checks.
fn in_state<'v>(view: &'v View, state: &str, select: &Select<'_>) -> Result<Vec<&'v Arc<CheckRow>>, Fault> {
    let is_any = state.eq_ignore_ascii_case("any");
    let status = state.to_ascii_lowercase().parse::<CheckStatus>().ok();
    let nodes = view.catalog.nodes.values().filter(|state| select.wants_node(&state.row));
    let rows = nodes.flat_map(|state| &state.checks).filter(|row| is_any || Some(row.check.status) == status);
    checks(rows, select)
}

fn checks<'v>(rows: impl Iterator<Item = &'v Arc<CheckRow>>, select: &Select<'_>) -> Result<Vec<&'v Arc<CheckRow>>, Fault> {
    select.check_filter(|| CheckRow::new(HealthCheck::default()).value())?;
    let mut wanted = select.filtered(rows.filter(|row| select.sees_check(&row.check)), |row| row.value())?;
    select.sort_near(&mut wanted, |row| &row.check.node);
    Ok(wanted)
}

/// The voted check of that id; without a node, that of the first node by name.
fn voted<'v>(view: &'v View, check_id: &str, node: Option<&str>, select: &Select<'_>) -> Option<&'v Arc<CheckRow>> {
    let sees = |row: &&'v Arc<CheckRow>| select.sees_check(&row.check);
    match node {
        Some(node) => view.catalog.node(node).and_then(|state| state.check(check_id)).filter(|row| row.is_voted()).filter(sees),
        None => view.catalog.voted.values().filter(sees).find(|row| row.check.check_id == check_id),
    }
}
