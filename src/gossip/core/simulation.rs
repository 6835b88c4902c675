//! Several cores in one network without sockets and without waiting: time jumps from event to event.

use super::*;
use crate::gossip::info::tests::info;
use crate::model::member::{Member, tag};
use std::collections::BTreeSet;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(2);

/// A network of cores; links may lose packets, hosts may be frozen or dead.
struct Network {
    hosts: Vec<Host>,
    now: Instant,
    started: Instant,
    in_flight: Vec<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    lose_one_in: Option<u32>,
    /// Hosts before this one and those from it on do not reach each other.
    cut_at: Option<usize>,
    rng: StdRng,
}

struct Host {
    core: Core,
    addr: SocketAddr,
    alive: bool,
    frozen: bool,
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn settings(name: &str, id: u128) -> GossipSettings {
    let tags = [(tag::DC, "dc1"), (tag::ROLE, "node")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    GossipSettings {
        pool: Pool::Lan,
        name: name.to_owned(),
        node_id: NodeId::from_u128(id),
        datacenter: "dc1".to_owned(),
        bind: addr(0),
        advertise: None,
        tags: BTreeMap::from(tags),
        encrypt: None,
        snapshot: None,
        retry_join: Vec::new(),
        retry_interval: Duration::from_secs(1),
        retry_max: 0,
        rejoin_after_leave: false,
        fast: true,
        reconnect_timeout: Duration::from_secs(72 * 3600),
        allowed_cidrs: Vec::new(),
    }
}

impl Network {
    fn new() -> Network {
        let now = Instant::now();
        Network {
            hosts: Vec::new(),
            now,
            started: now,
            in_flight: Vec::new(),
            lose_one_in: None,
            cut_at: None,
            rng: StdRng::seed_from_u64(7),
        }
    }

    /// `size` hosts, each joined to the first.
    fn joined(size: u16) -> Network {
        Network::joined_with(size, |settings| settings)
    }

    fn joined_with(size: u16, change: impl Fn(GossipSettings) -> GossipSettings) -> Network {
        let mut network = Network::new();
        for number in 1..=size {
            network.add(&change(settings(&format!("n{number}"), u128::from(number))), number, 1000);
        }
        for number in 1..usize::from(size) {
            assert_eq!(network.exchange(number, addr(1)), Ok(Contact::Member));
        }
        network
            .run_until("all see all", |network| network.hosts.iter().all(|host| host.alive_names().len() == usize::from(size)));
        network
    }

    fn add(&mut self, settings: &GossipSettings, port: u16, generation: u64) -> usize {
        let seed = self.hosts.len() as u64;
        let core = Core::new(settings, addr(port), generation, seed, self.now).unwrap();
        self.hosts.push(Host { core, addr: addr(port), alive: true, frozen: false });
        self.hosts.len() - 1
    }

    fn reachable(&self, at: SocketAddr) -> Option<usize> {
        self.hosts.iter().rposition(|host| host.addr == at && host.alive)
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut_at.is_some_and(|cut| (from < cut) != (to < cut))
    }

    /// A state exchange over TCP from host `from`.
    fn exchange(&mut self, from: usize, with: SocketAddr) -> Result<Contact, String> {
        let now = self.now;
        let to = self.reachable(with).filter(|to| !self.hosts[*to].frozen && !self.is_cut(from, *to)).ok_or("cannot connect")?;
        let question = self.hosts[from].core.state_frame(now)?;
        let answer = match self.hosts[to].core.handle_frame(&question, now) {
            Verdict::Answer(answer) => answer,
            Verdict::Hangup(refusal) => return Err(refusal.label().to_owned()),
            Verdict::AskFirst { holder, holder_name, holder_id, newcomer, entries } => {
                let answered = self.ask(to, holder, &holder_name, holder_id);
                self.hosts[to].core.finish_exchange(&newcomer, entries, answered, now)
            }
        };
        self.hosts[from].core.handle_answer(&answer, now)
    }

    fn ask(&mut self, from: usize, holder: SocketAddr, name: &str, id: NodeId) -> bool {
        let Some(to) = self.reachable(holder).filter(|to| !self.hosts[*to].frozen) else { return false };
        let question = self.hosts[from].core.who_frame().unwrap();
        match self.hosts[to].core.handle_frame(&question, self.now) {
            Verdict::Answer(answer) => self.hosts[from].core.is_answer_of(&answer, name, id),
            _ => false,
        }
    }

    fn flush(&mut self) {
        for from in 0..self.hosts.len() {
            if self.hosts[from].frozen {
                continue;
            }
            while let Some(output) = self.hosts[from].core.poll_output() {
                if !self.hosts[from].alive {
                    continue;
                }
                match output {
                    Output::Datagram { to, bytes } => {
                        let lost = self.lose_one_in.is_some_and(|odds| self.rng.random_range(0..odds) == 0);
                        let cut = self.reachable(to).is_some_and(|to| self.is_cut(from, to));
                        if !lost && !cut {
                            self.in_flight.push((self.now + LATENCY, self.hosts[from].addr, to, bytes));
                        }
                    }
                    Output::Exchange { with } => drop(self.exchange(from, with)),
                    Output::Ask { holder, holder_name, holder_id, newcomer } => {
                        let answered = self.ask(from, holder, &holder_name, holder_id);
                        self.hosts[from].core.settle_contest(&newcomer, answered, self.now);
                    }
                }
            }
        }
    }

    fn step(&mut self) {
        self.flush();
        let timers = self.hosts.iter().filter(|host| host.alive && !host.frozen).map(|host| host.core.poll_timeout());
        let packets = self
            .in_flight
            .iter()
            .filter(|packet| self.reachable(packet.2).is_none_or(|to| !self.hosts[to].frozen))
            .map(|packet| packet.0);
        let Some(next) = timers.chain(packets).min() else { return };
        self.now = self.now.max(next);
        let due: Vec<_> = {
            let now = self.now;
            let frozen: BTreeSet<SocketAddr> = self.hosts.iter().filter(|host| host.frozen).map(|host| host.addr).collect();
            let (due, later) = self.in_flight.drain(..).partition(|packet| packet.0 <= now && !frozen.contains(&packet.2));
            self.in_flight = later;
            due
        };
        for (_, from, to, bytes) in due {
            if let Some(to) = self.reachable(to) {
                let _ = self.hosts[to].core.handle_datagram(from, &bytes, self.now);
            }
        }
        for host in self.hosts.iter_mut().filter(|host| host.alive && !host.frozen) {
            if host.core.poll_timeout() <= self.now {
                host.core.handle_timeout(self.now);
            }
        }
        self.flush();
    }

    fn run_for(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until the condition holds, at most ten virtual minutes.
    fn run_until(&mut self, what: &str, mut condition: impl FnMut(&Network) -> bool) -> Duration {
        let begun = self.now;
        while !condition(self) {
            assert!(self.now < begun + Duration::from_secs(600), "{what}: not within ten minutes");
            self.step();
        }
        self.now - begun
    }

    fn status(&self, at: usize, name: &str) -> Option<MemberStatus> {
        self.hosts[at].core.roster().members.get(name).map(|member| member.status)
    }
}

impl Host {
    fn alive_names(&self) -> Vec<String> {
        self.core.roster().alive().map(|member| member.name.clone()).collect()
    }

    fn member(&self, name: &str) -> Member {
        self.core.roster().members[name].clone()
    }
}

#[test]
fn ten_members_that_joined_by_one_see_each_other() {
    let network = Network::joined(10);
    assert!(network.now - network.started < Duration::from_secs(10));
}

#[test]
fn a_pool_of_two_survives_a_kill_and_a_restart() {
    let mut network = Network::joined(2);
    network.hosts[1].alive = false;
    network.run_until("seen as failed", |network| network.status(0, "n2") == Some(MemberStatus::Failed));
    let back = network.add(&settings("n2", 2), 2, 2000);
    network.exchange(back, addr(1)).unwrap();
    network.run_until("seen again", |network| network.status(0, "n2") == Some(MemberStatus::Alive));
    network.run_for(Duration::from_secs(10));
    assert_eq!(network.status(0, "n2"), Some(MemberStatus::Alive));
    assert_eq!(network.status(back, "n1"), Some(MemberStatus::Alive));
}

#[test]
fn a_killed_member_is_failed_and_a_leaving_one_left_for_all() {
    let mut network = Network::joined(6);
    network.hosts[5].alive = false;
    let now = network.now;
    network.hosts[4].core.leave(now);
    for _ in 0..6 {
        network.hosts[4].core.leave_round(now);
        network.run_for(Duration::from_millis(60));
    }
    let now = network.now;
    network.hosts[4].core.depart(now);
    network.run_until("seen by all", |network| {
        (0..4).all(|at| {
            network.status(at, "n5") == Some(MemberStatus::Left) && network.status(at, "n6") == Some(MemberStatus::Failed)
        })
    });
}

#[test]
fn a_frozen_member_fails_and_comes_back_by_itself() {
    for size in [2, 5] {
        let mut network = Network::joined(size);
        network.hosts[1].frozen = true;
        network.run_until("failed", |network| network.status(0, "n2") == Some(MemberStatus::Failed));
        network.run_for(Duration::from_secs(30));
        network.hosts[1].frozen = false;
        network
            .run_until("all see all", |network| network.hosts.iter().all(|host| host.alive_names().len() == usize::from(size)));
    }
}

#[test]
fn a_member_that_returns_elsewhere_moves_and_a_late_down_does_not_touch_it() {
    let mut network = Network::joined(4);
    let old = network.hosts[3].core.me.identity();
    network.hosts[3].alive = false;
    let moved = network.add(&settings("n4", 4), 44, 2000);
    network.exchange(moved, addr(1)).unwrap();
    network.run_until("moved", |network| (0..3).all(|at| network.hosts[at].member("n4").addr == addr(44)));
    let now = network.now;
    for at in 0..3 {
        let core = &mut network.hosts[at].core;
        core.foca.apply_many(std::iter::once(foca::Member::down(old)), true, &mut core.runtime).unwrap();
        core.stale = true;
        core.settle(now);
    }
    network.run_for(Duration::from_secs(10));
    assert!((0..3).all(|at| network.status(at, "n4") == Some(MemberStatus::Alive)));
}

#[test]
fn a_new_node_takes_over_name_and_address_at_once_even_with_a_clock_behind() {
    let mut network = Network::joined(3);
    network.hosts[2].alive = false;
    let fresh = network.add(&settings("n3", 33), 3, 5);
    network.exchange(fresh, addr(1)).unwrap();
    network.run_until("replaced", |network| {
        let host = &network.hosts[0].core;
        host.table.get("n3").is_some_and(|record| record.info.node_id == NodeId::from_u128(33))
            && network.status(0, "n3") == Some(MemberStatus::Alive)
            && network.status(1, "n3") == Some(MemberStatus::Alive)
    });
}

#[test]
fn a_taken_name_is_refused_while_its_holder_answers_and_given_when_not() {
    let mut network = Network::joined(3);
    let thief = network.add(&settings("n3", 99), 99, 5000);
    let reason = network.exchange(thief, addr(1)).unwrap_err();
    assert!(reason.contains("127.0.0.1:3") && reason.contains("127.0.0.1:99"), "{reason}");
    network.run_for(Duration::from_secs(5));
    assert_eq!(network.hosts[1].member("n3").addr, addr(3));
    network.hosts[2].alive = false;
    network.exchange(thief, addr(1)).unwrap();
    network.run_until("given", |network| (0..2).all(|at| network.hosts[at].member("n3").addr == addr(99)));
}

#[test]
fn a_node_that_is_renamed_leaves_its_old_name() {
    let mut network = Network::joined(3);
    network.hosts[2].alive = false;
    let renamed = network.add(&settings("other", 3), 3, 2000);
    network.exchange(renamed, addr(1)).unwrap();
    network.run_until("renamed", |network| {
        (0..2).all(|at| {
            network.status(at, "other") == Some(MemberStatus::Alive) && network.status(at, "n3") == Some(MemberStatus::Left)
        })
    });
}

#[test]
fn force_leave_spreads_and_a_living_member_refutes_it() {
    let mut network = Network::joined(4);
    let now = network.now;
    network.hosts[0].core.force_leave("n4", false, now).unwrap();
    network.run_for(Duration::from_secs(5));
    assert!((0..4).all(|at| network.status(at, "n4") == Some(MemberStatus::Alive)), "it lives");
    network.hosts[3].alive = false;
    network.run_until("failed", |network| network.status(0, "n4") == Some(MemberStatus::Failed));
    let now = network.now;
    network.hosts[0].core.force_leave("n4", false, now).unwrap();
    network.run_until("left for all", |network| (0..3).all(|at| network.status(at, "n4") == Some(MemberStatus::Left)));
    let now = network.now;
    network.hosts[1].core.force_leave("n4", true, now).unwrap();
    network.run_until("pruned by all", |network| (0..3).all(|at| network.status(at, "n4").is_none()));
    network.run_for(Duration::from_secs(30));
    assert!((0..3).all(|at| network.status(at, "n4").is_none()), "nobody brings it back");
    let error = network.hosts[0].core.force_leave("nobody", false, now).unwrap_err();
    assert_eq!(error, "No node found with name 'nobody'");
}

#[test]
fn tags_reach_all_quickly_and_large_ones_too() {
    let mut network = Network::joined(8);
    for host in &mut network.hosts {
        host.core.timings.push_pull = Duration::from_secs(3600);
    }
    network.run_for(Duration::from_secs(5));
    for size in [10, 3000] {
        let mut tags = network.hosts[0].core.me.tags.clone();
        tags.insert("note".to_owned(), "x".repeat(size));
        let now = network.now;
        network.hosts[0].core.set_tags(tags, now);
        let took =
            network.run_until("spread", |network| network.hosts.iter().all(|host| host.member("n1").tag("note").len() == size));
        assert!(took < Duration::from_secs(2), "{size} bytes: {took:?}");
    }
}

#[test]
fn a_quarter_of_all_packets_lost_ends_with_everybody_there() {
    let mut network = Network::joined(6);
    network.lose_one_in = Some(4);
    network.run_for(Duration::from_secs(60));
    network.lose_one_in = None;
    network.run_until("all see all", |network| network.hosts.iter().all(|host| host.alive_names().len() == 6));
}

#[test]
fn an_address_change_keeps_the_member() {
    let mut network = Network::joined(3);
    let now = network.now;
    network.hosts[2].core.set_advertise([127, 0, 0, 9].into(), now);
    let new = SocketAddr::from(([127, 0, 0, 9], 3));
    network.hosts[2].addr = new;
    network.run_until("moved", |network| (0..2).all(|at| network.hosts[at].member("n3").addr == new));
    network.run_for(Duration::from_secs(10));
    assert!((0..2).all(|at| network.status(at, "n3") == Some(MemberStatus::Alive)));
}

#[test]
fn other_pools_datacenters_and_keys_never_make_a_member() {
    let mut network = Network::joined(2);
    let other_dc = GossipSettings {
        datacenter: "dc2".to_owned(),
        tags: BTreeMap::from([(tag::DC.to_owned(), "dc2".to_owned())]),
        ..settings("foreign", 70)
    };
    let wan = GossipSettings {
        pool: Pool::Wan,
        tags: BTreeMap::from([(tag::DC.to_owned(), "dc1".to_owned()), (tag::ROLE.to_owned(), "consul".to_owned())]),
        ..settings("server.dc1", 71)
    };
    let sealed = GossipSettings { encrypt: Some(vec![1; 32]), ..settings("sealed", 72) };
    for (port, stranger) in [(70, other_dc), (71, wan), (72, sealed)] {
        let at = network.add(&stranger, port, 1000);
        assert!(network.exchange(at, addr(1)).is_err());
        // As if it knew the pool already: its membership packets go straight to a member.
        let (target, now) = (network.hosts[0].core.me.identity(), network.now);
        let core = &mut network.hosts[at].core;
        core.foca.announce(target, &mut core.runtime).unwrap();
        core.settle(now);
    }
    let reason = network.exchange(2, addr(1)).unwrap_err();
    assert_eq!(reason, "Member 'foreign' part of wrong datacenter 'dc2'; expected 'dc1'");
    network.run_for(Duration::from_secs(10));
    assert_eq!(network.hosts[0].core.roster().members.len(), 2);
    assert_eq!(network.hosts[0].core.foca.iter_membership_state().len(), 1);
}

#[test]
fn damaged_and_replayed_packets_never_panic_and_never_make_a_member() {
    let mut network = Network::joined(3);
    let stranger = network.add(&settings("stranger", 9), 9, 1000);
    let now = network.now;
    let target = network.hosts[0].core.me.identity();
    let core = &mut network.hosts[stranger].core;
    core.foca.announce(target, &mut core.runtime).unwrap();
    core.settle(now);
    let Some(Output::Datagram { bytes, .. }) = core.poll_output() else { panic!("an announce is a datagram") };
    let frame = core.state_frame(now).unwrap();
    network.hosts[stranger].alive = false;
    let victim = &mut network.hosts[0].core;
    for length in 0..bytes.len() {
        let _ = victim.handle_datagram(addr(9), &bytes[..length], now);
    }
    for length in 0..frame.len() {
        let _ = victim.handle_frame(&frame[..length], now);
    }
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..5000 {
        let junk: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        let _ = victim.handle_datagram(addr(9), &junk, now);
        let mut wrapped = victim.envelope.seal(Carrier::Datagram, &junk).unwrap();
        wrapped[4..20].copy_from_slice(&rng.random::<u128>().to_be_bytes());
        let _ = victim.handle_datagram(addr(9), &wrapped, now);
    }
    assert_eq!(victim.roster().members.len(), 3);
    assert!(victim.handle_datagram(addr(9), &bytes, now).is_err(), "its number was used up by a truncated copy");
    assert_eq!(victim.roster().members.len(), 3);
}

#[test]
fn what_a_state_says_of_this_agent_is_outbid() {
    let mut network = Network::new();
    network.add(&settings("n1", 1), 1, 1000);
    let claim = NodeInfo { node_id: NodeId::from_u128(1), ..info("n1", 1, 9000) };
    let now = network.now;
    network.hosts[0].core.offer(claim, None, None, now);
    assert!(network.hosts[0].core.generation() > 9000);
}

#[test]
fn members_learn_coordinates_from_each_other() {
    let mut network = Network::joined(3);
    network.run_until("coordinates", |network| network.hosts[0].core.coordinates().1.len() == 2);
    network.run_for(Duration::from_secs(60));
    let (mine, others) = network.hosts[0].core.coordinates();
    let rtt = mine.distance(&others["n2"]);
    assert!(rtt > LATENCY && rtt < 4 * LATENCY, "{rtt:?}");
}

#[test]
fn a_flood_of_rumours_is_bounded() {
    let mut network = Network::joined(2);
    let now = network.now;
    let to = network.hosts[0].core.me.identity();
    for batch in 0..200_u64 {
        let core = &mut network.hosts[1].core;
        for number in 0..40 {
            let rumour =
                Rumour::Forced { name: format!("{batch}-{number}"), stamp: Stamp { generation: 1, version: 0 }, prune: false };
            core.foca.add_broadcast(&postcard::to_stdvec(&rumour).unwrap()).unwrap();
        }
        for _ in 0..4 {
            core.foca.announce(to, &mut core.runtime).unwrap();
            core.leave_round(now);
        }
        network.flush();
        network.run_for(Duration::from_millis(5));
    }
    let backlog = network.hosts[0].core.foca.custom_broadcast_backlog();
    assert!(backlog <= defaults::GOSSIP_MAX_RUMOURS + 100, "{backlog}");
    assert_eq!(network.hosts[0].core.roster().members.len(), 2);
}

#[test]
fn who_has_left_needs_no_time_any_more() {
    let mut network = Network::joined(2);
    let now = network.now;
    let core = &mut network.hosts[1].core;
    core.leave(now);
    core.depart(now);
    for _ in 0..100 {
        let now = core.poll_timeout();
        core.handle_timeout(now);
    }
    assert!(core.poll_timeout() > now + Duration::from_secs(3600));
}

#[test]
fn two_halves_find_each_other_after_a_partition() {
    for (size, cut) in [(2, 1), (6, 3)] {
        let mut network = Network::joined(size);
        network.cut_at = Some(cut);
        network.run_until("apart", |network| {
            network.hosts[0].alive_names().len() == cut && network.hosts[cut].alive_names().len() == usize::from(size) - cut
        });
        network.run_for(Duration::from_secs(30));
        network.cut_at = None;
        network.run_until("together", |network| network.hosts.iter().all(|host| host.alive_names().len() == usize::from(size)));
    }
}

#[test]
fn a_member_that_was_cut_off_alone_does_not_bring_its_view_of_the_others_along() {
    for silence in [1, 30] {
        let mut network = Network::joined(6);
        network.cut_at = Some(5);
        network.run_until("apart", |network| {
            network.hosts[5].alive_names().len() == 1 && (0..5).all(|at| network.hosts[at].alive_names().len() == 5)
        });
        network.run_for(Duration::from_secs(silence));
        network.cut_at = None;
        network.run_until("together", |network| {
            for (at, host) in network.hosts[..5].iter().enumerate() {
                assert!(host.alive_names().len() >= 5, "n{} sees {:?} only", at + 1, host.alive_names());
            }
            network.hosts.iter().all(|host| host.alive_names().len() == 6)
        });
    }
}

#[test]
fn the_timings_of_consuls_pools_find_a_dead_member_in_time() {
    for (pool, limit) in [(Pool::Lan, 15), (Pool::Wan, 90)] {
        let slow = |mut settings: GossipSettings| {
            settings.tags.insert(tag::ROLE.to_owned(), "consul".to_owned());
            let name = if pool == Pool::Wan { format!("{}.dc1", settings.name) } else { settings.name };
            GossipSettings { fast: false, pool, name, ..settings }
        };
        let mut network = Network::joined_with(5, slow);
        network.hosts[4].alive = false;
        let name = network.hosts[4].core.name().to_owned();
        let took = network
            .run_until("failed for all", |network| (0..4).all(|at| network.status(at, &name) == Some(MemberStatus::Failed)));
        assert!(took < Duration::from_secs(limit), "{pool:?}: {took:?}");
    }
}

#[test]
fn a_failed_member_is_forgotten_after_its_time_and_nobody_brings_it_back() {
    let mut network =
        Network::joined_with(3, |settings| GossipSettings { reconnect_timeout: Duration::from_secs(60), ..settings });
    network.hosts[2].alive = false;
    network.run_until("failed", |network| network.status(0, "n3") == Some(MemberStatus::Failed));
    network.run_until("forgotten", |network| (0..2).all(|at| network.status(at, "n3").is_none()));
    network.run_for(Duration::from_secs(30));
    assert!((0..2).all(|at| network.status(at, "n3").is_none()));
}

#[test]
fn a_removed_datacenter_stays_away_whoever_tells_of_it_and_comes_back_when_readmitted() {
    let cluster = |number: u16| crate::model::ids::ClusterId(uuid::Uuid::from_u128(u128::from(number)));
    let mut network = Network::new();
    for number in 1..=4u16 {
        let (dc, of) = if number == 4 { ("dc2".to_owned(), 2) } else { (format!("dc{number}"), number) };
        let tags = [(tag::DC, dc.clone()), (tag::ROLE, "consul".to_owned()), (tag::CLUSTER, cluster(of).to_string())];
        let settings = GossipSettings {
            pool: Pool::Wan,
            datacenter: dc.clone(),
            tags: tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            ..settings(&format!("n{number}.{dc}"), u128::from(number))
        };
        network.add(&settings, number, 1000);
    }
    for number in 1..4 {
        assert_eq!(network.exchange(number, addr(1)), Ok(Contact::Member));
    }
    let sees = |network: &Network, host: usize, count: usize| network.hosts[host].alive_names().len() == count;
    network.run_until("all see all", |network| (0..4).all(|host| sees(network, host, 4)));

    let mut removals = crate::model::removals::Removals::default();
    removals.remove("dc2", Some(cluster(2)));
    let now = network.now;
    network.hosts[0].core.set_removals(Arc::new(removals), now);
    assert_eq!(network.hosts[0].alive_names(), ["n1.dc1", "n3.dc3"], "at once");
    for _ in 0..30 {
        // The third tells of all it knows, as every member does from time to time.
        assert_eq!(network.exchange(0, addr(3)), Ok(Contact::Member));
        assert_eq!(network.exchange(2, addr(1)), Ok(Contact::Member));
        network.run_for(Duration::from_secs(1));
        assert_eq!(network.hosts[0].core.roster().members.len(), 2);
        assert!((1..4).all(|host| sees(&network, host, 4)), "nobody else takes anybody for failed");
    }
    assert_eq!(network.exchange(0, addr(2)), Ok(Contact::Removed("dc2".to_owned())));
    assert!(network.exchange(1, addr(1)).unwrap_err().contains("was removed in 'dc1'"));

    // A restart of a removed server is asked which cluster it is of; one of another cluster is let in.
    let tags = [(tag::DC, "dc2".to_owned()), (tag::ROLE, "consul".to_owned()), (tag::CLUSTER, cluster(9).to_string())];
    let other = GossipSettings {
        pool: Pool::Wan,
        datacenter: "dc2".to_owned(),
        tags: tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..settings("n4.dc2", 4)
    };
    network.hosts[3].alive = false;
    let again = network.add(&other, 4, 2000);
    assert_eq!(network.exchange(again, addr(3)), Ok(Contact::Member));
    network.run_until("the other cluster is in", |network| network.hosts[0].alive_names() == ["n1.dc1", "n3.dc3", "n4.dc2"]);

    let now = network.now;
    network.hosts[0].core.set_removals(Arc::default(), now);
    network.run_until("all are back", |network| sees(network, 0, 4));
}
