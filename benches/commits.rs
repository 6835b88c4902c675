//! Registrations a second: 64 connections, three servers, every one acknowledged after an fsync on
//! a quorum; with the floor of the disk beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::Datacenter;
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
const RUNS: usize = 5;
const TIME: Duration = Duration::from_secs(4);

fn main() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 0);
    let leader = SocketAddr::from((dc.servers[dc.leader()].plan.address, 8500));
    let mut rates = Vec::new();
    for run in 1..=RUNS {
        let floor = fdatasync_floor(root.path());
        let requests: load::Requests = Arc::new(move |connection, count| {
            // A catalog that grows as real ones do: ten services a node, many names, some dozens of
            // instances each.
            let body = json!({"Node": format!("node-{run}-{connection}-{}", count / 10), "Address": "10.0.0.1",
                "Service": {"ID": format!("service-{}", count % 10), "Service": format!("load-{connection}-{}", count % 100), "Port": 80}})
            .to_string();
            format!("PUT /v1/catalog/register HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .into_bytes()
        });
        let result = load::run(leader, CONNECTIONS, TIME, &requests);
        assert_eq!(result.failed, 0);
        rates.push(result.rate);
        println!(
            "run {run}: {:.0} registrations/s, p50 {:.2} ms, p99 {:.2} ms; fdatasync floor {:.0} µs",
            result.rate,
            load::ms(result.p50),
            load::ms(result.p99),
            floor.as_secs_f64() * 1e6
        );
    }
    let (median, least, most) = load::spread(rates);
    println!("commits: median {median:.0}/s ({least:.0} to {most:.0}), bar 8000/s");
}

/// The median time of appending 300 bytes and forcing them to the disk.
fn fdatasync_floor(root: &Path) -> Duration {
    let mut file = std::fs::File::create(root.join("floor")).unwrap();
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 300]).unwrap();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
