//! Answers to reads on this server: from the catalog, from Raft's numbers, or from the WAN roster. No request is sent.

use super::Core;
use super::blocking::{self, Watched};
use super::datacenters::{self, Site};
use super::health::{Evidence, ServerHealth};
use super::operator::{self, Servers};
use super::paths::Catalog;
use crate::clock;
use crate::defaults::VIEW_LOOK;
use crate::model::answer::{Answer, AnswerMeta, Found};
use crate::model::autopilot::AutopilotConfig;
use crate::model::fault::Fault;
use crate::model::operation::{Answered, FederationRead, Need, OperatorRead, ReadSpec, ServersRead, StatusRead};
use crate::model::query::{Consistency, Freshness, Query, ViewQuery};
use crate::model::request::Progress;
use crate::raft::Leadership;
use crate::store::{Rendered, Watch};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

impl Core {
    /// Answers `query` on this server.
    pub(super) async fn read_here(&self, catalog: &dyn Catalog, query: &Query, progress: &Progress) -> Result<Answer, Fault> {
        let (body, found) = match query.identity.read.spec().answered {
            Answered::View(read) => {
                let (freshness, query) = (query.freshness, query.identity.with(read));
                return self.read_catalog(&Local { core: self, catalog, query, freshness }, progress).await;
            }
            Answered::Servers(read) => Box::pin(self.read_servers(catalog, query, read)).await?,
            Answered::ThisSide(read) => (Box::pin(self.read_federation(read, progress)).await?, Found::Yes),
        };
        let meta = AnswerMeta { found, ..self.meta(catalog, query.freshness.consistency) };
        Ok(Answer { meta, body })
    }

    async fn read_catalog(&self, here: &Local<'_>, progress: &Progress) -> Result<Answer, Fault> {
        let Freshness { min_index, wait, .. } = here.freshness;
        let began = clock::now();
        let mut answer = blocking::answer(here, min_index, self.wait_of(wait), progress).await?;
        // An answer that was parked here is not older for it.
        answer.ready(clock::since(began));
        Ok(answer)
    }

    async fn read_federation(&self, read: &FederationRead, progress: &Progress) -> Result<Bytes, Fault> {
        match read {
            FederationRead::Datacenters => json(&self.datacenters()),
            FederationRead::Coordinates => json(&self.with_sites(|sites| datacenters::maps(self.sorted(sites), sites))),
            FederationRead::Report { dc } => json(&self.federation(dc.as_deref())?),
            FederationRead::Doctor { dc } => json(&self.examine(dc).await?),
            FederationRead::DialBack { dc } => self.dial_back(dc, progress).await,
        }
    }

    /// An answer rendered from the catalog here, which may be `age` old.
    pub(super) fn rendered(&self, catalog: &dyn Catalog, rendered: Rendered, consistency: Consistency, age: Duration) -> Answer {
        let meta = AnswerMeta {
            index: rendered.index.max(1),
            indexed: true,
            last_contact: age,
            found: rendered.found,
            panic: rendered.panic,
            ..self.meta(catalog, consistency)
        };
        Answer { meta, body: rendered.body }
    }

    pub(super) fn meta(&self, catalog: &dyn Catalog, consistency: Consistency) -> AnswerMeta {
        let cluster = catalog.cluster().unwrap_or_default();
        let known_leader = catalog.leadership().borrow().leader.is_some();
        AnswerMeta { known_leader, consistency, cluster, ..AnswerMeta::default() }
    }

    /// Reads about the servers themselves. A leader makes sure that it leads, but for facts that it alone knows.
    async fn read_servers(&self, catalog: &dyn Catalog, query: &Query, read: ServersRead) -> Result<(Bytes, Found), Fault> {
        let ReadSpec { stale, fresh, .. } = query.identity.read.spec();
        if fresh == Need::Leader && stale != Need::Leader && query.freshness.consistency != Consistency::Stale {
            authority(catalog, query.freshness.consistency).await?;
        }
        self.servers_as_seen_here(catalog, read, true)
    }

    /// The same, by the present knowledge of this server; `with_progress` adds how far each server is.
    pub(super) fn servers_as_seen_here(
        &self,
        catalog: &dyn Catalog,
        read: ServersRead,
        with_progress: bool,
    ) -> Result<(Bytes, Found), Fault> {
        let (peers, roster) = (catalog.peers(), self.paths.members.lan());
        let leadership: Leadership = *catalog.leadership().borrow();
        let servers = Servers { leadership, peers: &peers, roster: &roster };
        let mut found = Found::Yes;
        let value = match read {
            ServersRead::Status(StatusRead::Leader) => servers.leader(),
            ServersRead::Status(StatusRead::Peers) => servers.peer_addrs(),
            ServersRead::Operator(read) => match read {
                OperatorRead::RaftConfiguration => {
                    let known = with_progress && leadership.is_self;
                    let health = if known { self.server_health(catalog) } else { Vec::new() };
                    servers.configuration(catalog.stats().configuration_index, &health)
                }
                OperatorRead::AutopilotConfiguration => return Ok((json(&*self.autopilot())?, found)),
                OperatorRead::AutopilotHealth => {
                    let health = self.server_health(catalog);
                    found = if operator::all_healthy(&health) { Found::Yes } else { Found::Unhealthy };
                    servers.health(&health)
                }
                OperatorRead::AutopilotState => servers.state(&self.server_health(catalog), |name| self.meta_of(name)),
            },
        };
        Ok((json(&value)?, found))
    }

    fn autopilot(&self) -> Arc<AutopilotConfig> {
        let known = self.paths.catalog.as_ref().and_then(|catalog| catalog.reader().autopilot());
        known.unwrap_or_else(|| Arc::new(self.settings.autopilot.clone()))
    }

    /// The metadata of a node; none before it is registered.
    fn meta_of(&self, node: &str) -> BTreeMap<String, String> {
        let view = self.paths.catalog.as_ref().map(|catalog| catalog.reader().view());
        view.and_then(|view| view.node_named(node)?.node().meta.clone()).unwrap_or_default()
    }

    /// The health of all servers as this one, which leads, sees it now.
    pub(super) fn server_health(&self, catalog: &dyn Catalog) -> Vec<ServerHealth> {
        let autopilot = self.autopilot();
        let evidence = Evidence {
            own_id: self.settings.node_id,
            peers: &catalog.peers(),
            progress: &catalog.progress(),
            stats: &catalog.stats(),
            roster: &self.paths.members.lan(),
            last_contact_threshold: autopilot.last_contact_threshold,
            max_trailing_logs: autopilot.max_trailing_logs,
        };
        self.stability.lock().unwrap_or_else(PoisonError::into_inner).observe(&evidence, SystemTime::now())
    }

    /// The datacenters known here, nearest first; on client agents the own one only.
    pub(super) fn datacenters(&self) -> Vec<String> {
        self.with_sites(|sites| self.sorted(sites))
    }

    fn sorted(&self, sites: &[Site<'_>]) -> Vec<String> {
        let origin = self.paths.members.coordinate();
        let bridge = self.paths.datacenters.as_ref();
        let link_rtt = |dc: &str| bridge?.rtt(dc);
        let linked = bridge.map(|bridge| bridge.names()).unwrap_or_default();
        let mut names = datacenters::names(&self.settings.datacenter, &origin, sites, &linked, link_rtt);
        // A datacenter that operators switched off has no path, and nobody who walks the list need meet it.
        names.retain(|dc| *dc == self.settings.datacenter || bridge.is_none_or(|bridge| bridge.closed(dc).is_none()));
        names
    }

    /// Runs `f` on the WAN pool's servers with their coordinates.
    pub(super) fn with_sites<T>(&self, f: impl FnOnce(&[Site<'_>]) -> T) -> T {
        let members = &self.paths.members;
        let Some(roster) = members.wan() else { return f(&[]) };
        let sites: Vec<Site<'_>> = roster.members.values().map(|member| (member, members.coordinate_of(&member.name))).collect();
        f(&sites)
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, Fault> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| Fault::failed(format!("the answer cannot be written as JSON: {error}")))?;
    Ok(bytes.into())
}

/// Makes sure that this server leads: by its lease, or where that is not enough by a quorum.
async fn authority(catalog: &dyn Catalog, consistency: Consistency) -> Result<(), Fault> {
    if consistency == Consistency::Default && catalog.holds_lease() { Ok(()) } else { catalog.confirm_leadership().await }
}

/// The catalog here, as one query may use it.
struct Local<'a> {
    core: &'a Core,
    catalog: &'a dyn Catalog,
    query: ViewQuery<'a>,
    freshness: Freshness,
}

impl Local<'_> {
    fn age(&self) -> Result<Duration, Fault> {
        self.catalog.age_of_view().ok_or_else(Fault::no_leader)
    }

    fn answer(&self, rendered: Rendered, age: Duration) -> Answer {
        self.core.rendered(self.catalog, rendered, self.freshness.consistency, age)
    }
}

impl Watched for Local<'_> {
    type Answer = Answer;
    type Watch = Watch;

    fn watch(&self) -> Watch {
        self.catalog.reader().watch(self.query)
    }

    async fn changed(watch: &mut Watch) {
        watch.changed().await;
    }

    async fn read(&self) -> Result<Answer, Fault> {
        let consistency = self.freshness.consistency;
        if consistency == Consistency::Stale {
            let age = self.age()?;
            return Ok(self.answer(self.catalog.reader().read(self.query)?, age));
        }
        if consistency == Consistency::Default && self.catalog.holds_lease() {
            let rendered = self.catalog.reader().read(self.query)?;
            // The view was the newest there is only if the lease held when it was taken: look again.
            if self.catalog.holds_lease() {
                return Ok(self.answer(rendered, Duration::ZERO));
            }
        }
        self.catalog.confirm_leadership().await?;
        Ok(self.answer(self.catalog.reader().read(self.query)?, Duration::ZERO))
    }

    async fn lost(&self) -> Fault {
        if self.freshness.consistency == Consistency::Stale {
            return pending().await;
        }
        let is_lost = self.catalog.leadership().wait_for(|leadership| !leadership.is_self).await.is_ok();
        // Otherwise Raft has stopped; the request ends with its connection or its wait.
        if is_lost { Fault::no_leader() } else { pending().await }
    }

    async fn outdated(&self) {
        match self.freshness.max_stale {
            Some(bound) if self.freshness.consistency == Consistency::Stale => Box::pin(outgrown(self.catalog, bound)).await,
            _ => pending().await,
        }
    }
}

/// Resolves when the view here is older than `bound`.
pub(super) async fn outgrown(catalog: &dyn Catalog, bound: Duration) {
    while let Some(left) = catalog.age_of_view().and_then(|age| bound.checked_sub(age)) {
        tokio::time::sleep(left.max(VIEW_LOOK)).await;
    }
}
