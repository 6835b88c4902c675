//! Drives anti-entropy: asks the timing what to do, reads and writes the catalog, tells the
//! registry what came of it.
//!
//! One task runs it for as long as the agent lives. It decides nothing itself: *when* is
//! `anti_entropy`, *what* is `diff`.

use super::Local;
use super::anti_entropy::{AntiEntropy, Spread, Step};
use super::diff::{Remote, Update};
use crate::config::defaults::{SYNC_MAX_STALE, SYNC_REQUEST_TIMEOUT};
use crate::gossip::Gossip;
use crate::model::command::Command;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::Token;
use crate::model::query::{Consistency, Query, QueryOptions, Read};
use crate::model::request::{Write, WriteRequest};
use crate::router::Router;
use bytes::Bytes;
use std::future::Future;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

/// The catalog as a synchronisation needs it.
pub(super) trait Catalog: Send + Sync + 'static {
    /// What it has of this node.
    fn read(&self) -> impl Future<Output = Result<Remote, Fault>> + Send;
    /// Changes it.
    fn write(&self, command: Command, token: Token) -> impl Future<Output = Result<(), Fault>> + Send;
    /// How many agents share it.
    fn members(&self) -> usize;
}

/// The catalog behind the router.
#[derive(Debug)]
pub(super) struct RouterCatalog {
    pub(super) router: Router,
    pub(super) lan: Gossip,
    pub(super) node_name: String,
}

impl RouterCatalog {
    async fn query(&self, read: Read) -> Result<Bytes, Fault> {
        let options =
            QueryOptions { consistency: Consistency::Stale, max_stale: Some(SYNC_MAX_STALE), ..QueryOptions::default() };
        self.router.query(Query { read, options }).await.map(|answer| answer.body)
    }
}

impl Catalog for RouterCatalog {
    async fn read(&self) -> Result<Remote, Fault> {
        let services = self.query(Read::CatalogNodeServices { node: self.node_name.clone() }).await?;
        let checks = self.query(Read::HealthNode { node: self.node_name.clone() }).await?;
        Remote::parse(&services, &checks)
            .map_err(|error| Fault::failed(format!("a server's answer about this node cannot be read: {error}")))
    }

    async fn write(&self, command: Command, token: Token) -> Result<(), Fault> {
        let request = WriteRequest { dc: None, token, write: Write::Apply(command) };
        self.router.write(request).await.map(|_written| ())
    }

    fn members(&self) -> usize {
        self.lan.roster().alive().count()
    }
}

/// Keeps the catalog in agreement, for ever.
pub(super) async fn run(local: Local, catalog: impl Catalog) {
    let mut timing = AntiEntropy::new(Instant::now().into_std());
    loop {
        let now = Instant::now();
        if local.lock().state.undefer(now.into_std()) {
            timing.changed();
        }
        match timing.poll(now.into_std()) {
            Step::Full => {
                let worked = told(full(&local, &catalog).await);
                timing.full_done(worked, Instant::now().into_std(), spread(&catalog));
            }
            Step::Partial => {
                let worked = told(push(&local, &catalog).await);
                timing.partial_done(worked, Instant::now().into_std(), spread(&catalog));
            }
            Step::Wait(until) => {
                let deferred = local.lock().state.next_deferred();
                let until = deferred.map_or(until, |at| at.min(until));
                tokio::select! {
                    () = sleep_until(until.into()) => {}
                    () = local.inner.changed.notified() => timing.changed(),
                    () = local.inner.soon.notified() => timing.soon(Instant::now().into_std(), spread(&catalog)),
                }
            }
        }
    }
}

fn spread(catalog: &impl Catalog) -> Spread {
    Spread { members: catalog.members(), random: rand::random() }
}

fn told(result: Result<(), Fault>) -> bool {
    if let Err(fault) = &result {
        metrics::counter!("kontor.local.sync_failed").increment(1);
        warn!(%fault, "the catalog does not agree with this agent yet; trying again");
    }
    result.is_ok()
}

/// Compares everything, then pushes what differs.
async fn full(local: &Local, catalog: &impl Catalog) -> Result<(), Fault> {
    let remote = within(catalog.read()).await?;
    {
        let mut registry = local.lock();
        if registry.state.compare(&remote) {
            local.publish(&registry);
        }
    }
    push(local, catalog).await
}

/// Pushes what is known to differ. One refusal does not keep the others back; the first is told.
async fn push(local: &Local, catalog: &impl Catalog) -> Result<(), Fault> {
    let updates = local.lock().state.updates();
    let mut refused = None;
    for update in updates {
        match within(catalog.write(update.command.clone(), update.token.clone())).await {
            Ok(()) => {
                debug!(change = what(&update), "catalog updated");
                local.lock().state.settle(&update);
            }
            Err(fault) if fault.kind == FaultKind::Denied => {
                metrics::counter!("kontor.local.sync_denied").increment(1);
                warn!(change = what(&update), %fault, "the token does not allow this; left until the next full synchronisation");
                local.lock().state.settle(&update);
            }
            Err(fault) if is_of_the_user(fault.kind) => {
                warn!(change = what(&update), %fault, "the catalog refuses this registration");
                refused.get_or_insert(fault);
            }
            Err(fault) => return Err(fault),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Whether another write may fare better than the one that got this fault.
fn is_of_the_user(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::BadRequest | FaultKind::NotFound | FaultKind::Failed)
}

async fn within<T>(request: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(SYNC_REQUEST_TIMEOUT, request).await.unwrap_or_else(|_elapsed| {
        info!(limit = ?SYNC_REQUEST_TIMEOUT, "a request of the synchronisation was given up");
        Err(Fault::outcome_unknown("no answer within the time for one request of a synchronisation"))
    })
}

/// What an update changes, for the log.
fn what(update: &Update) -> String {
    match &update.command {
        Command::Register(register) => match (&register.service, &register.check) {
            (Some(service), _) => format!("register service {}", service.id),
            (None, Some(check)) => format!("register check {}", check.check_id),
            (None, None) => format!("register node {}", register.node),
        },
        Command::Deregister(gone) if !gone.service_id.is_empty() => format!("deregister service {}", gone.service_id),
        Command::Deregister(gone) => format!("deregister check {}", gone.check_id),
        Command::UpdateCoordinates(_) | Command::Batch(_) => "several changes".to_owned(),
    }
}
