//! Membership: a SWIM pool on `foca`, used twice (LAN and WAN).
//! `agent` starts it, `router` and `leader` read its roster. The core is without I/O; the driver alone knows tokio. Bytes are
//! authenticated and checked for pool and datacenter before foca sees them, because to foca every valid packet is a join.

mod core;
mod driver;
mod envelope;
mod horizon;
mod identity;
mod info;
mod memberlist;
mod replay;
mod roster;
mod rumours;
mod settings;
mod snapshot;
mod stream;
mod vivaldi;

use self::core::Core;
use self::driver::{Company, CoreHandle, JoinPlan};
use self::identity::MAX_GENERATION;
use self::snapshot::Snapshot;
use crate::defaults;
use crate::listener::{Listener, Mover};
use crate::model::coordinate::Coordinate;
use crate::model::ids::NodeId;
use crate::model::member::{Member, MemberStatus};
use crate::model::removals::Removals;
use crate::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// All agents of one datacenter.
    Lan,
    /// The servers of all datacenters.
    Wan,
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Pool::Lan => "LAN",
            Pool::Wan => "WAN",
        })
    }
}

#[derive(Clone, Debug)]
pub struct GossipSettings {
    pub pool: Pool,
    /// `<node>` for the LAN, `<node>.<dc>` for the WAN.
    pub name: String,
    pub node_id: NodeId,
    pub datacenter: String,
    /// The address to listen at, tcp and udp.
    pub bind: SocketAddr,
    /// The address for others, when it is not the one bound; port 0 means the bound port.
    pub advertise: Option<SocketAddr>,
    /// The tags for others (role, dc, id, port, build, …).
    pub tags: BTreeMap<String, String>,
    /// AES-GCM key of 16, 24 or 32 bytes.
    pub encrypt: Option<Vec<u8>>,
    /// The file of the last known members and the generation; `None` in dev mode.
    pub snapshot: Option<PathBuf>,
    /// Addresses to join, tried for ever (`host`, `host:port`; names are resolved anew each time).
    pub retry_join: Vec<String>,
    pub retry_interval: Duration,
    /// Tries before giving up for good; 0 for ever.
    pub retry_max: u32,
    /// True to rejoin the last known members after having left on purpose.
    pub rejoin_after_leave: bool,
    /// Probe faster than the pool's default (dev mode, demo, tests).
    pub fast: bool,
    /// The time for which a failed member is kept (`reconnect_timeout`).
    pub reconnect_timeout: Duration,
    /// Networks from which members are taken; empty for all.
    pub allowed_cidrs: Vec<ipnet::IpNet>,
}

/// All members, present and former, one entry per name; immutable.
#[derive(Debug, Default)]
pub struct Roster {
    pub members: BTreeMap<String, Member>,
}

impl Roster {
    pub fn alive(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.status == MemberStatus::Alive)
    }
}

/// The reason why a join failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GossipError(pub String);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Members that answered, this agent itself included.
    pub answered: usize,
    /// Datacenters of members that answered and were not admitted, because operators here have removed them.
    pub removed: BTreeSet<String>,
}

/// A running pool; clones are the same one.
#[derive(Clone, Debug)]
pub struct Gossip {
    pool: Pool,
    core: CoreHandle,
    tcp: Mover,
    left: Arc<watch::Sender<bool>>,
    given_up: watch::Receiver<Option<String>>,
}

impl Gossip {
    /// Binds the sockets or fails with the reason; then runs until `shutdown`.
    pub async fn start(settings: GossipSettings, shutdown: &Shutdown) -> Result<Gossip, GossipError> {
        let (tcp, udp) = driver::bind(settings.bind).await?;
        let unknown = |error| GossipError(format!("cannot tell the bound address: {error}"));
        let bound = tcp.local_addr().map_err(unknown)?;
        let (tcp, tcp_mover) = Listener::new(tcp).map_err(unknown)?;
        let addr = advertised(settings.advertise, bound)?;
        let before = remembered(&settings).await?;
        let generation = before.generation;
        let core = Core::new(&settings, addr, generation, clock(), rand::random(), Instant::now()).map_err(GossipError)?;
        let core = driver::spawn(settings.pool, core, udp, shutdown);
        let left = Arc::new(watch::Sender::new(false));
        shutdown.spawn_until("gossip-listen", driver::serve(tcp, core.clone(), shutdown.clone()));
        if let Some(path) = settings.snapshot.clone() {
            let (company, left) = (company(&settings), Arc::clone(&left));
            let keeping = driver::keep_snapshot(core.clone(), company, path, before.clone(), left, shutdown.token());
            shutdown.spawn("gossip-snapshot", keeping);
        }
        let (giving_up, given_up) = watch::channel(None);
        let plan = join_plan(&settings, before, left.subscribe(), giving_up);
        shutdown.spawn_until("gossip-join", driver::keep_joined(core.clone(), plan));
        Ok(Gossip { pool: settings.pool, core, tcp: tcp_mover, left, given_up })
    }

    /// The bound address.
    pub fn bound(&self) -> Option<SocketAddr> {
        self.tcp.at()
    }

    /// Listens on another address of this host, with the same port; on error it stays. The address for others does not change.
    pub async fn move_to(&self, ip: IpAddr) -> Result<(), GossipError> {
        let port = self.tcp.at().map_or(0, |at| at.port());
        let (tcp, udp) = driver::bind(SocketAddr::new(ip, port)).await?;
        self.core.take_socket(udp);
        self.tcp.replace(tcp).map_err(|error| GossipError(format!("cannot tell the bound address: {error}")))
    }

    /// Asks some members for their states, down ones too: for when the network has come back.
    pub async fn look_around(&self) {
        // A stopped pool has no members to ask.
        let _ = self.core.call(|core, now| core.look_around(now)).await;
    }

    /// The address at which others reach this agent.
    pub fn local_addr(&self) -> SocketAddr {
        self.core.view().addr
    }

    /// The newest roster; this agent is in it.
    pub fn roster(&self) -> Arc<Roster> {
        self.core.roster.borrow().clone()
    }

    /// Wakes on every change of the roster; the value is the roster.
    pub fn changes(&self) -> watch::Receiver<Arc<Roster>> {
        self.core.roster.clone()
    }

    /// Joins by any of `addresses`. Fails when none answered, with each cause.
    pub async fn join(&self, addresses: &[String]) -> Result<Joined, GossipError> {
        driver::join(&self.core, self.pool, addresses).await
    }

    /// Resolves with the reason when the configured addresses were tried `retry_max` times in vain.
    pub async fn fatal(&self) -> String {
        let mut given_up = self.given_up.clone();
        let reason = given_up.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => format!("{} pool: {reason}", self.pool),
            // The pool has stopped; nothing is given up any more.
            None => std::future::pending().await,
        }
    }

    /// Announces that this agent leaves, and stays a moment to spread it.
    pub async fn leave(&self) {
        self.left.send_replace(true);
        let alone = self.roster().alive().count() <= 1;
        let rounds =
            if alone { 1 } else { (defaults::GOSSIP_LEAVE_LINGER.as_millis() / defaults::GOSSIP_LEAVE_ROUND.as_millis()).max(3) };
        if self.core.call(|core, now| core.leave(now)).await.is_err() {
            return;
        }
        // Two thirds of the time the others hear that it leaves, the rest that it has gone.
        for round in 0..rounds {
            tokio::time::sleep(defaults::GOSSIP_LEAVE_ROUND).await;
            let gone = 3 * (round + 1) >= 2 * rounds;
            let spread = move |core: &mut Core, now| {
                if gone {
                    core.depart(now);
                }
                core.leave_round(now);
            };
            if self.core.call(spread).await.is_err() {
                return;
            }
        }
    }

    /// Turns a failed member into a left one; `prune` forgets it at once. An unknown name fails with Consul's text.
    pub async fn force_leave(&self, name: &str, prune: bool) -> Result<(), GossipError> {
        let name = name.to_owned();
        self.core.call(move |core, now| core.force_leave(&name, prune, now)).await?.map_err(GossipError)
    }

    /// One of this agent's present tags.
    pub fn tag(&self, name: &str) -> Option<String> {
        self.core.wanted.borrow().tags.get(name).cloned()
    }

    /// Sets one of this agent's tags, or removes it, and spreads that.
    pub fn set_tag(&self, name: &str, value: Option<String>) {
        self.core.wanted.send_modify(|wanted| match value {
            Some(value) => _ = wanted.tags.insert(name.to_owned(), value),
            None => _ = wanted.tags.remove(name),
        });
    }

    /// Removes members of these clusters from the roster and refuses them from any source; members of other clusters come back.
    pub fn set_removals(&self, removals: Arc<Removals>) {
        self.core.wanted.send_modify(|wanted| wanted.removals = Some(removals));
    }

    /// Announces another address from now on.
    pub fn set_advertise(&self, ip: IpAddr) {
        self.core.wanted.send_modify(|wanted| wanted.advertise = Some(ip));
    }

    pub fn coordinate(&self) -> Coordinate {
        self.core.view().coordinate.clone()
    }

    /// The last coordinate that a member reported.
    pub fn coordinate_of(&self, name: &str) -> Option<Coordinate> {
        let view = self.core.view();
        if view.name == name { Some(view.coordinate.clone()) } else { view.coordinates.get(name).cloned() }
    }

    /// Numbers for `agent/self` (`serf_lan`, `serf_wan`), as Consul names them.
    pub fn stats(&self) -> BTreeMap<String, String> {
        self.core.view().stats.clone()
    }
}

/// The address for others: the given one, with the bound port if it has none.
fn advertised(given: Option<SocketAddr>, bound: SocketAddr) -> Result<SocketAddr, GossipError> {
    let addr = match given {
        Some(addr) if addr.port() == 0 => SocketAddr::new(addr.ip(), bound.port()),
        Some(addr) => addr,
        None => bound,
    };
    if addr.ip().is_unspecified() {
        return Err(GossipError(format!("expected an address that others can reach, got {addr}; set advertise_addr")));
    }
    Ok(addr)
}

/// The snapshot on disk with the generation of this start, which is on disk when this returns.
async fn remembered(settings: &GossipSettings) -> Result<Snapshot, GossipError> {
    let clock = clock();
    let Some(path) = settings.snapshot.clone() else {
        return Ok(Snapshot { generation: clock, ..Snapshot::default() });
    };
    let begin = move || {
        let before = Snapshot::read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "starting without last known members");
            Snapshot::default()
        });
        let snapshot = Snapshot { generation: next_generation(before.generation, clock), ..before };
        snapshot.write(&path).map(|()| snapshot)
    };
    let begun = tokio::task::spawn_blocking(begin).await.map_err(|error| GossipError(error.to_string()))?;
    begun.map_err(GossipError)
}

/// The generation of a start: later than the last one, unless no clock can have read that.
fn next_generation(before: u64, clock: u64) -> u64 {
    match before.checked_add(1) {
        Some(next) if next < MAX_GENERATION / 2 => next.max(clock),
        _ => clock,
    }
}

/// Milliseconds since 1970, by the clock of this host.
fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_millis());
    u64::try_from(since).unwrap_or(1).min(MAX_GENERATION / 2)
}

fn join_plan(
    settings: &GossipSettings,
    before: Snapshot,
    left: watch::Receiver<bool>,
    given_up: watch::Sender<Option<String>>,
) -> JoinPlan {
    let slowest = if settings.fast { defaults::GOSSIP_FAST_RECONNECT } else { Duration::MAX };
    JoinPlan {
        company: company(settings),
        retry_join: settings.retry_join.clone(),
        interval: settings.retry_interval.clamp(defaults::GOSSIP_TICK, slowest),
        max: settings.retry_max,
        last_known: if before.left && !settings.rejoin_after_leave { Vec::new() } else { before.members },
        left,
        given_up,
    }
}

fn company(settings: &GossipSettings) -> Company {
    Company { pool: settings.pool, datacenter: settings.datacenter.clone() }
}

#[cfg(test)]
mod tests;
