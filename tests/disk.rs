//! Disks that are broken, slow, full, lost or put back, as processes; and data directories of others.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, Plan, wait_until};
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
    let found = agent.try_get(&format!("/v1/catalog/node/{node}?stale"));
    found.is_some_and(|reply| reply.status == 200 && reply.body != "null")
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
    let servers = Datacenter::start_with(root.path(), "dc1", 0, |plan| breakable(plan, &library)).servers;
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
    let servers = Datacenter::start_with(root.path(), "dc1", 0, |plan| breakable(plan, &library)).servers;
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

/// The ids of the voters, as this server knows them.
fn voters(agent: &Agent) -> Vec<String> {
    let Some(reply) = agent.try_get("/v1/operator/raft/configuration?stale").filter(|reply| reply.status == 200) else {
        return Vec::new();
    };
    let servers = reply.json()["Servers"].as_array().cloned().unwrap_or_default();
    servers.iter().filter(|server| server["Voter"] == true).map(|server| server["ID"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_lost_log_and_a_second_loss_take_no_acknowledged_write_with_them() {
    let root = tempfile::tempdir().unwrap();
    let mut datacenter = Datacenter::start(root.path(), "dc1", 0);
    let leader = datacenter.leader();
    let leader = datacenter.servers.remove(leader);
    let (absent, robbed) = (datacenter.servers.remove(0), datacenter.servers.remove(0));
    let (leader_plan, absent_plan, robbed_plan) = (leader.plan.clone(), absent.plan.clone(), robbed.plan.clone());
    let old_id = std::fs::read_to_string(robbed_plan.data_dir.join("node-id")).unwrap();

    absent.kill();
    wait_until("a write by two", || (register(&leader, "acknowledged") == Some(200)).then_some(()));
    robbed.kill();
    std::fs::remove_dir_all(robbed_plan.data_dir.join("raft")).unwrap();
    let robbed = robbed_plan.start();
    // While the leader lives, it would take the old id for a voter that has the write.
    wait_until("it has a new id", || robbed.log().contains("under a new node id").then_some(()));
    robbed.wait_for("/v1/agent/self", |own| own["Config"]["NodeID"].is_string());
    leader.kill();

    let absent = absent_plan.start();
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        assert_ne!(register(&absent, "unknowing"), Some(200), "a majority without the write");
        std::thread::sleep(Duration::from_millis(200));
    }
    let leader = leader_plan.start();
    let servers = [leader, absent, robbed];
    servers.iter().for_each(|server| wait_until("the write is there", || has(server, "acknowledged").then_some(())));
    let new_id = std::fs::read_to_string(robbed_plan.data_dir.join("node-id")).unwrap();
    assert_ne!(new_id, old_id);
    wait_until("the new id has the place of the old one", || {
        let voters = voters(&servers[0]);
        (voters.len() == 3 && voters.contains(&new_id) && !voters.contains(&old_id)).then_some(())
    });
}

#[test]
fn a_lone_server_that_lost_its_log_begins_no_new_cluster() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::server(root.path(), "dc1", "s1", 1);
    let server = plan.start();
    server.wait_for_leader();
    server.kill();
    std::fs::remove_dir_all(plan.data_dir.join("raft")).unwrap();
    assert_eq!(plan.start().wait(), Some(1));
    let log = std::fs::read_to_string(plan.data_dir.join("agent.log")).unwrap();
    assert!(log.contains("new and empty cluster") && log.contains("raft-mark.json"), "{log}");
    assert!(!plan.data_dir.join("raft").exists(), "nothing was begun");
}

#[test]
fn a_data_directory_of_a_consul_server_is_refused_and_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("consul");
    let files = [("raft/raft.db", "bolt"), ("serf/local.snapshot", "alive: s1 10.0.0.1:8301\nclock: 7\n"), ("node-id", "x")];
    for (name, content) in files {
        std::fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
        std::fs::write(home.join(name), content).unwrap();
    }
    let plan = Plan { data_dir: home.clone(), ..Plan::server(root.path(), "dc1", "s1", 1) };
    std::fs::write(home.join("agent.log"), "").unwrap();
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    assert_eq!(plan.start().wait(), Some(1));
    let log = std::fs::read_to_string(plan.data_dir.join("agent.log")).unwrap();
    assert!(log.contains("belongs to a server of Consul"), "{log}");
    assert_eq!(names(), before);
    for (name, content) in files {
        assert_eq!(std::fs::read_to_string(home.join(name)).unwrap(), content);
    }
}

#[test]
fn a_consul_clients_directory_is_taken_over_and_serfs_file_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let server = Plan::server(root.path(), "dc1", "s1", 1);
    let client = Plan::client(root.path(), "dc1", "c1");
    let id = "40e4a748-2192-161a-0510-9bf59fe950b5";
    // The member is where the client finds its way in: it is told of no other.
    let serf = format!("alive: s1 {}:8301\nclock: 7\nevent-clock: 0\nquery-clock: 0\ncoordinate: {{}}\n", server.address);
    let files = [("node-id", id), ("serf/local.snapshot", &serf), ("checkpoint-signature", "x"), ("proxy/snapshot.json", "{}")];
    for (name, content) in files {
        std::fs::create_dir_all(client.data_dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(client.data_dir.join(name), content).unwrap();
    }
    let (server, client) = (server.start(), client.start());
    server.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().iter().any(|node| node["ID"] == id));
    let home = &client.plan.data_dir;
    assert_eq!(std::fs::read_to_string(home.join("serf/local.snapshot.serf")).unwrap(), serf);
    for name in ["node-id", "checkpoint-signature", "proxy/snapshot.json"] {
        let content = files.iter().find(|(file, _)| *file == name).unwrap().1;
        assert_eq!(std::fs::read_to_string(home.join(name)).unwrap(), content, "{name}");
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_is_gone_on_with_when_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::server(root.path(), "dc1", "s1", 1);
    let server = breakable(plan.clone(), &shim(root.path())).start();
    server.wait_for_leader();
    assert_eq!(register(&server, "before"), Some(200));
    disk(&server, "room");
    assert_ne!(register(&server, "meanwhile"), Some(200), "what found no room");
    wait_until("writes are refused with the reason", || {
        let reply = server.try_put("/v1/catalog/register", r#"{"Node": "x", "Address": "10.0.0.1"}"#)?;
        (reply.status == 500 && reply.body.contains("is full")).then_some(())
    });
    assert_eq!(server.get("/v1/catalog/node/before").json()["Node"]["Node"], "before", "in default mode");
    assert!(server.log().contains("there is no room for the Raft log"));
    disk(&server, "");
    wait_until("writes are taken again", || (register(&server, "after") == Some(200)).then_some(()));
    assert!(server.log().contains("there is room for the Raft log again"));
    // Nothing of what was written half is in the way of a start.
    disk(&server, "room");
    assert_ne!(register(&server, "never"), Some(200));
    server.kill();
    let again = plan.start();
    again.wait_for_leader();
    assert!(has(&again, "before") && has(&again, "after"));
    assert_eq!(register(&again, "again"), Some(200));
}

#[test]
fn a_quota_that_the_log_stores_own_thread_meets_ends_no_server() {
    let root = tempfile::tempdir().unwrap();
    let server = breakable(Plan::server(root.path(), "dc1", "s1", 1), &shim(root.path())).start();
    server.wait_for_leader();
    assert_eq!(register(&server, "before"), Some(200));
    disk(&server, "tables");
    // More than the store keeps in memory: its thread then writes a table.
    let large = |number: usize| {
        let service = serde_json::json!({"Service": "large", "Tags": ["t".repeat(400_000)]});
        let body = serde_json::json!({"Node": format!("n{number}"), "Address": "10.0.0.1", "Service": service});
        server.try_put("/v1/catalog/register", &body.to_string()).map(|reply| reply.status)
    };
    let written = (0..).take_while(|number| large(*number) == Some(200)).count();
    assert_eq!(server.get("/v1/catalog/node/before").json()["Node"]["Node"], "before", "in default mode");
    assert!(server.log().contains("there is no room for the Raft log"));
    disk(&server, "");
    wait_until("writes are taken again", || (register(&server, "after") == Some(200)).then_some(()));
    // What found no place before finds it now.
    wait_until("a write", || (large(written) == Some(200)).then_some(()));
    let plan = server.plan.clone();
    server.kill();
    let again = plan.start();
    again.wait_for_leader();
    assert!(has(&again, "before") && has(&again, "after") && has(&again, "n0") && has(&again, &format!("n{written}")));
}

#[test]
fn a_full_follower_keeps_nobody_from_writing_and_catches_up() {
    let root = tempfile::tempdir().unwrap();
    let library = shim(root.path());
    let datacenter = Datacenter::start_with(root.path(), "dc1", 0, |plan| breakable(plan, &library));
    let leader = &datacenter.servers[datacenter.leader()];
    let full = datacenter.servers.iter().find(|server| server.plan.name != leader.plan.name).unwrap();
    disk(full, "room");
    for number in 0..20 {
        wait_until("a write", || (register(leader, &format!("n{number}")) == Some(200)).then_some(()));
    }
    wait_until("it says so", || full.log().contains("there is no room for the Raft log").then_some(()));
    assert_eq!(full.get("/v1/catalog/nodes?stale").status, 200);
    disk(full, "");
    wait_until("it catches up", || has(full, "n19").then_some(()));
}

#[test]
fn writes_are_refused_before_the_disk_is_full() {
    let test = "writes_are_refused_before_the_disk_is_full";
    let try_out = "mount -t tmpfs -o size=1m tmpfs /tmp";
    if !rig::namespace::inside(test, "m", try_out) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::server(root.path(), "dc1", "s1", 1);
    let folder = plan.data_dir.join("raft");
    std::fs::create_dir_all(&folder).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(&folder).status().unwrap();
    assert!(mounted.success());
    let server = plan.start();
    server.wait_for_leader();
    assert_eq!(register(&server, "before"), Some(200));
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![1_u8; 90 << 20]).unwrap();
    wait_until("writes are refused with the reason", || {
        let reply = server.try_put("/v1/catalog/register", r#"{"Node": "x", "Address": "10.0.0.1"}"#)?;
        (reply.status == 503 && reply.body.contains("nearly full")).then_some(())
    });
    assert_eq!(server.get("/v1/catalog/node/before").json()["Node"]["Node"], "before", "in default mode");
    // A start with so little room is no end either.
    server.kill();
    let server = plan.start();
    server.wait_for_leader();
    std::fs::remove_file(&ballast).unwrap();
    wait_until("writes are taken again", || (register(&server, "after") == Some(200)).then_some(()));
}

/// Kills them, and takes the data of those that are not to come back.
fn outage(servers: Vec<Agent>, lost: &[&str]) -> Vec<Plan> {
    let plans: Vec<Plan> = servers.iter().map(|server| server.plan.clone()).collect();
    servers.into_iter().for_each(Agent::kill);
    let (gone, left): (Vec<Plan>, Vec<Plan>) = plans.into_iter().partition(|plan| lost.contains(&plan.name.as_str()));
    gone.iter().for_each(|plan| std::fs::remove_dir_all(&plan.data_dir).unwrap());
    left
}

#[test]
fn peers_json_brings_a_cluster_back_whose_majority_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let datacenter = Datacenter::start(root.path(), "dc1", 0);
    wait_until("a write", || (register(&datacenter.servers[2], "kept") == Some(200)).then_some(()));
    datacenter.servers.iter().for_each(|server| wait_until("it is everywhere", || has(server, "kept").then_some(())));
    let survivor = outage(datacenter.servers, &["s1", "s2"]).remove(0);
    let raft = survivor.data_dir.join("raft");
    assert!(std::fs::read_to_string(raft.join("peers.info")).unwrap().contains("peers.json"));
    let id = std::fs::read_to_string(survivor.data_dir.join("node-id")).unwrap();

    // A list that is wrong is named, and changes nothing.
    std::fs::write(raft.join("peers.json"), r#"[{"id": "s3"}]"#).unwrap();
    assert_eq!(survivor.start().wait(), Some(1));
    let log = std::fs::read_to_string(survivor.data_dir.join("agent.log")).unwrap();
    assert!(log.contains("peers.json") && log.contains("expected a UUID"), "{log}");

    let list = format!(r#"[{{"id": "{id}", "address": "{}:8300", "non_voter": false}}]"#, survivor.address);
    std::fs::write(raft.join("peers.json"), list).unwrap();
    let third = survivor.start();
    third.wait_for_leader();
    assert!(third.log().contains("those of peers.json") && !raft.join("peers.json").exists());
    assert!(has(&third, "kept"), "the data is there");
    wait_until("a write", || (register(&third, "after") == Some(200)).then_some(()));

    let joining = |name: &str| Plan::server(root.path(), "dc1", name, 3).join(&[&survivor]);
    let servers = [third, joining("s4").start(), joining("s5").start()];
    wait_until("new servers vote", || (voters(&servers[0]).len() == 3).then_some(()));
    servers.iter().for_each(|server| wait_until("they have the data", || has(server, "after").then_some(())));

    // Once more with two that are left, by their addresses.
    let left = outage(servers.into(), &["s5"]);
    let list = serde_json::json!(left.iter().map(|plan| format!("{}:8300", plan.address)).collect::<Vec<_>>());
    left.iter().for_each(|plan| std::fs::write(plan.data_dir.join("raft/peers.json"), list.to_string()).unwrap());
    let servers: Vec<Agent> = left.iter().map(Plan::start).collect();
    wait_until("a write", || (register(&servers[1], "by-two") == Some(200)).then_some(()));
    for server in &servers {
        wait_until("they have the data", || (has(server, "by-two") && has(server, "kept")).then_some(()));
        wait_until("they are two", || (voters(server).len() == 2).then_some(()));
    }
}
