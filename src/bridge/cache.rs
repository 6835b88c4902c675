//! The answers of other datacenters that this side holds, by query.

use super::client;
use super::links::Links;
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::query::Query;
use crate::model::request::{Ask, Hops, Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The newest answer of a feed.
#[derive(Clone, Debug)]
pub struct Held {
    /// The answer as it was pushed; its `last_contact` says nothing here.
    pub answer: Arc<Answer>,
    /// The answer is known to have been the newest at this time of this agent's clock.
    pub as_of: Instant,
    /// Whether a feed stands that would bring a newer one.
    pub in_contact: bool,
}

/// One query of another datacenter, as the router holds it while it answers from it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Followed {
    links: Arc<Links>,
    dc: String,
    query: Query,
    changes: watch::Receiver<u64>,
}

impl Followed {
    pub(super) fn new(links: Arc<Links>, dc: &str, query: &Query) -> Followed {
        let (_, changes) = watch::channel(0);
        Followed { links, dc: dc.to_owned(), query: query.clone(), changes }
    }

    /// The newest answer, if there is one. Counts as a use.
    pub fn held(&self) -> Option<Held> {
        None
    }

    /// The newest answer, after waiting for the feed's first one if there is none. Fails with the
    /// reason when no feed can be had (within 2 s without a sign of progress).
    pub async fn first(&self) -> Result<Held, Fault> {
        self.refresh().await
    }

    /// An answer that was asked for after this call, by the leader of the other datacenter; one
    /// question for all who wait for it. What it brings is held from then on, if it is not older.
    pub async fn refresh(&self) -> Result<Held, Fault> {
        let as_of = Instant::now();
        let request = Request { ask: Ask::Read(self.query.clone()), hops: Hops { crossed: true, ..Hops::default() } };
        match client::call(&self.links, &self.dc, &request, Duration::from_secs(10)).await? {
            Reply::Answer(answer) => Ok(Held { answer: Arc::new(answer), as_of, in_contact: false }),
            Reply::Written(_) => Err(Fault::failed("expected an answer to a read, got the result of a write")),
        }
    }

    /// Changes whenever another answer is held: another index, another body or another cluster.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}
