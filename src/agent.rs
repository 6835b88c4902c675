//! An agent: its parts, put together.
//!
//! [`Agent::bind`] opens every socket and the data directory (`start`), or fails with one line.
//! [`Agent::leave`] and [`Agent::shutdown`] end the agent, ordered and bounded in time.

mod certificates;
mod control;
mod data_dir;
mod directory;
mod dispatch;
mod listeners;
mod federation;
mod kept_removals;
mod parts;
mod start;
mod sync_causes;
mod trust;
mod watches;
mod address_monitor;

pub mod demo;
pub mod run;

use crate::bridge::Bridge;
use crate::config::Config;
use crate::defaults;
use crate::gossip::Gossip;
use crate::local::Local;
use crate::model::ids::NodeId;
use crate::model::operation::{OperatorWrite, PeerRef, Write};
use crate::model::principal::Principal;
use crate::model::request::WriteRequest;
use crate::raft::Raft;
use crate::router::Router;
use crate::shutdown::Shutdown;
use data_dir::{DataDir, Identity};
use futures_util::future::OptionFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

/// Reads the configuration anew from the same files and flags.
pub type Reload = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

#[derive(Debug)]
pub struct Agent {
    node_id: NodeId,
    node_name: String,
    http: Vec<SocketAddr>,
    sockets: Vec<PathBuf>,
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

/// The phases in which tasks end: the edges first, their base last.
#[derive(Debug, Default)]
struct Tasks {
    edges: Shutdown,
    /// The tasks that keep this node in the catalog: they must not bring back a leaving node.
    registrations: Shutdown,
    duties: Shutdown,
    pools: Shutdown,
    core: Shutdown,
}

impl Agent {
    /// Opens everything and starts. The error is one line for the user.
    pub async fn bind(config: Config, reload: Option<Reload>) -> Result<Agent, String> {
        let identity = Identity::open(&config)?;
        Agent::start(identity, config, reload).await
    }

    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    /// The TCP addresses of the HTTP API, in the order configured.
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Consensus, on servers.
    pub fn raft(&self) -> Option<&Raft> {
        self.raft.as_ref()
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The registrations of this agent.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// Reads the configuration anew; the error keeps the old one.
    pub async fn reload(&self) -> Result<(), String> {
        crate::http::AgentControl::reload(&*self.control).await
    }

    /// Resolves when a user asks this agent over HTTP to leave.
    pub async fn leave_requested(&self) {
        self.control.leave_requested().await;
    }

    /// Answers that user: the leave is done.
    pub fn leave_done(&self) {
        self.control.leave_done();
    }

    /// Resolves with the reason when the agent cannot go on.
    pub async fn fatal(&self) -> String {
        let (raft, wan) = (self.raft.as_ref().map(Raft::fatal), self.wan.as_ref().map(Gossip::fatal));
        tokio::select! {
            Some(cause) = OptionFuture::from(raft) => cause,
            cause = self.lan.fatal() => cause,
            Some(cause) = OptionFuture::from(wan) => cause,
        }
    }

    /// Leaves both pools and a Raft configuration of several, within [`defaults::LEAVE_LIMIT`]; [`Agent::shutdown`] follows.
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
                // Other agents may still prefer this server.
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
        let write = Write::Operator(OperatorWrite::RemovePeer(PeerRef::Id(self.node_id.to_string())));
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

    /// Ends everything in order: leadership, edges, duties, links, pools. Bounded in time; tasks that do not end are logged.
    pub async fn shutdown(self) {
        let grace = defaults::SHUTDOWN_GRACE;
        if let Some(raft) = &self.raft {
            // First, so that the other servers can serve at once.
            raft.shutdown(grace).await;
        }
        end("edges", &self.tasks.edges).await;
        for socket in &self.sockets {
            // A socket that stays is replaced at the next start.
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

/// Publishes `value` where it differs; whether it does.
fn publish<T: PartialEq>(sender: &watch::Sender<T>, value: T) -> bool {
    sender.send_if_modified(|current| {
        let differs = *current != value;
        *current = value;
        differs
    })
}

async fn end(phase: &'static str, tasks: &Shutdown) {
    if let Err(alive) = tasks.drain(defaults::SHUTDOWN_GRACE).await {
        warn!(phase, ?alive, "tasks did not end in time");
    }
}
