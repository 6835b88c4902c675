//! A read that needs dc2 over a long link, against the round trip of an echo through such a relay;
//! and the first read that a server ever makes.

use super::load::{self, ms};
use super::rig::relay::{Relay, Weather};
use super::rig::wan::Federation;
use super::rig::{self, Agent};
use super::{ONE_WAY, PAIRS, THREE_FAR, api, federation, print, register_web};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const ECHOES: usize = 40;
const PATH: &str = "/v1/health/service/web?dc=dc2";
/// An answer that fits into one packet; a large one takes QUIC's slow start on a new link.
const SMALL: &str = "/v1/health/service/none?dc=dc2";

pub fn measure(short: bool) {
    let time = Duration::from_secs(if short { 1 } else { 3 });
    let root = tempfile::tempdir().unwrap();
    let mut federation = federation(root.path(), THREE_FAR);
    register_web(&federation);
    let long = |weather: &mut Weather| weather.delay = ONE_WAY;
    federation.wan.set(long);
    let mut floor = Floor::new();
    floor.relay.set(long);
    let mut above = Vec::new();
    for pair in 1..=PAIRS {
        let echo = floor.round_trip();
        let read = load::run(api(&federation.near.servers[0]), 1, time, &load::get(PATH));
        assert_eq!(read.failed, 0);
        above.push(ms(read.p50) - ms(echo));
        println!("pair {pair}: echo p50 {:.3} ms, ?dc=dc2 p50 {:.3} ms p99 {:.3} ms", ms(echo), ms(read.p50), ms(read.p99));
    }
    print("uncached ?dc=dc2 above the round trip at p50", above, 3, "3 ms");
    let round_trip = floor.round_trip();
    for (path, what) in [(SMALL, "small"), (PATH, "36 KB")] {
        for (mode, kind) in [("", "default"), ("&stale", "stale")] {
            for (linked, when) in
                [(false, "as soon as the agent answers local reads"), (true, "as soon as its first link stands")]
            {
                let path = format!("{path}{mode}");
                let trips =
                    (0..PAIRS).map(|_| first_read(&mut federation, &path, linked).as_secs_f64() / round_trip.as_secs_f64());
                print(&format!("first ever {kind} read ({what}), {when}, in round trips"), trips.collect(), 2, "2");
            }
        }
    }
}

/// Starts the server of dc1 anew; how long its first read of dc2 takes.
fn first_read(federation: &mut Federation, path: &str, linked: bool) -> Duration {
    let old = federation.near.servers.remove(0);
    let plan = old.plan.clone();
    let links = |agent: &Agent| agent.log().matches("link up").count();
    let before = links(&old);
    old.kill();
    federation.near.servers.push(plan.start());
    let near = &federation.near.servers[0];
    poll(|| near.try_get("/v1/catalog/nodes").is_some_and(|reply| reply.status == 200));
    if linked {
        poll(|| links(near) > before);
    }
    let client = rig::client(rig::PATIENCE);
    let started = Instant::now();
    let reply = rig::request_by(&client, "GET", &near.url(path), None).unwrap();
    let took = started.elapsed();
    assert_eq!(reply.status, 200, "{}", reply.body);
    took
}

fn poll(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + rig::PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {:?}", rig::PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An echo behind a relay like those before the servers.
struct Floor {
    relay: Relay,
    socket: UdpSocket,
}

impl Floor {
    fn new() -> Floor {
        let any = || SocketAddr::from((rig::address(), 0));
        let echo = UdpSocket::bind(any()).unwrap();
        let relay = Relay::start(any(), echo.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 2_048];
            loop {
                let (length, sender) = echo.recv_from(&mut bytes).unwrap();
                echo.send_to(&bytes[..length], sender).unwrap();
            }
        });
        let socket = UdpSocket::bind(any()).unwrap();
        socket.connect(relay.address).unwrap();
        socket.set_read_timeout(Some(rig::PATIENCE)).unwrap();
        Floor { relay, socket }
    }

    /// The median round trip.
    fn round_trip(&mut self) -> Duration {
        let mut times: Vec<Duration> = (0..ECHOES)
            .map(|_| {
                let (started, mut bytes) = (Instant::now(), [0; 2_048]);
                self.socket.send(&[7; 200]).unwrap();
                self.socket.recv(&mut bytes).unwrap();
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        load::percentile(&times, 0.5)
    }
}
