//! Keys of Consul whose part is not built: accepted with one warning each, so that existing files
//! start. What users trust for safety is not here but read in `file`, and works or refuses.
//!
//! Called by `merge` for every key that no stanza takes.

use super::problems::Problems;
use serde_json::{Value, json};

/// Keys at the top that have no effect yet.
const TOP: &[&str] = &[
    "alt_domain",
    "auto_reload_config",
    "disable_coordinates",
    "disable_host_node_id",
    "disable_keyring_file",
    "disable_remote_exec",
    "disable_anonymous_signature",
    "disable_update_check",
    "disable_http_unprintable_char_filter",
    "enable_central_service_config",
    "enable_debug",
    "enable_syslog",
    "encrypt_verify_incoming",
    "encrypt_verify_outgoing",
    "license_path",
    "non_voting_server",
    "partition",
    "primary_gateways",
    "primary_gateways_interval",
    "protocol",
    "raft_protocol",
    "raft_snapshot_interval",
    "read_replica",
    "recursors",
    "segment",
    "segments",
    "server_name",
    "syslog_facility",
    "tls_cipher_suites",
    "tls_prefer_server_cipher_suites",
    "use_streaming_backend",
];

/// Keys of access control as it was before `acl {}`.
const OLD_ACL: &[&str] = &[
    "acl_agent_master_token",
    "acl_agent_token",
    "acl_datacenter",
    "acl_default_policy",
    "acl_down_policy",
    "acl_enable_key_list_policy",
    "acl_enforce_version_8",
    "acl_master_token",
    "acl_replication_token",
    "acl_token",
    "acl_ttl",
    "enable_acl_replication",
];

/// Stanzas and the keys they may have; `*` for any.
const STANZAS: &[(&str, &[&str])] = &[
    (
        "acl",
        &[
            "default_policy",
            "down_policy",
            "policy_ttl",
            "role_ttl",
            "token_ttl",
            "enable_key_list_policy",
            "enable_token_replication",
            "enable_token_persistence",
            "disabled_ttl",
            "msp_disable_bootstrap",
            "tokens",
        ],
    ),
    ("addresses", &["grpc", "grpc_tls"]),
    ("audit", &["*"]),
    ("auto_config", &["*"]),
    ("auto_encrypt", &["tls", "allow_tls", "dns_san", "ip_san"]),
    ("autopilot", &["redundancy_zone_tag", "disable_upgrade_migration", "upgrade_version_tag"]),
    ("cache", &["entry_fetch_rate", "entry_fetch_max_burst"]),
    ("config_entries", &["bootstrap"]),
    ("cloud", &["*"]),
    ("connect", &["*"]),
    (
        "dns_config",
        &[
            "allow_stale",
            "max_stale",
            "node_ttl",
            "service_ttl",
            "only_passing",
            "enable_truncate",
            "udp_answer_limit",
            "a_record_limit",
            "disable_compression",
            "recursor_strategy",
            "recursor_timeout",
            "enable_additional_node_meta_txt",
            "soa",
            "use_cache",
            "cache_max_age",
            "prefer_namespace",
        ],
    ),
    ("gossip_lan", GOSSIP),
    ("gossip_wan", GOSSIP),
    ("http_config", &["max_header_bytes"]),
    (
        "limits",
        &[
            "https_handshake_timeout",
            "rpc_handshake_timeout",
            "rpc_client_timeout",
            "rpc_rate",
            "rpc_max_burst",
            "rpc_max_conns_per_client",
            "request_limits",
        ],
    ),
    ("locality", &["*"]),
    ("peering", &["enabled", "test_allow_peer_registrations"]),
    ("performance", &["grpc_keepalive_interval", "grpc_keepalive_timeout"]),
    (
        "ports",
        &[
            "grpc",
            "grpc_tls",
            "sidecar_min_port",
            "sidecar_max_port",
            "expose_min_port",
            "expose_max_port",
            "proxy_min_port",
            "proxy_max_port",
        ],
    ),
    ("raft_boltdb", &["*"]),
    ("raft_logstore", &["*"]),
    ("reporting", &["*"]),
    ("rpc", &["enable_streaming"]),
    ("snapshot_agent", &["*"]),
    ("telemetry", TELEMETRY),
    ("tls.defaults", &["tls_cipher_suites"]),
    ("tls.grpc", &["tls_cipher_suites", "use_auto_cert"]),
    ("tls.https", &["tls_cipher_suites"]),
    ("tls.internal_rpc", &["tls_cipher_suites", "server_name"]),
    ("ui_config", &["dir", "metrics_provider", "metrics_provider_files", "metrics_proxy", "dashboard_url_templates"]),
    ("xds", &["update_max_per_second"]),
];

const GOSSIP: &[&str] =
    &["gossip_nodes", "gossip_interval", "probe_interval", "probe_timeout", "suspicion_mult", "retransmit_mult"];

const TELEMETRY: &[&str] = &[
    "metrics_prefix",
    "statsd_address",
    "statsite_address",
    "dogstatsd_addr",
    "dogstatsd_tags",
    "disable_hostname",
    "prefix_filter",
    "filter_default",
    "prometheus_retention_time",
    "disable_compat_1.9",
    "circonus_api_app",
    "circonus_api_token",
    "circonus_api_url",
    "circonus_broker_id",
    "circonus_broker_select_tag",
    "circonus_check_display_name",
    "circonus_check_force_metric_activation",
    "circonus_check_id",
    "circonus_check_instance_id",
    "circonus_check_search_tag",
    "circonus_check_tags",
    "circonus_submission_interval",
    "circonus_submission_url",
];

/// Judges a key that no stanza took: nothing, a warning, or `invalid config key`.
pub(super) fn judge(written: &str, value: &Value, problems: &mut Problems) {
    let key = written.to_ascii_lowercase();
    let key = key.as_str();
    if let Some(reason) = contradiction(key, value) {
        problems.error(format!("{key}: {reason}"));
    } else if already_so(key, value) {
        // Asked for is what happens anyway.
    } else if TOP.contains(&key) {
        problems.warn(format!("{key} is accepted and has no effect yet"));
    } else if OLD_ACL.contains(&key) {
        problems
            .warn(format!("{key} is accepted and has no effect: access control is not offered, so everybody may do everything"));
    } else if let Some((stanza, known)) = STANZAS.iter().find(|(stanza, _)| *stanza == key) {
        judge_stanza(stanza, known, value, problems);
    } else if key.rsplit_once('.').is_some_and(|(stanza, name)| nested_is_known(stanza, name)) {
        problems.warn(format!("{key} is accepted and has no effect yet"));
    } else {
        problems.unknown(written);
    }
}

fn judge_stanza(stanza: &str, known: &[&str], value: &Value, problems: &mut Problems) {
    let objects: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    for object in objects {
        match object.as_object() {
            Some(object) => {
                let is_known = |name: &str| known.iter().any(|known| *known == "*" || known.eq_ignore_ascii_case(name));
                object.keys().filter(|name| !is_known(name)).for_each(|name| problems.unknown(&format!("{stanza}.{name}")));
            }
            None => problems.error(format!("{stanza}: expected an object")),
        }
    }
    problems.warn(format!("{stanza} is accepted and has no effect yet"));
}

fn nested_is_known(stanza: &str, name: &str) -> bool {
    STANZAS.iter().any(|(known, names)| *known == stanza && (names.contains(&name) || names.contains(&"*")))
}

/// Settings whose asked value is how this program is built.
fn already_so(key: &str, value: &Value) -> bool {
    match key {
        "disable_update_check" | "disable_anonymous_signature" => true,
        "disable_host_node_id" | "disable_remote_exec" | "encrypt_verify_incoming" | "encrypt_verify_outgoing" => {
            *value == json!(true)
        }
        "partition" => *value == json!("default") || *value == json!(""),
        "peering.enabled" | "read_replica" | "non_voting_server" | "enable_debug" | "enable_syslog" | "disable_coordinates" => {
            *value == json!(false)
        }
        "raft_protocol" => *value == json!(3),
        "protocol" => *value == json!(2) || *value == json!(3),
        "ports.grpc" | "ports.grpc_tls" => *value == json!(-1),
        "connect.enabled" => *value == json!(false),
        _ => false,
    }
}

/// Values that would change what the agent is, and cannot be passed over.
fn contradiction(key: &str, value: &Value) -> Option<&'static str> {
    let is_text = value.as_str().is_some_and(|text| !text.is_empty());
    match key {
        "raft_protocol" if !matches!(value.as_i64(), Some(2..=3)) => Some("expected 3"),
        "protocol" if !matches!(value.as_i64(), Some(2..=3)) => Some("expected 2 or 3"),
        "segment" if is_text => Some("network segments are not offered; remove it"),
        _ => None,
    }
}
