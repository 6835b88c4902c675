//! Reads that are answered from what this agent holds: of its datacenter by `?cached`, of others by stale reads. An
//! answer of another datacenter that the bridge cannot bring is asked of the neighbours. Needs no local leader or quorum.

use super::Core;
use super::blocking::{self, Watched};
use super::bounds::Bounds;
use super::deliver::Crossing;
use super::freshness::LEAST_WAIT;
use super::local_feed::{LocalFeeds, LocalFollow};
use super::neighbours::Received;
use super::retry::may_be_retried;
use crate::bridge::Datacenters;
use crate::cache::{Follow, Held};
use crate::clock;
use crate::defaults::{BRIDGE_LATE_MIN, BRIDGE_LATE_ROUND_TRIPS, FAR_WAIT_PAUSE, FAR_WAIT_TURNS, FEED_PACE};
use crate::model::answer::{Answer, CacheUse};
use crate::model::fault::Fault;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::{Hops, Operation, Progress, Reply, Request};
use futures_util::future::{Either, select};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Answers a `?cached` query of this datacenter.
pub(super) async fn read_local(feeds: &LocalFeeds, query: &Query) -> Result<Answer, Fault> {
    let source = Source::Here(feeds.follow(&query.identity));
    let read = HeldRead { source, bounds: Bounds::of(&query.freshness) };
    let wait = blocking::jittered(query.freshness.wait, &mut rand::rng());
    let mut answer = read.answer(query.freshness.min_index, wait, &Progress::default()).await?;
    // Consul tells no age of an answer that was fetched for its reader.
    if let Some(CacheUse { hit: false, age }) = &mut answer.meta.cache {
        *age = Duration::ZERO;
    }
    Ok(answer)
}

impl Core {
    /// Answers a stale `query` of `dc`. One of a neighbour (`via_peer`) gets what this server has or can get itself.
    pub(super) fn read_remote<'a>(
        &'a self,
        bridge: &'a dyn Datacenters,
        dc: String,
        query: Query,
        via_peer: bool,
        progress: &'a Progress,
    ) -> Crossing<'a> {
        let (bounds, Freshness { min_index, wait, .. }) = (Bounds::of(&query.freshness), query.freshness);
        let wait = self.wait_of(wait);
        let source = Source::There(There { core: self, bridge, key: query.identity, dc, via_peer });
        let read = HeldRead { source, bounds };
        Box::pin(async move { read.answer(min_index, wait, progress).await.map(Reply::Answer) })
    }
}

/// One read of an answer that is held.
struct HeldRead<'a> {
    source: Source<'a>,
    bounds: Bounds,
}

/// The feed that a read goes by: of this datacenter or of another one.
enum Source<'a> {
    Here(LocalFollow),
    There(There<'a>),
}

/// A query of another datacenter.
struct There<'a> {
    core: &'a Core,
    bridge: &'a dyn Datacenters,
    key: Arc<Identity>,
    dc: String,
    via_peer: bool,
}

/// An answer with the place where a newer one can be waited for.
struct Got {
    answer: Answer,
    /// The neighbour that has it.
    neighbour: Option<SocketAddr>,
}

impl Got {
    fn of(held: &Held, hit: bool) -> Got {
        Got { answer: held.to_answer(hit), neighbour: None }
    }

    fn beside(received: &Received) -> Got {
        Got { answer: received.answer(), neighbour: Some(received.from) }
    }
}

/// True if to try elsewhere after this fault. A closed datacenter is not read by way of others either.
pub(super) fn has_hope(bridge: &dyn Datacenters, dc: &str, fault: &Fault) -> bool {
    may_be_retried(fault) && bridge.closed(dc).is_none()
}

impl HeldRead<'_> {
    /// Made anew each time: a parked watch has little room.
    fn followed(&self) -> Box<dyn Follow> {
        match &self.source {
            Source::Here(followed) => Box::new(followed.clone()),
            Source::There(there) => there.bridge.follow(&there.dc, &there.key),
        }
    }

    /// Fails where operators closed the datacenter.
    fn check_open(&self) -> Result<(), Fault> {
        match &self.source {
            Source::Here(_) => Ok(()),
            Source::There(there) => there.bridge.closed(&there.dc).map_or(Ok(()), Err),
        }
    }

    fn has_hope(&self, fault: &Fault) -> bool {
        match &self.source {
            Source::Here(_) => may_be_retried(fault),
            Source::There(there) => has_hope(there.bridge, &there.dc, fault),
        }
    }

    /// An answer within the bounds, without parking.
    async fn now(&self) -> Result<Got, Fault> {
        let followed = self.followed();
        match followed.held() {
            Some(held) if self.bounds.serves(held.age()) => return Ok(Got::of(&held, true)),
            Some(_too_old) => {}
            None => {
                let got = self.obtain(followed.first()).await?;
                if !self.bounds.is_too_old(got.answer.meta.last_contact) {
                    return Ok(got);
                }
            }
        }
        match (self.obtain(followed.refresh()).await, followed.held()) {
            (Err(_), Some(held)) if self.bounds.forgives(held.age()) => {
                if let Source::There(_) = self.source {
                    metrics::counter!("kontor.router.far_forgiven").increment(1);
                }
                Ok(Got::of(&held, true))
            }
            (obtained, _) => obtained,
        }
    }

    /// The answer of `own`, or where that fails or is late, the one that the neighbours have.
    async fn obtain(&self, own: impl Future<Output = Result<Held, Fault>>) -> Result<Got, Fault> {
        match &self.source {
            Source::There(there) if !there.via_peer => there.own_or_neighbours(own, self.bounds).await,
            _ => own.await.map(|held| Got::of(&held, false)),
        }
    }

    /// The answer; where `min_index` is set, after parking until there is one newer than it, or until `wait` is over.
    async fn answer(&self, min_index: u64, wait: Duration, progress: &Progress) -> Result<Answer, Fault> {
        let deadline = Instant::now() + wait;
        for turn in 0..FAR_WAIT_TURNS {
            if turn > 0 {
                // A way that fails at once, again and again, shall not have its user ask all the time.
                Box::pin(sleep(FAR_WAIT_PAUSE)).await;
                self.check_open()?;
            }
            let got = Box::pin(self.now()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if min_index == 0 || got.answer.meta.index > min_index || left.is_zero() {
                return Ok(got.answer);
            }
            let neighbour = got.neighbour;
            // The body is not kept while parked.
            drop(got);
            let waited = match &self.source {
                Source::There(there) if self.followed().held().is_none() => {
                    Box::pin(there.wait_elsewhere(self.bounds, neighbour, min_index, left, progress)).await
                }
                _ => blocking::answer(self, min_index, left, progress).await,
            };
            match waited {
                Ok(answer) if self.bounds.is_too_old(answer.meta.last_contact) => break,
                Ok(mut answer) => {
                    if let Some(cache) = answer.meta.cache.as_mut().filter(|_| answer.meta.index > min_index) {
                        // The answer came while its reader waited.
                        cache.hit = false;
                    }
                    return Ok(answer);
                }
                Err(fault) if self.has_hope(&fault) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(Box::pin(self.now()).await?.answer)
    }
}

impl There<'_> {
    fn asked(&self, freshness: Freshness) -> Query {
        Query::of(Arc::clone(&self.key), freshness)
    }

    /// The answer of `own`, or where that fails or is late, the one that the neighbours have.
    async fn own_or_neighbours(&self, own: impl Future<Output = Result<Held, Fault>>, bounds: Bounds) -> Result<Got, Fault> {
        let mut own = pin!(own);
        let failed = match timeout(self.lateness(), &mut own).await {
            Ok(Ok(held)) => return Ok(Got::of(&held, false)),
            Ok(Err(fault)) if has_hope(self.bridge, &self.dc, &fault) => Some(fault),
            Ok(Err(fault)) => return Err(fault),
            Err(_late) => None,
        };
        let question = self.asked(bounds.for_neighbour());
        let neighbours = pin!(self.core.ask_neighbours(&question, bounds));
        let (fault, neighbours) = match failed {
            Some(fault) => (fault, neighbours),
            None => match select(own, neighbours).await {
                Either::Left((Ok(held), _)) => return Ok(Got::of(&held, false)),
                Either::Left((Err(fault), neighbours)) => (fault, neighbours),
                Either::Right((Some(received), _)) => return Ok(Got::beside(&received)),
                Either::Right((None, own)) => return own.await.map(|held| Got::of(&held, false)),
            },
        };
        neighbours.await.map(|received| Got::beside(&received)).ok_or(fault)
    }

    /// When an answer that the bridge still waits for is late.
    fn lateness(&self) -> Duration {
        let round_trips = self.bridge.rtt(&self.dc).unwrap_or_default() * BRIDGE_LATE_ROUND_TRIPS;
        round_trips.max(BRIDGE_LATE_MIN)
    }

    /// Parks where the answer can be watched that is not held here: at a neighbour, or in the other datacenter.
    async fn wait_elsewhere(
        &self,
        bounds: Bounds,
        neighbour: Option<SocketAddr>,
        min_index: u64,
        left: Duration,
        progress: &Progress,
    ) -> Result<Answer, Fault> {
        let freshness = if neighbour.is_some() { bounds.for_neighbour() } else { Freshness::STALE };
        let operation = Operation::Read(self.asked(Freshness { min_index, wait: left.max(LEAST_WAIT), ..freshness }));
        match neighbour {
            Some(addr) => {
                let request = Request { operation, hops: Hops { via_peer: true, ..Hops::default() } };
                self.wait_beside(addr, &request, progress).await
            }
            None => self.wait_there(Request { operation, hops: Hops::default() }, progress).await,
        }
    }

    /// Parks at a neighbour, which follows what this server cannot.
    async fn wait_beside(&self, addr: SocketAddr, request: &Request, progress: &Progress) -> Result<Answer, Fault> {
        let sent = clock::now();
        let reply = tokio::select! {
            reply = self.core.call(addr, request, 1, progress) => reply,
            fault = self.bridge.until_closed(&self.dc) => return Err(fault),
        };
        let reply = reply.map_err(|error| Fault::unreachable(format!("server {addr} of this datacenter: {error}")))?;
        let mut answer = reply.answer()?;
        answer.add_age(clock::since(sent));
        Ok(answer)
    }

    /// Parks in the other datacenter.
    async fn wait_there(&self, mut request: Request, progress: &Progress) -> Result<Answer, Fault> {
        let sent = clock::now();
        let mut answer = self.core.call_across(self.bridge, &self.dc, &mut request, progress).await?.answer()?;
        // It may be as old as the question: it is the sign of a newer answer, and the answer only without that.
        if let Ok(held) = self.bridge.follow(&self.dc, &self.key).refresh().await {
            return Ok(held.to_answer(false));
        }
        let age = answer.meta.last_contact.saturating_add(clock::since(sent));
        answer.meta.last_contact = age;
        answer.meta.cache = Some(CacheUse { hit: false, age });
        Ok(answer)
    }
}

impl Watched for HeldRead<'_> {
    type Answer = Answer;
    type Watch = watch::Receiver<u64>;

    fn watch(&self) -> Self::Watch {
        let mut watch = self.followed().changes();
        watch.mark_unchanged();
        watch
    }

    async fn changed(watch: &mut Self::Watch) {
        if watch.changed().await.is_err() {
            // The feed has made room for others. The next turn begins it anew, at the pace of feeds.
            sleep(FEED_PACE).await;
        }
    }

    async fn read(&self) -> Result<Answer, Fault> {
        self.check_open()?;
        let held = self.followed().held();
        held.map(|held| held.to_answer(true)).ok_or_else(|| Fault::unreachable("the answer that was waited on is held no more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<F: Future>(_make: impl FnOnce(&'static HeldRead<'static>, u64, Duration, &'static Progress) -> F) -> usize {
        size_of::<F>()
    }

    /// With the query of the router, what a parked watch of another datacenter costs.
    #[test]
    fn a_parked_watch_is_small() {
        let size = size_of_answer(HeldRead::answer) + size_of::<HeldRead<'_>>();
        assert!(size <= 1_060, "{size} bytes, {} of them the query", size_of::<HeldRead<'_>>());
    }
}
