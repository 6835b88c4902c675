//! The driver of anti-entropy: reads and writes the catalog. `anti_entropy` decides the time, `diff` the writes.

use super::Local;
use super::anti_entropy::{AntiEntropy, End, Spread, SyncAction};
use super::diff::{Remote, Update};
use crate::defaults::{SYNC_MAX_STALE, SYNC_REQUEST_TIMEOUT};
use crate::gossip::Gossip;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::Token;
use crate::model::member::{Member, tag};
use crate::model::operation::{CatalogRead, CatalogWrite, HealthRead, Read, Write};
use crate::model::principal::Principal;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::WriteRequest;
use crate::router::{Router, TypedRows};
use crate::telemetry::FailureThrottle;
use std::future::Future;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

/// The catalog with all that a synchronisation needs of it.
pub(super) trait Catalog: Send + Sync + 'static {
    fn read(&self) -> impl Future<Output = Result<Remote, Fault>> + Send;
    fn write(&self, write: CatalogWrite, token: Token) -> impl Future<Output = Result<(), Fault>> + Send;
    /// The number of agents that share it.
    fn members(&self) -> usize;
}

/// The catalog behind the router.
#[derive(Clone, Debug)]
pub(super) struct RouterCatalog {
    pub(super) router: Router,
    pub(super) lan: Gossip,
    pub(super) node_name: String,
}

impl RouterCatalog {
    /// True if a leader is known here. A client learns it from the servers' tags.
    pub(super) fn has_leader(&self) -> bool {
        let leads = |member: &Member| member.is_server() && !member.tag(tag::LEADS).is_empty();
        self.router.leader_addr().is_some() || self.lan.roster().alive().any(leads)
    }

    async fn rows<T: TypedRows>(&self, read: Read) -> Result<T, Fault> {
        let freshness = Freshness { max_stale: Some(SYNC_MAX_STALE), ..Freshness::STALE };
        let identity = Identity::new(read, Principal::agent(&self.node_name));
        self.router.rows(Query::of(identity, freshness)).await.map(|(rows, _index)| rows)
    }
}

impl Catalog for RouterCatalog {
    async fn read(&self) -> Result<Remote, Fault> {
        let node = || self.node_name.clone();
        let of = self.rows(Read::Catalog(CatalogRead::NodeServices { node: node() })).await?;
        Ok(Remote::new(of, self.rows(Read::Health(HealthRead::Node { node: node() })).await?))
    }

    async fn write(&self, write: CatalogWrite, token: Token) -> Result<(), Fault> {
        let principal = Principal::of_registration(&token, &self.node_name);
        let request = WriteRequest { dc: None, principal, write: Write::Catalog(write) };
        self.router.write(request).await.map(|_written| ())
    }

    fn members(&self) -> usize {
        self.lan.roster().alive().count()
    }
}

/// Keeps the catalog in agreement, for ever.
pub(super) async fn run(local: Local, catalog: impl Catalog) {
    let mut timing = AntiEntropy::new(Instant::now().into_std());
    let mut trouble = FailureThrottle::default();
    loop {
        let now = Instant::now();
        if local.lock().state.undefer(now.into_std()) {
            timing.changed();
        }
        match timing.poll(now.into_std()) {
            SyncAction::Full => {
                let end = ended(&local, full(&local, &catalog).await, &timing, &mut trouble);
                timing.full_done(end, Instant::now().into_std(), spread(&catalog));
            }
            SyncAction::Partial => {
                let end = ended(&local, push(&local, &catalog).await, &timing, &mut trouble);
                timing.partial_done(end, Instant::now().into_std(), spread(&catalog));
            }
            SyncAction::Wait(until) => {
                let deferred = local.lock().state.next_deferred();
                let until = deferred.map_or(until, |at| at.min(until));
                tokio::select! {
                    () = sleep_until(until.into()) => {}
                    () = local.inner.changed.notified() => timing.changed(),
                    () = local.inner.soon.notified() => {
                        timing.soon(Instant::now().into_std(), spread(&catalog));
                        local.inner.following.expected();
                    }
                }
            }
        }
    }
}

fn spread(catalog: &impl Catalog) -> Spread {
    Spread { members: catalog.members(), random: rand::random() }
}

/// Logs the end of a round and wakes the callers that wait for the catalog.
fn ended(local: &Local, result: Result<End, Fault>, timing: &AntiEntropy, trouble: &mut FailureThrottle) -> End {
    match result {
        Ok(end) => {
            if trouble.worked() {
                info!("the catalog agrees with this agent again");
            }
            end
        }
        Err(fault) => {
            metrics::counter!("kontor.local.sync_failed").increment(1);
            local.inner.following.failed();
            let now = Instant::now().into_std();
            let worth_a_line = if timing.worked_once { trouble.failed_again(now) } else { trouble.failed(now) };
            if worth_a_line {
                warn!(%fault, "this agent's registrations do not reach the catalog; trying again");
            } else {
                debug!(%fault, "this agent's registrations do not reach the catalog; trying again");
            }
            End::Failed
        }
    }
}

/// Compares everything, then pushes what differs.
async fn full(local: &Local, catalog: &impl Catalog) -> Result<End, Fault> {
    let remote = within(catalog.read()).await?;
    {
        let mut registry = local.lock();
        registry.state.heed_votes(&remote, Instant::now().into_std());
        if registry.state.compare(&remote) {
            local.publish(&registry);
        }
    }
    push(local, catalog).await
}

/// Pushes all known differences. One refusal does not keep the others back.
async fn push(local: &Local, catalog: &impl Catalog) -> Result<End, Fault> {
    let (updates, pushes) = {
        let registry = local.lock();
        (registry.state.updates(), registry.state.pushes)
    };
    let mut end = End::Done;
    for update in updates {
        match within(catalog.write(update.write.clone(), update.token.clone())).await {
            Ok(()) => {
                debug!(change = described(&update), "catalog updated");
                local.lock().state.settle(&update);
            }
            Err(fault) if fault.kind == FaultKind::Denied => {
                metrics::counter!("kontor.local.sync_denied").increment(1);
                warn!(change = described(&update), %fault, "the token does not allow this; left until the next full synchronisation");
                local.lock().state.put_off(&update);
            }
            // Another write may fare better.
            Err(fault) if matches!(fault.kind, FaultKind::BadRequest | FaultKind::NotFound | FaultKind::Failed) => {
                metrics::counter!("kontor.local.sync_refused").increment(1);
                warn!(change = described(&update), %fault, "the catalog refuses this registration; trying again");
                end = End::Refused;
            }
            Err(fault) => return Err(fault),
        }
    }
    local.inner.following.tried(pushes);
    Ok(end)
}

async fn within<T>(request: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(SYNC_REQUEST_TIMEOUT, request)
        .await
        .unwrap_or_else(|_elapsed| Err(Fault::outcome_unknown(format!("no answer within {SYNC_REQUEST_TIMEOUT:?}"))))
}

/// The change of an update, for the log.
fn described(update: &Update) -> String {
    match &update.write {
        CatalogWrite::Register(register) => match (&register.service, &register.check) {
            (Some(service), _) => format!("register service {}", service.id),
            (None, Some(check)) => format!("register check {}", check.check_id),
            (None, None) => format!("register node {}", register.node),
        },
        CatalogWrite::Deregister(gone) if !gone.service_id.is_empty() => format!("deregister service {}", gone.service_id),
        CatalogWrite::Deregister(gone) => format!("deregister check {}", gone.check_id),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::tests::local;
    use super::*;
    use crate::model::definition::ServiceDefinition;
    use crate::model::node::Node;
    use crate::model::service::NodeService;
    use crate::shutdown::Shutdown;
    use std::sync::{Arc, Mutex, MutexGuard};
    use std::time::Duration;

    /// A catalog of one node, in memory.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Inner>>);

    #[derive(Default)]
    struct Inner {
        remote: Remote,
        /// The answer to everything.
        fault: Option<Fault>,
        /// A service that is refused, with the kind of the fault.
        refuses: Option<(String, FaultKind)>,
        writes: usize,
    }

    impl Fake {
        fn lock(&self) -> MutexGuard<'_, Inner> {
            self.0.lock().expect("whole")
        }

        fn services(&self) -> Vec<String> {
            self.lock().remote.services.keys().cloned().collect()
        }
    }

    impl Catalog for Fake {
        async fn read(&self) -> Result<Remote, Fault> {
            let inner = self.lock();
            inner.fault.clone().map_or_else(|| Ok(inner.remote.clone()), Err)
        }

        async fn write(&self, write: CatalogWrite, _token: Token) -> Result<(), Fault> {
            let mut inner = self.lock();
            inner.fault.clone().map_or(Ok(()), Err)?;
            inner.writes += 1;
            match write {
                CatalogWrite::Register(register) => {
                    let name = register.service.as_ref().map(|service| &service.id);
                    if let Some((_, kind)) = inner.refuses.as_ref().filter(|(refused, _)| name == Some(refused)) {
                        return Err(Fault::new(*kind, "refused"));
                    }
                    let remote = &mut inner.remote;
                    if remote.node.is_none() || !register.skip_node_update {
                        let (tagged_addresses, meta) = (register.tagged_addresses, register.node_meta);
                        let (id, node, address) = (register.id, register.node, register.address);
                        remote.node = Some(Node { id, node, address, tagged_addresses, meta, ..Node::default() });
                    }
                    remote.services.extend(register.service.map(|service| (service.id.clone(), service)));
                    remote.checks.extend(register.checks.into_iter().map(|check| (check.check_id.clone(), check)));
                }
                CatalogWrite::Deregister(gone) => drop(inner.remote.services.remove(&gone.service_id)),
            }
            Ok(())
        }

        fn members(&self) -> usize {
            1
        }
    }

    async fn register(local: &Local, name: &str) {
        let definition = ServiceDefinition { name: name.into(), ..ServiceDefinition::default() };
        local.add_service(definition, Source::Api, false).await.expect("good");
    }

    /// Lets virtual time pass, with everything that is due in it.
    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn running(local: &Local, catalog: &Fake) -> Shutdown {
        let shutdown = Shutdown::new();
        shutdown.spawn_until("sync", run(local.clone(), catalog.clone()));
        shutdown
    }

    #[tokio::test(start_paused = true)]
    async fn changes_reach_the_catalog_at_once_and_what_somebody_else_changed_is_put_right() {
        let (local, catalog) = (local(), Fake::default());
        register(&local, "web").await;
        let _stop = running(&local, &catalog).trigger_on_drop();
        pass(1).await;
        assert_eq!(catalog.services(), ["web"]);
        register(&local, "api").await;
        pass(1).await;
        assert_eq!(catalog.services(), ["api", "web"]);
        local.remove_service("web").await.expect("known");
        pass(1).await;
        assert_eq!(catalog.services(), ["api"]);

        let api = catalog.lock().remote.services["api"].clone();
        let stray = NodeService { id: "stray".to_owned(), ..api };
        catalog.lock().remote.services = [("stray".to_owned(), stray)].into();
        pass(121).await;
        assert_eq!(catalog.services(), ["api"]);
        let writes = catalog.lock().writes;
        pass(3600).await;
        assert_eq!(catalog.lock().writes, writes, "where all agrees nothing is written");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_leader_it_is_tried_again_and_asked_for_soon_it_is_done_soon() {
        let (local, catalog) = (local(), Fake::default());
        let _stop = running(&local, &catalog).trigger_on_drop();
        pass(1).await;
        catalog.lock().fault = Some(Fault::no_leader());
        register(&local, "web").await;
        pass(1).await;
        catalog.lock().fault = None;
        local.sync_soon();
        pass(4).await;
        assert_eq!(catalog.services(), ["web"]);
        catalog.lock().fault = Some(Fault::no_leader());
        register(&local, "api").await;
        pass(1).await;
        catalog.lock().fault = None;
        pass(31).await;
        assert_eq!(catalog.services(), ["api", "web"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_refused_service_keeps_no_other_back() {
        for kind in [FaultKind::Denied, FaultKind::Failed] {
            let (local, catalog) = (local(), Fake::default());
            catalog.lock().refuses = Some(("bad".to_owned(), kind));
            register(&local, "bad").await;
            register(&local, "web").await;
            let _stop = running(&local, &catalog).trigger_on_drop();
            pass(1).await;
            assert_eq!(catalog.services(), ["web"]);
            register(&local, "api").await;
            pass(1).await;
            assert_eq!(catalog.services(), ["api", "web"]);
            catalog.lock().refuses = None;
            pass(121).await;
            assert_eq!(catalog.services(), ["api", "bad", "web"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_registers_is_answered_once_the_catalog_has_it_or_has_refused_it() {
        let (local, catalog) = (local(), Fake::default());
        local.inner.following.knows_leader_by(|| true);
        let _stop = running(&local, &catalog).trigger_on_drop();
        let start = Instant::now();
        register(&local, "web").await;
        assert_eq!(catalog.services(), ["web"]);
        local.remove_service("web").await.expect("known");
        assert!(catalog.services().is_empty());
        for kind in [FaultKind::Denied, FaultKind::Failed] {
            catalog.lock().refuses = Some(("bad".to_owned(), kind));
            register(&local, "bad").await;
            assert!(local.registered().services.contains_key("bad"), "it is the log that says so");
        }
        catalog.lock().fault = Some(Fault::no_leader());
        register(&local, "api").await;
        register(&local, "db").await;
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody has waited in vain");
    }
}
