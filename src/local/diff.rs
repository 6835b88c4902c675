//! The differences between this agent and the catalog, and the writes that make the catalog agree. Pure.

use super::Source;
use super::definition::NewCheck;
use super::state::{CheckEntry, Mark, State};
use crate::model::check::{CheckStatus, HealthCheck, SERF_HEALTH};
use crate::model::command::{Deregister, Register};
use crate::model::ids::Token;
use crate::model::node::Node;
use crate::model::operation::CatalogWrite;
use crate::model::service::NodeService;
use crate::router::NodeRows;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The service that the leader keeps for servers.
const CONSUL_SERVICE: &str = "consul";

/// This node's rows in the catalog.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    pub(super) node: Option<Node>,
    pub(super) services: BTreeMap<String, NodeService>,
    pub(super) checks: BTreeMap<String, HealthCheck>,
}

impl Remote {
    pub(super) fn new(of: NodeRows, checks: Vec<HealthCheck>) -> Remote {
        Remote {
            node: of.node,
            services: of.services.into_iter().map(|service| (service.id.clone(), service)).collect(),
            checks: checks.into_iter().map(|check| (check.check_id.clone(), check)).collect(),
        }
    }
}

/// A row that an update brings to the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Node,
    Service(String),
    Check(String),
}

/// One write to the catalog.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) write: CatalogWrite,
    pub(super) token: Token,
    /// The rows that it brings, each with its revision.
    covers: Vec<(Thing, u64)>,
}

impl Update {
    fn register(register: Register, token: &Token, covers: Vec<(Thing, u64)>) -> Update {
        Update { write: CatalogWrite::Register(Box::new(register)), token: token.clone(), covers }
    }
}

impl State {
    /// Compares every row with the catalog's, and takes over its overridden tags. True if a registration has changed.
    pub(super) fn compare(&mut self, remote: &Remote) -> bool {
        self.node_mark.in_sync = remote.node.as_ref().is_some_and(|node| self.same_node(node));
        self.compare_services(remote);
        let changed = self.take_overridden_tags(remote);
        self.compare_checks(remote);
        changed
    }

    /// Times critical voted checks by the catalog's status: this agent's result alone deregisters nothing.
    pub(super) fn heed_votes(&mut self, remote: &Remote, now: Instant) {
        for (id, entry) in self.checks.iter_mut().filter(|(_, entry)| entry.is_voted()) {
            let is_critical = remote.checks.get(id).is_some_and(|row| row.status == CheckStatus::Critical);
            entry.critical_since = is_critical.then(|| entry.critical_since.unwrap_or(now));
        }
    }

    /// The writes that the catalog lacks: the node, removals, services with checks of the same token, other checks.
    pub(super) fn updates(&self) -> Vec<Update> {
        let mut updates = Vec::new();
        if !self.node_mark.in_sync {
            let register = Register { skip_node_update: false, ..self.register() };
            let covers = vec![(Thing::Node, self.node_mark.revision)];
            updates.push(Update::register(register, &Token::default(), covers));
        }
        let mut covered = BTreeSet::new();
        let is_due = |mark: &Mark| mark.deleted && !mark.in_sync;
        for (id, entry) in self.services.iter().filter(|(_, entry)| is_due(&entry.mark)) {
            // The catalog removes a service with its checks.
            let mut covers = vec![(Thing::Service(id.clone()), entry.mark.revision)];
            for (check, gone) in self.checks.iter().filter(|(_, check)| check.mark.deleted && check.row.service_id == *id) {
                covers.push((Thing::Check(check.clone()), gone.mark.revision));
                covered.insert(check.as_str());
            }
            updates.push(self.removal(id, "", &entry.token, covers));
        }
        for (id, entry) in self.checks.iter().filter(|(id, entry)| is_due(&entry.mark) && !covered.contains(id.as_str())) {
            updates.push(self.removal("", id, &entry.token, vec![(Thing::Check(id.clone()), entry.mark.revision)]));
        }
        self.push_registrations(&mut updates);
        updates
    }

    /// Notes that the catalog has taken `update`.
    pub(super) fn settle(&mut self, update: &Update) {
        self.put_off(update);
        for (thing, revision) in &update.covers {
            match thing {
                Thing::Node => {}
                Thing::Service(id) => {
                    if self.services.get(id).is_some_and(|entry| entry.mark.deleted && entry.mark.revision == *revision) {
                        self.services.remove(id);
                    }
                }
                Thing::Check(id) => {
                    let Some(entry) = self.checks.get_mut(id).filter(|entry| entry.mark.revision == *revision) else { continue };
                    entry.defined = true;
                    if entry.mark.deleted {
                        self.checks.remove(id);
                    }
                }
            }
        }
    }

    /// Counts `update`, which its token does not allow, as done until the next comparison.
    pub(super) fn put_off(&mut self, update: &Update) {
        for (thing, revision) in &update.covers {
            let mark = match thing {
                Thing::Node => Some(&mut self.node_mark),
                Thing::Service(id) => self.services.get_mut(id).map(|entry| &mut entry.mark),
                Thing::Check(id) => self.checks.get_mut(id).map(|entry| &mut entry.mark),
            };
            if let Some(mark) = mark.filter(|mark| mark.revision == *revision) {
                mark.in_sync = true;
            }
        }
    }

    fn compare_services(&mut self, remote: &Remote) {
        self.services.retain(|id, entry| !entry.mark.deleted || remote.services.contains_key(id));
        for (id, entry) in &mut self.services {
            let same = |row: &NodeService| same_service(&entry.row, row);
            entry.mark.in_sync = !entry.mark.deleted && remote.services.get(id).is_some_and(same);
        }
        for (id, row) in &remote.services {
            if id != CONSUL_SERVICE && !self.services.contains_key(id) {
                self.put_service(row.clone(), Token::default(), Source::Api);
                self.remove_service(id);
            }
        }
    }

    /// Takes over the catalog's tags of services that allow it.
    fn take_overridden_tags(&mut self, remote: &Remote) -> bool {
        let mut changed = Vec::new();
        for (id, entry) in self.services.iter_mut().filter(|(_, entry)| !entry.mark.deleted && entry.row.enable_tag_override) {
            let Some(row) = remote.services.get(id).filter(|row| row.tags != entry.row.tags) else { continue };
            Arc::make_mut(&mut entry.row).tags.clone_from(&row.tags);
            entry.mark.in_sync = same_service(&entry.row, row);
            changed.push(id.clone());
        }
        for id in &changed {
            self.refresh_checks_of(id);
        }
        !changed.is_empty()
    }

    fn compare_checks(&mut self, remote: &Remote) {
        self.checks.retain(|id, entry| !entry.mark.deleted || remote.checks.contains_key(id));
        for (id, entry) in &mut self.checks {
            let same = |row: &HealthCheck| same_check(entry, row);
            entry.mark.in_sync = !entry.mark.deleted && remote.checks.get(id).is_some_and(same);
            if !entry.mark.in_sync {
                entry.deferred = None;
            }
        }
        for (id, row) in &remote.checks {
            if id != SERF_HEALTH && row.service_id != CONSUL_SERVICE && !self.checks.contains_key(id) {
                self.put_check(NewCheck { row: row.clone(), check: None, token: Token::default() }, Source::Api);
                self.remove_check(id);
            }
        }
    }

    fn same_node(&self, remote: &Node) -> bool {
        remote.id.eq_ignore_ascii_case(&self.node.id)
            && remote.address == self.node.address
            && remote.tagged_addresses.clone().unwrap_or_default() == self.node.tagged_addresses
            && remote.meta.clone().unwrap_or_default() == self.node.meta
    }

    fn register(&self) -> Register {
        Register {
            datacenter: self.node.datacenter.clone(),
            id: self.node.id.clone(),
            node: self.node.name.clone(),
            address: self.node.address.clone(),
            tagged_addresses: Some(self.node.tagged_addresses.clone()),
            node_meta: Some(self.node.meta.clone()),
            skip_node_update: true,
            ..Register::default()
        }
    }

    fn removal(&self, service_id: &str, check_id: &str, token: &Token, covers: Vec<(Thing, u64)>) -> Update {
        let deregister = Deregister {
            datacenter: self.node.datacenter.clone(),
            node: self.node.name.clone(),
            service_id: service_id.to_owned(),
            check_id: check_id.to_owned(),
            ..Deregister::default()
        };
        Update { write: CatalogWrite::Deregister(deregister), token: token.clone(), covers }
    }

    fn push_registrations(&self, updates: &mut Vec<Update>) {
        let mut waiting: BTreeMap<&str, Vec<(&String, &CheckEntry)>> = BTreeMap::new();
        for (id, entry) in self.live_checks().filter(|(_, entry)| !entry.mark.in_sync) {
            waiting.entry(&entry.row.service_id).or_default().push((id, entry));
        }
        for (id, entry) in self.live_services().filter(|(_, entry)| !entry.mark.in_sync) {
            let checks = waiting.remove(id.as_str()).unwrap_or_default();
            let (with, apart): (Vec<_>, Vec<_>) = checks.into_iter().partition(|(_, check)| check.token == entry.token);
            if !apart.is_empty() {
                waiting.insert(id, apart);
            }
            let mut covers = vec![(Thing::Service(id.clone()), entry.mark.revision)];
            covers.extend(with.iter().map(|(id, check)| (Thing::Check((*id).clone()), check.mark.revision)));
            let checks = with.iter().map(|(_, check)| check.reported()).collect();
            let register = Register { service: Some((*entry.row).clone()), checks, ..self.register() };
            updates.push(Update::register(register, &entry.token, covers));
        }
        for (id, entry) in waiting.into_values().flatten() {
            let register = Register { check: Some(entry.reported()), ..self.register() };
            updates.push(Update::register(register, &entry.token, vec![(Thing::Check(id.clone()), entry.mark.revision)]));
        }
    }
}

/// True if the catalog has the service as it is here; indexes are the catalog's own.
fn same_service(local: &NodeService, remote: &NodeService) -> bool {
    let remote = NodeService {
        meta: Some(remote.meta.clone().unwrap_or_default()),
        weights: Some(remote.weights.unwrap_or_default()),
        create_index: 0,
        modify_index: 0,
        ..remote.clone()
    };
    *local == remote
}

/// True if the catalog has the check as it is here, but for deferred output and for a voted check's status and output.
/// `CheckEntry::defined` stands for a voted check's definition, which the catalog does not show.
fn same_check(local: &CheckEntry, remote: &HealthCheck) -> bool {
    let mut ours = local.reported();
    if remote.definition.voted.is_none() {
        ours.definition = ours.definition.shown();
    }
    let mut remote = HealthCheck { node: ours.node.clone(), create_index: 0, modify_index: 0, ..remote.clone() };
    if local.is_voted() {
        remote.status = ours.status;
    }
    if local.deferred.is_some() || local.is_voted() {
        remote.output.clone_from(&ours.output);
    }
    ours == remote && (local.defined || !local.is_voted())
}

#[cfg(test)]
mod tests;
