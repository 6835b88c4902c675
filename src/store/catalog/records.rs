//! The catalog written out and read back: each node, then its services, then its checks with their votes;
//! after all nodes the indexes of the groups, which are made of them.

use super::Catalog;
use super::node_state::NodeState;
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::model::check::HealthCheck;
use crate::model::node::Node;
use crate::model::operation::Lookup;
use crate::model::service::NodeService;
use crate::model::vote::Assignment;
use crate::store::record::{Kind, Writer, parse};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Serialize, Deserialize)]
struct NodeRecord {
    node: Node,
    services_index: u64,
    checks_index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct GroupRecord {
    lookup: Lookup,
    name: String,
    index: u64,
}

pub(super) fn save(catalog: &Catalog, to: &mut Writer<'_>) -> std::io::Result<()> {
    let Catalog { nodes, services, connect, ids: _, voted: _, indexes: _ } = catalog;
    for state in nodes.values() {
        let NodeState { row, services, checks, services_index, checks_index } = &**state;
        let (services_index, checks_index) = (*services_index, *checks_index);
        to.value(Kind::Node, &NodeRecord { node: row.node.clone(), services_index, checks_index })?;
        services.iter().try_for_each(|row| to.value(Kind::Service, &row.service))?;
        for row in checks {
            to.value(Kind::Check, &row.check)?;
            if let Some(assignment) = &row.assignment {
                to.value(Kind::Votes, &**assignment)?;
            }
        }
    }
    for (lookup, groups) in [(Lookup::Plain, services), (Lookup::Connect, connect)] {
        for (name, group) in groups {
            to.value(Kind::Group, &GroupRecord { lookup, name: name.to_string(), index: group.index })?;
        }
    }
    Ok(())
}

/// A catalog that is being read back.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// The node whose services and checks are being read.
    node: Option<NodeState>,
    /// The id of its check that was read last.
    check: String,
}

impl Loading {
    /// Takes in a record of the catalog, and passes over those of other tables.
    pub(crate) fn take(&mut self, catalog: &mut Catalog, kind: Kind, body: &[u8]) -> Result<(), String> {
        match kind {
            Kind::Node => {
                self.finish(catalog);
                let NodeRecord { node, services_index, checks_index } = parse(body)?;
                self.node = Some(NodeState { services_index, checks_index, ..NodeState::new(NodeRow::new(node)) });
            }
            Kind::Service => self.open_node()?.put_service(ServiceRow::new(parse::<NodeService>(body)?)),
            Kind::Check => {
                let check: HealthCheck = parse(body)?;
                self.check.clone_from(&check.check_id);
                self.open_node()?.put_check(CheckRow::new(check));
            }
            Kind::Votes => {
                let assignment: Arc<Assignment> = Arc::new(parse(body)?);
                let id = std::mem::take(&mut self.check);
                let state = self.open_node()?;
                let check = state.check(&id).map(|row| row.check.clone()).filter(|check| check.definition.voted.is_some());
                let check = check.ok_or_else(|| "votes stand after no voted check".to_owned())?;
                state.put_check(CheckRow::voted(check, assignment));
            }
            Kind::Group => {
                self.finish(catalog);
                let GroupRecord { lookup, name, index } = parse(body)?;
                catalog.place_index(lookup, &name, index);
            }
            Kind::Meta | Kind::Catalog | Kind::Coordinate | Kind::Removal | Kind::Autopilot | Kind::Format | Kind::End => {}
            Kind::KvIndexes | Kind::KvEntry | Kind::Tombstone | Kind::LockDelay | Kind::SessionIndex | Kind::Session => {}
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, catalog: &mut Catalog) {
        if let Some(state) = self.node.take() {
            catalog.place(state);
        }
    }

    fn open_node(&mut self) -> Result<&mut NodeState, String> {
        self.node.as_mut().ok_or_else(|| "a service or check stands before any node".to_owned())
    }
}
