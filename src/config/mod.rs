//! Configuration: what users write (`file`, flags) resolved into what the agent uses ([`Config`]).
//!
//! `cli` makes [`Sources`] of its flags and calls [`resolve`]; `agent` takes the result apart. All
//! errors are told at once.
//!
//! The way of a setting: `hcl` and `json` make a `document` of a text, `file` says which keys there are, `merge` reads
//! and joins them, `support` judges the keys of Consul that are not built, `resolve` with `network` and `safety` turns
//! the rest into a [`Config`], starting from `baseline`; `federation` has what concerns other datacenters. All that is
//! wrong is collected by `problems`. Addresses are chosen by `chooser` and `template` on what `interfaces` tells;
//! `places` does it again while an agent runs.

mod banner;
mod baseline;
mod chooser;
mod debug;
mod definition;
mod document;
mod federation;
mod file;
mod hcl;
mod interfaces;
mod json;
mod merge;
mod network;
mod places;
mod problems;
mod ranges;
mod resolve;
mod safety;
mod sources;
mod stale_by_default;
mod static_servers;
mod support;
mod template;
mod unix_sockets;
mod values;
mod watches;

pub use banner::banner;
pub use document::Position;
pub use file::Format;
pub use interfaces::{Flags, Host, Interface};
pub use places::{Located, Places};
pub use problems::ConfigError;
pub use resolve::{resolve, resolve_on};
pub use sources::{Sources, services_of};
pub use stale_by_default::StaleByDefault;
pub use static_servers::StaticServer;

use crate::model::autopilot::AutopilotConfig;
use crate::model::check::CheckType;
use crate::model::definition::ServiceDefinition;
use crate::model::ids::NodeId;
use crate::model::log_file::LogFile;
use crate::model::watch::ConfiguredWatch;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where an HTTP listener sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    /// `ip:port`
    Tcp(SocketAddr),
    /// `unix://path`
    Unix(PathBuf),
}

/// `unix_sockets {}`: what the files of Unix sockets are made; nothing is left as the system makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSockets {
    /// Id of the user they belong to.
    pub user: Option<u32>,
    /// Id of the group they belong to.
    pub group: Option<u32>,
    /// Who may read and write them.
    pub mode: Option<u32>,
}

/// Joining of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// Addresses tried for ever (or `max` times): `-join`, `-retry-join`, `start_join`.
    pub retry: Vec<String>,
    /// Time between tries.
    pub interval: Duration,
    /// Tries before giving up; 0 for ever.
    pub max: u32,
}

/// TLS as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `ca_file`
    pub ca_file: Option<PathBuf>,
    /// `ca_path`
    pub ca_path: Option<PathBuf>,
    /// `cert_file`
    pub cert_file: Option<PathBuf>,
    /// `key_file`
    pub key_file: Option<PathBuf>,
    /// `verify_incoming` or `verify_incoming_rpc`
    pub verify_incoming_rpc: bool,
    /// `verify_incoming` or `verify_incoming_https`
    pub verify_incoming_https: bool,
    /// `verify_outgoing`
    pub verify_outgoing: bool,
    /// `verify_server_hostname`
    pub verify_server_hostname: bool,
    /// `tls { internal_rpc { accept_plaintext } }`: agents without TLS may still speak to this one.
    pub accept_plaintext: bool,
    /// `tls_min_version` is tls13
    pub only_tls13: bool,
}

impl Tls {
    /// Whether there are an authority to judge others by and a certificate to show them.
    pub fn is_whole(&self) -> bool {
        (self.ca_file.is_some() || self.ca_path.is_some()) && self.cert_file.is_some()
    }

    /// Whether there is a certificate to show, with its key.
    pub fn has_certificate(&self) -> bool {
        self.cert_file.is_some() && self.key_file.is_some()
    }

    /// Whether all files that are named are on this machine.
    pub fn is_here(&self) -> bool {
        [&self.ca_file, &self.ca_path, &self.cert_file, &self.key_file].into_iter().flatten().all(|path| path.exists())
    }

    /// Whether `other` names files of the same kinds, wherever they lie.
    pub fn has_kinds_of(&self, other: &Tls) -> bool {
        let kinds = |tls: &Tls| (tls.ca_file.is_some() || tls.ca_path.is_some(), tls.cert_file.is_some(), tls.key_file.is_some());
        kinds(self) == kinds(other)
    }

    /// Names the files that `other` names; what is verified stays.
    pub fn take_files(&mut self, other: &Tls) {
        self.ca_file.clone_from(&other.ca_file);
        self.ca_path.clone_from(&other.ca_path);
        self.cert_file.clone_from(&other.cert_file);
        self.key_file.clone_from(&other.key_file);
    }
}

impl Config {
    /// Whether a fingerprint makes nobody a server of another datacenter: as configured, or once there are
    /// certificates that can.
    pub fn requires_ca(&self) -> bool {
        self.bridge_require_ca.unwrap_or_else(|| self.tls.is_whole())
    }
}

/// Everything an agent is told, resolved and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: bool,
    pub dev: bool,
    /// Probe faster than the pools' defaults (dev mode, demo).
    pub fast_gossip: bool,
    /// 1 for `bootstrap`; 0 for a server that joins a cluster.
    pub bootstrap_expect: u32,
    pub datacenter: String,
    pub primary_datacenter: String,
    pub node_name: String,
    /// `None`: kept in the data directory, made at the first start.
    pub node_id: Option<NodeId>,
    pub node_meta: BTreeMap<String, String>,
    /// `None` in dev mode.
    pub data_dir: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub bind: IpAddr,
    pub advertise: IpAddr,
    pub advertise_wan: IpAddr,
    pub http: Vec<HttpAddress>,
    pub unix_sockets: UnixSockets,
    pub https: Vec<SocketAddr>,
    /// Where DNS is to be answered; nothing listens there yet.
    pub dns: Vec<SocketAddr>,
    /// For the banner.
    pub client_addrs: Vec<IpAddr>,
    /// RPC over TCP.
    pub rpc: SocketAddr,
    /// The bridge over UDP: on `serf_wan`'s address, with the RPC port.
    pub bridge: SocketAddr,
    pub serf_lan: SocketAddr,
    /// `None` when `ports.serf_wan` is -1.
    pub serf_wan: Option<SocketAddr>,
    /// What was written about addresses.
    pub places: Places,
    pub serf_lan_allowed_cidrs: Vec<ipnet::IpNet>,
    pub serf_wan_allowed_cidrs: Vec<ipnet::IpNet>,
    pub tagged_addresses: BTreeMap<String, String>,
    pub translate_wan_addrs: bool,
    pub join_lan: Join,
    pub join_wan: Join,
    pub rejoin_after_leave: bool,
    pub leave_on_terminate: bool,
    pub skip_leave_on_interrupt: bool,
    pub leave_drain_time: Duration,
    pub reconnect_timeout: Duration,
    /// `advertise_reconnect_timeout`: when the others forget this agent, where it tells.
    pub advertise_reconnect_timeout: Option<Duration>,
    pub reconnect_timeout_wan: Duration,
    pub encrypt: Option<Vec<u8>>,
    pub tls: Tls,
    /// `bridge { require_ca }`; where it is not set, it is as the certificates allow.
    pub bridge_require_ca: Option<bool>,
    /// `bridge { accept_operator_writes }`: operators of other datacenters may change this one.
    pub bridge_accept_operator_writes: bool,
    /// `bridge { cache_bytes }`: bytes of answers of other datacenters that are held.
    pub bridge_cache_bytes: u64,
    /// `bridge { stale_by_default }`
    pub bridge_stale_by_default: StaleByDefault,
    /// `bridge { max_stale }`: how old an answer of another datacenter may be that is still given.
    pub bridge_max_stale: Option<Duration>,
    /// `bridge { disabled }`: datacenters that are neither dialled nor answered, in lower case.
    pub bridge_disabled: BTreeSet<String>,
    /// `federation {}`: servers of other datacenters, by datacenter in lower case.
    pub federation: BTreeMap<String, Vec<StaticServer>>,
    pub domain: String,
    pub default_query_time: Duration,
    pub max_query_time: Duration,
    pub discovery_max_stale: Duration,
    /// The shortest TTL that a session may have.
    pub session_ttl_min: Duration,
    /// Bytes of the largest value of a key.
    pub kv_max_value: usize,
    /// Bytes of the largest transaction.
    pub txn_max_request: usize,
    pub rpc_hold_timeout: Duration,
    /// 1 (fast) to 10 (slow); scales Raft's timeouts.
    pub raft_multiplier: u32,
    pub raft_snapshot_entries: u64,
    pub raft_trailing_logs: u64,
    /// `autopilot {}`, with which a new cluster begins.
    pub autopilot: AutopilotConfig,
    /// `health { observe }`: whether this agent probes for others.
    pub health_observe: bool,
    /// `health { panic_threshold }`: below how many passing instances of a hundred `passing` answers hold all of a
    /// service; 0 for never.
    pub health_panic_threshold: u8,
    pub check_update_interval: Duration,
    pub check_output_max_size: usize,
    pub discard_check_output: bool,
    /// Scripts of whoever may use the HTTP API are run as checks.
    pub enable_script_checks: bool,
    /// Scripts of configuration files are; also where those of the API are.
    pub enable_local_script_checks: bool,
    /// Checks show this agent's certificate and judge by its authorities.
    pub enable_agent_tls_for_checks: bool,
    pub http_max_conns_per_client: usize,
    pub block_endpoints: Vec<String>,
    pub response_headers: BTreeMap<String, String>,
    pub allow_write_http_from: Vec<ipnet::IpNet>,
    pub use_cache: bool,
    pub ui_path: Option<String>,
    pub log_level: String,
    pub log_json: bool,
    pub log_file: Option<LogFile>,
    pub services: Vec<ServiceDefinition>,
    pub checks: Vec<CheckType>,
    pub watches: Vec<ConfiguredWatch>,
    /// What is accepted and not built yet, for one warning each at start.
    pub warnings: Vec<String>,
}
