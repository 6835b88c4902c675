//! Sessions: what holds locks, and what ends it.

use super::duration;
use super::fault::Fault;
use super::ids::SessionId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The fate of locked keys at the end of their session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionBehavior {
    /// The locks are released.
    #[default]
    Release,
    /// The keys are deleted.
    Delete,
}

/// When a session that is not renewed ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TtlMode {
    /// At twice its TTL, as in Consul.
    #[default]
    Lenient,
    /// At its TTL.
    Exact,
}

impl TtlMode {
    fn is_lenient(&self) -> bool {
        *self == TtlMode::Lenient
    }
}

/// A check of a service that a session depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheck {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Accepted and not used.
    pub namespace: String,
}

/// A session, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Session {
    /// Its id, which the leader draws.
    #[serde(rename = "ID")]
    pub id: SessionId,
    /// A name for people.
    pub name: String,
    /// The node it belongs to.
    pub node: String,
    /// Nanoseconds for which its locks cannot be taken after its end.
    pub lock_delay: u64,
    /// The fate of its locks.
    pub behavior: SessionBehavior,
    /// The Go duration after which it ends unless it is renewed; empty for never.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// How exactly the TTL is kept.
    #[serde(rename = "TTLMode")]
    pub ttl_mode: TtlMode,
    /// Checks of its node that must not be critical.
    pub node_checks: Vec<String>,
    /// Checks of services of its node that must not be critical.
    pub service_checks: Option<Vec<ServiceCheck>>,
    /// Checks as clients of before Consul 1.7 name them. [`ShownSession`] leaves them out.
    pub checks: Vec<String>,
    /// Index of the command that made it.
    pub create_index: u64,
    /// The same: a session never changes.
    pub modify_index: u64,
}

impl Session {
    /// The ids of all checks that it depends on.
    pub fn all_checks(&self) -> impl Iterator<Item = &str> {
        let services = self.service_checks.iter().flatten().map(|check| check.id.as_str());
        self.node_checks.iter().chain(&self.checks).map(String::as_str).chain(services)
    }

    /// The TTL; unset where it has none.
    pub fn ttl(&self) -> Option<Duration> {
        duration::parse(&self.ttl).ok().filter(|ttl| !ttl.is_zero())
    }

    /// The time without a renewal after which it ends; unset where it has no TTL.
    pub fn life(&self) -> Option<Duration> {
        let factor = match self.ttl_mode {
            TtlMode::Lenient => 2,
            TtlMode::Exact => 1,
        };
        self.ttl().map(|ttl| ttl * factor)
    }
}

/// A session as JSON shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShownSession<'a> {
    #[serde(rename = "ID")]
    id: SessionId,
    name: &'a str,
    node: &'a str,
    lock_delay: u64,
    behavior: SessionBehavior,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    #[serde(rename = "TTLMode", skip_serializing_if = "TtlMode::is_lenient")]
    ttl_mode: TtlMode,
    node_checks: &'a [String],
    service_checks: Option<&'a [ServiceCheck]>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> From<&'a Session> for ShownSession<'a> {
    fn from(session: &'a Session) -> ShownSession<'a> {
        ShownSession {
            id: session.id,
            name: &session.name,
            node: &session.node,
            lock_delay: session.lock_delay,
            behavior: session.behavior,
            ttl: &session.ttl,
            ttl_mode: session.ttl_mode,
            node_checks: &session.node_checks,
            service_checks: session.service_checks.as_deref(),
            create_index: session.create_index,
            modify_index: session.modify_index,
        }
    }
}

/// The id of a session as a user writes it.
pub fn parse_id(text: &str) -> Result<SessionId, Fault> {
    let id = if text.len() == 36 { text.parse().ok() } else { None };
    // The text is Consul's.
    id.ok_or_else(|| Fault::failed("failed session lookup: index error: UUID must be 36 characters"))
}
