//! A health check: its result in the catalog, and how it is defined.

use super::duration;
use super::ids::Token;
use super::uri;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The check that the leader keeps for every member of the LAN pool.
pub const SERF_HEALTH: &str = "serfHealth";
/// The check that puts a node into maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// The beginning of the id of a check that puts a service into maintenance; the service id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";

/// The state of a check, ordered by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    Passing,
    Warning,
    /// The meaning of the empty state that Go's clients send.
    #[default]
    #[serde(alias = "")]
    Critical,
}

impl CheckStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Passing => "passing",
            CheckStatus::Warning => "warning",
            CheckStatus::Critical => "critical",
        }
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CheckStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<CheckStatus, String> {
        match text {
            "passing" => Ok(CheckStatus::Passing),
            "warning" => Ok(CheckStatus::Warning),
            "critical" => Ok(CheckStatus::Critical),
            other => Err(format!("expected passing, warning or critical, got {other:?}")),
        }
    }
}

/// The `Definition` of a [`HealthCheck`]: the way it is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckDefinition {
    /// URL to ask.
    #[serde(rename = "HTTP", skip_serializing_if = "String::is_empty")]
    pub http: String,
    #[serde(rename = "TLSServerName", skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "std::ops::Not::not")]
    pub tls_skip_verify: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// `host:port` to connect to.
    #[serde(rename = "TCP", skip_serializing_if = "String::is_empty")]
    pub tcp: String,
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub tcp_use_tls: bool,
    /// `host:port` to send a datagram to.
    #[serde(rename = "UDP", skip_serializing_if = "String::is_empty")]
    pub udp: String,
    /// `host:port[/service]` to ask by gRPC.
    #[serde(rename = "GRPC", skip_serializing_if = "String::is_empty")]
    pub grpc: String,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub grpc_use_tls: bool,
    #[serde(rename = "OSService", skip_serializing_if = "String::is_empty")]
    pub os_service: String,
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub interval: Duration,
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub timeout: Duration,
    /// Time in critical state after which the service is deregistered.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub deregister_critical_service_after: Duration,
    /// The fields of a voted check that its observers need beyond those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voted: Option<Box<VotedDefinition>>,
    /// The number of observers, which users are shown in place of a voted definition. 0 in the catalog.
    #[serde(skip_serializing_if = "is_zero")]
    pub observers: u32,
}

impl CheckDefinition {
    /// The definition for users. That of a voted check comes from its agent and may hold secrets.
    pub fn shown(&self) -> CheckDefinition {
        match &self.voted {
            Some(voted) => CheckDefinition { observers: voted.observers, ..CheckDefinition::default() },
            None => self.clone(),
        }
    }

    /// Consul's word for the target; empty where there is none.
    pub fn kind(&self) -> &'static str {
        let CheckDefinition { http, tcp, udp, grpc, os_service, .. } = self;
        let targets = [(grpc, "grpc"), (http, "http"), (tcp, "tcp"), (udp, "udp"), (os_service, "os_service")];
        targets.into_iter().find(|(target, _)| !target.is_empty()).map_or("", |(_, kind)| kind)
    }
}

/// A check as the catalog keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    pub node: String,
    /// Unique on its node.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    pub name: String,
    pub status: CheckStatus,
    pub notes: String,
    pub output: String,
    /// The instance it belongs to; empty for a check of the node.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    pub service_name: String,
    pub service_tags: Vec<String>,
    /// `http`, `ttl`, … or empty.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Time between probes, as it was registered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interval: String,
    /// Time one probe may take, as it was registered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    /// The port of a proxy that leads to the check; kept as it came.
    pub exposed_port: i64,
    pub definition: CheckDefinition,
    pub create_index: u64,
    pub modify_index: u64,
}

/// A check as a user defines it: the `Check` of a service registration, an element of its `Checks`, and the body of
/// `check/register`, where alone `ID`, `ServiceID` and `Token` count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckType {
    /// Id of a check registered by itself; the name when empty.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service of a check registered by itself; empty for a check of the node.
    #[serde(rename = "ServiceID", alias = "service_id")]
    pub service_id: String,
    /// The token of a check registered by itself.
    #[serde(skip_serializing_if = "Token::is_empty")]
    pub token: Token,
    /// Explicit id of a service's check.
    #[serde(rename = "CheckID", alias = "check_id")]
    pub check_id: String,
    pub name: String,
    /// Initial state; empty means critical.
    pub status: String,
    pub notes: String,
    #[serde(alias = "args", alias = "script_args")]
    pub script_args: Vec<String>,
    #[serde(rename = "HTTP")]
    pub http: String,
    pub header: BTreeMap<String, Vec<String>>,
    pub method: String,
    pub body: String,
    #[serde(alias = "disable_redirects")]
    pub disable_redirects: bool,
    /// `host:port` of a TCP check.
    #[serde(rename = "TCP")]
    pub tcp: String,
    #[serde(rename = "TCPUseTLS", alias = "tcp_use_tls")]
    pub tcp_use_tls: bool,
    /// `host:port` of a UDP check.
    #[serde(rename = "UDP")]
    pub udp: String,
    #[serde(with = "duration::text")]
    pub interval: Duration,
    #[serde(alias = "alias_node")]
    pub alias_node: String,
    #[serde(alias = "alias_service")]
    pub alias_service: String,
    #[serde(rename = "DockerContainerID", alias = "docker_container_id")]
    pub docker_container_id: String,
    pub shell: String,
    /// `host:port[/service]` of a gRPC check.
    #[serde(rename = "GRPC")]
    pub grpc: String,
    #[serde(rename = "GRPCUseTLS", alias = "grpc_use_tls")]
    pub grpc_use_tls: bool,
    /// `host:port` of an HTTP/2 ping check.
    #[serde(rename = "H2PING", alias = "h2ping")]
    pub h2ping: String,
    /// Unset means yes.
    #[serde(rename = "H2PingUseTLS", alias = "h2ping_use_tls")]
    pub h2ping_use_tls: Option<bool>,
    #[serde(rename = "OSService", alias = "os_service")]
    pub os_service: String,
    #[serde(rename = "TLSServerName", alias = "tls_server_name")]
    pub tls_server_name: String,
    #[serde(rename = "TLSSkipVerify", alias = "tls_skip_verify")]
    pub tls_skip_verify: bool,
    #[serde(with = "duration::text")]
    pub timeout: Duration,
    /// Time after which a check without an update turns critical.
    #[serde(rename = "TTL", with = "duration::text")]
    pub ttl: Duration,
    #[serde(alias = "success_before_passing")]
    pub success_before_passing: u32,
    #[serde(alias = "failures_before_warning")]
    pub failures_before_warning: u32,
    #[serde(alias = "failures_before_critical")]
    pub failures_before_critical: u32,
    /// Time in critical state after which the service is deregistered.
    #[serde(with = "duration::text", alias = "deregister_critical_service_after")]
    pub deregister_critical_service_after: Duration,
    /// Bytes of output kept; 0 for the agent's default.
    #[serde(alias = "output_max_size")]
    pub output_max_size: i64,
    /// The number of agents that probe it and vote on its status; 0 for its own agent alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub observers: u32,
}

const HIDDEN: &str = "<hidden>";

impl HealthCheck {
    /// The check as its agent shows it: values of headers, the body and passwords in addresses are hidden.
    pub fn masked(&self) -> HealthCheck {
        let mut check = self.clone();
        let definition = &mut check.definition;
        definition.header.values_mut().flatten().for_each(|value| HIDDEN.clone_into(value));
        if !definition.body.is_empty() {
            HIDDEN.clone_into(&mut definition.body);
        }
        definition.http = uri::shown(&definition.http).into_owned();
        check
    }
}

pub(super) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// The part of the catalog's `Definition` that voted checks alone carry, so that other agents can probe as the owner does.
/// The JSON of ordinary checks stays Consul's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VotedDefinition {
    /// The number of agents that probe it, its owner among them.
    pub observers: u32,
    /// `host:port` of an HTTP/2 ping check.
    #[serde(rename = "H2PING", skip_serializing_if = "String::is_empty")]
    pub h2ping: String,
    /// Unset means yes.
    #[serde(rename = "H2PingUseTLS", skip_serializing_if = "Option::is_none")]
    pub h2ping_use_tls: Option<bool>,
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub tcp_use_tls: bool,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub grpc_use_tls: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_redirects: bool,
    /// Successes in a row before an observer votes passing.
    #[serde(skip_serializing_if = "is_zero")]
    pub success_before_passing: u32,
    /// Failures in a row before an observer votes warning.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures_before_warning: u32,
    /// Failures in a row before an observer votes critical.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures_before_critical: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_shows_what_is_probed_and_no_secret_of_it() {
        let definition = CheckDefinition {
            http: "http://user:s3cret@h/health".into(),
            header: [("Authorization".to_owned(), vec!["Bearer s3cret".to_owned(), "s3cret".to_owned()])].into(),
            body: "{\"token\": \"s3cret\"}".into(),
            ..CheckDefinition::default()
        };
        let shown = serde_json::to_string(&HealthCheck { definition, ..HealthCheck::default() }.masked()).expect("JSON");
        assert!(!shown.contains("s3cret") && shown.contains("Authorization") && shown.contains("@h/health"), "{shown}");
    }

    #[test]
    fn of_a_voted_check_users_see_how_many_observe_it() {
        let voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
        let definition = CheckDefinition { http: "http://h/".into(), voted, ..CheckDefinition::default() };
        assert_eq!(serde_json::to_string(&definition.shown()).expect("JSON"), r#"{"Observers":3}"#);
    }
}
