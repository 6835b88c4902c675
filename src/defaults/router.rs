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

// === `?cached` ===

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
/// The age of a view that a feed's read does not stay parked on: less than a server needs to know that its leader
/// is gone, so that it costs nothing while there is one.
pub const CACHED_VIEW_AGE: Duration = Duration::from_secs(1);
/// How soon at most a server looks again whether the view is too old that a read is parked on.
pub const VIEW_LOOK: Duration = Duration::from_millis(250);
/// How often a feed looks whether its read is still parked where it was.
pub const CACHED_LOOK: Duration = Duration::from_secs(1);
/// The age of an answer at most whose feed is parked at another agent: that of the view, the time until that is
/// noticed, and the time until a server that is gone is (`RPC_WATCH_PING_INTERVAL`, `RPC_PING_TIMEOUT`).
pub const CACHED_PARKED_AGE: Duration = Duration::from_secs(3);
/// How often a feed asks for what has no index to wait on (`catalog/datacenters`).
pub const CACHED_POLL: Duration = Duration::from_secs(15);

// === Other servers of the datacenter ===

/// How many other servers of its datacenter a server asks for what they hold of another one.
pub const NEIGHBOURS_MAX: usize = 8;
/// How long it waits for them: a round trip within the datacenter, and for those that must ask the
/// other datacenter first, one there.
pub const NEIGHBOURS_PATIENCE: Duration = Duration::from_secs(1);
/// Questions to the neighbours that are under way at one time; over it none is asked.
pub const NEIGHBOURS_ASKS_MAX: usize = 1_024;
/// How long what a neighbour has told is given to others who ask the same; its age is counted on.
pub const NEIGHBOURS_KEPT: Duration = Duration::from_secs(1);
/// Bytes of what neighbours have told that are kept so.
pub const NEIGHBOURS_KEPT_BYTES: u64 = 16 << 20;

// === Other datacenters ===

/// How often a blocking read of another datacenter starts anew when what it waited on is gone.
pub const FAR_WAIT_TURNS: u32 = 3;
/// The pause before it does.
pub const FAR_WAIT_PAUSE: Duration = Duration::from_millis(250);
/// Datacenters that one `?dc=*` asks at the same time; the others follow.
pub const FAN_OUT_PARALLEL: usize = 64;
/// How long `?dc=*` waits for one datacenter. As long as the bridge waits for a sign of life.
pub const FAN_OUT_PATIENCE: Duration = Duration::from_secs(2);
/// How often a parked `?dc=*` asks a datacenter again that failed.
pub const FAN_OUT_RETRY: Duration = Duration::from_secs(1);
/// How often a parked `?dc=*` looks whether datacenters have come or gone.
pub const FAN_OUT_LOOK: Duration = Duration::from_secs(5);
/// Least time between two answers that a parked `?dc=*` makes.
pub const FAN_OUT_PACE: Duration = Duration::from_millis(100);
/// Bytes of a merged answer; the datacenter that would exceed it is told as failed.
pub const FAN_OUT_MAX_BYTES: usize = 64 << 20;
/// Distinct `?dc=*` queries whose last change is known; the least used is forgotten, and whoever
/// waits on it is answered once too often.
pub const FAN_OUT_MARKS_MAX: u64 = 10_000;
