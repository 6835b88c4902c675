//! A node of the catalog.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A machine or container that carries services. `Datacenter` is filled when rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID text, or empty for nodes registered from outside without one.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name, unique in its datacenter without regard to case.
    pub node: String,
    /// IP address or DNS name.
    pub address: String,
    /// The datacenter of the catalog that holds the node.
    pub datacenter: String,
    /// `lan`, `wan`, `lan_ipv4`, `wan_ipv4`, … to address.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Free key/value pairs, filtered on by `node-meta`.
    pub meta: Option<BTreeMap<String, String>>,
    pub create_index: u64,
    pub modify_index: u64,
}
