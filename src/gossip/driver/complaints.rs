//! Warnings about refused peers: once a minute for each kind and address, since refused peers try again. All are counted.

use crate::defaults;
use crate::gossip::Pool;
use crate::gossip::envelope::Rejection;
use crate::gossip::info::{Denied, NodeInfo};
use crate::gossip::memberlist::CONSUL;
use crate::telemetry::{FailureThrottle, FailureThrottles};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use tracing::{debug, warn};

#[derive(Debug)]
pub(in crate::gossip) struct Complaints {
    pool: Pool,
    refusals: FailureThrottles<(&'static str, IpAddr)>,
}

impl Complaints {
    pub(super) fn new(pool: Pool) -> Complaints {
        let refusal = FailureThrottle::at_once(defaults::GOSSIP_WARN_EVERY);
        Complaints { pool, refusals: FailureThrottles::new(refusal, defaults::GOSSIP_WARN_EVERY, defaults::GOSSIP_MAX_WARNED) }
    }

    /// Reports a refused packet or frame of this peer.
    pub(super) fn refused(&self, peer: SocketAddr, refusal: &Rejection) {
        let (pool, kind) = (self.pool, refusal.label());
        match refusal {
            Rejection::Key | Rejection::Datacenter(_) | Rejection::Pool | Rejection::Version | Rejection::Ahead
                if self.is_due(kind, peer.ip()) =>
            {
                warn!(%pool, %peer, kind, reason = %refusal, "gossip of a peer is refused");
            }
            _ => debug!(%pool, %peer, kind, reason = %refusal, "gossip of a peer is refused"),
        }
    }

    pub(super) fn denied(&self, peer: SocketAddr, newcomer: &NodeInfo, denied: &Denied) {
        let (pool, kind, member, addr) = (self.pool, denied.kind, &newcomer.name, newcomer.addr);
        if self.is_due(kind, peer.ip()) {
            warn!(%pool, %peer, %member, %addr, kind, reason = %denied.reason, "an agent may not join");
        } else {
            debug!(%pool, %peer, %member, %addr, kind, reason = %denied.reason, "an agent may not join");
        }
    }

    pub(super) fn consul(&self, peer: SocketAddr) {
        metrics::counter!("kontor.gossip.refused", "reason" => "consul").increment(1);
        if self.is_due("consul", peer.ip()) {
            warn!(pool = %self.pool, %peer, "a peer {CONSUL}");
        }
    }

    fn is_due(&self, kind: &'static str, peer: IpAddr) -> bool {
        self.refusals.failed((kind, peer), Instant::now()).is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_for_each_address_and_the_addresses_are_bounded() {
        let complaints = Complaints::new(Pool::Lan);
        let at = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!(complaints.is_due("key", at(1)) && !complaints.is_due("key", at(1)));
        assert!(complaints.is_due("pool", at(1)) && complaints.is_due("key", at(2)));
        let reported = (10..).take(2 * defaults::GOSSIP_MAX_WARNED).filter(|number| complaints.is_due("key", at(*number)));
        assert!(reported.count() <= defaults::GOSSIP_MAX_WARNED);
    }
}
