//! Addresses that change while agents run: real processes on interfaces of a network namespace made
//! for the test, whose addresses are taken away and given anew as `docker network disconnect` and
//! `connect` do it.
//!
//! Each test runs itself again inside `unshare`. Where a namespace cannot be had it says so and ends.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, request, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Whether this process is in a network namespace of its own and is to go on.
fn inside(test: &str) -> bool {
    let try_out = "ip link set lo up && ip link add probe type bridge && ip addr add 10.77.0.1/32 dev probe";
    let inside = rig::namespace::inside(test, "n", try_out);
    if inside {
        ip("link set lo up");
    }
    inside
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an interface with this address.
fn connect(interface: &str, address: &str) {
    ip(&format!("link add {interface} type bridge"));
    ip(&format!("link set {interface} up"));
    ip(&format!("addr add {address}/32 dev {interface}"));
}

/// Takes an interface away, as a container loses it with its network.
fn disconnect(interface: &str) {
    ip(&format!("link del {interface}"));
}

fn template(interface: &str) -> String {
    format!("{{{{ GetInterfaceIP \"{interface}\" }}}}")
}

/// A server whose LAN is on `l<number>` and whose WAN is on `w<number>`; it answers clients on a
/// loopback address and on its LAN.
fn server(root: &Path, dc: &str, name: &str, number: u8, expect: u32) -> Plan {
    connect(&format!("l{number}"), &format!("10.77.0.{number}"));
    connect(&format!("w{number}"), &format!("10.99.0.{number}"));
    let plan = Plan::server(root, dc, name, expect);
    let (lan, wan) = (template(&format!("l{number}")), template(&format!("w{number}")));
    let client = format!("-client={} {lan}", plan.address);
    plan.flag(&format!("-bind={lan}")).flag(&format!("-serf-wan-bind={wan}")).flag(&format!("-advertise-wan={wan}")).flag(&client)
}

/// Where a member is, as `agent` sees it.
fn waits_for_member(agent: &Agent, query: &str, name: &str, address: &str) {
    let path = format!("/v1/agent/members{query}");
    agent.wait_for(&path, |members| {
        let is_there = |member: &Value| member["Name"] == name && member["Addr"] == address && member["Status"] == 1;
        members.as_array().unwrap().iter().any(is_there)
    });
}

fn waits_for_node(agent: &Agent, name: &str, lan: &str, wan: &str) {
    agent.wait_for(&format!("/v1/catalog/node/{name}"), |node| {
        let node = &node["Node"];
        node["Address"] == lan && node["TaggedAddresses"]["lan"] == lan && node["TaggedAddresses"]["wan"] == wan
    });
}

/// A write through `agent` that is acknowledged, and read by all.
fn writes(agent: &Agent, all: &[&Agent], service: &str) {
    let body = format!(r#"{{"Node": "ext", "Address": "1.2.3.4", "Service": {{"Service": "{service}"}}}}"#);
    wait_until(&format!("{service} is registered"), || {
        agent.try_put("/v1/catalog/register", &body).filter(|reply| reply.status == 200)
    });
    for other in all {
        other.wait_for(&format!("/v1/catalog/service/{service}?stale"), |list| list.as_array().unwrap().len() == 1);
    }
}

#[test]
fn servers_whose_addresses_change_are_found_at_the_new_ones() {
    if !inside("servers_whose_addresses_change_are_found_at_the_new_ones") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let plans: Vec<Plan> = (1..=3).map(|number| server(root.path(), "dc1", &format!("s{number}"), number, 3)).collect();
    let joined = |plan: Plan| (1..=3).fold(plan, |plan, number| plan.flag(&format!("-retry-join=10.77.0.{number}")));
    let servers: Vec<Agent> = plans.into_iter().map(|plan| joined(plan).start()).collect();
    let far = server(root.path(), "dc2", "s1", 9, 1).flag("-retry-join-wan=10.99.0.1").start();
    for server in &servers {
        server.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().unwrap().len() == 3);
        server.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 1);
    }
    far.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 3);
    let all: Vec<&Agent> = servers.iter().collect();
    writes(all[0], &all, "before");

    // The leader last: the others must follow it to its new address, or elect another.
    let leader = wait_until("a leader", || {
        let told = servers[0].try_get("/v1/status/leader")?.body;
        (1..=3_usize).find(|number| told == format!("\"10.77.0.{number}:8300\""))
    });
    let order: Vec<usize> = (1..=3).filter(|number| *number != leader).chain([leader]).collect();
    for number in &order {
        disconnect(&format!("l{number}"));
        connect(&format!("l{number}"), &format!("10.77.1.{number}"));
        let (name, address) = (format!("s{number}"), format!("10.77.1.{number}"));
        for server in &servers {
            waits_for_member(server, "", &name, &address);
            waits_for_node(server, &name, &address, &format!("10.99.0.{number}"));
        }
        let moved = servers[number - 1].plan.address;
        let at_new = format!("http://{address}:8500/v1/status/leader");
        wait_until("the API answers at the new address", || request("GET", &at_new, None).filter(|reply| reply.status == 200));
        assert!(request("GET", &format!("http://{moved}:8500/v1/agent/self"), None).is_some(), "and still on loopback");
        writes(&servers[number % 3], &all, &format!("after-{number}"));
    }
    for service in ["before", "after-1", "after-2", "after-3"] {
        for server in &servers {
            let list = server.get(&format!("/v1/catalog/service/{service}?stale")).json();
            assert_eq!(list.as_array().unwrap().len(), 1, "{service} on {}", server.plan.name);
        }
    }

    // Then the WAN: all of dc1 at once, which finds dc2 where it is, and dc2 after it.
    for number in 1..=3 {
        disconnect(&format!("w{number}"));
        connect(&format!("w{number}"), &format!("10.99.1.{number}"));
    }
    for number in 1..=3 {
        waits_for_member(&far, "?wan=1", &format!("s{number}.dc1"), &format!("10.99.1.{number}"));
        waits_for_node(&servers[0], &format!("s{number}"), &format!("10.77.1.{number}"), &format!("10.99.1.{number}"));
    }
    disconnect("w9");
    connect("w9", "10.99.1.9");
    for server in &servers {
        waits_for_member(server, "?wan=1", "s1.dc2", "10.99.1.9");
    }
    far.wait_for("/v1/catalog/service/after-3?dc=dc1", |list| list.as_array().unwrap().len() == 1);
    for server in &servers {
        server.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes[0]["Address"] == "10.77.0.9");
    }
}

#[test]
fn an_agent_without_its_interface_goes_on_and_is_back_with_it() {
    if !inside("an_agent_without_its_interface_goes_on_and_is_back_with_it") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let one = server(root.path(), "dc1", "s1", 1, 1).start();
    one.wait_for_leader();
    connect("l2", "10.77.0.2");
    let client = Plan::client(root.path(), "dc1", "c1");
    // By network, not by name: the interface comes back under another one.
    let bind =
        "-bind={{ GetAllInterfaces | include \"network\" \"10.77.0.0/16\" | include \"name\" \"^[lm]2$\" | attr \"address\" }}";
    let two = client.flag(bind).flag("-retry-join=10.77.0.1").start();
    waits_for_member(&one, "", "c1", "10.77.0.2");
    let lost = "it goes on with the one it had";

    disconnect("l2");
    wait_until("the loss is told", || two.log().contains(lost).then_some(()));
    assert_eq!(two.get("/v1/agent/self").status, 200);
    connect("m2", "10.77.0.2");
    waits_for_member(&one, "", "c1", "10.77.0.2");
    wait_until("the return is told", || two.log().contains("all addresses of this agent are found again").then_some(()));
    assert_eq!(two.log().matches(lost).count(), 1);

    ip("addr add 10.77.5.2/32 dev m2");
    ip("addr del 10.77.0.2/32 dev m2");
    waits_for_member(&one, "", "c1", "10.77.5.2");
    one.wait_for("/v1/catalog/node/c1", |node| node["Node"]["Address"] == "10.77.5.2");
    let reply = two.get("/v1/agent/self").json();
    assert_eq!(reply["Member"]["Addr"], "10.77.5.2");
    assert_eq!(reply["DebugConfig"]["BindAddr"], "10.77.5.2");
}
