//! What operators see of the federation, on real processes: list, status and doctor while all is well,
//! with the other datacenter gone, and with certificates that do not fit.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A server in each of two datacenters and a client in the first, which know each other; every plan
/// changed by `change` first.
struct Pair {
    here: Agent,
    client: Agent,
    there: Agent,
}

impl Pair {
    fn start(root: &Path, change: impl Fn(Plan) -> Plan) -> Pair {
        let here = change(Plan::server(root, "dc1", "s1", 1)).start();
        let client = change(Plan::client(root, "dc1", "c1")).join(&[&here.plan]).start();
        let there = change(Plan::server(root, "dc2", "s2", 1)).join_wan(&[&here.plan]).start();
        for agent in [&here, &client, &there] {
            agent.wait_for_leader();
            agent.wait_for("/v1/federation", |seen| seen["Datacenters"].as_array().unwrap().len() == 1);
        }
        Pair { here, client, there }
    }
}

/// Waits until `agent` sees the other datacenter in `state`.
fn in_state(agent: &Agent, dc: &str, state: &str) -> Value {
    let seen = agent.wait_for(&format!("/v1/federation/{dc}"), |seen| seen["Datacenters"][0]["State"] == state);
    seen["Datacenters"][0].clone()
}

/// Asks the doctor until it is content, or has a finding that `good` accepts.
fn doctor(agent: &Agent, dc: &str, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait_until(&format!("{}: what the doctor finds of {dc}", agent.plan.name), || {
        let reply = agent.put(&format!("/v1/federation/doctor/{dc}"), "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        let findings = reply.json()["Findings"].as_array().unwrap().clone();
        good(&findings).then_some(findings)
    })
}

#[test]
fn a_federation_that_is_well_is_told_so_by_servers_and_clients() {
    let root = tempfile::tempdir().unwrap();
    let Pair { here, client, there } = Pair::start(root.path(), |plan| plan);
    in_state(&there, "dc1", "alive");
    for agent in [&here, &client] {
        let dc2 = in_state(agent, "DC2", "alive");
        assert_eq!((&dc2["Name"], &dc2["Since"], &dc2["Cause"]), (&json!("dc2"), &Value::Null, &Value::Null));
        let server = &dc2["Servers"][0];
        assert_eq!((&server["Name"], &server["Link"], &server["Role"]), (&json!("s2"), &json!("up"), &json!("live")));
        assert_eq!(server["Address"], format!("{}:8300", there.plan.address));
        assert_eq!((&server["Alive"], &server["Certificate"]["Voucher"]), (&json!(true), &json!("pin")));
        assert!(server["RttMillis"].as_f64().unwrap() > 0.0 && server["Traffic"]["BytesIn"].as_u64().unwrap() > 0, "{server}");

        let all = agent.get("/v1/federation").json();
        assert_eq!((&all["Datacenter"], &all["Server"]), (&json!("dc1"), &json!("s1")), "a server answers, for its client too");
        let (code, list, _) = agent.cli(&["federation", "list", "-datacenter=dc2"]);
        assert!(code == 0 && list.contains("dc2"), "{list}");
        let (code, _, err) = agent.cli(&["federation", "list", "-datacenter=dc9"]);
        assert!(code == 1 && err.contains("dc9"), "{err}");
        let (code, _, err) = agent.cli(&["federation", "status", "dc2", "-datacenter=dc9"]);
        assert!(code == 1 && err.contains("dc9") && err.contains("-http-addr"), "{err}");
        let (code, list, _) = agent.cli(&["federation", "list"]);
        assert_eq!(code, 0);
        let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["Datacenter", "State", "Server", "RTT", "Feeds", "Held", "Bytes", "Oldest"]);
        assert_eq!(lines[1][..3], ["dc2", "alive", "s2"]);
        let (code, page, _) = agent.cli(&["federation", "status", "dc2"]);
        assert!(code == 0 && page.contains("Seen by:    s1 in dc1\n") && page.contains("up (live)"), "{page}");
        let (_, shown, _) = agent.cli(&["federation", "status", "dc2", "-format=json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["Datacenters"][0]["Servers"][0]["Certificate"], server["Certificate"]);

        doctor(agent, "dc2", |findings| findings.iter().all(|finding| finding["Level"] == "ok"));
        let (code, page, err) = agent.cli(&["federation", "doctor"]);
        assert_eq!((code, err.as_str()), (0, ""), "{page}");
        for line in ["dc2, from s1 in dc1\n", "s2.dc2: it answers", "s2.dc2 -> s1.dc1: it is answered", "  all is fine\n"] {
            assert!(page.contains(line), "{line}: {page}");
        }
    }
    let (code, _, err) = client.cli(&["federation", "status", "dc9"]);
    assert_eq!(code, 1);
    assert!(err.contains("404") && err.contains("No datacenter \"dc9\" is known in \"dc1\""), "{err}");
    assert_eq!(here.put("/v1/federation/doctor/dc9", "").status, 404);
    assert!(here.get("/v1/federation/dc1").body.contains("is the datacenter of the agent asked"));
}

#[test]
fn a_datacenter_that_is_lost_is_unreachable_since_then_and_the_doctor_says_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let Pair { here, client, there } = Pair::start(root.path(), |plan| plan);
    in_state(&here, "dc2", "alive");
    there.kill();
    for agent in [&here, &client] {
        let dc2 = in_state(agent, "dc2", "unreachable");
        let (since, cause) = (dc2["Since"].as_str().unwrap(), dc2["Cause"].as_str().unwrap());
        assert!(cause.starts_with(&format!("unreachable since {since}: ")), "{dc2}");
        assert_eq!((&dc2["Servers"][0]["Link"], &dc2["Servers"][0]["Role"]), (&json!("down"), &Value::Null));
        let (_, page, _) = agent.cli(&["federation", "status", "dc2"]);
        assert!(page.contains("State:      unreachable\n") && page.contains("Cause:      unreachable since "), "{page}");
    }
    let of_port = |findings: &[Value], text: &str| {
        let is_it = |finding: &Value| finding["Check"] == "port" && finding["Came"].as_str().unwrap().contains(text);
        findings.iter().any(|finding| finding["Level"] == "error" && is_it(finding))
    };
    doctor(&here, "dc2", |findings| of_port(findings, "UDP 8300 does not answer"));
    // Gossip takes longer to give it up, and then nothing is said of a firewall any more.
    doctor(&here, "dc2", |findings| of_port(findings, "failed by gossip"));
    let (code, page, _) = client.cli(&["federation", "doctor", "dc2"]);
    assert!(code == 1 && page.contains("ERROR") && page.contains("to do:    start the server"), "{page}");
}

#[test]
fn a_datacenter_that_has_left_is_told_as_left() {
    let root = tempfile::tempdir().unwrap();
    let Pair { here, client, there } = Pair::start(root.path(), |plan| plan);
    in_state(&here, "dc2", "alive");
    assert_eq!(there.cli(&["leave"]).0, 0);
    let dc2 = in_state(&client, "dc2", "left");
    assert_eq!(dc2["Servers"][0]["Name"], "s2");
    let (code, page, _) = here.cli(&["federation", "doctor"]);
    assert_eq!((code, page.as_str()), (0, "There is no other datacenter to look at.\n"));
    let reply = here.put("/v1/federation/doctor/dc2", "");
    assert_eq!(reply.status, 404);
    assert!(reply.body.contains("has no way to look at: its state here is left"), "{}", reply.body);
}

#[test]
fn the_doctor_names_certificates_of_different_authorities() {
    let root = tempfile::tempdir().unwrap();
    let configured = |dc: &str| {
        let certs = root.path().join(format!("certs-{dc}"));
        std::fs::create_dir(&certs).unwrap();
        for line in ["tls ca create".to_owned(), format!("tls cert create -server -dc={dc}")] {
            let made = Command::new(env!("CARGO_BIN_EXE_kontor")).args(line.split(' ')).current_dir(&certs).status();
            assert!(made.unwrap().success(), "{line}");
        }
        let path = |name: &str| certs.join(name).display().to_string();
        let settings = json!({
            "ca_file": path("consul-agent-ca.pem"),
            "cert_file": path(&format!("{dc}-server-consul-0.pem")),
            "key_file": path(&format!("{dc}-server-consul-0-key.pem")),
        });
        std::fs::write(path("agent.json"), settings.to_string()).unwrap();
        path("agent.json")
    };
    let files = [configured("dc1"), configured("dc2")];
    let with_certificates = |plan: Plan| {
        let file = if plan.dc == "dc1" { &files[0] } else { &files[1] };
        plan.flag(&format!("-config-file={file}"))
    };
    let Pair { here, client, there } = Pair::start(root.path(), with_certificates);
    for (agent, dc, about) in [(&client, "dc2", "s2.dc2"), (&there, "dc1", "s1.dc1")] {
        let cause = in_state(agent, dc, "unreachable")["Cause"].clone();
        assert!(cause.as_str().unwrap().contains("another-ca"), "{cause}");
        let findings = doctor(agent, dc, |findings| findings.iter().any(|finding| finding["Check"] == "certificate"));
        let finding = findings.iter().find(|finding| finding["Check"] == "certificate").unwrap();
        assert_eq!((&finding["Level"], &finding["About"]), (&json!("error"), &json!(about)));
        assert!(finding["Came"].as_str().unwrap().contains("another-ca"), "{finding}");
        assert!(finding["Advice"].as_str().unwrap().contains("one CA"), "{finding}");
    }
    assert_eq!(here.cli(&["federation", "doctor"]).0, 1);
}
