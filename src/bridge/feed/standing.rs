//! The feeds that stand, by datacenter: no more than a bound, of which the least recently used makes
//! room.
//!
//! `follower` takes a place for each feed before it opens it.

use super::holding::Holding;
use crate::config::defaults;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// All places.
#[derive(Debug)]
pub(in crate::bridge) struct Standing {
    /// Of one datacenter.
    max: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    last: u64,
    by_dc: HashMap<String, HashMap<u64, Seat>>,
}

#[derive(Debug)]
struct Seat {
    holding: Arc<Holding>,
    lost: CancellationToken,
}

/// A place of a feed; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    standing: Arc<Standing>,
    dc: String,
    number: u64,
    lost: CancellationToken,
}

impl Standing {
    pub(in crate::bridge) fn new(max: usize) -> Standing {
        Standing { max, places: Mutex::default() }
    }

    /// A place for the feed of `holding`. Where all are taken, those of others end first: a part of all at
    /// once, of those that nobody watches the ones whose last use is the longest ago.
    pub(super) fn enter(self: &Arc<Standing>, holding: &Arc<Holding>) -> Place {
        let (dc, lost) = (holding.dc().to_owned(), CancellationToken::new());
        let mut places = self.places();
        places.last += 1;
        let number = places.last;
        let seats = places.by_dc.entry(dc.clone()).or_default();
        if seats.len() >= self.max {
            make_room(seats);
        }
        seats.insert(number, Seat { holding: Arc::clone(holding), lost: lost.clone() });
        drop(places);
        metrics::gauge!("kontor.bridge.feeds_standing").increment(1);
        Place { standing: Arc::clone(self), dc, number, lost }
    }

    /// How many feeds of `dc` stand or are being opened.
    pub(in crate::bridge) fn count(&self, dc: &str) -> usize {
        self.places().by_dc.get(dc).map_or(0, HashMap::len)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(seats: &mut HashMap<u64, Seat>) {
    let batch = (seats.len() / defaults::FEED_BATCH).max(1);
    let use_of = |(number, seat): (&u64, &Seat)| (seat.holding.is_watched(), seat.holding.last_use(), *number);
    let mut uses: Vec<_> = seats.iter().map(use_of).collect();
    if batch < uses.len() {
        uses.select_nth_unstable(batch);
    }
    for (_, _, number) in uses.iter().take(batch) {
        if let Some(seat) = seats.remove(number) {
            seat.lost.cancel();
        }
    }
    metrics::counter!("kontor.bridge.feeds_evicted").increment(batch as u64);
}

impl Place {
    /// Resolves when the place went to another.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.standing.places();
        if let Some(seats) = places.by_dc.get_mut(&self.dc) {
            seats.remove(&self.number);
            if seats.is_empty() {
                places.by_dc.remove(&self.dc);
            }
        }
        drop(places);
        metrics::gauge!("kontor.bridge.feeds_standing").decrement(1);
    }
}
