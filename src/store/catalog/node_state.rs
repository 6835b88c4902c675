//! A node with everything that hangs on it: its services and its checks.
//!
//! `register` and `deregister` make a changed copy and give it to [`Change::put_node`](crate::store::change::Change::put_node),
//! which finds out what became different. Rows are shared between the copies.

use super::group::Entry;
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::model::check::{CheckStatus, SERF_HEALTH};
use std::sync::Arc;

/// One node's whole part of the catalog. Both lists are sorted by id.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    pub(crate) row: Arc<NodeRow>,
    pub(crate) services: Vec<Arc<ServiceRow>>,
    pub(crate) checks: Vec<Arc<CheckRow>>,
    /// Index of the last change of the node or of one of its services.
    pub(crate) services_index: u64,
    /// Index of the last change of one of its checks.
    pub(crate) checks_index: u64,
}

impl NodeState {
    pub(crate) fn new(row: NodeRow) -> NodeState {
        NodeState { row: Arc::new(row), services: Vec::new(), checks: Vec::new(), services_index: 0, checks_index: 0 }
    }

    pub(crate) fn service(&self, id: &str) -> Option<&Arc<ServiceRow>> {
        self.find_service(id).ok().map(|at| &self.services[at])
    }

    pub(crate) fn put_service(&mut self, row: ServiceRow) {
        match self.find_service(&row.service.id) {
            Ok(at) => self.services[at] = Arc::new(row),
            Err(at) => self.services.insert(at, Arc::new(row)),
        }
    }

    /// Takes an instance away, and its checks with it.
    pub(crate) fn remove_service(&mut self, id: &str) {
        if let Ok(at) = self.find_service(id) {
            self.services.remove(at);
            self.checks.retain(|row| row.check.service_id != id);
        }
    }

    pub(crate) fn check(&self, id: &str) -> Option<&Arc<CheckRow>> {
        self.find_check(id).ok().map(|at| &self.checks[at])
    }

    pub(crate) fn put_check(&mut self, row: CheckRow) {
        match self.find_check(&row.check.check_id) {
            Ok(at) => self.checks[at] = Arc::new(row),
            Err(at) => self.checks.insert(at, Arc::new(row)),
        }
    }

    pub(crate) fn remove_check(&mut self, id: &str) {
        if let Ok(at) = self.find_check(id) {
            self.checks.remove(at);
        }
    }

    /// Whether the gossip pool vouches for the node: it has a `serfHealth` that is not critical.
    pub(crate) fn is_alive_member(&self) -> bool {
        self.check(SERF_HEALTH).is_some_and(|row| row.check.status != CheckStatus::Critical)
    }

    /// The instance as its service's group lists it: with the node's checks and its own.
    pub(crate) fn entry(&self, service: &Arc<ServiceRow>) -> Entry {
        let of_node = self.checks.iter().filter(|row| row.is_of_node());
        let own = self.checks.iter().filter(|row| row.check.service_id == service.service.id);
        let checks: Vec<_> = of_node.chain(own).cloned().collect();
        Entry::new(self.row.clone(), service.clone(), checks)
    }

    fn find_service(&self, id: &str) -> Result<usize, usize> {
        self.services.binary_search_by(|row| row.service.id.as_str().cmp(id))
    }

    fn find_check(&self, id: &str) -> Result<usize, usize> {
        self.checks.binary_search_by(|row| row.check.check_id.as_str().cmp(id))
    }
}
