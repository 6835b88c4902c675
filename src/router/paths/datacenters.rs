//! The other datacenters.

use crate::bridge::{Bridge, Followed, Held};
use crate::model::fault::Fault;
use crate::model::federation::{DatacenterReport, Examination};
use crate::model::ids::ClusterId;
use crate::model::query::Identity;
use crate::model::request::{Reply, Request};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The way to other datacenters, and what is held of them here.
pub(in crate::router) trait Datacenters: Debug + Send + Sync + 'static {
    /// Sends `request`, whose hops say that it crosses, to a server of `dc`. A read may go to a second server; a
    /// write is sent at most once, and `Unreachable` or `NoPath` say that it was certainly not done.
    fn call<'a>(&'a self, dc: &'a str, request: &'a Request, timeout: Duration) -> BoxFuture<'a, Result<Reply, Fault>>;

    /// Whether a link to `dc` stands, or is about to, after waiting for that no longer than `until`.
    fn has_way<'a>(&'a self, dc: &'a str, until: Instant) -> BoxFuture<'a, bool>;

    /// The answer to `query`, which neither blocks nor bounds its age, that `dc` keeps up to date here.
    fn follow(&self, dc: &str, query: &Arc<Identity>) -> Box<dyn Follow>;

    /// Why nothing of `dc` is read, not even what is held here; unset where it may be.
    fn closed(&self, dc: &str) -> Option<Fault>;

    /// Resolves once `dc` is closed, with the fault of [`Datacenters::closed`].
    fn until_closed<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Fault>;

    /// The datacenters that have servers in the list and are not closed.
    fn names(&self) -> Vec<String>;

    /// Whether `dc` has servers in the list, closed or not.
    fn knows(&self, dc: &str) -> bool;

    /// The cluster of `dc` that was linked last, or that it tells in the WAN pool.
    fn cluster_of(&self, dc: &str) -> Option<ClusterId>;

    /// The round-trip time of the link to `dc`, if there is one.
    fn rtt(&self, dc: &str) -> Option<Duration>;

    /// Every datacenter that is known, for operators.
    fn report(&self) -> Vec<DatacenterReport>;

    /// Looks for faults on the way to `dc` and back.
    fn examine<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Result<Examination, Fault>>;

    /// Dials the servers of `dc` for one of them.
    fn dial_back<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Result<Bytes, Fault>>;
}

/// One answer of another datacenter.
pub(in crate::router) trait Follow: Send + Sync {
    /// The answer that is held.
    fn held(&self) -> Option<Held>;

    /// The answer that is held, after waiting for the first one if there is none.
    fn first(&self) -> BoxFuture<'_, Result<Held, Fault>>;

    /// An answer that was asked for after this call.
    fn refresh(&self) -> BoxFuture<'_, Result<Held, Fault>>;

    /// Changes whenever another answer is held.
    fn changes(&self) -> watch::Receiver<u64>;
}

impl Datacenters for Bridge {
    fn call<'a>(&'a self, dc: &'a str, request: &'a Request, timeout: Duration) -> BoxFuture<'a, Result<Reply, Fault>> {
        Box::pin(Bridge::call(self, dc, request, timeout))
    }

    fn has_way<'a>(&'a self, dc: &'a str, until: Instant) -> BoxFuture<'a, bool> {
        Box::pin(Bridge::has_way(self, dc, until))
    }

    fn follow(&self, dc: &str, query: &Arc<Identity>) -> Box<dyn Follow> {
        Box::new(Bridge::follow(self, dc, query))
    }

    fn closed(&self, dc: &str) -> Option<Fault> {
        Bridge::closed(self, dc)
    }

    fn until_closed<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Fault> {
        Box::pin(Bridge::until_closed(self, dc))
    }

    fn names(&self) -> Vec<String> {
        self.datacenters()
    }

    fn knows(&self, dc: &str) -> bool {
        Bridge::knows(self, dc)
    }

    fn cluster_of(&self, dc: &str) -> Option<ClusterId> {
        Bridge::cluster_of(self, dc)
    }

    fn rtt(&self, dc: &str) -> Option<Duration> {
        Bridge::rtt(self, dc)
    }

    fn report(&self) -> Vec<DatacenterReport> {
        Bridge::report(self)
    }

    fn examine<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Result<Examination, Fault>> {
        Box::pin(Bridge::examine(self, dc))
    }

    fn dial_back<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Result<Bytes, Fault>> {
        Box::pin(Bridge::dial_back(self, dc))
    }
}

impl Follow for Followed {
    fn held(&self) -> Option<Held> {
        Followed::held(self)
    }

    fn first(&self) -> BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(Followed::first(self))
    }

    fn refresh(&self) -> BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(Followed::refresh(self))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Followed::changes(self)
    }
}
