//! The shape of files and flags: Consul's keys, every one optional. `support` judges keys that are missing here,
//! `resolve` gives keys their meaning and defaults.

use super::document::{Document, Fault};
use super::merge::stanzas;
use super::stale_by_default::StaleByDefault;
use super::{hcl, json};
use crate::model::check::CheckType;
use crate::model::definition::ServiceDefinition;
use crate::model::watch::ConfiguredWatch;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

stanzas! {
    /// The top level of a configuration file; the fields are Consul's keys.
    File {
        server: bool,
        bootstrap: bool,
        bootstrap_expect: i64,
        datacenter: String,
        primary_datacenter: String,
        node_name: String,
        node_id: String,
        node_meta: BTreeMap<String, String>,
        data_dir: String,
        pid_file: String,
        bind_addr: String,
        client_addr: String,
        advertise_addr: String,
        advertise_addr_ipv4: String,
        advertise_addr_ipv6: String,
        advertise_addr_wan: String,
        advertise_addr_wan_ipv4: String,
        advertise_addr_wan_ipv6: String,
        serf_lan: String,
        serf_wan: String,
        serf_lan_allowed_cidrs: Vec<String>,
        serf_wan_allowed_cidrs: Vec<String>,
        addresses: Addresses,
        ports: Ports,
        start_join: Vec<String>,
        start_join_wan: Vec<String>,
        retry_join: Vec<String>,
        retry_join_wan: Vec<String>,
        retry_interval: Duration,
        retry_interval_wan: Duration,
        retry_max: i64,
        retry_max_wan: i64,
        rejoin_after_leave: bool,
        leave_on_terminate: bool,
        skip_leave_on_interrupt: bool,
        reconnect_timeout: Duration,
        advertise_reconnect_timeout: Duration,
        reconnect_timeout_wan: Duration,
        translate_wan_addrs: bool,
        tagged_addresses: BTreeMap<String, String>,
        domain: String,
        default_query_time: Duration,
        max_query_time: Duration,
        discovery_max_stale: Duration,
        session_ttl_min: Duration,
        check_update_interval: Duration,
        check_output_max_size: i64,
        discard_check_output: bool,
        enable_script_checks: bool,
        enable_local_script_checks: bool,
        enable_agent_tls_for_checks: bool,
        encrypt: String,
        ca_file: String,
        ca_path: String,
        cert_file: String,
        key_file: String,
        verify_incoming: bool,
        verify_incoming_rpc: bool,
        verify_incoming_https: bool,
        verify_outgoing: bool,
        verify_server_hostname: bool,
        tls_min_version: String,
        tls: TlsStanza,
        acl: AclStanza,
        performance: Performance,
        raft_snapshot_threshold: i64,
        raft_trailing_logs: i64,
        autopilot: AutopilotStanza,
        health: HealthStanza,
        limits: Limits,
        http_config: HttpConfig,
        ui: bool,
        ui_dir: String,
        ui_content_path: String,
        ui_config: UiConfig,
        log_level: String,
        log_json: bool,
        log_file: String,
        log_rotate_bytes: i64,
        log_rotate_duration: Duration,
        log_rotate_max_files: i64,
        unix_sockets: UnixSocketsStanza,
        bridge: BridgeStanza,
        federation: BTreeMap<String, Vec<String>>,
        service: Vec<ServiceDefinition>,
        services: Vec<ServiceDefinition>,
        check: Vec<CheckType>,
        checks: Vec<CheckType>,
        watches: Vec<ConfiguredWatch>,
    }

    Addresses { dns: String, http: String, https: String, }

    /// `ports {}`; -1 disables.
    Ports { dns: i64, http: i64, https: i64, server: i64, serf_lan: i64, serf_wan: i64, }

    TlsStanza { defaults: TlsListener, internal_rpc: TlsListener, https: TlsListener, grpc: TlsListener, }

    /// A part of `tls {}`.
    TlsListener {
        ca_file: String,
        ca_path: String,
        cert_file: String,
        key_file: String,
        verify_incoming: bool,
        verify_outgoing: bool,
        verify_server_hostname: bool,
        accept_plaintext: bool,
        tls_min_version: String,
    }

    /// `acl {}`, as far as it switches access control on.
    AclStanza { enabled: bool, }

    UnixSocketsStanza { user: String, group: String, mode: String, }

    Performance { raft_multiplier: i64, leave_drain_time: Duration, rpc_hold_timeout: Duration, }

    AutopilotStanza {
        cleanup_dead_servers: bool,
        last_contact_threshold: Duration,
        max_trailing_logs: i64,
        min_quorum: i64,
        server_stabilization_time: Duration,
    }

    /// `health {}`, a stanza of Kontor's own.
    HealthStanza { observe: bool, panic_threshold: i64, }

    Limits { http_max_conns_per_client: i64, kv_max_value_size: i64, txn_max_req_len: i64, }

    HttpConfig {
        block_endpoints: Vec<String>,
        response_headers: BTreeMap<String, String>,
        allow_write_http_from: Vec<String>,
        use_cache: bool,
    }

    UiConfig { enabled: bool, content_path: String, }

    /// `bridge {}`, a stanza of Kontor's own.
    BridgeStanza {
        require_ca: bool,
        accept_operator_writes: bool,
        cache_bytes: i64,
        stale_by_default: StaleByDefault,
        max_stale: Duration,
        disabled: Vec<String>,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Hcl,
    Json,
}

impl Format {
    pub(super) fn of(path: &Path) -> Option<Format> {
        Format::named(path.extension()?.to_str()?).ok()
    }

    /// The format of the value of `-config-format`.
    pub fn named(name: &str) -> Result<Format, String> {
        match name {
            "hcl" => Ok(Format::Hcl),
            "json" => Ok(Format::Json),
            other => Err(format!("-config-format: expected hcl or json, got {other:?}")),
        }
    }

    pub(super) fn parse(self, text: &str) -> Result<Document, Fault> {
        match self {
            // As in Consul, a text that begins like JSON is JSON under any file name.
            Format::Hcl if !text.trim_start().starts_with('{') => hcl::parse(text),
            Format::Hcl | Format::Json => json::parse(text),
        }
    }
}
