//! Throttles by kind: of peers that are refused, of requests that fail. A refused peer tries again and again, and the
//! log shall not warn each time.

use super::FailureThrottle;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One [`FailureThrottle`] for each kind. A bounded number of recent kinds is remembered.
#[derive(Debug)]
pub struct FailureThrottles<K> {
    new: FailureThrottle,
    remember: Duration,
    max: usize,
    kinds: Mutex<HashMap<K, Kind>>,
}

#[derive(Debug)]
struct Kind {
    trouble: FailureThrottle,
    last: Instant,
    /// The last time at which it was new or worth a warning.
    reported: Instant,
    unreported: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// True if no failure of its kind is remembered.
    pub is_first: bool,
    /// True if it is worth a warning.
    pub is_due: bool,
    /// The failures of its kind since the last that was worth a warning.
    pub unreported: u64,
}

impl<K: Eq + Hash> FailureThrottles<K> {
    /// Each kind begins as a clone of `new`. A kind is forgotten once it has not failed for `remember`. Failures of
    /// further kinds than `max` are not worth a warning.
    pub fn new(new: FailureThrottle, remember: Duration, max: usize) -> FailureThrottles<K> {
        FailureThrottles { new, remember, max, kinds: Mutex::default() }
    }

    /// Notes a failure of this kind at `now`.
    pub fn failed(&self, kind: K, now: Instant) -> Failure {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.retain(|_, kind| now.saturating_duration_since(kind.last) < self.remember);
        if kinds.len() >= self.max && !kinds.contains_key(&kind) {
            // Kinds that go on failing leave room to others once in a while.
            kinds.retain(|_, kind| now.saturating_duration_since(kind.reported) < self.remember);
            if kinds.len() >= self.max {
                return Failure::default();
            }
        }
        let kind =
            kinds.entry(kind).or_insert_with(|| Kind { trouble: self.new.clone(), last: now, reported: now, unreported: 0 });
        let (is_first, is_due, unreported) = (kind.trouble.is_over(), kind.trouble.failed(now), kind.unreported);
        kind.last = now;
        if is_due {
            kind.reported = now;
        }
        kind.unreported = if is_due { 0 } else { unreported.saturating_add(1) };
        Failure { is_first, is_due, unreported }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind_is_told_at_once_and_then_once_in_a_while_with_its_count() {
        let (troubles, start) = (FailureThrottles::new(FailureThrottle::at_once(REPEAT), REPEAT, 10), Instant::now());
        let reported = |kind, after| {
            let failure = troubles.failed(kind, start + after);
            failure.is_due.then_some(failure.unreported)
        };
        assert_eq!(reported("a", Duration::ZERO), Some(0));
        assert_eq!((reported("a", SECOND), reported("b", SECOND)), (None, Some(0)), "each kind by itself");
        assert_eq!(reported("a", REPEAT - SECOND), None);
        assert_eq!(reported("a", REPEAT), Some(2));
        assert_eq!(reported("a", REPEAT * 3), Some(0), "and anew once it was forgotten");
    }

    #[test]
    fn what_may_pass_is_told_once_it_lasts_and_is_new_again_after_a_while() {
        let (troubles, start) = (FailureThrottles::new(FailureThrottle::default(), REPEAT, 10), Instant::now());
        let first = Failure { is_first: true, ..Failure::default() };
        assert_eq!(troubles.failed("a", start), first);
        let lasts = troubles.failed("a", start + REPEAT / 2);
        assert!(lasts.is_due && !lasts.is_first);
        assert_eq!(troubles.failed("a", start + REPEAT * 2), first);
    }

    #[test]
    fn kinds_are_bounded() {
        let (troubles, start) = (FailureThrottles::new(FailureThrottle::at_once(REPEAT), REPEAT, 2), Instant::now());
        assert!((0..2).all(|kind| troubles.failed(kind, start).is_due));
        assert_eq!(troubles.failed(2, start), Failure::default());
        assert!(!troubles.failed(1, start + SECOND).is_due, "those that are known go on");
        assert!(troubles.failed(2, start + REPEAT + SECOND).is_due, "there is room once others are forgotten");
    }

    #[test]
    fn those_that_never_stop_failing_silence_no_others() {
        let (troubles, start) = (FailureThrottles::new(FailureThrottle::at_once(REPEAT * 2), REPEAT, 2), Instant::now());
        for second in 0..90 {
            let first = (0..2).filter(|kind| troubles.failed(*kind, start + SECOND * second).is_first).count();
            assert_eq!(first, if second == 0 { 2 } else { 0 });
        }
        assert!(troubles.failed(2, start + SECOND * 90).is_due);
    }
}
