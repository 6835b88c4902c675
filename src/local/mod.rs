//! The registrations of this agent: services, checks, TTLs, maintenance; kept on disk, pushed to the catalog by
//! anti-entropy. For this agent's node they are the truth, and the catalog follows.

mod anti_entropy;
mod changes;
pub(crate) mod checks;
mod definition;
mod diff;
mod following;
mod inherit;
mod kept;
mod maintenance;
mod observer;
mod check_result;
mod persist;
mod plan;
mod registry;
mod reload;
mod running;
mod scripts;
mod state;
mod step;
mod sync;
mod ttl;
mod votes;

use self::following::Following;
use self::registry::{Moment, Registry};
use self::running::Report;
pub use self::scripts::ScriptChecks;
use self::state::State;
use self::sync::RouterCatalog;
use crate::clock;
use crate::defaults::{ALIAS_REFRESH, DEREGISTER_CRITICAL_TICK, LOCAL_MAX_CHANGES};
use crate::gossip::Gossip;
use crate::model::check::{CheckStatus, CheckType, HealthCheck};
use crate::model::definition::ServiceDefinition;
use crate::model::fault::Fault;
use crate::model::ids::{NodeId, Token};
use crate::model::service::NodeService;
use crate::proxy::Proxies;
use crate::router::Router;
use crate::shutdown::Shutdown;
use crate::tls::OutgoingTls;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::warn;

/// This agent, as it registers itself.
#[derive(Clone, Debug, Default)]
pub struct LocalSettings {
    pub node_name: String,
    pub node_id: NodeId,
    pub datacenter: String,
    /// The address that the catalog gets.
    pub advertise: String,
    /// `lan`, `wan`, `lan_ipv4`, … to address.
    pub tagged_addresses: BTreeMap<String, String>,
    /// `node_meta`.
    pub node_meta: BTreeMap<String, String>,
    /// The directory of registrations; `None` in dev mode.
    pub data_dir: Option<PathBuf>,
    /// The time that a change of output alone is deferred by about; zero for not at all.
    pub check_update_interval: Duration,
    /// Bytes of output kept of each check.
    pub check_output_max_size: usize,
    /// True if output is not kept at all.
    pub discard_check_output: bool,
    pub check_tls: OutgoingTls,
    pub check_proxies: Proxies,
    /// The sources of checks that may run scripts.
    pub script_checks: ScriptChecks,
}

/// The source of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A user, over HTTP; kept on disk.
    Api,
    /// A configuration file; read anew at each start and reload.
    File,
}

/// The registrations at one moment; immutable.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// By service id. `create_index` and `modify_index` are 0.
    pub services: BTreeMap<String, Arc<NodeService>>,
    /// By check id.
    pub checks: BTreeMap<String, Arc<HealthCheck>>,
}

/// This agent's registrations; clones are the same one.
#[derive(Clone, Debug)]
pub struct Local {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node_name: String,
    /// Never held across an await, nor while the disk works.
    registry: Mutex<Registry>,
    /// Held by the one change that is between its plan and the registry.
    desk: Arc<tokio::sync::Mutex<()>>,
    /// One permit a change, be it waiting or under way.
    changes: Semaphore,
    /// Wakes when a TTL check has a state that the disk does not have.
    unsaved: Notify,
    following: Following,
    published: watch::Sender<Arc<Registered>>,
    /// True if `published` is behind the registry.
    stale: AtomicBool,
    /// Wakes when there is a change to push.
    changed: Notify,
    /// Wakes on a new result here of a check that is voted on.
    own_vote: Notify,
    /// Wakes when a full synchronisation is wanted.
    soon: Notify,
    /// Wakes when the next deadline of a TTL may have moved.
    deadline: Notify,
}

impl Local {
    /// Reads what is kept on disk. Damaged files are reported and set aside, not lost.
    pub fn open(settings: LocalSettings) -> Result<Local, String> {
        let node_name = settings.node_name.clone();
        let registry = Registry::open(settings, Moment::now())?;
        let (published, _) = watch::channel(Arc::new(registry.state.registered()));
        let inner = Inner {
            node_name,
            registry: Mutex::new(registry),
            desk: Arc::default(),
            changes: Semaphore::new(LOCAL_MAX_CHANGES),
            unsaved: Notify::new(),
            following: Following::default(),
            published,
            stale: AtomicBool::new(false),
            changed: Notify::new(),
            own_vote: Notify::new(),
            soon: Notify::new(),
            deadline: Notify::new(),
        };
        Ok(Local { inner: Arc::new(inner) })
    }

    /// Starts the checks, the TTL deadlines and the anti-entropy.
    pub fn run(&self, router: Router, lan: Gossip, shutdown: &Shutdown) {
        self.lock().running.attach(router.clone(), self.report());
        let (local, stop) = (self.clone(), shutdown.token());
        shutdown.spawn("local checks", async move {
            stop.cancelled().await;
            local.lock().running.detach();
        });
        shutdown.spawn_until("local upkeep", self.clone().keep_up());
        shutdown.spawn_until("local observer", observer::run(self.clone(), router.clone(), lan.clone()));
        shutdown.spawn("local words", self.clone().keep_words(shutdown.token()));
        let catalog = RouterCatalog { router, lan, node_name: self.inner.node_name.clone() };
        let seen = catalog.clone();
        self.inner.following.knows_leader_by(move || seen.has_leader());
        shutdown.spawn_until("local sync", sync::run(self.clone(), catalog));
        shutdown.spawn_until("local ttl", self.clone().watch_deadlines());
    }

    /// The registrations now.
    pub fn registered(&self) -> Arc<Registered> {
        if self.inner.stale.load(Ordering::Acquire) {
            self.show(&self.lock());
        }
        Arc::clone(&self.inner.published.borrow())
    }

    /// The registrations, with each change of them.
    pub fn changes(&self) -> watch::Receiver<Arc<Registered>> {
        let registry = self.lock();
        if self.inner.stale.load(Ordering::Acquire) {
            self.show(&registry);
        }
        self.inner.published.subscribe()
    }

    /// Registers a service with its checks, checked as Consul does (the faults are its texts).
    /// `replace_checks` drops earlier checks that are not named anew.
    ///
    /// On return this and every other change is on the disk. A catalog that can be reached has it too, see
    /// [`Following`]. A caller that drops the future leaves the change done or not done, never half of it.
    pub async fn add_service(&self, definition: ServiceDefinition, source: Source, replace_checks: bool) -> Result<(), Fault> {
        self.register(|registry| registry.plan_service(definition, source, replace_checks)).await
    }

    /// Removes a service with its checks; 404 with Consul's text when unknown.
    pub async fn remove_service(&self, id: &str) -> Result<(), Fault> {
        self.register(|registry| registry.plan_removal(id)).await
    }

    pub async fn add_check(&self, check: CheckType, source: Source) -> Result<(), Fault> {
        self.register(|registry| registry.plan_check(check, source)).await
    }

    /// Removes a check; 404 with Consul's text when unknown.
    pub async fn remove_check(&self, id: &str) -> Result<(), Fault> {
        self.register(|registry| registry.plan_check_removal(id)).await
    }

    /// Sets the state of a TTL check; 404 when the check is unknown, 500 when it has no TTL.
    pub fn update_ttl(&self, check_id: &str, status: CheckStatus, output: &str) -> Result<(), Fault> {
        self.change(|registry, now| registry.update_ttl(check_id, status, output, now, rand::random()))
    }

    /// Puts a service into or out of maintenance; 404 with Consul's text when unknown.
    pub async fn service_maintenance(&self, id: &str, enable: bool, reason: &str, token: &Token) -> Result<(), Fault> {
        self.register(|registry| registry.plan_service_maintenance(id, enable, reason, token)).await
    }

    /// Puts the node into or out of maintenance.
    pub async fn node_maintenance(&self, enable: bool, reason: &str, token: &Token) -> Result<(), Fault> {
        self.register(|registry| registry.plan_node_maintenance(enable, reason, token)).await
    }

    /// Replaces everything from configuration files; statuses of checks stay. One mistake refuses all.
    pub async fn reload(
        &self,
        services: Vec<ServiceDefinition>,
        checks: Vec<CheckType>,
        node_meta: BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        self.do_planned(|registry| registry.plan_reload(services, checks, node_meta)).await.map(|_pushes| ())
    }

    /// Sets whether outputs of checks are discarded from now on.
    pub fn discard_check_output(&self, discard: bool) {
        self.lock().settings.discard_check_output = discard;
    }

    /// Replaces the advertised addresses.
    pub fn set_addresses(&self, advertise: String, tagged: BTreeMap<String, String>) {
        self.change(|registry, _now| registry.set_addresses(advertise, tagged));
    }

    /// Asks for a full synchronisation soon (a server joined, a leader was elected).
    pub fn sync_soon(&self) {
        self.inner.soon.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the registry and wakes the tasks that the change concerns: most updates of a TTL check wake none.
    fn change<T>(&self, act: impl FnOnce(&mut Registry, Moment) -> T) -> T {
        let mut registry = self.lock();
        let (before, deadline, now) = (registry.state.revision, registry.deadlines.next(), Moment::now());
        let to_push = |state: &State| (state.pushes, state.first_deferred);
        let (pushes, own_votes) = (to_push(&registry.state), registry.state.own_votes);
        let result = act(&mut registry, now);
        registry.settle_aliases(now.at);
        if registry.state.revision != before {
            self.publish(&registry);
        }
        if to_push(&registry.state) != pushes {
            self.inner.changed.notify_one();
        }
        if registry.state.own_votes != own_votes {
            self.inner.own_vote.notify_one();
        }
        if registry.deadlines.next() != deadline {
            self.inner.deadline.notify_one();
        }
        if !registry.unsaved.is_empty() {
            self.inner.unsaved.notify_one();
        }
        result
    }

    /// The receiver of the findings of runs.
    fn report(&self) -> Report {
        // Weak: the registry holds the tasks that hold it.
        let inner = Arc::downgrade(&self.inner);
        Arc::new(move |id, start, finding| {
            if let Some(inner) = inner.upgrade() {
                Local { inner }.change(|registry, now| registry.found(id, start, finding, now.at, rand::random()));
            }
        })
    }

    /// Does the duties that no event starts, from time to time.
    async fn keep_up(self) {
        let mut reap = tokio::time::interval(DEREGISTER_CRITICAL_TICK);
        let mut refresh = tokio::time::interval(ALIAS_REFRESH);
        loop {
            tokio::select! {
                _ = reap.tick() => {
                    if let Err(fault) = self.do_planned(|registry| registry.plan_reaping(Moment::now().at)).await {
                        warn!(%fault, "services that are critical for too long cannot be deregistered; trying again");
                    }
                }
                _ = refresh.tick() => self.change(|registry, now| registry.refresh_aliases(now.at)),
            }
        }
    }

    /// Publishes the registrations: at once for a task that waits, else at the next question.
    fn publish(&self, registry: &Registry) {
        if self.inner.published.receiver_count() > 0 {
            self.show(registry);
        } else {
            self.inner.stale.store(true, Ordering::Release);
        }
    }

    /// Publishes the registrations now. Called under the lock, so that a reader never sees an older state.
    fn show(&self, registry: &Registry) {
        self.inner.published.send_replace(Arc::new(registry.state.registered()));
        // Afterwards: a reader that finds it cleared reads `published` without the lock.
        self.inner.stale.store(false, Ordering::Release);
    }

    async fn watch_deadlines(self) {
        loop {
            let next = self.lock().deadlines.next().map(Into::into);
            tokio::select! {
                () = clock::until(next) => self.change(|registry, now| registry.expire(now.at)),
                () = self.inner.deadline.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::registry::tests::settings;
    use super::*;

    pub(super) fn local() -> Local {
        Local::open(settings(None)).expect("opens")
    }

    #[tokio::test(start_paused = true)]
    async fn a_ttl_check_turns_critical_when_nobody_speaks_for_it_and_watchers_wake() {
        let local = local();
        let shutdown = Shutdown::new();
        shutdown.spawn_until("ttl", local.clone().watch_deadlines());
        let _stop = shutdown.trigger_on_drop();
        let ttl = Duration::from_secs(10);
        let check = CheckType { name: "c".into(), ttl, status: "passing".into(), ..CheckType::default() };
        local.add_check(check, Source::Api).await.expect("good");
        for _ in 0..5 {
            tokio::time::sleep(ttl / 2).await;
            local.update_ttl("c", CheckStatus::Passing, "well").expect("known");
        }
        let mut changes = local.changes();
        let silent_since = tokio::time::Instant::now();
        changes.changed().await.expect("the agent lives");
        assert!(silent_since.elapsed() >= ttl);
        assert_eq!(local.registered().checks["c"].status, CheckStatus::Critical);
    }

    /// The mark `stale` and the lock keep a second reader from the older state, and from showing it after the newer.
    #[tokio::test(flavor = "multi_thread")]
    async fn until_the_newest_state_is_shown_readers_know_that_it_is_not_and_nothing_changes() {
        let local = local();
        let check = CheckType { name: "c".into(), ttl: Duration::from_secs(10), ..CheckType::default() };
        local.add_check(check, Source::Api).await.expect("good");
        // While this is held nothing can be shown.
        let shown = local.inner.published.borrow();
        let reader = std::thread::spawn({
            let local = local.clone();
            move || local.registered()
        });
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while local.inner.registry.try_lock().is_ok() {
            assert!(std::time::Instant::now() < deadline, "a reader shows the registry without its lock");
            std::thread::yield_now();
        }
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(1));
            assert!(local.inner.registry.try_lock().is_err(), "a reader shows the registry without its lock");
            assert!(local.inner.stale.load(Ordering::Acquire), "the older state is still shown");
        }
        drop(shown);
        assert!(reader.join().expect("no panic").checks.contains_key("c"));
    }

    #[tokio::test]
    async fn a_sign_of_life_that_changes_nothing_wakes_nobody() {
        let local = local();
        let check = CheckType { name: "c".into(), ttl: Duration::from_secs(10), ..CheckType::default() };
        local.add_check(check, Source::Api).await.expect("good");
        local.update_ttl("c", CheckStatus::Passing, "well").expect("known");
        let changes = local.changes();
        local.update_ttl("c", CheckStatus::Passing, "well").expect("known");
        assert!(!changes.has_changed().expect("the agent lives"));
        local.update_ttl("c", CheckStatus::Warning, "well").expect("known");
        assert!(changes.has_changed().expect("the agent lives"));
    }
}
