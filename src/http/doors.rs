//! How many connections the API holds: in all, and of each address.
//!
//! `listen` asks before it serves one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a client with too many connections is told. Consul's text.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\n";
/// What everybody is told when the agent has too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This agent has too many connections, please try again later\n";

/// Counts connections: all of them, and those of each address.
pub(super) struct Doors {
    max_per_client: Arc<AtomicUsize>,
    all: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl Doors {
    /// At most `max` in all, and `max_per_client` of each address; 0 there is no bound, and it may change.
    pub(super) fn new(max_per_client: Arc<AtomicUsize>, max: usize) -> Arc<Doors> {
        Arc::new(Doors { max_per_client, all: Arc::new(Semaphore::new(max)), clients: Mutex::default() })
    }

    /// Lets one more connection in until its entry is dropped, or gives what to tell it instead.
    pub(super) fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Entry, &'static [u8]> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| FULL)?;
        if let Some(client) = client {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let (max, count) = (self.max_per_client.load(Ordering::Relaxed), clients.get(&client).copied().unwrap_or(0));
            if max > 0 && count >= max {
                return Err(TOO_MANY);
            }
            clients.insert(client, count + 1);
        }
        Ok(Entry { doors: Arc::clone(self), client, _permit: permit })
    }
}

/// One connection that was let in.
pub(super) struct Entry {
    doors: Arc<Doors>,
    client: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut clients = self.doors.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn the_bound_on_all_connections_holds_for_every_address() {
        let doors = Doors::new(Arc::default(), 2);
        let first = doors.enter(None).unwrap();
        let _second = doors.enter(client(1)).unwrap();
        assert_eq!(doors.enter(client(2)).err(), Some(FULL));
        drop(first);
        assert!(doors.enter(None).is_ok());
        assert!(doors.clients.lock().unwrap().len() <= 1);
    }

    #[test]
    fn the_bound_of_an_address_may_change_and_ends_nothing_that_is_in() {
        let max = Arc::new(AtomicUsize::new(2));
        let doors = Doors::new(Arc::clone(&max), 100);
        let held = [doors.enter(client(1)).unwrap(), doors.enter(client(1)).unwrap()];
        assert_eq!(doors.enter(client(1)).err(), Some(TOO_MANY));
        assert!(doors.enter(client(2)).is_ok(), "each has its own");
        max.store(1, Ordering::Relaxed);
        assert_eq!(doors.enter(client(1)).err(), Some(TOO_MANY));
        max.store(0, Ordering::Relaxed);
        assert!(doors.enter(client(1)).is_ok());
        drop(held);
        assert!(doors.clients.lock().unwrap().is_empty());
    }
}
