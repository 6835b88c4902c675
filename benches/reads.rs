//! Stale reads of a service with 50 instances, against an axum route that returns the same bytes
//! from memory: one process each, the same load, five interleaved pairs.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::Plan;
use serde_json::json;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

const INSTANCES: usize = 50;
const CONNECTIONS: usize = 64;
const PAIRS: usize = 5;
const TIME: Duration = Duration::from_secs(3);
const PATH: &str = "/v1/health/service/web?stale";

fn main() {
    if let Some(body) = std::env::var_os("CEILING_BODY") {
        return ceiling(std::fs::read(body).unwrap());
    }
    let root = tempfile::tempdir().unwrap();
    let server = Plan::server(root.path(), "dc1", "s1", 1).start();
    server.wait_for_leader();
    for number in 0..INSTANCES {
        let body = json!({
            "Node": format!("node-{number}"), "Address": format!("10.0.0.{number}"),
            "Service": {"ID": format!("web-{number}"), "Service": "web", "Port": 8080, "Tags": ["v1", "production"],
                "Meta": {"version": "1.4.2"}},
            "Checks": [{"Name": "Service 'web' check", "CheckID": format!("service:web-{number}"),
                "ServiceID": format!("web-{number}"), "Status": "passing", "Output": "HTTP GET http://10.0.0.1:8080/health: 200 OK"}],
        });
        assert_eq!(server.put("/v1/catalog/register", &body.to_string()).body, "true");
    }
    let reply = server.wait_for(PATH, |rows| rows.as_array().unwrap().len() == INSTANCES);
    let body = serde_json::to_string(&reply).unwrap();
    let file = root.path().join("body.json");
    std::fs::write(&file, server.get(PATH).body).unwrap();
    let ceiling_addr = SocketAddr::from((rig::address(), 8500));
    let mut ceiling = Command::new(std::env::current_exe().unwrap())
        .env("CEILING_BODY", &file)
        .env("CEILING_ADDR", ceiling_addr.to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    rig::wait_until("the ceiling listens", || std::net::TcpStream::connect(ceiling_addr).ok());

    let agent_addr = SocketAddr::from((server.plan.address, 8500));
    let requests = load::get(PATH);
    let mut ratios = Vec::new();
    println!("answer: {} bytes, {INSTANCES} instances, {CONNECTIONS} connections", body.len());
    for pair in 1..=PAIRS {
        let top = load::run(ceiling_addr, CONNECTIONS, TIME, &requests);
        let own = load::run(agent_addr, CONNECTIONS, TIME, &requests);
        assert_eq!(own.failed, 0);
        ratios.push(own.rate / top.rate);
        println!(
            "pair {pair}: axum {:.0}/s p50 {:.2} ms, kontor {:.0}/s p50 {:.2} ms p99 {:.2} ms, ratio {:.3}",
            top.rate,
            load::ms(top.p50),
            own.rate,
            load::ms(own.p50),
            load::ms(own.p99),
            own.rate / top.rate
        );
    }
    let (median, least, most) = load::spread(ratios);
    println!("stale read / axum ceiling: median {median:.3} ({least:.3} to {most:.3}), bar 0.60");
    ceiling.kill().unwrap();
    ceiling.wait().unwrap();
}

/// A bare axum server that returns `body` from memory, with the headers of an answer.
fn ceiling(body: Vec<u8>) {
    let addr: SocketAddr = std::env::var("CEILING_ADDR").unwrap().parse().unwrap();
    let body = bytes::Bytes::from(body);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async move {
        let route = axum::routing::get(move || {
            let body = body.clone();
            async move { ([("content-type", "application/json")], body) }
        });
        let app: axum::Router = axum::Router::new().route("/v1/health/service/web", route);
        let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
        axum::serve(listener, app).await.unwrap();
    });
}
