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

// === Agent ===

/// Time between looks for servers of this datacenter that are missing in the WAN pool. Consul's number.
pub const FLOOD_JOIN_INTERVAL: Duration = Duration::from_secs(60);
/// The same while some are missing.
pub const FLOOD_JOIN_RETRY: Duration = Duration::from_secs(1);
/// How long a graceful leave may take before the process goes anyway. Consul's number.
pub const LEAVE_LIMIT: Duration = Duration::from_secs(15);
/// How long a leaving server waits to be taken out of the Raft configuration. Consul's number.
pub const RAFT_REMOVAL_WAIT: Duration = Duration::from_secs(5);
/// How long each phase of a shutdown may take.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

// === Gossip ===

// === Raft ===

/// Time between heartbeats at `raft_multiplier` 1.
pub const RAFT_HEARTBEAT: Duration = Duration::from_millis(100);
/// Least election timeout at `raft_multiplier` 1.
pub const RAFT_ELECTION_MIN: Duration = Duration::from_millis(400);
/// Greatest election timeout at `raft_multiplier` 1; it is the lease too. A killed leader is
/// followed within the lease and one timeout.
pub const RAFT_ELECTION_MAX: Duration = Duration::from_millis(800);

// === Store ===

/// Bytes of a rendered list of one service that are kept until the service changes; larger lists
/// are rendered for each read, where sending them costs more than rendering.
pub const SERVICE_BODY_CACHE_BYTES: usize = 256 * 1024;
/// Locks that the watches are spread over, so that readers that park do not queue on one.
pub const WATCH_SHARDS: usize = 64;
/// Bytes of one record of a snapshot: far above what one row of the catalog can take, since the
/// bodies of requests are bounded lower.
pub const SNAPSHOT_RECORD_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes of a filter expression: more than a URL carries.
pub const FILTER_BYTES: usize = 64 * 1024;
/// Parentheses and `not`s within each other in a filter expression: bounds the stack.
pub const FILTER_DEPTH: usize = 64;
/// Bytes that the compiled form of a regular expression in a filter may take.
pub const FILTER_REGEX_BYTES: usize = 1024 * 1024;

// === RPC ===

// === Bridge ===

// === Router ===

// === Local ===

// === Leader ===

// === HTTP ===

// === CLI ===
