//! The throttle of warnings about a repeated failure: not in the first moment, and not each time. While agents start,
//! failed dials and a missing leader are normal and pass. It reads no clock and logs nothing.

use crate::defaults::{TROUBLE_PATIENCE, TROUBLE_REPEAT};
use std::time::{Duration, Instant};

/// The failures of one thing that is tried until it works.
#[derive(Clone, Debug)]
pub struct FailureThrottle {
    patience: Duration,
    repeat: Duration,
    since: Option<Instant>,
    warned: Option<Instant>,
}

impl Default for FailureThrottle {
    /// For failures that may pass: worth a warning after [`TROUBLE_PATIENCE`], then once each [`TROUBLE_REPEAT`].
    fn default() -> FailureThrottle {
        FailureThrottle { patience: TROUBLE_PATIENCE, repeat: TROUBLE_REPEAT, since: None, warned: None }
    }
}

impl FailureThrottle {
    /// For failures that are worth a warning at once, and then once each `repeat`.
    pub fn at_once(repeat: Duration) -> FailureThrottle {
        FailureThrottle { patience: Duration::ZERO, repeat, ..FailureThrottle::default() }
    }

    /// Notes a failure at `now`. True if it is worth a warning.
    pub fn failed(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let due = match self.warned {
            None => now.saturating_duration_since(since) >= self.patience,
            Some(warned) => now.saturating_duration_since(warned) >= self.repeat,
        };
        if due {
            self.warned = Some(now);
        }
        due
    }

    /// The same after a success: the first failure is worth a warning too.
    pub fn failed_again(&mut self, now: Instant) -> bool {
        let is_first = self.since.is_none();
        if is_first {
            (self.since, self.warned) = (Some(now), Some(now));
        }
        is_first || self.failed(now)
    }

    /// True if it has not failed since it last worked.
    pub fn is_over(&self) -> bool {
        self.since.is_none()
    }

    /// Notes a success. True if there was a warning, so that its end is worth a line too.
    pub fn worked(&mut self) -> bool {
        self.since = None;
        self.warned.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_never_warned_of_and_what_lasts_is_not_warned_of_each_time() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut trouble = FailureThrottle::default();
        assert!(!trouble.failed(start));
        assert!(!trouble.failed(start + TROUBLE_PATIENCE - second));
        assert!(!trouble.worked(), "nobody was told of it");
        let again = start + TROUBLE_PATIENCE;
        assert!(!trouble.failed(again), "it begins anew");
        let lasts = again + TROUBLE_PATIENCE;
        assert!(trouble.failed(lasts));
        assert!(!trouble.failed(lasts + TROUBLE_REPEAT - second));
        assert!(trouble.failed(lasts + TROUBLE_REPEAT));
        assert!(trouble.worked());
        assert!(trouble.is_over());
    }

    #[test]
    fn what_has_worked_is_warned_of_at_once_and_not_each_time() {
        let start = Instant::now();
        let mut trouble = FailureThrottle::default();
        assert!(trouble.failed_again(start));
        assert!(!trouble.failed_again(start + TROUBLE_REPEAT / 2));
        assert!(trouble.failed_again(start + TROUBLE_REPEAT));
        assert!(trouble.worked());
        assert!(trouble.failed_again(start + TROUBLE_REPEAT));
    }
}
