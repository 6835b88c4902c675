//! The messages within a simulated datacenter.

use super::world::World;
use crate::defaults::{RPC_CONNECT_TIMEOUT, RPC_PING_TIMEOUT};
use crate::model::fault::Fault;
use crate::model::request::{Handler, Progress, Reply, Request};
use crate::router::paths::Peers;
use crate::rpc::CallError;
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// The way from one agent to the others of its datacenter.
#[derive(Debug)]
pub(super) struct Lan {
    pub world: Arc<World>,
    pub from: usize,
}

impl Peers for Lan {
    fn call<'a>(
        &'a self,
        server: SocketAddr,
        request: &'a Request,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            let _under_way = self.world.enter();
            let sent = AtomicBool::new(false);
            match timeout(patience, self.exchange(server, request, &sent)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) if sent.into_inner() => Err(CallError::Lost("no answer".to_owned())),
                Err(_elapsed) => Err(CallError::NotSent("no connection".to_owned())),
            }
        })
    }
}

impl Lan {
    async fn carry(&self) {
        let chance = &self.world.chance;
        chance.pause(if chance.strikes(20) { 100..700 } else { 0..10 }).await;
    }

    async fn exchange(&self, server: SocketAddr, request: &Request, sent: &AtomicBool) -> Result<Reply, CallError> {
        let (world, chance) = (&self.world, &self.world.chance);
        let to = world.agent_at(server);
        self.carry().await;
        if world.is_down(to) || world.is_down(self.from) || chance.strikes(60) {
            chance.pause(0..RPC_CONNECT_TIMEOUT.as_millis() as u64).await;
            return Err(CallError::NotSent("connection refused".to_owned()));
        }
        if chance.strikes(300) {
            return Err(CallError::Refused(Fault::bad_request("an older server cannot take it")));
        }
        sent.store(true, Ordering::Relaxed);
        let lost = |why: &str| CallError::Lost(why.to_owned());
        if chance.strikes(50) {
            chance.pause(0..1_000).await;
            return Err(lost("the request was lost"));
        }
        let path = world.hop(self.from, to, request, false);
        if world.is_hung(to) && timeout(RPC_PING_TIMEOUT, world.until_up(to)).await.is_err() {
            world.process_late(to, request, None, path);
            return Err(lost("the server hangs"));
        }
        let handled = world.router(to).handle(request.clone(), None, Progress::default());
        let reply = tokio::select! {
            reply = World::on_path(path, handled) => reply,
            () = world.break_off(to, RPC_PING_TIMEOUT) => return Err(lost("the connection broke")),
        };
        self.carry().await;
        if chance.strikes(50) {
            return Err(lost("the reply was lost"));
        }
        reply.map_err(CallError::Fault)
    }
}
