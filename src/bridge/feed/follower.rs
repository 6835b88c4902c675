//! The task that keeps one feed on the live link or the standby. The answer held outlives every failure here.

use super::cached_feed::{CachedFeed, Phase};
use super::message::Push;
use super::places::{FeedServer, Places};
use super::stream::{End, Stream};
use crate::bridge::datacenter::{Datacenter, Way};
use crate::bridge::links::Links;
use crate::cache::FeedCache;
use crate::defaults;
use crate::model::fault::{Fault, FaultKind};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

/// Keeps one feed.
pub(in crate::bridge) struct Follower {
    holding: Arc<CachedFeed>,
    cache: Arc<FeedCache<CachedFeed>>,
    links: Arc<Links>,
    places: Arc<Places>,
    /// The longest time without a use.
    idle: Duration,
    /// True if the feed knows that the task ends.
    ended: bool,
}

/// The end of a feed's stand.
enum Next {
    /// No reader wants it.
    Unwanted,
    /// Its place went to another feed.
    MadeRoom,
    /// The other side does not feed it.
    Refused(Fault),
}

/// The rounds of trying since the last success.
struct Patience {
    pause: Duration,
    /// Streams that failed since the last pause.
    failed: u32,
    /// The connection on which the last one failed.
    avoid: Option<usize>,
}

impl Follower {
    pub(in crate::bridge) fn new(
        holding: Arc<CachedFeed>,
        cache: Arc<FeedCache<CachedFeed>>,
        links: Arc<Links>,
        places: Arc<Places>,
        idle: Duration,
    ) -> Follower {
        Follower { holding, cache, links, places, idle, ended: false }
    }

    /// Keeps the feed until it is unwanted, or the other side refuses it.
    pub(in crate::bridge) async fn run(mut self) {
        loop {
            let place = self.places.enter(&self.holding);
            let next = self.keep(&place).await;
            drop(place);
            match next {
                Next::Unwanted | Next::MadeRoom if self.holding.end() => break,
                Next::Unwanted => {}
                Next::MadeRoom => {
                    if self.park_anew().await && self.holding.end() {
                        break;
                    }
                }
                Next::Refused(fault) => {
                    metrics::counter!("kontor.bridge.feeds_refused").increment(1);
                    debug!(dc = self.holding.dc(), %fault, "an answer that is not fed");
                    self.holding.set_phase(Phase::Unfed { until: Instant::now() + defaults::FEED_REFUSED_PAUSE });
                    self.holding.usage().wake();
                    break;
                }
            }
        }
        self.ended = true;
    }

    async fn keep(&self, place: &FeedServer) -> Next {
        tokio::select! {
            biased;
            () = place.lost() => Next::MadeRoom,
            () = self.holding.usage().unwanted(self.idle) => Next::Unwanted,
            fault = self.stand() => Next::Refused(fault),
        }
    }

    /// Leaves its place to others for a while; the answer held grows old meanwhile. Returns whether the feed is unwanted.
    async fn park_anew(&self) -> bool {
        let fault = Fault::new(FaultKind::Busy, "too many feeds stand; this one makes room for a moment");
        self.holding.set_phase(Phase::Broken(fault));
        self.holding.usage().wake();
        let pause = sleep(rand::random_range(defaults::FEED_REPARK / 2..=defaults::FEED_REPARK));
        tokio::select! {
            () = pause => false,
            () = self.holding.usage().unwanted(self.idle) => true,
        }
    }

    /// Keeps a stream open, on whichever link serves. Returns only when the other side refuses, or has no room.
    async fn stand(&self) -> Fault {
        let mut patience = Patience { pause: defaults::FEED_RETRY.0, failed: 0, avoid: None };
        let mut is_gone = false;
        loop {
            let datacenter = match self.links.of(self.holding.dc()) {
                Ok(datacenter) => {
                    is_gone = false;
                    datacenter
                }
                Err(fault) => {
                    self.holding.set_phase(Phase::Broken(fault));
                    // Parked readers may not be given the answer held any more.
                    if !std::mem::replace(&mut is_gone, true) {
                        self.holding.usage().wake();
                    }
                    patience.rest(std::future::pending()).await;
                    continue;
                }
            };
            // From before the first look at the links, so that none that comes up is missed.
            let changed = datacenter.change();
            let ways = match datacenter.wait_for_ways(Instant::now() + defaults::BRIDGE_PROGRESS_TIMEOUT).await {
                Ok(ways) => patience.order(ways),
                Err(fault) => {
                    self.holding.set_phase(Phase::Broken(fault));
                    patience.rest(changed).await;
                    continue;
                }
            };
            let end = match Box::pin(self.open(&datacenter, &ways)).await {
                Ok((stream, first, way)) => self.follow(stream, first, way, &mut patience).await,
                // No server has room for it: asking each time is better than growing old without end.
                Err(End::NotNow(fault)) if fault.kind == FaultKind::Busy && patience.has_rested() => return fault,
                Err(end) => {
                    patience.failed += 2;
                    end
                }
            };
            if let End::Refused(fault) = end {
                return fault;
            }
            metrics::counter!("kontor.bridge.feeds_broken").increment(1);
            debug!(dc = self.holding.dc(), why = ?end, "feed broken");
            // The other link is tried at once, and then only after a pause.
            let elsewhere = datacenter.ways().iter().any(|way| Some(way.id()) != patience.avoid);
            if patience.failed >= 2 || !elsewhere {
                self.holding.set_phase(Phase::Broken(end.fault()));
                patience.rest(changed).await;
            }
        }
    }

    async fn follow(&self, mut stream: Stream, first: Push, way: usize, patience: &mut Patience) -> End {
        let began = Instant::now();
        let end = stream.follow(&self.holding, first, || self.cache.weigh(&self.holding)).await;
        if began.elapsed() >= defaults::FEED_RETRY.1 {
            *patience = Patience { pause: defaults::FEED_RETRY.0, failed: 0, avoid: None };
        }
        patience.failed += 1;
        patience.avoid = Some(way);
        end
    }

    /// Opens a stream on the first of `ways`, and on the second when that fails, or is late and doubles are left.
    async fn open(&self, datacenter: &Datacenter, ways: &[Way]) -> Result<(Stream, Push, usize), End> {
        let Some(live) = ways.first() else { return Err(End::Broken("no link stands".to_owned())) };
        datacenter.note_read();
        let Some(standby) = ways.get(1) else { return self.open_on(live).await };
        let late = (live.connection.rtt() * defaults::BRIDGE_LATE_ROUND_TRIPS).max(defaults::BRIDGE_LATE_MIN);
        let first = pin!(self.open_on(live));
        let lateness = pin!(sleep(late));
        let first = match select(first, lateness).await {
            Either::Left((Err(End::Broken(_) | End::NotNow(_)), _)) => return self.open_on(standby).await,
            Either::Left((outcome, _)) => return outcome,
            Either::Right(((), first)) => first,
        };
        if !datacenter.may_double() {
            return match first.await {
                Err(End::Broken(_) | End::NotNow(_)) => self.open_on(standby).await,
                outcome => outcome,
            };
        }
        metrics::counter!("kontor.bridge.feeds_doubled").increment(1);
        let second = pin!(self.open_on(standby));
        match select(first, second).await {
            Either::Left((Err(End::Broken(_) | End::NotNow(_)), second)) => second.await,
            Either::Right((Err(End::Broken(_) | End::NotNow(_)), first)) => first.await,
            Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
        }
    }

    async fn open_on(&self, way: &Way) -> Result<(Stream, Push, usize), End> {
        let (stream, first) = Box::pin(Stream::open(&self.holding, way)).await?;
        Ok((stream, first, way.id()))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if !self.ended {
            self.holding.set_phase(Phase::Idle);
        }
    }
}

impl Patience {
    /// True if it was tried again already: a feed that has just ended may not have left its place yet.
    fn has_rested(&self) -> bool {
        self.pause > defaults::FEED_RETRY.0
    }

    /// The way that failed last comes last.
    fn order(&self, mut ways: Vec<Way>) -> Vec<Way> {
        ways.sort_by_key(|way| Some(way.id()) == self.avoid);
        ways
    }

    /// Waits until a link has `changed`, and no longer than for the pause that is due.
    async fn rest(&mut self, changed: impl Future<Output = ()>) {
        let pause = rand::random_range(self.pause / 2..=self.pause);
        self.pause = (self.pause * 2).min(defaults::FEED_RETRY.1);
        self.failed = 0;
        // Either way it is time to look again.
        let _ = timeout(pause, changed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The overhead counted for an answer has room for the task that keeps it fresh.
    #[test]
    fn a_feed_is_small() {
        let size = size_of_run(Follower::run) + size_of::<CachedFeed>();
        assert!(size <= 3 * defaults::FEED_OVERHEAD as usize / 4, "{size} bytes");
    }

    fn size_of_run<F: Future>(_run: impl FnOnce(Follower) -> F) -> usize {
        size_of::<F>()
    }
}
