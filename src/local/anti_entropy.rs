//! The timing of anti-entropy, without I/O. Time and chance are passed in; `sync` acts.

use crate::defaults::{SYNC_FIRST_RETRY, SYNC_FIRST_SOON, SYNC_INTERVAL, SYNC_RETRY, SYNC_SOON, SYNC_STRETCH_FROM};
use std::time::{Duration, Instant};

/// The next action of anti-entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncAction {
    /// Compare everything, then push what differs.
    Full,
    /// Push the known differences.
    Partial,
    /// Nothing before that time, or before the next change.
    Wait(Instant),
}

/// The end of a synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// The catalog agrees, but for writes that it refuses.
    Refused,
    /// The catalog could not be reached.
    Failed,
}

/// The spread of delays, by chance and by the size of the datacenter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    /// Members of the LAN pool.
    pub(super) members: usize,
    /// In [0, 1).
    pub(super) random: f64,
}

impl Spread {
    /// A random delay up to `base`, longer in a large datacenter so that its servers see about the same rate.
    fn up_to(self, base: Duration) -> Duration {
        (base * stretch(self.members)).mul_f64(self.random.clamp(0.0, 1.0))
    }
}

/// The factor of delays: 1 up to 128 members, 2 up to 256, then one more for each doubling.
fn stretch(members: usize) -> u32 {
    match members.div_ceil(SYNC_STRETCH_FROM) {
        0 | 1 => 1,
        times => times.next_power_of_two().ilog2() + 1,
    }
}

/// The delay of a change of output alone: between half of `interval` and one and a half.
pub(super) fn defer(interval: Duration, random: f64) -> Duration {
    (interval / 2).saturating_add(interval.mul_f64(random.clamp(0.0, 1.0)))
}

#[derive(Debug)]
pub(super) struct AntiEntropy {
    full_at: Instant,
    changed: bool,
    /// The last synchronisation failed: changes wait for the retry, which brings them too.
    failing: bool,
    pub(super) worked_once: bool,
}

impl AntiEntropy {
    /// A full synchronisation is due at once.
    pub(super) fn new(now: Instant) -> AntiEntropy {
        AntiEntropy { full_at: now, changed: false, failing: false, worked_once: false }
    }

    /// Notes a change of the registrations.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// Brings the next full synchronisation forward; before the first success it is due almost at once.
    pub(super) fn soon(&mut self, now: Instant, spread: Spread) {
        let base = if self.worked_once { SYNC_SOON } else { SYNC_FIRST_SOON };
        self.full_at = self.full_at.min(now + spread.up_to(base));
    }

    /// The next action. The caller takes it and reports its end.
    pub(super) fn poll(&mut self, now: Instant) -> SyncAction {
        if now >= self.full_at {
            self.changed = false;
            // No other full one is due before the end of this one.
            self.full_at = now + SYNC_INTERVAL;
            SyncAction::Full
        } else if self.changed && !self.failing {
            self.changed = false;
            SyncAction::Partial
        } else {
            SyncAction::Wait(self.full_at)
        }
    }

    /// Notes the end of a full synchronisation.
    pub(super) fn full_done(&mut self, end: End, now: Instant, spread: Spread) {
        match end {
            End::Failed => self.retry(now, spread),
            End::Refused | End::Done => {
                let base = if end == End::Done { SYNC_INTERVAL } else { SYNC_RETRY };
                (self.failing, self.worked_once) = (false, true);
                self.full_at = now + base + spread.up_to(base);
            }
        }
    }

    /// Notes the end of a partial synchronisation.
    pub(super) fn partial_done(&mut self, end: End, now: Instant, spread: Spread) {
        match end {
            End::Done => {}
            End::Refused => self.full_at = self.full_at.min(now + SYNC_RETRY + spread.up_to(SYNC_RETRY)),
            End::Failed => self.retry(now, spread),
        }
    }

    fn retry(&mut self, now: Instant, spread: Spread) {
        let base = if self.worked_once { SYNC_RETRY } else { SYNC_FIRST_RETRY };
        self.failing = true;
        self.full_at = now + base + spread.up_to(base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(random: f64) -> Spread {
        Spread { members: 3, random }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A timing whose full synchronisation was at `start`, with the next one due at `start` + 1 min.
    fn running(start: Instant) -> AntiEntropy {
        let mut timing = AntiEntropy::new(start);
        assert_eq!(timing.poll(start), SyncAction::Full);
        timing.full_done(End::Done, start, spread(0.0));
        timing
    }

    /// The same, while a change is pushed.
    fn pushing(start: Instant) -> AntiEntropy {
        let mut timing = running(start);
        timing.changed();
        assert_eq!(timing.poll(start), SyncAction::Partial);
        timing
    }

    #[test]
    fn the_spread_grows_with_the_datacenter_as_consuls_does() {
        for (members, factor) in [(0, 1), (1, 1), (128, 1), (129, 2), (256, 2), (257, 3), (512, 3), (8192, 7)] {
            assert_eq!(stretch(members), factor, "{members}");
        }
    }

    #[test]
    fn a_full_one_runs_at_the_start_and_then_between_one_and_two_minutes() {
        let start = Instant::now();
        let mut timing = AntiEntropy::new(start);
        assert_eq!(timing.poll(start), SyncAction::Full);
        timing.full_done(End::Done, start, spread(0.5));
        assert_eq!(timing.poll(start), SyncAction::Wait(start + secs(90)));
        assert_eq!(timing.poll(start + secs(90)), SyncAction::Full);
    }

    #[test]
    fn a_change_is_pushed_at_once_and_only_once_and_one_during_a_push_by_the_next() {
        let start = Instant::now();
        let mut timing = pushing(start);
        timing.partial_done(End::Done, start, spread(0.0));
        assert_eq!(timing.poll(start), SyncAction::Wait(start + secs(60)));
        let mut timing = pushing(start);
        timing.changed();
        timing.partial_done(End::Done, start, spread(0.0));
        assert_eq!(timing.poll(start), SyncAction::Partial);
    }

    #[test]
    fn soon_means_within_three_seconds_and_never_later_than_planned() {
        let start = Instant::now();
        let mut timing = running(start);
        timing.soon(start + secs(10), spread(0.5));
        assert_eq!(timing.poll(start + secs(10)), SyncAction::Wait(start + secs(10) + Duration::from_millis(1500)));
        timing.soon(start + secs(10), spread(0.99));
        assert_eq!(timing.poll(start + secs(10)), SyncAction::Wait(start + secs(10) + Duration::from_millis(1500)));
    }

    #[test]
    fn a_failure_is_tried_again_after_fifteen_seconds_and_changes_wait_for_it() {
        let start = Instant::now();
        let mut timing = pushing(start);
        timing.partial_done(End::Failed, start, spread(0.0));
        timing.changed();
        assert_eq!(timing.poll(start), SyncAction::Wait(start + secs(15)));
        assert_eq!(timing.poll(start + secs(15)), SyncAction::Full);
        timing.full_done(End::Failed, start + secs(15), spread(0.5));
        assert_eq!(timing.poll(start + secs(15)), SyncAction::Wait(start + secs(15) + Duration::from_millis(22_500)));
        timing.soon(start + secs(16), spread(0.0));
        assert_eq!(timing.poll(start + secs(16)), SyncAction::Full);
    }

    #[test]
    fn what_the_catalog_refuses_is_tried_again_and_keeps_no_other_change_waiting() {
        let start = Instant::now();
        let mut timing = pushing(start);
        timing.partial_done(End::Refused, start, spread(0.0));
        timing.changed();
        assert_eq!(timing.poll(start), SyncAction::Partial);
        timing.partial_done(End::Done, start, spread(0.0));
        assert_eq!(timing.poll(start), SyncAction::Wait(start + secs(15)));
    }

    #[test]
    fn until_the_first_success_it_is_tried_about_every_second_and_sooner_after_a_server_or_a_leader() {
        let start = Instant::now();
        let failed = |random| {
            let mut timing = AntiEntropy::new(start);
            assert_eq!(timing.poll(start), SyncAction::Full);
            timing.full_done(End::Failed, start, spread(random));
            timing
        };
        assert_eq!(failed(0.0).poll(start), SyncAction::Wait(start + secs(1)));
        let mut timing = failed(0.99);
        timing.soon(start, spread(0.99));
        let SyncAction::Wait(until) = timing.poll(start) else { panic!("it is not due yet") };
        assert!(until <= start + Duration::from_millis(250), "half of it is left for the requests");
    }

    #[test]
    fn output_alone_is_deferred_by_half_to_one_and_a_half_of_the_interval() {
        assert_eq!(defer(secs(300), 0.0), secs(150));
        assert_eq!(defer(secs(300), 0.5), secs(300));
    }
}
