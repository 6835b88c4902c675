//! A follower's memory of its leader's echoes: the age of its view, and the echoes not seen yet. No I/O.

use super::message::Moment;
use crate::clock;
use crate::defaults::RAFT_ECHOES_UNSEEN;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The last time at which something was certainly so: this server's view was whole, or its leader led.
#[derive(Debug, Default)]
pub(super) struct Freshness(Mutex<Option<Instant>>);

impl Freshness {
    pub(super) fn confirm(&self, time: Instant) {
        let mut confirmed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *confirmed = (*confirmed).max(Some(time));
    }

    pub(super) fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(clock::since)
    }
}

/// The echoes of the leader, with the clock of their moments.
#[derive(Debug)]
pub(super) struct Echoes {
    run: u64,
    began: Instant,
    unseen: Mutex<Unseen>,
}

impl Default for Echoes {
    fn default() -> Echoes {
        Echoes { run: rand::random(), began: clock::now(), unseen: Mutex::default() }
    }
}

impl Echoes {
    /// The present moment, for the leader to send back.
    pub(super) fn moment(&self) -> Moment {
        let at = clock::since(self.began).as_micros();
        Moment { run: self.run, at: u64::try_from(at).unwrap_or(u64::MAX) }
    }

    /// The time of `moment`; `None` for another run's, or one in the future.
    pub(super) fn time_of(&self, moment: Moment) -> Option<Instant> {
        let time = self.began.checked_add(Duration::from_micros(moment.at))?;
        Some(time).filter(|time| moment.run == self.run && *time <= clock::now())
    }

    pub(super) fn unseen(&self) -> MutexGuard<'_, Unseen> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Echoes whose index readers here do not see yet, oldest first, with the time of their question.
#[derive(Debug, Default)]
pub(super) struct Unseen(VecDeque<(u64, Instant)>);

impl Unseen {
    /// Over the bound the newest is dropped: the oldest is seen first.
    pub(super) fn push(&mut self, index: u64, asked: Instant) {
        match self.0.len() < RAFT_ECHOES_UNSEEN {
            true => self.0.push_back((index, asked)),
            false => metrics::counter!("kontor.raft.echoes_dropped").increment(1),
        }
    }

    /// Forgets the echoes that `published` covers; the time of the latest question among them.
    pub(super) fn seen(&mut self, published: u64) -> Option<Instant> {
        let mut latest = None;
        while let Some((_, asked)) = self.0.pop_front_if(|(index, _)| *index <= published) {
            latest = Some(asked);
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_means_something_in_its_own_run_alone_and_never_before_it_is_over() {
        let echoes = Echoes::default();
        let moment = echoes.moment();
        assert!(clock::since(echoes.time_of(moment).unwrap()) < Duration::from_secs(60));
        assert_eq!(Echoes::default().time_of(moment), None);
        for ahead in [Duration::from_secs(3600).as_micros() as u64, u64::MAX] {
            assert_eq!(echoes.time_of(Moment { at: ahead, ..moment }), None);
        }
    }

    #[test]
    fn an_echo_counts_once_its_index_is_seen_and_a_laggard_keeps_the_oldest() {
        let start = Instant::now();
        let at = |number: u64| start + Duration::from_millis(number);
        let mut unseen = Unseen::default();
        assert_eq!(unseen.seen(9), None);
        (1..=3).for_each(|number| unseen.push(number * 10, at(number)));
        assert_eq!(unseen.seen(9), None);
        assert_eq!(unseen.seen(20), Some(at(2)));
        assert_eq!(unseen.seen(29), None);
        (4..1_000).for_each(|number| unseen.push(number * 10, at(number)));
        assert_eq!(unseen.0.len(), RAFT_ECHOES_UNSEEN);
        assert_eq!(unseen.seen(30), Some(at(3)));
    }
}
