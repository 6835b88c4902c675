//! `?dc=*`: one read of all datacenters at once, answered with one list. A part that is late or fails holds up no other.

use super::merge::{self, Body, Part};
use super::{Core, freshness};
use crate::clock;
use crate::defaults::{FAN_OUT_LOOK, FAN_OUT_PACE, FAN_OUT_PARALLEL, FAN_OUT_PATIENCE, FAN_OUT_RETRY};
use crate::model::answer::{Answer, DatacenterPart};
use crate::model::fault::Fault;
use crate::model::query::{Freshness, Query};
use crate::model::request::{Phase, Progress};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep, sleep_until, timeout};

impl Core {
    /// The merged answer to `query`; parks while its index is exactly the one that `query` names.
    pub(super) async fn read_all(&self, query: &Query, progress: &Progress) -> Result<Answer, Fault> {
        let Freshness { consistency, min_index, wait, .. } = query.freshness;
        let deadline = Instant::now() + self.wait_of(wait);
        loop {
            let turn = Instant::now();
            let empty = Body::wanted(&query.identity.read)?;
            let mut answer = merge::merged(empty, self.gather(query).await, consistency)?;
            answer.meta.index = self.marks.index(query, &answer.body, SystemTime::now());
            if min_index != answer.meta.index || Instant::now() >= deadline {
                return Ok(answer);
            }
            // Neither bodies nor headers are kept while parked.
            let parts = answer.meta.datacenters.take().unwrap_or_default();
            drop(answer);
            progress.set(Phase::Parked);
            tokio::select! {
                () = self.any_changes(query, &parts, deadline) => sleep_until((turn + FAN_OUT_PACE).min(deadline)).await,
                () = sleep_until(deadline) => {}
            }
            progress.set(Phase::Working);
        }
    }

    /// The present answer of each datacenter, nearest first.
    async fn gather(&self, query: &Query) -> Vec<Part> {
        let ask = |name: String| async move {
            let asked = timeout(FAN_OUT_PATIENCE, self.part(&name, query, 0, Duration::ZERO)).await;
            let outcome = asked.unwrap_or_else(|_elapsed| {
                metrics::counter!("kontor.router.everywhere_late").increment(1);
                Err(Fault::unreachable(format!("no answer within {FAN_OUT_PATIENCE:?}")))
            });
            (Part { name, outcome }, clock::now())
        };
        let asked = stream::iter(self.datacenters().into_iter().map(ask)).buffered(FAN_OUT_PARALLEL);
        let parts: Vec<(Part, Instant)> = asked.collect().await;
        let any_age = query.freshness.is_stale_allowed();
        parts.into_iter().map(|(part, came)| waited_for_others(part, clock::since(came), any_age)).collect()
    }

    /// Asks one datacenter. Boxed, because several are parked at a time.
    fn part<'a>(&'a self, name: &str, query: &Query, min_index: u64, wait: Duration) -> BoxFuture<'a, Result<Answer, Fault>> {
        let mut query = query.clone();
        query.freshness = Freshness { min_index, wait, ..query.freshness };
        let is_own = name == self.settings.datacenter;
        if is_own {
            query.freshness = freshness::of_own_part(query.freshness);
            query.identity_mut().selection.translate = false;
        }
        query.identity_mut().dc = (!is_own).then(|| name.to_lowercase());
        Box::pin(self.read_in_time(Box::new(query)))
    }

    /// Resolves when one of `parts`, or the list of datacenters, may have changed.
    async fn any_changes(&self, query: &Query, parts: &[DatacenterPart], deadline: Instant) {
        let watch = |part| self.part_changes(query, part, deadline);
        let mut changes: FuturesUnordered<_> = parts.iter().map(watch).collect();
        let first = async {
            if changes.next().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = first => {}
            () = self.others_come(parts) => {}
        }
    }

    async fn part_changes(&self, query: &Query, part: &DatacenterPart, deadline: Instant) {
        if part.error.is_none() {
            let left = deadline.saturating_duration_since(Instant::now()).max(freshness::LEAST_WAIT);
            // A part that fails from now on has changed too.
            if self.part(&part.name, query, part.index.max(1), left).await.is_err() {
                sleep(FAN_OUT_RETRY).await;
            }
            return;
        }
        loop {
            sleep(FAN_OUT_RETRY).await;
            let asked = timeout(FAN_OUT_PATIENCE, self.part(&part.name, query, 0, Duration::ZERO)).await;
            if asked.is_ok_and(|outcome| outcome.is_ok()) {
                return;
            }
        }
    }

    /// Resolves when there are other datacenters than those of `parts`.
    async fn others_come(&self, parts: &[DatacenterPart]) {
        loop {
            sleep(FAN_OUT_LOOK).await;
            let names = self.datacenters();
            let known = |name: &String| parts.iter().any(|part| part.name == *name);
            if names.len() != parts.len() || !names.iter().all(known) {
                return;
            }
        }
    }
}

/// A part that came `waited` before the last one. Its age counts on if it is of a cache, or the reader takes any age.
fn waited_for_others(mut part: Part, waited: Duration, any_age: bool) -> Part {
    if let Ok(answer) = &mut part.outcome {
        match answer.meta.cache {
            Some(_) => answer.meta.grow_older(waited),
            None if any_age => answer.meta.last_contact = answer.meta.last_contact.saturating_add(waited),
            None => {}
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::answer::CacheUse;

    #[test]
    fn a_part_grows_older_while_the_slowest_is_waited_for() {
        let seconds = Duration::from_secs;
        let of_cache = Some(CacheUse { hit: true, age: Duration::ZERO });
        for (cache, any_age, expected) in [(of_cache, true, 2), (None, true, 2), (None, false, 0)] {
            let mut answer = Answer::default();
            answer.meta.cache = cache;
            let part = waited_for_others(Part { name: "dc2".into(), outcome: Ok(answer) }, seconds(2), any_age);
            assert_eq!(part.outcome.unwrap().meta.last_contact, seconds(expected), "{cache:?} {any_age}");
        }
    }
}
