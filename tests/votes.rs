//! Checks that several agents probe and vote on, and the guard against mass expiry.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use kontor::config::{Sources, resolve};
use kontor::model::check::CheckStatus;
use kontor::model::fault::FaultKind;
use kontor::model::operation::{HealthWrite, Write as Change};
use kontor::model::principal::Principal;
use kontor::model::request::WriteRequest;
use kontor::model::vote::{Ballot, Vote};
use rig::target::Target;
use rig::{Agent, Datacenter, Plan, wait_until};
use serde_json::{Value, json};
use std::path::Path;

impl Target {
    fn service(&self, observers: u32) -> String {
        let url = format!("http://{}/health", self.addr);
        json!({"Name": "web", "Check": {"HTTP": url, "Interval": "1s", "Observers": observers}}).to_string()
    }
}

/// An agent in this process, which says what the test wants.
struct Liar {
    runtime: tokio::runtime::Runtime,
    agent: kontor::agent::Agent,
}

impl Liar {
    fn start(root: &Path, join: &[&Plan]) -> Liar {
        let address = rig::address();
        let joined: Vec<String> = join.iter().map(|plan| plan.address.to_string()).collect();
        let flags = json!({
            "node_name": "liar",
            "datacenter": "dc1",
            "bind_addr": address.to_string(),
            "client_addr": address.to_string(),
            "data_dir": root.join("liar"),
            "retry_join": joined,
            "retry_interval": "500ms",
        });
        let config = resolve(&Sources { flags, ..Sources::default() }).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let agent = runtime.block_on(kontor::agent::Agent::bind(config, None)).unwrap();
        Liar { runtime, agent }
    }

    /// Casts a vote in the name of `observer`.
    fn says(&self, observer: &str, epoch: u64, status: CheckStatus) -> Result<(), FaultKind> {
        let vote = Vote { node: "c1".into(), check_id: "service:web".into(), epoch, status, output: "lies".into() };
        let write = Change::Health(HealthWrite::Vote(Ballot { observer: observer.to_owned(), votes: vec![vote] }));
        let request = WriteRequest { dc: None, principal: Principal::agent(observer), write };
        self.runtime.block_on(self.agent.router().write(request)).map(|_| ()).map_err(|fault| fault.kind)
    }
}

fn votes(agent: &Agent) -> Value {
    let reply = agent.get("/v1/health/votes/service:web?node=c1");
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

fn vote_of<'a>(votes: &'a Value, observer: &str) -> &'a Value {
    votes["Votes"].as_array().unwrap().iter().find(|vote| vote["Observer"] == observer).unwrap()
}

/// Waits until so many observers say `status`, and the check does.
fn wait_for_votes(agent: &Agent, count: usize, status: &str) -> Value {
    agent.wait_for("/v1/health/votes/service:web?node=c1", |told| {
        let agree = |votes: &Vec<Value>| votes.iter().filter(|vote| vote["Status"] == status).count() >= count;
        told["Status"] == status && told["Votes"].as_array().is_some_and(agree)
    })
}

fn passing(agent: &Agent) -> usize {
    agent.get("/v1/health/service/web?passing&consistent").json().as_array().unwrap().len()
}

#[test]
fn one_observer_that_is_cut_off_and_one_that_lies_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::start();
    let datacenter = Datacenter::start(root.path(), "dc1", 1);
    let known: Vec<&Plan> = datacenter.servers.iter().map(|server| &server.plan).collect();
    let liar = Liar::start(root.path(), &known);
    let owner = &datacenter.clients[0];
    let leader = datacenter.leader();
    owner.wait_for("/v1/agent/members", |members| members.as_array().is_some_and(|members| members.len() == 5));
    let reply = owner.put("/v1/agent/service/register", &target.service(5));
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let told = wait_for_votes(owner, 5, "passing");
    let epoch = told["Epoch"].as_u64().unwrap();
    assert!(vote_of(&told, "s1")["Time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(passing(owner), 1);
    let row = owner.wait_for("/v1/health/checks/web", |rows| rows[0]["Status"] == "passing")[0].clone();
    assert!(row["Output"].as_str().unwrap().starts_with("passing by vote: 5 passing, 0 warning, 0 critical of 5 observers\n"));

    // One that lies: its own vote is counted, and changes nothing.
    assert_eq!(liar.says("liar", epoch, CheckStatus::Critical), Ok(()));
    let told = votes(owner);
    assert_eq!((&vote_of(&told, "liar")["Status"], &told["Status"]), (&json!("critical"), &json!("passing")));
    assert_eq!(passing(owner), 1);
    // In the name of others, and of no assignment, it has no voice.
    assert_eq!(liar.says("c1", epoch, CheckStatus::Critical), Err(FaultKind::Denied));
    assert_eq!(liar.says("liar", epoch - 1, CheckStatus::Passing), Ok(()));
    // Who writes the check's row into the catalog does not decide its status either.
    let mut forged = row.clone();
    (forged["Status"], forged["Output"]) = (json!("critical"), json!("lies"));
    for index in ["CreateIndex", "ModifyIndex"] {
        forged.as_object_mut().unwrap().remove(index);
    }
    let register = json!({"Node": "c1", "SkipNodeUpdate": true, "Check": forged});
    assert_eq!(owner.put("/v1/catalog/register", &register.to_string()).status, 200);
    assert_eq!((votes(owner), passing(owner)), (told, 1));

    // One that is cut off as well: the three that are left see the target die, and come back.
    let stopped = &datacenter.servers[(leader + 1) % 3];
    stopped.signal("STOP");
    target.says(503);
    // The one that lies looks too; it is to lie after that.
    wait_for_votes(owner, 4, "critical");
    // Its first try may go by the server that is stopped.
    wait_until("the lie to be heard", || liar.says("liar", epoch, CheckStatus::Passing).ok());
    let told = votes(owner);
    assert_eq!((&vote_of(&told, "liar")["Status"], &told["Status"]), (&json!("passing"), &json!("critical")));
    assert_eq!((vote_of(&told, &stopped.plan.name)["Status"].clone(), passing(owner)), (json!("passing"), 0));
    let own = owner.get("/v1/agent/checks").json();
    assert_eq!(own["service:web"]["Status"], "critical");
    assert!(own["service:web"]["Output"].as_str().unwrap().contains("503"), "its own view: {own}");
    target.says(200);
    wait_for_votes(owner, 3, "passing");
    assert_eq!(passing(owner), 1);
    stopped.signal("CONT");
    liar.runtime.block_on(liar.agent.shutdown());
}

fn names(observers: &Value) -> Vec<String> {
    observers.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Kills the agent of this name; how it was started.
fn kill(datacenter: &mut Datacenter, name: &str) -> Plan {
    let of_name = |agent: &Agent| agent.plan.name == name;
    let lost = match datacenter.servers.iter().position(of_name) {
        Some(at) => datacenter.servers.remove(at),
        None => datacenter.clients.remove(datacenter.clients.iter().position(of_name).unwrap()),
    };
    let plan = lost.plan.clone();
    lost.kill();
    plan
}

/// Waits for `good` votes, and looks at each try that the check is passing, whoever votes.
fn passing_until(agent: &Agent, what: &str, good: impl Fn(&Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + kontor::defaults::OBSERVER_FAILED_AFTER + 2 * rig::PATIENCE;
    loop {
        let told = votes(agent);
        assert_eq!((&told["Status"], passing(agent)), (&json!("passing"), 1), "{what}: {told}");
        if good(&told) {
            return told;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {told}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn an_observer_that_fails_is_replaced_after_its_time_and_not_moved_back() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::start();
    // A server that autopilot has leave is replaced at once.
    let kept = serde_json::json!({"autopilot": {"cleanup_dead_servers": false}});
    let mut datacenter = Datacenter::start_with(root.path(), "dc1", 1, |plan| plan.settings(&kept));
    let leader = datacenter.servers[datacenter.leader()].plan.name.clone();
    let known: Vec<Plan> = datacenter.servers.iter().map(|server| server.plan.clone()).collect();
    let everybody = ["c1", "s1", "s2", "s3"];

    // Of five that are wanted there are four: three observe.
    let reply = datacenter.clients[0].put("/v1/agent/service/register", &target.service(5));
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let before = names(&wait_for_votes(&datacenter.clients[0], 3, "passing")["Observers"]);
    assert!(before.len() == 3 && before[0] == "c1", "{before:?}");

    // Until its time is over the others decide, both ways.
    let lost = before[1..].iter().find(|name| **name != leader).unwrap().clone();
    let plan = kill(&mut datacenter, &lost);
    let killed = std::time::Instant::now();
    let owner = &datacenter.clients[0];
    target.says(503);
    wait_for_votes(owner, 2, "critical");
    assert_eq!(passing(owner), 0);
    target.says(200);
    wait_for_votes(owner, 2, "passing");
    let told = passing_until(owner, "the lost one is replaced", |told| !names(&told["Observers"]).contains(&lost));
    assert!(killed.elapsed() >= kontor::defaults::OBSERVER_FAILED_AFTER, "replaced after {:?}", killed.elapsed());
    let replaced = names(&told["Observers"]);
    let other = everybody.iter().find(|name| !before.contains(&(**name).to_owned())).unwrap();
    let stayed = before.iter().find(|name| **name != lost && *name != "c1").unwrap();
    assert_eq!(replaced, ["c1", stayed, other], "who is well stays");
    let all_pass = |count: usize| {
        move |told: &Value| told["Votes"].as_array().unwrap().iter().filter(|vote| vote["Status"] == "passing").count() == count
    };
    let told = passing_until(owner, "all observers to vote", all_pass(3));
    assert_eq!(told["Observers"], json!(replaced));

    // It comes back, and nothing moves; once there are five agents, all five observe.
    let back = plan.start();
    owner.wait_for(&format!("/v1/health/node/{lost}"), |checks| checks[0]["Status"] == "passing");
    assert_eq!(passing_until(owner, "the lost one is back", |_| true)["Epoch"], told["Epoch"]);
    let fifth = Plan::client(root.path(), "dc1", "c2").join(&known.iter().collect::<Vec<_>>()).start();
    let grown = passing_until(owner, "five to observe", all_pass(5));
    let grown = names(&grown["Observers"]);
    assert_eq!((&grown[..3], grown.len()), (&replaced[..], 5), "who observes goes on");
    drop((back, fifth));
}

#[test]
fn observers_are_found_among_the_willing_and_a_stable_check_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::start();
    let datacenter = Datacenter::start_with(root.path(), "dc1", 2, |plan| match plan.name.as_str() {
        "c2" => plan.settings(&json!({"health": {"observe": false}})),
        _ => plan,
    });
    let owner = &datacenter.clients[0];
    assert_eq!(owner.put("/v1/agent/service/register", &target.service(3)).status, 200);
    let told = wait_for_votes(owner, 3, "passing");
    let observers: Vec<&str> = told["Observers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(observers.len() == 3 && observers[0] == "c1" && !observers.contains(&"c2"), "{observers:?}");
    // Whoever is asked, and of whichever node: without a name the own one's, or the one there is.
    assert_eq!(datacenter.servers[0].get("/v1/health/votes/service:web").json(), told);
    assert_eq!(owner.get("/v1/health/votes/service:web").json(), told);
    assert_eq!(owner.get("/v1/health/votes/service:web?node=s1").status, 404);

    // What the observers find again and again, and what anti-entropy compares, is written nowhere.
    let index = owner.get("/v1/health/state/any").index();
    std::thread::sleep(std::time::Duration::from_secs(5));
    let reply = owner.get("/v1/health/state/any");
    assert_eq!(reply.index(), index, "{}", reply.body);

    // The owner restarts with a view of its own, and the catalog's status stays that of the votes.
    target.says(429);
    wait_for_votes(owner, 3, "warning");
    owner.put("/v1/agent/service/deregister/web", "");
    wait_until("the check to go", || (owner.get("/v1/health/votes/service:web?node=c1").status == 404).then_some(()));
}

#[test]
fn what_cannot_be_voted_on_is_refused_with_a_clear_text() {
    let root = tempfile::tempdir().unwrap();
    let agent = Plan::server(root.path(), "dc1", "s1", 1).start();
    agent.wait_for_leader();
    let refused = |check: Value| {
        let reply = agent.put("/v1/agent/check/register", &check.to_string());
        assert_eq!(reply.status, 400, "{}", reply.body);
        reply.body
    };
    for observers in [1, 2, 4, 9] {
        let text = refused(json!({"Name": "c", "TCP": "127.0.0.1:1", "Interval": "1s", "Observers": observers}));
        assert_eq!(text, "Invalid check: Observers must be 3, 5 or 7, or 0 for a check that only its own agent runs");
    }
    let text = refused(json!({"Name": "c", "TTL": "10s", "Observers": 3}));
    assert_eq!(
        text,
        "Invalid check: Observers can be set for HTTP, TCP, UDP, gRPC and H2PING checks only, which every agent can run"
    );
    // Alone, an agent is the only observer there can be.
    let check = json!({"Name": "c", "TCP": format!("{}:8500", agent.plan.address), "Interval": "1s", "Observers": 3});
    assert_eq!(agent.put("/v1/agent/check/register", &check.to_string()).status, 200);
    let told = agent.wait_for("/v1/health/votes/c", |told| told["Status"] == "passing");
    assert_eq!(told["Observers"], json!(["s1"]));
}

#[test]
fn where_too_few_instances_pass_all_are_told_and_it_is_said_here_from_memory_and_across_the_bridge() {
    let root = tempfile::tempdir().unwrap();
    let guarded = Plan::server(root.path(), "dc1", "s1", 1).settings(&json!({"health": {"panic_threshold": 50}}));
    let plain = Plan::server(root.path(), "dc2", "t1", 1).join_wan(&[&guarded]);
    let (here, there) = (guarded.start(), plain.start());
    here.wait_for_leader();
    there.wait_for_leader();
    let register = |number: u32, status: &str| {
        let (node, address) = (format!("n{number}"), format!("10.0.0.{number}"));
        let check = json!({"CheckID": "c", "Name": "c", "ServiceID": "web", "Status": status});
        let body = json!({"Node": node, "Address": address, "Service": {"Service": "web"}, "Check": check});
        assert_eq!(here.put("/v1/catalog/register", &body.to_string()).status, 200);
    };
    let told = |agent: &Agent, query: &str| {
        let reply = agent.try_get(&format!("/v1/health/service/web?passing{query}"))?;
        let rows = (reply.status == 200).then(|| reply.json().as_array().unwrap().len())?;
        Some((rows, reply.header("X-Kontor-Panic").to_owned()))
    };
    let all_tell = |rows: usize, panic: &str| {
        for (agent, query) in [(&here, ""), (&here, "&cached"), (&there, "&dc=dc1"), (&there, "&dc=dc1&stale"), (&there, "&dc=*")]
        {
            wait_until(&format!("{rows} with {panic:?} by {} {query}", agent.plan.name), || {
                (told(agent, query)? == (rows, panic.to_owned())).then_some(())
            });
        }
    };
    (1..=2).for_each(|number| register(number, "passing"));
    (3..=4).for_each(|number| register(number, "critical"));
    all_tell(2, "");
    register(2, "critical");
    all_tell(4, "web");
    register(2, "passing");
    all_tell(2, "");
}
