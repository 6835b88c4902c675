//! A request for another datacenter on a server that may have no way there: its neighbours most often have one.

use super::Core;
use super::deliver::{shorten, with_age};
use super::held_read::has_hope;
use super::retry::{Beside, after_neighbour, is_want_of_way};
use crate::bridge::Datacenters;
use crate::clock;
use crate::defaults::{BRIDGE_LATE_MIN, BRIDGE_PROGRESS_TIMEOUT, NEIGHBOURS_MAX};
use crate::model::fault::Fault;
use crate::model::request::{Hops, Operation, Progress, Reply, Request};
use crate::rpc::CallError;
use std::net::SocketAddr;
use tokio::time::Instant;

impl Core {
    /// Sends `request` to `dc`, and where this server has no way there, by way of a neighbour. That of a neighbour goes by
    /// this server's own links alone.
    pub(super) async fn cross_or_via_peer(
        &self,
        bridge: &dyn Datacenters,
        dc: String,
        mut request: Request,
        progress: &Progress,
    ) -> Result<Reply, Fault> {
        let began = Instant::now();
        if request.hops.via_peer {
            // The neighbour that asks has others to ask.
            return match bridge.has_way(&dc, began).await {
                true => self.call_across(bridge, &dc, &mut request, progress).await,
                false => Err(Fault::unreachable("unreachable: no link stands")),
            };
        }
        let deadline = request.wait().map(|wait| began + wait);
        let mut until = began + BRIDGE_PROGRESS_TIMEOUT;
        let mut failed = None;
        if bridge.has_way(&dc, began + BRIDGE_LATE_MIN).await {
            match self.call_across(bridge, &dc, &mut request, progress).await {
                Err(fault) if has_hope(bridge, &dc, &fault) && !bridge.has_way(&dc, began).await => failed = Some(fault),
                done => return done,
            }
            if deadline.is_some() {
                // The time for which it was parked does not count.
                until = Instant::now() + BRIDGE_PROGRESS_TIMEOUT;
            }
            shorten(&mut request, deadline);
        }
        let mut reported = match Box::pin(self.call_aside(bridge, &dc, &mut request, until, progress)).await {
            Ok(reply) => return Ok(reply),
            Err(Beside::Give(fault)) => return Err(fault),
            Err(Beside::Next(reported)) => reported,
        };
        if let Some(fault) = failed {
            return Err(reported.unwrap_or(fault));
        }
        if let Some(fault) = reported.take_if(|_| Instant::now() >= until) {
            return Err(fault);
        }
        // It waits for a way of its own, or fails with why there is none.
        shorten(&mut request, deadline);
        match self.call_across(bridge, &dc, &mut request, progress).await {
            Err(fault) if is_want_of_way(&fault) => Err(reported.unwrap_or(fault)),
            done => done,
        }
    }

    /// Asks the neighbours, one after the other, while it is certainly not done and not `until` yet.
    async fn call_aside(
        &self,
        bridge: &dyn Datacenters,
        dc: &str,
        request: &mut Request,
        until: Instant,
        progress: &Progress,
    ) -> Result<Reply, Beside> {
        request.hops = Hops { via_peer: true, ..Hops::default() };
        let is_write = matches!(request.operation, Operation::Write(_));
        let mut reported = None;
        for addr in self.with_servers(|servers| servers.alive(self.settings.node_id, NEIGHBOURS_MAX)) {
            if Instant::now() >= until {
                break;
            }
            let error = match self.call_neighbour(bridge, dc, addr, request, progress).await {
                Ok(reply) => {
                    metrics::counter!("kontor.router.crossed_aside").increment(1);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            if matches!(error, CallError::NotSent(_) | CallError::Lost(_)) {
                self.with_servers(|servers| servers.failed(addr));
            }
            match after_neighbour(error, is_write) {
                Beside::Next(_) if let Some(fault) = bridge.closed(dc) => return Err(Beside::Give(fault)),
                Beside::Next(said) => reported = said.or(reported),
                give => return Err(give),
            }
        }
        Err(Beside::Next(reported))
    }

    async fn call_neighbour(
        &self,
        bridge: &dyn Datacenters,
        dc: &str,
        addr: SocketAddr,
        request: &Request,
        progress: &Progress,
    ) -> Result<Reply, CallError> {
        let asked = clock::now();
        let call = self.call(addr, request, 3, progress);
        let reply = match &request.operation {
            Operation::Write(_) => call.await,
            // A datacenter that operators close meanwhile is not watched by way of others either.
            Operation::Read(_) => tokio::select! {
                reply = call => reply,
                fault = bridge.until_closed(dc) => Err(CallError::Fault(fault)),
            },
        };
        reply.map(|reply| with_age(reply, clock::since(asked)))
    }
}
