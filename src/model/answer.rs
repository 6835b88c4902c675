//! What is answered: the JSON as the user gets it, and what its headers tell.

use super::ids::ClusterId;
use super::query::Consistency;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whether the thing asked for is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// It is (200).
    #[default]
    Yes,
    /// It is not: 404, an empty body, and the headers all the same.
    No,
    /// The body tells of something unhealthy (429, `operator/autopilot/health`).
    Unhealthy,
}

/// How a cache took part in an answer (`X-Cache`, `Age`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// Whether the answer was there already.
    pub hit: bool,
    /// How old it is.
    pub age: Duration,
}

/// One datacenter's part in an answer that several have given (`X-Kontor-Datacenters`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatacenterPart {
    /// Its name.
    pub name: String,
    /// How old its part may be.
    pub age: Duration,
    /// The index of its part; 0 where it has none.
    pub index: u64,
    /// Why its part is missing.
    pub error: Option<String>,
}

/// What the headers of an answer tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerMeta {
    /// `X-Consul-Index`; never 0 when `indexed`.
    pub index: u64,
    /// Whether the index headers are sent at all (`status/*` and others have none).
    pub indexed: bool,
    /// `X-Consul-KnownLeader`
    pub known_leader: bool,
    /// `X-Consul-LastContact`: how old the answer may be.
    pub last_contact: Duration,
    /// `X-Consul-Effective-Consistency`
    pub consistency: Consistency,
    /// Whether the thing is there.
    pub found: Found,
    /// The cluster that answered; nil before its bootstrap.
    pub cluster: ClusterId,
    /// How a cache took part.
    pub cache: Option<CacheUse>,
    /// For `?dc=*`: the datacenters that were asked, nearest first.
    pub datacenters: Option<Box<[DatacenterPart]>>,
}

/// An answer: rendered once, where the data lives; every hop passes the bytes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// For the headers.
    pub meta: AnswerMeta,
    /// The JSON, not pretty and not compressed.
    pub body: Bytes,
}
