//! Asking the other servers of this datacenter for what they hold of another one.
//!
//! `remote_read.rs` does so for a server that has no answer itself and cannot get one. The question says
//! that it comes from aside, so that it goes no further than this one hop.

use super::Core;
use super::bounds::Bounds;
use crate::clock;
use crate::defaults::{
    CACHED_FEED_OVERHEAD, NEIGHBOURS_ASKS_MAX, NEIGHBOURS_KEPT, NEIGHBOURS_KEPT_BYTES, NEIGHBOURS_MAX, NEIGHBOURS_PATIENCE,
};
use crate::model::answer::{Answer, CacheUse};
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::{Hops, Operation, Reply, Request};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moka::future::Cache;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What a neighbour has told.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// As it came; its age is that at the time of the question, at most.
    answer: Arc<Answer>,
    /// When it was asked for.
    asked: Instant,
    /// Who told it.
    pub(super) from: SocketAddr,
}

impl Received {
    /// How old the answer may be by now. It was read after the question was sent, so what has passed
    /// since then is never less than what has passed since it was that old.
    pub(super) fn age(&self) -> Duration {
        self.answer.meta.last_contact.saturating_add(clock::since(self.asked))
    }

    /// The answer with its age.
    pub(super) fn answer(&self) -> Answer {
        let (age, mut answer) = (self.age(), Answer::clone(&self.answer));
        let hit = answer.meta.cache.is_some_and(|cache| cache.hit);
        answer.meta.last_contact = age;
        answer.meta.cache = Some(CacheUse { hit, age });
        answer
    }
}

/// What is shared by all questions to the neighbours.
#[derive(Debug)]
pub(super) struct Neighbours {
    /// What was told just now, for those who ask the same under the same bounds.
    received: Cache<(Arc<Identity>, Freshness), Received>,
    places: Semaphore,
}

impl Neighbours {
    pub(super) fn new() -> Neighbours {
        let weight = |_: &(Arc<Identity>, Freshness), received: &Received| {
            u32::try_from(received.answer.body.len()).unwrap_or(u32::MAX).saturating_add(CACHED_FEED_OVERHEAD)
        };
        let received = Cache::builder().max_capacity(NEIGHBOURS_KEPT_BYTES).weigher(weight).time_to_live(NEIGHBOURS_KEPT).build();
        Neighbours { received, places: Semaphore::new(NEIGHBOURS_ASKS_MAX) }
    }

    /// Places that nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }
}

impl Core {
    /// What the neighbours hold for `query`, which neither blocks nor forgives: where any age will do
    /// the first good answer, one question for all who wait for it; else the freshest within `bounds`.
    pub(super) async fn ask_neighbours(&self, query: &Query, bounds: Bounds) -> Option<Received> {
        if !bounds.must_look() {
            let key = (Arc::clone(&query.identity), query.freshness);
            let received = self.neighbours.received.optionally_get_with(key, self.ask_each(query, bounds)).await;
            if received.as_ref().is_none_or(|received| !bounds.is_too_old(received.age())) {
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
            let received = Received { answer: Arc::new(answer), asked, from };
            if bounds.is_too_old(received.age()) {
                continue;
            }
            if best.as_ref().is_none_or(|best| received.age() < best.age()) {
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

    #[tokio::test(start_paused = true)]
    async fn the_age_told_grows_from_the_time_of_the_question() {
        let mut answer = Answer::default();
        answer.meta.last_contact = Duration::from_secs(40);
        answer.meta.cache = Some(CacheUse { hit: true, age: Duration::from_secs(40) });
        let from = SocketAddr::from(([10, 0, 0, 1], 8300));
        let received = Received { answer: Arc::new(answer), asked: clock::now(), from };
        tokio::time::advance(Duration::from_millis(1500)).await;
        let age = Duration::from_millis(41_500);
        let meta = received.answer().meta;
        assert_eq!((meta.last_contact, meta.cache), (age, Some(CacheUse { hit: true, age })));
    }
}
