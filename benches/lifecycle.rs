//! Times and sizes of a life: start to first answer, the demo federated, idle memory, a client's first
//! registration, a leader killed, a leader stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use load::{ms, spread};
use rig::{Agent, Datacenter, Plan, request};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 5;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|one| one == name);
    if wanted("start") {
        let times = (0..RUNS).map(|_| dev_start()).collect();
        print("agent -dev to an answer by its leader", times, "ms, bar 300 ms");
    }
    if wanted("demo") {
        let times = (0..3).map(|_| demo()).collect();
        print("demo: both datacenters federated", times, "ms, bar 5000 ms");
    }
    if wanted("idle") {
        idle();
    }
    if wanted("first") {
        let times = (0..RUNS).map(|_| first_registration()).collect();
        print("client, started before its server: a leader to its first service in the catalog", times, "ms, bar 500 ms");
    }
    if wanted("kill") {
        let times = (0..RUNS).map(|_| leader_lost(true)).collect();
        print("leader killed: writes acknowledged again after", times, "ms, bar 1600 ms");
    }
    if wanted("stop") {
        let times = (0..RUNS).map(|_| leader_lost(false)).collect();
        print("leader stopped: writes acknowledged again after", times, "ms, bar 300 ms");
    }
}

fn print(what: &str, times: Vec<f64>, bar: &str) {
    let (median, least, most) = spread(times);
    println!("{what}: median {median:.0} ({least:.0} to {most:.0}) {bar}");
}

fn poll(limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn dev_start() -> f64 {
    let address = rig::address();
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kontor"))
        .args(["agent", "-dev", "-node=dev"])
        .args([format!("-bind={address}"), format!("-client={address}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://{address}:8500/v1/catalog/services");
    poll(Duration::from_secs(30), || request("GET", &url, None).is_some_and(|reply| reply.status == 200));
    let took = ms(started.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

fn demo() -> f64 {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kontor"))
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sees = |port: u16, dc: &str| {
        let url = format!("http://127.0.0.1:{port}/v1/health/service/web?dc={dc}");
        request("GET", &url, None).is_some_and(|reply| reply.status == 200 && reply.body.len() > 2)
    };
    poll(Duration::from_secs(60), || sees(8500, "dc2") && sees(9500, "dc1"));
    let took = ms(started.elapsed());
    let stopped = Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    assert!(stopped.success());
    child.wait().unwrap();
    took
}

/// From when a client knows a server and that leads until the client's service is in the catalog.
fn first_registration() -> f64 {
    let root = tempfile::tempdir().unwrap();
    let server = Plan::server(root.path(), "dc1", "s1", 1);
    let client = Plan::client(root.path(), "dc1", "c1").join(&[&server]).settings(&json!({"service": {"name": "web"}})).start();
    // Longer than it believes that a server will be there in a moment.
    std::thread::sleep(Duration::from_secs(4));
    let server = server.start();
    let limit = Duration::from_secs(60);
    let told = |agent: &Agent, path: &str, text: &str| agent.try_get(path).is_some_and(|reply| reply.body.contains(text));
    poll(limit, || told(&server, "/v1/status/leader", ":8300") && told(&client, "/v1/agent/members", "\"s1\""));
    let known = Instant::now();
    poll(limit, || told(&server, "/v1/catalog/node/c1?stale", "\"web\""));
    ms(known.elapsed())
}

fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Two federated datacenters, and a server alone: what each agent takes while nobody asks anything.
fn idle() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 1);
    let linked = Plan::server(root.path(), "dc2", "t1", 1).join_wan(&[&dc.servers[0].plan]).start();
    let alone = Plan::server(root.path(), "dc3", "u1", 1).start();
    for agent in dc.agents() {
        agent.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().is_some_and(|nodes| !nodes.is_empty()));
    }
    linked.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().is_some_and(|nodes| !nodes.is_empty()));
    alone.wait_for_leader();
    std::thread::sleep(Duration::from_secs(12));
    let sizes = dc.servers.iter().map(|server| resident_mb(server.pid())).collect();
    let (median, least, most) = spread(sizes);
    println!("idle server of three: median {median:.1} MB resident ({least:.1} to {most:.1}), bar 40 MB");

    let leader = dc.leader();
    let servers = dc.servers.iter().enumerate().map(|(number, server)| {
        let what = if number == leader { "leader of three, with links" } else { "follower of three, with links" };
        (what, server, 0.5)
    });
    let clients = dc.clients.iter().map(|client| ("client", client, 0.1));
    let lone = [("lone server, with links to three", &linked, 0.5), ("lone server", &alone, 0.5)];
    let agents: Vec<(&str, &Agent, f64)> = servers.chain(clients).chain(lone).collect();
    let before: Vec<Duration> = agents.iter().map(|(_, agent, _)| processor_time(agent.pid())).collect();
    let time = Duration::from_secs(45);
    std::thread::sleep(time);
    for ((what, agent, bar), before) in agents.into_iter().zip(before) {
        let share = (processor_time(agent.pid()) - before).as_secs_f64() / time.as_secs_f64() * 100.0;
        println!("idle {what}: {share:.2} % of a core, bar {bar} %");
    }
}

/// What all threads of a process have run for, to the nanosecond.
fn processor_time(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ran = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads.map(|thread| ran(thread.unwrap())).sum())
}

/// Kills or stops the leader of a fresh datacenter while the followers are written to one after the
/// other; the longest time without an acknowledgement.
fn leader_lost(killed: bool) -> f64 {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let leader = dc.servers.remove(dc.leader());
    let write = |number: usize, server: &Agent| {
        let body = json!({"Node": format!("n{number}"), "Address": "10.0.0.1"}).to_string();
        server.try_put("/v1/catalog/register", &body).is_some_and(|reply| reply.status == 200)
    };
    assert!(write(0, &dc.servers[0]));
    let started = Instant::now();
    leader.signal(if killed { "KILL" } else { "TERM" });
    let (mut last, mut longest, mut number) = (started, Duration::ZERO, 1);
    while started.elapsed() < Duration::from_secs(5) {
        number += 1;
        if write(number, &dc.servers[number % 2]) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    ms(longest.max(last.elapsed()))
}
