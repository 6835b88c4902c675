//! The one task that makes and ends links, from the list of servers, as `choice` decides.

use super::RemoteServer;
use super::admission::Admission;
use super::choice::{self, Candidate, Standing};
use super::datacenter::Datacenter;
use super::endpoint::Endpoint;
use super::link::{Link, State, Us};
use super::links::Links;
use crate::defaults;
use crate::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

/// A link with the task that keeps it; the task ends when this is dropped.
#[derive(Debug)]
struct Kept {
    link: Arc<Link>,
    _task: DropGuard,
}

/// Owns all links.
#[derive(Debug)]
pub(super) struct LinkManager {
    endpoint: Endpoint,
    us: Us,
    shutdown: Shutdown,
    links: Arc<Links>,
    kept: BTreeMap<String, BTreeMap<String, Kept>>,
    order: BTreeMap<String, Vec<String>>,
    tried: HashMap<(String, String), Instant>,
    changed: Arc<Notify>,
    pins_told: bool,
}

impl LinkManager {
    pub(super) fn new(endpoint: Endpoint, us: Us, shutdown: Shutdown, links: Arc<Links>) -> LinkManager {
        LinkManager {
            endpoint,
            us,
            shutdown,
            links,
            kept: BTreeMap::new(),
            order: BTreeMap::new(),
            tried: HashMap::new(),
            changed: Arc::default(),
            pins_told: false,
        }
    }

    /// Takes in the present list; done once before the first call.
    pub(super) fn review(&mut self, servers: &[RemoteServer]) {
        let now = Instant::now();
        self.tried.retain(|_, at| now.duration_since(*at) < defaults::BRIDGE_TRIAL_PAUSE);
        let admission = Arc::clone(&self.us.admission.borrow());
        self.links.judge_by(Arc::clone(&admission));
        self.close_refused(&admission);
        self.pin(servers, &admission);
        let mut by_dc: BTreeMap<&str, Vec<&RemoteServer>> = BTreeMap::new();
        let is_refused = |server: &RemoteServer| {
            // The cluster behind a static entry is known only when it greets.
            admission.is_disabled(&server.dc)
                || server.cluster.is_some_and(|id| admission.refusal(&server.dc, Some(id)).is_some())
        };
        for server in servers.iter().filter(|server| server.dc != self.us.datacenter && !is_refused(server)) {
            by_dc.entry(&server.dc).or_default().push(server);
        }
        let view = self.links.known();
        let mut next = BTreeMap::new();
        for (dc, servers) in &by_dc {
            let datacenter = view.get(*dc).cloned().unwrap_or_default();
            self.review_datacenter(dc, servers, &datacenter, now);
            next.insert((*dc).to_owned(), datacenter);
        }
        self.kept.retain(|dc, _| next.contains_key(dc));
        self.order.retain(|dc, _| next.contains_key(dc));
        self.links.take_in(next, &admission);
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
                kept.insert(name.clone(), self.keep((*server).clone(), datacenter.waiting()));
            }
        }
        let links: Vec<Arc<Link>> = order.iter().filter_map(|name| kept.get(name)).map(|kept| Arc::clone(&kept.link)).collect();
        if links.first().is_some_and(|first| first.connection().is_some() && !first.is_behind()) {
            // Repeated at each review: a feed that was busy at the first did not hear it.
            links.iter().filter(|link| link.is_behind()).for_each(|link| link.clear_out());
        }
        datacenter.set_links(links);
        self.note_cluster(datacenter, &kept, servers);
        self.kept.insert(dc.to_owned(), kept);
        self.order.insert(dc.to_owned(), order);
    }

    /// Ends the links to datacenters that are closed now, with all requests on them.
    fn close_refused(&self, admission: &Admission) {
        for (dc, kept) in self.kept.iter().flat_map(|(dc, kept)| kept.values().map(move |kept| (dc, kept))) {
            if let Some(reason) = admission.refusal(dc, kept.link.cluster()) {
                kept.link.close(reason);
            }
        }
    }

    /// Notes the cluster that a server greeted with, or else tells; the last one known stays.
    fn note_cluster(&self, datacenter: &Datacenter, kept: &BTreeMap<String, Kept>, servers: &[&RemoteServer]) {
        let up = kept.values().find(|kept| kept.link.connection().is_some()).and_then(|kept| kept.link.cluster());
        if let Some(cluster) = up.or_else(|| servers.iter().find_map(|server| server.cluster)) {
            datacenter.set_cluster(cluster);
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

    /// Pins the fingerprints of each datacenter with servers; one without fingerprints is known too.
    fn pin(&mut self, servers: &[RemoteServer], admission: &Admission) {
        let mut pins = admission.pins.clone();
        for server in servers {
            let of_dc = pins.entry(server.dc.to_ascii_lowercase()).or_default();
            of_dc.extend(server.pins.iter().map(|pin| pin.to_ascii_lowercase()));
        }
        let is_configured = |dc: &str, pin: &str| admission.pins.get(dc).is_some_and(|pins| pins.contains(pin));
        let by_gossip = |(dc, pins): (&String, &BTreeSet<String>)| pins.iter().any(|pin| !is_configured(dc, pin));
        if !self.pins_told && !self.endpoint.trust().requires_ca() && pins.iter().any(by_gossip) {
            self.pins_told = true;
            info!(
                "servers of other datacenters are told by the fingerprints in the WAN pool: whoever can join that pool is trusted; \
                 set `encrypt`, or use certificates of a CA"
            );
        }
        self.endpoint.trust().set_pins(pins);
    }
}
