//! The rows of the catalog, each with its JSON, which is made at the first read and kept: most rows are written on every
//! server and read on few. A row never changes: a change is a new row.

use crate::model::check::HealthCheck;
use crate::model::node::Node;
use crate::model::service::NodeService;
use crate::model::vote::Assignment;
use crate::store::json::{Fragment, fragment, value};
use crate::store::key::key_of;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node without its services and checks.
#[derive(Debug)]
pub struct NodeRow {
    pub node: Node,
    json: Fragment,
    flat: Fragment,
}

impl NodeRow {
    pub(crate) fn new(node: Node) -> NodeRow {
        NodeRow { node, json: Fragment::default(), flat: Fragment::default() }
    }

    pub(crate) fn json(&self) -> &Bytes {
        self.json.get_or_init(|| fragment(&self.node))
    }

    /// The row as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        value(&self.node)
    }

    /// The node's part of a `catalog/service` row, from the opening brace to the last comma.
    pub(crate) fn flat(&self) -> &Bytes {
        self.flat.get_or_init(|| {
            let mut flat = fragment(&FlatNode(&self.node)).to_vec();
            flat.pop();
            flat.push(b',');
            flat.into()
        })
    }
}

/// The node's part of a `catalog/service` row.
struct FlatNode<'a>(&'a Node);

impl Serialize for FlatNode<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Node { id, node, address, datacenter, tagged_addresses, meta, create_index: _, modify_index: _ } = self.0;
        let mut row = to.serialize_struct("FlatNode", 6)?;
        row.serialize_field("ID", id)?;
        row.serialize_field("Node", node)?;
        row.serialize_field("Address", address)?;
        row.serialize_field("Datacenter", datacenter)?;
        row.serialize_field("TaggedAddresses", tagged_addresses)?;
        row.serialize_field("NodeMeta", meta)?;
        row.end()
    }
}

#[derive(Debug)]
pub struct ServiceRow {
    pub service: NodeService,
    /// The key of the name it is looked up by.
    pub(crate) key: Arc<str>,
    /// The key of the name it speaks for in a mesh, if any.
    pub(crate) connect: Option<Arc<str>>,
    json: Fragment,
    flat: Fragment,
}

impl ServiceRow {
    pub(crate) fn new(service: NodeService) -> ServiceRow {
        let (key, connect) = (key_of(&service.service), connect_name(&service).map(key_of));
        ServiceRow { service, key, connect, json: Fragment::default(), flat: Fragment::default() }
    }

    pub(crate) fn json(&self) -> &Bytes {
        self.json.get_or_init(|| fragment(&self.service))
    }

    /// The row as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        value(&self.service)
    }

    /// The instance's part of a `catalog/service` row, from its first name to the closing brace.
    pub(crate) fn flat(&self) -> &Bytes {
        self.flat.get_or_init(|| fragment(&FlatService(&self.service)).slice(1..))
    }
}

/// The name that an instance speaks for in a mesh: a native one for its own, a sidecar for its destination's.
fn connect_name(service: &NodeService) -> Option<&str> {
    if service.kind == "connect-proxy" {
        return service.proxy.get("DestinationServiceName").and_then(Value::as_str).filter(|name| !name.is_empty());
    }
    let native = service.connect.get("Native").and_then(Value::as_bool).unwrap_or(false);
    native.then_some(service.service.as_str())
}

/// The instance's part of a `catalog/service` row.
struct FlatService<'a>(&'a NodeService);

impl Serialize for FlatService<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let service = self.0;
        let mut row = to.serialize_struct("FlatService", 15)?;
        row.serialize_field("ServiceKind", &service.kind)?;
        row.serialize_field("ServiceID", &service.id)?;
        row.serialize_field("ServiceName", &service.service)?;
        row.serialize_field("ServiceTags", &service.tags)?;
        row.serialize_field("ServiceAddress", &service.address)?;
        if !service.tagged_addresses.is_empty() {
            row.serialize_field("ServiceTaggedAddresses", &service.tagged_addresses)?;
        }
        row.serialize_field("ServiceWeights", &service.weights.unwrap_or_default())?;
        // Never null here, unlike in the instance's own row.
        row.serialize_field("ServiceMeta", service.meta.as_ref().unwrap_or(&BTreeMap::new()))?;
        row.serialize_field("ServicePort", &service.port)?;
        row.serialize_field("ServiceSocketPath", &service.socket_path)?;
        row.serialize_field("ServiceEnableTagOverride", &service.enable_tag_override)?;
        row.serialize_field("ServiceProxy", &service.proxy)?;
        row.serialize_field("ServiceConnect", &service.connect)?;
        row.serialize_field("CreateIndex", &service.create_index)?;
        row.serialize_field("ModifyIndex", &service.modify_index)?;
        row.end()
    }
}

/// A row of `catalog/service` as a value, for filters.
pub(crate) fn flat_value(node: &NodeRow, service: &ServiceRow) -> Value {
    let (mut row, more) = (value(&FlatNode(&node.node)), value(&FlatService(&service.service)));
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

/// A check of a node or of an instance.
#[derive(Debug)]
pub struct CheckRow {
    pub check: HealthCheck,
    /// The observers and their votes; set for a voted check once it is assigned.
    pub(crate) assignment: Option<Arc<Assignment>>,
    json: Fragment,
}

impl CheckRow {
    pub(crate) fn new(check: HealthCheck) -> CheckRow {
        CheckRow { check, assignment: None, json: Fragment::default() }
    }

    /// A check with its votes, whose output names them.
    pub(crate) fn voted(mut check: HealthCheck, assignment: Arc<Assignment>) -> CheckRow {
        check.output = assignment.describe(check.status);
        CheckRow { assignment: Some(assignment), ..CheckRow::new(check) }
    }

    /// The row with other fields and the same votes.
    pub(crate) fn with(&self, check: HealthCheck) -> CheckRow {
        CheckRow { assignment: self.assignment.clone(), ..CheckRow::new(check) }
    }

    /// The status is voted on.
    pub(crate) fn is_voted(&self) -> bool {
        self.check.definition.voted.is_some()
    }

    /// The epoch of the assignment; 0 before there is one.
    pub(crate) fn epoch(&self) -> u64 {
        self.assignment.as_ref().map_or(0, |assignment| assignment.epoch)
    }

    /// The node names of its observers.
    pub(crate) fn observers(&self) -> &[String] {
        self.assignment.as_ref().map_or(&[], |assignment| &assignment.observers)
    }

    /// The name of an observer, as it is written in the assignment.
    pub(crate) fn observer(&self, name: &str) -> Option<&str> {
        self.assignment.as_ref().and_then(|assignment| assignment.observer(name))
    }

    /// True when `other` is probed in the same way by the same agents.
    pub(crate) fn is_observed_as(&self, other: &CheckRow) -> bool {
        self.epoch() == other.epoch() && self.check.definition == other.check.definition && self.check.node == other.check.node
    }

    pub(crate) fn json(&self) -> &Bytes {
        self.json.get_or_init(|| fragment(&*self.seen()))
    }

    /// The row as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        value(&*self.seen())
    }

    /// The check as users see it: a voted one without its definition.
    pub fn seen(&self) -> Cow<'_, HealthCheck> {
        match self.is_voted() {
            true => Cow::Owned(HealthCheck { definition: self.check.definition.shown(), ..self.check.clone() }),
            false => Cow::Borrowed(&self.check),
        }
    }

    /// The check belongs to the node, and to none of its instances.
    pub(crate) fn is_of_node(&self) -> bool {
        self.check.service_id.is_empty()
    }
}
