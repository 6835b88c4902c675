//! What agents ask each other over `rpc` and `bridge`, and how a long answer shows that it lives.

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

/// A write with where it goes and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteRequest {
    /// The datacenter it is for; the agent's own when unset.
    pub dc: Option<String>,
    /// Whose it is.
    pub principal: Principal,
    /// What is changed.
    pub write: Write,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// A read.
    Read(Query),
    /// A write.
    Write(WriteRequest),
}

/// How far a request has come already; it never goes the same way twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hops {
    /// It has crossed from another datacenter and never crosses again.
    pub crossed: bool,
    /// It was sent to whom the sender takes for the leader and is not forwarded again.
    pub to_leader: bool,
    /// It is for another datacenter, and comes from a server here that cannot reach that one: whoever
    /// gets it asks no further server here.
    pub via_peer: bool,
}

/// A request between agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked.
    #[serde(rename = "ask")]
    pub operation: Operation,
    /// How far it has come.
    #[serde(default)]
    pub hops: Hops,
}

impl Request {
    /// How long it may park as a blocking query; `None` for what does not block.
    pub fn wait(&self) -> Option<Duration> {
        match &self.operation {
            Operation::Read(query) if query.freshness.min_index > 0 => Some(query.freshness.wait),
            Operation::Read(_) | Operation::Write(_) => None,
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Of a read.
    Answer(Answer),
    /// Of a write.
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

/// What a request is doing, told by its handler and passed on by the transport, so that the asker
/// can tell a long wait from a fault.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

/// What of a request's progress is shared.
#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    parkings: AtomicU32,
}

/// The states of [`Progress`].
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
    /// Tells what the request is doing from here on.
    pub fn set(&self, phase: Phase) {
        if phase == Phase::Parked && self.0.phase.swap(phase as u8, Ordering::Relaxed) != phase as u8 {
            self.0.parkings.fetch_add(1, Ordering::Relaxed);
        }
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// How often it was parked: more than once where it had to be sent anew.
    pub fn parkings(&self) -> u32 {
        self.0.parkings.load(Ordering::Relaxed)
    }

    /// What the request is doing.
    pub fn get(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            1 => Phase::Parked,
            2 => Phase::Holding,
            _ => Phase::Working,
        }
    }
}

/// A future that owns what it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Answers requests that came over `rpc` or `bridge`. `agent` hands one to both, so that neither
/// knows the router. Dropping the future cancels the request and frees all it held.
pub trait Handler: Send + Sync + 'static {
    /// Settles whose a request of the own datacenter is, going by the address it comes from, and refuses what may
    /// not come from there. `rpc`
    /// calls it before [`Handler::handle`]; by default everybody may ask everything.
    fn admit(&self, _request: &mut Request, _from: IpAddr) -> Result<(), Fault> {
        Ok(())
    }

    /// Answers `request`; `from_dc` is the datacenter the sender proved to be of, when it is another.
    fn handle(&self, request: Request, from_dc: Option<&str>, progress: Progress) -> BoxFuture<Result<Reply, Fault>>;
}

/// The answers that a server pushes to other datacenters: of its own view, whoever leads. `agent`
/// gives one to `bridge`.
pub trait Source: Send + Sync + 'static {
    /// How old a view is that is read from now on; unset before there is one. Whatever was
    /// acknowledged up to that long ago has called the interests it concerns.
    fn age(&self) -> Option<Duration>;

    /// Registers interest in what the answer depends on; to be made before the read. Unset for answers
    /// that nobody calls about: they are to be read again at each ping.
    fn watch(&self, query: &Identity) -> Option<Box<dyn Interest>>;

    /// Reads it in stale mode. What cannot be pushed (it needs the leader) is a fault.
    fn read(&self, query: &Identity) -> Result<Answer, Fault>;
}

/// Interest in what one query depends on; dropping it frees what it held.
pub trait Interest: Send + Sync {
    /// Whether something the query depends on was published since the interest was registered.
    fn called(&self) -> bool;

    /// Resolves once [`Interest::called`].
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
