//! Configuration: files and flags ([`Sources`]), resolved into the settings of an agent ([`Config`]).
//!
//! The way of a setting: `hcl` and `json` make a `document` of a text, `file` lists the keys, `merge` reads and joins
//! them, `support` judges Consul's other keys, and `resolve` turns the rest into a [`Config`], starting from `baseline`.
//! `problems` collects all errors. `chooser` and `template` find addresses on the host; `places` repeats that later.

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl HttpAddress {
    /// The address, if it is one of TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        if let HttpAddress::Tcp(addr) = self { Some(*addr) } else { None }
    }
}

/// `unix_sockets {}`: owner and mode of the sockets' files; unset fields are the system's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSockets {
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub mode: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// Addresses tried for ever (or `max` times): `-join`, `-retry-join`, `start_join`.
    pub retry: Vec<String>,
    pub interval: Duration,
    /// Tries before giving up; 0 for ever.
    pub max: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub ca_file: Option<PathBuf>,
    pub ca_path: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// `verify_incoming` or `verify_incoming_rpc`
    pub verify_incoming_rpc: bool,
    /// `verify_incoming` or `verify_incoming_https`
    pub verify_incoming_https: bool,
    pub verify_outgoing: bool,
    pub verify_server_hostname: bool,
    /// `tls { internal_rpc { accept_plaintext } }`: agents without TLS may still speak to this one.
    pub accept_plaintext: bool,
    /// `tls_min_version` is tls13
    pub only_tls13: bool,
}

impl Tls {
    /// True with an authority and a certificate.
    pub fn is_whole(&self) -> bool {
        (self.ca_file.is_some() || self.ca_path.is_some()) && self.cert_file.is_some()
    }

    /// True with a certificate and its key.
    pub fn has_certificate(&self) -> bool {
        self.cert_file.is_some() && self.key_file.is_some()
    }

    /// True when all named files are on this machine.
    pub fn is_here(&self) -> bool {
        [&self.ca_file, &self.ca_path, &self.cert_file, &self.key_file].into_iter().flatten().all(|path| path.exists())
    }

    /// True when both name files of the same kinds.
    pub fn has_kinds_of(&self, other: &Tls) -> bool {
        let kinds = |tls: &Tls| (tls.ca_file.is_some() || tls.ca_path.is_some(), tls.cert_file.is_some(), tls.key_file.is_some());
        kinds(self) == kinds(other)
    }

    /// Takes over the files of `other`, without its rules of verification.
    pub fn take_files(&mut self, other: &Tls) {
        self.ca_file.clone_from(&other.ca_file);
        self.ca_path.clone_from(&other.ca_path);
        self.cert_file.clone_from(&other.cert_file);
        self.key_file.clone_from(&other.key_file);
    }
}

impl Config {
    /// True when servers of other datacenters need a certificate of the CA: as configured, else with a CA.
    pub fn requires_ca(&self) -> bool {
        self.bridge_require_ca.unwrap_or_else(|| self.tls.is_whole())
    }
}

/// All settings of an agent, resolved and checked.
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
    /// Addresses for DNS, on which nothing listens yet.
    pub dns: Vec<SocketAddr>,
    /// For the banner.
    pub client_addrs: Vec<IpAddr>,
    pub rpc: SocketAddr,
    /// The bridge over UDP: on `serf_wan`'s address, with the RPC port.
    pub bridge: SocketAddr,
    pub serf_lan: SocketAddr,
    /// `None` when `ports.serf_wan` is -1.
    pub serf_wan: Option<SocketAddr>,
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
    /// `advertise_reconnect_timeout`: the time until other members forget this agent, if it sets one.
    pub advertise_reconnect_timeout: Option<Duration>,
    pub reconnect_timeout_wan: Duration,
    pub encrypt: Option<Vec<u8>>,
    pub tls: Tls,
    /// `bridge { require_ca }`; by default as the certificates allow.
    pub bridge_require_ca: Option<bool>,
    /// `bridge { accept_operator_writes }`: operators of other datacenters may change this one.
    pub bridge_accept_operator_writes: bool,
    /// `bridge { cache_bytes }`: bytes of answers of other datacenters that are held.
    pub bridge_cache_bytes: u64,
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
    /// `health { panic_threshold }`: percentage of passing instances below which `passing` answers hold all; 0 for never.
    pub health_panic_threshold: u8,
    pub check_update_interval: Duration,
    pub check_output_max_size: usize,
    pub discard_check_output: bool,
    /// Scripts of users of the HTTP API are run as checks.
    pub enable_script_checks: bool,
    /// Scripts of configuration files are run as checks; implied by `enable_script_checks`.
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
    /// Warnings for the start, such as settings without effect yet.
    pub warnings: Vec<String>,
}
