//! Requests between agents of one datacenter: HTTP/2 over TCP 8300, TLS when configured.
//!
//! The server hands requests to a [`Handler`](crate::model::request::Handler) and Raft's messages to
//! a [`RaftSink`], both given by `agent`; the client is used by `router` and, for Raft, by `agent`'s
//! transport. Dropping a call resets its stream, and the server drops the handler's future.
//! It never reads what it carries, and never sends anything twice.

mod budget;
mod client;
mod link;
mod message;
mod server;
mod slot;

pub use client::RpcClient;
pub use server::serve;

use crate::model::fault::Fault;
use crate::model::request::BoxFuture;
use bytes::Bytes;
use std::net::IpAddr;

/// Takes Raft's opaque messages.
pub trait RaftSink: Send + Sync + 'static {
    /// Answers one message.
    fn handle(&self, message: Bytes) -> BoxFuture<Bytes>;

    /// Whether a server of this datacenter is known at `address`: its connections and messages have room of
    /// their own. Nobody is believed anything for it.
    fn is_of_server(&self, _address: IpAddr) -> bool {
        false
    }
}

/// Which connection a message goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Reads and writes.
    Requests,
    /// Blocking queries, which are parked most of their time.
    Watches,
    /// Raft's votes, heartbeats and appends.
    Raft,
    /// Raft's snapshots.
    Snapshots,
}

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It certainly was not processed; safe to send elsewhere.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It certainly was not processed, and will not be: it is not what servers of that version take.
    #[error("{0}")]
    Refused(Fault),
    /// It may have been processed.
    #[error("lost: {0}")]
    Lost(String),
    /// The other side answered with a fault.
    #[error("{0}")]
    Fault(Fault),
}

/// Where requests go, in the form of format level 3: agents of another form answer 404, and nothing is lost.
const REQUEST_PATH: &str = "/request/3";
/// Where Raft's messages go.
const RAFT_PATH: &str = "/raft";

#[cfg(test)]
mod tests;
