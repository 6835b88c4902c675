//! The network between agents, as processes: who is let in and who is not, what survives moves,
//! freezes and hang-ups, and through which addresses datacenters meet.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Datacenter, Plan, Reply, wait_until};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long an answer may take whose first way is frozen: the promise is 2 s, the rest is for a
/// machine that is busy with other tests.
const PASSED_OVER_WITHIN: Duration = Duration::from_secs(8);
/// Serf's number of the state `failed`.
const FAILED: i64 = 4;
/// Serf's number of the state `left`.
const LEFT: i64 = 3;
/// Serf's number of the state `alive`.
const ALIVE: i64 = 1;

/// A datacenter of one server.
fn lone(root: &Path, dc: &str) -> Plan {
    Plan::server(root, dc, "s1", 1)
}

/// The row of a member, if it has this state there.
fn member(members: &Value, name: &str, status: i64) -> Option<Value> {
    let rows = members.as_array()?;
    rows.iter().find(|row| row["Name"] == name && row["Status"] == status).cloned()
}

fn alive(members: &Value) -> usize {
    members.as_array().unwrap().iter().filter(|row| row["Status"] == ALIVE).count()
}

/// Waits until `?dc=` is answered with this many nodes.
fn reaches(agent: &Agent, dc: &str, nodes: usize) {
    agent.wait_for(&format!("/v1/catalog/nodes?dc={dc}"), |rows| rows.as_array().unwrap().len() == nodes);
}

fn waits_for_log(agent: &Agent, words: &[&str]) -> String {
    wait_until(&format!("{}: a log line with {words:?}", agent.plan.name), || {
        agent.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    })
}

#[test]
fn a_datacenter_that_moves_is_found_at_its_new_addresses() {
    let root = tempfile::tempdir().unwrap();
    // Only one server of dc2 is told of dc1, and dc1 is told of an address that will be empty.
    let gate = lone(root.path(), "dc1");
    let plans = Datacenter::plans(root.path(), "dc2");
    let gate = gate.join_wan(&[&plans[0]]).start();
    let far: Vec<Agent> = plans
        .iter()
        .map(|plan| if plan.name == "s1" { plan.clone().join_wan(&[&gate.plan]).start() } else { plan.start() })
        .collect();
    gate.wait_for_leader();
    far.iter().for_each(|server| _ = server.wait_for_leader());
    reaches(&gate, "dc2", 3);
    let moved: Vec<Plan> = far.iter().map(|server| server.plan.moved()).collect();
    far.into_iter().for_each(Agent::kill);
    let known: Vec<&Plan> = moved.iter().collect();
    let far: Vec<Agent> = moved
        .iter()
        .map(|plan| {
            let mut plan = plan.clone();
            plan.flags.retain(|flag| !flag.starts_with("-retry-join="));
            plan.join(&known).start()
        })
        .collect();
    for server in &far {
        server.wait_for_leader();
        reaches(server, "dc1", 1);
    }
    for (number, plan) in moved.iter().enumerate() {
        gate.wait_for("/v1/agent/members?wan=1", |members| {
            member(members, &format!("s{}.dc2", number + 1), ALIVE).is_some_and(|row| row["Addr"] == plan.address.to_string())
        });
    }
    reaches(&gate, "dc2", 3);
}

#[test]
fn datacenters_find_each_other_again_by_what_they_remember() {
    let root = tempfile::tempdir().unwrap();
    let near = lone(root.path(), "dc1").start();
    let first = lone(root.path(), "dc2");
    let far = first.clone().join_wan(&[&near.plan]).start();
    near.wait_for_leader();
    far.wait_for_leader();
    reaches(&near, "dc2", 1);
    // Its disk alone knows the way back, and first there is nobody at its end.
    let near_plan = near.plan.clone();
    let way_back = format!("{}:8302", near_plan.address);
    wait_until("it is on disk", || {
        let kept = std::fs::read_to_string(first.data_dir.join("serf/remote.snapshot")).ok()?;
        kept.contains(&way_back).then_some(())
    });
    far.kill();
    near.kill();
    std::fs::remove_file(first.data_dir.join("agent.log")).unwrap();
    let far = first.moved().start();
    far.wait_for_leader();
    waits_for_log(&far, &["nobody is reached to join", &way_back]);
    let near = near_plan.start();
    reaches(&far, "dc1", 1);
    reaches(&near, "dc2", 1);
}

#[test]
fn a_server_that_leaves_has_left_for_the_other_datacenter_too_and_may_come_back() {
    let root = tempfile::tempdir().unwrap();
    let near = lone(root.path(), "dc1").start();
    let far = lone(root.path(), "dc2").join_wan(&[&near.plan]).start();
    near.wait_for_leader();
    far.wait_for_leader();
    reaches(&near, "dc2", 1);
    let plan = far.plan.clone();
    assert_eq!(far.cli(&["leave"]).0, 0);
    far.wait();
    near.wait_for("/v1/agent/members?wan=1", |members| member(members, "s1.dc2", LEFT).is_some());
    let reason = |reply: &Reply| reply.header("X-Kontor-Reason").to_owned();
    wait_until("the datacenter is removed", || (reason(&near.get("/v1/catalog/nodes?dc=dc2")) == "removed").then_some(()));
    assert_eq!(near.get("/v1/catalog/datacenters").json(), json!(["dc1"]));
    let far = plan.start();
    reaches(&near, "dc2", 1);
    assert_eq!(near.get("/v1/catalog/datacenters").json(), json!(["dc1", "dc2"]));
    drop(far);
}

#[test]
fn a_frozen_server_of_the_own_datacenter_does_not_keep_a_client_from_the_other() {
    let root = tempfile::tempdir().unwrap();
    let dc1 = Datacenter::start(root.path(), "dc1", 1);
    let far = lone(root.path(), "dc2").join_wan(&[&dc1.servers[0].plan]).start();
    far.wait_for_leader();
    dc1.servers.iter().chain(&dc1.clients).for_each(|agent| reaches(agent, "dc2", 1));
    // Whichever server the client asks first, it is frozen once.
    for server in &dc1.servers {
        server.signal("STOP");
        for path in ["/v1/catalog/nodes?dc=dc2", "/v1/catalog/nodes?dc=dc2&stale"] {
            let started = Instant::now();
            let reply = dc1.clients[0].get(path);
            assert_eq!(reply.status, 200, "{}: {}", server.plan.name, reply.body);
            assert!(started.elapsed() < PASSED_OVER_WITHIN, "{path} took {:?}", started.elapsed());
        }
        server.signal("CONT");
        server.wait_for("/v1/agent/members", |members| alive(members) == 4);
        dc1.clients[0].wait_for("/v1/agent/members", |members| alive(members) == 4);
    }
}

#[test]
fn a_taken_name_is_refused_with_both_addresses_and_given_when_its_holder_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let server = lone(root.path(), "dc1").start();
    server.wait_for_leader();
    let holder = Plan::client(root.path(), "dc1", "web").join(&[&server.plan]).start();
    server.wait_for("/v1/agent/members", |members| member(members, "web", ALIVE).is_some());
    let newcomer = Plan::client(root.path(), "dc1", "web").join(&[&server.plan]);
    let newcomer = Plan { data_dir: root.path().join("newcomer"), ..newcomer }.start();
    let (old, new) = (holder.plan.address.to_string(), newcomer.plan.address.to_string());
    waits_for_log(&newcomer, &["nobody is reached to join", &old, &new]);
    let asked = newcomer.put(&format!("/v1/agent/join/{}", server.plan.address), "");
    assert_eq!(asked.status, 500);
    assert!(asked.body.contains(&old) && asked.body.contains(&new), "{}", asked.body);
    let members = server.get("/v1/agent/members").json();
    assert_eq!(member(&members, "web", ALIVE).unwrap()["Addr"], old);
    holder.kill();
    server.wait_for("/v1/agent/members", |members| member(members, "web", ALIVE).is_some_and(|row| row["Addr"] == new));
    server.wait_for("/v1/catalog/nodes", |nodes| {
        nodes.as_array().unwrap().iter().any(|node| node["Node"] == "web" && node["Address"] == new)
    });
}

#[test]
fn a_copied_data_directory_is_told_from_its_original() {
    let root = tempfile::tempdir().unwrap();
    let server = lone(root.path(), "dc1").start();
    server.wait_for_leader();
    let copy = Plan::client(root.path(), "dc1", "s1").join(&[&server.plan]);
    let copy = Plan { data_dir: root.path().join("copy"), ..copy };
    std::fs::create_dir_all(&copy.data_dir).unwrap();
    std::fs::copy(server.plan.data_dir.join("node-id"), copy.data_dir.join("node-id")).unwrap();
    let copy = copy.start();
    waits_for_log(&copy, &["nobody is reached to join", "data directory copied", &server.plan.address.to_string()]);
    assert_eq!(server.get("/v1/agent/members").json().as_array().unwrap().len(), 1);
}

#[test]
fn twelve_agents_see_each_other_and_those_that_were_frozen_come_back() {
    let root = tempfile::tempdir().unwrap();
    let server = lone(root.path(), "dc1").start();
    let clients: Vec<Agent> =
        (1..12).map(|number| Plan::client(root.path(), "dc1", &format!("c{number}")).join(&[&server.plan]).start()).collect();
    let everybody = || std::iter::once(&server).chain(&clients);
    for agent in everybody() {
        agent.wait_for("/v1/agent/members", |members| alive(members) == 12);
    }
    let frozen = &clients[3..5];
    frozen.iter().for_each(|agent| agent.signal("STOP"));
    for agent in frozen {
        server.wait_for("/v1/agent/members", |members| member(members, &agent.plan.name, FAILED).is_some());
    }
    // What they wake up to must be long past every timer of theirs.
    std::thread::sleep(Duration::from_secs(10));
    frozen.iter().for_each(|agent| agent.signal("CONT"));
    for agent in everybody() {
        agent.wait_for("/v1/agent/members", |members| alive(members) == 12);
    }
}

#[test]
fn a_join_that_is_refused_is_told_on_both_sides() {
    let root = tempfile::tempdir().unwrap();
    let server = lone(root.path(), "dc1").start();
    server.wait_for_leader();
    let stranger = Plan::client(root.path(), "dc2", "stranger").start();
    stranger.wait_for("/v1/agent/self", |_| true);
    let (code, _, error) = stranger.cli(&["join", &server.plan.address.to_string()]);
    let reason = "Member 'stranger' part of wrong datacenter 'dc2'; expected 'dc1'";
    assert!(code != 0 && error.contains(reason), "{error}");
    let line = wait_until("a line of the log", || {
        let log = server.log();
        log.lines().find(|line| line.contains("an agent may not join")).map(str::to_owned)
    });
    for part in ["WARN", reason, "member=stranger", "LAN", &stranger.plan.address.to_string()] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn another_encrypt_key_never_joins() {
    let root = tempfile::tempdir().unwrap();
    let key = || {
        let made = Command::new(env!("CARGO_BIN_EXE_kontor")).arg("keygen").output().unwrap();
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let server = lone(root.path(), "dc1").settings(&json!({"encrypt": key()})).start();
    server.wait_for_leader();
    let far = lone(root.path(), "dc2").join_wan(&[&server.plan]).settings(&json!({"encrypt": key()})).start();
    let other = Plan::client(root.path(), "dc1", "other").join(&[&server.plan]).settings(&json!({"encrypt": key()})).start();
    let open = Plan::client(root.path(), "dc1", "open").join(&[&server.plan]).start();
    far.wait_for_leader();
    for agent in [&other, &open, &far] {
        wait_until("several tries", || (agent.log().matches("nobody is reached to join").count() >= 3).then_some(()));
        assert!(agent.log().contains("encrypt"), "the line says where to look");
    }
    for agent in [&server, &other, &open, &far] {
        for pool in ["/v1/agent/members", "/v1/agent/members?wan=1"] {
            let members = agent.get(pool).json();
            assert!(members.as_array().is_none_or(|members| members.len() <= 1), "{}: {members}", agent.plan.name);
        }
    }
}

/// Certificates of one authority, made by the command line.
struct Authority(std::path::PathBuf);

impl Authority {
    fn new(folder: std::path::PathBuf) -> Authority {
        std::fs::create_dir(&folder).unwrap();
        let authority = Authority(folder);
        authority.run(&["tls", "ca", "create"]);
        authority
    }

    fn run(&self, arguments: &[&str]) {
        let made = Command::new(env!("CARGO_BIN_EXE_kontor")).args(arguments).current_dir(&self.0).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The settings of a server of `dc`.
    fn server(&self, dc: &str) -> Value {
        if !self.0.join(format!("{dc}-server-consul-0.pem")).exists() {
            self.run(&["tls", "cert", "create", "-server", "-dc", dc]);
        }
        let path = |name: &str| self.0.join(name).display().to_string();
        json!({
            "ca_file": path("consul-agent-ca.pem"),
            "cert_file": path(&format!("{dc}-server-consul-0.pem")),
            "key_file": path(&format!("{dc}-server-consul-0-key.pem")),
        })
    }

    /// The same with a certificate that is valid for `time` from now, and when that ends.
    fn server_until(&self, dc: &str, time: Duration) -> (Value, std::time::SystemTime) {
        let read = |name: &str| std::fs::read_to_string(self.0.join(name)).unwrap();
        let key = rcgen::KeyPair::from_pem(&read("consul-agent-ca-key.pem")).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&read("consul-agent-ca.pem"), key).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![format!("server.{dc}.consul")]).unwrap();
        let until = std::time::SystemTime::now() + time;
        params.not_before = (until - time - Duration::from_secs(3600)).into();
        params.not_after = until.into();
        let own = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&own, &issuer).unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(self.0.join(name), text).unwrap();
            json!(self.0.join(name))
        };
        let (cert, key) = (write("brief.pem", cert.pem()), write("brief-key.pem", own.serialize_pem()));
        (json!({"ca_file": self.0.join("consul-agent-ca.pem"), "cert_file": cert, "key_file": key}), until)
    }
}

#[test]
fn certificates_of_another_authority_are_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(root.path().join("ours")), Authority::new(root.path().join("theirs")));
    let mut strict = ours.server("dc1");
    strict["verify_incoming"] = json!(true);
    strict["verify_outgoing"] = json!(true);
    let near = lone(root.path(), "dc1").settings(&strict).start();
    near.wait_for_leader();
    // On the bridge: the pools meet, the links do not.
    let far_plan = lone(root.path(), "dc2").join_wan(&[&near.plan]);
    let far = far_plan.clone().settings(&theirs.server("dc2")).start();
    far.wait_for_leader();
    near.wait_for("/v1/agent/members?wan=1", |members| member(members, "s1.dc2", ALIVE).is_some());
    for (agent, dc) in [(&near, "dc2"), (&far, "dc1")] {
        let reply = wait_until("it is told why", || {
            let reply = agent.get(&format!("/v1/catalog/nodes?dc={dc}"));
            reply.header("X-Kontor-Reason").contains("another-ca").then_some(reply)
        });
        assert_eq!(reply.status, 500, "{}", reply.body);
        waits_for_log(agent, &["tls-refused", "another-ca"]);
    }
    // On the RPC port: a client whose authority is not ours.
    let mut stranger = theirs.server("dc1");
    stranger["verify_outgoing"] = json!(true);
    let client = Plan::client(root.path(), "dc1", "c1").join(&[&near.plan]).settings(&stranger).start();
    client.wait_for("/v1/agent/members", |members| alive(members) == 2);
    assert_eq!(client.get("/v1/catalog/nodes").status, 500);
    waits_for_log(&client, &["no TLS connection to this server", "UnknownIssuer"]);
    waits_for_log(&near, &["WARN", "rpc connection refused", "UnknownCA"]);
    // A certificate of another datacenter does not even start.
    far.kill();
    let wrong = far_plan.clone().settings(&ours.server("dc3")).start();
    let log = far_plan.data_dir.join("agent.log");
    assert_eq!(wrong.wait(), Some(1));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("expected the name server.dc2.consul") && said.contains("dc3"), "{said}");
    // The right one is taken at once.
    let right = far_plan.settings(&ours.server("dc2")).start();
    reaches(&near, "dc2", 1);
    // The stranger is a member of the pool and thus a node, if one that sees nothing.
    reaches(&right, "dc1", 2);
}

#[test]
fn other_certificates_come_into_force_by_a_reload() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(root.path().join("old")), Authority::new(root.path().join("new")));
    let near = lone(root.path(), "dc1").settings(&old.server("dc1")).start();
    let far = lone(root.path(), "dc2").join_wan(&[&near.plan]).settings(&new.server("dc2")).start();
    near.wait_for_leader();
    far.wait_for_leader();
    waits_for_log(&near, &["tls-refused", "another-ca"]);
    let _ = near.plan.clone().settings(&new.server("dc1"));
    assert_eq!(near.cli(&["reload"]).0, 0);
    reaches(&near, "dc2", 1);
    reaches(&far, "dc1", 1);
}

#[test]
fn https_and_the_rpc_port_take_other_certificates_by_a_reload() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(root.path().join("old")), Authority::new(root.path().join("new")));
    let of = |authority: &Authority| {
        let mut settings = authority.server("dc1");
        settings["verify_incoming_rpc"] = json!(true);
        settings["verify_outgoing"] = json!(true);
        settings["ports"] = json!({"https": 8501});
        settings
    };
    let server = lone(root.path(), "dc1").settings(&of(&old)).start();
    server.wait_for_leader();
    let secured = |authority: &Authority| {
        let (ca, address) = (authority.0.join("consul-agent-ca.pem"), format!("https://{}:8501", server.plan.address));
        let trusted = format!("-ca-file={}", ca.display());
        server.cli(&["members", &format!("-http-addr={address}"), &trusted, "-tls-server-name=server.dc1.consul"]).0
    };
    assert_eq!((secured(&old), secured(&new)), (0, 1));
    // A file that is broken changes nothing, and is named.
    let broken = root.path().join("broken.pem");
    std::fs::write(&broken, "no certificate").unwrap();
    let mut half = of(&new);
    half["cert_file"] = json!(broken);
    let _ = server.plan.clone().settings(&half);
    let (code, _, said) = server.cli(&["reload"]);
    assert!(code == 1 && said.contains("broken.pem"), "{said}");
    assert_eq!((secured(&old), secured(&new)), (0, 1));
    let _ = server.plan.clone().settings(&of(&new));
    assert_eq!(server.cli(&["reload"]).0, 0);
    assert_eq!((secured(&old), secured(&new)), (1, 0));
    // A client of the new authority is heard on the RPC port, one of the old is not.
    let client = |name: &str, authority: &Authority| {
        Plan::client(root.path(), "dc1", name).join(&[&server.plan]).settings(&of(authority)).start()
    };
    let (right, wrong) = (client("c1", &new), client("c2", &old));
    right.wait_for("/v1/catalog/nodes", |nodes| !nodes.as_array().unwrap().is_empty());
    wrong.wait_for("/v1/agent/members", |members| alive(members) >= 2);
    assert_eq!(wrong.get("/v1/catalog/nodes").status, 500);
    let _ = wrong.plan.clone().settings(&of(&new));
    assert_eq!(wrong.cli(&["reload"]).0, 0);
    wrong.wait_for("/v1/catalog/nodes", |nodes| !nodes.as_array().unwrap().is_empty());
}

#[test]
fn a_certificate_that_has_expired_meanwhile_is_refused_on_the_bridge() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::new(root.path().join("ca"));
    let far_plan = lone(root.path(), "dc2");
    // Nobody starts with an expired one; so it gets one that runs out, as long as its start takes here.
    let (far, until) = (1..7)
        .find_map(|round| {
            let (settings, until) = authority.server_until("dc2", Duration::from_secs(5 << round));
            let far = far_plan.clone().settings(&settings).start();
            let up = wait_until("it is up or gone", || {
                let up = far.try_get("/v1/agent/self").is_some_and(|reply| reply.status == 200);
                (up || far.log().contains("expired")).then_some(up)
            });
            up.then_some((far, until))
        })
        .expect("a start takes less than five minutes");
    std::thread::sleep(until.duration_since(std::time::SystemTime::now()).unwrap_or_default() + Duration::from_secs(1));
    let near = lone(root.path(), "dc1").join_wan(&[&far.plan]).settings(&authority.server("dc1")).start();
    near.wait_for_leader();
    for (agent, dc) in [(&near, "dc2"), (&far, "dc1")] {
        wait_until("it is told why", || {
            agent.get(&format!("/v1/catalog/nodes?dc={dc}")).header("X-Kontor-Reason").contains("expired").then_some(())
        });
        waits_for_log(agent, &["WARN", "tls-refused", "expired"]);
    }
    // Another certificate by a reload, and all is well.
    let _ = far.plan.clone().settings(&authority.server("dc2"));
    assert_eq!(far.cli(&["reload"]).0, 0);
    reaches(&near, "dc2", 1);
    reaches(&far, "dc1", 1);
}

#[test]
fn the_wan_has_addresses_of_its_own_and_the_catalog_tells_them_abroad() {
    let root = tempfile::tempdir().unwrap();
    let (inside, outside, told) = (rig::address(), rig::address(), rig::address());
    let settings = json!({"translate_wan_addrs": true});
    let near = lone(root.path(), "dc1").settings(&settings).flag(&format!("-serf-wan-bind={outside}")).start();
    near.wait_for_leader();
    // Behind a translation of addresses: bound to all, told as one that no configuration binds.
    let (server, wan) = (20_000 + std::process::id() % 10_000, 30_000 + std::process::id() % 10_000);
    let far = Plan { address: inside, ..lone(root.path(), "dc2") }
        .flag("-serf-wan-bind=0.0.0.0")
        .flag(&format!("-advertise-wan={told}"))
        .flag(&format!("-server-port={server}"))
        .flag(&format!("-serf-wan-port={wan}"))
        .flag(&format!("-retry-join-wan={outside}"))
        .start();
    far.wait_for_leader();
    reaches(&near, "dc2", 1);
    reaches(&far, "dc1", 1);
    let members = near.get("/v1/agent/members?wan=1").json();
    assert_eq!(member(&members, "s1.dc1", ALIVE).unwrap()["Addr"], outside.to_string(), "{members}");
    let row = member(&members, "s1.dc2", ALIVE).unwrap();
    assert_eq!((row["Addr"].as_str(), row["Port"].as_u64()), (Some(told.to_string().as_str()), Some(u64::from(wan))));
    waits_for_log(&near, &["bridge listens", &format!("{outside}:8300")]);
    assert_eq!(far.put("/v1/agent/service/register", "{\"Name\": \"web\", \"Port\": 80}").status, 200);
    let abroad = near.wait_for("/v1/health/service/web?dc=dc2", |rows| rows.as_array().unwrap().len() == 1);
    assert_eq!(abroad[0]["Node"]["Address"], told.to_string());
    assert_eq!(near.get("/v1/catalog/nodes?dc=dc2").json()[0]["Address"], told.to_string());
    assert_eq!(near.get("/v1/catalog/nodes").json()[0]["Address"], near.plan.address.to_string(), "at home nothing changes");
    assert_eq!(far.get("/v1/catalog/nodes?dc=dc1").json()[0]["Address"], near.plan.address.to_string(), "who did not ask for it");
    assert_eq!(far.get("/v1/catalog/nodes").json()[0]["TaggedAddresses"]["wan"], told.to_string());
}

#[test]
fn two_thousand_watches_of_another_datacenter_are_freed_on_every_hop() {
    const WATCHES: i64 = 2_000;
    const WAVE: i64 = 250;
    let root = tempfile::tempdir().unwrap();
    let near = lone(root.path(), "dc1").start();
    let far = lone(root.path(), "dc2").join_wan(&[&near.plan]).start();
    near.wait_for_leader();
    far.wait_for_leader();
    let client = Plan::client(root.path(), "dc1", "c1").join(&[&near.plan]);
    let client = client.settings(&json!({"limits": {"http_max_conns_per_client": 4_000}})).start();
    reaches(&client, "dc2", 1);
    let tasks = |agent: &Agent| -> i64 {
        agent.get("/v1/agent/self").json()["Stats"]["runtime"]["goroutines"].as_str().unwrap().parse().unwrap()
    };
    let hops = [&client, &near, &far];
    let base: Vec<i64> = hops.iter().map(|agent| tasks(agent)).collect();
    let path = format!("/v1/health/service/none?dc=dc2&wait=10m&index={}", client.get("/v1/health/service/none?dc=dc2").index());
    // In waves, so that a slow machine is not asked for more than it parks within the bridge's patience.
    let mut watches = Vec::new();
    for wave in 1..=WATCHES / WAVE {
        watches.extend((0..WAVE).map(|_| {
            let mut socket = TcpStream::connect((client.plan.address, 8500)).unwrap();
            write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            socket
        }));
        for (agent, base) in hops.iter().zip(&base) {
            wait_until("all are parked", || (tasks(agent) >= base + wave * WAVE).then_some(()));
        }
    }
    // What does not wait still gets through.
    assert_eq!(client.get("/v1/catalog/nodes?dc=dc2").status, 200);
    drop(watches);
    for (agent, base) in hops.iter().zip(&base) {
        wait_until("nothing is left of them", || (tasks(agent) < base + 50).then_some(()));
    }
}
