//! Bytes of messages in memory at a time: in all, and of each address. Bytes that have arrived take room, not announced ones.

use crate::defaults;
use crate::entrance::counted_as;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Other messages fill all the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

#[derive(Debug)]
pub(super) struct Budget {
    all: Arc<Semaphore>,
    kib_of_address: usize,
    by_address: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// The room that one message takes; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    kib: u32,
    held: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Budget {
    /// Room for `kib` KiB in all and `kib_of_address` KiB of each address.
    pub(super) fn new(kib: usize, kib_of_address: usize) -> Budget {
        Budget { all: Arc::new(Semaphore::new(kib)), kib_of_address, by_address: Mutex::default() }
    }

    /// The share of a message from `address` before its first byte.
    pub(super) fn share(&self, address: IpAddr) -> Share {
        let address = counted_as(address);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let own = by_address.get(&address).and_then(Weak::upgrade).unwrap_or_else(|| {
            // One entry for each message, and one, are the most.
            by_address.retain(|_, known| known.strong_count() > 0);
            let own = Arc::new(Semaphore::new(self.kib_of_address));
            by_address.insert(address, Arc::downgrade(&own));
            own
        });
        Share { own, all: Arc::clone(&self.all), kib: 0, held: None }
    }
}

impl Share {
    /// Takes the missing room for `bytes` in all. A message without room fails soon: others may wait for its bytes.
    pub(super) async fn grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let wanted = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let missing = wanted.saturating_sub(self.kib);
        if missing == 0 {
            return Ok(());
        }
        let (own, all) = (Arc::clone(&self.own), Arc::clone(&self.all));
        let take = async { Some((own.acquire_many_owned(missing).await.ok()?, all.acquire_many_owned(missing).await.ok()?)) };
        let Ok(Some((own, all))) = timeout(defaults::RPC_ROOM_TIMEOUT, take).await else {
            metrics::counter!("kontor.rpc.messages_without_room").increment(1);
            return Err(NoRoom);
        };
        match &mut self.held {
            Some((held_own, held_all)) => {
                held_own.merge(own);
                held_all.merge(all);
            }
            None => self.held = Some((own, all)),
        }
        self.kib = wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[tokio::test(start_paused = true)]
    async fn an_address_fills_its_own_part_and_no_more() {
        let budget = Budget::new(100, 60);
        let mut first = budget.share(ONE);
        first.grow_to(59 << 10).await.unwrap();
        let mut second = budget.share(ONE);
        assert_eq!(second.grow_to(10 << 10).await, Err(NoRoom));
        let mut other = budget.share(TWO);
        other.grow_to(30 << 10).await.unwrap();
        drop(first);
        second.grow_to(10 << 10).await.unwrap();
        second.grow_to(10 << 10).await.unwrap();
        assert_eq!(second.kib, 11, "what is had is not taken twice");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back_in_time() {
        let budget = Budget::new(10, 10);
        let mut first = budget.share(ONE);
        first.grow_to(9 << 10).await.unwrap();
        let mut second = budget.share(TWO);
        let give_back = async {
            tokio::time::sleep(defaults::RPC_ROOM_TIMEOUT / 2).await;
            drop(first);
        };
        let (grown, ()) = tokio::join!(second.grow_to(9 << 10), give_back);
        assert!(grown.is_ok());
    }
}
