//! What reads and writes promise while the servers of a datacenter are killed, hung, restarted,
//! added and removed: nothing acknowledged is lost, and no answer is older than it says.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rig::{Datacenter, Plan, Reply, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one request may take. An answer that does not come counts as an unknown outcome.
const REQUEST: Duration = Duration::from_secs(15);
/// Ages are told in whole milliseconds, and the clock is read around a request.
const AGE_SLACK: Duration = Duration::from_millis(5);
/// Threads that write, and as many that read.
const WRITERS: usize = 3;
/// Drives what happens to the servers; another one is another story.
const SEED: u64 = 20_261_123;

/// One number that one thread writes, ever increasing.
#[derive(Debug, Default)]
struct Register {
    /// The greatest number that was sent.
    tried: u64,
    /// The greatest number that was acknowledged or read: no later read may return less.
    floor: u64,
    /// What was acknowledged when.
    acknowledged: Vec<(Instant, u64)>,
}

/// All registers, and what is wrong with what was read from them.
#[derive(Debug, Default)]
struct History {
    registers: Mutex<BTreeMap<String, Register>>,
    acknowledged: AtomicUsize,
    read: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl History {
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Register) -> T) -> T {
        change(self.registers.lock().unwrap().entry(name.to_owned()).or_default())
    }

    fn acknowledge(&self, name: &str, number: u64) {
        self.with(name, |register| {
            register.floor = register.floor.max(number);
            register.acknowledged.push((Instant::now(), number));
        });
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Waits until `count` more writes are acknowledged, and as many reads answered.
    fn goes_on(&self, count: usize) {
        for (what, counter) in [("writes", &self.acknowledged), ("reads", &self.read)] {
            let target = counter.load(Ordering::SeqCst) + count;
            wait_until(&format!("{what} go on"), || (counter.load(Ordering::SeqCst) >= target).then_some(()));
        }
    }

    /// Writes registers one after the other, each for as long as every outcome is known: a write
    /// that was refused for certain must never show up later, one that was not may.
    fn write(&self, writer: usize, agents: &[Ipv4Addr]) {
        let (client, mut rng) = (rig::client(REQUEST), StdRng::seed_from_u64(SEED + writer as u64));
        for generation in 0.. {
            let name = format!("r{writer}-{generation:05}");
            for number in 1.. {
                if self.is_over() {
                    return;
                }
                self.with(&name, |register| register.tried = number);
                let agent = agents[rng.random_range(0..agents.len())];
                let reply = put(&client, agent, &name, number);
                match reply {
                    Some(reply) if reply.status == 200 => self.acknowledge(&name, number),
                    Some(reply) if reply.header("X-Kontor-Reason") != "outcome-unknown" => sleep(Duration::from_millis(5)),
                    _ => break,
                }
            }
        }
    }

    /// Reads registers in every mode through every agent.
    fn read(&self, reader: usize, agents: &[Ipv4Addr]) {
        let (client, mut rng) = (rig::client(REQUEST), StdRng::seed_from_u64(SEED + 1_000 + reader as u64));
        while !self.is_over() {
            // Of a writer's registers the newest is written.
            let writer = rng.random_range(0..WRITERS);
            let of_writer = format!("r{writer}-")..format!("r{writer}.");
            let Some(name) = self.registers.lock().unwrap().range(of_writer).next_back().map(|(name, _)| name.clone()) else {
                continue;
            };
            let agent = agents[rng.random_range(0..agents.len())];
            match rng.random_range(0..4) {
                0 => self.read_stale(&client, agent, &name),
                1 => self.read_newest(&client, agent, &name, "?consistent"),
                _ => self.read_newest(&client, agent, &name, ""),
            }
        }
    }

    /// A read that must see everything acknowledged, and everything read, before it began.
    fn read_newest(&self, client: &ureq::Agent, agent: Ipv4Addr, name: &str, mode: &str) {
        let floor = self.with(name, |register| register.floor);
        let Some(reply) = get(client, agent, name, mode) else { return };
        let number = number_in(&reply);
        let tried = self.with(name, |register| {
            register.floor = register.floor.max(number);
            register.tried
        });
        self.judge(number >= floor && number <= tried, || {
            format!("{name}{mode} at {agent}: read {number}, expected {floor} to {tried}")
        });
    }

    /// A read that may be as old as it says, and no older.
    fn read_stale(&self, client: &ureq::Agent, agent: Ipv4Addr, name: &str) {
        let began = Instant::now();
        let Some(reply) = get(client, agent, name, "?stale") else { return };
        let age = Duration::from_millis(reply.header("X-Consul-LastContact").parse().unwrap());
        let number = number_in(&reply);
        let known = began.checked_sub(age + AGE_SLACK);
        let least = self.with(name, |register| {
            let old = register.acknowledged.iter().rev().find(|(when, _)| known.is_some_and(|known| *when < known));
            old.map_or(0, |(_, number)| *number)
        });
        self.judge(number >= least, || format!("{name}?stale at {agent}: {number} said to be {age:?} old, {least} is older"));
    }

    fn judge(&self, right: bool, what: impl FnOnce() -> String) {
        self.read.fetch_add(1, Ordering::SeqCst);
        if !right {
            self.wrong.lock().unwrap().push(what());
        }
    }

    /// Runs `story` while threads write and read through `agents`, and judges everything.
    fn of(agents: &[Ipv4Addr], story: impl FnOnce(&History)) -> History {
        let history = History::default();
        std::thread::scope(|scope| {
            for number in 0..WRITERS {
                let history = &history;
                scope.spawn(move || history.write(number, agents));
                scope.spawn(move || history.read(number, agents));
            }
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                history.goes_on(20);
                story(&history);
                history.goes_on(20);
            }));
            history.stop.store(true, Ordering::SeqCst);
            if let Err(panic) = ended {
                std::panic::resume_unwind(panic);
            }
        });
        let (acknowledged, read) = (history.acknowledged.load(Ordering::SeqCst), history.read.load(Ordering::SeqCst));
        eprintln!("{acknowledged} writes acknowledged, {read} reads");
        let wrong = history.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "seed {SEED}: {wrong:#?}");
        drop(wrong);
        history
    }

    /// Every register has at least what was acknowledged, asked of `agent`.
    fn is_found(&self, agent: Ipv4Addr) {
        let client = rig::client(REQUEST);
        for (name, register) in &*self.registers.lock().unwrap() {
            let reply = wait_until("an answer", || get(&client, agent, name, "?consistent"));
            let number = number_in(&reply);
            assert!(number >= register.floor && number <= register.tried, "{name} is {number}: {register:?}");
        }
    }
}

fn put(client: &ureq::Agent, agent: Ipv4Addr, name: &str, number: u64) -> Option<Reply> {
    let body = json!({"Node": name, "Address": "10.9.8.7", "NodeMeta": {"number": number.to_string()}}).to_string();
    rig::request_by(client, "PUT", &format!("http://{agent}:8500/v1/catalog/register"), Some(&body))
}

/// Nothing unless the answer is 200.
fn get(client: &ureq::Agent, agent: Ipv4Addr, name: &str, mode: &str) -> Option<Reply> {
    let url = format!("http://{agent}:8500/v1/catalog/node/{name}{mode}");
    rig::request_by(client, "GET", &url, None).filter(|reply| reply.status == 200)
}

/// What was read; 0 for a register that is not there.
fn number_in(reply: &Reply) -> u64 {
    reply.json()["Node"]["Meta"]["number"].as_str().map_or(0, |number| number.parse().unwrap())
}

fn addresses(dc: &Datacenter) -> Vec<Ipv4Addr> {
    dc.servers.iter().chain(&dc.clients).map(|agent| agent.plan.address).collect()
}

/// Kills a server as `kill -9` does and starts it again after `pause`.
fn restart(dc: &mut Datacenter, index: usize, pause: Duration) {
    let server = dc.servers.remove(index);
    let plan = server.plan.clone();
    server.kill();
    sleep(pause);
    dc.servers.insert(index, plan.start());
}

fn millis(rng: &mut StdRng, range: Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

/// A number that this server tells of its Raft.
fn raft_number(server: &rig::Agent, name: &str) -> Option<u64> {
    let reply = server.try_get("/v1/agent/self").filter(|reply| reply.status == 200)?;
    reply.json()["Stats"]["raft"][name].as_str()?.parse().ok()
}

fn raft_state(server: &rig::Agent) -> Option<String> {
    let reply = server.try_get("/v1/agent/self").filter(|reply| reply.status == 200)?;
    reply.json()["Stats"]["raft"]["state"].as_str().map(str::to_owned)
}

fn voters(raft: &Value) -> Vec<&str> {
    let voters = raft["Servers"].as_array().unwrap().iter().filter(|server| server["Voter"] == true);
    voters.map(|server| server["Node"].as_str().unwrap()).collect()
}

#[test]
fn no_read_is_older_than_it_says_while_leaders_are_killed_hung_and_replaced() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 1);
    let (agents, mut rng) = (addresses(&dc), StdRng::seed_from_u64(SEED));
    let history = History::of(&agents, |history| {
        for round in 0..9 {
            let leader = dc.leader();
            let pause = millis(&mut rng, 100..2_000);
            match round % 3 {
                0 => restart(&mut dc, leader, pause),
                1 => {
                    dc.servers[leader].signal("STOP");
                    sleep(pause);
                    dc.servers[leader].signal("CONT");
                }
                _ => {
                    // Refused where leadership changes just then.
                    let _ = rig::request("POST", &dc.servers[leader].url("/v1/operator/raft/transfer-leader"), None);
                }
            }
            history.goes_on(20);
        }
    });
    history.is_found(agents[0]);
}

#[test]
fn no_read_is_older_than_it_says_when_one_follower_hangs_and_the_other_restarts() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let (agents, mut rng) = (addresses(&dc), StdRng::seed_from_u64(SEED + 1));
    let history = History::of(&agents, |history| {
        for _ in 0..4 {
            let leader = dc.leader();
            let (hung, restarted) = ((leader + 1) % 3, (leader + 2) % 3);
            dc.servers[hung].signal("STOP");
            // Long enough that the hung one wants to lead as soon as it wakes.
            sleep(millis(&mut rng, 1_500..2_000));
            restart(&mut dc, restarted, Duration::ZERO);
            sleep(millis(&mut rng, 0..600));
            dc.servers[hung].signal("CONT");
            history.goes_on(20);
        }
    });
    history.is_found(agents[0]);
}

#[test]
fn a_leader_that_hung_for_five_seconds_answers_nothing_old_and_follows() {
    let root = tempfile::tempdir().unwrap();
    let dc = Datacenter::start(root.path(), "dc1", 0);
    let leader = dc.leader();
    let (hung, other) = (&dc.servers[leader], &dc.servers[(leader + 1) % 3]);
    let client = rig::client(REQUEST);
    assert_eq!(put(&client, hung.plan.address, "r", 1).unwrap().status, 200);
    hung.signal("STOP");
    let stopped = Instant::now();
    wait_until("a write under another leader", || put(&client, other.plan.address, "r", 2).filter(|reply| reply.status == 200));
    sleep(Duration::from_secs(5).saturating_sub(stopped.elapsed()));
    hung.signal("CONT");
    for _ in 0..20 {
        if let Some(reply) = get(&client, hung.plan.address, "r", "") {
            assert_eq!(number_in(&reply), 2);
        }
    }
    wait_until("it follows", || raft_state(hung).filter(|state| state == "Follower"));
    wait_until("it has what was written meanwhile", || {
        get(&client, hung.plan.address, "r", "?stale").filter(|reply| number_in(reply) == 2)
    });
    assert_eq!(put(&client, hung.plan.address, "r", 3).unwrap().status, 200);
}

#[test]
fn every_acknowledged_write_is_found_after_all_servers_are_killed_at_once() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let agents = addresses(&dc);
    let history = History::of(&agents, |_history| {
        let plans: Vec<Plan> = dc.servers.iter().map(|server| server.plan.clone()).collect();
        dc.servers.iter().for_each(|server| server.signal("KILL"));
        dc.servers.drain(..).for_each(rig::Agent::kill);
        dc.servers.extend(plans.iter().map(Plan::start));
    });
    agents.iter().for_each(|agent| history.is_found(*agent));
}

/// Writes numbers to registers of its own as fast as it goes, until `is_enough`; what was
/// acknowledged last.
fn pour(thread: usize, agents: &[Ipv4Addr], acknowledged: &AtomicUsize, is_enough: impl Fn() -> bool) -> BTreeMap<String, u64> {
    let (client, mut last) = (rig::client(REQUEST), BTreeMap::new());
    for number in 1.. {
        if is_enough() {
            break;
        }
        let name = format!("p{thread}-{}", number % 20);
        // One agent each: no late write of another way overtakes.
        let reply = put(&client, agents[thread % agents.len()], &name, number);
        if reply.is_some_and(|reply| reply.status == 200) {
            last.insert(name, number);
            acknowledged.fetch_add(1, Ordering::SeqCst);
        } else {
            sleep(Duration::from_millis(20));
        }
    }
    last
}

/// How many writes the test of snapshots makes. The log is cut behind a snapshot from 20,000 entries
/// on, which takes a machine of two cores minutes in the test profile: `KONTOR_TEST_WRITES=60000` does it.
fn many_writes() -> usize {
    std::env::var("KONTOR_TEST_WRITES").map_or(1_500, |count| count.parse().unwrap())
}

#[test]
fn nothing_is_lost_at_full_rate_between_many_snapshots_and_restarts() {
    const THREADS: usize = 16;
    let enough = many_writes();
    let root = tempfile::tempdir().unwrap();
    let change = |plan: Plan| plan.flag("-hcl=raft_snapshot_threshold = 200");
    let mut dc = Datacenter::start_with(root.path(), "dc1", 0, change);
    let leader = dc.leader();
    let (away, restarted) = ((leader + 1) % 3, (leader + 2) % 3);
    let agents = [dc.servers[leader].plan.address, dc.servers[restarted].plan.address];
    dc.servers[away].signal("STOP");
    let (acknowledged, started) = (AtomicUsize::new(0), Instant::now());
    let limit = rig::PATIENCE * 4 + Duration::from_millis(10 * enough as u64);
    let is_enough = |count: usize| acknowledged.load(Ordering::SeqCst) >= count || started.elapsed() > limit;
    let last: Vec<BTreeMap<String, u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (agents, acknowledged, is_enough) = (&agents, &acknowledged, &is_enough);
                scope.spawn(move || pour(thread, agents, acknowledged, || is_enough(enough)))
            })
            .collect();
        while !is_enough(enough / 3) {
            sleep(Duration::from_millis(20));
        }
        restart(&mut dc, restarted, Duration::ZERO);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    eprintln!("{acknowledged:?} writes in {:?}", started.elapsed());
    assert!(acknowledged.load(Ordering::SeqCst) >= enough, "only {acknowledged:?} writes within {limit:?}");
    dc.servers[away].signal("CONT");
    let newest = wait_until("a leader's log", || raft_number(&dc.servers[leader], "commit_index"));
    wait_until("the one that was away has all of it", || {
        raft_number(&dc.servers[away], "applied_index").filter(|applied| *applied >= newest)
    });
    let leader = dc.leader();
    restart(&mut dc, leader, Duration::ZERO);
    dc.servers[leader].wait_for_leader();
    let client = rig::client(REQUEST);
    for (name, number) in last.iter().flatten() {
        let reply = wait_until("an answer", || get(&client, dc.servers[away].plan.address, name, "?consistent"));
        assert!(number_in(&reply) >= *number, "{name}: {number} is lost, {} is there", number_in(&reply));
    }
    for server in &dc.servers {
        assert!(raft_number(server, "last_snapshot_index").is_some_and(|index| index > 0), "{}", server.plan.name);
        assert!(!server.log().contains("Raft has failed"), "{}", server.plan.name);
    }
}

#[test]
fn servers_join_lead_on_request_and_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut dc = Datacenter::start(root.path(), "dc1", 0);
    let known: Vec<Plan> = dc.servers.iter().map(|server| server.plan.clone()).collect();
    let client = rig::client(REQUEST);
    assert_eq!(put(&client, known[0].address, "r", 1).unwrap().status, 200);
    for name in ["s4", "s5"] {
        let plan = Plan::client(root.path(), "dc1", name).flag("-server").join(&known.iter().collect::<Vec<_>>());
        dc.servers.push(plan.start());
    }
    dc.servers[0].wait_for("/v1/operator/raft/configuration", |raft| voters(raft).len() == 5);
    wait_until("the newcomer has it", || {
        get(&client, dc.servers[4].plan.address, "r", "?stale").filter(|reply| number_in(reply) == 1)
    });
    let raft = dc.servers[0].get("/v1/operator/raft/configuration").json();
    let id_of = |name: &str| {
        let servers = raft["Servers"].as_array().unwrap();
        servers.iter().find(|server| server["Node"] == name).unwrap()["ID"].as_str().unwrap().to_owned()
    };
    // On a machine that is too slow for heartbeats another may come to lead meanwhile: then it is asked for again.
    let operate = |dc: &Datacenter, verb: &str, id: &str| {
        let (code, out, err) = dc.servers[0].cli(&["operator", "raft", verb, &format!("-id={id}")]);
        eprintln!("{verb}: {code} {out}{err}");
        code == 0
    };
    wait_until("the one that was asked for leads", || {
        (operate(&dc, "transfer-leader", &id_of("s5")) && dc.leader() == 4).then_some(())
    });
    let written = |number| {
        let accepted = |address| put(&client, address, "r", number).is_some_and(|reply| reply.status == 200);
        wait_until("a write", || accepted(known[1].address).then_some(()));
    };
    written(2);
    // A server that lives is added again at once; one that is gone may be taken out by hand before
    // autopilot does it.
    dc.servers.remove(3).kill();
    dc.servers[0].wait_for("/v1/agent/members", |members| {
        members.as_array().unwrap().iter().any(|member| member["Name"] == "s4" && member["Status"] == 4)
    });
    let raft = wait_until("s4 is removed", || {
        operate(&dc, "remove-peer", &id_of("s4"));
        let reply = dc.servers[0].try_get("/v1/operator/raft/configuration").filter(|reply| reply.status == 200)?;
        let raft = reply.json();
        (!voters(&raft).contains(&"s4") && !reply.body.contains(&id_of("s4"))).then_some(raft)
    });
    assert_eq!(voters(&raft).len(), 4, "{raft}");
    // The leader itself can be removed, too: it hands over first.
    wait_until("s5 is removed", || operate(&dc, "remove-peer", &id_of("s5")).then_some(()));
    written(3);
    let reply = wait_until("an answer", || get(&client, known[2].address, "r", "?consistent"));
    assert_eq!(number_in(&reply), 3);
}
