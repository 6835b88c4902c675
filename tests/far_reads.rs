//! Stale-allowed reads of another datacenter on real processes: how old they are said to be, that
//! they go on when the other side is gone, and `?dc=*`.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, Reply, request_by, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const WEB: &str = "/v1/health/service/web?dc=dc2";

/// Two datacenters whose servers all know each other, with one client agent each; dc2 has a service
/// `web` on its client.
fn two(root: &Path) -> (Datacenter, Datacenter) {
    let dc1 = Datacenter::start_with(root, "dc1", 1, |plan| plan);
    let gate = dc1.servers[0].plan.clone();
    let dc2 = Datacenter::start_with(root, "dc2", 1, |plan| if plan.name == "s1" { plan.join_wan(&[&gate]) } else { plan });
    for agent in dc1.servers.iter().chain(&dc1.clients).chain(&dc2.servers) {
        agent.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 4);
        agent.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 4);
    }
    register(&dc2.clients[0], 80);
    (dc1, dc2)
}

fn register(agent: &Agent, port: u16) {
    let web = json!({"Name": "web", "Port": port, "Tags": ["v1"]}).to_string();
    assert_eq!(agent.put("/v1/agent/service/register", &web).status, 200);
}

fn rows(reply: &Reply) -> usize {
    reply.json().as_array().map_or(0, Vec::len)
}

/// The milliseconds that the answer may be old.
fn contact(reply: &Reply) -> u64 {
    reply.header("X-Consul-LastContact").parse().unwrap()
}

/// Waits until this agent answers `path` with one row, from memory.
fn wait_for_hit(agent: &Agent, path: &str) -> Reply {
    wait_until("an answer from memory", || {
        let reply = agent.get(path);
        (reply.status == 200 && rows(&reply) == 1 && reply.header("X-Cache") == "HIT").then_some(reply)
    })
}

fn stop(datacenter: &Datacenter) {
    datacenter.servers.iter().for_each(|server| server.signal("STOP"));
}

fn go_on(datacenter: &Datacenter) {
    datacenter.servers.iter().for_each(|server| server.signal("CONT"));
}

/// The parts that the header of a `?dc=*` answer tells, by datacenter.
fn parts(reply: &Reply) -> Vec<Value> {
    let parts: Value = serde_json::from_str(reply.header("X-Kontor-Datacenters")).unwrap();
    parts.as_array().unwrap().clone()
}

#[test]
fn a_stale_read_comes_from_memory_and_tells_its_age() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = two(root.path());
    for agent in [&dc1.servers[0], &dc1.clients[0]] {
        for mode in ["stale", "cached"] {
            let reply = wait_for_hit(agent, &format!("{WEB}&{mode}"));
            assert!(reply.index() > 0 && reply.header("Age").parse::<u64>().is_ok());
            assert_eq!(reply.header("X-Consul-Effective-Consistency"), "stale");
            assert_eq!(reply.header("X-Consul-KnownLeader"), "true");
        }
    }
    // Endpoints that take no ?cached at home take it for another datacenter.
    wait_until("the nodes from memory", || {
        let reply = dc1.servers[0].get("/v1/catalog/nodes?dc=dc2&cached");
        (rows(&reply) == 4 && reply.header("X-Cache") == "HIT").then_some(())
    });
    let missing = wait_until("a 404 from memory", || {
        let reply = dc1.servers[0].get("/v1/coordinate/node/nobody?dc=dc2&stale");
        (reply.header("X-Cache") == "HIT").then_some(reply)
    });
    assert_eq!((missing.status, missing.index() > 0), (404, true));
    let strict = dc1.servers[0].get(&format!("{WEB}&leader&cached"));
    assert_eq!((strict.header("X-Cache"), strict.header("X-Consul-Effective-Consistency")), ("", "leader"));
    drop(dc2);
}

#[test]
fn must_revalidate_and_max_age_zero_ask_the_other_side() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = two(root.path());
    let path = format!("{WEB}&cached");
    let server = &dc1.servers[0];
    wait_for_hit(server, &path);
    let client = rig::client(Duration::from_secs(30));
    let with = |control: &str| {
        let url = server.url(&path);
        let answer = client.get(&url).header("Cache-Control", control).call();
        let answer = answer.unwrap();
        answer.headers().get("X-Cache").unwrap().to_str().unwrap().to_owned()
    };
    for control in ["must-revalidate", "max-age=0"] {
        assert_eq!(with(control), "MISS", "{control}");
    }
    assert_eq!(with("max-age=3600"), "HIT");
    drop(dc2);
}

#[test]
fn watchers_of_another_datacenter_wake_on_its_changes() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = two(root.path());
    for agent in [&dc1.servers[0], &dc1.clients[0]] {
        let first = wait_for_hit(agent, &format!("{WEB}&stale"));
        let port = first.json()[0]["Service"]["Port"].as_u64().unwrap();
        let path = format!("{WEB}&stale&wait=55s&index={}", first.index());
        let client = rig::client(Duration::from_secs(90));
        let second = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| request_by(&client, "GET", &agent.url(&path), None).unwrap());
            std::thread::sleep(Duration::from_secs(3));
            assert!(!waiting.is_finished(), "nothing has changed yet");
            register(&dc2.clients[0], u16::try_from(port + 1).unwrap());
            waiting.join().unwrap()
        });
        assert_eq!(second.json()[0]["Service"]["Port"], port + 1);
        assert!(second.index() > first.index());
        let ended = agent.get(&format!("{WEB}&stale&wait=1s&index={}", second.index()));
        assert_eq!((ended.status, rows(&ended)), (200, 1), "what is held, at the end of the wait");
    }
}

#[test]
fn cut_off_what_is_held_goes_on_with_its_age_and_bounds_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = two(root.path());
    let (server, client) = (&dc1.servers[0], &dc1.clients[0]);
    let path = format!("{WEB}&stale");
    let before = wait_for_hit(server, &path);
    stop(&dc2);
    let cut = Instant::now();
    wait_until("an age of over 5 s", || {
        for agent in [server, client] {
            let reply = agent.get(&path);
            assert_eq!((reply.status, rows(&reply)), (200, 1), "{}", reply.body);
        }
        (contact(&server.get(&path)) > 5_000).then_some(())
    });
    let reply = server.get(&path);
    assert!(contact(&reply) <= u64::try_from(cut.elapsed().as_millis()).unwrap() + 3_000, "{}", contact(&reply));
    assert_eq!(reply.index(), before.index());
    assert!(reply.header("Age").parse::<u64>().unwrap() * 1_000 >= contact(&reply) - 1_000);
    for bound in ["max_stale=1s", "leader", "consistent"] {
        let refused = server.get(&format!("{WEB}&{bound}"));
        assert_eq!(refused.status, 500, "{bound}: {}", refused.body);
        assert!(!refused.header("X-Kontor-Reason").is_empty(), "{bound}");
    }
    let bounded = server.get(&format!("{WEB}&max_stale=1s"));
    assert!(bounded.header("X-Kontor-Reason").contains("old"), "{}", bounded.header("X-Kontor-Reason"));
    assert_eq!(rows(&server.get(&format!("{WEB}&max_stale=1h"))), 1);
    go_on(&dc2);
    wait_until("fresh again", || (contact(&server.get(&path)) < 5_000).then_some(()));
}

#[test]
fn a_server_without_an_answer_has_that_of_its_neighbour_and_needs_no_quorum() {
    let root = tempfile::tempdir().unwrap();
    let (mut dc1, dc2) = two(root.path());
    let path = format!("{WEB}&stale");
    wait_for_hit(&dc1.servers[0], &path);
    stop(&dc2);
    let late = Instant::now();
    for server in &dc1.servers[1..] {
        let reply = server.get(&path);
        assert_eq!((reply.status, rows(&reply)), (200, 1), "{} {}", reply.body, reply.header("X-Kontor-Reason"));
        assert!(contact(&reply) > 0);
    }
    // One hop, not a search: nobody else is asked, and nothing waits for a leader.
    assert!(late.elapsed() < Duration::from_secs(10), "{:?}", late.elapsed());
    dc1.servers.pop().unwrap().kill();
    dc1.servers.pop().unwrap().kill();
    let alone = &dc1.servers[0];
    wait_until("the local leader is lost", || (alone.get("/v1/status/leader").body == "\"\"").then_some(()));
    let reply = alone.get(&path);
    assert_eq!((reply.status, rows(&reply)), (200, 1), "{}", reply.body);
}

#[test]
fn all_datacenters_are_asked_at_once_and_a_lost_one_is_told() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = two(root.path());
    register(&dc1.clients[0], 81);
    for agent in [&dc1.servers[1], &dc1.clients[0], &dc2.servers[1]] {
        for mode in ["", "&stale", "&cached", "&consistent"] {
            let path = format!("/v1/health/service/web?dc=*{mode}");
            let reply = wait_until("both instances", || {
                let reply = agent.get(&path);
                (rows(&reply) == 2).then_some(reply)
            });
            let parts = parts(&reply);
            assert_eq!(parts.len(), 2, "{parts:?}");
            assert!(parts.iter().all(|part| part["Index"].as_u64().unwrap() > 0 && part["AgeMs"].is_u64()), "{parts:?}");
        }
    }
    let server = &dc1.servers[0];
    assert_eq!(rows(&server.get("/v1/catalog/nodes?dc=*")), 8);
    assert_eq!(server.get("/v1/catalog/services?dc=*").json()["web"], json!(["v1"]));
    assert_eq!(server.get("/v1/catalog/datacenters?dc=*").json(), json!(["dc1", "dc2"]));
    for path in ["/v1/catalog/node/s1?dc=*", "/v1/status/leader?dc=*", "/v1/coordinate/nodes?dc=*"] {
        for agent in [server, &dc1.clients[0]] {
            let refused = agent.get(path);
            assert_eq!(refused.status, 400, "{path}: {}", refused.body);
            assert!(refused.body.contains("catalog/services"), "{}", refused.body);
        }
    }
    let everywhere = json!({"Datacenter": "*", "Node": "n", "Address": "10.0.0.1"}).to_string();
    assert_eq!(server.put("/v1/catalog/register", &everywhere).status, 400);
    stop(&dc2);
    let reply = wait_until("the loss of dc2", || {
        let reply = server.get("/v1/health/service/web?dc=*");
        (reply.status == 200 && rows(&reply) == 1).then_some(reply)
    });
    let parts = parts(&reply);
    assert_eq!((&parts[0]["Datacenter"], parts[1]["Error"].is_string()), (&json!("dc1"), true), "{parts:?}");
    go_on(&dc2);
}

#[test]
fn a_watch_of_all_datacenters_wakes_whichever_changes() {
    let root = tempfile::tempdir().unwrap();
    let (dc1, dc2) = two(root.path());
    register(&dc1.clients[0], 81);
    let path = "/v1/catalog/service/web?dc=*";
    let agent = &dc1.servers[0];
    wait_until("both instances", || (rows(&agent.get(path)) == 2).then_some(()));
    let client = rig::client(Duration::from_secs(90));
    for (changes, port) in [(&dc1.clients[0], 90), (&dc2.clients[0], 91)] {
        // The first registrations may still be followed by changes: it parks once the index stands.
        let first = wait_until("an index that stands", || {
            let reply = agent.get(path);
            (agent.get(path).index() == reply.index()).then_some(reply)
        });
        let parked = format!("{path}&wait=55s&index={}", first.index());
        let second = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| request_by(&client, "GET", &agent.url(&parked), None).unwrap());
            std::thread::sleep(Duration::from_secs(2));
            register(changes, port);
            waiting.join().unwrap()
        });
        assert!(second.index() > first.index());
        assert!(second.body.contains(&format!("\"ServicePort\":{port}")), "{}", second.body);
    }
    let started = Instant::now();
    let other = agent.get(&format!("{path}&wait=55s&index=7"));
    assert!(other.status == 200 && started.elapsed() < Duration::from_secs(30), "another server's index answers at once");
}
