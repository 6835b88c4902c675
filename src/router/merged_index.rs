//! The index of answers that this server merges: the millisecond of their last change. It is compared for equality: the
//! number of another server is no match, and answers at once.

use crate::defaults::FAN_OUT_MARKS_MAX;
use crate::model::query::Query;
use moka::ops::compute::Op;
use moka::sync::Cache;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time of the last change of each merged answer.
#[derive(Debug)]
pub(super) struct MergedIndexes {
    /// By the hash of the query, which may be long. Two queries that share one are answered too often, no more.
    marks: Cache<u64, MergedIndex>,
    /// The newest number made; the next one is greater, whatever the clock shows.
    newest: AtomicU64,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct MergedIndex {
    index: u64,
    body: u64,
}

impl MergedIndexes {
    pub(super) fn new() -> MergedIndexes {
        let marks = Cache::new(FAN_OUT_MARKS_MAX);
        MergedIndexes { marks, newest: AtomicU64::new(0), hasher: RandomState::new() }
    }

    /// The index of the answer to `query`, which is `body` now. The mode counts too: two modes may differ for a while.
    pub(super) fn index(&self, query: &Query, body: &[u8], now: SystemTime) -> u64 {
        let body = self.hasher.hash_one(body);
        let mut index = 0;
        self.marks.entry(self.hasher.hash_one((&query.identity, query.freshness.consistency))).and_compute_with(|entry| {
            match entry {
                Some(entry) if entry.value().body == body => {
                    index = entry.value().index;
                    Op::Nop
                }
                _ => {
                    index = self.next(now);
                    Op::Put(MergedIndex { index, body })
                }
            }
        });
        index
    }

    fn next(&self, now: SystemTime) -> u64 {
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let next = |newest: u64| millis.max(newest.saturating_add(1));
        let newest = self.newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| Some(next(newest)));
        newest.map_or(millis, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::{CatalogRead, Read};
    use crate::model::principal::Principal;
    use std::time::Duration;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn query(read: CatalogRead) -> Query {
        Query::new(Read::Catalog(read), Principal::anonymous())
    }

    #[test]
    fn the_index_is_the_millisecond_of_the_last_change() {
        let (marks, nodes) = (MergedIndexes::new(), query(CatalogRead::Nodes));
        assert_eq!(marks.index(&nodes, b"[1]", at(5_000)), 5_000);
        assert_eq!(marks.index(&nodes, b"[1]", at(6_000)), 5_000, "nothing has changed");
        assert_eq!(marks.index(&nodes, b"[2]", at(7_000)), 7_000);
        assert_eq!(marks.index(&nodes, b"[1]", at(8_000)), 8_000, "back again is a change too");
        let mut parked = nodes.clone();
        (parked.freshness.min_index, parked.freshness.wait) = (8_000, Duration::from_secs(60));
        assert_eq!(marks.index(&parked, b"[1]", at(9_000)), 8_000, "who waits asks for the same");
    }

    #[test]
    fn it_never_decreases_and_two_changes_never_share_one() {
        let (marks, nodes) = (MergedIndexes::new(), query(CatalogRead::Nodes));
        assert_eq!(marks.index(&nodes, b"[1]", at(5_000)), 5_000);
        assert_eq!(marks.index(&nodes, b"[2]", at(5_000)), 5_001, "within one millisecond");
        assert_eq!(marks.index(&nodes, b"[3]", at(10)), 5_002, "the clock was set back");
        assert_eq!(marks.index(&query(CatalogRead::Services), b"{}", at(10)), 5_003, "another query");
        assert_eq!(marks.index(&nodes, b"[3]", at(10)), 5_002);
    }
}
