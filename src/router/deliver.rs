//! Delivery of a request: here, to the leader, to another server, or to another datacenter, as `route` decides.

use super::Core;
use super::blocking;
use super::freshness::{LEAST_WAIT, crosses};
use super::merge;
use super::paths::Catalog;
use super::retry::{AfterFailure, Next, Retries, after};
use super::route::{Leader, Route, Situation, need, route, wanted_dc};
use crate::bridge::Datacenters;
use crate::clock;
use crate::defaults::CALL_MARGIN;
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::Need;
use crate::model::request::{Hops, Operation, Phase, Progress, Reply, Request};
use crate::raft::Leadership;
use crate::rpc::CallError;
use futures_util::future::BoxFuture;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

impl Core {
    /// Has `request` answered, wherever that is.
    pub(super) async fn deliver(&self, request: Box<Request>, progress: &Progress) -> Result<Reply, Fault> {
        merge::check(&request.operation)?;
        match &self.paths.catalog {
            Some(catalog) => self.deliver_as_server(&**catalog, request, progress).await,
            None => self.ask_servers(request, progress).await,
        }
    }

    async fn deliver_as_server(
        &self,
        catalog: &dyn Catalog,
        mut request: Box<Request>,
        progress: &Progress,
    ) -> Result<Reply, Fault> {
        self.add_what_is_known(&mut request.operation);
        let mut leadership = catalog.leadership();
        let mut hold = self.holds.begin();
        let deadline = request.wait().map(|wait| Instant::now() + wait);
        loop {
            let began = Instant::now();
            let known = *leadership.borrow_and_update();
            let attempt = match self.route(catalog, known, &request) {
                // Boxed, as the other ways are: a parked watch holds no more than its own way needs.
                Route::Here => Box::pin(self.answer_here(catalog, &request, progress)).await.map_err(CallError::Fault),
                Route::Leader(addr) => self.call_last(addr, &mut request, progress).await,
                Route::AnyServer => self.call_other(&mut request, progress).await,
                Route::Bridge(dc) => return self.cross(dc, *request, progress).await,
                Route::Hold => Err(CallError::Fault(Fault::no_leader())),
                Route::Refuse(fault) => return Err(fault),
            };
            match attempt.map_err(|error| after(error, matches!(request.operation, Operation::Write(_)))) {
                Ok(reply) => return Ok(reply),
                Err(Next::Give(fault)) => return Err(fault),
                Err(Next::Retry(fault) | Next::RetryAfterLoss(fault)) if request.hops.to_leader => return Err(fault),
                Err(Next::Retry(_) | Next::RetryAfterLoss(_)) => {}
            }
            if request.wait().is_some() && began.elapsed() > self.settings.rpc_hold {
                hold.renew();
            }
            let retry = known.leader.is_some() || need(&request.operation) != Need::Leader;
            Box::pin(hold.wait(changed(&mut leadership, known), retry, progress)).await?;
            shorten(&mut request, deadline);
        }
    }

    fn route(&self, catalog: &dyn Catalog, known: Leadership, request: &Request) -> Route {
        let wants = need(&request.operation);
        let leader = match known.leader {
            _ if known.is_self => Leader::Here,
            Some(id) if wants == Need::Leader && id != self.settings.node_id => {
                self.with_servers(|servers| servers.addr_of(id)).map_or(Leader::Unknown, Leader::At)
            }
            _ => Leader::Unknown,
        };
        let has_view = wants == Need::AnyView && (known.is_self || catalog.staleness().is_some());
        let situation = Situation { own_dc: &self.settings.datacenter, is_server: true, leader, has_view };
        route(&situation, wanted_dc(&request.operation), request.hops, wants)
    }

    async fn answer_here(&self, catalog: &dyn Catalog, request: &Request, progress: &Progress) -> Result<Reply, Fault> {
        self.permit(catalog.reader(), &request.operation)?;
        match &request.operation {
            Operation::Read(query) => self.read_here(catalog, query, progress).await.map(Reply::Answer),
            Operation::Write(write) => Box::pin(self.write_here(catalog, &write.write)).await.map(Reply::Written),
        }
    }

    /// Sends a request to a server that must answer it itself.
    async fn call_last(&self, addr: SocketAddr, request: &mut Request, progress: &Progress) -> Result<Reply, CallError> {
        request.hops.to_leader = true;
        let reply = self.call(addr, request, 1, progress).await;
        request.hops.to_leader = false;
        reply
    }

    /// Sends a request to another server, from one that has no view of its own yet.
    async fn call_other(&self, request: &mut Request, progress: &Progress) -> Result<Reply, CallError> {
        let Some(addr) = self.with_servers(|servers| servers.first(Some(self.settings.node_id))) else {
            return Err(CallError::Fault(Fault::no_leader()));
        };
        let reply = self.call_last(addr, request, progress).await;
        if reply.is_err() {
            self.with_servers(|servers| servers.failed(addr));
        }
        reply
    }

    /// Asks the servers of this datacenter, from a client agent: one after the other, within the hold.
    async fn ask_servers(&self, mut request: Box<Request>, progress: &Progress) -> Result<Reply, Fault> {
        let is_write = matches!(request.operation, Operation::Write(_));
        let agents = if crosses(&self.settings.datacenter, &request.operation) { 4 } else { 2 };
        let mut hold = self.holds.begin();
        let mut retries = Retries::default();
        let deadline = request.wait().map(|wait| Instant::now() + wait);
        loop {
            let began = clock::now();
            let (addr, count) = self.with_servers(|servers| (servers.first(None), servers.len()));
            let Some(addr) = addr else {
                return Err(Fault::new(FaultKind::NoLeader, "No known Consul servers"));
            };
            let error = match self.call(addr, &request, agents, progress).await {
                Ok(reply) => return Ok(with_age(reply, clock::since(began))),
                Err(error) => error,
            };
            let (fault, pause) = match retries.failed(error, is_write, count) {
                AfterFailure::Give(fault) => return Err(fault),
                AfterFailure::AtOnce(fault) => (fault, false),
                AfterFailure::Next(fault) => (fault, hold.is_over()),
                AfterFailure::Pause(fault) => (fault, true),
            };
            metrics::counter!("kontor.router.server_passed_over").increment(1);
            tracing::debug!(server = %addr, cause = %fault, "server passed over");
            self.with_servers(|servers| servers.failed(addr));
            if request.wait().is_some() && clock::since(began) > self.settings.rpc_hold {
                hold.renew();
            }
            if pause {
                let held = Box::pin(hold.wait(pending(), true, progress)).await;
                held.map_err(|held| if held.kind == FaultKind::Busy { held } else { fault })?;
            }
            shorten(&mut request, deadline);
        }
    }

    /// Boxed, each way for itself: a parked watch holds no more than its own way needs.
    fn cross<'a>(&'a self, dc: String, request: Request, progress: &'a Progress) -> Crossing<'a> {
        let Some(bridge) = self.paths.datacenters.as_deref() else {
            let fault = Fault::no_path("this server has no bridge to other datacenters");
            return Box::pin(std::future::ready(Err(fault)));
        };
        if let Some(fault) = bridge.closed(&dc) {
            return Box::pin(std::future::ready(Err(fault)));
        }
        match request.operation {
            Operation::Read(query) if query.freshness.is_stale_allowed() => {
                self.read_remote(bridge, dc, query, request.hops.via_peer, progress)
            }
            operation => Box::pin(self.cross_or_via_peer(bridge, dc, Request { operation, hops: request.hops }, progress)),
        }
    }

    pub(super) async fn call_across(
        &self,
        bridge: &dyn Datacenters,
        dc: &str,
        request: &mut Request,
        progress: &Progress,
    ) -> Result<Reply, Fault> {
        request.hops = Hops { crossed: true, ..Hops::default() };
        let timeout = self.patience(request, 2);
        show_wait(request, progress);
        let reply = bridge.call(dc, request, timeout).await;
        progress.set(Phase::Working);
        reply
    }

    pub(super) async fn call(
        &self,
        addr: SocketAddr,
        request: &Request,
        agents: u32,
        progress: &Progress,
    ) -> Result<Reply, CallError> {
        show_wait(request, progress);
        let reply = self.paths.peers.call(addr, request, self.patience(request, agents)).await;
        progress.set(Phase::Working);
        reply
    }

    /// The longest time after which an answer may come by way of `agents` other agents.
    fn patience(&self, request: &Request, agents: u32) -> Duration {
        let parked = request.wait().map_or(Duration::ZERO, |wait| {
            blocking::longest(blocking::clamp(wait, self.settings.default_query_time, self.settings.max_query_time))
        });
        parked + self.settings.rpc_hold + CALL_MARGIN * agents
    }

    /// The time for which a blocking query parks that asks for `wait`, with jitter.
    pub(super) fn wait_of(&self, wait: Duration) -> Duration {
        let wait = blocking::clamp(wait, self.settings.default_query_time, self.settings.max_query_time);
        blocking::jittered(wait, &mut rand::rng())
    }

    /// Runs `f` on the servers as the LAN roster has them now.
    pub(super) fn with_servers<T>(&self, f: impl FnOnce(&mut super::servers::ServerList) -> T) -> T {
        let roster = self.paths.members.lan();
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rng = rand::rng();
        servers.follow(&roster, &mut rng);
        servers.rebalance(Instant::now(), &mut rng);
        f(&mut servers)
    }

    /// The address at which the leader takes requests, if it is known.
    pub(super) fn leader_addr(&self) -> Option<SocketAddr> {
        let leader = self.paths.catalog.as_ref()?.leadership().borrow().leader?;
        self.with_servers(|servers| servers.addr_of(leader))
    }
}

pub(super) type Crossing<'a> = BoxFuture<'a, Result<Reply, Fault>>;

/// A reply of another agent, which came `waited` after the request was sent.
pub(super) fn with_age(mut reply: Reply, waited: Duration) -> Reply {
    if let Reply::Answer(answer) = &mut reply {
        answer.add_age(waited);
    }
    reply
}

/// Resolves when leadership is not as `known`; never, once Raft has stopped.
async fn changed(leadership: &mut watch::Receiver<Leadership>, known: Leadership) {
    if leadership.wait_for(|now| *now != known).await.is_err() {
        pending::<()>().await;
    }
}

/// Shows that the request may take long: it will be parked elsewhere.
fn show_wait(request: &Request, progress: &Progress) {
    if request.wait().is_some() {
        progress.set(Phase::Parked);
    }
}

/// Leaves the rest of its wait to a blocking query that is sent anew.
pub(super) fn shorten(request: &mut Request, deadline: Option<Instant>) {
    if let (Operation::Read(query), Some(deadline)) = (&mut request.operation, deadline) {
        query.freshness.wait = deadline.saturating_duration_since(Instant::now()).max(LEAST_WAIT);
    }
}
