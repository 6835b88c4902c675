//! Disks that are broken, as processes: an fsync that fails, one that does not come back, and one that takes
//! long.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The library that breaks fsyncs, built where the test works.
fn shim(root: &Path) -> PathBuf {
    let (source, library) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/fsync_fault.c"), root.join("fsync_fault.so"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success(), "cc, which links the program too, builds the library");
    library
}

/// The same agent, with a disk that can be broken.
fn breakable(plan: Plan, library: &Path) -> Plan {
    let fault = plan.data_dir.join("fault");
    plan.with_env("LD_PRELOAD", library).with_env("KONTOR_TEST_FSYNC", &fault)
}

fn disk(agent: &Agent, state: &str) {
    std::fs::write(agent.plan.data_dir.join("fault"), state).unwrap();
}

fn register(agent: &Agent, node: &str) -> Option<u16> {
    let body = format!("{{\"Node\": \"{node}\", \"Address\": \"10.0.0.1\"}}");
    agent.try_put("/v1/catalog/register", &body).map(|reply| reply.status)
}

fn has(agent: &Agent, node: &str) -> bool {
    agent.get(&format!("/v1/catalog/node/{node}?stale")).body != "null"
}

#[test]
fn an_fsync_that_fails_ends_the_server_with_its_reason_and_acknowledges_nothing() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::server(root.path(), "dc1", "s1", 1);
    let server = breakable(plan.clone(), &shim(root.path())).start();
    server.wait_for_leader();
    assert_eq!(register(&server, "before"), Some(200));
    disk(&server, "fail");
    assert_ne!(register(&server, "meanwhile"), Some(200), "what no fsync has confirmed");
    assert_eq!(server.wait(), Some(1));
    let log = std::fs::read_to_string(plan.data_dir.join("agent.log")).unwrap();
    let reason = log.lines().rfind(|line| line.contains("Input/output error")).expect("the reason is told");
    assert!(reason.contains("Raft") || reason.contains("raft"), "{reason}");
    let again = plan.start();
    again.wait_for_leader();
    assert!(has(&again, "before"), "what was acknowledged is there");
}

#[test]
fn a_leader_whose_fsync_does_not_come_back_makes_room_for_another() {
    let root = tempfile::tempdir().unwrap();
    let library = shim(root.path());
    let first = breakable(Plan::server(root.path(), "dc1", "s1", 3), &library);
    let others = ["s2", "s3"].map(|name| breakable(Plan::server(root.path(), "dc1", name, 3).join(&[&first]), &library));
    let servers: Vec<Agent> = std::iter::once(&first).chain(&others).map(Plan::start).collect();
    servers.iter().for_each(|server| {
        server.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().len() == 3);
    });
    let leads = |agent: &&Agent| agent.get("/v1/agent/self").json()["Stats"]["consul"]["leader"] == "true";
    let leader = wait_until("a leader", || servers.iter().find(leads));
    disk(leader, "hang");
    let healthy: Vec<&Agent> = servers.iter().filter(|server| server.plan.name != leader.plan.name).collect();
    wait_until("writes are taken again", || (register(healthy[0], "meanwhile") == Some(200)).then_some(()));
    let next = wait_until("another leads", || healthy.iter().copied().find(leads));
    assert!(leader.log().contains("the disk does not come back from an fsync"));
    assert!(has(next, "meanwhile"));
    // It still tells what it holds.
    assert_eq!(leader.get("/v1/catalog/nodes?stale").status, 200);
    disk(leader, "");
    wait_until("it follows again", || has(leader, "meanwhile").then_some(()));
    wait_until("it says so", || leader.log().contains("the disk has come back").then_some(()));
}

#[test]
fn registrations_that_wait_for_the_disk_hold_nothing_else_up() {
    let root = tempfile::tempdir().unwrap();
    let library = shim(root.path());
    let first = breakable(Plan::server(root.path(), "dc1", "s1", 3), &library);
    let others = ["s2", "s3"].map(|name| breakable(Plan::server(root.path(), "dc1", name, 3).join(&[&first]), &library));
    let servers: Vec<Agent> = std::iter::once(&first).chain(&others).map(Plan::start).collect();
    servers.iter().for_each(|server| {
        server.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().len() == 3);
    });
    let state = |agent: &Agent| agent.get("/v1/agent/self").json()["Stats"].clone();
    let leader = wait_until("a leader", || servers.iter().find(|agent| state(agent)["consul"]["leader"] == "true"));
    let held = r#"{"Name": "held", "Check": {"TTL": "1h", "Status": "passing"}}"#;
    assert_eq!(leader.put("/v1/agent/service/register", held).status, 200);
    let term = state(leader)["raft"]["term"].clone();
    disk(leader, "slow");
    std::thread::scope(|scope| {
        // More than the runtime has threads.
        let waiting: Vec<_> = (0..16)
            .map(|number| {
                let body = format!(r#"{{"Name": "new-{number}", "Check": {{"TTL": "1h"}}}}"#);
                scope.spawn(move || leader.put("/v1/agent/service/register", &body).status)
            })
            .collect();
        // Longer than others wait for a leader.
        let (start, mut number) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(3) {
            number += 1;
            assert_eq!(register(leader, &format!("meanwhile-{number}")), Some(200));
            assert_eq!(leader.put("/v1/agent/check/pass/service:held?note=well", "").status, 200, "others are heard");
            assert!(leader.get("/v1/agent/services").body.contains("held"));
        }
        assert!(waiting.iter().all(|put| !put.is_finished()), "they are answered once they are on the disk");
        assert!(!leader.get("/v1/agent/services").body.contains("new-"));
        disk(leader, "");
        waiting.into_iter().for_each(|put| assert_eq!(put.join().unwrap(), 200));
    });
    assert_eq!((&state(leader)["consul"]["leader"], &state(leader)["raft"]["term"]), (&"true".into(), &term));
    let services = leader.get("/v1/agent/services").json();
    assert_eq!(services.as_object().unwrap().len(), 17);
    let plan = leader.plan.clone();
    let at = servers.iter().position(|server| server.plan.name == plan.name).unwrap();
    servers.into_iter().nth(at).unwrap().kill();
    let again = plan.start();
    assert_eq!(again.wait_for("/v1/agent/services", |_| true), services, "what was answered is kept");
    again.wait_for("/v1/agent/checks", |checks| checks["service:held"]["Status"] == "passing");
}
