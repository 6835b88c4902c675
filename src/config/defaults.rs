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

/// Services that one agent takes; over it a registration is refused (503). A node with more is a
/// programming error of whoever registers.
pub const LOCAL_MAX_SERVICES: usize = 8_192;
/// Checks that one agent takes; four for each service.
pub const LOCAL_MAX_CHECKS: usize = 32_768;
/// Bytes of one file of a kept registration; a longer one counts as damaged and is not read.
pub const LOCAL_FILE_MAX: u64 = 4 << 20;
/// Time between full synchronisations with the catalog, before the random part. Consul's number.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// The random delay of a synchronisation asked for is up to this. Consul's number.
pub const SYNC_SOON: Duration = Duration::from_secs(3);
/// Pause after a failed synchronisation, before the random part. Consul's number.
pub const SYNC_RETRY: Duration = Duration::from_secs(15);
/// The same until the first one has worked: an agent that starts together with its servers shall
/// not wait for its services, and where no server answers none is burdened.
pub const SYNC_FIRST_RETRY: Duration = Duration::from_secs(1);
/// Members up to which the random delays are not stretched. Consul's number.
pub const SYNC_STRETCH_FROM: usize = 128;
/// The age of the catalog that a synchronisation compares with. Consul's number.
pub const SYNC_MAX_STALE: Duration = Duration::from_secs(2);
/// The longest that one read or write of a synchronisation may take: the hold for a leader, and
/// as much again for a slow server.
pub const SYNC_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

// === Leader ===

/// Time between full comparisons of members and catalog. Consul's `reconcile_interval`.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after a failed one.
pub const RECONCILE_RETRY: Duration = Duration::from_secs(1);
/// How long changes of the roster are gathered before they are compared; a datacenter that starts
/// brings them in crowds.
pub const RECONCILE_GATHER: Duration = Duration::from_millis(50);
/// Commands that one log entry carries at most.
pub const RECONCILE_BATCH: usize = 64;
/// How long a leader waits before it removes nodes that gossip has never shown it: two rounds of
/// push/pull, for a leader that has only just joined knows too few.
pub const REAP_UNKNOWN_AFTER: Duration = Duration::from_secs(60);
/// Time between looks at the Raft configuration.
pub const MEMBERSHIP_INTERVAL: Duration = Duration::from_millis(250);
/// The longest that one change of the Raft configuration may take.
pub const MEMBERSHIP_CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before a failed change of the same server is tried again.
pub const MEMBERSHIP_RETRY: Duration = Duration::from_secs(2);
/// A server that Raft has heard of within this is not called silent, however short
/// `last_contact_threshold` is: some heartbeats of the slowest `raft_multiplier`.
pub const SERVER_SILENT_AFTER: Duration = Duration::from_secs(2);
/// How long a server must be dead before it is taken out: longer than a restart.
pub const SERVER_DEAD_AFTER: Duration = Duration::from_secs(10);
/// The longest a write of the leader's duties may take.
pub const LEADER_WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between the leader's own ticks.
pub const LEADER_TICK: Duration = Duration::from_millis(250);
/// A gap between ticks from which on the leader was asleep, and timers are not to be trusted.
pub const LEADER_GAP: Duration = Duration::from_secs(1);
/// Time between writes of coordinates. Consul's number.
pub const COORDINATE_INTERVAL: Duration = Duration::from_secs(5);
/// Coordinates in one command. Consul's number.
pub const COORDINATE_BATCH: usize = 128;
/// How far, in seconds, a coordinate must have moved to be written again: a fifth of a
/// millisecond, below which sorting by it means nothing.
pub const COORDINATE_MOVED: f64 = 0.0002;

// === HTTP ===

// === CLI ===
