//! What `?dc=dc2` costs above a local read: two datacenters on loopback, warm link, one
//! connection, five interleaved pairs.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed measure")]

mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::Plan;
use std::net::SocketAddr;
use std::time::Duration;

const PAIRS: usize = 5;
const TIME: Duration = Duration::from_secs(2);

fn main() {
    let root = tempfile::tempdir().unwrap();
    let dc1 = Plan::server(root.path(), "dc1", "s1", 1);
    let dc2 = Plan::server(root.path(), "dc2", "s1", 1).join_wan(&[&dc1]);
    let (near, far) = (dc1.start(), dc2.start());
    for agent in [&near, &far] {
        agent.wait_for_leader();
        agent.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 1);
        agent.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 1);
    }
    let addr = SocketAddr::from((near.plan.address, 8500));
    let (local, remote) = (load::get("/v1/catalog/nodes"), load::get("/v1/catalog/nodes?dc=dc2"));
    let mut above = Vec::new();
    for pair in 1..=PAIRS {
        let here = load::run(addr, 1, TIME, &local);
        let there = load::run(addr, 1, TIME, &remote);
        assert_eq!(here.failed + there.failed, 0);
        above.push(load::ms(there.p50) - load::ms(here.p50));
        println!(
            "pair {pair}: local p50 {:.3} ms p99 {:.3} ms, ?dc=dc2 p50 {:.3} ms p99 {:.3} ms",
            load::ms(here.p50),
            load::ms(here.p99),
            load::ms(there.p50),
            load::ms(there.p99)
        );
    }
    let (median, least, most) = load::spread(above);
    println!("?dc=dc2 above local at p50: median {median:.3} ms ({least:.3} to {most:.3}), bar 0.3 ms");
}
