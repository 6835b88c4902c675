//! When a check runs. Chance is passed in; `runners` sleeps.

use crate::defaults::CHECK_INTERVAL_MIN;
use std::time::Duration;

/// The pauses of one check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    interval: Duration,
}

impl Schedule {
    /// Every `interval`, at least [`CHECK_INTERVAL_MIN`].
    pub(super) fn every(interval: Duration) -> Schedule {
        Schedule { interval: interval.max(CHECK_INTERVAL_MIN) }
    }

    /// The pause before the first run: anywhere in the interval, so that checks that start together
    /// do not run together. `random` is in [0, 1).
    pub(super) fn first(self, random: f64) -> Duration {
        let nanos = self.interval.as_nanos() as f64 * random.clamp(0.0, 1.0);
        Duration::from_nanos(nanos as u64).min(self.interval)
    }

    /// The pause between the end of a run and the next one.
    pub(super) fn pause(self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_runs_are_spread_over_the_whole_interval_and_none_is_shorter_than_a_second() {
        let schedule = Schedule::every(Duration::from_secs(10));
        assert_eq!(schedule.first(0.0), Duration::ZERO);
        assert_eq!(schedule.first(0.25), Duration::from_millis(2500));
        assert!(schedule.first(1.0) <= Duration::from_secs(10));
        assert_eq!(schedule.pause(), Duration::from_secs(10));
        assert_eq!(Schedule::every(Duration::from_millis(3)).pause(), Duration::from_secs(1));
        assert_eq!(Schedule::every(Duration::MAX).first(0.0), Duration::ZERO);
    }
}
