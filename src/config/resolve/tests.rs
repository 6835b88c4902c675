//! What users write, and what becomes of it.

use super::*;
use crate::config::{Format, HttpAddress, Interface};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;

fn host() -> Host {
    let interfaces =
        vec![Interface::up("lo", "127.0.0.1".parse().unwrap(), 8), Interface::up("eth0", "10.0.0.7".parse().unwrap(), 24)];
    Host { name: "h1".to_owned(), interfaces, ..Host::default() }
}

fn from_flags(flags: Value) -> Result<Config, Vec<ConfigError>> {
    resolve_on(&Sources { flags, ..Sources::default() }, &host())
}

/// Files by name, resolved in the order of their names.
fn from_files(files: &[(&str, &str)], flags: Value) -> Result<Config, Vec<ConfigError>> {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    resolve_on(&Sources { paths: vec![folder.path().to_owned()], flags, ..Sources::default() }, &host())
}

fn messages(result: Result<Config, Vec<ConfigError>>) -> Vec<String> {
    result.unwrap_err().into_iter().map(|error| error.message).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_not_configured_is_as_consul_s() {
    let config = from_flags(json!({"data_dir": "/d"})).unwrap();
    assert_eq!((config.server, config.bootstrap_expect), (false, 0));
    assert_eq!((config.datacenter.as_str(), config.primary_datacenter.as_str()), ("dc1", "dc1"));
    assert_eq!(config.node_name, "h1");
    assert_eq!((config.bind, config.advertise, config.advertise_wan), (ip("0.0.0.0"), ip("10.0.0.7"), ip("10.0.0.7")));
    assert_eq!(config.http, [HttpAddress::Tcp(socket("127.0.0.1:8500"))]);
    assert_eq!(config.dns, [socket("127.0.0.1:8600")]);
    assert!(config.https.is_empty());
    assert_eq!((config.rpc, config.bridge), (socket("0.0.0.0:8300"), socket("0.0.0.0:8300")));
    assert_eq!((config.serf_lan, config.serf_wan), (socket("0.0.0.0:8301"), Some(socket("0.0.0.0:8302"))));
    assert_eq!((config.leave_on_terminate, config.skip_leave_on_interrupt), (true, false));
    assert_eq!(config.join_lan.interval, Duration::from_secs(30));
    assert_eq!((config.raft_multiplier, config.log_level.as_str()), (1, "INFO"));
    assert_eq!(config.tagged_addresses["lan_ipv4"], "10.0.0.7");
    assert_eq!(config.tagged_addresses["wan"], "10.0.0.7");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_client_tells_when_it_is_to_be_forgotten_and_a_server_cannot() {
    let config = from_flags(json!({"data_dir": "/d", "advertise_reconnect_timeout": "90m"})).unwrap();
    assert_eq!(config.advertise_reconnect_timeout, Some(Duration::from_secs(90 * 60)));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let none = from_flags(json!({"data_dir": "/d", "advertise_reconnect_timeout": "0s"})).unwrap();
    assert_eq!(none.advertise_reconnect_timeout, None);
    let server = from_flags(json!({"data_dir": "/d", "server": true, "advertise_reconnect_timeout": "90m"}));
    assert!(messages(server).contains(&"advertise_reconnect_timeout can only be used on a client".to_owned()));
}

#[test]
fn a_server_leaves_on_other_signals_than_a_client() {
    let config = from_flags(json!({"data_dir": "/d", "server": true})).unwrap();
    assert_eq!((config.leave_on_terminate, config.skip_leave_on_interrupt), (false, true));
}

#[test]
fn dev_mode_is_a_cluster_of_one_without_a_disk() {
    let sources = Sources { dev: true, flags: json!({"data_dir": "/d"}), ..Sources::default() };
    let config = resolve_on(&sources, &host()).unwrap();
    assert!(config.server && config.dev);
    assert_eq!((config.bootstrap_expect, config.data_dir, config.bind), (1, None, ip("127.0.0.1")));
    assert_eq!((config.log_level.as_str(), config.ui_path.as_deref()), ("DEBUG", Some("/ui/")));
    let client = Sources { dev: true, flags: json!({"server": false}), ..Sources::default() };
    let client = resolve_on(&client, &host()).unwrap();
    assert_eq!((client.server, client.bootstrap_expect), (false, 0));
}

#[test]
fn all_errors_are_told_at_once_each_with_its_source() {
    let errors = from_files(
        &[
            ("a.json", r#"{"datacentre": "x", "ports": {"htp": 1, "http": 70000, "serf_lan": 1}, "telemetry": {"no": 1}, "server": "yes"}"#),
            ("b.hcl", "retry_interval = \"fast\"\nperformance { raft_multiplier = 99 }"),
            ("c.json", r#"{"encrypt": "c2hvcnQ=""#),
        ],
        json!({"ports": {"serf_lan": 70000}, "datacenter": "Über", "bootstrap_expect": 3, "encrypt": "c2hvcnQ=", "bind_addr": "nowhere"}),
    )
    .unwrap_err();
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for expected in [
        "a.json:1:2: invalid config key datacentre",
        "a.json:1:31: invalid config key ports.htp",
        "a.json:1:86: invalid config key telemetry.no",
        "a.json:1:96: server: expected true or false, got a string",
        "a.json:1:41: ports.http: expected 1 to 65535, or -1 to disable, got 70000",
        "flags: ports.serf_lan: expected 1 to 65535, or -1 to disable, got 70000",
        "b.hcl:1:1: retry_interval: expected a duration",
        "b.hcl:2:15: performance.raft_multiplier cannot be 99. Must be between 1 and 10",
        "c.json:1:22: not valid JSON",
        "datacenter can only contain lowercase alphanumeric, - or _ characters",
        "encrypt has invalid key: expected 16, 24 or 32 bytes, got 5",
        "bind_addr: expected an IP address, got \"nowhere\"",
        "'bootstrap_expect > 0' requires 'server = true'",
        "data_dir cannot be empty",
    ] {
        assert!(all.iter().any(|told| told.contains(expected)), "{expected} is missing in {all:#?}");
    }
}

#[test]
fn later_files_replace_scalars_append_lists_and_add_to_maps_and_flags_have_the_last_word() {
    let config = from_files(
        &[
            ("1.json", r#"{"data_dir": "/a", "datacenter": "DC8", "retry_join": ["f1"], "node_meta": {"a": "1", "b": "1"}, "ports": {"http": 1, "dns": 2}}"#),
            ("2.hcl", "data_dir = \"/b\"\nretry_join = [\"f2\"]\nnode_meta { b = \"2\" }\nports { http = 3 }"),
        ],
        json!({"data_dir": "/c", "start_join": ["s"], "retry_join": ["f"], "node_meta": {"c": "3"}}),
    )
    .unwrap();
    assert_eq!(config.data_dir, Some("/c".into()));
    assert_eq!(config.datacenter, "dc8");
    assert_eq!(config.join_lan.retry, ["s", "f", "f1", "f2"]);
    assert_eq!(serde_json::to_value(&config.node_meta).unwrap(), json!({"a": "1", "b": "2", "c": "3"}));
    assert_eq!(config.http, [HttpAddress::Tcp(socket("127.0.0.1:3"))]);
    assert_eq!(config.dns, [socket("127.0.0.1:2")]);
}

#[test]
fn hcl_and_json_of_the_same_meaning_are_the_same_configuration() {
    let hcl = r#"
        server           = true
        enable_local_script_checks = true
        bootstrap_expect = 3
        data_dir         = "/d"
        node_name        = "s1"
        bind_addr        = "{{ GetInterfaceIP \"eth0\" }}"
        retry_join       = ["10.0.0.1", "s2.example"]
        ports {
            http = 8501
            grpc = -1
        }
        addresses { http = "unix:///tmp/a.sock 127.0.0.2" }
        http_config {
            response_headers { Access-Control-Allow-Origin = "*" }
        }
        autopilot { server_stabilization_time = "3s" }
        service {
            name = "web"
            port = 80
            tagged_addresses { lan = { address = "10.0.0.9", port = 81 } }
            check {
                id       = "one"
                http     = "http://127.0.0.1/"
                interval = "5s"
            }
            check {
                name = "two"
                ttl  = "15s"
            }
        }
        service {
            id                  = "w2"
            name                = "web"
            enable_tag_override = true
            meta { any_Key = "kept" }
        }
        check {
            name     = "disk"
            args     = ["/bin/true"]
            interval = "1m"
        }
    "#;
    let json = r#"{
        "server": true, "enable_local_script_checks": true, "bootstrap_expect": 3, "data_dir": "/d", "node_name": "s1",
        "bind_addr": "{{ GetInterfaceIP \"eth0\" }}", "retry_join": ["10.0.0.1", "s2.example"],
        "ports": {"http": 8501, "grpc": -1}, "addresses": {"http": "unix:///tmp/a.sock 127.0.0.2"},
        "http_config": {"response_headers": {"Access-Control-Allow-Origin": "*"}},
        "autopilot": {"server_stabilization_time": "3s"},
        "services": [
            {"name": "web", "port": 80, "tagged_addresses": {"lan": {"address": "10.0.0.9", "port": 81}},
             "checks": [{"ID": "one", "HTTP": "http://127.0.0.1/", "Interval": "5s"}, {"Name": "two", "TTL": "15s"}]},
            {"ID": "w2", "Name": "web", "EnableTagOverride": true, "Meta": {"any_Key": "kept"}}
        ],
        "check": {"name": "disk", "script_args": ["/bin/true"], "interval": "1m"}
    }"#;
    let from_hcl = from_files(&[("a.hcl", hcl)], Value::Null).unwrap();
    let from_json = from_files(&[("a.json", json)], Value::Null).unwrap();
    assert_eq!(format!("{from_hcl:?}"), format!("{from_json:?}"));
    assert_eq!(from_hcl.bind, ip("10.0.0.7"));
    assert_eq!(from_hcl.http, [HttpAddress::Unix("/tmp/a.sock".into()), HttpAddress::Tcp(socket("127.0.0.2:8501"))]);
    assert_eq!(from_hcl.autopilot.server_stabilization_time, Duration::from_secs(3));
    assert_eq!(from_hcl.services.len(), 2);
    assert_eq!(from_hcl.services[0].checks.len(), 2);
    assert_eq!(from_hcl.services[0].checks[0].check_id, "one");
    assert_eq!(from_hcl.services[0].tagged_addresses["lan"].port, 81);
    assert_eq!(from_hcl.services[1].meta["any_Key"], "kept");
    assert_eq!(from_hcl.checks[0].script_args, ["/bin/true"]);
    assert!(from_hcl.warnings.is_empty(), "{:?}", from_hcl.warnings);
}

#[test]
fn definitions_that_cannot_be_are_refused() {
    let wrong = json!({"data_dir": "/d", "services": [
        {"port": 80},
        {"name": "a", "prot": 80},
        {"name": "b", "check": {"http": "http://x/"}},
        {"name": "c", "check": {"ttl": "1s", "interval": "1s"}},
        {"name": "d", "check": {"ttl": "1s", "status": "fine"}},
        {"name": "e", "port": 70000}
    ], "checks": [{"ttl": "5s"}, {"name": "n"}]});
    let told = messages(from_flags(wrong));
    for expected in [
        "services[0]: Missing service name",
        "invalid config key services[1].prot",
        "services[2].check: Interval must be > 0 for Script, HTTP, or TCP checks",
        "services[3].check: Interval and TTL cannot both be specified",
        "services[4].check: Status for checks must 'passing', 'warning', 'critical'",
        "services[5]: invalid value",
        "checks[0]: a check needs a name or an id",
        "checks[1]: expected one of ttl",
    ] {
        assert!(told.iter().any(|message| message.starts_with(expected)), "{expected} is missing in {told:#?}");
    }
}

#[test]
fn what_is_not_built_yet_is_one_warning_each() {
    let config = from_flags(json!({
        "data_dir": "/d", "telemetry": {"statsd_address": "x", "prefix_filter": []}, "dns_config": {"only_passing": true},
        "recursors": ["8.8.8.8"], "ports": {"grpc": 8502}, "raft_protocol": 3,
        "limits": {"rpc_rate": 5}
    }))
    .unwrap();
    let keys: Vec<&str> = config.warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
    for key in ["telemetry", "dns_config", "recursors", "ports.grpc", "limits.rpc_rate"] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert_eq!(keys.len(), 5);
}

#[test]
fn what_is_trusted_for_safety_works_or_refuses() {
    for (document, expected) in [
        (json!({"acl": {"enabled": true}}), "acl.enabled"),
        (json!({"verify_incoming": true}), "VerifyIncoming set, and no CA certificate provided!"),
        (json!({"verify_incoming_rpc": true}), "VerifyIncoming set, and no Cert/Key pair provided!"),
        (json!({"verify_outgoing": true}), "VerifyOutgoing set, and no CA certificate provided!"),
        (json!({"verify_server_hostname": true}), "VerifyOutgoing set, and no CA certificate provided!"),
        (json!({"tls": {"defaults": {"verify_incoming": true}}}), "VerifyIncoming set"),
        (json!({"tls": {"https": {"cert_file": "/x"}}}), "tls.https.cert_file"),
        (json!({"tls": {"grpc": {"nonsense": 1}}}), "invalid config key tls.grpc.nonsense"),
        (json!({"cert_file": "/nowhere"}), "cert_file and key_file"),
        (json!({"ca_file": "/nowhere/ca.pem"}), "ca_file: there is no /nowhere/ca.pem"),
        (json!({"encrypt": "not base64!"}), "encrypt has invalid key"),
        (json!({"http_config": {"allow_write_http_from": ["everyone"]}}), "http_config.allow_write_http_from"),
        (json!({"serf_lan_allowed_cidrs": ["10.0.0.0/40"]}), "serf_lan_allowed_cidrs"),
        (json!({"tls_min_version": "tls14"}), "tls_min_version"),
        (json!({"tls": {"grpc": {"tls_min_version": "ssl3"}}}), "tls.grpc.tls_min_version"),
    ] {
        let told = messages(resolve_on(&Sources { dev: true, flags: document.clone(), ..Sources::default() }, &host()));
        assert!(told.iter().any(|message| message.starts_with(expected)), "{document}: {told:?}");
    }
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    for (document, expected) in [
        (json!({"advertise_addr": "0.0.0.0"}), "advertise_addr: Advertise address cannot be 0.0.0.0, :: or [::]"),
        (json!({"bind_addr": "10.0.0.1 10.0.0.2"}), "bind_addr cannot contain multiple addresses"),
        (json!({"ports": {"dns": 8500}}), "DNS address 127.0.0.1:8500 already configured for HTTP"),
        (json!({"ports": {"server": -1}}), "ports.server cannot be disabled"),
        (json!({"addresses": {"http": "unix://"}}), "addresses.http: expected unix://<path>"),
        (json!({"client_addr": "{{ GetDefaultInterfaces }}"}), "client_addr: template"),
        (
            json!({"service": {"name": "web", "connect": {"sidecar_service": {}}}}),
            "service: Connect.SidecarService is not supported",
        ),
    ] {
        let told = messages(resolve_on(&Sources { dev: true, flags: document.clone(), ..Sources::default() }, &host()));
        assert!(told.iter().any(|message| message.starts_with(expected)), "{document}: {told:?}");
    }
    let mut two = host();
    two.interfaces.push(Interface::up("eth1", ip("192.168.0.7"), 24));
    let told = messages(resolve_on(&Sources { flags: json!({"data_dir": "/d"}), ..Sources::default() }, &two));
    let text = "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.";
    assert_eq!(told, [format!("{text} Found eth0 10.0.0.7/24, eth1 192.168.0.7/24")]);
}

#[test]
fn what_files_leave_out_of_weights_is_one_and_a_mesh_is_spelled_as_in_the_http_api() {
    let service = json!({"name": "web", "weights": {"passing": 5}, "connect": {"native": true}});
    let config = from_flags(json!({"data_dir": "/d", "bind_addr": "127.0.0.3", "service": service})).unwrap();
    let service = &config.services[0];
    assert_eq!(service.weights.map(|weights| (weights.passing, weights.warning)), Some((5, 1)));
    assert_eq!(service.connect, Some(json!({"Native": true})));
}

#[test]
fn advertised_and_bound_addresses_are_apart() {
    let config = from_flags(json!({
        "data_dir": "/d", "bind_addr": "127.0.0.3", "advertise_addr": "10.0.0.9", "advertise_addr_wan": "170.200.7.30",
        "serf_wan": "127.0.0.4", "client_addr": "127.0.0.1 ::1", "ports": {"server": 9300, "serf_wan": 9302, "dns": -1}
    }))
    .unwrap();
    assert_eq!((config.rpc, config.bridge), (socket("127.0.0.3:9300"), socket("127.0.0.4:9300")));
    assert_eq!((config.serf_lan, config.serf_wan), (socket("127.0.0.3:8301"), Some(socket("127.0.0.4:9302"))));
    assert_eq!((config.advertise, config.advertise_wan), (ip("10.0.0.9"), ip("170.200.7.30")));
    assert_eq!(config.tagged_addresses["wan_ipv4"], "170.200.7.30");
    assert_eq!(config.http.len(), 2);
    assert!(config.dns.is_empty());
}

#[test]
fn secrets_never_show() {
    let key = "cHJpdmF0ZXByaXZhdGVwcml2YXRlcHJpdmF0ZTEyMzQ=";
    let config = from_flags(json!({"data_dir": "/d", "encrypt": key, "service": {"name": "s", "token": "tok-en"}})).unwrap();
    assert_eq!(config.encrypt.as_deref().map(<[u8]>::len), Some(32));
    let shown = config.described().to_string();
    assert!(!shown.contains(key) && !shown.contains("tok-en"), "{shown}");
    assert_eq!(config.described()["EncryptKey"], "hidden");
}

#[test]
fn a_folder_is_read_in_order_without_its_folders_and_other_files() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("d.json")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    std::fs::write(folder.path().join("b.json"), r#"{"node_name": "b"}"#).unwrap();
    std::fs::write(folder.path().join("a.json"), r#"{"node_name": "a", "data_dir": "/d"}"#).unwrap();
    let sources = Sources { paths: vec![folder.path().to_owned()], ..Sources::default() };
    let config = resolve_on(&sources, &host()).unwrap();
    assert_eq!(config.node_name, "b");
    assert!(config.warnings[0].contains("notes.txt"));
    let missing = Sources { paths: vec!["/nowhere/x.hcl".into()], ..Sources::default() };
    assert!(messages(resolve_on(&missing, &host()))[0].starts_with("cannot be read"));
    let conf = folder.path().join("notes.txt");
    let with_format = Sources { paths: vec![conf], format: Some(Format::Hcl), ..Sources::default() };
    assert!(messages(resolve_on(&with_format, &host()))[0].starts_with("not valid HCL"));
}

const PIN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn other_datacenters_are_described_in_either_language_and_lists_add_up() {
    let hcl = format!(
        r#"
        server = true
        bridge {{ cache_bytes = 1048576 stale_by_default = ["health"] max_stale = "10m" disabled = ["DC3"] }}
        federation {{ dc2 = ["a.example#sha256:{PIN}"] }}
        "#
    );
    let json = json!({"federation": {"dc2": [format!("[fd00::1]:9#sha256:{PIN}")]}}).to_string();
    let config = from_files(&[("a.hcl", &hcl), ("b.json", &json)], json!({"data_dir": "/d"})).unwrap();
    assert_eq!((config.bridge_cache_bytes, config.bridge_max_stale), (1 << 20, Some(Duration::from_secs(600))));
    assert!(config.bridge_stale_by_default.covers("health") && !config.bridge_stale_by_default.covers("catalog"));
    assert!(config.bridge_disabled.contains("dc3"));
    let servers: Vec<String> = config.federation["dc2"].iter().map(ToString::to_string).collect();
    assert_eq!(servers, [format!("a.example:8300#sha256:{PIN}"), format!("[fd00::1]:9#sha256:{PIN}")]);
    let all = from_flags(json!({"data_dir": "/d", "bridge": {"stale_by_default": true}})).unwrap();
    assert!(all.bridge_stale_by_default.covers("catalog"));
    assert_eq!(all.bridge_cache_bytes, defaults::BRIDGE_CACHE_BYTES);
}

#[test]
fn all_that_is_wrong_about_other_datacenters_is_told_at_once() {
    let found = messages(from_flags(json!({
        "server": true, "data_dir": "/d",
        "bridge": {
            "cache_bytes": 5, "stale_by_default": ["kv2"], "max_stale": "0s", "disabled": ["dc1", "d c"],
            "require_ca": true, "cache": 1
        },
        "federation": {"dc1": ["a"], "dc2": ["a:0", format!("a#sha256:{PIN}"), "b"], "dc3": [], "dc4": "a"},
    })));
    for text in [
        "bridge.cache_bytes cannot be 5",
        "bridge.stale_by_default: expected some of catalog, coordinate, health, got \"kv2\"",
        "bridge.max_stale: expected more than 0",
        "bridge.disabled: expected another datacenter, got \"dc1\"",
        "bridge.disabled can only contain",
        "invalid config key bridge.cache",
        "federation.dc1: expected another datacenter",
        "federation.dc2: expected a port from 1 to 65535",
        "federation.dc2: bridge { require_ca = true } refuses fingerprints",
        "federation.dc2: nothing vouches for b:8300",
        "federation.dc3: expected 1 to 64 servers",
        "federation.dc4: expected a list of strings, got a string",
    ] {
        assert!(found.iter().any(|message| message.contains(text)), "{text}: {found:#?}");
    }
}

#[test]
fn which_datacenters_are_off_and_where_others_are_needs_no_restart() {
    let of = |bridge: Value, federation: Value| {
        from_flags(json!({"server": true, "data_dir": "/d", "bridge": bridge, "federation": federation})).unwrap()
    };
    let before = of(json!({}), json!({}));
    let after = of(json!({"disabled": ["dc3"]}), json!({"dc2": [format!("a#sha256:{PIN}")]}));
    assert!(before.needs_restart(&after).is_empty());
    let bounded = of(json!({"max_stale": "1m", "stale_by_default": true, "cache_bytes": 2_000_000}), json!({}));
    assert_eq!(before.needs_restart(&bounded), ["BridgeCacheBytes", "BridgeMaxStale", "BridgeStaleByDefault"]);
}

#[test]
fn where_certificates_lie_needs_no_restart_and_whether_there_are_any_does() {
    let of = |tls: Value| {
        let mut flags = json!({"server": true, "data_dir": "/d"});
        flags.as_object_mut().unwrap().extend(tls.as_object().unwrap().clone());
        from_flags(flags).unwrap()
    };
    let folder = TempDir::new().unwrap();
    let at = |version: &str| {
        let path = |name: &str| {
            let path = folder.path().join(format!("{version}-{name}"));
            std::fs::write(&path, "").unwrap();
            path.display().to_string()
        };
        json!({"ca_file": path("ca"), "cert_file": path("cert"), "key_file": path("key")})
    };
    let (none, old, new) = (of(json!({})), of(at("old")), of(at("new")));
    assert!(old.needs_restart(&new).is_empty());
    let mut running = old.clone();
    running.take_reloadable(new.clone());
    assert_eq!(running.tls, new.tls);
    assert_eq!(none.needs_restart(&new), ["CAFile", "CertFile", "KeyFile"]);
}

#[test]
fn scripts_are_run_for_nobody_unless_it_is_said_and_the_wider_permission_holds_the_narrower() {
    let allowed = |flags: Value| {
        let config = from_flags(flags).unwrap();
        let warned = config.warnings.iter().any(|warning| warning.to_string().contains("allow_write_http_from"));
        (config.enable_script_checks, config.enable_local_script_checks, warned)
    };
    assert_eq!(allowed(json!({"data_dir": "/d"})), (false, false, false));
    assert_eq!(allowed(json!({"data_dir": "/d", "enable_local_script_checks": true})), (false, true, false));
    assert_eq!(allowed(json!({"data_dir": "/d", "enable_script_checks": true})), (true, true, true));
    let fenced =
        json!({"data_dir": "/d", "enable_script_checks": true, "http_config": {"allow_write_http_from": ["127.0.0.0/8"]}});
    assert_eq!(allowed(fenced), (true, true, false));
}

#[test]
fn an_agent_observes_for_others_and_the_guard_is_off_unless_it_is_said() {
    let of = |health: Value| from_flags(json!({"data_dir": "/d", "health": health}));
    let config = of(json!({})).unwrap();
    assert_eq!((config.health_observe, config.health_panic_threshold), (true, 0));
    let config = of(json!({"observe": false, "panic_threshold": 40})).unwrap();
    assert_eq!((config.health_observe, config.health_panic_threshold), (false, 40));
    assert!(of(json!({"panic_threshold": 101})).is_err());
    assert!(of(json!({"panic": 1})).is_err());
    let check = |observers: u32| json!({"name": "c", "tcp": "h:1", "interval": "1s", "observers": observers});
    let voted = |observers| from_flags(json!({"data_dir": "/d", "check": check(observers)}));
    assert_eq!(voted(5).unwrap().checks[0].observers, 5);
    assert!(voted(4).is_err());
}

#[test]
fn what_the_test_harness_of_consuls_go_clients_writes_is_a_configuration() {
    // As `sdk/testutil` writes it.
    let harness = r#"{
        "node_name": "node-adf4238a-882b-9ddc-4a9d-5b6758e4159e", "node_id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e",
        "performance": {"raft_multiplier": 1}, "bootstrap": true, "server": true, "data_dir": "/tmp/x/data", "segments": null,
        "disable_update_check": true, "log_level": "debug", "bind_addr": "127.0.0.1", "addresses": {},
        "ports": {"dns": 1025, "http": 1026, "https": 1027, "serf_lan": 1028, "serf_wan": 1029, "server": 1030, "grpc": 1031, "grpc_tls": 1032},
        "acl": {"tokens": {}},
        "connect": {"ca_config": {"cluster_id": "11111111-2222-3333-4444-555555555555"}, "enabled": true},
        "skip_leave_on_interrupt": true, "peering": {"enabled": true}
    }"#;
    let config = from_files(&[("config.json", harness)], Value::Null).unwrap();
    assert!(config.server && config.https.is_empty() && config.bootstrap_expect == 1);
    assert_eq!(config.http, [HttpAddress::Tcp(socket("127.0.0.1:1026"))]);
    assert!(config.warnings.iter().any(|text| text.starts_with("ports.https has no effect: HTTPS needs a certificate")));
}

#[test]
fn an_empty_file_says_nothing_and_is_warned_of_by_name() {
    let config = from_files(&[("a.json", ""), ("b.hcl", " \n"), ("c.json", "{}")], json!({"data_dir": "/d"})).unwrap();
    let told: Vec<&str> = config.warnings.iter().filter_map(|text| text.split_once(" is empty")).map(|(name, _)| name).collect();
    assert!(told.len() == 2 && told[0].ends_with("/a.json") && told[1].ends_with("/b.hcl"), "{:?}", config.warnings);
}

#[test]
fn keys_are_known_in_any_case() {
    let hcl = "DATA_DIR = \"/d\"\nNode_Name = \"n\"\nPorts { HTTP = 9500 GRPC = 8502 }\nTelemetry { StatsD_Address = \"x\" }";
    let config = from_files(&[("a.hcl", hcl), ("b.json", r#"{"SERVER": true, "Raft_Protocol": 3}"#)], Value::Null).unwrap();
    assert_eq!((config.node_name.as_str(), config.server), ("n", true));
    assert_eq!(config.http, [HttpAddress::Tcp(socket("127.0.0.1:9500"))]);
    let keys: Vec<&str> = config.warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
    assert_eq!(keys, ["ports.grpc", "telemetry"]);
    let twice = messages(from_flags(json!({"data_dir": "/d", "server": true, "SERVER": false})));
    assert_eq!(twice, ["invalid config key SERVER"]);
}

#[test]
fn a_value_of_another_kind_is_refused_with_its_place() {
    let hcl = r#"
data_dir = "/d"
retry_join = "s1"
log_json = "true"
service {
    name = "web"
    port = "80"
    tags = "a"
    meta { a = 1 }
    enable_tag_override = "true"
    check {
        http = "http://h/"
        interval = 10
        timeout = true
        header { x = "y" }
    }
}
watches { type = "nodes" handler_type = "http" http_handler_config { path = "http://h/" timeout = 3 } }
"#;
    let errors = from_files(&[("a.hcl", hcl)], json!({"encrypt": 5})).unwrap_err();
    let told: Vec<String> = errors.iter().map(|error| error.to_string().rsplit('/').next().unwrap().to_owned()).collect();
    for expected in [
        "a.hcl:3:1: retry_join: expected a list of strings, got a string",
        "a.hcl:4:1: log_json: expected true or false, got a string",
        "a.hcl:7:5: service.port: expected a whole number, got a string",
        "a.hcl:8:5: service.tags: expected a list of strings, got a string",
        "a.hcl:9:12: service.meta.a: expected a string, got a number",
        "a.hcl:10:5: service.enable_tag_override: expected true or false, got a string",
        "flags: encrypt: expected a string, got a number",
        "a.hcl:18:89: watches.http_handler_config.timeout: expected a string, got a number",
    ] {
        assert!(told.iter().any(|message| message == expected), "{expected} is missing in {told:#?}");
    }
    let check = r#"{"data_dir": "/d", "checks": [{"name": "c", "http": "http://h/", "interval": 10, "timeout": true, "header": {"x": "y"}}]}"#;
    let told: Vec<String> = from_files(&[("c.json", check)], Value::Null).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told.iter().any(|text| text.ends_with("c.json:1:66: checks[0].interval: expected a string, got a number")),
        "{told:#?}"
    );
}

#[test]
fn logs_go_to_a_file_or_to_files_in_a_folder_and_are_followed_by_others() {
    let folder = TempDir::new().unwrap();
    let of = |name: &str| from_flags(json!({"data_dir": "/d", "log_file": name})).unwrap().log_file.unwrap();
    let file = of("/var/log/kontor.txt");
    assert_eq!((file.folder.as_path(), file.name.as_str(), file.is_timed), (Path::new("/var/log"), "kontor.txt", false));
    assert_eq!((file.max_bytes, file.max_age, file.max_files), (0, Duration::from_secs(86_400), None));
    assert_eq!(
        (file.stamped(7).as_str(), file.stamp_of("kontor-12.txt"), file.stamp_of("kontor-a.txt")),
        ("kontor-7.txt", Some(12), None)
    );
    for name in ["/nowhere/logs/", &format!("{}/", folder.path().display()), &folder.path().display().to_string()] {
        let file = of(name);
        assert_eq!((file.folder.as_path(), file.name.as_str(), file.is_timed), (Path::new(name), "consul.log", true));
    }
    let rotated = json!({
        "data_dir": "/d", "log_file": "x", "log_rotate_bytes": 5, "log_rotate_duration": "1m", "log_rotate_max_files": -1
    });
    let config = from_flags(rotated).unwrap();
    let file = config.log_file.unwrap();
    assert_eq!((file.max_bytes, file.max_age, file.max_files), (5, Duration::from_secs(60), Some(0)));
    assert_eq!(file.stamped(7), "x-7.log");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_least_version_of_tls_is_known_in_every_spelling() {
    let only_13 = |flags: Value| {
        let mut all = json!({"data_dir": "/d"});
        all.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        from_flags(all).unwrap().tls.only_tls13
    };
    for version in ["tls10", "tls11", "tls12", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLS_AUTO", ""] {
        assert!(!only_13(json!({"tls_min_version": version})), "{version}");
    }
    assert!(only_13(json!({"tls_min_version": "tls13"})));
    assert!(only_13(json!({"tls": {"defaults": {"tls_min_version": "TLSv1_3"}}})));
    assert!(only_13(json!({"tls": {"https": {"tls_min_version": "tls13"}}})));
}

#[test]
fn what_consul_has_and_this_has_not_is_accepted_with_a_warning_that_names_it() {
    let config = from_flags(json!({
        "data_dir": "/d", "node_name": "a b/c", "license_path": "/l", "read_replica": true, "non_voting_server": true,
        "partition": "p", "http_config": {"max_header_bytes": 5}, "acl_datacenter": "dc1", "acl_token": "geheim",
        "acl_default_policy": "deny", "acl_ttl": "1s", "enable_acl_replication": true, "retry_join": ["provider=aws secret_access_key=geheim"]
    }))
    .unwrap();
    let told = config.warnings.join("\n");
    for key in [
        "node_name",
        "license_path",
        "read_replica",
        "non_voting_server",
        "partition",
        "http_config.max_header_bytes",
        "acl_datacenter",
        "acl_token",
        "acl_default_policy",
        "acl_ttl",
        "enable_acl_replication",
        "retry_join: provider=aws",
    ] {
        assert!(told.lines().any(|line| line.starts_with(key)), "{key} is missing in {told}");
    }
    assert!(!told.contains("geheim") && !config.described().to_string().contains("geheim"), "{told}");
    assert_eq!(config.join_lan.retry.len(), 1, "it is tried again and again");
}

#[test]
fn the_variable_of_the_environment_is_read_before_files_and_flags() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.hcl");
    std::fs::write(&file, "datacenter = \"file\"").unwrap();
    let sources = |text: &str, flags: Value| Sources {
        environment: Some(text.to_owned()),
        paths: vec![file.clone()],
        flags,
        ..Sources::default()
    };
    let text = r#"{"data_dir": "/e", "datacenter": "env", "node_name": "env", "domain": "env"}"#;
    let config = resolve_on(&sources(text, json!({"domain": "flag"})), &host()).unwrap();
    assert_eq!((config.datacenter.as_str(), config.node_name.as_str(), config.domain.as_str()), ("file", "env", "flag"));
    let errors = resolve_on(&sources("{\n\"nonsense\": 1}", json!({"data_dir": "/d"})), &host()).unwrap_err();
    assert_eq!(errors[0].to_string(), "CONSUL_LOCAL_CONFIG:2:1: invalid config key nonsense");
    assert!(resolve_on(&sources("", json!({"data_dir": "/d"})), &host()).is_ok());
}

#[test]
fn too_few_open_files_are_refused_with_consuls_text() {
    let few = Host { open_files: Some(200), ..host() };
    let refused = |limits: Value| {
        resolve_on(&Sources { flags: json!({"data_dir": "/d", "limits": limits}), ..Sources::default() }, &few).err()
    };
    let text = "system allows a max of 200 file descriptors, but limits.http_max_conns_per_client: 200 needs at least 256";
    assert!(refused(json!({})).unwrap()[0].message.starts_with(text));
    assert!(refused(json!({"http_max_conns_per_client": 100})).is_none());
}

#[test]
fn what_an_agent_would_refuse_to_register_is_refused_and_files_elsewhere_are_not_missed() {
    let told = messages(from_flags(json!({"data_dir": "/d", "services": [
        {"name": "a", "weights": {"passing": 0, "warning": 1}},
        {"name": "b", "meta": {"a b": "c"}},
        {"name": "c", "address": "0.0.0.0"},
        {"name": "d", "check": {"ttl": "1s", "alias_service": "a"}},
        {"name": "e", "check": {"tcp": "h:1", "interval": "1s", "failures_before_warning": 3, "failures_before_critical": 1}},
        {"name": "f", "check": {"args": ["true"], "interval": "1s"}}
    ]})));
    for expected in [
        "services[0]: Invalid Weights: Passing must be greater than 0",
        "services[1]: Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
        "services[2]: Invalid service address",
        "services[3].check: TTL must be not be set for Alias checks",
        "services[4].check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        "Scripts are disabled on this agent",
    ] {
        assert!(told.iter().any(|message| message.starts_with(expected)), "{expected} is missing in {told:#?}");
    }
    let flags = json!({
        "data_dir": "/d", "ca_file": "/nowhere/ca.pem", "enable_local_script_checks": true,
        "checks": [{"id": "alone", "args": ["/nowhere/x"], "interval": "1s"}, {"name": "c", "service_id": "gone", "ttl": "1s"}]
    });
    let here = Sources { flags, ..Sources::default() };
    assert_eq!(messages(resolve_on(&here, &host())), ["ca_file: there is no /nowhere/ca.pem"]);
    let config = resolve_on(&Sources { elsewhere: true, ..here }, &host()).unwrap();
    assert_eq!(config.checks[0].name, "alone");
    let told = config.warnings.join("\n");
    for text in ["ca_file: there is no /nowhere/ca.pem", "the script /nowhere/x is not on this machine", "the service gone"] {
        assert!(told.contains(text), "{told}");
    }
}
