//! The rows of the catalog, each with its JSON made when it is written, so that a list answer is a
//! concatenation.
//!
//! `register` and `snapshot` make rows; `catalog`, `health` and `coordinate` copy their fragments
//! out. A row never changes: a change is a new row.

use crate::model::check::HealthCheck;
use crate::model::coordinate::NodeCoordinate;
use crate::model::node::Node;
use crate::model::service::{NodeService, ServiceAddress, Weights};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The form under which names are compared: Consul pays no regard to their case.
pub(super) fn key_of(name: &str) -> Arc<str> {
    name.to_lowercase().into()
}

/// The JSON of what cannot fail to have one: plain structs with text keys.
fn fragment(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from)
}

/// A node without what hangs on it.
#[derive(Debug)]
pub(super) struct NodeRow {
    pub(super) node: Node,
    /// `{"ID":…}`
    pub(super) json: Bytes,
    /// The node's part of a `catalog/service` row, from the opening brace to the last comma.
    pub(super) flat: Bytes,
}

impl NodeRow {
    pub(super) fn new(node: Node) -> NodeRow {
        let flat = FlatNode {
            id: &node.id,
            node: &node.node,
            address: &node.address,
            datacenter: &node.datacenter,
            tagged_addresses: &node.tagged_addresses,
            node_meta: &node.meta,
        };
        let mut flat = fragment(&flat).to_vec();
        flat.pop();
        flat.push(b',');
        NodeRow { json: fragment(&node), flat: flat.into(), node }
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

/// An instance of a service.
#[derive(Debug)]
pub(super) struct ServiceRow {
    pub(super) service: NodeService,
    /// The key of the name it is looked up by.
    pub(super) key: Arc<str>,
    /// The key of the name it speaks for in a mesh, if any.
    pub(super) connect: Option<Arc<str>>,
    /// `{"ID":…}`
    pub(super) json: Bytes,
    /// The instance's part of a `catalog/service` row, from its first name to the closing brace.
    pub(super) flat: Bytes,
}

impl ServiceRow {
    pub(super) fn new(service: NodeService) -> ServiceRow {
        let flat = fragment(&FlatService::of(&service)).slice(1..);
        let connect = connect_name(&service).map(key_of);
        ServiceRow { key: key_of(&service.service), connect, json: fragment(&service), flat, service }
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

/// A check of a node or of an instance.
#[derive(Debug)]
pub(super) struct CheckRow {
    pub(super) check: HealthCheck,
    /// `{"Node":…}`
    pub(super) json: Bytes,
}

impl CheckRow {
    pub(super) fn new(check: HealthCheck) -> CheckRow {
        CheckRow { json: fragment(&check), check }
    }

    /// Whether it speaks of the whole node.
    pub(super) fn is_of_node(&self) -> bool {
        self.check.service_id.is_empty()
    }
}

/// Where a node lies.
#[derive(Debug)]
pub(super) struct CoordinateRow {
    pub(super) coordinate: NodeCoordinate,
    /// Raft index of its last change.
    pub(super) index: u64,
    /// `{"Node":…}`
    pub(super) json: Bytes,
}

impl CoordinateRow {
    pub(super) fn new(coordinate: NodeCoordinate, index: u64) -> CoordinateRow {
        CoordinateRow { json: fragment(&coordinate), coordinate, index }
    }
}
