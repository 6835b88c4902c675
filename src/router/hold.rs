//! Holding a request while there is no leader to answer it. The requests held at a time are bounded over all; a dropped
//! wait gives its place back.

use crate::defaults::{HOLD_RETRY, HOLD_SPREAD};
use crate::model::fault::{Fault, FaultKind};
use crate::model::request::{Phase, Progress};
use std::future::Future;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Holds {
    places: Semaphore,
    /// The longest time that one request is held.
    span: Duration,
}

#[derive(Debug)]
pub(super) struct Hold<'a> {
    holds: &'a Holds,
    until: Instant,
}

impl Holds {
    /// At most `places` requests at a time, each for at most `span`.
    pub(super) fn new(places: usize, span: Duration) -> Holds {
        Holds { places: Semaphore::new(places), span }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// The patience of a request that comes now.
    pub(super) fn begin(&self) -> Hold<'_> {
        Hold { holds: self, until: Instant::now() + self.span }
    }
}

impl Hold<'_> {
    /// Begins the patience of a request anew that was parked until now.
    pub(super) fn renew(&mut self) {
        self.until = Instant::now() + self.holds.span;
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits until `wake`; with `retry`, as there is a server to ask again, for a short pause at most. Fails when the hold is
    /// over, or when too many requests are held.
    pub(super) async fn wait(&self, wake: impl Future<Output = ()>, retry: bool, progress: &Progress) -> Result<(), Fault> {
        let now = Instant::now();
        if self.is_over() {
            return Err(Fault::no_leader());
        }
        let Ok(_place) = self.holds.places.try_acquire() else {
            metrics::counter!("kontor.router.hold_refused").increment(1);
            return Err(Fault::new(FaultKind::Busy, "No cluster leader").because("too many requests are held for a leader"));
        };
        let pause = rand::random_range(HOLD_RETRY / 2..=HOLD_RETRY);
        let end = if retry { self.until.min(now + pause) } else { self.until };
        progress.set(Phase::Holding);
        tokio::select! {
            biased;
            () = wake => tokio::time::sleep(rand::random_range(Duration::ZERO..=HOLD_SPREAD)).await,
            () = tokio::time::sleep_until(end) => {}
        }
        // The request counts as held until it is answered: an asker elsewhere must hear of the hold between attempts.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const SPAN: Duration = Duration::from_secs(7);

    #[tokio::test(start_paused = true)]
    async fn without_anybody_to_ask_it_holds_to_the_end_and_then_says_no_leader() {
        let holds = Holds::new(1, SPAN);
        let hold = holds.begin();
        let began = Instant::now();
        assert_eq!(hold.wait(pending(), false, &Progress::default()).await, Ok(()), "one last attempt is allowed");
        assert!(began.elapsed() >= SPAN);
        assert_eq!(hold.wait(pending(), false, &Progress::default()).await, Err(Fault::no_leader()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_the_wait_and_spreads_the_requests() {
        let holds = Holds::new(1, SPAN);
        let began = Instant::now();
        holds.begin().wait(ready(()), false, &Progress::default()).await.unwrap();
        assert!(began.elapsed() <= HOLD_SPREAD + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn with_somebody_to_ask_it_pauses_and_never_beyond_its_end() {
        let holds = Holds::new(1, SPAN);
        let hold = holds.begin();
        let began = Instant::now();
        let mut attempts = 0;
        while hold.wait(pending(), true, &Progress::default()).await.is_ok() {
            attempts += 1;
        }
        assert!(began.elapsed() <= SPAN + Duration::from_millis(2), "{:?}", began.elapsed());
        assert!((35..=71).contains(&attempts), "{attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn over_the_bound_a_request_is_refused_and_a_dropped_one_gives_its_place_back() {
        let holds = Holds::new(1, SPAN);
        let (hold, progress) = (holds.begin(), Progress::default());
        {
            let mut held = std::pin::pin!(hold.wait(pending(), false, &progress));
            assert!(futures_util::poll!(held.as_mut()).is_pending());
            assert_eq!(progress.get(), Phase::Holding);
            let refused = holds.begin().wait(ready(()), false, &Progress::default()).await.unwrap_err();
            assert_eq!(refused.kind, FaultKind::Busy);
        }
        assert_eq!(holds.begin().wait(ready(()), false, &progress).await, Ok(()));
        assert_eq!(progress.get(), Phase::Holding, "until it is answered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_parked_is_held_anew() {
        let holds = Holds::new(1, SPAN);
        let mut hold = holds.begin();
        tokio::time::advance(SPAN * 10).await;
        hold.renew();
        assert_eq!(hold.wait(ready(()), false, &Progress::default()).await, Ok(()));
    }
}
