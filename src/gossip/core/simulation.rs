//! Several cores in one network without sockets and without waiting: time jumps from event to event.

use super::*;
use crate::gossip::info::tests::tags;
use crate::model::member::{Member, tag};
use std::collections::BTreeSet;
use std::time::Duration;

mod forged;
mod life;
mod names;
mod orders;
mod partitions;
mod removed;
mod strangers;

const LATENCY: Duration = Duration::from_millis(2);

/// A network of cores; links may lose packets, hosts may be frozen or dead.
struct Network {
    hosts: Vec<Host>,
    now: Instant,
    started: Instant,
    /// The clocks of hosts that are added.
    clock: u64,
    /// Packets to addresses without a host, with their lengths.
    lost: Vec<(SocketAddr, usize)>,
    in_flight: Vec<Packet>,
    lose_one_in: Option<u32>,
    /// Hosts before this one and those from it on do not reach each other.
    cut_at: Option<usize>,
    rng: StdRng,
}

/// The time of arrival, source, target and bytes.
type Packet = (Instant, SocketAddr, SocketAddr, Vec<u8>);

struct Host {
    core: Core,
    addr: SocketAddr,
    alive: bool,
    frozen: bool,
    /// The number of wake-ups by a timer.
    wakes: usize,
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn settings(name: &str, id: u128) -> GossipSettings {
    let tags = tags("dc1", "node");
    GossipSettings { node_id: NodeId::from_u128(id), tags, ..crate::gossip::tests::settings(name, "dc1") }
}

impl Network {
    fn new() -> Network {
        let now = Instant::now();
        let (hosts, lost, in_flight, rng) = (Vec::new(), Vec::new(), Vec::new(), StdRng::seed_from_u64(7));
        Network { hosts, now, started: now, clock: 1000, lost, in_flight, lose_one_in: None, cut_at: None, rng }
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
        network.join_first()
    }

    /// `size` hosts as in the world: with generations of clocks, and long ids and ports.
    fn lifelike(size: u16) -> Network {
        let mut network = Network::new();
        network.clock = 1_700_000_000_000;
        for number in 1..=size {
            network.add(&settings(&format!("n{number}"), u128::MAX - u128::from(number)), 8000 + number, network.clock);
        }
        network.join_first()
    }

    /// All hosts join the first, and see each other.
    fn join_first(mut self) -> Network {
        for number in 1..self.hosts.len() {
            assert_eq!(self.exchange(number, self.hosts[0].addr), Ok(Contact::Member));
        }
        self.until_whole(self.hosts.len());
        self
    }

    /// Runs until every host sees this number of members alive.
    fn until_whole(&mut self, size: usize) {
        self.run_until("all see all", |network| network.hosts.iter().all(|host| host.alive_names().len() == size));
    }

    /// Runs `turn` on the core of host `at`.
    fn act<T>(&mut self, at: usize, turn: impl FnOnce(&mut Core, Instant) -> T) -> T {
        turn(&mut self.hosts[at].core, self.now)
    }

    fn add(&mut self, settings: &GossipSettings, port: u16, generation: u64) -> usize {
        let seed = self.hosts.len() as u64;
        let core = Core::new(settings, addr(port), generation, self.clock, seed, self.now).unwrap();
        self.hosts.push(Host { core, addr: addr(port), alive: true, frozen: false, wakes: 0 });
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
        let peer = self.hosts[from].addr.ip();
        let verdict = match self.hosts[to].core.handle_frame(peer, &question, now) {
            ExchangeAnswer::AskFirst { holder, holder_name, holder_id, newcomer, said } => {
                let answered = self.ask(to, holder, &holder_name, holder_id);
                self.hosts[to].core.finish_exchange(&newcomer, said, answered, now)
            }
            verdict => verdict,
        };
        match verdict {
            ExchangeAnswer::Answer(answer) | ExchangeAnswer::Deny { answer, .. } => {
                self.hosts[from].core.handle_answer(with, &answer, now)
            }
            ExchangeAnswer::Hangup(refusal) => Err(refusal.label().to_owned()),
            ExchangeAnswer::AskFirst { .. } => Err("asked twice".to_owned()),
        }
    }

    fn ask(&mut self, from: usize, holder: SocketAddr, name: &str, id: NodeId) -> bool {
        let Some(to) = self.reachable(holder).filter(|to| !self.hosts[*to].frozen) else { return false };
        let question = self.hosts[from].core.who_frame().unwrap();
        let peer = self.hosts[from].addr.ip();
        match self.hosts[to].core.handle_frame(peer, &question, self.now) {
            ExchangeAnswer::Answer(answer) => self.hosts[from].core.is_answer_of(&answer, name, id),
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
                    Output::AskHolder { holder, holder_name, holder_id, newcomer } => {
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
        let frozen: BTreeSet<SocketAddr> = self.hosts.iter().filter(|host| host.frozen).map(|host| host.addr).collect();
        let is_due = |packet: &mut Packet| packet.0 <= self.now && !frozen.contains(&packet.2);
        let due: Vec<Packet> = self.in_flight.extract_if(.., is_due).collect();
        for (_, from, to, bytes) in due {
            self.lost.extend(self.reachable(to).is_none().then_some((to, bytes.len())));
            if let Some(to) = self.reachable(to) {
                let _ = self.hosts[to].core.handle_datagram(from, &bytes, self.now);
            }
        }
        for host in self.hosts.iter_mut().filter(|host| host.alive && !host.frozen) {
            if host.core.poll_timeout() <= self.now {
                host.wakes += 1;
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

    /// The time that a tag of the first host takes to all others by rumour, without state exchanges.
    fn spread(&mut self, note: &str) -> Duration {
        self.hosts.iter_mut().for_each(|host| host.core.timings.push_pull = Duration::from_secs(3600));
        self.run_for(Duration::from_secs(5));
        let mut tags = self.hosts[0].core.me.tags.clone();
        tags.insert("note".to_owned(), note.to_owned());
        self.act(0, |core, now| core.set_tags(tags, now));
        self.run_until("spread", |network| network.hosts.iter().all(|host| host.member("n1").tag("note") == note))
    }

    /// Has host `at` announce itself to the first, as a member of the pool would.
    fn announce(&mut self, at: usize) {
        let target = self.hosts[0].core.me.identity();
        self.act(at, |core, now| {
            core.foca.announce(target, &mut core.runtime).unwrap();
            core.settle(now);
        });
    }

    /// True if all of these hosts see `name` in this state, or not at all.
    fn all_see(&self, hosts: std::ops::Range<usize>, name: &str, status: impl Into<Option<MemberStatus>>) -> bool {
        let status = status.into();
        hosts.into_iter().all(|at| self.status(at, name) == status)
    }

    /// Runs until all of these hosts see `name` in this state, or not at all.
    fn until_seen(&mut self, hosts: std::ops::Range<usize>, name: &str, status: impl Into<Option<MemberStatus>>) -> Duration {
        let status = status.into();
        self.run_until(name, |network| network.all_see(hosts.clone(), name, status))
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
