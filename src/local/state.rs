//! What is registered here, and how far the catalog knows it.
//!
//! `registry` changes it, `diff` compares it with the catalog. It does no I/O. What was removed
//! stays, marked, until the catalog has forgotten it.

use super::definition::NewCheck;
use super::{Registered, Source};
use crate::model::check::{CheckDefinition, CheckStatus, HealthCheck};
use crate::model::ids::Token;
use crate::model::service::NodeService;
use crate::model::vote::VotedCheck;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// This agent's own fields in the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeInfo {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) datacenter: String,
    pub(super) address: String,
    pub(super) tagged_addresses: BTreeMap<String, String>,
    pub(super) meta: BTreeMap<String, String>,
}

/// How far the catalog knows a thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Whether the catalog has it as it is here.
    pub(super) in_sync: bool,
    /// Whether it is gone here, and only the catalog has it still.
    pub(super) deleted: bool,
    /// Differs after each change, so that the end of a push never hides a newer change.
    pub(super) revision: u64,
}

/// A service and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct ServiceEntry {
    pub(super) row: Arc<NodeService>,
    pub(super) token: Token,
    pub(super) source: Source,
    pub(super) mark: Mark,
}

/// A check and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct CheckEntry {
    pub(super) row: Arc<HealthCheck>,
    pub(super) token: Token,
    pub(super) source: Source,
    pub(super) mark: Mark,
    /// When a change of output alone is pushed at the latest.
    pub(super) deferred: Option<Instant>,
    /// Since when it has said that it is critical; unset while it says nothing or something else.
    pub(super) critical_since: Option<Instant>,
    /// Of a voted check: whether it has run here, so that its status is more than it was registered with.
    pub(super) probed: bool,
    /// Of a voted check: whether the catalog is known to have its definition, which its answers do not show.
    pub(super) defined: bool,
}

impl CheckEntry {
    /// Whether its status in the catalog is voted on.
    pub(super) fn is_voted(&self) -> bool {
        self.row.definition.voted.is_some()
    }

    /// The row as the catalog gets it. How a check is defined is this agent's own business, and may hold
    /// secrets; of a voted one its observers need it.
    pub(super) fn reported(&self) -> HealthCheck {
        let definition = if self.is_voted() { self.row.definition.clone() } else { CheckDefinition::default() };
        HealthCheck { definition, ..(*self.row).clone() }
    }
}

/// All registrations of this agent.
#[derive(Debug)]
pub(super) struct State {
    pub(super) node: NodeInfo,
    pub(super) node_mark: Mark,
    pub(super) services: BTreeMap<String, ServiceEntry>,
    pub(super) checks: BTreeMap<String, CheckEntry>,
    revision: u64,
    /// How often a check that is voted on had another result here.
    own_votes: u64,
    pushes: u64,
    /// No deferred output is due before this.
    first_deferred: Option<Instant>,
}

impl State {
    /// Nothing is registered, and the catalog knows nothing.
    pub(super) fn new(node: NodeInfo) -> State {
        let node_mark = Mark { in_sync: false, deleted: false, revision: 0 };
        State {
            node,
            node_mark,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            revision: 0,
            own_votes: 0,
            pushes: 0,
            first_deferred: None,
        }
    }

    /// Grows with every change of what is registered.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Differs after whatever is to be pushed, now or earlier than was known.
    pub(super) fn to_push(&self) -> (u64, Option<Instant>) {
        (self.pushes, self.first_deferred)
    }

    /// Grows with whatever is to be pushed.
    pub(super) fn pushes(&self) -> u64 {
        self.pushes
    }

    /// The mark of what has just changed.
    pub(super) fn dirty(&mut self, deleted: bool) -> Mark {
        self.revision += 1;
        self.pushes += 1;
        Mark { in_sync: false, deleted, revision: self.revision }
    }

    /// Replaces this agent's own fields.
    pub(super) fn set_node(&mut self, node: NodeInfo) {
        if self.node != node {
            self.node = node;
            self.node_mark = self.dirty(false);
        }
    }

    /// A service that is registered.
    pub(super) fn service(&self, id: &str) -> Option<&ServiceEntry> {
        self.services.get(id).filter(|entry| !entry.mark.deleted)
    }

    /// A check that is registered.
    pub(super) fn check(&self, id: &str) -> Option<&CheckEntry> {
        self.checks.get(id).filter(|entry| !entry.mark.deleted)
    }

    /// The ids of the checks of a service.
    pub(super) fn checks_of(&self, service: &str) -> Vec<String> {
        self.ids_of_checks(service).map(str::to_owned).collect()
    }

    /// The same, one by one.
    pub(super) fn ids_of_checks(&self, service: &str) -> impl Iterator<Item = &str> {
        let live = self.checks.iter().filter(move |(_, entry)| !entry.mark.deleted && entry.row.service_id == service);
        live.map(|(id, _)| id.as_str())
    }

    /// Registers a service or replaces it. Its checks follow its name and tags.
    pub(super) fn put_service(&mut self, row: NodeService, token: Token, source: Source) {
        let id = row.id.clone();
        let known = self.service(&id);
        let unchanged = known.is_some_and(|entry| *entry.row == row && entry.token == token);
        let mark = match known {
            Some(entry) if unchanged => entry.mark,
            _ => self.dirty(false),
        };
        self.services.insert(id.clone(), ServiceEntry { row: Arc::new(row), token, source, mark });
        if !unchanged {
            self.refresh_checks_of(&id);
        }
    }

    /// Gives the checks of a service its name and tags.
    pub(super) fn refresh_checks_of(&mut self, service: &str) {
        let Some(row) = self.service(service).map(|entry| Arc::clone(&entry.row)) else { return };
        for id in self.checks_of(service) {
            let follows = |check: &HealthCheck| check.service_name == row.service && check.service_tags == row.tags;
            if self.check(&id).is_none_or(|entry| follows(&entry.row)) {
                continue;
            }
            let mark = self.dirty(false);
            if let Some(entry) = self.checks.get_mut(&id) {
                let check = Arc::make_mut(&mut entry.row);
                check.service_name.clone_from(&row.service);
                check.service_tags.clone_from(&row.tags);
                entry.mark = mark;
            }
        }
    }

    /// Marks a service as removed. Its checks are the caller's to remove.
    pub(super) fn remove_service(&mut self, id: &str) {
        let mark = self.dirty(true);
        if let Some(entry) = self.services.get_mut(id) {
            entry.mark = mark;
        }
    }

    /// Registers a check or replaces it; one that is there keeps its status and output.
    pub(super) fn put_check(&mut self, new: NewCheck, source: Source) {
        let NewCheck { mut row, token, .. } = new;
        if let Some(service) = self.service(&row.service_id) {
            row.service_name.clone_from(&service.row.service);
            row.service_tags.clone_from(&service.row.tags);
        }
        let id = row.check_id.clone();
        let (mut kept, mut deferred, mut critical_since) = (None, None, None);
        let (mut probed, mut defined) = (false, false);
        if let Some(known) = self.check(&id) {
            row.status = known.row.status;
            row.output.clone_from(&known.row.output);
            (deferred, critical_since) = (known.deferred, known.critical_since);
            let same = known.row.definition == row.definition;
            (probed, defined) = (known.probed && same, known.defined && same);
            kept = (*known.row == row && known.token == token).then_some(known.mark);
        }
        let mark = kept.unwrap_or_else(|| self.dirty(false));
        let row = Arc::new(row);
        self.checks.insert(id, CheckEntry { row, token, source, mark, deferred, critical_since, probed, defined });
    }

    /// Marks a check as removed.
    pub(super) fn remove_check(&mut self, id: &str) {
        let mark = self.dirty(true);
        if let Some(entry) = self.checks.get_mut(id) {
            entry.mark = mark;
        }
    }

    /// Sets what a check says. A change of output alone waits until `defer`; `None` for at once.
    pub(super) fn set_status(&mut self, id: &str, status: CheckStatus, output: &str, defer: Option<Instant>, now: Instant) {
        let Some(known) = self.checks.get_mut(id).filter(|known| !known.mark.deleted) else { return };
        if known.is_voted() {
            return self.set_own_vote(id, status, output);
        }
        known.critical_since = if status == CheckStatus::Critical { known.critical_since.or(Some(now)) } else { None };
        if known.row.status == status && known.row.output == output {
            return;
        }
        let output_only = known.row.status == status;
        let in_sync = known.mark.in_sync;
        // The catalog counts as up to date until then; the first such change sets the time.
        let defer = defer.filter(|_| output_only && in_sync);
        let mark = match defer {
            Some(_) => {
                self.revision += 1;
                Mark { in_sync, deleted: false, revision: self.revision }
            }
            None => self.dirty(false),
        };
        let Some(entry) = self.checks.get_mut(id) else { return };
        let row = Arc::make_mut(&mut entry.row);
        row.status = status;
        output.clone_into(&mut row.output);
        entry.mark = mark;
        entry.deferred = defer.map(|at| entry.deferred.unwrap_or(at));
        if let Some(at) = entry.deferred {
            self.first_deferred = Some(self.first_deferred.map_or(at, |first| first.min(at)));
        }
    }

    /// Sets what this agent says of a voted check. The catalog's status is that of the votes, of which this is
    /// one: nothing is pushed.
    fn set_own_vote(&mut self, id: &str, status: CheckStatus, output: &str) {
        let said = |entry: &CheckEntry| entry.probed && entry.row.status == status && entry.row.output == output;
        if self.check(id).is_none_or(said) {
            return;
        }
        self.revision += 1;
        self.own_votes += 1;
        if let Some(entry) = self.checks.get_mut(id) {
            let row = Arc::make_mut(&mut entry.row);
            row.status = status;
            output.clone_into(&mut row.output);
            entry.probed = true;
        }
    }

    /// Grows with every result here of a check that is voted on.
    pub(super) fn own_votes(&self) -> u64 {
        self.own_votes
    }

    /// The checks that are voted on and have run here, with what this agent says of them itself.
    pub(super) fn probed(&self) -> BTreeMap<String, Arc<HealthCheck>> {
        let probed = self.checks.iter().filter(|(_, entry)| !entry.mark.deleted && entry.probed && entry.is_voted());
        probed.map(|(id, entry)| (id.clone(), Arc::clone(&entry.row))).collect()
    }

    /// Takes from what the catalog has observed whether it has this agent's voted checks as they are here.
    pub(super) fn heed_observed(&mut self, observed: &[VotedCheck]) {
        let mut differ = Vec::new();
        for (id, entry) in self.checks.iter_mut().filter(|(_, entry)| entry.is_voted() && !entry.mark.deleted) {
            let is_it = |assigned: &&VotedCheck| assigned.check_id == **id && assigned.node.eq_ignore_ascii_case(&entry.row.node);
            let assigned = observed.iter().find(is_it);
            entry.defined = assigned.is_some_and(|assigned| assigned.definition == entry.row.definition);
            if assigned.is_some() && !entry.defined {
                differ.push(id.clone());
            }
        }
        for id in differ {
            let mark = self.dirty(false);
            if let Some(entry) = self.checks.get_mut(&id) {
                entry.mark = mark;
            }
        }
    }

    /// When the next deferred output is due.
    pub(super) fn next_deferred(&mut self) -> Option<Instant> {
        self.first_deferred = self.checks.values().filter_map(|entry| entry.deferred).min();
        self.first_deferred
    }

    /// Marks the checks whose deferred output is due; whether there are any.
    pub(super) fn undefer(&mut self, now: Instant) -> bool {
        let mut any = false;
        for entry in self.checks.values_mut() {
            if entry.deferred.is_some_and(|at| at <= now) {
                (entry.deferred, entry.mark.in_sync, any) = (None, false, true);
            }
        }
        any
    }

    /// What is registered, for the others.
    pub(super) fn registered(&self) -> Registered {
        let services = self.services.iter().filter(|(_, entry)| !entry.mark.deleted);
        let checks = self.checks.iter().filter(|(_, entry)| !entry.mark.deleted);
        Registered {
            services: services.map(|(id, entry)| (id.clone(), Arc::clone(&entry.row))).collect(),
            checks: checks.map(|(id, entry)| (id.clone(), Arc::clone(&entry.row))).collect(),
        }
    }
}
