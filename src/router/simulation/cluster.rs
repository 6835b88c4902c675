//! The catalog of a simulated datacenter: real stores over a log whose leaders change, hang and are cut off. It keeps
//! Raft's promises, and those alone.

use super::chance::Chance;
use crate::expiry::Expiry;
use crate::model::command::{Command, Effect, Written};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::{ClusterId, NodeId};
use crate::raft::{Leadership, Peer, PeerProgress, RaftStats};
use crate::router::paths::Catalog;
use crate::store::{Reader, Store};
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

const BEAT: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Log {
    commands: Vec<Command>,
    leader: Option<usize>,
    term: u64,
}

#[derive(Debug)]
struct Applied {
    store: Store,
    index: usize,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    applied: Mutex<Applied>,
    reader: Reader,
    leadership: watch::Sender<Leadership>,
    lease: Mutex<Option<Instant>>,
    /// All that was acknowledged by then is in its view.
    contact: Mutex<Option<Instant>>,
    /// True if no message of the log comes to it or from it.
    is_cut: AtomicBool,
    expiry: Expiry,
}

/// The servers of one datacenter.
#[derive(Debug)]
pub(super) struct Cluster {
    chance: Chance,
    log: Mutex<Log>,
    nodes: Vec<Node>,
}

impl Cluster {
    pub(super) fn new(dc: &str, ids: &[NodeId], chance: Chance) -> Arc<Cluster> {
        let node = |id: &NodeId| {
            let store = Store::new(dc);
            let (reader, applied) = (store.reader(), Mutex::new(Applied { store, index: 0 }));
            let (leadership, is_cut) = (watch::Sender::default(), AtomicBool::new(false));
            Node {
                id: *id,
                applied,
                reader,
                leadership,
                lease: Mutex::default(),
                contact: Mutex::default(),
                is_cut,
                expiry: Expiry::default(),
            }
        };
        let log = Mutex::new(Log { commands: Vec::new(), leader: None, term: 0 });
        Arc::new(Cluster { chance, log, nodes: ids.iter().map(node).collect() })
    }

    /// Sends heartbeats for ever, and has a server elected where nobody leads.
    pub(super) async fn run(self: Arc<Cluster>) {
        loop {
            self.beat();
            if self.chance.one_in(20) && self.log.lock().unwrap().leader.is_none() {
                tokio::spawn(Arc::clone(&self).elect(self.chance.below(self.nodes.len())));
            }
            sleep(BEAT).await;
        }
    }

    pub(super) fn cut(&self, at: usize, is_cut: bool) {
        self.nodes[at].is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// Server `at` starts anew: it knows no leader, and its view has no age.
    pub(super) fn restart(&self, at: usize) {
        if self.log.lock().unwrap().leader != Some(at) {
            *self.nodes[at].contact.lock().unwrap() = None;
            self.nodes[at].leadership.send_replace(Leadership::default());
        }
    }

    /// Ends the leadership that there is; `to` leads some time later, if nothing else came in between.
    pub(super) async fn elect(self: Arc<Cluster>, to: usize) {
        let (old, term) = {
            let mut log = self.log.lock().unwrap();
            log.term += 1;
            (log.leader.take(), log.term)
        };
        for (at, node) in self.nodes.iter().enumerate() {
            if Some(at) != old && self.chance.one_in(2) {
                node.leadership.send_replace(Leadership { leader: None, is_self: false, term });
            }
        }
        let leases = self.nodes.iter().filter_map(|node| *node.lease.lock().unwrap());
        let over = leases.max().unwrap_or_else(Instant::now);
        sleep_until(over + Duration::from_millis(1)).await;
        self.chance.pause(0..2_000).await;
        {
            let mut log = self.log.lock().unwrap();
            if log.term != term || self.is_cut(to) {
                return;
            }
            log.leader = Some(to);
            self.apply(to, &log, log.commands.len());
            self.nodes[to].leadership.send_replace(Leadership { leader: Some(self.nodes[to].id), is_self: true, term });
        }
        self.beat();
    }

    /// All names that the log registers, in its order.
    pub(super) fn registered(&self) -> Vec<String> {
        let name = |command: &Command| {
            let Command::Register(register) = command else { panic!("nobody proposed {command:?}") };
            register.node.clone()
        };
        self.log.lock().unwrap().commands.iter().map(name).collect()
    }

    /// The number of keys that are watched.
    pub(super) fn watched(&self) -> usize {
        self.nodes.iter().map(|node| node.reader.watched()).sum()
    }

    fn is_cut(&self, at: usize) -> bool {
        self.nodes[at].is_cut.load(Ordering::Relaxed)
    }

    fn has_quorum(&self, leader: usize) -> bool {
        let reached = (0..self.nodes.len()).filter(|at| !self.is_cut(*at)).count();
        !self.is_cut(leader) && reached > self.nodes.len() / 2
    }

    fn apply(&self, at: usize, log: &Log, end: usize) {
        let mut applied = self.nodes[at].applied.lock().unwrap();
        while applied.index < end {
            let (index, command) = (applied.index as u64 + 10, &log.commands[applied.index]);
            assert!(applied.store.apply(index, command).is_ok());
            applied.index += 1;
        }
        applied.store.publish();
    }

    fn beat(self: &Arc<Cluster>) {
        let (leader, term, end) = {
            let log = self.log.lock().unwrap();
            let Some(leader) = log.leader else { return };
            (leader, log.term, log.commands.len())
        };
        if !self.has_quorum(leader) {
            return;
        }
        let now = Instant::now();
        *self.nodes[leader].lease.lock().unwrap() = Some(now + LEASE);
        *self.nodes[leader].contact.lock().unwrap() = Some(now);
        for to in (0..self.nodes.len()).filter(|to| *to != leader) {
            for _copy in 0..=usize::from(self.chance.one_in(8)) {
                if self.is_cut(to) || self.chance.one_in(10) {
                    continue;
                }
                let (cluster, delay) = (Arc::clone(self), self.chance.millis(1..60));
                tokio::spawn(async move {
                    sleep(delay).await;
                    cluster.take_beat(to, leader, term, end, now);
                });
            }
        }
    }

    fn take_beat(&self, to: usize, leader: usize, term: u64, end: usize, sent: Instant) {
        let node = &self.nodes[to];
        if node.leadership.borrow().term > term {
            return;
        }
        let log = self.log.lock().unwrap();
        self.apply(to, &log, end);
        let mut contact = node.contact.lock().unwrap();
        *contact = (*contact).max(Some(sent));
        let known = Leadership { leader: Some(self.nodes[leader].id), is_self: false, term };
        node.leadership.send_if_modified(|now| std::mem::replace(now, known) != known);
    }

    /// Goes on when its proposer has hung up.
    async fn commit(self: Arc<Cluster>, at: usize, command: Command) -> Result<Written, Fault> {
        self.chance.pause(1..20).await;
        if let Some(index) = self.append(command.clone(), |log| log.leader == Some(at) && self.has_quorum(at)) {
            self.beat();
            return Ok(Written { index, effect: Effect::Done });
        }
        self.chance.pause(0..5_000).await;
        if self.chance.one_in(2) {
            // It was with a server that leads by now.
            self.append(command, |log| log.leader.is_some());
        }
        Err(Fault::outcome_unknown("the leader changed"))
    }

    fn append(&self, command: Command, may: impl FnOnce(&Log) -> bool) -> Option<u64> {
        let mut log = self.log.lock().unwrap();
        if !may(&log) {
            return None;
        }
        log.commands.push(command);
        self.apply(log.leader?, &log, log.commands.len());
        Some(log.commands.len() as u64 + 9)
    }
}

/// One server's part of a cluster.
#[derive(Debug)]
pub(super) struct SimulatedReplica {
    pub cluster: Arc<Cluster>,
    pub at: usize,
}

impl SimulatedReplica {
    fn node(&self) -> &Node {
        &self.cluster.nodes[self.at]
    }
}

impl Catalog for SimulatedReplica {
    fn reader(&self) -> &Reader {
        &self.node().reader
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.node().leadership.subscribe()
    }

    fn holds_lease(&self) -> bool {
        let lease = *self.node().lease.lock().unwrap();
        self.node().leadership.borrow().is_self && lease.is_some_and(|lease| Instant::now() < lease)
    }

    fn staleness(&self) -> Option<Duration> {
        self.node().contact.lock().unwrap().map(|contact| contact.elapsed())
    }

    fn confirm_leadership(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            self.cluster.chance.pause(1..20).await;
            let leads = || self.cluster.log.lock().unwrap().leader == Some(self.at) && self.cluster.has_quorum(self.at);
            if leads() {
                return Ok(());
            }
            self.cluster.chance.pause(0..5_000).await;
            if leads() { Ok(()) } else { Err(Fault::no_leader()) }
        })
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Written, Fault>> {
        Box::pin(async move {
            if !self.node().leadership.borrow().is_self {
                return Err(Fault::no_leader());
            }
            if self.cluster.chance.strikes(30) {
                return Err(Fault::new(FaultKind::Busy, "too many writes wait"));
            }
            let (done, written) = oneshot::channel();
            let (cluster, at) = (Arc::clone(&self.cluster), self.at);
            tokio::spawn(async move {
                let _hung_up = done.send(cluster.commit(at, command).await);
            });
            written.await.unwrap_or_else(|_closed| Err(Fault::outcome_unknown("the server stops")))
        })
    }

    fn expiry(&self) -> &Expiry {
        &self.node().expiry
    }

    fn remove(&self, _id: NodeId) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Err(Fault::failed("servers stay")) })
    }

    fn transfer_leadership(&self, _to: Option<NodeId>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Err(Fault::failed("leaders change by themselves")) })
    }

    fn cluster(&self) -> Option<ClusterId> {
        None
    }

    fn peers(&self) -> Vec<Peer> {
        self.cluster.nodes.iter().map(|node| Peer { id: node.id, voter: true }).collect()
    }

    fn progress(&self) -> Vec<PeerProgress> {
        Vec::new()
    }

    fn stats(&self) -> RaftStats {
        RaftStats::default()
    }
}
