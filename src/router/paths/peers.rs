//! The other agents of this datacenter.

use crate::model::request::{Reply, Request};
use crate::rpc::{CallError, RpcClient};
use futures_util::future::BoxFuture;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

/// The way to the other agents of this datacenter.
pub(in crate::router) trait Peers: Debug + Send + Sync + 'static {
    /// Sends `request` to `server` at most once. Dropping the future cancels it there.
    fn call<'a>(&'a self, server: SocketAddr, request: &'a Request, timeout: Duration)
    -> BoxFuture<'a, Result<Reply, CallError>>;
}

impl Peers for RpcClient {
    fn call<'a>(
        &'a self,
        server: SocketAddr,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(RpcClient::call(self, server, request, timeout))
    }
}
