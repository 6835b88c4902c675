//! The one place that decides where a request is answered: here, by the leader, by any server, or across the bridge.
//!
//! A request goes one way, and nothing on it leads back: [`Router::query`] and the [`Handler`] deliver it, or with `?dc=*`
//! one read for each datacenter (`fan_out`). The decision itself is pure (`route`). Faults carry Consul's texts.

mod via_peer;
mod blocking;
mod bounds;
mod crossing;
mod datacenters;
mod deliver;
mod fan_out;
mod federation;
mod freshness;
mod health;
mod held_read;
mod hold;
mod local_feed;
mod merged_index;
mod merge;
mod neighbours;
mod operator;
mod paths;
mod principal;
mod read;
mod route;
mod rows;
mod servers;
mod source;
mod retry;
mod votes;
mod write;
#[cfg(test)]
mod simulation;

#[cfg(test)]
mod cached_test;
#[cfg(test)]
mod identity_test;
#[cfg(test)]
mod testing;

use crate::clock;
use crate::defaults::{CACHED_PACE, CACHED_PARKED_AGE, HELD_REQUESTS_MAX, SERVER_HEALTH_INTERVAL};
use crate::model::answer::Answer;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Written;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::query::Query;
use crate::model::request::{BoxFuture, Handler, Hops, Operation, Progress, Reply, Request, WriteRequest};
use crate::shutdown::Shutdown;
use health::Stability;
use hold::Holds;
use local_feed::{Contact, Fetch, LocalFeeds, Origin};
use merged_index::MergedIndexes;
use neighbours::Neighbours;
use paths::Catalog;
use servers::ServerList;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

pub use freshness::RemoteStale;
pub use paths::Paths;
pub use rows::{NodeRows, TypedRows};

/// The settings by which requests are treated.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// This agent's node name.
    pub node_name: String,
    /// This agent's node id.
    pub node_id: NodeId,
    /// This agent's datacenter.
    pub datacenter: String,
    /// True if operators of other datacenters may change this one (`bridge { accept_operator_writes }`).
    pub accept_operator_writes: bool,
    /// How long a request is held while there is no leader (`rpc_hold_timeout`).
    pub rpc_hold: Duration,
    /// The wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// The longest wait of a blocking query.
    pub max_query_time: Duration,
    /// `discovery_max_stale`; zero for off.
    pub discovery_max_stale: Duration,
    /// The shortest TTL that a session may have (`session_ttl_min`).
    pub session_ttl_min: Duration,
    /// True if `?cached` is honoured (`http_config.use_cache`).
    pub use_cache: bool,
    /// True if other datacenters answer with WAN addresses.
    pub translate_wan_addrs: bool,
    /// Reads of other datacenters that are stale where their users leave that open.
    pub remote_stale: RemoteStale,
    /// The age up to which answers of other datacenters are given to stale reads; zero for any.
    pub remote_max_stale: Duration,
    /// The treatment of servers until a leader has written it down (`autopilot {}`).
    pub autopilot: AutopilotConfig,
}

/// Decides and forwards; clones are the same one.
#[derive(Clone, Debug)]
pub struct Router {
    core: Arc<Core>,
    feeds: Arc<LocalFeeds>,
}

/// The part that every request needs; the feeds of `?cached` hold it weakly.
#[derive(Debug)]
struct Core {
    settings: RouterSettings,
    paths: Paths,
    servers: Mutex<ServerList>,
    holds: Holds,
    stability: Mutex<Stability>,
    neighbours: Neighbours,
    marks: MergedIndexes,
}

impl Router {
    /// A router; its background work (feeds of `?cached`) ends with `shutdown`.
    pub fn new(settings: RouterSettings, paths: Paths, shutdown: &Shutdown) -> Router {
        let core = Arc::new(Core {
            holds: Holds::new(HELD_REQUESTS_MAX, settings.rpc_hold),
            settings,
            paths,
            servers: Mutex::default(),
            stability: Mutex::default(),
            neighbours: Neighbours::new(),
            marks: MergedIndexes::new(),
        });
        let feeds = Arc::new(LocalFeeds::new(origin(&core), shutdown));
        if let Some(catalog) = &core.paths.catalog {
            shutdown.spawn_until("server-health", watch_health(Arc::downgrade(&core), Arc::clone(catalog)));
        }
        Router { core, feeds }
    }

    /// Answers a read of a local user. Dropping the future frees everything it held, on every hop.
    pub fn query(&self, query: Query) -> impl Future<Output = Result<Answer, Fault>> + Send + '_ {
        // Boxed once: each future on the way would have room for a query of its own while a watch is parked.
        let query = Box::new(freshness::prepared(&self.core.settings, query));
        async move {
            if freshness::is_cached(&self.core.settings, &query) {
                return Box::pin(self.read_cached(query)).await;
            }
            if self.core.is_for_all(&query, Hops::default()) {
                return Box::pin(async move { self.core.read_all(&query, &Progress::default()).await }).await;
            }
            self.core.read_in_time(query).await
        }
    }

    /// Answers from a feed, or in default mode where that is older than `query` takes.
    async fn read_cached(&self, query: Box<Query>) -> Result<Answer, Fault> {
        let began = Instant::now();
        let answer = held_read::read_local(&self.feeds, &query).await?;
        match freshness::instead_of_too_old(&query, &answer, began.elapsed()) {
            Some(mut fresh) => {
                fresh.freshness.cached = None;
                self.core.read(Box::new(fresh)).await
            }
            None => Ok(answer),
        }
    }

    /// Does a write of a local user.
    pub async fn write(&self, request: WriteRequest) -> Result<Written, Fault> {
        let request = Box::new(Request { operation: Operation::Write(request), hops: Hops::default() });
        match self.core.deliver(request, &Progress::default()).await? {
            Reply::Written(written) => Ok(written),
            Reply::Answer(_) => Err(Fault::outcome_unknown("expected the result of a write, got an answer to a read")),
        }
    }

    /// The datacenters known here, nearest first, for edges that need the names only. A client agent knows its own one.
    pub fn datacenters(&self) -> Vec<String> {
        self.core.datacenters()
    }

    /// The RPC address of the leader of this datacenter, if this agent knows one.
    pub fn leader_addr(&self) -> Option<SocketAddr> {
        self.core.leader_addr()
    }
}

impl Core {
    /// Has `query` answered, once more in default mode where the answer is older than it takes.
    async fn read_in_time(&self, query: Box<Query>) -> Result<Answer, Fault> {
        let bounded = query.freshness.max_stale.is_some().then(|| query.clone());
        let began = Instant::now();
        let answer = self.read(query).await?;
        match bounded.and_then(|query| freshness::instead_of_too_old(&query, &answer, began.elapsed())) {
            Some(fresh) => Box::pin(self.read(Box::new(fresh))).await,
            None => Ok(answer),
        }
    }

    async fn read(&self, query: Box<Query>) -> Result<Answer, Fault> {
        let request = Box::new(Request { operation: Operation::Read(*query), hops: Hops::default() });
        self.deliver(request, &Progress::default()).await?.answer()
    }

    /// Answers a request of another agent.
    async fn handle(&self, request: Box<Request>, progress: &Progress) -> Result<Reply, Fault> {
        if self.paths.catalog.is_none() {
            return Err(Fault::no_leader().because("this agent is a client and answers no other agent"));
        }
        match &request.operation {
            Operation::Read(query) if self.is_for_all(query, request.hops) => {
                Box::pin(self.read_all(query, progress)).await.map(Reply::Answer)
            }
            _ => self.deliver(request, progress).await,
        }
    }

    /// True if this agent is to ask all datacenters and merge their answers: servers do so for their own datacenter.
    fn is_for_all(&self, query: &Query, hops: Hops) -> bool {
        self.paths.catalog.is_some() && !hops.crossed && route::is_for_all(query)
    }
}

impl Handler for Router {
    fn admit(&self, request: &mut Request, from: IpAddr) -> Result<(), Fault> {
        principal::admit(request, from, || self.core.paths.members.lan())
    }

    fn handle(&self, mut request: Request, from_dc: Option<&str>, progress: Progress) -> BoxFuture<Result<Reply, Fault>> {
        if let Some(from_dc) = from_dc {
            // The hops that another datacenter tells of its own way are of no use here.
            request.hops = Hops { crossed: true, ..Hops::default() };
            let settings = &self.core.settings;
            let admitted = principal::admit_across(&request.operation, from_dc).and_then(|()| {
                crossing::check(&request.operation, from_dc, &settings.datacenter, settings.accept_operator_writes)
            });
            if let Err(fault) = admitted {
                return Box::pin(std::future::ready(Err(fault)));
            }
            federation::restrict(&mut request.operation, from_dc);
        }
        let core = Arc::clone(&self.core);
        let request = Box::new(freshness::received(&core.settings, request));
        let began = clock::now();
        Box::pin(async move {
            let mut reply = core.handle(request, &progress).await?;
            if let Reply::Answer(answer) = &mut reply {
                answer.ready(clock::since(began));
            }
            Ok(reply)
        })
    }
}

/// The reads of feeds: as of users, but not cached. A parked one is as old as the view, and the way from there to the feed.
fn origin(core: &Arc<Core>) -> Origin {
    let reading = Arc::downgrade(core);
    let fetch: Fetch = Arc::new(move |query, progress| {
        let core = reading.upgrade();
        Box::pin(async move {
            let core = core.ok_or_else(|| Fault::failed("the agent is shutting down"))?;
            let query = freshness::prepared(&core.settings, query);
            let request = Box::new(Request { operation: Operation::Read(query), hops: Hops::default() });
            core.deliver(request, &progress).await?.answer()
        })
    });
    let contact: Contact = match &core.paths.catalog {
        Some(catalog) => {
            let catalog = Arc::clone(catalog);
            Arc::new(move |_| catalog.age_of_view().map(|age| age.saturating_add(CACHED_PACE)))
        }
        // A read that was parked anew may have been at no server in between.
        None => Arc::new(|progress| (progress.parkings() == 1).then_some(CACHED_PARKED_AGE)),
    };
    Origin { fetch, contact }
}

/// Looks at the servers' health at each interval while this one leads: `StableSince` counts changes without a reader.
async fn watch_health(core: Weak<Core>, catalog: Arc<dyn Catalog>) {
    loop {
        clock::sleep_shared(SERVER_HEALTH_INTERVAL).await;
        let Some(core) = core.upgrade() else { return };
        if catalog.leadership().borrow().is_self {
            core.server_health(&*catalog);
        } else {
            core.stability.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_make: impl FnOnce(&'static Router, Query) -> F) -> usize {
        size_of::<F>()
    }

    /// Each parked watch holds one beside the future of its way, and has 2 KB in all.
    #[test]
    fn a_query_on_its_way_is_small() {
        let size = size_of_future(Router::query);
        assert!(size <= 900, "{size} bytes");
    }
}
