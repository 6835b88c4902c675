//! `PUT /v1/catalog/register` as the state machine does it, on a copy of the node that is put into the view when nothing
//! can fail any more. A row that is the same as before stays, and with it its indexes.

use super::node_state::NodeState;
use super::rows::{NodeRow, ServiceRow};
use super::{former, votes};
use crate::model::check::HealthCheck;
use crate::model::command::Register;
use crate::model::fault::Fault;
use crate::model::level;
use crate::model::node::Node;
use crate::model::rules;
use crate::model::service::NodeService;
use crate::store::change::Change;
use crate::store::key::key_of;
use crate::store::validate;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Upserts the node, the service and the checks of `request`, all or none.
pub(crate) fn register(change: &mut Change<'_>, request: &Register) -> Result<(), Fault> {
    former::check(change.view, request)?;
    put(change, request)
}

/// The same of a request that is checked already.
pub(crate) fn put(change: &mut Change<'_>, request: &Register) -> Result<(), Fault> {
    // A missing node is made, with or without an address.
    let keeps_node = request.skip_node_update && change.view.catalog.node(&request.node).is_some();
    let renamed = if keeps_node { None } else { claim_name(change, request)? };
    let mut state = upsert_node(change, request, renamed.as_deref());
    let mut grown = BTreeSet::new();
    if let Some(service) = &request.service {
        upsert_service(change, &mut state, service, &mut grown);
    }
    for check in request.check.iter().chain(&request.checks) {
        upsert_check(change, &mut state, check, &mut grown)?;
    }
    if change.view.format.is_of(level::COMMAND_INDEXES) {
        copies_fit(&state, &grown)?;
    }
    if let Some(old) = renamed {
        change.remove_node(&old.row.node.node);
    }
    change.put_node(state);
    Ok(())
}

/// Makes sure that the name is free for the id that asks for it. Returns the node that carries the id under another
/// name: its rename removes its services and checks.
fn claim_name(change: &Change<'_>, request: &Register) -> Result<Option<Arc<NodeState>>, Fault> {
    if request.id.is_empty() {
        return Ok(None);
    }
    let key = key_of(&request.node);
    let old_key = change.view.catalog.ids.get(&key_of(&request.id)).filter(|old| **old != key);
    if let Some(holder) = change.view.catalog.nodes.get(&key) {
        let Node { id, node, address, .. } = &holder.row.node;
        let another = !id.eq_ignore_ascii_case(&request.id);
        // A node without an id may be given one, but not by way of a rename.
        let may_adopt = id.is_empty() && old_key.is_none();
        if another && !may_adopt && holder.is_alive_member() {
            let wanted = &request.node;
            return Err(Fault::failed(format!("Node name {wanted} is reserved by node {id} with name {node} ({address})")));
        }
    }
    Ok(old_key.and_then(|old| change.view.catalog.nodes.get(old).cloned()))
}

/// The node as it shall be, not yet put into the view.
fn upsert_node(change: &Change<'_>, request: &Register, renamed: Option<&NodeState>) -> NodeState {
    let existing = change.view.catalog.node(&request.node);
    if let Some(existing) = existing.filter(|_| request.skip_node_update) {
        return NodeState::clone(existing);
    }
    let before = renamed.or(existing.map(Arc::as_ref)).map(|state| &state.row.node);
    let mut node = Node {
        // A registration without an id, from outside, leaves the node its id.
        id: if request.id.is_empty() { before.map(|node| node.id.clone()).unwrap_or_default() } else { request.id.clone() },
        node: request.node.clone(),
        address: request.address.clone(),
        datacenter: change.view.datacenter.to_string(),
        tagged_addresses: request.tagged_addresses.clone(),
        meta: request.node_meta.clone(),
        create_index: before.map_or(change.index, |node| node.create_index),
        modify_index: before.map_or(change.index, |node| node.modify_index),
    };
    let Some(existing) = existing else {
        node.modify_index = change.index;
        return NodeState::new(NodeRow::new(node));
    };
    let mut state = NodeState::clone(existing);
    if node != state.row.node {
        node.modify_index = change.index;
        state.row = Arc::new(NodeRow::new(node));
        name_checks_anew(&mut state, change.index);
    }
    state
}

/// Gives the checks of a node the new spelling of its name.
fn name_checks_anew(state: &mut NodeState, index: u64) {
    let name = state.row.node.node.clone();
    for row in state.checks.iter_mut().filter(|row| row.check.node != name) {
        let check = HealthCheck { node: name.clone(), modify_index: index, ..row.check.clone() };
        *row = Arc::new(row.with(check));
    }
}

/// Refuses too many copies of an instance's tags in its checks. Only instances that grow are judged: the others can
/// still be updated, and made less.
fn copies_fit(state: &NodeState, grown: &BTreeSet<String>) -> Result<(), Fault> {
    if grown.is_empty() {
        return Ok(());
    }
    let mut counts: BTreeMap<&str, usize> = grown.iter().map(|id| (id.as_str(), 0)).collect();
    for row in &state.checks {
        if let Some(count) = counts.get_mut(row.check.service_id.as_str()) {
            *count += 1;
        }
    }
    let judge = |(id, count)| state.service(id).map_or(Ok(()), |row| validate::copies(&row.service, count));
    counts.into_iter().try_for_each(judge)
}

/// Notes in `grown` an instance whose checks have more to copy than before.
fn upsert_service(change: &Change<'_>, state: &mut NodeState, service: &NodeService, grown: &mut BTreeSet<String>) {
    let (mut service, index) = (service.clone(), change.index);
    if service.id.is_empty() {
        service.id.clone_from(&service.service);
    }
    former::weigh(change.view, &mut service);
    let existing = state.service(&service.id).cloned();
    let indexes = existing.as_ref().map(|row| (row.service.create_index, row.service.modify_index));
    (service.create_index, service.modify_index) = indexes.unwrap_or((index, index));
    if existing.as_ref().is_some_and(|row| row.service == service) {
        return;
    }
    service.modify_index = index;
    let copied = |service: &NodeService| service.service.len() + rules::bytes_of(&service.tags);
    if existing.is_some_and(|row| copied(&row.service) < copied(&service)) {
        grown.insert(service.id.clone());
    }
    describe_checks_anew(state, &service, index);
    state.put_service(ServiceRow::new(service));
}

/// Gives the checks of an instance the name and tags it has now.
fn describe_checks_anew(state: &mut NodeState, service: &NodeService, index: u64) {
    for row in state.checks.iter_mut().filter(|row| row.check.service_id == service.id) {
        if row.check.service_name != service.service || row.check.service_tags != service.tags {
            let (service_name, service_tags) = (service.service.clone(), service.tags.clone());
            let check = HealthCheck { service_name, service_tags, modify_index: index, ..row.check.clone() };
            *row = Arc::new(row.with(check));
        }
    }
}

/// Notes in `grown` an instance that has one check more than before.
fn upsert_check(
    change: &Change<'_>,
    state: &mut NodeState,
    check: &HealthCheck,
    grown: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let index = change.index;
    let mut check = HealthCheck { node: state.row.node.node.clone(), ..check.clone() };
    if check.check_id.is_empty() {
        check.check_id.clone_from(&check.name);
    }
    former::complete(change.view, &mut check);
    if !check.service_id.is_empty() {
        let row = state.service(&check.service_id).ok_or_else(|| Fault::failed("Missing service registration"))?;
        check.service_name.clone_from(&row.service.service);
        check.service_tags.clone_from(&row.service.tags);
    }
    let existing = state.check(&check.check_id).cloned();
    if !check.service_id.is_empty() && existing.as_ref().is_none_or(|row| row.check.service_id != check.service_id) {
        grown.insert(check.service_id.clone());
    }
    let indexes = existing.as_ref().map(|row| (row.check.create_index, row.check.modify_index));
    (check.create_index, check.modify_index) = indexes.unwrap_or((index, index));
    let mut row = votes::registered(existing.as_deref(), check);
    if existing.is_some_and(|known| known.check == row.check) {
        return Ok(());
    }
    row.check.modify_index = index;
    state.put_check(row);
    Ok(())
}
