//! Voted checks: from a target's death to a `passing` answer without it, here and in another datacenter,
//! and what a catalog of stable checks writes.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use load::spread;
use rig::wan::{Federation, Sizes};
use rig::{Agent, Datacenter};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RUNS: usize = 10;
/// One way between the two datacenters.
const ONE_WAY: Duration = Duration::from_millis(25);
/// From a death to an answer without it: a plain check, a voted one.
const BARS: (Duration, Duration) = (Duration::from_millis(1_200), Duration::from_millis(1_500));
const CHECKS: usize = 5_000;
/// Of those, how many are voted on.
const VOTED: usize = 500;
/// How long the catalog is watched; longer than one round of anti-entropy.
const WATCHED: Duration = Duration::from_secs(130);

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|one| one == name);
    if wanted("death") {
        death();
        death_afar();
    }
    if wanted("idle") {
        idle();
    }
}

/// An HTTP server that can be dead: it then closes each connection unanswered.
fn target() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, dead) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let is_dead = Arc::clone(&dead);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if !is_dead.load(Ordering::SeqCst) {
                _ = stream.read(&mut [0; 2048]);
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    (addr, dead)
}

fn passing(agent: &Agent, service: &str) -> usize {
    agent.get(&format!("/v1/health/service/{service}?passing")).json().as_array().unwrap().len()
}

fn wait_for_passing(agent: &Agent, service: &str, count: usize) {
    let deadline = Instant::now() + rig::PATIENCE;
    while passing(agent, service) != count {
        assert!(Instant::now() < deadline, "{service} has not {count} passing instances");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Watches by asking every 2 ms, a client of its own that asks another agent than the owner.
fn death() {
    let root = tempfile::tempdir().unwrap();
    let datacenter = Datacenter::start(root.path(), "dc1", 2);
    let (owner, asked) = (&datacenter.clients[0], &datacenter.clients[1]);
    for observers in [0, 3, 5] {
        let times = deaths(owner, observers, |service, count| wait_for_passing(asked, service, count));
        print_death(observers, "", times, Duration::ZERO);
    }
}

/// Watches from dc1, over a long link, what dies in dc2: a blocking read that a feed answers.
fn death_afar() {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), Sizes { near_servers: 1, near_clients: 0, far_servers: 3 });
    federation.wan.set(|weather| weather.delay = ONE_WAY);
    let (owner, asked) = (&federation.far.servers[1], &federation.near.servers[0]);
    for observers in [0, 3] {
        let times = deaths(owner, observers, |service, count| watch_for_passing(asked, service, count));
        print_death(observers, &format!(", seen {ONE_WAY:?} away"), times, ONE_WAY);
    }
}

/// Waits until the answer from memory of dc2 has so many passing instances.
fn watch_for_passing(agent: &Agent, service: &str, count: usize) {
    let deadline = Instant::now() + rig::PATIENCE;
    let mut index = 0;
    loop {
        let reply = agent.get(&format!("/v1/health/service/{service}?dc=dc2&stale&passing&index={index}&wait=5s"));
        if reply.json().as_array().unwrap().len() == count {
            return;
        }
        assert!(Instant::now() < deadline, "{service} has not {count} passing instances");
        index = reply.index();
    }
}

/// Lets a target die again and again; the milliseconds each time until `see` has seen it.
fn deaths(owner: &Agent, observers: usize, see: impl Fn(&str, usize)) -> Vec<f64> {
    let name = format!("web{observers}");
    let (addr, dead) = target();
    let check = json!({"HTTP": format!("http://{addr}/"), "Interval": "1s", "Observers": observers});
    assert_eq!(owner.put("/v1/agent/service/register", &json!({"Name": name, "Check": check}).to_string()).status, 200);
    let mut times = Vec::new();
    for run in 0..RUNS {
        dead.store(false, Ordering::SeqCst);
        see(&name, 1);
        if observers > 0 {
            owner.wait_for(&format!("/v1/health/votes/service:{name}"), |told| {
                let passing = |vote: &&serde_json::Value| vote["Status"] == "passing";
                told["Votes"].as_array().is_some_and(|votes| votes.iter().filter(passing).count() == observers)
            });
        }
        // Anywhere in the interval, not always right after a probe.
        std::thread::sleep(Duration::from_millis(100 * (run as u64 + 10)));
        let began = Instant::now();
        dead.store(true, Ordering::SeqCst);
        see(&name, 0);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    owner.put(&format!("/v1/agent/service/deregister/{name}"), "");
    times
}

fn print_death(observers: usize, place: &str, times: Vec<f64>, way: Duration) {
    let (median, least, most) = spread(times);
    let bar = (if observers == 0 { BARS.0 } else { BARS.1 } + way).as_millis();
    println!(
        "death to a passing answer without it, interval 1 s, {observers} observers{place}: median {median:.0} ms ({least:.0} to {most:.0}), bar {bar} ms"
    );
}

/// The last index of the log, as the agent tells.
fn raft_index(agent: &Agent) -> u64 {
    let own = agent.get("/v1/agent/self").json();
    own["Stats"]["raft"]["last_log_index"].as_str().unwrap().parse().unwrap()
}

/// What is written in a while: log entries, and of those the last that changed a check.
fn written(datacenter: &Datacenter) -> (u64, u64) {
    let server = &datacenter.servers[0];
    let before = (raft_index(server), server.get("/v1/health/state/any").index());
    std::thread::sleep(WATCHED);
    let after = (raft_index(server), server.get("/v1/health/state/any").index());
    (after.0 - before.0, after.1 - before.1)
}

fn idle() {
    let root = tempfile::tempdir().unwrap();
    let datacenter = Datacenter::start(root.path(), "dc1", 2);
    std::thread::sleep(Duration::from_secs(10));
    let (empty, _) = written(&datacenter);
    let (addr, _dead) = target();
    let owner = &datacenter.clients[0];
    for number in 0..CHECKS / 50 {
        let checks: Vec<serde_json::Value> = (0..50)
            .map(|check| {
                let observers = if number * 50 + check < VOTED { 3 } else { 0 };
                json!({"CheckID": format!("c{number}-{check}"), "TCP": addr.to_string(), "Interval": "10s", "Observers": observers})
            })
            .collect();
        let body = json!({"Name": format!("web{number}"), "Checks": checks});
        assert_eq!(owner.put("/v1/agent/service/register", &body.to_string()).status, 200);
    }
    // Each first result is a write of its own.
    let deadline = Instant::now() + 10 * rig::PATIENCE;
    let settled = || {
        let rows = owner.get("/v1/health/state/passing").json();
        let voted = |row: &serde_json::Value| row["Output"].as_str().unwrap().starts_with("passing by vote: 3 passing");
        let rows = rows.as_array().unwrap();
        rows.len() >= CHECKS + 5 && rows.iter().filter(|row| voted(row)).count() == VOTED
    };
    while !settled() {
        assert!(Instant::now() < deadline, "the checks have not settled");
        std::thread::sleep(Duration::from_secs(1));
    }
    let (entries, checks) = written(&datacenter);
    println!(
        "idle for {WATCHED:?}: {empty} log entries without checks, {entries} with {CHECKS} stable checks of which {VOTED} are voted on; the checks' index moved by {checks}"
    );
}
