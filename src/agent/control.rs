//! The agent as the HTTP API needs it: its identity and statistics, reload and leave.

use super::certificates::Certificates;
use super::federation::Rules;
use super::{Reload, publish};
use crate::bridge::Bridge;
use crate::config::Config;
use crate::defaults;
use crate::gossip::Gossip;
use crate::http::AgentControl;
use crate::local::Local;
use crate::model::ids::NodeId;
use crate::model::request::BoxFuture;
use crate::model::watch::ConfiguredWatch;
use crate::raft::Raft;
use crate::router::Router;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, watch};

/// The parts of the agent behind the answers.
pub(super) struct Reach {
    pub(super) router: Router,
    pub(super) local: Local,
    pub(super) lan: Gossip,
    pub(super) wan: Option<Gossip>,
    pub(super) raft: Option<Raft>,
    pub(super) bridge: Option<Bridge>,
    /// The settings about other datacenters that a reload changes.
    pub(super) rules: watch::Sender<Rules>,
    pub(super) watches: watch::Sender<Vec<ConfiguredWatch>>,
    pub(super) reload: Option<Reload>,
    pub(super) max_conns_per_client: Arc<AtomicUsize>,
    pub(super) certificates: Option<Arc<Certificates>>,
}

/// The agent, as the HTTP API sees it.
pub(super) struct Control {
    summary: Value,
    config: Arc<watch::Sender<Config>>,
    reach: Reach,
    leave_asked: Notify,
    left: watch::Sender<bool>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl Control {
    pub(super) fn new(config: &Config, node_id: NodeId, reach: Reach) -> Control {
        let summary = json!({
            "Datacenter": config.datacenter,
            "PrimaryDatacenter": config.primary_datacenter,
            "NodeName": config.node_name,
            "NodeID": node_id.to_string(),
            "Revision": concat!("kontor-", env!("CARGO_PKG_VERSION")),
            "Server": config.server,
            "Version": defaults::CONSUL_VERSION,
            "BuildDate": defaults::CONSUL_BUILD_DATE,
        });
        Control {
            summary,
            config: Arc::new(watch::Sender::new(Config { node_id: Some(node_id), ..config.clone() })),
            reach,
            leave_asked: Notify::new(),
            left: watch::Sender::new(false),
        }
    }

    pub(super) fn running(&self) -> Arc<watch::Sender<Config>> {
        Arc::clone(&self.config)
    }

    pub(super) async fn leave_requested(&self) {
        self.leave_asked.notified().await;
    }

    /// Answers that user: the agent has left.
    pub(super) fn leave_done(&self) {
        self.left.send_replace(true);
    }

    fn consul_section(&self) -> BTreeMap<String, String> {
        let Reach { raft, router, lan, .. } = &self.reach;
        let config = self.config.borrow();
        let mut all = section([("server", config.server.to_string()), ("acl", "disabled".to_owned())]);
        all.extend(match raft {
            Some(raft) => section([
                ("bootstrap", (config.bootstrap_expect == 1).to_string()),
                ("leader", raft.leadership().borrow().is_self.to_string()),
                ("leader_addr", router.leader_addr().map_or_else(String::new, |addr| addr.to_string())),
                ("known_datacenters", router.datacenters().len().to_string()),
            ]),
            None => {
                let servers = lan.roster().alive().filter(|member| member.is_server()).count();
                section([("known_servers", servers.to_string())])
            }
        });
        all
    }

    fn agent_section(&self) -> BTreeMap<String, String> {
        let registered = self.reach.local.registered();
        let count = |kind: &str| registered.checks.values().filter(|check| check.kind == kind).count();
        let (scripts, ttls) = (count("script"), count("ttl"));
        section([
            ("check_monitors", scripts.to_string()),
            ("check_ttls", ttls.to_string()),
            ("checks", registered.checks.len().to_string()),
            ("services", registered.services.len().to_string()),
        ])
    }
}

impl AgentControl for Control {
    fn config_summary(&self) -> Value {
        self.summary.clone()
    }

    fn debug_config(&self) -> Value {
        self.config.borrow().described()
    }

    fn node_meta(&self) -> BTreeMap<String, String> {
        self.config.borrow().node_meta.clone()
    }

    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut stats = BTreeMap::from([
            ("agent".to_owned(), self.agent_section()),
            ("build".to_owned(), build_section()),
            ("consul".to_owned(), self.consul_section()),
            ("runtime".to_owned(), runtime_section()),
            ("serf_lan".to_owned(), self.reach.lan.stats()),
        ]);
        if let Some(wan) = &self.reach.wan {
            stats.insert("serf_wan".to_owned(), wan.stats());
        }
        if let Some(bridge) = &self.reach.bridge {
            stats.insert("bridge".to_owned(), bridge_section(bridge));
        }
        if let Some(raft) = &self.reach.raft {
            stats.insert("raft".to_owned(), raft_section(raft));
        }
        stats
    }

    fn counters(&self) -> String {
        crate::telemetry::counters()
    }

    fn reload(&self) -> BoxFuture<Result<(), String>> {
        let (read, local, certificates) = (self.reach.reload.clone(), self.reach.local.clone(), self.reach.certificates.clone());
        let running = Arc::clone(&self.config);
        let (rules, watches) = (self.reach.rules.clone(), self.reach.watches.clone());
        let max_conns_per_client = Arc::clone(&self.reach.max_conns_per_client);
        Box::pin(async move {
            let read = read.ok_or_else(|| "this agent was started without configuration files to read anew".to_owned())?;
            let before = running.borrow().clone();
            let files_before = before.tls.clone();
            let read_all = move || {
                let wanted = read()?;
                // Only a start begins to show a certificate, or to trust by one.
                let certificates = certificates.filter(|_| files_before.has_kinds_of(&wanted.tls));
                let renewed = certificates.as_ref().map(|certificates| certificates.read(&wanted.tls)).transpose()?.flatten();
                Ok::<_, String>((wanted, certificates.zip(renewed)))
            };
            let (wanted, renewed) = tokio::task::spawn_blocking(read_all).await.map_err(|error| error.to_string())??;
            local
                .reload(wanted.services.clone(), wanted.checks.clone(), wanted.node_meta.clone())
                .await
                .map_err(|fault| fault.message)?;
            if let Some((certificates, renewed)) = renewed {
                certificates.show(renewed)?;
            }
            crate::telemetry::set_level(&wanted.log_level)?;
            local.discard_check_output(wanted.discard_check_output);
            max_conns_per_client.store(wanted.http_max_conns_per_client, Ordering::Relaxed);
            publish(&rules, Rules::of(&wanted));
            publish(&watches, wanted.watches.clone());
            let pending = before.needs_restart(&wanted);
            if !pending.is_empty() {
                tracing::warn!(settings = %pending.join(", "), "these settings have changed, and take effect at the next start");
            }
            running.send_modify(|running| running.take_reloadable(wanted));
            tracing::info!("configuration reloaded");
            Ok(())
        })
    }

    fn leave(&self) -> BoxFuture<()> {
        let mut left = self.left.subscribe();
        self.leave_asked.notify_one();
        Box::pin(async move {
            // An error means that the agent is gone, as wanted.
            let _ = left.wait_for(|left| *left).await;
        })
    }
}

fn section<const N: usize>(entries: [(&str, String); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn bridge_section(bridge: &Bridge) -> BTreeMap<String, String> {
    section([
        ("address", bridge.local_addr().to_string()),
        // The pin of this server for `federation {}` elsewhere.
        ("fingerprint", bridge.fingerprint().map(|hex| format!("sha256:{hex}")).unwrap_or_default()),
    ])
}

fn build_section() -> BTreeMap<String, String> {
    section([
        ("prerelease", String::new()),
        ("revision", concat!("kontor-", env!("CARGO_PKG_VERSION")).to_owned()),
        ("version", defaults::CONSUL_VERSION.to_owned()),
    ])
}

fn runtime_section() -> BTreeMap<String, String> {
    let metrics = tokio::runtime::Handle::try_current().map(|handle| handle.metrics());
    let tasks = metrics.as_ref().map_or(0, |metrics| metrics.num_alive_tasks());
    let workers = metrics.as_ref().map_or(0, |metrics| metrics.num_workers());
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
    section([
        ("arch", std::env::consts::ARCH.to_owned()),
        ("cpu_count", cpus.to_string()),
        // Consul's name; here the number of tasks.
        ("goroutines", tasks.to_string()),
        ("max_procs", workers.to_string()),
        ("os", std::env::consts::OS.to_owned()),
        ("version", concat!("rust-", env!("CARGO_PKG_RUST_VERSION")).to_owned()),
    ])
}

fn raft_section(raft: &Raft) -> BTreeMap<String, String> {
    let stats = raft.stats();
    let last_contact = match raft.staleness() {
        _ if raft.leadership().borrow().is_self => "0".to_owned(),
        None => "never".to_owned(),
        Some(age) => crate::model::duration::format(std::time::Duration::from_millis(age.as_millis() as u64)),
    };
    let peers = raft.peers();
    let configuration: Vec<String> = peers
        .iter()
        .map(|peer| format!("{{Suffrage:{} ID:{}}}", if peer.voter { "Voter" } else { "Nonvoter" }, peer.id))
        .collect();
    section([
        ("applied_index", stats.applied_index.to_string()),
        ("commit_index", stats.commit_index.to_string()),
        ("fsm_pending", stats.pending.to_string()),
        ("last_contact", last_contact),
        ("last_log_index", stats.last_log_index.to_string()),
        ("last_log_term", stats.last_log_term.to_string()),
        ("last_snapshot_index", stats.last_snapshot_index.to_string()),
        ("last_snapshot_term", stats.last_snapshot_term.to_string()),
        ("latest_configuration", format!("[{}]", configuration.join(" "))),
        ("latest_configuration_index", stats.configuration_index.to_string()),
        ("num_peers", peers.iter().filter(|peer| peer.voter).count().saturating_sub(1).to_string()),
        ("protocol_version", "3".to_owned()),
        ("protocol_version_max", "3".to_owned()),
        ("protocol_version_min", "3".to_owned()),
        ("snapshot_version_max", "1".to_owned()),
        ("snapshot_version_min", "1".to_owned()),
        ("state", stats.state),
        ("term", stats.term.to_string()),
    ])
}
