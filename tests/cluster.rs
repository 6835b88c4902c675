//! One datacenter of real processes: it forms, answers through every agent, survives losses and
//! restarts, and loses no acknowledged write.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, Plan, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn register(name: &str) -> String {
    json!({"Node": name, "Address": "10.9.8.7", "Service": {"Service": "written", "ID": name, "Port": 80}}).to_string()
}

fn instances(reply: &Value) -> BTreeSet<String> {
    reply.as_array().unwrap().iter().map(|row| row["ServiceID"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_command_lines_of_consul_users_form_a_datacenter() {
    let root = tempfile::tempdir().unwrap();
    let first = Plan::client(root.path(), "dc1", "s1").flag("-server").flag("-bootstrap-expect").flag("3").flag("-ui");
    let join = |name: &str| Plan::client(root.path(), "dc1", name).flag("-ui").flag("-join").flag(&first.address.to_string());
    let agents: Vec<Agent> =
        [first.clone(), join("s2").flag("-server"), join("s3").flag("-server"), join("c1")].iter().map(Plan::start).collect();
    for agent in &agents {
        agent.wait_for_leader();
        agent.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().len() == 4);
    }
    let peers = wait_until("three voters", || {
        let (code, out, _) = agents[3].cli(&["operator", "raft", "list-peers"]);
        (code == 0 && out.matches("true").count() == 3).then_some(out)
    });
    assert!(peers.starts_with("Node  ID "), "{peers}");
    assert_eq!(peers.matches("leader").count(), 1, "{peers}");
    assert_eq!(peers.lines().filter(|line| line.contains(" commit")).count(), 2, "{peers}");
    agents[3].wait_for("/v1/operator/raft/configuration", |raft| {
        raft["Servers"].as_array().unwrap().iter().all(|server| server["LastIndex"].as_u64() > Some(0))
    });
    agents[3].wait_for("/v1/catalog/nodes", |nodes| {
        nodes.as_array().unwrap().iter().all(|node| node["Meta"]["consul-version"].is_string())
    });
    let (code, members, _) = agents[3].cli(&["members"]);
    assert_eq!(code, 0);
    assert_eq!(members.lines().filter(|line| line.contains("alive")).count(), 4, "{members}");
    assert_eq!(members.lines().filter(|line| line.contains("client")).count(), 1, "{members}");
}

#[test]
fn what_is_registered_with_a_client_is_read_through_every_agent_until_it_is_deregistered() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 1);
    let body = json!({"name": "web", "port": 80, "tags": ["v1"], "check": {"ttl": "10m"}}).to_string();
    assert_eq!(dc.clients[0].put("/v1/agent/service/register", &body).status, 200);
    assert_eq!(dc.clients[0].put("/v1/agent/check/pass/service:web", "").status, 200);
    for agent in dc.servers.iter().chain(&dc.clients) {
        for flags in ["", "&stale", "&consistent"] {
            agent.wait_for(&format!("/v1/health/service/web?passing{flags}"), |rows| rows.as_array().unwrap().len() == 1);
        }
    }
    let watched = dc.servers[0].get("/v1/health/service/web");
    let path = format!("/v1/health/service/web?index={}&wait=55s", watched.index());
    let started = Instant::now();
    let changed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| dc.servers[0].get(&path));
        assert_eq!(dc.clients[0].put("/v1/agent/check/fail/service:web", "").status, 200);
        waiting.join().unwrap()
    });
    assert!(changed.index() > watched.index() && started.elapsed() < Duration::from_secs(30));
    assert_eq!(changed.json()[0]["Checks"].as_array().unwrap().iter().filter(|check| check["Status"] == "critical").count(), 1);
    assert_eq!(dc.clients[0].put("/v1/agent/service/deregister/web", "").status, 200);
    dc.servers[2].wait_for("/v1/catalog/service/web", |rows| rows == &json!([]));
}

#[test]
fn the_catalog_forgets_what_its_agent_does_not_know() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 1);
    let address = dc.clients[0].plan.address.to_string();
    let foreign = json!({"Node": "c1", "Address": address, "SkipNodeUpdate": true, "Service": {"Service": "ghost"}}).to_string();
    assert_eq!(dc.servers[0].put("/v1/catalog/register", &foreign).body, "true");
    dc.clients[0].signal("HUP");
    let outside = json!({"Node": "external", "Address": "10.1.1.1", "Service": {"Service": "stays"}}).to_string();
    assert_eq!(dc.servers[0].put("/v1/catalog/register", &outside).body, "true");
    // A full synchronisation comes within two minutes at the latest; a restart brings one at once.
    let plan = dc.clients[0].plan.clone();
    dc.clients[0].signal("KILL");
    let _client = plan.start();
    dc.servers[0].wait_for("/v1/catalog/service/ghost", |rows| rows == &json!([]));
    assert_eq!(dc.servers[0].get("/v1/catalog/service/stays").json().as_array().unwrap().len(), 1);
}

#[test]
fn a_server_that_joins_has_every_agent_compare_its_registrations() {
    let root = tempfile::tempdir().unwrap();
    let first = Plan::server(root.path(), "dc1", "s1", 1);
    let second = Plan::client(root.path(), "dc1", "s2").flag("-server").join(&[&first]);
    let client = Plan::client(root.path(), "dc1", "c1").join(&[&first]);
    let (first, client) = (first.start(), client.start());
    let whole =
        |nodes: &serde_json::Value| nodes[0]["Meta"].is_object() && nodes.as_array().is_some_and(|nodes| nodes.len() == 1);
    first.wait_for("/v1/catalog/nodes?filter=Node%20%3D%3D%20c1", whole);
    let address = client.plan.address.to_string();
    let foreign = json!({"Node": "c1", "Address": address, "SkipNodeUpdate": true, "Service": {"Service": "ghost"}}).to_string();
    assert_eq!(first.put("/v1/catalog/register", &foreign).body, "true");
    // Without it the next comparison would come a minute or two after the last one.
    let _second = second.start();
    first.wait_for("/v1/catalog/service/ghost", |rows| rows == &json!([]));
}

#[test]
fn another_leader_has_every_agent_compare_its_registrations() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 1);
    let address = dc.clients[0].plan.address.to_string();
    let foreign = json!({"Node": "c1", "Address": address, "SkipNodeUpdate": true, "Service": {"Service": "ghost"}}).to_string();
    let leader = dc.servers.remove(dc.leader());
    wait_until("what the start has them compare to be over", || {
        assert_eq!(dc.servers[0].put("/v1/catalog/register", &foreign).body, "true");
        std::thread::sleep(Duration::from_secs(5));
        (dc.servers[0].get("/v1/catalog/service/ghost").json() != json!([])).then_some(())
    });
    let leading = |members: &Value| -> Vec<String> {
        let leads = |member: &&Value| member["Tags"]["leads"].is_string() && member["Status"] == 1;
        members.as_array().unwrap().iter().filter(leads).map(|member| member["Name"].as_str().unwrap().to_owned()).collect()
    };
    let one = std::slice::from_ref(&leader.plan.name).to_vec();
    assert_eq!(leading(&dc.clients[0].get("/v1/agent/members").json()), one);
    leader.kill();
    // Without it the next comparison would come a minute or two after the last one.
    dc.servers[0].wait_for("/v1/catalog/service/ghost", |rows| rows == &json!([]));
    let other = &dc.servers[dc.leader()].plan.name;
    dc.clients[0].wait_for("/v1/agent/members", |members| leading(members) == std::slice::from_ref(other));
}

/// Writes one registration after another to whoever answers until told to stop; those acknowledged.
fn write_until(stop: &AtomicBool, servers: &[Agent], acknowledged: &Mutex<BTreeSet<String>>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("w{number}");
        let reply = servers[number % servers.len()].try_put("/v1/catalog/register", &register(&name));
        if reply.is_some_and(|reply| reply.status == 200) {
            acknowledged.lock().unwrap().insert(name);
        }
        number += 1;
    }
}

#[test]
fn every_acknowledged_write_is_found_after_the_leader_is_killed() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let leader = dc.servers.remove(dc.leader());
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| write_until(&stop, &dc.servers, &acknowledged));
        wait_until("some writes", || (acknowledged.lock().unwrap().len() >= 20).then_some(()));
        let plan = leader.plan.clone();
        leader.kill();
        let before = acknowledged.lock().unwrap().len();
        wait_until("writes under a new leader", || (acknowledged.lock().unwrap().len() >= before + 20).then_some(()));
        let returned = plan.start();
        returned.wait_for("/v1/catalog/service/written?stale", |rows| rows.as_array().unwrap().len() >= before);
        stop.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let found = instances(&dc.servers[0].get("/v1/catalog/service/written?consistent").json());
    let lost: Vec<&String> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and not found: {lost:?}");
}

#[test]
fn a_datacenter_finds_itself_again_when_every_server_comes_back_at_a_new_address() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 0);
    assert_eq!(dc.servers[0].put("/v1/catalog/register", &register("kept")).body, "true");
    let moved: Vec<Plan> = dc.servers.iter().map(|server| server.plan.moved()).collect();
    dc.servers.into_iter().for_each(Agent::kill);
    // Only the new addresses are told, as a restarted deployment would tell them.
    let known: Vec<&Plan> = moved.iter().collect();
    let servers: Vec<Agent> = moved
        .iter()
        .map(|plan| {
            let mut plan = plan.clone();
            plan.flags.retain(|flag| !flag.starts_with("-retry-join"));
            plan.join(&known).start()
        })
        .collect();
    for server in &servers {
        server.wait_for_leader();
        server.wait_for("/v1/catalog/service/written", |rows| rows.as_array().unwrap().len() == 1);
    }
    servers[0].wait_for("/v1/catalog/nodes", |nodes| {
        servers
            .iter()
            .all(|server| nodes.as_array().unwrap().iter().any(|node| node["Address"] == server.plan.address.to_string()))
    });
}

#[test]
fn a_hung_server_is_passed_over_by_clients() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 1);
    let leader = dc.leader();
    let hung = &dc.servers[(leader + 1) % 3];
    hung.signal("STOP");
    for _ in 0..10 {
        dc.clients[0].wait_for("/v1/catalog/nodes?stale", |nodes| nodes.as_array().unwrap().len() == 4);
    }
    assert_eq!(dc.clients[0].put("/v1/catalog/register", &register("meanwhile")).body, "true");
    hung.signal("CONT");
    hung.wait_for("/v1/catalog/service/written?stale", |rows| rows.as_array().unwrap().len() == 1);
}

#[test]
fn a_server_told_to_stop_hands_leadership_over_and_one_that_leaves_is_taken_out() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let leader = dc.servers.remove(dc.leader());
    let plan = leader.plan.clone();
    assert_eq!(leader.terminate(), Some(1), "a server does not leave on SIGTERM, as Consul's do not");
    assert_eq!(dc.servers[0].put("/v1/catalog/register", &register("after")).body, "true");
    let returned = plan.start();
    returned.wait_for_leader();
    returned.wait_for("/v1/catalog/service/written", |rows| rows.as_array().unwrap().len() == 1);
    let left = returned.put("/v1/agent/leave", "");
    assert_eq!(left.status, 200, "{}", left.body);
    assert_eq!(returned.wait(), Some(0));
    dc.servers[0].wait_for("/v1/operator/raft/configuration", |raft| raft["Servers"].as_array().unwrap().len() == 2);
    dc.servers[0].wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().iter().all(|node| node["Node"] != plan.name));
    dc.servers[0].wait_for("/v1/agent/members", |members| {
        members.as_array().unwrap().iter().any(|member| member["Name"] == plan.name && member["Status"] == 3)
    });
}

#[test]
fn a_failed_client_turns_critical_and_force_leave_removes_it() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 1);
    dc.clients.remove(0).kill();
    dc.servers[0].wait_for("/v1/health/node/c1", |checks| checks[0]["Status"] == "critical");
    assert_eq!(dc.servers[0].put("/v1/agent/force-leave/c1", "").status, 200);
    dc.servers[1].wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().len() == 3);
    let unknown = dc.servers[0].put("/v1/agent/force-leave/nobody", "");
    assert_eq!((unknown.status, unknown.body.as_str()), (500, "agent: No node found with name 'nobody'"));
}

#[test]
fn a_client_that_is_pruned_before_it_is_seen_to_have_failed_is_forgotten_by_all() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 2);
    dc.clients.remove(0).kill();
    let (code, _, error) = dc.servers[0].cli(&["force-leave", "-prune", "c1"]);
    assert_eq!(code, 0, "{error}");
    for agent in dc.servers.iter().chain(&dc.clients) {
        let gone = |members: &Value| members.as_array().unwrap().iter().all(|member| member["Name"] != "c1");
        agent.wait_for("/v1/agent/members", gone);
        agent.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().iter().all(|node| node["Node"] != "c1"));
    }
}

#[test]
fn a_wiped_server_joins_anew_and_its_old_self_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let index = (dc.leader() + 1) % 3;
    let victim = dc.servers.remove(index);
    let plan = victim.plan.clone();
    victim.kill();
    std::fs::remove_dir_all(&plan.data_dir).unwrap();
    let returned = plan.start();
    returned.wait_for_leader();
    let raft = dc.servers[0].wait_for("/v1/operator/raft/configuration", |raft| {
        let servers = raft["Servers"].as_array().unwrap();
        servers.len() == 3 && servers.iter().all(|server| server["Voter"] == true && server["Node"] != "(unknown)")
    });
    let own = returned.get("/v1/agent/self").json()["Config"]["NodeID"].clone();
    assert!(raft["Servers"].as_array().unwrap().iter().any(|server| server["ID"] == own), "{raft}");
}

/// How many servers the Raft configuration names.
fn peers(agent: &Agent) -> usize {
    agent.get("/v1/operator/raft/configuration").json()["Servers"].as_array().map_or(0, Vec::len)
}

/// The status of a server of dc1 in both pools, as `agent` sees it; 0 where it is not there.
fn statuses(agent: &Agent, name: &str) -> [i64; 2] {
    let status = |path: &str, name: &str| {
        let members = agent.get(path).json();
        let found = members.as_array().unwrap().iter().find(|member| member["Name"] == name).cloned();
        found.map_or(0, |member| member["Status"].as_i64().unwrap())
    };
    [status("/v1/agent/members", name), status("/v1/agent/members?wan=1", &format!("{name}.dc1"))]
}

fn has_node(agent: &Agent, name: &str) -> bool {
    agent.get("/v1/catalog/nodes").json().as_array().unwrap().iter().any(|node| node["Node"] == name)
}

/// Waits until a server is gone from Raft, from both pools and from the catalog.
fn wait_until_gone(agent: &Agent, name: &str) {
    wait_until("the dead server is no peer, has left both pools and is no node", || {
        let away = |status| status == 3 || status == 0;
        let [lan, wan] = statuses(agent, name);
        (peers(agent) == 2 && away(lan) && away(wan) && !has_node(agent, name)).then_some(())
    });
    assert_eq!(agent.get("/v1/status/peers").json().as_array().unwrap().len(), 2);
}

#[test]
fn a_dead_server_of_three_is_removed_everywhere_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let victim = dc.servers.remove((dc.leader() + 1) % 3);
    let plan = victim.plan.clone();
    victim.kill();
    wait_until_gone(&dc.servers[0], &plan.name);
    let returned = plan.start();
    returned.wait_for_leader();
    dc.servers[0].wait_for("/v1/operator/raft/configuration", |raft| {
        let servers = raft["Servers"].as_array().unwrap();
        servers.len() == 3 && servers.iter().all(|server| server["Voter"] == true)
    });
    wait_until("it is alive in both pools and a node", || {
        (statuses(&dc.servers[0], &plan.name) == [1, 1] && has_node(&dc.servers[0], &plan.name)).then_some(())
    });
}

#[test]
fn how_servers_are_treated_is_changed_at_run_time_and_a_peer_removed_by_hand_is_gone_everywhere() {
    const PATH: &str = "/v1/operator/autopilot/configuration";
    let root = tempfile::tempdir().unwrap();
    let settings = json!({"autopilot": {"max_trailing_logs": 777}});
    let mut dc = Datacenter::start_with(root.path(), "dc1", 0, |plan| plan.settings(&settings));
    let first = dc.servers[0].wait_for(PATH, |config| config["ModifyIndex"] != 0);
    assert_eq!((&first["MaxTrailingLogs"], &first["CleanupDeadServers"]), (&json!(777), &json!(true)));
    let (code, out, error) = dc.servers[1].cli(&["operator", "autopilot", "set-config", "-min-quorum=3"]);
    assert_eq!((code, out.as_str()), (0, "Configuration updated!\n"), "{error}");
    let stale = format!("{PATH}?cas={}", first["ModifyIndex"]);
    assert_eq!(dc.servers[2].put(&stale, "{}").body.trim(), "false");
    for server in &dc.servers {
        server.wait_for(&format!("{PATH}?stale"), |config| config["MinQuorum"] == 3 && config["MaxTrailingLogs"] == 777);
    }
    let victim = dc.servers.remove((dc.leader() + 1) % 3);
    let (name, address) = (victim.plan.name.clone(), victim.plan.address);
    victim.kill();
    wait_until("it has failed in both pools", || (statuses(&dc.servers[0], &name) == [4, 4]).then_some(()));
    assert_eq!(peers(&dc.servers[0]), 3, "min_quorum keeps it");
    assert_eq!(dc.servers[0].put("/v1/operator/raft/configuration", "").status, 405);
    let (code, _, error) = dc.servers[0].cli(&["operator", "raft", "remove-peer", &format!("-address={address}:8300")]);
    assert_eq!(code, 0, "{error}");
    wait_until_gone(&dc.servers[0], &name);
}

#[test]
fn a_dead_server_that_is_pruned_is_gone_everywhere() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start_with(root.path(), "dc1", 1, |plan| plan.settings(&json!({"autopilot": {"min_quorum": 3}})));
    let victim = dc.servers.remove((dc.leader() + 1) % 3);
    let name = victim.plan.name.clone();
    victim.kill();
    wait_until("it has failed in both pools", || (statuses(&dc.servers[0], &name) == [4, 4]).then_some(()));
    assert_eq!(dc.clients[0].put(&format!("/v1/agent/force-leave/{name}?prune"), "").status, 200, "a client, in no WAN pool");
    wait_until_gone(&dc.servers[0], &name);
}

#[test]
fn watchers_that_hang_up_free_what_they_held() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 1);
    let tasks = |agent: &Agent| -> i64 {
        agent.get("/v1/agent/self").json()["Stats"]["runtime"]["goroutines"].as_str().unwrap().parse().unwrap()
    };
    let before = tasks(&dc.servers[0]);
    let path = "/v1/catalog/nodes?index=999999&wait=10m";
    let sockets: Vec<_> = (0..100)
        .map(|_| {
            use std::io::Write;
            let mut socket = std::net::TcpStream::connect((dc.clients[0].plan.address, 8500)).unwrap();
            write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            socket
        })
        .collect();
    wait_until("the watchers are parked at the servers", || {
        (dc.servers.iter().map(&tasks).sum::<i64>() >= before + 50).then_some(())
    });
    drop(sockets);
    wait_until("what the watchers held is freed on every hop", || {
        dc.servers.iter().chain(&dc.clients).all(|agent| tasks(agent) < before + 60).then_some(())
    });
}
