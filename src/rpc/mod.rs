//! Requests between agents of one datacenter: HTTP/2 over TCP 8300, TLS when configured. Dropping a call resets its stream,
//! and the server drops the handler's future. No message is sent twice.

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

    /// True if a server of this datacenter is known at `address`: its connections and messages have room of their
    /// own. The address proves nothing else.
    fn is_of_server(&self, _address: IpAddr) -> bool {
        false
    }
}

/// The kinds of messages, each with a connection of its own.
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

/// The reason that a call has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It certainly was not processed; safe to send elsewhere.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It certainly was not processed, and will not be: servers of that version refuse it.
    #[error("{0}")]
    Refused(Fault),
    /// It may have been processed.
    #[error("lost: {0}")]
    Lost(String),
    /// The other side answered with a fault.
    #[error("{0}")]
    Fault(Fault),
}

/// The path of requests, in the form of format level 3. Agents of another form answer 404, and nothing is lost.
const REQUEST_PATH: &str = "/request/3";
const RAFT_PATH: &str = "/raft";

#[cfg(test)]
mod tests;
