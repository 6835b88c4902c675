//! Everything that crosses datacenters: QUIC with mutual TLS 1.3 on UDP 8300.
//!
//! `router` calls [`Bridge::call`]; requests from the other side go to the [`Handler`] that `agent`
//! gives. Which servers there are comes from the WAN roster, as a list of [`RemoteServer`]. The
//! evidence of life is QUIC's own, not gossip's. Works without a local leader and quorum.

use crate::model::fault::Fault;
use crate::model::request::{Handler, Reply, Request};
use crate::shutdown::Shutdown;
use crate::tls::BridgeIdentity;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A server of another datacenter, as the WAN pool knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteServer {
    /// Its node name, without the datacenter.
    pub name: String,
    /// Its datacenter.
    pub dc: String,
    /// Where its bridge listens.
    pub addr: SocketAddr,
    /// The fingerprint of its self-made certificate, if it tells one.
    pub pin: Option<String>,
    /// Whether gossip takes it for alive.
    pub alive: bool,
    /// Estimated round-trip time by coordinates, for the choice of the first link.
    pub estimate: Option<Duration>,
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
}

/// A running bridge; clones are the same one.
#[derive(Clone, Debug)]
pub struct Bridge {}

impl Bridge {
    /// Binds the socket or fails with the reason; keeps a live link and a warm standby to each
    /// datacenter in `servers` from then on.
    pub async fn start(
        _settings: BridgeSettings,
        _servers: watch::Receiver<Arc<Vec<RemoteServer>>>,
        _handler: Arc<dyn Handler>,
        _shutdown: &Shutdown,
    ) -> Result<Bridge, String> {
        todo!()
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// Sends `request` (its hops already say that it crosses) to a server of `dc`. A read that is
    /// late or failed goes once to the standby; a write is sent at most once. `timeout` is the
    /// longest wait of a blocking query plus its margin; without progress the call fails within 2 s.
    pub async fn call(&self, _dc: &str, _request: Request, _timeout: Duration) -> Result<Reply, Fault> {
        todo!()
    }

    /// The round-trip time of the link to `dc`, if there is one.
    pub fn rtt(&self, _dc: &str) -> Option<Duration> {
        todo!()
    }

    /// Closes all links; bounded by `grace`.
    pub async fn shutdown(&self, _grace: Duration) {
        todo!()
    }
}
