//! When a leader may answer reads by itself, and when a restarted server may vote.
//!
//! A follower that has heard of a leader votes for nobody else for one lease. So a leader is the
//! only one for a lease after it sent what a quorum acknowledged; it uses a part of that, because
//! clocks run at different speeds. What the others promise is the lease of their own configuration, so
//! no leader counts on more than the shortest that can be configured. A restarted follower no longer knows what it promised and
//! promises nothing for one lease, a hand-over by the leader itself excepted.

use crate::defaults::{RAFT_ELECTION_MAX, RAFT_LEASE_MARGIN_PERCENT};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time since a quorum has acknowledged what was sent `since` ago; nothing when the host was seen to have slept
/// later than that, `woke` ago: the clock that counts `since` stood still, and another may lead by now. Who asks
/// reads `woke` before `since`, or what passes between the two would make the acknowledgement look younger.
pub(crate) fn awake_since(since: Duration, woke: Option<Duration>) -> Option<Duration> {
    woke.is_none_or(|woke| since < woke).then_some(since)
}

/// The rules for one server.
#[derive(Debug)]
pub(crate) struct Lease {
    /// What every other server promises at least, whatever its `raft_multiplier`.
    length: Duration,
    votes_from: Instant,
    /// The term in which this server began to hand leadership over: voters then grant at once, and
    /// the lease of that term is worth nothing any more.
    handed_over: AtomicU64,
}

impl Lease {
    /// `promise` is the lease as configured here; `restarted` is the time of the start when there may
    /// be promises of a former run.
    pub(crate) fn new(promise: Duration, restarted: Option<Instant>, now: Instant) -> Lease {
        let votes_from = restarted.map_or(now, |start| start + promise);
        Lease { length: promise.min(RAFT_ELECTION_MAX), votes_from, handed_over: AtomicU64::new(0) }
    }

    /// Whether this server may vote and stand for election.
    pub(crate) fn may_vote(&self, now: Instant) -> bool {
        now >= self.votes_from
    }

    /// From when on it may.
    pub(crate) fn votes_from(&self) -> Instant {
        self.votes_from
    }

    /// This server starts to hand over what it leads in `term`.
    pub(crate) fn hand_over(&self, term: u64) {
        self.handed_over.fetch_max(term, Ordering::SeqCst);
    }

    /// Whether a leader of `term`, acknowledged by a quorum `since_acked` ago, may answer by itself.
    pub(crate) fn holds(&self, term: u64, since_acked: Duration) -> bool {
        term > self.handed_over.load(Ordering::SeqCst) && since_acked < self.length * RAFT_LEASE_MARGIN_PERCENT / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Waking, testing};

    const LENGTH: Duration = RAFT_ELECTION_MAX;

    #[test]
    fn a_leader_stops_at_80_percent_of_its_lease() {
        let lease = Lease::new(LENGTH, None, Instant::now());
        assert!(lease.holds(1, LENGTH * 80 / 100 - Duration::from_millis(1)));
        assert!(!lease.holds(1, LENGTH * 80 / 100));
    }

    #[test]
    fn what_was_acknowledged_before_a_sleep_is_worth_nothing_and_what_comes_after_it_is() {
        let waking = Waking::new();
        let awake = |acked: Instant| {
            let woke = waking.age();
            awake_since(acked.elapsed(), woke)
        };
        let acked = Instant::now();
        assert!(awake(acked).is_some());
        testing::sleep(Duration::from_secs(60));
        assert_eq!(awake(acked), None, "noticed at the first look");
        assert_eq!(awake(acked), None, "and not forgotten");
        let later = || {
            std::thread::sleep(Duration::from_millis(1));
            awake(Instant::now())
        };
        assert!((0..1_000).any(|_| later().is_some()));
    }

    #[test]
    fn a_leader_that_is_configured_slow_counts_on_no_more_than_a_fast_followers_promise() {
        let start = Instant::now();
        let slow = Lease::new(LENGTH * 5, Some(start), start);
        assert!(!slow.holds(1, LENGTH));
        assert!(!slow.may_vote(start + LENGTH * 4), "its own promise is the long one");
    }

    #[test]
    fn a_term_that_is_handed_over_never_answers_again_and_the_next_does() {
        let lease = Lease::new(LENGTH, None, Instant::now());
        lease.hand_over(3);
        assert!(!lease.holds(3, Duration::ZERO));
        lease.hand_over(2);
        assert!(!lease.holds(3, Duration::ZERO));
        assert!(lease.holds(4, Duration::ZERO));
    }

    #[test]
    fn a_restarted_server_promises_nothing_for_one_lease() {
        let start = Instant::now();
        let lease = Lease::new(LENGTH, Some(start), start);
        assert!(!lease.may_vote(start + LENGTH - Duration::from_millis(1)));
        assert!(lease.may_vote(start + LENGTH));
        assert!(Lease::new(LENGTH, None, start).may_vote(start));
    }
}
