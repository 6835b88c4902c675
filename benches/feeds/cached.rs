//! A read of dc2 from memory against the same read of local data: one agent, the same load.

use super::load::{self, ms};
use super::{LONE, PAIRS, api, federation, print, register_web};
use std::time::Duration;

const CONNECTIONS: usize = 64;

pub fn measure(short: bool) {
    let time = Duration::from_secs(if short { 1 } else { 3 });
    let root = tempfile::tempdir().unwrap();
    let federation = federation(root.path(), LONE);
    register_web(&federation);
    let near = &federation.near.servers[0];
    let (local, cached) = ("/v1/health/service/web?stale", "/v1/health/service/web?dc=dc2&stale");
    let reply = near.get(cached);
    let sizes = (near.get(local).body.len(), reply.body.len());
    println!("cached: {} bytes of dc1, {} of dc2; X-Cache: {:?}", sizes.0, sizes.1, reply.header("X-Cache"));
    let (local, cached) = (load::get(local), load::get(cached));
    let (mut ratios, mut above, mut above_alone) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        let [here, there] = [&local, &cached].map(|requests| load::run(api(near), CONNECTIONS, time, requests));
        let [here_alone, there_alone] = [&local, &cached].map(|requests| load::run(api(near), 1, time, requests));
        assert_eq!(here.failed + there.failed + here_alone.failed + there_alone.failed, 0);
        ratios.push(there.rate / here.rate);
        above.push(ms(there.p50) - ms(here.p50));
        above_alone.push(ms(there_alone.p50) - ms(here_alone.p50));
        println!(
            "pair {pair}: local {:.0}/s p50 {:.3} ms (alone {:.3} ms), ?dc=dc2 {:.0}/s p50 {:.3} ms (alone {:.3} ms), ratio {:.3}",
            here.rate,
            ms(here.p50),
            ms(here_alone.p50),
            there.rate,
            ms(there.p50),
            ms(there_alone.p50),
            there.rate / here.rate
        );
    }
    print("cached ?dc=dc2&stale / local ?stale, requests a second", ratios, 3, "0.90 within the spread");
    print(&format!("cached: p50 above local, {CONNECTIONS} connections"), above, 3, "0.1 ms");
    print("cached: p50 above local, one connection", above_alone, 3, "0.1 ms");
}
