//! The places of feeds that stand, by datacenter: bounded, and the least recently used feed makes room.

use super::cached_feed::CachedFeed;
use crate::defaults;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(in crate::bridge) struct Places {
    /// Of one datacenter.
    max: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    last: u64,
    by_dc: HashMap<String, HashMap<u64, Seat>>,
}

#[derive(Debug)]
struct Seat {
    holding: Arc<CachedFeed>,
    lost: CancellationToken,
}

/// A place of a feed; given back when dropped.
#[derive(Debug)]
pub(super) struct FeedServer {
    places: Arc<Places>,
    dc: String,
    number: u64,
    lost: CancellationToken,
}

impl Places {
    pub(in crate::bridge) fn new(max: usize) -> Places {
        Places { max, inside: Mutex::default() }
    }

    /// A place for the feed of `holding`. When all are taken, the least recently used ones end, unwatched ones first.
    pub(super) fn enter(self: &Arc<Places>, holding: &Arc<CachedFeed>) -> FeedServer {
        let (dc, lost) = (holding.dc().to_owned(), CancellationToken::new());
        let mut inside = self.inside();
        inside.last += 1;
        let number = inside.last;
        let seats = inside.by_dc.entry(dc.clone()).or_default();
        if seats.len() >= self.max {
            make_room(seats);
        }
        seats.insert(number, Seat { holding: Arc::clone(holding), lost: lost.clone() });
        drop(inside);
        metrics::gauge!("kontor.bridge.feeds_standing").increment(1);
        FeedServer { places: Arc::clone(self), dc, number, lost }
    }

    /// The number of feeds of `dc` that stand or are being opened.
    pub(in crate::bridge) fn count(&self, dc: &str) -> usize {
        self.inside().by_dc.get(dc).map_or(0, HashMap::len)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(seats: &mut HashMap<u64, Seat>) {
    let batch = (seats.len() / defaults::FEED_BATCH).max(1);
    let use_of = |(number, seat): (&u64, &Seat)| (seat.holding.usage().is_watched(), seat.holding.usage().last(), *number);
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

impl FeedServer {
    /// Resolves when the place went to another.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for FeedServer {
    fn drop(&mut self) {
        let mut inside = self.places.inside();
        if let Some(seats) = inside.by_dc.get_mut(&self.dc) {
            seats.remove(&self.number);
            if seats.is_empty() {
                inside.by_dc.remove(&self.dc);
            }
        }
        drop(inside);
        metrics::gauge!("kontor.bridge.feeds_standing").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::{HealthRead, Read};
    use crate::model::principal::Principal;
    use crate::model::query::Identity;

    fn holding(node: String) -> Arc<CachedFeed> {
        let identity = Identity::new(Read::Health(HealthRead::Node { node }), Principal::anonymous());
        Arc::new(CachedFeed::new(Arc::new(identity), "dc2"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_leaves_no_more_than_the_bound_and_what_is_used_stays() {
        let places = Arc::new(Places::new(defaults::FEED_MAX_PER_LINK));
        let (watched, used) = (holding("watched".to_owned()), holding("used".to_owned()));
        let _changes = watched.usage().watch();
        let (kept, busy) = (places.enter(&watched), places.enter(&used));
        let mut scanned = Vec::new();
        for i in 0..100_000 {
            if i % 1_000 == 0 {
                tokio::time::advance(std::time::Duration::from_secs(1)).await;
            }
            let one = holding(i.to_string());
            used.usage().touch();
            scanned.push(places.enter(&one));
            assert!(places.count("dc2") <= defaults::FEED_MAX_PER_LINK);
        }
        assert!(!kept.lost.is_cancelled() && !busy.lost.is_cancelled());
        // The first to go are the least recently used.
        let lost = scanned.iter().take_while(|place| place.lost.is_cancelled()).count();
        assert_eq!(scanned.len() + 2 - lost, places.count("dc2"));
        drop(scanned);
        assert_eq!(places.count("dc2"), 2);
    }
}
