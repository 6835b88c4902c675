//! The clock of leases and ages: it counts on while the host sleeps. The kernel's monotonic clock, that of timers and
//! [`Instant`], stands still then: an answer held over a night would look seconds old, and a leader would hold its lease
//! of the evening in the morning. Compare times of [`now`] only with each other.

use crate::defaults::{CLOCK_SHARED, CLOCK_SLEEP_LEAST};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The time, with the sleep of the host counted in.
pub fn now() -> Instant {
    Instant::now() + slept()
}

/// The age of `time`, which [`now`] gave.
pub fn since(time: Instant) -> Duration {
    now().saturating_duration_since(time)
}

/// Waits until the timers reach `time`; for ever without one.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Sleeps for `pause`, or less by up to [`CLOCK_SHARED`]: until the last moment within `pause` that such sleeps share.
/// Looks from time to time go by it, so that an idle process wakes once for all of them.
pub async fn sleep_shared(pause: Duration) {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    let first = *FIRST.get_or_init(|| now);
    tokio::time::sleep_until(shared_moment(first, now, pause)).await;
}

/// The last moment within `pause` from `now` that is a multiple of [`CLOCK_SHARED`] from `first`; the end of `pause`
/// where that is shorter.
fn shared_moment(first: Instant, now: Instant, pause: Duration) -> Instant {
    let due = now + pause;
    if pause < CLOCK_SHARED {
        return due;
    }
    let past = nanos(due.saturating_duration_since(first)) % nanos(CLOCK_SHARED);
    due - Duration::from_nanos(past)
}

/// The time that the host has slept since this process first asked.
fn slept() -> Duration {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let behind = behind();
    let first = *FIRST.get_or_init(|| {
        KNOWN.fetch_max(behind, Ordering::Relaxed);
        behind
    });
    let known = KNOWN.load(Ordering::Relaxed);
    // The time between the two readings is no sleep. The known sleep never shrinks.
    let known = if behind > known.saturating_add(nanos(CLOCK_SLEEP_LEAST)) {
        KNOWN.fetch_max(behind, Ordering::Relaxed).max(behind)
    } else {
        known
    };
    Duration::from_nanos(known.saturating_sub(first)) + pretended()
}

/// Nanoseconds by which the monotonic clock is behind the one that goes on, or fewer.
#[cfg(target_os = "linux")]
fn behind() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| {
        let time = clock_gettime(clock);
        u64::try_from(time.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
    };
    let on = read(ClockId::Boottime);
    on.saturating_sub(read(ClockId::Monotonic))
}

/// Other systems have no such clock: their sleep is unknown.
#[cfg(not(target_os = "linux"))]
fn behind() -> u64 {
    0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The last time of an event, by the monotonic clock; several threads may note it at once.
#[derive(Debug)]
pub struct Latest {
    began: Instant,
    /// Milliseconds from `began` on, plus one; 0 while it has not happened.
    at: AtomicU64,
}

impl Default for Latest {
    fn default() -> Latest {
        Latest { began: Instant::now(), at: AtomicU64::new(0) }
    }
}

impl Latest {
    /// Notes the event now.
    pub fn happens(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at.store(passed.saturating_add(1), Ordering::Relaxed);
    }

    /// The last time; at most 1 ms too early.
    pub fn at(&self) -> Option<Instant> {
        let passed = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began + Duration::from_millis(passed))
    }

    /// The time since then.
    pub fn age(&self) -> Option<Duration> {
        self.at().map(|at| at.elapsed())
    }
}

/// Notices that the host has slept, for users that must count by the monotonic clock.
#[derive(Debug)]
pub struct Waking(Mutex<Noticed>);

#[derive(Debug)]
struct Noticed {
    slept: Duration,
    /// By the monotonic clock.
    woke: Option<std::time::Instant>,
}

impl Waking {
    /// Notices sleeps from now on.
    pub fn new() -> Waking {
        Waking(Mutex::new(Noticed { slept: slept(), woke: None }))
    }

    /// The time, by the monotonic clock, since the last sleep was noticed. Anything older may be from before it.
    pub fn age(&self) -> Option<Duration> {
        let mut noticed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = slept();
        if slept > noticed.slept {
            *noticed = Noticed { slept, woke: Some(std::time::Instant::now()) };
            metrics::counter!("kontor.clock.sleeps").increment(1);
        }
        noticed.woke.map(|woke| woke.elapsed())
    }
}

impl Default for Waking {
    fn default() -> Waking {
        Waking::new()
    }
}

#[cfg(not(test))]
fn pretended() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
fn pretended() -> Duration {
    testing::PRETENDED.get()
}

/// Sleep for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        pub(super) static PRETENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Lets the host sleep for `duration`, as this thread sees it.
    pub(crate) fn sleep(duration: Duration) {
        PRETENDED.set(PRETENDED.get() + duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: Duration = Duration::from_secs(8 * 3600);

    #[test]
    fn looks_that_began_apart_come_together_and_never_late() {
        let first = Instant::now();
        let at = |millis: u64| first + Duration::from_millis(millis);
        let moment = |now: u64, pause: u64| shared_moment(first, at(now), Duration::from_millis(pause));
        assert_eq!((moment(0, 1_000), moment(130, 1_000), moment(999, 1_000)), (at(1_000), at(1_000), at(1_500)));
        assert_eq!((moment(1_000, 2_000), moment(2_700, 500)), (at(3_000), at(3_000)));
        assert_eq!(moment(1_001, 500), at(1_500), "each a little after the last one, and not at once");
        assert_eq!(moment(130, 200), at(330), "shorter pauses are their own");
        assert_eq!(
            shared_moment(at(10_000), at(0), Duration::from_secs(1)),
            at(1_000),
            "a clock that is before the first moment"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_before_a_sleep_is_older_by_it() {
        let before = now();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(since(before) < Duration::from_secs(3), "awake it goes as other clocks do");
        testing::sleep(NIGHT);
        tokio::time::advance(Duration::from_secs(1)).await;
        let age = since(before);
        assert!(age >= NIGHT + Duration::from_secs(3) && age < NIGHT + Duration::from_secs(4), "{age:?}");
    }

    #[test]
    fn a_sleep_is_noticed_once_and_by_everybody() {
        let (one, two) = (Waking::new(), Waking::new());
        assert_eq!(one.age(), None);
        testing::sleep(NIGHT);
        let first = one.age().unwrap();
        assert!(first < Duration::from_secs(60) && two.age().is_some());
        assert!(one.age().unwrap() >= first, "not again");
        assert_eq!(Waking::new().age(), None, "what was before is over");
    }

    #[test]
    fn the_host_that_is_awake_does_not_seem_to_sleep() {
        let waking = Waking::new();
        for _ in 0..10_000 {
            assert_eq!(waking.age(), None);
        }
    }
}
