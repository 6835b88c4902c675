//! The echoes of one link, and the feeds of which they vouch.
//!
//! A feed looks settled only while the interest that was registered before its newest read is quiet and that read is
//! numbered. Both change in one step, and an interest that was called stays so: an echo made at any step of the feed's task
//! counts the feed as behind. No I/O.

use super::age::LinkFreshness;
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
    link: LinkFreshness,
    feeds: HashMap<u64, FreshnessBasis>,
}

/// The way to know whether a feed has news. Not to be dropped under a lock: an interest has locks of its own.
#[derive(Clone)]
pub(super) enum FreshnessBasis {
    /// None: nothing was pushed yet.
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

impl FeedsFreshness {
    /// Makes a place for `feed`, before its first read. False when there is one already.
    pub(super) fn open(&mut self, feed: u64) -> bool {
        if self.feeds.contains_key(&feed) {
            return false;
        }
        self.link.open(feed);
        self.feeds.insert(feed, FreshnessBasis::Unknown);
        true
    }

    /// Numbers the push of a read that was made after `basis`; with the basis that it replaces.
    pub(super) fn push(&mut self, feed: u64, basis: FreshnessBasis) -> (u64, Option<FreshnessBasis>) {
        (self.link.push(feed), self.feeds.insert(feed, basis))
    }

    /// Notes that a read made after `basis` equals the last push. Returns the basis that it replaces.
    pub(super) fn settle(&mut self, feed: u64, basis: FreshnessBasis) -> Option<FreshnessBasis> {
        self.feeds.insert(feed, basis)
    }

    /// The follower has let go of the feed. Up to then it takes an echo's silence for "no news", so a feed that ended on
    /// this side stays, and is behind as soon as its last interest is called.
    pub(super) fn close(&mut self, feed: u64) -> Option<FreshnessBasis> {
        self.link.close(feed);
        self.feeds.remove(&feed)
    }

    pub(super) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// The feeds that must be read for the next echo, after the age for it is taken.
    pub(super) fn polls(&self) -> Vec<(u64, Arc<Identity>)> {
        let polls = self.feeds.iter().filter_map(|(feed, basis)| match basis {
            FreshnessBasis::Polled(poll) => Some((*feed, Arc::clone(&poll.query))),
            FreshnessBasis::Unknown | FreshnessBasis::Called(_) => None,
        });
        polls.collect()
    }

    /// The answer to a ping: `age` was taken when it had come, and then the feeds of [`FeedsFreshness::polls`] were read, as
    /// `seen`.
    pub(super) fn echo(&mut self, ping: Ping, age: Option<Duration>, seen: &HashMap<u64, Known>) -> Echo {
        let FeedsFreshness { link, feeds } = self;
        link.echo(ping, age, |feed| match feeds.get(&feed) {
            None | Some(FreshnessBasis::Unknown) => true,
            Some(FreshnessBasis::Called(interest)) => interest.called(),
            Some(FreshnessBasis::Polled(poll)) => {
                let is_news = seen.get(&feed) != Some(&poll.reported);
                if is_news {
                    poll.news.notify_one();
                }
                is_news
            }
        })
    }
}
