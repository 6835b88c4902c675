//! The configuration as `agent/self` shows it, with Consul's names and without secrets; and the limits of a reload.

use super::{Config, HttpAddress};
use crate::defaults;
use crate::model::duration;
use crate::model::member::cloud_provider;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

impl Config {
    /// All settings that help to find a fault. The gossip key and tokens never show.
    pub fn described(&self) -> Value {
        let mut all = entries(self);
        all.extend(united([advertised(self), tls(self), release()]));
        Value::Object(all)
    }

    /// The settings, by the names of [`Config::described`], that differ in `wanted` and need a restart.
    pub fn needs_restart(&self, wanted: &Config) -> Vec<String> {
        // Reloadable settings and those kept on disk are made the same first.
        let mut taken = self.clone();
        taken.take_reloadable(wanted.clone());
        let mut wanted = Config { node_id: wanted.node_id.or(self.node_id), ..wanted.clone() };
        if wanted.places.says_as(&self.places) {
            // Addresses of the host are followed without a restart.
            wanted.take_addresses(self);
        }
        let (mut before, after) = (entries(&taken), entries(&wanted));
        before.retain(|key, value| after.get(key) != Some(value));
        let mut keys: Vec<String> = before.into_iter().map(|(key, _)| key).collect();
        if self.encrypt != wanted.encrypt && !keys.iter().any(|key| key == "EncryptKey") {
            keys.push("EncryptKey".to_owned());
        }
        keys
    }

    /// Takes over the settings that a reload changes.
    pub fn take_reloadable(&mut self, wanted: Config) {
        self.services = wanted.services;
        self.checks = wanted.checks;
        self.watches = wanted.watches;
        self.node_meta = wanted.node_meta;
        self.log_level = wanted.log_level;
        self.discard_check_output = wanted.discard_check_output;
        self.http_max_conns_per_client = wanted.http_max_conns_per_client;
        self.bridge_disabled = wanted.bridge_disabled;
        self.federation = wanted.federation;
        // Only a start begins to show a certificate, or to trust by one.
        if self.tls.has_kinds_of(&wanted.tls) {
            self.tls.take_files(&wanted.tls);
        }
    }
}

/// The settings that `needs_restart` compares, each once.
fn entries(config: &Config) -> Map<String, Value> {
    united([identity(config), addresses(config), membership(config), behaviour(config)])
}

fn united<const N: usize>(parts: [Value; N]) -> Map<String, Value> {
    let objects = parts.into_iter().filter_map(|part| if let Value::Object(part) = part { Some(part) } else { None });
    objects.flatten().collect()
}

fn identity(config: &Config) -> Value {
    json!({
        "Bootstrap": config.bootstrap_expect == 1,
        "BootstrapExpect": config.bootstrap_expect,
        "DataDir": path(&config.data_dir),
        "Datacenter": config.datacenter,
        "DevMode": config.dev,
        "DNSDomain": format!("{}.", config.domain),
        "NodeID": config.node_id.map(|id| id.to_string()).unwrap_or_default(),
        "NodeMeta": config.node_meta,
        "NodeName": config.node_name,
        "PidFile": path(&config.pid_file),
        "PrimaryDatacenter": config.primary_datacenter,
        "ServerMode": config.server,
        "ACLsEnabled": false,
    })
}

fn addresses(config: &Config) -> Value {
    let http = |address: &HttpAddress| match address {
        HttpAddress::Tcp(address) => format!("tcp://{address}"),
        HttpAddress::Unix(path) => format!("unix://{}", path.display()),
    };
    let http_port = config.http.iter().find_map(HttpAddress::tcp).map(|tcp| tcp.port());
    json!({
        "AdvertiseAddrLAN": config.advertise.to_string(),
        "AdvertiseAddrWAN": config.advertise_wan.to_string(),
        "BindAddr": config.bind.to_string(),
        "BridgeAddr": format!("udp://{}", config.bridge),
        "ClientAddrs": texts(&config.client_addrs),
        // Nothing answers DNS yet.
        "DNSAddrs": Vec::<String>::new(),
        "DNSPort": -1,
        "HTTPAddrs": config.http.iter().map(http).collect::<Vec<_>>(),
        "HTTPPort": http_port.map_or(-1, i32::from),
        "HTTPSAddrs": config.https.iter().map(|address| format!("tcp://{address}")).collect::<Vec<_>>(),
        "HTTPSPort": config.https.first().map_or(-1, |address| i32::from(address.port())),
        "RPCBindAddr": format!("tcp://{}", config.rpc),
        "SerfBindAddrLAN": format!("tcp://{}", config.serf_lan),
        "SerfBindAddrWAN": config.serf_wan.map(|address| format!("tcp://{address}")),
        "SerfPortLAN": config.serf_lan.port(),
        "SerfPortWAN": config.serf_wan.map_or(-1, |address| i32::from(address.port())),
        "ServerPort": config.rpc.port(),
        "TaggedAddresses": config.tagged_addresses,
        "TranslateWANAddrs": config.translate_wan_addrs,
        "UnixSocketGroup": config.unix_sockets.group,
        "UnixSocketMode": config.unix_sockets.mode.map(|mode| format!("{mode:o}")),
        "UnixSocketUser": config.unix_sockets.user,
    })
}

/// The advertised addresses, by which clients join agents.
fn advertised(config: &Config) -> Value {
    let at = |address: IpAddr, port: u16| format!("tcp://{}", SocketAddr::new(address, port));
    json!({
        "RPCAdvertiseAddr": at(config.advertise, config.rpc.port()),
        "SerfAdvertiseAddrLAN": at(config.advertise, config.serf_lan.port()),
        "SerfAdvertiseAddrWAN": config.serf_wan.map(|wan| at(config.advertise_wan, wan.port())),
    })
}

/// Facts by which tools know the release and its missing parts.
fn release() -> Value {
    json!({
        "Version": defaults::CONSUL_VERSION,
        "VersionMetadata": "",
        "VersionPrerelease": "",
        "Revision": concat!("kontor-", env!("CARGO_PKG_VERSION")),
        "BuildDate": defaults::CONSUL_BUILD_DATE,
        "ACLResolverSettings": {"ACLsEnabled": false, "ACLDefaultPolicy": "allow"},
        "AutoEncryptAllowTLS": false,
        "AutoEncryptTLS": false,
        "ConnectEnabled": false,
        "DisableRemoteExec": true,
        "EnableDebug": false,
        "GRPCAddrs": [],
        "GRPCPort": -1,
        "GRPCTLSAddrs": [],
        "GRPCTLSPort": -1,
        "PeeringEnabled": false,
        "RPCProtocol": 2,
        "RaftProtocol": 3,
        "ReadReplica": false,
        "SegmentName": "",
        "Segments": [],
    })
}

/// Certificates and verification, as releases from 1.12 on show them.
fn tls(config: &Config) -> Value {
    let kind = |verify_incoming: bool| {
        json!({
            "CAFile": path(&config.tls.ca_file),
            "CAPath": path(&config.tls.ca_path),
            "CertFile": path(&config.tls.cert_file),
            "KeyFile": if config.tls.key_file.is_some() { "hidden" } else { "" },
            "VerifyIncoming": verify_incoming,
            "VerifyOutgoing": config.tls.verify_outgoing,
            "VerifyServerHostname": config.tls.verify_server_hostname,
        })
    };
    json!({"TLS": {"HTTPS": kind(config.tls.verify_incoming_https), "InternalRPC": kind(config.tls.verify_incoming_rpc)}})
}

fn membership(config: &Config) -> Value {
    json!({
        "EncryptKey": if config.encrypt.is_some() { "hidden" } else { "" },
        "LeaveDrainTime": duration::format(config.leave_drain_time),
        "LeaveOnTerm": config.leave_on_terminate,
        "AdvertiseReconnectTimeout": duration::format(config.advertise_reconnect_timeout.unwrap_or_default()),
        "ReconnectTimeoutLAN": duration::format(config.reconnect_timeout),
        "ReconnectTimeoutWAN": duration::format(config.reconnect_timeout_wan),
        "RejoinAfterLeave": config.rejoin_after_leave,
        "RetryJoinIntervalLAN": duration::format(config.join_lan.interval),
        "RetryJoinIntervalWAN": duration::format(config.join_wan.interval),
        "RetryJoinLAN": joins(&config.join_lan.retry),
        "RetryJoinMaxAttemptsLAN": config.join_lan.max,
        "RetryJoinMaxAttemptsWAN": config.join_wan.max,
        "RetryJoinWAN": joins(&config.join_wan.retry),
        "SerfAllowedCIDRsLAN": texts(&config.serf_lan_allowed_cidrs),
        "SerfAllowedCIDRsWAN": texts(&config.serf_wan_allowed_cidrs),
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "BridgeCacheBytes": config.bridge_cache_bytes,
        "BridgeDisabled": config.bridge_disabled,
        "BridgeMaxStale": config.bridge_max_stale.map(duration::format).unwrap_or_default(),
        "BridgeAcceptOperatorWrites": config.bridge_accept_operator_writes,
        "BridgeRequireCA": config.bridge_require_ca,
        "BridgeStaleByDefault": config.bridge_stale_by_default.to_string(),
        "Federation": config.federation.iter().map(|(dc, servers)| (dc, texts(servers))).collect::<BTreeMap<_, _>>(),
        "CAFile": path(&config.tls.ca_file),
        "CAPath": path(&config.tls.ca_path),
        "CertFile": path(&config.tls.cert_file),
        "KeyFile": if config.tls.key_file.is_some() { "hidden" } else { "" },
        "VerifyIncomingHTTPS": config.tls.verify_incoming_https,
        "VerifyIncomingRPC": config.tls.verify_incoming_rpc,
        "VerifyOutgoing": config.tls.verify_outgoing,
        "VerifyServerHostname": config.tls.verify_server_hostname,
        "AcceptPlaintextRPC": config.tls.accept_plaintext,
        "TLSMinVersion": if config.tls.only_tls13 { "tls13" } else { "tls12" },
    })
}

fn behaviour(config: &Config) -> Value {
    json!({
        "AllowWriteHTTPFrom": texts(&config.allow_write_http_from),
        "AutopilotCleanupDeadServers": config.autopilot.cleanup_dead_servers,
        "AutopilotLastContactThreshold": duration::format(config.autopilot.last_contact_threshold),
        "AutopilotMaxTrailingLogs": config.autopilot.max_trailing_logs,
        "AutopilotMinQuorum": config.autopilot.min_quorum,
        "AutopilotServerStabilizationTime": duration::format(config.autopilot.server_stabilization_time),
        "CheckOutputMaxSize": config.check_output_max_size,
        "CheckUpdateInterval": duration::format(config.check_update_interval),
        "DefaultQueryTime": duration::format(config.default_query_time),
        "DiscardCheckOutput": config.discard_check_output,
        "EnableAgentTLSForChecks": config.enable_agent_tls_for_checks,
        "EnableLocalScriptChecks": config.enable_local_script_checks,
        "EnableRemoteScriptChecks": config.enable_script_checks,
        "DiscoveryMaxStale": duration::format(config.discovery_max_stale),
        "KVMaxValueSize": config.kv_max_value,
        "SessionTTLMin": duration::format(config.session_ttl_min),
        "TxnMaxReqLen": config.txn_max_request,
        "HealthObserve": config.health_observe,
        "HealthPanicThreshold": config.health_panic_threshold,
        "HTTPBlockEndpoints": config.block_endpoints,
        "HTTPMaxConnsPerClient": config.http_max_conns_per_client,
        "HTTPResponseHeaders": config.response_headers.keys().collect::<Vec<_>>(),
        "HTTPUseCache": config.use_cache,
        "Logging": {"LogLevel": config.log_level, "LogJSON": config.log_json,
            "LogFilePath": config.log_file.as_ref().map(|file| file.folder.join(&file.name).display().to_string()).unwrap_or_default(),
            "LogRotateBytes": config.log_file.as_ref().map_or(0, |file| file.max_bytes),
            "LogRotateDuration": config.log_file.as_ref().map(|file| duration::format(file.max_age)).unwrap_or_default(),
            "LogRotateMaxFiles": config.log_file.as_ref().map(|file| file.max_files)},
        "MaxQueryTime": duration::format(config.max_query_time),
        "RPCHoldTimeout": duration::format(config.rpc_hold_timeout),
        "RaftMultiplier": config.raft_multiplier,
        "RaftSnapshotThreshold": config.raft_snapshot_entries,
        "RaftTrailingLogs": config.raft_trailing_logs,
        "Services": config.services.iter().map(|service| &service.name).collect::<Vec<_>>(),
        "Checks": config.checks.iter().map(|check| &check.name).collect::<Vec<_>>(),
        // Their handlers may name secrets.
        "Watches": config.watches.iter().map(|watch| watch.watch.view.kind()).collect::<Vec<_>>(),
        "UIConfig": {"Enabled": config.ui_path.is_some(), "ContentPath": config.ui_path},
    })
}

/// Addresses to join, without the parameters of cloud providers, which may hold secrets.
fn joins(addresses: &[String]) -> Vec<String> {
    let shown = |address: &String| cloud_provider(address).map(|provider| format!("provider={provider} hidden"));
    addresses.iter().map(|address| shown(address).unwrap_or_else(|| address.clone())).collect()
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn path(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}
