//! Puts the parts together: the only file that knows all of them.
//!
//! [`Agent::bind`] opens every socket and the data directory, or fails with one line; from then on
//! the agent runs. [`Agent::leave`] and [`Agent::shutdown`] end it, ordered and bounded in time.

mod certificates;
mod control;
mod data_dir;
mod directory;
mod dispatch;
mod doors;
mod federation;
mod kept_removals;
mod parts;
mod sync_causes;
mod trust;
mod watches;
mod whereabouts;

pub mod demo;
pub mod run;

use crate::bridge::Bridge;
use crate::config::Config;
use crate::defaults;
use crate::gossip::Gossip;
use crate::leader::{self, LeaderParts};
use crate::listener::{Listener, cannot_listen};
use crate::local::Local;
use crate::model::ids::NodeId;
use crate::model::principal::Principal;
use crate::model::request::{PeerRef, Write, WriteRequest};
use crate::raft::Raft;
use crate::router::{Paths, Router};
use crate::rpc::{self, RpcClient};
use crate::shutdown::Shutdown;
use crate::store::{Reader, Store};
use certificates::{Certificates, Stamps};
use data_dir::{DataDir, Identity};
use directory::LanFeeds;
use dispatch::{Dispatch, RaftInbox, RaftOutbox};
use kept_removals::KeptRemovals;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

/// Reads the configuration anew from the same files and flags.
pub type Reload = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    node_id: NodeId,
    node_name: String,
    http: Vec<SocketAddr>,
    sockets: Vec<PathBuf>,
    rpc: SocketAddr,
    lan: Gossip,
    wan: Option<Gossip>,
    raft: Option<Raft>,
    bridge: Option<Bridge>,
    router: Router,
    local: Local,
    control: Arc<control::Control>,
    tasks: Tasks,
    _data_dir: Option<DataDir>,
}

/// The phases in which tasks end: the edges first, what they stand on last.
#[derive(Debug, Default)]
struct Tasks {
    edges: Shutdown,
    /// What keeps this node in the catalog; it must not bring back a node that leaves.
    registrations: Shutdown,
    duties: Shutdown,
    pools: Shutdown,
    core: Shutdown,
}

/// The Raft side of a server, before there is a roster to feed it.
struct Catalog {
    raft: Raft,
    reader: Reader,
    feeds: LanFeeds,
}

impl Agent {
    /// Opens everything and starts. The error is one line for the user.
    pub async fn bind(config: Config, reload: Option<Reload>) -> Result<Agent, String> {
        let identity = Identity::open(&config)?;
        Agent::start(identity, config, reload).await
    }

    /// Opens all sockets and starts, as the one that `identity` says.
    async fn start(identity: Identity, config: Config, reload: Option<Reload>) -> Result<Agent, String> {
        let Identity { node_id, data_dir } = identity;
        let tasks = Tasks::default();
        let kept_removals = KeptRemovals::open(data_dir.as_ref().map(DataDir::path))?;
        // Before they are read: what is written meanwhile is read again.
        let stamps = Stamps::of(&config.tls);
        let tls = trust::Tls::load(&config, data_dir.as_ref().map(DataDir::path))?;
        let listeners = parts::http_listeners(&config, &tls).await?;
        let rpc_listener = listen(config.rpc, "rpc").await?;
        let rpc_addr = rpc_listener.local_addr().map_err(|error| format!("rpc: {error}"))?;
        let (rpc_listener, rpc_mover) = Listener::new(rpc_listener).map_err(|error| format!("rpc: {error}"))?;
        let rpc = RpcClient::new(tls.rpc.clone()).leaving_from(config.bind);
        let dispatch = Arc::new(Dispatch::default());
        let inbox = Arc::new(RaftInbox::default());

        let catalog = match config.server {
            true => Some(open_catalog(&config, node_id, data_dir.as_ref(), &rpc, &tasks.core).await?),
            false => None,
        };
        if let Some(catalog) = &catalog {
            inbox.connect(catalog.raft.clone(), catalog.feeds.addresses.subscribe());
        }

        let rules = watch::Sender::new(federation::Rules::of(&config));
        let (servers_tx, servers) = watch::channel(Arc::new(Vec::new()));
        let admission = watch::Sender::new(Arc::default());
        let bridge = match (&tls.bridge, &catalog) {
            (Some(identity), Some(catalog)) => {
                // Before the first connection: what is switched off or removed is never let in.
                let removals = kept_removals.beside(&catalog.reader.removals());
                admission.send_replace(Arc::new(rules.borrow().admission(removals)));
                let (cluster, admission) = (catalog.raft.cluster(), admission.subscribe());
                let settings = parts::bridge_settings(&config, rpc_addr.port(), identity.clone(), cluster, admission);
                Some(Bridge::start(settings, servers, dispatch.clone(), dispatch.clone(), &tasks.core).await?)
            }
            _ => None,
        };
        let wan = match (config.server, config.serf_wan) {
            (true, Some(bind)) => {
                let mut settings = parts::wan_settings(&config, node_id, bind, rpc_addr.port(), &tls, data_dir.as_ref());
                if let Some(cluster) = catalog.as_ref().and_then(|catalog| *catalog.raft.cluster().borrow()) {
                    settings.tags.insert(crate::model::member::tag::CLUSTER.to_owned(), cluster.to_string());
                }
                let wan = Gossip::start(settings, &tasks.pools).await.map_err(|error| format!("WAN pool: {error}"))?;
                wan.set_removals(Arc::clone(&admission.borrow().removals));
                Some(wan)
            }
            _ => None,
        };
        let mut lan_settings = parts::lan_settings(&config, node_id, rpc_addr.port(), wan.as_ref(), data_dir.as_ref());
        if let Some(cluster) = catalog.as_ref().and_then(|catalog| *catalog.raft.cluster().borrow()) {
            lan_settings.tags.insert(crate::model::member::tag::CLUSTER.to_owned(), cluster.to_string());
        }
        let lan = Gossip::start(lan_settings, &tasks.pools).await.map_err(|error| format!("LAN pool: {error}"))?;

        let raft = catalog.as_ref().map(|catalog| catalog.raft.clone());
        let reader = catalog.as_ref().map(|catalog| catalog.reader.clone());
        if let Some(catalog) = catalog {
            tasks.duties.spawn_until("lan-directory", directory::follow_lan(lan.clone(), catalog.feeds));
        }
        if let (Some(bridge), Some(reader), Some(raft)) = (&bridge, &reader, raft.clone()) {
            let is_whole = move || raft.staleness().is_some();
            let follow =
                federation::follow_rules(rules.subscribe(), reader.clone(), kept_removals, is_whole, wan.clone(), admission);
            tasks.duties.spawn_until("federation-rules", follow);
            let (listed_tx, listed) = watch::channel(Vec::new());
            let (lookup, outages) = (federation::system_lookup(), federation::outages(bridge.clone()));
            let told = bridge.clone();
            let tell = move |unresolved| told.set_unresolved(unresolved);
            let names = federation::resolve_names(rules.subscribe(), lookup, outages, tell, listed_tx);
            tasks.duties.spawn_until("static-servers", names);
            let follow = directory::follow_servers(wan.clone(), listed, config.datacenter.clone(), servers_tx);
            tasks.duties.spawn_until("remote-servers", follow);
        }
        if let Some(wan) = &wan {
            if let Some(raft) = &raft {
                tasks.duties.spawn_until("wan-cluster", directory::tell_cluster(wan.clone(), raft.cluster()));
            }
            let flood = directory::flood_join(lan.clone(), wan.clone(), config.node_name.clone());
            tasks.duties.spawn_until("flood-join", flood);
        }

        let paths =
            Paths { catalog: raft.clone().zip(reader.clone()), rpc, bridge: bridge.clone(), lan: lan.clone(), wan: wan.clone() };
        let router = Router::new(parts::router_settings(&config, node_id), paths, &tasks.duties);
        dispatch.connect(router.clone());
        let sink = raft.is_some().then_some(inbox as Arc<dyn rpc::RaftSink>);
        tasks.core.spawn("rpc", rpc::serve(rpc_listener, dispatch, sink, tls.rpc.clone(), tasks.core.child()));

        let local = Local::open(parts::local_settings(&config, node_id, &tls))?;
        local
            .reload(config.services.clone(), config.checks.clone(), config.node_meta.clone())
            .await
            .map_err(|fault| format!("services and checks of the configuration: {}", fault.message))?;
        local.run(router.clone(), lan.clone(), &tasks.registrations);
        tasks.registrations.spawn_until("sync-causes", sync_causes::follow(lan.clone(), local.clone()));
        if let Some(raft) = &raft {
            tasks.duties.spawn_until("leader-tag", sync_causes::tell_leadership(lan.clone(), raft.leadership()));
        }
        if let (Some(raft), Some(reader)) = (&raft, &reader) {
            let leader_parts = LeaderParts {
                node_id,
                node_name: config.node_name.clone(),
                datacenter: config.datacenter.clone(),
                raft: raft.clone(),
                reader: reader.clone(),
                lan: lan.clone(),
                wan: wan.clone(),
                autopilot: config.autopilot.clone(),
            };
            leader::run(leader_parts, &tasks.duties);
        }

        let certificates = Certificates::new(&config, stamps, &tls);
        let certificates =
            certificates.map(|certificates| Arc::new(certificates.shown_by(listeners.tls, bridge.clone(), wan.clone())));
        let watching = watch::Sender::new(config.watches.clone());
        let watched = watching.subscribe();
        let http_settings = parts::http_settings(&config);
        let control = Arc::new(control::Control::new(
            &config,
            node_id,
            control::Reach {
                router: router.clone(),
                local: local.clone(),
                lan: lan.clone(),
                wan: wan.clone(),
                raft: raft.clone(),
                bridge: bridge.clone(),
                rules,
                watches: watching,
                reload,
                max_conns_per_client: Arc::clone(&http_settings.max_conns_per_client),
                certificates: certificates.clone(),
            },
        ));
        if let Some(certificates) = certificates {
            tasks.duties.spawn_until("certificate-days", certificates::remind(Arc::clone(&certificates)));
            let follow = certificates::follow_files(certificates, control.running().subscribe());
            tasks.duties.spawn_until("certificate-files", follow);
        }
        let http: Vec<SocketAddr> = listeners.http.iter().chain(&listeners.https).filter_map(doors::Door::at).collect();
        let sockets = listeners.sockets;
        let http_parts = crate::http::HttpParts {
            settings: Arc::new(http_settings),
            router: router.clone(),
            local: local.clone(),
            lan: lan.clone(),
            wan: wan.clone(),
            control: control.clone(),
        };
        let served = crate::http::serve(listeners.listeners, http_parts, &tasks.edges);
        tasks.edges.spawn_until("watches", watches::follow_all(watched, served.inside, tasks.edges.clone()));
        let placed = whereabouts::Placed {
            running: control.running(),
            rpc: rpc_mover,
            lan: lan.clone(),
            wan: wan.clone(),
            bridge: bridge.clone(),
            local: local.clone(),
            http: listeners.http,
            https: listeners.https,
            open: served.open,
        };
        tasks.duties.spawn_until("whereabouts", whereabouts::follow(placed));
        info!(node = %config.node_name, id = %node_id, dc = %config.datacenter, server = config.server, rpc = %rpc_addr, ?http, "agent is up");
        let node_name = config.node_name;
        Ok(Agent {
            node_id,
            node_name,
            http,
            sockets,
            rpc: rpc_addr,
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

    /// Its id.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Its name.
    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// Where the HTTP API listens, in the order configured; Unix sockets are not among them.
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where requests of other agents are taken.
    pub fn rpc_addr(&self) -> SocketAddr {
        self.rpc
    }

    /// The LAN pool.
    pub fn lan(&self) -> &Gossip {
        &self.lan
    }

    /// The WAN pool, on servers.
    pub fn wan(&self) -> Option<&Gossip> {
        self.wan.as_ref()
    }

    /// Consensus, on servers.
    pub fn raft(&self) -> Option<&Raft> {
        self.raft.as_ref()
    }

    /// Where requests are decided.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// What is registered with this agent.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// Reads the configuration anew; the error keeps the old one.
    pub async fn reload(&self) -> Result<(), String> {
        crate::http::AgentControl::reload(&*self.control).await
    }

    /// Resolves when a user has asked this agent to leave over HTTP.
    pub async fn leave_requested(&self) {
        self.control.leave_requested().await;
    }

    /// Tells the user who asked over HTTP that the leave is done.
    pub fn leave_done(&self) {
        self.control.leave_done();
    }

    /// Resolves with the reason when the agent cannot go on.
    pub async fn fatal(&self) -> String {
        let raft = async {
            match &self.raft {
                Some(raft) => raft.fatal().await,
                None => std::future::pending().await,
            }
        };
        let wan = async {
            match &self.wan {
                Some(wan) => wan.fatal().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            cause = raft => cause,
            cause = self.lan.fatal() => cause,
            cause = wan => cause,
        }
    }

    /// Leaves both pools and, as a server of several, the Raft configuration. Bounded by
    /// [`defaults::LEAVE_LIMIT`]; call [`Agent::shutdown`] afterwards.
    pub async fn leave(&self, drain: std::time::Duration) {
        let graceful = async {
            end("registrations", &self.tasks.registrations).await;
            if let Some(raft) = &self.raft {
                self.leave_raft(raft).await;
            }
            if let Some(wan) = &self.wan {
                wan.leave().await;
            }
            self.lan.leave().await;
            if self.raft.is_some() {
                // Others may still hold this server for their first choice.
                tokio::time::sleep(drain).await;
            }
        };
        if tokio::time::timeout(defaults::LEAVE_LIMIT, graceful).await.is_err() {
            warn!(limit = ?defaults::LEAVE_LIMIT, "graceful leave took too long and was cut short");
        }
    }

    async fn leave_raft(&self, raft: &Raft) {
        if raft.peers().iter().filter(|peer| peer.voter).count() < 2 {
            return;
        }
        if raft.leadership().borrow().is_self
            && let Err(fault) = raft.transfer_leadership(None).await
        {
            warn!(%fault, "leadership could not be handed over before leaving");
        }
        let write = Write::RemovePeer(PeerRef::Id(self.node_id.to_string()));
        let request = WriteRequest { dc: None, principal: Principal::agent(&self.node_name), write };
        match tokio::time::timeout(defaults::RAFT_REMOVAL_WAIT, self.router.write(request)).await {
            Ok(Ok(_)) => info!("removed from the Raft configuration"),
            Ok(Err(fault)) => {
                warn!(%fault, "this server stays in the Raft configuration; the leader removes it once it is seen to have left");
            }
            Err(_elapsed) => warn!(
                "no answer to the removal from the Raft configuration; the leader removes this server once it is seen to have left"
            ),
        }
    }

    /// Ends everything in order: the edges, the duties, leadership, the links, the pools. Bounded;
    /// tasks that do not end in time are named in the log.
    pub async fn shutdown(self) {
        let grace = defaults::SHUTDOWN_GRACE;
        if let Some(raft) = &self.raft {
            // First, so that the others can serve at once.
            raft.shutdown(grace).await;
        }
        end("edges", &self.tasks.edges).await;
        for socket in &self.sockets {
            // One that is gone, or cannot go, is replaced at the next start.
            let _ = std::fs::remove_file(socket);
        }
        end("registrations", &self.tasks.registrations).await;
        end("duties", &self.tasks.duties).await;
        if let Some(bridge) = &self.bridge {
            bridge.shutdown(grace).await;
        }
        end("pools", &self.tasks.pools).await;
        end("core", &self.tasks.core).await;
        info!(node = %self.node_name, "agent is down");
    }
}

async fn end(phase: &'static str, tasks: &Shutdown) {
    if let Err(alive) = tasks.drain(defaults::SHUTDOWN_GRACE).await {
        warn!(phase, ?alive, "tasks did not end in time");
    }
}

/// Binds a TCP listener or says which address could not be had.
async fn listen(addr: SocketAddr, what: &str) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|error| cannot_listen(addr, what, &error))
}

async fn open_catalog(
    config: &Config,
    node_id: NodeId,
    data_dir: Option<&DataDir>,
    rpc: &RpcClient,
    tasks: &Shutdown,
) -> Result<Catalog, String> {
    let store = Store::new(&config.datacenter);
    let reader = store.reader().with_panic_threshold(config.health_panic_threshold);
    let own = crate::raft::Candidate { id: node_id, expect: config.bootstrap_expect, cluster: None };
    let (candidates, candidates_rx) = watch::channel(vec![own.clone()]);
    // Its own name is known before gossip tells of it.
    let own_name = dispatch::RaftServer { name: config.node_name.clone(), addr: None };
    let (addresses, addresses_rx) = watch::channel(Arc::new(BTreeMap::from([(node_id, own_name)])));
    let transport = Arc::new(RaftOutbox { rpc: rpc.clone(), addresses: addresses_rx });
    let settings = parts::raft_settings(config, node_id, data_dir);
    let raft = Raft::start(settings, store, transport, candidates_rx, tasks).await.map_err(|error| error.to_string())?;
    let cluster = raft.cluster();
    Ok(Catalog { raft, reader, feeds: LanFeeds { own, cluster, candidates, addresses } })
}
