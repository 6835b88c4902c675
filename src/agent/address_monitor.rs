//! Addresses of a running agent: templates are looked up anew, listeners move, and the other agents hear of it.
//!
//! [`AddressMonitor`] decides, without I/O; [`follow`] acts. An address that is gone without another one in its place
//! stays in use.

use super::listeners::{self, MovableListener};
use crate::bridge::Bridge;
use crate::clock;
use crate::config::{Config, Host, HttpAddress, Located};
use crate::defaults;
use crate::gossip::Gossip;
use crate::http::Opener;
use crate::listener::{Mover, cannot_listen};
use crate::local::Local;
use crate::model::member::tag;
use crate::telemetry::FailureThrottle;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tracing::{info, warn};

#[derive(Debug, Default)]
struct AddressMonitor {
    /// Addresses of this agent that the host did not have.
    absent: Vec<IpAddr>,
    reported: bool,
}

#[derive(Debug)]
struct Observed {
    /// The settings with the wanted addresses.
    wanted: Config,
    /// Why an address stays, when that is worth a warning.
    stays: Option<String>,
    /// All reported addresses are found again.
    found_again: bool,
    /// An address is the host's again, perhaps with its network.
    is_back: bool,
}

impl AddressMonitor {
    fn look(&mut self, running: &Config, host: Host) -> Observed {
        let in_use = running.in_use();
        let Located { config: wanted, missing } = running.located(&host.clone().preferring(&in_use));
        let is_back = self.absent.iter().any(|ip| host.has(*ip) && in_use.contains(ip));
        self.absent = in_use.into_iter().filter(|ip| !host.has(*ip)).collect();
        let was_reported = std::mem::replace(&mut self.reported, !missing.is_empty());
        Observed {
            wanted,
            stays: (self.reported && !was_reported).then(|| missing.join("; ")),
            found_again: was_reported && !self.reported,
            is_back,
        }
    }
}

pub(super) struct Placed {
    pub running: Arc<watch::Sender<Config>>,
    pub rpc: Mover,
    pub lan: Gossip,
    pub wan: Option<Gossip>,
    pub bridge: Option<Bridge>,
    pub local: Local,
    pub http: Vec<MovableListener>,
    pub https: Vec<MovableListener>,
    pub open: Opener,
}

/// Looks at the host again and again, and moves the agent.
pub(super) async fn follow(mut placed: Placed) {
    let (mut monitor, mut trouble) = (AddressMonitor::default(), FailureThrottle::default());
    let mut syncs = 0;
    loop {
        clock::sleep_shared(defaults::ADDRESS_LOOK_INTERVAL).await;
        let host = match tokio::task::spawn_blocking(Host::read).await {
            Ok(Ok(host)) => host,
            failed => {
                metrics::counter!("kontor.agent.address_looks_failed").increment(1);
                tracing::debug!(?failed, "the host's addresses cannot be read");
                continue;
            }
        };
        let running = placed.running.borrow().clone();
        let sight = monitor.look(&running, host);
        if let Some(causes) = &sight.stays {
            warn!(%causes, "an address of this agent is not found; it goes on with the one it had, and looks again");
        }
        if monitor.reported {
            metrics::counter!("kontor.agent.addresses_not_found").increment(1);
        }
        if sight.found_again {
            info!("all addresses of this agent are found again");
        }
        if sight.is_back {
            placed.look_around().await;
        }
        if syncs > 0 {
            syncs -= 1;
            placed.local.sync_soon();
        }
        let causes = placed.go(&running, &sight.wanted).await;
        if running.places != placed.running.borrow().places {
            syncs = defaults::ADDRESS_SYNC_LOOKS;
        }
        if causes.is_empty() {
            trouble.worked();
        } else {
            metrics::counter!("kontor.agent.moves_failed").increment(1);
            if trouble.failed(Instant::now()) {
                warn!(causes = %causes.join("; "), "this agent cannot move to its new address; it is tried again");
            }
        }
    }
}

impl Placed {
    /// Moves all parts to their wanted addresses, and announces them; the failures.
    async fn go(&mut self, running: &Config, wanted: &Config) -> Vec<String> {
        let mut causes = self.go_lan(wanted).await;
        causes.extend(self.go_wan(wanted).await);
        let http: Vec<SocketAddr> = wanted.http.iter().filter_map(HttpAddress::tcp).collect();
        causes.extend(listeners::follow(&mut self.http, &http, None, &self.open).await);
        let tls = listeners::tls_of(&self.https);
        if tls.is_some() {
            causes.extend(listeners::follow(&mut self.https, &wanted.https, tls.as_ref(), &self.open).await);
        }
        if causes.is_empty() && running.places != wanted.places {
            metrics::counter!("kontor.agent.moves").increment(1);
            info!(
                lan = %wanted.advertise, wan = %wanted.advertise_wan, before = %running.advertise,
                "addresses of this agent have changed, and are announced to the others"
            );
            self.running.send_modify(|running| running.take_addresses(wanted));
        }
        causes
    }

    /// The RPC port and the LAN pool, both of which move before the addresses are announced.
    async fn go_lan(&self, wanted: &Config) -> Vec<String> {
        let mut causes = Vec::new();
        if let Some(at) = self.rpc.at().filter(|at| at.ip() != wanted.rpc.ip()) {
            let to = SocketAddr::new(wanted.rpc.ip(), at.port());
            causes.extend(self.rpc.move_to(to).await.err().map(|error| cannot_listen(to, "rpc", &error)));
        }
        causes.extend(moved(&self.lan, wanted.serf_lan.ip()).await);
        if causes.is_empty() {
            if self.lan.local_addr().ip() != wanted.advertise {
                self.lan.set_advertise(wanted.advertise);
            }
            self.local.set_addresses(wanted.advertise.to_string(), wanted.tagged_addresses.clone());
        }
        causes
    }

    /// The same for the bridge and the WAN pool.
    async fn go_wan(&self, wanted: &Config) -> Vec<String> {
        let mut causes = Vec::new();
        if let Some(bridge) = self.bridge.as_ref().filter(|bridge| bridge.local_addr().ip() != wanted.bridge.ip()) {
            causes.extend(bridge.move_to(wanted.bridge.ip()).err());
        }
        let (Some(wan), Some(serf_wan)) = (&self.wan, wanted.serf_wan) else { return causes };
        causes.extend(moved(wan, serf_wan.ip()).await);
        if causes.is_empty() {
            if wan.local_addr().ip() != wanted.advertise_wan {
                wan.set_advertise(wanted.advertise_wan);
            }
            let apart = (wanted.advertise_wan != wanted.advertise).then(|| wanted.advertise_wan.to_string());
            if self.lan.tag(tag::WAN_JOIN_ADDR) != apart {
                self.lan.set_tag(tag::WAN_JOIN_ADDR, apart);
            }
        }
        causes
    }

    async fn look_around(&self) {
        info!("an address of this agent that was gone is back; its pools are asked for news");
        self.lan.look_around().await;
        if let Some(wan) = &self.wan {
            wan.look_around().await;
        }
    }
}

/// Has a pool listen at `ip`; the reason of a failure.
async fn moved(pool: &Gossip, ip: IpAddr) -> Option<String> {
    match pool.bound() {
        Some(at) if at.ip() == ip => None,
        _ => pool.move_to(ip).await.err().map(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Interface, Sources, resolve_on};
    use serde_json::json;

    fn host(addresses: &[(&str, &str)]) -> Host {
        let interfaces = addresses.iter().map(|(name, ip)| Interface::up(name, ip.parse().unwrap(), 24)).collect();
        Host { name: "h".to_owned(), interfaces, ..Host::default() }
    }

    #[test]
    fn a_loss_is_told_once_and_a_return_wakes_the_pools() {
        let (here, nowhere) = (host(&[("eth0", "10.0.0.5"), ("eth1", "10.9.0.5")]), host(&[("eth1", "10.9.0.5")]));
        let flags = json!({"data_dir": "/d", "bind_addr": "{{ GetInterfaceIP \"eth0\" }}"});
        let running = resolve_on(&Sources { flags, ..Sources::default() }, &here).unwrap();
        let mut monitor = AddressMonitor::default();
        let sight = monitor.look(&running, here.clone());
        assert!(sight.stays.is_none() && !sight.is_back && sight.wanted.places == running.places);
        let sight = monitor.look(&running, nowhere.clone());
        assert!(sight.stays.unwrap().contains("bind_addr: template"));
        assert_eq!(sight.wanted.bind, running.bind);
        assert!(monitor.look(&running, nowhere).stays.is_none(), "told once");
        let sight = monitor.look(&running, here.clone());
        assert!(sight.found_again && sight.is_back);
        assert!(!monitor.look(&running, here).is_back);
        let sight = monitor.look(&running, host(&[("eth0", "10.0.0.6")]));
        assert_eq!((sight.wanted.bind, sight.wanted.advertise), ("10.0.0.6".parse().unwrap(), "10.0.0.6".parse().unwrap()));
        assert!(!sight.is_back && sight.stays.is_none());
    }
}
