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
/// What precedes the service id in the check that puts a service into maintenance.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";

/// The state of a check, ordered by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// All is well.
    Passing,
    /// Usable with care.
    Warning,
    /// Not usable; what Go's clients mean when they send an empty state.
    #[default]
    #[serde(alias = "")]
    Critical,
}

impl CheckStatus {
    /// Consul's word for it.
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

/// How a check that the catalog carries is probed: the `Definition` of a [`HealthCheck`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckDefinition {
    /// URL to ask.
    #[serde(rename = "HTTP", skip_serializing_if = "String::is_empty")]
    pub http: String,
    /// Server name of the certificate.
    #[serde(rename = "TLSServerName", skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
    /// Whether certificates go unverified.
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "std::ops::Not::not")]
    pub tls_skip_verify: bool,
    /// HTTP headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Vec<String>>,
    /// HTTP method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// HTTP body.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// `host:port` to connect to.
    #[serde(rename = "TCP", skip_serializing_if = "String::is_empty")]
    pub tcp: String,
    /// Whether the TCP check speaks TLS.
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub tcp_use_tls: bool,
    /// `host:port` to send a datagram to.
    #[serde(rename = "UDP", skip_serializing_if = "String::is_empty")]
    pub udp: String,
    /// `host:port[/service]` to ask by gRPC.
    #[serde(rename = "GRPC", skip_serializing_if = "String::is_empty")]
    pub grpc: String,
    /// Whether the gRPC check speaks TLS.
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub grpc_use_tls: bool,
    /// Name of a service of the operating system.
    #[serde(rename = "OSService", skip_serializing_if = "String::is_empty")]
    pub os_service: String,
    /// Time between probes.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub interval: Duration,
    /// Time one probe may take.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub timeout: Duration,
    /// Time critical after which the service is deregistered.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub deregister_critical_service_after: Duration,
    /// Of a voted check: what its observers need beyond that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voted: Option<Box<VotedDefinition>>,
    /// All that users are shown of how a voted check is probed: how many do it. 0 in what is kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub observers: u32,
}

impl CheckDefinition {
    /// As users are shown it: that of a voted check has been brought by its agent and may hold secrets.
    pub fn shown(&self) -> CheckDefinition {
        match &self.voted {
            Some(voted) => CheckDefinition { observers: voted.observers, ..CheckDefinition::default() },
            None => self.clone(),
        }
    }

    /// Consul's word for what is probed; empty where nothing is.
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
    /// The node it belongs to.
    pub node: String,
    /// Unique on its node.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// For people.
    pub name: String,
    /// The current state.
    pub status: CheckStatus,
    /// For people.
    pub notes: String,
    /// What the last probe said.
    pub output: String,
    /// The instance it belongs to; empty for a check of the node.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// The name of that instance's service.
    pub service_name: String,
    /// The tags of that instance.
    pub service_tags: Vec<String>,
    /// `http`, `ttl`, … or empty.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Time between probes, as whoever registered it tells.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interval: String,
    /// Time one probe may take, as whoever registered it tells.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    /// The port of a proxy by which the check is reached; kept as it came.
    pub exposed_port: i64,
    /// How it is probed.
    pub definition: CheckDefinition,
    /// Index of the first registration.
    pub create_index: u64,
    /// Index of the last change.
    pub modify_index: u64,
}

/// How a user asks an agent to run a check: the `Check` of a service registration, an element of
/// its `Checks`, and the body of `check/register`, where alone `ID`, `ServiceID` and `Token` count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckType {
    /// Id of a check registered by itself; the name when empty.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service a check registered by itself belongs to; empty for a check of the node.
    #[serde(rename = "ServiceID", alias = "service_id")]
    pub service_id: String,
    /// The token a check registered by itself is registered with.
    #[serde(skip_serializing_if = "Token::is_empty")]
    pub token: Token,
    /// Explicit id of a service's check.
    #[serde(rename = "CheckID", alias = "check_id")]
    pub check_id: String,
    /// For people.
    pub name: String,
    /// Initial state; empty means critical.
    pub status: String,
    /// For people.
    pub notes: String,
    /// Command line of a script check.
    #[serde(alias = "args", alias = "script_args")]
    pub script_args: Vec<String>,
    /// URL of an HTTP check.
    #[serde(rename = "HTTP")]
    pub http: String,
    /// HTTP headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// HTTP method.
    pub method: String,
    /// HTTP body.
    pub body: String,
    /// Whether redirects are not followed.
    #[serde(alias = "disable_redirects")]
    pub disable_redirects: bool,
    /// `host:port` of a TCP check.
    #[serde(rename = "TCP")]
    pub tcp: String,
    /// Whether the TCP check speaks TLS.
    #[serde(rename = "TCPUseTLS", alias = "tcp_use_tls")]
    pub tcp_use_tls: bool,
    /// `host:port` of a UDP check.
    #[serde(rename = "UDP")]
    pub udp: String,
    /// Time between probes.
    #[serde(with = "duration::text")]
    pub interval: Duration,
    /// Node of the service this check mirrors.
    #[serde(alias = "alias_node")]
    pub alias_node: String,
    /// Id of the service this check mirrors.
    #[serde(alias = "alias_service")]
    pub alias_service: String,
    /// Container of a Docker check.
    #[serde(rename = "DockerContainerID", alias = "docker_container_id")]
    pub docker_container_id: String,
    /// Shell of a Docker check.
    pub shell: String,
    /// `host:port[/service]` of a gRPC check.
    #[serde(rename = "GRPC")]
    pub grpc: String,
    /// Whether the gRPC check speaks TLS.
    #[serde(rename = "GRPCUseTLS", alias = "grpc_use_tls")]
    pub grpc_use_tls: bool,
    /// `host:port` of an HTTP/2 ping check.
    #[serde(rename = "H2PING", alias = "h2ping")]
    pub h2ping: String,
    /// Whether the HTTP/2 ping check speaks TLS (default yes).
    #[serde(rename = "H2PingUseTLS", alias = "h2ping_use_tls")]
    pub h2ping_use_tls: Option<bool>,
    /// Name of an operating system's service.
    #[serde(rename = "OSService", alias = "os_service")]
    pub os_service: String,
    /// Server name of the certificate.
    #[serde(rename = "TLSServerName", alias = "tls_server_name")]
    pub tls_server_name: String,
    /// Whether certificates go unverified.
    #[serde(rename = "TLSSkipVerify", alias = "tls_skip_verify")]
    pub tls_skip_verify: bool,
    /// Time one probe may take.
    #[serde(with = "duration::text")]
    pub timeout: Duration,
    /// Time after which a check that nobody updates turns critical.
    #[serde(rename = "TTL", with = "duration::text")]
    pub ttl: Duration,
    /// Successes in a row before passing.
    #[serde(alias = "success_before_passing")]
    pub success_before_passing: u32,
    /// Failures in a row before warning.
    #[serde(alias = "failures_before_warning")]
    pub failures_before_warning: u32,
    /// Failures in a row before critical.
    #[serde(alias = "failures_before_critical")]
    pub failures_before_critical: u32,
    /// Time critical after which the service is deregistered.
    #[serde(with = "duration::text", alias = "deregister_critical_service_after")]
    pub deregister_critical_service_after: Duration,
    /// Bytes of output kept; 0 for the agent's default.
    #[serde(alias = "output_max_size")]
    pub output_max_size: i64,
    /// How many agents probe it and vote on its status; 0 for the one alone that it is registered with.
    #[serde(skip_serializing_if = "is_zero")]
    pub observers: u32,
}

/// In place of what is hidden.
const HIDDEN: &str = "<hidden>";

impl HealthCheck {
    /// As its agent shows it: values of headers, the body and passwords in addresses are hidden.
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

pub(super) fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What the catalog's `Definition` carries of a voted check alone, so that others than its owner can
/// probe it as its owner does. Ordinary checks have none of it, and their JSON stays Consul's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VotedDefinition {
    /// How many agents shall probe it, its owner among them.
    pub observers: u32,
    /// `host:port` of an HTTP/2 ping check.
    #[serde(rename = "H2PING", skip_serializing_if = "String::is_empty")]
    pub h2ping: String,
    /// Whether the HTTP/2 ping check speaks TLS (default yes).
    #[serde(rename = "H2PingUseTLS", skip_serializing_if = "Option::is_none")]
    pub h2ping_use_tls: Option<bool>,
    /// Whether the TCP check speaks TLS.
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub tcp_use_tls: bool,
    /// Whether the gRPC check speaks TLS.
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    pub grpc_use_tls: bool,
    /// Whether redirects are not followed.
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
