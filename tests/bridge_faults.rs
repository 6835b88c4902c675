//! What befalls the way to another datacenter, on real processes: whatever is cut, lost, killed or
//! frozen, stale-allowed reads go on with their true age, others fail with the cause, watchers miss
//! nothing, and when it is over everything is fresh.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rig::story::{self, Story, told_age};
use rig::wan::{Federation, Heading, Sizes};
use rig::{Agent, Datacenter, Plan, Reply, wait_until};
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the failure of a read may take: the promise is 2 s, the rest is for a machine that is
/// busy with other tests.
const FAILS_WITHIN: Duration = Duration::from_secs(8);
/// How long a cut lasts: longer than links live in silence, twice over.
const CUT: Duration = Duration::from_secs(5);
/// Drives which servers hang for how long; another one is another story.
const SEED: u64 = 20_261_125;
const FULL: Sizes = Sizes { near_servers: 3, near_clients: 1, far_servers: 3 };
const SMALL: Sizes = Sizes { near_servers: 1, near_clients: 0, far_servers: 1 };
/// A query that nobody asks unless a test says so.
const RARE: &str = "/v1/catalog/service/counter?dc=dc2";

fn addresses(agents: &[Agent]) -> Vec<Ipv4Addr> {
    agents.iter().map(|agent| agent.plan.address).collect()
}

/// Tells a story that every agent of dc1 takes part in.
fn tell(federation: &Federation, events: impl FnOnce(&Story)) {
    let agents: Vec<&Agent> = federation.near.agents().collect();
    Story::tell(&agents, addresses(&federation.far.servers), events);
}

/// A read that needs dc2 fails in time, with Consul's text and the cause.
fn fails(agent: &Agent, path: &str) -> Reply {
    let started = Instant::now();
    let reply = agent.get(path);
    let took = started.elapsed();
    assert_eq!(reply.status, 500, "{}: {path}: {}", agent.plan.name, reply.body);
    assert!(reply.body.contains("Remote DC has no server currently reachable"), "{path}: {}", reply.body);
    assert!(reply.header("X-Kontor-Reason").contains("unreachable"), "{path}: {:?}", reply.headers);
    assert!(took < FAILS_WITHIN, "{}: {path} failed after {took:?}", agent.plan.name);
    reply
}

/// A read from memory, as of a time before `cut`; it says so.
fn is_old(agent: &Agent, path: &str, cut: Instant) -> Duration {
    let since = cut.elapsed();
    let reply = agent.get(path);
    assert_eq!(reply.status, 200, "{}: {path}: {} {:?}", agent.plan.name, reply.body, reply.headers);
    let age = told_age(&reply);
    assert!(age >= since, "{}: {path} is cut off for {since:?} and says {age:?}", agent.plan.name);
    let seconds = Duration::from_secs(reply.header("Age").parse().unwrap());
    assert!(seconds >= age, "{path}: Age {seconds:?} for {age:?}");
    age
}

/// Waits until everything that is asked of `agent` is of a time after `healed`.
fn is_fresh_again(agent: &Agent, healed: Instant) {
    wait_until("the leader over there answers", || (agent.get(&story::path("")).status == 200).then_some(()));
    for path in [story::path("&stale"), story::path("&cached"), format!("{RARE}&stale"), format!("{RARE}&cached")] {
        wait_until("it is fresh", || {
            let reply = agent.get(&path);
            assert_eq!(reply.status, 200, "{}", reply.body);
            (told_age(&reply) <= healed.elapsed()).then_some(())
        });
    }
    eprintln!("{}: all is fresh {:?} after it was healed", agent.plan.name, healed.elapsed());
}

/// Cuts the way as told: memory answers, the rest fails, and it ends when it is healed.
fn is_cut(headings: &[Heading]) {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), FULL);
    let Federation { near, wan, .. } = &federation;
    tell(&federation, |story| {
        // One server alone holds this one.
        assert_eq!(near.servers[0].get(&format!("{RARE}&stale")).status, 200);
        headings.iter().for_each(|heading| wan.cut(*heading));
        let cut = Instant::now();
        story.reads_go_on_for(CUT);
        for agent in near.agents() {
            let first = is_old(agent, &story::path("&stale"), cut);
            let second = is_old(agent, &story::path("&cached"), cut);
            // A client agent adds to what a server tells how long that may have been under way, which is
            // more for one answer than for another: its word is never too low, and may go back.
            if near.servers.iter().any(|server| server.pid() == agent.pid()) {
                assert!(second >= first, "{}: it grows older and says so: {first:?}, {second:?}", agent.plan.name);
            }
            assert_eq!(agent.get(&story::path("&stale")).header("X-Cache"), "HIT");
            // Of a neighbour, wherever it was never asked for.
            is_old(agent, &format!("{RARE}&stale"), cut);
            is_old(agent, &format!("{RARE}&cached"), cut);
            for mode in ["", "&consistent"] {
                fails(agent, &story::path(mode));
            }
            // Known to nobody.
            fails(agent, "/v1/catalog/services?dc=dc2&stale");
            // Known to everybody, and too old.
            let reply = agent.get(&story::path("&stale&max_stale=1s"));
            assert_eq!(reply.status, 500, "{}", reply.body);
            assert!(!reply.header("X-Kontor-Reason").is_empty(), "{:?}", reply.headers);
            assert_eq!(agent.get("/v1/catalog/nodes").json().as_array().unwrap().len(), 4, "dc1 does not notice");
        }
        wan.heal();
        let healed = Instant::now();
        std::thread::scope(|scope| near.agents().for_each(|agent| _ = scope.spawn(move || is_fresh_again(agent, healed))));
    });
}

#[test]
fn cut_both_ways_memory_answers_and_the_rest_fails() {
    is_cut(&[Heading::ToFar, Heading::ToNear]);
}

#[test]
fn cut_on_the_way_there_memory_answers_and_the_rest_fails() {
    is_cut(&[Heading::ToFar]);
}

#[test]
fn cut_on_the_way_back_memory_answers_and_the_rest_fails() {
    is_cut(&[Heading::ToNear]);
}

#[test]
fn what_is_stale_by_default_and_how_old_it_may_be_is_for_the_operator_to_say() {
    let root = tempfile::tempdir().unwrap();
    let settings = json!({"bridge": {"stale_by_default": ["health"], "max_stale": "8s"}});
    let federation = Federation::start_with(root.path(), SMALL, &settings);
    let near = &federation.near.servers[0];
    let (meant, other) = ("/v1/health/service/consul?dc=dc2", "/v1/catalog/service/consul?dc=dc2");
    wait_until("it comes from memory", || (near.get(meant).header("X-Cache") == "HIT").then_some(()));
    assert_eq!(near.get(other).header("X-Cache"), "", "of other endpoints nothing was said");
    federation.wan.cut_both_ways();
    fails(near, other);
    let refused = wait_until("it is too old", || {
        let reply = near.get(meant);
        let is_told = reply.status == 200;
        // The bound, and what may pass between the look at it and the answer.
        assert!(!is_told || told_age(&reply) <= Duration::from_secs(9), "{:?}", reply.headers);
        (!is_told).then_some(reply)
    });
    assert_eq!(refused.status, 500, "{}", refused.body);
    assert!(refused.header("X-Kontor-Reason").contains("the best known answer is"), "{:?}", refused.headers);
    assert_eq!(near.get(&format!("{meant}&max_stale=1h")).status, 500, "who asks cannot have it older");
    federation.wan.heal();
    wait_until("it is given again", || (near.get(meant).status == 200).then_some(()));
}

#[test]
fn a_way_that_loses_and_shuffles_packets_is_only_slower() {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), FULL);
    tell(&federation, |story| {
        federation.wan.set(|weather| {
            (weather.delay, weather.jitter) = (Duration::from_millis(20), Duration::from_millis(10));
            weather.loss_percent = 5.0;
        });
        for _ in 0..20 {
            for agent in federation.near.agents() {
                wait_until("an answer of the leader over there", || (agent.get(&story::path("")).status == 200).then_some(()));
            }
            story.is_fresh();
        }
    });
}

#[test]
fn a_way_that_comes_and_goes_is_taken_whenever_it_is_there() {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), FULL);
    tell(&federation, |story| {
        let mut rng = StdRng::seed_from_u64(SEED);
        for round in 0..8 {
            let heading = if round % 2 == 0 { Heading::ToFar } else { Heading::ToNear };
            federation.wan.cut(heading);
            // Some cuts are too short to be noticed by a link, some are not.
            std::thread::sleep(Duration::from_millis(rng.random_range(100..4_000)));
            federation.wan.heal();
            story.is_fresh();
        }
    });
}

#[test]
fn when_the_server_of_the_live_link_is_killed_the_standby_takes_over() {
    let root = tempfile::tempdir().unwrap();
    let mut federation = Federation::start(root.path(), FULL);
    let live = live_link(&federation);
    let agents: Vec<&Agent> = federation.near.agents().collect();
    let killed = federation.far.servers.remove(live);
    let (plan, mut again) = (killed.plan.clone(), Vec::new());
    Story::tell(&agents, addresses(&federation.far.servers), |story| {
        killed.kill();
        story.is_fresh();
        for agent in &agents {
            wait_until("the leader over there answers", || (agent.get(&story::path("")).status == 200).then_some(()));
        }
        again.push(plan.start());
        again[0].wait_for_leader();
    });
}

#[test]
fn when_the_live_link_is_cut_and_comes_back_watchers_miss_nothing() {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), FULL);
    tell(&federation, |story| {
        for _ in 0..4 {
            let live = live_link(&federation);
            federation.wan.before_far[live].set(|weather| (weather.cut_there, weather.cut_back) = (true, true));
            story.reads_go_on_for(CUT);
            story.is_fresh();
            federation.wan.heal();
            story.is_fresh();
        }
    });
}

#[test]
fn the_loss_of_the_leader_over_there_is_not_noticed_by_stale_reads() {
    let root = tempfile::tempdir().unwrap();
    let mut federation = Federation::start(root.path(), FULL);
    let leader = federation.far.leader();
    let agents: Vec<&Agent> = federation.near.agents().collect();
    let killed = federation.far.servers.remove(leader);
    Story::tell(&agents, addresses(&federation.far.servers), |story| {
        killed.kill();
        story.is_fresh();
        for agent in &agents {
            wait_until("the new leader answers", || (agent.get(&story::path("")).status == 200).then_some(()));
        }
    });
}

#[test]
fn without_a_local_quorum_everything_about_the_other_datacenter_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let mut federation = Federation::start(root.path(), FULL);
    let lost: Vec<Agent> = federation.near.servers.drain(1..).collect();
    let Federation { near, wan, .. } = &federation;
    tell(&federation, |story| {
        // Held by others too, which are gone when it is asked for.
        assert_eq!(near.clients[0].get(&format!("{RARE}&stale")).status, 200);
        lost.into_iter().for_each(Agent::kill);
        wait_until("the local leader is lost", || (near.servers[0].get("/v1/status/leader").body == "\"\"").then_some(()));
        story.is_fresh();
        for agent in near.agents() {
            wait_until("the leader over there answers", || (agent.get(&story::path("")).status == 200).then_some(()));
        }
        wan.cut_both_ways();
        let cut = Instant::now();
        story.reads_go_on_for(CUT);
        for agent in near.agents() {
            is_old(agent, &story::path("&stale"), cut);
            fails(agent, &story::path(""));
        }
        wan.heal();
        story.is_fresh();
    });
}

#[test]
fn a_datacenter_that_freezes_for_three_seconds_is_answered_for_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), FULL);
    tell(&federation, |story| {
        let frozen = &federation.far.servers;
        frozen.iter().for_each(|server| server.signal("STOP"));
        story.reads_go_on_for(Duration::from_secs(3));
        frozen.iter().for_each(|server| server.signal("CONT"));
        story.is_fresh();
        for agent in federation.near.agents() {
            wait_until("the leader over there answers", || (agent.get(&story::path("")).status == 200).then_some(()));
        }
    });
}

#[test]
fn servers_that_hang_and_wake_over_there_vouch_for_nothing_old() {
    let root = tempfile::tempdir().unwrap();
    let federation = Federation::start(root.path(), FULL);
    tell(&federation, |story| {
        let mut rng = StdRng::seed_from_u64(SEED);
        for _ in 0..10 {
            let hung = &federation.far.servers[rng.random_range(0..3)];
            hung.signal("STOP");
            std::thread::sleep(Duration::from_millis(rng.random_range(200..3_500)));
            hung.signal("CONT");
            story.is_fresh();
        }
    });
}

#[test]
fn a_datacenter_that_restarts_at_new_addresses_is_followed_there() {
    let root = tempfile::tempdir().unwrap();
    let near = Plan::server(root.path(), "dc1", "s1", 1).start();
    let join_near = |plan: &Plan| if plan.name == "s1" { plan.clone().join_wan(&[&near.plan]) } else { plan.clone() };
    let far: Vec<Agent> = Datacenter::plans(root.path(), "dc2").iter().map(|plan| join_near(plan).start()).collect();
    near.wait_for_leader();
    near.wait_for("/v1/catalog/nodes?dc=dc2", |rows| rows.as_array().unwrap().len() == 3);
    let mut again = Vec::new();
    Story::tell(&[&near], addresses(&far), |story| {
        let moved: Vec<Plan> = far.iter().map(|server| server.plan.moved()).collect();
        far.into_iter().for_each(Agent::kill);
        story.reads_go_on_for(CUT);
        fails(&near, &story::path(""));
        let known: Vec<&Plan> = moved.iter().collect();
        let start_among = |plan: &Plan| {
            let mut plan = plan.clone();
            plan.flags.retain(|flag| !flag.starts_with("-retry-join="));
            plan.join(&known).start()
        };
        again.extend(moved.iter().map(start_among));
        story.far_is_at(addresses(&again));
        wait_until("its leader answers", || (near.get(&story::path("")).status == 200).then_some(()));
        story.is_fresh();
    });
}

#[test]
fn another_cluster_under_the_same_name_replaces_everything_and_wakes_who_waits() {
    let root = tempfile::tempdir().unwrap();
    let Federation { near, mut far, wan: _wan } = Federation::start(root.path(), SMALL);
    let near = &near.servers[0];
    let register = |server: &Agent, port: u16| {
        let body = json!({"Node": "external", "Address": "10.9.8.7", "Service": {"Service": "db", "Port": port}}).to_string();
        wait_until("it is registered", || server.try_put("/v1/catalog/register", &body).filter(|reply| reply.status == 200));
    };
    // Its index is to be far ahead of what the next cluster reaches.
    (1..=40).for_each(|port| register(&far.servers[0], port));
    let path = "/v1/catalog/service/db?dc=dc2&stale";
    near.wait_for(path, |rows| rows[0]["ServicePort"] == 40);
    let index = near.get(path).index();
    let old = far.servers.remove(0);
    let plan = old.plan.clone();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| near.get(&format!("{path}&index={index}&wait=25s")));
        old.kill();
        forget_all_but_the_key(&plan.data_dir);
        far.servers.push(plan.start());
        far.servers[0].wait_for_leader();
        register(&far.servers[0], 7);
        let reply = waiting.join().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
    });
    let rows = near.wait_for(path, |rows| rows[0]["ServicePort"] == 7);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert!(near.get(path).index() < index, "the index is the new cluster's");
    // A watcher that comes with the old index does not wait for the new cluster to get that far.
    let late = near.get(&format!("{path}&index={index}&wait=20s"));
    assert_eq!(late.json()[0]["ServicePort"], 7);
}

/// A new cluster at the same place: the key and the settings stay, so that its entry elsewhere does.
fn forget_all_but_the_key(data_dir: &Path) {
    for entry in std::fs::read_dir(data_dir).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "bridge-key.pem" | "settings.json" => {}
            _ if path.is_dir() => std::fs::remove_dir_all(path).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }
}

/// The far server that the first server of dc1 asks first.
fn live_link(federation: &Federation) -> usize {
    federation.wan.busiest_far(|| {
        for _ in 0..40 {
            wait_until("an answer", || (federation.near.servers[0].get(&story::path("")).status == 200).then_some(()));
        }
    })
}
