//! Checks that an agent runs: what 5,000 of them cost and whether they come on time; how long a dead
//! target stays in `passing` answers.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use load::{ms, spread};
use rig::{Agent, Datacenter, Plan, wait_until};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const CHECKS: usize = 5_000;
const INTERVAL: Duration = Duration::from_secs(10);
/// An agent that has just started pushes every first status to the catalog; that is not measured.
const WARM: Duration = Duration::from_secs(30);
const TIME: Duration = Duration::from_secs(60);
const DEATHS: usize = 20;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell";

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let [mode, addr, count] = &chosen[..]
        && mode == "bare-loop"
    {
        return bare_loop(addr.parse().unwrap(), count.parse().unwrap());
    }
    let wanted = |name: &str| chosen.iter().all(|one| one == "short") || chosen.iter().any(|one| one == name);
    let short = chosen.iter().any(|one| one == "short");
    if wanted("load") {
        load(short);
    }
    if wanted("death") {
        death(if short { 3 } else { DEATHS });
    }
}

/// The same requests without checks around them: as many tasks, each of which connects, asks, reads
/// to the end and sleeps.
fn bare_loop(addr: SocketAddr, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0..count {
            tokio::spawn(async move {
                let request = format!(
                    "GET /{number} HTTP/1.1\r\nuser-agent: Consul Health Check\r\naccept: text/plain, text/*, */*\r\nconnection: close\r\nhost: {addr}\r\n\r\n"
                );
                tokio::time::sleep(INTERVAL * number as u32 / count as u32).await;
                loop {
                    let mut stream = TcpStream::connect(addr).await.unwrap();
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let mut answer = Vec::with_capacity(256);
                    while !answer.ends_with(b"well") {
                        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
                    }
                    drop(stream);
                    tokio::time::sleep(INTERVAL).await;
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

/// A process that is killed when dropped.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Answers requests and tells when each came, by the path asked for. A thread of its own, so that the
/// times are those of the arrival.
fn target() -> (SocketAddr, mpsc::UnboundedReceiver<(usize, Instant)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let (bound_tx, bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound_tx.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (tell, at) = (tell.clone(), Instant::now());
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&request[..read]);
                    let path = text.split(' ').nth(1).and_then(|path| path.get(1..)).and_then(|path| path.parse().ok());
                    if let Some(number) = path {
                        _ = tell.send((number, at));
                    }
                    _ = stream.write_all(ANSWER).await;
                });
            }
        });
    });
    (bound.recv().unwrap(), told)
}

/// Seconds of processor time that a process has used, in the kernel too.
fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = &stat[stat.rfind(')').unwrap() + 2..];
    let ticks = |field: usize| after.split(' ').nth(field).unwrap().parse::<f64>().unwrap();
    // Linux counts in hundredths for everybody but itself.
    (ticks(11) + ticks(12)) / 100.0
}

/// Processor time of the process over `time`, in parts of one core.
fn share(pid: u32, time: Duration) -> f64 {
    let (before, started) = (processor(pid), Instant::now());
    std::thread::sleep(time);
    (processor(pid) - before) / started.elapsed().as_secs_f64()
}

fn agent_with(checks: Vec<Value>, root: &std::path::Path, name: &str) -> Agent {
    let settings = json!({"checks": checks, "log_level": "INFO"});
    let agent = Plan::server(root, "dc1", name, 1).settings(&settings).start();
    agent.wait_for_leader();
    agent
}

fn load(short: bool) {
    let (count, warm, time) = if short { (500, INTERVAL * 2, INTERVAL * 2) } else { (CHECKS, WARM, TIME) };
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (addr, mut told) = target();
    // As many checks that nobody runs: what an agent does for its registrations is not the checks' cost.
    let idle = (0..count).map(|number| json!({"name": format!("c{number}"), "ttl": "1h", "status": "passing"})).collect();
    let probing = (0..count)
        .map(|number| json!({"name": format!("c{number}"), "http": format!("http://{addr}/{number}"), "interval": "10s"}))
        .collect();

    let agent = agent_with(idle, root.path(), "idle");
    std::thread::sleep(warm);
    let idle = share(agent.pid(), time);
    agent.kill();

    let bare = Command::new(std::env::current_exe().unwrap())
        .args(["bare-loop", &addr.to_string(), &count.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .map(Bare)
        .unwrap();
    std::thread::sleep(warm);
    let floor = share(bare.0.id(), time);
    drop(bare);

    let agent = agent_with(probing, root.path(), "probing");
    std::thread::sleep(warm);
    while told.try_recv().is_ok() {}
    let (began, probing) = (Instant::now(), share(agent.pid(), time));
    let mut times: HashMap<usize, Vec<Instant>> = HashMap::new();
    while let Ok((number, at)) = told.try_recv() {
        times.entry(number).or_default().push(at);
    }
    agent.kill();

    let beyond = probing - idle - floor;
    println!(
        "{count} HTTP checks every 10 s: {:.1} % of a core, of that {:.1} % a bare loop of the same requests and {:.1} % the agent with as many checks that nobody runs; beyond both {:.1} %, bar 25 %",
        probing * 100.0,
        floor * 100.0,
        idle * 100.0,
        beyond * 100.0
    );
    punctuality(&times, count, began);
}

/// How evenly the runs were spread over an interval, and how late the latest was.
fn punctuality(times: &HashMap<usize, Vec<Instant>>, count: usize, began: Instant) {
    assert_eq!(times.len(), count, "every check has run");
    let mut a_second = [0_usize; 10];
    let mut late = Vec::new();
    for runs in times.values() {
        a_second[runs[0].duration_since(began).as_secs().min(9) as usize] += 1;
        // The next run is due an interval after the end of this one, which is all but its start here.
        late.extend(runs.windows(2).map(|pair| ms(pair[1].duration_since(pair[0]).saturating_sub(INTERVAL))));
    }
    let (median, _, most) = spread(late);
    let (least, greatest) = (a_second.iter().min().unwrap(), a_second.iter().max().unwrap());
    println!("runs late: median {median:.1} ms, at most {most:.1} ms, bar 1000 ms (10 % of the interval)");
    println!("runs in each second of an interval: {least} to {greatest}, {} if they were even", count / 10);
}

/// From the death of a target until no `passing` answer names it, as somebody sees it who waits on
/// another server.
fn death(times: usize) {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 1);
    let (client, server) = (&dc.clients[0], &dc.servers[(dc.leader() + 1) % 3]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut took = Vec::new();
    for number in 0..times {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                _ = stream.read(&mut [0; 1024]).await;
                _ = stream.write_all(ANSWER).await;
            }
        });
        let name = format!("web{number}");
        let check = json!({"HTTP": format!("http://{addr}/"), "Interval": "1s", "Timeout": "1s"});
        let reply = client.put("/v1/agent/service/register", &json!({"Name": name, "Check": check}).to_string());
        assert_eq!(reply.status, 200, "{}", reply.body);
        let path = format!("/v1/health/service/{name}?passing");
        let alive = |reply: &rig::Reply| reply.json().as_array().is_some_and(|all| !all.is_empty());
        wait_until("it passes", || server.try_get(&path).filter(alive));
        // Somewhere in the interval, so that the deaths are not all at the same distance from a run.
        std::thread::sleep(Duration::from_millis(1000 + 1000 * number as u64 / times as u64));
        let index = server.get(&path).index();
        let died = Instant::now();
        accepting.abort();
        let mut answer = server.get(&format!("{path}&index={index}&wait=10s"));
        while alive(&answer) {
            answer = server.get(&format!("{path}&index={}&wait=10s", answer.index()));
        }
        took.push(ms(died.elapsed()));
        client.put(&format!("/v1/agent/service/deregister/{name}"), "");
    }
    let (median, least, most) = spread(took);
    println!("death of a target to a passing answer without it: median {median:.0} ms ({least:.0} to {most:.0}), bar 1200 ms");
}
