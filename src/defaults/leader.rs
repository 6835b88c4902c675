//! Numbers of `leader`.

use std::time::Duration;

/// Time between full comparisons of members and catalog. Consul's `reconcile_interval`.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after a failed one.
pub const RECONCILE_RETRY: Duration = Duration::from_secs(1);
/// Time that changes of the roster are gathered before a comparison: a starting datacenter brings crowds.
pub const RECONCILE_GATHER: Duration = Duration::from_millis(50);
/// Commands that one log entry carries at most.
pub const RECONCILE_BATCH: usize = 64;
/// Time before a leader removes nodes that gossip has never shown it: two rounds of push/pull, as a new leader knows too few.
pub const REAP_UNKNOWN_AFTER: Duration = Duration::from_secs(60);
/// Time between looks at the Raft configuration while servers join or leave.
pub const MEMBERSHIP_INTERVAL: Duration = Duration::from_millis(250);
/// The same while all servers are voters and alive; news of gossip is looked at immediately.
pub const MEMBERSHIP_CALM_INTERVAL: Duration = Duration::from_secs(2);
/// The longest that one change of the Raft configuration may take.
pub const MEMBERSHIP_CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before a failed change of the same server is tried again.
pub const MEMBERSHIP_RETRY: Duration = Duration::from_secs(2);
/// The least silence of a server beside `last_contact_threshold`: some heartbeats of the slowest `raft_multiplier`.
pub const SERVER_SILENT_AFTER: Duration = Duration::from_secs(2);
/// How long a server must be dead before it is taken out: longer than a restart.
pub const SERVER_DEAD_AFTER: Duration = Duration::from_secs(10);
/// Time between the leader's own ticks; each wakes a thread of an idle server.
pub const LEADER_TICK: Duration = Duration::from_secs(1);
/// A gap between ticks from which on the leader was asleep, and timers are not to be trusted.
pub const LEADER_GAP: Duration = Duration::from_secs(1);
/// Time between writes of coordinates. Consul's number.
pub const COORDINATE_INTERVAL: Duration = Duration::from_secs(5);
/// Coordinates in one command. Consul's number.
pub const COORDINATE_BATCH: usize = 128;
/// Seconds that a coordinate must move to be written again: below a fifth of a millisecond, sorting by it means nothing.
pub const COORDINATE_MOVED: f64 = 0.0002;
/// Time for which changes of what ends with time are gathered before they are followed.
pub const EXPIRY_GATHER: Duration = Duration::from_millis(50);
/// The longest pause between two looks at what is due: so a leader notices that it was not run.
pub const EXPIRY_LOOK: Duration = Duration::from_secs(1);
/// Time after which what was due and still stands is ended once more.
pub const EXPIRY_RETRY: Duration = Duration::from_secs(2);
/// Rows that are ended by one command.
pub const EXPIRY_BATCH: usize = 512;
/// Time for which a deletion is remembered. Consul's number.
pub const TOMBSTONE_TTL: Duration = Duration::from_secs(15 * 60);
/// Time between two looks at which deletions are old. Consul's number.
pub const TOMBSTONE_STEP: Duration = Duration::from_secs(30);
