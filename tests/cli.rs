//! The command line and the process: tables, exit codes, sockets, reload, signals, certificates.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, request, wait_until};
use std::path::Path;
use std::process::Command;

/// Runs the program by `path` in `folder`: exit code, standard output, standard error.
fn run_as(path: &Path, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let output = Command::new(path).args(arguments).envs(environment.iter().copied()).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    run_as(Path::new(env!("CARGO_BIN_EXE_kontor")), folder, arguments, environment)
}

/// The same, expected to succeed; its standard output.
fn good(agent: &Agent, line: &str) -> String {
    let (code, out, err) = agent.cli(&line.split(' ').collect::<Vec<_>>());
    assert_eq!((code, err.as_str()), (0, ""), "{line}: {out}");
    out
}

fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// A server of its own and a client that has joined it, both in the catalog.
fn pair(root: &Path) -> (Agent, Agent) {
    let server = Plan::server(root, "dc1", "s1", 1);
    let client = Plan::client(root, "dc1", "c1").join(&[&server]).start();
    let server = server.start();
    let both = |nodes: &serde_json::Value| nodes.as_array().is_some_and(|nodes| nodes.len() == 2);
    client.wait_for("/v1/catalog/nodes", both);
    (server, client)
}

#[test]
fn the_commands_print_consul_s_tables_of_a_live_datacenter() {
    let root = tempfile::tempdir().unwrap();
    let (server, client) = pair(root.path());
    let (at_server, at_client) = (server.plan.address, client.plan.address);

    let members = good(&client, "members");
    assert_eq!(rows(&members)[0], ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"]);
    assert_eq!(
        rows(&members)[1],
        ["c1", &format!("{at_client}:8301"), "alive", "client", "1.21.4", "2", "dc1", "default", "<default>"]
    );
    assert_eq!(
        rows(&members)[2],
        ["s1", &format!("{at_server}:8301"), "alive", "server", "1.21.4", "2", "dc1", "default", "<all>"]
    );
    assert_eq!(rows(&good(&server, "members -wan"))[1][0], "s1.dc1");
    assert_eq!(client.cli(&["members", "-wan"]), (2, String::new(), String::new()), "a client is in no WAN pool");
    assert_eq!(client.cli(&["members", "-status=failed"]), (2, String::new(), String::new()));

    let nodes = good(&client, "catalog nodes");
    assert_eq!(rows(&nodes)[0], ["Node", "ID", "Address", "DC"]);
    let id = std::fs::read_to_string(server.plan.data_dir.join("node-id")).unwrap();
    assert_eq!(rows(&nodes)[2], ["s1", &id[..8], &at_server.to_string(), "dc1"]);
    assert_eq!(good(&client, "catalog datacenters"), "dc1\n");
    assert!(good(&client, "federation list").starts_with("s1 in dc1 knows no other datacenter; join one: kontor join -wan"));
    assert_eq!(good(&client, "federation doctor"), "There is no other datacenter to look at.\n");
    assert_eq!(good(&client, "federation doctor -format=json"), "[]\n");
    let peers = good(&client, "operator raft list-peers");
    assert!(peers.lines().next().unwrap().ends_with("Voter  RaftProtocol  Commit Index  Trails Leader By"), "{peers}");
    let listed = rows(&peers).swap_remove(1);
    assert_eq!(listed[..6], ["s1", &id, &format!("{at_server}:8300"), "leader", "true", "3"]);
    assert!(listed[6].parse::<u64>().unwrap() > 0 && listed[7] == "-", "{peers}");
    assert!(good(&server, "info").contains("\tleader = true\n"));

    std::fs::write(root.path().join("db.hcl"), "service { name = \"db\" port = 5432 check { ttl = \"60s\" } }").unwrap();
    let file = root.path().join("db.hcl").display().to_string();
    assert_eq!(good(&client, "services register -name=web -port=80 -tag=v1 -tag=a"), "Registered service: web\n");
    assert_eq!(good(&client, &format!("services register {file}")), "Registered service: db\n");
    wait_until("both services are in the catalog", || (rows(&good(&client, "catalog services")).len() == 3).then_some(()));
    assert_eq!(good(&client, "catalog services -tags"), "consul\ndb\nweb         a,v1\n");
    assert_eq!(good(&client, "maint -enable -service=web -reason=why"), "Service maintenance is now enabled for \"web\"\n");
    assert!(good(&client, "maint").contains("  ID:     web\n  Reason: why\n"));
    assert_eq!(good(&client, &format!("services deregister {file}")), "Deregistered service: db\n");

    wait_until("coordinates", || (client.cli(&["rtt", "s1"]).0 == 0).then_some(()));
    assert!(good(&client, "rtt s1 c1").starts_with("Estimated s1 <-> c1 rtt: "));
    for (line, said) in [
        ("services deregister -id=nope", "Unknown service ID \"nope\""),
        ("force-leave nope", "No node found with name 'nope'"),
        ("catalog nodes -datacenter=dc9", "No path to datacenter"),
        ("federation status dc9", "No datacenter \"dc9\" is known in \"dc1\""),
        ("federation doctor dc9", "No datacenter \"dc9\" is known in \"dc1\""),
        ("operator raft remove-peer -id=nope", "was not found in the Raft configuration"),
        ("join 127.0.0.1:1", "Failed to join any nodes."),
        ("members -nonsense", "unexpected argument"),
    ] {
        let (code, out, err) = client.cli(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((code, out.as_str()), (1, ""), "{line}");
        assert!(err.contains(said), "{line}: {err}");
    }
}

#[test]
fn the_program_is_the_same_by_the_name_of_consul() {
    let folder = tempfile::tempdir().unwrap();
    let consul = folder.path().join("consul");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kontor"), &consul).unwrap();
    let (code, out, _) = run_as(&consul, folder.path(), &["version"], &[]);
    assert!(out.starts_with("Consul v1.21.4\nRevision kontor-"), "what scripts look for: {out}");
    assert!(out.contains("\nThis is Kontor v"), "{out}");
    assert_eq!((code, out), (0, run(folder.path(), &["--version"], &[]).1));
    let (code, _, err) = run_as(&consul, folder.path(), &["agent", "-server"], &[]);
    assert_eq!(code, 1);
    assert!(err.contains("data_dir cannot be empty"), "{err}");
    let nobody = [("CONSUL_HTTP_ADDR", "127.0.0.1:1")];
    let (code, _, err) = run_as(&consul, folder.path(), &["members"], &nobody);
    assert_eq!(code, 1);
    assert!(err.contains("127.0.0.1:1"), "{err}");
}

#[test]
fn a_unix_socket_serves_the_command_line_and_goes_with_the_agent() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("http.sock");
    let plan =
        Plan::server(root.path(), "dc1", "s1", 1).flag(&format!("-hcl=addresses {{ http = \"unix://{}\" }}", socket.display()));
    let agent = plan.start();
    let address = format!("unix://{}", socket.display());
    let environment = [("CONSUL_HTTP_ADDR", address.as_str())];
    let table = wait_until("the socket answers", || {
        let (code, out, _) = run(root.path(), &["operator", "raft", "list-peers"], &environment);
        (code == 0).then_some(out)
    });
    assert_eq!(rows(&table)[1][0], "s1");
    assert!(agent.try_get("/v1/agent/self").is_none(), "nothing listens on TCP");
    assert_eq!(agent.terminate(), Some(1));
    assert!(!socket.exists());
}

#[test]
fn a_reload_takes_what_it_can_names_what_it_cannot_and_refuses_what_is_broken() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("agent.json");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let beats = r#""checks": [{"name": "beats", "ttl": "1h"}]"#;
    write(&format!(r#"{{"node_meta": {{"rack": "1"}}, "services": [{{"name": "a", "port": 1}}, {{"name": "b"}}], {beats}}}"#));
    // Flags have the last word, so the level must come from the file.
    let agent = Plan::server(root.path(), "dc1", "s1", 1).flag(&format!("-config-file={}", file.display())).start();
    agent.wait_for("/v1/catalog/service/b", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1));

    let said = |note: &str| {
        assert_eq!(agent.put(&format!("/v1/agent/check/pass/beats?note={note}"), "").status, 200);
        agent.get("/v1/agent/checks").json()["beats"]["Output"].as_str().unwrap().to_owned()
    };
    assert_eq!(said("before"), "before");

    let taken = r#""discard_check_output": true, "limits": {"http_max_conns_per_client": 77}"#;
    write(&format!(
        r#"{{"node_meta": {{"rack": "2"}}, "services": [{{"name": "a", "port": 2}}, {{"name": "c"}}], {beats}, {taken},
            "check_output_max_size": 99}}"#
    ));
    agent.signal("HUP");
    agent.wait_for("/v1/agent/services", |services| services["a"]["Port"] == 2 && services["c"].is_object());
    agent.wait_for("/v1/catalog/service/b", |rows| rows.as_array().is_some_and(Vec::is_empty));
    let shown = agent.wait_for("/v1/agent/self", |me| me["DebugConfig"]["NodeMeta"]["rack"] == "2");
    assert_eq!(shown["DebugConfig"]["CheckOutputMaxSize"], 4096, "it tells what runs");
    assert_eq!(shown["DebugConfig"]["HTTPMaxConnsPerClient"], 77);
    assert_eq!(said("after"), "", "what checks say is discarded now");
    assert_eq!(shown["DebugConfig"]["NodeID"], shown["Config"]["NodeID"]);
    let log = agent.log();
    assert!(log.contains("take effect at the next start: settings=CheckOutputMaxSize"), "{log}");

    write(r#"{"node_meta": "#);
    let (code, _, err) = agent.cli(&["reload"]);
    assert_eq!(code, 1);
    assert!(err.contains("agent.json:1:14: not valid JSON"), "{err}");
    assert!(agent.get("/v1/agent/services").json()["c"].is_object(), "the old configuration stays");
    write("{}");
    assert_eq!(agent.cli(&["reload"]).1, "Configuration reload triggered\n");
    assert_eq!(agent.get("/v1/agent/services").json(), serde_json::json!({}));
}

#[test]
fn signals_leave_or_stop_by_mode_with_their_exit_codes() {
    let root = tempfile::tempdir().unwrap();
    let started = |plan: Plan| {
        let agent = plan.start();
        agent.wait_for("/v1/agent/self", |_| true);
        agent
    };
    let client = |name: &str| Plan::client(root.path(), "dc1", name);
    let server = |name: &str| Plan::server(root.path(), "dc1", name, 1);
    for (plan, signal, code, left) in [
        (client("c1"), "TERM", 0, true),
        (client("c2"), "INT", 0, true),
        (client("c3").flag("-hcl=leave_on_terminate = false"), "TERM", 1, false),
        (client("c4").flag("-hcl=skip_leave_on_interrupt = true"), "INT", 1, false),
        (server("s1"), "TERM", 1, false),
        (server("s2"), "INT", 1, false),
        (server("s3").flag("-hcl=leave_on_terminate = true performance { leave_drain_time = \"10ms\" }"), "TERM", 0, true),
    ] {
        let pid_file = root.path().join("agent.pid");
        let agent = started(plan.clone().flag(&format!("-pid-file={}", pid_file.display())));
        // It is written once everything is bound, which its API does not wait for.
        rig::wait_until("the pid file", || {
            let text = std::fs::read_to_string(&pid_file).ok()?;
            (text.trim() == agent.pid().to_string()).then_some(())
        });
        agent.signal(signal);
        assert_eq!(agent.wait(), Some(code), "{} {signal}", plan.name);
        let log = std::fs::read_to_string(plan.data_dir.join("agent.log")).unwrap();
        assert_eq!(log.contains("gracefully leaving"), left, "{log}");
        assert!(!pid_file.exists());
    }
}

#[test]
fn a_second_signal_ends_a_leave_at_once_and_a_leave_over_http_ends_well() {
    let root = tempfile::tempdir().unwrap();
    let slow = Plan::server(root.path(), "dc1", "s1", 1)
        .flag("-hcl=leave_on_terminate = true performance { leave_drain_time = \"14s\" }")
        .start();
    slow.wait_for_leader();
    slow.signal("TERM");
    wait_until("it is leaving", || slow.log().contains("gracefully leaving").then_some(()));
    slow.signal("TERM");
    assert_eq!(slow.wait(), Some(1));

    let asked = Plan::server(root.path(), "dc1", "s2", 1).flag("-hcl=performance { leave_drain_time = \"14s\" }").start();
    asked.wait_for_leader();
    std::thread::scope(|scope| {
        scope.spawn(|| asked.try_put("/v1/agent/leave", ""));
        wait_until("it is leaving", || asked.log().contains("leaving as asked").then_some(()));
        asked.signal("TERM");
        wait_until("it goes on", || asked.log().contains("ending already").then_some(()));
        assert!(!asked.log().contains("second signal:"));
        asked.signal("TERM");
        wait_until("it ends", || asked.log().contains("second signal:").then_some(()));
    });
    assert_eq!(asked.wait(), Some(1));

    let client = Plan::client(root.path(), "dc1", "c1").start();
    client.wait_for("/v1/agent/self", |_| true);
    assert_eq!(good(&client, "leave"), "Graceful leave complete\n");
    assert_eq!(client.wait(), Some(0));
}

#[test]
fn a_join_that_is_given_up_ends_the_agent() {
    let root = tempfile::tempdir().unwrap();
    let nobody = rig::address();
    for (plan, flags) in [
        (Plan::client(root.path(), "dc1", "c1"), ["-retry-join", "-retry-max=2"]),
        (Plan::server(root.path(), "dc1", "s1", 1), ["-retry-join-wan", "-retry-max-wan=2"]),
    ] {
        let plan = plan.flag(&format!("{}={nobody}", flags[0])).flag(flags[1]);
        assert_eq!(plan.start().wait(), Some(1));
        let log = std::fs::read_to_string(plan.data_dir.join("agent.log")).unwrap();
        assert!(log.contains("no agent was reached in 2 tries (retry_max)") && log.contains(&nobody.to_string()), "{log}");
    }
}

#[test]
fn the_banner_comes_before_the_log_and_tells_no_port_that_is_not_open() {
    let root = tempfile::tempdir().unwrap();
    let agent = Plan::server(root.path(), "dc1", "s1", 1).flag("-ui").flag("-dns-port=8600").start();
    agent.wait_for_leader();
    let log = agent.log();
    assert!(log.starts_with("==> Starting Kontor agent...\n"), "{log}");
    assert!(log.contains("(HTTP: 8500, HTTPS: -1, gRPC: -1, DNS: -1)\n"), "{log}");
    let id = std::fs::read_to_string(agent.plan.data_dir.join("node-id")).unwrap();
    assert!(log.contains(&format!("Node ID: '{id}'\n")), "{log}");
    for key in ["ui is accepted and has no effect yet", "ports.dns is accepted and has no effect yet"] {
        assert_eq!(log.matches(key).count(), 1, "{key}: {log}");
    }
}

/// Seconds since midnight of a log line that begins with its time.
fn second_of_day(line: &str) -> Option<f64> {
    let time = line.split_once('T')?.1.split_once('Z')?.0;
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    Some(parts.first()? * 3600.0 + parts.get(1)? * 60.0 + parts.get(2)?)
}

#[test]
fn a_start_in_which_all_find_each_other_within_seconds_warns_of_nothing() {
    let root = tempfile::tempdir().unwrap();
    let here = rig::Datacenter::start(root.path(), "dc1", 1);
    // One of dc2 alone knows of dc1, and the others hear of it one by one, as of each other's fingerprints.
    let gate = here.servers[0].plan.clone();
    let there = rig::Datacenter::start_with(root.path(), "dc2", 0, |plan| match plan.name.as_str() {
        "s1" => plan.join_wan(&[&gate]),
        _ => plan,
    });
    for server in &there.servers {
        server.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().is_some_and(|nodes| nodes.len() == 4));
    }
    for agent in here.servers.iter().chain(&here.clients).chain(&there.servers) {
        let log = agent.log();
        let start = log.lines().find_map(second_of_day).unwrap();
        let early = |line: &&str| second_of_day(line).is_some_and(|at| (0.0..9.0).contains(&(at - start)));
        // Others, such as a leader that was not run for a while, are the machine's doing.
        let normal = [
            "nobody is reached",
            "no link",
            "link down",
            "connection refused",
            "pin-mismatch",
            "bootstrap waits",
            "does not agree",
        ];
        for line in log.lines().filter(early).filter(|line| line.contains("[WARN]") || line.contains("[ERROR]")) {
            assert!(!normal.iter().any(|text| line.contains(text)), "{}: {line}", agent.plan.name);
        }
    }
}

#[test]
fn servers_work_with_certificates_that_the_program_has_made() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    for line in ["tls ca create", "tls cert create -server -dc=dc1", "tls cert create -server -dc=dc1", "tls cert create -cli"] {
        let (code, _, err) = run(folder, &line.split(' ').collect::<Vec<_>>(), &[]);
        assert_eq!(code, 0, "{line}: {err}");
    }
    let plans: Vec<Plan> = (0..2).map(|number| Plan::server(folder, "dc1", &format!("s{number}"), 2)).collect();
    let known: Vec<&Plan> = plans.iter().collect();
    let servers: Vec<Agent> = plans
        .iter()
        .enumerate()
        .map(|(number, plan)| {
            let file = folder.join(format!("s{number}.hcl"));
            let text = format!(
                "ca_file = \"{0}/consul-agent-ca.pem\"\ncert_file = \"{0}/dc1-server-consul-{number}.pem\"\n\
                 key_file = \"{0}/dc1-server-consul-{number}-key.pem\"\n\
                 verify_incoming = true\nverify_outgoing = true\nverify_server_hostname = true\n\
                 bridge {{\n require_ca = true\n}}\nports {{\n https = 8501\n}}\n",
                folder.display()
            );
            std::fs::write(&file, text).unwrap();
            plan.clone().join(&known).flag(&format!("-config-file={}", file.display())).start()
        })
        .collect();
    for server in &servers {
        server.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().is_some_and(|nodes| nodes.len() == 2));
    }
    let https = format!("https://{}:8501", servers[0].plan.address);
    let address = ("CONSUL_HTTP_ADDR", https.as_str());
    let authority = ("CONSUL_CACERT", "consul-agent-ca.pem");
    let name = ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul");
    let own = [("CONSUL_CLIENT_CERT", "dc1-cli-consul-0.pem"), ("CONSUL_CLIENT_KEY", "dc1-cli-consul-0-key.pem")];
    let list = ["operator", "raft", "list-peers"];
    let (code, out, err) = run(folder, &list, &[address, authority, name, own[0], own[1]]);
    assert_eq!((code, rows(&out).len()), (0, 3), "{err}");
    let (code, _, err) = run(folder, &list, &[address, authority, name]);
    assert_eq!(code, 1, "a certificate is asked for: {err}");
    let of_system = ("SSL_CERT_FILE", "consul-agent-ca.pem");
    let (code, _, err) = run(folder, &list, &[address, of_system, name, own[0], own[1]]);
    assert_eq!(code, 0, "the system trusts it: {err}");
    // A key of another certificate is found before a start is.
    let text = std::fs::read_to_string(folder.join("s0.hcl")).unwrap().replace("consul-0-key.pem", "consul-1-key.pem");
    std::fs::write(folder.join("crossed.hcl"), format!("{text}data_dir = \"/nowhere\"\nserver = true\n")).unwrap();
    let (code, out, err) = run(folder, &["validate", "crossed.hcl"], &[]);
    assert!(code == 1 && err.contains("it is not the key of the certificate"), "{out}{err}");
    let (code, _, err) = run(folder, &list, &[address, authority, own[0], own[1]]);
    assert_eq!(code, 1);
    assert!(err.contains("not valid for name"), "{err}");
}

#[test]
fn the_log_goes_to_its_file_as_well_as_json_if_asked() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("kontor.log");
    let agent = Plan::client(root.path(), "dc1", "c1").flag("-log-json").flag(&format!("-log-file={}", file.display())).start();
    agent.wait_for("/v1/agent/self", |_| true);
    let up = |text: &str| {
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .any(|line| line["@message"] == "agent is up" && line["@module"] == "agent")
    };
    // The API answers a moment before the line is written.
    wait_until("the line in the file", || std::fs::read_to_string(&file).ok().filter(|text| up(text)));
    wait_until("the line in the log", || Some(agent.log()).filter(|text| up(text)));
    assert!(request("GET", &agent.url("/v1/status/leader"), None).is_some());
    assert_eq!(agent.terminate(), Some(0));
}

#[test]
fn an_agent_outlives_whoever_reads_what_it_says() {
    let root = tempfile::tempdir().unwrap();
    let address = rig::address();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kontor"))
        .args(["agent", "-node=c1", "-log-level=debug"])
        .args([format!("-bind={address}"), format!("-client={address}"), format!("-data-dir={}", root.path().display())])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let url = format!("http://{address}:8500/v1/agent/self");
    wait_until("it answers without a reader", || request("GET", &url, None));
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    let code = wait_until("it ends", || child.try_wait().unwrap());
    assert_eq!(code.code(), Some(0));
}

#[test]
fn what_the_test_harness_of_consuls_go_clients_writes_starts_a_server() {
    let root = tempfile::tempdir().unwrap();
    let address = rig::address();
    let id = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";
    // As `sdk/testutil` writes it, but for the address.
    let written = serde_json::json!({
        "node_name": format!("node-{id}"), "node_id": id, "performance": {"raft_multiplier": 1}, "bootstrap": true, "server": true,
        "data_dir": root.path().join("data"), "segments": null, "disable_update_check": true, "log_level": "debug",
        "bind_addr": address, "addresses": {"http": address},
        "ports": {"dns": 8600, "http": 8500, "https": 8501, "serf_lan": 8301, "serf_wan": 8302, "server": 8300, "grpc": 8502, "grpc_tls": 8503},
        "acl": {"tokens": {}}, "connect": {"ca_config": {"cluster_id": "11111111-2222-3333-4444-555555555555"}, "enabled": true},
        "skip_leave_on_interrupt": true, "peering": {"enabled": true}
    });
    let file = root.path().join("config.json");
    std::fs::write(&file, written.to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kontor"))
        .args(["agent", "-config-file"])
        .arg(&file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://{address}:8500/v1/status/leader");
    wait_until("it leads", || request("GET", &url, None).filter(|answer| answer.body.contains(":8300")));
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    wait_until("it ends", || child.try_wait().unwrap());
}

#[test]
fn an_agent_reads_the_variable_that_consuls_image_reads() {
    let root = tempfile::tempdir().unwrap();
    let variable = [("CONSUL_LOCAL_CONFIG", "{\"nonsense\": 1}")];
    let (code, _, err) = run(root.path(), &["agent", "-dev"], &variable);
    assert_eq!(code, 1);
    assert!(err.contains("CONSUL_LOCAL_CONFIG:1:2: invalid config key nonsense"), "{err}");
}
