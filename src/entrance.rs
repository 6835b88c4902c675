//! Bounds on the connections of a listener: in all, and of each address. Listeners ask before they serve one, when the
//! peer has proved nothing but an address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the open connections; each has a [`Seat`].
#[derive(Debug)]
pub struct Entrance {
    max: usize,
    max_of_address: Arc<AtomicUsize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The reason that a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All seats are taken.
    InAll,
    /// Its address holds as many seats as it may.
    OfAddress,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    entrance: Arc<Entrance>,
    address: Option<IpAddr>,
}

impl Entrance {
    /// At most `max` in all and `max_of_address` of each address.
    pub fn new(max: usize, max_of_address: usize) -> Arc<Entrance> {
        Entrance::with_changing(max, Arc::new(AtomicUsize::new(max_of_address)))
    }

    /// The same with a bound of an address that may change; 0 is no bound.
    pub fn with_changing(max: usize, max_of_address: Arc<AtomicUsize>) -> Arc<Entrance> {
        Arc::new(Entrance { max, max_of_address, taken: Mutex::default() })
    }

    /// A seat for one more connection, from `address` where it has one.
    pub fn enter(self: &Arc<Entrance>, address: Option<IpAddr>) -> Result<Seat, Full> {
        let (address, max_of_address) = (address.map(counted_as), self.max_of_address.load(Ordering::Relaxed));
        let mut taken = self.taken();
        if taken.in_all >= self.max {
            return Err(Full::InAll);
        }
        if let Some(address) = address {
            let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
            if max_of_address > 0 && of_address >= max_of_address {
                return Err(Full::OfAddress);
            }
            taken.by_address.insert(address, of_address + 1);
        }
        taken.in_all += 1;
        Ok(Seat { entrance: Arc::clone(self), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that `address` counts as. IPv4 in IPv6 counts as IPv4, and IPv6 by its network of 64 bits: a single host
/// has every address of it.
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.entrance.taken();
        taken.in_all -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = taken.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn the_bound_in_all_holds_for_every_address_and_for_none() {
        let entrance = Entrance::new(2, 100);
        let first = entrance.enter(None).unwrap();
        let _second = entrance.enter(address(1)).unwrap();
        assert_eq!(entrance.enter(address(2)).err(), Some(Full::InAll));
        drop(first);
        assert!(entrance.enter(None).is_ok());
        assert!(entrance.taken().by_address.len() <= 1);
    }

    #[test]
    fn the_bound_of_an_address_may_change_and_ends_nothing_that_is_in() {
        let max = Arc::new(AtomicUsize::new(2));
        let entrance = Entrance::with_changing(100, Arc::clone(&max));
        let held = [entrance.enter(address(1)).unwrap(), entrance.enter(address(1)).unwrap()];
        assert_eq!(entrance.enter(address(1)).err(), Some(Full::OfAddress));
        assert!(entrance.enter(address(2)).is_ok(), "each has its own");
        max.store(1, Ordering::Relaxed);
        assert_eq!(entrance.enter(address(1)).err(), Some(Full::OfAddress));
        max.store(0, Ordering::Relaxed);
        assert!(entrance.enter(address(1)).is_ok());
        drop(held);
        assert!(entrance.taken().by_address.is_empty() && entrance.taken().in_all == 0);
    }

    #[test]
    fn a_host_with_many_addresses_counts_once() {
        let entrance = Entrance::new(100, 1);
        let _seat = entrance.enter(Some("2001:db8:1:2::1".parse().unwrap())).unwrap();
        assert!(entrance.enter(Some("2001:db8:1:2:ffff::9".parse().unwrap())).is_err());
        assert!(entrance.enter(Some("2001:db8:1:3::1".parse().unwrap())).is_ok());
        let _mapped = entrance.enter(Some("::ffff:10.0.0.1".parse().unwrap())).unwrap();
        assert!(entrance.enter(address(1)).is_err());
    }
}
