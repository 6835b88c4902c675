//! A request for another datacenter, on a server that may have no way there.
//!
//! One that has just come back learns of the other datacenters by gossip, one whose links have all
//! broken dials them anew, and one that is shutting down has none any more. Its neighbours most often
//! have a link that stands, so it asks by way of them rather than fail. `deliver.rs` comes here with
//! what crosses the bridge and is not read from memory.

use super::Core;
use super::afar::leaves_hope;
use super::deliver::{come, wait_of};
use super::tries::{Next, after};
use crate::bridge::Bridge;
use crate::config::defaults::{BRIDGE_LATE_MIN, BRIDGE_PROGRESS_TIMEOUT, NEIGHBOURS_MAX};
use crate::model::fault::Fault;
use crate::model::request::{Ask, Hops, Progress, Reply, Request};
use tokio::time::{Instant, timeout_at};

impl Core {
    /// Sends `request` to `dc`, and where this server has no way there, by way of a neighbour. One that
    /// comes from aside goes no further than this server's own links.
    pub(super) async fn cross_or_aside(
        &self,
        bridge: &Bridge,
        dc: String,
        mut request: Request,
        progress: &Progress,
    ) -> Result<Reply, Fault> {
        if request.hops.aside {
            return self.call_across(bridge, &dc, &mut request, progress).await;
        }
        let began = Instant::now();
        let mut failed = None;
        if bridge.has_way(&dc, began + BRIDGE_LATE_MIN).await {
            match self.call_across(bridge, &dc, &mut request, progress).await {
                // Only what is not known to have been done; and what is closed here is not read by way of others.
                Err(fault) if leaves_hope(&fault) && bridge.closed(&dc).is_none() && !bridge.has_way(&dc, began).await => {
                    failed = Some(fault);
                }
                done => return done,
            }
        }
        match Box::pin(self.call_aside(&mut request, began + BRIDGE_PROGRESS_TIMEOUT, progress)).await {
            Some(done) => done,
            None => match failed {
                Some(fault) => Err(fault),
                // It waits for a way of its own, or tells why there is none.
                None => self.call_across(bridge, &dc, &mut request, progress).await,
            },
        }
    }

    /// Asks the neighbours, one after the other, while they have no way either and it is not `until` yet.
    async fn call_aside(&self, request: &mut Request, until: Instant, progress: &Progress) -> Option<Result<Reply, Fault>> {
        request.hops = Hops { aside: true, ..Hops::default() };
        let is_write = matches!(request.ask, Ask::Write(_));
        // What may take long, or must not be left half done, ends by the neighbour's rules.
        let is_bounded = !is_write && wait_of(request).is_none();
        for addr in self.with_servers(|servers| servers.alive(self.settings.node_id, NEIGHBOURS_MAX)) {
            let asked = Instant::now();
            if asked >= until {
                break;
            }
            let call = self.call(addr, request, 2, progress);
            let outcome = match is_bounded {
                true => timeout_at(until, call).await.ok()?,
                false => call.await,
            };
            let error = match outcome {
                Ok(reply) => {
                    metrics::counter!("kontor.router.crossed_aside").increment(1);
                    return Some(Ok(come(reply, asked.elapsed())));
                }
                Err(error) => error,
            };
            match after(error, is_write) {
                Next::Give(fault) if !leaves_hope(&fault) => return Some(Err(fault)),
                Next::Give(_) | Next::Anew(_) | Next::AnewAfterLoss(_) => {}
            }
        }
        None
    }
}
