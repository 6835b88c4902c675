//! All links, by datacenter: which there are, in which order they are asked, and why there is none.
//!
//! [`Keeper::run`] is the one task that makes and ends links, from the list of servers, as `choice`
//! decides. `client` reads what is up through [`Links`].

use super::RemoteServer;
use super::choice::{self, Candidate, Doubles, Standing};
use super::endpoint::Endpoint;
use super::feed::pulse::Pulse;
use super::link::{Cause, Greeting, Link, State};
use crate::config::defaults;
use crate::model::fault::Fault;
use crate::shutdown::Shutdown;
use crate::tls::PinTable;
use arc_swap::ArcSwap;
use quinn::Connection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

/// The links as callers see them.
#[derive(Debug, Default)]
pub(super) struct Links {
    datacenters: ArcSwap<BTreeMap<String, Arc<Datacenter>>>,
    /// Datacenters that had servers once and have none any more.
    removed: Mutex<BTreeSet<String>>,
}

impl Links {
    /// The datacenter's links, or why there can be none.
    pub(super) fn of(&self, dc: &str) -> Result<Arc<Datacenter>, Fault> {
        if let Some(datacenter) = self.datacenters.load().get(dc) {
            return Ok(Arc::clone(datacenter));
        }
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Fault::no_path(if removed.contains(dc) { "removed" } else { "never-joined" }))
    }

    /// Forgets all links, and with them what holds the socket open.
    pub(super) fn clear(&self) {
        self.datacenters.store(Arc::default());
    }
}

/// A link that stands, as one call uses it.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) connection: Connection,
    /// What the feeds on it share.
    pub(super) pulse: Arc<Pulse>,
    parking: Arc<Semaphore>,
}

impl Way {
    /// A place for one more blocking query, if there is one.
    pub(super) fn park(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.parking).try_acquire_owned().ok()
    }

    /// Tells this connection from any other.
    pub(super) fn id(&self) -> usize {
        self.connection.stable_id()
    }
}

/// The links to one other datacenter.
#[derive(Debug, Default)]
pub(super) struct Datacenter {
    /// The one to ask first, its standby, and those that are being dialled.
    links: ArcSwap<Vec<Arc<Link>>>,
    changed: Arc<Notify>,
    pub(super) doubles: Mutex<Doubles>,
}

impl Datacenter {
    /// The links that stand, in the order in which they are to be asked.
    pub(super) fn ways(&self) -> Vec<Way> {
        let way = |link: &Arc<Link>| {
            let (connection, pulse) = link.connection()?;
            Some(Way { connection, pulse, parking: Arc::clone(&link.parking) })
        };
        self.links.load().iter().filter_map(way).collect()
    }

    /// The same, after waiting for a first one while there is hope, and no longer than `until`.
    pub(super) async fn wait_for_ways(&self, until: Instant) -> Result<Vec<Way>, Fault> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let ways = self.ways();
            if !ways.is_empty() {
                return Ok(ways);
            }
            let hope = self.links.load().iter().any(|link| matches!(link.state(), State::Trying | State::Up(..)));
            if !hope || timeout_at(until, changed).await.is_err() {
                return Err(self.fault());
            }
        }
    }

    /// Resolves when a link comes or goes, counted from this call.
    pub(super) fn change(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Why nobody can be asked. What an operator can mend is told before what may pass by itself.
    fn fault(&self) -> Fault {
        let links = self.links.load();
        let outages = links.iter().filter_map(|link| match link.state() {
            State::Down(outage) => Some(outage),
            State::Trying | State::Up(..) => None,
        });
        let outage = outages.min_by_key(|outage| match outage.cause {
            Cause::TlsRefused(_) => 0,
            Cause::NotYetKnown => 1,
            Cause::Unreachable(_) => 2,
        });
        Fault::unreachable(outage.map_or_else(|| "unreachable: no link stands yet".to_owned(), |outage| outage.reason()))
    }
}

/// A link with the task that keeps it; the task ends when this is dropped.
#[derive(Debug)]
struct Kept {
    link: Arc<Link>,
    _task: DropGuard,
}

/// Owns all links.
#[derive(Debug)]
pub(super) struct Keeper {
    endpoint: Endpoint,
    us: Greeting,
    require_ca: bool,
    shutdown: Shutdown,
    links: Arc<Links>,
    kept: BTreeMap<String, BTreeMap<String, Kept>>,
    order: BTreeMap<String, Vec<String>>,
    tried: HashMap<(String, String), Instant>,
    changed: Arc<Notify>,
    pins_told: bool,
}

impl Keeper {
    pub(super) fn new(endpoint: Endpoint, us: Greeting, require_ca: bool, shutdown: Shutdown, links: Arc<Links>) -> Keeper {
        Keeper {
            endpoint,
            us,
            require_ca,
            shutdown,
            links,
            kept: BTreeMap::new(),
            order: BTreeMap::new(),
            tried: HashMap::new(),
            changed: Arc::default(),
            pins_told: false,
        }
    }

    /// Takes in the list as it is now; done once before anybody can call.
    pub(super) fn review(&mut self, servers: &[RemoteServer]) {
        let now = Instant::now();
        self.tried.retain(|_, at| now.duration_since(*at) < defaults::BRIDGE_TRIAL_PAUSE);
        self.pin(servers);
        let mut by_dc: BTreeMap<&str, Vec<&RemoteServer>> = BTreeMap::new();
        for server in servers.iter().filter(|server| server.dc != self.us.datacenter) {
            by_dc.entry(&server.dc).or_default().push(server);
        }
        let view = self.links.datacenters.load_full();
        let mut next = BTreeMap::new();
        for (dc, servers) in &by_dc {
            let datacenter = view.get(*dc).cloned().unwrap_or_default();
            self.review_datacenter(dc, servers, &datacenter, now);
            next.insert((*dc).to_owned(), datacenter);
        }
        self.kept.retain(|dc, _| next.contains_key(dc));
        self.order.retain(|dc, _| next.contains_key(dc));
        let mut removed = self.links.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for dc in view.keys().filter(|dc| !next.contains_key(*dc)) {
            info!(dc = %dc, "datacenter removed");
            if removed.len() < defaults::BRIDGE_MAX_REMOVED {
                removed.insert(dc.clone());
            }
        }
        removed.retain(|dc| !next.contains_key(dc));
        drop(removed);
        self.links.datacenters.store(Arc::new(next));
    }

    /// Keeps the links in step with the list until dropped.
    pub(super) async fn run(mut self, mut servers: watch::Receiver<Arc<Vec<RemoteServer>>>) {
        let changed = Arc::clone(&self.changed);
        let mut listed = true;
        loop {
            tokio::select! {
                more = servers.changed(), if listed => listed = more.is_ok(),
                () = changed.notified() => {}
                () = tokio::time::sleep(defaults::BRIDGE_REVIEW_INTERVAL) => {}
            }
            let list = Arc::clone(&servers.borrow_and_update());
            self.review(&list);
        }
    }

    fn review_datacenter(&mut self, dc: &str, servers: &[&RemoteServer], datacenter: &Datacenter, now: Instant) {
        let mut kept = self.kept.remove(dc).unwrap_or_default();
        // Another address or another certificate is another server under the same name.
        kept.retain(|name, kept| {
            let same = |server: &&&RemoteServer| server.addr == kept.link.server.addr && server.pin == kept.link.server.pin;
            servers.iter().filter(|server| server.name == *name).any(|server| same(&server))
        });
        let candidates: Vec<Candidate> = servers.iter().map(|server| self.candidate(server, kept.get(&server.name))).collect();
        let order = choice::choose(self.order.get(dc).map_or(&[], Vec::as_slice), &candidates);
        kept.retain(|name, _| order.contains(name));
        for name in &order {
            let server = servers.iter().find(|server| server.name == *name);
            if let (Some(server), false) = (server, kept.contains_key(name)) {
                self.tried.insert((dc.to_owned(), name.clone()), now);
                kept.insert(name.clone(), self.keep((*server).clone(), Arc::clone(&datacenter.changed)));
            }
        }
        datacenter
            .links
            .store(Arc::new(order.iter().filter_map(|name| kept.get(name)).map(|kept| Arc::clone(&kept.link)).collect()));
        datacenter.changed.notify_waiters();
        self.kept.insert(dc.to_owned(), kept);
        self.order.insert(dc.to_owned(), order);
    }

    fn candidate(&self, server: &RemoteServer, kept: Option<&Kept>) -> Candidate {
        let standing = match kept.map(|kept| kept.link.state()) {
            None => Standing::None,
            Some(State::Trying) => Standing::Trying,
            Some(State::Up(connection, _)) => Standing::Up(connection.rtt()),
            Some(State::Down(_)) => Standing::Failing,
        };
        let tie = BuildHasherDefault::<DefaultHasher>::default().hash_one((&self.us.node, &server.name));
        Candidate {
            name: server.name.clone(),
            standing,
            alive: server.alive,
            estimate: server.estimate,
            tried: self.tried.contains_key(&(server.dc.clone(), server.name.clone())),
            tie,
        }
    }

    fn keep(&self, server: RemoteServer, waiting: Arc<Notify>) -> Kept {
        let link = Arc::new(Link::new(server, [waiting, Arc::clone(&self.changed)]));
        let end = CancellationToken::new();
        let task = Arc::clone(&link).run(self.endpoint.clone(), self.us.clone());
        let ended = end.clone();
        self.shutdown.spawn_until("bridge link", async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
        Kept { link, _task: end.drop_guard() }
    }

    /// A datacenter with servers is known, whether they tell fingerprints or not.
    fn pin(&mut self, servers: &[RemoteServer]) {
        let mut pins = PinTable::new();
        for server in servers {
            let of_dc = pins.entry(server.dc.to_ascii_lowercase()).or_default();
            of_dc.extend(server.pin.as_ref().map(|pin| pin.to_ascii_lowercase()));
        }
        if !self.pins_told && !self.require_ca && pins.values().any(|pins| !pins.is_empty()) {
            self.pins_told = true;
            info!(
                "servers of other datacenters are told by the fingerprints in the WAN pool: whoever can join that pool is trusted; \
                 set `encrypt`, or use a CA and `bridge {{ require_ca = true }}`"
            );
        }
        self.endpoint.trust().set_pins(pins);
    }
}

/// The round-trip time of the link that is asked first.
pub(super) fn round_trip(links: &Links, dc: &str) -> Option<Duration> {
    links.of(dc).ok()?.ways().first().map(|way| way.connection.rtt())
}
