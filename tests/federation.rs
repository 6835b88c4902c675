//! Two datacenters of real processes: they find each other, `?dc=` is answered by the other one,
//! and its loss is told quickly and with its cause.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, Plan, request, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer about a lost datacenter may take: the promise is 2 s, the rest is for a
/// machine that is busy with other tests.
const TOLD_WITHIN: Duration = Duration::from_secs(8);

/// Two datacenters, where one server of dc2 alone knows one server of dc1.
struct Federation {
    dc1: Datacenter,
    dc2: Datacenter,
}

impl Federation {
    fn start(root: &Path) -> Federation {
        Federation::start_with(root, |plan| plan)
    }

    fn start_with(root: &Path, change: impl Fn(Plan) -> Plan) -> Federation {
        let dc1 = Datacenter::start_with(root, "dc1", 1, &change);
        let gate = dc1.servers[0].plan.clone();
        let dc2 = Datacenter::start_with(root, "dc2", 1, |plan| {
            let plan = change(plan);
            if plan.name == "s1" { plan.join_wan(&[&gate]) } else { plan }
        });
        let federation = Federation { dc1, dc2 };
        for agent in federation.agents() {
            agent.wait_for("/v1/catalog/datacenters", |list| list.as_array().unwrap().len() == 2);
            agent.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 4);
            agent.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 4);
        }
        federation
    }

    fn agents(&self) -> impl Iterator<Item = &Agent> {
        [&self.dc1.servers, &self.dc1.clients, &self.dc2.servers, &self.dc2.clients].into_iter().flatten()
    }
}

#[test]
fn a_query_for_the_other_datacenter_is_answered_by_it_in_every_mode() {
    let root = tempfile::tempdir().unwrap();
    let Federation { dc1, dc2 } = Federation::start(root.path());
    // The flood join has brought in the servers that no address was given for.
    let (code, out, _) = wait_until("six WAN members", || {
        let told = dc1.servers[2].cli(&["members", "-wan"]);
        (told.1.matches("alive").count() == 6).then_some(told)
    });
    assert_eq!(code, 0);
    assert!(out.contains("s3.dc2") && !out.contains("c1."), "{out}");

    let web = json!({"Name": "web", "Port": 80}).to_string();
    assert_eq!(dc2.clients[0].put("/v1/agent/service/register", &web).status, 200);
    for agent in dc1.servers.iter().chain(&dc1.clients) {
        for mode in ["", "&stale", "&consistent", "&cached"] {
            let rows =
                agent.wait_for(&format!("/v1/health/service/web?dc=dc2{mode}"), |rows| rows.as_array().unwrap().len() == 1);
            assert_eq!(rows[0]["Node"]["Datacenter"], "dc2");
        }
        assert_eq!(agent.get("/v1/health/service/web").json(), json!([]), "dc1 has no such service");
        assert!(agent.get("/v1/status/leader?dc=dc2").body.contains(":8300"));
    }
    assert_eq!(dc1.servers[0].get("/v1/catalog/datacenters").json(), json!(["dc1", "dc2"]));
    assert_eq!(dc2.servers[0].get("/v1/catalog/datacenters").json(), json!(["dc2", "dc1"]));
    let coordinates = dc1.servers[0].get("/v1/coordinate/datacenters").json();
    assert_eq!(coordinates.as_array().unwrap().len(), 2, "{coordinates}");
}

#[test]
fn a_blocking_query_waits_where_the_data_is_and_writes_cross_too() {
    let root = tempfile::tempdir().unwrap();
    let Federation { dc1, dc2 } = Federation::start(root.path());
    let body = |port: u16| {
        json!({"Datacenter": "dc2", "Node": "external", "Address": "10.0.0.9", "Service": {"Service": "db", "Port": port}})
            .to_string()
    };
    assert_eq!(dc1.clients[0].put("/v1/catalog/register", &body(1)).body, "true");
    let first = dc1.clients[0].get("/v1/catalog/service/db?dc=dc2");
    assert_eq!(first.json()[0]["ServicePort"], 1);
    assert_eq!(dc1.clients[0].get("/v1/catalog/service/db").json(), json!([]));
    let path = format!("/v1/catalog/service/db?dc=dc2&index={}&wait=25s", first.index());
    let second = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| dc1.clients[0].get(&path));
        // Longer than the bridge waits for a sign of life: parked queries must outlast it.
        std::thread::sleep(Duration::from_secs(4));
        assert!(!waiting.is_finished(), "nothing has changed yet");
        assert_eq!(dc2.servers[0].put("/v1/catalog/register", &body(2)).body, "true");
        waiting.join().unwrap()
    });
    assert_eq!(second.json()[0]["ServicePort"], 2);
    assert!(second.index() > first.index());

    let client = &dc1.clients[0];
    let cache = json!({"Node": "external", "Address": "10.0.0.9", "Service": {"Service": "cache"}}).to_string();
    assert_eq!(client.put("/v1/catalog/register?dc=dc2", &cache).body, "true");
    assert_eq!(client.get("/v1/catalog/service/cache").json(), json!([]), "it is not written where nobody has asked for it");
    assert_eq!(client.get("/v1/catalog/service/cache?dc=dc2").json()[0]["Datacenter"], "dc2");
    let place = json!({"Node": "external", "Coord": {"Vec": [0.5, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5}}).to_string();
    assert_eq!(client.put("/v1/coordinate/update?dc=dc2", &place).status, 200);
    let there = client.wait_for("/v1/coordinate/node/external?dc=dc2", |rows| rows[0]["Node"] == "external");
    assert_eq!(there[0]["Coord"]["Vec"], json!([0.5, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(client.get("/v1/coordinate/node/external").status, 404);
    let gone = json!({"Node": "external", "ServiceID": "cache"}).to_string();
    assert_eq!(client.put("/v1/catalog/deregister?dc=dc2", &gone).body, "true");
    assert_eq!(client.get("/v1/catalog/service/cache?dc=dc2").json(), json!([]));
}

#[test]
fn unknown_and_lost_datacenters_are_told_with_consul_s_text_and_the_cause() {
    let root = tempfile::tempdir().unwrap();
    let Federation { dc1, dc2 } = Federation::start(root.path());
    for agent in dc1.servers.iter().chain(&dc1.clients) {
        let reply = agent.get("/v1/catalog/nodes?dc=nowhere");
        assert_eq!((reply.status, reply.body.contains("No path to datacenter")), (500, true), "{}", reply.body);
        assert!(!reply.header("X-Kontor-Reason").is_empty());
    }
    let (code, _, err) = dc1.clients[0].cli(&["catalog", "nodes", "-datacenter=nowhere"]);
    assert_eq!(code, 1);
    assert!(err.contains("\"nowhere\"") && err.contains("never-joined") && err.contains("dc1, dc2"), "{err}");
    let (code, out, err) = dc1.clients[0].cli(&["federation", "list", "-datacenter=nowhere"]);
    assert!(code == 1 && err.contains("nowhere"), "{out}{err}");
    dc2.servers.iter().for_each(|server| server.signal("STOP"));
    for agent in [&dc1.servers[0], &dc1.clients[0]] {
        let started = Instant::now();
        let reply = agent.get("/v1/catalog/nodes?dc=dc2");
        let took = started.elapsed();
        assert_eq!(reply.status, 500, "{}", reply.body);
        assert!(reply.body.contains("Remote DC has no server currently reachable"), "{}", reply.body);
        assert!(!reply.header("X-Kontor-Reason").is_empty());
        assert!(took < TOLD_WITHIN, "told after {took:?}");
    }
    assert_eq!(dc1.servers[0].get("/v1/catalog/nodes").json().as_array().unwrap().len(), 4, "dc1 does not notice");
    dc2.servers.iter().for_each(|server| server.signal("CONT"));
    for agent in [&dc1.servers[0], &dc1.clients[0]] {
        agent.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 4);
    }
}

#[test]
fn the_loss_of_one_far_server_is_not_noticed() {
    let root = tempfile::tempdir().unwrap();
    let Federation { dc1, mut dc2 } = Federation::start(root.path());
    let follower = (dc2.leader() + 1) % 3;
    dc2.servers.remove(follower).kill();
    for _ in 0..20 {
        let reply = wait_until("an answer, tried once more at most", || {
            let reply = dc1.servers[0].get("/v1/catalog/nodes?dc=dc2&stale");
            (reply.status == 200).then_some(reply)
        });
        assert_eq!(reply.json().as_array().unwrap().len(), 4);
    }
}

#[test]
fn remote_reads_need_no_local_leader() {
    let root = tempfile::tempdir().unwrap();
    let Federation { mut dc1, dc2 } = Federation::start(root.path());
    dc1.servers.drain(1..).for_each(Agent::kill);
    let alone = &dc1.servers[0];
    wait_until("the local leader is lost", || (alone.get("/v1/status/leader").body == "\"\"").then_some(()));
    assert_eq!(alone.get("/v1/catalog/nodes?dc=dc2").json().as_array().unwrap().len(), 4);
    assert_eq!(alone.get("/v1/catalog/nodes?stale").json().as_array().unwrap().len(), 4);
    drop(dc2);
}

#[test]
fn operators_of_elsewhere_are_refused_unless_they_may_and_a_stop_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let Federation { dc1, dc2 } = Federation::start_with(root.path(), |plan| match plan.dc.as_str() {
        "dc2" => plan.settings(&json!({"bridge": {"accept_operator_writes": true}})),
        _ => plan,
    });
    let (here, there) = (&dc1.servers[0], &dc2.servers[0]);
    let post = |agent: &Agent, path: &str| request("POST", &agent.url(path), None).expect("an answer");
    let refused = post(there, "/v1/operator/raft/transfer-leader?dc=dc1");
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.body.contains("\"dc1\"") && refused.body.contains("accept_operator_writes"), "{}", refused.body);
    assert_eq!(there.put("/v1/federation/remove/dc2?dc=dc1", "").status, 403);
    assert_eq!(there.get("/v1/operator/raft/configuration?dc=dc1").status, 200, "operators may look");
    wait_until("dc2 lets them", || (post(here, "/v1/operator/raft/transfer-leader?dc=dc2").status == 200).then_some(()));
    // Whether it is set comes back by a client agent, its server, the bridge, and there the leader.
    const AUTOPILOT: &str = "/v1/operator/autopilot/configuration";
    let known = there.wait_for(AUTOPILOT, |config| config["ModifyIndex"] != 0)["ModifyIndex"].clone();
    let set =
        |agent: &Agent, dc: &str, at: &Value| agent.put(&format!("{AUTOPILOT}?dc={dc}&cas={at}"), "{}").body.trim().to_owned();
    assert_eq!([set(&dc1.clients[0], "dc2", &known), set(&dc1.clients[0], "dc2", &known)], ["true", "false"]);
    for agent in &dc2.servers {
        assert_eq!(set(agent, "dc2", &known), "false", "as every server tells, whoever leads");
    }
    let logs: Vec<_> = dc1.servers.iter().chain(&dc2.servers).map(|agent| agent.plan.data_dir.join("agent.log")).collect();
    for agent in dc1.clients.into_iter().chain(dc2.clients).chain(dc1.servers).chain(dc2.servers) {
        agent.terminate();
    }
    for log in logs {
        let log = std::fs::read_to_string(log).unwrap();
        assert!(!log.contains("[ERROR]"), "{log}");
    }
}

#[test]
fn certificates_of_one_authority_federate_and_an_encrypted_pool_is_closed_to_others() {
    let root = tempfile::tempdir().unwrap();
    let certs = root.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let kontor = |arguments: &[&str]| {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_kontor")).args(arguments).current_dir(&certs).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    kontor(&["tls", "ca", "create"]);
    kontor(&["tls", "cert", "create", "-server", "-dc=dc1"]);
    kontor(&["tls", "cert", "create", "-server", "-dc", "dc2"]);
    let key = kontor(&["keygen"]).trim().to_owned();
    let Federation { dc1, dc2 } = Federation::start_with(root.path(), |plan| {
        let mut settings = json!({"encrypt": key});
        if plan.flags.iter().any(|flag| flag == "-server") {
            let pem = |name: &str| certs.join(format!("{}-server-consul-0{name}.pem", plan.dc)).display().to_string();
            settings["ca_file"] = json!(certs.join("consul-agent-ca.pem").display().to_string());
            settings["cert_file"] = json!(pem(""));
            settings["key_file"] = json!(pem("-key"));
            settings["bridge"] = json!({"require_ca": true});
        } else {
            // Its servers speak TLS alone.
            settings["ca_file"] = json!(certs.join("consul-agent-ca.pem").display().to_string());
        }
        plan.settings(&settings)
    });
    assert_eq!(dc1.clients[0].get("/v1/catalog/nodes?dc=dc2").json().as_array().unwrap().len(), 4);
    let stranger = Plan::client(root.path(), "dc1", "stranger").join(&[&dc1.servers[0].plan]).start();
    stranger.wait_for("/v1/agent/members", |members| members.as_array().unwrap().len() == 1);
    let joined = stranger.put(&format!("/v1/agent/join/{}", dc1.servers[0].plan.address), "");
    assert_eq!(joined.status, 500, "{}", joined.body);
    assert_eq!(dc1.servers[0].get("/v1/agent/members").json().as_array().unwrap().len(), 4);
    drop(dc2);
}

#[test]
fn a_member_of_another_datacenter_is_refused_with_both_names() {
    let root = tempfile::tempdir().unwrap();
    let here = Plan::server(root.path(), "dc1", "here", 1).start();
    let there = Plan::server(root.path(), "dc2", "there", 1).start();
    here.wait_for_leader();
    there.wait_for_leader();
    let reply = there.put(&format!("/v1/agent/join/{}", here.plan.address), "");
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains("dc1") && reply.body.contains("dc2"), "{}", reply.body);
    for agent in [&here, &there] {
        assert_eq!(agent.get("/v1/agent/members").json().as_array().unwrap().len(), 1);
    }
}
