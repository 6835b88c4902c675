//! Answers: the JSON as the user gets it, and the data of its headers.

use super::ids::ClusterId;
use super::query::Consistency;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    #[default]
    Yes,
    /// It is not: 404, an empty body, and the headers all the same.
    No,
    /// The body tells of something unhealthy (429, `operator/autopilot/health`).
    Unhealthy,
    /// The body tells why nothing was done (409, `txn`).
    Conflict,
}

/// The part of a cache in an answer (`X-Cache`, `Age`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// The answer was in the cache already.
    pub hit: bool,
    /// Its age.
    pub age: Duration,
}

/// One datacenter's part in an answer that several have given (`X-Kontor-Datacenters`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatacenterPart {
    pub name: String,
    /// The age of its part at most.
    pub age: Duration,
    /// The index of its part; 0 where it has none.
    pub index: u64,
    /// The reason for a missing part.
    pub error: Option<String>,
}

/// A service of which so few instances pass that all are listed. Boxed in an answer: see `took_micros`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    pub service: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerMeta {
    /// `X-Consul-Index`; never 0 when `indexed`.
    pub index: u64,
    /// The index headers are sent; `status/*` and others have none.
    pub indexed: bool,
    pub known_leader: bool,
    /// `X-Consul-LastContact`: the age of the answer at most.
    pub last_contact: Duration,
    pub consistency: Consistency,
    pub found: Found,
    /// The cluster that answered; nil before its bootstrap.
    pub cluster: ClusterId,
    pub cache: Option<CacheUse>,
    /// `X-Kontor-Panic`: the service of which too few instances pass, so that a `passing` answer holds
    /// them all.
    pub panic: Option<Box<Panic>>,
    /// For `?dc=*`: the datacenters that were asked, nearest first.
    pub datacenters: Option<Box<[DatacenterPart]>>,
    /// Microseconds that the answering agent had the request: the rest of the wait, the answer was on its way. Small,
    /// because each parked watch has room for it.
    pub took_micros: u32,
}

impl AnswerMeta {
    /// Adds `passed` to the age of an answer from a cache. Other answers keep the age at which their server read them.
    pub fn grow_older(&mut self, passed: Duration) {
        if let Some(cache) = &mut self.cache {
            cache.age = cache.age.saturating_add(passed);
            self.last_contact = self.last_contact.saturating_add(passed);
            let answered = self.datacenters.iter_mut().flatten().filter(|part| part.error.is_none());
            answered.for_each(|part| part.age = part.age.saturating_add(passed));
        }
    }
}

/// An answer: rendered once, where the data lives; every hop passes the bytes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub meta: AnswerMeta,
    /// The JSON, not pretty and not compressed.
    pub body: Bytes,
}

impl Answer {
    /// Notes that it is ready `took` after the request came here. Rounded down, so that no age is too low.
    pub fn ready(&mut self, took: Duration) {
        self.meta.took_micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    }

    /// Notes that it has come from another agent, `waited` after the request.
    pub fn add_age(&mut self, waited: Duration) {
        self.meta.grow_older(waited.saturating_sub(Duration::from_micros(self.meta.took_micros.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_on_its_way_has_grown_older_by_that_and_not_by_the_time_it_was_parked() {
        let seconds = Duration::from_secs;
        let part =
            |error: Option<&str>| DatacenterPart { age: seconds(2), error: error.map(str::to_owned), ..Default::default() };
        let meta = AnswerMeta {
            last_contact: seconds(3),
            cache: Some(CacheUse { hit: true, age: seconds(3) }),
            datacenters: Some([part(None), part(Some("cut"))].into()),
            took_micros: 60_000_000,
            ..AnswerMeta::default()
        };
        let mut answer = Answer { meta, body: Bytes::new() };
        answer.add_age(seconds(61));
        assert_eq!((answer.meta.last_contact, answer.meta.cache.unwrap().age), (seconds(4), seconds(4)));
        let ages: Vec<Duration> = answer.meta.datacenters.iter().flatten().map(|part| part.age).collect();
        assert_eq!(ages, [seconds(3), seconds(2)]);
        let mut own = Answer::default();
        own.add_age(seconds(9));
        assert_eq!(own.meta.last_contact, Duration::ZERO, "of no cache");
    }
}
