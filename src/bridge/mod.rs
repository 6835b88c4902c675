//! Everything that crosses datacenters: QUIC with mutual TLS 1.3 on UDP 8300.
//!
//! `router` calls [`Bridge::call`]; requests from the other side go to the [`Handler`] that `agent`
//! gives. Which servers there are comes from the WAN roster, as a list of [`RemoteServer`]. The
//! evidence of life is QUIC's own, not gossip's. Works without a local leader and quorum.

mod admission;
mod cache;
mod choice;
mod client;
mod datacenter;
mod dialled;
mod doctor;
mod endpoint;
mod feed;
mod frame;
mod inbound;
mod junk;
mod link_manager;
mod link;
mod links;
mod probe;
mod quic_runtime;
mod report;
mod serve;

use crate::defaults;
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::query::Identity;
use crate::model::request::{Handler, Reply, Request, Source};
use crate::shutdown::Shutdown;
use crate::tls::{BridgeIdentity, Trust};
use arc_swap::ArcSwap;
use cache::{Answers, Bounds};
use endpoint::Endpoint;
use inbound::Inbound;
use link::Us;
use link_manager::LinkManager;
use links::Links;
use serve::Server;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::{info, warn};

pub use admission::Admission;
pub use cache::{FeedReport, Followed};
pub use feed::cached_feed::Held;

/// A server of another datacenter, as the WAN pool knows it or the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteServer {
    /// Its node name, without the datacenter.
    pub name: String,
    /// Its datacenter.
    pub dc: String,
    /// Where its bridge listens.
    pub addr: SocketAddr,
    /// The fingerprints that it may have: the one it tells in the WAN pool, or those configured.
    pub pins: BTreeSet<String>,
    /// The cluster it tells in the WAN pool.
    pub cluster: Option<ClusterId>,
    /// Whether gossip takes it for alive.
    pub alive: bool,
    /// Estimated round-trip time by coordinates, for the choice of the first link.
    pub estimate: Option<Duration>,
}

/// A name of the static list that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedName {
    /// The datacenter it is listed under.
    pub dc: String,
    /// As configured, `host:port`.
    pub name: String,
    /// What the resolver said.
    pub cause: String,
}

/// How the bridge is set up.
#[derive(Debug)]
pub struct BridgeSettings {
    /// This agent's node name.
    pub node_name: String,
    /// This agent's datacenter.
    pub datacenter: String,
    /// DNS domain in certificates, `consul` by default.
    pub domain: String,
    /// Where to listen.
    pub bind: SocketAddr,
    /// What it shows.
    pub identity: BridgeIdentity,
    /// Whether pins are refused and only certificates of the CA count.
    pub require_ca: bool,
    /// Bytes of answers of other datacenters that are held.
    pub cache_bytes: u64,
    /// The cluster this agent is part of, once there is one.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    /// With which datacenters it deals.
    pub admission: watch::Receiver<Arc<Admission>>,
}

/// A running bridge; clones are the same one.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Taken by the shutdown: the socket is closed with the last handle on it.
    endpoint: Arc<Mutex<Option<Endpoint>>>,
    judge: Arc<Judge>,
    local_addr: Arc<ArcSwap<SocketAddr>>,
    links: Arc<Links>,
    us: Us,
    /// The list that the links are made from.
    servers: watch::Receiver<Arc<Vec<RemoteServer>>>,
    inbound: Arc<Inbound>,
    unresolved: Arc<ArcSwap<Vec<UnresolvedName>>>,
    /// Room for looks for faults.
    examining: Arc<Semaphore>,
    answers: Arc<Answers>,
    answering: Shutdown,
    linking: Shutdown,
}

impl Bridge {
    /// Binds the socket or fails with the reason; keeps a live link and a warm standby to each
    /// datacenter in `servers` from then on.
    pub async fn start(
        settings: BridgeSettings,
        servers: watch::Receiver<Arc<Vec<RemoteServer>>>,
        handler: Arc<dyn Handler>,
        source: Arc<dyn Source>,
        shutdown: &Shutdown,
    ) -> Result<Bridge, String> {
        let BridgeSettings { node_name, datacenter, domain, bind, identity, require_ca, cache_bytes, cluster, admission } =
            settings;
        let judge = Judge { datacenter: datacenter.clone(), domain: domain.clone() };
        let trust = judge.trust(&identity, require_ca)?;
        let endpoint = Endpoint::bind(bind, identity, trust, &domain)?;
        let local_addr = endpoint.quic.local_addr().map_err(|error| format!("bridge on {bind} udp: {error}"))?;
        let us = Us { node: node_name, datacenter, cluster, admission };
        let (links, answering, linking) = (Arc::new(Links::default()), shutdown.child(), shutdown.child());
        let mut manager = LinkManager::new(endpoint.clone(), us.clone(), linking.clone(), Arc::clone(&links));
        manager.review(&servers.borrow());
        linking.spawn_until("bridge links", manager.run(servers.clone()));
        let answers = Arc::new(Answers::new(Arc::clone(&links), cache_bytes, Bounds::default(), linking.clone()));
        linking.spawn_until("bridge answers", Arc::clone(&answers).forget_closed());
        let inbound = Arc::<Inbound>::default();
        let server = Arc::new(Server::new(endpoint.clone(), us.clone(), handler, source, Arc::clone(&inbound)));
        answering.spawn("bridge", server.run(answering.clone()));
        let fingerprint = endpoint.fingerprint().unwrap_or_default();
        info!(addr = %local_addr, fingerprint = %format!("sha256:{fingerprint}"), "bridge listens");
        Ok(Bridge {
            endpoint: Arc::new(Mutex::new(Some(endpoint))),
            judge: Arc::new(judge),
            local_addr: Arc::new(ArcSwap::from_pointee(local_addr)),
            links,
            us,
            servers,
            inbound,
            unresolved: Arc::default(),
            examining: Arc::new(Semaphore::new(defaults::DOCTOR_MAX_AT_ONCE)),
            answers,
            answering,
            linking,
        })
    }

    /// Shows and trusts other certificates from now on, and fingerprints where `require_ca` is unset; links
    /// that stand are not dropped.
    pub fn reload(&self, identity: BridgeIdentity, require_ca: bool) -> Result<(), String> {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(endpoint) = &*endpoint else { return Ok(()) };
        let trust = self.judge.trust(&identity, require_ca)?;
        trust.set_pins(endpoint.trust().pins());
        endpoint.show(identity, trust)
    }

    /// SHA-256 of the certificate that is shown, in hex: what others pin it by.
    pub fn fingerprint(&self) -> Option<String> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.fingerprint()
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        **self.local_addr.load()
    }

    /// Listens on another address of this host from now on, with the same port; links go on or are
    /// made anew. On error it stays where it is.
    pub fn move_to(&self, ip: IpAddr) -> Result<(), String> {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(endpoint) = &*endpoint else { return Ok(()) };
        let bind = SocketAddr::new(ip, self.local_addr().port());
        endpoint.move_to(bind)?;
        self.local_addr.store(Arc::new(bind));
        Ok(())
    }

    /// Sends `request` (its hops already say that it crosses) to a server of `dc`. A read that is
    /// late or failed goes once to the standby; a write is sent at most once. `timeout` is the
    /// longest wait of a blocking query plus its margin; without progress the call fails within 2 s.
    pub async fn call(&self, dc: &str, request: &Request, timeout: Duration) -> Result<Reply, Fault> {
        client::call(&self.links, dc, request, timeout).await
    }

    /// Whether a link to `dc` stands, or is about to, after waiting for that no longer than `until`. Where
    /// it says no, a call may still wait for one, or tell why there is none.
    pub async fn has_way(&self, dc: &str, until: Instant) -> bool {
        self.links.have_way(dc, until).await
    }

    /// The feed of a stale-allowed read of `dc`, begun if there is none. `query` is without what is
    /// each asker's own: it neither blocks nor bounds its age.
    pub fn follow(&self, dc: &str, query: &Arc<Identity>) -> Followed {
        Followed::new(&self.answers, dc, query)
    }

    /// What is held of `dc`, and how many feeds of it stand.
    pub fn feeds(&self, dc: &str) -> FeedReport {
        self.answers.report(dc)
    }

    /// Takes in which names of the static list cannot be resolved now; for operators to see.
    pub fn set_unresolved(&self, names: Vec<UnresolvedName>) {
        self.unresolved.store(Arc::new(names));
    }

    /// Why nothing of `dc` is read, not even what is held here: its operators here switched it off or
    /// removed it.
    pub fn closed(&self, dc: &str) -> Option<Fault> {
        self.links.closed(dc)
    }

    /// Resolves once `dc` is closed, with the fault of [`Bridge::closed`].
    pub async fn until_closed(&self, dc: &str) -> Fault {
        self.links.until_closed(dc).await
    }

    /// The datacenters that have servers in the list and are not closed.
    pub fn datacenters(&self) -> Vec<String> {
        self.links.datacenters()
    }

    /// Whether `dc` has servers in the list, closed or not.
    pub fn knows(&self, dc: &str) -> bool {
        self.links.knows(dc)
    }

    /// The cluster of `dc` that was linked last, or that it tells in the WAN pool.
    pub fn cluster_of(&self, dc: &str) -> Option<ClusterId> {
        self.links.cluster_of(dc)
    }

    /// Whether a link to `dc` is down, or there is none.
    pub fn has_outage(&self, dc: &str) -> bool {
        self.links.has_outage(dc)
    }

    /// The round-trip time of the link to `dc`, if there is one.
    pub fn rtt(&self, dc: &str) -> Option<Duration> {
        self.links.round_trip(dc)
    }

    /// Closes all links and the socket; bounded by `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let Some(endpoint) = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let all = async {
            if let Err(left) = self.answering.drain(defaults::BRIDGE_DRAIN * 2).await {
                warn!(?left, "bridge: tasks did not end");
            }
            self.close(&endpoint);
            if let Err(left) = self.linking.drain(defaults::BRIDGE_DRAIN).await {
                warn!(?left, "bridge: tasks did not end");
            }
            // Peers have been told; what is left is to say so again to those that missed it.
            let _ = tokio::time::timeout(defaults::BRIDGE_DRAIN, endpoint.quic.wait_idle()).await;
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            self.close(&endpoint);
        }
    }

    fn close(&self, endpoint: &Endpoint) {
        self.linking.trigger();
        self.links.end();
        endpoint.quic.close(frame::CANCELLED, b"shutting down");
    }
}

/// The settings by which peers are judged, whatever the certificates of the day are.
#[derive(Debug)]
struct Judge {
    datacenter: String,
    domain: String,
}

impl Judge {
    fn trust(&self, identity: &BridgeIdentity, require_ca: bool) -> Result<Arc<Trust>, String> {
        if require_ca && identity.fingerprint().is_some() {
            return Err("bridge { require_ca = true } needs ca_file, cert_file and key_file, which are not set".to_owned());
        }
        Ok(Arc::new(identity.trust(&self.datacenter, &self.domain, require_ca)))
    }
}

#[cfg(test)]
mod tests;
