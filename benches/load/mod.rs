//! A closed-loop HTTP/1.1 load: every connection sends its next request when the last answer is
//! read whole. Used against agents and against the ceiling alike. Beside it an open loop
//! ([`paced`]) and watchers that stay ([`watch`]).
#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Answers a second.
    pub rate: f64,
    /// Median time of an answer.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Answers with another status than 200.
    pub failed: usize,
}

/// Makes the requests of one connection: the bytes of the `n`th.
pub type Requests = Arc<dyn Fn(usize, usize) -> Vec<u8> + Send + Sync>;

/// The same GET always.
pub fn get(path: &str) -> Requests {
    let bytes = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes();
    Arc::new(move |_, _| bytes.clone())
}

/// Loads `addr` over `connections` for `time`, on a runtime of one thread.
pub fn run(addr: SocketAddr, connections: usize, time: Duration, requests: &Requests) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = Instant::now();
    let results: Vec<(Vec<Duration>, usize)> = runtime.block_on(async {
        let tasks: Vec<_> =
            (0..connections).map(|number| tokio::spawn(connection(addr, number, started + time, Arc::clone(requests)))).collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    });
    sum_up(results, started.elapsed())
}

/// Asks `addr` so many times a second for `time`, however long the answers take: over `connections`
/// in turn, each answer timed from when its request was due.
pub fn paced(addr: SocketAddr, connections: u32, per_second: u32, time: Duration, requests: &Requests) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = Instant::now();
    let results = runtime.block_on(async {
        let apart = Duration::from_secs(1) / per_second;
        let tasks: Vec<_> = (0..connections)
            .map(|number| {
                let (first, requests) = (started + apart * number, Arc::clone(requests));
                tokio::spawn(paced_connection(addr, first, apart * connections, started + time, requests))
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    });
    sum_up(results, started.elapsed())
}

fn sum_up(results: Vec<(Vec<Duration>, usize)>, elapsed: Duration) -> Run {
    let failed = results.iter().map(|(_, failed)| failed).sum();
    let mut times: Vec<Duration> = results.into_iter().flat_map(|(times, _)| times).collect();
    times.sort_unstable();
    Run { rate: times.len() as f64 / elapsed.as_secs_f64(), p50: percentile(&times, 0.5), p99: percentile(&times, 0.99), failed }
}

/// What this part of sorted times does not exceed.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or_default()
}

async fn paced_connection(
    addr: SocketAddr,
    first: Instant,
    apart: Duration,
    end: Instant,
    requests: Requests,
) -> (Vec<Duration>, usize) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut times, mut failed, mut buffer, mut due) = (Vec::new(), 0, vec![0; 256 * 1024], first);
    for count in 0.. {
        if due >= end {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        socket.write_all(&requests(0, count)).await.unwrap();
        if answer(&mut socket, &mut buffer).await != 200 {
            failed += 1;
        }
        times.push(due.elapsed());
        due += apart;
    }
    (times, failed)
}

async fn connection(addr: SocketAddr, number: usize, end: Instant, requests: Requests) -> (Vec<Duration>, usize) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut times, mut failed, mut buffer) = (Vec::new(), 0, vec![0; 256 * 1024]);
    for count in 0.. {
        let started = Instant::now();
        if started >= end {
            break;
        }
        socket.write_all(&requests(number, count)).await.unwrap();
        if answer(&mut socket, &mut buffer).await != 200 {
            failed += 1;
        }
        times.push(started.elapsed());
    }
    (times, failed)
}

/// Reads one answer to its end; the status.
async fn answer(socket: &mut TcpStream, buffer: &mut [u8]) -> u16 {
    let mut filled = 0;
    let head_end = loop {
        let count = socket.read(&mut buffer[filled..]).await.unwrap();
        assert!(count > 0, "the server hung up");
        filled += count;
        if let Some(at) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = std::str::from_utf8(&buffer[..head_end]).unwrap();
    let status = head[9..12].parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
        .map_or(0, |(_, value)| value.trim().parse::<usize>().unwrap());
    let mut missing = (head_end + length).saturating_sub(filled);
    while missing > 0 {
        let end = missing.min(buffer.len());
        let count = socket.read(&mut buffer[..end]).await.unwrap();
        assert!(count > 0, "the server hung up");
        missing -= count;
    }
    status
}

/// The median of some numbers, and the least and greatest.
pub fn spread(mut numbers: Vec<f64>) -> (f64, f64, f64) {
    numbers.sort_by(f64::total_cmp);
    (numbers[numbers.len() / 2], numbers[0], numbers[numbers.len() - 1])
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
