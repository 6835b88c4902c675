//! How old an answer its asker takes: `max_stale` and `Cache-Control` as one policy.
//!
//! `remote_read.rs` asks it about each answer that is held. Pure.

use crate::model::query::CacheControl;
use std::time::Duration;

/// What is done with an answer that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldUse {
    /// It is given as it is.
    Serve,
    /// It is fetched anew first.
    Refresh,
}

/// What one asker takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The oldest answer that is taken without an attempt to get a newer one.
    fresh: Option<Duration>,
    /// The oldest answer that is taken at all (`max_stale`).
    hard: Option<Duration>,
    /// The oldest answer that is taken where a newer one cannot be had (`stale-if-error`).
    forgiven: Option<Duration>,
    /// Whether even the newest is to be checked first (`must-revalidate`, `max-age=0`).
    must_revalidate: bool,
}

impl Bounds {
    /// The bounds that a query names. `Cache-Control` counts with `?cached` only, as with Consul.
    pub(super) fn of(max_stale: Option<Duration>, cached: Option<CacheControl>) -> Bounds {
        let control = cached.unwrap_or_default();
        let max_age = control.max_age.filter(|age| !age.is_zero());
        let hard = max_stale.filter(|age| !age.is_zero());
        Bounds {
            fresh: [max_age, hard].into_iter().flatten().min(),
            hard,
            forgiven: control.stale_if_error,
            must_revalidate: control.must_revalidate || control.max_age.is_some_and(|age| age.is_zero()),
        }
    }

    /// Whether not every answer is good enough.
    pub(super) fn are_set(&self) -> bool {
        self.must_revalidate || self.fresh.is_some()
    }

    /// Whether no answer is good enough without a look for a newer one.
    pub(super) fn must_look(&self) -> bool {
        self.must_revalidate
    }

    /// What is done with an answer of this age that was held before it was asked for.
    pub(super) fn verdict(&self, age: Duration) -> HeldUse {
        if self.must_revalidate || self.is_too_old(age) { HeldUse::Refresh } else { HeldUse::Serve }
    }

    /// Whether an answer that came since it was asked for is too old all the same.
    pub(super) fn is_too_old(&self, age: Duration) -> bool {
        self.fresh.is_some_and(|fresh| age > fresh)
    }

    /// Whether an answer of this age is better than the fault that kept a newer one from coming.
    pub(super) fn forgives(&self, age: Duration) -> bool {
        self.forgiven.is_some_and(|forgiven| age <= forgiven) && self.hard.is_none_or(|hard| age <= hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn bounds(max_stale: Option<u64>, control: Option<CacheControl>) -> Bounds {
        Bounds::of(max_stale.map(secs), control)
    }

    fn control(max_age: Option<u64>, stale_if_error: Option<u64>, must_revalidate: bool) -> Option<CacheControl> {
        Some(CacheControl { max_age: max_age.map(secs), stale_if_error: stale_if_error.map(secs), must_revalidate })
    }

    #[test]
    fn the_tightest_bound_decides_and_no_bound_takes_everything() {
        use HeldUse::{Refresh, Serve};
        for (max_stale, control, age, expected) in [
            (None, None, 1_000_000, Serve),
            (None, control(None, None, false), 1_000_000, Serve),
            (Some(10), None, 10, Serve),
            (Some(10), None, 11, Refresh),
            (Some(0), None, 11, Serve),
            (Some(10), control(Some(5), None, false), 5, Serve),
            (Some(10), control(Some(5), None, false), 6, Refresh),
            (Some(5), control(Some(10), None, false), 6, Refresh),
            (None, control(None, None, true), 0, Refresh),
            (None, control(Some(0), None, false), 0, Refresh),
        ] {
            assert_eq!(bounds(max_stale, control).verdict(secs(age)), expected, "{max_stale:?} {control:?} {age}");
        }
    }

    #[test]
    fn what_came_since_it_was_asked_for_needs_no_second_look() {
        assert!(!bounds(None, control(Some(0), None, true)).is_too_old(secs(3)));
        assert!(bounds(None, control(Some(2), None, true)).is_too_old(secs(3)));
        assert!(bounds(None, control(None, None, true)).are_set() && bounds(Some(1), None).are_set());
        assert!(!bounds(None, control(None, Some(9), false)).are_set());
        assert!(bounds(None, control(Some(0), None, false)).must_look() && !bounds(Some(1), None).must_look());
    }

    #[test]
    fn an_error_is_forgiven_up_to_stale_if_error_and_never_beyond_max_stale() {
        assert!(!bounds(None, control(Some(1), None, false)).forgives(secs(0)), "nothing was said of errors");
        assert!(bounds(None, control(Some(1), Some(60), true)).forgives(secs(60)));
        assert!(!bounds(None, control(Some(1), Some(60), false)).forgives(secs(61)));
        assert!(!bounds(Some(30), control(Some(1), Some(60), false)).forgives(secs(31)));
    }
}
