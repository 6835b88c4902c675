//! Questions to the other servers of this datacenter for the answers that they hold of another one. A question is marked
//! (`via_peer`), so that it goes no further.

use super::Core;
use super::bounds::Bounds;
use crate::cache::Held;
use crate::clock;
use crate::defaults::{
    CACHED_FEED_OVERHEAD, NEIGHBOURS_ASKS_MAX, NEIGHBOURS_KEPT, NEIGHBOURS_KEPT_BYTES, NEIGHBOURS_MAX, NEIGHBOURS_PATIENCE,
};
use crate::model::answer::Answer;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::{Hops, Operation, Reply, Request};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moka::future::Cache;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(super) struct Received {
    held: Held,
    pub(super) from: SocketAddr,
}

impl Received {
    /// The answer to a question of this time: the neighbour read it later, so the age is never too short.
    fn new(answer: Answer, asked: Instant, from: SocketAddr) -> Option<Received> {
        let as_of = asked.checked_sub(answer.meta.last_contact)?;
        Some(Received { held: Held { answer: Arc::new(answer), as_of }, from })
    }

    /// The answer with its age, as the neighbour had it.
    pub(super) fn answer(&self) -> Answer {
        self.held.to_answer(self.held.answer.meta.cache.is_some_and(|cache| cache.hit))
    }
}

/// The state shared by all questions to the neighbours.
#[derive(Debug)]
pub(super) struct Neighbours {
    /// The answers of a moment ago, for readers that ask the same under the same bounds.
    received: Cache<(Arc<Identity>, Freshness), Received>,
    places: Semaphore,
}

impl Neighbours {
    pub(super) fn new() -> Neighbours {
        let weight = |_: &(Arc<Identity>, Freshness), received: &Received| {
            u32::try_from(received.held.answer.body.len()).unwrap_or(u32::MAX).saturating_add(CACHED_FEED_OVERHEAD)
        };
        let received = Cache::builder().max_capacity(NEIGHBOURS_KEPT_BYTES).weigher(weight).time_to_live(NEIGHBOURS_KEPT).build();
        Neighbours { received, places: Semaphore::new(NEIGHBOURS_ASKS_MAX) }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }
}

impl Core {
    /// The answer that the neighbours hold to `query`, which neither blocks nor forgives: the first good one for readers
    /// that take any age, else the freshest within `bounds`.
    pub(super) async fn ask_neighbours(&self, query: &Query, bounds: Bounds) -> Option<Received> {
        if !bounds.must_look() {
            let key = (Arc::clone(&query.identity), query.freshness);
            let received = self.neighbours.received.optionally_get_with(key, self.ask_each(query, bounds)).await;
            if received.as_ref().is_none_or(|received| !bounds.is_too_old(received.held.age())) {
                return received;
            }
        }
        self.ask_each(query, bounds).await
    }

    async fn ask_each(&self, query: &Query, bounds: Bounds) -> Option<Received> {
        let servers = self.with_servers(|servers| servers.alive(self.settings.node_id, NEIGHBOURS_MAX));
        if servers.is_empty() {
            return None;
        }
        let Ok(_place) = self.neighbours.places.try_acquire() else {
            metrics::counter!("kontor.router.neighbours_refused").increment(1);
            return None;
        };
        metrics::counter!("kontor.router.neighbours_asked").increment(1);
        let request = Request { operation: Operation::Read(query.clone()), hops: Hops { via_peer: true, ..Hops::default() } };
        let asked = clock::now();
        let ask = |from| {
            let request = &request;
            async move { (from, self.paths.peers.call(from, request, NEIGHBOURS_PATIENCE).await) }
        };
        let mut replies: FuturesUnordered<_> = servers.into_iter().map(ask).collect();
        let mut best: Option<Received> = None;
        while let Some((from, reply)) = replies.next().await {
            let Ok(Reply::Answer(answer)) = reply else { continue };
            let Some(received) = Received::new(answer, asked, from) else { continue };
            if bounds.is_too_old(received.held.age()) {
                continue;
            }
            if best.as_ref().is_none_or(|best| received.held.age() < best.held.age()) {
                best = Some(received);
            }
            if !bounds.are_set() {
                break;
            }
        }
        if best.is_some() {
            metrics::counter!("kontor.router.neighbours_answered").increment(1);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::answer::CacheUse;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_age_told_grows_from_the_time_of_the_question() {
        let mut answer = Answer::default();
        answer.meta.last_contact = Duration::from_secs(40);
        answer.meta.cache = Some(CacheUse { hit: true, age: Duration::from_secs(40) });
        let from = SocketAddr::from(([10, 0, 0, 1], 8300));
        let received = Received::new(answer, clock::now(), from).unwrap();
        tokio::time::advance(Duration::from_millis(1500)).await;
        let age = Duration::from_millis(41_500);
        let meta = received.answer().meta;
        assert_eq!((meta.last_contact, meta.cache), (age, Some(CacheUse { hit: true, age })));
    }
}
