//! The grammar, and every command against an agent that answers as Consul does.

use super::*;
use crate::model::part::Part;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use std::sync::Mutex;

fn matches(line: &str) -> Result<ArgMatches, clap::Error> {
    let args = argv::normalise(line.split_whitespace().map(str::to_owned));
    parser().try_get_matches_from(std::iter::once("kontor".to_owned()).chain(args))
}

fn parse(line: &str) -> Result<Command, clap::Error> {
    Ok(Cli::from_arg_matches(&matches(line)?)?.command)
}

#[test]
fn the_grammar_is_consistent_and_each_command_has_a_help_of_its_own() {
    parser().debug_assert();
    let abouts: Vec<String> = parser().get_subcommands().filter_map(|command| Some(command.get_about()?.to_string())).collect();
    let offered = abouts.iter().filter(|about| !about.starts_with("(not there yet)"));
    let distinct: std::collections::BTreeSet<&String> = offered.clone().collect();
    assert_eq!((offered.count(), distinct.len()), (20, 20), "{abouts:#?}");
}

/// Further ones are run against an agent below.
#[test]
fn consul_s_command_lines_are_understood() {
    for line in [
        "members -wan -detailed -status=alive",
        "members -http-addr=127.0.0.1:9500",
        "catalog nodes -service web -near=_agent -node-meta a=b -detailed -datacenter dc2 -stale",
        "catalog services -tags -node n1",
        "operator raft list-peers -stale=true -http-addr http://127.0.0.1:1",
        "operator raft remove-peer -id 0bc1c4c3-5a9a-4a6a-9d1d-111111111111",
        "operator autopilot state -format=json",
        "operator autopilot set-config -cleanup-dead-servers=false -min-quorum=3 -last-contact-threshold 1s",
        "federation list -format=json -http-addr=127.0.0.1:1",
        "federation status dc2 -format json",
        "info -token=x",
        "join -wan 10.0.0.1 10.0.0.2",
        "rtt -wan n1.dc1 n2.dc2",
        "services register -name=web -port=80 -tag=a -tag=b -meta=k=v -tagged-address=lan=10.0.0.1:80",
        "services register web.hcl",
        "maint -enable -reason=why -service=web",
        "validate -quiet /etc/x",
        "version -format=json",
        "tls ca create -days=10 -domain=example",
        "tls cert create -server -dc dc2 -additional-dnsname=a -additional-ipaddress=10.0.0.1",
        "tls init -dc dc1 -dc=dc2 -servers=3 -clients 2 -dir=tls -ca-dir=ca",
        "keygen",
        "demo",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for line in [
        "",
        "nonsense",
        "members -nonsense",
        "operator raft remove-peer -id=x -address=y",
        "operator autopilot set-config -max-trailing-logs=x",
        "operator autopilot set-config -last-contact-threshold=x",
        "services export-all",
        "join",
        "tls cert create",
        "agent x",
        "members x",
        "federation",
        "federation status",
        "federation remove",
        "federation list -format=xml",
        "federation doctor dc2 dc3",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn commands_that_are_not_there_yet_say_so_whatever_is_asked_of_them() {
    let said = |line: &str| matches(line).map_or_else(|error| panic!("{line}: {error}"), |matches| absent::said(&matches));
    for (line, part) in [
        ("snapshot save x.snap", Part::Snapshots),
        ("acl token list -format=json", Part::Acl),
        ("lock -n=2 prefix sh -c true", Part::Lock),
        ("exec -- uptime -p", Part::Exec),
        ("operator usage instances", Part::Usage),
        ("operator usage -datacenter=dc2", Part::Usage),
        ("services export -name=web -consumer-peers=x", Part::Peering),
    ] {
        let done = said(line).unwrap_or_else(|| panic!("{line} is offered"));
        assert_eq!((done.out.as_str(), done.code), ("", 1), "{line}");
        assert_eq!(done.err, format!("Error: {}\n", part.sentence()), "{line}");
    }
    for line in ["snapshot -h", "snapshot save -h", "event fire -help", "operator usage --help"] {
        let done = said(line).unwrap_or_else(|| panic!("{line} is offered"));
        assert!(done.code == 0 && done.out.contains("not offered"), "{line}");
    }
    for line in ["members", "operator raft list-peers", "services register -name=kv"] {
        assert_eq!(said(line), None, "{line}");
    }
    let help = parser().render_long_help().to_string();
    assert!(help.contains("  snapshot ") && help.contains("(not there yet)"), "{help}");
}

#[test]
fn the_demo_has_its_ports() {
    let Ok(Command::Demo(options)) = parse("demo -dc2-port 9600") else { panic!("no demo") };
    assert_eq!((options.dc1_port, options.dc2_port, options.data_dir), (8500, 9600, None));
    assert_eq!(options.bind.to_string(), "127.0.0.1");
}

/// Runs a command line against an agent with these answers; the result of the command, and the agent's requests.
fn against(line: &str, answers: &'static [(&'static str, u16, &'static str)]) -> (Result<Done, String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |request: Request| async move {
        let line = format!("{} {}", request.method(), request.uri());
        let found = answers.iter().find(|(prefix, _, _)| line.starts_with(prefix));
        seen.lock().unwrap().push(line);
        found.map_or((StatusCode::NOT_FOUND, ""), |(_, status, body)| (StatusCode::from_u16(*status).unwrap(), *body))
    };
    runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    let matches = matches(&format!("{line} -http-addr={address}")).unwrap();
    let Ok(Cli { command: Command::Asking(command) }) = Cli::from_arg_matches(&matches) else { panic!("{line}") };
    let done = ask(*command, &matches);
    let asked = asked.lock().unwrap().clone();
    (done, asked)
}

fn out(text: &str) -> Result<Done, String> {
    Ok(Done::text(text.to_owned()))
}

#[test]
fn members_that_match_are_listed_and_none_exits_with_two() {
    const MEMBERS: &str = r#"[{"Name": "s1.dc1", "Addr": "10.0.0.1", "Port": 8302, "Status": 1, "ProtocolCur": 2,
        "Tags": {"role": "consul", "dc": "dc1", "build": "1.9.0:x"}}]"#;
    let (done, asked) = against("members -wan", &[("GET /v1/agent/members", 200, MEMBERS)]);
    let expected = "Node    Address        Status  Type    Build  Protocol  DC   Partition  Segment\n\
                    s1.dc1  10.0.0.1:8302  alive   server  1.9.0  2         dc1  default    <all>\n";
    assert_eq!(done, out(expected));
    assert_eq!(asked, ["GET /v1/agent/members?wan=1"]);
    for (line, question) in [("_all", "GET /v1/agent/members"), ("alpha", "GET /v1/agent/members?segment=alpha")] {
        let (done, asked) = against(&format!("members -segment={line}"), &[("GET /v1/agent/members", 200, MEMBERS)]);
        assert_eq!((done.unwrap().code, asked.as_slice()), (0, &[question.to_owned()][..]));
    }
    let (done, _) = against("members -status=failed", &[("GET /v1/agent/members", 200, MEMBERS)]);
    assert_eq!(done.unwrap().code, 2);
}

#[test]
fn the_catalog_is_asked_in_the_datacenter_named() {
    let (done, _) = against("catalog datacenters", &[("GET /v1/catalog/datacenters", 200, r#"["dc1","dc2"]"#)]);
    assert_eq!(done, out("dc1\ndc2\n"));
    const SERVICES: &str = r#"{"web": ["b", "a"], "consul": []}"#;
    let (done, asked) = against("catalog services -tags -datacenter=dc2 -stale", &[("GET /v1/catalog/services", 200, SERVICES)]);
    assert_eq!(done, out("consul\nweb         a,b\n"));
    assert_eq!(asked, ["GET /v1/catalog/services?dc=dc2&stale="]);
    let (done, asked) = against("catalog nodes -service=web -node-meta=a=b", &[("GET /v1/catalog/service/web", 200, "[]")]);
    assert_eq!(
        done.unwrap(),
        Done { err: "No nodes match the given query - try expanding your search.\n".to_owned(), ..Done::default() }
    );
    assert_eq!(asked, ["GET /v1/catalog/service/web?node-meta=a%3Ab"]);
    let none = Done { err: "No services match the given query - try expanding your search.\n".to_owned(), ..Done::default() };
    let (done, _) = against("catalog services -node=n9", &[("GET /v1/catalog/node/n9", 200, "null")]);
    assert_eq!(done, Ok(none.clone()));
    let (done, _) = against("catalog services -node-meta=a=b -tags", &[("GET /v1/catalog/services", 200, "{}")]);
    assert_eq!(done, Ok(none));
}

#[test]
fn how_servers_are_treated_is_shown_and_changed_by_what_is_named() {
    const GOT: &str = r#"{"CleanupDeadServers": true, "LastContactThreshold": "200ms", "MaxTrailingLogs": 250, "MinQuorum": 0,
        "ServerStabilizationTime": "1m0s", "RedundancyZoneTag": "", "DisableUpgradeMigration": false, "UpgradeVersionTag": "",
        "CreateIndex": 4, "ModifyIndex": 9}"#;
    let shown = "CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\nMinQuorum = 0\n\
                 ServerStabilizationTime = 1m0s\nRedundancyZoneTag = \"\"\nDisableUpgradeMigration = false\n\
                 UpgradeVersionTag = \"\"\n";
    assert_eq!(against("operator autopilot get-config", &[("GET", 200, GOT)]).0, out(shown));
    let line = "operator autopilot set-config -cleanup-dead-servers=false -min-quorum=3";
    let (done, asked) = against(line, &[("GET", 200, GOT), ("PUT", 200, "true")]);
    assert_eq!(done, out("Configuration updated!\n"));
    let path = "/v1/operator/autopilot/configuration";
    assert_eq!(asked, [format!("GET {path}"), format!("PUT {path}?cas=9")]);
    let (done, _) = against(line, &[("GET", 200, GOT), ("PUT", 200, "false")]);
    assert!(done.unwrap_err().contains("try again"));
}

#[test]
fn a_peer_to_be_removed_is_named() {
    let (done, asked) = against("operator raft remove-peer", &[]);
    assert_eq!(done, Err("Error removing peer: an address or id is required for the peer to remove".to_owned()));
    assert_eq!(asked, Vec::<String>::new());
    let (done, _) = against("operator autopilot state -format=xml", &[]);
    assert_eq!(done, Err("Unknown format: xml".to_owned()));
}

#[test]
fn errors_of_the_agent_come_through_with_their_code() {
    let (done, _) = against("operator raft list-peers", &[("GET /v1/operator/raft/configuration", 500, "No cluster leader")]);
    assert_eq!(done, Err("Unexpected response code: 500 (No cluster leader)".to_owned()));
    let (done, _) = against("info", &[("GET /v1/agent/self", 200, "[]")]);
    assert!(done.unwrap_err().contains("/v1/agent/self is not what was expected"));
}

#[test]
fn a_join_succeeds_when_one_address_answers() {
    const ANSWERS: &[(&str, u16, &str)] = &[("PUT /v1/agent/join/10.0.0.1", 200, ""), ("PUT", 500, "refused")];
    let (done, asked) = against("join -wan 10.0.0.1 10.0.0.9:1", ANSWERS);
    let done = done.unwrap();
    assert_eq!((done.out.as_str(), done.code), ("Successfully joined cluster by contacting 1 nodes.\n", 0));
    assert!(done.err.contains("Error joining address '10.0.0.9:1'"));
    assert_eq!(asked, ["PUT /v1/agent/join/10.0.0.1?wan=1", "PUT /v1/agent/join/10.0.0.9%3A1?wan=1"]);
    assert_eq!(against("join 10.0.0.9", ANSWERS).0.unwrap().code, 1);
}

#[test]
fn round_trip_times_come_from_coordinates() {
    const NODES: &str = r#"[
        {"Node": "n1", "Segment": "", "Coord": {"Vec": [0.003,0,0,0,0,0,0,0], "Error": 1, "Adjustment": 0, "Height": 0.001}},
        {"Node": "n2", "Segment": "", "Coord": {"Vec": [0,0.004,0,0,0,0,0,0], "Error": 1, "Adjustment": 0, "Height": 0.001}}]"#;
    const ANSWERS: &[(&str, u16, &str)] = &[
        ("GET /v1/coordinate/nodes", 200, NODES),
        ("GET /v1/agent/self", 200, r#"{"Config": {"NodeName": "n2", "Datacenter": "dc1"}}"#),
    ];
    assert_eq!(against("rtt n1", ANSWERS).0, out("Estimated n1 <-> n2 rtt: 7.000 ms (using LAN coordinates)\n"));
    let unknown = Done { err: "Could not find a coordinate for node \"n3\"\n".to_owned(), code: 1, ..Done::default() };
    assert_eq!(against("rtt n1 n3", ANSWERS).0, Ok(unknown));
}

#[test]
fn what_changes_something_says_so() {
    const OK: &[(&str, u16, &str)] = &[("", 200, "")];
    for (line, said, asked) in [
        ("leave", "Graceful leave complete\n", "PUT /v1/agent/leave"),
        ("reload", "Configuration reload triggered\n", "PUT /v1/agent/reload"),
        ("force-leave -prune n1", "", "PUT /v1/agent/force-leave/n1?prune=1"),
        ("maint -enable -reason=x", "Node maintenance is now enabled\n", "PUT /v1/agent/maintenance?enable=true&reason=x"),
        (
            "maint -disable -service=web",
            "Service maintenance is now disabled for \"web\"\n",
            "PUT /v1/agent/service/maintenance/web?enable=false",
        ),
        ("services register -name=web", "Registered service: web\n", "PUT /v1/agent/service/register"),
        ("services deregister -id=web", "Deregistered service: web\n", "PUT /v1/agent/service/deregister/web"),
        (
            "operator raft remove-peer -address=10.0.0.1:8300",
            "Removed peer with address \"10.0.0.1:8300\"\n",
            "DELETE /v1/operator/raft/peer?address=10.0.0.1%3A8300",
        ),
        ("operator raft remove-peer -id=i", "Removed peer with id \"i\"\n", "DELETE /v1/operator/raft/peer?id=i"),
        ("operator raft transfer-leader", "Success\n", "POST /v1/operator/raft/transfer-leader"),
    ] {
        let (done, requests) = against(line, OK);
        assert_eq!(done, out(said), "{line}");
        assert_eq!(requests, [asked], "{line}");
    }
}

#[test]
fn the_federation_is_looked_at_and_its_doctor_s_word_is_the_exit_code() {
    const SEEN: &str = r#"{"Datacenter": "dc1", "Server": "s1", "Datacenters": [
        {"Name": "dc2", "State": "trying", "Since": null, "Cause": null, "Inbound": 0, "Servers": [{"Name": "s1",
         "Address": "10.0.0.1:8300", "Alive": true, "Link": "trying", "Role": null, "RttMillis": null, "Since": null,
         "Cause": null, "Certificate": null, "Traffic": null, "Parked": 0}],
         "Feeds": {"Standing": 0, "Held": 0, "Bytes": 0, "OldestAgeMillis": null}},
        {"Name": "dc3", "State": "left", "Since": null, "Cause": null, "Inbound": 0, "Servers": [],
         "Feeds": {"Standing": 0, "Held": 0, "Bytes": 0, "OldestAgeMillis": null}}]}"#;
    const FINE: &str = r#"{"Datacenter": "dc1", "Server": "s1", "Examined": "dc2", "Findings": []}"#;
    const WRONG: &str = r#"{"Datacenter": "dc1", "Server": "s1", "Examined": "dc2", "Findings": [{"Level": "warning",
        "Check": "clock", "About": "s1.dc2", "Expected": "e", "Came": "c", "Advice": "a"}]}"#;
    let (done, asked) = against("federation list", &[("GET /v1/federation", 200, SEEN)]);
    let list = done.unwrap();
    assert!(list.code == 0 && list.out.contains("dc2         trying"), "{list:?}");
    assert_eq!(asked, ["GET /v1/federation"]);
    let (done, asked) = against("federation status dc2 -format=json", &[("GET /v1/federation/dc2", 200, SEEN)]);
    let shown: serde_json::Value = serde_json::from_str(&done.unwrap().out).unwrap();
    assert_eq!((&shown["Datacenters"][0]["Name"], asked.as_slice()), (&"dc2".into(), &["GET /v1/federation/dc2".to_owned()][..]));
    let (done, _) = against("federation status dc9", &[("GET", 404, "No datacenter \"dc9\" is known")]);
    assert_eq!(done, Err("Unexpected response code: 404 (No datacenter \"dc9\" is known)".to_owned()));
    let (done, asked) = against("federation doctor", &[("GET", 200, SEEN), ("PUT /v1/federation/doctor/dc2", 200, FINE)]);
    assert_eq!(done, out("dc2, from s1 in dc1\n  all is fine\n"));
    assert_eq!(asked, ["GET /v1/federation", "PUT /v1/federation/doctor/dc2"], "one that has left is not looked at");
    let (done, asked) = against("federation doctor dc2", &[("PUT /v1/federation/doctor/dc2", 200, WRONG)]);
    let done = done.unwrap();
    assert!(done.code == 1 && done.out.contains("to do:    a") && done.out.contains("warnings: 1"), "{done:?}");
    assert_eq!(asked.len(), 1);
    let (done, asked) = against("federation remove dc2", &[("PUT /v1/federation/remove/dc2", 200, "")]);
    assert_eq!((done, asked.as_slice()), (out("Removed datacenter: dc2\n"), &["PUT /v1/federation/remove/dc2".to_owned()][..]));
    assert!(against("federation remove dc2", &[("PUT", 500, "No cluster leader")]).0.unwrap_err().contains("No cluster leader"));
}
