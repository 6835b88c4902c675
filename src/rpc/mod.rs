//! Requests between agents of one datacenter: HTTP/2 over TCP 8300, TLS when configured.
//!
//! The server hands requests to a [`Handler`] and Raft's messages to a [`RaftSink`], both given by
//! `agent`; the client is used by `router` and, for Raft, by `agent`'s transport. Dropping a call
//! resets its stream, and the server drops the handler's future.

use crate::model::fault::Fault;
use crate::model::request::{BoxFuture, Handler, Reply, Request};
use crate::shutdown::Shutdown;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Takes Raft's opaque messages.
pub trait RaftSink: Send + Sync + 'static {
    /// Answers one message.
    fn handle(&self, message: Bytes) -> BoxFuture<Bytes>;
}

/// Which connection a message goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Reads and writes.
    Requests,
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
    /// It may have been processed.
    #[error("lost: {0}")]
    Lost(String),
    /// The other side answered with a fault.
    #[error("{0}")]
    Fault(Fault),
}

/// Serves on a bound listener until `shutdown`. `raft` is absent on client agents.
pub async fn serve(
    _listener: tokio::net::TcpListener,
    _handler: Arc<dyn Handler>,
    _raft: Option<Arc<dyn RaftSink>>,
    _tls: Option<crate::tls::RpcTls>,
    _shutdown: Shutdown,
) {
    todo!()
}

/// Keeps one connection per server and lane; clones share them.
#[derive(Clone, Debug)]
pub struct RpcClient {}

impl RpcClient {
    /// A client that connects when first asked.
    pub fn new(_tls: Option<crate::tls::RpcTls>) -> RpcClient {
        todo!()
    }

    /// Sends `request` to `server`. A connection that misses its ping for 1 s fails all its calls.
    pub async fn call(&self, _server: SocketAddr, _request: &Request, _timeout: Duration) -> Result<Reply, CallError> {
        todo!()
    }

    /// Sends one of Raft's messages.
    pub async fn raft(&self, _server: SocketAddr, _lane: Lane, _message: Bytes, _timeout: Duration) -> Result<Bytes, CallError> {
        todo!()
    }

    /// The round-trip time last measured to `server`, if connected and alive.
    pub fn is_alive(&self, _server: SocketAddr) -> bool {
        todo!()
    }
}
