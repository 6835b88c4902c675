//! Two simulated datacenters of three servers and a client agent each, whose routers are the real ones.

use super::bridge::Link;
use super::chance::Chance;
use super::cluster::{Cluster, SimulatedReplica};
use super::lan::Lan;
use crate::bridge::Datacenters;
use crate::defaults::RPC_HOLD;
use crate::gossip::Roster;
use crate::model::coordinate::Coordinate;
use crate::model::ids::NodeId;
use crate::model::member::{Member, MemberStatus, tag};
use crate::model::request::{Handler, Hops, Operation, Progress, Request};
use crate::router::paths::{Catalog, Members};
use crate::router::{Paths, Router, RouterSettings, testing};
use crate::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The servers of a datacenter; its client agent comes after them.
pub(super) const SERVERS: usize = 3;
pub(super) const AGENTS: usize = SERVERS + 1;
pub(super) const DATACENTERS: [&str; 2] = ["dc1", "dc2"];
/// A client agent, its server, a server with a link, a server there, and the leader there.
const LONGEST_PATH: usize = 5;

tokio::task_local! {
    /// The agents that the request of this task has come by.
    static PATH: Path;
}

/// The way of a request: each agent with the hops that it got.
pub(super) type Path = Vec<(usize, Hops)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Up,
    /// It takes messages and does not answer.
    Hung,
    Down,
}

/// A state that faults change and messages wait for.
#[derive(Debug)]
pub(super) struct State<T>(watch::Sender<T>);

impl<T: Copy + PartialEq> State<T> {
    pub(super) fn set(&self, state: T) {
        self.0.send_replace(state);
    }

    pub(super) fn is(&self, state: T) -> bool {
        *self.0.borrow() == state
    }

    pub(super) async fn until(&self, state: T) {
        let _ended = self.0.subscribe().wait_for(|now| *now == state).await.is_ok();
    }

    async fn until_not(&self, state: T) {
        let _ended = self.0.subscribe().wait_for(|now| *now != state).await.is_ok();
    }
}

#[derive(Debug)]
pub(super) struct Agent {
    id: NodeId,
    addr: SocketAddr,
    pub condition: State<Condition>,
    /// On servers: true while the link to the other datacenter stands.
    pub linked: State<bool>,
    /// On servers: true while operators close the other datacenter.
    pub closed: State<bool>,
}

#[derive(Debug)]
pub(super) struct World {
    pub chance: Chance,
    pub clusters: [Arc<Cluster>; 2],
    /// The tasks that keep answers of the other datacenter up to date.
    pub feeding: Shutdown,
    pub agents: Vec<Agent>,
    routers: Mutex<Vec<Router>>,
    rosters: [Mutex<Arc<Roster>>; 2],
    under_way: Arc<AtomicUsize>,
    wrong: Mutex<BTreeSet<String>>,
    /// How often requests have gone each way, a letter a hop: to a server, the leader, a neighbour, across.
    pub ways: Mutex<BTreeMap<String, usize>>,
}

/// A message that is under way.
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn id_of(agent: usize) -> NodeId {
    NodeId::from_u128(agent as u128 + 1)
}

fn addr_of(agent: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (agent / AGENTS) as u8, (agent % AGENTS) as u8 + 1], 8300))
}

fn is_server(agent: usize) -> bool {
    agent % AGENTS < SERVERS
}

fn roster(dc: usize, failed: Option<usize>) -> Arc<Roster> {
    let member = |agent: usize| {
        let role = if is_server(agent) { "consul" } else { "node" };
        let (id, dc) = (id_of(agent).to_string(), DATACENTERS[dc]);
        let status = if failed == Some(agent) { MemberStatus::Failed } else { MemberStatus::Alive };
        let tags = [(tag::ROLE, role), (tag::ID, &id), (tag::PORT, "8300"), (tag::DC, dc)];
        Member { addr: addr_of(agent), ..testing::member(&format!("agent{agent}"), 0, status, tags) }
    };
    Arc::new(testing::roster((dc * AGENTS..(dc + 1) * AGENTS).map(member)))
}

impl World {
    /// Routers, logs and feeds end with `shutdown`.
    pub(super) fn new(seed: u64, shutdown: &Shutdown) -> Arc<World> {
        let chance = Chance::new(seed);
        let cluster = |dc: usize| {
            let ids: Vec<NodeId> = (0..SERVERS).map(|at| id_of(dc * AGENTS + at)).collect();
            Cluster::new(DATACENTERS[dc], &ids, chance.clone())
        };
        let agent = |agent| Agent {
            id: id_of(agent),
            addr: addr_of(agent),
            condition: State(watch::Sender::new(Condition::Up)),
            linked: State(watch::Sender::new(true)),
            closed: State(watch::Sender::new(false)),
        };
        let world = Arc::new(World {
            clusters: [cluster(0), cluster(1)],
            feeding: shutdown.child(),
            agents: (0..2 * AGENTS).map(agent).collect(),
            routers: Mutex::default(),
            rosters: [0, 1].map(|dc| Mutex::new(roster(dc, None))),
            under_way: Arc::default(),
            wrong: Mutex::default(),
            ways: Mutex::default(),
            chance,
        });
        world.clusters.iter().for_each(|cluster| shutdown.spawn_until("log", Arc::clone(cluster).run()));
        *world.routers.lock().unwrap() =
            (0..2 * AGENTS).map(|agent| Router::new(world.settings(agent), World::paths(&world, agent), shutdown)).collect();
        world
    }

    fn settings(&self, agent: usize) -> RouterSettings {
        RouterSettings {
            node_name: format!("agent{agent}"),
            node_id: self.agents[agent].id,
            datacenter: self.dc(agent).to_owned(),
            rpc_hold: RPC_HOLD,
            translate_wan_addrs: false,
            ..testing::settings()
        }
    }

    fn paths(world: &Arc<World>, agent: usize) -> Paths {
        let (dc, at) = (agent / AGENTS, agent % AGENTS);
        let replica = || SimulatedReplica { cluster: Arc::clone(&world.clusters[dc]), at };
        let link = || Link { world: Arc::clone(world), from: agent, feeds: Arc::default() };
        Paths {
            catalog: is_server(agent).then(|| Arc::new(replica()) as Arc<dyn Catalog>),
            peers: Arc::new(Lan { world: Arc::clone(world), from: agent }),
            datacenters: is_server(agent).then(|| Arc::new(link()) as Arc<dyn Datacenters>),
            members: Arc::new(Pool { world: Arc::clone(world), dc }),
        }
    }

    /// Takes the routers out, which hold the world and are held by it.
    pub(super) fn end(&self) {
        self.routers.lock().unwrap().clear();
    }

    pub(super) fn router(&self, agent: usize) -> Router {
        self.routers.lock().unwrap()[agent].clone()
    }

    pub(super) fn dc(&self, agent: usize) -> &'static str {
        DATACENTERS[agent / AGENTS]
    }

    pub(super) fn other_dc(&self, agent: usize) -> &'static str {
        DATACENTERS[1 - agent / AGENTS]
    }

    pub(super) fn agent_at(&self, addr: SocketAddr) -> usize {
        self.agents.iter().position(|agent| agent.addr == addr).expect("an address of the roster")
    }

    /// A server of the other datacenter, at random.
    pub(super) fn far_server(&self, from: usize) -> usize {
        (1 - from / AGENTS) * AGENTS + self.chance.below(SERVERS)
    }

    pub(super) fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().insert(what);
    }

    pub(super) fn all_wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().iter().cloned().collect()
    }

    pub(super) fn enter(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.under_way))
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl World {
    pub(super) fn is_down(&self, agent: usize) -> bool {
        self.agents[agent].condition.is(Condition::Down)
    }

    pub(super) fn is_hung(&self, agent: usize) -> bool {
        self.agents[agent].condition.is(Condition::Hung)
    }

    pub(super) async fn until_up(&self, agent: usize) {
        self.agents[agent].condition.until(Condition::Up).await;
    }

    /// Resolves when the connection of a call breaks: by chance, because `to` goes down, or because it hangs for so long.
    pub(super) async fn break_off(&self, to: usize, patience: Duration) {
        let by_chance = async {
            if !self.chance.strikes(40) {
                pending::<()>().await;
            }
            self.chance.pause(0..3_000).await;
        };
        let by_server = async {
            let condition = &self.agents[to].condition;
            loop {
                condition.until_not(Condition::Up).await;
                if self.is_down(to) || timeout(patience, condition.until(Condition::Up)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = by_chance => {}
            () = by_server => {}
        }
    }

    /// Gossip takes one agent of `dc` for failed, or none.
    pub(super) fn set_failed(&self, dc: usize, failed: Option<usize>) {
        *self.rosters[dc].lock().unwrap() = roster(dc, failed);
    }

    /// A server that hung may still do its requests when nobody waits for them any more.
    pub(super) fn process_late(self: &Arc<World>, to: usize, request: &Request, from_dc: Option<&'static str>, path: Path) {
        if !matches!(request.operation, Operation::Write(_)) || self.chance.one_in(2) {
            return;
        }
        let (world, request) = (Arc::clone(self), request.clone());
        tokio::spawn(async move {
            let _under_way = world.enter();
            world.until_up(to).await;
            let handled = world.router(to).handle(request, from_dc, Progress::default());
            let _nobody_waits = World::on_path(path, handled).await;
        });
    }
}

impl World {
    /// Runs `request` with its path so far.
    pub(super) async fn on_path<F: Future>(path: Path, request: F) -> F::Output {
        PATH.scope(path, request).await
    }

    /// The path of `request`, which goes from one agent to another; checks that it may.
    pub(super) fn hop(&self, from: usize, to: usize, request: &Request, is_crossing: bool) -> Path {
        // Feeds are tasks of their own, and ask for all their readers.
        let mut path = PATH.try_with(Path::clone).unwrap_or_else(|_feed| vec![(from, Hops::default())]);
        let way = format!("{path:?} to {to} with {:?}", request.hops);
        let last_hops = path.last().map(|(_, hops)| *hops).unwrap_or_default();
        let is_leaf = |hops: Hops| hops.to_leader || hops.via_peer;
        for (is_broken, rule) in [
            (path.iter().any(|(agent, _)| *agent == to), "a request comes back to where it was"),
            (path.len() >= LONGEST_PATH, "a request makes too many hops"),
            (is_crossing && path.iter().any(|(_, hops)| hops.crossed), "a request crosses twice"),
            (is_crossing && !request.hops.crossed, "a request crosses and does not say so"),
            (!is_crossing && is_leaf(last_hops), "a request goes on that was to be answered"),
        ] {
            if is_broken {
                self.wrong(format!("{rule}: {way}"));
            }
        }
        path.push((to, request.hops));
        let letter = |hops: &Hops| match hops {
            Hops { to_leader: true, .. } => 'L',
            Hops { via_peer: true, .. } => 'A',
            Hops { crossed: true, .. } => 'X',
            Hops { crossed: false, to_leader: false, via_peer: false } => 'S',
        };
        *self.ways.lock().unwrap().entry(path.iter().skip(1).map(|(_, hops)| letter(hops)).collect()).or_default() += 1;
        path
    }
}

/// The members, as an agent of one datacenter knows them.
#[derive(Debug)]
struct Pool {
    world: Arc<World>,
    dc: usize,
}

impl Members for Pool {
    fn lan(&self) -> Arc<Roster> {
        Arc::clone(&self.world.rosters[self.dc].lock().unwrap())
    }

    fn wan(&self) -> Option<Arc<Roster>> {
        None
    }

    fn coordinate(&self) -> Coordinate {
        Coordinate::default()
    }

    fn coordinate_of(&self, _name: &str) -> Option<Coordinate> {
        None
    }
}
