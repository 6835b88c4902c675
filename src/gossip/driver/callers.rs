//! The places of incoming connections. None has proved anything yet, so an address has some of them only, and a caller with
//! an unfinished question gives way to newcomers: silent callers first.

use crate::defaults;
use crate::entrance::{Entrance, Full, Seat, counted_as};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Callers {
    entrance: Arc<Entrance>,
    unheard: Mutex<Unheard>,
}

/// Callers with an unfinished question: silent ones first, each kind in the order of arrival.
#[derive(Debug, Default)]
struct Unheard {
    next: u64,
    callers: BTreeMap<(bool, u64), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    address: IpAddr,
    since: Instant,
    gives_way: CancellationToken,
    _seat: Seat,
}

#[derive(Debug)]
pub(super) struct Caller {
    callers: Arc<Callers>,
    place: (bool, u64),
    gives_way: CancellationToken,
    /// Its own seat after its question.
    seat: Option<Seat>,
}

impl Callers {
    pub(super) fn new() -> Arc<Callers> {
        let entrance = Entrance::new(defaults::GOSSIP_MAX_STREAMS, defaults::GOSSIP_MAX_STREAMS_OF_ADDRESS);
        Arc::new(Callers { entrance, unheard: Mutex::default() })
    }

    /// A place for a caller from `address`; `None` when all are taken and no caller gives way.
    pub(super) fn enter(self: &Arc<Callers>, address: IpAddr) -> Option<Caller> {
        let seat = match self.entrance.enter(Some(address)) {
            Ok(seat) => seat,
            Err(full) => {
                self.lock().give_way(full, counted_as(address));
                self.entrance.enter(Some(address)).ok()?
            }
        };
        let gives_way = CancellationToken::new();
        let mut unheard = self.lock();
        unheard.next += 1;
        let place = (false, unheard.next);
        let since = Instant::now();
        let waiting = Waiting { address: counted_as(address), since, gives_way: gives_way.clone(), _seat: seat };
        unheard.callers.insert(place, waiting);
        Some(Caller { callers: Arc::clone(self), place, gives_way, seat: None })
    }

    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unheard {
    /// Has one caller hang up: of this address, if that has too many. The newest ones' bytes may be on their way still.
    fn give_way(&mut self, full: Full, address: IpAddr) {
        let may = |waiting: &Waiting| {
            (full == Full::InAll || waiting.address == address) && waiting.since.elapsed() >= defaults::GOSSIP_STREAM_GRACE
        };
        let place = self.callers.iter().find(|(_, waiting)| may(waiting)).map(|(place, _)| *place);
        let Some(waiting) = place.and_then(|place| self.callers.remove(&place)) else { return };
        metrics::counter!("kontor.gossip.streams_gave_way").increment(1);
        waiting.gives_way.cancel();
    }
}

impl Caller {
    pub(super) fn begins(&mut self) {
        let mut unheard = self.callers.lock();
        if let Some(waiting) = unheard.callers.remove(&self.place) {
            self.place.0 = true;
            unheard.callers.insert(self.place, waiting);
        }
    }

    /// Notes the whole question; the place stays for the answer.
    pub(super) fn is_heard(&mut self) {
        let waiting = self.callers.lock().callers.remove(&self.place);
        self.seat = waiting.map(|waiting| waiting._seat);
    }

    pub(super) async fn gives_way(&self) {
        self.gives_way.cancelled().await;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.callers.lock().callers.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_gives_way_and_who_is_heard_does_not() {
        let callers = Callers::new();
        let of_address = defaults::GOSSIP_MAX_STREAMS_OF_ADDRESS;
        let mut silent: Vec<Caller> = (0..of_address).filter_map(|_| callers.enter(address(1))).collect();
        assert_eq!(silent.len(), of_address);
        assert!(callers.enter(address(1)).is_none(), "those that just came may be about to speak");
        tokio::time::advance(defaults::GOSSIP_STREAM_GRACE).await;
        silent[0].begins();
        let mut newcomer = callers.enter(address(1)).unwrap();
        assert!(silent[1].gives_way.is_cancelled() && !silent[0].gives_way.is_cancelled(), "first who has said nothing");
        newcomer.is_heard();
        for caller in &mut silent {
            caller.is_heard();
        }
        tokio::time::advance(defaults::GOSSIP_STREAM_GRACE).await;
        assert!(callers.enter(address(1)).is_none(), "nobody gives way who is answered");
        assert!(callers.enter(address(2)).is_some(), "and other addresses have their places");
        drop(newcomer);
        assert!(callers.enter(address(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn all_places_taken_by_silent_ones_are_still_to_be_had() {
        let callers = Callers::new();
        let silent: Vec<Caller> =
            (0..=255).flat_map(|last| callers.enter(address(last))).take(defaults::GOSSIP_MAX_STREAMS).collect();
        assert_eq!(silent.len(), defaults::GOSSIP_MAX_STREAMS);
        tokio::time::advance(defaults::GOSSIP_STREAM_GRACE).await;
        let of_others: Vec<Caller> = (0..10).filter_map(|_| callers.enter(IpAddr::from([10, 1, 0, 1]))).collect();
        assert_eq!(of_others.len(), 10);
        assert_eq!(silent.iter().filter(|caller| caller.gives_way.is_cancelled()).count(), 10);
    }
}
