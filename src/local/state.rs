//! The registrations of this agent, each with a mark of its state in the catalog. No I/O.

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

/// The state of a registration in the catalog.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// True if the catalog has it as it is here.
    pub(super) in_sync: bool,
    /// True if it is gone here, and only the catalog has it still.
    pub(super) deleted: bool,
    /// Differs after each change, so that the end of a push never hides a newer change.
    pub(super) revision: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ServiceEntry {
    pub(super) row: Arc<NodeService>,
    pub(super) token: Token,
    pub(super) source: Source,
    pub(super) mark: Mark,
}

#[derive(Clone, Debug)]
pub(super) struct CheckEntry {
    pub(super) row: Arc<HealthCheck>,
    pub(super) token: Token,
    pub(super) source: Source,
    pub(super) mark: Mark,
    /// The time at which a change of output alone is pushed at the latest.
    pub(super) deferred: Option<Instant>,
    /// The time of the first of its critical results in a row.
    pub(super) critical_since: Option<Instant>,
    /// Of a voted check: whether it has run here, so that its status is more than its initial one.
    pub(super) probed: bool,
    /// Of a voted check: whether the catalog is known to have its definition, which its answers do not show.
    pub(super) defined: bool,
}

impl CheckEntry {
    /// True if its status in the catalog is voted on.
    pub(super) fn is_voted(&self) -> bool {
        self.row.definition.voted.is_some()
    }

    /// The row for the catalog. A definition may hold secrets and stays here, but for that of a voted check.
    pub(super) fn reported(&self) -> HealthCheck {
        let definition = if self.is_voted() { self.row.definition.clone() } else { CheckDefinition::default() };
        HealthCheck { definition, ..(*self.row).clone() }
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) node: NodeInfo,
    pub(super) node_mark: Mark,
    pub(super) services: BTreeMap<String, ServiceEntry>,
    pub(super) checks: BTreeMap<String, CheckEntry>,
    /// The number of changes of the registrations.
    pub(super) revision: u64,
    /// The number of new results here of checks that are voted on.
    pub(super) own_votes: u64,
    /// The number of changes to push.
    pub(super) pushes: u64,
    /// No deferred output is due before this.
    pub(super) first_deferred: Option<Instant>,
}

impl State {
    /// The state of an agent without registrations, of which the catalog knows nothing.
    pub(super) fn new(node: NodeInfo) -> State {
        State { node, ..State::default() }
    }

    /// A mark for a new change.
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

    /// The services that are registered.
    pub(super) fn live_services(&self) -> impl Iterator<Item = (&String, &ServiceEntry)> {
        self.services.iter().filter(|(_, entry)| !entry.mark.deleted)
    }

    /// The checks that are registered.
    pub(super) fn live_checks(&self) -> impl Iterator<Item = (&String, &CheckEntry)> {
        self.checks.iter().filter(|(_, entry)| !entry.mark.deleted)
    }

    /// The ids of the checks of a service.
    pub(super) fn checks_of(&self, service: &str) -> impl Iterator<Item = &String> {
        self.live_checks().filter(move |(_, entry)| entry.row.service_id == service).map(|(id, _)| id)
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
        let follows = |check: &HealthCheck| check.service_name == row.service && check.service_tags == row.tags;
        let differ = self.checks_of(service).filter(|id| self.check(id).is_some_and(|entry| !follows(&entry.row)));
        for id in differ.cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.mark_check(&id, false) {
                let check = Arc::make_mut(&mut entry.row);
                check.service_name.clone_from(&row.service);
                check.service_tags.clone_from(&row.tags);
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

    pub(super) fn remove_check(&mut self, id: &str) {
        self.mark_check(id, true);
    }

    fn mark_check(&mut self, id: &str, deleted: bool) -> Option<&mut CheckEntry> {
        let mark = self.dirty(deleted);
        let entry = self.checks.get_mut(id)?;
        entry.mark = mark;
        Some(entry)
    }

    /// Sets a check's status and output. A change of output alone waits until `defer`; `None` for at once.
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
        // The catalog counts as up to date until then. The first such change sets the time.
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

    /// Sets this agent's own result of a voted check. It is one vote of the catalog's status: nothing is pushed.
    fn set_own_vote(&mut self, id: &str, status: CheckStatus, output: &str) {
        let same = |entry: &CheckEntry| entry.probed && entry.row.status == status && entry.row.output == output;
        let Some(entry) = self.checks.get_mut(id).filter(|entry| !entry.mark.deleted && !same(entry)) else { return };
        let row = Arc::make_mut(&mut entry.row);
        row.status = status;
        output.clone_into(&mut row.output);
        entry.probed = true;
        self.revision += 1;
        self.own_votes += 1;
    }

    /// The checks that are voted on and have run here, with this agent's own results.
    pub(super) fn probed(&self) -> BTreeMap<String, Arc<HealthCheck>> {
        let probed = self.live_checks().filter(|(_, entry)| entry.probed && entry.is_voted());
        probed.map(|(id, entry)| (id.clone(), Arc::clone(&entry.row))).collect()
    }

    /// Compares this agent's voted checks with the definitions in the catalog, as its observers get them.
    pub(super) fn heed_observed(&mut self, observed: &[VotedCheck]) {
        let mut differ = Vec::new();
        for (id, entry) in self.checks.iter_mut().filter(|(_, entry)| entry.is_voted() && !entry.mark.deleted) {
            let is_it = |other: &&VotedCheck| other.check_id == **id && other.node.eq_ignore_ascii_case(&entry.row.node);
            let theirs = observed.iter().find(is_it);
            entry.defined = theirs.is_some_and(|theirs| theirs.definition == entry.row.definition);
            if theirs.is_some() && !entry.defined {
                differ.push(id.clone());
            }
        }
        for id in differ {
            self.mark_check(&id, false);
        }
    }

    /// The time of the next deferred output.
    pub(super) fn next_deferred(&mut self) -> Option<Instant> {
        self.first_deferred = self.checks.values().filter_map(|entry| entry.deferred).min();
        self.first_deferred
    }

    /// Marks the checks whose deferred output is due. True if there are any.
    pub(super) fn undefer(&mut self, now: Instant) -> bool {
        let mut any = false;
        for entry in self.checks.values_mut() {
            if entry.deferred.is_some_and(|at| at <= now) {
                (entry.deferred, entry.mark.in_sync, any) = (None, false, true);
            }
        }
        any
    }

    pub(super) fn registered(&self) -> Registered {
        Registered {
            services: self.live_services().map(|(id, entry)| (id.clone(), Arc::clone(&entry.row))).collect(),
            checks: self.live_checks().map(|(id, entry)| (id.clone(), Arc::clone(&entry.row))).collect(),
        }
    }
}
