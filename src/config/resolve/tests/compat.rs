//! Files of Consul's users, judged as Consul does.

use super::*;

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
    let reported: Vec<&str> =
        config.warnings.iter().filter_map(|text| text.split_once(" is empty")).map(|(name, _)| name).collect();
    assert!(reported.len() == 2 && reported[0].ends_with("/a.json") && reported[1].ends_with("/b.hcl"), "{:?}", config.warnings);
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
    let reported: Vec<String> = errors.iter().map(|error| error.to_string().rsplit('/').next().unwrap().to_owned()).collect();
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
        assert!(reported.iter().any(|message| message == expected), "{expected} is missing in {reported:#?}");
    }
    let check = r#"{"data_dir": "/d", "checks": [{"name": "c", "http": "http://h/", "interval": 10, "timeout": true, "header": {"x": "y"}}]}"#;
    let reported: Vec<String> =
        from_files(&[("c.json", check)], Value::Null).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(reported.len(), 3, "{reported:#?}");
    assert!(
        reported.iter().any(|text| text.ends_with("c.json:1:66: checks[0].interval: expected a string, got a number")),
        "{reported:#?}"
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
    let only_13 = |flags: Value| from_flags(with(json!({"data_dir": "/d"}), flags)).unwrap().tls.only_tls13;
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
    let reported = config.warnings.join("\n");
    let keys = "node_name, license_path, read_replica, non_voting_server, partition, http_config.max_header_bytes, acl_datacenter, \
                acl_token, acl_default_policy, acl_ttl, enable_acl_replication, retry_join: provider=aws";
    for key in keys.split(", ") {
        assert!(reported.lines().any(|line| line.starts_with(key)), "{key} is missing in {reported}");
    }
    assert!(!reported.contains("geheim") && !config.described().to_string().contains("geheim"), "{reported}");
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
    let reported = messages(from_flags(json!({"data_dir": "/d", "services": [
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
        assert!(reported.iter().any(|message| message.starts_with(expected)), "{expected} is missing in {reported:#?}");
    }
    let flags = json!({
        "data_dir": "/d", "ca_file": "/nowhere/ca.pem", "enable_local_script_checks": true,
        "checks": [{"id": "alone", "args": ["/nowhere/x"], "interval": "1s"}, {"name": "c", "service_id": "gone", "ttl": "1s"}]
    });
    let here = Sources { flags, ..Sources::default() };
    assert_eq!(messages(resolve_on(&here, &host())), ["ca_file: there is no /nowhere/ca.pem"]);
    let config = resolve_on(&Sources { elsewhere: true, ..here }, &host()).unwrap();
    assert_eq!(config.checks[0].name, "alone");
    let reported = config.warnings.join("\n");
    for text in ["ca_file: there is no /nowhere/ca.pem", "the script /nowhere/x is not on this machine", "the service gone"] {
        assert!(reported.contains(text), "{reported}");
    }
}
