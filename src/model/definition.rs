//! A service as its user defines it: the body of `PUT /v1/agent/service/register`, and the
//! `service` and `services` of configuration files.

use super::check::CheckType;
use super::ids::Token;
use super::service::{ServiceAddress, Weights};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A service as it is registered with an agent. The aliases are the names of configuration files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceDefinition {
    /// Empty for a plain service.
    pub kind: String,
    /// The name when empty.
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    /// Address of the instance; empty means the node's.
    pub address: String,
    #[serde(alias = "tagged_addresses")]
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    pub meta: BTreeMap<String, String>,
    /// TCP or UDP port; 0 for none.
    pub port: u16,
    /// Path of a Unix socket in place of address and port.
    #[serde(alias = "socket_path")]
    pub socket_path: String,
    pub check: Option<CheckType>,
    pub checks: Vec<CheckType>,
    /// SRV weights; 1/1 when unset.
    pub weights: Option<Weights>,
    #[serde(skip_serializing_if = "Token::is_empty")]
    pub token: Token,
    /// Tags in the catalog win over these.
    #[serde(alias = "enable_tag_override")]
    pub enable_tag_override: bool,
    /// Mesh settings, kept as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Value>,
    /// Mesh settings, kept as they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Value>,
}
