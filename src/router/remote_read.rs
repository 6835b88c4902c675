//! Stale-allowed reads of another datacenter, answered on this server from what the bridge holds.
//!
//! `deliver.rs` comes here where it would cross the bridge. However many ask or wait, the other side
//! sees one feed. How old an answer may be is the policy of `bounds.rs`; where the bridge has none,
//! the neighbours are asked. Needs neither a local leader nor a quorum.

use super::Core;
use super::blocking::{self, Watched};
use super::bounds::{Bounds, HeldUse};
use super::deliver::Crossing;
use super::freshness::{self, LEAST_WAIT};
use super::neighbours::Received;
use super::paths::{Datacenters, Follow};
use super::retry::may_be_retried;
use crate::bridge::Held;
use crate::clock;
use crate::defaults::{BRIDGE_LATE_MIN, BRIDGE_LATE_ROUND_TRIPS, FAR_WAIT_PAUSE, FAR_WAIT_TURNS, FEED_PACE};
use crate::model::answer::{Answer, CacheUse};
use crate::model::fault::Fault;
use crate::model::query::{CacheControl, Consistency, Freshness, Identity, Query};
use crate::model::request::{Hops, Operation, Progress, Reply, Request};
use futures_util::future::{Either, select};
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

impl Core {
    /// Answers `query`, any answer to which will do whose age is told, for a user of this datacenter.
    /// One that comes from `via_peer` is answered with what this server has or can get itself.
    pub(super) fn read_remote<'a>(
        &'a self,
        bridge: &'a dyn Datacenters,
        dc: String,
        query: Query,
        via_peer: bool,
        progress: &'a Progress,
    ) -> Crossing<'a> {
        let Freshness { max_stale, cached: control, min_index, wait, .. } = query.freshness;
        let wait = blocking::clamp(wait, self.settings.default_query_time, self.settings.max_query_time);
        let wait = blocking::jittered(wait, &mut rand::rng());
        let read = RemoteRead { core: self, bridge, max_stale, control, key: query.identity, dc, via_peer };
        Box::pin(async move {
            if min_index == 0 {
                return Ok(Reply::Answer(Box::pin(read.now()).await?.answer));
            }
            read.wait(min_index, wait, progress).await.map(Reply::Answer)
        })
    }
}

/// One read of another datacenter.
struct RemoteRead<'a> {
    core: &'a Core,
    bridge: &'a dyn Datacenters,
    key: Arc<Identity>,
    dc: String,
    max_stale: Option<Duration>,
    control: Option<CacheControl>,
    via_peer: bool,
}

/// An answer with where it came from, which is where a newer one can be waited for.
struct Got {
    answer: Answer,
    /// The neighbour that told it.
    neighbour: Option<SocketAddr>,
}

impl Got {
    fn of(held: &Held, hit: bool) -> Got {
        Got { answer: answer_from(held, hit), neighbour: None }
    }

    fn beside(received: &Received) -> Got {
        Got { answer: received.answer(), neighbour: Some(received.from) }
    }
}

/// The answer held, with its age.
fn answer_from(held: &Held, hit: bool) -> Answer {
    let (age, mut answer) = (clock::since(held.as_of), Answer::clone(&held.answer));
    answer.meta.last_contact = age;
    answer.meta.consistency = Consistency::Stale;
    answer.meta.cache = Some(CacheUse { hit, age });
    answer
}

/// Whether to try elsewhere after this fault. What is closed here is not read by way of others either.
pub(super) fn has_hope(bridge: &dyn Datacenters, dc: &str, fault: &Fault) -> bool {
    may_be_retried(fault) && bridge.closed(dc).is_none()
}

impl RemoteRead<'_> {
    /// What the asker takes. Made anew each time: a parked watch has little room.
    fn bounds(&self) -> Bounds {
        Bounds::of(self.max_stale, self.control)
    }

    fn asked(&self, freshness: Freshness) -> Query {
        Query::of(Arc::clone(&self.key), freshness)
    }

    fn followed(&self) -> Box<dyn Follow> {
        self.bridge.follow(&self.dc, &self.key)
    }

    /// An answer within the bounds, without parking.
    async fn now(&self) -> Result<Got, Fault> {
        let followed = self.followed();
        match followed.held() {
            Some(held) if self.bounds().verdict(clock::since(held.as_of)) == HeldUse::Serve => return Ok(Got::of(&held, true)),
            Some(_too_old) => {}
            None => {
                let got = self.obtain(followed.first()).await?;
                if !self.bounds().is_too_old(got.answer.meta.last_contact) {
                    return Ok(got);
                }
            }
        }
        let fault = match self.obtain(followed.refresh()).await {
            Ok(got) => return Ok(got),
            Err(fault) => fault,
        };
        match followed.held() {
            Some(held) if self.bounds().forgives(clock::since(held.as_of)) => {
                metrics::counter!("kontor.router.far_forgiven").increment(1);
                Ok(Got::of(&held, true))
            }
            _ => Err(fault),
        }
    }

    /// What `own` brings, or where that fails or is late, what the neighbours have.
    async fn obtain(&self, own: impl Future<Output = Result<Held, Fault>>) -> Result<Got, Fault> {
        let mut own = pin!(own);
        if self.via_peer {
            return own.await.map(|held| Got::of(&held, false));
        }
        let failed = match timeout(self.lateness(), &mut own).await {
            Ok(Ok(held)) => return Ok(Got::of(&held, false)),
            Ok(Err(fault)) if self.has_hope(&fault) => Some(fault),
            Ok(Err(fault)) => return Err(fault),
            Err(_late) => None,
        };
        let question = self.question();
        let neighbours = pin!(self.core.ask_neighbours(&question, self.bounds()));
        let fault = match failed {
            Some(fault) => fault,
            None => match select(own, neighbours).await {
                Either::Left((Ok(held), _)) => return Ok(Got::of(&held, false)),
                Either::Left((Err(fault), neighbours)) => {
                    return neighbours.await.map(|received| Got::beside(&received)).ok_or(fault);
                }
                Either::Right((Some(received), _)) => return Ok(Got::beside(&received)),
                Either::Right((None, own)) => return own.await.map(|held| Got::of(&held, false)),
            },
        };
        neighbours.await.map(|received| Got::beside(&received)).ok_or(fault)
    }

    /// Whether to try elsewhere, or again.
    fn has_hope(&self, fault: &Fault) -> bool {
        has_hope(self.bridge, &self.dc, fault)
    }

    /// When an answer that the bridge still waits for is late.
    fn lateness(&self) -> Duration {
        let round_trips = self.bridge.rtt(&self.dc).unwrap_or_default() * BRIDGE_LATE_ROUND_TRIPS;
        round_trips.max(BRIDGE_LATE_MIN)
    }

    /// What the neighbours are asked: the same, but for what is forgiven, which is decided here.
    fn question(&self) -> Query {
        let control = self.control.filter(|_| self.bounds().are_set());
        self.asked(freshness::of_neighbour(self.max_stale, control))
    }

    /// Parks until there is an answer newer than `min_index`, or until `wait` is over.
    async fn wait(&self, min_index: u64, wait: Duration, progress: &Progress) -> Result<Answer, Fault> {
        let deadline = Instant::now() + wait;
        for turn in 0..FAR_WAIT_TURNS {
            if turn > 0 {
                // A way that fails at once, again and again, shall not have its user ask all the time.
                Box::pin(sleep(FAR_WAIT_PAUSE)).await;
                if let Some(fault) = self.bridge.closed(&self.dc) {
                    return Err(fault);
                }
            }
            let got = Box::pin(self.now()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if got.answer.meta.index > min_index || left.is_zero() {
                return Ok(got.answer);
            }
            let neighbour = got.neighbour;
            // The body is not kept while parked.
            drop(got);
            let waited = match neighbour {
                _ if self.followed().held().is_some() => blocking::answer(self, min_index, left, progress).await,
                Some(addr) => Box::pin(self.wait_beside(addr, min_index, left, progress)).await,
                None => Box::pin(self.wait_there(min_index, left, progress)).await,
            };
            match waited {
                Ok(answer) if self.bounds().is_too_old(answer.meta.last_contact) => break,
                Ok(answer) => return Ok(answer),
                Err(fault) if self.has_hope(&fault) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(Box::pin(self.now()).await?.answer)
    }

    /// Parks at a neighbour, which follows what this server cannot.
    async fn wait_beside(&self, addr: SocketAddr, min_index: u64, left: Duration, progress: &Progress) -> Result<Answer, Fault> {
        let request = self.parking(self.question(), min_index, left, Hops { via_peer: true, ..Hops::default() });
        let sent = clock::now();
        let reply = tokio::select! {
            reply = self.core.call(addr, &request, 1, progress) => reply,
            fault = self.bridge.until_closed(&self.dc) => return Err(fault),
        };
        match reply {
            Ok(Reply::Answer(mut answer)) => {
                answer.add_age(clock::since(sent));
                Ok(answer)
            }
            Ok(Reply::Written(_)) => Err(Fault::failed("expected an answer to a read, got the result of a write")),
            Err(error) => Err(Fault::unreachable(format!("server {addr} of this datacenter: {error}"))),
        }
    }

    /// Parks in the other datacenter: what is not held here cannot be watched here.
    async fn wait_there(&self, min_index: u64, left: Duration, progress: &Progress) -> Result<Answer, Fault> {
        let sent = clock::now();
        let mut request = self.parking(self.asked(Freshness::STALE), min_index, left, Hops::default());
        let mut answer = match self.core.call_across(self.bridge, &self.dc, &mut request, progress).await? {
            Reply::Answer(answer) => answer,
            Reply::Written(_) => return Err(Fault::failed("expected an answer to a read, got the result of a write")),
        };
        // When it was made is not known, only that this was after the question, which may be long ago.
        // So it counts as the sign that there is a newer one, and as the answer only without that.
        if let Ok(held) = self.followed().refresh().await {
            return Ok(answer_from(&held, false));
        }
        let age = answer.meta.last_contact.saturating_add(clock::since(sent));
        answer.meta.last_contact = age;
        answer.meta.cache = Some(CacheUse { hit: false, age });
        Ok(answer)
    }

    fn parking(&self, mut query: Query, min_index: u64, left: Duration, hops: Hops) -> Request {
        query.freshness = Freshness { min_index, wait: left.max(LEAST_WAIT), ..query.freshness };
        Request { operation: Operation::Read(query), hops }
    }
}

impl Watched for RemoteRead<'_> {
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
        if let Some(fault) = self.bridge.closed(&self.dc) {
            return Err(fault);
        }
        match self.followed().held() {
            Some(held) => Ok(answer_from(&held, true)),
            None => Err(Fault::unreachable(format!("what was held of {} is held no more", self.dc))),
        }
    }

    async fn lost(&self) -> Fault {
        // However long the other side is gone, what is held may be given.
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_told_with_its_true_age() {
        let mut answer = Answer::default();
        answer.meta.index = 7;
        answer.meta.last_contact = Duration::from_secs(99);
        let held = Held { answer: Arc::new(answer), as_of: clock::now(), in_contact: false };
        tokio::time::advance(Duration::from_millis(2_500)).await;
        let meta = answer_from(&held, true).meta;
        let age = Duration::from_millis(2_500);
        assert_eq!((meta.index, meta.last_contact, meta.cache), (7, age, Some(CacheUse { hit: true, age })));
        assert_eq!(meta.consistency, Consistency::Stale);
    }

    fn size_of_wait<F: Future>(_make: impl FnOnce(&'static RemoteRead<'static>, u64, Duration, &'static Progress) -> F) -> usize {
        size_of::<F>()
    }

    /// With the query of the router, what a parked watch of another datacenter costs.
    #[test]
    fn a_parked_watch_is_small() {
        let size = size_of_wait(RemoteRead::wait) + size_of::<RemoteRead<'_>>();
        assert!(size <= 1_060, "{size} bytes, {} of them the query", size_of::<RemoteRead<'_>>());
    }
}
