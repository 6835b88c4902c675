//! Simulated users: their requests, and their checks.

use super::world::{AGENTS, DATACENTERS, SERVERS, World};
use crate::defaults::{CALL_MARGIN, RPC_HOLD};
use crate::model::answer::Answer;
use crate::model::command::Register;
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::{CatalogRead, CatalogWrite, Read, Write};
use crate::model::principal::Principal;
use crate::model::query::testing::QueryOptions;
use crate::model::query::{CacheControl, Consistency, Query};
use crate::model::request::{Hops, WriteRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The longest that a request may take beyond its own wait: the patience of a call by four agents, for each server.
pub(super) const BOUND: Duration = RPC_HOLD.saturating_add(CALL_MARGIN.saturating_mul(4)).saturating_mul(SERVERS as u32);

/// The outcome of a write, as far as its user knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Done(Instant),
    /// It was certainly not done.
    Refused(FaultKind),
    /// It may be done once.
    Unknown,
}

#[derive(Debug)]
struct Written {
    dc: usize,
    name: String,
    known: Known,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    writes: Mutex<Vec<Written>>,
    numbers: AtomicUsize,
    pub(super) answers: AtomicUsize,
    pub(super) faults: AtomicUsize,
    pub(super) slowest_millis: AtomicU64,
    pub(super) ways: Mutex<BTreeMap<String, usize>>,
}

impl Book {
    /// The names whose writes in `dc` were acknowledged before `time`. Events of one instant have no order.
    fn acknowledged(&self, dc: usize, time: Option<Instant>) -> BTreeSet<String> {
        let is_in_time = |known: &Known| matches!(known, Known::Done(at) if Some(*at) < time);
        let writes = self.writes.lock().unwrap();
        writes.iter().filter(|write| write.dc == dc && is_in_time(&write.known)).map(|write| write.name.clone()).collect()
    }

    /// Each write was done as often as its user was told.
    pub(super) fn check(&self, world: &World) {
        let done = world.clusters.each_ref().map(|cluster| cluster.registered());
        for Written { dc, name, known } in &*self.writes.lock().unwrap() {
            let times = done[*dc].iter().filter(|registered| *registered == name).count();
            let is_right = match known {
                Known::Done(_) => times == 1,
                Known::Refused(_) => times == 0,
                Known::Unknown => times <= 1,
            };
            if !is_right {
                world.wrong(format!("{name} was done {times} times, and its user was told {known:?}"));
            }
        }
    }
}

pub(super) struct User {
    pub world: Arc<World>,
    pub book: Arc<Book>,
    pub agent: usize,
}

impl User {
    pub(super) async fn run(self, times: usize) {
        let chance = &self.world.chance;
        let mut index = 0;
        for _turn in 0..times {
            chance.pause(0..600).await;
            if chance.one_in(3) {
                self.write(chance.below(2)).await;
            } else {
                let query = self.any_query(index);
                index = self.read(query).await.unwrap_or(index);
            }
        }
    }

    fn own(&self) -> usize {
        self.agent / AGENTS
    }

    fn any_query(&self, seen: u64) -> Query {
        let chance = &self.world.chance;
        let dc = match chance.below(8) {
            0..3 => None,
            3..7 => Some(DATACENTERS[chance.below(2)].to_owned()),
            _ => Some("*".to_owned()),
        };
        let consistency = [Consistency::Default, Consistency::Stale, Consistency::Consistent][chance.below(3)];
        let mut options = QueryOptions { dc, consistency, ..QueryOptions::default() };
        if chance.one_in(4) {
            options.consistency = Consistency::Default;
            let age = |chance: bool| chance.then(|| self.world.chance.millis(0..3_000));
            let stale_if_error = age(chance.one_in(2));
            options.cached =
                Some(CacheControl { max_age: age(chance.one_in(2)), stale_if_error, must_revalidate: chance.one_in(8) });
        }
        options.max_stale = chance.one_in(4).then(|| chance.millis(1..3_000));
        if chance.one_in(3) {
            (options.min_index, options.wait) = (seen, chance.millis(1..8_000));
        }
        options.ask(Read::Catalog(CatalogRead::Nodes))
    }

    /// The time after which this user leaves without an answer, if it does.
    fn leaves(&self) -> Option<Duration> {
        self.world.chance.strikes(6).then(|| self.world.chance.millis(0..1_500))
    }

    /// Writes, and returns the name where the write is done.
    pub(super) async fn write(&self, dc: usize) -> Option<String> {
        let name = format!("w{}", self.book.numbers.fetch_add(1, Ordering::Relaxed));
        let register = Register { node: name.clone(), address: "10.9.9.9".to_owned(), ..Register::default() };
        let write = Write::Catalog(CatalogWrite::Register(Box::new(register)));
        let dc_name = Some(DATACENTERS[dc].to_owned()).filter(|_| dc != self.own());
        let router = self.world.router(self.agent);
        let request = router.write(WriteRequest { dc: dc_name, principal: Principal::anonymous(), write });
        let known = match self.bounded(request, Duration::ZERO, "a write").await {
            Some(Ok(_written)) => Known::Done(Instant::now()),
            Some(Err(fault)) if fault.kind == FaultKind::OutcomeUnknown => Known::Unknown,
            Some(Err(fault)) => Known::Refused(fault.kind),
            None => Known::Unknown,
        };
        self.book.writes.lock().unwrap().push(Written { dc, name: name.clone(), known });
        matches!(known, Known::Done(_)).then_some(name)
    }

    /// The index of the answer, where there is one.
    pub(super) async fn read(&self, query: Query) -> Option<u64> {
        self.answer(query).await.map(|answer| answer.meta.index)
    }

    /// The answer, checked.
    pub(super) async fn answer(&self, query: Query) -> Option<Answer> {
        let began = Instant::now();
        let wait = if query.freshness.min_index > 0 { query.freshness.wait + query.freshness.wait / 8 } else { Duration::ZERO };
        let router = self.world.router(self.agent);
        let answer = self.bounded(router.query(query.clone()), wait, &format!("{query:?}")).await?.ok()?;
        self.check(&query, &answer, began);
        Some(answer)
    }

    async fn bounded<T>(
        &self,
        request: impl Future<Output = Result<T, Fault>>,
        wait: Duration,
        what: &str,
    ) -> Option<Result<T, Fault>> {
        let began = Instant::now();
        let request = World::on_path(vec![(self.agent, Hops::default())], request);
        let leaves = self.leaves();
        let outcome = timeout(leaves.unwrap_or(wait + BOUND), request).await.ok();
        if outcome.is_none() && leaves.is_none() {
            self.world.wrong(format!("agent {}: no end of {what} within {:?}", self.agent, wait + BOUND));
        }
        let count = match &outcome {
            Some(Ok(_)) => &self.book.answers,
            Some(Err(_)) => &self.book.faults,
            None => return None,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let over = began.elapsed().saturating_sub(wait).as_millis() as u64;
        self.book.slowest_millis.fetch_max(over, Ordering::Relaxed);
        outcome
    }

    /// An answer holds all writes that it must hold by the age it tells.
    fn check(&self, query: &Query, answer: &Answer, began: Instant) {
        let (dc, freshness) = (query.identity.dc.as_deref(), &query.freshness);
        let nodes: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).expect("a list");
        let meta = &answer.meta;
        // The age of an answer from a cache counts on until now; any other age is that of the read.
        let now = Instant::now();
        let of_age = |age: Duration| (if meta.cache.is_some() { now } else { began }).checked_sub(age);
        let is_own = dc.is_none_or(|dc| dc == DATACENTERS[self.own()]);
        if is_own && freshness.max_stale.is_some_and(|bound| meta.last_contact > bound) {
            self.world.wrong(format!("agent {}: an answer of age {:?} to {query:?}", self.agent, meta.last_contact));
        }
        let is_fresh = freshness.consistency != Consistency::Stale && freshness.cached.is_none() && freshness.max_stale.is_none();
        let parts: Vec<(usize, Duration)> = match &meta.datacenters {
            Some(parts) => {
                let reported = parts.iter().filter(|part| part.error.is_none());
                let dc = |name: &str| DATACENTERS.iter().position(|dc| *dc == name).expect("a datacenter");
                reported.map(|part| (dc(&part.name), part.age)).collect()
            }
            None => {
                vec![(dc.map_or(self.own(), |name| usize::from(name == DATACENTERS[1])), meta.last_contact)]
            }
        };
        for (dc, age) in parts {
            let bound = if is_fresh { Some(began) } else { of_age(age) };
            let is_of_dc = |node: &&serde_json::Value| node["Datacenter"] == DATACENTERS[dc];
            let reported: BTreeSet<String> =
                nodes.iter().filter(is_of_dc).filter_map(|node| Some(node["Node"].as_str()?.to_owned())).collect();
            let missing: Vec<String> = self.book.acknowledged(dc, bound).difference(&reported).cloned().collect();
            if !missing.is_empty() {
                let waited = now - began;
                self.world.wrong(format!(
                    "agent {}: {missing:?} of dc {dc} is missing in an answer of age {age:?} after {waited:?}, {:?}, to {query:?}",
                    self.agent, meta.cache
                ));
            }
        }
    }
}

/// The agents that have users.
pub(super) fn agents() -> impl Iterator<Item = usize> {
    (0..2 * AGENTS).filter(|agent| agent % AGENTS != SERVERS - 1)
}
