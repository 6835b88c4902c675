//! How often a link is pinged: in use each [`BRIDGE_PING_INTERVAL`], at rest each [`BRIDGE_REST_INTERVAL`]. No clock.

use crate::defaults::{BRIDGE_PING_INTERVAL, BRIDGE_PROGRESS_TIMEOUT, BRIDGE_REST_INTERVAL};
use std::time::Duration;

/// The pace of one link.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Calls in flight and feeds.
    uses: usize,
    /// True if a call or a feed has begun since the last ping.
    is_used: bool,
    /// True if the link is at rest until the next ping.
    rests: bool,
    /// The time by which the first ping without an echo was sent later than in use.
    grace: Duration,
}

impl Pace {
    /// A call or a feed begins. True where that ends a rest: the next ping is due sooner than it was.
    pub(super) fn begin(&mut self) -> bool {
        self.uses += 1;
        self.is_used = true;
        std::mem::take(&mut self.rests)
    }

    /// A call or a feed has ended.
    pub(super) fn end(&mut self) {
        self.uses = self.uses.saturating_sub(1);
    }

    /// A ping is sent, `gap` after the one before. A link rests only where that one is answered, and all `is_calm`.
    pub(super) fn ping(&mut self, gap: Duration, is_answered: bool, is_calm: bool) {
        if is_answered {
            self.grace = gap.saturating_sub(BRIDGE_PING_INTERVAL).min(BRIDGE_REST_INTERVAL - BRIDGE_PING_INTERVAL);
        }
        let was_used = std::mem::take(&mut self.is_used);
        self.rests = self.uses == 0 && !was_used && is_answered && is_calm;
    }

    #[cfg(test)]
    pub(super) fn rests(&self) -> bool {
        self.rests
    }

    /// Time from one ping to the next. A ping at rest that is not answered is followed by another as fast as in use.
    pub(super) fn interval(&self, is_answered: bool) -> Duration {
        if self.rests && is_answered { BRIDGE_REST_INTERVAL } else { BRIDGE_PING_INTERVAL }
    }

    /// Time from the last echo until the link is dead. A ping always has as long for its echo as in use.
    pub(super) fn patience(&self) -> Duration {
        BRIDGE_PROGRESS_TIMEOUT + self.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = BRIDGE_PING_INTERVAL;
    const REST: Duration = BRIDGE_REST_INTERVAL;

    /// A pace after two answered pings in a row.
    fn answered() -> Pace {
        let mut pace = Pace::default();
        pace.ping(FAST, true, true);
        pace
    }

    #[test]
    fn a_link_rests_only_while_nothing_is_asked_over_it() {
        let mut pace = answered();
        assert_eq!(pace.interval(true), REST);
        assert!(pace.begin(), "the next ping is due sooner");
        assert_eq!(pace.interval(true), FAST);
        assert!(!pace.begin());
        pace.end();
        pace.ping(FAST, true, true);
        assert_eq!(pace.interval(true), FAST, "one use is left");
        pace.end();
        pace.ping(FAST, true, true);
        assert_eq!(pace.interval(true), REST);
    }

    #[test]
    fn a_use_between_two_pings_counts_for_one_more() {
        let mut pace = answered();
        assert!(pace.begin());
        pace.end();
        assert!(!pace.begin(), "calls one after the other end one rest");
        pace.end();
        pace.ping(FAST, true, true);
        assert_eq!(pace.interval(true), FAST);
        pace.ping(FAST, true, true);
        assert_eq!(pace.interval(true), REST);
    }

    #[test]
    fn a_link_does_not_rest_without_an_echo_or_while_its_server_is_behind() {
        let mut pace = answered();
        assert_eq!(pace.interval(false), FAST, "its ping is not answered yet");
        pace.ping(FAST, false, true);
        assert_eq!(pace.interval(true), FAST);
        pace.ping(FAST, true, false);
        assert_eq!(pace.interval(true), FAST);
    }

    #[test]
    fn a_ping_at_rest_has_as_long_for_its_echo_as_any_other() {
        let mut pace = answered();
        assert_eq!(pace.patience(), BRIDGE_PROGRESS_TIMEOUT);
        pace.ping(REST, true, true);
        let longer = BRIDGE_PROGRESS_TIMEOUT + (REST - FAST);
        assert_eq!(pace.patience(), longer);
        pace.ping(FAST, false, true);
        assert_eq!(pace.patience(), longer, "further pings without an echo neither shorten nor lengthen it");
        pace.ping(FAST, true, true);
        assert_eq!(pace.patience(), BRIDGE_PROGRESS_TIMEOUT);
        pace.ping(Duration::from_secs(60), true, true);
        assert_eq!(pace.patience(), longer, "a process that stood still has no more");
    }

    #[test]
    fn a_dead_link_is_noticed_within_the_patience_of_whoever_asks_over_it() {
        // The last echo came at 0, and the link is at rest; asked at any moment of it, the next ping goes at once or at FAST.
        for asked in [0, 100, 499, 500, 700, 899].map(Duration::from_millis) {
            let mut pace = answered();
            assert!(pace.begin());
            let pinged = asked.max(FAST);
            pace.ping(pinged, true, true);
            assert!(pace.patience() <= asked + BRIDGE_PROGRESS_TIMEOUT, "asked at {asked:?}");
        }
    }
}
