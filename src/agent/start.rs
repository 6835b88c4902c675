//! The start of an agent: phase by phase, in the order of dependence. Users are served last.

use super::certificates::{self, Certificates, Stamps};
use super::control::{Control, Reach};
use super::data_dir::{DataDir, Identity};
use super::directory::{self, LanFeeds};
use super::dispatch::{Dispatch, RaftInbox, RaftOutbox, RaftServer};
use super::federation::{self, Rules};
use super::kept_removals::KeptRemovals;
use super::parts::{self, BoundHttp};
use super::{Agent, Reload, Tasks, address_monitor, listeners, sync_causes, trust, watches};
use crate::bridge::{Admission, Bridge, RemoteServer};
use crate::config::Config;
use crate::expiry::Expiry;
use crate::gossip::{Gossip, GossipSettings};
use crate::http;
use crate::leader::{self, LeaderParts};
use crate::listener::{Listener, Mover};
use crate::local::Local;
use crate::model::ids::NodeId;
use crate::model::level;
use crate::model::member::tag;
use crate::raft::{Candidate, Raft};
use crate::router::{Paths, Router};
use crate::rpc::{self, RpcClient};
use crate::store::{Reader, Store};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::info;

struct Start<'a> {
    config: &'a Config,
    node_id: NodeId,
    data_dir: Option<&'a DataDir>,
    tls: &'a trust::Tls,
    tasks: &'a Tasks,
}

/// The port for requests of other agents.
struct RpcPort {
    listener: Listener,
    mover: Mover,
    addr: SocketAddr,
}

/// The Raft side of a server, before there is a roster to feed it.
struct Catalog {
    raft: Raft,
    reader: Reader,
    feeds: LanFeeds,
}

/// The bridge to other datacenters, and the feeds of its rules and servers.
struct Elsewhere {
    bridge: Option<Bridge>,
    rules: watch::Sender<Rules>,
    admission: watch::Sender<Arc<Admission>>,
    servers: watch::Sender<Arc<Vec<RemoteServer>>>,
    kept_removals: KeptRemovals,
}

/// The parts below the router.
struct Ground {
    raft: Option<Raft>,
    reader: Option<Reader>,
    bridge: Option<Bridge>,
    lan: Gossip,
    wan: Option<Gossip>,
    /// The times that this server counts while it leads.
    expiry: Expiry,
}

/// The listeners of users, and the sources of later changes.
struct Edge {
    http: BoundHttp,
    rpc: Mover,
    stamps: Stamps,
    rules: watch::Sender<Rules>,
    reload: Option<Reload>,
}

impl Agent {
    /// Opens all sockets and starts the agent of `identity`.
    pub(super) async fn start(identity: Identity, config: Config, reload: Option<Reload>) -> Result<Agent, String> {
        let Identity { node_id, data_dir } = identity;
        let tasks = Tasks::default();
        let kept_removals = KeptRemovals::open(data_dir.as_ref().map(DataDir::path))?;
        // Taken before the files are read: later writes are read again.
        let stamps = Stamps::of(&config.tls);
        let tls = trust::Tls::load(&config, data_dir.as_ref().map(DataDir::path))?;
        let start = Start { config: &config, node_id, data_dir: data_dir.as_ref(), tls: &tls, tasks: &tasks };

        let mut http = parts::http_listeners(&config, &tls).await?;
        let port = RpcPort::open(config.rpc).await?;
        let rpc_addr = port.addr;
        let client = RpcClient::new(tls.rpc.clone()).leaving_from(config.bind);
        let (dispatch, inbox) = (Arc::new(Dispatch::default()), Arc::new(RaftInbox::default()));
        let catalog = start.open_catalog(&client, &inbox).await?;
        let elsewhere = start.open_bridge(rpc_addr.port(), catalog.as_ref(), &dispatch, kept_removals).await?;
        let (lan, wan) = start.join_pools(rpc_addr.port(), catalog.as_ref(), &elsewhere).await?;
        let (raft, reader, feeds) = match catalog {
            Some(Catalog { raft, reader, feeds }) => (Some(raft), Some(reader), Some(feeds)),
            None => (None, None, None),
        };
        let ground = Ground { raft, reader, bridge: elsewhere.bridge.clone(), lan, wan, expiry: Expiry::default() };
        let rules = start.follow_members(&ground, feeds, elsewhere);
        let router = start.serve_agents(&ground, client, port.listener, dispatch, inbox);
        let local = start.open_local(&ground, &router).await?;
        start.lead(&ground);
        let sockets = std::mem::take(&mut http.sockets);
        let edge = Edge { http, rpc: port.mover, stamps, rules, reload };
        let (control, http) = start.serve_users(&ground, &router, &local, edge);
        info!(node = %config.node_name, id = %node_id, dc = %config.datacenter, server = config.server, rpc = %rpc_addr, ?http, "agent is up");
        let Ground { raft, bridge, lan, wan, .. } = ground;
        let node_name = config.node_name;
        Ok(Agent {
            node_id,
            node_name,
            http,
            sockets,
            lan,
            wan,
            raft,
            bridge,
            router,
            local,
            control,
            tasks,
            _data_dir: data_dir,
        })
    }
}

impl RpcPort {
    async fn open(addr: SocketAddr) -> Result<RpcPort, String> {
        let socket = parts::listen(addr, "rpc").await?;
        let addr = socket.local_addr().map_err(|error| format!("rpc: {error}"))?;
        let (listener, mover) = Listener::new(socket).map_err(|error| format!("rpc: {error}"))?;
        Ok(RpcPort { listener, mover, addr })
    }
}

impl Start<'_> {
    /// Consensus and its store, on servers; `inbox` brings its messages.
    async fn open_catalog(&self, rpc: &RpcClient, inbox: &RaftInbox) -> Result<Option<Catalog>, String> {
        let (config, node_id) = (self.config, self.node_id);
        if !config.server {
            return Ok(None);
        }
        let store = Store::new(&config.datacenter);
        let reader = store.reader().with_panic_threshold(config.health_panic_threshold);
        let own = Candidate { id: node_id, expect: config.bootstrap_expect, cluster: None };
        let (candidates, candidates_rx) = watch::channel(vec![own.clone()]);
        // Gossip has not announced it yet.
        let own_name = RaftServer { name: config.node_name.clone(), addr: None, level: level::OWN };
        let (addresses, addresses_rx) = watch::channel(Arc::new(BTreeMap::from([(node_id, own_name)])));
        let transport = Arc::new(RaftOutbox { rpc: rpc.clone(), addresses: addresses_rx });
        let settings = parts::raft_settings(config, node_id, self.data_dir);
        let raft =
            Raft::start(settings, store, transport, candidates_rx, &self.tasks.core).await.map_err(|error| error.to_string())?;
        let cluster = raft.cluster();
        let feeds = LanFeeds { own, cluster, candidates, addresses };
        inbox.connect(raft.clone(), feeds.addresses.subscribe());
        Ok(Some(Catalog { raft, reader, feeds }))
    }

    /// The links to other datacenters, on servers.
    async fn open_bridge(
        &self,
        rpc_port: u16,
        catalog: Option<&Catalog>,
        dispatch: &Arc<Dispatch>,
        kept_removals: KeptRemovals,
    ) -> Result<Elsewhere, String> {
        let rules = watch::Sender::new(Rules::of(self.config));
        let (servers, servers_seen) = watch::channel(Arc::new(Vec::new()));
        let admission = watch::Sender::new(Arc::default());
        let bridge = match (&self.tls.bridge, catalog) {
            (Some(identity), Some(catalog)) => {
                // Before the first connection, so that no disabled or removed datacenter gets in.
                let removals = kept_removals.beside(&catalog.reader.removals());
                admission.send_replace(Arc::new(rules.borrow().admission(removals)));
                let (cluster, admission) = (catalog.raft.cluster(), admission.subscribe());
                let settings = parts::bridge_settings(self.config, rpc_port, identity.clone(), cluster, admission);
                Some(Bridge::start(settings, servers_seen, dispatch.clone(), dispatch.clone(), &self.tasks.core).await?)
            }
            _ => None,
        };
        Ok(Elsewhere { bridge, rules, admission, servers, kept_removals })
    }

    /// The LAN pool, and on servers the WAN pool, which the LAN pool announces.
    async fn join_pools(
        &self,
        rpc_port: u16,
        catalog: Option<&Catalog>,
        elsewhere: &Elsewhere,
    ) -> Result<(Gossip, Option<Gossip>), String> {
        let tell_cluster = |settings: &mut GossipSettings| {
            if let Some(cluster) = catalog.and_then(|catalog| *catalog.raft.cluster().borrow()) {
                settings.tags.insert(tag::CLUSTER.to_owned(), cluster.to_string());
            }
        };
        let wan = match self.config.serf_wan.filter(|_| self.config.server) {
            Some(bind) => {
                let mut settings = parts::wan_settings(self.config, self.node_id, bind, rpc_port, self.tls, self.data_dir);
                tell_cluster(&mut settings);
                let wan = Gossip::start(settings, &self.tasks.pools).await.map_err(|error| format!("WAN pool: {error}"))?;
                wan.set_removals(Arc::clone(&elsewhere.admission.borrow().removals));
                Some(wan)
            }
            None => None,
        };
        let mut settings = parts::lan_settings(self.config, self.node_id, rpc_port, wan.as_ref(), self.data_dir);
        tell_cluster(&mut settings);
        let lan = Gossip::start(settings, &self.tasks.pools).await.map_err(|error| format!("LAN pool: {error}"))?;
        Ok((lan, wan))
    }

    /// Feeds Raft, the bridge and the WAN pool from gossip and operators' rules.
    fn follow_members(&self, ground: &Ground, feeds: Option<LanFeeds>, elsewhere: Elsewhere) -> watch::Sender<Rules> {
        let Ground { raft, reader, bridge, lan, wan, .. } = ground;
        let Elsewhere { rules, admission, servers, kept_removals, .. } = elsewhere;
        let duties = &self.tasks.duties;
        if let Some(feeds) = feeds {
            duties.spawn_until("lan-directory", directory::follow_lan(lan.clone(), feeds));
        }
        if let (Some(bridge), Some(reader), Some(raft)) = (bridge, reader, raft.clone()) {
            let is_whole = move || raft.staleness().is_some();
            let follow =
                federation::follow_rules(rules.subscribe(), reader.clone(), kept_removals, is_whole, wan.clone(), admission);
            duties.spawn_until("federation-rules", follow);
            let (listed_tx, listed) = watch::channel(Vec::new());
            let (links, receiver) = (bridge.clone(), bridge.clone());
            let has_outage = move |dc: &str| links.has_outage(dc);
            let tell = move |unresolved| receiver.set_unresolved(unresolved);
            let names = federation::resolve_names(rules.subscribe(), federation::system_lookup(), has_outage, tell, listed_tx);
            duties.spawn_until("static-servers", names);
            let follow = directory::follow_servers(wan.clone(), listed, self.config.datacenter.clone(), servers);
            duties.spawn_until("remote-servers", follow);
        }
        if let Some(wan) = wan {
            if let Some(raft) = raft {
                duties.spawn_until("wan-cluster", directory::tell_cluster(wan.clone(), raft.cluster()));
            }
            let flood = directory::flood_join(lan.clone(), wan.clone(), self.config.node_name.clone());
            duties.spawn_until("flood-join", flood);
        }
        rules
    }

    /// The router, and the requests of other agents that lead to it.
    fn serve_agents(
        &self,
        ground: &Ground,
        rpc: RpcClient,
        listener: Listener,
        dispatch: Arc<Dispatch>,
        inbox: Arc<RaftInbox>,
    ) -> Router {
        let Ground { raft, reader, bridge, lan, wan, expiry } = ground;
        let catalog = raft.clone().zip(reader.clone()).map(|(raft, reader)| (raft, reader, expiry.clone()));
        let paths = Paths::new(catalog, rpc, bridge.clone(), lan.clone(), wan.clone());
        let router = Router::new(parts::router_settings(self.config, self.node_id), paths, &self.tasks.duties);
        dispatch.connect(router.clone());
        let sink = raft.is_some().then_some(inbox as Arc<dyn rpc::RaftSink>);
        let core = &self.tasks.core;
        core.spawn("rpc", rpc::serve(listener, dispatch, sink, self.tls.rpc.clone(), core.child()));
        router
    }

    /// The registrations, kept or from files, which are brought to the catalog from now on.
    async fn open_local(&self, ground: &Ground, router: &Router) -> Result<Local, String> {
        let (config, registrations) = (self.config, &self.tasks.registrations);
        let local = Local::open(parts::local_settings(config, self.node_id, self.tls))?;
        local
            .reload(config.services.clone(), config.checks.clone(), config.node_meta.clone())
            .await
            .map_err(|fault| format!("services and checks of the configuration: {}", fault.message))?;
        local.run(router.clone(), ground.lan.clone(), registrations);
        registrations.spawn_until("sync-causes", sync_causes::follow(ground.lan.clone(), local.clone()));
        Ok(local)
    }

    fn lead(&self, ground: &Ground) {
        let (Some(raft), Some(reader)) = (&ground.raft, &ground.reader) else { return };
        let tell = sync_causes::tell_leadership(ground.lan.clone(), raft.leadership());
        self.tasks.duties.spawn_until("leader-tag", tell);
        let leader_parts = LeaderParts {
            node_id: self.node_id,
            node_name: self.config.node_name.clone(),
            datacenter: self.config.datacenter.clone(),
            raft: raft.clone(),
            reader: reader.clone(),
            expiry: ground.expiry.clone(),
            lan: ground.lan.clone(),
            wan: ground.wan.clone(),
            autopilot: self.config.autopilot.clone(),
        };
        leader::run(leader_parts, &self.tasks.duties);
    }

    /// The API, with reloads, certificates, watches and the address monitor; its addresses.
    fn serve_users(&self, ground: &Ground, router: &Router, local: &Local, edge: Edge) -> (Arc<Control>, Vec<SocketAddr>) {
        let Ground { raft, bridge, lan, wan, .. } = ground;
        let Edge { http: bound, rpc, stamps, rules, reload } = edge;
        let certificates = Certificates::new(self.config, stamps, self.tls, bound.tls, bridge.clone(), wan.clone()).map(Arc::new);
        let (watches, watched) = watch::channel(self.config.watches.clone());
        let settings = parts::http_settings(self.config);
        let reach = Reach {
            router: router.clone(),
            local: local.clone(),
            lan: lan.clone(),
            wan: wan.clone(),
            raft: raft.clone(),
            bridge: bridge.clone(),
            rules,
            watches,
            reload,
            max_conns_per_client: Arc::clone(&settings.max_conns_per_client),
            certificates: certificates.clone(),
        };
        let control = Arc::new(Control::new(self.config, self.node_id, reach));
        if let Some(certificates) = certificates {
            self.follow_certificates(certificates, &control);
        }
        let addrs = bound.http.iter().chain(&bound.https).filter_map(listeners::MovableListener::at).collect();
        let parts = http::HttpParts {
            settings: Arc::new(settings),
            router: router.clone(),
            local: local.clone(),
            lan: lan.clone(),
            wan: wan.clone(),
            control: control.clone(),
        };
        let edges = &self.tasks.edges;
        let served = http::serve(bound.listeners, parts, edges);
        edges.spawn_until("watches", watches::follow_all(watched, served.inside, edges.clone()));
        let placed = address_monitor::Placed {
            running: control.running(),
            rpc,
            lan: lan.clone(),
            wan: wan.clone(),
            bridge: bridge.clone(),
            local: local.clone(),
            http: bound.http,
            https: bound.https,
            open: served.open,
        };
        self.tasks.duties.spawn_until("address_monitor", address_monitor::follow(placed));
        (control, addrs)
    }

    fn follow_certificates(&self, certificates: Arc<Certificates>, control: &Control) {
        let duties = &self.tasks.duties;
        duties.spawn_until("certificate-days", certificates::remind(Arc::clone(&certificates)));
        duties.spawn_until("certificate-files", certificates::follow_files(certificates, control.running().subscribe()));
    }
}
