//! A member's identity in the membership protocol's headers and updates: an address, a generation and a short id.

use crate::model::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Generations from here on are refused: no clock reads the year 37,000, and a forged one could not be outbid.
pub(super) const MAX_GENERATION: u64 = 1 << 50;

/// One life of a member at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The address by UDP and TCP.
    pub addr: SocketAddr,
    /// Its generation: strictly greater with each start and each rejoin, milliseconds at first.
    pub bump: u64,
    /// The low bits of its node id; distinguishes two nodes that used one address in turn.
    pub short: u32,
}

impl Identity {
    pub(super) fn new(addr: SocketAddr, bump: u64, id: NodeId) -> Identity {
        Identity { addr, bump, short: id.as_u128() as u32 }
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Identity> {
        let bump = self.bump.checked_add(1).filter(|bump| *bump < MAX_GENERATION)?;
        Some(Identity { bump, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, other: &Identity) -> bool {
        // The short id only decides between equal generations; it must be a strict order.
        (self.bump, self.short) > (other.bump, other.short)
    }
}
