//! What a parked watcher of dc2 takes beyond an idle connection of a bare axum server, and when it is
//! given back.

use super::load::ms;
use super::load::watch::Watchers;
use super::rig::{self, Agent};
use super::{LONE, PAIRS, api, federation, print, register_web};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATH: &str = "/v1/health/service/none?dc=dc2&stale";
/// What an agent does for itself may take so many tasks more or less.
const OTHER_TASKS: i64 = 50;
/// Until memory is looked at: what was put off has been done.
const SETTLE: Duration = Duration::from_secs(2);

pub fn measure(short: bool) {
    let count = if short { 1_000 } else { 10_000 };
    let root = tempfile::tempdir().unwrap();
    let mut federation = federation(root.path(), LONE);
    register_web(&federation);
    let (mut beyond, mut back) = (Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        let idle = idle_connection(count);
        // A fresh process each time: memory that was used before would be used again and not show.
        let old = federation.near.servers.remove(0);
        let plan = old.plan.clone();
        old.kill();
        federation.near.servers.push(plan.start());
        federation.settle();
        let near = &federation.near.servers[0];
        assert_eq!(near.get(PATH).status, 200);
        std::thread::sleep(SETTLE);
        let (tasks_before, before) = (tasks(near), resident(near.pid()));
        let watchers = Watchers::start(api(near), PATH, count);
        rig::wait_until("all are parked", || (tasks(near) >= tasks_before + count as i64).then_some(()));
        std::thread::sleep(SETTLE);
        let parked = (resident(near.pid()) - before) / count as f64;
        let hung_up = Instant::now();
        drop(watchers);
        rig::wait_until("nothing is left of them", || (tasks(near) < tasks_before + OTHER_TASKS).then_some(()));
        let took = ms(hung_up.elapsed());
        let kept = (resident(near.pid()) - before) / count as f64;
        println!(
            "pair {pair}: idle connection of axum {idle:.1} KiB, parked watcher {parked:.1} KiB, back after {took:.0} ms ({kept:.1} KiB each stay with the allocator)"
        );
        beyond.push(parked - idle);
        back.push(took);
    }
    print(&format!("{count} parked watchers: KiB each beyond an idle connection of axum"), beyond, 2, "2");
    print("all tasks of the watchers ended after, in ms (looked at every 50 ms)", back, 0, "1000");
}

/// KiB that an idle connection which has had one answer takes in a bare axum server.
fn idle_connection(count: usize) -> f64 {
    let addr = SocketAddr::from((rig::address(), 8500));
    let mut server = Command::new(std::env::current_exe().unwrap())
        .env("CEILING_ADDR", addr.to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    rig::wait_until("axum listens", || std::net::TcpStream::connect(addr).ok());
    std::thread::sleep(SETTLE);
    let before = resident(server.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sockets = runtime.block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..count {
            let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
            let request = format!("GET {PATH} HTTP/1.1\r\nHost: bench\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = [0; 1_024];
            assert!(socket.read(&mut bytes).await.unwrap() > 0);
            sockets.push(socket);
        }
        sockets
    });
    std::thread::sleep(SETTLE);
    let each = (resident(server.id()) - before) / count as f64;
    drop(sockets);
    server.kill().unwrap();
    server.wait().unwrap();
    each
}

/// A bare axum server; on the same allocator as the agent.
pub fn ceiling(addr: SocketAddr) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async move {
        let route = axum::routing::get(|| async { ([("content-type", "application/json")], "[]") });
        let app: axum::Router = axum::Router::new().route("/v1/health/service/none", route);
        let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
        axum::serve(listener, app).await.unwrap();
    });
}

/// Tasks of the agent's runtime: a watcher is one for its connection and those that wait for it.
fn tasks(agent: &Agent) -> i64 {
    agent.get("/v1/agent/self").json()["Stats"]["runtime"]["goroutines"].as_str().unwrap().parse().unwrap()
}

/// KiB resident.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
