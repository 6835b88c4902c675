//! The pool without I/O: membership protocol, timers, rumours, round-trip times, and the table.
//! `driver` calls `handle_*` with each event and the time, then sends the outputs and sleeps until `poll_timeout`. Nothing in
//! here reads a clock or a socket. No timer of the membership protocol is dropped: its queue is emptied after every call.

mod echo;
mod exchange;
mod fetching;
mod receive;
mod orders;
mod own;
mod proof;
mod removal;
#[cfg(test)]
mod simulation;

pub(super) use exchange::{Contact, ExchangeAnswer};

use self::fetching::Announced;
use self::proof::Proofs;
use super::envelope::{Envelope, Rejection};
use super::horizon::{Horizon, Witnesses};
use super::identity::Identity;
use super::info::{NodeInfo, Policy, Rumour, Stamp};
use super::replay::Carrier;
use super::roster::{Merged, Table};
use super::rumours::{Broadcasts, rumour_of};
use super::settings::{self, Timings};
use super::vivaldi::Vivaldi;
use super::{GossipSettings, Pool, Roster};
use crate::defaults;
use crate::model::coordinate::Coordinate;
use crate::model::ids::NodeId;
use crate::model::member::MemberStatus;
use foca::{AccumulatingRuntime, Foca, OwnedNotification, PostcardCodec, Timer};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The first byte of a datagram's payload: the kind of the rest.
const MEMBERSHIP: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;

/// A request of the core to its driver.
#[derive(Debug)]
pub(super) enum Output {
    /// Send this packet.
    Datagram { to: SocketAddr, bytes: Vec<u8> },
    /// Exchange states over TCP.
    Exchange { with: SocketAddr },
    /// Ask over TCP if `name` with this id still listens there; then call [`Core::settle_contest`].
    AskHolder { holder: SocketAddr, holder_name: String, holder_id: NodeId, newcomer: String },
}

/// A timer of the membership protocol; those due together are handed over in its own order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Instant,
    timer: Timer<Identity>,
}

#[derive(Debug)]
struct Due {
    tick: Instant,
    push_pull: Instant,
    reconnect: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Member,
    Leaving,
    Gone,
}

pub(super) struct Core {
    pool: Pool,
    fast: bool,
    keep_down: Duration,
    policy: Arc<Policy>,
    timings: Timings,
    foca: Foca<Identity, PostcardCodec, StdRng, Broadcasts>,
    runtime: AccumulatingRuntime<Identity>,
    timers: BinaryHeap<Reverse<Scheduled>>,
    /// The timer of periodic gossip, while there is nothing to spread.
    resting: Option<Timer<Identity>>,
    news: Receiver<Rumour>,
    rumours_full: Arc<AtomicBool>,
    envelope: Envelope,
    table: Table,
    me: NodeInfo,
    stay: Stay,
    sized_for: u32,
    stale: bool,
    due: Due,
    /// Up members whose state is not known, and when it is to be fetched.
    wanted: HashMap<SocketAddr, Instant>,
    /// Members whose newer state was only announced.
    announced: BTreeMap<String, Announced>,
    contenders: BTreeMap<String, (NodeInfo, Instant)>,
    witnesses: Witnesses,
    proofs: Proofs,
    /// Identities of removed members, whose state need not be fetched.
    shunned: HashMap<SocketAddr, Identity>,
    vivaldi: Vivaldi,
    coordinates: BTreeMap<String, Coordinate>,
    pings: VecDeque<(u64, String, Instant)>,
    outputs: VecDeque<Output>,
    rng: StdRng,
}

impl Core {
    /// `addr` is the address for others, `generation` exceeds every earlier start's, `clock` is in milliseconds since 1970.
    pub(super) fn new(
        settings: &GossipSettings,
        addr: SocketAddr,
        generation: u64,
        clock: u64,
        seed: u64,
        now: Instant,
    ) -> Result<Core, String> {
        // The own generation counts too: that of an earlier life may be later than a clock that went back.
        let horizon = Arc::new(Horizon::new(clock.max(generation)));
        let policy = Policy {
            pool: settings.pool,
            datacenter: settings.datacenter.clone(),
            allowed: settings.allowed_cidrs.clone(),
            removed: Arc::default(),
            horizon: Arc::clone(&horizon),
        };
        let stamp = Stamp { generation, version: 0 };
        let (name, node_id, tags) = (settings.name.clone(), settings.node_id, settings.tags.clone());
        let me = NodeInfo { name, node_id, addr, stamp, left: false, tags };
        policy.admits(&me).map_err(|denied| format!("this agent cannot be a member of its own pool: {}", denied.reason))?;
        horizon.set_clock(clock);
        let policy = Arc::new(policy);
        let key = settings.encrypt.as_deref();
        let envelope = Envelope::new(settings.pool, &settings.datacenter, settings.node_id, generation, key, horizon)?;
        let (sender, news) = channel();
        let rumours_full = Arc::new(AtomicBool::new(false));
        let timings = Timings::of(settings.fast);
        let due =
            Due { tick: now + defaults::GOSSIP_TICK, push_pull: now + timings.push_pull, reconnect: now + timings.reconnect };
        let keep_down = settings.reconnect_timeout.max(defaults::GOSSIP_LEFT_TIMEOUT);
        let sized_for = settings::tuned_size(1);
        let foca = Foca::with_custom_broadcast(
            me.identity(),
            settings::protocol(settings.pool, settings.fast, sized_for, keep_down),
            StdRng::seed_from_u64(seed),
            PostcardCodec,
            Broadcasts::new(Arc::clone(&policy), sender, Arc::clone(&rumours_full)),
        );
        Ok(Core {
            pool: settings.pool,
            fast: settings.fast,
            keep_down,
            policy,
            timings,
            foca,
            runtime: AccumulatingRuntime::new(),
            timers: BinaryHeap::new(),
            resting: None,
            news,
            rumours_full,
            envelope,
            table: Table::new(me.clone(), settings.reconnect_timeout, defaults::GOSSIP_MAX_MEMBERS),
            me,
            stay: Stay::Member,
            sized_for,
            stale: false,
            due,
            wanted: HashMap::new(),
            announced: BTreeMap::new(),
            contenders: BTreeMap::new(),
            witnesses: Witnesses::default(),
            proofs: Proofs::default(),
            shunned: HashMap::new(),
            vivaldi: Vivaldi::default(),
            coordinates: BTreeMap::new(),
            pings: VecDeque::new(),
            outputs: VecDeque::new(),
            rng: StdRng::seed_from_u64(seed.wrapping_add(1)),
        })
    }

    /// Takes a datagram. Refusals are counted here.
    pub(super) fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) -> Result<(), Rejection> {
        if self.stay == Stay::Gone {
            return Ok(());
        }
        let outcome = self.envelope.open(Carrier::Datagram, bytes).and_then(|opened| match opened.payload.split_first() {
            Some((&MEMBERSHIP, data)) => self.hear(data, now),
            Some((&PING, data)) => self.hear_ping(from, data, now),
            Some((&PONG, data)) => self.hear_pong(data, now),
            _ => Err(Rejection::Junk),
        });
        self.settle(now);
        outcome.inspect_err(|refusal| metrics::counter!("kontor.gossip.refused", "reason" => refusal.label()).increment(1))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.timers.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Some(Reverse(Scheduled { timer, .. })) = self.timers.pop() else { break };
            if matches!(timer, Timer::PeriodicGossip(_)) && !self.has_to_spread() {
                self.resting = Some(timer);
                continue;
            }
            if self.stay != Stay::Gone && self.foca.handle_timer(timer, &mut self.runtime).is_err() {
                metrics::counter!("kontor.gossip.late_probe").increment(1);
            }
            self.settle(now);
        }
        if self.stay == Stay::Gone {
            let never = now + defaults::GOSSIP_LEFT_TIMEOUT;
            self.due = Due { tick: never, push_pull: never, reconnect: never };
            return;
        }
        if self.due.tick <= now {
            self.due.tick = now + if self.fast { defaults::GOSSIP_TICK } else { defaults::GOSSIP_REAP };
            self.tick(now);
        }
        if self.due.push_pull <= now {
            self.due.push_pull = now + self.timings.push_pull;
            self.exchange_with_random(MemberStatus::Alive);
        }
        if self.due.reconnect <= now {
            self.due.reconnect = now + self.timings.reconnect;
            self.exchange_with_random(MemberStatus::Failed);
        }
        self.settle(now);
    }

    /// When [`Core::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let Due { tick, push_pull, reconnect } = self.due;
        let own = tick.min(push_pull).min(reconnect);
        self.timers.peek().map_or(own, |Reverse(next)| next.at.min(own))
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn set_tags(&mut self, tags: BTreeMap<String, String>, now: Instant) {
        if self.me.tags != tags {
            self.me.tags = tags;
            self.advance();
            self.settle(now);
        }
    }

    pub(super) fn set_advertise(&mut self, ip: IpAddr, now: Instant) {
        let addr = SocketAddr::new(ip, self.me.addr.port());
        if self.me.addr != addr && self.stay == Stay::Member {
            self.me.addr = addr;
            self.begin_next();
            self.look_around(now);
        }
    }

    /// Exchanges states with some members, alive and failed: lost members may be back, and may take this agent for lost.
    pub(super) fn look_around(&mut self, now: Instant) {
        let known = [MemberStatus::Alive, MemberStatus::Failed].map(|status| self.table.in_state(status)).concat();
        let some: Vec<SocketAddr> =
            known.sample(&mut self.rng, defaults::GOSSIP_LOOK_AROUND).map(|record| record.info.addr).collect();
        self.outputs.extend(some.into_iter().map(|with| Output::Exchange { with }));
        self.settle(now);
    }

    /// Announces that this agent leaves. Follow with some [`Core::leave_round`]s, then [`Core::depart`].
    pub(super) fn leave(&mut self, now: Instant) {
        if self.stay == Stay::Member {
            self.stay = Stay::Leaving;
            self.me.left = true;
            self.advance();
            self.settle(now);
        }
    }

    /// Spreads news without waiting for the timer.
    pub(super) fn leave_round(&mut self, now: Instant) {
        let _ = self.foca.gossip(&mut self.runtime);
        self.settle(now);
    }

    /// Declares this agent down. From here on it is deaf: an echo of its end would make it rejoin.
    pub(super) fn depart(&mut self, now: Instant) {
        if self.stay != Stay::Gone {
            self.stay = Stay::Gone;
            let _ = self.foca.leave_cluster(&mut self.runtime);
            self.settle(now);
        }
    }

    pub(super) fn roster(&self) -> Roster {
        self.table.roster()
    }

    pub(super) fn changes(&self) -> u64 {
        self.table.changes()
    }

    pub(super) fn name(&self) -> &str {
        &self.me.name
    }

    pub(super) fn tags(&self) -> &BTreeMap<String, String> {
        &self.me.tags
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.me.addr
    }

    /// This agent's coordinate, and those that the others reported.
    pub(super) fn coordinates(&self) -> (&Coordinate, &BTreeMap<String, Coordinate>) {
        (self.vivaldi.coordinate(), &self.coordinates)
    }

    /// Serf's numbers, by Serf's names. The queues that this protocol does not have are empty.
    pub(super) fn stats(&self) -> BTreeMap<String, String> {
        let count = |status| self.table.in_state(status).len();
        let numbers = [
            ("coordinate_resets", self.vivaldi.resets().to_string()),
            ("encrypted", self.envelope.is_encrypted().to_string()),
            ("event_queue", self.foca.custom_broadcast_backlog().to_string()),
            ("event_time", "1".to_owned()),
            ("failed", count(MemberStatus::Failed).to_string()),
            ("health_score", "0".to_owned()),
            ("intent_queue", self.foca.updates_backlog().to_string()),
            ("left", count(MemberStatus::Left).to_string()),
            ("member_time", self.table.changes().to_string()),
            ("members", (self.table.others().count() + 1).to_string()),
            ("query_queue", "0".to_owned()),
            ("query_time", "1".to_owned()),
        ];
        numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn publish(&mut self) {
        self.table.publish(self.me.clone());
        if let Some(bytes) = rumour_of(&self.me) {
            self.spread_bytes(&bytes);
        }
    }

    fn spread(&mut self, rumour: &Rumour) {
        if let Ok(bytes) = postcard::to_stdvec(rumour) {
            self.spread_bytes(&bytes);
        }
    }

    fn spread_bytes(&mut self, bytes: &[u8]) {
        if self.foca.add_broadcast(bytes).is_err() {
            metrics::counter!("kontor.gossip.unspread").increment(1);
        }
        let _ = self.foca.broadcast(&mut self.runtime);
    }

    /// Empties the protocol's queues, until nothing more follows.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some((to, data)) = self.runtime.to_send() {
                self.send_membership(to.addr, &data, now);
            }
            while let Some((after, timer)) = self.runtime.to_schedule() {
                if let Timer::SendIndirectProbe { probed_id, .. } = &timer {
                    // A probe has just been sent. Both sides wake once for it and for the measurement.
                    self.measure(probed_id.addr, now);
                }
                self.timers.push(Reverse(Scheduled { at: now + after, timer }));
            }
            if let Some(notification) = self.runtime.to_notify() {
                self.handle_notification(&notification);
                continue;
            }
            match self.news.try_recv() {
                Ok(rumour) => self.handle_rumour(rumour, now),
                Err(_empty) => break,
            }
        }
        if self.has_to_spread()
            && let Some(timer) = self.resting.take()
        {
            self.timers.push(Reverse(Scheduled { at: now, timer }));
        }
        self.rumours_full.store(self.foca.custom_broadcast_backlog() >= defaults::GOSSIP_MAX_RUMOURS, Ordering::Relaxed);
        if std::mem::take(&mut self.stale) {
            self.derive(now);
        }
        // Nothing else has to be looked at so often: an idle pool sleeps.
        if !(self.wanted.is_empty() && self.announced.is_empty()) {
            self.due.tick = self.due.tick.min(now + defaults::GOSSIP_TICK);
        }
    }

    fn has_to_spread(&self) -> bool {
        self.foca.updates_backlog() > 0 || self.foca.custom_broadcast_backlog() > 0
    }

    fn handle_notification(&mut self, notification: &OwnedNotification<Identity>) {
        self.stale = true;
        match notification {
            OwnedNotification::Rejoin(id) => {
                self.me.stamp = Stamp { generation: id.bump, version: 0 };
                self.renewed();
                self.exchange_with_random(MemberStatus::Alive);
            }
            OwnedNotification::Defunct if self.stay == Stay::Member => self.begin_next(),
            _ => {}
        }
    }

    fn forget(&mut self, name: &str) {
        self.coordinates.remove(name);
        self.vivaldi.forget(name);
    }

    fn derive(&mut self, now: Instant) {
        let mut unknown = self.table.derive(self.foca.iter_membership_state(), now);
        unknown.retain(|id| !self.is_shunned(id));
        self.carry_out(now);
        self.wanted.retain(|addr, _| unknown.iter().any(|id| id.addr == *addr));
        let delay = defaults::GOSSIP_FETCH_DELAY;
        for id in unknown {
            self.wanted.entry(id.addr).or_insert_with(|| now + delay);
        }
        let size = settings::tuned_size(self.foca.num_members() + 1);
        if size != self.sized_for {
            self.sized_for = size;
            let _ = self.foca.set_config(settings::protocol(self.pool, self.fast, size, self.keep_down));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.carry_out(now);
        for name in self.table.reap(now) {
            self.forget(&name);
        }
        self.contenders.retain(|_, (_, since)| now.saturating_duration_since(*since) < defaults::GOSSIP_CONTENDER_MEMORY);
        self.fetch(now);
    }

    fn exchange_with_random(&mut self, status: MemberStatus) {
        if let Some(record) = self.table.in_state(status).choose(&mut self.rng) {
            self.outputs.push_back(Output::Exchange { with: record.info.addr });
        }
    }

    fn send(&mut self, to: SocketAddr, kind: u8, data: &[u8]) {
        let mut payload = Vec::with_capacity(data.len() + 1);
        payload.push(kind);
        payload.extend_from_slice(data);
        match self.envelope.seal(Carrier::Datagram, &payload) {
            Ok(bytes) => self.outputs.push_back(Output::Datagram { to, bytes }),
            Err(_unsealed) => metrics::counter!("kontor.gossip.unsealed").increment(1),
        }
    }
}
