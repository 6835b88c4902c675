//! The time for which a leader may answer reads by itself, and from which on a restarted server may vote.
//! A follower votes for no other server for one lease after it has heard of a leader. So a leader is the only one for a
//! lease after it sent what a quorum acknowledged. It uses 80 % of that, because clocks run at different speeds, and of
//! the shortest lease that can be configured, because the others promise their own. A restarted follower has forgotten
//! its promise and votes for none for one lease, except at a hand-over by the leader itself.

use crate::defaults::{RAFT_ELECTION_MAX, RAFT_LEASE_MARGIN_PERCENT};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time since a quorum has acknowledged what was sent `since` ago; `None` when the host woke later than that, `woke` ago.
/// The clock that counts `since` stood still in its sleep, and another may lead by now. Callers read `woke` before
/// `since`: the time between the two readings must not make the acknowledgement look younger.
pub(crate) fn awake_since(since: Duration, woke: Option<Duration>) -> Option<Duration> {
    woke.is_none_or(|woke| since < woke).then_some(since)
}

#[derive(Debug)]
pub(crate) struct Lease {
    /// The least promise of every other server, for any `raft_multiplier`.
    length: Duration,
    votes_from: Instant,
    /// The last term that this server began to hand over: voters then grant at once, so its lease is void.
    handed_over: AtomicU64,
}

impl Lease {
    /// `promise` is the lease as configured here; `restarted` is the time of a start with promises of a former run.
    pub(crate) fn new(promise: Duration, restarted: Option<Instant>, now: Instant) -> Lease {
        let votes_from = restarted.map_or(now, |start| start + promise);
        Lease { length: promise.min(RAFT_ELECTION_MAX), votes_from, handed_over: AtomicU64::new(0) }
    }

    /// True once this server may vote and stand for election.
    pub(crate) fn may_vote(&self, now: Instant) -> bool {
        now >= self.votes_from
    }

    pub(crate) fn votes_from(&self) -> Instant {
        self.votes_from
    }

    /// Voids the lease of `term`.
    pub(crate) fn hand_over(&self, term: u64) {
        self.handed_over.fetch_max(term, Ordering::SeqCst);
    }

    /// True while a leader of `term`, acknowledged by a quorum `since_acked` ago, may answer by itself.
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
