//! Defaults and bounds of settings.

use std::time::Duration;

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
/// The port of a static entry that names none: `ports.server`.
pub const PORT_BRIDGE: u16 = 8300;
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
/// `performance.raft_multiplier`: the fast failover that Consul recommends for production, while its default is 5.
pub const RAFT_MULTIPLIER: u32 = 1;
/// The slowest `performance.raft_multiplier`. Consul's number.
pub const RAFT_MULTIPLIER_MAX: u32 = 10;
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
/// `session_ttl_min`. Consul's number.
pub const SESSION_TTL_MIN: Duration = Duration::from_secs(10);
/// The longest TTL of a session. Consul's number.
pub const SESSION_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest TTL of a session whose TTL is exact.
pub const SESSION_TTL_EXACT_MIN: Duration = Duration::from_secs(1);
/// `limits.http_max_conns_per_client`. Consul's number.
pub const HTTP_MAX_CONNS_PER_CLIENT: usize = 200;
/// Bytes of `node_name`, which every packet about the node carries.
pub const NODE_NAME_BYTES: usize = 255;
/// Pairs in `node_meta`. Consul's number.
pub const NODE_META_PAIRS: usize = 64;
/// Bytes of a key in `node_meta`. Consul's number.
pub const NODE_META_KEY_BYTES: usize = 128;
/// Bytes of a value in `node_meta`. Consul's number.
pub const NODE_META_VALUE_BYTES: usize = 512;
/// The variable of the environment that holds settings. The name is that of Consul's image.
pub const CONFIG_VARIABLE: &str = "CONSUL_LOCAL_CONFIG";
/// Open files beside clients' connections: listeners, links, the log. With Consul's 200 it makes 256, the lowest system limit.
pub const OPEN_FILES_OWN: u64 = 56;
/// `log_rotate_duration`. Consul's number.
pub const LOG_ROTATE_DURATION: Duration = Duration::from_secs(24 * 3600);
/// The file of logs in a folder that `log_file` names. Consul's name.
pub const LOG_FILE_NAME: &str = "consul.log";
/// Bytes of one configuration file: a larger one is a mistake, not a configuration.
pub const CONFIG_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Blocks and lists in each other in HCL. Consul's deepest has six; each costs stack.
pub const HCL_DEPTH: usize = 64;
