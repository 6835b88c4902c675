//! All links, by datacenter: which there are, in which order they are asked, and why there is none.
//!
//! [`Keeper::run`] is the one task that makes and ends links, from the list of servers, as `choice`
//! decides. `client` reads what is up through [`Links`].

use super::RemoteServer;
use super::admission::Admission;
use super::choice::{self, Candidate, Doubles, Standing};
use super::endpoint::Endpoint;
use super::feed::pulse::Pulse;
use super::link::{Cause, Link, Outage, State, Us};
use crate::config::defaults;
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::shutdown::Shutdown;
use arc_swap::ArcSwap;
use quinn::Connection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

/// The links as callers see them.
#[derive(Debug)]
pub(super) struct Links {
    datacenters: ArcSwap<BTreeMap<String, Arc<Datacenter>>>,
    /// Datacenters that had servers once and have none any more.
    removed: Mutex<BTreeSet<String>>,
    /// With whom this datacenter deals, as of the keeper's last look.
    admission: ArcSwap<Admission>,
    /// The datacenters that operators here have closed, as of the same look.
    shut: watch::Sender<BTreeSet<String>>,
    began: Instant,
    /// Told of each of the keeper's looks.
    reviewed: Notify,
    /// Whether this server is shutting down.
    ended: AtomicBool,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            datacenters: ArcSwap::default(),
            removed: Mutex::default(),
            admission: ArcSwap::default(),
            shut: watch::Sender::default(),
            began: Instant::now(),
            reviewed: Notify::new(),
            ended: AtomicBool::new(false),
        }
    }
}

impl Links {
    /// The datacenter's links, or why there can be none.
    pub(super) fn of(&self, dc: &str) -> Result<Arc<Datacenter>, Fault> {
        if let Some(fault) = self.closed(dc) {
            return Err(fault);
        }
        if self.ended.load(Ordering::Relaxed) {
            // Of a kind that lets whoever asks go to another server.
            return Err(Fault::no_leader().because("this server is shutting down"));
        }
        if let Some(datacenter) = self.datacenters.load().get(dc) {
            return Ok(Arc::clone(datacenter));
        }
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Fault::no_path(if removed.contains(dc) { "removed" } else { "never-joined" }))
    }

    /// The same. In the first moments of a process, before gossip has told which datacenters there are,
    /// waits for this one to be known: a server that has just come back must not say that there is none.
    pub(super) async fn of_soon(&self, dc: &str) -> Result<Arc<Datacenter>, Fault> {
        loop {
            let mut reviewed = std::pin::pin!(self.reviewed.notified());
            reviewed.as_mut().enable();
            let known = self.of(dc);
            let is_settled = known.is_ok() || self.refusal(dc).is_some();
            if is_settled || timeout_at(self.began + defaults::BRIDGE_START_GRACE, reviewed).await.is_err() {
                return known;
            }
        }
    }

    /// All datacenters that have servers, by name.
    pub(super) fn known(&self) -> Arc<BTreeMap<String, Arc<Datacenter>>> {
        self.datacenters.load_full()
    }

    /// The names of those that had servers once.
    pub(super) fn removed(&self) -> Vec<String> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Why nothing of `dc` is read, not even what is held here.
    pub(super) fn closed(&self, dc: &str) -> Option<Fault> {
        self.refusal(dc).map(Fault::no_path)
    }

    /// Whether `dc` is `disabled` or `removed` here.
    pub(super) fn refusal(&self, dc: &str) -> Option<&'static str> {
        let admission = self.admission.load();
        // Each read asks this, and hardly ever is anything closed.
        if admission.is_open() { None } else { admission.refusal(dc, self.cluster_of(dc)) }
    }

    /// The names of the closed ones, in lower case; changes wake the receiver.
    pub(super) fn shut(&self) -> watch::Receiver<BTreeSet<String>> {
        self.shut.subscribe()
    }

    /// The closed ones, each with its refusal.
    pub(super) fn refused(&self) -> Vec<(String, &'static str)> {
        let shut = self.shut.borrow().clone();
        shut.into_iter().filter_map(|dc| self.refusal(&dc).map(|refusal| (dc, refusal))).collect()
    }

    /// Resolves once nothing of `dc` is read any more, with what its readers are told.
    pub(super) async fn until_closed(&self, dc: &str) -> Fault {
        let mut shut = self.shut();
        loop {
            if let Some(fault) = self.closed(dc) {
                return fault;
            }
            if shut.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells which datacenters are closed now, where that is news.
    fn tell_shut(&self, admission: &Admission) {
        let named = admission.disabled.iter().map(String::as_str).chain(admission.removals.iter().map(|(dc, _)| dc));
        let shut: BTreeSet<String> = named.filter(|dc| self.refusal(dc).is_some()).map(str::to_owned).collect();
        self.shut.send_if_modified(|known| {
            let differs = *known != shut;
            *known = shut;
            differs
        });
    }

    /// The datacenters that have servers and are not closed.
    pub(super) fn datacenters(&self) -> Vec<String> {
        self.datacenters.load().keys().filter(|dc| self.closed(dc).is_none()).cloned().collect()
    }

    /// Whether `dc` has servers.
    pub(super) fn knows(&self, dc: &str) -> bool {
        self.datacenters.load().contains_key(dc)
    }

    /// The cluster of `dc` that was linked last, or that it tells.
    pub(super) fn cluster_of(&self, dc: &str) -> Option<ClusterId> {
        *self.datacenters.load().get(dc)?.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a link to `dc` stands, or is about to, after waiting for that no longer than `until`.
    pub(super) async fn have_way(&self, dc: &str, until: Instant) -> bool {
        let datacenter = self.datacenters.load().get(dc).cloned();
        match datacenter {
            Some(datacenter) if datacenter.is_linked() => true,
            Some(datacenter) => datacenter.wait_for_opening(until).await.is_some() || datacenter.is_linked(),
            None => false,
        }
    }

    /// Whether a link to `dc` is down, or none is up.
    pub(super) fn has_outage(&self, dc: &str) -> bool {
        let datacenters = self.datacenters.load();
        let Some(datacenter) = datacenters.get(dc) else { return true };
        let links = datacenter.links.load();
        links.is_empty() || links.iter().any(|link| matches!(link.state(), State::Down(_)))
    }

    /// Forgets all links, and with them what holds the socket open: this server is shutting down.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
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
    /// The cluster that was linked last, or that its servers tell.
    cluster: Mutex<Option<ClusterId>>,
    doubles: Mutex<Doubles>,
}

impl Datacenter {
    /// Whether a link stands.
    pub(super) fn is_linked(&self) -> bool {
        self.links.load().iter().any(|link| link.connection().is_some())
    }

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
            let hope = self.links.load().iter().any(|link| !matches!(link.state(), State::Down(_)));
            if !hope || timeout_at(until, changed).await.is_err() {
                return Err(self.fault());
            }
        }
    }

    /// Whether no link is up yet, and the first dial of one is under way.
    pub(super) fn is_opening(&self) -> bool {
        let is_under_way = |link: &Arc<Link>| matches!(link.state(), State::Trying | State::Greeting(_));
        !self.is_linked() && self.links.load().iter().any(is_under_way)
    }

    /// A first link whose greeting is under way, with its connection, after waiting for one no longer than
    /// `until`. None once a link is up, or where there is no hope.
    pub(super) async fn wait_for_opening(&self, until: Instant) -> Option<(Arc<Link>, Connection)> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let links = self.links.load_full();
            if self.is_linked() {
                return None;
            }
            if let Some(opening) = links.iter().find_map(|link| Some((Arc::clone(link), link.opening()?))) {
                return Some(opening);
            }
            if links.iter().all(|link| matches!(link.state(), State::Down(_))) || timeout_at(until, changed).await.is_err() {
                return None;
            }
        }
    }

    /// Whether this connection of `link` comes up by `until`; whether the link is wanted then is all the same.
    pub(super) async fn comes_up(&self, link: &Link, connection: &Connection, until: Instant) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if link.connection().is_some_and(|(up, _pulse)| up.stable_id() == connection.stable_id()) {
                return true;
            }
            tokio::select! {
                () = changed => {}
                _error = connection.closed() => return false,
                () = sleep_until(until) => return false,
            }
        }
    }

    /// The links, in the order in which they are to be asked.
    pub(super) fn links(&self) -> Arc<Vec<Arc<Link>>> {
        self.links.load_full()
    }

    /// Resolves when a link comes or goes, counted from this call.
    pub(super) fn change(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// A read is sent.
    pub(super) fn note_read(&self) {
        self.doubles.lock().unwrap_or_else(PoisonError::into_inner).earn();
    }

    /// Whether one that is late or failed may be sent a second time; it then counts as sent.
    pub(super) fn may_double(&self) -> bool {
        let may = self.doubles.lock().unwrap_or_else(PoisonError::into_inner).spend();
        metrics::counter!("kontor.bridge.doubles", "sent" => if may { "yes" } else { "no" }).increment(1);
        may
    }

    fn fault(&self) -> Fault {
        Fault::unreachable(self.outage().map_or_else(|| "unreachable: no link stands yet".to_owned(), |outage| outage.reason()))
    }

    /// Why nobody can be asked. What an operator can mend is told before what may pass by itself.
    pub(super) fn outage(&self) -> Option<Outage> {
        let links = self.links.load();
        let outages = links.iter().filter_map(|link| match link.state() {
            State::Down(outage) => Some(outage),
            State::Trying | State::Greeting(_) | State::Up(..) => None,
        });
        outages.min_by_key(|outage| match outage.cause {
            Cause::TlsRefused(_) | Cause::Refused(_) => 0,
            Cause::NotYetKnown => 1,
            Cause::Unreachable(_) => 2,
        })
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
    us: Us,
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
    pub(super) fn new(endpoint: Endpoint, us: Us, require_ca: bool, shutdown: Shutdown, links: Arc<Links>) -> Keeper {
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
        let admission = Arc::clone(&self.us.admission.borrow());
        self.links.admission.store(Arc::clone(&admission));
        self.close_refused(&admission);
        self.pin(servers, &admission);
        let mut by_dc: BTreeMap<&str, Vec<&RemoteServer>> = BTreeMap::new();
        let is_refused = |server: &RemoteServer| {
            // Which cluster a static entry leads to is known only when it greets.
            admission.is_disabled(&server.dc)
                || server.cluster.is_some_and(|id| admission.refusal(&server.dc, Some(id)).is_some())
        };
        for server in servers.iter().filter(|server| server.dc != self.us.datacenter && !is_refused(server)) {
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
            if let Some(reason) = admission.refusal(dc, None) {
                info!(dc = %dc, reason, "datacenter closed");
                continue;
            }
            info!(dc = %dc, "datacenter removed");
            if removed.len() < defaults::BRIDGE_MAX_REMOVED {
                removed.insert(dc.clone());
            }
        }
        removed.retain(|dc| !next.contains_key(dc));
        drop(removed);
        self.links.datacenters.store(Arc::new(next));
        self.links.tell_shut(&admission);
        self.links.reviewed.notify_waiters();
    }

    /// Keeps the links in step with the list until dropped.
    pub(super) async fn run(mut self, mut servers: watch::Receiver<Arc<Vec<RemoteServer>>>) {
        let changed = Arc::clone(&self.changed);
        let mut admission = self.us.admission.clone();
        let (mut listed, mut admitted) = (true, true);
        loop {
            tokio::select! {
                more = servers.changed(), if listed => listed = more.is_ok(),
                more = admission.changed(), if admitted => admitted = more.is_ok(),
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
            let same = |server: &&&RemoteServer| {
                let known = &kept.link.server;
                (server.addr, &server.pins) == (known.addr, &known.pins)
            };
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
        let links: Vec<Arc<Link>> = order.iter().filter_map(|name| kept.get(name)).map(|kept| Arc::clone(&kept.link)).collect();
        if links.first().is_some_and(|first| first.connection().is_some() && !first.is_behind()) {
            // Said again at each review: a feed that was busy at the first did not hear it.
            links.iter().filter(|link| link.is_behind()).for_each(|link| link.clear_out());
        }
        // Thousands may wait, for whom another look that finds the same is for nothing.
        if !datacenter.links.load().iter().map(Arc::as_ptr).eq(links.iter().map(Arc::as_ptr)) {
            datacenter.links.store(Arc::new(links));
            datacenter.changed.notify_waiters();
        }
        self.note_cluster(datacenter, &kept, servers);
        self.kept.insert(dc.to_owned(), kept);
        self.order.insert(dc.to_owned(), order);
    }

    /// Ends the links to what is not dealt with any more; those under way on them end with them.
    fn close_refused(&self, admission: &Admission) {
        for (dc, kept) in self.kept.iter().flat_map(|(dc, kept)| kept.values().map(move |kept| (dc, kept))) {
            if let Some(reason) = admission.refusal(dc, kept.link.cluster()) {
                kept.link.close(reason);
            }
        }
    }

    /// What a server greeted with counts more than what is told of it; the last one known stays.
    fn note_cluster(&self, datacenter: &Datacenter, kept: &BTreeMap<String, Kept>, servers: &[&RemoteServer]) {
        let up = kept.values().find(|kept| kept.link.connection().is_some()).and_then(|kept| kept.link.cluster());
        if let Some(cluster) = up.or_else(|| servers.iter().find_map(|server| server.cluster)) {
            *datacenter.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
        }
    }

    fn candidate(&self, server: &RemoteServer, kept: Option<&Kept>) -> Candidate {
        let standing = match kept.map(|kept| kept.link.state()) {
            None => Standing::None,
            Some(State::Trying | State::Greeting(_)) => Standing::Trying,
            Some(State::Up(connection, _)) => Standing::Up(connection.rtt()),
            Some(State::Down(_)) => Standing::Failing,
        };
        let tie = BuildHasherDefault::<DefaultHasher>::default().hash_one((&self.us.node, &server.name));
        Candidate {
            name: server.name.clone(),
            standing,
            behind: kept.is_some_and(|kept| kept.link.is_behind()),
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
    fn pin(&mut self, servers: &[RemoteServer], admission: &Admission) {
        let mut pins = admission.pins.clone();
        for server in servers {
            let of_dc = pins.entry(server.dc.to_ascii_lowercase()).or_default();
            of_dc.extend(server.pins.iter().map(|pin| pin.to_ascii_lowercase()));
        }
        let by_gossip = |(dc, pins): (&String, &BTreeSet<String>)| pins.iter().any(|pin| !is_configured(admission, dc, pin));
        if !self.pins_told && !self.require_ca && pins.iter().any(by_gossip) {
            self.pins_told = true;
            info!(
                "servers of other datacenters are told by the fingerprints in the WAN pool: whoever can join that pool is trusted; \
                 set `encrypt`, or use a CA and `bridge {{ require_ca = true }}`"
            );
        }
        self.endpoint.trust().set_pins(pins);
    }
}

fn is_configured(admission: &Admission, dc: &str, pin: &str) -> bool {
    admission.pins.get(dc).is_some_and(|pins| pins.contains(pin))
}

/// The round-trip time of the link that is asked first.
pub(super) fn round_trip(links: &Links, dc: &str) -> Option<Duration> {
    links.of(dc).ok()?.ways().first().map(|way| way.connection.rtt())
}
