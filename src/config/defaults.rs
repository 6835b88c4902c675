//! Every number of the program, with its unit and the reason for it. One section a room.

use std::time::Duration;

/// The release of Consul whose API is offered; tools choose their behaviour by it.
pub const CONSUL_VERSION: &str = "1.9.0";

// === Requests ===

/// How long a request is held while there is no leader. Consul's `rpc_hold_timeout`.
pub const RPC_HOLD: Duration = Duration::from_secs(7);
/// The wait of a blocking query that names none. Consul's `default_query_time`.
pub const DEFAULT_QUERY_TIME: Duration = Duration::from_secs(300);
/// The longest wait of a blocking query. Consul's `max_query_time`.
pub const MAX_QUERY_TIME: Duration = Duration::from_secs(600);
/// Random extra wait of a blocking query: up to its wait divided by this. Consul's number.
pub const WAIT_JITTER_DIVISOR: u32 = 16;

// === Gossip ===

// === Raft ===

// === Store ===

// === RPC ===

// === Bridge ===

// === Router ===

// === Local ===

// === Leader ===

// === HTTP ===

// === Configuration ===

/// `datacenter`. Consul's word.
pub const DATACENTER: &str = "dc1";
/// `domain`. Consul's word, without the closing point.
pub const DOMAIN: &str = "consul";
/// `ports.dns`. Consul's number.
pub const PORT_DNS: i64 = 8600;
/// `ports.http`. Consul's number.
pub const PORT_HTTP: i64 = 8500;
/// `ports.https`: off until asked for, as Consul's.
pub const PORT_HTTPS: i64 = -1;
/// `ports.server`: RPC over TCP, the bridge over UDP. Consul's number.
pub const PORT_SERVER: i64 = 8300;
/// `ports.serf_lan`. Consul's number.
pub const PORT_SERF_LAN: i64 = 8301;
/// `ports.serf_wan`. Consul's number.
pub const PORT_SERF_WAN: i64 = 8302;
/// `retry_interval` and `retry_interval_wan`. Consul's number.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// `reconnect_timeout` and `reconnect_timeout_wan`: when a failed member is forgotten. Consul's number.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(72 * 3600);
/// `performance.leave_drain_time`. Consul's number.
pub const LEAVE_DRAIN_TIME: Duration = Duration::from_secs(5);
/// `performance.raft_multiplier`: 1, the fast failover that Consul recommends for production and
/// does not default to.
pub const RAFT_MULTIPLIER: u32 = 1;
/// The slowest `performance.raft_multiplier`. Consul's number.
pub const RAFT_MULTIPLIER_MAX: u32 = 10;
/// `raft_snapshot_threshold`, in log entries: enough that a snapshot is worth its bytes.
pub const RAFT_SNAPSHOT_ENTRIES: u64 = 20_000;
/// `raft_trailing_logs`, in log entries, and its least value: a purge must never reach an apply
/// that is still queued.
pub const RAFT_TRAILING_LOGS: u64 = 20_000;
/// `autopilot.last_contact_threshold`. Consul's number.
pub const AUTOPILOT_LAST_CONTACT: Duration = Duration::from_millis(200);
/// `autopilot.max_trailing_logs`, in log entries. Consul's number.
pub const AUTOPILOT_MAX_TRAILING_LOGS: u64 = 250;
/// `autopilot.server_stabilization_time`. Consul's number.
pub const AUTOPILOT_STABILIZATION: Duration = Duration::from_secs(10);
/// `check_update_interval`: how long a change of output alone may wait. Consul's number.
pub const CHECK_UPDATE_INTERVAL: Duration = Duration::from_secs(300);
/// `check_output_max_size`, in bytes. Consul's number.
pub const CHECK_OUTPUT_MAX_SIZE: usize = 4096;
/// `limits.http_max_conns_per_client`. Consul's number.
pub const HTTP_MAX_CONNS_PER_CLIENT: usize = 200;
/// Pairs in `node_meta`. Consul's number.
pub const NODE_META_PAIRS: usize = 64;
/// Bytes of a key in `node_meta`. Consul's number.
pub const NODE_META_KEY_BYTES: usize = 128;
/// Bytes of a value in `node_meta`. Consul's number.
pub const NODE_META_VALUE_BYTES: usize = 512;
/// Bytes of one configuration file: a larger one is a mistake, not a configuration.
pub const CONFIG_FILE_BYTES: u64 = 16 * 1024 * 1024;

// === CLI ===

/// How long a command waits for the agent to accept its connection.
pub const CLI_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a command waits for an answer: longer than the hold for a leader and a leave together.
pub const CLI_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that a command reads: far above any list of a catalog this program is for.
pub const CLI_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// `tls ca create -days`: five years. Consul's number.
pub const CA_DAYS: u32 = 1825;
/// `tls cert create -days`. Consul's number.
pub const CERT_DAYS: u32 = 365;
/// Numbers tried for `dc1-server-consul-<n>.pem`: more certificates of one kind in one folder are
/// a mistake.
pub const CERT_FILE_NUMBERS: u32 = 10_000;
/// HTTP port of the first datacenter of `demo`, Consul's own, and of the second.
pub const DEMO_HTTP_PORTS: [u16; 2] = [8500, 9500];
