//! For this room's tests: a small machine, a network in memory with links to cut, and a cluster on it.

use super::machine::{Checker, Frozen, Machine, Verifier};
use super::message::{self, Envelope, Message};
use super::start::Server;
use super::{Candidate, Lane, Leadership, Raft, RaftError, RaftSettings, Transport, TransportError};
use crate::defaults::{RAFT_ELECTION_MAX, RAFT_ELECTION_MIN, RAFT_HEARTBEAT, RAFT_TRAILING_ENTRIES};
use crate::model::command::{Command, Deregister, Effect, Register, Written};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::NodeId;
use crate::model::level;
use crate::model::request::BoxFuture;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The deadline of every wait on the slowest machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Node names with the index that wrote them last.
pub(super) type Names = BTreeMap<String, u64>;

#[derive(Debug, Default)]
pub(super) struct TestMachine {
    names: Names,
    /// The format level, where it is not that of this build.
    pub(super) level: Option<u32>,
    pub(super) restored_by: Arc<Mutex<Option<ThreadId>>>,
    view: Arc<Mutex<Arc<Names>>>,
}

impl TestMachine {
    pub(super) fn reader(&self) -> Arc<Mutex<Arc<Names>>> {
        Arc::clone(&self.view)
    }
}

fn read_snapshot(input: &mut dyn Read) -> Result<(Names, Vec<u8>), String> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let (digest, rest) = bytes.split_at_checked(32).ok_or("too short")?;
    if Sha256::digest(rest).as_slice() != digest {
        return Err("the checksum is wrong".to_owned());
    }
    rmp_serde::from_slice(rest).map_err(|error| error.to_string())
}

impl Machine for TestMachine {
    fn apply(&mut self, log_index: u64, command: &Command) -> Result<Written, Fault> {
        match command {
            Command::Register(register) if register.node.is_empty() => return Err(Fault::bad_request("a name is needed")),
            Command::Register(register) => {
                self.names.insert(register.node.clone(), log_index);
            }
            Command::Deregister(Deregister { node, .. }) => {
                self.names.remove(node);
            }
            Command::RaiseLevel(to) => self.level = Some(to.number),
            _ => {}
        }
        Ok(Written { index: log_index, effect: Effect::Done })
    }

    fn level(&self) -> u32 {
        self.level.unwrap_or(level::OWN)
    }

    fn publish(&mut self) {
        *self.view.lock().unwrap() = Arc::new(self.names.clone());
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(self.names.clone())
    }

    fn restore(&mut self, input: &mut dyn Read) -> Result<Vec<u8>, String> {
        let (names, last) = read_snapshot(input)?;
        *self.restored_by.lock().unwrap() = Some(thread::current().id());
        self.names = names;
        self.publish();
        Ok(last)
    }

    fn blank(&self) -> Box<dyn Machine> {
        Box::new(TestMachine::default())
    }

    fn servers(&self) -> Vec<(SocketAddr, NodeId)> {
        Vec::new()
    }

    fn verifier(&self) -> Verifier {
        |input| read_snapshot(input).map(|(_names, last)| last)
    }

    fn checker(&self) -> Checker {
        |_command| Ok(())
    }
}

impl Frozen for Names {
    fn write(&self, last: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let bytes = rmp_serde::to_vec(&(self, last.to_vec())).map_err(io::Error::other)?;
        out.write_all(&Sha256::digest(&bytes))?;
        out.write_all(&bytes)
    }
}

pub(super) fn register(name: &str) -> Command {
    Command::Register(Box::new(Register { node: name.to_owned(), address: "127.0.0.1".to_owned(), ..Register::default() }))
}

/// Servers by id, and the pairs that do not hear each other.
#[derive(Default)]
pub(super) struct Net {
    servers: Mutex<BTreeMap<NodeId, Raft>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    /// Questions for an echo that went as messages of their own.
    pub(super) asked: AtomicUsize,
    /// Which format level a server reads up to, where it is not that of this build.
    pub(super) levels: Mutex<BTreeMap<NodeId, u32>>,
}

impl Net {
    fn hears(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.lock().unwrap().contains(&(from, to))
    }

    pub(super) fn isolate(&self, id: NodeId, others: &[NodeId]) {
        let mut cut = self.cut.lock().unwrap();
        cut.extend(others.iter().flat_map(|other| [(id, *other), (*other, id)]));
    }

    pub(super) fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }
}

struct Wire {
    net: Arc<Net>,
    from: NodeId,
}

impl Transport for Wire {
    fn send(&self, to: NodeId, _lane: Lane, message: Bytes, timeout: Duration) -> BoxFuture<Result<Bytes, TransportError>> {
        let (net, from) = (Arc::clone(&self.net), self.from);
        if message::decode::<Envelope>(&message).is_ok_and(|envelope| matches!(envelope.ask, Message::Echo)) {
            net.asked.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async move {
            let server = net.servers.lock().unwrap().get(&to).cloned();
            let Some(server) = server.filter(|_| net.hears(from, to)) else {
                return Err(TransportError::NotSent("refused".to_owned()));
            };
            let answer = tokio::time::timeout(timeout, server.handle(message)).await;
            match answer {
                Ok(answer) if net.hears(to, from) => Ok(answer),
                _ => Err(TransportError::Lost("no answer".to_owned())),
            }
        })
    }

    fn name_of(&self, _server: NodeId) -> Option<String> {
        None
    }

    fn level_of(&self, server: NodeId) -> Option<u32> {
        Some(self.net.levels.lock().unwrap().get(&server).copied().unwrap_or(level::OWN))
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) expect: u32,
    pub(super) raft: Raft,
    pub(super) view: Arc<Mutex<Arc<Names>>>,
    candidates: watch::Sender<Vec<Candidate>>,
    shutdown: Shutdown,
}

impl Member {
    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.view.lock().unwrap())
    }

    pub(super) fn leadership(&self) -> Leadership {
        *self.raft.leadership().borrow()
    }
}

/// A cluster in one process, its disks in a directory that goes with it.
pub(super) struct Cluster {
    pub(super) net: Arc<Net>,
    pub(super) members: Vec<Member>,
    pub(super) snapshot_entries: u64,
    /// The format level that its servers begin with, where it is not that of this build.
    pub(super) level: Option<u32>,
    disks: tempfile::TempDir,
}

pub(super) fn id(number: u128) -> NodeId {
    NodeId::from_u128(number)
}

impl Cluster {
    pub(super) fn new() -> Cluster {
        let disks = tempfile::tempdir().unwrap();
        Cluster { net: Arc::default(), members: Vec::new(), snapshot_entries: 20_000, level: None, disks }
    }

    fn settings(&self, number: u128, data_dir: Option<PathBuf>, bootstrap_expect: u32) -> RaftSettings {
        RaftSettings {
            node_id: id(number),
            data_dir,
            address: None,
            bootstrap_expect,
            heartbeat: RAFT_HEARTBEAT,
            election: (RAFT_ELECTION_MIN, RAFT_ELECTION_MAX),
            snapshot_entries: self.snapshot_entries,
            trailing_entries: RAFT_TRAILING_ENTRIES,
        }
    }

    /// Server 1 alone, without a disk.
    pub(super) async fn in_memory() -> Cluster {
        let mut cluster = Cluster::new();
        cluster.add_with(cluster.settings(1, None, 1)).await;
        cluster
    }

    /// Server 1 alone, with the flag and as the leader.
    pub(super) async fn of_one() -> Cluster {
        let mut cluster = Cluster::new();
        cluster.add(1, 1).await;
        cluster.leader().await;
        cluster
    }

    /// Servers 1, 2, 3 with the flag, and a leader.
    pub(super) async fn of_three() -> Cluster {
        Cluster::new().with_three().await
    }

    pub(super) async fn with_three(mut self) -> Cluster {
        for number in 1..=3 {
            self.add(number, 3).await;
        }
        self.leader().await;
        self
    }

    pub(super) fn disk(&self, number: u128) -> PathBuf {
        self.disks.path().join(number.to_string())
    }

    /// Starts server `number` on its disk, which may have something from before.
    pub(super) async fn add(&mut self, number: u128, expect: u32) {
        let settings = self.settings(number, Some(self.disk(number)), expect);
        self.add_with(settings).await;
    }

    async fn add_with(&mut self, settings: RaftSettings) {
        let member = self.start(settings).await.unwrap();
        self.net.servers.lock().unwrap().insert(member.id, member.raft.clone());
        self.members.push(member);
        self.gossip();
    }

    /// Starts a server that the others do not know yet.
    async fn start(&self, settings: RaftSettings) -> Result<Member, RaftError> {
        let (id, expect) = (settings.node_id, settings.bootstrap_expect);
        let (candidates, seen) = watch::channel(Vec::new());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let machine = TestMachine { level: self.level, ..TestMachine::default() };
            let (view, shutdown) = (machine.reader(), Shutdown::new());
            let wire = Arc::new(Wire { net: Arc::clone(&self.net), from: id });
            match Server::start(settings.clone(), Box::new(machine), wire, seen.clone(), &shutdown).await {
                // The former run's threads may still be about to let go of the directory.
                Err(RaftError::Storage(text)) if text.contains("in use") && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => return started.map(|server| Member { id, expect, raft: Raft { server }, view, candidates, shutdown }),
            }
        }
    }

    /// Starts server `number` on the disk of `disk`, apart from the others.
    pub(super) async fn try_start(&self, number: u128, disk: u128) -> Result<(), RaftError> {
        self.start(self.settings(number, Some(self.disk(disk)), 0)).await.map(drop)
    }

    pub(super) fn gossip(&self) {
        for member in &self.members {
            member.candidates.send_replace(self.candidates());
        }
    }

    pub(super) fn gossip_to(&self, number: u128, seen: &[u128]) {
        let candidates = self.candidates().into_iter().filter(|candidate| seen.contains(&candidate.id.as_u128())).collect();
        self.member(number).candidates.send_replace(candidates);
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate =
            |member: &Member| Candidate { id: member.id, expect: member.expect, cluster: *member.raft.cluster().borrow() };
        self.members.iter().map(candidate).collect()
    }

    pub(super) fn member(&self, number: u128) -> &Member {
        self.members.iter().find(|member| member.id == id(number)).unwrap()
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// The numbers of all members but this one.
    pub(super) fn others(&self, than: u128) -> Vec<u128> {
        self.ids().into_iter().map(NodeId::as_u128).filter(|number| *number != than).collect()
    }

    /// Ends a server as a crash does.
    pub(super) async fn kill(&mut self, number: u128) {
        let position = self.members.iter().position(|member| member.id == id(number)).unwrap();
        let member = self.members.remove(position);
        self.net.servers.lock().unwrap().remove(&member.id);
        let server = &member.raft.server;
        server.stopping.store(true, Ordering::SeqCst);
        server.core.shutdown().await.unwrap();
        server.log.close().await;
        member.shutdown.drain(PATIENCE).await.unwrap();
    }

    /// Ends a server, and starts it again on its disk without the flag.
    pub(super) async fn restart(&mut self, number: u128) {
        self.kill(number).await;
        self.add(number, 0).await;
    }

    pub(super) fn wipe(&self, number: u128) {
        std::fs::remove_dir_all(self.disk(number)).unwrap();
    }

    /// Takes a copy of the disk of server `number`, which must not run.
    pub(super) fn back_up(&self, number: u128) -> PathBuf {
        let copy = self.disks.path().join(format!("{number}-copy"));
        copy_folder(&self.disk(number), &copy);
        copy
    }

    pub(super) async fn until<T>(&self, what: &str, condition: impl Fn(&Cluster) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = condition(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks the present leader for a change of the membership until it is done; another may lead meanwhile.
    pub(super) async fn change<F>(&self, change: impl Fn(Raft) -> F)
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let mut last = None;
        for _ in 0..5 {
            match change(self.leading().await.clone()).await {
                Ok(()) => return,
                // An earlier try was done after all.
                Err(fault) if fault.kind == FaultKind::NotFound && last.is_some() => return,
                Err(fault) => last = Some(fault),
            }
        }
        panic!("the membership is not changed: {last:?}");
    }

    /// The server that leads with its lease.
    pub(super) async fn leading(&self) -> &Raft {
        &self.member(self.leader().await).raft
    }

    /// The number of the server that leads with its lease.
    pub(super) async fn leader(&self) -> u128 {
        let leads = |member: &&Member| member.leadership().is_self && member.raft.holds_lease();
        self.until("a leader", |cluster| cluster.members.iter().find(leads).map(|member| member.id.as_u128())).await
    }

    /// Writes through the present leader, again only when it was certainly not done.
    pub(super) async fn write(&self, name: &str) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.leading().await.propose(register(name)).await {
                Ok(written) => return written.index,
                Err(fault) => assert!(Instant::now() < deadline, "{name} was not written: {fault}"),
            }
        }
    }

    /// Waits until every server shows `name`.
    pub(super) async fn everywhere(&self, name: &str) {
        let shown = |cluster: &Cluster| cluster.members.iter().all(|member| member.names().contains_key(name)).then_some(());
        self.until(&format!("{name} everywhere"), shown).await;
    }
}
