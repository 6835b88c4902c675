//! Everything that crosses datacenters: QUIC with mutual TLS 1.3 on UDP 8300.
//!
//! Requests from the other side go to the [`Handler`] that `agent` gives. The servers come from the WAN roster, as a list of
//! [`RemoteServer`]. The evidence of life is QUIC's own, not gossip's. Works without a local leader and quorum.

mod admission;
mod answers;
mod choice;
mod client;
mod datacenter;
mod datacenters;
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
use crate::model::ids::ClusterId;
use crate::model::request::{Handler, Source};
use crate::shutdown::Shutdown;
use crate::tls::{BridgeIdentity, Trust};
use answers::{Answers, Bounds};
use arc_swap::ArcSwap;
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
use tracing::{info, warn};

pub use admission::Admission;
pub use datacenters::Datacenters;

/// A server of another datacenter, as the WAN pool knows it or the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteServer {
    /// Node name, without the datacenter.
    pub name: String,
    /// Its datacenter.
    pub dc: String,
    /// The address of its bridge.
    pub addr: SocketAddr,
    /// The fingerprints that it may have: the one it tells in the WAN pool, or those configured.
    pub pins: BTreeSet<String>,
    /// The cluster it tells in the WAN pool.
    pub cluster: Option<ClusterId>,
    /// True if gossip takes it for alive.
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
    /// The resolver's error.
    pub cause: String,
}

/// The settings of a bridge.
#[derive(Debug)]
pub struct BridgeSettings {
    /// This agent's node name.
    pub node_name: String,
    /// This agent's datacenter.
    pub datacenter: String,
    /// DNS domain in certificates, `consul` by default.
    pub domain: String,
    /// The address to listen on.
    pub bind: SocketAddr,
    /// The identity shown to peers.
    pub identity: BridgeIdentity,
    /// True if pins are refused and only certificates of the CA count.
    pub require_ca: bool,
    /// Bytes of answers of other datacenters that are held.
    pub cache_bytes: u64,
    /// The cluster this agent is part of, once there is one.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    /// The datacenters it deals with.
    pub admission: watch::Receiver<Arc<Admission>>,
}

/// A running bridge; clones are the same one.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Taken by the shutdown: the socket is closed with its last handle.
    endpoint: Arc<Mutex<Option<Endpoint>>>,
    domain: String,
    local_addr: Arc<ArcSwap<SocketAddr>>,
    links: Arc<Links>,
    us: Us,
    /// The list that the links are made from.
    servers: watch::Receiver<Arc<Vec<RemoteServer>>>,
    inbound: Arc<Inbound>,
    unresolved: Arc<ArcSwap<Vec<UnresolvedName>>>,
    /// Places for examinations.
    examining: Arc<Semaphore>,
    answers: Arc<Answers>,
    answering: Shutdown,
    linking: Shutdown,
}

impl Bridge {
    /// Binds the socket or fails with the reason. Keeps a live link and a warm standby to each datacenter in `servers`.
    pub async fn start(
        settings: BridgeSettings,
        servers: watch::Receiver<Arc<Vec<RemoteServer>>>,
        handler: Arc<dyn Handler>,
        source: Arc<dyn Source>,
        shutdown: &Shutdown,
    ) -> Result<Bridge, String> {
        let BridgeSettings { node_name, datacenter, domain, bind, identity, require_ca, cache_bytes, cluster, admission } =
            settings;
        let trust = trust(&identity, &datacenter, &domain, require_ca)?;
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
            domain,
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

    /// Shows and trusts other certificates from now on, and fingerprints where `require_ca` is unset. Links that stand go
    /// on.
    pub fn reload(&self, identity: BridgeIdentity, require_ca: bool) -> Result<(), String> {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(endpoint) = &*endpoint else { return Ok(()) };
        let trust = trust(&identity, &self.us.datacenter, &self.domain, require_ca)?;
        trust.set_pins(endpoint.trust().pins());
        endpoint.show(identity, trust)
    }

    /// SHA-256 of the certificate that is shown, in hex, by which others pin it.
    pub fn fingerprint(&self) -> Option<String> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.fingerprint()
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        **self.local_addr.load()
    }

    /// Listens on another address of this host from now on, with the same port; links go on or are made anew. On error it
    /// stays where it is.
    pub fn move_to(&self, ip: IpAddr) -> Result<(), String> {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(endpoint) = &*endpoint else { return Ok(()) };
        let bind = SocketAddr::new(ip, self.local_addr().port());
        endpoint.move_to(bind)?;
        self.local_addr.store(Arc::new(bind));
        Ok(())
    }

    /// Notes the names of the static list that cannot be resolved now; for operators to see.
    pub fn set_unresolved(&self, names: Vec<UnresolvedName>) {
        self.unresolved.store(Arc::new(names));
    }

    /// True if a link to `dc` is down, or there is none.
    pub fn has_outage(&self, dc: &str) -> bool {
        self.links.has_outage(dc)
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
            // Peers have had the close; it is repeated to those that missed it.
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

/// The trust in peers by the certificates of `identity`.
fn trust(identity: &BridgeIdentity, datacenter: &str, domain: &str, require_ca: bool) -> Result<Arc<Trust>, String> {
    if require_ca && identity.fingerprint().is_some() {
        return Err("bridge { require_ca = true } needs ca_file, cert_file and key_file, which are not set".to_owned());
    }
    Ok(Arc::new(identity.trust(datacenter, domain, require_ca)))
}

#[cfg(test)]
mod tests;
