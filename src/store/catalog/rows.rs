//! The rows of the catalog, each with its JSON, so that a list answer is a concatenation.
//!
//! The JSON is made at the first read and kept: most rows are written on every server and read on
//! few, and what is written is paid for three times.
//!
//! `register` and `records` make rows; `listing` and `health` copy their fragments out. A row never
//! changes: a change is a new row.

use crate::model::check::HealthCheck;
use crate::model::node::Node;
use crate::model::service::{NodeService, ServiceAddress, Weights};
use crate::model::vote::Assignment;
use crate::store::json::{Fragment, fragment, value};
use crate::store::key::key_of;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node without what hangs on it.
#[derive(Debug)]
pub struct NodeRow {
    /// The row itself.
    pub node: Node,
    json: Fragment,
    flat: Fragment,
}

impl NodeRow {
    pub(crate) fn new(node: Node) -> NodeRow {
        NodeRow { node, json: Fragment::default(), flat: Fragment::default() }
    }

    /// `{"ID":…}`
    pub(crate) fn json(&self) -> &Bytes {
        self.json.get(|| fragment(&self.node))
    }

    /// The same as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        value(&self.node)
    }

    /// The node's part of a `catalog/service` row, from the opening brace to the last comma.
    pub(crate) fn flat(&self) -> &Bytes {
        self.flat.get(|| {
            let mut flat = fragment(&FlatNode::of(&self.node)).to_vec();
            flat.pop();
            flat.push(b',');
            flat.into()
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FlatNode<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: &'a Option<BTreeMap<String, String>>,
    node_meta: &'a Option<BTreeMap<String, String>>,
}

impl FlatNode<'_> {
    fn of(node: &Node) -> FlatNode<'_> {
        FlatNode {
            id: &node.id,
            node: &node.node,
            address: &node.address,
            datacenter: &node.datacenter,
            tagged_addresses: &node.tagged_addresses,
            node_meta: &node.meta,
        }
    }
}

/// An instance of a service.
#[derive(Debug)]
pub struct ServiceRow {
    /// The row itself.
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

    /// `{"ID":…}`
    pub(crate) fn json(&self) -> &Bytes {
        self.json.get(|| fragment(&self.service))
    }

    /// The same as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        value(&self.service)
    }

    /// The instance's part of a `catalog/service` row, from its first name to the closing brace.
    pub(crate) fn flat(&self) -> &Bytes {
        self.flat.get(|| fragment(&FlatService::of(&self.service)).slice(1..))
    }
}

/// The name that an instance speaks for in a mesh: its own when it is native, that of its
/// destination when it is a sidecar.
fn connect_name(service: &NodeService) -> Option<&str> {
    if service.kind == "connect-proxy" {
        return service.proxy.get("DestinationServiceName").and_then(Value::as_str).filter(|name| !name.is_empty());
    }
    let native = service.connect.get("Native").and_then(Value::as_bool).unwrap_or(false);
    native.then_some(service.service.as_str())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FlatService<'a> {
    service_kind: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_tagged_addresses: &'a BTreeMap<String, ServiceAddress>,
    service_weights: Weights,
    /// Never null here, unlike in the instance's own row.
    #[serde(serialize_with = "meta_or_empty")]
    service_meta: &'a Option<BTreeMap<String, String>>,
    service_port: u16,
    service_socket_path: &'a str,
    service_enable_tag_override: bool,
    service_proxy: &'a Value,
    service_connect: &'a Value,
    create_index: u64,
    modify_index: u64,
}

fn meta_or_empty<S: Serializer>(meta: &Option<BTreeMap<String, String>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(meta.iter().flatten())
}

impl FlatService<'_> {
    fn of(service: &NodeService) -> FlatService<'_> {
        FlatService {
            service_kind: &service.kind,
            service_id: &service.id,
            service_name: &service.service,
            service_tags: &service.tags,
            service_address: &service.address,
            service_tagged_addresses: &service.tagged_addresses,
            service_weights: service.weights.unwrap_or_default(),
            service_meta: &service.meta,
            service_port: service.port,
            service_socket_path: &service.socket_path,
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: &service.proxy,
            service_connect: &service.connect,
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

/// A row of `catalog/service` as a value, for filters.
pub(crate) fn flat_value(node: &NodeRow, service: &ServiceRow) -> Value {
    let (mut row, more) = (value(&FlatNode::of(&node.node)), value(&FlatService::of(&service.service)));
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

/// A check of a node or of an instance.
#[derive(Debug)]
pub struct CheckRow {
    /// The row itself.
    pub check: HealthCheck,
    /// Who votes on it; for voted checks alone, once somebody is assigned.
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

    /// The same with other fields; the votes stay.
    pub(crate) fn with(&self, check: HealthCheck) -> CheckRow {
        CheckRow { assignment: self.assignment.clone(), ..CheckRow::new(check) }
    }

    /// Whether its status is voted on.
    pub(crate) fn is_voted(&self) -> bool {
        self.check.definition.voted.is_some()
    }

    /// Its assignment's epoch; 0 before there is one.
    pub(crate) fn epoch(&self) -> u64 {
        self.assignment.as_ref().map_or(0, |assignment| assignment.epoch)
    }

    /// The node names of its observers.
    pub(crate) fn observers(&self) -> &[String] {
        self.assignment.as_ref().map_or(&[], |assignment| &assignment.observers)
    }

    /// The name of one of its observers, as it is written in the assignment.
    pub(crate) fn observer(&self, name: &str) -> Option<&str> {
        self.assignment.as_ref().and_then(|assignment| assignment.observer(name))
    }

    /// Whether `other` is probed in the same way by the same agents.
    pub(crate) fn is_observed_as(&self, other: &CheckRow) -> bool {
        self.epoch() == other.epoch() && self.check.definition == other.check.definition && self.check.node == other.check.node
    }

    /// `{"Node":…}`, as users see it.
    pub(crate) fn json(&self) -> &Bytes {
        self.json.get(|| fragment(&*self.seen()))
    }

    /// The same as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        value(&*self.seen())
    }

    /// The check as users see it: that of a voted one without how it is probed.
    pub fn seen(&self) -> Cow<'_, HealthCheck> {
        match self.is_voted() {
            true => Cow::Owned(HealthCheck { definition: self.check.definition.shown(), ..self.check.clone() }),
            false => Cow::Borrowed(&self.check),
        }
    }

    /// Whether it speaks of the whole node.
    pub(crate) fn is_of_node(&self) -> bool {
        self.check.service_id.is_empty()
    }
}
