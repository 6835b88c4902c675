//! Queries: a read, its selection of rows, its freshness and its principal.

use super::operation::{Read, ViewRead};
use super::principal::Principal;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// The leader answers within its lease.
    #[default]
    Default,
    /// The leader has a quorum confirm it first.
    Consistent,
    /// Any server answers, with the age of its view.
    Stale,
}

/// The wishes of a `Cache-Control` header and `?cached`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheControl {
    /// The age of a cached answer at most; unset for any.
    pub max_age: Option<Duration>,
    /// The time that a cached answer is still given when it cannot be refreshed.
    pub stale_if_error: Option<Duration>,
    /// A cached answer must be checked first.
    pub must_revalidate: bool,
}

/// The choice of rows of an answer, their order and form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Sort by round-trip time from this node. The edge has resolved `_agent` already.
    pub near: Option<String>,
    /// Pairs that a node's metadata must have.
    pub node_meta: Vec<(String, String)>,
    /// Tags that an instance must have, without regard to case.
    pub tags: Vec<String>,
    /// Leaves out instances with a check that does not pass.
    pub passing: bool,
    pub filter: Option<String>,
    /// WAN addresses take the place of LAN ones (`translate_wan_addrs`, another dc).
    pub translate: bool,
}

/// The freshness of an answer, and the wait for a newer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Freshness {
    pub consistency: Consistency,
    /// The age of a stale answer at most.
    pub max_stale: Option<Duration>,
    /// Set by `?cached`.
    pub cached: Option<CacheControl>,
    /// Wait until the index is greater than this; 0 for at once.
    pub min_index: u64,
    /// The wait without jitter; zero for the default.
    pub wait: Duration,
}

impl Freshness {
    /// Any server's answer, at once.
    pub const STALE: Freshness =
        Freshness { consistency: Consistency::Stale, max_stale: None, cached: None, min_index: 0, wait: Duration::ZERO };

    /// Any answer will do that carries its age.
    pub fn is_stale_allowed(&self) -> bool {
        self.consistency == Consistency::Stale || self.cached.is_some()
    }

    /// The user has left the freshness open.
    pub fn is_left_open(&self) -> bool {
        self.consistency == Consistency::Default && self.max_stale.is_none() && self.cached.is_none()
    }
}

/// The part of a query that decides the body of its answer. Two users may share an answer only where their identities are
/// equal: it is the key of every cache and of every feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub read: Read,
    /// The datacenter that shall answer; unset for the agent's own, in lower case once a router has it.
    pub dc: Option<String>,
    pub selection: Selection,
    pub principal: Principal,
}

/// A read with its options. All holders in this process share its identity, because each watch parks with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub identity: Arc<Identity>,
    pub freshness: Freshness,
}

/// A read that the store answers, with its options.
#[derive(Clone, Copy, Debug)]
pub struct ViewQuery<'a> {
    pub read: ViewRead<'a>,
    pub selection: &'a Selection,
    pub principal: &'a Principal,
}

impl Identity {
    /// All rows of `read` in the agent's own datacenter.
    pub fn new(read: Read, principal: Principal) -> Identity {
        Identity { read, dc: None, selection: Selection::default(), principal }
    }

    /// The query for the store; unset for a read that is answered elsewhere.
    pub fn of_view(&self) -> Option<ViewQuery<'_>> {
        self.read.spec().view().map(|read| self.with(read))
    }

    /// `read`, which is this one's, with its options.
    pub fn with<'a>(&'a self, read: ViewRead<'a>) -> ViewQuery<'a> {
        ViewQuery { read, selection: &self.selection, principal: &self.principal }
    }

    /// Bytes in memory of its texts, which are as many as its user likes.
    pub fn text_bytes(&self) -> usize {
        let Identity { read, dc, selection, principal } = self;
        let Selection { near, node_meta, tags, passing: _, filter, translate: _ } = selection;
        let named = read.spec().text_bytes;
        let pairs: usize = node_meta.iter().map(|(key, value)| key.len() + value.len() + size_of::<(String, String)>()).sum();
        let tags: usize = tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
        let texts = [dc, near, filter].into_iter().flatten().map(String::len).sum::<usize>();
        named + pairs + tags + texts + principal.text_bytes()
    }
}

impl Query {
    /// `read` in default mode, all rows, in the agent's own datacenter.
    pub fn new(read: Read, principal: Principal) -> Query {
        Query::of(Identity::new(read, principal), Freshness::default())
    }

    pub fn of(identity: impl Into<Arc<Identity>>, freshness: Freshness) -> Query {
        Query { identity: identity.into(), freshness }
    }

    /// The identity, to be changed for this query alone.
    pub fn identity_mut(&mut self) -> &mut Identity {
        Arc::make_mut(&mut self.identity)
    }
}

#[cfg(test)]
pub mod testing {
    //! The options of a read in one, as tests write them down.

    use super::*;
    use crate::model::ids::Token;

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct QueryOptions {
        pub dc: Option<String>,
        pub consistency: Consistency,
        pub max_stale: Option<Duration>,
        pub cached: Option<CacheControl>,
        pub min_index: u64,
        pub wait: Duration,
        pub near: Option<String>,
        pub node_meta: Vec<(String, String)>,
        pub tags: Vec<String>,
        pub passing: bool,
        pub filter: Option<String>,
        pub translate: bool,
        pub token: Token,
    }

    impl QueryOptions {
        pub fn ask(self, read: Read) -> Query {
            let QueryOptions { dc, consistency, max_stale, cached, min_index, wait, .. } = self;
            let QueryOptions { near, node_meta, tags, passing, filter, translate, token, .. } = self;
            let selection = Selection { near, node_meta, tags, passing, filter, translate };
            let identity = Identity { read, dc, selection, principal: Principal::Token(token) };
            Query::of(identity, Freshness { consistency, max_stale, cached, min_index, wait })
        }
    }

    impl From<Query> for QueryOptions {
        fn from(query: Query) -> QueryOptions {
            let Freshness { consistency, max_stale, cached, min_index, wait } = query.freshness;
            let Identity { read: _, dc, selection, principal } = Arc::unwrap_or_clone(query.identity);
            let Selection { near, node_meta, tags, passing, filter, translate } = selection;
            let Principal::Token(token) = principal else { panic!("of no user: {principal:?}") };
            let rows = QueryOptions { near, node_meta, tags, passing, filter, translate, ..QueryOptions::default() };
            QueryOptions { dc, token, consistency, max_stale, cached, min_index, wait, ..rows }
        }
    }
}
