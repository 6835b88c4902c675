//! Keys of Consul whose part is not built: each is accepted with one warning, so that existing files start.
//! Keys that users trust for safety are read in `file`, and work or refuse.

use super::problems::Problems;
use serde_json::{Value, json};

/// Keys at the top that have no effect yet.
const TOP: &str = "alt_domain auto_reload_config disable_anonymous_signature disable_coordinates disable_host_node_id \
    disable_http_unprintable_char_filter disable_keyring_file disable_remote_exec disable_update_check \
    enable_central_service_config enable_debug enable_syslog encrypt_verify_incoming encrypt_verify_outgoing license_path \
    non_voting_server partition primary_gateways primary_gateways_interval protocol raft_protocol raft_snapshot_interval \
    read_replica recursors segment segments server_name syslog_facility tls_cipher_suites \
    tls_prefer_server_cipher_suites use_streaming_backend";

/// Keys of access control as it was before `acl {}`.
const OLD_ACL: &str = "acl_agent_master_token acl_agent_token acl_datacenter acl_default_policy acl_down_policy \
    acl_enable_key_list_policy acl_enforce_version_8 acl_master_token acl_replication_token acl_token acl_ttl \
    enable_acl_replication";

/// Stanzas and the keys they may have; `*` for any.
const STANZAS: &[(&str, &str)] = &[
    (
        "acl",
        "default_policy disabled_ttl down_policy enable_key_list_policy enable_token_persistence enable_token_replication \
         msp_disable_bootstrap policy_ttl role_ttl token_ttl tokens",
    ),
    ("addresses", "grpc grpc_tls"),
    ("audit", "*"),
    ("auto_config", "*"),
    ("auto_encrypt", "allow_tls dns_san ip_san tls"),
    ("autopilot", "disable_upgrade_migration redundancy_zone_tag upgrade_version_tag"),
    ("cache", "entry_fetch_max_burst entry_fetch_rate"),
    ("config_entries", "bootstrap"),
    ("cloud", "*"),
    ("connect", "*"),
    (
        "dns_config",
        "a_record_limit allow_stale cache_max_age disable_compression enable_additional_node_meta_txt enable_truncate max_stale \
         node_ttl only_passing prefer_namespace recursor_strategy recursor_timeout service_ttl soa udp_answer_limit use_cache",
    ),
    ("gossip_lan", GOSSIP),
    ("gossip_wan", GOSSIP),
    ("http_config", "max_header_bytes"),
    (
        "limits",
        "https_handshake_timeout request_limits rpc_client_timeout rpc_handshake_timeout rpc_max_burst \
         rpc_max_conns_per_client rpc_rate",
    ),
    ("locality", "*"),
    ("peering", "enabled test_allow_peer_registrations"),
    ("performance", "grpc_keepalive_interval grpc_keepalive_timeout"),
    ("ports", "expose_max_port expose_min_port grpc grpc_tls proxy_max_port proxy_min_port sidecar_max_port sidecar_min_port"),
    ("raft_boltdb", "*"),
    ("raft_logstore", "*"),
    ("reporting", "*"),
    ("rpc", "enable_streaming"),
    ("snapshot_agent", "*"),
    (
        "telemetry",
        "circonus_api_app circonus_api_token circonus_api_url circonus_broker_id circonus_broker_select_tag \
         circonus_check_display_name circonus_check_force_metric_activation circonus_check_id circonus_check_instance_id \
         circonus_check_search_tag circonus_check_tags circonus_submission_interval circonus_submission_url \
         disable_compat_1.9 disable_hostname dogstatsd_addr dogstatsd_tags filter_default metrics_prefix prefix_filter \
         prometheus_retention_time statsd_address statsite_address",
    ),
    ("tls.defaults", "tls_cipher_suites"),
    ("tls.grpc", "tls_cipher_suites use_auto_cert"),
    ("tls.https", "tls_cipher_suites"),
    ("tls.internal_rpc", "server_name tls_cipher_suites"),
    ("ui_config", "dashboard_url_templates dir metrics_provider metrics_provider_files metrics_proxy"),
    ("xds", "update_max_per_second"),
];

const GOSSIP: &str = "gossip_interval gossip_nodes probe_interval probe_timeout retransmit_mult suspicion_mult";

/// True when `name`, in capitals or not, is one of the words of `keys`.
fn has(keys: &str, name: &str) -> bool {
    keys.split_whitespace().any(|key| key == "*" || key.eq_ignore_ascii_case(name))
}

/// Judges a key that no stanza took: nothing, a warning, or `invalid config key`.
pub(super) fn judge(written: &str, value: &Value, problems: &mut Problems) {
    let key = written.to_ascii_lowercase();
    let key = key.as_str();
    if let Some(reason) = contradiction(key, value) {
        problems.error(format!("{key}: {reason}"));
    } else if already_so(key, value) {
        // The agent does so anyway.
    } else if has(TOP, key) || key.rsplit_once('.').is_some_and(|(stanza, name)| nested_is_known(stanza, name)) {
        problems.warn(format!("{key} is accepted and has no effect yet"));
    } else if has(OLD_ACL, key) {
        problems
            .warn(format!("{key} is accepted and has no effect: access control is not offered, so everybody may do everything"));
    } else if let Some((stanza, known)) = STANZAS.iter().find(|(stanza, _)| *stanza == key) {
        judge_stanza(stanza, known, value, problems);
    } else {
        problems.unknown(written);
    }
}

fn judge_stanza(stanza: &str, known: &str, value: &Value, problems: &mut Problems) {
    for object in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
        match object.as_object() {
            Some(object) => {
                object.keys().filter(|name| !has(known, name)).for_each(|name| problems.unknown(&format!("{stanza}.{name}")));
            }
            None => problems.error(format!("{stanza}: expected an object")),
        }
    }
    problems.warn(format!("{stanza} is accepted and has no effect yet"));
}

fn nested_is_known(stanza: &str, name: &str) -> bool {
    STANZAS.iter().any(|(known, names)| *known == stanza && has(names, name))
}

/// True when the agent does anyway as the value says.
fn already_so(key: &str, value: &Value) -> bool {
    match key {
        "disable_update_check" | "disable_anonymous_signature" => true,
        "disable_host_node_id" | "disable_remote_exec" | "encrypt_verify_incoming" | "encrypt_verify_outgoing" => {
            *value == json!(true)
        }
        "partition" => *value == json!("default") || *value == json!(""),
        "connect.enabled"
        | "disable_coordinates"
        | "enable_debug"
        | "enable_syslog"
        | "non_voting_server"
        | "peering.enabled"
        | "read_replica" => *value == json!(false),
        "raft_protocol" => *value == json!(3),
        "protocol" => *value == json!(2) || *value == json!(3),
        "ports.grpc" | "ports.grpc_tls" => *value == json!(-1),
        _ => false,
    }
}

/// Why a value that would change the agent itself is refused.
fn contradiction(key: &str, value: &Value) -> Option<&'static str> {
    let is_text = value.as_str().is_some_and(|text| !text.is_empty());
    match key {
        "raft_protocol" if !matches!(value.as_i64(), Some(2..=3)) => Some("expected 3"),
        "protocol" if !matches!(value.as_i64(), Some(2..=3)) => Some("expected 2 or 3"),
        "segment" if is_text => Some("network segments are not offered; remove it"),
        _ => None,
    }
}
