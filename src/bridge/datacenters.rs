//! The other datacenters as the router sees them. Its tests put a simulated bridge in the place of [`Bridge`].

use super::{Bridge, client};
use crate::cache::Follow;
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
use tokio::time::Instant;

/// The way to other datacenters, and their answers held here.
pub trait Datacenters: Debug + Send + Sync + 'static {
    /// Sends `request`, whose hops say that it crosses, to a server of `dc`. A read that is late or failed goes once to a
    /// second server; a write is sent at most once, and `Unreachable` or `NoPath` say that it was certainly not done.
    /// `timeout` is the longest wait of a blocking query plus its margin; without progress the call fails within 2 s.
    fn call<'a>(&'a self, dc: &'a str, request: &'a Request, timeout: Duration) -> BoxFuture<'a, Result<Reply, Fault>>;

    /// True if a link to `dc` stands, or is about to, after waiting for that no longer than `until`.
    fn has_way<'a>(&'a self, dc: &'a str, until: Instant) -> BoxFuture<'a, bool>;

    /// The answer to `query`, which neither blocks nor bounds its age, that `dc` keeps up to date here.
    fn follow(&self, dc: &str, query: &Arc<Identity>) -> Box<dyn Follow>;

    /// The fault for readers of `dc` where nothing of it is read, not even from memory.
    fn closed(&self, dc: &str) -> Option<Fault>;

    /// Resolves once `dc` is closed, with the fault of [`Datacenters::closed`].
    fn until_closed<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Fault>;

    /// The datacenters that have servers in the list and are not closed.
    fn names(&self) -> Vec<String>;

    /// True if `dc` has servers in the list, closed or not.
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

impl Datacenters for Bridge {
    fn call<'a>(&'a self, dc: &'a str, request: &'a Request, timeout: Duration) -> BoxFuture<'a, Result<Reply, Fault>> {
        Box::pin(client::call(&self.links, dc, request, timeout))
    }

    fn has_way<'a>(&'a self, dc: &'a str, until: Instant) -> BoxFuture<'a, bool> {
        Box::pin(self.links.have_way(dc, until))
    }

    fn follow(&self, dc: &str, query: &Arc<Identity>) -> Box<dyn Follow> {
        Box::new(self.answers.follow(dc, query))
    }

    fn closed(&self, dc: &str) -> Option<Fault> {
        self.links.closed(dc)
    }

    fn until_closed<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Fault> {
        Box::pin(self.links.until_closed(dc))
    }

    fn names(&self) -> Vec<String> {
        self.links.datacenters()
    }

    fn knows(&self, dc: &str) -> bool {
        self.links.known().contains_key(dc)
    }

    fn cluster_of(&self, dc: &str) -> Option<ClusterId> {
        self.links.cluster_of(dc)
    }

    fn rtt(&self, dc: &str) -> Option<Duration> {
        self.links.of(dc).ok()?.ways().first().map(|way| way.connection.rtt())
    }

    fn report(&self) -> Vec<DatacenterReport> {
        self.report_all()
    }

    fn examine<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Result<Examination, Fault>> {
        Box::pin(self.look_at(dc))
    }

    fn dial_back<'a>(&'a self, dc: &'a str) -> BoxFuture<'a, Result<Bytes, Fault>> {
        Box::pin(self.dial_servers(dc))
    }
}
