//! Who is there: a SWIM pool on `foca`, used twice (LAN and WAN).
//!
//! `agent` starts it, `router` and `leader` read its roster. The core is without I/O; `driver.rs`
//! alone knows tokio. Bytes are authenticated and checked for pool and datacenter before foca
//! sees them, because to foca every valid packet is a join.

mod core;
mod envelope;
mod identity;
mod info;
mod replay;
mod roster;
mod rumours;
mod settings;
mod stream;
mod vivaldi;

use crate::model::coordinate::Coordinate;
use crate::model::ids::NodeId;
use crate::model::member::Member;
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// All agents of one datacenter.
    Lan,
    /// The servers of all datacenters.
    Wan,
}

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct GossipSettings {
    /// Which pool.
    pub pool: Pool,
    /// `<node>` for the LAN, `<node>.<dc>` for the WAN.
    pub name: String,
    /// This agent.
    pub node_id: NodeId,
    /// This agent's datacenter.
    pub datacenter: String,
    /// Where to listen, tcp and udp.
    pub bind: SocketAddr,
    /// The address told to others, when it is not the one bound; port 0 means the bound port.
    pub advertise: Option<SocketAddr>,
    /// The tags told to others (role, dc, id, port, build, …).
    pub tags: BTreeMap<String, String>,
    /// AES-GCM key of 16, 24 or 32 bytes.
    pub encrypt: Option<Vec<u8>>,
    /// Where the last known members and the generation are kept; `None` in dev mode.
    pub snapshot: Option<PathBuf>,
    /// Addresses to join, tried for ever (`host`, `host:port`; names are resolved anew each time).
    pub retry_join: Vec<String>,
    /// Time between tries.
    pub retry_interval: Duration,
    /// Tries before giving up for good; 0 for ever.
    pub retry_max: u32,
    /// Whether to rejoin the last known members after having left on purpose.
    pub rejoin_after_leave: bool,
    /// Probe faster than the pool's default (dev mode, demo, tests).
    pub fast: bool,
    /// How long a failed member is kept (`reconnect_timeout`).
    pub reconnect_timeout: Duration,
    /// Networks from which members are taken; empty for all.
    pub allowed_cidrs: Vec<ipnet::IpNet>,
}

/// Everybody who is or was in the pool, one entry per name; immutable.
#[derive(Debug, Default)]
pub struct Roster {
    /// By name.
    pub members: BTreeMap<String, Member>,
}

impl Roster {
    /// The members that are alive.
    pub fn alive(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.status == crate::model::member::MemberStatus::Alive)
    }
}

/// Why a join failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GossipError(pub String);

/// A running pool; clones are the same one.
#[derive(Clone, Debug)]
pub struct Gossip {}

impl Gossip {
    /// Binds the sockets or fails with the reason; then runs until `shutdown`.
    pub async fn start(_settings: GossipSettings, _shutdown: &Shutdown) -> Result<Gossip, GossipError> {
        todo!()
    }

    /// The address others reach this agent at.
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// The newest roster; this agent is in it.
    pub fn roster(&self) -> Arc<Roster> {
        todo!()
    }

    /// Wakes on every change of the roster; the value is the roster.
    pub fn changes(&self) -> watch::Receiver<Arc<Roster>> {
        todo!()
    }

    /// Joins by any of `addresses`; the number that answered. Fails when none did, with each cause.
    pub async fn join(&self, _addresses: &[String]) -> Result<usize, GossipError> {
        todo!()
    }

    /// Says that this agent is leaving and stays a moment to spread it.
    pub async fn leave(&self) {
        todo!()
    }

    /// Turns a failed member into a left one (`force-leave`); `prune` forgets it at once. Fails with
    /// Consul's text when nobody has that name.
    pub async fn force_leave(&self, _name: &str, _prune: bool) -> Result<(), GossipError> {
        todo!()
    }

    /// Replaces this agent's tags and spreads them.
    pub fn set_tags(&self, _tags: BTreeMap<String, String>) {
        todo!()
    }

    /// Announces another address from now on.
    pub fn set_advertise(&self, _ip: IpAddr) {
        todo!()
    }

    /// This agent's coordinate.
    pub fn coordinate(&self) -> Coordinate {
        todo!()
    }

    /// The coordinate a member told last.
    pub fn coordinate_of(&self, _name: &str) -> Option<Coordinate> {
        todo!()
    }

    /// Numbers for `agent/self` (`serf_lan`, `serf_wan`), as Consul names them.
    pub fn stats(&self) -> BTreeMap<String, String> {
        todo!()
    }
}
