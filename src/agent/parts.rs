//! The settings of each part, from the configuration: one function a part.

use super::data_dir::DataDir;
use super::directory::own_tags;
use super::listeners::MovableListener;
use super::trust::{Tls, https};
use crate::bridge::{Admission, BridgeSettings};
use crate::config::{Config, HttpAddress, StaleByDefault, UnixSockets};
use crate::defaults;
use crate::gossip::{Gossip, GossipSettings, Pool};
use crate::http::{Handshakes, HttpListener, HttpSettings};
use crate::listener::cannot_listen;
use crate::local::{LocalSettings, ScriptChecks};
use crate::model::ids::{ClusterId, NodeId};
use crate::model::level;
use crate::model::member::tag;
use crate::model::operation::Family;
use crate::proxy::Proxies;
use crate::raft::RaftSettings;
use crate::router::{RemoteStale, RouterSettings};
use crate::tls::{BridgeIdentity, OutgoingTls};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Debug, Default)]
pub(super) struct BoundHttp {
    pub listeners: Vec<HttpListener>,
    pub http: Vec<MovableListener>,
    pub https: Vec<MovableListener>,
    /// Files of the Unix ones.
    pub sockets: Vec<PathBuf>,
    /// The handshakes of all HTTPS listeners.
    pub tls: Option<Handshakes>,
}

impl BoundHttp {
    async fn open(&mut self, addr: SocketAddr, name: &str, tls: Option<Handshakes>) -> Result<MovableListener, String> {
        let socket = listen(addr, name).await?;
        let (door, served) = MovableListener::new(addr, socket, tls).map_err(|error| format!("{name}: {error}"))?;
        self.listeners.push(served);
        Ok(door)
    }
}

pub(super) async fn http_listeners(config: &Config, tls: &Tls) -> Result<BoundHttp, String> {
    let mut bound = BoundHttp::default();
    for address in &config.http {
        match address {
            HttpAddress::Tcp(addr) => {
                let door = bound.open(*addr, "HTTP", None).await?;
                bound.http.push(door);
            }
            HttpAddress::Unix(path) => {
                bound.listeners.push(HttpListener::Unix(unix_listener(path, &config.unix_sockets)?));
                bound.sockets.push(path.clone());
            }
        }
    }
    // Without a certificate none is configured.
    if !config.https.is_empty() {
        bound.tls = Some(Arc::new(ArcSwap::new(https(config, tls.material.as_ref())?)));
    }
    for addr in &config.https {
        let door = bound.open(*addr, "HTTPS", bound.tls.clone()).await?;
        bound.https.push(door);
    }
    Ok(bound)
}

/// Binds a Unix socket, with owner and mode as in `kept`; a socket without a listener is replaced.
fn unix_listener(path: &Path, kept: &UnixSockets) -> Result<tokio::net::UnixListener, String> {
    let failed = |error: io::Error| format!("cannot listen on unix://{}: {error}", path.display());
    let bound = match tokio::net::UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(format!("cannot listen on unix://{}: another process is listening there", path.display()));
            }
            std::fs::remove_file(path).map_err(failed)?;
            tokio::net::UnixListener::bind(path).map_err(failed)
        }
        other => other.map_err(failed),
    }?;
    let kept_as = |error: io::Error| {
        let UnixSockets { user, group, mode } = kept;
        let wanted = format!("user {user:?}, group {group:?}, mode {mode:?}");
        format!("unix_sockets cannot be applied to {} ({wanted}): {error}", path.display())
    };
    // The owner first: a later change of it would take rights away.
    if kept.user.is_some() || kept.group.is_some() {
        std::os::unix::fs::chown(path, kept.user, kept.group).map_err(kept_as)?;
    }
    if let Some(mode) = kept.mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(kept_as)?;
    }
    Ok(bound)
}

/// Binds a TCP listener; the error names the address.
pub(super) async fn listen(addr: SocketAddr, what: &str) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|error| cannot_listen(addr, what, &error))
}

pub(super) fn raft_settings(config: &Config, node_id: NodeId, data_dir: Option<&DataDir>) -> RaftSettings {
    let scale = config.raft_multiplier.max(1);
    RaftSettings {
        node_id,
        data_dir: data_dir.map(|dir| dir.path().to_owned()),
        address: Some(SocketAddr::new(config.advertise, config.rpc.port())),
        bootstrap_expect: config.bootstrap_expect,
        heartbeat: defaults::RAFT_HEARTBEAT * scale,
        election: (defaults::RAFT_ELECTION_MIN * scale, defaults::RAFT_ELECTION_MAX * scale),
        snapshot_entries: config.raft_snapshot_entries,
        trailing_entries: config.raft_trailing_logs,
    }
}

pub(super) fn bridge_settings(
    config: &Config,
    rpc_port: u16,
    identity: BridgeIdentity,
    cluster: watch::Receiver<Option<ClusterId>>,
    admission: watch::Receiver<Arc<Admission>>,
) -> BridgeSettings {
    BridgeSettings {
        node_name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        domain: config.domain.clone(),
        // The bound RPC port, which is the servers' number for both.
        bind: SocketAddr::new(config.bridge.ip(), rpc_port),
        require_ca: super::trust::requires_ca(config, &identity),
        identity,
        cache_bytes: config.bridge_cache_bytes,
        cluster,
        admission,
    }
}

pub(super) fn lan_settings(
    config: &Config,
    node_id: NodeId,
    rpc_port: u16,
    wan: Option<&Gossip>,
    data_dir: Option<&DataDir>,
) -> GossipSettings {
    let mut tags = own_tags(config, node_id, rpc_port);
    tags.insert(tag::OBSERVE.to_owned(), u8::from(config.health_observe).to_string());
    if config.server {
        tags.insert(tag::LEVEL.to_owned(), level::OWN.to_string());
    }
    if let Some(wan) = wan {
        tags.insert(tag::WAN_JOIN_PORT.to_owned(), wan.local_addr().port().to_string());
        if wan.local_addr().ip() != config.advertise {
            tags.insert(tag::WAN_JOIN_ADDR.to_owned(), wan.local_addr().ip().to_string());
        }
    }
    pool_settings(config, Pool::Lan, node_id, config.serf_lan, tags, data_dir)
}

pub(super) fn wan_settings(
    config: &Config,
    node_id: NodeId,
    bind: SocketAddr,
    rpc_port: u16,
    tls: &Tls,
    data_dir: Option<&DataDir>,
) -> GossipSettings {
    let mut tags = own_tags(config, node_id, rpc_port);
    if let Some(pin) = tls.bridge.as_ref().and_then(BridgeIdentity::fingerprint) {
        tags.insert(tag::BRIDGE_PIN.to_owned(), pin);
    }
    pool_settings(config, Pool::Wan, node_id, bind, tags, data_dir)
}

fn pool_settings(
    config: &Config,
    pool: Pool,
    node_id: NodeId,
    bind: SocketAddr,
    tags: BTreeMap<String, String>,
    data_dir: Option<&DataDir>,
) -> GossipSettings {
    let is_lan = pool == Pool::Lan;
    let join = if is_lan { &config.join_lan } else { &config.join_wan };
    let allowed_cidrs = if is_lan { &config.serf_lan_allowed_cidrs } else { &config.serf_wan_allowed_cidrs };
    let snapshot = if is_lan { "local.snapshot" } else { "remote.snapshot" };
    GossipSettings {
        pool,
        name: if is_lan { config.node_name.clone() } else { format!("{}.{}", config.node_name, config.datacenter) },
        node_id,
        datacenter: config.datacenter.clone(),
        bind,
        advertise: Some(SocketAddr::new(if is_lan { config.advertise } else { config.advertise_wan }, 0)),
        tags,
        encrypt: config.encrypt.clone(),
        snapshot: data_dir.map(|dir| dir.path().join("serf").join(snapshot)),
        retry_join: join.retry.clone(),
        retry_interval: join.interval,
        retry_max: join.max,
        rejoin_after_leave: config.rejoin_after_leave,
        fast: config.fast_gossip,
        reconnect_timeout: if is_lan { config.reconnect_timeout } else { config.reconnect_timeout_wan },
        allowed_cidrs: allowed_cidrs.clone(),
    }
}

pub(super) fn router_settings(config: &Config, node_id: NodeId) -> RouterSettings {
    RouterSettings {
        node_name: config.node_name.clone(),
        node_id,
        datacenter: config.datacenter.clone(),
        accept_operator_writes: config.bridge_accept_operator_writes,
        rpc_hold: config.rpc_hold_timeout,
        default_query_time: config.default_query_time,
        max_query_time: config.max_query_time,
        discovery_max_stale: config.discovery_max_stale,
        session_ttl_min: config.session_ttl_min,
        use_cache: config.use_cache,
        translate_wan_addrs: config.translate_wan_addrs,
        remote_stale: remote_stale(&config.bridge_stale_by_default),
        remote_max_stale: config.bridge_max_stale.unwrap_or_default(),
        autopilot: config.autopilot.clone(),
    }
}

fn remote_stale(configured: &StaleByDefault) -> RemoteStale {
    match configured {
        StaleByDefault::Never => RemoteStale::None,
        StaleByDefault::Always => RemoteStale::All,
        StaleByDefault::Endpoints(_) => {
            let covered = Family::ALL.into_iter().filter(|(name, _)| configured.covers(name));
            RemoteStale::Only(covered.map(|(_, family)| family).collect())
        }
    }
}

pub(super) fn local_settings(config: &Config, node_id: NodeId, tls: &Tls) -> LocalSettings {
    LocalSettings {
        node_name: config.node_name.clone(),
        node_id,
        datacenter: config.datacenter.clone(),
        advertise: config.advertise.to_string(),
        tagged_addresses: config.tagged_addresses.clone(),
        node_meta: config.node_meta.clone(),
        data_dir: config.data_dir.clone(),
        check_update_interval: config.check_update_interval,
        check_output_max_size: config.check_output_max_size,
        discard_check_output: config.discard_check_output,
        check_tls: check_tls(config, tls),
        check_proxies: Proxies::of_environment(),
        script_checks: ScriptChecks { api: config.enable_script_checks, files: config.enable_local_script_checks },
    }
}

fn check_tls(config: &Config, tls: &Tls) -> OutgoingTls {
    match tls.material.clone().filter(|_| config.enable_agent_tls_for_checks) {
        // As Consul does: with the agent's certificates, the name is the agent's own.
        Some(material) => OutgoingTls::of_agent(material, config.node_name.clone()),
        None => OutgoingTls::of_system(),
    }
}

pub(super) fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        node_name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        always_pretty: config.dev,
        block_endpoints: config.block_endpoints.clone(),
        response_headers: config.response_headers.clone(),
        allow_write_from: config.allow_write_http_from.clone(),
        max_conns_per_client: Arc::new(AtomicUsize::new(config.http_max_conns_per_client)),
        kv_max_value: config.kv_max_value,
        txn_max_request: config.txn_max_request,
        translate_wan_addrs: config.translate_wan_addrs,
        ui_path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_unix_socket_is_what_its_settings_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let own = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap());
        let kept = UnixSockets { user: Some(own), group: None, mode: Some(0o740) };
        for _again in 0..2 {
            let socket = unix_listener(&path, &kept).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o740);
            drop(socket);
        }
        let nowhere = folder.path().join("none").join("http.sock");
        assert!(unix_listener(&nowhere, &kept).unwrap_err().starts_with("cannot listen on unix://"));
    }
}
