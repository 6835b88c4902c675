//! Datacenters that their operators tie together by hand, switch off, remove and take back: real
//! processes, reloaded while they run.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, Plan, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A datacenter of one server with a file of its own, which can be rewritten.
fn start(root: &Path, dc: &str, settings: &Value, change: impl FnOnce(Plan) -> Plan) -> Agent {
    let file = root.join(format!("{dc}.json"));
    std::fs::write(&file, settings.to_string()).unwrap();
    let plan = Plan::server(root, dc, "s1", 1).flag(&format!("-config-file={}", file.display()));
    let agent = change(plan).start();
    agent.wait_for_leader();
    agent
}

/// Rewrites the file and has the agent read it anew.
fn reload(root: &Path, agent: &Agent, settings: &Value) {
    std::fs::write(root.join(format!("{}.json", agent.plan.dc)), settings.to_string()).unwrap();
    let reply = agent.put("/v1/agent/reload", "");
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// What the operator of the other datacenter would be told.
fn fingerprint(agent: &Agent) -> String {
    let told = agent.get("/v1/agent/self").json()["Stats"]["bridge"]["fingerprint"].as_str().unwrap().to_owned();
    assert!(told.starts_with("sha256:") && told.len() == 71, "{told}");
    assert!(agent.log().contains(&told), "the log tells it too");
    assert!(agent.cli(&["info"]).1.contains(&told));
    told
}

/// Settings that tie a datacenter without a WAN pool to the other by its fingerprint.
fn tied_to(others: &[&Agent]) -> Value {
    let entry = |other: &&Agent| format!("{}:8300#{}", other.plan.address, fingerprint(other));
    let entries: Vec<String> = others.iter().map(entry).collect();
    json!({"ports": {"serf_wan": -1}, "federation": {(others[0].plan.dc.as_str()): entries}})
}

/// Waits until a read of `dc` fails with Consul's text and a reason that contains `reason`.
fn wait_closed(agent: &Agent, dc: &str, text: &str, reason: &str) {
    wait_until(&format!("{dc}: {reason}"), || {
        let reply = agent.try_get(&format!("/v1/catalog/nodes?dc={dc}"))?;
        let stale = agent.try_get(&format!("/v1/catalog/nodes?dc={dc}&stale"))?;
        let is_it = |reply: &rig::Reply| {
            reply.status == 500 && reply.body.contains(text) && reply.header("X-Kontor-Reason").contains(reason)
        };
        (is_it(&reply) && is_it(&stale)).then_some(())
    });
}

fn wait_open(agent: &Agent, dc: &str) {
    agent.wait_for(&format!("/v1/catalog/nodes?dc={dc}"), |nodes| nodes.as_array().unwrap().len() == 1);
}

fn datacenters(agent: &Agent) -> Vec<String> {
    serde_json::from_value(agent.get("/v1/catalog/datacenters").json()).unwrap()
}

fn wan_names(agent: &Agent) -> Vec<String> {
    let members = agent.get("/v1/agent/members?wan").json();
    members.as_array().unwrap().iter().map(|member| member["Name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn datacenters_without_a_wan_pool_are_tied_by_fingerprints_and_switched_off_while_they_run() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let closed = json!({"ports": {"serf_wan": -1}});
    let one = start(root, "dc1", &closed, |plan| plan);
    let two = start(root, "dc2", &closed, |plan| plan);
    assert_eq!(one.get("/v1/catalog/datacenters").json(), json!(["dc1"]));
    let (here, there) = (tied_to(&[&two]), tied_to(&[&one]));
    reload(root, &one, &here);
    // The other one does not know this one yet, and says so.
    wait_closed(&one, "dc2", "Remote DC has no server currently reachable", "not-yet-known");
    reload(root, &two, &there);
    wait_open(&one, "dc2");
    wait_open(&two, "dc1");
    assert_eq!(one.get("/v1/catalog/datacenters").json(), json!(["dc1", "dc2"]));
    assert_eq!(two.get("/v1/catalog/datacenters").json(), json!(["dc2", "dc1"]));

    let mut off = here.clone();
    off["bridge"] = json!({"disabled": ["dc2"]});
    reload(root, &one, &off);
    wait_closed(&one, "dc2", "No path to datacenter", "disabled");
    wait_closed(&two, "dc1", "Remote DC has no server currently reachable", "refused by the other side: disabled");
    assert_eq!(datacenters(&one), ["dc1"]);
    reload(root, &one, &here);
    wait_open(&one, "dc2");
    wait_open(&two, "dc1");

    // A fingerprint that is not the other's.
    let wrong = format!("{}#sha256:{}", two.plan.address, "ab".repeat(32));
    reload(root, &one, &json!({"ports": {"serf_wan": -1}, "federation": {"dc2": [wrong]}}));
    wait_closed(&one, "dc2", "Remote DC has no server currently reachable", "tls-refused: pin-mismatch");
    let unvouched = json!({"ports": {"serf_wan": -1}, "federation": {"dc2": [two.plan.address.to_string()]}});
    std::fs::write(root.join("dc1.json"), unvouched.to_string()).unwrap();
    let refused = one.put("/v1/agent/reload", "");
    assert!(refused.status == 500 && refused.body.contains("nothing vouches for"), "{}", refused.body);

    // Without a pool it is removed and readmitted by name.
    reload(root, &one, &here);
    wait_open(&one, "dc2");
    assert_eq!(one.put("/v1/federation/remove/dc2", "").body, "true");
    wait_closed(&one, "dc2", "No path to datacenter", "removed");
    assert_eq!(one.put("/v1/federation/readmit/dc2", "").body, "true");
    wait_open(&one, "dc2");
    assert_eq!(one.put("/v1/federation/readmit/dc2", "").status, 404);
}

/// As one that has just come back, or whose links have all broken: here it is the list that leaves a server without.
#[test]
fn a_server_without_a_way_asks_by_way_of_a_neighbour() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let closed = json!({"ports": {"serf_wan": -1}});
    let far = start(root, "dc2", &closed, |plan| plan);
    let plans = Datacenter::plans_of(root, "dc1", 2);
    let linked = plans[0].clone().settings(&tied_to(&[&far])).start();
    let without = plans[1].clone().settings(&closed).start();
    without.wait_for_leader();
    reload(root, &far, &tied_to(&[&linked, &without]));
    wait_open(&linked, "dc2");
    assert_eq!(datacenters(&without), ["dc1"]);

    for read in ["", "&consistent", "&stale"] {
        let reply = without.get(&format!("/v1/catalog/nodes?dc=dc2{read}"));
        assert_eq!((reply.status, reply.body.contains(&far.plan.address.to_string())), (200, true), "{read}: {}", reply.body);
    }
    let mistaken = without.get("/v1/catalog/nodes?dc=dc2&filter=Nonsense");
    assert_eq!(mistaken.status, 400, "the other datacenter's word counts: {}", mistaken.body);
    let index = without.get("/v1/catalog/nodes?dc=dc2").index();
    let written = thread::scope(|scope| {
        let watch = scope.spawn(|| without.get(&format!("/v1/catalog/nodes?dc=dc2&index={index}&wait=60s")));
        let written = without.put("/v1/catalog/register", r#"{"Datacenter": "dc2", "Node": "new", "Address": "192.0.2.1"}"#);
        assert!(watch.join().unwrap().body.contains("\"new\""), "a watch is parked there too");
        written
    });
    assert_eq!((written.status, written.body.as_str()), (200, "true"));

    // Now it is the other way round, and a watch goes on.
    let resettle = |agent: &Agent, settings: &Value| {
        _ = agent.plan.clone().settings(settings);
        assert_eq!(agent.put("/v1/agent/reload", "").status, 200);
    };
    resettle(&without, &tied_to(&[&far]));
    without.wait_for("/v1/federation/dc2", |seen| seen["Datacenters"][0]["Servers"][0]["Link"] == "up");
    let index = linked.get("/v1/catalog/nodes?dc=dc2").index();
    thread::scope(|scope| {
        let watch = scope.spawn(|| linked.get(&format!("/v1/catalog/nodes?dc=dc2&index={index}&wait=60s")));
        // Long enough that it is parked most often; what follows holds either way.
        thread::sleep(Duration::from_millis(300));
        resettle(&linked, &closed);
        wait_until("it has no link", || (datacenters(&linked) == ["dc1"]).then_some(()));
        assert_eq!(
            linked.put("/v1/catalog/register", r#"{"Datacenter": "dc2", "Node": "later", "Address": "192.0.2.2"}"#).status,
            200
        );
        let seen = watch.join().unwrap();
        assert!(seen.status == 200 && seen.body.contains("\"later\""), "{}", seen.body);
    });

    let nowhere = linked.get("/v1/catalog/nodes?dc=dc3");
    assert_eq!((nowhere.status, nowhere.header("X-Kontor-Reason")), (500, "never-joined"), "{}", nowhere.body);
    drop(without);
    wait_until("nobody is left to ask", || {
        let reply = linked.get("/v1/catalog/nodes?dc=dc2");
        (reply.body == "No path to datacenter" && reply.header("X-Kontor-Reason") == "removed").then_some(())
    });
}

#[test]
fn a_removed_datacenter_stays_away_until_it_is_joined_again_or_is_another_cluster() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let none = json!({});
    let three = start(root, "dc3", &none, |plan| plan);
    let one = start(root, "dc1", &none, |plan| plan.join_wan(&[&three.plan]));
    let two = start(root, "dc2", &none, |plan| plan.join_wan(&[&three.plan]));
    let client = Plan::client(root, "dc1", "c1").join(&[&one.plan]).start();
    for agent in [&one, &two, &three] {
        for dc in ["dc1", "dc2", "dc3"].iter().filter(|dc| **dc != agent.plan.dc && (agent.plan.dc != "dc1" || **dc != "dc1")) {
            agent.wait_for(&format!("/v1/catalog/nodes?dc={dc}"), |nodes| !nodes.as_array().unwrap().is_empty());
        }
    }
    client.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 1);

    let unknown = client.put("/v1/federation/remove/nowhere", "");
    assert_eq!((unknown.status, unknown.body.contains("nowhere")), (404, true), "{}", unknown.body);
    assert_eq!(client.put("/v1/federation/remove/DC1", "").status, 400);
    let removed = client.put("/v1/federation/remove/dc2", "");
    assert_eq!((removed.status, removed.body.as_str()), (200, "true"));
    wait_closed(&one, "dc2", "No path to datacenter", "removed");
    wait_closed(&client, "dc2", "No path to datacenter", "removed");
    wait_closed(&two, "dc1", "Remote DC has no server currently reachable", "refused by the other side: removed");
    wait_until("off the roster", || (wan_names(&one) == ["s1.dc1", "s1.dc3"]).then_some(()));
    assert_eq!(datacenters(&one), ["dc1", "dc3"]);

    // The third tells of everybody it knows, and is not believed in this.
    for _ in 0..5 {
        assert_eq!(one.put(&format!("/v1/agent/join/{}?wan", three.plan.address), "").status, 200);
        assert_eq!(three.put(&format!("/v1/agent/join/{}?wan", one.plan.address), "").status, 200);
        assert_eq!(wan_names(&one), ["s1.dc1", "s1.dc3"]);
        assert_eq!(wan_names(&three), ["s1.dc1", "s1.dc2", "s1.dc3"]);
    }
    let refused = two.put(&format!("/v1/agent/join/{}?wan", one.plan.address), "");
    assert!(refused.status == 500 && refused.body.contains("was removed in 'dc1'"), "{}", refused.body);
    wait_open(&three, "dc2");

    // It is remembered over a restart.
    let plan = one.plan.clone();
    one.kill();
    let one = plan.start();
    one.wait_for_leader();
    wait_closed(&one, "dc2", "No path to datacenter", "removed");
    wait_until("still off the roster", || (wan_names(&one) == ["s1.dc1", "s1.dc3"]).then_some(()));

    let (code, _, error) = one.cli(&["join", "-wan", &two.plan.address.to_string()]);
    assert_eq!(code, 0, "{error}");
    wait_open(&one, "dc2");
    wait_until("on the roster", || (wan_names(&one) == ["s1.dc1", "s1.dc2", "s1.dc3"]).then_some(()));

    // Another cluster by the same name is another datacenter.
    assert_eq!(one.put("/v1/federation/remove/dc2", "").body, "true");
    wait_closed(&one, "dc2", "No path to datacenter", "removed");
    let plan = two.plan.clone();
    two.kill();
    std::fs::remove_dir_all(&plan.data_dir).unwrap();
    let two = plan.start();
    two.wait_for_leader();
    wait_open(&one, "dc2");
    wait_open(&two, "dc3");
}
