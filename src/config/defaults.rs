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

// === CLI ===
