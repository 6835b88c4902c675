//! A node with its services and its checks. Rows are shared between copies.

use super::group::Entry;
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::model::check::{CheckStatus, HealthCheck, SERF_HEALTH};
use crate::model::node::Node;
use crate::model::service::NodeService;
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

    /// Removes an instance, and its checks with it.
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

    /// True when the gossip pool vouches for the node: it has a `serfHealth` that is not critical.
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

/// A node of one view, for the leader: rows as they are, without JSON in between.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a>(pub(in crate::store) &'a NodeState);

impl<'a> NodeRef<'a> {
    pub fn node(self) -> &'a Node {
        &self.0.row.node
    }

    pub fn check(self, id: &str) -> Option<&'a HealthCheck> {
        self.0.check(id).map(|row| &row.check)
    }

    pub fn service(self, id: &str) -> Option<&'a NodeService> {
        self.0.service(id).map(|row| &row.service)
    }
}
