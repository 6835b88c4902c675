//! How old an answer can be at most, counted by one clock: the follower's own.
//!
//! The follower notes when it sends a ping. The echo says how old the other side's view was when it
//! had the ping, and which pushes were on their way: an answer with all of these pushes in it is
//! no older than the ping was, plus that age. No receive time and no clock of another counts.
//!
//! `freshness` is the pushing side of one link, [`Ages`] the following side. No I/O, no clock.

use super::message::{Echo, Ping};
use crate::defaults::BRIDGE_PINGS_UNHEARD;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// The time, by [`clock`](crate::clock), as of which an answer is known to be the newest; it never goes back.
#[derive(Debug, Default)]
pub(in crate::bridge) struct AsOf(Mutex<Option<Instant>>);

impl AsOf {
    /// The answer was the newest at `time`.
    pub(in crate::bridge) fn confirm(&self, time: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = (*known).max(Some(time));
    }

    /// The latest such time; unset before there is an answer.
    pub(in crate::bridge) fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The following side's knowledge of the age of its feeds on one link.
#[derive(Debug, Default)]
pub(in crate::bridge) struct Ages {
    pings: u64,
    heard: u64,
    /// Pings whose echo has not come.
    unheard: VecDeque<(u64, Instant)>,
    feeds: HashMap<u64, Age>,
}

#[derive(Debug)]
struct Age {
    as_of: Arc<AsOf>,
    /// The last push that is in the answer held; 0 for none.
    has: u64,
    /// The last push that an echo named; at least the first one.
    needs: u64,
    /// The time that is confirmed as soon as the answer held has the pushes that it needs.
    promised: Option<Instant>,
}

impl Age {
    /// Confirms the promised time once its pushes are there.
    fn settle(&mut self) {
        if self.has >= self.needs
            && let Some(time) = self.promised.take()
        {
            self.as_of.confirm(time);
        }
    }
}

impl Ages {
    /// A ping to be sent now.
    pub(in crate::bridge) fn ping(&mut self, now: Instant) -> Ping {
        self.pings += 1;
        if self.unheard.len() == BRIDGE_PINGS_UNHEARD {
            self.unheard.pop_front();
        }
        self.unheard.push_back((self.pings, now));
        Ping { number: self.pings, heard: self.heard }
    }

    /// True if the echo of the last ping has arrived.
    pub(in crate::bridge) fn is_answered(&self) -> bool {
        self.heard == self.pings
    }

    /// Counts the age of `feed` from now on, into `as_of`.
    pub(in crate::bridge) fn open(&mut self, feed: u64, as_of: Arc<AsOf>) {
        self.feeds.insert(feed, Age { as_of, has: 0, needs: 1, promised: None });
    }

    /// The feed has ended; its counted age stays.
    pub(in crate::bridge) fn close(&mut self, feed: u64) {
        self.feeds.remove(&feed);
    }

    /// A push has become the answer held. Not called for a refused push: the answer held is older.
    pub(in crate::bridge) fn took(&mut self, feed: u64, number: u64) {
        let Some(age) = self.feeds.get_mut(&feed) else { return };
        age.has = age.has.max(number);
        age.settle();
    }

    /// Takes an echo in. Returns false for an echo of an unknown ping, which says nothing.
    pub(in crate::bridge) fn echo(&mut self, echo: &Echo) -> bool {
        let Some(at) = self.unheard.iter().position(|(number, _)| *number == echo.number) else { return false };
        let Some((_, sent)) = self.unheard.remove(at) else { return false };
        self.heard = self.heard.max(echo.number);
        for (feed, number) in &echo.pushed {
            if let Some(age) = self.feeds.get_mut(feed) {
                age.needs = age.needs.max(*number);
            }
        }
        let Some(time) = echo.age.and_then(|age| sent.checked_sub(age)) else { return true };
        let behind: HashSet<u64> = echo.behind.iter().copied().collect();
        for (_, age) in self.feeds.iter_mut().filter(|(feed, _)| !behind.contains(feed)) {
            age.promised = age.promised.max(Some(time));
            age.settle();
        }
        true
    }
}
