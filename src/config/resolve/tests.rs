//! Settings, and their results.

use super::*;
use crate::config::{Format, HttpAddress, Interface, interfaces};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;

mod compat;

fn host() -> Host {
    Host { name: "h1".to_owned(), ..interfaces::tests::host(&[("lo", "127.0.0.1/8"), ("eth0", "10.0.0.7/24")]) }
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

fn with(mut flags: Value, more: Value) -> Value {
    flags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    flags
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
    let server = from_flags(json!({"data_dir": "/d", "server": true})).unwrap();
    assert_eq!((server.leave_on_terminate, server.skip_leave_on_interrupt), (false, true), "other signals than a client");
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
        "b.hcl:1:1: retry_interval: time: invalid duration \"fast\", expected a number with a unit such as 300ms",
        "b.hcl:2:15: performance.raft_multiplier cannot be 99. Must be between 1 and 10",
        "c.json:1:22: not valid JSON",
        "datacenter can only contain lowercase alphanumeric, - or _ characters",
        "encrypt has invalid key: expected 16, 24 or 32 bytes, got 5",
        "bind_addr: expected an IP address, got \"nowhere\"",
        "'bootstrap_expect > 0' requires 'server = true'",
        "data_dir cannot be empty",
    ] {
        assert!(all.iter().any(|reported| reported.contains(expected)), "{expected} is missing in {all:#?}");
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
    let reported = messages(from_flags(wrong));
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
        assert!(reported.iter().any(|message| message.starts_with(expected)), "{expected} is missing in {reported:#?}");
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
        let reported = messages(resolve_on(&Sources { dev: true, flags: document.clone(), ..Sources::default() }, &host()));
        assert!(reported.iter().any(|message| message.starts_with(expected)), "{document}: {reported:?}");
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
        let reported = messages(resolve_on(&Sources { dev: true, flags: document.clone(), ..Sources::default() }, &host()));
        assert!(reported.iter().any(|message| message.starts_with(expected)), "{document}: {reported:?}");
    }
    let mut two = host();
    two.interfaces.push(Interface::up("eth1", ip("192.168.0.7"), 24));
    let reported = messages(resolve_on(&Sources { flags: json!({"data_dir": "/d"}), ..Sources::default() }, &two));
    let text = "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.";
    assert_eq!(reported, [format!("{text} Found eth0 10.0.0.7/24, eth1 192.168.0.7/24")]);
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
    let of = |tls: Value| from_flags(with(json!({"server": true, "data_dir": "/d"}), tls)).unwrap();
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
