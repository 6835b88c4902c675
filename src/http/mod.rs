//! The HTTP API on 8500: `listen` accepts connections, `dispatch` takes each request through `table` to its endpoint, `ask`
//! hands it to the router, `respond` and `error` render the answer.

mod listen;
mod connection_limits;
mod dispatch;
mod inside;
mod log;
mod table;
mod absent;
mod parameters;
mod options;
mod body;
mod ask;
mod respond;
mod error;
mod federation;
mod agent;
mod catalog;
mod health;
mod kv;
mod coordinate;
mod operator;
mod session;
mod txn;

use self::dispatch::Dispatch;
pub use self::inside::Inside;
use crate::gossip::Gossip;
use crate::listener::Listener;
use crate::local::Local;
use crate::model::request::BoxFuture;
use crate::router::Router;
use crate::shutdown::Shutdown;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The agent itself, as far as the API needs it.
pub trait AgentControl: Send + Sync + 'static {
    /// `Config` of `agent/self`: Datacenter, NodeName, NodeID, Revision, Server, Version, BuildDate.
    fn config_summary(&self) -> serde_json::Value;
    /// `DebugConfig` of `agent/self`, secrets hidden.
    fn debug_config(&self) -> serde_json::Value;
    /// `Meta` of `agent/self`: `node_meta` as configured now.
    fn node_meta(&self) -> BTreeMap<String, String>;
    /// `Stats` of `agent/self`.
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>>;
    /// The counters since the start of the process, in Prometheus's text form.
    fn counters(&self) -> String;
    /// Reads the configuration anew; the error keeps the old one.
    fn reload(&self) -> BoxFuture<Result<(), String>>;
    /// Leaves gracefully; the process then shuts down.
    fn leave(&self) -> BoxFuture<()>;
}

/// The settings of the API.
#[derive(Clone, Debug, Default)]
pub struct HttpSettings {
    /// This agent's node name, for `near=_agent` and defaults.
    pub node_name: String,
    pub datacenter: String,
    /// True if answers are always indented (dev mode).
    pub always_pretty: bool,
    /// Prefixes of paths answered with 403 (`http_config.block_endpoints`).
    pub block_endpoints: Vec<String>,
    /// Headers added to every answer (`http_config.response_headers`).
    pub response_headers: BTreeMap<String, String>,
    /// Networks that may write (`allow_write_http_from`); empty for all.
    pub allow_write_from: Vec<ipnet::IpNet>,
    /// Connections of one address at a time (`limits.http_max_conns_per_client`; 0 for no bound); may change.
    pub max_conns_per_client: Arc<AtomicUsize>,
    /// Bytes of the largest value of a key (`limits.kv_max_value_size`).
    pub kv_max_value: usize,
    /// Bytes of the largest transaction (`limits.txn_max_req_len`), where a value may not be larger.
    pub txn_max_request: usize,
    /// True if `X-Consul-Translate-Addresses` is sent.
    pub translate_wan_addrs: bool,
    /// The path of the web UI, when on (`ui_config.content_path`).
    pub ui_path: Option<String>,
}

/// Everything the API works with.
#[derive(Clone)]
pub struct HttpParts {
    pub settings: Arc<HttpSettings>,
    /// For everything of the catalog.
    pub router: Router,
    /// For `/v1/agent`.
    pub local: Local,
    /// For `/v1/agent/members`, join and force-leave.
    pub lan: Gossip,
    /// The same, with `?wan`; on servers only.
    pub wan: Option<Gossip>,
    /// For self, reload, leave.
    pub control: Arc<dyn AgentControl>,
}

impl std::fmt::Debug for HttpParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpParts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The configuration of HTTPS handshakes. Each handshake reads it anew, so certificates change under open listeners.
pub type Handshakes = Arc<ArcSwap<rustls::ServerConfig>>;

/// A bound listener of the API.
#[derive(Debug)]
pub enum HttpListener {
    Tcp(Listener),
    Tls(Listener, Handshakes),
    /// A Unix socket (`unix://`).
    Unix(tokio::net::UnixListener),
}

/// Serves on a further listener.
pub type Opener = Arc<dyn Fn(HttpListener) + Send + Sync>;

/// The API while it is served.
#[allow(missing_debug_implementations, reason = "an opener is a function")]
pub struct Served {
    /// Serves on further listeners.
    pub open: Opener,
    /// The same API without any listener.
    pub inside: Inside,
}

/// Serves on all listeners until `shutdown`.
pub fn serve(listeners: Vec<HttpListener>, parts: HttpParts, shutdown: &Shutdown) -> Served {
    let settings = Arc::clone(&parts.settings);
    let max_per_client = Arc::clone(&settings.max_conns_per_client);
    let api = Arc::new(parts);
    let dispatch = Arc::new(Dispatch::new(settings, Box::new(move |endpoint, call| endpoint.run(&api, call))));
    let open = listen::serve_with(listeners, max_per_client, shutdown, dispatch::service(Arc::clone(&dispatch)));
    Served { open, inside: Inside { dispatch } }
}
