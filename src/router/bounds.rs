//! The age of answers that a reader takes: `max_stale` and `Cache-Control` as one policy. Pure.

use crate::model::query::{CacheControl, Freshness};
use std::time::Duration;

/// The ages that one reader takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The oldest answer that is taken without an attempt to get a newer one.
    fresh: Option<Duration>,
    /// The oldest answer that is taken at all (`max_stale`).
    hard: Option<Duration>,
    /// The oldest answer that is taken where a newer one cannot be had (`stale-if-error`).
    forgiven: Option<Duration>,
    /// True if even the newest is to be checked first (`must-revalidate`, `max-age=0`).
    must_revalidate: bool,
}

impl Bounds {
    /// The bounds that a query names. `Cache-Control` counts with `?cached` only, as with Consul.
    pub(super) fn of(freshness: &Freshness) -> Bounds {
        let control = freshness.cached.unwrap_or_default();
        let max_age = control.max_age.filter(|age| !age.is_zero());
        let hard = freshness.max_stale.filter(|age| !age.is_zero());
        Bounds {
            fresh: [max_age, hard].into_iter().flatten().min(),
            hard,
            forgiven: control.stale_if_error,
            must_revalidate: control.must_revalidate || control.max_age.is_some_and(|age| age.is_zero()),
        }
    }

    /// The freshness that a neighbour is asked for: within these bounds, but for the forgiven age.
    pub(super) fn for_neighbour(&self) -> Freshness {
        let control = CacheControl { max_age: self.fresh, stale_if_error: None, must_revalidate: self.must_revalidate };
        Freshness { max_stale: self.hard, cached: Some(control).filter(|_| self.are_set()), ..Freshness::STALE }
    }

    /// True if some answers are not good enough.
    pub(super) fn are_set(&self) -> bool {
        self.must_revalidate || self.fresh.is_some()
    }

    /// True if no answer is good enough without a look for a newer one.
    pub(super) fn must_look(&self) -> bool {
        self.must_revalidate
    }

    /// True if an answer of this age that was held before the question is given as it is.
    pub(super) fn serves(&self, age: Duration) -> bool {
        !self.must_revalidate && !self.is_too_old(age)
    }

    /// True if an answer that came since the question is too old all the same.
    pub(super) fn is_too_old(&self, age: Duration) -> bool {
        self.fresh.is_some_and(|fresh| age > fresh)
    }

    /// True if an answer of this age is better than the fault that kept a newer one from coming.
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
        Bounds::of(&Freshness { max_stale: max_stale.map(secs), cached: control, ..Freshness::STALE })
    }

    fn control(max_age: Option<u64>, stale_if_error: Option<u64>, must_revalidate: bool) -> Option<CacheControl> {
        Some(CacheControl { max_age: max_age.map(secs), stale_if_error: stale_if_error.map(secs), must_revalidate })
    }

    #[test]
    fn the_tightest_bound_decides_and_no_bound_takes_everything() {
        for (max_stale, control, age, serves) in [
            (None, None, 1_000_000, true),
            (None, control(None, None, false), 1_000_000, true),
            (Some(10), None, 10, true),
            (Some(10), None, 11, false),
            (Some(0), None, 11, true),
            (Some(10), control(Some(5), None, false), 5, true),
            (Some(10), control(Some(5), None, false), 6, false),
            (Some(5), control(Some(10), None, false), 6, false),
            (None, control(None, None, true), 0, false),
            (None, control(Some(0), None, false), 0, false),
        ] {
            let bounds = bounds(max_stale, control);
            assert_eq!(bounds.serves(secs(age)), serves, "{max_stale:?} {control:?} {age}");
            let asked = Bounds::of(&bounds.for_neighbour());
            assert_eq!((asked.serves(secs(age)), asked.forgiven), (serves, None), "a neighbour decides the same");
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
