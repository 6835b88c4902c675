//! Keys, sessions and transactions of real processes: over every agent, from the other datacenter, and through the
//! loss of a leader.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, request, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

fn federation(root: &Path) -> (Datacenter, Datacenter) {
    let dc1 = Datacenter::start(root, "dc1", 1);
    let gate = dc1.servers[0].plan.clone();
    let dc2 = Datacenter::start_with(root, "dc2", 1, |plan| if plan.name == "s1" { plan.join_wan(&[&gate]) } else { plan });
    for agent in dc1.agents().chain(dc2.agents()) {
        agent.wait_for("/v1/catalog/datacenters", |list| list.as_array().unwrap().len() == 2);
        agent.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 4);
        agent.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 4);
    }
    (dc1, dc2)
}

fn session(agent: &Agent, body: &Value) -> String {
    let made = agent.put("/v1/session/create", &body.to_string());
    assert_eq!(made.status, 200, "{}", made.body);
    made.json()["ID"].as_str().unwrap().to_owned()
}

#[test]
fn keys_are_read_and_written_at_every_agent_and_from_the_other_datacenter() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = federation(root.path());
    for (number, agent) in dc1.agents().enumerate() {
        assert_eq!(agent.put(&format!("/v1/kv/here/{number}"), "x").body, "true");
    }
    for agent in dc1.agents() {
        assert_eq!(agent.get("/v1/kv/here/?keys").json(), json!(["here/0", "here/1", "here/2", "here/3"]));
    }
    let far = &dc2.clients[0];
    assert_eq!(far.put("/v1/kv/config?dc=dc1&flags=7", "one").body, "true");
    assert_eq!(far.get("/v1/kv/config").status, 404, "dc2 has no such key");
    for mode in ["", "&stale", "&consistent", "&cached"] {
        let entries = far.wait_for(&format!("/v1/kv/config?dc=dc1{mode}"), |entries| entries[0]["Value"] == "b25l");
        assert_eq!(entries[0]["Flags"], 7);
    }
    assert_eq!(far.get("/v1/kv/config?dc=dc1&raw&stale").body, "one");

    let index = far.get("/v1/kv/config?dc=dc1").index();
    let url = far.url(&format!("/v1/kv/config?dc=dc1&index={index}&wait=60s"));
    let parked = std::thread::spawn(move || request("GET", &url, None).unwrap());
    assert_eq!(dc1.servers[0].put("/v1/kv/other", "x").body, "true");
    assert_eq!(dc1.clients[0].put("/v1/kv/config", "two").body, "true");
    let woken = parked.join().unwrap();
    assert_eq!((woken.json()[0]["Value"].as_str(), woken.index() > index), (Some("dHdv"), true));
}

#[test]
fn every_byte_of_a_key_survives_all_ways() {
    let root = tempfile::tempdir().unwrap();
    let dc1 = Datacenter::start(root.path(), "dc1", 1);
    let (server, client) = (&dc1.servers[0], &dc1.clients[0]);
    for byte in 0..=255_u8 {
        assert_eq!(client.put(&format!("/v1/kv/b/%{byte:02x}x"), "v").body, "true", "{byte}");
        assert_eq!(server.get(&format!("/v1/kv/b/%{byte:02X}x?raw")).body, "v", "{byte}");
    }
    for key in ["b/../up", "b//twice", "b/./dot", "b/end/", "/first", "b%2Fescaped", "b/%252F"] {
        assert_eq!(client.put(&format!("/v1/kv/{key}"), key).body, "true");
        assert_eq!(server.get(&format!("/v1/kv/{key}?raw")).body, key);
    }
    let (code, exported, _) = client.cli(&["kv", "export"]);
    assert_eq!(code, 0);
    let file = root.path().join("keys.json");
    std::fs::write(&file, &exported).unwrap();
    assert_eq!(client.cli(&["kv", "delete", "-recurse"]).0, 0);
    assert_eq!(client.get("/v1/kv/?keys").json(), json!([]));
    assert_eq!(client.cli(&["kv", "import", &format!("@{}", file.display())]).0, 0);
    assert_eq!(client.cli(&["kv", "export"]).1, exported);
}

#[test]
fn a_lock_outlives_its_leader_and_ends_with_its_session_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let mut dc1 = Datacenter::start(root.path(), "dc1", 1);
    let client = &dc1.clients[0];
    client.wait_for("/v1/health/node/c1", |checks| checks[0]["Status"] == "passing");
    let ttl = Duration::from_secs(8);
    let holder = session(client, &json!({"Name": "holder", "TTL": "8s", "TTLMode": "exact", "LockDelay": "0s"}));
    let waiter = session(client, &json!({"Name": "waiter"}));
    assert_eq!(client.put(&format!("/v1/kv/lock?acquire={holder}"), "held").body, "true");
    assert_eq!(client.put(&format!("/v1/kv/lock?acquire={waiter}"), "mine").body, "false");

    let leader = dc1.leader();
    dc1.servers.remove(leader).kill();
    let client = &dc1.clients[0];
    let renewed = wait_until("a renewal by the new leader", || {
        let before = Instant::now();
        client
            .try_put(&format!("/v1/session/renew/{holder}"), "")
            .filter(|reply| reply.status == 200)
            .map(|reply| (before, reply))
    });
    let (before, reply) = renewed;
    assert_eq!(reply.header("x-kontor-session-valid-ms"), "8000");
    let entry = client.wait_for("/v1/kv/lock", |entries| entries[0]["Session"].is_string());
    assert_eq!(entry[0]["Session"], holder.as_str(), "the lock outlives its leader");

    let index = entry[0]["ModifyIndex"].as_u64().unwrap();
    let freed = client.wait_for(&format!("/v1/kv/lock?index={index}&wait=60s"), |entries| entries[0]["Session"].is_null());
    assert!(before.elapsed() >= ttl, "it ended after {:?}, and lives {ttl:?} at least", before.elapsed());
    assert_eq!((freed[0]["Value"].as_str(), freed[0]["LockIndex"].as_u64()), (Some("aGVsZA=="), Some(1)));
    assert_eq!(client.put(&format!("/v1/session/renew/{holder}"), "").status, 404);
    assert_eq!(client.put(&format!("/v1/kv/lock?acquire={waiter}"), "mine").body, "true");
}

#[test]
fn a_key_ends_with_its_time_and_a_lock_waits_for_its_delay() {
    let root = tempfile::tempdir().unwrap();
    let dc1 = Datacenter::start(root.path(), "dc1", 0);
    let server = &dc1.servers[0];
    server.wait_for("/v1/health/node/s1", |checks| checks[0]["Status"] == "passing");
    let before = Instant::now();
    assert_eq!(server.put("/v1/kv/short?ttl=2s", "x").body, "true");
    assert_eq!(server.get("/v1/kv/short").json()[0]["TTL"], "2s");
    wait_until("the end of a key", || (server.get("/v1/kv/short").status == 404).then_some(()));
    assert!(before.elapsed() >= Duration::from_secs(2));

    let [one, two] = ["2s", "0s"].map(|delay| session(server, &json!({"LockDelay": delay})));
    assert_eq!(server.put(&format!("/v1/kv/lock?acquire={one}"), "").body, "true");
    let before = Instant::now();
    assert_eq!(server.put(&format!("/v1/session/destroy/{one}"), "").body, "true");
    wait_until("the end of the delay", || (server.put(&format!("/v1/kv/lock?acquire={two}"), "").body == "true").then_some(()));
    assert!(before.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all_wherever_it_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = federation(root.path());
    let far = &dc2.clients[0];
    let set = |key: &str| json!({"KV": {"Verb": "set", "Key": key, "Value": "eA=="}});
    let done = far.put("/v1/txn?dc=dc1", &json!([set("a"), {"KV": {"Verb": "get", "Key": "a"}}]).to_string());
    assert_eq!((done.status, done.json()["Results"][1]["KV"]["Value"].as_str()), (200, Some("eA==")), "{}", done.body);
    let refused = far.put("/v1/txn?dc=dc1", &json!([set("b"), {"KV": {"Verb": "check-not-exists", "Key": "a"}}]).to_string());
    assert_eq!((refused.status, refused.json()["Errors"][0]["OpIndex"].as_u64()), (409, Some(1)), "{}", refused.body);
    assert_eq!(dc1.servers[0].get("/v1/kv/?keys").json(), json!(["a"]));
    let looked = far.put("/v1/txn?dc=dc1&stale", &json!([{"KV": {"Verb": "get-tree", "Key": "a"}}]).to_string());
    assert_eq!((looked.status, looked.json()["KnownLeader"].as_bool()), (200, Some(true)), "{}", looked.body);
}
