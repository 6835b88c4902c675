//! Numbers of `router`: the bounds of requests, the way to a leader, answers kept, other datacenters.

use std::time::Duration;

// === Requests ===

/// How long a request is held while there is no leader. Consul's `rpc_hold_timeout`.
pub const RPC_HOLD: Duration = Duration::from_secs(7);
/// The wait of a blocking query that names none. Consul's `default_query_time`.
pub const DEFAULT_QUERY_TIME: Duration = Duration::from_secs(300);
/// The longest wait of a blocking query. Consul's `max_query_time`.
pub const MAX_QUERY_TIME: Duration = Duration::from_secs(600);
/// Random extra wait of a blocking query: up to its wait divided by this. Consul's number.
pub const WAIT_JITTER_DIVISOR: u32 = 16;

// === Leader and servers ===

/// Requests held for a leader; more get 503. Each costs a few KB, and a new leader takes as many within a second.
pub const HELD_REQUESTS_MAX: usize = 8_192;
/// Longest pause before a request is sent to a leader again, drawn from its upper half: a tenth of an election.
pub const HOLD_RETRY: Duration = Duration::from_millis(200);
/// Time over which held requests are spread when a leader appears.
pub const HOLD_SPREAD: Duration = Duration::from_millis(20);
/// Time of a call beyond its allowed waits, for each agent that it may pass.
pub const CALL_MARGIN: Duration = Duration::from_secs(3);
/// Bounds of the time between shuffles of the list of servers, which even out the load after restarts. Consul's numbers.
pub const SERVER_REBALANCE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(180));
/// How often the leader looks at the health of the servers, for `StableSince`. Autopilot's number.
pub const SERVER_HEALTH_INTERVAL: Duration = Duration::from_secs(2);

// === `?cached` ===

/// Bytes of answers kept for `?cached`; over it the least useful feeds end.
pub const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes counted for a feed beyond its answer, so that the number of feeds is bounded too.
pub const CACHED_FEED_OVERHEAD: u32 = 4_096;
/// How long a feed of `?cached` is kept after its last use. Consul's number.
pub const CACHED_IDLE: Duration = Duration::from_secs(72 * 3600);
/// Least time between two answers of a feed: a busy service costs at most ten reads a second.
pub const CACHED_PACE: Duration = Duration::from_millis(100);
/// First and longest pause of a feed after a failed fetch; it doubles between them.
pub const CACHED_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Age of a view at which a feed's read leaves it: less than a server needs to notice the loss of its leader.
pub const CACHED_VIEW_AGE: Duration = Duration::from_secs(1);
/// How soon at most a server looks again whether the view is too old that a read is parked on.
pub const VIEW_LOOK: Duration = Duration::from_millis(250);
/// How often a feed looks whether its read is still parked where it was.
pub const CACHED_LOOK: Duration = Duration::from_secs(1);
/// Greatest age of an answer whose feed is parked at another agent: the view's, and `RPC_WATCH_PING_INTERVAL` to notice a loss.
pub const CACHED_PARKED_AGE: Duration = Duration::from_secs(3);
/// Time between reads of a feed without an index to wait on (`catalog/datacenters`).
pub const CACHED_POLL: Duration = Duration::from_secs(15);

// === Other servers of the datacenter ===

/// Servers of the own datacenter that a server asks for answers of another one.
pub const NEIGHBOURS_MAX: usize = 8;
/// Time that it waits for them: a round trip here, and one to the other datacenter.
pub const NEIGHBOURS_PATIENCE: Duration = Duration::from_secs(1);
/// Questions to the neighbours that are under way at one time; over it none is asked.
pub const NEIGHBOURS_ASKS_MAX: usize = 1_024;
/// Time that a neighbour's answer serves equal queries, ageing meanwhile.
pub const NEIGHBOURS_KEPT: Duration = Duration::from_secs(1);
/// Bytes of neighbours' answers kept for that.
pub const NEIGHBOURS_KEPT_BYTES: u64 = 16 << 20;

// === Other datacenters ===

/// Times that a blocking read of another datacenter starts anew after its feed is gone.
pub const FAR_WAIT_TURNS: u32 = 3;
/// The pause before it does.
pub const FAR_WAIT_PAUSE: Duration = Duration::from_millis(250);
/// Datacenters that one `?dc=*` asks at the same time; the others follow.
pub const FAN_OUT_PARALLEL: usize = 64;
/// How long `?dc=*` waits for one datacenter. As long as the bridge waits for a sign of life.
pub const FAN_OUT_PATIENCE: Duration = Duration::from_secs(2);
/// How often a parked `?dc=*` asks a datacenter again that failed.
pub const FAN_OUT_RETRY: Duration = Duration::from_secs(1);
/// Time between looks of a parked `?dc=*` at the list of datacenters.
pub const FAN_OUT_LOOK: Duration = Duration::from_secs(5);
/// Least time between two answers that a parked `?dc=*` makes.
pub const FAN_OUT_PACE: Duration = Duration::from_millis(100);
/// Bytes of a merged answer; a datacenter that would exceed it counts as failed.
pub const FAN_OUT_MAX_BYTES: usize = 64 << 20;
/// Distinct `?dc=*` queries whose last change is known; a reader of a forgotten one gets one answer too many.
pub const FAN_OUT_MARKS_MAX: u64 = 10_000;
