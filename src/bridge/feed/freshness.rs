//! The echoes of one link, and the feeds of which they vouch. No I/O.
//! A feed looks settled only while the interest registered before its newest read is quiet and that read is numbered.

use super::message::{Echo, Known, Ping};
use crate::model::query::Identity;
use crate::model::request::Interest;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The feeds of one link.
#[derive(Default)]
pub(super) struct FeedsFreshness {
    /// The newest ping that was answered.
    pinged: u64,
    feeds: HashMap<u64, Pushed>,
}

/// The last push of a feed.
#[derive(Default)]
struct Pushed {
    /// 0 before the first push.
    number: u64,
    /// The newest ping that was answered when this was pushed.
    after: u64,
    basis: FreshnessBasis,
}

/// The way to know whether a feed has news. Not to be dropped under a lock: an interest has locks of its own.
#[derive(Clone, Default)]
pub(super) enum FreshnessBasis {
    /// None: nothing was pushed yet.
    #[default]
    Unknown,
    /// The interest registered before the newest read is called.
    Called(Arc<dyn Interest>),
    /// Another read gives another answer.
    Polled(Arc<Poll>),
}

/// A feed whose changes call no interest.
pub(super) struct Poll {
    pub(super) query: Arc<Identity>,
    /// The last push.
    pub(super) reported: Known,
    /// Notified when a read differs from the last push.
    pub(super) news: Arc<Notify>,
}

impl FreshnessBasis {
    /// True if the feed has news that was not pushed; `seen` is the read for an echo.
    fn has_news(&self, seen: Option<&Known>) -> bool {
        match self {
            FreshnessBasis::Unknown => true,
            FreshnessBasis::Called(interest) => interest.called(),
            FreshnessBasis::Polled(poll) => {
                let is_news = seen != Some(&poll.reported);
                if is_news {
                    poll.news.notify_one();
                }
                is_news
            }
        }
    }
}

impl FeedsFreshness {
    /// Makes a place for `feed`, before its first read: no echo then speaks for an earlier answer. False when there is one.
    pub(super) fn open(&mut self, feed: u64) -> bool {
        let is_new = !self.feeds.contains_key(&feed);
        self.feeds.entry(feed).or_default();
        is_new
    }

    /// Numbers the push of a read that was made after `basis`, before it is sent; with the basis that it replaces.
    pub(super) fn push(&mut self, feed: u64, basis: FreshnessBasis) -> (u64, FreshnessBasis) {
        let pushed = self.feeds.entry(feed).or_default();
        (pushed.number, pushed.after) = (pushed.number + 1, self.pinged);
        (pushed.number, std::mem::replace(&mut pushed.basis, basis))
    }

    /// Notes that a read made after `basis` equals the last push. Returns the basis that it replaces.
    pub(super) fn settle(&mut self, feed: u64, basis: FreshnessBasis) -> FreshnessBasis {
        std::mem::replace(&mut self.feeds.entry(feed).or_default().basis, basis)
    }

    /// The follower has let go of the feed; up to then a feed that ended on this side stays.
    pub(super) fn close(&mut self, feed: u64) -> Option<FreshnessBasis> {
        self.feeds.remove(&feed).map(|pushed| pushed.basis)
    }

    pub(super) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// The feeds that must be read for the next echo, after the age for it is taken.
    pub(super) fn polls(&self) -> Vec<(u64, Arc<Identity>)> {
        let polls = self.feeds.iter().filter_map(|(feed, pushed)| match &pushed.basis {
            FreshnessBasis::Polled(poll) => Some((*feed, Arc::clone(&poll.query))),
            FreshnessBasis::Unknown | FreshnessBasis::Called(_) => None,
        });
        polls.collect()
    }

    /// The answer to a ping: first `age` was taken, then the feeds of [`FeedsFreshness::polls`] were read as `seen`.
    pub(super) fn echo(&mut self, ping: Ping, age: Option<Duration>, seen: &HashMap<u64, Known>) -> Echo {
        let listed = self.feeds.iter().filter(|(_, pushed)| pushed.number > 0 && pushed.after >= ping.heard);
        let pushed = listed.map(|(feed, pushed)| (*feed, pushed.number)).collect();
        let behind = self.feeds.iter().filter(|(feed, pushed)| pushed.basis.has_news(seen.get(feed)));
        let behind = behind.map(|(feed, _)| *feed).collect();
        self.pinged = self.pinged.max(ping.number);
        Echo { number: ping.number, age, pushed, behind }
    }
}
