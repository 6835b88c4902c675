//! What is asked: a read and its options.

use super::ids::Token;
use super::operation::{Read, ViewRead};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// The leader answers within its lease.
    #[default]
    Default,
    /// The leader has a quorum confirm it first.
    Consistent,
    /// Any server answers, and says how old its view is.
    Stale,
}

/// What a `Cache-Control` header and `?cached` ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheControl {
    /// The age a cached answer may have; unset for any.
    pub max_age: Option<Duration>,
    /// How long a cached answer may still be given when it cannot be refreshed.
    pub stale_if_error: Option<Duration>,
    /// Whether a cached answer must be checked first.
    pub must_revalidate: bool,
}

/// The options of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    /// The datacenter that shall answer; the agent's own when unset.
    pub dc: Option<String>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// The age a stale answer may have.
    pub max_stale: Option<Duration>,
    /// Set by `?cached`.
    pub cached: Option<CacheControl>,
    /// Wait until the index is greater than this; 0 for at once.
    pub min_index: u64,
    /// How long to wait, jitter not yet added; zero for the default.
    pub wait: Duration,
    /// Sort by round-trip time from this node. The edge has resolved `_agent` already.
    pub near: Option<String>,
    /// Pairs that a node's metadata must have.
    pub node_meta: Vec<(String, String)>,
    /// Tags that an instance must have, without regard to case.
    pub tags: Vec<String>,
    /// Whether instances with a check that does not pass are left out.
    pub passing: bool,
    /// A filter expression.
    pub filter: Option<String>,
    /// Whether WAN addresses take the place of LAN ones (`translate_wan_addrs`, another dc).
    pub translate: bool,
    /// The access token.
    pub token: Token,
}

/// A read with its options.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Query {
    /// What is read.
    pub read: Read,
    /// How.
    pub options: QueryOptions,
}

/// A read that the store answers, with its options.
#[derive(Clone, Copy, Debug)]
pub struct ViewQuery<'a> {
    /// What is read.
    pub read: ViewRead<'a>,
    /// How.
    pub options: &'a QueryOptions,
}

impl Query {
    /// The same for the store; unset for what is answered elsewhere.
    pub fn of_view(&self) -> Option<ViewQuery<'_>> {
        self.read.spec().view().map(|read| ViewQuery { read, options: &self.options })
    }
}
