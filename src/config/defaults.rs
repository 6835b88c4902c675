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

/// Requests held for a leader at one time; more are answered with 503. A held request costs a few
/// KB, and a leader that appears must not be met by more than it takes in a second.
pub const HELD_REQUESTS_MAX: usize = 8_192;
/// Longest pause before a request is sent again to a leader that was not one or did not answer;
/// the pause is drawn from its upper half. A tenth of the time an election takes.
pub const HOLD_RETRY: Duration = Duration::from_millis(200);
/// Held requests are spread over this time when a leader appears, so that they do not come at once.
pub const HOLD_SPREAD: Duration = Duration::from_millis(20);
/// What a call may take beyond the waits it is allowed, for each agent it may pass.
pub const CALL_MARGIN: Duration = Duration::from_secs(3);
/// Bounds of the time after which an agent shuffles its list of servers, so that the load stays
/// even after restarts. Consul's numbers.
pub const SERVER_REBALANCE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(180));
/// How often the leader looks at the health of the servers, for `StableSince`. Autopilot's number.
pub const SERVER_HEALTH_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes of answers kept for `?cached`; over it the least useful feeds end.
pub const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes counted for a feed beyond its answer, so that the number of feeds is bounded too.
pub const CACHED_FEED_OVERHEAD: u32 = 4_096;
/// How long a feed of `?cached` is kept after its last use. Consul's number.
pub const CACHED_IDLE: Duration = Duration::from_secs(72 * 3600);
/// Least time between two answers of a feed, so that a service that changes all the time costs
/// ten reads a second and no more.
pub const CACHED_PACE: Duration = Duration::from_millis(100);
/// First and longest pause of a feed after a failed fetch; it doubles between them.
pub const CACHED_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How often a feed asks for what has no index to wait on (`catalog/datacenters`).
pub const CACHED_POLL: Duration = Duration::from_secs(15);

// === Local ===

// === Leader ===

// === HTTP ===

// === CLI ===
