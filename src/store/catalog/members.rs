//! What the leader compares with the members of the pool: rows as they are, without JSON in between.

use super::node_state::NodeState;
use crate::model::check::HealthCheck;
use crate::model::coordinate::Coordinate;
use crate::model::node::Node;
use crate::model::service::NodeService;
use crate::store::view::View;

/// A node of one view.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a>(&'a NodeState);

impl<'a> NodeRef<'a> {
    /// The node's own row.
    pub fn node(self) -> &'a Node {
        &self.0.row.node
    }

    /// One of its checks.
    pub fn check(self, id: &str) -> Option<&'a HealthCheck> {
        self.0.check(id).map(|row| &row.check)
    }

    /// One of its services.
    pub fn service(self, id: &str) -> Option<&'a NodeService> {
        self.0.service(id).map(|row| &row.service)
    }
}

impl View {
    /// The node of that name, whatever the case.
    pub fn node_named(&self, name: &str) -> Option<NodeRef<'_>> {
        self.catalog.node(name).map(|state| NodeRef(state))
    }

    /// All nodes, by name.
    pub fn all_nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.catalog.nodes.values().map(|state| NodeRef(state))
    }

    /// Where a node lies.
    pub fn coordinate_of(&self, node: &str) -> Option<&Coordinate> {
        self.coordinates.of(node).map(|row| &row.coordinate.coord)
    }
}
