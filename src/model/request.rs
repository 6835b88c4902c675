//! Requests between agents over `rpc` and `bridge`, and the sign of life of a long one.

use super::answer::Answer;
use super::command::Written;
use super::fault::Fault;
use super::operation::Write;
use super::principal::Principal;
use super::query::{Identity, Query};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteRequest {
    /// The datacenter it is for; the agent's own when unset.
    pub dc: Option<String>,
    pub principal: Principal,
    pub write: Write,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    Read(Query),
    Write(WriteRequest),
}

/// The hops of a request so far; it never takes the same one twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hops {
    /// It has crossed from another datacenter and never crosses again.
    pub crossed: bool,
    /// It was sent to the leader that the sender knows, and is not forwarded again.
    pub to_leader: bool,
    /// It is for another datacenter, and comes from a server here that cannot reach that one. No further server here is
    /// asked.
    pub via_peer: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    #[serde(rename = "ask")]
    pub operation: Operation,
    #[serde(default)]
    pub hops: Hops,
}

impl Request {
    /// The time that it may park as a blocking query; unset for other requests.
    pub fn wait(&self) -> Option<Duration> {
        match &self.operation {
            Operation::Read(query) if query.freshness.min_index > 0 => Some(query.freshness.wait),
            Operation::Read(_) | Operation::Write(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Answer(Answer),
    Written(Written),
}

impl Reply {
    /// The answer to a read.
    pub fn answer(self) -> Result<Answer, Fault> {
        match self {
            Reply::Answer(answer) => Ok(answer),
            Reply::Written(_) => Err(Fault::failed("expected an answer to a read, got the result of a write")),
        }
    }
}

/// The phase of a request, set by its handler and passed on by the transport, so that the asking agent can tell a long
/// wait from a fault.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

/// The shared part of a request's progress.
#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    parkings: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At work: an answer without delay is expected.
    Working,
    /// Parked in a blocking query: no answer is expected before its wait is over.
    Parked,
    /// Holding for a leader, up to `rpc_hold_timeout`.
    Holding,
}

impl Progress {
    pub fn set(&self, phase: Phase) {
        if phase == Phase::Parked && self.0.phase.swap(phase as u8, Ordering::Relaxed) != phase as u8 {
            self.0.parkings.fetch_add(1, Ordering::Relaxed);
        }
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The number of times that it was parked: more than once where it was sent anew.
    pub fn parkings(&self) -> u32 {
        self.0.parkings.load(Ordering::Relaxed)
    }

    pub fn get(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            1 => Phase::Parked,
            2 => Phase::Holding,
            _ => Phase::Working,
        }
    }
}

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Answers requests that came over `rpc` or `bridge`. `agent` hands one to both, so that neither
/// knows the router. Dropping the future cancels the request and frees all it held.
pub trait Handler: Send + Sync + 'static {
    /// Settles the principal of a request of the own datacenter by the address it comes from, and refuses a request that
    /// may not come from there. `rpc` calls it before [`Handler::handle`]; by default it admits all.
    fn admit(&self, _request: &mut Request, _from: IpAddr) -> Result<(), Fault> {
        Ok(())
    }

    /// Answers `request`; `from_dc` is the datacenter the sender proved to be of, when it is another.
    fn handle(&self, request: Request, from_dc: Option<&str>, progress: Progress) -> BoxFuture<Result<Reply, Fault>>;
}

/// The answers that a server pushes to other datacenters, from its own view. `agent` gives one to `bridge`.
pub trait Source: Send + Sync + 'static {
    /// The age of a view that is read from now on; unset before there is one. Every write acknowledged that long ago or
    /// earlier has called its interests.
    fn age(&self) -> Option<Duration>;

    /// Interest in the keys that the answer depends on, to be registered before the read. Unset for an answer without
    /// keys, which is to be read again at each ping.
    fn watch(&self, query: &Identity) -> Option<Box<dyn Interest>>;

    /// Reads it in stale mode. An answer that needs the leader cannot be pushed and is a fault.
    fn read(&self, query: &Identity) -> Result<Answer, Fault>;
}

/// Interest in the keys that one query depends on; dropping it frees its entries.
pub trait Interest: Send + Sync {
    /// True once a change that the query depends on was published since the interest was registered.
    fn called(&self) -> bool;

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
