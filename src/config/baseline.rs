//! The configuration of somebody who configures nothing: every default in one literal.
//!
//! `resolve` starts from it and overwrites what was configured.

use super::{Config, Join, Places, StaleByDefault, Tls, UnixSockets};
use crate::defaults;
use crate::model::autopilot::AutopilotConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// All defaults. Addresses are unspecified until `network` has chosen them.
pub(super) fn baseline() -> Config {
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let join = Join { retry: Vec::new(), interval: defaults::RETRY_INTERVAL, max: 0 };
    Config {
        server: false,
        dev: false,
        fast_gossip: false,
        bootstrap_expect: 0,
        datacenter: defaults::DATACENTER.to_owned(),
        primary_datacenter: defaults::DATACENTER.to_owned(),
        node_name: String::new(),
        node_id: None,
        node_meta: BTreeMap::new(),
        data_dir: None,
        pid_file: None,
        bind: nowhere,
        advertise: nowhere,
        advertise_wan: nowhere,
        http: Vec::new(),
        unix_sockets: UnixSockets::default(),
        https: Vec::new(),
        dns: Vec::new(),
        client_addrs: Vec::new(),
        rpc: SocketAddr::new(nowhere, 0),
        bridge: SocketAddr::new(nowhere, 0),
        serf_lan: SocketAddr::new(nowhere, 0),
        serf_wan: None,
        places: Places::default(),
        serf_lan_allowed_cidrs: Vec::new(),
        serf_wan_allowed_cidrs: Vec::new(),
        tagged_addresses: BTreeMap::new(),
        translate_wan_addrs: false,
        join_lan: join.clone(),
        join_wan: join,
        rejoin_after_leave: false,
        leave_on_terminate: true,
        skip_leave_on_interrupt: false,
        leave_drain_time: defaults::LEAVE_DRAIN_TIME,
        reconnect_timeout: defaults::RECONNECT_TIMEOUT,
        advertise_reconnect_timeout: None,
        reconnect_timeout_wan: defaults::RECONNECT_TIMEOUT,
        encrypt: None,
        tls: Tls::default(),
        bridge_require_ca: None,
        bridge_accept_operator_writes: false,
        bridge_cache_bytes: defaults::BRIDGE_CACHE_BYTES,
        bridge_stale_by_default: StaleByDefault::Never,
        bridge_max_stale: None,
        bridge_disabled: BTreeSet::new(),
        federation: BTreeMap::new(),
        domain: defaults::DOMAIN.to_owned(),
        default_query_time: defaults::DEFAULT_QUERY_TIME,
        max_query_time: defaults::MAX_QUERY_TIME,
        discovery_max_stale: Duration::ZERO,
        rpc_hold_timeout: defaults::RPC_HOLD,
        raft_multiplier: defaults::RAFT_MULTIPLIER,
        raft_snapshot_entries: defaults::RAFT_SNAPSHOT_ENTRIES,
        raft_trailing_logs: defaults::RAFT_TRAILING_ENTRIES,
        autopilot: AutopilotConfig::default(),
        health_observe: true,
        health_panic_threshold: 0,
        check_update_interval: defaults::CHECK_UPDATE_INTERVAL,
        check_output_max_size: defaults::CHECK_OUTPUT_MAX_SIZE,
        discard_check_output: false,
        enable_script_checks: false,
        enable_local_script_checks: false,
        enable_agent_tls_for_checks: false,
        http_max_conns_per_client: defaults::HTTP_MAX_CONNS_PER_CLIENT,
        block_endpoints: Vec::new(),
        response_headers: BTreeMap::new(),
        allow_write_http_from: Vec::new(),
        use_cache: true,
        ui_path: None,
        log_level: "INFO".to_owned(),
        log_json: false,
        log_file: None,
        services: Vec::new(),
        checks: Vec::new(),
        watches: Vec::new(),
        warnings: Vec::new(),
    }
}
