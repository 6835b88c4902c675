//! An instance of a service on a node.

use super::check::is_zero;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Weights of DNS SRV answers, by the state of the instance. A weight that is left out beside the other is 0, as in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    /// Weight while passing, 1 to 65535.
    #[serde(default)]
    pub passing: u32,
    /// Weight while warning, 0 to 65535.
    #[serde(default)]
    pub warning: u32,
}

impl Weights {
    /// The weights of clients that set none.
    pub const UNSET: Weights = Weights { passing: 0, warning: 0 };

    /// Refuses weights that DNS cannot carry.
    pub fn check(self) -> Result<(), &'static str> {
        const MAX: u32 = u16::MAX as u32;
        match (self.passing, self.warning) {
            (0, _) => Err("Passing must be greater than 0"),
            (passing, warning) if passing > MAX || warning > MAX => Err("DNS Weight must be between 0 and 65535"),
            _ => Ok(()),
        }
    }
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { passing: 1, warning: 1 }
    }
}

/// An address and port by which a service is reached from some place (`lan`, `wan`, …).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceAddress {
    pub address: String,
    /// TCP or UDP port; 0 for none.
    pub port: u16,
}

/// One instance of a service, as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeService {
    /// Empty for a plain service; `connect-proxy`, `mesh-gateway`, … otherwise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Unique on its node; the name when the user gave none.
    #[serde(rename = "ID")]
    pub id: String,
    /// The name it is looked up by.
    pub service: String,
    /// Never null in JSON.
    pub tags: Vec<String>,
    /// Address of the instance; empty means its node's.
    pub address: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Null in JSON when the user gave null.
    pub meta: Option<BTreeMap<String, String>>,
    /// TCP or UDP port; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u16,
    /// Path of a Unix socket in place of address and port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// SRV weights; null where none were registered.
    pub weights: Option<Weights>,
    /// Tags in the catalog win over those of the agent.
    pub enable_tag_override: bool,
    /// Mesh settings, kept as they came.
    pub proxy: Value,
    /// Mesh settings, kept as they came.
    pub connect: Value,
    pub create_index: u64,
    pub modify_index: u64,
}

impl Default for NodeService {
    fn default() -> NodeService {
        NodeService {
            kind: String::new(),
            id: String::new(),
            service: String::new(),
            tags: Vec::new(),
            address: String::new(),
            tagged_addresses: BTreeMap::new(),
            meta: None,
            port: 0,
            socket_path: String::new(),
            weights: None,
            enable_tag_override: false,
            proxy: empty_proxy(),
            connect: empty_object(),
            create_index: 0,
            modify_index: 0,
        }
    }
}

/// Consul's JSON for a service without a proxy.
pub fn empty_proxy() -> Value {
    serde_json::json!({"Mode": "", "MeshGateway": {}, "Expose": {}})
}

/// Consul's JSON for a service without mesh settings.
pub fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
