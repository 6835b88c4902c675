//! Reads of another datacenter: from memory, over a long link, watched by thousands, with the other
//! side gone. The two meet through relays alone, which make the link what it is and count its bytes.
//!
//! `cargo bench --bench feeds -- cached far` runs these parts only; `short` makes them quicker and
//! says less.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod blackhole;
mod cached;
mod far;
#[path = "../load/mod.rs"]
mod load;
mod parked;
#[path = "../../tests/rig/mod.rs"]
mod rig;
mod watchers;

use rig::Agent;
use rig::wan::{Federation, Sizes};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// What agents have: the ceiling shall differ from them in nothing else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Interleaved pairs of each ratio.
const PAIRS: usize = 5;
/// One way of the long link.
const ONE_WAY: Duration = Duration::from_millis(25);
/// Instances of the service that is read.
const INSTANCES: usize = 50;
/// One server on each side.
const LONE: Sizes = Sizes { near_servers: 1, near_clients: 0, far_servers: 1 };
/// One that asks, three that answer.
const THREE_FAR: Sizes = Sizes { near_servers: 1, near_clients: 0, far_servers: 3 };

/// Measures and prints; quicker when told so.
type Part = fn(bool);

fn main() {
    if let Some(addr) = std::env::var_os("CEILING_ADDR") {
        return parked::ceiling(addr.into_string().unwrap().parse().unwrap());
    }
    raise_file_limit();
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let short = chosen.iter().any(|one| one == "short");
    let parts: Vec<&String> = chosen.iter().filter(|one| *one != "short").collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|one| *one == name);
    let all: [(&str, Part); 5] = [
        ("cached", cached::measure),
        ("far", far::measure),
        ("watchers", watchers::measure),
        ("blackhole", blackhole::measure),
        ("parked", parked::measure),
    ];
    for part in &parts {
        assert!(
            all.iter().any(|(name, _)| name == part),
            "expected some of {:?} or short, got {part:?}",
            all.map(|(name, _)| name)
        );
    }
    for (_, measure) in all.iter().filter(|(name, _)| wanted(name)) {
        measure(short);
    }
}

/// Thousands of connections need as many files; what this process may open, its agents may.
fn raise_file_limit() {
    if std::env::var_os("FILE_LIMIT_RAISED").is_none() {
        let error = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(std::env::args_os().skip(1))
            .env("FILE_LIMIT_RAISED", "1")
            .exec();
        panic!("not run again with more files: {error}");
    }
}

/// The two datacenters, with room for thousands of connections from one address.
fn federation(root: &std::path::Path, sizes: Sizes) -> Federation {
    Federation::start_with(root, sizes, &json!({"limits": {"http_max_conns_per_client": 20_000}}))
}

/// Where the server of dc1 answers.
fn api(agent: &Agent) -> SocketAddr {
    SocketAddr::from((agent.plan.address, 8500))
}

/// Registers the service that is read, and waits until it is whole everywhere.
fn register_web(federation: &Federation) {
    for (agent, dc) in [(&federation.near.servers[0], "dc1"), (&federation.far.servers[0], "dc2")] {
        for number in 0..INSTANCES {
            assert_eq!(agent.put("/v1/catalog/register", &instance(number)).body, "true");
        }
        let whole = |rows: &Value| rows.as_array().unwrap().len() == INSTANCES;
        for mode in ["", "&stale"] {
            federation.near.servers[0].wait_for(&format!("/v1/health/service/web?dc={dc}{mode}"), whole);
        }
    }
}

fn instance(number: usize) -> String {
    let body = json!({
        "Node": format!("node-{number}"), "Address": format!("10.0.0.{number}"),
        "Service": {"ID": format!("web-{number}"), "Service": "web", "Port": 8080, "Tags": ["v1", "production"],
            "Meta": {"version": "1.4.2"}},
        "Checks": [{"Name": "Service 'web' check", "CheckID": format!("service:web-{number}"),
            "ServiceID": format!("web-{number}"), "Status": "passing", "Output": "HTTP GET http://10.0.0.1:8080/health: 200 OK"}],
    });
    body.to_string()
}

/// Feeds of dc2 that stand at this agent; nothing when it does not tell.
fn feeds(agent: &Agent) -> Option<u64> {
    let reply = agent.try_get("/v1/federation").filter(|reply| reply.status == 200)?.json();
    let datacenter = reply["Datacenters"].as_array()?.iter().find(|one| one["Name"] == "dc2")?.clone();
    datacenter["Feeds"]["Standing"].as_u64()
}

/// Prints median and spread.
fn print(what: &str, numbers: Vec<f64>, digits: usize, bar: &str) {
    let (median, least, most) = load::spread(numbers);
    println!("{what}: median {median:.digits$} ({least:.digits$} to {most:.digits$}), bar {bar}");
}
